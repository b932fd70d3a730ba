"""
Tests for L{hypermail.hive.figures}.
"""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from hypermail.hive.access import Access
from hypermail.hive.figures import (
    BOUNDS,
    KINDS,
    LONGEST,
    MOST_ERRORS,
    MOST_RECENT,
    REMEMBERED,
    Figures,
    Moment,
    Series,
    SeriesTable,
    latency,
)
from hypermail.hive.mounts import Pattern

HERE = Pattern("example.org", "/")
WHEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def access(**changes: Any) -> Access:
    """A request that went well."""
    usual = Access("192.0.2.1", WHEN, "example.org", "GET", "/", "HTTP/1.1", 200, 10, "", "agent", 0.02, "cell")
    return usual._replace(**changes)


class LatencyTests(SynchronousTestCase):
    """Durations out of buckets."""

    def test_bounds(self) -> None:
        """Buckets grow by half at least and by two at most, from 0.1 ms to 50 s."""
        self.assertEqual((BOUNDS[0], BOUNDS[-1]), (0.0001, 50.0))
        for lower, upper in pairwise(BOUNDS):
            self.assertTrue(1.3 <= upper / lower <= 2.0, (lower, upper))

    def test_none(self) -> None:
        """Of nothing, nothing is known."""
        self.assertEqual(latency([0] * (len(BOUNDS) + 1)), (None, None, None))

    def test_long(self) -> None:
        """Of what took longer than the last bound, that is known."""
        self.assertEqual(latency([0] * len(BOUNDS) + [3]), (50.0, 50.0, 50.0))

    def test_within(self) -> None:
        """Within a bucket they are evenly distributed."""
        buckets = [0] * (len(BOUNDS) + 1)
        buckets[BOUNDS.index(0.02)] = 100  # more than 15 ms
        for found, expected in zip(latency(buckets), (0.0175, 0.0195, 0.01995), strict=True):
            self.assertAlmostEqual(found or 0.0, expected)

    @given(st.lists(st.floats(0.0001, 49.0), min_size=1, max_size=200))
    def test_near(self, seconds: list[float]) -> None:
        """Each part is found in the bucket that it is in."""
        clock = Clock()
        figures = Figures(clock.seconds)
        for one in seconds:
            figures.record(access(seconds=one), HERE)
        ranked = sorted(seconds)
        found = figures.total.latency(0)
        for part, value in zip((0.5, 0.9, 0.99), found, strict=True):
            exact = ranked[max(-int(-part * len(ranked) // 1) - 1, 0)]
            assert value is not None
            self.assertTrue(exact / 2.01 <= value <= exact * 2.01 + 0.0001, (part, value, exact))


class KindsTests(SynchronousTestCase):
    """What becomes of requests."""

    def test_kinds(self) -> None:
        """By the cell's status, or since the queen has refused them, or they were cut."""
        for changes, kind in (
            ({"status": 101}, "1xx"),
            ({"status": 204}, "2xx"),
            ({"status": 301}, "3xx"),
            ({"status": 404}, "4xx"),
            ({"status": 599}, "5xx"),
            ({"status": 404, "reason": "nothing is published here"}, "refused"),
            ({"status": 503, "reason": "too many requests wait"}, "refused"),
            ({"status": 200, "reason": "the cell was lost"}, "cut"),
            ({"status": 0, "reason": "the client has gone"}, "cut"),
            ({"status": 0}, "cut"),
        ):
            figures = Figures(Clock().seconds)
            figures.record(access(**changes), HERE)
            for series in (figures.total, figures.mounts.get(HERE), figures.cells.get("cell")):
                responses = figures.read(series)["responses"]
                self.assertEqual([each for each in KINDS if responses[each]], [kind], changes)
            failed = kind in ("5xx", "refused", "cut")
            self.assertEqual(figures.total.errors, int(failed), changes)
            self.assertEqual(len(figures.failed), int(failed), changes)

    def test_whose(self) -> None:
        """What nothing is mounted for counts in the total alone; what no cell has had, not as one's."""
        figures = Figures(Clock().seconds)
        figures.record(access(cell="", status=404, reason="nothing"), None)
        figures.record(access(cell="", status=502, reason="no cell"), HERE)
        figures.record(access(), HERE)
        self.assertEqual(figures.total.requests, 3)
        self.assertEqual([(key, each.requests) for key, each in figures.mounts], [(HERE, 2)])
        self.assertEqual([(key, each.requests) for key, each in figures.cells], [("cell", 1)])
        self.assertEqual(figures.mounts.other.requests + figures.cells.other.requests, 0)

    def test_sums(self) -> None:
        """Bytes and seconds are added up; what went on in another protocol has no latency."""
        figures = Figures(Clock().seconds)
        figures.record(access(size=5, seconds=0.5), HERE)
        figures.record(access(size=7, seconds=1.0), HERE)
        figures.record(access(size=9, seconds=1000.0, status=101), HERE)
        found = figures.read(figures.total)
        self.assertEqual((found["requests"], found["bytes"], figures.total.took), (3, 21, 1.5))
        self.assertEqual(sum(figures.total.buckets), 2)
        self.assertLess(found["latency"]["p99"], 1.01)

    def test_unmounted(self) -> None:
        """What nothing is mounted for has no latency either: that nobody was asked takes no time."""
        figures = Figures(Clock().seconds)
        figures.record(access(cell="", status=404, reason="nothing", seconds=0.0), None)
        self.assertEqual(figures.read(figures.total)["latency"]["p50"], None)

    def test_nothing(self) -> None:
        """What was never asked for is told as well."""
        found = Figures(Clock().seconds).read(None)
        self.assertEqual((found["requests"], found["errors"], found["rates"]["60s"]), (0, 0, 0.0))
        self.assertEqual(found["latency"], {"p50": None, "p90": None, "p99": None})


class RatesTests(SynchronousTestCase):
    """Requests per second."""

    def setUp(self) -> None:
        """Something that has run for an hour."""
        self.clock = Clock()
        self.figures = Figures(self.clock.seconds)
        self.clock.advance(3600.0)

    def rates(self) -> tuple[float, ...]:
        """Those over 1, 10 and 60 s."""
        return tuple(self.figures.read(self.figures.total)["rates"].values())

    def run_for(self, seconds: int, each: int) -> None:
        """So many requests each second."""
        for _ in range(seconds):
            for _ in range(each):
                self.figures.record(access(), HERE)
            self.clock.advance(1.0)

    def test_windows(self) -> None:
        """They are those of whole seconds that are over, of three windows."""
        self.assertEqual(self.rates(), (0.0, 0.0, 0.0))
        self.run_for(60, 2)
        self.assertEqual(self.rates(), (2.0, 2.0, 2.0))
        self.run_for(1, 12)
        self.assertEqual(self.rates(), (12.0, 3.0, 2.167))
        self.figures.record(access(), HERE)
        self.assertEqual(self.rates(), (12.0, 3.0, 2.167))  # of a second that is not over
        self.clock.advance(1.0)
        self.assertEqual(self.rates(), (1.0, 2.9, 2.15))

    def test_past(self) -> None:
        """What is over does not come back, however long nothing has happened."""
        self.run_for(10, 5)
        for pause in (1.0, 8.0, 1.0, 49.0, 1.0, 3.0, 1.0, 63.0, 64.0, 65.0, 100_000.0):
            self.clock.advance(pause)
            self.figures.record(access(), HERE)
        self.clock.advance(1.0)
        self.assertEqual(self.rates(), (1.0, 0.1, 0.017))
        self.clock.advance(60.0)
        self.assertEqual(self.rates(), (0.0, 0.0, 0.0))

    def test_young(self) -> None:
        """Who has just begun measures over what there is."""
        self.figures = Figures(self.clock.seconds)
        self.run_for(5, 3)
        self.assertEqual(self.rates(), (3.0, 3.0, 3.0))

    def test_latency_forgotten(self) -> None:
        """Durations count for a minute, and not longer."""
        self.figures.record(access(seconds=10.0), HERE)
        self.clock.advance(49.0)
        self.run_for(1, 1)
        self.assertGreater(self.figures.total.latency(int(self.clock.seconds())).p99 or 0.0, 5.0)
        self.clock.advance(10.0)
        self.assertLess(self.figures.total.latency(int(self.clock.seconds())).p99 or 9.0, 0.1)
        self.clock.advance(60.0)
        self.assertIsNone(self.figures.total.latency(int(self.clock.seconds())).p99)
        self.assertEqual(sum(self.figures.total.buckets), 2)  # since the start

    @given(st.lists(st.tuples(st.floats(0.0, 30.0), st.integers(0, 3)), max_size=40))
    def test_any(self, steps: list[tuple[float, int]]) -> None:
        """Whenever requests come, the windows have those that came within them."""
        clock = Clock()
        figures = Figures(clock.seconds)
        came: list[int] = []
        for pause, count in steps:
            clock.advance(pause)
            for _ in range(count):
                figures.record(access(), HERE)
                came.append(int(clock.seconds()))
            now = int(clock.seconds())
            for window in (1, 10, 60):
                expected = sum(now - window <= second < now for second in came)
                self.assertEqual(figures.total.within(now, window), expected)


class SeriesTableTests(SynchronousTestCase):
    """A series for each of so many."""

    def test_limit(self) -> None:
        """For what there is no room counts as other."""
        table: SeriesTable[int] = SeriesTable(0, most=3)
        for key in range(5):
            table.of(key, 1).add(1, 1, 2, 0.1, 10)
        self.assertEqual(([key for key, _ in table], table.other.requests), ([0, 1, 2], 2))

    def test_room(self) -> None:
        """What was silent for a minute makes room, and counts as other then; that is looked for once a minute."""
        table: SeriesTable[int] = SeriesTable(0, most=2)
        for key in (0, 1):
            table.of(key, 1).add(1, 1, 2, 0.5, 10)
        table.of(0, 50).add(50, 1, 2, 0.5, 10)
        table.of(2, 70).add(70, 4, 3, 0.5, 1)  # so 1 has to go
        self.assertEqual([key for key, _ in table], [0, 2])
        other = table.other
        self.assertEqual((other.requests, other.size, other.took, sum(other.buckets)), (1, 10, 0.5, 1))
        self.assertEqual(other.within(70, 60), 0)
        self.assertIs(table.of(3, 129), table.other)
        self.assertIsNot(table.of(3, 135), table.other)
        self.assertEqual([key for key, _ in table], [3])

    def test_many(self) -> None:
        """A thousand are told apart, and no more, whatever is mounted."""
        figures = Figures(Clock().seconds)
        for number in range(1_500):
            figures.record(access(cell=f"{number}"), Pattern("example.org", f"/{number}/"))
        self.assertEqual((len(figures.mounts), len(figures.cells)), (1_000, 1_000))
        self.assertEqual((figures.mounts.other.requests, figures.cells.other.requests), (500, 500))
        self.assertEqual(figures.total.requests, 1_500)


class HistoryTests(SynchronousTestCase):
    """The last two minutes."""

    def test_seconds(self) -> None:
        """Each second has its own; those in which nothing happened, zeros."""
        clock = Clock()
        figures = Figures(clock.seconds)
        figures.record(access(seconds=0.02), HERE)
        figures.record(access(seconds=0.02, status=500), HERE)
        self.assertEqual(figures.history.read(0), [Moment(0, 0, None, None)] * REMEMBERED)  # it is not over
        clock.advance(3.5)
        figures.record(access(status=101), HERE)
        clock.advance(0.5)
        found = figures.history.read(4)
        self.assertEqual(len(found), REMEMBERED)
        self.assertEqual(found[-4][:2], (2, 1))
        self.assertTrue(0.015 < (found[-4].p50 or 0.0) < (found[-4].p99 or 0.0) <= 0.02)
        self.assertEqual(found[-3:], [(0, 0, None, None), (0, 0, None, None), (1, 0, None, None)])

    def test_forgotten(self) -> None:
        """What is longer ago is not told."""
        clock = Clock()
        figures = Figures(clock.seconds)
        for _ in range(500):
            figures.record(access(), HERE)
            clock.advance(1.0)
        self.assertEqual([each.requests for each in figures.history.read(500)], [1] * REMEMBERED)
        self.assertEqual([each.requests for each in figures.history.read(619)], [1] + [0] * (REMEMBERED - 1))
        self.assertEqual([each.requests for each in figures.history.read(10_000)], [0] * REMEMBERED)

    def test_silence(self) -> None:
        """Looking costs no memory, and takes the place of nothing."""
        clock = Clock()
        figures = Figures(clock.seconds)
        figures.record(access(), HERE)
        for _ in range(118):
            clock.advance(1.0)
            figures.history.read(int(clock.seconds()))
        clock.advance(2.0)
        self.assertEqual([each.requests for each in figures.history.read(120)], [1] + [0] * (REMEMBERED - 1))
        self.assertEqual(len(figures.history._past), 1)


class RecentTests(SynchronousTestCase):
    """Requests that are remembered."""

    def test_limits(self) -> None:
        """The last hundred, and the last fifty that have failed."""
        figures = Figures(Clock().seconds)
        for number in range(300):
            figures.record(access(target=f"/{number}", status=500 if number % 3 == 0 else 200), HERE)
        self.assertEqual([each.target for each in figures.recent], [f"/{number}" for number in range(200, 300)])
        self.assertEqual([each.target for each in figures.failed], [f"/{number}" for number in range(150, 300, 3)])
        self.assertEqual((len(figures.recent), len(figures.failed)), (MOST_RECENT, MOST_ERRORS))

    def test_short(self) -> None:
        """Of what clients say not more is kept than there is room for."""
        for field in ("method", "host", "target", "referer", "agent"):
            figures = Figures(Clock().seconds)
            figures.record(access(**{field: "x" * 100_000}), HERE)
            self.assertEqual(getattr(figures.recent[0], field), "x" * LONGEST)
            figures.record(access(**{field: "x" * LONGEST}), HERE)
            self.assertEqual(figures.recent[1], access(**{field: "x" * LONGEST}))


class SizeTests(SynchronousTestCase):
    """What it costs to remember."""

    def test_fixed(self) -> None:
        """A series does not grow with requests, nor with time."""
        series = Series(0)
        for second in range(0, 1000, 7):
            series.add(second, 1, 2, 0.1, 10)
        self.assertLessEqual(len(series._periods), 6)
        self.assertEqual(len(series._ring), 64)
