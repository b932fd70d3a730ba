"""
The plots, as SVG. The same results give the same files.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.network.figures import middle
from benchmarks.network.peers import PEERS
from benchmarks.network.results import Row, labels_of, select, values

#: A colour and a marker for each peer, the same in all plots; the colours are Okabe and Ito's.
STYLES = {
    "hypermail-cubic": ("#D55E00", "o"),
    "hypermail-bbr": ("#CC79A7", "o"),
    "hypermail-redundant": ("#E69F00", "o"),
    "tcp-cubic": ("#0072B2", "s"),
    "tcp-bbr": ("#56B4E9", "s"),
    "aioquic": ("#009E73", "^"),
    "enet": ("#000000", "v"),
}


def _plot(
    path: Path, rows: Sequence[Row], label: str, lines: dict[str, tuple[str, float]], axes: tuple[str, str]
) -> None:
    """
    One plot.

    @param label: of the rows, for the horizontal axis.
    @param lines: for each figure, its dashes and its scale.
    @param axes: the names of both.
    """
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "hypermail", "svg.fonttype": "none", "font.size": 9})
    from matplotlib import pyplot

    figure, plot = pyplot.subplots(figsize=(7, 4))
    columns = sorted(labels_of(rows, label))
    for key in labels_of(rows, "peer"):
        colour, marker = STYLES[key]
        for name, (dashes, scale) in lines.items():
            medians = [middle(values(rows, name, peer=key, **{label: column})) for column in columns]
            # a gap where nothing was measured
            heights = [float("nan") if one is None else one * scale for one in medians]
            shown = PEERS[key].label if len(lines) == 1 else f"{PEERS[key].label}, {name}"
            plot.plot(range(len(columns)), heights, dashes, color=colour, marker=marker, markersize=4, label=shown)
    plot.set_yscale("log")
    plot.yaxis.set_major_formatter("{x:g}")
    plot.set_xticks(range(len(columns)), [str(column) for column in columns])
    plot.set_xlabel(axes[0])
    plot.set_ylabel(axes[1])
    plot.grid(alpha=0.3)
    plot.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
    pyplot.close(figure)
    # Matplotlib ends lines with spaces, and git complains
    path.write_text("\n".join(line.rstrip() for line in path.read_text().splitlines()) + "\n")


_RATE = {"rate": ("-", 1e-6)}
_LATENCY = {"p99": ("-", 1.0), "p50": (":", 1.0)}
_BY_LOSS = "loss each way, %"
_BY_ROUND_TRIP = "round trip, ms"


def _goodput(directory: Path, rows: list[Row]) -> None:
    _plot(directory / "goodput.svg", rows, "loss", _RATE, (_BY_LOSS, "goodput, MB/s"))


def _latency(directory: Path, rows: list[Row]) -> None:
    _plot(directory / "latency.svg", rows, "loss", _LATENCY, (_BY_LOSS, "one-way latency, ms"))


def _round_trip(directory: Path, rows: list[Row]) -> None:
    bulk, messages = select(rows, what="bulk"), select(rows, what="messages")
    _plot(directory / "roundtrip-goodput.svg", bulk, "round_trip", _RATE, (_BY_ROUND_TRIP, "goodput, MB/s"))
    path = directory / "roundtrip-latency.svg"
    _plot(path, messages, "round_trip", _LATENCY, (_BY_ROUND_TRIP, "one-way latency, ms"))


_PLOTS: dict[str, Callable[[Path, list[Row]], None]] = {
    "goodput": _goodput,
    "latency": _latency,
    "roundtrip": _round_trip,
}


def plot(kept: dict[str, Any], directory: Path) -> None:
    """
    Write all plots.

    @raise ImportError: without matplotlib.
    """
    for name, draw in _PLOTS.items():
        suite = kept["suites"].get(name)
        if suite is not None:
            draw(directory, suite["rows"])
