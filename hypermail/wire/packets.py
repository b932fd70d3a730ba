"""
Every packet, as a tuple that can write and read itself. Layouts: C{docs/protocol/packets.rst}.

The hot ones (chunks, blocks, acks) are read with one C{unpack_from} each, and the contents of chunks and fragments stay
memoryviews of the datagram; whoever keeps them copies them. Integers are in network order.
"""

from __future__ import annotations

from hypermail.wire.fields import Data
from hypermail.wire.link_packets import (
    ACK,
    ACK_OF_ONE,
    HANDSHAKE,
    MARKS,
    MAX_ACK_RANGES,
    Ack,
    Handshake,
    HealthPing,
    HealthPong,
    Marks,
    Padding,
    PathChallenge,
    PathResponse,
    pairs,
)
from hypermail.wire.message_packets import (
    BLOCK,
    BLOCK_ACK,
    BLOCKS,
    DIRECT,
    LENGTH,
    MAX_RUN,
    Direct,
    MessageClear,
    StreamBlock,
    StreamBlockAck,
    StreamBlocks,
    Verdict,
    decode_lane,
    encode_lane,
    lengths,
)
from hypermail.wire.session_packets import (
    SessionClose,
    SessionCloseAck,
    SessionDeath,
    SessionOpen,
    SessionOpenAck,
    SessionReopen,
    SessionReopenAck,
)
from hypermail.wire.stream_packets import (
    CHUNK,
    StreamChunk,
    StreamChunkAck,
    StreamClear,
    StreamFlush,
    StreamFlushAck,
    StreamGo,
    StreamLack,
    StreamLater,
    StreamOpen,
    StreamOpenAck,
    StreamReopen,
    StreamReopenAck,
)

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

__all__ = [
    "ACK",
    "ACK_OF_ONE",
    "BLOCK",
    "BLOCKS",
    "BLOCK_ACK",
    "CHUNK",
    "DIRECT",
    "HANDSHAKE",
    "LENGTH",
    "MARKS",
    "MAX_ACK_RANGES",
    "MAX_RUN",
    "Ack",
    "Data",
    "Direct",
    "Handshake",
    "HealthPing",
    "HealthPong",
    "Marks",
    "MessageClear",
    "Packet",
    "Padding",
    "PathChallenge",
    "PathResponse",
    "SessionClose",
    "SessionCloseAck",
    "SessionDeath",
    "SessionOpen",
    "SessionOpenAck",
    "SessionReopen",
    "SessionReopenAck",
    "StreamBlock",
    "StreamBlockAck",
    "StreamBlocks",
    "StreamChunk",
    "StreamChunkAck",
    "StreamClear",
    "StreamFlush",
    "StreamFlushAck",
    "StreamGo",
    "StreamLack",
    "StreamLater",
    "StreamOpen",
    "StreamOpenAck",
    "StreamReopen",
    "StreamReopenAck",
    "Verdict",
    "decode_lane",
    "encode_lane",
    "lengths",
    "pairs",
]
