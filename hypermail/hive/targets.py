"""
What a request asks for: its target, read once, so that queen and cell cannot read it differently.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, unquote_to_bytes

from hypermail.hive.errors import RequestRefused
from hypermail.hive.fields import Lists

#: Fields of a query, and cookies, of one request.
MOST_FIELDS = 1_000

_PATH = re.compile(r"/(?:[!$&'()*+,;=:@/A-Za-z0-9._~|\"<>\\^`{}\[\]-]|%[0-9A-Fa-f]{2})*")
_QUERY = re.compile(r"[\x21-\x22\x24-\x7e]*")
_ABSOLUTE = re.compile(r"https?://([^/?#]*)(.*)", re.IGNORECASE | re.DOTALL)
#: What would be another path once somebody else has decoded it: dots alone between slashes.
_DOTS = re.compile(r"(?:^|/)\.{1,2}(?=/|$)")
#: A slash that is none of the path's own.
_INNER = re.compile(r"%2[Ff]")


class RequestTarget(NamedTuple):
    """
    Of one request.

    @ivar authority: of a target that is a whole URL, else empty; it counts instead of C{Host} (RFC 9112 §3.2.2).
    @ivar raw: the path as it was written.
    @ivar query: as it was written, without the question mark.
    """

    authority: str
    raw: str
    query: str

    @property
    def path(self) -> str:
        """The path by which mounts are found: decoded, but for slashes that were written as C{%2F}."""
        return "%2F".join(unquote(part, errors="replace") for part in _INNER.split(self.raw))

    def below(self, mount: str) -> RequestTarget:
        """What a cell sees that has mounted a path which this one begins with, or is."""
        if not mount.endswith("/"):
            return self._replace(raw="/")
        parts = self.raw.split("/", mount.count("/"))
        return self._replace(raw="/" + parts[-1])

    def __str__(self) -> str:
        return f"{self.raw}?{self.query}" if self.query else self.raw


def parse_target(target: bytes) -> RequestTarget:
    """
    Read what stands between method and version.

    @raise RequestRefused: when it is no path or URL, or one that others might read differently.
    """
    try:
        text = target.decode("ascii")
    except UnicodeDecodeError:
        raise RequestRefused(400, "the target has characters that are not ASCII's") from None
    authority = ""
    absolute = _ABSOLUTE.fullmatch(text)
    if absolute is not None:
        authority, text = absolute[1], absolute[2]
        if not authority or "@" in authority:
            raise RequestRefused(400, "the target has no host, or names a user")
        text = text if text.startswith("/") else "/" + text
    raw, _, query = text.partition("?")
    if not _PATH.fullmatch(raw) or not _QUERY.fullmatch(query):
        raise RequestRefused(400, "the target is no path")
    found = RequestTarget(authority, raw, query)
    if _DOTS.search(unquote_to_bytes(raw).decode("latin-1").replace("\\", "/")):
        raise RequestRefused(400, "the path has segments of dots")
    return found


def check_fields(query: str, cookies: tuple[str, ...]) -> None:
    """
    Count what L{fields_of} and L{cookies_of} would read.

    @raise RequestRefused: when there are too many.
    """
    if query.count("&") >= MOST_FIELDS:
        raise RequestRefused(400, f"the query has more than {MOST_FIELDS} fields")
    if sum(1 + value.rstrip("; \t").count(";") for value in cookies) > MOST_FIELDS:
        raise RequestRefused(400, f"there are more than {MOST_FIELDS} cookies")


def fields_of(query: str) -> Lists:
    """The fields of a query, decoded, by name."""
    found: dict[str, tuple[str, ...]] = {}
    for name, value in parse_qsl(query, keep_blank_values=True, errors="replace"):
        found[name] = (*found.get(name, ()), value)
    return found


def cookies_of(values: tuple[str, ...]) -> Lists:
    """
    Cookies by name (RFC 6265 §5.4); what has no name is none.

    @param values: of the headers C{cookie}.
    """
    found: dict[str, tuple[str, ...]] = {}
    for value in values:
        for one in value.split(";"):
            name, equals, content = one.strip(" \t").partition("=")
            if name and equals:
                found[name] = (*found.get(name, ()), content)
    return found
