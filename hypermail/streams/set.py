"""
All streams of a session: numbers, limits, turns, events.
"""

from __future__ import annotations

from collections import deque
from functools import partial

from hypermail.errors import (
    HypermailError,
    LimitExceeded,
    ProtocolViolation,
    Reason,
    StreamCleared,
    StreamRejected,
    UsageError,
)
from hypermail.events import (
    Event,
    StreamAccepted,
    StreamData,
    StreamEnded,
    StreamFinished,
    StreamFlushed,
    StreamOptions,
    StreamRequested,
    StreamWritable,
)
from hypermail.link.control import Control
from hypermail.link.payload import Payload, Run
from hypermail.options import Options, Role
from hypermail.streams.flow import Pool
from hypermail.streams.incoming import Incoming
from hypermail.streams.outgoing import Outgoing
from hypermail.streams.states import OPENING, Opening, OpeningInput, Receiving, Sending
from hypermail.streams.stream import Stream
from hypermail.wire import packets as p
from hypermail.wire.parameters import Parameters
from hypermail.wire.ranges import RangeSet

#: Bytes that a C{StreamOpen} may have, so that it fits the smallest datagram beside its company.
MOST_OPEN = 1_024
#: Bytes of a stream's turn. What goes beyond counts for its next one (deficit round robin: Shreedhar, Varghese, 1995):
#: other content leaves room of any size, and whoever got less than others would be late by the sum of it.
TURN = 1_500


