"""
Tests for L{hypermail.security.tokens}.
"""

from __future__ import annotations

import hmac
from hashlib import sha256

from twisted.trial.unittest import SynchronousTestCase

from hypermail.security.tokens import RESET_TOKEN, ResetKey, same_token


class ResetKeyTests(SynchronousTestCase):
    """Tokens that prove who forgot a connection."""

    def test_token(self) -> None:
        """
        A token is the first 16 bytes of HMAC-SHA-256 of the tag, so that who kept the key can make it again. The key
        comes from secret and scope (RFC 5869 §2.3, one block).
        """
        key = hmac.digest(b"k" * 32, b"hypermail/1 reset here\x01", sha256)
        expected = hmac.digest(key, (5).to_bytes(8, "big"), sha256)[:16]
        self.assertEqual(ResetKey(b"k" * 32, b"here").token(5), expected)
        self.assertEqual(len(expected), RESET_TOKEN)

    def test_apart(self) -> None:
        """Another tag, another key, or another scope, gives another token."""
        tokens = {
            ResetKey(key, scope).token(tag)
            for key in (b"k" * 32, b"l" * 32)
            for scope in (b"", b"1", b"2")
            for tag in (0, 1, (1 << 64) - 1)
        }
        self.assertEqual(len(tokens), 18)


class SameTokenTests(SynchronousTestCase):
    """Comparing tokens."""

    def test_same(self) -> None:
        """Equal tokens are the same; those that differ in any bit, or in length, are not."""
        token = bytes(range(16))
        self.assertTrue(same_token(token, bytes(bytearray(token))))
        for bit in range(128):
            altered = (int.from_bytes(token, "big") ^ 1 << bit).to_bytes(16, "big")
            self.assertFalse(same_token(token, altered))
        self.assertFalse(same_token(token, token[:15]))
        self.assertFalse(same_token(token, b""))
