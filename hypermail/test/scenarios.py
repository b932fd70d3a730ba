"""
All scenarios, many seeds each, spread over the processors: C{python -m hypermail.test.scenarios}.

Prints a line for each scenario; the exit code is 1 when a seed has failed. What has failed is run again, alone and with
its traceback, by C{python -m hypermail.test.scenarios NAME --seed SEED}.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from hypermail.test import deferreds, storms
from hypermail.test.bbr import BBR
from hypermail.test.durability import RESTARTS, DurableWorld
from hypermail.test.faults import FAULTS
from hypermail.test.handshaking import OPENING
from hypermail.test.load import LOAD
from hypermail.test.moves import MOVES
from hypermail.test.rates import RATES
from hypermail.test.survivals import SURVIVALS
from hypermail.testing import World


class Outcome(NamedTuple):
    """
    What one seed of one scenario has come to.

    @ivar virtual: s of the network's time that it took.
    @ivar retransmitted: bytes that were sent again because they were taken for lost.
    @ivar processor: s of processor time that it took.
    @ivar error: the traceback, if it has failed.
    """

    name: str
    seed: int
    virtual: float = 0.0
    retransmitted: int = 0
    processor: float = 0.0
    error: str = ""


class Scenario(NamedTuple):
    """
    One scenario.

    @ivar run: takes a seed, raises when it fails, returns virtual seconds and retransmitted bytes.
    @ivar seeds: how many are run when nothing else is said.
    """

    run: Callable[[int], tuple[float, int]]
    seeds: int


def _world(run: Callable[[int], World], seed: int) -> tuple[float, int]:
    world = run(seed)
    lost = sum(side.connection.statistics()["bytes_lost"] for side in world.sides)
    return world.now - world.network.start, lost


def _restarts(run: Callable[[int], DurableWorld], seed: int) -> tuple[float, int]:
    world = run(seed)
    lost = sum(side.connection.statistics()["bytes_lost"] for side in world.sides)
    return world.now - world.network.start, lost


def _deferreds(seed: int) -> tuple[float, int]:
    network, retransmitted = deferreds.storm(seed)
    return network.now - network.start, retransmitted


#: Those that take long are run with fewer seeds.
_SEEDS = {"many-sessions": 1}

_WORLDS = {**RATES, **FAULTS, **OPENING, **MOVES, **LOAD, **BBR, **SURVIVALS}

SCENARIOS: dict[str, Scenario] = {
    "storm": Scenario(partial(_world, storms.storm), 1_000),
    "sealed-storm": Scenario(partial(_world, storms.sealed_storm), 1_000),
    "deferreds": Scenario(_deferreds, 1_000),
    **{name: Scenario(partial(_restarts, run), 100) for name, run in RESTARTS.items()},
    **{name: Scenario(partial(_world, run), _SEEDS.get(name, 100)) for name, run in _WORLDS.items()},
}


def run_one(task: tuple[str, int]) -> Outcome:
    """Run one seed of one scenario; never raises, but for an interrupt."""
    name, seed = task
    began = time.process_time()
    try:
        virtual, retransmitted = SCENARIOS[name].run(seed)
    except Exception:
        return Outcome(name, seed, processor=time.process_time() - began, error=traceback.format_exc())
    return Outcome(name, seed, virtual, retransmitted, time.process_time() - began)


@dataclass
class Row:
    """What the seeds of one scenario have come to."""

    name: str
    wanted: int
    outcomes: list[Outcome] = field(default_factory=list)

    HEADER = f"{'scenario':<26}{'seeds':>7}{'failed':>8}{'virtual s':>12}{'sent again, kB':>16}{'processor s':>13}"

    @property
    def failed(self) -> list[Outcome]:
        """Those seeds that failed, in order."""
        return sorted((outcome for outcome in self.outcomes if outcome.error), key=lambda outcome: outcome.seed)

    def __str__(self) -> str:
        virtual = sum(outcome.virtual for outcome in self.outcomes)
        again = sum(outcome.retransmitted for outcome in self.outcomes) / 1_000
        processor = sum(outcome.processor for outcome in self.outcomes)
        counts = f"{len(self.outcomes):>7,}{len(self.failed):>8,}"
        return f"{self.name:<26}{counts}{virtual:>12,.1f}{again:>16,.0f}{processor:>13,.1f}"


def run_all(names: Sequence[str], seeds: int | None, jobs: int, tell: Callable[[str], object]) -> list[Row]:
    """
    Run scenarios, each with its first seeds.

    @param seeds: how many of each; None for what each scenario says.
    @param jobs: processes.
    @param tell: takes each line as soon as it is known.
    """
    rows = {name: Row(name, SCENARIOS[name].seeds if seeds is None else seeds) for name in names}
    tasks = [(row.name, seed) for row in rows.values() for seed in range(row.wanted)]
    tell(Row.HEADER)
    with multiprocessing.Pool(jobs) as pool:
        for outcome in pool.imap_unordered(run_one, tasks, chunksize=1):
            row = rows[outcome.name]
            row.outcomes.append(outcome)
            if len(row.outcomes) == row.wanted:
                tell(str(row))
    return list(rows.values())


def explain(rows: Sequence[Row]) -> str:
    """What has failed, one traceback for each scenario, and how to see it again."""
    lines = []
    for row in rows:
        if row.failed:
            told = ", ".join(str(outcome.seed) for outcome in row.failed[:20])
            more = f" and {len(row.failed) - 20} more" if len(row.failed) > 20 else ""
            lines.append(f"\n{row.name}: failed with seed {told}{more}; the first of them:\n{row.failed[0].error}")
            lines.append(f"again: python -m hypermail.test.scenarios {row.name} --seed {row.failed[0].seed}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """
    The command.

    @return: the exit code: 0 when nothing has failed, 1 otherwise.
    """
    parser = argparse.ArgumentParser(
        prog="python -m hypermail.test.scenarios", description="Run hypermail's scenarios in the simulated network."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(SCENARIOS)}; all when none is given")
    parser.add_argument("--seeds", type=int, metavar="N", help="run seeds 0 to N-1 of each; else as many as each says")
    parser.add_argument("--seed", type=int, metavar="SEED", help="run this seed only, in this process")
    parser.add_argument("--jobs", type=int, metavar="N", default=os.cpu_count() or 1, help="processes (%(default)s)")
    given = parser.parse_args(arguments)
    names = given.names or list(SCENARIOS)
    for name in names:
        if name not in SCENARIOS:
            parser.error(f"there is no scenario {name!r}; there are {', '.join(SCENARIOS)}")
    if (given.seeds is not None and given.seeds < 1) or given.jobs < 1:
        parser.error("at least one seed and one process are needed")
    if given.seed is not None:
        rows = [Row(name, 1, [run_one((name, given.seed))]) for name in names]
        print(Row.HEADER, *rows, sep="\n")
    else:
        rows = run_all(names, given.seeds, given.jobs, lambda line: print(line, flush=True))
    failed = sum(len(row.failed) for row in rows)
    if failed:
        print(explain(rows), file=sys.stderr)
    print(f"{sum(len(row.outcomes) for row in rows):,} run, {failed:,} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
