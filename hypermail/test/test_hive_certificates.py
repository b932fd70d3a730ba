"""
Tests for L{hypermail.hive.certificates} and L{hypermail.hive.renewal}: real files, real handshakes.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import (
    IHandshakeListener,
    IOpenSSLServerConnectionCreator,
    IProtocolNegotiationFactory,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import Certificate, CertificateOptions, optionsForClientTLS, trustRootFromCertificates
from twisted.internet.task import Clock
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer

import hypermail.hive.renewal
from hypermail.errors import CredentialError
from hypermail.hive.certificates import PERIOD, Certificates
from hypermail.security.identity import Identity, pin_of
from hypermail.test.certificates import (
    DAY,
    NOW,
    USABLE,
    authority,
    expired,
    issue,
    not_yet_valid,
    p256_key,
    pem,
    rsa_key,
    self_signed,
)
from hypermail.test.sessions import logged

real = cast(Any, reactor)


def of_hosts(*hosts: str, key: Any = None, end: datetime = NOW + DAY, begin: datetime = NOW - DAY) -> Identity:
    """An identity for several hosts, or none."""
    key = p256_key() if key is None else key
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "name.example")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, begin, end)
    if hosts:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts]), False)
    return Identity(key, builder.sign(key, hashes.SHA256()))


@implementer(IProtocolNegotiationFactory)
class Speaking(Factory):
    """Of a protocol."""

    protocol = Protocol

    def acceptableProtocols(self) -> list[bytes]:
        """See L{IProtocolNegotiationFactory}."""
        return [b"http/1.1"]


class Client:
    """A handshake in memory; what the client has seen."""

    def __init__(
        self,
        creator: Any,
        host: str | None = "example.org",
        protocols: tuple[bytes, ...] = (),
        most: int = SSL.TLS1_3_VERSION,
        served: Factory | None = None,
    ) -> None:
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_max_proto_version(most)
        context.set_min_proto_version(SSL.TLS1_VERSION)
        context.set_cipher_list(b"ALL:@SECLEVEL=0")
        if protocols:
            context.set_alpn_protos(list(protocols))
        self.connection = SSL.Connection(context, None)
        self.connection.set_connect_state()
        if host is not None:
            self.connection.set_tlsext_host_name(host.encode("latin-1"))
        served = Factory.forProtocol(Protocol) if served is None else served
        wrapper = TLSMemoryBIOFactory(creator, False, served, Clock())
        self.server = creator.serverConnectionForTLS(wrapper.buildProtocol(None))
        self.server.set_accept_state()
        for _ in range(4):
            for here, there in ((self.connection, self.server), (self.server, self.connection)):
                for move in (here.do_handshake, lambda a=here, b=there: b.bio_write(a.bio_read(1 << 16))):
                    try:
                        move()
                    except SSL.WantReadError:
                        pass

    @property
    def pin(self) -> str:
        """Of the certificate that was shown."""
        shown = self.connection.get_peer_certificate(as_cryptography=True)
        assert shown is not None
        return pin_of(shown)

    @property
    def shown(self) -> int:
        """How many certificates were."""
        return len(self.connection.get_peer_cert_chain() or ())

    def echo(self, data: bytes) -> bytes:
        """Send something; what the server has got."""
        self.connection.send(data)
        self.server.bio_write(self.connection.bio_read(1 << 16))
        received: bytes = self.server.recv(1 << 16)
        return received


class CertificateCase(SynchronousTestCase):
    """A default certificate and a directory of others."""

    def setUp(self) -> None:
        self.top = Path(self.mktemp())
        self.live = self.top / "live"
        self.live.mkdir(parents=True)
        self.clock = Clock()
        self.changed = 0
        self.default = self_signed("default.example")
        self.write_default(self.default)
        self.lines = logged(self)

    def write(self, path: Path, content: bytes, mode: int = 0o600) -> None:
        """Write a file in place."""
        path.write_bytes(content)
        path.chmod(mode)
        self.changed += 1
        os.utime(path, ns=(self.changed, self.changed))  # which the clock of a file system may be too coarse for

    def write_default(self, identity: Identity) -> None:
        """Write the default pair."""
        self.write(self.top / "cert.pem", pem(identity.certificate, *identity.chain), 0o644)
        self.write(self.top / "key.pem", pem(identity.key))

    def put(self, name: str, identity: Identity) -> None:
        """Write a file of the directory."""
        self.write(self.live / f"{name}.pem", identity.to_pem())

    def now(self) -> datetime:
        """The time."""
        return NOW + timedelta(seconds=self.clock.seconds())

    def certificates(self) -> Certificates:
        """That have not been read."""
        paths = [str(self.top / name) for name in ("cert.pem", "key.pem", "live")]
        return Certificates(self.clock, *paths, now=self.now)

    def loaded(self) -> Certificates:
        """That have, and are looked after."""
        made = self.certificates()
        made.load()
        made.start()
        self.addCleanup(made.stop)
        return made

    def said(self) -> list[str]:
        """What the log has got since the last time."""
        lines = list(self.lines)
        self.lines.clear()
        return lines

    def refused(self, name: str = "") -> str:
        """Why they cannot be loaded; a line, which names the file."""
        text: str = self.assertRaises(CredentialError, self.certificates().load).text
        self.assertIn(str(self.top / name), text)
        self.assertTrue(text.isprintable())
        return text

    def sees(self, made: Certificates, host: str | None, identity: Identity) -> None:
        """Who asks for a host sees this."""
        self.assertEqual(Client(made.contextFactory(), host).pin, identity.pin, host)


class NamingTests(CertificateCase):
    """Which certificate is shown."""

    def test_default(self) -> None:
        """Who names no host, or an unknown one, sees the default certificate, with those above it."""
        root = authority()
        middle = authority("in the middle", issuer=root)
        self.default = issue(middle, "default.example")
        self.write_default(self.default)
        made = self.loaded()
        for host in (None, "default.example", "unknown.example", "x", "a\xe9.example"):
            self.sees(made, host, self.default)
        self.assertEqual(Client(made.contextFactory(), None).shown, 2)
        self.assertEqual(self.said(), [])

    def test_one_file(self) -> None:
        """Certificate and key may be in one file, and there need be no directory of others."""
        here = Path("not-looked-at.pem")
        here.write_bytes(b"")
        self.addCleanup(here.unlink)
        self.write(self.top / "cert.pem", self.default.to_pem())
        made = Certificates(self.clock, str(self.top / "cert.pem"), str(self.top / "cert.pem"), now=self.now)
        made.load()
        self.sees(made, None, self.default)

    def test_hosts(self) -> None:
        """Hosts are those in the certificates, whatever files are called; exact ones come before stars."""
        wild, exact = of_hosts("*.Example.org", "example.org"), of_hosts("www.example.org", "OTHER.example")
        self.put("other.example", wild)
        self.put("b", exact)
        made = self.loaded()
        for host in ("a.example.org", "A.EXAMPLE.org", "example.org", "example.org."):
            self.sees(made, host, wild)
        for host in ("www.example.org", "other.example"):
            self.sees(made, host, exact)
        for unknown in ("a.b.example.org", "a.other.example", "name.example", "org", "b", None):
            self.sees(made, unknown, self.default)

    def test_several_for_one_host(self) -> None:
        """Of several certificates for a host that are valid, the one that is so the longest is shown."""
        longer, shorter = of_hosts("a.example", end=NOW + 3 * DAY), of_hosts("a.example")
        dead = expired(None, "a.example")
        early = of_hosts("a.example", begin=NOW + DAY, end=NOW + 9 * DAY)
        for order in ((longer, shorter, dead, early), (early, dead, shorter, longer)):
            for number, identity in enumerate(order):
                self.put(str(number), identity)
            self.sees(self.loaded(), "a.example", longer)
        self.write_default(first := of_hosts("a.example"))
        self.put("3", of_hosts("a.example"))
        self.sees(self.loaded(), "a.example", first)

    def test_directory(self) -> None:
        """A directory as certbot leaves it, with links; what is no certificate is passed over."""
        identity = self_signed("a.example")
        archive = self.top / "archive"
        archive.mkdir()
        self.write(archive / "fullchain1.pem", pem(identity.certificate), 0o644)
        self.write(archive / "privkey1.pem", pem(identity.key))
        (self.live / "a.example").mkdir()
        for name in ("fullchain", "privkey"):
            (self.live / "a.example" / f"{name}.pem").symlink_to(Path("..", "..", "archive", f"{name}1.pem"))
        (self.live / "README").write_text("This directory contains your keys and certificates.")
        (self.live / ".hidden.pem").write_text("")
        (self.live / "empty").mkdir()
        self.sees(self.loaded(), "a.example", identity)

    def test_keys(self) -> None:
        """All kinds of keys."""
        for kind, make in USABLE.items():
            if kind != "Ed448":  # which this OpenSSL's clients do not offer by themselves everywhere
                identity = self_signed(f"{kind[:2].lower()}.example", key=make())
                self.write_default(identity)
                self.sees(self.loaded(), None, identity)


class ConnectionTests(CertificateCase):
    """What else there is of TLS."""

    def test_interface(self) -> None:
        """Twisted takes it."""
        self.assertTrue(IOpenSSLServerConnectionCreator.providedBy(self.loaded().contextFactory()))

    def test_versions(self) -> None:
        """TLS 1.2 and 1.3, and no older one."""
        self.write_default(self_signed(key=rsa_key()))
        creator = self.loaded().contextFactory()
        for version, name in ((SSL.TLS1_2_VERSION, "TLSv1.2"), (SSL.TLS1_3_VERSION, "TLSv1.3")):
            self.assertEqual(Client(creator, most=version).connection.get_protocol_version_name(), name)
        self.assertRaises(SSL.Error, Client, creator, most=SSL.TLS1_1_VERSION)

    def test_protocols(self) -> None:
        """The queen's preference counts, also where another certificate was asked for; nothing in common ends it."""
        self.put("a", self_signed("a.example"))
        creator = self.loaded().contextFactory([b"h2", b"http/1.1"])
        for host in (None, "a.example"):
            for offered, chosen in (
                ((b"http/1.1", b"h2"), b"h2"),
                ((b"x", b"http/1.1"), b"http/1.1"),
                ((), b""),
            ):
                client = Client(creator, host, offered)
                self.assertEqual(client.connection.get_alpn_proto_negotiated(), chosen)
            self.assertRaises(SSL.Error, Client, creator, host, (b"x",))

    def test_shared(self) -> None:
        """What OpenSSL knows of a certificate is there once, not of each connection."""
        self.put("a", self_signed("a.example"))
        creator = self.loaded().contextFactory([b"h2"])
        for host in (None, "a.example"):
            first, second = (Client(creator, host).server.get_context() for _ in range(2))
            self.assertIs(first, second)

    def test_factory(self) -> None:
        """The factory behind TLS may say what it speaks; what was said before comes first."""
        self.put("a", self_signed("a.example"))
        made = self.loaded()
        for host in (None, "a.example"):
            for ours, chosen in (((), b"http/1.1"), ((b"h2",), b"h2")):
                client = Client(made.contextFactory(ours), host, (b"h2", b"http/1.1"), served=Speaking())
                self.assertEqual(client.connection.get_alpn_proto_negotiated(), chosen)

    def test_no_protocols(self) -> None:
        """Without protocols of hers it does not matter what is offered; both are there of one certificate."""
        made = self.loaded()
        for creator, chosen in ((made.contextFactory(), b""), (made.contextFactory([b"h2"]), b"h2")):
            client = Client(creator, None, (b"h2",))
            self.assertEqual(client.connection.get_alpn_proto_negotiated(), chosen)
            self.assertEqual(client.echo(b"a"), b"a")


