"""
The storm once more, through the Twisted layer: every Deferred that is handed out fires, and nothing is left in a
reactor.
"""

from __future__ import annotations

from functools import partial
from random import Random
from typing import Any

from twisted.internet import defer
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from hypermail import (
    MessageCancelled,
    MessageExpired,
    MessageRejected,
    Options,
    Plain,
    SessionClientEndpoint,
    SessionClosed,
    SessionFactory,
    SessionProtocol,
    SessionServerEndpoint,
    StreamOptions,
)
from hypermail.test.storms import conditions
from hypermail.testing import SimulatedNetwork, SimulatedReactor

LISTENER, STARTER, PORT = "10.0.0.1", "10.0.0.2", 4700
REJECTED = b"reject "
MESSAGES = 20


class Outcome:
    """
    One Deferred, and what it fires with.

    @ivar what: for messages.
    @ivar result: once it has fired.
    """

    def __init__(self, what: str, deferred: Deferred[Any]) -> None:
        self.what = what
        self.fired = 0
        self.result: Any = None
        deferred.addBoth(self._fire)

    def _fire(self, result: object) -> None:
        self.fired += 1
        self.result = result

    def check(self, *errors: type[Exception]) -> None:
        """Assert that it has fired once, with a result or one of these errors."""
        if self.fired != 1:
            raise AssertionError(f"{self.what} has fired {self.fired} times")
        if isinstance(self.result, Failure) and not self.result.check(*errors):
            raise AssertionError(f"{self.what} has failed: {self.result.getTraceback()}")


class StormStream(Protocol):
    """
    Writes so many bytes, closes when it has got as many.

    @ivar data: what came.
    @ivar lost: fires at C{connectionLost}.
    """

    def __init__(self, sent: bytes) -> None:
        self.sent = sent
        self.data = bytearray()
        self.lost: Deferred[Failure] = Deferred()

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(self.sent)
        self._maybeClose()

    def dataReceived(self, data: bytes) -> None:
        self.data += data
        self._maybeClose()

    def _maybeClose(self) -> None:
        if len(self.data) == len(self.sent) and self.transport is not None:
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.callback(reason)


class StormProtocol(SessionProtocol):
    """
    Sends on two lanes, asks, pings, opens streams; takes what comes sooner or later.

    @ivar outcomes: every Deferred that it was given.
    @ivar received: messages, in the order of delivery.
    @ivar sent: what the peer must have received, by lane, in order.
    @ivar reason: how the session ended.
    """

    factory: StormFactory

    def __init__(self, reactor: SimulatedReactor, random: Random) -> None:
        self.reactor = reactor
        self.random = random
        self.outcomes: list[Outcome] = []
        self.received: list[bytes] = []
        self.sent: dict[int, list[bytes]] = {0: [], 1: []}
        self.withdrawn: list[tuple[Outcome, bytes]] = []
        self.refused: list[Outcome] = []
        self.asks: list[tuple[Outcome, bytes]] = []
        self.streams: list[StormStream] = []
        self.reason: Failure | None = None

    def note(self, what: str, deferred: Deferred[Any]) -> Outcome:
        """Remember a Deferred."""
        self.outcomes.append(Outcome(what, deferred))
        return self.outcomes[-1]

    def sessionOpened(self) -> None:
        random, session = self.random, self.session
        session.lane(1, ordered=False)
        for number in range(MESSAGES):
            size = int(2 ** random.uniform(0, 13)) - 1 if number else 1 << 17
            lane = random.randrange(2)
            data = self.name(number, lane) + random.randbytes(size)
            self.sent[lane].append(data)
            self.note(f"message {number}", session.sendMessage(data, lane=lane))
        for number in range(3):
            self.refused.append(self.note("a message to be refused", session.sendMessage(REJECTED, lane=number % 2)))
            data = self.name(MESSAGES + number, 0) + random.randbytes(random.choice((10, 3_000)))
            withdrawn = session.sendMessage(data)
            self.withdrawn.append((self.note("a withdrawn message", withdrawn), data))
            self.reactor.callLater(random.choice((0, random.random())), withdrawn.cancel)
        data = self.name(MESSAGES + 3, 1) + bytes(100)
        expiring = session.sendMessage(data, lane=1, expires=random.uniform(0, 0.5))
        self.withdrawn.append((self.note("an expiring message", expiring), data))
        for number in range(4):
            message = b"%d" % number + bytes(random.choice((10, 3_000)))
            self.asks.append((self.note("an ask", session.ask(message, timeout=random.choice((None, 0.2)))), message))
        asking = session.ask(b"never mind")
        self.note("a withdrawn ask", asking)
        self.reactor.callLater(random.random(), asking.cancel)
        self.refused.append(self.note("an ask to be refused", session.ask(REJECTED)))
        self.note("a ping", session.ping())
        for number in range(2):
            data = random.randbytes(int(2 ** random.uniform(0, 15)))
            made = Factory.forProtocol(partial(self.stream, data))
            self.note(f"stream {number}", session.openStream(made, b"%d %d" % (number, len(data))))

    def name(self, number: int, lane: int) -> bytes:
        """What each message begins with."""
        return b"%04d %d " % (number, lane)

    def stream(self, data: bytes) -> StormStream:
        """A stream's protocol."""
        made = StormStream(data)
        self.streams.append(made)
        self.note("a stream's end", made.lost)
        return made

    async def messageReceived(self, message: bytes) -> None:
        """Take it: at once, later, or not."""
        if message.startswith(REJECTED):
            raise MessageRejected("as you wish", 4_711)
        self.received.append(message)
        if self.random.random() < 0.3:
            await deferLater(self.reactor, self.random.uniform(0, 0.2))

    async def askReceived(self, message: bytes) -> bytes:
        """Answer: at once, later, or not."""
        if message.startswith(REJECTED):
            raise MessageRejected("as you wish", 4_711)
        if self.random.random() < 0.3:
            await deferLater(self.reactor, self.random.uniform(0, 0.2))
        return b"re " + message

    def streamOpened(self, name: bytes, options: StreamOptions) -> Any:
        """Take it, sometimes later."""
        made = self.stream(bytes(int(name.split()[1])))
        if self.random.random() < 0.5:
            return made
        return deferLater(self.reactor, 0.1, lambda: made)

    def sessionLost(self, reason: Failure) -> None:
        self.reason = reason

    @property
    def done(self) -> bool:
        """Whether every Deferred has fired."""
        return all(outcome.fired for outcome in self.outcomes)

    def check(self, peer: StormProtocol) -> None:
        """Assert that everything fired as it should, and the peer has what it should."""
        for outcome in self.outcomes:
            outcome.check(
                MessageCancelled, MessageExpired, MessageRejected, CancelledError, defer.TimeoutError, ConnectionDone
            )
        for outcome, message in self.asks:
            if not isinstance(outcome.result, Failure) and outcome.result != b"re " + message:
                raise AssertionError(f"an ask of {len(message)} bytes has another's reply")
        for outcome in self.refused:
            error = outcome.result.value if isinstance(outcome.result, Failure) else None
            if not isinstance(error, MessageRejected) or error.code != 4_711:
                raise AssertionError(f"a message that was to be refused: {outcome.result!r}")
        taken = {data for outcome, data in self.withdrawn if not isinstance(outcome.result, Failure)}
        withdrawn = {data for _, data in self.withdrawn}
        for lane, sent in self.sent.items():
            got = [data for data in peer.received if data[5:6] == b"%d" % lane and data not in withdrawn]
            if got != sent and (lane == 0 or sorted(got) != sorted(sent)):
                raise AssertionError(f"lane {lane}: {len(sent)} messages were sent, {len(got)} came, or otherwise")
        for outcome, data in self.withdrawn:
            # One whose Deferred was cancelled may have come before: that it failed says only who stopped waiting.
            least, most = (1, 1) if data in taken else (0, 0 if outcome.result.check(MessageExpired) else 1)
            if not least <= peer.received.count(data) <= most:
                raise AssertionError(f"{outcome.what} came {peer.received.count(data)} times, and {outcome.result!r}")
        lengths = sorted((len(stream.sent), len(stream.data)) for stream in self.streams)
        if any(sent != came for sent, came in lengths):
            raise AssertionError(f"streams (sent, received): {lengths}")
        ours = sorted(bytes(stream.sent) for stream in self.streams)
        theirs = sorted(bytes(stream.data) for stream in peer.streams)
        if ours != theirs:
            raise AssertionError("streams have brought other bytes")
        if self.reason is None or not self.reason.check(SessionClosed):
            raise AssertionError(f"the session ended with {self.reason!r}")


