"""
What idle sessions cost on each side: memory, and processor time at given intervals of their heartbeat.

    python -m benchmarks.idle [sessions ...] [--intervals 5 60] [--messages 20] [--mode tls] [--no-tls]

A starter opens sessions over loopback to a listener, each in a process of its own, and leaves them alone. For each
number of sessions and each interval there is a fresh pair of processes, which have opened some sessions already when
counting begins. Then these are taken, of both processes:

  - opened: what they have grown by (RSS) for each session, once all are open and have rested;
  - spoken: the same after each session has sent so many messages of 100 bytes, one after the other, some sessions at a
    time; the listener's application has sent each of them back, and all have rested again;
  - core: the share of one core that they use while the sessions rest, over a whole interval of the heartbeat, 10 s at
    least, so that each session has pinged; and what that is for one heartbeat (a ping and its answer) of one session.

Twisted's TLS over TCP opens as many connections in the same run, of which memory is taken; it has no heartbeat. It has
a socket for each of them on both sides, see L{benchmarks.memory}; here all of hypermail's share one on each side.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import psutil
from cryptography import x509
from twisted.internet.defer import Deferred, ensureDeferred, gatherResults
from twisted.internet.task import deferLater, react

from benchmarks import securing
from benchmarks.memory import AT_ONCE, HOST, IDLE, OTHER_FILES, WARM, Open, TwistedTLS, allow_files, open_many
from hypermail import (
    Identity,
    ListenerOptions,
    Options,
    SessionClientEndpoint,
    SessionFactory,
    SessionProtocol,
    SessionServerEndpoint,
)

#: Bytes of a message.
MESSAGE = bytes(100)
#: s for which processor time is taken, at least.
RESTING = 10.0


class Answering(SessionProtocol):
    """The listener's application: sends everything back."""

    def messageReceived(self, message: bytes) -> None:
        """See L{ISessionProtocol}."""
        self.session.sendMessages([message])


class Asking(SessionProtocol):
    """The starter's: waits for what comes back."""

    done: Deferred[None] | None = None

    def messageReceived(self, message: bytes) -> None:
        """See L{ISessionProtocol}."""
        if self.done is not None:
            self.done.callback(None)

    async def exchange(self, messages: int) -> None:
        """Send so many messages, and wait for each until it is taken, and is back."""
        for _ in range(messages):
            self.done = Deferred()
            await gatherResults([self.done, self.session.sendMessage(MESSAGE)])
        self.done = None


@dataclass(frozen=True)
class Sessions:
    """
    Sessions of hypermail's.

    @ivar mode: how they are sealed.
    @ivar interval: s between pings.
    """

    mode: str
    interval: float

    @property
    def _options(self) -> Options:
        return Options(ping_interval=self.interval)

    async def listen(self, reactor: Any, identity: Identity) -> Any:
        """Where they are listened for."""
        endpoint = SessionServerEndpoint(
            reactor,
            0,
            security=securing.listening(self.mode, identity),
            options=self._options,
            listenerOptions=ListenerOptions(max_sessions=1 << 20),
            interface=HOST,
        )
        return await endpoint.listen(SessionFactory.forProtocol(Answering))

    def opener(self, reactor: Any, port: int, pem: str) -> Open:
        """Who opens them."""
        roots = x509.load_pem_x509_certificates(pem.encode("ascii"))
        secured = securing.starting(self.mode, trustRoots=roots)
        endpoint = SessionClientEndpoint(reactor, HOST, port, security=secured, options=self._options)
        factory = SessionFactory.forProtocol(Asking)
        return lambda: endpoint.connect(factory)


def contestant(mode: str, interval: float) -> Sessions | TwistedTLS:
    """Whose sessions are measured. @param interval: s between pings; 0 for Twisted's TLS."""
    return Sessions(mode, interval) if interval else TwistedTLS()


# The two processes.


async def serve(reactor: Any, mode: str, interval: float) -> None:
    """Listen; tell port and certificate on standard output; until killed."""
    identity = securing.identity(HOST)
    port = await contestant(mode, interval).listen(reactor, identity)
    print(json.dumps([port.getHost().port, securing.pem(identity.certificate)]), flush=True)
    await Deferred()


