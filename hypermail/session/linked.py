"""
A session on its link: who may speak, what was agreed, and how it ends. It carries messages and streams.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from hypermail.errors import (
    HypermailError,
    NotSupported,
    ProtocolViolation,
    Reason,
    SessionClosed,
    SessionKilled,
    SessionRejected,
    StoreFailed,
    UsageError,
)
from hypermail.events import (
    Event,
    MessagesSettled,
    MessagesStored,
    MessagesWanted,
    MessagesWritable,
    SessionClosing,
    SessionEnded,
    SessionOpened,
)
from hypermail.link.control import Control
from hypermail.messages.asks import Ask
from hypermail.messages.journal import Journal, Written
from hypermail.messages.outgoing_lanes import too_large
from hypermail.messages.receiving import Receiving
from hypermail.messages.sending import Sending
from hypermail.options import KIB, Options, Persistence, Role, Way
from hypermail.session.journal import EARLY_INCARNATION, Over, identity_of
from hypermail.session.states import SESSION, Input, State
from hypermail.session.survival import Channel, Survival
from hypermail.streams.set import Streams
from hypermail.wire import packets as p
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
#: States in which there is a session that may outlive its link.
LIVING = (State.OPEN, State.CLOSING, State.CLOSE_SENT, State.CLOSE_RECEIVED)

#: What an ask is to be.
A = TypeVar("A", bound=Ask)

_EARLY_LIMITS = ("max_message", "allowance_bytes", "allowance_messages", "max_lanes", "max_streams", "stream_window")


def _bear_early(options: Options) -> Options:
    """The options of a listener that bears what a starter may send before it has been told the listener's limits."""
    early = {name: getattr(EARLY, name) for name in _EARLY_LIMITS if getattr(options, name) < getattr(EARLY, name)}
    return replace(options, **early) if early else options


