"""
The packets of dialect C{batch}, to and from bytes. Layouts: C{docs/protocol/dialects}; all integers are big-endian.

An C{id} is always that of the recipient's side of the connection. Numbers are as they are on the wire: packet numbers
of 32 bits, batch numbers of 8.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from struct import Struct
from typing import NamedTuple

#: The only version of the protocol that there is.
VERSION = 1
#: Bytes that a side says to have room for; nobody heeds it.
RECEIVE_BUFFER = 8_196
#: Bytes of payload in a Data packet, and in a Direct one, that we send at most.
DATA_PAYLOAD = 972
DIRECT_PAYLOAD = 971
#: Flags of a Data packet: the first of its batch, the last.
FIRST = 0x02
LAST = 0x01


class PacketType(IntEnum):
    """The first byte. 4 is reserved, and never sent."""

    CONNECT = 1
    CONNECT_ACK = 2
    CLOSE = 3
    DATA = 5
    DATA_ACK = 6
    REPEAT = 7
    DIRECT = 8
    PING = 9
    PING_ACK = 10


_CONNECT = Struct(">BHIQQ")
_CONNECT_ACK = Struct(">BIIQ")
_ID = Struct(">BI")
_DATA = Struct(">BIIBB")
_NUMBER = Struct(">BII")
_COUNT = Struct(">BIB")

#: No datagram is shorter: one that is crashes something of the original's.
SHORTEST = _ID.size
#: Bytes of a full Data datagram.
LARGEST = _DATA.size + DATA_PAYLOAD


class BatchConnect(NamedTuple):
    """
    A starter asks for a connection.

    @ivar port: at which the starter receives.
    @ivar starter_id: its id of the connection.
    @ivar version: of the protocol.
    @ivar receive_buffer: bytes.
    """

    port: int
    starter_id: int
    version: int = VERSION
    receive_buffer: int = RECEIVE_BUFFER

    def encode(self) -> bytes:
        """The datagram."""
        return _CONNECT.pack(PacketType.CONNECT, *self)


class BatchConnectAck(NamedTuple):
    """
    A listener agrees.

    @ivar id: the starter's, of the connection.
    @ivar receiver_id: the listener's.
    @ivar receive_buffer: bytes.
    """

    id: int
    receiver_id: int
    receive_buffer: int = RECEIVE_BUFFER

    def encode(self) -> bytes:
        """The datagram."""
        return _CONNECT_ACK.pack(PacketType.CONNECT_ACK, *self)


class BatchClose(NamedTuple):
    """The connection is over."""

    id: int

    def encode(self) -> bytes:
        """The datagram."""
        return _ID.pack(PacketType.CLOSE, self.id)


class BatchData(NamedTuple):
    """
    A piece of a batch, or all of it.

    @ivar number: of the packet.
    @ivar batch: number of the batch.
    @ivar flags: L{FIRST} and L{LAST}.
    @ivar payload: any number of bytes.
    """

    id: int
    number: int
    batch: int
    flags: int
    payload: bytes

    def encode(self) -> bytes:
        """The datagram."""
        return _DATA.pack(PacketType.DATA, *self[:4]) + self.payload


class BatchDataAck(NamedTuple):
    """A Data packet has arrived. @ivar number: of that packet."""

    id: int
    number: int

    def encode(self) -> bytes:
        """The datagram."""
        return _NUMBER.pack(PacketType.DATA_ACK, self.id, self.number)


class BatchRepeat(NamedTuple):
    """Data packets are missing. @ivar numbers: of these packets."""

    id: int
    numbers: tuple[int, ...]

    def encode(self) -> bytes:
        """The datagram."""
        return _ID.pack(PacketType.REPEAT, self.id) + Struct(f">{len(self.numbers)}I").pack(*self.numbers)


class BatchDirect(NamedTuple):
    """A message that nobody acknowledges."""

    id: int
    payload: bytes

    def encode(self) -> bytes:
        """The datagram."""
        return _ID.pack(PacketType.DIRECT, self.id) + self.payload


class BatchPing(NamedTuple):
    """Is the peer there? @ivar echo: a number that the answer repeats."""

    id: int
    echo: int

    def encode(self) -> bytes:
        """The datagram."""
        return _COUNT.pack(PacketType.PING, self.id, self.echo)


class BatchPingAck(NamedTuple):
    """The answer. @ivar echo: of the ping."""

    id: int
    echo: int

    def encode(self) -> bytes:
        """The datagram."""
        return _COUNT.pack(PacketType.PING_ACK, self.id, self.echo)


BatchPacket = (
    BatchConnect
    | BatchConnectAck
    | BatchClose
    | BatchData
    | BatchDataAck
    | BatchRepeat
    | BatchDirect
    | BatchPing
    | BatchPingAck
)


def decode(datagram: bytes | memoryview) -> BatchPacket | None:
    """
    The packet that a datagram is, with contents of its own; None when it is malformed: of a type that there is not, of
    a length that its type has not, or with flags that mean nothing. It raises nothing.
    """
    decoder = _DECODERS.get(datagram[0]) if len(datagram) else None
    return None if decoder is None else decoder(datagram)


def _data(datagram: bytes | memoryview) -> BatchPacket | None:
    if len(datagram) < _DATA.size:
        return None
    _, id, number, batch, flags = _DATA.unpack_from(datagram)
    if flags & ~(FIRST | LAST):
        return None
    return BatchData(id, number, batch, flags, bytes(datagram[_DATA.size :]))


def _repeat(datagram: bytes | memoryview) -> BatchPacket | None:
    count, rest = divmod(len(datagram) - _ID.size, 4)
    if rest or count < 0:
        return None
    _, id, *numbers = Struct(f">BI{count}I").unpack(datagram)
    return BatchRepeat(id, tuple(numbers))


def _direct(datagram: bytes | memoryview) -> BatchPacket | None:
    if len(datagram) < _ID.size:
        return None
    return BatchDirect(_ID.unpack_from(datagram)[1], bytes(datagram[_ID.size :]))


def _fixed(layout: Struct, packet: Callable[..., BatchPacket]) -> Callable[[bytes | memoryview], BatchPacket | None]:
    def decode_fixed(datagram: bytes | memoryview) -> BatchPacket | None:
        return packet(*layout.unpack(datagram)[1:]) if len(datagram) == layout.size else None

    return decode_fixed


_DECODERS: dict[int, Callable[[bytes | memoryview], BatchPacket | None]] = {
    PacketType.CONNECT: _fixed(_CONNECT, BatchConnect),
    PacketType.CONNECT_ACK: _fixed(_CONNECT_ACK, BatchConnectAck),
    PacketType.CLOSE: _fixed(_ID, BatchClose),
    PacketType.DATA: _data,
    PacketType.DATA_ACK: _fixed(_NUMBER, BatchDataAck),
    PacketType.REPEAT: _repeat,
    PacketType.DIRECT: _direct,
    PacketType.PING: _fixed(_COUNT, BatchPing),
    PacketType.PING_ACK: _fixed(_COUNT, BatchPingAck),
}
