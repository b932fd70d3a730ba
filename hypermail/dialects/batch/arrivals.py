"""
Data packets of the peer, dialect C{batch}: which have come, and what messages they make.

A message is a contiguous run of packets with one batch number, of which the first has the flag C{FIRST} and the last
the flag C{LAST}, and no other has either. What has come is believed: a packet that contradicts a neighbour is not taken
and not acknowledged. So what contradicts itself never becomes a message, nor does it seem to have arrived.
"""

from __future__ import annotations

from enum import Enum, auto

from hypermail.dialects.batch.packets import FIRST, LAST, BatchData
from hypermail.wire.numbers import MASK, expand
from hypermail.wire.ranges import RangeSet

#: Ranges of numbers that have come, at most. Who keeps to the original's window makes about ten; where a sender skips
#: numbers, one more stays.
MOST_RANGES = 256
#: Bytes of a piece, on average, below which pieces are bounded by their number instead of their bytes.
SMALL_PIECE = 256


class Receipt(Enum):
    """What becomes of a Data packet."""

    PIECE = auto()  #: taken: to be acknowledged at once
    WHOLE = auto()  #: taken, and its batch is complete: to be acknowledged when the message is settled
    REPEATED = auto()  #: known, and to be acknowledged again
    UNSETTLED = auto()  #: known, and not to be acknowledged yet
    CROWDED = auto()  #: not taken: there is no room
    SCATTERED = auto()  #: not taken: too many numbers are missing below it
    CONTRADICTED = auto()  #: not taken: it does not fit its neighbours
    TOO_LARGE = auto()  #: not taken: its batch would pass what a message may have


class _Pieces:
    """Packets of one batch, without a hole: C{start <= number < stop}."""

    __slots__ = ("batch", "bytes", "first", "last", "start", "stop")

    def __init__(self, number: int, batch: int, flags: int, size: int) -> None:
        self.start = number
        self.stop = number + 1
        self.batch = batch
        self.first = flags & FIRST != 0
        self.last = flags & LAST != 0
        self.bytes = size


class Arrivals:
    """
    What has come in one connection.

    @param most_message: bytes of a message, at most.
    @param most_bytes: bytes held of messages that are not settled, complete or not, at most. Beyond, only what
        continues the oldest incomplete message is taken, up to C{most_message} more, so that it can become whole.
    @param first: the number that the peer begins with.
    @ivar bytes: held of messages that are not complete.
    @ivar next: one more than the highest number that has come.
    @ivar message: the one that became complete last.
    """

    __slots__ = (
        "_most_bytes",
        "_most_message",
        "_most_pieces",
        "_payloads",
        "_seen",
        "_starts",
        "_stops",
        "_unsettled",
        "bytes",
        "message",
        "next",
    )

    def __init__(self, most_message: int, most_bytes: int, *, first: int = 1) -> None:
        self._most_message = most_message
        self._most_bytes = most_bytes
        self._most_pieces = most_bytes // SMALL_PIECE + SMALL_PIECE
        self._seen = RangeSet()
        self._unsettled: set[int] = set()
        self._payloads: dict[int, bytes] = {}
        self._starts: dict[int, _Pieces] = {}
        self._stops: dict[int, _Pieces] = {}
        self.bytes = 0
        self.next = first
        self.message = b""

    def take(self, data: BatchData, *, unsettled: int, full: bool) -> Receipt:
        """
        A packet has come.

        @param unsettled: bytes of complete messages that the application has not settled.
        @param full: whether it has no room for one more.
        """
        number = expand(data.number, self.next)
        if number in self._seen:
            return Receipt.UNSETTLED if number in self._unsettled else Receipt.REPEATED
        left, right = self._stops.get(number), self._starts.get(number + 1)
        if not self._fits(number, data, left, right):
            return Receipt.CONTRADICTED
        pieces = _Pieces(number, data.batch, data.flags, len(data.payload))
        before = None if pieces.first else left
        after = None if pieces.last else right
        size = pieces.bytes + (before.bytes if before else 0) + (after.bytes if after else 0)
        if size > self._most_message:
            return Receipt.TOO_LARGE
        if full or not self._has_room(number, unsettled):
            return Receipt.CROWDED
        if self._scatters(number):
            return Receipt.SCATTERED
        self._seen.add(number, number + 1)
        self.next = max(self.next, number + 1)
        self._payloads[number] = data.payload
        self.bytes += pieces.bytes
        self._join(pieces, before, after)
        if pieces.first and pieces.last:
            self._complete(pieces, number)
            return Receipt.WHOLE
        return Receipt.PIECE

    def settled(self, low: int) -> None:
        """The message that a packet has completed is settled. @param low: the packet's number, of 32 bits."""
        self._unsettled.discard(expand(low, self.next))

    def unsettled(self) -> list[int]:
        """The packets, by their numbers of 32 bits, that have completed messages which are not settled."""
        return [number & MASK for number in sorted(self._unsettled)]

    def acknowledged(self, low: int) -> bool:
        """Whether a packet has come and may be acknowledged. @param low: its number, of 32 bits."""
        number = expand(low, self.next)
        return number in self._seen and number not in self._unsettled

    def missing(self, start: int, stop: int, most: int) -> list[int]:
        """The lowest numbers of C{start <= number < stop} that have not come, of 32 bits, C{most} at most."""
        found: list[int] = []
        for low, high in self._seen.missing(start, stop):
            found += [number & MASK for number in range(low, min(high, low + most - len(found)))]
        return found

    def clear(self) -> None:
        """Nothing becomes whole any more."""
        self._payloads.clear()
        self._starts.clear()
        self._stops.clear()
        self.bytes = 0

    def _fits(self, number: int, data: BatchData, left: _Pieces | None, right: _Pieces | None) -> bool:
        """
        Whether a packet agrees with those beside it: with those that are held by their flags and batch; and those that
        have come and are not held were delivered, so that one has ended, or begun, a batch there.
        """
        if data.flags & FIRST:
            agrees = left is None or left.last
        elif left is None:
            agrees = number - 1 not in self._seen
        else:
            agrees = not left.last and left.batch == data.batch
        if not agrees:
            return False
        if data.flags & LAST:
            return right is None or right.first
        if right is None:
            return number + 1 not in self._seen
        return not right.first and right.batch == data.batch

    def _has_room(self, number: int, unsettled: int) -> bool:
        held, pieces = self.bytes + unsettled, len(self._payloads)
        if held < self._most_bytes and pieces < self._most_pieces:
            return True
        if held >= self._most_bytes + self._most_message or pieces >= 2 * self._most_pieces or not self._starts:
            return False
        return number <= self._starts[min(self._starts)].stop

    def _scatters(self, number: int) -> bool:
        seen = self._seen
        return len(seen) >= MOST_RANGES and number - 1 not in seen and number + 1 not in seen

    def _join(self, pieces: _Pieces, before: _Pieces | None, after: _Pieces | None) -> None:
        if before is not None:
            del self._starts[before.start], self._stops[before.stop]
            pieces.start, pieces.first = before.start, before.first
            pieces.bytes += before.bytes
        if after is not None:
            del self._starts[after.start], self._stops[after.stop]
            pieces.stop, pieces.last = after.stop, after.last
            pieces.bytes += after.bytes
        self._starts[pieces.start] = self._stops[pieces.stop] = pieces

    def _complete(self, pieces: _Pieces, number: int) -> None:
        del self._starts[pieces.start], self._stops[pieces.stop]
        payloads = self._payloads
        self.message = b"".join([payloads.pop(each) for each in range(pieces.start, pieces.stop)])
        self.bytes -= pieces.bytes
        self._unsettled.add(number)
