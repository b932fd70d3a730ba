"""
Tests that the programs of C{docs/examples} run, over TCP as over hypermail.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path
from typing import Any
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

    def test_ledger(self) -> None:
        """What is given to a ledger that is not there is booked once it is, and nothing twice when both are killed."""
        port, top = str(self.free(socket.SOCK_DGRAM)), Path(self.mktemp()).absolute()
        for directory in ("ledger", "till"):
            (top / directory).mkdir(parents=True)
        ledger = self.begin("take", port, str(top / "ledger"))
        pin = self.line(ledger).removeprefix("pin ")
        lines = top / "lines"
        lines.write_text('{"account": "tea", "cents": 250}\n' * 2 + "nonsense\n")
        giving = ("give", port, pin, str(top / "till"), str(lines))
        till = self.begin(*giving)
        told = sorted(self.line(till) for _ in range(3))
        self.assertEqual(told, ["booked: line 1", "booked: line 2", "refused: line 3"])
        ledger.kill()
        till.kill()
        with lines.open("a") as more:
            more.write('{"account": "milk", "cents": 120}\n{"account": "tea", "cents": 250}\n')
        till = self.begin(*giving)
        self.begin("take", port, str(top / "ledger"))
        told = [*iter(partial(self.line, till), "booked: line 5")]  # what was told before may be told once more
        self.assertEqual(told[-1], "booked: line 4")
        self.assertEqual(self.runOnce("ledger.py", "show", str(top / "ledger")), ["milk 120", "tea 750"])

    def begin(self, *arguments: str) -> Any:
        """Begin C{ledger.py}; it is killed in the end, or when it says nothing for too long."""
        command = [sys.executable, str(EXAMPLES / "ledger.py"), *arguments]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment()
        )
        watchdog = threading.Timer(PATIENCE, process.kill)
        watchdog.start()

        def end() -> None:
            watchdog.cancel()
            process.kill()
            process.communicate()

        self.addCleanup(end)
        return process

    def line(self, process: Any) -> str:
        """The next line that a process prints; it has to go on."""
        line: str = process.stdout.readline()
        self.assertNotEqual(line, "", "the process has ended")
        return line.rstrip()

    def test_ssh(self) -> None:
        """Conch's client runs a command at Conch's server, through a tunnel."""
        ports = [str(self.free(kind)) for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM)]
        self.assertEqual(self.runOnce("ssh.py", *ports, "echo $((6 * 7)); echo over"), ["42", "over"])
