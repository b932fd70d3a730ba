"""
A queen's status over HTTP: C{/} is a page for people, which C{/events} keeps up to date; C{/status.json} tells the same
to programs, and C{/metrics} to Prometheus (C{docs/guide/hive-status}).

It tells who asks for what, and asks nobody who they are: so the queen listens for it on loopback alone, and pages of
other sites see nothing of it. It does not answer to a name that somebody has made to point here (DNS rebinding), nor
to what a browser asks on behalf of another site (Fetch Metadata).
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from importlib.resources import files
from math import inf
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from hypermail.hive.fields import Lists
from hypermail.hive.front.calls import Answerer, Call
from hypermail.hive.front.front import Front
from hypermail.hive.front.pages import Answered, respond_whole, send
from hypermail.hive.overview import Overview
from hypermail.internet.deadlines import clockOf
from hypermail.services.status_site import WITHOUT_METRICS, namesLoopback

#: Connections at one time, and of those the ones that are told of everything that happens.
MOST_CONNECTIONS = 64
MOST_LOOKERS = 32
#: s between two events.
PERIOD = 1.0
#: s in which nothing is reckoned anew, however often somebody asks.
FRESH = 0.5
#: Mounts, and cells, in an event, and in C{/status.json}.
SHOWN = 100
MOST_SHOWN = 1_000

_EMBEDDED = re.compile(rb"<(style|script)>(.*?)</\1>", re.DOTALL)
_TOLD = frozenset((b"/status.json", b"/events", b"/metrics"))
_ALLOWED = ("GET", "HEAD")
_OWN_SITES = ("same-origin", "none")  # of the page itself; or typed, or not of a browser's page at all


def _policy(page: bytes) -> str:
    """What a browser may do with the page: run what is in it, by its hash (CSP Level 3), and ask here."""
    hashes = {
        kind.decode(): f"'sha256-{b64encode(sha256(text).digest()).decode()}'" for kind, text in _EMBEDDED.findall(page)
    }
    return (
        f"default-src 'none'; style-src {hashes['style']}; script-src {hashes['script']}; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


class Looker:
    """
    Who is told of everything that happens.

    @ivar slow: whether he has not taken all that he was told.
    """

    def __init__(self, page: StatusPage, call: Call) -> None:
        self._page = page
        self.call = call
        self.slow = False

    def bodyReceived(self, data: bytes) -> None:
        """See L{Answerer}."""

    def bodyEnded(self, trailers: Lists) -> None:
        """See L{Answerer}."""

    def pauseResponse(self) -> None:
        """See L{Answerer}."""
        self.slow = True

    def resumeResponse(self) -> None:
        """See L{Answerer}."""
        self.slow = False

    def clientLost(self) -> None:
        """See L{Answerer}."""
        self._page.forget(self)


class StatusPage:
    """
    @param reactor: has time.
    @param overview: what is shown.
    @ivar front: for the port that is listened on.
    @ivar overview: see there.
    """

    _log = Logger()

    def __init__(self, reactor: Any, overview: Overview) -> None:
        self.front = Front(reactor, self.serve, scheme="http", most_connections=MOST_CONNECTIONS)
        self.overview = overview
        self._seconds = clockOf(reactor)
        self._lookers: dict[Looker, None] = {}
        self._made: dict[int, tuple[float, bytes]] = {}  # by how much is shown: when, and what
        self._telling = LoopingCall(self._tell)
        self._telling.clock = reactor
        self._page = files("hypermail.hive").joinpath("pages/status.html").read_bytes()
        self._headers: Mapping[str, tuple[str, ...]] = {
            "cache-control": ("no-store",),
            "content-security-policy": (_policy(self._page),),
            "cross-origin-resource-policy": ("same-origin",),
            "referrer-policy": ("no-referrer",),
            "x-content-type-options": ("nosniff",),
        }

    @property
    def lookers(self) -> int:
        """How many there are."""
        return len(self._lookers)

    def close(self) -> Deferred[None]:
        """Cut everybody off, for good. @return: fires when nobody is there any more."""
        closed = self.front.stop()
        self.front.abort()
        return closed

    def serve(self, call: Call) -> Answerer:
        """Answer a call: a L{hypermail.hive.front.calls.Serve}."""
        path = call.target.partition(b"?")[0]
        headers = {name.lower(): values for name, values in call.headers.items()}
        if not namesLoopback(headers.get("host", ("",))[0].encode(errors="replace")):
            return self._refuse(call, 403, "this is to be asked for as localhost, 127.0.0.1 or [::1]")
        if path in _TOLD and headers.get("sec-fetch-site", ("none",))[0] not in _OWN_SITES:
            return self._refuse(call, 403, "pages of other sites see nothing here")
        if call.method not in _ALLOWED:
            allowed = {"allow": (", ".join(_ALLOWED),)}
            return self._refuse(call, 405, "there is nothing to be done here but to look", allowed)
        if path == b"/":
            return self._give(call, "text/html; charset=utf-8", self._page)
        if path == b"/status.json":
            return self._give(call, "application/json", self._snapshot(MOST_SHOWN) + b"\n")
        if path == b"/events":
            return self._begin(call)
        if path == b"/metrics":
            return self._metrics(call, headers.get("accept", ("",))[0])
        return self._refuse(call, 404, "there are /, /status.json, /events and /metrics")

    def forget(self, looker: Looker) -> None:
        """Somebody looks no more."""
        self._lookers.pop(looker, None)
        if not self._lookers and self._telling.running:
            self._telling.stop()

    # Answers

    def _give(self, call: Call, kind: str, body: bytes) -> Answered:
        return respond_whole(call, 200, {**self._headers, "content-type": (kind,)}, body)

    def _refuse(self, call: Call, status: int, sentence: str, headers: Lists | None = None) -> Answered:
        return send(call, status, sentence, {**self._headers, **(headers or {})})

    def _metrics(self, call: Call, accept: str) -> Answered:
        try:
            from hypermail.hive.metrics import QueenCollector
            from hypermail.services.metrics import encoded
        except ModuleNotFoundError:
            return self._refuse(call, 501, WITHOUT_METRICS)
        return self._give(call, *encoded(QueenCollector(self.overview), accept))

    def _snapshot(self, most: int) -> bytes:
        now = self._seconds()
        when, made = self._made.get(most, (-inf, b""))
        if now - when >= FRESH:
            made = json.dumps(self.overview.snapshot(most), allow_nan=False, separators=(",", ":")).encode("ascii")
            self._made[most] = (now, made)
        return made

    # Events (HTML, "Server-sent events")

    def _begin(self, call: Call) -> Answerer:
        if len(self._lookers) >= MOST_LOOKERS:
            return self._refuse(call, 503, f"{MOST_LOOKERS} look already")
        if call.method == "HEAD":
            return self._give(call, "text/event-stream", b"")
        looker = Looker(self, call)
        self._lookers[looker] = None
        call.respond(200, {**self._headers, "content-type": ("text/event-stream",)}, None)
        call.write(self._event())
        if not self._telling.running:
            self._telling.start(PERIOD, now=False).addErrback(self._failed)
        return looker

    def _failed(self, failure: Failure) -> None:
        self._log.failure("the status cannot be told", failure)

    def _event(self) -> bytes:
        return b"data: " + self._snapshot(SHOWN) + b"\n\n"

    def _tell(self) -> None:
        event = self._event()
        for looker in list(self._lookers):
            if looker.slow:  # what he has not read would be kept for him
                self.forget(looker)
                looker.call.abort()
            else:
                looker.call.write(event)
