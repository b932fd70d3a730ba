"""
Tests for L{hypermail.security.identity}.
"""

from __future__ import annotations

import base64
import ipaddress
from datetime import timedelta
from hashlib import sha256

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL, crypto
from twisted.trial.unittest import SynchronousTestCase

from hypermail.errors import CredentialError, UsageError
from hypermail.security.identity import Identity, kind_of, parse_pin, pin_of, read_certificates
from hypermail.test.certificates import (
    DAY,
    NOW,
    USABLE,
    YEAR,
    authority,
    certificate_of,
    encrypted_pem,
    expired,
    issue,
    not_yet_valid,
    p256_key,
    pem,
    rsa_key,
    rsa_pss_certificate,
    self_signed,
)


def handshake(server: Identity) -> str | None:
    """The version of TLS that a client and a server with this identity agree on, through memory."""

    def connection(identity: Identity | None) -> SSL.Connection:
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_min_proto_version(SSL.TLS1_3_VERSION)
        if identity is not None:
            context.use_certificate(crypto.X509.from_cryptography(identity.certificate))
            context.use_privatekey(crypto.PKey.from_cryptography_key(identity.key))
        return SSL.Connection(context, None)

    client, listener = connection(None), connection(server)
    client.set_connect_state()
    listener.set_accept_state()
    for _ in range(4):
        for here, there in ((client, listener), (listener, client)):
            try:
                here.do_handshake()
            except SSL.WantReadError:
                pass
            try:
                there.bio_write(here.bio_read(1 << 16))
            except SSL.WantReadError:
                pass
    version: str = client.get_protocol_version_name()
    return version if client.get_peer_certificate() else None


