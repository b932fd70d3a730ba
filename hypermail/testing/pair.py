"""
Sessions on the raw core, in virtual time: a listener with one starter (L{Pair}) or many (L{World}).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from math import inf

from hypermail.errors import MessageCancelled, MessageDropped, MessageExpired
from hypermail.events import (
    MessagesSettled,
    RepliesReceived,
    SessionEnded,
    SessionOpened,
    SessionRequested,
    StreamAccepted,
    StreamEnded,
    StreamRequested,
)
from hypermail.options import ListenerOptions, Options, Role
from hypermail.testing.application import Application
from hypermail.testing.conditions import PERFECT, Conditions
from hypermail.testing.modes import PLAIN, Handshakes
from hypermail.testing.network import MOST_AT_ONE_TIME, SimulatedNetwork
from hypermail.testing.node import Node
from hypermail.testing.side import Side

#: Where the listener is, and the starters: hosts of their own, so that each has its own way to the listener.
LISTENER = ("10.0.0.1", 4700)
FIRST_STARTER = (10 << 24) + (1 << 16)

#: Steps of one run, at most.
MOST_STEPS = 20_000_000

#: Sides that a message about a failure describes.
MOST_DESCRIBED = 4

#: What a message fails with that never came to the peer's application.
WITHDRAWN = (MessageCancelled, MessageDropped, MessageExpired)

#: What may be told before a session has opened.
BEFORE_OPENED = (SessionRequested, SessionEnded)

#: What must be nothing in the statistics of a connection that has ended. (Its last word may go unacknowledged.)
MUST_BE_NONE = ("messages_queued", "messages_begun", "messages_held", "streams")


class World:
    """
    A listener and its starters in one simulated network.

    @param seed: of all chance.
    @param conditions: of the network, in both directions.
    @param to_listener: when given, of all directions to the listener.
    @param to_starters: when given, of all directions from the listener.
    @param starters: how many sessions to start at once; L{start} starts more.
    @param options: of both sides.
    @param starter_options: when given, of the starters.
    @param listener_options: when given, of the listener's sessions.
    @param strangers: what the listener bears from strangers.
    @param starter: makes the application of each starter.
    @param listener: makes the application of each of the listener's sessions.
    @param handshakes: how the sessions are sealed.
    @param start: s; what the clock shows at first.

    @ivar network: between them.
    @ivar listener_node: the listener's socket.
    @ivar starter_nodes: the starters' sockets, each on a host of its own.
    """

    def __init__(
        self,
        seed: int | str = 0,
        conditions: Conditions = PERFECT,
        *,
        to_listener: Conditions | None = None,
        to_starters: Conditions | None = None,
        starters: int = 0,
        options: Options | None = None,
        starter_options: Options | None = None,
        listener_options: Options | None = None,
        strangers: ListenerOptions | None = None,
        starter: Callable[[], Application] = Application,
        listener: Callable[[], Application] = Application,
        handshakes: Handshakes = PLAIN,
        start: float = 0.0,
    ) -> None:
        self._handshakes = handshakes
        self.network = SimulatedNetwork(seed, conditions, start=start)
        if to_listener is not None:
            self.network.set_conditions(to_listener, destination=LISTENER[0])
        if to_starters is not None:
            self.network.set_conditions(to_starters, source=LISTENER[0])
        self._starter_options = starter_options or options
        self._application = starter
        self.listener_node = Node(
            self.network,
            LISTENER,
            options=listener_options or options,
            listener_options=strangers,
            accepting=listener,
            handshakes=handshakes,
        )
        self.starter_nodes: list[Node] = []
        for _ in range(starters):
            self.start()

    def start(self, application: Application | None = None, *, options: Options | None = None) -> Side:
        """Start one more session, from a host of its own."""
        number = FIRST_STARTER + len(self.starter_nodes) + 1
        host = ".".join(str(byte) for byte in number.to_bytes(4, "big"))
        node = Node(self.network, (host, 40_000), options=options or self._starter_options, handshakes=self._handshakes)
        self.starter_nodes.append(node)
        return node.start(LISTENER, application or self._application())

    # Who is there

    @property
    def now(self) -> float:
        """s of virtual time."""
        return self.network.now

    @property
    def nodes(self) -> list[Node]:
        """All sockets."""
        return [*self.starter_nodes, self.listener_node]

    @property
    def sides(self) -> Iterator[Side]:
        """All sides of all sessions so far, starters' first."""
        for node in self.nodes:
            yield from node.sides

    def peer(self, side: Side) -> Side | None:
        """The other side of a session, or None when it has none yet."""
        own = side.connection
        for node in [self.listener_node] if own.role is Role.STARTER else self.starter_nodes:
            for other in node.sides:
                if other.connection.session_id == own.session_id:
                    return other
        return None

    # Running

    def step(self) -> bool:
        """Go to the next event and let it happen. @return: False when there is none."""
        return self.network.step()

    def run(self, until: Callable[[], object], *, limit: float = 60.0) -> None:
        """
        Let time pass until something is so.

        @param until: asked after each step.
        @param limit: s of virtual time to wait at most.
        @raise AssertionError: when it isn't so by then, or never will be.
        """
        deadline = self.now + limit
        steps = at_one_time = 0
        last = self.now
        while not until():
            upcoming = self.network.next_event()
            if upcoming == inf:
                raise AssertionError(f"nothing is left that could happen\n{self.describe()}")
            if upcoming > deadline:
                raise AssertionError(f"{limit:g} s have passed\n{self.describe()}")
            self.step()
            steps += 1
            at_one_time = at_one_time + 1 if self.now == last else 0
            last = self.now
            if steps > MOST_STEPS or at_one_time > MOST_AT_ONE_TIME:
                raise AssertionError(f"{steps} steps, {at_one_time} of them at one time\n{self.describe()}")

    def run_for(self, seconds: float) -> None:
        """Let time pass."""
        self.network.advance(seconds)

    def run_to_quiescence(self, *, limit: float = 600.0) -> None:
        """
        Let time pass until nothing happens any more of its own accord but pings: nothing is on its way, nothing
        waits to be acknowledged, tombstones are gone.

        @param limit: s of virtual time to wait at most.
        """
        self.run(self.is_quiescent, limit=limit)

    def is_quiescent(self) -> bool:
        """Whether nothing would happen any more of its own accord but pings."""
        if self.network.in_flight or self.network.calls_pending:
            return False
        return all(side.idle for node in self.nodes for side in node.live)

    def close(self, *, limit: float = 600.0) -> None:
        """Close all sessions from the starters' side, run to quiescence, and L{assert_clean}."""
        for node in self.starter_nodes:
            for side in node.live:
                side.close()
        self.run_to_quiescence(limit=limit)
        self.assert_clean()

    def describe(self) -> str:
        """The state of everything, for messages."""
        live = [side for node in self.nodes for side in node.live]
        lines = [self.network.describe(), f"{len(live)} connections have not ended"]
        lines += [side.describe() for side in (live or list(self.sides))[:MOST_DESCRIBED]]
        return "\n".join(lines)

    # Asserting

    def assert_clean(self) -> None:
        """
        Assert that all sessions are over and nothing of them is left.

        @raise AssertionError: with what is left.
        """
        faults = []
        for node in self.nodes:
            if len(node.demux):
                faults.append(f"{node.address} has {len(node.demux)} connections left")
            for side in node.sides:
                faults += [f"{side!r}: {fault}" for fault in _left(side)]
        if self.network.in_flight:
            faults.append(f"{self.network.in_flight} datagrams are on their way")
        self._fail_if(faults)

    def assert_delivered(self, *, complete: bool = True) -> None:
        """
        Assert that all messages are settled; that each one that was taken was delivered exactly once,
        byte-identical, on ordered lanes in order; that none was delivered twice, and none that was withdrawn.

        @param complete: whether every message must have been taken.
        @raise AssertionError: with what isn't so.
        """
        faults = []
        for side in self.sides:
            peer = self.peer(side)
            if peer is None:
                faults += [f"{side!r} has no peer"] if side.outgoing else []
                continue
            faults += [f"{side!r}: {fault}" for fault in _undelivered(side, peer, complete)]
        self._fail_if(faults)

    def _fail_if(self, faults: list[str]) -> None:
        if faults:
            more = [f"... and {len(faults) - 20} more"] if len(faults) > 20 else []
            raise AssertionError("\n".join([*faults[:20], *more, self.describe()]))


