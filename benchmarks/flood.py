"""
A flood of first datagrams from many addresses, beside honest sessions.

    python -m benchmarks.flood [--rate 10000] [--seconds 20] [--sessions 10] [--offered 1000000]

Three processes on loopback: a listener; honest starters, each of which is offered so many bytes of messages
per second; and a flood of the first halves of TLS hellos, sealed as they should be, from addresses all over
127/8 that never answer. Prints what the honest sessions carried before and during the flood, how long one more
session took to open meanwhile, and the listener's memory. Exit code 1 when less than 80 % was carried, or the
opening took more than 3 s.
"""

from __future__ import annotations

import argparse
import os
import random
import socket
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall, deferLater, react

from hypermail import (
    Identity,
    ListenerTLS,
    SessionClientEndpoint,
    SessionFactory,
    SessionProtocol,
    SessionServerEndpoint,
    StarterTLS,
    readIdentity,
    writeIdentity,
)
from hypermail.connection import Connection
from hypermail.options import Options

HOST = "127.0.0.1"
#: s between two messages of an honest session.
TICK = 0.01
#: s without a flood, for comparison.
BEFORE = 5.0
#: s; how long an opening may take.
PATIENCE = 3.0
SOURCES = 400
HELLOS = 4_000


class Sink(SessionProtocol):
    """Takes messages."""

    def messageReceived(self, message: bytes) -> None:
        """Taken."""


def quiet() -> SessionFactory:
    """A factory that logs nothing."""
    factory = SessionFactory.forProtocol(Sink)
    factory.noisy = False
    return factory


async def listen(reactor: Any, path: str) -> None:
    """The listener's process."""
    port = await SessionServerEndpoint(reactor, 0, security=ListenerTLS(readIdentity(path)), interface=HOST).listen(
        quiet()
    )
    print(port.getHost().port, flush=True)
    await Deferred()


def flood(port: int, rate: int, pin: str) -> None:
    """The flood's process: says when it is ready, begins when it is told to, and ends when it is killed."""
    chance = random.Random(1)
    sources = []
    for _ in range(SOURCES):
        source = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        source.bind((f"127.{chance.randrange(1, 255)}.{chance.randrange(256)}.{chance.randrange(1, 255)}", 0))
        source.setblocking(False)
        sources.append(source)
    handshake = StarterTLS(pin=pin).starting(HOST, os.urandom)
    hellos = []
    for _ in range(HELLOS):
        connection = Connection.starter(
            (HOST, port), options=Options(), now=0.0, random_bytes=os.urandom, handshake=handshake
        )
        hellos.append(connection.trains(now=0.0)[0].datagrams[0])
    print("ready", flush=True)
    sys.stdin.readline()
    began, sent = monotonic(), 0
    while True:
        due = int((monotonic() - began) * rate)
        while sent < due:
            try:
                sources[sent % SOURCES].sendto(hellos[sent % HELLOS], (HOST, port))
            except BlockingIOError:
                pass
            sent += 1
            if sent % 1000 == 0:
                print(sent, flush=True)
        sleep(0.002)


class Honest:
    """A session that is offered a steady flow."""

    def __init__(self, session: Any, offered: int) -> None:
        self.carried = 0
        self._session = session
        self._message = bytes(int(offered * TICK))
        self._call = LoopingCall.withCount(self._offer)

    def begin(self, clock: Any) -> None:
        self._call.clock = clock
        self._call.start(TICK, now=False)

    def end(self) -> None:
        self._call.stop()

    def _offer(self, ticks: int) -> None:
        for _ in range(ticks):
            self._session.sendMessage(self._message).addCallbacks(self._taken, lambda _: None)

    def _taken(self, _: object) -> None:
        self.carried += len(self._message)


def resident(process: int) -> int:
    """Bytes of memory of a process."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def begin(*arguments: str) -> subprocess.Popen[str]:
    """Another process of this program."""
    run = [sys.executable, "-m", "benchmarks.flood", *arguments]
    return subprocess.Popen(run, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


async def measure(reactor: Any, arguments: argparse.Namespace) -> None:
    """The honest starters' process."""
    directory = tempfile.mkdtemp()
    path = os.path.join(directory, "identity.pem")
    writeIdentity(Identity.self_signed(HOST, now=datetime.now(UTC)), path)
    pin = readIdentity(path).pin
    listener = begin("--listen", path)
    assert listener.stdout is not None
    port = int(listener.stdout.readline())
    flooding = begin("--flood", str(port), "--rate", str(arguments.rate), "--pin", pin)
    assert flooding.stdin is not None and flooding.stdout is not None
    try:
        flooding.stdout.readline()
        endpoint = SessionClientEndpoint(reactor, HOST, port, security=StarterTLS(pin=pin))
        protocols = [await endpoint.connect(quiet()) for _ in range(arguments.sessions)]
        honest = [Honest(protocol.session, arguments.offered) for protocol in protocols]
        for one in honest:
            one.begin(reactor)
        await deferLater(reactor, 1)
        rates = [await carry(reactor, honest, BEFORE)]
        memory = resident(listener.pid)
        print(file=flooding.stdin, flush=True)
        began = monotonic()
        await deferLater(reactor, 2)
        asked = monotonic()
        await endpoint.connect(quiet())
        opened = monotonic() - asked
        middle = resident(listener.pid)
        rates.append(await carry(reactor, honest, arguments.seconds - (monotonic() - began)))
        after = resident(listener.pid)
        elapsed = monotonic() - began
        flooding.kill()
        sent = int(([line for line in flooding.stdout.read().split() if line.isdigit()] or ["0"])[-1])
        for one in honest:
            one.end()
    finally:
        flooding.kill()
        listener.kill()
    offered = arguments.offered * arguments.sessions
    print(f"flood: {sent:,} datagrams in {elapsed:.1f} s, {sent / elapsed:,.0f} per second")
    for name, rate in zip(("before", "during"), rates):
        print(f"{name} the flood: {rate / 1e6:.2f} MB/s of {offered / 1e6:.2f} offered ({rate / offered:.0%})")
    print(f"one more session opened in {opened * 1e3:.0f} ms")
    print(f"listener's memory: {memory >> 10:,} KiB before, {middle >> 10:,} after 2 s, {after >> 10:,} at the end")
    if rates[1] < 0.8 * offered or opened > PATIENCE:
        sys.exit(1)


async def carry(reactor: Any, honest: list[Honest], seconds: float) -> float:
    """Bytes per second that the honest sessions carry in a while."""
    before, began = sum(one.carried for one in honest), monotonic()
    await deferLater(reactor, seconds)
    return (sum(one.carried for one in honest) - before) / (monotonic() - began)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=10_000, help="datagrams per second of the flood")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--sessions", type=int, default=10)
    parser.add_argument("--offered", type=int, default=1_000_000, help="bytes per second and session")
    parser.add_argument("--listen", metavar="IDENTITY", help=argparse.SUPPRESS)
    parser.add_argument("--flood", type=int, metavar="PORT", help=argparse.SUPPRESS)
    parser.add_argument("--pin", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.flood:
        flood(arguments.flood, arguments.rate, arguments.pin)
    elif arguments.listen:
        react(lambda reactor: Deferred.fromCoroutine(listen(reactor, arguments.listen)))
    else:
        react(lambda reactor: Deferred.fromCoroutine(measure(reactor, arguments)))


if __name__ == "__main__":
    os.chdir(Path(__file__).parent.parent)
    main()
