"""
Tests for L{hypermail.hive.keys}, and for C{hypermail hive-key}.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, cast

from click.testing import Result
from twisted.trial.unittest import SynchronousTestCase

from hypermail.errors import CredentialError, NotSupported
from hypermail.hive.directives import parse_directives
from hypermail.hive.keys import KEY_BYTES, SALT_BYTES, argon2id, bcrypt, check_known, is_key_of, new_key
from hypermail.internet.credentials import readHiveKey
from hypermail.test.services import invoke

#: Of the key C{example key}: of Argon2id with other parameters than ours, of bcrypt as Go writes it.
OTHERS = (
    "$argon2id$v=19$m=64,t=1,p=2$c29tZXNhbHQ$ffdIYiFlcFxCM28i7g66CZoHRSIHlGH/MCJNaMCwM6c",
    "$2a$04$abcdefghijklmnopqrstuu8rupReB.64EQA8dCjA7tFrz5f0QYyNO",
)


class KeysTests(SynchronousTestCase):
    """Keys and hashes."""

    def test_new(self) -> None:
        """A key is of letters, digits, minus and underscore, and holds all of the chance."""
        self.assertRegex(new_key(bytes(range(KEY_BYTES))), "^[A-Za-z0-9_-]{43}$")
        self.assertNotEqual(new_key(b"a" * KEY_BYTES), new_key(b"b" * KEY_BYTES))

    def test_right(self) -> None:
        """Hashes of either kind know their key and no other, and can be said in the configuration."""
        key = new_key(bytes(range(KEY_BYTES)))
        for hashed in (argon2id(key, b"s" * SALT_BYTES), bcrypt(key)):
            check_known(hashed)
            self.assertTrue(is_key_of(key, hashed))
            for wrong in ("", key[:-1], key + "x", key.lower(), "\x00", key + "\x00", "x" * 1_000, "é"):
                self.assertFalse(is_key_of(wrong, hashed), wrong)
            self.assertEqual(parse_directives(f"connKey {hashed}").key_hash, hashed)

    def test_others(self) -> None:
        """Hashes that others have made."""
        for hashed in OTHERS:
            self.assertEqual(parse_directives(f"connKey {hashed}").key_hash, hashed)
            self.assertTrue(is_key_of("example key", hashed), hashed)
            self.assertFalse(is_key_of("example keys", hashed))

    def test_nonsense(self) -> None:
        """A hash that is none has no key."""
        for hashed in (
            "$argon2id$v=19$m=1,t=1,p=9$c29tZXNhbHQ$aGFzaA",
            "$argon2id$v=1$x$y$z",
            "$2a$99$" + "a" * 53,
            "",
        ):
            self.assertFalse(is_key_of("example key", hashed))

    def test_missing(self) -> None:
        """Without its library bcrypt is not supported, and it is said what to do."""
        modules = cast(Any, sys.modules)
        self.addCleanup(modules.update, bcrypt=modules.get("bcrypt"))
        modules["bcrypt"] = None
        for call in (lambda: bcrypt("x"), lambda: is_key_of("x", OTHERS[1]), lambda: check_known(OTHERS[1])):
            self.assertIn("pip install 'hypermail[hive]'", self.assertRaises(NotSupported, call).text)
        check_known(OTHERS[0])


class CommandTests(SynchronousTestCase):
    """C{hypermail hive-key}."""

    def setUp(self) -> None:
        self.file = Path(self.mktemp())

    def run_(self, *arguments: str) -> Result:
        """Run it."""
        return invoke("hive-key", *arguments, str(self.file))

    def test_made(self) -> None:
        """The key is in a file that only its owner can read, its hash is printed as the configuration has it."""
        for options in ((), ("--bcrypt",)):
            self.setUp()
            done = self.run_(*options)
            self.assertEqual(done.exit_code, 0, done.output)
            hashed = parse_directives(done.stdout).key_hash
            assert hashed is not None
            self.assertEqual(hashed.startswith("$2"), bool(options))
            self.assertTrue(is_key_of(readHiveKey(self.file), hashed))
            self.assertEqual(os.stat(self.file).st_mode & 0o777, 0o600)

    def test_taken(self) -> None:
        """A file that is there stays as it is."""
        self.file.write_text("mine")
        done = self.run_()
        self.assertEqual((done.exit_code, done.stdout, self.file.read_text()), (1, "", "mine"))
        self.assertIn("hypermail: the key", done.stderr)
        self.assertIn("there is such a file, and it stays as it is", done.stderr)

    def test_read(self) -> None:
        """White space around a key is none of it; what is no key is named."""
        for content, said in (
            (b" example key \r\n", None),
            (b"\n", "it is empty"),
            (b"\xff", "it is no text in UTF-8"),
            (b"x" * 1_025, "1,024"),
        ):
            self.setUp()
            self.file.write_bytes(content)
            self.file.chmod(0o600)
            if said is None:
                self.assertEqual(readHiveKey(self.file), "example key")
            else:
                self.assertIn(said, self.assertRaises(CredentialError, readHiveKey, self.file).text)
        self.file.chmod(0o644)
        self.assertRaises(CredentialError, readHiveKey, self.file)
        self.file.unlink()
        self.assertIn("hypermail hive-key", self.assertRaises(CredentialError, readHiveKey, self.file).text)
