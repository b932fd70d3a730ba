"""
Tests for L{hypermail.link.delivery}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from hypermail.link.delivery import DeliveryRate, Sample


class DeliveryTests(SynchronousTestCase):
    """Datagrams of 1,000 bytes."""

    def setUp(self) -> None:
        self.delivery = DeliveryRate()

    def test_steady(self) -> None:
        """What was delivered while a datagram was under way, over that time, is the rate."""
        self.delivery.begin(10.0)
        stamps = {10.0 + at / 100: self.delivery.stamp for at in range(10)}
        for sent, stamp in stamps.items():
            sample = self.delivery.acked(1_000, stamp, sent, sent + 0.1)
            stamps[sent] = self.delivery.stamp
        for sent, stamp in stamps.items():  # the second round: each leaves when one of the first arrives
            sample = self.delivery.acked(1_000, stamp, sent + 0.1, sent + 0.2)
            assert sample is not None
            self.assertEqual((sample.delivered, sample.idle), (10_000, False))
            self.assertAlmostEqual(sample.rate, 100_000)
        assert sample is not None
        self.assertEqual((sample.prior, sample.total), (10_000, 20_000))

    def test_burst_back(self) -> None:
        """Acknowledgements that come squeezed together don't make the path faster than things were sent."""
        self.delivery.begin(0.0)
        first = self.delivery.stamp
        self.delivery.acked(1_000, first, 0.0, 0.1)
        second = self.delivery.stamp
        self.delivery.acked(8_000, first, 0.09, 0.2)
        sample = self.delivery.acked(1_000, second, 0.1, 0.2001)
        assert sample is not None
        self.assertEqual(sample.delivered, 9_000)
        self.assertAlmostEqual(sample.interval, 0.1001)

    def test_burst_forth(self) -> None:
        """Nor do datagrams that left together, when they come one after the other."""
        self.delivery.begin(0.0)
        stamp = self.delivery.stamp
        for number in range(1, 11):
            sample = self.delivery.acked(1_000, stamp, 0.0, 0.1 + number / 100)
        assert sample is not None
        self.assertEqual(sample.delivered, 10_000)
        self.assertAlmostEqual(sample.interval, 0.2)

    def test_slow_sending(self) -> None:
        """When sending took longer than arriving, that is the time that counts."""
        self.delivery.begin(0.0)
        stamp = self.delivery.stamp
        sample = self.delivery.acked(10_000, stamp, 0.5, 0.1)
        assert sample is not None
        self.assertAlmostEqual(sample.interval, 0.5)

    def test_no_time(self) -> None:
        """No time, no rate; but what was delivered is counted."""
        self.delivery.begin(1.0)
        self.assertIsNone(self.delivery.acked(1_000, self.delivery.stamp, 1.0, 1.0))
        self.assertEqual(self.delivery.stamp[0], 1_000)

    def test_pause(self) -> None:
        """Time without anything in flight counts for nothing."""
        self.delivery.begin(0.0)
        self.delivery.acked(1_000, self.delivery.stamp, 0.0, 0.1)
        self.delivery.begin(100.0)
        sample = self.delivery.acked(1_000, self.delivery.stamp, 100.0, 100.1)
        assert sample is not None
        self.assertEqual(sample, Sample(1_000, sample.interval, 1_000, 2_000, False))
        self.assertAlmostEqual(sample.interval, 0.1)

    def test_idle(self) -> None:
        """Samples of datagrams that left while the application had no more to say are known by that."""
        self.delivery.begin(0.0)
        busy = self.delivery.stamp
        self.delivery.idle(2_000)
        self.delivery.idle(2_000)
        idle = self.delivery.stamp
        marks = []
        for stamp, at in ((busy, 0.1), (idle, 0.2)):
            sample = self.delivery.acked(1_000, stamp, at, at + 0.1)
            assert sample is not None
            marks.append(sample.idle)
        self.assertEqual(marks, [False, True])
        self.assertTrue(self.delivery.stamp[3], "what was in flight then was all that there was")
        self.delivery.acked(1_000, idle, 0.3, 0.4)
        self.assertFalse(self.delivery.stamp[3], "it has gone on")

    def test_late_word(self) -> None:
        """Time does not go back, whatever the peer says of how long it has waited."""
        self.delivery.begin(1.0)
        self.delivery.acked(1_000, self.delivery.stamp, 1.0, 1.1)
        self.delivery.acked(1_000, self.delivery.stamp, 1.05, 0.9)
        self.assertEqual(self.delivery.stamp[:2], (2_000, 1.1))
