"""
The bands of one cell: a request takes one that is idle, or waits for one (C{docs/protocol/hive}, "Gardens").
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from functools import partial
from typing import Generic, TypeVar

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from hypermail.hive.errors import RequestRefused
from hypermail.internet.deadlines import clockOf

B = TypeVar("B", bound=Hashable)

#: Bands of one cell, and requests that wait for one.
MOST_BANDS = 10_000
MOST_WAITING = 1_000
#: s that a request waits.
WAIT = 10.0

_BAD_GATEWAY = 502
_UNAVAILABLE = 503


class Garden(Generic[B]):
    """
    @param need: asks the cell for so many bands more.
    @ivar age: s after which L{prune} gives up an idle one.
    """

    def __init__(
        self,
        clock: IReactorTime,
        need: Callable[[int], None],
        *,
        age: float,
        wait: float = WAIT,
        most: int = MOST_BANDS,
        most_waiting: int = MOST_WAITING,
    ) -> None:
        self._clock = clock
        self._seconds = clockOf(clock)
        self._need = need
        self.age = age
        self._wait = wait
        self._most = most
        self._most_waiting = most_waiting
        self._idle: dict[B, float] = {}  # s since when, oldest first
        self._busy: set[B] = set()
        self._waiting: dict[Deferred[B], IDelayedCall] = {}  # oldest first
        self._asked: deque[float] = deque()  # s, when the cell was asked for bands that it has still to open
        self._closed = False

    @property
    def outstanding(self) -> int:
        """Requests that have a band, or wait for one."""
        return len(self._busy) + len(self._waiting)

    @property
    def waiting(self) -> int:
        """Requests that wait for a band."""
        return len(self._waiting)

    @property
    def bands(self) -> int:
        """How many there are."""
        return len(self._busy) + len(self._idle)

    def lend(self) -> Deferred[B]:
        """
        A band for a request: the one that was used last, so that those which are not needed grow old.

        @return: a Deferred of it, which may be cancelled. It errbacks with L{RequestRefused}: 503 when too many wait,
            or none came in time; 502 when the cell is lost.
        """
        if self._closed:
            return fail(RequestRefused(_BAD_GATEWAY, "the cell is gone"))
        if self._idle:
            band, _ = self._idle.popitem()
            self._busy.add(band)
            return succeed(band)
        if len(self._waiting) >= self._most_waiting:
            return fail(RequestRefused(_UNAVAILABLE, "too many requests wait for the cell"))
        waiting: Deferred[B] = Deferred(self._forget)
        due = self._seconds() + self._wait
        self._waiting[waiting] = self._clock.callLater(self._wait / 2, partial(self._hurry, waiting, due))
        self._ask()
        return waiting

    def add(self, band: B) -> bool:
        """The cell has opened one. @return: whether there is room for it."""
        if self._asked:
            self._asked.popleft()
        if self._closed or self.bands >= self._most:
            return False
        self._offer(band)
        return True

    def give_back(self, band: B) -> None:
        """A request is through with a band, which can carry another."""
        if band in self._busy:
            self._busy.remove(band)
            self._offer(band)

    def remove(self, band: B) -> None:
        """A band is closed; harmless when it was removed before."""
        self._busy.discard(band)
        self._idle.pop(band, None)
        self._ask()

    def prune(self) -> list[B]:
        """@return: those that were idle for too long, which are to be closed."""
        old = [band for band, since in self._idle.items() if since <= self._seconds() - self.age]
        for band in old:
            del self._idle[band]
        return old

    def close(self) -> list[B]:
        """The cell is lost: who waits learns it. @return: all bands, which are to be closed."""
        self._closed = True
        while self._waiting:
            waiting = next(iter(self._waiting))
            self._waiting.pop(waiting).cancel()
            waiting.errback(RequestRefused(_BAD_GATEWAY, "the cell was lost"))
        bands = [*self._idle, *self._busy]
        self._idle.clear()
        self._busy.clear()
        return bands

    def _ask(self) -> None:
        """Everybody who waits is to have a band on its way; what did not come so far will not come."""
        now = self._seconds()
        while self._asked and self._asked[0] <= now - self._wait / 2:
            self._asked.popleft()
        while len(self._asked) < min(len(self._waiting), self._most - self.bands):
            self._asked.append(now)
            self._need(1)

    def _offer(self, band: B) -> None:
        if not self._waiting:
            self._idle[band] = self._seconds()
            return
        waiting = next(iter(self._waiting))
        self._waiting.pop(waiting).cancel()
        self._busy.add(band)
        waiting.callback(band)

    def _hurry(self, waiting: Deferred[B], due: float) -> None:
        """Half of the time has gone: a band that was lost on its way is asked for again while it is still of use."""
        left = max(due - self._seconds(), 0.0)
        self._waiting[waiting] = self._clock.callLater(left, partial(self._late, waiting))
        self._ask()

    def _late(self, waiting: Deferred[B]) -> None:
        del self._waiting[waiting]
        waiting.errback(RequestRefused(_UNAVAILABLE, "the cell has opened no band in time"))

    def _forget(self, waiting: Deferred[B]) -> None:
        self._waiting.pop(waiting).cancel()
