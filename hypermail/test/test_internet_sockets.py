"""
Tests of L{hypermail.internet.datagrams}: the sockets that it works on, and whom it serves.
"""

from __future__ import annotations

import os
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase, TestCase

from hypermail.errors import RemoteAddressRefused, SessionKilled, UsageError
from hypermail.internet.datagrams import HypermailDatagramProtocol
from hypermail.internet.endpoints import SessionClientEndpoint
from hypermail.internet.protocol import SessionFactory
from hypermail.internet.security import Plain
from hypermail.options import ListenerOptions, Options
from hypermail.test.sessions import CLIENT, PORT, SERVER, Hosts, RecordingFactory, RecordingProtocol, logged
from hypermail.testing import Conditions, SimulatedNetwork


class RemoteTests(SynchronousTestCase):
    """
    Mode plain stays on this machine unless it is told otherwise.
    """

    def setUp(self) -> None:
        self.network = SimulatedNetwork()
        self.server = self.network.reactor(SERVER)
        self.client = self.network.reactor(CLIENT)

    def test_listener(self) -> None:
        """Datagrams from elsewhere are dropped and counted; the log says so once, and how to change it."""
        lines = logged(self)
        protocol = HypermailDatagramProtocol(RecordingFactory(), security=Plain())
        port = self.server.listenUDP(PORT, protocol)
        asking = SessionClientEndpoint(
            self.client, SERVER, PORT, security=Plain(allowRemote=True), options=Options(connection_timeout=5.0)
        ).connect(SessionFactory.forProtocol(RecordingProtocol))
        self.network.advance(10)
        self.failureResultOf(asking)
        self.assertGreater(protocol.strangers, 1)
        self.assertEqual(len([line for line in lines if "--allow-remote-plain" in line]), 1)
        port.stopListening()
        self.network.advance(0)

    def test_starter(self) -> None:
        """A starter doesn't go elsewhere."""
        protocol = HypermailDatagramProtocol(security=Plain())
        port = self.client.listenUDP(0, protocol, interface=CLIENT)
        error = self.assertRaises(RemoteAddressRefused, protocol.startSession, (SERVER, PORT), RecordingProtocol())
        self.assertIn("--allow-remote-plain", error.text)
        port.stopListening()
        self.network.advance(0)


class StockTests(SynchronousTestCase):
    """
    Over the reactor's own UDP port
    """

    def test_listenUDP(self) -> None:
        """It works with plain C{reactor.listenUDP}."""
        network = SimulatedNetwork(0, Conditions(delay=0.01))
        server, client = network.reactor(SERVER), network.reactor(CLIENT)
        factory = RecordingFactory()
        port = server.listenUDP(PORT, HypermailDatagramProtocol(factory, security=Plain(allowRemote=True)))
        endpoint = SessionClientEndpoint(client, SERVER, PORT, security=Plain(allowRemote=True))
        protocol = network.run_until(endpoint.connect(SessionFactory.forProtocol(RecordingProtocol)))
        network.run_until(protocol.session.sendMessage(b"x" * 100_000))
        network.run_until(protocol.session.close())
        port.stopListening()
        network.advance(0)
        network.assert_clean()

    def test_limits(self) -> None:
        """The listener's options hold."""
        hosts = Hosts()
        hosts.listen(listenerOptions=ListenerOptions(max_sessions=2))
        for _ in range(2):
            hosts.run(hosts.ask())
        third = hosts.ask(options=Options(connection_timeout=3.0))
        hosts.settle(5)
        self.failureResultOf(third)
        hosts.end()

    def test_noReactor(self) -> None:
        """A transport that doesn't tell its reactor needs help."""
        protocol = HypermailDatagramProtocol(security=Plain())
        self.assertRaises(UsageError, protocol.makeConnection, object())


class RealTests(TestCase):
    """
    Over real sockets
    """

    timeout = 20

    async def test_stockPort(self) -> None:
        """Plain C{reactor.listenUDP} on one side, segments on the other."""
        factory = RecordingFactory()
        udp: Any = reactor
        port = udp.listenUDP(
            0, HypermailDatagramProtocol(factory, security=Plain()), interface="127.0.0.1", maxPacketSize=65_535
        )
        endpoint = SessionClientEndpoint(reactor, "127.0.0.1", port.getHost().port, security=Plain())
        protocol = await endpoint.connect(RecordingFactory())
        await protocol.session.sendMessage(os.urandom(300_000))
        await factory.built[0].session.sendMessage(os.urandom(300_000))
        self.assertEqual([len(message) for message in factory.built[0].messages], [300_000])
        await protocol.session.close()
        await port.stopListening()

    async def test_reactorStops(self) -> None:
        """A port that the reactor itself disconnects, as it does at its end, says farewell to its sessions."""
        factory = RecordingFactory()
        udp: Any = reactor
        port = udp.listenUDP(0, HypermailDatagramProtocol(factory, security=Plain()), interface="127.0.0.1")
        protocol: Any = await SessionClientEndpoint(
            reactor, "127.0.0.1", port.getHost().port, security=Plain()
        ).connect(RecordingFactory())
        lost: Deferred[Any] = Deferred()
        protocol.sessionLost = lost.callback
        port.connectionLost()
        with self.assertRaises(SessionKilled):
            await lost
        with self.assertRaises(SessionKilled):
            await protocol.session.close()
