"""
SSH and HTTP through a tunnel whose network fails: neither notices.

    python -m benchmarks.tunnel [--size 200] [--blackout 10]

Needs root, OpenSSH and curl. Two network namespaces, 100 Mbit/s and 50 ms apart. On the one side C{sshd}, a web server
and C{twistd hypermail --forward}; on the other C{twistd hypermail --connect --listen}, an SSH session in which a line
is typed ten times a second, and a download. The network is gone for some seconds; later the starter's host has another
address. Each line has to come back, in order, and the download has to be whole.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import select
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.logged import TWISTD, Logged
from benchmarks.netemu.namespaces import BadNetwork

#: Mbit/s, ms one way, ms of queue.
PATH = {"rate": 100, "delay": 25, "queue": 50}
MOVED = "10.77.0.1"
#: s between two lines, and until the first fault and between faults.
TYPING = 0.1
PAUSE = 4.0


class Typing:
    """
    An SSH session that runs C{cat}.

    @ivar longest: s between a line and its echo, at most.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._typed: list[float] = []
        self._came = b""
        self._echoed = 0
        self.longest = 0.0

    def run(self, until: float) -> None:
        """Type, and read what comes back, until then (s of C{time.monotonic})."""
        while (now := time.monotonic()) < until:
            if not self._typed or now >= self._typed[-1] + TYPING:
                self._write(b"%d\n" % len(self._typed))
                self._typed.append(now)
            self._read(TYPING / 5)

    def finish(self, seconds: float) -> bool:
        """Wait for what has not come back yet. @return: whether all has, in order."""
        end = time.monotonic() + seconds
        while self._echoed < len(self._typed) and time.monotonic() < end and self._process.poll() is None:
            self._read(0.1)
        return self._echoed == len(self._typed)

    @property
    def lines(self) -> int:
        """How many came back."""
        return self._echoed

    def _write(self, data: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(data)
        self._process.stdin.flush()

    def _read(self, seconds: float) -> None:
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], seconds)
        if not ready:
            return
        some = os.read(self._process.stdout.fileno(), 1 << 16)
        if not some:
            raise SystemExit("the SSH session has ended")
        *lines, self._came = (self._came + some).split(b"\n")
        for line in lines:
            if line != b"%d" % self._echoed:
                raise SystemExit(f"line {self._echoed} came back as {line!r}")
            self.longest = max(self.longest, time.monotonic() - self._typed[self._echoed])
            self._echoed += 1


def move(network: BadNetwork) -> None:
    """Give the host a another address."""
    here, there = network.a.address, network.b.address
    for side, words in (
        ("b", ["route", "add", MOVED, "dev", "tun0"]),
        ("a", ["addr", "add", f"{MOVED}/32", "dev", "tun0"]),
        ("a", ["addr", "del", f"{here}/30", "dev", "tun0"]),
        ("a", ["route", "replace", there, "dev", "tun0", "src", MOVED]),
    ):
        network.run(side, ["ip", *words], check=True)  # type: ignore[arg-type]


class Scene:
    """Everything that runs. @param directory: for its files."""

    def __init__(self, network: BadNetwork, directory: Path, size: int) -> None:
        self._network = network
        self._directory = directory
        self._programs = Logged(directory)
        self._environment = {**os.environ, "XDG_STATE_HOME": str(directory / "state")}
        (directory / "www").mkdir()
        content = os.urandom(1 << 20) * (size >> 20)
        (directory / "www" / "file").write_bytes(content)
        self.digest = hashlib.sha256(content).hexdigest()

    def begin(self) -> None:
        """Start servers and the tunnel."""
        for name in ("host", "user"):
            self._do("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self._path(name))
        Path("/run/sshd").mkdir(exist_ok=True)
        self._start(
            "b",
            "sshd",
            f"/usr/sbin/sshd -D -e -f /dev/null -p 22 -h {self._path('host')} -o ListenAddress=127.0.0.1 "
            f"-o AuthorizedKeysFile={self._path('user')}.pub -o StrictModes=no -o PidFile=none -o PermitRootLogin=yes",
        )
        self._start("b", "http", f"{sys.executable} -m http.server 80 --bind 127.0.0.1 -d {self._path('www')}")
        self._start(
            "b",
            "listener",
            f"{TWISTD} --port 4700 --state {self._path('state')} --forward ssh=tcp:127.0.0.1:22 "
            "--forward web=tcp:127.0.0.1:80",
        )
        pin = self._programs.told("listener", r"--pin (\S+)")
        self._start(
            "a",
            "starter",
            f"{TWISTD} --connect {self._network.b.address}:4700 --pin {pin} "
            "--listen ssh=tcp:2222:interface=127.0.0.1 --listen web=tcp:8080:interface=127.0.0.1",
        )
        self._programs.told("starter", "session with .* is (open)")

    def typing(self) -> Typing:
        """Log in."""
        command = (
            f"ssh -T -F /dev/null -p 2222 -i {self._path('user')} -o StrictHostKeyChecking=no "
            "-o UserKnownHostsFile=/dev/null -o LogLevel=ERROR root@127.0.0.1 'exec cat'"
        )
        pipe = subprocess.PIPE
        return Typing(self._network.popen("a", shlex.split(command), stdin=pipe, stdout=pipe))

    def download(self) -> subprocess.Popen[Any]:
        """Begin to download."""
        return self._network.popen("a", ["curl", "-sS", "-o", self._path("copy"), "http://127.0.0.1:8080/file"])

    def whole(self) -> bool:
        """Whether the download is what it should be."""
        return hashlib.sha256((self._directory / "copy").read_bytes()).hexdigest() == self.digest

    def sessions(self) -> int:
        """How many sessions the starter has had."""
        return len(re.findall("session with .* is open", self._programs.text("starter")))

    def _path(self, name: str) -> str:
        return str(self._directory / name)

    def _do(self, *command: str) -> None:
        subprocess.run(command, check=True, env=self._environment)

    def _start(self, side: str, name: str, command: str) -> None:
        self._programs.start(name, self._network.popen, side, shlex.split(command), env=self._environment)


def main() -> None:
    """Run it, and say what was seen; exit code 1 when somebody noticed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=200, help="MiB of the download [200]")
    parser.add_argument("--blackout", type=float, default=10.0, help="s without a network [10]")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, BadNetwork(**PATH) as network:  # type: ignore[arg-type]
        scene = Scene(network, Path(directory), arguments.size << 20)
        scene.begin()
        began = time.monotonic()
        typing, download = scene.typing(), scene.download()
        typing.run(time.monotonic() + PAUSE)
        network.change(on=0, off=1)
        typing.run(time.monotonic() + arguments.blackout)
        network.change(off=0)
        typing.run(time.monotonic() + PAUSE)
        blackout, typing.longest = typing.longest, 0.0
        move(network)
        moving = download.poll() is None
        while download.poll() is None and time.monotonic() < began + 300:
            typing.run(time.monotonic() + 0.5)
        elapsed = time.monotonic() - began
        echoed, whole = typing.finish(30), download.returncode == 0 and scene.whole()
        print(f"download: {arguments.size} MiB in {elapsed:.1f} s, {'whole' if whole else 'NOT WHOLE'}", end="")
        print("" if moving else ", over before the move: larger, please")
        print(f"SSH: {typing.lines} lines echoed{'' if echoed else ', NOT ALL'}; longest wait", end=" ")
        print(f"{blackout:.1f} s with the blackout, {typing.longest:.1f} s with the move; sessions: {scene.sessions()}")
        if not (echoed and whole and moving and scene.sessions() == 1):
            sys.exit(1)


if __name__ == "__main__":
    main()
