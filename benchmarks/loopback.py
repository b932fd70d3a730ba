"""
Messages, asks and bulk over loopback, two processes, beside Twisted's TCP in the same run.

    python -m benchmarks.loopback messages [--count 1000000] [--size 100] [--mode tls|secret|plain]
    python -m benchmarks.loopback ask [--count 20000] [--size 100] [--mode tls|secret|plain]
    python -m benchmarks.loopback bulk [--size 268435456] [--mode tls|secret|plain]

C{ask}: C{session.ask} with 1 and with 64 outstanding, beside AMP's C{callRemote}, also never encrypted.

C{messages}: one way, each acknowledged by the receiving application. Over TCP the same is done with
length-prefixed strings and one cumulative count for each C{dataReceived}, never encrypted: C{--mode} is that of
hypermail's sessions. L{benchmarks.compare} has more peers, and L{benchmarks.profile} tells where the time goes.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import repeat
from typing import Any

from twisted.internet import protocol
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.task import react
from twisted.protocols import amp
from twisted.protocols.basic import Int32StringReceiver

from benchmarks.securing import MODES, identity, listening, starting
from hypermail import SessionClientEndpoint, SessionFactory, SessionProtocol, SessionServerEndpoint

BLOCK = 65_536
#: How many asks wait for their replies at once.
OUTSTANDING = (1, 64)


class Sink(SessionProtocol):
    """Takes messages and streams, and forgets them; gives asks back."""

    def messageReceived(self, message: bytes) -> None:
        """Taken."""

    def askReceived(self, message: bytes) -> bytes:
        """The same."""
        return message

    def streamOpened(self, name: bytes, options: Any) -> protocol.Protocol:
        """Any stream is welcome."""
        return Swallow()


class Swallow(protocol.Protocol):
    """Takes bytes; ends when the peer does."""

    def dataReceived(self, data: bytes) -> None:
        """Taken."""


class Same(amp.Command):
    """AMP's ask."""

    arguments = [(b"data", amp.String())]
    response = [(b"data", amp.String())]


class Replying(amp.AMP):
    """AMP's listener: gives the same back."""

    @Same.responder
    def same(self, data: bytes) -> dict[str, bytes]:
        """The same."""
        return {"data": data}


class Counting(Int32StringReceiver):
    """TCP's listener: acknowledges cumulatively, once for each read."""

    taken = 0

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        self.transport.write(self.taken.to_bytes(8, "big"))

    def stringReceived(self, string: bytes) -> None:
        self.taken += 1


class Messages:
    """A producer of messages for a session: as many as there is room for."""

    def __init__(self, session: Any, messages: Iterator[bytes]) -> None:
        self._session = session
        self._messages = messages
        self.count = 0
        self.done: Deferred[None] = Deferred()

    def resumeProducing(self) -> None:
        sent = self._session.sendMessages(self._messages)
        self.count += sent
        if not sent and not self.done.called:
            self.done.callback(None)

    def stopProducing(self) -> None:
        """The session is over."""


class TCPSender(protocol.Protocol):
    """Sends strings; done when all have been acknowledged."""

    def __init__(self, count: int, message: bytes) -> None:
        self._left = self._count = count
        self._string = len(message).to_bytes(4, "big") + message
        self._acks = b""
        self.done: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        self.transport.registerProducer(self, False)

    def resumeProducing(self) -> None:
        some = min(self._left, 1_000)
        self._left -= some
        for _ in range(some):
            self.transport.write(self._string)
        if not self._left:
            self.transport.unregisterProducer()

    def stopProducing(self) -> None:
        """The connection is over."""

    def dataReceived(self, data: bytes) -> None:
        self._acks = (self._acks + data)[-16:]
        if int.from_bytes(self._acks[len(self._acks) % 8 :][-8:], "big") == self._count:
            self.transport.loseConnection()

    def connectionLost(self, reason: Any = None) -> None:
        self.done.callback(None)


class Bulk(protocol.Protocol):
    """Sends blocks, as a pull producer; done when the peer has them all."""

    def __init__(self, size: int) -> None:
        self._left = size
        self._block = bytes(BLOCK)
        self.done: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        self.transport.registerProducer(self, False)

    def resumeProducing(self) -> None:
        some = min(self._left, BLOCK)
        self._left -= some
        self.transport.write(self._block[:some])
        if not self._left:
            self.transport.unregisterProducer()
            self.transport.loseConnection()

    def stopProducing(self) -> None:
        """The connection is over."""

    def connectionLost(self, reason: Any = None) -> None:
        self.done.callback(None)


class Once(protocol.ClientFactory):
    """Gives out one protocol."""

    noisy = False

    def __init__(self, built: protocol.Protocol) -> None:
        self._built = built

    def buildProtocol(self, addr: Any) -> protocol.Protocol:
        return self._built


async def ask_all(ask: Callable[[], Any], count: int, outstanding: int) -> float:
    """Ask so often, with so many at once. @return: seconds that it took."""
    left = count

    async def some() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await ask()

    started = time.perf_counter()
    await gatherResults([Deferred.fromCoroutine(some()) for _ in range(outstanding)])
    return time.perf_counter() - started


