"""
Where the queen listens: what of that changes when her configuration does, changes one by one.
"""

from __future__ import annotations

from collections.abc import Callable
from errno import EADDRNOTAVAIL, EAFNOSUPPORT
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.python.failure import Failure

from hypermail.errors import UsageError
from hypermail.hive.entrance import Entrance
from hypermail.hive.frames import BAND, LEASH
from hypermail.hive.garden import MOST_BANDS
from hypermail.internet.endpoints import SessionServerEndpoint
from hypermail.internet.naming import NamedStreams
from hypermail.internet.security import ListenerTLS
from hypermail.options import Options
from hypermail.services.ending import causeOf

Where = tuple[int, str | None]
"""A port, and an address of this machine, None for all of them."""

#: Connections that the system accepts before we do. With Twisted's 50 the others of a burst try again after a second.
BACKLOG = 1_024
#: Streams of a session over which a cell comes: its bands, and some that are just being opened.
_STREAMS = MOST_BANDS + 100
#: s; after six times that without a datagram a session is given up (L{Options.ping_interval}). Over hypermail nobody
#: tells that a cell was killed: what waits for it does so no longer than many a client would.
_PING = 4.0


class Ports:
    """By the names that the configuration has for them."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[Where, IListeningPort]] = {}

    def set(self, name: str, where: Where | None, listen: Callable[[int, str | None], IListeningPort]) -> bool:
        """
        Listen somewhere, and no longer where that was before; connections that there are go on.

        @param where: None for nowhere. What has not changed stays as it is.
        @return: whether anything has changed.
        @raise UsageError: when that cannot be; then nothing has changed.
        """
        before, port = self._open.get(name, (None, None))
        if where == before:
            return False
        if where is None:
            del self._open[name]
        else:
            try:
                self._open[name] = (where, listen(*where))
            except CannotListenError as error:
                raise UsageError(f"cannot listen at {name} {where[0]}: {causeOf(error)}") from None
        if port is not None:
            port.stopListening()
        return True

    def port(self, name: str) -> Any:
        """One that is open."""
        return self._open[name][1]

    def number(self, name: str) -> int:
        """The number of one that is open."""
        number: int = self.port(name).getHost().port
        return number

    def numbers(self) -> dict[str, int]:
        """Those of all that are open, by their names."""
        return {name: self.number(name) for name in self._open}

    def close(self, *names: str) -> Deferred[Any]:
        """Listen no more, anywhere unless names are given. @return: fires when that is so."""
        ports = [self._open.pop(name)[1] for name in names or list(self._open) if name in self._open]
        return DeferredList([maybeDeferred(port.stopListening) for port in ports], consumeErrors=True)


def listen_tcp(reactor: Any, factory: Any, number: int, bind: str | None) -> IListeningPort:
    """
    Listen; on addresses of both families, where the machine has both.

    @raise CannotListenError: when that cannot be.
    """
    port: IListeningPort
    try:
        port = reactor.listenTCP(number, factory, BACKLOG, interface="::" if bind is None else bind)
    except CannotListenError as error:
        if bind is not None or getattr(error.socketError, "errno", None) not in (EAFNOSUPPORT, EADDRNOTAVAIL):
            raise
        port = reactor.listenTCP(number, factory, BACKLOG)
    return port


def listen_hypermail(
    reactor: Any, entrance: Entrance, security: ListenerTLS, number: int, bind: str | None
) -> IListeningPort:
    """
    Listen for sessions whose streams are leashes and bands.

    @raise CannotListenError: when that cannot be.
    """
    options = Options(max_streams=_STREAMS, ping_interval=_PING, allow_reopen=False)
    endpoint = SessionServerEndpoint(reactor, number, interface=bind or "", security=security, options=options)
    found: list[Any] = []
    endpoint.listen(NamedStreams({LEASH: entrance, BAND: entrance})).addBoth(found.append)
    if not found:  # of several sockets one could not be bound, and the others are being closed
        raise CannotListenError(bind or "", number, OSError("not all addresses can be had"))
    if isinstance(found[0], Failure):
        found[0].raiseException()
    port: IListeningPort = found[0]
    return port
