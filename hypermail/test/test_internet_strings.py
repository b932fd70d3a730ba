"""
Tests of L{hypermail.internet.strings}.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet import error, reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import SynchronousTestCase, TestCase

from hypermail.errors import RemoteAddressRefused
from hypermail.internet.credentials import IDENTITY_FILE, readIdentity, writeIdentity
from hypermail.internet.endpoints import HypermailClientEndpoint, HypermailServerEndpoint
from hypermail.internet.security import ListenerTLS, Plain, Security, SharedSecret, StarterTLS
from hypermail.internet.strings import parseClient, parseServer
from hypermail.test.securing import AUTHORITY, SELF_MADE, STARTER, STRANGER, FilesTestCase
from hypermail.test.sessions import CLIENT, SERVER, RecordingStream
from hypermail.testing import SimulatedNetwork


class ServerTests(FilesTestCase):
    """
    L{parseServer}
    """

    def setUp(self) -> None:
        super().setUp()
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

    def security(self, **kwargs: str) -> Security:
        return parseServer(self.reactor, "4700", **kwargs)._sessions._settings.security

    def test_security(self) -> None:
        """Nothing said is TLS with an identity of one's own, on all addresses; everything that can be said."""
        self.assertEqual(self.hosts("4700"), ["0.0.0.0:4700", "[::]:4700"])
        own = readIdentity(self.state / IDENTITY_FILE)
        self.assertEqual(self.security(), ListenerTLS(own))
        roots = [AUTHORITY.certificate]
        for kwargs, expected in (
            ({"identity": self.identity}, ListenerTLS(STARTER)),
            ({"allow": STRANGER.pin}, ListenerTLS(own, allow=[STRANGER.pin])),
            ({"allow": self.pins}, ListenerTLS(own, allow=[STARTER.pin])),
            ({"trustRoots": self.roots}, ListenerTLS(own, trustRoots=roots)),
            ({"secretFile": self.secret}, SharedSecret(b"s" * 40)),
            ({"plain": "yes"}, Plain()),
        ):
            self.assertEqual(self.security(**kwargs), expected)

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
            ("IP address", ["1"], {"interface": "localhost", "plain": "yes"}),
            ("--plain", ["1"], {"allowRemotePlain": "yes"}),
            ("'pin'", ["1"], {"pin": SELF_MADE.pin}),
            ("allow is empty", ["1"], {"allow": ""}),
            ("trustRoots is empty", ["1"], {"trustRoots": ""}),
            ("identity is empty", ["1"], {"identity": ""}),
            ("secretFile is empty", ["1"], {"secretFile": ""}),
            ("'trustroots'; do you mean trustRoots?", ["1"], {"trustroots": "x"}),
            ("'interfaces'; do you mean interface?", ["1"], {"interfaces": "x"}),
            ("'keep': hypermail:PORT", ["1"], {"keep": "1"}),
            ("mode plain", ["1"], {"plain": "yes", "allow": SELF_MADE.pin}),
        ):
            error = self.assertRaises(ValueError, parseServer, self.reactor, *args, **kwargs)
            self.assertIn(text, str(error))


class ClientTests(FilesTestCase):
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

    def test_security(self) -> None:
        """Nothing said is TLS with the system's authorities; everything that can be said."""
        roots = [AUTHORITY.certificate]
        cases: list[tuple[dict[str, str], Security]] = [
            ({}, StarterTLS()),
            ({"pin": SELF_MADE.pin}, StarterTLS(pin=SELF_MADE.pin)),
            ({"trustRoots": self.roots}, StarterTLS(trustRoots=roots)),
            ({"identity": self.identity, "plain": "no"}, StarterTLS(identity=STARTER)),
            ({"secretFile": self.secret}, SharedSecret(b"s" * 40)),
            ({"plain": "yes"}, Plain()),
        ]
        for kwargs, expected in cases:
            endpoint = parseClient(None, SERVER, "4700", **kwargs)
            self.assertEqual(endpoint._sessions._settings.security, expected)
        self.assertFalse(self.state.exists())

    def test_plain(self) -> None:
        """Mode plain alone stays on this machine."""
        network = SimulatedNetwork()
        endpoint = parseClient(network.reactor(CLIENT), host=SERVER, port="4700", plain="yes")
        self.failureResultOf(endpoint.connect(Factory.forProtocol(Protocol)), RemoteAddressRefused)

    def test_stream(self) -> None:
        """The name of the streams, on both sides; none when nothing is said."""
        for kwargs, expected in (({}, b""), ({"stream": "ssh"}, b"ssh"), ({"stream": "Übung"}, "Übung".encode())):
            self.assertEqual(parseClient(None, SERVER, "4700", plain="yes", **kwargs)._stream, expected)
            self.assertEqual(parseServer(None, "4700", plain="yes", **kwargs)._stream, expected)

    def test_keep(self) -> None:
        """How long an unused session stays; not at all, when nothing is said."""
        for kwargs, expected in (({}, 0.0), ({"keep": "2.5"}, 2.5), ({"keep": "60"}, 60.0)):
            self.assertEqual(parseClient(None, SERVER, "4700", plain="yes", **kwargs)._keep, expected)

    def test_wrong(self) -> None:
        """What is wrong is said in a L{ValueError}."""
        for text, kwargs in (
            ("host is missing", {"port": "1"}),
            ("host is missing", {"port": "1", "host": ""}),
            ("port is missing", {"host": "x"}),
            ("65535", {"host": "x", "port": "0"}),
            ("'colour'", {"host": "x", "port": "1", "colour": "red"}),
            ("IP address", {"host": "x", "port": "1", "bindAddress": "eth0"}),
            ("'allow'", {"host": "x", "port": "1", "allow": SELF_MADE.pin}),
            ("pin is empty", {"host": "x", "port": "1", "pin": ""}),
            ("not a pin", {"host": "x", "port": "1", "pin": "md5/x"}),
            ("give one of", {"host": "x", "port": "1", "pin": SELF_MADE.pin, "trustRoots": self.roots}),
            ("--plain", {"host": "x", "port": "1", "allowRemotePlain": "yes"}),
            ("keep is a number of seconds, not 'long'", {"host": "x", "port": "1", "keep": "long"}),
            ("keep is a number of seconds, 0 or more", {"host": "x", "port": "1", "keep": "-1"}),
            ("keep is a number of seconds, 0 or more", {"host": "x", "port": "1", "keep": "nan"}),
            ("keep is a number of seconds, 0 or more", {"host": "x", "port": "1", "keep": "inf"}),
            ("'Pin'; do you mean pin?", {"host": "x", "port": "1", "Pin": "x"}),
            ("no certificate can be for", {"host": "a..b", "port": "1"}),
        ):
            error = self.assertRaises(ValueError, parseClient, None, **kwargs)
            self.assertIn(text, str(error))