class RefusalTests(CertificateCase):
    """What can't be used at the start."""

    def test_default(self) -> None:
        """The text names the file and says what is wrong."""
        other = p256_key()
        damaged = pem(self.default.certificate).replace(b"-----END", b"----END")
        for name, content, what in (
            ("key.pem", pem(other), "its key does not belong to its certificate"),
            ("key.pem", b"", "there is no private key in it"),
            ("cert.pem", b"", "cert.pem' cannot be used: there is no certificate in it"),
            ("cert.pem", damaged, "the PEM is damaged: line 1"),
            ("cert.pem", b"x" * ((1 << 20) + 1), "more than 1,048,576 bytes"),
            ("key.pem", b"x" * ((1 << 20) + 1), "more than 1,048,576 bytes"),
        ):
            self.write_default(self.default)
            self.write(self.top / name, content)
            self.assertIn(what, self.refused(name))

    def test_missing(self) -> None:
        """A file that is not there."""
        for name in ("key.pem", "cert.pem"):
            self.write_default(self.default)
            (self.top / name).unlink()
            self.assertIn("there is no such file; name a PEM file with", self.refused(name))

    def test_mode(self) -> None:
        """A key that others can read is refused, as identities are; a certificate may be read by all."""
        (self.top / "key.pem").chmod(0o640)
        self.assertIn("chmod 600", self.refused("key.pem"))
        self.write_default(self.default)
        self.write(self.live / "a.pem", self_signed("a.example").to_pem(), 0o644)
        self.assertIn("chmod 600", self.refused("live/a.pem"))

    def test_directory(self) -> None:
        """One that can't be used in the directory, or none, is an error, too."""
        for content, what in (
            (b"", "there is no private key in it"),
            (of_hosts().to_pem(), "it is for no host name"),
            (pem(p256_key(), self.default.certificate), "its key does not belong to its certificate"),
        ):
            self.write(self.live / "a.pem", content)
            self.assertIn(what, self.refused("live/a.pem"))
        (self.live / "a.pem").unlink()
        (self.live / "b").mkdir()
        self.write(self.live / "b" / "privkey.pem", pem(p256_key()))
        self.refused("live/b/fullchain.pem")
        (self.live / "b" / "privkey.pem").unlink()
        (self.live / "b").rmdir()
        self.live.rmdir()
        self.assertIn("No such file or directory", self.refused("live"))

    def test_weak(self) -> None:
        """What OpenSSL does not take is an error at the start, not of each handshake."""

        def getContext(options: Any) -> None:
            raise SSL.Error([("SSL routines", "", "ca md too weak")])

        self.patch(CertificateOptions, "getContext", getContext)
        self.assertIn("OpenSSL does not take this identity: ca md too weak", self.refused("cert.pem"))

    def test_too_many(self) -> None:
        """There is a limit."""
        self.assertEqual(hypermail.hive.renewal.MOST, 1_000)
        self.patch(hypermail.hive.renewal, "MOST", 2)
        for name in "ab":
            self.put(name, self.default)
        self.loaded()
        (self.live / "c").mkdir()
        self.put("c/fullchain", self.default)
        self.assertIn("there are more than 2", self.refused("live"))

    def test_not_valid(self) -> None:
        """One that has expired, or is not valid yet, is shown, with a warning."""
        path = str(self.top / "cert.pem")
        for identity, what in (
            (expired(), f"the certificate {path!r} has expired at 2026-07-01 11:59:00 UTC: renew it"),
            (
                not_yet_valid(),
                f"the certificate {path!r} is not valid before 2026-07-02 12:00:00 UTC: is the clock right?",
            ),
        ):
            self.write_default(identity)
            self.sees(self.loaded(), None, identity)
            self.assertEqual(self.said(), [what])


