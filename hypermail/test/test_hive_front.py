"""
Tests for L{hypermail.hive.front.front} and L{hypermail.hive.front.line}: all connections, and real ones.
"""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast
from unittest import SkipTest

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, wrapClientTLS
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import CertificateOptions, PrivateCertificate
from twisted.internet.utils import getProcessOutputAndValue
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

import hypermail.hive.front.front
from hypermail.hive.fields import Lists
from hypermail.hive.front.allowance import Allowance
from hypermail.hive.front.calls import Call
from hypermail.hive.front.front import Front
from hypermail.hive.front.line import Timeouts
from hypermail.test.certificates import self_signed
from hypermail.test.front import Answering, FrontTestCase, hello
from hypermail.test.test_hive_front_http1 import GET

real = cast(Any, reactor)

#: Bytes of a response that no socket takes at once.
LARGE = 40 << 20


class FrontTests(FrontTestCase):
    """All connections."""

    def test_versions(self) -> None:
        """HTTP/2 is offered, and spoken to who has agreed; all others speak HTTP/1.1."""
        self.assertEqual(self.front.acceptableProtocols(), [b"h2", b"http/1.1"])
        for protocol, first in ((b"h2", b"\0\0"), (b"http/1.1", b"HTTP/1.1 "), (None, b"HTTP/1.1 ")):
            self.protocol = protocol
            self.on_call = hello
            client = self.connect()
            client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0" if protocol == b"h2" else GET)
            self.assertTrue(client.transport.take().startswith(first), protocol)

    def test_without_h2(self) -> None:
        """Without h2 there is HTTP/1.1 only."""
        self.patch(hypermail.hive.front.front, "HTTP2", None)
        self.assertEqual(self.front.acceptableProtocols(), [b"http/1.1"])

    def test_most_connections(self) -> None:
        """There are so many connections at a time; further ones are cut off, until one is lost."""
        self.front = Front(self.clock, self.serve, most_connections=2)
        first, second, third = self.connect(), self.connect(), self.connect()
        self.assertEqual((first.transport.cut, second.transport.cut, third.transport.cut), (False, False, True))
        third.lose()
        self.assertEqual((self.front.connections, self.front.refused), (2, 1))
        first.lose()
        self.assertFalse(self.connect().transport.cut)

    def test_stopped(self) -> None:
        """Once it was stopped nobody comes in any more; without connections that is at once."""
        self.successResultOf(self.front.stop())
        self.assertTrue(self.connect().transport.cut)

    def test_stop_twice(self) -> None:
        """All who wait for its end learn of it."""
        client = self.connect()
        first, second = self.front.stop(), self.front.stop()
        client.lose()
        self.successResultOf(first)
        self.successResultOf(second)

    def test_abort(self) -> None:
        """What does not end is cut off, also while it is closing."""
        running, closing = self.connect(), self.connect()
        running.send(GET)
        closing.send(b"?\r\n\r\n")
        self.front.abort()
        self.assertTrue(running.transport.cut)
        self.assertTrue(closing.transport.cut)

    def test_one_timer(self) -> None:
        """However many connections there are, and requests on them, the reactor has one call for all."""
        self.on_call = hello
        clients = [self.connect() for _ in range(20)]
        for client in clients:
            client.send(GET * 3)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        for client in clients:
            client.lose()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class AllowanceTests(FrontTestCase):
    """L{Allowance}."""

    def test_allowance(self) -> None:
        """So much at once, and then as time passes; never more than at first."""
        allowance = Allowance(3, 2.0)
        self.assertEqual([allowance.spend(5.0) for _ in range(4)], [True, True, True, False])
        self.assertFalse(allowance.spend(5.5))
        self.assertEqual([allowance.spend(100.0, count) for count in (2, 1, 1)], [True, True, False])


class Endless(Answering):
    """Writes as much as is taken."""

    written = 0
    paused = False

    def pauseResponse(self) -> None:
        """See L{hypermail.hive.front.calls.Answerer}."""
        self.paused = True

    def resumeResponse(self) -> None:
        """See L{hypermail.hive.front.calls.Answerer}."""
        self.paused = False
        self.go_on()

    def go_on(self) -> None:
        """Write."""
        while self.written < LARGE and not self.paused:
            self.written += 1 << 16
            self.call.write(bytes(1 << 16))
        if self.written >= LARGE:
            self.written = -1 << 60
            self.call.end({"t": ("1",)})


