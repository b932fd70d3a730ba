"""
Keys: from one secret to everything that is sealed with it. Layout: C{docs/protocol/security.rst}.

All derivation is HKDF with SHA-256 (RFC 5869), whatever the cipher: the secrets have 32 bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

from hypermail.options import Mode, Role
from hypermail.security.seal import ENDLESS, PlainSeal, Seal

#: Bytes of every secret that keys are derived from.
SECRET = 32

#: Bytes of an IV, and of a nonce.
IV = 12

#: Bytes of what follows from an agreed secret, in this order: the starter's and the listener's secrets, session id,
#: reopen secret.
_KEYS = (SECRET, SECRET, 16, SECRET)

#: Salt of the keys of long datagrams, which everybody knows: they keep out what is altered or guessed, not who listens.
_LONG_SALT = b"hypermail/1 long datagrams"


@dataclass(frozen=True, slots=True)
class Cipher:
    """
    An AEAD, and how much it bears.

    @ivar name: as IANA's registry of AEAD algorithms has it, with hyphens, for people.
    @ivar make: from a key, an object with C{encrypt} and C{decrypt}.
    @ivar key: bytes of a key.
    @ivar sealings: datagrams that may be sealed under one key (RFC 9001 §6.6, which has no limit for ChaCha20).
    @ivar forgeries: datagrams that may fail to open under one key, over all (there, too).
    """

    name: str
    make: Callable[[bytes], Any]
    key: int
    sealings: int
    forgeries: int


AES_128_GCM = Cipher("AES-128-GCM", AESGCM, 16, 1 << 23, 1 << 52)
AES_256_GCM = Cipher("AES-256-GCM", AESGCM, 32, 1 << 23, 1 << 52)
CHACHA20_POLY1305 = Cipher("ChaCha20-Poly1305", ChaCha20Poly1305, 32, ENDLESS, 1 << 36)


class Keys(NamedTuple):
    """
    What a handshake gives.

    @ivar sending: seals our short datagrams.
    @ivar receiving: opens the peer's.
    @ivar session_id: 16 bytes that name the session, equal on both sides.
    @ivar reopen_secret: 32 bytes that prove a later claim to the session; empty when it can't be claimed.
    """

    sending: Seal
    receiving: Seal
    session_id: bytes
    reopen_secret: bytes


def expand(secret: bytes, label: bytes, length: int = SECRET) -> bytes:
    """HKDF-Expand with SHA-256; the info is C{"hypermail/1 "} and the label."""
    return HKDFExpand(SHA256(), length, b"hypermail/1 " + label).derive(secret)


class AeadSeal:
    """
    Seals with an AEAD: the header is authenticated, the nonce is the IV xor the packet number.

    @param material: key and IV, one behind the other.
    @param secret: where L{next} comes from; empty where there is no next.
    """

    __slots__ = ("_aead", "_cipher", "_iv", "_secret")

    rests = True
    overhead = 16

    def __init__(self, cipher: Cipher, material: bytes, secret: bytes = b"") -> None:
        self._cipher = cipher
        self._secret = secret
        self._aead: Any = cipher.make(material[: cipher.key])
        self._iv = int.from_bytes(material[cipher.key :], "big")

    @property
    def cipher(self) -> str:
        """See L{Seal}."""
        return self._cipher.name

    @property
    def sealings(self) -> int:
        """See L{Seal}."""
        return self._cipher.sealings

    @property
    def forgeries(self) -> int:
        """See L{Seal}."""
        return self._cipher.forgeries

    @classmethod
    def derive(cls, cipher: Cipher, secret: bytes) -> AeadSeal:
        """A seal that can be followed by others. @param secret: 32 bytes."""
        return cls(cipher, expand(secret, b"seal", cipher.key + IV), secret)

    def seal(self, header: bytes, parts: list[bytes], number: int) -> bytes:
        """See L{Seal.seal}."""
        aead = self._aead or self._wake()
        content = parts[0] if len(parts) == 1 else b"".join(parts)
        sealed: bytes = aead.encrypt((self._iv ^ number).to_bytes(IV, "big"), content, header)
        return header + sealed

    def open(self, datagram: memoryview, length: int, number: int) -> memoryview | None:
        """See L{Seal.open}."""
        aead = self._aead or self._wake()
        nonce = (self._iv ^ number).to_bytes(IV, "big")
        try:
            return memoryview(aead.decrypt(nonce, datagram[length:], datagram[:length]))
        except InvalidTag:
            return None

    def next(self) -> AeadSeal:
        """See L{Seal.next}: the secret is ratcheted, so that the next one tells nothing of this one."""
        return self.derive(self._cipher, expand(self._secret, b"update"))

    def rest(self) -> None:
        """See L{Seal.rest}: an AEAD object holds 2.5 KiB, and costs 5 µs to make again."""
        if self._secret:
            self._aead = None

    def _wake(self) -> Any:
        cipher = self._cipher
        self._aead = cipher.make(expand(self._secret, b"seal", cipher.key + IV)[: cipher.key])
        return self._aead


def derive_keys(role: Role, cipher: Cipher, secret: bytes) -> Keys:
    """Everything that one side of a session needs, from the 32 bytes that a handshake has agreed on."""
    starter, listener, session_id, reopen = _split(expand(secret, b"keys", sum(_KEYS)), _KEYS)
    if role is Role.LISTENER:
        starter, listener = listener, starter
    return Keys(AeadSeal.derive(cipher, starter), AeadSeal.derive(cipher, listener), session_id, reopen)


@lru_cache(maxsize=32)  # a listener needs them twice: before it keeps anything of a stranger, and then for keeps
def long_seals(mode: int, role: Role, first_tag: int) -> tuple[Seal, Seal]:
    """
    Seals (sending, receiving) for long datagrams (RFC 9001 §5.2): what was altered on its way, or sent by somebody who
    has not seen the starter's first tag, does not open.
    """
    if mode == Mode.PLAIN:
        return PlainSeal(), PlainSeal()
    most = 2 * (AES_128_GCM.key + IV)
    info = b"hypermail/1 " + bytes((mode,))
    material = HKDF(SHA256(), most, _LONG_SALT, info).derive(first_tag.to_bytes(8, "big"))
    starter, listener = AeadSeal(AES_128_GCM, material[: most >> 1]), AeadSeal(AES_128_GCM, material[most >> 1 :])
    return (starter, listener) if role is Role.STARTER else (listener, starter)


def _split(material: bytes, lengths: tuple[int, ...]) -> list[bytes]:
    pieces, start = [], 0
    for length in lengths:
        pieces.append(material[start : start + length])
        start += length
    return pieces
