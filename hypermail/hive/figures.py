"""
Figures of a queen's requests: how many there are, how long they take, and what becomes of them (C{docs/protocol/hive},
"Status").

Each request costs a few additions. Everything else is reckoned when somebody looks, and nothing grows with what
strangers send: there are so many L{Series}, each of a fixed size, and so many requests that are remembered.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from hypermail.hive.access import Access
from hypermail.hive.mounts import Pattern

#: s: upper bounds of the buckets that durations are counted in; there is one more, for all that took longer.
BOUNDS = tuple(
    round(digit * scale, 6)
    for scale in (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
    for digit in (1.0, 1.5, 2.0, 3.0, 5.0, 7.5)
    if digit * scale <= 60.0
)
#: s over which rates are measured.
WINDOWS = (1, 10, 60)
#: What becomes of requests: the class of the status of a cell's response; C{refused} by the queen herself, with an
#: error; C{cut}, which have no whole response, since the client or the cell has gone.
KINDS = ("1xx", "2xx", "3xx", "4xx", "5xx", "refused", "cut")
#: Parts of the requests of which durations are told.
PARTS = (0.5, 0.9, 0.99)

#: Series of one table.
MOST_SERIES = 1_000
#: Requests that are remembered; errors, besides.
MOST_RECENT = 100
MOST_ERRORS = 50
#: s of which L{History} knows.
REMEMBERED = 120
#: Characters of what a client has said that are remembered.
LONGEST = 200

_REFUSED, _CUT = KINDS.index("refused"), KINDS.index("cut")
_SERVER_ERROR = 500
_CLIENT_ERROR = 400
_RING = 64  # s of which requests are counted one by one; more than the longest window, and a power of two
_PERIOD = 10  # s: durations are those of this one and the last few, of the last minute about
_PERIODS = 6


class Latency(NamedTuple):
    """How long requests took, in s: half of them not longer than C{p50}, and so on. None when there were none."""

    p50: float | None
    p90: float | None
    p99: float | None


def latency(buckets: Sequence[int]) -> Latency:
    """
    What counts tell, evenly distributed within each bucket.

    @param buckets: one for each of L{BOUNDS}, and one more, of which nothing but the last bound is known.
    """
    total = sum(buckets)
    return Latency(*(_quantile(buckets, part * total) if total else None for part in PARTS))


def _quantile(buckets: Sequence[int], rank: float) -> float:
    below, lower = 0, 0.0
    for count, upper in zip(buckets, BOUNDS, strict=False):
        if below + count >= rank:
            return lower + (upper - lower) * (rank - below) / count if count else upper
        below += count
        lower = upper
    return BOUNDS[-1]


class Series:
    """
    Of some of the requests.

    @param second: of the clock, now.
    @ivar kinds: requests since the start, by L{KINDS}.
    @ivar size: bytes of the bodies of their responses.
    @ivar took: s, all together, but for those that went on in another protocol, or were for nothing that is mounted.
    @ivar buckets: how many took how long, by L{BOUNDS}; likewise.
    """

    __slots__ = ("_current", "_period", "_periods", "_ring", "_second", "buckets", "kinds", "size", "took")

    def __init__(self, second: int) -> None:
        self.kinds = [0] * len(KINDS)
        self.size = 0
        self.took = 0.0
        self.buckets = [0] * (len(BOUNDS) + 1)
        self._second = second
        self._ring = [0] * _RING  # requests of the last seconds
        self._period = second // _PERIOD
        self._current = [0] * len(self.buckets)  # of this period
        self._periods: deque[tuple[int, list[int]]] = deque([(self._period, self._current)], _PERIODS)

    @property
    def requests(self) -> int:
        """Since the start."""
        return sum(self.kinds)

    @property
    def errors(self) -> int:
        """Those that have failed: 5xx, refused, or cut."""
        return sum(self.kinds[4:])

    def add(self, second: int, kind: int, bucket: int, seconds: float, size: int) -> None:
        """One more. @param bucket: -1 to leave its duration out."""
        if second != self._second:
            self._turn(second)
        self._ring[second % _RING] += 1
        self.kinds[kind] += 1
        self.size += size
        if bucket >= 0:
            self.took += seconds
            self.buckets[bucket] += 1
            self._current[bucket] += 1

    def fold(self, other: Series) -> None:
        """Those of another one are of this one, too; of the past, so that they count in no window."""
        self.kinds = [ours + theirs for ours, theirs in zip(self.kinds, other.kinds, strict=True)]
        self.buckets = [ours + theirs for ours, theirs in zip(self.buckets, other.buckets, strict=True)]
        self.size += other.size
        self.took += other.took

    def unfold(self, other: Series) -> None:
        """What L{fold} does, undone."""
        self.kinds = [ours - theirs for ours, theirs in zip(self.kinds, other.kinds, strict=True)]
        self.buckets = [ours - theirs for ours, theirs in zip(self.buckets, other.buckets, strict=True)]
        self.size -= other.size
        self.took -= other.took

    def within(self, second: int, window: int) -> int:
        """Requests of the last whole seconds. @param window: how many."""
        if second != self._second:
            self._turn(second)
        begin, end = (second - window) % _RING, second % _RING
        if begin < end:
            return sum(self._ring[begin:end])
        return sum(self._ring[begin:]) + sum(self._ring[:end])

    def idle(self, second: int) -> bool:
        """Whether there was none in any window."""
        self._turn(second)
        return not any(self._ring)

    def latency(self, second: int) -> Latency:
        """Of the last 50 to 60 s."""
        oldest = second // _PERIOD - _PERIODS
        recent = [buckets for period, buckets in self._periods if period > oldest]
        return latency([sum(counts) for counts in zip(*recent, strict=True)])

    def _turn(self, second: int) -> None:
        """Time has gone by."""
        for past in range(max(self._second + 1, second - _RING + 1), second + 1):
            self._ring[past % _RING] = 0
        self._second = max(self._second, second)
        if second // _PERIOD > self._period:
            self._period = second // _PERIOD
            self._current = [0] * len(self.buckets)
            self._periods.append((self._period, self._current))


K = TypeVar("K")


class SeriesTable(Generic[K]):
    """
    A series for each of many things, but not for more than L{MOST_SERIES}. When there are as many, those of which there
    was nothing for a minute make room.

    @ivar other: of everything for which there is no room, and of what had to make some.
    """

    def __init__(self, second: int, most: int = MOST_SERIES) -> None:
        self.other = Series(second)
        self._most = most
        self._series: dict[K, Series] = {}
        self._swept = second

    def of(self, key: K, second: int) -> Series:
        """The one to add to."""
        found = self._series.get(key)
        return self._new(key, second) if found is None else found

    def get(self, key: K) -> Series | None:
        """None when there was nothing of it."""
        return self._series.get(key)

    def __iter__(self) -> Iterator[tuple[K, Series]]:
        return iter(self._series.items())

    def __len__(self) -> int:
        return len(self._series)

    def _new(self, key: K, second: int) -> Series:
        if len(self._series) >= self._most:
            self._sweep(second)
            if len(self._series) >= self._most:
                return self.other
        made = self._series[key] = Series(second)
        return made

    def _sweep(self, second: int) -> None:
        if second < self._swept + WINDOWS[-1]:
            return
        self._swept = second
        for key, series in list(self._series.items()):
            if series.idle(second):
                self.other.fold(self._series.pop(key))


class Moment(NamedTuple):
    """One second: its requests, those of them that have failed, and how long they took, in s."""

    requests: int
    errors: int
    p50: float | None
    p99: float | None


_NOTHING = Moment(0, 0, None, None)


class History:
    """All requests, second by second."""

    def __init__(self, second: int) -> None:
        self._past: deque[tuple[int, Moment]] = deque(maxlen=REMEMBERED)
        self._second = second
        self._begin()

    def add(self, second: int, bucket: int, failed: bool) -> None:
        """One more request. @param bucket: -1 to leave its duration out."""
        if second != self._second:
            self._turn(second)
        self._requests += 1
        self._errors += failed
        if bucket >= 0:
            self._buckets[bucket] += 1

    def read(self, second: int) -> list[Moment]:
        """The last L{REMEMBERED} whole seconds, the oldest first."""
        if second != self._second:
            self._turn(second)
        known = dict(self._past)
        return [known.get(past, _NOTHING) for past in range(second - REMEMBERED, second)]

    def _begin(self) -> None:
        self._requests = self._errors = 0
        self._buckets = [0] * (len(BOUNDS) + 1)

    def _turn(self, second: int) -> None:
        if self._requests:
            p50, _, p99 = latency(self._buckets)
            self._past.append((self._second, Moment(self._requests, self._errors, p50, p99)))
            self._begin()
        self._second = second


class Figures:
    """
    @param seconds: the clock, which does not go back.
    @ivar total: of all requests.
    @ivar mounts: by what they were mounted on, where that was anything.
    @ivar cells: by the names of those who had them.
    @ivar history: of all, by the second.
    @ivar recent: the last requests, the oldest first.
    @ivar failed: the last of those that a cell has not answered, or not to the end, or with 5xx; likewise.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._began = seconds()
        second = int(self._began)
        self.total = Series(second)
        self.mounts: SeriesTable[Pattern] = SeriesTable(second)
        self.cells: SeriesTable[str] = SeriesTable(second)
        self.history = History(second)
        self.recent: deque[Access] = deque(maxlen=MOST_RECENT)
        self.failed: deque[Access] = deque(maxlen=MOST_ERRORS)

    def record(self, access: Access, pattern: Pattern | None) -> None:
        """A request is over. @param pattern: what it was mounted on; None for nothing."""
        second = int(self._seconds())
        status = access.status
        if access.reason or not status:
            kind = _REFUSED if status >= _CLIENT_ERROR else _CUT
        else:
            kind = status // 100 - 1
        seconds, size = access.seconds, access.size
        # What nobody has mounted takes no time; what went on in another protocol, as long as that was wanted.
        bucket = -1 if pattern is None or not kind else bisect_left(BOUNDS, seconds)
        self.total.add(second, kind, bucket, seconds, size)
        if pattern is not None:
            self.mounts.of(pattern, second).add(second, kind, bucket, seconds, size)
        if access.cell:
            self.cells.of(access.cell, second).add(second, kind, bucket, seconds, size)
        failed = kind >= _REFUSED or status >= _SERVER_ERROR
        self.history.add(second, bucket, failed)
        access = _shortened(access)
        self.recent.append(access)
        if failed:
            self.failed.append(access)

    def read(self, series: Series | None) -> dict[str, Any]:
        """
        A series as it is told.

        @param series: None for one of which there was nothing.
        @return: C{requests}, C{errors} and C{bytes} since the start; C{responses}, by L{KINDS}; C{rates}, requests per
            second over each of L{WINDOWS}; C{latency}, s, over the last minute.
        """
        now = self._seconds()
        second = int(now)
        series = series or Series(second)
        return {
            "requests": series.requests,
            "errors": series.errors,
            "bytes": series.size,
            "responses": dict(zip(KINDS, series.kinds, strict=True)),
            "rates": {f"{window}s": self._rate(series, second, window) for window in WINDOWS},
            "latency": series.latency(second)._asdict(),
        }

    def _rate(self, series: Series, second: int, window: int) -> float:
        """Requests per second; over less than the window when there was less."""
        seconds = max(min(window, second - int(self._began)), 1)
        return round(series.within(second, window) / seconds, 3)


def _shortened(access: Access) -> Access:
    """So that nobody makes us remember more than some kilobytes."""
    if (
        len(access.target) <= LONGEST
        and len(access.agent) <= LONGEST
        and len(access.host) <= LONGEST
        and len(access.referer) <= LONGEST
        and len(access.method) <= LONGEST
    ):
        return access
    return access._replace(
        method=access.method[:LONGEST],
        host=access.host[:LONGEST],
        target=access.target[:LONGEST],
        referer=access.referer[:LONGEST],
        agent=access.agent[:LONGEST],
    )