class IPv6Tests(SynchronousTestCase):
    """
    Addresses with colons, as Twisted takes strings apart
    """

    def test_escaped(self) -> None:
        """Escaped colons are part of the address."""
        network = SimulatedNetwork()
        server, client = network.reactor("fd00::1"), network.reactor("fd00::2")
        string = r"hypermail:4700:interface=fd00\:\:1:plain=yes:allowRemotePlain=yes"
        port: Any = network.run_until(serverFromString(server, string).listen(Factory.forProtocol(RecordingStream)))
        self.assertEqual(str(port.getHost()), "[fd00::1]:4700")
        string = r"hypermail:host=fd00\:\:1:port=4700:bindAddress=fd00\:\:2:plain=yes:allowRemotePlain=yes"
        asking = clientFromString(client, string).connect(Factory.forProtocol(RecordingStream))
        protocol: Any = network.run_until(asking)
        self.assertEqual(str(protocol.transport.getPeer()), "[fd00::1]:4700")
        protocol.transport.loseConnection()
        network.run_until(port.stopListening())
        network.advance(10)
        network.assert_clean()

    def test_forgotten(self) -> None:
        """Who forgets to escape them is told how."""
        network = SimulatedNetwork().reactor(SERVER)
        for parse, string in (
            (clientFromString, "hypermail:host=::1:port=4700"),
            (clientFromString, "hypermail:::1:4700"),
            (clientFromString, "hypermail:host=[::1]:port=4700"),
            (clientFromString, "hypermail:host=h:port=1:bindAddress=::1"),
            (serverFromString, "hypermail:4700:interface=::1"),
            (serverFromString, "hypermail:4700:::1"),
        ):
            error = self.assertRaises(ValueError, parse, network, string)
            self.assertIn(r"::1 becomes \:\:1", str(error))
        error = self.assertRaises(ValueError, serverFromString, network, "hypermail:4700:127.0.0.1:more")
        self.assertNotIn("IPv6", str(error))


class RealTests(TestCase):
    """
    Over real sockets
    """

    timeout = 30

    def setUp(self) -> None:
        self.identity, self.own, self.pins = self.mktemp(), self.mktemp(), self.mktemp()
        writeIdentity(SELF_MADE, self.identity)
        writeIdentity(STRANGER, self.own)
        Path(self.pins).write_text(f"{STRANGER.pin}\n")

    async def test_strings(self) -> None:
        """The endpoint strings that an operator would write: a pin each way."""
        server = f"hypermail:0:interface=127.0.0.1:identity={self.identity}:allow={self.pins}"
        got: Deferred[bytes] = Deferred()

        class Serving(Protocol):
            def dataReceived(self, data: bytes) -> None:
                got.callback(data)

        port: Any = await serverFromString(reactor, server).listen(Factory.forProtocol(Serving))
        self.addCleanup(port.stopListening)
        client = f"hypermail:host=127.0.0.1:port={port.getHost().port}:pin={SELF_MADE.pin}"
        asking = Factory.forProtocol(RecordingStream)
        ours: Any = await clientFromString(reactor, f"{client}:identity={self.own}").connect(asking)
        ours.transport.write(b"hello")
        self.assertEqual(await got, b"hello")
        with self.assertRaises(error.ConnectionRefusedError) as caught:
            await clientFromString(reactor, client).connect(asking)
        self.assertIn("--identity", str(caught.exception))
        ours.transport.loseConnection()
        await ours.lost
