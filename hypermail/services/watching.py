"""
What C{hypermail status} does: ask a running program for its status, and show it.

What answers may be anything: whatever it says is checked before it is shown, is no more than L{MOST} bytes, and takes
no longer than L{LONGEST}.
"""

from __future__ import annotations

import errno
import json
import socket
from collections.abc import Callable, Iterator
from http.client import HTTPConnection, HTTPException
from time import monotonic
from typing import Any, TextIO

from hypermail.errors import HypermailError
from hypermail.services.addresses import Destination
from hypermail.services.paths import printable
from hypermail.services.progress import amount, count, duration
from hypermail.services.status import MISDIRECTED, WINDOW

INTERVAL = 1.0
"""Seconds between two looks."""

PATIENCE = 5.0
"""Seconds of silence after which no answer is expected any more."""

LONGEST = 20.0
"""Seconds that a whole answer may take, however little of it comes at a time."""

MOST = 64 << 20
"""Bytes of an answer, head and all."""

TITLES = (
    "peer",
    "mode",
    "cipher",
    "state",
    "for",
    "in",
    "out",
    "lost",
    "RTT",
    "window",
    "control",
    "MTU",
    "streams",
)
WORKER = "worker"
"""The last one, of a program that has several."""
LEFT = 4
"""So many columns are words; the others are numbers."""

_NAME = 24
_LONGEST = 80


class NoStatus(HypermailError):
    """There is no status to be seen; the text says why in one line."""


def look(where: Destination) -> dict[str, Any]:
    """
    Ask for a status.

    @return: a snapshot of L{hypermail.services.status.Status}, as far as it was written by such a one.
    @raise NoStatus: when there is none.
    """
    connection = HTTPConnection(where.host, where.port)
    try:
        connection.sock = _connected(where)
        connection.request("GET", "/", headers={"Accept": "application/json"})
        answer = connection.getresponse()
        content = answer.read()
    except _TooSlow:
        raise NoStatus(f"the answer from {where} was not complete after {LONGEST:g} s") from None
    except ConnectionRefusedError:
        raise NoStatus(f"nobody listens at {where}: start twistd hypermail with --status-port {where.port}") from None
    except TimeoutError:
        raise NoStatus(f"there was no answer from {where} for {PATIENCE:g} s") from None
    except (socket.gaierror, UnicodeError):  # the latter for what is no name of DNS
        raise NoStatus(f"there is no host {where.host!r}") from None
    except (HTTPException, _TooMuch):
        raise NoStatus(_something_else(where)) from None
    except OSError as error:
        if error.errno == errno.ECONNRESET:
            raise NoStatus(_something_else(where)) from None
        raise NoStatus(f"there is no answer from {where}: {error.strerror or error}") from None
    finally:
        connection.close()
    if answer.status == MISDIRECTED:
        raise NoStatus(f"{where} is not to be asked for by this name: say localhost, 127.0.0.1 or [::1]")
    if answer.status != 200:
        raise NoStatus(_something_else(where))
    try:
        return checked(json.loads(content))
    except (ValueError, RecursionError):
        raise NoStatus(_something_else(where)) from None


class _TooSlow(OSError):
    """Not a L{TimeoutError}, which tells of silence."""


class _TooMuch(Exception):
    """More than L{MOST}."""


class _Hurried(socket.socket):
    """
    A socket that has no more than L{LONGEST} and L{MOST} for all that is done with it. L{HTTPConnection}'s own timeout
    begins anew with each byte, and nothing there counts what an answer has before its body.
    """

    def __init__(self, family: int, kind: int, protocol: int, end: float) -> None:
        """@param end: s, of L{monotonic}."""
        super().__init__(family, kind, protocol)
        self._end = end
        self._room = MOST

    def hurry(self) -> None:
        """Before each call that may wait. @raise _TooSlow: when it is too late for it."""
        left = self._end - monotonic()
        if left <= 0:
            raise _TooSlow
        self.settimeout(min(left, PATIENCE))

    def recv_into(self, *arguments: Any) -> int:
        """See L{socket.socket.recv_into}; this is what L{socket.SocketIO} reads with."""
        self.hurry()
        try:
            count = super().recv_into(*arguments)
        except TimeoutError:
            self.hurry()
            raise
        self._room -= count
        if self._room < 0:
            raise _TooMuch
        return count


