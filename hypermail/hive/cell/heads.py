"""
The head of a request, as applications have it, and that of a response, as frames have it.

Headers are bytes to applications and text in frames: UTF-8, or Latin-1 where they are not that.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import quote, urlencode

from hypermail.errors import UsageError
from hypermail.hive.errors import FrameInvalid, RequestRefused
from hypermail.hive.fields import Lists
from hypermail.hive.frames import BODY, NO_BODY, RequestHead
from hypermail.hive.headers import checked, content_length, elements, end_to_end
from hypermail.hive.targets import parse_target

Pairs = list[tuple[bytes, bytes]]

#: What a path may have as it is (RFC 3986 §3.3).
_PATH = "/!$&'()*+,;=:@~"
#: Requests that have no body, unless they say how long it is.
_BODILESS = ("GET", "HEAD", "OPTIONS", "DELETE")
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Peer(NamedTuple):
    """An address, and a port; 0 when that is not known."""

    host: str
    port: int


def target_of(head: RequestHead) -> str:
    """Path and query as they were written; queens without extensions don't say, so that it is put together again."""
    try:
        found = parse_target(head.target.encode())
    except RequestRefused:
        found = None
    if found is not None and not found.authority:
        return str(found)
    path = head.path if head.path.startswith("/") else "/" + head.path
    query = urlencode([(name, value) for name, values in head.query.items() for value in values])
    return quote(path, safe=_PATH) + (f"?{query}" if query else "")


def length_of(head: RequestHead) -> int | None:
    """
    Bytes of the body; 0 where none is expected, None where only its end will tell.

    @raise FrameInvalid: when the head contradicts itself.
    """
    length = content_length(head.headers)
    if head.body == NO_BODY:
        return 0
    return 0 if length is None and head.body != BODY and head.method in _BODILESS else length


def root_of(head: RequestHead, known: str) -> str:
    """
    The path that is mounted, without the slash at its end.

    @param known: what it is if the queen does not say, who knows no extensions.
    """
    return (head.mount or known).rstrip("/")


def upgrade_of(head: RequestHead) -> str:
    """The protocol that the client would like to go on in, in lower case; empty when none."""
    if "upgrade" not in elements(head.headers.get("connection", ())):
        return ""
    return ", ".join(elements(head.headers.get("upgrade", ())))


def scheme_of(head: RequestHead) -> str:
    """What the client has used. Queens that don't say speak HTTPS."""
    return "http" if head.scheme == "http" else "https"


def client_of(head: RequestHead) -> Peer:
    """Who has asked."""
    return _peer(head.remote_address or head.remote_address_real)


def server_of(head: RequestHead) -> Peer:
    """Whom the client has asked."""
    default = _DEFAULT_PORTS[scheme_of(head)]
    if head.host:
        return Peer(head.host, head.port or default)
    [said, *_] = head.headers.get("host", ()) or ("",)
    host, port = _peer(said)
    return Peer(host or "localhost", port or default)


def _peer(text: str) -> Peer:
    """An address with or without its port."""
    host, colon, port = text.rpartition(":")
    if not colon or (":" in host and not host.startswith("[")) or not (port.isascii() and port.isdigit()):
        return Peer(text.strip("[]"), 0)
    return Peer(host.strip("[]"), int(port) if len(port) <= 5 else 0)


def pairs_of(headers: Lists) -> Pairs:
    """Headers as applications have them."""
    return [(name.encode(), value.encode()) for name, values in headers.items() for value in values]


def lists_of(pairs: Iterable[tuple[bytes, bytes]], *, upgrade: bool = False) -> Lists:
    """
    Headers of an application's response, but for those of a connection.

    @param upgrade: whether it accepts one: then they are all needed.
    @raise UsageError: when one could not be sent.
    """
    found: dict[str, tuple[str, ...]] = {}
    for name, value in pairs:
        key = name.decode("latin-1").lower()
        found[key] = (*found.get(key, ()), _text(value))
    try:
        headers = checked(found)
    except FrameInvalid as error:
        raise UsageError(f"the application's response cannot be sent: {error.text}") from None
    return headers if upgrade else end_to_end(headers)


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
