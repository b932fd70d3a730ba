"""
A C{twisted.web} resource as a cell's application: C{twisted.web} has a channel of ours in place of its connections, so
that all of its own requests works.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IAddress
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers
from twisted.web.resource import IResource, getChildForRequest
from twisted.web.server import Site

from hypermail.hive.band import End
from hypermail.hive.cell.application import CellApplication, answer, fail, give_up
from hypermail.hive.cell.heads import (
    Peer,
    client_of,
    length_of,
    lists_of,
    pairs_of,
    root_of,
    scheme_of,
    server_of,
    target_of,
)
from hypermail.hive.exchanges import Exchange

#: Bytes of a request's body.
MOST_BODY = 16 << 20


class ResourceApplication(CellApplication):
    """
    Has a resource answer. As everywhere in C{twisted.web} a request is rendered once its body is there, of which large
    ones are kept in a temporary file.
    """

    def __init__(self, resource: IResource, *, most: int = MOST_BODY, parseForms: bool = True) -> None:
        """
        @param most: bytes of a body; longer ones are refused with 413.
        @param parseForms: whether C{request.args} has the fields of forms, too, which takes memory.
        """
        self._resource = resource
        self._most = most
        self._parseForms = parseForms
        self._site: Any = None
        self._root = ""

    def startApplication(self, reactor: Any, root: str) -> None:
        """See L{CellApplication}."""
        self._root = root
        make: Any = _MountedSite
        self._site = make(self._resource, reactor=reactor, parsePOSTFormSubmission=self._parseForms)

    def stopApplication(self) -> Any:
        """See L{CellApplication}."""
        for session in list(self._site.sessions.values()):
            session.expire()

    def __call__(self, exchange: Exchange) -> None:
        """See L{CellApplication}."""
        length = length_of(exchange.head)
        if length is not None and length > self._most:
            answer(exchange, 413)
            return
        channel = ExchangeChannel(exchange, self._site, root_of(exchange.head, self._root), length)
        if length == 0:
            channel.bodyEnded(End({}))
        else:
            exchange.read(channel, self._most)


class _MountedSite(Site):
    """Its resource is at the root that a cell has mounted, and requests know the whole path all the same."""

    def getResourceFor(self, request: Any) -> Any:
        """See L{Site}."""
        request.site = self
        request.sitepath = []
        for _ in range(request.channel.root.count("/")):
            request.prepath.append(request.postpath.pop(0))
        return getChildForRequest(self.resource, request)


class ExchangeChannel:
    """
    What a request of C{twisted.web} has in place of a connection. It is its own transport.

    @ivar exchange: that the request came by.
    @ivar root: that the cell has mounted, without the slash at its end.
    """

    def __init__(self, exchange: Exchange, site: Site, root: str, length: int | None) -> None:
        self.site = site
        self.transport = self
        self.exchange = exchange
        self.root = root
        self._length = length
        self._received = 0
        request = self._request = site.requestFactory(self)
        request.requestHeaders = Headers()
        for name, value in pairs_of(exchange.head.headers):
            request.requestHeaders.addRawHeader(name, value)
        request.gotLength(length)
        request.parseCookies()
        exchange.whenOver().addCallback(self._over)

    # The body, see L{hypermail.hive.exchanges.Reader}

    def dataReceived(self, data: bytes) -> None:
        self._received += len(data)
        self._request.handleContentChunk(data)

    def bodyEnded(self, end: End) -> None:
        head = self.exchange.head
        if self._length is not None and self._received != self._length:
            answer(self.exchange, 400, "the body is not as long as it should be")
            return
        try:
            self._request.requestReceived(
                head.method.encode(), (self.root + target_of(head)).encode(), head.protocol.encode() or b"HTTP/1.1"
            )
        except Exception:
            fail(Failure(), self.exchange)

    def lost(self) -> None:
        """L{_over} tells the request."""

    def _over(self, ended: bool) -> None:
        if not ended or not self._request.finished:
            self._request.connectionLost(Failure(ConnectionDone() if ended else ConnectionLost()))

    # What requests ask of their channel

    def writeHeaders(self, version: bytes, code: bytes, reason: bytes, headers: Headers) -> None:
        self._request.chunked = 0  # bodies are in frames
        pairs = [(name, value) for name, values in headers.getAllRawHeaders() for value in values]
        self.exchange.respond(int(code), lists_of(pairs))

    def write(self, data: bytes) -> None:
        if self.exchange.begun:  # otherwise the head could not be sent, and this is C{twisted.web}'s page about that
            self.exchange.write(data)

    def writeSequence(self, pieces: Any) -> None:
        self.write(b"".join(pieces))

    def requestDone(self, request: Any) -> None:
        if self.exchange.begun:
            self.exchange.end()
        else:
            answer(self.exchange, 500)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        self.exchange.connection.transport.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        self.exchange.connection.transport.unregisterProducer()

    def getPeer(self) -> IAddress:
        return _address(client_of(self.exchange.head))

    def getHost(self) -> IAddress:
        return _address(server_of(self.exchange.head))

    def isSecure(self) -> bool:
        return scheme_of(self.exchange.head) == "https"

    # Once the exchange is over its band may be another one's.

    def pauseProducing(self) -> None:
        if not self.exchange.over:
            self.exchange.connection.pauseProducing()

    def resumeProducing(self) -> None:
        if not self.exchange.over:
            self.exchange.connection.resumeProducing()

    def loseConnection(self) -> None:
        """The response will not be what it should have been; who gets it has to see that."""
        if not self.exchange.over:
            give_up(self.exchange, 500)

    def abortConnection(self) -> None:
        if not self.exchange.over:
            self.exchange.connection.abort()

    def _respondToBadRequestAndDisconnect(self) -> None:
        answer(self.exchange, 400)


def _address(peer: Peer) -> IAddress:
    kind = IPv6Address if ":" in peer.host else IPv4Address
    return kind("TCP", peer.host, peer.port)
