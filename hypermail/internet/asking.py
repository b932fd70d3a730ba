"""
Asks and their replies between the core and the application: Deferreds on both sides.
"""

from __future__ import annotations

from collections.abc import Coroutine
from functools import partial
from typing import TYPE_CHECKING, NoReturn

from twisted.internet import defer
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from hypermail.errors import HypermailError, MessageRejected, MessageTooLarge, Reason, UsageError
from hypermail.interfaces import ISessionProtocol, Octets
from hypermail.internet.callbacks import verdict, withdraw
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

    @param sent: the session's messages; those who wait for replies stand among those who wait for messages, as an ask
        that gets no reply ends as a message does.
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
        session = self._session
        try:
            ask = session.connection.ask(content, now=session.seconds())
        except HypermailError as error:
            return defer.fail(error)
        deferred: Deferred[bytes] = Deferred(partial(self._withdraw, ask))
        self._sent.waiting[ask] = deferred
        if timeout is not None:
            deferred.addTimeout(timeout, session.reactor, _timedOut)
        self._sent.wrote()
        return deferred

    def _withdraw(self, ask: OutgoingMessage, _: object) -> None:
        """Nobody waits for the reply any more. The Deferred fails with L{CancelledError} by itself."""
        if self._sent.waiting.pop(ask, None) is not None:
            self._session.connection.cancel_message(ask, now=self._session.seconds())
            self._session.touch()

    def answered(self, replies: list[tuple[OutgoingMessage, bytes]]) -> None:
        """Replies have come."""
        waiting = self._sent.waiting
        for ask, reply in replies:
            deferred = waiting.pop(ask, None)
            if deferred is not None:
                deferred.callback(reply)
        if not waiting:
            waiting.clear()  # gives back the room that a burst took


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
        for number, message in asks:
            if self._received.over:
                return
            try:
                answer: object = self._protocol.askReceived(message)
            except Exception:
                self._refuse(Failure(), lane, number)
                continue
            if type(answer) is bytes:  # it takes as long as all else here to ask whether it is to come yet
                self._reply(answer, lane, number)
                continue
            if isinstance(answer, Coroutine):
                answer = Deferred.fromCoroutine(answer)
            if isinstance(answer, Deferred):
                self._pending[number] = answer
                answer.addCallbacks(
                    self._answered, self._failed, callbackArgs=(lane, number), errbackArgs=(lane, number)
                )
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
