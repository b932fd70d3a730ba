"""
Tests for L{hypermail.services.identities} and the command C{hypermail identity}.
"""

from __future__ import annotations

import os
import subprocess
from datetime import datetime, timedelta
from io import StringIO
from pathlib import Path

from click.testing import Result
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hypermail.errors import CredentialError
from hypermail.internet.credentials import readIdentity, writeIdentity
from hypermail.security.identity import Identity
from hypermail.services import identities, running
from hypermail.test.certificates import (
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
    self_signed,
)
from hypermail.test.services import command, invoke


def described(identity: Identity, path: Path, now: datetime = NOW) -> dict[str, str]:
    """What is told about an identity, by title."""
    if path.exists():
        path.unlink()
    writeIdentity(identity, path)
    out = StringIO()
    identities.describe(str(path), out, now=now)
    return {line[:10].strip(): line[10:] for line in out.getvalue().splitlines()}


class DescribeTests(SynchronousTestCase):
    """What is told about an identity."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp())

    def test_selfSigned(self) -> None:
        """All about an identity that hypermail has made."""
        identity = Identity.self_signed("example.org", now=NOW)
        told = described(identity, self.path)
        fingerprint = told.pop("SHA-256")
        self.assertEqual(
            told,
            {
                "file": str(self.path),
                "name": "example.org",
                "pin": identity.pin,
                "key": "EC P-256",
                "valid": "2026-06-30 12:00:00 to 2046-07-01 12:00:00 UTC",
                "issuer": "self-signed",
                "chain": "0 further certificates",
            },
        )
        certificate = self.path.with_suffix(".crt")
        certificate.write_bytes(identity.certificate.public_bytes(Encoding.PEM))
        openssl = ["openssl", "x509", "-in", str(certificate), "-noout", "-fingerprint", "-sha256"]
        done = subprocess.run(openssl, capture_output=True, text=True, check=True)
        self.assertEqual(done.stdout.strip().partition("=")[2], fingerprint)

    def test_issued(self) -> None:
        """Who has issued it, and how many certificates are sent with it."""
        told = described(issue(authority("middle", issuer=authority("root")), "192.0.2.1"), self.path)
        self.assertEqual(
            (told["issuer"], told["chain"], told["name"]), ("CN=middle", "1 further certificate", "192.0.2.1")
        )

    def test_claimed(self) -> None:
        """An issuer of the same name has not made it self-signed."""
        told = described(issue(authority("example.org"), "example.org"), self.path)
        self.assertEqual(told["issuer"], "CN=example.org")

    def test_keys(self) -> None:
        """Each kind of key is told."""
        for kind, make in USABLE.items():
            key = make()
            told = described(Identity(key, certificate_of(key)), self.path)
            self.assertEqual((told["key"], told["issuer"]), (kind, "self-signed"))

    def test_validity(self) -> None:
        """A certificate that is expired, or not valid yet, is told to be so; to the second."""
        self.assertTrue(described(expired(), self.path)["valid"].endswith("2026-07-01 11:59:00 UTC: expired"))
        self.assertTrue(described(not_yet_valid(), self.path)["valid"].endswith("UTC: not yet"))
        identity = self_signed(not_before=NOW, not_after=NOW + YEAR)
        second = timedelta(seconds=1)
        for now, end in (
            (NOW - second, "not yet"),
            (NOW, "UTC"),
            (NOW + YEAR, "UTC"),
            (NOW + YEAR + second, "expired"),
        ):
            self.assertTrue(described(identity, self.path, now)["valid"].endswith(end), end)

    def test_names(self) -> None:
        """Without a name there is none; a terminal shows what is in a name, but obeys none of it."""
        long = "y" * 61 + ".org"
        self.assertEqual(described(Identity.self_signed(long, now=NOW), self.path)["name"], long)
        key = p256_key()
        for attributes, name in (([], "none"), (["a\x1b[31m\nb"], "a\\x1b[31m\\nb"), (["two", "names"], "two, names")):
            subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, each) for each in attributes])
            builder = x509.CertificateBuilder(subject, subject, key.public_key(), 1)
            certificate = builder.not_valid_before(NOW).not_valid_after(NOW + YEAR).sign(key, SHA256())
            told = described(Identity(key, certificate), self.path)
            self.assertEqual((told["name"], told["issuer"]), (name, "self-signed"))


class OddCertificateTests(SynchronousTestCase):
    """Certificates with contents that nobody can read."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp())

    def test_unreadable(self) -> None:
        """What cannot be read in a certificate is told to be so."""
        identity = self_signed("example.org")
        content = identity.certificate.public_bytes(Encoding.DER)
        # Subject alternative name, 2.5.29.17: its one DNS name gets a tag that does not exist.
        strange = content.replace(b"\x82\x0bexample.org", b"\x9f\x0bexample.org")
        self.assertNotEqual(content, strange)
        told = described(Identity(identity.key, x509.load_der_x509_certificate(strange)), self.path)
        self.assertEqual((told["name"], told["issuer"]), ("example.org, (unreadable)", "CN=example.org"))

    identity = issue(authority(), "example.org")
    der = identity.certificate.public_bytes(Encoding.DER)

    @settings(deadline=None)
    @given(at=st.integers(0, len(der) - 1), bits=st.integers(1, 255))
    def test_mutated(self, at: int, bits: int) -> None:
        """Whatever byte of a certificate is another one, it is told about or refused."""
        changed = bytearray(self.der)
        changed[at] ^= bits
        try:
            identity = Identity(self.identity.key, x509.load_der_x509_certificate(bytes(changed)))
        except (CredentialError, ValueError, x509.InvalidVersion):
            return
        self.assertEqual(described(identity, self.path)["pin"], self.identity.pin)


