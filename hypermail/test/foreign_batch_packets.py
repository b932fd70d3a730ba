"""
The packets of the foreign peer of the C{batch} dialect, and the batches that it makes of them; see
L{hypermail.test.foreign_batch}.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import NamedTuple

from hypermail.test.foreign_link import ForeignCrash

CONNECT, CONNECT_ACK, CLOSE, DATA, DATA_ACK, REPEAT, DIRECT, PING, PING_ACK = 1, 2, 3, 5, 6, 7, 8, 9, 10
LAST, FIRST = 0x01, 0x02

VERSION = 1
RECEIVE_BUFFER = 8_196
DATA_PAYLOAD = 972
DIRECT_PAYLOAD = 971
FULL_PACKET = 983
PACKET_NUMBERS = 1 << 32
BATCH_NUMBERS = 1 << 8
MANGLING = 128
"""The packet number at which its order of packets breaks."""

FORMS = {
    CONNECT: struct.Struct(">BHIQQ"),
    CONNECT_ACK: struct.Struct(">BIIQ"),
    CLOSE: struct.Struct(">BI"),
    DATA: struct.Struct(">BIIBB"),
    DATA_ACK: struct.Struct(">BII"),
    REPEAT: struct.Struct(">BI"),
    DIRECT: struct.Struct(">BI"),
    PING: struct.Struct(">BIB"),
    PING_ACK: struct.Struct(">BIB"),
}
"""What is before the payload; only DATA, REPEAT and DIRECT have one."""


class ForeignBatchPacket(NamedTuple):
    """
    A packet.

    @ivar kind: Its type.
    @ivar fields: Its fields in the order of the wire, without the type.
    @ivar payload: What comes behind them.
    """

    kind: int
    fields: tuple[int, ...]
    payload: bytes


def write(kind: int, *fields: int, payload: bytes = b"") -> bytes:
    """Write a packet; the fields are in the order of the wire."""
    return FORMS[kind].pack(kind, *fields) + payload


def read(data: bytes) -> ForeignBatchPacket:
    """
    Read a packet; one of an unknown type has no fields.

    @raise ForeignCrash: When the original does not survive it, or when it is not as long as its type says.
    """
    if len(data) < 5:
        raise ForeignCrash(f"a datagram of {len(data)} bytes")
    kind = data[0]
    form = FORMS.get(kind)
    if form is None:
        return ForeignBatchPacket(kind, (), data[1:])
    if len(data) < form.size or (len(data) > form.size and kind not in (DATA, REPEAT, DIRECT)):
        raise ForeignCrash(f"a packet of type {kind} with {len(data)} bytes")
    _, *fields = form.unpack_from(data)
    payload = data[form.size :]
    if kind == CONNECT and (fields[2] != VERSION or not fields[0]):
        raise ForeignCrash(f"Connect with version {fields[2]} and port {fields[0]}")
    return ForeignBatchPacket(kind, tuple(fields), payload)


def straddles(first: int, count: int) -> bool:
    """Whether a batch of several packets is mangled, because of where its numbers begin."""
    last = first + count - 1
    return count > 1 and (first < MANGLING <= last or last >= PACKET_NUMBERS)


@dataclass
class ForeignBatchAssembly:
    """The packets of a batch that have come: their payloads by number, and the first and last number."""

    parts: dict[int, bytes] = field(default_factory=dict)
    first: int | None = None
    last: int | None = None

    def add(self, number: int, flags: int, payload: bytes) -> bytes | None:
        """Take a packet; return the message if that was all of it."""
        self.parts[number] = payload
        if flags & FIRST:
            self.first = self._only(self.first, number)
        if flags & LAST:
            self.last = self._only(self.last, number)
        if self.first is None or self.last is None:
            return None
        count = (self.last - self.first) % PACKET_NUMBERS + 1
        if len(self.parts) < count:
            return None
        if straddles(self.first, count):
            raise ForeignCrash(f"a mangled batch: {count} packets from {self.first}")
        try:
            return b"".join(self.parts.pop((self.first + step) % PACKET_NUMBERS) for step in range(count))
        except KeyError as missing:
            raise ForeignCrash(f"two batches with one number, around packet {missing}") from missing

    @staticmethod
    def _only(known: int | None, number: int) -> int:
        if known is not None:
            raise ForeignCrash(f"two batches with one number, at packets {known} and {number}")
        return number
