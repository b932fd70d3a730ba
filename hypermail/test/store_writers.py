"""
Writers to a store that do not end by themselves, and what is there after each.

    python -m hypermail.test.store_writers kill|stop DIRECTORY SEED ROUNDS

writes in a process that is killed at random times, or stopped in the middle of each of its writes.
"""

from __future__ import annotations

import os
import random
import signal
import sys
from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path

from hypermail.services.store_file import StoreFile
from hypermail.test.store_writes import Writes
from hypermail.test.stores import NOW, OWNER, Chance, state


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
