"""
The file of the access log (C{docs/protocol/hive}, "Access log").

Lines are collected, and written by a thread, so that a slow disk holds up no request. What the disk does not take is
lost, counted and said; a queen without room for her log goes on.
"""

from __future__ import annotations

import os
from functools import partial
from math import inf
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from hypermail.errors import UsageError
from hypermail.hive.access import FORMATS, Access
from hypermail.services.progress import count
from hypermail.services.workers import Run

#: s that a line is kept at most before it is written, if the disk is not busy.
PERIOD = 1.0
#: Bytes at which lines are written before that.
ENOUGH = 64 << 10
#: Bytes that wait for a busy disk at most; further lines are lost.
MOST = 1 << 20
#: s between two complaints.
SPAN = 60.0
#: s that a busy disk has at the end.
GRACE = 5.0

_MODE = 0o640
_NEWLINE = ord("\n")
_APPENDING = os.O_WRONLY | os.O_APPEND | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOCTTY", 0)
# A fifo that nobody reads is an error, not a wait.
_APPENDING |= getattr(os, "O_NONBLOCK", 0)


class _Outcome(NamedTuple):
    """
    Of a job.

    @ivar lost: lines that were not written.
    @ivar trouble: why, or why the file was not opened again; empty when all went well.
    """

    lost: int
    trouble: str


class AccessLog:
    """
    Writes lines to a file.

    @param clock: L{twisted.internet.interfaces.IReactorTime}.
    @param path: of the file; it is made when it is missing, and added to when it is not.
    @param form: one of L{FORMATS}.
    @param run: where to write; it is asked for one thing at a time.
    """

    _log = Logger()

    def __init__(self, clock: Any, path: str, form: str, run: Run) -> None:
        self._clock = clock
        self._path = path
        self._format = FORMATS[form]
        self._run = run
        self._lines: list[bytes] = []
        self._size = 0
        self._lost = 0  # lines, since that was said
        self._trouble = ""  # the last one
        self._next_word = -inf  # when something may be said again
        self._timer: Any = None
        self._running = False
        self._reopening = False
        self._closed: Deferred[None] | None = None
        # What follows belongs to whatever is running.
        self._descriptor = -1
        self._torn = False  # whether the last line in the file lacks its end

    def open(self) -> None:
        """
        Open the file. It blocks.

        @raise UsageError: when it cannot be opened.
        """
        try:
            self._descriptor = _open(self._path)
        except (OSError, ValueError) as error:
            raise UsageError(f"the access log {self._path!r} cannot be opened: {_reason(error)}") from error

    def write(self, access: Access) -> None:
        """Write a line, soon."""
        if self._closed is not None:
            return
        line = self._format(access).encode(errors="replace") + b"\n"
        if self._size + len(line) > MOST:
            self._lost += 1
            self._trouble = "cannot be written fast enough"
        else:
            self._lines.append(line)
            self._size += len(line)
        if self._size >= ENOUGH:
            self._flush()
        self._wait()

    def reopen(self) -> None:
        """Write what there is, and open the file anew: its name may be another one's by now."""
        if self._closed is None:
            self._reopening = True
            self._flush()

    def close(self) -> Deferred[None]:
        """
        Write what there is, and close the file. Lines that come later are not written.

        @return: fires when that is done, or after L{GRACE}; never fails.
        """
        if self._closed is not None:
            return succeed(None)
        self._closed = Deferred()
        closed = self._closed.addTimeout(GRACE, self._clock, lambda result, seconds: None)
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        self._flush()
        return closed

    def _wait(self) -> None:
        if self._timer is None and (self._size or self._running):
            self._timer = self._clock.callLater(PERIOD, self._due)

    def _due(self) -> None:
        self._timer = None
        if self._running and self._lost:
            self._complain()
        self._flush()
        self._wait()

    def _flush(self) -> None:
        last = self._closed is not None
        if self._running or not (self._size or self._reopening or last):
            return
        data, lines = b"".join(self._lines), len(self._lines)
        self._lines, self._size = [], 0
        reopening, self._reopening = self._reopening, False
        self._running = True
        job = self._run(partial(self._work, data, reopening, last))
        job.addErrback(lambda failure: _Outcome(lines, f"cannot be written: {failure.getErrorMessage()}"))
        job.addCallback(self._done, last)

    def _done(self, outcome: _Outcome, last: bool) -> None:
        self._running = False
        self._lost += outcome.lost
        self._trouble = outcome.trouble or self._trouble
        if outcome.trouble or self._lost:
            self._complain(at_once=last)
        if last:
            assert self._closed is not None
            self._closed.callback(None)
        elif self._closed is not None or self._reopening or self._size >= ENOUGH:
            self._flush()

    def _complain(self, *, at_once: bool = False) -> None:
        if self._clock.seconds() < self._next_word and not at_once:
            return
        lost = f"; {count(self._lost, 'line')} lost" if self._lost else ""
        self._next_word, self._lost = self._clock.seconds() + SPAN, 0
        self._log.warn("the access log {path!r} {trouble}{lost}", path=self._path, trouble=self._trouble, lost=lost)

    def _work(self, data: bytes, reopening: bool, last: bool) -> _Outcome:
        """In a thread, one after the other: write, then open anew or close."""
        lost, trouble = self._put(data)
        what = "cannot be closed"
        try:
            if reopening and not last:
                what = "goes on in the file before, since it cannot be opened again"
                opened = _open(self._path)
                os.close(self._descriptor)
                self._descriptor, self._torn = opened, False
            if last:
                os.close(self._descriptor)
        except OSError as error:
            trouble = trouble or f"{what}: {_reason(error)}"
        return _Outcome(lost, trouble)

    def _put(self, data: bytes) -> tuple[int, str]:
        rest = memoryview(data)
        try:
            if rest and self._torn:  # nothing is added to the half of a line that a full disk has left
                os.write(self._descriptor, b"\n")
                self._torn = False
            while rest:
                written = os.write(self._descriptor, rest)
                self._torn, rest = rest[written - 1] != _NEWLINE, rest[written:]
        except OSError as error:
            return bytes(rest).count(b"\n"), f"cannot be written: {_reason(error)}"
        return 0, ""


def _open(path: str) -> int:
    try:
        descriptor = os.open(path, _APPENDING | os.O_CREAT | os.O_EXCL, _MODE)
    except FileExistsError:
        descriptor = os.open(path, _APPENDING | os.O_CREAT, _MODE)
    else:
        os.fchmod(descriptor, _MODE)  # whatever the umask is
    os.set_blocking(descriptor, True)
    return descriptor


def _reason(error: OSError | ValueError) -> str:
    return getattr(error, "strerror", None) or str(error)
