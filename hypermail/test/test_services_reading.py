"""
Tests for L{hypermail.services.reading}.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from hypermail.services import digesting, reading
from hypermail.services.reading import BLOCK, FileProducer, FileReader, NotSent, SourceChanged
from hypermail.test.privileges import obeying
from hypermail.test.services import LaterJobs, StreamEnd


class ReadingCase(SynchronousTestCase):
    """A file to read."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp())

    def open(self, content: bytes) -> FileReader:
        """A file with this content, open."""
        self.path.write_bytes(content)
        reader = FileReader(str(self.path))
        self.addCleanup(reader.close)
        return reader


class FileReaderTests(ReadingCase):
    """Reading."""

    def test_blocks(self) -> None:
        """Blocks of 256 KiB, the SHA-256 with the last; an empty file is one block, too."""
        for size in (0, 1, BLOCK, BLOCK + 1, 3 * BLOCK):
            content = os.urandom(size)
            reader = self.open(content)
            self.assertEqual(reader.size, size)
            blocks = [reader.read()]
            while blocks[-1].digest is None:
                blocks.append(reader.read())
            self.assertEqual(b"".join(block.data for block in blocks), content)
            self.assertEqual(blocks[-1].digest, hashlib.sha256(content).digest())
            self.assertEqual(len(blocks), max(1, -(-size // BLOCK)))

    def test_missing(self) -> None:
        """What cannot be opened is told without its name."""
        error = self.assertRaises(NotSent, FileReader, str(self.path))
        self.assertEqual(error.text, "it cannot be read: No such file or directory")

    def test_unreadable(self) -> None:
        """A file that we may not read is told."""
        obeying(self)
        self.path.write_bytes(b"")
        self.path.chmod(0)
        error = self.assertRaises(NotSent, FileReader, str(self.path))
        self.assertEqual(error.text, "it cannot be read: Permission denied")

    def test_changed(self) -> None:
        """A file that grows or shrinks meanwhile is given up."""
        for size in (BLOCK - 1, BLOCK + 10, 0):
            reader = self.open(bytes(2 * BLOCK))
            reader.read()
            os.truncate(self.path, size)
            error = self.assertRaises(NotSent, reader.read)
            self.assertEqual(
                error.text, f"it had {2 * BLOCK} bytes and now has {size}: it changed while it was being sent"
            )

    def test_rewritten(self) -> None:
        """A file that keeps its size, and is written to, is given up."""
        reader = self.open(bytes(2 * BLOCK))
        reader.read()
        os.utime(self.path, ns=(0, reader.version.modified + 1))
        error = self.assertRaises(SourceChanged, reader.read)
        self.assertEqual(error.text, "it changed while it was being sent")

    def test_goingOn(self) -> None:
        """From the middle on: the SHA-256 is of all, in steps that bear no content when there is none left."""
        content = os.urandom(3 * BLOCK)
        for most, number in ((1, 3), (100, 1)):
            self.patch(reading, "CATCHING_UP", most)
            self.patch(digesting, "STEP", BLOCK if most == 1 else BLOCK // 4)
            self.patch(reading, "PACE", most)
            reader = self.open(content)
            reader.go_on(3 * BLOCK - 1)
            found = [reader.read()]
            while found[-1].digest is None:
                found.append(reader.read())
            self.assertEqual(b"".join(block.data for block in found), content[-1:])
            self.assertEqual(found[-1].digest, hashlib.sha256(content).digest())
            self.assertEqual(len(found), number)

    def test_readError(self) -> None:
        """A read that fails is told; a directory's does."""
        reader = FileReader("/")
        self.addCleanup(reader.close)
        reader.version = reader.version._replace(size=1)
        self.assertIn("it cannot be read: Is a directory", self.assertRaises(NotSent, reader.read).text)


class FileProducerTests(ReadingCase):
    """A file into a stream."""

    def setUp(self) -> None:
        super().setUp()
        self.jobs = LaterJobs()
        self.end = StreamEnd()
        self.wrote: list[int] = []
        self.failures: list[Failure] = []

    def produce(self, content: bytes) -> FileProducer:
        """Begin to send a file."""
        self.reader = self.open(content)
        producer = FileProducer(
            self.end,
            self.reader,
            self.reader.read(),
            run=self.jobs,
            wrote=self.wrote.append,
            failed=self.failures.append,
        )
        producer.start()
        return producer

    def assertClosed(self) -> None:
        """The file is not open any more."""
        self.assertEqual(self.reader._descriptor, -1)
        self.assertFalse(self.jobs.waiting)

    def test_all(self) -> None:
        """Content, digest; the file is closed, and whether the direction ends is others' business."""
        for size in (0, 10, BLOCK, 2 * BLOCK + 5):
            self.end = StreamEnd()
            self.wrote.clear()
            content = os.urandom(size)
            self.produce(content)
            self.jobs.runAll()
            self.assertEqual(self.end.value(), content + hashlib.sha256(content).digest())
            self.assertIsNone(self.end.producer)
            self.assertEqual(sum(self.wrote), size)
            self.assertClosed()

    def test_paused(self) -> None:
        """While the stream has no room, one block is read ahead and no more."""
        producer = self.produce(bytes(4 * BLOCK))
        self.assertEqual(len(self.end.value()), BLOCK)
        producer.pauseProducing()
        self.jobs.runOne()
        self.assertEqual(len(self.end.value()), BLOCK)
        self.assertFalse(self.jobs.waiting)
        producer.resumeProducing()
        self.assertEqual(len(self.end.value()), 2 * BLOCK)
        self.assertEqual(len(self.jobs.waiting), 1)
        self.jobs.runAll()
        self.assertEqual(len(self.end.value()), 4 * BLOCK + 32)

    def test_pausedByItsOwnWriting(self) -> None:
        """A stream that pauses and resumes within a write gets everything once and in order."""
        content = os.urandom(3 * BLOCK + 1)
        taken = bytearray()

        def write(data: bytes) -> None:
            taken.extend(data)
            producer = self.end.producer
            if producer is not None:
                producer.pauseProducing()
                producer.resumeProducing()

        self.patch(self.end, "write", write)
        self.produce(content)
        self.jobs.runAll()
        self.assertEqual(bytes(taken), content + hashlib.sha256(content).digest())
        self.assertClosed()

    def test_stopped(self) -> None:
        """When nobody wants the rest the file is closed, after the read that is under way."""
        producer = self.produce(bytes(4 * BLOCK))
        producer.stopProducing()
        self.assertGreaterEqual(self.reader._descriptor, 0)
        self.jobs.runAll()
        self.assertEqual(len(self.end.value()), BLOCK)
        self.assertFalse(self.end.writeClosed)
        self.assertClosed()

    def test_failed(self) -> None:
        """A read that fails ends the production, once, and is told."""
        producer = self.produce(bytes(4 * BLOCK))
        os.truncate(self.path, 0)
        self.jobs.runAll()
        (failure,) = self.failures
        self.assertIsInstance(failure.value, NotSent)
        self.assertClosed()
        producer.stopProducing()

    def test_failedAfterStopping(self) -> None:
        """A read that fails when nobody wants the rest any more is nobody's business."""
        producer = self.produce(bytes(4 * BLOCK))
        os.truncate(self.path, 0)
        producer.stopProducing()
        self.jobs.runAll()
        self.assertEqual(self.failures, [])
        self.assertClosed()
