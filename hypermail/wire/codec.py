"""
A payload, once it has been opened, is a sequence of packets: this reads them all.

Nothing is delivered of a payload that is malformed anywhere: an authentic peer that sends one is broken,
and the session ends with the reason.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from struct import error as StructError

from hypermail.errors import MalformedPacket
from hypermail.wire import packets as p
from hypermail.wire.fields import Data, Reader
from hypermail.wire.heads import Head

Decoder = Callable[[memoryview, int], tuple[p.Packet, int]]

# Makes a packet of all of its fields, without what a NamedTuple does besides, which takes longer than to read them.
_made = tuple.__new__


def decode(content: Data) -> list[p.Packet]:
    """
    All packets of a payload, in order. Their contents are memoryviews of it, but for those of L{p.StreamBlocks}.

    @raise MalformedPacket: for an unknown head, a packet that is cut short or whose fields make no sense.
    """
    found = []
    at = 0
    payload = memoryview(content)
    end = len(payload)
    try:
        while at < end:
            packet, at = _DECODERS[payload[at]](payload, at)
            found.append(packet)
    except StructError:
        raise MalformedPacket(f"a {_name(payload[at])} packet is cut short") from None
    if not found:
        raise MalformedPacket("an empty payload")
    return found


def _name(head: int) -> str:
    return Head(head).name if head in Head._value2member_map_ else f"head {head}"


def _end(payload: memoryview, end: int, head: int) -> int:
    if end > len(payload):
        raise MalformedPacket(f"a {_name(head)} packet is cut short")
    return end


def _unknown(payload: memoryview, at: int) -> tuple[p.Packet, int]:
    raise MalformedPacket(f"unknown head {payload[at]}")


def _chunk(payload: memoryview, at: int) -> tuple[p.Packet, int]:
    head, id, offset, size = p.CHUNK.unpack_from(payload, at)
    at += p.CHUNK.size
    end = _end(payload, at + size, head)
    return _made(p.StreamChunk, (id, offset, payload[at:end])), end


def _block(payload: memoryview, at: int) -> tuple[p.Packet, int]:
    head, lane, flags, number, total, offset, size = p.BLOCK.unpack_from(payload, at)
    at += p.BLOCK.size
    end = _end(payload, at + size, head)
    if offset + size > total or (not size and total):
        raise MalformedPacket(f"a fragment of {size} bytes at {offset} of a message of {total} bytes")
    return _made(p.StreamBlock, (lane, flags, number, total, offset, payload[at:end])), end


def _blocks(payload: memoryview, at: int) -> tuple[p.Packet, int]:
    head, lane, flags, first, count = p.BLOCKS.unpack_from(payload, at)
    at += p.BLOCKS.size
    if count == 1:
        (size,) = p.LENGTH.unpack_from(payload, at)
        at += p.LENGTH.size
        end = _end(payload, at + size, head)
        return _made(p.StreamBlocks, (lane, flags, first, [payload[at:end].tobytes()])), end
    if not 0 < count <= p.MAX_RUN:
        raise MalformedPacket(f"a run of {count} messages")
    layout = p.lengths(count)
    sizes = layout.unpack_from(payload, at)
    at += layout.size
    end = _end(payload, at + sum(sizes), head)
    return p.StreamBlocks(lane, flags, first, list(map(BytesIO(payload[at:end]).read, sizes))), end


def _direct(payload: memoryview, at: int) -> tuple[p.Packet, int]:
    head, size = p.DIRECT.unpack_from(payload, at)
    at += p.DIRECT.size
    end = _end(payload, at + size, head)
    return p.Direct(payload[at:end]), end


def _handshake(payload: memoryview, at: int) -> tuple[p.Packet, int]:
    head, offset, size = p.HANDSHAKE.unpack_from(payload, at)
    at += p.HANDSHAKE.size
    end = _end(payload, at + size, head)
    return p.Handshake(offset, payload[at:end]), end


def _block_ack(payload: memoryview, at: int) -> tuple[p.Packet, int]:
    _, lane, watermark, ranges, verdicts = p.BLOCK_ACK.unpack_from(payload, at)
    if ranges or verdicts:
        return _block_ack_fields(payload, at)
    return _made(p.StreamBlockAck, (lane, watermark, (), ())), at + p.BLOCK_ACK.size


def _ack(payload: memoryview, at: int) -> tuple[p.Packet, int]:
    _, largest, delay, count, run = p.ACK.unpack_from(payload, at)
    ranges, at = _ranges(payload, at + p.ACK.size, largest, count, run)
    return _made(p.Ack, (delay, ranges, None)), at


def _ack_marks(payload: memoryview, at: int) -> tuple[p.Packet, int]:
    # With further ranges the counts are not here, but behind those; there are as many bytes in any case.
    _, largest, delay, count, run, ect0, ect1, ce = p.ACK_OF_ONE.unpack_from(payload, at)
    ranges, at = _ranges(payload, at + p.ACK.size, largest, count, run)
    marks = p.MARKS.unpack_from(payload, at) if count else (ect0, ect1, ce)
    return _made(p.Ack, (delay, ranges, marks)), at + p.MARKS.size


def _ranges(
    payload: memoryview, at: int, largest: int, count: int, run: int
) -> tuple[tuple[tuple[int, int], ...], int]:
    """
    The ranges of an acknowledgement: one of C{run} numbers up to C{largest}, and C{count} further ones.

    @return: they, and the position behind them.
    """
    stop = largest + 1
    start = stop - run
    if not run or start < 0:
        raise MalformedPacket("an acknowledgement of numbers below 0, or of none")
    if not count:
        return ((start, stop),), at
    if count >= p.MAX_ACK_RANGES:
        raise MalformedPacket(f"an acknowledgement of {count + 1} ranges")
    ranges = [(start, stop)]
    layout = p.pairs(count)
    numbers = layout.unpack_from(payload, at)
    for index in range(0, 2 * count, 2):
        stop = start - numbers[index]
        start = stop - numbers[index + 1]
        if not numbers[index] or not numbers[index + 1] or start < 0:
            raise MalformedPacket("an acknowledgement of numbers below 0, or with an empty range or gap")
        ranges.append((start, stop))
    return tuple(ranges), at + layout.size


def _padding(payload: memoryview, at: int) -> tuple[p.Packet, int]:
    return p.Padding(len(payload) - at), len(payload)


def _clear(payload: memoryview, at: int) -> tuple[p.Packet, int]:
    reader = Reader(payload, at + 1)
    scope = reader.integer(1)
    packet: p.Packet
    if scope == 0:
        packet = p.StreamClear(reader.integer(8), reader.integer(4), reader.text())
    elif scope in (1, 2):
        packet = p.MessageClear(reader.integer(1), reader.integer(1), reader.integer(8), scope == 2)
    else:
        raise MalformedPacket(f"StreamClear with scope {scope}")
    return packet, reader.at


def _fields(decode: Callable[[Reader], p.Packet]) -> Decoder:
    def decoder(payload: memoryview, at: int) -> tuple[p.Packet, int]:
        reader = Reader(payload, at + 1)
        return decode(reader), reader.at

    return decoder


#: Of a block ack that tells more than a watermark.
_block_ack_fields = _fields(p.StreamBlockAck.decode)

_FIELDS: dict[Head, Callable[[Reader], p.Packet]] = {
    Head.SESSION_OPEN: p.SessionOpen.decode,
    Head.SESSION_OPEN_ACK: p.SessionOpenAck.decode,
    Head.SESSION_REOPEN: p.SessionReopen.decode,
    Head.SESSION_REOPEN_ACK: p.SessionReopenAck.decode,
    Head.SESSION_CLOSE: p.SessionClose.decode,
    Head.SESSION_CLOSE_ACK: p.SessionCloseAck.decode,
    Head.SESSION_DEATH: p.SessionDeath.decode,
    Head.STREAM_OPEN: p.StreamOpen.decode,
    Head.STREAM_OPEN_ACK: p.StreamOpenAck.decode,
    Head.STREAM_REOPEN: p.StreamReopen.decode,
    Head.STREAM_REOPEN_ACK: p.StreamReopenAck.decode,
    Head.STREAM_CHUNK_ACK: p.StreamChunkAck.decode,
    Head.STREAM_FLUSH: p.StreamFlush.decode,
    Head.STREAM_FLUSH_ACK: p.StreamFlushAck.decode,
    Head.STREAM_LACK: p.StreamLack.decode,
    Head.STREAM_LATER: p.StreamLater.decode,
    Head.STREAM_GO: p.StreamGo.decode,
    Head.HEALTH_PING: p.HealthPing.decode,
    Head.HEALTH_PONG: p.HealthPong.decode,
    Head.PATH_CHALLENGE: p.PathChallenge.decode,
    Head.PATH_RESPONSE: p.PathResponse.decode,
}
_HOT: dict[Head, Decoder] = {
    Head.STREAM_CHUNK: _chunk,
    Head.STREAM_BLOCK: _block,
    Head.STREAM_BLOCKS: _blocks,
    Head.STREAM_BLOCK_ACK: _block_ack,
    Head.STREAM_CLEAR: _clear,
    Head.ACK: _ack,
    Head.ACK_MARKS: _ack_marks,
    Head.HANDSHAKE: _handshake,
    Head.DIRECT: _direct,
    Head.PADDING: _padding,
}
_DECODERS: list[Decoder] = [_unknown] * 256
for _head, _decode in _FIELDS.items():
    _DECODERS[_head] = _fields(_decode)
for _head, _decoder in _HOT.items():
    _DECODERS[_head] = _decoder
