"""
The outbox on disk: which files are to leave, and where they go when they have.

Everything here blocks, so it is called off the reactor's thread. Files that are being written are not to be seen by it:
names that begin with C{.}, or end with C{.part} or C{.tmp}, are left alone, and everybody else's when they have come to
rest (L{hypermail.services.outbox}). Symbolic links are not followed, neither files nor directories.

C{.hypermail} in it has a lock, which one process holds, and a secret, of which the names of transfers are made:
HMAC-SHA-256 of path, inode, size and time of the last change. That is the same however often the process is killed, and
nobody else can make it. So nothing is written down for a file before it leaves, and nothing has to be cleared away.
"""

from __future__ import annotations

import errno
import hmac
import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import count
from typing import NamedTuple

try:
    import fcntl
except ImportError:  # pragma: no cover (not POSIX: Spool refuses to open there)
    fcntl = None  # type: ignore[assignment]

from hypermail.errors import HypermailError, NotSupported
from hypermail.services.directory import reason
from hypermail.services.files import TRANSFER_SIZE
from hypermail.services.parts import HIDDEN
from hypermail.services.paths import numbered
from hypermail.services.reading import Version

SENT = "sent"
"""The directory in the outbox that files are moved to when they are delivered."""

MESSAGES = "messages"
"""A directory in the outbox whose files are not sent as files."""

IGNORED = (".part", ".tmp")
"""What the names of files end with that are being written."""

_NO_LINKS = frozenset((errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK))
_LOCK = "lock"
_SECRET = "secret"
_SECRET_SIZE = 32


class NotTaken(HypermailError):
    """The outbox cannot be used, or a file in it cannot be moved; the text says why."""


class Ready(NamedTuple):
    """
    A file in the outbox.

    @ivar path: relative to the outbox.
    """

    path: str
    version: Version


