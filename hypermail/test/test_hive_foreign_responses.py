"""
Tests for the queen, at sockets, with foreign cells that respond as they should not, or want too little.
"""

from __future__ import annotations

import http.client
from collections.abc import Callable
from typing import Any

from hypermail.test.foreign_cell import Exchange
from hypermail.test.foreign_wire import Kind, frame
from hypermail.test.peers import QueenCase, hello, in_thread


class BadResponseTests(QueenCase):
    """Cells that respond as they should not: 502, or a response that is visibly cut off; and the band is closed."""

    def bad(self, respond: Callable[[Exchange], object], logged: str, method: str = "GET", body: Any = None) -> None:
        """The client gets 502, the cell loses the band, its next request has another one."""

        def once(exchange: Exchange) -> None:
            if exchange.head["path"] == "/":
                hello(exchange)
                return
            respond(exchange)
            exchange.silent = True

        self.said.clear()
        with self.cell(once) as cell:
            response = self.ask(method, "/bad", body)
            self.assertEqual(response.status, 502)
            self.assertNotIn(b"hello", response.body)
            self.expect_log(logged)
            self.assertEqual(self.ask().status, 200)
            self.assertGreater(len(cell.bands), 1)
            self.until(lambda: all(link.closed for link in cell.bands[:-1]), "the end of the band")
            self.assertEqual(cell.panics, [])

    def cut_off(self, *request: Any) -> bytes:
        """Make a request whose response is cut off, so that the client sees it. @return: what comes of its body."""
        with self.assertRaises((http.client.IncompleteRead, ConnectionError)) as raised:
            self.ask(*request)
        return raised.exception.partial if isinstance(raised.exception, http.client.IncompleteRead) else b""

    @in_thread
    def test_nothing(self) -> None:
        """ResEnd alone, since the handler wrote nothing, is 502. There is nothing wrong with the band."""
        with self.cell(lambda exchange: None) as cell:
            self.assertEqual([self.ask().status, self.ask("POST", "/", b"x").status], [502, 502])
            self.assertEqual((len(cell.bands), cell.panics), (1, []))

    @in_thread
    def test_status(self) -> None:
        """A status that is none, or that would be no end."""
        for status in (101, 100, 99, 0, -1, 600, 10**30):
            self.bad(lambda exchange, status=status: exchange.respond(status, {}), "status")  # type: ignore[misc]

    @in_thread
    def test_headers(self) -> None:
        """Headers that would begin a line of their own, or end the head."""
        for headers in (
            {"x": ["a\r\nset-cookie: b=c"]},
            {"x": ["a\nb"]},
            {"x": ["a\rb"]},
            {"x": ["a\0b"]},
            {"x\r\ny": ["a"]},
            {"x: y": ["a"]},
            {"": ["a"]},
            {"ä": ["a"]},
        ):
            self.bad(lambda exchange, headers=headers: exchange.respond(200, headers), "header")  # type: ignore[misc]

    @in_thread
    def test_lengths(self) -> None:
        """A length that is none, or several."""
        for lengths in (["1", "2"], ["1, 2"], ["-1"], ["x"], ["1" * 30], ["٣"]):
            self.bad(lambda exchange, lengths=lengths: exchange.respond(200, {"content-length": lengths}), "length")  # type: ignore[misc]

    @in_thread
    def test_frames(self) -> None:
        """Frames that have no place there, or are none."""
        for sent, logged in (
            (frame(Kind.RES_BODY, b"without a head"), "BODY_RECEIVED"),
            (frame(Kind.RES_WANT, {"maxSize": 1}) + frame(Kind.RES_WANT, {"maxSize": 1}), "WANT_RECEIVED"),
            (frame(Kind.REQ_HEAD, b"{}"), "RequestHead on a band"),
            (frame(Kind.REQ_BODY, b"x"), "RequestBody on a band"),
            (frame(Kind.IAM, {"connKind": 1, "uuid": "", "key": ""}), "IAm on a band"),
            (frame(Kind.MOUNT, {"host": "@", "path": "/"}), "Mount on a band"),
            (frame(Kind.NEED_BAND, {"count": 1}), "NeedBand on a band"),
            (frame(0x7F), "no frames of kind 0x7f"),
            (bytes(4), "without a kind"),
            (b"\x01\x00\x00\x01", "are the most"),
            (frame(Kind.RES_HEAD, b"{"), "no JSON"),
            (frame(Kind.RES_HEAD, b"[]"), "no JSON object"),
            (frame(Kind.RES_HEAD, b'{"statusCode":"200"}'), "statusCode"),
            (frame(Kind.RES_HEAD, b'{"statusCode":200.5}'), "statusCode"),
            (frame(Kind.RES_HEAD, b'{"statusCode":200,"headers":{"x":"y"}}'), "headers"),
            (frame(Kind.RES_HEAD, b'{"statusCode":200,"headers":{"x":"\xff"}}'), "no JSON"),
            (frame(Kind.RES_WANT, {"maxSize": -1}), "maxSize"),
        ):
            self.bad(lambda exchange, sent=sent: exchange.link.send_bytes(sent), logged)  # type: ignore[misc]

    @in_thread
    def test_wantLate(self) -> None:
        """The body of a request cannot be asked for once the response has begun: that is cut off."""

        def respond(exchange: Exchange) -> None:
            exchange.respond(200, {"content-length": ["5"]})
            exchange.want(5)

        with self.cell(respond):
            self.assertEqual(self.cut_off("POST", "/", b"hello"), b"")
            self.expect_log("WANT_RECEIVED")

    @in_thread
    def test_long(self) -> None:
        """A body that is longer than was promised: the client gets what was, or notices, and never the rest."""

        def respond(exchange: Exchange) -> None:
            exchange.respond(200, {"content-length": ["5"]})
            exchange.write(b"hel")
            exchange.write(b"lo, world")

        with self.cell(respond) as cell:
            for bands in (1, 2):
                self.assertTrue(b"hello".startswith(self.cut_off()))
                self.expect_log("longer")
                self.assertEqual(len(cell.bands), bands)

    @in_thread
    def test_short(self) -> None:
        """A body that is shorter than was promised: the client notices, and the cell loses the band."""

        def respond(exchange: Exchange) -> None:
            exchange.respond(200, {"content-length": ["50"]})
            exchange.write(b"hello")

        with self.cell(respond):
            self.assertTrue(b"hello".startswith(self.cut_off()))
            self.expect_log("shorter")

    @in_thread
    def test_headTwice(self) -> None:
        """A second head cuts off the response."""

        def respond(exchange: Exchange) -> None:
            hello(exchange)
            hello(exchange)

        with self.cell(respond):
            self.assertTrue(b"hello".startswith(self.cut_off()))
            self.expect_log("HEAD_RECEIVED")

    @in_thread
    def test_unasked(self) -> None:
        """A band that says something although nobody has asked is closed; the cell, and its other bands, go on."""

        def respond(exchange: Exchange) -> None:
            hello(exchange)
            exchange.silent = True
            exchange.link.send(Kind.RES_END)
            exchange.link.send(Kind.RES_HEAD, {"statusCode": 200, "headers": None})

        with self.cell(respond) as cell:
            self.assertEqual(self.ask().status, 200)
            self.expect_log("HEAD_RECEIVED")
            self.until(lambda: cell.bands[0].closed, "the end of the band")
            self.assertEqual((self.ask().status, cell.panics), (200, []))


