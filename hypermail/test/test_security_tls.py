"""
Tests for L{hypermail.security.tls}: handshakes by OpenSSL, with nothing around them. What sessions make of them is
tested in C{test_attacks_...} and C{test_internet_...}.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any
from weakref import ref

from OpenSSL import SSL, crypto
from twisted.internet import ssl
from twisted.trial.unittest import SynchronousTestCase

from hypermail.errors import HandshakeFailed, HandshakeRefused, PeerUntrusted
from hypermail.internet.contexts import listenerCreator, starterCreator
from hypermail.options import Mode, Role
from hypermail.security.identity import pin_of
from hypermail.security.keys import AES_128_GCM, AES_256_GCM, CHACHA20_POLY1305, Keys
from hypermail.security.tls import ALPN, TlsHandshake
from hypermail.test.sealed import NAME, certified, chained, client, namesake, root, stranger, tls
from hypermail.testing.modes import Handshakes

BINDING = b"what both know"

#: Cuts a flight into pieces.
Cut = Callable[[bytes], Iterable[bytes]]


def whole(flight: bytes) -> list[bytes]:
    """A flight in one piece."""
    return [flight]


def bytewise(flight: bytes) -> list[bytes]:
    """A flight byte by byte."""
    return [bytes((byte,)) for byte in flight]


def in_two(flight: bytes, at: int) -> list[bytes]:
    """A flight in two pieces."""
    return [flight[:at], flight[at:]]


class Exchange:
    """
    Two sides, which hear what the other says until neither has anything to say.

    @ivar flights: what was said, by whom.
    """

    def __init__(
        self, handshakes: Handshakes, cut: Cut = whole, bindings: tuple[bytes, bytes] = (BINDING, BINDING)
    ) -> None:
        self.sides = [handshakes[role](role) for role in Role]
        self.bindings = bindings
        self.keys: list[Keys | None] = [None, None]
        self.errors: list[HandshakeFailed | None] = [None, None]
        self.flights: list[tuple[Role, bytes]] = []
        role = Role.STARTER
        silent = 0
        while silent < 2:
            said = self._say(role)
            silent = 0 if said else silent + 1
            role = Role(1 - role)
            for piece in cut(said) if said else ():
                self.hear(role, piece)

    def _say(self, role: Role) -> bytes:
        if self.keys[role] is None and self.errors[role] is None:
            try:
                self.keys[role] = self.sides[role].keys(self.bindings[role])
            except HandshakeFailed as error:
                self.errors[role] = error
        said = self.sides[role].outgoing() or b""
        if said:
            self.flights.append((role, said))
        return said

    def hear(self, role: Role, piece: bytes) -> None:
        """Give one side a piece of the other's flight."""
        if self.errors[role] is None:
            try:
                self.sides[role].receive(piece)
            except HandshakeFailed as error:
                self.errors[role] = error

    @property
    def complete(self) -> tuple[bool, bool]:
        """Whether each side is."""
        return self.sides[0].complete, self.sides[1].complete


def contexts(role: Role, change: Callable[[SSL.Context], object], **options: Any) -> TlsHandshake:
    """A side whose context is changed before use."""
    settings: dict[str, Any] = {"raiseMinimumTo": ssl.TLSVersion.TLSv1_3, "acceptableProtocols": [ALPN], **options}
    if role is Role.LISTENER:
        identity = certified()
        settings |= {"privateKey": identity.key, "certificate": identity.certificate}
    factory = ssl.CertificateOptions(**settings)
    change(factory.getContext())
    make = starterCreator if role is Role.STARTER else listenerCreator
    return TlsHandshake(role, make(factory))


def changed(
    starter: Callable[[SSL.Context], object] | None, listener: Callable[[SSL.Context], object] | None
) -> Handshakes:
    """Handshakes with changed contexts; None for one that is as usual."""
    usual = tls()
    return Handshakes(
        usual.starter if starter is None else lambda role: contexts(role, starter),
        usual.listener if listener is None else lambda role: contexts(role, listener),
    )


