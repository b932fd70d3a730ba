"""
What every UDP socket with sessions on it has in common, whatever they speak.

L{SocketSessions} is given datagrams by a carrier, finds or begins the sessions that they are for, and leaves the rest
to its L{Pump}.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from hypermail.errors import UsageError
from hypermail.interfaces import ICarrier, ICarrierUser, ISessionFactory, ISessionStore
from hypermail.internet.address import HypermailAddress, SocketAddress
from hypermail.internet.answering import AskedAddress
from hypermail.internet.carrier import DatagramCarrier
from hypermail.internet.deadlines import clockOf
from hypermail.internet.pump import Pump
from hypermail.internet.residents import Residents
from hypermail.internet.security import Security
from hypermail.internet.session import Session
from hypermail.internet.strangers import FailedHandshakes
from hypermail.options import Options

if TYPE_CHECKING:
    from hypermail.connection import Connection

#: What a socket that is bound to all addresses of its family is bound to.
EVERYWHERE = ("0.0.0.0", "::")


@implementer(ICarrierUser)
class SocketSessions(DatagramProtocol):
    """
    Sessions over one UDP socket.

    Subclasses make the demux. It works with any C{reactor.listenUDP}; endpoints give it a faster socket where there is
    one.

    @ivar factory: what strangers' sessions are for; None for a starter, which takes none.
    @ivar pump: of its sessions, once the socket is open.
    @ivar failedHandshakes: of strangers.
    """

    noisy = False
    fragmentable = False
    seconds: Callable[[], float]
    pump: Pump
    # Which subclasses set.
    security: Security
    residents: Residents
    store: ISessionStore | None

    _log = Logger()

    def __init__(
        self,
        factory: ISessionFactory | None,
        *,
        reactor: Any = None,
        seconds: Callable[[], float] | None = None,
        randomBytes: Callable[[int], bytes] = os.urandom,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """
        @param factory: what strangers' sessions are for; None for a starter, which takes none.
        @param reactor: None for that of the transport.
        @param seconds: the time that the core is told, in s, never going back; None for
            L{time.monotonic}, or a L{Clock}'s own time.
        @param randomBytes: makes so many random bytes.
        @param wall: the wall clock, in s since 1970.
        """
        self.factory = factory
        self.reactor: Any = reactor
        self.wall = wall
        self.failedHandshakes = FailedHandshakes()
        self._seconds = seconds
        self._randomBytes = randomBytes
        self._demux: Any = None
        self._carrier: Any = None
        self._latest: tuple[Any, Any] = None, None  # where datagrams came from last, and that as an address
        self._ownCarrier: DatagramCarrier | None = None

    def makeDemux(self) -> Any:
        """
        What tells whose each datagram is: a L{hypermail.demux.Demux}, or what answers as one.

        Called when the socket is open.
        """
        raise NotImplementedError

    def startSession(self, *arguments: Any, **more: Any) -> Session:
        """
        Ask a listener for a session.

        @param arguments: as of L{HypermailDatagramProtocol.startSession}, and so the rest.
        """
        raise NotImplementedError

    def beginConnection(self, address: Any, host: str | None, options: Options, before: Connection) -> Connection:
        """See L{SessionOwner.beginConnection}."""
        raise NotImplementedError

    # The socket.

    def startProtocol(self) -> None:
        """The socket is open."""
        transport: Any = self.transport
        if self.reactor is None:
            self.reactor = getattr(transport, "reactor", None)
            if self.reactor is None:
                raise UsageError(f"{transport!r} does not tell its reactor: pass {type(self).__name__} one")
        self.seconds = self._seconds or clockOf(self.reactor)
        if ICarrier.providedBy(transport):
            self._carrier = transport
        else:
            self._carrier = self._ownCarrier = DatagramCarrier(transport, self, self.reactor)
        self._demux = self.makeDemux()
        self.pump = Pump(
            self.reactor,
            self.seconds,
            self._carrier,
            self._demux,
            self.failedHandshakes,
            starting=self.factory is None,
            everywhere=self.host().host in EVERYWHERE,
        )
        if self.factory is not None:
            self.factory.doStart()

    def stopProtocol(self) -> None:
        """The socket is about to be closed: the sessions end, and nothing is left in the reactor."""
        self.pump.stop()
        self._carrier.stop()
        if self.factory is not None:
            self.factory.doStop()

    def host(self) -> HypermailAddress:
        """Our address."""
        found = self._carrier.getHost()
        return HypermailAddress(found.host, found.port)

    def carrierStatistics(self) -> dict[str, int]:
        """What was lost between us and the network, by cause."""
        return dict(self._carrier.statistics())

    def socketStatistics(self) -> dict[str, int]:
        """What has become of strangers, and of datagrams that belong to no session, for people to look at."""
        strangers = self.failedHandshakes
        return {
            **self._demux.statistics(),
            "sessions_refused": strangers.refusals,
            "handshakes_failed": strangers.count,
        }

    # What the carrier says.

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """A stock transport has one datagram."""
        if self._ownCarrier is not None:
            self._ownCarrier.datagramReceived(datagram, addr)

    def datagramsReceived(self, datagrams: list[memoryview], address: Any, ecn: int = 0) -> None:
        """See L{ICarrierUser.datagramsReceived}."""
        found, known = self._latest
        if address != found:
            known = SocketAddress(*address) if len(address) == 2 else AskedAddress(*address)
            self._latest = address, known
        try:
            touched = self._demux.receive(datagrams, known, now=self.seconds(), ecn=ecn)
        except Exception:
            self._log.failure("Datagrams from {address} could not be dealt with", address=known)
            return
        self.touched(touched)

    def touched(self, connections: list[Any]) -> None:
        """Something has happened to connections, perhaps new ones: their sessions are attended to."""
        demux, pump = self._demux, self.pump
        faults = demux.faults()
        for connection in connections:
            session = pump.sessions.get(connection) or self._received(connection)
            if faults and (fault := dict(faults).get(connection)) is not None:
                pump.broken(session, Failure(fault))
            elif connection.calm:
                pump.beat(session)
            else:
                pump.attend(session)
        pump.sendBeats()
        replies = demux.replies()
        if replies:
            pump.reply(replies)

    def _received(self, connection: Any) -> Session:
        """A stranger has begun a connection."""
        session = self.pump.sessions[connection] = Session(self, connection, factory=self.factory)
        return session

    def carrierWritable(self) -> None:
        """See L{ICarrierUser.carrierWritable}."""
        self.pump.writable()

    def addressUnreachable(self, address: Any, error: OSError) -> None:
        """
        See L{ICarrierUser.addressUnreachable}: sessions that were to open there won't; those that are open go on, for a
        way may come back, and tell of it if none does.
        """
        self.pump.unreachable(address, error)
