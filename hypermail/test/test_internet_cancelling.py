"""
Every Deferred that is handed out is cancelled at every point of its life: after each single event of the simulated
network, until it has fired by itself. It fires once, nothing is left, and nothing is logged as an error.
"""

from __future__ import annotations

import errno
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError, ConnectingCancelledError
from twisted.internet.protocol import DatagramProtocol, Factory
from twisted.internet.task import deferLater

from hypermail.errors import HypermailError, MessageCancelled
from hypermail.internet.endpoints import (
    HypermailClientEndpoint,
    HypermailServerEndpoint,
    SessionClientEndpoint,
    SessionServerEndpoint,
)
from hypermail.internet.security import ListenerTLS, Plain, SharedSecret, StarterTLS
from hypermail.test.cancelling import DELAYED, LOSSY, CancellingCase
from hypermail.test.securing import SELF_MADE
from hypermail.test.sessions import CLIENT, PORT, SERVER, Hosts, RecordingStream
from hypermail.test.test_internet_shared import Streams


class CancellingTests(CancellingCase):
    """Of endpoints, sessions and streams."""

    # Endpoints.

    def test_session(self) -> None:
        """C{connect} of a session endpoint, in each mode."""
        secret = SharedSecret(b"s" * 40)
        for listening, starting, least in (
            (Plain(allowRemote=True), Plain(allowRemote=True), 4),
            (secret, secret, 4),
            (ListenerTLS(SELF_MADE), StarterTLS(pin=SELF_MADE.pin), 6),
        ):

            def prepare(hosts: Hosts, security: Any = listening) -> None:
                hosts.listen(security=security)

            def begin(hosts: Hosts, security: Any = starting) -> Deferred[Any]:
                return hosts.ask(security=security)

            self.everywhere(prepare, begin, least)

    def test_sessionThroughLoss(self) -> None:
        """... when datagrams are lost."""
        self.everywhere(lambda hosts: hosts.listen(), lambda hosts: hosts.ask(), 4, LOSSY)

    def test_sessionOfMany(self) -> None:
        """... to a host with several addresses of both families."""

        def prepare(hosts: Hosts) -> None:
            hosts.client.nameResolver.names["listener"] = ["fd00::9", "10.0.0.9", "fd00::8", SERVER]
            hosts.listen()

        self.everywhere(prepare, lambda hosts: hosts.ask("listener"), 8)

    def test_sessionWithNobody(self) -> None:
        """... to one that nobody listens at: until it fails."""
        self.everywhere(lambda hosts: None, lambda hosts: hosts.ask(), 4)

    def serve(self, hosts: Hosts) -> Streams:
        """Listen for streams."""
        serving = Streams()
        endpoint = HypermailServerEndpoint(hosts.server, PORT, **hosts.settings(interface=SERVER))
        hosts.port = hosts.run(endpoint.listen(serving))
        return serving

    def connect(self, hosts: Hosts, **settings: Any) -> Deferred[Any]:
        """Ask for a stream."""
        endpoint = HypermailClientEndpoint(hosts.client, SERVER, PORT, **hosts.settings(**settings))
        return endpoint.connect(Factory.forProtocol(RecordingStream))

    def test_stream(self) -> None:
        """C{connect} of a stream endpoint."""
        for conditions in (DELAYED, LOSSY):
            self.everywhere(self.serve, self.connect, 8, conditions, (ConnectingCancelledError,))

    def test_streamKept(self) -> None:
        """... of one whose session stays for a while."""
        self.everywhere(self.serve, lambda hosts: self.connect(hosts, keep=2.0), 8, errors=(ConnectingCancelledError,))

    def test_streamRefused(self) -> None:
        """... to a listener that takes none."""

        def prepare(hosts: Hosts) -> None:
            self.serve(hosts).make = lambda: None

        self.everywhere(prepare, self.connect, 8, errors=(ConnectingCancelledError,))

    def test_streamOfTwo(self) -> None:
        """... while another one wants the same session: that one is not harmed."""
        others: list[Deferred[Any]] = []

        def begin(hosts: Hosts) -> Deferred[Any]:
            others.append(self.connect(hosts))
            return self.connect(hosts)

        def prepare(hosts: Hosts) -> None:
            self.serve(hosts).make = ClosingStream

        self.everywhere(prepare, begin, 8, errors=(ConnectingCancelledError,))
        for other in others:
            self.assertEqual(self.successResultOf(other).calls, ["connectionMade", "connectionLost"])

    def test_listen(self) -> None:
        """C{listen}, while it looks for a port that is free in both families; and when there is none."""

        def prepare(hosts: Hosts) -> None:
            reactor = hosts.server
            listenUDP = reactor.listenUDP
            tried: list[object] = []

            def busy(port: int, protocol: DatagramProtocol, interface: str = "", maxPacketSize: int = 8192) -> Any:
                if interface == "::":
                    tried.append(port)
                    if len(tried) < 4:
                        raise CannotListenError(interface, port, OSError(errno.EADDRINUSE, "in use"))
                return listenUDP(port, protocol, interface, maxPacketSize)

            self.patch(reactor, "listenUDP", busy)

        def begin(hosts: Hosts) -> Deferred[Any]:
            return SessionServerEndpoint(hosts.server, 0, **hosts.settings()).listen(hosts.listening)

        self.everywhere(prepare, begin, 3)

    def test_stopListening(self) -> None:
        """C{stopListening}, with and without a session."""
        for sessions in (0, 1):

            def prepare(hosts: Hosts, sessions: int = sessions) -> None:
                hosts.listen()
                if sessions:
                    hosts.run(hosts.ask())

            def begin(hosts: Hosts) -> Deferred[Any]:
                assert hosts.port is not None
                stopping = hosts.port.stopListening()
                assert stopping is not None
                return stopping

            self.everywhere(prepare, begin, 1)

    # Sessions.

    def open(self, hosts: Hosts) -> None:
        """Open a session, whose listener takes streams."""
        hosts.open()
        hosts.listening.built[0].stream = lambda name, options: RecordingStream()

    def session(self, hosts: Hosts) -> Any:
        """The starter's."""
        return hosts.starting.built[0].session

    def test_openStream(self) -> None:
        """C{openStream}."""
        for conditions in (DELAYED, LOSSY):
            self.everywhere(
                self.open,
                lambda hosts: self.session(hosts).openStream(Factory.forProtocol(RecordingStream)),
                3,
                conditions,
            )

    def test_openStreamWaits(self) -> None:
        """... one that the peer's application decides on later."""

        def prepare(hosts: Hosts) -> None:
            self.open(hosts)

            def later(name: bytes, options: object) -> Deferred[Any]:
                return deferLater(hosts.server, 0.5, RecordingStream)

            hosts.listening.built[0].stream = later

        self.everywhere(prepare, lambda hosts: self.session(hosts).openStream(Factory.forProtocol(RecordingStream)), 4)

    def test_close(self) -> None:
        """C{close} of a session: on both sides, with a stream and a message on their way."""
        for side in ("starting", "listening"):

            def begin(hosts: Hosts, side: str = side) -> Deferred[Any]:
                session = getattr(hosts, side).built[0].session
                session.sendMessage(b"x" * 5_000).addErrback(lambda failure: failure.trap(HypermailError))
                closing: Deferred[Any] = session.close()
                return closing

            for conditions in (DELAYED, LOSSY):
                self.everywhere(self.open, begin, 3, conditions)

    def test_closeOfTwo(self) -> None:
        """C{close} that was called twice: whoever is told first may cancel the other one."""
        hosts = Hosts()
        us, _ = hosts.open()
        first, second = us.session.close(), us.session.close()
        results: list[object] = []
        first.addCallback(lambda _: second.cancel())
        second.addBoth(results.append)
        hosts.settle(5)
        self.assertEqual(len(results), 1)
        hosts.end()

    def test_ping(self) -> None:
        """C{ping}."""
        self.everywhere(self.open, lambda hosts: self.session(hosts).ping(), 2)

    def test_message(self) -> None:
        """C{sendMessage}."""
        for size in (10, 50_000):
            self.everywhere(
                self.open,
                lambda hosts, size=size: self.session(hosts).sendMessage(bytes(size)),  # type: ignore[misc]
                2,
                LOSSY,
                (MessageCancelled,),
            )

    def test_resolving(self) -> None:
        """C{connect} while the host's name is being looked up."""

        class Slow:
            def __init__(self, hosts: Hosts) -> None:
                self._hosts = hosts
                self._resolver = hosts.client.nameResolver

            def resolveHostName(self, receiver: Any, *rest: Any) -> None:
                self._hosts.client.callLater(0.1, self._resolver.resolveHostName, receiver, *rest)

        def prepare(hosts: Hosts) -> None:
            hosts.listen()
            hosts.client.nameResolver.names["listener"] = [SERVER]
            hosts.client.nameResolver = Slow(hosts)

        def begin(hosts: Hosts) -> Deferred[Any]:
            endpoint = SessionClientEndpoint(hosts.client, "listener", PORT, **hosts.settings(bindAddress=CLIENT))
            return endpoint.connect(hosts.starting)

        self.everywhere(prepare, begin, 4)


class ClosingStream(RecordingStream):
    """Ends at once."""

    def connectionMade(self) -> None:
        super().connectionMade()
        assert self.transport is not None
        self.transport.loseConnection()
