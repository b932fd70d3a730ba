"""
Tests for L{hypermail.services.directory} and L{hypermail.services.disk}: real files in a temporary directory.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from hypermail.services.directory import Arrival, InboxDirectory, NotStored
from hypermail.services.disk import MARK, Disk
from hypermail.test.privileges import obeying
from hypermail.test.services import FaultyDisk, tree


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
        """While it arrives only NAME.part is to be seen, afterwards only NAME, with an ordinary file's mode."""
        arrival = self.directory.begin(("a.txt",))
        arrival.write([b"one", b"two"])
        self.assertEqual(tree(str(self.top)), {"a.txt.part": b"onetwo"})
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
        self.assertEqual(self.disk.calls, ["create", "write", "sync", "link", "unlink", "unmark", "sync"])

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

    def test_partialNames(self) -> None:
        """A real x.part, arriving or there, and the partial file of x do not meet."""
        (self.top / "y.part").write_bytes(b"mine")
        first, second = self.directory.begin(("x",)), self.directory.begin(("x",))
        third, fourth = self.directory.begin(("x.part",)), self.directory.begin(("y",))
        for number, arrival in enumerate((first, second, third, fourth)):
            arrival.write([b"%d" % number])
        names = [arrival.store() for arrival in (third, first, second, fourth)]
        self.assertEqual(len(set(names)), 4)
        self.assertEqual(
            tree(str(self.top)),
            {"x": b"0", "x (2)": b"1", names[0]: b"2", "y": b"3", "y.part": b"mine"},
        )

    def test_longName(self) -> None:
        """A name of 255 bytes leaves room for .part and for a number."""
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

    def test_linkedPartial(self) -> None:
        """A link that lies where the partial file would go is left alone."""
        victim = Path(self.mktemp())
        victim.write_bytes(b"precious")
        (self.top / "a.part").symlink_to(victim.absolute())
        self.store("a")
        self.assertEqual(victim.read_bytes(), b"precious")

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
        for step in ("create", "write", "sync", "link", "unmark"):
            self.disk.faults = {step: errno.EIO}
            self.assertRaises(OSError, self.store, "a")
            self.assertEqual(tree(str(self.top)), {}, step)

    def test_noLinks(self) -> None:
        """Where the file system knows no links, names are still taken once only."""
        self.disk.faults = {"link": errno.EPERM}
        self.assertEqual([self.store("a", b"1"), self.store("a", b"2")], ["a", "a (2)"])
        self.assertEqual(tree(str(self.top)), {"a": b"1", "a (2)": b"2"})

    def test_gone(self) -> None:
        """An inbox that was removed under us says so."""
        self.top.rmdir()
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
        """A missing directory is made, its parents included, and nothing is left in it."""
        path = self.top / "new" / "inbox"
        directory = InboxDirectory(str(path))
        directory.open()
        self.assertEqual(os.listdir(path), [])
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
        self.top.chmod(0o555)
        self.addCleanup(self.top.chmod, 0o755)
        self.assertIn("Permission denied", self.refusal(str(self.top)))


class SweepTests(DirectoryCase):
    """What a killed process has left."""

    def sweep(self) -> list[str]:
        """Look for leftovers, as a new process."""
        directory = self.reopened()
        found: list[str] = []
        directory.sweep(found.append)
        directory.close()
        return sorted(found)

    def cutOff(self, *parts: str) -> None:
        """Leave a partial file as a process does that is killed."""
        arrival: Arrival = self.directory.begin(parts)
        arrival.write([b"half"])
        os.close(arrival.descriptor)
        os.close(arrival.parent)

    def test_removed(self) -> None:
        """Rests are removed, in all directories, and reported."""
        self.cutOff("a")
        self.cutOff("x", "y", "b.txt")
        self.cutOff("x", "y", "b.txt")
        self.assertEqual(self.sweep(), ["a.part", "x/y/b (2).txt.part", "x/y/b.txt.part"])
        self.assertEqual(tree(str(self.top)), {"x/y/": b""})

    def test_kept(self) -> None:
        """Files that are called so, marked files that are not, and links stay."""
        self.store("real.part", b"1")
        (self.top / "own.part").write_bytes(b"2")
        (self.top / "marked").write_bytes(b"3")
        (self.top / "marked").chmod(0o600 | MARK)
        target = Path(self.mktemp())
        target.mkdir()
        (target / "t.part").write_bytes(b"")
        (target / "t.part").chmod(0o600 | MARK)
        (self.top / "link.part").symlink_to((target / "t.part").absolute())
        (self.top / "linked").symlink_to(target.absolute())
        self.assertEqual(self.sweep(), [])
        self.assertEqual(os.listdir(target), ["t.part"])

    def test_arriving(self) -> None:
        """What is arriving, in another process for all we know, is left alone."""
        arrival = self.directory.begin(("a",))
        self.assertEqual(self.sweep(), [])
        self.assertEqual(arrival.store(), "a")
