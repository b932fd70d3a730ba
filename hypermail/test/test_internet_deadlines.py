"""
Tests of L{hypermail.internet.deadlines}.
"""

from __future__ import annotations

import time
from math import inf
from random import Random
from weakref import ref

from hypothesis import given
from hypothesis.strategies import floats
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from hypermail.internet.deadlines import Deadlines, clockOf


class Item:
    """Something with a deadline."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.deadline = inf


class DeadlinesTests(SynchronousTestCase):
    """
    L{Deadlines}: many deadlines, one delayed call.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.expired: list[tuple[str, float]] = []
        self.deadlines: Deadlines[Item] = Deadlines(
            self.clock, self.clock.seconds, lambda item: self.expired.append((item.name, self.clock.seconds()))
        )

    def assertOneCall(self, delay: float) -> None:
        """There is one delayed call, in C{delay} seconds."""
        self.assertEqual([call.getTime() - self.clock.seconds() for call in self.clock.getDelayedCalls()], [delay])

    def test_expires(self) -> None:
        """An item is called at its deadline, and has none then."""
        item = Item("a")
        self.deadlines.arm(item, 5.0)
        self.clock.advance(4)
        self.assertEqual(self.expired, [])
        self.clock.advance(1)
        self.assertEqual((self.expired, item.deadline), ([("a", 5.0)], inf))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_oneCall(self) -> None:
        """However many have deadlines, the reactor has one call, for the nearest."""
        for number in range(10):
            self.deadlines.arm(Item(str(number)), 10.0 - number)
        self.assertOneCall(1.0)
        self.clock.pump([1.0] * 10)
        self.assertEqual([name for name, _ in self.expired], [str(number) for number in range(9, -1, -1)])

    def test_together(self) -> None:
        """Those that are far away, and near to each other, have one call together, a moment after the last of them."""
        calls = 0
        for number in range(10):
            self.deadlines.arm(Item(str(number)), 5.001 + number / 1_000)
        near = Item("near")
        self.deadlines.arm(near, 0.9999)
        while delayed := self.clock.getDelayedCalls():
            calls += 1
            self.clock.advance(delayed[0].getTime() - self.clock.seconds())
        self.assertEqual(self.expired, [("near", 0.9999), *((str(number), 5.125) for number in range(10))])
        self.assertEqual(calls, 2)

    @given(floats(1.001, 1_000_000), floats(0, 1_000_000))
    def test_howFar(self, away: float, now: float) -> None:
        """None is called too early, nor later than by a thirty-second of its distance."""
        self.setUp()
        self.clock.advance(now)
        item = Item("a")
        self.deadlines.arm(item, now + away)
        self.assertGreaterEqual(item.deadline, now + away)
        self.assertLessEqual(item.deadline, (now + away * 33 / 32) * (1 + 1e-12))

    def test_fartherTogether(self) -> None:
        """The farther away they are, the longer that moment is, in proportion."""
        for first, shared in ((60.01, 61.0), (15.01, 15.25), (1.51, 1.53125)):
            self.setUp()
            for number in range(10):
                self.deadlines.arm(Item(str(number)), first + number / 500)
            self.assertOneCall(shared)
            self.clock.advance(shared)
            self.assertEqual(len(self.expired), 10)

    def test_over(self) -> None:
        """When all that come together have been called, that is told: once, and for each such time."""
        told: list[list[tuple[str, float]]] = []
        self.deadlines = Deadlines(
            self.clock,
            self.clock.seconds,
            lambda item: self.expired.append((item.name, self.clock.seconds())),
            lambda: told.append(self.expired[:]),
        )
        for name, deadline in (("a", 1.0), ("b", 1.0), ("c", 2.0)):
            self.deadlines.arm(Item(name), deadline)
        self.clock.pump([1.0, 1.0, 1.0])
        self.assertEqual([[name for name, _ in names] for names in told], [["a", "b"], ["a", "b", "c"]])

    def test_againTogether(self) -> None:
        """Who is put off so, and asks for the same again, is not called twice."""
        item = Item("a")
        for _ in range(3):
            self.deadlines.arm(item, 5.001)
        self.clock.pump([0.001] * 6_000)
        self.assertEqual(len(self.expired), 1)

    def test_closer(self) -> None:
        """A deadline that comes closer counts."""
        item = Item("a")
        self.deadlines.arm(item, 5.0)
        self.deadlines.arm(item, 2.0)
        self.clock.pump([1.0] * 10)
        self.assertEqual(self.expired, [("a", 2.0)])

    def test_further(self) -> None:
        """A deadline that moves away does not: the item is called early."""
        item = Item("a")
        self.deadlines.arm(item, 2.0)
        self.deadlines.arm(item, 5.0)
        self.assertOneCall(2.0)
        self.clock.pump([1.0] * 10)
        self.assertEqual(self.expired, [("a", 2.0)])

    def test_putOff(self) -> None:
        """What is put off is not called before; what is put off for ever never is."""
        item = Item("a")
        self.deadlines.arm(item, 2.0)
        self.deadlines.putOff(item, 5.0)
        self.deadlines.putOff(item, 5.0)
        self.clock.pump([1.0] * 4)
        self.assertEqual((self.expired, item.deadline), ([], 5.0))
        self.clock.advance(1)
        self.assertEqual((self.expired, item.deadline), ([("a", 5.0)], inf))
        self.deadlines.putOff(item, 7.0)
        self.deadlines.putOff(item, 6.0)
        self.assertOneCall(1.0)
        self.deadlines.putOff(item, None)
        self.assertEqual((item.deadline, self.clock.getDelayedCalls()), (inf, []))

    def test_never(self) -> None:
        """None takes a deadline back; with the last one the reactor has no call any more."""
        first, second = Item("a"), Item("b")
        self.deadlines.arm(first, 1.0)
        self.deadlines.arm(second, 2.0)
        self.deadlines.arm(first, None)
        self.deadlines.arm(first, None)
        self.clock.advance(1.5)
        self.assertEqual(self.expired, [])
        self.deadlines.arm(second, None)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_notKept(self) -> None:
        """Who has taken its deadline back is not kept until that has come, while others have theirs."""
        first, second = Item("a"), Item("b")
        for deadline in (8.0, 7.0):
            self.deadlines.arm(first, deadline)
            self.deadlines.arm(second, deadline)
        self.deadlines.arm(first, None)
        kept = ref(first)
        del first
        self.assertIsNone(kept())
        self.clock.pump([1.0] * 10)
        self.assertEqual(self.expired, [("b", 7.0)])

    def test_past(self) -> None:
        """A deadline in the past is for the next turn."""
        self.clock.advance(10)
        self.deadlines.arm(Item("a"), 3.0)
        self.assertOneCall(0.0)
        self.clock.advance(0)
        self.assertEqual(self.expired, [("a", 10.0)])

    def test_armedWhileExpiring(self) -> None:
        """What is called may set a deadline anew, its own and others'."""
        item, other = Item("a"), Item("b")

        def again(found: Item) -> None:
            self.expired.append((found.name, self.clock.seconds()))
            if found is item and self.clock.seconds() < 3:
                self.deadlines.arm(item, self.clock.seconds() + 1)
                self.deadlines.arm(other, 2.5)

        self.deadlines = Deadlines(self.clock, self.clock.seconds, again)
        self.deadlines.arm(item, 1.0)
        self.clock.pump([0.5] * 10)
        self.assertEqual(self.expired, [("a", 1.0), ("a", 2.0), ("b", 2.5), ("a", 3.0)])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop(self) -> None:
        """Stopping leaves nothing, and the items may be armed again."""
        item = Item("a")
        self.deadlines.arm(item, 1.0)
        self.deadlines.stop()
        self.assertEqual((self.clock.getDelayedCalls(), item.deadline), ([], inf))
        self.deadlines.arm(item, 2.0)
        self.clock.advance(2)
        self.assertEqual(self.expired, [("a", 2.0)])

    def test_bounded(self) -> None:
        """Deadlines that have moved closer over and over don't pile up."""
        item, other = Item("a"), Item("b")
        self.deadlines.arm(other, 1e6)
        for step in range(10_000):
            self.deadlines.arm(item, self.clock.seconds() + 100)
            self.deadlines.arm(item, self.clock.seconds() + 0.001)
            self.clock.advance(0.001)
            self.assertEqual(len(self.expired), step + 1)
        self.assertLess(max(len(self.deadlines._heap), self.deadlines._entries), 100)

    def test_random(self) -> None:
        """Whatever is armed and taken back: nobody is called late, and whoever has a deadline is called."""
        random = Random(7)
        items = [Item(str(number)) for number in range(20)]
        wanted: dict[str, float] = {}

        def expired(item: Item) -> None:
            self.assertGreaterEqual(wanted.pop(item.name) + 0.0101, self.clock.seconds())

        self.deadlines = Deadlines(self.clock, self.clock.seconds, expired)
        for _ in range(5_000):
            item = random.choice(items)
            chance = random.random()
            deadline = self.clock.seconds() + random.random()
            if chance < 0.2:
                self.deadlines.arm(item, None)
                wanted.pop(item.name, None)
            elif chance < 0.4:
                self.deadlines.putOff(item, deadline)
                wanted[item.name] = deadline
            else:
                self.deadlines.arm(item, deadline)
                wanted[item.name] = min(deadline, wanted.get(item.name, inf))
            self.clock.advance(0.01)
        self.clock.pump([0.01] * 200)
        self.assertEqual(wanted, {})
        self.assertEqual(self.clock.getDelayedCalls(), [])


class ClockTests(SynchronousTestCase):
    """
    L{clockOf}
    """

    def test_clock(self) -> None:
        """A clock's time is its own; any other reactor's is monotonic, as the wall clock may go back."""
        clock = Clock()
        self.assertEqual(clockOf(clock), clock.seconds)
        self.assertIs(clockOf(object()), time.monotonic)
