"""
A Twisted reactor in the simulated network: virtual time, and UDP ports that reach other such reactors.

It is a L{task.Clock} with C{listenUDP} and a name resolver, so whatever takes its reactor as an argument
runs on it: hypermail's endpoints, any L{DatagramProtocol}. The reactors of one network share its time.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from math import inf
from typing import TYPE_CHECKING, Any

from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.base import DelayedCall
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError, InvalidAddressError, MessageLengthError
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHostnameResolver,
    IHostResolution,
    IListeningPort,
    IReactorPluggableNameResolver,
    IReactorUDP,
    IResolutionReceiver,
    IUDPTransport,
)
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.task import Clock
from twisted.logger import Logger
from zope.interface import implementer

from hypermail.interfaces import ILocalAddresses

if TYPE_CHECKING:
    from hypermail.testing.network import Address, SimulatedNetwork

#: The first of the ports that are given to whoever asks for port 0.
FIRST_EPHEMERAL = 49_152
LAST_PORT = 65_535
#: Bytes of the largest datagram, by the version of IP.
LARGEST_IPV4 = 65_507
LARGEST_IPV6 = 65_527


#: Interfaces that are all addresses of a family.
EVERYWHERE = ("", "0.0.0.0", "::")


def _isLoopback(host: str) -> bool:
    return host == "::1" or host.startswith("127.")


def _error(code: int) -> OSError:
    return OSError(code, os.strerror(code))


@implementer(IUDPTransport, IListeningPort)
class SimulatedPort:
    """
    A UDP port of a simulated reactor; it behaves as L{twisted.internet.udp.Port} does.

    @ivar reactor: that it belongs to.
    @ivar protocol: that it is for.
    @ivar fragments: what is too large for this network vanishes whole.
    """

    fragments = False

    _log = Logger()

    def __init__(
        self, reactor: SimulatedReactor, port: int, protocol: DatagramProtocol, interface: str, maxPacketSize: int
    ) -> None:
        self.reactor = reactor
        self.protocol = protocol
        self.interface = interface
        self.maxPacketSize = maxPacketSize
        self._wanted = port
        self._bound: list[Address] = []
        self._peer: Address | None = None
        self._stopped: Deferred[None] | None = None
        if interface and not isIPAddress(interface) and not isIPv6Address(interface):
            raise InvalidAddressError(interface, "not an IPv4 or IPv6 address.")
        self._version = 6 if isIPv6Address(interface) else 4

    def __repr__(self) -> str:
        where = ", ".join(f"{host}:{port}" for host, port in self._bound) or "not connected"
        return f"<SimulatedPort {where} for {self.protocol!r}>"

    # IListeningPort

    def startListening(self) -> None:
        """
        Bind.

        @raise CannotListenError: when the port is in use, or the interface isn't one of the host's.
        """
        try:
            self._bound = self.reactor.bind(self.interface, self._wanted, self._version, self._received)
        except OSError as error:
            raise CannotListenError(self.interface, self._wanted, error) from error
        self.reactor.ports.append(self)
        self.protocol.makeConnection(self)

    def rebind(self) -> None:
        """Used by L{SimulatedReactor.move}: be where the host is now."""
        self.reactor.release(self._bound)
        try:
            self._bound = self.reactor.bind(self.interface, self._bound[0][1], self._version, self._received)
        except OSError:
            return  # its address is gone; it is bound to that nevertheless, as a socket is

    def stopListening(self) -> Deferred[None] | None:
        """
        Close the port.

        @return: a L{Deferred} that fires when it is closed, which is in the next turn.
        """
        if not self._bound:
            return None
        if self._stopped is None:
            self._stopped = Deferred()
            self.reactor.callLater(0, self._close)
        return self._stopped

    def loseConnection(self) -> None:
        """Close the port."""
        self.stopListening()

    def _close(self) -> None:
        self.protocol.doStop()
        self.reactor.release(self._bound)
        self.reactor.ports.remove(self)
        self._bound = []
        stopped, self._stopped = self._stopped, None
        if stopped is not None:
            stopped.callback(None)

    def getHost(self) -> IPv4Address | IPv6Address:
        """Where the port is bound: the wildcard address when it was given no interface."""
        port = self._bound[0][1] if self._bound else self._wanted
        if self._version == 6:
            return IPv6Address("UDP", self.interface, port)
        return IPv4Address("UDP", self.interface or "0.0.0.0", port)

    # IUDPTransport

    def write(self, datagram: bytes, addr: tuple[str, int] | None = None) -> None:
        """
        Send one datagram.

        @raise MessageLengthError: when it is larger than any datagram.
        @raise InvalidAddressError: for a name, or an address of the other version of IP.
        @raise OSError: when the host has no way to the address.
        """
        destination = addr or self._peer
        if destination is None:
            raise ValueError("a port that isn't connected needs to be told where to")
        host = destination[0]
        version = 6 if isIPv6Address(host) else 4 if isIPAddress(host) else 0
        if not version:
            raise InvalidAddressError(host, "write() only accepts IP addresses, not hostnames")
        if version != self._version:
            raise InvalidAddressError(host, f"IPv{self._version} port write() called with IPv{version} address")
        if len(datagram) > (LARGEST_IPV6 if version == 6 else LARGEST_IPV4):
            raise MessageLengthError("message too long")
        if not self._bound:
            raise _error(errno.EBADF)
        self.reactor.send(self._bound, destination, datagram)

    def writeSequence(self, seq: Sequence[bytes], addr: tuple[str, int] | None = None) -> None:
        """Send one datagram that consists of these pieces."""
        self.write(b"".join(seq), addr)

    def connect(self, host: str, port: int) -> None:
        """Send to this address, and take from no other."""
        if self._peer is not None:
            raise RuntimeError("already connected, reconnecting is not currently supported")
        if not isIPAddress(host) and not isIPv6Address(host):
            raise InvalidAddressError(host, "not an IPv4 or IPv6 address.")
        self._peer = (host, port)

    def setBroadcastAllowed(self, enabled: bool) -> None:
        """There is no broadcast here."""

    def getBroadcastAllowed(self) -> bool:
        """There is no broadcast here."""
        return False

    def _received(self, datagrams: list[bytes], source: Address, ecn: int) -> None:
        source = self.reactor.unscoped(source)
        for datagram in datagrams:
            if not self._bound or self._stopped is not None or self._peer not in (None, source):
                return
            try:
                self.protocol.datagramReceived(datagram[: self.maxPacketSize], source)
            except Exception:
                self._log.failure("{port!r}: datagramReceived has failed", port=self)


@implementer(IHostResolution)
class _Resolution:
    """A name that was resolved on the spot."""

    def __init__(self, name: str) -> None:
        self.name = name

    def cancel(self) -> None:
        """It is over already."""


@implementer(IHostnameResolver)
class SimulatedResolver:
    """
    Resolves IP addresses to themselves, and the names that it was told.

    @ivar names: name to IP addresses; add yours.
    """

    def __init__(self) -> None:
        self.names: dict[str, list[str]] = {}

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[IAddress]] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        """See L{IHostnameResolver.resolveHostName}; the receiver is called at once."""
        resolution = _Resolution(hostName)
        resolutionReceiver.resolutionBegan(resolution)
        literal = isIPAddress(hostName) or isIPv6Address(hostName)
        for host in [hostName] if literal else self.names.get(hostName, []):
            kind: Any = IPv6Address if isIPv6Address(host) else IPv4Address
            if addressTypes is None or kind in addressTypes:
                resolutionReceiver.addressResolved(kind(transportSemantics, host, portNumber))
        resolutionReceiver.resolutionComplete()
        return resolution


@implementer(IReactorUDP, IReactorPluggableNameResolver, ILocalAddresses)
class SimulatedReactor(Clock):
    """
    The reactor of one host in a simulated network; made by L{SimulatedNetwork.reactor}.

    @ivar network: that the host is in.
    @ivar hosts: the host's IP addresses. C{interface=""} is all of IPv4, C{"::"} all of IPv6, as usual. Loopback
        addresses that aren't among them exist besides, and lead back to this host through the network's conditions.
    @ivar ports: that are open.
    @ivar nameResolver: knows IP addresses, and the names that it was told.
    """

    def __init__(self, network: SimulatedNetwork, hosts: Sequence[str]) -> None:
        super().__init__()
        for host in hosts:
            if not isIPAddress(host) and not isIPv6Address(host):
                raise ValueError(f"{host!r} is not an IP address")
        self.network = network
        self.hosts = tuple(hosts)
        self.ports: list[SimulatedPort] = []
        self.nameResolver: Any = SimulatedResolver()
        self._timer = network.timer(self._wake)
        self._next_port = FIRST_EPHEMERAL
        self._scope = f"%{hosts[0]}"
        self.rightNow = network.now

    # Time

    def seconds(self) -> float:
        """s of the network's virtual time."""
        return self.network.now

    def callLater(self, delay: float, callable: Callable[..., object], *args: object, **kw: object) -> IDelayedCall:
        """See L{IReactorTime.callLater}."""
        call = DelayedCall(self.seconds() + delay, callable, args, kw, self._cancelled, self._moved, self.seconds)
        self.calls.append(call)
        self._moved(call)
        return call

    def _cancelled(self, call: DelayedCall) -> None:
        self.calls.remove(call)

    def _moved(self, call: DelayedCall) -> None:
        """A call is new, or was put off or brought forward."""
        self._timer.arm(min((call.getTime() for call in self.calls), default=inf))

    def _wake(self) -> None:
        """What is due has its turn; what is called meanwhile for now has the next one."""
        self.rightNow = now = self.network.now
        due = sorted((call for call in self.calls if call.getTime() <= now), key=DelayedCall.getTime)
        try:
            for call in due:
                if call.active() and call.getTime() <= now:
                    self.calls.remove(call)
                    call.called = 1
                    call.func(*call.args, **call.kw)
        finally:
            if self.calls:
                self._moved(self.calls[0])

    def advance(self, amount: float) -> None:
        """Let time pass, in the whole network."""
        self.network.advance(amount)

    # Addresses

    def localAddress(self, host: str) -> str | None:
        """See L{ILocalAddresses.localAddress}."""
        version = 6 if ":" in host else 4
        if _isLoopback(host) and host not in self.hosts:
            return "::1" if version == 6 else "127.0.0.1"
        return next((own for own in self.hosts if (":" in own) == (version == 6)), None)

    def move(self, *hosts: str) -> None:
        """
        The host has other addresses from now on; what is on its way to the ones before is lost. Ports that are bound
        to all addresses are bound to these now; one that is bound to an address that is gone can neither send nor
        receive.

        @param hosts: none while the host is out of reach.
        """
        self.hosts = hosts
        for port in self.ports:
            port.rebind()

    # UDP

    def listenUDP(
        self, port: int, protocol: DatagramProtocol, interface: str = "", maxPacketSize: int = 8192
    ) -> SimulatedPort:
        """
        See L{IReactorUDP.listenUDP}.

        @raise CannotListenError: when the port is in use, or the interface isn't one of the host's.
        """
        listening = SimulatedPort(self, port, protocol, interface, maxPacketSize)
        listening.startListening()
        return listening

    def bind(
        self, interface: str, port: int, version: int, receive: Callable[[list[bytes], Address, int], object]
    ) -> list[Address]:
        """
        Used by L{SimulatedPort}.

        @return: where it listens now; what it sends comes from the first.
        """
        hosts = self._hosts(interface, version)
        ports = [port] if port else range(self._next_port, LAST_PORT + 1)
        taken = set(self.network.attached)
        for candidate in ports:
            addresses = [(host, candidate) for host in hosts]
            if taken.isdisjoint(addresses):
                if not port:
                    self._next_port = candidate + 1 if candidate < LAST_PORT else FIRST_EPHEMERAL
                for address in addresses:
                    self.network.attach(address, receive)
                return addresses
        raise _error(errno.EADDRINUSE)

    def _hosts(self, interface: str, version: int) -> list[str]:
        own = [host for host in self.hosts if (":" in host) == (version == 6)]
        if interface in own:
            return [interface]
        if interface in EVERYWHERE:
            return [*own, self._loopback(version)]
        if _isLoopback(interface):
            return [self._loopback(version)]
        raise _error(errno.EADDRNOTAVAIL)

    def _loopback(self, version: int) -> str:
        """The name in the network of this host's loopback address, which is not any other host's."""
        return f"{'::1' if version == 6 else '127.0.0.1'}{self._scope}"

    def send(self, bound: Sequence[Address], destination: Address, datagram: bytes) -> None:
        """Used by L{SimulatedPort}, which is bound to all of C{bound}."""
        source = bound[0]
        host, port = destination
        if _isLoopback(host) and host not in self.hosts:
            destination = self._loopback(6 if ":" in host else 4), port
            source = bound[-1]
        elif source[0].endswith(self._scope):
            raise _error(errno.ENETUNREACH)
        elif source[0] not in self.hosts:
            raise _error(errno.EADDRNOTAVAIL)
        self.network.send(source, destination, [datagram])

    def unscoped(self, address: Address) -> Address:
        """Used by L{SimulatedPort}: an address as users see it."""
        return address[0].removesuffix(self._scope), address[1]

    def release(self, addresses: Sequence[Address]) -> None:
        """Used by L{SimulatedPort}."""
        for address in addresses:
            self.network.detach(address)

    # Names

    def installNameResolver(self, resolver: Any) -> Any:
        """See L{IReactorPluggableNameResolver.installNameResolver}."""
        before, self.nameResolver = self.nameResolver, resolver
        return before
