"""
A client's connection, below HTTP: its deadlines, its back pressure, and how it ends.

There is one timer for all connections (L{hypermail.internet.deadlines}): a deadline that moves away costs an
assignment.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any
from typing import Protocol as Interface

from twisted.internet.interfaces import IHalfCloseableProtocol, ISSLTransport, ITCPTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from hypermail.services.paths import printable

if TYPE_CHECKING:
    from hypermail.hive.front.front import Front

#: Of what still comes once the last response was written: bytes that are dropped, and s until the connection is cut,
#: so that a client that is still sending gets to read that response (RFC 9112 §9.6).
LINGERING = 1 << 20
LINGER = 5.0
#: Characters of a reason that are logged.
_REASON = 200


@dataclass(frozen=True)
class Timeouts:
    """
    What a client may take its time for, in s. The defaults are those of L{hypermail.hive.directives.Directives}.

    @ivar header: for TLS, and for the head of a request from its first byte on.
    @ivar read: until the next bytes of a body that is wanted.
    @ivar write: until some of what waits to be written is taken.
    @ivar idle: between requests.
    """

    header: float = 5.0
    read: float = 10.0
    write: float = 15.0
    idle: float = 120.0


class Speaker(Interface):
    """A version of HTTP on a L{Line}."""

    def dataReceived(self, data: bytes) -> None:
        """Bytes of the client's."""

    def inputEnded(self) -> None:
        """No more will come, but what is written may still be read."""

    def lost(self) -> None:
        """The connection is lost."""

    def outputBlocked(self, blocked: bool) -> None:
        """Too much waits to be written; or nothing does any more."""

    def expired(self) -> None:
        """What L{Line.expect} was called for has not come."""

    def stop(self) -> None:
        """Take no more requests, and leave when there are none."""


