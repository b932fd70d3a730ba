"""
Sessions opened and closed per second, and what one costs, beside Twisted's TLS over TCP and aioquic in the same run.

    python -m benchmarks.handshakes [--count 200] [--rounds 5] [--at-once 1,16] [--mode tls|secret|plain]

Two processes of each transport, a starter and a listener, all with the same self-made P-256 certificate, which the
starters check against itself as authority, name included. Each round opens COUNT sessions, or connections, of each
transport, one after the other and so many at once, each with a whole handshake, and closes each as soon as it is open:
hypermail and TLS wait until the other side has closed it, too; aioquic, whose closed connections stay for three probe
timeouts, does not. The transports take turns; what is shown are medians, and ratios within a round. Processor time is
that of both processes. Sessions of one program share a socket, which is open as long as any of them: here one more is
kept open, as otherwise each that is opened when the one before was closed would cost a socket, too.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from time import monotonic, process_time
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import SSL4ServerEndpoint, TCP4ClientEndpoint, connectProtocol, wrapClientTLS
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.stdio import StandardIO
from twisted.internet.task import react
from twisted.protocols.basic import LineOnlyReceiver
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

#: Opens one session, or connection, and closes it.
Once = Callable[[], Awaitable[None]]


def begin(command: list[str]) -> subprocess.Popen[str]:
    """Another process."""
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


class Figure(NamedTuple):
    """
    What one session has cost.

    @ivar seconds: of the wall clock, for all of them divided by how many there were.
    @ivar starter: s of its process.
    @ivar listener: s of its process.
    """

    seconds: float
    starter: float
    listener: float

    @property
    def both(self) -> float:
        """s of both processes."""
        return self.starter + self.listener


# hypermail


async def hypermailListener(reactor: Any, mode: str, identity: Identity) -> int:
    """@return: the port."""
    factory = SessionFactory.forProtocol(SessionProtocol)
    factory.noisy = False
    endpoint = SessionServerEndpoint(reactor, 0, security=securing.listening(mode, identity), interface=HOST)
    host: Any = (await endpoint.listen(factory)).getHost()
    return int(host.port)


def hypermailStarter(reactor: Any, mode: str, identity: Identity, port: int) -> Once:
    """@return: a session."""
    security = securing.starting(mode, trustRoots=[identity.certificate])
    endpoint = SessionClientEndpoint(reactor, HOST, port, security=security)
    factory = SessionFactory.forProtocol(SessionProtocol)
    factory.noisy = False
    kept: list[Any] = []

    async def once() -> None:
        if not kept:
            kept.append(await endpoint.connect(factory))
        protocol = await endpoint.connect(factory)
        await protocol.session.close()

    return once


# TLS


@implementer(IHandshakeListener)
class Shaken(Protocol):
    """A TLS connection that is closed when its handshake is over."""

    transport: Any

    def __init__(self) -> None:
        self.over: Deferred[None] = Deferred()

    def handshakeCompleted(self) -> None:
        """Close it."""
        self.transport.loseConnection()

    def connectionLost(self, reason: Any = None) -> None:
        """It is closed."""
        if reason.check(ConnectionDone):
            self.over.callback(None)
        else:
            self.over.errback(reason)


async def tlsListener(reactor: Any, mode: str, identity: Identity) -> int:
    """@return: the port."""
    endpoint = SSL4ServerEndpoint(reactor, 0, securing.listeningTCP(identity), interface=HOST)
    host: Any = (await endpoint.listen(Factory.forProtocol(Protocol))).getHost()
    return int(host.port)


def tlsStarter(reactor: Any, mode: str, identity: Identity, port: int) -> Once:
    """@return: a connection."""
    options = securing.startingTCP(HOST, securing.pem(identity.certificate))
    endpoint = wrapClientTLS(options, TCP4ClientEndpoint(reactor, HOST, port))

    async def once() -> None:
        shaken = Shaken()
        await connectProtocol(endpoint, shaken)
        await shaken.over

    return once


TWISTED = {"hypermail": (hypermailListener, hypermailStarter), "Twisted TLS": (tlsListener, tlsStarter)}


class Commands(LineOnlyReceiver):
    """What a process is told: each line is a call, whose result is its answer."""

    delimiter = b"\n"
    transport: Any

    def __init__(self, call: Callable[[str], Any]) -> None:
        self._call = call
        self.over: Deferred[None] = Deferred()

    def lineReceived(self, line: bytes) -> None:
        """Answer."""
        Deferred.fromCoroutine(self._answer(line.decode())).addErrback(self._failed)

    async def _answer(self, line: str) -> None:
        answer = self._call(line)
        print(await answer if isinstance(answer, Awaitable) else answer, flush=True)

    def _failed(self, failure: Any) -> None:
        failure.printTraceback()
        self.transport.loseConnection()

    def connectionLost(self, reason: Any = None) -> None:
        """Whoever has told it is gone."""
        self.over.callback(None)


async def listen(reactor: Any, name: str, mode: str, identity: Identity) -> None:
    """A listener's process: prints its port, then its processor time whenever it is asked."""
    print(await TWISTED[name][0](reactor, mode, identity), flush=True)
    commands = Commands(lambda line: process_time())
    StandardIO(commands, reactor=reactor)
    await commands.over


