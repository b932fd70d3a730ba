"""
Storms in which links are lost: every kind of traffic while the network goes away and comes back, and hosts move.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from random import Random

from hypermail import events as e
from hypermail.errors import MessageCancelled, MessageExpired, MessageRejected, SessionClosed, SessionTimedOut
from hypermail.messages.message import OutgoingMessage
from hypermail.options import Delivery, Options
from hypermail.test.paths import CLEAN
from hypermail.test.storms import MIB, REJECTED, AnsweringApplication, contents
from hypermail.testing import Application, Blackhole, Conditions, Pair, Side, World, secret_handshakes
from hypermail.testing.network import Address
from hypermail.wire import header

ORDERED, UNORDERED, URGENT, BUFFERED = range(4)
#: s for which a storm's sessions are fed.
FED = 90.0
#: s for which a session waits for a link.
PATIENCE = 1_800.0


class SurvivorApplication(AnsweringApplication):
    """
    Sends now and then, for as long as it is fed, whatever can be sent, and answers whatever comes.

    @ivar ours: our streams, each with the bytes that it should bring back.
    """

    def __init__(self, random: Random) -> None:
        super().__init__(verdict_delay=random.choice((0.0, 0.0, 0.05, 2.0)))
        self._random = random
        self._fed_until = 0.0
        self._unfed = True
        self.buffered: list[OutgoingMessage] = []

    def session_opened(self, event: e.SessionOpened) -> None:
        super().session_opened(event)
        side = self.side
        side.configure_lane(UNORDERED, ordered=False)
        side.configure_lane(URGENT, priority=3, redundancy=2)
        side.configure_lane(BUFFERED, delivery=Delivery.BUFFERED)
        self._fed_until = side.network.now + FED
        self._feed()

    def _feed(self) -> None:
        side, random = self.side, self._random
        if side.connection.state.name not in ("OPEN", "OPENING") or side.network.now >= self._fed_until:
            self._unfed = False
            return
        if not side.connection.messages_full:
            self._say(random.randrange(9))
        self.later(random.choice((0.0, 0.01, random.expovariate(1.0))), self._feed)

    def _say(self, what: int) -> None:
        side, random = self.side, self._random
        size = int(2 ** random.uniform(0, 15)) - 1
        lane = random.choice((ORDERED, UNORDERED, URGENT))
        if what < 3:
            side.send_message(random.randbytes(size), lane=lane)
        elif what == 3:
            message = side.send_message(random.randbytes(min(size, 400)), lane=BUFFERED)
            self.buffered.append(message)
        elif what == 4:
            withdrawn = side.send_message(random.randbytes(size), lane=random.choice((ORDERED, UNORDERED)))
            self.later(random.choice((0.0, 10 * random.random())), partial(self._cancel, withdrawn))
        elif what == 5:
            side.send_message(random.randbytes(size), lane=lane, expires=random.uniform(0, 20))
        elif what == 6:
            side.send_message(REJECTED + random.randbytes(8), lane=random.choice((ORDERED, UNORDERED)))
        elif what == 7:
            side.ask(random.randbytes(min(size, 5_000)))
        elif len(self.ours) < 40:
            self.open_named(random, 19)

    def _cancel(self, message: OutgoingMessage) -> None:
        if not message.settled:
            self.side.cancel_message(message)

    @property
    def sent_all(self) -> bool:
        """Whether nothing more will be sent, and the peer has answered our streams."""
        return self.opened and not self._unfed and not self.busy and not self.unanswered


def outage(random: Random, pair: Pair) -> None:
    """Something that costs sessions their link, or nearly."""
    lengths = (random.uniform(0, 1), random.uniform(3, 9), random.uniform(8, 30))
    kind = random.randrange(6)
    lossy = Conditions(loss=1.0)
    network, length = pair.network, random.choice(lengths)
    if kind == 0:
        network.set_conditions(lossy)
    elif kind == 1:
        network.set_conditions(lossy, destination=pair.listener_node.address[0])
    elif kind == 2:
        network.set_conditions(lossy, source=pair.listener_node.address[0])
    elif kind == 3:
        network.set_conditions(lossy)
        network.call_at(network.now + length * random.random(), partial(_move, random, pair))
    elif kind == 4:
        _move(random, pair)
    else:
        forget_link(pair)
        if random.random() < 0.5:
            reset(pair)
    network.call_at(network.now + length, partial(network.set_conditions, ordinary(random)))


def ordinary(random: Random) -> Conditions:
    """A network that loses something now and then."""
    return Conditions(
        loss=random.choice((0.0, 0.0, 0.02, 0.1)),
        duplication=random.choice((0.0, 0.05)),
        reordering=random.choice((0.0, 0.1)),
        delay=random.uniform(0.001, 0.1),
        bandwidth=random.choice((None, 20e6, 4e6)),
    )


def _move(random: Random, pair: Pair) -> None:
    (node,) = pair.starter_nodes
    host, port = node.address
    there: Address = (host, port + 1)
    if random.random() < 0.5:
        there = (f"10.2.{random.randrange(256)}.{random.randrange(1, 255)}", port)
    node.move(there, told=random.random() < 0.7)


def forget_link(pair: Pair) -> None:
    """The listener loses its link to the starter, which does not know."""
    side = pair.peer(pair.starter)
    if side is not None and side.connection.linked and not side.connection.opening:
        side.connection._ending.lose(SessionClosed("lost by the test"), pair.now)
        side.touch()


def reset(pair: Pair) -> None:
    """Somebody who does not know the token resets the starter's link."""
    connection = pair.starter.connection
    forged = header.encode_reset(header.Reset(connection.remote_tag, bytes(16)))
    pair.network.send(pair.listener_node.address, pair.starter.node.address, [forged])


