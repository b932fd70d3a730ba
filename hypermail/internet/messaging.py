"""
A session's messages between the core and the application: Deferreds one way, verdicts the other.

A Deferred is made only where a caller asked for one; what is received and taken at once costs one call of
the application each and one call of the core for all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, cast

from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from hypermail.errors import (
    Delivered,
    HypermailError,
    MessageCancelled,
    MessageUndelivered,
    Reason,
)
from hypermail.interfaces import ISessionProtocol, Octets
from hypermail.internet.callbacks import meantForPeer, pending, verdict
from hypermail.internet.message import AwaitedAsk, AwaitedMessage, Message, SentMessage
from hypermail.internet.production import Production
from hypermail.messages.durable_sending import DurableMessage
from hypermail.messages.octets import octets

if TYPE_CHECKING:
    from hypermail.connection import Connection
    from hypermail.events import MessagesReceived
    from hypermail.messages.incoming import IncomingLane
    from hypermail.messages.message import OutgoingMessage


class MessagesUser(Protocol):
    """What messages need of their session."""

    connection: Connection
    reactor: Any

    def seconds(self) -> float:
        """The time that the core is told."""

    def touch(self) -> None:
        """The core has something new to send."""

    def tell(self, callback: Callable[..., object], *arguments: Any) -> None:
        """Call the application; the session ends when it fails."""


class SentMessages:
    """
    Messages on their way to the peer, and who waits for which.

    @param protocol: the application's.
    @ivar production: the registered producer of messages.
    @ivar waiting: of each message that is no Deferred itself, the one that its fate is told to.
    """

    __slots__ = ("_protocol", "_session", "_told", "production", "waiting")

    def __init__(self, session: MessagesUser, protocol: ISessionProtocol) -> None:
        self._session = session
        self._protocol = protocol
        self.waiting: dict[OutgoingMessage, Deferred[Any]] = {}
        self.production: Production | None = None
        # (lane, number) of those that somebody was told to be undelivered; made for the first
        self._told: set[tuple[int, int]] | None = None

    def send(self, data: Octets, lane: int, expires: float | None, note: bytes) -> Deferred[None]:
        """See L{ISession.sendMessage}."""
        session = self._session
        connection = session.connection
        content = data if type(data) is bytes else octets(data)
        try:
            message = connection.send_message(
                content, lane=lane, expires=expires, note=note, kind=AwaitedMessage, now=session.seconds()
            )
        except HypermailError as error:
            return self._sendDirect(content) if connection.is_direct(lane) else defer.fail(error)
        deferred: Deferred[None]
        if type(message) is AwaitedMessage:
            message.sender = self
            deferred = message
        else:
            deferred = self._awaited(message)
        session.touch()
        if self.production is not None:
            self.production.wrote()
        return deferred

    def _awaited(self, message: OutgoingMessage) -> Deferred[None]:
        """What waits for a message of another kind."""
        deferred: Deferred[None]
        if isinstance(message, DurableMessage):
            deferred = SentMessage(partial(self._cancel, message))
            deferred.number = message.number
        else:
            deferred = Deferred(partial(self._cancel, message))
        self.waiting[message] = deferred
        return deferred

    def _sendDirect(self, data: bytes) -> Deferred[None]:
        """A direct lane promises nothing: what was sent is settled."""
        try:
            self._session.connection.send_direct(data)
        except HypermailError as error:
            return defer.fail(error)
        self.wrote()
        return defer.succeed(None)

    def sendMany(self, messages: Iterable[Octets], lane: int) -> int:
        """See L{ISession.sendMessages}."""
        session = self._session
        try:
            count = session.connection.send_messages(messages, lane=lane, now=session.seconds())
        except Exception:
            self.wrote()  # those before the one that could not be sent
            raise
        if count:
            self.wrote()
        return count

    def wrote(self) -> None:
        """Something is to be sent: see to it, and to the producer's room."""
        self._session.touch()
        if self.production is not None:
            self.production.wrote()

    def _cancel(self, message: OutgoingMessage, deferred: Deferred[None]) -> None:
        if self.waiting.pop(message, None) is not None:
            self._giveUp(message, deferred)

    def withdraw(self, message: AwaitedMessage) -> None:
        """See L{Sender.withdraw}."""
        self._giveUp(message, message)

    def _giveUp(self, message: OutgoingMessage, deferred: Deferred[None]) -> None:
        self._session.connection.cancel_message(message, now=self._session.seconds())
        self._session.touch()
        self._failed(message, deferred, MessageCancelled("the message was cancelled by its sender"))

    def settled(self, messages: list[OutgoingMessage]) -> None:
        """The fate of messages is known."""
        waiting = self.waiting
        for message in messages:
            deferred: Deferred[Any] | None
            if type(message) is AwaitedMessage:
                deferred = None if message.called else message
            elif type(message) is AwaitedAsk:
                deferred = None if message.called else cast("Deferred[Any]", message)
            else:
                deferred = waiting.pop(message, None)
            if deferred is None:
                if isinstance(message, DurableMessage) and message.restored:
                    self._settledEarlier(message)
                continue  # or it was cancelled
            if message.error is None:
                deferred.callback(None)
                continue
            self._failed(message, deferred, message.error)
        if not waiting:
            waiting.clear()  # gives back the room that a burst took

    def _settledEarlier(self, message: DurableMessage) -> None:
        """The fate of a message is known that was sent before a restart."""
        if not isinstance(message.error, MessageUndelivered):
            session = self._session
            name = bytes(session.connection.session_id)
            sent = Message(message.data, name, message.lane, message.number, message.note)
            session.tell(self._protocol.messageSettled, sent, message.error)

    def stored(self, messages: list[OutgoingMessage]) -> None:
        """Messages of durable lanes are on disk."""
        for message in messages:
            deferred = self.waiting.get(message)
            if isinstance(deferred, SentMessage):
                deferred.stored(True)

    def writable(self) -> None:
        """There is room for more messages."""
        if self.production is not None:
            self.production.writable()

    def refused(self) -> None:
        """Nothing more can be sent: the producer is told."""
        production, self.production = self.production, None
        if production is not None:
            production.stop()

    def lost(self, error: HypermailError) -> None:
        """The session is over: whoever still waits waits in vain."""
        self.refused()
        for message in self._session.connection.unsettled_messages:
            if isinstance(message, (AwaitedMessage, AwaitedAsk)) and not message.called:
                self._failed(message, message, MessageUndelivered(error, Delivered.UNKNOWN))
        for message in [*self.waiting]:
            deferred = self.waiting.pop(message, None)
            if deferred is not None:  # the errback of one before may have cancelled it
                self._failed(message, deferred, MessageUndelivered(error, Delivered.UNKNOWN))

    def undelivered(self, message: Message) -> None:
        """A message was written down, and was not delivered when the session ended; perhaps nobody was told of it."""
        if self._told is None or (message.lane, message.number) not in self._told:
            self._session.tell(self._protocol.messageUndelivered, message)

    def _failed(self, message: OutgoingMessage, deferred: Deferred[Any], error: HypermailError) -> None:
        if isinstance(deferred, SentMessage):
            if isinstance(error, MessageUndelivered):
                if self._told is None:
                    self._told = set()
                self._told.add((message.lane, message.number))
            deferred.stored(Failure(error))
        deferred.errback(error)


