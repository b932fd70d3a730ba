"""
The handshake's bytes: one ordered stream in each direction, carried in C{Handshake} packets.
"""

from __future__ import annotations

from hypermail.errors import LimitExceeded
from hypermail.link.payload import Payload
from hypermail.wire.packets import HANDSHAKE, Handshake
from hypermail.wire.ranges import RangeSet
from hypermail.wire.reassembly import Reassembly

#: Bytes of a handshake in one direction, at most.
MAX_HANDSHAKE = 65_536


class Flight:
    """
    Sends one side's flights and puts the other's together.

    A flight may be empty, as in mode C{plain}; it is still announced, and acknowledged, as a packet without
    bytes. A L{hypermail.link.payload.Source} whose ranges are bytes.
    """

    __slots__ = ("_acked", "_announce", "_data", "_incoming", "_waiting")

    def __init__(self) -> None:
        self._data = b""
        self._waiting = RangeSet()
        self._announce = False
        self._acked = RangeSet()
        self._incoming = Reassembly()

    @property
    def waiting(self) -> bool:
        """Whether anything should leave."""
        return self._announce or len(self._waiting) > 0

    @property
    def unheard(self) -> bool:
        """Whether the peer has not acknowledged all of what it was sent."""
        return bool(self._data) and len(self._acked.missing(0, len(self._data))) > 0

    def send(self, data: bytes) -> None:
        """Queue a flight."""
        self._waiting.add(len(self._data), len(self._data) + len(data))
        self._data += data
        self._announce = self._announce or not data

    def fill(self, payload: Payload) -> None:
        """Put bytes of the flight into a datagram."""
        while payload.room > HANDSHAKE.size and self._waiting:
            start, stop = self._waiting.first()
            stop = min(stop, start + payload.room - HANDSHAKE.size)
            payload.add(Handshake(start, self._data[start:stop]).encode())
            payload.contents.append((self, start, stop))
            self._waiting.remove(start, stop)
            self._announce = False
        if self._announce:
            payload.add(Handshake(len(self._data), b"").encode())
            payload.contents.append((self, len(self._data), len(self._data)))
            self._announce = False
        payload.full = payload.full or self.waiting

    def receive(self, packet: Handshake) -> list[bytes]:
        """
        Take a packet of the peer's flight.

        @return: pieces that are now in order; an empty flight gives one empty piece.
        @raise LimitExceeded: for a handshake that never ends.
        """
        if packet.offset + len(packet.data) > MAX_HANDSHAKE:
            raise LimitExceeded(f"a handshake of more than {MAX_HANDSHAKE} bytes")
        if not packet.data:
            return [b""] if packet.offset == self._incoming.offset else []
        return self._incoming.add(packet.offset, packet.data, MAX_HANDSHAKE)

    def acked(self, start: int, stop: int) -> None:
        """The peer's link has it."""
        self._acked.add(start, stop)

    def lost(self, start: int, stop: int) -> None:
        """Send it again."""
        if start == stop:
            self._announce = True
        self._waiting.add(start, stop)
