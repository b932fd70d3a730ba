"""
Connections to a local web server, HTTP/1.1 (RFC 9112), and a pool of those that are kept for further requests.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from typing import Protocol as Interface
from urllib.parse import urlsplit

import h11
from twisted.internet import ssl
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as TakenTooLong
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint, wrapClientTLS
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress, IDelayedCall, IStreamClientEndpoint, ITCPTransport
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from hypermail.errors import HypermailError, Reason, UsageError

#: s for a connection to open.
CONNECTING = 5.0
#: Connections that are kept although nobody needs them, and for how many s.
MOST_IDLE = 32
IDLE = 30.0
#: Bytes of the head of a response.
MOST_HEAD = 64 << 10

_SWITCHED = h11.SWITCHED_PROTOCOL
_PORTS = {"http": 80, "https": 443}


class UpstreamFailed(HypermailError):
    """
    A web server has not answered as it should.

    @ivar silent: whether it has said nothing at all.
    """

    default_code = Reason.RESET

    def __init__(self, text: str, silent: bool = False) -> None:
        super().__init__(text)
        self.silent = silent


class Upstream:
    """
    Where a web server is.

    @ivar name: as it was written.
    @ivar authority: what its C{Host} is when a client has named none.
    """

    def __init__(self, text: str) -> None:
        """
        @param text: C{http://HOST[:PORT]}, C{https://HOST[:PORT]}, or C{unix:PATH}.
        @raise UsageError: when it is none of these.
        """
        self.name = text
        self.path = ""
        if text.startswith("unix:"):
            self.path = text.removeprefix("unix:")
            self.authority = "localhost"
            if not self.path or "\0" in self.path:
                raise UsageError(f"{text!r} has no path of a socket: write unix:PATH")
            return
        wrong = UsageError(f"{text!r} is no web server: write http://HOST:PORT, https://HOST:PORT or unix:PATH")
        try:
            url = urlsplit(text)
            port = url.port
        except ValueError:
            raise wrong from None
        if url.scheme not in _PORTS or not url.hostname or not url.netloc.isascii() or port == 0:
            raise wrong
        if url.path not in ("", "/") or url.query or url.fragment or "@" in url.netloc:
            raise UsageError(f"{text!r}: requests go to the root of a web server: leave out what is not its address")
        self.authority = url.netloc
        self._secure = url.scheme == "https"
        self._host, self._port = url.hostname, port or _PORTS[url.scheme]

    def endpoint(self, reactor: Any) -> IStreamClientEndpoint:
        """How to get there."""
        if self.path:
            return UNIXClientEndpoint(reactor, self.path, timeout=CONNECTING)
        there = HostnameEndpoint(reactor, self._host, self._port, timeout=CONNECTING)
        return wrapClientTLS(ssl.optionsForClientTLS(self._host), there) if self._secure else there


class Taker(Interface):
    """Takes a response. After C{ended} or C{failed} nothing follows, but for C{switched}: then C{dataReceived} may."""

    def responded(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Its head."""

    def switched(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """It is no HTTP from here on."""

    def dataReceived(self, data: bytes) -> None:
        """Some of its body."""

    def ended(self, trailers: Iterable[tuple[bytes, bytes]]) -> None:
        """It is over."""

    def failed(self, error: UpstreamFailed) -> None:
        """It will not come, or not all of it."""


class UpstreamConnection(Protocol):
    """
    One connection, which carries one request after the other.

    @ivar reused: whether it has carried one before: the server may have closed it meanwhile.
    """

    transport: Any

    def __init__(self, pool: UpstreamPool) -> None:
        self.reused = False
        self._pool = pool
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MOST_HEAD)
        self._taker: Taker | None = None
        self._paused = False
        self._heard = False
        self._lost = False

    def ask(self, taker: Taker, method: bytes, target: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        """
        Send the head of a request.

        @raise h11.LocalProtocolError: when it could not be sent.
        """
        self._taker = taker
        self._heard = False
        self._send(h11.Request(method=method, target=target, headers=headers))

    def body(self, data: bytes) -> None:
        """Some of its body. @raise h11.LocalProtocolError: when it is longer than the head has said."""
        self._send(h11.Data(data=data))

    def endBody(self, trailers: list[tuple[bytes, bytes]]) -> None:
        """Nothing follows. @raise h11.LocalProtocolError: when it is shorter than the head has said."""
        self._send(h11.EndOfMessage(headers=trailers))

    def raw(self, data: bytes) -> None:
        """Bytes of another protocol."""
        self.transport.write(data)

    def endRaw(self) -> None:
        """Nothing follows of them."""
        close = getattr(self.transport, "loseWriteConnection", self.transport.loseConnection)
        close()

    def drop(self, taker: Taker) -> None:
        """Somebody does not want his response any more; harmless when he has it."""
        if self._taker is taker:
            self.leave()

    def leave(self) -> None:
        """Nobody needs it any more."""
        self._taker = None
        self.transport.abortConnection()

    def pauseProducing(self) -> None:
        """Hold back the response."""
        if not self._paused and not self._lost:
            self._paused = True
            self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """... no longer."""
        if self._paused and not self._lost:
            self._paused = False
            self.transport.resumeProducing()
            self._read()

    def stopProducing(self) -> None:
        """Who takes the response is lost, and says so itself."""

    # What Twisted calls

    def connectionMade(self) -> None:
        """See L{Protocol}."""
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)  # requests are written in several pieces

    def dataReceived(self, data: bytes) -> None:
        """See L{Protocol}."""
        self._heard = True
        if self._taker is None:  # out of turn
            self.transport.abortConnection()
        elif self._http.their_state is _SWITCHED:
            self._taker.dataReceived(data)
        else:
            self._http.receive_data(data)
            self._read()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See L{Protocol}."""
        self._lost = True
        self._paused = False
        self._pool.forget(self)
        if self._taker is None:
            return
        if self._http.their_state is _SWITCHED:
            taker, self._taker = self._taker, None
            taker.ended(())
            return
        if reason.check(ConnectionDone):
            self._http.receive_data(b"")
        self._read()
        if self._taker is not None:  # RFC 9112 §8: a response without a length is whole only if it was closed in order
            self._fail("the connection was lost")

    def _send(self, event: Any) -> None:
        data = self._http.send(event)
        if data:
            self.transport.write(data)

    def _read(self) -> None:
        while self._taker is not None and not self._paused:
            try:
                event = self._http.next_event()
                if isinstance(event, h11.ConnectionClosed):
                    self._fail("it has closed the connection")
                    return
                if event is h11.NEED_DATA or event is h11.PAUSED:
                    return
                self._take(self._taker, event)
            except (h11.RemoteProtocolError, UsageError) as error:  # the latter for what h11 lets pass
                self._fail(f"its response is wrong: {error}")
                return

    def _take(self, taker: Taker, event: Any) -> None:
        if isinstance(event, h11.Response):
            taker.responded(event.status_code, list(event.headers))
        elif isinstance(event, h11.Data):
            taker.dataReceived(bytes(event.data))
        elif isinstance(event, h11.EndOfMessage):
            self._end(taker, list(event.headers))
        elif isinstance(event, h11.InformationalResponse) and event.status_code == 101:
            rest, _ = self._http.trailing_data
            taker.switched(list(event.headers))
            if rest and self._taker is not None:
                taker.dataReceived(bytes(rest))

    def _end(self, taker: Taker, trailers: list[tuple[bytes, bytes]]) -> None:
        self._taker = None
        taker.ended(trailers)
        # A response that ended with its connection leaves h11 as if that went on.
        if not self._lost and self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
            self.reused = True
            if not self._http.trailing_data[0]:
                self._pool.give_back(self)
                return
        self.transport.abortConnection()

    def _fail(self, text: str) -> None:
        taker, self._taker = self._taker, None
        self.transport.abortConnection()
        if taker is not None:
            taker.failed(UpstreamFailed(text, not self._heard))


class UpstreamPool:
    """
    Connections to one web server.

    @ivar idle: those that nobody needs now, and when each is closed.
    """

    def __init__(self, reactor: Any, endpoint: IStreamClientEndpoint) -> None:
        self.idle: dict[UpstreamConnection, IDelayedCall] = {}
        self._reactor = reactor
        self._endpoint = endpoint

    def take(self, fresh: bool) -> Deferred[UpstreamConnection]:
        """
        A connection for a request.

        @param fresh: a new one, please.
        @return: errbacks with what the endpoint has failed with, or with L{TimeoutError<twisted.internet.defer>}.
        """
        if not fresh and self.idle:
            connection, closing = self.idle.popitem()
            closing.cancel()
            taken: Deferred[UpstreamConnection] = Deferred()
            taken.callback(connection)
            return taken
        connecting: Deferred[Any] = self._endpoint.connect(_Connections(self))
        return connecting.addTimeout(CONNECTING, self._reactor, onTimeoutCancel=_tooSlow)

    def give_back(self, connection: UpstreamConnection) -> None:
        """It can carry another request."""
        if len(self.idle) >= MOST_IDLE:
            connection.leave()
        else:
            self.idle[connection] = self._reactor.callLater(IDLE, connection.leave)

    def forget(self, connection: UpstreamConnection) -> None:
        """It is closed."""
        closing = self.idle.pop(connection, None)
        if closing is not None and closing.active():
            closing.cancel()

    def close(self) -> None:
        """Close those that nobody needs."""
        for connection in list(self.idle):
            connection.leave()


def _tooSlow(_: object, seconds: float) -> Failure:
    """Endpoints that are cancelled fail in ways of their own."""
    return Failure(TakenTooLong(f"none for {seconds:.0f} s"))


class _Connections(Factory):
    noisy = False

    def __init__(self, pool: UpstreamPool) -> None:
        self._pool = pool

    def buildProtocol(self, addr: IAddress | None) -> UpstreamConnection:
        """See L{Factory}."""
        return UpstreamConnection(self._pool)
