"""
Tests for L{hypermail.link.pacing}.
"""

from __future__ import annotations

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hypermail.link.pacing import LATENESS, SHORTEST_WAIT, TRAIN_TIME, Pacer

RATE = 1e7
TRAIN = int(RATE * TRAIN_TIME)
MANY = 1 << 30


def started(rate: float = RATE, now: float = 0.0) -> Pacer:
    """A pacer that has used up what it had."""
    pacer = Pacer(1_000, now)
    pacer.available(now, rate, MANY)
    pacer.budget -= int(pacer.budget)
    return pacer


class PacerTests(SynchronousTestCase):
    """Datagrams of 1,000 bytes at 10 MB/s: 20 of them, 2 ms, make a train."""

    def test_rate(self) -> None:
        """What may leave grows with time at the rate that is given."""
        pacer = started()
        self.assertEqual(pacer.available(0.0, RATE, MANY), 0)
        self.assertEqual(pacer.available(0.001, RATE, MANY), 10_000)
        pacer.budget -= 10_000
        self.assertEqual(pacer.available(0.001, RATE, MANY), 0)

    def test_train(self) -> None:
        """However long it had no need of it, no more than half a train leaves at once: nothing is saved up."""
        pacer = started()
        self.assertEqual(pacer.available(100.0, RATE, MANY), TRAIN // 2)
        pacer.budget -= TRAIN // 2
        self.assertEqual(pacer.available(100.0, RATE, MANY), 0)

    def test_late_timer(self) -> None:
        """Who waits for its turn gets what a late timer cost, in whole trains, up to 25 ms."""
        pacer = started()
        pacer.resume_at(0.0, RATE)
        trains = []
        while available := pacer.available(1.0, RATE, MANY):
            trains.append(available)
            pacer.budget -= available
            pacer.resume_at(1.0, RATE)
        self.assertEqual(trains, [TRAIN] * 12 + [int(RATE * LATENESS) - 12 * TRAIN])

    def test_late_timer_by_a_little(self) -> None:
        """A timer that is 3 ms late is made good in full."""
        pacer = started()
        at = pacer.resume_at(0.0, RATE)
        sent = 0
        while available := pacer.available(at + 0.003, RATE, MANY):
            pacer.budget -= available
            sent += available
            pacer.resume_at(at + 0.003, RATE)
        self.assertEqual(sent, int(RATE * (at + 0.003) + 0.5))

    def test_least(self) -> None:
        """One datagram may always leave, however slow the path, and no more than one."""
        pacer = Pacer(1_000, 0.0)
        self.assertEqual(pacer.available(1_000.0, 100.0, MANY), 1_000)
        pacer.budget -= 1_000
        pacer.resume_at(1_000.0, 100.0)
        self.assertEqual(pacer.available(2_000.0, 100.0, MANY), 1_000)

    def test_largest_train(self) -> None:
        """No train is larger than the peer's socket takes."""
        pacer = started()
        self.assertEqual(pacer.available(1.0, RATE, 5_000), 5_000)
        pacer.resume_at(1.0, RATE)
        self.assertEqual(pacer.available(2.0, RATE, 5_000), 5_000)

    def test_resume_at(self) -> None:
        """The next attempt comes at half a train, at least at one datagram, and what was overdrawn is waited for."""
        pacer = started()
        self.assertAlmostEqual(pacer.resume_at(0.0, RATE), TRAIN_TIME / 2)
        slow = started(rate=1_000.0)
        self.assertAlmostEqual(slow.resume_at(0.0, 1_000.0), 1.0)
        slow.budget -= 500
        self.assertAlmostEqual(slow.resume_at(0.0, 1_000.0), 1.5)

    def test_mean(self) -> None:
        """With timers that wake a millisecond late the mean rate is exact all the same, on slow paths and fast ones."""
        for rate in (1e5, 1e6, 1.25e7):
            pacer = Pacer(1_000, 0.0)
            pacer.available(0.0, rate, MANY)
            now, sent = 0.0, -1_000
            while now < 4:
                available = pacer.available(now, rate, MANY)
                while available > 0:  # datagrams are not cut to fit
                    available -= 1_000
                    pacer.budget -= 1_000
                    sent += 1_000
                now = pacer.resume_at(now, rate) + 0.001
            self.assertLess(abs(sent / now / rate - 1), 0.01)

    def test_shortest_wait(self) -> None:
        """A wait is never so short that a rounded clock makes it none."""
        pacer = Pacer(1_000, 0.0)
        pacer.available(10.0, RATE, MANY)
        self.assertEqual(pacer.resume_at(10.0, RATE), 10.0 + SHORTEST_WAIT)

    @settings(deadline=None, max_examples=300)
    @given(
        st.integers(1_200, 65_507),
        st.floats(1e3, 1e10),
        st.floats(0, 1e6),
        st.floats(1, 1_000),
        st.lists(st.tuples(st.floats(0, 0.1), st.integers(0, 100_000)), max_size=8),
    )
    def test_wake_up_suffices(
        self, datagram: int, rate: float, begin: float, largest: float, turns: list[tuple[float, int]]
    ) -> None:
        """At the time that was named, at least one datagram may leave: who waits never wakes for nothing."""
        pacer = Pacer(datagram, begin)
        now = begin
        train = int(datagram * largest)
        for pause, most in turns:
            now += pause
            available = pacer.available(now, rate, train)
            if available >= datagram:
                pacer.budget -= min(available, most)
        at = pacer.resume_at(now, rate)
        self.assertGreater(at, now)
        self.assertGreaterEqual(pacer.available(at, rate, train), datagram)

    @settings(deadline=None)
    @given(st.floats(1e4, 1e9), st.lists(st.floats(0, 0.01), min_size=1, max_size=50))
    def test_long_run(self, rate: float, pauses: list[float]) -> None:
        """Over any time no more leaves than the rate gives, but for one allowance of lateness."""
        assume(sum(pauses) > 0)
        pacer = Pacer(1_200, 0.0)
        now = 0.0
        sent = 0
        for pause in pauses:
            now += pause
            available = pacer.available(now, rate, MANY)
            pacer.budget -= available
            sent += available
            pacer.resume_at(now, rate)
        self.assertLessEqual(sent, rate * now + 1)