class Pair(World):
    """
    One starter and one listener; the parameters are those of L{World}.

    @ivar starter: the starter's side.
    """

    def __init__(
        self,
        seed: int | str = 0,
        conditions: Conditions = PERFECT,
        *,
        to_listener: Conditions | None = None,
        to_starter: Conditions | None = None,
        options: Options | None = None,
        starter_options: Options | None = None,
        listener_options: Options | None = None,
        strangers: ListenerOptions | None = None,
        starter: Callable[[], Application] = Application,
        listener: Callable[[], Application] = Application,
        handshakes: Handshakes = PLAIN,
        start: float = 0.0,
    ) -> None:
        super().__init__(
            seed,
            conditions,
            to_listener=to_listener,
            to_starters=to_starter,
            options=options,
            starter_options=starter_options,
            listener_options=listener_options,
            strangers=strangers,
            starter=starter,
            listener=listener,
            handshakes=handshakes,
            start=start,
        )
        self.starter = self.start()

    @property
    def listener(self) -> Side:
        """The listener's side. @raise AssertionError: while there is none."""
        peer = self.peer(self.starter)
        if peer is None:
            raise AssertionError(f"the listener has not heard of the session\n{self.describe()}")
        return peer

    def open(self, *, limit: float = 30.0) -> None:
        """Run until both sides have opened."""

        def opened() -> bool:
            peer = self.peer(self.starter)
            return self.starter.application.opened and peer is not None and peer.application.opened

        self.run(opened, limit=limit)


