"""
Packet numbers that are left out on purpose: who acknowledges one of them acknowledges what it has not received
(RFC 9000 §21.4).
"""

from __future__ import annotations

from hashlib import sha256

#: The first number is left out among so many; each one after it among twice as many, up to the last.
FIRST_PERIOD = 256
LAST_PERIOD = 65_536


#: Numbers left out that are remembered: acknowledgements of older ones would gain nobody anything.
REMEMBERED = 8


class Skips:
    """
    Decides which numbers are left out. They are rare, as each leaves a gap in the peer's acknowledgements for good.

    @param secret: what makes them unpredictable.
    @ivar next: the number to be left out.
    @ivar skipped: the latest of those that were, ascending.
    @ivar latest: the last of them; -1 when there is none.
    """

    __slots__ = ("_period", "_secret", "latest", "next", "skipped")

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._period = FIRST_PERIOD
        self.skipped: tuple[int, ...] = ()
        self.latest = -1
        self.next = 0
        self._choose(0)

    def _choose(self, after: int) -> None:
        self._secret = sha256(self._secret).digest()
        self.next = after + self._period + int.from_bytes(self._secret[:4], "big") % self._period
        self._period = min(2 * self._period, LAST_PERIOD)

    def skip(self, number: int) -> int:
        """Leave C{number} out, whose turn has come. @return: the one to be used in its place."""
        self.skipped = (*self.skipped[1 - REMEMBERED :], number)
        self.latest = number
        self._choose(number + 1)
        return number + 1

    def among(self, ranges: tuple[tuple[int, int], ...]) -> int | None:
        """A number that was left out and lies in one of the ranges (start, stop), if there is one."""
        for number in self.skipped:
            for start, stop in ranges:
                if start <= number < stop:
                    return number
        return None