class TooLongTests(QueenCase):
    """Bodies of requests that are longer than the cell wants."""

    def respond(self, exchange: Exchange) -> None:
        """Take ten bytes."""
        exchange.write(exchange.body(10))

    @in_thread
    def test_known(self) -> None:
        """The length says that it is too long: 413, and the cell gets nothing of it and loses the band."""
        with self.cell(self.respond) as cell:
            self.assertEqual(self.ask("POST", "/", b"0123456789").body, b"0123456789")
            self.assertEqual(self.ask("POST", "/", b"0123456789a").status, 413)
            self.until(lambda: cell.bands[0].closed, "the end of the band")
            kinds = [kind for kind, _ in cell.bands[0].came]
            self.assertEqual((kinds.count(Kind.REQ_HEAD), kinds.count(Kind.REQ_END), kinds[-1]), (2, 1, Kind.REQ_HEAD))
            self.assertEqual(self.ask("POST", "/", b"x").body, b"x")
            self.assertEqual(cell.panics, [])

    @in_thread
    def test_chunked(self) -> None:
        """It turns out to be too long: 413, and never a part of it as if it were the whole."""
        with self.cell(self.respond) as cell:
            self.assertEqual(self.ask("POST", "/", iter([b"01234", b"56789"])).body, b"0123456789")
            self.assertEqual(self.ask("POST", "/", iter([b"01234", b"56789", b"a"])).status, 413)
            self.until(lambda: cell.bands[-1].closed, "the end of the band")
            kinds = [kind for kind, _ in cell.bands[-1].came]
            self.assertEqual((kinds.count(Kind.REQ_HEAD), kinds.count(Kind.REQ_END)), (2, 1))
            self.assertEqual(cell.panics, [])

    @in_thread
    def test_nothing(self) -> None:
        """A cell that takes no bytes gets an empty body, or the client 413."""
        with self.cell(lambda exchange: exchange.write(b"%d" % len(exchange.body(0)))):
            self.assertEqual(self.ask("POST", "/", b"").body, b"0")
            self.assertEqual(self.ask("GET").body, b"0")
            self.assertEqual(self.ask("POST", "/", b"x").status, 413)
