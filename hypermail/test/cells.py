"""
What the tests of L{hypermail.hive.cell} share: a queen, in memory or at a socket, and who asks through her.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.error import ConnectError, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock, deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer

from hypermail.hive.aliases import Aliases
from hypermail.hive.band import End, Response
from hypermail.hive.bands import Band
from hypermail.hive.cell.application import Answering
from hypermail.hive.cell.cell import Cell
from hypermail.hive.cell.queens import Queen
from hypermail.hive.frames import RequestHead
from hypermail.hive.leashes import CellConnection, Cells, Member
from hypermail.test.hive import FrameTransport


class Asked:
    """
    A request: who waits for its response.

    @ivar response: its head, once it is there.
    @ivar end: of its body.
    @ivar wasLost: whether the band was lost before that.
    @ivar most: bytes of the request's body that the cell has wanted; None when it has wanted none.
    @ivar band: that carries it.
    """

    def __init__(self, body: bytes | None = b"", trailers: dict[str, tuple[str, ...]] | None = None) -> None:
        """@param body: that is sent when it is wanted; None when the test sends it."""
        self.response: Response | None = None
        self.pieces: list[bytes] = []
        self.end: End | None = None
        self.wasLost = False
        self.most: int | None = None
        self.band: Any = None
        self.done: Deferred[Asked] = Deferred()
        self.began: Deferred[Asked] = Deferred()
        self._body = body
        self._trailers = trailers
        self._heard: list[tuple[Callable[[bytes], bool], Deferred[bytes]]] = []

    def whenReceived(self, enough: Callable[[bytes], bool]) -> Deferred[bytes]:
        """Wait until so much of the body has come."""
        if enough(self.received):
            return succeed(self.received)
        self._heard.append((enough, Deferred()))
        return self._heard[-1][1]

    @property
    def received(self) -> bytes:
        """Of the body."""
        self.pieces = [b"".join(self.pieces)]
        return self.pieces[0]

    @property
    def status(self) -> int:
        """Of the response."""
        assert self.response is not None, "there is no response"
        return self.response.status

    def header(self, name: str) -> str:
        """Of the response, all of its values."""
        assert self.response is not None, "there is no response"
        return ", ".join(self.response.headers.get(name, ()))

    def bodyWanted(self, most: int) -> None:
        """See L{hypermail.hive.bands.Asker}."""
        self.most = most
        if self._body is None:
            return
        body = self._body[:most]
        for begin in range(0, len(body), 65_536):
            self.band.body(body[begin : begin + 65_536])
        self.band.endBody(self._trailers)

    def responded(self, response: Response) -> None:
        """See L{hypermail.hive.bands.Asker}."""
        self.response = response
        self.began.callback(self)

    def dataReceived(self, data: bytes) -> None:
        """See L{hypermail.hive.bands.Asker}."""
        self.pieces.append(data)
        for one in [one for one in self._heard if one[0](self.received)]:
            self._heard.remove(one)
            one[1].callback(self.received)

    def ended(self, end: End) -> None:
        """See L{hypermail.hive.bands.Asker}."""
        self.end = end
        self.done.callback(self)

    def lost(self) -> None:
        """See L{hypermail.hive.bands.Asker}."""
        self.wasLost = True
        self.done.callback(self)


def head_of(method: str, target: str, headers: dict[str, str] | None = None, **more: Any) -> RequestHead:
    """The head of a request, as a queen of ours would tell it."""
    given: dict[str, Any] = {
        "remote_address": "192.0.2.1",
        "remote_address_real": "192.0.2.1:1234",
        "scheme": "https",
        "host": "example.org",
        "port": 443,
        "path": target.partition("?")[0],
        "target": target,
        "protocol": "HTTP/1.1",
        "protocol_major": 1,
        "protocol_minor": 1,
        "headers": {name: (value,) for name, value in {"host": "example.org", **(headers or {})}.items()},
    }
    return RequestHead(**{**given, "method": method, **more})


def newCells(clock: Any, is_key: Callable[[str], Deferred[bool]] | None = None, age: float = 60.0) -> Cells:
    """A queen whose key is C{key}."""
    counter = iter(range(1, 1 << 30))
    return Cells(
        clock,
        is_key or (lambda key: succeed(key == "key")),
        lambda size: next(counter).to_bytes(size, "big"),
        login_timeout=5.0,
        band_age=age,
        aliases=Aliases(),
    )


def ask(cells: Cells, head: RequestHead, asked: Asked, *, upgrade: bool = False) -> Asked:
    """Ask the cell that has mounted C{@/}, or whatever else there is."""
    [member] = {cell for _, found in cells._mounts for cell in found}

    def lent(band: Band) -> None:
        asked.band = band
        band.ask(asked, head, upgrade)

    member.garden.lend().addCallback(lent)
    return asked


class _End(FrameTransport):
    """One end of a connection in memory."""

    def loseConnection(self) -> None:
        self.disconnecting = True


@implementer(IStreamClientEndpoint)
class MemoryHive:
    """
    A queen in memory, and the endpoint of her.

    @ivar refusing: whether she takes no connections.
    @ivar held: whether connections stay half open: a list of Deferreds of those; C{factories} has their factories.
    @ivar opened: how many connections there were.
    """

    def __init__(self, clock: Clock, cells: Cells) -> None:
        self.clock = clock
        self.cells = cells
        self.refusing = False
        self.silent = False
        self.held: list[Deferred[IProtocol]] | None = None
        self.factories: list[IProtocolFactory] = []
        self.opened = 0
        self.links: list[tuple[Any, Any]] = []

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """See L{IStreamClientEndpoint.connect}."""
        if self.refusing:
            return fail(ConnectError())
        if self.held is not None:
            self.held.append(Deferred())
            self.factories.append(protocolFactory)
            return self.held[-1]
        self.opened += 1
        here: Any = protocolFactory.buildProtocol(None)  # type: ignore[arg-type]
        there: Any = CellConnection(self.cells)
        self.links.append((here, there))
        for end in (there, here):
            end.makeConnection(_End())
        return succeed(here)

    def flush(self) -> None:
        """What was written arrives, and connections that were closed are lost, as long as anything happens."""
        while sum(self._move(*link) for link in list(self.links)):
            pass

    def _move(self, here: Any, there: Any) -> bool:
        moved = False
        for one, other in ((here, there), (there, here)):
            data = one.transport.value()
            if one.transport.disconnected:
                self.lose(here, there, ConnectionLost())
                return True
            if data and not self.silent and other.transport.producerState == "producing":
                one.transport.clear()
                other.dataReceived(data)
                moved = True
        if (here, there) in self.links and any(
            end.transport.disconnecting and not end.transport.value() for end in (here, there)
        ):
            self.lose(here, there, ConnectionDone())
            return True
        return moved

    def lose(self, here: Any, there: Any, why: Exception) -> None:
        """A connection is lost, at both ends."""
        if (here, there) in self.links:
            self.links.remove((here, there))
            for end in (here, there):
                end.connectionLost(Failure(why))

    def loseAll(self) -> None:
        """All are."""
        for here, there in list(self.links):
            self.lose(here, there, ConnectionLost())

    @property
    def member(self) -> Member:
        """The one cell that is there."""
        [member] = self.cells._cells.values()
        return member


class MemoryCase(SynchronousTestCase):
    """A cell of a queen, in memory; no chance is taken: pauses are half as long as they may be."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.cells = newCells(self.clock)
        self.hive = MemoryHive(self.clock, self.cells)

    def cell(self, application: Answering, *mounts: str, **options: Any) -> Cell:
        """A cell that has begun; when the test ends it leaves nothing."""
        options = {"chance": lambda: 0.0, "key": "key", "queen": Queen.at(self.hive), **options}
        queen, key = options.pop("queen"), options.pop("key")
        cell = Cell(queen, key, mounts or ("@/",), application, reactor=self.clock, **options)
        cell.startService()
        self.addCleanup(self.end, cell)
        self.hive.flush()
        return cell

    def end(self, cell: Cell) -> None:
        """Stop it, and look whether anything is left."""
        stopping = cell.stopService() if cell.running else None
        self.pass_(60.0)
        if stopping is not None:
            self.successResultOf(stopping)
        self.hive.loseAll()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def pass_(self, seconds: float) -> None:
        """Time passes, in small steps, and what is written arrives."""
        end = self.clock.seconds() + seconds
        self.hive.flush()
        while self.clock.seconds() < end:
            self.clock.advance(min(0.25, end - self.clock.seconds()))
            self.hive.flush()

    def ask(self, head: RequestHead, body: bytes | None = b"", *, upgrade: bool = False) -> Asked:
        """Ask the cell."""
        asked = ask(self.cells, head, Asked(body), upgrade=upgrade)
        self.hive.flush()
        return asked


