"""
Packets of streams. Layouts: C{docs/protocol/packets.rst}.
"""

from __future__ import annotations

from collections.abc import Mapping
from struct import Struct
from typing import NamedTuple

from hypermail.errors import MalformedPacket
from hypermail.wire.fields import Data, Reader, text
from hypermail.wire.heads import Head

_ID = Struct(">BQ")
_ID_AND_NUMBER = Struct(">BQQ")
CHUNK = Struct(">BQQH")


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
    """Answers L{StreamReopen} with the same of the other side; a stream that is over there gets no answer."""

    id: int
    offset: int
    limit: int

    def encode(self) -> bytes:
        return _ID_AND_NUMBER.pack(Head.STREAM_REOPEN_ACK, self.id, self.offset) + self.limit.to_bytes(8, "big")

    @classmethod
    def decode(cls, reader: Reader) -> StreamReopenAck:
        return cls(reader.integer(8), reader.integer(8), reader.integer(8))


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