async def start(reactor: Any, name: str, mode: str, identity: Identity, port: int) -> None:
    """A starter's process: opens what it is told to, and prints what that took."""
    once = TWISTED[name][1](reactor, mode, identity, port)

    async def some(count: int) -> None:
        for _ in range(count):
            await once()

    async def run(line: str) -> str:
        count, width = map(int, line.split())
        began, processor = monotonic(), process_time()
        await gatherResults([Deferred.fromCoroutine(some(count // width)) for _ in range(width)], consumeErrors=True)
        return f"{monotonic() - began} {process_time() - processor}"

    commands = Commands(run)
    StandardIO(commands, reactor=reactor)
    await commands.over


# aioquic


async def quicListener(identity: Identity) -> None:
    """As L{listen}."""
    from aioquic.asyncio import serve
    from aioquic.quic.configuration import QuicConfiguration

    configuration = QuicConfiguration(is_client=False, alpn_protocols=["hq"])
    configuration.certificate, configuration.private_key = identity.certificate, identity.key
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind((HOST, 0))
        port: int = free.getsockname()[1]
    await serve(HOST, port, configuration=configuration)
    print(port, flush=True)
    loop, over = asyncio.get_running_loop(), asyncio.Event()

    def asked() -> None:
        if sys.stdin.readline():
            print(process_time(), flush=True)
        else:
            over.set()

    loop.add_reader(sys.stdin.fileno(), asked)
    await over.wait()


def quicStarter(identity: Identity, port: int) -> None:
    """As L{start}."""
    from aioquic.asyncio import connect
    from aioquic.quic.configuration import QuicConfiguration

    configuration = QuicConfiguration(is_client=True, alpn_protocols=["hq"], server_name=HOST)
    configuration.load_verify_locations(cadata=securing.pem(identity.certificate).encode())

    async def one(closed: asyncio.Future[None]) -> None:
        try:
            async with connect(HOST, port, configuration=configuration) as connection:
                connection.close()
                closed.set_result(None)
        except BaseException as error:
            if not closed.done():
                closed.set_exception(error)
            raise

    async def some(count: int, ending: list[asyncio.Task[None]]) -> None:
        for _ in range(count):
            closed = asyncio.get_running_loop().create_future()
            ending.append(asyncio.create_task(one(closed)))
            await closed

    async def run(count: int, width: int) -> float:
        began = monotonic()
        ending: list[asyncio.Task[None]] = []
        await asyncio.gather(*(some(count // width, ending) for _ in range(width)))
        seconds = monotonic() - began
        await asyncio.gather(*ending)
        return seconds

    for line in sys.stdin:
        processor = process_time()
        seconds = asyncio.run(run(*map(int, line.split())))
        print(seconds, process_time() - processor, flush=True)


# All of them


class Transport:
    """
    A starter and a listener, in two processes.

    @param name: of the transport.
    """

    def __init__(self, name: str, mode: str, path: str) -> None:
        command = [
            sys.executable,
            "-m",
            "benchmarks.handshakes",
            "--mode",
            mode,
            "--identity",
            path,
            "--transport",
            name,
        ]
        self._listener = begin([*command, "--listen"])
        self._starter = begin([*command, "--port", _answer(self._listener)])

    def run(self, count: int, width: int) -> Figure:
        """Open and close so many, so many at once."""
        before = float(_ask(self._listener, "time"))
        seconds, processor = map(float, _ask(self._starter, f"{count} {width}").split())
        listener = float(_ask(self._listener, "time")) - before
        return Figure(seconds / count, processor / count, listener / count)

    def end(self) -> None:
        """Both processes end."""
        for process in (self._starter, self._listener):
            assert process.stdin is not None
            process.stdin.close()
            process.wait()


def _ask(process: subprocess.Popen[str], line: str) -> str:
    assert process.stdin is not None
    print(line, file=process.stdin, flush=True)
    return _answer(process)


def _answer(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    answer = process.stdout.readline()
    if not answer:
        raise SystemExit("a process has failed")
    return answer.strip()


def compare(arguments: argparse.Namespace) -> None:
    """Run all that there are, in turns."""
    names = [*TWISTED, "aioquic"] if find_spec("aioquic") else [*TWISTED]
    widths = [int(width) for width in arguments.at_once.split(",")]
    figures: dict[tuple[str, int], list[Figure]] = {(name, width): [] for width in widths for name in names}
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "identity.pem")
        writeIdentity(securing.identity(HOST), path)
        transports = {name: Transport(name, arguments.mode, path) for name in names}
        for round in range(arguments.rounds + 1):
            for (name, width), found in figures.items():
                count = max(arguments.count // width, 1) * width
                figure = transports[name].run(count if round else 2 * width, width)
                if round:  # the first one warms up
                    found.append(figure)
        for transport in transports.values():
            transport.end()
    for width in widths:
        print(f"{width} at once, hypermail in mode {arguments.mode}:")
        report({name: figures[name, width] for name in names})
    if "aioquic" not in names:
        print("aioquic is missing: it is not installed here")


def report(figures: dict[str, list[Figure]]) -> None:
    """Print the medians, and hypermail's part of the others."""
    ours = figures["hypermail"]
    for name, found in figures.items():
        seconds, starter, listener = (median(column) for column in zip(*found))
        line = f"  {name:12}{1 / seconds:7.0f} per second; processor: starter {starter * 1e3:.2f} ms, "
        line += f"listener {listener * 1e3:.2f} ms, both {median(figure.both for figure in found) * 1e3:.2f} ms"
        if found is not ours:
            rate = median(other.seconds / own.seconds for own, other in zip(ours, found))
            cost = median(own.both / other.both for own, other in zip(ours, found))
            line += f"; hypermail has {rate:.2f} of its rate, {cost:.2f} of its processor time"
        print(line)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--at-once", default="1,16")
    parser.add_argument("--mode", choices=securing.MODES, default="tls")
    parser.add_argument("--identity", help=argparse.SUPPRESS)
    parser.add_argument("--transport", help=argparse.SUPPRESS)
    parser.add_argument("--listen", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.transport is None:
        compare(arguments)
        return
    identity = readIdentity(arguments.identity)
    if arguments.transport in TWISTED:
        settings = (arguments.transport, arguments.mode, identity)
        if arguments.listen:
            react(lambda reactor: Deferred.fromCoroutine(listen(reactor, *settings)))
        else:
            react(lambda reactor: Deferred.fromCoroutine(start(reactor, *settings, arguments.port)))
    elif arguments.listen:
        asyncio.run(quicListener(identity))
    else:
        quicStarter(identity, arguments.port)


if __name__ == "__main__":
    os.chdir(Path(__file__).parent.parent)
    main()
