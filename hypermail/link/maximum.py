"""
The greatest of the values that were seen lately.
"""

from __future__ import annotations

from collections import deque


class RecentMaximum:
    """
    The maximum over a sliding window. Its time is a count that never falls: rounds of a path, say.

    Only values that may still become the maximum are kept: each is less than the one before, and they are of
    different times.

    @param length: of the window; a value from C{length} ago is forgotten.

    @ivar value: the maximum; 0 when there is none.
    """

    __slots__ = ("_kept", "_length", "value")

    def __init__(self, length: int) -> None:
        self._length = length
        self._kept: deque[tuple[int, float]] = deque()
        self.value = 0.0

    def add(self, time: int, value: float) -> None:
        """See a value. What is too old goes only now: without news the maximum stays."""
        kept = self._kept
        if kept and kept[-1][0] == time and kept[-1][1] >= value:
            return
        while kept and kept[-1][1] <= value:
            kept.pop()
        kept.append((time, value))
        oldest = time - self._length
        while kept[0][0] <= oldest:
            kept.popleft()
        self.value = kept[0][1]
