"""
What tests of the store share: a store whose clock is set by hand, a model of what is in it, and changes by chance.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from hypermail.messages.lanes import LaneProperties
from hypermail.options import Role, Way
from hypermail.services.store_file import StoreFile
from hypermail.session import journal
from hypermail.wire.packets import Verdict

OWNER = b"o" * 32
#: s since 1970, of tests in which no time passes.
NOW = 1_800_000_000.0


def session_id(number: int) -> bytes:
    """16 bytes."""
    return number.to_bytes(16, "big")


def identity(number: int = 1, name: str = "", **fields: Any) -> journal.SessionIdentity:
    """A session; a starter's when it has a name."""
    return replace(
        journal.SessionIdentity(
            id=session_id(number),
            secret=bytes(range(32)),
            role=Role.STARTER if name else Role.LISTENER,
            name=name,
            way=Way.TWO_WAY,
            generation=0,
            peer_incarnation=7,
            peer_key=b"k" * 32,
            worker=3,
            parameters=b"parameters",
            timeout=1000.0,
        ),
        **fields,
    )


def queued(*data: bytes) -> list[journal.QueuedMessage]:
    """Messages that never expire and have no note."""
    return [journal.QueuedMessage(each, None, b"") for each in data]


@dataclass
class ModelLane:
    """One lane, both halves."""

    properties: LaneProperties | None = None
    settled: int = 0
    messages: list[journal.QueuedMessage] = field(default_factory=list)
    withdrawn: set[int] = field(default_factory=set)
    taken: int | None = None
    verdicts: dict[int, Verdict] = field(default_factory=dict)


class Model:
    """What a store should hold, kept as simply as can be: all that ever happened to a session that is not over."""

    def __init__(self) -> None:
        self.identities: dict[bytes, journal.SessionIdentity] = {}
        self.lanes: dict[bytes, dict[int, ModelLane]] = {}

    def apply(self, change: journal.Change) -> None:
        """Take the next change, which has to fit."""
        match change:
            case journal.SessionIdentity():
                self.identities[change.id] = change
                self.lanes.setdefault(change.id, {})
            case journal.Over(id):
                self.identities.pop(id, None)
                self.lanes.pop(id, None)
            case journal.LaneUsed(id, lane, properties):
                self._lane(id, lane).properties = properties
            case journal.Queued(id, lane, first, messages):
                assert first == len(self._lane(id, lane).messages)
                self._lane(id, lane).messages.extend(messages)
            case journal.Withdrawn(id, lane, number):
                self._lane(id, lane).withdrawn.add(number)
            case journal.Settled(id, lane, below):
                self._lane(id, lane).settled = below
            case journal.Taken(id, lane, below, verdicts):
                self._lane(id, lane).taken = below
                self._lane(id, lane).verdicts.update((verdict.number, verdict) for verdict in verdicts)
            case journal.Heard(id, lane, numbers):
                for number in numbers:
                    self._lane(id, lane).verdicts.pop(number, None)

    def _lane(self, id: bytes, lane: int) -> ModelLane:
        return self.lanes[id].setdefault(lane, ModelLane())

    def state(self) -> dict[bytes, Any]:
        """What L{state} should find."""
        return {id: (self._stored(identity), self._messages(id)) for id, identity in self.identities.items()}

    def _stored(self, identity: journal.SessionIdentity) -> journal.StoredSession:
        lanes = self.lanes[identity.id]
        return journal.StoredSession(
            identity=identity,
            sending={
                number: journal.StoredSending(properties=lane.properties, settled=lane.settled, next=len(lane.messages))
                for number, lane in lanes.items()
                if lane.properties is not None
            },
            receiving={
                number: journal.StoredReceiving(taken=lane.taken, verdicts=tuple(lane.verdicts.values()))
                for number, lane in lanes.items()
                if lane.taken is not None
            },
        )

    def _messages(self, id: bytes) -> dict[int, list[tuple[int, journal.QueuedMessage]]]:
        return {
            number: [
                (at, message)
                for at, message in enumerate(lane.messages)
                if at >= lane.settled and at not in lane.withdrawn
            ]
            for number, lane in self.lanes[id].items()
            if lane.properties is not None
        }


