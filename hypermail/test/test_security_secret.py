"""
Tests for L{hypermail.security.secret}.
"""

from __future__ import annotations

import hmac
from hashlib import sha256
from random import Random

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hypermail.errors import HandshakeFailed, HandshakeRefused, UsageError
from hypermail.options import Mode, Role
from hypermail.security.keys import AES_256_GCM, Keys, derive_keys
from hypermail.security.secret import LEAST_SECRET, SecretHandshake, check_secret

SHARED = b"a shared secret " * 2
BINDING = b"what both know"

_P = 2**255 - 19
#: All points of small order, also in forms that are not canonical (https://cr.yp.to/ecdh.html#validate); the highest of
#: the 256 bits is ignored.
SMALL_ORDER = (
    0,
    1,
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
    _P - 1,
    _P,
    _P + 1,
)


def side(role: Role, secret: bytes = SHARED, seed: int = 1) -> SecretHandshake:
    """One side."""
    return SecretHandshake(role, secret, Random(f"{role}{seed}").randbytes)


def flights(starter: SecretHandshake, listener: SecretHandshake) -> tuple[bytes, bytes, bytes, Keys, Keys]:
    """Let two sides agree. @return: the flights, and the keys."""
    hello = starter.outgoing() or b""
    listener.receive(hello)
    theirs = listener.keys(BINDING)
    answer = listener.outgoing() or b""
    starter.receive(answer)
    ours = starter.keys(BINDING)
    proof = starter.outgoing() or b""
    listener.receive(proof)
    assert ours is not None and theirs is not None
    return hello, answer, proof, ours, theirs


class AgreeingTests(SynchronousTestCase):
    """Sides that share a secret."""

    def test_agree(self) -> None:
        """Both come to the same keys in three flights, and each knows that the other has the secret."""
        starter, listener = side(Role.STARTER), side(Role.LISTENER)
        *_, ours, theirs = flights(starter, listener)
        self.assertEqual((starter.complete, listener.complete), (True, True))
        self.assertEqual(ours.session_id, theirs.session_id)
        for sending, receiving in ((ours.sending, theirs.receiving), (theirs.sending, ours.receiving)):
            self.assertEqual(receiving.open(memoryview(sending.seal(b"h", [b"content"], 1)), 1, 1), b"content")
        self.assertEqual((starter.outgoing(), listener.outgoing()), (None, None))
        self.assertIs(starter.mode, Mode.SECRET)
        self.assertIsNone(starter.peer_certificate)

    def test_formula(self) -> None:
        """Keys and proofs are those of RFC 5869 and RFC 7748 over secret, hellos and binding, byte for byte."""
        hello, answer, proof, ours, _ = flights(side(Role.STARTER), side(Role.LISTENER))
        private = X25519PrivateKey.from_private_bytes(Random(f"{Role.STARTER}1").randbytes(32))
        public = private.public_key().public_bytes_raw()
        self.assertEqual(hello, b"\x01" + public)
        self.assertEqual((answer[0], len(answer)), (2, 65))
        shared = private.exchange(X25519PublicKey.from_public_bytes(answer[1:33]))
        transcript = sha256(BINDING + public + answer[1:33]).digest()
        extracted = hmac.digest(SHARED, shared, sha256)
        agreed = hmac.digest(extracted, b"hypermail/1 secret" + transcript + b"\x01", sha256)
        confirm = hmac.digest(agreed, b"hypermail/1 confirm\x01", sha256)
        self.assertEqual(answer[33:], hmac.digest(confirm, b"\x01" + transcript, sha256))
        self.assertEqual(proof, b"\x03" + hmac.digest(confirm, b"\x00" + transcript, sha256))
        expected = derive_keys(Role.STARTER, AES_256_GCM, agreed)
        self.assertEqual(ours.session_id, expected.session_id)
        self.assertEqual(ours.sending.seal(b"h", [b"c"], 1), expected.sending.seal(b"h", [b"c"], 1))

    def test_listenersKeys(self) -> None:
        """The listener has keys before the starter has proved anything, and is not complete until it has."""
        starter, listener = side(Role.STARTER), side(Role.LISTENER)
        self.assertEqual((starter.begun, listener.begun), (True, False))
        self.assertIsNone(listener.keys(BINDING))
        self.assertIsNone(starter.keys(BINDING))
        self.assertIsNone(listener.outgoing())
        listener.receive(starter.outgoing() or b"")
        self.assertTrue(listener.begun)
        self.assertIsNotNone(listener.keys(BINDING))
        self.assertIsNone(listener.keys(BINDING), "they are given once")
        self.assertFalse(listener.complete)
        starter.receive(listener.outgoing() or b"")
        self.assertFalse(starter.complete, "the listener's proof is checked when it is known what is bound")
        starter.keys(BINDING)
        self.assertTrue(starter.complete)

    def test_everyCut(self) -> None:
        """It does not matter how the flights are cut."""
        hello, answer, proof, *_ = flights(side(Role.STARTER), side(Role.LISTENER))
        for at in range(1, len(answer)):
            starter, listener = side(Role.STARTER), side(Role.LISTENER)
            for piece in (hello[:at], hello[at:]):
                listener.receive(piece)
            listener.keys(BINDING)
            for piece in (answer[:at], answer[at:]):
                starter.receive(piece)
            starter.keys(BINDING)
            for piece in (proof[:at], proof[at:]):
                listener.receive(piece)
            self.assertEqual((starter.complete, listener.complete), (True, True), at)

    def test_forward(self) -> None:
        """Each handshake has keys of its own, so that who learns the secret later reads nothing."""
        ids = {flights(side(Role.STARTER, seed=seed), side(Role.LISTENER))[3].session_id for seed in range(3)}
        self.assertEqual(len(ids), 3)

    def test_close(self) -> None:
        """Once it has served it holds no secret, and ignores what it still hears."""
        starter, listener = side(Role.STARTER), side(Role.LISTENER)
        flights(starter, listener)
        for handshake in (starter, listener):
            handshake.close()
            handshake.receive(b"\xff" * 100)
            self.assertIsNone(handshake.keys(BINDING))
            held = [
                value for value in vars(handshake).values() if isinstance(value, (bytes, bytearray)) and len(value) > 8
            ]
            self.assertLessEqual(set(map(bytes, held)), {handshake._public})

    def test_shortSecret(self) -> None:
        """A secret that is too short to keep anybody out is refused."""
        self.assertRaises(UsageError, check_secret, bytes(LEAST_SECRET - 1))
        self.assertEqual(check_secret(bytes(LEAST_SECRET)), bytes(LEAST_SECRET))


