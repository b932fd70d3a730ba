"""
A large file through an outbox and an inbox that are killed: what is sent twice, and how long it takes.

    python -m benchmarks.kills [--size 8192] [--kills 10] [--seed 1] [--directory DIR] [--mode tls|plain]

Two processes over loopback, C{twistd hypermail --outbox} and C{twistd hypermail --inbox}, first undisturbed, then with
SIGKILL of one and the other in turn, at random places of the file. The file has to arrive identical (SHA-256), once.
What was sent in all is counted by the interface, in a network namespace of its own, headers and acknowledgements
included; what the second run has sent more than the first was sent twice, or belongs to the openings of sessions.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shlex
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.logged import TWISTD, Logged

MIB = 1 << 20
PORT = 4700
INSIDE = "--inside"
PATIENCE = 120.0
"""Seconds in which something has to arrive."""


class Ends:
    """
    Both programs.

    @param top: a directory of its own.
    """

    def __init__(self, top: Path, mode: str) -> None:
        self.top = top
        self.logged = Logged(top)
        self._mode = ["--plain"] if mode == "plain" else []
        self._lives: Counter[str] = Counter()
        self._processes: dict[str, subprocess.Popen[Any]] = {}
        self.start("inbox")
        pin = [] if self._mode else ["--pin", self.logged.told(self.name("inbox"), r"--pin (\S+) ")]
        self._trust = [*self._mode, *pin]
        self.start("outbox")

    def name(self, end: str) -> str:
        """Of a program's log, in its present life."""
        return f"{end}{self._lives[end]}"

    def start(self, end: str) -> None:
        """Begin one of them."""
        self._lives[end] += 1
        if end == "inbox":
            options = [*self._mode, "--port", f"udp:{PORT}:interface=127.0.0.1", "--inbox", "in"]
        else:
            options = [*self._trust, "--connect", f"127.0.0.1:{PORT}", "--outbox", "out"]
        environment = {**os.environ, "XDG_STATE_HOME": str(self.top / "state")}
        command = [*shlex.split(TWISTD), *options]
        self._processes[end] = self.logged.start(
            self.name(end), subprocess.Popen, command, cwd=self.top, env=environment
        )

    def kill(self, end: str) -> None:
        """SIGKILL; it is started again at once."""
        self._processes[end].kill()
        self._processes[end].wait()
        self.start(end)

    def stop(self) -> None:
        """End both."""
        for process in self._processes.values():
            process.terminate()
            process.wait()


def sent() -> int:
    """Bytes that the loopback interface of this namespace has carried."""
    for line in Path("/proc/net/dev").read_text().splitlines():
        name, _, figures = line.partition(":")
        if name.strip() == "lo":
            return int(figures.split()[0])
    raise SystemExit("there is no loopback interface")


def arrived(inbox: Path) -> int:
    """Bytes of the file that are there."""
    return max((path.stat().st_size for path in inbox.glob(".hypermail/*.part")), default=0)


def wait(inbox: Path, size: int) -> None:
    """Until so many bytes have arrived, or the file is whole."""
    reached, since = 0, time.monotonic()
    while not (inbox / "large").exists():
        now = arrived(inbox)
        if now >= size:
            return
        if now > reached:
            reached, since = now, time.monotonic()
        if time.monotonic() - since > PATIENCE:
            raise SystemExit(f"nothing has come for {PATIENCE:.0f} s, {reached:,} bytes are there")
        time.sleep(0.005)


def run(top: Path, source: Path, mode: str, places: list[int]) -> dict[str, float]:
    """
    Send the file once.

    @param places: bytes after which one of the programs is killed.
    """
    top.mkdir()
    (top / "out").mkdir()
    os.link(source, top / "out" / "large")
    before = sent()
    ends = Ends(top, mode)
    size, inbox = source.stat().st_size, top / "in"
    try:
        wait(inbox, 1)
        began = time.monotonic()
        for number, place in enumerate(places):
            wait(inbox, place)
            ends.kill("outbox" if number % 2 else "inbox")
        wait(inbox, size + 1)
        seconds = time.monotonic() - began
        ends.logged.told(ends.name("outbox"), "(sent 'large')")
    finally:
        ends.stop()
    assert_same(source, inbox / "large")
    if sorted(path.name for path in inbox.iterdir()) != [".hypermail", "large"]:
        raise SystemExit("it is there more than once")
    (inbox / "large").unlink()
    return {"seconds": round(seconds, 2), "bytes": sent() - before, "MB_per_s": round(size / seconds / 1e6, 1)}


def assert_same(one: Path, other: Path) -> None:
    """@raise SystemExit: when two files are not identical."""
    digests = []
    for path in (one, other):
        with open(path, "rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").hexdigest())
    if digests[0] != digests[1]:
        raise SystemExit("the file has not arrived as it was sent")


def make(path: Path, size: int) -> None:
    """A file in which no two MiB are the same."""
    block = os.urandom(MIB)
    with open(path, "wb") as file:
        for number in range(size // MIB):
            file.write(number.to_bytes(8, "big") + block[8:])


def main() -> None:
    """Run, and print figures as JSON."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=8_192, help="MiB")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--directory", default=None, help="where there is room for the file twice")
    parser.add_argument("--mode", choices=("tls", "plain"), default="tls")
    parser.add_argument(INSIDE, action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if not arguments.inside:
        command = [sys.executable, "-m", "benchmarks.kills", *sys.argv[1:], INSIDE]
        script = f"ip link set lo up && exec {shlex.join(command)}"
        raise SystemExit(subprocess.run(["unshare", "-rn", "sh", "-c", script], check=False).returncode)
    chance = random.Random(arguments.seed)
    size = arguments.size * MIB
    places = sorted(chance.randrange(size // 50, size - size // 50) for _ in range(arguments.kills))
    with tempfile.TemporaryDirectory(dir=arguments.directory) as directory:
        top = Path(directory)
        make(top / "source", size)
        undisturbed = run(top / "undisturbed", top / "source", arguments.mode, [])
        killed = run(top / "killed", top / "source", arguments.mode, places)
    twice = (killed["bytes"] - undisturbed["bytes"]) / size * 100
    figures = {"size": size, "kills": arguments.kills, "undisturbed": undisturbed, "killed": killed}
    print(json.dumps({**figures, "twice_percent": round(twice, 3)}, indent=1))


if __name__ == "__main__":
    main()
