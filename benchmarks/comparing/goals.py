"""
What the comparison should show, and whether it does. A figure is the median of the rounds; a goal is about the ratio of
two of the same case, which ran in turns, or about one figure alone. Beside a ratio of rates or latencies there is that
of processor time, of both sides together and for as much work: it says the same where other programs use the machine,
and nothing waits for anything else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import floor
from typing import Any

from benchmarks.network.figures import Table

#: Finds the medians of (kept, case, peer, sessions).
Find = Callable[[dict[str, Any], str, str, int | None], dict[str, Any] | None]


@dataclass(frozen=True, slots=True)
class Goal:
    """
    @ivar what: it is about.
    @ivar case: that it is in.
    @ivar figure: of a row.
    @ivar ours: the peer that it is about.
    @ivar theirs: the peer that it is measured by; None where the figure alone counts.
    @ivar least: that the ratio, or the figure, should have; None where it has C{most}.
    @ivar most: likewise.
    @ivar sessions: of ours and of theirs, in the case that has several.
    @ivar scale: of a figure that counts alone, for C{unit}.
    @ivar stretch: whether it is more than what is asked for.
    """

    what: str
    case: str
    figure: str
    ours: str
    theirs: str | None = None
    least: float | None = None
    most: float | None = None
    sessions: tuple[int | None, int | None] = (None, None)
    scale: float = 1.0
    unit: str = ""
    stretch: bool = False

    @property
    def wanted(self) -> str:
        """For people."""
        sign, number = ("≥", self.least) if self.least is not None else ("≤", self.most)
        stretch = " (stretch)" if self.stretch else ""
        return f"{sign} {number:g}{self.measure}{stretch}"

    @property
    def measure(self) -> str:
        """What a number is of."""
        if self.theirs is None:
            return f" {self.unit}"
        return " × a single one" if self.theirs == self.ours else f" × {_SHORT[self.theirs]}"

    def found(self, kept: dict[str, Any], find: Find) -> float | None:
        """The ratio, or the figure; None where it was not measured."""
        ours = find(kept, self.case, self.ours, self.sessions[0])
        if ours is None or self.figure not in ours:
            return None
        if self.theirs is None:
            return float(ours[self.figure]) * self.scale
        theirs = find(kept, self.case, self.theirs, self.sessions[1])
        if theirs is None or not theirs.get(self.figure):
            return None
        return float(ours[self.figure]) / float(theirs[self.figure])

    def spent(self, kept: dict[str, Any], find: Find) -> float | None:
        """The same ratio by processor time; None where the goal is about something else, or it was not measured."""
        if self.theirs is None:
            return None
        costs = [
            _cost(find(kept, self.case, peer, many)) for peer, many in zip((self.ours, self.theirs), self.sessions)
        ]
        ours, theirs = costs
        if not ours or not theirs:
            return None
        return theirs / ours if self.least is not None else ours / theirs

    def holds(self, found: float) -> bool:
        """Whether that is enough."""
        return found >= self.least if self.least is not None else found <= (self.most or 0.0)

    def verdict(self, found: float | None) -> str:
        """For people: whether it holds, or by how much it falls short."""
        if found is None:
            return "not measured"
        if self.holds(found):
            return "holds"
        share = found / self.least if self.least is not None else (self.most or 0.0) / found
        return f"falls short: {floor(share * 100)}% of it"


def _cost(row: dict[str, Any] | None) -> float | None:
    """s of processor time of both sides, for each byte, message, ask or connection."""
    if row is None or not row.get("done"):
        return None
    return float(row["starter_processor"] + row["listener_processor"]) / float(row["done"])


_SHORT = {
    "twisted-tls": "Twisted TLS",
    "aioquic": "aioquic",
    "qh3": "qh3",
    "enet": "ENet",
    "kcp": "KCP",
    "amp": "AMP",
}


def _beside(what: str, case: str, figure: str, ours: str, **factors: float) -> Iterator[Goal]:
    bound = "most" if figure == "p50" else "least"
    for theirs, factor in factors.items():
        key = {"tls": "twisted-tls"}.get(theirs, theirs)
        yield Goal(what, case, figure, ours, key, **{bound: factor})  # type: ignore[arg-type]


def _both(what: str, case: str, figure: str, most: float, scale: float, unit: str) -> Iterator[Goal]:
    for side in ("starter", "listener"):
        yield Goal(f"{what}, {side}", case, f"{side}_{figure}", "hypermail", most=most, scale=scale, unit=unit)


GOALS: tuple[Goal, ...] = (
    *_beside("bulk, 1,400-byte datagrams", "bulk-1400", "rate", "hypermail", tls=0.2, aioquic=8, qh3=2.5),
    *_beside("likewise, compiled", "bulk-1400", "rate", "hypermail-compiled", tls=0.5, enet=1, kcp=1),
    *_beside("bulk, unrestricted", "bulk", "rate", "hypermail", tls=1),
    Goal("bulk, unrestricted", "bulk", "rate", "hypermail", "twisted-tls", least=2, stretch=True),
    *_beside("1 kB messages, a Deferred each", "messages-1000", "rate", "hypermail-each", amp=2.5, qh3=2, aioquic=6),
    *_beside("100 B messages, a Deferred each", "messages-100", "rate", "hypermail-each", amp=3),
    *_beside("100 B messages, without", "messages-100", "rate", "hypermail", tls=0.4),
    *_beside("request and response: p50", "asks-1", "p50", "hypermail", tls=1, aioquic=0.35),
    *_beside("request and response, 64 outstanding", "asks-64", "rate", "hypermail", tls=0.7, aioquic=2.5),
    *_beside("connections per second", "openings", "rate", "hypermail", tls=1.2, aioquic=2.5),
    *_both("memory of each of 1,000", "memory-1000", "memory", 10, 2**-10, "KiB"),
    *_both("memory of each of 10,000", "memory-10000", "memory", 10, 2**-10, "KiB"),
    *_both("10,000 idle, pinged every 5 s", "idle-5", "share", 8, 100, "% of a processor"),
    *_both("10,000 idle, pinged every 60 s", "idle-60", "share", 1, 100, "% of a processor"),
    *(
        Goal(f"{many:,} active sessions", "scale", "rate", "hypermail", "hypermail", least=0.7, sessions=(many, 1))
        for many in (10, 100, 1_000)
    ),
)


def table(kept: dict[str, Any], find: Find) -> Table:
    """All goals."""
    rows = []
    for goal in GOALS:
        found, spent = goal.found(kept, find), goal.spent(kept, find)
        shown = ["–" if one is None else f"{one:.3g}" for one in (found, spent)]
        rows.append([goal.what, goal.wanted, *shown, goal.verdict(found)])
    return Table("Goals", ["", "goal", "found", "by processor time", ""], rows)


def short(kept: dict[str, Any], find: Find) -> list[Goal]:
    """Those that don't hold, or were not measured; those that stretch apart."""
    return [
        goal
        for goal in GOALS
        if not goal.stretch and ((found := goal.found(kept, find)) is None or not goal.holds(found))
    ]
