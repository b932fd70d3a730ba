"""
Tests for L{hypermail.services.addresses}.
"""

from __future__ import annotations

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.trial.unittest import SynchronousTestCase

from hypermail.errors import UsageError
from hypermail.services.addresses import (
    Destination,
    Listening,
    describe,
    parse_destination,
    parse_listening,
)


class DestinationTests(SynchronousTestCase):
    """C{HOST:PORT}."""

    def test_good(self) -> None:
        """Names, IPv4 addresses, IPv6 addresses in brackets; they read as they are written."""
        for text, host, port in (
            ("127.0.0.1:4700", "127.0.0.1", 4700),
            ("example.org:1", "example.org", 1),
            ("[::1]:65535", "::1", 65535),
            ("[fe80::1%eth0]:9", "fe80::1%eth0", 9),
        ):
            self.assertEqual(parse_destination(text), Destination(host, port))
            self.assertEqual(str(parse_destination(text)), text)

    def test_bad(self) -> None:
        """Everything else is refused with what is wrong."""
        for text, reason in (
            ("example.org", "is not HOST:PORT"),
            ("::1:4700", "brackets"),
            ("[::1]", "is not HOST:PORT"),
            (":4700", "no host"),
            ("[]:4700", "no host"),
            ("a b:4700", "no host"),
            ("a\n:4700", "no host"),
            ("host:", "not a port"),
            ("host:0", "from 1 to 65535"),
            ("host:65536", "from 1 to 65535"),
            ("host:-1", "not a port"),
            ("host:+1", "not a port"),
            ("host:٤٧٠٠", "not a port"),
            ("host:http", "not a port"),
            ("host:" + "1" * 5_000, "not a port"),
            ("", "is not HOST:PORT"),
        ):
            error = self.assertRaises(UsageError, parse_destination, text)
            self.assertIn(reason, error.text)


class ListeningTests(SynchronousTestCase):
    """C{--port}."""

    def test_good(self) -> None:
        """A number, or a description in which colons may be escaped."""
        for text, port, interface in (
            ("4700", 4700, ""),
            ("0", 0, ""),
            ("udp:4700", 4700, ""),
            ("udp:0:interface=127.0.0.1", 0, "127.0.0.1"),
            ("udp:port=4700:interface=\\:\\:1", 4700, "::1"),
            ("udp:interface=::1".replace("::1", "\\:\\:1") + ":port=7", 7, "::1"),
        ):
            self.assertEqual(parse_listening(text), Listening(port, interface))

    def test_bad(self) -> None:
        """Everything else is refused with what is wrong."""
        for text, reason in (
            ("x", "not a port"),
            ("65536", "from 0 to 65535"),
            ("tcp:4700", "only udp"),
            ("udp:", "not a port"),
            ("udp:4700:127.0.0.1", "neither port"),
            ("udp:4700:backlog=3", "neither port"),
            ("udp:4700:interface=::1", "neither port"),
            ("udp:4700:interface=eth0", "'eth0' is not an IP address"),
        ):
            error = self.assertRaises(UsageError, parse_listening, text)
            self.assertIn(reason, error.text)


class DescribeTests(SynchronousTestCase):
    """Addresses in the log."""

    def test_describe(self) -> None:
        """Host and port; anything else as it prints itself."""
        self.assertEqual(describe(IPv4Address("UDP", "127.0.0.1", 5000)), "127.0.0.1:5000")
        self.assertEqual(describe(IPv6Address("UDP", "::1", 5000)), "[::1]:5000")
        self.assertEqual(describe(None), "None")