async def measure_asks(reactor: Any, session: Any, port: int, count: int, size: int) -> dict[str, float]:
    """Asks per second for each, in the order of running."""
    asker = amp.AMP()
    await TCP4ClientEndpoint(reactor, "127.0.0.1", port).connect(Once(asker))
    data = b"x" * size
    asking: dict[str, Callable[[], Any]] = {
        "hypermail": lambda: session.ask(data),
        "Twisted AMP": lambda: asker.callRemote(Same, data=data),
    }
    rates: dict[str, float] = {}
    for outstanding in OUTSTANDING:
        for name, ask in asking.items():
            seconds = await ask_all(ask, count, outstanding)
            rates[f"{name}, {outstanding} outstanding"] = count / seconds
    asker.transport.loseConnection()
    await session.close()
    return rates


async def serve(reactor: Any, mode: str) -> None:
    """Listen with both; tell the ports, and our pin, on standard output; until it is killed."""
    shown = identity("loopback")
    endpoint = SessionServerEndpoint(reactor, 0, interface="127.0.0.1", security=listening(mode, shown))
    session = await endpoint.listen(SessionFactory.forProtocol(Sink))
    tcp = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
    counting = await tcp.listen(protocol.Factory.forProtocol(Counting))
    swallow = await tcp.listen(protocol.Factory.forProtocol(Swallow))
    replying = await tcp.listen(protocol.Factory.forProtocol(Replying))
    ports = (port.getHost().port for port in (session, counting, swallow, replying))
    print(*ports, shown.pin, flush=True)
    await Deferred()


async def measure(reactor: Any, what: str, count: int, size: int, ports: list[int], security: Any) -> dict[str, float]:
    """Seconds for each, in the order of running; of asks, how many per second."""
    seconds: dict[str, float] = {}
    asking = await SessionClientEndpoint(reactor, "127.0.0.1", ports[0], security=security).connect(
        SessionFactory.forProtocol(SessionProtocol)
    )
    session = asking.session
    if what == "ask":
        return await measure_asks(reactor, session, ports[3], count, size)
    started = time.perf_counter()
    if what == "messages":
        messages = Messages(session, iter(repeat(b"x" * size, count)))
        session.registerProducer(messages, False)
        await messages.done
        session.unregisterProducer()
        await session.close()
    else:
        bulk = Bulk(size)
        await session.openStream(Once(bulk))
        await bulk.done
        print("datagrams lost", session.statistics()["datagrams_lost"], "of", session.statistics()["datagrams_sent"])
    seconds["hypermail"] = time.perf_counter() - started
    started = time.perf_counter()
    if what == "messages":
        sender = TCPSender(count, b"x" * size)
        await TCP4ClientEndpoint(reactor, "127.0.0.1", ports[1]).connect(Once(sender))
        await sender.done
    else:
        bulk = Bulk(size)
        await TCP4ClientEndpoint(reactor, "127.0.0.1", ports[2]).connect(Once(bulk))
        await bulk.done
    seconds["Twisted TCP"] = time.perf_counter() - started
    return seconds


def report_asks(count: int, size: int, mode: str, rates: dict[str, float]) -> None:
    """Rates, for people and as JSON."""
    for name, rate in rates.items():
        shown = name.replace("hypermail", f"hypermail ({mode})")
        print(f"{shown:34} {rate:10,.0f} asks/s")
    print(json.dumps({"case": "ask", "mode": mode, "count": count, "size": size, "asks_per_second": rates}))


def report(what: str, count: int, size: int, mode: str, seconds: dict[str, float]) -> None:
    """Rates, and their ratio, for people and as JSON."""
    unit, amount = ("messages/s", count) if what == "messages" else ("MB/s", size / 1e6)
    for name, elapsed in seconds.items():
        shown = f"{name} ({mode})" if name == "hypermail" else name
        print(f"{shown:19} {amount / elapsed:14,.0f} {unit}   {elapsed:8.2f} s")
    print(f"{'ratio':19} {seconds['Twisted TCP'] / seconds['hypermail']:14.3f} of Twisted TCP")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    found = {"case": what, "mode": mode, "count": count, "size": size, "seconds": seconds}
    print(json.dumps({**found, "sender_MiB": round(memory, 1)}))


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="hypermail over loopback, beside Twisted's TCP")
    parser.add_argument("case", choices=["messages", "ask", "bulk", "serve"])
    parser.add_argument("--count", type=int)
    parser.add_argument("--size", type=int)
    parser.add_argument("--mode", choices=MODES, default="tls", help="of hypermail's sessions [tls]")
    arguments = parser.parse_args()
    if arguments.case == "serve":
        react(serve, [arguments.mode])
    size = arguments.size or (256 << 20 if arguments.case == "bulk" else 100)
    count = arguments.count or (20_000 if arguments.case == "ask" else 1_000_000)
    serving = [sys.executable, "-m", "benchmarks.loopback", "serve", "--mode", arguments.mode]
    listener = subprocess.Popen(serving, stdout=subprocess.PIPE, text=True)
    assert listener.stdout is not None
    *numbers, pin = listener.stdout.readline().split()
    ports = [int(port) for port in numbers]
    security = starting(arguments.mode, pin=pin)

    async def run(reactor: Any) -> None:
        found = await measure(reactor, arguments.case, count, size, ports, security)
        if arguments.case == "ask":
            report_asks(count, size, arguments.mode, found)
        else:
            report(arguments.case, count, size, arguments.mode, found)

    try:
        react(run)
    finally:
        listener.kill()
        listener.wait()


if __name__ == "__main__":
    main()
