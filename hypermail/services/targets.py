"""
Where the datagrams of a tunnel go: the name of a target is looked up once for all flows, and what goes wrong, also with
streams, is said so seldom that no log overflows, whatever a peer sends.
"""

from __future__ import annotations

from ipaddress import ip_address
from math import inf
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import MessageLengthError
from twisted.logger import Logger
from twisted.python.failure import Failure

from hypermail.internet.address import isAddress
from hypermail.internet.resolution import resolve
from hypermail.services.addresses import Destination

#: s that an address is taken to be right for new flows.
RESOLVED = 30.0
#: s after which a name is looked up again that was not found.
UNRESOLVED = 3.0
#: s between two lines of one trouble.
SPAN = 10.0

Address = tuple[str, int]


class Trouble:
    """
    What goes wrong again and again for reasons that are worth a line.

    @param what: goes wrong.
    """

    _log = Logger()

    def __init__(self, clock: Any, what: str) -> None:
        self._clock = clock
        self._what = what
        self._next = -inf
        self._unsaid = 0

    def say(self, reason: str) -> None:
        """Say why, unless something was said just now; then it is counted."""
        if self._clock.seconds() < self._next:
            self._unsaid += 1
            return
        more = f" ({self._unsaid:,} times more since this was said last)" if self._unsaid else ""
        self._next, self._unsaid = self._clock.seconds() + SPAN, 0
        self._log.warn("{what}: {reason}{more}", what=self._what, reason=reason, more=more)

    def write(self, transport: Any, data: bytes, address: Any) -> None:
        """Write to a UDP socket. What the system refuses is lost, as datagrams are."""
        try:
            transport.write(data, address)
        except MessageLengthError:
            self.say(f"{len(data):,} bytes are too many for one")
        except OSError as error:  # no route, a firewall, a full buffer, port 0, ...
            self.say(error.strerror or str(error))


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
        while self._waiting:  # whose callbacks may cancel others
            self._waiting.popitem()[0].callback(self._found)
        self._waiting = None
