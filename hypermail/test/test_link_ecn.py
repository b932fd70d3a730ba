"""
Tests for L{hypermail.link.ecn}: RFC 9000 §13.4 and A.4.
"""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from hypermail.link.ecn import ECT0, MOST_SILENCES, NOT_ECT, TEST_DATAGRAMS, Marking
from hypermail.link.payload import Sent
from hypermail.link.states import EcnState
from hypermail.trace import NullTrace, Trace
from hypermail.wire.packets import Ack, Marks

TESTING, UNKNOWN, CAPABLE, FAILED = EcnState


class MarkingTests(SynchronousTestCase):
    """One path, which is told by hand what was acknowledged."""

    def setUp(self) -> None:
        self.marking = Marking(NullTrace())
        self.next = 0

    @property
    def state(self) -> EcnState:
        return self.marking.state

    def send(self, count: int = 1, silent: bool = False) -> int:
        """Send datagrams together. @return: the codepoint that they bear."""
        first = self.next
        self.next += count
        return self.marking.mark(first, count, silent, 0.0)

    def hear(self, start: int, stop: int, marks: Marks | None, oldest: int | None = None) -> bool:
        """Hear that C{start} to C{stop} were received. @return: whether the path is congested."""
        newly = [Sent(number, 0.0, 1_000, [], False) for number in range(start, stop)]
        return self.marking.acknowledged(Ack(0, ((start, stop),), marks), newly, oldest, 0.0)

    def capable(self, count: int = 5) -> None:
        """A path that has been validated, with all that was sent acknowledged."""
        self.send(count)
        self.hear(0, count, (count, 0, 0))
        self.assertIs(self.state, CAPABLE)

    def test_test(self) -> None:
        """The first ten datagrams are marked ECT(0), and no more until one is acknowledged; then all are."""
        self.assertEqual([self.send() for _ in range(TEST_DATAGRAMS)], [ECT0] * TEST_DATAGRAMS)
        self.assertIs(self.state, UNKNOWN)
        self.assertEqual([self.send(), self.send()], [NOT_ECT] * 2)
        self.hear(0, 1, (1, 0, 0), 1)
        self.assertIs(self.state, CAPABLE)
        self.assertEqual([self.send() for _ in range(50)], [ECT0] * 50)

    def test_testInOneTrain(self) -> None:
        """What leaves together is marked together, though it is more than a test needs."""
        self.assertEqual(self.send(40), ECT0)
        self.assertIs(self.state, UNKNOWN)
        self.hear(0, 40, (40, 0, 0))
        self.assertIs(self.state, CAPABLE)

    def test_early(self) -> None:
        """An acknowledgement in the midst of the test is enough."""
        self.send()
        self.assertFalse(self.hear(0, 1, (1, 0, 0)))
        self.assertIs(self.state, CAPABLE)

    def test_unmarkedAcknowledged(self) -> None:
        """Datagrams that were not marked show nothing, with counts or without."""
        self.send(TEST_DATAGRAMS)
        self.send(5)
        self.hear(TEST_DATAGRAMS, TEST_DATAGRAMS + 1, None, 0)
        self.hear(TEST_DATAGRAMS + 1, TEST_DATAGRAMS + 2, (0, 0, 0), 0)
        self.assertIs(self.state, UNKNOWN)
        self.hear(TEST_DATAGRAMS + 2, TEST_DATAGRAMS + 3, (10, 0, 0), 0)
        self.assertIs(self.state, UNKNOWN)

    def test_congested(self) -> None:
        """More CE than before is congestion, each time; no more is none."""
        self.send(6)
        self.assertTrue(self.hear(0, 2, (1, 0, 1), 2))
        self.assertFalse(self.hear(2, 4, (3, 0, 1), 4))
        self.assertTrue(self.hear(4, 6, (3, 0, 3)))
        self.assertIs(self.state, CAPABLE)
        self.assertEqual(self.marking.statistics(), {"ecn": "capable", "ecn_marked": 3, "ecn_impossible": 0})

    def test_missing(self) -> None:
        """A marked datagram that is acknowledged without counts ends it, in the test and later."""
        self.send(2)
        self.assertFalse(self.hear(0, 1, None, 1))
        self.assertIs(self.state, FAILED)
        self.assertEqual(self.send(), NOT_ECT)
        self.marking, self.next = Marking(NullTrace()), 0
        self.capable()
        self.send()
        self.hear(5, 6, None)
        self.assertIs(self.state, FAILED)

    def test_cleared(self) -> None:
        """Counts that grow by less than what was marked and acknowledged end it: something clears marks."""
        self.send(4)
        self.assertFalse(self.hear(0, 4, (3, 0, 0)))
        self.assertIs(self.state, FAILED)
        self.assertEqual(self.marking.impossible, 0)

    def test_clearedLater(self) -> None:
        """So they do on a path that was capable, and what CE they tell then is not obeyed."""
        self.capable()
        self.send(4)
        self.assertFalse(self.hear(5, 9, (7, 0, 1)))
        self.assertIs(self.state, FAILED)

    def test_remarked(self) -> None:
        """ECT(1) was never sent: a path that makes that of ECT(0) isn't used, though no datagram is missing."""
        self.send(5)
        self.hear(0, 3, (3, 1, 0), 3)
        self.assertIs(self.state, FAILED)

    def test_backwards(self) -> None:
        """A count that goes back ends it and is counted, whatever the others do."""
        for counts in ((4, 0, 0), (5, 0, 0xFFFFFFFF), (4, 0, 2), (5, 0xFFFFFFFF, 1), (0, 0, 0)):
            self.marking, self.next = Marking(NullTrace()), 0
            self.capable()
            self.send()
            self.assertFalse(self.hear(5, 6, counts))
            self.assertEqual((self.state, self.marking.impossible), (FAILED, 1), counts)

    def test_tooMany(self) -> None:
        """Nor can more have arrived than was sent, of one kind or of all together."""
        for counts in ((7, 0, 0), (5, 0, 2), (6, 0, 1), (0x80000000, 0, 0), (5, 2, 0)):
            self.marking, self.next = Marking(NullTrace()), 0
            self.capable()
            self.send()
            self.assertFalse(self.hear(5, 6, counts))
            self.assertEqual((self.state, self.marking.impossible), (FAILED, 1), counts)

    def test_overtaken(self) -> None:
        """An acknowledgement that was overtaken by a later one has old counts: they are not looked at."""
        self.send(6)
        self.hear(3, 6, (4, 0, 1), 0)
        self.assertFalse(self.hear(0, 2, (2, 0, 0), 2))
        self.assertFalse(self.hear(2, 3, None))
        self.assertIs(self.state, CAPABLE)
        self.send()
        self.hear(6, 7, (6, 0, 1))
        self.assertIs(self.state, CAPABLE)

    def test_wraps(self) -> None:
        """Counts are modulo 2^32."""
        self.marking._counts = ((1 << 32) - 2, 0, (1 << 32) - 1)
        self.send(4)
        self.assertTrue(self.hear(0, 4, (1, 0, 0)))
        self.assertEqual((self.state, self.marking.reported), (CAPABLE, 1))

    def test_allCongested(self) -> None:
        """A path on which all datagrams of the test arrive with CE sets it on everything; until then it is obeyed."""
        self.send(TEST_DATAGRAMS)
        self.assertTrue(self.hear(0, TEST_DATAGRAMS - 1, (0, 0, TEST_DATAGRAMS - 1), TEST_DATAGRAMS - 1))
        self.assertIs(self.state, UNKNOWN)
        self.assertFalse(self.hear(TEST_DATAGRAMS - 1, TEST_DATAGRAMS, (0, 0, TEST_DATAGRAMS)))
        self.assertIs(self.state, FAILED)

    def test_lostAndCongested(self) -> None:
        """The same when some of the test are lost: none of them has come as it was sent."""
        self.send(TEST_DATAGRAMS)
        self.hear(0, TEST_DATAGRAMS - 1, (0, 0, TEST_DATAGRAMS - 1), TEST_DATAGRAMS - 1)
        self.assertIs(self.state, UNKNOWN)
        self.send(1)
        self.hear(TEST_DATAGRAMS, TEST_DATAGRAMS + 1, (0, 0, TEST_DATAGRAMS - 1), TEST_DATAGRAMS)
        self.assertIs(self.state, FAILED)

    def test_congestedTest(self) -> None:
        """One that arrives as it was sent is enough to believe the others."""
        self.send(TEST_DATAGRAMS)
        self.assertTrue(self.hear(0, TEST_DATAGRAMS, (1, 0, TEST_DATAGRAMS - 1)))
        self.assertIs(self.state, CAPABLE)

    def test_allLost(self) -> None:
        """When all that were marked are lost, and others arrive, the path drops what is marked."""
        self.send(TEST_DATAGRAMS)
        self.send(4)
        self.hear(TEST_DATAGRAMS, TEST_DATAGRAMS + 2, None, TEST_DATAGRAMS - 1)
        self.assertIs(self.state, UNKNOWN)
        self.hear(TEST_DATAGRAMS + 2, TEST_DATAGRAMS + 3, None, TEST_DATAGRAMS)
        self.assertIs(self.state, FAILED)

    def test_allLostNothingInFlight(self) -> None:
        """The same when nothing is left in flight."""
        self.send(TEST_DATAGRAMS)
        self.send(1)
        self.hear(TEST_DATAGRAMS, TEST_DATAGRAMS + 1, None)
        self.assertIs(self.state, FAILED)

    def test_someLost(self) -> None:
        """Those that arrive count; the lost ones don't."""
        self.send(TEST_DATAGRAMS)
        self.hear(9, 10, (1, 0, 0), 10)
        self.assertIs(self.state, CAPABLE)

    def test_silence(self) -> None:
        """What leaves while a probe timeout is unanswered isn't marked, and is not looked for in the counts."""
        self.capable()
        self.assertEqual([self.send(silent=True), self.send(silent=True)], [NOT_ECT] * 2)
        self.hear(5, 7, (5, 0, 0))
        self.assertEqual(self.send(), ECT0)
        self.hear(7, 8, (6, 0, 0))
        self.assertIs(self.state, CAPABLE)

    def test_silences(self) -> None:
        """When marked datagrams are answered by silence three times, and unmarked ones are not, they are dropped."""
        for capable in (False, True):
            self.marking, self.next = Marking(NullTrace()), 0
            if capable:
                self.capable()
            for _ in range(MOST_SILENCES - 1):
                self.assertEqual(self.send(), ECT0)
                self.send(silent=True)
                self.send(silent=True)
                self.hear(self.next - 2, self.next, None)
                self.assertIsNot(self.state, FAILED)
            self.assertEqual(self.send(), ECT0)
            self.assertEqual(self.send(silent=True), NOT_ECT)
            self.assertIs(self.state, FAILED)

    def test_silencesApart(self) -> None:
        """Silence is forgotten when a marked datagram is acknowledged: a path may lose anything."""
        self.capable()
        for _ in range(5 * MOST_SILENCES):
            self.send(silent=True)
            number = self.next
            self.assertEqual(self.send(), ECT0)
            count = 6 + (number - 6) // 2
            self.hear(number, number + 1, (count, 0, 0))
        self.assertIs(self.state, CAPABLE)

    def test_failedForGood(self) -> None:
        """On one path nothing mends it, and what is told is not obeyed any more."""
        self.send(3)
        self.hear(0, 1, None, 1)
        self.assertFalse(self.hear(1, 2, (1, 0, 1), 2))
        self.assertFalse(self.hear(2, 3, (9, 9, 9)))
        self.assertEqual((self.state, self.send(), self.marking.impossible), (FAILED, NOT_ECT, 0))

    def test_moved(self) -> None:
        """Another path is tested from the beginning, from where the counts are."""
        self.capable()
        self.send(2)
        self.marking.moved(0.0)
        self.assertIs(self.state, TESTING)
        self.assertEqual(self.send(2), ECT0)
        self.assertFalse(self.hear(5, 6, None, 6))  # of the old path: not asked for
        self.assertIs(self.state, TESTING)
        self.hear(6, 9, (9, 0, 0))
        self.assertIs(self.state, CAPABLE)

    def test_movedAfterFailure(self) -> None:
        """That one path clears marks says nothing of another."""
        self.send(3)
        self.hear(0, 3, (1, 0, 0))
        self.assertIs(self.state, FAILED)
        self.marking.moved(0.0)
        self.send(TEST_DATAGRAMS)
        self.hear(3, 3 + TEST_DATAGRAMS, (1 + TEST_DATAGRAMS, 0, 0))
        self.assertIs(self.state, CAPABLE)

    def test_traced(self) -> None:
        """Changes of state are traced by qlog's name, and nothing else is."""
        lines: list[str] = []
        marking = Marking(Trace(lines.append, "t", "client", 1.0))
        marking.mark(0, TEST_DATAGRAMS, False, 1.5)
        for number in range(2):
            newly = [Sent(number, 0.0, 1_000, [], False)]
            marking.acknowledged(Ack(0, ((0, number + 1),), (number + 1, 0, 0)), newly, 5, 2.0)
        told: list[Any] = [json.loads(line) for line in lines[1:]]
        self.assertEqual({event["name"] for event in told}, {"recovery:ecn_state_updated"})
        self.assertEqual(
            [event["data"] for event in told],
            [{"old": "testing", "new": "unknown"}, {"old": "unknown", "new": "capable"}],
        )
