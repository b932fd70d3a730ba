"""
What of a durable session has to outlive its process, as changes to be written down in order.

The core makes changes, those of lanes in L{hypermail.messages.journal}, and waits for the word that they are safe;
whoever drives it has them written, by an L{hypermail.interfaces.ISessionStore}. What is read back after a restart is
a L{StoredSession}.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from hypermail.messages.journal import Heard as Heard
from hypermail.messages.journal import LaneUsed as LaneUsed
from hypermail.messages.journal import Queued as Queued
from hypermail.messages.journal import QueuedMessage as QueuedMessage
from hypermail.messages.journal import Settled as Settled
from hypermail.messages.journal import Taken as Taken
from hypermail.messages.journal import Withdrawn as Withdrawn
from hypermail.messages.lanes import LaneProperties
from hypermail.options import Role, Way
from hypermail.session.survival import Survival
from hypermail.wire import message_packets
from hypermail.wire.parameters import Parameters

#: Of a peer that has not told its own.
EARLY_INCARNATION = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionIdentity:
    """
    What a session is, and how it can be claimed; as a change: this is so from now on.

    @ivar id: 16 bytes, equal on both sides.
    @ivar secret: 32 bytes that prove a claim to it.
    @ivar role: ours.
    @ivar name: by which a starter finds it again; empty on a listener.
    @ivar way: seen from the starter.
    @ivar generation: the greatest under which it was claimed.
    @ivar peer_incarnation: which of its incarnations the peer was in last.
    @ivar peer_key: a listener's: what the starter has shown, and has to show again; empty for nothing.
    @ivar worker: the byte of the listener's tag that names the worker process that owns the session.
    @ivar parameters: the peer's, as they are written on the wire.
    @ivar timeout: s for which it may be suspended.
    """

    id: bytes
    secret: bytes
    role: Role
    name: str
    way: Way
    generation: int
    peer_incarnation: int
    peer_key: bytes
    worker: int
    parameters: bytes
    timeout: float


class Suspended(NamedTuple):
    """
    A session has no link from now on; the time until it may be forgotten begins. The next L{SessionIdentity} of it,
    which it is claimed with, ends that.
    """

    id: bytes


class Over(NamedTuple):
    """The session is over: nothing of it is to be kept."""

    id: bytes


Change = SessionIdentity | Suspended | LaneUsed | Queued | Withdrawn | Settled | Taken | Heard | Over


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSending:
    """
    The sending half of a durable lane.

    @ivar settled: the numbers below it are settled.
    @ivar next: of the next message that will be queued.
    """

    properties: LaneProperties
    settled: int
    next: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredReceiving:
    """
    The receiving half of a durable lane.

    @ivar taken: the numbers below it are settled.
    @ivar verdicts: of those of them that were not taken, as far as the peer may not know them.
    """

    taken: int
    verdicts: tuple[message_packets.Verdict, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSession:
    """
    What was kept of a session.

    @ivar sending: by lane.
    @ivar receiving: by lane.
    """

    identity: SessionIdentity
    sending: dict[int, StoredSending] = field(default_factory=dict)
    receiving: dict[int, StoredReceiving] = field(default_factory=dict)

    @property
    def opened(self) -> bool:
        """Whether a starter had heard that the session is open; if not, the listener may have it all the same."""
        return self.identity.peer_incarnation != EARLY_INCARNATION


def identity_of(survival: Survival, role: Role, way: Way, peer: Parameters) -> SessionIdentity:
    """
    What a session is, to be written down.

    @param peer: the peer's parameters, as far as they are known.
    """
    return SessionIdentity(
        id=survival.id,
        secret=survival.secret,
        role=role,
        name=survival.name,
        way=way,
        generation=survival.generation,
        peer_incarnation=survival.peer_incarnation,
        peer_key=survival.peer_key,
        worker=survival.worker,
        parameters=peer.encode(),
        timeout=survival.timeout,
    )
