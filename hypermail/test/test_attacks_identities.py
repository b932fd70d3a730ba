"""
Attacks on who one is: certificates that are not right, other secrets, handshakes that were tampered with, and what a
starter says before it has proved anything. Whoever is refused learns why, soon, and nothing is left.
"""

from __future__ import annotations

import gc
from random import Random
from typing import Any
from weakref import WeakSet

from hypermail.errors import (
    HandshakeFailed,
    HandshakeRefused,
    PeerUntrusted,
    Reason,
    SessionLost,
    SessionTimedOut,
)
from hypermail.events import SessionRequested
from hypermail.options import Mode, Options, Role, Way
from hypermail.security.identity import Identity
from hypermail.security.keys import long_seals
from hypermail.test.attacks import DELAY, MODES, AttackCase, hello_of, usual_secret, usual_tls
from hypermail.test.certificates import issue, p256_key, self_signed
from hypermail.test.sealed import (
    BEGIN,
    END,
    FAR_AHEAD,
    LONG_AGO,
    NAME,
    certified,
    chained,
    client,
    inside,
    namesake,
    root,
    short,
    stranger,
    tls,
)
from hypermail.test.test_security_verification import odd_certificate
from hypermail.test.wired import GENEROUS, Wire
from hypermail.testing.modes import Handshakes, secret_handshakes
from hypermail.wire import header
from hypermail.wire import packets as p
from hypermail.wire.codec import decode
from hypermail.wire.header import Kind


