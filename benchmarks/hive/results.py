"""
What is kept of all measurements, in one file of JSON, and the tables that are made of it.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from typing import Any

from benchmarks.network.figures import Table, middle
from benchmarks.network.results import Row, labels_of, machine, select, values

#: Of what L{machine} tells, what matters here.
_FACTS = ("processors", "kernel", "Python", "hypermail", "Twisted", "pyOpenSSL", "cryptography")
_TOOLS = {"nginx": ["/usr/sbin/nginx", "-v"], "wrk": ["wrk", "-v"], "h2load": ["h2load", "--version"]}


def facts() -> dict[str, str]:
    """Where and with what it was measured."""
    found = {key: value for key, value in machine().items() if key in _FACTS}
    for name, command in _TOOLS.items():
        try:
            told = subprocess.run(command, capture_output=True, text=True)
        except OSError:
            continue
        version = re.search(r"\d+(\.\d+)+", told.stdout + told.stderr)
        found[name] = version[0] if version else "unknown"
    return found


def _shown(rows: list[Row], name: str, scale: float = 1.0, digits: int = 0) -> str:
    value = middle(values(rows, name))
    return "–" if value is None else f"{value * scale:,.{digits}f}"


def _small(rows: list[Row]) -> list[Row]:
    return select(rows, path="/small")


def _columns(rows: list[Row]) -> list[tuple[str, int]]:
    return list(dict.fromkeys((row["tool"], row["connections"]) for row in _small(rows)))


def _by_setup(title: str, rows: list[Row], header: list[str], cells: Callable[[list[Row]], list[str]]) -> Table:
    lines = [[setup, *cells(select(rows, setup=setup))] for setup in labels_of(rows, "setup")]
    return Table(title, ["", *header], lines)


def _rates(rows: list[Row]) -> list[Table]:
    columns = _columns(rows)
    header = [f"{tool}, {count}" for tool, count in columns]

    def per_column(show: Callable[[list[Row]], str]) -> Callable[[list[Row]], list[str]]:
        return lambda some: [show(select(_small(some), tool=tool, connections=count)) for tool, count in columns]

    def latency(some: list[Row]) -> str:
        return f"{_shown(some, 'p50', digits=1)} / {_shown(some, 'p99', digits=1)}"

    def processor(some: list[Row]) -> str:
        return f"{_shown(some, 'front_processor', digits=2)} + {_shown(some, 'cell_processor', digits=2)}"

    bulk = [("/big", "wrk"), ("/big", "h2load"), ("/upload", "wrk"), ("/upload", "h2load")]

    def megabytes(some: list[Row]) -> list[str]:
        found = []
        for path, tool in bulk:
            these = select(some, path=path, tool=tool)
            found.append(_shown(these, "rate", these[0]["size"] / 1e6) if these else "–")
        return found

    def memory(some: list[Row]) -> list[str]:
        return [
            _shown(
                [row for row in some if row["round"] == max(labels_of(some, "round"))][-1:], f"{role}_{what}", 2**-20
            )
            for role in ("front", "cell")
            for what in ("memory", "peak")
        ]

    sides = ["download, wrk", "download, h2load", "upload, wrk", "upload, h2load"]
    return [
        _by_setup("Requests per second, by connections", rows, header, per_column(_rate)),
        _by_setup("Latency in ms: p50 / p99, by connections", rows, header, per_column(latency)),
        _by_setup("Bodies of 1 MiB, 8 connections, MB/s", rows, sides, megabytes),
        _by_setup("Processor time, s for 1,000 requests: queen or nginx + cell", rows, header, per_column(processor)),
        _by_setup("Memory in MiB at the end", rows, ["queen or nginx", "at most", "cell", "at most"], memory),
    ]


def _rate(rows: list[Row]) -> str:
    return _shown(rows, "rate")


def _slow(rows: list[Row]) -> list[Table]:
    header = ["", "", "MB/s", "longest pause, s", "content", "queen, MiB at most", "cell, MiB at most"]
    lines = [
        [
            row["way"],
            row["what"],
            f"{row['rate'] / 1e6:.0f}",
            f"{row['stall']:.1f}",
            "whole" if row["whole"] else "NOT WHOLE",
            f"{row['queen_peak'] / 2**20:.0f}",
            f"{row['cell_peak'] / 2**20:.0f}",
        ]
        for row in rows
    ]
    return [Table("Large bodies at a moderate rate, with pauses of 5 s on the far side", header, lines)]


def _kills(rows: list[Row]) -> list[Table]:
    header = [
        "killed",
        "over",
        "requests",
        "right",
        "502 or 503",
        "404",
        "cut",
        "wrong",
        "hung",
        "given up",
        "longest, s",
        "back, s",
    ]
    lines = []
    for case in dict.fromkeys((row["killed"], row["way"]) for row in rows):
        some = select(rows, killed=case[0], way=case[1])
        outcomes = [sum(row["outcomes"].get(name, 0) for row in some) for name in _OUTCOMES]
        longest = max(row["longest"] for row in some)
        back = max(row["back"] for row in some)
        lines.append(
            [*case, f"{sum(outcomes):,}", *(f"{count:,}" for count in outcomes), f"{longest:.1f}", f"{back:.1f}"]
        )
    return [Table("200 requests at a time, and what became of them", header, lines)]


_OUTCOMES = ("right", "refused", "absent", "cut", "wrong", "hung", "gone")


def _websockets(rows: list[Row]) -> list[Table]:
    header = ["over", "opened", "per second", "failed", "echoed after", "lost", "queen, KiB each", "cell, KiB each"]
    lines = [
        [
            row["way"],
            f"{row['opened']:,}",
            f"{row['opened'] / row['seconds']:.0f}",
            str(row["failed"]),
            f"{row['idle']:.0f} s",
            str(row["lost"]),
            f"{row['queen_memory'] / 1024:.1f}",
            f"{row['cell_memory'] / 1024:.1f}",
        ]
        for row in rows
    ]
    return [Table("Idle WebSockets through one cell", header, lines)]


def _roaming(rows: list[Row]) -> list[Table]:
    header = ["", "over", "amount", "failed", "longest stall, s"]
    lines = [[row["what"], row["way"], row["amount"], str(row["failed"]), f"{row['stall']:.1f}"] for row in rows]
    return [Table("The address of a cell changes while requests run", header, lines)]


TABLES: dict[str, Callable[[list[Row]], list[Table]]] = {
    "rate": _rates,
    "slow": _slow,
    "kills": _kills,
    "websockets": _websockets,
    "roaming": _roaming,
}


def goals(suite: dict[str, Any]) -> list[str]:
    """What was wanted, and whether it holds."""
    return [f"{'holds' if one['holds'] else 'FAILS'}: {one['goal']}: {one['found']}" for one in suite["goals"]]


def fragments(kept: dict[str, Any]) -> dict[str, str]:
    """For the documentation: the text of a file for each suite, and of one about the machine."""
    found = {}
    for name, make in TABLES.items():
        suite = kept["suites"].get(name)
        if suite is None:
            found[f"hive-{name}"] = "This has not been measured.\n"
            continue
        rounds = suite.get("rounds", 1)
        measured = f"Medians of {rounds} rounds" if name == "rate" else "Measured"
        lines = [f"* {line[0].upper()}{line[1:]}." for line in goals(suite)]
        note = f"{measured}; {suite['when']}, commit {suite['commit']}.\n"
        found[f"hive-{name}"] = "\n".join([*(table.rst() for table in make(suite["rows"])), *lines, "", note])
    found["hive-machine"] = "\n".join([*(f":{key}: {value}" for key, value in kept["machine"].items()), ""])
    return found
