"""
A file read on a thread, block by block, into a stream that may be slow.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NamedTuple

from twisted.internet.interfaces import IPushProducer
from twisted.python.failure import Failure
from zope.interface import implementer

from hypermail.errors import HypermailError
from hypermail.services.digesting import CATCHING_UP, PACE, FollowingDigest
from hypermail.services.workers import Run

BLOCK = 256 * 1024
"""Bytes that are read at once."""


class NotSent(HypermailError):
    """A file could not be sent; the text says why, without its name."""


class SourceChanged(NotSent):
    """A file is not what it was when it was opened."""


class Version(NamedTuple):
    """
    Which file it is, and as which it was found: when any of this is different, it has another content.

    @ivar modified: when it was written last, ns.
    """

    device: int
    inode: int
    size: int
    modified: int

    @classmethod
    def of(cls, status: os.stat_result) -> Version:
        """As the system tells it."""
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


class Block(NamedTuple):
    """A part of a file, and, with the last one, the SHA-256 of the whole; C{data} is without it."""

    data: bytes
    digest: bytes | None


class FileReader:
    """
    An open file; everything blocks.

    @ivar version: as it was when it was opened; this one is sent.
    """

    def __init__(self, path: str) -> None:
        """
        @raise NotSent: when it cannot be opened.
        """
        try:
            self._descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0))
        except OSError as error:
            raise NotSent(f"it cannot be read: {error.strerror}") from None
        self.version = Version.of(os.fstat(self._descriptor))
        self._position = 0
        self._digest = FollowingDigest(self._read_at)

    @property
    def size(self) -> int:
        """Its bytes."""
        return self.version.size

    def _read_at(self, size: int, offset: int) -> bytes:
        os.lseek(self._descriptor, offset, os.SEEK_SET)
        return os.read(self._descriptor, size)

    def go_on(self, offset: int) -> None:
        """Read from here on, before anything was read."""
        self._position = offset

    def read(self) -> Block:
        """
        The next block; not to be called after the last, which bears the digest. Blocks without data mean that what was
        skipped is still being hashed.

        @raise NotSent: when it cannot be read, or is not what it was.
        """
        try:
            data = self._read_at(min(BLOCK, self.size - self._position), self._position)
            self._digest.feed(self._position, (data,))
            self._position += len(data)
            hashed = self._digest.follow(self._position, PACE if data else CATCHING_UP)
            version = Version.of(os.fstat(self._descriptor))
        except OSError as error:
            raise NotSent(f"it cannot be read: {error.strerror}") from None
        except EOFError:
            raise SourceChanged(CHANGED) from None
        if version != self.version or (not data and self._position < self.size):
            raise SourceChanged(self._how(version))
        return Block(data, self._digest.digest() if hashed and self._position == self.size else None)

    def _how(self, version: Version) -> str:
        if version.size == self.size:
            return CHANGED
        return f"it had {self.size} bytes and now has {version.size}: {CHANGED}"

    def close(self) -> None:
        """Close the file; harmless when called again."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


CHANGED = "it changed while it was being sent"


@implementer(IPushProducer)
class FileProducer:
    """
    Writes a file and its digest to a stream, as fast as the stream goes; one block is read ahead.

    @param first: the block that was read when the file was opened.
    @param wrote: is called with the bytes of each block that was given to the stream.
    @param failed: is called when the file cannot be read on.
    """

    def __init__(
        self,
        transport: Any,
        reader: FileReader,
        first: Block,
        *,
        run: Run,
        wrote: Callable[[int], object],
        failed: Callable[[Failure], object],
    ) -> None:
        self._transport = transport
        self._reader = reader
        self._ready: Block | None = first
        self._run = run
        self._wrote = wrote
        self._failed = failed
        self._paused = False
        self._stopped = False
        self._reading = False
        self._writing = False

    def start(self) -> None:
        """Begin."""
        self._transport.registerProducer(self, True)
        self._write()

    def resumeProducing(self) -> None:
        """See L{IPushProducer}."""
        self._paused = False
        self._write()

    def pauseProducing(self) -> None:
        """See L{IPushProducer}."""
        self._paused = True

    def stopProducing(self) -> None:
        """See L{IPushProducer}: nobody wants the rest."""
        self._stop()

    def finish(self) -> None:
        """Stop, if there is anything left, since the rest is not needed."""
        if not self._stopped:
            self._stop()
            self._transport.unregisterProducer()

    def _write(self) -> None:
        if self._writing:
            return
        self._writing = True
        while self._ready is not None and not self._paused and not self._stopped:
            block, self._ready = self._ready, None
            if block.digest is None:
                self._read()
            self._transport.write(block.data)
            self._wrote(len(block.data))
            if block.digest is not None:
                self._end(block.digest)
        self._writing = False

    def _end(self, digest: bytes) -> None:
        self._transport.write(digest)
        self.finish()

    def _read(self) -> None:
        self._reading = True
        self._run(self._reader.read).addCallbacks(self._gotBlock, self._gotFailure)

    def _gotBlock(self, block: Block) -> None:
        self._reading = False
        if self._stopped:
            self._close()
        else:
            self._ready = block
            self._write()

    def _gotFailure(self, failure: Failure) -> None:
        self._reading = False
        stopped = self._stopped
        self._stop()
        if not stopped:
            self._failed(failure)

    def _stop(self) -> None:
        self._stopped = True
        self._ready = None
        if not self._reading:
            self._close()

    def _close(self) -> None:
        self._reader.close()
