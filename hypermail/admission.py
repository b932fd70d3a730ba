"""
What a listener bears from strangers before they have shown who they are (C{docs/protocol/security.rst}, Admission).

Each stranger that is let in costs memory and, with its whole hello, the time of a handshake. Those whose address
may be forged have few places; when these are taken, one more is told to come back with a token, which costs nothing
to keep. Who brings the token has proved its address, and has a place among others that have.
"""

from __future__ import annotations

from collections import Counter
from enum import Enum, auto
from ipaddress import IPv6Address
from typing import Any

from hypermail.connection import Connection
from hypermail.options import ListenerOptions
from hypermail.security.tokens import RetryTokens
from hypermail.session.states import State

#: Bytes of an IPv6 address that one attacker may own whole: a site has up to /48 (RFC 6177).
_PREFIX6 = 6


class Ruling(Enum):
    """What becomes of a stranger's hello."""

    ADMIT = auto()  #: it is let in
    PROVED = auto()  #: it is let in, and its address is proved
    RETRY = auto()  #: it shall come back with a token
    DROP = auto()  #: there is no place


class Quota:
    """
    Places for some kind of stranger.

    @param total: how many there are.
    @param per_prefix: how many of them one prefix may have.
    """

    __slots__ = ("_by_prefix", "_per_prefix", "_taken", "_total")

    def __init__(self, total: int, per_prefix: int) -> None:
        self._total = total
        self._per_prefix = per_prefix
        self._taken = 0
        self._by_prefix: Counter[object] = Counter()

    def __len__(self) -> int:
        return self._taken

    def has_place(self, prefix: object) -> bool:
        """Whether one more of this prefix may come."""
        return self._taken < self._total and self._by_prefix.get(prefix, 0) < self._per_prefix

    def take(self, prefix: object) -> None:
        """One more has come."""
        self._taken += 1
        self._by_prefix[prefix] += 1

    def give(self, prefix: object) -> None:
        """One has gone."""
        self._taken -= 1
        self._by_prefix[prefix] -= 1
        if not self._by_prefix[prefix]:
            del self._by_prefix[prefix]


class Admission:
    """
    Admits strangers to one socket.

    @ivar retries: strangers that were told to come back.
    """

    __slots__ = ("_hellos", "_places", "_proved", "_tokens", "_unproved", "retries")

    def __init__(self, options: ListenerOptions, tokens: RetryTokens) -> None:
        self._tokens = tokens
        self._proved = Quota(options.max_opening, options.max_opening_per_prefix)
        self._unproved = Quota(options.max_unproved, options.max_unproved_per_prefix)
        self._hellos = Quota(options.max_hellos, options.max_hellos_per_prefix)
        self._places: dict[Connection, tuple[object, list[Quota]]] = {}
        self.retries = 0

    def __len__(self) -> int:
        """How many have been let in, and neither opened nor gone."""
        return len(self._places)

    def judge(self, token: bytes, address: Any, first_tag: int, now: float) -> Ruling:
        """
        Whether a stranger is let in.

        @param token: that it brings, or nothing.
        @param address: where it says to be.
        @param now: s, monotonic.
        """
        prefix = prefix_of(address)
        if token and not self._proved.has_place(prefix):
            return Ruling.DROP
        if token and self._tokens.spend(token, address, first_tag, now):
            return Ruling.PROVED
        if self._unproved.has_place(prefix) and self._hellos.has_place(prefix):
            return Ruling.ADMIT
        return Ruling.RETRY

    def token(self, address: Any, first_tag: int, now: float) -> bytes:
        """For a stranger that shall come back."""
        self.retries += 1
        return self._tokens.make(address, first_tag, now)

    def begun(self, connection: Connection, proved: bool) -> None:
        """A stranger was let in."""
        prefix = prefix_of(connection.address)
        quotas = [self._proved] if proved else [self._unproved, self._hellos]
        for quota in quotas:
            quota.take(prefix)
        self._places[connection] = (prefix, quotas)

    def look(self, connection: Connection) -> None:
        """A connection has heard something: perhaps it needs its place no more."""
        place = self._places.get(connection)
        if place is None:
            return
        prefix, quotas = place
        if self._hellos in quotas and connection.hello_heard:
            quotas.remove(self._hellos)
            self._hellos.give(prefix)
        if not connection.opening and connection.state is not State.ENDED:
            self.gone(connection)

    def gone(self, connection: Connection) -> None:
        """A connection has opened, or was forgotten."""
        place = self._places.pop(connection, None)
        if place is not None:
            prefix, quotas = place
            for quota in quotas:
                quota.give(prefix)


def prefix_of(address: Any) -> object:
    """
    The part of an address that one attacker may own whole.

    @param address: (host, port) with an IP address, or anything hashable.
    """
    if not isinstance(address, tuple) or not address or not isinstance(address[0], str):
        return address
    host = address[0]
    if ":" not in host:
        return host.rpartition(".")[0]
    address6 = IPv6Address(host.partition("%")[0])
    if address6.ipv4_mapped is not None:
        return prefix_of((str(address6.ipv4_mapped),))
    return address6.packed[:_PREFIX6]
