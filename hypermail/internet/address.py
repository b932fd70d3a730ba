"""
Addresses of hypermail's ends, and which of them never leave this machine.
"""

from __future__ import annotations

from socket import AF_INET6, if_nametoindex, inet_ntop, inet_pton
from typing import Any, NamedTuple

import attrs
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.interfaces import IAddress
from zope.interface import implementer

from hypermail.errors import RemoteAddressRefused


@implementer(IAddress)
@attrs.frozen
class HypermailAddress:
    """
    One end of a session, or of a stream in it.

    @ivar host: an IP address; a link-local one has its zone behind a C{%}.
    @ivar port: a UDP port.
    """

    host: str
    port: int

    def __str__(self) -> str:
        return _readable(self.host, self.port)


class SocketAddress(NamedTuple):
    """An address as sockets take it, and people read it: the core puts it into its texts."""

    host: str
    port: int

    def __str__(self) -> str:
        return _readable(self.host, self.port)


def _readable(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def addressOf(pair: Any) -> HypermailAddress:
    """The L{HypermailAddress} of a carrier's (host, port)."""
    return HypermailAddress(pair[0], pair[1])


def isAddress(host: str) -> bool:
    """Whether C{host} is an IP address rather than a name."""
    return isIPAddress(host) or isIPv6Address(host)


def asReceived(host: str) -> str:
    """
    An IP address as it comes with what is received from there: one of IPv6 has other forms, and a zone a number.

    @return: C{host} itself when it is no address of IPv6.
    """
    address, _, zone = host.partition("%")
    try:
        address = inet_ntop(AF_INET6, inet_pton(AF_INET6, address))
        return f"{address}%{int(zone) if zone.isdecimal() else if_nametoindex(zone)}" if zone else address
    except OSError:
        return host


def isLoopback(host: str) -> bool:
    """Whether the IP address C{host} never leaves this machine."""
    return host == "::1" or host.startswith("127.")


def refuseRemote(host: str, purpose: str) -> None:
    """
    Keep mode C{plain}, which anyone on the path can read and forge, on this machine.

    @param host: an IP address.
    @param purpose: what it is wanted for: C{"listen on"}, C{"connect to"}.
    @raise RemoteAddressRefused: when the address is not a loopback address.
    """
    if not isLoopback(host):
        raise RemoteAddressRefused(
            f"mode plain is neither encrypted nor authenticated, so it does not {purpose} {host or 'every address'}, "
            "which is not a loopback address; --allow-remote-plain (allowRemotePlain) allows it"
        )
