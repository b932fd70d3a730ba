"""
Tests of L{hypermail.internet.security}: the modes, who may come, and what can't be given together.
"""

from __future__ import annotations

import os
from functools import partial
from typing import Any

from twisted.internet import reactor, ssl
from twisted.trial.unittest import SynchronousTestCase, TestCase

from hypermail.errors import (
    HandshakeFailed,
    HandshakeRefused,
    PeerUntrusted,
    Reason,
    SessionRejected,
    SessionReset,
    UsageError,
    VersionMismatch,
)
from hypermail.events import SessionRequested
from hypermail.internet import security as room
from hypermail.internet.datagrams import HypermailDatagramProtocol
from hypermail.internet.endpoints import (
    HypermailClientEndpoint,
    HypermailServerEndpoint,
    SessionClientEndpoint,
    SessionServerEndpoint,
)
from hypermail.internet.security import ListenerTLS, Plain, Security, SharedSecret, StarterTLS
from hypermail.options import Mode
from hypermail.security.identity import Identity
from hypermail.test import certificates
from hypermail.test.securing import AUTHORITY, DELAY, NAME, NOW, SELF_MADE, STARTER, STRANGER, SecuredTestCase
from hypermail.test.sessions import PORT, SERVER, RecordingFactory, RecordingProtocol, errorOf, ipv6, logged
from hypermail.testing import Conditions

LISTENING = ListenerTLS(SELF_MADE)
PINNED = StarterTLS(pin=SELF_MADE.pin)
SECRET = SharedSecret(b"between the two of us " * 2)
PLAIN = Plain(allowRemote=True)

#: For each mode what a listener and a starter give that understand each other.
MODES: dict[Mode, tuple[Security, Security]] = {
    Mode.TLS: (LISTENING, PINNED),
    Mode.SECRET: (SECRET, SharedSecret(SECRET.secret)),
    Mode.PLAIN: (PLAIN, PLAIN),
}


class ModeTests(SecuredTestCase):
    """
    Sessions in each mode, and between two of them
    """

    def test_each(self) -> None:
        """Sessions of each mode open, and carry messages; they say what mode it is when they listen."""
        for mode, (listening, starting) in MODES.items():
            lines = logged(self)
            self.assertEqual((listening.mode, starting.mode), (mode, mode))
            self.opened(listening, starting)
            self.assertTrue(any(f"in mode {mode.name.lower()}" in line for line in lines), lines)

    def test_pinIsLogged(self) -> None:
        """A listener with an identity writes its pin into the log when it begins to listen: starters need it."""
        lines = logged(self)
        self.listen(LISTENING)
        (line,) = (line for line in lines if line.startswith("listening on"))
        self.assertIn(SELF_MADE.pin, line)

    def test_restart(self) -> None:
        """
        A starter learns at once that the listener was started again, where that has a secret of its own; otherwise,
        as from somebody else, only when it has heard nothing for long.
        """
        again = ListenerTLS(Identity.from_pem(SELF_MADE.to_pem()))
        for first, second, starting, reset in (
            (LISTENING, again, PINNED, True),
            (SECRET, SharedSecret(SECRET.secret), SECRET, True),
            (LISTENING, ListenerTLS(STRANGER), PINNED, False),
            (PLAIN, PLAIN, PLAIN, False),
        ):
            hosts = self.listen(first)
            ours: Any = hosts.run(hosts.ask(NAME, security=starting))
            hosts.network.set_conditions(Conditions(loss=1.0), source=SERVER)
            assert hosts.port is not None
            hosts.port.stopListening()
            hosts.settle(0.1)
            hosts.network.set_conditions(Conditions(delay=DELAY), source=SERVER)
            hosts.listen(security=second)
            ours.session.sendMessage(b"are you still there?").addErrback(lambda _: None)
            hosts.settle(1.0)
            self.assertEqual(isinstance(ours.reason and errorOf(ours), SessionReset), reset)
            ours.session.abort()  # it would look for its listener for a day

    def test_certificates(self) -> None:
        """Only TLS has certificates."""
        for mode, (listening, starting) in MODES.items():
            ours, theirs = self.opened(listening, starting)
            shown = SELF_MADE.certificate if mode is Mode.TLS else None
            self.assertEqual((ours.session.peerCertificate(), theirs.session.peerCertificate()), (shown, None))

    def test_sessionID(self) -> None:
        """A session has an id as soon as it has keys, the same on both sides, and new for each."""
        seen = set()
        for listening, starting in MODES.values():
            hosts = self.listen(listening)
            ids: list[bytes] = []
            port: Any = hosts.port

            def decide(request: object, port: Any = port, ids: list[bytes] = ids) -> None:
                (session,) = port.ports[0].protocol.pump.sessions.values()
                ids.append(session.sessionID)

            hosts.listening.decide = decide
            early: Any = HypermailDatagramProtocol(security=starting, randomBytes=hosts.randomBytes)
            socket = hosts.client.listenUDP(0, early)
            session = early.startSession((SERVER, PORT), RecordingProtocol(), host=NAME)
            self.assertEqual(session.sessionID, b"")
            hosts.settle()
            self.assertEqual(ids, [session.sessionID])
            self.assertEqual(len(session.sessionID), 16)
            seen.add(session.sessionID)
            socket.stopListening()
        self.assertEqual(len(seen), len(MODES))

    def test_otherMode(self) -> None:
        """Two that speak different modes never have a session, whichever they are; the starter is told at once."""
        for there, (listening, _) in MODES.items():
            for here, (_, starting) in MODES.items():
                if here is not there:
                    text = f"the listener speaks hypermail/1 in mode {there.name.lower()}"
                    self.failed(VersionMismatch, listening, starting, text, roundTrips=1)

    def test_otherSecret(self) -> None:
        """Two secrets: the starter finds out; the listener's log tells of it."""
        lines = logged(self)
        self.failed(HandshakeFailed, SECRET, SharedSecret(b"?" * 32), "another shared secret", roundTrips=1)
        self.assertTrue(any("handshake with" in line and "another shared secret" in line for line in lines), lines)

    def test_sameSecret(self) -> None:
        """The same secret gives each session keys of its own."""
        hosts = self.listen(SECRET)
        opened: list[Any] = [hosts.run(hosts.ask(security=SECRET)) for _ in range(2)]
        self.assertEqual(len({protocol.session.sessionID for protocol in opened}), 2)


