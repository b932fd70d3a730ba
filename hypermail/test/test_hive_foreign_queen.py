"""
Tests for the cell library, at sockets, with a queen who knows nothing of us: L{hypermail.test.foreign_queen}.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from twisted.web.resource import Resource
from twisted.web.server import Request

from hypermail.hive.band import End
from hypermail.hive.cell.application import answer
from hypermail.hive.cell.asgi import AsgiApplication
from hypermail.hive.cell.resource import ResourceApplication
from hypermail.hive.exchanges import Exchange
from hypermail.hive.mounts import parse_mount
from hypermail.test.foreign_queen import head
from hypermail.test.foreign_wire import DEADLINE, Kind, Violation, frame, from_json
from hypermail.test.peers import CellCase, in_thread

MAIN = ("@", "/")
LARGE = bytes(range(256)) * 4096


def hello(exchange: Exchange) -> None:
    """Greets."""
    answer(exchange, 200, "hello")


class Echo:
    """Says what was said: when that is over, or as it comes."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._at_once = exchange.head.path == "/stream"
        self._pieces: list[bytes] = []
        exchange.read(self, 2 << 20)
        if self._at_once:
            exchange.respond(200, {})

    def dataReceived(self, data: bytes) -> None:
        """See L{hypermail.hive.exchanges.Reader}."""
        if self._at_once:
            self._exchange.write(data)
        else:
            self._pieces.append(data)

    def bodyEnded(self, end: End) -> None:
        """See L{hypermail.hive.exchanges.Reader}."""
        if not self._at_once:
            self._exchange.respond(200, {"content-type": ("text/plain",)})
            self._exchange.write(b"".join(self._pieces))
        self._exchange.end()

    def lost(self) -> None:
        """See L{hypermail.hive.exchanges.Reader}."""


