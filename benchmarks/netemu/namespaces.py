"""
L{BadNetwork}: two network namespaces with the emulator between them, as a context manager.

    >>> with BadNetwork(delay=20, loss=2) as network:
    ...     listener = network.popen("b", ["twistd", "-n", "hypermail", "--port", "4700", "--inbox", "in"])
    ...     network.run("a", ["hypermail", "send", f"{network.b.address}:4700", "file"], check=True)

Nothing is left behind: leaving the context ends the emulator and every process that was started through it and is
still running, and removes the namespaces, whatever has happened. Should Python itself be killed, the emulator sees
its standard input end, and removes the namespaces' names then.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal

SOURCE = Path(__file__).with_name("netemu.c")
FLAGS = ("-std=gnu11", "-O2", "-Wall", "-Wextra")

SideName = Literal["a", "b"]

#: A value for both directions, or one from a to b and one from b to a.
Value = float | tuple[float, float]

_numbers = itertools.count()


class NetworkUnavailable(RuntimeError):
    """This machine, or this user, cannot have a bad network; the text says what is missing."""


@dataclass(frozen=True, slots=True)
class Side:
    """
    One end of the network.

    @ivar name: of its network namespace.
    @ivar address: its IPv4 address.
    @ivar address6: its IPv6 address, or None where the kernel has no IPv6.
    """

    name: str
    address: str
    address6: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What has become of the packets of one direction, in packets."""

    entered: int
    left: int
    held: int
    lost: int
    overflowed: int
    blackholed: int
    too_large: int
    duplicated: int
    corrupted: int
    reordered: int
    failed: int

    @classmethod
    def of(cls, record: Mapping[str, int]) -> Counts:
        """From the emulator's report."""
        fields = dict(record)
        return cls(entered=fields.pop("in"), left=fields.pop("out"), **fields)


def _cache() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(root) / "hypermail"


def build(cache: Path | None = None) -> Path:
    """
    The emulator's program, compiled unless the cache has it.

    @param cache: where programs are kept; C{$XDG_CACHE_HOME/hypermail} or C{~/.cache/hypermail} by default.
    @raise NetworkUnavailable: when there is no C compiler or it fails.
    """
    source = SOURCE.read_bytes()
    digest = hashlib.sha256(source + repr((FLAGS, sys.platform, os.uname().machine)).encode()).hexdigest()[:16]
    directory = cache or _cache()
    program = directory / f"netemu-{digest}"
    if os.access(program, os.X_OK):
        return program
    compiler = next(filter(None, map(shutil.which, (os.environ.get("CC", "cc"), "gcc", "clang"))), None)
    if compiler is None:
        raise NetworkUnavailable("no C compiler (cc) to build the network emulator with")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        # compiled beside its place and renamed, so that two builders do not meet half a program
        with tempfile.TemporaryDirectory(dir=directory) as scratch:
            made = Path(scratch) / "netemu"
            command = [compiler, *FLAGS, "-o", str(made), str(SOURCE), "-lm"]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise NetworkUnavailable(f"{' '.join(command)} failed:\n{done.stderr}")
            made.replace(program)
    except OSError as error:
        raise NetworkUnavailable(f"cannot build the network emulator in {directory}: {error}") from error
    return program


