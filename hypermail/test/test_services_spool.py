"""
Tests for L{hypermail.services.spool}.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from hypermail.services.reading import Version
from hypermail.services.spool import NotTaken, Ready, Spool
from hypermail.test.privileges import obeying
from hypermail.test.services import tree


class SpoolCase(SynchronousTestCase):
    """An outbox, open."""

    def setUp(self) -> None:
        self.top = Path(self.mktemp())
        self.spool = self.reopened()

    def reopened(self, *, remove: bool = False) -> Spool:
        """The outbox, as of a new process."""
        spool = Spool(str(self.top), remove=remove)
        spool.open()
        self.addCleanup(spool.close)
        return spool

    def put(self, name: str, content: bytes = b"content") -> Ready:
        """Put a file there."""
        path = self.top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        found = [ready for ready in self.spool.scan() if ready.path == name]
        return found[0] if found else Ready(name, Version.of(path.stat()))

    def paths(self) -> list[str]:
        """What is to leave."""
        return [ready.path for ready in self.spool.scan()]


class ScanTests(SpoolCase):
    """Which files are to leave."""

    def test_found(self) -> None:
        """Files, in directories, too, in the order of their names."""
        for name in ("b", "a/c/d", "a/b", "sent.txt", "x/sent/y", "x/messages/z"):
            self.put(name)
        self.assertEqual(self.paths(), ["a/b", "a/c/d", "b", "sent.txt", "x/messages/z", "x/sent/y"])

    def test_leftAlone(self) -> None:
        """What is being written, hidden, delivered, or a message; links; and what is no file."""
        for name in (".x", ".d/x", "x.part", "x.tmp", "d.part/x", "d/.x", "sent/x", "sent/y/x", "messages/x"):
            self.put(name)
        (self.top / "link").symlink_to("x.part")
        (self.top / "linked").symlink_to("sent")
        os.mkfifo(self.top / "fifo")
        self.assertEqual(self.paths(), [])

    def test_unreadable(self) -> None:
        """A directory that cannot be read keeps nothing else from leaving."""
        obeying(self)
        self.put("a")
        self.put("d/x")
        (self.top / "d").chmod(0)
        self.addCleanup((self.top / "d").chmod, 0o700)
        self.assertEqual(self.paths(), ["a"])

    def test_gone(self) -> None:
        """An outbox that is not there any more is an error, and not an empty one."""
        os.rename(self.top, str(self.top) + "x")
        self.assertRaises(FileNotFoundError, self.spool.scan)


class TransferTests(SpoolCase):
    """What transfers are called."""

    def test_same(self) -> None:
        """The same after a restart, for the same version of the same file; anything else is another one."""
        one = self.put("a")
        name = self.spool.transfer(one)
        self.assertEqual(len(name), 16)
        self.spool.close()
        again = self.reopened()
        self.assertEqual(again.transfer(one), name)
        others = [one._replace(path="b")]
        for field in ("inode", "size", "modified"):
            others.append(one._replace(version=one.version._replace(**{field: 8})))
        names = {again.transfer(other) for other in others}
        self.assertEqual(len(names), 4)
        self.assertNotIn(name, names)

    def test_ofOneOutbox(self) -> None:
        """Another outbox gives other names."""
        one = self.put("a")
        other = Spool(self.mktemp(), remove=False)
        other.open()
        self.addCleanup(other.close)
        self.assertNotEqual(self.spool.transfer(one), other.transfer(one))

    def test_strange(self) -> None:
        """A name that is no UTF-8 has a transfer, too; whether it can be sent is others' business."""
        self.spool.transfer(self.put(os.fsdecode(b"\xff")))