class PemTests(SynchronousTestCase):
    """L{Identity.from_pem} and C{to_pem}."""

    def refusal(self, data: bytes) -> str:
        """Why there is no identity in some data; one line."""
        text: str = self.assertRaises(CredentialError, Identity.from_pem, data).text
        self.assertNotIn("\n", text)
        return text

    def test_roundTrip(self) -> None:
        """What was written is read as the same identity, with the same key; the key comes first, unencrypted PKCS8."""
        identity = issue(authority(issuer=authority()), "example.org")
        self.assertEqual(len(identity.chain), 1)
        data = identity.to_pem()
        self.assertTrue(data.startswith(b"-----BEGIN PRIVATE KEY-----\n"))
        again = Identity.from_pem(data)
        self.assertEqual(again, identity)
        self.assertEqual(again.chain, identity.chain)
        self.assertEqual(again.to_pem(), data)

    def test_everyKey(self) -> None:
        """Each kind of key that is taken is one that OpenSSL opens a session of TLS 1.3 with."""
        for kind, make in USABLE.items():
            key = make()
            identity = Identity.from_pem(pem(key, certificate_of(key)))
            self.assertEqual(kind_of(identity.key), kind)
            self.assertEqual(handshake(identity), "TLSv1.3", kind)

    def test_order(self) -> None:
        """Key and certificates come in any order: the identity's is that of the key, the others keep their order."""
        root = authority("root")
        middle = authority("middle", issuer=root)
        leaf = issue(middle, "example.org")
        expected = Identity(leaf.key, leaf.certificate, (root.certificate, middle.certificate))
        for parts in (
            (leaf.key, leaf.certificate, root.certificate, middle.certificate),
            (root.certificate, leaf.certificate, leaf.key, middle.certificate),
            (root.certificate, middle.certificate, leaf.certificate, leaf.key),
        ):
            self.assertEqual(Identity.from_pem(pem(*parts)), expected)

    def test_twice(self) -> None:
        """A certificate that is there twice is sent once."""
        root = authority()
        leaf = issue(root, "example.org")
        data = pem(leaf.certificate, leaf.key, root.certificate, leaf.certificate, root.certificate)
        self.assertEqual(Identity.from_pem(data).chain, (root.certificate,))

    def test_renewed(self) -> None:
        """Of two certificates for one key the first is the identity's."""
        key = p256_key()
        new, old = certificate_of(key), certificate_of(key)
        self.assertEqual(Identity.from_pem(pem(new, old, key)), Identity(key, new, (old,)))

    def test_surroundings(self) -> None:
        """Text and blocks that belong to neither, and a Windows machine's line ends, do no harm."""
        identity = self_signed()
        data = pem(identity.key, identity.certificate)
        around = b"Bag Attributes\n    friendlyName: me\n" + data.replace(
            b"-----BEGIN CERT",
            b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n\n-----BEGIN CERT",
        )
        for variant in (around, data.replace(b"\n", b"\r\n"), data.rstrip(b"\n")):
            self.assertEqual(Identity.from_pem(variant), identity)

    def test_forms(self) -> None:
        """OpenSSL's older form of a key is read as well, and gives the same stateless key."""
        for key in (p256_key(), rsa_key()):
            identity = Identity(key, certificate_of(key))
            old = Identity.from_pem(pem(key, identity.certificate, form=PrivateFormat.TraditionalOpenSSL))
            self.assertEqual(old, identity)
            self.assertEqual(old.stateless_key(), identity.stateless_key())

    def test_missing(self) -> None:
        """Without a key, or without a certificate, there is no identity."""
        identity = self_signed()
        for data in (b"", b"\0\xff", b"hello\n", pem(identity.certificate)):
            self.assertIn("no private key", self.refusal(data))
        self.assertIn("no certificate", self.refusal(pem(identity.key)))

    def test_severalKeys(self) -> None:
        """Of several keys nobody knows which is meant."""
        identity = self_signed()
        text = self.refusal(pem(identity.key, p256_key(), identity.certificate))
        self.assertIn("2 private keys", text)

    def test_encrypted(self) -> None:
        """An encrypted key, in the new and in the old form, is called so."""
        identity = self_signed()
        old = pem(identity.key, password=b"secret", form=PrivateFormat.TraditionalOpenSSL)
        for data in (encrypted_pem(identity), old + pem(identity.certificate)):
            self.assertIn("encrypted", self.refusal(data))

    def test_mismatch(self) -> None:
        """A key that belongs to no certificate of the file is refused, of its kind or of another."""
        identity = self_signed()
        for key in (p256_key(), USABLE["Ed25519"](), rsa_key()):
            self.assertIn("does not belong to its certificate", self.refusal(pem(key, identity.certificate)))
        others = pem(p256_key(), identity.certificate, authority().certificate)
        self.assertIn("does not belong to any of its 2 certificates", self.refusal(others))

    def test_unusable(self) -> None:
        """Keys that TLS 1.3 cannot use are refused, with what it can use."""
        certificate = self_signed().certificate
        for key, kind in (
            (rsa_key(1024), "RSA 1024"),
            (ec.generate_private_key(ec.SECP256K1()), "EC secp256k1"),
            (x25519.X25519PrivateKey.generate(), "X25519"),
        ):
            text = self.refusal(pem(key, certificate))
            self.assertIn(f"its key is {kind};", text)
            self.assertIn("RSA with 2048 bits", text)

    def test_pss(self) -> None:
        """A certificate for RSA-PSS only, which OpenSSL would not take with the key as we read it, is refused."""
        certificate = rsa_pss_certificate()
        context = SSL.Context(SSL.TLS_METHOD)
        context.use_certificate(crypto.X509.from_cryptography(certificate))
        context.use_privatekey(crypto.PKey.from_cryptography_key(rsa_key()))
        self.assertRaises(SSL.Error, context.check_privatekey)
        self.assertIn("RSA-PSS", self.refusal(pem(rsa_key(), certificate)))

    def test_openSSH(self) -> None:
        """A key of OpenSSH is called so."""
        identity = self_signed()
        key = pem(identity.key, form=PrivateFormat.OpenSSH)
        self.assertIn("OpenSSH", self.refusal(key + pem(identity.certificate)))

    def test_damaged(self) -> None:
        """A damaged block is named, and a boundary without its other half, with its line."""
        identity = self_signed()
        key, certificate = pem(identity.key), pem(identity.certificate)
        broken = b"\n".join([*certificate.split(b"\n")[:2], b"-----END CERTIFICATE-----\n"])
        self.assertEqual(self.refusal(key + certificate + broken), "certificate 2 in it is damaged")
        self.assertEqual(self.refusal(key.replace(b"\nM", b"\n!") + certificate), "its private key is damaged")
        for data, line, boundary, other in (
            (key + certificate.split(b"-----END")[0], 6, "BEGIN CERTIFICATE", "END"),
            (certificate.split(b"-----END")[0] + key, 1, "BEGIN CERTIFICATE", "END"),
            (key.replace(b"-----BEGIN", b"----BEGIN") + certificate, 5, "END PRIVATE KEY", "BEGIN"),
            (key.replace(b"END P", b"END EC P") + certificate, 1, "BEGIN PRIVATE KEY", "END"),
            (certificate.split(b"-----END")[0] + certificate, 1, "BEGIN CERTIFICATE", "END"),
            (key.replace(b"-----BEGIN", b"----BEGIN") * 2, 5, "END PRIVATE KEY", "BEGIN"),
        ):
            expected = f"the PEM is damaged: line {line} is {boundary}, and its {other} is missing"
            self.assertEqual(self.refusal(data), expected)


