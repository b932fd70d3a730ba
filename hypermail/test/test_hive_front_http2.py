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
from hypermail.hive.heads import RequestArrival
from hypermail.test.front import WRONG, Answering, Connected, FrontTestCase, hello

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
        self.transport: Any = connected.transport
        self.h2 = H2Connection(
            H2Configuration(header_encoding="utf-8", validate_outbound_headers=False, normalize_outbound_headers=False)
        )
        self.heads: dict[int, list[Any]] = {}
        self.informed: list[Any] = []
        self.bodies: dict[int, bytes] = {}
        self.trailers: dict[int, list[Any]] = {}
        self.ended: set[int] = set()
        self.resets: dict[int, Any] = {}
        self.goodbye: Any = None
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

    def ask(self, fields: list[Any] | None = None, end: bool = True) -> int:
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


class RequestTests(HTTP2TestCase):
    """Heads."""

    def test_call(self) -> None:
        """A head becomes a call; the authority is its host."""
        self.client.ask([*GET, ("a", "1"), ("cookie", "x=1"), ("a", "2"), ("cookie", "y=2")])
        call = self.last.call
        self.assertEqual((call.method, call.target, call.has_body), ("GET", b"/a?b", False))
        self.assertEqual(call.headers, {"host": ("example.org",), "a": ("1", "2"), "cookie": ("x=1; y=2",)})
        self.assertEqual(call.arrival, RequestArrival("192.0.2.1", 50_000, "https", (2, 0)))

    def test_hosts(self) -> None:
        """A host may stand for the authority, or say the same."""
        self.client.ask([*GET, ("host", "example.org")])
        self.assertEqual(self.last.call.headers, {"host": ("example.org",)})
        self.client.ask([GET[0], GET[1], GET[3], ("host", "other")])
        self.assertEqual(self.last.call.headers, {"host": ("other",)})

    def test_connect(self) -> None:
        """C{CONNECT} has an authority only; whether there is such a thing is for others to say."""
        self.client.ask([(":method", "CONNECT"), (":authority", "h:1")])
        self.assertEqual((self.last.call.method, self.last.call.target), ("CONNECT", b"h:1"))

    def test_malformed(self) -> None:
        """What is no request ends its stream, and not the connection (RFC 9113 §8.1.1)."""
        for fields in (
            [*GET, ("connection", "close")],
            [*GET, ("upgrade", "websocket")],
            [*GET, ("transfer-encoding", "chunked")],
            [*GET, ("te", "gzip")],
            [*GET, ("host", "other")],
            [*GET, ("Upper", "x")],
            [*GET, ("a b", "x")],
            [*GET, ("", "x")],
            [*GET, ("a", "x\r\ny: z")],
            [*GET, ("a", "x\0")],
            [*GET, ("a", " x")],
            [*GET, ("a", "x\t")],
            [*GET, GET[0]],
            [*GET, (":protocol", "websocket")],
            [("a", "b"), *GET],
            GET[1:],
            [GET[0], *GET[2:]],
            GET[:3],
            [*GET[:3], (":path", "")],
            [(":method", ""), *GET[1:]],
            [(b":method", b"\xff"), *GET[1:]],
            [(":method", "CONNECT"), *GET[1:]],
            [(":method", "CONNECT")],
        ):
            number = self.client.ask(fields)
            self.assertEqual(self.client.resets.get(number), ErrorCodes.PROTOCOL_ERROR, fields)
        self.assertEqual(self.answering, [])
        self.on_call = hello
        self.assertIn(self.client.ask(), self.client.ended)

    def test_short(self) -> None:
        """A body that is shorter than its length says is none, whatever ends it (RFC 9113 §8.1.1)."""
        number = self.client.ask([*POST, ("content-length", "5")])
        self.assertEqual((self.client.resets.get(number), self.answering), (ErrorCodes.PROTOCOL_ERROR, []))
        for length, sent in ((b"5", b"abc"), (b"3", b"abc")):
            number = self.client.ask([*POST, ("content-length", length)], end=False)
            self.last.call.readBody()
            self.client.send(number, sent)
            self.client.h2.send_headers(number, [("x-sum", "1")], end_stream=True)
            self.client.exchange()
            short = length == b"5"
            self.assertEqual(self.client.resets.get(number), ErrorCodes.PROTOCOL_ERROR if short else None)
            self.assertEqual(self.last.learnt[-1], "lost" if short else {"x-sum": ("1",)})
        number = self.client.ask([*GET, ("content-length", "0")])
        self.assertEqual((self.client.resets.get(number), self.last.call.has_body), (None, False))

    def test_too_many_fields(self) -> None:
        """There may be so many fields, and not one more: that gets a page."""
        self.client.ask([*GET, *[("a", "b")] * MOST_FIELDS])
        self.assertEqual(len(self.answering), 1)
        number = self.client.ask([*GET, *[("a", "b")] * (MOST_FIELDS + 1)])
        self.assertEqual(self.client.heads[number][0], (":status", "431"))
        self.assertEqual(len(self.answering), 1)

    def test_too_large(self) -> None:
        """A head that is too large ends the connection: it would have to be read to know what follows."""
        self.client.ask([*GET, ("a", "b" * 65_600)])
        self.assertEqual(self.client.goodbye.error_code, ErrorCodes.ENHANCE_YOUR_CALM)
        self.assertTrue(self.client.transport.halved)

    def test_side_by_side(self) -> None:
        """Requests are answered in any order, as many as may be at a time."""
        numbers = [self.client.ask() for _ in range(MOST_STREAMS)]
        self.assertEqual(len(self.answering), MOST_STREAMS)
        for answering in reversed(self.answering):
            hello(answering)
        self.client.exchange()
        self.assertEqual({self.client.bodies[number] for number in numbers}, {b"hello"})

    def test_no_upgrade(self) -> None:
        """There is none: who tries it has a bug."""
        number = self.client.ask()
        self.last.call.upgrade({"upgrade": ("x",)})
        self.client.exchange()
        self.assertEqual(self.client.resets, {number: ErrorCodes.INTERNAL_ERROR})
        self.assertEqual(self.last.learnt, ["lost"])

    @given(st.lists(st.integers(1, 60), max_size=40))
    @settings(deadline=None, max_examples=40)
    def test_pieces(self, sizes: list[int]) -> None:
        """However the client's bytes are cut into pieces, the calls and their bodies are the same."""
        self.answering.clear()
        self.on_call = lambda answering: answering.call.readBody()
        connected = self.connect()
        h2 = H2Connection(H2Configuration(header_encoding="utf-8"))
        h2.initiate_connection()
        h2.send_headers(1, POST)
        h2.send_headers(3, GET, end_stream=True)
        h2.send_data(1, b"01234")
        h2.ping(b"12345678")
        h2.send_data(1, b"56789")
        h2.send_headers(1, [("t", "1")], end_stream=True)
        sent = h2.data_to_send()
        for size in [*sizes, len(sent)]:
            if sent:
                connected.send(sent[:size])
                sent = sent[size:]
        self.assertEqual([one.call.method for one in self.answering], ["POST", "GET"])
        self.assertEqual([one.body for one in self.answering], [b"0123456789", b""])
        self.assertEqual(self.answering[0].learnt[-1], {"t": ("1",)})


