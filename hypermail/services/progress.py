"""
How far it is: a bar with rate and remaining time on a terminal, plain lines elsewhere.
"""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Callable
from typing import TextIO

from hypermail.services.paths import printable
from hypermail.services.tree import Item

INTERVAL = {True: 0.1, False: 1.0}
"""Seconds between two looks, on a terminal and elsewhere."""

_FEW_FILES = 20
_MOST_ERRORS = 20
_WINDOW = 5.0
_BAR = 24


def amount(size: float, unit: str = "B") -> str:
    """Bytes for people, in decimal units: C{12.3 MB}."""
    for prefix in ("", "k", "M", "G"):
        if size < 999.5:
            return f"{size:.0f} {unit}" if not prefix else f"{size:.1f} {prefix}{unit}"
        size /= 1_000
    return f"{size:,.1f} T{unit}"


def duration(seconds: float) -> str:
    """Seconds for people: C{0:07}, C{1:02:03}."""
    minutes, rest = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def count(number: int, noun: str) -> str:
    """A number of things: C{1 file}, C{2,345 files}."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


class Progress:
    """
    What was sent, what was stored, what was not; see L{hypermail.services.sending.Watcher}.

    @param out: standard output.
    @param err: standard error; the bar is drawn here when it is a terminal.
    @param quiet: whether only errors are said.
    @param seconds: the time, monotonic.
    @param width: columns of the terminal, asked anew for each line, as it may be resized.
    """

    def __init__(
        self,
        out: TextIO,
        err: TextIO,
        *,
        quiet: bool,
        seconds: Callable[[], float],
        width: Callable[[], int] = lambda: shutil.get_terminal_size().columns,
    ) -> None:
        self._out = out
        self._err = err
        self._quiet = quiet
        self._seconds = seconds
        self._width = width
        self.terminal = err.isatty()
        self.files = self.size = 0
        self.storedFiles = self.storedBytes = self.failures = 0
        self._written = 0
        self._began = seconds()
        self._samples: deque[tuple[float, int]] = deque()
        self._drawn = 0
        self._noted = 0
        self._away: tuple[str, float] | None = None

    def begin(self, files: int, size: int) -> None:
        """So much is to be sent; the clock starts."""
        self.files = files
        self.size = size
        self._began = self._seconds()
        self._samples.append((self._began, 0))

    # What happens.

    def wrote(self, size: int) -> None:
        """See L{Watcher}."""
        self._written += size

    def moved(self, size: int) -> None:
        """See L{Watcher}: it does not count for the rate."""
        self._written += size
        self._samples = deque((time, written + size) for time, written in self._samples)

    def away(self, where: str, reason: str) -> None:
        """The other side has gone, or has not come yet, and is waited for."""
        self._away = f"waiting for {where}", self._seconds()
        if not self._quiet and not self.terminal:
            self.say(f"waiting for {where}: {reason}")

    def back(self) -> None:
        """It is there again."""
        self._away = None
        if not self._quiet and not self.terminal:
            self.say("going on")

    def stored(self, item: Item, size: int, name: str) -> None:
        """See L{Watcher}."""
        self.storedFiles += 1
        self.storedBytes += size
        sent = item.name.decode("utf-8", "replace")
        renamed = f" as {printable(name)!r}" if name != sent else ""
        if not self._quiet and ((not self.terminal and self.files <= _FEW_FILES) or (renamed and self.files == 1)):
            self.say(f"stored {sent!r}{renamed} ({count(size, 'byte')})")

    def failed(self, item: Item, text: str) -> None:
        """See L{Watcher}."""
        self.fail(f"{item.path!r} was not stored: {printable(text)}")

    # What is said.

    def say(self, line: str) -> None:
        """A line on standard output."""
        self.clear()
        _write(self._out, line + "\n")

    def fail(self, line: str) -> None:
        """A line on standard error for something that has failed; after many, only their number counts."""
        self.failures += 1
        if self.failures <= _MOST_ERRORS:
            self.clear()
            self._report(line)

    def look(self) -> None:
        """Show how far it is; called every L{INTERVAL}."""
        if self._quiet:
            return
        line = self.line()
        if not self.terminal:
            self._note(line)
            return
        line = line[: max(self._width() - 1, 0)]
        _write(self._err, "\r" + line.ljust(min(self._drawn, max(self._width() - 1, 0))))
        self._drawn = len(line)

    def _note(self, line: str) -> None:
        """Without a terminal: a line, if it is not the first look and there is something new."""
        if self._written != self._noted:
            _write(self._out, line + "\n")
        self._noted = self._written

    def line(self) -> str:
        """How far it is, in one line."""
        now = self._seconds()
        rate = self._rate(now)
        part = min(self._written / self.size, 1.0) if self.size else 1.0
        parts = [f"{amount(self._written)} of {amount(self.size)}", f"{amount(rate)}/s"]
        if self.files != 1:
            parts.insert(0, f"{self.storedFiles:,} of {count(self.files, 'file')}")
        if self._away is not None:
            text, since = self._away
            parts.append(f"{text} for {duration(now - since)}")
        elif rate > 0 and self._written < self.size:
            parts.append(f"{duration((self.size - self._written) / rate)} left")
        bar = f" |{'#' * int(part * _BAR):-<{_BAR}}|" if self.terminal else ""
        return f"{int(part * 100):3} %{bar} {', '.join(parts)}"

    def _rate(self, now: float) -> float:
        """Bytes per second over the last seconds."""
        self._samples.append((now, self._written))
        while len(self._samples) > 2 and now - self._samples[0][0] > _WINDOW:
            self._samples.popleft()
        then, before = self._samples[0]
        return (self._written - before) / (now - then) if now > then else 0.0

    def end(self, where: str, messages: int = 0) -> None:
        """
        The last line: what is stored, or how much is not.

        @param messages: how many messages the other side has taken besides.
        """
        self.clear()
        if self.failures:
            if self.failures > _MOST_ERRORS:
                self._report(f"{self.failures - _MOST_ERRORS:,} more errors like these")
            if self.files > 1:
                self._report(f"stored {self.storedFiles:,} of {count(self.files, 'file')} at {where}")
        elif not self._quiet:
            self.say(f"stored {self._what(messages)} at {where} {self._speed()}")

    def _what(self, messages: int) -> str:
        parts = []
        if messages:
            parts.append(count(messages, "message"))
        if self.files or not messages:
            parts.append(f"{count(self.storedFiles, 'file')}, {count(self.storedBytes, 'byte')}")
        return " and ".join(parts)

    def _speed(self) -> str:
        took = max(self._seconds() - self._began, 1e-3)
        return f"in {took:.1f} s" + (f" ({amount(self.storedBytes / took)}/s)" if self.storedBytes else "")

    def _report(self, line: str) -> None:
        _write(self._err, f"hypermail: {line}\n")

    def clear(self) -> None:
        """Take the bar away, so that a line may stand there."""
        if self._drawn:
            _write(self._err, "\r" + " " * min(self._drawn, max(self._width() - 1, 0)) + "\r")
            self._drawn = 0


def _write(stream: TextIO, text: str) -> None:
    """Say something, if anyone still listens: sending goes on when C{| head} has gone."""
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        pass
