"""
The sockets that a program's own sessions go out from: one for all that are alike, open as long as any needs it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IListeningPort

from hypermail.internet.carrier import listenDatagrams
from hypermail.internet.inhabited import SocketSessions


class StarterSocket:
    """
    A socket that sessions share.

    @ivar sessions: that live on it.
    """

    __slots__ = ("_key", "_port", "_registry", "_users", "sessions")

    def __init__(
        self,
        registry: dict[object, StarterSocket],
        key: object,
        sessions: SocketSessions,
        port: IListeningPort,
    ) -> None:
        self._registry = registry
        self._key = key
        self._port = port
        self._users = 0
        self.sessions = sessions
        registry[key] = self

    def lease(self, ended: Callable[[], object]) -> Lease:
        """
        One more session needs it.

        @param ended: called when it does so no longer.
        """
        self.join()
        return Lease(self, ended)

    def join(self) -> None:
        """One session more."""
        self._users += 1

    def leave(self) -> Deferred[Any] | None:
        """One session less; the last one closes the socket."""
        self._users -= 1
        if self._users:
            return None
        if self._registry.get(self._key) is self:
            del self._registry[self._key]
        return maybeDeferred(self._port.stopListening)


class Lease:
    """One session's part in a socket. The session may move to another."""

    __slots__ = ("_ended", "_socket")

    def __init__(self, socket: StarterSocket, ended: Callable[[], object]) -> None:
        self._socket: StarterSocket | None = socket
        self._ended = ended

    def __call__(self) -> Deferred[Any] | None:
        """Give it back; harmless when called again. @return: fires when the socket is closed, if it is to be."""
        socket, self._socket = self._socket, None
        if socket is None:
            return None
        self._ended()
        return socket.leave()

    def move(self, socket: StarterSocket) -> None:
        """The session needs another socket from now on; the one before is closed if nobody else needs it."""
        before, self._socket = self._socket, socket
        socket.join()
        if before is not None:
            before.leave()


_registries: WeakKeyDictionary[Any, dict[object, StarterSocket]] = WeakKeyDictionary()


def starterSocket(reactor: Any, key: object, interface: str, make: Callable[[], SocketSessions]) -> StarterSocket:
    """
    The socket for sessions that are alike.

    @param key: equal for those.
    @param interface: an IP address to bind.
    @param make: makes what a new socket needs.
    @raise CannotListenError: when the address cannot be bound.
    """
    registry = _registries.setdefault(reactor, {})
    found = registry.get((interface, key))
    if found is None:
        sessions = make()
        found = StarterSocket(registry, (interface, key), sessions, listenDatagrams(reactor, 0, sessions, interface))
    return found