class DeliverTests(SpoolCase):
    """Where files go."""

    def sent(self) -> dict[str, bytes]:
        """What was delivered."""
        return tree(str(self.top / "sent"))

    def test_moved(self) -> None:
        """Under the same path, and nothing is overwritten."""
        for number in range(3):
            final = self.spool.deliver(self.put("d/a.txt", b"%d" % number))
            self.assertEqual(final, "sent/d/a.txt" if not number else f"sent/d/a ({number + 1}).txt")
        self.assertEqual(self.sent(), {"d/a.txt": b"0", "d/a (2).txt": b"1", "d/a (3).txt": b"2"})
        self.assertEqual(self.paths(), [])

    def test_removed(self) -> None:
        """Or nowhere, if that is wanted."""
        self.spool.close()
        self.spool = self.reopened(remove=True)
        self.assertIsNone(self.spool.deliver(self.put("a")))
        self.assertEqual(self.paths(), [])
        self.assertFalse((self.top / "sent").exists())

    def test_another(self) -> None:
        """A file that has changed, or gone, since it was sent is left alone."""
        for remove in (False, True):
            self.spool.close()
            self.spool = self.reopened(remove=remove)
            ready = self.put("a", b"one")
            self.put("a", b"other")
            self.assertIsNone(self.spool.deliver(ready))
            self.assertEqual(self.paths(), ["a"])
            ready = self.put("b")
            os.remove(self.top / "b")
            self.assertIsNone(self.spool.deliver(ready))

    def test_killed(self) -> None:
        """Killed between the two names, the file has one of them after the next delivery."""
        ready = self.put("a")
        with self.assertRaises(KeyboardInterrupt), self.killed("unlink"):
            self.spool.deliver(ready)
        self.assertEqual(tree(str(self.top)), {"a": b"content", "sent/a": b"content"})
        self.assertEqual(self.spool.deliver(self.put_again("a")), "sent/a")
        self.assertEqual(tree(str(self.top)), {"sent/a": b"content"})

    def put_again(self, name: str) -> Ready:
        """A file that is there still."""
        (ready,) = [ready for ready in self.spool.scan() if ready.path == name]
        return ready

    def killed(self, method: str) -> Any:
        """The process dies at a call of the system."""
        return patch.object(os, method, side_effect=KeyboardInterrupt)

    def test_noLinks(self) -> None:
        """Where the file system knows no links, it is renamed; still nothing is overwritten."""

        def refuse(*arguments: Any, **options: Any) -> None:
            if os.path.exists(arguments[1]):
                raise FileExistsError
            raise OSError(errno.EPERM, "no links")

        self.patch(os, "link", refuse)
        for content in (b"1", b"2"):
            self.spool.deliver(self.put("a", content))
        self.assertEqual(self.sent(), {"a": b"1", "a (2)": b"2"})

    def test_failing(self) -> None:
        """When it cannot be moved, it says so, and stays."""
        (self.top / "sent").write_bytes(b"in the way")
        error = self.assertRaises(NotTaken, self.spool.deliver, self.put("a"))
        self.assertIn("it is delivered, and cannot be moved to 'sent': ", error.text)
        self.assertEqual(self.paths(), ["a"])


class OpenTests(SpoolCase):
    """Taking an outbox."""

    def test_twice(self) -> None:
        """One process at a time; when it is closed another one may."""
        second = Spool(str(self.top), remove=False)
        error = self.assertRaises(NotTaken, second.open)
        self.assertEqual(error.text, f"the outbox {str(self.top)!r} is in use by another process")
        self.spool.close()
        second.open()
        second.close()

    def test_noDirectory(self) -> None:
        """What is no directory is named."""
        path = Path(self.mktemp())
        path.write_bytes(b"")
        error = self.assertRaises(NotTaken, Spool(str(path), remove=False).open)
        self.assertIn(f"the outbox {str(path)!r} cannot be used: Not a directory", error.text)

    def test_secret(self) -> None:
        """The secret is its owner's; one that was tampered with is refused, and not replaced."""
        path = self.top / ".hypermail" / "secret"
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        self.assertEqual((self.top / ".hypermail").stat().st_mode & 0o077, 0)
        self.spool.close()
        path.write_bytes(b"short")
        for _ in range(2):
            error = self.assertRaises(NotTaken, Spool(str(self.top), remove=False).open)
            self.assertIn("somebody has changed", error.text)
        self.assertEqual(path.read_bytes(), b"short")

    def test_secretCutOff(self) -> None:
        """A process that was killed while it wrote the secret has left none."""
        self.spool.close()
        path = self.top / ".hypermail" / "secret"
        os.rename(path, self.top / ".hypermail" / "secret.new")
        self.reopened()
        self.assertEqual(len(path.read_bytes()), 32)
