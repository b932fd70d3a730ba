"""
Between a version of HTTP and who answers.
"""

from __future__ import annotations

from typing import Any

from twisted.logger import Logger

from hypermail.hive.fields import Lists
from hypermail.hive.front.calls import Answerer, Call, Serve
from hypermail.hive.front.wire import PAGE_HEADERS, page
from hypermail.hive.heads import Arrival

_log = Logger()

#: With what addresses of IPv4 begin, where a socket for both families shows them (RFC 4291 §2.5.5.2).
_MAPPED = "::ffff:"


class Nobody:
    """Stands where somebody answered, or will."""

    def bodyReceived(self, data: bytes) -> None:
        """See L{Answerer}."""

    def bodyEnded(self, trailers: Lists) -> None:
        """See L{Answerer}."""

    def pauseResponse(self) -> None:
        """See L{Answerer}."""

    def resumeResponse(self) -> None:
        """See L{Answerer}."""

    def clientLost(self) -> None:
        """See L{Answerer}."""


NOBODY: Answerer = Nobody()


def served(serve: Serve, call: Call) -> Answerer:
    """Have a call answered; by a page for 500 when that fails, which is a bug: this client has to know, and the log."""
    try:
        return serve(call)
    except Exception:
        _log.failure("A request could not be served")
        if call.responded:
            call.abort()
        else:
            give_page(call, 500)
        return NOBODY


def give_page(call: Call, status: int) -> None:
    """Answer a call by what the status means."""
    text = page(status)
    call.respond(status, PAGE_HEADERS, len(text))
    call.write(text)
    call.end({})


def arrival_of(transport: Any, scheme: str, version: tuple[int, int]) -> Arrival:
    """Where a connection comes from; sockets of UNIX have no address. Addresses are written as people know them."""
    peer = transport.getPeer()
    host = getattr(peer, "host", "")
    port = getattr(peer, "port", 0)
    if not isinstance(host, str) or not isinstance(port, int):
        return Arrival("", 0, scheme, version)
    host = host.partition("%")[0]  # RFC 4007 §11: zones mean nothing elsewhere
    if host.startswith(_MAPPED) and "." in host:
        host = host.removeprefix(_MAPPED)
    return Arrival(host, port, scheme, version)
