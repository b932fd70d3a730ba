"""
Tests of L{hypermail.internet.cred}.
"""

from __future__ import annotations

from typing import Any

from twisted.cred.checkers import ANONYMOUS, AllowAnonymousAccess, ICredentialsChecker
from twisted.cred.credentials import ICredentials
from twisted.cred.error import LoginDenied, UnauthorizedLogin
from twisted.cred.portal import IRealm, Portal
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from hypermail.errors import HypermailError, Reason, SessionClosed, SessionKilled, SessionRejected, UsageError
from hypermail.interfaces import ISessionFactory, ISessionProtocol
from hypermail.internet.cred import CertificateCredentials, ICertificateCredentials, PinChecker, PortalSessionFactory
from hypermail.internet.endpoints import SessionClientEndpoint, SessionServerEndpoint
from hypermail.internet.security import ListenerTLS, StarterTLS
from hypermail.security.identity import Identity
from hypermail.test.sessions import CLIENT, Hosts, RecordingFactory, RecordingProtocol, errorOf, identityOf, logged
from hypermail.testing import Conditions

LISTENER, ALICE, BOB = identityOf("listener"), identityOf("alice"), identityOf("bob")


@implementer(IRealm)
class Realm:
    """
    Remembers who logs in and out.

    @ivar answer: in place of an avatar, called with one.
    """

    def __init__(self) -> None:
        self.logins: list[object] = []
        self.logouts: list[object] = []
        self.asked: list[tuple[object, ...]] = []
        self.avatars: list[Any] = []
        self.make: Any = RecordingProtocol
        self.answer: Any = lambda found: found
        self.leave: Any = lambda: None

    def requestAvatar(self, avatarId: object, mind: object, *interfaces: object) -> Any:
        self.logins.append(avatarId)
        self.asked.append((mind, *interfaces))
        avatar = self.make()
        self.avatars.append(avatar)

        def logout() -> Any:
            self.logouts.append(avatarId)
            return self.leave()

        return self.answer((interfaces[0], avatar, logout))


class CheckerTests(SynchronousTestCase):
    """
    L{PinChecker} and L{CertificateCredentials}
    """

    def ask(self, checker: PinChecker, identity: Identity) -> Deferred[Any]:
        return checker.requestAvatarId(CertificateCredentials(identity.certificate))

    def test_credentials(self) -> None:
        """Credentials are a certificate and its pin."""
        credentials = CertificateCredentials(ALICE.certificate)
        verifyObject(ICertificateCredentials, credentials)
        self.assertTrue(ICredentials.providedBy(credentials))
        self.assertEqual((credentials.certificate, credentials.pin), (ALICE.certificate, ALICE.pin))

    def test_mapping(self) -> None:
        """A mapping names the avatar of each pin, however the pin is written."""
        checker = PinChecker({f" {ALICE.pin.replace('/', '//', 1)}\n": b"alice"})
        verifyObject(ICredentialsChecker, checker)
        self.assertEqual(self.successResultOf(self.ask(checker, ALICE)), b"alice")
        self.assertIn(BOB.pin, str(self.failureResultOf(self.ask(checker, BOB), UnauthorizedLogin).value))

    def test_pins(self) -> None:
        """Of pins alone each is the name of its avatar."""
        checker = PinChecker(iter([ALICE.pin]))
        self.assertEqual(self.successResultOf(self.ask(checker, ALICE)), ALICE.pin.encode())
        self.failureResultOf(self.ask(checker, BOB), UnauthorizedLogin)

    def test_noPin(self) -> None:
        """What is no pin is said at once."""
        self.assertRaises(UsageError, PinChecker, ["alice"])
        self.assertRaises(UsageError, PinChecker, {"alice": b"alice"})


