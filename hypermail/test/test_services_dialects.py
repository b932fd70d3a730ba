"""
Tests for L{hypermail.services.dialects} and L{hypermail.services.dialect_usage}: what people ask for, and files of
secrets.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.python.usage import UsageError as CommandError
from twisted.trial.unittest import SynchronousTestCase

from hypermail.dialects.batch.dialect import Batch
from hypermail.dialects.digest.dialect import Digest
from hypermail.errors import CredentialError, UsageError
from hypermail.services.addresses import Destination, Listening
from hypermail.services.dialect_starter import DialectStarterService
from hypermail.services.dialects import DialectSettings, canonical, read_own_secret, read_secrets
from hypermail.services.tap import Command, makeService
from hypermail.test.services import invoke
from hypermail.test.sessions import logged

ONE = "00112233-4455-6677-8899-aabbccddeeff"
TWO = "ffeeddcc-bbaa-9988-7766-554433221100"


class FilesCase(SynchronousTestCase):
    """Files with secrets."""

    def file(self, content: bytes, mode: int = 0o600) -> str:
        """A file of that content."""
        path = Path(self.mktemp())
        path.write_bytes(content)
        path.chmod(mode)
        return str(path)

    def refused(self, read: Any, path: str) -> str:
        """Why a file cannot be used."""
        text: str = self.assertRaises(CredentialError, read, path).text
        self.assertIn(path, text)
        return text


class SecretsTests(FilesCase):
    """One's own secret, and those of others."""

    def test_own(self) -> None:
        """A secret is what is in its file, byte by byte, however long."""
        for secret in (b"x", b"client\n", bytes(range(256)) * 256):
            self.assertEqual(read_own_secret(self.file(secret)), secret)

    def test_ownRefused(self) -> None:
        """An empty one, one that is no secret, and what is no file, are refused with what to do."""
        self.assertIn("it is empty; write one", self.refused(read_own_secret, self.file(b"")))
        self.assertIn("65,536", self.refused(read_own_secret, self.file(bytes(65_537))))
        self.assertIn("there is no such file; write one", self.refused(read_own_secret, self.mktemp()))
        self.assertIn("chmod 600", self.refused(read_own_secret, self.file(b"x", 0o644)))

    def test_others(self) -> None:
        """One in a line: a UUID however it is written, blanks, and the secret, which is the rest of the line."""
        content = b"\n# devices\n" + ONE.upper().encode() + b"   a secret # with\ttext \r\n"
        content += TWO.replace("-", "").encode() + b"\t\xff\xfe"
        self.assertEqual(read_secrets(self.file(content)), {ONE: b"a secret # with\ttext ", TWO: b"\xff\xfe"})
        self.assertEqual(read_secrets(self.file(b"")), {})

    def test_othersRefused(self) -> None:
        """A line that is none is named by its number, and not shown."""
        for content, reason in (
            (f"{ONE} a\nhello b\n", "in line 2, 'hello' is no UUID"),
            (f"{ONE}\n", "in line 1, there is no secret"),
            (f"{ONE}  \n", "in line 1, there is no secret"),
            (f"{ONE} a\n\n{ONE.upper()} b\n", f"in line 3, {ONE} comes again"),
        ):
            self.assertIn(reason, self.refused(read_secrets, self.file(content.encode())))
        self.assertIn("chmod 600", self.refused(read_secrets, self.file(b"", 0o640)))

    @settings(deadline=None)
    @given(st.uuids(), st.sampled_from([str.upper, str.lower, lambda text: text.replace("-", "")]))
    def test_canonical(self, uuid: Any, write: Any) -> None:
        """A UUID has one form here, however it is written."""
        self.assertEqual(canonical(write(str(uuid))), str(uuid))

    def test_noUUID(self) -> None:
        """Forms that other programs do not know are none."""
        for text in ("", "x", f"{{{ONE}}}", f"urn:uuid:{ONE}", ONE[:-1], ONE.replace("-", "", 1), f" {ONE}"):
            self.assertRaises(UsageError, canonical, text)


