"""
A session that outlives its links, and, where it is durable, the processes of both sides.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from hypermail.errors import (
    HypermailError,
    ProtocolViolation,
    Reason,
    SessionRejected,
    SessionReset,
    SessionTimedOut,
    StoreFailed,
    StreamForgotten,
    UsageError,
)
from hypermail.events import (
    ReopenDue,
    SessionOpened,
    SessionResumed,
    SessionSuspended,
)
from hypermail.options import Options, Persistence, Role
from hypermail.session.journal import StoredSession, Suspended
from hypermail.session.linked import LIVING, LinkedSession, because
from hypermail.session.states import State
from hypermail.session.survival import Channel, Survival
from hypermail.wire import packets as p
from hypermail.wire.fields import Reader
from hypermail.wire.parameters import Parameters

#: With what a claim is refused for now only.
PASSING = (Reason.TOO_MANY_SESSIONS, Reason.SHUTTING_DOWN, Reason.STORE_FAILED, Reason.INTERNAL_ERROR)
#: With what a listener ends a link over which a session was claimed and has not gone on yet, and not the session.
ONLY_THE_LINKS = (*PASSING, Reason.CONNECTION_TIMEOUT, Reason.PEER_SILENT)


class Session(LinkedSession):
    """One side of a session, for all its life, as L{LinkedSession} is for that of a link."""

    __slots__ = ("_channel", "_restarted")

    def __init__(
        self, role: Role, options: Options, parameters: Parameters, learn: Callable[[Parameters], None]
    ) -> None:
        super().__init__(role, options, parameters, learn)
        self._restarted = False  # whether the peer was, since the session had a link
        self._channel: Channel | None = None  # of the link over which the claim is to be sent

    @classmethod
    def restored(cls, role: Role, options: Options, parameters: Parameters, stored: StoredSession) -> Session:
        """
        One of before a restart; it has no link, and goes on over one by L{carry_on}.

        @param parameters: whose incarnation is ours now.
        """
        identity = stored.identity
        session = cls(role, options, parameters, _nothing)
        if session.journal is None:
            session._become_durable()
        survival, journal = session.survival, session.journal
        assert journal is not None  # as it has just become
        survival.id = journal.id = identity.id
        journal.known = True
        survival.secret, survival.generation = identity.secret, identity.generation
        survival.peer_incarnation, survival.peer_key = identity.peer_incarnation, identity.peer_key
        survival.name, survival.worker, survival.timeout = identity.name, identity.worker, identity.timeout
        session._heard = True
        session._enter(State.OPEN)
        session._agree(identity.way)
        session._peer = Parameters.decode(Reader(memoryview(identity.parameters), 0))
        session.sending.learn(session._peer)
        session.streams.learn(session._peer)
        for number, sending in stored.sending.items():
            properties = sending.properties._replace(durable=True)
            session.sending.restore(number, properties, sending.settled, sending.next)
        for number, receiving in stored.receiving.items():
            session.receiving.restore(number, receiving.taken, receiving.verdicts)
        if role is Role.STARTER and stored.opened:  # its application need not wait for a link
            session._told_open = True
            session.tell(SessionOpened())
        return session

    def may_restart(self, incarnation: int) -> bool:
        """Whether the peer may have this memory of the session: it has lost none where nothing outlives its process."""
        durable = self.persistence is Persistence.STORE or self.returning  # then the peer's was perhaps never heard
        return durable or incarnation == self.survival.peer_incarnation

    @property
    def returning(self) -> bool:
        """Whether it was taken up from the disk, and nobody was told of it yet."""
        return self.journal is not None and self.state in LIVING and not self._told_open

    def suspend(self, error: HypermailError, now: float) -> bool:
        """
        The link is lost.

        @return: whether the session waits for another one; if not it is over.
        """
        survival, journal = self.survival, self.journal
        if journal is not None and (self.returning or self.state is State.OPENING):
            # It stays on disk: a starter will claim it first, since the listener may have it.
            journal.finish(Suspended(survival.id))
            return False
        lives = self.state in LIVING and (self._heard or journal is not None)
        waits = survival.claiming or (lives and self.persistence > Persistence.LINK)
        if not (waits and survival.secret):
            return False
        if survival.linked:
            self.tell(SessionSuspended(error))
        survival.lost(error, now)
        self._claimed = False
        self._channel = None
        if journal is not None:
            journal.put(Suspended(survival.id))
        self.sending.drop_directs()
        return True

    def next_timeout(self) -> float | None:
        """s when a session without a link wants to be called."""
        survival = self.survival
        times = (survival.until, survival.attempt_at, self.sending.deadline())
        return min((time for time in times if time is not None), default=None)

    def timeout(self, now: float) -> None:
        """Time has passed for a session without a link; harmless when early."""
        survival = self.survival
        self.sending.expire(now)
        if survival.until is not None and now >= survival.until:
            last = "" if survival.error is None else f"; last: {survival.error.text}"
            self.end(SessionTimedOut(f"the session had no link for {survival.timeout:g} s{last}"))
        elif survival.attempt_at is not None and now >= survival.attempt_at:
            survival.attempt_at = None
            self.tell(ReopenDue())

    def carry_on(self, parameters: Parameters, learn: Callable[[Parameters], None]) -> None:
        """
        The session is to go on over another link.

        @param parameters: what this side tells over that.
        @param learn: as of the constructor.
        """
        if self.survival.linked and self._told_open:
            self.tell(SessionSuspended(SessionReset("the peer has lost the link")))
            self.sending.drop_directs()
        self._parameters = parameters
        self._learn = learn
        self.store_error = None
        self.control.withdraw("session")  # what was said over another link proves nothing here
        self.survival.begin_claim()
        if self.journal is not None and self._role is Role.STARTER:
            self._safe = False
            self._note(partial(self._generation_written, self.survival.generation))

    def _generation_written(self, generation: int, safe: bool, now: float) -> None:
        """Starter: the generation is on disk, so that it is never used again."""
        if generation != self.survival.generation or not self.survival.claiming or self.state is State.ENDED:
            return
        self._safe = safe
        if not safe:
            self.store_error = StoreFailed("the claim could not be written down")
        elif self._channel is not None:
            self._claim(self._channel)

    def claim(self, channel: Channel) -> None:
        """Starter: the link has keys: claim the session, as soon as that is written down."""
        self._channel = channel
        if self._safe:
            self._claim(channel)

    def _claim(self, channel: Channel) -> None:
        """Claim the session, and say how far its streams have come."""
        survival = self.survival
        proof = survival.proof(self._role, survival.generation, channel)
        claim = p.SessionReopen(survival.id, survival.generation, proof, survival.peer_incarnation, self._parameters)
        self.control.put("session", claim)
        self._claimed = True
        self.streams.tell_offsets()

    def refuse_claim(self, survival: Survival, generation: int, channel: Channel) -> None:
        """
        Listener: a claim holds, but its starter has to know first what this side has lost.

        @param survival: of the session that was claimed.
        """
        proof = survival.proof(self._role, generation, channel)
        self.control.put("session", p.SessionReopenAck(proof, incarnation=survival.incarnation))
        self.end(SessionReset("this side has been restarted since"))

    def claimed(self, claim: p.SessionReopen, channel: Channel, now: float) -> None:
        """Listener: the session goes on over this link, as was claimed and checked, once that is written down."""
        self.survival.generation = claim.generation
        accepted = partial(self._claim_accepted, claim, channel)
        if self.journal is None:
            accepted(True, now)
        else:
            self._safe = False
            self._note(accepted)

    def _claim_accepted(self, claim: p.SessionReopen, channel: Channel, safe: bool, now: float) -> None:
        survival = self.survival
        if claim.generation != survival.generation or not survival.claiming or self.state is State.ENDED:
            return
        if not safe:
            self.store_error = StoreFailed("the claim could not be written down")
            return
        self._safe = self._heard = True  # nobody claims what he has not heard of
        self._resume(claim.parameters, now)
        proof = survival.proof(self._role, claim.generation, channel)
        self.control.put("session", p.SessionReopenAck(proof, self._parameters))

    def claim_answered(self, packet: p.SessionReopenAck, channel: Channel, now: float) -> HypermailError | None:
        """
        Starter: the listener has answered the claim.

        @return: why the link is of no use, when it is not, so that another one is to be tried.
        @raise ProtocolViolation: when the listener cannot prove that the session is its own.
        """
        survival = self.survival
        if not survival.claiming:
            return None
        if not packet.proof:
            if packet.code == Reason.NONE and self.state is State.CLOSE_SENT:
                self.close_acked(p.SessionCloseAck())  # it was on its way when the link was lost
                return None
            error = _refusal(packet.text, packet.code)
            if packet.code in PASSING:
                return error
            self.end(error)
            return None
        if not survival.proves(packet.proof, survival.generation, channel):
            raise ProtocolViolation("the listener cannot prove that it knows the session")
        incarnation = packet.parameters.incarnation if packet.parameters is not None else packet.incarnation
        if incarnation is None or not self.may_restart(incarnation):
            raise ProtocolViolation("the listener was restarted, which the session does not outlive")
        if packet.parameters is None:
            self._peer_restarted(incarnation, now)
            return SessionReset("the listener was restarted")
        self._resume(packet.parameters, now)
        return None

    def _resume(self, peer: Parameters, now: float) -> None:
        survival = self.survival
        if peer.incarnation != survival.peer_incarnation:
            self._peer_restarted(peer.incarnation, now)
        restarted, self._restarted = self._restarted, False
        survival.resumed(now)
        self._take_limits(peer)
        self._note()
        if self._told_open:
            self.tell(SessionResumed(restarted))
        else:
            self._told_open = True
            self.tell(SessionOpened())

    def _peer_restarted(self, incarnation: int, now: float) -> None:
        """The peer has lost its memory of all that is not durable, and so may this side."""
        self.survival.peer_incarnation = incarnation
        self._restarted = True
        self.tell(*self.streams.peer_restarted(StreamForgotten("the peer was restarted"), now))
        self.control.retain(("session", "close", "closeack"))
        self.sending.peer_restarted(SessionReset("the peer was restarted"))
        self.tell(*self.receiving.take_events(False))
        self.receiving.peer_restarted()

    def let_go(self) -> None:
        """Its connection is over: forget that."""
        self._learn = _nothing

    def park(self, error: HypermailError) -> None:
        """
        The session leaves this process, and stays on disk.

        @raise UsageError: when it is not there.
        """
        if self.journal is None or self.state not in LIVING:
            raise UsageError("the session does not outlive its process")
        self.parked = True
        self.journal.finish(Suspended(self.journal.id))
        self.end(error)


def _nothing(peer: Parameters) -> None:
    """There is no link that could learn of the peer."""


def _refusal(text: str, code: int) -> HypermailError:
    """Why a listener does not go on with a session."""
    if code == Reason.SESSION_UNKNOWN:
        return SessionReset("the listener does not know this session any more; was it restarted?", code)
    return SessionRejected(f"the listener refused to go on with the session: {because(text, code)}", code)
