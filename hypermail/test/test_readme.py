"""
The README: its application runs as it stands there.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from textwrap import dedent

from twisted.trial.unittest import SynchronousTestCase

from hypermail.test.services import environment
from hypermail.test.test_packaging import checkout


def application() -> str:
    """The code of the README's application."""
    text = (checkout() / "README.rst").read_text(encoding="utf-8")
    lines = text.split(".. code-block:: python\n", 1)[1].splitlines(keepends=True)
    end = next(number for number, line in enumerate(lines) if line.strip() and not line.startswith(" "))
    return dedent("".join(lines[:end])).strip() + "\n"


def free_port() -> int:
    """A UDP port that nobody uses just now."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class ApplicationTests(SynchronousTestCase):
    """What a reader copies first."""

    def test_short(self) -> None:
        """It has at most 36 lines."""
        self.assertLessEqual(len(application().splitlines()), 36)

    def test_runs(self) -> None:
        """It prints what was sent, comes to its end and says nothing else."""
        code = application().replace("4700", str(free_port()))
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=environment(), timeout=60
        )
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "b'hello'\n", ""))
