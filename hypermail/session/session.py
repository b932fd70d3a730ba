"""
A session: who may speak, what was agreed, and how it ends. It carries messages and streams.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hypermail.errors import (
    HypermailError,
    NotSupported,
    ProtocolViolation,
    Reason,
    SessionClosed,
    SessionKilled,
    SessionRejected,
    UsageError,
)
from hypermail.events import Event, MessagesSettled, MessagesWritable, SessionClosing, SessionEnded, SessionOpened
from hypermail.link.control import Control
from hypermail.messages.outgoing import OutgoingMessage
from hypermail.messages.receiving import Receiving
from hypermail.messages.sending import Sending
from hypermail.options import KIB, Options, Role, Way
from hypermail.session.states import SESSION, Input, State
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
)

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

    @ivar control: the control packets of the session.
    @ivar sending: outgoing messages.
    @ivar receiving: incoming messages.
    @ivar streams: all streams.
    @ivar error: how the session ended, once it has.
    """

    __slots__ = (
        "_learn",
        "_options",
        "_parameters",
        "_role",
        "_sends",
        "_told_end",
        "allow_reopen",
        "control",
        "error",
        "events",
        "receiving",
        "sending",
        "state",
        "streams",
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
        self.allow_reopen = options.allow_reopen
        self.error: HypermailError | None = None
        self.events: list[Event] = []
        self.control = Control()
        self.sending = Sending(options, EARLY, self.control)
        bearing = options if role is Role.STARTER else _bear_early(options)
        self.receiving = Receiving(bearing, self.control)
        self.streams = Streams(role, bearing, EARLY, self.control)
        self._told_end = False
        self._agree(options.way)

    def _agree(self, way: Way) -> None:
        """The way of the session is known."""
        self.way = way
        self.receiving.allowed = self.streams.may_receive = way.may_send(Role(1 - self._role))
        self._sends = self.streams.may_send = self.receiving.answering = way.may_send(self._role)

    @property
    def carrying(self) -> bool:
        """Whether messages and streams pass: a starter's do from its first flight on."""
        return self.state not in (State.NEW, State.DECIDING, State.ENDED)

    # Opening

    def ask(self) -> None:
        """Starter: ask for the session."""
        self._move(Input.ASK)
        self.control.put("session", p.SessionOpen(self.way, self.allow_reopen, self._parameters))

    def asked(self, packet: p.SessionOpen) -> bool:
        """
        Listener: the peer asks.

        @return: whether the application is to decide; False for a repetition.
        """
        if self._role is Role.STARTER:
            raise ProtocolViolation("the listener asks for a session")
        if self.state is not State.NEW:
            return False
        self._move(Input.ASKED)
        self.allow_reopen = packet.allow_reopen and self._options.allow_reopen
        self._agree(packet.way)
        self._take_limits(packet.parameters)
        return True

    def _take_limits(self, peer: Parameters) -> None:
        self._learn(peer)
        self.sending.learn(peer)
        self.streams.learn(peer)

    def accept(self) -> None:
        """Listener: the application wants the session."""
        self._move(Input.ACCEPT)
        self.control.put("session", p.SessionOpenAck(self._parameters))
        self.events.append(SessionOpened())

    def reject(self, code: int, text: str) -> None:
        """Listener: the application does not want the session."""
        if self.state is not State.DECIDING:
            raise UsageError("no session is waiting for an answer")
        self.control.put("session", p.SessionOpenAck(None, code, text))
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
        self.events.append(SessionOpened())

    def reopen_asked(self, packet: p.SessionReopen) -> None:
        """Listener: the peer wants a session of before to go on here, which the mode does not allow."""
        if self._role is Role.STARTER:
            raise ProtocolViolation("the listener asks for a session")
        self.control.put("session", p.SessionReopenAck(b"", Reason.CANNOT_REOPEN, "this mode cannot reopen sessions"))

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

    def end(self, error: HypermailError) -> None:
        """The session is over, whatever it was doing."""
        self._move(Input.END)
        self._over(error)

    def _over(self, error: HypermailError) -> None:
        self.error = error
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
        settled = self.sending.take_settled()
        if self.error is not None:
            settled += self.sending.give_up(self.error)
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
        return {
            "state": self.state.name.lower(),
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


def _because(text: str, code: int) -> str:
    return text or Reason.describe(code)
