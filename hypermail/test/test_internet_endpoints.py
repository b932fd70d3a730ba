"""
Tests of L{hypermail.internet.endpoints}, L{hypermail.internet.listening} and L{hypermail.internet.resolution}.
"""

from __future__ import annotations

import errno
import os
from typing import Any
from unittest.mock import patch

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import CannotListenError, NoProtocol
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface.verify import verifyObject

from hypermail.errors import (
    RemoteAddressRefused,
    SessionAborted,
    SessionRejected,
    SessionTimedOut,
    Unreachable,
    UsageError,
)
from hypermail.internet import listening
from hypermail.internet.endpoints import SessionClientEndpoint, SessionServerEndpoint
from hypermail.internet.listening import ListeningPorts, openPorts
from hypermail.internet.protocol import SessionFactory, SessionProtocol
from hypermail.internet.resolution import resolve
from hypermail.options import Options
from hypermail.test.sessions import CLIENT, PORT, SERVER, Hosts, RecordingFactory, RecordingProtocol, ipv6
from hypermail.testing import SimulatedNetwork


class ListeningTests(SynchronousTestCase):
    """
    L{SessionServerEndpoint}
    """

    def setUp(self) -> None:
        self.network = SimulatedNetwork()
        self.reactor = self.network.reactor(SERVER, "fd00::1")

    def listen(self, **settings: Any) -> list[str]:
        endpoint = SessionServerEndpoint(self.reactor, PORT, **settings)
        port: Any = self.network.run_until(endpoint.listen(RecordingFactory()))
        verifyObject(IListeningPort, port)
        hosts = [str(address) for address in port.getHosts()]
        self.assertEqual(str(port.getHost()), hosts[0])
        self.network.run_until(port.stopListening())
        self.network.assert_clean()
        return hosts

    def test_thisMachine(self) -> None:
        """Without an interface: the loopback addresses of both families, on one port."""
        self.assertEqual(self.listen(), [f"127.0.0.1:{PORT}", f"[::1]:{PORT}"])

    def test_everywhere(self) -> None:
        """With C{allowRemotePlain}: all addresses of both families."""
        self.assertEqual(self.listen(allowRemotePlain=True), [f"0.0.0.0:{PORT}", f"[::]:{PORT}"])

    def test_interface(self) -> None:
        """A named interface, and only that."""
        self.assertEqual(self.listen(interface="::1"), [f"[::1]:{PORT}"])
        self.assertEqual(self.listen(interface=SERVER, allowRemotePlain=True), [f"{SERVER}:{PORT}"])

    def test_remoteInterface(self) -> None:
        """An interface that others reach is refused, unless they may."""
        for interface in (SERVER, "0.0.0.0", "::", "fd00::1"):
            endpoint = SessionServerEndpoint(self.reactor, PORT, interface=interface)
            error = self.failureResultOf(endpoint.listen(RecordingFactory()), RemoteAddressRefused).value
            self.assertIn("--allow-remote-plain", error.text)
            self.assertIn(interface, error.text)

    def test_usage(self) -> None:
        """Ports and interfaces that cannot be are refused at once."""
        for port in (-1, 65_536, "4700", None):
            self.assertRaises(UsageError, SessionServerEndpoint, self.reactor, port)
            self.assertRaises(UsageError, SessionClientEndpoint, self.reactor, SERVER, port)
        self.assertRaises(UsageError, SessionClientEndpoint, self.reactor, SERVER, 0)
        self.assertRaises(UsageError, SessionServerEndpoint, self.reactor, PORT, interface="localhost")
        self.assertRaises(UsageError, SessionClientEndpoint, self.reactor, SERVER, PORT, bindAddress="eth0")

    def test_inUse(self) -> None:
        """A port in use cannot be listened on, and nothing is left of the attempt."""
        self.reactor.listenUDP(PORT, DatagramProtocol(), interface="::1")
        listening = SessionServerEndpoint(self.reactor, PORT).listen(RecordingFactory())
        self.network.advance(0)
        self.failureResultOf(listening, CannotListenError)
        self.assertEqual(len(self.network.attached), 1)

    def test_factory(self) -> None:
        """The factory is started once for all sockets, and stopped with them."""
        factory = RecordingFactory()
        port = self.network.run_until(SessionServerEndpoint(self.reactor, PORT).listen(factory))
        self.assertEqual(factory.calls, ["start"])
        stopping = port.stopListening()
        assert stopping is not None
        self.network.run_until(stopping)
        self.assertEqual(factory.calls, ["start", "stop"])


