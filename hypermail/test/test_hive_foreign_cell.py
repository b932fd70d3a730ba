"""
Tests for the queen, at sockets, with cells that know nothing of us: L{hypermail.test.foreign_cell}.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from twisted.internet.defer import Deferred

from hypermail.hive.cell.application import answer
from hypermail.hive.cell.cell import Cell
from hypermail.hive.cell.queens import Queen
from hypermail.hive.exchanges import Exchange as OurExchange
from hypermail.test.foreign_cell import Exchange, Habits
from hypermail.test.foreign_wire import DEADLINE, Kind, from_json
from hypermail.test.peers import HOST, KEY, QueenCase, credentials, hello, in_thread

LARGE = bytes(range(256)) * 4096


def echo(exchange: Exchange) -> None:
    """Says what was said."""
    body = exchange.body(1 << 30)
    exchange.respond(200, {"content-length": [str(len(body))]})
    exchange.write(body)


class ServingTests(QueenCase):
    """Requests that go well."""

    @in_thread
    def test_get(self) -> None:
        """A cell that logs in and mounts gets requests, one after the other on one band."""
        with self.cell(hello) as cell:
            for _ in range(3):
                response = self.ask()
                self.assertEqual((response.status, response.body), (200, b"hello"))
                self.assertEqual(response.headers.get_all("x"), ["1", "2"])
            self.assertEqual((len(cell.bands), cell.asked, cell.panics), (1, [1], []))

    @in_thread
    def test_atOnce(self) -> None:
        """Nothing waits for acknowledgements: neither clients' connections, nor cells'."""
        client = self.client()
        with self.cell(hello):
            self.ask(client=client)
            [line] = self.installation.front._lines
            [member] = self.members()
            connections: list[Any] = [line, member.connection, *(band.connection for band in member.garden._idle)]
            for connection in connections:
                self.assertTrue(self.ours(connection.transport.getTcpNoDelay))

    @in_thread
    def test_head(self) -> None:
        """What the cell is told of a request: everything, by the keys that it knows, the path below its mount."""
        heads: list[dict[str, Any]] = []

        def remember(exchange: Exchange) -> None:
            heads.append(exchange.head)
            hello(exchange)

        with self.cell(remember, mounts=[("@", "/app/")]):
            headers = {"X-Many": "ä<&>".encode("latin-1").decode("latin-1"), "Cookie": "a=1; b=2; a=3"}
            self.ask("GET", "/app/x%20y/?q=1&r=%26%3C&q=2", headers=headers)
        [head] = heads
        self.assertEqual((head["method"], head["path"], head["fragment"]), ("GET", "/x y/", ""))
        self.assertEqual((head["scheme"], head["host"], head["port"]), ("https", HOST, self.https))
        self.assertEqual((head["proto"], head["protoMajor"], head["protoMinor"]), ("HTTP/1.1", 1, 1))
        self.assertEqual(head["query"], {"q": ["1", "2"], "r": ["&<"]})
        self.assertEqual(head["cookies"], {"a": ["1", "3"], "b": ["2"]})
        self.assertEqual(head["headers"]["host"], [f"{HOST}:{self.https}"])
        self.assertEqual(head["headers"]["x-many"], ["ä<&>"])
        self.assertEqual(head["headers"]["x-forwarded-for"], [HOST])
        self.assertTrue(head["remoteAddrReal"].startswith(HOST))
        self.assertTrue(head["remoteAddr"].startswith(HOST))

    @in_thread
    def test_login(self) -> None:
        """Accept has the two keys that the cell knows, and a band's no key; nothing else ever comes on the leash."""
        with self.cell(hello) as cell:
            self.ask()
            accept, *rest = cell.leash.came
            [band] = cell.bands
            self.assertEqual(from_json(accept[1]), {"uuid": cell.uuid, "key": cell.key})
            self.assertEqual(from_json(band.came[0][1]), {"uuid": cell.uuid, "key": ""})
            self.assertEqual([kind for kind, _ in rest], [Kind.NEED_BAND])

    @in_thread
    def test_habits(self) -> None:
        """Keys that nobody knows are passed over, headers may be null, and bodies come in pieces of any size."""
        habits = Habits(extra_keys=True, frame_size=7)

        def respond(exchange: Exchange) -> None:
            body = exchange.body(1 << 20)
            exchange.respond(201)
            for part in (body[:7], body[7:]):
                exchange.link.send(Kind.RES_BODY)  # which must not look like the end to the client
                exchange.write(part)

        with self.cell(respond, habits=habits) as cell:
            response = self.ask("POST", "/", LARGE[:10_000])
            self.assertEqual((response.status, response.body), (201, LARGE[:10_000]))
            self.assertEqual(cell.panics, [])

    @in_thread
    def test_bodies(self) -> None:
        """Bodies of both directions arrive whole, whether their length is known or not, empty ones too."""
        with self.cell(echo):
            for body in (b"", b"x", LARGE):
                self.assertEqual(self.ask("POST", "/", body).body, body)
                pieces = [body[start : start + 99_999] for start in range(0, len(body), 99_999)]
                self.assertEqual(self.ask("PUT", "/", iter(pieces)).body, body)

    @in_thread
    def test_streaming(self) -> None:
        """Nothing waits for the end of a body, neither of a request nor of a response."""
        came = threading.Event()

        def respond(exchange: Exchange) -> None:
            exchange.want(1 << 20)
            self.assertEqual(exchange.piece(), b"first")
            came.set()
            self.assertEqual(exchange.piece(), b"second")
            self.assertIsNone(exchange.piece())
            exchange.respond(200, {"content-type": ["text/event-stream"]})
            for number in range(3):
                exchange.write(b"data: %d\n\n" % number)
                self.assertTrue(read.wait(DEADLINE))
                read.clear()

        def body() -> Iterator[bytes]:
            yield b"first"
            self.assertTrue(came.wait(DEADLINE))
            yield b"second"

        read = threading.Event()
        client = self.client()
        with self.cell(respond) as cell:
            client.request("POST", "/", body(), encode_chunked=True)
            response = client.getresponse()
            for number in range(3):
                self.assertEqual(response.read1(), b"data: %d\n\n" % number)
                read.set()
            self.assertEqual((response.read(), cell.panics), (b"", []))

    @in_thread
    def test_slowClient(self) -> None:
        """A client that does not read holds back the cell, which has a band for each response."""
        stuck = threading.Event()

        def respond(exchange: Exchange) -> None:
            exchange.respond(200)
            for _ in range(1_000):
                try:
                    exchange.link.send(Kind.RES_BODY, bytes(1 << 20), 0.5)
                except TimeoutError:
                    stuck.set()
                    raise EOFError from None

        client = self.client()
        with self.cell(respond):
            client.request("GET", "/")
            client.getresponse()
            self.assertTrue(stuck.wait(DEADLINE))

    @in_thread
    def test_neverWants(self) -> None:
        """A cell need not ask for the body; the client gets its response, and both connections go on."""
        client = self.client()
        with self.cell(hello) as cell:
            for _ in range(2):
                self.assertEqual(self.ask("POST", "/", LARGE[:10_000], client=client).body, b"hello")
            self.assertEqual(len(cell.bands), 1)

    @in_thread
    def test_early(self) -> None:
        """A response may end before the request's body has. That band is not used again."""

        def respond(exchange: Exchange) -> None:
            if exchange.head["method"] == "POST":
                exchange.want(1 << 30)
                exchange.piece()
            hello(exchange)

        answered = threading.Event()

        def body() -> Iterator[bytes]:
            yield b"first"
            self.assertTrue(answered.wait(DEADLINE))
            yield b"second"

        client = self.client()
        with self.cell(respond) as cell:
            client.putrequest("POST", "/")
            client.putheader("content-length", "10")
            client.endheaders(b"first")
            response = client.getresponse()
            self.assertEqual((response.status, response.read()), (200, b"hello"))
            self.assertEqual(self.ask().body, b"hello")
            self.assertEqual((len(cell.bands), cell.panics), (2, []))

    @in_thread
    def test_noBody(self) -> None:
        """A handler may write a body to HEAD, and with 204 and 304: the client gets none."""

        def respond(exchange: Exchange) -> None:
            status = int(exchange.head["path"][1:])
            exchange.respond(status, {"content-length": ["5"]} if status == 200 else {})
            exchange.write(b"hello")

        client = self.client()
        with self.cell(respond) as cell:
            for method, status in (("HEAD", 200), ("GET", 204), ("GET", 304), ("HEAD", 204)):
                response = self.ask(method, f"/{status}", client=client)
                self.assertEqual((response.status, response.body), (status, b""))
            self.assertEqual(self.ask("HEAD", "/200", client=client).headers["content-length"], "5")
            self.assertEqual(len(cell.bands), 1)

    @in_thread
    def test_websocket(self) -> None:
        """A cell knows nothing of upgrades, and is asked for none: its answer is plain HTTP."""
        heads: list[dict[str, Any]] = []

        def respond(exchange: Exchange) -> None:
            heads.append(exchange.head)
            hello(exchange)

        headers = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
        with self.cell(respond):
            response = self.ask("GET", "/", headers=headers)
        self.assertEqual((response.status, response.body), (200, b"hello"))
        self.assertEqual(heads[0]["headers"]["sec-websocket-version"], ["13"])

    @in_thread
    def test_concurrently(self) -> None:
        """200 requests at once: each has a band of its own, which is asked for by one frame, and its own response."""
        together = threading.Barrier(200, timeout=DEADLINE)

        def respond(exchange: Exchange) -> None:
            body = exchange.body()
            together.wait()
            exchange.respond(200)
            exchange.write(exchange.head["path"].encode() + body)

        def ask(number: int) -> bool:
            body = b"%d" % number * 1000
            return self.ask("POST", f"/{number}", body).body == b"/%d" % number + body

        with self.cell(respond) as cell, ThreadPoolExecutor(200) as clients:
            self.assertEqual(list(clients.map(ask, range(200))), [True] * 200)
            self.assertEqual((len(cell.bands), cell.asked, cell.panics), (200, [1] * 200, []))

    @in_thread
    def test_slowBands(self) -> None:
        """Requests wait for a cell that takes its time for a band."""
        slow = threading.Event()
        with self.cell(hello, habits=Habits(before_band=lambda: slow.wait(DEADLINE))), ThreadPoolExecutor(3) as clients:
            asked = [clients.submit(self.ask) for _ in range(3)]
            [member] = self.members()
            self.until(lambda: member.outstanding == 3, "three requests")
            slow.set()
            self.assertEqual([one.result().status for one in asked], [200] * 3)


