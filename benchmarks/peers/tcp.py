"""
Twisted's TCP, and its TLS 1.3 over TCP: messages are length-prefixed strings, written a batch at a time.

Nagle's algorithm is off; socket buffers are the kernel's to choose, which makes them as large as it takes. What is sent
is a pull producer's, so that nothing piles up. A listener shows a P-256 certificate, which the starter takes as the
only authority, name included; no session is resumed.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import SSL4ServerEndpoint, TCP4ClientEndpoint, TCP4ServerEndpoint, wrapClientTLS
from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import react
from zope.interface import implementer

from benchmarks.comparing.program import HOST, Task
from benchmarks.comparing.work import Carried
from benchmarks.peers.reactors import Listening, Once, Starting, connections
from benchmarks.securing import listeningTCP, startingTCP
from hypermail import Identity

#: Connections that may wait to be accepted.
BACKLOG = 1_024


@implementer(IHandshakeListener)
class Shaken(Protocol):
    """A connection that tells when its handshake is over, if it has one, and when it is."""

    transport: Any

    def __init__(self, tls: bool) -> None:
        self._tls = tls
        self.opened: Deferred[Shaken] = Deferred()
        self.lost: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)
        if not self._tls:
            self.opened.callback(self)

    def handshakeCompleted(self) -> None:
        self.opened.callback(self)

    def connectionLost(self, reason: Any = None) -> None:
        self.lost.callback(None)


@implementer(IHandshakeListener)
class Carrying(Starting):
    """The starter's side of a work."""

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self._task = task

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)
        if not self._task.arguments["tls"]:
            self._begin()

    def handshakeCompleted(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._task.begin()
        self.begin()


class Served(Listening):
    """The listener's side of a work."""

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)


async def _listen(reactor: Any, task: Task) -> None:
    if task.arguments["tls"]:
        context = listeningTCP(Identity.from_pem(task.key.read_bytes() + task.certificate.read_bytes()))
        endpoint: Any = SSL4ServerEndpoint(reactor, 0, context, backlog=BACKLOG, interface=HOST)
    else:
        endpoint = TCP4ServerEndpoint(reactor, 0, backlog=BACKLOG, interface=HOST)
    factory: Any = Factory.forProtocol(Protocol)
    if isinstance(task.work, Carried):
        factory = Factory()
        factory.buildProtocol = lambda addr: Served(task.work)
    factory.noisy = False
    port = await endpoint.listen(factory)
    task.ready(port.getHost().port)
    await Deferred()


async def _start(reactor: Any, task: Task) -> None:
    tls = task.arguments["tls"]
    endpoint: Any = TCP4ClientEndpoint(reactor, HOST, task.word)
    if tls:
        endpoint = wrapClientTLS(startingTCP(HOST, task.authority.read_text()), endpoint)
    if isinstance(task.work, Carried):
        await endpoint.connect(Once(Carrying(task)))
        await Deferred()

    async def open_one() -> Shaken:
        shaken = Shaken(tls)
        await endpoint.connect(Once(shaken))
        return await shaken.opened

    async def close(shaken: Shaken) -> None:
        shaken.transport.loseConnection()
        await shaken.lost

    await connections(reactor, task, open_one, close)
    await Deferred()


def listen(task: Task) -> None:
    """The listener's process."""
    react(_listen, [task])


def start(task: Task) -> None:
    """The starter's process."""
    react(_start, [task])
