"""
Tests for L{hypermail.link.rtt}; the figures were worked out by hand from RFC 9002 §5 and §6.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hypermail.link.acks import MAX_ACK_DELAY
from hypermail.link.rtt import GRANULARITY, RoundTrip


class RoundTripTests(SynchronousTestCase):
    """The estimate of the round trip."""

    def assertEstimate(self, rtt: RoundTrip, smoothed: float, variation: float) -> None:
        """Both halves of the estimate, but for the last bits."""
        self.assertAlmostEqual(rtt.smoothed, smoothed, 12)
        self.assertAlmostEqual(rtt.variation, variation, 12)

    def test_before(self) -> None:
        """Before the first sample it is a guess, and says so."""
        rtt = RoundTrip()
        self.assertFalse(rtt.measured)
        self.assertEstimate(rtt, 0.1, 0.05)

    def test_first(self) -> None:
        """The first sample is taken as it is, its half as the variation; the peer's delay is not believed yet."""
        rtt = RoundTrip()
        rtt.sample(0.06, 0.02)
        self.assertTrue(rtt.measured)
        self.assertEstimate(rtt, 0.06, 0.03)
        self.assertEqual((rtt.latest, rtt.least), (0.06, 0.06))

    def test_second(self) -> None:
        """100 ms, then 120 ms of which the peer waited 10: 1/8 and 1/4 of the difference (RFC 9002 §5.3)."""
        rtt = RoundTrip()
        rtt.sample(0.1, 0.0)
        rtt.sample(0.12, 0.01)
        self.assertEstimate(rtt, 0.10125, 0.04)
        self.assertEqual((rtt.latest, rtt.least), (0.12, 0.1))

    def test_delay_limited(self) -> None:
        """A delay of more than the peer may wait is believed up to that."""
        rtt = RoundTrip()
        rtt.sample(0.1, 0.0)
        rtt.sample(0.2, 0.19)
        self.assertEstimate(rtt, (7 * 0.1 + 0.175) / 8, (3 * 0.05 + 0.075) / 4)

    def test_delay_below_least(self) -> None:
        """A delay that would make the sample smaller than the least is not subtracted."""
        rtt = RoundTrip()
        rtt.sample(0.1, 0.0)
        rtt.sample(0.11, 0.02)
        self.assertEstimate(rtt, (7 * 0.1 + 0.11) / 8, (3 * 0.05 + 0.01) / 4)

    def test_least(self) -> None:
        """The least sample is what was measured, without the peer's delay."""
        rtt = RoundTrip()
        for elapsed in (0.1, 0.08, 0.3):
            rtt.sample(elapsed, 0.02)
        self.assertEqual(rtt.least, 0.08)

    def test_probe_timeout(self) -> None:
        """Smoothed + 4 × variation + the peer's delay (RFC 9002 §6.2.1)."""
        rtt = RoundTrip()
        rtt.sample(0.1, 0.0)
        self.assertAlmostEqual(rtt.probe_timeout, 0.1 + 0.2 + MAX_ACK_DELAY, 12)

    def test_assumed(self) -> None:
        """Before anything was measured it follows from what is assumed, at another place of the peer's, too."""
        rtt = RoundTrip()
        self.assertAlmostEqual(rtt.probe_timeout, 0.1 + 0.2 + MAX_ACK_DELAY, 12)
        rtt.sample(1.0, 0.0)
        rtt.restart(0.01)
        self.assertAlmostEqual(rtt.probe_timeout, 0.01 + 0.02 + MAX_ACK_DELAY, 12)

    def test_steady(self) -> None:
        """On a path without variation the probe timeout keeps a millisecond of grace."""
        rtt = RoundTrip()
        for _ in range(100):
            rtt.sample(0.1, 0.0)
        self.assertAlmostEqual(rtt.probe_timeout, 0.1 + GRANULARITY + MAX_ACK_DELAY, 6)

    def test_loss_delay(self) -> None:
        """9/8 of the greater of smoothed and latest, at least a millisecond (RFC 9002 §6.1.2)."""
        rtt = RoundTrip()
        rtt.sample(0.08, 0.0)
        self.assertAlmostEqual(rtt.loss_delay, 0.09, 12)
        rtt.sample(0.16, 0.0)
        self.assertAlmostEqual(rtt.loss_delay, 0.18, 12)
        rtt.sample(0.08, 0.0)
        self.assertAlmostEqual(rtt.loss_delay, 1.125 * rtt.smoothed, 12)
        quick = RoundTrip()
        quick.sample(0.000_01, 0.0)
        self.assertEqual(quick.loss_delay, GRANULARITY)

    @settings(deadline=None)
    @given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 5_000)), min_size=1, max_size=30))
    def test_bounds(self, samples: list[tuple[float, float]]) -> None:
        """Whatever the peer says about its delay, the estimate stays between the least and the greatest sample."""
        rtt = RoundTrip()
        for elapsed, delay in samples:
            rtt.sample(elapsed, delay)
        measured = [elapsed for elapsed, _ in samples]
        self.assertEqual((rtt.least, rtt.latest), (min(measured), measured[-1]))
        self.assertLessEqual(min(measured) - 1e-9, rtt.smoothed)
        self.assertLessEqual(rtt.smoothed, max(measured) + 1e-9)
        self.assertGreaterEqual(rtt.variation, 0)
