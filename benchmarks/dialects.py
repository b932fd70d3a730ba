"""
What a client costs a listener in each dialect, and how fast messages are, beside the native protocol in the same run.

    python -m benchmarks.dialects [clients] [--messages N] [--rounds N]

One listener and, in a process of its own, so many clients at once, over loopback. All are opened, then each sends so
many messages of 100 bytes, at most 64 of them unacknowledged, with a Deferred each; the last acknowledgement by the
listener's application ends the measurement. Then they rest, and what the listener has grown by (RSS) is divided by
their number; so is its processor time while they rest. Before that one client sends as many messages as all
together, up to 20,000, while 49 others are idle. Contestants take turns; medians of the rounds are shown, and what they
are of the native protocol's in mode C{plain}, which does not encrypt either.

Clients of C{digest} and of the native protocol have a socket each here; those of C{batch} share one, as they may.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Callable
from time import perf_counter
from typing import Any

import psutil
from twisted.internet.defer import Deferred, ensureDeferred, gatherResults
from twisted.internet.task import deferLater, react

from benchmarks import securing
from benchmarks.memory import OTHER_FILES, allow_files
from hypermail import Batch, Digest, SessionClientEndpoint, SessionFactory, SessionProtocol, SessionServerEndpoint

HOST = "127.0.0.1"
#: Bytes of a message.
MESSAGE = bytes(100)
#: Messages of one client that are not acknowledged, at most.
OUTSTANDING = 64
#: Clients that are opened at once, and before counting begins.
AT_ONCE = 20
WARM = 50
#: Messages of the one client that has the listener for itself, at most.
ALONE = 20_000
#: s after which nothing of opening is left.
IDLE = 2.0
#: s of idleness in which the listener's processor time is taken.
RESTING = 10.0

OURS = "ffeeddcc-bbaa-9988-7766-554433221100"
SECRETS = {OURS: b"server"}
PLAIN, TLS = "native, plain", "native, tls"


class Taking(SessionProtocol):
    """The listener's application: takes everything at once."""

    def messageReceived(self, message: bytes) -> None:
        """See L{ISessionProtocol}."""


def _native(mode: str) -> tuple[Callable[[Any], Any], Callable[[Any, int, str], Any]]:
    def listen(identity: Any) -> Any:
        return {"security": securing.listening(mode, identity)}

    def call(number: Any, port: int, pin: str) -> Any:
        return {"security": securing.starting(mode, pin=pin), "bindAddress": f"127.1.{number >> 8}.{number & 255}"}

    return listen, call


def _batch(number: int, port: int, pin: str) -> Any:
    return {"dialect": Batch()}


def _digest(number: int, port: int, pin: str) -> Any:
    uuid = f"{number:08x}-4455-6677-8899-aabbccddeeff"
    return {"dialect": Digest(uuid=uuid, secret=b"client " + uuid.encode(), secrets=SECRETS)}


#: What each contestant gives the endpoints besides host and port.
CONTESTANTS: dict[str, tuple[Callable[[Any], Any], Callable[[int, int, str], Any]]] = {
    PLAIN: _native("plain"),
    TLS: _native("tls"),
    "batch": (lambda identity: {"dialect": Batch()}, _batch),
    "digest": (
        lambda identity: {
            "dialect": Digest(uuid=OURS, secret=b"server", secrets=lambda uuid: b"client " + uuid.encode())
        },
        _digest,
    ),
}


# The two processes.


async def serve(reactor: Any, name: str) -> None:
    """Listen; tell port and pin on standard output; until killed."""
    identity = securing.identity(HOST)
    endpoint = SessionServerEndpoint(reactor, 0, interface=HOST, **CONTESTANTS[name][0](identity))
    port = await endpoint.listen(SessionFactory.forProtocol(Taking))
    print(json.dumps([port.getHost().port, identity.pin]), flush=True)
    await Deferred()


