"""
Mode C{secret}: two sides that share a secret, without certificates (the shared secret of seed 004).

X25519 gives forward secrecy; each side proves that it has the secret. Layout: C{docs/protocol/security.rst}.
Any holder of the secret can play any other.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from hmac import compare_digest, digest

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from hypermail.errors import HandshakeFailed, HandshakeRefused, UsageError
from hypermail.options import Mode, Role
from hypermail.security.keys import AES_256_GCM, SECRET, Keys, derive_keys, expand

#: Bytes of a shared secret, at least.
LEAST_SECRET = 32

_HELLO = 1
_ANSWER = 2
_PROOF = 3
_REFUSAL = 4

#: Bytes behind the first one of each message.
_LENGTHS = {_HELLO: 32, _ANSWER: 64, _PROOF: 32, _REFUSAL: 0}
#: Which messages each side may hear, in this order; a refusal at any time.
_EXPECTED = {Role.STARTER: (_ANSWER,), Role.LISTENER: (_HELLO, _PROOF)}


def check_secret(secret: bytes) -> bytes:
    """@raise UsageError: when a secret is too short to keep anybody out."""
    if len(secret) < LEAST_SECRET:
        raise UsageError(f"a shared secret has at least {LEAST_SECRET} bytes, not {len(secret)}")
    return secret


class SecretHandshake:
    """
    One side of mode C{secret}.

    @param secret: at least 32 bytes, the same on both sides.
    @param random_bytes: gives so many unpredictable bytes.
    """

    mode = Mode.SECRET
    peer_certificate = None

    def __init__(self, role: Role, secret: bytes, random_bytes: Callable[[int], bytes]) -> None:
        self._role = role
        self._secret = secret
        self._private: X25519PrivateKey | None = X25519PrivateKey.from_private_bytes(random_bytes(32))
        self._public = self._private.public_key().public_bytes_raw()
        self._incoming = bytearray()
        self._outgoing = bytearray()
        self._heard = 0
        self._shared = b""
        self._hellos = b""
        self._agreed = b""
        self._transcript = b""
        self._their_proof = b""
        self._refused = False
        self.begun = role is Role.STARTER
        self.complete = False
        if role is Role.STARTER:
            self._outgoing += bytes((_HELLO,)) + self._public

    def receive(self, data: bytes) -> None:
        """See L{Handshake.receive}."""
        if self._private is None:
            return
        self._incoming += data
        while self._incoming:
            kind = self._incoming[0]
            expected = _EXPECTED[self._role][self._heard : self._heard + 1]
            if kind != _REFUSAL and kind not in expected:
                raise HandshakeFailed("the peer has sent something that is no handshake of mode secret")
            end = 1 + _LENGTHS[kind]
            if len(self._incoming) < end:
                return
            message = bytes(self._incoming[1:end])
            del self._incoming[:end]
            self._heard += 1
            self._take(kind, message)

    def _take(self, kind: int, message: bytes) -> None:
        if kind == _REFUSAL:
            raise HandshakeRefused("the peer refuses: it has another shared secret")
        if kind == _PROOF:
            self._check(message)
            return
        self._exchange(message[:32])
        self._their_proof = message[32:]
        self.begun = True

    def _exchange(self, public: bytes) -> None:
        assert self._private is not None
        try:
            self._shared = self._private.exchange(X25519PublicKey.from_public_bytes(public))
        except ValueError:  # an all-zero result: a point of small order (RFC 7748 §6.1)
            raise HandshakeFailed("the peer has sent a key that gives no secret") from None
        self._hellos = self._public + public if self._role is Role.STARTER else public + self._public

    def keys(self, binding: bytes) -> Keys | None:
        """See L{Handshake.keys}. On a starter it is here that the listener's proof is checked."""
        if not self._shared or self._refused:
            return None
        self._transcript = sha256(binding + self._hellos).digest()
        kdf = HKDF(SHA256(), SECRET, self._secret, b"hypermail/1 secret" + self._transcript)
        self._agreed = kdf.derive(self._shared)
        self._shared = b""
        if self._role is Role.LISTENER:
            self._outgoing += bytes((_ANSWER,)) + self._public + self._proof(Role.LISTENER)
        else:
            self._check(self._their_proof)
            self._outgoing += bytes((_PROOF,)) + self._proof(Role.STARTER)
        return derive_keys(self._role, AES_256_GCM, self._agreed)

    def _proof(self, role: Role) -> bytes:
        return digest(expand(self._agreed, b"confirm"), bytes((role,)) + self._transcript, sha256)

    def _check(self, proof: bytes) -> None:
        if compare_digest(proof, self._proof(Role(1 - self._role))):
            self.complete = True
            return
        self._refused = True
        self._outgoing += bytes((_REFUSAL,))
        raise HandshakeFailed("the peer has another shared secret")

    def outgoing(self) -> bytes | None:
        """See L{Handshake.outgoing}."""
        said = bytes(self._outgoing)
        self._outgoing.clear()
        return said or None

    def close(self) -> None:
        """See L{Handshake.close}."""
        self._private = None
        self._secret = self._agreed = self._transcript = self._hellos = self._their_proof = b""
