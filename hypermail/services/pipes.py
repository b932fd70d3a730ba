"""
Pipes: what one transport reads the other writes, no faster than that, and the end of the one is the end of the other.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress, IHalfCloseableDescriptor, IHalfCloseableProtocol, ITCPTransport
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer


class PipeFactory(Factory):
    """Makes one end, once. @param end: which."""

    noisy = False

    def __init__(self, end: PipeEnd) -> None:
        self._end = end

    def buildProtocol(self, addr: IAddress | None) -> PipeEnd:
        """See L{Factory}."""
        return self._end


@implementer(IHalfCloseableProtocol)
class PipeEnd(Protocol):
    """
    One end of a pipe; it reads nothing before it is joined with the other.

    @ivar gone: whether its transport is.
    """

    transport: Any
    gone = False

    def __init__(self) -> None:
        self._other: PipeEnd | None = None
        self._readAll = False

    def connectionMade(self) -> None:
        self.transport.pauseProducing()
        if ITCPTransport.providedBy(self.transport):
            with suppress(OSError):  # macOS, when the other side has gone already
                self.transport.setTcpNoDelay(True)  # who wants to wait for more (RFC 1122 §4.2.3.4) has done so already
                self.transport.setTcpKeepAlive(True)  # a host that has gone without a word holds no stream for ever

    def join(self, other: PipeEnd) -> None:
        """Make a pipe with another end; both are connected, or have been."""
        self._other, other._other = other, self
        if self.gone or other.gone:
            (other if self.gone else self).transport.loseConnection()
            return
        for reader, writer in ((self, other), (other, self)):
            writer.transport.registerProducer(reader.transport, True)
            reader.transport.resumeProducing()

    def dataReceived(self, data: bytes) -> None:
        assert self._other is not None, "an end that was not joined reads nothing"
        self._other.transport.write(data)

    def readConnectionLost(self) -> None:
        """This side says no more: pass that on. When neither does, both are done."""
        self._readAll = True
        other = self._other
        if other is None or other.gone:
            self.transport.loseConnection()
            return
        other.transport.unregisterProducer()
        if other._readAll:
            # A half-closed TCP connection that is read to its end is not closed by itself.
            self.transport.loseConnection()
            other.transport.loseConnection()
            return
        half: Any = IHalfCloseableDescriptor(other.transport, None)
        if half is None:
            other.transport.loseConnection()
        else:
            half.loseWriteConnection()

    def writeConnectionLost(self) -> None:
        """The other side's last word is on its way; this one may go on."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """@param reason: an end that is not clean is not made to look clean on the other side."""
        self.gone = True
        other = self._other
        if other is None or other.gone:
            return
        other.transport.unregisterProducer()
        if reason.check(ConnectionDone):
            other.transport.loseConnection()
        else:
            other.transport.abortConnection()
