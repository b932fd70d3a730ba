"""
Large bodies at a moderate rate, and somebody on the far side who stops reading now and then: what is not read has to
wait where it comes from. The memory of queen and cell must not grow with it.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.hive.content import PAUSE
from benchmarks.hive.scene import WAYS, Hive, free_port, sampled
from benchmarks.network.__main__ import size

#: Bytes that a process may have.
LIMIT = 150 << 20


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of its own."""
    parser.add_argument("--size", type=size, default=2 << 30, help="of each body [2G]")
    parser.add_argument("--rate", type=float, default=50e6, help="bytes/s [50e6]")
    parser.add_argument("--pauses", type=int, default=10, help=f"of {PAUSE:.0f} s each [10]")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)


def run(options: argparse.Namespace, directory: Path) -> dict[str, Any]:
    """Measure all of it."""
    rows = []
    for way in options.ways:
        for what in ("download", "upload"):
            with Hive(directory / f"{way}-{what}") as hive:
                rows.append({"way": way, "what": what, **_measure(hive, way, what, options)})
            told = {key: value for key, value in rows[-1].items() if key not in ("way", "what")}
            print(way, what, json.dumps(told), sep="  ", flush=True)
    whole = all(row["whole"] for row in rows)
    most = max(max(row["queen_peak"], row["cell_peak"]) for row in rows)
    limit = f"queen and cell have less than {LIMIT >> 20} MiB each"
    return {
        "rows": rows,
        "goals": [
            {"goal": "what arrives is what was sent (SHA-256)", "found": "so it is" if whole else "NO", "holds": whole},
            {"goal": limit, "found": f"{most / 2**20:.0f} MiB at most", "holds": most < LIMIT},
        ],
    }


def _measure(hive: Hive, way: str, what: str, options: argparse.Namespace) -> dict[str, Any]:
    port = free_port()
    server = hive.start("server", [sys.executable, "-m", "benchmarks.hive.content", str(port)])
    hive.told(server, "it (serves)")
    queen, cell = hive.queen(), hive.proxy(way, f"http://127.0.0.1:{port}")
    words = [what, hive.address, str(hive.https), str(options.size)]
    words += ["--rate", str(options.rate), "--pauses", str(options.pauses)]
    with sampled([queen, cell]) as peaks:
        client = hive.start("client", [sys.executable, "-m", "benchmarks.hive.client", *words])
        client.process.wait()
    found: dict[str, Any] = json.loads(hive.told(client, "FOUND (.*)"))
    return {**found, "queen_peak": peaks[queen.name], "cell_peak": peaks[cell.name]}
