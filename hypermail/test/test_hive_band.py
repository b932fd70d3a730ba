"""
Tests for L{hypermail.hive.band} and L{hypermail.hive.headers}.
"""

from __future__ import annotations

from itertools import product
from time import process_time
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hypermail.errors import IllegalTransition
from hypermail.hive.band import BodyWanted, CellBand, Data, End, QueenBand, Response
from hypermail.hive.errors import FrameInvalid
from hypermail.hive.frames import (
    Body,
    Frame,
    Mount,
    NeedBand,
    RequestBody,
    RequestEnd,
    RequestHead,
    ResponseBody,
    ResponseEnd,
    ResponseHead,
    ResponseWant,
    decode,
)
from hypermail.hive.front.wire import gathered
from hypermail.hive.headers import checked, content_length, elements, end_to_end

GET = RequestHead(method="GET", path="/")
POST = RequestHead(method="POST", path="/")
WRONG = (FrameInvalid, IllegalTransition)


class BandCase(SynchronousTestCase):
    """Both ends of a band."""

    def setUp(self) -> None:
        self.queen, self.cell = QueenBand(extended=True), CellBand()

    def toCell(self, frame: bytes) -> Any:
        """What a frame of the queen's is to the cell."""
        return self.cell.take(decode(frame))

    def toQueen(self, frame: bytes) -> Any:
        """What a frame of the cell's is to the queen."""
        return self.queen.take(decode(frame))

    def assertIdle(self, idle: bool = True) -> None:
        """Both ends can carry a request, or neither."""
        self.assertEqual((self.queen.idle, self.cell.idle), (idle, idle))