class DefaultTests(SynchronousTestCase):
    """
    What holds when nothing is said
    """

    def test_starter(self) -> None:
        """Sessions and streams are asked for with TLS and the system's authorities."""
        for endpoint in (SessionClientEndpoint(None, NAME, 1), HypermailClientEndpoint(None, NAME, 1)._sessions):
            security = endpoint._settings.security
            self.assertEqual(security, StarterTLS())
            self.assertEqual((security.mode, security.allowRemote), (Mode.TLS, True))

    def test_listener(self) -> None:
        """A listener has to say how it is secured; so has a socket."""
        for make in (SessionServerEndpoint, HypermailServerEndpoint):
            error = self.assertRaises(UsageError, make, None, 1)
            self.assertIn("needs its security", error.text)
        self.assertRaises(TypeError, HypermailDatagramProtocol)

    def test_plain(self) -> None:
        """Mode plain stays on this machine; the others may leave it."""
        self.assertFalse(Plain().allowRemote)
        for security in (LISTENING, PINNED, SECRET, PLAIN):
            self.assertTrue(security.allowRemote)

    def test_whoIsWho(self) -> None:
        """What is for one side is refused by the other, with the name of what it needs."""
        error = self.assertRaises(UsageError, SessionServerEndpoint, None, 1, security=PINNED)
        self.assertIn("ListenerTLS", error.text)
        error = self.assertRaises(UsageError, SessionClientEndpoint, None, NAME, 1, security=LISTENING)
        self.assertIn("StarterTLS", error.text)
        sessions = HypermailDatagramProtocol(security=LISTENING)
        self.assertRaises(UsageError, sessions.startSession, ("127.0.0.1", 1), RecordingProtocol())

    def test_stateless(self) -> None:
        """What has a secret of its own gives the same tokens after a restart, and nothing else does."""
        again = Identity.from_pem(SELF_MADE.to_pem())
        self.assertEqual(LISTENING.stateless, ListenerTLS(again).stateless)
        self.assertEqual(SECRET.stateless, SharedSecret(SECRET.secret).stateless)
        found = {LISTENING.stateless, ListenerTLS(STRANGER).stateless, SECRET.stateless}
        self.assertEqual([len(each or b"") for each in found], [32, 32, 32])
        own = certificates.self_signed(now=NOW)
        self.assertEqual({PLAIN.stateless, PINNED.stateless, ListenerTLS(contextFactory=own).stateless}, {None})

    def test_admit(self) -> None:
        """Whoever has the secret, or is on this machine, is not asked for a certificate."""
        request = SessionRequested(way=0, address=None)  # type: ignore[arg-type]
        for security in (SECRET, PLAIN, PINNED, LISTENING):
            security.admit(request)


