"""
Where the queen listens: what of that changes when her configuration does, changes one by one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, maybeDeferred, succeed
from twisted.internet.interfaces import IListeningPort

Listen = Callable[[], IListeningPort]


class Ports:
    """By the names that the configuration has for them."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[object, IListeningPort]] = {}

    def set(self, name: str, where: object, listen: Listen) -> bool:
        """
        Listen somewhere, and no longer where that was before; connections that there are go on.

        @param where: None for nowhere. What has not changed stays as it is.
        @return: whether anything has changed.
        @raise twisted.internet.error.CannotListenError: when that cannot be; then nothing has changed.
        """
        before, port = self._open.get(name, (None, None))
        if where == before:
            return False
        if where is None:
            del self._open[name]
        else:
            self._open[name] = (where, listen())
        if port is not None:
            port.stopListening()
        return True

    def port(self, name: str) -> Any:
        """One that is open."""
        return self._open[name][1]

    def number(self, name: str) -> int:
        """The number of an open one."""
        number: int = self.port(name).getHost().port
        return number

    def close(self, *names: str) -> Deferred[Any]:
        """Listen no more, anywhere unless names are given. @return: fires when that is so."""
        closing = [name for name in names or self._open if name in self._open]
        ports = [self._open.pop(name)[1] for name in closing]
        if not ports:
            return succeed(None)
        return DeferredList([maybeDeferred(port.stopListening) for port in ports], consumeErrors=True)
