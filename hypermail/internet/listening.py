"""
Sockets that listen: one for each family, all with one port number, started and stopped as one.
"""

from __future__ import annotations

import errno
import socket
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger
from zope.interface import implementer

from hypermail.internet.address import HypermailAddress
from hypermail.internet.carrier import adoptDatagrams, listenDatagrams
from hypermail.internet.security import Security

#: Port numbers that the system may propose until one is found that is free in both families.
MAX_ATTEMPTS = 32

#: What a bind fails with on a machine that lacks the address's family.
_NO_FAMILY = {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT}

_log = Logger()

#: Makes the protocol of one more socket: an L{ICarrierUser}, with C{renew} as of L{HypermailDatagramProtocol}.
MakeProtocol = Callable[[], Any]


@implementer(IListeningPort)
class ListeningPorts:
    """
    Several sockets as one port.

    @ivar ports: the port of each socket.
    """

    def __init__(self, ports: Sequence[IListeningPort], protocols: Sequence[Any] = ()) -> None:
        self.ports = list(ports)
        self._protocols = list(protocols)
        self._stopping: list[Deferred[None]] | None = None

    def startListening(self) -> None:
        """The sockets have been listening since they were opened."""

    def stopListening(self) -> Deferred[None]:
        """
        End all sessions, close all sockets.

        @return: fires when nothing is left in the reactor; calling twice is harmless.
        """
        deferred: Deferred[None] = Deferred()
        if self._stopping is not None:
            if self.ports:
                self._stopping.append(deferred)
            else:
                deferred.callback(None)
            return deferred
        self._stopping = [deferred]
        stopping = [maybeDeferred(port.stopListening) for port in self.ports]
        DeferredList(stopping, consumeErrors=True).addCallback(self._stopped)
        return deferred

    def _stopped(self, _: object) -> None:
        self.ports.clear()
        waiting, self._stopping = self._stopping or [], []
        for deferred in waiting:
            deferred.callback(None)

    def renew(self, security: Security) -> None:
        """
        Secure new sessions another way: see L{HypermailDatagramProtocol.renew}.

        @raise UsageError: when the security is a starter's, or of another mode.
        """
        for protocol in self._protocols:
            protocol.renew(security)

    def getHosts(self) -> list[HypermailAddress]:
        """The address of each socket."""
        found = [port.getHost() for port in self.ports]
        return [HypermailAddress(address.host, address.port) for address in found]  # type: ignore[attr-defined]

    def statistics(self) -> dict[str, int]:
        """Counters of all sockets together, for people to look at; the keys may change."""
        found: Counter[str] = Counter()
        for port in self.ports:
            found.update(port.protocol.socketStatistics())  # type: ignore[attr-defined]
        return dict(found)

    def getHost(self) -> HypermailAddress:
        """The address of the first socket; the port number is that of all."""
        return self.getHosts()[0]


async def openPorts(reactor: Any, port: int, interfaces: Sequence[str], make: MakeProtocol) -> ListeningPorts:
    """
    Listen on one port number of several interfaces.

    A family that the machine does not have is left out, and logged.

    @param port: 0 for one that is free on all of them.
    @param interfaces: IP addresses.
    @raise CannotListenError: when an address cannot be bound, or none of them exists here.
    """
    attempts = MAX_ATTEMPTS if port == 0 and len(interfaces) > 1 else 1
    while True:
        attempts -= 1
        opened: list[IListeningPort] = []
        protocols: list[Any] = []
        try:
            onEvery(port, interfaces, partial(_open, reactor, make, opened, protocols))
            return ListeningPorts(opened, protocols)
        except CannotListenError as error:
            await ListeningPorts(opened).stopListening()
            if not (attempts and opened and isInUse(error)):
                raise


def _open(
    reactor: Any, make: MakeProtocol, opened: list[IListeningPort], protocols: list[Any], port: int, interface: str
) -> int:
    protocol = make()
    opened.append(listenDatagrams(reactor, port, protocol, interface, answering=True))
    protocols.append(protocol)
    return opened[-1].getHost().port  # type: ignore[attr-defined,no-any-return]


def onEvery(port: int, interfaces: Sequence[str], listen: Callable[[int, str], int]) -> None:
    """
    Open one port number of several interfaces. A family that the machine does not have is left out, and logged.

    @param listen: opens a port, 0 for any, of an interface, and returns its number.
    @raise CannotListenError: when an address cannot be bound, or none of them exists here.
    """
    missing: CannotListenError | None = None
    found = False
    for interface in interfaces:
        try:
            port = listen(port, interface)
        except CannotListenError as error:
            if len(interfaces) == 1 or _number(error) not in _NO_FAMILY:
                raise
            missing = error
            _log.info(
                "not listening on {interface}, which this machine does not have: {reason}",
                interface=interface,
                reason=str(error.socketError),
            )
        else:
            found = True
    if missing is not None and not found:
        raise missing


def adoptPorts(reactor: Any, sockets: Sequence[socket.socket], make: MakeProtocol) -> ListeningPorts:
    """
    Listen on UDP sockets that somebody else has bound.

    @param sockets: may be closed afterwards: the ports have descriptors of their own.
    """
    protocols = [make() for _ in sockets]
    pairs = zip(sockets, protocols, strict=True)
    return ListeningPorts([adoptDatagrams(reactor, bound, user, answering=True) for bound, user in pairs], protocols)


def isInUse(error: CannotListenError) -> bool:
    """Whether an address could not be bound as somebody else has it."""
    return _number(error) == errno.EADDRINUSE


def _number(error: CannotListenError) -> int | None:
    cause: Any = error.socketError
    return getattr(cause, "errno", None)
