"""
The head byte of every packet. 0–22 are seed 000's tables in their order; the link's own begin at 32.
"""

from __future__ import annotations

from enum import IntEnum


class Head(IntEnum):
    """What a packet is; its first byte."""

    SESSION_OPEN = 0
    SESSION_OPEN_ACK = 1
    SESSION_REOPEN = 2
    SESSION_REOPEN_ACK = 3
    SESSION_CLOSE = 4
    SESSION_CLOSE_ACK = 5
    SESSION_DEATH = 6
    STREAM_BLOCK = 7
    STREAM_BLOCK_ACK = 8
    STREAM_OPEN = 9
    STREAM_OPEN_ACK = 10
    STREAM_REOPEN = 11
    STREAM_REOPEN_ACK = 12
    STREAM_CHUNK = 13
    STREAM_CHUNK_ACK = 14
    STREAM_FLUSH = 15
    STREAM_FLUSH_ACK = 16
    STREAM_LACK = 17
    STREAM_LATER = 18
    STREAM_GO = 19
    STREAM_CLEAR = 20
    HEALTH_PING = 21
    HEALTH_PONG = 22
    ACK = 32
    HANDSHAKE = 33
    PATH_CHALLENGE = 34
    PATH_RESPONSE = 35
    DIRECT = 36
    STREAM_BLOCKS = 37
    PADDING = 38
    ACK_MARKS = 39
