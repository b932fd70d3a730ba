"""
UDP sockets that a peer has opened here by what it sends: as many as it likes, one after the other, so that they write
nothing into the log, as Twisted's do when they open and when they close.
"""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from twisted.internet.protocol import DatagramProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

#: Bytes of the largest datagram there is; Twisted cuts off what is more than it was told, in silence.
LARGEST = 65_535
#: Datagrams that are read before the rest of the program has its turn.
MOST_AT_ONCE = 64


def openQuietly(reactor: Any, protocol: DatagramProtocol, interface: str) -> None:
    """
    Give a protocol a socket at some free port; with reactors that watch no descriptors it is Twisted's.

    @param interface: an IP address to bind.
    @raise CannotListenError: when there is none.
    """
    if IReactorFDSet.providedBy(reactor):
        opened: Any = _Socket(reactor, protocol, interface)
        protocol.transport = opened
    else:
        reactor.listenUDP(0, protocol, interface=interface, maxPacketSize=LARGEST)


@implementer(IReadDescriptor)
class _Socket:
    """The part of L{IUDPTransport} that flows use."""

    def __init__(self, reactor: Any, protocol: DatagramProtocol, interface: str) -> None:
        """@raise CannotListenError: when it cannot be opened."""
        self._reactor = reactor
        self._protocol = protocol
        self.connected = False
        made = None
        try:
            made = socket.socket(socket.AF_INET6 if ":" in interface else socket.AF_INET, socket.SOCK_DGRAM)
            made.setblocking(False)
            made.bind((interface, 0))
        except OSError as error:
            if made is not None:
                made.close()
            raise CannotListenError(interface, 0, error) from error
        self._socket = made
        self.connected = True
        reactor.addReader(self)

    def fileno(self) -> int:
        """See L{IFileDescriptor}."""
        return self._socket.fileno()

    def logPrefix(self) -> str:
        """See L{ILoggingContext}."""
        return "hypermail flow"

    def doRead(self) -> None:
        """See L{IReadDescriptor}."""
        for _ in range(MOST_AT_ONCE):
            if not self.connected:
                return
            try:
                data, address = self._socket.recvfrom(LARGEST)
            except BlockingIOError:
                return
            except OSError:
                continue  # what ICMP has told of something that was sent
            self._protocol.datagramReceived(data, address)

    def write(self, data: bytes, address: Any) -> None:
        """See L{IUDPTransport}. @raise OSError: when the system does not take it."""
        try:
            self._socket.sendto(data, address)
        except ConnectionRefusedError:
            pass  # of what was sent before, as above

    def stopListening(self) -> None:
        """See L{IListeningPort}."""
        if self.connected:
            self.connected = False
            self._reactor.removeReader(self)
            self._socket.close()

    def connectionLost(self, reason: Failure) -> None:
        """See L{IFileDescriptor}: the reactor ends."""
        self.stopListening()