class PortalTests(SynchronousTestCase):
    """
    L{PortalSessionFactory}, in the simulated network
    """

    def setUp(self) -> None:
        self.hosts = Hosts(Conditions(delay=0.05))
        self.addCleanup(self.hosts.end)
        self.realm = Realm()
        self.portal = Portal(self.realm, [PinChecker({ALICE.pin: b"alice"})])
        self.lines = logged(self)

    def listen(self) -> None:
        factory: Any = PortalSessionFactory(self.portal, "a mind")
        factory.noisy = False
        verifyObject(ISessionFactory, factory)
        self.hosts.listening = factory
        self.hosts.listen(security=ListenerTLS(LISTENER))

    def ask(self, identity: Identity | None = None) -> Deferred[Any]:
        return self.hosts.ask(security=StarterTLS(pin=LISTENER.pin, identity=identity))

    def rejected(self, identity: Identity | None = None, *texts: str, code: int = Reason.NOT_ALLOWED) -> None:
        asking = self.ask(identity)
        self.hosts.settle()
        error = self.failureResultOf(asking, SessionRejected).value
        self.assertEqual(error.code, code)
        for text in texts:
            self.assertIn(text, error.text)

    def test_avatar(self) -> None:
        """The avatar is the session's protocol, with its session, and is logged out when it was told of the end."""
        self.listen()
        ours = self.hosts.run(self.ask(ALICE))
        (avatar,) = self.realm.avatars
        self.assertEqual((self.realm.logins, self.realm.asked), ([b"alice"], [("a mind", ISessionProtocol)]))
        self.assertEqual(avatar.calls, ["sessionOpened"])
        self.assertEqual(avatar.session.peerCertificate(), ALICE.certificate)
        self.hosts.run(ours.session.sendMessage(b"hello"))
        ours.session.sendDatagram(b"now")
        self.hosts.settle()
        self.assertEqual((avatar.messages, avatar.datagrams), ([b"hello"], [b"now"]))
        stream, _ = self.hosts.stream(ours.session, avatar)
        stream.transport.loseConnection()
        self.assertEqual(self.realm.logouts, [])
        self.hosts.run(ours.session.close())
        self.hosts.settle()
        self.assertEqual(avatar.calls, ["sessionOpened", "streamOpened", "sessionLost"])
        self.assertIsInstance(errorOf(avatar), SessionClosed)
        self.assertEqual(self.realm.logouts, [b"alice"])

    def test_stranger(self) -> None:
        """Who is not known is rejected with a text that names its pin, and not logged in."""
        self.listen()
        self.rejected(BOB, "does not let in", BOB.pin)
        self.assertEqual(self.realm.logins, [])
        (line,) = (line for line in self.lines if f"from {CLIENT}" in line)
        self.assertIn(
            f"rejected: this listener does not let in the starter's certificate, whose pin is {BOB.pin}", line
        )

    def test_nobody(self) -> None:
        """Who shows no certificate is rejected where no checker takes the anonymous."""
        self.listen()
        self.rejected(None, "show a certificate", "none was shown")
        self.assertEqual(self.realm.logins, [])

    def test_anonymous(self) -> None:
        """Where one does, the anonymous have an avatar, too."""
        self.portal.registerChecker(AllowAnonymousAccess())
        self.listen()
        self.hosts.run(self.ask())
        self.assertEqual(self.realm.logins, [ANONYMOUS])

    def test_denied(self) -> None:
        """A realm that denies the login rejects the session."""

        def deny(_: object) -> Any:
            raise LoginDenied("too many")

        self.realm.answer = deny
        self.listen()
        self.rejected(ALICE, ALICE.pin)
        self.assertEqual(self.realm.logouts, [])

    def test_ownWords(self) -> None:
        """A realm may say more to the starter in an error of hypermail's."""

        def deny(_: object) -> Any:
            raise SessionRejected("come back on Monday", 4_711)

        self.realm.answer = deny
        self.listen()
        self.rejected(ALICE, "Monday", code=4_711)

    def test_broken(self) -> None:
        """A realm that fails is logged, and rejects; the starter learns no more than that."""

        def fail(_: object) -> Any:
            raise KeyError("secrets")

        self.realm.answer = fail
        self.listen()
        self.rejected(ALICE, "KeyError", code=Reason.SESSION_REJECTED)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)

    def test_later(self) -> None:
        """A login may take its time; who has given up meanwhile is logged out again."""
        waiting: list[tuple[Deferred[Any], Any]] = []

        def wait(found: Any) -> Any:
            waiting.append((Deferred(), found))
            return waiting[-1][0]

        self.realm.answer = wait
        self.listen()
        patient, hasty = self.ask(ALICE), self.ask(ALICE)
        self.hosts.settle()
        hasty.cancel()
        self.hosts.settle()
        self.failureResultOf(hasty)
        for deferred, found in waiting:
            deferred.callback(found)
        self.hosts.settle()
        self.successResultOf(patient)
        self.assertEqual(self.realm.logouts, [b"alice"])
        self.assertEqual(sorted(avatar.calls for avatar in self.realm.avatars), [[], ["sessionOpened"]])

    def test_tooLate(self) -> None:
        """Of a login that fails when nobody waits for it any more only what is unexpected is logged."""
        waiting: list[Deferred[Any]] = []

        def wait(_: object) -> Any:
            waiting.append(Deferred())
            return waiting[-1]

        self.realm.answer = wait
        self.listen()
        for error in (UnauthorizedLogin(), KeyError()):
            asking = self.ask(ALICE)
            self.hosts.settle()
            asking.cancel()
            self.hosts.settle()
            self.failureResultOf(asking)
            waiting.pop().errback(error)
        self.assertEqual(len(self.flushLoggedErrors()), 1)

    def test_neverOpened(self) -> None:
        """A starter that goes while it is being let in: the avatar is told, and logged out."""

        def leave(found: Any) -> Any:
            port: Any = self.hosts.port
            (session,) = port.ports[0].protocol.pump.sessions.values()
            session.connection.abort(0, "gone", now=self.hosts.network.now)
            return found

        self.realm.answer = leave
        self.listen()
        asking = self.ask(ALICE)
        self.hosts.settle()
        self.failureResultOf(asking, HypermailError)
        (avatar,) = self.realm.avatars
        self.assertEqual((avatar.calls, self.realm.logouts), (["sessionLost"], [b"alice"]))

    def test_failingAvatar(self) -> None:
        """An avatar whose end fails is logged out all the same, once that is known; both failures are logged."""
        ending: Deferred[None] = Deferred()

        class Failing(RecordingProtocol):
            def sessionLost(self, reason: object) -> Any:
                return ending

        def leave() -> None:
            raise ZeroDivisionError()

        self.realm.make, self.realm.leave = Failing, leave
        self.listen()
        ours = self.hosts.run(self.ask(ALICE))
        ours.session.abort()
        self.hosts.settle()
        self.assertEqual(self.realm.logouts, [])
        ending.errback(KeyError())
        self.assertEqual(self.realm.logouts, [b"alice"])
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_stopped(self) -> None:
        """A listener that stops logs everybody out."""
        self.listen()
        ours = self.hosts.run(self.ask(ALICE))
        assert self.hosts.port is not None
        self.hosts.port.stopListening()
        self.hosts.settle()
        self.assertIsInstance(errorOf(ours), SessionKilled)
        self.assertEqual(self.realm.logouts, [b"alice"])

    def test_shown(self) -> None:
        """In the log an avatar is shown as itself."""
        self.realm.make = lambda: Loud()
        self.listen()
        asking = self.ask(ALICE)
        self.hosts.settle()
        self.failureResultOf(asking, SessionKilled)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
        self.assertTrue(any("A callback of Loud has failed" in line for line in self.lines), self.lines)


