"""
Tests for L{hypermail.dialects.digest.dialect}: the options.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from hypermail.dialects.digest.dialect import Digest
from hypermail.dialects.digest.packets import MOST_PAYLOAD
from hypermail.errors import UsageError
from hypermail.test.digests import CLIENT_UUID, SECRETS


class DigestTests(SynchronousTestCase):
    """What may be said, and what a side needs."""

    def test_defaults(self) -> None:
        """The defaults are the seed's, and ours where it has none."""
        digest = Digest()
        self.assertEqual((digest.name, digest.ping_interval, digest.connection_timeout), ("digest", 0.5, 10.0))
        self.assertEqual((digest.ping_steps, digest.freshness, digest.max_message), (3, 30.0, MOST_PAYLOAD))

    def test_refused(self) -> None:
        """What makes no sense is refused at once."""
        wrong: list[dict[str, Any]] = [
            {"max_unsettled": 1_025},
            {"ping_steps": 1},
            {"ping_steps": 4},
            {"freshness": 0.0},
            {"ping_interval": -1.0},
            {"disconnect_tries": 0},
            {"uuid": "nobody"},
            {"secret": b""},
            {"max_message": MOST_PAYLOAD + 1},
            {"plain": True, "secret": b"x"},
            {"plain": True, "secrets": SECRETS},
            {"secrets": {CLIENT_UUID.upper(): b"x"}},
            {"secrets": {"nobody": b"x"}},
        ]
        for options in wrong:
            with self.assertRaises(UsageError, msg=str(options)):
                Digest(**options)

    def test_check(self) -> None:
        """Each side needs its own secret and those of its peers, or says that it has none."""
        for listening in (True, False):
            Digest(plain=True).check(listening)
            Digest(secret=b"x", secrets=SECRETS).check(listening)
            Digest(secret=b"x", secrets=lambda uuid: None).check(listening)
            with self.assertRaisesRegex(UsageError, "--secret-file.*--no-secret"):
                Digest(secrets=SECRETS).check(listening)
            with self.assertRaisesRegex(UsageError, "--secrets.*--no-secret"):
                Digest(secret=b"x").check(listening)

    def test_hidden(self) -> None:
        """Secrets are not shown."""
        shown = repr(Digest(secret=b"hidden", secrets={CLIENT_UUID: b"hidden"}))
        self.assertNotIn("hidden", shown)
        self.assertNotIn(CLIENT_UUID, shown)
