"""
What reopening costs in round trips, as C{benchmarks.reopening} figures it.
"""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

if HERE := (Path(__file__).resolve().parents[2] / "benchmarks").exists():
    from benchmarks.reopening import roundTrips


class RoundTripsTests(SynchronousTestCase):
    """In the simulated network, where time is exact."""

    def test_reopening(self) -> None:
        """New bytes are at the listener one round trip later than over a link, at the starter one and a half."""
        if not HERE:
            raise SkipTest("benchmarks are not installed, they need a checkout")
        for mode in ("tls", "secret"):
            found = {what: tuple(round(trips, 1) for trips in both) for what, both in roundTrips(mode).items()}
            self.assertEqual(found, {"opening": (2.5, 2.5), "meanwhile": (0.5, 0.5), "reopening": (1.5, 2.0)})