class MutationTests(SynchronousTestCase):
    """L{Identity.from_pem}: whatever is in a file, it is an identity or a L{CredentialError}."""

    identity = issue(authority(issuer=authority()), "example.org")
    pem = identity.to_pem()
    der = (
        identity.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
        identity.certificate.public_bytes(Encoding.DER),
    )

    def look(self, data: bytes) -> None:
        """Read it; nothing but a L{CredentialError} of one line comes of it."""
        try:
            identity = Identity.from_pem(data)
        except CredentialError as error:
            self.assertNotIn("\n", error.text)
        else:
            self.assertEqual(Identity.from_pem(identity.to_pem()), identity)

    @settings(deadline=None)
    @given(data=st.binary(max_size=300))
    def test_arbitrary(self, data: bytes) -> None:
        """Any bytes, also within a block that is well formed."""
        self.look(data)
        for label in (b"PRIVATE KEY", b"EC PRIVATE KEY", b"CERTIFICATE", b"RSA PRIVATE KEY"):
            self.look(block(label, data) + self.pem)

    @settings(deadline=None)
    @given(at=st.integers(0, len(pem) - 1), change=st.binary(max_size=4), drop=st.integers(0, 80))
    def test_text(self, at: int, change: bytes, drop: int) -> None:
        """The PEM with any few bytes of its text exchanged."""
        self.look(self.pem[:at] + change + self.pem[at + drop :])

    @settings(deadline=None)
    @given(which=st.integers(0, 1), at=st.integers(0, 1000), bits=st.integers(1, 255))
    def test_content(self, which: int, at: int, bits: int) -> None:
        """The PEM with any byte of its key's or its certificate's content changed."""
        parts = [bytearray(part) for part in self.der]
        parts[which][at % len(parts[which])] ^= bits
        self.look(block(b"PRIVATE KEY", bytes(parts[0])) + block(b"CERTIFICATE", bytes(parts[1])))

    def test_version(self) -> None:
        """A certificate of a version that does not exist, for which cryptography has an error of its own."""
        content = self.der[1].replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x07", 1)
        self.assertNotEqual(content, self.der[1])
        error = self.assertRaises(CredentialError, Identity.from_pem, block(b"CERTIFICATE", content) + self.pem)
        self.assertIn("certificate 1", error.text)


def block(label: bytes, content: bytes) -> bytes:
    """A PEM block."""
    return b"-----BEGIN %b-----\n%b-----END %b-----\n" % (label, base64.encodebytes(content), label)


