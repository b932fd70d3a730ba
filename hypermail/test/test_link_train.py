"""
Tests for L{hypermail.link.train}.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hypermail.link.train import MAX_BYTES, MAX_DATAGRAMS, Train, couple


def lengths(*sizes: int) -> list[list[int]]:
    """The lengths of the datagrams of each train that datagrams of these sizes make."""
    return [[len(datagram) for datagram in train.datagrams] for train in couple("there", [bytes(n) for n in sizes])]


class CoupleTests(SynchronousTestCase):
    """Datagrams become trains."""

    def test_none(self) -> None:
        """No datagrams make no train."""
        self.assertEqual(couple("there", []), [])

    def test_equal(self) -> None:
        """Equal datagrams share a train, with the address they are for."""
        self.assertEqual(couple("there", [b"ab", b"cd", b"ef"]), [Train("there", [b"ab", b"cd", b"ef"])])

    def test_codepoint(self) -> None:
        """All trains bear the codepoint that was asked for; none unless told."""
        for trains, codepoint in ((couple("there", [b"a", b"bc"]), 0), (couple("there", [b"a", b"bc"], 2), 2)):
            self.assertEqual([train.ecn for train in trains], [codepoint] * 2)

    def test_last_shorter(self) -> None:
        """The last of a train may be shorter; behind it a new one begins, even with an equal one."""
        self.assertEqual(lengths(9, 9, 5), [[9, 9, 5]])
        self.assertEqual(lengths(9, 5, 5), [[9, 5], [5]])
        self.assertEqual(lengths(9, 5, 9), [[9, 5], [9]])
        self.assertEqual(lengths(9, 5, 4), [[9, 5], [4]])

    def test_longer(self) -> None:
        """A longer one begins a new train."""
        self.assertEqual(lengths(5, 9, 9), [[5], [9, 9]])

    def test_most_datagrams(self) -> None:
        """A train has at most 64 datagrams."""
        self.assertEqual([len(train) for train in lengths(*[100] * 130)], [64, 64, 2])

    def test_most_bytes(self) -> None:
        """A train has at most 65,000 bytes; a datagram that alone has more travels alone."""
        self.assertEqual([len(train) for train in lengths(*[1_400] * 60)], [46, 14])
        self.assertEqual(lengths(65_507, 65_507, 100), [[65_507], [65_507], [100]])
        self.assertEqual(lengths(32_500, 32_500, 1), [[32_500, 32_500], [1]])

    @settings(deadline=None)
    @given(st.lists(st.sampled_from([1, 50, 600, 1_200, 9_000, 30_000, 40_000, 65_507]), max_size=200))
    def test_rules(self, sizes: list[int]) -> None:
        """Whatever is coupled, all leaves in order, and each train keeps all the rules."""
        trains = lengths(*sizes)
        self.assertEqual([size for train in trains for size in train], sizes)
        for train in trains:
            self.assertTrue(all(size == train[0] for size in train[:-1]))
            self.assertLessEqual(train[-1], train[0])
            self.assertLessEqual(len(train), MAX_DATAGRAMS)
            self.assertTrue(len(train) == 1 or sum(train) <= MAX_BYTES)
