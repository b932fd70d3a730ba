"""
The plots, as SVG of our own: a row for each peer, a panel for each figure, logarithmic. A dot is the median, filled
where what the peer carries is encrypted; the line through it goes from the lowest round to the highest.

An arrow in a title tells that less is better.

The colours follow the reader's choice of light or dark, on a ground of the plot's own. The same results give the same
files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Any
from xml.sax.saxutils import escape

from benchmarks.peers import PEERS

#: Finds the medians of (kept, case, peer).
Find = Callable[[dict[str, Any], str, str], dict[str, Any] | None]

WIDTH = 800.0
#: Of the peers' names.
NAMES = 244.0
#: Between panels, and at the edges.
GAP = 26.0
EDGE = 14.0
ROW = 21.0
HEAD = 44.0
FOOT = 46.0
#: Beside a dot, for its value.
VALUE = 44.0

STYLE = """
text{font:11px system-ui,"Segoe UI","Helvetica Neue",Arial,sans-serif;fill:#24292f}
.title{font-weight:600;font-size:12px}.dim{fill:#57606a}.ours{font-weight:600}.end{text-anchor:end}.mid{text-anchor:middle}
.paper{fill:#fff}.band{fill:#f4f6f8}.grid{stroke:#d4dae0}.span,.dot{stroke:#33628f}.dot{fill:#33628f;stroke-width:1.6}
.span{stroke-width:2.4;stroke-linecap:round;stroke-opacity:.45}.span.ours,.dot.ours{stroke:#c2410c}.dot.ours{fill:#c2410c}
.dot.open{fill:#fff}
@media (prefers-color-scheme:dark){
text{fill:#e6edf3}.dim{fill:#9aa4af}.paper,.dot.open{fill:#14181d}.band{fill:#1c2229}.grid{stroke:#353d46}
.span,.dot{stroke:#86b6e6}.dot{fill:#86b6e6}.span.ours,.dot.ours{stroke:#fb923c}.dot.ours{fill:#fb923c}.dot.open{fill:#14181d}
}
"""


@dataclass(frozen=True, slots=True)
class Mark:
    """
    What a panel shows of a peer.

    @ivar value: the median.
    @ivar low: of all rounds.
    @ivar high: likewise.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Panel:
    """
    @ivar title: with the unit.
    @ivar marks: of those peers that have one.
    """

    title: str
    marks: dict[str, Mark]


def brief(value: float) -> str:
    """Three digits, for people."""
    for size, letter in ((1e6, " M"), (1e4, " k")):
        if value >= size:
            return f"{value / (1e6 if letter == ' M' else 1e3):.3g}{letter}"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def ticks(low: float, high: float) -> list[float]:
    """Round values between both: powers of ten, and where these are few 2 and 5 times as many."""
    powers = range(floor(log10(low)), ceil(log10(high)) + 1)
    for factors in ((1,), (1, 3), (1, 2, 5)):
        found = [factor * 10.0**power for power in powers for factor in factors if low <= factor * 10.0**power <= high]
        if len(found) > 2:
            break
    return found


@dataclass(frozen=True, slots=True)
class Chart:
    """
    @ivar shows: what, in words.
    @ivar panels: from left to right.
    """

    shows: str
    panels: Sequence[Panel]

    @property
    def peers(self) -> list[str]:
        """Who has a mark in any panel."""
        return [key for key in PEERS if any(key in panel.marks for panel in self.panels)]

    def svg(self) -> str:
        """The file."""
        height = HEAD + ROW * len(self.peers) + FOOT
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:g} {height:g}" width="{WIDTH:g}" role="img">'
        )
        body = [f"<title>{escape(self.shows)}</title>", f"<style>{STYLE}</style>"]
        body.append(f'<rect class="paper" width="{WIDTH:g}" height="{height:g}" rx="6"/>')
        return "\n".join([head, *body, *self._names(), *self._panels(), *self._legend(height - 12), "</svg>", ""])

    def _names(self) -> Iterator[str]:
        band = f'x="{EDGE:g}" width="{WIDTH - 2 * EDGE:g}" height="{ROW:g}" rx="3"'
        for index, key in enumerate(self.peers):
            top = HEAD + ROW * index
            if index % 2 == 0:
                yield f'<rect class="band" {band} y="{top:g}"/>'
            yield _text(EDGE + NAMES - 8, top + 14.5, PEERS[key].label, f"end{_ours(key)}")

    def _panels(self) -> Iterator[str]:
        width = (WIDTH - 2 * EDGE - NAMES - GAP * (len(self.panels) - 1)) / len(self.panels)
        for index, panel in enumerate(self.panels):
            yield from self._panel(panel, EDGE + NAMES + index * (width + GAP), width)

    def _panel(self, panel: Panel, left: float, width: float) -> Iterator[str]:
        low = min(mark.low for mark in panel.marks.values()) / 1.25
        high = max(mark.high for mark in panel.marks.values()) * 1.1
        bottom = HEAD + ROW * len(self.peers)

        def x(value: float) -> float:
            return left + log10(value / low) / log10(high / low) * (width - VALUE)

        yield _text(left, HEAD - 26, panel.title, "title")
        for tick in ticks(low, high):
            at = x(tick)
            yield f'<path class="grid" d="M{at:.1f} {HEAD - 4:g}V{bottom:g}"/>'
            yield _text(at, HEAD - 9, brief(tick), "dim mid")
        for index, key in enumerate(self.peers):
            mark = panel.marks.get(key)
            y = HEAD + ROW * (index + 0.5)
            if mark is None:
                yield _text(left, y + 4, "–", "dim")
                continue
            ours = _ours(key)
            yield f'<path class="span{ours}" d="M{x(mark.low):.1f} {y:g}H{x(mark.high):.1f}"/>'
            empty = "" if PEERS[key].encrypted else " open"
            yield f'<circle class="dot{ours}{empty}" cx="{x(mark.value):.1f}" cy="{y:g}" r="4"/>'
            yield _text(max(x(mark.value), x(mark.high)) + 8, y + 4, brief(mark.value), ours.strip())

    def _legend(self, y: float) -> Iterator[str]:
        at = EDGE + NAMES
        for index, (empty, text) in enumerate((("", "encrypted"), (" open", "not encrypted"))):
            left = at + index * 84
            yield f'<circle class="dot{empty}" cx="{left + 4:g}" cy="{y - 4:g}" r="4"/>'
            yield _text(left + 14, y, text, "dim")
        yield f'<path class="span" d="M{at + 186:g} {y - 4:g}h22"/>'
        yield _text(at + 214, y, "lowest to highest round; logarithmic; ↓: less is better", "dim")


def _ours(key: str) -> str:
    return " ours" if PEERS[key].room == "sessions" else ""


def _text(x: float, y: float, text: str, kinds: str) -> str:
    name = f' class="{kinds}"' if kinds else ""
    return f'<text{name} x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


@dataclass(frozen=True, slots=True)
class Shown:
    """
    Where a panel's marks come from.

    @ivar title: of the panel.
    @ivar case: whose rows these are.
    @ivar figures: of them, added up.
    @ivar scale: of the sum.
    @ivar per: the figure that it is divided by.
    """

    title: str
    case: str
    figures: tuple[str, ...]
    scale: float
    per: str | None = None

    def value(self, row: dict[str, Any]) -> float | None:
        """Of a row, or of medians; None where it has no such figures."""
        if any(row.get(name) is None for name in self.figures):
            return None
        value: float = sum(row[name] for name in self.figures) * self.scale
        return value / row[self.per] if self.per else value


_PROCESSOR = ("starter_processor", "listener_processor")
_MEMORY = ("starter_memory", "listener_memory")

#: For each file what it shows, and its panels.
_CHARTS: dict[str, tuple[str, tuple[Shown, ...]]] = {
    "bulk": (
        "bulk, one way",
        (
            Shown("MB/s, 1,400-byte datagrams", "bulk-1400", ("rate",), 1e-6),
            Shown("MB/s, largest datagrams", "bulk", ("rate",), 1e-6),
        ),
    ),
    "processor": (
        "what bulk costs",
        (
            Shown("processor s/GB, 1,400 bytes ↓", "bulk-1400", _PROCESSOR, 1e9, "done"),
            Shown("processor s/GB, largest ↓", "bulk", _PROCESSOR, 1e9, "done"),
        ),
    ),
    "messages": (
        "messages, one way",
        (
            Shown("100-byte messages per second", "messages-100", ("rate",), 1.0),
            Shown("1,000-byte messages per second", "messages-1000", ("rate",), 1.0),
        ),
    ),
    "asks": (
        "requests and responses",
        (
            Shown("p50 of one outstanding, µs ↓", "asks-1", ("p50",), 1e6),
            Shown("per second, 64 outstanding", "asks-64", ("rate",), 1.0),
        ),
    ),
    "connections": (
        "connections: how fast they open, and what an idle one costs",
        (
            Shown("opened and closed per second", "openings", ("rate",), 1.0),
            Shown("KiB of each of 1,000, both sides ↓", "memory-1000", _MEMORY, 2**-10),
        ),
    ),
}


def charts(kept: dict[str, Any], find: Find) -> dict[str, Chart]:
    """The plots of what was measured."""
    found = {}
    for name, (shows, panels) in _CHARTS.items():
        made = [Panel(shown.title, marks(kept, find, shown)) for shown in panels]
        made = [panel for panel in made if panel.marks]
        if made:
            found[name] = Chart(shows, made)
    return found


def marks(kept: dict[str, Any], find: Find, shown: Shown) -> dict[str, Mark]:
    """The marks of all peers that have these figures, and none that is zero: it has no logarithm."""
    found = {}
    for key in PEERS:
        median = find(kept, shown.case, key)
        value = None if median is None else shown.value(median)
        if value is None:
            continue
        rows = [row for row in kept["cases"][shown.case]["rows"] if row["peer"] == key]
        rounds = [one for row in rows if (one := shown.value(row)) is not None]
        if min(rounds) > 0:
            found[key] = Mark(value, min(rounds), max(rounds))
    return found
