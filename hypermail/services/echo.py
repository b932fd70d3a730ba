"""
Everything back to where it came from: for trying out a path, and for measuring it.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import Protocol
from zope.interface import implementer

from hypermail.errors import HypermailError, SessionLost
from hypermail.interfaces import ISession


@implementer(IPushProducer)
class MessageEcho:
    """
    Sends a session's messages back on it, on lane 0.

    The acknowledgement of a message does not wait for that of its echo, only for room: a peer that
    reads no echoes is not acknowledged any more when the session is full of them.
    """

    def __init__(self, session: ISession) -> None:
        self._session = session
        self._waiting: deque[tuple[bytes, Deferred[None]]] = deque()
        session.registerProducer(self, True)

    def echo(self, message: bytes) -> Deferred[None] | None:
        """
        Send a message back.

        @return: None when it is on its way, else a L{Deferred} that fires when it is.
        @raise HypermailError: when it cannot be sent: the peer takes none, or none so large.
        """
        if not self._waiting and self._session.sendMessages((message,)):
            return None
        sent: Deferred[None] = Deferred()
        self._waiting.append((message, sent))
        return sent

    def resumeProducing(self) -> None:
        """See L{IPushProducer}: there is room."""
        while self._waiting:
            message, sent = self._waiting[0]
            try:
                if not self._session.sendMessages((message,)):
                    return
            except HypermailError as error:
                self._waiting.popleft()
                sent.errback(error)
            else:
                self._waiting.popleft()
                sent.callback(None)

    def pauseProducing(self) -> None:
        """See L{IPushProducer}: nothing to do, as only room lets anything through."""

    def stopProducing(self) -> None:
        """See L{IPushProducer}: the session is over."""
        while self._waiting:
            self._waiting.popleft()[1].errback(SessionLost("the session ended before the echo had room"))


@implementer(IHalfCloseableProtocol)
class StreamEcho(Protocol):
    """Sends a stream's bytes back on it, and reads no faster than they go."""

    transport: Any

    def connectionMade(self) -> None:
        self.transport.registerProducer(self.transport, True)

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)

    def readConnectionLost(self) -> None:
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """All of it is back."""
