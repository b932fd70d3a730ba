"""
Tests for L{hypermail.messages.budget}, L{hypermail.messages.holdings} and L{hypermail.messages.lanes}.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hypermail.errors import LimitExceeded, UsageError
from hypermail.messages.budget import Budget
from hypermail.messages.holdings import Holdings
from hypermail.messages.lanes import LaneProperties
from hypermail.messages.states import OUTGOING, Input, State
from hypermail.options import Delivery


class BudgetTests(SynchronousTestCase):
    """What a sender may begin."""

    def test_firstAlways(self) -> None:
        """One message may always be begun when none is, whatever its size."""
        budget = Budget(100, 10, 4)
        self.assertTrue(budget.allows(1_000, 0))
        budget.queued(1_000)
        budget.began(1_000, 1)
        self.assertFalse(budget.allows(0, 7))

    def test_quarterOfBytes(self) -> None:
        """A quarter of the allowance in bytes is kept for priorities over 0."""
        budget = Budget(1 << 20, 100, 100)
        budget.queued(70)
        budget.began(70, 1)
        self.assertTrue(budget.allows(5, 0))
        self.assertFalse(budget.allows(6, 0))
        self.assertTrue(budget.allows(30, 1))
        self.assertFalse(budget.allows(31, 1))

    def test_quarterOfMessages(self) -> None:
        """A quarter of the allowance in messages is kept for priorities over 0."""
        budget = Budget(1 << 20, 1_000, 8)
        for _ in range(6):
            self.assertTrue(budget.allows(1, 0))
            budget.queued(1)
            budget.began(1, 1)
        self.assertFalse(budget.allows(1, 0))
        self.assertEqual(budget.headroom(1), (2, 994))

    def test_fullAndDrained(self) -> None:
        """Producers are paused by bytes and by many small messages, and go on at half."""
        for size in (0, 100, 1_000):
            budget = Budget(6_400, 1, 1)
            count = 0
            while not budget.full:
                budget.queued(size)
                count += 1
            self.assertFalse(budget.drained)
            while not budget.drained:
                budget.unqueued(size)
                count -= 1
            self.assertFalse(budget.full)
            self.assertEqual(budget.queued_bytes, count * size)
            self.assertLessEqual(count * (size + 64), 3_200)

    @given(st.lists(st.tuples(st.sampled_from(["queue", "begin", "settle"]), st.integers(0, 500)), max_size=60))
    def test_neverBeyond(self, steps: list[tuple[str, int]]) -> None:
        """Whatever happens, what is begun stays within the allowance, but for a first message larger than it."""
        budget = Budget(1_000, 1_000, 5)
        queued: list[int] = []
        begun: list[int] = []
        for step, size in steps:
            if step == "queue":
                budget.queued(size)
                queued.append(size)
            elif step == "begin" and queued and budget.allows(queued[0], size % 2):
                budget.began(queued[0], 1)
                begun.append(queued.pop(0))
            elif step == "settle" and begun:
                budget.settled(begun.pop(0))
            self.assertEqual((budget.queued_bytes, budget.queued_messages), (sum(queued), len(queued)))
            self.assertEqual((budget.begun_bytes, budget.begun_messages), (sum(begun), len(begun)))
            self.assertLessEqual(len(begun), 5)
            self.assertLessEqual(sum(begun), 1_000)


class HoldingsTests(SynchronousTestCase):
    """What a receiver bears."""

    def test_limits(self) -> None:
        """Exactly the allowance is borne, and one byte or message more is not, until something is settled."""
        holdings = Holdings(100, 3)
        holdings.admit(100, 3)
        holdings.release(50, 1)
        holdings.admit(50, 1)
        self.assertRaises(LimitExceeded, holdings.admit, 0, 1)
        holdings = Holdings(100, 3)
        self.assertRaises(LimitExceeded, holdings.admit, 101, 1)


class LanePropertiesTests(SynchronousTestCase):
    """What a lane can be."""

    def test_checked(self) -> None:
        """Numbers go to 239 and priorities to 7; others are refused with a reason."""
        self.assertEqual(LaneProperties(False, Delivery.BUFFERED, 7).checked(239).flags, 3)
        for number, properties in ((240, LaneProperties()), (-1, LaneProperties()), (0, LaneProperties(priority=8))):
            self.assertRaises(UsageError, properties.checked, number)
        self.assertRaises(UsageError, LaneProperties(priority=-1).checked, 0)


class StateTests(SynchronousTestCase):
    """The life of an outgoing message."""

    def test_settledIsFinal(self) -> None:
        """From every state there is a way to be settled, and none leads on from there."""
        for state in State:
            if state is not State.SETTLED:
                self.assertIs(OUTGOING.next(state, Input.SETTLE), State.SETTLED)
        self.assertEqual({after for state, _, after in OUTGOING if state is State.SETTLED}, {State.SETTLED})
