"""
Tests for L{hypermail.hive.queen} and L{hypermail.hive.installation}: a queen, a cell and clients at sockets.
"""

from __future__ import annotations

import socket
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from hypermail.errors import UsageError
from hypermail.hive import queen as queens
from hypermail.hive.cell.application import answer
from hypermail.hive.exchanges import Exchange
from hypermail.hive.installation import HLHV, HTTP, HTTPS, HYPERMAIL
from hypermail.security.identity import Identity
from hypermail.services.ending import CannotStart
from hypermail.test.queens import HERE, KEY, QueenCase, write_identity
from hypermail.test.sessions import identityOf, logged


def hello(exchange: Exchange) -> None:
    """Greets."""
    answer(exchange, 200, f"hello {exchange.head.path}")


def _connected(client: socket.socket) -> bool:
    try:
        client.getpeername()
    except OSError:
        return False
    return True


class Held(list[Exchange]):
    """
    Answers nothing before it is told.

    @ivar came: fires with the first request.
    """

    def __init__(self) -> None:
        super().__init__()
        self.came: Deferred[Exchange] = Deferred()

    def __call__(self, exchange: Exchange) -> None:
        self.append(exchange)
        if len(self) == 1:
            self.came.callback(exchange)


class ServingTests(QueenCase):
    """What she does."""

    async def test_tls(self) -> None:
        """A client's request goes to a cell that has come over TLS, and the response comes back."""
        self.begin()
        await self.cell(hello, "@/app/")
        found = await self.get("/app/x")
        self.assertIn(b"HTTP/1.1 200 OK\r\n", found)
        self.assertTrue(found.endswith(b"\r\n\r\nhello /x\n"), found)
        self.assertIn(b" 404 ", await self.get("/other"))

    async def test_hypermail(self) -> None:
        """... or over hypermail."""
        identity = self.here / "identity.pem"
        identity.touch(mode=0o600)
        identity.write_bytes(self.keyPath.read_bytes() + self.certificatePath.read_bytes())
        self.begin(port_hypermail=0, identity_path=str(identity))
        await self.cell(hello, hypermail=True)
        self.assertIn(b"hello /x\n", await self.get("/x"))
        self.queen.reload()
        self.assertIn(b"hello /y\n", await self.get("/y"))

    async def test_wrong_key(self) -> None:
        """A cell with another key learns that this is wrong, and the queen's log has it, too."""
        lines = logged(self)
        self.begin()
        cell = self.cell(hello, key="another")
        waiting = Deferred.fromCoroutine(cell)
        while not any("refuses the cell" in line for line in lines):
            await deferLater(self.reactor, 0.01)
        waiting.addErrback(lambda _: None).cancel()
        self.assertTrue([line for line in lines if "the key is wrong" in line and HERE in line])

    async def test_no_key(self) -> None:
        """Without a hash nobody is let in, which she says at her start."""
        lines = logged(self)
        self.begin(key_hash=None)
        self.assertTrue([line for line in lines if "no cell can log in" in line])
        self.assertFalse(await self.installation._is_key(KEY))

    async def test_burst(self) -> None:
        """A hundred clients that come at once, while she does something else, are all connected at once."""
        self.begin()
        for name in (HTTPS, HLHV):
            clients = [socket.socket() for _ in range(100)]
            for client in clients:
                self.addCleanup(client.close)
                client.setblocking(False)
                client.connect_ex((HERE, self.installation.ports.number(name)))
            self.assertTrue(all(map(_connected, clients)))

    async def test_redirect(self) -> None:
        """What comes without TLS is sent to HTTPS."""
        self.begin(port_http=0)
        found = await self.get("/x?y", port=HTTP, tls=False)
        self.assertIn(b"HTTP/1.1 301 ", found)

    async def test_access_log(self) -> None:
        """Each request is a line of the log, which is opened anew when she is told."""
        log = self.here / "access.log"
        self.begin(access_log=str(log))
        await self.get("/one")
        self.queen.reload()
        await self.get("/two")
        await self.queen.stopService()
        lines = log.read_text().splitlines()
        self.assertEqual(["/one" in lines[0], "/two" in lines[1], len(lines)], [True, True, 2])
        self.assertIn('"GET /one HTTP/1.1" 404 ', lines[0])


