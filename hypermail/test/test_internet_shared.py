"""
Tests of L{hypermail.internet.shared}: Twisted's stream endpoints over sessions.
"""

from __future__ import annotations

from io import BytesIO
from typing import Any

from twisted.internet import error, reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.interfaces import IStreamClientEndpoint, IStreamServerEndpoint
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.client import Agent, FileBodyProducer, readBody
from twisted.web.resource import Resource
from twisted.web.server import Site
from zope.interface.verify import verifyObject

from hypermail.errors import (
    PeerUntrusted,
    Reason,
    RemoteAddressRefused,
    SessionRejected,
    SessionTimedOut,
    StreamRejected,
    Unreachable,
)
from hypermail.internet.endpoints import HypermailClientEndpoint, HypermailServerEndpoint
from hypermail.internet.security import ListenerTLS, Plain, StarterTLS
from hypermail.internet.shared import _registries
from hypermail.internet.strings import parseClient
from hypermail.options import Options
from hypermail.test import certificates
from hypermail.test.securing import AUTHORITY, NOW, SELF_MADE, STARTER
from hypermail.test.sessions import PORT, SERVER, Hosts, RecordingStream, ipv6
from hypermail.testing import Conditions


class Streams(Factory):
    """
    Makes L{RecordingStream}s and keeps them.
    """

    noisy = False

    def __init__(self) -> None:
        self.built: list[Any] = []
        self.calls: list[str] = []
        self.make: Any = RecordingStream

    def buildProtocol(self, addr: Any) -> Any:
        protocol = self.make()
        self.built.append(protocol)
        return protocol

    def startFactory(self) -> None:
        self.calls.append("start")

    def stopFactory(self) -> None:
        self.calls.append("stop")


