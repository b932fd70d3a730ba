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
The mode bit that tells our partial files from a user's file that happens to be called C{x.part}.

The sticky bit of a regular file means nothing to the system, survives a crash and is kept by every
file system that has modes.
"""


class Disk:
    """The real file system."""

    def make_top(self, path: str) -> None:
        """Make a directory and its parents, where they are missing."""
        os.makedirs(path, exist_ok=True)

    def open_top(self, path: str) -> int:
        """Open the directory that everything happens in; it may be reached through symbolic links."""
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def make_directory(self, name: str, parent: int) -> None:
        """Make a directory in an open one."""
        os.mkdir(name, dir_fd=parent)

    def open_directory(self, name: str, parent: int) -> int:
        """Open a directory in an open one; symbolic links are refused."""
        return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)

    def create(self, name: str, parent: int) -> int:
        """
        Create a marked and locked file that did not exist.

        @raise FileExistsError: when it did, or when a sweep took it for a leftover in that very moment.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(name, flags, 0o600 | MARK, dir_fd=parent)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
        except OSError:  # a file system without locks: its leftovers stay
            return descriptor
        else:
            if os.fstat(descriptor).st_nlink:
                return descriptor
            os.close(descriptor)
        raise FileExistsError(f"{name} was taken away")

    def write(self, descriptor: int, pieces: Sequence[bytes]) -> None:
        """Write all of it."""
        view = memoryview(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        while view:
            view = view[os.write(descriptor, view) :]

    def sync(self, descriptor: int) -> None:
        """Wait until a file's content, or a directory's entries, are on the disk."""
        os.fsync(descriptor)

    def link(self, name: str, final: str, parent: int) -> None:
        """
        Give a file a second name in its directory.

        @raise FileExistsError: when that name is taken; nothing is overwritten.
        """
        os.link(name, final, src_dir_fd=parent, dst_dir_fd=parent, follow_symlinks=False)

    def reserve(self, name: str, parent: int) -> None:
        """
        Take a name with an empty file, where the file system knows no links.

        @raise FileExistsError: when it is taken already.
        """
        os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=parent))

    def replace(self, name: str, final: str, parent: int) -> None:
        """Rename within a directory, over what is there."""
        os.replace(name, final, src_dir_fd=parent, dst_dir_fd=parent)

    def unlink(self, name: str, parent: int) -> None:
        """Take a name away."""
        os.unlink(name, dir_fd=parent)

    def unmark(self, descriptor: int, mode: int) -> None:
        """Give a file the mode of a finished one."""
        os.fchmod(descriptor, mode)

    def close(self, descriptor: int) -> None:
        """Close a file or directory."""
        os.close(descriptor)

    def leftovers(self, descriptor: int, suffix: str) -> Sequence[str]:
        """The names in an open directory that end with C{suffix}, are marked, ours, and locked by nobody."""
        with os.scandir(descriptor) as entries:
            candidates = [entry.name for entry in entries if entry.name.endswith(suffix) and _is_marked(entry)]
        return [name for name in candidates if self._is_abandoned(name, descriptor)]

    def _is_abandoned(self, name: str, parent: int) -> bool:
        try:
            descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        finally:
            os.close(descriptor)
        return True

    def directories(self, descriptor: int) -> Sequence[str]:
        """The names of the directories in an open directory, without symbolic links to such."""
        with os.scandir(descriptor) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]


def _is_marked(entry: os.DirEntry[str]) -> bool:
    try:
        status = entry.stat(follow_symlinks=False)
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and bool(status.st_mode & MARK) and status.st_uid == os.geteuid()
