"""
What a user of hypermail implements, and what a user is given, as zope interfaces.

Everything here is camelCase, as in Twisted. Imports nothing at run time but zope.interface, so that the
interfaces may be named without loading Twisted.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, Union

from zope.interface import Attribute, Interface

from hypermail.errors import HypermailError, Reason
from hypermail.options import Delivery, Way

if TYPE_CHECKING:
    from cryptography.x509 import Certificate
    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IProtocol, IProtocolFactory
    from twisted.python.failure import Failure

    from hypermail.events import SessionRequested, StreamOptions
    from hypermail.internet.address import HypermailAddress
    from hypermail.internet.message import Message
    from hypermail.link.train import Train
    from hypermail.session.journal import Change, QueuedMessage, StoredSession

T = TypeVar("T")

#: What a callback may return: a value, a Deferred of it, or the coroutine of an C{async def}.
Answer = Union[T, "Deferred[T]", Coroutine[Any, Any, T]]

#: What may be sent; what can change is copied.
Octets = bytes | bytearray | memoryview


class ISession(Interface):
    """One session with one peer; given to a L{ISessionProtocol} as its C{session}."""

    sessionID: bytes = Attribute("Names the session in logs; equal on both sides.")
    way: Way = Attribute("In which way the session carries, seen from its starter.")
    durable: bool = Attribute("Whether the session outlives its process: both endpoints have a store.")

    def sendMessage(data: Octets, *, lane: int = 0, expires: float | None = None, note: bytes = b"") -> Deferred[None]:
        """
        Send one whole message.

        @param data: at most the peer's C{max_message} bytes.
        @param lane: 0–239.
        @param expires: seconds from now after which the message is given up, or None for never.
        @param note: on a durable lane: at most 1,024 bytes that are kept with the message for this side's own use; see
            L{ISessionProtocol.messageUndelivered}.
        @return: a L{Deferred}, on a durable lane a L{SentMessage}, whose C{queued} is a Deferred that fires once the
            message is on disk. It fires with None when the peer's application has taken the message.
            It errbacks with L{MessageRejected}, L{MessageTooLarge}, L{MessageExpired},
            L{MessageDropped}, L{MessageUndelivered}, or L{MessageCancelled} when it is cancelled,
            which withdraws the message unless the peer has taken it already.
        """

    def sendMessages(messages: Iterable[Octets], *, lane: int = 0) -> int:
        """
        Send many messages without a L{Deferred} for each.

        Takes messages from the iterable while there is room, and no further; nobody is told what becomes
        of them. L{close} waits until they are settled.

        @return: how many were taken; the rest of the iterator is untouched.
        @raise HypermailError: when a message cannot be sent at all; those before it were taken.
        """

    def ask(message: Octets, *, timeout: float | None = None) -> Deferred[bytes]:
        """
        Ask the peer's application something.

        @param message: at most the peer's C{max_message} bytes.
        @param timeout: seconds to wait for the reply, or None for as long as the session lasts.
        @return: a L{Deferred} of the reply, which the peer's C{askReceived} gives. Asks don't wait for each other,
            and are answered in any order. It errbacks with L{MessageRejected} (the peer refuses or fails, with its code
            and text, or its reply is larger than our C{max_message} less 8 bytes), L{MessageTooLarge},
            L{MessageUndelivered} (the session was lost), L{NotSupported} in a session that carries one way only,
            L{UsageError} in one that is closing, C{twisted.internet.defer.TimeoutError}, or C{CancelledError} when it
            is cancelled. The last two withdraw the ask, unless the peer has it already; its late reply is ignored.
        """

    def lane(
        number: int,
        *,
        ordered: bool = True,
        delivery: Delivery = Delivery.ACKED,
        priority: int = 0,
        redundancy: int = 0,
        durable: bool = False,
    ) -> None:
        """
        Say what a lane is, before its first message; lane 0 is ordered and acked unless told.

        @param number: 0–239.
        @param ordered: whether messages are delivered in the order of sending.
        @param delivery: what the lane promises.
        @param priority: 0–7; greater goes first.
        @param redundancy: 0–3; how often a message of at most 512 bytes is sent again before anybody has missed it, in
            one of the next datagrams each time, so that a single loss costs no round trip. Larger ones are sent once.
        @param durable: whether what is sent outlives the process, until the peer's application has taken it. Such a
            lane is ordered and acked; its session has to be durable: both endpoints have a store.
        @raise UsageError: when the lane is in use already with other properties, or cannot have them.
        """

    def sendDatagram(data: Octets) -> None:
        """
        Send bytes now, once, without acknowledgement; they arrive as C{datagramReceived}, or don't.

        @raise MessageTooLarge: when they do not fit one datagram of this path.
        """

    def openStream(
        factory: IProtocolFactory, name: bytes = b"", options: StreamOptions | None = None
    ) -> Deferred[IProtocol]:
        """
        Open a stream and connect it to a protocol of the factory.

        @param factory: its C{buildProtocol} is called with the peer's address.
        @param name: what the peer's C{streamOpened} is told.
        @param options: what else it is told.
        @return: a L{Deferred} of the connected protocol, once the peer's application has accepted;
            errbacks with L{StreamRejected}, or what ended the stream or the session before that;
            cancelling clears the stream.
        """

    def ping() -> Deferred[float]:
        """Measure one round trip: a L{Deferred} of seconds; errbacks with what ends the session before."""

    def close() -> Deferred[None]:
        """
        End the session gracefully: a registered producer finishes, what was sent is delivered, streams are
        flushed; asks are answered, in both directions.

        @return: a L{Deferred} that fires with None when both sides are done, and on a starter when
            its socket is closed; errbacks with the L{SessionLost} that ended the session otherwise;
            cancelling it aborts the session.
        """

    def abort(text: str = "", code: int = Reason.APPLICATION) -> None:
        """End the session at once (C{SessionDeath}); the peer reads code and text."""

    def park(text: str = "the session is kept") -> None:
        """
        Let a durable session leave this process: it is over here, and goes on when it is claimed, or asked for by its
        name, from the same store. What this process has not been told of is told to the next.

        @param text: what C{sessionLost} is told, with the code C{SHUTTING_DOWN}.
        @raise UsageError: when the session is not durable, or over.
        """

    def getHost() -> HypermailAddress:
        """Our address."""

    def getPeer() -> HypermailAddress:
        """The peer's address."""

    def peerCertificate() -> Certificate | None:
        """
        The peer's certificate, whose key it has proved to hold; None when it has shown none, as outside of mode C{tls}.
        """

    def statistics() -> dict[str, Any]:
        """Counters and estimates for people to look at; the keys may change."""

    def registerProducer(producer: Any, streaming: bool) -> None:
        """
        Pause and resume a producer of messages by the session's room.

        @param producer: L{IPushProducer} when C{streaming}, else L{IPullProducer}; it calls
            L{sendMessage}, L{sendMessages} or L{ask}. Its C{stopProducing} is called when nothing more can be sent: the
            peer closes, the session is lost, or was closing or over already.
        @raise RuntimeError: when there is one already.
        """

    def unregisterProducer() -> None:
        """The producer has no more messages."""