class SocketCase(TestCase):
    """A cell of a queen at a socket."""

    timeout = 60

    async def setUp(self) -> None:  # type: ignore[override]
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.cells = newCells(reactor)
        factory = Factory.forProtocol(lambda: CellConnection(self.cells))
        factory.noisy = False
        port: Any = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(factory)
        self.addCleanup(port.stopListening)
        self.port = port.getHost().port

    async def cell(self, application: Answering, *mounts: str, **options: Any) -> Cell:
        """A cell that is there; it stops when the test ends."""
        endpoint = TCP4ClientEndpoint(self.reactor, "127.0.0.1", self.port)
        cell = Cell(Queen.at(endpoint), "key", mounts or ("@/",), application, reactor=self.reactor, **options)
        self.running = [cell]
        cell.startService()
        self.addCleanup(lambda: cell.stopService() if cell.running else None)
        await cell.whenReady()
        return cell

    @property
    def bands(self) -> list[Any]:
        """The cell's."""
        [leash] = self.running[0]._leashes.values()
        assert leash._current is not None, "there is no leash"
        return list(leash._current._bands)

    async def stall(self, asked: Asked, meanwhile: Callable[[], object] = lambda: None) -> Any:
        """
        Who reads a response of 64 MiB reads nothing for a while, in which the cell has less than 1 MiB of it.

        @param meanwhile: looks at what else is to be seen then.
        @return: the cell's band.
        """
        await asked.began
        asked.band.connection.pauseProducing()
        await deferLater(self.reactor, 0.3)
        [band] = self.bands
        self.assertLess(len(band.transport.dataBuffer) + band.transport._tempDataLen, 1 << 20)
        meanwhile()
        asked.band.connection.resumeProducing()
        await asked.done
        self.assertEqual(len(asked.received), 64 << 20)
        return band

    def begin(self, head: RequestHead, body: bytes | None = b"", *, upgrade: bool = False, **more: Any) -> Asked:
        """Ask the cell, and go on."""
        return ask(self.cells, head, Asked(body, **more), upgrade=upgrade)

    async def ask(
        self, method: str, target: str, headers: dict[str, str] | None = None, body: bytes = b"", **more: Any
    ) -> Asked:
        """Ask the cell, and wait for the response."""
        return await self.begin(head_of(method, target, headers, **more), body).done
