"""
Virtual time: a clock that jumps from one event to the next.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from math import inf

Call = Callable[[], object]


class Timer:
    """
    Calls a function at one time at most; made by L{Timeline.timer}.

    @ivar when: s; when it will call, or C{math.inf}.
    """

    __slots__ = ("_call", "_timeline", "when")

    def __init__(self, timeline: Timeline, call: Call) -> None:
        self._timeline = timeline
        self._call = call
        self.when = inf

    def arm(self, when: float | None) -> None:
        """
        Call at this time and at no other.

        @param when: s; the past counts as now, None is never.
        """
        when = inf if when is None else max(when, self._timeline.now)
        if when != self.when:
            self.when = when
            if when < inf:
                self._timeline.push(when, self)

    def cancel(self) -> None:
        """Don't call."""
        self.when = inf

    def fire(self) -> None:
        """The time has come."""
        self.when = inf
        self._call()


class Timeline:
    """
    The time and what is to come. Timers of one time go off in the order in which they were armed.

    @ivar now: s.
    """

    def __init__(self, start: float = 0.0) -> None:
        self.now = start
        self._serial = 0
        self._timers: list[tuple[float, int, Timer]] = []

    def timer(self, call: Call) -> Timer:
        """A timer that isn't armed yet."""
        return Timer(self, call)

    def push(self, when: float, timer: Timer) -> None:
        """Used by L{Timer}."""
        self._serial += 1
        heappush(self._timers, (when, self._serial, timer))

    def next_timer(self) -> float:
        """s when the next timer goes off, or C{math.inf}."""
        timers = self._timers
        while timers and timers[0][2].when != timers[0][0]:
            heappop(timers)  # it was armed anew or cancelled
        return timers[0][0] if timers else inf

    def fire_due(self) -> None:
        """Let every timer that is due now go off; those armed meanwhile wait for the next call."""
        due = []
        while self.next_timer() <= self.now:
            due.append(heappop(self._timers))
        for when, _, timer in due:
            if timer.when == when:
                timer.fire()