class ISessionProtocol(Interface):
    """
    What a user's class does with a session; subclass L{hypermail.SessionProtocol}.

    Each callback may be a coroutine function (C{async def}) or return a L{Deferred}. An exception in
    any but C{messageReceived}, C{askReceived}, C{streamOpened} and C{sessionLost} is logged and aborts the session.
    """

    session: ISession = Attribute("The session, set before C{sessionOpened}.")

    def sessionOpened() -> Answer[None]:
        """Both sides have agreed."""

    def messageReceived(message: bytes) -> Answer[None]:
        """
        A whole message has arrived. The peer's Deferred fires when this returns, or when the Deferred or
        coroutine that it returns is done; an exception or errback rejects the message.
        """

    def messagesTaken(session: bytes) -> Answer[Mapping[int, int]]:
        """
        A durable session goes on after a restart of this process. What has been taken, by the application's records?

        An application that writes down lane and number of each message in the transaction in which it deals with it
        gets each exactly once; to any other some may come again, which it had dealt with when the process was killed.

        @param session: its id, as messages of durable lanes (L{Message}) have it.
        What was rejected or withdrawn below the numbers that it returns, and was not on disk yet, counts as taken.

        @return: for each durable lane, one more than the greatest number that was dealt with, all those before it
            having been, too; lanes on which nothing was need not be there.
        """

    def messageSettled(message: Message, error: HypermailError | None) -> Answer[None]:
        """
        The fate of a message on a durable lane is known that was sent before a restart of this process, so that there
        is no Deferred which could tell.

        @param message: its content is empty when the peer had settled it before it was looked at again.
        @param error: why the peer has not taken it (L{MessageRejected}, L{MessageExpired}); None when it has.
        """

    def messageUndelivered(message: Message) -> Answer[None]:
        """
        A durable session has ended, and a message that was written down in it may not have been delivered. Of those
        whose Deferred has told this process so, there is no word here.
        """

    def askReceived(message: bytes) -> Answer[Octets]:
        """
        The peer asks, and waits for the reply. It may ask more meanwhile, up to C{Options.max_unsettled} at once.

        @return: the reply, of at most the peer's C{max_message} less 8 bytes, or a Deferred or coroutine of it; that is
            cancelled when the session is lost. Raising L{MessageRejected} refuses with its code and text; any other
            exception or errback is logged, and the asker learns its class.
        """

    def datagramReceived(data: bytes) -> Answer[None]:
        """A direct message has arrived."""

    def streamOpened(name: bytes, options: StreamOptions) -> Answer[IProtocol | None]:
        """
        The peer opened a stream.

        @return: an L{IProtocol} for it, a Deferred or coroutine of one, or None to refuse. Raising a
            L{HypermailError} refuses with its code and text.
        """

    def sessionSuspended(reason: Failure) -> Answer[None]:
        """
        The link is lost. The session waits for another one, up to C{Options.session_timeout}; messages and stream data
        that are sent meanwhile are kept, within the limits that pause producers. What is asked or sent directly may
        come late, or not.

        @param reason: of a L{hypermail.errors.SessionLost}: what the link was lost for.
        """

    def sessionResumed() -> Answer[None]:
        """
        The session goes on over another link. Had the peer been restarted, streams have ended with L{StreamForgotten}
        before, and messages that it may or may not have, on lanes that are not durable, with L{MessageUndelivered}.
        """

    def sessionLost(reason: Failure) -> Answer[None]:
        """
        The session is over; the last call. It is called without C{sessionOpened} when the session never opened, on a
        starter with what the connecting Deferred fails with.

        @param reason: of a L{hypermail.errors.SessionLost}.
        """