class ResponseTests(HTTP2TestCase):
    """What is written."""

    def test_head_and_body(self) -> None:
        """A response has the head that it was given, a date, and a length if that is known."""
        self.on_call = hello
        number = self.client.ask()
        self.assertEqual(
            self.client.heads[number],
            [
                (":status", "200"),
                ("content-type", "text/plain"),
                ("date", "Sat, 21 Nov 2026 21:00:00 GMT"),
                ("content-length", "5"),
            ],
        )
        self.assertEqual(self.client.bodies[number], b"hello")
        self.assertIn(number, self.client.ended)

    def test_together(self) -> None:
        """One that is given at once goes out at once."""
        self.on_call = hello
        self.client.h2.send_headers(1, GET, end_stream=True)
        self.client.connected.send(self.client.h2.data_to_send())
        data = self.client.transport.value()
        self.assertEqual(data[-14:], DataFrame(1, b"hello", flags=["END_STREAM"]).serialize())

    def test_connection_headers(self) -> None:
        """What is of HTTP/1.1 is left out, and a date is left as it is."""
        number = self.client.ask()
        names = ("connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "content-length")
        self.last.call.respond(200, {**dict.fromkeys(names, ("x",)), "date": ("then",)}, None)
        self.client.exchange()
        self.assertEqual(self.client.heads[number], [(":status", "200"), ("date", "then")])

    def test_trailers(self) -> None:
        """Trailers end it, with a body and without."""
        for body in (b"x", b""):
            number = self.client.ask()
            self.last.call.respond(200, {}, None)
            self.last.call.write(body)
            self.last.call.end({"t": ("1", "2")})
            self.client.exchange()
            self.assertEqual(self.client.trailers[number], [("t", "1"), ("t", "2")])
            self.assertIn(number, self.client.ended)

    def test_no_body(self) -> None:
        """A response to C{HEAD}, or with 204 or 304, has none; its length is told where that means something."""
        for method, status, length, told in (
            ("HEAD", 200, 7, "7"),
            ("HEAD", 200, None, None),
            ("GET", 204, 0, None),
            ("GET", 304, 0, None),
        ):
            number = self.client.ask([(b":method", method.encode()), *GET[1:]])
            self.last.call.respond(status, {}, length)
            self.last.call.write(b"body")
            self.last.call.end({"t": ("1",)})
            self.client.exchange()
            self.assertEqual(dict(self.client.heads[number]).get("content-length"), told)
            self.assertEqual(self.client.bodies.get(number, b""), b"")
            self.assertIn(number, self.client.ended)

    def test_abort(self) -> None:
        """One that is not whole never looks as if it were; who aborts learns nothing of it."""
        number = self.client.ask()
        self.last.call.respond(200, {}, None)
        self.last.call.write(b"x")
        self.last.call.abort()
        self.client.exchange()
        self.assertEqual(self.client.resets, {number: ErrorCodes.INTERNAL_ERROR})
        self.assertNotIn(number, self.client.ended)
        self.assertEqual(self.last.learnt, [])

    def test_wrong(self) -> None:
        """Responses that are none are reset, and logged; other streams are left alone."""

        def nothing(call: Any) -> None:
            call.end({})

        other = self.client.ask()
        first = self.last
        for wrong in (nothing, *WRONG):
            number = self.client.ask()
            wrong(self.last.call)
            self.client.exchange()
            self.assertEqual(self.client.resets.get(number), ErrorCodes.INTERNAL_ERROR, wrong)
            self.assertEqual(self.last.learnt, ["lost"])
        hello(first)
        self.client.exchange()
        self.assertIn(other, self.client.ended)

    def test_bugs(self) -> None:
        """A failure of who answers is logged, and ends one stream: in a page, if that is possible."""

        def fail(*arguments: Any) -> None:
            raise ValueError("a bug")

        self.on_call = fail
        number = self.client.ask()
        self.assertEqual(self.client.heads[number][0], (":status", "500"))
        self.on_call = lambda answering: None
        number = self.client.ask(POST, end=False)
        self.last.bodyReceived = fail  # type: ignore[assignment, method-assign]
        self.last.call.readBody()
        self.client.send(number, b"x")
        self.assertEqual(self.client.resets, {number: ErrorCodes.INTERNAL_ERROR})
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 2)

    def test_over(self) -> None:
        """What is said once a call is over goes nowhere."""
        self.on_call = hello
        self.client.ask()
        call = self.last.call
        call.readBody()
        call.pauseBody()
        call.resumeBody()
        call.respond(200, {}, 1)
        call.upgrade({})
        call.write(b"x")
        call.end({})
        call.abort()
        self.assertEqual(self.client.transport.take(), b"")

    def test_client_resets(self) -> None:
        """Who answers learns that nobody waits any more; what he still says goes nowhere."""
        number = self.client.ask()
        self.client.h2.reset_stream(number)
        self.client.exchange()
        self.assertEqual(self.last.learnt, ["lost"])
        self.last.call.respond(200, {}, 1)
        self.assertEqual(self.client.transport.take(), b"")

    def test_client_resets_at_once(self) -> None:
        """A request that is taken back in the same breath is nobody's work."""
        self.client.h2.send_headers(1, GET, end_stream=True)
        self.client.h2.reset_stream(1)
        self.client.exchange()
        self.assertEqual(self.answering, [])

    def test_lost(self) -> None:
        """With the connection all is lost, once; nothing stays in the reactor."""
        self.client.ask()
        self.client.ask(POST, end=False)
        self.last.call.readBody()
        self.client.connected.lose()
        self.assertEqual([one.learnt for one in self.answering], [["lost"], ["lost"]])
        self.assertEqual((self.clock.getDelayedCalls(), self.front.connections), ([], 0))

    def test_goodbye(self) -> None:
        """A client that says goodbye waits for nothing."""
        self.client.ask()
        self.client.h2.close_connection()
        self.client.exchange()
        self.assertEqual(self.last.learnt, ["lost"])
        self.assertTrue(self.client.transport.halved)


