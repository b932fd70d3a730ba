"""
Tests for L{hypermail.services.store_sql}: which files are stores, and which are refused.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

from hypermail.errors import StoreFailed
from hypermail.messages.lanes import LaneProperties
from hypermail.services.store_sql import LOG_PAGES, PAGE
from hypermail.session.journal import LaneUsed, Queued, Suspended, Taken
from hypermail.test.stores import FileTestCase, identity, queued, session_id
from hypermail.wire.packets import Verdict

ID = session_id(1)
PROPERTIES = LaneProperties()


class OpeningTests(FileTestCase):
    """Which files are used."""

    def refused(self, pattern: str, **fields: Any) -> None:
        """The store cannot be opened, and one line says why."""
        with self.assertRaisesRegex(StoreFailed, pattern) as caught:
            self.open(**fields)
        self.assertNotIn("\n", caught.exception.text)

    def close(self) -> None:
        """The store that is open."""
        self.opened.remove(self.file)
        self.file.close()

    def execute(self, statement: str) -> None:
        """As somebody else does."""
        database = sqlite3.connect(self.path)
        database.execute(statement)
        database.commit()
        database.close()

    def test_made(self) -> None:
        """What is made is for its user alone, also the log; nothing else is left, and nothing of a closed store."""
        old = os.umask(0)
        self.addCleanup(os.umask, old)
        self.path = str(Path(self.mktemp()) / "state" / "sessions.db")
        file = self.open()
        file.apply([[identity()]])
        directory = Path(self.path).parent
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}
        self.assertEqual(modes, {"sessions.db": 0o600, "sessions.db-wal": 0o600})
        self.assertEqual(stat.S_IMODE(directory.stat().st_mode), 0o700)
        file.close()
        self.opened.remove(file)
        self.assertEqual(os.listdir(directory), ["sessions.db"])

    def test_settings(self) -> None:
        """A commit is on the disk when it returns."""
        for pragma, value in (("journal_mode", "wal"), ("synchronous", 2), ("locking_mode", "exclusive")):
            self.assertEqual(self.file._database.execute(f"PRAGMA {pragma}").fetchone(), (value,))

    def test_log(self) -> None:
        """The log is copied into the tables when it is as large as it may be, and does not stay larger."""
        for pragma, value in (("wal_autocheckpoint", LOG_PAGES), ("journal_size_limit", LOG_PAGES * PAGE)):
            self.assertEqual(self.file._database.execute(f"PRAGMA {pragma}").fetchone(), (value,))

    def test_inUse(self) -> None:
        """A store is of one process, and of one object in it, whether something was written or not."""
        for _ in range(2):
            self.refused("is in use by another process: stop that, or use another directory")
            script = "import sys; from hypermail.services.store_file import *; StoreFile(sys.argv[1], b'o' * 32, float)"
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
            done = subprocess.run(
                [sys.executable, "-c", script, self.path], env=environment, capture_output=True, text=True, timeout=60
            )
            self.assertIn("is in use by another process", done.stderr)
            self.write(identity())
        self.reopen()

    def test_owner(self) -> None:
        """The store of another identity is refused, and stays as it is."""
        self.write(identity())
        self.close()
        self.refused("belongs to another identity", owner=b"x")
        self.file = self.open()
        self.assertIsNotNone(self.file.find(ID))

    def test_newer(self) -> None:
        """One of a newer version is refused, one of an impossible one is damaged."""
        self.close()
        self.execute("PRAGMA user_version = 2")
        self.refused(r"is of a newer version of hypermail \(2, this one knows 1\): use that version")
        self.execute("PRAGMA user_version = 0")
        self.refused("is damaged: its version is 0")

    def test_incomplete(self) -> None:
        """One in which messages are missing, or whose rows contradict each other, is damaged."""
        lane, missing = LaneUsed(ID, 1, LaneProperties(durable=True)), "messages of lane 1 of session .* are missing"
        self.file.apply([[identity(), lane, Taken(ID, 2, 1, ())]])
        for number in range(3):
            self.file.apply([[Queued(ID, 1, number, queued(b"x"))]])
        self.file.apply([[Suspended(ID)]])
        self.close()
        whole = Path(self.path).read_bytes()
        for statement, pattern in (
            ("DELETE FROM messages WHERE first = 0", missing),
            ("DELETE FROM messages WHERE first = 1", missing),
            ("DELETE FROM messages WHERE first = 2", missing),
            ("DELETE FROM messages", missing),
            ("UPDATE lanes SET settled = 1 WHERE half = 0", missing),
            ("UPDATE lanes SET body = x'0000000000' WHERE half = 1", "does not match its check"),
            ("DELETE FROM lanes WHERE half = 0", "there are messages of a lane that is not there"),
            ("DELETE FROM sessions", "there is a lane of session .*, but not the session"),
        ):
            self.execute(statement)
            self.refused(f"is damaged: .*{pattern}")
            Path(self.path).write_bytes(whole)

    def test_foreign(self) -> None:
        """What is no store is refused, and not changed: databases of others, other files, and what is no file."""
        self.close()
        self.execute("PRAGMA application_id = 5")
        self.refused("is no store of hypermail's: move it away")
        os.unlink(self.path)
        self.execute("CREATE TABLE t (x)")
        content = Path(self.path).read_bytes()
        self.refused("is no store of hypermail's")
        self.assertEqual(Path(self.path).read_bytes(), content)
        for content in (b"x", b"what I have to buy\n" * 1000):
            Path(self.path).write_bytes(content)
            self.refused("is no store of hypermail's")
            self.assertEqual(Path(self.path).read_bytes(), content)
        os.unlink(self.path)
        os.mkdir(self.path)
        self.refused("is no store of hypermail's")
        os.rmdir(self.path)
        os.mkfifo(self.path)
        self.refused("is no store of hypermail's")

    def test_empty(self) -> None:
        """An empty file is a store that was lost, not a new one."""
        self.close()
        Path(self.path).write_bytes(b"")
        self.refused("is damaged: it is empty; move it away, together with its -wal file")

    def test_dangling(self) -> None:
        """A link to a store that is not there, on a disk that is not mounted say, is no reason to begin a new one."""
        path = self.path + "2"
        os.symlink("/nowhere/sessions.db", path)
        self.refused("No such file", path=path)

    def test_link(self) -> None:
        """A store may be reached through a link; it is the same."""
        path = self.path + "2"
        os.symlink(os.path.abspath(self.path), path)
        self.refused("in use", path=path)
        self.write(identity())
        self.close()
        self.file = self.open(path=path)
        self.assertIsNotNone(self.file.find(ID))

    def test_odd(self) -> None:
        """Any name of a file will do."""
        path = os.path.join(os.path.dirname(self.path), "ä?mode=memory#%41 \n.db")
        self.open(path=path)
        self.assertTrue(os.path.getsize(path))
        with self.assertRaisesRegex(StoreFailed, "mode=memory#%41 .n.db is in use"):
            self.open(path=path)

    def test_noDirectory(self) -> None:
        """A directory that cannot be made, or a file in its place, is told."""
        for path in ("/proc/nowhere/sessions.db", self.path + "/sessions.db"):
            self.refused("cannot be used: ", path=path)

    def test_notWritable(self) -> None:
        """A store, or a directory, that may not be written is told."""
        self.close()
        directory = os.path.dirname(self.path)
        script = (
            "import os, sys; from hypermail.services.store_file import StoreFile\n"
            "os.chdir(sys.argv[1]); os.getuid() or os.setuid(65534)\n"
            "StoreFile(sys.argv[2], b'o' * 32, lambda: 2e9)"
        )
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        os.chmod(self.path, 0o444)
        os.chmod(directory, 0o555)
        self.addCleanup(os.chmod, directory, 0o700)
        for name in ("sessions.db", "other.db"):
            done = subprocess.run(
                [sys.executable, "-c", script, directory, name],
                env=environment,
                capture_output=True,
                text=True,
                timeout=60,
            )
            self.assertRegex(done.stderr, "StoreFailed: the store .*let this user write the file and its directory")

    def test_full(self) -> None:
        """A database that may not grow is told as a full disk; it goes on when it may."""
        self.write(identity(), LaneUsed(ID, 0, PROPERTIES))
        [(pages,)] = self.file._database.execute("PRAGMA page_count").fetchall()
        self.file._database.execute(f"PRAGMA max_page_count = {pages}")
        big = queued(bytes(100_000))
        with self.assertRaisesRegex(StoreFailed, "cannot be written: the disk is full; make room there"):
            self.file.apply([[Taken(ID, 0, 5, ())], [Queued(ID, 0, 0, big)]])
        with self.assertRaisesRegex(StoreFailed, "the disk is full"):  # in the second statement of its transaction
            long = Verdict(1, False, 1, "x" * (1 << 20))
            self.file.apply([[Taken(ID, lane, 5, (long,) if lane == 149 else ()) for lane in range(150)]])
        self.file._database.execute("PRAGMA max_page_count = 100000")
        found = self.file.find(ID)
        assert found is not None
        self.assertEqual((found.receiving, found.sending[0].next), ({}, 0))
        self.write(*(Taken(ID, lane, 5, ()) for lane in range(150)))
        self.write(Queued(ID, 0, 0, big))
