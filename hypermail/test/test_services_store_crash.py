"""
Tests for the store's file when the machine, the disk or the process fails under it.
"""

from __future__ import annotations

import os
import random
import resource
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice, product
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from hypermail.errors import StoreFailed
from hypermail.messages.lanes import LaneProperties
from hypermail.services.store_file import StoreFile
from hypermail.session.journal import Change, LaneUsed, Queued
from hypermail.test import store_writes
from hypermail.test.stores import NOW, OWNER, Chance, identity, queued, session_id, state

State = dict[bytes, Any]
#: Bytes that a disk writes as one.
SECTOR = 512
#: Bytes that a log begins with. https://www.sqlite.org/fileformat2.html#walformat
LOG_HEADER = 32


class FailingTestCase(SynchronousTestCase):
    """A directory for a store, and copies of it."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.path = self.directory / "sessions.db"
        self.log = self.directory / "sessions.db-wal"
        self.copy = Path(self.mktemp()) / "sessions.db"
        self.copy.parent.mkdir()

    def open(self, path: Path | None = None, log_pages: int | None = None) -> StoreFile:
        """Open a store. @param log_pages: see C{wal_autocheckpoint}."""
        file = StoreFile(str(path or self.path), OWNER, lambda: NOW)
        if log_pages is not None:
            file._database.execute(f"PRAGMA wal_autocheckpoint = {log_pages}")
        return file

    def images(self) -> tuple[bytes, bytes]:
        """Tables and log as they are on the disk."""
        return self.path.read_bytes(), self.log.read_bytes() if self.log.exists() else b""

    def found(self, tables: bytes, log: bytes) -> State:
        """
        What a store of these files holds, which has to be the same the second time.

        @raise StoreFailed: when it refuses.
        """
        self.copy.write_bytes(tables)
        self.copy.with_name("sessions.db-wal").write_bytes(log)
        for _ in range(2):
            file = self.open(self.copy)
            try:
                found = state(file)
            finally:
                file.close()
        return found


class PowerTests(FailingTestCase):
    """The machine stops: what was being written is on the disk in part, in any order."""

    def steps(self, seed: int, groups: int, log_pages: int) -> Iterator[tuple[tuple[bytes, bytes, State], ...]]:
        """Before and after each group: files, and what has to be in them."""
        chance = Chance(seed)
        file = self.open(log_pages=log_pages)
        try:
            before = *self.images(), chance.model.state()
            for writes in islice(chance.groups(), groups):
                self.assertFalse(any(file.apply(writes)))
                after = *self.images(), chance.model.state()
                yield before, after
                before = after
        finally:
            file.close()

    def test_logCutAnywhere(self) -> None:
        """A log that was written up to any byte gives what was before the group, or after it when it is whole."""
        chance = random.Random(1)
        whole = 0
        for (tables, log, old), (_, longer, new) in self.steps(1, 8, 100_000):
            self.assertTrue(longer.startswith(log))
            self.assertEqual(self.found(tables, log), old)
            frame = 24 + 8192
            for cut in {
                *range(len(log), len(longer), frame),
                *(chance.randint(len(log), len(longer) - 1) for _ in "1234"),
            }:
                self.assertEqual(self.found(tables, longer[:cut]), old)
            self.assertEqual(self.found(tables, longer), new)
            whole += 1
        self.assertEqual(whole, 8)

    def test_writtenInAnyOrder(self) -> None:
        """
        Whatever part of the sectors of one write has reached the disk: all or nothing of the group is there; and all
        of it once its log is, however much of that has been copied into the tables.
        """
        chance = random.Random(2)
        restarted = copied = 0
        for (tables, log, old), (newer, longer, new) in self.steps(2, 40, 8):
            if not longer.startswith(log):
                # The log begins anew, and SQLite waits for its new header to be on the disk before it writes more.
                restarted += 1
                log = longer[:LOG_HEADER] + log[LOG_HEADER:]
                self.assertEqual(self.found(tables, log), old)
            for _ in range(3):
                self.assertIn(self.found(tables, self.mixed(chance, log, longer)), (old, new))
            if newer != tables:
                copied += 1
                for _ in range(3):
                    self.assertEqual(self.found(self.mixed(chance, tables, newer), longer), new)
        self.assertGreater(restarted, 3)
        self.assertGreater(copied, 3)

    def mixed(self, chance: random.Random, old: bytes, new: bytes) -> bytes:
        """Some sectors of each."""
        share = chance.random()
        length = chance.choice((len(old), len(new), max(len(old), len(new))))
        sectors = []
        for at in range(0, length, SECTOR):
            first, second = old[at : at + SECTOR], new[at : at + SECTOR]
            sectors.append((second if chance.random() < share else first).ljust(min(SECTOR, length - at), b"\0"))
        return b"".join(sectors)[:length]

    def test_closing(self) -> None:
        """The machine stops while the log is copied into the tables at the end: all of it is there."""
        *_, (_, (tables, log, last)) = self.steps(3, 30, 100_000)
        self.assertFalse(self.log.exists())
        closed = self.path.read_bytes()
        self.assertEqual(self.found(closed, b""), last)
        chance = random.Random(3)
        for _ in range(10):
            self.assertEqual(self.found(self.mixed(chance, tables, closed), log), last)


class KillTests(FailingTestCase):
    """The process is killed."""

    def run_writers(self, how: str, rounds: int) -> None:
        """See L{hypermail.test.store_writers}."""
        self.directory.mkdir()
        command = [sys.executable, "-m", "hypermail.test.store_writers", how, str(self.directory), "4", str(rounds)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertRegex(done.stdout, f"^{rounds} (killed|stopped), [0-9]+ groups$")

    def test_killed(self) -> None:
        """Every group that was reported is there after SIGKILL, and of the next one all or nothing; 30 times."""
        self.run_writers("kill", 30)

    def test_stoppedAtEachWrite(self) -> None:
        """Likewise when a writer is stopped in the middle of each of its writes, those that make the store included."""
        if not store_writes.available():
            raise SkipTest("this SQLite does not let its writes be stopped")
        self.run_writers("stop", 100)


class DamageTests(FailingTestCase):
    """Files that are not what was written."""

    def setUp(self) -> None:
        super().setUp()
        chance = Chance(5)
        file = self.open(log_pages=100_000)
        #: What was in the store after each group.
        self.states = [chance.model.state()]
        for number, writes in enumerate(islice(chance.groups(), 60)):
            file.apply(writes)
            self.states.append(chance.model.state())
            if number == 30:
                file._database.execute("PRAGMA wal_checkpoint").fetchall()
        self.tables, self.written = self.images()
        file.close()

    def refused(self, tables: bytes, log: bytes, allowed: list[State]) -> bool:
        """Whether a store of these files is refused; else it has to hold one of what is allowed."""
        try:
            found = self.found(tables, log)
        except StoreFailed as error:
            self.assertNotIn("\n", error.text)
            self.assertIn(str(self.copy), error.text)
            return True
        self.assertIn(found, allowed)
        return False

    def test_bytesInTheTables(self) -> None:
        """Tables with other bytes are refused, or what is in them is what was written."""
        chance = random.Random(6)
        closed = self.path.read_bytes()
        refused = 0
        for tables, log in [(closed, b"")] * 90 + [(self.tables, self.written)] * 30:
            refused += self.refused(self.spoiled(chance, tables), log, self.states[-1:])
        self.assertGreater(refused, 10)

    def test_bytesInTheLog(self) -> None:
        """A log with other bytes gives what was there before them, and nothing older than the tables."""
        chance = random.Random(7)
        refused = sum(
            self.refused(self.tables, self.spoiled(chance, self.written), self.states[31:]) for _ in range(60)
        )
        self.assertEqual(refused, 0)

    def spoiled(self, chance: random.Random, image: bytes) -> bytes:
        """Some bytes changed, or a sector lost."""
        spoiled = bytearray(image)
        if chance.random() < 0.2:
            at = chance.randrange(len(image)) // SECTOR * SECTOR
            spoiled[at : at + SECTOR] = bytes(SECTOR)
        else:
            for _ in range(chance.randint(1, 4)):
                spoiled[chance.randrange(len(image))] ^= 1 << chance.randrange(8)
        return bytes(spoiled[: len(image)])

    def test_tablesCut(self) -> None:
        """A file that ends too early is refused, an empty one, too."""
        closed = self.path.read_bytes()
        for length in (0, 1, 99, 100, 8191, 8192, 8193, len(closed) // 2, len(closed) - 8192):
            self.assertTrue(self.refused(closed[:length], b"", self.states[-1:]), length)

    def test_logAlone(self) -> None:
        """When only the log is left, no empty store is begun in its place."""
        self.path.unlink()
        self.log.write_bytes(self.written)
        with self.assertRaisesRegex(StoreFailed, "is damaged: it is gone, but its -wal file is there"):
            self.open()
        self.assertFalse(self.path.exists())

    def test_rowsExchanged(self) -> None:
        """What SQLite finds in order is refused when it is not what was written: each row knows its place."""
        for statement in (
            "DELETE FROM store",
            "UPDATE store SET body = x'0011'",
            "DELETE FROM sessions WHERE id = (SELECT min(id) FROM sessions JOIN lanes USING (id))",
            "UPDATE sessions SET until = 5.0",
            "UPDATE sessions SET name = CAST('other' AS BLOB) WHERE id = (SELECT max(id) FROM sessions)",
            "UPDATE sessions SET body = (SELECT body FROM sessions ORDER BY id DESC LIMIT 1)",
            "UPDATE lanes SET settled = settled + 1 WHERE half = 0",
            "UPDATE lanes SET lane = lane + 10",
            "UPDATE lanes SET body = CAST(substr(body, 1, 12) || x'07' || substr(body, 14) AS BLOB)",
            "UPDATE lanes SET body = CAST(x'07' || substr(body, 2) AS BLOB) WHERE half = 1",
            "DELETE FROM lanes WHERE half = 0 AND id IN (SELECT id FROM messages)",
            "DELETE FROM messages WHERE first = (SELECT min(first) FROM messages)",
            "UPDATE messages SET lane = lane + 10",
            "UPDATE messages SET stop = stop + 1",
            "CREATE TABLE more (x)",
            "DROP TRIGGER settled",
        ):
            shutil.copy(self.path, self.copy)
            database = sqlite3.connect(self.copy)
            changed = database.execute(statement).rowcount
            database.commit()
            database.close()
            self.assertTrue(changed, statement)
            with self.assertRaisesRegex(StoreFailed, "is damaged", msg=statement):
                self.open(self.copy)

    def test_foundAtReading(self) -> None:
        """A message that is damaged while the store is open is refused when it is read; the others are not."""
        file = self.open(self.copy)
        self.addCleanup(file.close)
        id = session_id(1)
        file.apply([[identity(), LaneUsed(id, 0, LaneProperties(durable=True)), Queued(id, 0, 0, queued(b"first"))]])
        file.apply([[Queued(id, 0, 1, queued(b"second"))]])
        file.apply([[Queued(id, 0, 2, queued(b"third"))]])
        execute = file._database.execute
        execute("UPDATE messages SET body = CAST(replace(body, 'second', 'SECOND') AS BLOB) WHERE first = 1")
        self.assertEqual(file.messages(id, 0, 2, 100), [(2, *queued(b"third"))])
        for first in (0, 1):
            with self.assertRaisesRegex(StoreFailed, "a row does not match its check"):
                file.messages(id, 0, first, 100)
        execute("DELETE FROM messages WHERE first = 1")
        for first in (0, 1):
            with self.assertRaisesRegex(StoreFailed, "message 1 of lane 0 of session 0{31}1 is missing"):
                file.messages(id, 0, first, 100)


class FullTests(FailingTestCase):
    """The disk takes no more."""

    def test_anywhere(self) -> None:
        """
        A disk that is full at any byte of a write: nothing of the group is there, not after a crash either, and the
        next one is, once there is room.
        """
        chance = Chance(8)
        groups = chance.groups()
        big = [[identity(99)]]
        for room in (0, 1, 24, 4000, 8215, 8216, 8217, 12000, 16431):
            file = self.open()
            for writes in islice(groups, 4):
                self.assertFalse(any(file.apply(writes)))
            model = chance.model.state()
            self.assertNotIn(session_id(99), model)
            with self.limited(len(self.images()[1]) + room):
                with self.assertRaisesRegex(StoreFailed, "disk", msg=room):
                    file.apply(big)
            self.assertEqual(self.found(*self.images()), model)
            self.assertEqual(state(file), model)
            file.close()
        file = self.open()
        self.addCleanup(file.close)
        for writes in islice(groups, 5):
            self.assertFalse(any(file.apply(writes)))
        self.assertEqual(state(file), chance.model.state())
        self.assertEqual(self.found(*self.images()), chance.model.state())

    def test_logBegunAnew(self) -> None:
        """A disk that is full fails one group; the next one may use the room of the log, when that can be copied."""
        file = self.open(log_pages=100_000)
        self.addCleanup(file.close)
        for generation in range(20):
            file.apply([[identity(1, generation=generation)]])
        with self.limited(len(self.images()[1])):
            with self.assertRaisesRegex(StoreFailed, "disk"):
                file.apply([[identity(2)]])
            self.assertEqual(file.apply([[identity(3)]]), [None])
        self.assertEqual(sorted(state(file)), [session_id(1), session_id(3)])
        self.assertEqual(self.found(*self.images()), state(file))

    def test_eachWrite(self) -> None:
        """
        The disk fails at one write of a group, or is full from there on, or does the write and says that it has not;
        also at those that copy the log into the tables: either the group has failed and nothing of it is there, not
        after a crash either, or it has not, and all is.
        """
        if not store_writes.available():
            raise SkipTest("this SQLite does not let its writes fail")
        chance = Chance(9)
        file = self.open(log_pages=5)
        self.addCleanup(file.close)
        failures = 0
        for writes in islice(chance.groups(), 12):
            old, new = state(file), chance.model.state()
            for at, way in product(range(100), ("once", "for ever", "lying")):
                with store_writes.Writes(partial(self.disk, at, way)):
                    failed = self.failed(file, writes)
                self.assertEqual(state(file), old if failed else new)
                self.assertEqual(self.found(*self.images()), old if failed else new)
                failures += failed
                if not failed:
                    break
        self.assertGreater(failures, 30)

    def disk(self, at: int, way: str, number: int, content: bytes, write: Callable[[bytes], int]) -> int | None:
        """A L{store_writes.Hook}: a disk that fails at one write."""
        if number == at and way == "lying":
            write(content)
        failing = number >= at if way == "for ever" else number == at
        return None if failing else write(content)

    def failed(self, file: StoreFile, writes: list[list[Change]]) -> bool:
        """Whether a group has."""
        try:
            self.assertFalse(any(file.apply(writes)))
        except StoreFailed as error:
            self.assertIn("the disk is full", error.text)
            return True
        return False

    @contextmanager
    def limited(self, size: int) -> Iterator[None]:
        """No file grows beyond this many bytes meanwhile."""
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
