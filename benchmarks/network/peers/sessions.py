"""
hypermail: a bulk stream is a stream, ordered messages are messages of a lane.
"""

from __future__ import annotations

from time import monotonic
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.protocol import Protocol
from twisted.internet.task import react

from benchmarks.network.peers.reactors import BulkSender, Once, attend, send_messages
from benchmarks.network.program import NAME, Task
from benchmarks.network.work import Bulk, BulkSource, Openings, Taker
from benchmarks.securing import identity, listening, starting
from hypermail import Options, SessionClientEndpoint, SessionFactory, SessionProtocol, SessionServerEndpoint

#: The lane of the messages.
LANE = 1


class Taking(SessionProtocol):
    """
    The listener's side of the session.

    @ivar task: of this process.
    @ivar taker: of what arrives.
    """

    task: Task
    taker: Taker

    def sessionOpened(self) -> None:
        self.task.began(lambda: _statistics(self.session))

    def messageReceived(self, message: bytes) -> None:
        self.taker.take(message, monotonic())

    def streamOpened(self, name: bytes, options: Any) -> Protocol:
        return Stream(self.taker)


class Stream(Protocol):
    """A bulk stream, received."""

    def __init__(self, taker: Taker) -> None:
        self._taker = taker

    def dataReceived(self, data: bytes) -> None:
        self._taker.take(data, monotonic())


def _statistics(session: Any) -> dict[str, Any]:
    return {**session.statistics(), "peer": str(session.getPeer())}


def _options(task: Task) -> Options:
    return Options(congestion=task.arguments["congestion"], **task.options)


async def _listen(reactor: Any, task: Task) -> None:
    shown = identity(NAME)
    endpoint = SessionServerEndpoint(
        reactor, task.port, interface=task.host, security=listening("tls", shown), options=_options(task)
    )
    if isinstance(task.work, Openings):
        await endpoint.listen(SessionFactory.forProtocol(SessionProtocol))
        task.ready(shown.pin)
        await Deferred()
    taker = task.work.taker()

    class Bound(Taking):
        pass

    Bound.task, Bound.taker = task, taker
    await endpoint.listen(SessionFactory.forProtocol(Bound))
    task.ready(shown.pin)
    await attend(reactor, task, taker)


async def _start(reactor: Any, task: Task) -> None:
    endpoint = SessionClientEndpoint(
        reactor, task.host, task.port, security=starting("tls", pin=task.word), options=_options(task)
    )
    factory = SessionFactory.forProtocol(SessionProtocol)
    if isinstance(task.work, Openings):
        opening = [endpoint.connect(factory) for _ in range(task.work.count)]
        outcomes: Any = await DeferredList(opening, consumeErrors=True)
        failures = [f"{outcome.type.__name__}: {outcome.value}" for opened, outcome in outcomes if not opened]
        task.over({"opened": len(outcomes) - len(failures), "failures": failures})
        await Deferred()
    session = (await endpoint.connect(factory)).session
    task.began(lambda: _statistics(session))
    if isinstance(task.work, Bulk):
        await session.openStream(Once(BulkSender(BulkSource(task.work, monotonic))))
    else:
        session.lane(LANE, redundancy=task.arguments.get("redundancy", 0))
        # those that were not delivered are the listener's to count
        await send_messages(
            reactor, task.work, lambda message: session.sendMessage(message, lane=LANE).addErrback(lambda _: None)
        )
    await Deferred()


def listen(task: Task) -> None:
    """The listener's process."""
    react(_listen, [task])


def start(task: Task) -> None:
    """The starter's process."""
    react(_start, [task])
