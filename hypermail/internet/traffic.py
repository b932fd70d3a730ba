"""
What an open session carries, and which part of it each of the core's events about that is for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from hypermail import events
from hypermail.errors import HypermailError
from hypermail.interfaces import ISessionProtocol
from hypermail.internet.asking import ReceivedAsks, SentAsks
from hypermail.internet.messaging import MessagesUser, ReceivedMessages, SentMessages
from hypermail.internet.pinging import Pings
from hypermail.internet.streaming import SessionStreams, StreamsUser


class TrafficUser(MessagesUser, StreamsUser, Protocol):
    """What traffic needs of its session: what its parts do."""


class Traffic:
    """
    Messages, datagrams, asks, pings and streams of one session, from its opening on.

    @ivar sent: messages to the peer.
    @ivar received: messages from the peer.
    """

    __slots__ = ("_asked", "_asks", "_pings", "_protocol", "_session", "_streams", "received", "sent")

    def __init__(self, session: TrafficUser, protocol: ISessionProtocol) -> None:
        """
        @param protocol: the application's.
        """
        self._session = session
        self._protocol = protocol
        self.sent = SentMessages(session, protocol)
        self.received = ReceivedMessages(session, protocol)
        # Made for the first that comes, since most sessions have none of most of them.
        self._asks: SentAsks | None = None
        self._asked: ReceivedAsks | None = None
        self._pings: Pings | None = None
        self._streams: SessionStreams | None = None

    @property
    def asks(self) -> SentAsks:
        """Our asks."""
        if self._asks is None:
            self._asks = SentAsks(self._session, self.sent)
        return self._asks

    @property
    def pings(self) -> Pings:
        """Our pings."""
        if self._pings is None:
            self._pings = Pings(self._session)
        return self._pings

    @property
    def streams(self) -> SessionStreams:
        """The streams of both."""
        if self._streams is None:
            self._streams = SessionStreams(self._session, self._protocol)
        return self._streams

    # The life of the session.

    def aborted(self) -> None:
        """We have ended the session: what the application says to the peer's messages concerns nobody any more."""
        self.received.over = True

    def suspended(self, error: HypermailError) -> None:
        """The link is lost, and with it the answers to pings."""
        if self._pings is not None:
            self._pings.lost(error)

    def restarted(self) -> None:
        """The peer goes on in another process, which waits for no answer that the one before has asked for."""
        if self._asked is not None:
            self._asked.lost()

    def lost(self, error: HypermailError) -> None:
        """The session is over: whoever waits for something is told."""
        self.received.over = True
        if self._streams is not None:
            self._streams.lost(error)
        self.sent.lost(error)
        if self._asked is not None:
            self._asked.lost()
        if self._pings is not None:
            self._pings.lost(error)

    # Events.

    def _closing(self, _: events.SessionClosing) -> None:
        """The core refuses what is sent from now on."""
        self.sent.refused()

    def _messagesReceived(self, event: events.MessagesReceived) -> None:
        self.received.arrived(event)

    def _directsReceived(self, event: events.DirectsReceived) -> None:
        for message in event.messages:
            self._session.tell(self._protocol.datagramReceived, message)

    def _messagesSettled(self, event: events.MessagesSettled) -> None:
        self.sent.settled(event.messages)

    def _messagesStored(self, event: events.MessagesStored) -> None:
        self.sent.stored(event.messages)

    def _messagesWritable(self, _: events.MessagesWritable) -> None:
        self.sent.writable()

    def _asksReceived(self, event: events.AsksReceived) -> None:
        if self._asked is None:
            self._asked = ReceivedAsks(self._session, self._protocol, self.received)
        self._asked.arrived(event.lane, event.asks)

    def _repliesReceived(self, event: events.RepliesReceived) -> None:
        self.asks.answered(event.replies)

    def _pingAnswered(self, event: events.PingAnswered) -> None:
        if self._pings is not None:
            self._pings.answered(event.elapsed)

    def _streamRequested(self, event: events.StreamRequested) -> None:
        self.streams.requested(event.stream)

    def _streamAccepted(self, event: events.StreamAccepted) -> None:
        self.streams.accepted(event.stream)

    def _streamData(self, event: events.StreamData) -> None:
        self.streams.dataArrived(event.stream, event.pieces)

    def _streamFinished(self, event: events.StreamFinished) -> None:
        self.streams.finishArrived(event.stream)

    def _streamFlushed(self, event: events.StreamFlushed) -> None:
        self.streams.flushed(event.stream)

    def _streamWritable(self, event: events.StreamWritable) -> None:
        self.streams.writable(event.stream)

    def _streamEnded(self, event: events.StreamEnded) -> None:
        self.streams.ended(event.stream, event.error)


#: What becomes of each of the core's events that is about what a session carries.
TRAFFIC_EVENTS: dict[type, Callable[[Traffic, Any], None]] = {
    events.SessionClosing: Traffic._closing,
    events.MessagesReceived: Traffic._messagesReceived,
    events.DirectsReceived: Traffic._directsReceived,
    events.MessagesSettled: Traffic._messagesSettled,
    events.MessagesStored: Traffic._messagesStored,
    events.MessagesWritable: Traffic._messagesWritable,
    events.AsksReceived: Traffic._asksReceived,
    events.RepliesReceived: Traffic._repliesReceived,
    events.PingAnswered: Traffic._pingAnswered,
    events.StreamRequested: Traffic._streamRequested,
    events.StreamAccepted: Traffic._streamAccepted,
    events.StreamData: Traffic._streamData,
    events.StreamFinished: Traffic._streamFinished,
    events.StreamFlushed: Traffic._streamFlushed,
    events.StreamWritable: Traffic._streamWritable,
    events.StreamEnded: Traffic._streamEnded,
}