class TlsCase(SynchronousTestCase):
    """What has to be so."""

    def assertAgreed(self, exchange: Exchange) -> tuple[Keys, Keys]:
        """Both sides are content and their keys fit."""
        self.assertEqual(exchange.errors, [None, None])
        self.assertEqual(exchange.complete, (True, True))
        ours, theirs = exchange.keys
        assert ours is not None and theirs is not None
        self.assertEqual(ours.session_id, theirs.session_id)
        self.assertEqual(ours.reopen_secret, theirs.reopen_secret)
        for sending, receiving in ((ours.sending, theirs.receiving), (theirs.sending, ours.receiving)):
            self.assertEqual(receiving.open(memoryview(sending.seal(b"h", [b"content"], 1)), 1, 1), b"content")
        return ours, theirs

    def assertFails(self, exchange: Exchange, kind: type[HandshakeFailed], text: str, told: str) -> None:
        """The starter fails so, and the listener is told that."""
        for error, expected in zip(exchange.errors, (text, told)):
            assert error is not None
            self.assertIn(expected, error.text)
        self.assertIsInstance(exchange.errors[0], kind)
        self.assertEqual(exchange.complete, (False, False))


class AgreeingTests(TlsCase):
    """Handshakes that succeed."""

    def test_keys(self) -> None:
        """Both sides come to the same keys in three flights, and know each other's certificate."""
        exchange = Exchange(tls())
        self.assertAgreed(exchange)
        self.assertEqual([role for role, _ in exchange.flights], [Role.STARTER, Role.LISTENER, Role.STARTER])
        starter, listener = exchange.sides
        self.assertEqual(starter.peer_certificate, certified().certificate)
        self.assertIsNone(listener.peer_certificate)
        self.assertIs(starter.mode, Mode.TLS)

    def test_certificateOnce(self) -> None:
        """Sessions with one peer share its certificate, which is kilobytes."""
        one, other = (Exchange(tls()).sides[0].peer_certificate for _ in range(2))
        self.assertIsNotNone(one)
        self.assertIs(one, other)

    def test_listenersKeys(self) -> None:
        """The listener has its keys with its own flight, before the starter has proved anything; the starter later."""
        handshakes = tls()
        starter, listener = handshakes.starter(Role.STARTER), handshakes.listener(Role.LISTENER)
        self.assertIsNone(starter.keys(BINDING))
        self.assertIsNone(listener.keys(BINDING))
        self.assertIsNone(listener.outgoing())
        listener.receive(starter.outgoing() or b"")
        self.assertIsNotNone(listener.keys(BINDING))
        self.assertFalse(listener.complete)
        self.assertIsNone(listener.keys(BINDING), "they are given once")
        self.assertIsNone(starter.keys(BINDING))
        starter.receive(listener.outgoing() or b"")
        self.assertTrue(starter.complete)
        self.assertIsNotNone(starter.keys(BINDING))
        self.assertIsNone(starter.keys(BINDING))

    def test_binding(self) -> None:
        """Who is bound to something else has other keys."""
        exchange = Exchange(tls(), bindings=(b"one", b"other"))
        ours, theirs = exchange.keys
        assert ours is not None and theirs is not None
        self.assertNotEqual(ours.session_id, theirs.session_id)
        self.assertIsNone(theirs.receiving.open(memoryview(ours.sending.seal(b"h", [b"content"], 1)), 1, 1))

    def test_unlike(self) -> None:
        """No two handshakes come to the same keys."""
        ids = {self.assertAgreed(Exchange(tls()))[0].session_id for _ in range(3)}
        self.assertEqual(len(ids), 3)

    def test_suites(self) -> None:
        """The AEAD is the one that TLS has agreed on."""
        for name, cipher in (
            (b"TLS_AES_128_GCM_SHA256", AES_128_GCM),
            (b"TLS_AES_256_GCM_SHA384", AES_256_GCM),
            (b"TLS_CHACHA20_POLY1305_SHA256", CHACHA20_POLY1305),
        ):
            exchange = Exchange(changed(None, partial(SSL.Context.set_tls13_ciphersuites, ciphersuites=name)))
            for keys in self.assertAgreed(exchange):
                self.assertIs(keys.sending._cipher, cipher)  # type: ignore[attr-defined]

    def test_bytewise(self) -> None:
        """It does not matter how the flights are cut: byte by byte."""
        for handshakes in (tls(), tls(chained(3)), tls(starter=client(), clients=root())):
            self.assertAgreed(Exchange(handshakes, bytewise))

    def test_everyCut(self) -> None:
        """In two pieces, at every byte of every flight (each eleventh of the long ones)."""
        handshakes = tls()
        longest = max(len(flight) for _, flight in Exchange(handshakes).flights)
        for at in [*range(1, 100), *range(100, longest, 11)]:
            self.assertAgreed(Exchange(handshakes, partial(in_two, at=at)))

    def test_begun(self) -> None:
        """A listener makes no SSL object before the whole hello is there."""
        made: list[object] = []
        handshakes = tls()
        hello = handshakes.starter(Role.STARTER).outgoing() or b""
        accept = handshakes.listener(Role.LISTENER)._connect  # type: ignore[attr-defined]

        def connect(handshake: Any) -> SSL.Connection:
            made.append(handshake)
            connection: SSL.Connection = accept(handshake)
            return connection

        listener = TlsHandshake(Role.LISTENER, connect)
        for byte in hello[:-1]:
            listener.receive(bytes((byte,)))
            self.assertEqual((made, listener.begun, listener.outgoing()), ([], False, None))
        listener.receive(hello[-1:])
        self.assertEqual((made, listener.begun), ([listener], True))
        self.assertIsNotNone(listener.outgoing())

    def test_helloRetryRequest(self) -> None:
        """A listener that wants another key share asks for it; there are no keys before it has come."""
        curve = crypto.get_elliptic_curve("secp384r1")
        handshakes = changed(None, lambda context: context.set_tmp_ecdh(curve))
        for cut in (whole, bytewise):
            exchange = Exchange(handshakes, cut)
            self.assertAgreed(exchange)
            self.assertEqual([role for role, _ in exchange.flights], [0, 1, 0, 1, 0])
        listener, starter = handshakes.listener(Role.LISTENER), handshakes.starter(Role.STARTER)
        listener.receive(starter.outgoing() or b"")
        self.assertIsNone(listener.keys(BINDING))
        starter.receive(listener.outgoing() or b"")
        listener.receive(starter.outgoing() or b"")
        self.assertIsNotNone(listener.keys(BINDING))

    def test_clientCertificate(self) -> None:
        """A starter's certificate is seen where it is demanded, and where it is only asked for."""
        for demanded in (root(), None):
            exchange = Exchange(tls(starter=client(), clients=demanded))
            self.assertAgreed(exchange)
            self.assertEqual(exchange.sides[1].peer_certificate, client().certificate)

    def test_pin(self) -> None:
        """With the right pin neither name nor authority matter."""
        for identity in (certified(), chained(2)):
            for host in ("other.example", "192.0.2.1", "::1", NAME):
                self.assertAgreed(Exchange(tls(identity, pin=identity.pin, host=host)))

    def test_tickets(self) -> None:
        """A listener says no tickets; a starter that is sent some takes no harm."""
        exchange = Exchange(tls())
        self.assertIsNone(exchange.sides[1].outgoing())
        plain = changed(None, lambda context: context.set_session_cache_mode(SSL.SESS_CACHE_SERVER))
        exchange = Exchange(plain)
        self.assertAgreed(exchange)
        listener: Any = exchange.sides[1]
        tickets = listener._connection.bio_read(1 << 16)
        self.assertGreater(len(tickets), 100)
        exchange.hear(Role.STARTER, tickets)
        self.assertAgreed(exchange)
        self.assertIsNone(exchange.sides[0].outgoing())

    def test_freed(self) -> None:
        """Once it has served nothing of OpenSSL's is left, and what is still heard is ignored."""
        exchange = Exchange(tls())
        connections = [ref(side._connection) for side in exchange.sides]  # type: ignore[attr-defined]
        for side in exchange.sides:
            side.close()
        gc.collect()
        self.assertEqual([connection() for connection in connections], [None, None])
        for side in exchange.sides:
            side.receive(b"\x16\x03\x03\x00\x01x")
            self.assertEqual((side.outgoing(), side.keys(BINDING)), (None, None))
            side.close()


