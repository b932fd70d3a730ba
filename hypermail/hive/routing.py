"""
Where requests go: to the cells that have mounted what they are for, one after the other until one has it
(C{docs/protocol/hive}, "Requests" and "Several cells").
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from hypermail.hive.access import Access
from hypermail.hive.choosing import Choice
from hypermail.hive.directives import Network
from hypermail.hive.errors import RequestRefused
from hypermail.hive.front.calls import Answerer, Call
from hypermail.hive.front.pages import send
from hypermail.hive.heads import Head, read_head
from hypermail.hive.leashes import Cells, Member
from hypermail.hive.mounts import Match, Pattern
from hypermail.hive.relay import Relay
from hypermail.hive.sticky import Sticky

#: Characters of what cannot be read that are remembered.
_LONGEST = 2_048

_NOT_FOUND = 404
_UNAVAILABLE = 503
_MOVED = 301


class Router:
    """
    Answers all calls of a queen.

    @param seconds: the clock.
    @param now: the time, with its zone.
    @param finished: called with each request once it is over, and what it was mounted on, None for nothing.
    @ivar trusted: who may say for whom he asks.
    @ivar sticky: None to let the cells take turns.
    @ivar slash: whether paths without a dot in their last segment are redirected to end with a slash.
    @ivar running: requests that are not over.
    """

    def __init__(
        self,
        cells: Cells,
        seconds: Callable[[], float],
        now: Callable[[], datetime],
        finished: Callable[[Access, Pattern | None], object],
    ) -> None:
        self.cells = cells
        self.choice = Choice(seconds)
        self.seconds = seconds
        self.now = now
        self.finished = finished
        self.trusted: Sequence[Network] = ()
        self.sticky: Sticky | None = None
        self.slash = False
        self.running = 0

    def serve(self, call: Call) -> Answerer:
        """Answer a call: a L{hypermail.hive.front.calls.Serve}."""
        when = self.now()
        try:
            head = read_head(call.arrival, call.method, call.target, call.headers, self.trusted)
            match = self.cells.find(head.client.host, head.target.path)
            if match is None:
                raise self._nothing(head)
        except RequestRefused as error:
            answered = send(call, error.status, error.text)
            self.finished(_unrouted(call, error, answered.size, when), None)
            return answered
        self.running += 1
        relay = Relay(call, head, _Way(self, head, match, when))
        if self.slash and _wants_slash(head):
            relay.redirect(_MOVED, str(head.target._replace(raw=head.target.raw + "/")))
        else:
            relay.send()
        return relay

    def _nothing(self, head: Head) -> RequestRefused:
        """Why a request is for nobody."""
        if self.cells.is_away(head.client.host, head.target.path):
            return RequestRefused(_UNAVAILABLE, "who answers here has lost its connection, and may be back in a moment")
        return RequestRefused(_NOT_FOUND, "nothing is published here")


class _Way:
    """
    One request's (L{hypermail.hive.relay.Route}).

    @param match: which cells there are for it now.
    """

    __slots__ = ("_begun", "_head", "_match", "_router", "_tried", "_twice", "_when", "pattern")

    def __init__(self, router: Router, head: Head, match: Match[Member], when: datetime) -> None:
        self._router = router
        self._head = head
        self._match: Match[Member] | None = match
        self._when = when
        self._begun = router.seconds()
        self._tried: set[Member] = set()
        self._twice = False
        self.pattern: Pattern | None = None

    def next(self) -> Member | None:
        """See L{hypermail.hive.relay.Route}."""
        router, head = self._router, self._head
        match, self._match = self._match, None
        if match is None:  # some time has gone by
            match = router.cells.find(head.client.host, head.target.path)
            if match is None:
                return None
        cell = None
        if router.sticky is not None:
            cell = router.sticky.wanted(head.headers, match.cells)
        if cell is None or cell.health.rests_until > router.seconds():
            cell = router.choice.choose(match.cells, self._tried)
        if cell is not None:
            self._tried.add(cell)
            self.pattern = match.pattern
        return cell

    def again(self) -> bool:
        """See L{hypermail.hive.relay.Route}."""
        if self._twice:
            return False
        self._twice = True
        self._tried.clear()
        return True

    def failed(self, cell: Member) -> None:
        """See L{hypermail.hive.relay.Route}."""
        cell.health.failed(self._router.seconds())

    def cookies(self, cell: Member) -> tuple[str, ...]:
        """See L{hypermail.hive.relay.Route}."""
        sticky = self._router.sticky
        return () if sticky is None else sticky.cookie(self._head.headers, cell)

    def done(self, relay: Relay) -> None:
        """See L{hypermail.hive.relay.Route}."""
        router = self._router
        router.running -= 1
        router.finished(relay.access(self._when, router.seconds() - self._begun), self.pattern)


def _wants_slash(head: Head) -> bool:
    """
    As queens of the seed's authors see it: what has no extension is a directory. What begins with two slashes is left
    alone, as in C{location} it would be another host (RFC 3986 §4.2; to browsers a backslash is a slash).
    """
    raw = head.target.raw
    last = raw.rpartition("/")[2]
    return bool(last) and raw[1] not in "/\\" and "." not in last and head.method in ("GET", "HEAD")


def _unrouted(call: Call, error: RequestRefused, size: int, when: datetime) -> Access:
    """What is to be remembered of a request that goes nowhere, and perhaps was none."""
    low = {name.lower(): values for name, values in call.headers.items()}

    def said(name: str) -> str:
        return next(iter(low.get(name, ())), "")[:_LONGEST]

    major, minor = call.arrival.version
    return Access(
        client=call.arrival.peer,
        when=when,
        host=said("host"),
        method=call.method[:_LONGEST],
        target=call.target[:_LONGEST].decode("latin-1"),
        protocol=f"HTTP/{major}.{minor}",
        status=error.status,
        size=size,
        referer=said("referer"),
        agent=said("user-agent"),
        seconds=0.0,
        cell="",
        reason=error.text,
    )
