"""
The address of a cell's host changes while a download and an upload run, and small requests one after the other: over
hypermail, none of them notices. Two network namespaces, as in L{benchmarks.tunnel}; needs root.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.hive.scene import Hive
from benchmarks.netemu.namespaces import BadNetwork
from benchmarks.network.__main__ import size
from benchmarks.tunnel import PATH, move

#: s before the address changes, and for which small requests go on afterwards.
BEFORE = 4.0
AFTERWARDS = 16.0
#: s that everything may take.
LONGEST = 300.0


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of its own."""
    parser.add_argument("--size", type=size, default=64 << 20, help="of download and upload [64M]")


def run(options: argparse.Namespace, directory: Path) -> dict[str, Any]:
    """Measure all of it."""
    with BadNetwork(**PATH) as network:

        def begin(role: str) -> Any:
            return partial(network.popen, "a" if role in ("cell", "server") else "b")

        with Hive(directory / "roaming", network.b.address, begin=begin) as hive:
            found, moved = _measure(hive, network, options.size)
    rows = []
    for what, one in found.items():
        amount = f"{one['asked']} requests" if what == "tick" else f"{options.size >> 20} MiB"
        failed = one["failed"] if what == "tick" else int(not one["whole"])
        rows.append({"what": what, "way": "hypermail", "amount": amount, "failed": failed, "stall": one["stall"]})
    count = sum(row["failed"] for row in rows)
    return {
        "rows": rows,
        "goals": [
            {
                "goal": "the address changes while all of them run",
                "found": "so it does" if moved else "NO",
                "holds": moved,
            },
            {"goal": "no request fails", "found": f"{count} did", "holds": not count},
        ],
    }


def _measure(hive: Hive, network: BadNetwork, amount: int) -> tuple[dict[str, Any], bool]:
    port = 8_000
    server = hive.start("server", [sys.executable, "-m", "benchmarks.hive.content", str(port)])
    hive.told(server, "it (serves)")
    hive.queen()
    hive.proxy("hypermail", f"http://127.0.0.1:{port}")
    amounts = {"download": amount, "upload": amount, "tick": BEFORE + AFTERWARDS}
    module = [sys.executable, "-m", "benchmarks.hive.client"]
    clients = {
        what: hive.start(what, [*module, what, hive.address, str(hive.https), str(much)])
        for what, much in amounts.items()
    }
    time.sleep(BEFORE)
    moved = all(client.process.poll() is None for client in clients.values())
    move(network)
    for client in clients.values():
        client.process.wait(LONGEST)
    found = {what: json.loads(hive.told(client, "FOUND (.*)")) for what, client in clients.items()}
    for what, one in found.items():
        print(what, json.dumps(one), sep="  ", flush=True)
    return found, moved
