"""
What lets a session outlive its link: its name, the secret by which it is claimed, generations, and time without a link.

A claim is proved by HMAC-SHA-256 under the session's secret over role, session id, generation and what only the two
ends of the new link know; so a proof is worth nothing on another link, for another generation, or from the other side
(C{docs/protocol/sessions.rst}, Reopening).
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from hashlib import sha256
from types import MappingProxyType
from typing import NamedTuple

from hypermail.errors import HypermailError, Reason, SessionRejected
from hypermail.options import Role
from hypermail.session.states import CARRIAGE, Carriage, CarriageInput

#: s; the pause after the first attempt in vain, and how far it doubles.
FIRST_PAUSE = 0.25
LAST_PAUSE = 30.0
#: s within which the first attempt's link has to have keys; each further one may take twice as long. A listener that is
#: restarted in the middle of a handshake is found soon so, and one far away in the end.
FIRST_PATIENCE = 3.0
#: s for which a link has to last before the next loss is no attempt in vain.
LASTING = 10.0

#: What was counted on no link: of most sessions, so that it is there once for all.
NOTHING: Mapping[str, int] = MappingProxyType({})

_LABEL = b"hypermail/1 reopen"


class Channel(NamedTuple):
    """
    What a link gives to those who prove something on it.

    @ivar secret: 32 bytes that the two ends of the link have in common, and nobody else.
    @ivar peer_key: the pin of the public key that the starter has shown; empty for none, and on a starter.
    """

    secret: bytes
    peer_key: bytes


class Survival:
    """
    Of one side of one session.

    @param role: ours.
    @param incarnation: tells this memory of the session from others, before and after restarts.
    @param timeout: s for which the session may be without a link.

    @ivar id: 16 bytes, equal on both sides; empty before there are keys.
    @ivar secret: 32 bytes; empty where a session cannot be claimed.
    @ivar generation: the greatest under which it was claimed.
    @ivar peer_incarnation: the peer's, as far as it is known.
    @ivar peer_key: as of L{Channel}; of the link that the session has begun on.
    @ivar name: by which a starter's durable session is found again.
    @ivar worker: the byte of the listener's tag that names its worker process.
    @ivar carriage: whether the session has a link.
    @ivar linked: whether it has one that it may use.
    @ivar until: s when a session without a link is given up; None while it has one.
    @ivar attempt_at: s when a starter is to try another link; None when it is not.
    @ivar counted: on the links that the session has had before this one.
    @ivar error: what the link was lost for, or the last attempt has failed with; None while there is a link.
    """

    __slots__ = (
        "_failures",
        "_linked_at",
        "_role",
        "attempt_at",
        "carriage",
        "counted",
        "error",
        "generation",
        "id",
        "incarnation",
        "linked",
        "name",
        "peer_incarnation",
        "peer_key",
        "secret",
        "timeout",
        "until",
        "worker",
    )

    def __init__(self, role: Role, incarnation: int, timeout: float) -> None:
        self._role = role
        self.incarnation = incarnation
        self.timeout = timeout
        self.id = b""
        self.secret = b""
        self.generation = 0
        self.peer_incarnation = 0
        self.peer_key = b""
        self.name = ""
        self.worker = 0
        self.carriage = CARRIAGE.initial
        self.linked = True
        self.until: float | None = None
        self.attempt_at: float | None = None
        self.error: HypermailError | None = None
        self.counted: Mapping[str, int] = NOTHING
        self._linked_at = 0.0
        self._failures = 0

    @property
    def claiming(self) -> bool:
        """Whether a claim waits for its answer."""
        return self.carriage is Carriage.CLAIMING

    # Claims

    def proof(self, role: Role, generation: int, channel: Channel) -> bytes:
        """What the side C{role} proves its claim with: 32 bytes."""
        text = _LABEL + bytes((role,)) + self.id + generation.to_bytes(8, "big") + channel.secret
        return hmac.digest(self.secret, text, sha256)

    def proves(self, proof: bytes, generation: int, channel: Channel) -> bool:
        """Whether a proof of the peer's is right; compared in constant time."""
        return hmac.compare_digest(proof, self.proof(Role(1 - self._role), generation, channel))

    def check(self, generation: int, proof: bytes, channel: Channel) -> None:
        """
        A listener's: whether a claim holds.

        @raise SessionRejected: when not.
        """
        if not self.secret:
            raise SessionRejected("this session cannot be reopened", Reason.CANNOT_REOPEN)
        if not self.proves(proof, generation, channel):
            # Whoever does not know the secret learns no more than of a session that there never was.
            raise unknown_session()
        if channel.peer_key != self.peer_key:
            text = "the session was opened with another certificate; it goes on with the same one only"
            raise SessionRejected(text, Reason.NOT_ALLOWED)
        if generation <= self.generation:
            text = f"the session went on elsewhere meanwhile (generation {self.generation}, not {generation})"
            raise SessionRejected(text, Reason.SESSION_TAKEN)

    # Time

    def lost(self, error: HypermailError, now: float) -> None:
        """The link is lost, or an attempt was in vain."""
        self.error = error
        before = self.carriage
        self._move(CarriageInput.LINK_LOST)
        if self.until is None:
            self.until = now + self.timeout
        if self._role is Role.LISTENER:
            return
        if before is Carriage.LINKED and now - self._linked_at >= LASTING:
            self._failures = 0
        self.attempt_at = now + self._pause()
        self._failures += 1

    def _pause(self) -> float:
        """s until the next attempt; never the same for two sessions that have lost their listener together."""
        if not self._failures:
            return 0.0
        chance = sha256(self.id + self._failures.to_bytes(4, "big")).digest()[0] / 255
        return min(FIRST_PAUSE * 2.0 ** min(self._failures - 1, 16), LAST_PAUSE) * (0.5 + chance / 2)

    @property
    def patience(self) -> float:
        """s within which the link of an attempt has to have keys."""
        return FIRST_PATIENCE * 2.0 ** min(max(self._failures - 1, 0), 16)

    def hurry(self, now: float) -> None:
        """Something has changed, so that another attempt may succeed now; after one that runs, if that fails."""
        self._failures = 0
        if self.carriage is Carriage.SUSPENDED and self.attempt_at is not None:
            self.attempt_at = now

    def begin_claim(self) -> None:
        """Another link is there: a starter will claim the session over it, a listener's was claimed over it."""
        self._move(CarriageInput.CLAIM)
        self.attempt_at = None
        if self._role is Role.STARTER:
            self.generation += 1

    def resumed(self, now: float) -> None:
        """The session goes on over a link."""
        self._move(CarriageInput.RESUME)
        self.until = self.attempt_at = self.error = None
        self._linked_at = now

    def _move(self, input: CarriageInput) -> None:
        self.carriage = CARRIAGE.next(self.carriage, input)
        self.linked = self.carriage is Carriage.LINKED


def unknown_session() -> SessionRejected:
    """What a claim to a session is answered that is not known."""
    return SessionRejected("the session is not known here (any more)", Reason.SESSION_UNKNOWN)


def closed_session() -> SessionRejected:
    """What a claim to a session is answered that has been closed gracefully: its starter waits to hear just that."""
    return SessionRejected("the session was closed", Reason.NONE)
