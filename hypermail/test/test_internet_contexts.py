"""
Tests of L{hypermail.internet.contexts}: whose certificate is trusted, and what is said of one that is not.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL
from twisted.internet import ssl
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from hypermail.errors import CredentialError, HandshakeFailed, HandshakeRefused, PeerUntrusted, UsageError
from hypermail.internet import contexts
from hypermail.internet.endpoints import SessionClientEndpoint, SessionServerEndpoint
from hypermail.internet.security import ListenerTLS, StarterTLS
from hypermail.options import Role
from hypermail.security.identity import Identity
from hypermail.security.tls import CIPHERS, TlsHandshake
from hypermail.test import certificates
from hypermail.test.securing import (
    AUTHORITY,
    FOREIGN_NAME,
    FOREIGN_NAME_IN_DNS,
    ISSUED,
    NAME,
    NOW,
    SELF_MADE,
    STARTER,
    STRANGER,
    SecuredTestCase,
)
from hypermail.test.sessions import SERVER, logged

LISTENING = ListenerTLS(SELF_MADE)
PINNED = StarterTLS(pin=SELF_MADE.pin)
ROOTED = StarterTLS(trustRoots=[AUTHORITY.certificate])


class ListenerTests(SecuredTestCase):
    """
    Whom a starter trusts
    """

    def test_pin(self) -> None:
        """A pin is trusted whatever else the certificate says, by any name and address."""
        for listener in (SELF_MADE, ISSUED, certificates.expired(now=NOW), certificates.not_yet_valid(now=NOW)):
            for host in (NAME, SERVER):
                ours, _ = self.opened(ListenerTLS(listener), StarterTLS(pin=listener.pin), host)
                self.assertEqual(ours.session.peerCertificate(), listener.certificate)

    def test_keys(self) -> None:
        """All kinds of keys that TLS 1.3 knows."""
        for kind, make in certificates.USABLE.items():
            with self.subTest(kind):
                identity = certificates.self_signed(now=NOW, key=make())
                self.opened(ListenerTLS(identity), StarterTLS(pin=identity.pin))

    def test_wrongPin(self) -> None:
        """Any other key is not trusted; both pins are told."""
        error = self.failed(PeerUntrusted, LISTENING, StarterTLS(pin=ISSUED.pin), NAME, ISSUED.pin, SELF_MADE.pin)
        self.assertEqual(error.pin, SELF_MADE.pin)

    def test_systemRoots(self) -> None:
        """Without more the system's authorities count, and to them a self-made identity is nobody's."""
        error = self.failed(PeerUntrusted, LISTENING, StarterTLS(), "self-signed", NAME, SELF_MADE.pin)
        self.assertEqual(error.pin, SELF_MADE.pin)

    def test_systemRootsTrusted(self) -> None:
        """What one of the system's authorities has issued is trusted."""
        roots = Path(self.mktemp())
        roots.write_bytes(AUTHORITY.to_pem())
        before = os.environ.get("SSL_CERT_FILE")
        os.environ["SSL_CERT_FILE"] = str(roots)
        try:
            security = StarterTLS()
            self.opened(ListenerTLS(ISSUED), security)
        finally:
            del os.environ["SSL_CERT_FILE"]
            if before is not None:
                os.environ["SSL_CERT_FILE"] = before
        self.opened(ListenerTLS(ISSUED), security)  # what was trusted once is not read again
        self.failed(PeerUntrusted, ListenerTLS(ISSUED), StarterTLS(), "an authority that is not trusted here")

    def test_trustRoots(self) -> None:
        """Authorities of one's own, also with an intermediate one between."""
        between = certificates.authority("between", NOW, issuer=AUTHORITY)
        for listener in (ISSUED, certificates.issue(between, NAME, now=NOW)):
            ours, _ = self.opened(ListenerTLS(listener), ROOTED)
            self.assertEqual(ours.session.peerCertificate(), listener.certificate)

    def test_otherAuthority(self) -> None:
        """They take the place of the system's: what others have issued is not trusted."""
        other = certificates.issue(certificates.authority(now=NOW), NAME, now=NOW)
        error = self.failed(PeerUntrusted, ListenerTLS(other), ROOTED, NAME, other.pin)
        self.assertEqual(error.pin, other.pin)

    def test_name(self) -> None:
        """The certificate has to be for the name or the address that was asked for."""
        address = certificates.issue(AUTHORITY, SERVER, now=NOW)
        self.opened(ListenerTLS(address), ROOTED, SERVER)
        self.failed(PeerUntrusted, ListenerTLS(address), ROOTED, "not for the name", SERVER)
        self.failed(PeerUntrusted, ListenerTLS(ISSUED), ROOTED, "not for the name", host=SERVER)
        other = certificates.issue(AUTHORITY, "other.example", now=NOW)
        error = self.failed(PeerUntrusted, ListenerTLS(other), ROOTED, "not for the name", "'other.example'", other.pin)
        self.assertEqual(error.pin, other.pin)

    def test_foreignName(self) -> None:
        """A name in letters of its own is that which DNS has of it."""
        foreign = certificates.issue(AUTHORITY, FOREIGN_NAME_IN_DNS, now=NOW)
        self.opened(ListenerTLS(foreign), ROOTED, FOREIGN_NAME)
        self.opened(ListenerTLS(foreign), StarterTLS(pin=foreign.pin), FOREIGN_NAME)
        self.failed(PeerUntrusted, ListenerTLS(ISSUED), ROOTED, "not for the name", host=FOREIGN_NAME)

    def test_nameless(self) -> None:
        """A certificate without any name that could be checked is for nobody."""
        nameless = certificates.issue(AUTHORITY, "no name", now=NOW)
        for host in (NAME, SERVER):
            self.failed(PeerUntrusted, ListenerTLS(nameless), ROOTED, "not for the name", host=host)

    def test_time(self) -> None:
        """A certificate has its time."""
        self.failed(PeerUntrusted, ListenerTLS(certificates.expired(AUTHORITY, NAME, now=NOW)), ROOTED, "has expired")
        early = certificates.not_yet_valid(AUTHORITY, NAME, now=NOW)
        self.failed(PeerUntrusted, ListenerTLS(early), ROOTED, "not valid yet")

    def test_purpose(self) -> None:
        """... and its purpose."""
        client = certificates.issue(AUTHORITY, NAME, now=NOW, client=True)
        self.failed(PeerUntrusted, ListenerTLS(client), ROOTED, "not for this purpose")

    def test_refusedIsLogged(self) -> None:
        """The listener's operator reads that a starter has not trusted it."""
        lines = logged(self)
        self.failed(PeerUntrusted, LISTENING, ROOTED)
        (line,) = (line for line in lines if line.startswith("the handshake with"))
        self.assertIn("does not trust this side's certificate", line)

    def test_noName(self) -> None:
        """What no certificate can be for is said before anything is sent."""
        for host in ("", "a..b", "a b", "x" * 64):
            error = self.assertRaises(UsageError, SessionClientEndpoint, None, host, 1)
            self.assertIn(repr(host), error.text)
        self.assertRaises(UsageError, SessionClientEndpoint, None, "x" * 64, 1, security=PINNED)

    def test_indication(self) -> None:
        """A listener may be told the name that was asked for (SNI); of an address nothing is told."""
        options = certificateOptions(SELF_MADE, acceptableProtocols=PROTOCOLS)
        names: list[object] = []
        options.getContext().set_tlsext_servername_callback(
            lambda connection: names.append(connection.get_servername())
        )
        for starting, host in ((PINNED, NAME), (PINNED, SERVER), (ROOTED, NAME)):
            hosts = self.listen(ListenerTLS(contextFactory=options))
            hosts.ask(host, security=starting).addErrback(lambda failure: failure.trap(PeerUntrusted))
            hosts.settle()
        self.assertEqual([name for name in names if name is not None], [NAME.encode(), NAME.encode()])