class RenewalTests(CertificateCase):
    """What happens when files change."""

    def test_look(self) -> None:
        """New certificates are shown after a look, to connections that come; others go on."""
        before = self_signed("a.example")
        self.put("a", before)
        made = self.loaded()
        creator = made.contextFactory([b"h2"])
        running = Client(creator, "a.example")
        after, default = self_signed("a.example"), self_signed("default.example")
        self.put("a", after)
        self.write_default(default)
        self.clock.advance(PERIOD - 1)
        self.sees(made, "a.example", before)
        self.clock.advance(1)
        self.sees(made, "a.example", after)
        self.sees(made, None, default)
        self.assertEqual(Client(creator, "a.example").pin, after.pin)
        self.assertEqual(running.echo(b"still there"), b"still there")
        new = "the certificate {!r} is new: for {}, until 2027-07-01 12:00:00 UTC"
        paths = str(self.top / "cert.pem"), str(self.live / "a.pem")
        self.assertEqual(self.said(), [new.format(paths[0], "default.example"), new.format(paths[1], "a.example")])
        self.clock.pump([PERIOD] * 3)
        self.assertEqual(self.said(), [])

    def test_listing(self) -> None:
        """What is added to the directory is found, and what is taken away is forgotten."""
        made = self.loaded()
        added = self_signed("a.example")
        self.put("a", added)
        self.sees(made, "a.example", self.default)
        self.clock.advance(PERIOD)
        self.sees(made, "a.example", added)
        (self.live / "a.pem").unlink()
        self.clock.advance(PERIOD)
        self.sees(made, "a.example", self.default)
        self.assertEqual(len(self.said()), 1)

    def test_stop(self) -> None:
        """Nobody looks after a stop; a second one is harmless."""
        made = self.loaded()
        made.stop()
        made.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_broken(self) -> None:
        """What can't be used replaces nothing, and is said once; then what can."""
        path, key = self.top / "cert.pem", self.top / "key.pem"
        renewed = self_signed("default.example")
        made = self.loaded()
        self.write(path, pem(renewed.certificate)[:100], 0o644)
        self.clock.pump([PERIOD] * 2)
        [line] = self.said()
        self.assertIn(f"{str(path)!r} cannot be used: the PEM is damaged", line)
        self.assertTrue(line.endswith("; the one before goes on"), line)
        self.write(path, pem(renewed.certificate), 0o644)
        self.clock.pump([PERIOD] * 2)
        [line] = self.said()
        self.assertIn(f"with the key {str(key)!r}, its key does not belong to its certificate", line)
        self.sees(made, None, self.default)
        self.write(key, pem(renewed.key), 0o644)
        self.clock.pump([PERIOD] * 2)
        self.assertEqual(len(self.said()), 1)
        key.chmod(0o600)
        self.clock.advance(PERIOD)
        self.sees(made, None, renewed)
        self.assertIn("is new", *self.said())

    def test_never_good(self) -> None:
        """A new one in the directory that can't be used is said so, and hosts see the default one until it can."""
        made = self.loaded()
        self.write(self.live / "a.pem", b"")
        self.clock.pump([PERIOD] * 2)
        [line] = self.said()
        self.assertTrue(line.endswith("an identity is a PEM with a key and its certificate"), line)
        self.sees(made, "a.example", self.default)
        self.put("a", good := self_signed("a.example"))
        self.clock.advance(PERIOD)
        self.sees(made, "a.example", good)

    def test_certbot(self) -> None:
        """certbot takes its links away, one after the other, and makes new ones: a look in between changes nothing."""
        first, second = self_signed("a.example"), self_signed("a.example")
        live = self.live / "a.example"
        live.mkdir()
        archive = self.top.resolve() / "archive"
        archive.mkdir()
        for number, identity in enumerate((first, second), 1):
            self.write(archive / f"fullchain{number}.pem", pem(identity.certificate), 0o644)
            self.write(archive / f"privkey{number}.pem", pem(identity.key))
        for name in ("privkey.pem", "fullchain.pem"):
            (live / name).symlink_to(archive / name.replace(".", "1."))
        made = self.loaded()
        for name in ("privkey.pem", "fullchain.pem"):
            (live / name).unlink()
            self.clock.advance(PERIOD)
            self.sees(made, "a.example", first)
            (live / name).symlink_to(archive / name.replace(".", "2."))
            if name == "privkey.pem":
                self.clock.advance(PERIOD)
                self.sees(made, "a.example", first)
        self.clock.advance(PERIOD)
        self.sees(made, "a.example", second)

    def test_again(self) -> None:
        """What could not be used is tried at each look, even if it looks the same: the reason may be another's."""
        made = self.loaded()
        renewed = self_signed("default.example")
        self.patch(hypermail.hive.renewal, "_status", lambda path: 1)
        (self.top / "key.pem").rename(self.top / "away.pem")
        self.clock.advance(PERIOD)
        self.write_default(renewed)
        self.clock.advance(PERIOD)
        self.sees(made, None, renewed)

    def test_back(self) -> None:
        """What is put back as it was is no news."""
        made = self.loaded()
        self.write(self.top / "cert.pem", b"", 0o644)
        self.clock.advance(PERIOD)
        self.write_default(self.default)
        self.clock.advance(PERIOD)
        self.assertEqual(len(self.said()), 1)
        self.sees(made, None, self.default)

    def test_expired_replaces_nothing(self) -> None:
        """One that is not valid yet waits; one that has expired does so for ever."""
        made = self.loaded()
        self.write_default(expired())
        self.clock.pump([PERIOD] * 2)
        [line] = self.said()
        self.assertTrue(line.endswith("renew it; the one before goes on"), line)
        self.sees(made, None, self.default)
        self.write_default(early := not_yet_valid())
        self.clock.advance(PERIOD)
        self.sees(made, None, self.default)
        self.clock.advance(DAY.total_seconds())
        self.sees(made, None, early)

    def test_expires(self) -> None:
        """One that expires meanwhile is said to have, once."""
        self.write_default(self_signed(not_after=NOW + timedelta(seconds=1)))
        self.loaded()
        self.clock.pump([PERIOD] * 3)
        [line] = self.said()
        self.assertTrue(line.endswith("has expired at 2026-07-01 12:00:01 UTC: renew it"), line)

    def test_directory_gone(self) -> None:
        """A directory that can't be read any more takes nothing away, and is said so once."""
        self.put("a", known := self_signed("a.example"))
        made = self.loaded()
        self.live.rename(self.top / "away")
        self.clock.pump([PERIOD] * 2)
        first, second = self.said()
        self.assertIn("No such file or directory; those that were there go on", first)
        self.assertIn("a.pem", second)
        self.sees(made, "a.example", known)
        (self.top / "away").rename(self.live)
        self.clock.advance(PERIOD)
        self.live.rename(self.top / "away")
        self.clock.advance(PERIOD)
        self.assertEqual(len(self.said()), 2)

    def test_reload(self) -> None:
        """A reload reads what looks the same, too, at once, and says again what is wrong."""
        path = self.top / "cert.pem"
        self.patch(hypermail.hive.renewal, "_status", lambda path: 1)
        made = self.loaded()
        renewed = self_signed("default.example", key=self.default.key, not_after=NOW + 7 * DAY)
        content = pem(renewed.certificate)
        self.write(path, content, 0o644)
        self.clock.advance(PERIOD)
        self.assertEqual(self.said(), [])
        made.reload()
        self.assertEqual(len(self.said()), 1)
        self.write(path, b"", 0o644)
        for _ in range(2):
            made.reload()
            self.assertEqual(len(self.said()), 1)
            self.clock.advance(PERIOD)
            self.assertEqual(self.said(), [])

    def test_reload_directory(self) -> None:
        """Also that the directory can't be read."""
        made = self.loaded()
        self.live.rmdir()
        for _ in range(2):
            made.reload()
            self.assertEqual(len(self.said()), 1)

    def test_unchanged(self) -> None:
        """A look reads nothing that has not changed; a reload parses nothing that is the same."""
        self.put("a", self_signed("a.example"))
        made = self.loaded()
        files = hypermail.hive.renewal

        def never(*arguments: Any) -> Any:
            raise AssertionError

        self.patch(Identity, "from_pem", never)
        made.reload()
        self.patch(files, "readPair", never)
        self.clock.advance(PERIOD)

    def test_named(self) -> None:
        """Ten hosts are enough for a line."""
        made = self.loaded()
        self.put("a", of_hosts(*(f"h{number}.example" for number in range(20))))
        self.put("b", self_signed("b.example"))
        self.write_default(of_hosts())
        made.reload()
        lines = self.said()
        self.assertIn("for no host,", lines[0])
        self.assertIn("h9.example,", lines[1])
        self.assertNotIn("h10", lines[1])


