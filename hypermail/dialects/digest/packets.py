"""
The packets of dialect C{digest}: a header of 64 bytes, whose first 32 are a digest of all the rest, and a payload.

Bytes behind the payload are nobody's, and ignored.
"""

from __future__ import annotations

from enum import IntEnum
from hashlib import sha256
from hmac import compare_digest, digest
from struct import Struct
from typing import NamedTuple

from hypermail.errors import UsageError

#: digest, UUID of the sender, type, reserved, length of the payload, custom id, order count.
HEADER = Struct("!32s16sB3sHHQ")
#: What the digest covers begins here.
COVERED = 32
#: Bytes of a payload, at most: so seed 003 says. Empty ones are illegal.
MOST_PAYLOAD = 65_442
#: The largest order count, and the largest custom id.
LAST_ORDER = 2**64 - 1
LAST_CUSTOM = 2**16 - 1

_RESERVED = bytes(3)
_HEX = frozenset("0123456789abcdef")


class PacketType(IntEnum):
    """What a packet is, by its number on the wire."""

    HELLO = 0
    DISCONNECT = 1
    ACCEPT = 2
    REJECT = 3
    PING = 4
    PANG = 5
    PONG = 6
    BAD_ACK = 7
    ACK = 8
    DATA_ACK = 9
    DATA_NOACK = 10


_TYPES = {type.value: type for type in PacketType}

#: Whose payload is a timestamp, and whose is the digest of the packet that they answer.
STAMPED = frozenset(
    {
        PacketType.HELLO,
        PacketType.DISCONNECT,
        PacketType.ACCEPT,
        PacketType.REJECT,
        PacketType.PING,
        PacketType.PANG,
        PacketType.PONG,
    }
)
NAMING = frozenset({PacketType.ACK, PacketType.BAD_ACK})


class DigestPayload(bytes):
    """
    What the application sends or is given, with the id that the packet's header has for it.

    @ivar custom: from 0 to 65,535; 0 when the application has set none.
    """

    custom: int

    def __new__(cls, data: bytes = b"", custom: int = 0) -> DigestPayload:
        """@raise UsageError: for a custom id that the header cannot hold."""
        if not 0 <= custom <= LAST_CUSTOM:
            raise UsageError(f"a custom id is a number from 0 to {LAST_CUSTOM}, not {custom!r}")
        payload = super().__new__(cls, data)
        payload.custom = custom
        return payload

    def __repr__(self) -> str:
        return f"DigestPayload({bytes(self)!r}, custom={self.custom})"


class DigestPacket(NamedTuple):
    """
    One packet, as it has come; nothing is known yet of its digest.

    @ivar digest: 32 bytes.
    @ivar sender: 16 bytes; the UUID.
    @ivar custom: the custom id.
    @ivar order: the order count.
    @ivar covered: all that the digest is of.
    @ivar size: bytes of the whole datagram.
    """

    digest: bytes
    sender: bytes
    type: PacketType
    custom: int
    order: int
    payload: bytes
    covered: bytes
    size: int

    def verifies(self, secret: bytes | None) -> bool:
        """
        Whether the digest is right.

        @param secret: the sender's; None for the plain SHA-256.
        """
        return compare_digest(self.digest, digest_of(self.covered, secret))


def digest_of(covered: bytes, secret: bytes | None) -> bytes:
    """
    The digest of a packet.

    @param covered: the packet from byte 32 on.
    @param secret: the sender's, for HMAC-SHA-256; None for the plain SHA-256.
    """
    return sha256(covered).digest() if secret is None else digest(secret, covered, "sha256")


def build(type: PacketType, sender: bytes, order: int, payload: bytes, secret: bytes | None, custom: int = 0) -> bytes:
    """
    The bytes of a packet.

    @param sender: 16 bytes; the UUID.
    @param payload: 1 to 65,442 bytes.
    @param secret: the sender's; None for the plain SHA-256.
    @raise UsageError: for a payload that no packet can carry.
    """
    if not 1 <= len(payload) <= MOST_PAYLOAD:
        raise UsageError(f"a payload has from 1 to {MOST_PAYLOAD} bytes, not {len(payload)}")
    header = HEADER.pack(b"", sender, type, _RESERVED, len(payload), custom, order)
    covered = header[COVERED:] + payload
    return digest_of(covered, secret) + covered


def parse(datagram: bytes) -> DigestPacket | None:
    """
    The packet of a datagram.

    @return: None for what is none.
    """
    size = len(datagram)
    if size <= HEADER.size:
        return None
    digest, sender, number, reserved, length, custom, order = HEADER.unpack_from(datagram)
    type = _TYPES.get(number)
    end = HEADER.size + length
    if type is None or reserved != _RESERVED or not 1 <= length <= MOST_PAYLOAD or end > size:
        return None
    if type in NAMING and length != COVERED:
        return None
    payload = datagram[HEADER.size : end]
    return DigestPacket(digest, sender, type, custom, order, payload, datagram[COVERED:end], size)


def uuid_bytes(text: str) -> bytes:
    """
    The 16 bytes of a UUID.

    @param text: as people write it, with hyphens or without.
    @raise UsageError: when it is none.
    """
    digits = text.strip().lower()
    if len(digits) == 36 and all(digits[at] == "-" for at in (8, 13, 18, 23)):
        digits = digits.replace("-", "")
    if len(digits) != 32 or not _HEX.issuperset(digits):
        raise UsageError(f"a UUID has 32 hexadecimal digits, with hyphens or without; {text!r} is none")
    return bytes.fromhex(digits)


def uuid_text(uuid: bytes) -> str:
    """A UUID as people write it: lower case, with hyphens. @param uuid: 16 bytes."""
    digits = uuid.hex()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def random_uuid(random: bytes) -> bytes:
    """A UUID of version 4 (RFC 9562 §5.4). @param random: 16 bytes."""
    return random[:6] + bytes([random[6] & 0x0F | 0x40, random[7], random[8] & 0x3F | 0x80]) + random[9:]
