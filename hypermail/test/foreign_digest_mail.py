"""
What both foreign ends of the C{digest} dialect have: an identity, an order count, and data that is sent until it is
acknowledged; see L{hypermail.test.foreign_digest}.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, replace

from hypermail.test.foreign_digest_packets import (
    ACK,
    ANSWERS,
    BAD_ACK,
    BILLION,
    DATA_ACK,
    DATA_NOACK,
    DIGEST_SIZE,
    ETC_UTC,
    STAMPED,
    ForeignDigestPacket,
    ForeignZone,
    seal,
    unseal,
    when_of,
)
from hypermail.test.foreign_link import ForeignAddress, ForeignCrash, ForeignDatagram

ORDER_COUNTS = 1 << 64

REMEMBERED = 8_192
"""How many digests are remembered, to know what comes twice."""

BAD_ACK_INTERVAL = 0.01
"""The least time between two BAD_ACKs, in seconds."""

WALL = 1_790_000_000.0
"""What the calendar says in virtual time, in seconds since 1970, when that is 0."""


@dataclass(frozen=True)
class ForeignDigestOptions:
    """
    In what ends differ. Times are in seconds.

    @ivar strict: Whether it is like the library: it says HELLO once, takes what comes first for the answer, and fails
        when a datagram is malformed. On a bad link, one that is not strict repeats HELLO, and drops the rest.
    @ivar ping_interval: How often a client sends PING.
    @ivar ping_steps: Whether a server answers PING with PANG (3), as the library does, or PONG (2), as the seed says.
    @ivar silence: After how long without a packet the other end is gone.
    @ivar repeat: After how long HELLO, DISCONNECT and DATA_ACK are sent again.
    @ivar tries: How often DISCONNECT is sent.
    @ivar window: How many DATA_ACK may be without an answer.
    @ivar stale: How old or new a timestamp may be; L{None} for any, as the library has it.
    @ivar zone: In which time zone timestamps are written.
    @ivar first_order: The first order count.
    """

    strict: bool = True
    ping_interval: float = 0.5
    ping_steps: int = 3
    silence: float = 10.0
    repeat: float = 0.5
    tries: int = 10
    window: int = 16
    stale: float | None = None
    zone: ForeignZone = ETC_UTC
    first_order: int = 0

    def at_scale(self, scale: float) -> ForeignDigestOptions:
        """The same with other times."""
        return replace(
            self,
            ping_interval=self.ping_interval * scale,
            silence=self.silence * scale,
            repeat=self.repeat * scale,
        )


class ForeignDigestEnd:
    """
    An end: who it is, what it has sent, and whom it knows.

    @ivar uuid: Its UUID, 16 bytes.
    @ivar counts: What happened, by name.
    """

    def __init__(
        self,
        uuid: bytes,
        secret: bytes | None,
        secrets: Mapping[bytes, bytes] | None,
        options: ForeignDigestOptions | None = None,
        wall: float = WALL,
    ) -> None:
        """
        @param uuid: Its UUID, 16 bytes.
        @param secret: Its secret; L{None} for plain digests.
        @param secrets: The secrets of those whom it knows, by UUID; L{None} for plain digests of anybody.
        @param options: The options.
        @param wall: The calendar's time in seconds since 1970 when C{now} is 0.
        """
        self.uuid = uuid
        self.counts: Counter[str] = Counter()
        self.options = options or ForeignDigestOptions()
        self._secret = secret
        self._secrets = secrets
        self._wall = int(wall * BILLION)
        self._order = self.options.first_order
        self._out: list[ForeignDatagram] = []
        self._bad_ack_at = float("-inf")

    def take(self) -> list[ForeignDatagram]:
        """Hand over what is to be sent."""
        taken, self._out = self._out, []
        return taken

    def emit(self, data: bytes, address: ForeignAddress) -> None:
        """Send a packet that is written already."""
        self._out.append(ForeignDatagram(data, address))

    def seal(self, kind: int, payload: bytes, custom: int = 0) -> bytes:
        """Write the next packet."""
        order = self._order
        self._order = (order + 1) % ORDER_COUNTS
        return seal(self._secret, self.uuid, kind, order, payload, custom)

    def say(self, now: float, kind: int, address: ForeignAddress) -> None:
        """Send a packet that carries the time."""
        self.emit(self.seal(kind, self.options.zone.stamp(self._calendar(now))), address)

    def complain(self, now: float, packet: ForeignDigestPacket, address: ForeignAddress) -> None:
        """Say that the digest of a packet was wrong, unless that packet was an answer, or this was said just now."""
        if packet.kind not in ANSWERS and now >= self._bad_ack_at + BAD_ACK_INTERVAL:
            self._bad_ack_at = now
            self.emit(self.seal(BAD_ACK, packet.digest), address)

    def opened(self, data: bytes) -> ForeignDigestPacket | None:
        """Read a packet; L{None} when it is malformed, and this end is not strict."""
        try:
            return unseal(data)
        except ForeignCrash:
            if self.options.strict:
                raise
            self.counts["malformed"] += 1
            return None

    def knows(self, packet: ForeignDigestPacket) -> bool:
        """Whether the secret is known with which a packet should be sealed."""
        return self._secrets is None or packet.uuid in self._secrets

    def is_genuine(self, packet: ForeignDigestPacket) -> bool:
        """Whether the digest of a packet is right."""
        return self.knows(packet) and packet.is_by(None if self._secrets is None else self._secrets[packet.uuid])

    def is_current(self, now: float, packet: ForeignDigestPacket) -> bool:
        """
        Whether the timestamp of a packet, if its type has one, is neither too old nor too new.

        @raise ForeignCrash: When it is none.
        """
        if packet.kind not in STAMPED:
            return True
        difference = abs(when_of(packet.payload) - self._calendar(now))
        return self.options.stale is None or difference <= self.options.stale * BILLION

    def _calendar(self, now: float) -> int:
        return self._wall + int(now * BILLION)


@dataclass
class _Unanswered:
    """A DATA_ACK that is not acknowledged yet: its bytes, and when it is sent again."""

    data: bytes
    due: float


class ForeignDigestMail:
    """
    What an end and one other say to each other.

    @ivar address: Where the other one is.
    @ivar open: Whether messages are sent now; if not, they wait.
    @ivar delivered: The messages of DATA_ACK that came, with their custom ids.
    @ivar telemetry: The messages of DATA_NOACK that came, with their custom ids.
    @ivar sent: How many messages were to be acknowledged.
    @ivar acknowledged: How many of them were.
    """

    def __init__(self, end: ForeignDigestEnd, address: ForeignAddress) -> None:
        """
        @param end: Whose it is.
        @param address: Where the other one is.
        """
        self.address = address
        self.open = False
        self.delivered: list[tuple[bytes, int]] = []
        self.telemetry: list[tuple[bytes, int]] = []
        self.sent = 0
        self.acknowledged = 0
        self._end = end
        self._queue: deque[tuple[bytes, int]] = deque()
        self._unanswered: dict[bytes, _Unanswered] = {}
        self._seen: dict[bytes, None] = {}

    def __repr__(self) -> str:
        """What is of interest when a test waits in vain."""
        return f"<delivered {len(self.delivered)}, acknowledged {self.acknowledged} of {self.sent}>"

    @property
    def messages(self) -> list[bytes]:
        """The messages of DATA_ACK that came."""
        return [message for message, _ in self.delivered]

    def send(self, now: float, message: bytes, custom: int = 0) -> None:
        """Send a message until it is acknowledged."""
        self.sent += 1
        self._queue.append((message, custom))
        self.pump(now)

    def tell(self, message: bytes, custom: int = 0) -> None:
        """Send a message once."""
        self._end.emit(self._end.seal(DATA_NOACK, message, custom), self.address)

    @property
    def due(self) -> float | None:
        """When L{wake} is to be called next; L{None} for never."""
        if not self.open:
            return None
        return min((one.due for one in self._unanswered.values()), default=None)

    def wake(self, now: float) -> None:
        """Send again what is not acknowledged."""
        for one in self._unanswered.values():
            if now >= one.due:
                self._repeat(now, one)

    def pump(self, now: float) -> None:
        """Send what there is room for."""
        while self.open and self._queue and len(self._unanswered) < self._end.options.window:
            data = self._end.seal(DATA_ACK, *self._queue.popleft())
            one = self._unanswered[data[:DIGEST_SIZE]] = _Unanswered(data, 0.0)
            self._emit(now, one)

    def receive(self, now: float, packet: ForeignDigestPacket) -> None:
        """Take a packet of data, or an answer to one."""
        if packet.kind in ANSWERS:
            self._answered(now, packet)
            return
        if packet.kind == DATA_ACK:
            self._end.emit(self._end.seal(ACK, packet.digest), self.address)
        if packet.digest in self._seen:
            self._end.counts["duplicates"] += 1
            return
        self._seen[packet.digest] = None
        if len(self._seen) > REMEMBERED:
            del self._seen[next(iter(self._seen))]
        pile = self.delivered if packet.kind == DATA_ACK else self.telemetry
        pile.append((packet.payload, packet.custom))

    def _answered(self, now: float, packet: ForeignDigestPacket) -> None:
        if len(packet.payload) != DIGEST_SIZE:
            raise ForeignCrash(f"an answer to a digest of {len(packet.payload)} bytes")
        one = self._unanswered.get(packet.payload)
        if one is None:
            self._end.counts["answers to nothing"] += 1
        elif packet.kind == BAD_ACK:
            self._end.counts["told to repeat"] += 1
            self._repeat(now, one)
        else:
            del self._unanswered[packet.payload]
            self.acknowledged += 1
            self.pump(now)

    def _repeat(self, now: float, one: _Unanswered) -> None:
        self._end.counts["repeated"] += 1
        self._emit(now, one)

    def _emit(self, now: float, one: _Unanswered) -> None:
        one.due = now + self._end.options.repeat
        self._end.emit(one.data, self.address)
