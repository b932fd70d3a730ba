"""
A queen's status for Prometheus. Importing this needs the extra C{metrics}.

There is something for each mount, but nothing for each cell: a cell that comes back has another name, and every label
would leave another time series behind.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from hypermail._version import __version__
from hypermail.hive.figures import BOUNDS, KINDS, MOST_SERIES, Series
from hypermail.hive.overview import Overview

#: What stands for a mount where there is none: of requests for what nobody has mounted, and of all mounts that are too
#: many to be told apart. No mount looks like that.
NONE, OTHER = "(none)", "(other)"

#: s: upper bounds of the buckets: fewer than those of the figures, which are for people.
_TOLD = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)
_UP_TO = tuple((str(bound), BOUNDS.index(bound) + 1) for bound in _TOLD)


class QueenCollector(Collector):
    """
    What there is to tell now.

    @param overview: of the queen.
    """

    def __init__(self, overview: Overview) -> None:
        self._overview = overview

    def collect(self) -> Iterator[Metric]:
        """See L{Collector}."""
        overview = self._overview
        running = GaugeMetricFamily("hypermail_queen_info", "Always 1; which version this is.", labels=("version",))
        running.add_metric((__version__,), 1)
        yield running
        for name, text, value in (
            ("uptime_seconds", "Since the figures began.", overview.uptime),
            ("requests_running", "Requests that are not over.", overview.router.running),
            ("connections", "Connections of clients.", overview.front.connections),
        ):
            yield GaugeMetricFamily(f"hypermail_queen_{name}", text, value)
        text = "Connections of clients that were cut off since there were too many."
        yield CounterMetricFamily("hypermail_queen_connections_refused", text, overview.front.refused)
        yield from self._requests()
        yield from self._cells()

    def _requests(self) -> Iterator[Metric]:
        labels = ("mount",)
        requests = CounterMetricFamily(
            "hypermail_queen_requests", "Requests that are over, by what became of them.", labels=("mount", "result")
        )
        size = CounterMetricFamily("hypermail_queen_response_bytes", "Bytes of the bodies of responses.", labels=labels)
        took = HistogramMetricFamily(
            "hypermail_queen_request_duration_seconds",
            "Until the response was over, of requests that did not go on in another protocol.",
            labels=labels,
        )
        for mount, series in self._series():
            for kind, count in zip(KINDS, series.kinds, strict=True):
                if count:
                    requests.add_metric((mount, kind), count)
            size.add_metric((mount,), series.size)
            buckets = [(bound, sum(series.buckets[:end])) for bound, end in _UP_TO]
            took.add_metric((mount,), [*buckets, ("+Inf", sum(series.buckets))], max(series.took, 0.0))
        yield from (requests, size, took)

    def _series(self) -> Iterator[tuple[str, Series]]:
        """Of all requests, each of which is in one of them."""
        figures = self._overview.figures
        rest = Series(0)
        rest.fold(figures.total)
        for pattern, series in figures.mounts:
            rest.unfold(series)
            yield str(pattern), series
        if figures.mounts.other.requests:
            rest.unfold(figures.mounts.other)
            yield OTHER, figures.mounts.other
        if rest.requests:
            yield NONE, rest

    def _cells(self) -> Iterator[Metric]:
        cells = list(self._overview.cells)
        bands = GaugeMetricFamily("hypermail_queen_bands", "Connections for requests to cells.", labels=("state",))
        waiting = sum(cell.garden.waiting for cell in cells)
        busy = sum(cell.garden.outstanding for cell in cells) - waiting
        bands.add_metric(("busy",), busy)
        bands.add_metric(("idle",), sum(cell.garden.bands for cell in cells) - busy)
        yield bands
        now = self._overview.cells.seconds()
        for name, text, value in (
            ("cells", "Cells that are there.", len(cells)),
            ("cells_resting", "Cells that have failed just now.", sum(c.health.rests_until > now for c in cells)),
            ("requests_waiting", "Requests that wait for a band.", waiting),
        ):
            yield GaugeMetricFamily(f"hypermail_queen_{name}", text, value)
        mounted = GaugeMetricFamily("hypermail_queen_mount_cells", "Cells on one mount.", labels=("mount",))
        for _, (pattern, members) in zip(range(MOST_SERIES), self._overview.cells.mounted(), strict=False):
            mounted.add_metric((str(pattern),), len(members))
        yield mounted
