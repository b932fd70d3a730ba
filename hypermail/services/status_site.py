"""
The status of a running program over HTTP: C{GET /} gives L{Status.snapshot} as JSON, C{GET /metrics} what Prometheus
reads.

It tells who talks to whom, and asks nobody who they are: so it listens on loopback unless it is told otherwise, and
pages of other sites cannot read it: no other origin is let in (no CORS), and where it listens on loopback it does not
answer to a name that somebody has made to point there (DNS rebinding).
"""

from __future__ import annotations

import json
import re
from io import BytesIO
from ipaddress import ip_address
from typing import Any, Protocol

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web import http
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from hypermail.services.addresses import Destination
from hypermail.services.ending import cannotStart, causeOf
from hypermail.services.status import MISDIRECTED

PATIENCE = 10
"""Seconds that a connection may be idle."""

LONGEST = 30
"""Seconds that a connection may last, however busy it is."""

MOST = 64
"""Connections at one time; others are closed as they come."""

TEXT = "text/plain; charset=utf-8"
WITHOUT_METRICS = "Prometheus metrics need the extra \"metrics\": pip install 'hypermail[metrics]'"

_HOST = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z.-]+)(?::[0-9]*)?")


def namesLoopback(field: bytes) -> bool:
    """Whether the C{Host} field of a request (RFC 9110 §7.2) names this machine by itself, and not by a name of DNS."""
    match = _HOST.fullmatch(field)
    if match is None:
        return False
    host = match[1].decode("ascii").strip("[]")
    try:
        return host.lower() == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


class Told(Protocol):
    """What is shown, as a L{hypermail.services.status.Status} is."""

    def snapshot(self) -> dict[str, Any] | Deferred[dict[str, Any]]:
        """What there is to tell now."""


