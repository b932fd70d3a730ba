"""
What an idle session costs in memory, on each side, beside Twisted's TLS over TCP in the same run.

    python -m benchmarks.memory [sessions]

A starter opens sessions over loopback to a listener, each in a process of its own, and leaves them idle for
some seconds; what both processes have grown by (RSS), divided by the number of sessions, is printed. What
the kernel keeps for sockets is in no process and not counted. Each contestant has a fresh pair of processes,
which have opened some sessions already when counting begins, so that what is made once is not counted.

TLS has a socket for each connection on both sides, so the limit of open files must be
above the number of sessions. It is raised as far as the system allows (C{ulimit -Hn}); where that is too low
the program says so. 1,000 sessions are enough for the figures to repeat within some 2 %.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import psutil
from cryptography import x509
from twisted.internet import protocol
from twisted.internet.defer import Deferred, ensureDeferred, gatherResults
from twisted.internet.endpoints import SSL4ServerEndpoint, TCP4ClientEndpoint, wrapClientTLS
from twisted.internet.task import deferLater, react

from benchmarks import securing
from hypermail import Identity, SessionClientEndpoint, SessionFactory, SessionProtocol, SessionServerEndpoint

#: Sessions that are opened before counting begins, and at once.
WARM = 100
AT_ONCE = 20
#: s after the last session was opened; no handshake, acknowledgement or timer of opening is left then.
IDLE = 5.0
#: Files that a process has open besides its sessions' sockets.
OTHER_FILES = 64

HOST = "127.0.0.1"

#: Opens one session.
Open = Callable[[], Awaitable[Any]]


# The contestants: how each listens, and how each opens a session with what listens at a port.


class Hypermail:
    """
    Sessions of hypermail's.

    @param mode: how they are sealed.
    """

    def __init__(self, mode: str) -> None:
        self._mode = mode

    async def listen(self, reactor: Any, identity: Identity) -> Any:
        """Where they are listened for."""
        secured = securing.listening(self._mode, identity)
        endpoint = SessionServerEndpoint(reactor, 0, security=secured, interface=HOST)
        return await endpoint.listen(SessionFactory.forProtocol(SessionProtocol))

    def opener(self, reactor: Any, port: int, pem: str) -> Open:
        """Who opens them."""
        roots = x509.load_pem_x509_certificates(pem.encode("ascii"))
        secured = securing.starting(self._mode, trustRoots=roots)
        endpoint = SessionClientEndpoint(reactor, HOST, port, security=secured)
        factory = SessionFactory.forProtocol(SessionProtocol)
        return lambda: endpoint.connect(factory)


class TwistedTLS:
    """Connections of Twisted's TLS over TCP."""

    async def listen(self, reactor: Any, identity: Identity) -> Any:
        """Where they are listened for."""
        endpoint = SSL4ServerEndpoint(reactor, 0, securing.listeningTCP(identity), interface=HOST)
        return await endpoint.listen(protocol.Factory.forProtocol(protocol.Protocol))

    def opener(self, reactor: Any, port: int, pem: str) -> Open:
        """Who opens them, with one context for all."""
        endpoint = wrapClientTLS(securing.startingTCP(HOST, pem), TCP4ClientEndpoint(reactor, HOST, port))
        factory = protocol.Factory.forProtocol(protocol.Protocol)
        return lambda: endpoint.connect(factory)


CONTESTANTS: dict[str, Hypermail | TwistedTLS] = {
    "hypermail, tls": Hypermail("tls"),
    "hypermail, secret": Hypermail("secret"),
    "hypermail, plain": Hypermail("plain"),
    "Twisted TLS": TwistedTLS(),
}


# The two processes.


async def serve(reactor: Any, name: str) -> None:
    """Listen; tell port and certificate on standard output; until killed."""
    identity = securing.identity(HOST)
    port = await CONTESTANTS[name].listen(reactor, identity)
    print(json.dumps([port.getHost().port, securing.pem(identity.certificate)]), flush=True)
    await Deferred()


async def start(reactor: Any, name: str, sessions: int, port: int, pem: str, listener: int) -> None:
    """Open sessions, and print what both processes have grown by for each, in bytes."""
    open_one = CONTESTANTS[name].opener(reactor, port, pem)
    processes = {"listener": psutil.Process(listener), "starter": psutil.Process()}
    kept = await open_many(reactor, open_one, WARM)
    before = {side: process.memory_info().rss for side, process in processes.items()}
    kept += await open_many(reactor, open_one, sessions)
    grown = {side: process.memory_info().rss - before[side] for side, process in processes.items()}
    print(json.dumps({side: size / sessions for side, size in grown.items()}))


async def open_many(reactor: Any, open_one: Open, sessions: int) -> list[Any]:
    """Open sessions, some at once, and let them become idle."""
    opened: list[Any] = []
    while len(opened) < sessions:
        some = min(AT_ONCE, sessions - len(opened))
        opened += await gatherResults([ensureDeferred(_awaited(open_one())) for _ in range(some)])
    await deferLater(reactor, IDLE, lambda: None)
    return opened


async def _awaited(opening: Awaitable[Any]) -> Any:
    return await opening


def run_starter(name: str, sessions: int) -> None:
    """The starter's process, which begins the listener's."""
    serving = [sys.executable, "-m", "benchmarks.memory", "--listen", name]
    listener = subprocess.Popen(serving, stdout=subprocess.PIPE, text=True)
    try:
        assert listener.stdout is not None
        port, pem = json.loads(listener.stdout.readline())
        react(start, (name, sessions, port, pem, listener.pid))
    finally:
        listener.kill()
        listener.wait()


def allow_files(count: int) -> None:
    """Raise the limit of open files. @raise SystemExit: when the system allows no such number."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        raise SystemExit(f"{count} open files are needed, and the system allows {hard}: try fewer sessions")
    if soft != resource.RLIM_INFINITY and soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="memory of an idle session, beside Twisted's TLS")
    parser.add_argument("sessions", type=int, nargs="?", default=1_000)
    parser.add_argument("--listen", choices=CONTESTANTS, help=argparse.SUPPRESS)
    parser.add_argument("--start", choices=CONTESTANTS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    allow_files(arguments.sessions + WARM + OTHER_FILES)
    if arguments.listen:
        react(serve, (arguments.listen,))
    if arguments.start:
        run_starter(arguments.start, arguments.sessions)
        return
    results: dict[str, dict[str, float]] = {}
    print(f"{arguments.sessions} idle sessions, KiB of each    listener     starter")
    for name in CONTESTANTS:
        command = [sys.executable, "-m", "benchmarks.memory", "--start", name, str(arguments.sessions)]
        ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        results[name] = json.loads(ran.stdout)
        listener, starter = (results[name][side] / 1024 for side in ("listener", "starter"))
        print(f"{name:32} {listener:11.1f} {starter:11.1f}", flush=True)
    print(json.dumps({"case": "memory", "sessions": arguments.sessions, "bytes": results}))


if __name__ == "__main__":
    main()
