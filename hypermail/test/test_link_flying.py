"""
Tests for L{hypermail.link.flying}: what left together is one entry, and never anything else than its datagrams.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hypermail.link.delivery import DeliveryRate
from hypermail.link.flying import Flying
from hypermail.link.payload import Content, Sent
from hypermail.test.linking import Ledger
from hypermail.wire.ranges import RangeSet

SIZE = 1_400
STEP = 1_352


def sent(first: int, count: int, source: Ledger, long: bool = False) -> Sent:
    """Datagrams from C{first} on, filled with the bytes from C{first * STEP} on."""
    contents: list[Content] = [(source, first * STEP, (first + count) * STEP)]
    made = Sent(first + count - 1, 1.0, SIZE, contents, long, count, STEP)
    made.stamp = DeliveryRate().stamp
    return made


def numbers(entries: list[Sent]) -> list[int]:
    """Of all datagrams, ascending."""
    return sorted(number for entry in entries for number in range(entry.first, entry.number + 1))


class SentTests(SynchronousTestCase):
    """Several in one."""

    def test_each(self) -> None:
        """Every datagram by itself has its own number, and its own share of the contents."""
        source = Ledger()
        each = list(sent(5, 3, source).each())
        self.assertEqual([(one.number, one.count, one.total) for one in each], [(n, 1, SIZE) for n in (5, 6, 7)])
        self.assertEqual([one.contents for one in each], [[(source, n * STEP, n * STEP + STEP)] for n in (5, 6, 7)])
        self.assertEqual({one.stamp for one in each}, {DeliveryRate().stamp})

    def test_cut(self) -> None:
        """The first of several have the first of the contents."""
        source = Ledger()
        rest = sent(5, 5, source)
        taken = rest.cut(2)
        self.assertEqual((taken.first, taken.number, taken.total), (5, 6, 2 * SIZE))
        self.assertEqual((rest.first, rest.number, rest.total), (7, 9, 3 * SIZE))
        self.assertEqual(taken.contents, [(source, 5 * STEP, 7 * STEP)])
        self.assertEqual(rest.contents, [(source, 7 * STEP, 10 * STEP)])


class FlyingTests(SynchronousTestCase):
    """What acknowledgements take out."""

    def setUp(self) -> None:
        self.flying = Flying()
        self.source = Ledger()

    def add(self, *counts: int) -> None:
        """So many leave at once, then so many."""
        first = self.flying.newest + 1
        for count in counts:
            self.flying.add(sent(first, count, self.source))
            first += count

    def left(self) -> list[int]:
        """Numbers that are in flight, in the order of the entries."""
        return [number for entry in self.flying for number in range(entry.first, entry.number + 1)]

    def test_whole(self) -> None:
        """Several that are all covered come out as they went in."""
        self.add(4, 1, 3)
        taken = self.flying.take([(0, 5)], False)
        self.assertEqual([(entry.first, entry.count) for entry in taken], [(0, 4), (4, 1)])
        self.assertEqual((self.left(), self.flying.size), ([5, 6, 7], 3 * SIZE))

    def test_first(self) -> None:
        """The first of several are cut off, and the others stay together."""
        self.add(40)
        for stop in (16, 32):
            (taken,) = self.flying.take([(0, stop)], False)
            self.assertEqual((taken.first, taken.count), (stop - 16, 16))
        self.assertEqual([(entry.first, entry.count) for entry in self.flying], [(32, 8)])
        self.assertEqual(self.flying.size, 8 * SIZE)

    def test_middle(self) -> None:
        """Others make single ones of them."""
        self.add(3, 6, 3)
        taken = self.flying.take([(9, 10), (6, 8), (4, 5)], False)
        self.assertEqual(numbers(taken), [4, 6, 7, 9])
        self.assertEqual(self.left(), [0, 1, 2, 3, 5, 8, 10, 11])
        self.assertEqual(self.flying.size, 8 * SIZE)

    def test_long(self) -> None:
        """Numbers of the other kind of datagram cover nothing."""
        self.add(3)
        self.assertEqual(self.flying.take([(0, 3)], True), [])
        self.assertEqual(self.left(), [0, 1, 2])

    def test_ends(self) -> None:
        """The oldest entry, and the highest number."""
        self.assertEqual((self.flying.oldest, self.flying.newest, bool(self.flying)), (None, -1, False))
        self.add(3, 2)
        assert self.flying.oldest is not None
        self.assertEqual((self.flying.oldest.first, self.flying.newest, bool(self.flying)), (0, 4, True))
        self.flying.take([(0, 5)], False)
        self.assertEqual((self.flying.oldest, self.flying.size), (None, 0))

    def test_of(self) -> None:
        """What of a source is in flight."""
        self.add(3, 2)
        self.flying.add(sent(5, 2, Ledger()))
        self.flying.take([(1, 2)], False)
        self.assertEqual(self.flying.of(self.source), RangeSet([(0, STEP), (2 * STEP, 5 * STEP)]))

    @given(st.lists(st.integers(1, 9), max_size=8), st.lists(st.sets(st.integers(0, 80), min_size=1), max_size=6))
    def test_model(self, counts: list[int], acknowledged: list[set[int]]) -> None:
        """Whatever left together, and whatever is acknowledged: it is a set of numbers."""
        self.setUp()
        self.add(*counts)
        model = set(range(sum(counts)))
        for some in acknowledged:
            ranges = RangeSet((number, number + 1) for number in some)
            taken = self.flying.take(list(ranges)[::-1], False)
            self.assertEqual(numbers(taken), sorted(model & some))
            model -= some
            self.assertEqual(self.left(), sorted(model))
            self.assertEqual(self.flying.size, SIZE * len(model))
            for entry in taken:
                start, stop = entry.contents[0][1:]
                self.assertEqual((start, stop), (entry.first * STEP, (entry.number + 1) * STEP))
