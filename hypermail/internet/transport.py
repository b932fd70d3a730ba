"""
A stream as an ordinary Twisted transport, so that any protocol runs over it.

It follows TCP where users rely on it. What happens at the end, precisely:

* C{loseConnection}: what is written is flushed first, after a registered producer has finished; what the
  peer still sends is thrown away. When the peer has acknowledged everything the protocol is told
  C{ConnectionDone}, and the peer, should it still be sending, that nobody reads any more.
* The peer finishes: L{IHalfCloseableProtocol} is told C{readConnectionLost} and goes on writing; for any
  other protocol it is C{loseConnection}, so what it has written is still flushed. A protocol of which the
  peer has everything is told C{ConnectionDone} at once. One that is paused is told when it resumes.
* C{loseWriteConnection}: what is written is flushed, then L{IHalfCloseableProtocol} is told
  C{writeConnectionLost}. When both directions are complete: C{ConnectionDone}.
* C{abortConnection}: C{ConnectionAborted}, at the next turn; the peer is told C{ConnectionLost}.
* The stream is cleared or the session lost: C{ConnectionLost}. The L{HypermailError} is the reason's
  C{__cause__}.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from types import NoneType
from typing import TYPE_CHECKING, Any

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IConsumer,
    IHalfCloseableDescriptor,
    IHalfCloseableProtocol,
    IProtocol,
    IPushProducer,
    ITransport,
)
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.log import callWithContext
from zope.interface import implementer

from hypermail.errors import HypermailError, Reason, SessionClosed, StreamAborted, StreamError, UsageError
from hypermail.internet.likeness import Likeness, StreamUser, logContext
from hypermail.internet.production import Production
from hypermail.internet.reasons import lossReason
from hypermail.messages.octets import octets
from hypermail.options import KIB
from hypermail.wire.fields import Data

if TYPE_CHECKING:
    from hypermail.streams.stream import Stream

#: Bytes that one C{dataReceived} is given, unless the core has them in one piece.
MOST_AT_ONCE = 64 * KIB


@implementer(ITransport, IConsumer, IPushProducer, IHalfCloseableDescriptor)
class StreamTransport(Likeness):
    """
    One stream, once both sides have accepted it.

    @ivar connected: until C{connectionLost}.
    @ivar disconnecting: since C{loseConnection}.
    @ivar disconnected: since C{connectionLost}.
    """

    _log = Logger()

    __slots__ = (
        "_aborting",
        "_endError",
        "_ended",
        "_finishArrived",
        "_finished",
        "_flushed",
        "_gone",
        "_held",
        "_logContext",
        "_paused",
        "_production",
        "_readOver",
        "_session",
        "_stream",
        "_writeClosing",
        "disconnected",
        "disconnecting",
        "protocol",
    )

    def __init__(self, session: StreamUser, stream: Stream, protocol: IProtocol, gone: Callable[[], object]) -> None:
        """
        @param gone: called after the protocol's C{connectionLost}.
        """
        self._session = session
        self._stream = stream
        self.protocol = protocol
        self._gone = gone
        self._production: Production | None = None
        self._held: deque[Data] = deque()
        self._logContext: dict[str, str] | None = None  # made for the first call
        self._paused = False
        self._finishArrived = False  # the peer's direction is complete, here
        self._readOver = False  # ... and the protocol knows
        self._writeClosing = False
        self._finished = False  # the core was told that nothing more is written
        self._flushed = False  # ... and the peer has it all
        self._ended = False
        self._endError: HypermailError | None = None
        self._aborting = False
        self.disconnecting = False
        self.disconnected = False

    @property
    def connected(self) -> bool:
        """Whether the protocol has not been told C{connectionLost}."""
        return not self.disconnected

    def begin(self) -> None:
        """Connect the protocol."""
        try:
            self.protocol.makeConnection(self)
        except Exception:
            self._protocolFailed()

    # ITransport, for writing.

    def write(self, data: bytes) -> None:
        """Write bytes, in order, as many as you like; a producer is told when there is room for more."""
        data = octets(data)
        # As with Twisted's TLS: after loseConnection only a producer may finish what it has begun.
        if not data or self._finished or self.disconnected or self._aborting:
            return
        try:
            self._stream.write(data)
        except UsageError:
            return  # it is over, as an event that waits will tell
        self._wrote()

    def _wrote(self) -> None:
        self._session.touch()
        if self._production is not None:
            self._production.wrote()

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """
        Write the pieces one after the other, without joining them.

        @raise TypeError: when one of them isn't C{bytes}-like; nothing was written then.
        """
        pieces = [octets(piece) for piece in data]
        if not pieces:
            return
        try:
            for piece in pieces:
                self._stream.write(piece)
        except UsageError:
            return  # as above
        self._wrote()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """
        See L{IConsumer.registerProducer}.

        @raise RuntimeError: when there is one already.
        """
        if self._production is not None:
            raise RuntimeError(f"{producer!r} cannot be registered: there is a producer already")
        if self.disconnected or self._aborting:
            producer.stopProducing()
            return
        self._production = Production(
            producer,
            streaming,
            reactor=self._session.reactor,
            isFull=lambda: bool(self._stream.full),
            failed=self.abortConnection,
            filled=self._session.flush,
        )
        self._production.begin()

    def unregisterProducer(self) -> None:
        """See L{IConsumer.unregisterProducer}."""
        if self._production is not None:
            self._production.forget()
            self._production = None
        if self.disconnecting or self._writeClosing:
            self._finish()

    def stopConsuming(self) -> None:
        """As L{twisted.internet.abstract.FileDescriptor}: the producer has nothing more, and this is the end."""
        self.unregisterProducer()
        self.loseConnection()

    def loseWriteConnection(self) -> None:
        """Write no more; what is written is flushed. The peer's direction goes on."""
        self._writeClosing = True
        if self._production is None:
            self._finish()

    def loseConnection(self) -> None:
        """Flush what is written, then end the stream."""
        if self.disconnecting or self.disconnected:
            return
        self.disconnecting = True
        self._held.clear()
        self._paused = False
        self._resumeStream()
        if self._flushed:
            self._session.soon(self._close)
        elif self._production is None:
            self._finish()

    def _finish(self) -> None:
        if not self._finished and not self._aborting and not self.disconnected:
            self._finished = True
            self._stream.finish()
            self._session.touch()

    def abortConnection(self) -> None:
        """End the stream at once, whatever is on its way."""
        if self._aborting or self.disconnected:
            return
        self._aborting = True
        self._held.clear()
        if not self._ended:
            self._stream.clear(Reason.STREAM_ABORTED, "the stream was aborted")
        self._session.soon(self._aborted)

    def _aborted(self) -> None:
        self._lost(lossReason(StreamAborted("the stream was aborted"), disconnecting=True))

    # IPushProducer: what the peer sends.

    def pauseProducing(self) -> None:
        """Give the protocol nothing until C{resumeProducing}; the peer is held up."""
        if not self._paused and not self.disconnecting and not self.disconnected:
            self._paused = True
            self._stream.pause()
            self._session.touch()

    def resumeProducing(self) -> None:
        """Go on."""
        if self._paused:
            self._paused = False
            self._session.soon(self._catchUp)

    def stopProducing(self) -> None:
        """The protocol wants no more."""
        self.loseConnection()

    def _resumeStream(self) -> None:
        if not self._ended:
            self._stream.resume()
            self._session.touch()

    # What the core tells.

    def dataArrived(self, pieces: list[Data]) -> None:
        """Bytes of the peer."""
        if self.disconnecting or self.disconnected or self._aborting:
            return
        self._held += pieces
        self._deliver()

    def finishArrived(self) -> None:
        """The peer's direction is complete."""
        self._finishArrived = True
        if not self._held and not self._paused:
            self.readConnectionLost(Failure(ConnectionDone()))

    def flushed(self) -> None:
        """The peer has everything that was written."""
        self._flushed = True
        if self.disconnecting:
            self._session.soon(self._close)
            return
        if not self.disconnected:
            self.writeConnectionLost(Failure(ConnectionDone()))

    def writable(self) -> None:
        """There is room to write."""
        if self._production is not None:
            self._production.writable()

    def ended(self, error: HypermailError | None) -> None:
        """
        Both directions are over. A protocol that is paused is told later, when what is held back is all that the peer
        had to say, or the protocol does not know that it was all.
        """
        self._ended = True
        self._endError = error
        complete = self._finishArrived and isinstance(error, (NoneType, StreamError, SessionClosed))
        if not (complete and (self._held or (self._paused and not self._readOver))):
            self._end()

    # What the protocol is told.

    def _catchUp(self) -> None:
        """Deliver what was held back while the protocol was paused; only then the core may bring more."""
        self._deliver()
        if self._held or self._paused or self.disconnected:
            return
        self._resumeStream()
        if self._finishArrived and not self._readOver:
            self.readConnectionLost(Failure(ConnectionDone()))
        if self._ended:
            self._end()

    def _deliver(self) -> None:
        if self._held and not self._paused:
            self._tell(self._give)

    def _give(self) -> None:
        """All calls for what has come together are made in one log context, which takes as long as a small one."""
        held = self._held
        while held and not self._paused:
            self.protocol.dataReceived(self._join(held.popleft()))

    def _join(self, first: Data) -> bytes:
        held = self._held
        size = len(first)
        pieces = [first]
        while held and size + len(held[0]) <= MOST_AT_ONCE:
            size += len(held[0])
            pieces.append(held.popleft())
        return bytes(first) if len(pieces) == 1 else b"".join(pieces)

    def readConnectionLost(self, reason: Failure) -> None:
        """See L{IHalfCloseableDescriptor}: the protocol has everything that the peer has sent."""
        self._readOver = True
        if self.disconnecting or self.disconnected or self._aborting:
            return
        half: Any = IHalfCloseableProtocol(self.protocol, None)
        if half is not None:
            self._tell(half.readConnectionLost)
            return
        self.loseConnection()
        if self._finished and not self._stream.outgoing.unacked:
            self._lost(lossReason(None, disconnecting=True))

    def writeConnectionLost(self, reason: Failure) -> None:
        """See L{IHalfCloseableDescriptor}: the peer has everything that the protocol has written."""
        half: Any = IHalfCloseableProtocol(self.protocol, None)
        if half is not None:
            self._tell(half.writeConnectionLost)

    def _close(self) -> None:
        """Everything is flushed after C{loseConnection}: done, whatever the peer still sends."""
        if self.disconnected:
            return
        if not self._finishArrived and not self._ended:
            self._stream.clear(Reason.NONE, "nobody reads any more")
            self._session.touch()
        self._lost(lossReason(None, disconnecting=True))

    def _end(self) -> None:
        self._lost(lossReason(self._endError, disconnecting=self.disconnecting))

    def _tell(self, callback: Callable[..., object], *arguments: Any) -> None:
        if self._logContext is None:
            self._logContext = logContext(self.protocol, self.getPeer())
        try:
            callWithContext(self._logContext, callback, *arguments)
        except Exception:
            self._protocolFailed()

    def _protocolFailed(self) -> None:
        """As with TCP: the connection is lost with what the protocol has raised."""
        failure = Failure()
        self._log.failure("A stream's protocol has failed: {protocol!r}", failure, protocol=self.protocol)
        if not self._ended:
            self._stream.clear(Reason.APPLICATION, "the application failed")
            self._session.touch()
        self._lost(failure)

    def _lost(self, reason: Failure) -> None:
        if self.disconnected:
            return
        self.disconnected = True
        self._held.clear()
        production, self._production = self._production, None
        try:
            if production is not None:
                production.stop()
            self.protocol.connectionLost(reason)
        except Exception:
            self._log.failure("connectionLost has failed: {protocol!r}", protocol=self.protocol)
        self._gone()