class SharedTests(SynchronousTestCase):
    """
    L{HypermailServerEndpoint} and L{HypermailClientEndpoint}
    """

    def setUp(self) -> None:
        self.hosts = Hosts(Conditions(delay=0.01))
        self.serving = Streams()
        self.asking = Streams()
        self.addCleanup(self.hosts.end)

    def listen(self) -> None:
        endpoint = HypermailServerEndpoint(self.hosts.server, PORT, **self.hosts.settings(interface=SERVER))
        verifyObject(IStreamServerEndpoint, endpoint)
        self.hosts.port = self.hosts.run(endpoint.listen(self.serving))

    def endpoint(self, **settings: Any) -> HypermailClientEndpoint:
        return HypermailClientEndpoint(self.hosts.client, SERVER, PORT, **self.hosts.settings(**settings))

    def connect(self, **settings: Any) -> Any:
        return self.hosts.run(self.endpoint(**settings).connect(self.asking))

    def sockets(self) -> int:
        """How many sockets the client has."""
        return len({port for host, port in self.hosts.network.attached if host != SERVER})

    def test_connect(self) -> None:
        """A stream is a connection: bytes go both ways, and it ends as one."""
        verifyObject(IStreamClientEndpoint, self.endpoint())
        self.listen()
        ours = self.connect()
        (theirs,) = self.serving.built
        ours.transport.write(b"question")
        theirs.transport.write(b"answer")
        self.hosts.settle()
        self.assertEqual((ours.data, theirs.data), (b"answer", b"question"))
        ours.transport.loseConnection()
        self.hosts.settle()
        for protocol in (ours, theirs):
            assert protocol.reason is not None
            protocol.reason.trap(error.ConnectionDone)

    def test_oneSession(self) -> None:
        """Streams to one destination share a session, whichever endpoint opened them, at once or not."""
        self.listen()
        opening = [self.endpoint().connect(self.asking) for _ in range(3)]
        first: list[Any] = [self.hosts.run(deferred) for deferred in opening]
        first.append(self.connect())
        self.assertEqual(self.sockets(), 1)
        self.assertEqual(len({id(protocol.transport._session) for protocol in first}), 1)

    def test_lastOneCloses(self) -> None:
        """The session is closed with its last stream; the next stream opens another one."""
        self.listen()
        first, second = self.connect(), self.connect()
        first.transport.loseConnection()
        self.hosts.settle()
        self.assertEqual(self.sockets(), 1)
        second.transport.loseConnection()
        self.hosts.settle()
        self.assertEqual((self.sockets(), self.asking.calls), (0, ["start", "stop"]))
        self.assertEqual(_registries[self.hosts.client], {})
        self.connect()
        self.assertEqual(self.sockets(), 1)

    def test_whileClosing(self) -> None:
        """A stream that is wanted while the session closes gets another session."""
        self.listen()
        first = self.connect()
        wanted: list[Deferred[Any]] = []

        def lost(reason: object) -> None:
            wanted.append(self.endpoint().connect(self.asking))

        first.connectionLost = lost
        first.transport.loseConnection()
        self.hosts.settle()
        self.successResultOf(wanted[0])

    def test_closedByPeer(self) -> None:
        """A stream that is wanted while the peer closes the session gets another session."""
        self.listen()
        first = self.connect()
        session = first.transport._session
        (theirs,) = self.serving.built
        first.transport.write(b"x" * 2_000_000)
        closing = theirs.transport._session.close()
        self.hosts.settle(0.05)
        self.assertNotIn("connectionLost", first.calls)
        second = self.connect()
        self.assertIsNot(second.transport._session, session)
        self.hosts.run(closing)
        self.assertEqual(len(theirs.data), 2_000_000)

    def test_sessionLost(self) -> None:
        """When the session is lost so are its streams; who connects again at once gets another session."""
        self.listen()
        first = self.connect()
        second = self.connect()
        wanted: list[Deferred[Any]] = []
        first.connectionLost = lambda reason: wanted.append(self.endpoint().connect(self.asking))
        first.transport._session.abort()
        self.hosts.settle()
        assert second.reason is not None
        second.reason.trap(error.ConnectionLost)
        self.successResultOf(wanted[0])

    def test_otherSettings(self) -> None:
        """Endpoints that want something else don't share."""
        self.listen()
        self.connect()
        self.connect(options=Options(ping_interval=1.0))
        self.assertEqual(self.sockets(), 2)

    def test_otherTrust(self) -> None:
        """Nor do endpoints that trust somebody else; those that trust the same do, however that came to be said."""
        issued = certificates.issue(AUTHORITY, SERVER, now=NOW)
        endpoint = HypermailServerEndpoint(
            self.hosts.server, PORT, **self.hosts.settings(interface=SERVER, security=ListenerTLS(issued))
        )
        self.hosts.port = self.hosts.run(endpoint.listen(self.serving))
        by_pin, by_authority = StarterTLS(pin=issued.pin), StarterTLS(trustRoots=[AUTHORITY.certificate])
        for security in (by_pin, StarterTLS(pin=issued.pin.replace("/", "//", 1)), by_authority):
            self.connect(security=security)
        self.assertEqual(self.sockets(), 2)
        known = StarterTLS(pin=issued.pin, identity=STARTER)
        self.connect(security=known)
        self.assertEqual(self.sockets(), 3)

    def test_default(self) -> None:
        """Without a word on security a listener needs a certificate; Twisted's programs learn why there is none."""
        endpoint = HypermailServerEndpoint(
            self.hosts.server, PORT, **self.hosts.settings(interface=SERVER, security=ListenerTLS(SELF_MADE))
        )
        self.hosts.port = self.hosts.run(endpoint.listen(self.serving))
        connecting = HypermailClientEndpoint(self.hosts.client, SERVER, PORT).connect(self.asking)
        self.assertIn(SELF_MADE.pin, self.assertFails(connecting, error.ConnectError, PeerUntrusted))
        self.assertEqual(self.serving.built, [])

    def test_factories(self) -> None:
        """Both factories are started once, and stopped with the last stream, or the port."""
        self.listen()
        ours = self.connect()
        self.assertEqual((self.asking.calls, self.serving.calls), (["start"], ["start"]))
        ours.transport.loseConnection()
        self.hosts.settle()
        self.assertEqual((self.asking.calls, self.serving.calls), (["start", "stop"], ["start"]))
        assert self.hosts.port is not None
        self.hosts.port.stopListening()
        self.hosts.settle()
        self.assertEqual(self.serving.calls, ["start", "stop"])

    def assertFails(self, connecting: Deferred[Any], kind: type[Exception], cause: type[Exception]) -> str:
        self.hosts.settle(15)
        found = self.failureResultOf(connecting, kind).value
        self.assertIs(type(found), kind)
        self.assertIsInstance(found.__cause__, cause)
        self.assertEqual(self.sockets(), 0)
        return str(found)

    def test_nobodyThere(self) -> None:
        """Nobody listening is a timeout."""
        text = self.assertFails(self.endpoint().connect(self.asking), error.TimeoutError, SessionTimedOut)
        self.assertIn("10 s", text)

    def test_noSession(self) -> None:
        """A rejected session is a refused connection."""

        def decide(request: object) -> None:
            raise SessionRejected("not today")

        self.hosts.listening.decide = decide
        self.hosts.listen()
        connecting = [self.endpoint().connect(self.asking) for _ in range(2)]
        for deferred in connecting:
            text = self.assertFails(deferred, error.ConnectionRefusedError, SessionRejected)
            self.assertIn("not today", text)

    def test_noStream(self) -> None:
        """A rejected stream is a refused connection."""
        self.listen()
        self.serving.make = lambda: None
        self.assertFails(self.endpoint().connect(self.asking), error.ConnectionRefusedError, StreamRejected)

    def test_unknownHost(self) -> None:
        """An unknown host."""
        endpoint = HypermailClientEndpoint(self.hosts.client, "nowhere", PORT, security=Plain())
        self.assertFails(endpoint.connect(self.asking), error.NoRouteError, Unreachable)

    def test_remote(self) -> None:
        """A remote address is refused in mode plain as everywhere."""
        endpoint = HypermailClientEndpoint(self.hosts.client, SERVER, PORT, security=Plain())
        self.failureResultOf(endpoint.connect(self.asking), RemoteAddressRefused)

    def test_noProtocol(self) -> None:
        """A factory that builds nothing fails as with TCP, and leaves no session."""
        self.listen()
        self.asking.make = lambda: None
        connecting = self.endpoint().connect(self.asking)
        self.hosts.settle()
        self.failureResultOf(connecting, error.NoProtocol)
        self.assertEqual(self.sockets(), 0)

    def test_cancelledWhileAsking(self) -> None:
        """Cancelled before the session is there: when nobody else wants it, it is withdrawn."""
        first, second = self.endpoint().connect(self.asking), self.endpoint().connect(self.asking)
        self.hosts.settle()
        first.cancel()
        self.failureResultOf(first, error.ConnectingCancelledError)
        self.hosts.settle()
        self.assertEqual(self.sockets(), 1)
        second.cancel()
        self.failureResultOf(second, error.ConnectingCancelledError)
        self.hosts.settle()
        self.assertEqual(self.sockets(), 0)

    def test_cancelledWhileOpening(self) -> None:
        """Cancelled while the stream is being opened: the stream is cleared, the session closed."""
        self.listen()
        connecting = self.endpoint().connect(self.asking)
        self.hosts.settle(0.05)
        self.assertNoResult(connecting)
        connecting.cancel()
        self.failureResultOf(connecting, error.ConnectingCancelledError)
        self.hosts.settle()
        self.assertEqual(self.sockets(), 0)

    def test_names(self) -> None:
        """A stream with a name is for somebody else."""
        self.listen()
        protocol = self.hosts.run(self.hosts.ask())
        opening = protocol.session.openStream(self.asking, b"other")
        self.hosts.settle()
        found = self.failureResultOf(opening, StreamRejected).value
        self.assertEqual(found.code, Reason.STREAM_NAME_UNKNOWN)
        self.hosts.run(protocol.session.close())