class WindowTests(HTTP2TestCase):
    """Back pressure."""

    def test_response(self) -> None:
        """What a client's window has no room for waits, up to a limit; then who answers does."""
        self.client.acknowledging = False
        number = self.client.ask()
        call = self.last.call
        call.respond(200, {}, None)
        call.write(bytes(65_535))
        call.write(bytes(HIGH))
        self.assertEqual(self.last.learnt, [])
        call.write(b"x")
        self.assertEqual(self.last.learnt, ["pause"])
        call.write(b"x")
        self.assertEqual(self.last.learnt, ["pause"])
        self.client.exchange()
        self.assertEqual(len(self.client.bodies[number]), 65_535)
        self.client.h2.increment_flow_control_window(1 << 20)
        self.client.h2.increment_flow_control_window(HIGH - LOW + 1, number)
        self.client.exchange()
        self.assertEqual(self.last.learnt, ["pause"])
        self.client.h2.increment_flow_control_window(1, number)
        self.client.exchange()
        self.assertEqual(self.last.learnt, ["pause", "resume"])
        call.end({})
        self.client.h2.increment_flow_control_window(1 << 20, number)
        self.client.exchange()
        self.assertEqual(len(self.client.bodies[number]), 65_537 + HIGH)
        self.assertIn(number, self.client.ended)

    def test_paused_within(self) -> None:
        """He learns it also if he has written too much before anybody knew who answers."""

        def write(answering: Answering) -> None:
            answering.call.respond(200, {}, None)
            answering.call.write(bytes(HIGH + 1))

        self.on_call = write
        self.client.h2.send_headers(1, GET, end_stream=True)
        self.client.connected.send(self.client.h2.data_to_send())
        self.assertEqual(self.last.learnt, ["pause", "resume"])

    def test_settings(self) -> None:
        """A client may make its windows larger by its settings, and none at all."""
        client = Client(self.connect()).greet(INITIAL_WINDOW_SIZE=0)
        self.on_call = hello
        number = client.ask()
        self.assertNotIn(number, client.bodies)
        client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 5})
        client.exchange()
        self.assertEqual(client.bodies[number], b"hello")
        self.assertIn(number, client.ended)

    def test_fair(self) -> None:
        """Streams take turns."""
        first, second = self.client.ask(), self.client.ask()
        self.client.transport.producer.pauseProducing()
        for answering in self.answering:
            answering.call.respond(200, {}, None)
            answering.call.write(bytes(32_768))
        self.client.transport.take()
        self.client.transport.producer.resumeProducing()
        data = self.client.transport.value()
        order = []
        while data:
            length, kind, number = int.from_bytes(data[:3]), data[3], int.from_bytes(data[5:9])
            order += [number] if kind == 0 else []
            data = data[9 + length :]
        self.assertEqual(order, [first, second] * 2)

    def test_blocked(self) -> None:
        """While the client's host takes nothing, nothing is written, and nothing read."""
        self.client.ask()
        call = self.last.call
        call.respond(200, {}, None)
        self.client.exchange()
        self.client.transport.producer.pauseProducing()
        self.assertTrue(self.client.transport.paused)
        call.write(bytes(HIGH))
        call.write(b"x")
        self.assertEqual((self.last.learnt, self.client.transport.take()), (["pause"], b""))
        self.client.transport.producer.resumeProducing()
        self.assertFalse(self.client.transport.paused)
        self.assertEqual(self.last.learnt, ["pause", "resume"])
        self.client.exchange()
        self.assertGreater(len(self.client.bodies[1]), 65_000)

    def test_unread_body(self) -> None:
        """Of a body that is not read, or paused, so much comes as its window has room for."""
        number = self.client.ask(POST, end=False)
        self.client.send(number, bytes(STREAM_WINDOW))
        self.assertEqual(self.client.h2.local_flow_control_window(number), 0)
        self.assertEqual(self.last.learnt, [])
        self.last.call.readBody()
        self.client.exchange()
        self.assertEqual(len(self.last.body), STREAM_WINDOW)
        room = self.client.h2.local_flow_control_window(number)
        self.assertGreaterEqual(room, STREAM_WINDOW // 2)
        self.last.call.pauseBody()
        self.client.send(number, bytes(room), end=True)
        self.assertEqual(len(self.last.body), STREAM_WINDOW)
        self.last.call.resumeBody()
        self.assertEqual(len(self.last.body), STREAM_WINDOW + room)
        self.assertEqual(self.last.learnt[-1], {})

    def test_tiny(self) -> None:
        """What waits of a body takes the room of its bytes, and counts as it came, whatever frames it came in."""
        number = self.client.ask(POST, end=False)
        for at in range(STREAM_WINDOW // 32):
            self.client.h2.send_data(number, bytes((at % 256,)), pad_length=30)
        self.client.exchange()
        self.assertEqual(self.client.h2.local_flow_control_window(number), 0)
        call: Any = self.last.call
        self.assertLess(len(call._unread), 10)
        call.readBody()
        self.client.exchange()
        self.assertEqual(self.last.body, bytes(range(256)) * 32)
        self.assertGreaterEqual(self.client.h2.local_flow_control_window(number), STREAM_WINDOW // 2)

    def test_all_bodies(self) -> None:
        """All of them together have a window, too; who resets a stream has its room again."""
        numbers = [self.client.ask(POST, end=False) for _ in range(CONNECTION_WINDOW // STREAM_WINDOW)]
        for number in numbers:
            self.client.send(number, bytes(STREAM_WINDOW))
        other = self.client.ask(POST, end=False)
        self.assertEqual(self.client.h2.local_flow_control_window(other), 0)
        for number in numbers:
            self.client.h2.reset_stream(number)
        self.client.exchange()
        self.assertEqual(self.client.h2.local_flow_control_window(other), STREAM_WINDOW)

    def test_expected(self) -> None:
        """A client that waits for it is told to go on when its body is read."""
        number = self.client.ask([*POST, ("expect", "100-continue")], end=False)
        self.assertEqual(self.client.informed, [])
        self.last.call.readBody()
        self.client.exchange()
        self.assertEqual(self.client.informed, ["100"])
        self.client.send(number, b"x", end=True)
        self.assertEqual(self.last.learnt, [b"x", {}])

    def test_dropped_bodies(self) -> None:
        """What nobody will read leaves room for others: after a response, and of requests that were taken back."""
        for _ in range(8):
            number = self.client.ask([*POST, ("content-length", "262144")], end=False)
            self.client.send(number, bytes(STREAM_WINDOW - 1))
            hello(self.last)
            self.client.send(number, b"x", end=True)
        for number in range(101, 101 + 2 * 80, 2):
            self.client.h2.send_headers(number, POST)
            self.client.h2.send_data(number, bytes(16_384))
            self.client.h2.reset_stream(number)
            self.client.exchange()
        self.client.number = 301
        other = self.client.ask(POST, end=False)
        self.assertEqual(self.client.h2.local_flow_control_window(other), STREAM_WINDOW)
        self.assertEqual(len(self.answering), 9)

    def test_pieces_within_pieces(self) -> None:
        """Who pauses and goes on while he takes a piece gets the next one afterwards, however many there are."""
        number = self.client.ask(POST, end=False)
        answering = self.last
        received = answering.bodyReceived

        def hesitate(data: bytes) -> None:
            received(data)
            answering.call.pauseBody()
            answering.call.resumeBody()

        answering.bodyReceived = hesitate  # type: ignore[method-assign]
        piece = bytes(513)  # smaller ones are given together
        for _ in range(500):
            self.client.h2.send_data(number, piece)
        self.client.exchange()
        answering.call.readBody()
        self.assertEqual(answering.learnt, [piece] * 500)

    def test_expected_too_late(self) -> None:
        """Nobody is told to go on after a response."""
        self.client.ask([*POST, ("expect", "100-continue")], end=False)
        self.last.call.respond(200, {}, None)
        self.last.call.readBody()
        self.client.exchange()
        self.assertEqual(self.client.informed, [])

    def test_trailers(self) -> None:
        """Trailers come with the end of the body; those that are none end the stream."""
        number = self.client.ask(POST, end=False)
        self.last.call.readBody()
        self.client.h2.send_headers(number, [("t", "1")], end_stream=True)
        self.client.exchange()
        self.assertEqual(self.last.learnt, [{"t": ("1",)}])
        number = self.client.ask(POST, end=False)
        self.last.call.readBody()
        self.client.h2.send_headers(number, [("T", "1")], end_stream=True)
        self.client.exchange()
        self.assertEqual(self.client.resets, {number: ErrorCodes.PROTOCOL_ERROR})
        self.assertEqual(self.last.learnt, ["lost"])


class FloodTests(HTTP2TestCase):
    """Clients that want to keep us busy."""

    def calmed(self) -> None:
        """The client was told to calm down."""
        self.assertEqual(self.client.goodbye.error_code, ErrorCodes.ENHANCE_YOUR_CALM)
        self.assertTrue(self.client.transport.halved)

    def test_resets(self) -> None:
        """Streams may be reset so often, and then as time passes (CVE-2023-44487)."""
        for _ in range(RESETS[0]):
            self.client.h2.reset_stream(self.client.ask())
            self.client.exchange()
        self.assertIsNone(self.client.goodbye)
        self.pass_time(1)
        for _ in range(round(RESETS[1])):
            self.client.h2.reset_stream(self.client.ask())
            self.client.exchange()
        self.assertIsNone(self.client.goodbye)
        self.client.h2.reset_stream(self.client.ask())
        self.client.exchange()
        self.calmed()
        self.assertEqual({tuple(one.learnt) for one in self.answering}, {("lost",)})

    def test_resets_of_ours(self) -> None:
        """Those that the client makes us do count as well (CVE-2025-8671)."""
        for _ in range(RESETS[0] + 1):
            self.assertIsNone(self.client.goodbye)
            self.client.ask([*GET, ("connection", "x")])
        self.calmed()

    def test_useless_frames(self) -> None:
        """So do frames that nobody needs: pings, settings, priorities, empty data."""
        frames = (
            PingFrame(0, b"12345678"),
            SettingsFrame(0, settings={}),
            PriorityFrame(1, depends_on=0, stream_weight=1),
            DataFrame(1),
        )
        for frame in frames:
            self.client = Client(self.connect()).greet()
            self.client.ask(POST, end=False)
            self.client.raw(*[frame] * (USELESS[0] - 10))
            self.assertIsNone(self.client.goodbye, frame)
            self.client.connected.send(frame.serialize() * 11)
            self.client.exchange()
            self.calmed()

    def test_ends_are_of_use(self) -> None:
        """Empty data that ends a body is no such frame."""
        self.on_call = hello
        for _ in range(USELESS[0] + 100):
            number = self.client.ask([*POST, ("content-length", "0")], end=False)
            self.client.send(number, b"", end=True)
        self.assertIsNone(self.client.goodbye)

    def test_continuations(self) -> None:
        """A head is of so many pieces at most."""
        self.client.connected.send(HeadersFrame(1, b"").serialize() + ContinuationFrame(1, b"").serialize() * 64)
        self.client.exchange()
        self.assertIsNotNone(self.client.goodbye)

    def test_too_large_frames(self) -> None:
        """A frame that is announced as too large is not waited for."""
        self.client.connected.send(b"\0\x40\x01\0\0\0\0\0\x01")
        self.client.exchange()
        self.assertEqual(self.client.goodbye.error_code, ErrorCodes.FRAME_SIZE_ERROR)

    def test_too_many_streams(self) -> None:
        """More streams at a time than were allowed end the connection."""
        for _ in range(MOST_STREAMS):
            self.client.ask()
        self.client.h2.remote_settings[SettingCodes.MAX_CONCURRENT_STREAMS] = MOST_STREAMS + 1
        self.client.h2.remote_settings.acknowledge()
        self.client.ask()
        self.assertIsNotNone(self.client.goodbye)
        self.assertEqual(len(self.answering), MOST_STREAMS)

    def test_no_http2(self) -> None:
        """What is no HTTP/2 at all is not answered in another one."""
        connected = self.connect()
        connected.send(b"GET / HTTP/1.1\r\n\r\n")
        self.assertTrue(connected.transport.halved)
        self.assertEqual(self.answering, [])

    def test_reset_of_nothing(self) -> None:
        """Frames for streams that are over change nothing."""
        self.on_call = hello
        number = self.client.ask()
        self.client.raw(RstStreamFrame(number, error_code=8))
        self.assertIn(self.client.ask(), self.client.ended)


class DeadlineTests(HTTP2TestCase):
    """Nothing hangs for ever."""

    def test_greeting(self) -> None:
        """A client that does not even say hello is cut off."""
        connected = self.connect()
        connected.send(b"PRI * HTTP/2.0\r\n")
        self.pass_time(4.75)
        self.assertFalse(connected.transport.halved)
        self.pass_time(0.25)
        self.assertTrue(connected.transport.halved)

    def test_idle(self) -> None:
        """One without requests is told goodbye; pings are none."""
        self.on_call = hello
        self.client.ask()
        self.pass_time(119)
        self.client.raw(PingFrame(0, b"12345678"))
        self.assertFalse(self.client.transport.halved)
        self.pass_time(1)
        self.client.exchange()
        self.assertEqual(self.client.goodbye.error_code, ErrorCodes.NO_ERROR)
        self.assertTrue(self.client.transport.halved)

    def test_answering(self) -> None:
        """Nothing is expected of a client that waits for its response."""
        number = self.client.ask()
        self.pass_time(600)
        hello(self.last)
        self.client.exchange()
        self.assertIn(number, self.client.ended)

    def test_head(self) -> None:
        """A head that comes byte by byte ends the connection, whatever else there is."""
        self.client.ask()
        head = HeadersFrame(3, b"x" * 100).serialize()
        self.client.connected.send(head[:10])
        for byte in head[10:29]:
            self.pass_time(0.25)
            self.client.connected.send(bytes([byte]))
        self.assertFalse(self.client.transport.halved)
        self.pass_time(0.25)
        self.client.exchange()
        self.assertEqual(self.client.goodbye.error_code, ErrorCodes.ENHANCE_YOUR_CALM)
        self.assertEqual(self.last.learnt, ["lost"])

    def test_continuation(self) -> None:
        """A head whose last frame does not come, too."""
        self.client.raw(HeadersFrame(1, b""))
        self.pass_time(4.75)
        self.assertFalse(self.client.transport.halved)
        self.pass_time(0.25)
        self.assertTrue(self.client.transport.halved)

    def test_whole_body(self) -> None:
        """Nothing is expected of a client once its request is whole."""
        number = self.client.ask(POST, end=False)
        self.last.call.readBody()
        self.client.send(number, b"x", end=True)
        self.pass_time(60)
        self.client.exchange()
        self.assertEqual(self.client.heads, {})

    def test_body(self) -> None:
        """Each piece of a body that is wanted has its time, also within a frame; then that stream gets a page."""
        other = self.client.ask()
        number = self.client.ask(POST, end=False)
        self.pass_time(60)
        self.last.call.readBody()
        frame = DataFrame(number, b"0123").serialize()
        for piece in (frame[:10], frame[10:12], frame[12:]):
            self.pass_time(9.75)
            self.client.connected.send(piece)
        self.pass_time(9.75)
        self.client.exchange()
        self.assertNotIn(number, self.client.heads)
        self.pass_time(0.25)
        self.client.exchange()
        self.assertEqual(self.client.heads[number][0], (":status", "408"))
        self.assertEqual(self.last.learnt, [b"0123", "lost"])
        self.assertNotIn(other, self.client.resets)

    def test_body_after_the_head(self) -> None:
        """If the response has begun the stream is reset."""
        number = self.client.ask(POST, end=False)
        self.last.call.readBody()
        self.last.call.respond(200, {}, None)
        self.pass_time(10)
        self.client.exchange()
        self.assertEqual(self.client.resets, {number: ErrorCodes.CANCEL})
        self.assertEqual(self.last.learnt, ["lost"])

    def test_paused_body(self) -> None:
        """A paused body takes no time, and has it all again afterwards."""
        number = self.client.ask(POST, end=False)
        self.last.call.readBody()
        self.last.call.pauseBody()
        self.pass_time(60)
        self.last.call.resumeBody()
        self.pass_time(9.75)
        self.client.exchange()
        self.assertNotIn(number, self.client.heads)
        self.pass_time(0.25)
        self.client.exchange()
        self.assertIn(number, self.client.heads)

    def test_nothing_taken(self) -> None:
        """A stream whose client gives it no room is reset, and the others are not."""
        self.client.acknowledging = False
        number, other = self.client.ask(), self.client.ask()
        self.answering[0].call.respond(200, {}, None)
        self.answering[0].call.write(bytes(65_536))
        self.client.exchange()
        self.pass_time(14.75)
        self.client.h2.increment_flow_control_window(1)
        self.client.h2.increment_flow_control_window(1, number)
        self.client.exchange()
        self.answering[0].call.write(b"x")
        self.pass_time(14.75)
        self.client.exchange()
        self.assertEqual(self.client.resets, {})
        self.pass_time(0.25)
        self.client.exchange()
        self.assertEqual(self.client.resets, {number: ErrorCodes.CANCEL})
        self.assertEqual(self.answering[0].learnt, ["lost"])
        hello(self.answering[1])
        self.client.h2.increment_flow_control_window(100)
        self.client.exchange()
        self.assertIn(other, self.client.ended)

    def test_nothing_taken_by_its_host(self) -> None:
        """If TCP takes nothing the connection is cut off."""
        self.client.ask()
        self.client.transport.producer.pauseProducing()
        self.pass_time(15)
        self.assertTrue(self.client.transport.cut)

    def test_half_closed(self) -> None:
        """A client that says nothing any more gives no room either."""
        self.client.connected.line.readConnectionLost()
        self.assertTrue(self.client.transport.cut)


class StopTests(HTTP2TestCase):
    """The front's end."""

    def test_idle(self) -> None:
        """A connection without requests is told goodbye, and closed."""
        self.front.stop()
        self.client.exchange()
        self.assertEqual(self.client.goodbye.error_code, ErrorCodes.NO_ERROR)
        self.assertTrue(self.client.transport.halved)

    def test_running(self) -> None:
        """Requests that run are finished; others are refused, so that they may be sent again elsewhere."""
        number = self.client.ask()
        self.client.h2.send_headers(3, GET, end_stream=True)
        late = self.client.h2.data_to_send()
        stopped = self.front.stop()
        self.client.exchange()
        self.assertEqual(self.client.goodbye.last_stream_id, number)
        self.client.connected.send(late)
        self.assertEqual(len(self.answering), 1)
        written = self.client.transport.take()
        self.assertEqual(written, RstStreamFrame(3, error_code=ErrorCodes.REFUSED_STREAM).serialize())
        self.assertFalse(self.client.transport.halved)
        hello(self.last)
        self.assertIn(b"hello", self.client.transport.take())
        self.assertTrue(self.client.transport.halved)
        self.assertNoResult(stopped)
        self.client.connected.lose()
        self.successResultOf(stopped)
