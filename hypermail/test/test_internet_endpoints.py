"""
Tests of L{hypermail.internet.endpoints} and L{hypermail.internet.resolution}.
"""

from __future__ import annotations

import os
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import NoProtocol
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from hypermail.errors import (
    RemoteAddressRefused,
    SessionAborted,
    SessionRejected,
    SessionTimedOut,
    Unreachable,
)
from hypermail.internet.endpoints import SessionClientEndpoint, SessionServerEndpoint
from hypermail.internet.protocol import SessionFactory, SessionProtocol
from hypermail.internet.resolution import resolve
from hypermail.internet.security import Plain
from hypermail.options import Options
from hypermail.test.sessions import (
    CLIENT,
    PORT,
    SERVER,
    Hosts,
    RecordingFactory,
    RecordingProtocol,
    ipv6,
)
from hypermail.testing import SimulatedNetwork


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
        """While nobody answers at one address the next is asked, too, each 250 ms later (RFC 8305)."""
        self.hosts.client.nameResolver.names["listener"] = ["10.0.0.8", "10.0.0.9", SERVER]
        self.hosts.listen()
        asking = self.ask("listener")
        self.hosts.settle(0.499)
        self.assertNoResult(asking)
        self.hosts.settle(0.001)
        protocol = self.successResultOf(asking)
        self.assertEqual((len(self.hosts.starting.built), protocol.calls), (1, ["sessionOpened"]))
        self.assertEqual(protocol.session.getPeer().host, SERVER)

    def test_noAddressAnswers(self) -> None:
        """When nobody answers anywhere it fails within C{connection_timeout}, and the protocol is told once."""
        self.hosts.client.nameResolver.names["listener"] = ["10.0.0.8", "10.0.0.9"]
        asking = self.ask("listener", options=Options(connection_timeout=6.0))
        self.hosts.settle(5.9)
        self.assertNoResult(asking)
        error = self.failureResultOf(self.settled(asking, 0.2), SessionTimedOut).value
        self.assertEqual(
            error.text,
            f"10.0.0.9:{PORT}: nobody has answered within 5.75 s; 2 of 2 addresses of listener were tried",
        )
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
        asking = self.ask("listener")
        left: list[object] = []

        def look(result: Any) -> Any:
            left.extend(self.hosts.client.getDelayedCalls())
            return result

        asking.addBoth(look)
        self.failureResultOf(self.settled(asking, 1), SessionRejected)
        self.assertEqual(left, [])

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
            error = self.failureResultOf(self.ask(host, security=Plain()), RemoteAddressRefused).value
            self.assertIn("--allow-remote-plain", error.text)
            self.assertIn(host, error.text)
        self.assertEqual(self.hosts.starting.built, [])

    def test_partlyRemote(self) -> None:
        """Of a name with several addresses only those of this machine are tried."""
        server = self.hosts.client
        port = self.hosts.run(SessionServerEndpoint(server, PORT, security=Plain()).listen(self.hosts.listening))
        self.hosts.client.nameResolver.names["both"] = ["fd00::1", "127.0.0.1"]
        protocol = self.hosts.run(self.ask("both", security=Plain()))
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

        def decide(request: object) -> None:
            opened.append("asked")
            asking.cancel()

        self.hosts.listening.decide = decide
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
        endpoint = SessionServerEndpoint(reactor, 0, security=Plain(), **settings)
        port: Any = await endpoint.listen(factory)
        self.addCleanup(port.stopListening)
        return port

    async def test_bothFamilies(self) -> None:
        """A listener serves both families on one port; what is closed leaves nothing in the reactor."""
        factory = RecordingFactory()
        port = await self.listen(factory)
        for host in ("127.0.0.1", "::1", "localhost"):
            endpoint = SessionClientEndpoint(reactor, host, port.getHost().port, security=Plain())
            protocol: Any = await endpoint.connect(RecordingFactory())
            await protocol.session.sendMessage(host.encode())
            await protocol.session.close()
        received = [message for built in factory.built for message in built.messages]
        self.assertEqual(received, [b"127.0.0.1", b"::1", b"localhost"])

    async def test_sharedSocket(self) -> None:
        """Sessions that are alike go out from one socket, others from one of their own; the last one closes it."""
        factory = RecordingFactory()
        number = (await self.listen(factory)).getHost().port
        alike: list[Any] = []
        for _ in range(2):
            endpoint = SessionClientEndpoint(reactor, "127.0.0.1", number, security=Plain())
            alike.append(await endpoint.connect(RecordingFactory()))
        other = SessionClientEndpoint(reactor, "127.0.0.1", number, security=Plain(), options=Options(ping_interval=4))
        unlike: Any = await other.connect(RecordingFactory())
        ports = [protocol.session.getHost().port for protocol in (*alike, unlike)]
        self.assertEqual(ports[0], ports[1])
        self.assertNotEqual(ports[0], ports[2])
        await alike[0].session.close()
        await alike[1].session.sendMessage(b"still there")
        for protocol in (alike[1], unlike):
            await protocol.session.close()

    async def test_large(self) -> None:
        """Megabytes both ways at once, over real sockets."""
        factory = RecordingFactory()
        port = await self.listen(factory)
        protocol: Any = await SessionClientEndpoint(
            reactor, "127.0.0.1", port.getHost().port, security=Plain()
        ).connect(RecordingFactory())
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
        protocol: Any = await SessionClientEndpoint(reactor, "::1", port.getHost().port, security=Plain()).connect(
            RecordingFactory()
        )
        for number in range(20):
            await protocol.session.sendMessage(b"%d" % number)
        self.assertEqual(protocol.messages, [b"%d" % number for number in range(20)])
        await protocol.session.close()

    async def test_stopListening(self) -> None:
        """A listener that stops ends its sessions; the starter's side goes by itself."""
        factory = RecordingFactory()
        port = await self.listen(factory)
        ours = RecordingFactory()
        protocol: Any = await SessionClientEndpoint(
            reactor, "127.0.0.1", port.getHost().port, security=Plain()
        ).connect(ours)
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
        endpoint = SessionClientEndpoint(reactor, "255.255.255.255", 9, security=Plain(allowRemote=True))
        with self.assertRaises(Unreachable):
            await endpoint.connect(factory)

    async def test_cancelled(self) -> None:
        """Cancelling leaves nothing in the reactor."""
        silent: Any = reactor
        nobody = silent.listenUDP(0, DatagramProtocol(), interface="127.0.0.1")
        endpoint = SessionClientEndpoint(reactor, "127.0.0.1", nobody.getHost().port, security=Plain())
        asking = endpoint.connect(RecordingFactory())
        asking.cancel()
        with self.assertRaises(CancelledError):
            await asking
        await nobody.stopListening()
