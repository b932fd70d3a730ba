"""
The front: connections of clients, and which version of HTTP they speak.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress, IProtocolNegotiationFactory
from twisted.internet.protocol import ServerFactory
from zope.interface import implementer

from hypermail.hive.front.calls import Serve
from hypermail.hive.front.http1 import HTTP1
from hypermail.hive.front.line import Line, Speaker, Timeouts
from hypermail.hive.front.times import Dates
from hypermail.internet.deadlines import Armed, Deadlines, clockOf

HTTP2: Callable[[Line, Front], Speaker] | None
try:
    from hypermail.hive.front.http2 import HTTP2
except ImportError:  # the extra http2
    HTTP2 = None

#: Connections that are there at a time. Further ones are cut off.
MOST_CONNECTIONS = 10_000


class Expiring(Armed, Protocol):
    """What has a deadline of its own."""

    def expire(self) -> None:
        """It has come."""


def _expire(item: Expiring) -> None:
    item.expire()


@implementer(IProtocolNegotiationFactory)
class Front(ServerFactory):
    """
    For listening ports of TCP, or of TLS around it, where clients that ask for it by ALPN get HTTP/2.

    @param reactor: has time.
    @param serve: called with each request.
    @param scheme: C{https} or C{http}: what the requests have come by.

    @ivar connections: how many there are.
    @ivar refused: how many were cut off since there were too many.
    """

    noisy = False

    def __init__(
        self,
        reactor: Any,
        serve: Serve,
        timeouts: Timeouts | None = None,
        scheme: str = "https",
        most_connections: int = MOST_CONNECTIONS,
    ) -> None:
        self.serve = serve
        self.timeouts = timeouts or Timeouts()
        self.scheme = scheme
        self.seconds = clockOf(reactor)
        self.dates = Dates(reactor)
        self.deadlines: Deadlines[Expiring] = Deadlines(reactor, self.seconds, _expire)
        self.refused = 0
        self._most = most_connections
        self._lines: set[Line] = set()
        self._stopping = False
        self._stopped: list[Deferred[None]] = []

    @property
    def connections(self) -> int:
        """How many there are."""
        return len(self._lines)

    def acceptableProtocols(self) -> list[bytes]:
        """See L{IProtocolNegotiationFactory}: what is offered by ALPN, the best first."""
        return [b"http/1.1"] if HTTP2 is None else [b"h2", b"http/1.1"]

    def buildProtocol(self, addr: IAddress | None) -> Line:
        """See L{ServerFactory}."""
        return Line(self)

    def stop(self) -> Deferred[None]:
        """
        Take no more requests. Connections without one are closed; of the others, those that are running are finished.

        @return: fires when all connections are gone.
        """
        self._stopping = True
        for line in list(self._lines):
            line.stop()
        if not self._lines:
            return succeed(None)
        stopped: Deferred[None] = Deferred()
        self._stopped.append(stopped)
        return stopped

    def abort(self) -> None:
        """Cut off what is left."""
        for line in list(self._lines):
            line.abort()

    # For the connections

    def connected(self, line: Line) -> None:
        """There is one more."""
        if self._stopping or len(self._lines) >= self._most:
            self.refused += 1
            line.abort()
        else:
            self._lines.add(line)

    def disconnected(self, line: Line) -> None:
        """There is one less."""
        self._lines.discard(line)
        if self._stopping and not self._lines:
            stopped, self._stopped = self._stopped, []
            for one in stopped:
                one.callback(None)

    def speaker(self, line: Line) -> Speaker:
        """Who speaks on a connection that has something to say."""
        if HTTP2 is not None and getattr(line.transport, "negotiatedProtocol", None) == b"h2":
            return HTTP2(line, self)
        return HTTP1(line, self)
