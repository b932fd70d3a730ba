"""
Tests of L{hypermail.internet.strangers}: what the log says of handshakes that fail.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.protocol import DatagramProtocol
from twisted.trial.unittest import SynchronousTestCase

from hypermail.errors import HandshakeFailed, HandshakeRefused, PeerUntrusted, SessionRejected, SessionTimedOut
from hypermail.internet.address import HypermailAddress
from hypermail.internet.security import ListenerTLS, SharedSecret, StarterTLS
from hypermail.internet.strangers import MOST_LINES, SPAN, FailedHandshakes
from hypermail.options import Options
from hypermail.test import certificates
from hypermail.test.securing import AUTHORITY, NAME, NOW, SELF_MADE, STARTER, STRANGER, SecuredTestCase
from hypermail.test.sessions import CLIENT, PORT, SERVER, logged

PEER = HypermailAddress("192.0.2.1", 9)


class FailedHandshakesTests(SynchronousTestCase):
    """
    L{FailedHandshakes}
    """

    def setUp(self) -> None:
        self.lines = logged(self)
        self.failed = FailedHandshakes()

    def note(self, count: int, now: float) -> list[str]:
        """So many fail; the lines that are logged."""
        before = len(self.lines)
        for number in range(count):
            self.failed.note(PEER, HandshakeFailed(f"reason {number}"), now)
        return self.lines[before:]

    def test_line(self) -> None:
        """Who it was, and why, from the first one on, whatever the clock says."""
        self.assertEqual(self.note(1, 0.0), [f"the handshake with {PEER} has failed: reason 0"])
        self.assertEqual(self.failed.count, 1)

    def test_most(self) -> None:
        """At most so many lines in each span; then how many were left out."""
        self.assertEqual(len(self.note(100, 5.0)), MOST_LINES)
        self.assertEqual(self.note(100, 5.0 + SPAN - 0.1), [])
        self.assertEqual(self.failed.count, 200)
        first, *others = self.note(100, 5.0 + SPAN)
        self.assertEqual(first, "190 more strangers were refused, or have failed")
        self.assertEqual(len(others), MOST_LINES)
        self.assertEqual(self.note(1, 5.0 + 2 * SPAN)[0], "90 more strangers were refused, or have failed")

    def test_refused(self) -> None:
        """Those that came so far and were refused share the lines, and are not counted as failed."""
        for number in range(100):
            self.failed.refused(PEER, f"reason {number}", 5.0)
        self.assertEqual(len(self.lines), MOST_LINES)
        self.assertEqual(self.lines[0], f"session from {PEER} rejected: reason 0")
        self.assertEqual(self.note(1, 6.0), [])
        self.assertEqual(self.failed.count, 1)

    def test_nothingLeftOut(self) -> None:
        """... or nothing, when none was."""
        for now in (0.0, SPAN, 2 * SPAN):
            self.assertEqual(len(self.note(1, now)), 1)

    def test_gone(self) -> None:
        """Those that just went away are counted, and nothing is said of them."""
        self.failed.note(PEER, SessionTimedOut("nobody"), 0.0)
        self.assertEqual((self.failed.count, self.lines), (1, []))


class ListenerTests(SecuredTestCase):
    """
    What a listener says of those that come to it
    """

    def lines(self, lines: list[str]) -> list[str]:
        return [line for line in lines if line.startswith("the handshake with") or "more strangers" in line]

    def count(self) -> int:
        port: Any = self.hosts.port
        found: int = port.ports[0].protocol.failedHandshakes.count
        return found

    def test_flood(self) -> None:
        """However many come, ten lines in ten seconds are the most; all are counted."""
        lines = logged(self)
        hosts = self.listen(ListenerTLS(SELF_MADE))
        wrong = StarterTLS(pin=STRANGER.pin)
        for _ in range(3):
            asking = [hosts.ask(NAME, security=wrong) for _ in range(15)]
            hosts.settle(3)
            for deferred in asking:
                self.failureResultOf(deferred, PeerUntrusted)
        self.assertEqual((len(self.lines(lines)), self.count()), (10, 45))
        hosts.settle(SPAN)
        hosts.ask(NAME, security=wrong).addErrback(lambda _: None)
        hosts.settle()
        self.assertIn("35 more strangers were refused, or have failed", lines)
        self.assertTrue(all(f"with {CLIENT}:" in line or " more " in line for line in self.lines(lines)), lines)

    def test_both(self) -> None:
        """What either side finds is told: that the starter doesn't trust us, and that we don't trust it."""
        roots = [AUTHORITY.certificate]
        for listening, starting, kind, text in (
            (ListenerTLS(SELF_MADE), StarterTLS(), PeerUntrusted, "does not trust this side's certificate"),
            (
                ListenerTLS(SELF_MADE, trustRoots=roots),
                StarterTLS(pin=SELF_MADE.pin, identity=STRANGER),
                HandshakeRefused,
                STRANGER.pin,
            ),
            (SharedSecret(b"a" * 32), SharedSecret(b"b" * 32), HandshakeFailed, "another shared secret"),
        ):
            lines = logged(self)
            hosts = self.listen(listening)
            asking = hosts.ask(NAME, security=starting)
            hosts.settle()
            self.failureResultOf(asking, kind)
            (line,) = self.lines(lines)
            self.assertIn(text, line)
            self.assertEqual(self.count(), 1)

    def test_decided(self) -> None:
        """Who has asked for a session has come through the handshake: a rejection is logged as one, and always."""
        lines = logged(self)
        hosts = self.listen(ListenerTLS(SELF_MADE, allow=[STRANGER.pin]))
        for _ in range(12):
            asking = hosts.ask(NAME, security=StarterTLS(pin=SELF_MADE.pin, identity=STARTER))
            hosts.settle()
            self.failureResultOf(asking, SessionRejected)
        self.assertEqual((self.lines(lines), self.count()), ([], 0))
        self.assertEqual(len([line for line in lines if f"from {CLIENT}:" in line]), 12)

    def test_silent(self) -> None:
        """A starter that goes in the middle of its handshake is counted once, without a line."""
        lines = logged(self)
        hosts = self.listen(ListenerTLS(SELF_MADE))
        asking = hosts.ask(NAME, security=StarterTLS(pin=SELF_MADE.pin), options=Options(connection_timeout=2.0))
        hosts.settle(0.06)
        asking.cancel()
        hosts.settle(30)
        self.failureResultOf(asking)
        self.assertEqual((self.lines(lines), self.count()), ([], 1))

    def test_rubbish(self) -> None:
        """What is no handshake at all is neither counted nor told."""
        lines = logged(self)
        hosts = self.listen(ListenerTLS(SELF_MADE))
        before = len(lines)
        stranger = DatagramProtocol()
        stranger.noisy = False
        socket = hosts.client.listenUDP(0, stranger)
        for size in (0, 1, 9, 40, 1_200):
            for first in (0x00, 0x40, 0x80, 0xFF):
                socket.write(bytes([first]) * size, (SERVER, PORT))
        hosts.settle(30)
        socket.stopListening()
        self.assertEqual((lines[before:], self.count()), ([], 0))

    def test_controlCharacters(self) -> None:
        """Nothing that a stranger writes into its certificate reaches a terminal as it is, on either side."""
        evil = certificates.self_signed("\x1b]0;owned\x07\r\n2026-01-01T00:00:00+0000[-]all.is.well", now=NOW)
        lines = logged(self)
        hosts = self.listen(ListenerTLS(evil, trustRoots=[AUTHORITY.certificate]))
        for starting in (StarterTLS(), StarterTLS(pin=evil.pin, identity=evil), StarterTLS(pin=evil.pin)):
            asking = hosts.ask(NAME, security=starting)
            hosts.settle()
            self.assertTrue(self.failureResultOf(asking, HandshakeFailed).value.text.isprintable())
        self.assertEqual([line for line in lines if not line.isprintable()], [])
        self.assertEqual(len([line for line in lines if r"\x1b]0;owned\x07\r\n" in line]), 2)
