"""
What a running program tells about itself: L{Status.snapshot}, a dictionary that is shown by
L{hypermail.services.status_site} and read by L{hypermail.services.watching}.

=============  ==================================================================================
C{program}     C{version}; C{since} (UTC, ISO 8601); C{uptime} (s); C{listening}: UDP addresses
C{totals}      L{COUNTERS} since the start, those of sessions that are over included, and L{SESSIONS}
C{rates}       C{bytes_received}, C{bytes_sent}: B/s of all sessions together, measured over C{seconds}
C{sessions}    one dictionary for each that is open, the oldest first: see below
=============  ==================================================================================

Of a session:

===================  ============================================================================
C{id}                its name in logs, hexadecimal
C{address}           the peer's, C{HOST:PORT}
C{mode}              C{tls}, C{secret}, C{plain}, or the name of a dialect
C{cipher}            C{AES-128-GCM}, ...; None in mode C{plain} and in dialects
C{pin}               of the peer's certificate, whose key it has proved to hold; None without one
C{name}              what this certificate calls it, which proves nothing unless an authority is trusted
C{since}, C{age}     when it opened (UTC), and s since then
C{state}, C{way}     C{open}, C{closing}, ...; C{two_way}, C{read_only}, C{write_only} as its starter sees it
C{rates}             as above, of this one
C{counters}          L{COUNTERS}
C{rtt}               smoothed round trip, s; None before it was measured
C{window}            congestion window, bytes; C{in_flight}: bytes of it that are in use
C{congestion}        the congestion controller's name; None in a dialect, which has a window of its own
C{mtu}               bytes of the largest UDP payload that the path carries, as far as is known
C{streams}           that are open; C{streams_paused}: of those, how many the peer has paused
C{messages_queued}   that have not begun to leave
C{moves}             how often the peer's address, or ours, has become another one
===================  ============================================================================
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from cryptography.x509 import Certificate
from twisted.internet.interfaces import IListeningPort
from twisted.python.failure import Failure

from hypermail._version import __version__
from hypermail.errors import CredentialError, SessionClosed
from hypermail.interfaces import ISession
from hypermail.security.identity import pin_of
from hypermail.services.addresses import describe
from hypermail.services.identities import namesOf

COUNTERS = (
    "bytes_sent",
    "bytes_received",
    "bytes_lost",
    "datagrams_sent",
    "datagrams_received",
    "datagrams_lost",
    "datagrams_forged",
    "messages_sent",
    "messages_received",
    "streams_opened",
)
"""Of a session, and of all; bytes are of UDP payload, messages without direct ones."""

SESSIONS = (
    "sessions_open",
    "sessions_opened",
    "sessions_closed",
    "sessions_lost",
    "sessions_refused",
    "handshakes_failed",
)
"""
How many are open, and since the start: were opened, were closed in order, ended otherwise, were refused to strangers
that had asked; and the strangers that did not come as far as asking.
"""

WINDOW = 5.0
"""Seconds over which rates are measured while somebody looks more often than that."""

SPACING = 0.5
"""Seconds between two looks of which both are remembered."""

MISDIRECTED = 421
"""RFC 9110 §15.5.20: the HTTP status when it is asked for under a name that somebody else may have given it."""

LONGEST_NAME = 64
"""Characters of a peer's name that are told."""


class Sockets(Protocol):
    """What is listened on, as L{hypermail.internet.listening.ListeningPorts}."""

    def getHosts(self) -> list[Any]:
        """The address of each socket."""

    def statistics(self) -> dict[str, int]:
        """Counters of all of them together."""


class Look(NamedTuple):
    """Bytes of a session at some time."""

    at: float
    sent: int
    received: int


class Rates:
    """How fast bytes come and go, from one look to the next; begins with none at C{at}."""

    __slots__ = ("_looks",)

    def __init__(self, at: float) -> None:
        self._looks = [Look(at, 0, 0)]  # a few at most, and one while nobody looks: a deque would take 0.6 KiB

    def over(self, look: Look) -> dict[str, float]:
        """
        B/s since the oldest look of the last L{WINDOW}, or the newest where there was none; others may look in between,
        as often as they like.
        """
        looks = self._looks
        while len(looks) > 1 and look.at - looks[0].at > WINDOW and look.at - looks[1].at >= SPACING:
            del looks[0]
        before = looks[0]
        if look.at - looks[-1].at >= SPACING:
            looks.append(look)
        seconds = look.at - before.at
        return {
            "bytes_received": (look.received - before.received) / seconds if seconds > 0 else 0.0,
            "bytes_sent": (look.sent - before.sent) / seconds if seconds > 0 else 0.0,
            "seconds": seconds,
        }


