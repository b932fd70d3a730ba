"""
The SHA-256 of a file that is read, or written, from its middle on.

What comes before is hashed in between, C{PACE} times as much with each step as the step has brought of new content, so
that neither side of a transfer that goes on has to wait for it: at 1 GB/s and more, hashing is faster than any network
that a file of this size is sent over.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

STEP = 256 * 1024
"""Bytes that are read at once of what is behind."""

PACE = 16
"""Steps that are caught up with each block of new content."""

CATCHING_UP = 256
"""Steps that are caught up at once when there is no new content any more."""


class FollowingDigest:
    """
    The SHA-256 of a file from its beginning.

    @param read: reads up to so many bytes of the file from an offset on.
    @ivar position: bytes that are hashed.
    """

    __slots__ = ("_hash", "_read", "position")

    def __init__(self, read: Callable[[int, int], bytes]) -> None:
        self._read = read
        self._hash = hashlib.sha256()
        self.position = 0

    def feed(self, offset: int, pieces: Sequence[bytes]) -> None:
        """Content of the file that is at hand: hashed now when all before it is; else it is read again later."""
        if offset == self.position:
            for piece in pieces:
                self._hash.update(piece)
                self.position += len(piece)

    def follow(self, end: int, steps: int) -> bool:
        """
        Hash some of what is behind.

        @param end: bytes of the file that are there.
        @return: whether nothing is behind any more.
        @raise EOFError: when the file is shorter than that.
        """
        for _ in range(steps):
            if self.position >= end:
                break
            data = self._read(min(STEP, end - self.position), self.position)
            if not data:
                raise EOFError(f"the file ends at {self.position}, before {end}")
            self._hash.update(data)
            self.position += len(data)
        return self.position >= end

    def digest(self) -> bytes:
        """Of all that is hashed."""
        return self._hash.digest()
