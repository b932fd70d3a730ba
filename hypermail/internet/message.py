"""
Messages of durable lanes, as applications send and receive them.
"""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from hypermail.errors import HypermailError
from hypermail.messages.asks import Ask
from hypermail.messages.message import Outgoing, OutgoingMessage
from hypermail.messages.states import QUEUED
from hypermail.wire.ranges import RangeSet


class Message(bytes):
    """
    A message of a durable lane, which can be told from all others: an application that writes down C{session}, C{lane}
    and C{number} in the transaction in which it deals with the message deals with each exactly once.

    @ivar session: the session's id, 16 bytes.
    @ivar lane: of the session.
    @ivar number: within the lane.
    @ivar note: what its sender has put down with it; only for the sender.
    """

    session: bytes
    lane: int
    number: int
    note: bytes

    def __new__(cls, data: bytes, session: bytes, lane: int, number: int, note: bytes = b"") -> Message:
        message = super().__new__(cls, data)
        message.session = session
        message.lane = lane
        message.number = number
        message.note = note
        return message


class Sender(Protocol):
    """Whoever has sent a message for somebody who waits."""

    def withdraw(self, message: Any) -> None:
        """Nobody waits any more for what it has sent: L{AwaitedMessage} or L{AwaitedAsk}."""


class AwaitedMessage(OutgoingMessage, Deferred[None]):
    """
    A message of an ordinary lane, and the L{Deferred} of its fate: there may be very many of them, and to make two
    objects, and a function that cancels just this one, costs as much as all else that is done for a small message.

    @ivar sender: is told when it is cancelled.
    """

    sender: Sender

    # What most never are is said here, once for all.
    error: HypermailError | None = None
    withdrawn: HypermailError | None = None
    fresh = 0
    resend: RangeSet | None = None

    def __init__(self, outgoing: Outgoing, data: bytes, wanted: bool) -> None:
        Deferred.__init__(self, _cancelled)
        self._outgoing = outgoing
        self.data = data
        self.wanted = wanted
        self.number = -1
        self.state = QUEUED


class AwaitedAsk(Ask, Deferred[bytes]):
    """
    An ask, and the L{Deferred} of its reply, as L{AwaitedMessage} is of a message.

    @ivar sender: is told when it is cancelled.
    """

    sender: Sender

    error: HypermailError | None = None
    withdrawn: HypermailError | None = None
    fresh = 0
    resend: RangeSet | None = None

    def __init__(self, outgoing: Outgoing, data: bytes, wanted: bool) -> None:
        Deferred.__init__(self, _cancelled)
        self._outgoing = outgoing
        self.data = data
        self.wanted = wanted
        self.number = -1
        self.state = QUEUED
        self.answered = False


def _cancelled(message: Any) -> None:
    message.sender.withdraw(message)


class SentMessage(Deferred[None]):
    """
    What L{hypermail.interfaces.ISession.sendMessage} returns for a durable lane.

    @ivar number: of the message, within its lane.
    """

    number = -1
    _stored: Failure | bool | None = None
    _queued: Deferred[None] | None = None

    @property
    def queued(self) -> Deferred[None]:
        """
        Fires with None once the message is on disk, so that it will be delivered even if this process is killed.
        Errbacks with L{hypermail.errors.StoreFailed}, as this Deferred does, when it is not; and as this one when that
        errbacks before.
        """
        if self._queued is None:
            self._queued = Deferred(lambda _: None)
            if self._stored is not None:
                self.stored(self._stored)
        return self._queued

    def stored(self, outcome: Failure | bool) -> None:
        """It is on disk; or is not, and why. What was said first counts."""
        if self._stored is None:
            self._stored = outcome
        queued = self._queued
        if queued is not None and not queued.called:
            if isinstance(self._stored, Failure):
                queued.errback(self._stored)
            else:
                queued.callback(None)


def alreadyFailed(failure: Failure) -> SentMessage:
    """One that was not accepted."""
    sent = SentMessage()
    sent.stored(failure)
    sent.errback(failure)
    return sent
