"""
Tests for L{hypermail.link.skips}.
"""

from __future__ import annotations

from itertools import pairwise
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hypermail.errors import ProtocolViolation
from hypermail.link.congestion.cubic import Cubic
from hypermail.link.recovery import Recovery
from hypermail.link.rtt import RoundTrip
from hypermail.link.skips import FIRST_PERIOD, LAST_PERIOD, REMEMBERED, Skips
from hypermail.test.linking import Ledger, ack, send


def chosen(secret: bytes, count: int) -> list[int]:
    """The first numbers that are left out."""
    skips = Skips(secret)
    numbers = []
    for _ in range(count):
        numbers.append(skips.next)
        skips.skip(skips.next)
    return numbers


class SkipsTests(SynchronousTestCase):
    """Which numbers are left out."""

    @settings(deadline=None)
    @given(st.binary(max_size=40))
    def test_periods(self, secret: bytes) -> None:
        """The first comes within the second 256, then each twice as late as the one before, up to once in 65,536."""
        numbers = chosen(secret, 20)
        period = FIRST_PERIOD
        after = 0
        for number in numbers:
            self.assertTrue(after + period <= number < after + 2 * period, (number, after, period))
            after, period = number + 1, min(2 * period, LAST_PERIOD)
        self.assertEqual(period, LAST_PERIOD)

    def test_unpredictable(self) -> None:
        """Another secret chooses others: over many secrets every number of the first period occurs."""
        firsts = {Skips(number.to_bytes(4, "big")).next for number in range(4_000)}
        self.assertEqual(firsts, set(range(FIRST_PERIOD, 2 * FIRST_PERIOD)))

    def test_gapsApart(self) -> None:
        """The distances are no pattern: those of the last period differ."""
        numbers = chosen(b"secret", 40)[20:]
        self.assertGreater(len({two - one for one, two in pairwise(numbers)}), 15)

    def test_among(self) -> None:
        """A range that holds one of the latest is found, whichever end it has there; older ones are forgotten."""
        skips = Skips(b"secret")
        for _ in range(REMEMBERED + 5):
            skips.skip(skips.next)
        numbers = chosen(b"secret", REMEMBERED + 5)
        self.assertEqual(skips.skipped, tuple(numbers[-REMEMBERED:]))
        for number in numbers[-REMEMBERED:]:
            for found in (
                ((number, number + 1),),
                ((number - 5, number + 5),),
                ((10**9, 10**9 + 1), (number, number + 9)),
            ):
                self.assertEqual(skips.among(found), number)
            self.assertIsNone(skips.among(((number + 1, number + 2), (number - 2, number))))
        self.assertIsNone(skips.among(((numbers[4], numbers[4] + 1),)))
        self.assertIsNone(skips.among(()))


class RecoveryTests(SynchronousTestCase):
    """What they are for."""

    def setUp(self) -> None:
        self.recovery = Recovery(Cubic(1_200), RoundTrip(), 5.0)

    def test_taken(self) -> None:
        """Before there are keys every number is used; then all but those that are left out, and none twice."""
        before = [self.recovery.take_number() for _ in range(10)]
        self.recovery.skips = Skips(b"secret")
        numbers = before + [self.recovery.take_number() for _ in range(5_000)]
        left_out = set(range(numbers[-1])) - set(numbers)
        self.assertEqual(sorted(left_out), [number for number in chosen(b"secret", 9) if number < numbers[-1]])
        self.assertEqual(len(set(numbers)), len(numbers))

    def test_late(self) -> None:
        """When keys come only after the first of those numbers the next one is left out in its place."""
        for _ in range(1_000):
            self.recovery.take_number()
        self.recovery.skips = Skips(b"secret")
        self.assertEqual(self.recovery.take_number(), 1_001)
        self.assertEqual(self.recovery.skips.skipped, (1_000,))

    def test_honest(self) -> None:
        """Who acknowledges all that came, with the gaps that are left, has nothing to fear."""
        self.recovery.skips = Skips(b"secret")
        ledger = Ledger()
        random = Random(5)
        now = 1_000.0
        for _ in range(200):
            numbers = [number for number in send(self.recovery, ledger, [now] * 10) if random.random() < 0.9]
            now += 0.01
            if numbers:
                self.recovery.acknowledge(ack(*numbers), now, False)
        self.assertGreater(len(self.recovery.skips.skipped), 1)

    def test_optimistic(self) -> None:
        """Who acknowledges what was left out says that it received what was never sent: RFC 9000 §21.4."""
        self.recovery.skips = Skips(b"secret")
        sent = send(self.recovery, Ledger(), [1_000.0] * 600)
        (left_out,) = set(range(600)) - set(sent)
        error = self.assertRaises(ProtocolViolation, self.recovery.acknowledge, ack(*range(600)), 1_000.1, False)
        self.assertIn(f"{left_out}, which was left out", error.text)
        self.assertRaises(ProtocolViolation, self.recovery.acknowledge, ack(left_out), 1_000.1, False)
        self.assertEqual(len(list(self.recovery._flying)), 600, "nothing of such an acknowledgement counts")
