"""
Headers between the wire's bytes and strings.
"""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus

from hypermail.hive.fields import Lists

#: Of a request: header fields, and bytes of all that comes before its body.
MOST_FIELDS = 100
LARGEST_HEAD = 1 << 16

#: What the front itself says of a response.
OURS = frozenset(("connection", "content-length", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"))

PHRASES = {status.value: status.phrase.encode() for status in HTTPStatus}


def from_wire(value: bytes) -> str:
    """
    The value of a header. It should be ASCII (RFC 9110 §5.5); what is not is mostly UTF-8, and goes on to cells so.
    """
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def gathered(fields: Iterable[tuple[bytes, bytes]]) -> dict[str, tuple[str, ...]]:
    """Fields as they came, by name."""
    found: dict[str, list[str]] = {}
    for raw, value in fields:
        found.setdefault(raw.decode("latin-1"), []).append(from_wire(value))
    return {name: tuple(values) for name, values in found.items()}


def flattened(headers: Lists) -> list[tuple[bytes, bytes]]:
    """Headers of a response, field by field, but for what the front says itself."""
    return [(name.encode(), value.encode()) for name, values in headers.items() if name not in OURS for value in values]
