"""
A connection on which frames come and go: TLS, or a stream of hypermail.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import ITCPTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from hypermail.errors import HypermailError, IllegalTransition
from hypermail.hive.errors import FrameInvalid
from hypermail.hive.frames import Body, Frame, decode
from hypermail.hive.reading import FrameReader, framed
from hypermail.services.paths import printable


class FrameProtocol(Protocol):
    """
    Subclasses override C{frameReceived}, which may raise L{FrameInvalid} or L{IllegalTransition}: that ends it.

    @ivar ended: whether nothing is read or written any more.
    """

    _log = Logger()
    transport: Any

    def __init__(self) -> None:
        self.reader = FrameReader()
        self.ended = False
        self._paused = False
        self._reading = False

    def frameReceived(self, frame: Frame | Body) -> None:
        """A frame has come. None comes while this is paused."""

    def violated(self, error: HypermailError) -> None:
        """The peer has sent what is no frame, or has no place. The connection is cut off."""
        self.refused(error.text)
        self.abort()

    def refused(self, reason: str) -> None:
        """Log why the peer does not get what it wants."""
        self._log.warn("{peer}: {reason}", peer=self.transport.getPeer(), reason=printable(reason))

    @property
    def unsent(self) -> int:
        """Bytes that wait for the peer to take them, as far as sockets tell; streams of hypermail do not."""
        lowest = self.transport
        while (below := getattr(lowest, "transport", None)) is not None:
            lowest = below
        waiting = len(getattr(lowest, "dataBuffer", b"")) - getattr(lowest, "offset", 0)
        return waiting + getattr(lowest, "_tempDataLen", 0)

    def send(self, frame: bytes) -> None:
        """Write a frame."""
        if not self.ended:
            self.transport.writeSequence(framed(frame))

    def leave(self) -> None:
        """Nothing follows. What was written is delivered. What still comes is dropped."""
        self.ended = True
        self._paused = False
        self.transport.resumeProducing()  # whoever does not read never sees that the peer leaves, too
        self.transport.loseConnection()

    def abort(self) -> None:
        """Cut it off."""
        self.ended = True
        self.transport.abortConnection()

    # What Twisted calls, and who takes what comes

    def connectionMade(self) -> None:
        """See L{Protocol}."""
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)
            self.transport.setTcpKeepAlive(True)

    def dataReceived(self, data: bytes) -> None:
        """See L{Protocol}."""
        if not self.ended:
            self.reader.feed(data)
            self._read()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See L{Protocol}."""
        self.ended = True

    def pauseProducing(self) -> None:
        """See L{twisted.internet.interfaces.IPushProducer}."""
        if not self._paused:
            self._paused = True
            self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """See L{twisted.internet.interfaces.IPushProducer}; may be called within C{frameReceived}."""
        if self._paused:
            self._paused = False
            if not self.ended:
                self.transport.resumeProducing()
                self._read()

    def stopProducing(self) -> None:
        """See L{twisted.internet.interfaces.IPushProducer}."""
        self.leave()

    def _read(self) -> None:
        if self._reading:
            return
        self._reading = True
        try:
            while not (self._paused or self.ended):
                frame = self.reader.next()
                if frame is None:
                    break
                self.frameReceived(decode(frame))
        except (FrameInvalid, IllegalTransition) as error:
            self.violated(error)
        finally:
            self._reading = False
