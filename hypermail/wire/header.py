"""
The five kinds of datagrams, and their headers. Layouts: C{docs/protocol/datagrams.rst}.

Every header is authenticated with what is sealed behind it, and has the receiver's tag behind its first
byte, whatever the version. A I{tag} (64 bits) is chosen by the side
that receives it and names a connection for the life of its link.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import NamedTuple
from zlib import crc32

from hypermail.wire.numbers import MASK

#: The wire version, "hypermail/1".
VERSION = 1
#: What a long datagram that asks for something new must have at least, so that answers don't amplify.
LEAST_HELLO = 1_200


class Kind(IntEnum):
    """The first byte of a datagram; a long one adds its mode, a short one its key phase."""

    SHORT = 0x40
    LONG = 0xC0
    RETRY = 0xD0
    RESET = 0xD1
    VERSION = 0xD2


SHORT = Struct(">BQI")
LONG = Struct(">BQQIIH")
RETRY = Struct(">BQQIH")
RESET = Struct(">BQ16s")
VERSIONS = Struct(">BQQBB")

#: Bytes of the checksum of a retry or version datagram, which no key can seal that is agreed on.
CHECKSUM = 4
#: Bytes of a token in a long or retry datagram, at most.
MAX_TOKEN = 512


class Long(NamedTuple):
    """
    The header of a long datagram: used until session keys exist.

    @ivar mode: a L{hypermail.options.Mode}, or a number that we don't know.
    @ivar version: the wire version.
    @ivar destination: the receiver's tag; at first a random one of the starter's.
    @ivar source: the sender's tag.
    @ivar low: the low 32 bits of the packet number.
    @ivar token: proves the sender's address, or is empty.
    @ivar length: bytes of the header.
    """

    mode: int
    version: int
    destination: int
    source: int
    low: int
    token: bytes
    length: int


class Retry(NamedTuple):
    """
    Come again with this token (stateless).

    @ivar destination: the starter's tag.
    @ivar source: the starter's first tag.
    """

    destination: int
    source: int
    token: bytes


class Reset(NamedTuple):
    """This tag is unknown here. @ivar tag: as it was sent. @ivar token: proves that its owner says so."""

    tag: int
    token: bytes


class Versions(NamedTuple):
    """What a listener speaks. @ivar destination: the starter's tag. @ivar source: the starter's first tag."""

    destination: int
    source: int
    versions: tuple[int, ...]
    modes: tuple[int, ...]


def encode_short(tag: int, number: int, phase: int = 0) -> bytes:
    """The header of a short datagram."""
    return SHORT.pack(Kind.SHORT | phase, tag, number & MASK)


def encode_long(header: Long) -> bytes:
    """The header of a long datagram."""
    return (
        LONG.pack(
            Kind.LONG | header.mode, header.destination, header.source, header.version, header.low, len(header.token)
        )
        + header.token
    )


def decode_long(datagram: memoryview) -> Long | None:
    """The header of a long datagram, or None when it is cut short."""
    if len(datagram) < LONG.size:
        return None
    kind, destination, source, version, low, size = LONG.unpack_from(datagram)
    end = LONG.size + size
    if size > MAX_TOKEN or len(datagram) < end:
        return None
    return Long(kind & 0x0F, version, destination, source, low, bytes(datagram[LONG.size : end]), end)


def encode_retry(retry: Retry) -> bytes:
    """A retry datagram, with a CRC-32 of it at its end."""
    head = RETRY.pack(Kind.RETRY, retry.destination, retry.source, VERSION, len(retry.token))
    return _check(head + retry.token)


def decode_retry(datagram: memoryview) -> Retry | None:
    """A retry datagram, or None when it is malformed or was altered."""
    end = _checked(datagram)
    if end < RETRY.size:
        return None
    _, destination, source, version, size = RETRY.unpack_from(datagram)
    if version != VERSION or not 0 < size <= MAX_TOKEN or end != RETRY.size + size:
        return None
    return Retry(destination, source, bytes(datagram[RETRY.size : end]))


def encode_reset(reset: Reset) -> bytes:
    """A reset datagram."""
    return RESET.pack(Kind.RESET, reset.tag, reset.token)


def decode_reset(datagram: memoryview) -> Reset | None:
    """A reset datagram, or None when it is malformed."""
    if len(datagram) != RESET.size:
        return None
    _, tag, token = RESET.unpack(datagram)
    return Reset(tag, token)


def encode_versions(versions: Versions) -> bytes:
    """A version datagram, with a CRC-32 of it at its end."""
    head = VERSIONS.pack(
        Kind.VERSION, versions.destination, versions.source, len(versions.versions), len(versions.modes)
    )
    return _check(head + b"".join(v.to_bytes(4, "big") for v in versions.versions) + bytes(versions.modes))


def decode_versions(datagram: memoryview) -> Versions | None:
    """A version datagram, or None when it is malformed or was altered."""
    end = _checked(datagram)
    if end < VERSIONS.size:
        return None
    _, destination, source, count, modes = VERSIONS.unpack_from(datagram)
    middle = VERSIONS.size + 4 * count
    if end != middle + modes:
        return None
    spoken = tuple(int.from_bytes(datagram[at : at + 4], "big") for at in range(VERSIONS.size, middle, 4))
    return Versions(destination, source, spoken, tuple(datagram[middle:end]))


def _check(datagram: bytes) -> bytes:
    return datagram + crc32(datagram).to_bytes(CHECKSUM, "big")


def _checked(datagram: memoryview) -> int:
    """Where the checksum of a datagram begins, or -1 when it is wrong."""
    end = len(datagram) - CHECKSUM
    return end if end >= 0 and crc32(datagram[:end]) == int.from_bytes(datagram[end:], "big") else -1
