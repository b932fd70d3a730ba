"""
Which names that a peer sends may become files here, and how a name that is taken is numbered.

Names travel as relative POSIX paths in UTF-8. Nothing here touches a disk: symbolic links are the
business of L{hypermail.services.directory}.
"""

from __future__ import annotations

import os
import unicodedata

from hypermail.errors import HypermailError, Reason

MAX_COMPONENT = 255
"""Bytes of one component: what nearly every file system takes."""

MAX_PATH = 900
"""Bytes of a whole path: with the other attributes of a stream it must fit C{StreamOpen} (960 bytes)."""

PART = ".part"
"""What the name of a file ends with while it arrives."""

_LONGEST_EXTENSION = 32
_REFUSED_CATEGORIES = frozenset(("Cc", "Cs", "Zl", "Zp"))


class UnsafeName(HypermailError):
    """A name is not one that may become a file here; the text says why."""

    default_code = Reason.STREAM_REJECTED


def safe_parts(path: bytes) -> tuple[str, ...]:
    """
    The components of a relative path, once it is certain that each is harmless.

    @param path: as the peer sent it.
    @raise UnsafeName: for everything that could leave the directory, confuse a terminal, or that a
        file system would not take.
    """
    if not path:
        raise UnsafeName("the name is empty")
    if len(path) > MAX_PATH:
        raise UnsafeName(f"the name has {len(path)} bytes, {MAX_PATH} are the most")
    try:
        text = path.decode("utf-8")
    except UnicodeDecodeError:
        raise UnsafeName(f"the name is not UTF-8: {path!r}") from None
    if text.startswith("/"):
        raise UnsafeName(f"the name is absolute: {text!r}")
    parts = tuple(text.split("/"))
    for part in parts:
        _check_component(part, text)
    return parts


def _check_component(part: str, whole: str) -> None:
    if part in ("", ".", ".."):
        raise UnsafeName(f"the name has a component {part!r}: {whole!r}")
    if "\\" in part:
        raise UnsafeName(f"the name has a backslash: {whole!r}")
    if any(unicodedata.category(character) in _REFUSED_CATEGORIES for character in part):
        raise UnsafeName(f"the name has control characters: {whole!r}")
    if len(part.encode("utf-8")) > MAX_COMPONENT:
        raise UnsafeName(f"a component of the name is longer than {MAX_COMPONENT} bytes: {whole!r}")


def printable(text: str) -> str:
    """A text that somebody else wrote, in one line and without anything that a terminal would obey."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def numbered(name: str, number: int, suffix: str = "") -> str:
    """
    The C{number}-th name to try where C{name} may be taken: C{name.ext}, C{name (2).ext}, ...

    A name too long for its number or suffix loses the end of its stem.

    @param name: one component.
    @param number: from 1.
    @param suffix: what to append after all.
    """
    stem, extension = os.path.splitext(name)
    if len(extension.encode("utf-8")) > _LONGEST_EXTENSION:
        stem, extension = name, ""
    tail = (f" ({number})" if number > 1 else "") + extension + suffix
    room = MAX_COMPONENT - len(tail.encode("utf-8"))
    return stem.encode("utf-8")[:room].decode("utf-8", "ignore") + tail