class SettingsTests(FilesCase):
    """What the settings make."""

    def test_batch(self) -> None:
        """The numbers that were given go into the options; the others are the dialect's."""
        found = DialectSettings(name="batch", ping_interval=1, ping_packet_count=2, max_rate=8e3, repeat_requests=True)
        expected = Batch(ping_interval=1, ping_packet_count=2, max_rate=8e3, repeat_requests=True)
        self.assertEqual(found.dialect(), expected)
        self.assertEqual(DialectSettings(name="batch").dialect(), Batch())
        self.assertEqual(found.most, Batch().max_message)

    def test_digest(self) -> None:
        """Secrets come from files, and may be read again."""
        own, others = self.file(b"mine"), self.file(f"{TWO} theirs".encode())
        found = DialectSettings(name="digest", uuid=ONE.upper(), secret_file=own, secrets=others, ping_steps=2)
        dialect: Any = found.dialect()
        self.assertIsInstance(dialect, Digest)
        self.assertEqual((dialect.uuid, dialect.secret, dialect.ping_steps, dialect.plain), (ONE, b"mine", 2, False))
        self.assertEqual((dialect.secrets(TWO), dialect.secrets(ONE)), (b"theirs", None))
        Path(others).write_bytes(f"{ONE} new".encode())
        found.reload()
        self.assertEqual((dialect.secrets(TWO), dialect.secrets(ONE)), (None, b"new"))
        Path(others).write_bytes(b"nonsense")
        lines = logged(self)
        found.reload()
        self.assertEqual(dialect.secrets(ONE), b"new")
        self.assertIn("the secrets stay as they were", lines[0])

    def test_ownUUID(self) -> None:
        """Without one it is a new one, which stays as long as the settings do."""
        found = DialectSettings(name="digest", no_secret=True)
        first: Any = found.dialect()
        again: Any = found.dialect()
        other: Any = DialectSettings(name="digest", no_secret=True).dialect()
        self.assertEqual(first.uuid, again.uuid)
        self.assertNotEqual(first.uuid, other.uuid)
        self.assertTrue(first.plain)

    def test_newline(self) -> None:
        """A newline at the end of a secret counts, and whoever has not meant that is told."""
        lines = logged(self)
        own, others = self.file(b"mine\n"), self.file(b"")
        dialect: Any = DialectSettings(name="digest", secret_file=own, secrets=others).dialect()
        self.assertEqual(dialect.secret, b"mine\n")
        self.assertIn("ends with a newline, which counts", lines[0])

    def test_noSecretIsShown(self) -> None:
        """Neither in what is logged nor in a traceback."""
        own, others = self.file(b"hush-hush"), self.file(f"{TWO} tell-nobody".encode())
        found = DialectSettings(name="digest", secret_file=own, secrets=others)
        for text in (repr(found), repr(found.dialect())):
            self.assertNotIn("hush", text)
            self.assertNotIn("tell-nobody", text)

    def test_whoMayCome(self) -> None:
        """An operator is told who may come, and that anybody may."""
        lines = logged(self)
        DialectSettings(name="batch").sayWhoMayCome()
        found = DialectSettings(
            name="digest", uuid=ONE, secret_file=self.file(b"x"), secrets=self.file(f"{TWO} y".encode())
        )
        found.dialect()
        found.sayWhoMayCome()
        self.assertIn("anybody may send to it", lines[0])
        self.assertEqual(lines[1:], [f"this side's UUID is {ONE}", "who may come: the 1 peer of --secrets"])


