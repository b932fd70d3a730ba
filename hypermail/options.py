"""
Every tunable of hypermail: name, unit, default and where it comes from.

Sizes are bytes, times are seconds. An L{Options} is frozen: it is decided before a session opens and
does not change under it. Names in seed 001's spelling are that seed's options.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import IntEnum

from hypermail.errors import UsageError

KIB = 1 << 10
MIB = 1 << 20
#: bit/s; less than this is no rate to talk at: a datagram would take longer than a second.
LEAST_RATE = 8_000


class Mode(IntEnum):
    """How a session is sealed."""

    PLAIN = 0
    TLS = 1
    SECRET = 2


class Role(IntEnum):
    """Which side of a connection one is (seed 001); it parts tags, stream numbers and pings, no more."""

    STARTER = 0
    LISTENER = 1


class Way(IntEnum):
    """In which way a session carries messages and streams, seen from its starter."""

    TWO_WAY = 0
    READ_ONLY = 1
    WRITE_ONLY = 2

    def may_send(self, role: Role) -> bool:
        """Whether the side C{role} may send messages, direct messages and stream data."""
        return self is not (Way.READ_ONLY if role is Role.STARTER else Way.WRITE_ONLY)


class Persistence(IntEnum):
    """What a session outlives: what both of its sides bear."""

    LINK = 0  #: nothing: it ends with its link
    PROCESS = 1  #: its links, as long as the processes of both sides live
    STORE = 2  #: also its processes: what is durable in it is kept on disk


class Delivery(IntEnum):
    """What a lane promises for its messages."""

    ACKED = 0
    BUFFERED = 1
    DIRECT = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """
    What one side of a session wants and bears. The limits are told to the peer, who must keep them.

    @ivar way: whether the starter reads, writes, or both; the listener takes the starter's.
    @ivar allow_reopen: whether the session may outlive its link. Mode C{plain} cannot reopen.
    @ivar durable: whether the session outlives its process: a starter's has to, a listener's may. Whoever drives the
        core has to write down what it is given for that; see L{hypermail.session.journal}.
    @ivar session_timeout: s for which a session without a link waits to be reopened.
    @ivar durable_timeout: the same, of a session that outlives its process.
    @ivar connection_timeout: s; how long opening may take (seed 001).
    @ivar ping_interval: s without traffic after which the starter pings (seed 001), together with other sessions of its
        socket: by up to a thirty-second of that later.
    @ivar ping_packet_count: unanswered pings that end the link (seed 001).
    @ivar delivery_timeout: s after which unacknowledged content is sent again whatever the estimate of
        the round trip says (seed 001).
    @ivar linger: s that a closed session still answers for (its tombstone), at least three probe timeouts.
    @ivar max_message: bytes of the largest message that we take.
    @ivar allowance_bytes: declared bytes of messages that the peer may have begun and we not settled; and, apart from
        them, of replies to what we have asked.
    @ivar allowance_messages: the same, in messages.
    @ivar max_unsettled: messages per lane, and asks, that the application holds without having settled them.
    @ivar max_lanes: lanes that the peer may use, those of asks and replies apart.
    @ivar buffered_messages: messages that a buffered lane keeps before it drops the oldest.
    @ivar outgoing_bytes: bytes of messages not yet begun at which producers of messages are paused; of replies, at
        which no more asks are taken up.
    @ivar max_directs: direct messages that wait for the congestion window; the oldest are dropped.
    @ivar max_streams: streams that the peer may have open at once.
    @ivar stream_window: bytes that a stream may carry before the receiver has said anything about it.
    @ivar stream_pool: bytes that all streams of a session together may have beyond that, at first.
    @ivar stream_pool_max: to which the pool grows with measured bandwidth × delay.
    @ivar stream_buffer: bytes written and not yet sent at which a stream pauses its producer.
    @ivar congestion: the name of the congestion control of what we send.
    @ivar mtu: bytes of UDP payload that every path is taken to carry (RFC 8899's base).
    @ivar max_datagram: bytes of UDP payload of the largest datagram that we try to send, and tell the peer to.
    @ivar discover_mtu: whether larger datagrams than C{mtu} are tried, as is possible only where they are not cut up on
        the way.
    @ivar receive_buffer: bytes that our socket holds; the peer sends trains of at most half of it.
    @ivar max_rate: bit/s of UDP payload that we send at most, averaged over a second; at least 8,000. None for what
        the network takes. Acknowledgements, control packets and probes count, but don't wait.
    @ivar hold_bytes: bytes of opened packets that a listener keeps until its application has decided.
    @ivar ecn: whether datagrams are marked for explicit congestion notification, where the socket and the path can
        carry marks (RFC 9000 §13.4).
    """

    way: Way = Way.TWO_WAY
    allow_reopen: bool = True
    durable: bool = False
    session_timeout: float = 86_400.0
    durable_timeout: float = 30 * 86_400.0
    connection_timeout: float = 10.0
    ping_interval: float = 5.0
    ping_packet_count: int = 4
    delivery_timeout: float = 5.0
    linger: float = 3.0
    max_message: int = 16 * MIB
    allowance_bytes: int = 32 * MIB
    allowance_messages: int = 65_536
    max_unsettled: int = 1_024
    max_lanes: int = 256
    buffered_messages: int = 1_024
    outgoing_bytes: int = 1 * MIB
    max_directs: int = 256
    max_streams: int = 4_096
    stream_window: int = 16 * KIB
    stream_pool: int = 4 * MIB
    stream_pool_max: int = 64 * MIB
    stream_buffer: int = 512 * KIB
    congestion: str = "cubic"
    mtu: int = 1_200
    max_datagram: int = 65_507
    discover_mtu: bool = True
    receive_buffer: int = 4 * MIB
    max_rate: float | None = None
    hold_bytes: int = 64 * KIB
    ecn: bool = True

    def __post_init__(self) -> None:
        for name in _DURATIONS:
            if not 0 < getattr(self, name) < 1e9:
                raise UsageError(f"{name} must be a positive number of seconds, not {getattr(self, name)!r}")
        for name, least in _LEAST.items():
            if getattr(self, name) < least:
                raise UsageError(f"{name} must be at least {least}, not {getattr(self, name)!r}")
        for name in _LEAST:
            if getattr(self, name) >= 1 << 62:
                raise UsageError(f"{name} must be below 2**62, not {getattr(self, name)!r}")
        if self.max_rate is not None and not LEAST_RATE <= self.max_rate < 1e15:
            raise UsageError(f"max_rate must be at least {LEAST_RATE} bit/s and below 1e15, not {self.max_rate!r}")
        if self.max_datagram > 65_507:
            raise UsageError(f"max_datagram must be at most 65507, not {self.max_datagram!r}")
        if self.mtu > min(self.max_datagram, self.receive_buffer // 2):
            raise UsageError("mtu must be at most max_datagram, and at most half of receive_buffer")
        if self.max_message >= 1 << 32:
            raise UsageError("max_message must be below 4 GiB")
        if self.durable and not self.allow_reopen:
            raise UsageError("a durable session has to allow to be reopened")
        if self.allowance_bytes < self.max_message:
            raise UsageError("allowance_bytes must hold at least one message of max_message bytes")


_DURATIONS = (
    "session_timeout",
    "durable_timeout",
    "connection_timeout",
    "ping_interval",
    "delivery_timeout",
    "linger",
)
_LEAST = {
    "ping_packet_count": 1,
    "max_message": 0,
    "allowance_messages": 1,
    "max_unsettled": 1,
    "max_lanes": 1,
    "buffered_messages": 1,
    "outgoing_bytes": 1,
    "max_directs": 1,
    "max_streams": 0,
    "stream_window": 1_024,
    "stream_pool": 0,
    "stream_pool_max": 0,
    "stream_buffer": 1,
    "mtu": 1_200,
    "max_datagram": 1_200,
    "receive_buffer": 16 * KIB,
    "hold_bytes": 2_400,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerOptions:
    """
    What a listener bears from strangers. A I{prefix} is the part of an address that one attacker may own
    whole: /24 of IPv4, /48 of IPv6.

    @ivar max_sessions: sessions at once; who comes later is told so.
    @ivar max_suspended: sessions without a link that wait to be reopened; beyond, one gives way: of the prefix that has
        the most of them, the one that has had none for the longest time.
    @ivar max_stored: durable sessions in the listener's store, with a link or without; who asks for one more is told
        so.
    @ivar max_opening: sessions at once that have not opened yet, or are being refused, of starters whose address is
        proved; who comes later hears nothing.
    @ivar max_opening_per_prefix: the same, from one prefix.
    @ivar max_unproved: the same, of starters whose address is not proved; who comes later has to prove it first (a
        retry).
    @ivar max_unproved_per_prefix: the same, from one prefix.
    @ivar max_hellos: of the unproved, those whose hello has not arrived whole.
    @ivar max_hellos_per_prefix: the same, from one prefix.
    """

    max_sessions: int = 10_000
    max_suspended: int = 10_000
    max_stored: int = 100_000
    max_opening: int = 1_024
    max_opening_per_prefix: int = 256
    max_unproved: int = 256
    max_unproved_per_prefix: int = 64
    max_hellos: int = 64
    max_hellos_per_prefix: int = 16

    def __post_init__(self) -> None:
        for limit in fields(self):
            value = getattr(self, limit.name)
            if not isinstance(value, int) or value < 0:
                raise UsageError(f"{limit.name} must be a number and not negative, not {value!r}")
