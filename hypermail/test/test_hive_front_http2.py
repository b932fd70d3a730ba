"""
Tests for L{hypermail.hive.front.http2}: HTTP/2 of clients. Their end is h2's.
"""

from __future__ import annotations

from typing import Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    InformationalResponseReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.settings import SettingCodes
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from hypermail.hive.front.http2 import CONNECTION_WINDOW, MOST_STREAMS, RESETS, STREAM_WINDOW, USELESS
from hypermail.hive.front.http2_stream import HIGH, LOW, REST
from hypermail.hive.front.line import LINGER
from hypermail.hive.front.wire import MOST_FIELDS
from hypermail.hive.heads import Arrival
from hypermail.test.front import Answering, Connected, FrontTestCase, hello

GET = [(":method", "GET"), (":scheme", "https"), (":authority", "example.org"), (":path", "/a?b")]
POST = [(":method", "POST"), *GET[1:]]


class Client:
    """
    A client of HTTP/2.

    @ivar heads: of responses, by stream; C{bodies}, C{trailers} likewise.
    @ivar ended: streams whose responses are whole.
    @ivar resets: codes of streams that were reset.
    @ivar goodbye: what the connection was ended with.
    """

    def __init__(self, connected: Connected) -> None:
        self.connected = connected
        self.transport = connected.transport
        self.h2 = H2Connection(
            H2Configuration(header_encoding="utf-8", validate_outbound_headers=False, normalize_outbound_headers=False)
        )
        self.heads: dict[int, list[Any]] = {}
        self.informed: list[Any] = []
        self.bodies: dict[int, bytes] = {}
        self.trailers: dict[int, list[Any]] = {}
        self.ended: set[int] = set()
        self.resets: dict[int, Any] = {}
        self.goodbye: ConnectionTerminated | None = None
        self.acknowledging = True
        self.number = -1

    def greet(self, **settings: int) -> Client:
        """Say hello."""
        self.h2.initiate_connection()
        if settings:
            self.h2.update_settings({SettingCodes[name]: value for name, value in settings.items()})
        return self.exchange()

    def exchange(self) -> Client:
        """Let what was written get to both."""
        while True:
            sent = self.h2.data_to_send()
            if sent:
                self.connected.send(sent)
            data = self.transport.take()
            if not data and not sent:
                return self
            if data:
                for event in self.h2.receive_data(data):
                    self._take(event)

    def ask(self, fields: list[tuple[str, str]] | None = None, end: bool = True) -> int:
        """Send the head of a request. @return: its stream."""
        self.number += 2
        self.h2.send_headers(self.number, fields or GET, end_stream=end)
        self.exchange()
        return self.number

    def send(self, number: int, data: bytes, end: bool = False) -> None:
        """Send some of its body."""
        for at in range(0, len(data), 16_384):
            self.h2.send_data(number, data[at : at + 16_384])
        if end:
            self.h2.end_stream(number)
        self.exchange()

    def raw(self, *frames: Any) -> None:
        """Send frames that h2 would not."""
        self.connected.send(b"".join(frame.serialize() for frame in frames))
        self.exchange()

    def _take(self, event: Any) -> None:
        number = getattr(event, "stream_id", 0)
        if isinstance(event, ResponseReceived):
            self.heads[number] = [(name, value) for name, value in event.headers]
        elif isinstance(event, InformationalResponseReceived):
            self.informed.append(event.headers[0][1])
        elif isinstance(event, DataReceived):
            self.bodies[number] = self.bodies.get(number, b"") + event.data
            if self.acknowledging:
                self.h2.acknowledge_received_data(event.flow_controlled_length, number)
        elif isinstance(event, TrailersReceived):
            self.trailers[number] = [(name, value) for name, value in event.headers]
        elif isinstance(event, StreamEnded):
            self.ended.add(number)
        elif isinstance(event, StreamReset):
            self.resets[number] = event.error_code
        elif isinstance(event, ConnectionTerminated):
            self.goodbye = event


class HTTP2TestCase(FrontTestCase):
    """ALPN has agreed on HTTP/2."""

    protocol = b"h2"

    def setUp(self) -> None:
        super().setUp()
        self.client = Client(self.connect()).greet()

    @property
    def last(self) -> Answering:
        """Who answers the last call."""
        return self.answering[-1]


class LingerTests(HTTP2TestCase):
    """Responses that end before their requests."""

    def ask(self, length: int | None) -> int:
        """Have a request answered before its body comes."""
        fields = POST if length is None else [*POST, ("content-length", f"{length}")]
        number = self.client.ask(fields, end=False)
        hello(self.last)
        self.client.exchange()
        self.assertIn(number, self.client.ended)
        return number

    def test_drained(self) -> None:
        """What comes of the body is dropped, without a word to who has answered; then the stream is over."""
        for _ in range(20):
            number = self.ask(REST)
            self.assertEqual(self.client.resets, {})
            self.client.send(number, bytes(REST), end=True)
            self.assertEqual((self.last.learnt, self.client.resets), ([], {}))

    def test_too_much(self) -> None:
        """If that is long, or of an unknown length, it is told to stop, which is no error."""
        for length in (REST + 1, None):
            number = self.ask(length)
            self.assertEqual(self.client.resets.pop(number), ErrorCodes.NO_ERROR)

    def test_the_rest(self) -> None:
        """Only what is still to come counts."""
        number = self.client.ask([*POST, ("content-length", f"{REST + 10}")], end=False)
        self.client.send(number, bytes(10))
        hello(self.last)
        self.client.exchange()
        self.assertEqual(self.client.resets, {})
        self.client.send(number, bytes(REST), end=True)
        self.assertEqual(self.client.resets, {})

    def test_too_slow(self) -> None:
        """Likewise after some time."""
        number = self.ask(1)
        self.pass_time(LINGER - 0.25)
        self.client.exchange()
        self.assertEqual(self.client.resets, {})
        self.pass_time(0.25)
        self.client.exchange()
        self.assertEqual(self.client.resets, {number: ErrorCodes.NO_ERROR})
