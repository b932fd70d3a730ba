"""
Applications on the raw core: what a side of a simulated session does with what happens.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from hypermail import events as e
from hypermail.errors import HypermailError

if TYPE_CHECKING:
    from hypermail.messages.incoming import IncomingLane
    from hypermail.streams.stream import Stream
    from hypermail.testing.side import Side

#: Bytes that are written to a stream at once.
PIECE = 64 << 10


class Received(NamedTuple):
    """
    A message as it was delivered.

    @ivar number: within its lane.
    @ivar data: whole.
    """

    number: int
    data: bytes


class GatheredStream:
    """
    What has come of one stream.

    @ivar stream: the core's.
    @ivar data: everything received so far.
    @ivar finished: whether that is all of it.
    @ivar flushed: whether the peer has all of ours.
    @ivar ended: whether it is over.
    @ivar error: why, when it did not finish both ways.
    """

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.data = bytearray()
        self.finished = False
        self.flushed = False
        self.ended = False
        self.error: HypermailError | None = None


class Application:
    """
    Accepts the session, takes messages at once, accepts streams and gathers what they bring, finishing its
    own direction when the peer's is complete. Override what should be otherwise.

    Callbacks may call anything of C{self.side} and C{self.side.connection}.

    @param rejection: when given, sessions are rejected with its code and text.
    @param decision_delay: s that the decision about a session takes.
    @param verdict_delay: s that the verdict on messages takes.
    @param refusal: when given, streams are refused with its code and text.
    @param taken: what it has taken in a session of before a restart, by its own records; see L{Connection.accept}.

    @ivar side: set before the first callback.
    @ivar opened: whether the session has opened.
    @ivar received: messages by lane, in the order of delivery.
    @ivar directs: direct messages, in the order of arrival.
    @ivar streams: streams by number, those of either side.
    @ivar pings: s, of each ping that was answered.
    @ivar suspensions: why the session has lost each of its links.
    @ivar resumptions: for each time that it has got another, whether the peer had been restarted.
    @ivar error: what the session has ended with.
    """

    side: Side

    def __init__(
        self,
        *,
        rejection: HypermailError | None = None,
        decision_delay: float = 0.0,
        verdict_delay: float = 0.0,
        refusal: HypermailError | None = None,
        taken: Mapping[int, int] = {},
    ) -> None:
        self.rejection = rejection
        self.decision_delay = decision_delay
        self.verdict_delay = verdict_delay
        self.refusal = refusal
        self.taken = taken
        self.opened = False
        self.received: dict[int, list[Received]] = {}
        self.directs: list[bytes] = []
        self.streams: dict[int, GatheredStream] = {}
        self.pings: list[float] = []
        self.suspensions: list[HypermailError] = []
        self.resumptions: list[bool] = []
        self.error: HypermailError | None = None
        self._paused = False
        self._verdicts: list[Callable[[], None]] = []
        self._to_send: deque[tuple[int, bytes]] = deque()
        self._to_write: dict[Stream, memoryview] = {}

    # What an application may do, besides what C{self.side} offers

    def later(self, delay: float, call: Callable[[], object]) -> None:
        """
        Do something later, unless the session is over by then.

        @param delay: s; 0 is at once.
        """
        if not delay:
            call()
            return

        def fire() -> None:
            if self.error is None and not self.side.node.stopped:
                call()
                self.side.touch()

        self.side.network.call_at(self.side.network.now + delay, fire)

    def send_all(self, messages: Iterable[tuple[int, bytes]]) -> None:
        """
        Send messages with back pressure: as many as there is room for, the others as there is room again.

        @param messages: (lane, data).
        """
        self._to_send.extend(messages)
        self._send_more()

    def _send_more(self) -> None:
        while self._to_send and not self.side.connection.messages_full:
            lane, data = self._to_send.popleft()
            self.side.send_message(data, lane=lane)

    def write_all(self, stream: Stream, data: bytes) -> None:
        """Write to a stream with back pressure, and finish it."""
        self._to_write[stream] = memoryview(data)
        self._write_more(stream)

    def _write_more(self, stream: Stream) -> None:
        rest = self._to_write.get(stream)
        if rest is None:
            return
        while rest and not stream.full:
            stream.write(bytes(rest[:PIECE]))
            rest = self._to_write[stream] = rest[PIECE:]
        if not rest:
            del self._to_write[stream]
            stream.finish()

    @property
    def busy(self) -> bool:
        """Whether L{send_all} or L{write_all} still have something that there was no room for."""
        return bool(self._to_send or self._to_write)

    def pause(self) -> None:
        """Take no messages and read no streams, until L{resume}."""
        self._paused = True
        for gathered in self.streams.values():
            if not gathered.ended:
                gathered.stream.pause()
        self.side.touch()

    def resume(self) -> None:
        """Go on."""
        self._paused = False
        for gathered in self.streams.values():
            if not gathered.ended:
                gathered.stream.resume()
        verdicts, self._verdicts = self._verdicts, []
        for verdict in verdicts:
            verdict()
        self.side.touch()

    # Callbacks

    def session_requested(self, event: e.SessionRequested) -> None:
        """Accept, or reject when there is a C{rejection}."""
        self.later(self.decision_delay, self._decide)

    def _decide(self) -> None:
        connection, now = self.side.connection, self.side.network.now
        if self.rejection is None:
            connection.accept(self.taken, now=now)
        else:
            connection.reject(self.rejection.code, self.rejection.text, now=now)

    def session_opened(self, event: e.SessionOpened) -> None:
        """Note it."""
        self.opened = True

    def session_suspended(self, event: e.SessionSuspended) -> None:
        """Note it."""
        self.suspensions.append(event.error)

    def session_resumed(self, event: e.SessionResumed) -> None:
        """Note it."""
        self.resumptions.append(event.restarted)

    def session_closing(self, event: e.SessionClosing) -> None:
        """The peer closes."""

    def session_ended(self, event: e.SessionEnded) -> None:
        """Note it."""
        self.error = event.error

    def messages_received(self, event: e.MessagesReceived) -> None:
        """Keep the messages, and take them after C{verdict_delay}, when not paused."""
        lane, first = event.lane, event.first
        kept = self.received.setdefault(lane.number, [])
        kept += [Received(number, data) for number, data in enumerate(event.messages, first)]

        def give_verdict() -> None:
            if self._paused:
                self._verdicts.append(give_verdict)
            elif self.error is None:
                self.settle(lane, first, event.messages)

        self.later(self.verdict_delay, give_verdict)

    def settle(self, lane: IncomingLane, first: int, messages: list[bytes]) -> None:
        """Give a verdict on each of these messages: take them all."""
        lane.take(first, len(messages))

    def asks_received(self, event: e.AsksReceived) -> None:
        """Answer each ask with L{answer}."""
        for number, ask in event.asks:
            self.side.connection.answer(number, self.answer(ask), now=self.side.network.now)

    def answer(self, ask: bytes) -> bytes:
        """The reply to an ask: the same bytes."""
        return ask

    def replies_received(self, event: e.RepliesReceived) -> None:
        """Asks of ours were answered."""

    def directs_received(self, event: e.DirectsReceived) -> None:
        """Keep them."""
        self.directs += event.messages

    def messages_settled(self, event: e.MessagesSettled) -> None:
        """The fate of messages of ours is known."""

    def messages_stored(self, event: e.MessagesStored) -> None:
        """Messages of ours on durable lanes are safe."""

    def messages_writable(self, event: e.MessagesWritable) -> None:
        """Go on with L{send_all}."""
        self._send_more()

    def stream_requested(self, event: e.StreamRequested) -> None:
        """Accept, or refuse when there is a C{refusal}."""
        stream = event.stream
        if self.refusal is not None:
            stream.refuse(self.refusal.code, self.refusal.text)
            return
        self._gathered(stream)
        stream.accept()
        if self._paused:
            stream.pause()

    def _gathered(self, stream: Stream) -> GatheredStream:
        gathered = self.streams.get(stream.id)
        if gathered is None:
            gathered = self.streams[stream.id] = GatheredStream(stream)
        return gathered

    def stream_accepted(self, event: e.StreamAccepted) -> None:
        """The peer took a stream of ours."""
        self._gathered(event.stream)

    def stream_data(self, event: e.StreamData) -> None:
        """Keep it."""
        data = self._gathered(event.stream).data
        for piece in event.pieces:
            data += piece

    def stream_finished(self, event: e.StreamFinished) -> None:
        """Note it, and finish a peer's stream in return."""
        self._gathered(event.stream).finished = True
        if not event.stream.ours and event.stream not in self._to_write:
            event.stream.finish()

    def stream_flushed(self, event: e.StreamFlushed) -> None:
        """Note it."""
        self._gathered(event.stream).flushed = True

    def stream_writable(self, event: e.StreamWritable) -> None:
        """Go on with L{write_all}."""
        self._write_more(event.stream)

    def stream_ended(self, event: e.StreamEnded) -> None:
        """Note it."""
        gathered = self._gathered(event.stream)
        gathered.ended = True
        gathered.error = event.error
        self._to_write.pop(event.stream, None)

    def ping_answered(self, event: e.PingAnswered) -> None:
        """Note it."""
        self.pings.append(event.elapsed)


