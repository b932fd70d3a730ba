"""
Tests of L{hypermail.internet.strings}.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import SynchronousTestCase

from hypermail.errors import RemoteAddressRefused
from hypermail.internet.endpoints import HypermailClientEndpoint, HypermailServerEndpoint
from hypermail.internet.security import Plain
from hypermail.internet.strings import parseClient, parseServer
from hypermail.test.sessions import CLIENT, SERVER
from hypermail.testing import SimulatedNetwork


class ServerTests(SynchronousTestCase):
    """
    L{parseServer}
    """

    def setUp(self) -> None:
        self.network = SimulatedNetwork()
        self.reactor = self.network.reactor(SERVER)

    def hosts(self, *args: str, **kwargs: str) -> list[str]:
        endpoint = parseServer(self.reactor, *args, **kwargs)
        self.assertIsInstance(endpoint, HypermailServerEndpoint)
        port: Any = self.network.run_until(endpoint.listen(Factory.forProtocol(Protocol)))
        found = [str(address) for address in port.getHosts()]
        self.network.run_until(port.stopListening())
        return found

    def test_port(self) -> None:
        """By position or by name; in mode plain a port alone is this machine."""
        self.assertEqual(self.hosts("4700", plain="yes"), ["127.0.0.1:4700", "[::1]:4700"])
        self.assertEqual(self.hosts(port="4700", plain="yes"), ["127.0.0.1:4700", "[::1]:4700"])

    def test_interface(self) -> None:
        """An interface."""
        self.assertEqual(self.hosts("4700", interface="127.0.0.1", plain="yes"), ["127.0.0.1:4700"])
        self.assertEqual(self.hosts("4700", "127.0.0.1", plain="yes"), ["127.0.0.1:4700"])

    def test_allowRemotePlain(self) -> None:
        """What leaves this machine has to be said, in several spellings."""
        for yes in ("yes", "true", "1", "YES"):
            given = {"interface": SERVER, "plain": yes, "allowRemotePlain": yes}
            self.assertEqual(self.hosts("4700", **given), [f"{SERVER}:4700"])
        for no in ("no", "false", "0"):
            endpoint = parseServer(self.reactor, "4700", interface=SERVER, plain="yes", allowRemotePlain=no)
            listening: Deferred[Any] = endpoint.listen(Factory.forProtocol(Protocol))
            self.failureResultOf(listening, RemoteAddressRefused)

    def test_wrong(self) -> None:
        """What is wrong is said in a L{ValueError}."""
        for text, args, kwargs in (
            ("missing", [], {}),
            ("no port", ["many"], {}),
            ("no port", ["-1"], {}),
            ("no port", ["٤٧"], {}),
            ("65535", ["70000"], {}),
            ("too many", ["1", "127.0.0.1", "x"], {}),
            ("twice", ["1"], {"port": "2"}),
            ("'colour'", ["1"], {"colour": "red"}),
            ("yes or no", ["1"], {"allowRemotePlain": "perhaps"}),
            ("IP address", ["1"], {"interface": "localhost"}),
        ):
            error = self.assertRaises(ValueError, parseServer, self.reactor, *args, **kwargs)
            self.assertIn(text, str(error))


class ClientTests(SynchronousTestCase):
    """
    L{parseClient}
    """

    def test_forms(self) -> None:
        """By names or by position."""
        network = SimulatedNetwork()
        reactor = network.reactor(CLIENT)
        forms: list[tuple[list[str], dict[str, str]]] = [
            ([], {"host": SERVER, "port": "4700"}),
            ([SERVER, "4700"], {}),
            ([SERVER], {"port": "4700"}),
        ]
        for args, kwargs in forms:
            endpoint = parseClient(reactor, *args, **kwargs, plain="yes", allowRemotePlain="yes", bindAddress=CLIENT)
            self.assertIsInstance(endpoint, HypermailClientEndpoint)
            sessions = endpoint._sessions
            self.assertEqual((sessions.host, sessions.port, sessions._bindAddress), (SERVER, 4700, CLIENT))
            self.assertEqual(sessions._settings.security, Plain(allowRemote=True))

    def test_plain(self) -> None:
        """Mode plain alone stays on this machine."""
        network = SimulatedNetwork()
        endpoint = parseClient(network.reactor(CLIENT), host=SERVER, port="4700", plain="yes")
        self.failureResultOf(endpoint.connect(Factory.forProtocol(Protocol)), RemoteAddressRefused)

    def test_wrong(self) -> None:
        """What is wrong is said in a L{ValueError}."""
        for text, kwargs in (
            ("host is missing", {"port": "1"}),
            ("host is missing", {"port": "1", "host": ""}),
            ("port is missing", {"host": "x"}),
            ("65535", {"host": "x", "port": "0"}),
            ("'colour'", {"host": "x", "port": "1", "colour": "red"}),
            ("IP address", {"host": "x", "port": "1", "bindAddress": "eth0"}),
        ):
            error = self.assertRaises(ValueError, parseClient, None, **kwargs)
            self.assertIn(text, str(error))
