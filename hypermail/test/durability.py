"""
Durable sessions in virtual time: hosts whose processes are killed and started again, and what has to come of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from hypermail import events as e
from hypermail.errors import HypermailError, MessageCancelled, MessageExpired, MessageRejected
from hypermail.messages.incoming import IncomingLane
from hypermail.messages.message import OutgoingMessage
from hypermail.options import Options
from hypermail.session.states import State
from hypermail.test.storms import REJECTED
from hypermail.testing import Application, Conditions, Side, SimulatedNetwork, secret_handshakes
from hypermail.testing.network import Address
from hypermail.testing.node import Node
from hypermail.testing.pair import LISTENER
from hypermail.testing.store import MemoryStore

STARTER: Address = ("10.1.0.1", 40_000)
#: By which a starter finds its session again.
NAME = "listener"
NEAR = Conditions(delay=0.01)
#: Links are given up after 3 to 4 s of silence.
OPTIONS = Options(durable=True, ping_interval=1.0, ping_packet_count=2, connection_timeout=3.0)
#: A lane, with others of which it is not told.
LANE = 1


class Host:
    """
    One side, over all of its processes.

    @ivar records: what its application has taken, as it has written down itself: (session, lane) -> numbers.
    @ivar received: what has come, by (session, lane): (number, content), in order.
    @ivar stored: contents that were told to be on disk.
    @ivar fates: by content, why it was not taken, or None.
    @ivar withdrawn: contents that may not arrive.
    @ivar again: how many messages were dealt with that had been before, by its records.
    @ivar exact: whether the records count after a restart; for who rejects, those of the store have to.
    @ivar begin: a starter's: asks for its session.
    @ivar process: the socket of the process that runs, if one does.
    @ivar side: of its latest session.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        self.store = MemoryStore()
        self.records: dict[tuple[bytes, int], set[int]] = {}
        self.received: dict[tuple[bytes, int], list[tuple[int, bytes]]] = {}
        self.stored: set[bytes] = set()
        self.fates: dict[bytes, HypermailError | None] = {}
        self.withdrawn: set[bytes] = set()
        self.again = 0
        self.exact = True
        self.begin: Callable[[], object] = lambda: None
        self.sides: list[Side] = []
        self.process: Node | None = None

    @property
    def side(self) -> Side:
        """The latest."""
        return self.sides[-1]

    def taken(self, session: bytes) -> dict[int, int]:
        """What its application, which takes messages in order, says after a restart."""
        if not self.exact:
            return {}
        return {lane: max(numbers) + 1 for (of, lane), numbers in self.records.items() if of == session and numbers}


class DurableApplication(Application):
    """
    Writes down what it takes, and rejects what begins with L{REJECTED}.

    @param host: whose.
    """

    def __init__(self, host: Host, *, verdict_delay: float = 0.0) -> None:
        super().__init__(verdict_delay=verdict_delay)
        self.host = host

    def session_requested(self, event: e.SessionRequested) -> None:
        """Accept; what was taken comes from the records."""
        if event.session_id is not None:
            self.taken = self.host.taken(event.session_id)
        super().session_requested(event)

    def session_opened(self, event: e.SessionOpened) -> None:
        super().session_opened(event)
        self.host.sides.append(self.side)

    def session_ended(self, event: e.SessionEnded) -> None:
        super().session_ended(event)
        node = self.side.node
        if not self.opened:  # nobody knew it, or nobody answered
            node.network.call_at(node.network.now + 0.1, lambda: None if node.stopped else self.host.begin())

    def messages_received(self, event: e.MessagesReceived) -> None:
        key = self.side.connection.session_id, event.lane.number
        self.host.received.setdefault(key, []).extend(enumerate(event.messages, event.first))
        super().messages_received(event)

    def settle(self, lane: IncomingLane, first: int, messages: list[bytes]) -> None:
        """Take them in the transaction in which they are written down."""
        records = self.host.records.setdefault((self.side.connection.session_id, lane.number), set())
        for number, message in enumerate(messages, first):
            if message.startswith(REJECTED):
                lane.reject(number, 4_711, "as you wish")
            else:
                if number in records:
                    self.host.again += 1
                records.add(number)
                lane.take(number)

    def messages_stored(self, event: e.MessagesStored) -> None:
        self.host.stored.update(message.data for message in event.messages)

    def messages_settled(self, event: e.MessagesSettled) -> None:
        for message in event.messages:
            if message.data:
                self.host.fates[message.data] = message.error


