"""
A structured event log, as near to qlog (draft-ietf-quic-qlog-main-schema) as its vocabulary fits.

A L{Trace} writes JSON text sequences (RFC 7464 without the record separator: one object a line) to a
callable; L{NullTrace} is its twin that does nothing, so that no caller needs to ask. The core calls one
method per datagram, never formats anything itself, and opens no files.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any


class NullTrace:
    """
    The trace of a connection that nobody watches.

    @cvar kept: whether anything is written, so that what costs much is gathered for it.
    """

    __slots__ = ()

    kept = False

    def event(self, now: float, name: str, **data: Any) -> None:
        """Something happened that is not per datagram."""

    def sent(self, now: float, number: int, size: int, long: bool) -> None:
        """A datagram was sealed."""

    def received(self, now: float, number: int, size: int, long: bool) -> None:
        """A datagram was opened."""

    def close(self) -> None:
        """No more events will come."""


class Trace(NullTrace):
    """
    A trace that is written.

    @param write: takes one line of text at a time.
    @param title: names the connection.
    @param role: C{"client"} (starter) or C{"server"} (listener), qlog's words.
    @param now: s; the zero of the trace's times.
    @param close: called once when the connection is over.
    """

    __slots__ = ("_close", "_start", "_write")

    kept = True

    def __init__(
        self, write: Callable[[str], Any], title: str, role: str, now: float, close: Callable[[], Any] = lambda: None
    ) -> None:
        self._write = write
        self._start = now
        self._close = close
        common = {"time_format": "relative", "reference_time": now, "protocol_type": ["hypermail/1"]}
        trace = {"vantage_point": {"type": role}, "common_fields": common}
        self._line({"qlog_format": "JSON-SEQ", "qlog_version": "0.4", "title": title, "trace": trace})

    def _line(self, record: dict[str, Any]) -> None:
        self._write(json.dumps(record, separators=(",", ":"), default=str) + "\n")

    def event(self, now: float, name: str, **data: Any) -> None:
        self._line({"time": round((now - self._start) * 1e3, 3), "name": name, "data": data})

    def _packet(self, now: float, name: str, number: int, size: int, long: bool) -> None:
        kind = "handshake" if long else "1RTT"
        self.event(now, name, header={"packet_type": kind, "packet_number": number}, raw={"length": size})

    def sent(self, now: float, number: int, size: int, long: bool) -> None:
        self._packet(now, "transport:packet_sent", number, size, long)

    def received(self, now: float, number: int, size: int, long: bool) -> None:
        self._packet(now, "transport:packet_received", number, size, long)

    def close(self) -> None:
        self._close()
