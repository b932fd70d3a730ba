"""
The inbox on disk: what arrives is a part in a hidden directory (L{parts}) until it is whole and safe, then it has its
name.

Everything here blocks, so it is called off the reactor's thread; an L{Arrival} is used by one thread
at a time, different ones by any number. What is promised:

 - Under a final name there is never anything but a whole file, whose content and name have been
   synced to the disk before L{Arrival.store} returns.
 - Nothing is overwritten: a final name is taken by C{link}, which fails where C{rename} replaces, so
   that of two arrivals with one name the second becomes C{NAME (2)}.
 - Nothing outside is touched: directories are walked one by one, each opened without following links.
 - A transfer is stored once, whenever the process or the machine dies: its part stays, as a second link to the stored
   file, until its sender has confirmed, or a record of the name is on the disk. The number of links tells whether the
   name was given; behind that the part's mark is taken away, which tells it even when somebody has removed the file
   since. (Who removes it in between, in the moment in which the process is killed, too, gets it once more.)
 - Of small files only the content and the final name are synced, which takes twice the time otherwise. Common file
   systems sync with a new file the name that it was made under, and changes in their order. Where they do not, a
   small file may be stored twice when the machine goes down before its sender has read the answer.
 - Where the file system knows no links, the record is there before the name is taken, and the part
   is renamed: that it is gone tells that it was stored. Its name is an empty file for a moment.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from itertools import chain

from hypermail.errors import NotSupported
from hypermail.services.arrivals import Arrival, BeingWritten, NotStored, Stored
from hypermail.services.disk import MARK, Disk
from hypermail.services.parts import HIDDEN, LEAST, PART, STORED, Parts
from hypermail.services.paths import numbered

_MOST_TRIES = 100_000
_MOST_HINTS = 1_024


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
    @ivar parts: what is arriving, and what is kept of transfers.
    """

    def __init__(self, path: str, disk: Disk | None = None) -> None:
        self.path = path
        self.disk = Disk() if disk is None else disk
        self.parts = Parts(self.disk)
        self._top = -1
        self._device = -1
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
        self._device = self.disk.status(self._top).st_dev
        try:
            self.parts.open(self._top)
            self.parts.recover()
        except OSError as error:
            self.close()
            raise NotStored(f"the inbox {self.path!r} cannot be written: {reason(error)}") from None

    def close(self) -> None:
        """No more arrivals will come."""
        self.parts.close()
        if self._top >= 0:
            self.disk.close(self._top)
            self._top = -1

    def begin(self, parts: tuple[str, ...]) -> Arrival:
        """
        Begin an arrival of what will not be offered again: make what directories it needs, and its part.

        @param parts: safe components (L{hypermail.services.paths.safe_parts}).
        @raise OSError: by the file system.
        @raise NotStored: when a component is in the way.
        """
        parent = self._parent(parts)
        try:
            partial, descriptor = self.parts.create()
        except BaseException:
            self.disk.close(parent)
            raise
        return Arrival(self, parts, parent, partial, descriptor, "")

    def take_up(self, parts: tuple[str, ...], transfer: str, *, again: bool) -> Arrival | Stored:
        """
        Begin the arrival of a transfer, or go on with it.

        @param parts: as L{begin}'s.
        @param transfer: its name (L{hypermail.services.parts.name_of}).
        @param again: whether to go on where it stopped; otherwise it begins at 0.
        @return: the L{Arrival}, unless it has been stored before.
        @raise OSError: by the file system.
        @raise NotStored: when a component is in the way; L{BeingWritten} when somebody else is writing the part.
        """
        record = self._record(transfer)
        if record is not None and self.parts.links:
            return Stored(record)
        parent = self._parent(parts)
        try:
            return self._open_part(parts, parent, transfer, record, again)
        except BaseException:
            self.disk.close(parent)
            raise

    def _parent(self, parts: tuple[str, ...]) -> int:
        """The open directory that a file is to be in."""
        if parts[0].casefold() == HIDDEN:
            raise NotStored(f"{HIDDEN!r} is the inbox's own")
        parent = self._walk(parts[:-1])
        if self.disk.status(parent).st_dev != self._device:
            self.disk.close(parent)
            raise NotStored(f"in the inbox {'/'.join(parts[:-1])!r} is on another file system")
        return parent

    def _record(self, transfer: str) -> str | None:
        content = self.parts.read(transfer + STORED)
        return None if content is None else content.decode("utf-8", "replace")

    def _open_part(
        self, parts: tuple[str, ...], parent: int, transfer: str, record: str | None, again: bool
    ) -> Arrival | Stored:
        partial, disk = transfer + PART, self.disk
        try:
            descriptor = disk.reopen(partial, self.parts.descriptor)
        except BlockingIOError:
            raise BeingWritten("this transfer is arriving already") from None
        except FileNotFoundError:
            if record is not None:
                self._sync_names(parent)
                disk.close(parent)
                return Stored(record)
            return Arrival(self, parts, parent, partial, disk.create(partial, self.parts.descriptor), transfer)
        arrival = Arrival(self, parts, parent, partial, descriptor, transfer)
        try:
            status = disk.status(descriptor)
            if self.parts.is_stored(status):
                name = self._linked(arrival, status)
                arrival.close()
                return Stored(name)
            arrival.go_on(status.st_size if again else 0)
        except BaseException:
            disk.close(descriptor)
            raise
        return arrival

    def _linked(self, arrival: Arrival, status: os.stat_result) -> str:
        """The name that a stored part has; it is made sure of as if it had been given just now."""
        *directories, name = arrival.parts
        if status.st_nlink > 1:
            self._seal(arrival, LEAST)
        for number in range(1, _MOST_TRIES):
            final = numbered(name, number)
            found = self.disk.look(final, arrival.parent)
            if found is None:
                break
            if (found.st_dev, found.st_ino) == (status.st_dev, status.st_ino):
                return "/".join((*directories, final))
        return "/".join(arrival.parts)  # somebody has taken it away, or given it another name

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
        Give a synced part its final name, and sync that.

        @return: the final path, relative.
        """
        *directories, name = arrival.parts
        take = self._take if self.parts.links else self._take_by_renaming
        if arrival.transfer and arrival.size >= LEAST:
            self.parts.sync()
        start = self._hints.get(arrival.parts, 1)
        for number in chain((1,), range(max(start, 2), _MOST_TRIES)):
            final = numbered(name, number)
            if take(arrival, final):
                break
        else:
            raise NotStored("too many files of this name exist")
        if number > 8:
            if len(self._hints) >= _MOST_HINTS:
                self._hints.clear()
            self._hints[arrival.parts] = number
        return "/".join((*directories, final))

    def _take(self, arrival: Arrival, final: str) -> bool:
        """Whether the arrival could have the name C{final}."""
        try:
            self.disk.link(arrival.partial, self.parts.descriptor, final, arrival.parent)
        except FileExistsError:
            return False
        try:
            self._seal(arrival, arrival.size)
        except OSError:
            # Marked before its name goes: without either it would count as stored.
            try:
                self.disk.change_mode(arrival.descriptor, self._mode | MARK)
            finally:
                self.disk.unlink(final, arrival.parent)
            raise
        if not arrival.transfer:
            self.parts.remove(arrival.partial)
        return True

    def _seal(self, arrival: Arrival, size: int) -> None:
        """Sync a name that was given, and, of a file that is not small, that it was."""
        self.disk.change_mode(arrival.descriptor, self._mode)
        self.disk.sync(arrival.parent)
        if size >= LEAST:
            self.disk.sync(arrival.descriptor)

    def _take_by_renaming(self, arrival: Arrival, final: str) -> bool:
        # A file system without links (vfat, some network ones): for a moment the name is an empty file.
        directories = arrival.parts[:-1]
        if self.disk.look(final, arrival.parent) is not None and not self._is_ours(arrival, final):
            return False
        if arrival.transfer:
            self.parts.write(arrival.transfer + STORED, "/".join((*directories, final)).encode())
        try:
            self.disk.reserve(final, arrival.parent)
        except FileExistsError:
            if not self._is_ours(arrival, final):
                return False
        try:
            with suppress(PermissionError):  # it knows no modes either
                self.disk.change_mode(arrival.descriptor, self._mode)
            self.disk.replace(arrival.partial, self.parts.descriptor, final, arrival.parent)
        except OSError:
            self.disk.unlink(final, arrival.parent)
            raise
        try:
            self._sync_names(arrival.parent)
        except OSError:
            # A transfer that is offered again finds its record, and is answered when the names are synced.
            if not arrival.transfer:
                self.disk.unlink(final, arrival.parent)
            raise
        return True

    def _sync_names(self, parent: int) -> None:
        self.disk.sync(parent)
        self.parts.sync()

    def _is_ours(self, arrival: Arrival, final: str) -> bool:
        """Whether a name is the empty file that was reserved for this transfer before the process died."""
        found = self.disk.look(final, arrival.parent)
        empty = found is not None and stat.S_ISREG(found.st_mode) and not found.st_size
        return (
            empty
            and bool(arrival.transfer)
            and self._record(arrival.transfer) == "/".join((*arrival.parts[:-1], final))
        )


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
