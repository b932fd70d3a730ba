"""
Bytes as they come, into frames (C{docs/protocol/hive}, "Frames").

Twisted's L{Int32StringReceiver} does as much, but copies all that it has of a frame whenever some more of it comes, and
gives out frames twice when it is resumed by whom it gives one to.
"""

from __future__ import annotations

from collections import deque
from struct import Struct

from hypermail.hive.errors import FrameInvalid
from hypermail.hive.frames import LARGEST_STRANGE

_LENGTH = Struct(">I")


def framed(frame: bytes) -> tuple[bytes, bytes]:
    """What is to be written of a frame, in two pieces, since most of them are large."""
    return _LENGTH.pack(len(frame)), frame


class FrameReader:
    """
    One direction of one connection.

    @ivar largest: bytes that a frame may have from now on.
    """

    __slots__ = ("_length", "_offset", "_pieces", "_size", "largest")

    def __init__(self, largest: int = LARGEST_STRANGE) -> None:
        self.largest = largest
        self._pieces: deque[bytes] = deque()
        self._offset = 0  # of what is not yet read, in the first of them
        self._size = 0  # bytes that are not yet read
        self._length: int | None = None  # of the next frame

    def feed(self, data: bytes) -> None:
        """Something has come."""
        if data:
            self._pieces.append(data)
            self._size += len(data)

    def next(self) -> bytes | None:
        """
        The next frame without its length; None when not all of it is here.

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
        if self._size < self._length:
            return None
        frame = self._take(self._length)
        self._length = None
        return frame

    def _take(self, size: int) -> bytes:
        """So many bytes, which are here."""
        if len(self._pieces[0]) < self._offset + size:
            first = self._pieces.popleft()[self._offset :]
            self._pieces = deque((b"".join((first, *self._pieces)),))
            self._offset = 0
        first = self._pieces[0]
        end = self._offset + size
        taken = first[self._offset : end]
        self._size -= size
        if end == len(first):
            self._pieces.popleft()
            self._offset = 0
        else:
            self._offset = end
        return taken
