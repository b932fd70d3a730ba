"""
What is kept of all cases, in one file of JSON, and the tables that are made of it.

The file has the C{machine}, and of each of the C{cases} its C{rows} (each measurement of each round, see
L{benchmarks.comparing.measuring.figures}), its C{medians}, and why peers are C{missing}.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from benchmarks.comparing import goals
from benchmarks.comparing.cases import Case
from benchmarks.comparing.measuring import Row
from benchmarks.network.figures import Table, middle
from benchmarks.network.results import commit
from benchmarks.network.results import machine as _machine
from benchmarks.peers import PEERS
from hypermail._version import __version__

#: What labels a row; everything else in it is a figure.
LABELS = ("peer", "sessions")
#: What the versions of are kept.
PACKAGES = (
    "hypermail",
    "Twisted",
    "pyOpenSSL",
    "cryptography",
    "aioquic",
    "qh3",
    "pyenet",
    "kcp",
    "pyzmq",
    "grpcio",
)

Kept = dict[str, Any]


def machine() -> dict[str, str]:
    """Where and with what it was measured."""
    return {**_machine(PACKAGES), "hypermail": __version__}


def medians(rows: Sequence[Row]) -> list[Row]:
    """
    Of each peer, and each number of sessions, the median of each figure over the rounds. A round that has failed is
    left out and counted (C{failed}), and the last C{error} is told.
    """
    found = []
    for labels in dict.fromkeys(tuple(row.get(name) for name in LABELS) for row in rows):
        some = [row for row in rows if tuple(row.get(name) for name in LABELS) == labels]
        median: Row = {name: label for name, label in zip(LABELS, labels) if label is not None}
        failures = [row["error"] for row in some if "error" in row]
        if failures:
            median |= {"failed": len(failures), "error": failures[-1]}
        names = dict.fromkeys(name for row in some for name in row)
        for name in names.keys() - {*LABELS, "round", "error"}:
            median[name] = middle([row.get(name) for row in some])
        median["rounds"] = len(some)
        found.append(dict(sorted(median.items(), key=lambda item: (item[0] not in LABELS, item[0]))))
    return found


def kept_case(case: Case, rows: list[Row], missing: Mapping[str, str], quick: bool) -> Kept:
    """What is kept of a case."""
    return {
        "title": case.title,
        "when": datetime.now(UTC).date().isoformat(),
        "commit": commit(),
        "quick": quick,
        "missing": dict(missing),
        "medians": medians(rows),
        "rows": rows,
    }


def median_of(kept: Kept, case: str, peer: str, sessions: int | None = None) -> Row | None:
    """The median figures of a peer in a case, if there are any."""
    for row in kept["cases"].get(case, {}).get("medians", ()):
        if row["peer"] == peer and row.get("sessions") == sessions:
            found: Row = row
            return found
    return None


# Tables.


@dataclass(frozen=True, slots=True)
class Column:
    """
    A column of figures.

    @ivar title: of it.
    @ivar case: whose medians it shows.
    @ivar show: makes a cell of them.
    @ivar sessions: of which row.
    """

    title: str
    case: str
    show: Callable[[Row], str]
    sessions: int | None = None


def _figure(name: str, scale: float = 1.0, digits: int = 0) -> Callable[[Row], str]:
    return lambda row: f"{row[name] * scale:,.{digits}f}"


def _sides(name: str, scale: float, digits: int, per: str | None = None) -> Callable[[Row], str]:
    """Of the starter + of the listener."""

    def show(row: Row) -> str:
        each = scale / row[per] if per else scale
        return " + ".join(f"{row[f'{side}_{name}'] * each:,.{digits}f}" for side in ("starter", "listener"))

    return show


_RATE = _figure("rate")
_MEGABYTES = _figure("rate", 1e-6)
_PER_GIGABYTE = _sides("processor", 1e9, 2, "done")
_MICROSECONDS = _sides("processor", 1e6, 2, "done")
_MILLISECONDS = _sides("processor", 1e3, 2, "done")
_KIBIBYTES = _sides("memory", 2**-10, 1)
_PERCENT = _sides("share", 1e2, 1)

TABLES: dict[str, tuple[Column, ...]] = {
    "Bulk, one way": (
        Column("MB/s, datagrams of 1,400 bytes", "bulk-1400", _MEGABYTES),
        Column("processor, s/GB", "bulk-1400", _PER_GIGABYTE),
        Column("MB/s, datagrams as large as they may be", "bulk", _MEGABYTES),
        Column("processor, s/GB", "bulk", _PER_GIGABYTE),
    ),
    "Messages, one way": (
        Column("of 100 bytes, per second", "messages-100", _RATE),
        Column("processor, µs each", "messages-100", _MICROSECONDS),
        Column("of 1,000 bytes, per second", "messages-1000", _RATE),
        Column("processor, µs each", "messages-1000", _MICROSECONDS),
    ),
    "Requests and responses of 100 bytes": (
        Column("one outstanding: p50, µs", "asks-1", _figure("p50", 1e6, 1)),
        Column("p99, µs", "asks-1", _figure("p99", 1e6, 1)),
        Column("64 outstanding, per second", "asks-64", _RATE),
        Column("processor, µs each", "asks-64", _MICROSECONDS),
    ),
    "Connections": (
        Column("opened and closed, per second", "openings", _RATE),
        Column("processor, ms each", "openings", _MILLISECONDS),
        Column("KiB of each of 1,000", "memory-1000", _KIBIBYTES),
        Column("KiB of each of 10,000", "memory-10000", _KIBIBYTES),
    ),
    "10,000 idle sessions, % of a processor": (
        Column("pinged every 5 s", "idle-5", _PERCENT),
        Column("pinged every 60 s", "idle-60", _PERCENT),
    ),
    "Messages of 100 bytes per second, all sessions together": tuple(
        Column(f"{sessions:,}", "scale", _RATE, sessions) for sessions in (1, 10, 100, 1_000)
    ),
}


def cell(kept: Kept, column: Column, peer: str) -> str:
    """What a table says of a peer."""
    if peer in kept["cases"].get(column.case, {}).get("missing", {}):
        return "missing"
    row = median_of(kept, column.case, peer, column.sessions)
    if row is None:
        return "–"
    if row.get("failed") == row["rounds"]:
        return "failed"
    failed = f" ({row['failed']} of {row['rounds']} failed)" if "failed" in row else ""
    return f"{column.show(row)}{failed}"


def tables(kept: Kept) -> list[Table]:
    """All tables for which something was measured, with the peers that are missing."""
    found = []
    for title, columns in TABLES.items():
        shown = [column for column in columns if column.case in kept["cases"]]
        rows = []
        for key, peer in PEERS.items():
            cells = [cell(kept, column, key) for column in shown]
            if any(one != "–" for one in cells):
                rows.append([peer.name, *cells])
        if rows:
            found.append(Table(title, ["", *(column.title for column in shown)], rows))
    return found


def remarks(kept: Kept) -> list[str]:
    """Why peers are missing, and what has failed."""
    found: dict[str, None] = {}
    for name, case in kept["cases"].items():
        for key, reason in case["missing"].items():
            found[f"missing: {PEERS[key].label}: {reason}"] = None
        for row in case["medians"]:
            if "error" in row:
                found[f"failed: {name}: {PEERS[row['peer']].label}: {row['error']}"] = None
    return sorted(found, reverse=True)


def provenance(kept: Kept) -> str:
    """How often, when and of what it was measured."""
    rounds = sorted({row["rounds"] for case in kept["cases"].values() for row in case["medians"]}, reverse=True)
    times = " or ".join(map(str, rounds))
    when = sorted({case["when"] for case in kept["cases"].values()})
    commits = sorted({case["commit"] for case in kept["cases"].values()})
    quick = (
        " **A quick run: its figures are no measurement.**" if any(c["quick"] for c in kept["cases"].values()) else ""
    )
    plural = "s" if len(commits) > 1 else ""
    return f"Medians of {times} rounds; {' and '.join(when)}, commit{plural} {', '.join(commits)}.{quick}"


def rst(kept: Kept, images: Mapping[str, str]) -> str:
    """
    For the documentation.

    @param images: their paths, and what they show.
    """
    lines = [f".. image:: {path}\n   :alt: {shows}\n   :width: 100%\n" for path, shows in images.items()]
    lines += [table.rst() for table in tables(kept)]
    lines += [goals.table(kept, median_of).rst()]
    lines += [f"* {line[0].upper()}{line[1:]}." for line in remarks(kept)]
    return "\n".join([*lines, "", provenance(kept), ""])


def machine_rst(kept: Kept) -> str:
    """For the documentation: where it was measured."""
    return "\n".join([*(f":{key}: {value}" for key, value in kept["machine"].items() if key != "commit"), ""])