class OpenPortsTests(SynchronousTestCase):
    """
    L{openPorts}: the same number for all sockets
    """

    def setUp(self) -> None:
        self.network = SimulatedNetwork()
        self.reactor = self.network.reactor(SERVER)

    def open(self, port: int, *interfaces: str) -> Deferred[ListeningPorts]:
        return Deferred.fromCoroutine(openPorts(self.reactor, port, interfaces, DatagramProtocol))

    def refusing(self, interface: str, number: int, times: int = 1_000_000) -> Any:
        """Binds of one interface fail so many times."""
        real = listening.listenDatagrams
        left = [times]

        def listen(reactor: Any, port: int, protocol: Any, where: str) -> Any:
            if where == interface and left[0]:
                left[0] -= 1
                raise CannotListenError(where, port, OSError(number, os.strerror(number)))
            return real(reactor, port, protocol, where)

        return patch.object(listening, "listenDatagrams", listen)

    def test_retry(self) -> None:
        """Port 0: when the number that one family proposed is taken in the other, another one is tried."""
        with self.refusing("::1", errno.EADDRINUSE, 3):
            opening = self.open(0, "127.0.0.1", "::1")
            self.network.advance(1)
        ports = self.successResultOf(opening)
        first, second = ports.getHosts()
        self.assertEqual((first.port, second.port), (first.port, first.port))
        self.assertEqual(len(self.network.attached), 2)

    def test_giveUp(self) -> None:
        """... but not for ever."""
        with self.refusing("::1", errno.EADDRINUSE):
            opening = self.open(0, "127.0.0.1", "::1")
            self.network.advance(1)
        self.failureResultOf(opening, CannotListenError)
        self.assertEqual(self.network.attached, [])

    def test_noIPv6(self) -> None:
        """A machine without IPv6 listens on IPv4 only; without IPv4 on IPv6 only."""
        for number in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
            for missing, there in (("::1", "127.0.0.1"), ("127.0.0.1", "::1")):
                with self.refusing(missing, number):
                    ports = self.successResultOf(self.open(0, "127.0.0.1", "::1"))
                self.assertEqual([address.host for address in ports.getHosts()], [there])

    def test_neither(self) -> None:
        """A machine with neither cannot listen."""
        with self.refusing("::1", errno.EAFNOSUPPORT), self.refusing("127.0.0.1", errno.EAFNOSUPPORT):
            self.failureResultOf(self.open(0, "127.0.0.1", "::1"), CannotListenError)

    def test_missingInterface(self) -> None:
        """A named interface that isn't there is an error."""
        self.failureResultOf(self.open(PORT, "192.0.2.9"), CannotListenError)

    def test_forbidden(self) -> None:
        """An error of any other kind is one for all sockets."""
        with self.refusing("::1", errno.EACCES):
            opening = self.open(0, "127.0.0.1", "::1")
            self.network.advance(0)
        self.failureResultOf(opening, CannotListenError)
        self.assertEqual(self.network.attached, [])

    def test_stopTwice(self) -> None:
        """Stopping twice, or after the end, fires too."""
        ports = self.successResultOf(self.open(PORT, "127.0.0.1"))
        ports.startListening()
        first, second = ports.stopListening(), ports.stopListening()
        self.assertNoResult(first)
        self.network.advance(0)
        self.successResultOf(first)
        self.successResultOf(second)
        self.successResultOf(ports.stopListening())


