"""
Tests for L{hypermail.streams.flow}.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hypermail.streams.flow import Pool


class PoolTests(SynchronousTestCase):
    """What all streams of a session share."""

    def test_share(self) -> None:
        """No reader gets more than its share, and all together no more than there is."""
        pool = Pool(10, 100, 1_000)
        for _ in range(4):
            pool.join()
        self.assertEqual([pool.grant(60) for _ in range(5)], [25, 25, 25, 25, 0])
        self.assertEqual(pool.used, 100)

    def test_wantsLess(self) -> None:
        """Who wants less than its share gets what it wants."""
        pool = Pool(10, 100, 1_000)
        pool.join()
        self.assertEqual(pool.grant(30), 30)

    def test_leaving(self) -> None:
        """Who leaves gives back what it had, and the others' shares grow."""
        pool = Pool(10, 100, 1_000)
        pool.join()
        pool.join()
        granted = pool.grant(100)
        pool.leave(granted)
        self.assertEqual((pool.used, pool.grant(100)), (0, 100))

    def test_kept(self) -> None:
        """What was promised counts even beyond the pool, and nobody gets more until it is given back."""
        pool = Pool(10, 100, 1_000)
        pool.join()
        pool.keep(120)
        self.assertEqual(pool.grant(10), 0)
        pool.give_back(120)
        self.assertEqual(pool.grant(10), 10)

    def test_empty(self) -> None:
        """A pool of nothing grants nothing."""
        pool = Pool(10, 0, 0)
        pool.join()
        self.assertEqual(pool.grant(10), 0)

    def test_grows(self) -> None:
        """The pool grows with what applications read in a round trip, up to its bound, and never shrinks."""
        pool = Pool(10, 100, 1_000)
        pool.delivered(100, 0.0, 1.0)
        pool.delivered(50, 0.5, 1.0)
        self.assertEqual(pool.size, 100)
        pool.delivered(50, 1.0, 1.0)
        self.assertEqual(pool.size, 800)
        pool.delivered(10_000, 2.0, 1.0)
        self.assertEqual(pool.size, 1_000)
        pool.delivered(1, 3.0, 1.0)
        self.assertEqual(pool.size, 1_000)

    def test_pause(self) -> None:
        """A time in which nothing was read is not measured."""
        pool = Pool(10, 100, 1_000)
        pool.delivered(0, 1.0, 1.0)
        pool.delivered(5_000, 50.0, 1.0)
        self.assertEqual(pool.size, 100)

    def test_fixed(self) -> None:
        """A pool whose bound is below its size keeps its size."""
        pool = Pool(10, 100, 50)
        pool.delivered(5_000, 1.0, 1.0)
        pool.delivered(5_000, 2.0, 1.0)
        self.assertEqual(pool.size, 100)

    @given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 500)), max_size=80))
    def test_bounded(self, steps: list[tuple[int, int]]) -> None:
        """However readers come, want and go, the pool never grants more than it holds."""
        pool = Pool(10, 300, 300)
        readers: dict[int, int] = {}
        for reader, wanted in steps:
            if reader not in readers:
                pool.join()
                readers[reader] = 0
            elif wanted < 100:
                pool.leave(readers.pop(reader))
            else:
                pool.give_back(readers[reader])
                readers[reader] = pool.grant(wanted)
                self.assertLessEqual(readers[reader], wanted)
            self.assertEqual(pool.used, sum(readers.values()))
            self.assertLessEqual(pool.used, pool.size)
