"""
Tests for L{hypermail.hive.front.http1}: HTTP/1.1 of clients.
"""

from __future__ import annotations

from typing import Any

import h11
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.address import IPv6Address, UNIXAddress
from twisted.internet.interfaces import ISSLTransport
from zope.interface import directlyProvides

from hypermail.hive.front.http1 import HELD
from hypermail.hive.front.line import LINGER, LINGERING
from hypermail.hive.front.wire import LARGEST_HEAD, MOST_FIELDS
from hypermail.hive.heads import RequestArrival
from hypermail.test.front import DATE, WRONG, Answering, FrontTestCase, hello

GET = b"GET /a?b HTTP/1.1\r\nHost: example.org\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
EXPECTING = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
UPGRADE = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
OLD = b"GET / HTTP/1.0\r\n\r\n"
HELLO = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n" + DATE + b"content-length: 5\r\n\r\nhello"


class HTTP1TestCase(FrontTestCase):
    """C{protocol} is None: without ALPN it is HTTP/1.1."""

    def setUp(self) -> None:
        super().setUp()
        self.client = self.connect()

    @property
    def transport(self) -> Any:
        """The client's."""
        return self.client.transport

    @property
    def last(self) -> Answering:
        """Who answers the last call."""
        return self.answering[-1]

    def refused(self, status: int, *pieces: bytes) -> None:
        """A request gets a page and the connection is closed; nobody is called."""
        client = self.connect()
        client.send(*pieces)
        written = client.transport.take()
        self.assertEqual(written.partition(b"\r\n")[0].split(b" ")[1], b"%d" % status, pieces)
        self.assertIn(b"connection: close\r\n", written.lower())
        self.assertTrue(client.transport.halved)
        self.assertEqual(self.answering, [])