class Echo(Answering):
    """Says what it hears, if it may."""

    def bodyReceived(self, data: bytes) -> None:
        """See L{hypermail.hive.front.calls.Answerer}."""
        self.call.write(data)

    def bodyEnded(self, trailers: Lists) -> None:
        """See L{hypermail.hive.front.calls.Answerer}."""
        self.call.end(trailers)

    def pauseResponse(self) -> None:
        """See L{hypermail.hive.front.calls.Answerer}."""
        self.call.pauseBody()

    def resumeResponse(self) -> None:
        """See L{hypermail.hive.front.calls.Answerer}."""
        self.call.resumeBody()


def serve(call: Call) -> Answering:
    """Answer what the target asks for."""
    if call.target == b"/endless":
        endless = Endless(call)
        call.respond(200, {}, None)
        real.callLater(0, endless.go_on)
        return endless
    if call.target == b"/echo":
        echo = Echo(call)
        if "Upgrade" in call.headers:
            call.upgrade({"upgrade": ("echo",)})
        else:
            call.respond(200, {}, None)
            call.readBody()
        return echo
    answering = Answering(call)
    if call.target == b"/":
        hello(answering)
    return answering


class Hearing(Protocol):
    """A client that remembers what it hears."""

    transport: Any

    def __init__(self) -> None:
        self.heard = b""
        self.lost: Deferred[None] = Deferred()
        self._until: tuple[Callable[[bytes], bool], Deferred[bytes]] | None = None

    def dataReceived(self, data: bytes) -> None:
        """See L{Protocol}."""
        self.heard += data
        if self._until is not None and self._until[0](self.heard):
            (_, heard), self._until = self._until, None
            heard.callback(self.heard)

    def until(self, enough: Callable[[bytes], bool]) -> Deferred[bytes]:
        """What was heard, once that is enough."""
        heard: Deferred[bytes] = Deferred()
        self._until = enough, heard
        self.dataReceived(b"")
        return heard

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See L{Protocol}."""
        self.lost.callback(None)


class RealTests(TestCase):
    """Sockets, TLS and curl."""

    timeout = 60

    def setUp(self) -> None:
        identity = self_signed("localhost", now=datetime.now(UTC))
        options = PrivateCertificate.loadPEM(identity.to_pem()).options()
        self.fronts = Front(real, serve, Timeouts(), "http"), Front(real, serve)
        plain = real.listenTCP(0, self.fronts[0], interface="127.0.0.1")
        secure = real.listenTCP(0, TLSMemoryBIOFactory(options, False, self.fronts[1]), interface="127.0.0.1")
        self.plain, self.secure = plain.getHost().port, secure.getHost().port
        self.addCleanup(self._stop)
        self.addCleanup(plain.stopListening)
        self.addCleanup(secure.stopListening)

    async def _stop(self) -> None:
        for front in self.fronts:
            stopped = front.stop()
            front.abort()
            await stopped

    async def curl(self, *arguments: str) -> bytes:
        """What curl gets."""
        program = shutil.which("curl")
        if program is None:
            raise SkipTest("there is no curl")
        output, errors, code = await getProcessOutputAndValue(
            program, ["-sSk", "--max-time", "30", *arguments], reactor=real
        )
        self.assertEqual(code, 0, errors)
        return cast(bytes, output)

    async def connect(self, port: int) -> Hearing:
        """Connect to a port."""
        endpoint: Any = TCP4ClientEndpoint(real, "127.0.0.1", port)
        if port == self.secure:
            endpoint = wrapClientTLS(CertificateOptions(verify=False), endpoint)
        return cast(Hearing, await endpoint.connect(Factory.forProtocol(Hearing)))

    def file(self, data: bytes) -> str:
        """Where there is a file with this."""
        path = Path(self.mktemp())
        path.write_bytes(data)
        return str(path)

    async def test_curl(self) -> None:
        """curl gets what it asks for in both versions, large and small."""
        for version, told in (("--http1.1", b"HTTP/1.1 200"), ("--http2", b"HTTP/2 200")):
            said = await self.curl(version, "-i", f"https://127.0.0.1:{self.secure}/")
            self.assertTrue(said.startswith(told), said)
            self.assertTrue(said.endswith(b"\r\n\r\nhello"))
            said = await self.curl(version, f"https://127.0.0.1:{self.secure}/endless")
            self.assertEqual(len(said), LARGE)

    async def test_curl_uploads(self) -> None:
        """It gets back what it sends, while it sends it, and a response that comes before."""
        data = bytes(range(256)) * 4_096
        path = self.file(data)
        for version in ("--http1.1", "--http2"):
            at = f"https://127.0.0.1:{self.secure}"
            self.assertEqual(await self.curl(version, "--data-binary", f"@{path}", f"{at}/echo"), data)
        said = await self.curl("--http1.1", "--data-binary", f"@{path}", f"https://127.0.0.1:{self.secure}/")
        self.assertEqual(said, b"hello")

    async def test_early_response(self) -> None:
        """A client that sends much, and is not heard, gets to read the response before the connection ends."""
        client = await self.connect(self.plain)
        client.transport.write(b"POST / HTTP/1.0\r\nContent-Length: 900000\r\n\r\n" + bytes(900_000))
        await client.lost
        self.assertTrue(client.heard.endswith(b"\r\n\r\nhello"))

    async def test_upgrade(self) -> None:
        """After an upgrade both say what they like, over TLS, too; over TCP one may end first."""
        for port in (self.plain, self.secure):
            client = await self.connect(port)
            client.transport.write(
                b"GET /echo HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nearly " + bytes(300_000)
            )
            heard = await client.until(lambda heard: len(heard.partition(b"\r\n\r\n")[2]) >= 300_006)
            self.assertTrue(heard.startswith(b"HTTP/1.1 101 "))
            if port == self.plain:
                client.transport.loseWriteConnection()
            else:
                client.transport.loseConnection()
            await client.lost
            self.assertEqual(client.heard.partition(b"\r\n\r\n")[2], b"early " + bytes(300_000))

    async def test_back_pressure(self) -> None:
        """A client that does not read has a response written only as far as sockets and buffers go."""
        written: list[Endless] = []
        found = self.fronts[0].serve

        def watched(call: Call) -> Any:
            answering = found(call)
            written.append(cast(Endless, answering))
            return answering

        self.fronts[0].serve = watched
        client = socket.create_connection(("127.0.0.1", self.plain))
        self.addCleanup(client.close)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        client.sendall(b"GET /endless HTTP/1.1\r\nHost: h\r\n\r\n")
        while not written or not written[0].paused:
            await self.moment()
        self.assertLess(written[0].written, LARGE)

    async def test_nothing_taken(self) -> None:
        """A client that does not read is cut off, over TLS, too, and who answers learns of it."""
        for front, port in zip(self.fronts, (self.plain, self.secure), strict=True):
            front.timeouts = Timeouts(write=0.2)
            answering: list[Endless] = []
            front.serve = lambda call, answering=answering: answering.append(serve(call)) or answering[0]  # type: ignore
            client = await self.connect(port)
            client.transport.write(GET.replace(b"/a?b", b"/endless"))
            await client.until(bool)
            client.transport.pauseProducing()
            while not answering or answering[0].learnt != ["lost"]:
                await self.moment()
            self.assertLess(answering[0].written, LARGE)
            client.transport.abortConnection()
            await client.lost

    def moment(self) -> Deferred[None]:
        """Let the reactor turn."""
        turned: Deferred[None] = Deferred()
        real.callLater(0.01, turned.callback, None)
        return turned

    async def test_stalled_handshake(self) -> None:
        """A client that never ends its handshake is cut off."""
        self.fronts[1].timeouts = Timeouts(header=0.1)
        client = Hearing()
        await TCP4ClientEndpoint(real, "127.0.0.1", self.secure).connect(Factory.forProtocol(lambda: client))
        client.transport.write(b"\x16\x03\x01")
        await client.lost

    async def test_graceful_end(self) -> None:
        """Idle connections are closed when the front stops."""
        clients = [await self.connect(port) for port in (self.plain, self.secure)]
        for client in clients:
            client.transport.write(GET.replace(b"/a?b", b"/"))
            await client.until(lambda heard: heard.endswith(b"hello"))
        for front, client in zip(self.fronts, clients, strict=True):
            stopped = front.stop()
            await client.lost
            await stopped
