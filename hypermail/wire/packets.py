"""
Every packet, as a tuple that can write and read itself. Layouts: C{docs/protocol/packets.rst}.

The hot ones (chunks, blocks, acks) are read with one C{unpack_from} each, and their contents stay
memoryviews of the datagram; whoever keeps them copies them. Integers are in network order.
"""

from __future__ import annotations

from functools import cache
from struct import Struct
from typing import Mapping, NamedTuple

from hypermail.errors import MalformedPacket
from hypermail.options import Delivery, Way
from hypermail.wire.fields import Reader, text
from hypermail.wire.heads import Head
from hypermail.wire.parameters import Parameters

Data = bytes | memoryview

_HEAD = {head: bytes((head,)) for head in Head}
_ID = Struct(">BQ")
_ID_AND_NUMBER = Struct(">BQQ")
_CODE = Struct(">BI")
_BLOCK_ACK = Struct(">BBQBB")

ACK = Struct(">BQIHI")
HANDSHAKE = Struct(">BIH")
BLOCK = Struct(">BBBQIIH")
BLOCKS = Struct(">BBBQH")
CHUNK = Struct(">BQQH")
DIRECT = Struct(">BH")

#: Ranges in one acknowledgement, at most.
MAX_ACK_RANGES = 64
#: Messages in one C{StreamBlocks}, at most.
MAX_RUN = 512


@cache
def lengths(count: int) -> Struct:
    """The layout of the lengths of C{count} messages; C{count} is at most L{MAX_RUN}."""
    return Struct(f">{count}H")


@cache
def pairs(count: int) -> Struct:
    """The layout of C{count} further ranges of an acknowledgement, at most L{MAX_ACK_RANGES}."""
    return Struct(f">{2 * count}I")


class SessionOpen(NamedTuple):
    """Asks for a session. @ivar way: seen from the starter. @ivar allow_reopen: whether it may outlive its link."""

    way: Way
    allow_reopen: bool
    parameters: Parameters

    def encode(self) -> bytes:
        return bytes((Head.SESSION_OPEN, self.way, self.allow_reopen)) + self.parameters.encode()

    @classmethod
    def decode(cls, reader: Reader) -> SessionOpen:
        way, flags = reader.integer(1), reader.integer(1)
        if way not in Way._value2member_map_ or flags > 1:
            raise MalformedPacket(f"SessionOpen with way {way}, flags {flags}")
        return cls(Way(way), bool(flags), Parameters.decode(reader))


class SessionOpenAck(NamedTuple):
    """Answers L{SessionOpen}. @ivar parameters: None when rejected; then code and text say why."""

    parameters: Parameters | None
    code: int = 0
    text: str = ""

    def encode(self) -> bytes:
        if self.parameters is not None:
            return bytes((Head.SESSION_OPEN_ACK, 1)) + self.parameters.encode()
        return bytes((Head.SESSION_OPEN_ACK, 0)) + self.code.to_bytes(4, "big") + text(self.text)

    @classmethod
    def decode(cls, reader: Reader) -> SessionOpenAck:
        verdict = reader.integer(1)
        if verdict > 1:
            raise MalformedPacket(f"SessionOpenAck with verdict {verdict}")
        if verdict:
            return cls(Parameters.decode(reader))
        return cls(None, reader.integer(4), reader.text())


class SessionReopen(NamedTuple):
    """Asks for a session to go on over this link. @ivar proof: 32 bytes that bind secret, generation and link."""

    session: bytes
    generation: int
    proof: bytes
    parameters: Parameters

    def encode(self) -> bytes:
        fields = self.session + self.generation.to_bytes(8, "big") + self.proof
        return _HEAD[Head.SESSION_REOPEN] + fields + self.parameters.encode()

    @classmethod
    def decode(cls, reader: Reader) -> SessionReopen:
        return cls(reader.bytes(16), reader.integer(8), reader.bytes(32), Parameters.decode(reader))


class SessionReopenAck(NamedTuple):
    """Answers L{SessionReopen}. @ivar proof: the listener's, 32 bytes; empty when rejected."""

    proof: bytes
    code: int = 0
    text: str = ""

    def encode(self) -> bytes:
        if self.proof:
            return bytes((Head.SESSION_REOPEN_ACK, 1)) + self.proof
        return bytes((Head.SESSION_REOPEN_ACK, 0)) + self.code.to_bytes(4, "big") + text(self.text)

    @classmethod
    def decode(cls, reader: Reader) -> SessionReopenAck:
        verdict = reader.integer(1)
        if verdict > 1:
            raise MalformedPacket(f"SessionReopenAck with verdict {verdict}")
        return cls(reader.bytes(32)) if verdict else cls(b"", reader.integer(4), reader.text())


