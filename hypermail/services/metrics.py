"""
A status for Prometheus. Importing this needs the extra C{metrics}.

There are sums over sessions and a distribution of round trips, but nothing for each session: a label with a session's
name would leave another time series behind for every session that ever was.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeHistogramMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector, CollectorRegistry

ROUND_TRIPS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Upper bounds of the buckets, s."""

_COUNTERS = {
    "sessions_opened": "Sessions that were opened.",
    "sessions_closed": "Sessions that were closed in order.",
    "sessions_lost": "Sessions that ended otherwise.",
    "sessions_refused": "Strangers that asked for a session and were refused.",
    "handshakes_failed": "Strangers that did not come as far as asking for a session.",
    "bytes_sent": "Bytes of UDP payload sent.",
    "bytes_received": "Bytes of UDP payload received.",
    "bytes_lost": "Bytes of UDP payload that were sent and taken for lost.",
    "datagrams_sent": "Datagrams sent.",
    "datagrams_received": "Datagrams received.",
    "datagrams_lost": "Datagrams that were sent and taken for lost.",
    "datagrams_forged": "Datagrams that did not open under the session's keys.",
    "messages_sent": "Messages that have begun to leave, without direct ones.",
    "messages_received": "Messages that were settled here, without direct ones.",
    "streams_opened": "Streams that were opened, by either side.",
}

_SUMS = {
    "streams": "Streams that are open.",
    "streams_paused": "Streams that the peer has paused.",
    "messages_queued": "Messages that have not begun to leave.",
    "in_flight": "Bytes in flight.",
    "window": "Bytes that may be in flight: the sum of the congestion windows.",
}

_UNITS = {"in_flight": "in_flight_bytes", "window": "congestion_window_bytes"}


class StatusCollector(Collector):
    """
    One snapshot.

    @param snapshot: of L{hypermail.services.status.Status}.
    """

    def __init__(self, snapshot: dict[str, Any]) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        """See L{Collector}."""
        program, totals, sessions = (self._snapshot[name] for name in ("program", "totals", "sessions"))
        running = GaugeMetricFamily("hypermail_info", "Always 1; which version this is.", labels=("version",))
        running.add_metric((program["version"],), 1)
        yield running
        yield GaugeMetricFamily("hypermail_uptime_seconds", "Since the start.", program["uptime"])
        for name, text in _COUNTERS.items():
            yield CounterMetricFamily(f"hypermail_{name}", text, totals[name])
        kinds = Counter((each["mode"], each["cipher"] or "none", each["state"]) for each in sessions)
        opened = GaugeMetricFamily("hypermail_sessions", "Sessions that are open.", labels=("mode", "cipher", "state"))
        for labels, count in kinds.items():
            opened.add_metric(labels, count)
        yield opened
        for name, text in _SUMS.items():
            total = sum(each[name] for each in sessions)
            yield GaugeMetricFamily(f"hypermail_{_UNITS.get(name, name)}", text, total)
        yield from _of_workers(program.get("workers", ()))
        yield _round_trips([each["rtt"] for each in sessions if each["rtt"] is not None])


def _of_workers(workers: Sequence[dict[str, Any]]) -> Iterator[Metric]:
    """What is told of each; of these there are always the same ones."""
    if not workers:
        return
    opened = GaugeMetricFamily("hypermail_worker_sessions", "Sessions that a worker has.", labels=("worker",))
    restarts = CounterMetricFamily(
        "hypermail_worker_restarts", "How often another process of a worker has followed one.", labels=("worker",)
    )
    for worker in workers:
        opened.add_metric((str(worker["worker"]),), worker["sessions_open"] or 0)
        restarts.add_metric((str(worker["worker"]),), worker["restarts"])
    yield opened
    yield restarts


def _round_trips(found: list[float]) -> Metric:
    """How the smoothed round trips of the open sessions are distributed."""
    counts = [0] * (len(ROUND_TRIPS) + 1)
    for seconds in found:
        counts[bisect_left(ROUND_TRIPS, seconds)] += 1
    buckets, below = [], 0
    for bound, count in zip((*map(str, ROUND_TRIPS), "+Inf"), counts, strict=True):
        below += count
        buckets.append((bound, float(below)))
    text = "Smoothed round trips of the open sessions."
    return GaugeHistogramMetricFamily("hypermail_rtt_seconds", text, buckets=buckets, gsum_value=sum(found))


def exposition(snapshot: dict[str, Any], accept: str) -> tuple[str, bytes]:
    """
    A snapshot as Prometheus reads it; see L{encoded}.
    """
    return encoded(StatusCollector(snapshot), accept)


def encoded(collector: Collector, accept: str) -> tuple[str, bytes]:
    """
    Metrics as Prometheus reads them.

    @param accept: the C{Accept} field of the request, by which the format is chosen.
    @return: content type and content.
    """
    try:
        encode, kind = choose_encoder(accept)
    except Exception:  # it cannot read everything; RFC 9110 §12.5.1: a field may be disregarded
        encode, kind = choose_encoder("")
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    return kind, encode(registry)
