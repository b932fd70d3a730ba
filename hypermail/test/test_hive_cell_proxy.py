"""
Tests for L{hypermail.hive.cell.proxy} and L{hypermail.hive.cell.upstream}, with web servers at sockets.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.address import HostnameAddress
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint, UNIXServerEndpoint
from twisted.internet.error import ConnectingCancelledError, ConnectionDone, ConnectionLost
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock, deferLater
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from hypermail.errors import UsageError
from hypermail.hive.cell.proxy import ProxyApplication
from hypermail.hive.cell.upstream import IDLE, MOST_HEAD, MOST_IDLE, Upstream, UpstreamConnection
from hypermail.hive.frames import RequestHead
from hypermail.test.cells import Asked, MemoryCase, SocketCase, ask, head_of
from hypermail.test.test_hive_cell_resource import Endless

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class UpstreamTests(SynchronousTestCase):
    """Where web servers are."""

    def test_right(self) -> None:
        """What may be written."""
        for text, authority in (
            ("http://127.0.0.1:8000", "127.0.0.1:8000"),
            ("http://[::1]:8000/", "[::1]:8000"),
            ("https://example.org", "example.org"),
            ("unix:/run/x", "localhost"),
        ):
            self.assertEqual(Upstream(text).authority, authority)
            self.assertIsNotNone(Upstream(text).endpoint(Clock()))

    def test_wrong(self) -> None:
        """What may not, and what would be right."""
        for text in (
            "",
            "127.0.0.1:8000",
            "ftp://x",
            "http://",
            "http://x:0",
            "http://x:99999",
            "http://x/app",
            "http://x?y",
            "http://u@x",
            "unix:",
            "unix:\0",
            "http://[x",
            "http://ä",
        ):
            error = self.assertRaises(UsageError, Upstream, text)
            self.assertIn(repr(text), error.text)


class Server(Protocol):
    """A web server that says what a test says. @ivar received: bytes that it was told."""

    transport: Any

    def __init__(self, say: Callable[[Server], object]) -> None:
        self.say = say
        self.received = 0

    def dataReceived(self, data: bytes) -> None:
        self.received += len(data)
        self.say(self)


class RawTests(MemoryCase):
    """Web servers in memory, that may do anything."""

    def setUp(self) -> None:
        super().setUp()
        self.connections: list[UpstreamConnection] = []
        self.refused: Exception | None = None
        self.open = True
        self.pending: list[Deferred[Any]] = []
        self.theCell = self.cell(ProxyApplication(Upstream("http://127.0.0.1:8000"), endpoint=self, answering=50.0))  # type: ignore[arg-type]

    def connect(self, factory: Any) -> Deferred[Any]:
        """See L{IStreamClientEndpoint}."""
        self.factory = factory
        connecting: Deferred[Any] = Deferred(
            lambda one: one.errback(ConnectingCancelledError(HostnameAddress(b"127.0.0.1", 8000)))
        )
        if self.refused is not None:
            connecting.errback(self.refused)
        elif self.open:
            connection = factory.buildProtocol(None)
            connection.makeConnection(StringTransport())
            self.connections.append(connection)
            connecting.callback(connection)
        self.pending.append(connecting)
        return connecting

    def end(self, cell: Any) -> None:
        """... all is closed."""
        for connection in self.connections:
            if not connection._lost and connection not in connection._pool.idle:
                self.assertTrue(connection.transport.disconnected)
        for connection in list(self.connections):
            if connection in connection._pool.idle:
                self.hang_up(connection)
        super().end(cell)

    def hang_up(self, connection: UpstreamConnection, reason: Exception | None = None) -> None:
        """The web server closes a connection. @param reason: None when that is in order."""
        connection.connectionLost(Failure(reason or ConnectionDone()))

    def say(self, data: bytes, connection: int = -1) -> None:
        """The web server says something."""
        self.connections[connection].dataReceived(data)
        self.hive.flush()

    def heard(self, connection: int = -1) -> bytes:
        """What the web server was told since the last time."""
        transport: Any = self.connections[connection].transport
        data: bytes = transport.value()
        transport.clear()
        return data

    def test_request(self) -> None:
        """The request as the client has made it; what is about its connection is left out."""
        headers = {"host": "example.org:8443", "x": "ä", "te": "trailers", "connection": "close, y", "y": "1"}
        asked = self.ask(head_of("GET", "/a%2Fb?c", headers))
        self.assertEqual(self.heard(), "GET /a%2Fb?c HTTP/1.1\r\nhost: example.org:8443\r\nx: ä\r\n\r\n".encode())
        self.say(b"HTTP/1.1 201 Yes\r\nContent-Length: 2\r\nX: \xc3\xa4\r\nConnection: x-y\r\nX-Y: 1\r\n\r\nok")
        assert asked.response is not None
        self.assertEqual((asked.status, asked.received), (201, b"ok"))
        self.assertEqual(asked.response.headers, {"content-length": ("2",), "x": ("ä",)})

    def test_underscores(self) -> None:
        """Headers that programs could take for what the queen has said do not reach them; others do."""
        forged = ("x_forwarded_for", "x-forwarded_proto", "content_length", "transfer_encoding", "keep_alive")
        self.ask(head_of("GET", "/", {**dict.fromkeys(forged, "1"), "my_header": "2", "x-forwarded-for": "192.0.2.1"}))
        self.assertEqual(
            self.heard(), b"GET / HTTP/1.1\r\nhost: example.org\r\nmy_header: 2\r\nx-forwarded-for: 192.0.2.1\r\n\r\n"
        )
        self.say(OK)

    def test_noHost(self) -> None:
        """A request without a host is for the web server."""
        self.ask(RequestHead(method="GET", path="/"))
        self.assertEqual(self.heard(), b"GET / HTTP/1.1\r\nhost: 127.0.0.1:8000\r\n\r\n")
        self.say(OK)

    def test_kept(self) -> None:
        """A connection carries one request after the other; several at once need as many."""
        for _ in range(3):
            asked = self.ask(head_of("GET", "/"))
            self.say(OK)
            self.assertEqual(asked.received, b"ok")
        self.assertEqual(len(self.connections), 1)
        first, second = self.ask(head_of("GET", "/1")), self.ask(head_of("GET", "/2"))
        self.assertEqual(len(self.connections), 2)
        self.say(OK, 1)
        self.say(OK.replace(b"ok", b"no"), 0)
        self.assertEqual((first.received, second.received), (b"no", b"ok"))

    def test_notKept(self) -> None:
        """What cannot be kept is closed: it says so, or says more than it should."""
        for response in (OK.replace(b"OK", b"OK\r\nConnection: close"), OK.replace(b"1.1", b"1.0"), OK + b"more"):
            asked = self.ask(head_of("GET", "/"))
            self.say(response)
            self.assertEqual(asked.received, b"ok")
            transport: Any = self.connections[-1].transport
            self.assertTrue(transport.disconnected)
            self.hang_up(self.connections[-1])
        self.assertEqual(len(self.connections), 3)

    def test_outOfTurn(self) -> None:
        """A connection on which something comes that nobody has asked for is closed."""
        self.ask(head_of("GET", "/"))
        self.say(OK)
        self.say(OK)
        transport: Any = self.connections[-1].transport
        self.assertTrue(transport.disconnected)
        self.hang_up(self.connections[-1])

    def test_idle(self) -> None:
        """Connections that nobody needs are closed after some time, or at once when there are many."""
        asked = [self.ask(head_of("GET", "/")) for _ in range(MOST_IDLE + 1)]
        for number, _ in enumerate(asked):
            self.say(OK, number)
        transports: list[Any] = [connection.transport for connection in self.connections]
        self.assertEqual(sum(transport.disconnected for transport in transports), 1)
        self.clock.advance(IDLE)
        self.assertEqual(sum(transport.disconnected for transport in transports), MOST_IDLE + 1)
        for connection in self.connections:
            self.hang_up(connection)

    def test_stale(self) -> None:
        """A request on a kept connection that the web server has closed is made again, once, on a new one."""
        self.ask(head_of("GET", "/"))
        self.say(OK)
        asked = self.ask(head_of("GET", "/x"))
        self.hang_up(self.connections[0])
        self.assertEqual(len(self.connections), 2)
        self.assertEqual(self.heard(0).count(b"/x"), 1)
        self.assertIn(b"/x", self.heard())
        self.hang_up(self.connections[1])
        self.hive.flush()
        self.assertEqual((asked.status, len(self.connections)), (502, 2))

    def test_notAgain(self) -> None:
        """Not so with what must not be made twice, or when something has come."""
        for head, said in (
            (head_of("POST", "/", {"content-length": "0"}), b""),
            (head_of("PUT", "/", {"content-length": "1"}), b""),
            (head_of("GET", "/"), b"HTTP/1.1 "),
        ):
            self.ask(head_of("GET", "/"))
            self.say(OK)
            before = len(self.connections)
            asked = self.ask(head, b"x")
            if said:
                self.connections[-1].dataReceived(said)
            self.hang_up(self.connections[-1])
            self.hive.flush()
            self.assertEqual((asked.status, len(self.connections)), (502, before))

    def test_wrong(self) -> None:
        """What is no response: 502."""
        for said in (
            b"nonsense\r\n\r\n",
            b"HTTP/1.1 2xx OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nno header\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nx: " + b"y" * MOST_HEAD * 2,
            b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        ):
            asked = self.ask(head_of("GET", "/"))
            self.say(said)
            self.assertEqual((asked.status, asked.wasLost), (502, False))

    def test_cut(self) -> None:
        """A response that ends too early is cut off, one that ends with its connection is whole."""
        asked = self.ask(head_of("GET", "/"))
        self.say(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok")
        self.hang_up(self.connections[-1])
        self.hive.flush()
        self.assertEqual((asked.status, asked.wasLost), (200, True))
        asked = self.ask(head_of("GET", "/"))
        self.say(b"HTTP/1.1 200 OK\r\n\r\nok")
        self.hang_up(self.connections[-1])
        self.hive.flush()
        self.assertEqual((asked.received, asked.wasLost, asked.end is not None), (b"ok", False, True))
        self.assertEqual(len(self.connections[-1]._pool.idle), 0)  # nobody is given this one

    def test_lost(self) -> None:
        """A response that would end with its connection is cut off when that was lost; one that is whole is whole."""
        asked = self.ask(head_of("GET", "/"))
        self.say(b"HTTP/1.1 200 OK\r\n\r\nok")
        self.hang_up(self.connections[-1], ConnectionLost())
        self.hive.flush()
        self.assertEqual((asked.status, asked.wasLost), (200, True))
        asked = self.ask(head_of("GET", "/"))
        band: Any = self.hive.links[-1][0].transport
        self.say(OK[:-2])
        band.producer.pauseProducing()
        self.say(b"ok")
        self.hang_up(self.connections[-1], ConnectionLost())
        self.hive.flush()
        self.assertEqual((asked.received, asked.wasLost), (b"ok", False))

    def test_cannotBePassedOn(self) -> None:
        """What frames or the queen would not take: 502; in trailers, when it is too late, it cuts off the response."""
        for said in (b"x: a\x01b\r\n", b"x: a\x7f\r\n"):
            asked = self.ask(head_of("GET", "/"))
            self.say(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + said + b"\r\nok")
            self.assertEqual((asked.status, asked.wasLost), (502, False))
        asked = self.ask(head_of("GET", "/"))
        self.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n")
        self.say(b"0\r\nX: \x01\r\n\r\n")
        self.assertEqual((asked.status, asked.wasLost), (200, True))

    def test_badChunk(self) -> None:
        """Chunks that are none cut off the response."""
        asked = self.ask(head_of("GET", "/"))
        self.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n")
        self.say(b"no chunk\r\n")
        self.assertEqual((asked.status, asked.wasLost), (200, True))

    def test_down(self) -> None:
        """No connection: 502; none in time: 504; no response: 504."""
        self.refused = ConnectionError("refused")
        self.assertEqual(self.ask(head_of("GET", "/")).status, 502)
        self.refused, self.open = None, False
        asked = self.ask(head_of("GET", "/"))
        self.pass_(4.5)
        self.assertIsNone(asked.response)
        self.pass_(0.5)
        self.assertEqual(asked.status, 504)
        self.open = True
        asked = self.ask(head_of("GET", "/"))
        self.pass_(49.0)
        self.assertIsNone(asked.response)
        self.pass_(1.0)
        self.assertEqual(asked.status, 504)

    def test_slow(self) -> None:
        """A response that has begun may take as long as it likes."""
        asked = self.ask(head_of("GET", "/"))
        self.say(OK[:-1])
        self.pass_(100.0)
        self.say(OK[-1:])
        self.assertEqual(asked.received, b"ok")

    def test_slowRequest(self) -> None:
        """The time until a response has to begin is counted from what was last sent of the request."""
        asked = self.ask(head_of("POST", "/", {"content-length": "3"}), None)
        for _ in range(2):
            self.pass_(40.0)
            asked.band.body(b"a")
            self.hive.flush()
        self.pass_(49.0)
        self.assertIsNone(asked.response)
        self.pass_(1.0)
        self.assertEqual(asked.status, 504)

    def test_idleAndTaken(self) -> None:
        """A kept connection that is needed again is not closed then; one that was closed is forgotten."""
        for _ in range(2):
            self.ask(head_of("GET", "/"))
            self.say(OK)
        asked = self.ask(head_of("GET", "/"))
        self.pass_(IDLE + 1.0)
        self.say(OK)
        self.assertEqual((asked.received, len(self.connections)), (b"ok", 1))
        self.hang_up(self.connections[0])
        asked = self.ask(head_of("GET", "/"))
        self.say(OK)
        self.assertEqual((asked.received, len(self.connections)), (b"ok", 2))

    def test_stop(self) -> None:
        """At the end kept connections are closed."""
        self.ask(head_of("GET", "/"))
        self.say(OK)
        self.theCell.stopService()
        self.pass_(1.0)
        transport: Any = self.connections[0].transport
        self.assertTrue(transport.disconnected)
        self.hang_up(self.connections[0])

    def test_informational(self) -> None:
        """What comes before the response is left out."""
        asked = self.ask(head_of("GET", "/"))
        self.say(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + OK)
        self.assertEqual(asked.received, b"ok")

    def test_clientLost(self) -> None:
        """When the client is lost so is the connection to the web server."""
        self.ask(head_of("GET", "/"))
        self.hive.lose(*self.hive.links[1], ConnectionLost())
        transport: Any = self.connections[0].transport
        self.assertTrue(transport.disconnected)

    def test_clientLostEarly(self) -> None:
        """Also when there was none yet: it is closed as soon as it opens, and nothing is asked."""
        self.open = False
        self.ask(head_of("GET", "/"))
        self.hive.lose(*self.hive.links[1], ConnectionLost())
        connection = self.factory.buildProtocol(None)
        connection.makeConnection(StringTransport())
        self.pending[0].callback(connection)
        self.assertEqual((connection.transport.disconnected, connection.transport.value()), (True, b""))
        connection.connectionLost(Failure(ConnectionLost()))

    def test_body(self) -> None:
        """A body, whose length is known."""
        asked = self.ask(head_of("POST", "/", {"content-length": "3", "expect": "100-continue"}), b"abc")
        self.assertEqual(self.heard(), b"POST / HTTP/1.1\r\nhost: example.org\r\ncontent-length: 3\r\n\r\nabc")
        self.say(OK)
        self.assertEqual(asked.received, b"ok")

    def test_unknownLength(self) -> None:
        """A body whose length is not known goes in chunks, with its trailers; none at all is none."""
        head = head_of("POST", "/")
        ask(self.cells, head, Asked(b"abc", {"x": ("y",)}))
        self.hive.flush()
        told = self.heard()
        self.assertIn(b"transfer-encoding: chunked\r\n", told)
        self.assertTrue(told.endswith(b"\r\n\r\n3\r\nabc\r\n0\r\nx: y\r\n\r\n"), told)
        self.say(OK)
        self.ask(head, b"")
        self.assertEqual(self.heard(), b"POST / HTTP/1.1\r\nhost: example.org\r\ncontent-length: 0\r\n\r\n")
        self.say(OK)

    def test_wrongLength(self) -> None:
        """A body that is not as long as it should be: 400, and no connection is kept."""
        for body in (b"ab", b"abcd"):
            asked = self.ask(head_of("POST", "/", {"content-length": "3"}), body)
            self.assertEqual(asked.status, 400)
            transport: Any = self.connections[-1].transport
            self.assertTrue(transport.disconnected)

    def test_early(self) -> None:
        """A response may come before the body is over; the rest is dropped, the connection closed."""
        asked = self.ask(head_of("POST", "/", {"content-length": "3"}), None)
        asked.band.body(b"a")
        self.hive.flush()
        self.say(OK)
        self.assertEqual(asked.received, b"ok")
        transport: Any = self.connections[-1].transport
        self.assertTrue(transport.disconnected)

    def test_trailers(self) -> None:
        """Trailers of a response."""
        asked = self.ask(head_of("GET", "/"))
        self.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: y\r\n\r\n")
        assert asked.end is not None
        self.assertEqual((asked.received, asked.end.trailers), (b"ok", {"x": ("y",)}))

    def test_head(self) -> None:
        """A response to C{HEAD} has no body, whatever its head promises."""
        asked = self.ask(head_of("HEAD", "/"))
        self.say(OK[:-2])
        self.assertEqual((asked.header("content-length"), asked.end is not None), ("2", True))

    def test_pause(self) -> None:
        """While the queen does not take the response the web server is not read; and the other way round."""
        self.ask(head_of("GET", "/"))
        self.say(OK[:-2])
        band, server = self.hive.links[1][0].transport, self.connections[0].transport
        assert isinstance(server, StringTransport)
        band.producer.pauseProducing()
        self.assertEqual(server.producerState, "paused")
        band.producer.resumeProducing()
        self.assertEqual(server.producerState, "producing")
        self.say(b"ok")
        self.assertIsNone(band.producer)
        asked = self.ask(head_of("POST", "/"), None)
        asked.band.body(b"a")
        self.hive.flush()
        producer: Any = server.producer
        producer.pauseProducing()
        self.assertEqual(band.producerState, "paused")
        producer.resumeProducing()
        asked.band.endBody()
        self.hive.flush()
        self.assertIsNone(server.producer)
        self.say(OK)

    UPGRADE = {"connection": "upgrade", "upgrade": "x", "a": "b"}

    def test_upgrade(self) -> None:
        """An upgrade: bytes go both ways, also those that came with the head."""
        asked = self.ask(head_of("GET", "/", self.UPGRADE), None, upgrade=True)
        told = self.heard()
        self.assertIn(b"connection: upgrade\r\nupgrade: x\r\n", told)
        self.say(b"HTTP/1.1 101 Yes\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nhello")
        self.assertEqual((asked.status, asked.header("upgrade"), asked.received), (101, "x", b"hello"))
        asked.band.body(b"ping")
        self.hive.flush()
        self.assertEqual(self.heard(), b"ping")
        self.say(b"pong")
        asked.band.endBody()
        self.hive.flush()
        server: Any = self.connections[0].transport
        self.assertEqual((server.disconnecting, server.producer), (True, None))
        self.hang_up(self.connections[0])
        self.hive.flush()
        self.assertEqual((asked.received, asked.end is not None), (b"hellopong", True))

    def test_upgradeEnds(self) -> None:
        """The web server may be the first to end it; what is lost of the client is lost to it."""
        asked = self.ask(head_of("GET", "/", self.UPGRADE), None, upgrade=True)
        self.say(b"HTTP/1.1 101 Yes\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
        self.hang_up(self.connections[0])
        self.hive.flush()
        self.assertIsNotNone(asked.end)
        self.ask(head_of("GET", "/", self.UPGRADE), None, upgrade=True)
        self.say(b"HTTP/1.1 101 Yes\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
        self.hive.lose(*self.hive.links[1], ConnectionLost())
        server: Any = self.connections[1].transport
        self.assertTrue(server.disconnected)

    def test_noUpgrade(self) -> None:
        """The wish for an upgrade ends here where it cannot be granted: with a body, or a queen without extensions."""
        asked = self.ask(head_of("POST", "/", {**self.UPGRADE, "content-length": "1"}), b"x")
        self.assertNotIn(b"upgrade", self.heard())
        self.say(OK)
        self.hive.links[1][0].extended = False
        asked = self.ask(head_of("GET", "/", self.UPGRADE), None)
        self.assertNotIn(b"upgrade", self.heard())
        self.say(OK)
        self.assertEqual(asked.received, b"ok")

    def test_upgradeDeclined(self) -> None:
        """A web server may decline."""
        asked = self.ask(head_of("GET", "/", self.UPGRADE), None, upgrade=True)
        self.say(OK)
        self.assertEqual((asked.status, asked.received), (200, b"ok"))


class Pages(Resource):
    """Of the web server."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[Any] = []

    def render(self, request: Any) -> Any:
        """Send back what comes; C{/large} is large."""
        self.requests.append(request)
        if request.path == b"/large":
            request.responseHeaders.setRawHeaders(b"content-type", [b"x/y"])
            producer = Endless(request, 64 << 20)
            request.registerProducer(producer, True)
            producer.resumeProducing()
            return NOT_DONE_YET
        return request.method + b" " + request.uri + b" " + request.content.read()


