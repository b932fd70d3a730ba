"""
The status of all workers as one: what L{hypermail.services.status.Status} is of one process.

Two things are told besides: of the program its C{workers}, and of each session whose it is, as C{worker}.

==================  ========================================================================================
of a worker
==================  ========================================================================================
C{worker}           its number
C{state}            C{serving}, C{starting}, C{waiting} for a process, C{ending}, C{over}
C{pid}              of its process; None without one
C{restarts}         how often another process has followed one that has ended
C{sessions_open}    how many it has; None when it does not say
==================  ========================================================================================

What has been counted stays counted when a process ends, as far as it was told to somebody; its sessions that were open
then were lost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from hypermail._version import __version__
from hypermail.internet.address import HypermailAddress
from hypermail.services.processes.life import WorkerLife
from hypermail.services.status import COUNTERS, SESSIONS, Look, Rates


class _Sums:
    """What one worker has counted, over all of its processes."""

    def __init__(self) -> None:
        self._pid: int | None = None
        self._before: Counter[str] = Counter()
        self._latest: Counter[str] = Counter()

    def totals(self, worker: WorkerLife, snapshot: dict[str, Any] | None) -> Counter[str]:
        """All of it. @param snapshot: what the worker tells now, if it does."""
        if worker.pid != self._pid:
            self._pid = worker.pid
            self._latest["sessions_lost"] += self._latest.pop("sessions_open", 0)
            self._before.update(self._latest)
            self._latest.clear()
        if snapshot is not None:
            self._latest = Counter(snapshot["totals"])
        together = Counter(self._before)
        together.update(self._latest)
        return together


class Overview:
    """
    The status of the workers of a listener.

    @param seconds: the time, monotonic.
    @param now: the time of day, with its zone.
    """

    def __init__(self, seconds: Callable[[], float], now: Callable[[], datetime]) -> None:
        self._seconds = seconds
        self._began = seconds()
        self._since = now()
        self._hosts: Sequence[HypermailAddress] = ()
        self._workers: Sequence[WorkerLife] = ()
        self._sums: list[_Sums] = []
        self._rates = Rates(self._began)

    def begin(self, hosts: Sequence[HypermailAddress], workers: Sequence[WorkerLife]) -> None:
        """There are workers now. @param hosts: that are listened on."""
        self._hosts = hosts
        self._workers = workers
        self._sums = [_Sums() for _ in workers]

    def snapshot(self) -> Deferred[dict[str, Any]]:
        """See L{Status.snapshot}; what workers do not tell in time is left out."""
        looking = gatherResults([worker.ask("look") for worker in self._workers])
        return looking.addCallback(self._united)

    def _united(self, snapshots: Sequence[dict[str, Any] | None]) -> dict[str, Any]:
        now = self._seconds()
        totals = dict.fromkeys((*SESSIONS, *COUNTERS), 0)
        workers, sessions = [], []
        for worker, sums, snapshot in zip(self._workers, self._sums, snapshots, strict=True):
            for name, count in sums.totals(worker, snapshot).items():
                totals[name] += count
            workers.append(
                {
                    "worker": worker.number,
                    "state": worker.state.name.lower(),
                    "pid": worker.pid,
                    "restarts": worker.restarts,
                    "sessions_open": None if snapshot is None else snapshot["totals"]["sessions_open"],
                }
            )
            sessions += [{**each, "worker": worker.number} for each in (snapshot or {"sessions": []})["sessions"]]
        return {
            "program": {
                "version": __version__,
                "since": self._since.isoformat(timespec="seconds"),
                "uptime": now - self._began,
                "listening": [str(host) for host in self._hosts],
                "workers": workers,
            },
            "totals": totals,
            "rates": self._rates.over(Look(now, totals["bytes_sent"], totals["bytes_received"])),
            "sessions": sorted(sessions, key=_age, reverse=True),
        }


def _age(session: dict[str, Any]) -> float:
    age: float = session["age"]
    return age