class StormFactory(SessionFactory):
    """Makes one L{StormProtocol} and keeps it."""

    noisy = False

    def __init__(self, reactor: SimulatedReactor, random: Random) -> None:
        self.reactor = reactor
        self.random = random
        self.built: list[StormProtocol] = []

    def buildProtocol(self, address: object) -> StormProtocol:
        """See L{ISessionFactory.buildProtocol}."""
        built = StormProtocol(self.reactor, self.random)
        self.built.append(built)
        return built


def storm(seed: int) -> tuple[SimulatedNetwork, int]:
    """
    Run one storm to its end and assert that it was stood.

    @return: the network, and how many bytes were sent again.
    """
    random = Random(f"deferreds {seed}")
    network = SimulatedNetwork(seed)
    network.set_conditions(conditions(random), source=STARTER)
    network.set_conditions(conditions(random), source=LISTENER)
    listener, starter = network.reactor(LISTENER), network.reactor(STARTER)
    settings: dict[str, Any] = {
        "options": Options(connection_timeout=60, ping_interval=20),
        "security": Plain(allowRemote=True),
        "randomBytes": random.randbytes,
    }
    listening = StormFactory(listener, Random(f"{seed} listener"))
    starting = StormFactory(starter, Random(f"{seed} starter"))
    endpoint = SessionServerEndpoint(listener, PORT, interface=LISTENER, **settings)
    port: IListeningPort = network.run_until(endpoint.listen(listening))
    connecting = SessionClientEndpoint(starter, LISTENER, PORT, **settings).connect(starting)
    network.run_until(connecting)
    ours, theirs = starting.built[0], listening.built[0]
    while not (ours.done and theirs.done and theirs.outcomes):
        if network.now > 3_600:
            waiting = [o.what for protocol in (ours, theirs) for o in protocol.outcomes if not o.fired]
            raise AssertionError(f"not fired after {network.now:.0f} s: {waiting}; {network.describe()}")
        network.advance(1)
    closing = random.choice((ours, theirs))
    network.run_until(closing.session.close())
    network.advance(10)
    stopping = port.stopListening()
    if stopping is not None:
        network.run_until(stopping)
    network.advance(10)
    network.assert_clean()
    ours.check(theirs)
    theirs.check(ours)
    return network, sum(protocol.session.statistics()["bytes_lost"] for protocol in (ours, theirs))
