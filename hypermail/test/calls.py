"""
A client's request, for tests of who answers: it insists on the rules of L{hypermail.hive.front.calls}.
"""

from __future__ import annotations

from collections.abc import Mapping

from hypermail.hive.errors import FrameInvalid
from hypermail.hive.fields import Lists
from hypermail.hive.front.calls import Answerer, Call, Serve
from hypermail.hive.headers import HOP_BY_HOP, checked, content_length
from hypermail.hive.heads import RequestArrival


class RecordedCall(Call):
    """
    A call that remembers how it was answered. Whatever the interface does not allow is an C{AssertionError}.

    @param body: what has come of the body together with the head; None when there is none. L{push} and L{finish} go on.
    @ivar answerer: what L{serve} has got.
    @ivar status: of the response; None before.
    @ivar sent_headers: of the response, or of the upgrade.
    @ivar length: that was promised.
    @ivar body_written: all of the response's body, or of the other protocol.
    @ivar trailers: of the response; None before its end.
    @ivar reading: whether the body was asked for.
    @ivar paused: whether the body is to wait.
    @ivar lost: whether the client is gone.
    """

    def __init__(
        self,
        method: str = "GET",
        target: bytes = b"/",
        headers: Mapping[str, tuple[str, ...]] | None = None,
        body: bytes | None = None,
        version: tuple[int, int] = (1, 1),
        *,
        scheme: str = "https",
        peer: str = "192.0.2.1",
        peer_port: int = 40_000,
    ) -> None:
        self.arrival = RequestArrival(peer, peer_port, scheme, version)
        self.method = method
        self.target = target
        self.headers = {"host": ("example.org",)} if headers is None else headers
        self.has_body = body is not None
        self.responded = False
        self.answerer: Answerer | None = None
        self.status: int | None = None
        self.sent_headers: dict[str, tuple[str, ...]] = {}
        self.length: int | None = None
        self.body_written = b""
        self.trailers: dict[str, tuple[str, ...]] | None = None
        self.ended = self.aborted = self.upgraded = self.lost = False
        self.reading = self.paused = False
        self._pending: list[bytes | Lists] = [body] if body else []
        self._finished = False

    # What the client does.

    def serve(self, serve: Serve) -> RecordedCall:
        """The head is here: have it answered."""
        assert self.answerer is None, "a call is served once"
        self.answerer = serve(self)
        self._deliver()
        return self

    def push(self, data: bytes) -> None:
        """Some of the body comes, or of the other protocol."""
        assert self.has_body or self.upgraded, "there is no body"
        assert not self._finished, "the body is over"
        self._pending.append(data)
        self._deliver()

    def finish(self, trailers: Lists | None = None) -> None:
        """The body is over, or what the client says in the other protocol."""
        assert self.has_body or self.upgraded, "there is no body"
        assert not self._finished, "the body is over"
        self._finished = True
        self._pending.append({} if trailers is None else trailers)
        self._deliver()

    def slow(self) -> None:
        """The client takes no more for now."""
        self._answering().pauseResponse()

    def ready(self) -> None:
        """It does again."""
        self._answering().resumeResponse()

    def lose(self) -> None:
        """The client goes away."""
        answerer = self._answering()
        self.lost = True
        answerer.clientLost()

    @property
    def over(self) -> bool:
        """Whether nobody may say anything any more."""
        return self.ended or self.aborted or self.lost

    def _answering(self) -> Answerer:
        assert self.answerer is not None, "nobody was given the call yet"
        assert not self.over, "the call is over"
        return self.answerer

    def _deliver(self) -> None:
        while self._pending and not self.over and not self.paused:
            if self.answerer is None or not (self.reading or self.upgraded):
                return
            what = self._pending.pop(0)
            if isinstance(what, bytes):
                self.answerer.bodyReceived(what)
            else:
                self.answerer.bodyEnded(what)

    # What who answers does.

    def readBody(self) -> None:
        """See L{Call}."""
        self._open()
        assert not self.reading, "the body is asked for once"
        self.reading = True
        self._deliver()

    def pauseBody(self) -> None:
        """See L{Call}."""
        self.paused = True

    def resumeBody(self) -> None:
        """See L{Call}."""
        self.paused = False
        self._deliver()

    def respond(self, status: int, headers: Lists, length: int | None) -> None:
        """See L{Call}."""
        self._check(headers)
        assert 200 <= status <= 599, f"{status} ends no request"
        assert not HOP_BY_HOP & set(headers), "a header of the connection's"
        assert length is None or length >= 0
        promised = content_length(headers)
        assert promised in (None, length), "two lengths"
        self._begin(status, headers)
        self.length = length

    def upgrade(self, headers: Lists) -> None:
        """See L{Call}."""
        self._check(headers)
        assert "upgrade" in (name.lower() for name in self.headers), "nobody wants an upgrade"
        assert HOP_BY_HOP & set(headers) == {"upgrade"}, "it needs upgrade, and no other header of the connection's"
        self._begin(101, headers)
        self.upgraded = True
        self._deliver()

    def write(self, data: bytes) -> None:
        """See L{Call}."""
        self._open()
        assert self.responded, "there is no head yet"
        assert not (data and self._bodiless()), "such a response has no body"
        self.body_written += data
        assert self.length is None or len(self.body_written) <= self.length, "the body is longer than it said"

    def end(self, trailers: Lists) -> None:
        """See L{Call}."""
        self._open()
        assert self.responded, "there is no head yet"
        assert self.length in (None, len(self.body_written)) or self._bodiless(), "the body is shorter than it said"
        assert not (self.upgraded and trailers), "only HTTP has trailers"
        assert _proper(trailers)
        self.ended, self.trailers = True, dict(trailers)

    def abort(self) -> None:
        """See L{Call}."""
        self._open()
        self.aborted = True

    def _check(self, headers: Lists) -> None:
        self._open()
        assert not self.responded, "there is a head already"
        assert _proper(headers), "the names are not in lower case, or a value could not be written"

    def _begin(self, status: int, headers: Lists) -> None:
        self.responded, self.status, self.sent_headers = True, status, dict(headers)

    def _open(self) -> None:
        assert not self.lost, "the client is gone"
        assert not self.ended, "the response is over"
        assert not self.aborted, "the response was cut off"

    def _bodiless(self) -> bool:
        return self.method == "HEAD" or self.status in (204, 304)  # RFC 9110 §6.4.1


def _proper(headers: Lists) -> bool:
    try:
        return checked(headers) == headers
    except FrameInvalid:
        return False
