"""
One measurement: a listener and a starter, two processes, and what they report. And many of them, in turns.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding

from benchmarks.comparing.cases import Case
from benchmarks.comparing.program import AUTHORITY, CERTIFICATE, HOST, KEY
from benchmarks.comparing.work import Bulk, Idle, Work, pack
from benchmarks.peers import PEERS, Peer
from benchmarks.talking import ANSWERING, MeasurementFailed, MeasurementTooSlow, Talking
from hypermail.test.certificates import authority, issue

CHECKOUT = Path(__file__).resolve().parents[2]
#: s that a process may take to begin.
BEGINNING = 30.0

Row = dict[str, Any]


class Side(Talking):
    """
    A process on one side, of L{benchmarks.comparing.program}; a context manager, which kills it.

    @param profile: file for its profile, if there is to be one.
    """

    def __init__(self, role: str, key: str, work: Work, directory: str, profile: str | None = None) -> None:
        task = json.dumps({"peer": key, "work": pack(work), "identity": directory, "profile": profile})
        command = [sys.executable, "-m", "benchmarks.comparing.program", role, task]
        wanted = {**os.environ, **PEERS[key].environment}
        environment = {name: value for name, value in wanted.items() if value is not None}

        def begin(**pipes: Any) -> subprocess.Popen[bytes]:
            return subprocess.Popen(command, cwd=CHECKOUT, env=environment, **pipes)

        super().__init__(f"{key}, {role}", begin)

    def __enter__(self) -> Side:
        return self

    def usage(self) -> dict[str, float]:
        """What a listener has used until now."""
        self.say("")
        told: dict[str, float] = self.told("usage", ANSWERING)
        return told

    def write_profile(self) -> None:
        """Let it write its profile."""
        self._process.send_signal(signal.SIGUSR1)
        self.told("profiled", ANSWERING)


def write_identity(directory: Path) -> None:
    """Make an authority, and a certificate for C{HOST} that it vouches for, with P-256 keys."""
    now = datetime.now(UTC)
    trusted = authority("benchmark", now)
    made = issue(trusted, HOST, now=now)
    certificate = made.certificate.public_bytes(Encoding.PEM)
    (directory / AUTHORITY).write_bytes(trusted.to_pem())
    (directory / CERTIFICATE).write_bytes(certificate)
    (directory / KEY).write_bytes(made.to_pem().removesuffix(certificate))


def measure(key: str, work: Work, directory: str, profiles: Mapping[str, str] = {}) -> Row:
    """
    A work of a peer's.

    @param directory: of the identity.
    @param profiles: files for the profiles of C{starter} and C{listener}, of those that are to be profiled.
    @return: the figures.
    @raise MeasurementFailed: when a process fails, or takes too long.
    """
    with (
        Side("listen", key, work, directory, profiles.get("listener")) as listener,
        Side("start", key, work, directory, profiles.get("starter")) as starter,
    ):
        word = listener.told("ready", BEGINNING)
        starter.say(json.dumps(word))
        began = starter.told("began", work.patience)
        before = listener.usage()
        starter.say("")
        record = starter.read(work.patience)
        after = listener.usage()
        for name, side in (("starter", starter), ("listener", listener)):
            if name in profiles:
                side.write_profile()
        usage = {"starter": (began, record["usage"]), "listener": (before, after)}
        return figures(work, record["over"], usage)


def figures(
    work: Work, result: Mapping[str, Any], usage: Mapping[str, tuple[Mapping[str, float], Mapping[str, float]]]
) -> Row:
    """
    What a work has come to: for C{bulk} bytes per second; for others how many per second, and for asks the latencies'
    percentiles in s; for idle connections, bytes of each, or the share of a processor. And s of processor time, of
    both sides.

    @param usage: of each side, what it had used before and after.
    """
    spent = {side: after["processor"] - before["processor"] for side, (before, after) in usage.items()}
    row: Row = {f"{side}_processor": seconds for side, seconds in spent.items()}
    if isinstance(work, Idle):
        if work.window:
            return {**row, **{f"{side}_share": seconds / work.window for side, seconds in spent.items()}}
        for side, (before, after) in usage.items():
            row[f"{side}_memory"] = (after["memory"] - before["memory"]) / work.count
        return row
    done = result["bytes"] if isinstance(work, Bulk) else result["count"]
    row |= {"done": done, "seconds": result["seconds"], "rate": done / result["seconds"]}
    latencies = sorted(result.get("latencies", ()))
    if latencies:
        row |= {"p50": median(latencies), "p99": latencies[len(latencies) * 99 // 100]}
    return row


def run(case: Case, keys: list[str], rounds: int, directory: str) -> tuple[list[Row], dict[str, str]]:
    """
    A case, one peer after the other in each round. Who has failed by taking too long is not tried again.

    @param keys: who takes part.
    @return: the rows, and why peers are missing.
    """
    missing = {key: reason for key in keys if (reason := PEERS[key].missing()) is not None}
    rows: list[Row] = []
    slow: set[tuple[str, int]] = set()
    rounds = min(rounds, case.rounds) if case.rounds else rounds
    for number in range(1, rounds + 1):
        for key in keys:
            for index, work in enumerate(case.works):
                if key in missing or (key, index) in slow:
                    continue
                labels: Row = {"peer": key, "round": number}
                if len(case.works) > 1:
                    labels["sessions"] = work.sessions  # type: ignore[union-attr]
                try:
                    found = measure(key, work, directory)
                except MeasurementFailed as error:
                    found = {"error": str(error)}
                    if isinstance(error, MeasurementTooSlow):
                        slow.add((key, index))
                rows.append({**labels, **found})
                print(shown(PEERS[key], rows[-1]), flush=True)
    return rows, missing


#: What of a row is told at once, with its scale, format and unit.
_TOLD: tuple[tuple[str, float, str, str], ...] = (
    ("rate", 1.0, ",.0f", "/s"),
    ("p50", 1e6, ".1f", "µs"),
    ("listener_memory", 2**-10, ".1f", "KiB at the listener"),
    ("starter_memory", 2**-10, ".1f", "KiB at the starter"),
    ("starter_processor", 1.0, ".2f", "s of the starter's processor"),
    ("listener_processor", 1.0, ".2f", "s of the listener's"),
)


def shown(peer: Peer, row: Row) -> str:
    """A row for people."""
    parts = [f"{row[name] * scale:{form}} {unit}" for name, scale, form, unit in _TOLD if name in row]
    label = f"{peer.label} × {row['sessions']}" if "sessions" in row else peer.label
    return f"  {row['round']}  {label:36} {', '.join(parts) or row['error']}"
