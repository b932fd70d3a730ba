"""
Keys: from one secret to everything that is sealed with it. Layout: C{docs/protocol/security.rst}.

All derivation is HKDF with SHA-256 (RFC 5869), whatever the cipher: the secrets have 32 bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import NamedTuple

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

from hypermail.options import Mode, Role
from hypermail.security.box import IV, Box
from hypermail.security.seal import ENDLESS, PlainSeal, Seal, Unsealed

#: Bytes of every secret that keys are derived from.
SECRET = 32

#: Datagrams for which a box of their own is made, after a rest; then one is kept.
SELDOM = 4

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
    @ivar make: from a key and an IV, what seals and opens.
    @ivar key: bytes of a key.
    @ivar sealings: datagrams that may be sealed under one key (RFC 9001 §6.6, which has no limit for ChaCha20).
    @ivar forgeries: datagrams that may fail to open under one key, over all (there, too).
    """

    name: str
    make: Callable[[bytes, bytes], Box]
    key: int
    sealings: int
    forgeries: int


def _cipher(name: str, key: int, sealings: int, forgeries: int) -> Cipher:
    return Cipher(name, partial(Box, name), key, sealings, forgeries)


AES_128_GCM = _cipher("AES-128-GCM", 16, 1 << 23, 1 << 52)
AES_256_GCM = _cipher("AES-256-GCM", 32, 1 << 23, 1 << 52)
CHACHA20_POLY1305 = _cipher("ChaCha20-Poly1305", 32, ENDLESS, 1 << 36)


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
    Seals with an AEAD; whatever is done with that is done by a L{Box}.

    A box takes 1 µs to make, and some KiB. So it is kept, until L{rest}, by who needs it again and again only; who
    says a word now and then, as a heartbeat does, makes one for each.

    @param material: key and IV, one behind the other.
    @param secret: where L{next} comes from; empty where there is no next.
    """

    __slots__ = ("_box", "_cipher", "_made", "_material", "awake")

    overhead = 16

    def __init__(self, cipher: Cipher, material: bytes, secret: bytes = b"") -> None:
        self._cipher = cipher
        self._material = material + secret  # in one object, of which idle sessions have many
        self._box: Box | None = None
        self._made = 0  # boxes since it has rested
        self.awake = False

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

    def seal(self, header: bytes, parts: Sequence[bytes], number: int) -> bytes:
        """See L{Seal.seal}."""
        return (self._box or self._wake()).seal(header, parts, number)

    def seal_train(self, prefix: bytes, number: int, contents: Sequence[Sequence[bytes]]) -> list[bytes]:
        """See L{Seal.seal_train}."""
        return (self._box or self._wake(len(contents))).seal_train(prefix, number, contents)

    def open(self, datagram: memoryview, length: int, number: int) -> bytes | None:
        """See L{Seal.open}."""
        return (self._box or self._wake()).open(datagram, length, number)

    def open_train(self, prefix: bytes, datagrams: Sequence[memoryview], expected: int) -> list[Unsealed]:
        """See L{Seal.open_train}."""
        return (self._box or self._wake(len(datagrams))).open_train(prefix, datagrams, expected)

    def next(self) -> AeadSeal:
        """See L{Seal.next}: the secret is ratcheted, so that the next one tells nothing of this one."""
        return self.derive(self._cipher, expand(self._material[self._cipher.key + IV :], b"update"))

    def rest(self) -> None:
        """See L{Seal.rest}."""
        self._box = None
        self._made = 0
        self.awake = False

    def _wake(self, datagrams: int = 1) -> Box:
        """A box for so many datagrams."""
        key = self._cipher.key
        box = self._cipher.make(self._material[:key], self._material[key : key + IV])
        self._made += datagrams
        if self._made > SELDOM:
            self._box = box
            self.awake = True
        return box


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
