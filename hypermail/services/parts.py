"""
What an inbox keeps of transfers, in a hidden directory of its own: C{.hypermail}.

Names there begin with that of a transfer (L{name_of}), in which its sender's pin is mixed, so that nobody comes near
somebody else's:

================= ===============================================================================
C{NAME.part}      what has arrived; locked while it arrives, marked until it is stored
C{NAME.synced}    to where a large part has certainly reached the disk
C{NAME.stored}    the name that it was stored under, when its sender went before it could confirm
C{boot}           the system's start after which the directory was used last
================= ===============================================================================

The mark is L{disk.MARK}. A part that is stored stays, as a second link to the file, until the sender has confirmed that
it knows, or the record is written.

The page cache survives the death of a process, so what a part has it has. When the machine itself went down a part may
be as long as it was and have zeros at its end: at the first start after that each is cut back to C{NAME.synced}. On
systems that do not tell when they were started (not Linux) every start counts as one after a crash.

Limits on what is kept of senders that do not come again are L{AGE}, L{MOST_OF_ONE}, L{MOST_BYTES_OF_ONE} and L{MOST}.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable
from itertools import count
from typing import NamedTuple

from hypermail.services.disk import MARK, Disk

HIDDEN = ".hypermail"
"""The directory's name."""

LEAST = 256 * 1024
"""Bytes that are worth keeping when a transfer breaks off."""

AGE = 30 * 86_400.0
"""Seconds after which what is kept of a transfer is removed."""

MOST_OF_ONE = 64
"""Parts that are kept of one sender, the newest; those without a certificate count as one."""

MOST_BYTES_OF_ONE = 64 << 30
"""Bytes in parts that are kept of one sender; its newest part is kept however large it is."""

MOST = 1_024
"""Parts that are kept in all, and records of files that were stored: the newest."""

CHECKPOINT = 64 << 20
"""Bytes of a part after which it is synced."""

PART = ".part"
SYNCED = ".synced"
STORED = ".stored"
_NEW = ".new"
_BOOT = "boot"
_OWN = "own-"
_counter = count(1)


def name_of(owner: bytes, transfer: bytes, path: str, size: int) -> str:
    """
    What a transfer is called in the hidden directory.

    Other content is another transfer, whatever it is called by its sender.

    @param owner: the pin of the sender's certificate; empty when it has shown none.
    """
    whole = hashlib.sha256(b"%d %d %d " % (len(owner), len(transfer), size) + owner + transfer + path.encode())
    return f"{hashlib.sha256(owner).hexdigest()[:8]}-{whole.hexdigest()[:32]}"


class Kept(NamedTuple):
    """A part that nobody is writing: C{time} is when that was done last."""

    time: float
    size: int
    name: str


class Swept(NamedTuple):
    """What was removed: parts that had not been stored, and their bytes."""

    parts: int
    size: int