class ContextsTests(SynchronousTestCase):
    """
    What one L{StarterTLS} keeps
    """

    def test_kept(self) -> None:
        """A host's context is made once, and no more of them are kept than there is room for."""
        made: list[str] = []

        def make(host: str, *rest: object) -> object:
            made.append(host)
            return object()

        self.patch(room, "starterContext", make)
        starting = StarterTLS(pin=SELF_MADE.pin)
        hosts = [f"host{number}.example" for number in range(room.MOST_CONTEXTS)]
        for host in hosts * 2:
            starting.starting(host, os.urandom)
        self.assertEqual(made, hosts)
        starting.starting("one.more.example", os.urandom)
        starting.starting(hosts[0], os.urandom)
        self.assertEqual(made[len(hosts) :], ["one.more.example", hosts[0]])


class UsageTests(SynchronousTestCase):
    """
    What can't be given
    """

    def test_together(self) -> None:
        """What doesn't fit together."""
        roots, context = [AUTHORITY.certificate], ssl.optionsForClientTLS(NAME)
        for make in (
            lambda: StarterTLS(pin=SELF_MADE.pin, trustRoots=roots),
            lambda: StarterTLS(contextFactory=context, pin=SELF_MADE.pin),
            lambda: StarterTLS(contextFactory=context, trustRoots=roots),
            lambda: StarterTLS(contextFactory=context, identity=STARTER),
            lambda: ListenerTLS(),
            lambda: ListenerTLS(SELF_MADE, contextFactory=context),
            lambda: ListenerTLS(contextFactory=context, trustRoots=roots),
        ):
            self.assertRaises(UsageError, make)

    def test_kinds(self) -> None:
        """Files in place of what is in them: the text names what reads them."""
        for reader, make in (
            ("readIdentity", lambda: ListenerTLS("identity.pem")),  # type: ignore[arg-type]
            ("readIdentity", lambda: StarterTLS(identity="identity.pem")),  # type: ignore[arg-type]
            ("readTrustRoots", lambda: StarterTLS(trustRoots="ca.pem")),  # type: ignore[arg-type]
            ("readTrustRoots", lambda: ListenerTLS(SELF_MADE, trustRoots="ca.pem")),  # type: ignore[arg-type]
            ("readPins", lambda: ListenerTLS(SELF_MADE, allow=SELF_MADE.pin)),
            ("readSecret", lambda: SharedSecret("s" * 32)),  # type: ignore[arg-type]
        ):
            self.assertIn(reader, self.assertRaises(UsageError, make).text)

    def test_keysAreNotShown(self) -> None:
        """What was passed by mistake may be a key: the text doesn't repeat it."""
        key = SELF_MADE.to_pem()
        for make in (lambda: ListenerTLS(key), lambda: StarterTLS(trustRoots=[key])):  # type: ignore[arg-type,list-item]
            self.assertNotIn("PRIVATE", self.assertRaises(UsageError, make).text)

    def test_pins(self) -> None:
        """A pin is read when it is given, and what is none is refused."""
        self.assertEqual(StarterTLS(pin=f" {SELF_MADE.pin}\n"), PINNED)
        allowed = ListenerTLS(SELF_MADE, allow=(each for each in (STRANGER.pin, STARTER.pin)))
        self.assertEqual(allowed.allow, {STRANGER.pin, STARTER.pin})
        self.assertRaises(UsageError, StarterTLS, pin="sha256/")
        self.assertRaises(UsageError, ListenerTLS, SELF_MADE, allow=["sha256/"])

    def test_secret(self) -> None:
        """A secret that is too short to be one; no secret is ever shown."""
        self.assertIn("32", self.assertRaises(UsageError, SharedSecret, b"s" * 31).text)
        self.assertNotIn("between", repr(SECRET))

    def test_equal(self) -> None:
        """Equal settings are equal, and can be keys; which contexts were made already plays no part."""
        made = StarterTLS(pin=SELF_MADE.pin, identity=STARTER)
        made.starting(NAME, os.urandom)
        same = StarterTLS(pin=SELF_MADE.pin, identity=STARTER)
        others = {
            PINNED,
            StarterTLS(),
            StarterTLS(trustRoots=[AUTHORITY.certificate]),
            SECRET,
            PLAIN,
            Plain(),
            LISTENING,
        }
        self.assertEqual((made, hash(made)), (same, hash(same)))
        self.assertEqual(len({made, same, *others}), 8)


