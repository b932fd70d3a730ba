"""
When each session of a socket wants to be called: many deadlines, one call of the reactor.

A connection moves its deadline with nearly every batch, mostly away. So moving away does nothing (a
deadline that comes too early finds nothing to do and is set anew), and coming closer is a push on a heap
of numbers, which costs a tenth of a L{DelayedCall} of its own; where others have the same deadline not even that is
needed. What is kept of them doesn't keep whoever is over alive until its last deadline would have come.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from math import ceil, frexp, inf, ldexp
from typing import Any, Generic, Protocol, TypeVar

from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import Clock

#: s; deadlines that are further away are put off, so that the heartbeats of many sessions have one call together, and
#: one turn of the reactor: the further, the longer, but by no more than a part of C{1 / PRECISE} of the distance. (The
#: timers of Linux do the same, by up to an eighth: kernel/time/timer.c.)
FAR = 1.0
PRECISE = 32


def _together(deadline: float, away: float) -> float:
    """C{deadline}, which is so many s C{away}, or the next moment that all have who are as far."""
    step = ldexp(0.5 / PRECISE, frexp(away)[1])
    return ceil(deadline / step) * step


def clockOf(reactor: Any) -> Callable[[], float]:
    """
    Seconds that never go back, which C{reactor.seconds}, the wall clock, may do; of a L{Clock}, as tests
    have it and the simulated network, its own.
    """
    return reactor.seconds if isinstance(reactor, Clock) else time.monotonic


class Armed(Protocol):
    """
    What may have a deadline.

    @ivar deadline: s; when it will be called, C{inf} for never. Only L{Deadlines} writes it after that.
    """

    deadline: float


A = TypeVar("A", bound=Armed)


class Deadlines(Generic[A]):
    """
    The deadlines of many, of which the reactor knows the nearest.

    @param expired: called with each whose deadline has come; it has none any more then.
    @param over: called when all whose deadlines have come together have been called.
    """

    __slots__ = (
        "_armed",
        "_call",
        "_callAt",
        "_entries",
        "_expired",
        "_heap",
        "_over",
        "_reactor",
        "_seconds",
        "_whose",
    )

    def __init__(
        self,
        reactor: Any,
        seconds: Callable[[], float],
        expired: Callable[[A], None],
        over: Callable[[], None] | None = None,
    ) -> None:
        self._reactor = reactor
        self._seconds = seconds
        self._expired = expired
        self._over = over
        self._heap: list[float] = []  # the deadlines, each once
        self._whose: dict[float, list[int]] = {}  # those who have, or had, each
        self._entries = 0  # in all of these lists
        self._armed: dict[int, A] = {}  # by what the lists have of them
        self._call: IDelayedCall | None = None
        self._callAt = inf

    def arm(self, item: A, deadline: float | None) -> None:
        """
        Call for C{item} at C{deadline}, or earlier when it was armed for earlier.

        @param deadline: s, or None for never, which also takes an earlier one back.
        """
        if deadline is None:
            self._disarm(item)
        elif deadline < item.deadline:
            self._put(item, deadline)

    def putOff(self, item: A, deadline: float | None) -> None:
        """
        Call for C{item} at C{deadline}, and not earlier, whenever it was armed for: where it is known that what was
        awaited before has come.

        @param deadline: as of L{arm}.
        """
        if deadline is None:
            self._disarm(item)
        else:
            self._put(item, deadline)

    def _put(self, item: A, deadline: float) -> None:
        away = deadline - self._seconds()
        if away > FAR:
            deadline = _together(deadline, away)
        if deadline == item.deadline:
            return
        key = id(item)
        self._armed[key] = item
        item.deadline = deadline
        whose = self._whose.get(deadline)
        if whose is None:
            self._whose[deadline] = [key]
            heappush(self._heap, deadline)
        else:
            whose.append(key)
        self._entries += 1
        if deadline < self._callAt:
            self._schedule(deadline)

    def _disarm(self, item: A) -> None:
        if item.deadline == inf:
            return
        item.deadline = inf
        del self._armed[id(item)]
        if not self._armed:
            self.stop()

    def stop(self) -> None:
        """Leave nothing in the reactor."""
        for item in self._armed.values():
            item.deadline = inf
        self._armed.clear()
        self._heap.clear()
        self._whose.clear()
        self._entries = 0
        self._unschedule()

    def _schedule(self, deadline: float) -> None:
        self._unschedule()
        self._callAt = deadline
        self._call = self._reactor.callLater(max(0.0, deadline - self._seconds()), self._wake)

    def _unschedule(self) -> None:
        call, self._call, self._callAt = self._call, None, inf
        if call is not None:
            call.cancel()

    def _wake(self) -> None:
        self._call, self._callAt = None, -inf  # what is armed meanwhile is scheduled below, once for all
        try:
            for item in self._due():
                self._expired(item)
            if self._over is not None:
                self._over()
        finally:
            if self._callAt == -inf:
                self._callAt = inf
            self._tidy()
            if self._heap and self._heap[0] < self._callAt:
                self._schedule(self._heap[0])

    def _due(self) -> list[A]:
        now = self._seconds()
        heap, armed = self._heap, self._armed
        due = []
        while heap and heap[0] <= now:
            deadline = heappop(heap)
            whose = self._whose.pop(deadline)
            self._entries -= len(whose)
            for key in whose:
                item = armed.get(key)
                if item is not None and item.deadline == deadline:
                    del armed[key]
                    item.deadline = inf
                    due.append(item)
        return due

    def _tidy(self) -> None:
        """Drop the deadlines that have been moved since, when they are the next, or too many."""
        heap = self._heap
        if self._entries > 2 * len(self._armed) + 64:
            self._whose.clear()
            for key, item in self._armed.items():
                self._whose.setdefault(item.deadline, []).append(key)
            self._entries = len(self._armed)
            heap[:] = self._whose
            heapify(heap)
        while heap and not self._counts(heap[0]):
            self._entries -= len(self._whose.pop(heappop(heap)))

    def _counts(self, deadline: float) -> bool:
        """Whether it is anybody's still."""
        for key in self._whose[deadline]:
            item = self._armed.get(key)
            if item is not None and item.deadline == deadline:
                return True
        return False
