"""
Tests for L{hypermail.link.congestion.newreno}: RFC 9002 §7.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from hypermail.link.congestion import Congestion
from hypermail.link.congestion.newreno import NewReno
from hypermail.link.payload import Sent
from hypermail.link.rtt import RoundTrip
from hypermail.test.linking import acked, lost


def datagrams(count: int, time: float, size: int = 1_000) -> list[Sent]:
    """Datagrams that left at one time."""
    return [Sent(number, time, size, [], False) for number in range(count)]


class NewRenoTests(SynchronousTestCase):
    """Datagrams of 1,000 bytes on a path of 100 ms."""

    def setUp(self) -> None:
        self.rtt = RoundTrip()
        self.rtt.sample(0.1, 0.0)
        self.reno: Congestion = NewReno(1_000)

    def acked(self, count: int, time: float, now: float, limited: bool = True) -> None:
        """Acknowledge datagrams that were sent at a time."""
        self.reno.acked(acked(datagrams(count, time), now, limited=limited), self.rtt)

    def test_initial(self) -> None:
        """It begins with ten datagrams, and twice the window per round trip."""
        self.assertEqual(self.reno.window, 10_000)
        self.assertAlmostEqual(self.reno.rate(self.rtt), 200_000)

    def test_slow_start(self) -> None:
        """In slow start the window grows by what was acknowledged: it doubles each round trip."""
        self.acked(10, 0.0, 0.1)
        self.assertEqual(self.reno.window, 20_000)
        self.acked(20, 0.1, 0.2)
        self.assertEqual(self.reno.window, 40_000)

    def test_unused(self) -> None:
        """A window that held nobody back does not grow (RFC 9002 §7.8)."""
        self.acked(10, 0.0, 0.1, limited=False)
        self.assertEqual(self.reno.window, 10_000)

    def test_halved_once(self) -> None:
        """Loss halves the window, and what was sent before that halves it no further."""
        self.reno.lost(lost(datagrams(1, 0.0), 0.5), self.rtt)
        self.assertEqual(self.reno.window, 5_000)
        self.reno.lost(lost(datagrams(3, 0.5), 0.6), self.rtt)
        self.assertEqual(self.reno.window, 5_000)
        self.reno.lost(lost(datagrams(1, 0.51), 0.7), self.rtt)
        self.assertEqual(self.reno.window, 2_500)

    def test_newest_decides(self) -> None:
        """Of datagrams that were lost together the newest tells whether this is a new round trip."""
        self.reno.lost(lost(datagrams(1, 0.0), 0.5), self.rtt)
        self.reno.lost(lost([*datagrams(1, 0.4), *datagrams(1, 0.6)], 0.7), self.rtt)
        self.assertEqual(self.reno.window, 2_500)

    def test_least(self) -> None:
        """The window never falls below two datagrams."""
        for turn in range(10):
            self.reno.lost(lost(datagrams(1, turn + 0.5), turn + 1.0), self.rtt)
        self.assertEqual(self.reno.window, 2_000)

    def test_in_recovery(self) -> None:
        """What was sent before the loss was seen does not grow the window; what was sent after it does."""
        self.reno.lost(lost(datagrams(1, 0.0), 0.5), self.rtt)
        self.acked(5, 0.5, 0.6)
        self.acked(4, 0.55, 0.7)
        self.assertEqual(self.reno.window, 5_000)
        self.acked(1, 0.55, 0.7)
        self.assertEqual(self.reno.window, 6_000)

    def test_avoidance(self) -> None:
        """After a loss the window grows by one datagram for each window that is acknowledged."""
        self.reno.lost(lost(datagrams(1, 0.0), 0.5), self.rtt)
        for expected in (6_000, 7_000, 8_000):
            self.acked(self.reno.window // 1_000 - 1, 0.6, 0.7)
            self.assertEqual(self.reno.window, expected - 1_000)
            self.acked(1, 0.6, 0.7)
            self.assertEqual(self.reno.window, expected)

    def test_credit_starts_afresh(self) -> None:
        """What was acknowledged before a loss does not help the window to grow after it."""
        self.reno.lost(lost(datagrams(1, 0.0), 0.5), self.rtt)
        self.acked(4, 0.6, 0.7)
        self.reno.lost(lost(datagrams(1, 0.8), 0.9), self.rtt)
        self.acked(1, 1.0, 1.1)
        self.assertEqual(self.reno.window, 2_500)

    def test_persistent(self) -> None:
        """Persistent congestion leaves two datagrams, and slow start up to half the window before (RFC 9002 §7.6)."""
        self.reno.lost(lost(datagrams(2, 0.0), 0.5, persistent=True), self.rtt)
        self.assertEqual(self.reno.window, 2_000)
        self.acked(2, 0.1, 0.6)
        self.assertEqual(self.reno.window, 4_000)
        self.acked(2, 0.1, 0.6)
        self.assertEqual(self.reno.window, 6_000)
        self.acked(2, 0.1, 0.6)
        self.assertEqual(self.reno.window, 6_000)

    def test_rate(self) -> None:
        """In slow start two windows leave per round trip, later five quarters (RFC 9002 §7.7)."""
        self.reno.lost(lost(datagrams(1, 0.0), 0.5), self.rtt)
        self.assertAlmostEqual(self.reno.rate(self.rtt), 1.25 * 5_000 / 0.1)
        nothing = RoundTrip()
        nothing.sample(0.0, 0.0)
        self.assertLess(self.reno.rate(nothing), float("inf"))

    def test_undone(self) -> None:
        """A reaction to what was only late is taken back; one that was not in doubt stays."""
        self.reno.undo()
        self.assertEqual(self.reno.window, 10_000)
        self.reno.lost(lost(datagrams(1, 0.0), 0.5), self.rtt)
        self.reno.lost(lost(datagrams(1, 0.6), 0.7, first=False), self.rtt)
        self.assertEqual(self.reno.window, 2_500)
        self.reno.undo()
        self.assertEqual(self.reno.window, 10_000)
        self.acked(10, 0.8, 0.9)
        self.assertEqual(self.reno.window, 20_000)
        self.reno.lost(lost(datagrams(1, 1.0), 1.1), self.rtt)
        self.reno.lost(lost(datagrams(1, 1.2), 1.3), self.rtt)
        self.reno.undo()
        self.assertEqual(self.reno.window, 10_000)

    def test_marked(self) -> None:
        """A mark halves the window as a loss does, once for each round trip (RFC 9002 §7.1)."""
        self.reno.marked(0.0, 0.5)
        self.reno.marked(0.5, 0.6)
        self.assertEqual(self.reno.window, 5_000)

    def test_resized(self) -> None:
        """Larger datagrams leave the window as it is, but for its least."""
        self.reno.resized(4_000)
        self.assertEqual(self.reno.window, 10_000)
        self.reno.resized(9_000)
        self.assertEqual(self.reno.window, 18_000)
