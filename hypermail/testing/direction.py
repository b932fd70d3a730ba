"""
One direction between two hosts: its conditions, its bottleneck, its chance.
"""

from __future__ import annotations

from collections import deque
from random import Random
from typing import NamedTuple

from hypermail.link.ecn import CE, NOT_ECT
from hypermail.testing.conditions import Conditions, Counters

#: Bytes of IP and UDP headers, by the version of IP.
HEADERS_IPV4 = 28
HEADERS_IPV6 = 48


class Arrival(NamedTuple):
    """
    A copy of a datagram that will arrive.

    @ivar when: s.
    @ivar ecn: the codepoint of explicit congestion notification that it bears then.
    """

    when: float
    datagram: bytes
    ecn: int


class Direction:
    """
    What carries datagrams from one host to another.

    @param random: this direction's own chance.
    @param start: s when the network began, which the times of blackholes count from.
    @param headers: bytes that each datagram has on the wire besides its payload.

    @ivar conditions: may be replaced at any time; what is on its way isn't touched by that.
    @ivar counters: what has happened so far.
    """

    def __init__(self, conditions: Conditions, random: Random, start: float, headers: int) -> None:
        self.conditions = conditions
        self.counters = Counters()
        self._random = random
        self._start = start
        self._headers = headers
        self._run = 0  # datagrams that are still to be lost in this run
        self._run_over = False
        self._free_at = start
        self._queue: deque[tuple[float, int]] = deque()  # (when it has left, bytes)
        self._queued_bytes = 0
        self._last_arrival = start

    def carry(self, datagram: bytes, now: float, ecn: int = NOT_ECT) -> list[Arrival]:
        """
        A datagram enters.

        @param now: s; never less than before.
        @param ecn: the codepoint that it bears.
        @return: each copy that will arrive.
        """
        conditions, counters = self.conditions, self.counters
        size = len(datagram)
        counters.sent += 1
        counters.sent_bytes += size
        if conditions.blackholes and any(hole.covers(now - self._start) for hole in conditions.blackholes):
            counters.blackholed += 1
            return []
        size += self._headers
        if conditions.mtu is not None and size > conditions.mtu:
            counters.oversized += 1
            return []
        becomes = conditions.codepoints[ecn]
        if becomes is None or self._loses():
            counters.lost += 1
            counters.lost_bytes += len(datagram)
            return []
        if conditions.bandwidth is not None:
            left = self._queue_up(size, conditions.bandwidth, now)
            if left is None:
                counters.overflowed += 1
                return []
            if becomes != NOT_ECT and self._marks():
                counters.marked += 1
                becomes = CE
            now = left
        copies = [self._travel(datagram, now, becomes)]
        if conditions.duplication and self._random.random() < conditions.duplication:
            counters.duplicated += 1
            copies.append(self._travel(datagram, now, becomes))
        return copies

    def _marks(self) -> bool:
        """Whether the queue, with the datagram that came last, is so long that it says so."""
        limit = self.conditions.mark_bytes
        return limit is not None and self._queued_bytes > limit

    def _loses(self) -> bool:
        conditions = self.conditions
        if self.counters.sent in conditions.lost_numbers:
            return True
        if not conditions.loss:
            self._run = 0
            return False
        if conditions.longest_loss is None:
            return self._random.random() < conditions.loss
        if self._run:
            self._run -= 1
            self._run_over = self._run == 0
            return True
        if self._run_over:
            self._run_over = False  # one passes between two runs
            return False
        if self._random.random() >= conditions.loss_run_probability:
            return False
        self._run = self._random.randint(1, conditions.longest_loss) - 1
        self._run_over = self._run == 0
        return True

    def _queue_up(self, size: int, bandwidth: float, now: float) -> float | None:
        """
        Stand in the bottleneck's queue.

        @return: s when the datagram has left it, or None when the queue is full.
        """
        queue = self._queue
        while queue and queue[0][0] <= now:
            self._queued_bytes -= queue.popleft()[1]
        conditions = self.conditions
        if conditions.queue_datagrams is not None and len(queue) >= conditions.queue_datagrams:
            return None
        if conditions.queue_bytes is not None and self._queued_bytes + size > conditions.queue_bytes:
            return None
        self._free_at = max(self._free_at, now) + size * 8 / bandwidth
        self._queued_bytes += size
        queue.append((self._free_at, size))
        return self._free_at

    def _travel(self, datagram: bytes, now: float, ecn: int) -> Arrival:
        """One copy's way from the bottleneck to its arrival."""
        conditions, random = self.conditions, self._random
        arrival = now + conditions.delay
        if conditions.jitter:
            arrival += random.random() * conditions.jitter
            if not conditions.jitter_overtakes:
                arrival = self._last_arrival = max(arrival, self._last_arrival)
        if conditions.reordering and random.random() < conditions.reordering:
            self.counters.reordered += 1
            least, most = conditions.reordering_delay
            arrival += least + random.random() * (most - least)
        if conditions.corruption and datagram and random.random() < conditions.corruption:
            self.counters.corrupted += 1
            datagram = self._corrupt(datagram)
        return Arrival(arrival, datagram, ecn)

    def _corrupt(self, datagram: bytes) -> bytes:
        """Change one byte: half of the time a single bit of it, else to any other value."""
        changed = bytearray(datagram)
        at = self._random.randrange(len(changed))
        single = self._random.random() < 0.5
        changed[at] ^= 1 << self._random.randrange(8) if single else self._random.randint(1, 255)
        return bytes(changed)
