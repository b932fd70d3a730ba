"""
Tests for L{hypermail.hive.exchanges}: requests through both ends of a band, over a simulated wire.
"""

from __future__ import annotations

from twisted.internet.defer import succeed
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from hypermail.errors import IllegalTransition, UsageError
from hypermail.hive.aliases import Aliases
from hypermail.hive.band import End, Response
from hypermail.hive.bands import Band
from hypermail.hive.exchanges import PIECE, UNLIMITED, BandProtocol, Exchange
from hypermail.hive.frames import Accept, ConnectionKind, IAm, RequestHead
from hypermail.hive.leashes import CellConnection, Cells
from hypermail.test.hive import FrameTransport, Remembering, written


class BandCase(SynchronousTestCase):
    """A queen, and a cell of hers that has one band."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.cells = Cells(
            self.clock,
            lambda _: succeed(True),
            lambda size: bytes(size),
            login_timeout=1.0,
            band_age=60.0,
            aliases=Aliases(),
        )
        self.leash = CellConnection(self.cells)
        transport = FrameTransport()
        self.leash.makeConnection(transport)
        self.leash.dataReceived(written(IAm(ConnectionKind.CELL, "", "key", 1)))
        [accept] = transport.heard()
        assert isinstance(accept, Accept)
        self.served: list[Exchange] = []
        self.gone: list[BandProtocol] = []
        self.cell = BandProtocol(accept.uuid, accept.key, self.served.append, self.gone.append)
        self.queen = CellConnection(self.cells)
        owner = self.cells.owner(accept.uuid, accept.key)
        assert owner is not None
        self.owner = owner
        for end in (self.queen, self.cell):
            end.makeConnection(FrameTransport())
        self.asker = Remembering()
        self.flush()

    def flush(self) -> None:
        """What was written arrives, both ways, as long as nobody is paused or has closed."""
        moved = True
        while moved:
            moved = False
            for here, there in ((self.queen, self.cell), (self.cell, self.queen)):
                data = here.transport.value()
                if data and there.transport.producerState == "producing":
                    here.transport.clear()
                    there.dataReceived(data)
                    moved = True

    def ask(self, method: str = "GET", upgrade: bool = False) -> tuple[Band, Exchange]:
        """Send a request to the cell."""
        band = self.successResultOf(self.owner.garden.lend())
        band.ask(self.asker, RequestHead(method=method, path="/x"), upgrade)
        self.flush()
        return band, self.served[-1]


class ExchangeTests(BandCase):
    """Requests that cells are asked."""

    def test_response(self) -> None:
        """A response, and another one on the same band."""
        for _ in range(2):
            _, exchange = self.ask()
            self.assertEqual((exchange.head.path, exchange.over, self.cell.idle), ("/x", False, False))
            exchange.respond(200, {"a": ("b",)})
            exchange.write(b"body")
            exchange.end({"c": ("d",)})
            self.flush()
            self.assertEqual((exchange.over, self.cell.idle), (True, True))
            response = Response(200, {"a": ("b",)}, None, False)
            self.assertEqual(self.asker.learnt[-3:], [response, b"body", End({"c": ("d",)})])

    def test_ended(self) -> None:
        """What is said after the end cannot reach the next request."""
        _, exchange = self.ask()
        exchange.respond(200, {})
        exchange.end()
        self.flush()
        self.ask()
        for say in (lambda: exchange.respond(200, {}), lambda: exchange.write(b"x"), exchange.end):
            self.assertRaises(UsageError, say)
        self.assertRaises(UsageError, exchange.read, Remembering())
        self.assertEqual(self.cell.transport.value(), b"")

    def test_body(self) -> None:
        """A body that is read, with back pressure."""
        band, exchange = self.ask("POST")
        reading = Remembering()
        exchange.read(reading, 10)
        self.flush()
        self.assertEqual(self.asker.learnt, [10])
        exchange.connection.pauseProducing()
        band.body(b"abc")
        band.endBody({"t": ("u",)})
        self.flush()
        self.assertEqual(reading.learnt, [])
        exchange.connection.resumeProducing()
        self.flush()
        self.assertEqual(reading.learnt, [b"abc", End({"t": ("u",)})])
        self.assertRaises(IllegalTransition, exchange.read, reading)
        self.cell.connectionLost(Failure(ConnectionError()))
        self.assertEqual(len(reading.learnt), 2)

    def test_wrong(self) -> None:
        """A response that the queen would not take is the application's mistake, and costs no band."""
        _, exchange = self.ask()
        for status, headers in (
            (99, {}),
            (100, {}),
            (600, {}),
            (999, {}),
            (200, {"a": ("b\r\nc: d",)}),
            (200, {"a\n": ("b",)}),
            (200, {"content-type": "text/plain"}),
            (200, {"content-length": ("1", "2")}),
            (200, {"content-length": ("-1",)}),
        ):
            self.assertRaises(UsageError, exchange.respond, status, headers)
            self.assertFalse(exchange.begun)
        exchange.respond(599, {"a": ("b", "c")})
        exchange.end()
        self.flush()
        self.assertEqual(self.asker.learnt[-2:], [Response(599, {"a": ("b", "c")}, None, False), End({})])

    def test_readLate(self) -> None:
        """Who asks for the body of a client that is lost already waits for nothing."""
        _, exchange = self.ask("POST")
        self.cell.connectionLost(Failure(ConnectionError()))
        reading = Remembering()
        exchange.read(reading)
        self.assertEqual(reading.learnt, ["lost"])

    def test_early(self) -> None:
        """Who has answered reads no more, and is read from again for the next request."""
        band, exchange = self.ask("POST")
        reading = Remembering()
        exchange.read(reading)
        self.flush()
        exchange.connection.pauseProducing()
        band.body(b"abc")
        exchange.respond(413, {})
        exchange.end()
        band.endBody()
        self.flush()
        self.assertTrue(self.cell.idle)
        self.cell.connectionLost(Failure(ConnectionError()))
        self.assertEqual(reading.learnt, [])

    def test_upgrade(self) -> None:
        """Another protocol, both ways, and its ends one after the other."""
        band, exchange = self.ask(upgrade=True)
        reading = Remembering()
        exchange.read(reading)
        exchange.respond(101, {"upgrade": ("x",)})
        self.flush()
        self.assertEqual(self.asker.learnt, [UNLIMITED, Response(101, {"upgrade": ("x",)}, None, True)])
        band.body(b"ping")
        exchange.write(b"pong")
        band.endBody()
        self.flush()
        exchange.write(b"more")
        exchange.end()
        self.flush()
        self.assertEqual(reading.learnt, [b"ping", End({})])
        self.assertEqual(self.asker.learnt[2:], [b"pong", b"more", End({})])
        self.assertTrue(self.cell.idle)

    def test_lost(self) -> None:
        """Who reads learns that the connection is lost; what is written then goes nowhere."""
        _, exchange = self.ask("POST")
        reading = Remembering()
        exchange.read(reading)
        self.cell.connectionLost(Failure(ConnectionError()))
        self.assertEqual((reading.learnt, exchange.over, self.gone), (["lost"], True, [self.cell]))
        self.cell.transport.clear()
        exchange.respond(200, {})
        exchange.write(b"x")
        exchange.end()
        self.assertEqual(self.cell.transport.value(), b"")

    def test_whenOver(self) -> None:
        """Who waits for the end learns whether the response was sent, also afterwards."""
        _, exchange = self.ask()
        waiting = exchange.whenOver()
        exchange.respond(200, {})
        self.assertNoResult(waiting)
        exchange.end()
        self.assertEqual([self.successResultOf(one) for one in (waiting, exchange.whenOver())], [True, True])
        self.flush()
        _, exchange = self.ask()
        waiting = exchange.whenOver()
        self.cell.connectionLost(Failure(ConnectionError()))
        exchange.respond(200, {})
        exchange.end()
        self.assertEqual([self.successResultOf(one) for one in (waiting, exchange.whenOver())], [False, False])

    def test_begun(self) -> None:
        """Whether the response has begun."""
        _, exchange = self.ask()
        self.assertFalse(exchange.begun)
        exchange.respond(200, {})
        self.assertTrue(exchange.begun)

    def test_large(self) -> None:
        """What is written in one piece goes in frames that are not too large."""
        _, exchange = self.ask()
        exchange.respond(200, {})
        data = bytes(range(256)) * (PIECE // 128) + b"x"
        exchange.write(data)
        exchange.end()
        self.flush()
        self.assertEqual([len(piece) for piece in self.asker.learnt[1:-1]], [PIECE, PIECE, 1])
        self.assertEqual(b"".join(self.asker.learnt[1:-1]), data)

    def test_refused(self) -> None:
        """A band that the queen refuses is closed by both."""
        other, queen = BandProtocol("no", "leash", self.served.append, self.gone.append), CellConnection(self.cells)
        for end in (queen, other):
            end.makeConnection(FrameTransport())
        said: list[str] = []
        self.patch(other, "refused", said.append)
        queen.dataReceived(other.transport.value())
        other.dataReceived(queen.transport.value())
        self.assertTrue(queen.transport.disconnecting)
        self.assertTrue(other.transport.disconnected)
        self.assertIn("there is no such leash", said[0])

    def test_before_accept(self) -> None:
        """A request may come before C{Accept}."""
        early = BandProtocol("u", "k", self.served.append, self.gone.append)
        early.makeConnection(FrameTransport())
        early.dataReceived(written(RequestHead(method="GET", path="/" * 5_000), Accept("u", "", 1)))
        self.assertTrue(early.accepted)
        self.served[-1].respond(200, {})
        self.served[-1].end({"a": ("b",)})
        self.assertIn(b"trailers", early.transport.value())

    def test_trailers(self) -> None:
        """A queen that does not know them is sent none."""
        plain = BandProtocol("u", "k", self.served.append, self.gone.append)
        plain.makeConnection(FrameTransport())
        plain.dataReceived(written(Accept("u", ""), RequestHead(method="GET")))
        self.served[-1].respond(200, {})
        self.served[-1].end({"a": ("b",)})
        self.assertNotIn(b"trailers", plain.transport.value())
