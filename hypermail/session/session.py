"""
A session: who may speak, what was agreed, and how it ends. It carries messages and streams.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from hypermail.errors import (
    HypermailError,
    NotSupported,
    ProtocolViolation,
    Reason,
    SessionClosed,
    SessionKilled,
    SessionRejected,
    SessionReset,
    SessionTimedOut,
    StoreFailed,
    StreamForgotten,
    UsageError,
)
from hypermail.events import (
    Event,
    MessagesSettled,
    MessagesStored,
    MessagesWanted,
    MessagesWritable,
    ReopenDue,
    SessionClosing,
    SessionEnded,
    SessionOpened,
    SessionResumed,
    SessionSuspended,
)
from hypermail.link.control import Control
from hypermail.messages.journal import Journal, Written
from hypermail.messages.outgoing import OutgoingMessage
from hypermail.messages.receiving import Receiving
from hypermail.messages.sending import Sending
from hypermail.options import KIB, Options, Persistence, Role, Way
from hypermail.session.journal import EARLY_INCARNATION, Over, StoredSession, Suspended, identity_of
from hypermail.session.states import SESSION, Input, State
from hypermail.session.survival import Channel, Survival
from hypermail.streams.set import Streams
from hypermail.wire import packets as p
from hypermail.wire.fields import Reader
from hypermail.wire.parameters import Parameters

#: What every listener bears before it has said what it bears: the starter's first flight keeps within it.
EARLY = Parameters(
    max_message=16 * KIB,
    allowance_bytes=32 * KIB,
    allowance_messages=256,
    max_lanes=16,
    max_streams=16,
    stream_window=16 * KIB,
    receive_buffer=16 * KIB,
    max_datagram=1_200,
    silence=30_000,
    incarnation=EARLY_INCARNATION,
    persistence=Persistence.PROCESS,
)
#: With what a claim is refused for now only.
PASSING = (Reason.TOO_MANY_SESSIONS, Reason.SHUTTING_DOWN, Reason.STORE_FAILED, Reason.INTERNAL_ERROR)
#: With what a listener ends a link over which a session was claimed and has not gone on yet, and not the session.
ONLY_THE_LINKS = (*PASSING, Reason.CONNECTION_TIMEOUT, Reason.PEER_SILENT)
#: States in which there is a session that may outlive its link.
_LIVING = (State.OPEN, State.CLOSING, State.CLOSE_SENT, State.CLOSE_RECEIVED)

_EARLY_LIMITS = ("max_message", "allowance_bytes", "allowance_messages", "max_lanes", "max_streams", "stream_window")


def _bear_early(options: Options) -> Options:
    """The options of a listener that bears what a starter may send before it has been told the listener's limits."""
    early = {name: getattr(EARLY, name) for name in _EARLY_LIMITS if getattr(options, name) < getattr(EARLY, name)}
    return replace(options, **early) if early else options


