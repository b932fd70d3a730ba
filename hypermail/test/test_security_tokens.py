"""
Tests for L{hypermail.security.tokens}.
"""

from __future__ import annotations

import hmac
from hashlib import sha256
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hypermail.security.tokens import (
    MOST_SPENT,
    RESET_TOKEN,
    RETRY_LIFETIME,
    ROTATION,
    ResetKey,
    RetryTokens,
    _bearer,
    same_token,
)


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


class RetryTokensTests(SynchronousTestCase):
    """Tokens that prove where a stranger is."""

    ADDRESS = ("192.0.2.1", 4_000)
    TAG = 0x1122334455667788

    def setUp(self) -> None:
        self.random = Random(1)
        self.tokens = self.new()
        self.now = 1_000.0

    def new(self, secret: bytes = b"s" * 32) -> RetryTokens:
        """The tokens of one worker."""
        return RetryTokens(secret, self.random.randbytes)

    def make(self) -> bytes:
        """A token."""
        return self.tokens.make(self.ADDRESS, self.TAG, self.now)

    def spend(self, token: bytes, address: object = ADDRESS, tag: int = TAG) -> bool:
        """Come back with a token."""
        return self.tokens.spend(token, address, tag, self.now)

    def test_good(self) -> None:
        """A token is good where it was made for, and small."""
        token = self.make()
        self.assertEqual(len(token), 37)
        self.assertTrue(self.spend(token))

    def test_once(self) -> None:
        """It is good once."""
        token = self.make()
        self.assertTrue(self.spend(token))
        self.assertFalse(self.spend(token))
        self.now += RETRY_LIFETIME
        self.assertFalse(self.spend(token))

    def test_another(self) -> None:
        """Another address, another port, or another first tag, spends nothing."""
        token = self.make()
        for address in (("192.0.2.2", 4_000), ("192.0.2.1", 4_001), ("192.0.2.14", 0), "192.0.2.1"):
            self.assertFalse(self.spend(token, address))
        self.assertFalse(self.spend(token, tag=self.TAG ^ 1))
        self.assertTrue(self.spend(token), "and the right one still may")

    def test_expired(self) -> None:
        """It is good for 30 s and not longer, and not before it was made."""
        for later, good in ((0.0, True), (29.99, True), (30.01, False), (-0.01, False), (1e6, False)):
            self.now = 1_000.0
            token = self.make()
            self.now += later
            self.assertEqual(self.spend(token), good, later)

    def test_rotation(self) -> None:
        """At every moment of two minutes a fresh token is good for its time, though the key changes meanwhile."""
        for start in range(0, 2 * ROTATION, 7):
            for later in (0.0, 15.0, 29.0):
                self.now = 600.0 + start
                token = self.make()
                self.now += later
                self.assertTrue(self.spend(token), (start, later))
        self.assertLessEqual(len(self.tokens._keys), 3)

    def test_keysDiffer(self) -> None:
        """The key of one period opens nothing of another, also where the byte that tells them apart is the same."""
        token = self.make()
        period = int(self.now) // ROTATION
        self.assertEqual(self.tokens._open(token, _bearer(self.ADDRESS, self.TAG), period), self.now)
        self.assertIsNone(self.tokens._open(token, _bearer(self.ADDRESS, self.TAG), period + 256))
        self.now += 256 * ROTATION
        self.assertEqual(self.make()[0], token[0])
        self.assertFalse(self.spend(token))

    def test_beginning(self) -> None:
        """A clock that has just begun is no trouble."""
        self.now = 0.0
        self.assertTrue(self.spend(self.make()))
        self.assertFalse(self.spend(b"\xff" + self.make()[1:]))

    def test_workers(self) -> None:
        """The workers of one listener take each other's tokens; another secret's are foreign."""
        token = self.make()
        self.assertFalse(self.new(b"t" * 32).spend(token, self.ADDRESS, self.TAG, self.now))
        self.assertTrue(self.new().spend(token, self.ADDRESS, self.TAG, self.now))

    def test_everyBit(self) -> None:
        """With any bit flipped, cut short at any byte, or made longer, it is none."""
        token = self.make()
        for bit in range(8 * len(token)):
            altered = bytearray(token)
            altered[bit >> 3] ^= 1 << (bit & 7)
            self.assertFalse(self.spend(bytes(altered)), bit)
        for length in range(len(token)):
            self.assertFalse(self.spend(token[:length]))
        self.assertFalse(self.spend(token + b"\0"))
        self.assertTrue(self.spend(token))

    @settings(deadline=None)
    @given(st.binary(max_size=600))
    def test_random(self, token: bytes) -> None:
        """Random bytes are none, and raise nothing."""
        self.assertFalse(self.spend(token))

    def test_unlike(self) -> None:
        """Two tokens of one stranger differ: each is spent alone."""
        one, other = self.make(), self.make()
        self.assertNotEqual(one, other)
        self.assertTrue(self.spend(one) and self.spend(other))

    def test_memory(self) -> None:
        """Of what was spent only so much is remembered, and only as long as it could be good again."""
        for _ in range(MOST_SPENT + 100):
            self.spend(self.make())
            self.assertLessEqual(len(self.tokens._spent), MOST_SPENT)
        self.now += RETRY_LIFETIME + 1
        self.spend(self.make())
        self.assertEqual(len(self.tokens._spent), 1)

    def test_refusedCostNothing(self) -> None:
        """What is no token is not remembered."""
        for number in range(100):
            self.spend(b"%d" % number * 30)
        self.assertEqual(len(self.tokens._spent), 0)