class IdentityTests(SynchronousTestCase):
    """L{Identity} itself."""

    def test_equal(self) -> None:
        """Identities with the same content are equal and have the same hash, so that they can be part of a key."""
        one = self_signed()
        other = Identity.from_pem(one.to_pem())
        self.assertIsNot(one.key, other.key)
        self.assertEqual({one: 1}[other], 1)
        self.assertNotEqual(one, self_signed(key=one.key))
        self.assertNotEqual(one, Identity(one.key, one.certificate, (authority().certificate,)))

    def test_frozen(self) -> None:
        """Nothing about it changes."""
        identity = self_signed()
        for name in ("key", "certificate", "chain", "more"):
            # A frozen class with slots says TypeError for names that it does not have.
            self.assertRaises((AttributeError, TypeError), setattr, identity, name, None)

    def test_repr(self) -> None:
        """What is shown of it is its pin, and nothing of its key."""
        identity = self_signed()
        self.assertEqual(repr(identity), f"<Identity {identity.pin}>")
        self.assertEqual(str(identity), repr(identity))

    def test_made(self) -> None:
        """One cannot be put together of what does not belong together, or of a key that cannot be used."""
        one = self_signed()
        error = self.assertRaises(CredentialError, Identity, p256_key(), one.certificate)
        self.assertIn("does not belong", error.text)
        error = self.assertRaises(CredentialError, Identity, rsa_key(1024), certificate_of(rsa_key(1024)))
        self.assertIn("RSA 1024", error.text)

    def test_statelessKey(self) -> None:
        """It is HKDF-SHA-256 of the private key, so it is the same after a restart, and another for another key."""
        identity = self_signed()
        content = identity.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        expected = HKDF(hashes.SHA256(), 32, None, b"hypermail/1 stateless").derive(content)
        self.assertEqual(identity.stateless_key(), expected)
        self.assertEqual(len(expected), 32)
        self.assertEqual(Identity.from_pem(identity.to_pem()).stateless_key(), expected)
        self.assertEqual(self_signed(key=identity.key).stateless_key(), expected)
        self.assertNotEqual(self_signed().stateless_key(), expected)

    def test_statelessKeyStays(self) -> None:
        """A known key has a known stateless key, whatever the version of cryptography."""
        key = ec.derive_private_key(1, ec.SECP256R1())
        expected = "d9ed0bdea64c82ca8973158bc06a418d38492e38c43f41d4da1e538dc139744b"
        self.assertEqual(Identity(key, certificate_of(key)).stateless_key().hex(), expected)


