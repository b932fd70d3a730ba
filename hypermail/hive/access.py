"""
Lines of the access log, in the combined format that every tool reads, or as JSON (C{docs/protocol/hive},
"Configuration").
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import NamedTuple

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
#: What could end a field, or a line, or do something to a terminal.
_UNSAFE = re.compile(r'["\\]|[^\x20-\x7e]')
#: Characters of one field: nobody has to be able to fill a disk with one request.
_LONGEST = 2_048


class Access(NamedTuple):
    """
    One request.

    @ivar client: its address.
    @ivar when: it came, with its zone.
    @ivar host: that it has asked for.
    @ivar target: path and query, as they were written.
    @ivar protocol: C{HTTP/1.1} or the like.
    @ivar status: of the response; 0 when there was none, since the client had gone.
    @ivar size: bytes of its body.
    @ivar seconds: until its end.
    @ivar cell: that has answered; empty when none has.
    @ivar reason: why the response is not a cell's, or not whole; else empty.
    """

    client: str
    when: datetime
    host: str
    method: str
    target: str
    protocol: str
    status: int
    size: int
    referer: str
    agent: str
    seconds: float
    cell: str
    reason: str = ""


def combined(access: Access) -> str:
    """As Apache and nginx write it; what is not known is a minus."""
    when = access.when
    date = f"{when.day:02}/{_MONTHS[when.month - 1]}/{when.year:04}:{when:%H:%M:%S %z}"
    request = f"{access.method} {access.target} {access.protocol}"
    fields = (_safe(request), str(access.status or "-"), str(access.size), _safe(access.referer), _safe(access.agent))
    return '{} - - [{}] "{}" {} {} "{}" "{}"'.format(_safe(access.client), date, *fields)


def as_json(access: Access) -> str:
    """An object, of one line, with all that is known."""
    found = access._asdict() | {"when": access.when.isoformat(), "seconds": round(access.seconds, 6)}
    return json.dumps({key: value[:_LONGEST] if isinstance(value, str) else value for key, value in found.items()})


#: By the names that the configuration has.
FORMATS: Mapping[str, Callable[[Access], str]] = {"combined": combined, "json": as_json}


def _safe(text: str) -> str:
    return _UNSAFE.sub(_escaped, text[:_LONGEST]) or "-"


def _escaped(found: re.Match[str]) -> str:
    character = found[0]
    if character in '"\\':
        return "\\" + character
    return "".join(f"\\x{byte:02x}" for byte in character.encode(errors="replace"))