class DurableWorld:
    """
    A listener and a starter with stores, whose processes can be killed.

    @param application: makes the application of each session of each host.
    """

    def __init__(
        self,
        seed: int | str = 0,
        conditions: Conditions = NEAR,
        *,
        options: Options = OPTIONS,
        application: Callable[[Host], Application] = DurableApplication,
    ) -> None:
        self.network = SimulatedNetwork(seed, conditions, start=1_000.0)
        self._handshakes = secret_handshakes(Random(f"{seed} keys").randbytes)
        self._options = options
        self._application = application
        self.listener = Host(LISTENER)
        self.starter = Host(STARTER)
        self._nodes: list[Node] = []

    @property
    def now(self) -> float:
        """s of virtual time."""
        return self.network.now

    @property
    def sides(self) -> Iterator[Side]:
        """All sides of all processes so far."""
        for node in self._nodes:
            yield from node.sides

    def start_listener(self) -> None:
        """Start the listener's process."""
        self.listener.process = self._node(self.listener, partial(self._application, self.listener))

    def start_starter(self) -> Side:
        """Start the starter's process, and its session."""
        host = self.starter
        host.process = node = self._node(host, None)

        def begin() -> Side:
            stored = host.store.named(NAME)
            taken = {} if stored is None else host.taken(stored.identity.id)
            return node.start(LISTENER, self._application(host), name=NAME, taken=taken)

        host.begin = begin
        side = begin()
        self.run_for(0.0)
        return side

    def _node(self, host: Host, accepting: Callable[[], Application] | None) -> Node:
        node = Node(
            self.network,
            host.address,
            options=self._options,
            accepting=accepting,
            handshakes=self._handshakes,
            store=host.store,
        )
        self._nodes.append(node)
        return node

    def start(self) -> None:
        """Start both, and wait until the session is open."""
        self.start_listener()
        self.start_starter()
        self.run(lambda: self.starter.sides and self.listener.sides)
        for host in (self.starter, self.listener):
            host.side.configure_lane(LANE, durable=True)

    def kill(self, host: Host) -> None:
        """Kill the process of a host, at once."""
        if host.process is not None:
            host.process.stop()
            host.process = None

    def restart(self, host: Host) -> None:
        """Kill the process of a host, and start another."""
        self.kill(host)
        if host is self.listener:
            self.start_listener()
        else:
            self.start_starter()

    def run_for(self, seconds: float) -> None:
        """Let time pass."""
        self.network.advance(seconds)

    def run(self, until: Callable[[], object], *, limit: float = 60.0) -> None:
        """
        Let time pass until something is so.

        @raise AssertionError: when it isn't so after C{limit} s.
        """
        deadline = self.now + limit
        while not until():
            if self.now > deadline or not self.network.step():
                raise AssertionError("\n".join(side.describe() for side in self.sides if not side.node.stopped))

    def settle(self, *, limit: float = 300.0) -> None:
        """Wait until the session has a link, and everything that was sent is settled on both sides."""
        self.run(self._settled, limit=limit)

    def _settled(self) -> bool:
        for host in (self.starter, self.listener):
            if host.process is None or not host.sides or host.side.node is not host.process:
                return False
            session = host.side.connection._session
            if not session.survival.linked or not session.sending.idle or host.side.connection.has_changes:
                return False
        return True


class DurableTestCase(SynchronousTestCase):
    """Has an open session whose lane L{LANE} is durable, both ways."""

    def world(
        self,
        *,
        options: Options = OPTIONS,
        conditions: Conditions = NEAR,
        application: Callable[[Host], Application] = DurableApplication,
    ) -> DurableWorld:
        """Started."""
        world = DurableWorld(1, conditions, options=options, application=application)
        world.start()
        return world

    def contents(self, host: Host, lane: int = LANE) -> list[bytes]:
        """What has come, in order, in the one session that there was."""
        found = [messages for (_, number), messages in host.received.items() if number == lane]
        self.assertLessEqual(len(found), 1)
        return [data for messages in found for _, data in messages]

    def numbers(self, host: Host, lane: int = LANE) -> list[int]:
        """The numbers of the same."""
        found = [messages for (_, number), messages in host.received.items() if number == lane]
        return [number for messages in found for number, _ in messages]


