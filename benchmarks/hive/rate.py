"""
Requests per second, latencies, and rates of large bodies, through queen and cell and through nginx, interleaved.
"""

from __future__ import annotations

import argparse
import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.hive import nginx
from benchmarks.hive.cell import PIECE, PIECES, SMALL
from benchmarks.hive.loads import Load
from benchmarks.hive.scene import WAYS, Hive, Program

CONNECTIONS = (1, 8, 64)
TOOLS = ("wrk", "h2load")
#: Of large bodies.
SOME = 8
MEBIBYTE = PIECE * PIECES

LOADS = [
    *(Load(tool, "/small", len(SMALL), connections) for tool in TOOLS for connections in CONNECTIONS),
    *(Load(tool, path, MEBIBYTE, SOME) for path in ("/big", "/upload") for tool in TOOLS),
]


@dataclass(frozen=True)
class Setup:
    """
    A way from clients to what answers them.

    @ivar name: for people.
    @ivar programs: what it consists of, without the web server at its end: C{front} and perhaps C{cell}.
    """

    name: str
    origin: str
    programs: dict[str, Program]


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of its own."""
    parser.add_argument("--repeat", type=int, default=3, metavar="N", help="rounds; medians are shown [3]")
    parser.add_argument("--seconds", type=int, default=5, help="of each measurement [5]")
    parser.add_argument("--only", metavar="WORD", help="set-ups whose names have it")


def setups(directory: Path, stack: contextlib.ExitStack, only: str | None) -> list[Setup]:
    """Begin all of them."""
    beside = stack.enter_context(Hive(directory / "nginx"))
    directory.chmod(0o755)
    beside.directory.chmod(0o755)
    _, upstream = nginx.serve(beside)
    proxy, port = nginx.proxy(beside, upstream)
    found = [Setup("nginx", f"https://127.0.0.1:{port}", {"front": proxy})]
    for what in ("proxy", "handler"):
        for way in WAYS:
            name = f"hive, {what}, {way}"
            if only is None or only in name:
                hive = stack.enter_context(Hive(directory / f"{what}-{way}"))
                queen = hive.queen()
                cell = hive.cell(way) if what == "handler" else hive.proxy(way, f"http://127.0.0.1:{upstream}")
                found.append(Setup(name, hive.origin, {"front": queen, "cell": cell}))
    return found


def measure(setup: Setup, load: Load, seconds: int, scratch: Path) -> dict[str, Any]:
    """One of the rows."""
    before = {role: program.usage() for role, program in setup.programs.items()}
    found = load.run(setup.origin, seconds, scratch)
    after = {role: program.usage() for role, program in setup.programs.items()}
    made = max(found["made"], 1)
    row: dict[str, Any] = {"setup": setup.name, **load.labels, **found, "rate": found["requests"] / found["seconds"]}
    for role, usage in after.items():
        row[f"{role}_processor"] = (usage.seconds - before[role].seconds) / made * 1_000
        row[f"{role}_memory"], row[f"{role}_peak"] = usage.memory, usage.peak
    return row


def run(options: argparse.Namespace, directory: Path) -> dict[str, Any]:
    """Measure all of it."""
    rows: list[dict[str, Any]] = []
    with contextlib.ExitStack() as stack:
        ways = setups(directory, stack, options.only)
        for setup in ways:  # what is made once is made now
            Load("wrk", "/small", len(SMALL), SOME).run(setup.origin, 1, directory)
        for number in range(1, options.repeat + 1):
            for load in LOADS:
                for setup in ways:
                    row = {"round": number, **measure(setup, load, options.seconds, directory)}
                    rows.append(row)
                    told = (f"{row['rate']:,.0f}/s", f"p50 {row['p50']:.2f} ms", f"p99 {row['p99']:.2f} ms")
                    print(number, load.tool, load.path, load.connections, setup.name, *told, sep="  ", flush=True)
    wrong = sum(row["wrong"] for row in rows)
    total = sum(row["requests"] for row in rows)
    goal = {"goal": "every request is answered", "found": f"{wrong:,.0f} of {total:,.0f} were not", "holds": not wrong}
    return {"rounds": options.repeat, "rows": rows, "goals": [goal]}