class Session:
    """
    One side of a session.

    @param parameters: what this side tells the peer about itself.
    @param learn: called with the peer's parameters once they are known.

    @ivar survival: what lets it outlive its link.
    @ivar journal: what has to outlive the process; None when the session does not.
    @ivar store_error: why the link is of no use, when that is because something could not be written down.
    @ivar control: the control packets of the session.
    @ivar sending: outgoing messages.
    @ivar receiving: incoming messages.
    @ivar streams: all streams.
    @ivar error: how the session ended, once it has.
    """

    __slots__ = (
        "_bearing",
        "_channel",
        "_claimed",
        "_heard",
        "_learn",
        "_options",
        "_parameters",
        "_parked",
        "_peer",
        "_restarted",
        "_role",
        "_safe",
        "_sends",
        "_told_end",
        "_told_open",
        "control",
        "error",
        "events",
        "journal",
        "receiving",
        "sending",
        "state",
        "store_error",
        "streams",
        "survival",
        "way",
    )

    def __init__(
        self, role: Role, options: Options, parameters: Parameters, learn: Callable[[Parameters], None]
    ) -> None:
        self._role = role
        self._options = options
        self._parameters = parameters
        self._learn = learn
        self.state = SESSION.initial
        self.survival = Survival(role, parameters.incarnation, options.session_timeout)
        self.error: HypermailError | None = None
        self.events: list[Event] = []
        self.control = Control()
        self.sending = Sending(options, EARLY, self.control)
        self._bearing = bearing = options if role is Role.STARTER else _bear_early(options)
        self.receiving = Receiving(bearing, self.control)
        self.streams = Streams(role, bearing, EARLY, self.control)
        self._peer = EARLY
        self._told_end = False
        self._heard = role is Role.STARTER  # whether the peer knows that the session is open
        self._told_open = False
        self._parked = False
        self._restarted = False  # whether the peer was, since the session had a link
        self._claimed = False  # whether the claim was sent over this link
        self._channel: Channel | None = None  # of the link over which it is to be sent
        self._safe = True  # whether what has to be on disk before anything is sent is there
        self.journal: Journal | None = None
        self.store_error: HypermailError | None = None
        self._agree(options.way)
        if options.durable and role is Role.STARTER:
            self._become_durable()

    def _become_durable(self) -> None:
        """What is durable in the session is written down."""
        self.journal = self.sending.journal = self.receiving.journal = Journal()
        self.survival.timeout = self._options.durable_timeout
        self._safe = False

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
        session.state = State.OPEN
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
            session.events.append(SessionOpened())
        return session

    def _agree(self, way: Way) -> None:
        """The way of the session is known."""
        self.way = way
        self.receiving.allowed = self.streams.may_receive = way.may_send(Role(1 - self._role))
        self._sends = self.streams.may_send = self.receiving.answering = way.may_send(self._role)

    @property
    def carrying(self) -> bool:
        """Whether messages and streams pass: a starter's do from its first flight on."""
        carries = self.state not in (State.NEW, State.DECIDING, State.ENDED)
        return carries and self._safe and (self.survival.linked or self._claimed)

    # Opening

    def begin(self, id: bytes, channel: Channel) -> None:
        """
        The session has the name and the secret that the link which it begins on has given.

        @param channel: the link's.
        """
        survival = self.survival
        survival.id, survival.secret, survival.peer_key = id, channel.secret, channel.peer_key
        if self.journal is not None:
            self._note(self._asking_written, first=True)

    def _note(self, written: Written | None = None, first: bool = False) -> None:
        """Have it written down what the session is, C{first} before what waits already."""
        if self.journal is not None:
            identity = identity_of(self.survival, self._role, self.way, self._peer)
            if first:
                self.journal.begin(identity, written)
            else:
                self.journal.known = True
                self.journal.put(identity, written)

    def _asking_written(self, safe: bool, now: float) -> None:
        if safe and self.state is State.OPENING:
            self._safe = True
            self.control.put("session", p.SessionOpen(self.way, self._parameters))
        elif not safe:
            self.store_error = StoreFailed("the session could not be written down")

    def ask(self) -> None:
        """Starter: ask for the session."""
        self._move(Input.ASK)
        if self.journal is None:
            self.control.put("session", p.SessionOpen(self.way, self._parameters))

    def wanted(self) -> bool:
        """
        Listener: the peer wants a session, a new one or one of before.

        @return: whether somebody is to decide; False for a repetition.
        """
        if self._role is Role.STARTER:
            raise ProtocolViolation("the listener asks for a session")
        if self.state is not State.NEW:
            return False
        self._move(Input.ASKED)
        return True

    def asked(self, packet: p.SessionOpen) -> None:
        """Listener: the peer asks for a new session of this kind."""
        self._agree(packet.way)
        self._take_limits(packet.parameters)
        if self.persistence is Persistence.STORE:
            self._become_durable()
            assert self.journal is not None  # as it has just become
            self.journal.id = self.survival.id

    def _take_limits(self, peer: Parameters) -> None:
        self._peer = peer
        self.survival.peer_incarnation = peer.incarnation
        self._learn(peer)
        self.sending.learn(peer)
        self.streams.learn(peer)

    def accept(self) -> None:
        """Listener: the application wants the session, which opens as soon as it is written down, if it is to be."""
        if self.journal is None:
            self._accept()
        else:
            self._note(self._accepting_written)

    def _accepting_written(self, safe: bool, now: float) -> None:
        if self.state is not State.DECIDING:
            return
        if safe:
            self._safe = True
            self._accept()
        else:
            self.reject(Reason.STORE_FAILED, "the listener could not write the session down")

    def _accept(self) -> None:
        self._move(Input.ACCEPT)
        self._told_open = True
        self.control.put("session", p.SessionOpenAck(self._parameters), self._was_heard)
        self.events.append(SessionOpened())

    def _was_heard(self) -> None:
        self._heard = True

    def reject(self, code: int, text: str, claimed: bool = False) -> None:
        """
        Listener: the application does not want the session.

        @param claimed: whether it is one of before.
        """
        if self.state is not State.DECIDING:
            raise UsageError("no session is waiting for an answer")
        no = p.SessionReopenAck(b"", code=code, text=text) if claimed else p.SessionOpenAck(None, code, text)
        self.control.put("session", no)
        self.end(SessionRejected(text, code))

    def answered(self, packet: p.SessionOpenAck) -> None:
        """Starter: the listener has answered."""
        if self._role is Role.LISTENER:
            raise ProtocolViolation("the starter answers a session")
        if self.state is not State.OPENING:
            return
        if packet.parameters is None:
            because = _because(packet.text, packet.code)
            self.end(SessionRejected(f"the listener rejected the session: {because}", packet.code))
            return
        self._move(Input.ACCEPT)
        self._take_limits(packet.parameters)
        self._note()
        self._told_open = True
        self.events.append(SessionOpened())

    # Without a link, and over another one

    @property
    def persistence(self) -> Persistence:
        """What the session outlives: what both sides bear."""
        return Persistence(min(self._parameters.persistence, self._peer.persistence))

    def may_restart(self, incarnation: int) -> bool:
        """Whether the peer may have this memory of the session: it has lost none where nothing outlives its process."""
        durable = self.persistence is Persistence.STORE or self.returning  # then the peer's was perhaps never heard
        return durable or incarnation == self.survival.peer_incarnation

    @property
    def returning(self) -> bool:
        """Whether it was taken up from the disk, and nobody was told of it yet."""
        return self.journal is not None and self.state in _LIVING and not self._told_open

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
        lives = self.state in _LIVING and (self._heard or journal is not None)
        waits = survival.claiming or (lives and self.persistence > Persistence.LINK)
        if not (waits and survival.secret):
            return False
        if survival.linked:
            self.events.append(SessionSuspended(error))
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
            self.events.append(ReopenDue())

    def carry_on(self, parameters: Parameters, learn: Callable[[Parameters], None]) -> None:
        """
        The session is to go on over another link.

        @param parameters: what this side tells over that.
        @param learn: as of the constructor.
        """
        if self.survival.linked and self._told_open:
            self.events.append(SessionSuspended(SessionReset("the peer has lost the link")))
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
        self._safe = True
        self._resume(claim.parameters, now)
        proof = survival.proof(self._role, claim.generation, channel)
        self.control.put("session", p.SessionReopenAck(proof, self._parameters), self._was_heard)

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
            self.events.append(SessionResumed(restarted))
        else:
            self._told_open = True
            self.events.append(SessionOpened())

    def _peer_restarted(self, incarnation: int, now: float) -> None:
        """The peer has lost its memory of all that is not durable, and so may this side."""
        self.survival.peer_incarnation = incarnation
        self._restarted = True
        self.events += self.streams.peer_restarted(StreamForgotten("the peer was restarted"), now)
        self.control.retain(("session", "close", "closeack"))
        self.sending.peer_restarted(SessionReset("the peer was restarted"))
        self.events += self.receiving.take_events(False)
        self.receiving.peer_restarted()

    # Ending

    def close(self) -> None:
        """Deliver everything, then end."""
        if self.state in (State.NEW, State.OPENING, State.DECIDING):
            raise UsageError("the session is not open yet")
        self._move(Input.CLOSE)
        self.streams.finish_all()

    def close_asked(self, packet: p.SessionClose) -> None:
        """The peer has delivered everything and waits for the same from us."""
        if self.state is State.OPENING:
            raise ProtocolViolation("the listener closes a session that it has not opened")
        self._move(Input.CLOSE_ASKED)
        if self.state is State.CLOSE_RECEIVED:
            self.streams.finish_all()
            self.events.append(SessionClosing())
        else:
            self.control.put("closeack", p.SessionCloseAck())

    def close_acked(self, packet: p.SessionCloseAck) -> None:
        """The peer has delivered everything, too. @raise ProtocolViolation: when it wasn't asked."""
        if self.state is not State.CLOSE_SENT:
            raise ProtocolViolation("the peer acknowledges a close that was never sent")
        self._move(Input.CLOSE_ACKED)
        self.control.withdraw("close")
        self._over(SessionClosed("the session was closed"))

    def drain(self) -> None:
        """Go on with closing, when everything is delivered."""
        if self.state not in (State.CLOSING, State.CLOSE_RECEIVED):
            return
        if not (self.sending.idle and self.streams.idle):
            return
        if self.state is State.CLOSING:
            self.control.put("close", p.SessionClose())
            self._move(Input.DRAINED)
        else:
            self.control.put("closeack", p.SessionCloseAck())
            self._move(Input.DRAINED)
            self._over(SessionClosed("the peer closed the session"))

    def killed(self, packet: p.SessionDeath) -> None:
        """The peer ended the session at once."""
        self.end(SessionKilled(f"the peer ended the session: {_because(packet.text, packet.code)}", packet.code))
        self.control.retain(())

    def die(self, error: HypermailError, code: int, text: str) -> None:
        """End the session at once, and tell the peer."""
        self.end(error)
        self.control.retain(())
        self.control.put("death", p.SessionDeath(code, text))

    def park(self, error: HypermailError) -> None:
        """
        The session leaves this process, and stays on disk.

        @raise UsageError: when it is not there.
        """
        if self.journal is None or self.state not in _LIVING:
            raise UsageError("the session does not outlive its process")
        self._parked = True
        self.journal.finish(Suspended(self.journal.id))
        self.end(error)

    def end(self, error: HypermailError) -> None:
        """The session is over, whatever it was doing."""
        self._move(Input.END)
        self._over(error)

    def _over(self, error: HypermailError) -> None:
        self.error = error
        if self.journal is not None:
            self.journal.finish(Over(self.journal.id))
        self.streams.end_all(error)
        self.control.retain(("session", "closeack", "death"))
        if not isinstance(error, SessionClosed):  # what came before a close is still told
            self.receiving.forget()

    def check_sending(self) -> None:
        """
        Whether the application may send.

        @raise NotSupported: when the session carries nothing in this way.
        @raise HypermailError: when the session is closing or over.
        """
        if self._sends and (self.state is State.OPEN or self.state is State.OPENING):
            return
        if not self._sends:
            raise NotSupported(f"the session is {self.way.name.lower()}: this side can't send")
        self.check_open()

    def check_open(self) -> None:
        """@raise HypermailError: when the session is closing or over."""
        if self.state in (State.OPENING, State.OPEN):
            return
        if self.error is not None:
            raise self.error
        raise UsageError(
            "the session is closing" if self.state not in (State.NEW, State.DECIDING) else "the session is not open"
        )

    def send_ask(self, data: bytes) -> OutgoingMessage:
        """
        Ask the peer's application.

        @raise MessageTooLarge: for more than the peer takes.
        @raise HypermailError: when the session can't carry it, or its reply.
        """
        if self.way is not Way.TWO_WAY:
            raise NotSupported(f"the session is {self.way.name.lower()}: it can't carry asks and their replies")
        self.check_sending()
        message = self.sending.ask(data)
        self.receiving.asks = self.sending.asks
        return message

    def answer(self, number: int, reply: bytes) -> None:
        """
        Answer an ask, also while the session is closing: the asker's side waits for it.

        @raise MessageTooLarge: when the reply is larger than the peer takes; the ask still waits.
        @raise UsageError: when the ask does not wait for an answer.
        """
        self.sending.check_reply(reply)
        self.receiving.answer(number)
        self.sending.reply(number, reply)

    # What the application is told

    def take_events(self, now: float, round_trip: float) -> list[Event]:
        """
        What the application is to be told; C{SessionEnded} is the last of all.

        @param round_trip: s, of the link.
        """
        events: list[Event] = self.events
        self.events = []
        if self._told_end:
            return []
        if self.state is State.OPENING:  # what overtook the listener's answer waits for it
            return events
        replies = self.sending.replies
        if replies is not None and self.receiving.asked is not None:
            for number in replies.take_settled():
                self.receiving.asked.reply_settled(number)
        events += self.receiving.take_events(replies is None or not replies.full)
        stored = self.sending.take_stored()
        if stored:
            events.append(MessagesStored(stored))
        events += [MessagesWanted(*wanted) for wanted in self.sending.take_wanted()]
        settled = self.sending.take_settled()
        if self.error is not None:
            settled += self.sending.give_up(self.error, self._parked)
        if settled:
            events.append(MessagesSettled(settled))
        events += self.streams.take_events(now, round_trip)
        if self.sending.take_drained():
            events.append(MessagesWritable())
        if self.error is not None:
            self._told_end = True
            events.append(SessionEnded(self.error))
        return events

    def statistics(self) -> dict[str, Any]:
        """Counters, for people to look at."""
        sending, receiving = self.sending, self.receiving
        budgets = [sending.budget] if sending.replies is None else [sending.budget, sending.replies.budget]
        holdings = receiving.holdings.messages
        if receiving.reply_holdings is not None:
            holdings += receiving.reply_holdings.messages
        suspended = self.state in _LIVING and not self.survival.linked
        return {
            "state": "suspended" if suspended else self.state.name.lower(),
            "way": self.way.name.lower(),
            "control_unacked": len(self.control),
            "messages_sent": self.sending.begun,
            "messages_received": self.receiving.finished,
            "messages_queued": sum(budget.queued_messages for budget in budgets),
            "messages_begun": sum(budget.begun_messages for budget in budgets),
            "messages_held": holdings,
            "replies_ignored": sending.asks.ignored if sending.asks is not None else 0,
            "messages_again": self.sending.copies.sent if self.sending.copies is not None else 0,
            "directs_dropped": self.sending.directs_dropped,
            **self.streams.statistics(),
        }

    def _move(self, input: Input) -> None:
        self.state = SESSION.next(self.state, input)


def _nothing(peer: Parameters) -> None:
    """There is no link that could learn of the peer."""


def _refusal(text: str, code: int) -> HypermailError:
    """Why a listener does not go on with a session."""
    if code == Reason.SESSION_UNKNOWN:
        return SessionReset("the listener does not know this session any more; was it restarted?", code)
    return SessionRejected(f"the listener refused to go on with the session: {_because(text, code)}", code)


def _because(text: str, code: int) -> str:
    return text or Reason.describe(code)
