"""
Tests for L{hypermail.wire.ranges}, against Python's own sets.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hypermail.wire.ranges import RangeSet

numbers = st.integers(0, 40)
operations = st.lists(
    st.tuples(
        st.sampled_from(["add", "add", "add", "remove", "remove_below", "drop_first"]),
        numbers,
        st.sampled_from([-1, 0, 1, 1, 2, 3, 10]),
    ),
    min_size=1,
    max_size=60,
)


def normal(integers: set[int]) -> list[tuple[int, int]]:
    """The sorted, disjoint, non-adjacent ranges of a set, by definition."""
    ranges = []
    for number in sorted(integers):
        if number - 1 not in integers:
            start = number
        if number + 1 not in integers:
            ranges.append((start, number + 1))
    return ranges


class RangeSetTests(SynchronousTestCase):
    """A set of integers as ranges."""

    @settings(deadline=None, max_examples=300)
    @given(operations)
    def test_model(self, operations: list[tuple[str, int, int]]) -> None:
        """After any operations it holds what a set holds, in normal form, and each operation tells the truth."""
        ranges = RangeSet()
        model: set[int] = set()
        for name, start, size in operations:
            stop = start + size
            if name == "add":
                self.assertEqual(ranges.add(start, stop), not model.issuperset(range(start, stop)))
                model.update(range(start, stop))
            elif name == "remove":
                ranges.remove(start, stop)
                model.difference_update(range(start, stop))
            elif name == "remove_below":
                ranges.remove_below(start)
                model = {number for number in model if number >= start}
            elif model:
                first = normal(model)[0]
                self.assertEqual(ranges.first(), first)
                self.assertEqual(ranges.drop_first(), first)
                model.difference_update(range(*first))
            expected = normal(model)
            self.assertEqual(list(ranges), expected)
            self.assertEqual(len(ranges), len(expected))
            self.assertEqual(ranges.total, len(model))
            self.assertEqual([number in ranges for number in range(52)], [number in model for number in range(52)])
            if model:
                self.assertEqual((ranges.first(), ranges.last()), (expected[0], expected[-1]))

    @settings(deadline=None)
    @given(st.lists(st.tuples(numbers, numbers)), numbers, numbers)
    def test_missing(self, added: list[tuple[int, int]], start: int, stop: int) -> None:
        """What is missing between two numbers is exactly what the set does not hold."""
        model = {number for pair in added for number in range(*pair)}
        self.assertEqual(RangeSet(added).missing(start, stop), normal(set(range(start, stop)) - model))

    @settings(deadline=None)
    @given(st.lists(st.tuples(numbers, numbers)), numbers, st.integers(1, 5))
    def test_highest(self, added: list[tuple[int, int]], floor: int, most: int) -> None:
        """The highest range is told in any case, others as far as they reach above the floor."""
        ranges = RangeSet(added)
        if not len(ranges):
            self.assertRaises(IndexError, ranges.highest, floor, most)
            return
        (*others, highest) = ranges
        above = [each for each in reversed(others) if each[1] > floor]
        self.assertEqual(ranges.highest(floor, most), (highest, *above)[:most])

    def test_neighbours(self) -> None:
        """Ranges that touch become one, below others as at the end, on either side and on both."""
        for added, expected in (
            ((3, 4), [(1, 4), (10, 12), (20, 22)]),
            ((8, 10), [(1, 3), (8, 12), (20, 22)]),
            ((3, 10), [(1, 12), (20, 22)]),
            ((2, 20), [(1, 22)]),
            ((22, 23), [(1, 3), (10, 12), (20, 23)]),
            ((4, 9), [(1, 3), (4, 9), (10, 12), (20, 22)]),
        ):
            ranges = RangeSet([(1, 3), (10, 12), (20, 22)])
            self.assertTrue(ranges.add(*added))
            self.assertEqual(list(ranges), expected)
            self.assertFalse(ranges.add(*added))

    def test_empty(self) -> None:
        """An empty set is falsy, holds nothing, has no first and no last range, and bears every question."""
        empty = RangeSet()
        self.assertFalse(empty)
        self.assertNotIn(0, empty)
        self.assertEqual((empty.total, list(empty), empty.missing(3, 5)), (0, [], [(3, 5)]))
        self.assertRaises(IndexError, empty.first)
        self.assertRaises(IndexError, empty.last)
        self.assertRaises(IndexError, empty.drop_first)
        empty.remove_below(10)
        empty.remove(0, 10)
        self.assertEqual(list(empty), [])

    def test_equality(self) -> None:
        """Sets are equal when they hold the same integers, whatever way they came about; they can't be hashed."""
        self.assertEqual(RangeSet([(1, 2), (2, 3)]), RangeSet([(1, 3)]))
        self.assertNotEqual(RangeSet([(1, 2)]), RangeSet([(1, 3)]))
        self.assertNotEqual(RangeSet([(0, 3)]), RangeSet([(1, 3)]))
        self.assertNotEqual(RangeSet(), [])
        self.assertRaises(TypeError, hash, RangeSet())

    def test_repr(self) -> None:
        """Its representation shows the ranges."""
        self.assertEqual(repr(RangeSet([(1, 3), (5, 6)])), "RangeSet([(1, 3), (5, 6)])")
