"""
Packets of messages and lanes. Layouts: C{docs/protocol/packets.rst}.
"""

from __future__ import annotations

from functools import cache
from struct import Struct
from typing import NamedTuple

from hypermail.errors import MalformedPacket
from hypermail.options import Delivery
from hypermail.wire.fields import Data, Reader, text
from hypermail.wire.heads import Head

_CODE = Struct(">BI")
BLOCK_ACK = Struct(">BBQBB")
_BLOCK_ACK_FIELDS = Struct(">BQBB")  # behind its head
_STREAM_BLOCK_ACK = int(Head.STREAM_BLOCK_ACK)
BLOCK = Struct(">BBBQIIH")
BLOCKS = Struct(">BBBQH")
LENGTH = Struct(">H")  # of each message of a run
DIRECT = Struct(">BH")
#: Messages in one C{StreamBlocks}, at most.
MAX_RUN = 512


@cache
def lengths(count: int) -> Struct:
    """The layout of the lengths of C{count} messages; C{count} is at most L{MAX_RUN}."""
    return Struct(f">{count}H")


#: The flags of a durable lane, which is ordered and acked.
_DURABLE = 8


def encode_lane(ordered: bool, delivery: Delivery, durable: bool = False) -> int:
    """The flags byte that tells a lane's properties with each of its packets."""
    return (not ordered) | delivery << 1 | durable * _DURABLE


def decode_lane(flags: int) -> tuple[bool, Delivery, bool]:
    """
    Whether a lane is ordered, its delivery, and whether it is durable.

    @raise MalformedPacket: for flags that mean nothing.
    """
    if flags == _DURABLE:
        return True, Delivery.ACKED, True
    if flags >> 1 not in (Delivery.ACKED, Delivery.BUFFERED):
        raise MalformedPacket(f"lane flags {flags:#04x} mean nothing")
    return not flags & 1, Delivery(flags >> 1), False


class StreamBlock(NamedTuple):
    """
    A fragment of one message (seed 001's batch).

    @ivar flags: the lane's properties, L{encode_lane}.
    @ivar total: bytes of the whole message.
    """

    lane: int
    flags: int
    number: int
    total: int
    offset: int
    data: Data

    def encode(self) -> bytes:
        return (
            BLOCK.pack(Head.STREAM_BLOCK, self.lane, self.flags, self.number, self.total, self.offset, len(self.data))
            + self.data
        )


class StreamBlocks(NamedTuple):
    """
    Whole messages of one lane with consecutive numbers, from C{first} on.

    @ivar messages: not views of the datagram: nearly all of them are kept.
    """

    lane: int
    flags: int
    first: int
    messages: list[bytes]

    def encode(self) -> bytes:
        sizes = [len(message) for message in self.messages]
        head = BLOCKS.pack(Head.STREAM_BLOCKS, self.lane, self.flags, self.first, len(sizes))
        return b"".join((head, lengths(len(sizes)).pack(*sizes), *self.messages))


class Verdict(NamedTuple):
    """
    What became of a message that the application did not take.

    @ivar cleared: it was withdrawn by its sender in time; else the application rejected it.
    """

    number: int
    cleared: bool
    code: int
    text: str


class StreamBlockAck(NamedTuple):
    """
    What has been settled on a lane; the application took all of it but what C{verdicts} name.

    @ivar watermark: every number below is settled.
    @ivar ranges: further settled numbers (unordered lanes), as (start, stop), ascending.
    """

    lane: int
    watermark: int
    ranges: tuple[tuple[int, int], ...]
    verdicts: tuple[Verdict, ...]

    def encode(self) -> bytes:
        lane, watermark, ranges, verdicts = self
        head = BLOCK_ACK.pack(_STREAM_BLOCK_ACK, lane, watermark, len(ranges), len(verdicts))
        if not ranges and not verdicts:
            return head
        parts = [head]
        parts += [start.to_bytes(8, "big") + stop.to_bytes(8, "big") for start, stop in ranges]
        for verdict in verdicts:
            kind = 2 if verdict.cleared else 1
            parts.append(verdict.number.to_bytes(8, "big") + _CODE.pack(kind, verdict.code) + text(verdict.text))
        return b"".join(parts)

    @classmethod
    def decode(cls, reader: Reader) -> StreamBlockAck:
        lane, watermark, ranges, verdicts = reader.unpack(_BLOCK_ACK_FIELDS)
        settled = tuple((reader.integer(8), reader.integer(8)) for _ in range(ranges))
        above = watermark
        for start, stop in settled:
            if not above < start < stop:
                raise MalformedPacket("StreamBlockAck: ranges must ascend from the watermark")
            above = stop
        found = []
        for _ in range(verdicts):
            number, kind = reader.integer(8), reader.integer(1)
            if kind not in (1, 2):
                raise MalformedPacket(f"StreamBlockAck with verdict {kind}")
            found.append(Verdict(number, kind == 2, reader.integer(4), reader.text()))
        return cls(lane, watermark, settled, tuple(found))


class MessageClear(NamedTuple):
    """
    A message is withdrawn; written under the same head as L{StreamClear}.

    @ivar known: it is not: on a durable lane, its sender knows for good why it was not taken.
    """

    lane: int
    flags: int
    number: int
    known: bool = False

    def encode(self) -> bytes:
        return bytes((Head.STREAM_CLEAR, 1 + self.known, self.lane, self.flags)) + self.number.to_bytes(8, "big")


class Direct(NamedTuple):
    """A direct message (seed 001's Direct UDP packet)."""

    data: Data

    def encode(self) -> bytes:
        return DIRECT.pack(Head.DIRECT, len(self.data)) + self.data
