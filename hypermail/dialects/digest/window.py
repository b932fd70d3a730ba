"""
What has been received already, by order counts and by digests, in bounded memory.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right


class OrderWindow:
    """
    Which order counts have come.

    They may jump and come out of order, since a server counts the packets to all of its clients as one. What is
    remembered is ranges, a bounded number of them; when there would be more, the lowest and all below it count as come.

    @param most: ranges.
    @ivar floor: everything below counts as come.
    """

    __slots__ = ("_firsts", "_lasts", "_most", "floor")

    def __init__(self, most: int, floor: int = 0) -> None:
        self._most = most
        self._firsts = array("Q")
        self._lasts = array("Q")
        self.floor = floor

    def __len__(self) -> int:
        """How many ranges there are."""
        return len(self._firsts)

    @property
    def highest(self) -> int:
        """The highest one that is remembered; -1 when none is."""
        return self._lasts[-1] if self._lasts else -1

    def __contains__(self, order: int) -> bool:
        if order < self.floor:
            return True
        at = bisect_right(self._firsts, order) - 1
        return at >= 0 and order <= self._lasts[at]

    def add(self, order: int, *, alone: bool = True) -> bool:
        """
        One more has come.

        @param alone: whether it is remembered even where it costs a range of its own.
        @return: whether it is new.
        """
        if order < self.floor:
            return False
        firsts, lasts = self._firsts, self._lasts
        at = bisect_right(firsts, order) - 1
        if at >= 0 and order <= lasts[at]:
            return False
        after = at + 1 < len(firsts) and firsts[at + 1] == order + 1
        if at >= 0 and lasts[at] == order - 1:
            if after:
                lasts[at] = lasts[at + 1]
                del firsts[at + 1], lasts[at + 1]
            else:
                lasts[at] = order
        elif after:
            firsts[at + 1] = order
        elif alone:
            firsts.insert(at + 1, order)
            lasts.insert(at + 1, order)
            if len(firsts) > self._most:
                self.floor = lasts[0] + 1
                del firsts[0], lasts[0]
        return True


class DigestMemory:
    """
    The last digests of something, by their first 64 bits.

    They are looked for rarely, and all of them were authentic: a search from end to end does, and 8 bytes each.

    @param most: how many.
    """

    __slots__ = ("_at", "_known", "_most")

    def __init__(self, most: int) -> None:
        self._most = most
        self._known = array("Q")
        self._at = 0

    def __len__(self) -> int:
        return len(self._known)

    def __contains__(self, digest: bytes) -> bool:
        return int.from_bytes(digest[:8]) in self._known

    def add(self, digest: bytes) -> None:
        """One more; the oldest gives way."""
        known = int.from_bytes(digest[:8])
        if len(self._known) < self._most:
            self._known.append(known)
        else:
            self._known[self._at] = known
            self._at = (self._at + 1) % self._most
