"""
One file on its way into an inbox (L{hypermail.services.directory}).
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from hypermail.errors import HypermailError
from hypermail.services.digesting import CATCHING_UP, PACE, FollowingDigest
from hypermail.services.disk import Disk
from hypermail.services.parts import CHECKPOINT, LEAST, STORED, SYNCED

if TYPE_CHECKING:
    from hypermail.services.directory import InboxDirectory


class NotStored(HypermailError):
    """A file or message could not be stored; the text is for the peer, too, and names no path of ours."""


class BeingWritten(NotStored):
    """Another process, or another stream in this one, is writing the part of a transfer."""


class Stored(NamedTuple):
    """A transfer is stored under this path; C{before} it was offered this time."""

    name: str
    before: bool = True


class Arrival:
    """
    One file on its way in; made by L{InboxDirectory}. Ends with L{store}, L{abandon} or L{keep}.

    @ivar size: bytes that are written.
    @ivar transfer: its name in the hidden directory; empty when it is nobody's.
    """

    __slots__ = ("_digest", "_directory", "_synced", "descriptor", "parent", "partial", "parts", "size", "transfer")

    def __init__(
        self,
        directory: InboxDirectory,
        parts: tuple[str, ...],
        parent: int,
        partial: str,
        descriptor: int,
        transfer: str,
    ) -> None:
        self._directory = directory
        self._digest = FollowingDigest(_reads(directory.disk, descriptor))
        self._synced = 0
        self.parts = parts
        self.parent = parent
        self.partial = partial
        self.descriptor = descriptor
        self.transfer = transfer
        self.size = 0

    def go_on(self, size: int) -> None:
        """Take the first C{size} bytes of the part as they are, and no more."""
        self._directory.disk.cut(self.descriptor, size)
        self.size = self._synced = size

    def write(self, pieces: Sequence[bytes]) -> None:
        """Append bytes, hash them, or some of those before; sync what is written now and then."""
        if not pieces:
            return
        self._directory.disk.write(self.descriptor, pieces)
        self._digest.feed(self.size, pieces)
        self.size += sum(map(len, pieces))
        self._follow(PACE)
        if self.transfer and self.size - self._synced >= CHECKPOINT:
            self._checkpoint()

    def _checkpoint(self) -> None:
        self._directory.disk.sync(self.descriptor)
        self._directory.parts.write(self.transfer + SYNCED, b"%d" % self.size, sync=False)
        self._synced = self.size

    def catch_up(self) -> bool:
        """
        Hash some more of what was there when it went on.

        @return: whether all is hashed, so that it can be stored.
        """
        return self._follow(CATCHING_UP)

    def _follow(self, steps: int) -> bool:
        try:
            return self._digest.follow(self.size, steps)
        except EOFError:
            raise NotStored("somebody has cut off what had arrived") from None

    def store(self, digest: bytes | None = None) -> str:
        """
        Sync the file, and give it a final name that nobody had.

        @param digest: the SHA-256 that the content must have.
        @return: the final path, relative to the directory.
        @raise NotStored: when the content is another one; the file is still to be abandoned.
        """
        if digest is not None:
            while not self.catch_up():
                pass
            if not hmac.compare_digest(digest, self._digest.digest()):
                raise NotStored("the content does not have the SHA-256 that was announced")
        self._directory.disk.sync(self.descriptor)
        name = self._directory.finish(self)
        self.close()
        return name

    def keep(self) -> int:
        """
        Stop here, and keep what there is, if it is worth it.

        @return: bytes that are kept.
        """
        if not self.transfer or self.size < LEAST:
            self.abandon()
            return 0
        self.close()
        return self.size

    def abandon(self) -> None:
        """Remove what has arrived; harmless when it is over already."""
        if self.descriptor < 0:
            return
        try:
            parts = self._directory.parts
            if self._directory.disk.look(self.partial, parts.descriptor) is not None:
                # The record of a name that was about to be taken goes first: without its part it means that it was.
                parts.remove(self.transfer + STORED, self.partial, self.transfer + SYNCED)
        finally:
            self.close()

    def close(self) -> None:
        """Close it, and leave everything as it is."""
        descriptor, self.descriptor = self.descriptor, -1
        try:
            self._directory.disk.close(descriptor)
        finally:
            self._directory.disk.close(self.parent)


def _reads(disk: Disk, descriptor: int) -> Callable[[int, int], bytes]:
    """What reads an open file."""
    return lambda size, offset: disk.read(descriptor, size, offset)