class ExchangeTests(BandCase):
    """Requests and their responses."""

    def test_get(self) -> None:
        """A request without a body, twice on one band."""
        for _ in range(2):
            self.assertEqual(self.toCell(self.queen.ask(GET)), GET)
            self.assertIdle(False)
            answer = self.toQueen(self.cell.answer(200, {"Content-Type": ("text/plain",)}))
            self.assertEqual(answer, Response(200, {"content-type": ("text/plain",)}, None, False))
            self.assertEqual(self.toQueen(self.cell.write(b"one")), Data(b"one"))
            self.assertEqual(self.toQueen(self.cell.write(b"two")), Data(b"two"))
            self.assertEqual(self.toQueen(self.cell.end()), End({}))
            self.assertIdle()

    def test_post(self) -> None:
        """A body goes when it is wanted, and may have trailers."""
        self.toCell(self.queen.ask(POST))
        self.assertRaises(FrameInvalid, self.queen.body, b"x")
        self.assertEqual(self.toQueen(self.cell.want(6)), BodyWanted(6))
        self.assertEqual(self.toCell(self.queen.body(b"abc")), Data(b"abc"))
        self.assertEqual(self.toCell(self.queen.body(b"def")), Data(b"def"))
        self.assertEqual(self.toCell(self.queen.end_body({"a": ("b",)})), End({"a": ("b",)}))
        self.assertRaises(FrameInvalid, self.queen.body, b"x")
        self.assertEqual(self.toQueen(self.cell.answer(204, {})), Response(204, {}, 0, False))
        self.assertEqual(self.toQueen(self.cell.end({"c": ("d",)})), End({"c": ("d",)}))
        self.assertIdle()

    def test_unread(self) -> None:
        """A body that nobody asks for is not sent."""
        self.toCell(self.queen.ask(POST))
        self.toQueen(self.cell.answer(200, {}))
        self.assertRaises(FrameInvalid, self.queen.body, b"x")
        self.assertRaises(WRONG, self.cell.want, 1)
        self.toQueen(self.cell.end())
        self.assertIdle()

    def test_early(self) -> None:
        """A response may begin while the body comes; when it has not ended by the end, the queen's band is over."""
        self.toCell(self.queen.ask(POST))
        self.toQueen(self.cell.want(10))
        self.toQueen(self.cell.answer(200, {}))
        self.assertEqual(self.toCell(self.queen.body(b"abc")), Data(b"abc"))
        self.assertEqual(self.toQueen(self.cell.write(b"x")), Data(b"x"))
        late = self.queen.body(b"d")
        self.toQueen(self.cell.end())
        self.assertTrue(self.queen.over)
        self.assertIsNone(self.toCell(late), "nobody's")
        self.assertFalse(self.cell.idle)

    def test_drained(self) -> None:
        """A cell that has ended early can have the next request once the body is over."""
        self.toCell(self.queen.ask(POST))
        self.toQueen(self.cell.want(10))
        self.cell.answer(200, {})
        self.cell.end()
        self.assertIsNone(self.toCell(self.queen.body(b"d")))
        self.assertIsNone(self.toCell(self.queen.end_body()))
        self.assertTrue(self.cell.idle)

    def test_nothing(self) -> None:
        """The end alone is no response; the band can go on, unless the body is on its way."""
        self.queen.ask(GET)
        self.assertEqual(self.queen.take(ResponseEnd()), End({}, nothing=True))
        self.assertTrue(self.queen.idle)
        self.queen.ask(POST)
        self.queen.take(ResponseWant(1))
        self.assertEqual(self.queen.take(ResponseEnd()), End({}, nothing=True))
        self.assertTrue(self.queen.over)

    def test_bodiless(self) -> None:
        """What is written to HEAD, or with 204 or 304, reaches nobody; its length is what a body would have."""
        for head, status in ((RequestHead(method="HEAD"), 200), (GET, 204), (GET, 304)):
            self.toCell(self.queen.ask(head))
            answer = self.toQueen(self.cell.answer(status, {"content-length": ("5",)}))
            self.assertEqual((answer.length, answer.headers), (0 if status == 204 else 5, {"content-length": ("5",)}))
            self.assertIsNone(self.toQueen(self.cell.write(b"12345")))
            self.assertEqual(self.toQueen(self.cell.end()), End({}))
            self.assertIdle()

    def test_length(self) -> None:
        """A body is as long as it was said to be."""
        head = ResponseHead(200, {"content-length": ("5",)})
        for data, right in ((b"12345", True), (b"123456", False), (b"1234", True)):
            self.setUp()
            self.queen.ask(GET)
            answer = self.queen.take(head)
            self.assertEqual(cast(Response, answer).length, 5)
            if right:
                self.queen.take(ResponseBody(data))
            else:
                self.assertRaises(FrameInvalid, self.queen.take, ResponseBody(data))
            if data == b"12345":
                self.queen.take(ResponseEnd())
            else:
                self.assertRaises(FrameInvalid, self.queen.take, ResponseEnd())

    def test_headers(self) -> None:
        """Those of one connection go no further; what ends a line is refused wherever it is."""
        self.queen.ask(GET)
        answer = self.queen.take(ResponseHead(200, {"Connection": ("close",), "A": ("b",)}))
        self.assertEqual(cast(Response, answer).headers, {"a": ("b",)})
        self.assertRaises(FrameInvalid, self.queen.take, ResponseEnd({"a": ("b\n",)}))
        self.assertRaises(FrameInvalid, self.cell.take, RequestHead(method="GET", headers={"a": ("b\n",)}))

    def test_request_headers(self) -> None:
        """Names of headers are in lower case, whatever the queen has written: who reads them relies on it."""
        found = CellBand().take(RequestHead(method="POST", path="/", headers={"Content-Length": ("1",), "X": ("y",)}))
        assert isinstance(found, RequestHead)
        self.assertEqual((found.method, found.headers), ("POST", {"content-length": ("1",), "x": ("y",)}))

    def test_too_much(self) -> None:
        """A queen sends no more of a body than was asked for."""
        self.toCell(self.queen.ask(POST))
        self.toQueen(self.cell.want(3))
        self.toCell(self.queen.body(b"abc"))
        self.assertRaises(FrameInvalid, self.toCell, self.queen.body(b"d"))

    def test_slip(self) -> None:
        """The end of a request's body may be an empty head, as the seed's text has it; there is none elsewhere."""
        self.toCell(self.queen.ask(POST))
        self.toQueen(self.cell.want(3))
        self.assertEqual(self.toCell(b"\x30"), End({}))
        self.assertRaises(IllegalTransition, self.toCell, b"\x30")

    def test_upgrade(self) -> None:
        """Bytes of another protocol go both ways until both have ended."""
        self.toCell(self.queen.ask(GET, upgrade=True))
        self.toQueen(self.cell.want(1 << 62))
        headers: dict[str, tuple[str, ...]] = {"upgrade": ("websocket",), "connection": ("upgrade",)}
        self.assertEqual(self.toQueen(self.cell.answer(101, headers)), Response(101, headers, None, True))
        for _ in range(3):
            self.assertEqual(self.toCell(self.queen.body(b"ping")), Data(b"ping"))
            self.assertEqual(self.toQueen(self.cell.write(b"pong")), Data(b"pong"))
        self.assertEqual(self.toCell(self.queen.end_body()), End({}))
        self.assertEqual(self.toQueen(self.cell.end()), End({}))
        self.assertIdle()

    def test_no_upgrade(self) -> None:
        """101 is an answer only to who has asked for it, of a cell that knows the extension, and both ways."""
        for extended, upgrade, wanted in ((False, True, True), (True, False, True), (True, True, False)):
            queen = QueenBand(extended)
            queen.ask(GET, upgrade)
            if wanted:
                queen.take(ResponseWant(1))
            self.assertRaises(FrameInvalid, queen.take, ResponseHead(101, {}))

    def test_status(self) -> None:
        """What is no status of a response is refused."""
        for status in (0, 99, 100, 101, 199, 600, 1 << 40):
            queen = QueenBand(True)
            queen.ask(GET)
            self.assertRaises(FrameInvalid, queen.take, ResponseHead(status, {}))

    def test_trailers(self) -> None:
        """A cell that does not know them is sent none."""
        queen = QueenBand(extended=False)
        queen.ask(POST)
        queen.take(ResponseWant(1))
        self.assertEqual(queen.end_body({"a": ("b",)}), b"\x32")