@implementer(IHalfCloseableProtocol)
class Line(Protocol):
    """
    @ivar deadline: s; for the timer.
    @ivar blocked: whether too much waits to be written.
    @ivar over: whether nothing is read or written any more, but for what waits to be.
    """

    _log = Logger()
    transport: Any

    def __init__(self, front: Front) -> None:
        self.deadline = inf
        self.blocked = False
        self.over = False
        self._front = front
        self._timeouts = front.timeouts
        self._speaker: Speaker | None = None
        self._expected = inf  # s when something of the client's has to be here
        self._taken = inf  # s when it has to have taken something
        self._waiting: object = None  # what the transport looked like then
        self._paused = False
        self._dropped = 0

    # What Twisted calls

    def connectionMade(self) -> None:
        """See L{Protocol}. TLS is still to come, and counts as part of the first head."""
        if ITCPTransport.providedBy(self.transport):
            # What TLS says at its end, and a client acknowledges 40 ms later, would hold up the first response.
            self.transport.setTcpNoDelay(True)
        self.transport.registerProducer(self, True)
        self.expect(self._timeouts.header)
        self._front.connected(self)

    def dataReceived(self, data: bytes) -> None:
        """See L{Protocol}."""
        if self.over:
            self._drop(len(data))
            return
        speaker = self._speaker
        if speaker is None:
            speaker = self._speaker = self._front.speaker(self)
        speaker.dataReceived(data)

    def readConnectionLost(self) -> None:
        """See L{IHalfCloseableProtocol}."""
        if self.over or self._speaker is None:
            self.transport.loseConnection()
        else:
            self._speaker.inputEnded()

    def writeConnectionLost(self) -> None:
        """See L{IHalfCloseableProtocol}: all is delivered, and the client should close the connection now."""
        self._taken = inf
        if self.over:
            self.expect(LINGER)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See L{Protocol}."""
        self.over = True
        self._expected = self._taken = inf
        self._front.deadlines.arm(self, None)
        speaker, self._speaker = self._speaker, None
        try:
            if speaker is not None:
                speaker.lost()
        finally:
            self._front.disconnected(self)

    def pauseProducing(self) -> None:
        """See L{twisted.internet.interfaces.IPushProducer}: too much waits to be written."""
        if not self.blocked:
            self.blocked = True
            self._watch()
            if self._speaker is not None:
                self._speaker.outputBlocked(True)

    def resumeProducing(self) -> None:
        """See L{twisted.internet.interfaces.IPushProducer}: all was taken."""
        if self.blocked:
            self.blocked = False
            self._taken = inf
            if self._speaker is not None:
                self._speaker.outputBlocked(False)

    def stopProducing(self) -> None:
        """See L{twisted.internet.interfaces.IPushProducer}: the connection is being lost."""

    # What speakers call

    def write(self, data: bytes) -> None:
        """Write it. What is small goes out together at the end of the reactor's turn: both TCP and TLS see to that."""
        self.transport.write(data)

    def writeSequence(self, pieces: Iterable[bytes]) -> None:
        """Write them."""
        self.transport.writeSequence(pieces)

    def pause(self) -> None:
        """Read no more for now."""
        if not self._paused and not self.over:
            self._paused = True
            self.transport.pauseProducing()

    def resume(self) -> None:
        """Read on."""
        if self._paused and not self.over:
            self._paused = False
            self.transport.resumeProducing()

    def expect(self, seconds: float | None) -> None:
        """
        Expect something of the client.

        @param seconds: until the speaker's C{expired}; None for no such thing.
        """
        if seconds is None:
            self._expected = inf
            return
        self._expected = due = self._front.seconds() + seconds
        if due < self.deadline:
            self._front.deadlines.arm(self, due)

    def endOutput(self) -> bool:
        """
        Tell the client that nothing follows, where that is possible while it still may send something.

        @return: whether it is. With TLS it is not.
        """
        if not self._half_closes():
            return False
        if not self.over:
            self.transport.unregisterProducer()
            self.transport.loseWriteConnection()
            self._watch()
        return True

    def leave(self) -> None:
        """
        Deliver what was written, then close the connection. What still comes is dropped, up to a limit, since a
        connection that is closed while something comes is reset, and then the client loses what it has not read yet.
        """
        if self.over:
            return
        self.resume()
        halves = self.endOutput()
        self.over = True
        self._expected = inf
        if not halves:
            self.transport.unregisterProducer()
            self.transport.loseConnection()
            self._watch()

    def hangUp(self) -> None:
        """Close a connection that both have ended."""
        self.over = True
        self._expected = inf
        self.transport.loseConnection()
        self._watch()

    def cut(self) -> None:
        """Cut it off: the client sees that it is broken."""
        if not self.over:
            self.over = True
            self.transport.abortConnection()

    def refused(self, reason: str) -> None:
        """Log what was wrong with a client's request, which is nobody's business unless he looks for it."""
        self._log.debug("{peer}: {reason}", peer=self.transport.getPeer(), reason=printable(reason[:_REASON]))

    # For the front

    def stop(self) -> None:
        """Take no more requests, and leave when there are none."""
        if self._speaker is None:
            self.leave()
        elif not self.over:
            self._speaker.stop()

    def abort(self) -> None:
        """Cut it off, also if it is closing already."""
        self.over = True
        self.transport.abortConnection()

    def expire(self) -> None:
        """The deadline has come, or an earlier one that has moved since."""
        now = self._front.seconds()
        if now >= self._taken and not self._progressed(now):
            self.abort()
        elif now >= self._expected:
            self._expected = inf
            if self.over:
                self.abort()
            elif self._speaker is None:
                self.cut()  # there was no first byte; perhaps not even TLS
            else:
                self._speaker.expired()
        due = min(self._expected, self._taken)
        if due != inf and self.transport.connected:
            self._front.deadlines.arm(self, due)

    # Inside

    def _half_closes(self) -> bool:
        return not ISSLTransport.providedBy(self.transport) and hasattr(self.transport, "loseWriteConnection")

    def _drop(self, size: int) -> None:
        self._dropped += size
        if self._dropped > LINGERING:
            self.abort()

    def _watch(self) -> None:
        """From now on the client has to take something of what waits, again and again."""
        self._waiting = self._written()
        self._taken = due = self._front.seconds() + self._timeouts.write
        if due < self.deadline:
            self._front.deadlines.arm(self, due)

    def _progressed(self, now: float) -> bool:
        before, self._waiting = self._waiting, self._written()
        self._taken = now + self._timeouts.write
        return self._waiting != before

    def _written(self) -> object:
        """Something that is another thing once the socket has taken bytes, which transports tell nobody."""
        lowest = self.transport
        while (below := getattr(lowest, "transport", None)) is not None:
            lowest = below
        return len(getattr(lowest, "dataBuffer", b"")), getattr(lowest, "offset", 0)
