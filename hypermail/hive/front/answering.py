"""
Between a version of HTTP and who answers.
"""

from __future__ import annotations

from typing import Any

from twisted.logger import Logger

from hypermail.hive.front.calls import NOBODY, Answerer, Call, Serve
from hypermail.hive.front.pages import send
from hypermail.hive.heads import RequestArrival

_log = Logger()

#: With what addresses of IPv4 begin, where a socket for both families shows them (RFC 4291 §2.5.5.2).
_MAPPED = "::ffff:"


def served(serve: Serve, call: Call) -> Answerer:
    """Have a call answered; by a page for 500 when that fails, which is a bug: this client has to know, and the log."""
    try:
        return serve(call)
    except Exception:
        _log.failure("A request could not be served")
        if call.responded:
            call.abort()
        else:
            send(call, 500)
        return NOBODY


def arrival_of(transport: Any, scheme: str, version: tuple[int, int]) -> RequestArrival:
    """Where a connection comes from; sockets of UNIX have no address. Addresses are written as people know them."""
    peer = transport.getPeer()
    host = getattr(peer, "host", "")
    port = getattr(peer, "port", 0)
    if not isinstance(host, str) or not isinstance(port, int):
        return RequestArrival("", 0, scheme, version)
    host = host.partition("%")[0]  # RFC 4007 §11: zones mean nothing elsewhere
    if host.startswith(_MAPPED) and "." in host:
        host = host.removeprefix(_MAPPED)
    return RequestArrival(host, port, scheme, version)