def state(file: StoreFile, most: int = 1000) -> dict[bytes, Any]:
    """
    All that is in a store, by what it offers.

    @param most: bytes of messages that are read at a time.
    """
    found: dict[bytes, Any] = {}
    for id, name in file._database.execute("SELECT id, name FROM sessions").fetchall():
        stored = file.find(id) if name is None else file.named(name.decode())
        if stored is not None:
            found[id] = stored, {lane: list(_all(file, id, lane, most)) for lane in stored.sending}
    return found


def _all(file: StoreFile, id: bytes, lane: int, most: int) -> Iterator[tuple[int, journal.QueuedMessage]]:
    first = 0
    while messages := file.messages(id, lane, first, most):
        yield from messages
        first = messages[-1][0] + 1


class Chance:
    """
    Changes by chance that fit each other, in groups, without an end.

    @ivar model: what they come to so far.
    """

    def __init__(self, seed: int, sessions: int = 4, largest: int = 3000) -> None:
        self.model = Model()
        self._random = random.Random(seed)
        self._sessions = sessions
        self._largest = largest
        self._count = 0

    def groups(self) -> Iterator[list[list[journal.Change]]]:
        """Writes that are given to the store together; the model has taken them when they come."""
        while True:
            yield [
                [self._change() for _ in range(self._random.randint(1, 3))] for _ in range(self._random.randint(1, 4))
            ]

    def _change(self) -> journal.Change:
        change = self._draw()
        self.model.apply(change)
        return change

    def _draw(self) -> journal.Change:
        chance, model = self._random, self.model
        if not model.identities or (len(model.identities) < self._sessions and chance.random() < 0.1):
            self._count += 1
            return identity(self._count, chance.choice(("", f"session {self._count}")))
        id = chance.choice(list(model.identities))
        number = chance.randrange(3)
        lane = model.lanes[id].get(number, ModelLane())
        if lane.properties is None:
            return journal.LaneUsed(id, number, LaneProperties(priority=number, durable=True))
        draw = chance.random()
        if draw < 0.02:
            return journal.Over(id)
        if draw < 0.05:
            return replace(model.identities[id], generation=chance.randrange(1 << 64))
        if draw < 0.08:
            return journal.Suspended(id)
        if draw < 0.15 and lane.settled < len(lane.messages):
            return journal.Withdrawn(id, number, chance.randrange(lane.settled, len(lane.messages)))
        if draw < 0.4:
            return journal.Settled(id, number, chance.randint(lane.settled, len(lane.messages)))
        if draw < 0.5:
            taken = lane.taken or 0
            below = taken + chance.randrange(5)
            verdicts = [
                Verdict(n, chance.random() < 0.5, n, "no") for n in range(taken, below) if chance.random() < 0.3
            ]
            return journal.Taken(id, number, below, tuple(verdicts))
        if draw < 0.55 and lane.taken is not None:
            known = [n for n in lane.verdicts if chance.random() < 0.5]
            return journal.Heard(id, number, tuple(known))
        return journal.Queued(id, number, len(lane.messages), [self._message() for _ in range(chance.randint(1, 5))])

    def _message(self) -> journal.QueuedMessage:
        chance = self._random
        data = chance.randbytes(chance.choice((0, 1, 20, 200, self._largest)))
        return journal.QueuedMessage(data, chance.choice((None, NOW + 5.5)), chance.choice((b"", b"note")))


class FileTestCase(SynchronousTestCase):
    """A store whose clock is set by hand."""

    def setUp(self) -> None:
        self.time = NOW
        self.path = str(Path(self.mktemp()) / "state" / "sessions.db")
        self.opened: list[StoreFile] = []
        self.addCleanup(self.closeAll)
        self.file = self.open()

    def closeAll(self) -> None:
        """Those that are open."""
        for file in self.opened:
            file.close()

    def open(self, **fields: Any) -> StoreFile:
        """One more."""
        file = StoreFile(**{"path": self.path, "owner": OWNER, "now": lambda: self.time, **fields})
        self.opened.append(file)
        return file

    def reopen(self) -> None:
        """As the next process does."""
        self.opened.remove(self.file)
        self.file.close()
        self.file = self.open()

    def write(self, *changes: journal.Change) -> None:
        """In one write."""
        self.assertEqual(self.file.apply([changes]), [None])

    def rows(self, table: str) -> int:
        """How many there are."""
        return int(self.file._database.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
