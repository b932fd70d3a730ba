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

from hypermail.continuation import Continuation, parameters_of
from hypermail.ending import HELLO_TIMEOUT, Ending
from hypermail.errors import (
    HypermailError,
    LimitExceeded,
    SessionReset,
    VersionMismatch,
)
from hypermail.events import Event, SessionEnded
from hypermail.intake import Intake
from hypermail.link.heartbeat import Beat
from hypermail.link.link import Link
from hypermail.link.train import Train, couple
from hypermail.options import Mode, Options, Role
from hypermail.outlet import Outlet
from hypermail.security.handshake import Handshake, HandshakeFactory
from hypermail.security.tokens import same_token
from hypermail.session.journal import StoredSession
from hypermail.session.session import Session
from hypermail.session.states import State
from hypermail.trace import NullTrace
from hypermail.wire import packets as p
from hypermail.wire.header import VERSION, Retry, Versions

if TYPE_CHECKING:
    pass

RandomBytes = Callable[[int], bytes]
#: Datagrams that are opened before the first of them is taken: what they hold is kept meanwhile.
MOST_OPENED = 64
#: Bytes; a datagram that brings nothing but a ping, its answer and acknowledgements has no more of them, mostly.
LARGEST_BEAT = 80
#: Makes a trace for a new connection: (role, what names it, now) -> trace.
TraceFactory = Callable[[Role, str, float], NullTrace]


