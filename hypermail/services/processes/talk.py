"""
What parent and worker say to each other: a line of JSON for each, over the worker's standard input and output.

=================== =====================================================================================
the parent says     what it is about
=================== =====================================================================================
C{look}             tell your status (L{hypermail.services.status}); C{number} comes back with the answer
C{leave}            let go of C{transfer} in the inbox: another worker carries it; with C{number}, too
C{taken}            all others have let go of the transfer of that C{number}
C{reload}           read identity and trust again
C{end}              end in order
=================== =====================================================================================

=================== =====================================================================================
the worker says     what it is about
=================== =====================================================================================
C{ready}            it listens
C{failed}           it cannot start: C{text} tells why in one line
C{log}              C{event}: of its log, as L{written} writes it
C{answer}           C{value}: what the parent has asked for under that C{number}
C{take}             I carry C{transfer}: let the others leave it, and tell me; C{number} comes back
=================== =====================================================================================

That the parent has ended, however, is told by the end of its lines: the worker ends, too.
"""

from __future__ import annotations

import json
from typing import Any

from twisted.logger import LogEvent, LogLevel, eventAsJSON, eventFromJSON, formatEvent


class Lines:
    """Lines from pieces of them."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that are whole now, without their ends."""
        first, newline, rest = data.partition(b"\n")
        self._pieces.append(first)
        if not newline:
            return []
        *lines, last = [b"".join(self._pieces), *rest.split(b"\n")]
        self._pieces = [last]
        return lines

    def rest(self) -> bytes:
        """What has no end; it is forgotten."""
        rest, self._pieces = b"".join(self._pieces), []
        return rest


def said(kind: str, **fields: Any) -> bytes:
    """A line."""
    return json.dumps([kind, fields]).encode("ascii") + b"\n"


def heard(line: bytes) -> tuple[str, dict[str, Any]]:
    """Kind and fields of a line."""
    kind, fields = json.loads(line)
    return kind, fields


def written(event: LogEvent) -> str:
    """An event of a log. What JSON leaves of a failure does not say what was wrong: of that its text is sent."""
    failure = event.get("log_failure")
    if failure is not None:
        text = f"{formatEvent(event)}\n{failure.getTraceback()}".strip()
        event = {name: value for name, value in event.items() if name in _KEPT}
        event |= {"log_format": "{text}", "text": text}
    return eventAsJSON(event)


def readBack(text: str, who: str) -> LogEvent:
    """
    An event, for another log.

    @param who: has logged it.
    """
    event: LogEvent = eventFromJSON(text)
    level = event.setdefault("log_level", LogLevel.info)
    system = event.get("log_system") or f"{event.get('log_namespace', '-')}#{level.name}"
    event["log_system"] = f"{who}: {system}"
    return event


_KEPT = frozenset(("log_level", "log_namespace", "log_system", "log_time"))
