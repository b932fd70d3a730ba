"""
A connection: joins one link and one session. Bytes and time in, datagrams and events out.

It moves packets between the layers, which only return them, and has no policy of its own. It never
reads a clock, opens a socket or draws a random number, and never calls the application: whoever drives
it drains L{Connection.next_event}, then L{Connection.trains}, after everything that it does to it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.hashes import SHA256

from hypermail.commands import Commands
from hypermail.ending import Ending
from hypermail.errors import (
    CredentialError,
    HypermailError,
    LimitExceeded,
    ProtocolViolation,
    Reason,
    SessionKilled,
    SessionRejected,
    SessionReset,
    UsageError,
    VersionMismatch,
)
from hypermail.events import Event, SessionClaimed, SessionEnded, SessionRequested
from hypermail.intake import Asking, Intake
from hypermail.link.figures import COUNTERS
from hypermail.link.heartbeat import Heartbeat
from hypermail.link.link import Link
from hypermail.link.train import Train, couple
from hypermail.options import Mode, Options, Persistence, Role
from hypermail.outlet import Outlet
from hypermail.security.handshake import Handshake, HandshakeFactory
from hypermail.security.identity import pin_of
from hypermail.security.tokens import same_token
from hypermail.session.journal import EARLY_INCARNATION, QueuedMessage, StoredSession
from hypermail.session.session import ONLY_THE_LINKS, Session
from hypermail.session.states import State
from hypermail.session.survival import Channel, unknown_session
from hypermail.trace import NullTrace
from hypermail.wire import header
from hypermail.wire import packets as p
from hypermail.wire.header import VERSION, Retry, Versions
from hypermail.wire.parameters import Parameters

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

RandomBytes = Callable[[int], bytes]
#: Makes a trace for a new connection: (role, what names it, now) -> trace.
TraceFactory = Callable[[Role, str, float], NullTrace]


class Connection(Commands):
    """
    One side of a session over one link.

    The link is its own; the session may go on over that of another connection, and then is that one's.

    @param incarnation: 64 bits that tell this side's memory of the session from others.
    @param token: by which a listener has admitted the starter; empty when by none.
    @param skips: 32 bytes that decide which packet numbers are left out; nobody else may know them.
    @param refusal: why a listener refuses whatever is asked, without asking its application.
    @param session: a starter's that is to go on here; None for a new one.
    @param stored: a starter's of before a restart, that is to go on here.
    @param name: by which a starter's durable session is to be found again.

    @ivar role: which side this is.
    @ivar options: what this side wants and bears.
    @ivar more: whether the last call of L{trains} has left something that may leave now.
    """

    def __init__(
        self,
        role: Role,
        handshake: Handshake,
        *,
        options: Options,
        address: Any,
        local_tag: int,
        first_tag: int,
        remote_tag: int,
        reset_token: bytes,
        incarnation: int,
        now: float,
        trace: NullTrace,
        skips: bytes,
        token: bytes = b"",
        refusal: HypermailError | None = None,
        session: Session | None = None,
        stored: StoredSession | None = None,
        name: str = "",
    ) -> None:
        self.role = role
        self.options = options
        self.more = False
        self._trace = trace
        self._refusal = refusal
        self._now = now
        self._link = Link(
            role,
            options,
            handshake,
            local_tag=local_tag,
            first_tag=first_tag,
            remote_tag=remote_tag,
            address=address,
            now=now,
            trace=trace,
            token=token,
            skips=skips,
        )
        self._reset_token = reset_token
        self._peer_reset_token = b""
        self._claim: p.SessionReopen | None = None
        self._revived: Session | None = None  # what was claimed, and is kept on disk only
        self._released = False
        self._begun = False  # whether the session knows of the link's keys
        self._events: deque[Event] | None = None  # while there are any
        if session is None and stored is not None:
            session = Session.restored(role, options, parameters_of(options, reset_token, incarnation), stored)
        if session is None:
            self._session = Session(role, options, parameters_of(options, reset_token, incarnation), self._learn)
            self._session.survival.name = name
            if role is Role.STARTER:
                self._session.ask()
        else:
            self._session = session
            session.carry_on(parameters_of(options, reset_token, session.survival.incarnation), self._learn)
        self._intake = Intake(role, self._link, self._session, options.hold_bytes, self._asked)
        self._outlet = Outlet(self._link, self._session)
        self._ending = Ending(role, options, self._link, self._session, self._intake, now)
        trace.event(now, "connectivity:connection_started", role=role.name.lower(), peer=str(address))

    @classmethod
    def starter(
        cls,
        address: Any,
        *,
        options: Options,
        now: float,
        random_bytes: RandomBytes,
        handshake: HandshakeFactory,
        trace: NullTrace = NullTrace(),
        before: Connection | None = None,
        stored: StoredSession | None = None,
        taken: Mapping[int, int] = {},
        name: str = "",
    ) -> Connection:
        """
        The side that asks for a session.

        @param address: of the listener; opaque.
        @param now: s, monotonic.
        @param random_bytes: gives so many unpredictable bytes.
        @param handshake: makes the starter's side of one.
        @param before: a connection that has lost its link, and whose session is to go on over this one; it is over
            then. None for a new session.
        @param stored: the same of a session of before a restart.
        @param taken: as of L{accept}.
        @param name: by which a new durable session is to be found again after one.
        """
        first_tag = random_bytes(8)
        if before is not None:  # so that it comes to the worker that has the session
            first_tag = bytes((before._session.survival.worker,)) + first_tag[1:]
        elif stored is not None:
            first_tag = bytes((stored.identity.worker,)) + first_tag[1:]
        connection = cls(
            Role.STARTER,
            handshake(Role.STARTER),
            options=options,
            address=address,
            local_tag=int.from_bytes(random_bytes(8), "big"),
            first_tag=int.from_bytes(first_tag, "big"),
            remote_tag=int.from_bytes(first_tag, "big"),
            reset_token=b"",
            incarnation=int.from_bytes(random_bytes(8), "big"),
            now=now,
            trace=trace,
            skips=random_bytes(32),
            session=None if before is None else before.release(now=now),
            stored=stored,
            name=name,
        )
        if before is not None:
            connection._events = before._events
        for lane, number in taken.items():
            connection._session.receiving.restore(lane, number, ())
        return connection

    # What it is

    @property
    def address(self) -> Any:
        """Where the peer is."""
        return self._link.path.address

    @property
    def local_tag(self) -> int:
        """What the peer's datagrams bear."""
        return self._link.local_tag

    @property
    def remote_tag(self) -> int:
        """What ours bear."""
        return self._link.remote_tag

    @property
    def first_tag(self) -> int:
        """What the starter's first datagrams bore."""
        return self._link.first_tag

    @property
    def session_id(self) -> bytes:
        """16 bytes that name the session, equal on both sides; empty before there are keys."""
        return self._session.survival.id or self._link.session_id

    @property
    def peer_certificate(self) -> Certificate | None:
        """The peer's, once it has proved that it holds its key; None when it has shown none."""
        return self._link.peer_certificate

    @property
    def hello_heard(self) -> bool:
        """Whether everything that a starter says first has arrived."""
        return self._link.hello_heard

    @property
    def verified(self) -> bool:
        """Whether the peer has proved whatever the mode asks it to prove."""
        return self._link.verified

    @property
    def ended(self) -> bool:
        """Whether everything is over, the tombstone included: it may be forgotten."""
        return self._ending.ended

    @property
    def linked(self) -> bool:
        """Whether the session has a link that it may use."""
        return self._session.survival.linked

    @property
    def suspended(self) -> bool:
        """Whether the link is over, and the session waits for another one."""
        return self._ending.suspended and not self._ending.ended

    @property
    def released(self) -> bool:
        """Whether the session goes on over the link of another connection."""
        return self._released

    @property
    def state(self) -> State:
        """Where the session is in its life."""
        return self._session.state

    def statistics(self) -> dict[str, Any]:
        """Counters, of all links that the session has had, and estimates, for people to look at."""
        found = {**self._session.statistics(), **self._link.statistics()}
        for name, count in self._session.survival.counted.items():
            found[name] += count
        return found

    # Datagrams in

    def receive(self, datagrams: list[memoryview], address: Any, *, now: float, ecn: int = 0) -> None:
        """
        Take the datagrams of one read that bear this connection's tag.

        @param datagrams: memoryviews that are valid during the call only.
        @param address: where they came from.
        @param now: s, monotonic.
        @param ecn: the codepoint of explicit congestion notification (RFC 3168 §5) that all of them bear; 0 when that
            is unknown.
        """
        self._now = now
        if self.ended or self._ending.suspended:
            return
        link, ending = self._link, self._ending
        elsewhere = None if address == link.path.address else address
        link.codepoint = ecn
        for datagram in datagrams:
            opened = link.open(datagram, now, elsewhere)
            if opened is not None:
                try:
                    self._intake.take(opened, now)
                except HypermailError as error:
                    ending.broke(error, now)
            if link.failure is not None:
                ending.gave_out(link.failure, now)
            if ending.suspended:
                return
        if link.session_id and not self._begun:
            self._begin()
        link.end_turn(now)
        if self._session.control.crowded and not ending.over:
            ending.broke(LimitExceeded("the peer leaves too many control packets unacknowledged"), now)
        self._session.drain()
        ending.look(now)

    def _begin(self) -> None:
        """The link has keys: a starter's session may show that it is the one of before."""
        self._begun = True
        if self.role is Role.STARTER:
            self._session.survival.worker = self.remote_tag >> 56
        if self._session.survival.claiming:
            self._session.claim(self._channel)
        elif self.role is Role.STARTER:
            self._session.begin(self._link.session_id, self._channel)

    @property
    def _persistence(self) -> Persistence:
        return Persistence.STORE if self.options.durable else Persistence.PROCESS

    @property
    def _channel(self) -> Channel:
        certificate = self._link.peer_certificate if self.role is Role.LISTENER else None
        return Channel(self._link.secret, b"" if certificate is None else _name_of_key(certificate))

    def _asked(self, packet: Asking) -> None:
        """The peer asks for a session, or for one of before, or has answered to that, or ends everything."""
        if type(packet) is p.SessionDeath:
            self._killed(packet)
        elif type(packet) is p.SessionReopenAck:
            if self.role is Role.LISTENER:
                raise ProtocolViolation("the starter answers a claim")
            self._claim_answered(packet)
        elif self._session.wanted():
            if self._refusal is not None:
                claimed = type(packet) is p.SessionReopen
                self._session.reject(self._refusal.code, self._refusal.text, claimed)
            elif type(packet) is p.SessionReopen and not self._link.secret:
                self._session.reject(Reason.CANNOT_REOPEN, "this mode cannot reopen sessions", claimed=True)
            elif type(packet) is p.SessionReopen:
                self._claim = packet
                self._intake.claimed = True
                self._session.events.append(SessionClaimed(packet.session, self.address, self.peer_certificate))
            elif type(packet) is p.SessionOpen and packet.parameters.persistence > self._persistence:
                self._session.reject(Reason.NOT_DURABLE, "this listener keeps no sessions over restarts")
            elif type(packet) is p.SessionOpen:
                self._session.begin(self._link.session_id, self._channel)
                self._session.asked(packet)
                self._session.events.append(SessionRequested(packet.way, self.address, self.peer_certificate))

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

    def go_on(self, before: Connection, *, now: float) -> bool:
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
        self._session.events.append(SessionRequested(identity.way, self.address, self.peer_certificate, identity.id))
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
        if self._reset_token and self.linked and not self._ending.suspended:
            reset = header.encode_reset(header.Reset(self.local_tag, self._reset_token))
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

    # Datagrams that are no part of the session

    def reset(self, token: bytes, *, now: float) -> None:
        """
        The peer says that it doesn't know our tag.

        @param token: is compared in constant time with the one that the peer told.
        """
        self._now = now
        if self._peer_reset_token and same_token(token, self._peer_reset_token):
            self._ending.vanish(SessionReset("the peer does not know this session any more; was it restarted?"), now)

    def retry(self, retry: Retry, *, now: float) -> None:
        """A listener wants to know that we are where we say: everything is sent again, with its token."""
        self._now = now
        if self.role is Role.STARTER and retry.source == self.first_tag:
            self._link.retry(retry.token)

    def versions(self, versions: Versions, *, now: float) -> None:
        """
        The listener says what it speaks: a starter that has heard nothing else gives up, unless that is what
        it has asked for, when its hello was altered on the way (RFC 9000 §6.2).
        """
        self._now = now
        if self.role is not Role.STARTER or versions.source != self.remote_tag or self._link.keyed:
            return
        if VERSION in versions.versions and self._link.mode in versions.modes:
            return
        spoken = ", ".join(f"hypermail/{version}" for version in versions.versions)
        modes = ", ".join(Mode(mode).name.lower() for mode in versions.modes if mode in Mode._value2member_map_)
        text = f"the listener speaks {spoken or 'nothing'} in mode {modes or 'unknown'}"
        self._ending.vanish(VersionMismatch(text), now)

    # Datagrams out

    def trains(self, *, now: float) -> list[Train]:
        """
        What is to be sent now. To be called again while C{more} says so.

        @param now: s, monotonic.
        """
        self._now = now
        self.more = False
        if self.ended or self._ending.suspended:
            return []
        session, link, ending = self._session, self._link, self._ending
        if session.carrying:
            session.receiving.acknowledge()
            session.drain()
        ending.look(now)
        if ending.unheard:
            ending.bury()
            return []
        trains = link.path_trains(now)
        datagrams = link.long_datagrams(now)
        trains += couple(self.address, datagrams) if datagrams else []
        probe = link.probe(now) if session.carrying else None
        if probe is not None:  # larger than the others, and perhaps than the path carries: alone
            trains.append(Train(self.address, [probe]))
        if link.keyed:
            first, datagrams = link.recovery.next_number, []
            self.more = self._outlet.fill(datagrams, now)
            if datagrams:
                trains += couple(self.address, datagrams, link.route.mark(first, len(datagrams), now))
            if link.failure is not None:
                ending.gave_out(link.failure, now)
        ending.said(now)
        return trains

    def moved(self, *, now: float) -> None:
        """
        Starter: this host has another address than before. The listener is told at once, again and again; what is
        known of the path is forgotten, and what was in flight there is sent again.
        """
        self._now = now
        if self.role is not Role.STARTER:
            return
        survival = self._session.survival
        if survival.claiming and not self._link.keyed:  # the answers to its hello go to where we were
            self._ending.lose(SessionReset("this host has another address now"), now)
        if survival.linked or survival.claiming:
            self._link.moved(now)
        else:
            survival.hurry(now)

    def awaken(self, *, now: float) -> None:
        """
        Starter: this host may have been away for longer than the peer has patience. The peer is asked at once, so that
        one that does not know us any more says so; a session without a link tries another one.
        """
        self._now = now
        if self.role is Role.STARTER and not self.ended:
            self._session.survival.hurry(now)
            if not self._ending.suspended:
                self._link.wake()

    @property
    def unanswered(self) -> bool:
        """Whether the peer has left what it was sent unacknowledged for longer than it should."""
        return self._link.recovery.unanswered

    # Time

    def next_timeout(self) -> float | None:
        """s when L{handle_timeout} is to be called; None when nothing is left to wait for."""
        if self.ended:
            return None
        if self._ending.suspended:
            return self._session.next_timeout()
        deadline = self._ending.next_timeout(self._link.next_timeout())
        other = self._session.sending.deadline()
        return deadline if other is None or deadline < other else other

    def handle_timeout(self, *, now: float) -> None:
        """Time has passed. Harmless when early."""
        self._now = now
        if self.ended:
            return
        if self._ending.suspended:
            self._session.timeout(now)
            self._ending.look(now)
            return
        beat = self._link.timeout(now)
        if not self._ending.over:
            self._session.sending.expire(now)
        self._ending.timeout(beat, now)

    # Events out

    def next_event(self) -> Event | None:
        """What happened, in order; None when nothing (more) did."""
        if self._released:
            return None
        if self._events is None:
            events = self._session.take_events(self._now, self._link.rtt.smoothed)
            if not events:
                return None
            if type(events[-1]) is SessionEnded:
                self._trace_end(events[-1].error)
            self._events = deque(events)
        event = self._events.popleft()
        if not self._events:
            self._events = None
        return event

    def _trace_end(self, error: HypermailError) -> None:
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
