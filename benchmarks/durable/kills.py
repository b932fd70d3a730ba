"""
Durable messages from one process to another, while both are killed and the network between them is cut.

    python -m benchmarks.durable.kills [--messages 100000] [--kills 50] [--cuts 20] [--seeds 1 2 3 4] [--namespaces]
        [--directory DIR]

The receiver is the ledger of C{docs/examples/ledger.py}, the sender L{benchmarks.durable.till}; mode tls, real stores,
and between them L{benchmarks.durable.ways}, which loses everything for 0.2 to 3 s now and then. At random times one of
them is killed (SIGKILL), or both at once, and started again at once: also while it starts, and while the session is
taken up. In the end the ledger's database has to hold each message exactly once, in order, and the sender's store
nothing undelivered.
"""

from __future__ import annotations

import argparse
import json
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

from benchmarks.durable.till import ACCOUNTS, LANE, NAME, OWNER
from benchmarks.durable.ways import Namespaced, Relayed, Way
from benchmarks.logged import Logged
from hypermail.services.store import STORE_FILE
from hypermail.services.store_file import StoreFile

LEDGER = Path(__file__).parents[2] / "docs" / "examples" / "ledger.py"
#: s between two of the things that happen, at least and at most.
BETWEEN = (0.1, 2.2)
CUT = (0.2, 3.0)
#: s in which something has to arrive.
PATIENCE = 120.0
#: Of the kills of each side this part is of both at once.
TOGETHER = 0.3


class Ends:
    """
    Both programs, and what is between them.

    @ivar lost: datagrams that the cuts have cost, in the end.
    @ivar lives: of each, how often it was started.
    """

    def __init__(self, top: Path, till: list[str], way: Way) -> None:
        self.top = top
        self.way = way
        self.lost = 0
        self.logged = Logged(top)
        self._till = till
        self.lives: Counter[str] = Counter()
        self._processes: dict[str, subprocess.Popen[Any]] = {}
        for name in ("ledger", "till"):
            (top / name).mkdir(parents=True)
        try:
            self.start("ledger")
            self._pin = self.logged.told("ledger1", r"pin (\S+)")
            self.start("till")
        except BaseException:
            self.stop()
            raise

    def start(self, name: str) -> None:
        """Begin one of them."""
        self.lives[name] += 1
        directory = str(self.top / name)
        if name == "ledger":
            command = [str(LEDGER), "take", str(self.way.target), directory]
        else:
            where = [self.way.host, str(self.way.port)]
            command = ["-m", "benchmarks.durable.till", *self._till, *where, self._pin, directory]
        self._processes[name] = self.logged.start(
            f"{name}{self.lives[name]}", self.way.popen, name, [sys.executable, *command], cwd=LEDGER.parents[2]
        )

    def kill(self, *names: str) -> None:
        """SIGKILL; they are started again at once."""
        for name in names:
            if self._processes[name].poll() is not None:
                raise SystemExit(f"{name} has ended by itself:\n{self.logged.text(f'{name}{self.lives[name]}')}")
            self._processes[name].kill()
        for name in names:
            self._processes[name].wait()
            self.start(name)

    def stop(self) -> None:
        """End both, as their users would."""
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            process.wait(PATIENCE)
        self.lost = self.way.stop()

    def said(self, name: str) -> list[str]:
        """All lines of all lives of one of them."""
        lives = range(1, self.lives[name] + 1)
        return [line for life in lives for line in self.logged.text(f"{name}{life}").splitlines()]