class ServingTests(CellCase):
    """Requests that go well."""

    @in_thread
    def test_login(self) -> None:
        """A cell logs in and mounts; of what it knows besides it says one key, and never uses it."""
        with self.foreign_queen() as queen:
            cell = self.start(queen, hello, "@/", "example.org/app/")
            leash = queen.leash(MAIN, ("example.org", "/app/"))
            self.assertEqual(leash.said, {"connKind": 0, "uuid": "", "key": "example key", "hypermail": 1})
            self.assertEqual(self.ours(cell.whenReady), cell)
            for _ in range(3):
                answered = queen.request(leash)
                self.assertEqual((answered.status, answered.body, answered.wanted), (200, b"hello\n", None))
            [band] = leash.idle
            self.assertEqual(from_json(band.came[0][1])["uuid"], leash.uuid)
            self.assertEqual(from_json(band.came[0][1])["key"], leash.key)

    @in_thread
    def test_bodies(self) -> None:
        """Bodies arrive whole, with either end, also the one that the seed has by mistake; the band is used again."""
        with self.foreign_queen() as queen:
            self.start(queen, Echo)
            leash = queen.leash(MAIN)
            for slip in (False, True):
                queen.slip = slip
                for path in ("/", "/stream"):
                    for body in (b"", b"x", LARGE):
                        answered = queen.request(leash, "POST", path, body=body)
                        self.assertEqual((answered.status, answered.body, answered.wanted), (200, body, 2 << 20))
            self.assertEqual(len(leash.idle), 1)

    @in_thread
    def test_hasty(self) -> None:
        """A request may come before the band's Accept, with or without a body."""
        with self.foreign_queen() as queen:
            queen.hasty = True
            self.start(queen, Echo)
            leash = queen.leash(MAIN)
            for body in (b"", b"x", LARGE):
                self.assertEqual(queen.request(leash, "POST", body=body).body, body)
                queen.prune(leash)

    @in_thread
    def test_concurrently(self) -> None:
        """A hundred requests at once, each on its own band."""
        waiting: list[Exchange] = []

        def together(exchange: Exchange) -> None:
            waiting.append(exchange)
            if len(waiting) == 100:
                for one in waiting:
                    answer(one, 200, one.head.path)

        with self.foreign_queen() as queen, ThreadPoolExecutor(100) as clients:
            self.start(queen, together)
            leash = queen.leash(MAIN)
            asked = clients.map(lambda number: queen.request(leash, path=f"/{number}").body, range(100))
            self.assertEqual(list(asked), [b"/%d\n" % number for number in range(100)])

    @in_thread
    def test_pruned(self) -> None:
        """Idle bands that the queen closes do no harm."""
        with self.foreign_queen() as queen:
            self.start(queen, hello)
            leash = queen.leash(MAIN)
            for _ in range(5):
                self.assertEqual(queen.request(leash).body, b"hello\n")
                self.assertEqual(queen.prune(leash), 1)
            self.assertEqual((len(queen.leashes), queen.violations), (1, []))

    @in_thread
    def test_count(self) -> None:
        """A queen may ask for several bands by one frame, and gets them."""
        with self.foreign_queen() as queen:
            self.start(queen, hello)
            leash = queen.leash(MAIN)
            leash.link.send(Kind.NEED_BAND, {"count": 5, "more": None})
            queen.until(lambda: len(leash.idle) == 5, "five bands")

    @in_thread
    def test_resource(self) -> None:
        """What a resource of twisted.web learns of a request whose queen tells neither host, nor scheme, nor target."""
        learnt: dict[str, Any] = {}

        class Root(Resource):
            isLeaf = True

            def render_POST(self, request: Request) -> bytes:
                learnt.update(
                    uri=request.uri,
                    args=request.args,
                    host=request.getRequestHostname(),
                    secure=request.isSecure(),
                    cookie=request.getCookie(b"c"),
                    client=request.getClientAddress().host,
                    body=request.content.read() if request.content else b"",
                )
                request.setHeader(b"x", b"y")
                return b"done"

        with self.foreign_queen() as queen:
            self.start(queen, ResourceApplication(Root()))
            answered = queen.request(
                queen.leash(MAIN),
                "POST",
                "/a b/ä&",
                query={"q": ["1", "<2>&"], "r": [""]},
                cookies={"c": ["d"]},
                headers={"host": ["example.org"], "cookie": ["c=d"], "content-length": ["4"]},
                body=b"body",
            )
        self.assertEqual((answered.status, answered.body, answered.headers["x"]), (200, b"done", ["y"]))
        self.assertEqual(
            learnt,
            {
                "uri": b"/a%20b/%C3%A4&?q=1&q=%3C2%3E%26&r=",
                "args": {b"q": [b"1", b"<2>&"], b"r": [b""]},
                "host": b"example.org",
                "secure": True,
                "cookie": b"d",
                "client": "192.0.2.1",
                "body": b"body",
            },
        )

    @in_thread
    def test_websocket(self) -> None:
        """An application with WebSockets is asked by plain HTTP: this queen could not carry the other."""
        scopes: list[str] = []

        async def application(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "lifespan":
                raise RuntimeError("none, please")
            scopes.append(scope["type"])
            await send({"type": "http.response.start", "status": 426, "headers": []})
            await send({"type": "http.response.body", "body": b"no"})

        upgrade = {
            "connection": ["Upgrade"],
            "upgrade": ["websocket"],
            "sec-websocket-version": ["13"],
            "sec-websocket-key": ["AAAAAAAAAAAAAAAAAAAAAA=="],
        }
        with self.foreign_queen() as queen:
            cell = self.start(queen, AsgiApplication(application))
            answered = queen.request(queen.leash(MAIN), headers=upgrade)
            self.assertEqual((answered.status, answered.body, scopes), (426, b"no", ["http"]))
        self.ours(cell.stopService)

    @in_thread
    def test_trailers(self) -> None:
        """Trailers of a response are for queens who know them."""

        def respond(exchange: Exchange) -> None:
            exchange.respond(200, {})
            exchange.end({"x": ("y",)})

        with self.foreign_queen() as queen:
            self.start(queen, respond)
            self.assertEqual(queen.request(queen.leash(MAIN)).whole, True)


class MountTests(CellCase):
    """What is mounted, and not any more."""

    @in_thread
    def test_unmount(self) -> None:
        """One of several mounts is taken away by taking away all, and mounting the others again."""
        with self.foreign_queen() as queen:
            cell = self.start(queen, hello, "@/", "@/a/", "@/b/")
            leash = queen.leash(MAIN, ("@", "/a/"), ("@", "/b/"))
            self.ours(cell.whenReady)
            [service] = cell._leashes.values()
            assert service._current is not None and service._current._leash is not None
            begin = len(leash.link.came)
            self.ours(service._current._leash.unmount, parse_mount("@/a/"))
            queen.leash(MAIN, ("@", "/b/"))
            self.assertEqual(
                [(kind, from_json(payload)) for kind, payload in leash.link.came[begin:]],
                [
                    (Kind.UNMOUNT, {}),
                    (Kind.MOUNT, {"host": "@", "path": "/"}),
                    (Kind.MOUNT, {"host": "@", "path": "/b/"}),
                ],
            )
            self.assertEqual(queen.request(leash).status, 200)

    @in_thread
    def test_stop(self) -> None:
        """A cell that stops unmounts, finishes what runs, and closes everything."""
        began, held = threading.Event(), []

        def hold(exchange: Exchange) -> None:
            held.append(exchange)
            began.set()

        with self.foreign_queen() as queen, ThreadPoolExecutor(2) as threads:
            cell = self.start(queen, hold)
            leash = queen.leash(MAIN)
            asked = threads.submit(queen.request, leash)
            self.assertTrue(began.wait(DEADLINE))
            stopped = threads.submit(self.ours, cell.stopService)
            queen.until(lambda: not leash.mounts, "the end of the mounts")
            self.ours(answer, held[0], 200, "late")
            self.assertEqual(asked.result().body, b"late\n")
            queen.prune(leash)  # she reads no idle band, so that she does not see the cell close it
            stopped.result()
            queen.until(lambda: not queen.leashes, "the end of the leash")
            self.assertEqual(queen.violations, [])


class LossTests(CellCase):
    """Queens that end, and such as do what they should not."""

    @in_thread
    def test_again(self) -> None:
        """The queen is killed and started again: the cell comes back and mounts."""
        with self.foreign_queen() as queen:
            self.start(queen, hello)
            self.assertEqual(queen.request(queen.leash(MAIN)).status, 200)
            first = queen.leashes[0].uuid
            port = queen.address[1]
        with self.foreign_queen(port) as queen:
            leash = queen.leash(MAIN)
            self.assertNotEqual(leash.uuid, first)
            self.assertEqual(queen.request(leash).status, 200)

    @in_thread
    def test_withinRequest(self) -> None:
        """Whoever reads a body, or writes a response, learns that the queen is gone; and the cell comes back."""
        lost, over = threading.Event(), threading.Event()

        class Reading:
            def dataReceived(self, data: bytes) -> None:
                began.set()

            def bodyEnded(self, end: End) -> None:
                raise AssertionError("it was not over")

            def lost(self) -> None:
                lost.set()

        def respond(exchange: Exchange) -> None:
            exchange.whenOver().addCallback(lambda answered: None if answered else over.set())
            exchange.read(Reading())
            exchange.respond(200, {})
            exchange.write(b"x")

        began = threading.Event()
        with self.foreign_queen() as queen:
            self.start(queen, respond)
            band = queen.band(queen.leash(MAIN), head("POST", "/"))
            band.expect(Kind.RES_WANT)
            band.send(Kind.REQ_BODY, b"half")
            band.expect(Kind.RES_HEAD)
            self.assertTrue(began.wait(DEADLINE))
            port = queen.address[1]
        self.assertTrue(lost.wait(DEADLINE))
        self.assertTrue(over.wait(DEADLINE))
        with self.foreign_queen(port) as queen:
            queen.leash(MAIN)

    @in_thread
    def test_wrongKey(self) -> None:
        """A queen who says nothing and closes the connection is asked again."""
        with self.foreign_queen() as queen:
            self.start(queen, hello, key="wrong")
            self.expect_log("no leash: the connection was lost")
            queen.until(lambda: len(queen.violations) == 2, "another attempt")

    @in_thread
    def test_wrongCertificate(self) -> None:
        """A queen who is not the one that the certificate is for gets no key."""
        with self.foreign_queen() as queen:
            queen.address = ("localhost", queen.address[1])
            self.start(queen, hello)
            self.expect_log("no leash")
            self.assertEqual(queen.frames, [])

    def bad(self, spoil: Callable[[Any, Any], object], logged: str) -> None:
        """A queen spoils a leash: that ends, and the cell comes back."""
        self.said.clear()
        with self.foreign_queen() as queen:
            cell = self.start(queen, hello)
            leash = queen.leash(MAIN)
            spoil(queen, leash)
            self.expect_log(logged)
            queen.until(lambda: queen.leashes and queen.leashes[0] is not leash, "another leash")
            self.assertEqual(queen.request(queen.leash(MAIN)).status, 200)
        self.ours(cell.stopService)

    @in_thread
    def test_leashFrames(self) -> None:
        """What has no place on a leash, or is no frame, ends it."""
        for sent, logged in (
            (frame(Kind.REQ_HEAD, head("GET", "/")), "RequestHead on a leash"),
            (frame(Kind.ACCEPT, {"uuid": "x", "key": "y"}), "Accept on a leash"),
            (bytes(4), "without a kind"),
            (b"\x7f\xff\xff\xff", "are the most"),
            (frame(Kind.NEED_BAND, b"{"), "no JSON"),
            (frame(Kind.NEED_BAND, b'{"count":-1}'), "count of NeedBand"),
            (frame(0x55), "0x55"),
        ):
            self.bad(lambda queen, leash, sent=sent: leash.link.send_bytes(sent), logged)  # type: ignore[misc]

    @in_thread
    def test_bandFrames(self) -> None:
        """What has no place on a band, or is no frame, ends that band; the leash and other bands go on."""
        post = frame(Kind.REQ_HEAD, head("POST", "/"))
        bad = (
            (frame(Kind.REQ_BODY, b"unasked"), "BODY_RECEIVED"),
            (frame(Kind.REQ_END), "END_RECEIVED"),
            (frame(Kind.REQ_HEAD, b""), "END_RECEIVED"),
            (frame(Kind.RES_END), "ResponseEnd on a band"),
            (frame(Kind.NEED_BAND, {"count": 1}), "NeedBand on a band"),
            (post + post, "HEAD_RECEIVED"),
            (post + frame(Kind.REQ_BODY, bytes((2 << 20) + 1)), "more of a body than was asked for"),
            (frame(Kind.REQ_HEAD, {**head("GET", "/"), "port": "443"}), "port of RequestHead"),
            (frame(Kind.REQ_HEAD, {**head("GET", "/"), "headers": {"x": ["a\nb"]}}), "the header x"),
            (bytes(4), "without a kind"),
        )
        with self.foreign_queen() as queen:
            cell = self.start(queen, Echo)
            leash = queen.leash(MAIN)
            for sent, logged in bad:
                self.said.clear()
                self.assertEqual(queen.request(leash, "POST", body=b"x").body, b"x")
                [band] = leash.idle
                leash.idle.clear()
                band.send_bytes(sent)
                self.expect_log(logged)
                band.ended()
                self.assertEqual(queen.request(leash, "POST", body=b"y").body, b"y")
                self.assertEqual(queen.leashes, [leash])
        self.ours(cell.stopService)

    @in_thread
    def test_wrongBand(self) -> None:
        """A band that this queen refuses, since she knows it no more, is not missed."""
        with self.foreign_queen() as queen:
            self.start(queen, hello)
            leash = queen.leash(MAIN)
            known, leash.uuid = leash.uuid, "another"
            leash.link.send(Kind.NEED_BAND, {"count": 1})
            queen.until(lambda: queen.violations, "a band")
            self.assertIsInstance(queen.violations[0], Violation)
            leash.uuid = known
            self.assertEqual(queen.request(leash).status, 200)