def survival_storm(seed: int) -> World:
    """
    Feed a session for a while in which it loses its link again and again; then close it, and assert that everything
    has become of what was sent that should.
    """
    random = Random(f"survival {seed}")
    applications = [SurvivorApplication(Random(f"{seed} {side}")) for side in ("starter", "listener")]
    spare = applications[1:]
    interval = random.choice((1.0, 0.5))
    options = Options(
        ping_interval=interval,
        ping_packet_count=3,
        connection_timeout=random.choice((3.0, 10.0)),
        outgoing_bytes=random.choice((MIB, 50_000)),
        max_streams=random.choice((16, 4)),
        session_timeout=PATIENCE,
    )
    pair = Pair(
        seed,
        ordinary(random),
        options=options,
        starter=lambda: applications[0],
        listener=lambda: spare.pop() if spare else Application(),
        handshakes=secret_handshakes(Random(f"{seed} keys").randbytes),
        start=random.choice((0.0, 1e6)),
    )
    pair.open(limit=60)
    at = 0.0
    while at < FED:
        at += random.expovariate(1 / 12)
        pair.network.call_at(pair.now + at, partial(outage, random, pair))
    pair.run(lambda: all(application.sent_all for application in applications), limit=3_600)
    for side in random.choice(((pair.starter,), (pair.listener,), (pair.listener, pair.starter))):
        side.close()
    if random.random() < 0.5:
        outage(random, pair)
    _end(pair)
    check(pair, pair.starter, pair.listener)
    check(pair, pair.listener, pair.starter)
    return pair


def _end(pair: Pair) -> None:
    pair.run(lambda: all(side.connection.ended for side in pair.sides), limit=3_600)
    pair.run_to_quiescence(limit=600)
    pair.assert_clean()


def check(pair: Pair, side: Side, peer: Side) -> None:
    """Everything that one side has sent has become of it what should."""
    pair.assert_delivered(complete=False)
    here, there = side.application, peer.application
    assert isinstance(here, SurvivorApplication)
    # A listener that closes waits for a starter that has ended, when the link takes its last word with it.
    heard = isinstance(here.error, SessionTimedOut) and isinstance(there.error, SessionClosed)
    demand(isinstance(here.error, SessionClosed) or heard, f"the session has ended with {here.error!r}")
    for message in side.outgoing:
        asked = bytes(message.data[: len(REJECTED)]) == REJECTED
        error = message.error
        fine = isinstance(error, MessageRejected) if asked else error is None or isinstance(error, _WITHDRAWN)
        demand(fine or message in here.buffered, f"message {message.number} of lane {message.lane}: {error!r}")
    demand(all(ask.error is None for ask in side.asks), "an ask was not answered")
    for stream in here.ours:
        forth, back = there.streams[stream.id], here.streams[stream.id]
        for brought, name in ((forth, stream.name), (back, stream.name + b" answer")):
            demand(
                bytes(brought.data) == contents(name) and brought.finished and not brought.error,
                f"stream {stream.id} brought {len(brought.data)} bytes, {brought.error!r}, not {name!r}",
            )


def demand(condition: object, text: str) -> None:
    """Fail unless something is so."""
    if not condition:
        raise AssertionError(text)


def long_blackhole(seed: int) -> World:
    """
    60 s in which nothing passes, in the middle of a transfer: both sides lose their link, the session goes on within a
    second and some round trips of the network's return, and everything arrives.
    """
    random = Random(f"long blackhole {seed}")
    dark = random.uniform(0.5, 6.0)
    hole = Blackhole(dark, dark + 60)
    conditions = replace(CLEAN, bandwidth=5e6, blackholes=(hole,))
    handshakes = secret_handshakes(Random(seed).randbytes)
    pair = Pair(seed, conditions, handshakes=handshakes, start=random.choice((0.0, 1e6)))
    pair.open()
    starter, listener = pair.starter, pair.listener
    data = [random.randbytes(5_000_000), random.randbytes(2_000_000)]
    streams = [side.open_stream(b"", each) for side, each in zip((starter, listener), data, strict=True)]
    for side in (starter, listener):
        side.application.send_all((number % 3, random.randbytes(200)) for number in range(3_000))
    pair.run_for(dark + 59.9 - (pair.now - pair.network.start))
    for side in (starter, listener):
        demand(side.application.suspensions, f"{side!r} has not lost its link")
        demand(not side.connection.linked and not side.application.resumptions, f"{side!r} has a link")
        side.send_message(b"in the dark")
    pair.run(lambda: starter.connection.linked and listener.connection.linked, limit=1.0)
    pair.run(lambda: not (starter.application.busy or listener.application.busy), limit=60)
    pair.close()
    pair.assert_delivered()
    for reader, stream, each in zip((listener, starter), streams, data, strict=True):
        demand(bytes(reader.application.streams[stream.id].data) == each, "a stream has brought something else")
        demand(isinstance(reader.application.error, SessionClosed), f"the session has ended with {reader!r}")
    return pair


SURVIVALS: dict[str, Callable[[int], World]] = {
    "long-blackhole": long_blackhole,
    "survival-storm": survival_storm,
}
_WITHDRAWN = (MessageCancelled, MessageExpired)
