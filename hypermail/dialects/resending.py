"""
What was sent and waits for its acknowledgement: when to send it again, and how much more may leave meanwhile.

The round trip is measured by what was sent once (Karn's algorithm); the timeout follows it (RFC 6298 §2), doubles with
each repetition of the same datagram, and never passes C{delivery_timeout}, after which seed 001 repeats.

Two things make a repetition needless more often than loss makes it needed, where a process has much to do: it comes to
its timers late, before it has read what waits in its socket; and the peer does so with what it has to acknowledge. So
a timer that is late waits once more, a moment; and an acknowledgement that comes sooner behind a repetition than any
answer ever did is that of the first transmission (RFC 3522): it is a sample, and the window is as it was.
"""

from __future__ import annotations

from collections.abc import Hashable
from heapq import heapify, heappop, heappush
from typing import Generic, TypeVar

from hypermail.link.rtt import RoundTrip

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

#: s; nothing is repeated sooner than so long after the round trip: a peer needs time to answer, and a round trip that
#: is steady has no variation that would leave it any (RFC 6298 §2, G).
LEAST_MARGIN = 0.02

#: s by which a timer is late that has waited for something else, and for how long what was read meanwhile may be dealt
#: with then.
LATENESS = 0.005
MOMENT = 0.002
#: The share of the least round trip within which no answer to a repetition comes.
TOO_SOON = 0.5


class Window:
    """
    How many datagrams may be in flight: more by one for each window that is acknowledged, half as many after a
    repetition, once in a round trip.

    @param first: at the beginning; C{least} and C{most}: bounds.
    """

    __slots__ = ("_acked", "_before", "_least", "_most", "_reduced_at", "size")

    def __init__(self, first: int, least: int, most: int) -> None:
        self.size = first
        self._least = least
        self._most = most
        self._acked = 0
        self._before = first
        self._reduced_at = 0.0

    def acked(self) -> None:
        """One datagram more has arrived."""
        self._acked += 1
        if self._acked >= self.size:
            self._acked = 0
            self.size = min(self.size + 1, self._most)

    def repeated(self, now: float, round_trip: float) -> None:
        """One had to be sent again."""
        if now - self._reduced_at > round_trip:
            self._reduced_at = now
            self._before = self.size
            self.size = max(self.size // 2, self._least)

    def restore(self) -> None:
        """It was repeated in vain: nothing was lost."""
        self.size = max(self.size, self._before)


class _Sent(Generic[V]):
    """One datagram in flight."""

    __slots__ = ("at", "datagram", "due", "last", "owner", "tries")

    def __init__(self, datagram: bytes, owner: V, now: float) -> None:
        self.datagram = datagram
        self.owner = owner
        self.at = self.last = now
        self.due = now
        self.tries = 1


class InFlight(Generic[K, V]):
    """
    Datagrams by a key that their acknowledgements name, with whatever owner each has.

    @param window: how many there may be.
    @param delivery_timeout: s.
    @ivar rtt: as measured.
    @ivar bytes: of the datagrams.
    @ivar repeated: how many were sent again.
    """

    __slots__ = ("_delivery_timeout", "_due", "_not_before", "_sent", "bytes", "repeated", "rtt", "window")

    def __init__(self, window: Window, delivery_timeout: float) -> None:
        self.window = window
        self._delivery_timeout = delivery_timeout
        self._sent: dict[K, _Sent[V]] = {}
        self._due: list[tuple[float, int, K]] = []
        self._not_before: float | None = None
        self.rtt = RoundTrip()
        self.bytes = 0
        self.repeated = 0

    def __len__(self) -> int:
        return len(self._sent)

    def __contains__(self, key: K) -> bool:
        return key in self._sent

    @property
    def room(self) -> int:
        """How many more may leave."""
        return self.window.size - len(self._sent)

    @property
    def keys(self) -> tuple[K, ...]:
        """Of all of them, in the order in which they were sent first."""
        return tuple(self._sent)

    @property
    def oldest(self) -> K | None:
        """The key of the one that was sent first."""
        return next(iter(self._sent), None)

    def timeout(self, tries: int) -> float:
        """s after which a datagram that was sent so often is sent again."""
        rtt = self.rtt
        first = rtt.smoothed + max(4 * rtt.variation, LEAST_MARGIN)
        return min(first * 2.0 ** min(tries - 1, 30), self._delivery_timeout)

    def add(self, key: K, datagram: bytes, owner: V, now: float) -> None:
        """One leaves."""
        sent = self._sent[key] = _Sent(datagram, owner, now)
        self.bytes += len(datagram)
        self._arm(key, sent, now + self.timeout(1))

    def acked(self, key: K, now: float) -> V | None:
        """
        One was acknowledged.

        @return: its owner; None when it is not in flight.
        """
        sent = self._sent.pop(key, None)
        if sent is None:
            return None
        self.bytes -= len(sent.datagram)
        if sent.tries == 1:
            self.rtt.sample(max(now - sent.at, 0.0), 0.0)
        elif sent.tries == 2 and self.rtt.measured and now - sent.last < self.rtt.least * TOO_SOON:
            self.rtt.sample(now - sent.at, 0.0)
            self.window.restore()
        self.window.acked()
        return sent.owner

    def drop(self, key: K) -> None:
        """Send one no more."""
        sent = self._sent.pop(key, None)
        if sent is not None:
            self.bytes -= len(sent.datagram)

    def hurry(self, key: K, now: float) -> None:
        """The peer misses one: it is due at once."""
        sent = self._sent.get(key)
        if sent is not None:
            self._arm(key, sent, now)

    def due(self, now: float, most: int) -> list[bytes]:
        """Datagrams that are to be sent again now, C{most} at once."""
        datagrams: list[bytes] = []
        if self._is_late(now):
            return datagrams
        while len(datagrams) < most and (deadline := self._next_due()) is not None and deadline <= now:
            key = heappop(self._due)[2]
            sent = self._sent[key]
            sent.tries += 1
            sent.last = now
            self.window.repeated(now, self.rtt.smoothed)
            self._arm(key, sent, now + self.timeout(sent.tries))
            datagrams.append(sent.datagram)
        self.repeated += len(datagrams)
        return datagrams

    def _is_late(self, now: float) -> bool:
        """Whether the time has come long ago, so that what has arrived meanwhile is to be read first."""
        deadline = self._next_due()
        if deadline is None or now - deadline < LATENESS:
            self._not_before = None
        elif self._not_before is None:
            self._not_before = now + MOMENT
        return self._not_before is not None and now < self._not_before

    def tries(self, key: K) -> int:
        """How often one that is in flight was sent."""
        return self._sent[key].tries

    def next_timeout(self) -> float | None:
        """s when the next one is due; None while nothing is in flight."""
        deadline = self._next_due()
        if deadline is not None and self._not_before is not None:
            return max(deadline, self._not_before)
        return deadline

    def _next_due(self) -> float | None:
        due, sent = self._due, self._sent
        while due:
            at, tries, key = due[0]
            found = sent.get(key)
            if found is not None and found.due == at and found.tries == tries:
                return at
            heappop(due)
        return None

    def clear(self) -> None:
        """Nothing is waited for any more."""
        self._sent.clear()
        self._due.clear()
        self._not_before = None
        self.bytes = 0

    def _arm(self, key: K, sent: _Sent[V], at: float) -> None:
        sent.due = at
        heappush(self._due, (at, sent.tries, key))
        if len(self._due) > 2 * len(self._sent) + 64:  # most entries are of datagrams that have arrived
            self._due = [(each.due, each.tries, key) for key, each in self._sent.items()]
            heapify(self._due)
