"""
The page on security: its commands run as they stand there, and its table names tests that exist.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from textwrap import dedent
from unittest import SkipTest

from twisted.trial import runner
from twisted.trial.unittest import SynchronousTestCase

from hypermail.test.services import ListenerProcess, command, environment
from hypermail.test.test_packaging import checkout


def page() -> str:
    """The page's text."""
    return (checkout() / "docs" / "security.rst").read_text(encoding="utf-8")


class AuthorityTests(SynchronousTestCase):
    """A private authority, made with OpenSSL's own command."""

    def test_commands(self) -> None:
        """Two sides with certificates of the authority trust each other, and nobody else."""
        if shutil.which("openssl") is None:
            raise SkipTest("there is no openssl command here")
        here = Path(self.mktemp())
        here.mkdir()
        script = dedent(page().split("as they stand. ::\n")[1].split("\nKeep ``ca.key``")[0])
        made = subprocess.run(
            ["bash", "-e", "-c", script], cwd=here, env=environment(), capture_output=True, text=True, check=False
        )
        self.assertEqual(made.returncode, 0, made.stderr)
        listener = ListenerProcess(
            here, "--identity", "listener.pem", "--trust-roots", "ca.pem", "--inbox", "inbox", port="udp:0"
        )
        self.addCleanup(listener.stop)
        (here / "FILE").write_text("content")
        where = f"localhost:{listener.port}"
        arguments = ["--trust-roots", "ca.pem", "--identity", "starter.pem", where, "FILE"]
        self.assertIn(f"hypermail send {' '.join(arguments)}".replace(where, "localhost:4700"), page())
        done = command(here, "send", *arguments)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual((here / "inbox" / "FILE").read_text(), "content")
        for fewer in (arguments[2:], arguments[:2] + arguments[4:]):
            self.assertEqual(command(here, "send", *fewer).returncode, 1)


class ThreatTests(SynchronousTestCase):
    """The table of threats."""

    def test_named(self) -> None:
        """Every test that it names exists."""
        table = page().split("\nThreats\n=======\n")[1].split("\nWhat is not defended\n")[0]
        named = re.findall(r"``(test_\w+)\.(\w+)\.(test_\w+)``", table)
        self.assertGreater(len(named), 30)
        loader = runner.TestLoader()
        for module, case, method in named:
            found = loader.loadByName(f"hypermail.test.{module}.{case}.{method}")
            self.assertEqual(found.countTestCases(), 1, (module, case, method))
            self.assertNotIn("ErrorHolder", repr(found))
