"""
The storm: every kind of traffic in both directions at once through a terrible network.
"""

from __future__ import annotations

from functools import partial
from random import Random

from hypermail import events as e
from hypermail.errors import MessageCancelled, MessageExpired, MessageRejected
from hypermail.messages.incoming import IncomingLane
from hypermail.options import Options
from hypermail.streams.stream import Stream
from hypermail.testing import PLAIN, Application, Conditions, Handshakes, Pair, Side, secret_handshakes

#: The least that storms are made of.
STORM = Conditions(loss=0.30, duplication=0.20, reordering=0.30, corruption=0.05)

MIB = 1 << 20
ORDERED, UNORDERED, URGENT = 0, 1, 2
MESSAGES = 36
REJECTED = b"reject "


def conditions(random: Random) -> Conditions:
    """One direction's: what the storm is made of, with a delay of its own, and sometimes jitter."""
    return Conditions(
        loss=STORM.loss,
        longest_loss=random.choice((None, None, 3, 8)),
        duplication=STORM.duplication,
        reordering=STORM.reordering,
        corruption=STORM.corruption,
        delay=random.uniform(0.001, 0.060),
        jitter=random.choice((0.0, 0.0, 0.010)),
        jitter_overtakes=random.random() < 0.5,
    )


def sizes(random: Random, large: int) -> list[int]:
    """Sizes of messages: log-uniform, with what is at the edges, and one large one."""
    logarithmic = [int(2 ** random.uniform(0, 14)) - 1 for _ in range(MESSAGES)]
    return [0, 1, *logarithmic, random.choice((1_150, 1_170, 1_190)), large]


def contents(name: bytes) -> bytes:
    """The bytes that a stream of this name carries: the name tells how many, and which."""
    return Random(name).randbytes(int(name.split()[1]))


class AnsweringApplication(Application):
    """
    Rejects messages that ask for it, and answers the streams of the peer with bytes of its own.

    @ivar ours: our streams.
    @ivar unanswered: how many of them the peer has not accepted yet.
    """

    def __init__(self, *, decision_delay: float = 0.0, verdict_delay: float) -> None:
        super().__init__(decision_delay=decision_delay, verdict_delay=verdict_delay)
        self.unanswered = 0
        self.ours: list[Stream] = []

    def open_named(self, random: Random, most: float) -> None:
        """Open a stream that carries up to 2**most bytes."""
        name = b"stream %d %d" % (int(2 ** random.uniform(0, most)) - 1, random.getrandbits(32))
        self.ours.append(self.side.open_stream(name, contents(name)))
        self.unanswered += 1

    def settle(self, lane: IncomingLane, first: int, messages: list[bytes]) -> None:
        """Reject what asks for it."""
        for number, message in enumerate(messages, first):
            if message.startswith(REJECTED):
                lane.reject(number, 4_711, "as you wish")
            else:
                lane.take(number)

    def stream_requested(self, event: e.StreamRequested) -> None:
        """Accept, and answer with other bytes of the same length."""
        super().stream_requested(event)
        self.write_all(event.stream, contents(event.stream.name + b" answer"))

    def stream_accepted(self, event: e.StreamAccepted) -> None:
        super().stream_accepted(event)
        self.unanswered -= 1


