"""
Twisted's TLS 1.3 over TCP, with one of the kernel's congestion controls and without Nagle's algorithm. The socket
buffers are left to the kernel, which makes them as large as it takes (C{tcp_rmem}, C{tcp_wmem}).
"""

from __future__ import annotations

import socket
from time import monotonic
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import SSL4ServerEndpoint, TCP4ClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import Protocol
from twisted.internet.task import react
from zope.interface import implementer

from benchmarks.network.peers.reactors import BulkSender, Once, attend, send_messages
from benchmarks.network.program import NAME, Task
from benchmarks.network.work import Bulk, BulkSource, Strings, Taker
from benchmarks.securing import identity, listeningTCP, pem, startingTCP


class Taking(Protocol):
    """The listener's side of the connection."""

    def __init__(self, task: Task, taker: Taker) -> None:
        self._task = task
        self._taker = taker
        self._strings = None if isinstance(task.work, Bulk) else Strings()
        self._begun = False

    def dataReceived(self, data: bytes) -> None:
        now = monotonic()
        if not self._begun:
            self._begun = True
            self._task.began()
        if self._strings is None:
            self._taker.take(data, now)
        else:
            for message in self._strings.feed(data):
                self._taker.take(message, now)


@implementer(IHandshakeListener)
class Starting(BulkSender):
    """The starter's side."""

    def __init__(self, task: Task) -> None:
        if isinstance(task.work, Bulk):
            super().__init__(BulkSource(task.work, monotonic))
        self._task = task
        self.shaken: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        connection: Any = self.transport
        handle = connection.transport.getHandle()
        handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, self._task.arguments["congestion"].encode())
        connection.setTcpNoDelay(True)

    def handshakeCompleted(self) -> None:
        self.shaken.callback(None)


async def _listen(reactor: Any, task: Task) -> None:
    shown = identity(NAME)
    taker = task.work.taker()
    endpoint = SSL4ServerEndpoint(reactor, task.port, listeningTCP(shown), interface=task.host)
    await endpoint.listen(Once(Taking(task, taker)))
    task.ready(pem(shown.certificate))
    await attend(reactor, task, taker)


async def _start(reactor: Any, task: Task) -> None:
    starting = Starting(task)
    connecting = TCP4ClientEndpoint(reactor, task.host, task.port, timeout=60)
    await wrapClientTLS(startingTCP(NAME, task.word), connecting).connect(Once(starting))
    await starting.shaken
    task.began()
    if isinstance(task.work, Bulk):
        starting.begin()
    else:
        connection: Any = starting.transport
        await send_messages(reactor, task.work, lambda message: connection.write(Strings.of(message)))
    await Deferred()


def listen(task: Task) -> None:
    """The listener's process."""
    react(_listen, [task])


def start(task: Task) -> None:
    """The starter's process."""
    react(_start, [task])
