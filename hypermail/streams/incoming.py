"""
The direction of a stream that we receive in.
"""

from __future__ import annotations

from collections.abc import Sequence

from hypermail.errors import LimitExceeded, ProtocolViolation
from hypermail.link.control import Control
from hypermail.streams.flow import Pool
from hypermail.streams.states import RECEIVING, Receiving, ReceivingInput
from hypermail.wire.fields import Data
from hypermail.wire.packets import (
    StreamChunkAck,
    StreamFlush,
    StreamFlushAck,
    StreamGo,
    StreamLack,
    StreamLater,
)
from hypermail.wire.reassembly import Reassembly

#: Ranges in one C{StreamLack}.
MOST_LACKING = 32
#: A chunk acknowledgement is worth it at so many parts of what the stream may carry.
ACK_PARTS = 8
#: Windows that a stream is to have beyond its own when its reader begins, and by how much that grows whenever it lasts
#: for less than four round trips: a datagram that is lost holds up the reader for two of them, and the sender must not
#: come to the limit meanwhile, least of all in slow start.
FIRST_WANTED = 64
GROWTH = 4


class Incoming:
    """
    Puts arriving chunks in order, gives them to the application, and says how far the peer may send.

    @param limit: how far the peer may send before anything was said.

    @ivar id: of the stream; -1 until it has one.
    @ivar limit: how far the peer may send.
    @ivar state: where this direction is.
    @ivar paused: whether the application wants nothing for now.
    """

    __slots__ = (
        "_acked",
        "_bytes",
        "_control",
        "_delivered",
        "_granted",
        "_length",
        "_pool",
        "_raised_at",
        "_reading",
        "_ready",
        "_told_later",
        "_wanted",
        "id",
        "limit",
        "paused",
        "state",
    )

    def __init__(self, id: int, limit: int, pool: Pool, control: Control) -> None:
        self.id = id
        self.limit = limit
        self._pool = pool
        self._control = control
        self._bytes = Reassembly()
        self._ready: list[Data] = []
        self._delivered = 0
        self._acked = 0
        self._length: int | None = None
        self._granted = 0
        self._wanted = pool.window
        self._raised_at = 0.0
        self._told_later = False
        self._reading = False
        self.state = RECEIVING.initial
        self.paused = False

    @property
    def over(self) -> bool:
        """Whether nothing more will be received."""
        return self.state in (Receiving.DELIVERED, Receiving.CLEARED)

    @property
    def _open(self) -> bool:
        """Whether bytes are still missing."""
        return self.state in (Receiving.READING, Receiving.FLUSHED)

    @property
    def offset(self) -> int:
        """Bytes that have arrived without a gap."""
        return self._bytes.offset

    @property
    def buffered(self) -> int:
        """Bytes that have arrived and are not with the application."""
        return self._bytes.offset - self._delivered + self._bytes.waiting

    # What the peer sends

    def receive(self, offset: int, data: Data) -> None:
        """
        Take a chunk.

        @raise LimitExceeded: when it goes past the limit that the peer was told.
        @raise ProtocolViolation: when it goes past the length that the peer has told.
        """
        self.receive_pieces(offset, (data,))

    def receive_pieces(self, offset: int, pieces: Sequence[Data]) -> None:
        """
        Take chunks that follow each other; the errors are those of L{receive}.

        @param pieces: views are given on to an application that reads, and copied for one that does not.
        """
        state = self.state
        if state is not Receiving.READING and state is not Receiving.FLUSHED:
            return
        stop = offset + sum(map(len, pieces))
        if stop > self.limit:
            raise LimitExceeded(f"byte {stop} of stream {self.id}, {self.limit} are allowed")
        if self._length is not None and stop > self._length:
            raise ProtocolViolation(f"byte {stop} of stream {self.id}, whose length is {self._length}")
        if self._reading and not self.paused and self._bytes.follow(offset, stop):
            self._ready += pieces
        else:
            for data in pieces:
                self._ready += self._bytes.add(offset, data, self.limit - self._delivered)
                offset += len(data)
        if state is Receiving.FLUSHED:
            self._check_complete()

    def receive_flush(self, flush: StreamFlush) -> None:
        """
        The peer has sent everything.

        @raise ProtocolViolation: when the length contradicts what was said or sent before.
        """
        if self.state is Receiving.CLEARED:
            return
        if flush.length < self._bytes.highest or self._length not in (None, flush.length):
            said = self._bytes.highest if self._length is None else self._length
            raise ProtocolViolation(f"stream {self.id} has {said} bytes, or {flush.length}?")
        if flush.length > self.limit:
            raise LimitExceeded(f"length {flush.length} of stream {self.id}, {self.limit} are allowed")
        self._length = flush.length
        self.state = RECEIVING.next(self.state, ReceivingInput.FLUSH)
        self._check_complete()
        if self.state is Receiving.FLUSHED:
            lacking = tuple(self._bytes.missing(flush.length)[:MOST_LACKING])
            self._control.put(("flushack", self.id), StreamLack(self.id, lacking))

    def _check_complete(self) -> None:
        if self.state is Receiving.FLUSHED and self._bytes.offset == self._length:
            self.state = RECEIVING.next(self.state, ReceivingInput.ALL_RECEIVED)
            for key in ("ack", "limit", "later"):
                self._control.withdraw((key, self.id))

    # What the application does

    def accept(self) -> None:
        """
        The application reads. Nothing is taken out of the pool yet: of streams that begin together none knows of those
        that follow, and the first ones would have it all.
        """
        self._reading = True
        self._pool.join()
        self._wanted = FIRST_WANTED * self._pool.window

    def take_ready(self, now: float, round_trip: float) -> list[Data]:
        """
        What the application is given now, in order: nothing while it is paused or hasn't accepted.

        @param round_trip: s, of the link.
        """
        if self.paused or not self._reading or not self._ready:
            return []
        ready = self._ready
        self._ready = []
        size = sum(map(len, ready))
        self._delivered += size
        self._pool.delivered(size, now, round_trip)
        if self._open:
            self._go_on(now, round_trip)
        return ready

    def take_finished(self) -> bool:
        """
        Whether the application has just been given everything; True once.

        Only then is the flush acknowledged, so that what is acknowledged holds no memory here.
        """
        if not self._all_given:
            return False
        self.state = RECEIVING.next(self.state, ReceivingInput.ALL_DELIVERED)
        self._leave()
        self._control.put(("flushack", self.id), StreamFlushAck(self.id))
        return True

    @property
    def _all_given(self) -> bool:
        return self.state is Receiving.COMPLETE and self._delivered == self._length and self._reading

    def pause(self) -> None:
        """The application wants nothing for now: tell the peer that no raise will come."""
        if self.paused:
            return
        self.paused = True
        if self._reading and self._open and not self._told_later:
            self._told_later = True
            self._control.put(("later", self.id), StreamLater(self.id))

    def resume(self) -> None:
        """The application wants more."""
        if not self.paused:
            return
        self.paused = False
        self._control.withdraw(("later", self.id))
        if self._told_later and self._open:
            self._told_later = False
            self._tell_limit()

    def clear(self) -> None:
        """Forget everything at once; what is over stays what it is, and its last word is still said."""
        if self.over:
            return
        self.state = RECEIVING.next(self.state, ReceivingInput.CLEAR)
        self._ready.clear()
        self._bytes.forget()
        for key in ("ack", "limit", "later", "flushack"):
            self._control.withdraw((key, self.id))
        self._leave()

    def _leave(self) -> None:
        if self._reading:
            self._pool.leave(self._granted)
            self._granted = 0

    # Limits

    def _go_on(self, now: float, round_trip: float) -> None:
        """The application has read: acknowledge and raise the limit when it is worth a packet."""
        carried = self.limit - self._delivered
        span = carried + (self._delivered - self._acked)
        if (self._delivered - self._acked) * ACK_PARTS >= span:
            self._acked = self._bytes.offset
            self._control.put(("ack", self.id), StreamChunkAck(self.id, self._acked))
        if carried * 2 <= self._pool.window + self._granted:
            if self._granted and now - self._raised_at < 4 * round_trip:
                self._wanted *= GROWTH  # what was granted lasts for less than it takes to grant more
            self._raised_at = now
            before = self.limit
            self._raise()
            if self.limit > before:
                self._tell_limit()

    def _raise(self) -> None:
        """Raise the limit to what is delivered, the stream's own window, and a share of the pool."""
        self._pool.give_back(self._granted)
        held = max(0, self.limit - self._delivered - self._pool.window)
        self._wanted = min(self._wanted, self._pool.size)
        self._granted = self._pool.grant(max(self._wanted, held))
        if self._granted < held:  # what was said can't be unsaid
            self._pool.keep(held - self._granted)
            self._granted = held
        self.limit = max(self.limit, self._delivered + self._pool.window + self._granted)

    def _tell_limit(self) -> None:
        self._control.put(("limit", self.id), StreamGo(self.id, self.limit))