class ReceivedMessages:
    """
    Messages from the peer, and what the application says to each.

    @param protocol: the application's.
    @ivar over: whether the session has ended, and takes no verdicts any more.
    """

    __slots__ = ("_protocol", "_session", "over")

    _log = Logger()

    def __init__(self, session: MessagesUser, protocol: ISessionProtocol) -> None:
        self._session = session
        self._protocol = protocol
        self.over = False

    def arrived(self, event: MessagesReceived) -> None:
        """Give messages to the application; those that it takes at once are settled together."""
        lane = event.lane
        receive = self._protocol.messageReceived
        start = event.first
        messages: list[bytes] = event.messages
        if lane.durable:
            session = self._session.connection.session_id
            messages = [Message(data, session, lane.number, at) for at, data in enumerate(messages, start)]
        for number, message in enumerate(messages, start):
            try:
                answer = receive(message)
                waits = None if answer is None else pending(answer)
            except Exception:
                waits = defer.fail()
            if waits is not None:
                self._takeRun(lane, start, number)
                start = number + 1
                waits.addCallbacks(self._taken, self._failed, callbackArgs=(lane, number), errbackArgs=(lane, number))
            if self.over:
                return
        self._takeRun(lane, start, event.first + len(messages))

    def _takeRun(self, lane: IncomingLane, start: int, stop: int) -> None:
        if stop > start and not self.over:
            lane.take(start, stop - start)

    def _taken(self, _: object, lane: IncomingLane, number: int) -> None:
        if not self.over:
            lane.take(number)
            self._session.touch()

    def _failed(self, failure: Failure, lane: IncomingLane, number: int) -> None:
        if not meantForPeer(failure):
            self._log.failure("messageReceived has failed; the message is rejected", failure)
        if not self.over:
            code, text = verdict(failure, Reason.APPLICATION, "this message")
            lane.reject(number, code, text)
            self._session.touch()