class ConnectingTests(SynchronousTestCase):
    """
    L{SessionClientEndpoint}
    """

    def setUp(self) -> None:
        self.hosts = Hosts()
        self.addCleanup(self.hosts.end)

    def ask(self, host: str = SERVER, port: int = PORT, **settings: Any) -> Deferred[Any]:
        endpoint = SessionClientEndpoint(self.hosts.client, host, port, **self.hosts.settings(**settings))
        return endpoint.connect(self.hosts.starting)

    def settled(self, deferred: Deferred[Any], seconds: float = 30.0) -> Deferred[Any]:
        self.hosts.settle(seconds)
        return deferred

    def test_name(self) -> None:
        """A host's name is resolved."""
        self.hosts.client.nameResolver.names["listener"] = [SERVER]
        self.hosts.listen()
        self.hosts.run(self.ask("listener"))

    def test_unknownName(self) -> None:
        """A name that nobody knows: a clear text."""
        error = self.failureResultOf(self.ask("nowhere"), Unreachable).value
        self.assertIn("'nowhere' is unknown", error.text)

    def test_nextAddress(self) -> None:
        """When nobody answers at one address the next is tried; all share C{connection_timeout}."""
        self.hosts.client.nameResolver.names["listener"] = ["10.0.0.8", "10.0.0.9", SERVER]
        self.hosts.listen()
        asking = self.ask("listener", options=Options(connection_timeout=9.0))
        self.hosts.settle(5.9)
        self.assertNoResult(asking)
        self.hosts.settle(0.2)
        protocol = self.successResultOf(asking)
        self.assertEqual((len(self.hosts.starting.built), protocol.calls), (1, ["sessionOpened"]))
        self.assertEqual(protocol.session.getPeer().host, SERVER)

    def test_noAddressAnswers(self) -> None:
        """When nobody answers anywhere it fails within C{connection_timeout}, and the protocol is told once."""
        self.hosts.client.nameResolver.names["listener"] = ["10.0.0.8", "10.0.0.9"]
        asking = self.ask("listener", options=Options(connection_timeout=6.0))
        self.hosts.settle(5.9)
        self.assertNoResult(asking)
        self.failureResultOf(self.settled(asking, 0.2), SessionTimedOut)
        (protocol,) = self.hosts.starting.built
        self.assertEqual(protocol.calls, ["sessionLost"])
        self.assertEqual(self.hosts.starting.calls, ["start", "stop"])

    def test_rejectedIsFinal(self) -> None:
        """A listener that says no is an answer: no other address is tried."""

        def decide(request: object) -> None:
            raise SessionRejected("no")

        self.hosts.listening.decide = decide
        self.hosts.client.nameResolver.names["listener"] = [SERVER, SERVER, "10.0.0.9"]
        self.hosts.listen()
        self.failureResultOf(self.settled(self.ask("listener"), 1), SessionRejected)

    def test_cancelled(self) -> None:
        """Cancelling withdraws the request, at every stage, and leaves nothing."""
        asking = self.ask()
        self.hosts.settle(1)
        asking.cancel()
        self.failureResultOf(self.settled(asking, 0.1), CancelledError)
        self.hosts.network.assert_clean()
        (protocol,) = self.hosts.starting.built
        assert protocol.reason is not None
        protocol.reason.trap(SessionAborted)
        self.assertEqual(self.hosts.starting.calls, ["start", "stop"])

    def test_cancelledWhileResolving(self) -> None:
        """Cancelling while a name is being resolved forgets what the resolver says."""
        receivers: list[Any] = []

        class Slow:
            def resolveHostName(self, receiver: Any, *rest: Any) -> None:
                receivers.append(receiver)

        self.hosts.client.nameResolver = Slow()
        asking = self.ask("slow")
        asking.cancel()
        self.failureResultOf(asking, CancelledError)
        receivers[0].resolutionBegan(None)
        receivers[0].resolutionComplete()

    def test_remote(self) -> None:
        """A starter in mode plain doesn't leave this machine."""
        for host in (SERVER, "fd00::1"):
            error = self.failureResultOf(self.ask(host, allowRemotePlain=False), RemoteAddressRefused).value
            self.assertIn("--allow-remote-plain", error.text)
            self.assertIn(host, error.text)
        self.assertEqual(self.hosts.starting.built, [])

    def test_partlyRemote(self) -> None:
        """Of a name with several addresses only those of this machine are tried."""
        server = self.hosts.client
        port = self.hosts.run(SessionServerEndpoint(server, PORT).listen(self.hosts.listening))
        self.hosts.client.nameResolver.names["both"] = ["fd00::1", "127.0.0.1"]
        protocol = self.hosts.run(self.ask("both", allowRemotePlain=False))
        self.assertEqual(protocol.session.getPeer().host, "127.0.0.1")
        self.hosts.port = port

    def test_bindAddress(self) -> None:
        """The bind address is where the session comes from; a family that doesn't fit is clear."""
        self.hosts.listen()
        protocol = self.hosts.run(self.ask(bindAddress=CLIENT))
        self.assertEqual(protocol.session.getHost().host, CLIENT)
        self.failureResultOf(self.ask(bindAddress="::1"), Unreachable)

    def test_foreignBindAddress(self) -> None:
        """A bind address that isn't this machine's cannot be."""
        error = self.failureResultOf(self.settled(self.ask(bindAddress="192.0.2.7")), Unreachable).value
        self.assertIn(f"{SERVER}:{PORT}", error.text)

    def test_noProtocol(self) -> None:
        """A factory that builds nothing."""
        self.hosts.starting.make = lambda: None
        self.failureResultOf(self.ask(), NoProtocol)

    def test_sessionLostFails(self) -> None:
        """An exception in C{sessionLost} of a session that never opened is logged."""

        class Failing(RecordingProtocol):
            async def sessionLost(self, reason: object) -> None:
                raise ValueError()

        self.hosts.starting.make = Failing
        self.failureResultOf(self.settled(self.ask()), SessionTimedOut)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_openedMeanwhile(self) -> None:
        """Cancelled when the answer is on its way: the listener is told that it is over."""
        self.hosts.listen()
        asking = self.ask()
        opened: list[str] = []
        self.hosts.listening.decide = lambda request: opened.append("asked") or asking.cancel()
        self.hosts.settle(5)
        self.failureResultOf(asking, CancelledError)
        self.assertEqual(opened, ["asked"])