class LinkedSession:
    """
    One side of a session, as long as its link lives; what goes on without that is in L{hypermail.session.session}.

    @param parameters: what this side tells the peer about itself.
    @param learn: called with the peer's parameters once they are known.

    @ivar survival: what lets it outlive its link.
    @ivar parked: whether it has left this process, and stays on disk.
    @ivar journal: what has to outlive the process; None when the session does not.
    @ivar store_error: why the link is of no use, when that is because something could not be written down.
    @ivar control: the control packets of the session.
    @ivar sending: outgoing messages.
    @ivar receiving: incoming messages.
    @ivar streams: all streams.
    @ivar error: how the session ended, once it has.
    @ivar over: whether it has.
    """

    __slots__ = (
        "_asks",
        "_bearing",
        "_claimed",
        "_draining",
        "_events",
        "_heard",
        "_learn",
        "_open",
        "_opening",
        "_options",
        "_parameters",
        "_peer",
        "_role",
        "_safe",
        "_sends",
        "_speaking",
        "_told_end",
        "_told_open",
        "control",
        "error",
        "journal",
        "over",
        "parked",
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
        self.way = options.way
        self._enter(SESSION.initial)
        self.survival = Survival(role, parameters.incarnation, options.session_timeout)
        self.error: HypermailError | None = None
        self._events: list[Event] | None = None  # while there are any
        self.control = Control()
        self.sending = Sending(options, EARLY, self.control)
        self._bearing = bearing = options if role is Role.STARTER else _bear_early(options)
        self.receiving = Receiving(bearing, self.control)
        self.streams = Streams(role, bearing, EARLY, self.control)
        self._peer = EARLY
        self._told_end = False
        self._heard = role is Role.STARTER  # whether the peer knows that the session is open
        self._told_open = False
        self.parked = False
        self._claimed = False  # whether the claim was sent over this link
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

    def _agree(self, way: Way) -> None:
        """The way of the session is known."""
        self.way = way
        self.receiving.allowed = self.streams.may_receive = way.may_send(Role(1 - self._role))
        self._sends = self.streams.may_send = self.receiving.answering = way.may_send(self._role)
        self._asks = self._open and way is Way.TWO_WAY

    @property
    def carrying(self) -> bool:
        """Whether messages and streams pass: a starter's do from its first flight on."""
        return self._speaking and self._safe and (self.survival.linked or self._claimed)

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
        self.tell(SessionOpened())

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
            text = f"the listener rejected the session: {because(packet.text, packet.code)}"
            self.end(SessionRejected(text, packet.code))
            return
        self._move(Input.ACCEPT)
        self._take_limits(packet.parameters)
        self._note()
        self._told_open = True
        self.tell(SessionOpened())

    @property
    def persistence(self) -> Persistence:
        """What the session outlives: what both sides bear."""
        return Persistence(min(self._parameters.persistence, self._peer.persistence))

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
            self.tell(SessionClosing())
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
        if not self._draining or not (self.sending.idle and self.streams.idle):
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
        self.end(SessionKilled(f"the peer ended the session: {because(packet.text, packet.code)}", packet.code))
        self.control.retain(())

    def die(self, error: HypermailError, code: int, text: str) -> None:
        """End the session at once, and tell the peer."""
        self.end(error)
        self.control.retain(())
        self.control.put("death", p.SessionDeath(code, text))

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
        if self._sends and self._open:
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

    def send_ask(self, kind: type[A], data: bytes) -> A:
        """
        Ask the peer's application.

        @param kind: what the ask is to be.
        @raise MessageTooLarge: for more than the peer takes.
        @raise HypermailError: when the session can't carry it, or its reply.
        """
        if not self._asks:
            self._check_asking()
        sending = self.sending
        if len(data) > sending.most_message:
            raise too_large("an ask", len(data), sending.most_message)
        lane = sending.asks
        if lane is None:
            lane = self.receiving.asks = sending.begin_asks()
        return lane.ask(kind, data)

    def _check_asking(self) -> None:
        """@raise HypermailError: when the session can't carry asks, or their replies."""
        if self.way is not Way.TWO_WAY:
            raise NotSupported(f"the session is {self.way.name.lower()}: it can't carry asks and their replies")
        self.check_sending()

    def answer(self, numbers: list[int], replies: list[bytes]) -> None:
        """
        Answer asks, also while the session is closing: the asker's side waits for it. All, or none.

        @param numbers: of the asks; at least one.
        @raise MessageTooLarge: when one of the replies is larger than the peer takes.
        @raise UsageError: when one of the asks does not wait for an answer.
        """
        self.sending.check_replies(replies)
        self.receiving.answer(numbers)
        self.sending.reply(numbers, replies)

    # What the application is told

    def tell(self, *events: Event) -> None:
        """The application is to be told of these, once it is told anything."""
        if self._events is None:
            self._events = []
        self._events += events

    def take_events(self, now: float, round_trip: float) -> list[Event]:
        """
        What the application is to be told; C{SessionEnded} is the last of all.

        @param round_trip: s, of the link.
        """
        events = self._events
        sending, receiving, streams = self.sending, self.receiving, self.streams
        if not (events or receiving.eventful or sending.eventful or streams.touched):
            if self.error is None and self.journal is None:  # the usual case, as this is asked until there is nothing
                return []
        self._events = None
        if events is None:
            events = []
        if self._told_end:
            return []
        if self._opening:  # what overtook the listener's answer waits for it
            return events
        replies = sending.replies
        if replies is not None and replies.settled_asks and receiving.asked is not None:
            settled_asks, replies.settled_asks = replies.settled_asks, []
            receiving.asked.replies_settled(settled_asks)
        events += receiving.take_events(replies is None or not replies.full)
        if self.journal is not None:
            stored = sending.take_stored()
            if stored:
                events.append(MessagesStored(stored))
            events += [MessagesWanted(*wanted) for wanted in sending.take_wanted()]
        settled = sending.take_settled()
        if self.error is not None:
            settled += sending.give_up(self.error, self.parked)
        if settled:
            events.append(MessagesSettled(settled))
        if streams.touched:
            events += streams.take_events(now, round_trip)
        if sending.take_drained():
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
        suspended = self.state in LIVING and not self.survival.linked
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
        self._enter(SESSION.next(self.state, input))

    def _enter(self, state: State) -> None:
        # What each datagram asks for is kept: a member of an enum takes longer to look up than that.
        self.state = state
        self.over = state is State.ENDED
        self._speaking = state not in (State.NEW, State.DECIDING, State.ENDED)
        self._opening = state is State.OPENING
        self._open = self._opening or state is State.OPEN
        self._asks = self._open and self.way is Way.TWO_WAY
        self._draining = state in (State.CLOSING, State.CLOSE_RECEIVED)


def because(text: str, code: int) -> str:
    """Why, in words: the peer's, or those of the reason code."""
    return text or Reason.describe(code)