class StarterTests(SecuredTestCase):
    """
    Whom a listener trusts
    """

    def test_nobodyShown(self) -> None:
        """A starter need not show anything."""
        _, theirs = self.opened(LISTENING, PINNED)
        (request,) = self.hosts.listening.requests
        self.assertEqual((request.certificate, theirs.session.peerCertificate()), (None, None))

    def test_shown(self) -> None:
        """What it shows reaches the application, before and after the session opens, whoever has issued it."""
        for shown in (STARTER, STRANGER, certificates.expired(now=NOW), ISSUED):
            _, theirs = self.opened(LISTENING, StarterTLS(pin=SELF_MADE.pin, identity=shown))
            (request,) = self.hosts.listening.requests
            self.assertEqual(request.certificate, shown.certificate)
            self.assertEqual(theirs.session.peerCertificate(), shown.certificate)

    def test_trustRoots(self) -> None:
        """A listener with authorities takes only those that they have vouched for."""
        listening = ListenerTLS(SELF_MADE, trustRoots=[AUTHORITY.certificate])
        between = certificates.authority("between", NOW, issuer=AUTHORITY)
        for shown in (STARTER, certificates.issue(between, "starter", now=NOW, client=True)):
            _, theirs = self.opened(listening, StarterTLS(pin=SELF_MADE.pin, identity=shown))
            self.assertEqual(theirs.session.peerCertificate(), shown.certificate)

    def refused(self, shown: Identity | None, text: str, said: str) -> None:
        """A listener with authorities refuses, tells the starter the one, and logs the other."""
        lines = logged(self)
        listening = ListenerTLS(SELF_MADE, trustRoots=[AUTHORITY.certificate])
        starting = StarterTLS(pin=SELF_MADE.pin, identity=shown)
        self.failed(HandshakeRefused, listening, starting, "the listener broke off", text)
        (line,) = (line for line in lines if line.startswith("the handshake with"))
        self.assertIn(said, line)
        self.assertIn("" if shown is None else shown.pin, line)

    def test_missing(self) -> None:
        """Who shows nothing is told so."""
        self.refused(None, "it demands a certificate of this side", "has shown no certificate")

    def test_untrusted(self) -> None:
        """Who shows what nobody vouches for is told so; the listener's log has its pin."""
        self.refused(STRANGER, "it does not trust this side's certificate", "self-signed")

    def test_expired(self) -> None:
        """Certificates of starters have their time, too."""
        start, end = NOW - 9 * certificates.DAY, NOW - certificates.DAY
        shown = certificates.issue(AUTHORITY, "starter", now=NOW, client=True, not_before=start, not_after=end)
        self.refused(shown, "this side's certificate has expired", "it has expired")

    def test_purpose(self) -> None:
        """A listener's certificate is not a starter's."""
        self.refused(ISSUED, "not for this purpose", "not for this purpose")

    def test_evilName(self) -> None:
        """What a stranger writes into its certificate is quoted."""
        shown = certificates.self_signed("evil\x1b[31m\n2026-01-01T00:00:00+0000", now=NOW, client=True)
        lines = logged(self)
        self.refused(shown, "it does not trust this side's certificate", r"evil\x1b[31m\n2026")
        self.assertEqual([line for line in lines if not line.isprintable()], [])


