"""
Tests for L{hypermail.link.congestion.cubic}: RFC 9438, and RFC 9406 as far as it is the window's.
"""

from __future__ import annotations

from math import isfinite

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hypermail.link.congestion import Acked, Congestion
from hypermail.link.congestion.cubic import LEAST_BYTES, PACE, Cubic
from hypermail.link.payload import Sent
from hypermail.link.rtt import RoundTrip
from hypermail.test.linking import acked, lost

SIZE = 1_000


class CubicTestCase(SynchronousTestCase):
    """Datagrams of 1,000 bytes on a path of 100 ms."""

    round_trip = 0.1

    def setUp(self) -> None:
        self.rtt = RoundTrip()
        self.rtt.sample(self.round_trip, 0.0)
        self.cubic: Congestion = Cubic(SIZE)
        self.now = 0.0
        self.number = 0

    def datagrams(self, count: int, time: float) -> list[Sent]:
        """Datagrams that left at one time."""
        first, self.number = self.number, self.number + count
        return [Sent(number, time, SIZE, [], False) for number in range(first, self.number)]

    def acked(self, count: int, time: float, now: float, limited: bool = True, in_flight: int | None = None) -> None:
        """Acknowledge datagrams that were sent at a time; by default the window was full."""
        if in_flight is None:
            in_flight = max(0, self.cubic.window - count * SIZE)
        sent = self.datagrams(count, time)
        news = acked(sent, now, limited=limited, in_flight=in_flight, next=self.number + in_flight // SIZE)
        self.cubic.acked(news, self.rtt)

    def lose(self, time: float, now: float, first: bool = True, persistent: bool = False) -> None:
        """Lose a datagram that was sent at a time."""
        self.cubic.lost(lost(self.datagrams(1, time), now, first=first, persistent=persistent), self.rtt)

    def go(self, seconds: float, limited: bool = True) -> None:
        """Round trips in which everything arrives, in ten acknowledgements each."""
        until = self.now + seconds
        while self.now < until - 1e-9:
            window = self.cubic.window // SIZE
            began = self.now
            for part in range(10):
                count = window * (part + 1) // 10 - window * part // 10
                self.now = began + self.rtt.smoothed * (part + 1) / 10
                if count:
                    self.acked(count, began, self.now, limited=limited)

    def grow(self, window: int) -> None:
        """Slow start up to a window, a loss there, and what was in flight then."""
        while self.cubic.window < window:
            self.acked(min(100, (window - self.cubic.window) // SIZE), self.now, self.now)
        self.lose(self.now, self.now)
        self.now += 1e-6


class SlowStartTests(CubicTestCase):
    """The beginning."""

    def test_initial(self) -> None:
        """It begins with ten datagrams, and twice the window per round trip."""
        self.assertEqual(self.cubic.window, 10_000)
        self.assertAlmostEqual(self.cubic.rate(self.rtt), 200_000)

    def test_doubles(self) -> None:
        """The window grows by what was acknowledged: it doubles each round trip."""
        self.acked(10, 0.0, 0.1)
        self.assertEqual(self.cubic.window, 20_000)
        self.acked(20, 0.1, 0.2)
        self.assertEqual(self.cubic.window, 40_000)

    def test_unused(self) -> None:
        """A window that held nobody back does not grow (RFC 9002 §7.8)."""
        self.acked(10, 0.0, 0.1, limited=False)
        self.assertEqual(self.cubic.window, 10_000)

    def test_half_unused(self) -> None:
        """Nor does one of which less than half is used, whatever it was that held the sender back."""
        self.acked(4, 0.0, 0.1, in_flight=0)
        self.assertEqual(self.cubic.window, 10_000)
        self.acked(4, 0.1, 0.2, in_flight=1_000)
        self.assertEqual(self.cubic.window, 14_000)

    def test_used_in_this_round(self) -> None:
        """What counts is the most that was in flight in the round, since acknowledgements come in bursts."""
        self.acked(2, 0.0, 0.1, in_flight=8_000)
        for in_flight in (6_000, 4_000, 2_000, 0):
            self.acked(2, 0.0, 0.1, in_flight=in_flight)
        self.assertEqual(self.cubic.window, 20_000)
        self.acked(2, 0.1, 0.2, in_flight=2_000)
        self.assertEqual(self.cubic.window, 20_000, "a new round, with little in flight")

    def test_queue(self) -> None:
        """A round trip that rises slows growth down, and ends it five rounds later (RFC 9406), without loss."""
        self.go(0.2)
        self.assertEqual(self.cubic.window, 40_000)
        self.rtt.sample(0.12, 0.0)
        before = self.cubic.window
        self.go(0.1)
        # In a round of ten acknowledgements it is the eighth that shows the rise.
        self.assertEqual(self.cubic.window, before + before * 7 // 10 + before * 3 // 10 // 4)
        for _ in range(4):
            before = self.cubic.window
            self.go(0.1)
            self.assertApproximates(self.cubic.window, before * 5 / 4, before * 0.03)
            self.assertAlmostEqual(self.cubic.rate(self.rtt), 2 * self.cubic.window / self.rtt.smoothed)
        before = self.cubic.window
        self.go(0.1)
        self.assertAlmostEqual(self.cubic.rate(self.rtt), PACE * self.cubic.window / self.rtt.smoothed)
        # RFC 9438 §4.10: the curve begins at its plateau (K = 0), and additive increase has caught up at once.
        self.assertApproximates(self.cubic.window, before + SIZE, 200)

    def test_only_at_first(self) -> None:
        """A later slow start goes up to its threshold whatever the round trip says (RFC 9406 §4.3)."""
        self.grow(100_000)
        self.lose(self.now, self.now + 0.1, persistent=True)
        self.now += 0.2
        for expected in (4_000, 8_000, 16_000, 32_000, 49_000):
            self.rtt.sample(expected / 10_000, 0.0)
            self.acked(self.cubic.window // SIZE, self.now, self.now)
            self.assertApproximates(self.cubic.window, expected, 1)


class ReductionTests(CubicTestCase):
    """Losses and marks."""

    def test_once(self) -> None:
        """A loss leaves 0.7 of the window, and what was sent before that loss was seen leaves no less (§4.6)."""
        self.lose(0.0, 0.5)
        self.assertEqual(self.cubic.window, 7_000)
        self.lose(0.5, 0.6)
        self.assertEqual(self.cubic.window, 7_000)
        self.lose(0.51, 0.7)
        self.assertEqual(self.cubic.window, 4_900)

    def test_newest_decides(self) -> None:
        """Of datagrams that were lost together the newest tells whether this is a new round trip."""
        self.lose(0.0, 0.5)
        self.cubic.lost(lost([*self.datagrams(1, 0.4), *self.datagrams(1, 0.6)], 0.7), self.rtt)
        self.assertEqual(self.cubic.window, 4_900)

    def test_least(self) -> None:
        """The window falls to 4,800 bytes by losses, or two datagrams; where it is less already, it stays."""
        for turn in range(10):
            self.lose(turn + 0.5, turn + 1.0)
        self.assertEqual(self.cubic.window, LEAST_BYTES)
        self.lose(20.0, 20.5, persistent=True)
        self.lose(21.0, 21.5)
        self.assertEqual(self.cubic.window, 2_000)
        self.cubic.resized(4_000)
        for turn in range(30, 40):
            self.lose(turn + 0.5, turn + 1.0)
        self.assertEqual(self.cubic.window, 8_000)

    def test_in_recovery(self) -> None:
        """What was sent before the loss was seen does not grow the window; what was sent after it does."""
        self.lose(0.0, 0.5)
        self.acked(7, 0.5, 0.6)
        self.assertEqual(self.cubic.window, 7_000)
        both = [*self.datagrams(3, 0.5), *self.datagrams(4, 0.55)]
        self.cubic.acked(acked(both, 0.7, in_flight=7_000, next=100), self.rtt)
        self.assertEqual(self.cubic.window, int(7_000 + 4 / 7 * 9 / 17 * SIZE))

    def test_marked(self) -> None:
        """A mark is answered as a loss is, once for each round trip (§4.6)."""
        self.cubic.marked(0.0, 0.5)
        self.cubic.marked(0.5, 0.6)
        self.assertEqual(self.cubic.window, 7_000)
        self.cubic.marked(0.6, 0.7)
        self.assertEqual(self.cubic.window, 4_900)

    def test_rate(self) -> None:
        """In avoidance five quarters of the window leave per round trip (RFC 9002 §7.7); the rate is always finite."""
        self.lose(0.0, 0.5)
        self.assertAlmostEqual(self.cubic.rate(self.rtt), PACE * 7_000 / 0.1)
        nothing = RoundTrip()
        nothing.sample(0.0, 0.0)
        self.assertLess(self.cubic.rate(nothing), float("inf"))

    def test_persistent(self) -> None:
        """Persistent congestion leaves two datagrams, and slow start up to 0.7 of the window before (§4.8)."""
        self.lose(0.0, 0.5, persistent=True)
        self.assertEqual(self.cubic.window, 2_000)
        self.acked(2, 0.1, 0.6)
        self.assertEqual(self.cubic.window, 2_000, "that had left before")
        for expected in (4_000, 7_000):
            self.acked(self.cubic.window // SIZE, 0.6, 0.7)
            self.assertEqual(self.cubic.window, expected)
        self.lose(0.5, 0.8)
        self.assertEqual(self.cubic.window, 7_000, "that, too")

    def test_persistent_in_recovery(self) -> None:
        """Losses that show persistent congestion only after the window was reduced leave two datagrams, too."""
        self.lose(0.0, 0.5)
        self.lose(0.4, 0.6, persistent=True)
        self.assertEqual(self.cubic.window, 2_000)
        self.acked(2, 0.7, 0.8)
        self.acked(4, 0.7, 0.8)
        self.assertEqual(self.cubic.window, 7_000)

    def test_after_persistent(self) -> None:
        """After it there is no plateau from before: the curve begins flat where slow start ended (§4.8)."""
        self.grow(1_000_000)
        self.lose(self.now, self.now + 0.1, persistent=True)
        self.now += 0.2
        while self.cubic.window < 490_000:
            self.acked(self.cubic.window // SIZE, self.now, self.now)
        self.go(1.0)
        self.assertLess(self.cubic.window, 490_000 + 11 * SIZE)

    def test_resized(self) -> None:
        """Larger datagrams leave the window as it is, but for its least, which they raise."""
        self.cubic.resized(4_000)
        self.assertEqual(self.cubic.window, 10_000)
        self.cubic.resized(9_000)
        self.assertEqual(self.cubic.window, 18_000)
        self.lose(0.0, 0.5)
        self.assertEqual(self.cubic.window, 18_000)


class CurveTests(CubicTestCase):
    """Congestion avoidance where the path is long and fast."""

    def test_back_at_the_plateau(self) -> None:
        """K seconds after a loss the window is what it was, having slowed down before it (§4.2, §4.4)."""
        self.grow(1_000_000)
        self.assertEqual(self.cubic.window, 700_000)
        # K is the cube root of 300 / 0.4 = 9.086 s.
        self.go(4.5)
        half_way = self.cubic.window
        # The curve has left an eighth of what it was below the plateau.
        self.assertApproximates(half_way, 1_000_000 - 300_000 / 8, 3_000)
        self.go(4.6)
        self.assertApproximates(self.cubic.window, 1_000_000, 1_000)

    def test_beyond_the_plateau(self) -> None:
        """Beyond K it looks for more: as far above the plateau as it was below it, after as long again (§4.5)."""
        self.grow(1_000_000)
        self.go(2 * 9.086)
        self.assertApproximates(self.cubic.window, 1_300_000, 12_000)

    def test_ahead_by_a_round_trip(self) -> None:
        """The window aims at where the curve will be a round trip from now (§4.2)."""
        self.grow(1_000_000)
        self.acked(100, self.now, self.now)
        for _ in range(40):
            self.acked(100, self.now, self.now + 0.05)
        # 150 ms after the loss: 1,000 - 0.4 × (9.0856 - 0.15)³ datagrams.
        self.assertApproximates(self.cubic.window, 1_000_000 - 400 * (9.0856 - 0.15) ** 3, 100)

    def test_not_too_fast(self) -> None:
        """However far ahead the curve is, a round trip brings no more than half of the window (§4.2)."""
        self.grow(20_000)
        self.acked(14, self.now, self.now)
        before = self.cubic.window
        self.acked(14, self.now + 60, self.now + 60)
        self.assertApproximates(self.cubic.window, before + before * 0.5 * 14_000 / before, 2)

    def test_fast_convergence(self) -> None:
        """Who has to give way before it was back aims lower: 0.85 of where it was (§4.7)."""
        self.grow(1_000_000)
        self.lose(self.now, self.now)
        self.assertApproximates(self.cubic.window, 490_000, 1)
        self.now += 1e-6
        # The plateau is 595,000; K is the cube root of 105 / 0.4, 6.40 s.
        self.go(6.4)
        self.assertApproximates(self.cubic.window, 595_000, 1_000)

    def test_no_convergence(self) -> None:
        """Who was beyond the plateau aims at where it was."""
        self.grow(1_000_000)
        self.go(12.0)
        top = self.cubic.window
        self.assertGreater(top, 1_000_000)
        self.lose(self.now, self.now)
        self.now += 1e-6
        self.go((0.3 * top / SIZE / 0.4) ** (1 / 3))
        self.assertApproximates(self.cubic.window, top, 2_000)

    def test_time_unused(self) -> None:
        """Time in which the window was not used does not count (§5.8)."""
        self.grow(1_000_000)
        self.go(4.5)
        before = self.cubic.window
        self.go(20.0, limited=False)
        self.assertEqual(self.cubic.window, before)
        self.now += 100
        self.acked(1, self.now - 1, self.now)
        self.go(4.6)
        self.assertApproximates(self.cubic.window, 1_000_000, 1_500)

    def test_resized(self) -> None:
        """Datagrams of another size begin another curve, to the same plateau."""
        self.grow(1_000_000)
        self.go(4.5)
        before = self.cubic.window
        self.cubic.resized(2 * SIZE)
        self.assertEqual(self.cubic.window, before)
        # 37.5 kB below the plateau: the cube root of 18.75 / 0.4, 3.6 s.
        self.go(3.6)
        self.assertApproximates(self.cubic.window, 1_000_000, 2_000)

    def test_resized_and_undone(self) -> None:
        """So they do on a curve that an undone loss gives back: it counts in datagrams of the size before."""
        self.grow(1_000_000)
        self.go(4.5)
        before = self.cubic.window
        self.lose(self.now, self.now + 0.01)
        self.cubic.resized(2 * SIZE)
        self.cubic.undo()
        self.assertEqual(self.cubic.window, before)
        # 37.5 kB below the plateau, which is 3.6 s away: after half of that it is an eighth.
        self.now += 0.02
        self.go(1.8)
        self.assertApproximates(self.cubic.window, 1_000_000 - 37_500 / 8, 3_000)

    def test_unusually_long_wait(self) -> None:
        """Hours on the curve are only a large number."""
        self.grow(1_000_000)
        self.acked(1, self.now, self.now, in_flight=700_000)
        before = self.cubic.window
        self.acked(1, self.now, self.now + 1e6, in_flight=before)
        self.assertApproximates(self.cubic.window, before + 500, 1)


class RenoFriendlyTests(CubicTestCase):
    """Congestion avoidance where the path is short or slow (§4.3)."""

    round_trip = 0.01

    def test_additive(self) -> None:
        """The window grows by 3 × 0.3 / 1.7 = 0.529 datagrams per round trip until it is what it was, then by one."""
        self.grow(20_000)
        self.assertEqual(self.cubic.window, 14_000)
        self.go(0.1)
        # Each round of 14 datagrams moves a little less than a window, as the window grows meanwhile.
        self.assertApproximates(self.cubic.window, 14_000 + 10 * 529, 300)
        self.go(0.05)
        before = self.cubic.window
        self.assertGreater(before, 20_000)
        self.go(0.1)
        self.assertApproximates(self.cubic.window, before + 10 * SIZE, 500)

    def test_as_fast_as_reno(self) -> None:
        """
        With losses at regular intervals it has the average window of Reno: 1.22 / sqrt(p) datagrams, within a fifth,
        where p is the share of datagrams that are lost.
        """
        self.grow(20_000)
        total = sent = 0
        for loss in range(60):
            count = 0
            while count < 400:
                window = self.cubic.window
                count += window // SIZE
                if loss >= 20:
                    total += window
                    sent += 1
                self.go(self.rtt.smoothed)
            self.lose(self.now, self.now)
            self.now += 1e-6
        reno = 1.22 * 400**0.5
        self.assertApproximates(total / sent / SIZE, reno, 0.2 * reno)

    def test_never_back(self) -> None:
        """What additive increase would have come to never takes away what the curve has given."""
        self.grow(200_000)
        last = self.cubic.window
        for _ in range(500):
            self.go(self.rtt.smoothed)
            self.assertGreaterEqual(self.cubic.window, last)
            last = self.cubic.window

    def test_curve_was_ahead(self) -> None:
        """Nor does it where the curve, which aims ahead by a round trip, has gone further than where it is now."""
        self.grow(20_000)
        self.rtt.smoothed = 2.4
        self.acked(1, self.now, self.now)
        last = self.cubic.window
        for _ in range(30):
            self.acked(1, self.now, self.now + 0.05)
            self.assertGreaterEqual(self.cubic.window, last)
            last = self.cubic.window
        self.assertGreater(last, 15_500)


class UndoTests(CubicTestCase):
    """Losses that were none (§4.9)."""

    def test_nothing(self) -> None:
        """Without a reaction there is nothing to undo."""
        self.cubic.undo()
        self.assertEqual(self.cubic.window, 10_000)

    def test_since_the_first(self) -> None:
        """All reactions since the first loss that was in doubt are undone; earlier ones stand."""
        self.lose(0.0, 0.5)
        self.lose(0.6, 0.7, first=False)
        self.assertEqual(self.cubic.window, 4_900)
        self.cubic.undo()
        self.assertEqual(self.cubic.window, 10_000)
        self.acked(10, 0.8, 0.9)
        self.assertEqual(self.cubic.window, 20_000, "slow start goes on")
        self.lose(1.0, 1.1)
        self.lose(1.2, 1.3)
        self.cubic.undo()
        self.assertEqual(self.cubic.window, 14_000)
        self.cubic.undo()
        self.assertEqual(self.cubic.window, 14_000)

    def test_reaction_before(self) -> None:
        """A loss that is in doubt and got no reaction, as it belonged to one that was real, undoes nothing."""
        self.lose(0.0, 0.5)
        self.lose(0.4, 0.6)
        self.cubic.undo()
        self.assertEqual(self.cubic.window, 7_000)

    def test_curve(self) -> None:
        """The curve goes on as if nothing had happened."""
        self.grow(1_000_000)
        self.go(4.5)
        before = self.cubic.window
        self.lose(self.now, self.now)
        self.cubic.undo()
        self.assertEqual(self.cubic.window, before)
        self.now += 1e-6
        self.go(4.6)
        self.assertApproximates(self.cubic.window, 1_000_000, 1_000)

    def test_reacts_again(self) -> None:
        """Once it is undone, a real loss of what was sent before it has its reaction."""
        self.lose(0.0, 0.5)
        self.cubic.undo()
        self.lose(0.4, 0.6)
        self.assertEqual(self.cubic.window, 7_000)

    def test_persistent(self) -> None:
        """Persistent congestion that was none is undone, too."""
        self.lose(0.0, 0.5, persistent=True)
        self.cubic.undo()
        self.assertEqual(self.cubic.window, 10_000)
        self.lose(0.0, 0.5)
        self.lose(0.4, 0.6, persistent=True)
        self.cubic.undo()
        self.assertEqual(self.cubic.window, 7_000)

    def test_marked(self) -> None:
        """Losses that were none don't undo what a mark has confirmed."""
        self.lose(0.0, 0.5)
        self.cubic.marked(0.4, 0.6)
        self.cubic.undo()
        self.assertEqual(self.cubic.window, 7_000)
        self.cubic.marked(0.7, 0.8)
        self.lose(0.9, 1.0, first=False)
        self.cubic.undo()
        self.assertEqual(self.cubic.window, 4_900)

    def test_grown_meanwhile(self) -> None:
        """A window that is larger by now stays what it is, and so does its curve."""
        self.grow(20_000)
        self.go(5.0)
        before = self.cubic.window
        self.assertGreater(before, 20_000)
        self.cubic.undo()
        self.assertEqual(self.cubic.window, before)


#: What may happen to a controller, with s that pass before it and how many datagrams it is about.
EVENTS = st.tuples(
    st.sampled_from(["acked", "unlimited", "old", "lost", "doubtful", "persistent", "marked", "undo", "resized"]),
    st.floats(0.0, 10.0),
    st.integers(1, 400),
)


class AnyTests(CubicTestCase):
    """Whatever happens."""

    @settings(deadline=None, max_examples=300)
    @given(st.floats(0.0, 3.0), st.lists(EVENTS, max_size=60))
    def test_sane(self, round_trip: float, events: list[tuple[str, float, int]]) -> None:
        """
        The window is a finite number of bytes, never below two datagrams; it shrinks with losses and marks only, and
        grows by no more than what has arrived; an undone loss leaves at least what there was.
        """
        self.setUp()
        cubic = self.cubic
        least, before_doubt = 2_000, 0
        for name, wait, count in events:
            self.now += wait
            self.rtt.sample(round_trip, 0.0)
            window = cubic.window
            sent = self.datagrams(count, self.now if name != "old" else self.now - 20)
            if name in ("acked", "unlimited", "old"):
                limited = name != "unlimited"
                cubic.acked(Acked(sent, count * SIZE, sent[-1], self.now, limited, window, self.number, None), self.rtt)
                self.assertGreaterEqual(cubic.window, window)
                self.assertLessEqual(cubic.window, window + count * SIZE + 1 if limited else window)
            elif name == "undo":
                cubic.undo()
                self.assertGreaterEqual(cubic.window, max(window, before_doubt))
                before_doubt = 0
            elif name == "resized":
                size = 1_000 + count
                cubic.resized(size)
                least = 2 * size
                self.assertEqual(cubic.window, max(window, least))
            elif name == "marked":
                cubic.marked(self.now, self.now)
                self.assertLessEqual(cubic.window, max(window, least))
                before_doubt = 0
            else:
                if name == "lost":
                    before_doubt = window
                cubic.lost(lost(sent, self.now, first=name == "lost", persistent=name == "persistent"), self.rtt)
                self.assertLessEqual(cubic.window, max(window, least))
            self.assertGreaterEqual(cubic.window, least)
            rate = cubic.rate(self.rtt)
            self.assertTrue(isfinite(rate) and rate > 0)
