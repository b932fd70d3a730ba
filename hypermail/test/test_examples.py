"""
Tests that the programs of C{docs/examples} run, over TCP as over hypermail.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from hypermail.test.services import PATIENCE, environment
from hypermail.test.sessions import identityOf
from hypermail.test.test_testing_docs import GUIDE

EXAMPLES = GUIDE.parent.parent / "examples"


class ExamplesTests(SynchronousTestCase):
    """Each program, with the endpoint strings of two transports."""

    def setUp(self) -> None:
        if not EXAMPLES.exists():
            raise SkipTest("the documentation is not installed")
        self.identity = Path(self.mktemp())
        self.identity.write_bytes(identityOf("localhost").to_pem())
        self.identity.chmod(0o600)

    def run_(self, name: str, *arguments: str) -> list[str]:
        """
        Run a program over each transport.

        @return: the lines that it has printed, the same over both.
        """
        over_tcp, over_hypermail = (
            self.runOnce(name, *strings, *arguments) for strings in (self.tcp(), self.hypermail())
        )
        self.assertEqual(over_tcp, over_hypermail)
        return over_hypermail

    def runOnce(self, name: str, *arguments: str) -> list[str]:
        """
        Run a program.

        @return: the lines that it has printed.
        """
        done = subprocess.run(
            [sys.executable, str(EXAMPLES / name), *arguments],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            env=environment(),
            check=False,
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        return done.stdout.splitlines()

    def free(self, kind: int) -> int:
        """A port that nobody has."""
        with socket.socket(socket.AF_INET, kind) as one:
            one.bind(("127.0.0.1", 0))
            return int(one.getsockname()[1])

    def tcp(self) -> tuple[str, str]:
        """Two strings."""
        port = self.free(socket.SOCK_STREAM)
        return f"tcp:{port}:interface=127.0.0.1", f"tcp:127.0.0.1:{port}"

    def hypermail(self) -> tuple[str, str]:
        """Two strings."""
        port = self.free(socket.SOCK_DGRAM)
        server = f"hypermail:{port}:interface=127.0.0.1:identity={self.identity}"
        return server, f"hypermail:host=127.0.0.1:port={port}:pin={identityOf('localhost').pin}"

    def test_amp(self) -> None:
        """A command is answered."""
        self.assertEqual(self.run_("amp.py"), ["{'total': 42}"])

    def test_web(self) -> None:
        """Requests are answered."""
        self.assertEqual(self.run_("web.py"), ["200 ONE SESSION", "200 MANY STREAMS"])

    def test_large(self) -> None:
        """Data arrive whole."""
        self.assertEqual(self.run_("large.py", "20"), ["20000000 bytes, as they were sent"])

    def test_readings(self) -> None:
        """Messages are kept, or refused with a reason, and asked about."""
        printed = self.runOnce("readings.py", str(self.free(socket.SOCK_DGRAM)))
        self.assertEqual(printed, ["kept", "refused: a temperature is a number of degrees", "mean: 19.0"])

    def test_ssh(self) -> None:
        """Conch's client runs a command at Conch's server, through a tunnel."""
        ports = [str(self.free(kind)) for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM)]
        self.assertEqual(self.runOnce("ssh.py", *ports, "echo $((6 * 7)); echo over"), ["42", "over"])