class Parts:
    """
    The hidden directory; everything blocks.

    @ivar links: whether a part is stored by a second link, as it should be, or by being renamed, as it has to be on
        file systems that know no links or no modes.
    @ivar descriptor: of the open directory.
    """

    def __init__(self, disk: Disk) -> None:
        self.disk = disk
        self.descriptor = -1
        self.links = True

    def open(self, top: int) -> None:
        """
        Make and open it, and try what the file system can do.

        @param top: the inbox, open.
        @raise OSError: when no files can be made here.
        """
        disk = self.disk
        try:
            disk.make_directory(HIDDEN, top, 0o700)
            disk.sync(top)
        except FileExistsError:
            pass
        self.descriptor = disk.open_directory(HIDDEN, top)
        try:
            self.links = self._try()
        except BaseException:
            self.close()
            raise

    def _try(self) -> bool:
        disk, name, descriptor = self.disk, *self.create()
        other = name + _NEW
        try:
            try:
                disk.link(name, self.descriptor, other, self.descriptor)
                disk.unlink(other, self.descriptor)
            except OSError:
                return False
            return bool(disk.status(descriptor).st_mode & MARK)
        finally:
            disk.close(descriptor)
            disk.unlink(name, self.descriptor)

    def recover(self) -> None:
        """After a start of the system: cut back what had not certainly reached the disk. Before anything arrives."""
        boot = self.disk.boot().encode()
        if boot and self.read(_BOOT) == boot:
            return
        for name in self.disk.names(self.descriptor):
            if name.endswith(PART):
                self._cut_back(name)
        self.write(_BOOT, boot)

    def _cut_back(self, name: str) -> None:
        disk = self.disk
        try:
            descriptor = disk.reopen(name, self.descriptor)
        except OSError:  # another process writes it, and has looked after it
            return
        try:
            status = disk.status(descriptor)
            size = int(self.read(name.removesuffix(PART) + SYNCED) or 0)
            if status.st_size > size and not self.is_stored(status):
                disk.cut(descriptor, size)
        finally:
            disk.close(descriptor)

    def close(self) -> None:
        """Nothing more will be kept."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            self.disk.close(descriptor)

    def create(self) -> tuple[str, int]:
        """A part of nobody's transfer: its name and descriptor."""
        while True:
            name = f"{_OWN}{os.getpid()}-{next(_counter)}{PART}"
            try:
                return name, self.disk.create(name, self.descriptor)
            except FileExistsError:
                continue

    def sync(self) -> None:
        """Wait until the names that are here are on the disk."""
        self.disk.sync(self.descriptor)

    # Small files.

    def read(self, name: str) -> bytes | None:
        """What a small file says; None when there is none."""
        try:
            return self.disk.content(name, self.descriptor)
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes, *, sync: bool = True) -> None:
        """Write a small file; it is either there, and whole, or not."""
        disk = self.disk
        new = f"{name}-{os.getpid()}-{next(_counter)}{_NEW}"
        descriptor = disk.create(new, self.descriptor)
        try:
            disk.write(descriptor, (content,))
            if sync:
                disk.sync(descriptor)
        finally:
            disk.close(descriptor)
        disk.replace(new, self.descriptor, name, self.descriptor)
        if sync:
            self.sync()

    def remove(self, *names: str) -> None:
        """Remove what is there of these."""
        for name in names:
            try:
                self.disk.unlink(name, self.descriptor)
            except FileNotFoundError:
                pass

    def forget(self, transfers: Iterable[str]) -> None:
        """Their senders will not come again."""
        for transfer in transfers:
            self.remove(transfer + PART, transfer + SYNCED, transfer + STORED)

    def remember(self, transfer: str, final: str) -> None:
        """A transfer was stored as C{final}, and its sender may not know: keep that, and not its content."""
        self.write(transfer + STORED, final.encode())
        self.remove(transfer + PART, transfer + SYNCED)

    # What is left of senders that do not come again.

    def sweep(self, now: float) -> Swept:
        """
        Remove what is too old or too much.

        @param now: the time, in seconds as the file system counts them.
        """
        names = set(self.disk.names(self.descriptor))
        kept: list[Kept] = []
        swept = [0, 0]
        for name in names:
            if name.endswith(PART):
                self._look(name, now, kept, swept)
            elif name.endswith(SYNCED) and name.removesuffix(SYNCED) + PART not in names:
                self.remove(name)
            elif name.endswith(_NEW) and self._older(name, now, 3_600.0):
                self.remove(name)
        for one in _superfluous(kept):
            try:
                descriptor = self.disk.reopen(one.name, self.descriptor)
            except OSError:  # its sender has come just now
                continue
            self._drop(one.name, one.size, swept)
            self.disk.close(descriptor)
        self._sweep_records(now, names)
        return Swept(*swept)

    def _older(self, name: str, now: float, age: float) -> bool:
        status = self.disk.look(name, self.descriptor)
        return status is not None and now - status.st_mtime > age

    def _look(self, name: str, now: float, kept: list[Kept], swept: list[int]) -> None:
        """Look at a part, unless somebody is writing it."""
        disk = self.disk
        try:
            descriptor = disk.reopen(name, self.descriptor)
        except OSError:
            return
        try:
            status = disk.status(descriptor)
            own = name.startswith(_OWN)
            if self.is_stored(status) and not own:
                if now - status.st_mtime > AGE:
                    self.forget((name.removesuffix(PART),))
                return
            size = status.st_size
            if size < LEAST or now - status.st_mtime > AGE or own:
                self._drop(name, size, swept)
            else:
                kept.append(Kept(status.st_mtime, size, name))
        finally:
            disk.close(descriptor)

    def is_stored(self, status: os.stat_result) -> bool:
        """Whether the file of a part has its final name already, or had it."""
        return self.links and (status.st_nlink > 1 or not status.st_mode & MARK)

    def _drop(self, name: str, size: int, swept: list[int]) -> None:
        self.remove(name, name.removesuffix(PART) + SYNCED)
        swept[0] += 1
        swept[1] += size

    def _sweep_records(self, now: float, names: Iterable[str]) -> None:
        found: list[tuple[float, str]] = []
        for name in names:
            status = self.disk.look(name, self.descriptor) if name.endswith(STORED) else None
            if status is not None:
                found.append((status.st_mtime, name))
        found.sort(reverse=True)
        for index, (time, name) in enumerate(found):
            if index >= MOST or now - time > AGE:
                self.remove(name)


def _superfluous(kept: list[Kept]) -> list[Kept]:
    """Which parts are beyond the limits."""
    numbers: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    left = 0
    dropped = []
    for one in sorted(kept, reverse=True):
        owner = one.name.partition("-")[0]
        full = numbers[owner] >= MOST_OF_ONE or (numbers[owner] and sizes[owner] + one.size > MOST_BYTES_OF_ONE)
        if full or left >= MOST:
            dropped.append(one)
            continue
        left += 1
        numbers[owner] += 1
        sizes[owner] += one.size
    return dropped