@implementer(IHandshakeListener)
class Shaking(Protocol):
    """Waits for its handshake, and closes then."""

    def __init__(self) -> None:
        self.done: Deferred[bytes] = Deferred()
        self.lost: Deferred[None] = Deferred()

    def handshakeCompleted(self) -> None:
        """See L{IHandshakeListener}."""
        transport: Any = self.transport
        self.done.callback(transport.negotiatedProtocol)
        transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See L{Protocol}."""
        self.lost.callback(None)


class SocketTests(CertificateCase, TestCase):
    """Twisted's own TLS over it."""

    def now(self) -> datetime:
        """The clients of this test look at the clock, as they do everywhere."""
        return datetime.now(UTC)

    async def test_handshake(self) -> None:
        """A client that checks names is content with each host's certificate, and gets its protocol."""
        root = authority(now=self.now())
        for name in ("a.example", "b.example"):
            self.put(name, issue(root, name, now=self.now()))
        context = self.loaded().contextFactory([b"http/1.1"])
        port = real.listenSSL(0, Factory.forProtocol(Protocol), context, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        trusted = trustRootFromCertificates([Certificate.loadPEM(root.to_pem())])
        for name in ("a.example", "b.example"):
            options = optionsForClientTLS(name, trustRoot=trusted, acceptableProtocols=[b"h2", b"http/1.1"])
            plain = TCP4ClientEndpoint(real, "127.0.0.1", port.getHost().port)
            protocol: Any = await wrapClientTLS(options, plain).connect(Factory.forProtocol(Shaking))
            self.assertEqual(await protocol.done, b"http/1.1")
            await protocol.lost