class CommandTests(SynchronousTestCase):
    """C{hypermail identity}."""

    def setUp(self) -> None:
        self.path = self.mktemp()
        self.patch(running, "runReactor", lambda work: self.fail("a reactor runs"))

    def invoke(self, *arguments: str, code: int = 0) -> Result:
        """Run the command; nothing is said on standard error when it succeeds, and one line when it fails."""
        result = invoke("identity", *arguments)
        self.assertEqual(result.exit_code, code, result.output)
        if code < 2:
            self.assertEqual(result.stderr.count("\n"), code, result.stderr)
            self.assertEqual(result.stderr[:11], "hypermail: "[: 11 * code])
        if code:
            self.assertEqual(result.stdout, "")
        return result

    def test_new(self) -> None:
        """One is made, and told how it is used."""
        result = self.invoke("--new", "--name", "example.org", self.path)
        identity = readIdentity(self.path)
        self.assertEqual(
            result.stdout,
            f"file      {self.path}\n"
            f"pin       {identity.pin}\n"
            f"listener  twistd hypermail --identity {self.path}\n"
            f"starter   hypermail send --pin {identity.pin} HOST:PORT FILE...\n",
        )
        self.assertEqual(os.stat(self.path).st_mode & 0o777, 0o600)
        self.assertIn("PRIVATE KEY", Path(self.path).read_text())
        self.assertNotIn("PRIVATE KEY", result.output)

    def test_valid(self) -> None:
        """What is made is valid now."""
        self.invoke("--new", "--name", "example.org", self.path)
        (line,) = [line for line in self.invoke(self.path).stdout.splitlines() if line.startswith("valid")]
        self.assertTrue(line.endswith("UTC"), line)

    def test_notOverwritten(self) -> None:
        """A second one is not made over the first."""
        self.invoke("--new", "--name", "one", self.path)
        before = Path(self.path).read_bytes()
        result = self.invoke("--new", "--name", "two", self.path, code=1)
        self.assertIn(f"hypermail: the identity {self.path!r} cannot be made: there is such a file", result.stderr)
        self.assertEqual(Path(self.path).read_bytes(), before)

    def test_pin(self) -> None:
        """The pin, and nothing else."""
        self.invoke("--new", "--name", "example.org", self.path)
        self.assertEqual(self.invoke("--pin", self.path).stdout, f"{readIdentity(self.path).pin}\n")

    def test_about(self) -> None:
        """All about it, but nothing of its key."""
        self.invoke("--new", "--name", "example.org", self.path)
        result = self.invoke(self.path)
        titles = [line.split()[0] for line in result.stdout.splitlines()]
        self.assertEqual(titles, ["file", "name", "pin", "key", "valid", "issuer", "SHA-256", "chain"])

    def test_shell(self) -> None:
        """A name with spaces is quoted in what is to be typed; what a terminal would obey is in no output."""
        spaced = f"{self.path} 1"
        self.assertIn(f"--identity '{spaced}'\n", self.invoke("--new", "--name", "x", spaced).stdout)
        nasty = f"{self.path}\x1b[31m"
        self.assertNotIn("\x1b", self.invoke("--new", "--name", "x", nasty).output)
        self.assertNotIn("\x1b", self.invoke(nasty).output)
        self.assertNotIn("\x1b", self.invoke("--new", "--name", "x", nasty, code=1).stderr)

    def test_wrong(self) -> None:
        """Wrong combinations, and names that cannot be, are wrong usage, and nothing is made."""
        for arguments, reason in (
            ([], "Missing argument 'FILE'"),
            (["--new", self.path], "--new needs a --name NAME"),
            (["--name", "x", self.path], "--name NAME is for --new"),
            (["--name", "x", "--pin", self.path], "--name NAME is for --new"),
            (["--new", "--name", "x", "--pin", self.path], "leave --pin out"),
            (["--new", "--pin", self.path], "leave --pin out"),
            (["--new", "--name", "", self.path], "the name of an identity is empty"),
            (["--name", "", self.path], "--name NAME is for --new"),
            (["--new", "--name", "x" * 65, self.path], "64 characters are the most"),
            (["--new", "--name", "a\nb", self.path], "printable ASCII"),
            (["--new", "--name", "x", self.path, "more"], "unexpected extra argument"),
        ):
            self.assertIn(reason, self.invoke(*arguments, code=2).stderr)
            self.assertFalse(os.path.exists(self.path))

    def test_bad(self) -> None:
        """Files that cannot be used: exit code 1, one line."""
        identity = self_signed()
        for content, mode, reason in (
            (identity.to_pem(), 0o644, f"chmod 600 {self.path}"),
            (encrypted_pem(identity), 0o600, "its key is encrypted"),
            (pem(identity.certificate), 0o600, "there is no private key in it"),
            (b"\x00" * 100, 0o600, "there is no private key in it"),
        ):
            Path(self.path).write_bytes(content)
            os.chmod(self.path, mode)
            for options in ((), ("--pin",)):
                self.assertIn(reason, self.invoke(*options, self.path, code=1).stderr)
            os.unlink(self.path)
        self.assertIn("hypermail identity --new --name NAME", self.invoke(self.path, code=1).stderr)
        self.assertIn("it is a directory", self.invoke(".", code=1).stderr)
        self.invoke("--new", "--name", "x", "/dev/null/x", code=1)


class ProgramTests(SynchronousTestCase):
    """The command as a user runs it."""

    def test_life(self) -> None:
        """Made, told about, not made again: a process each."""
        here = Path(self.mktemp())
        here.mkdir()
        made = command(here, "identity", "--new", "--name", "example.org", "keys/listener.pem")
        self.assertEqual((made.returncode, made.stderr), (0, ""))
        told = command(here, "identity", "--pin", "keys/listener.pem")
        self.assertEqual((told.returncode, told.stderr), (0, ""))
        self.assertIn(told.stdout.strip(), made.stdout)
        again = command(here, "identity", "--new", "--name", "example.org", "keys/listener.pem")
        self.assertEqual((again.returncode, again.stdout), (1, ""))
        self.assertEqual(len(again.stderr.splitlines()), 1)
        self.assertNotIn("Traceback", again.stderr)
        wrong = command(here, "identity", "--new", "other.pem")
        self.assertEqual((wrong.returncode, wrong.stdout), (2, ""))
        self.assertEqual(os.listdir(here), ["keys"])
