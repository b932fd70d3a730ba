"""
Tests for L{hypermail.link.maximum}.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hypermail.link.maximum import RecentMaximum


class RecentMaximumTests(SynchronousTestCase):
    """The greatest value of late."""

    @given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 20)), max_size=60), st.integers(1, 6))
    def test_model(self, steps: list[tuple[int, int]], length: int) -> None:
        """It is the maximum of all that were added less than its length ago; few of them are kept."""
        recent = RecentMaximum(length)
        self.assertEqual(recent.value, 0.0)
        seen: list[tuple[int, int]] = []
        now = 0
        for pause, value in steps:
            now += pause
            recent.add(now, value)
            seen.append((now, value))
            self.assertEqual(recent.value, max(value for time, value in seen if time > now - length))
            self.assertLessEqual(len(recent._kept), length)