class Spool:
    """
    An outbox.

    @param path: of the directory; made when it is missing.
    @param remove: whether files are removed when they are delivered, and not moved to C{sent}.
    @param chance: so many random bytes.
    @ivar path: absolute.
    @ivar remove: as above.
    """

    def __init__(self, path: str, *, remove: bool, chance: Callable[[int], bytes] = secrets.token_bytes) -> None:
        self.path = os.path.abspath(path)
        self._shown = path
        self.remove = remove
        self._chance = chance
        self._lock = -1
        self._secret = b""

    def open(self) -> None:
        """
        Make the directory if need be, and take it.

        @raise NotTaken: with one clear line, when it cannot be used, or another process has it.
        """
        if fcntl is None:  # pragma: no cover (not POSIX)
            raise NotSupported("an outbox needs a POSIX system")
        try:
            os.makedirs(os.path.join(self.path, HIDDEN), mode=0o700, exist_ok=True)
            self._take()
            self._secret = self._read_secret()
        except BlockingIOError:
            raise NotTaken(f"the outbox {self._shown!r} is in use by another process") from None
        except FileExistsError:
            raise NotTaken(f"the outbox {self._shown!r} cannot be used: Not a directory") from None
        except OSError as error:
            self.close()
            raise NotTaken(f"the outbox {self._shown!r} cannot be used: {reason(error)}") from None

    def _take(self) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self._hidden(_LOCK), flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BaseException:
            os.close(descriptor)
            raise
        self._lock = descriptor

    def _hidden(self, name: str) -> str:
        return os.path.join(self.path, HIDDEN, name)

    def _read_secret(self) -> bytes:
        """The outbox's secret, made the first time."""
        path = self._hidden(_SECRET)
        try:
            with open(path, "rb") as file:
                secret = file.read(_SECRET_SIZE + 1)
        except FileNotFoundError:
            secret = self._chance(_SECRET_SIZE)
            self._write_secret(path, secret)
        if len(secret) != _SECRET_SIZE:
            self.close()
            text = f"the outbox {self._shown!r} cannot be used: somebody has changed {path!r}"
            raise NotTaken(f"{text}; without it a file that is on its way may be stored twice")
        return secret

    def _write_secret(self, path: str, secret: bytes) -> None:
        """Whole, or not at all."""
        descriptor = os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, secret)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(path + ".new", path)
        sync(os.path.dirname(path))
        sync(self.path)

    def close(self) -> None:
        """Let others take it."""
        descriptor, self._lock = self._lock, -1
        if descriptor >= 0:
            os.close(descriptor)

    def transfer(self, file: Ready) -> bytes:
        """What the transfer of a file is called: always the same, and another one when it has changed."""
        version = file.version
        # A device may have another number tomorrow.
        text = f"{version.inode} {version.size} {version.modified} ".encode()
        return hmac.digest(self._secret, text + os.fsencode(file.path), "sha256")[:TRANSFER_SIZE]

    def scan(self) -> list[Ready]:
        """
        All files that may be to leave.

        @raise OSError: when the outbox itself cannot be read; directories in it that cannot are left out.
        """
        with os.scandir(self.path) as entries:
            found = sorted(entries, key=_name)
        top = [entry for entry in found if entry.name not in (SENT, MESSAGES)]
        return list(self._below(top, ""))

    def _below(self, entries: Iterable[os.DirEntry[str]], prefix: str) -> Iterator[Ready]:
        for entry in entries:
            if entry.name.startswith(".") or entry.name.endswith(IGNORED):
                continue
            with suppress(OSError):  # it has gone in this moment, or is not ours to read
                if entry.is_dir(follow_symlinks=False):
                    with os.scandir(entry.path) as inner:
                        below = sorted(inner, key=_name)
                    yield from self._below(below, f"{prefix}{entry.name}/")
                elif entry.is_file(follow_symlinks=False):
                    yield Ready(prefix + entry.name, Version.of(entry.stat(follow_symlinks=False)))

    def deliver(self, file: Ready, name: str | None = None) -> str | None:
        """
        A file is delivered: put it where it does not leave again, and sync that.

        @param name: its path in C{sent}; None for the one that it has in the outbox.
        @return: its path in C{sent}; None when it was removed, or is not there any more, or is another file by now.
        @raise NotTaken: when it cannot be moved.
        """
        try:
            return self._deliver(file, name or file.path)
        except OSError as error:
            what = "removed" if self.remove else f"moved to {SENT!r}"
            raise NotTaken(f"it is delivered, and cannot be {what}: {reason(error)}") from None

    def _deliver(self, file: Ready, name: str) -> str | None:
        source = os.path.join(self.path, file.path)
        try:
            status = os.lstat(source)
        except FileNotFoundError:
            return None
        if Version.of(status) != file.version:
            return None
        final = None
        if not self.remove:
            final = self._put(source, status, os.path.join(SENT, name))
        with suppress(FileNotFoundError):
            os.unlink(source)
        sync(os.path.dirname(source))
        return final

    def _put(self, source: str, status: os.stat_result, wanted: str) -> str:
        """Give a file a second name that nobody has; the same again when the process was killed in between."""
        directory, name = os.path.split(wanted)
        _make(self.path, directory)
        for number in count(1):
            final = os.path.join(directory, numbered(name, number))
            target = os.path.join(self.path, final)
            try:
                os.link(source, target, follow_symlinks=False)
            except FileExistsError:
                if not os.path.samestat(os.lstat(target), status):
                    continue
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                os.rename(source, target)  # who knows no links has nobody else in here: it is locked
            break
        sync(os.path.dirname(target))
        return final


def _name(entry: os.DirEntry[str]) -> str:
    return entry.name


def _make(top: str, directory: str) -> None:
    """Make a directory below another one, and sync each name that is new."""
    for part in directory.split(os.sep):
        inner = os.path.join(top, part)
        with suppress(FileExistsError):
            os.mkdir(inner)
            sync(top)
        top = inner


def sync(directory: str) -> None:
    """Wait until a directory's entries are on the disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