class StormApplication(AnsweringApplication):
    """
    Sends messages on three lanes, withdraws some, has others rejected, opens streams, answers the peer's.

    @ivar sent_all: whether everything was handed to the core, and the peer has answered our streams.
    """

    def __init__(self, random: Random, large: int) -> None:
        super().__init__(decision_delay=random.choice((0.0, 0.0, 0.2)), verdict_delay=random.choice((0.0, 0.0, 0.05)))
        self._random = random
        self._large = large
        self.directs_sent: set[bytes] = set()

    def session_opened(self, event: e.SessionOpened) -> None:
        super().session_opened(event)
        random, side = self._random, self.side
        side.configure_lane(UNORDERED, ordered=False)
        side.configure_lane(URGENT, priority=3, redundancy=random.randrange(4))
        lengths = sizes(random, self._large)
        random.shuffle(lengths)
        self.send_all((random.choice((ORDERED, UNORDERED, URGENT)), random.randbytes(size)) for size in lengths)
        for _ in range(3):
            side.send_message(REJECTED + random.randbytes(8), lane=random.choice((ORDERED, UNORDERED)))
        for _ in range(2):
            side.send_message(
                random.randbytes(random.choice((10, 3_000))), lane=UNORDERED, expires=random.uniform(0, 1)
            )
            withdrawn = side.send_message(random.randbytes(random.choice((10, 3_000))), lane=ORDERED)
            self.later(random.choice((0.0, random.random())), partial(side.cancel_message, withdrawn))
        for _ in range(3):
            direct = random.randbytes(16)
            self.directs_sent.add(direct)
            side.send_direct(direct)
        for _ in range(2):
            self.open_named(random, 16)

    @property
    def sent_all(self) -> bool:
        return self.opened and not self.busy and not self.unanswered


def sealed_storm(seed: int) -> Pair:
    """A storm in mode C{secret}, whose session keys are those of TLS."""
    return storm(seed, secret_handshakes(Random(f"{seed} keys").randbytes))


def storm(seed: int, handshakes: Handshakes = PLAIN) -> Pair:
    """
    Run one storm to its end and assert that it was stood.

    @return: the pair, for its statistics.
    """
    random = Random(f"storm {seed}")
    large = [MIB, random.choice((MIB, int(2 ** random.uniform(14, 20))))]
    random.shuffle(large)
    applications = [
        StormApplication(Random(f"{seed} starter"), large[0]),
        StormApplication(Random(f"{seed} listener"), large[1]),
    ]
    spare = applications[1:]
    pair = Pair(
        seed,
        to_listener=conditions(random),
        to_starter=conditions(random),
        # A third of everything is lost on each way: what would be patience elsewhere is none here.
        options=Options(connection_timeout=60, ping_interval=20, outgoing_bytes=random.choice((MIB, 10_000))),
        starter=lambda: applications[0],
        listener=spare.pop,
        handshakes=handshakes,
        start=random.choice((0.0, 1e6)),
    )
    pair.run(lambda: all(application.sent_all for application in applications), limit=3_600)
    closing = random.choice(((pair.starter,), (pair.listener,), (pair.listener, pair.starter)))
    for side in closing:
        side.close()
    pair.run_to_quiescence(limit=3_600)
    pair.assert_clean()
    check(pair, pair.starter, pair.listener)
    check(pair, pair.listener, pair.starter)
    return pair


def check(pair: Pair, side: Side, peer: Side) -> None:
    """Everything that one side has sent has become of it what should."""
    pair.assert_delivered(complete=False)
    for message in side.outgoing:
        asked = bytes(message.data[: len(REJECTED)]) == REJECTED
        if asked != isinstance(message.error, MessageRejected):
            raise AssertionError(f"message {message.number} of lane {message.lane}: {message.error!r}")
        if message.error is not None and not asked and not isinstance(message.error, MessageCancelled | MessageExpired):
            raise AssertionError(f"message {message.number} of lane {message.lane}: {message.error!r}")
    here, there = side.application, peer.application
    assert isinstance(here, StormApplication)
    if len(set(there.directs)) != len(there.directs) or not here.directs_sent.issuperset(there.directs):
        raise AssertionError(f"direct messages {there.directs}")
    for stream in here.ours:
        forth, back = there.streams[stream.id], here.streams[stream.id]
        if bytes(forth.data) != contents(stream.name) or not forth.finished:
            raise AssertionError(f"stream {stream.id} brought {len(forth.data)} bytes, not {stream.name!r}")
        if bytes(back.data) != contents(stream.name + b" answer") or not back.finished:
            raise AssertionError(f"stream {stream.id} brought {len(back.data)} bytes back, not {stream.name!r}")
        if forth.error or back.error:
            raise AssertionError(f"stream {stream.id} ended with {forth.error!r}, {back.error!r}")
