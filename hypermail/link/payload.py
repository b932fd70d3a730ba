"""
A datagram while it is being filled, and the record of it once it was sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

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

    __slots__ = ("_capacity", "contents", "full", "parts", "room")

    def __init__(self, room: int) -> None:
        self._capacity = room
        self.parts: list[bytes] = []
        self.contents: list[Content] = []
        self.room = room
        self.full = False

    @property
    def size(self) -> int:
        """Bytes that it holds."""
        return self._capacity - self.room

    def add(self, packet: bytes) -> None:
        """Append one encoded packet that is known to fit."""
        self.parts.append(packet)
        self.room -= len(packet)


class Run(NamedTuple):
    """
    Datagrams that are filled alike, each to the last byte, with equal shares of one source's contents.

    @ivar source: whose contents they hold.
    @ivar start: where those begin.
    @ivar step: how much of them each holds.
    @ivar contents: of each datagram, in pieces.
    """

    source: Source
    start: int
    step: int
    contents: Sequence[Sequence[bytes]]


class Sent:
    """
    A datagram in flight, or several that left together and are filled alike: see L{Run}.

    @ivar number: of the datagram; the highest of several, whose numbers follow each other.
    @ivar time: s, when it was sent.
    @ivar size: bytes on the wire, of each.
    @ivar contents: of all of them.
    @ivar long: whether it was a long datagram.
    @ivar count: how many they are.
    @ivar step: how much of the only contents each of several holds.
    @ivar stamp: what had been delivered when it was sent; set by whoever watches over it.
    """

    __slots__ = ("contents", "count", "long", "number", "size", "stamp", "step", "time")

    stamp: Stamp

    def __init__(
        self,
        number: int,
        time: float,
        size: int,
        contents: list[Content],
        long: bool,
        count: int = 1,
        step: int = 0,
    ) -> None:
        self.number = number
        self.time = time
        self.size = size
        self.contents = contents
        self.long = long
        self.count = count
        self.step = step

    @property
    def first(self) -> int:
        """The lowest number."""
        return self.number - self.count + 1

    @property
    def total(self) -> int:
        """Bytes on the wire, of all."""
        return self.size * self.count

    def cut(self, count: int) -> Sent:
        """Take out the first C{count} of several, fewer than all."""
        ((source, start, stop),) = self.contents
        middle = start + count * self.step
        taken = Sent(self.first + count - 1, self.time, self.size, [(source, start, middle)], False, count, self.step)
        taken.stamp = self.stamp
        self.count -= count
        self.contents = [(source, middle, stop)]
        return taken

    def each(self) -> Iterator[Sent]:
        """Every datagram by itself."""
        if self.count == 1:
            yield self
            return
        ((source, start, _),) = self.contents
        for number in range(self.first, self.number + 1):
            one = Sent(number, self.time, self.size, [(source, start, start + self.step)], False)
            one.stamp = self.stamp
            start += self.step
            yield one
