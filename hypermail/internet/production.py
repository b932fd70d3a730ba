"""
Producers, push and pull, paused and resumed by the room of what they produce for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

#: Calls of pull producers before the rest of the program has its turn.
PULLS = 16


class Producer(Protocol):
    """What L{Production} drives: a push producer, or a pull producer made one."""

    def resumeProducing(self) -> object:
        """Produce."""

    def pauseProducing(self) -> object:
        """Stop for now."""

    def stopProducing(self) -> object:
        """Stop for good."""


class Production:
    """
    A registered producer.

    @param producer: L{IPushProducer} when C{streaming}, else L{IPullProducer}.
    @param isFull: whether the consumer has no room.
    @param failed: called when a pull producer has raised; it produces no more then.
    @param filled: called, from the reactor, when a pull producer has taken all the room that there was: nothing will
        be written soon that what it wrote could share datagrams with.
    """

    __slots__ = ("_isFull", "_paused", "_producer", "_pulling")

    def __init__(
        self,
        producer: Any,
        streaming: bool,
        *,
        reactor: Any,
        isFull: Callable[[], bool],
        failed: Callable[[], object],
        filled: Callable[[], object],
    ) -> None:
        self._isFull = isFull
        self._paused = False
        self._pulling = None if streaming else _Pulling(producer, reactor, failed, self._pauseIfFull, filled)
        self._producer: Producer = producer if self._pulling is None else self._pulling

    def begin(self) -> None:
        """The producer is registered: let it begin, or wait for room."""
        if self._pulling is not None:
            self._pulling.resumeProducing()
        self._pauseIfFull()

    def wrote(self) -> None:
        """Something was written, perhaps by the producer."""
        pulling = self._pulling
        if pulling is not None:
            if pulling.pulls:
                pulling.written = True  # there is nobody to be told that there is no room before it has returned
                return
            pulling.wrote()
        self._pauseIfFull()

    def _pauseIfFull(self) -> None:
        if not self._paused and self._isFull():
            self._paused = True
            self._producer.pauseProducing()

    def writable(self) -> None:
        """There is room again."""
        if self._paused and not self._isFull():
            self._paused = False
            self._producer.resumeProducing()

    def forget(self) -> None:
        """The producer has unregistered."""
        if self._pulling is not None:
            self._pulling.finish()

    def stop(self) -> None:
        """The consumer is gone: tell the producer."""
        self.forget()
        self._producer.stopProducing()


class _Pulling:
    """
    A pull producer as a push producer.

    As Twisted's TCP does, it is asked again only when it has written something: a producer that writes
    later, when its own data have come, is left in peace until then.

    @param look: pauses this when there is no room.
    @param filled: called when there is none any more.
    @ivar pulls: whether the producer is being asked.
    @ivar written: whether it has written something since it was asked.
    """

    _log = Logger()

    __slots__ = (
        "_failed",
        "_filled",
        "_finished",
        "_look",
        "_paused",
        "_producer",
        "_turns",
        "pulls",
        "reactor",
        "written",
    )

    def __init__(
        self,
        producer: Any,
        reactor: Any,
        failed: Callable[[], object],
        look: Callable[[], object],
        filled: Callable[[], object],
    ) -> None:
        self._producer = producer
        self._turns = _turnsOf(reactor)
        self._failed = failed
        self._look = look
        self._filled = filled
        self._paused = True
        self.reactor = reactor
        self.pulls = False
        self.written = False
        self._finished = False

    def resumeProducing(self) -> None:
        """There is room."""
        self._paused = False
        self._soon()

    def pauseProducing(self) -> None:
        """There is none."""
        self._paused = True

    def wrote(self) -> None:
        """Something was written."""
        self.written = True
        if not self._paused and not self.pulls:
            self._soon()

    def _soon(self) -> None:
        if not self._finished:
            self._turns.want(self)

    def pull(self, most: int) -> int:
        """
        Ask the producer, as long as it writes and there is room.

        @param most: how often, at most.
        @return: how often it was.
        """
        self.pulls = True
        count = 0
        try:
            while count < most and not self._paused and not self._finished:
                count += 1
                self.written = False
                self._producer.resumeProducing()
                if self._finished or not self.written:
                    return count
                self._look()
        except Exception:
            self._log.failure("A pull producer has failed: {producer!r}", producer=self._producer)
            self.finish()
            self._failed()
            return count
        finally:
            self.pulls = False
        if not self._paused:
            self._soon()
        elif count:
            self._filled()
        return count

    def finish(self) -> None:
        """Ask the producer no more."""
        self._finished = True
        self._turns.forgo(self)

    def stopProducing(self) -> None:
        """See L{IPushProducer}."""
        self.finish()
        self._producer.stopProducing()


class _Turns:
    """The pull producers of one reactor that are to be asked: one after the other, and some in each turn of it."""

    __slots__ = ("_call", "_waiting")

    def __init__(self) -> None:
        self._waiting: dict[_Pulling, None] = {}
        self._call: IDelayedCall | None = None

    def want(self, pulling: _Pulling) -> None:
        """One is to be asked when those before it were."""
        self._waiting[pulling] = None
        if self._call is None:
            self._call = pulling.reactor.callLater(0, self._take)

    def forgo(self, pulling: _Pulling) -> None:
        """One is not to be asked any more."""
        if self._waiting.pop(pulling, self) is None and not self._waiting and self._call is not None:
            self._call.cancel()
            self._call = None

    def _take(self) -> None:
        self._call = None
        left = PULLS
        waiting = self._waiting
        while left > 0 and waiting:
            pulling = next(iter(waiting))
            del waiting[pulling]
            left -= max(pulling.pull(left), 1)
        if waiting and self._call is None:
            self._call = next(iter(waiting)).reactor.callLater(0, self._take)


_turns: WeakKeyDictionary[Any, _Turns] = WeakKeyDictionary()


def _turnsOf(reactor: Any) -> _Turns:
    """Those of one reactor's."""
    found = _turns.get(reactor)
    if found is None:
        found = _turns[reactor] = _Turns()
    return found
