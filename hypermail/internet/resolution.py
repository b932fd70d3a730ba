"""
Names -> addresses, with the reactor's own resolver.
"""

from __future__ import annotations

from typing import Any

from twisted.internet import defer
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IHostResolution, IReactorPluggableNameResolver, IResolutionReceiver
from zope.interface import implementer

from hypermail.errors import Unreachable
from hypermail.internet.address import isAddress


def resolve(reactor: Any, host: str, port: int) -> Deferred[list[tuple[str, int]]]:
    """
    The addresses of a host, in the resolver's order of preference.

    @param host: a name or an IP address.
    @return: a Deferred of (address, port) pairs, at least one; errbacks with L{Unreachable} when there is none.
    """
    if isAddress(host):
        return defer.succeed([(host, port)])
    if not IReactorPluggableNameResolver.providedBy(reactor):
        return defer.fail(Unreachable(f"the host {host!r} is no IP address, and this reactor resolves no names"))
    receiver = _Addresses(host)
    try:
        reactor.nameResolver.resolveHostName(receiver, host, port, [IPv4Address, IPv6Address], "UDP")
    except ValueError as error:  # a name that cannot be one, as "a..b" or one with a label of 64 characters
        return defer.fail(Unreachable(f"the host {host!r} is no name: {error}"))
    return receiver.found


@implementer(IResolutionReceiver)
class _Addresses:
    """
    @ivar found: fires when the resolver has said all that it knows. Cancelling it leaves the resolver alone,
        as most cannot be stopped, and forgets what it says.
    """

    def __init__(self, host: str) -> None:
        self._host = host
        self._addresses: list[tuple[str, int]] = []
        self._cancelled = False
        self.found: Deferred[list[tuple[str, int]]] = Deferred(self._cancel)

    def _cancel(self, _: object) -> None:
        self._cancelled = True

    def resolutionBegan(self, resolution: IHostResolution) -> None:
        """See L{IResolutionReceiver}."""

    def addressResolved(self, address: IAddress) -> None:
        """See L{IResolutionReceiver}."""
        if isinstance(address, (IPv4Address, IPv6Address)):
            pair = (address.host, address.port)
            if pair not in self._addresses:
                self._addresses.append(pair)

    def resolutionComplete(self) -> None:
        """See L{IResolutionReceiver}."""
        if self._cancelled:
            return
        if self._addresses:
            self.found.callback(self._addresses)
        else:
            self.found.errback(Unreachable(f"the host {self._host!r} is unknown"))