class RefusalTests(AttackCase):
    """Each side gets a clear error of its own within two round trips, and nothing is left."""

    def assertRefused(
        self, handshakes: Handshakes, ours: type[SessionLost], text: str, theirs: type[SessionLost], told: str
    ) -> tuple[Any, Any]:
        """
        A session does not open, and each side knows why.

        @param ours: the starter's error, and what is in its text.
        @param theirs: the listener's.
        @return: both errors.
        """
        wire = self.wire(handshakes=handshakes)
        message = wire.starter.send_message(b"not for everybody", now=wire.now)
        wire.run(4 * DELAY)
        self.assertIsInstance(wire.here.error, ours)
        self.assertIsInstance(wire.there.error, theirs)
        self.assertIn(text, str(wire.here.error))
        self.assertIn(told, str(wire.there.error))
        self.assertNothingRequested(wire)
        self.assertIsNotNone(message.error)
        wire.run(4)
        self.assertNothingLeft(wire)
        self.assertLess(len(wire.sent), 20)
        return wire.here.error, wire.there.error

    def test_wrongName(self) -> None:
        """A certificate for another name."""
        for host in ("other.example", "192.0.2.1"):
            self.assertRefused(tls(host=host), PeerUntrusted, "not for the name", HandshakeRefused, "for its name")

    def test_expired(self) -> None:
        """A certificate that is no longer valid, or not yet."""
        for identity, text in (
            (issue(root(), NAME, not_before=LONG_AGO, not_after=BEGIN), "it has expired"),
            (issue(root(), NAME, not_before=END, not_after=FAR_AHEAD), "it is not valid yet"),
        ):
            self.assertRefused(tls(identity), PeerUntrusted, text, HandshakeRefused, "this side's certificate")

    def test_selfSigned(self) -> None:
        """A certificate that nobody vouches for; its pin is told, so that it can be given."""
        identity = self_signed(NAME, not_before=BEGIN, not_after=END)
        ours, _ = self.assertRefused(tls(identity), PeerUntrusted, "it is self-signed", HandshakeRefused, "not trust")
        self.assertEqual(ours.pin, identity.pin)
        self.assertIn(identity.pin, str(ours))
        self.assertWorks(self.wire(handshakes=tls(identity, pin=identity.pin)).open())

    def test_namesForTerminals(self) -> None:
        """A certificate whose names would do something to a terminal or a log; the texts on both sides don't."""
        key = p256_key()
        for nasty in (b"\x1b[2J\x1b]0;owned\x07", b"a\nINFO all is well", b"'\x00\x9b31m"):
            names = bytes((0x30, len(nasty) + 2, 0x82, len(nasty))) + nasty
            identity = Identity(key, odd_certificate(key=key, extra=names))
            for error in self.assertRefused(tls(identity), PeerUntrusted, "", HandshakeRefused, ""):
                self.assertTrue(str(error).isprintable(), repr(str(error)))

    def test_expiredButPinned(self) -> None:
        """Who trusts a key trusts it, whatever its certificate says of the time."""
        identity = self_signed("whatever", not_before=LONG_AGO, not_after=BEGIN)
        self.assertWorks(self.wire(handshakes=tls(identity, pin=identity.pin)).open())

    def test_unknownAuthority(self) -> None:
        """A certificate from an authority that is not trusted, also one that calls itself by a trusted one's name."""
        for trusted in (stranger(), namesake()):
            self.assertRefused(tls(trust=trusted), PeerUntrusted, "not trusted", HandshakeRefused, "does not trust")

    def test_clientsCertificate(self) -> None:
        """A certificate that was issued for clients does not make a listener."""
        identity = issue(root(), NAME, client=True, not_before=BEGIN, not_after=END)
        self.assertRefused(tls(identity), PeerUntrusted, "purpose", HandshakeRefused, "certificate")

    def test_wrongPin(self) -> None:
        """Another key than the one that was pinned, though an authority vouches for it."""
        self.assertRefused(
            tls(pin=client().pin), PeerUntrusted, f"should be {client().pin}", HandshakeRefused, "does not trust"
        )

    def test_endlessChain(self) -> None:
        """More authorities one above the other than anybody needs."""
        self.assertRefused(tls(chained(10)), PeerUntrusted, "too many authorities", HandshakeRefused, "certificate")

    def test_noClientCertificate(self) -> None:
        """A starter without a certificate where one is demanded."""
        _, theirs = self.assertRefused(
            tls(clients=root()), HandshakeRefused, "demands a certificate", PeerUntrusted, "has shown no certificate"
        )
        self.assertEqual((theirs.code, theirs.pin), (Reason.PEER_UNTRUSTED, ""))

    def test_refusedClientCertificate(self) -> None:
        """A starter's certificate from another authority, or one that has expired."""
        old = issue(root(), "starter", client=True, not_before=LONG_AGO, not_after=BEGIN)
        for handshakes, text in (
            (tls(starter=client(), clients=stranger()), "authority"),
            (tls(starter=old, clients=root()), "expired"),
            (tls(starter=certified(), clients=root()), "purpose"),
        ):
            _, theirs = self.assertRefused(handshakes, HandshakeRefused, "this side's certificate", PeerUntrusted, text)
            self.assertTrue(theirs.pin)

    def test_wrongSecret(self) -> None:
        """Another shared secret: each is told that the other's is another."""
        handshakes = usual_secret()._replace(listener=_other_secret().listener)
        self.assertRefused(
            handshakes, HandshakeFailed, "another shared secret", HandshakeRefused, "another shared secret"
        )

    def test_lossy(self) -> None:
        """On a network that loses the first of what is said of it, both still learn it, a little later."""
        for handshakes in (
            tls(host="other.example"),
            tls(clients=root()),
            usual_secret()._replace(listener=_other_secret().listener),
        ):
            for role in Role:
                wire = self.wire(handshakes=handshakes)
                left = [2]

                def lose(
                    sender: Role, datagram: bytes, role: Role = role, left: list[int] = left, wire: Wire = wire
                ) -> bool:
                    failed = wire.here.error or wire.there.error
                    if sender is role and failed and left[0]:
                        left[0] -= 1
                        return True
                    return False

                wire.lose = lose
                wire.run(9)
                for error in (wire.here.error, wire.there.error):
                    self.assertIsInstance(error, HandshakeFailed)
                self.assertNothingRequested(wire)
                wire.run(10)
                self.assertNothingLeft(wire)

    def test_freed(self) -> None:
        """Of TLS nothing is left in a session that has opened, nor after one that was refused."""
        for handshakes, opens in (
            (usual_tls(), True),
            (tls(host="other.example"), False),
            (tls(clients=root()), False),
        ):
            made: WeakSet[Any] = WeakSet()

            def counted(role: Role, make: Any, made: WeakSet[Any] = made) -> Any:
                handshake = make(role)
                connect = handshake._connect

                def connecting(protocol: Any) -> Any:
                    connection = connect(protocol)
                    made.add(connection)
                    return connection

                handshake._connect = connecting
                if handshake._connection is not None:
                    made.add(handshake._connection)
                return handshake

            watched = Handshakes(*[lambda role, make=make, counted=counted: counted(role, make) for make in handshakes])
            wire = self.wire(handshakes=watched)
            wire.until(lambda wire=wire: len(wire.demux))  # type: ignore[misc]
            self.assertEqual(len(made), 2)
            wire.run(8)
            self.assertEqual(wire.here.error is None, opens)
            gc.collect()
            self.assertEqual(len(made), 0, wire.here.error)


