"""
Tests for L{hypermail.link.hystart}: RFC 9406 §4.2 and §4.3.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from hypermail.link.hystart import HyStart


class HyStartTests(SynchronousTestCase):
    """Rounds of ten datagrams unless they say otherwise."""

    def setUp(self) -> None:
        self.hystart = HyStart()
        self.next = 10

    def round(self, *samples: float, datagrams: int = 1) -> None:
        """A round with these samples of the round trip, s, one for so many datagrams each."""
        first, self.next = self.next - 10, self.next + 10
        for number, sample in enumerate(samples):
            self.hystart.acked(datagrams, min(first + number, self.next - 11), self.next - 10, sample)

    def even(self, sample: float) -> None:
        """A round of ten equal samples."""
        self.round(*[sample] * 10)

    def test_quiet(self) -> None:
        """As long as round trips stay what they are growth is full."""
        for _ in range(20):
            self.even(0.1)
        self.assertEqual((self.hystart.divisor, self.hystart.over), (1, False))

    def test_rise(self) -> None:
        """A rise by an eighth makes growth four times slower at the eighth sample, less than that doesn't."""
        self.even(0.1)
        self.even(0.1124)
        self.assertEqual(self.hystart.divisor, 1)
        self.round(*[0.1266] * 7)
        self.assertEqual(self.hystart.divisor, 1, "seven samples are too few")
        self.hystart.acked(1, self.next - 15, self.next - 10, 0.1266)
        self.assertEqual(self.hystart.divisor, 4)

    def test_least_counts(self) -> None:
        """One sample without a queue is enough to show that there is none."""
        self.even(0.1)
        self.round(*[0.2] * 3, 0.1, *[0.2] * 6)
        self.assertEqual(self.hystart.divisor, 1)

    def test_smallest_rise(self) -> None:
        """On a short path it takes 4 ms."""
        self.even(0.001)
        self.even(0.0049)
        self.assertEqual(self.hystart.divisor, 1)
        self.even(0.0090)
        self.assertEqual(self.hystart.divisor, 4)

    def test_greatest_rise(self) -> None:
        """On a long path 16 ms are enough."""
        self.even(1.0)
        self.even(1.015)
        self.assertEqual(self.hystart.divisor, 1)
        self.even(1.032)
        self.assertEqual(self.hystart.divisor, 4)

    def test_round_before(self) -> None:
        """A round is compared with the one before it, not with the best ever: a slow drift is no queue of ours."""
        for drift in range(20):
            self.even(0.1 + drift * 0.01)
        self.assertEqual(self.hystart.divisor, 1)

    def test_late(self) -> None:
        """A queue that shows only in the last eight samples of a round is one."""
        self.even(0.1)
        self.round(*[0.1] * 2, *[0.12] * 7)
        self.assertEqual(self.hystart.divisor, 1)
        self.round(*[0.1] * 2, *[0.12] * 8)
        self.assertEqual(self.hystart.divisor, 4)

    def test_noise(self) -> None:
        """After a round in which nothing looks like a queue any more growth is full again, and looks out again."""
        self.even(0.1)
        self.even(0.12)
        self.assertEqual(self.hystart.divisor, 4)
        self.round(*[0.1] * 2, *[0.1126] * 8)
        self.assertEqual(self.hystart.divisor, 4)
        self.round(*[0.1] * 2, *[0.1124] * 8)
        self.assertEqual(self.hystart.divisor, 4, "until the round is over")
        self.even(0.1)
        self.assertEqual(self.hystart.divisor, 1)
        for _ in range(10):
            self.even(0.1)
        self.assertFalse(self.hystart.over)
        self.even(0.12)
        self.assertEqual(self.hystart.divisor, 4)

    def test_over(self) -> None:
        """After five rounds of that slow start is over; the one in which it began counts."""
        self.even(0.1)
        for _ in range(5):
            self.even(0.12)
            self.assertFalse(self.hystart.over)
        self.even(0.12)
        self.assertTrue(self.hystart.over)

    def test_sure(self) -> None:
        """A round that ends with round trips a third longer than before the queue is the last one."""
        for last, over in ((0.133, False), (0.134, True)):
            self.setUp()
            self.even(0.1)
            self.even(0.12)
            self.round(*[0.2] * 2, *[last] * 8)
            self.assertFalse(self.hystart.over)
            self.even(0.12)
            self.assertEqual(self.hystart.over, over)

    def test_rounds_start_afresh(self) -> None:
        """The rounds of an alarm that was false don't count for the next one."""
        self.even(0.1)
        for _ in range(4):
            self.even(0.12)
        self.even(0.1)
        self.even(0.1)
        self.assertEqual(self.hystart.divisor, 1)
        for _ in range(5):
            self.even(0.12)
            self.assertFalse(self.hystart.over)
        self.even(0.12)
        self.assertTrue(self.hystart.over)

    def test_few_acks(self) -> None:
        """A round with few acknowledgements of many datagrams is judged by all of them, at its end."""
        self.round(0.1, 0.1, datagrams=4)
        self.round(0.2, 0.15, datagrams=4)
        self.assertEqual(self.hystart.divisor, 1)
        self.round(0.15, datagrams=4)
        self.assertEqual(self.hystart.divisor, 4)

    def test_few_datagrams(self) -> None:
        """A round of fewer than eight datagrams says nothing."""
        self.even(0.1)
        for _ in range(10):
            self.round(0.2, datagrams=7)
            self.round(0.1, datagrams=7)
        self.assertEqual(self.hystart.divisor, 1)