PROTOCOLS = [b"hypermail/1"]


def certificateOptions(identity: Identity, **options: Any) -> Any:
    """Twisted's own context factory."""
    shown: dict[str, Any] = {"privateKey": identity.key, "certificate": identity.certificate}
    return ssl.CertificateOptions(**shown, **options)


def optionsForClient(name: str = NAME, authority: certificates.Authority = AUTHORITY, **options: Any) -> Any:
    """Twisted's own context factory for clients."""
    root = ssl.Certificate.loadPEM(authority.certificate.public_bytes(Encoding.PEM))
    return ssl.optionsForClientTLS(name, trustRoot=ssl.trustRootFromCertificates([root]), **options)


@implementer(IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator)
class Broken:
    """A factory that makes nothing."""

    def clientConnectionForTLS(self, protocol: object) -> Any:
        raise ValueError("\x1b broken")

    serverConnectionForTLS = clientConnectionForTLS


class SuiteTests(SynchronousTestCase):
    """
    What contexts of ours offer, and keep
    """

    def suite(self, starting: bytes, listening: bytes) -> str:
        """The suite that is agreed on when each side may use only these."""
        self.patch(contexts, "_SUITES", starting)
        starter = TlsHandshake(Role.STARTER, contexts.starterContext(NAME, SELF_MADE.pin, None, None))
        self.patch(contexts, "_SUITES", listening)
        listener = TlsHandshake(Role.LISTENER, contexts.listenerContext(SELF_MADE, None))
        listener.receive(starter.outgoing() or b"")
        assert listener._connection is not None
        context = listener._connection.get_context()
        self.assertEqual(context.get_session_cache_mode(), SSL.SESS_CACHE_OFF, "nothing is kept")
        return str(listener._connection.get_cipher_name())

    def test_onlyOurs(self) -> None:
        """A starter with a pin offers, and a listener takes, the suites that hypermail has ciphers for, no others."""
        every = b":".join(name.encode() for name in CIPHERS)
        self.assertEqual(contexts._SUITES, every)
        for name in CIPHERS:
            self.assertEqual(self.suite(name.encode(), every), name)
            self.assertEqual(self.suite(every, name.encode()), name)


