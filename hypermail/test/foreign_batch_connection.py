"""
A connection of the foreign peer of the C{batch} dialect; see L{hypermail.test.foreign_batch}.
"""

from __future__ import annotations

import random
import struct
from collections import Counter, deque
from dataclasses import dataclass, replace
from enum import Enum

from hypermail.test.foreign_batch_packets import (
    BATCH_NUMBERS,
    CLOSE,
    CONNECT,
    CONNECT_ACK,
    DATA,
    DATA_ACK,
    DATA_PAYLOAD,
    DIRECT,
    DIRECT_PAYLOAD,
    FIRST,
    LAST,
    MANGLING,
    PACKET_NUMBERS,
    PING,
    PING_ACK,
    RECEIVE_BUFFER,
    REPEAT,
    VERSION,
    ForeignBatchAssembly,
    ForeignBatchPacket,
    straddles,
    write,
)
from hypermail.test.foreign_link import ForeignAddress, ForeignCrash, ForeignDatagram

FLIGHT_PACKETS = 10
FLIGHT_BYTES = 8_196

REMEMBERED = 8_192
"""How many packet numbers are remembered, to know what comes twice."""


@dataclass(frozen=True)
class ForeignBatchOptions:
    """
    The original's options, and in what its copies may differ. Times are in seconds.

    @ivar connection_timeout: How long a starter waits for the Connect ack.
    @ivar ping_interval: How long a tick takes.
    @ivar ping_packet_count: With what the countdown begins.
    @ivar scan_least: The least time between two scans.
    @ivar scan_most: The most time between two scans.
    @ivar settling: How long a listener acknowledges nothing after its Connect ack.
    @ivar burst: How many full packets it can receive within 1 ms; L{None} leaves that to the kernel.
    @ivar straddling: Whether it sends batches that straddle the numbers at which its own receiver mangles them. The
        original does.
    @ivar repeats: Whether it understands and sends requests to repeat, as the seed says and the original does not.
    @ivar first_packet: The first packet number that is sent.
    @ivar first_batch: The first batch number that is sent.
    @ivar first_id: The first connection id.
    @ivar seed: Where the random numbers begin.
    """

    connection_timeout: float = 10.0
    ping_interval: float = 5.0
    ping_packet_count: int = 4
    scan_least: float = 5.0
    scan_most: float = 5.5
    settling: float = 0.02
    burst: int | None = 10
    straddling: bool = True
    repeats: bool = False
    first_packet: int = 1
    first_batch: int = 1
    first_id: int = 1
    seed: int = 0

    def at_scale(self, scale: float) -> ForeignBatchOptions:
        """The same with other times: 0.04 makes 0.2 s of the original's 5 s."""
        return replace(
            self,
            connection_timeout=self.connection_timeout * scale,
            ping_interval=self.ping_interval * scale,
            scan_least=self.scan_least * scale,
            scan_most=self.scan_most * scale,
        )


class ForeignBatchState(Enum):
    """The states of a connection."""

    CONNECTING = "connecting"
    OPEN = "open"
    FAILED = "failed"
    CLOSED = "closed"