async def call(reactor: Any, name: str, clients: int, messages: int, port: int, pin: str, listener: int) -> None:
    """Open clients, have them send, and print what was measured."""
    numbers = iter(range(1, 1 << 16))
    process = psutil.Process(listener)

    async def one() -> Any:
        more = CONTESTANTS[name][1](next(numbers), port, pin)
        protocol = await SessionClientEndpoint(reactor, HOST, port, **more).connect(
            SessionFactory.forProtocol(SessionProtocol)
        )
        return protocol.session

    async def some(count: int) -> list[Any]:
        opened: list[Any] = []
        while len(opened) < count:
            opened += await gatherResults([ensureDeferred(one()) for _ in range(min(AT_ONCE, count - len(opened)))])
        await deferLater(reactor, IDLE, lambda: None)
        return opened

    kept = await some(WARM)
    alone = await rate(kept[:1], min(clients * messages, ALONE))
    before = process.memory_info().rss
    sessions = await some(clients)
    together = await rate(sessions, messages)
    await deferLater(reactor, IDLE, lambda: None)
    memory = (process.memory_info().rss - before) / clients
    times = process.cpu_times()
    await deferLater(reactor, RESTING, lambda: None)
    spent = process.cpu_times()
    idle = (spent.user + spent.system - times.user - times.system) / RESTING / (clients + WARM) * 1_000
    print(json.dumps({"together": together, "alone": alone, "memory": memory, "idle": idle}))


async def rate(sessions: list[Any], messages: int) -> float:
    """Messages per second of all sessions together, each of which sends so many."""
    began = perf_counter()
    await gatherResults([ensureDeferred(send(session, messages)) for session in sessions])
    return len(sessions) * messages / (perf_counter() - began)


async def send(session: Any, messages: int) -> None:
    """Send messages, some at once."""
    left = iter(range(messages))

    async def lane() -> None:
        for _ in left:
            await session.sendMessage(MESSAGE)

    await gatherResults([ensureDeferred(lane()) for _ in range(min(OUTSTANDING, messages))])


def run_clients(name: str, clients: int, messages: int) -> None:
    """The clients' process, which begins the listener's."""
    serving = [sys.executable, "-m", "benchmarks.dialects", "--listen", name]
    listener = subprocess.Popen(serving, stdout=subprocess.PIPE, text=True)
    try:
        assert listener.stdout is not None
        port, pin = json.loads(listener.stdout.readline())
        react(call, (name, clients, messages, port, pin, listener.pid))
    finally:
        listener.kill()
        listener.wait()


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="clients and messages of each dialect, beside the native protocol")
    parser.add_argument("clients", type=int, nargs="?", default=1_000)
    parser.add_argument("--messages", type=int, default=20, help="of each client [20]")
    parser.add_argument("--rounds", type=int, default=3, help="[3]")
    parser.add_argument("--listen", choices=CONTESTANTS, help=argparse.SUPPRESS)
    parser.add_argument("--call", choices=CONTESTANTS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    allow_files(arguments.clients + WARM + OTHER_FILES)
    if arguments.listen:
        react(serve, (arguments.listen,))
    if arguments.call:
        run_clients(arguments.call, arguments.clients, arguments.messages)
        return
    found: dict[str, list[dict[str, float]]] = {name: [] for name in CONTESTANTS}
    for _ in range(arguments.rounds):
        for name, results in found.items():
            command = [sys.executable, "-m", "benchmarks.dialects", "--call", name, str(arguments.clients)]
            command += ["--messages", str(arguments.messages)]
            results.append(json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout))
    medians = {
        name: {what: statistics.median(each[what] for each in results) for what in results[0]}
        for name, results in found.items()
    }
    show(medians, arguments.clients)
    print(json.dumps({"case": "dialects", "clients": arguments.clients, "medians": medians, "rounds": found}))


def show(medians: dict[str, dict[str, float]], clients: int) -> None:
    """A table for people."""
    print(f"{clients:,} clients: messages/s of all together, and of one alone; of each, at the listener: KiB, and ms")
    print("of processor time in a second of idleness")
    native = medians[PLAIN]
    for name, row in medians.items():
        line = f"{name:14}"
        for what, divisor, digits in (("together", 1.0, 0), ("alone", 1.0, 0), ("memory", 1024.0, 1), ("idle", 1.0, 3)):
            line += f" {row[what] / divisor:12,.{digits}f} ({row[what] / native[what]:5.2f} x)"
        print(line)


if __name__ == "__main__":
    main()
