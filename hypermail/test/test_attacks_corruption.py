"""
Corruption of handshakes, one byte at a time: of every datagram that opens a session, both ways, and with a retry.

In the suite mode C{secret} is corrupted at every byte, mode C{tls} at every byte of headers and seals and each
thirteenth between; with C{HYPERMAIL_EVERY_BYTE=1} in the environment at every byte, too (some 14,000 openings).
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from hypermail.errors import HandshakeFailed
from hypermail.options import ListenerOptions, Mode, Role
from hypermail.test.attacks import DELAY, MODES, AttackCase
from hypermail.test.sealed import tls
from hypermail.test.wired import Wire
from hypermail.testing.modes import Handshakes

#: Bytes between those that are corrupted.
STRIDE = 1 if os.environ.get("HYPERMAIL_EVERY_BYTE") else 13
#: Everybody has to come again with a token.
DISTRUSTFUL = ListenerOptions(max_unproved=0)
#: Bytes at the beginning and the end of a datagram, of which none is left out.
EDGE = 32


def places(size: int, stride: int) -> Iterable[int]:
    """The bytes of a datagram that are corrupted."""
    return (at for at in range(size) if at < EDGE or at >= size - EDGE or at % stride == 0)


class CorruptionTests(AttackCase):
    """Whichever byte is corrupted on its way, the session opens after a retransmission, and never wrongly."""

    def corrupted(self, handshakes: Handshakes, limits: ListenerOptions, which: int, at: int) -> Wire:
        """
        A session with one byte of the network's datagram number C{which} altered.

        @param at: the byte; a datagram may be a byte or two shorter than last time.
        """
        wire = Wire(handshakes=handshakes, delay=DELAY, listener_options=limits)
        seen = [0]

        def alter(role: Role, datagram: bytes) -> bytes:
            seen[0] += 1
            if seen[0] != which + 1:
                return datagram
            altered = bytearray(datagram)
            altered[min(at, len(datagram) - 1)] ^= 1 + (at * 37 + which) % 255
            return bytes(altered)

        wire.alter = alter
        return wire

    def assertRecovers(self, mode: Mode, limits: ListenerOptions, stride: int) -> None:
        """Every byte of every datagram, up to the first acknowledgement of the open session."""
        handshakes = MODES[mode]()
        clean = Wire(handshakes=handshakes, delay=DELAY, listener_options=limits).open()
        self.assertLess(len(clean.sent), 14)
        for which, (_, datagram) in enumerate(clean.sent):
            for at in places(len(datagram), stride):
                wire = self.corrupted(handshakes, limits, which, at)
                wire.until(lambda wire=wire: wire.here.events and wire.there.events, 10)  # type: ignore[misc]
                wire.run(1)
                where = f"byte {at} of datagram {which} in mode {mode.name}"
                self.assertIsNone(wire.here.error, where)
                self.assertIsNone(wire.there.error, where)
                self.assertEqual(wire.starter.session_id, wire.listener.session_id, where)
                self.assertTrue(wire.starter.verified and wire.listener.verified, where)
                self.assertEqual(len(wire.demux), 1, where)

    def test_secret(self) -> None:
        """Mode C{secret}, at every byte."""
        self.assertRecovers(Mode.SECRET, ListenerOptions(), 1)

    def test_secretRetried(self) -> None:
        """Mode C{secret} with a retry, at every byte."""
        self.assertRecovers(Mode.SECRET, DISTRUSTFUL, STRIDE)

    def test_tls(self) -> None:
        """Mode C{tls}."""
        self.assertRecovers(Mode.TLS, ListenerOptions(), STRIDE)

    def test_tlsRetried(self) -> None:
        """Mode C{tls} with a retry."""
        self.assertRecovers(Mode.TLS, DISTRUSTFUL, STRIDE)

    def test_refusals(self) -> None:
        """A handshake that has to fail fails with the same errors, whichever byte is corrupted on its way."""
        handshakes = tls(host="other.example")
        for which in range(5):
            for at in range(0, 1_200, 97):
                wire = self.corrupted(handshakes, ListenerOptions(), which, at)
                wire.run(9)
                for error in (wire.here.error, wire.there.error):
                    self.assertIsInstance(error, HandshakeFailed)
                    self.assertIn("name", str(error))
                self.assertNothingRequested(wire)
