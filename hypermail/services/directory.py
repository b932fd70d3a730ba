"""
The inbox on disk: what arrives is C{NAME.part} until it is whole and safe, then it is C{NAME}.

Everything here blocks, so it is called off the reactor's thread; an L{Arrival} is used by one thread
at a time, different ones by any number. What is promised:

 - Under a final name there is never anything but a whole file, whose content and name have been
   synced to the disk before L{Arrival.store} returns.
 - Nothing is overwritten: a final name is taken by C{link}, which fails where C{rename} replaces, so
   that of two arrivals with one name the second becomes C{NAME (2)}.
 - Nothing outside is touched: directories are walked one by one, each opened without following links.
 - A partial file is gone when it is stored or abandoned. Those of a process that was killed are
   recognised by their mark (L{hypermail.services.disk.MARK}) and by nobody holding their lock, and
   are removed at the next start; a user's own C{x.part} has no mark and stays.
"""

from __future__ import annotations

import errno
import hashlib
import hmac
import os
from collections.abc import Callable, Iterator, Sequence
from itertools import chain

from hypermail.errors import HypermailError, NotSupported
from hypermail.services.disk import Disk
from hypermail.services.paths import PART, numbered

_MOST_TRIES = 100_000
_NO_LINKS = frozenset((errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK))
_MOST_HINTS = 1_024


class NotStored(HypermailError):
    """A file or message could not be stored; the text is for the peer, too, and names no path of ours."""


def reason(error: OSError) -> str:
    """What the system says, without our paths."""
    return error.strerror or type(error).__name__


