"""
What the tests of L{hypermail.services} share: disks that fail, threads that wait to be told, a peer's end of a stream.
"""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from inspect import signature
from pathlib import Path
from queue import Queue
from typing import Any, TypeVar

from click.testing import CliRunner, Result
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.testing import StringTransport

import hypermail.services
from hypermail.cli import main
from hypermail.services.disk import Disk
from hypermail.services.parts import HIDDEN

T = TypeVar("T")

PATIENCE = 120.0
"""Seconds after which a process that should have ended, or said something, is given up."""

TWISTD = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()"]
TWIST = [sys.executable, "-m", "twisted"]
COMMAND = [sys.executable, "-m", "hypermail.cli"]


def atOnce(job: Callable[[], T], /) -> Deferred[T]:
    """A L{hypermail.services.workers.Run} without threads: the job is done when this returns."""
    return maybeDeferred(job)


class ImmediateWorkers:
    """L{hypermail.services.workers.Workers} without threads."""

    def __init__(self, reactor: Any, threads: int = 4, name: str = "") -> None:
        self.run = atOnce

    def start(self) -> None:
        """Jobs may come."""

    def stop(self) -> Deferred[None]:
        """They are done already."""
        return succeed(None)


class LaterJobs:
    """A L{hypermail.services.workers.Run} whose jobs wait until L{runOne} is called."""

    def __init__(self) -> None:
        self.waiting: deque[tuple[Deferred[Any], Callable[[], Any]]] = deque()

    def __call__(self, job: Callable[[], T], /) -> Deferred[T]:
        """Remember the job."""
        done: Deferred[T] = Deferred()
        self.waiting.append((done, job))
        return done

    def runOne(self) -> None:
        """Do the oldest job."""
        done, job = self.waiting.popleft()
        maybeDeferred(job).chainDeferred(done)

    def runAll(self) -> None:
        """Do all jobs, those that they bring included."""
        while self.waiting:
            self.runOne()


class FaultyDisk(Disk):
    """
    A disk that does as it is told, and then fails.

    @ivar faults: method name to the error number that it raises.
    @ivar calls: method names in the order of the calls.
    @ivar room: bytes that it still takes.
    """

    def __init__(self, **faults: int) -> None:
        self.faults = faults
        self.calls: list[str] = []
        self.room: int | None = None

    def _may(self, method: str) -> None:
        self.calls.append(method)
        if method in self.faults:
            number = self.faults[method]
            raise OSError(number, os.strerror(number))

    def make_top(self, path: str) -> None:
        self._may("make_top")
        super().make_top(path)

    def create(self, name: str, parent: int) -> int:
        self._may("create")
        return super().create(name, parent)

    def write(self, descriptor: int, pieces: Sequence[bytes]) -> None:
        self._may("write")
        if self.room is not None:
            self.room -= sum(map(len, pieces))
            if self.room < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        super().write(descriptor, pieces)

    def sync(self, descriptor: int) -> None:
        self._may("sync")
        super().sync(descriptor)

    def link(self, name: str, parent: int, final: str, into: int) -> None:
        self._may("link")
        super().link(name, parent, final, into)

    def reserve(self, name: str, parent: int) -> None:
        self._may("reserve")
        super().reserve(name, parent)

    def replace(self, name: str, parent: int, final: str, into: int) -> None:
        self._may("replace")
        super().replace(name, parent, final, into)

    def unlink(self, name: str, parent: int) -> None:
        self._may("unlink")
        super().unlink(name, parent)

    def change_mode(self, descriptor: int, mode: int) -> None:
        self._may("change_mode")
        super().change_mode(descriptor, mode)

    def reopen(self, name: str, parent: int) -> int:
        self._may("reopen")
        return super().reopen(name, parent)

    def cut(self, descriptor: int, size: int) -> None:
        self._may("cut")
        super().cut(descriptor, size)