class _Open:
    """An open session."""

    __slots__ = ("_peer", "_rates", "at", "session", "since")

    def __init__(self, session: ISession, at: float, since: datetime) -> None:
        self.session = session
        self.at = at
        self.since = since
        self._rates = Rates(at)
        self._peer: tuple[str | None, str | None] | None = None

    def snapshot(self, found: dict[str, Any], now: float) -> dict[str, Any]:
        """What is told of it. @param found: its statistics."""
        session = self.session
        if self._peer is None:
            self._peer = _described(session.peerCertificate())
        pin, name = self._peer
        return {
            "id": session.sessionID.hex(),
            "address": describe(session.getPeer()),
            "mode": found["mode"],
            "cipher": found["cipher"],
            "pin": pin,
            "name": name,
            "since": _written(self.since),
            "age": now - self.at,
            "state": found["state"],
            "way": found["way"],
            "rates": self._rates.over(Look(now, found["bytes_sent"], found["bytes_received"])),
            "counters": {name: found[name] for name in COUNTERS},
            "rtt": found["rtt"],
            "window": found["window"],
            "in_flight": found["in_flight"],
            "congestion": found["congestion"],
            "mtu": found["mtu"],
            "streams": found["streams"],
            "streams_paused": found["streams_paused_by_peer"],
            "messages_queued": found["messages_queued"],
            "moves": found["moves"],
        }


class Status:
    """
    The sessions of a program, and what has become of those that are over; of these it holds nothing but sums.

    Whoever has sessions calls L{add} and L{remove}, whoever listens L{listening}. Nothing is reckoned before somebody
    looks.

    @param seconds: the time, monotonic.
    @param now: the time of day, with its zone.
    """

    def __init__(self, seconds: Callable[[], float], now: Callable[[], datetime]) -> None:
        self._seconds = seconds
        self._began = seconds()
        self._now = now
        self._since = now()
        self._rates = Rates(self._began)
        self._open: dict[ISession, _Open] = {}
        self._sockets: list[Sockets] = []
        self._over: Counter[str] = Counter()
        self._opened = 0
        self._closed = 0
        self._lost = 0

    def listening(self, port: IListeningPort) -> None:
        """
        Tell of what is listened on, too.

        @param port: of L{hypermail.internet.endpoints.SessionServerEndpoint}.
        """
        sockets: Any = port
        self._sockets.append(sockets)

    def add(self, session: ISession) -> None:
        """A session has opened."""
        self._opened += 1
        self._open[session] = _Open(session, self._seconds(), self._now())

    def remove(self, session: ISession, reason: Failure) -> None:
        """
        A session that was added is over; one that was not added, or was removed already, is no matter.

        @param reason: what has ended it, a L{SessionClosed} when that was in order.
        """
        if self._open.pop(session, None) is None:
            return
        if reason.check(SessionClosed):
            self._closed += 1
        else:
            self._lost += 1
        self._count(self._over, session.statistics())

    @staticmethod
    def _count(totals: Counter[str], found: dict[str, Any]) -> None:
        for name in COUNTERS:
            totals[name] += found[name]

    def snapshot(self) -> dict[str, Any]:
        """What there is to tell now; see the beginning of this file."""
        now = self._seconds()
        totals = Counter(self._over)
        sessions = []
        for one in self._open.values():
            found = one.session.statistics()
            self._count(totals, found)
            sessions.append(one.snapshot(found, now))
        return {
            "program": {
                "version": __version__,
                "since": _written(self._since),
                "uptime": now - self._began,
                "listening": [str(host) for sockets in self._sockets for host in sockets.getHosts()],
            },
            "totals": self._totals(totals),
            "rates": self._rates.over(Look(now, totals["bytes_sent"], totals["bytes_received"])),
            "sessions": sessions,
        }

    def _totals(self, counters: Counter[str]) -> dict[str, int]:
        strangers: Counter[str] = Counter()
        for sockets in self._sockets:
            strangers.update(sockets.statistics())
        sessions = (
            len(self._open),
            self._opened,
            self._closed,
            self._lost,
            strangers["sessions_refused"],
            strangers["handshakes_failed"],
        )
        return {**dict(zip(SESSIONS, sessions, strict=True)), **{name: counters[name] for name in COUNTERS}}


def _written(time: datetime) -> str:
    return time.isoformat(timespec="seconds")


def _described(certificate: Certificate | None) -> tuple[str | None, str | None]:
    """The pin and the first name of a peer's certificate, which may be odd, as far as it has them."""
    if certificate is None:
        return None, None
    try:
        pin = pin_of(certificate)
    except CredentialError:
        pin = None
    name = next(namesOf(certificate), None)
    return pin, None if name is None else name[:LONGEST_NAME]
