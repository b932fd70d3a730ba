"""
Headers between a client, a queen and a cell: what may be in them, and which go no further than the next hop.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from hypermail.hive.errors import FrameInvalid
from hypermail.hive.fields import Lists

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 §5.6.2
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\U0010ffff]*")  # RFC 9110 §5.5, where others than ASCII are opaque

#: Of one connection only (RFC 9110 §7.6.1), besides those that C{connection} names.
HOP_BY_HOP = frozenset(
    (
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)

_LENGTH = "content-length"

#: What means nothing behind a body, and harm where trailers are taken for headers (RFC 9110 §6.5.1): lengths, where a
#: request goes, who asks.
_NO_TRAILERS = HOP_BY_HOP | {
    _LENGTH,
    "authorization",
    "cookie",
    "forwarded",
    "host",
    "set-cookie",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
}


def checked(headers: Lists) -> dict[str, tuple[str, ...]]:
    """
    Headers of a peer's, by names in lower case.

    @raise FrameInvalid: when one could end its line, or has a name that is none.
    """
    found: dict[str, list[str]] = {}
    for name, values in headers.items():
        if not _TOKEN.fullmatch(name):
            raise FrameInvalid(f"{name[:100]!r} is no name of a header")
        for value in values:
            if not _VALUE.fullmatch(value):
                raise FrameInvalid(f"the header {name[:100]} has a character that ends or hides a line")
        found.setdefault(name.lower(), []).extend(value.strip(" \t") for value in values)
    return {name: tuple(values) for name, values in found.items()}


def end_to_end(headers: Lists) -> dict[str, tuple[str, ...]]:
    """What of checked headers goes further than the next hop."""
    named = set(elements(headers.get("connection", ())))
    return {name: values for name, values in headers.items() if name not in HOP_BY_HOP and name not in named}


def trailing(trailers: Lists) -> dict[str, tuple[str, ...]]:
    """What of checked trailers goes further."""
    return {name: values for name, values in trailers.items() if name not in _NO_TRAILERS}


def elements(values: Iterable[str]) -> list[str]:
    """The elements of a header that is a list of tokens, in lower case (RFC 9110 §5.6.1)."""
    return [one for value in values for one in (part.strip(" \t").lower() for part in value.split(",")) if one]


def content_length(headers: Lists) -> int | None:
    """
    Bytes of the body that checked headers promise; None when they promise nothing.

    @raise FrameInvalid: when they contradict themselves, or promise no number (RFC 9112 §6.3).
    """
    said = {part.strip(" \t") for value in headers.get(_LENGTH, ()) for part in value.split(",")}
    if not said:
        return None
    if len(said) > 1:
        raise FrameInvalid("there are several lengths of one body")
    [length] = said
    if not length.isascii() or not length.isdigit() or len(length) > 18:
        raise FrameInvalid(f"{length[:30]!r} is no length of a body")
    return int(length)