class StreamEnd(StringTransport):
    """A stream's transport in memory, which remembers how it was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.writeClosed = False
        self.aborted = False

    def loseWriteConnection(self) -> None:
        """See L{IHalfCloseableDescriptor}."""
        self.writeClosed = True

    def abortConnection(self) -> None:
        """See L{IAbortingTransport}."""
        self.aborted = True
        super().abortConnection()


def environment() -> dict[str, str]:
    """The environment for a process that is to find this very hypermail, wherever it runs."""
    top = os.path.dirname(os.path.dirname(os.path.abspath(hypermail.services.__path__[0])))
    paths = [top, *filter(None, [os.environ.get("PYTHONPATH")])]
    # What a user's shell has: Python's development warnings are not among what the programs say.
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"}
    state = os.path.abspath("state")  # not the tester's own
    return {**inherited, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1", "XDG_STATE_HOME": state}


def tree(top: str) -> dict[str, bytes]:
    """
    All files below a directory: relative path to content; an empty directory is a path with a slash. What an inbox
    keeps for itself is left out.
    """
    found: dict[str, bytes] = {}
    for directory, directories, files in os.walk(top):
        relative = os.path.relpath(directory, top)
        if relative == ".":
            directories[:] = [name for name in directories if name != HIDDEN]
        for name in files:
            with open(os.path.join(directory, name), "rb") as file:
                found[os.path.normpath(os.path.join(relative, name))] = file.read()
        if not files and not directories and relative != ".":
            found[relative + "/"] = b""
    return found


def kept(inbox: str | Path) -> dict[str, bytes]:
    """What an inbox keeps of transfers: name in the hidden directory to content."""
    found = tree(os.path.join(inbox, HIDDEN))
    return {name: content for name, content in found.items() if name != "boot"}


class ServiceProcess:
    """
    C{twistd -n} in a process of its own.

    @param plugin: what it runs.
    @ivar log: the lines that it has logged, as far as L{expect} has read them.
    """

    def __init__(self, directory: Path, *options: str, plugin: str = "hypermail", **popen: Any) -> None:
        self.log: list[str] = []
        self._process = subprocess.Popen(
            [*TWISTD, "-n", "--pidfile=", plugin, *options],
            cwd=directory,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            **popen,
        )
        # A test that waits for a line that never comes ends all the same.
        self._watchdog = threading.Timer(PATIENCE, self._process.kill)
        self._watchdog.start()
        # Its log is read as it comes: a pipe that is full would stop it.
        self._lines: Queue[str | None] = Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            self.started()
        except BaseException:
            self.stop()
            raise

    def started(self) -> None:
        """Read the log of the start."""

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line.rstrip())
        self._lines.put(None)

    def expect(self, pattern: str) -> re.Match[str]:
        """Read the log up to a line in which the pattern is found."""
        while (line := self._lines.get()) is not None:
            self.log.append(line)
            match = re.search(pattern, line)
            if match is not None:
                return match
        raise AssertionError(f"{pattern!r} is not in the log:\n" + "\n".join(self.log))

    def signal(self, number: int) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def stop(self) -> int:
        """End it as C{kill} does, and read the rest of its log; the exit code."""
        self._process.terminate()
        self._reader.join()
        with self._process:
            while not self._lines.empty():
                self.log += filter(None, [self._lines.get()])
        self._watchdog.cancel()
        return self._process.returncode


class ListenerProcess(ServiceProcess):
    """
    A listener.

    @ivar port: where it listens.
    @ivar pin: of the key that it shows; empty when it shows none.
    """

    def __init__(self, directory: Path, *options: str, port: str = "udp:0:interface=127.0.0.1", **popen: Any) -> None:
        super().__init__(directory, "--port", port, *options, **popen)

    def started(self) -> None:
        """Read the log until it has said what it does."""
        self.port = int(self.expect(r"listening on \S+:(\d+)")[1])
        self.expect("land in|is sent back|only pings|go on: ")
        pins = [match[1] for line in self.log if (match := re.search(r"--pin (\S+) ", line))]
        self.pin = pins[0] if pins else ""


class StarterProcess(ServiceProcess):
    """
    The starter's end of a tunnel.

    @ivar entrances: the ports that it listens on, in the order of C{listens}.
    """

    def __init__(self, directory: Path, connect: str, *options: str, listens: Sequence[str]) -> None:
        """@param listens: C{[NAME=]ENDPOINT}, of one port each."""
        self._listens = listens
        self.entrances: list[int] = []
        listening = [word for listen in listens for word in ("--listen", listen)]
        super().__init__(directory, "--connect", connect, *options, *listening)

    def started(self) -> None:
        """Read the log until everything is listened on."""
        for listen in self._listens:
            found = self.expect(re.escape(listen) + r": (connections|datagrams) to \S+:(\d+) go through the tunnel")
            self.entrances.append(int(found[2]))


def invoke(*arguments: str) -> Result:
    """Run the C{hypermail} command within this process; standard error is kept apart."""
    # Before click 8.2 that had to be asked for.
    separate: dict[str, Any] = {"mix_stderr": False} if "mix_stderr" in signature(CliRunner).parameters else {}
    return CliRunner(**separate).invoke(main, arguments)


def command(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the C{hypermail} command to its end."""
    return program(directory, *COMMAND, *arguments)


def program(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program that is expected to end by itself."""
    return subprocess.run(
        arguments,
        cwd=directory,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
