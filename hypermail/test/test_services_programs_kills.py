"""
Tests of the programs when they are killed in the middle of a file: real processes over loopback.
"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import time

from hypermail.test.services import COMMAND, environment
from hypermail.test.test_services_programs import ProgramCase

SIZE = 300 << 20
"""Bytes of a file that takes a few seconds."""


class KillTests(ProgramCase):
    """SIGKILL, and another life."""

    def setUp(self) -> None:
        super().setUp()
        block = os.urandom(1 << 20)
        with open(self.here / "large", "wb") as file:
            for number in range(SIZE >> 20):
                file.write(number.to_bytes(8, "big") + block[8:])

    def send(self) -> subprocess.Popen[str]:
        """Begin to send the file."""
        sender = subprocess.Popen(
            [*COMMAND, "send", *self.trust, self.where, "large"],
            cwd=self.here,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(sender.communicate)
        self.addCleanup(sender.kill)
        return sender

    def arrived(self) -> int:
        """Bytes of the file that the inbox has."""
        return max((path.stat().st_size for path in self.inbox.glob(".hypermail/*.part")), default=0)

    def wait(self, size: int) -> None:
        """Until so many have arrived."""
        for _ in range(3_000):
            if self.arrived() >= size:
                return
            time.sleep(0.01)
        self.fail(f"{self.arrived()} bytes have arrived")

    def assertSame(self) -> None:
        """What has arrived is what was sent, once, and nothing else is there."""
        digests = []
        for path in (self.here / "large", self.inbox / "large"):
            with open(path, "rb") as file:
                digests.append(hashlib.file_digest(file, "sha256").hexdigest())
        self.assertEqual(digests[0], digests[1])
        self.assertEqual([path.name for path in self.inbox.iterdir()], [".hypermail", "large"])

    def test_listener(self) -> None:
        """The listener is killed twice: the sender goes on in the next one with what is missing, and is content."""
        listener = self.listen("--inbox", "in")
        port = f"udp:{listener.port}:interface=127.0.0.1"
        sender = self.send()
        offsets = [0]
        for part in (1, 2):
            self.wait(part * SIZE // 4)
            listener.signal(signal.SIGKILL)
            listener.stop()
            there = self.arrived()
            listener = self.listen("--inbox", "in", port=port)
            offset = int(listener.expect(r"'large' from \S+ goes on at (\d+) of")[1])
            self.assertEqual(offset, there)
            offsets.append(offset)
        out, errors = sender.communicate()
        self.assertEqual((sender.returncode, errors), (0, ""))
        self.assertIn("going on", out)
        self.assertIn(f"stored 1 file, {SIZE:,} bytes at {self.where}", out)
        self.assertSame()
        self.assertGreater(offsets[1], SIZE // 4 - 1)
        self.assertGreater(offsets[2], SIZE // 2 - 1)
