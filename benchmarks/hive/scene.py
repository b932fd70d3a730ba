"""
The processes of a hive: a queen, cells, and a web server behind them; what they use of the machine.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

from benchmarks.logged import Logged
from benchmarks.securing import identity, pem

#: How a cell comes to its queen.
WAYS = ("tls", "hypermail")

#: s that a program has to begin, and a cell to be mounted.
BEGINNING = 20.0

_TWISTD = (sys.executable, "-c", "from twisted.scripts.twistd import run; run()", "-n", "--pidfile=")


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A port of loopback that nobody has."""
    with socket.socket(socket.AF_INET, kind) as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@dataclass(frozen=True)
class Usage:
    """
    What a program and its children have used so far.

    @ivar seconds: of processors.
    @ivar memory: bytes that are resident now.
    @ivar peak: the most that were since the last L{Program.forget_peak}.
    """

    seconds: float
    memory: int
    peak: int


class Program:
    """
    One that runs, with its children.

    @ivar name: of its log, too.
    """

    def __init__(self, name: str, process: subprocess.Popen[Any]) -> None:
        self.name = name
        self.process = process

    def usage(self) -> Usage:
        """What it has used."""
        seconds, memory, peak = 0.0, 0, 0
        for one in self._all():
            with contextlib.suppress(psutil.NoSuchProcess):
                times = one.cpu_times()
                seconds += times.user + times.system
                memory += one.memory_info().rss
                peak += _peak(one.pid)
        return Usage(seconds, memory, peak)

    def forget_peak(self) -> None:
        """The peak is what it has now (proc(5), C{clear_refs})."""
        for one in self._all():
            Path(f"/proc/{one.pid}/clear_refs").write_text("5")

    def kill(self) -> None:
        """SIGKILL. Harmless when it is over."""
        self.process.kill()
        self.process.wait()

    def _all(self) -> list[psutil.Process]:
        whole = psutil.Process(self.process.pid)
        return [whole, *whole.children(recursive=True)]


def _peak(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) << 10
    return 0


class Hive:
    """
    One queen's; a context manager, which kills whatever has not ended.

    @param directory: for keys, configuration and logs; a new one.
    @param address: of the queen, whom clients and cells reach there.
    @param begin: takes what C{Popen} takes, for who runs where.
    """

    def __init__(
        self,
        directory: Path,
        address: str = "127.0.0.1",
        *,
        begin: Callable[..., Callable[..., subprocess.Popen[Any]]] = lambda role: subprocess.Popen,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.address = address
        self.https = free_port()
        self.hlhv = free_port()
        self.udp = free_port(socket.SOCK_DGRAM)
        self._begin = begin
        self._programs = Logged(directory)
        self._running: list[Program] = []
        self._counts: dict[str, int] = {}
        self._certify()

    @property
    def origin(self) -> str:
        """Of URLs."""
        return f"https://{self.address}:{self.https}"

    def __enter__(self) -> Hive:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for program in self._running:
            program.kill()

    def _certify(self) -> None:
        shown = identity(self.address)
        private = self.directory / "identity.pem"
        private.touch(mode=0o600)
        private.write_bytes(shown.to_pem())
        (self.directory / "certificate.pem").write_text(pem(shown.certificate))
        self._pin = shown.pin
        making = [str(Path(sys.executable).with_name("hypermail")), "hive-key", str(self.directory / "cell.key")]
        line = subprocess.run(making, capture_output=True, text=True, check=True).stdout
        said = {
            "keyPath": private,
            "certPath": private,
            "identityPath": private,
            "portHttps": self.https,
            "portHlhv": self.hlhv,
            "portHypermail": self.udp,
            "bind": self.address,
        }
        text = line + "".join(f"{key} {value}\n" for key, value in said.items())
        (self.directory / "queen.conf").write_text(text)

    # Programs

    def start(self, role: str, command: Sequence[str]) -> Program:
        """Begin a program. @param role: its name, and who begins it."""
        number = self._counts[role] = self._counts.get(role, 0) + 1
        name = f"{role}-{number}"
        program = Program(name, self._programs.start(name, self._begin(role), list(command)))
        self._running.append(program)
        return program

    def told(self, program: Program, pattern: str) -> str:
        """Wait until it says something. @return: the pattern's first group."""
        return self._programs.told(program.name, pattern)

    def log(self, program: Program) -> str:
        """All that it has said."""
        return self._programs.text(program.name)

    def queen(self) -> Program:
        """A queen, who listens; the next one is the same anew."""
        command = [*_TWISTD, "hypermail-queen", "--conf-path", str(self.directory / "queen.conf")]
        queen = self.start("queen", command)
        self.told(queen, r"the queen serves (HTTPS)")
        return queen

    def cell(self, way: str) -> Program:
        """A cell that answers by itself, L{benchmarks.hive.cell}; it is mounted at C{@/}."""
        where = self.hlhv if way == "tls" else self.udp
        trust = str(self.directory / "certificate.pem") if way == "tls" else self._pin
        words = [way, self.address, str(where), trust, str(self.directory / "cell.key")]
        return self._mounted(self.start("cell", [sys.executable, "-m", "benchmarks.hive.cell", *words]))

    def proxy(self, way: str, upstream: str) -> Program:
        """C{twistd hypermail-cell --proxy}. @param upstream: a URL."""
        if way == "tls":
            where = ["--queen", f"{self.address}:{self.hlhv}"]
            where += ["--trust-roots", str(self.directory / "certificate.pem")]
        else:
            where = ["--queen", f"hypermail:host={self.address}:port={self.udp}", "--pin", self._pin]
        words = [*where, "--key-file", str(self.directory / "cell.key"), "--mount", "@/", "--proxy", upstream]
        return self._mounted(self.start("cell", [*_TWISTD, "hypermail-cell", *words]))

    def _mounted(self, cell: Program) -> Program:
        self.mounted(cell)
        return cell

    def mounted(self, cell: Program, times: int = 1) -> None:
        """Wait until a cell is, for so many times. @raise SystemExit: when it is not in time."""
        end = time.monotonic() + 3 * BEGINNING
        while self.log(cell).count("is mounted") < times:
            if time.monotonic() > end:
                raise SystemExit(f"{cell.name} is not mounted:\n{self.log(cell)}")
            time.sleep(0.02)


@contextlib.contextmanager
def sampled(programs: Sequence[Program]) -> Iterator[dict[str, int]]:
    """What is within counts: at its end, the peak of each by its name (bytes)."""
    for program in programs:
        program.forget_peak()
    peaks: dict[str, int] = {}
    yield peaks
    for program in programs:
        peaks[program.name] = program.usage().peak
