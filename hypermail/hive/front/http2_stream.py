"""
A stream of HTTP/2: one request, and its response.
"""

from __future__ import annotations

from collections import deque
from math import inf
from typing import TYPE_CHECKING

from h2.errors import ErrorCodes
from twisted.logger import Logger

from hypermail.hive.fields import Lists
from hypermail.hive.front.calls import NOBODY, Answerer, Call
from hypermail.hive.front.http2_heads import RequestFields, breaks
from hypermail.hive.front.line import LINGER
from hypermail.hive.front.pages import send
from hypermail.hive.front.wire import flattened
from hypermail.hive.heads import RequestArrival

if TYPE_CHECKING:
    from hypermail.hive.front.http2 import HTTP2

#: Bytes of a response that may wait until who answers is held back, and goes on.
HIGH = 1 << 16
LOW = 1 << 14
#: Of a body that nobody wants any more so much is dropped before its client is told.
REST = 1 << 17
#: Of a body that waits: bytes of a frame that are copied behind those of the one before. A million frames of one byte,
#: for which windows have room, would take a hundred times that.
_SMALL = 512


class HTTP2Stream(Call):
    """
    See L{Call}.

    @ivar number: of the stream.
    @ivar answerer: who answers; nobody before and after that.
    @ivar over: whether the call is.
    @ivar ending: the trailers of the response, once that has ended.
    @ivar finished: whether all of the response was sent.
    @ivar queued: whether the connection knows that there is something to send.
    @ivar deadline: s; for the timer.
    """

    __slots__ = (
        "_bodyless",
        "_came",
        "_connection",
        "_expected",
        "_giving",
        "_left",
        "_paused",
        "_pending",
        "_received",
        "_stalled",
        "_told",
        "_trailers",
        "_unread",
        "_unsent",
        "_wanted",
        "answerer",
        "arrival",
        "deadline",
        "ending",
        "finished",
        "has_body",
        "headers",
        "method",
        "number",
        "over",
        "queued",
        "responded",
        "target",
    )

    _log = Logger()

    def __init__(
        self, connection: HTTP2, number: int, arrival: RequestArrival, head: RequestFields, has_body: bool
    ) -> None:
        self.arrival = arrival
        self.method = head.method
        self.target = head.target
        self.headers = head.headers
        self.has_body = has_body
        self.responded = False
        self.number = number
        self.answerer: Answerer = NOBODY
        self.over = False
        self.queued = False
        self.deadline = inf
        self.ending: Lists | None = None
        self.finished = False
        self._connection = connection
        self._expected = inf  # s when some of the body has to be here
        self._stalled = inf  # s when the client has to have taken something
        self._unread: deque[tuple[bytes, int]] = deque()  # with what they count for in windows
        self._wanted = False  # the body
        self._paused = False
        self._giving = False
        self._received = not has_body
        self._trailers: Lists | None = None  # of the request, when its end has still to be told
        self._bodyless = False  # the response
        self._left: int | None = None  # bytes that its length still promises
        self._pending: deque[bytes | memoryview] = deque()
        self._unsent = 0
        self._came = 0  # bytes of the body
        self._told = False  # who answers, to write no more

    # What the call says

    def readBody(self) -> None:
        """See L{Call}."""
        if self.over or self._wanted:
            return
        self._wanted = True
        if not self._received:
            if not self.responded and "100-continue" in map(str.lower, self.headers.get("expect", ())):
                self._connection.send_head(self.number, [(b":status", b"100")])
            self._expect()
        self._give()
        self._connection.flush()

    def pauseBody(self) -> None:
        """See L{Call}."""
        self._paused = True
        self._expected = inf

    def resumeBody(self) -> None:
        """See L{Call}."""
        if self._paused:
            self._paused = False
            self._expect()
            self._give()
            self._connection.flush()

    def respond(self, status: int, headers: Lists, length: int | None) -> None:
        """See L{Call}."""
        if self.over:
            return
        fields = [(b":status", b"%d" % status), *flattened(headers)]
        if "date" not in headers:
            fields.append((b"date", self._connection.date()))
        self._bodyless = self.method == "HEAD" or status in (204, 304)
        if length is not None and status != 204 and not (status == 304 and not length):  # RFC 9110 §8.6
            fields.append((b"content-length", b"%d" % length))
        if self.responded or breaks(fields):
            self._fail("a second head, or a header that is none")
            return
        self.responded = True
        self._left = length
        self._connection.send_head(self.number, fields)
        self._connection.flush()

    def upgrade(self, headers: Lists) -> None:
        """See L{Call}: HTTP/2 has none."""
        if not self.over:
            self._fail("an upgrade")

    def write(self, data: bytes) -> None:
        """See L{Call}."""
        if self.over or not data:
            return
        if not self.responded:
            self._fail("a body without a head")
            return
        if self._bodyless:
            return
        if self._left is not None:
            self._left -= len(data)
            if self._left < 0:
                self._fail("more than its length")
                return
        self._pending.append(data)
        self._unsent += len(data)
        self._connection.ready(self)
        if self._unsent > HIGH and not self._told:
            self._told = True
            self.answerer.pauseResponse()

    def end(self, trailers: Lists) -> None:
        """See L{Call}."""
        if self.over:
            return
        if not self.responded or (self._left and not self._bodyless):
            self._fail("less than its length, or no head")
            return
        self.ending = {} if self._bodyless else trailers
        self._finish()
        self._connection.ready(self)

    def abort(self) -> None:
        """See L{Call}."""
        if not self.over:
            self._finish()
            self._connection.reset(self, ErrorCodes.INTERNAL_ERROR)

    # What the connection says

    def begin(self, answerer: Answerer) -> None:
        """Somebody answers."""
        if not self.over:
            self.answerer = answerer
            if self._told:
                answerer.pauseResponse()
            self._give()

    def take(self, data: bytes, size: int) -> None:
        """Some of the body; it counts for C{size} in windows."""
        self._came += len(data)
        if self.finished:
            self._connection.acknowledge(self, size)
            return
        if self._unread and len(data) <= _SMALL and len(self._unread[-1][0]) <= 8 * _SMALL:
            before, counted = self._unread.pop()
            self._unread.append((before + data, counted + size))
        else:
            self._unread.append((data, size))
        self._expect()
        self._give()

    def linger(self) -> None:
        """
        The response was sent, and some of the body is still to come. The client is told to stop (RFC 9113 §8.1), unless
        it is nearly done: some lose the response then.
        """
        self.finished = True
        self._drop_unread()
        length = self.headers.get("content-length", ("",))[0]
        if length and int(length) <= self._came + REST:
            self._expected = self._connection.arm(self, LINGER)
        else:
            self._connection.reset(self, ErrorCodes.NO_ERROR)

    def take_end(self, trailers: Lists) -> None:
        """All of the body is here."""
        self._received = True
        self._expected = inf
        self._trailers = trailers
        self._give()

    @property
    def received(self) -> bool:
        """Whether all of the request is here."""
        return self._received

    @property
    def short(self) -> bool:
        """
        Whether less of the body came than its length says (RFC 9113 §8.1.1). h2 sees that where frames of data end a
        stream; where heads or trailers do, a cell could take what comes next on its way for the rest.
        """
        length = self.headers.get("content-length", ("",))[0]
        return bool(length) and int(length) != self._came

    def progress(self) -> None:
        """There is something of a frame of the body."""
        self._expect()

    def lose(self) -> None:
        """The client waits no more, or cannot be reached."""
        self._pending.clear()
        self._drop_unread()
        if not self.over:
            self._finish().clientLost()

    def next_piece(self, most: int) -> bytes | memoryview:
        """
        Some of what is to be sent.

        @param most: bytes.
        """
        self._stalled = inf
        pending = self._pending
        if not pending:
            return b""
        piece = pending[0]
        if len(piece) > most:
            view = memoryview(piece)
            pending[0] = view[most:]
            piece = view[:most]
        else:
            pending.popleft()
            if pending and len(piece) + len(pending[0]) <= most:
                piece = self._gathered(piece, most)
        self._unsent -= len(piece)
        return piece

    def _gathered(self, first: bytes | memoryview, most: int) -> bytes:
        pieces, size = [first], len(first)
        while self._pending and size + len(self._pending[0]) <= most:
            pieces.append(self._pending.popleft())
            size += len(pieces[-1])
        return b"".join(pieces)

    def sent(self) -> None:
        """Some of it was: there may be room again."""
        if self._told and self._unsent <= LOW:
            self._told = False
            self.answerer.resumeResponse()

    @property
    def unsent(self) -> int:
        """Bytes of the response that wait."""
        return self._unsent

    def stall(self) -> None:
        """The client takes nothing: its windows are empty."""
        if self._stalled == inf:
            self._stalled = self._connection.arm(self, self._connection.timeouts.write)

    def expire(self) -> None:
        """The deadline has come, or an earlier one that has moved since."""
        now = self._connection.now()
        if now >= self._stalled:
            self._stalled = self._expected = inf
            self._connection.cancel(self, "nothing of the response is taken")
        elif now >= self._expected:
            self._expected = inf
            self._time_out()
        if (due := min(self._expected, self._stalled)) != inf:
            self._connection.arm(self, due - now)

    # Inside

    def _time_out(self) -> None:
        if self.finished:
            self._connection.reset(self, ErrorCodes.NO_ERROR)
            return
        if self.responded:
            self._connection.cancel(self, "the body takes too long")
            return
        answerer, self.answerer = self.answerer, NOBODY
        send(self, 408)
        answerer.clientLost()

    def _expect(self) -> None:
        if self._wanted and not (self._paused or self._received or self.over):
            self._expected = self._connection.arm(self, self._connection.timeouts.read)

    def _give(self) -> None:
        """Give what has come to who answers, as far as he wants it. He may call this again, which the loop sees to."""
        if self._giving or self.answerer is NOBODY:
            return
        self._giving = True
        try:
            while self._wanted and not (self._paused or self.over) and self._give_next():
                pass
        finally:
            self._giving = False

    def _give_next(self) -> bool:
        if self._unread:
            data, size = self._unread.popleft()
            self._connection.acknowledge(self, size)
            if data:
                self.answerer.bodyReceived(data)
            return True
        if self._trailers is None:
            return False
        trailers, self._trailers = self._trailers, None
        self.answerer.bodyEnded(trailers)
        return False

    def _drop_unread(self) -> None:
        if self._unread:
            size = sum(size for _, size in self._unread)
            self._unread.clear()
            self._connection.acknowledge(self, size)

    def _finish(self) -> Answerer:
        """The call is over. @return: who has answered it."""
        self.over = True
        self._expected = inf
        answerer, self.answerer = self.answerer, NOBODY
        return answerer

    def _fail(self, what: str) -> None:
        """Who answers has a bug: the client sees no whole response."""
        self._log.error("A response is none: {what}", what=what)
        answerer = self._finish()
        self._connection.reset(self, ErrorCodes.INTERNAL_ERROR)
        answerer.clientLost()
