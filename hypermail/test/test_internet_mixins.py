"""
Twisted's own tests of stream endpoints and transports, run against hypermail's.

They come from C{twisted.internet.test}, and each of them builds and runs a real reactor. Which of them run here, in
which words, and why others don't apply: C{docs/guide/twisteds-tests.rst}.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorUDP
from twisted.internet.protocol import Factory, Protocol, ServerFactory, connectionDone
from twisted.internet.test import test_tcp
from twisted.internet.test.connectionmixins import (
    ConnectableProtocol,
    ConnectionTestsMixin,
    EndpointCreator,
    StreamClientTestsMixin,
)
from twisted.internet.test.reactormixins import ReactorBuilder
from twisted.python.failure import Failure

from hypermail.internet.endpoints import HypermailClientEndpoint, HypermailServerEndpoint
from hypermail.internet.security import ListenerTLS, Plain, Security, StarterTLS
from hypermail.options import Options
from hypermail.security.identity import Identity

if TYPE_CHECKING:
    # They are mixed with trial's case only when they are made for a reactor.
    from twisted.trial.unittest import SynchronousTestCase as _Case
else:
    _Case = object

HOST = "127.0.0.1"
#: For requests that nobody answers.
IMPATIENT = Options(connection_timeout=0.2)


class Creator(EndpointCreator):
    """
    Makes hypermail's endpoints.

    @param listening: a listener's security.
    @param starting: a starter's.
    """

    def __init__(self, listening: Security, starting: Security) -> None:
        self.listening = listening
        self.starting = starting

    def server(self, reactor: Any) -> HypermailServerEndpoint:
        """See L{EndpointCreator.server}."""
        return HypermailServerEndpoint(reactor, 0, interface=HOST, security=self.listening)

    def client(self, reactor: Any, serverAddress: Any, **settings: Any) -> HypermailClientEndpoint:
        """See L{EndpointCreator.client}."""
        return HypermailClientEndpoint(reactor, HOST, serverAddress.port, security=self.starting, **settings)


def _tls() -> Creator:
    identity = Identity.self_signed(HOST, now=datetime.now(UTC))
    return Creator(ListenerTLS(identity), StarterTLS(pin=identity.pin))


PLAIN = Creator(Plain(), Plain())
TLS = _tls()


class Builder(ReactorBuilder):
    """Tests with the reactors that stand for all: those that watch file descriptors, in three ways."""

    _reactors = [
        "twisted.internet.selectreactor.SelectReactor",
        "twisted.internet.pollreactor.PollReactor",
        "twisted.internet.epollreactor.EPollReactor",
    ]
    requiredInterfaces = (IReactorUDP,)
    endpoints: EndpointCreator | None = PLAIN

    def buildReactor(self) -> Any:
        """
        A reactor whose TCP is hypermail: some of Twisted's tests know no endpoints, and ask the reactor.
        """
        reactor = super().buildReactor()
        creator: Any = self.endpoints

        def listenTCP(port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
            listening: list[Any] = []
            creator.server(reactor).listen(factory).addCallback(listening.append)
            return listening[0]  # hypermail's endpoints listen at once, too

        def connectTCP(host: str, port: int, factory: Any) -> None:
            connecting = HypermailClientEndpoint(reactor, host, port, security=creator.starting, options=IMPATIENT)

            def failed(failure: Failure) -> None:
                factory.clientConnectionFailed(None, failure)

            connecting.connect(factory).addErrback(failed)

        reactor.listenTCP, reactor.connectTCP = listenTCP, connectTCP
        return reactor


class ConnectionTests(Builder, ConnectionTestsMixin):
    """C{connectionmixins.ConnectionTestsMixin}, in mode plain"""


class TLSConnectionTests(Builder, ConnectionTestsMixin):
    """... and in mode tls, as C{test_tls.SSLClientTestsMixin} has it"""

    endpoints = TLS


class ClientTests(Builder):
    """Of C{connectionmixins.StreamClientTestsMixin}"""

    test_clientConnectionFailedStopsReactor = StreamClientTestsMixin.test_clientConnectionFailedStopsReactor
    test_connectEvent = StreamClientTestsMixin.test_connectEvent
    test_unregisterProducerAfterDisconnect = StreamClientTestsMixin.test_unregisterProducerAfterDisconnect
    test_disconnectWhileProducing = StreamClientTestsMixin.test_disconnectWhileProducing

    def listen(self, reactor: Any, factory: Any) -> Any:
        """See L{StreamClientTestsMixin}."""
        self.port = reactor.listenTCP(0, factory)
        return self.port

    def connect(self, reactor: Any, factory: Any) -> Any:
        """See L{StreamClientTestsMixin}; where nobody listens, port 1."""
        port = getattr(self, "port", None)
        return reactor.connectTCP(HOST, port.getHost().port if port else 1, factory)


class ReadingClient(test_tcp.StreamingProducerClient):
    """The same; Twisted's sockets call it C{startReading}."""

    otherProtocol: Any

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.otherProtocol.transport.resumeProducing()
        ConnectableProtocol.connectionLost(self, reason)


class ReadingClientLater(ReadingClient, test_tcp.StreamingProducerClientLater):
    """The same."""


class PausingServer(ConnectableProtocol):
    """As C{NoReadServer}; Twisted's sockets call it C{stopReading}."""

    transport: Any

    def connectionMade(self) -> None:
        self.transport.pauseProducing()


