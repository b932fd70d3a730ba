"""
How far a receiver is, told to a sender whose transport has no back pressure.
"""

from __future__ import annotations

#: Bytes that a sender may be before the last total that it was told: far more than any path here holds.
AHEAD = 8 << 20

#: Bytes between two totals.
STEP = 256 << 10

#: Bytes of a total.
TOTAL = 8


class Credit:
    """The receiver's side."""

    def __init__(self) -> None:
        self._taken = 0
        self._told = 0

    def took(self, size: int) -> bytes:
        """So many bytes have arrived. @return: the total to be told, if it is time."""
        self._taken += size
        if self._taken < self._told + STEP:
            return b""
        self._told = self._taken
        return self._taken.to_bytes(TOTAL, "big")
