"""
What was declared lost and may only be late: until it is too old, it is remembered, so that its arrival is noticed.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence

from hypermail.link.payload import Sent
from hypermail.link.rtt import RoundTrip

#: Datagrams that are remembered; the oldest is lost for good when there are more.
MOST_DOUBTED = 1_024
#: Probe timeouts after it was sent that a datagram is lost for good.
PATIENCE = 3


class Doubt:
    """
    Of one direction of one link.

    @ivar undone: whether all that was in doubt has arrived, and nothing else was lost meanwhile; to be set back by
        whoever acts on it.
    @ivar real: whether something was lost for good; the same.
    """

    __slots__ = ("_lost", "_some_real", "real", "undone")

    def __init__(self) -> None:
        self._lost: dict[int, Sent] = {}
        self._some_real = False
        self.real = False
        self.undone = False

    def __len__(self) -> int:
        return len(self._lost)

    def add(self, lost: Iterable[Sent]) -> bool:
        """
        These were declared lost.

        @return: whether nothing was in doubt before.
        """
        first = not self._lost
        for sent in lost:
            self._lost[sent.number] = sent
        while len(self._lost) > MOST_DOUBTED:
            del self._lost[next(iter(self._lost))]
            self._some_real = True
        return first

    def arrived(self, ranges: Sequence[tuple[int, int]], long: bool) -> list[Sent]:
        """
        Those that have come after all.

        @param ranges: of numbers that are acknowledged, half-open, the highest first.
        @param long: of which kind of datagram.
        """
        lost = self._lost
        late = []
        starts = [start for start, _ in reversed(ranges)]
        for (
            number,
            sent,
        ) in lost.items():  # a thousand of them, and dozens of ranges: that would be slow without bisection
            above = bisect_right(starts, number)
            if above and number < ranges[-above][1] and sent.long is long:
                late.append(sent)
        for sent in late:
            del lost[sent.number]
        if late and not lost:
            self._decide()
        return late

    def expire(self, now: float, rtt: RoundTrip) -> None:
        """What is too old was lost for good."""
        before = now - PATIENCE * rtt.probe_timeout
        gone = []
        for sent in self._lost.values():
            if sent.time > before:
                break
            gone.append(sent.number)
        if gone:
            self._some_real = True
            for number in gone:
                del self._lost[number]
            if not self._lost:
                self._decide()

    def _decide(self) -> None:
        """Nothing is in doubt any more."""
        if self._some_real:
            self.real = True
        else:
            self.undone = True
        self._some_real = False

    def clear(self) -> None:
        """Nobody will say any more what has arrived."""
        self._lost.clear()
        self._some_real = False
