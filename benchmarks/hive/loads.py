"""
C{wrk} and C{h2load}: how they are run, and what they have found.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.network.figures import percentile

#: Has C{wrk} say what it knows in one line.
_LUA = """
done = function(summary, latency, requests)
  local wrong = 0
  for _, count in pairs(summary.errors) do wrong = wrong + count end
  io.write(string.format("FOUND %d %d %d %f %f\\n", summary.requests, summary.duration, wrong,
    latency:percentile(50), latency:percentile(99)))
end
"""
_POST = 'wrk.method = "POST"; wrk.body = string.rep("x", %d)\n'


@dataclass(frozen=True)
class Load:
    """
    What is asked for, again and again, on each of some connections: the next request follows the last response.

    @ivar tool: C{wrk} speaks HTTP/1.1, C{h2load} HTTP/2.
    @ivar path: C{/small}, C{/big}, or C{/upload}.
    @ivar size: bytes of the body, which C{/upload} takes and others have.
    """

    tool: str
    path: str
    size: int
    connections: int

    @property
    def labels(self) -> dict[str, Any]:
        """It, in rows."""
        return asdict(self)

    def run(self, origin: str, seconds: int, scratch: Path) -> dict[str, float]:
        """
        Make it. @param scratch: a directory.

        @return: C{requests}, C{seconds}, how many went wrong, and percentiles of latency in ms; C{made} are all
            requests, those before the measurement too.
        """
        return (self._wrk if self.tool == "wrk" else self._h2load)(origin + self.path, seconds, scratch)

    def _wrk(self, url: str, seconds: int, scratch: Path) -> dict[str, float]:
        script = scratch / "wrk.lua"
        script.write_text((_POST % self.size if self.path == "/upload" else "") + _LUA)
        told = _told(["wrk", "-t1", f"-c{self.connections}", f"-d{seconds}", "-s", str(script), url])
        line = re.search(r"FOUND (.*)", told)
        if line is None:
            raise SystemExit(f"wrk has found nothing:\n{told}")
        requests, spent, wrong, middle, late = map(float, line[1].split())
        return {
            "requests": int(requests),
            "made": int(requests),
            "seconds": spent / 1e6,
            "wrong": int(wrong),
            "p50": middle / 1e3,
            "p99": late / 1e3,
        }

    def _h2load(self, url: str, seconds: int, scratch: Path) -> dict[str, float]:
        # for a time, by -D, that of 1.52 may go on for ever; so it is for a number
        some = self._h2load_of(self.connections * 8, url, scratch)
        count = int(some["requests"] / some["seconds"] * seconds)
        found = self._h2load_of(max(count, self.connections), url, scratch)
        return {**found, "made": found["requests"] + some["requests"]}

    def _h2load_of(self, count: int, url: str, scratch: Path) -> dict[str, float]:
        log = scratch / "h2load.log"
        log.unlink(missing_ok=True)
        command = ["h2load", "-t1", f"-c{self.connections}", f"-n{count}", f"--log-file={log}", url]
        if self.path == "/upload":
            body = scratch / "body"
            body.write_bytes(b"x" * self.size)
            command += ["-d", str(body)]
        told = _told(command)
        found = [tuple(map(int, line.split("\t"))) for line in log.read_text().splitlines()] if log.exists() else []
        if not found:
            raise SystemExit(f"h2load has found nothing:\n{told}")
        began, ended = min(start for start, _, _ in found), max(start + took for start, _, took in found)
        times = [took / 1e3 for _, status, took in found if status == 200]
        return {
            "requests": len(times),
            "seconds": (ended - began) / 1e6,
            "wrong": count - len(times),
            "p50": percentile(times, 50),
            "p99": percentile(times, 99),
        }


def _told(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
