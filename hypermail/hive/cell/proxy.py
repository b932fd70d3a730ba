"""
A local web server as a cell's application: requests are passed on to it, and responses back, as they come.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import h11
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as TakenTooLong
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.interfaces import IDelayedCall, IStreamClientEndpoint
from twisted.logger import Logger

from hypermail.errors import UsageError
from hypermail.hive.band import End
from hypermail.hive.cell.application import CellApplication, give_up
from hypermail.hive.cell.heads import Pairs, length_of, lists_of, pairs_of, target_of, upgrade_of
from hypermail.hive.cell.upstream import Upstream, UpstreamConnection, UpstreamFailed, UpstreamPool
from hypermail.hive.exchanges import BandProtocol, Exchange
from hypermail.hive.headers import HOP_BY_HOP, end_to_end
from hypermail.services.paths import printable

#: s until a response has to begin, counted from what was last sent of the request.
ANSWERING = 300.0

#: Requests that may be made twice (RFC 9110 §9.2.2), if they have no body.
_REPEATABLE = ("GET", "HEAD", "OPTIONS", "PUT", "DELETE")
#: What the queen has dealt with, or is said anew.
_NOT_PASSED_ON = ("expect", "content-length", "host")
#: What the queen says of the client, or the connection: a client's C{x_forwarded_for} is that, too, to a program that
#: has headers as variables (RFC 3875 §4.1.18).
_SPOKEN_FOR = HOP_BY_HOP | {"content-length"}

_log = Logger()


class ProxyApplication(CellApplication):
    """
    Passes requests on. The host that they ask for stays as it was; C{X-Forwarded-For} and the like are the queen's.
    """

    def __init__(
        self, upstream: Upstream, *, endpoint: IStreamClientEndpoint | None = None, answering: float = ANSWERING
    ) -> None:
        """
        @param endpoint: None for the upstream's own.
        @param answering: s until a response has to begin, counted from what was last sent of the request.
        """
        self.upstream = upstream
        self.pool: Any = None
        self.answering = answering
        self.reactor: Any = None
        self._endpoint = endpoint

    def startApplication(self, reactor: Any, root: str) -> None:
        """See L{CellApplication}."""
        self.reactor = reactor
        self.pool = UpstreamPool(reactor, self._endpoint or self.upstream.endpoint(reactor))

    def stopApplication(self) -> None:
        """See L{CellApplication}."""
        self.pool.close()

    async def __call__(self, exchange: Exchange) -> None:
        """See L{CellApplication}."""
        again, fresh = True, False
        while again:
            try:
                connection = await self.pool.take(fresh)
            except Exception as error:
                late = isinstance(error, (TakenTooLong, ConnectTimeout))
                self.refuse(exchange, 504 if late else 502, f"no connection: {str(error) or type(error).__name__}")
                return
            again = fresh = await _Passing(self, exchange, connection).done

    def refuse(self, exchange: Exchange, status: int, reason: str) -> None:
        """There is no response, or not all of it."""
        _log.warn("{upstream}: {reason}", upstream=self.upstream.name, reason=printable(reason))
        if not exchange.over:
            give_up(exchange, status)


class _Passing:
    """
    One request on one connection: takes its response.

    @ivar done: fires when all is said, with whether the request has to be made again on another connection.
    """

    def __init__(self, proxy: ProxyApplication, exchange: Exchange, connection: UpstreamConnection) -> None:
        self.done: Deferred[bool] = Deferred()
        self.exchange = exchange
        self.connection = connection
        self._proxy = proxy
        self._length = length_of(exchange.head)
        extended = exchange.connection.extended
        self._upgrade = upgrade_of(exchange.head) if extended and self._length == 0 else ""
        self._deadline: IDelayedCall = proxy.reactor.callLater(proxy.answering, self._late)
        exchange.whenOver().addCallback(self._over)
        if exchange.over:
            connection.leave()
            return
        if self._length is not None:
            self.begin(self._length)
        if self._length == 0:
            connection.endBody([])
        else:
            exchange.read(_Upload(self, self._length is not None))

    def begin(self, length: int | None) -> None:
        """Send the head. @param length: of the body, None for chunks."""
        head = self.exchange.head
        said = end_to_end(head.headers)
        host = said.get("host", ()) or (self._proxy.upstream.authority,)
        headers: Pairs = [(b"host", host[0].encode())]
        headers += [(name, value) for name, value in pairs_of(said) if _passed_on(name.decode())]
        if self._upgrade:
            headers += [(b"connection", b"upgrade"), (b"upgrade", self._upgrade.encode())]
        if length is None:
            headers.append((b"transfer-encoding", b"chunked"))
        elif length or "content-length" in said or head.method in ("POST", "PUT", "PATCH"):
            headers.append((b"content-length", str(length).encode()))
        self.connection.ask(self, head.method.encode(), target_of(head).encode(), headers)

    def goOn(self) -> None:
        """Some of the request was sent."""
        if self._deadline.active():
            self._deadline.reset(self._proxy.answering)

    # The response, see L{hypermail.hive.cell.upstream.Taker}

    def responded(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self._begun(status, lists_of(headers))

    def switched(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self.exchange.read(_Tunnel(self))
        self._begun(101, lists_of(headers, upgrade=True))

    def dataReceived(self, data: bytes) -> None:
        self.exchange.write(data)

    def ended(self, trailers: Iterable[tuple[bytes, bytes]]) -> None:
        self.exchange.connection.transport.unregisterProducer()
        try:
            self.exchange.end(lists_of(trailers))
        except UsageError as error:
            self._proxy.refuse(self.exchange, 502, error.text)

    def failed(self, error: UpstreamFailed) -> None:
        head = self.exchange.head
        repeatable = self._length == 0 and head.method in _REPEATABLE and not self._upgrade
        if self.connection.reused and error.silent and repeatable and not self.exchange.begun:
            self._finish(True)
            return
        self._proxy.refuse(self.exchange, 502, error.text)

    def _begun(self, status: int, headers: Any) -> None:
        if self._deadline.active():
            self._deadline.cancel()
        self.exchange.respond(status, headers)
        self.exchange.connection.transport.registerProducer(self.connection, True)

    def _late(self) -> None:
        self._proxy.refuse(self.exchange, 504, f"no response for {self._proxy.answering:.0f} s")

    def _over(self, answered: bool) -> None:
        self.connection.drop(self)
        self._finish(False)

    def _finish(self, again: bool) -> None:
        if self._deadline.active():
            self._deadline.cancel()
        if not self.done.called:
            self.done.callback(again)


def _passed_on(name: str) -> bool:
    """Whether the web server gets a header."""
    if "_" not in name:
        return name not in _NOT_PASSED_ON
    looks_like = name.replace("_", "-")
    return looks_like not in _SPOKEN_FOR and not looks_like.startswith("x-forwarded-")


class _Paused:
    """Holds back the body of a request while the web server does not take it. @param band: that it comes on."""

    def __init__(self, band: BandProtocol) -> None:
        self._band = band

    def pauseProducing(self) -> None:
        self._band.pauseProducing()

    def resumeProducing(self) -> None:
        self._band.resumeProducing()

    def stopProducing(self) -> None:
        """The connection is lost, and says so itself."""


class _Upload:
    """
    Passes on the body of a request.

    @param begun: whether its head was sent; otherwise it is, once it is known whether there is a body.
    """

    def __init__(self, passing: _Passing, begun: bool) -> None:
        self._passing = passing
        self._begun = begun
        self._chunked = False
        passing.connection.transport.registerProducer(_Paused(passing.exchange.connection), True)

    def dataReceived(self, data: bytes) -> None:
        """See L{hypermail.hive.exchanges.Reader}."""
        passing = self._passing
        passing.goOn()
        self._try(None, partial(passing.connection.body, data))

    def bodyEnded(self, end: End) -> None:
        """See L{hypermail.hive.exchanges.Reader}."""
        passing = self._passing
        passing.goOn()
        passing.connection.transport.unregisterProducer()
        self._try(0, lambda: passing.connection.endBody(pairs_of(end.trailers) if self._chunked else []))

    def lost(self) -> None:
        """See L{hypermail.hive.exchanges.Reader}; L{_Passing} learns of it, too."""

    def _try(self, length: int | None, say: Callable[[], None]) -> None:
        """Say something that may not fit what was said before. @param length: of the body, as far as is known now."""
        try:
            if not self._begun:
                self._begun, self._chunked = True, length is None
                self._passing.begin(length)
            say()
        except h11.LocalProtocolError as error:
            _log.warn("the body of a request is not as long as it should be: {error}", error=error)
            if not self._passing.exchange.over:
                give_up(self._passing.exchange, 400)


class _Tunnel:
    """Passes on what a client says in another protocol."""

    def __init__(self, passing: _Passing) -> None:
        self._connection = passing.connection
        passing.connection.transport.registerProducer(_Paused(passing.exchange.connection), True)

    def dataReceived(self, data: bytes) -> None:
        """See L{hypermail.hive.exchanges.Reader}."""
        self._connection.raw(data)

    def bodyEnded(self, end: End) -> None:
        """See L{hypermail.hive.exchanges.Reader}."""
        self._connection.transport.unregisterProducer()
        self._connection.endRaw()

    def lost(self) -> None:
        """See L{hypermail.hive.exchanges.Reader}; L{_Passing} learns of it, too."""