def _other_secret() -> Handshakes:
    return secret_handshakes(Random(5).randbytes, b"quite another secret" * 2)


class UnprovedTests(AttackCase):
    """What a starter says before it has proved who it is: its Finished is held back."""

    def held_back(self, mode: Mode, **settings: Any) -> Wire:
        """A session whose listener has keys, and never hears the end of the starter's handshake."""
        wire = self.wire(mode, **settings)

        def lose(role: Role, datagram: bytes) -> bool:
            if role is Role.LISTENER or datagram[0] & 0xF0 == Kind.LONG:
                return False
            return any(isinstance(packet, p.Handshake) for packet in inside(wire.starter, datagram))

        wire.lose = lose
        wire.until(lambda: wire.starter.session_id)
        return wire

    def assertSilent(self, wire: Wire) -> None:
        """The listener says nothing but what belongs to the handshake, and nothing was delivered."""
        (connection,) = wire.demux.connections
        said = {
            type(packet)
            for role, datagram in wire.sent
            if role is Role.LISTENER
            for packet in inside(connection, datagram)
        }
        self.assertLessEqual(said, {p.Ack, p.Handshake})
        self.assertNothingRequested(wire)
        self.assertFalse(connection.verified)
        self.assertIsNone(connection.peer_certificate)

    def test_nothingDelivered(self) -> None:
        """Whatever else it says is neither delivered nor answered, and forgotten when its time is over."""
        everything: tuple[p.Packet, ...] = (
            p.SessionOpen(Way.TWO_WAY, GENEROUS),
            p.StreamBlock(0, 0, 0, 5, 0, b"hello"),
            p.StreamOpen(0, b"name", {}, None),
            p.StreamChunk(0, 0, b"data"),
            p.Direct(b"direct"),
            p.HealthPing(7),
            p.PathChallenge(bytes(8)),
        )
        for mode in MODES:
            wire = self.held_back(mode)
            for _ in range(5):
                wire.inject(Role.STARTER, short(wire.starter, *everything))
                wire.run(0.5)
                self.assertSilent(wire)
            wire.run(20)
            self.assertNothingRequested(wire)
            self.assertIsInstance(wire.there.error, SessionTimedOut)
            self.assertEqual(len(wire.demux), 0)

    def test_deathAndClose(self) -> None:
        """Its death, close and rejection have no effect."""
        for mode in MODES:
            for packet in (p.SessionDeath(5, "die"), p.SessionClose(), p.SessionCloseAck()):
                wire = self.held_back(mode)
                wire.inject(Role.STARTER, short(wire.starter, packet))
                wire.run(1)
                self.assertSilent(wire)
                self.assertIsNone(wire.there.error)
                (connection,) = wire.demux.connections
                self.assertTrue(connection.opening)

    def test_proofLater(self) -> None:
        """When its proof comes at last everything that was held counts, in order, and once."""
        for mode in MODES:
            wire = self.held_back(mode)
            for number in range(20):
                wire.starter.send_message(b"%d" % number, now=wire.now)
            wire.run(2)
            self.assertSilent(wire)
            wire.lose = lambda role, datagram: False
            wire.until(lambda wire=wire: len(wire.here.settled) == 20)  # type: ignore[misc]
            self.assertEqual(wire.there.messages, {0: [b"%d" % number for number in range(20)]})
            self.assertEqual(wire.there.kinds[0], SessionRequested)
            self.assertWorks(wire)

    def test_tooMuch(self) -> None:
        """What does not fit (10 KB here) is dropped and not acknowledged, and comes again once it is welcome."""
        for mode in MODES:
            wire = self.held_back(mode, listener=Options(hold_bytes=10_000))
            messages = [bytes((number,)) * 1_000 for number in range(150)]
            for message in messages:
                wire.starter.send_message(message, now=wire.now)
            wire.run(5)
            self.assertSilent(wire)
            (connection,) = wire.demux.connections
            hold = connection._intake._hold
            assert hold is not None
            self.assertTrue(8_000 < hold._bytes <= 10_000, hold._bytes)
            self.assertGreater(wire.starter.statistics()["in_flight"], 0)
            wire.lose = lambda role, datagram: False
            wire.until(lambda wire=wire: len(wire.here.settled) == 150)  # type: ignore[misc]
            self.assertEqual(wire.there.messages, {0: messages})
            self.assertWorks(wire)

    def test_endless(self) -> None:
        """A starter that goes on and on without proof costs so much and no more."""
        wire = self.held_back(Mode.SECRET, listener=Options(hold_bytes=10_000))
        for number in range(2_000):
            wire.inject(Role.STARTER, short(wire.starter, p.StreamBlock(0, 0, number, 500, 0, bytes(500))))
            wire.run(0.001)
        (connection,) = wire.demux.connections
        hold = connection._intake._hold
        assert hold is not None
        self.assertTrue(9_000 < hold._bytes <= 10_000)
        self.assertSilent(wire)

    def test_demandedCertificate(self) -> None:
        """A starter whose certificate will be refused has delivered nothing by then."""
        for handshakes in (tls(clients=root()), tls(starter=client(), clients=stranger())):
            wire = self.wire(handshakes=handshakes)
            for number in range(20):
                wire.starter.send_message(b"%d" % number, now=wire.now)
            wire.run(10)
            self.assertIsInstance(wire.there.error, PeerUntrusted)
            self.assertNothingRequested(wire, listener=True)


