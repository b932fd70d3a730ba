"""
Tests for L{hypermail.link.path}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from hypermail.link.path import Path, same_host


class PathTests(SynchronousTestCase):
    """An address and what may be sent there."""

    def test_amplification(self) -> None:
        """An address that isn't validated gets thrice what came from it, less what it got (RFC 9000 §8.1)."""
        path = Path("there", 1_200, validated=False)
        self.assertEqual(path.credit, 0)
        path.received(1_200)
        path.received(100)
        self.assertEqual(path.credit, 3_900)
        path.sent(2_400)
        self.assertEqual(path.credit, 1_500)
        path.sent(1_600)
        self.assertLess(path.credit, 0)

    def test_validated(self) -> None:
        """A validated one gets anything, whatever was counted before."""
        path = Path("there", 1_200, validated=False)
        path.sent(1_000_000)
        path.validated = True
        self.assertGreater(path.credit, 1 << 60)

    def test_move(self) -> None:
        """A move is made once the new address is proved."""
        path = Path("there", 9_000, validated=False)
        path.move("elsewhere", 1_200)
        self.assertEqual((path.address, path.mtu, path.validated), ("elsewhere", 1_200, True))

    def test_sameHost(self) -> None:
        """Addresses of one host differ in their ports at most; what is no pair is a host of its own."""
        self.assertTrue(same_host(("10.0.0.1", 1), ("10.0.0.1", 2)))
        self.assertFalse(same_host(("10.0.0.1", 1), ("10.0.0.2", 1)))
        self.assertTrue(same_host("there", "there"))
        self.assertFalse(same_host("there", "the other"))

    def test_starter(self) -> None:
        """An address that was chosen by our own application needs no proof."""
        self.assertGreater(Path("there", 1_200, validated=True).credit, 1 << 60)
