"""
The packets of the foreign peers of the C{digest} dialect, and the timestamps in them; see
L{hypermail.test.foreign_digest}.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import struct
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from hypermail.test.foreign_link import ForeignCrash

HELLO, DISCONNECT, ACCEPT, REJECT, PING, PANG, PONG, BAD_ACK, ACK, DATA_ACK, DATA_NOACK = range(11)

STAMPED = frozenset((HELLO, DISCONNECT, ACCEPT, REJECT, PING, PANG, PONG))
"""The types whose payload is a timestamp."""

ANSWERS = frozenset((ACK, BAD_ACK))
"""The types whose payload is the digest of a packet."""

DIGEST_SIZE = 32
HEAD = struct.Struct(">16sB3xHHQ")
HEAD_SIZE = DIGEST_SIZE + HEAD.size
LARGEST_PAYLOAD = 65_442

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
BILLION = 1_000_000_000

STAMP = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{3}|\d{6}|\d{9}))?)?"
    r"(Z|[+-]\d\d:\d\d(?::\d\d)?)(?:\[[A-Za-z0-9_+:/-]+\])?"
)
"""A time as Java's ZonedDateTime prints it."""


class ForeignDigestPacket(NamedTuple):
    """
    A packet.

    @ivar digest: Its digest, as it came.
    @ivar uuid: Whose it is, 16 bytes.
    @ivar kind: Its type.
    @ivar custom: Its custom id.
    @ivar order: Its order count.
    @ivar payload: What it carries.
    @ivar rest: All of it behind the digest.
    """

    digest: bytes
    uuid: bytes
    kind: int
    custom: int
    order: int
    payload: bytes
    rest: bytes

    def is_by(self, secret: bytes | None) -> bool:
        """Whether whoever has this secret has sent it, and just so."""
        return hmac.compare_digest(self.digest, digest_of(secret, self.rest))


def digest_of(secret: bytes | None, rest: bytes) -> bytes:
    """The digest that is in front of a packet; without a secret, it is the plain one."""
    if secret is None:
        return hashlib.sha256(rest).digest()
    return hmac.new(secret, rest, hashlib.sha256).digest()


def seal(secret: bytes | None, uuid: bytes, kind: int, order: int, payload: bytes, custom: int = 0) -> bytes:
    """Write a packet."""
    if not 1 <= len(payload) <= LARGEST_PAYLOAD:
        raise ValueError(f"a payload of {len(payload)} bytes")
    rest = HEAD.pack(uuid, kind, len(payload), custom, order) + payload
    return digest_of(secret, rest) + rest


def unseal(data: bytes) -> ForeignDigestPacket:
    """
    Read a packet, whatever its digest; bytes behind the payload are ignored.

    @raise ForeignCrash: When it is too short, or without a payload.
    """
    if len(data) < HEAD_SIZE:
        raise ForeignCrash(f"a datagram of {len(data)} bytes")
    uuid, kind, size, custom, order = HEAD.unpack_from(data, DIGEST_SIZE)
    end = HEAD_SIZE + size
    if not size or len(data) < end:
        raise ForeignCrash(f"a payload of {size} bytes in a datagram of {len(data)}")
    return ForeignDigestPacket(
        data[:DIGEST_SIZE], uuid, kind, custom, order, data[HEAD_SIZE:end], data[DIGEST_SIZE:end]
    )


class ForeignZone(NamedTuple):
    """
    A time zone.

    @ivar name: Its name, or L{None} for one that has only an offset.
    @ivar offset: How many seconds its clocks are before UTC.
    """

    name: str | None = "Etc/UTC"
    offset: int = 0

    def stamp(self, nanoseconds: int) -> bytes:
        """
        Write a time as Java's ZonedDateTime does: without seconds when they are zero, and with as many digits behind
        them as are needed, by threes.

        @param nanoseconds: The time since 1970 in UTC.
        """
        seconds, fraction = divmod(nanoseconds, BILLION)
        when = EPOCH + timedelta(seconds=seconds + self.offset)
        text = when.strftime("%Y-%m-%dT%H:%M")
        if when.second or fraction:
            text += f":{when.second:02}"
        if fraction:
            digits = f"{fraction:09}"
            while digits.endswith("000"):
                digits = digits[:-3]
            text += "." + digits
        text += self._offset()
        return (text if self.name is None else f"{text}[{self.name}]").encode("ascii")

    def _offset(self) -> str:
        if not self.offset:
            return "Z"
        minutes = abs(self.offset) // 60
        return f"{'-' if self.offset < 0 else '+'}{minutes // 60:02}:{minutes % 60:02}"


ETC_UTC = ForeignZone()


def when_of(stamp: bytes) -> int:
    """
    Read a time as Java's ZonedDateTime does, in nanoseconds since 1970 in UTC.

    @raise ForeignCrash: When it is not one.
    """
    match = STAMP.fullmatch(stamp.decode("ascii", "replace"))
    if match is None:
        raise ForeignCrash(f"not a time: {stamp!r}")
    *parts, fraction, offset = match.groups()
    try:
        when = datetime(*(int(part or 0) for part in parts), tzinfo=UTC)  # type: ignore[arg-type,misc]
    except ValueError as problem:
        raise ForeignCrash(f"not a time: {stamp!r}") from problem
    seconds = (when - EPOCH) // timedelta(seconds=1) - _seconds(offset)
    return seconds * BILLION + int((fraction or "").ljust(9, "0"))


def _seconds(offset: str) -> int:
    if offset == "Z":
        return 0
    hours, minutes, *seconds = (int(part) for part in offset[1:].split(":"))
    size = hours * 3_600 + minutes * 60 + sum(seconds)
    return -size if offset[0] == "-" else size