class Loud(RecordingProtocol):
    """Fails."""

    def __repr__(self) -> str:
        return "Loud"

    def sessionOpened(self) -> None:
        raise KeyError()


class RealTests(TestCase):
    """
    Over real sockets
    """

    timeout = 30

    async def test_portal(self) -> None:
        """A portal lets in whom it knows, and nobody else."""
        realm = Realm()
        portal = Portal(realm, [PinChecker({ALICE.pin: b"alice", BOB.pin: b"bob"})])
        factory = PortalSessionFactory(portal)
        factory.noisy = False
        listening = SessionServerEndpoint(reactor, 0, interface="127.0.0.1", security=ListenerTLS(LISTENER))
        port: Any = await listening.listen(factory)
        self.addCleanup(port.stopListening)

        async def connect(identity: Identity | None) -> Any:
            security = StarterTLS(pin=LISTENER.pin, identity=identity)
            endpoint = SessionClientEndpoint(reactor, "127.0.0.1", port.getHost().port, security=security)
            return await endpoint.connect(RecordingFactory())

        for identity, name in ((ALICE, b"alice"), (BOB, b"bob")):
            ours = await connect(identity)
            await ours.session.sendMessage(name)
            await ours.session.close()
        for unknown in (identityOf("carol"), None):
            with self.assertRaises(SessionRejected):
                await connect(unknown)
        self.assertEqual([avatar.messages for avatar in realm.avatars], [[b"alice"], [b"bob"]])
        self.assertEqual((realm.logins, realm.logouts), ([b"alice", b"bob"], [b"alice", b"bob"]))