class AllowTests(SecuredTestCase):
    """
    C{allow}: who may come
    """

    def rejected(self, listening: ListenerTLS, shown: Identity | None) -> SessionRejected:
        hosts = self.listen(listening)
        asking = hosts.ask(NAME, security=StarterTLS(pin=SELF_MADE.pin, identity=shown))
        hosts.settle(4 * DELAY + 0.01)
        error: SessionRejected = self.failureResultOf(asking, SessionRejected).value
        self.assertEqual(error.code, Reason.NOT_ALLOWED)
        self.assertEqual((hosts.listening.requests, hosts.listening.built), ([], []))
        return error

    def test_allowed(self) -> None:
        """Who is named may come, and the application is asked, too."""
        listening = ListenerTLS(SELF_MADE, allow=[STRANGER.pin, STARTER.pin])
        for shown in (STRANGER, STARTER):
            self.opened(listening, StarterTLS(pin=SELF_MADE.pin, identity=shown))
            (request,) = self.hosts.listening.requests
            self.assertEqual(request.certificate, shown.certificate)

    def test_stranger(self) -> None:
        """Who is not is rejected, without asking the application; both sides read what would let it in."""
        lines = logged(self)
        error = self.rejected(ListenerTLS(SELF_MADE, allow=[STRANGER.pin]), STARTER)
        self.assertIn(f"--allow {STARTER.pin}", error.text)
        (line,) = (line for line in lines if "from 10.0.0.2" in line)
        self.assertIn(f"--allow {STARTER.pin}", line)

    def test_nobody(self) -> None:
        """Who shows no certificate is told to."""
        error = self.rejected(ListenerTLS(SELF_MADE, allow=[STRANGER.pin]), None)
        self.assertIn("--identity", error.text)

    def test_noneAllowed(self) -> None:
        """An empty list lets nobody in."""
        self.rejected(ListenerTLS(SELF_MADE, allow=[]), STARTER)

    def test_application(self) -> None:
        """An application decides for itself by the certificate, and may give each its own protocol."""
        own = RecordingProtocol()

        async def decide(request: SessionRequested) -> RecordingProtocol | None:
            return own if request.certificate == STARTER.certificate else None

        hosts = self.listen(LISTENING)
        hosts.listening.decide = decide
        for shown in (STARTER, STRANGER):
            ours: Any = hosts.run(hosts.ask(NAME, security=StarterTLS(pin=SELF_MADE.pin, identity=shown)))
            hosts.run(ours.session.sendMessage(b"hello"))
        self.assertEqual((own.calls, own.messages), (["sessionOpened"], [b"hello"]))
        self.assertEqual(own.session.peerCertificate(), STARTER.certificate)
        self.assertEqual([built.messages for built in hosts.listening.built], [[b"hello"]])

    def test_strangeAnswers(self) -> None:
        """An answer that is neither None nor a protocol lets nobody in, and the log says what it was."""
        for answer in (False, 0, "no", object(), RecordingFactory()):
            lines = logged(self)
            hosts = self.listen(LISTENING)
            hosts.listening.decide = partial(_answer, answer)
            asking = hosts.ask(NAME, security=StarterTLS(pin=SELF_MADE.pin))
            hosts.settle(1)
            self.failureResultOf(asking, SessionRejected)
            self.assertEqual(hosts.listening.built, [])
            self.assertTrue([line for line in lines if repr(answer)[:20] in line and "neither None" in line])


