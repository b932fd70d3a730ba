"""
Bytes as they come, into frames (C{docs/protocol/hive}, "Frames").

Twisted's L{Int32StringReceiver} does as much, but copies all that it has of a frame whenever some more of it comes, and
gives out frames twice when it is resumed by whom it gives one to.
"""

from __future__ import annotations

from collections import deque
from struct import Struct

from hypermail.hive.errors import FrameInvalid
from hypermail.hive.frames import LARGEST_JSON, LARGEST_STRANGE, Kind

_LENGTH = Struct(">I")

#: What may be given out in parts: the bytes of a body mean the same in one frame, or in several.
_BODIES = frozenset((Kind.REQUEST_BODY, Kind.RESPONSE_BODY))
#: Bytes of such a frame that are given out before all of it is here.
PART = 1 << 16
#: Bytes of a piece that is copied behind another, so that there are not many of them.
_SMALL = 512


def framed(frame: bytes) -> tuple[bytes, bytes]:
    """What is to be written of a frame, in two pieces, since most of them are large."""
    return _LENGTH.pack(len(frame)), frame


class FrameReader:
    """
    One direction of one connection. It holds no more than a frame of JSON, or a part of another.

    @ivar largest: bytes that a frame may have from now on.
    """

    __slots__ = ("_begun", "_length", "_offset", "_pieces", "_size", "largest")

    def __init__(self, largest: int = LARGEST_STRANGE) -> None:
        self.largest = largest
        self._pieces: deque[bytes] = deque()
        self._offset = 0  # of what is not yet read, in the first of them
        self._size = 0  # bytes that are not yet read
        self._length: int | None = None  # of the next frame, as far as it was not given out
        self._begun = b""  # its kind, if some of it was

    def feed(self, data: bytes) -> None:
        """Something has come."""
        if not data:
            return
        self._size += len(data)
        if self._pieces and len(data) <= _SMALL and len(self._pieces[-1]) <= 8 * _SMALL:
            self._pieces[-1] += data
        else:
            self._pieces.append(data)

    def next(self) -> bytes | None:
        """
        The next frame without its length, or a part of a body as if it were one; None when not enough of it is here.

        @raise FrameInvalid: when it would be empty, or larger than it may be.
        """
        if self._length is None:
            if self._size < _LENGTH.size:
                return None
            [length] = _LENGTH.unpack(self._take(_LENGTH.size))
            if not length:
                raise FrameInvalid("a frame without a kind")
            if length > self.largest:
                raise FrameInvalid(f"a frame of {length:,} bytes; {self.largest:,} are the most")
            self._length = length
        if self._size:
            self._check_kind(self._length)
        if self._size < self._length:
            return self._part(self._length)
        frame = self._begun + self._take(self._length)
        self._length, self._begun = None, b""
        return frame

    def _check_kind(self, length: int) -> None:
        if length > LARGEST_JSON and not self._is_body():
            raise FrameInvalid(f"a frame of {length:,} bytes of JSON; {LARGEST_JSON:,} are the most")

    def _is_body(self) -> bool:
        return bool(self._begun) or self._pieces[0][self._offset] in _BODIES

    def _part(self, length: int) -> bytes | None:
        """Some of a large body; None when that has to wait."""
        if self._size < PART or not self._is_body():
            return None
        part = self._begun + self._take(PART)
        self._length, self._begun = length - PART, part[:1]
        return part

    def _take(self, size: int) -> bytes:
        """So many bytes, which are here. Of several pieces they are copied once."""
        first = self._pieces[0]
        end = self._offset + size
        self._size -= size
        if end < len(first):
            taken = first[self._offset : end]
            self._offset = end
            return taken
        found = [first[self._offset :]]
        left = end - len(first)
        self._offset = 0
        self._pieces.popleft()
        while left:
            piece = self._pieces[0]
            if left < len(piece):
                found.append(piece[:left])
                self._offset = left
                break
            found.append(self._pieces.popleft())
            left -= len(piece)
        return b"".join(found)