class Streams:
    """
    The streams of one session.

    The opener of a stream numbers it: 0, 2, 4 … by the starter, 1, 3, 5 … by the listener, without gaps,
    never twice. Every number up to the highest that was seen counts as open until it is over, so a peer
    can't commit us to more than it was told.

    @param peer: the peer's limits as far as they are known.
    @ivar control: the session's control packets.
    @ivar touched: streams that may have events; None for none.
    @ivar may_send: whether this side may send on streams.
    @ivar may_receive: whether the peer may.
    """

    __slots__ = (
        "_closing",
        "_ended",
        "_most_open",
        "_next",
        "_options",
        "_ours_open",
        "_peer_window",
        "_peers_over",
        "_peers_over_count",
        "_peers_seen",
        "_pool",
        "_ready",
        "_role",
        "_streams",
        "_waiting",
        "control",
        "may_receive",
        "may_send",
        "touched",
    )

    def __init__(self, role: Role, options: Options, peer: Parameters, control: Control) -> None:
        self._role = role
        self._options = options
        self._most_open = peer.max_streams
        self._peer_window = peer.stream_window
        self.may_send = True
        self.may_receive = True
        self.control = control
        self._pool: Pool | None = None  # made for the first that is received
        self._streams: dict[int, Stream] = {}
        self._waiting: deque[Stream] | None = None  # for the peer's limit; made for the first
        self._ready: deque[Stream] | None = None  # stands in line for sending; made for the first
        self.touched: list[Stream] | None = None  # while there are any
        self._next = 0  # index of our next stream
        self._ours_open = 0
        self._peers_seen = 0  # one more than the highest index of the peer's
        self._peers_over: RangeSet | None = None  # made for the first
        self._peers_over_count = 0
        self._closing = False
        self._ended = False

    def __len__(self) -> int:
        """How many streams are not over."""
        return len(self._streams) + len(self._waiting or ())

    @property
    def _all(self) -> tuple[Stream, ...]:
        return (*self._streams.values(), *(self._waiting or ()))

    def statistics(self) -> dict[str, int]:
        """Counters, for people to look at."""
        streams = self._streams.values()
        return {
            "streams": len(self),
            "streams_opened": self._next + self._peers_seen,
            "streams_paused_by_peer": sum(stream.outgoing.later for stream in streams),
            "streams_bytes_unacked": sum(stream.outgoing.unacked for stream in streams),
            "streams_bytes_held": sum(stream.incoming.buffered for stream in streams),
        }

    def learn(self, peer: Parameters) -> None:
        """The peer has told its limits."""
        self._most_open = peer.max_streams
        self._peer_window = peer.stream_window
        for stream in self._streams.values():
            stream.outgoing.raise_limit(peer.stream_window)
        self._allow()

    # The application's side

    def open(self, name: bytes, options: StreamOptions) -> Stream:
        """
        Open a stream; it waits while the peer's limit of open streams is reached.

        @raise UsageError: when name and attributes are too long.
        """
        size = len(p.StreamOpen(0, name, _attributes(options), options.length).encode())
        if size > MOST_OPEN:
            raise UsageError(f"a stream's name and attributes take {size} bytes, {MOST_OPEN} are allowed")
        stream = Stream(self, True, name, options, Opening.WAITING)
        if self._waiting is None:
            self._waiting = deque()
        self._waiting.append(stream)
        self._allow()
        return stream

    def _allow(self) -> None:
        """Request streams that wait, as many as the peer allows."""
        while self._waiting and self._ours_open < self._most_open:
            stream = self._waiting.popleft()
            if stream.opening is not Opening.WAITING:
                continue
            stream.opening = OPENING.next(stream.opening, OpeningInput.ALLOWED)
            stream.name_it(self._next << 1 | self._role)
            self._next += 1
            self._ours_open += 1
            self._streams[stream.id] = stream
            options = stream.options
            self.control.put(
                ("open", stream.id), p.StreamOpen(stream.id, stream.name, options.attributes, options.length)
            )
            self.queue(stream)
        if not self._waiting:
            self._waiting = None

    def finish_all(self) -> None:
        """The session closes: what was written is still sent, and no new stream of the peer's is taken."""
        self._closing = True
        for stream in self._all:
            stream.finish()

    @property
    def idle(self) -> bool:
        """Whether the peer has everything that was written."""
        undecided = (Opening.UNSEEN, Opening.OFFERED)
        return all(stream.outgoing.over or stream.opening in undecided for stream in self._all)

    def end_all(self, error: HypermailError) -> None:
        """The session is over, and so is every stream; none comes to be any more."""
        self._ended = True
        for stream in self._all:
            stream.end(None if stream.over else error)
        self._waiting = None

    def peer_restarted(self, error: HypermailError, now: float) -> list[Event]:
        """
        The peer remembers nothing of any stream: all end, and numbers begin again.

        @return: what the application is to be told of it.
        """
        self.end_all(error)
        events = self.take_events(now, 0.0)
        self._ended = False
        self._ready = self._peers_over = None
        self._next = self._ours_open = self._peers_seen = self._peers_over_count = 0
        return events

    # For streams

    def new_outgoing(self, stream: Stream) -> Outgoing:
        """The sending direction of a new stream; over at once where this side may not send."""
        outgoing = Outgoing(
            stream.id, self._peer_window, self._options.stream_buffer, self.control, partial(self.queue, stream)
        )
        if not self.may_send:
            outgoing.state = Sending.FLUSHED
        return outgoing

    def new_incoming(self, stream: Stream) -> Incoming:
        """The receiving direction of a new stream; over at once where the peer may not send."""
        options = self._options
        if self._pool is None:
            self._pool = Pool(options.stream_window, options.stream_pool, options.stream_pool_max)
        incoming = Incoming(stream.id, options.stream_window, self._pool, self.control)
        if not self.may_receive:
            incoming.state = Receiving.DELIVERED
        return incoming

    def queue(self, stream: Stream) -> None:
        """A stream may have something to send: it stands in line."""
        if not stream.queued and stream.opening in (Opening.REQUESTED, Opening.ACCEPTED):
            stream.queued = True
            if self._ready is None:
                self._ready = deque()
            self._ready.append(stream)

    def touch(self, stream: Stream) -> None:
        """A stream may have events."""
        if not stream.touched:
            stream.touched = True
            if self.touched is None:
                self.touched = []
            self.touched.append(stream)

    # Sending

    @property
    def has_more(self) -> bool:
        """Whether anything could be sent."""
        ready = self._ready
        while ready and not ready[0].outgoing.has_more:
            ready.popleft().queued = False
        return bool(ready)

    def fill(self, payload: Payload) -> None:
        """Put chunks into a datagram, the streams taking turns."""
        ready = self._ready
        while ready and not payload.full:
            stream = ready[0]
            outgoing = stream.outgoing
            if outgoing.has_more:
                stream.had += outgoing.fill(payload)
                self.touch(stream)
            if not outgoing.has_more:
                ready.popleft().queued = False
                continue
            if stream.had >= TURN:
                stream.had = min(stream.had - TURN, TURN)
                ready.rotate(-1)

    def run(self, room: int, most: int) -> Run | None:
        """
        Datagrams that are full of one stream, when no other one has anything to send; None when there are no two.

        @param room: bytes that each holds.
        @param most: how many at most.
        """
        ready = self._ready
        if not ready or len(ready) > 1:
            return None
        run = ready[0].outgoing.run(room, most)
        if run is not None:
            self.touch(ready[0])
        return run

    # Receiving

    def receive_chunk(self, chunk: p.StreamChunk) -> None:
        """Bytes of a stream. @raise ProtocolViolation: when the peer breaks a rule."""
        incoming = self.receiver(chunk.id)
        if incoming is not None:
            incoming.receive(chunk.offset, chunk.data)

    def receiver(self, id: int) -> Incoming | None:
        """
        Where bytes of a stream go; None when it is over.

        @raise ProtocolViolation: when the peer may not send them.
        """
        stream = self._find(id)
        if stream is None:
            return None
        self._check_way()
        self.touch(stream)
        return stream.incoming

    def receive_flush(self, flush: p.StreamFlush) -> None:
        """The end of the peer's direction."""
        stream = self._find(flush.id)
        if stream is not None:
            self._check_way()
            stream.incoming.receive_flush(flush)
            self.touch(stream)

    def _check_way(self) -> None:
        if not self.may_receive:
            raise ProtocolViolation("the peer sends on a stream of a session that it only reads", Reason.WRONG_WAY)

    def receive_open(self, packet: p.StreamOpen) -> None:
        """The peer opens a stream."""
        if packet.id & 1 == self._role:
            raise ProtocolViolation(f"the peer opens stream {packet.id}, a number of ours")
        stream = self._find(packet.id)
        if stream is None or stream.opening is not Opening.UNSEEN:
            return
        stream.opening = OPENING.next(stream.opening, OpeningInput.OPEN_RECEIVED)
        stream.name = packet.name
        stream.options = StreamOptions(packet.attributes, packet.length)
        if self._closing:
            stream.refuse(Reason.SHUTTING_DOWN, "the session is closing")
        self.touch(stream)

    def receive_open_ack(self, ack: p.StreamOpenAck) -> None:
        """The peer's application has answered our open."""
        stream = self._ours(ack.id)
        if stream is None or stream.opening is not Opening.REQUESTED:
            return
        if ack.limit is None:
            stream.end(StreamRejected(ack.text, ack.code))
            return
        stream.opening = OPENING.next(stream.opening, OpeningInput.ACCEPT)
        stream.outgoing.raise_limit(ack.limit)
        if not stream.incoming.over:
            stream.incoming.accept()
        self.touch(stream)

    def receive_chunk_ack(self, ack: p.StreamChunkAck) -> None:
        """The peer has bytes of ours."""
        stream = self._find(ack.id)
        if stream is not None:
            stream.outgoing.take_ack(ack)

    def receive_flush_ack(self, ack: p.StreamFlushAck) -> None:
        """The peer has all of a direction of ours."""
        stream = self._find(ack.id)
        if stream is not None:
            stream.outgoing.take_flush_ack()
            self.touch(stream)

    def receive_go(self, go: p.StreamGo) -> None:
        """The peer raises a limit."""
        stream = self._find(go.id)
        if stream is not None:
            stream.outgoing.raise_limit(go.limit)

    def receive_later(self, later: p.StreamLater) -> None:
        """The peer's application has paused."""
        stream = self._find(later.id)
        if stream is not None:
            stream.outgoing.later = True

    def tell_offsets(self) -> None:
        """The session has another link: say how far the streams have come, so that no more is sent again than that."""
        for stream in self._streams.values():
            if stream.opening is Opening.ACCEPTED:
                incoming = stream.incoming
                self.control.put(("reopen", stream.id), p.StreamReopen(stream.id, incoming.offset, incoming.limit))

    def receive_reopen(self, packet: p.StreamReopen | p.StreamReopenAck) -> None:
        """
        The peer says over another link how far a stream has come.

        @raise ProtocolViolation: when that was never sent.
        """
        stream = self._find(packet.id)
        if stream is None:
            return
        stream.outgoing.take_ack(p.StreamChunkAck(packet.id, packet.offset))
        stream.outgoing.raise_limit(packet.limit)
        if type(packet) is p.StreamReopen:
            incoming = stream.incoming
            self.control.put(("reopen", stream.id), p.StreamReopenAck(stream.id, incoming.offset, incoming.limit))

    def receive_clear(self, clear: p.StreamClear) -> None:
        """The peer ends a stream abnormally."""
        stream = self._find(clear.id)
        if stream is not None:
            stream.end(StreamCleared(clear.text, clear.code))

    def sender(self, id: int) -> Outgoing | None:
        """The sending direction of a stream that isn't over."""
        stream = self._find(id)
        return None if stream is None else stream.outgoing

    def _ours(self, id: int) -> Stream | None:
        if id & 1 != self._role:
            raise ProtocolViolation(f"the peer answers the opening of stream {id}, its own")
        return self._find(id)

    def _find(self, id: int) -> Stream | None:
        """
        A stream by its number; None when it is over. One of the peer's that was never seen comes to be:
        its open is on the way.
        """
        stream = self._streams.get(id)
        if stream is not None:
            return stream
        index = id >> 1
        if id & 1 == self._role:
            if index >= self._next:
                raise ProtocolViolation(f"the peer speaks of stream {id}, which was never opened")
            return None
        if self._ended or (self._peers_over is not None and index in self._peers_over):
            return None
        self._peers_seen = max(self._peers_seen, index + 1)
        if self._peers_seen - self._peers_over_count > self._options.max_streams:
            raise LimitExceeded(f"stream {id} would be one more than the {self._options.max_streams} that are allowed")
        stream = Stream(self, False, b"", StreamOptions(), Opening.UNSEEN)
        stream.name_it(id)
        self._streams[id] = stream
        return stream

    # Events

    def take_events(self, now: float, round_trip: float) -> list[Event]:
        """
        What the application is to be told of streams.

        @param round_trip: s, of the link.
        """
        events: list[Event] = []
        touched = self.touched
        if touched:
            self.touched = None
            for stream in touched:
                stream.touched = False
                self._tell(stream, events, now, round_trip)
        return events

    def _tell(self, stream: Stream, events: list[Event], now: float, round_trip: float) -> None:
        if stream.opening is Opening.OFFERED and not stream.told_of:
            stream.told_of = True
            events.append(StreamRequested(stream))
        if stream.opening is Opening.ACCEPTED:
            if stream.ours and not stream.told_accepted:
                stream.told_accepted = True
                events.append(StreamAccepted(stream))
            self._tell_progress(stream, events, now, round_trip)
            if stream.over:
                stream.end(None)
        if stream.opening is Opening.OVER and not stream.told_ended:
            stream.told_ended = True
            self._tell_flushed(stream, events)
            if stream.id >= 0:
                self._forget(stream)
            elif self._waiting and stream in self._waiting:
                self._waiting.remove(stream)
            if stream.told_of:
                events.append(StreamEnded(stream, stream.error))

    def _tell_progress(self, stream: Stream, events: list[Event], now: float, round_trip: float) -> None:
        pieces = stream.incoming.take_ready(now, round_trip)
        if pieces:
            events.append(StreamData(stream, pieces))
        if stream.incoming.take_finished():
            events.append(StreamFinished(stream))
        if stream.outgoing.take_drained():
            events.append(StreamWritable(stream))
        self._tell_flushed(stream, events)

    def _tell_flushed(self, stream: Stream, events: list[Event]) -> None:
        if stream.outgoing.state is Sending.FLUSHED and not stream.told_flushed:
            stream.told_flushed = True
            events.append(StreamFlushed(stream))

    def _forget(self, stream: Stream) -> None:
        """A stream is over: its number is never used again."""
        del self._streams[stream.id]
        if not self._streams:  # and so nothing that is not over stands in line
            self._streams.clear()
            self._ready = None
        if not stream.ours:
            if self._peers_over is None:
                self._peers_over = RangeSet()
            self._peers_over.add(stream.id >> 1, (stream.id >> 1) + 1)
            self._peers_over_count += 1
        elif not any(self.control.when_acked((key, stream.id), self._one_less) for key in ("flushack", "clear")):
            self._one_less()

    def _one_less(self) -> None:
        """The peer knows that one of our streams is over, so another may be opened."""
        self._ours_open -= 1
        self._allow()


def _attributes(options: StreamOptions) -> dict[str, bytes]:
    """The attributes of a stream. @raise UsageError: when they can't be written."""
    for key, value in options.attributes.items():
        if len(key.encode("utf-8")) > 255 or not isinstance(value, bytes):
            raise UsageError(f"attribute {key!r}: a name of at most 255 bytes of UTF-8, and a value of bytes")
    if len(options.attributes) > 255:
        raise UsageError("a stream has at most 255 attributes")
    return dict(options.attributes)