def _connected(where: Destination) -> _Hurried:
    """A connection, to the first of the host's addresses that takes one. Looking these up takes what time it takes."""
    found = socket.getaddrinfo(where.host, where.port, type=socket.SOCK_STREAM)
    end = monotonic() + LONGEST
    failed: OSError | None = None
    for family, kind, protocol, _, address in found:
        connection = _Hurried(family, kind, protocol, end)
        try:
            connection.hurry()
            connection.connect(address)
        except OSError as error:
            connection.close()
            failed = failed or error
        else:
            return connection
    raise failed or OSError("no address")


def _something_else(where: Destination) -> str:
    return f"what answers at {where} is not the status of a hypermail program"


_TOTALS: dict[str, type | tuple[type, ...]] = {
    "sessions_open": int,
    "sessions_opened": int,
    "sessions_lost": int,
    "sessions_refused": int,
    "bytes_received": int,
    "bytes_sent": int,
}
_RATES: dict[str, type | tuple[type, ...]] = dict.fromkeys(("bytes_received", "bytes_sent", "seconds"), (int, float))
_COUNTERS: dict[str, type | tuple[type, ...]] = {"datagrams_sent": int, "datagrams_lost": int}
_WORKER: dict[str, type | tuple[type, ...]] = {
    "worker": int,
    "state": str,
    "restarts": int,
    "sessions_open": (int, type(None)),
}
_SESSION: dict[str, type | tuple[type, ...]] = {
    "address": str,
    "mode": str,
    "cipher": (str, type(None)),
    "pin": (str, type(None)),
    "name": (str, type(None)),
    "age": (int, float),
    "state": str,
    "rtt": (int, float, type(None)),
    "window": int,
    "congestion": (str, type(None)),
    "mtu": int,
    "streams": int,
}


def checked(found: Any) -> dict[str, Any]:
    """
    What JSON gave, when all that is shown of it is what it should be.

    @raise ValueError: when not.
    """
    _check(found, {"program": dict, "totals": dict, "rates": dict, "sessions": list})
    _check(found["program"], {"version": str, "uptime": (int, float)})
    _check(found["totals"], _TOTALS)
    _check(found["rates"], _RATES)
    fields = _SESSION | {"rates": dict, "counters": dict}
    if "workers" in found["program"]:
        _check(found["program"], {"workers": list})
        for worker in found["program"]["workers"]:
            _check(worker, _WORKER)
        fields[WORKER] = int
    for session in found["sessions"]:
        _check(session, fields)
        _check(session["rates"], _RATES)
        _check(session["counters"], _COUNTERS)
    snapshot: dict[str, Any] = found
    return snapshot


def _check(found: Any, fields: dict[str, Any]) -> None:
    if not isinstance(found, dict):
        raise ValueError("not an object")
    for name, kind in fields.items():
        value = found.get(name, NoStatus)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise ValueError(f"{name} is {type(value).__name__}")
        if isinstance(value, (int, float)) and not 0 <= value < 1 << 64:  # NaN is not, either
            raise ValueError(f"{name} is out of range")


def summary(snapshot: dict[str, Any]) -> str:
    """All sessions together, in one line."""
    program, totals, rates = snapshot["program"], snapshot["totals"], snapshot["rates"]
    parts = [
        f"hypermail {_cell(program['version'])}, up {duration(program['uptime'])}",
        f"{count(totals['sessions_open'], 'session')} open",
        f"{totals['sessions_opened']:,} opened",
        f"{totals['sessions_lost']:,} lost",
        f"{totals['sessions_refused']:,} refused",
        f"in {amount(totals['bytes_received'])} ({amount(rates['bytes_received'])}/s)",
        f"out {amount(totals['bytes_sent'])} ({amount(rates['bytes_sent'])}/s)",
    ]
    return ", ".join(parts)