class SelfSignedTests(SynchronousTestCase):
    """L{Identity.self_signed}."""

    def alternatives(self, certificate: x509.Certificate) -> list[x509.GeneralName]:
        """The alternative names of a certificate."""
        try:
            return list(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
        except x509.ExtensionNotFound:
            return []

    def test_certificate(self) -> None:
        """It is P-256, no authority's, for both roles, signed with SHA-256 by itself, and new each time."""
        one, other = (Identity.self_signed("example.org", now=NOW) for _ in range(2))
        certificate = one.certificate
        self.assertEqual(kind_of(one.key), "EC P-256")
        self.assertEqual(one.chain, ())
        self.assertIsInstance(certificate.signature_hash_algorithm, hashes.SHA256)
        certificate.verify_directly_issued_by(certificate)
        self.assertNotEqual(certificate.serial_number, other.certificate.serial_number)
        self.assertNotEqual(one.pin, other.pin)
        find = certificate.extensions.get_extension_for_class
        self.assertEqual(find(x509.BasicConstraints).value, x509.BasicConstraints(ca=False, path_length=None))
        self.assertTrue(find(x509.KeyUsage).value.digital_signature)
        self.assertFalse(find(x509.KeyUsage).value.key_cert_sign)
        purposes = {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
        self.assertEqual(set(find(x509.ExtendedKeyUsage).value), purposes)

    def test_validity(self) -> None:
        """It is valid from a day before, as clocks differ, for 20 years."""
        certificate = Identity.self_signed("example.org", now=NOW).certificate
        self.assertEqual(certificate.not_valid_before_utc, NOW - DAY)
        self.assertEqual(certificate.not_valid_after_utc, NOW.replace(year=NOW.year + 20))

    def test_works(self) -> None:
        """OpenSSL opens sessions with it, and reads it again from its PEM."""
        for name in ("example.org", "::1", "a laptop", "n" * 63 + ".example.org"):
            identity = Identity.self_signed(name, now=NOW)
            self.assertEqual(handshake(identity), "TLSv1.3")
            self.assertEqual(Identity.from_pem(identity.to_pem()), identity)

    def test_names(self) -> None:
        """A host name or an IP address becomes an alternative name; any other name is only the common name."""
        for name, common, alternative in (
            ("example.org", "example.org", x509.DNSName("example.org")),
            ("laptop", "laptop", x509.DNSName("laptop")),
            ("my_host-2.Example", "my_host-2.Example", x509.DNSName("my_host-2.Example")),
            ("xn--bcher-kva.example", "xn--bcher-kva.example", x509.DNSName("xn--bcher-kva.example")),
            ("192.0.2.1", "192.0.2.1", x509.IPAddress(ipaddress.ip_address("192.0.2.1"))),
            ("2001:DB8::0:1", "2001:db8::1", x509.IPAddress(ipaddress.ip_address("2001:db8::1"))),
            ("Anna's laptop", "Anna's laptop", None),
            ("-host", "-host", None),
            ("a..b", "a..b", None),
            ("192.0.2.300", "192.0.2.300", None),
            ("x" * 64, "x" * 64, None),
            ("y" * 60 + ".org", "y" * 60 + ".org", x509.DNSName("y" * 60 + ".org")),
        ):
            certificate = Identity.self_signed(name, now=NOW).certificate
            (attribute,) = certificate.subject
            self.assertEqual((attribute.oid, attribute.value), (NameOID.COMMON_NAME, common))
            self.assertEqual(self.alternatives(certificate), [] if alternative is None else [alternative], name)

    def test_longHost(self) -> None:
        """A host name too long for a common name is the alternative name only, which is critical then."""
        for name in ("y" * 61 + ".org", ".".join(["z" * 61] * 4 + ["zzzzz"])):
            certificate = Identity.self_signed(name, now=NOW).certificate
            self.assertEqual(list(certificate.subject), [])
            self.assertEqual(self.alternatives(certificate), [x509.DNSName(name)])
            self.assertTrue(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).critical)

    def test_wrongNames(self) -> None:
        """What cannot be a name is refused, in one line that a terminal may show."""
        for name, reason in (
            ("", "empty"),
            (" \t", "empty"),
            ("a\nb", "printable ASCII"),
            ("a\0", "printable ASCII"),
            ("\x1b[31mred", "printable ASCII"),
            ("bücher.example", "xn--"),
            ("\udcff", "printable ASCII"),
            ("x" * 65, "64 characters are the most"),
            ("a b" * 10_000, "64 characters are the most"),
            (".".join(["z" * 61] * 4 + ["zzzzzz"]), "64 characters are the most"),
            ("fe80::1%eth0", "zone"),
        ):
            error = self.assertRaises(UsageError, Identity.self_signed, name, now=NOW)
            self.assertNotIsInstance(error, CredentialError)
            self.assertIn(reason, error.text)
            self.assertTrue(error.text.isprintable())
            self.assertLess(len(error.text), 300)


class PinTests(SynchronousTestCase):
    """Pins."""

    def test_pin(self) -> None:
        """A pin is the SHA-256 of the public key as OpenSSL writes it, so it stays when the certificate is renewed."""
        identity = self_signed()
        key = identity.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.assertEqual(identity.pin, "sha256/" + base64.b64encode(sha256(key).digest()).decode())
        renewed = issue(authority(), "example.net", key=identity.key, not_after=NOW + 2 * YEAR)
        self.assertEqual(pin_of(renewed.certificate), identity.pin)
        self.assertNotEqual(self_signed().pin, identity.pin)

    def test_unknownKey(self) -> None:
        """A certificate with a key of a kind that nobody knows is refused as credentials are."""
        content = self_signed().certificate.public_bytes(Encoding.DER)
        # id-ecPublicKey, 1.2.840.10045.2.1, becomes 1.2.840.10045.2.9
        strange = content.replace(bytes.fromhex("2a8648ce3d0201"), bytes.fromhex("2a8648ce3d0209"), 1)
        self.assertRaises(CredentialError, pin_of, x509.load_der_x509_certificate(strange))

    def test_parse(self) -> None:
        """What pin_of makes is parsed as it is, with two slashes and with space around it, too."""
        pin = self_signed().pin
        for text in (pin, pin.replace("/", "//", 1), f"  {pin}\n"):
            self.assertEqual(parse_pin(text), pin)

    def test_slashes(self) -> None:
        """A digest that begins with a slash of its own keeps it, with one slash before it and with two."""
        digest = base64.b64encode(b"\xff" * 32).decode()
        self.assertTrue(digest.startswith("//"))
        self.assertEqual(parse_pin(f"sha256/{digest}"), f"sha256/{digest}")
        self.assertEqual(parse_pin(f"sha256//{digest}"), f"sha256/{digest}")

    @settings(deadline=None)
    @given(digest=st.binary(min_size=32, max_size=32))
    def test_every(self, digest: bytes) -> None:
        """Any 32 bytes are a pin, in both forms."""
        text = base64.b64encode(digest).decode()
        for slashes in ("/", "//"):
            self.assertEqual(parse_pin(f"sha256{slashes}{text}"), f"sha256/{text}")

    def test_wrong(self) -> None:
        """What is none is refused, with what one looks like, in one line."""
        digest = self_signed().pin.removeprefix("sha256/")
        for text in (
            "",
            "sha256/",
            digest,
            f"sha1/{digest}",
            f"SHA256/{digest}",
            f"sha256:{digest}",
            f"sha256///{digest}",
            f"sha256/{digest[:-1]}",
            f"sha256/{digest}A",
            f"sha256/{digest[:-4]}AAAA",
            f"sha256/{digest[:20]} {digest[21:]}",
            f"sha256/{digest[:20]}\n{digest[21:]}",
            f"sha256/{digest[:20]}-{digest[21:]}",
            f"sha256/{digest[:20]}é{digest[21:]}",
            f"sha256/{digest};sha256/{digest}",
            "sha256/" + "A" * 1_000_000,
        ):
            error = self.assertRaises(UsageError, parse_pin, text)
            self.assertIn("a pin is sha256/ and 44 characters of base64", error.text)
            self.assertTrue(error.text.isprintable())
            self.assertLess(len(error.text), 500)

    @settings(deadline=None)
    @given(st.text() | st.from_regex(r"sha256//?[A-Za-z0-9+/]{41,45}={0,2}", fullmatch=True))
    def test_arbitrary(self, text: str) -> None:
        """Any text is a pin, whose normal form is one again, or a UsageError."""
        try:
            pin = parse_pin(text)
        except UsageError:
            return
        self.assertEqual(parse_pin(pin), pin)
        self.assertEqual(len(pin), 51)


class ReadCertificatesTests(SynchronousTestCase):
    """L{read_certificates}."""

    def test_all(self) -> None:
        """All certificates are read in order; keys and text are ignored."""
        one, other = self_signed(), authority()
        data = b"text\n" + pem(one.certificate, one.key, other.certificate)
        self.assertEqual(read_certificates(data), [one.certificate, other.certificate])
        self.assertEqual(read_certificates(b"nothing"), [])

    def test_damaged(self) -> None:
        """A damaged certificate is not left out."""
        data = pem(self_signed().certificate) + block(b"CERTIFICATE", b"0")
        self.assertIn("certificate 2", self.assertRaises(CredentialError, read_certificates, data).text)


class OddTests(SynchronousTestCase):
    """The makers of L{hypermail.test.certificates} make what they say."""

    def test_issued(self) -> None:
        """What an authority issues is signed by it, and is for one role."""
        issuer = authority("root")
        for client, purpose in ((False, ExtendedKeyUsageOID.SERVER_AUTH), (True, ExtendedKeyUsageOID.CLIENT_AUTH)):
            certificate = issue(issuer, "example.org", client=client).certificate
            certificate.verify_directly_issued_by(issuer.certificate)
            usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
            self.assertEqual(list(usage), [purpose])

    def test_times(self) -> None:
        """Validity ends and begins when it should."""
        for issuer in (None, authority()):
            self.assertLess(expired(issuer).certificate.not_valid_after_utc, NOW)
            self.assertEqual(not_yet_valid(issuer).certificate.not_valid_before_utc, NOW + DAY)
            self.assertGreater(not_yet_valid(issuer).certificate.not_valid_after_utc, NOW + DAY)
        early = self_signed(not_after=NOW - YEAR + timedelta(hours=1)).certificate
        self.assertLess(early.not_valid_before_utc, early.not_valid_after_utc)
