"""
What it costs that a session goes on over another link, beside opening one in the same run.

    python -m benchmarks.reopening [--count 100] [--rounds 5]

First in the simulated network, where time is exact and processors cost none: round trips from the starter's knowing
that there is a network again to the first new bytes, at the listener and at the starter. Then with two processes on
loopback, mode tls: each round opens COUNT sessions, a few at a time, and has each of them go on over another link; the
medians of the rounds are shown. What counts is processor time, of each side.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import monotonic, process_time
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.protocol import Protocol
from twisted.internet.stdio import StandardIO
from twisted.internet.task import react

from benchmarks import securing
from benchmarks.handshakes import begin
from hypermail import (
    Options,
    SessionClientEndpoint,
    SessionFactory,
    SessionProtocol,
    SessionServerEndpoint,
    readIdentity,
    writeIdentity,
)
from hypermail.errors import PeerSilent
from hypermail.testing import Conditions, SimulatedNetwork

HOST = "127.0.0.1"
AT_ONCE = 10
#: s, one way, in the simulated network.
DELAY = 0.05


class Timed(SessionProtocol):
    """
    Notes when the first message comes.

    @ivar seconds: the clock.
    """

    def __init__(self, seconds: Any) -> None:
        self.seconds = seconds
        self.first: float | None = None
        self.resumed: Deferred[None] | None = None

    def messageReceived(self, message: bytes) -> None:
        if self.first is None:
            self.first = self.seconds()

    def sessionResumed(self) -> None:
        resumed, self.resumed = self.resumed, None
        if resumed is not None:
            resumed.callback(None)


def quiet(make: Any) -> SessionFactory:
    """A factory that logs nothing."""
    factory = SessionFactory.forProtocol(make)
    factory.noisy = False
    return factory


def roundTrips(mode: str) -> dict[str, tuple[float, float]]:
    """
    In the simulated network: for opening and going on, round trips until the first message is at the listener, and the
    first at the starter.
    """
    found = {}
    network = SimulatedNetwork(1, Conditions(delay=DELAY))
    server, client = network.reactor("10.0.0.1"), network.reactor("10.0.0.2")
    identity = securing.identity("listener")
    options = Options(ping_interval=1.0, ping_packet_count=2)
    built: list[Timed] = []

    def make() -> Timed:
        built.append(Timed(lambda: network.now))
        return built[-1]

    security = securing.listening(mode, identity)
    endpoint = SessionServerEndpoint(server, 4700, interface="10.0.0.1", security=security, options=options)
    network.run_until(endpoint.listen(quiet(make)))
    security = securing.starting(mode, pin=identity.pin)
    starting = SessionClientEndpoint(client, "10.0.0.1", 4700, security=security, options=options)
    began = network.now
    ours: Any = network.run_until(starting.connect(quiet(lambda: Timed(lambda: network.now))))
    (theirs,) = built
    found["opening"] = _first(network, began, ours, theirs)
    found["meanwhile"] = _first(network, network.now, ours, theirs)
    network.set_conditions(Conditions(loss=1.0))
    network.advance(20)
    while not ours.session.connection.suspended:  # an attempt is under way
        network.step()
    network.set_conditions(Conditions(delay=DELAY))
    session = ours.session  # what it does by itself when it has noticed that there is a network again:
    session.connection.awaken(now=session.seconds())
    session.touch()
    found["reopening"] = _first(network, network.now, ours, theirs)
    ours.session.abort()
    return found


def _first(network: SimulatedNetwork, began: float, ours: Timed, theirs: Timed) -> tuple[float, float]:
    for protocol in (ours, theirs):
        protocol.first = None
        protocol.session.sendMessage(b"first").addErrback(lambda _: None)
    network.advance(40 * DELAY)
    assert ours.first is not None and theirs.first is not None
    return (theirs.first - began) / 2 / DELAY, (ours.first - began) / 2 / DELAY


async def listen(reactor: Any, path: str) -> None:
    """The listener's process: prints its port, then its processor time whenever it is asked."""
    secured = securing.listening("tls", readIdentity(path))
    sessions: Any = await SessionServerEndpoint(reactor, 0, security=secured, interface=HOST).listen(
        quiet(SessionProtocol)
    )
    print(sessions.getHost().port, flush=True)
    done: Deferred[None] = Deferred()

    class Asked(Protocol):
        def dataReceived(self, data: bytes) -> None:
            print(process_time(), flush=True)

        def connectionLost(self, reason: Any = None) -> None:
            done.callback(None)

    StandardIO(Asked(), reactor=reactor)
    await done


def again(protocol: Any) -> Deferred[None]:
    """Have a session go on over another link, as if the one that it has were lost. Fires when it does."""
    session = protocol.session
    resumed: Deferred[None] = Deferred()
    protocol.resumed = resumed
    session.connection._ending.lose(PeerSilent("says the benchmark"), monotonic())
    session.touch()
    return resumed


async def start(reactor: Any, arguments: argparse.Namespace) -> None:
    """The starter's process."""
    for mode in ("tls", "secret"):
        for name, (there, here) in roundTrips(mode).items():
            print(
                f"{mode}, {name}: first bytes at the listener after {there:.2f} round trips, at the starter {here:.2f}"
            )
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "identity.pem")
        identity = securing.identity(HOST)
        writeIdentity(identity, path)
        with begin([sys.executable, "-m", "benchmarks.reopening", "--listen", path]) as listener:
            assert listener.stdin is not None and listener.stdout is not None
            port = int(listener.stdout.readline())

            def theirs() -> float:
                assert listener.stdin is not None and listener.stdout is not None
                print(file=listener.stdin, flush=True)
                return float(listener.stdout.readline())

            endpoint = SessionClientEndpoint(
                reactor, HOST, port, security=securing.starting("tls", trustRoots=[identity.certificate])
            )
            factory = quiet(lambda: Timed(monotonic))
            figures: dict[str, list[tuple[float, float, float]]] = {"opening": [], "reopening": []}
            for round in range(arguments.rounds + 1):
                opened: list[Any] = []
                for name in figures:
                    before, began, ours = theirs(), monotonic(), process_time()
                    for number in range(0, arguments.count, AT_ONCE):
                        if name == "opening":
                            opened += await gatherResults([endpoint.connect(factory) for _ in range(AT_ONCE)])
                        else:
                            await gatherResults([again(each) for each in opened[number : number + AT_ONCE]])
                    figure = (monotonic() - began, process_time() - ours, theirs() - before)
                    if round:  # the first one warms up
                        figures[name].append(figure)
                await gatherResults([each.session.close() for each in opened])
            listener.stdin.close()
    for name, rounds in figures.items():
        seconds, starter, listens = (median(column) / arguments.count * 1e3 for column in zip(*rounds))
        print(
            f"tls on loopback, {name}: {seconds:.3f} ms each; processor: starter {starter:.3f} ms, "
            f"listener {listens:.3f} ms, both {starter + listens:.3f} ms"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--listen", metavar="IDENTITY", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.listen:
        react(lambda reactor: Deferred.fromCoroutine(listen(reactor, arguments.listen)))
    else:
        react(lambda reactor: Deferred.fromCoroutine(start(reactor, arguments)))


if __name__ == "__main__":
    os.chdir(Path(__file__).parent.parent)
    main()