class _Feeder(DurableApplication):
    """Sends now and then on two durable lanes, withdraws some of that, and rejects what asks for it."""

    def __init__(self, host: Host, random: Random, feeding: list[bool], rejected: float) -> None:
        super().__init__(host, verdict_delay=random.choice((0.0, 0.0, 0.002, 0.3)))
        self._random = random
        self._feeding = feeding
        self._rejected = rejected

    def session_opened(self, event: e.SessionOpened) -> None:
        super().session_opened(event)
        for lane in (1, 2):
            self.side.configure_lane(lane, durable=True, priority=lane - 1)
        self._feed()

    def _feed(self) -> None:
        side, random = self.side, self._random
        if not self._feeding or side.connection.state not in (State.OPEN, State.OPENING):
            return
        if not side.connection.messages_full:
            for _ in range(random.choice((1, 3, 30))):
                self._say(random.choice((1, 1, 2)))
        self.later(random.choice((0.001, 0.02, random.expovariate(3.0))), self._feed)

    def _say(self, lane: int) -> None:
        side, random, host = self.side, self._random, self.host
        content = b"%b%d %d %016x " % (
            REJECTED if random.random() < self._rejected else b"",
            lane,
            side.network.now * 1e9,
            random.getrandbits(64),
        )
        content += bytes(random.choice((0, 100, 100, 5_000)))
        expires = random.choice((None,) * 20 + (0.0005, 0.05, 2.0))
        message = side.send_message(content, lane=lane, expires=expires)
        if expires is not None:
            host.withdrawn.add(content)
        if random.random() < 0.05:
            host.withdrawn.add(content)
            self.later(random.choice((0.0, 0.0005, 0.02, 2.0)), partial(self._cancel, message))

    def _cancel(self, message: OutgoingMessage) -> None:
        if not message.settled:
            self.side.cancel_message(message)


def _check(sender: Host, receiver: Host) -> None:
    """Each message has met the fate that the application gave it, once, and in order."""
    seen: set[bytes] = set()
    for (_, lane), messages in receiver.received.items():
        known: dict[int, bytes] = {}
        for number, content in messages:
            if known.setdefault(number, content) != content:
                raise AssertionError(f"message {number} of lane {lane} has come with other content")
        if list(known) != sorted(known):
            raise AssertionError(f"messages of lane {lane} have come for the first time in the order {list(known)}")
        seen.update(known.values())
    if receiver.again and receiver.exact:
        raise AssertionError(f"{receiver.again} messages were dealt with again")
    for content in sender.stored - seen - sender.withdrawn:
        raise AssertionError(f"lost: {content[:60]!r}")
    for content, error in sender.fates.items():
        rejected = content.startswith(REJECTED)
        # What was withdrawn counts as taken below what the receiver's application says that it has taken.
        missing = content not in seen and not (receiver.exact and content in sender.withdrawn)
        if error is None and (rejected or missing):
            raise AssertionError(f"said to be taken: {content[:60]!r}")
        if isinstance(error, MessageRejected) and not rejected:
            raise AssertionError(f"said to be rejected: {content[:60]!r}: {error}")
        if isinstance(error, MessageCancelled | MessageExpired) and content not in sender.withdrawn:
            raise AssertionError(f"said to be withdrawn: {content[:60]!r}: {error}")


def restarts(seed: int, *, listener: bool, starter: bool) -> DurableWorld:
    """
    Kill processes again and again while both sides send; everything that was said to be on disk arrives, in order, once
    to applications that write down what they take.
    """
    random = Random(f"restarts {seed} {listener} {starter}")
    feeding, rejected = [True], random.choice((0.0, 0.05))
    conditions = Conditions(
        delay=random.uniform(0.001, 0.05), loss=random.choice((0.0, 0.02, 0.1)), reordering=random.choice((0.0, 0.1))
    )
    world = DurableWorld(
        f"{seed} {listener} {starter}",
        conditions,
        options=OPTIONS,
        application=lambda host: _Feeder(host, Random(random.getrandbits(64)), feeding, rejected),
    )
    world.start_listener()
    world.start_starter()
    world.run_for(random.choice((0.0, 0.1 * random.random(), 1.0)))
    world.listener.exact = world.starter.exact = not rejected
    hosts = [world.listener] * listener + [world.starter] * starter
    for _ in range(12):
        world.run_for(random.choice((0.05, 0.5, 2.0)) * random.random())
        for host in random.choice(([hosts[0]], [hosts[-1]], hosts)):
            host.store.full = random.random() < 0.2
            world.run_for(random.choice((0.0, 0.3 * random.random())))
            world.kill(host)
            host.store.full = False
        world.run_for(random.choice((0.0, 0.1, 1.0)) * random.random())
        for host in hosts:
            if host.process is None:
                world.restart(host)
    world.run_for(random.uniform(0.0, 2.0))
    feeding.clear()
    world.settle(limit=600)
    _check(world.starter, world.listener)
    _check(world.listener, world.starter)
    return world


#: The rows of scenarios.md.
RESTARTS: dict[str, Callable[[int], DurableWorld]] = {
    "listener-restarts": partial(restarts, listener=True, starter=False),
    "starter-restarts": partial(restarts, listener=False, starter=True),
    "both-restart": partial(restarts, listener=True, starter=True),
}
