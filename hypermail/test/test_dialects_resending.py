"""
Tests for L{hypermail.dialects.resending}.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hypermail.dialects.resending import LATENESS, LEAST_MARGIN, MOMENT, InFlight, Window


class WindowTests(SynchronousTestCase):
    """How many may be in flight."""

    def test_grows(self) -> None:
        """By one for each window that has arrived, up to its bound."""
        window = Window(2, 1, 4)
        sizes = []
        for _ in range(14):
            window.acked()
            sizes.append(window.size)
        self.assertEqual(sizes, [2, 3, 3, 3, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4])

    def test_shrinks(self) -> None:
        """By half for what is repeated within one round trip, down to its bound."""
        window = Window(16, 3, 64)
        sizes = []
        for now in (1.0, 1.05, 1.2, 1.4, 1.6):
            window.repeated(now, 0.1)
            sizes.append(window.size)
        self.assertEqual(sizes, [8, 8, 4, 3, 3])

    def test_restored(self) -> None:
        """What was repeated in vain makes it no smaller."""
        window = Window(16, 3, 64)
        window.repeated(1.0, 0.1)
        window.restore()
        self.assertEqual(window.size, 16)


class InFlightTests(SynchronousTestCase):
    """What is sent again, and when."""

    def setUp(self) -> None:
        self.flight: InFlight[int, str] = InFlight(Window(8, 2, 64), 1.0)

    def trip(self, seconds: float, times: int = 50) -> float:
        """Datagrams are acknowledged after so many s. @return: the time then."""
        now = 0.0
        for number in range(1_000, 1_000 + times):
            self.flight.add(number, b"x", "one", now)
            now += seconds
            self.assertEqual(self.flight.acked(number, now), "one")
        return now

    def test_timeout(self) -> None:
        """It is the round trip and a margin, doubles with each repetition, and is at most delivery_timeout."""
        now = self.trip(0.1)
        self.flight.add(1, b"a", "one", now)
        times = []
        for _ in range(6):
            at = self.flight.next_timeout()
            assert at is not None
            self.assertEqual(self.flight.due(at - 1e-6, 9), [])
            self.assertEqual(self.flight.due(at, 9), [b"a"])
            times.append(round(at - now, 3))
            now = at
        first = round(0.1 + LEAST_MARGIN, 3)
        self.assertEqual(times, [first, 2 * first, 4 * first, 8 * first, 1.0, 1.0])
        self.assertEqual((self.flight.repeated, self.flight.tries(1)), (6, 7))

    def test_late(self) -> None:
        """Who comes late to its timer reads first what has come meanwhile."""
        now = self.trip(0.01)
        self.flight.add(1, b"a", "one", now)
        self.flight.add(2, b"b", "two", now)
        at = self.flight.next_timeout()
        assert at is not None
        late = at + LATENESS
        self.assertEqual(self.flight.due(late, 9), [])
        again = self.flight.next_timeout()
        assert again is not None
        self.assertAlmostEqual(again, late + MOMENT)
        self.assertEqual(self.flight.acked(1, late), "one")
        self.assertEqual(self.flight.due(again, 9), [b"b"])

    def test_lateOnce(self) -> None:
        """However late it is, and however often it is asked, it waits one moment only."""
        now = self.trip(0.01)
        self.flight.add(1, b"a", "one", now)
        self.assertEqual(self.flight.due(now + 5, 9), [])
        self.assertEqual(self.flight.due(now + 5 + MOMENT / 2, 9), [])
        self.assertEqual(self.flight.due(now + 5 + MOMENT, 9), [b"a"])

    def test_inVain(self) -> None:
        """An acknowledgement that is there too soon is that of the first transmission: the round trip is longer."""
        now = self.trip(0.1)
        size = self.flight.window.size
        for number in range(4):
            self.flight.add(number, b"a", "one", now)
        at = self.flight.next_timeout()
        assert at is not None
        self.flight.due(at, 9)
        self.assertLess(self.flight.window.size, size)
        before = self.flight.rtt.smoothed
        self.flight.acked(0, at + 0.001)
        self.assertGreaterEqual(self.flight.window.size, size)
        self.assertGreater(self.flight.rtt.smoothed, before)

    def test_needed(self) -> None:
        """One that comes a round trip later may be that of either, so it is no sample."""
        now = self.trip(0.1)
        size = self.flight.window.size
        self.flight.add(1, b"a", "one", now)
        at = self.flight.next_timeout()
        assert at is not None
        self.flight.due(at, 9)
        before = self.flight.rtt.smoothed
        self.flight.acked(1, at + 0.1)
        self.assertLess(self.flight.window.size, size)
        self.assertEqual(self.flight.rtt.smoothed, before)

    def test_hurry(self) -> None:
        """What the peer misses is due at once; what is not in flight is no matter."""
        self.flight.add(1, b"a", "one", 0.0)
        self.flight.hurry(1, 0.01)
        self.flight.hurry(2, 0.01)
        self.assertEqual(self.flight.due(0.01, 9), [b"a"])

    @settings(deadline=None)
    @given(st.lists(st.tuples(st.sampled_from("adswh"), st.integers(0, 9), st.floats(0, 0.5)), max_size=60))
    def test_model(self, steps: list[tuple[str, int, float]]) -> None:
        """Whatever happens, what is not acknowledged is sent again in time, and what was is never."""
        flight: InFlight[int, int] = InFlight(Window(8, 2, 64), 1.0)
        there: set[int] = set()
        now = 0.0
        for step, number, seconds in steps:
            if step == "s" and number not in there:
                flight.add(number, b"%d" % number, number, now)
                there.add(number)
            elif step == "a":
                self.assertEqual(flight.acked(number, now), number if number in there else None)
                there.discard(number)
            elif step == "d":
                flight.drop(number)
                there.discard(number)
            elif step == "h":
                flight.hurry(number, now)
            else:
                now += seconds
                self.assertLessEqual({int(each) for each in flight.due(now, 99)}, there)
            self.assertEqual((len(flight), flight.bytes), (len(there), len(there)))
        seen: set[int] = set()
        end = now + 3
        while (at := flight.next_timeout()) is not None and at <= end:
            now = max(now, at)
            seen |= {int(each) for each in flight.due(now, 99)}
        self.assertEqual(seen, there)
