"""
A band as the queen has it, on its connection: between a request and a cell.
"""

from __future__ import annotations

from typing import Protocol

from hypermail.hive.band import BodyWanted, Data, End, QueenBand, Response
from hypermail.hive.fields import Lists
from hypermail.hive.frames import Body, Frame, RequestHead
from hypermail.hive.framing import FrameProtocol
from hypermail.hive.garden import Garden

#: Bytes of requests that a cell may have answered before it has read them. Its band is closed then: it would get more.
MOST_UNSENT = 1 << 18


class Asker(Protocol):
    """A request: what it learns. After C{ended} or C{lost} nothing follows."""

    def bodyWanted(self, most: int) -> None:
        """The cell takes the body, so many bytes at most: call L{Band.body} and L{Band.endBody}."""

    def responded(self, response: Response) -> None:
        """The head of the response."""

    def dataReceived(self, data: bytes) -> None:
        """Some of its body."""

    def ended(self, end: End) -> None:
        """It is over."""

    def lost(self) -> None:
        """The band is closed, and nothing more will come."""


class Band:
    """
    @param extended: whether the cell knows the extensions.
    @param connection: C{pauseProducing}, C{resumeProducing} and its transport's C{registerProducer} are for the asker.
    """

    def __init__(self, connection: FrameProtocol, garden: Garden[Band], extended: bool) -> None:
        self.connection = connection
        self._garden = garden
        self._band = QueenBand(extended)
        self._asker: Asker | None = None

    # What a request says

    def ask(self, asker: Asker, head: RequestHead, upgrade: bool = False) -> None:
        """Carry a request. @param upgrade: see L{QueenBand.ask}."""
        self._asker = asker
        self.connection.send(self._band.ask(head, upgrade))

    def body(self, data: bytes) -> None:
        """Some of its body, which is wanted."""
        self.connection.send(self._band.body(data))

    def endBody(self, trailers: Lists | None = None) -> None:
        """Nothing of it follows."""
        self.connection.send(self._band.end_body(trailers))

    def giveUp(self) -> None:
        """Nobody waits for the response any more. The asker learns nothing."""
        self._asker = None
        self.connection.abort()

    # What the connection says

    def take(self, frame: Frame | Body) -> None:
        """
        A frame of the cell's.

        @raise hypermail.hive.errors.FrameInvalid: when it has no place.
        @raise hypermail.errors.IllegalTransition: when it has none now.
        """
        event = self._band.take(frame)
        asker = self._asker
        if asker is None or event is None:
            return
        if isinstance(event, Data):
            asker.dataReceived(event.data)
        elif isinstance(event, Response):
            asker.responded(event)
        elif isinstance(event, BodyWanted):
            asker.bodyWanted(event.most)
        else:
            self._end(asker, event)

    def lost(self) -> None:
        """The connection is."""
        self._garden.remove(self)
        if self._asker is not None:
            self._asker.lost()

    def _end(self, asker: Asker, end: End) -> None:
        self._asker = None
        over = self._band.over or self.connection.unsent > MOST_UNSENT
        if not over:
            self._garden.give_back(self)  # the next request of that client may be here already, and needs no other
        asker.ended(end)
        if over:
            self.connection.leave()
