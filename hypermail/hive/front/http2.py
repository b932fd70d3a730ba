"""
HTTP/2 as clients speak it (C{docs/protocol/hive}, "Clients"): h2 reads and writes it.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    RemoteSettingsChanged,
    RequestReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
    WindowUpdated,
)
from h2.exceptions import H2Error, ProtocolError, StreamClosedError
from h2.settings import SettingCodes, Settings
from twisted.logger import Logger

from hypermail.hive.fields import Lists
from hypermail.hive.front.allowance import Allowance
from hypermail.hive.front.answering import arrival_of, served
from hypermail.hive.front.frame_watch import FrameWatch
from hypermail.hive.front.http2_heads import Malformed, read_request, read_trailers
from hypermail.hive.front.http2_output import HTTP2Output
from hypermail.hive.front.http2_stream import HTTP2Stream
from hypermail.hive.front.line import Line
from hypermail.hive.front.pages import send
from hypermail.hive.front.wire import LARGEST_HEAD, MOST_FIELDS

if TYPE_CHECKING:
    from hypermail.hive.front.front import Front

#: Requests at a time.
MOST_STREAMS = 100
#: Bytes of the bodies of requests that wait to be taken: of one, and of all.
STREAM_WINDOW = 1 << 18
CONNECTION_WINDOW = 1 << 20
#: Streams that are reset, by the client or because of it (CVE-2023-44487, CVE-2025-8671), and frames that do nothing
#: (CVE-2019-9512, -9515, -9518): at once, and a second.
RESETS = (2 * MOST_STREAMS, 10.0)
USELESS = (1_000, 100.0)
#: A frame, up to its stream and code (RFC 9113 §6.8).
_GOAWAY = b"\0\0\x08\x07\0\0\0\0\0"
#: What connections begin with (RFC 9113 §6.9.2).
_FIRST_WINDOW = 65_535


class _Connection(H2Connection):
    """Remembers fewer streams that are closed than h2 does, which is for frames that were under way."""

    MAX_CLOSED_STREAMS = 10 * MOST_STREAMS


class _Phase(Enum):
    """What a connection waits for."""

    GREETING = "settings"
    HEAD = "the rest of a head"
    ANSWERING = "streams"
    IDLE = "requests"


class HTTP2:
    """
    A connection: requests, side by side.

    @param line: the connection.
    @param front: whose it is.

    @ivar timeouts: of the front.
    """

    _log = Logger()

    def __init__(self, line: Line, front: Front) -> None:
        self.timeouts = front.timeouts
        self._line = line
        self._front = front
        self._arrival = arrival_of(line.transport, front.scheme, (2, 0))
        self._streams: dict[int, HTTP2Stream] = {}
        self._watch = FrameWatch()
        self._resets = Allowance(*RESETS)
        self._useless = Allowance(*USELESS)
        self._busy = False
        self._phase = _Phase.GREETING
        self._greeted = False
        self._last: int | None = None  # stream, after which there shall be no more
        self._h2 = _Connection(
            H2Configuration(
                client_side=False,
                validate_inbound_headers=False,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        self._h2.local_settings = Settings(
            client=False,
            initial_values={
                SettingCodes.MAX_CONCURRENT_STREAMS: MOST_STREAMS,
                SettingCodes.MAX_HEADER_LIST_SIZE: LARGEST_HEAD,
                SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
            },
        )
        self._output = HTTP2Output(self, self._h2, line)
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(CONNECTION_WINDOW - _FIRST_WINDOW)
        self._take: dict[type[Event], Callable[[Any], None]] = {
            RequestReceived: self._request,
            DataReceived: self._data,
            TrailersReceived: self._trailers,
            StreamEnded: self._ended,
            StreamReset: self._reset,
            WindowUpdated: self._window,
            RemoteSettingsChanged: self._settings,
        }

    # What the connection says

    def dataReceived(self, data: bytes) -> None:
        """See L{hypermail.hive.front.line.Speaker}."""
        watch = self._watch
        watch.feed(data)
        if watch.too_large:
            self._fail(ErrorCodes.FRAME_SIZE_ERROR, "a frame is too large")
            return
        if watch.useless:
            if not self._useless.spend(self.now(), watch.useless):
                self._fail(ErrorCodes.ENHANCE_YOUR_CALM, "too many frames do nothing")
                return
            watch.useless = 0
        try:
            events = self._h2.receive_data(data)
        except H2Error as error:
            self._leave(str(error))
            return
        self._busy = True
        try:
            self._take_all(events)
        finally:
            self._busy = False
        if watch.data_of and (stream := self._streams.get(watch.data_of)) is not None:
            stream.progress()
        self._settle()
        self.flush()

    def inputEnded(self) -> None:
        """See L{hypermail.hive.front.line.Speaker}. Without input there is no flow control."""
        self._line.cut()

    def lost(self) -> None:
        """See L{hypermail.hive.front.line.Speaker}."""
        streams = list(self._streams.values())
        self._streams.clear()
        self._output.clear()
        for stream in streams:
            self._front.deadlines.arm(stream, None)
            self.safely(stream, stream.lose)

    def outputBlocked(self, blocked: bool) -> None:
        """
        See L{hypermail.hive.front.line.Speaker}. Nothing is read then: much of what comes has to be answered, pings and
        settings for example.
        """
        if blocked:
            self._line.pause()
        else:
            self._line.resume()
            self.flush()

    def expired(self) -> None:
        """See L{hypermail.hive.front.line.Speaker}."""
        if self._phase is _Phase.HEAD:
            self._fail(ErrorCodes.ENHANCE_YOUR_CALM, "the head takes too long")
        else:
            self._say_goodbye()
            self._line.leave()

    def stop(self) -> None:
        """See L{hypermail.hive.front.line.Speaker}."""
        self._say_goodbye()
        self.flush()

    # What streams say

    def now(self) -> float:
        """s."""
        return self._front.seconds()

    def date(self) -> bytes:
        """The header."""
        return self._front.dates.now()

    def arm(self, stream: HTTP2Stream, seconds: float) -> float:
        """Have it expire. @return: when, in s."""
        due = self.now() + seconds
        if due < stream.deadline:
            self._front.deadlines.arm(stream, due)
        return due

    def send_head(self, number: int, fields: list[tuple[bytes, bytes]]) -> None:
        """The head of a response."""
        self.say(self._h2.send_headers, number, fields)

    def ready(self, stream: HTTP2Stream) -> None:
        """A stream has something to send."""
        self._output.queue(stream)
        self.flush()

    def acknowledge(self, stream: HTTP2Stream, size: int) -> None:
        """So many bytes of a body were taken, and others may follow."""
        if size:
            self.say(self._h2.acknowledge_received_data, size, stream.number)

    def reset(self, stream: HTTP2Stream, code: ErrorCodes) -> None:
        """End a stream before its time."""
        self.say(self._h2.reset_stream, stream.number, code)
        self.forget(stream)
        self.flush()

    def cancel(self, stream: HTTP2Stream, reason: str) -> None:
        """End one since its client takes too long."""
        self._line.refused(reason)
        self.reset(stream, ErrorCodes.CANCEL)
        self.safely(stream, stream.lose)

    def flush(self) -> None:
        """Send what can be sent."""
        if self._busy or self._line.over:
            return
        self._busy = True
        try:
            self._output.pump()
        finally:
            self._busy = False
        if not self._streams and self._last is not None:
            self._line.leave()

    # What the output says

    def has(self, stream: HTTP2Stream) -> bool:
        """See L{hypermail.hive.front.http2_output.Speaking}."""
        return stream.number in self._streams

    def say(self, say: Callable[..., None], *arguments: Any, **more: Any) -> None:
        """See L{hypermail.hive.front.http2_output.Speaking}."""
        try:
            say(*arguments, **more)
        except StreamClosedError:
            pass  # the client has reset it, which is about to be told
        except ProtocolError:
            self._log.failure("A frame is none")
            self._line.cut()

    def safely(self, stream: HTTP2Stream, call: Callable[..., None], *arguments: Any) -> None:
        """See L{hypermail.hive.front.http2_output.Speaking}: a bug in who answers is of one stream, not of all."""
        try:
            call(*arguments)
        except Exception:
            self._log.failure("A request could not be answered")
            stream.abort()

    def forget(self, stream: HTTP2Stream) -> None:
        """See L{hypermail.hive.front.http2_output.Speaking}."""
        self._streams.pop(stream.number, None)
        self._front.deadlines.arm(stream, None)
        self._settle()

    # Events

    def _take_all(self, events: list[Event]) -> None:
        gone = set()
        for event in events:
            if type(event) is StreamReset:
                gone.add(event.stream_id)
            elif type(event) is ConnectionTerminated:  # h2 sends nothing more, and hardly any client reads on
                self._leave("the client says goodbye")
                return
        for event in events:
            if type(event) is RequestReceived and event.stream_id in gone:
                continue  # nobody has to work for that
            take = self._take.get(type(event))
            if take is not None and not self._line.over:
                take(event)

    def _request(self, event: RequestReceived) -> None:
        number = event.stream_id
        if self._last is not None:  # RFC 9113 §6.8: it may be sent again, elsewhere
            self.say(self._h2.reset_stream, number, ErrorCodes.REFUSED_STREAM)
            return
        try:
            head = read_request(event.headers)
        except Malformed as error:
            self._malformed(number, error)
            return
        stream = HTTP2Stream(self, number, self._arrival, head, event.stream_ended is None)
        if stream.received and stream.short:
            self._malformed(number, Malformed("there is no body, but its length"))
            return
        self._streams[number] = stream
        if head.number > MOST_FIELDS:
            send(stream, 431)
        else:
            self.safely(stream, self._serve, stream)

    def _serve(self, stream: HTTP2Stream) -> None:
        stream.begin(served(self._front.serve, stream))

    def _data(self, event: DataReceived) -> None:
        stream = self._streams.get(event.stream_id)
        if stream is None:
            self.say(self._h2.acknowledge_received_data, event.flow_controlled_length, event.stream_id)
        else:
            self.safely(stream, stream.take, event.data, event.flow_controlled_length)

    def _trailers(self, event: TrailersReceived) -> None:
        stream = self._streams.get(event.stream_id)
        if stream is None:
            return
        try:
            trailers = read_trailers(event.headers)
        except Malformed as error:
            self._malformed(event.stream_id, error)
        else:
            self._end(stream, trailers)

    def _ended(self, event: StreamEnded) -> None:
        stream = self._streams.get(event.stream_id)
        if stream is not None and not stream.received:
            self._end(stream, {})

    def _end(self, stream: HTTP2Stream, trailers: Lists) -> None:
        if stream.short:
            self._malformed(stream.number, Malformed("the body is shorter than it says"))
            return
        self.safely(stream, stream.take_end, trailers)
        if stream.finished:
            self.forget(stream)

    def _malformed(self, number: int, error: Malformed) -> None:
        """RFC 9113 §8.1.1: that is the end of the stream, not of the connection."""
        self._line.refused(str(error))
        self.say(self._h2.reset_stream, number, ErrorCodes.PROTOCOL_ERROR)
        self._lose(number)

    def _reset(self, event: StreamReset) -> None:
        self._lose(event.stream_id)

    def _lose(self, number: int) -> None:
        stream = self._streams.get(number)
        if stream is not None:
            self.forget(stream)
            self.safely(stream, stream.lose)
        if not self._resets.spend(self.now()):
            self._fail(ErrorCodes.ENHANCE_YOUR_CALM, "too many streams are reset")

    def _window(self, event: WindowUpdated) -> None:
        if event.stream_id:
            stream = self._streams.get(event.stream_id)
            if stream is not None and stream.unsent:
                self._output.queue(stream)
        else:
            self._output.queue_all(self._streams.values())

    def _settings(self, event: RemoteSettingsChanged) -> None:
        self._greeted = True
        if SettingCodes.INITIAL_WINDOW_SIZE in event.changed_settings:
            self._output.queue_all(self._streams.values())

    # Inside

    def _settle(self) -> None:
        """What is expected of the client now."""
        if self._watch.in_head:
            phase = _Phase.HEAD
        elif self._streams:
            phase = _Phase.ANSWERING
        else:
            phase = _Phase.IDLE if self._greeted else _Phase.GREETING
        if phase is self._phase:
            return
        self._phase = phase
        if phase is _Phase.HEAD:
            self._line.expect(self.timeouts.header)
        else:
            self._line.expect(self.timeouts.idle if phase is _Phase.IDLE else None)

    def _say_goodbye(self) -> None:
        """Announce the last stream. h2 would send nothing at all after that."""
        if self._last is None:
            self._last = self._h2.highest_inbound_stream_id
            self._output.write()
            self._line.write(_GOAWAY + self._last.to_bytes(4) + bytes(4))

    def _fail(self, code: ErrorCodes, reason: str) -> None:
        self._h2.close_connection(code)
        self._leave(reason)

    def _leave(self, reason: str) -> None:
        """The connection is over, for all of its streams."""
        self._line.refused(reason)
        self._output.write()
        self._line.leave()
        self.lost()