class SessionClose(NamedTuple):
    """All of ours is settled: deliver yours and answer."""


    def encode(self) -> bytes:
        return _HEAD[Head.SESSION_CLOSE]

    @classmethod
    def decode(cls, reader: Reader) -> SessionClose:
        return cls()


class SessionCloseAck(NamedTuple):
    """Everything is delivered; the session is closed."""


    def encode(self) -> bytes:
        return _HEAD[Head.SESSION_CLOSE_ACK]

    @classmethod
    def decode(cls, reader: Reader) -> SessionCloseAck:
        return cls()


class SessionDeath(NamedTuple):
    """The session ends at once."""

    code: int
    text: str

    def encode(self) -> bytes:
        return _CODE.pack(Head.SESSION_DEATH, self.code) + text(self.text)

    @classmethod
    def decode(cls, reader: Reader) -> SessionDeath:
        return cls(reader.integer(4), reader.text())


def encode_lane(ordered: bool, delivery: Delivery) -> int:
    """The flags byte that tells a lane's properties with each of its packets."""
    return (not ordered) | delivery << 1


def decode_lane(flags: int) -> tuple[bool, Delivery]:
    """Whether a lane is ordered, and its delivery. @raise MalformedPacket: for flags that mean nothing."""
    if flags >> 1 not in (Delivery.ACKED, Delivery.BUFFERED):
        raise MalformedPacket(f"lane flags {flags:#04x} mean nothing")
    return not flags & 1, Delivery(flags >> 1)


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
            BLOCK.pack(
                Head.STREAM_BLOCK, self.lane, self.flags, self.number, self.total, self.offset, len(self.data)
            )
            + self.data
        )


class StreamBlocks(NamedTuple):
    """Whole messages of one lane with consecutive numbers, from C{first} on."""

    lane: int
    flags: int
    first: int
    messages: list[Data]

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
        counts = (len(self.ranges), len(self.verdicts))
        parts = [_BLOCK_ACK.pack(Head.STREAM_BLOCK_ACK, self.lane, self.watermark, *counts)]
        parts += [start.to_bytes(8, "big") + stop.to_bytes(8, "big") for start, stop in self.ranges]
        for verdict in self.verdicts:
            kind = 2 if verdict.cleared else 1
            parts.append(verdict.number.to_bytes(8, "big") + _CODE.pack(kind, verdict.code) + text(verdict.text))
        return b"".join(parts)

    @classmethod
    def decode(cls, reader: Reader) -> StreamBlockAck:
        lane, watermark, ranges, verdicts = (reader.integer(size) for size in (1, 8, 1, 1))
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


class StreamOpen(NamedTuple):
    """Opens a stream. @ivar length: bytes that the opener will send, or None when it doesn't know."""

    id: int
    name: bytes
    attributes: Mapping[str, bytes]
    length: int | None

    def encode(self) -> bytes:
        length = b"\0" if self.length is None else b"\1" + self.length.to_bytes(8, "big")
        parts = [_ID.pack(Head.STREAM_OPEN, self.id), length]
        parts.append(len(self.name).to_bytes(2, "big") + self.name + bytes((len(self.attributes),)))
        for key, value in self.attributes.items():
            name = key.encode("utf-8")
            parts.append(bytes((len(name),)) + name + len(value).to_bytes(2, "big") + value)
        return b"".join(parts)

    @classmethod
    def decode(cls, reader: Reader) -> StreamOpen:
        id, flags = reader.integer(8), reader.integer(1)
        if flags > 1:
            raise MalformedPacket(f"StreamOpen with flags {flags}")
        length = reader.integer(8) if flags else None
        name = reader.bytes(reader.integer(2))
        attributes = {}
        for _ in range(reader.integer(1)):
            key = reader.bytes(reader.integer(1))
            try:
                attributes[key.decode("utf-8")] = reader.bytes(reader.integer(2))
            except UnicodeDecodeError:
                raise MalformedPacket("StreamOpen: an attribute's name is no UTF-8") from None
        return cls(id, name, attributes, length)


