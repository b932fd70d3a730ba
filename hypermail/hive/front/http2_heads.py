"""
The heads of requests in HTTP/2 (RFC 9113 §8): checked by us, since h2 ends the connection where only a stream is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from hypermail.hive.fields import Lists
from hypermail.hive.front.wire import gathered

Fields = Iterable[tuple[bytes, bytes]]

_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]+")  # RFC 9113 §8.2.1, as far as it is a token
_VALUE = re.compile(rb"(?![ \t])[^\0\r\n]*(?<![ \t])")
_BREAKS = re.compile(rb"[\0\r\n]")

_OF_REQUESTS = frozenset((b":method", b":scheme", b":path", b":authority"))
#: RFC 9113 §8.2.2.
_OF_CONNECTIONS = frozenset((b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"))


class Malformed(Exception):
    """A request is none (RFC 9113 §8.1.1); the text says why."""


class RequestFields(NamedTuple):
    """
    @ivar target: C{:path}, or C{:authority} for C{CONNECT}.
    @ivar number: how many fields there were, without those of the request line.
    """

    method: str
    target: bytes
    headers: Lists
    number: int


def read_request(fields: Fields) -> RequestFields:
    """
    Read the fields of a request.

    @raise Malformed: when they are none.
    """
    pseudo: dict[bytes, bytes] = {}
    others: list[tuple[bytes, bytes]] = []
    for name, value in fields:
        if name[:1] != b":":
            others.append(_checked(name, value))
        elif others or name in pseudo or name not in _OF_REQUESTS or not _VALUE.fullmatch(value):
            raise Malformed(f"{name!r} at the wrong place, or with a wrong value")
        else:
            pseudo[name] = value
    method = pseudo.get(b":method", b"")
    target = pseudo.get(b":path", b"")
    if method == b"CONNECT":  # RFC 9113 §8.5
        if b":path" in pseudo or b":scheme" in pseudo:
            raise Malformed("CONNECT has neither path nor scheme")
        target = pseudo.get(b":authority", b"")
    elif b":scheme" not in pseudo:
        raise Malformed("there is no scheme")
    if not method or not target or not method.isascii():
        raise Malformed("there is no method, or nothing that it is for")
    headers = gathered(others)
    if b":authority" in pseudo:
        authority = (pseudo[b":authority"].decode("latin-1"),)
        if headers.setdefault("host", authority) != authority:  # RFC 9113 §8.3.1
            raise Malformed("the host is another one than the authority")
    return RequestFields(method.decode(), target, headers, len(others))


def read_trailers(fields: Fields) -> Lists:
    """
    Read trailers.

    @raise Malformed: when they are none.
    """
    return gathered(_checked(name, value) for name, value in fields)


def breaks(fields: Fields) -> bool:
    """Whether a field of ours has what would end its line where it becomes HTTP/1.1 again."""
    return any(_BREAKS.search(value) for _, value in fields)


def _checked(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
        raise Malformed(f"{name[:100]!r} is no field, or has no value of one")
    if name in _OF_CONNECTIONS or (name == b"te" and value != b"trailers"):
        raise Malformed(f"{name!r} is of HTTP/1.1")
    return name, value