class SocketTests(SocketCase):
    """A web server of Twisted's, at sockets."""

    async def serve(self, factory: Any, *, unix: bool = False) -> str:
        """Begin to listen."""
        if unix:
            path = self.mktemp()
            port = await UNIXServerEndpoint(self.reactor, path).listen(factory)
            self.addCleanup(port.stopListening)
            return f"unix:{path}"
        port = await TCP4ServerEndpoint(self.reactor, 0, interface="127.0.0.1").listen(factory)
        self.addCleanup(port.stopListening)
        return f"http://127.0.0.1:{port.getHost().port}"

    async def proxy(self, factory: Any, *, unix: bool = False) -> None:
        """A cell for it."""
        await self.cell(ProxyApplication(Upstream(await self.serve(factory, unix=unix))))

    async def test_both(self) -> None:
        """Requests and responses, at TCP and at a UNIX socket."""
        for unix in (False, True):
            await super().setUp()
            site = Site(Pages())
            await self.proxy(site, unix=unix)
            asked = await self.ask("GET", "/a?b")
            self.assertEqual((asked.status, asked.received), (200, b"GET /a?b "))
            body = bytes(range(256)) * 1024
            for headers in ({}, {"content-length": str(len(body))}):
                asked = await self.ask("POST", "/", headers, body)
                self.assertEqual(asked.received, b"POST / " + body)

    async def test_nobody(self) -> None:
        """Nobody there: 502."""
        await self.cell(ProxyApplication(Upstream("http://127.0.0.1:1")))
        self.assertEqual((await self.ask("GET", "/")).status, 502)

    async def test_largeResponse(self) -> None:
        """64 MiB to who does not read wait in the web server; the cell has less than 1 MiB of them."""
        await self.proxy(Site(Pages()))
        await self.stall(self.begin(head_of("GET", "/large")))

    async def test_largeRequest(self) -> None:
        """64 MiB to a web server that does not read wait at the queen."""
        servers: list[Server] = []

        def say(server: Server) -> None:
            server.transport.pauseProducing()

        def build() -> Server:
            servers.append(Server(say))
            return servers[-1]

        factory = Factory.forProtocol(build)
        factory.noisy = False
        await self.proxy(factory)
        asked = self.begin(head_of("POST", "/", {"content-length": str(64 << 20)}), None)
        while asked.most is None:
            await deferLater(self.reactor, 0.01)
        sender = Endless(_Body(asked), 64 << 20)
        asked.band.connection.transport.registerProducer(sender, True)
        sender.resumeProducing()
        await deferLater(self.reactor, 0.5)
        self.assertGreater(sender.left, 40 << 20)
        [application] = self.bands
        self.assertLess(application.reader._size, 1 << 20)
        servers[0].say = lambda server: None
        servers[0].transport.resumeProducing()
        while servers[0].received < 64 << 20:
            await deferLater(self.reactor, 0.05)
        servers[0].transport.write(OK)
        await asked.done
        self.assertEqual(asked.received, b"ok")

    async def test_vanishes(self) -> None:
        """Web servers that close at once, or in the middle."""
        for said in (b"", b"HTTP/1.1 2", OK[:-1]):
            await super().setUp()

            def say(server: Server, said: bytes = said) -> None:
                server.transport.write(said)
                server.transport.loseConnection()

            factory = Factory.forProtocol(lambda say=say: Server(say))  # type: ignore[misc]
            factory.noisy = False
            await self.proxy(factory)
            asked = await self.ask("GET", "/")
            if said == OK[:-1]:
                self.assertTrue(asked.wasLost)
            else:
                self.assertEqual(asked.status, 502)


class _Body:
    """Looks like a request to L{Endless}, and is the body of another one."""

    def __init__(self, asked: Asked) -> None:
        self.write = asked.band.body
        self.finish = asked.band.endBody
        self.unregisterProducer = asked.band.connection.transport.unregisterProducer
