"""
One request on its way: between a client's call and a cell's band (C{docs/protocol/hive}, "Requests").

Nothing is kept here. Who is slow slows down the other one: a client the cell that writes a response, a cell the client
whose body it reads.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from hypermail.hive.access import Access
from hypermail.hive.band import End, Response
from hypermail.hive.bands import Band
from hypermail.hive.errors import FrameInvalid, RequestRefused
from hypermail.hive.exchanges import UNLIMITED
from hypermail.hive.fields import Lists
from hypermail.hive.front.calls import Call
from hypermail.hive.front.pages import send
from hypermail.hive.headers import checked, end_to_end, trailing
from hypermail.hive.heads import Head
from hypermail.hive.leashes import Member
from hypermail.hive.mounts import Pattern

#: May be sent twice, as nothing more happens then (RFC 9110 §9.2.2).
_IDEMPOTENT = frozenset(("GET", "HEAD", "OPTIONS", "PUT", "DELETE"))

_BAD_REQUEST = 400
_BAD_GATEWAY = 502
_CONTENT_TOO_LARGE = 413


class Route(Protocol):
    """
    Which way a request may take.

    @ivar pattern: the mount that it is for, once a cell was found.
    """

    pattern: Pattern | None

    def next(self) -> Member | None:
        """The cell to try; None when there is no other."""

    def again(self) -> bool:
        """All may be tried anew, the last one too. @return: whether they are to be."""

    def failed(self, cell: Member) -> None:
        """It has not answered."""

    def cookies(self, cell: Member) -> tuple[str, ...]:
        """What the client is to be told, so that its next requests take the same way: C{set-cookie}."""

    def done(self, relay: Relay) -> None:
        """All is over."""


class Relay:
    """
    Answers a L{Call} and asks a L{Band}; it is also the producer of the request's body.

    @ivar call: from the client.
    @ivar head: of the request.
    @ivar status: that was sent to the client; 0 when none was.
    @ivar size: bytes of the response's body, so far.
    @ivar cell: that has it; None when none has.
    @ivar reason: why the response is not a cell's, or not whole; else empty.
    """

    __slots__ = (
        "_band",
        "_held",
        "_most",
        "_over",
        "_read",
        "_route",
        "_sending",
        "_upgrade",
        "_upgraded",
        "_waiting",
        "call",
        "cell",
        "head",
        "reason",
        "size",
        "status",
    )

    _log = Logger()

    def __init__(self, call: Call, head: Head, route: Route) -> None:
        self.call = call
        self.head = head
        self.status = 0
        self.size = 0
        self.cell: Member | None = None
        self.reason = ""
        self._route = route
        self._band: Band | None = None
        self._waiting: Deferred[Band] | None = None
        self._upgrade = False  # whether the cell may go on in another protocol
        self._held = False  # whether the end of the body is held back, since it may
        self._upgraded = False  # whether it has
        self._sending = False  # whether the body of the request goes to the cell
        self._most = 0  # bytes of it that the cell takes still
        self._read = False  # whether the client was asked for it, so that it may come, once, at any time
        self._over = False

    # A way for it

    def send(self, failed: RequestRefused | None = None) -> None:
        """Have a cell answer. @param failed: what to say if there is none."""
        while (cell := self._route.next()) is not None:
            self.cell = cell
            waiting = cell.garden.lend()
            if not waiting.called:
                self._waiting = waiting
                waiting.addCallbacks(self._lent, self._notLent)
                return
            lent: list[Any] = []
            waiting.addBoth(lent.append)
            if not isinstance(lent[0], Failure):
                self._lent(lent[0])
                return
            failed = self._refusal(cell, lent[0])
        self.cell = None
        self.refuse(failed or RequestRefused(_BAD_GATEWAY, "no cell has answered"))

    def _refusal(self, cell: Member, failure: Failure) -> RequestRefused:
        """What came instead of a band."""
        self._route.failed(cell)
        if failure.check(RequestRefused) is None:
            self._log.failure("a garden has failed", failure)
            return RequestRefused(_BAD_GATEWAY, "the cell cannot be asked")
        assert isinstance(failure.value, RequestRefused)
        return failure.value

    def _notLent(self, failure: Failure) -> None:
        self._waiting = None
        if failure.check(CancelledError) is None and self.cell is not None:
            self.send(self._refusal(self.cell, failure))

    def _lent(self, band: Band) -> None:
        self._waiting = None
        assert self.cell is not None and self._route.pattern is not None
        told = self.head.told(self._route.pattern, extended=self.cell.extended, has_body=self.call.has_body)
        self._band = band
        self._held = False
        self._upgrade = bool(self.head.upgrade) and self.cell.extended and not self.call.has_body
        band.ask(self, told, self._upgrade)

    # What the cell says

    def bodyWanted(self, most: int) -> None:
        """See L{hypermail.hive.bands.Asker}."""
        assert self._band is not None
        if self._upgrade and most == UNLIMITED:
            self._held = True  # the head of the response says whether that is a body, or what follows it
        elif not self.call.has_body:
            self._band.endBody()
        elif self.head.length is not None and self.head.length > most:
            self.refuse(_too_long(most))
        else:
            self._most = most
            self._read = True
            self._feed()
            self.call.readBody()

    def responded(self, response: Response) -> None:
        """See L{hypermail.hive.bands.Asker}."""
        assert self._band is not None and self.cell is not None
        self.cell.health.succeeded()
        self.status = response.status
        if response.upgraded:
            self._most = UNLIMITED
            self._upgraded = True
            self._feed()
            protocol = response.headers.get("upgrade", (self.head.upgrade,))
            self.call.upgrade({**end_to_end(response.headers), "upgrade": protocol})
            return
        if self._held:
            self._band.endBody()
        headers = dict(response.headers)
        headers.pop("content-length", None)  # the front says it
        cookies = self._route.cookies(self.cell)
        if cookies:
            headers["set-cookie"] = headers.get("set-cookie", ()) + cookies
        self.call.respond(response.status, headers, response.length)

    def dataReceived(self, data: bytes) -> None:
        """See L{hypermail.hive.bands.Asker}."""
        self.size += len(data)
        self.call.write(data)

    def ended(self, end: End) -> None:
        """See L{hypermail.hive.bands.Asker}."""
        self._leave()
        if end.nothing:
            self.refuse(RequestRefused(_BAD_GATEWAY, "the cell has answered nothing"))
        else:
            self.call.end({} if self._upgraded else trailing(end.trailers))
            self._finish()

    def lost(self) -> None:
        """See L{hypermail.hive.bands.Asker}."""
        assert self.cell is not None
        self._leave()
        if self.status:
            self._cut("the cell was lost before its response was whole")
            return
        self._route.failed(self.cell)
        if self.head.method in _IDEMPOTENT and not self._read and self._route.again():
            self.send()
        else:
            self.refuse(RequestRefused(_BAD_GATEWAY, "the cell was lost before it has answered"))

    # What the client says

    def bodyReceived(self, data: bytes) -> None:
        """See L{hypermail.hive.front.calls.Answerer}."""
        if self._band is None:
            return
        self._most -= len(data)
        if self._most >= 0:
            self._band.body(data)
        elif self.status:
            self._cut("the body of the request is longer than the cell takes")
        else:
            self.refuse(_too_long(self._most + len(data)))

    def bodyEnded(self, trailers: Lists) -> None:
        """See L{hypermail.hive.front.calls.Answerer}."""
        if self._band is None or not self._sending:
            return
        try:
            found = trailing(checked(trailers))
        except FrameInvalid as error:  # the cell would break off its band
            if self.status:
                self._cut(error.text)
            else:
                self.refuse(RequestRefused(_BAD_REQUEST, error.text))
            return
        self._starve()
        self._band.endBody(found)

    def pauseResponse(self) -> None:
        """See L{hypermail.hive.front.calls.Answerer}."""
        if self._band is not None:
            self._band.connection.pauseProducing()

    def resumeResponse(self) -> None:
        """See L{hypermail.hive.front.calls.Answerer}."""
        if self._band is not None:
            self._band.connection.resumeProducing()

    def clientLost(self) -> None:
        """See L{hypermail.hive.front.calls.Answerer}."""
        self.reason = "the client has gone"
        self._giveUp()
        self._finish()

    # What the way to the cell says, of the request's body (L{twisted.internet.interfaces.IPushProducer})

    def pauseProducing(self) -> None:
        """The cell is slow."""
        self.call.pauseBody()

    def resumeProducing(self) -> None:
        """Go on."""
        self.call.resumeBody()

    def stopProducing(self) -> None:
        """The connection is lost, as will be said elsewhere."""

    # The end

    def redirect(self, status: int, location: str) -> None:
        """Answer in place of a cell that the client is to go elsewhere."""
        self.status = status
        self.call.respond(status, {"location": (location,), "content-length": ("0",)}, 0)
        self.call.end({})
        self._finish()

    def refuse(self, error: RequestRefused) -> None:
        """Answer in place of a cell."""
        self._giveUp()
        self.status = error.status
        self.reason = error.text
        self.size = send(self.call, error.status, error.text).size
        self._finish()

    def access(self, when: datetime, seconds: float) -> Access:
        """What is to be remembered of it. @param when: it came. @param seconds: that it took."""
        head = self.head
        major, minor = head.arrival.version
        return Access(
            client=head.client.address,
            when=when,
            host=head.client.host,
            method=head.method,
            target=str(head.target),
            protocol=f"HTTP/{major}.{minor}",
            status=self.status,
            size=self.size,
            referer=_first(head.headers, "referer"),
            agent=_first(head.headers, "user-agent"),
            seconds=seconds,
            cell="" if self.cell is None else self.cell.name,
            reason=self.reason,
        )

    def _cut(self, reason: str) -> None:
        """The response cannot be whole any more, and the client has to see that."""
        self.reason = reason
        self._giveUp()
        self.call.abort()
        self._finish()

    def _giveUp(self) -> None:
        """The cell need not go on."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.cancel()
        band = self._band
        self._leave()
        if band is not None:
            band.giveUp()

    def _leave(self) -> None:
        """The band is someone else's from now on, or nobody's."""
        self._starve()
        self._band = None

    def _feed(self) -> None:
        """The body of the request goes to the cell."""
        assert self._band is not None
        self._sending = True
        self._band.connection.transport.registerProducer(self, True)

    def _starve(self) -> None:
        """It does no more."""
        if self._sending and self._band is not None:
            self._band.connection.transport.unregisterProducer()
        self._sending = False

    def _finish(self) -> None:
        if not self._over:
            self._over = True
            self._route.done(self)


def _too_long(most: int) -> RequestRefused:
    return RequestRefused(_CONTENT_TOO_LARGE, f"the body of the request has more than {most:,} bytes")


def _first(headers: Lists, name: str) -> str:
    values = headers.get(name)
    return values[0] if values else ""
