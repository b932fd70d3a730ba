"""
What is passed to an endpoint as C{dialect}: what its sessions want and bear, and what makes them.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar

from hypermail.errors import UsageError
from hypermail.options import LEAST_RATE, MIB, ListenerOptions, Way

if TYPE_CHECKING:
    from collections.abc import Callable

    from hypermail.dialects.demux import DialectDemux

#: s; what is longer is no time.
LONGEST = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """
    The base of all dialects. Durations are in seconds; the first four bear the names of seed 001, and each dialect has
    its own defaults.

    @cvar name: for people, and C{--dialect}.
    @cvar way: a dialect carries both ways.
    @ivar connection_timeout: how long opening may take.
    @ivar ping_interval: between two pings.
    @ivar ping_packet_count: pings in a row that may stay unanswered.
    @ivar delivery_timeout: after which, at the latest, what was not acknowledged is sent again.
    @ivar max_message: bytes of a message, at most, in both directions.
    @ivar max_unsettled: messages that our application has not settled, at most; what comes then is not acknowledged.
    @ivar allowance_bytes: the same in bytes, with what has not arrived whole.
    @ivar outgoing_bytes: bytes of messages not yet begun at which producers of messages are paused.
    @ivar max_directs: direct messages that wait to be sent; the oldest are dropped. Of one read, those that are taken.
    @ivar max_unproved: of a listener: strangers at once whose address is not proved; beyond, the one that has not shown
        itself for the longest time gives way. That are more than in the native protocol: many devices of one kind come
        back at once, and there is no way to tell them to come again.
    @ivar max_unproved_per_prefix: the same, of one prefix; see L{hypermail.options.ListenerOptions}.
    @ivar max_rate: bit/s of UDP payload that each session sends at most, averaged over a second; at least 8,000. None
        for no limit.
    """

    name: ClassVar[str] = ""
    way: ClassVar[Way] = Way.TWO_WAY

    connection_timeout: float = 10.0
    ping_interval: float = 5.0
    ping_packet_count: int = 4
    delivery_timeout: float = 5.0
    max_message: int = 16 * MIB
    max_unsettled: int = 1_024
    allowance_bytes: int = 32 * MIB
    outgoing_bytes: int = 1 * MIB
    max_directs: int = 256
    max_unproved: int = 4_096
    max_unproved_per_prefix: int = 1_024
    max_rate: float | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type == "float" and not 0 < value < LONGEST:
                raise UsageError(f"{field.name} must be a positive number of seconds, not {value!r}")
            if field.type == "int" and (not isinstance(value, int) or value < 1):
                raise UsageError(f"{field.name} must be a number from 1, not {value!r}")
        if self.max_rate is not None and not LEAST_RATE <= self.max_rate < 1e15:
            raise UsageError(f"max_rate must be at least {LEAST_RATE} bit/s and below 1e15, not {self.max_rate!r}")
        if self.allowance_bytes < self.max_message:
            raise UsageError("allowance_bytes must hold at least one message of max_message bytes")

    def check(self, listening: bool) -> None:
        """@raise UsageError: when a listener, or a starter, cannot do with what this says."""

    def demux(
        self,
        *,
        listening: bool,
        listener_options: ListenerOptions,
        port: int,
        random_bytes: Callable[[int], bytes],
        wall: Callable[[], float],
    ) -> DialectDemux[Any]:
        """
        The sessions of a new socket.

        @param listening: whether strangers may open any; else this side asks for all of them.
        @param listener_options: what is borne from strangers.
        @param port: at which the socket receives.
        @param random_bytes: makes so many random bytes.
        @param wall: the wall clock, in s since 1970.
        """
        raise NotImplementedError
