"""
How often somebody may do something.
"""

from __future__ import annotations


class Allowance:
    """
    A token bucket.

    @param burst: how often at once.
    @param rate: how often a second after that.
    """

    __slots__ = ("_burst", "_left", "_rate", "_spent")

    def __init__(self, burst: int, rate: float) -> None:
        self._burst = burst
        self._rate = rate
        self._left = float(burst)
        self._spent = 0.0  # s; when something was spent last

    def spend(self, now: float, count: int = 1) -> bool:
        """
        Do it so many times.

        @param now: s.
        @return: whether that was allowed.
        """
        self._left = min(self._burst, self._left + (now - self._spent) * self._rate) - count
        self._spent = now
        return self._left >= 0
