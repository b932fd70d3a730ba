"""
What the core tells the application: the values that L{hypermail.connection.Connection.next_event} yields.

Events are batches: one event may carry many messages or many pieces of a stream, because a call per
item is what costs in Python. Where an event names a lane's message, a stream or an outgoing message,
it carries the core's own object, which has the methods to answer with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hypermail.errors import HypermailError, UsageError
from hypermail.options import Way

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

    from hypermail.messages.asks import AskedLane
    from hypermail.messages.incoming import IncomingLane
    from hypermail.messages.message import OutgoingMessage
    from hypermail.streams.stream import Stream


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """
    What an opener says of a stream besides its name.

    @ivar attributes: names (at most 255 bytes of UTF-8) to values (bytes); with the stream's name at
        most 960 bytes, so that the open fits a datagram.
    @ivar length: bytes that the opener will send, when it knows.
    """

    attributes: Mapping[str, bytes] = field(default_factory=dict)
    length: int | None = None

    def __post_init__(self) -> None:
        if self.length is not None and not 0 <= self.length < 1 << 62:
            raise UsageError(f"a stream's length must be between 0 and 2**62, not {self.length}")


@dataclass(frozen=True, slots=True)
class SessionRequested:
    """
    A starter asks for a session; answer with C{connection.accept()} or C{connection.reject()}.

    @ivar way: in which way it wants the session to carry.
    @ivar address: where it is; its own, as it has answered there.
    @ivar certificate: the one that it has shown, and whose key it has proved to hold; None when it has shown none.
        That somebody trusts it is not said, unless the listener's context demands it.
    @ivar session_id: of a session of before a restart of the listener, that is to go on; None for a new one.
    @ivar peer: what the starter calls itself, in a dialect that has names for its clients; else empty.
    """

    way: Way
    address: Any
    certificate: Certificate | None = None
    session_id: bytes | None = None
    peer: str = ""


@dataclass(frozen=True, slots=True)
class SessionOpened:
    """Both sides have agreed; on a listener this follows its own C{accept()}."""


@dataclass(frozen=True, slots=True)
class SessionClaimed:
    """
    A starter wants a session of before to go on here; answer with C{connection.go_on(...)} or C{connection.reject()}.

    @ivar session_id: 16 bytes, as it claims.
    @ivar address: where it is; its own, as it has answered there.
    @ivar certificate: as of L{SessionRequested}.
    """

    session_id: bytes
    address: Any
    certificate: Certificate | None = None


@dataclass(frozen=True, slots=True)
class SessionSuspended:
    """The link is lost, for C{error}; the session waits for another one. What is sent meanwhile is kept."""

    error: HypermailError


@dataclass(frozen=True, slots=True)
class SessionResumed:
    """
    The session has a link again.

    @ivar restarted: whether the peer has lost its memory of what was not durable: streams have ended, messages of other
        lanes that had begun are undelivered.
    """

    restarted: bool


@dataclass(frozen=True, slots=True)
class ReopenDue:
    """A starter's: it is time to try another link, with L{hypermail.connection.Connection.reopening}."""


@dataclass(frozen=True, slots=True)
class SessionClosing:
    """The peer wants to close: what is sent from now on is refused, what was sent is still delivered."""


@dataclass(frozen=True, slots=True)
class SessionEnded:
    """The session is over; the last event. C{error} is a L{hypermail.errors.SessionLost}."""

    error: HypermailError


@dataclass(frozen=True, slots=True)
class MessagesReceived:
    """
    Whole messages of one lane with consecutive numbers.

    The application owes a verdict on each: C{lane.take(first, count)} or C{lane.reject(number, ...)}.
    """

    lane: IncomingLane
    first: int
    messages: list[bytes]


@dataclass(frozen=True, slots=True)
class AsksReceived:
    """
    Asks, each with its number, in no particular order.

    The application owes each an answer, C{connection.answer(number, ...)}, or C{lane.reject(number, ...)}.
    """

    lane: AskedLane
    asks: list[tuple[int, bytes]]


@dataclass(frozen=True, slots=True)
class RepliesReceived:
    """Asks of ours, each with its reply. One that gets none is told of by L{MessagesSettled}, with the reason."""

    replies: list[tuple[OutgoingMessage, bytes]]


@dataclass(frozen=True, slots=True)
class DirectsReceived:
    """Direct messages: unacknowledged, in the order of arrival."""

    messages: list[bytes]


@dataclass(frozen=True, slots=True)
class MessagesSettled:
    """Messages and asks of ours whose fate is known; each one's C{error} is None when the peer took it."""

    messages: list[OutgoingMessage]


@dataclass(frozen=True, slots=True)
class MessagesStored:
    """Messages of ours on durable lanes that are safe on disk."""

    messages: list[OutgoingMessage]


@dataclass(frozen=True, slots=True)
class MessagesWanted:
    """
    Messages of a durable lane are to be brought back from the disk, after a restart; C{connection.load(...)} has to
    follow.

    @ivar lane: its number.
    @ivar first: the number of the first message.
    @ivar most: bytes.
    """

    lane: int
    first: int
    most: int


@dataclass(frozen=True, slots=True)
class MessagesWritable:
    """Room for more messages, after C{connection.messages_full} had been true."""


@dataclass(frozen=True, slots=True)
class StreamRequested:
    """The peer opened a stream; answer with C{stream.accept()} or C{stream.refuse()}."""

    stream: Stream


@dataclass(frozen=True, slots=True)
class StreamAccepted:
    """The peer's application took our stream."""

    stream: Stream


@dataclass(frozen=True, slots=True)
class StreamData:
    """Bytes of a stream, in order, in one or more pieces; the application has them now."""

    stream: Stream
    pieces: list[bytes | memoryview]


@dataclass(frozen=True, slots=True)
class StreamFinished:
    """The peer's direction of a stream is complete: everything up to its flush has been delivered."""

    stream: Stream


@dataclass(frozen=True, slots=True)
class StreamFlushed:
    """Our direction is complete: the peer has acknowledged everything up to our flush."""

    stream: Stream


@dataclass(frozen=True, slots=True)
class StreamWritable:
    """A stream whose buffer was full has room again."""

    stream: Stream


@dataclass(frozen=True, slots=True)
class StreamEnded:
    """
    Both directions of a stream are over; the last event of this stream.

    C{error} is None when both finished, else a L{hypermail.errors.StreamError} or L{SessionLost}.
    """

    stream: Stream
    error: HypermailError | None


@dataclass(frozen=True, slots=True)
class PingAnswered:
    """A ping that the application asked for came back after C{elapsed} seconds."""

    elapsed: float


Event = (
    SessionRequested
    | SessionClaimed
    | SessionOpened
    | SessionSuspended
    | SessionResumed
    | ReopenDue
    | SessionClosing
    | SessionEnded
    | MessagesReceived
    | AsksReceived
    | RepliesReceived
    | DirectsReceived
    | MessagesSettled
    | MessagesStored
    | MessagesWanted
    | MessagesWritable
    | StreamRequested
    | StreamAccepted
    | StreamData
    | StreamFinished
    | StreamFlushed
    | StreamWritable
    | StreamEnded
    | PingAnswered
)
