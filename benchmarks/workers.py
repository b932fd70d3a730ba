"""
A listener with workers: how sessions are spread, what a byte costs with one worker and with several, what a kill does.

    python -m benchmarks.workers [--workers 1 2] [--sessions 1000] [--size 32] [--rounds 5] [--mode tls|secret|plain]
    python -m benchmarks.workers kill [--workers 2] [--seconds 10] [--mode tls|secret]

The listener is C{twistd hypermail --echo}, as a user starts it. Two starters, a process each, open 16 sessions, which
carry a stream of so many MiB each, there and back, all at once. Processor time is that of all processes of the
listener, its parent included, and that of the starters. Then more are opened, until there are as many as was asked for;
C{hypermail status} tells whose they are. The numbers of workers take turns; what is shown are medians.

C{kill}: 16 durable sessions, each of which sends a message every 20 ms to an inbox. In the middle a worker is killed by
SIGKILL. For how long the longest message of each session was under way is told apart for the sessions of that worker
and for those of the others; in the end the inbox has to have every message, and none twice.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
from twisted.internet.defer import Deferred, ensureDeferred, gatherResults
from twisted.internet.protocol import Protocol
from twisted.internet.task import deferLater, react

from benchmarks.logged import TWISTD, Logged
from benchmarks.loopback import BLOCK, Once
from benchmarks.memory import AT_ONCE, HOST, OTHER_FILES, allow_files
from benchmarks.securing import MODES, SECRET, starting
from hypermail import Options, SessionClientEndpoint, SessionFactory, SessionProtocol, openStore
from hypermail.services.addresses import Destination
from hypermail.services.watching import look

STARTERS = 2
"""Processes that open sessions."""

STREAMS = 16
"""Sessions that carry something."""

PATIENT = Options(connection_timeout=60.0)
"""Of a machine that may have other things to do."""

MIB = 1 << 20
LANE = 1
INTERVAL = 0.02
"""s between two messages of a session."""


class Listener:
    """
    C{twistd hypermail} with workers, in a directory of its own.

    @ivar port: where it listens.
    @ivar pin: of its key; empty in other modes than C{tls}.
    """

    def __init__(self, top: Path, workers: int, mode: str, *options: str, port: int = 0) -> None:
        (top / "secret").write_bytes(SECRET)
        (top / "secret").chmod(0o600)
        secured = {"tls": [], "secret": ["--secret-file", "secret"], "plain": ["--plain"]}[mode]
        where = f"udp:{port}:interface={HOST}"
        command = [*shlex.split(TWISTD), "--port", where, "--workers", str(workers), "--status-port", "0", *secured]
        logged = Logged(top)
        environment = {**os.environ, "XDG_STATE_HOME": str(top / "state")}
        self.process = logged.start(
            "listener", subprocess.Popen, [*command, "--state", "state", *options], cwd=top, env=environment
        )
        self.port = int(logged.told("listener", r"listening on \S+:(\d+)"))
        self.pin = logged.told("listener", r"--pin (\S+) ") if mode == "tls" else ""
        self._status = Destination(HOST, int(logged.told("listener", r"status at \S+:(\d+)/")))
        for number in range(workers if workers > 1 else 0):
            logged.told("listener", rf"worker {number} \(process (\d+)\) serves")

    def look(self) -> dict[str, Any]:
        """Its status."""
        return look(self._status)

    def seconds(self) -> float:
        """Of processor time, of all of its processes."""
        process = psutil.Process(self.process.pid)
        return sum(spent(each) for each in (process, *process.children(recursive=True)))

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait()


def spent(process: psutil.Process) -> float:
    """Seconds of processor time."""
    times = process.cpu_times()
    return float(times.user + times.system)


class Returning(Protocol):
    """Sends so many bytes; done when all are back."""

    def __init__(self, size: int) -> None:
        self._unsent = self._missing = size
        self._block = bytes(BLOCK)
        self.done: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        self._transport: Any = self.transport
        self._transport.registerProducer(self, False)

    def resumeProducing(self) -> None:
        some = min(self._unsent, BLOCK)
        self._unsent -= some
        self._transport.write(self._block[:some])
        if not self._unsent:
            self._transport.unregisterProducer()

    def stopProducing(self) -> None:
        """The session is over."""

    def dataReceived(self, data: bytes) -> None:
        self._missing -= len(data)
        if not self._missing:
            self._transport.loseConnection()

    def connectionLost(self, reason: Any = None) -> None:
        self.done.callback(None)


async def load(reactor: Any, port: int, pin: str, mode: str, sessions: int, streams: int, size: int) -> None:
    """A starter: opens sessions and says so; carries streams when it is told to; opens more, and says so again."""
    endpoint = SessionClientEndpoint(reactor, HOST, port, security=starting(mode, pin=pin), options=PATIENT)
    factory = SessionFactory.forProtocol(SessionProtocol)
    opened: list[Any] = []

    async def some(count: int) -> None:
        while len(opened) < count:
            missing = min(AT_ONCE, count - len(opened))
            opened.extend(await gatherResults([endpoint.connect(factory) for _ in range(missing)]))
        print("open", flush=True)
        sys.stdin.readline()

    async def carry(session: Any) -> None:
        returning = Returning(size)
        await session.openStream(Once(returning))
        await returning.done

    await some(streams)
    before = time.process_time()
    await gatherResults([ensureDeferred(carry(protocol.session)) for protocol in opened])
    print(time.process_time() - before, flush=True)
    await some(sessions)


def round_of(workers: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """One listener, from its start to its end."""
    with tempfile.TemporaryDirectory() as directory:
        listener = Listener(Path(directory), workers, arguments.mode, "--echo")
        starters = []
        try:
            for _ in range(STARTERS):
                numbers = (listener.port, arguments.sessions // STARTERS, STREAMS // STARTERS, arguments.size * MIB)
                command = [sys.executable, "-m", "benchmarks.workers", "load", "--mode", arguments.mode]
                command += ["--load", json.dumps([*numbers, listener.pin])]
                pipe = subprocess.PIPE
                starters.append(subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True))
            return measure(listener, starters, arguments.size)
        finally:
            for starter in starters:
                starter.kill()
                starter.communicate()
            listener.stop()


def measure(listener: Listener, starters: list[subprocess.Popen[str]], size: int) -> dict[str, Any]:
    """What one listener has to show."""
    for starter in starters:
        said(starter)
    before = listener.seconds()
    began = time.perf_counter()
    for starter in starters:
        tell(starter)
    theirs = sum(float(said(starter)) for starter in starters)
    seconds = time.perf_counter() - began
    ours = listener.seconds() - before
    carried = 2 * STREAMS * size * MIB / 1e9
    for starter in starters:
        said(starter)
    found = listener.look()
    return {
        "sessions": [each["sessions_open"] for each in found["program"].get("workers", [found["totals"]])],
        "MB_per_s": carried * 1e3 / seconds,
        "listener_s_per_GB": ours / carried,
        "starters_s_per_GB": theirs / carried,
    }


def said(process: subprocess.Popen[str]) -> str:
    """A line of a starter's."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise SystemExit("a starter has ended")
    return line


