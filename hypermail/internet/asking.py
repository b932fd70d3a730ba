"""
Asks and their replies between the core and the application: Deferreds on both sides.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, NoReturn, cast

from twisted.internet import defer
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from hypermail.errors import HypermailError, MessageRejected, MessageTooLarge, Reason, UsageError
from hypermail.interfaces import ISessionProtocol, Octets
from hypermail.internet.callbacks import verdict, withdraw
from hypermail.internet.message import AwaitedAsk
from hypermail.internet.messaging import MessagesUser, ReceivedMessages, SentMessages
from hypermail.messages.octets import octets

if TYPE_CHECKING:
    from hypermail.messages.asks import AskedLane
    from hypermail.messages.message import OutgoingMessage

#: s; what is longer is no timeout.
LONGEST_TIMEOUT = 1e9


class SentAsks:
    """
    Our asks, and who waits for their replies.

    @param sent: the session's messages; an ask that gets no reply ends as a message does.
    """

    __slots__ = ("_sent", "_session")

    def __init__(self, session: MessagesUser, sent: SentMessages) -> None:
        self._session = session
        self._sent = sent

    def ask(self, message: Octets, timeout: float | None) -> Deferred[bytes]:
        """See L{ISession.ask}."""
        content = message if type(message) is bytes else octets(message)
        if timeout is not None and not 0 <= timeout < LONGEST_TIMEOUT:
            return defer.fail(UsageError(f"timeout must be a number of seconds, not {timeout!r}"))
        session, sent = self._session, self._sent
        try:
            ask = session.connection.ask_as(AwaitedAsk, content, now=session.seconds())
        except HypermailError as error:
            return defer.fail(error)
        ask.sender = self
        if timeout is not None:
            ask.addTimeout(timeout, session.reactor, _timedOut)
        session.touch()
        if sent.production is not None:
            sent.production.wrote()
        return ask

    def withdraw(self, ask: AwaitedAsk) -> None:
        """See L{Sender.withdraw}; it fails with L{CancelledError} by itself."""
        self._session.connection.cancel_message(ask, now=self._session.seconds())
        self._session.touch()

    def answered(self, replies: list[tuple[OutgoingMessage, bytes]]) -> None:
        """Replies have come."""
        for ask, reply in cast("list[tuple[AwaitedAsk, bytes]]", replies):
            if not ask.called:
                ask.callback(reply)


def _timedOut(_: object, timeout: float) -> NoReturn:
    raise defer.TimeoutError(f"no reply within {timeout:g} s")


class ReceivedAsks:
    """
    The peer's asks, and what the application answers to each.

    @param protocol: the application's.
    @param received: the session's messages, which know when it takes no answers any more.
    """

    __slots__ = ("_pending", "_protocol", "_received", "_session")

    _log = Logger()

    def __init__(self, session: MessagesUser, protocol: ISessionProtocol, received: ReceivedMessages) -> None:
        self._session = session
        self._protocol = protocol
        self._received = received
        self._pending: dict[int, Deferred[object]] = {}

    def arrived(self, lane: AskedLane, asks: list[tuple[int, bytes]]) -> None:
        """Give asks to the application."""
        received, ask = self._received, self._protocol.askReceived
        numbers: list[int] = []
        replies: list[bytes] = []
        for number, message in asks:
            if received.over:
                return
            try:
                answer: object = ask(message)
            except Exception:
                self._refuse(Failure(), lane, number)
                continue
            if type(answer) is bytes:  # it takes as long as all else here to ask whether it is to come yet
                numbers.append(number)
                replies.append(answer)
            else:
                self._take(answer, lane, number)
        if numbers:
            self._replyAll(replies, lane, numbers)

    def _take(self, answer: object, lane: AskedLane, number: int) -> None:
        """The application has answered with something that is no C{bytes}, perhaps not yet."""
        if isinstance(answer, Coroutine):
            answer = Deferred.fromCoroutine(answer)
        if isinstance(answer, Deferred):
            self._pending[number] = answer
            answer.addCallbacks(self._answered, self._failed, callbackArgs=(lane, number), errbackArgs=(lane, number))
        else:
            self._reply(answer, lane, number)

    def _answered(self, reply: object, lane: AskedLane, number: int) -> None:
        self._pending.pop(number, None)
        self._reply(reply, lane, number)

    def _failed(self, failure: Failure, lane: AskedLane, number: int) -> None:
        if self._pending.pop(number, None) is not None:
            self._refuse(failure, lane, number)
        elif not failure.check(CancelledError):
            self._log.failure("askReceived has failed after the end of its session", failure)

    def _replyAll(self, replies: list[bytes], lane: AskedLane, numbers: list[int]) -> None:
        """Each ask has its reply: what is done for all of them together costs little more than for one."""
        if self._received.over:
            return
        session = self._session
        try:
            session.connection.answer_many(numbers, replies, now=session.seconds())
        except MessageTooLarge:
            for number, reply in zip(numbers, replies, strict=True):
                self._reply(reply, lane, number)
        else:
            session.touch()

    def _reply(self, reply: object, lane: AskedLane, number: int) -> None:
        if self._received.over:
            return
        session = self._session
        try:
            content = reply if type(reply) is bytes else octets(reply)
            session.connection.answer(number, content, now=session.seconds())
        except MessageTooLarge as error:
            self._log.warn("a reply is too large: {text}", text=error.text)
            lane.reject(number, error.code, error.text)
        except TypeError:
            self._refuse(Failure(), lane, number)
        session.touch()

    def _refuse(self, failure: Failure, lane: AskedLane, number: int) -> None:
        """Only a L{MessageRejected} is meant for the asker: other errors may be those of another session."""
        error = failure.value
        if isinstance(error, MessageRejected):
            code, text = verdict(failure, error.code, "this ask")
        else:
            self._log.failure("askReceived has failed; the ask is rejected", failure)
            code, text = Reason.APPLICATION, f"the application failed on this ask ({type(error).__name__})"
        lane.reject(number, code, text)
        self._session.touch()

    def lost(self) -> None:
        """The session is over: no answer is wanted any more."""
        pending, self._pending = self._pending, {}
        for deferred in pending.values():
            withdraw(deferred)
