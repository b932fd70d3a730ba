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

    __slots__ = ("_starts", "_stops")

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []
        for start, stop in ranges:
            self.add(start, stop)

    def __len__(self) -> int:
        """How many ranges there are (not how many integers)."""
        return len(self._starts)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """The ranges, ascending, as (start, stop)."""
        return zip(self._starts, self._stops)

    def __reversed__(self) -> Iterator[tuple[int, int]]:
        """The ranges, descending."""
        return zip(reversed(self._starts), reversed(self._stops))

    def __contains__(self, number: int) -> bool:
        index = bisect_right(self._starts, number) - 1
        return index >= 0 and number < self._stops[index]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RangeSet) and self._starts == other._starts and self._stops == other._stops

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"RangeSet({list(self)!r})"

    @property
    def total(self) -> int:
        """How many integers the set holds."""
        return sum(self._stops) - sum(self._starts)

    def first(self) -> tuple[int, int]:
        """The lowest range. @raise IndexError: when empty."""
        return self._starts[0], self._stops[0]

    def last(self) -> tuple[int, int]:
        """The highest range. @raise IndexError: when empty."""
        return self._starts[-1], self._stops[-1]

    def add(self, start: int, stop: int) -> bool:
        """
        Add C{start <= n < stop}.

        @return: whether any of it is new.
        """
        if start >= stop:
            return False
        starts, stops = self._starts, self._stops
        if not starts or start > stops[-1]:
            starts.append(start)
            stops.append(stop)
            return True
        if start >= starts[-1]:
            if stop <= stops[-1]:
                return False
            stops[-1] = stop
            return True
        low = bisect_left(stops, start)
        high = bisect_right(starts, stop)
        if low == high:
            starts.insert(low, start)
            stops.insert(low, stop)
            return True
        if high - low == 1 and starts[low] <= start and stop <= stops[low]:
            return False
        starts[low:high] = [min(start, starts[low])]
        stops[low:high] = [max(stop, stops[high - 1])]
        return True

    def remove(self, start: int, stop: int) -> None:
        """Remove C{start <= n < stop}; what is not in the set is no error."""
        starts, stops = self._starts, self._stops
        low = bisect_right(stops, start)
        high = bisect_left(starts, stop)
        if low >= high or start >= stop:
            return
        kept_starts: list[int] = []
        kept_stops: list[int] = []
        if starts[low] < start:
            kept_starts.append(starts[low])
            kept_stops.append(start)
        if stops[high - 1] > stop:
            kept_starts.append(stop)
            kept_stops.append(stops[high - 1])
        starts[low:high] = kept_starts
        stops[low:high] = kept_stops

    def remove_below(self, floor: int) -> None:
        """Remove every C{n < floor}."""
        starts, stops = self._starts, self._stops
        if not starts or starts[0] >= floor:
            return
        gone = bisect_right(stops, floor)
        del starts[:gone], stops[:gone]
        if starts and starts[0] < floor:
            starts[0] = floor

    def missing(self, start: int, stop: int) -> list[tuple[int, int]]:
        """The ranges of C{start <= n < stop} that are not in the set, ascending."""
        gaps = []
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
        """Remove and return the lowest range."""
        return self._starts.pop(0), self._stops.pop(0)