class StatusPages(Resource):
    """
    All that there is to be seen.

    @param status: what is told.
    @param local: whether only those are answered that ask for this machine by itself.
    """

    isLeaf = True

    def __init__(self, status: Told, *, local: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._status = status
        self._local = local

    def render(self, request: Request) -> int:
        """See L{twisted.web.resource.IResource}."""
        answering = Deferred.fromCoroutine(self._answer(request))
        gone = request.notifyFinish()
        gone.addErrback(lambda _: answering.cancel())
        answering.addCallback(self._write, request)
        answering.addErrback(lambda failure: failure.trap(CancelledError))
        return NOT_DONE_YET

    def _write(self, answer: tuple[int, str, bytes], request: Request) -> None:
        code, kind, body = answer
        request.setResponseCode(code, b"Misdirected Request" if code == MISDIRECTED else None)
        for name, value in (
            ("Content-Type", kind),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
        ):
            request.setHeader(name, value)
        request.write(body)  # which does not write it in answer to HEAD
        request.finish()

    async def _answer(self, request: Request) -> tuple[int, str, bytes]:
        """Code, content type and body."""
        if self._local and not namesLoopback(request.requestHeaders.getRawHeaders(b"host", [b""])[0]):
            return _line(MISDIRECTED, "this is to be asked for as localhost, 127.0.0.1 or [::1]")
        if request.method not in (b"GET", b"HEAD"):
            request.setHeader("Allow", "GET, HEAD")
            return _line(http.NOT_ALLOWED, "there is nothing to be done here but to look (GET)")
        if request.path == b"/":
            content = json.dumps(await self._snapshot(), allow_nan=False)  # indented it would take thrice the time
            return http.OK, "application/json", content.encode("ascii") + b"\n"
        if request.path == b"/metrics":
            return await self._metrics(request)
        return _line(http.NOT_FOUND, "there are only / and /metrics")

    async def _metrics(self, request: Request) -> tuple[int, str, bytes]:
        try:
            from hypermail.services.metrics import exposition
        except ModuleNotFoundError:
            return _line(http.NOT_IMPLEMENTED, WITHOUT_METRICS)
        accept = (request.getHeader(b"accept") or b"").decode("latin-1")
        kind, body = exposition(await self._snapshot(), accept)
        return http.OK, kind, body

    async def _snapshot(self) -> dict[str, Any]:
        told = self._status.snapshot()
        return await told if isinstance(told, Deferred) else told


def _line(code: int, text: str) -> tuple[int, str, bytes]:
    return code, TEXT, f"{text}\n".encode()


class StatusRequest(Request):
    """
    A request whose body, which nobody wants, is not kept: Twisted would write a large one to the disk.

    It is the only one of its connection: what waits behind it would be answered before the client has read anything,
    each with another snapshot.
    """

    def gotLength(self, length: int | None) -> None:
        """The head is complete; a body may follow."""
        self.content = BytesIO()
        self.channel.persistent = False
        self.responseHeaders.setRawHeaders(b"Connection", [b"close"])

    def handleContentChunk(self, data: bytes) -> None:
        """A piece of it."""


class StatusSite(Site):
    """The pages, without a line in the log for each look at them."""

    noisy = False

    def __init__(self, status: Told, reactor: Any, *, local: bool) -> None:
        """
        @param status: what is told.
        @param local: see L{StatusPages}.
        """
        pages = StatusPages(status, local=local)
        super().__init__(pages, StatusRequest, timeout=PATIENCE, reactor=reactor)  # type: ignore[no-untyped-call]

    def log(self, request: http.Request) -> None:
        """See L{http.HTTPFactory}: nothing is written."""


class _Visit(ProtocolWrapper):
    """A connection that ends in time."""

    def makeConnection(self, transport: Any) -> None:
        """See L{ProtocolWrapper}."""
        visits: Any = self.factory
        self._end = visits.reactor.callLater(LONGEST, transport.abortConnection)
        super().makeConnection(transport)  # type: ignore[no-untyped-call]

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See L{ProtocolWrapper}."""
        if self._end.active():
            self._end.cancel()
        super().connectionLost(reason)  # type: ignore[no-untyped-call]


class Visits(WrappingFactory):
    """No more than L{MOST} connections, none of which lasts longer than L{LONGEST}."""

    noisy = False
    protocol = _Visit

    def __init__(self, site: StatusSite, reactor: Any) -> None:
        super().__init__(site)  # type: ignore[no-untyped-call]
        self.reactor = reactor

    def buildProtocol(self, addr: Any) -> Any:
        """See L{WrappingFactory}."""
        return None if len(self.protocols) >= MOST else super().buildProtocol(addr)


class StatusService(Service):
    """
    Shows a status while it runs.

    @param reactor: of the program.
    @param status: what is shown.
    @param where: the address and port to listen on.
    """

    name = "hypermail status"
    _log = Logger()

    def __init__(self, reactor: Any, status: Told, where: Destination) -> None:
        self._reactor = reactor
        self._where = where
        self._local = ip_address(where.host).is_loopback
        self._visits = Visits(StatusSite(status, reactor, local=self._local), reactor)
        self._port: IListeningPort | None = None

    def privilegedStartService(self) -> None:
        """Bind the socket, which may need privileges; C{twistd} gives them up afterwards."""
        self._bind()

    def startService(self) -> None:
        """
        Begin; C{twist} calls this alone.

        @raise hypermail.services.ending.CannotStart: when it cannot.
        """
        Service.startService(self)
        if self._port is None:
            self._bind()

    def _bind(self) -> None:
        host, port = self._where
        try:
            self._port = self._reactor.listenTCP(port, self._visits, interface=host)
        except CannotListenError as error:
            cannotStart(self._log, f"--status-port: cannot listen on TCP port {port} of {host}: {causeOf(error)}")
        bound: Any = self._port.getHost()
        self._log.info("status at http://{where}/", where=Destination(host, bound.port))
        if not self._local:
            self._log.warn("anybody who reaches this address may read who has sessions here")

    def stopService(self) -> Deferred[Any] | None:
        """Close the socket."""
        Service.stopService(self)
        port, self._port = self._port, None
        return None if port is None else maybeDeferred(port.stopListening)
