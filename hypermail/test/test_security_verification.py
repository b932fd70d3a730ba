"""
Tests for L{hypermail.security.verification}: texts about certificates, whose content an attacker chooses.
"""

from __future__ import annotations

import ipaddress

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.x509.oid import NameOID
from twisted.trial.unittest import SynchronousTestCase

from hypermail.options import Role
from hypermail.security.identity import pin_of
from hypermail.security.verification import complain, names_of, problem
from hypermail.test.certificates import p256_key
from hypermail.test.sealed import BEGIN, END, certified


def odd_certificate(
    *names: x509.GeneralName, common: str = "x", extra: bytes | None = None, key: EllipticCurvePrivateKey | None = None
) -> x509.Certificate:
    """
    A certificate with any names.

    @param key: by default a new one.
    @param extra: in place of the names' extension, as it is.
    """
    key = key or p256_key()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(5)
        .not_valid_before(BEGIN)
        .not_valid_after(END)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    if extra is not None:
        oid = x509.SubjectAlternativeName.oid
        builder = builder.add_extension(x509.UnrecognizedExtension(oid, extra), critical=False)
    return builder.sign(key, hashes.SHA256())


class VerificationTests(SynchronousTestCase):
    """What people read."""

    def test_text(self) -> None:
        """The text says whose certificate it is, for which names, what is wrong, and the pin."""
        shown = odd_certificate(x509.DNSName("a.example"), x509.IPAddress(ipaddress.ip_address("192.0.2.1")))
        error = complain(Role.STARTER, shown, "it has expired")
        pin = pin_of(shown)
        self.assertEqual(
            error.text,
            "the listener's certificate (for 'a.example', '192.0.2.1') is not trusted: it has expired; "
            f"its pin is {pin}",
        )
        self.assertEqual(error.pin, pin)
        self.assertIn("the starter's certificate", complain(Role.LISTENER, shown, "no").text)

    def test_nothingShown(self) -> None:
        """Without a certificate there is neither name nor pin."""
        error = complain(Role.LISTENER, None, "it is not there")
        self.assertEqual((error.text, error.pin), ("the starter's certificate is not trusted: it is not there", ""))

    def test_manyNames(self) -> None:
        """Of many names the first three are shown, of long ones the beginning."""
        shown = odd_certificate(*[x509.DNSName("n" * 1_000 + str(number)) for number in range(1_000)])
        text = complain(Role.STARTER, shown, "no").text
        self.assertLess(len(text), 600)
        self.assertEqual(text.count("nnn'"), 3)
        self.assertIn(", ...", text)
        self.assertNotIn("...", complain(Role.STARTER, odd_certificate(*[x509.DNSName("n")] * 3), "no").text)

    def test_controlCharacters(self) -> None:
        """Names with newlines, terminal escapes and the like are quoted: a line of a log stays one line."""
        for nasty in ("a\nb", "\x1b[2J\x1b]0;owned\x07", "a\r\nINFO all is well", "\x00", "\x9b31m", "'; x"):
            raw = nasty.encode("latin-1")
            shown = odd_certificate(extra=bytes((0x30, len(raw) + 2, 0x82, len(raw))) + raw)
            text = complain(Role.STARTER, shown, "it has expired").text
            self.assertTrue(text.isprintable(), repr(text))
            self.assertIn("it has expired", text)
        for common in ("\x1b[2J", "a\nb"):
            self.assertTrue(complain(Role.STARTER, odd_certificate(common=common), "no").text.isprintable())

    def test_unreadable(self) -> None:
        """Names that can't be read are none; the pin is there all the same."""
        for extra in (b"", b"\x30\x03\x82\x05a", b"\xff" * 10, b"\x30\x06\x87\x04" + bytes(4) + b"trailing"):
            shown = odd_certificate(extra=extra)
            self.assertEqual(names_of(shown), [])
            self.assertIn("its pin is sha256/", complain(Role.STARTER, shown, "no").text)

    def test_otherNames(self) -> None:
        """Only host names and addresses are names here."""
        shown = odd_certificate(x509.RFC822Name("me@example"), x509.UniformResourceIdentifier("https://x"))
        self.assertEqual(names_of(shown), [])
        self.assertEqual(names_of(certified().certificate), ["'listener.example'"])

    def test_problems(self) -> None:
        """What OpenSSL finds is said in words; what it may find one day, as a number."""
        for number, words in ((10, "expired"), (9, "not valid yet"), (18, "self-signed"), (20, "authority")):
            self.assertIn(words, problem(number))
        self.assertIn("999", problem(999))