FRAMES: list[Frame | Body] = [
    GET,
    RequestHead(),
    RequestBody(b"x"),
    RequestEnd(),
    ResponseWant(5),
    ResponseHead(200, {}),
    ResponseHead(101, {}),
    ResponseHead(204, {"content-length": ("3",)}),
    ResponseHead(200, {"content-length": ("3",)}),
    ResponseHead(200, {"a\n": ()}),
    ResponseBody(b"xy"),
    ResponseEnd(),
    Mount("@", "/"),
    NeedBand(1),
]


class HostileTests(SynchronousTestCase):
    """Any frames in any order."""

    @given(st.lists(st.sampled_from(FRAMES)), st.booleans())
    def test_queen(self, frames: list[Frame | Body], upgrade: bool) -> None:
        """The queen takes them, or raises; she gives out no data before a head, and none beyond an end."""
        queen, answered = QueenBand(True), False
        queen.ask(POST, upgrade)
        for frame in frames:
            try:
                event = queen.take(frame)
            except WRONG:
                return
            if isinstance(event, Response):
                self.assertFalse(answered)
                answered = True
            elif isinstance(event, Data):
                self.assertTrue(answered)
            elif isinstance(event, End):
                self.assertEqual(event.nothing, not answered)
                answered = False
                if queen.over:
                    self.assertRaises(IllegalTransition, queen.ask, GET)
                    return
                queen.ask(POST, upgrade)

    @given(st.lists(st.one_of(st.sampled_from(FRAMES), st.sampled_from(["want", "answer", "write", "end"]))))
    def test_cell(self, inputs: list[Any]) -> None:
        """The cell takes them, or raises, whatever the application does; of a body it gives out what was asked for."""
        cell, taken = CellBand(), 0
        for one in inputs:
            try:
                if one == "want":
                    cell.want(2)
                    taken = 0
                elif one == "answer":
                    cell.answer(200, {})
                elif one == "write":
                    cell.write(b"x")
                elif one == "end":
                    cell.end()
                else:
                    event = cell.take(one)
                    taken += len(event.data) if isinstance(event, Data) else 0
            except WRONG:
                continue
            self.assertLessEqual(taken, 2)


class HeadersTests(SynchronousTestCase):
    """What may be in headers."""

    def test_many(self) -> None:
        """Many fields of one name take the time of many fields, not that of its square, which is some 10 s here."""
        began = process_time()
        gathered([(b"a", b"b")] * 100_000)
        checked({"".join(one): ("b",) for one in product(*zip("abcdefghijklmnop", "ABCDEFGHIJKLMNOP", strict=True))})
        self.assertLess(process_time() - began, 3)

    def test_checked(self) -> None:
        """Names are of one case, values have no space around them, and what is said twice stays so."""
        self.assertEqual(
            checked({"Set-Cookie": ("a=b", " c\t"), "set-cookie": ("d",), "x": (), "y": ("é\tü",)}),
            {"set-cookie": ("a=b", "c", "d"), "x": (), "y": ("é\tü",)},
        )

    def test_refused(self) -> None:
        """Nothing ends a line, or hides one."""
        for name in ("", "a b", "a:", "a\r", "a\n", "é", ":path", "a\x00"):
            self.assertRaises(FrameInvalid, checked, {name: ("x",)})
        for value in ("a\r\nb: c", "a\nb", "a\rb", "\x00", "a\n", "\n", "\x7f", "\x0b"):
            self.assertRaises(FrameInvalid, checked, {"a": (value,)})

    def test_end_to_end(self) -> None:
        """What is of the connection stays there, also what it names."""
        headers = checked(
            {
                "Connection": ("close, X-Mine",),
                "Keep-Alive": ("5",),
                "x-mine": ("1",),
                "transfer-encoding": ("chunked",),
                "Upgrade": ("h2c",),
                "x-yours": ("2",),
            }
        )
        self.assertEqual(end_to_end(headers), {"x-yours": ("2",)})

    def test_elements(self) -> None:
        """Lists may be of several lines, and have empty elements."""
        self.assertEqual(elements(("a, B ,,", "", "c")), ["a", "b", "c"])

    def test_content_length(self) -> None:
        """There is one, and it is a number (RFC 9112 §6.3)."""
        for values, length in (((), None), (("5",), 5), (("5", "5"), 5), (("5, 5",), 5), (("0",), 0), (("00",), 0)):
            self.assertEqual(content_length({"content-length": values}), length)
        for values in (("5", "6"), ("5, 6",), ("+5",), ("-1",), ("5.0",), ("٥",), ("9" * 19,), ("",), ("x",)):
            self.assertRaises(FrameInvalid, content_length, {"content-length": values})