class ResolveTests(SynchronousTestCase):
    """
    L{resolve}
    """

    def test_address(self) -> None:
        """An address is itself, whatever the reactor."""
        for host in ("192.0.2.1", "::1", "fe80::1%eth0"):
            self.assertEqual(self.successResultOf(resolve(Clock(), host, 5)), [(host, 5)])

    def test_noResolver(self) -> None:
        """A reactor without resolver: a clear text."""
        error = self.failureResultOf(resolve(Clock(), "name", 5), Unreachable).value
        self.assertIn("resolves no names", error.text)

    def test_twice(self) -> None:
        """An address that the resolver names twice is one."""
        simulated = SimulatedNetwork().reactor(SERVER)
        simulated.nameResolver.names["name"] = ["192.0.2.1", "::1", "192.0.2.1"]
        self.assertEqual(self.successResultOf(resolve(simulated, "name", 5)), [("192.0.2.1", 5), ("::1", 5)])

    def test_noName(self) -> None:
        """What cannot be a name: a clear text."""

        class Strict:
            def resolveHostName(self, *rest: Any) -> None:
                raise UnicodeError("label too long")

        simulated = SimulatedNetwork().reactor(SERVER)
        simulated.nameResolver = Strict()
        error = self.failureResultOf(resolve(simulated, "x" * 64, 5), Unreachable).value
        self.assertIn("label too long", error.text)