#: What makes no sense, as parts of a command line, and why.
WRONG = (
    ("--dialect batch --uuid x", "'x' is no UUID"),
    (f"--dialect batch --uuid {ONE}", "--uuid is for dialect digest"),
    ("--dialect batch --no-secret", "--no-secret is for dialect digest"),
    ("--dialect batch --secret-file f", "--secret-file is for dialect digest"),
    ("--dialect batch --secrets f", "--secrets is for dialect digest"),
    ("--dialect batch --ping-steps 2", "--ping-steps is for dialect digest"),
    ("--dialect digest --no-secret --repeat-requests", "--repeat-requests is for dialect batch"),
    ("--dialect digest", "needs --secret-file FILE"),
    ("--dialect digest --secret-file f", "needs --secrets FILE"),
    ("--dialect digest --no-secret --secrets f", "--secrets and --no-secret exclude each other"),
    ("--dialect digest --no-secret --secret-file f", "--secret-file and --no-secret exclude each other"),
    ("--dialect batch --pin p", "does not encrypt: leave out --pin"),
    ("--dialect batch --identity f", "does not encrypt: leave out --identity"),
    ("--dialect batch --trust-roots f", "does not encrypt: leave out --trust-roots"),
    ("--dialect batch --congestion bbr", "congestion control of its own"),
    ("--uuid x", "give --dialect batch or digest, too"),
    ("--ping-interval 1", "give --dialect batch or digest, too"),
    ("--no-secret", "give --dialect batch or digest, too"),
    ("--dialect batch --ping-packet-count 200", "ping_packet_count"),
)


class ServerUsageTests(FilesCase):
    """C{twistd hypermail --dialect}."""

    def parse(self, line: str) -> Command:
        """The options of a command line."""
        options = Command()
        options.parseOptions(line.split())
        return options

    def test_listener(self) -> None:
        """A listener of a dialect, with what it does as ever."""
        options = self.parse("--port 1 --dialect batch --inbox in --echo --ping-interval 0.5 --max-rate 1M")
        self.assertEqual(options["listening"], Listening(1, ""))
        expected = DialectSettings(
            name="batch", ping_interval=0.5, max_rate=1e6, no_secret=False, repeat_requests=False
        )
        self.assertEqual(options["settings"], expected)
        self.assertEqual(self.parse("--dialect batch")["listening"].port, 4700)

    def test_starter(self) -> None:
        """A starter of a dialect takes what the listener sends."""
        options = self.parse("--connect h:1 --dialect digest --no-secret --echo")
        self.assertEqual(options["destination"], Destination("h", 1))
        self.addCleanup(setattr, sys, "excepthook", sys.excepthook)
        program: Any = makeService(options)
        self.assertIsInstance(next(iter(program)), DialectStarterService)

    def test_wrong(self) -> None:
        """What makes no sense is said before anything is opened."""
        for line, reason in (
            *WRONG,
            ("--dialect morse", "there is no dialect 'morse'"),
            ("--dialect batch --plain", "leave out --plain"),
            ("--dialect batch --allow p", "does not encrypt: leave out --allow"),
            ("--dialect batch --state d", "no durable sessions: leave out --state"),
            ("--dialect batch --forward tcp:h:1", "no streams: leave out --forward"),
            ("--dialect batch --trace d", "leave out --trace"),
            ("--dialect batch --workers 2", "whose a datagram is, so that one process has to do: leave out --workers"),
            ("--dialect batch --ping-interval soon", "--ping-interval: 'soon' is not a number of seconds"),
            ("--dialect batch --ping-interval -1", "ping_interval must be a positive number"),
            ("--dialect batch --ping-packet-count 1.5", "'1.5' is not a whole number"),
            ("--dialect digest --no-secret --ping-steps 4", "ping_steps"),
            ("--dialect batch --connect h:1", "needs --inbox DIR"),
            ("--dialect batch --connect h:1 --echo --port 1", "--port is for a listener"),
            ("--dialect batch --connect h:1 --outbox d", "no durable sessions: leave out --outbox"),
            ("--dialect digest --no-secret --secrets=", "--secrets needs the name of a file"),
        ):
            error = self.assertRaises(CommandError, self.parse, line)
            self.assertIn(reason, str(error), line)


class ClientUsageTests(SynchronousTestCase):
    """C{hypermail send --dialect} and C{ping}."""

    def test_wrong(self) -> None:
        """What makes no sense is wrong usage, for both."""
        for line, reason in WRONG:
            for command in ("send -m x", "ping"):
                if command == "ping" and "--congestion" in line:
                    continue
                result = invoke(*command.split(), *line.split(), "127.0.0.1:1")
                self.assertEqual(result.exit_code, 2, (command, line, result.output))
                self.assertIn(reason, " ".join(result.stderr.replace("│", " ").split()))
