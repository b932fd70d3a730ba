"""
Sets of integers that are mostly contiguous: acknowledged numbers, arrived bytes, settled messages.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator


class RangeSet:
    """
    A set of integers, kept as sorted, disjoint, non-adjacent half-open ranges.

    Adding at the upper end, which is what numbers and offsets do, costs O(1).
    """

    __slots__ = ("_bounds",)

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        # start, stop, start, stop …, ascending: what has an odd number of them at or below it is in the set.
        self._bounds: list[int] = []
        for start, stop in ranges:
            self.add(start, stop)

    def __len__(self) -> int:
        """How many ranges there are (not how many integers)."""
        return len(self._bounds) >> 1

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """The ranges, ascending, as (start, stop)."""
        bounds = iter(self._bounds)
        return zip(bounds, bounds)

    def __contains__(self, number: int) -> bool:
        return bisect_right(self._bounds, number) & 1 == 1

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RangeSet) and self._bounds == other._bounds

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"RangeSet({list(self)!r})"

    @property
    def total(self) -> int:
        """How many integers the set holds."""
        return sum(self._bounds[1::2]) - sum(self._bounds[::2])

    def first(self) -> tuple[int, int]:
        """The lowest range. @raise IndexError: when empty."""
        return self._bounds[0], self._bounds[1]

    def last(self) -> tuple[int, int]:
        """The highest range. @raise IndexError: when empty."""
        return self._bounds[-2], self._bounds[-1]

    def highest(self, floor: int, most: int) -> tuple[tuple[int, int], ...]:
        """
        The highest range, and those below it that reach above C{floor}, descending, C{most} in all at most.

        @raise IndexError: when empty.
        """
        bounds = self._bounds
        if len(bounds) == 2 or bounds[-3] <= floor:
            return ((bounds[-2], bounds[-1]),)
        first = max(bisect_right(bounds, floor) & -2, len(bounds) - 2 * most)
        return tuple(zip(bounds[first::2], bounds[first + 1 :: 2], strict=True))[::-1]

    def add(self, start: int, stop: int) -> bool:
        """
        Add C{start <= n < stop}.

        @return: whether any of it is new.
        """
        if start >= stop:
            return False
        bounds = self._bounds
        if not bounds or start > bounds[-1]:
            bounds.append(start)
            bounds.append(stop)
            return True
        if start >= bounds[-2]:
            if stop <= bounds[-1]:
                return False
            bounds[-1] = stop
            return True
        low = bisect_right(bounds, start)
        if low & 1 and stop <= bounds[low]:
            return False
        low = bisect_left(bounds, start)
        high = bisect_right(bounds, stop)
        bounds[low:high] = ([] if low & 1 else [start]) + ([] if high & 1 else [stop])
        return True

    def remove(self, start: int, stop: int) -> None:
        """Remove C{start <= n < stop}; what is not in the set is no error."""
        if start >= stop:
            return
        bounds = self._bounds
        low = bisect_left(bounds, start)
        high = bisect_right(bounds, stop)
        bounds[low:high] = ([start] if low & 1 else []) + ([stop] if high & 1 else [])

    def remove_below(self, floor: int) -> None:
        """Remove every C{n < floor}."""
        bounds = self._bounds
        if not bounds or bounds[0] >= floor:
            return
        gone = bisect_right(bounds, floor)
        bounds[:gone] = [floor] if gone & 1 else []

    def missing(self, start: int, stop: int) -> list[tuple[int, int]]:
        """The ranges of C{start <= n < stop} that are not in the set, ascending."""
        gaps = []
        if self._bounds and start < self._bounds[-1]:
            for low, high in self:
                if high <= start:
                    continue
                if low >= stop:
                    break
                if low > start:
                    gaps.append((start, low))
                start = high
        if start < stop:
            gaps.append((start, stop))
        return gaps

    def drop_first(self) -> tuple[int, int]:
        """Remove and return the lowest range. @raise IndexError: when empty."""
        first = self.first()
        del self._bounds[:2]
        return first
