"""
Where a starter's session looks for its listener when it has lost its link: the addresses of the host, asked for anew.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from hypermail.internet.attempts import HostAddress

if TYPE_CHECKING:
    from hypermail.internet.inhabited import SocketSessions
    from hypermail.internet.sockets import Lease, StarterSocket


class Whereabouts:
    """
    Of the listener of one session.

    @ivar host: the name by which it was asked for.
    @ivar patience: s that each attempt to reach it may take.
    """

    __slots__ = ("_address", "_addresses", "_lease", "_resolve", "_resolving", "_socket", "_tried", "host", "patience")

    def __init__(
        self,
        host: str,
        address: HostAddress,
        resolve: Callable[[], Deferred[list[HostAddress]]],
        socket: Callable[[str], StarterSocket],
        lease: Lease,
        patience: float,
    ) -> None:
        """
        @param address: where the session has opened.
        @param resolve: asks for the host's addresses.
        @param socket: gives the socket that asks an IP address.
        @param lease: of the one that has asked C{address}.
        @param patience: see L{Whereabouts}.
        """
        self.host = host
        self.patience = patience
        self._address = address
        self._addresses: tuple[HostAddress, ...] = ()
        self._resolve = resolve
        self._resolving: Deferred[Any] | None = None
        self._socket = socket
        self._lease = lease
        self._tried = False

    def next(self) -> HostAddress:
        """Where to try now: first where it was, then at each address of the host in turn, as they are found."""
        if self._tried:
            if self._resolving is None:
                self._resolving = resolving = self._resolve()
                resolving.addCallbacks(self._found, lambda _: None).addBoth(self._resolved)  # perhaps at once
            if self._addresses:
                self._address, *others = self._addresses
                self._addresses = (*others, self._address)
        self._tried = True
        return self._address

    def _found(self, addresses: list[HostAddress]) -> None:
        if set(addresses) != set(self._addresses):
            self._addresses = tuple(addresses)

    def _resolved(self, _: object) -> None:
        self._resolving = None

    def arrived(self) -> None:
        """The session has a link again."""
        self._tried = False

    def move(self, address: HostAddress) -> SocketSessions:
        """
        The session is to go on from the socket that asks C{address}.

        @return: the sessions of that.
        @raise CannotListenError: when there is none; nothing was changed then.
        """
        socket = self._socket(address[0])
        self._lease.move(socket)
        return socket.sessions

    def forget(self) -> None:
        """The session is over."""
        if self._resolving is not None:
            self._resolving.cancel()