class ISessionFactory(Interface):
    """Makes a protocol for each session; subclass or call L{hypermail.SessionFactory}."""

    def sessionRequested(request: SessionRequested) -> Answer[ISessionProtocol | None]:
        """
        Whether a stranger's session is wanted (listeners only).

        @param request: who asks, with which certificate, and for what.
        @return: None to accept, or the protocol for this session, in place of one that C{buildProtocol} makes; or a
            Deferred or coroutine of either, which is cancelled when the stranger gives up. Raising a L{HypermailError}
            rejects with its code and text.
        """

    def buildProtocol(address: HypermailAddress) -> ISessionProtocol | None:
        """A protocol for a session with C{address}, or None to reject it."""

    def doStart() -> None:
        """A port or a connecting endpoint begins to use the factory."""

    def doStop() -> None:
        """It does so no longer."""


class ISessionStore(Interface):
    """
    Keeps durable sessions over restarts of the process. One process at a time uses a store.

    What is written is in order: when a change is there after a crash, all those before it are.
    """

    def write(changes: Sequence[Change]) -> Deferred[None]:
        """
        Write changes down, together with whatever else waits to be written. A starter's session is not written as long
        as another one has its name, and no session beside the other side of itself.

        @return: a L{Deferred} that fires with None once they have reached the disk. It errbacks with L{StoreFailed}
            when they have not: then none of them is there, nor any that was asked for after them and has not fired.
        """

    def find(id: bytes) -> Deferred[StoredSession | None]:
        """What is kept of a session, of a listener's or of a starter's, or None."""

    def named(name: str) -> Deferred[StoredSession | None]:
        """What is kept of a starter's session, by its name, or None."""

    def count() -> Deferred[int]:
        """How many sessions are kept; those whose time is over may still be counted."""

    def messages(id: bytes, lane: int, first: int, most: int) -> Deferred[list[tuple[int, QueuedMessage]]]:
        """
        Messages of ours that are not settled.

        @param first: the number from which on.
        @param most: bytes of their data, after which no more are returned; one is returned anyway.
        @return: a L{Deferred} of (number, message), ascending; withdrawn ones are left out. An empty list means that
            there are none from C{first} on.
        """

    def close() -> Deferred[None]:
        """Write what waits, and let go of the store; fires when another process may use it."""


class ICarrier(Interface):
    """What takes datagrams to a peer and brings them: UDP is the first."""

    receiveBuffer: int | None = Attribute(
        "Bytes that may wait to be read before datagrams are lost, or None when that is unknown."
    )

    ecn: bool = Attribute(
        "Whether datagrams are sent with the codepoint of explicit congestion notification that their train asks for, "
        "and brought with theirs. When not, all are sent without, and no user is told any."
    )
    fragments: bool = Attribute(
        "Whether a datagram that is larger than the path carries may be cut up on the way, and not be lost whole."
    )
    largestDatagram: int = Attribute("Bytes of the largest datagram that is read whole.")

    def send(train: Train) -> bool:
        """
        Send equal-sized datagrams (the last may be shorter) to one address.

        The train is always taken. What cannot be sent at all is counted and dropped, as a network may.

        @return: whether there is room for more; when not, C{carrierWritable} follows.
        """

    def getHost() -> Any:
        """Where we are: an address with C{host} and C{port}."""

    def statistics() -> dict[str, int]:
        """What was lost on the way into the network, by cause."""

    def stop() -> None:
        """Forget what waits, and call nobody any more."""


class ICarrierUser(Interface):
    """What a carrier brings datagrams to."""

    fragmentable: bool = Attribute("Whether what it sends may be cut up on the way: it does not try out sizes.")

    def datagramsReceived(datagrams: list[memoryview], address: Any, ecn: int = 0) -> None:
        """
        One read of the carrier has brought these, in the order in which they came; when their codepoints differ it
        takes several calls.

        @param datagrams: valid during this call only: the carrier reads into the same memory again.
        @param address: where they say they come from, and, if that matters, to which of our addresses; opaque,
            hashable, and what a L{Train} to there bears.
        @param ecn: the codepoint of explicit congestion notification that all of them bear; 0 when that is unknown.
        """

    def carrierWritable() -> None:
        """There is room again, after C{send} had said that there is none."""

    def addressUnreachable(address: Any, error: OSError) -> None:
        """The system says that it knows no way to an address; called from within C{send}."""


class ILocalAddresses(Interface):
    """A reactor that knows its host's addresses without asking the system, as a simulated one does."""

    def localAddress(host: str) -> str | None:
        """The IP address from which another one is reached, or None when it is not."""
