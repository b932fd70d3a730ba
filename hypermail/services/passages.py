"""
What C{--forward} and C{--listen} say: C{[NAME=]ENDPOINT}, where the two ends of a tunnel find each other by the name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeVar

from hypermail.errors import HypermailError, UsageError
from hypermail.services.addresses import Destination, parse_listening, parse_port, unescape
from hypermail.services.paths import printable

_NAMED = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,63})=(.+)", re.DOTALL)
_UDP = "udp:"

#: What C{--forward} and C{--listen} take.
CLIENT_EXAMPLE, SERVER_EXAMPLE = "tcp:127.0.0.1:22", "tcp:2222:interface=127.0.0.1"

E = TypeVar("E")


class Passage(NamedTuple):
    """
    One end of one passage through a tunnel.

    @ivar name: empty for the one that needs none.
    @ivar description: of a Twisted endpoint, or C{udp:...}.
    """

    name: str
    description: str

    @property
    def datagrams(self) -> bool:
        """Whether datagrams pass, not connections."""
        return self.description.startswith(_UDP)

    def __str__(self) -> str:
        return f"{self.name}={self.description}" if self.name else self.description


def _parse(text: str, example: str) -> Passage:
    """@param example: of an endpoint that would do."""
    named = _NAMED.fullmatch(text)
    passage = Passage(named[1], named[2]) if named else Passage("", text)
    kind, colon, rest = passage.description.partition(":")
    if not colon or not rest or not re.fullmatch(r"[A-Za-z][A-Za-z0-9]*", kind):
        raise UsageError(f"{text!r} is not [NAME=]ENDPOINT, as {example} or ssh={example}")
    return passage


def parse_forwards(texts: Iterable[str]) -> tuple[Passage, ...]:
    """
    Read all of C{--forward}.

    @raise UsageError: when one cannot be read, or two have one name.
    """
    return _parse_all(texts, parse_udp_target, CLIENT_EXAMPLE)


def parse_listens(texts: Iterable[str]) -> tuple[Passage, ...]:
    """
    Read all of C{--listen}.

    @raise UsageError: when one cannot be read, or two have one name.
    """
    return _parse_all(texts, parse_udp_source, SERVER_EXAMPLE)


def _parse_all(texts: Iterable[str], check: Callable[[Passage], object], example: str) -> tuple[Passage, ...]:
    found: dict[str, Passage] = {}
    for text in texts:
        passage = _parse(text, example)
        if passage.name in found:
            what = f"the name {passage.name!r}" if passage.name else "no name"
            raise UsageError(f"{found[passage.name]} and {passage} both have {what}: give each a name of its own")
        if passage.datagrams:
            try:
                check(passage)
            except UsageError as error:
                raise UsageError(f"{passage}: {error.text}") from error
        found[passage.name] = passage
    return tuple(found.values())


def parse_udp_source(passage: Passage) -> tuple[int, str]:
    """
    Where datagrams are taken: C{udp:PORT[:interface=ADDRESS]}.

    @return: port and interface; the interface is empty for all of IPv4.
    @raise UsageError: when it is none.
    """
    try:
        return parse_listening(passage.description)
    except UsageError as error:  # who says which passage it was says what is in front of this
        raise UsageError(error.text.removeprefix(f"{passage.description!r}: ")) from None


def parse_udp_target(passage: Passage) -> Destination:
    """
    Where datagrams go: C{udp:HOST:PORT}; colons within the host are escaped with backslashes.

    @raise UsageError: when it is none.
    """
    fields = [unescape(field) for field in re.split(r"(?<!\\):", passage.description)]
    if len(fields) != 3 or not fields[1] or not fields[1].isprintable() or re.search(r"\s", fields[1]):
        raise UsageError("datagrams go on to udp:HOST:PORT, as udp:127.0.0.1:53")
    return Destination(fields[1], parse_port(fields[2], least=1))


def endpoint_of(passage: Passage, option: str, parse: Callable[[str], E], wanted: str, example: str) -> E:
    """
    The endpoint that a passage describes.

    @param option: where it was given, C{--forward} or C{--listen}.
    @param parse: one of Twisted's parsers of such descriptions.
    @param wanted: what would be right; C{example}: one.
    @raise UsageError: when it describes none.
    """
    try:
        return parse(passage.description)
    except HypermailError as error:
        raise UsageError(f"{option} {passage}: {error.text}") from error
    except Exception as error:  # each kind of endpoint has its own
        why = printable(str(error) or type(error).__name__)
        if isinstance(error, TypeError):  # of a call: "f() missing 1 required positional argument: 'port'"
            why = re.sub(r"^\S*\(\) ", "", why)
        raise UsageError(f"{option} {passage}: {why}; it takes an endpoint {wanted}, as {example}") from error
