"""
Values of numbers, most of which follow each other: what a lane keeps of its messages, a list for each run.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from itertools import chain
from typing import Generic, TypeVar

T = TypeVar("T")

#: Values of a run at which it grows no more, so that it is cheap to take some of its first ones away.
LONG = 512


class Runs(Generic[T]):
    """
    Numbers, each with a value, in ascending order.

    What is done with a whole run costs the same for one number as for hundreds.

    @ivar count: how many numbers there are.
    """

    __slots__ = ("_firsts", "_runs", "count")

    def __init__(self) -> None:
        self._firsts: list[int] = []
        self._runs: list[list[T]] = []
        self.count = 0

    def __iter__(self) -> Iterator[T]:
        """The values, by ascending numbers."""
        return chain.from_iterable(self._runs)

    def has(self, numbers: list[int]) -> bool:
        """Whether all of these are there; soon said of those that follow each other in one run."""
        first, count = numbers[0], len(numbers)
        at = bisect_right(self._firsts, first) - 1
        if at >= 0 and first + count <= self._firsts[at] + len(self._runs[at]):
            if count == 1 or numbers == list(range(first, first + count)):
                return True
        return all(number in self for number in numbers)

    def __contains__(self, number: int) -> bool:
        at = bisect_right(self._firsts, number) - 1
        return at >= 0 and number < self._firsts[at] + len(self._runs[at])

    @property
    def first(self) -> int:
        """The lowest number. @raise IndexError: when there is none."""
        return self._firsts[0]

    def add(self, first: int, values: list[T]) -> None:
        """
        Add consecutive numbers, of which none is there.

        @param first: the lowest of them.
        @param values: at least one; the list belongs to this from now on.
        """
        firsts, runs = self._firsts, self._runs
        self.count += len(values)
        at = len(firsts) if not firsts or first > firsts[-1] else bisect_right(firsts, first)
        if at and firsts[at - 1] + len(runs[at - 1]) == first and len(runs[at - 1]) < LONG:
            runs[at - 1] += values
        else:
            firsts.insert(at, first)
            runs.insert(at, values)

    def pop(self, most: int) -> tuple[int, list[T]]:
        """
        Remove the lowest numbers, of one run.

        @param most: how many; at least 1.
        @return: the lowest, and the values.
        @raise IndexError: when there is none.
        """
        first, values = self._firsts[0], self._runs[0]
        if len(values) <= most:
            del self._firsts[0], self._runs[0]
        else:
            self._firsts[0] = first + most
            self._runs[0] = values[most:]
            values = values[:most]
        self.count -= len(values)
        return first, values

    def remove(self, first: int, count: int) -> list[T] | None:
        """
        Remove consecutive numbers.

        @param count: at least 1.
        @return: their values; None, and nothing is removed, when one of them is not there.
        """
        firsts, runs = self._firsts, self._runs
        low = high = bisect_right(firsts, first) - 1
        if low < 0:
            return None
        begin, number, stop = firsts[low], first, first + count
        values: list[T] = []
        while number < stop:
            if high == len(firsts) or not firsts[high] <= number < firsts[high] + len(runs[high]):
                return None
            values += runs[high][number - firsts[high] : stop - firsts[high]]
            number = firsts[high] + len(runs[high])
            high += 1
        before, after = runs[low][: first - begin], runs[high - 1][len(runs[high - 1]) - (number - stop) :]
        firsts[low:high] = ([begin] if before else []) + ([stop] if number > stop else [])
        runs[low:high] = ([before] if before else []) + ([after] if number > stop else [])
        self.count -= count
        return values

    def since(self, number: int) -> list[T]:
        """The values of all numbers from one on."""
        found: list[T] = []
        for first, values in zip(self._firsts, self._runs):
            found += values[max(0, number - first) :]
        return found

    def clear(self) -> None:
        """Remove all, and give back the room that they took."""
        self._firsts = []
        self._runs = []
        self.count = 0
