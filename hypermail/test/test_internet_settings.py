"""
Tests of L{hypermail.internet.settings}: security as it is written in commands and endpoint strings.
"""

from __future__ import annotations

import socket
from typing import Any

from hypermail.errors import CredentialError, UsageError
from hypermail.internet.credentials import IDENTITY_FILE, readIdentity
from hypermail.internet.security import ListenerTLS, Plain, SharedSecret, StarterTLS
from hypermail.internet.settings import ListenerSettings, StarterSettings
from hypermail.security.verification import names_of
from hypermail.test.securing import AUTHORITY, SELF_MADE, STARTER, STRANGER, FilesTestCase


class StarterTests(FilesTestCase):
    """
    L{StarterSettings}
    """

    def test_nothing(self) -> None:
        """Nothing said is TLS with the system's authorities."""
        self.assertEqual(StarterSettings().security(), StarterTLS())

    def test_tls(self) -> None:
        """Pin, authorities and identity are read from where they are."""
        self.assertEqual(StarterSettings(pin=SELF_MADE.pin).security(), StarterTLS(pin=SELF_MADE.pin))
        roots = StarterSettings(trustRoots=self.roots, identity=self.identity).security()
        self.assertEqual(roots, StarterTLS(trustRoots=[AUTHORITY.certificate], identity=STARTER))

    def test_others(self) -> None:
        """The other modes."""
        self.assertEqual(StarterSettings(secretFile=self.secret).security(), SharedSecret(b"s" * 40))
        self.assertEqual(StarterSettings(plain=True).security(), Plain())
        self.assertEqual(StarterSettings(plain=True, allowRemotePlain=True).security(), Plain(allowRemote=True))

    def test_together(self) -> None:
        """What doesn't fit together is named as it is written in a command, and in an endpoint string."""
        settings: Any
        for settings, *texts in (
            ({"allowRemotePlain": True}, "--plain", "allowRemotePlain"),
            ({"allowRemotePlain": True, "secretFile": self.secret}, "--plain"),
            ({"plain": True, "secretFile": self.secret}, "mode plain", "--secret-file", "secretFile"),
            ({"plain": True, "pin": SELF_MADE.pin}, "mode plain", "--pin"),
            ({"plain": True, "identity": self.identity}, "mode plain", "--identity"),
            ({"secretFile": self.secret, "pin": SELF_MADE.pin}, "mode secret", "--pin"),
            ({"secretFile": self.secret, "trustRoots": self.roots}, "mode secret", "--trust-roots", "trustRoots"),
            ({"pin": SELF_MADE.pin, "trustRoots": self.roots}, "give one of"),
        ):
            error = self.assertRaises(UsageError, StarterSettings(**settings).security)
            for text in texts:
                self.assertIn(text, error.text)

    def test_missing(self) -> None:
        """A file that can't be used is named."""
        missing = str(self.directory / "missing")
        for name in ("identity", "trustRoots", "secretFile"):
            error = self.assertRaises(CredentialError, StarterSettings(**{name: missing}).security)  # type: ignore[arg-type]
            self.assertIn(missing, error.text)
        self.assertRaises(UsageError, StarterSettings(pin="missing").security)


class ListenerTests(FilesTestCase):
    """
    L{ListenerSettings}
    """

    def test_ownIdentity(self) -> None:
        """Nothing said is TLS with an identity that is made once, for this user alone, and anybody may come."""
        security = ListenerSettings().security()
        identity = readIdentity(self.state / IDENTITY_FILE)
        self.assertEqual(security, ListenerTLS(identity))
        self.assertEqual(ListenerSettings().security(), security)
        self.assertEqual((self.state / IDENTITY_FILE).stat().st_mode & 0o777, 0o600)

    def test_state(self) -> None:
        """It may be kept somewhere else."""
        elsewhere = self.directory / "elsewhere"
        security = ListenerSettings(state=str(elsewhere)).security()
        self.assertEqual(security, ListenerTLS(readIdentity(elsewhere / IDENTITY_FILE)))
        self.assertFalse(self.state.exists())

    def test_name(self) -> None:
        """It is called like this machine, whatever that is called."""
        for number, (name, expected) in enumerate(
            {"tolo": ["'tolo'"], "": ["'hypermail'"], "bücher": ["'hypermail'"]}.items()
        ):
            self.patch(socket, "gethostname", lambda name=name: name)
            state = self.directory / str(number)
            ListenerSettings(state=str(state)).security()
            self.assertEqual(names_of(readIdentity(state / IDENTITY_FILE).certificate), expected)

    def test_identity(self) -> None:
        """With an identity that is named none is made."""
        self.assertEqual(ListenerSettings(identity=self.identity).security(), ListenerTLS(STARTER))
        self.assertFalse(self.state.exists())

    def test_who(self) -> None:
        """Who may come: pins, files of pins, authorities."""
        allow = (STRANGER.pin, self.pins)
        security = ListenerSettings(identity=self.identity, allow=allow, trustRoots=self.roots).security()
        roots = [AUTHORITY.certificate]
        self.assertEqual(security, ListenerTLS(STARTER, allow=[STRANGER.pin, STARTER.pin], trustRoots=roots))

    def test_others(self) -> None:
        """The other modes need no identity, and make none."""
        self.assertEqual(ListenerSettings(secretFile=self.secret).security(), SharedSecret(b"s" * 40))
        self.assertEqual(ListenerSettings(plain=True).security(), Plain())
        self.assertEqual(ListenerSettings(plain=True, allowRemotePlain=True).security(), Plain(allowRemote=True))
        self.assertFalse(self.state.exists())

    def test_together(self) -> None:
        """Who may come is nothing that the other modes could know."""
        settings: Any
        for settings, *texts in (
            ({"plain": True, "allow": [STRANGER.pin]}, "mode plain", "--allow"),
            ({"secretFile": self.secret, "allow": [STRANGER.pin]}, "mode secret", "--allow"),
            ({"secretFile": self.secret, "trustRoots": self.roots}, "mode secret", "--trust-roots"),
            ({"secretFile": self.secret, "identity": self.identity}, "mode secret", "--identity"),
            ({"allowRemotePlain": True}, "--plain"),
        ):
            error = self.assertRaises(UsageError, ListenerSettings(**settings).security)
            for text in texts:
                self.assertIn(text, error.text)
        self.assertFalse(self.state.exists())

    def test_missing(self) -> None:
        """Files that can't be used; a file of pins without any lets nobody in, which nobody wants."""
        empty = self.write("empty", b"# nobody yet\n")
        for path in (str(self.directory / "missing"), empty):
            error = self.assertRaises(CredentialError, ListenerSettings(allow=[path]).security)
            self.assertIn(path, error.text)