#: The callback of each kind of event.
CALLBACKS: dict[type, Callable[[Application, Any], None]] = {
    e.SessionRequested: lambda application, event: application.session_requested(event),
    e.SessionOpened: lambda application, event: application.session_opened(event),
    e.SessionSuspended: lambda application, event: application.session_suspended(event),
    e.SessionResumed: lambda application, event: application.session_resumed(event),
    e.SessionClosing: lambda application, event: application.session_closing(event),
    e.SessionEnded: lambda application, event: application.session_ended(event),
    e.MessagesReceived: lambda application, event: application.messages_received(event),
    e.AsksReceived: lambda application, event: application.asks_received(event),
    e.RepliesReceived: lambda application, event: application.replies_received(event),
    e.DirectsReceived: lambda application, event: application.directs_received(event),
    e.MessagesSettled: lambda application, event: application.messages_settled(event),
    e.MessagesStored: lambda application, event: application.messages_stored(event),
    e.MessagesWritable: lambda application, event: application.messages_writable(event),
    e.StreamRequested: lambda application, event: application.stream_requested(event),
    e.StreamAccepted: lambda application, event: application.stream_accepted(event),
    e.StreamData: lambda application, event: application.stream_data(event),
    e.StreamFinished: lambda application, event: application.stream_finished(event),
    e.StreamFlushed: lambda application, event: application.stream_flushed(event),
    e.StreamWritable: lambda application, event: application.stream_writable(event),
    e.StreamEnded: lambda application, event: application.stream_ended(event),
    e.PingAnswered: lambda application, event: application.ping_answered(event),
}
