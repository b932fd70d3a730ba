"""
Processes are killed (SIGKILL) while 200 requests run: every client has to get a right answer or a clean error, soon.

A quarter of them ask for little, again and again; a quarter download 1 MiB that takes 1.6 s; a quarter upload as much;
and a quarter wait 3 s for their answers. Each response is checked. Clean errors are a cut connection, 502, 503, and
404, which is what the queen says of what no cell has mounted any more. Afterwards what was killed is started again, and
100 requests have to be answered right. Besides, clients give up within 10,000 requests at random moments.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.hive.asking import Asker, Outcome
from benchmarks.hive.scene import WAYS, Hive, Program

#: What is killed.
CASES = ("cell", "two cells", "queen")
KINDS = ("quick", "slow", "put", "hold")
AT_ONCE = 200
AFTERWARDS = 100
#: s after the first requests, which are made once all clients have their connections.
KILLED_AFTER = 0.8
#: s for which those who ask again and again do so.
ASKING = 3.0
#: s that nobody may wait, and that clients do.
LONGEST = 30.0
PATIENCE = 60.0


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of its own."""
    parser.add_argument("--rounds", type=int, default=10, help="of each kind [10]")
    parser.add_argument("--aborts", type=int, default=10_000, help="requests of which clients give up many [10000]")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=CASES)


def run(options: argparse.Namespace, directory: Path) -> dict[str, Any]:
    """Measure all of it."""
    rows: list[dict[str, Any]] = []
    for way in options.ways:
        for case in options.cases:
            with Hive(directory / f"{way}-{case.replace(' ', '-')}") as hive:
                scene = Scene(hive, way, 2 if case == "two cells" else 1)
                for number in range(1, options.rounds + 1):
                    found = asyncio.run(scene.round(case))
                    rows.append({"way": way, "killed": case, "round": number, **found})
                    _tell(rows[-1])
        if options.aborts:
            with Hive(directory / f"{way}-aborts") as hive:
                rows.append(
                    {"way": way, "killed": "clients", "round": 1, **_aborts(Scene(hive, way, 1), options.aborts)}
                )
                _tell(rows[-1])
    return {"rows": rows, "goals": goals(rows)}


def _tell(row: dict[str, Any]) -> None:
    words = [row["way"], row["killed"], row["round"], row["outcomes"], f"longest {row['longest']:.1f} s"]
    print(*words, f"back after {row['back']:.1f} s", row["afterwards"], *row["wrong"][:5], sep="  ", flush=True)


def goals(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What has to hold."""
    total: Counter[str] = Counter()
    for row in rows:
        total.update(row["outcomes"])
    bad = total["wrong"] + total["hung"]
    longest = max(row["longest"] for row in rows)
    well = sum(set(row["afterwards"]) == {"right"} for row in rows)
    return [
        {
            "goal": "every client gets a right answer or a clean error",
            "found": f"{bad:,} of {sum(total.values()):,} did not",
            "holds": not bad,
        },
        {"goal": f"nobody waits {LONGEST:.0f} s", "found": f"{longest:.1f} s at most", "holds": longest < LONGEST},
        {
            "goal": f"{AFTERWARDS} of {AFTERWARDS} requests are answered right once all runs again",
            "found": f"in {well} of {len(rows)} rounds",
            "holds": well == len(rows),
        },
    ]


class Scene:
    """A queen, and some cells."""

    def __init__(self, hive: Hive, way: str, cells: int) -> None:
        self._hive = hive
        self._way = way
        self._queen = hive.queen()
        self._cells = [hive.cell(way) for _ in range(cells)]
        self._mounted = 1  # so often, each cell that is never killed
        self.asker = Asker(hive.address, hive.https, PATIENCE)

    async def round(self, case: str) -> dict[str, Any]:
        """Kill something within requests, and start it again."""
        together = asyncio.Barrier(AT_ONCE + 1)
        kinds = [KINDS[number % len(KINDS)] for number in range(AT_ONCE)]
        asking = [asyncio.create_task(self._ask(kind, together)) for kind in kinds]
        async with asyncio.timeout(LONGEST):
            await together.wait()
        await asyncio.sleep(KILLED_AFTER)
        killed: list[Program] = [self._queen] if case == "queen" else self._cells
        for program in killed:
            program.process.kill()
        await asyncio.to_thread(lambda: [program.process.wait() for program in killed])
        outcomes: Counter[str] = Counter()
        longest, wrong = 0.0, []
        for found in await asyncio.gather(*asking):
            for outcome in found:
                outcomes[outcome.name] += 1
                longest = max(longest, outcome.seconds)
                if outcome.name in ("wrong", "hung"):
                    wrong.append(outcome.detail)
        restarted = time.monotonic()
        await asyncio.to_thread(self._restart, case)
        back = time.monotonic() - restarted
        row = {"outcomes": outcomes, "longest": longest, "wrong": wrong, "back": back, **await self.check()}
        if case == "queen":
            await asyncio.to_thread(self._renew)
        return row

    async def check(self) -> dict[str, Any]:
        """Whether requests are answered as ever."""
        tasks = [self.asker.ask(KINDS[number % len(KINDS)]) for number in range(AFTERWARDS)]
        found = await asyncio.gather(*tasks)
        return {"afterwards": Counter(one.name for one in found)}

    def _restart(self, case: str) -> None:
        if case == "queen":
            self._queen = self._hive.queen()
            self._mounted += 1
            for cell in self._cells:
                self._hive.mounted(cell, self._mounted)
        else:
            self._cells = [self._hive.cell(self._way) for _ in self._cells]

    def _renew(self) -> None:
        """Other cells: those that lose their queen often wait longer and longer, as ours would here."""
        for cell in self._cells:
            cell.kill()
        self._cells = [self._hive.cell(self._way) for _ in self._cells]
        self._mounted = 1

    async def _ask(self, kind: str, together: asyncio.Barrier) -> list[Outcome]:
        """Of those that ask for little, one after the other until something goes wrong."""
        began = time.monotonic()
        found = [await self.asker.ask(kind, together=together)]
        while kind == "quick" and found[-1].name == "right" and time.monotonic() < began + ASKING:
            found.append(await self.asker.ask(kind))
        return found


def _aborts(scene: Scene, count: int) -> dict[str, Any]:
    """Many requests of which clients give up half, at random moments; whoever stays is answered right."""
    chance = random.Random(1)
    left = iter(range(count))
    found: list[Outcome] = []

    async def some() -> None:
        for _ in left:
            kind = chance.choice(("quick", "big", "put"))
            patience = chance.expovariate(20) if chance.random() < 0.5 else None
            found.append(await scene.asker.ask(kind, patience, 0.0))

    async def everybody() -> dict[str, Any]:
        await asyncio.gather(*(some() for _ in range(50)))
        return await scene.check()

    afterwards = asyncio.run(everybody())
    names: Callable[[Outcome], str] = lambda one: one.name
    wrong = [one.detail for one in found if one.name not in ("right", "gone")]
    longest = max(one.seconds for one in found)
    return {"outcomes": Counter(map(names, found)), "longest": longest, "wrong": wrong, "back": 0.0, **afterwards}