class Connection(Continuation):
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
    @ivar calm: whether the last call of L{receive} or L{handle_timeout} has brought nothing but a beat of the heart:
        there is nothing to be told or sent, and no timer to be moved, but for what L{beat} says.
    @ivar resting: whether nothing but such beats has happened since the last time that all was looked at.
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
        self.calm = False
        self.resting = False
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
        patience = options.connection_timeout if self._link.hello_heard else HELLO_TIMEOUT
        if self._session.survival.claiming and not self._session.returning:  # which has one attempt only
            patience = self._session.survival.patience
        self._ending = Ending(role, options, self._link, self._session, self._intake, now, patience)
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

    def let_go(self) -> None:
        """It is over, and nobody will call it but for what it was: let nothing in it refer back to it."""
        if not self._released:
            self._session.let_go()
        self._intake.let_go()

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
        self.calm = False
        if self._ending.ended or self._ending.suspended:
            return
        link, ending = self._link, self._ending
        elsewhere = None if address == link.path.address else address
        inbound = link.inbound
        inbound.codepoint = ecn
        rests = len(datagrams) == 1 and elsewhere is None and len(datagrams[0]) <= LARGEST_BEAT and self._rests(now)
        self._intake.calm = False
        tried = self._receive_trains(datagrams, now) if elsewhere is None and len(datagrams) > 1 else 0
        for datagram in datagrams[tried:] if tried else datagrams:
            if ending.suspended:
                return
            opened = link.open(datagram, now, elsewhere)
            if opened is not None:
                try:
                    self._intake.take(opened, now)
                except HypermailError as error:
                    ending.broke(error, now)
            if inbound.failure is not None:
                ending.gave_out(inbound.failure, now)
        if ending.suspended:
            return
        if link.session_id and not self._begun:
            self._begin()
        rtt = link.rtt
        link.acks.end_turn(now, rtt.smoothed if rtt.measured else 0.0)
        session = self._session
        if session.control.crowded and not session.over:
            ending.broke(LimitExceeded("the peer leaves too many control packets unacknowledged"), now)
        session.drain()
        if session.over:
            ending.look(now)
        self.calm = self.resting = rests and self._intake.calm and link.beats

    def _rests(self, now: float) -> bool:
        """Whether the heartbeat is all that there may be to see to."""
        if self.resting:  # only a search for larger datagrams begins by itself
            route = self._link.route
            return now < route.discovery.due_at or not route.probe_size(now)
        session = self._session
        return (
            self._link.rests(now)
            and session.state is State.OPEN
            and self._events is None
            and not self._ending.suspended
        )

    def _receive_trains(self, datagrams: list[memoryview], now: float) -> int:
        """
        Take datagrams that come from where the peer is known to be, one like the other. (What is saved for each of a
        train costs more than one that comes alone.)

        @return: how many; those behind them are to be looked at one by one.
        """
        tried = 0
        while len(datagrams) - tried > 1 and self._link.steady and not self._ending.suspended:
            some = datagrams[tried : tried + MOST_OPENED]
            taken = self._receive_train(some, now)
            tried += taken
            if taken < len(some):
                break
        return tried

    def _receive_train(self, datagrams: list[memoryview], now: float) -> int:
        """Take some of them. @return: how many."""
        link, intake, ending = self._link, self._intake, self._ending
        inbound = link.inbound
        opened, tried = inbound.open_train(datagrams, now)
        if inbound.failure is not None:
            ending.gave_out(inbound.failure, now)
        rest = iter(opened)
        while not ending.suspended:
            try:
                other = intake.take_chunks(rest, now)
            except HypermailError as error:
                ending.broke(error, now)
                continue
            if other is None:
                break
            link.turn_to(other)
            try:
                intake.take(other, now)
            except HypermailError as error:
                ending.broke(error, now)
            if inbound.failure is not None:
                ending.gave_out(inbound.failure, now)
        return tried

    def _begin(self) -> None:
        """The link has keys: a starter's session may show that it is the one of before."""
        self._begun = True
        self._session.survival.worker = self._worker
        if self._session.survival.claiming:
            self._session.claim(self._channel)
        elif self.role is Role.STARTER:
            self._session.begin(self._link.session_id, self._channel)

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
        self.more = self.resting = False
        session, link, ending = self._session, self._link, self._ending
        if ending.ended:
            return []
        if ending.suspended:
            if session.journal is not None:  # what is taken meanwhile is written down meanwhile
                session.receiving.acknowledge()
            return []
        carrying = session.carrying
        if carrying:
            session.receiving.acknowledge()
            session.drain()
            carrying = not session.over
        if session.over:
            ending.look(now)
            if ending.unheard:
                ending.bury()
                return []
        out, address, discovery = link.outbound, link.path.address, link.route.discovery
        trains = out.answer_challenges(now)
        if out.flight is not None:
            trains += couple(address, link.long_datagrams(now))
        probe = out.probe(now) if carrying and now >= discovery.due_at else None
        if probe is not None:  # larger than the others, and perhaps than the path carries: alone
            trains.append(Train(address, [probe]))
        if link.keyed:
            first = link.recovery.next_number
            datagrams, self.more = self._outlet.fill(now)
            if len(datagrams) > 1:
                discovery.hurry(now)
            if datagrams:
                trains += couple(address, datagrams, link.route.mark(first, len(datagrams), now))
            if out.failure is not None:
                ending.gave_out(out.failure, now)
        if session.over:
            ending.said(now)
        return trains

    def beat(self, *, now: float) -> list[Train]:
        """In place of L{trains}, where all was L{calm}; it is not said to be so again before something happens."""
        self._now = now
        self.calm = False
        link = self._link
        first = link.recovery.next_number
        datagrams = link.beat(now)
        return [Train(self.address, datagrams, link.route.mark(first, 1, now))] if datagrams else []

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
        ending = self._ending
        if ending.ended:
            return None
        if ending.suspended:
            return self._session.next_timeout()
        deadline = ending.next_timeout(self._link.next_timeout())
        other = self._session.sending.deadline()
        return deadline if other is None or deadline < other else other

    def handle_timeout(self, *, now: float) -> None:
        """Time has passed. Harmless when early."""
        self._now = now
        self.calm = False
        if self.ended:
            return
        if self._ending.suspended:
            self._session.timeout(now)
            self._ending.look(now)
            return
        expiry = self._session.sending.deadline()
        rests = (expiry is None or now < expiry) and self._rests(now)
        beat = self._link.timeout(now)
        if not self._ending.over:
            self._session.sending.expire(now)
        self._ending.timeout(beat, now)
        self.calm = self.resting = rests and beat is not Beat.DEAD and self._link.beats

    # Events out

    def next_event(self) -> Event | None:
        """What happened, in order; None when nothing (more) did."""
        if self._released:
            return None
        waiting = self._events
        if waiting is None:
            events = self._session.take_events(self._now, self._link.rtt.smoothed)
            if not events:
                return None
            if type(events[-1]) is SessionEnded:
                self._trace_end(events[-1].error)
            if len(events) == 1:  # as is usual
                return events[0]
            waiting = self._events = deque(events)
        event = waiting.popleft()
        if not waiting:
            self._events = None
        return event
