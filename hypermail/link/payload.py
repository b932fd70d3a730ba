"""
A datagram while it is being filled, and the record of it once it was sent.
"""

from __future__ import annotations

from typing import Protocol

from hypermail.link.delivery import Stamp


class Source(Protocol):
    """
    Whoever gave contents to a datagram and wants to know what became of them.

    Contents are addressed by a half-open range whose meaning is the source's own: bytes of a stream or a
    message, numbers of messages, the serial of a control packet. The same range may be lost more than
    once, and acknowledged after it was lost.
    """

    def acked(self, start: int, stop: int) -> None:
        """The peer's link has it."""

    def lost(self, start: int, stop: int) -> None:
        """It has to be sent again if it still matters."""


Content = tuple[Source, int, int]


class Payload:
    """
    What one datagram will carry.

    Those who fill it append to C{parts} and C{contents} and lower C{room}, without a call for each.

    @ivar parts: encoded packets, in order.
    @ivar contents: who is to hear of this datagram's fate. A datagram without any is not acknowledged.
    @ivar room: bytes that still fit.
    @ivar full: whether something did not fit any more, so that another datagram will follow.
    """

    __slots__ = ("contents", "full", "parts", "room")

    def __init__(self, room: int) -> None:
        self.parts: list[bytes] = []
        self.contents: list[Content] = []
        self.room = room
        self.full = False

    def add(self, packet: bytes) -> None:
        """Append one encoded packet that is known to fit."""
        self.parts.append(packet)
        self.room -= len(packet)


class Sent:
    """
    A datagram in flight.

    @ivar time: s, when it was sent.
    @ivar size: bytes on the wire.
    @ivar long: whether it was a long datagram.
    @ivar stamp: what had been delivered when it was sent; set by whoever watches over it.
    """

    __slots__ = ("contents", "long", "number", "size", "stamp", "time")

    stamp: Stamp

    def __init__(self, number: int, time: float, size: int, contents: list[Content], long: bool) -> None:
        self.number = number
        self.time = time
        self.size = size
        self.contents = contents
        self.long = long
