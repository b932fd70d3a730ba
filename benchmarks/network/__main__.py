"""
The command line.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import benchmarks.network
from benchmarks.netemu import NetworkUnavailable, unavailable
from benchmarks.network import plots, results
from benchmarks.network.matrix import matrix
from benchmarks.network.measuring import MeasurementFailed
from benchmarks.network.peers import PEERS
from benchmarks.network.suites import SUITES, Case, Choice

ALL: dict[str, Callable[[Choice], list[Case]]] = {**SUITES, "matrix": matrix}

#: Of the figures of a case, those that are told at once.
TOLD = ("rate", "p50", "p99", "share", "found", "error")

#: The load average of the last minute, for each processor, above which others disturb the measurements.
BUSY = 0.25

UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def size(text: str) -> int:
    """
    Read a number of bytes: C{67108864}, C{64M}.

    @raise ValueError: when it is none.
    """
    digits = text.rstrip("kKmMgG")
    amount = int(digits) * UNITS[text[len(digits) :].lower()] if len(text) - len(digits) < 2 else 0
    if amount <= 0:
        raise ValueError(f"{text!r} is no size")
    return amount


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.network",
        description=benchmarks.network.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("suites", metavar="SUITE", nargs="*", help=f"{', '.join(ALL)} [all]")
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help="rounds; medians are shown [1]")
    parser.add_argument("--peers", nargs="+", default=list(PEERS), choices=PEERS, metavar="KEY", help=", ".join(PEERS))
    parser.add_argument("--size", type=size, default=64 << 20, help="of goodput's streams [64M]")
    parser.add_argument("--seconds", type=float, default=25, help="that each of them may take [25]")
    parser.add_argument("--duration", type=float, default=60, help="s of latency's messages [60]")
    parser.add_argument("--out", type=Path, default=Path("build/network"), help="for results [build/network]")
    parser.add_argument("--docs", type=Path, help="write tables and plots there, too: docs/performance")
    parser.add_argument("--render", action="store_true", help="measure nothing, show what is there")
    arguments = parser.parse_args(argv)
    unknown = [name for name in arguments.suites if name not in ALL]
    if unknown:
        parser.error(f"{unknown[0]!r} is no suite: {', '.join(ALL)}")
    if arguments.repeat < 1:
        parser.error("--repeat must be at least 1")
    return arguments


def available(keys: Sequence[str]) -> list[str]:
    """Those that can be measured here; says of the others why not."""
    found = []
    for key in keys:
        reason = PEERS[key].unavailable()
        if reason is None:
            found.append(key)
        else:
            print(f"left out: {PEERS[key].label}: {reason}", flush=True)
    return found


def warn_of_load() -> None:
    """Say so when the machine has something else to do, and we are not before it."""
    load = os.getloadavg()[0]
    if load > BUSY * (os.cpu_count() or 1) and os.sched_getscheduler(0) == os.SCHED_OTHER:
        print(f"busy (load average {load:.1f}): stop what else runs here, or go before it with chrt -r 1", flush=True)


def run(name: str, choice: Choice, rounds: int) -> dict[str, Any]:
    """Measure a suite, all its cases in each round. One that fails is kept as failed, and the others go on."""
    rows: list[dict[str, Any]] = []
    labels: dict[str, Any] = {}
    for number in range(1, rounds + 1):
        for case in ALL[name](choice):
            labels = case.labels
            try:
                found = case.run(seed=number)
            except MeasurementFailed as error:
                found = {"error": str(error)}
            rows.append({**labels, "round": number, **found})
            told = (f"{key}={found[key]}" for key in TOLD if key in found)
            print(name, number, *labels.values(), *told, sep="  ", flush=True)
    when = datetime.now(UTC).date().isoformat()
    return {"rounds": rounds, "when": when, "commit": results.commit(), "labels": list(labels), "rows": rows}


def render(kept: dict[str, Any], out: Path, docs: Path | None) -> None:
    """Tables on the terminal and in C{out}, plots there; and both for the documentation."""
    for name, make in results.TABLES.items():
        if name in kept["suites"]:
            print()
            for table in make(kept["suites"][name]["rows"]):
                print(table.text())
    (out / "results.md").write_text(results.markdown(kept))
    if find_spec("matplotlib") is None:
        print("no plots: matplotlib is not installed (pip install -e '.[bench]')")
    else:
        plots.plot(kept, out)
    if docs is not None:
        docs.mkdir(parents=True, exist_ok=True)
        if find_spec("matplotlib") is not None:
            plots.plot(kept, docs)
        for name, text in results.fragments(kept, docs).items():
            (docs / f"{name}.rst").write_text(text)


def main() -> None:
    """Run from the command line. Ends with code 1 when something has failed."""
    arguments = parse()
    path = arguments.out / "results.json"
    kept = results.load(path)
    if not arguments.render:
        reason = unavailable()
        if reason is not None:
            sys.exit(f"nothing can be measured here: {reason}")
        warn_of_load()
        choice = Choice(available(arguments.peers), arguments.size, arguments.seconds, arguments.duration)
        for name in arguments.suites or ALL:
            try:
                kept["suites"][name] = run(name, choice, arguments.repeat)
            except NetworkUnavailable as error:
                sys.exit(f"{name} was not measured: {error}")
            except KeyboardInterrupt:
                sys.exit(f"{name} was interrupted, and is not kept")
            kept["machine"] = results.machine()
            results.save(path, kept)
    render(kept, arguments.out, arguments.docs)
    wrong = results.failures(kept)
    if wrong:
        sys.exit("\n".join(["failed:", *wrong]))


if __name__ == "__main__":
    main()
