"""
The session of a connection: asked for, or claimed and taken over from another connection; kept on disk, given away.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.hashes import SHA256

from hypermail.commands import Commands
from hypermail.errors import (
    CredentialError,
    HypermailError,
    ProtocolViolation,
    Reason,
    SessionKilled,
    SessionRejected,
    SessionReset,
    UsageError,
)
from hypermail.events import Event, SessionClaimed, SessionRequested
from hypermail.intake import Asking
from hypermail.link.allowance import Allowance
from hypermail.link.figures import COUNTERS
from hypermail.link.heartbeat import Heartbeat
from hypermail.link.train import Train
from hypermail.options import Options, Persistence, Role
from hypermail.outlet import Outlet
from hypermail.security.identity import pin_of
from hypermail.session.journal import EARLY_INCARNATION, QueuedMessage, StoredSession
from hypermail.session.session import ONLY_THE_LINKS, Session
from hypermail.session.states import State
from hypermail.session.survival import Channel, unknown_session
from hypermail.trace import NullTrace
from hypermail.wire import header
from hypermail.wire import packets as p
from hypermail.wire.parameters import Parameters

if TYPE_CHECKING:
    from cryptography.x509 import Certificate


class Continuation(Commands):
    """Over which link a session goes on: of L{hypermail.connection.Connection}, which has all that is used here."""

    role: Role
    options: Options
    _events: deque[Event] | None
    _outlet: Outlet
    _peer_reset_token: bytes
    _refusal: HypermailError | None
    _released: bool
    _reset_token: bytes
    _revived: Session | None
    _trace: NullTrace

    @property
    def address(self) -> Any:
        """Where the peer is."""
        return self._link.path.address

    @property
    def allowance(self) -> Allowance:
        """How much may leave there now."""
        return self._link.allowance

    @property
    def session_id(self) -> bytes:
        """16 bytes that name the session, equal on both sides; empty before there are keys."""
        return self._session.survival.id or self._link.session_id

    @property
    def peer_certificate(self) -> Certificate | None:
        """The peer's, once it has proved that it holds its key; None when it has shown none."""
        return self._link.peer_certificate

    def statistics(self) -> dict[str, Any]:
        """Counters, of all links that the session has had, and estimates, for people to look at."""
        found = {**self._session.statistics(), **self._link.statistics()}
        for name, count in self._session.survival.counted.items():
            found[name] += count
        return found

    # Who asks for what

    @property
    def _persistence(self) -> Persistence:
        return Persistence.STORE if self.options.durable else Persistence.PROCESS

    @property
    def _channel(self) -> Channel:
        certificate = self._link.peer_certificate if self.role is Role.LISTENER else None
        return Channel(self._link.secret, b"" if certificate is None else _name_of_key(certificate))

    @property
    def _worker(self) -> int:
        """The byte of the listener's tags, and of the starter's first ones, by which a worker process is found."""
        return (self._link.remote_tag if self.role is Role.STARTER else self._link.local_tag) >> 56

    def _asked(self, packet: Asking) -> None:
        """The peer asks for a session, or for one of before, or has answered to that, or ends everything."""
        if type(packet) is p.SessionDeath:
            self._killed(packet)
        elif type(packet) is p.SessionReopenAck:
            if self.role is Role.LISTENER:
                raise ProtocolViolation("the starter answers a claim")
            self._claim_answered(packet)
        elif self._session.wanted():
            claimed = self._intake.claimed = type(packet) is p.SessionReopen
            if self._refusal is not None:
                self._session.reject(self._refusal.code, self._refusal.text, claimed)
            elif type(packet) is p.SessionReopen and not self._link.secret:
                self._session.reject(Reason.CANNOT_REOPEN, "this mode cannot reopen sessions", claimed=True)
            elif type(packet) is p.SessionReopen:
                self._claim = packet
                self._session.tell(SessionClaimed(packet.session, self.address, self.peer_certificate))
            elif type(packet) is p.SessionOpen and packet.parameters.persistence > self._persistence:
                self._session.reject(Reason.NOT_DURABLE, "this listener keeps no sessions over restarts")
            elif type(packet) is p.SessionOpen:
                self._session.begin(self._link.session_id, self._channel)
                self._session.asked(packet)
                self._session.tell(SessionRequested(packet.way, self.address, self.peer_certificate))

    def _killed(self, packet: p.SessionDeath) -> None:
        """The peer ends the session; or, while that is claimed, nothing but the link."""
        claiming = self.role is Role.STARTER and self._session.survival.claiming
        if claiming and packet.code in ONLY_THE_LINKS:
            text = packet.text or Reason.describe(packet.code)
            self._ending.lose(SessionKilled(f"the listener ended the link: {text}", packet.code), self._now)
        else:
            self._session.killed(packet)

    def _learn(self, peer: Parameters) -> None:
        self._peer_reset_token = peer.reset_token
        self._link.peer_limits(peer.receive_buffer, peer.max_datagram, peer.silence / 1000, self._now)

    # Sessions that go on

    def release(self, *, now: float) -> Session:
        """Give the session away: to the connection over whose link it goes on. This one is over."""
        self._now = now
        session = self._session
        self._trace_end(session.survival.error or SessionReset("the session goes on over another link"))
        found = self.statistics()
        session.survival.counted = {name: found[name] for name in COUNTERS}
        if not self._ending.suspended:
            self._ending.leave()
        self._ending.ended = self._released = True
        return session

    def go_on(self, before: Continuation, *, now: float) -> bool:
        """
        Listener: let the session of another connection go on here, as its starter has claimed.

        @param before: has the session that was claimed, with a link or without; it is over, unless the claim fails.
        @return: whether the session goes on. If not, its starter is told why.
        @raise UsageError: when none was claimed.
        """
        self._now = now
        claim = self._claim
        if claim is None:
            raise UsageError("no session is claimed here")
        if self._session.state is not State.DECIDING:  # its starter has given up
            return False
        session = before._session
        if not self._holds(session, claim):
            return False
        before.release(now=now)
        self._events = before._events
        self._carry(session, claim)
        return True

    def _carry(self, session: Session, claim: p.SessionReopen) -> None:
        """Let a session go on here, as was claimed and checked."""
        self._session = session
        for room in (self._intake, self._outlet, self._ending):
            room.carry(session)
        parameters = parameters_of(self.options, self._reset_token, session.survival.incarnation)
        session.carry_on(parameters, self._learn)
        try:
            session.claimed(claim, self._channel, self._now)
        except HypermailError as error:
            self._ending.broke(error, self._now)
        if session.survival.linked:
            self._take_held()

    def revive(self, stored: StoredSession, incarnation: int, *, now: float) -> bool:
        """
        Listener: let a session of before a restart go on here, as its starter has claimed, if the application wants it.

        @param stored: what was kept of it.
        @param incarnation: ours of it, as long as this process has no other memory of it.
        @return: whether it may go on: C{SessionRequested} follows. If not, its starter is told why.
        @raise UsageError: when none was claimed.
        """
        self._now = now
        claim = self._claim
        if claim is None or self._session.state is not State.DECIDING:
            raise UsageError("no session is claimed here")
        parameters = parameters_of(self.options, self._reset_token, incarnation)
        session = Session.restored(Role.LISTENER, self.options, parameters, stored)
        if not self._holds(session, claim):
            return False
        self._revived = session
        identity = stored.identity
        self._session.tell(SessionRequested(identity.way, self.address, self.peer_certificate, identity.id))
        return True

    def _holds(self, session: Session, claim: p.SessionReopen) -> bool:
        """Whether a claim to a session holds, and over this link; if not, its starter is told."""
        channel = self._channel
        try:
            if session.state is State.ENDED:
                raise unknown_session()
            session.survival.check(claim.generation, claim.proof, channel)
            if session.persistence is Persistence.LINK:
                raise SessionRejected("this session ends with its link", Reason.CANNOT_REOPEN)
            if not session.may_restart(claim.parameters.incarnation):
                raise unknown_session()
        except SessionRejected as error:
            self.reject(error.code, error.text, now=self._now)
            return False
        if claim.incarnation not in (EARLY_INCARNATION, session.survival.incarnation):
            self._session.refuse_claim(session.survival, claim.generation, channel)
            self._ending.look(self._now)
            return False
        return True

    def accept(self, taken: Mapping[int, int] = {}, *, now: float) -> None:
        """
        Listener: take the session that was requested.

        @param taken: of a session of before a restart, for durable lanes: the number below which the application has
            taken all messages, by its own records.
        @raise UsageError: when none was requested.
        """
        self._now = now
        if self._session.state is not State.DECIDING:
            raise UsageError("no session is waiting for an answer")
        session, claim = self._revived, self._claim
        if session is None or claim is None:
            self._session.accept()
            if self._session.carrying:
                self._take_held()
            return
        for lane, number in taken.items():
            session.receiving.restore(lane, number, ())
        self._carry(session, claim)

    @property
    def durable(self) -> bool:
        """Whether the session outlives its process."""
        return self._session.journal is not None

    @property
    def parked(self) -> bool:
        """Whether the session has left this process, and stays on disk."""
        return self._session.parked

    @property
    def returning(self) -> bool:
        """Whether the session was taken up from the disk, and nobody was told of it yet."""
        return self._session.returning

    def park(self, error: HypermailError, *, now: float) -> list[Train]:
        """
        Let the session leave this process; it stays on disk, for the next.

        @param error: what the application is told.
        @return: to be sent: a listener's starter learns of it at once.
        @raise UsageError: when the session is over, or does not outlive its process.
        """
        self._now = now
        self._session.park(error)
        farewell = []
        if self._reset_token and self._session.survival.linked and not self._ending.suspended:
            reset = header.encode_reset(header.Reset(self._link.local_tag, self._reset_token))
            farewell.append(Train(self.address, [reset]))
        self._ending.leave()
        self._ending.ended = True
        return farewell

    # What has to outlive the process

    @property
    def has_changes(self) -> bool:
        """Whether anything is to be written down, and not by the connection that the session goes on over."""
        journal = self._session.journal
        return journal is not None and journal.waiting and not self._released

    def take_changes(self) -> list[Any]:
        """
        What is to be written down now, in one piece: L{hypermail.session.journal}. L{changes_written} has to follow,
        once for each time that this is called, and in the same order.
        """
        journal = self._session.journal
        return [] if journal is None else journal.take()

    def changes_written(self, safe: bool, *, now: float) -> None:
        """
        What was taken first is on disk.

        @param safe: whether it is; if not, it will not be, and neither will what was taken after it until now.
        """
        self._now = now
        session = self._session
        if session.journal is not None:
            try:
                session.journal.tell(safe, now)
            except HypermailError as error:
                self._ending.broke(error, now)
        if session.store_error is not None and not self._ending.over:
            self._ending.gave_out(session.store_error, now)
        elif session.carrying and session.survival.linked:
            self._take_held()
        self._ending.look(now)

    def load(self, lane: int, first: int, messages: list[tuple[int, QueuedMessage]] | None, *, now: float) -> None:
        """
        Messages were brought back from the disk, as C{MessagesWanted} has asked.

        @param messages: ascending, C{expires} by the clock of C{now}; None when they could not be read, for now.
        """
        self._now = now
        if not self._ending.over:
            self._session.sending.load(lane, first, messages)

    def _claim_answered(self, packet: p.SessionReopenAck) -> None:
        """Starter: the listener lets the session go on, or not, or not over this link."""
        error = self._session.claim_answered(packet, self._channel, self._now)
        if error is not None and self._ending.lose(error, self._now) and packet.incarnation is not None:
            self._session.survival.hurry(self._now)

    def _trace_end(self, error: HypermailError) -> None:
        if not self._trace.kept:
            return
        self._trace.event(
            self._now,
            "connectivity:connection_closed",
            code=error.code,
            reason=error.text,
            session_id=self.session_id.hex(),
            **self.statistics(),
        )
        self._trace.close()


def parameters_of(options: Options, reset_token: bytes, incarnation: int) -> Parameters:
    """What a side tells of itself over one link."""
    persistence = Persistence.STORE if options.durable else Persistence.PROCESS
    return Parameters(
        options.max_message,
        options.allowance_bytes,
        options.allowance_messages,
        options.max_lanes,
        options.max_streams,
        options.stream_window,
        options.receive_buffer,
        options.max_datagram,
        int(Heartbeat.silence(options) * 1000),
        incarnation,
        persistence if options.allow_reopen else Persistence.LINK,
        reset_token,
    )


def _name_of_key(certificate: Certificate) -> bytes:
    """Equal for certificates of one public key; of a key that cannot be read, for the same certificate."""
    try:
        return pin_of(certificate).encode("ascii")
    except CredentialError:
        return certificate.fingerprint(SHA256())
