"""
A connection: joins one link and one session. Bytes and time in, datagrams and events out.

It moves packets between the layers, which only return them, and has no policy of its own. It never
reads a clock, opens a socket or draws a random number, and never calls the application: whoever drives
it drains L{Connection.next_event}, then L{Connection.trains}, after everything that it does to it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hypermail.ending import Ending
from hypermail.errors import (
    HypermailError,
    LimitExceeded,
    Reason,
    SessionAborted,
    SessionReset,
    UsageError,
    VersionMismatch,
)
from hypermail.events import (
    Event,
    SessionEnded,
    SessionRequested,
    StreamOptions,
)
from hypermail.intake import Intake
from hypermail.link.heartbeat import Heartbeat
from hypermail.link.link import Link
from hypermail.link.train import Train, couple
from hypermail.messages.lanes import LaneProperties
from hypermail.messages.outgoing import OutgoingMessage
from hypermail.options import Delivery, Mode, Options, Role
from hypermail.outlet import Outlet
from hypermail.security.handshake import Handshake, HandshakeFactory
from hypermail.security.tokens import same_token
from hypermail.session.session import Session
from hypermail.session.states import State
from hypermail.streams.stream import Stream
from hypermail.trace import NullTrace
from hypermail.wire import packets as p
from hypermail.wire.header import VERSION, Retry, Versions
from hypermail.wire.parameters import Parameters

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

RandomBytes = Callable[[int], bytes]
#: Makes a trace for a new connection: (role, what names it, now) -> trace.
TraceFactory = Callable[[Role, str, float], NullTrace]


class Connection:
    """
    One side of a session over one link.

    @param token: by which a listener has admitted the starter; empty when by none.
    @param skips: 32 bytes that decide which packet numbers are left out; nobody else may know them.
    @param refusal: why a listener refuses whatever is asked, without asking its application.

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
        now: float,
        trace: NullTrace,
        skips: bytes,
        token: bytes = b"",
        refusal: HypermailError | None = None,
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
        silence = Heartbeat.silence(options)
        limits = Parameters(
            options.max_message,
            options.allowance_bytes,
            options.allowance_messages,
            options.max_lanes,
            options.max_streams,
            options.stream_window,
            options.receive_buffer,
            options.max_datagram,
            int(silence * 1000),
            reset_token,
        )
        self._session = Session(role, options, limits, self._learn)
        self._peer_reset_token = b""
        self._events: deque[Event] | None = None  # while there are any
        self._intake = Intake(role, self._link, self._session, options.hold_bytes, self._asked)
        self._outlet = Outlet(self._link, self._session)
        self._ending = Ending(role, options, self._link, self._session, self._intake, now)
        if role is Role.STARTER:
            self._session.ask()
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
    ) -> Connection:
        """
        The side that asks for a session.

        @param address: of the listener; opaque.
        @param now: s, monotonic.
        @param random_bytes: gives so many unpredictable bytes.
        @param handshake: makes the starter's side of one.
        """
        first_tag = int.from_bytes(random_bytes(8), "big")
        return cls(
            Role.STARTER,
            handshake(Role.STARTER),
            options=options,
            address=address,
            local_tag=int.from_bytes(random_bytes(8), "big"),
            first_tag=first_tag,
            remote_tag=first_tag,
            reset_token=b"",
            now=now,
            trace=trace,
            skips=random_bytes(32),
        )

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
        return self._link.session_id

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
    def state(self) -> State:
        """Where the session is in its life."""
        return self._session.state

    @property
    def opening(self) -> bool:
        """Whether the session has neither been opened nor refused yet."""
        return self._session.state in (State.NEW, State.OPENING, State.DECIDING)

    def statistics(self) -> dict[str, Any]:
        """Counters and estimates, for people to look at."""
        return {**self._session.statistics(), **self._link.statistics()}

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
        if self.ended:
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
        link.end_turn(now)
        if self._session.control.crowded and not ending.over:
            ending.broke(LimitExceeded("the peer leaves too many control packets unacknowledged"), now)
        self._session.drain()
        ending.look(now)

    def _asked(self, packet: p.SessionOpen) -> None:
        """Listener: the peer asks for a session."""
        if not self._session.asked(packet):
            return
        if self._refusal is not None:
            self._session.reject(self._refusal.code, self._refusal.text)
        else:
            self._session.events.append(SessionRequested(packet.way, self.address, self.peer_certificate))

    def _learn(self, peer: Parameters) -> None:
        self._peer_reset_token = peer.reset_token
        self._link.peer_limits(peer.receive_buffer, peer.max_datagram, peer.silence / 1000, self._now)

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
        if self.ended:
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
        if self.role is Role.STARTER:
            self._link.moved(now)

    @property
    def unanswered(self) -> bool:
        """Whether the peer has left what it was sent unacknowledged for longer than it should."""
        return self._link.recovery.unanswered

    # Time

    def next_timeout(self) -> float | None:
        """s when L{handle_timeout} is to be called; None when nothing is left to wait for."""
        if self.ended:
            return None
        deadline = self._ending.next_timeout(self._link.next_timeout())
        other = self._session.sending.deadline()
        return deadline if other is None or deadline < other else other

    def handle_timeout(self, *, now: float) -> None:
        """Time has passed. Harmless when early."""
        self._now = now
        if self.ended:
            return
        beat = self._link.timeout(now)
        if not self._ending.over:
            self._session.sending.expire(now)
        self._ending.timeout(beat, now)

    # Events out

    def next_event(self) -> Event | None:
        """What happened, in order; None when nothing (more) did."""
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

    # The application's side

    def accept(self, *, now: float) -> None:
        """Listener: take the session that was requested. @raise UsageError: when none was."""
        self._now = now
        if self._session.state is not State.DECIDING:
            raise UsageError("no session is waiting for an answer")
        self._session.accept()
        try:
            self._intake.release()
        except HypermailError as error:
            self._ending.broke(error, now)

    def reject(self, code: int = Reason.SESSION_REJECTED, text: str = "", *, now: float) -> None:
        """Listener: refuse the session that was requested. @raise UsageError: when none was."""
        self._now = now
        self._session.reject(code, text)
        self._ending.look(now)

    def send_message(
        self, data: bytes, *, lane: int = 0, expires: float | None = None, wanted: bool = True, now: float
    ) -> OutgoingMessage:
        """
        Send a message.

        @param data: is not copied and must not change.
        @param expires: s from now after which it is given up.
        @param wanted: whether L{MessagesSettled} is to tell of its fate.
        @raise MessageTooLarge: for more than the peer takes.
        @raise HypermailError: when the session can't carry it.
        """
        self._now = now
        session = self._session
        session.check_sending()
        deadline = None if expires is None else now + expires
        return session.sending.send(data, lane, deadline, wanted)

    def ask(self, data: bytes, *, now: float) -> OutgoingMessage:
        """
        Ask the peer's application: C{RepliesReceived} brings the reply, or L{MessagesSettled} tells why there is none.

        @param data: is not copied and must not change.
        @raise MessageTooLarge: for more than the peer takes.
        @raise HypermailError: when the session can't carry it, or its reply.
        """
        self._now = now
        return self._session.send_ask(data)

    def answer(self, number: int, reply: bytes, *, now: float) -> None:
        """
        Answer an ask; to refuse one, its lane has C{reject}. Harmless when the session is over.

        @param number: as C{AsksReceived} has told.
        @raise MessageTooLarge: when the reply is larger than the peer takes; the ask still waits.
        @raise UsageError: when the ask does not wait for an answer.
        """
        self._now = now
        if not self._ending.over:
            self._session.answer(number, reply)

    def cancel_message(self, message: OutgoingMessage, *, now: float) -> None:
        """Withdraw a message, unless the peer's application has taken it already."""
        self._now = now
        if not self._ending.over:
            self._session.sending.cancel(message)

    def configure_lane(
        self,
        number: int,
        *,
        ordered: bool = True,
        delivery: Delivery = Delivery.ACKED,
        priority: int = 0,
        redundancy: int = 0,
    ) -> None:
        """
        Say what a lane is, before its first message: see L{LaneProperties}.

        @raise UsageError: when it is something else already, or can't be that.
        """
        self._session.sending.configure(number, LaneProperties(ordered, delivery, priority, redundancy))

    @property
    def messages_full(self) -> bool:
        """Whether producers of messages should pause; C{MessagesWritable} says when to go on."""
        return self._session.sending.full

    def is_direct(self, lane: int) -> bool:
        """Whether a lane's messages are direct ones."""
        return self._session.sending.is_direct(lane)

    def send_direct(self, data: bytes) -> None:
        """Send bytes once. @raise MessageTooLarge: when they don't fit a datagram of this path."""
        self._session.check_sending()
        self._session.sending.send_direct(data, self._link.room)

    def open_stream(self, name: bytes = b"", options: StreamOptions = StreamOptions(), *, now: float) -> Stream:
        """Open a stream, which carries data at once. @raise HypermailError: when the session can't."""
        self._now = now
        self._session.check_open()
        return self._session.streams.open(name, options)

    def close(self, *, now: float) -> None:
        """
        Deliver everything, then end. A session that isn't open yet is aborted.
        """
        self._now = now
        if self._ending.over:
            return
        if self.opening:
            self.abort(Reason.APPLICATION, "closed while opening", now=now)
            return
        self._session.close()

    def abort(self, code: int = Reason.APPLICATION, text: str = "", *, now: float) -> None:
        """End the session at once; the peer reads code and text."""
        self._now = now
        if not self._ending.over:
            because = f": {text}" if text else ""
            self._ending.die(SessionAborted(f"the session was aborted here{because}", code), code, text, now)

    def ping(self, *, now: float) -> None:
        """Measure a round trip: L{PingAnswered} follows."""
        self._now = now
        self._session.check_open()
        self._intake.ping(now)
