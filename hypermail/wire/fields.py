"""
Fields of packets that are not on the hot path: read one after the other, every length checked first.
"""

from __future__ import annotations

import builtins
from struct import Struct
from typing import Any

from hypermail.errors import MalformedPacket

#: What packets carry for those above.
Data = bytes | memoryview

#: Bytes of UTF-8 of a reason's text, at most; longer ones are cut by their sender.
MAX_TEXT = 200


class Reader:
    """
    Reads fields of one payload from a position on.

    @ivar at: the position of the next field.
    """

    __slots__ = ("_view", "at")

    def __init__(self, view: memoryview, at: int) -> None:
        self._view = view
        self.at = at

    def integer(self, size: int) -> int:
        """An unsigned integer of C{size} bytes in network order. @raise MalformedPacket: as of L{bytes}."""
        start = self._advance(size)
        return self._view[start] if size == 1 else int.from_bytes(self._view[start : self.at], "big")

    def bytes(self, size: int) -> bytes:
        """
        C{size} bytes.

        @raise MalformedPacket: when the payload ends before.
        """
        start = self._advance(size)
        return bytes(self._view[start : self.at])

    def numbered(self, count: int) -> list[tuple[int, builtins.bytes]]:
        """
        Fields that say themselves which they are: each a byte with its number, another with its length, and its bytes.

        @return: numbers and bytes of so many, in one go, since they come by the dozen.
        @raise MalformedPacket: as of L{bytes}.
        """
        view, found = self._view, []
        for _ in range(count):
            at = self._advance(2)
            self.at = stop = at + 2 + view[at + 1]
            if stop > len(view):
                raise MalformedPacket(f"a packet is cut short: {view[at + 1]} bytes wanted, {len(view) - at - 2} left")
            found.append((view[at], view[at + 2 : stop].tobytes()))
        return found

    def unpack(self, layout: Struct) -> tuple[Any, ...]:
        """Several fields at once. @raise MalformedPacket: as of L{bytes}."""
        return layout.unpack_from(self._view, self._advance(layout.size))

    def _advance(self, size: int) -> int:
        start = self.at
        if start + size > len(self._view):
            raise MalformedPacket(f"a packet is cut short: {size} bytes wanted, {len(self._view) - start} left")
        self.at = start + size
        return start

    def text(self) -> str:
        """
        A reason's text: one byte of length, then UTF-8. What is no UTF-8, and what would do something to a
        log or a terminal instead of standing there, is replaced.
        """
        found = self.bytes(self.integer(1)).decode("utf-8", "replace")
        return found if found.isprintable() else "".join(c if c.isprintable() else "\ufffd" for c in found)


def text(value: str) -> bytes:
    """A reason's text with its length, cut to L{MAX_TEXT} bytes at a whole character."""
    data = value.encode("utf-8", "replace")[:MAX_TEXT].decode("utf-8", "ignore").encode("utf-8")
    return bytes((len(data),)) + data