class TamperingTests(AttackCase):
    """Handshakes that somebody on the way alters, who can seal long datagrams, having seen the hello."""

    def altered(self, mode: Mode, role: Role, at: int) -> Wire:
        """A session in which one byte of one side's first flight is another."""
        wire = self.wire(mode)

        def alter(sender: Role, datagram: bytes) -> bytes:
            if sender is not role or datagram[0] & 0xF0 != Kind.LONG:
                return datagram
            head = header.decode_long(memoryview(datagram))
            assert head is not None
            sealing, _ = long_seals(mode, role, wire.starter.first_tag)
            content = sealing.open(memoryview(datagram), head.length, head.low)
            assert content is not None
            parts = []
            for packet in decode(content):
                if isinstance(packet, p.Handshake) and packet.offset <= at < packet.offset + len(packet.data):
                    data = bytearray(packet.data)
                    data[at - packet.offset] ^= 0x41
                    packet = p.Handshake(packet.offset, bytes(data))
                parts.append(packet.encode())
            return sealing.seal(datagram[: head.length], parts, head.low)

        wire.alter = alter
        wire.run(12)
        return wire

    def test_everyByte(self) -> None:
        """
        With any byte altered no session opens, and neither application hears of one: every byte in mode C{secret}, each
        seventh in mode C{tls}, where a record's own version means nothing (RFC 8446 §5.1).
        """
        lengths = {
            (Mode.SECRET, Role.STARTER): range(33),
            (Mode.SECRET, Role.LISTENER): range(65),
            (Mode.TLS, Role.STARTER): range(0, len(hello_of(usual_tls())), 7),
            (Mode.TLS, Role.LISTENER): range(0, 1_900, 7),
        }
        opened = []
        for (mode, role), places in lengths.items():
            for at in places:
                wire = self.altered(mode, role, at)
                if wire.here.error is None:
                    opened.append((mode, role, at))
                    continue
                self.assertNothingRequested(wire)
                self.assertNothingLeft(wire)
        self.assertEqual(opened, [])
