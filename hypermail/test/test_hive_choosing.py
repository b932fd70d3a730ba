"""
Tests for L{hypermail.hive.choosing}.
"""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from hypermail.hive.choosing import LONGEST_REST, Choice, Health


class Worker:
    """A cell."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.outstanding = 0
        self.health = Health()


class ChoiceTests(SynchronousTestCase):
    """Three cells on one mount."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.choice = Choice(self.clock.seconds)
        self.cells = [Worker(name) for name in "abc"]

    def chosen(self, count: int = 1, tried: str = "") -> str:
        """The names of those who are chosen."""
        failed = [cell for cell in self.cells if cell.name in tried]
        found = [self.choice.choose(self.cells, failed) for _ in range(count)]
        return "".join("-" if cell is None else cell.name for cell in found)

    def test_turns(self) -> None:
        """Equals take turns."""
        self.assertEqual(self.chosen(7), "abcabca")

    def test_least(self) -> None:
        """Who has fewer requests comes first."""
        for cell, outstanding in zip(self.cells, (2, 1, 2)):
            cell.outstanding = outstanding
        self.assertEqual(self.chosen(2), "bb")
        self.cells[1].outstanding = 2
        self.assertEqual(self.chosen(3), "acb")

    def test_tried(self) -> None:
        """Who has failed with a request does not get it again."""
        self.assertEqual(self.chosen(2, "ac"), "bb")
        self.assertEqual(self.chosen(1, "abc"), "-")
        self.assertIsNone(self.choice.choose([]))

    def test_rest(self) -> None:
        """Who fails is set aside, for longer each time, and is asked when there is no other; an answer ends that."""
        failing = self.cells[0].health
        for seconds in (1.0, 2.0, 4.0, 8.0, 16.0, LONGEST_REST, LONGEST_REST):
            failing.failed(self.clock.seconds())
            self.assertNotIn("a", self.chosen(5))
            self.assertEqual(self.chosen(1, "bc"), "a")
            self.clock.advance(seconds - 0.01)
            self.assertNotIn("a", self.chosen(5))
            self.clock.advance(0.01)
            self.assertIn("a", self.chosen(3))
        for _ in range(1_000):
            failing.failed(self.clock.seconds())
        failing.succeeded()
        self.assertIn("a", self.chosen(3))
        failing.failed(self.clock.seconds())
        self.clock.advance(1.0)
        self.assertIn("a", self.chosen(3))

    def test_all_rest(self) -> None:
        """When all rest it is as if none did."""
        for cell in self.cells:
            cell.health.failed(self.clock.seconds())
        self.assertEqual(self.chosen(4), "abca")