class RequestTests(HTTP1TestCase):
    """Heads."""

    def test_call(self) -> None:
        """A head becomes a call, with names as they came, as soon as it is whole."""
        self.client.send(GET[:-1])
        self.assertEqual(self.answering, [])
        self.client.send(GET[-1:])
        call = self.last.call
        self.assertEqual((call.method, call.target, call.has_body), ("GET", b"/a?b", False))
        self.assertEqual(call.headers, {"Host": ("example.org",)})
        self.assertEqual(call.arrival, RequestArrival("192.0.2.1", 50_000, "https", (1, 1)))
        self.assertFalse(call.responded)

    def test_headers(self) -> None:
        """Fields of one name stay in their order; values are UTF-8, or Latin-1 if they cannot be."""
        self.client.send(b"GET / HTTP/1.1\r\nHost: h\r\nA: 1\r\nB: \xc3\xa4\r\nA: \xe4\r\nb:  x y \r\n\r\n")
        self.assertEqual(self.last.call.headers, {"Host": ("h",), "A": ("1", "ä"), "B": ("ä",), "b": ("x y",)})

    def test_folded(self) -> None:
        """A line that goes on in the next one is read with a space between (RFC 9112 §5.2)."""
        self.client.send(b"GET / HTTP/1.1\r\nHost: h\r\nA: 1\r\n\t2\r\n\r\n")
        self.assertEqual(self.last.call.headers["A"], ("1 2",))

    def test_addresses(self) -> None:
        """Zones of IPv6 are left out; sockets of UNIX have neither address nor port."""
        for peer, expected in (
            (IPv6Address("TCP", "fe80::1%eth0", 7), ("fe80::1", 7)),
            (IPv6Address("TCP", "::ffff:192.0.2.1", 7), ("192.0.2.1", 7)),
            (IPv6Address("TCP", "::ffff:1", 7), ("::ffff:1", 7)),
            (UNIXAddress(b"/run/x"), ("", 0)),
        ):
            self.connect(peer).send(GET)
            self.assertEqual(self.last.call.arrival[:2], expected)

    def test_empty_lines(self) -> None:
        """Empty lines before a request are passed over, also after the body of another one (RFC 9112 §2.2)."""
        self.on_call = hello
        self.client.send(b"\r", b"\n", b"\r\n" + GET + b"\r\n\r\n" + GET + b"\r\n")
        self.assertEqual(len(self.answering), 2)
        self.assertEqual(self.transport.take(), HELLO * 2)
        self.client.send(GET)
        self.assertEqual(self.transport.take(), HELLO)

    def test_old(self) -> None:
        """HTTP/1.0 needs no host, gets no upgrade, and its connection is closed."""
        self.on_call = hello
        self.client.send(b"GET / HTTP/1.0\r\nConnection: upgrade, keep-alive\r\nUpgrade: x\r\n\r\n")
        self.assertEqual(self.last.call.arrival.version, (1, 0))
        self.assertNotIn("Upgrade", self.last.call.headers)
        self.assertIn(b"\r\nConnection: close\r\n", self.transport.take())
        self.assertTrue(self.transport.halved)

    def test_smuggling(self) -> None:
        """What others might read otherwise is refused."""
        for lines in (
            b"Content-Length: 3\r\nTransfer-Encoding: chunked",
            b"Content-Length: 3\r\nContent-Length: 4",
            b"Content-Length: 3, 4",
            b"Content-Length: +3",
            b"Content-Length: 99999999999999999999999",
            b"Content-Length : 3",
            b"A: b\rc",
            b"A: b\0c",
            b"A\x00: b",
            b": b",
            b"A b: c",
            b"A",
            b"Host: other",
        ):
            self.refused(400, b"POST / HTTP/1.1\r\nHost: h\r\n" + lines + b"\r\n\r\n")
        self.refused(400, b"POST / HTTP/1.1\r\nHost: h\r\n".replace(b"\r\n", b"\r\n folded\r\n", 1) + b"\r\n")
        self.refused(400, b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n")
        self.refused(501, b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n")

    def test_no_request(self) -> None:
        """What is no request, or none of this HTTP, is refused at once."""
        self.refused(400, b"\x16\x03\x01")
        self.refused(400, b"GET /\r\n\r\n")
        self.refused(400, b"GET  / HTTP/1.1\r\n\r\n")
        self.refused(400, b"GET / HTTP/1.1\r\n\r\n")
        self.refused(505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        self.refused(505, b"GET / HTTP/0.9\r\n\r\n")

    def test_limits(self) -> None:
        """A head has its limits, and what is exactly at them is served."""
        line = b"GET / HTTP/1.1\r\nHost: h\r\n"
        self.refused(431, line + b"a: b\r\n" * MOST_FIELDS + b"\r\n")
        self.refused(431, line + b"a: " + bytes(LARGEST_HEAD).replace(b"\0", b"b"))
        self.refused(431, line + b"a: " + bytes(LARGEST_HEAD).replace(b"\0", b"b") + b"\r\n\r\n")
        self.refused(414, b"GET /" + bytes(LARGEST_HEAD).replace(b"\0", b"b"))
        self.client.send(line + b"a: b\r\n" * (MOST_FIELDS - 1) + b"\r\n")
        self.assertEqual(len(self.answering), 1)
        self.connect().send(line + b"a: " + bytes(LARGEST_HEAD - 40).replace(b"\0", b"b") + b"\r\n\r\n")
        self.assertEqual(len(self.answering), 2)

    def test_pages(self) -> None:
        """The page of a refused request says what it means, and the connection is closed after it."""
        self.client.send(b"?\r\n\r\n")
        head, _, body = self.transport.take().partition(b"\r\n\r\n")
        self.assertEqual(body, b"400 Bad Request\nThis request cannot be understood.\n")
        self.assertIn(b"\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 51\r\n", head)
        self.client.send(GET)
        self.assertEqual((self.answering, self.transport.take()), ([], b""))

    @given(st.lists(st.integers(1, 60), max_size=30), st.booleans())
    @settings(deadline=None, max_examples=60)
    def test_pieces(self, sizes: list[int], late: bool) -> None:
        """However the client's bytes are cut into pieces, the calls and their bodies are the same."""
        chunks = b"3\r\nabc\r\nA;x=y\r\n\r\n34567890\r\n0\r\nT: 1\r\nT: 2\r\n\r\n"
        sent = GET + POST + b"0123456789" + CHUNKED + chunks + GET
        self.answering.clear()
        self.on_call = lambda answering: answering.call.readBody()
        client = self.connect()
        for size in [*sizes, len(sent)]:
            piece, sent = sent[:size], sent[size:]
            if piece:
                client.send(piece)
            if not late:
                self._answer()
        for _ in range(4):
            self._answer()
        self.assertEqual([one.call.target for one in self.answering], [b"/a?b", b"/", b"/", b"/a?b"])
        self.assertEqual([one.body for one in self.answering], [b"", b"0123456789", b"abc\r\n34567890", b""])
        self.assertEqual(self.answering[2].learnt[-1], {"T": ("1", "2")})
        self.assertEqual(client.transport.take(), HELLO * 4)

    def _answer(self) -> None:
        """Answer the last call, if it is whole."""
        if self.answering:
            call, learnt = self.last.call, self.last.learnt
            if not call.has_body or isinstance(learnt[-1:] and learnt[-1], dict):
                hello(self.last)


class ResponseTests(HTTP1TestCase):
    """What is written."""

    def test_length(self) -> None:
        """A response of a known length is written with it, and the connection goes on."""
        self.on_call = hello
        self.client.send(GET)
        self.assertEqual(self.transport.take(), HELLO)
        self.client.send(GET)
        self.assertEqual(self.transport.take(), HELLO)
        self.assertFalse(self.transport.halved)

    def test_date(self) -> None:
        """A date that the answer has stays, and ours goes on with time."""
        self.client.send(GET)
        self.last.call.respond(200, {"date": ("then",)}, 0)
        self.last.call.end({})
        self.assertEqual(self.transport.take(), b"HTTP/1.1 200 OK\r\ndate: then\r\ncontent-length: 0\r\n\r\n")
        self.clock.advance(1)
        self.on_call = hello
        self.client.send(GET)
        self.assertIn(b"date: Sat, 21 Nov 2026 21:00:01 GMT", self.transport.take())

    def test_connection_headers(self) -> None:
        """What a connection's headers say is the front's business."""
        self.client.send(GET)
        names = ("content-length", "transfer-encoding", "connection", "keep-alive", "upgrade")
        headers = dict.fromkeys(names, ("3",))
        self.last.call.respond(299, {**headers, "a": ("1", "ä")}, 2)
        self.assertEqual(
            self.transport.take(), b"HTTP/1.1 299 \r\na: 1\r\na: \xc3\xa4\r\n" + DATE + b"content-length: 2\r\n\r\n"
        )

    def test_chunked(self) -> None:
        """One of an unknown length is chunked, and may have trailers."""
        self.client.send(GET)
        call = self.last.call
        call.respond(200, {}, None)
        self.assertTrue(call.responded)
        self.assertIn(b"\r\nTransfer-Encoding: chunked\r\n\r\n", self.transport.take())
        call.write(b"ab")
        call.write(b"")
        call.write(b"c")
        self.assertEqual(self.transport.take(), b"2\r\nab\r\n1\r\nc\r\n")
        call.end({"t": ("1", "2")})
        self.assertEqual(self.transport.take(), b"0\r\nt: 1\r\nt: 2\r\n\r\n")

    def test_close_delimited(self) -> None:
        """To HTTP/1.0 it is what comes until the connection is closed; trailers have no place there."""
        self.client.send(OLD)
        self.last.call.respond(200, {}, None)
        self.last.call.write(b"ab")
        self.last.call.end({"t": ("1",)})
        head, _, body = self.transport.take().partition(b"\r\n\r\n")
        self.assertEqual(body, b"ab")
        self.assertNotIn(b"ncoding", head)
        self.assertTrue(self.transport.halved)

    def test_trailers_without_a_place(self) -> None:
        """Trailers of a response of a known length are dropped."""
        self.client.send(GET)
        self.last.call.respond(200, {}, 0)
        self.last.call.end({"t": ("1",)})
        self.assertTrue(self.transport.take().endswith(b"\r\ncontent-length: 0\r\n\r\n"))

    def test_no_body(self) -> None:
        """A response to C{HEAD}, or with 204 or 304, has none; its length is told where that means something."""
        for method, status, length, told in (
            (b"HEAD", 200, 7, b"content-length: 7"),
            (b"HEAD", 200, 0, b"content-length: 0"),
            (b"HEAD", 200, None, b"Transfer-Encoding: chunked"),
            (b"GET", 204, 0, b""),
            (b"GET", 204, None, b""),
            (b"GET", 304, 0, b""),
            (b"GET", 304, 7, b"content-length: 7"),
            (b"GET", 304, None, b""),
        ):
            self.client.send(GET.replace(b"GET", method))
            self.last.call.respond(status, {"date": ("x",)}, length)
            self.last.call.write(b"body")
            self.last.call.end({"t": ("1",)})
            self.assertEqual(
                self.transport.take().partition(b"\r\n")[2],
                b"date: x\r\n" + told + (b"\r\n" if told else b"") + b"\r\n",
            )
        self.assertFalse(self.transport.halved)

    def test_pipelining(self) -> None:
        """Requests that come together are answered one after the other, however many there are."""
        self.client.send(GET * 3)
        self.assertEqual(len(self.answering), 1)
        hello(self.last)
        self.assertEqual(len(self.answering), 2)
        self.on_call = hello
        hello(self.last)
        self.assertEqual(self.transport.take(), HELLO * 3)
        self.client.send(GET * 1_000)
        self.assertEqual(self.transport.take(), HELLO * 1_000)

    def test_too_many_pipelined(self) -> None:
        """While one is answered only so many bytes are read, and they are when it was."""
        self.client.send(GET)
        self.client.send(bytes(HELD).replace(b"\0", b"\r"))
        self.assertFalse(self.transport.paused)
        self.client.send(b"\n")
        self.assertTrue(self.transport.paused)
        hello(self.last)
        self.assertFalse(self.transport.paused)

    def test_none_answered_while_none_is_taken(self) -> None:
        """As long as responses are not taken the next request waits."""
        self.on_call = hello
        self.transport.producer.pauseProducing()
        self.client.send(GET)
        self.assertEqual(self.answering, [])
        self.transport.producer.resumeProducing()
        self.assertEqual(self.transport.take(), HELLO)

    def test_back_pressure(self) -> None:
        """Who answers learns that the client is slow, also if that began within C{serve}."""
        self.client.send(GET)
        self.transport.producer.pauseProducing()
        self.transport.producer.pauseProducing()
        self.transport.producer.resumeProducing()
        self.assertEqual(self.last.learnt, ["pause", "resume"])
        hello(self.last)
        self.transport.producer.pauseProducing()
        self.transport.producer.resumeProducing()
        self.assertEqual(self.last.learnt, ["pause", "resume"])
        self.on_call = lambda answering: self.transport.producer.pauseProducing()
        self.client.send(GET)
        self.assertEqual(self.last.learnt, ["pause"])

    def test_client_closes(self) -> None:
        """A client that wants no other request gets its response, and the connection is closed."""
        self.on_call = hello
        self.client.send(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        self.assertTrue(self.transport.take().endswith(b"\r\nConnection: close\r\n\r\nhello"))
        self.assertTrue(self.transport.halved)

    def test_abort(self) -> None:
        """One that is not whole never looks as if it were: the connection is cut; who aborts learns nothing of it."""
        self.client.send(CHUNKED)
        self.last.call.respond(200, {}, None)
        self.transport.clear()
        self.last.call.abort()
        self.assertTrue(self.transport.cut)
        self.assertEqual(self.transport.take(), b"")
        self.client.lose()
        self.assertEqual(self.last.learnt, [])

    def test_wrong(self) -> None:
        """Responses that are none are cut, and logged: of another length, with a break, without a head, with two."""
        for wrong in WRONG:
            client = self.connect()
            client.send(GET)
            wrong(self.last.call)
            self.assertTrue(client.transport.cut, wrong)
            self.assertEqual(len(self.flushLoggedErrors(h11.LocalProtocolError)), 1)
            client.lose()
            self.assertEqual(self.last.learnt, ["lost"])

    def test_bugs(self) -> None:
        """A failure of who answers is logged, and a page for this client; or cut, when its response had begun."""

        def fail(answering: Answering) -> None:
            raise ValueError("a bug")

        def half(answering: Answering) -> None:
            answering.call.respond(200, {}, 5)
            fail(answering)

        self.on_call = fail
        self.client.send(GET)
        self.assertTrue(self.transport.take().startswith(b"HTTP/1.1 500 Internal Server Error\r\n"))
        self.on_call = hello
        self.client.send(GET)
        self.assertEqual(self.transport.take(), HELLO)
        self.on_call = half
        self.client.send(GET)
        self.assertTrue(self.transport.cut)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 2)

    def test_over(self) -> None:
        """What is said once a call is over goes nowhere, and not into another response."""
        self.client.send(GET)
        first = self.last.call
        hello(self.last)
        self.transport.clear()
        self.client.send(GET)
        first.readBody()
        first.pauseBody()
        first.resumeBody()
        first.respond(200, {}, 1)
        first.upgrade({})
        first.write(b"x")
        first.end({})
        first.abort()
        self.assertEqual(self.transport.take(), b"")
        self.assertFalse(self.transport.cut)

    def test_lost(self) -> None:
        """Who answers learns, once, that the client is gone."""
        self.client.send(GET)
        self.client.lose()
        self.assertEqual(self.last.learnt, ["lost"])
        self.last.call.respond(200, {}, 1)
        self.assertEqual(self.transport.take(), b"")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_half_closed(self) -> None:
        """A client that closes its half waits for nothing: an idle connection is closed, one with a request cut."""
        self.on_call = hello
        self.client.send(GET)
        self.client.line.readConnectionLost()
        self.assertTrue(self.transport.halved)
        self.on_call = lambda answering: None
        client = self.connect()
        client.send(GET)
        client.line.readConnectionLost()
        self.assertTrue(client.transport.cut)
        silent = self.connect()
        silent.line.readConnectionLost()
        self.assertTrue(silent.transport.closed)


class BodyTests(HTTP1TestCase):
    """Bodies of requests."""

    def test_only_when_read(self) -> None:
        """Nothing of a body comes before it is read; then what is there does, at once, and the rest as it comes."""
        self.client.send(POST + b"0123")
        self.assertTrue(self.last.call.has_body)
        self.assertEqual(self.last.learnt, [])
        self.last.call.readBody()
        self.assertEqual(self.last.learnt, [b"0123"])
        self.client.send(b"456789")
        self.assertEqual(self.last.learnt, [b"0123", b"456789", {}])

    def test_read_within(self) -> None:
        """It may be read within C{serve}."""
        self.on_call = lambda answering: answering.call.readBody()
        self.client.send(POST + b"0123456789")
        self.assertEqual(self.last.learnt, [b"0123456789", {}])

    def test_none(self) -> None:
        """A request without a body has none, and its end is not told; neither has one of a length of 0."""
        for request in (GET, POST.replace(b"10", b"0")):
            self.client.send(request)
            self.assertFalse(self.last.call.has_body)
            self.last.call.readBody()
            self.assertEqual(self.last.learnt, [])
            hello(self.last)

    def test_chunked(self) -> None:
        """Chunks come together, as far as they are here, and trailers with the end."""
        self.client.send(CHUNKED)
        self.last.call.readBody()
        self.client.send(b"1\r\na\r\n2\r\nbc\r\n3\r\nd", b"ef\r\n0\r\nT: 1\r\n\r\n")
        self.assertEqual(self.last.learnt, [b"abcd", b"ef", {"T": ("1",)}])

    def test_unread(self) -> None:
        """What is not read is held up to a limit, then nothing is taken from the client; once it is read all comes."""
        self.client.send(POST.replace(b"10", b"%d" % (HELD + 2)))
        self.client.send(bytes(HELD))
        self.assertFalse(self.transport.paused)
        self.client.send(b"x")
        self.assertTrue(self.transport.paused)
        self.last.call.readBody()
        self.assertFalse(self.transport.paused)
        self.assertEqual(len(self.last.body), HELD + 1)

    def test_paused(self) -> None:
        """A paused body waits, its end too, and so does the client beyond the limit."""
        self.client.send(POST.replace(b"10", b"%d" % (HELD + 2)))
        self.last.call.readBody()
        self.last.call.pauseBody()
        self.last.call.pauseBody()
        self.client.send(bytes(HELD), b"xx")
        self.assertEqual(self.last.learnt, [])
        self.assertTrue(self.transport.paused)
        self.last.call.resumeBody()
        self.last.call.resumeBody()
        self.assertEqual(self.last.learnt, [bytes(HELD) + b"xx", {}])
        self.assertFalse(self.transport.paused)

    def test_paused_within(self) -> None:
        """Who pauses while it takes something gets not even the end until it goes on."""
        self.client.send(POST)
        answering = self.last
        received = answering.bodyReceived

        def pause(data: bytes) -> None:
            received(data)
            answering.call.pauseBody()

        answering.bodyReceived = pause  # type: ignore[method-assign]
        answering.call.readBody()
        self.client.send(b"0123456789")
        self.assertEqual(answering.learnt, [b"0123456789"])
        answering.call.resumeBody()
        self.assertEqual(answering.learnt, [b"0123456789", {}])

    def test_expected(self) -> None:
        """A client that waits for it is told to go on when its body is read, and not before."""
        self.client.send(EXPECTING)
        self.assertEqual(self.transport.take(), b"")
        self.last.call.readBody()
        self.assertEqual(self.transport.take(), b"HTTP/1.1 100 Continue\r\n\r\n")
        self.client.send(b"abcd")
        hello(self.last)
        self.assertEqual(self.transport.take(), HELLO)
        self.assertFalse(self.transport.halved)

    def test_expected_in_vain(self) -> None:
        """When it is not read the connection is closed: nobody could tell whether a body comes."""
        self.on_call = hello
        self.client.send(EXPECTING)
        self.assertIn(b"\r\nconnection: close\r\n", self.transport.take())
        self.assertTrue(self.transport.halved)

    def test_not_read(self) -> None:
        """A response that ends before the body is delivered; what comes is dropped, and the connection goes on."""
        self.client.send(POST + b"0123")
        hello(self.last)
        self.assertEqual(self.transport.take(), HELLO)
        self.on_call = hello
        self.client.send(b"456789" + GET)
        self.assertEqual(self.transport.take(), HELLO)
        self.assertEqual(self.answering[0].learnt, [])

    def test_too_much_to_drop(self) -> None:
        """Of a rest that is too long the connection is closed, then cut if the client goes on."""
        self.client.send(CHUNKED + b"%x\r\n" % (4 * LINGERING))
        hello(self.last)
        self.client.send(*[bytes(1 << 16)] * (LINGERING >> 16))
        self.assertFalse(self.transport.halved)
        self.client.send(bytes(1 << 16))
        self.assertTrue(self.transport.halved)
        self.client.send(*[bytes(1 << 16)] * (LINGERING >> 16))
        self.assertFalse(self.transport.cut)
        self.client.send(b"x")
        self.assertTrue(self.transport.cut)

    def test_too_slow_to_drop(self) -> None:
        """Nor is waited for it longer than for a moment."""
        self.client.send(POST)
        hello(self.last)
        self.pass_time(LINGER - 0.5)
        self.client.send(b"0")
        self.assertFalse(self.transport.halved)
        self.pass_time(0.5)
        self.assertTrue(self.transport.halved)

    def test_bad_chunks(self) -> None:
        """Chunks that are none get a page, unless the response has begun: then it is cut."""
        for bad in (
            b"x\r\n",
            b"-1\r\n",
            b"1\r\nabc\r\n",
            b"0x1\r\n",
            b"fffffffffffffffffffff\r\n",
            b"0\r\nT : 1\r\n\r\n",
        ):
            client = self.connect()
            client.send(CHUNKED)
            self.last.call.readBody()
            client.send(bad)
            self.assertTrue(client.transport.take().startswith(b"HTTP/1.1 400 "), bad)
            self.assertTrue(client.transport.halved)
            self.assertEqual(self.last.learnt[-1], "lost")
        self.client.send(CHUNKED)
        self.last.call.readBody()
        self.last.call.respond(200, {}, None)
        self.client.send(b"x\r\n")
        self.assertTrue(self.transport.cut)
        self.assertEqual(self.last.learnt, ["lost"])

    def test_bad_head_request(self) -> None:
        """To C{HEAD} even that page has no body."""
        self.client.send(CHUNKED.replace(b"POST", b"HEAD"))
        self.last.call.readBody()
        self.client.send(b"x\r\n")
        written = self.transport.take()
        self.assertTrue(written.startswith(b"HTTP/1.1 400 "))
        self.assertTrue(written.endswith(b"\r\n\r\n"))

    def test_dropped(self) -> None:
        """What was held back is let come, and dropped, when the connection ends with the response."""
        self.client.send(POST.replace(b"10", b"999999\r\nConnection: close"))
        self.client.send(bytes(HELD + 1))
        self.assertTrue(self.transport.paused)
        hello(self.last)
        self.assertFalse(self.transport.paused)
        self.assertTrue(self.transport.halved)
        self.assertIsNone(self.transport.producer)  # which would keep the transport from closing

    def test_bad_rest(self) -> None:
        """After the response they end the connection only."""
        self.client.send(CHUNKED)
        hello(self.last)
        self.assertEqual(self.transport.take(), HELLO)
        self.client.send(b"x\r\n")
        self.assertEqual(self.transport.take(), b"")
        self.assertTrue(self.transport.halved)

    def test_trailers_limit(self) -> None:
        """There are so many trailers at most, and bytes of them."""
        for trailers in (b"T: 1\r\n" * (MOST_FIELDS + 1) + b"\r\n", b"T: " + bytes(LARGEST_HEAD).replace(b"\0", b"x")):
            client = self.connect()
            client.send(CHUNKED)
            self.last.call.readBody()
            client.send(b"0\r\n" + trailers)
            self.assertTrue(client.transport.take().startswith(b"HTTP/1.1 431 "))


class DeadlineTests(HTTP1TestCase):
    """Nothing hangs for ever."""

    def test_silence(self) -> None:
        """Who connects and says nothing is cut off."""
        self.pass_time(4.75)
        self.assertFalse(self.transport.cut)
        self.pass_time(0.25)
        self.assertTrue(self.transport.cut)

    def test_head(self) -> None:
        """A head that comes byte by byte is refused when its time is over, counted from its first one."""
        self.on_call = hello
        self.client.send(GET)
        self.transport.clear()
        self.pass_time(60)
        for byte in GET[:19]:
            self.client.send(bytes([byte]))
            self.pass_time(0.25)
        self.assertEqual(self.transport.take(), b"")
        self.pass_time(0.25)
        self.assertTrue(self.transport.take().startswith(b"HTTP/1.1 408 "))
        self.assertTrue(self.transport.halved)

    def test_idle(self) -> None:
        """A connection without requests is closed, without a word; empty lines are none."""
        self.on_call = hello
        self.client.send(GET)
        self.transport.clear()
        self.pass_time(119)
        self.client.send(b"\r\n")
        self.assertFalse(self.transport.halved)
        self.pass_time(1)
        self.assertTrue(self.transport.halved)
        self.assertEqual(self.transport.take(), b"")

    def test_idle_again(self) -> None:
        """Each request begins that time anew."""
        self.on_call = hello
        for _ in range(3):
            self.client.send(GET)
            self.pass_time(119)
            self.assertFalse(self.transport.halved)

    def test_body(self) -> None:
        """Each piece of a body that is wanted has its time; then the client is told, and who answers."""
        self.client.send(POST)
        self.pass_time(60)  # nobody wants it
        self.last.call.readBody()
        for byte in b"01":
            self.pass_time(9.75)
            self.client.send(bytes([byte]))
        self.pass_time(9.75)
        self.assertEqual(self.transport.take(), b"")
        self.pass_time(0.25)
        self.assertTrue(self.transport.take().startswith(b"HTTP/1.1 408 "))
        self.assertEqual(self.last.learnt, [b"0", b"1", "lost"])

    def test_body_after_the_head(self) -> None:
        """If the response has begun, the connection is cut."""
        self.client.send(POST)
        self.last.call.readBody()
        self.last.call.respond(200, {}, 1)
        self.pass_time(10)
        self.assertTrue(self.transport.cut)
        self.client.lose()
        self.assertEqual(self.last.learnt, ["lost"])

    def test_paused_body(self) -> None:
        """A paused body takes no time, and has it all again afterwards."""
        self.client.send(POST)
        self.last.call.readBody()
        self.last.call.pauseBody()
        self.pass_time(60)
        self.last.call.resumeBody()
        self.pass_time(9.75)
        self.assertEqual(self.transport.take(), b"")
        self.pass_time(0.25)
        self.assertTrue(self.transport.take().startswith(b"HTTP/1.1 408 "))

    def test_whole_body(self) -> None:
        """Nothing is expected of a client once its request is whole."""
        self.client.send(POST)
        self.last.call.readBody()
        self.client.send(b"0123456789")
        self.pass_time(600)
        hello(self.last)
        self.assertEqual(self.transport.take().partition(b"\r\n")[0], b"HTTP/1.1 200 OK")

    def test_nothing_taken(self) -> None:
        """A client that takes nothing of what waits is cut off, however long its response is."""
        self.client.send(GET)
        self.transport.producer.pauseProducing()
        self.pass_time(14.75)
        self.assertFalse(self.transport.cut)
        self.pass_time(0.25)
        self.assertTrue(self.transport.cut)
        self.client.lose()
        self.assertEqual(self.last.learnt, ["pause", "lost"])

    def test_little_taken(self) -> None:
        """One that takes a little is not, until it stops."""
        self.client.send(GET)
        self.transport.dataBuffer = bytes(1 << 17)
        self.transport.producer.pauseProducing()
        for _ in range(5):
            self.transport.offset += 1
            self.pass_time(15)
        self.assertFalse(self.transport.cut)
        self.pass_time(15)
        self.assertTrue(self.transport.cut)

    def test_taken(self) -> None:
        """Nor is one that has taken all."""
        self.client.send(GET)
        self.transport.producer.pauseProducing()
        self.pass_time(10)
        self.transport.producer.resumeProducing()
        self.pass_time(60)
        self.assertFalse(self.transport.cut)

    def test_closing(self) -> None:
        """A connection that is closing does not stay: what was written has to be taken, then it has to be closed."""
        self.client.send(OLD)
        hello(self.last)
        self.transport.offset = 1
        self.pass_time(15)
        self.assertFalse(self.transport.cut)
        self.client.line.writeConnectionLost()
        self.pass_time(4.75)
        self.assertFalse(self.transport.cut)
        self.pass_time(0.25)
        self.assertTrue(self.transport.cut)

    def test_closing_stalled(self) -> None:
        """If it is not taken it is cut."""
        self.client.send(OLD)
        hello(self.last)
        self.pass_time(14.75)
        self.assertFalse(self.transport.cut)
        self.pass_time(0.25)
        self.assertTrue(self.transport.cut)

    def test_closed(self) -> None:
        """A client that closes it, too, as it should, ends it; nothing stays in the reactor."""
        self.client.send(OLD)
        hello(self.last)
        self.client.line.writeConnectionLost()
        self.client.line.readConnectionLost()
        self.assertTrue(self.transport.closed)
        self.client.lose()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.front.connections, 0)


class UpgradeTests(HTTP1TestCase):
    """Other protocols."""

    def upgrade(self, more: bytes = b"") -> Answering:
        """Have a connection in another protocol."""
        self.client.send(UPGRADE + more)
        self.last.call.upgrade({"upgrade": ("websocket",)})
        self.assertEqual(
            self.transport.take(),
            b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n" + DATE + b"\r\n",
        )
        self.assertTrue(self.last.call.responded)
        return self.last

    def test_both_ways(self) -> None:
        """After 101 bytes go both ways as they are, first those that came with the request."""
        answering = self.upgrade(b"early")
        self.client.send(b"later", b"still")
        answering.call.write(b"GET")
        self.assertEqual(answering.learnt, [b"early", b"later", b"still"])
        self.assertEqual(self.transport.take(), b"GET")

    def test_early_pieces(self) -> None:
        """Those that came before it was answered keep their order."""
        self.client.send(UPGRADE + b"1", b"2")
        self.client.send(b"3")
        self.last.call.upgrade({"upgrade": ("websocket",)})
        self.assertEqual(self.last.learnt, [b"123"])

    def test_within(self) -> None:
        """It may be upgraded within C{serve}."""
        self.on_call = lambda answering: answering.call.upgrade({"upgrade": ("x",)})
        self.client.send(UPGRADE + b"1")
        self.client.send(b"2")
        self.assertEqual(self.last.learnt, [b"1", b"2"])

    def test_not_taken(self) -> None:
        """A call that is answered otherwise is none, and the connection goes on."""
        self.on_call = hello
        self.client.send(UPGRADE + GET)
        self.assertEqual(self.transport.take(), HELLO * 2)
        self.assertEqual(self.answering[0].call.headers["Upgrade"], ("websocket",))

    def test_with_a_body(self) -> None:
        """With a body there is no upgrade (RFC 9110 §7.8)."""
        self.client.send(UPGRADE.replace(b"Host", b"Content-Length: 1\r\nHost"))
        self.assertNotIn("Upgrade", self.last.call.headers)

    def test_back_pressure(self) -> None:
        """There is back pressure both ways."""
        answering = self.upgrade()
        self.transport.producer.pauseProducing()
        self.transport.producer.resumeProducing()
        self.assertEqual(answering.learnt, ["pause", "resume"])
        answering.call.pauseBody()
        self.client.send(bytes(HELD))
        self.assertFalse(self.transport.paused)
        self.client.send(b"x")
        self.assertTrue(self.transport.paused)
        answering.call.resumeBody()
        self.assertFalse(self.transport.paused)
        self.assertEqual(answering.learnt[2:], [bytes(HELD) + b"x"])

    def test_answer_ends_first(self) -> None:
        """One end may end first, and take what still comes; when both have the connection is closed."""
        answering = self.upgrade()
        answering.call.write(b"bye")
        answering.call.end({})
        answering.call.end({})
        answering.call.write(b"x")
        self.assertTrue(self.transport.halved)
        self.assertFalse(self.transport.closed)
        self.client.send(b"and")
        self.client.line.readConnectionLost()
        self.assertEqual(answering.learnt, [b"and", {}])
        self.assertTrue(self.transport.closed)
        self.assertEqual(self.transport.take(), b"bye")
        self.client.lose()
        self.assertEqual(answering.learnt, [b"and", {}])

    def test_client_ends_first(self) -> None:
        """The client may as well; what it said comes before, also when that has to wait."""
        answering = self.upgrade()
        answering.call.pauseBody()
        self.client.send(b"and")
        self.client.line.readConnectionLost()
        self.assertEqual(answering.learnt, [])
        answering.call.resumeBody()
        self.assertEqual(answering.learnt, [b"and", {}])
        answering.call.write(b"bye")
        self.assertFalse(self.transport.closed)
        answering.call.end({})
        self.assertTrue(self.transport.closed)

    def test_over_tls(self) -> None:
        """Over TLS, which has no halves, the connection is closed by whoever ends first."""
        directlyProvides(self.transport, ISSLTransport)
        answering = self.upgrade()
        answering.call.end({})
        self.assertFalse(self.transport.halved)
        self.assertTrue(self.transport.closed)
        self.client.lose()
        self.assertEqual(answering.learnt, ["lost"])

    def test_no_deadline(self) -> None:
        """It may be silent for hours; what is written has to be taken."""
        answering = self.upgrade()
        self.pass_time(3_600)
        self.assertFalse(self.transport.cut)
        self.transport.producer.pauseProducing()
        self.pass_time(15)
        self.assertTrue(self.transport.cut)
        self.client.lose()
        self.assertEqual(answering.learnt, ["pause", "lost"])

    def test_deadline_after_the_end(self) -> None:
        """Once the answer has ended the client has to say something, or end, too."""
        answering = self.upgrade()
        answering.call.end({})
        self.client.line.writeConnectionLost()
        self.pass_time(9.75)
        self.client.send(b"x")
        self.pass_time(9.75)
        self.assertFalse(self.transport.cut)
        self.pass_time(0.25)
        self.assertTrue(self.transport.cut)


class StopTests(HTTP1TestCase):
    """The front's end."""

    def test_idle(self) -> None:
        """Idle connections are closed at once, also new ones and those of half a head."""
        begun, new = self.connect(), self.connect()
        self.on_call = hello
        self.client.send(GET)
        begun.send(GET[:5])
        stopped = self.front.stop()
        for client in (self.client, begun, new):
            self.assertTrue(client.transport.halved)
            self.assertNoResult(stopped)
            client.lose()
        self.successResultOf(stopped)

    def test_running(self) -> None:
        """Requests that run are finished, and are the last of their connections."""
        self.client.send(GET * 2)
        stopped = self.front.stop()
        self.assertFalse(self.transport.halved)
        hello(self.last)
        self.assertIn(b"\r\nconnection: close\r\n", self.transport.take().lower())
        self.assertTrue(self.transport.halved)
        self.assertEqual(len(self.answering), 1)
        self.assertNoResult(stopped)
        self.client.lose()
        self.successResultOf(stopped)

    def test_begun(self) -> None:
        """If the response has begun the connection is closed without having said so."""
        self.client.send(GET)
        self.last.call.respond(200, {}, 0)
        self.front.stop()
        self.last.call.end({})
        self.assertTrue(self.transport.halved)

    def test_unread(self) -> None:
        """A response that has ended before its request keeps nobody waiting."""
        self.client.send(POST)
        hello(self.last)
        self.front.stop()
        self.assertTrue(self.transport.halved)

    def test_upgraded(self) -> None:
        """Other protocols go on, until they are cut."""
        self.client.send(UPGRADE)
        self.last.call.upgrade({"upgrade": ("x",)})
        stopped = self.front.stop()
        self.assertFalse(self.transport.halved)
        self.front.abort()
        self.assertTrue(self.transport.cut)
        self.client.lose()
        self.successResultOf(stopped)
        self.assertEqual(self.last.learnt, ["lost"])
