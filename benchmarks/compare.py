"""
hypermail beside its peers on one machine, over loopback, in one run.

    python -m benchmarks.compare [CASE ...] [--peers KEY ...] [--rounds 5] [--quick] [--out FILE] [--docs DIR]
    python -m benchmarks.compare render FILE [--docs DIR]
    python -m benchmarks.compare goals FILE

The first measures: in each case one peer after the other, and all of them again in the next round, so that the slow and
the fast times of a machine touch all alike. The two sides of each measurement are processes of their own, made afresh.
What is kept (L{benchmarks.comparing.results}) is written to FILE after each case; the other cases that are in there
stay. A peer that can't be imported is told as missing. C{--docs} writes JSON, tables and plots of the documentation,
whose DIR is C{docs/performance}.

The second makes these of what there is. The third says which goals (L{benchmarks.comparing.goals}) hold; its exit code
is 1 when one doesn't.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.comparing import charts, goals, results
from benchmarks.comparing.cases import cases
from benchmarks.comparing.measuring import run, write_identity
from benchmarks.network.__main__ import warn_of_load
from benchmarks.network.results import load, save
from benchmarks.peers import PEERS

#: Names of the files of the documentation, before their endings.
DOCUMENT = "comparison"
OUT = Path("build/compare")


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line that measures."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.compare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    known = cases(False)
    parser.add_argument("cases", metavar="CASE", nargs="*", help=f"{', '.join(known)} [all]")
    parser.add_argument("--peers", nargs="+", default=list(PEERS), choices=PEERS, metavar="KEY", help=", ".join(PEERS))
    parser.add_argument("--rounds", type=int, help="medians of so many [5; 1 with --quick]")
    parser.add_argument(
        "--quick", action="store_true", help="small sizes and one round: a first look in some 2 minutes"
    )
    parser.add_argument("--out", type=Path, help=f"[{OUT}/{DOCUMENT}.json; {OUT}/quick.json with --quick]")
    parser.add_argument("--docs", type=Path, help="write JSON, tables and plots there, too: docs/performance")
    arguments = parser.parse_args(argv)
    quick = arguments.quick
    wrong = [name for name in arguments.cases if name not in known]
    if wrong:
        parser.error(f"{wrong[0]!r} is no case: {', '.join(known)}")
    arguments.rounds = arguments.rounds or (1 if quick else 5)
    arguments.out = arguments.out or OUT / f"{'quick' if quick else DOCUMENT}.json"
    return arguments


def measure(arguments: argparse.Namespace) -> None:
    """Measure, and show what was found."""
    warn_of_load()
    kept = load(arguments.out)
    kept = {"machine": {}, "cases": kept.get("cases", {})}
    with tempfile.TemporaryDirectory() as directory:
        write_identity(Path(directory))
        for name, case in cases(arguments.quick).items():
            if arguments.cases and name not in arguments.cases:
                continue
            contestants = case.contestants(arguments.peers)
            if not contestants:
                continue
            print(f"{name}: {case.title}", flush=True)
            rows, missing = run(case, contestants, arguments.rounds, directory)
            kept["cases"][name] = results.kept_case(case, rows, missing, arguments.quick)
            kept["machine"] = results.machine()
            save(arguments.out, kept)
    show(kept)
    if arguments.docs is not None:
        document(kept, arguments.docs)


def show(kept: results.Kept) -> None:
    """Tables on the terminal."""
    print()
    for table in results.tables(kept):
        print(table.text())
    for line in results.remarks(kept):
        print(line)
    print(results.provenance(kept))


def document(kept: results.Kept, directory: Path) -> None:
    """Write the documentation's files."""
    save(directory / f"{DOCUMENT}.json", kept)
    for name, text in files(kept, directory.name).items():
        (directory / name).write_text(text)


def files(kept: results.Kept, directory: str) -> dict[str, str]:
    """
    The documentation's files besides the JSON, and what is in each.

    @param directory: of them, in that of the documentation.
    """
    plots = {f"{DOCUMENT}-{name}.svg": chart for name, chart in charts.charts(kept, results.median_of).items()}
    images = {f"/{directory}/{name}": chart.shows for name, chart in plots.items()}
    return {
        f"{DOCUMENT}.rst": results.rst(kept, images),
        f"{DOCUMENT}-machine.rst": results.machine_rst(kept),
        **{name: chart.svg() for name, chart in plots.items()},
    }


def render(argv: Sequence[str]) -> None:
    """Show what there is."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare render")
    parser.add_argument("file", type=Path)
    parser.add_argument("--docs", type=Path)
    arguments = parser.parse_args(argv)
    kept = load(arguments.file)
    show(kept)
    if arguments.docs is not None:
        document(kept, arguments.docs)


def check(argv: Sequence[str]) -> None:
    """Say which goals hold. Ends with code 1 when one doesn't."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare goals")
    parser.add_argument("file", type=Path)
    kept = load(parser.parse_args(argv).file)
    print(goals.table(kept, results.median_of).text())
    sys.exit(1 if goals.short(kept, results.median_of) else 0)


def main() -> None:
    """Run from the command line."""
    command, rest = (sys.argv[1], sys.argv[2:]) if len(sys.argv) > 1 else ("", [])
    if command == "render":
        render(rest)
    elif command == "goals":
        check(rest)
    else:
        measure(parse())


if __name__ == "__main__":
    main()