def tell(process: subprocess.Popen[str]) -> None:
    """A line to it."""
    assert process.stdin is not None
    print(file=process.stdin, flush=True)


def compare(arguments: argparse.Namespace) -> None:
    """All numbers of workers, in turns."""
    rounds: dict[int, list[dict[str, Any]]] = {workers: [] for workers in arguments.workers}
    for _ in range(arguments.rounds):
        for workers, found in rounds.items():
            found.append(round_of(workers, arguments))
    print(f"workers  {'sessions of each':24} MB/s there and back   processor s/GB: listener, starters")
    names = ("MB_per_s", "listener_s_per_GB", "starters_s_per_GB")
    medians = {}
    for workers, found in rounds.items():
        median = medians[workers] = {name: statistics.median(each[name] for each in found) for name in names}
        spread = " ".join(map(str, found[0]["sessions"]))
        row = f"{median['MB_per_s']:18,.0f} {median['listener_s_per_GB']:23.2f} {median['starters_s_per_GB']:9.2f}"
        print(f"{workers:7}  {spread:24} {row}")
    print(json.dumps({"case": "workers", "mode": arguments.mode, "medians": medians, "rounds": rounds}))


async def disturb(reactor: Any, top: Path, workers: int, mode: str, seconds: float) -> None:
    """The kill run."""
    listener = Listener(top, workers, mode, "--inbox", "in", port=free_port())
    store = await openStore(reactor, top / "own.db", b"own")
    try:
        opened = [
            await SessionClientEndpoint(
                reactor, HOST, listener.port, security=starting(mode, pin=listener.pin), store=store, name=f"{number}"
            ).connect(SessionFactory.forProtocol(SessionProtocol))
            for number in range(STREAMS)
        ]
        owners = {session["id"]: session["worker"] for session in listener.look()["sessions"]}
        of = [owners[protocol.session.sessionID.hex()] for protocol in opened]  # type: ignore[attr-defined]
        longest = [0.0] * STREAMS
        sending = []
        rounds = int(seconds / INTERVAL)
        for number in range(rounds):
            for at, protocol in enumerate(opened):
                session: Any = protocol.session  # type: ignore[attr-defined]
                session.lane(LANE, durable=True)
                taken = session.sendMessage(b"%d from %d" % (number, at), lane=LANE)
                sending.append(taken.addCallback(arrived, longest, at, time.perf_counter()))
            if number == rounds // 2:
                os.kill(listener.look()["program"]["workers"][of[0]]["pid"], signal.SIGKILL)
            await deferLater(reactor, INTERVAL)
        await gatherResults(sending)
        show_kill(top, listener, of, longest, rounds)
        await gatherResults([protocol.session.close() for protocol in opened])  # type: ignore[attr-defined]
    finally:
        await store.close()
        listener.stop()


