"""
Tests for L{hypermail.link.acks}.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hypermail.link.acks import (
    DELAY_SHARE,
    FIRST,
    KEPT_RANGES,
    MANY_RANGES,
    MAX_ACK_DELAY,
    TICK,
    TOGETHER,
    TOLD_RANGES,
    Acks,
)
from hypermail.link.ecn import CE, ECT0, ECT1, NOT_ECT
from hypermail.wire.codec import decode
from hypermail.wire.packets import Ack


def turn(acks: Acks, *numbers: int, now: float = 0.0, delay: float = 0.02, eliciting: bool = True) -> None:
    """One call of receive() with some datagrams."""
    for number in numbers:
        acks.received(number, now, eliciting)
    acks.end_turn(now, delay / DELAY_SHARE)


class WhenTests(SynchronousTestCase):
    """When an acknowledgement is due."""

    def test_nothing(self) -> None:
        """With nothing received nothing is due, pending or waited for, not even by force."""
        acks = Acks()
        acks.end_turn(0.0, 0.02 / DELAY_SHARE)
        acks.force()
        acks.timeout(100.0)
        self.assertEqual((acks.due, acks.pending, acks.deadline, acks.largest), (False, False, None, -1))

    def test_first_turn_waits(self) -> None:
        """After one turn it waits for the delay, however many datagrams the turn brought, and may ride along."""
        acks = Acks()
        turn(acks, *range(50), now=1.0)
        self.assertEqual((acks.due, acks.pending), (False, True))
        self.assertEqual(acks.deadline, 1.02)
        acks.timeout(1.0199)
        self.assertFalse(acks.due)
        acks.timeout(1.02)
        self.assertTrue(acks.due)

    def test_second_turn(self) -> None:
        """The second turn makes it due at once."""
        acks = Acks()
        turn(acks, 0)
        turn(acks, 1, now=0.001)
        self.assertTrue(acks.due)

    def test_every_second_turn(self) -> None:
        """In a steady flow every second turn is acknowledged."""
        acks = Acks()
        due = []
        for number in range(6):
            turn(acks, number, now=number / 1000)
            due.append(acks.due)
            if acks.due:
                acks.packet(number / 1000)
        self.assertEqual(due, [False, True] * 3)

    def test_together(self) -> None:
        """In a long flow the second turn is not enough: sixteen datagrams are, or the delay."""
        acks = Acks()
        turn(acks, *range(FIRST + 1))
        acks.packet(0.0)
        turn(acks, *range(FIRST + 1, FIRST + TOGETHER))
        turn(acks, FIRST + TOGETHER)
        self.assertTrue(acks.due)
        acks.packet(0.0)
        for number in range(FIRST + TOGETHER + 1, FIRST + 2 * TOGETHER):
            turn(acks, number, now=1.0)
            self.assertEqual((acks.due, acks.deadline), (False, 1.02))
        turn(acks, FIRST + 2 * TOGETHER, now=1.0)
        self.assertTrue(acks.due)

    def test_one_large_turn(self) -> None:
        """One turn alone waits for the delay, whatever it brings: the next one may come at once."""
        acks = Acks()
        turn(acks, *range(FIRST + TOGETHER))
        self.assertFalse(acks.due)
        turn(acks, FIRST + TOGETHER)
        self.assertTrue(acks.due)

    def test_deadline_is_the_first(self) -> None:
        """The deadline counts from the first turn that waits; another ack clears it."""
        acks = Acks()
        turn(acks, 0, now=1.0)
        turn(acks, 1, now=1.015)
        self.assertEqual(acks.deadline, 1.02)
        acks.packet(1.015)
        self.assertEqual((acks.deadline, acks.due, acks.pending), (None, False, False))
        turn(acks, 2, now=2.0)
        self.assertEqual(acks.deadline, 2.02)

    def test_longest_delay(self) -> None:
        """No acknowledgement waits longer than 25 ms."""
        acks = Acks()
        turn(acks, 0, now=1.0, delay=9.0)
        self.assertEqual(acks.deadline, 1.0 + MAX_ACK_DELAY)

    def test_short_delay(self) -> None:
        """Reactors wake on milliseconds: a shorter delay is one, or none."""
        acks = Acks()
        turn(acks, 0, delay=TICK * 0.49)
        self.assertTrue(acks.due)
        acks = Acks()
        turn(acks, 0, now=1.0, delay=TICK * 0.51)
        self.assertEqual((acks.due, acks.deadline), (False, 1.0 + TICK))

    def test_gap(self) -> None:
        """A gap is acknowledged at the end of the turn that shows it: that is the NAK (seed 004)."""
        acks = Acks()
        turn(acks, 0, 2)
        self.assertTrue(acks.due)
        self.assertEqual(acks.packet(0.0).ranges, ((2, 3), (0, 1)))

    def test_missing_first(self) -> None:
        """That the very first datagram is missing shows a gap too."""
        acks = Acks()
        turn(acks, 1)
        self.assertTrue(acks.due)

    def test_missing_silent(self) -> None:
        """A silent datagram behind a gap does not hasten the acknowledgement of others of its turn."""
        acks = Acks()
        acks.received(2, 0.0, False)
        turn(acks, 3)
        self.assertEqual((acks.due, acks.deadline), (False, 0.02))

    def test_filled_gap(self) -> None:
        """A datagram that comes late is acknowledged at once (RFC 9000 §13.2.1), the next one is not."""
        acks = Acks()
        turn(acks, 0, 2)
        acks.packet(0.0)
        for number in (3, 4, 1):
            turn(acks, number, now=number / 10)
            self.assertTrue(acks.due, number)
            acks.packet(0.0)
        turn(acks, 5)
        self.assertFalse(acks.due)

    def test_gap_after_gap(self) -> None:
        """Where every other datagram is lost, three turns are acknowledged at once in the time that others wait."""
        acks = Acks()
        turn(acks, *range(FIRST + 1), now=0.5)
        acks.packet(0.5)
        due = []
        for index in range(14):
            now = 1.0 + index / 1000
            turn(acks, FIRST + 2 + 2 * index, now=now, delay=0.007)
            acks.timeout(now)
            due.append(acks.due)
            if acks.due:
                acks.packet(now)
        self.assertEqual(due[:7], [True] * 3 + [False] * 4)
        self.assertEqual(due[7:], [True] * 3 + [False] * 4)

    def test_crowded(self) -> None:
        """It is known when the last one told many ranges, as the peer should acknowledge those."""
        acks = Acks()
        for count in range(1, MANY_RANGES + 1):
            turn(acks, 2 * count)
            self.assertEqual(len(acks.packet(0.0).ranges), count)
            self.assertEqual(acks.crowded, count == MANY_RANGES)
        acks.acked(0, 2 * MANY_RANGES)
        turn(acks, 2 * MANY_RANGES + 2)
        acks.packet(0.0)
        self.assertFalse(acks.crowded)

    def test_behind_a_gap(self) -> None:
        """The two turns after a gap are acknowledged at once as well, then it goes on as ever."""
        acks = Acks()
        due = []
        for numbers in ((0, 2), (3, 4), (5,), (6,), (7,)):
            turn(acks, *numbers)
            due.append(acks.due)
            if acks.due:
                acks.packet(0.0)
        self.assertEqual(due, [True, True, True, False, True])

    def test_silent(self) -> None:
        """What elicits nothing makes nothing due, not even by a gap: two sides would acknowledge acks forever."""
        acks = Acks()
        for number in (0, 1, 2, 9, 5):
            turn(acks, number, eliciting=False)
        self.assertEqual((acks.due, acks.pending, acks.deadline), (False, False, None))
        turn(acks, 10)
        self.assertEqual(acks.packet(0.0).ranges, ((9, 11), (5, 6), (0, 3)))

    def test_force(self) -> None:
        """By force an acknowledgement of whatever has arrived is due."""
        acks = Acks()
        turn(acks, 0, eliciting=False)
        acks.force()
        self.assertEqual((acks.due, acks.pending), (True, True))


class MarksTests(SynchronousTestCase):
    """Counts of explicit congestion notification."""

    def mark(self, acks: Acks, *codepoints: int, now: float = 0.0, eliciting: bool = True) -> None:
        """A turn for each of some datagrams, in order."""
        for codepoint in codepoints:
            acks.received(acks.largest + 1, now, eliciting)
            if codepoint:
                acks.marked(codepoint)
            acks.end_turn(now, 0.02 / DELAY_SHARE)

    def test_none(self) -> None:
        """While none is marked none is counted."""
        acks = Acks()
        self.mark(acks, NOT_ECT, NOT_ECT)
        self.assertIsNone(acks.packet(0.0).marks)

    def test_counted(self) -> None:
        """Each codepoint has its count, and all are told from the first on, of all that ever came."""
        acks = Acks()
        self.mark(acks, ECT0, NOT_ECT, CE, ECT0, ECT1, ECT0, CE)
        self.assertEqual(acks.packet(0.0).marks, (3, 1, 2))
        self.mark(acks, NOT_ECT)
        self.assertEqual(acks.packet(0.0).marks, (3, 1, 2))

    def test_modulo(self) -> None:
        """Counts are told modulo 2^32."""
        acks = Acks()
        self.mark(acks, ECT0)
        for codepoint, count in ((ECT1, 1 << 32), (ECT0, 1 << 32), (ECT0, 4), (CE, 1 << 32), (CE, (1 << 32) - 1)):
            acks.marked(codepoint, count)
        self.assertEqual(acks.packet(0.0).marks, (5, 0, (1 << 32) - 1))

    def test_congestionIsToldAtOnce(self) -> None:
        """The first CE of a row makes an acknowledgement due (RFC 9000 §13.2.1); the next don't, nor does ECT(0)."""
        acks = Acks()
        due = []
        for codepoint in (ECT0, CE, CE, CE, NOT_ECT, CE, ECT0, CE):
            self.mark(acks, codepoint)
            due.append(acks.due)
            acks.packet(0.0)
        self.assertEqual(due, [False, True, False, False, False, False, False, True])

    def test_silence(self) -> None:
        """Nothing is due for what asks for no acknowledgement."""
        acks = Acks()
        self.mark(acks, CE, eliciting=False)
        self.assertFalse(acks.due)


