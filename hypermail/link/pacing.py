"""
Pacing: datagrams leave in trains at the rate that the congestion controller gives (RFC 9002 §7.7).
"""

from __future__ import annotations

#: s of sending that may leave at once: trains are what system calls are shared by.
TRAIN_TIME = 0.002
#: s of lateness of a timer that is made good.
LATENESS = 0.025
#: s of sending that what waits for no pace (acknowledgements, control, probes) may take from what does, at most.
MOST_DEBT = 1.0

#: s; no wait is shorter, so that rounding can't make it none.
SHORTEST_WAIT = 0.000_02


class Pacer:
    """
    A token bucket that holds a train, and that credits a timer that came late.

    @ivar budget: bytes that are saved up; whatever leaves is taken off it.
    @ivar datagram: bytes of a full datagram.
    """

    __slots__ = ("_last", "_waiting", "budget", "datagram")

    def __init__(self, datagram: int, now: float) -> None:
        self.datagram = datagram
        self.budget = 0.0
        self._last = now
        self._waiting = True  # the first flight is not paced

    def available(self, now: float, rate: float, largest_train: int) -> int:
        """
        Bytes that may leave now.

        @param rate: bytes/s.
        @param largest_train: bytes that the peer's socket takes at once.
        """
        # Only who waits for its turn saves up; who was held back by something else begins with half a train, since a
        # queue may be as short as that.
        # (Comparisons take a quarter of the time of max() and min(), and this is asked in each turn.)
        burst = rate * TRAIN_TIME if self._waiting else rate * TRAIN_TIME / 2
        if burst < self.datagram:
            burst = self.datagram
        most = burst
        if self._waiting and most < rate * LATENESS:
            most = rate * LATENESS
        if burst > largest_train:
            burst = largest_train
        budget = self.budget
        if budget < -rate * MOST_DEBT:
            budget = -rate * MOST_DEBT
        budget += rate * (now - self._last)
        if budget > most:
            budget = most
        self.budget = budget
        self._last = now
        self._waiting = False
        return int((budget if budget < burst else burst) + 0.5)

    def forgo(self) -> None:
        """Something else than the pace holds back now: time that passes meanwhile is not saved up."""
        self._waiting = False

    def resume_at(self, now: float, rate: float) -> float:
        """s when it is worth trying again: at half a train, at least one datagram."""
        self._waiting = True
        wanted = max(self.datagram, rate * TRAIN_TIME / 2)
        return now + max((wanted - self.budget) / rate, SHORTEST_WAIT)
