"""
Tests for L{hypermail.hive.cell.queens}: how queens are reached, and trusted.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from twisted.internet import ssl
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import SSL4ServerEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from hypermail.errors import UsageError
from hypermail.hive.cell.application import answer
from hypermail.hive.cell.cell import Cell
from hypermail.hive.cell.files import FilesApplication
from hypermail.hive.cell.queens import Queen
from hypermail.hive.leashes import CellConnection
from hypermail.internet.endpoints import SessionServerEndpoint
from hypermail.internet.naming import NamedStreams
from hypermail.internet.security import ListenerTLS, StarterTLS
from hypermail.test.cells import Asked, ask, head_of, newCells
from hypermail.test.certificates import authority, issue
from hypermail.test.sessions import identityOf

OTHER = identityOf("other.example").pin


class UsageTests(SynchronousTestCase):
    """What may be asked for."""

    def test_wrong(self) -> None:
        """What cannot be is an error at once."""
        for wrong in (
            lambda: Queen.overTLS("h", pins=["sha256/x"]),
            lambda: Queen.overTLS("h", pins=[OTHER], trustRoots=[]),
            lambda: Queen.overTLS("a" * 300 + ".example"),
            lambda: Queen.overHypermail("h", 0),
            lambda: Queen.overHypermail("h" * 300 + ".example", 1),
        ):
            self.assertRaises(UsageError, wrong)

    def test_siblings(self) -> None:
        """Other queens are reached and trusted in the same way; who uses endpoints of his own has none."""
        over = Queen.overTLS("h", pins=[OTHER])
        assert over.sibling is not None
        self.assertEqual(over.sibling("::1", 5).name, "[::1]:5")
        hyper = Queen.overHypermail("h", 5, security=StarterTLS(pin=OTHER))
        assert hyper.sibling is not None
        self.assertEqual(hyper.sibling("i", 6).name, "hypermail:i:6")
        first, second = object(), object()
        own = Queen.at(first, second)  # type: ignore[arg-type]
        self.assertEqual((own.leash(Clock()), own.band(Clock()), own.sibling), (first, second, None))
        self.assertIs(Queen.at(first).band(Clock()), first)  # type: ignore[arg-type]


class TrustTests(TestCase):
    """Queens at sockets."""

    timeout = 60

    async def setUp(self) -> None:  # type: ignore[override]
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.cells = newCells(reactor)
        now = datetime.now(UTC)
        self.authority = authority(now=now)
        self.identity = issue(self.authority, "127.0.0.1", now=now)
        self.factory = Factory.forProtocol(lambda: CellConnection(self.cells))
        self.factory.noisy = False
        own: Any = {"privateKey": self.identity.key, "certificate": self.identity.certificate}
        options = ssl.CertificateOptions(**own)
        port: Any = await SSL4ServerEndpoint(reactor, 0, options, interface="127.0.0.1").listen(self.factory)
        self.addCleanup(port.stopListening)
        self.port: int = port.getHost().port

    def cell(self, queen: Queen, application: Any = None) -> Cell:
        """A cell of hers."""
        application = application or (lambda exchange: answer(exchange, 200, "hello"))
        cell = Cell(queen, "key", "@/", application, reactor=self.reactor)
        cell.startService()
        self.addCleanup(cell.stopService)
        return cell

    async def works(self, queen: Queen) -> None:
        """It answers."""
        cell = self.cell(queen)
        await cell.whenReady()
        for _ in range(2):
            asked = await ask(self.cells, head_of("GET", "/"), Asked()).done
            self.assertEqual(asked.received, b"hello\n")
        await cell.stopService()

    async def fails(self, queen: Queen, reason: str) -> None:
        """It is not in, for a reason."""
        cell = self.cell(queen)
        said: Deferred[str] = Deferred()
        [leash] = cell._leashes.values()

        async def pause(failed: int, reason: str, refused: bool) -> None:
            said.callback(reason)
            await Deferred()

        leash._pause = pause  # type: ignore[method-assign]
        self.assertIn(reason, await said)
        await cell.stopService()

    async def test_roots(self) -> None:
        """An authority, and the address that the certificate has to be for."""
        roots = [self.authority.certificate]
        await self.works(Queen.overTLS("127.0.0.1", self.port, trustRoots=roots))
        await self.fails(Queen.overTLS("localhost", self.port, trustRoots=roots), "the connection was lost: ")
        await self.fails(Queen.overTLS("127.0.0.1", self.port), "certificate verify failed")
        await self.fails(
            Queen.overTLS("127.0.0.1", self.port, trustRoots=[authority("x", datetime.now(UTC)).certificate]),
            "certificate verify failed",
        )

    async def test_pins(self) -> None:
        """One of several pins, whatever the name."""
        for host in ("127.0.0.1", "localhost"):
            await self.works(Queen.overTLS(host, self.port, pins=[OTHER, self.identity.pin]))
        await self.fails(Queen.overTLS("localhost", self.port, pins=[OTHER]), "certificate verify failed")

    async def test_hypermail(self) -> None:
        """Streams of one session: C{leash}, and C{band} for each band."""
        names = NamedStreams({b"leash": self.factory, b"band": self.factory})
        listening = SessionServerEndpoint(self.reactor, 0, interface="127.0.0.1", security=ListenerTLS(self.identity))
        port: Any = await listening.listen(names)
        self.addCleanup(port.stopListening)
        number = port.getHost().port
        await self.works(Queen.overHypermail("127.0.0.1", number, security=StarterTLS(pin=self.identity.pin)))
        await self.works(
            Queen.overHypermail("127.0.0.1", number, security=StarterTLS(trustRoots=[self.authority.certificate]))
        )
        await self.fails(Queen.overHypermail("127.0.0.1", number, security=StarterTLS(pin=OTHER)), "pin")
        await self.large(Queen.overHypermail("127.0.0.1", number, security=StarterTLS(pin=self.identity.pin)))

    def directory(self, data: bytes) -> str:
        """One that has a file."""
        directory = Path(self.mktemp())
        directory.mkdir()
        (directory / "large").write_bytes(data)
        return str(directory)

    async def large(self, queen: Queen) -> None:
        """A file, as large as makes its producer wait."""
        data = os.urandom(1 << 20) * 4
        cell = self.cell(queen, FilesApplication(self.directory(data)))
        await cell.whenReady()
        self.assertEqual((await ask(self.cells, head_of("GET", "/large"), Asked()).done).received, data)
        await cell.stopService()