class OwnFactoryTests(SecuredTestCase):
    """
    Context factories of the application's own
    """

    def listening(self, **options: Any) -> ListenerTLS:
        return ListenerTLS(contextFactory=certificateOptions(ISSUED, **options))

    def starting(self, name: str = NAME, authority: certificates.Authority = AUTHORITY, **options: Any) -> StarterTLS:
        return StarterTLS(contextFactory=optionsForClient(name, authority, **options))

    def test_both(self) -> None:
        """Twisted's own will do on either side, or on both, with the name of the protocol."""
        own = self.listening(acceptableProtocols=PROTOCOLS), self.starting(acceptableProtocols=PROTOCOLS)
        for listening in (own[0], ListenerTLS(ISSUED)):
            for starting in (own[1], ROOTED):
                ours, _ = self.opened(listening, starting)
                self.assertEqual(ours.session.peerCertificate(), ISSUED.certificate)

    def test_demanded(self) -> None:
        """One that demands certificates."""
        root = ssl.Certificate.loadPEM(AUTHORITY.to_pem())
        trust = ssl.trustRootFromCertificates([root])
        listening = self.listening(acceptableProtocols=PROTOCOLS, trustRoot=trust)
        pin = ISSUED.pin
        _, theirs = self.opened(listening, StarterTLS(pin=pin, identity=STARTER))
        self.assertEqual(theirs.session.peerCertificate(), STARTER.certificate)
        self.failed(HandshakeRefused, listening, StarterTLS(pin=pin), "it demands a certificate")
        self.failed(HandshakeRefused, listening, StarterTLS(pin=pin, identity=STRANGER), "does not trust")

    def test_name(self) -> None:
        """A starter's checks the name that it was made for."""
        starting = self.starting("other.example", acceptableProtocols=PROTOCOLS)
        self.failed(PeerUntrusted, ListenerTLS(ISSUED), starting, "not for the name")

    def test_untrusted(self) -> None:
        """... and the authority."""
        starting = self.starting(authority=certificates.authority(now=NOW), acceptableProtocols=PROTOCOLS)
        hosts = self.listen(ListenerTLS(ISSUED))
        asking = hosts.ask(NAME, security=starting)
        hosts.settle()
        self.failureResultOf(asking, HandshakeFailed)

    def broken(self, listening: ListenerTLS, starting: StarterTLS, *texts: str) -> None:
        """Both sides learn at once that they don't fit, and one of them why."""
        lines = logged(self)
        hosts = self.listen(listening)
        asking = hosts.ask(NAME, security=starting)
        hosts.settle(0.3)
        error = self.failureResultOf(asking, HandshakeFailed).value
        (line,) = (line for line in lines if line.startswith("the handshake with"))
        for text in texts:
            self.assertIn(text, f"{error.text} {line}")
        self.assertEqual(hosts.listening.requests, [])

    def test_otherProtocol(self) -> None:
        """Factories that don't name hypermail's protocol (ALPN), or another one."""
        right = self.listening(acceptableProtocols=PROTOCOLS), self.starting(acceptableProtocols=PROTOCOLS)
        others: list[dict[str, Any]] = [{}, {"acceptableProtocols": [b"h2"]}]
        for options in others:
            for starting in (right[1], ROOTED):
                self.broken(self.listening(**options), starting)
            for listening in (right[0], ListenerTLS(ISSUED)):
                self.broken(listening, self.starting(**options))
        self.broken(self.listening(), self.starting(), "hypermail/1", "acceptableProtocols")
        self.broken(ListenerTLS(ISSUED), self.starting(), "hypermail/1", "acceptableProtocols")

    def test_oldVersion(self) -> None:
        """Factories that stop at TLS 1.2."""
        old = {"acceptableProtocols": PROTOCOLS, "lowerMaximumSecurityTo": ssl.TLSVersion.TLSv1_2}
        self.broken(self.listening(**old), ROOTED, "protocol version")
        extra = {"lowerMaximumSecurityTo": ssl.TLSVersion.TLSv1_2}
        starting = self.starting(acceptableProtocols=PROTOCOLS, extraCertificateOptions=extra)
        self.broken(ListenerTLS(ISSUED), starting, "protocol version")

    def test_bothOld(self) -> None:
        """When both agree on TLS 1.2 there is no session either; the listener's log says why."""
        lines = logged(self)
        old = {"lowerMaximumSecurityTo": ssl.TLSVersion.TLSv1_2}
        hosts = self.listen(self.listening(acceptableProtocols=PROTOCOLS, **old))
        asking = hosts.ask(NAME, security=self.starting(acceptableProtocols=PROTOCOLS, extraCertificateOptions=old))
        hosts.settle(20)
        self.failureResultOf(asking)
        self.assertEqual(hosts.listening.requests, [])
        self.assertTrue(any("TLSv1.2" in line and "raiseMinimumTo" in line for line in lines), lines)

    def test_fails(self) -> None:
        """One that raises fails the handshake, and nothing else: neither socket nor log is left in disorder."""
        hosts = self.listen(LISTENING)
        asking = hosts.ask(security=StarterTLS(contextFactory=Broken()))
        hosts.settle(0)
        error = self.failureResultOf(asking, HandshakeFailed).value
        self.assertIn(r"contextFactory has failed: ValueError('\x1b broken')", error.text)
        self.assertEqual(hosts.client.getDelayedCalls(), [])
        lines = logged(self)
        hosts = self.listen(ListenerTLS(contextFactory=Broken()))
        asking = hosts.ask(security=PINNED)
        hosts.settle(20)
        self.failureResultOf(asking)
        self.assertEqual(len([line for line in lines if r"has failed: ValueError('\x1b broken')" in line]), 1)

    def test_none(self) -> None:
        """What makes no connections is no factory."""
        error = self.assertRaises(UsageError, StarterTLS, contextFactory=ssl.ClientContextFactory())
        self.assertIn("IOpenSSLClientConnectionCreator", error.text)
        listening = ListenerTLS(contextFactory=object())
        error = self.assertRaises(UsageError, listening.listening, os.urandom)
        self.assertIn("IOpenSSLServerConnectionCreator", error.text)

    def test_unusable(self) -> None:
        """What OpenSSL does not take is said with its reason, before anything listens or asks."""
        wrong = certificates.self_signed(now=NOW)
        object.__setattr__(wrong, "key", certificates.p256_key())  # which Identity itself would notice
        for starting in (StarterTLS(pin=wrong.pin, identity=wrong), StarterTLS(identity=wrong)):
            error = self.assertRaises(CredentialError, SessionClientEndpoint, None, NAME, 1, security=starting)
            self.assertIn("OpenSSL does not take this identity: key values mismatch", error.text)
        error = self.assertRaises(CredentialError, SessionServerEndpoint, None, 1, security=ListenerTLS(wrong))
        self.assertIn("key values mismatch", error.text)