def check_trace_directory(path: str | None) -> None:
    """
    Make a directory for traces, and look whether it can be written.

    @param path: None when no traces are wanted.
    @raise NotStored: with one clear line, when not.
    """
    if path is None:
        return
    try:
        os.makedirs(path, exist_ok=True)
        if not os.access(path, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except FileExistsError:
        raise NotStored(f"no traces can be written to {path!r}: Not a directory") from None
    except OSError as error:
        raise NotStored(f"no traces can be written to {path!r}: {reason(error)}") from None


class InboxDirectory:
    """
    A directory that files arrive in.

    @param path: of the directory; made when it is missing.
    @param disk: the file system.
    """

    def __init__(self, path: str, disk: Disk | None = None) -> None:
        self.path = path
        self.disk = Disk() if disk is None else disk
        self._top = -1
        self._mode = 0o600
        self._hints: dict[tuple[str, ...], int] = {}

    def open(self) -> None:
        """
        Make and open the directory, and try whether files can be made in it.

        @raise NotStored: with one clear line, when not.
        """
        if os.open not in os.supports_dir_fd:
            raise NotSupported("an inbox needs a POSIX system")
        try:
            self.disk.make_top(self.path)
            self._top = self.disk.open_top(self.path)
        except FileExistsError:
            raise NotStored(f"the inbox {self.path!r} cannot be used: Not a directory") from None
        except OSError as error:
            raise NotStored(f"the inbox {self.path!r} cannot be used: {reason(error)}") from None
        self._mode = 0o666 & ~_umask()
        try:
            self.begin(("hypermail",)).abandon()
        except (OSError, NotStored) as error:
            self.close()
            text = reason(error) if isinstance(error, OSError) else error.text
            raise NotStored(f"the inbox {self.path!r} cannot be written: {text}") from None

    def close(self) -> None:
        """No more arrivals will come."""
        if self._top >= 0:
            self.disk.close(self._top)
            self._top = -1

    def begin(self, parts: tuple[str, ...]) -> Arrival:
        """
        Begin an arrival: make what directories it needs, and its partial file.

        @param parts: safe components (L{hypermail.services.paths.safe_parts}).
        @raise OSError: by the file system.
        @raise NotStored: when a component is in the way.
        """
        parent = self._walk(parts[:-1])
        try:
            for candidate in _candidates(parts[-1], PART):
                try:
                    descriptor = self.disk.create(candidate, parent)
                except FileExistsError:
                    continue
                return Arrival(self, parts, parent, candidate, descriptor)
        except BaseException:
            self.disk.close(parent)
            raise
        self.disk.close(parent)
        raise NotStored("too many files of this name are arriving")

    def sweep(self, found: Callable[[str], None]) -> None:
        """
        Remove the partial files that a killed process has left.

        @param found: is called with the path of each, relative to the directory.
        """
        self._sweep(self.disk.open_directory(".", self._top), (), found)

    def _sweep(self, descriptor: int, parts: tuple[str, ...], found: Callable[[str], None]) -> None:
        try:
            for name in self.disk.leftovers(descriptor, PART):
                self.disk.unlink(name, descriptor)
                found("/".join((*parts, name)))
            for name in self.disk.directories(descriptor):
                try:
                    inner = self.disk.open_directory(name, descriptor)
                except OSError:
                    continue
                self._sweep(inner, (*parts, name), found)
        finally:
            self.disk.close(descriptor)

    def _walk(self, parts: Sequence[str]) -> int:
        """Open, and make where missing, one directory after the other; the caller closes the last."""
        current = self.disk.open_directory(".", self._top)
        for part in parts:
            try:
                inner = self._enter(part, current)
            finally:
                self.disk.close(current)
            current = inner
        return current

    def _enter(self, name: str, parent: int) -> int:
        try:
            return self.disk.open_directory(name, parent)
        except FileNotFoundError:
            try:
                self.disk.make_directory(name, parent)
                self.disk.sync(parent)
            except FileExistsError:
                pass
        except (NotADirectoryError, OSError) as error:
            if error.errno not in (errno.ENOTDIR, errno.ELOOP, errno.EMLINK):
                raise
            raise NotStored(f"in the inbox {name!r} is not a directory") from None
        return self.disk.open_directory(name, parent)

    def finish(self, arrival: Arrival) -> str:
        """
        Give a synced partial file its final name, and sync that.

        @return: the final path, relative.
        """
        *directories, name = arrival.parts
        start = self._hints.get(arrival.parts, 1)
        for number in chain((1,), range(max(start, 2), _MOST_TRIES)):
            final = numbered(name, number)
            if self._take(arrival, final):
                break
        else:
            raise NotStored("too many files of this name exist")
        if number > 8:
            if len(self._hints) >= _MOST_HINTS:
                self._hints.clear()
            self._hints[arrival.parts] = number
        try:
            self.disk.unmark(arrival.descriptor, self._mode)
            self.disk.sync(arrival.parent)
        except OSError:
            self.disk.unlink(final, arrival.parent)
            raise
        return "/".join((*directories, final))

    def _take(self, arrival: Arrival, final: str) -> bool:
        """Whether the arrival could have the name C{final}."""
        try:
            self.disk.link(arrival.partial, final, arrival.parent)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            return self._take_by_renaming(arrival, final)
        self.disk.unlink(arrival.partial, arrival.parent)
        return True

    def _take_by_renaming(self, arrival: Arrival, final: str) -> bool:
        # A file system without links (vfat, some network ones): for a moment the name is an empty file.
        try:
            self.disk.reserve(final, arrival.parent)
        except FileExistsError:
            return False
        self.disk.replace(arrival.partial, final, arrival.parent)
        return True


class Arrival:
    """
    One file on its way in; made by L{InboxDirectory.begin}. Ends with L{store} or L{abandon}.

    @ivar size: bytes written so far.
    """

    __slots__ = ("_directory", "_hash", "descriptor", "parent", "partial", "parts", "size")

    def __init__(
        self, directory: InboxDirectory, parts: tuple[str, ...], parent: int, partial: str, descriptor: int
    ) -> None:
        self._directory = directory
        self._hash = hashlib.sha256()
        self.parts = parts
        self.parent = parent
        self.partial = partial
        self.descriptor = descriptor
        self.size = 0

    def write(self, pieces: Sequence[bytes]) -> None:
        """Append bytes, and hash them."""
        if not pieces:
            return
        self._directory.disk.write(self.descriptor, pieces)
        for piece in pieces:
            self._hash.update(piece)
            self.size += len(piece)

    def store(self, digest: bytes | None = None) -> str:
        """
        Sync the file, and give it a final name that nobody had.

        @param digest: the SHA-256 that the content must have.
        @return: the final path, relative to the directory.
        @raise NotStored: when the content is another one; the file is still to be abandoned.
        """
        if digest is not None and not hmac.compare_digest(digest, self._hash.digest()):
            raise NotStored("the content does not have the SHA-256 that was announced")
        self._directory.disk.sync(self.descriptor)
        name = self._directory.finish(self)
        self._close()
        return name

    def abandon(self) -> None:
        """Remove what has arrived; harmless when it is over already."""
        if self.descriptor < 0:
            return
        try:
            self._directory.disk.unlink(self.partial, self.parent)
        except FileNotFoundError:
            pass
        finally:
            self._close()

    def _close(self) -> None:
        descriptor, self.descriptor = self.descriptor, -1
        try:
            self._directory.disk.close(descriptor)
        finally:
            self._directory.disk.close(self.parent)


def _candidates(name: str, suffix: str = "") -> Iterator[str]:
    return (numbered(name, number, suffix) for number in range(1, _MOST_TRIES))


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
