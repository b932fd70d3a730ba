"""
Deferreds of services, cancelled at every point of their life; and what a tunnel does when its client leaves at every
point.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectingCancelledError, ConnectionDone, ConnectionLost
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from hypermail.internet.endpoints import SessionClientEndpoint
from hypermail.internet.settings import ListenerSettings
from hypermail.options import Options
from hypermail.services import entrances, exits
from hypermail.services.addresses import Listening
from hypermail.services.entrances import PATIENCE, Entrance, TunnelService
from hypermail.services.exits import Exits
from hypermail.services.keeping import StarterService
from hypermail.services.listener import Doing, ListenerService
from hypermail.services.passages import parse_forwards, parse_listens
from hypermail.test.cancelling import DELAYED, LOSSY, CancellingCase
from hypermail.test.sessions import CLIENT, PORT, SERVER, Hosts, RecordingStream, logged
from hypermail.testing import Conditions

PASSAGE = parse_listens(["tcp:2222"])[0]


def endpointOf(hosts: Hosts) -> SessionClientEndpoint:
    """Of the listener, asked for 2 s."""
    return SessionClientEndpoint(
        hosts.client, SERVER, PORT, **hosts.settings(options=Options(connection_timeout=2.0), bindAddress=CLIENT)
    )


class ServiceCase(CancellingCase):
    """
    With services, which are stopped in the end.

    @ivar services: of the run.
    """

    def setUp(self) -> None:
        self.services: list[Any] = []

    def starter(self, hosts: Hosts) -> StarterService:
        """One that keeps a session, or tries to."""
        service = StarterService(hosts.client, endpointOf(hosts), hosts.starting, pauses=lambda failed: 1.0)
        service.startService()
        self.services.append(service)
        return service

    def _end(self, hosts: Hosts, result: Any) -> None:
        while self.services:
            service = self.services.pop()
            if service.running:
                hosts.run(service.stopService())
        super()._end(hosts, None)


class StarterTests(ServiceCase):
    """L{StarterService}."""

    def test_whenOpened(self) -> None:
        """C{whenOpened}: the service goes on for others."""
        others: list[Deferred[Any]] = []

        def begin(hosts: Hosts) -> Deferred[Any]:
            service = self.starter(hosts)
            others.append(service.whenOpened())
            return service.whenOpened()

        for conditions in (DELAYED, LOSSY):
            self.everywhere(lambda hosts: hosts.listen(), begin, 3, conditions)
        for other in others:
            self.assertEqual(self.successResultOf(other).calls[0], "sessionOpened")

    def test_whenOpenedLate(self) -> None:
        """... while nobody listens yet, from one attempt to the next."""

        def prepare(hosts: Hosts) -> None:
            hosts.server.callLater(5.0, hosts.listen)

        self.everywhere(prepare, lambda hosts: self.starter(hosts).whenOpened(), 8)

    def stops(self, prepare: Callable[[Hosts], object], states: tuple[float, ...]) -> None:
        """Stop after so many s, each time at every point."""
        for seconds in states:

            def begin(hosts: Hosts, seconds: float = seconds) -> Deferred[Any]:
                service = self.starter(hosts)
                hosts.settle(seconds)
                for protocol in hosts.listening.built:
                    protocol.stream = lambda name, options: RecordingStream()
                if service.protocol is not None:
                    opening = service.protocol.session.openStream(Factory.forProtocol(RecordingStream))
                    opening.addErrback(lambda _: None)
                return service.stopService()

            self.everywhere(prepare, begin, 0, errors=())

    def test_stopService(self) -> None:
        """C{stopService}: while the session is asked for, open, with a stream that is being opened, lost."""
        self.stops(lambda hosts: hosts.listen(), (0.0, 0.005, 0.015, 0.025, 0.5))

    def test_stopServiceOfNobody(self) -> None:
        """... while nobody answers, and in the pause after that."""
        self.stops(lambda hosts: None, (0.0, 1.0, 2.5))

    def test_stopServiceInSilence(self) -> None:
        """... when the other side has gone: cancelling does not wait for it."""

        def begin(hosts: Hosts) -> Deferred[Any]:
            service = self.starter(hosts)
            hosts.run(service.whenOpened())
            hosts.network.set_conditions(Conditions(delay=0.01, loss=1.0))
            return service.stopService()

        self.everywhere(lambda hosts: hosts.listen(), begin, 3, errors=())

    def test_stopInCallback(self) -> None:
        """Who waits for the session may stop the service as soon as it is there."""
        hosts = Hosts(DELAYED)
        hosts.listen()
        service = self.starter(hosts)
        stopping = service.whenOpened().addCallback(lambda _: service.stopService())
        hosts.settle(5)
        self.successResultOf(stopping)
        self.assertEqual([protocol.calls for protocol in hosts.starting.built], [["sessionOpened", "sessionLost"]])
        self._end(hosts, None)


class ListenerTests(ServiceCase):
    """L{ListenerService}."""

    def test_stopService(self) -> None:
        """C{stopService}, with sessions, one of which does not end by itself: cancelled, it ends them at once."""
        for silent in (False, True):

            def begin(hosts: Hosts, silent: bool = silent) -> Deferred[Any]:
                settings = ListenerSettings(plain=True, allowRemotePlain=True)
                doing = Doing(listening=Listening(PORT, SERVER), echo=True, settings=settings)
                service = ListenerService(hosts.server, doing)
                service.startService()
                for _ in range(2):
                    hosts.run(hosts.ask())
                if silent:
                    hosts.network.set_conditions(Conditions(delay=0.01, loss=1.0))
                return service.stopService()

            self.everywhere(lambda hosts: None, begin, 2, errors=())


class Caller(StringTransport):
    """A connection of somebody who wants through the tunnel. @ivar aborted: whether it was cut off."""

    aborted = False

    def abortConnection(self) -> None:
        self.aborted = True

    def unregisterProducer(self) -> None:
        """As of TCP: harmless when there is none."""
        self.producer = None

    def setTcpNoDelay(self, enabled: bool) -> None:
        """See L{ITCPTransport}."""

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """See L{ITCPTransport}."""


class Target:
    """An endpoint whose connections take a while, and fail as TCP's do when cancelled. @ivar made: their protocols."""

    def __init__(self, reactor: Any, seconds: float = 0.05) -> None:
        self._reactor = reactor
        self._seconds = seconds
        self.made: list[Any] = []

    def connect(self, factory: Any) -> Deferred[Any]:
        """See L{IStreamClientEndpoint}."""

        def connected() -> Any:
            protocol = factory.buildProtocol(None)
            protocol.makeConnection(Caller())
            self.made.append(protocol)
            return protocol

        connecting: Deferred[Any] = Deferred(lambda _: _.errback(ConnectingCancelledError(None)))
        call = self._reactor.callLater(self._seconds, lambda: connecting.callback(connected()))
        return connecting.addErrback(lambda failure: call.cancel() or failure)


