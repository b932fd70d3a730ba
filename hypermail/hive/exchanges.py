"""
A band as the cell has it, on its connection: requests, one after the other, and what is answered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred, succeed
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from hypermail.errors import UsageError
from hypermail.hive.band import SWITCHING_PROTOCOLS, CellBand, Data, End
from hypermail.hive.errors import FrameInvalid
from hypermail.hive.fields import Lists
from hypermail.hive.frames import (
    EXTENSIONS,
    LARGEST,
    Accept,
    Body,
    ConnectionKind,
    Frame,
    IAm,
    Refuse,
    RequestHead,
)
from hypermail.hive.framing import FrameProtocol
from hypermail.hive.headers import checked, content_length

#: Bytes of a body that are taken when there is no limit: what an upgrade asks for.
UNLIMITED = (1 << 63) - 1
#: Bytes of a response's body in one frame, at most.
PIECE = 256 << 10


class Reader(Protocol):
    """Takes the body of a request. After C{bodyEnded} or C{lost} nothing follows."""

    def dataReceived(self, data: bytes) -> None:
        """Some of it."""

    def bodyEnded(self, end: End) -> None:
        """All of it was given."""

    def lost(self) -> None:
        """The client, the queen or the way to her is lost."""


class Exchange:
    """
    One request: what a handler is called with. What it says once the client is lost goes nowhere; what it says after
    the end raises L{UsageError}.

    @ivar head: of the request.
    @ivar begun: whether the head of the response was sent.
    @ivar over: whether nothing can be written any more: the response has ended, or the client is lost.
    @ivar connection: C{pauseProducing} and C{resumeProducing} hold back the body of the request; C{registerProducer}
        of its transport is for who writes the response.
    """

    def __init__(self, connection: BandProtocol, band: CellBand, head: RequestHead) -> None:
        self.head = head
        self.begun = False
        self.over = False
        self.connection = connection
        self._band = band
        self._reader: Reader | None = None
        self._ended = self._answered = False
        self._waiting: list[Deferred[bool]] = []

    def whenOver(self) -> Deferred[bool]:
        """
        Wait until nothing can be written any more.

        @return: fires with whether the response has ended; otherwise the client is lost.
        """
        if self.over:
            return succeed(self._answered)
        self._waiting.append(Deferred())
        return self._waiting[-1]

    def read(self, reader: Reader, most: int = UNLIMITED) -> None:
        """
        Ask for the body; once, and before the response.

        @param most: bytes; of a longer one the client learns that it is too long, and C{reader} that it is lost. So it
            does, at once, when the client is lost already.
        """
        self._send(self._band.want, most)
        if self.over:
            reader.lost()
        else:
            self._reader = reader

    def respond(self, status: int, headers: Lists) -> None:
        """
        The head of the response.

        @param status: 200 to 599; or 101, where the client has asked for an upgrade.
        @param headers: of each name its values, as C{{"content-type": ("text/plain",)}}.
        @raise UsageError: when the queen would not take it; the band would be lost with it.
        """
        if not (200 <= status <= 599 or status == SWITCHING_PROTOCOLS):
            raise UsageError(f"{status} is no status of a response")
        if any(isinstance(values, str) for values in headers.values()):
            raise UsageError("each header has a tuple of values")
        try:
            content_length(checked(headers))
        except FrameInvalid as error:
            raise UsageError(f"the response cannot be sent: {error.text}") from None
        self._send(self._band.answer, status, headers)
        self.begun = True

    def write(self, data: bytes) -> None:
        """Some of its body."""
        for begin in range(0, len(data), PIECE):
            self._send(self._band.write, data[begin : begin + PIECE])

    def end(self, trailers: Lists | None = None) -> None:
        """It is over. The rest of the request's body is dropped."""
        self._send(self._band.end, trailers if self.connection.extended else None)
        self._ended = True
        self._reader = None
        self._finish(True)
        self.connection.resumeProducing()

    def _send(self, say: Callable[..., bytes], *arguments: Any) -> None:
        if self._ended:  # the band may carry another request by now
            raise UsageError("the response has ended")
        self.connection.send(say(*arguments))

    # For the connection

    def take(self, event: Data | End) -> None:
        """Some of the body, or its end."""
        if self._reader is None:
            return
        if isinstance(event, Data):
            self._reader.dataReceived(event.data)
        else:
            reader, self._reader = self._reader, None
            reader.bodyEnded(event)

    def lose(self) -> None:
        """The connection is lost."""
        reader, self._reader = self._reader, None
        self._finish(False)  # first, so that whoever waits for the body, and goes on now, sees that it is over
        if reader is not None:
            reader.lost()

    def _finish(self, answered: bool) -> None:
        if not self.over:
            self.over, self._answered = True, answered
            waiting, self._waiting = self._waiting, []
            for one in waiting:
                one.callback(answered)


class BandProtocol(FrameProtocol):
    """
    @param uuid: of the leash.
    @param key: the leash's.
    @param serve: called with each request.
    @param gone: called when the connection is lost.

    @ivar extended: whether the queen knows the extensions.
    @ivar accepted: whether she has let it in.
    """

    def __init__(
        self, uuid: str, key: str, serve: Callable[[Exchange], object], gone: Callable[[BandProtocol], object]
    ) -> None:
        super().__init__()
        self.extended = self.accepted = False
        self.reader.largest = LARGEST
        self._uuid = uuid
        self._key = key
        self._serve = serve
        self._gone = gone
        self._band = CellBand()
        self._exchange: Exchange | None = None

    @property
    def idle(self) -> bool:
        """Whether it carries no request."""
        return self._band.idle

    def connectionMade(self) -> None:
        """See L{FrameProtocol}."""
        super().connectionMade()
        self.send(IAm(ConnectionKind.BAND, self._uuid, self._key, EXTENSIONS).frame())

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See L{FrameProtocol}."""
        super().connectionLost(reason)
        self._gone(self)
        if self._exchange is not None:
            self._exchange.lose()

    def frameReceived(self, frame: Frame | Body) -> None:
        """See L{FrameProtocol}. Queens may send a request before C{Accept}."""
        if isinstance(frame, Accept):
            self.accepted = True
            self.extended = frame.extensions >= EXTENSIONS
        elif isinstance(frame, Refuse):
            raise FrameInvalid(f"the queen refuses a band: {frame.reason}")
        else:
            self._take(self._band.take(frame))

    def _take(self, event: Any) -> None:
        if isinstance(event, RequestHead):
            exchange = self._exchange = Exchange(self, self._band, event)
            self._serve(exchange)
        elif event is not None and self._exchange is not None:
            self._exchange.take(event)
