"""
Tests for L{hypermail.link.heartbeat}.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hypermail.link.heartbeat import SHORTEST_INTERVAL, Beat, Heartbeat
from hypermail.options import Options, Role

OPTIONS = Options(ping_interval=5.0, ping_packet_count=4)


def run(heart: Heartbeat, until: float) -> list[tuple[float, Beat]]:
    """What it asks for, and when, as long as nobody answers."""
    beats: list[tuple[float, Beat]] = []
    while heart.deadline <= until:
        now = heart.deadline
        beat = heart.timeout(now)
        if beat is not Beat.NOTHING:
            beats.append((now, beat))
        if beat is Beat.DEAD:
            break
        if heart.deadline <= now:
            raise AssertionError("a deadline that is never over makes a busy loop")
    return beats


class StarterTests(SynchronousTestCase):
    """The starter pings."""

    def test_pings(self) -> None:
        """Without an answer it pings after each interval, so many times as the option says, and gives up."""
        self.assertEqual(
            run(Heartbeat(Role.STARTER, OPTIONS, 100.0), 1_000.0),
            [(105.0, Beat.PING), (110.0, Beat.PING), (115.0, Beat.PING), (120.0, Beat.PING), (125.0, Beat.DEAD)],
        )

    def test_early(self) -> None:
        """A timeout that comes early changes nothing."""
        heart = Heartbeat(Role.STARTER, OPTIONS, 100.0)
        self.assertIs(heart.timeout(104.999), Beat.NOTHING)
        self.assertEqual(heart.deadline, 105.0)

    def test_traffic(self) -> None:
        """Whatever is heard puts the ping off by an interval."""
        heart = Heartbeat(Role.STARTER, OPTIONS, 100.0)
        heart.heard(103.0)
        self.assertIs(heart.timeout(105.0), Beat.NOTHING)
        self.assertEqual(heart.deadline, 108.0)
        self.assertIs(heart.timeout(108.0), Beat.PING)

    def test_revived(self) -> None:
        """Any answer starts the count afresh, even one that comes at the last moment."""
        heart = Heartbeat(Role.STARTER, OPTIONS, 100.0)
        self.assertEqual(len(run(heart, 124.9)), 4)
        heart.heard(124.9)
        beats = run(heart, 1_000.0)
        self.assertEqual([beat for _, beat in beats], [Beat.PING] * 4 + [Beat.DEAD])
        self.assertAlmostEqual(beats[0][0], 129.9)

    def test_slept(self) -> None:
        """After a sleep of the machine the peer is asked before it is given up."""
        heart = Heartbeat(Role.STARTER, OPTIONS, 100.0)
        self.assertIs(heart.timeout(10_000.0), Beat.PING)
        self.assertIs(heart.timeout(10_001.0), Beat.NOTHING)
        self.assertEqual(heart.deadline, 10_005.0)

    def test_keep_within(self) -> None:
        """A peer that forgets sooner is pinged thrice within its patience, from the very first ping on."""
        heart = Heartbeat(Role.STARTER, OPTIONS, 100.0)
        heart.keep_within(3.0)
        self.assertEqual(run(heart, 102.5), [(101.0, Beat.PING), (102.0, Beat.PING)])

    def test_patient_peer(self) -> None:
        """A peer that is more patient changes nothing."""
        heart = Heartbeat(Role.STARTER, OPTIONS, 100.0)
        heart.keep_within(60.0)
        self.assertEqual(run(heart, 112.0), [(105.0, Beat.PING), (110.0, Beat.PING)])

    def test_impatient_peer(self) -> None:
        """A peer that claims to forget at once is pinged four times a second, not without end."""
        heart = Heartbeat(Role.STARTER, Options(ping_packet_count=1_000), 100.0)
        heart.keep_within(0.0)
        self.assertEqual(len(run(heart, 105.0)), 5 / SHORTEST_INTERVAL)

    @settings(deadline=None)
    @given(st.floats(0.1, 100), st.integers(1, 20), st.floats(0.1, 100), st.integers(1, 20))
    def test_outlives_the_listener(self, ours: float, our_count: int, theirs: float, their_count: int) -> None:
        """Whatever both have chosen, a listener that hears every ping never forgets a quiet starter."""
        starter_options = Options(ping_interval=ours, ping_packet_count=our_count)
        listener_options = Options(ping_interval=theirs, ping_packet_count=their_count)
        starter = Heartbeat(Role.STARTER, starter_options, 0.0)
        listener = Heartbeat(Role.LISTENER, listener_options, 0.0)
        starter.keep_within(Heartbeat.silence(listener_options))
        for _ in range(30):
            now = min(starter.deadline, listener.deadline)
            self.assertIsNot(listener.timeout(now), Beat.DEAD)
            beat = starter.timeout(now)
            self.assertIsNot(beat, Beat.DEAD)
            if beat is Beat.PING:
                listener.heard(now)
                starter.heard(now)


class ListenerTests(SynchronousTestCase):
    """The listener waits."""

    def test_silence(self) -> None:
        """It never pings, and forgets a link when all pings and two intervals more have passed in silence."""
        self.assertEqual(Heartbeat.silence(OPTIONS), 30.0)
        self.assertEqual(run(Heartbeat(Role.LISTENER, OPTIONS, 100.0), 1_000.0), [(130.0, Beat.DEAD)])

    def test_heard(self) -> None:
        """Whatever is heard gives the link its whole time again."""
        heart = Heartbeat(Role.LISTENER, OPTIONS, 100.0)
        heart.heard(129.0)
        self.assertIs(heart.timeout(129.5), Beat.NOTHING)
        self.assertEqual(run(heart, 1_000.0), [(159.0, Beat.DEAD)])

    def test_keep_within(self) -> None:
        """The starter's patience does not concern it."""
        heart = Heartbeat(Role.LISTENER, OPTIONS, 100.0)
        heart.keep_within(1.0)
        self.assertEqual(heart.deadline, 130.0)
        self.assertEqual(run(heart, 1_000.0), [(130.0, Beat.DEAD)])
