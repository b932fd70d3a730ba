"""
Tests for L{hypermail.security.keys}. What they expect is computed from the formulas of RFC 5869, by hand.
"""

from __future__ import annotations

import hmac
from hashlib import sha256

from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hypermail.options import Mode, Role
from hypermail.security.keys import (
    AES_128_GCM,
    AES_256_GCM,
    CHACHA20_POLY1305,
    AeadSeal,
    Cipher,
    Keys,
    derive_keys,
    expand,
    long_seals,
)
from hypermail.security.seal import ENDLESS, PlainSeal, Seal
from hypermail.wire import header

SECRET = bytes(range(32))
CIPHERS = (AES_128_GCM, AES_256_GCM, CHACHA20_POLY1305)


def hkdf_expand(secret: bytes, label: bytes, length: int = 32) -> bytes:
    """RFC 5869 §2.3."""
    block = material = b""
    for number in range(1, 1 + -(-length // 32)):
        block = hmac.digest(secret, block + b"hypermail/1 " + label + bytes((number,)), sha256)
        material += block
    return material[:length]


def hkdf_extract(salt: bytes, secret: bytes) -> bytes:
    """RFC 5869 §2.2."""
    return hmac.digest(salt, secret, sha256)


def sealed(make: type, length: int, material: bytes, head: bytes, content: bytes, number: int) -> bytes:
    """A datagram by the formula: the first bytes are the key, the last 12 the IV (RFC 9001 §5.3)."""
    nonce = int.from_bytes(material[length:], "big") ^ number
    assert len(material) == length + 12
    ciphertext: bytes = make(material[:length]).encrypt(nonce.to_bytes(12, "big"), content, head)
    return head + ciphertext


def keys_of(cipher: Cipher = AES_128_GCM, secret: bytes = SECRET) -> tuple[Keys, Keys]:
    """The starter's keys, and the listener's."""
    return derive_keys(Role.STARTER, cipher, secret), derive_keys(Role.LISTENER, cipher, secret)


def opened(seal: Seal, datagram: bytes, length: int, number: int) -> bytes | None:
    """What a seal finds in a datagram."""
    content = seal.open(memoryview(datagram), length, number)
    return None if content is None else bytes(content)


class ExpandTests(SynchronousTestCase):
    """HKDF-Expand with our labels."""

    def test_formula(self) -> None:
        """It is RFC 5869's, with a prefix to every label that no other protocol has."""
        for length in (1, 12, 16, 32, 33, 64, 176):
            self.assertEqual(expand(SECRET, b"a label", length), hkdf_expand(SECRET, b"a label", length))


class DeriveTests(SynchronousTestCase):
    """Everything from one secret."""

    def test_vectors(self) -> None:
        """A datagram is what the AEAD makes of it under key and IV by the formula, for each cipher and direction."""
        material = hkdf_expand(SECRET, b"keys", 112)
        number = (5 << 32) + 7
        for cipher, make, length in (
            (AES_128_GCM, AESGCM, 16),
            (AES_256_GCM, AESGCM, 32),
            (CHACHA20_POLY1305, ChaCha20Poly1305, 32),
        ):
            for keys, secret in zip(keys_of(cipher), (material[:32], material[32:64])):
                expected = sealed(make, length, hkdf_expand(secret, b"seal", length + 12), b"head", b"content", number)
                self.assertEqual(keys.sending.seal(b"head", [b"con", b"tent"], number), expected)

    def test_others(self) -> None:
        """Session id and reopen secret come from it, too, and are the same on both sides."""
        starter, listener = keys_of()
        material = hkdf_expand(SECRET, b"keys", 112)
        self.assertEqual((starter.session_id, starter.reopen_secret), (material[64:80], material[80:112]))
        self.assertEqual(starter[2:4], listener[2:4])

    def test_directions(self) -> None:
        """Each side opens what the other seals, and not what it has sealed itself."""
        for cipher in CIPHERS:
            starter, listener = keys_of(cipher)
            for sender, receiver in ((starter, listener), (listener, starter)):
                datagram = sender.sending.seal(b"head", [b"content"], 3)
                self.assertEqual(len(datagram), 4 + 7 + sender.sending.overhead)
                self.assertEqual(opened(receiver.receiving, datagram, 4, 3), b"content")
                self.assertIsNone(opened(sender.receiving, datagram, 4, 3))

    def test_apart(self) -> None:
        """Another secret, or another cipher, opens nothing."""
        datagram = keys_of()[0].sending.seal(b"head", [b"content"], 3)
        for listener in (keys_of(AES_128_GCM, bytes(32))[1], keys_of(AES_256_GCM)[1], keys_of(CHACHA20_POLY1305)[1]):
            self.assertIsNone(opened(listener.receiving, datagram, 4, 3))


class AeadSealTests(SynchronousTestCase):
    """One key of one direction."""

    @settings(deadline=None)
    @given(
        st.sampled_from(CIPHERS),
        st.binary(max_size=60),
        st.lists(st.binary(max_size=60), max_size=6),
        st.integers(0, (1 << 62) - 1),
    )
    def test_roundTrip(self, cipher: Cipher, head: bytes, parts: list[bytes], number: int) -> None:
        """The content comes back under its number, and only under it."""
        seal = AeadSeal.derive(cipher, SECRET)
        datagram = seal.seal(head, parts, number)
        self.assertEqual(opened(seal, datagram, len(head), number), b"".join(parts))
        self.assertIsNone(opened(seal, datagram, len(head), number ^ 1))
        self.assertIsNone(opened(seal, datagram, len(head), number + (1 << 32)))

    def test_everyBit(self) -> None:
        """With any one bit of header, content or tag changed nothing opens, under any cipher."""
        head = header.encode_short(0x0123456789ABCDEF, 7)
        for cipher in CIPHERS:
            seal = AeadSeal.derive(cipher, SECRET)
            datagram = seal.seal(head, [b"content"], 7)
            for bit in range(8 * len(datagram)):
                altered = bytearray(datagram)
                altered[bit >> 3] ^= 1 << (bit & 7)
                self.assertIsNone(opened(seal, bytes(altered), len(head), 7), bit)

    def test_truncated(self) -> None:
        """A datagram cut short, down to nothing, or made longer does not open, and raises nothing."""
        for cipher in CIPHERS:
            seal = AeadSeal.derive(cipher, SECRET)
            datagram = seal.seal(b"head", [b"content"], 7)
            for length in range(len(datagram)):
                self.assertIsNone(opened(seal, datagram[:length], 4, 7))
            self.assertIsNone(opened(seal, datagram + b"\0", 4, 7))

    def test_headerMoved(self) -> None:
        """Where the header ends is authenticated, too."""
        seal = AeadSeal.derive(AES_128_GCM, SECRET)
        datagram = seal.seal(b"head", [b"content"], 7)
        self.assertIsNone(opened(seal, datagram, 3, 7))
        self.assertIsNone(opened(seal, datagram, 5, 7))

    def test_next(self) -> None:
        """The next key is the same on both sides, comes from HKDF of the secret, and opens nothing of this one's."""
        seal = AeadSeal.derive(AES_256_GCM, SECRET)
        following = seal.next()
        updated = hkdf_expand(SECRET, b"update")
        self.assertEqual(following.seal(b"h", [b"c"], 9), AeadSeal.derive(AES_256_GCM, updated).seal(b"h", [b"c"], 9))
        self.assertEqual(seal.next().next().seal(b"h", [b"c"], 9), following.next().seal(b"h", [b"c"], 9))
        self.assertIsNone(opened(following, seal.seal(b"h", [b"c"], 9), 1, 9))
        self.assertIsNone(opened(seal, following.seal(b"h", [b"c"], 9), 1, 9))

    def test_limits(self) -> None:
        """AES-GCM bears 2^23 datagrams (RFC 9001 §6.6), and twice as many forgeries are never reached by accident."""
        for cipher, sealings, forgeries in (
            (AES_128_GCM, 1 << 23, 1 << 52),
            (AES_256_GCM, 1 << 23, 1 << 52),
            (CHACHA20_POLY1305, ENDLESS, 1 << 36),
        ):
            seal = AeadSeal.derive(cipher, SECRET)
            self.assertEqual((seal.sealings, seal.forgeries, seal.overhead), (sealings, forgeries, 16))
            following = seal.next()
            self.assertEqual((following.sealings, following.forgeries), (sealings, forgeries))


class LongSealsTests(SynchronousTestCase):
    """What everybody can know who has seen the first tag."""

    def test_vector(self) -> None:
        """Keys come from HKDF with a salt of ours, the mode as info, and the first tag as secret."""
        tag = 0x0102030405060708
        extracted = hkdf_extract(b"hypermail/1 long datagrams", tag.to_bytes(8, "big"))
        for mode in (Mode.TLS, Mode.SECRET):
            material = hkdf_expand(extracted, bytes((mode,)), 56)
            for role, theirs in ((Role.STARTER, material[:28]), (Role.LISTENER, material[28:])):
                sending, _ = long_seals(mode, role, tag)
                expected = sealed(AESGCM, 16, theirs, b"head", b"content", 9)
                self.assertEqual(sending.seal(b"head", [b"content"], 9), expected)

    def test_fit(self) -> None:
        """Both sides' fit; another tag's, another mode's, and the same side's don't."""
        datagram = long_seals(Mode.TLS, Role.STARTER, 5)[0].seal(b"h", [b"c"], 1)
        self.assertEqual(opened(long_seals(Mode.TLS, Role.LISTENER, 5)[1], datagram, 1, 1), b"c")
        for mode, role, tag in (
            (Mode.TLS, Role.LISTENER, 6),
            (Mode.SECRET, Role.LISTENER, 5),
            (Mode.TLS, Role.STARTER, 5),
        ):
            self.assertIsNone(opened(long_seals(mode, role, tag)[1], datagram, 1, 1))

    def test_plain(self) -> None:
        """Mode plain has its checksum."""
        for seal in long_seals(Mode.PLAIN, Role.STARTER, 5):
            self.assertIsInstance(seal, PlainSeal)

    def test_unknownMode(self) -> None:
        """A mode that isn't known yet has keys, too, so that what bears it can be told from what was altered."""
        self.assertIsInstance(long_seals(9, Role.STARTER, 5)[0], AeadSeal)
