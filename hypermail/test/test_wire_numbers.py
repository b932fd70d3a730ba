"""
Tests for L{hypermail.wire.numbers}.
"""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hypermail.wire.numbers import HALF, LARGEST, MASK, expand

WINDOW = MASK + 1


def nearest(low: int, expected: int) -> set[int]:
    """By definition: of all numbers that end in C{low}, those that are nearest to the expected one."""
    around = expected // WINDOW
    candidates = [(around + turn) * WINDOW + low for turn in range(-2, 3)]
    possible = [number for number in candidates if 0 <= number <= LARGEST]
    distance = min(abs(number - expected) for number in possible)
    return {number for number in possible if abs(number - expected) == distance}


class ExpandTests(SynchronousTestCase):
    """The whole number from its low 32 bits."""

    @settings(deadline=None, max_examples=500)
    @given(
        st.integers(0, MASK) | st.sampled_from([0, 1, HALF - 1, HALF, HALF + 1, MASK]),
        st.integers(0, LARGEST)
        | st.builds(lambda turn, rest: turn * HALF + rest, st.integers(0, 5), st.integers(0, 3))
        | st.integers(0, 3).map(lambda below: LARGEST - below),
    )
    @example(HALF, 0)
    @example(0, HALF + WINDOW)
    def test_nearest(self, low: int, expected: int) -> None:
        """It is the nearest to the expected number of all that end in these bits, and within 62 bits."""
        self.assertIn(expand(low, expected), nearest(low, expected))

    @settings(deadline=None)
    @given(st.integers(0, LARGEST), st.integers(1 - HALF, HALF - 1))
    def test_inverse(self, number: int, distance: int) -> None:
        """Whoever is at most half a window away from a number gets it back."""
        expected = number + distance
        if 0 <= expected <= LARGEST:
            self.assertEqual(expand(number & MASK, expected), number)

    def test_the_rfc(self) -> None:
        """The example of RFC 9000 appendix A.3, moved up by 16 bits."""
        self.assertEqual(expand(0x9B32_0000, 0xA82F_30EA_0000 + 1), 0xA82F_9B32_0000)