class ForeignBatchConnection:
    """
    One connection.

    @ivar id: Its id here.
    @ivar peer: Where the other end listens.
    @ivar state: Its state.
    @ivar why: What closed it: C{"here"}, C{"there"} or C{"pings"}.
    @ivar delivered: The messages that came, in order of completion.
    @ivar directs: The Direct messages that came.
    @ivar sent: How many messages were given to L{send}.
    @ivar acknowledged: How many of them were acknowledged wholly.
    @ivar counts: What else happened, by name.
    """

    def __init__(self, id: int, peer: ForeignAddress, options: ForeignBatchOptions, chance: random.Random) -> None:
        """
        @param id: Its id here.
        @param peer: Where the other end listens.
        @param options: The options.
        @param chance: Says how long a scan takes.
        """
        self.id = id
        self.peer = peer
        self.state = ForeignBatchState.CONNECTING
        self.why: str | None = None
        self.delivered: list[bytes] = []
        self.directs: list[bytes] = []
        self.sent = 0
        self.acknowledged = 0
        self.counts: Counter[str] = Counter()
        self.out: list[ForeignDatagram] = []
        self._options = options
        self._chance = chance
        self._remote: int | None = None
        self._settled = 0.0
        self._gives_up: float | None = None
        self._tick: float | None = None
        self._scan: float | None = None
        self._countdown = options.ping_packet_count
        self._heard = False
        self._next_packet = options.first_packet
        self._next_batch = options.first_batch
        self._queue: deque[tuple[int, int, bytes]] = deque()
        self._flight: dict[int, tuple[int, bytes]] = {}
        self._remaining: dict[int, int] = {}
        self._seen: set[int] = set()
        self._seen_order: deque[int] = deque()
        self._highest = (options.first_packet - 1) % PACKET_NUMBERS
        self._batches: dict[int, ForeignBatchAssembly] = {}

    def __repr__(self) -> str:
        """What is of interest when a test waits in vain."""
        return (
            f"<connection {self.id} {self.state.value} ({self.why}), delivered {len(self.delivered)}, "
            f"acknowledged {self.acknowledged} of {self.sent}, in flight {sorted(self._flight)}, {dict(self.counts)}>"
        )

    def start(self, now: float, port: int) -> None:
        """Say Connect, once."""
        packet = write(CONNECT, port, self.id, VERSION, RECEIVE_BUFFER)
        self.out.append(ForeignDatagram(packet, self.peer))
        self._gives_up = now + self._options.connection_timeout

    def accept(self, now: float, remote: int) -> None:
        """Answer a Connect."""
        self._settled = now + self._options.settling
        self._open(now, remote)
        self._emit(write(CONNECT_ACK, remote, self.id, RECEIVE_BUFFER))

    def send(self, now: float, message: bytes) -> None:
        """Send a message: a batch."""
        parts = [message[at : at + DATA_PAYLOAD] for at in range(0, len(message), DATA_PAYLOAD)] or [b""]
        if not self._options.straddling and straddles(self._next_packet, len(parts)):
            self._next_packet = MANGLING if self._next_packet < MANGLING else 0
        for index, part in enumerate(parts):
            flags = (FIRST if not index else 0) | (LAST if index == len(parts) - 1 else 0)
            head = (self._next_packet, self._next_batch, flags)
            self._queue.append((self._next_packet, self.sent, struct.pack(">IBB", *head) + part))
            self._next_packet = (self._next_packet + 1) % PACKET_NUMBERS
        self._next_batch = (self._next_batch + 1) % BATCH_NUMBERS
        self._remaining[self.sent] = len(parts)
        self.sent += 1
        self._pump()

    def direct(self, message: bytes) -> None:
        """Send a Direct message, of at most 971 bytes."""
        if len(message) > DIRECT_PAYLOAD or self._remote is None:
            raise ValueError("a Direct message that is too long, or too early")
        self._emit(write(DIRECT, self._remote, payload=message))

    def close(self, why: str = "here") -> None:
        """Say Close; what is queued is forgotten, but what is in flight is still sent again."""
        if self.state is ForeignBatchState.OPEN and self._remote is not None:
            self._emit(write(CLOSE, self._remote))
        self._shut(why)

    @property
    def due(self) -> float | None:
        """When L{wake} is to be called next."""
        times = (self._gives_up, self._tick, self._scan)
        return min((when for when in times if when is not None), default=None)

    def wake(self, now: float) -> None:
        """Give up, tick or scan, if it is time."""
        if self._gives_up is not None and now >= self._gives_up:
            self._gives_up = None
            self.state = ForeignBatchState.FAILED
        if self._tick is not None and now >= self._tick:
            self._tick = now + self._options.ping_interval
            self._ticked()
        if self._scan is not None and now >= self._scan:
            for number in self._flight:
                self._resend(number)
            over = self.state is ForeignBatchState.CLOSED and not self._flight
            self._scan = None if over else self._next_scan(now)

    def receive(self, now: float, packet: ForeignBatchPacket) -> None:
        """Take a packet with this connection's id; Connect is not one."""
        if packet.kind == CONNECT_ACK:
            self._acknowledged_connect(now, packet.fields[1])
        elif packet.kind == DATA_ACK:
            self._acknowledged_data(packet.fields[1])
        elif self.state is not ForeignBatchState.OPEN or self._remote is None:
            self.counts[f"type {packet.kind} while {self.state.value}"] += 1
        elif packet.kind == CLOSE:
            self._shut("there")
        elif packet.kind == DATA:
            self._data(now, self._remote, packet)
        elif packet.kind == REPEAT:
            self._repeat(packet.payload)
        elif packet.kind == DIRECT:
            self.directs.append(packet.payload)
        elif packet.kind == PING:
            self._emit(write(PING_ACK, self._remote, packet.fields[1]))
        elif packet.kind == PING_ACK:
            self._countdown = self._options.ping_packet_count
        self._heard = True

    def _open(self, now: float, remote: int) -> None:
        self._remote = remote
        self.state = ForeignBatchState.OPEN
        self._gives_up = None
        self._tick = now + self._options.ping_interval
        self._scan = self._next_scan(now)
        self._pump()

    def _shut(self, why: str) -> None:
        if self.state is not ForeignBatchState.CLOSED:
            self.why = why
        self.state = ForeignBatchState.CLOSED
        self._queue.clear()
        self._gives_up = self._tick = None

    def _next_scan(self, now: float) -> float:
        return now + self._chance.uniform(self._options.scan_least, self._options.scan_most)

    def _emit(self, packet: bytes) -> None:
        self.out.append(ForeignDatagram(packet, self.peer, self.id))

    def _acknowledged_connect(self, now: float, remote: int) -> None:
        if self.state is ForeignBatchState.CONNECTING:
            self._open(now, remote)
        elif remote != self._remote:
            self.counts["other Connect acks"] += 1

    def _ticked(self) -> None:
        if self._heard:
            self._heard = False
        elif self._countdown == 0:
            self.close("pings")
        else:
            if self._countdown < self._options.ping_packet_count and self._remote is not None:
                self._emit(write(PING, self._remote, self._countdown))
            self._countdown -= 1

    def _pump(self) -> None:
        while self.state is ForeignBatchState.OPEN and self._queue and self._has_room():
            number, message, rest = self._queue.popleft()
            assert self._remote is not None
            self._flight[number] = (message, struct.pack(">BI", DATA, self._remote) + rest)
            self._emit(self._flight[number][1])

    def _has_room(self) -> bool:
        size = sum(len(packet) for _, packet in self._flight.values())
        return len(self._flight) < FLIGHT_PACKETS and size < FLIGHT_BYTES

    def _resend(self, number: int) -> None:
        if number in self._flight:
            self.counts["resent"] += 1
            self._emit(self._flight[number][1])

    def _acknowledged_data(self, number: int) -> None:
        if number not in self._flight:
            self.counts["acks of nothing"] += 1
            return
        message, _ = self._flight.pop(number)
        self._remaining[message] -= 1
        if not self._remaining[message]:
            del self._remaining[message]
            self.acknowledged += 1
        self._pump()

    def _data(self, now: float, remote: int, packet: ForeignBatchPacket) -> None:
        _, number, batch, flags = packet.fields
        if flags & ~(FIRST | LAST):
            self.counts["other flags"] += 1
            return
        if now < self._settled:
            self.counts["too early to acknowledge"] += 1
        else:
            self._emit(write(DATA_ACK, remote, number))
        if number in self._seen:
            self._again(number, batch)
            return
        self._remember(remote, number)
        assembly = self._batches.setdefault(batch, ForeignBatchAssembly())
        message = assembly.add(number, flags, packet.payload)
        if message is not None:
            del self._batches[batch]
            self.delivered.append(message)

    def _again(self, number: int, batch: int) -> None:
        """It is a hazard when a packet comes again while a newer batch with the same number is incomplete."""
        self.counts["duplicates"] += 1
        if batch in self._batches and number not in self._batches[batch].parts:
            self.counts["reused batch numbers"] += 1

    def _remember(self, remote: int, number: int) -> None:
        self._seen.add(number)
        self._seen_order.append(number)
        if len(self._seen_order) > REMEMBERED:
            self._seen.discard(self._seen_order.popleft())
        ahead = (number - self._highest) % PACKET_NUMBERS
        if ahead >= PACKET_NUMBERS // 2:
            return
        missing = [(self._highest + step) % PACKET_NUMBERS for step in range(1, ahead)]
        self._highest = number
        if missing and self._options.repeats:
            self.counts["asked to repeat"] += len(missing)
            self._emit(write(REPEAT, remote, payload=struct.pack(f">{len(missing)}I", *missing)))

    def _repeat(self, payload: bytes) -> None:
        if payload and not self._options.repeats:
            raise ForeignCrash("a request to repeat")
        for (number,) in struct.iter_unpack(">I", payload):
            self._resend(number)