class StreamOpenAck(NamedTuple):
    """Answers L{StreamOpen}. @ivar limit: the first real one; None when rejected, then code and text say why."""

    id: int
    limit: int | None
    code: int = 0
    text: str = ""

    def encode(self) -> bytes:
        if self.limit is not None:
            return _ID.pack(Head.STREAM_OPEN_ACK, self.id) + b"\1" + self.limit.to_bytes(8, "big")
        return _ID.pack(Head.STREAM_OPEN_ACK, self.id) + b"\0" + self.code.to_bytes(4, "big") + text(self.text)

    @classmethod
    def decode(cls, reader: Reader) -> StreamOpenAck:
        id, verdict = reader.integer(8), reader.integer(1)
        if verdict > 1:
            raise MalformedPacket(f"StreamOpenAck with verdict {verdict}")
        return cls(id, reader.integer(8)) if verdict else cls(id, None, reader.integer(4), reader.text())


class StreamReopen(NamedTuple):
    """On a reopened session: how far this side has received a stream, and how far it may be sent."""

    id: int
    offset: int
    limit: int

    def encode(self) -> bytes:
        return _ID_AND_NUMBER.pack(Head.STREAM_REOPEN, self.id, self.offset) + self.limit.to_bytes(8, "big")

    @classmethod
    def decode(cls, reader: Reader) -> StreamReopen:
        return cls(reader.integer(8), reader.integer(8), reader.integer(8))


class StreamReopenAck(NamedTuple):
    """Answers L{StreamReopen} with this side's offset. @ivar known: False when the stream is over here."""

    id: int
    known: bool
    offset: int
    limit: int

    def encode(self) -> bytes:
        numbers = self.offset.to_bytes(8, "big") + self.limit.to_bytes(8, "big")
        return _ID.pack(Head.STREAM_REOPEN_ACK, self.id) + bytes((self.known,)) + numbers

    @classmethod
    def decode(cls, reader: Reader) -> StreamReopenAck:
        id, known = reader.integer(8), reader.integer(1)
        if known > 1:
            raise MalformedPacket(f"StreamReopenAck with verdict {known}")
        return cls(id, bool(known), reader.integer(8), reader.integer(8))


class StreamChunk(NamedTuple):
    """Bytes of a stream at an offset."""

    id: int
    offset: int
    data: Data

    def encode(self) -> bytes:
        return CHUNK.pack(Head.STREAM_CHUNK, self.id, self.offset, len(self.data)) + self.data


class StreamChunkAck(NamedTuple):
    """Everything below C{offset} has arrived and need not be kept."""

    id: int
    offset: int

    def encode(self) -> bytes:
        return _ID_AND_NUMBER.pack(Head.STREAM_CHUNK_ACK, *self)

    @classmethod
    def decode(cls, reader: Reader) -> StreamChunkAck:
        return cls(reader.integer(8), reader.integer(8))


class StreamFlush(NamedTuple):
    """This direction of the stream is C{length} bytes, all of them sent."""

    id: int
    length: int

    def encode(self) -> bytes:
        return _ID_AND_NUMBER.pack(Head.STREAM_FLUSH, *self)

    @classmethod
    def decode(cls, reader: Reader) -> StreamFlush:
        return cls(reader.integer(8), reader.integer(8))


class StreamFlushAck(NamedTuple):
    """Everything up to the flush has arrived."""

    id: int

    def encode(self) -> bytes:
        return _ID.pack(Head.STREAM_FLUSH_ACK, self.id)

    @classmethod
    def decode(cls, reader: Reader) -> StreamFlushAck:
        return cls(reader.integer(8))


class StreamLack(NamedTuple):
    """After a flush: these ranges are missing. @ivar ranges: (start, stop), ascending."""

    id: int
    ranges: tuple[tuple[int, int], ...]

    def encode(self) -> bytes:
        parts = [_ID.pack(Head.STREAM_LACK, self.id), bytes((len(self.ranges),))]
        parts += [start.to_bytes(8, "big") + stop.to_bytes(8, "big") for start, stop in self.ranges]
        return b"".join(parts)

    @classmethod
    def decode(cls, reader: Reader) -> StreamLack:
        id, count = reader.integer(8), reader.integer(1)
        ranges = tuple((reader.integer(8), reader.integer(8)) for _ in range(count))
        at = -1
        for start, stop in ranges:
            if not at < start < stop:
                raise MalformedPacket("StreamLack: ranges must ascend")
            at = stop
        return cls(id, ranges)


class StreamLater(NamedTuple):
    """The application has paused: no higher limit will come for now."""

    id: int

    def encode(self) -> bytes:
        return _ID.pack(Head.STREAM_LATER, self.id)

    @classmethod
    def decode(cls, reader: Reader) -> StreamLater:
        return cls(reader.integer(8))


