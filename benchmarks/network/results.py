"""
What is kept of all measurements, in one file of JSON, and the tables that are made of it.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.network.figures import Table, middle
from benchmarks.network.measuring import CHECKOUT
from benchmarks.network.peers import PEERS

#: What the versions of are kept.
PACKAGES = ("hypermail", "Twisted", "pyOpenSSL", "cryptography", "aioquic", "pyenet")
SETTINGS = ("net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem", "net.core.rmem_max")

Row = dict[str, Any]


def machine(packages: Iterable[str] = PACKAGES) -> dict[str, str]:
    """Where and with what it was measured. @param packages: what the versions of are told."""
    found = {
        "processors": f"{os.cpu_count()} × {_processor()}",
        "kernel": platform.release(),
        "Python": platform.python_version(),
        "commit": commit(),
    }
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    for setting in SETTINGS:
        path = Path("/proc/sys", *setting.split("."))
        found[setting] = " ".join(path.read_text().split()) if path.exists() else "unknown"
    return found


def commit() -> str:
    """What the checkout calls itself."""
    command = ["git", "describe", "--always", "--dirty"]
    return subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True).stdout.strip()


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def load(path: Path) -> dict[str, Any]:
    """What is kept, or nothing."""
    kept: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"suites": {}}
    return kept


def save(path: Path, kept: dict[str, Any]) -> None:
    """Keep it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(".new")
    scratch.write_text(json.dumps(kept, indent=1) + "\n")
    scratch.replace(path)


def select(rows: Iterable[Row], **labels: Any) -> list[Row]:
    """Those with these labels."""
    return [row for row in rows if all(row.get(name) == value for name, value in labels.items())]


def values(rows: Iterable[Row], name: str, **labels: Any) -> list[float | None]:
    """One figure of those with these labels; None where there is none."""
    return [row.get(name) for row in select(rows, **labels)]


def labels_of(rows: Iterable[Row], name: str) -> list[Any]:
    """Which labels there are, in order of appearance; peers in their own."""
    found = list(dict.fromkeys(row[name] for row in rows))
    return [key for key in PEERS if key in found] if name == "peer" else found


def _number(value: float | None, scale: float = 1.0, digits: int = 1) -> str:
    return "–" if value is None else f"{value * scale:.{digits}f}"


def rate(rows: list[Row]) -> str:
    """The median rate in MB/s, and the time it is over where not everything arrived."""
    if any("error" in row for row in rows):
        return "failed"
    shown = _number(middle(values(rows, "rate")), 1e-6, 2)
    cut = [row["seconds"] for row in rows if row["cut"]]
    return f"{shown} (over {cut[0]:.0f} s)" if cut else shown


def _latency(rows: list[Row]) -> str:
    """Median p50, p99 and maximum, in ms."""
    if any("error" in row for row in rows):
        return "failed"
    shown = " / ".join(_number(middle(values(rows, name)), digits=0) for name in ("p50", "p99", "max"))
    missing = sum(row["missing"] for row in rows)
    return f"{shown} ({missing} missing)" if missing else shown


def _by_peer(title: str, rows: list[Row], label: str, unit: str, cell: Callable[[list[Row]], str]) -> Table:
    columns = labels_of(rows, label)
    lines = [
        [PEERS[key].label, *(cell(select(rows, peer=key, **{label: column})) for column in columns)]
        for key in labels_of(rows, "peer")
    ]
    return Table(title, ["", *(f"{column} {unit}" for column in columns)], lines)


def _processor_time(rows: list[Row]) -> str:
    spent = [
        (row["starter_processor"] + row["listener_processor"]) * 1e9 / row["bytes"]
        for row in rows
        if "error" not in row and row["bytes"]
    ]
    return _number(middle(spent))


def _goodput(rows: list[Row]) -> list[Table]:
    return [
        _by_peer("Goodput in MB/s, by loss", rows, "loss", "%", rate),
        _by_peer("Processor time of both processes, ms per MB, by loss", rows, "loss", "%", _processor_time),
    ]


def _latencies(rows: list[Row]) -> list[Table]:
    return [_by_peer("One-way latency in ms: p50 / p99 / longest, by loss", rows, "loss", "%", _latency)]


def _round_trips(rows: list[Row]) -> list[Table]:
    bulk, messages = select(rows, what="bulk"), select(rows, what="messages")
    return [
        _by_peer("Goodput in MB/s, by round trip", bulk, "round_trip", "ms", rate),
        _by_peer("One-way latency in ms: p50 / p99 / longest, by round trip", messages, "round_trip", "ms", _latency),
    ]