class RealTests(TestCase):
    """
    Over real sockets
    """

    timeout = 30
    skip = None if ipv6() else "this machine has no IPv6"

    async def listen(self, factory: Any, **settings: Any) -> Any:
        endpoint = SessionServerEndpoint(reactor, 0, **settings)
        port: Any = await endpoint.listen(factory)
        self.addCleanup(port.stopListening)
        return port

    async def test_bothFamilies(self) -> None:
        """A listener serves both families on one port; what is closed leaves nothing in the reactor."""
        factory = RecordingFactory()
        port = await self.listen(factory)
        for host in ("127.0.0.1", "::1", "localhost"):
            endpoint = SessionClientEndpoint(reactor, host, port.getHost().port)
            protocol: Any = await endpoint.connect(RecordingFactory())
            await protocol.session.sendMessage(host.encode())
            await protocol.session.close()
        received = [message for built in factory.built for message in built.messages]
        self.assertEqual(received, [b"127.0.0.1", b"::1", b"localhost"])

    async def test_large(self) -> None:
        """Megabytes both ways at once, over real sockets."""
        factory = RecordingFactory()
        port = await self.listen(factory)
        protocol: Any = await SessionClientEndpoint(reactor, "127.0.0.1", port.getHost().port).connect(
            RecordingFactory()
        )
        content = os.urandom(5_000_000)
        (theirs,) = factory.built
        sent = [protocol.session.sendMessage(content), theirs.session.sendMessage(content)]
        for deferred in sent:
            await deferred
        self.assertEqual((protocol.messages, theirs.messages), ([content], [content]))
        await protocol.session.close()

    async def test_coroutines(self) -> None:
        """An application all of coroutines: an echo."""

        class Echo(SessionProtocol):
            async def messageReceived(self, message: bytes) -> None:
                await self.session.sendMessage(message)

        port = await self.listen(SessionFactory.forProtocol(Echo))
        protocol: Any = await SessionClientEndpoint(reactor, "::1", port.getHost().port).connect(RecordingFactory())
        for number in range(20):
            await protocol.session.sendMessage(b"%d" % number)
        self.assertEqual(protocol.messages, [b"%d" % number for number in range(20)])
        await protocol.session.close()

    async def test_stopListening(self) -> None:
        """A listener that stops ends its sessions; the starter's side goes by itself."""
        factory = RecordingFactory()
        port = await self.listen(factory)
        ours = RecordingFactory()
        protocol: Any = await SessionClientEndpoint(reactor, "127.0.0.1", port.getHost().port).connect(ours)
        await port.stopListening()
        self.assertEqual(factory.built[0].calls, ["sessionOpened", "sessionLost"])
        try:
            await protocol.session.close()
        except SessionAborted:  # pragma: no cover - the peer's word has come first
            raise
        except Exception as error:
            self.assertIn("shutting down", str(error))

    async def test_unreachable(self) -> None:
        """An address to which there is no way fails at once, without waiting for C{connection_timeout}."""
        factory = RecordingFactory()
        endpoint = SessionClientEndpoint(reactor, "255.255.255.255", 9, allowRemotePlain=True)
        with self.assertRaises(Unreachable):
            await endpoint.connect(factory)

    async def test_cancelled(self) -> None:
        """Cancelling leaves nothing in the reactor."""
        silent: Any = reactor
        nobody = silent.listenUDP(0, DatagramProtocol(), interface="127.0.0.1")
        endpoint = SessionClientEndpoint(reactor, "127.0.0.1", nobody.getHost().port)
        asking = endpoint.connect(RecordingFactory())
        asking.cancel()
        with self.assertRaises(CancelledError):
            await asking
        await nobody.stopListening()
