"""
How a file travels on a stream; both sides, L{inbox} and L{sending}, speak by this.

A I{transfer} is one version of one file on its way to one inbox. Its sender chooses 16 random bytes for it, which stay
the same however often it has to begin again, and are used for nothing else.

The opener opens a stream with the name C{file} and attributes:

============= =========================================================================================
C{path}       the relative POSIX path in UTF-8
C{size}       the content's bytes, as decimal digits
C{transfer}   the 16 bytes
C{again}      C{1} when the transfer may have been offered before; missing, when it certainly was not
============= =========================================================================================

 1. The first time, it sends the content at once: nobody can have any of it. C{again} it waits for a line of UTF-8,
    C{from OFFSET}: so many bytes of this very transfer are there, and it sends what is behind them.
 2. Then it sends the SHA-256 of the whole content (32 bytes), what it has skipped included.
 3. The other side answers a line, and closes its direction: C{stored NAME}, once the file is safe on its disk under
    that name, or C{failed REASON}, at any time, when it cannot be. C{stored NAME} comes at once, instead of C{from} or
    in the middle of the content, when it was stored before: it is not stored twice.
 4. With C{stored} the opener closes its direction: it knows, and will not ask again, so the inbox need not remember.
    Closing it earlier, behind the SHA-256, says the same in advance.

The opener's direction ends after the SHA-256: more, and less, are faults. An opener that cannot go on clears
the stream, as both do with one that a newer stream of the same transfer has replaced.
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
TRANSFER_SIZE = 16
"""Bytes that name a transfer."""

MAX_SIZE = (1 << 62) - 1 - DIGEST_SIZE

MAX_ANSWER = 4_096
"""Bytes of the longest answer, its newline included."""

_FROM = "from "
_STORED = "stored "
_FAILED = "failed "


class BadFile(HypermailError):
    """A stream claims to carry a file, and what it says of it makes no sense."""

    default_code = Reason.STREAM_REJECTED


class Announced(NamedTuple):
    """
    What an opener says of a file.

    @ivar transfer: 16 bytes that name the transfer.
    @ivar again: whether the opener waits to be told where to go on.
    """

    parts: tuple[str, ...]
    size: int
    transfer: bytes
    again: bool

    @property
    def path(self) -> str:
        """The relative path."""
        return "/".join(self.parts)


class Answer(NamedTuple):
    """What became of a file: C{text} is its final name, or the reason of the failure."""

    stored: bool
    text: str


class Onward(NamedTuple):
    """So many bytes of a file are there already."""

    offset: int


def file_options(path: bytes, size: int, transfer: bytes, *, again: bool = False) -> StreamOptions:
    """
    What to open a file's stream with.

    @param path: relative, of safe components.
    @param size: bytes of the content.
    @param transfer: 16 bytes.
    @param again: whether the transfer may have been offered before.
    """
    attributes = {"path": path, "size": b"%d" % size, "transfer": transfer}
    if again:
        return StreamOptions(attributes={**attributes, "again": b"1"})
    return StreamOptions(attributes=attributes, length=size + DIGEST_SIZE)


def read_options(options: StreamOptions) -> Announced:
    """
    What a peer says of a file.

    @raise BadFile: when an attribute is missing or wrong.
    @raise hypermail.services.paths.UnsafeName: when the path may not become a file.
    """
    size = _read_size(options.attributes)
    again = _read_again(options.attributes)
    if not again and options.length is not None and options.length != size + DIGEST_SIZE:
        raise BadFile(f"a stream of {options.length} bytes cannot carry a file of {size} and its SHA-256")
    transfer = bytes(options.attributes.get("transfer", b""))
    if len(transfer) != TRANSFER_SIZE:
        raise BadFile(f"the file's transfer is named by {len(transfer)} bytes, not {TRANSFER_SIZE}")
    try:
        path = options.attributes["path"]
    except KeyError:
        raise BadFile("the file has no path") from None
    return Announced(safe_parts(bytes(path)), size, transfer, again)


def _read_again(attributes: Mapping[str, bytes]) -> bool:
    again = bytes(attributes.get("again", b""))
    if again not in (b"", b"1"):
        raise BadFile("what the file's attribute again says makes no sense")
    return bool(again)


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


def onward(offset: int) -> bytes:
    """The answer to a transfer that is offered again: so many bytes of it are there."""
    return f"{_FROM}{offset}\n".encode()


def read_answer(line: bytes) -> Answer | Onward:
    """
    What the other side answered.

    @param line: with its newline.
    @raise BadFile: when it is no answer.
    """
    text = line.decode("utf-8", "replace")
    for word, is_stored in ((_STORED, True), (_FAILED, False)):
        if text.startswith(word) and text.endswith("\n"):
            return Answer(is_stored, text[len(word) : -1])
    digits = text[len(_FROM) : -1]
    if text.startswith(_FROM) and text.endswith("\n") and digits.isascii() and digits.isdigit() and len(digits) < 20:
        return Onward(int(digits))
    raise BadFile(f"the other side is no inbox: it answered {line[:24]!r}")
