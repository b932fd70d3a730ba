"""
A session as its application sees it: what L{ISession} promises.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, IProtocolFactory
from zope.interface import implementer

from hypermail.errors import Delivered, MessageUndelivered
from hypermail.interfaces import ISession, Octets
from hypermail.internet.callbacks import APPLICATION_FAILED
from hypermail.internet.life import SessionLife
from hypermail.internet.production import Production
from hypermail.messages.octets import octets
from hypermail.options import Delivery
from hypermail.session.states import State

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

    from hypermail.events import StreamOptions


@implementer(ISession)
class Session(SessionLife):
    """
    One session. Its application has it from C{sessionOpened} on, and may call it after its end, too: what
    is asked for then fails with what has ended it.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<Session {self.sessionID.hex()} with {self.getPeer()}>"

    # Messages.

    def sendMessage(
        self, data: Octets, *, lane: int = 0, expires: float | None = None, note: bytes = b""
    ) -> Deferred[None]:
        """See L{ISession.sendMessage}."""
        if self.error is not None:
            return defer.fail(MessageUndelivered(self.error, Delivered.NO))
        return self.traffic.sent.send(data, lane, expires, note)

    def sendMessages(self, messages: Iterable[Octets], *, lane: int = 0) -> int:
        """See L{ISession.sendMessages}."""
        if self.error is not None:
            raise MessageUndelivered(self.error, Delivered.NO)
        return self.traffic.sent.sendMany(messages, lane)

    def ask(self, message: Octets, *, timeout: float | None = None) -> Deferred[bytes]:
        """See L{ISession.ask}."""
        if self.error is not None:
            return defer.fail(MessageUndelivered(self.error, Delivered.NO))
        return self.traffic.asks.ask(message, timeout)

    def lane(
        self,
        number: int,
        *,
        ordered: bool = True,
        delivery: Delivery = Delivery.ACKED,
        priority: int = 0,
        redundancy: int = 0,
        durable: bool = False,
    ) -> None:
        """See L{ISession.lane}."""
        self.connection.configure_lane(
            number,
            ordered=ordered,
            delivery=delivery,
            priority=priority,
            redundancy=redundancy,
            durable=durable,
        )

    def sendDatagram(self, data: Octets) -> None:
        """See L{ISession.sendDatagram}."""
        if self.error is None:
            self.connection.send_direct(octets(data))
            self.touch()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """See L{ISession.registerProducer}."""
        if self.connection.state is not State.OPEN:  # it is closing, or over
            producer.stopProducing()
            return
        if self.traffic.sent.production is not None:
            raise RuntimeError(f"{producer!r} cannot be registered: there is a producer already")
        self.traffic.sent.production = Production(
            producer,
            streaming,
            reactor=self.reactor,
            isFull=lambda: self.connection.messages_full,
            failed=lambda: self.abort(APPLICATION_FAILED),
            filled=self.flush,
        )
        self.traffic.sent.production.begin()

    def unregisterProducer(self) -> None:
        """See L{ISession.unregisterProducer}."""
        if self.error is not None:
            return  # it was told so
        production, self.traffic.sent.production = self.traffic.sent.production, None
        if production is not None:
            production.forget()
            if self._closing is not None and self._closing.awaited and self.error is None:
                self._close()

    # Streams.

    def openStream(
        self, factory: IProtocolFactory, name: bytes = b"", options: StreamOptions | None = None
    ) -> Deferred[IProtocol]:
        """See L{ISession.openStream}."""
        if self.error is not None:
            return defer.fail(self.error)
        return self.traffic.streams.open(factory, name, options)

    # The session.

    def ping(self) -> Deferred[float]:
        """See L{ISession.ping}."""
        if self.error is not None:
            return defer.fail(self.error)
        return self.traffic.pings.ping()

    def close(self) -> Deferred[None]:
        """See L{ISession.close}. As with Twisted's transports, a registered producer finishes first."""
        deferred = self.closing.wait()
        if self.error is None and self.traffic.sent.production is None:
            self._close()
        return deferred

    def _close(self) -> None:
        self.connection.close(now=self._owner.seconds())
        self.touch()

    def peerCertificate(self) -> Certificate | None:
        """See L{ISession.peerCertificate}."""
        return self.connection.peer_certificate

    def statistics(self) -> dict[str, Any]:
        """See L{ISession.statistics}."""
        found = dict(self.connection.statistics())
        found["carrier"] = self._owner.carrierStatistics()
        return found
