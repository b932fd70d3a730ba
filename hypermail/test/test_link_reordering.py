"""
Tests for L{hypermail.link.reordering} and L{hypermail.link.doubt}: RFC 8985 §6.2, RFC 9438 §4.9.
"""

from __future__ import annotations

from collections.abc import Iterable

from twisted.trial.unittest import SynchronousTestCase

from hypermail.link.doubt import MOST_DOUBTED, PATIENCE, Doubt
from hypermail.link.payload import Sent
from hypermail.link.reordering import FORGET_AFTER, PACKET_THRESHOLD, Reordering
from hypermail.link.rtt import RoundTrip


class ReorderingTests(SynchronousTestCase):
    """A path of 80 ms."""

    def setUp(self) -> None:
        self.rtt = RoundTrip()
        self.rtt.sample(0.08, 0.0)
        self.reordering = Reordering()

    def test_first(self) -> None:
        """Three later numbers, and 9/8 of a round trip (RFC 9002 §6.1)."""
        self.assertEqual(self.reordering.packets, PACKET_THRESHOLD)
        self.assertAlmostEqual(self.reordering.delay(self.rtt), 0.09)

    def test_late(self) -> None:
        """A late one has numbers forgotten, and time given as it took, with a quarter more; the latest one counts."""
        self.reordering.late(0.10, self.rtt)
        self.assertEqual(self.reordering.packets, 0)
        self.assertAlmostEqual(self.reordering.delay(self.rtt), 0.09 + 0.0125)
        self.reordering.late(0.13, self.rtt)
        self.reordering.late(0.10, self.rtt)
        self.assertAlmostEqual(self.reordering.delay(self.rtt), 0.09 + 0.05)

    def test_early(self) -> None:
        """One that was lost by its number, and came in time, takes no time away."""
        self.reordering.late(0.05, self.rtt)
        self.assertEqual(self.reordering.packets, 0)
        self.assertAlmostEqual(self.reordering.delay(self.rtt), 0.09)

    def test_bounded(self) -> None:
        """Never more than one round trip is given, and not more than there is when it has become shorter."""
        self.reordering.late(10.0, self.rtt)
        self.assertAlmostEqual(self.reordering.delay(self.rtt), 0.17)
        shorter = RoundTrip()
        shorter.sample(0.008, 0.0)
        self.assertAlmostEqual(self.reordering.delay(shorter), 0.009 + 0.008)

    def test_forgotten(self) -> None:
        """After sixteen real losses in a row the path is trusted again; a late one begins the count anew."""
        self.reordering.late(0.13, self.rtt)
        for _ in range(FORGET_AFTER - 1):
            self.reordering.real()
        self.reordering.late(0.13, self.rtt)
        for _ in range(FORGET_AFTER - 1):
            self.reordering.real()
        self.assertEqual(self.reordering.packets, 0)
        self.reordering.real()
        self.test_first()
        self.reordering.late(0.13, self.rtt)
        self.reordering.real()
        self.assertEqual(self.reordering.packets, 0)


def sent(numbers: Iterable[int], time: float = 0.0, long: bool = False) -> list[Sent]:
    """Datagrams."""
    return [Sent(number, time, 1_000, [], long) for number in numbers]


class DoubtTests(SynchronousTestCase):
    """A path of 80 ms: the probe timeout is 265 ms."""

    def setUp(self) -> None:
        self.rtt = RoundTrip()
        self.rtt.sample(0.08, 0.0)
        self.doubt = Doubt()

    def decided(self) -> tuple[bool, bool]:
        """Whether it was (undone, real)."""
        return self.doubt.undone, self.doubt.real

    def arrived(self, *ranges: tuple[int, int], long: bool = False) -> list[int]:
        """Numbers of those that have come."""
        return [late.number for late in self.doubt.arrived(ranges, long)]

    def test_first(self) -> None:
        """What is lost while nothing is in doubt is the first."""
        self.assertTrue(self.doubt.add(sent([1])))
        self.assertFalse(self.doubt.add(sent([2])))
        self.arrived((1, 3))
        self.assertTrue(self.doubt.add(sent([5])))

    def test_arrived(self) -> None:
        """Each that is covered by a range has arrived, once; all of them decide that nothing was lost."""
        self.doubt.add(sent([3, 4, 7, 9]))
        self.assertEqual(self.arrived((8, 9), (4, 8)), [4, 7])
        self.assertEqual(self.arrived((8, 9), (4, 8)), [])
        self.assertEqual((self.decided(), len(self.doubt)), ((False, False), 2))
        self.assertEqual(self.arrived((0, 100)), [3, 9])
        self.assertEqual((self.decided(), len(self.doubt)), ((True, False), 0))

    def test_kinds(self) -> None:
        """Acknowledgements of short datagrams say nothing of long ones."""
        self.doubt.add([*sent([1], long=True), *sent([2])])
        self.assertEqual(self.arrived((0, 9)), [2])
        self.assertEqual(self.arrived((0, 9), long=True), [1])

    def test_expired(self) -> None:
        """What is three probe timeouts old was lost: that is real, and nothing is undone by others that come."""
        self.doubt.add([*sent([1]), *sent([2], 0.5)])
        patience = PATIENCE * self.rtt.probe_timeout
        self.doubt.expire(patience - 0.001, self.rtt)
        self.assertEqual(len(self.doubt), 2)
        self.doubt.expire(patience, self.rtt)
        self.assertEqual((self.decided(), len(self.doubt)), ((False, False), 1))
        self.arrived((2, 3))
        self.assertEqual(self.decided(), (False, True))
        self.doubt.real = False
        self.doubt.add(sent([3], 2.0))
        self.arrived((3, 4))
        self.assertEqual(self.decided(), (True, False), "the next ones are another matter")

    def test_allExpired(self) -> None:
        """When the last one gets too old that decides, too."""
        self.doubt.add(sent([1, 2]))
        self.doubt.expire(100.0, self.rtt)
        self.assertEqual((self.decided(), len(self.doubt)), ((False, True), 0))

    def test_most(self) -> None:
        """No more than so many are remembered, whatever is lost."""
        self.doubt.add(sent(range(MOST_DOUBTED + 5)))
        self.assertEqual(len(self.doubt), MOST_DOUBTED)
        self.assertEqual(self.arrived((0, 6)), [5])
        self.arrived((0, MOST_DOUBTED + 5))
        self.assertEqual(self.decided(), (False, True))

    def test_clear(self) -> None:
        """What was cleared decides nothing."""
        self.doubt.add(sent([1]))
        self.doubt.expire(100.0, self.rtt)
        self.doubt.real = False
        self.doubt.add(sent([1, 2]))
        self.doubt.clear()
        self.assertEqual(self.arrived((0, 9)), [])
        self.assertTrue(self.doubt.add(sent([3])))
        self.arrived((3, 4))
        self.assertEqual(self.decided(), (True, False))
