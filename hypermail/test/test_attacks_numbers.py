"""
Attacks on packet numbers, and on what is still taken of a handshake: by somebody who sees the opening, so that it can
make long datagrams, but has no session keys.
"""

from __future__ import annotations

from unittest import mock

from hypermail.errors import HandshakeFailed, LimitExceeded
from hypermail.events import SessionRequested
from hypermail.link.opening import MOST_PACKETS
from hypermail.options import Mode, Options, Role
from hypermail.security.keys import long_seals
from hypermail.security.tls import CIPHERS, TlsHandshake
from hypermail.test.attacks import DELAY, MODES, AttackCase
from hypermail.test.sealed import short, tls
from hypermail.test.wired import Wire
from hypermail.wire import header
from hypermail.wire import packets as p

#: Numbers that the sides will use soon, or never. (The last keep a starter from hearing its listener's long datagrams,
#: whose numbers are not found any more: who can forge them can prevent an opening, as the page on security says.)
STOLEN = ([1], [2], [5], [8], [1, 2, 3], list(range(40)), [(1 << 31) - 5, (1 << 32) - 20])


def forged(wire: Wire, role: Role, number: int, *packets: p.Packet) -> bytes:
    """A long datagram as if C{role} had said it, from what everybody on the path has seen."""
    starter = wire.starter
    listener = next(iter(wire.demux.connections), None)
    destination = starter.local_tag if role is Role.LISTENER else starter.first_tag
    source = starter.local_tag if role is Role.STARTER or listener is None else listener.local_tag
    head = header.encode_long(
        header.Long(starter._link.mode, header.VERSION, destination, source, number & 0xFFFFFFFF, b"", 0)
    )
    sealing, _ = long_seals(starter._link.mode, role, starter.first_tag)
    return sealing.seal(head, [packet.encode() for packet in packets], number)


class StolenNumberTests(AttackCase):
    """Long and short datagrams are counted apart (RFC 9000 §12.3): a forged long one uses up no short one's number."""

    def test_whileOpening(self) -> None:
        """Whatever numbers they bear, and whomever they go to, the session opens and carries everything."""
        for mode in MODES:
            for role in Role:
                for numbers in STOLEN[: -1 if role is Role.LISTENER else None]:
                    wire = self.wire(mode)
                    wire.until(lambda wire=wire: len(wire.demux))  # type: ignore[misc]
                    for number in numbers:
                        wire.inject(role, forged(wire, role, number, p.Padding(50)))
                        wire.inject(role, forged(wire, role, number + 50, p.HealthPing(1)))
                    wire.open()
                    self.assertWorks(wire)
                    message = wire.starter.send_message(bytes(200_000), now=wire.now)
                    wire.until(lambda message=message: message.settled)  # type: ignore[misc]
                    self.assertIsNone(message.error)

    def test_handshakeAfterKeys(self) -> None:
        """A starter that has verified its listener takes nothing of a handshake any more that is not under its keys."""
        for mode in MODES:
            for said in (b"\x04", b"\x16\x03\x03\x00\x02hi", bytes(500)):
                wire = self.wire(mode)
                wire.until(lambda wire=wire: wire.starter.session_id)  # type: ignore[misc]
                offset = wire.starter._link._opening.flight._incoming.offset  # type: ignore[union-attr]
                wire.inject(Role.LISTENER, forged(wire, Role.LISTENER, 90, p.Handshake(offset, said)))
                wire.open()
                self.assertWorks(wire)


class HeldBackTests(AttackCase):
    """A listener that holds what came too early."""

    def test_proofBesideTooMuch(self) -> None:
        """The proof counts, though what comes with it doesn't fit: what was asked for before is asked now."""
        wire = self.wire(listener=Options(hold_bytes=2_400))
        wire.there.accepts = None

        def lose(role: Role, datagram: bytes) -> bool:
            return role is Role.STARTER and datagram[0] & 0xF0 != header.Kind.LONG

        wire.lose = lose
        wire.until(lambda: wire.starter.session_id)
        wire.run(3 * DELAY)
        opening = wire.starter._link._opening
        assert opening is not None
        proof = bytes(opening.flight._data)
        offset = len(proof) - 33  # the last message: its kind and the proof
        (listener,) = wire.demux.connections
        asking = p.SessionOpen(wire.starter.options.way, wire.starter._session._parameters)
        wire.inject(Role.STARTER, short(wire.starter, asking))
        for number in range(3):
            wire.inject(Role.STARTER, short(wire.starter, p.StreamBlock(0, number, 0, 700, 0, bytes(700))))
        wire.run(DELAY)
        self.assertFalse(listener.verified)
        too_much = p.StreamBlock(0, 9, 0, 1_000, 0, bytes(1_000))
        wire.inject(Role.STARTER, short(wire.starter, p.Handshake(offset, proof[offset:]), too_much))
        wire.run(DELAY)
        self.assertTrue(listener.verified)
        self.assertEqual(len(wire.there.of(SessionRequested)), 1)


class CostTests(AttackCase):
    """What a stranger may make a listener compute."""

    def test_pieces(self) -> None:
        """A hello in pieces of a byte costs OpenSSL nothing before it is whole, nor does what comes after it."""
        handshakes = tls()
        hello = handshakes.starter(Role.STARTER).outgoing() or b""
        listener = handshakes.listener(Role.LISTENER)
        with mock.patch.object(TlsHandshake, "_drive", autospec=True, side_effect=TlsHandshake._drive) as drive:
            for at in range(len(hello)):
                listener.receive(hello[at : at + 1])
            self.assertEqual(drive.call_count, 1)
            for byte in b"\x17\x03\x03\x00\xff" + bytes(200):
                listener.receive(bytes((byte,)))
            self.assertEqual(drive.call_count, 1)

    def test_packets(self) -> None:
        """A handshake in too many packets ends."""
        wire = self.wire(Mode.TLS)
        opening = wire.starter._link._opening
        assert opening is not None
        for _ in range(MOST_PACKETS):
            opening.take(p.Handshake(10, b"x"))
        self.assertRaises(LimitExceeded, opening.take, p.Handshake(10, b"x"))

    def test_smallRecord(self) -> None:
        """A whole record is no whole hello: it has the time of a part, and the place of one."""
        listener = tls().listener(Role.LISTENER)
        listener.receive(b"\x16\x03\x01\x00\x05\x01\x00\x05\x00\x03")
        self.assertFalse(listener.begun)
        other = tls().listener(Role.LISTENER)
        self.assertRaises(HandshakeFailed, other.receive, b"\x16\x03\x01\x00\x01\x00")


class SuiteTests(AttackCase):
    """Suites that hypermail has no cipher for."""

    def test_foreign(self) -> None:
        """When TLS agrees on one, the handshake fails on the side that is the first to see it, and nothing is left."""
        with mock.patch.dict(CIPHERS, clear=True):
            wire = self.wire(Mode.TLS)
            wire.until(lambda: wire.there.error)
            self.assertIsInstance(wire.there.error, HandshakeFailed)
            self.assertIn("which hypermail does not use", str(wire.there.error))
            wire.run(15)
            self.assertNothingLeft(wire)