def _answer(answer: Any, request: SessionRequested) -> Any:
    return answer


class RealTests(TestCase):
    """
    Over real sockets
    """

    timeout = 30
    skip = None if ipv6() else "this machine has no IPv6"

    async def listen(self, security: Security, **settings: Any) -> int:
        self.factory = RecordingFactory()
        port: Any = await SessionServerEndpoint(reactor, 0, security=security, **settings).listen(self.factory)
        self.addCleanup(port.stopListening)
        number: int = port.getHost().port
        return number

    async def opened(self, port: int, security: Security, host: str = "127.0.0.1") -> None:
        endpoint = SessionClientEndpoint(reactor, host, port, security=security)
        ours: Any = await endpoint.connect(RecordingFactory())
        content = os.urandom(300_000)
        await ours.session.sendMessage(content)
        theirs = self.factory.built[-1]
        await theirs.session.sendMessage(content)
        self.assertEqual((theirs.messages, ours.messages), ([content], [content]))
        self.assertEqual(ours.session.sessionID, theirs.session.sessionID)
        await ours.session.close()

    async def failed(self, kind: type[Exception], port: int, security: Security, host: str = "127.0.0.1") -> Any:
        with self.assertRaises(kind) as caught:
            await self.opened(port, security, host)
        return caught.exception

    async def test_pin(self) -> None:
        """TLS by pin, over both families; any other trust fails."""
        port = await self.listen(LISTENING)
        for host in ("127.0.0.1", "::1", "localhost"):
            await self.opened(port, PINNED, host)
        error = await self.failed(PeerUntrusted, port, StarterTLS())
        self.assertEqual(error.pin, SELF_MADE.pin)
        self.assertIn("self-signed", error.text)
        await self.failed(PeerUntrusted, port, StarterTLS(pin=STRANGER.pin))
        await self.failed(VersionMismatch, port, SECRET)

    async def test_authority(self) -> None:
        """An authority of one's own, and the name or address that its certificate is for."""
        roots = StarterTLS(trustRoots=[AUTHORITY.certificate])
        port = await self.listen(ListenerTLS(certificates.issue(AUTHORITY, "localhost", now=NOW)))
        await self.opened(port, roots, "localhost")
        self.assertIn("not for the name", (await self.failed(PeerUntrusted, port, roots)).text)
        for address in ("127.0.0.1", "::1"):
            port = await self.listen(ListenerTLS(certificates.issue(AUTHORITY, address, now=NOW)), interface=address)
            await self.opened(port, roots, address)
        port = await self.listen(ListenerTLS(certificates.expired(AUTHORITY, "127.0.0.1", now=NOW)))
        self.assertIn("has expired", (await self.failed(PeerUntrusted, port, roots)).text)

    async def test_starters(self) -> None:
        """A listener that demands certificates, and one that knows its starters."""
        shown = StarterTLS(pin=SELF_MADE.pin, identity=STARTER)
        port = await self.listen(ListenerTLS(SELF_MADE, trustRoots=[AUTHORITY.certificate]))
        await self.opened(port, shown)
        self.assertEqual(self.factory.requests[0].certificate, STARTER.certificate)
        self.assertIn("demands", (await self.failed(HandshakeRefused, port, PINNED)).text)
        port = await self.listen(ListenerTLS(SELF_MADE, allow=[STRANGER.pin]))
        self.assertIn(STARTER.pin, (await self.failed(SessionRejected, port, shown)).text)

    async def test_secret(self) -> None:
        """A shared secret, and another one."""
        port = await self.listen(SECRET)
        await self.opened(port, SECRET)
        await self.failed(HandshakeFailed, port, SharedSecret(b"?" * 32))
        await self.failed(VersionMismatch, port, PINNED)
        await self.failed(VersionMismatch, port, Plain())

    async def test_plain(self) -> None:
        """Mode plain is not fallen back to, nor from."""
        port = await self.listen(Plain())
        await self.opened(port, Plain())
        for security in (PINNED, StarterTLS(), SECRET):
            await self.failed(VersionMismatch, port, security)
