"""
From which of this host's addresses its peers are reached, and when that has become another one.

No system tells that through a socket that is bound to all addresses: it takes another source and says nothing. So a
socket's starters look, once a second and when something seems wrong, by opening a UDP socket that sends nothing.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.base import ReactorBase
from twisted.internet.interfaces import IDelayedCall

from hypermail.interfaces import ILocalAddresses

#: s between looks, and between those that something has caused.
SLOW = 1.0
QUICK = 0.1

#: Tells the address of this host from which another one, given by its IP address, is reached; None when it is not.
Finder = Callable[[str], str | None]


def localAddress(host: str) -> str | None:
    """See L{ILocalAddresses.localAddress}; asks the system."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((host, 9))  # the port means nothing: connecting sends nothing
            found: str = probe.getsockname()[0]
    except OSError:
        return None
    return found


def finderOf(reactor: Any) -> Finder | None:
    """What tells local addresses where a reactor runs; None where nothing does, as with a L{Clock}."""
    if ILocalAddresses.providedBy(reactor):
        own: Finder = reactor.localAddress
        return own
    return localAddress if isinstance(reactor, ReactorBase) else None


class Routes:
    """
    Of one socket that is bound to all addresses.

    @param hosts: gives the IP addresses of its peers, as long as it has any.
    @param moved: called with a peer's IP address and ours, when that is not the same as before.
    @param returned: called with a peer's IP address when there was no way to it, and is one again from the same.
    """

    __slots__ = (
        "_call",
        "_finder",
        "_hosts",
        "_known",
        "_lookedAt",
        "_moved",
        "_reactor",
        "_returned",
        "_seconds",
        "_unreached",
    )

    def __init__(
        self,
        reactor: Any,
        seconds: Callable[[], float],
        hosts: Callable[[], Iterable[str]],
        moved: Callable[[str, str], object],
        returned: Callable[[str], object],
    ) -> None:
        self._reactor = reactor
        self._seconds = seconds
        self._hosts = hosts
        self._moved = moved
        self._returned = returned
        self._finder = finderOf(reactor)
        self._known: dict[str, str] = {}
        self._unreached: set[str] = set()
        self._lookedAt = 0.0
        self._call: IDelayedCall | None = None

    def watch(self) -> None:
        """There are peers: begin to look, unless it is done already."""
        if self._finder is not None and self._call is None:
            self._look()
            self._call = self._reactor.callLater(SLOW, self._again)

    def stop(self) -> None:
        """There are none any more."""
        call, self._call = self._call, None
        if call is not None:
            call.cancel()
        self._known.clear()
        self._unreached.clear()

    def suspect(self) -> None:
        """Something seems wrong: look now, unless that was done just before."""
        if self._call is not None and self._seconds() - self._lookedAt >= QUICK:
            self._look()

    def _again(self) -> None:
        self._call = self._reactor.callLater(SLOW, self._again)
        self._look()

    def _look(self) -> None:
        assert self._finder is not None  # else nobody watches
        self._lookedAt = self._seconds()
        known, self._known = self._known, {}
        unreached, self._unreached = self._unreached, set()
        for host in set(self._hosts()):
            before = known.get(host)
            found = self._finder(host)
            if found is None:
                self._unreached.add(host)
            here = found or before  # who has no way for a while may find the old one again
            if here is not None:
                self._known[host] = here
                if before not in (None, here):
                    self._moved(host, here)
                elif found is not None and host in unreached:
                    self._returned(host)
