"""
What the peers on Twisted have in common: the two sides of a work on a stream, which hypermail's streams are, too.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import Deferred, FirstError, gatherResults
from twisted.internet.protocol import ClientFactory, Protocol
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from benchmarks.comparing.program import Task
from benchmarks.comparing.work import Carried, Close, Open, Openings, Strings, keep_open, open_and_close


class Once(ClientFactory):
    """Gives out one protocol."""

    noisy = False

    def __init__(self, built: Protocol) -> None:
        self._built = built

    def buildProtocol(self, addr: Any) -> Protocol:
        return self._built


class Listening(Protocol):
    """The listener's side of a work on a stream."""

    transport: Any

    def __init__(self, work: Carried) -> None:
        self._feed = work.strings().feed
        self._take = work.listening().take

    def dataReceived(self, data: bytes) -> None:
        replies = self._take(self._feed(data))
        if replies:
            self.transport.write(Strings.of(replies))


class Starting(Protocol):
    """The starter's side of a work on a stream: a pull producer, where it has more than answers to answers."""

    transport: Any

    def __init__(self, task: Task) -> None:
        self._work = task.work.starting(task.over, bounded=False)
        self._feed = Strings().feed
        self._of = task.work.strings.of

    def begin(self) -> None:
        """Connected: begin with the work."""
        self._work.begin()
        if self._work.pulled:
            self.transport.registerProducer(self, False)
        else:
            self.resumeProducing()

    def resumeProducing(self) -> None:
        batch = self._work.next()
        if batch:
            self.transport.write(self._of(batch))
        if self._work.exhausted:
            self.transport.unregisterProducer()

    def stopProducing(self) -> None:
        """The connection is over."""

    def dataReceived(self, data: bytes) -> None:
        self._work.take(self._feed(data))
        if not self._work.pulled:
            self.resumeProducing()


def gather(coroutines: list[Coroutine[Any, Any, Any]]) -> Deferred[list[Any]]:
    """See L{benchmarks.comparing.work.Gather}."""
    gathered = gatherResults([Deferred.fromCoroutine(one) for one in coroutines], consumeErrors=True)
    return gathered.addErrback(_unwrap)


def _unwrap(failure: Failure) -> Failure:
    """What has failed, without what it was gathered in: that is told in one line."""
    return failure.value.subFailure if isinstance(failure.value, FirstError) else failure


async def connections(reactor: Any, task: Task, open_one: Open, close: Close) -> None:
    """Works that are about connections, not about what they carry."""
    work = task.work
    if isinstance(work, Openings):
        await close(await open_one())  # what is made once is made
        task.begin()
        task.over(await open_and_close(work, open_one, close, gather))
        return

    def rest(seconds: float) -> Deferred[None]:
        return deferLater(reactor, seconds, lambda: None)

    await keep_open(work, task, open_one, rest, gather)