def unavailable() -> str | None:
    """
    Why there can be no bad network here, in words that suit a skipped test; None when there can be one.

    Tries it: makes a namespace and removes it again, and builds the emulator.
    """
    if not sys.platform.startswith("linux"):
        return "network namespaces need Linux"
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "network namespaces need the program ip (iproute2)"
    try:
        os.close(os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return f"the network emulator needs /dev/net/tun: {error.strerror}"
    name = f"hm{os.getpid()}x{next(_numbers)}t"
    made = _ip("netns", "add", name)
    _ip("netns", "del", name)
    if made.returncode:
        return f"network namespaces are not allowed here: {made.stderr.strip()}"
    try:
        build()
    except NetworkUnavailable as error:
        return str(error)
    return None


def _ip(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["ip", *arguments], capture_output=True, text=True)


class BadNetwork:
    """
    A network between two namespaces, C{a} and C{b}, with these faults; a context manager.

    Each value but C{seed} and C{device_mtu} may be a pair, (from a to b, from b to a), and may be changed while the
    network runs (L{change}). The queue comes first, then loss, duplication, corruption, and then the delay.

    @param delay: ms, one way.
    @param jitter: ms; up to this much more delay for each packet by itself, so that packets may overtake each other.
    @param rate: Mbit/s of IP packets; 0 for no limit.
    @param queue: ms that a packet may have to wait for the link; when it would be more it is dropped.
    @param loss: percent of packets at which a run of losses begins.
    @param burst: packets in the longest run of losses; the lengths are uniformly distributed from 1.
    @param duplicate: percent of packets that arrive twice.
    @param reorder: percent of packets that are held 5 to 30 ms longer.
    @param corrupt: percent of UDP datagrams that arrive with one bit of their payload flipped and a UDP checksum
        that fits.
    @param on: ms between blackholes.
    @param off: ms of each blackhole; with C{on=0} there is nothing but blackhole.
    @param mtu: bytes of the largest IP packet that gets through; 0 for no limit.
    @param seed: of the emulator's chance.
    @param device_mtu: bytes of the largest IP packet that the two devices send.
    @ivar a: the first L{Side}, once the context is entered.
    @ivar b: the second.
    @ivar counts: what became of the packets, (from a to b, from b to a), once the context is left.
    """

    a: Side
    b: Side
    counts: tuple[Counts, Counts]

    def __init__(
        self,
        *,
        delay: Value = 0,
        jitter: Value = 0,
        rate: Value = 0,
        queue: Value = 100,
        loss: Value = 0,
        burst: Value = 1,
        duplicate: Value = 0,
        reorder: Value = 0,
        corrupt: Value = 0,
        on: Value = 0,
        off: Value = 0,
        mtu: Value = 0,
        seed: int = 1,
        device_mtu: int = 1500,
    ) -> None:
        self._values: dict[str, Value] = {
            "delay": delay,
            "jitter": jitter,
            "rate": rate,
            "queue": queue,
            "loss": loss,
            "burst": burst,
            "duplicate": duplicate,
            "reorder": reorder,
            "corrupt": corrupt,
            "on": on,
            "off": off,
            "mtu": mtu,
            "seed": seed,
        }
        self._device_mtu = device_mtu
        self._emulator: subprocess.Popen[str] | None = None
        self._names: list[str] = []
        self._processes: list[subprocess.Popen[Any]] = []
        self._cleanup = contextlib.ExitStack()

    def __enter__(self) -> BadNetwork:
        """
        Make the network.

        @raise NetworkUnavailable: when this machine or user cannot have one.
        @raise ValueError: when the emulator does not accept a value.
        """
        reason = unavailable()
        if reason is not None:
            raise NetworkUnavailable(reason)
        try:
            self._make()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _make(self) -> None:
        number = next(_numbers)
        names = self._names = [f"hm{os.getpid()}x{number}{side}" for side in "ab"]
        subnet = number % 256
        for name in names:
            self._cleanup.callback(_ip, "netns", "del", name)
            self._must("netns", "add", name)
        self._start_emulator(names)
        sides = []
        for host, name in enumerate(names, 1):
            address, address6 = f"10.9.{subnet}.{host}", f"fd09:0:0:{subnet:x}::{host}"
            self._must("-n", name, "link", "set", "lo", "up")
            self._must("-n", name, "link", "set", "tun0", "mtu", str(self._device_mtu), "txqueuelen", "4000", "up")
            self._must("-n", name, "addr", "add", f"{address}/30", "dev", "tun0")
            has_6 = not _ip("-n", name, "addr", "add", f"{address6}/64", "dev", "tun0", "nodad").returncode
            sides.append(Side(name, address, address6 if has_6 else None))
        self.a, self.b = sides

    def _must(self, *arguments: str) -> None:
        done = _ip(*arguments)
        if done.returncode:
            raise NetworkUnavailable(f"ip {' '.join(arguments)} failed: {done.stderr.strip()}")

    def _start_emulator(self, names: Sequence[str]) -> None:
        command = [str(build()), *names, *_words(self._values), "control"]
        # a session of its own: a SIGINT from the terminal is ours to handle, and must not take the network away first
        emulator = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._emulator = emulator
        self._cleanup.callback(self._end_emulator, emulator)
        if _pipe(emulator.stdout).readline() != "READY\n":
            emulator.wait()
            complaint = _pipe(emulator.stderr).read().strip()
            if emulator.returncode == 2:
                raise ValueError(complaint.partition("\n")[0])
            raise NetworkUnavailable(complaint)

    def _end_emulator(self, emulator: subprocess.Popen[str]) -> None:
        emulator.terminate()
        _, report = emulator.communicate()
        self._emulator = None
        if emulator.returncode == 0:
            forth, back = json.loads(report)
            self.counts = Counts.of(forth), Counts.of(back)

    def _kill_all(self, name: str) -> None:
        # children of what popen() started are in the namespace too; so is the emulator, whose turn comes later
        for word in _ip("netns", "pids", name).stdout.split():
            if self._emulator is None or int(word) != self._emulator.pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(word), signal.SIGKILL)

    def close(self) -> None:
        """End the processes that were started here, the emulator and the namespaces; harmless when repeated."""
        with _interrupts_held():
            for name in self._names:
                self._kill_all(name)
            for process in self._processes:
                process.wait()
            self._processes.clear()
            self._cleanup.close()
            self._names = []

    def command(self, side: SideName, argv: Sequence[str]) -> list[str]:
        """The command that runs C{argv} on a side, for whoever wants to start it otherwise than by L{popen}."""
        return ["ip", "netns", "exec", self._side(side).name, *argv]

    def popen(self, side: SideName, argv: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """
        Start a process on a side.

        @param options: of L{subprocess.Popen}.
        @return: the process; the context kills it when it is still running at the end.
        """
        process: subprocess.Popen[Any] = subprocess.Popen(self.command(side, argv), **options)
        self._processes.append(process)
        return process

    def run(self, side: SideName, argv: Sequence[str], **options: Any) -> subprocess.CompletedProcess[Any]:
        """
        Run a process on a side to its end.

        @param options: of L{subprocess.run}.
        """
        return subprocess.run(self.command(side, argv), **options)

    def _side(self, side: SideName) -> Side:
        return self.a if side == "a" else self.b

    def change(self, **values: Value) -> None:
        """
        Change the network while it runs; packets that are on their way stay as they are.

        @param values: any of the constructor's but C{device_mtu}.
        @raise ValueError: when the emulator does not accept a value.
        """
        answer = self._ask(" ".join(_words(values)))
        if answer != "ok":
            raise ValueError(answer.removeprefix("error: "))

    def count(self) -> tuple[Counts, Counts]:
        """What has become of the packets so far: (from a to b, from b to a)."""
        forth, back = json.loads(self._ask("report"))
        return Counts.of(forth), Counts.of(back)

    def _ask(self, line: str) -> str:
        emulator = self._emulator
        if emulator is None:
            raise NetworkUnavailable("the network is not running")
        pipe = _pipe(emulator.stdin)
        pipe.write(line + "\n")
        pipe.flush()
        return _pipe(emulator.stdout).readline().rstrip("\n")


def _words(values: Mapping[str, Value]) -> list[str]:
    return [
        f"{name}={'/'.join(map(repr, value))}" if isinstance(value, tuple) else f"{name}={value!r}"
        for name, value in values.items()
    ]


def _pipe(pipe: IO[str] | None) -> IO[str]:
    if pipe is None:
        raise NetworkUnavailable("the emulator was started without its pipes")
    return pipe


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """Let a second SIGINT or SIGTERM wait until the cleaning up is done."""
    held = {signal.SIGINT, signal.SIGTERM}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, held)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