class TunnelTests(ServiceCase):
    """Tunnels."""

    def serve(self, hosts: Hosts) -> Target:
        """A listener whose streams go on to a target that is slow to connect."""
        hosts.listen()
        target = Target(hosts.server)
        with patch.object(exits, "clientFromString", lambda *_: target):
            forwards = Exits(hosts.server, parse_forwards(["tcp:somewhere:1"]))
        make = hosts.listening.make

        def made() -> Any:
            protocol = make()
            assert protocol is not None
            protocol.stream = lambda name, options: forwards.connect(name)
            return protocol

        hosts.listening.make = made
        return target

    def call(self, entrance: Entrance) -> Any:
        """Somebody connects to an entrance. @return: the protocol of the connection."""
        caller = entrance.buildProtocol(None)
        caller.makeConnection(Caller())
        return caller

    def test_clientLeaves(self) -> None:
        """A client that disconnects while its stream is being opened, or open: the target's connection goes, too."""
        for reason in (ConnectionDone(), ConnectionLost()):
            events, ended = 0, False
            while not ended:
                hosts = Hosts(LOSSY, seed=1)
                target = self.serve(hosts)
                caller = self.call(Entrance(hosts.client, PASSAGE, self.starter(hosts)))
                for _ in range(events):
                    self.assertTrue(hosts.network.step())
                ended = bool(target.made) and hosts.network.now > 1
                caller.connectionLost(Failure(reason))
                self.assertTrue(caller._leading.called)
                hosts.settle(20)
                for outer in target.made:
                    transport = outer.transport
                    self.assertTrue(transport.disconnecting or transport.aborted, events)
                    outer.connectionLost(Failure(ConnectionDone()))
                hosts.settle(1)
                self._end(hosts, None)
                events += 1
            self.assertGreater(events, 8)

    def test_patience(self) -> None:
        """Clients for which there is no session are cut off after a while, and the log says why, once."""
        lines = logged(self)
        hosts = Hosts()
        entrance = Entrance(hosts.client, PASSAGE, self.starter(hosts))
        callers = [self.call(entrance) for _ in range(3)]
        hosts.settle(PATIENCE - 1)
        self.assertEqual([caller.transport.aborted for caller in callers], [False] * 3)
        hosts.settle(2)
        self.assertEqual([caller.transport.aborted for caller in callers], [True] * 3)
        said = [line for line in lines if "cannot go through the tunnel" in line]
        self.assertEqual(
            said, ["--listen tcp:2222: a connection cannot go through the tunnel: there was no session for 30 s"]
        )
        self._end(hosts, None)

    def test_leading(self) -> None:
        """... and nothing that was begun for it is left, or said of it in the log."""
        lines = logged(self)

        def begin(hosts: Hosts) -> Deferred[Any]:
            caller = self.call(Entrance(hosts.client, PASSAGE, self.starter(hosts)))
            leading: Deferred[Any] = caller._leading
            return leading.addCallback(lambda _: caller.connectionLost(Failure(ConnectionDone())))

        targets: list[Target] = []

        def prepare(hosts: Hosts) -> None:
            targets.append(self.serve(hosts))

        with patch.object(entrances._Caller, "_failed", lambda _, failure: failure):
            self.everywhere(prepare, begin, 6)
        self.assertEqual([line for line in lines if "cannot" in line], [])

    def test_tunnelStops(self) -> None:
        """C{stopService} of a tunnel, whose entrance is still being opened, or is open with datagrams on their way."""

        for seconds in (0.0, 0.01, 0.05, 0.5):

            def begin(hosts: Hosts, seconds: float = seconds) -> Deferred[Any]:
                endpoint = SlowEndpoint(hosts.client)
                with patch.object(entrances, "serverFromString", lambda *_: endpoint):
                    tunnel = TunnelService(
                        hosts.client,
                        lambda: endpointOf(hosts),
                        parse_listens([f"u=udp:5353:interface={CLIENT}", "t=tcp:2222"]),
                    )
                    tunnel.startService()
                self.services.append(tunnel)
                tunnel._flows.forth(tunnel.services[0]._entrance, (CLIENT, 9), b"early")
                hosts.settle(seconds)
                tunnel._flows.forth(tunnel.services[0]._entrance, (CLIENT, 9), b"late")
                return tunnel.stopService()

            self.everywhere(lambda hosts: hosts.listen(), begin, 0, errors=())


class Port:
    """What is listened on."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def getHost(self) -> IPv4Address:
        """See L{IListeningPort}."""
        return IPv4Address("TCP", CLIENT, 2222)

    def stopListening(self) -> Deferred[None]:
        """See L{IListeningPort}."""
        return deferLater(self._reactor, 0.01, lambda: None)


class SlowEndpoint:
    """A server endpoint that takes its time."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def listen(self, factory: Any) -> Deferred[Any]:
        """See L{IStreamServerEndpoint}."""
        return deferLater(self._reactor, 0.03, lambda: Port(self._reactor))