class MountTests(QueenCase):
    """Which requests a cell gets."""

    @in_thread
    def test_several(self) -> None:
        """One cell may mount several hosts and paths: the longest that matches counts; without a slash, exactly."""
        mounts = [
            ("@", "/"),
            ("@", "/app/"),
            ("@", "/app/deep/"),
            ("@", "/file"),
            ("Example.ORG", "/"),
            ("*.example.net", "/x/"),
        ]

        def respond(exchange: Exchange) -> None:
            exchange.write(exchange.head["path"].encode())

        with self.cell(respond, mounts=mounts):
            for host, target, path in (
                ("localhost", "/a/b", b"/a/b"),
                ("127.0.0.1", "/app", b"/app"),
                ("127.0.0.1:7", "/app/", b"/"),
                ("LOCALHOST", "/app/deep/x/", b"/x/"),
                ("localhost", "/file", b"/"),
                ("localhost", "/file/x", b"/file/x"),
                ("example.org", "/y", b"/y"),
                ("a.b.example.net", "/x/y", b"/y"),
            ):
                self.assertEqual(self.ask("GET", target, headers={"Host": host}).body, path, (host, target))
            for host, target in (("example.com", "/"), ("a.example.net", "/"), ("example.net", "/x/")):
                self.assertEqual(self.ask("GET", target, headers={"Host": host}).status, 404)

    @in_thread
    def test_unmount(self) -> None:
        """Unmount, with an empty object or with nothing at all, is of all mounts; the cell may mount again."""
        with self.cell(hello, mounts=[("@", "/"), ("@", "/app/")]) as cell:
            [member] = self.members()
            for payload in (b"{}", b""):
                cell.leash.send(Kind.UNMOUNT, payload)
                self.until(lambda: not member.mounts, "the end of the mounts")
                self.assertEqual((self.ask().status, self.ask("GET", "/app/").status), (404, 404))
                cell.mount("@", "/")
                self.until(lambda: member.mounts, "a mount")
                self.assertEqual(self.ask().status, 200)

    @in_thread
    def test_refused(self) -> None:
        """What cannot be mounted is passed over without a word to the cell, which goes on."""
        with self.cell(hello) as cell:
            for host, path in (("@", "/a/../b"), ("a b", "/"), ("@", "x"), ("@", "/" + "x" * 1_024)):
                cell.mount(host, path)
                self.expect_log("cannot mount")
                self.said.clear()
            self.assertEqual((self.ask().status, cell.panics), (200, []))

    @in_thread
    def test_twoCells(self) -> None:
        """Two cells with one mount share the requests; when one unmounts, or is killed, the other gets all."""

        def named(name: bytes) -> Callable[[Exchange], None]:
            return lambda exchange: exchange.write(name)

        with self.cell(named(b"a")) as a, self.cell(named(b"b")):
            self.assertEqual(Counter(self.ask().body for _ in range(10)), {b"a": 5, b"b": 5})
            a.unmount()
            self.until(lambda: any(not member.mounts for member in self.cells), "the end of a mount")
            self.assertEqual({self.ask().body for _ in range(4)}, {b"b"})
            with self.cell(named(b"c")) as c:
                self.assertEqual({self.ask().body for _ in range(4)}, {b"b", b"c"})
                for link in (*c.bands, c.leash):
                    link.abort()
                self.assertEqual({self.ask().body for _ in range(4)}, {b"b"})

    @in_thread
    def test_withOurs(self) -> None:
        """A foreign cell and one of ours share a mount."""

        def ours(exchange: OurExchange) -> None:
            answer(exchange, 200, "ours")

        with self.cell(hello):
            cell = self.ours(self.start_ours, ours)
            self.assertEqual(Counter(self.ask().body for _ in range(10)), {b"hello": 5, b"ours\n": 5})
            self.ours(cell.stopService)
            self.assertEqual({self.ask().body for _ in range(4)}, {b"hello"})

    def start_ours(self, application: Callable[[OurExchange], None]) -> Deferred[Cell]:
        """Start a cell of ours, and wait for its mount."""
        queen = Queen.overTLS(*self.at, trustRoots=[credentials().authority])
        cell = Cell(queen, KEY, "@/", application, reactor=self.reactor)
        cell.startService()
        self.addCleanup(lambda: cell.stopService() if cell.running else None)
        return cell.whenReady()
