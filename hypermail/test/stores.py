"""
What tests of the store share: a model of it, changes by chance, and a writer that is killed.

    python -m hypermail.test.stores kill|stop DIRECTORY SEED ROUNDS

writes to a store in a process that is killed again and again, and compares what is there each time.
"""

from __future__ import annotations

import os
import random
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from hypermail.messages.lanes import LaneProperties
from hypermail.options import Role, Way
from hypermail.services.store_file import StoreFile
from hypermail.session import journal
from hypermail.test.store_writes import Writes
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
                number: journal.StoredSending(
                    properties=lane.properties,
                    settled=lane.settled,
                    next=len(lane.messages),
                    withdrawn=frozenset(number for number in lane.withdrawn if number >= lane.settled),
                )
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


def _write(path: str, seed: int, done: int, report: int) -> None:
    """Write from the group C{done} on, and report each that is on the disk with a byte."""
    file = StoreFile(path, OWNER, lambda: NOW)
    file._database.execute("PRAGMA wal_autocheckpoint = 5")
    for writes in islice(Chance(seed).groups(), done, None):
        assert not any(file.apply(writes))
        os.write(report, b".")


def _stop(path: str, seed: int, done: int, report: int, at: int) -> None:
    """Likewise, and end in the middle of the write C{at} of SQLite, which the opening's are part of."""
    chance = random.Random(f"{seed} {done} {at}")

    def hook(number: int, content: bytes, write: Callable[[bytes], int]) -> int:
        if number == at:
            write(content[: chance.choice((0, len(content), chance.randrange(len(content))))])
            os.kill(os.getpid(), signal.SIGKILL)
        return write(content)

    with Writes(hook):
        _write(path, seed, done, report)


def _reopened(path: str, seed: int, least: int) -> int:
    """How many groups are in a store. @param least: so many have been reported."""
    chance = Chance(seed)
    groups = chance.groups()
    for _ in islice(groups, least):
        pass
    file = StoreFile(path, OWNER, lambda: NOW)
    try:
        found = state(file)
    finally:
        file.close()
    if found == chance.model.state():
        return least
    # The one that was being written may be there.
    next(groups)
    if found != chance.model.state():
        raise SystemExit(f"after {least} groups the store is another")
    return least + 1


class Mortal:
    """Writers to one store, each in a process that does not end by itself."""

    def __init__(self, path: str, seed: int) -> None:
        self._path = path
        self._seed = seed
        self.done = 0

    def live(self, write: Callable[[str, int, int, int], None], kill: Callable[[int, int], int] | None = None) -> None:
        """
        One of them.

        @param write: is given the path, the seed, how many groups there are, and a pipe for its reports.
        @param kill: is given its process and the pipe; returns how many reports it has read.
        """
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            try:
                os.close(reading)
                write(self._path, self._seed, self.done, writing)
            finally:
                os._exit(1)
        os.close(writing)
        reported = kill(child, reading) if kill is not None else 0
        while rest := os.read(reading, 1 << 16):
            reported += len(rest)
        os.close(reading)
        _, status = os.waitpid(child, 0)
        if status != signal.SIGKILL:
            raise SystemExit(f"the writer has ended by itself: {status}")
        self.done = _reopened(self._path, self._seed, self.done + reported)


def kill(path: str, seed: int, rounds: int) -> None:
    """Have writers killed at random times."""
    chance = random.Random(seed)
    mortal = Mortal(path, seed)

    def killing(child: int, reports: int) -> int:
        # So many reports, and then at any moment of the next write.
        reported = sum(len(os.read(reports, 1)) for _ in range(chance.randint(1, 40)))
        for _ in range(chance.randrange(20_000)):
            pass
        os.kill(child, signal.SIGKILL)
        return reported

    for _ in range(rounds):
        mortal.live(_write, killing)
    print(f"{rounds} killed, {mortal.done} groups")


def stop(path: str, seed: int, rounds: int) -> None:
    """Have writers stop in the middle of each write: of the first one's making of the store, and of what follows."""
    mortal = Mortal(path, seed)
    for at in range(rounds):
        if at < 40:
            Path(path).unlink(missing_ok=True)
            mortal.done = 0
        mortal.live(partial(_stop, at=at))
    print(f"{rounds} stopped, {mortal.done} groups")


if __name__ == "__main__":
    {"kill": kill, "stop": stop}[sys.argv[1]](str(Path(sys.argv[2]) / "sessions.db"), *map(int, sys.argv[3:]))
