"""
Tests for L{hypermail.services.directory} and L{hypermail.services.disk}: real files in a temporary directory.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from hypermail.services.arrivals import NotStored
from hypermail.services.directory import InboxDirectory
from hypermail.services.disk import Disk
from hypermail.services.parts import LEAST
from hypermail.test.privileges import obeying
from hypermail.test.services import FaultyDisk, kept, tree


class DirectoryCase(SynchronousTestCase):
    """An inbox in a directory of its own, and a look that no descriptor is left open."""

    disk: Disk

    def setUp(self) -> None:
        self.top = Path(self.mktemp())
        self.disk = FaultyDisk()
        self.before = _descriptors()
        self.directory = self.reopened()

    def tearDown(self) -> None:
        self.directory.close()
        self.assertEqual(_descriptors(), self.before)

    def reopened(self) -> InboxDirectory:
        """The inbox, opened as by a new process."""
        directory = InboxDirectory(str(self.top), self.disk)
        directory.open()
        return directory

    def store(self, name: str, content: bytes = b"content") -> str:
        """Let one file arrive."""
        arrival = self.directory.begin(tuple(name.split("/")))
        try:
            arrival.write([content])
            return arrival.store(hashlib.sha256(content).digest())
        except BaseException:
            arrival.abandon()
            raise


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


class ArrivalTests(DirectoryCase):
    """How a file arrives."""

    def test_visible(self) -> None:
        """While it arrives nothing is to be seen, afterwards NAME, with an ordinary file's mode."""
        arrival = self.directory.begin(("a.txt",))
        arrival.write([b"one", b"two"])
        self.assertEqual(tree(str(self.top)), {})
        self.assertEqual(list(kept(self.top).values()), [b"onetwo"])
        self.assertEqual(arrival.store(hashlib.sha256(b"onetwo").digest()), "a.txt")
        self.assertEqual(tree(str(self.top)), {"a.txt": b"onetwo"})
        mask = os.umask(0)
        os.umask(mask)
        self.assertEqual(stat.S_IMODE((self.top / "a.txt").stat().st_mode), 0o666 & ~mask)

    def test_synced(self) -> None:
        """The content is synced before the file has its name, and the name before store() returns."""
        assert isinstance(self.disk, FaultyDisk)
        self.disk.calls.clear()
        self.store("a")
        self.assertEqual(self.disk.calls, ["create", "write", "sync", "link", "change_mode", "sync", "unlink"])

    def test_paths(self) -> None:
        """Directories are made as they are needed."""
        self.assertEqual(self.store("x/y/a"), "x/y/a")
        self.assertEqual(self.store("x/b"), "x/b")
        self.assertEqual(tree(str(self.top)), {"x/y/a": b"content", "x/b": b"content"})

    def test_nothingIsOverwritten(self) -> None:
        """The same name again gets a number, and so does one that somebody else has made."""
        (self.top / "b.txt").write_bytes(b"mine")
        (self.top / "c").mkdir()
        (self.top / "d").symlink_to("nowhere")
        names = [self.store(name) for name in ("a.txt", "a.txt", "a.txt", "b.txt", "c", "d")]
        self.assertEqual(names, ["a.txt", "a (2).txt", "a (3).txt", "b (2).txt", "c (2)", "d (2)"])
        self.assertEqual((self.top / "b.txt").read_bytes(), b"mine")

    def test_concurrent(self) -> None:
        """Many arrivals of one name at once are all kept."""
        contents = [b"%d" % number for number in range(200)]
        with ThreadPoolExecutor(8) as pool:
            names = list(pool.map(lambda content: self.store("dir/same.txt", content), contents))
        self.assertEqual(len(set(names)), len(contents))
        self.assertEqual(sorted(tree(str(self.top)).values()), sorted(contents))

    def test_hidden(self) -> None:
        """Nobody's file gets into the directory where parts are kept, however it is written; deeper ones are free."""
        for name in (".hypermail", ".hypermail/boot", ".HyperMail/x"):
            error = self.assertRaises(NotStored, self.store, name)
            self.assertEqual(error.text, "'.hypermail' is the inbox's own")
        self.assertEqual(self.store("a/.hypermail"), "a/.hypermail")

    def test_longName(self) -> None:
        """A name of 255 bytes leaves room for a number."""
        name = "n" * 251 + ".txt"
        self.assertEqual(self.store(name), name)
        self.assertEqual(self.store(name), "n" * 247 + " (2).txt")

    def test_empty(self) -> None:
        """A file may be empty."""
        arrival = self.directory.begin(("empty",))
        arrival.write([])
        arrival.store(hashlib.sha256().digest())
        self.assertEqual(tree(str(self.top)), {"empty": b""})

    def test_wrongContent(self) -> None:
        """Content of another SHA-256 is not stored."""
        arrival = self.directory.begin(("a",))
        arrival.write([b"other"])
        error = self.assertRaises(NotStored, arrival.store, hashlib.sha256(b"content").digest())
        self.assertIn("SHA-256", error.text)
        arrival.abandon()
        self.assertEqual(tree(str(self.top)), {})

    def test_abandon(self) -> None:
        """What is abandoned is gone; abandoning again, or after storing, does nothing."""
        arrival = self.directory.begin(("dir", "a"))
        arrival.write([b"x"])
        arrival.abandon()
        arrival.abandon()
        self.assertEqual(tree(str(self.top)), {"dir/": b""})
        stored = self.directory.begin(("b",))
        stored.store()
        stored.abandon()
        self.assertEqual(tree(str(self.top)), {"dir/": b"", "b": b""})

    def test_nobodys(self) -> None:
        """Of a transfer that has no name nothing is kept, since nobody could go on with it."""
        arrival = self.directory.begin(("a",))
        arrival.write([bytes(LEAST)])
        self.assertEqual(arrival.keep(), 0)
        self.assertEqual(kept(self.top), {})


