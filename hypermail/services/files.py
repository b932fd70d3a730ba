"""
How a file travels on a stream; both sides, L{inbox} and L{sending}, speak by this.

The opener opens a stream with the name C{file} and two attributes: C{path}, the relative POSIX path
in UTF-8, and C{size}, the content's bytes as decimal digits; the announced length of the stream is
that and 32. It sends the content, then its SHA-256 (32 bytes), then it closes its direction. The
other side answers one line of UTF-8 and closes: C{stored NAME}, once the file is safe on its disk
under that name, or C{failed REASON}, at any time. An opener that cannot go on clears the stream.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import NamedTuple

from hypermail.errors import HypermailError, Reason
from hypermail.events import StreamOptions
from hypermail.services.paths import printable, safe_parts

NAME = b"file"
"""The name of a stream that carries a file."""

DIGEST_SIZE = hashlib.sha256().digest_size
MAX_SIZE = (1 << 62) - 1 - DIGEST_SIZE

MAX_ANSWER = 4_096
"""Bytes of the longest answer, its newline included."""

_STORED = "stored "
_FAILED = "failed "


class BadFile(HypermailError):
    """A stream claims to carry a file, and what it says of it makes no sense."""

    default_code = Reason.STREAM_REJECTED


class Announced(NamedTuple):
    """What an opener says of a file."""

    parts: tuple[str, ...]
    size: int

    @property
    def path(self) -> str:
        """The relative path."""
        return "/".join(self.parts)


class Answer(NamedTuple):
    """What became of a file: C{text} is its final name, or the reason of the failure."""

    stored: bool
    text: str


def file_options(path: bytes, size: int) -> StreamOptions:
    """
    What to open a file's stream with.

    @param path: relative, of safe components.
    @param size: bytes of the content.
    """
    return StreamOptions(attributes={"path": path, "size": b"%d" % size}, length=size + DIGEST_SIZE)


def read_options(options: StreamOptions) -> Announced:
    """
    What a peer says of a file.

    @raise BadFile: when an attribute is missing or wrong.
    @raise hypermail.services.paths.UnsafeName: when the path may not become a file.
    """
    size = _read_size(options.attributes)
    if options.length is not None and options.length != size + DIGEST_SIZE:
        raise BadFile(f"a stream of {options.length} bytes cannot carry a file of {size} and its SHA-256")
    try:
        path = options.attributes["path"]
    except KeyError:
        raise BadFile("the file has no path") from None
    return Announced(safe_parts(bytes(path)), size)


def _read_size(attributes: Mapping[str, bytes]) -> int:
    digits = bytes(attributes.get("size", b""))
    if not digits.isdigit() or len(digits) > 19:
        raise BadFile("the file's size is missing or not a number")
    size = int(digits)
    if size > MAX_SIZE:
        raise BadFile(f"a size of {size} bytes is beyond everything")
    return size


def stored(name: str) -> bytes:
    """The answer for a file that is safe under C{name}."""
    return f"{_STORED}{name}\n".encode()


def failed(text: str) -> bytes:
    """The answer for a file that could not be stored."""
    return f"{_FAILED}{printable(text)[:1_000]}\n".encode("utf-8", "replace")


def read_answer(line: bytes) -> Answer:
    """
    What the other side answered.

    @param line: with its newline.
    @raise BadFile: when it is no answer.
    """
    text = line.decode("utf-8", "replace")
    for word, is_stored in ((_STORED, True), (_FAILED, False)):
        if text.startswith(word) and text.endswith("\n"):
            return Answer(is_stored, text[len(word) : -1])
    raise BadFile(f"the other side is no inbox: it answered {line[:24]!r}")
