"""
Packets of the link itself. Layouts: C{docs/protocol/packets.rst}.
"""

from __future__ import annotations

from functools import cache
from struct import Struct
from typing import NamedTuple

from hypermail.wire.fields import Data, Reader
from hypermail.wire.heads import Head

_ID = Struct(">BQ")
ACK = Struct(">BQIHI")
MARKS = Struct(">III")
#: Of one range, with marks.
ACK_OF_ONE = Struct(">BQIHIIII")
HANDSHAKE = Struct(">BIH")
_ACK, _ACK_MARKS = int(Head.ACK), int(Head.ACK_MARKS)
#: Ranges in one acknowledgement, at most.
MAX_ACK_RANGES = 64


#: How many datagrams have arrived with ECT(0), ECT(1) and CE, each modulo 2^32.
Marks = tuple[int, int, int]


@cache
def pairs(count: int) -> Struct:
    """The layout of C{count} further ranges of an acknowledgement, at most L{MAX_ACK_RANGES}."""
    return Struct(f">{2 * count}I")


class Ack(NamedTuple):
    """
    Datagrams that have been received.

    @ivar delay: µs between the arrival of the largest and this packet.
    @ivar ranges: (start, stop), descending; the first one ends with the largest.
    @ivar marks: of all that have been received so far; None when none bore any.
    """

    delay: int
    ranges: tuple[tuple[int, int], ...]
    marks: Marks | None = None

    def encode(self) -> bytes:
        delay, ranges, marks = self
        start, stop = ranges[0]
        further = len(ranges) - 1
        if not further and marks is not None:
            return ACK_OF_ONE.pack(_ACK_MARKS, stop - 1, delay, 0, stop - start, *marks)
        packet = ACK.pack(_ACK if marks is None else _ACK_MARKS, stop - 1, delay, further, stop - start)
        if further:
            numbers: list[int] = []
            for next_start, next_stop in ranges[1:]:
                numbers += (start - next_stop, next_stop - next_start)
                start = next_start
            packet += pairs(further).pack(*numbers)
        return packet if marks is None else packet + MARKS.pack(*marks)


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
        return bytes((Head.PATH_CHALLENGE,)) + self.data

    @classmethod
    def decode(cls, reader: Reader) -> PathChallenge:
        return cls(reader.bytes(8))


class PathResponse(NamedTuple):
    """Proves it with the challenge's bytes."""

    data: bytes

    def encode(self) -> bytes:
        return bytes((Head.PATH_RESPONSE,)) + self.data

    @classmethod
    def decode(cls, reader: Reader) -> PathResponse:
        return cls(reader.bytes(8))


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


class Padding(NamedTuple):
    """The rest of the payload means nothing."""

    size: int

    def encode(self) -> bytes:
        return bytes((Head.PADDING,)) + bytes(self.size - 1)