class Progress:
    """
    How far the ledger is.

    @ivar longest: s for which it got no further while there was something to send.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.longest = 0.0
        self._count = 0
        self._since = time.monotonic()

    def look(self) -> int:
        """Messages that are booked."""
        count = self._booked()
        if count > self._count:
            self._count, self._since = count, time.monotonic()
        pause = time.monotonic() - self._since
        self.longest = max(self.longest, pause)
        if pause > PATIENCE:
            raise SystemExit(f"nothing has come for {PATIENCE:.0f} s, {count:,} messages are booked")
        return count

    def _booked(self) -> int:
        try:
            with closing(self._open()) as database:
                (count,) = database.execute("SELECT COALESCE(MAX(rowid), 0) FROM bookings").fetchone()
        except sqlite3.OperationalError:
            return self._count  # it is being made, or taken up after a kill
        return int(count)

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(f"file:{self._path}?mode=ro", uri=True)

    def wait(self, seconds: float, count: int) -> int:
        """For so long, or until there are so many. @return: how many there are."""
        until = time.monotonic() + seconds
        while (found := self.look()) < count and time.monotonic() < until:
            time.sleep(0.02)
        return found

    def result(self, count: int) -> dict[str, Any]:
        """What is in the database in the end, and whether that is right."""
        columns = "COUNT(*), COUNT(DISTINCT cents), MIN(cents), MAX(cents), SUM(cents), SUM(cents != number)"
        with closing(self._open()) as database:
            rows, different, least, greatest, total, misplaced = database.execute(
                f"SELECT {columns} FROM bookings"
            ).fetchone()
            (sessions,) = database.execute("SELECT COUNT(DISTINCT session) FROM bookings").fetchone()
            accounts = dict(database.execute("SELECT name, cents FROM accounts").fetchall())
        wanted = {str(place): sum(range(place, count, ACCOUNTS)) for place in range(min(ACCOUNTS, count))}
        right = (rows, different, least, greatest, total, misplaced, sessions) == (
            *(count, count, 0, count - 1, count * (count - 1) // 2, 0, 1),
        ) and accounts == wanted
        return {"rows": rows, "different": different, "first": least, "last": greatest, "sum": total, "right": right}


def happenings(chance: random.Random, kills: int, cuts: int) -> list[tuple[str, ...]]:
    """What is killed, or cut, in which order."""
    together = int(kills * TOGETHER)
    alone = kills - together
    found: list[tuple[str, ...]] = (
        [("ledger", "till")] * together + [("ledger",)] * alone + [("till",)] * alone + [()] * cuts
    )
    chance.shuffle(found)
    return found


def run(
    top: Path, seed: int, count: int, kills: int, cuts: int, between: tuple[float, float], way: Way
) -> dict[str, Any]:
    """One run. @param between: least and most s between two kills or cuts."""
    chance = random.Random(seed)
    plan = happenings(chance, kills, cuts)
    # While it starts the sender sends nothing: it has to be a little faster than the average that fills the time.
    rate = 1.3 * count / (len(plan) * sum(between) / 2)
    ends = Ends(top, ["--count", str(count), "--rate", str(rate)], way)
    began = time.monotonic()
    within: Counter[str] = Counter()
    try:
        progress = Progress(top / "ledger" / "ledger.db")
        while not progress.look():
            time.sleep(0.01)
        for names in plan:
            if progress.wait(chance.uniform(*between), count + 1) < count:
                within.update(names or ["cut"])
            if names:
                ends.kill(*names)
            else:
                ends.way.cutFor(chance.uniform(*CUT))
        progress.wait(float("inf"), count)
        seconds = time.monotonic() - began
        ends.logged.told(f"till{ends.lives['till']}", "(all queued)")
        progress.wait(1, count + 1)  # the last word of the ledger comes, and is written down
    finally:
        ends.stop()
    return {
        "seed": seed,
        "seconds": round(seconds, 1),
        "kills": {name: lives - 1 for name, lives in sorted(ends.lives.items())},
        "before_the_last_message": dict(sorted(within.items())),
        "datagrams_cut_off": ends.lost,
        "longest_pause": round(progress.longest, 2),
        **progress.result(count),
        **kept(top / "till" / STORE_FILE, count),
        "came_again": sum("came again" in line for line in ends.said("ledger")),
        "complaints": complaints(ends),
    }


def kept(path: Path, count: int) -> dict[str, Any]:
    """What the sender's store still has."""
    file = StoreFile(str(path), OWNER, time.time)
    stored = file.named(NAME)
    file.close()
    lane = None if stored is None else stored.sending[LANE]
    return {
        "queued": None if lane is None else lane.next,
        "undelivered": None if lane is None else lane.next - lane.settled,
    }


def complaints(ends: Ends) -> list[str]:
    """What the programs have said that they should not."""
    usual = ("pin ", "queued before: ", "all queued", "came again: ", "lost: the session is kept")
    lines = [line for name in ends.lives for line in ends.said(name)]
    return [line for line in lines if not line.startswith(usual)]


def whole(found: dict[str, Any], count: int) -> bool:
    """Whether a run has shown what it has to."""
    return bool(found["right"] and found["queued"] == count and not found["undelivered"] and not found["complaints"])


def main() -> None:
    """Run, and print figures as JSON; the exit code is 1 when a message was lost, or came twice."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=100_000, help="[100000]")
    parser.add_argument("--kills", type=int, default=50, help="of each side [50]")
    parser.add_argument("--cuts", type=int, default=20, help="[20]")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4], help="one for each run [1 2 3 4]")
    parser.add_argument("--namespaces", action="store_true", help="each side in one of its own: 20 ms, 1 % lost")
    parser.add_argument("--directory", help="on the disk in question, and kept [a temporary one]")
    arguments = parser.parse_args()
    failed = False
    with tempfile.TemporaryDirectory() as temporary:
        top = Path(arguments.directory or temporary)
        for seed in arguments.seeds:
            count = arguments.messages
            way = Namespaced(seed) if arguments.namespaces else Relayed()
            found = run(top / f"run{seed}", seed, count, arguments.kills, arguments.cuts, BETWEEN, way)
            failed |= not whole(found, count)
            print(json.dumps(found), flush=True)
    raise SystemExit(int(failed))


if __name__ == "__main__":
    main()