def _blackouts(rows: list[Row]) -> list[Table]:
    lines = []
    for key in labels_of(rows, "peer"):
        undisturbed, disturbed = (
            middle(values(rows, "rate", peer=key, off=off)) for off in sorted(labels_of(rows, "off"))
        )
        ratio = None if undisturbed is None or disturbed is None else disturbed / undisturbed
        shown = "–" if ratio is None else f"{ratio:.0%}"
        lines.append([PEERS[key].label, _number(undisturbed, 1e-6, 2), _number(disturbed, 1e-6, 2), shown])
    header = ["", "undisturbed", "10 ms of every second lost", "of undisturbed"]
    return [Table("Goodput in MB/s", header, lines)]


def _shares(rows: list[Row]) -> list[Table]:
    lines = []
    for first, second in dict.fromkeys((row["peer"], row["beside"]) for row in rows):
        some = select(rows, peer=first, beside=second)
        share = middle(values(some, "share"))
        rates = [middle([row["rates"][side] if "rates" in row else None for row in some]) for side in (0, 1)]
        lines.append([PEERS[first].label, PEERS[second].label, *(_number(one, 1e-6, 2) for one in rates)])
        lines[-1].append("failed" if share is None else f"{share:.0%}")
    header = ["begins", "joins 2 s later", "first, MB/s", "second, MB/s", "share of the first"]
    return [Table("Two flows on one bottleneck", header, lines)]


def _scenarios(rows: list[Row]) -> list[Table]:
    lines = []
    for row in rows:
        found = row.get("found", row.get("error", ""))
        verdict = "passed" if row.get("passed") else "failed"
        lines.append([row["scenario"], PEERS[row["peer"]].label, found, row.get("needed", ""), verdict])
    return [Table("Scenarios between two namespaces", ["scenario", "", "found", "needed", ""], lines)]


TABLES: dict[str, Callable[[list[Row]], list[Table]]] = {
    "goodput": _goodput,
    "latency": _latencies,
    "roundtrip": _round_trips,
    "blackout": _blackouts,
    "fairness": _shares,
    "matrix": _scenarios,
}


#: The plots of the suites, and what they show.
PLOTS: dict[str, dict[str, str]] = {
    "goodput": {"goodput.svg": "goodput against loss"},
    "latency": {"latency.svg": "one-way latency against loss"},
    "roundtrip": {
        "roundtrip-goodput.svg": "goodput against round trip",
        "roundtrip-latency.svg": "one-way latency against round trip",
    },
}


def failures(kept: dict[str, Any]) -> list[str]:
    """Measurements that failed, or in which something arrived that had not been sent."""
    found = []
    for name, suite in kept["suites"].items():
        for row in suite["rows"]:
            where = ", ".join(str(row[label]) for label in suite["labels"])
            if "error" in row:
                found.append(f"{name}, {where}: {row['error']}")
            elif not row.get("intact", True) or not row.get("passed", True):
                found.append(f"{name}, {where}: {row.get('found', 'not what was sent')}")
    return found


def markdown(kept: dict[str, Any]) -> str:
    """Everything as one page."""
    parts = ["# hypermail and others through a bad network\n"]
    for name, make in TABLES.items():
        suite = kept["suites"].get(name)
        if suite is not None:
            parts += [f"## {name}\n", *(table.markdown() for table in make(suite["rows"]))]
    parts += ["## Machine\n", *(f"* {key}: {value}" for key, value in kept.get("machine", {}).items()), ""]
    return "\n".join(parts)


def fragments(kept: dict[str, Any], directory: Path) -> dict[str, str]:
    """
    For the documentation: the text of a file for each suite, and of one about the machine.

    @param directory: that these files and the plots are in, directly in that of the documentation.
    """
    found = {}
    for name, make in TABLES.items():
        suite = kept["suites"].get(name)
        if suite is None:
            found[name] = "This has not been measured.\n"
        else:
            rounds = f"Medians of {suite['rounds']} rounds" if suite["rounds"] > 1 else "One measurement each"
            note = f"{rounds}; {suite['when']}, commit {suite['commit']}.\n"
            images = [
                f".. image:: /{directory.name}/{file}\n   :alt: {shows}\n"
                for file, shows in PLOTS.get(name, {}).items()
                if (directory / file).exists()
            ]
            found[name] = "\n".join([*images, *(table.rst() for table in make(suite["rows"])), note])
    facts = [f":{key}: {value}" for key, value in kept.get("machine", {}).items() if key != "commit"]
    found["machine"] = "\n".join([*facts, ""])
    return found
