"""
What the application of a connection may ask of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeVar

from hypermail.ending import Ending
from hypermail.errors import HypermailError, Reason, SessionAborted
from hypermail.events import StreamOptions
from hypermail.intake import Intake
from hypermail.link.link import Link
from hypermail.messages.asks import Ask
from hypermail.messages.lanes import LaneProperties
from hypermail.messages.message import OutgoingMessage
from hypermail.options import Delivery
from hypermail.session.session import Session
from hypermail.session.states import State
from hypermail.streams.stream import Stream
from hypermail.wire.packets import SessionReopen

if TYPE_CHECKING:
    from hypermail.interfaces import Octets


#: What an ask is to be.
A = TypeVar("A", bound=Ask)


class Commands:
    """The application's side of L{hypermail.connection.Connection}, which has all that is used here."""

    _claim: SessionReopen | None
    _ending: Ending
    _intake: Intake
    _link: Link
    _now: float
    _session: Session

    @property
    def opening(self) -> bool:
        """Whether the session has neither been opened nor refused yet."""
        return self._session.state in (State.NEW, State.OPENING, State.DECIDING)

    def _take_held(self) -> None:
        """The session carries now: take what came before it did."""
        self._intake.claimed = False
        try:
            self._intake.release()
        except HypermailError as error:
            self._ending.broke(error, self._now)

    def reject(self, code: int = Reason.SESSION_REJECTED, text: str = "", *, now: float) -> None:
        """Listener: refuse the session that was requested. @raise UsageError: when none was."""
        self._now = now
        self._session.reject(code, text, self._claim is not None)
        self._ending.look(now)

    def send_message(
        self,
        data: bytes,
        *,
        lane: int = 0,
        expires: float | None = None,
        wanted: bool = True,
        note: bytes = b"",
        kind: type[OutgoingMessage] = OutgoingMessage,
        now: float,
    ) -> OutgoingMessage:
        """
        Send a message.

        @param data: is not copied and must not change.
        @param expires: s from now after which it is given up.
        @param wanted: whether L{MessagesSettled} is to tell of its fate.
        @param note: of a durable lane's message: what the application wants to find again with it after a restart.
        @param kind: what the message is to be, when it is of an ordinary lane.
        @raise MessageTooLarge: for more than the peer takes.
        @raise HypermailError: when the session can't carry it.
        """
        self._now = now
        session = self._session
        session.check_sending()
        deadline = None if expires is None else now + expires
        return session.sending.send(data, lane, deadline, wanted, note, kind)

    def send_messages(self, messages: Iterable[Octets], *, lane: int = 0, now: float) -> int:
        """
        Send messages of which nobody wants to hear what becomes, as many as there is room for. No more are taken from
        the iterable.

        @param messages: C{bytes} are not copied.
        @return: how many.
        @raise TypeError: for what isn't C{bytes}-like.
        @raise MessageTooLarge: for more than the peer takes.
        @raise HypermailError: when the session can't carry a message. Those before it are sent.
        """
        self._now = now
        session = self._session
        return session.sending.send_many(messages, lane, session.check_sending)

    def ask(self, data: bytes, *, now: float) -> Ask:
        """
        Ask the peer's application: C{RepliesReceived} brings the reply, or L{MessagesSettled} tells why there is none.

        @param data: is not copied and must not change.
        @raise MessageTooLarge: for more than the peer takes.
        @raise HypermailError: when the session can't carry it, or its reply.
        """
        return self.ask_as(Ask, data, now=now)

    def ask_as(self, kind: type[A], data: bytes, *, now: float) -> A:
        """As L{ask}. @param kind: what the ask is to be."""
        self._now = now
        return self._session.send_ask(kind, data)

    def answer(self, number: int, reply: bytes, *, now: float) -> None:
        """
        Answer an ask; to refuse one, its lane has C{reject}. Harmless when the session is over.

        @param number: as C{AsksReceived} has told.
        @raise MessageTooLarge: when the reply is larger than the peer takes; the ask still waits.
        @raise UsageError: when the ask does not wait for an answer.
        """
        self.answer_many([number], [reply], now=now)

    def answer_many(self, numbers: list[int], replies: list[bytes], *, now: float) -> None:
        """
        Answer asks. Harmless when the session is over.

        @param numbers: as C{AsksReceived} has told; at least one.
        @param replies: as many.
        @raise MessageTooLarge: when one of the replies is larger than the peer takes; all of the asks still wait.
        @raise UsageError: when one of the asks does not wait for an answer; the others still do.
        """
        self._now = now
        if not self._ending.over:
            self._session.answer(numbers, replies)

    def cancel_message(self, message: OutgoingMessage, *, now: float) -> None:
        """Withdraw a message, unless the peer's application has taken it already."""
        self._now = now
        if not self._ending.over:
            self._session.sending.cancel(message)

    @property
    def unsettled_messages(self) -> list[OutgoingMessage]:
        """Those whose fate is not known; of C{send_messages} none, or few."""
        return self._session.sending.unsettled

    def configure_lane(
        self,
        number: int,
        *,
        ordered: bool = True,
        delivery: Delivery = Delivery.ACKED,
        priority: int = 0,
        redundancy: int = 0,
        durable: bool = False,
    ) -> None:
        """
        Say what a lane is, before its first message: see L{LaneProperties}.

        @raise UsageError: when it is something else already, or can't be that.
        """
        self._session.sending.configure(number, LaneProperties(ordered, delivery, priority, redundancy, durable))

    @property
    def messages_full(self) -> bool:
        """Whether producers of messages should pause; C{MessagesWritable} says when to go on."""
        return self._session.sending.full

    def is_durable(self, lane: int) -> bool:
        """Whether a lane's messages outlive the process."""
        return self._session.sending.is_durable(lane)

    def is_direct(self, lane: int) -> bool:
        """Whether a lane's messages are direct ones."""
        return self._session.sending.is_direct(lane)

    def send_direct(self, data: bytes) -> None:
        """
        Send bytes once; without a link they are lost.

        @raise MessageTooLarge: when they don't fit a datagram of this path.
        """
        self._session.check_sending()
        self._session.sending.send_direct(data, self._link.outbound.room)
        if not self._session.survival.linked:
            self._session.sending.drop_directs()

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
        """
        Measure a round trip: L{PingAnswered} follows.

        @raise HypermailError: when there is no link: what it was lost for, or the last attempt has failed with.
        """
        self._now = now
        self._session.check_open()
        survival = self._session.survival
        if not survival.linked and survival.error is not None:
            raise survival.error
        self._intake.ping(now)