async def start(
    reactor: Any, mode: str, interval: float, sessions: int, messages: int, port: int, pem: str, listener: int
) -> None:
    """Open sessions, have them speak and rest, and print what both processes have used."""
    processes = {"listener": psutil.Process(listener), "starter": psutil.Process()}

    def grown() -> dict[str, float]:
        return {side: (process.memory_info().rss - before[side]) / sessions for side, process in processes.items()}

    def used() -> dict[str, float]:
        return {side: sum(process.cpu_times()[:2]) for side, process in processes.items()}

    open_one = contestant(mode, interval).opener(reactor, port, pem)
    kept = await open_many(reactor, open_one, WARM)
    before = {side: process.memory_info().rss for side, process in processes.items()}
    kept += await open_many(reactor, open_one, sessions)
    found: dict[str, Any] = {"opened": grown()}
    if interval:
        for at in range(0, len(kept), AT_ONCE):
            await gatherResults([ensureDeferred(one.exchange(messages)) for one in kept[at : at + AT_ONCE]])
        await deferLater(reactor, IDLE, lambda: None)
        found["spoken"] = grown()
        resting = max(interval, RESTING)
        at_first = used()
        await deferLater(reactor, resting, lambda: None)
        found["core"] = {side: (seconds - at_first[side]) / resting for side, seconds in used().items()}
        beats = len(kept) / interval
        found["heartbeat"] = {side: core / beats for side, core in found["core"].items()}
    print(json.dumps(found))


def run_starter(mode: str, interval: float, sessions: int, messages: int) -> None:
    """The starter's process, which begins the listener's."""
    serving = [sys.executable, "-m", "benchmarks.idle", "--listen", "--mode", mode, "--intervals", str(interval)]
    listener = subprocess.Popen(serving, stdout=subprocess.PIPE, text=True)
    try:
        assert listener.stdout is not None
        port, pem = json.loads(listener.stdout.readline())
        react(start, (mode, interval, sessions, messages, port, pem, listener.pid))
    finally:
        listener.kill()
        listener.wait()


def measured(mode: str, interval: float, sessions: int, messages: int) -> dict[str, Any]:
    """What a fresh pair of processes has found."""
    command = [sys.executable, "-m", "benchmarks.idle", str(sessions), "--start", "--mode", mode]
    command += ["--intervals", str(interval), "--messages", str(messages)]
    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="memory and processor time of idle sessions")
    parser.add_argument("sessions", type=int, nargs="*", default=[1_000, 10_000])
    parser.add_argument("--intervals", type=float, nargs="+", default=[5.0, 60.0], help="s between pings [5 60]")
    parser.add_argument("--messages", type=int, default=20, help="of each session [20]")
    parser.add_argument("--mode", choices=securing.MODES, default="tls", help="[tls]")
    parser.add_argument("--no-tls", action="store_true", help="without Twisted's TLS")
    parser.add_argument("--listen", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--start", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    mode, intervals, messages = arguments.mode, arguments.intervals, arguments.messages
    allow_files(max(arguments.sessions) + WARM + OTHER_FILES)
    if arguments.listen:
        react(serve, (mode, intervals[0]))
    if arguments.start:
        run_starter(mode, intervals[0], arguments.sessions[0], messages)
        return
    print("of each side, listener and starter       KiB, opened      KiB, spoken    % of a core  µs a heartbeat")
    columns = (("opened", 1024, 1), ("spoken", 1024, 1), ("core", 1e-2, 2), ("heartbeat", 1e-6, 0))
    results = []
    for sessions in arguments.sessions:
        for interval in intervals if arguments.no_tls else [*intervals, 0.0]:
            found = measured(mode, interval, sessions, messages)
            results.append({"sessions": sessions, "interval": interval, **found})
            name = f"hypermail, {mode}, ping {interval:g} s" if interval else "Twisted TLS"
            line = f"{sessions:6,} {name:28}"
            for what, divisor, digits in columns:
                if what in found:
                    line += "".join(f" {found[what][side] / divisor:8.{digits}f}" for side in ("listener", "starter"))
            print(line, flush=True)
    print(json.dumps({"case": "idle", "mode": mode, "messages": messages, "results": results}))


if __name__ == "__main__":
    main()