def arrived(_: object, longest: list[float], at: int, since: float) -> None:
    """A message was taken."""
    longest[at] = max(longest[at], time.perf_counter() - since)


def show_kill(top: Path, listener: Listener, of: list[int], longest: list[float], rounds: int) -> None:
    """What has become of sessions and messages."""
    contents = Counter(path.read_bytes() for path in (top / "in").glob("message-*.txt"))
    missing = sum(not contents[b"%d from %d" % (n, at)] for n in range(rounds) for at in range(STREAMS))
    found = {
        "case": "kill",
        "messages": rounds * STREAMS,
        "missing": missing,
        "twice": sum(count - 1 for count in contents.values()),
        "sessions": dict(Counter(of)),
        "restarts": [each["restarts"] for each in listener.look()["program"]["workers"]],
        "longest_s_of_the_killed": round(max(s for s, owner in zip(longest, of, strict=True) if owner == of[0]), 2),
        "longest_s_of_the_others": round(
            max((s for s, owner in zip(longest, of, strict=True) if owner != of[0]), default=0.0), 2
        ),
    }
    print(json.dumps(found, indent=1))


def free_port() -> int:
    """A port that nobody has: a listener that is to keep sessions needs one of its own."""
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def main() -> None:
    """Run from the command line."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", choices=("compare", "kill", "load"), nargs="?", default="compare")
    parser.add_argument("--workers", type=int, nargs="+", help="[1 2]")
    parser.add_argument("--sessions", type=int, default=1_000)
    parser.add_argument("--size", type=int, default=32, help="MiB of each stream")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10.0, help="of the kill run")
    parser.add_argument("--mode", choices=MODES, default="tls")
    parser.add_argument("--load", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case == "load":
        port, sessions, streams, size, pin = json.loads(arguments.load)
        allow_files(OTHER_FILES)
        react(load, (port, pin, arguments.mode, sessions, streams, size))
    arguments.workers = arguments.workers or ([2] if arguments.case == "kill" else [1, 2])
    if arguments.case == "compare":
        compare(arguments)
        return
    with tempfile.TemporaryDirectory() as directory:
        react(disturb, (Path(directory), arguments.workers[0], arguments.mode, arguments.seconds))


if __name__ == "__main__":
    main()
