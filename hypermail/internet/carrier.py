"""
Which carrier serves a socket, and the one that serves where nothing better does.

A carrier (L{ICarrier}) takes trains and brings batches. On Linux, under a reactor that watches file
descriptors, that is L{hypermail.internet.udp.SegmentingPort}; everywhere else, and for whoever calls
C{reactor.listenUDP} themselves, L{DatagramCarrier} makes one of any L{IUDPTransport}, a datagram a call.
"""

from __future__ import annotations

import errno
import socket
import sys
from collections import Counter, deque
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IListeningPort, IReactorFDSet, IUDPTransport
from zope.interface import implementer

from hypermail.interfaces import ICarrier, ICarrierUser
from hypermail.internet.fragmentation import forbidFragments
from hypermail.link.train import Train

#: Seconds after which a full socket is tried again: a stock transport does not say when it has room.
RETRY = 0.001

#: Datagrams that wait for a full socket before further ones are dropped.
MAX_QUEUED = 4_096

#: The largest datagram; the stock port cuts larger ones off in silence.
LARGEST_DATAGRAM = 65_535

#: What a system says when it has no way to an address.
NO_WAY = {
    errno.ENETUNREACH,
    errno.EHOSTUNREACH,
    errno.ENETDOWN,
    errno.EADDRNOTAVAIL,
    errno.EINVAL,  # Linux, when the address that a socket is bound to is gone
    errno.EACCES,
    errno.EPERM,
}


def listenDatagrams(
    reactor: Any, port: int, protocol: Any, interface: str, *, answering: bool = False
) -> IListeningPort:
    """
    Open a UDP socket with the best carrier that this system and this reactor have.

    @param protocol: a L{DatagramProtocol} that is an L{ICarrierUser}.
    @param interface: an IP address to bind.
    @param answering: send to each peer from the address that it has sent to, where the carrier can: for listeners.
    @raise CannotListenError: when the address cannot be bound.
    """
    if _segments(reactor):
        from hypermail.internet.udp import SegmentingPort

        listening: Any = SegmentingPort(port, protocol, interface, reactor, answering)
        listening.startListening()
    else:
        listening = reactor.listenUDP(port, protocol, interface=interface, maxPacketSize=LARGEST_DATAGRAM)
    opened: IListeningPort = listening
    return opened


def adoptDatagrams(reactor: Any, bound: socket.socket, protocol: Any, *, answering: bool = False) -> IListeningPort:
    """
    The same on a UDP socket that somebody else has bound.

    @param bound: may be closed afterwards: the port has a descriptor of its own.
    """
    if _segments(reactor):
        from hypermail.internet.udp import SegmentingPort

        listening = SegmentingPort.adopting(bound, protocol, reactor, answering)
        listening.startListening()
    else:
        bound.setblocking(False)
        listening = reactor.adoptDatagramPort(bound.fileno(), bound.family, protocol, LARGEST_DATAGRAM)
    opened: IListeningPort = listening
    return opened


def _segments(reactor: Any) -> bool:
    """Whether the port for trains works here."""
    return sys.platform == "linux" and IReactorFDSet.providedBy(reactor)


@implementer(ICarrier)
class DatagramCarrier:
    """
    A carrier over any L{IUDPTransport}.

    A transport with a socket is told not to fragment; one without it may know itself, by an attribute C{fragments}.

    @ivar lost: datagrams that were not sent, by cause.
    """

    receiveBuffer = None
    ecn = False  # a datagram comes and goes without its IP header

    def __init__(self, transport: IUDPTransport, user: ICarrierUser, reactor: Any) -> None:
        self._transport = transport
        self._user = user
        self._reactor = reactor
        self.lost: Counter[str] = Counter()
        made = getattr(transport, "socket", None)
        known = getattr(transport, "fragments", None)
        if known is None:
            known = made is None or user.fragmentable or not forbidFragments(made)
        self.fragments: bool = known
        self.largestDatagram: int = getattr(transport, "maxPacketSize", LARGEST_DATAGRAM)
        self._gathered: dict[Any, list[memoryview]] = {}
        self._delivery: IDelayedCall | None = None
        self._waiting: deque[tuple[Any, bytes]] = deque()
        self._retry: IDelayedCall | None = None

    # Receiving.

    def datagramReceived(self, datagram: bytes, address: Any) -> None:
        """Gather what one turn of the reactor brings, so that it is one batch for each address."""
        self._gathered.setdefault(address, []).append(memoryview(datagram))
        if self._delivery is None:
            self._delivery = self._reactor.callLater(0, self._deliver)

    def _deliver(self) -> None:
        self._delivery = None
        gathered, self._gathered = self._gathered, {}
        for address, datagrams in gathered.items():
            self._user.datagramsReceived(datagrams, address)

    # Sending.

    def send(self, train: Train) -> bool:
        """See L{ICarrier.send}."""
        address, datagrams = train.address, train.datagrams
        for at, datagram in enumerate(datagrams):
            if self._waiting or not self._write(datagram, address):
                self._queue(address, datagrams[at:])
                return False
        return True

    def _queue(self, address: Any, datagrams: list[bytes]) -> None:
        room = MAX_QUEUED - len(self._waiting)
        self._waiting.extend((address, datagram) for datagram in datagrams[:room])
        self.lost["dropped"] += len(datagrams[room:])
        if self._retry is None:
            self._retry = self._reactor.callLater(RETRY, self._tryAgain)

    def _tryAgain(self) -> None:
        self._retry = None
        while self._waiting:
            address, datagram = self._waiting[0]
            if not self._write(datagram, address):
                self._retry = self._reactor.callLater(RETRY, self._tryAgain)
                return
            self._waiting.popleft()
        self._user.carrierWritable()

    def _write(self, datagram: bytes, address: Any) -> bool:
        """Whether the transport has taken the datagram, or never will."""
        try:
            self._transport.write(datagram, address)
        except BlockingIOError:
            return False
        except OSError as error:
            self.lost[errno.errorcode.get(error.errno or 0, "unknown")] += 1
            if error.errno in NO_WAY:
                self._user.addressUnreachable(address, error)
        except Exception as error:
            # Twisted's own: MessageLengthError, InvalidAddressError.
            self.lost[type(error).__name__] += 1
        return True

    def getHost(self) -> Any:
        """See L{ICarrier.getHost}."""
        return self._transport.getHost()

    def statistics(self) -> dict[str, int]:
        """See L{ICarrier.statistics}."""
        return dict(self.lost)

    def stop(self) -> None:
        """See L{ICarrier.stop}."""
        self._gathered.clear()
        self._waiting.clear()
        for call in (self._delivery, self._retry):
            if call is not None:
                call.cancel()
        self._delivery = self._retry = None