def _left(side: Side) -> Iterable[str]:
    """What is left of a session that should be over, and what was told wrongly."""
    connection = side.connection
    if not connection.ended:
        yield f"has not ended: {side.describe()}"
        return
    if side.timer.when < inf or connection.next_timeout() is not None:
        yield "has a timer left"
    ends = [event for event in side.events if isinstance(event, SessionEnded)]
    if len(ends) != 1 or side.events[-1] is not ends[0]:
        yield f"told SessionEnded {len(ends)} times, and last {type(side.events[-1]).__name__}"
    opened = next((at for at, event in enumerate(side.events) if isinstance(event, SessionOpened)), None)
    early = [type(event).__name__ for event in side.events[:opened] if not isinstance(event, BEFORE_OPENED)]
    if early:
        yield f"told {early} before SessionOpened"
    if connection.next_event() is not None:
        yield "has events left"
    statistics = connection.statistics()
    for name in MUST_BE_NONE:
        if statistics[name]:
            yield f"has {name} {statistics[name]} left"
    settled = Counter(
        message for event in side.events if isinstance(event, MessagesSettled) for message in event.messages
    )
    for message in side.outgoing:
        if settled[message] != 1 or not message.settled:
            yield f"message {message.number} of lane {message.lane} was told to be settled {settled[message]} times"
    answered = Counter(ask for event in side.events if isinstance(event, RepliesReceived) for ask, _ in event.replies)
    for ask in side.asks:
        if answered[ask] + settled[ask] != 1:
            yield f"ask {ask.number} was told to be answered {answered[ask]} times, and settled {settled[ask]} times"
    known = Counter(event.stream for event in side.events if isinstance(event, StreamRequested | StreamAccepted))
    ended = Counter(event.stream for event in side.events if isinstance(event, StreamEnded))
    for stream in known:
        if ended[stream] != 1 or known[stream] != 1:
            yield f"stream {stream.id} was told of {known[stream]} times, and ended {ended[stream]} times"


def _undelivered(side: Side, peer: Side, complete: bool) -> Iterable[str]:
    """What became of the messages of one side that should not have."""
    received = peer.application.received
    delivered = {}
    for lane, messages in received.items():
        numbers = [message.number for message in messages]
        if len(set(numbers)) != len(numbers):
            yield f"messages of lane {lane} were delivered twice: {numbers}"
        if lane not in side.unordered and numbers != sorted(numbers):
            yield f"messages of lane {lane} were delivered out of order: {numbers}"
        delivered.update({(lane, message.number): message.data for message in messages})
    for sent in side.outgoing:
        name = f"message {sent.number} of lane {sent.lane} ({len(sent.data)} bytes)"
        data = delivered.get((sent.lane, sent.number)) if sent.number >= 0 else None
        if not sent.settled:
            yield f"{name} is not settled"
            continue
        if sent.error is not None:
            if complete:
                yield f"{name} was not taken: {sent.error}"
            if data is not None and isinstance(sent.error, WITHDRAWN):
                yield f"{name} was delivered, and yet: {sent.error}"
            continue
        if data is None:
            yield f"{name} was acknowledged and not delivered"
        elif data != sent.data:
            yield f"{name} was delivered as {len(data)} other bytes"
