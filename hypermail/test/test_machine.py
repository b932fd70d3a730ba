"""
Tests for L{hypermail.machine}.
"""

from __future__ import annotations

from enum import Enum, auto

from twisted.trial.unittest import SynchronousTestCase

from hypermail.errors import IllegalTransition, Reason
from hypermail.machine import Table


class Door(Enum):
    """States."""

    OPEN = auto()
    SHUT = auto()


class Push(Enum):
    """Inputs."""

    PUSH = auto()
    PULL = auto()


TRANSITIONS = {(Door.SHUT, Push.PULL): Door.OPEN, (Door.OPEN, Push.PUSH): Door.SHUT}


class TableTests(SynchronousTestCase):
    """A machine of two states and two inputs."""

    def setUp(self) -> None:
        self.door = Table("door", Door.SHUT, TRANSITIONS)

    def test_next(self) -> None:
        """A pair that is in the table leads where the table says."""
        self.assertIs(self.door.next(Door.SHUT, Push.PULL), Door.OPEN)
        self.assertIs(self.door.next(Door.OPEN, Push.PUSH), Door.SHUT)

    def test_illegal(self) -> None:
        """A pair that isn't is an error that names machine, input and state, with nothing of Python's own behind it."""
        error = self.assertRaises(IllegalTransition, self.door.next, Door.SHUT, Push.PUSH)
        self.assertEqual(error.text, "door: PUSH is illegal in state SHUT")
        self.assertEqual(error.code, Reason.PROTOCOL_VIOLATION)
        self.assertTrue(error.__suppress_context__)

    def test_allows(self) -> None:
        """It tells which pairs are legal."""
        legal = [(state, push) for state in Door for push in Push if self.door.allows(state, push)]
        self.assertEqual(legal, [(Door.OPEN, Push.PUSH), (Door.SHUT, Push.PULL)])

    def test_iteration(self) -> None:
        """It yields all transitions in the order of the table, from which the diagrams are drawn."""
        self.assertEqual(list(self.door), [(Door.SHUT, Push.PULL, Door.OPEN), (Door.OPEN, Push.PUSH, Door.SHUT)])

    def test_copied(self) -> None:
        """A table does not change with the mapping that it was made of."""
        transitions = dict(TRANSITIONS)
        door = Table("door", Door.SHUT, transitions)
        transitions.clear()
        self.assertTrue(door.allows(Door.SHUT, Push.PULL))