class EscapeTests(DirectoryCase):
    """Nothing outside the inbox is touched."""

    def test_symbolicLink(self) -> None:
        """A link to a directory is not followed, wherever it leads."""
        outside = Path(self.mktemp())
        outside.mkdir()
        (self.top / "inner").mkdir()
        (self.top / "out").symlink_to(outside.absolute())
        (self.top / "in").symlink_to("inner")
        for name in ("out/a", "in/a", "out/b/c"):
            error = self.assertRaises(NotStored, self.store, name)
            self.assertIn("is not a directory", error.text)
        self.assertEqual(os.listdir(outside), [])

    def test_fileInTheWay(self) -> None:
        """A file where a directory should be is named."""
        self.store("a")
        error = self.assertRaises(NotStored, self.store, "a/b")
        self.assertEqual(error.text, "in the inbox 'a' is not a directory")

    def test_linkedHidden(self) -> None:
        """A link that lies where parts would go is not followed."""
        outside = Path(self.mktemp())
        outside.mkdir()
        top = Path(self.mktemp())
        top.mkdir()
        (top / ".hypermail").symlink_to(outside.absolute())
        error = self.assertRaises(NotStored, InboxDirectory(str(top)).open)
        self.assertIn("cannot be written", error.text)
        self.assertEqual(os.listdir(outside), [])

    def test_topMayBeALink(self) -> None:
        """The inbox itself may be reached through a link: its owner made it."""
        link = Path(self.mktemp())
        link.symlink_to(self.top.absolute())
        directory = InboxDirectory(str(link))
        directory.open()
        directory.begin(("a",)).store()
        directory.close()
        self.assertEqual(tree(str(self.top)), {"a": b""})


class FaultTests(DirectoryCase):
    """Disks that fail."""

    disk: FaultyDisk

    def test_full(self) -> None:
        """A full disk leaves nothing behind."""
        self.disk.room = 3
        error = self.assertRaises(OSError, self.store, "a", b"four")
        self.assertEqual(error.errno, errno.ENOSPC)
        self.assertEqual(tree(str(self.top)), {})

    def test_everyStep(self) -> None:
        """Whichever step fails, nothing is left under any name."""
        for step in ("create", "write", "sync", "link", "change_mode"):
            self.disk.faults = {step: errno.EIO}
            self.assertRaises(OSError, self.store, "a")
            self.assertEqual((tree(str(self.top)), kept(self.top)), ({}, {}), step)

    def test_noLinks(self) -> None:
        """Where the file system knows no links, names are still taken once only."""
        self.disk.faults = {"link": errno.EPERM}
        self.directory.close()
        self.directory = self.reopened()
        self.assertEqual([self.store("a", b"1"), self.store("a", b"2")], ["a", "a (2)"])
        self.assertEqual(tree(str(self.top)), {"a": b"1", "a (2)": b"2"})

    def test_gone(self) -> None:
        """An inbox that was removed under us says so."""
        shutil.rmtree(self.top)
        self.assertRaises(FileNotFoundError, self.store, "a")


class OpenTests(DirectoryCase):
    """Opening an inbox, or not."""

    disk: FaultyDisk

    def refusal(self, path: str) -> str:
        """Why an inbox at C{path} cannot be opened."""
        text: str = self.assertRaises(NotStored, InboxDirectory(path, self.disk).open).text
        self.assertNotIn("\n", text)
        return text

    def test_made(self) -> None:
        """A missing directory is made, its parents included, and nothing is to be seen in it."""
        path = self.top / "new" / "inbox"
        directory = InboxDirectory(str(path))
        directory.open()
        self.assertEqual(os.listdir(path), [".hypermail"])
        self.assertEqual(os.listdir(path / ".hypermail"), ["boot"])
        directory.close()

    def test_refused(self) -> None:
        """What is no directory, or cannot be used, is refused in one line with its name."""
        (self.top / "file").write_bytes(b"")
        (self.top / "loop").symlink_to("loop")
        for name in ("file", "file/inbox", "loop"):
            self.assertIn(repr(str(self.top / name)), self.refusal(str(self.top / name)))
        self.disk.faults = {"create": errno.EROFS}
        self.assertIn("cannot be written: Read-only file system", self.refusal(str(self.top)))
        self.disk.faults = {"make_top": errno.EACCES}
        self.assertIn("cannot be used: Permission denied", self.refusal(str(self.top)))

    def test_permissions(self) -> None:
        """A directory that we may not write is refused."""
        obeying(self)
        path = self.top / "new"
        path.mkdir(0o555)
        self.assertIn("Permission denied", self.refusal(str(path)))
