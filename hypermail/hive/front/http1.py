"""
HTTP/1.1, and 1.0, as clients speak it (C{docs/protocol/hive}, "Clients"): h11 reads and writes it.

C{twisted.web}'s channels are not used: they give bodies early only by private means, drop trailers, say 100-continue to
bodies that nobody wants, and their HTTP/2 has no graceful end, sends one frame a turn of the reactor, and buffers
without limit for a client that takes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import h11
from twisted.logger import Logger

from hypermail.hive.fields import Lists
from hypermail.hive.front.answering import arrival_of, served
from hypermail.hive.front.calls import NOBODY, Answerer
from hypermail.hive.front.http1_call import HTTP1Call
from hypermail.hive.front.line import LINGER, LINGERING, Line
from hypermail.hive.front.pages import page
from hypermail.hive.front.wire import LARGEST_HEAD, MOST_FIELDS, PHRASES, flattened, gathered

if TYPE_CHECKING:
    from hypermail.hive.front.front import Front

#: Bytes of the client's that wait, while a request is answered or its body is not wanted, until no more are read.
HELD = 1 << 16

_CLOSE = (b"connection", b"close")


class HTTP1:
    """
    A connection: requests, one after the other.

    @param line: the connection.
    @param front: whose it is.
    """

    _log = Logger()

    def __init__(self, line: Line, front: Front) -> None:
        self._line = line
        self._front = front
        self._h11 = h11.Connection(h11.SERVER, LARGEST_HEAD)
        self._arrival = arrival_of(line.transport, front.scheme, (1, 1))
        self._later: list[bytes] = []  # bytes of the client's for which it is too early
        self._held = 0  # how many
        self._stopping = False
        self._advancing = False
        self._begun = False  # whether there is something of a head
        self._begin(None)

    def _begin(self, call: HTTP1Call | None) -> None:
        """Another call, or none."""
        self._call = call
        self._answerer: Answerer = NOBODY
        self._wanted = False  # the request's body
        self._paused = False
        self._received = call is not None and not call.has_body  # all of the request
        self._ending: Lists | None = None  # that the answerer has still to be told of
        self._answered = False
        self._bodyless = False  # the response, whatever is written
        self._chunked = False  # likewise, so that it may have trailers
        self._raw = False  # after an upgrade
        self._drained = 0

    # What the connection says

    def dataReceived(self, data: bytes) -> None:
        """See L{hypermail.hive.front.line.Speaker}."""
        self._later.append(data)
        self._held += len(data)
        if self._wanted and not (self._received or self._paused or self._answered):
            self._line.expect(self._front.timeouts.read)
        elif self._raw and self._answered:
            self._line.expect(self._front.timeouts.read)
        self._advance()
        if self._held > HELD:
            self._line.pause()

    def inputEnded(self) -> None:
        """See L{hypermail.hive.front.line.Speaker}. Who wants no response does it, and hardly anybody else."""
        if self._raw:
            self._received = True
            self._ending = {}
            self._advance()
        elif self._call is None or self._answered:
            self._line.leave()
        else:
            self._line.cut()

    def lost(self) -> None:
        """See L{hypermail.hive.front.line.Speaker}."""
        self._later.clear()
        self._finish().clientLost()

    def outputBlocked(self, blocked: bool) -> None:
        """See L{hypermail.hive.front.line.Speaker}."""
        if blocked:
            self._answerer.pauseResponse()
        else:
            self._answerer.resumeResponse()
            self._advance()

    def expired(self) -> None:
        """See L{hypermail.hive.front.line.Speaker}."""
        if self._call is None:
            if self._begun:
                self._refuse(408, "the head takes too long")
            else:
                self._line.leave()
        elif self._raw:
            self._line.cut()
        elif self._answered:
            self._line.leave()
        else:
            self._refuse(408, "the body takes too long")

    def stop(self) -> None:
        """See L{hypermail.hive.front.line.Speaker}."""
        self._stopping = True
        if self._call is None or (self._answered and not self._raw):
            self._line.leave()

    # What the call says

    def readBody(self) -> None:
        """See L{Call.readBody}."""
        self._wanted = True
        if self._received:
            return
        if self._h11.they_are_waiting_for_100_continue:
            self._send(h11.InformationalResponse, status_code=100, headers=[], reason=b"Continue")
        self._line.expect(self._front.timeouts.read)
        self._advance()

    def pauseBody(self) -> None:
        """See L{Call.pauseBody}."""
        self._paused = True
        if not self._received:
            self._line.expect(None)

    def resumeBody(self) -> None:
        """See L{Call.resumeBody}."""
        if self._paused:
            self._paused = False
            if self._wanted and not self._received:
                self._line.expect(self._front.timeouts.read)
            self._advance()

    def respond(self, status: int, headers: Lists, length: int | None) -> None:
        """See L{Call.respond}."""
        fields = flattened(headers)
        if "date" not in headers:
            fields.append((b"date", self._front.dates.now()))
        head = self._call is not None and self._call.method == "HEAD"
        self._bodyless = head or status in (204, 304)
        if length is not None and status != 204 and not (status == 304 and not length):  # RFC 9110 §8.6
            fields.append((b"content-length", b"%d" % length))
        # A client that was not told to go on may send the body or not: nobody could tell what comes next.
        if self._stopping or self._h11.they_are_waiting_for_100_continue:
            fields.append(_CLOSE)
        self._chunked = length is None and not self._bodyless and self._h11.their_http_version != b"1.0"
        self._send(h11.Response, status_code=status, headers=fields, reason=PHRASES.get(status, b""))

    def upgrade(self, headers: Lists) -> None:
        """See L{Call.upgrade}."""
        fields = [(name.encode(), value.encode()) for name, values in headers.items() for value in values]
        fields += [(b"connection", b"upgrade"), (b"date", self._front.dates.now())]
        self._send(h11.InformationalResponse, status_code=101, headers=fields, reason=PHRASES[101])
        self._raw = True
        self._received = False
        if rest := self._h11.trailing_data[0]:
            self._later.insert(0, rest)
        self._advance()

    def write(self, data: bytes) -> None:
        """See L{Call.write}."""
        if self._raw:
            if not self._answered:
                self._line.write(data)
        elif data and not self._bodyless:
            self._send(h11.Data, data=data)

    def end(self, trailers: Lists) -> None:
        """See L{Call.end}."""
        if self._raw:
            self._end_raw()
            return
        fields = flattened(trailers) if self._chunked else []
        if not self._send(h11.EndOfMessage, headers=fields):
            return
        self._finish()
        self._answered = True
        if self._stopping or self._h11.our_state is not h11.DONE:
            self._line.leave()
            return
        if not self._received:
            self._line.expect(LINGER)
        self._advance()

    def abort(self) -> None:
        """See L{Call.abort}."""
        self._finish()
        self._line.cut()

    # Reading

    def _advance(self) -> None:
        """Do what can be done with what has come. What is called may call this again, which the loop sees to."""
        if self._advancing:
            return
        self._advancing = True
        try:
            while not self._line.over and self._step():
                pass
        finally:
            self._advancing = False

    def _step(self) -> bool:
        if self._raw:
            return self._read_raw()
        if self._call is None:
            # As long as the client does not take what it was answered it gets no more answers.
            return not self._line.blocked and self._read_head()
        if not self._received:
            reads = self._answered or (self._wanted and not self._paused)
            return reads and self._read_body()
        if self._answered:
            return self._next()
        if self._ending is None or self._paused:
            return False
        ending, self._ending = self._ending, None
        self._answerer.bodyEnded(ending)
        return True

    def _feed(self) -> None:
        if self._later:
            self._h11.receive_data(self._take_later())

    def _take_later(self) -> bytes:
        later = self._later[0] if len(self._later) == 1 else b"".join(self._later)
        self._later.clear()
        self._held = 0
        self._line.resume()
        return later

    def _read_head(self) -> bool:
        self._feed()
        if not self._begun:
            if not self._first_byte():
                return False
            self._begun = True
            self._line.expect(self._front.timeouts.header)
        try:
            event = self._h11.next_event()
        except h11.RemoteProtocolError as error:
            status = error.error_status_hint
            if status == 431 and b"\n" not in self._h11.trailing_data[0]:
                status = 414
            self._refuse(status, str(error))
            return False
        if type(event) is not h11.Request:
            return False
        self._take_head(event)
        return True

    def _first_byte(self) -> bool:
        """Whether a head has begun. Empty lines before it are passed over (RFC 9112 §2.2)."""
        waiting = self._h11.trailing_data[0]
        if waiting[:1] in (b"\r", b"\n"):
            waiting = waiting.lstrip(b"\r\n")
            self._h11 = h11.Connection(h11.SERVER, LARGEST_HEAD)
            if waiting:
                self._h11.receive_data(waiting)
        return bool(waiting)

    def _take_head(self, request: h11.Request) -> None:
        fields = request.headers.raw_items()
        headers = gathered(fields)
        low = {name.lower(): values for name, values in headers.items()}
        chunked = "transfer-encoding" in low
        old = request.http_version == b"1.0"
        if not request.http_version.startswith(b"1."):
            self._refuse(505, "it is another HTTP")
        elif len(fields) > MOST_FIELDS or _size(request, fields) > LARGEST_HEAD:
            self._refuse(431, "the head is too large")
        elif chunked and (old or "content-length" in low):  # RFC 9112 §6.1: others may see another body
            self._refuse(400, "it is chunked, and should not be")
        else:
            has_body = chunked or int(low.get("content-length", ("0",))[0]) > 0
            if "upgrade" in low and (has_body or old):  # RFC 9110 §7.8
                headers = {name: values for name, values in headers.items() if name.lower() != "upgrade"}
            self._serve(request, headers, has_body)

    def _serve(self, request: h11.Request, headers: Lists, has_body: bool) -> None:
        if not has_body:
            self._h11.next_event()  # that this was all
        arrival = self._arrival
        if request.http_version == b"1.0":
            arrival = arrival._replace(version=(1, 0))
        call = HTTP1Call(self, arrival, request.method.decode(), request.target, headers, has_body)
        self._begun = False
        self._begin(call)
        self._line.expect(None)
        answerer = served(self._front.serve, call)
        if call.speaker is not None:
            self._answerer = answerer
            if self._line.blocked:
                answerer.pauseResponse()

    def _read_body(self) -> bool:
        self._feed()
        pieces = []
        try:
            while type(event := self._h11.next_event()) is h11.Data:
                pieces.append(event.data)
        except h11.RemoteProtocolError as error:
            self._refuse(error.error_status_hint, str(error))
            return False
        if type(event) is h11.EndOfMessage:
            if len(event.headers) > MOST_FIELDS:
                self._refuse(431, "there are too many trailers")
                return False
            self._received = True
            self._ending = gathered(event.headers.raw_items())
            self._line.expect(None)
        if pieces:
            self._take_body(b"".join(pieces))
        return self._received

    def _take_body(self, data: bytes) -> None:
        if not self._answered:
            self._answerer.bodyReceived(data)
            return
        self._drained += len(data)
        if self._drained > LINGERING:
            self._line.leave()

    def _read_raw(self) -> bool:
        if self._paused:
            return False
        if self._later:
            self._answerer.bodyReceived(self._take_later())
            return True
        if self._ending is None:
            return False
        ending, self._ending = self._ending, None
        answerer = self._answerer
        if self._answered:
            self._finish()
            self._line.hangUp()
        answerer.bodyEnded(ending)
        return False

    # Ending

    def _end_raw(self) -> None:
        if self._answered:
            return
        self._answered = True
        if self._received and self._ending is None:
            self._finish()
            self._line.hangUp()
        elif self._line.endOutput():
            self._line.expect(self._front.timeouts.read)
        else:
            self._line.leave()

    def _next(self) -> bool:
        """The request was read, and answered. What comes is another one."""
        self._h11.start_next_cycle()
        self._begin(None)
        self._line.expect(self._front.timeouts.idle)
        return True

    def _finish(self) -> Answerer:
        """The call is over. @return: who has answered it."""
        if self._call is not None:
            self._call.speaker = None
        answerer, self._answerer = self._answerer, NOBODY
        return answerer

    def _refuse(self, status: int, reason: str) -> None:
        """A request is wrong: say so, if nothing else was said yet, and close the connection."""
        self._line.refused(reason)
        call = self._call
        answerer = self._finish()
        if self._answered:
            self._line.leave()
        elif call is not None and call.responded:
            self._line.cut()
        else:
            headers, text = page(status)
            fields = [(b"date", self._front.dates.now()), *flattened(headers)]
            fields += [(b"content-length", b"%d" % len(text)), _CLOSE]
            self._send(h11.Response, status_code=status, headers=fields, reason=PHRASES[status])
            if call is None or call.method != "HEAD":
                self._send(h11.Data, data=text)
            self._line.leave()
        answerer.clientLost()

    def _send(self, event: type[h11.Event], **what: Any) -> bool:
        """
        Write something.

        @param event: is made of C{what}.
        @return: whether it was right. If not the bug is in who answers, and the client sees no whole response.
        """
        try:
            pieces = self._h11.send_with_data_passthrough(event(**what)) or ()
        except h11.LocalProtocolError:
            self._log.failure("A response is none")
            self._line.cut()
            return False
        if event is h11.Data and len(pieces) > 1:
            self._line.writeSequence(pieces)
        elif pieces:
            self._line.write(b"".join(pieces))
        return True


def _size(request: h11.Request, fields: list[tuple[bytes, bytes]]) -> int:
    """Bytes of a head, as far as anybody could have sent fewer."""
    return len(request.target) + sum(len(name) + len(value) + 4 for name, value in fields)
