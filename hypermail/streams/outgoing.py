"""
The direction of a stream that we send in.
"""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING

from hypermail.errors import ProtocolViolation, UsageError
from hypermail.link.control import Control
from hypermail.link.payload import Payload, Run
from hypermail.streams.buffer import SendBuffer
from hypermail.streams.states import SENDING, Sending, SendingInput
from hypermail.wire.heads import Head
from hypermail.wire.packets import CHUNK, StreamChunkAck, StreamFlush, StreamLack
from hypermail.wire.ranges import RangeSet

if TYPE_CHECKING:
    from collections.abc import Callable

_STREAM_CHUNK = int(Head.STREAM_CHUNK)

#: Bytes of a chunk that are worth it when a datagram is nearly full.
LEAST_CHUNK = 64


class Outgoing:
    """
    Sends what the application writes up to the peer's limit, and again what was lost, until the peer has
    it. A source whose ranges are bytes.

    @param limit: how far the peer lets us send.
    @param most_unsent: bytes written and not sent at which the writer should pause.
    @param ready: called when there may be something to send.

    @ivar id: of the stream; -1 until it has one.
    @ivar state: where this direction is.
    @ivar later: whether the peer's application has paused reading.
    """

    __slots__ = (
        "_buffer",
        "_control",
        "_limit",
        "_most_unsent",
        "_next",
        "_resend",
        "_tell_ready",
        "_was_full",
        "id",
        "later",
        "state",
    )

    def __init__(self, id: int, limit: int, most_unsent: int, control: Control, ready: Callable[[], None]) -> None:
        self.id = id
        self._limit = limit
        self._most_unsent = most_unsent
        self._control = control
        self._tell_ready = ready
        self._buffer = SendBuffer()
        self._next = 0  # what was never sent begins here
        self._resend = RangeSet()
        self._was_full = False
        self.state = SENDING.initial
        self.later = False

    @property
    def over(self) -> bool:
        """Whether nothing more will be sent."""
        return self.state in (Sending.FLUSHED, Sending.CLEARED)

    @property
    def full(self) -> bool:
        """Whether the writer should pause."""
        full = self._buffer.stop - self._next >= self._most_unsent
        self._was_full = self._was_full or full
        return full

    @property
    def unsent(self) -> int:
        """Bytes written and never sent."""
        return self._buffer.stop - self._next

    @property
    def unacked(self) -> int:
        """Bytes that are kept because the peer may lack them."""
        return self._buffer.stop - self._buffer.start

    def take_drained(self) -> bool:
        """Whether a buffer that was full has room again; True once for each time."""
        if self._was_full and self.state is Sending.WRITING and self.unsent <= self._most_unsent // 2:
            self._was_full = False
            return True
        return False

    def write(self, data: bytes) -> None:
        """Take bytes. @raise UsageError: when this direction was finished."""
        if self.state is not Sending.WRITING:
            raise UsageError(f"stream {self.id} was finished; nothing more can be written")
        self._buffer.write(data)
        self._tell_ready()

    def finish(self) -> None:
        """Nothing more will be written; what was is still sent."""
        if self.state is Sending.WRITING:
            self.state = SENDING.next(self.state, SendingInput.FINISH)
            self._tell_ready()

    def clear(self) -> None:
        """Forget everything at once; what is over stays what it is."""
        if self.over:
            return
        self.state = SENDING.next(self.state, SendingInput.CLEAR)
        self._buffer.forget()
        self._next = self._buffer.stop
        self._resend = RangeSet()
        self._control.withdraw(("flush", self.id))

    def raise_limit(self, limit: int) -> None:
        """The peer lets us send further; the largest limit wins."""
        self.later = False
        if limit > self._limit:
            self._limit = limit
            self._tell_ready()

    # Sending

    @property
    def has_more(self) -> bool:
        """Whether something could be sent now."""
        if self._resend:
            return True
        if self._next < self._buffer.stop:
            return self._next < self._limit
        return self.state is Sending.FINISHING

    def fill(self, payload: Payload) -> int:
        """
        Put one chunk into a datagram; what was lost goes first.

        @return: bytes of it that were never sent before.
        """
        size = 0
        if self._resend:
            start, stop = self._resend.first()
            self._resend.remove(start, start + self._add(payload, start, stop))
        else:
            stop = min(self._buffer.stop, self._limit)
            if self._next < stop:
                size = self._add(payload, self._next, stop)
                self._next += size
        self._check_all_sent()
        return size

    def run(self, room: int, most: int) -> Run | None:
        """
        Chunks of new bytes that fill a datagram each; None when there are no two, or something was lost.

        @param room: bytes of a datagram.
        @param most: datagrams.
        """
        size, start = room - CHUNK.size, self._next
        count = min(most, (min(self._buffer.stop, self._limit) - start) // size)
        if self._resend or count < 2:
            return None
        self._next = stop = start + count * size
        # Without a loop of our own, which would take as long as the rest.
        heads = map(CHUNK.pack, repeat(_STREAM_CHUNK), repeat(self.id), range(start, stop, size), repeat(size))
        contents = self._buffer.cut(start, stop, size, list(heads))
        self._check_all_sent()
        return Run(self, start, size, contents)  # type: ignore[arg-type]

    def _check_all_sent(self) -> None:
        if self.state is Sending.FINISHING and self._next == self._buffer.stop:
            self.state = SENDING.next(self.state, SendingInput.ALL_SENT)
            self._control.put(("flush", self.id), StreamFlush(self.id, self._next))

    def _add(self, payload: Payload, start: int, stop: int) -> int:
        size = min(stop - start, payload.room - CHUNK.size)
        if size < min(stop - start, LEAST_CHUNK):
            payload.full = True
            return 0
        payload.parts.append(CHUNK.pack(_STREAM_CHUNK, self.id, start, size))
        payload.parts += self._buffer.read(start, start + size)  # type: ignore[arg-type]
        payload.room -= CHUNK.size + size
        payload.contents.append((self, start, start + size))
        if start + size < stop:
            payload.full = True
        return size

    # What the peer says

    def acked(self, start: int, stop: int) -> None:
        """The session's word (C{StreamChunkAck}) counts, not the link's."""

    def lost(self, start: int, stop: int) -> None:
        """Send it again, unless the peer has it."""
        start = max(start, self._buffer.start)
        if start < stop and not self.over:
            self._resend.add(start, stop)
            self._tell_ready()

    def take_ack(self, ack: StreamChunkAck) -> None:
        """
        Everything below an offset has arrived.

        @raise ProtocolViolation: when it was not sent.
        """
        if self.state is Sending.CLEARED:
            return
        if ack.offset > self._next:
            raise ProtocolViolation(f"the peer acknowledges byte {ack.offset} of stream {self.id}, never sent")
        self._buffer.release(ack.offset)
        self._resend.remove_below(ack.offset)

    def take_lack(self, lack: StreamLack, flying: RangeSet) -> None:
        """
        The peer misses ranges after our flush: send them again, but for those that may still arrive.

        @param flying: bytes that are in flight, for whose loss the link will find out.
        @raise ProtocolViolation: when they were never sent.
        """
        if self.state is not Sending.FLUSHING:
            return
        if lack.ranges and lack.ranges[-1][1] > self._next:
            raise ProtocolViolation(f"the peer lacks bytes of stream {self.id} that were never sent")
        for start, stop in lack.ranges:
            for low, high in flying.missing(start, stop):
                self.lost(low, high)

    def take_flush_ack(self) -> None:
        """The peer has it all. @raise ProtocolViolation: when we never said that this was all."""
        if self.state in (Sending.CLEARED, Sending.FLUSHED):
            return
        if self.state is not Sending.FLUSHING:
            raise ProtocolViolation(f"the peer acknowledges a flush of stream {self.id} that was never sent")
        self.state = SENDING.next(self.state, SendingInput.FLUSH_ACKED)
        self._buffer.forget()
        self._resend = RangeSet()
        self._control.withdraw(("flush", self.id))