class StreamGo(NamedTuple):
    """The stream may carry bytes below C{limit}; the largest limit wins."""

    id: int
    limit: int

    def encode(self) -> bytes:
        return _ID_AND_NUMBER.pack(Head.STREAM_GO, *self)

    @classmethod
    def decode(cls, reader: Reader) -> StreamGo:
        return cls(reader.integer(8), reader.integer(8))


class StreamClear(NamedTuple):
    """Both directions of a stream end abnormally."""

    id: int
    code: int
    text: str

    def encode(self) -> bytes:
        numbers = self.id.to_bytes(8, "big") + self.code.to_bytes(4, "big")
        return bytes((Head.STREAM_CLEAR, 0)) + numbers + text(self.text)


class MessageClear(NamedTuple):
    """A message is withdrawn; written under the same head as L{StreamClear}."""

    lane: int
    flags: int
    number: int

    def encode(self) -> bytes:
        return bytes((Head.STREAM_CLEAR, 1, self.lane, self.flags)) + self.number.to_bytes(8, "big")


class HealthPing(NamedTuple):
    """Are you there?"""

    id: int

    def encode(self) -> bytes:
        return _ID.pack(Head.HEALTH_PING, self.id)

    @classmethod
    def decode(cls, reader: Reader) -> HealthPing:
        return cls(reader.integer(8))


class HealthPong(NamedTuple):
    """Answers the ping of the same number."""

    id: int

    def encode(self) -> bytes:
        return _ID.pack(Head.HEALTH_PONG, self.id)

    @classmethod
    def decode(cls, reader: Reader) -> HealthPong:
        return cls(reader.integer(8))


class Ack(NamedTuple):
    """
    Datagrams that have been received.

    @ivar delay: µs between the arrival of the largest and this packet.
    @ivar ranges: (start, stop), descending; the first one ends with the largest.
    """

    delay: int
    ranges: tuple[tuple[int, int], ...]

    def encode(self) -> bytes:
        start, stop = self.ranges[0]
        numbers: list[int] = []
        for next_start, next_stop in self.ranges[1:]:
            numbers += (start - next_stop, next_stop - next_start)
            start = next_start
        head = ACK.pack(Head.ACK, stop - 1, self.delay, len(self.ranges) - 1, stop - self.ranges[0][0])
        return head + pairs(len(self.ranges) - 1).pack(*numbers)


class Handshake(NamedTuple):
    """Bytes of the handshake at an offset."""

    offset: int
    data: Data

    def encode(self) -> bytes:
        return HANDSHAKE.pack(Head.HANDSHAKE, self.offset, len(self.data)) + self.data


class PathChallenge(NamedTuple):
    """Prove that you receive at this address."""

    data: bytes

    def encode(self) -> bytes:
        return _HEAD[Head.PATH_CHALLENGE] + self.data

    @classmethod
    def decode(cls, reader: Reader) -> PathChallenge:
        return cls(reader.bytes(8))


class PathResponse(NamedTuple):
    """Proves it with the challenge's bytes."""

    data: bytes

    def encode(self) -> bytes:
        return _HEAD[Head.PATH_RESPONSE] + self.data

    @classmethod
    def decode(cls, reader: Reader) -> PathResponse:
        return cls(reader.bytes(8))


class Direct(NamedTuple):
    """A direct message (seed 001's Direct UDP packet)."""

    data: Data

    def encode(self) -> bytes:
        return DIRECT.pack(Head.DIRECT, len(self.data)) + self.data


class Padding(NamedTuple):
    """The rest of the payload means nothing."""

    size: int

    def encode(self) -> bytes:
        return _HEAD[Head.PADDING] + bytes(self.size - 1)


Packet = (
    SessionOpen
    | SessionOpenAck
    | SessionReopen
    | SessionReopenAck
    | SessionClose
    | SessionCloseAck
    | SessionDeath
    | StreamBlock
    | StreamBlocks
    | StreamBlockAck
    | StreamOpen
    | StreamOpenAck
    | StreamReopen
    | StreamReopenAck
    | StreamChunk
    | StreamChunkAck
    | StreamFlush
    | StreamFlushAck
    | StreamLack
    | StreamLater
    | StreamGo
    | StreamClear
    | MessageClear
    | HealthPing
    | HealthPong
    | Ack
    | Handshake
    | PathChallenge
    | PathResponse
    | Direct
    | Padding
)
