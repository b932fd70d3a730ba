"""
The few things that the inbox does to a file system, in one object, so that tests can make disks fail.

Everything blocks and raises L{OSError}; nothing is called on the reactor's thread. Names are single
components, relative to a directory that is held open: nobody can exchange a directory under us for
a symbolic link between a check and its use.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence

try:
    import fcntl
except ImportError:  # pragma: no cover (not POSIX: InboxDirectory refuses to open there)
    fcntl = None  # type: ignore[assignment]

MARK = stat.S_ISVTX
"""
The mode bit of a file that has not been stored yet.

The sticky bit of a regular file means nothing to the system, survives a crash and is kept by every
file system that has modes.
"""

SMALL = 8_192
"""Bytes of the largest file that counts as small."""

_BOOT = "/proc/sys/kernel/random/boot_id"


class Disk:
    """The real file system."""

    def make_top(self, path: str) -> None:
        """Make a directory and its parents, where they are missing."""
        os.makedirs(path, exist_ok=True)

    def open_top(self, path: str) -> int:
        """Open the directory that everything happens in; it may be reached through symbolic links."""
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def make_directory(self, name: str, parent: int, mode: int = 0o777) -> None:
        """Make a directory in an open one."""
        os.mkdir(name, mode, dir_fd=parent)

    def open_directory(self, name: str, parent: int) -> int:
        """Open a directory in an open one; symbolic links are refused."""
        return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)

    def create(self, name: str, parent: int) -> int:
        """
        Create a marked and locked file that did not exist.

        @raise FileExistsError: when it did, or when a sweep took it for a leftover in that very moment.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        # As open to others as the umask says, once it leaves this directory, which is its owner's alone.
        descriptor = os.open(name, flags, 0o666 | MARK, dir_fd=parent)
        if self._lock(descriptor):
            return descriptor
        os.close(descriptor)
        raise FileExistsError(f"{name} was taken away")

    def reopen(self, name: str, parent: int) -> int:
        """
        Open and lock a file that is there.

        @raise FileNotFoundError: when it is not, or not any more.
        @raise BlockingIOError: when somebody else has it locked.
        """
        descriptor = os.open(name, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        try:
            if self._lock(descriptor, busy=True):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        raise FileNotFoundError(f"{name} was taken away")

    def _lock(self, descriptor: int, *, busy: bool = False) -> bool:
        """Lock a file that was just opened; False when it is not there any more, or, unless C{busy}, locked."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if busy:
                raise
            return False
        except OSError:  # a file system without locks: one process at a time, please
            return True
        return os.fstat(descriptor).st_nlink > 0

    def write(self, descriptor: int, pieces: Sequence[bytes]) -> None:
        """Write all of it."""
        view = memoryview(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        while view:
            view = view[os.write(descriptor, view) :]

    def read(self, descriptor: int, size: int, offset: int) -> bytes:
        """Read up to so many bytes from an offset on."""
        return os.pread(descriptor, size, offset)

    def content(self, name: str, parent: int) -> bytes:
        """All of a small file."""
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        with open(descriptor, "rb") as file:
            return file.read(SMALL)

    def cut(self, descriptor: int, size: int) -> None:
        """Shorten a file, and go to its end."""
        os.ftruncate(descriptor, size)
        os.lseek(descriptor, size, os.SEEK_SET)

    def status(self, descriptor: int) -> os.stat_result:
        """Of an open file or directory."""
        return os.fstat(descriptor)

    def look(self, name: str, parent: int) -> os.stat_result | None:
        """The status of a name, or None when there is no such name."""
        try:
            return os.stat(name, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def sync(self, descriptor: int) -> None:
        """Wait until a file's content, or a directory's entries, are on the disk."""
        os.fsync(descriptor)

    def link(self, name: str, parent: int, final: str, into: int) -> None:
        """
        Give a file a second name, in another directory.

        @raise FileExistsError: when that name is taken; nothing is overwritten.
        """
        os.link(name, final, src_dir_fd=parent, dst_dir_fd=into, follow_symlinks=False)

    def reserve(self, name: str, parent: int) -> None:
        """
        Take a name with an empty file, where the file system knows no links.

        @raise FileExistsError: when it is taken already.
        """
        os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=parent))

    def replace(self, name: str, parent: int, final: str, into: int) -> None:
        """Rename, over what is there."""
        os.replace(name, final, src_dir_fd=parent, dst_dir_fd=into)

    def unlink(self, name: str, parent: int) -> None:
        """Take a name away."""
        os.unlink(name, dir_fd=parent)

    def change_mode(self, descriptor: int, mode: int) -> None:
        """Give a file another mode."""
        os.fchmod(descriptor, mode)

    def close(self, descriptor: int) -> None:
        """Close a file or directory."""
        os.close(descriptor)

    def names(self, descriptor: int) -> Sequence[str]:
        """What is in an open directory."""
        return os.listdir(descriptor)

    def boot(self) -> str:
        """Names the time since the system was started; empty when that is unknown."""
        try:
            with open(_BOOT, encoding="ascii") as file:
                return file.read().strip()
        except OSError:
            return ""
