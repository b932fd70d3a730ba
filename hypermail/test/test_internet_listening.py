"""
Tests of L{hypermail.internet.listening}, and of the endpoint that listens for sessions.
"""

from __future__ import annotations

import errno
import os
from typing import Any
from unittest.mock import patch

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import DatagramProtocol
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from hypermail.errors import (
    RemoteAddressRefused,
    UsageError,
)
from hypermail.internet import listening
from hypermail.internet.endpoints import SessionClientEndpoint, SessionServerEndpoint
from hypermail.internet.listening import ListeningPorts, openPorts
from hypermail.internet.security import Plain, Security
from hypermail.test.sessions import (
    PORT,
    SERVER,
    RecordingFactory,
)
from hypermail.testing import SimulatedNetwork


class ListeningTests(SynchronousTestCase):
    """
    L{SessionServerEndpoint}
    """

    def setUp(self) -> None:
        self.network = SimulatedNetwork()
        self.reactor = self.network.reactor(SERVER, "fd00::1")

    def listen(self, security: Security | None = None, **settings: Any) -> list[str]:
        endpoint = SessionServerEndpoint(self.reactor, PORT, security=security or Plain(), **settings)
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
        """With C{allowRemote}: all addresses of both families."""
        self.assertEqual(self.listen(Plain(allowRemote=True)), [f"0.0.0.0:{PORT}", f"[::]:{PORT}"])

    def test_interface(self) -> None:
        """A named interface, and only that."""
        self.assertEqual(self.listen(interface="::1"), [f"[::1]:{PORT}"])
        self.assertEqual(self.listen(Plain(allowRemote=True), interface=SERVER), [f"{SERVER}:{PORT}"])

    def test_remoteInterface(self) -> None:
        """An interface that others reach is refused, unless they may."""
        for interface in (SERVER, "0.0.0.0", "::", "fd00::1"):
            endpoint = SessionServerEndpoint(self.reactor, PORT, security=Plain(), interface=interface)
            error = self.failureResultOf(endpoint.listen(RecordingFactory()), RemoteAddressRefused).value
            self.assertIn("--allow-remote-plain", error.text)
            self.assertIn(interface, error.text)

    def test_usage(self) -> None:
        """Ports and interfaces that cannot be are refused at once."""
        for port in (-1, 65_536, "4700", None):
            self.assertRaises(UsageError, SessionServerEndpoint, self.reactor, port, security=Plain())
            self.assertRaises(UsageError, SessionClientEndpoint, self.reactor, SERVER, port)
        self.assertRaises(UsageError, SessionClientEndpoint, self.reactor, SERVER, 0)
        self.assertRaises(
            UsageError, SessionServerEndpoint, self.reactor, PORT, security=Plain(), interface="localhost"
        )
        self.assertRaises(UsageError, SessionClientEndpoint, self.reactor, SERVER, PORT, bindAddress="eth0")

    def test_inUse(self) -> None:
        """A port in use cannot be listened on, and nothing is left of the attempt."""
        self.reactor.listenUDP(PORT, DatagramProtocol(), interface="::1")
        listening = SessionServerEndpoint(self.reactor, PORT, security=Plain()).listen(RecordingFactory())
        self.network.advance(0)
        self.failureResultOf(listening, CannotListenError)
        self.assertEqual(len(self.network.attached), 1)

    def test_factory(self) -> None:
        """The factory is started once for all sockets, and stopped with them."""
        factory = RecordingFactory()
        port = self.network.run_until(SessionServerEndpoint(self.reactor, PORT, security=Plain()).listen(factory))
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
        real: Any = vars(listening)["listenDatagrams"]
        left = [times]

        def listen(reactor: Any, port: int, protocol: Any, where: str, **settings: Any) -> Any:
            if where == interface and left[0]:
                left[0] -= 1
                raise CannotListenError(where, port, OSError(number, os.strerror(number)))
            return real(reactor, port, protocol, where, **settings)

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

    def test_statistics(self) -> None:
        """The counters of all sockets are added."""
        endpoint = SessionServerEndpoint(self.reactor, PORT, security=Plain())
        ports: Any = self.network.run_until(endpoint.listen(RecordingFactory()))
        for number, port in enumerate(ports.ports, 1):
            port.protocol.failedHandshakes.count = number
            port.protocol.failedHandshakes.refusals = 10 * number
        found = ports.statistics()
        self.assertEqual([found[name] for name in ("handshakes_failed", "sessions_refused", "connections")], [3, 30, 0])
        self.network.run_until(ports.stopListening())
