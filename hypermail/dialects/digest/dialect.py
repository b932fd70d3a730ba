"""
What is passed to an endpoint as C{dialect} for the wire format of seed 003.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from hypermail.dialects.dialect import Dialect
from hypermail.dialects.digest.packets import MOST_PAYLOAD, uuid_bytes, uuid_text
from hypermail.errors import UsageError
from hypermail.options import ListenerOptions

if TYPE_CHECKING:
    from hypermail.dialects.digest.demux import DigestDemux

#: Messages that may be unsettled, at most: as many as can be settled at once, and acknowledged again later.
MOST_UNSETTLED = 1_024


@dataclass(frozen=True, slots=True, kw_only=True)
class Digest(Dialect):
    """
    Dialect C{digest}, as the Java library napentathol/udp speaks it. Nothing is encrypted.

    A packet is signed with the secret of whoever sends it. So each side has one of its own, and knows those of its
    peers by their UUIDs. What an application sends may be a L{hypermail.dialects.digest.packets.DigestPayload}, and
    what it is given is one.

    @ivar connection_timeout: how long opening may take; and a server drops a client that is silent so long. A client
        that has said HELLO again to a server that fell silent ends its session when that acknowledges nothing of what
        was sent before for so long, too.
    @ivar ping_packet_count: pings of a client in a row that may stay unanswered before it says HELLO again, for at most
        C{connection_timeout}.
    @ivar delivery_timeout: the longest pause between two repetitions of a message: a second, so that one is repeated
        several times before its receiver counts as silent.
    @ivar max_unsettled: at most 1,024.
    @ivar uuid: one's own; None for a random one.
    @ivar secret: one's own, of any length but none; None with C{plain} only.
    @ivar secrets: those of the peers by their UUIDs in lower case with hyphens: a mapping, or what is called with a
        UUID and answers a secret, None for a stranger, or a Deferred or coroutine of these.
    @ivar plain: digests are plain SHA-256, which anybody can make.
    @ivar ping_steps: 3 when a server answers PING with PANG, which a client answers with PONG; 2 when with PONG.
    @ivar freshness: how much older or newer than our clock a timestamp may be.
    @ivar disconnect_tries: how often DISCONNECT is said at most.
    """

    name: ClassVar[str] = "digest"

    ping_interval: float = 0.5
    ping_packet_count: int = 6
    delivery_timeout: float = 1.0
    max_message: int = MOST_PAYLOAD
    uuid: str | None = None
    secret: bytes | None = field(default=None, repr=False)
    secrets: Mapping[str, bytes] | Callable[[str], Any] | None = field(default=None, repr=False, hash=False)
    plain: bool = False
    ping_steps: int = 3
    freshness: float = 30.0
    disconnect_tries: int = 5

    def __post_init__(self) -> None:
        Dialect.__post_init__(self)  # no super(): classes with slots are made twice
        if self.max_message > MOST_PAYLOAD:
            raise UsageError(f"max_message of dialect digest is at most {MOST_PAYLOAD}, not {self.max_message}")
        if self.max_unsettled > MOST_UNSETTLED:
            text = f"max_unsettled of dialect digest is at most {MOST_UNSETTLED}, not {self.max_unsettled}"
            raise UsageError(text)
        if self.ping_steps not in (2, 3):
            raise UsageError(f"ping_steps is 2 or 3, not {self.ping_steps!r}")
        if self.uuid is not None:
            uuid_bytes(self.uuid)
        if self.secret is not None and not self.secret:
            raise UsageError("an empty secret is none")
        if self.plain and (self.secret is not None or self.secrets is not None):
            raise UsageError("plain digests (--no-secret) need no secrets, and protect nothing: choose")
        for uuid in self.secrets if isinstance(self.secrets, Mapping) else ():
            if uuid_text(uuid_bytes(uuid)) != uuid:
                raise UsageError(f"secrets are found by UUIDs in lower case with hyphens, not by {uuid!r}")

    def check(self, listening: bool) -> None:
        """See L{Dialect.check}."""
        if self.plain:
            return
        if self.secret is None:
            raise UsageError(
                "dialect digest signs what it sends: give this side's secret (--secret-file), "
                "or have plain digests, which protect nothing (--no-secret)"
            )
        if self.secrets is None:
            peers = "clients" if listening else "server"
            raise UsageError(
                f"dialect digest verifies what it receives: give the secret of the {peers} with its UUID (--secrets), "
                "or have plain digests, which protect nothing (--no-secret)"
            )

    def demux(
        self,
        *,
        listening: bool,
        listener_options: ListenerOptions,
        port: int,
        random_bytes: Callable[[int], bytes],
        wall: Callable[[], float],
    ) -> DigestDemux:
        """See L{Dialect.demux}."""
        from hypermail.dialects.digest.demux import DigestDemux

        return DigestDemux(
            self, listening=listening, listener_options=listener_options, random_bytes=random_bytes, wall=wall
        )
