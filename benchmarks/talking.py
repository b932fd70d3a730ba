"""
Processes of measurements that write lines of JSON.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import tempfile
from collections.abc import Callable
from time import monotonic
from types import TracebackType
from typing import Any

#: s that a process may take to answer.
ANSWERING = 15.0


class MeasurementFailed(Exception):
    """A process has ended, or has not answered in time; the text says which, and the last line of its errors."""


class MeasurementTooSlow(MeasurementFailed):
    """A process has not answered in time."""


class Talking:
    """
    A process that writes lines of JSON; a context manager, which kills it.

    @param what: for errors.
    @param begin: begins the process with these pipes, and a file for its errors.
    """

    def __init__(self, what: str, begin: Callable[..., subprocess.Popen[bytes]]) -> None:
        self._what = what
        self._errors = tempfile.TemporaryFile()
        self._line = b""
        self._process = begin(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._errors):
            if pipe is not None:
                pipe.close()

    def read(self, seconds: float) -> Any:
        """
        The next line.

        @raise MeasurementFailed: when none comes in time.
        """
        assert self._process.stdout is not None
        until = monotonic() + seconds
        while b"\n" not in self._line:
            ready, _, _ = select.select([self._process.stdout], [], [], max(0.0, until - monotonic()))
            if not ready:
                raise MeasurementTooSlow(f"{self._what} said nothing for {seconds:.0f} s{self._complaint()}")
            some = os.read(self._process.stdout.fileno(), 1 << 20)
            if not some:
                raise MeasurementFailed(f"{self._what} has ended{self._complaint()}")
            self._line += some
        line, _, self._line = self._line.partition(b"\n")
        return json.loads(line)

    def told(self, word: str, seconds: float) -> Any:
        """
        What comes with a word; others before it are passed over.

        @raise MeasurementFailed: when it does not come in time.
        """
        while True:
            record = self.read(seconds)
            if word in record:
                return record[word]

    def ask(self, line: str) -> Any:
        """The answer to a line."""
        self.say(line)
        return self.read(ANSWERING)

    def say(self, line: str) -> None:
        """Write a line to it."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise MeasurementFailed(f"{self._what} has ended{self._complaint()}") from None

    def _complaint(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return ": " + lines[-1] if lines else ""