class RealTests(TestCase):
    """
    Over real sockets, with Twisted's own programs
    """

    timeout = 30
    skip = None if ipv6() else "this machine has no IPv6"

    async def closed(self) -> None:
        """Nothing is left of the sessions that clients of this reactor share."""
        while _registries.get(reactor) or self.lingering():
            await deferLater(reactor, 0.01)

    def lingering(self) -> bool:
        real: Any = reactor
        return any("HypermailDatagramProtocol" in repr(reader) for reader in real.getReaders())

    async def test_web(self) -> None:
        """A web server and its client run over it: a body of 2 MB there and back."""

        class Echo(Resource):
            isLeaf = True

            def render_POST(self, request: Any) -> bytes:
                content: bytes = request.content.read()
                return content[::-1]

        port: Any = await HypermailServerEndpoint(reactor, 0, security=Plain()).listen(Site(Echo()))
        endpoint = HypermailClientEndpoint(reactor, "localhost", port.getHost().port, security=Plain())

        class Hypermail:
            def endpointForURI(self, uri: Any) -> Any:
                return endpoint

        content = bytes(range(250)) * 8_000
        agent = Agent.usingEndpointFactory(reactor, Hypermail())
        response: Any = await agent.request(
            b"POST", b"http://localhost/", bodyProducer=FileBodyProducer(BytesIO(content))
        )
        body = await readBody(response)
        self.assertEqual((response.code, body), (200, content[::-1]))
        await port.stopListening()
        await self.closed()

    async def test_strings(self) -> None:
        """Endpoint strings make it available to every Twisted program."""
        streams = Streams()
        port: Any = await serverFromString(reactor, "hypermail:0:interface=127.0.0.1:plain=yes").listen(streams)
        number = port.getHost().port
        client: Any = clientFromString(reactor, f"hypermail:host=127.0.0.1:port={number}:plain=yes")
        ours = await client.connect(Factory.forProtocol(RecordingStream))
        ours.transport.write(b"hello")
        ours.transport.loseConnection()
        await streams.built[0].lost
        await ours.lost
        self.assertEqual(streams.built[0].data, b"hello")
        await port.stopListening()
        await self.closed()
        self.assertIsInstance(parseClient(reactor, "127.0.0.1", str(number)), HypermailClientEndpoint)

    async def test_cancel(self) -> None:
        """A connection that was cancelled leaves nothing."""
        real: Any = reactor
        nobody = real.listenUDP(0, DatagramProtocol(), interface="127.0.0.1")
        connecting = HypermailClientEndpoint(reactor, "127.0.0.1", nobody.getHost().port, security=Plain()).connect(
            Factory.forProtocol(Protocol)
        )
        connecting.cancel()
        with self.assertRaises((error.ConnectingCancelledError, CancelledError)):
            await connecting
        await self.closed()
        await nobody.stopListening()