class ReloadTests(QueenCase):
    """What SIGHUP changes, and what it leaves."""

    async def test_changes(self) -> None:
        """Aliases, keys, limits change at once; a connection that is there goes on."""
        self.begin()
        await self.cell(hello)
        client = await self.connect()
        self.say(client, "GET /1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await client.until(b"hello /1\n")
        self.directives = replace(self.directives, aliases={"other": "@"}, key_hash=None, band_age=1.0, slash=True)
        self.queen.reload()
        self.say(client, "GET /2 HTTP/1.1\r\nHost: other\r\n\r\n")
        await client.until(b"location: /2/\r\n")
        self.say(client, "GET /3 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await client.until(b" 404 .* 404 |404 Not Found\r\n")
        self.assertFalse(await self.installation._is_key(KEY))
        self.assertEqual([member.garden.age for member in self.installation.cells], [1.0])

    async def test_certificate(self) -> None:
        """A certificate that was renewed is shown to whoever comes next."""
        self.begin()
        before = await self.connect()
        self.say(before, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await before.until(b" 404 ")
        other = Identity.self_signed("localhost", now=datetime.now(UTC))
        write_identity(other, self.certificatePath, self.keyPath)
        self.queen.reload()
        after = await self.connect()
        self.assertNotEqual(other.pin, self.identity.pin)
        for client, identity in ((before, self.identity), (after, other)):
            self.say(client, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            await client.lost
            shown = client.shown.to_cryptography()
            self.assertEqual(shown.public_bytes(Encoding.DER), identity.certificate.public_bytes(Encoding.DER))

    async def test_broken(self) -> None:
        """What cannot be is logged, and changes nothing."""
        log = self.here / "access.log"
        self.begin(access_log=str(log))
        lines = logged(self)
        good = self.directives
        changes: tuple[tuple[dict[str, Any], str], ...] = (
            ({"certificate_path": "missing.pem", "slash": True}, "missing.pem"),
            ({"access_log": str(self.here / "no" / "log"), "slash": True}, "access log"),
            ({"identity_path": "missing.id", "slash": True}, "missing.id"),
        )
        for said, word in changes:
            self.directives = replace(good, **said)
            self.queen.reload()
            self.assertIn("the configuration stays as it was", lines[-1])
            self.assertIn(word, lines[-1])
            self.assertFalse(self.installation.router.slash)
        self.directives = good
        self.assertIn(b" 404 ", await self.get())
        await self.queen.stopService()
        self.assertEqual(len(log.read_text().splitlines()), 1)

    async def test_unreadable(self) -> None:
        """Neither does a file that cannot be read any more."""
        self.begin()
        lines = logged(self)

        def read() -> Any:
            raise UsageError("line 3: there is no 'kee'")

        self.queen._read = read
        self.queen.reload()
        self.assertIn("line 3", lines[-1])
        self.assertIn(b" 404 ", await self.get())

    async def test_port(self) -> None:
        """A port that moves is open at its new place, and no more at the old one; who is connected stays."""
        self.begin()
        client = await self.connect()
        before = self.installation.ports.number(HTTPS)
        with socket.create_server((HERE, 0)) as free:
            number = free.getsockname()[1]
        self.directives = replace(self.directives, port_https=number)
        self.queen.reload()
        self.assertEqual(self.installation.ports.number(HTTPS), number)
        self.assertIn(b" 404 ", await self.get())
        self.say(client, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await client.until(b" 404 ")
        with self.assertRaises(OSError):
            socket.create_connection((HERE, before), 10).close()

    async def test_port_taken(self) -> None:
        """One that cannot be had is said with its directive, and the old one stays."""
        self.begin()
        lines = logged(self)
        before = self.installation.ports.number(HLHV)
        with socket.create_server((HERE, 0)) as taken:
            self.directives = replace(self.directives, port_hlhv=taken.getsockname()[1])
            self.queen.reload()
            self.assertIn(f"cannot listen at portHlhv {self.directives.port_hlhv}: ", lines[-1])
        self.assertEqual(self.installation.ports.number(HLHV), before)

    async def test_optional(self) -> None:
        """Ports that she need not have come and go."""
        identity = self.here / "identity.pem"
        identity.touch(mode=0o600)
        identity.write_bytes(self.keyPath.read_bytes() + self.certificatePath.read_bytes())
        self.begin()
        self.directives = replace(self.directives, port_http=0, port_hypermail=0, identity_path=str(identity))
        self.queen.reload()
        self.assertTrue(self.installation.ports.number(HTTP) and self.installation.ports.number(HYPERMAIL))
        self.directives = replace(self.directives, port_http=None, port_hypermail=None)
        self.queen.reload()
        self.assertRaises(KeyError, self.installation.ports.number, HTTP)
        self.assertRaises(KeyError, self.installation.ports.number, HYPERMAIL)


class StartTests(QueenCase):
    """What keeps her from beginning is said in one line."""

    async def refused(self, **said: Any) -> str:
        """She does not begin, and leaves nothing. @return: why."""
        error = self.assertRaises(CannotStart, self.begin, **said)
        self.assertIsNone(self.queen.installation)
        await deferLater(self.reactor, 0)
        return str(error)

    async def test_certificate(self) -> None:
        """No certificate."""
        self.assertIn("missing.pem", await self.refused(certificate_path="missing.pem"))

    async def test_mismatch(self) -> None:
        """A certificate that does not match its key."""
        write_identity(identityOf("another"), self.here / "other.pem", self.keyPath)
        self.assertIn("cert.pem", await self.refused())

    async def test_port(self) -> None:
        """A port that somebody has."""
        with socket.create_server((HERE, 0)) as taken:
            number = taken.getsockname()[1]
            self.assertIn(f"cannot listen at portHttps {number}: ", await self.refused(port_https=number))

    def test_again(self) -> None:
        """She may begin anew."""
        self.begin()

    async def test_twice(self) -> None:
        """... also after she has stopped."""
        self.begin()
        await self.queen.stopService()
        self.queen.startService()
        self.assertIn(b" 404 ", await self.get())


class StopTests(QueenCase):
    """How she ends."""

    async def test_finishes(self) -> None:
        """Requests that are running are finished, idle connections closed, no others taken; cells are sent away."""
        self.begin()
        held = Held()
        cell = await self.cell(held)
        idle = await self.connect()
        client = await self.connect()
        self.say(client, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        exchange = await held.came
        number = self.installation.ports.number(HTTPS)
        stopping = self.queen.stopService()
        await idle.lost
        with self.assertRaises(ConnectionRefusedError):
            socket.create_connection((HERE, number), 10).close()
        self.assertFalse(stopping.called)
        answer(exchange, 200, "late")
        await stopping
        await client.lost
        self.assertTrue(client.received.endswith(b"late\n"))
        self.assertIn(b"connection: close", client.received.lower())
        self.assertFalse(cell.isReady)

    async def test_cut(self) -> None:
        """Those that take too long are cut off."""
        self.patch(queens, "GRACE", 0.05)
        self.begin()
        held = Held()
        await self.cell(held)
        client = await self.connect()
        self.say(client, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await held.came
        await self.queen.stopService()
        await client.lost
        self.assertEqual(client.received, b"")
        while not held[0].over:
            await deferLater(self.reactor, 0.01)
