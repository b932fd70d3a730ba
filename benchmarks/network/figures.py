"""
Percentiles, medians, what was delivered in which time, and tables for people.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, inf
from statistics import median

#: (s, bytes so far).
Samples = Sequence[tuple[float, int]]


def percentile(values: Sequence[float], percent: float, missing: int = 0) -> float:
    """
    The nearest-rank percentile.

    @param percent: above 0, 100 at most.
    @param missing: values that never came; they count as infinite.
    @raise ValueError: when there are none at all.
    """
    count = len(values) + missing
    if not count:
        raise ValueError("no values, no percentile")
    # the small subtraction undoes what the division may have added to a whole number
    rank = ceil(percent / 100 * count - 1e-9)
    return sorted(values)[rank - 1] if rank <= len(values) else inf


def middle(values: Sequence[float | None]) -> float | None:
    """The median; a measurement that failed, C{None}, is left out. None when all have."""
    known = [value for value in values if value is not None]
    return median(known) if known else None


def delivered(samples: Samples, start: float, stop: float) -> int:
    """Bytes that arrived from C{start} to C{stop}, to the precision of the samples."""
    return _at(samples, stop) - _at(samples, start)


def _at(samples: Samples, time: float) -> int:
    index = bisect_right(samples, time, key=lambda sample: sample[0])
    return samples[index - 1][1] if index else 0


def first_after(samples: Samples, time: float) -> float | None:
    """When the next bytes arrived after C{time}; None when none did."""
    index = bisect_right(samples, time, key=lambda sample: sample[0])
    return samples[index][0] if index < len(samples) else None


def runs_at(share: float, longest: int) -> float:
    """
    At how many percent of packets runs of losses must begin for C{share} of all packets to be lost.

    @param longest: packets; a run is as long as each number from 1 to this, with equal probability.
    """
    mean = (1 + longest) / 2
    # of the packets, those outside runs begin one with probability p: share = p * mean / (p * mean + 1 - p)
    return 100 * share / (mean * (1 - share) + share)


@dataclass(frozen=True, slots=True)
class Table:
    """
    @ivar title: one line.
    @ivar header: of each column.
    @ivar rows: as many cells each.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def _widths(self) -> list[int]:
        return [max(map(len, column)) for column in zip(self.header, *self.rows)]

    def text(self) -> str:
        """For a terminal."""
        widths = self._widths()
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)) for row in (self.header, *self.rows)]
        return "\n".join([self.title, "", *(line.rstrip() for line in lines), ""])

    def markdown(self) -> str:
        """In Markdown."""
        widths = self._widths()

        def line(cells: Sequence[str]) -> str:
            return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths)) + " |"

        rule = line(["-" * width for width in widths])
        return "\n".join([f"**{self.title}**", "", line(self.header), rule, *map(line, self.rows), ""])

    def rst(self) -> str:
        """In reStructuredText: a list table, which takes cells of any content."""
        lines = [f".. list-table:: {self.title}", "   :header-rows: 1", ""]
        for row in (self.header, *self.rows):
            for column, cell in enumerate(row):
                lines.append(f"{'     ' if column else '   * '}- {cell}".rstrip())
        return "\n".join([*lines, ""])