class RefusingTests(TlsCase):
    """Handshakes that fail, and what each side learns of it."""

    def test_untrusted(self) -> None:
        """Another authority's certificate, also when that has the same name."""
        for trusted, what in ((stranger(), "issued by an authority"), (namesake(), "of no authority")):
            exchange = Exchange(tls(trust=trusted))
            self.assertFails(exchange, PeerUntrusted, what, "does not trust this side's certificate")
            error = exchange.errors[0]
            assert isinstance(error, PeerUntrusted)
            self.assertEqual(error.pin, pin_of(certified().certificate))
            self.assertIn(error.pin, error.text)

    def test_name(self) -> None:
        """A certificate for another name, or for none where an address is asked."""
        for host in ("other.example", "192.0.2.1", "2001:db8::1", "example", "a." + NAME):
            exchange = Exchange(tls(host=host))
            self.assertFails(exchange, PeerUntrusted, "not for the name", "for its name")

    def test_pin(self) -> None:
        """Another pin, though authority and name are right."""
        self.assertFails(Exchange(tls(pin=client().pin)), PeerUntrusted, f"its pin should be {client().pin}", "")

    def test_noClientCertificate(self) -> None:
        """A starter without a certificate where one is demanded: it is told so, after it was content itself."""
        exchange = Exchange(tls(clients=root()))
        self.assertEqual(exchange.complete, (True, False))
        ours, theirs = exchange.errors
        assert ours is not None and theirs is not None
        self.assertIsInstance(theirs, PeerUntrusted)
        self.assertIn("has shown no certificate", theirs.text)
        self.assertIsInstance(ours, HandshakeRefused)
        self.assertIn("demands a certificate of this side", ours.text)

    def test_strangeClientCertificate(self) -> None:
        """A starter's certificate from another authority."""
        for trusted in (stranger(), namesake()):
            exchange = Exchange(tls(starter=client(), clients=trusted))
            self.assertFalse(exchange.complete[1])
            ours, theirs = exchange.errors
            assert isinstance(theirs, PeerUntrusted) and isinstance(ours, HandshakeRefused)
            self.assertEqual(theirs.pin, client().pin)
            self.assertIn("does not trust this side's certificate", ours.text)

    def test_complaint(self) -> None:
        """With a complaint there is no success, though OpenSSL is content: a context's own check counts."""
        content = changed(lambda context: context.set_verify(SSL.VERIFY_PEER, lambda *arguments: True), None)
        for handshakes in (tls(), content):
            for complain, text in (
                (lambda side: side.failVerification(None), "not for the name"),
                (lambda side: side.abortConnection(), "context has failed"),
            ):

                def complaining(role: Role, complain: Any = complain, make: Any = handshakes.starter) -> TlsHandshake:
                    made: TlsHandshake = make(role)
                    complain(made)
                    return made

                exchange = Exchange(Handshakes(complaining, handshakes.listener))
                self.assertEqual((exchange.complete, exchange.keys[0]), ((False, False), None))
                assert exchange.errors[0] is not None
                self.assertIn(text, exchange.errors[0].text)
        self.assertAgreed(Exchange(content))

    def test_oldVersion(self) -> None:
        """TLS 1.2 is never agreed on, also where both contexts would have it."""

        def old(context: SSL.Context) -> None:
            context.set_max_proto_version(SSL.TLS1_2_VERSION)

        low = {"raiseMinimumTo": ssl.TLSVersion.TLSv1_2}
        both = Handshakes(lambda role: contexts(role, old, **low), lambda role: contexts(role, old, **low))
        one = Handshakes(both.starter, tls().listener)
        for handshakes in (both, one):
            exchange = Exchange(handshakes)
            self.assertEqual(exchange.keys, [None, None])
            self.assertEqual(exchange.complete, (False, False))
            self.assertIsNotNone(exchange.errors[1])
        self.assertIn("TLSv1.2 was agreed on", str(Exchange(both).errors))

    def test_otherProtocol(self) -> None:
        """Who speaks another protocol, or does not say which, is not spoken to."""
        for theirs in ([b"http/1.1"], None):
            for role in Role:
                odd = [tls().starter, tls().listener]
                odd[role] = partial(contexts, change=lambda context: None, acceptableProtocols=theirs)
                exchange = Exchange(Handshakes(*odd))
                self.assertFalse(exchange.complete[0])
                self.assertIsNone(exchange.keys[0])
                self.assertNotIn(None, exchange.errors)
                if theirs is None and role is Role.STARTER:
                    self.assertEqual([("hypermail/1" in str(error)) for error in exchange.errors], [True, True])

    def test_failingCallback(self) -> None:
        """A context whose callback fails gives an error, and nothing worse."""

        def fail(*arguments: object) -> bool:
            raise RuntimeError("a bug of ours")

        handshakes = changed(lambda context: context.set_verify(SSL.VERIFY_PEER, fail), None)
        exchange = Exchange(handshakes)
        assert exchange.errors[0] is not None
        self.assertIn("a bug of ours", exchange.errors[0].text)
        self.assertEqual(exchange.complete, (False, False))

    def test_checkIsOwed(self) -> None:
        """Starters owe it whether they have a pin or authorities; listeners don't, who may be shown nothing."""
        for handshakes in (tls(), tls(pin=certified().pin)):
            starter: Any = handshakes.starter(Role.STARTER)
            self.assertTrue(starter.unchecked)
        listener: Any = tls().listener(Role.LISTENER)
        self.assertFalse(listener.unchecked)

    def test_unchecked(self) -> None:
        """A listener's certificate that nobody has looked at counts as none, whatever OpenSSL says."""
        handshakes = tls()
        starter: Any = handshakes.starter(Role.STARTER)
        listener: Any = handshakes.listener(Role.LISTENER)
        starter._connection.set_verify(SSL.VERIFY_PEER, lambda *_: True)
        listener.receive(starter.outgoing())
        error = self.assertRaises(PeerUntrusted, starter.receive, listener.outgoing())
        self.assertIn("never checked", error.text)
        self.assertFalse(starter.complete)
        self.assertIsNone(starter.keys(BINDING))

    def test_garbage(self) -> None:
        """What is no TLS fails at its first byte, and costs no SSL object."""
        for first in (0, 21, 23, 255):
            listener = tls().listener(Role.LISTENER)
            self.assertRaises(HandshakeFailed, listener.receive, bytes((first,)))
        listener = tls().listener(Role.LISTENER)
        error = self.assertRaises(HandshakeFailed, listener.receive, b"\x16\x03\x03\x00\x08\x01\x00\x00\x04none")
        self.assertIn("TLS handshake failed", error.text)
        self.assertIsNotNone(listener.outgoing(), "the alert")

    def test_applicationData(self) -> None:
        """Data within the handshake is refused, on both sides."""
        for role in Role:
            exchange = Exchange(tls())
            speaker: Any = exchange.sides[role]
            speaker._connection.send(b"GET / HTTP/1.0")
            exchange.hear(Role(1 - role), speaker._connection.bio_read(1 << 16))
            error = exchange.errors[1 - role]
            assert error is not None
            self.assertIn("data within its handshake", error.text)

    def test_cutShort(self) -> None:
        """A connection that TLS closes before its end leaves nobody content."""
        handshakes = tls()
        starter, listener = handshakes.starter(Role.STARTER), handshakes.listener(Role.LISTENER)
        listener.receive(starter.outgoing() or b"")
        self.assertRaises(HandshakeFailed, listener.receive, b"\x15\x03\x03\x00\x02\x02\x28")
        self.assertFalse(listener.complete)
        self.assertIsNone(listener.peer_certificate)
