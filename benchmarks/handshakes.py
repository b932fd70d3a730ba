"""
Sessions opened per second, and what one costs, beside Twisted's TLS over TCP in the same run.

    python -m benchmarks.handshakes [--count 500] [--rounds 5] [--mode tls|secret|plain]

Two processes, a starter and a listener; both transports show the same self-made P-256 certificate, which the starter
checks against itself as authority, name included. Each round opens COUNT sessions, and COUNT connections, a few at a
time, and keeps them until the round is over; the rounds alternate, and the medians are shown. What counts is processor
time, of both sides together.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import monotonic, process_time
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import SSL4ServerEndpoint, TCP4ClientEndpoint, connectProtocol, wrapClientTLS
from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import react
from zope.interface import implementer

from benchmarks import securing
from hypermail import (
    Identity,
    SessionClientEndpoint,
    SessionFactory,
    SessionProtocol,
    SessionServerEndpoint,
    readIdentity,
    writeIdentity,
)

HOST = "127.0.0.1"
AT_ONCE = 10


@implementer(IHandshakeListener)
class Shaken(Protocol):
    """A TLS connection that waits for its handshake."""

    def __init__(self) -> None:
        self.done: Deferred[Shaken] = Deferred()

    def handshakeCompleted(self) -> None:
        self.done.callback(self)


async def listen(reactor: Any, mode: str, path: str) -> None:
    """The listener's process: prints its ports, then its processor time whenever it is asked."""
    identity = readIdentity(path)
    quiet = SessionFactory.forProtocol(SessionProtocol)
    quiet.noisy = False
    secured = securing.listening(mode, identity)
    sessions = await SessionServerEndpoint(reactor, 0, security=secured, interface=HOST).listen(quiet)
    options = securing.listeningTCP(identity)
    connections = await SSL4ServerEndpoint(reactor, 0, options, interface=HOST).listen(Factory.forProtocol(Protocol))
    print(sessions.getHost().port, connections.getHost().port, flush=True)

    class Asked(Protocol):
        def dataReceived(self, data: bytes) -> None:
            print(process_time(), flush=True)

        def connectionLost(self, reason: Any = None) -> None:
            done.callback(None)

    from twisted.internet.stdio import StandardIO

    done: Deferred[None] = Deferred()
    StandardIO(Asked(), reactor=reactor)
    await done


async def start(reactor: Any, arguments: argparse.Namespace) -> None:
    """The starter's process."""
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "identity.pem")
        writeIdentity(securing.identity(HOST), path)
        identity = readIdentity(path)
        command = [sys.executable, "-m", "benchmarks.handshakes", "--mode", arguments.mode, "--listen", path]
        with begin(command) as listener:
            assert listener.stdin is not None and listener.stdout is not None
            ports = [int(port) for port in listener.stdout.readline().split()]

            def theirs() -> float:
                assert listener.stdin is not None and listener.stdout is not None
                print(file=listener.stdin, flush=True)
                return float(listener.stdout.readline())

            secured = securing.starting(arguments.mode, trustRoots=[identity.certificate])
            openers = {
                f"hypermail {arguments.mode}": Sessions(reactor, ports[0], secured),
                "Twisted TLS": Connections(reactor, ports[1], identity),
            }
            figures: dict[str, list[tuple[float, float, float]]] = {name: [] for name in openers}
            for round in range(arguments.rounds + 1):
                for name, opener in openers.items():
                    before, began, ours = theirs(), monotonic(), process_time()
                    opened = []
                    for _ in range(arguments.count // AT_ONCE):
                        opened += await gatherResults([opener.open() for _ in range(AT_ONCE)])
                    figure = (monotonic() - began, process_time() - ours, theirs() - before)
                    if round:  # the first one warms up
                        figures[name].append(figure)
                    await gatherResults([opener.close(one) for one in opened])
            listener.stdin.close()
    report(figures, arguments.count // AT_ONCE * AT_ONCE)


def begin(command: list[str]) -> subprocess.Popen[str]:
    """Another process."""
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


class Sessions:
    """Opens sessions of hypermail's."""

    def __init__(self, reactor: Any, port: int, security: Any) -> None:
        self._endpoint = SessionClientEndpoint(reactor, HOST, port, security=security)
        self._factory = SessionFactory.forProtocol(SessionProtocol)
        self._factory.noisy = False

    def open(self) -> Deferred[Any]:
        return self._endpoint.connect(self._factory)

    def close(self, protocol: Any) -> Deferred[Any]:
        closing: Deferred[Any] = protocol.session.close()
        return closing


class Connections:
    """Opens TLS connections over TCP."""

    def __init__(self, reactor: Any, port: int, identity: Identity) -> None:
        options = securing.startingTCP(HOST, securing.pem(identity.certificate))
        self._endpoint = wrapClientTLS(options, TCP4ClientEndpoint(reactor, HOST, port))

    def open(self) -> Deferred[Any]:
        shaken = Shaken()
        return connectProtocol(self._endpoint, shaken).addCallback(lambda _: shaken.done)

    def close(self, protocol: Any) -> Deferred[Any]:
        lost: Deferred[Any] = Deferred()
        protocol.connectionLost = lambda reason: lost.callback(None)
        protocol.transport.abortConnection()
        return lost


def report(figures: dict[str, list[tuple[float, float, float]]], count: int) -> None:
    """Print the medians."""
    totals = {}
    for name, rounds in figures.items():
        seconds, ours, theirs = (median(column) / count for column in zip(*rounds))
        totals[name] = ours + theirs
        print(
            f"{name:16} {1 / seconds:7.0f} per second; processor: starter {ours * 1e3:.3f} ms, "
            f"listener {theirs * 1e3:.3f} ms, both {totals[name] * 1e3:.3f} ms"
        )
    ratio, other = totals.values()
    print(f"ratio of processor time: {ratio / other:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mode", choices=securing.MODES, default="tls")
    parser.add_argument("--listen", metavar="IDENTITY", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.listen:
        react(lambda reactor: Deferred.fromCoroutine(listen(reactor, arguments.mode, arguments.listen)))
    else:
        react(lambda reactor: Deferred.fromCoroutine(start(reactor, arguments)))


if __name__ == "__main__":
    os.chdir(Path(__file__).parent.parent)
    main()
