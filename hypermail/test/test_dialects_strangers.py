"""
Tests for L{hypermail.dialects.strangers}.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hypermail.dialects.strangers import Strangers


class StrangersTests(SynchronousTestCase):
    """Who has a place, and who gives way."""

    def test_oldest(self) -> None:
        """When all places are taken the oldest gives way; in a prefix that has too many, its own oldest."""
        strangers: Strangers[int] = Strangers(4, 2)
        self.assertEqual([strangers.enter(number, "a") for number in range(2)], [None, None])
        self.assertEqual([strangers.enter(number, "b") for number in (2, 3)], [None, None])
        self.assertEqual(strangers.enter(4, "b"), 2)
        self.assertEqual(strangers.enter(5, "c"), 0)
        strangers.leave(1)
        strangers.leave(1)
        self.assertEqual([strangers.enter(number, "d") for number in (6, 7)], [None, 3])
        self.assertEqual([number in strangers for number in range(8)], [False] * 4 + [True] * 4)

    @settings(deadline=None)
    @given(st.lists(st.tuples(st.booleans(), st.integers(0, 40), st.integers(0, 3)), max_size=200))
    def test_model(self, steps: list[tuple[bool, int, int]]) -> None:
        """Whoever comes and goes, no more have places than may, nobody is lost, and each prefix keeps its share."""
        strangers: Strangers[int] = Strangers(10, 4)
        there: dict[int, int] = {}
        for comes, who, prefix in steps:
            if comes and who not in there:
                gone = strangers.enter(who, prefix)
                there[who] = prefix
                if gone is not None:
                    same = [each for each, its in there.items() if its == prefix and each != who]
                    oldest = same if len(same) >= 4 else [each for each in there if each != who]
                    self.assertEqual(gone, oldest[0])
                    del there[gone]
            elif not comes:
                strangers.leave(who)
                there.pop(who, None)
            self.assertEqual({each for each in range(41) if each in strangers}, set(there))
            self.assertLessEqual(len(strangers), 10)
            self.assertTrue(all(list(there.values()).count(each) <= 4 for each in range(4)))
