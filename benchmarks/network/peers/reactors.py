"""
What the peers on Twisted have in common.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import ClientFactory, Protocol
from twisted.internet.task import deferLater

from benchmarks.network.program import Task
from benchmarks.network.work import BulkSource, Messages, MessageSource, Taker

#: s between two looks whether the work is over.
LOOK = 0.02


class BulkSender(Protocol):
    """Writes a bulk stream as a pull producer."""

    def __init__(self, source: BulkSource) -> None:
        self._source = source

    def connectionMade(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Write."""
        assert self.transport is not None
        self.transport.registerProducer(self, False)  # type: ignore[attr-defined]

    def resumeProducing(self) -> None:
        assert self.transport is not None
        self.transport.write(self._source.next())
        if self._source.over:
            self.transport.unregisterProducer()  # type: ignore[attr-defined]

    def stopProducing(self) -> None:
        """The connection is over."""


class Once(ClientFactory):
    """Gives out one protocol."""

    noisy = False

    def __init__(self, built: Protocol) -> None:
        self._built = built

    def buildProtocol(self, addr: Any) -> Protocol:
        return self._built


async def send_messages(reactor: Any, work: Messages, send: Callable[[bytes], object]) -> None:
    """Send the messages when they are due."""
    source = MessageSource(work, monotonic())
    while not source.over:
        if source.due <= monotonic():
            send(source.next())
        else:
            await deferLater(reactor, source.due - monotonic(), lambda: None)


async def attend(reactor: Any, task: Task, taker: Taker) -> None:
    """Wait until a receiver's work is over, and tell the result; then until we are ended."""
    while not taker.over(monotonic()):
        await deferLater(reactor, LOOK, lambda: None)
    task.over(taker.result())
    await Deferred()
