"""
The command line.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import benchmarks.hive
from benchmarks.hive import kills, rate, results, roaming, slow, websockets
from benchmarks.network.results import commit, load, save

SUITES: dict[str, Any] = {
    "rate": rate,
    "slow": slow,
    "kills": kills,
    "websockets": websockets,
    "roaming": roaming,
}


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.hive",
        description=benchmarks.hive.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--render", action="store_true", help="measure nothing, show what is there")
    _shared(parser)
    suites = parser.add_subparsers(dest="suite", metavar="SUITE")
    for name, suite in SUITES.items():
        words = suite.__doc__.strip()
        one = suites.add_parser(name, description=words, formatter_class=argparse.RawDescriptionHelpFormatter)
        suite.arguments(one)
        _shared(one, default=argparse.SUPPRESS)
    found = parser.parse_args(argv)
    if found.suite is None and not found.render:
        parser.error(f"one of {', '.join(SUITES)}, or --render")
    return found


def _shared(parser: argparse.ArgumentParser, **keywords: Any) -> None:
    out, docs = ({"default": Path("build/hive")}, {}) if not keywords else (keywords, keywords)
    parser.add_argument("--out", type=Path, help="for results [build/hive]", **out)
    parser.add_argument("--docs", type=Path, help="write tables there, too: docs/performance", **docs)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """One suite."""
    with tempfile.TemporaryDirectory() as directory:
        found: dict[str, Any] = SUITES[options.suite].run(options, Path(directory))
    return {"when": datetime.now(UTC).date().isoformat(), "commit": commit(), **found}


def main() -> None:
    """Run from the command line. Ends with code 1 when something does not hold."""
    options = parse()
    path = options.out / "results.json"
    measured = None if options.render else measure(options)
    kept = load(path)  # only now: another suite may have been measured meanwhile
    if measured is not None:
        kept["suites"][options.suite] = measured
        kept["machine"] = results.facts()
        save(path, kept)
    for name, make in results.TABLES.items():
        suite = kept["suites"].get(name)
        if suite is not None and options.suite in (None, name):
            print()
            for table in make(suite["rows"]):
                print(table.text())
            print("\n".join(results.goals(suite)))
    if options.docs is not None:
        options.docs.mkdir(parents=True, exist_ok=True)
        for name, text in results.fragments(kept).items():
            (options.docs / f"{name}.rst").write_text(text)
    shown = [kept["suites"][options.suite]] if options.suite else kept["suites"].values()
    if not all(goal["holds"] for suite in shown for goal in suite["goals"]):
        sys.exit(1)


if __name__ == "__main__":
    main()
