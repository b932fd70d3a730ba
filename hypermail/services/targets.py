"""
Where the datagrams of a tunnel go: the name of a target is looked up once for all flows, whatever a peer sends.
"""

from __future__ import annotations

from ipaddress import ip_address
from math import inf
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure

from hypermail.internet.address import isAddress
from hypermail.internet.resolution import resolve
from hypermail.services.addresses import Destination
from hypermail.services.troubles import Trouble

#: s that an address is taken to be right for new flows.
RESOLVED = 30.0
#: s after which a name is looked up again that was not found.
UNRESOLVED = 3.0

Address = tuple[str, int]


class Target:
    """
    The target of a passage.

    @ivar trouble: with its datagrams.
    """

    def __init__(self, reactor: Any, destination: Destination) -> None:
        self._reactor = reactor
        self._destination = destination
        self._waiting: dict[Deferred[Address], None] | None = None  # None while nothing is looked up
        self._found: Address | Failure | None = None
        self._until = -inf
        self.trouble = Trouble(reactor, f"no datagrams to {destination}")

    def address(self) -> Deferred[Address]:
        """
        Where it is.

        @return: a Deferred of an IP address, as the system writes those of senders, and a port. It errbacks with
            L{Unreachable}; that was said. It may be cancelled.
        """
        host, port = self._destination
        if isAddress(host):
            return succeed((str(ip_address(host)), port))
        if self._waiting is None and self._found is not None and self._reactor.seconds() < self._until:
            return fail(self._found) if isinstance(self._found, Failure) else succeed(self._found)
        waiting: Deferred[Address] = Deferred(self._leave)
        if self._waiting is None:
            self._waiting = {waiting: None}
            resolve(self._reactor, host, port).addBoth(self._resolved)
        else:
            self._waiting[waiting] = None
        return waiting

    def _leave(self, waiting: Deferred[Address]) -> None:
        if self._waiting is not None:
            self._waiting.pop(waiting, None)

    def _resolved(self, found: list[Address] | Failure) -> None:
        if isinstance(found, Failure):
            self.trouble.say(found.getErrorMessage())
        self._found = found if isinstance(found, Failure) else found[0]
        self._until = self._reactor.seconds() + (UNRESOLVED if isinstance(found, Failure) else RESOLVED)
        while self._waiting:  # whose callbacks may cancel others, or ask again
            waiting = next(iter(self._waiting))
            del self._waiting[waiting]
            waiting.callback(self._found)
        self._waiting = None
