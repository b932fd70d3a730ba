"""
What users subclass: the protocol of a session, and the factory that makes one for each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from hypermail.errors import HypermailError, MessageRejected
from hypermail.events import SessionRequested, StreamOptions
from hypermail.interfaces import Answer, ISession, ISessionFactory, ISessionProtocol, Octets

if TYPE_CHECKING:
    from hypermail.internet.address import HypermailAddress
    from hypermail.internet.message import Message


@implementer(ISessionProtocol)
class SessionProtocol:
    """
    One side of a session; subclass it and override what you need.

    Every callback may be an C{async def} or return a Deferred. What is not overridden refuses what asks
    for an answer, and ignores the rest.

    @ivar session: set before C{sessionOpened}.
    @ivar factory: the factory that built this, or None.
    """

    session: ISession
    factory: SessionFactory | None = None

    _log = Logger()

    def sessionOpened(self) -> Answer[None]:
        """Both sides have agreed; messages and streams may go from now on."""
        return None

    def messageReceived(self, message: bytes) -> Answer[None]:
        """
        A whole message has arrived. The sender's Deferred fires when this is done.

        @raise MessageRejected: here, as nobody takes messages. Any exception or errback rejects the message:
            a L{HypermailError} with its own code and text, others with their class only, and are logged.
        """
        raise MessageRejected("this application takes no messages")

    def messagesTaken(self, session: bytes) -> Answer[Mapping[int, int]]:
        """
        A durable session goes on after a restart of this process: what has been taken, by this application's records?

        @param session: its id.
        @return: for each durable lane the number below which all messages were taken, as far as that is known here; or
            a Deferred or coroutine of that. What hypermail has on disk counts when it is more.
        """
        return {}

    def messageSettled(self, message: Message, error: HypermailError | None) -> Answer[None]:
        """
        The fate of a message on a durable lane is known that was sent before a restart of this process.

        @param message: its content is empty when the peer had settled it before it was looked at again.
        @param error: why the peer has not taken it; None when it has.
        """
        if error is not None:
            self._log.warn(
                "message {number} of lane {lane} of session {session} was not taken: {reason}",
                number=message.number,
                lane=message.lane,
                session=message.session.hex(),
                reason=error.text,
            )
        return None

    def messageUndelivered(self, message: Message) -> Answer[None]:
        """
        A durable session has ended, and a message that was written down in it may not have been delivered. Of those
        whose Deferred has told this process so, there is no word here.
        """
        self._log.warn(
            "message {number} of lane {lane} of session {session} ({size} bytes) is undelivered",
            number=message.number,
            lane=message.lane,
            session=message.session.hex(),
            size=len(message),
        )
        return None

    def askReceived(self, message: bytes) -> Answer[Octets]:
        """
        The peer asks, and waits for the reply.

        @return: the reply, or a Deferred or coroutine of it, which is cancelled when the session is lost.
        @raise MessageRejected: here, as nobody answers; its code and text are the asker's. Of any other exception or
            errback the asker learns the class only, and it is logged.
        """
        raise MessageRejected("this application answers no asks")

    def datagramReceived(self, data: bytes) -> Answer[None]:
        """A direct message has arrived."""
        return None

    def streamOpened(self, name: bytes, options: StreamOptions) -> Answer[IProtocol | None]:
        """
        The peer wants to open a stream.

        @return: a protocol for it, or None (as here) to refuse.
        """
        return None

    def sessionSuspended(self, reason: Failure) -> Answer[None]:
        """
        The link is lost; the session goes on when there is another. What is sent meanwhile is kept.

        @param reason: of a L{hypermail.errors.SessionLost}.
        """
        return None

    def sessionResumed(self) -> Answer[None]:
        """The session goes on over another link."""
        return None

    def sessionLost(self, reason: Failure) -> Answer[None]:
        """
        The session is over. This is the last call, and the only one when it never opened.

        @param reason: of a L{hypermail.errors.SessionLost}; L{SessionClosed} when it was closed gracefully.
        """
        return None


@implementer(ISessionFactory)
class SessionFactory:
    """
    Makes a protocol for each session.

    @ivar protocol: called without arguments by C{buildProtocol}.
    @ivar noisy: whether starting and stopping are logged.
    @ivar numPorts: how many ports and connecting endpoints use it now.
    """

    protocol: Callable[[], Any] | None = None
    noisy = True
    numPorts = 0

    _log = Logger()

    @classmethod
    def forProtocol(cls, protocol: Callable[..., Any], *args: Any, **kwargs: Any) -> SessionFactory:
        """
        A factory for a protocol.

        @param protocol: a class of L{ISessionProtocol}, or what makes one.
        @param args: for the factory's own C{__init__}, as C{kwargs}.
        """
        factory = cls(*args, **kwargs)
        factory.protocol = protocol
        return factory

    def sessionRequested(self, request: SessionRequested) -> Answer[ISessionProtocol | None]:
        """
        Whether a stranger's session is wanted; override to say no.

        @return: None (as here) for a protocol of C{buildProtocol}, or one for this session alone.
        @raise SessionRejected: to reject it; any other L{HypermailError} does too, with its code and text.
        """
        return None

    def buildProtocol(self, address: HypermailAddress) -> ISessionProtocol | None:
        """
        A protocol for the session with C{address}, or None to reject it.
        """
        if self.protocol is None:
            raise TypeError(f"{type(self).__name__} has no protocol: use forProtocol or override buildProtocol")
        protocol = self.protocol()
        protocol.factory = self
        built: ISessionProtocol = protocol
        return built

    def doStart(self) -> None:
        """One port more; not for users."""
        if not self.numPorts:
            if self.noisy:
                self._log.info("Starting factory {factory!r}", factory=self)
            self.startFactory()
        self.numPorts += 1

    def doStop(self) -> None:
        """One port less; not for users."""
        if not self.numPorts:
            return
        self.numPorts -= 1
        if not self.numPorts:
            if self.noisy:
                self._log.info("Stopping factory {factory!r}", factory=self)
            self.stopFactory()

    def startFactory(self) -> None:
        """Called before the first port uses this factory."""

    def stopFactory(self) -> None:
        """Called after the last port has stopped using this factory."""
