"""
Durable messages per second beside others, one way between two processes, in the same run.

    python -m benchmarks.durable.rate [--count 100000] [--size 200] [--rounds 5] [--directory DIR]

Mode tls on loopback. Both processes have their stores on disk, the durable lane and the other one are of one session. A
round sends COUNT messages on each lane, once with C{sendMessages} and once with a Deferred for each, and is over when
the last one is settled: taken by the receiver's application, and on the durable lane written down on both sides. Shown
are the medians of the rounds: messages per s, and the processor time of a message on each side.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from itertools import repeat
from pathlib import Path
from statistics import median
from time import monotonic, process_time
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol
from twisted.internet.stdio import StandardIO
from twisted.internet.task import react

from benchmarks import securing
from benchmarks.handshakes import begin
from hypermail import (
    SessionClientEndpoint,
    SessionFactory,
    SessionProtocol,
    SessionServerEndpoint,
    openStore,
    readIdentity,
    writeIdentity,
)
from hypermail.services.store import STORE_FILE

HOST = "127.0.0.1"
LANES = {"others": 0, "durable": 1}
OWNER = b"rate"
IDENTITY = "identity.pem"
AT_ONCE = 4_096
"""Deferreds that wait at one time."""


class Taking(SessionProtocol):
    """A receiver that takes everything."""

    def messageReceived(self, message: bytes) -> None:
        pass


def factory(make: Any) -> SessionFactory:
    """One that logs nothing."""
    found = SessionFactory.forProtocol(make)
    found.noisy = False
    return found


class Answers(Protocol):
    """
    Prints the processor time of this process whenever that is asked.

    @ivar over: fires when nobody can ask any more.
    """

    def __init__(self) -> None:
        self.over: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        print(process_time(), flush=True)

    def connectionLost(self, reason: Any = None) -> None:
        self.over.callback(None)


async def listen(reactor: Any, directory: str) -> None:
    """The receiver's process."""
    store = await openStore(reactor, Path(directory, STORE_FILE), OWNER)
    identity = readIdentity(os.path.join(directory, IDENTITY))
    endpoint = SessionServerEndpoint(
        reactor, 0, security=securing.listening("tls", identity), interface=HOST, store=store
    )
    port: Any = await endpoint.listen(factory(Taking))
    answers = Answers()
    StandardIO(answers, reactor=reactor)
    print(port.getHost().port, flush=True)
    await answers.over
    await port.stopListening()
    await store.close()


class Many:
    """
    A producer that sends without Deferreds, and one of its own with the last message.

    @ivar settled: fires when the last one is settled.
    """

    def __init__(self, session: Any, lane: int, count: int, data: bytes) -> None:
        self._session = session
        self._lane = lane
        self._left = count - 1
        self._data = data
        self.settled: Deferred[None] = Deferred()

    def resumeProducing(self) -> None:
        """There is room."""
        self._left -= self._session.sendMessages(repeat(self._data, self._left), lane=self._lane)
        if not self._left:
            self._session.unregisterProducer()
            # A lane is settled in order, as its messages are taken at once.
            self._session.sendMessage(self._data, lane=self._lane).chainDeferred(self.settled)

    def pauseProducing(self) -> None:
        """There is none."""

    def stopProducing(self) -> None:
        """The session is over."""

    def start(self) -> Deferred[None]:
        """Send them. @return: C{settled}."""
        self._session.registerProducer(self, True)
        self.resumeProducing()
        return self.settled


class Each:
    """
    Sends with a Deferred for each message: the next one leaves when one of those before is settled.

    @ivar settled: fires when all are.
    """

    def __init__(self, session: Any, lane: int, count: int, data: bytes) -> None:
        self._session = session
        self._lane = lane
        self._left = count
        self._waiting = 0
        self._data = data
        self.settled: Deferred[None] = Deferred()

    def start(self) -> Deferred[None]:
        """Send them. @return: C{settled}."""
        for _ in range(min(AT_ONCE, self._left)):
            self._send()
        return self.settled

    def _send(self) -> None:
        self._left -= 1
        self._waiting += 1
        self._session.sendMessage(self._data, lane=self._lane).addCallbacks(self._sent, self.settled.errback)

    def _sent(self, _: None) -> None:
        self._waiting -= 1
        if self._left:
            self._send()
        elif not self._waiting:
            self.settled.callback(None)


async def send(reactor: Any, arguments: argparse.Namespace, top: str) -> dict[str, Any]:
    """The sender's process."""
    directory = os.path.join(top, "receiver")
    os.mkdir(directory)
    identity = securing.identity(HOST)
    writeIdentity(identity, os.path.join(directory, IDENTITY))
    command = [sys.executable, "-m", "benchmarks.durable.rate", "--listen", directory]
    with begin(command) as receiver:
        assert receiver.stdin is not None and receiver.stdout is not None
        asking, answers = receiver.stdin, receiver.stdout
        port = int(answers.readline())

        def theirs() -> float:
            print(file=asking, flush=True)
            return float(answers.readline())

        store = await openStore(reactor, Path(top, "sender", STORE_FILE), OWNER)
        security = securing.starting("tls", pin=identity.pin)
        endpoint = SessionClientEndpoint(reactor, HOST, port, security=security, store=store)
        session = (await endpoint.connect(factory(SessionProtocol))).session
        session.lane(LANES["durable"], durable=True)
        data = os.urandom(arguments.size)
        rounds: dict[str, list[tuple[float, float, float]]] = {}
        for round in range(arguments.rounds + 1):
            for name, lane in LANES.items():
                for how in (Many, Each):
                    count = arguments.count if round else arguments.count // 10  # the first one warms up
                    before, began, ours = theirs(), monotonic(), process_time()
                    await how(session, lane, count, data).start()
                    seconds, ours = monotonic() - began, process_time() - ours
                    figures = (count / seconds, ours / count * 1e6, (theirs() - before) / count * 1e6)
                    if round:
                        rounds.setdefault(f"{name}, {'Deferreds' if how is Each else 'sendMessages'}", []).append(
                            figures
                        )
        await session.close()
        await store.close()
        asking.close()
    return {
        name: dict(zip(("per_s", "sender_us", "receiver_us"), (round_(median(column)) for column in zip(*found))))
        | {"rounds_per_s": [round_(figures[0]) for figures in found]}
        for name, found in rounds.items()
    }


def round_(figure: float) -> float:
    """As many digits as mean something."""
    return round(figure) if figure > 100 else round(figure, 2)


def main() -> None:
    """Run, and print figures as JSON."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000, help="messages of each round [100000]")
    parser.add_argument("--size", type=int, default=200, help="bytes of a message [200]")
    parser.add_argument("--rounds", type=int, default=5, help="[5]")
    parser.add_argument("--directory", type=os.path.abspath, help="on the disk in question [that of temporary files]")
    parser.add_argument("--listen", metavar="DIRECTORY", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    os.chdir(Path(__file__).parents[2])
    if arguments.listen:
        react(lambda reactor: Deferred.fromCoroutine(listen(reactor, arguments.listen)))
    with tempfile.TemporaryDirectory(dir=arguments.directory) as top:

        async def measure(reactor: Any) -> None:
            print(json.dumps(await send(reactor, arguments, top), indent=1))

        react(measure)


if __name__ == "__main__":
    main()