class WhatTests(SynchronousTestCase):
    """What an acknowledgement says."""

    @settings(deadline=None)
    @given(st.lists(st.integers(0, 60), min_size=1, unique=True))
    def test_ranges(self, numbers: list[int]) -> None:
        """It names exactly what was received, in descending ranges, and can be read by the peer."""
        acks = Acks()
        turn(acks, *numbers)
        packet = acks.packet(0.0)
        self.assertEqual({n for start, stop in packet.ranges for n in range(start, stop)}, set(numbers))
        self.assertEqual(packet.ranges[0][1] - 1, max(numbers))
        self.assertEqual(decode(memoryview(packet.encode())), [packet])

    def test_delay(self) -> None:
        """Its delay is the time since the largest number came, in µs; older numbers don't change it."""
        acks = Acks()
        turn(acks, 5, now=1.0)
        turn(acks, 3, now=1.5)
        self.assertEqual(acks.packet(1.75).delay, 750_000)

    def test_delay_bounds(self) -> None:
        """A delay is neither negative nor longer than its field."""
        acks = Acks()
        turn(acks, 0, now=10.0)
        self.assertEqual(acks.packet(9.0).delay, 0)
        self.assertEqual(acks.packet(1e6).delay, 0xFFFFFFFF)

    def test_told(self) -> None:
        """What the peer is known to know is not told again, but the range that holds the largest number is."""
        acks = Acks()
        turn(acks, 0, 2, 4)
        acks.acked(0, 5)
        self.assertEqual(acks.packet(0.0).ranges, ((4, 5),))
        turn(acks, 5, 7)
        self.assertEqual(acks.packet(0.0).ranges, ((7, 8), (4, 6)))

    def test_told_floor_sinks(self) -> None:
        """A number that arrives late, below what the peer knows, is told."""
        acks = Acks()
        turn(acks, 0, 2, 4)
        acks.acked(0, 5)
        turn(acks, 3)
        self.assertEqual(acks.packet(0.0).ranges, ((2, 5),))
        acks.acked(0, 5)
        turn(acks, 8)
        turn(acks, 1)
        self.assertEqual(acks.packet(0.0).ranges, ((8, 9), (0, 5)))

    def test_told_floor_hides(self) -> None:
        """A late number between others that the peer knows is told although a later range hides it."""
        acks = Acks()
        turn(acks, 0, 4, 8)
        acks.acked(0, 9)
        turn(acks, 2)
        self.assertEqual(acks.packet(0.0).ranges, ((8, 9), (4, 5), (2, 3)))

    def test_told_never_sinks_by_older_acks(self) -> None:
        """That an older acknowledgement arrived takes nothing back; that one was lost changes nothing."""
        acks = Acks()
        turn(acks, 0, 2, 4, 6)
        acks.acked(0, 7)
        acks.acked(0, 3)
        acks.lost(0, 7)
        self.assertEqual(acks.packet(0.0).ranges, ((6, 7),))

    def test_most_ranges(self) -> None:
        """It tells at most 32 ranges, the highest ones."""
        acks = Acks()
        turn(acks, *range(0, 200, 2))
        ranges = acks.packet(0.0).ranges
        self.assertEqual(len(ranges), TOLD_RANGES)
        self.assertEqual((ranges[0], ranges[-1]), ((198, 199), (136, 137)))

    def test_long_run(self) -> None:
        """A run of more numbers than its field can count, after days at speed, is told from its upper end."""
        acks = Acks()
        acks.received(0, 0.0, True)
        acks._ranges.add(0, 5_000_000_000)
        turn(acks, 5_000_000_000, 5_000_000_002)
        packet = acks.packet(0.0)
        (read,) = decode(memoryview(packet.encode()))
        assert isinstance(read, Ack)
        self.assertEqual(read, packet)
        self.assertEqual(read.ranges[0], (5_000_000_002, 5_000_000_003))
        start, stop = read.ranges[1]
        self.assertEqual(stop, 5_000_000_001)
        self.assertTrue(0 < start < 1_000_000_000)


class ReplayTests(SynchronousTestCase):
    """Duplicates and replays."""

    @settings(deadline=None)
    @given(st.lists(st.integers(0, 30), max_size=60))
    def test_new(self, numbers: list[int]) -> None:
        """A number is new until it was received."""
        acks = Acks()
        seen: set[int] = set()
        for number in numbers:
            self.assertEqual(acks.is_new(number), number not in seen)
            if number not in seen:
                acks.received(number, 0.0, True)
                seen.add(number)
        self.assertEqual([acks.is_new(number) for number in range(40)], [number not in seen for number in range(40)])

    def test_floor(self) -> None:
        """Only so many ranges are kept; below the lowest, every number counts as received, those between do not."""
        acks = Acks()
        turn(acks, *range(0, 2 * (KEPT_RANGES + 10), 2))
        self.assertEqual(len(acks._ranges), KEPT_RANGES)
        self.assertEqual([acks.is_new(number) for number in (17, 18, 19, 20, 21)], [False, False, True, False, True])
        turn(acks, 19)
        self.assertFalse(acks.is_new(19))
        self.assertTrue(acks.is_new(10_000))
