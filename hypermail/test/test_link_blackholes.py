"""
Tests for L{hypermail.link.blackholes}: RFC 8899 §4.3.
"""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hypermail.link.blackholes import MOST_BURSTS, BlackHoles
from hypermail.link.payload import Sent

RTT = 0.05
LARGE = 1_472
SMALL = 100


class BlackHoleTests(SynchronousTestCase):
    """What is taken for a black hole, and what isn't."""

    def setUp(self) -> None:
        self.holes = BlackHoles(1_200)

    def sent(self, number: int, size: int, time: float | None = None) -> Sent:
        """A datagram, more than a round trip after the one before unless said otherwise."""
        return Sent(number, number * 1.1 * RTT if time is None else time, size, [], False)

    def lost(self, *datagrams: Sent, largest: int = 1_000) -> bool:
        """These get lost together, and a later one has arrived."""
        return self.holes.lost(datagrams, largest, RTT)

    def acked(self, *datagrams: Sent) -> None:
        """These arrive together."""
        self.holes.acked(datagrams, max(datagrams, key=lambda sent: sent.number))

    def test_three_bursts(self) -> None:
        """Large datagrams that get lost, a round trip apart, while small ones arrive: the third time it is one."""
        for burst in range(MOST_BURSTS):
            found = self.lost(self.sent(2 * burst, LARGE))
            self.acked(self.sent(2 * burst + 1, SMALL))
            self.assertEqual((found, self.holes.found), (burst == 2, burst == 2))

    def test_at_once(self) -> None:
        """So it is when all of them are found to be lost at one time."""
        self.assertTrue(self.lost(*(self.sent(number, LARGE) for number in range(MOST_BURSTS))))

    def test_one_burst(self) -> None:
        """What was sent within a round trip is one burst, however much it was: so queues overflow."""
        burst = [self.sent(number, LARGE, 5.0 + number * RTT / 100) for number in range(99)]
        self.assertFalse(self.lost(*burst))
        self.assertFalse(self.lost(self.sent(99, LARGE, 5.0 + 1.1 * RTT)))
        self.assertTrue(self.lost(self.sent(100, LARGE, 5.0 + 2.2 * RTT)))

    def test_small(self) -> None:
        """Datagrams of the base's size and below are nothing to it."""
        self.assertFalse(self.lost(*(self.sent(number, 1_200) for number in range(20))))
        self.assertTrue(self.lost(*(self.sent(number, 1_201) for number in range(20))))

    def test_arrives(self) -> None:
        """Any datagram as large that was sent later clears the path."""
        self.lost(self.sent(0, LARGE), self.sent(1, LARGE))
        self.acked(self.sent(2, LARGE))
        self.assertFalse(self.lost(self.sent(3, LARGE), self.sent(4, LARGE)))
        self.assertTrue(self.lost(self.sent(5, LARGE)))

    def test_arrives_among_small(self) -> None:
        """Also when a small one that was sent after it is acknowledged with it."""
        self.lost(self.sent(0, LARGE), self.sent(1, LARGE))
        self.acked(self.sent(2, SMALL), self.sent(3, LARGE), self.sent(4, SMALL))
        self.assertFalse(self.lost(self.sent(5, LARGE)))

    def test_arrives_before(self) -> None:
        """What is acknowledged before the loss is noticed, and was sent later, makes the loss an ordinary one."""
        self.acked(self.sent(10, LARGE))
        self.assertFalse(self.lost(*(self.sent(number, LARGE) for number in range(10))))
        self.assertTrue(self.lost(*(self.sent(number, LARGE) for number in range(11, 14))))

    def test_sent_before(self) -> None:
        """What was sent before the path shrank and arrives late clears nothing."""
        self.lost(self.sent(5, LARGE), self.sent(6, LARGE))
        self.acked(self.sent(4, LARGE))
        self.assertTrue(self.lost(self.sent(7, LARGE)))

    def test_not_as_large(self) -> None:
        """Datagrams larger than the base that arrive say nothing about those that are larger still."""
        for number in range(0, 6, 2):
            self.acked(self.sent(number + 1, 1_300))
            found = self.lost(self.sent(number, LARGE))
        self.assertTrue(found)

    def test_smallest_counts(self) -> None:
        """The path is cleared by what is as large as the smallest that was lost."""
        self.lost(self.sent(0, LARGE), self.sent(1, 1_300))
        self.acked(self.sent(2, 1_300))
        self.assertFalse(self.lost(self.sent(3, LARGE), self.sent(4, LARGE)))
        self.setUp()
        self.lost(self.sent(0, LARGE, 0.0), self.sent(1, 1_300, 0.001))  # one burst
        self.acked(self.sent(2, 1_300))
        self.assertFalse(self.lost(self.sent(3, LARGE), self.sent(4, LARGE)))

    def test_nothing_arrives(self) -> None:
        """While nothing that was sent later arrives it is the path that is gone, not its size."""
        self.assertFalse(self.lost(*(self.sent(number, LARGE) for number in range(20)), largest=-1))
        self.assertFalse(self.lost(*(self.sent(number, LARGE) for number in range(2, 20)), largest=3))

    def test_late_proof(self) -> None:
        """What arrives late, after what was sent later, takes nothing back of what that has proved."""
        self.acked(self.sent(10, LARGE))
        self.acked(self.sent(2, LARGE))
        self.assertFalse(self.lost(*(self.sent(number, LARGE) for number in range(3, 10))))
        self.holes.forget(20)
        self.acked(self.sent(11, LARGE))
        self.assertFalse(self.lost(*(self.sent(number, LARGE) for number in range(12, 20))))

    def test_forget(self) -> None:
        """Once the size is lowered, what else of the old size gets lost is no second black hole."""
        self.lost(*(self.sent(number, LARGE) for number in range(3)))
        self.holes.forget(10)
        self.assertFalse(self.holes.found)
        self.assertFalse(self.lost(*(self.sent(number, LARGE) for number in range(3, 10))))
        self.assertTrue(self.lost(*(self.sent(number, LARGE) for number in range(11, 14))))

    @settings(deadline=None)
    @given(st.integers(0, 1_000))
    def test_random_loss(self, seed: int) -> None:
        """Full datagrams of which one in ten gets lost, as chance has it, are no black hole."""
        random = Random(seed)
        lost: list[Sent] = []
        for number in range(500):
            sent = self.sent(number, LARGE, number * RTT / 10)
            if random.random() < 0.1:
                lost.append(sent)
                continue
            self.acked(sent)
            overtaken = [one for one in lost if one.number <= number - 3]
            lost = lost[len(overtaken) :]
            if overtaken:
                self.assertFalse(self.lost(*overtaken, largest=number))
