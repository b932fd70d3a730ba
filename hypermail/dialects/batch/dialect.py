"""
What is passed to an endpoint as C{dialect} for sessions in dialect C{batch}.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from hypermail.dialects.batch.countdown import PROOF
from hypermail.dialects.batch.demux import BatchDemux
from hypermail.dialects.dialect import Dialect
from hypermail.errors import UsageError
from hypermail.options import ListenerOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch(Dialect):
    """
    Sessions in dialect C{batch}: the wire format of seed 001, with the defaults of the original program.

    @ivar ping_packet_count: where the countdown of pings begins, from 2 to 127: one less is pinged before the peer is
        given up.
    @ivar max_directs: also, of those that the peer sends, what the application is given at once.
    @ivar repeat_requests: whether the peer is asked for packets that are missing (packet type 7), which the original
        program does not survive. What the peer asks for is repeated in any case.
    """

    name: ClassVar[str] = "batch"

    repeat_requests: bool = False

    def __post_init__(self) -> None:
        super(Batch, self).__post_init__()  # slots make the class anew, and super() knows the old one
        if not 2 <= self.ping_packet_count <= PROOF:
            raise UsageError(
                f"ping_packet_count must be from 2 to {PROOF} in dialect batch, not {self.ping_packet_count}: "
                "one less is pinged before the peer is given up"
            )

    def demux(
        self,
        *,
        listening: bool,
        listener_options: ListenerOptions,
        port: int,
        random_bytes: Callable[[int], bytes],
        wall: Callable[[], float],
    ) -> BatchDemux:
        """See L{Dialect.demux}; the wall clock is of no use here."""
        return BatchDemux(
            self, listening=listening, listener_options=listener_options, port=port, random_bytes=random_bytes
        )