def workers(snapshot: dict[str, Any]) -> str:
    """How many sessions each worker has, in one line; empty when there are none."""
    parts = []
    for worker in snapshot["program"].get("workers", ()):
        if worker["sessions_open"] is None:
            has = f"is {_cell(worker['state'])}"
        else:
            has = f"has {count(worker['sessions_open'], 'session')}"
        again = f" ({count(worker['restarts'], 'restart')})" if worker["restarts"] else ""
        parts.append(f"worker {worker['worker']} {has}{again}")
    return ", ".join(parts)


def summaries(snapshot: dict[str, Any]) -> list[str]:
    """What is told of all sessions together, line by line."""
    return [line for line in (summary(snapshot), workers(snapshot)) if line]


def titles(snapshot: dict[str, Any]) -> tuple[str, ...]:
    """Of the columns."""
    return (*TITLES, WORKER) if "workers" in snapshot["program"] else TITLES


def row(session: dict[str, Any], titles: tuple[str, ...] = TITLES) -> tuple[str, ...]:
    """One session, as L{titles} say."""
    counters, rates, rtt = session["counters"], session["rates"], session["rtt"]
    who = session["name"] or session["pin"]
    lost = counters["datagrams_lost"] / counters["datagrams_sent"] if counters["datagrams_sent"] else 0.0
    cells: tuple[str, ...] = (
        f"{session['address']} {_short(who)}" if who else session["address"],
        session["mode"],
        session["cipher"] or "none",
        session["state"],
        duration(session["age"]),
        f"{amount(rates['bytes_received'])}/s",
        f"{amount(rates['bytes_sent'])}/s",
        f"{lost:.2%}",
        "" if rtt is None else f"{rtt * 1e3:.1f} ms",
        amount(session["window"]),
        session["congestion"] or "none",
        str(session["mtu"]),
        str(session["streams"]),
    )
    if WORKER in titles:
        cells = (*cells, str(session[WORKER]))
    return tuple(map(_cell, cells))


def _cell(text: str) -> str:
    return printable(text[:_LONGEST])


def _short(text: str) -> str:
    return text if len(text) <= _NAME else f"{text[: _NAME - 3]}..."


def table(snapshot: dict[str, Any]) -> Iterator[str]:
    """The lines of a plain table; in columns, as wide as they have to be."""
    yield from summaries(snapshot)
    columns = titles(snapshot)
    rows = [columns, *(row(session, columns) for session in snapshot["sessions"])]
    if len(rows) == 1:
        return
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for cells in rows:
        aligned = (
            cell.ljust(width) if at < LEFT else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        yield "  ".join(aligned).rstrip()


def recent(ask: Callable[[], dict[str, Any]], sleep: Callable[[float], object]) -> dict[str, Any]:
    """
    A status whose rates are of these seconds: when nobody has looked lately, they are measured by looking twice.

    @param ask: looks once.
    @param sleep: waits for so many s.
    """
    snapshot = ask()
    if snapshot["rates"]["seconds"] > 2 * WINDOW:
        sleep(INTERVAL)
        snapshot = ask()
    return snapshot


def show(where: Destination, out: TextIO, *, once: bool, as_json: bool, sleep: Callable[[float], object]) -> None:
    """
    Show a status.

    @param out: where; a table stays up to date on a terminal, if rich is there.
    @param once: whether it is shown once even so.
    @param as_json: whether it is shown as it came, once.
    @param sleep: waits for so many s.
    @raise NoStatus: when there is none, or none any more.
    """
    if as_json:
        print(json.dumps(recent(lambda: look(where), sleep), indent=1), file=out)
        return
    if not once and out.isatty():
        try:
            from hypermail.services.live import watch
        except ModuleNotFoundError:
            pass
        else:
            watch(lambda: look(where), out, sleep)
            return
    for line in table(recent(lambda: look(where), sleep)):
        print(line, file=out)