class PausingServerLater(test_tcp.EventualNoReadServer):
    """The same."""

    transport: Any

    def resumeProducing(self) -> None:
        if not self.stoppedReading:
            self.stoppedReading = True
            self.transport.pauseProducing()


class AbortTests(Builder, test_tcp.AbortConnectionMixin):
    """C{test_tcp.AbortConnectionMixin}, in mode plain"""

    endpoints = PLAIN

    def test_fullWriteBuffer(self) -> None:
        """C{abortConnection} while the peer reads nothing: the connection is lost, and not from inside of a call."""
        self.runAbortTest(ReadingClient, PausingServer)

    def test_fullWriteBufferAfterByteExchange(self) -> None:
        """... and when it has read something first."""
        self.runAbortTest(ReadingClientLater, PausingServerLater)


class TLSAbortTests(AbortTests):
    """... and in mode tls, as C{test_tls.AbortSSLConnectionTests} has it"""

    endpoints = TLS


class TransportTests(Builder, _Case):
    """Of C{test_tcp.TCPConnectionTestsBuilder}"""

    test_stopStartReading = test_tcp.TCPConnectionTestsBuilder.test_stopStartReading
    test_resumeProducing = test_tcp.TCPConnectionTestsBuilder.test_resumeProducing
    test_connectionLostAfterPausedTransport = test_tcp.TCPConnectionTestsBuilder.test_connectionLostAfterPausedTransport
    test_doubleHalfClose = test_tcp.TCPConnectionTestsBuilder.test_doubleHalfClose

    def setUp(self) -> None:
        """What these tests make themselves is hypermail's here."""
        super().setUp()

        def client(reactor: Any, host: str, port: int) -> HypermailClientEndpoint:
            return HypermailClientEndpoint(reactor, host, port, security=Plain())

        def reading(case: Any, reactor: Any, transport: Any) -> None:
            case.assertFalse(transport._paused)

        def notReading(case: Any, reactor: Any, transport: Any) -> None:
            case.assertTrue(transport._paused)

        self.patch(test_tcp, "TCPCreator", lambda: PLAIN)
        self.patch(test_tcp, "TCP4ClientEndpoint", client)
        self.patch(test_tcp, "assertReading", reading)
        self.patch(test_tcp, "assertNotReading", notReading)


class WriteSequenceTests(Builder, _Case):
    """Of C{test_tcp.WriteSequenceTestsMixin}"""

    getConnectedClientAndServer: Any = test_tcp.TCPTransportTestsBuilder.getConnectedClientAndServer
    test_writeSequeceWithoutWrite = test_tcp.WriteSequenceTestsMixin.test_writeSequeceWithoutWrite
    test_streamingProducer = test_tcp.WriteSequenceTestsMixin.test_streamingProducer

    def setWriteBufferSize(self, transport: Any, value: int) -> None:
        """See L{test_tcp.WriteSequenceTestsMixin}."""
        transport._stream.outgoing._most_unsent = value

    def test_writeSequenceWithUnicodeRaisesException(self) -> None:
        """C{writeSequence} raises a L{TypeError} for text, and says so in its own words."""
        said: list[str] = []

        def connected(protocols: Any) -> None:
            _, server, _ = protocols
            error = self.assertRaises(TypeError, server.transport.writeSequence, ["Unicode is not kosher"])
            said.append(str(error))
            server.transport.loseConnection()

        reactor = self.buildReactor()
        self.getConnectedClientAndServer(reactor, HOST, 0).addCallback(connected)
        self.runReactor(reactor)
        self.assertEqual(said, ["data must be bytes, not str"])


class KeptSessionTests(Builder, _Case):
    """Our own: a session that is kept does not hold up the end of a program."""

    def test_stop(self) -> None:
        """A reactor that stops while an unused session is kept stops at once, leaves nothing, and tells the peer."""
        reactor = self.buildReactor()
        over: list[str] = []

        class Serving(Protocol):
            def connectionLost(self, reason: Any = None) -> None:
                over.append("stream")

        async def steps() -> None:
            port = await PLAIN.server(reactor).listen(ServerFactory.forProtocol(Serving))
            endpoint = PLAIN.client(reactor, port.getHost(), keep=1_000.0)
            lost: Deferred[None] = Deferred()

            class Asking(Protocol):
                def connectionLost(self, reason: Any = None) -> None:
                    lost.callback(None)

            protocol: Any = await endpoint.connect(Factory.forProtocol(Asking))
            protocol.transport.loseConnection()
            await lost
            reactor.callLater(0.1, reactor.stop)

        reactor.callWhenRunning(lambda: Deferred.fromCoroutine(steps()))
        self.runReactor(reactor, timeout=5)
        self.assertEqual(over, ["stream"])
        self.assertEqual(reactor.removeAll(), [])


for _builder in (
    ConnectionTests,
    TLSConnectionTests,
    ClientTests,
    AbortTests,
    TLSAbortTests,
    TransportTests,
    WriteSequenceTests,
    KeptSessionTests,
):
    globals().update(_builder.makeTestCaseClasses())
# Without a reactor they are no tests.
del ConnectionTests, TLSConnectionTests, ClientTests, AbortTests, TLSAbortTests, _builder
del TransportTests, WriteSequenceTests, KeptSessionTests