class RefusingTests(SynchronousTestCase):
    """Sides that do not, and what each learns of it."""

    def test_anotherSecret(self) -> None:
        """The starter finds out at the listener's answer, gets no keys, and tells the listener."""
        starter, listener = side(Role.STARTER), side(Role.LISTENER, b"another secret " * 3)
        listener.receive(starter.outgoing() or b"")
        listener.keys(BINDING)
        starter.receive(listener.outgoing() or b"")
        error = self.assertRaises(HandshakeFailed, starter.keys, BINDING)
        self.assertIn("another shared secret", error.text)
        self.assertIsNone(starter.keys(BINDING))
        refusal = starter.outgoing() or b""
        error = self.assertRaises(HandshakeRefused, listener.receive, refusal)
        self.assertIn("another shared secret", error.text)
        self.assertEqual((starter.complete, listener.complete), (False, False))

    def test_wrongProof(self) -> None:
        """A starter that has not the secret can go on, and is found out at its proof: with any bit of it flipped."""
        for bit in range(1, 256, 5):
            starter, listener = side(Role.STARTER), side(Role.LISTENER)
            listener.receive(starter.outgoing() or b"")
            listener.keys(BINDING)
            starter.receive(listener.outgoing() or b"")
            starter.keys(BINDING)
            proof = bytearray(starter.outgoing() or b"")
            proof[1 + bit // 8] ^= 1 << bit % 8
            self.assertRaises(HandshakeFailed, listener.receive, bytes(proof))
            self.assertFalse(listener.complete)
            self.assertEqual(listener.outgoing(), b"\x04")

    def test_binding(self) -> None:
        """Who is bound to something else (another token, another mode, another tag) is refused like that."""
        starter, listener = side(Role.STARTER), side(Role.LISTENER)
        listener.receive(starter.outgoing() or b"")
        listener.keys(b"another token")
        starter.receive(listener.outgoing() or b"")
        self.assertRaises(HandshakeFailed, starter.keys, BINDING)

    def test_everyBit(self) -> None:
        """With any bit of any flight flipped one side is never content."""
        hello, answer, _, *_ = flights(side(Role.STARTER), side(Role.LISTENER))
        for which, flight in enumerate((hello, answer)):
            for bit in range(8 * len(flight)):
                altered = bytearray(flight)
                altered[bit // 8] ^= 1 << bit % 8
                starter, listener = side(Role.STARTER), side(Role.LISTENER)
                said = [starter.outgoing() or b"", answer]
                said[which] = bytes(altered)
                try:
                    listener.receive(said[0])
                    listener.keys(BINDING)
                    starter.receive(listener.outgoing() or b"" if which == 0 else said[1])
                    starter.keys(BINDING)
                except HandshakeFailed:
                    pass
                if starter.complete:
                    self.assertEqual((which, bit), (0, 8 * 32 + 7), "X25519 ignores the highest bit (RFC 7748 §5)")

    def test_highestBit(self) -> None:
        """The bit that X25519 ignores is in the transcript all the same."""
        starter, listener = side(Role.STARTER), side(Role.LISTENER)
        hello = bytearray(starter.outgoing() or b"")
        hello[32] ^= 0x80
        listener.receive(bytes(hello))
        listener.keys(BINDING)
        starter.receive(listener.outgoing() or b"")
        self.assertRaises(HandshakeFailed, starter.keys, BINDING)

    def test_smallOrder(self) -> None:
        """A point that gives everybody the same result is refused, on both sides: RFC 7748 §6.1."""
        for number in SMALL_ORDER:
            for high in (0, 1 << 255):
                point = (number | high).to_bytes(32, "little")
                listener = side(Role.LISTENER)
                error = self.assertRaises(HandshakeFailed, listener.receive, b"\x01" + point)
                self.assertIn("gives no secret", error.text)
                starter = side(Role.STARTER)
                self.assertRaises(HandshakeFailed, starter.receive, b"\x02" + point + bytes(32))
                self.assertEqual((listener.keys(BINDING), starter.keys(BINDING)), (None, None))

    def test_reflected(self) -> None:
        """Who sends a starter's own key and proofs back to it proves nothing."""
        starter = side(Role.STARTER)
        hello = starter.outgoing() or b""
        mirror = SecretHandshake(Role.LISTENER, b"another secret " * 3, Random(f"{Role.STARTER}1").randbytes)
        mirror.receive(hello)
        mirror.keys(BINDING)
        starter.receive(mirror.outgoing() or b"")
        self.assertRaises(HandshakeFailed, starter.keys, BINDING)
        twice, listener = side(Role.STARTER), side(Role.LISTENER)
        listener.receive(twice.outgoing() or b"")
        listener.keys(BINDING)
        answer = listener.outgoing() or b""
        self.assertRaises(HandshakeFailed, listener.receive, b"\x03" + answer[33:])

    def test_order(self) -> None:
        """What is said at another moment than its own, or is unknown, fails at its first byte."""
        hello, answer, proof, *_ = flights(side(Role.STARTER), side(Role.LISTENER))
        for handshake, heard in (
            (side(Role.LISTENER), answer),
            (side(Role.LISTENER), proof),
            (side(Role.STARTER), hello),
            (side(Role.STARTER), proof),
            (side(Role.LISTENER), b"\x00"),
            (side(Role.LISTENER), b"\xff"),
        ):
            self.assertRaises(HandshakeFailed, handshake.receive, heard[:1])
        listener = side(Role.LISTENER)
        listener.receive(hello)
        self.assertRaises(HandshakeFailed, listener.receive, hello)
        starter, listener = side(Role.STARTER), side(Role.LISTENER)
        flights(starter, listener)
        self.assertRaises(HandshakeFailed, starter.receive, answer)
        self.assertRaises(HandshakeFailed, listener.receive, proof)

    def test_refused(self) -> None:
        """A refusal ends it on either side, before there are keys or after."""
        self.assertRaises(HandshakeRefused, side(Role.STARTER).receive, b"\x04")
        listener = side(Role.LISTENER)
        listener.receive(side(Role.STARTER).outgoing() or b"")
        self.assertRaises(HandshakeRefused, listener.receive, b"\x04")

    @settings(deadline=None)
    @given(st.lists(st.binary(max_size=80), max_size=6), st.sampled_from(Role))
    def test_random(self, pieces: list[bytes], role: Role) -> None:
        """Whatever is heard, nothing else is raised, and nobody is content."""
        handshake = side(role)
        for piece in pieces:
            try:
                handshake.receive(piece)
                handshake.keys(BINDING)
            except HandshakeFailed:
                break
        self.assertFalse(handshake.complete)
