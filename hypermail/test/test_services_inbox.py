"""
Tests for L{hypermail.services.inbox}: streams and messages into a directory, with threads that wait to be told.
"""

from __future__ import annotations

import errno
import hashlib
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import cast

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from hypermail.errors import HypermailError, MessageRejected, PeerSilent
from hypermail.services.directory import InboxDirectory
from hypermail.services.files import file_options
from hypermail.services.inbox import Inbox
from hypermail.services.parts import HIDDEN
from hypermail.services.receiving import WAITING_IN_ALL, WAITING_PER_FILE, FileReceiver
from hypermail.test.services import FaultyDisk, LaterJobs, StreamEnd, kept, tree

PEER = "127.0.0.1:5000"


class InboxCase(SynchronousTestCase):
    """An inbox, its log, and jobs that run when they are told to."""

    def setUp(self) -> None:
        self.observer = EventLoggingObserver()
        globalLogPublisher.addObserver(self.observer)
        self.addCleanup(globalLogPublisher.removeObserver, self.observer)
        self.top = self.mktemp()
        self.hidden = Path(self.top) / HIDDEN
        self.disk = FaultyDisk()
        self.directory = InboxDirectory(self.top, self.disk)
        self.directory.open()
        self.addCleanup(self.directory.close)
        self.jobs = LaterJobs()
        self.clock = Clock()
        self.inbox = Inbox(
            self.directory,
            run=self.jobs,
            clock=self.clock,
            now=lambda: datetime(2026, 11, 21, 4, 5, 6, 789, tzinfo=UTC),
        )
        self.done: list[FileReceiver] = []
        self.transfers = (b"%016d" % number for number in count())

    def log(self) -> list[str]:
        """The lines that were logged."""
        return [formatEvent(event) for event in self.observer]

    def tree(self) -> dict[str, bytes]:
        """What is in the inbox."""
        return tree(self.top)

    def receive(
        self, name: str, size: int, transfer: bytes = b"", owner: bytes = b"", *, again: bool = False
    ) -> tuple[FileReceiver, StreamEnd]:
        """A stream that brings a file."""
        options = file_options(name.encode(), size, transfer or next(self.transfers), again=again)
        receiver = self.inbox.receiver(options, PEER, self.done.append, owner)
        end = StreamEnd()
        receiver.makeConnection(end)
        return receiver, end

    def finishedOnce(self) -> None:
        """Nothing is left to do, and nothing waits."""
        self.assertEqual(len(self.done), 1)
        self.assertEqual(self.inbox.waiting, 0)
        self.assertFalse(self.jobs.waiting)
        self.assertEqual(self.clock.getDelayedCalls(), [])


def wire(content: bytes) -> bytes:
    """What is sent of a file."""
    return content + hashlib.sha256(content).digest()


class FileTests(InboxCase):
    """A file on a stream."""

    def test_small(self) -> None:
        """What arrives in one turn is stored in one job, then answered and logged."""
        receiver, end = self.receive("a/b.txt", 5)
        receiver.dataReceived(wire(b"hello"))
        self.assertFalse(self.jobs.waiting)
        self.clock.advance(0)
        self.assertEqual(end.value(), b"")
        self.jobs.runOne()
        self.assertEqual(end.value(), b"stored a/b.txt\n")
        self.assertTrue(end.writeClosed)
        self.assertEqual(self.tree(), {"a/b.txt": b"hello"})
        self.assertEqual(self.log(), ["stored 'a/b.txt' (5 bytes) from 127.0.0.1:5000"])
        self.assertEqual(len(kept(self.top)), 1)
        receiver.readConnectionLost()
        self.jobs.runOne()
        self.assertEqual(kept(self.top), {})
        receiver.connectionLost(Failure(ConnectionDone()))
        self.finishedOnce()

    def test_bitByBit(self) -> None:
        """It makes no difference how the bytes are cut; the part is there from the first turn on."""
        receiver, end = self.receive("a", 3)
        self.clock.advance(0)
        self.jobs.runAll()
        self.assertEqual(list(kept(self.top).values()), [b""])
        for byte in wire(b"abc"):
            receiver.dataReceived(bytes((byte,)))
            self.jobs.runAll()
        self.assertEqual(end.value(), b"stored a\n")
        self.assertEqual(self.tree(), {"a": b"abc"})
        receiver.readConnectionLost()
        self.jobs.runAll()
        self.finishedOnce()

    def test_whileBusy(self) -> None:
        """Bytes that arrive while the disk is at work go with the next job, in order."""
        receiver, end = self.receive("a", 6)
        self.clock.advance(0)
        for part in (b"ab", b"cd", b"ef" + hashlib.sha256(b"abcdef").digest()):
            receiver.dataReceived(part)
        receiver.readConnectionLost()
        self.assertEqual(len(self.jobs.waiting), 1)
        self.jobs.runAll()
        self.assertEqual(end.value(), b"stored a\n")
        self.assertEqual(self.tree(), {"a": b"abcdef"})

    def test_renamed(self) -> None:
        """The answer has the name that the file was given."""
        for answer in (b"stored a.txt\n", b"stored a (2).txt\n"):
            receiver, end = self.receive("a.txt", 0)
            receiver.dataReceived(wire(b""))
            receiver.readConnectionLost()
            self.clock.advance(0)
            self.jobs.runAll()
            self.assertEqual(end.value(), answer)

    def test_backPressure(self) -> None:
        """The stream is paused while more than a MiB waits for the disk, and resumed when it has been taken."""
        size = 4 * WAITING_PER_FILE
        receiver, end = self.receive("a", size)
        self.clock.advance(0)
        half = bytes(WAITING_PER_FILE // 2)
        receiver.dataReceived(half)
        self.assertEqual(end.producerState, "producing")
        receiver.dataReceived(half)
        self.assertEqual(end.producerState, "paused")
        self.jobs.runOne()
        self.assertEqual(end.producerState, "producing")
        self.assertEqual(len(self.jobs.waiting), 1)
        receiver.connectionLost(Failure(ConnectionLost()))
        self.jobs.runAll()
        self.finishedOnce()

    def test_backPressureOfAll(self) -> None:
        """When all files together wait for too much, each that has something waiting is paused."""
        receiver, end = self.receive("a", 100)
        self.clock.advance(0)
        self.inbox.waiting += WAITING_IN_ALL
        receiver.dataReceived(b"x")
        self.assertEqual(end.producerState, "paused")
        self.inbox.waiting -= WAITING_IN_ALL
        self.jobs.runOne()
        self.assertEqual(end.producerState, "producing")

    def failing(self, receiver: FileReceiver, end: StreamEnd, reason: str) -> None:
        """The file was not stored: an answer, a line of log, nothing left."""
        self.jobs.runAll()
        self.assertEqual(end.value(), f"failed {reason}\n".encode())
        self.assertTrue(end.disconnecting)
        self.assertEqual((self.tree(), kept(self.top)), ({}, {}))
        self.assertEqual(self.log(), [f"could not store 'a' from {PEER}: {reason}"])
        receiver.dataReceived(b"more")
        receiver.readConnectionLost()
        receiver.connectionLost(Failure(ConnectionDone()))
        self.jobs.runAll()
        self.finishedOnce()

    def test_wrongDigest(self) -> None:
        """Content of another SHA-256 is refused."""
        receiver, end = self.receive("a", 3)
        self.clock.advance(0)
        receiver.dataReceived(b"abd" + hashlib.sha256(b"abc").digest())
        receiver.readConnectionLost()
        self.failing(receiver, end, "the content does not have the SHA-256 that was announced")

    def test_short(self) -> None:
        """A stream that ends early is refused."""
        receiver, end = self.receive("a", 3)
        self.clock.advance(0)
        receiver.dataReceived(b"ab")
        self.jobs.runAll()
        receiver.readConnectionLost()
        self.failing(receiver, end, "it ended 33 bytes early")

    def test_long(self) -> None:
        """A stream that goes on is refused at once."""
        receiver, end = self.receive("a", 3)
        receiver.dataReceived(wire(b"abc") + b"!")
        self.failing(receiver, end, "there is more than was announced")

    def test_full(self) -> None:
        """A full disk is told to the sender while it is still sending."""
        self.disk.room = 10
        receiver, end = self.receive("a", 100)
        self.clock.advance(0)
        receiver.dataReceived(b"x" * 50)
        self.failing(receiver, end, "No space left on device")

    def test_unexpected(self) -> None:
        """A fault of our own is answered and logged as one, and leaves nothing either."""
        self.patch(self.directory.disk, "sync", lambda descriptor: 1 // 0)
        receiver, end = self.receive("a", 0)
        receiver.dataReceived(wire(b""))
        receiver.readConnectionLost()
        self.clock.advance(0)
        self.jobs.runAll()
        self.assertEqual(end.value(), b"failed ZeroDivisionError: integer division or modulo by zero\n")
        self.assertEqual(self.tree(), {})
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_notRemovable(self) -> None:
        """A rest that cannot be removed is logged."""
        receiver, _ = self.receive("a", 3)
        self.clock.advance(0)
        self.jobs.runAll()
        self.disk.faults = {"unlink": errno.EROFS}
        receiver.connectionLost(Failure(ConnectionLost()))
        self.jobs.runAll()
        self.assertEqual(self.log()[-1], "could not clear up behind 'a': Read-only file system")
        self.finishedOnce()

    def test_senderGone(self) -> None:
        """When the sender goes early, the rest is removed; the reason is what ended the session."""
        reason = ConnectionLost("lost")
        reason.__cause__ = PeerSilent("4 pings went\nunanswered")
        for busy in (False, True):
            receiver, end = self.receive("a", 3)
            self.clock.advance(0)
            self.jobs.runAll()
            receiver.dataReceived(b"a")
            if not busy:
                self.jobs.runAll()
            receiver.connectionLost(Failure(reason))
            self.jobs.runAll()
            self.assertEqual((self.tree(), kept(self.top)), ({}, {}))
            self.assertEqual(end.value(), b"")
            self.assertIn("the sender gave up (4 pings went\\nunanswered)", self.log()[-1])
            self.finishedOnce()
            self.done.clear()

    def test_senderGoneBeforeTheFirstTurn(self) -> None:
        """A stream that is over at once leaves nothing behind."""
        receiver, _ = self.receive("a", 3)
        receiver.connectionLost(Failure(ConnectionLost()))
        self.finishedOnce()

    def test_senderGoneAfterTheLastByte(self) -> None:
        """What has arrived whole is stored, even if nobody waits for the answer any more."""
        receiver, end = self.receive("a", 1)
        self.clock.advance(0)
        receiver.dataReceived(wire(b"a"))
        receiver.readConnectionLost()
        receiver.connectionLost(Failure(ConnectionLost()))
        self.jobs.runAll()
        self.assertEqual(end.value(), b"")
        self.assertEqual(self.tree(), {"a": b"a"})
        self.finishedOnce()

    def test_refused(self) -> None:
        """A name that may not become a file is refused before anything is made; the log stays one line."""
        options = file_options(b"../\n", 1, bytes(16))
        self.assertRaises(HypermailError, self.inbox.receiver, options, PEER)
        (line,) = self.log()
        self.assertIn("refused a file from 127.0.0.1:5000", line)
        self.assertTrue(line.isprintable())


class MessageTests(InboxCase):
    """A message becomes a file."""

    def test_stored(self) -> None:
        """Each message is a file of its own; the Deferred fires when it is synced."""
        stored = [self.inbox.storeMessage(message, PEER) for message in (b"one", b"")]
        self.assertNoResult(stored[0])
        self.jobs.runAll()
        for deferred in stored:
            self.assertIsNone(self.successResultOf(deferred))
        names = ["message-20261121T040506.000789Z-000001.txt", "message-20261121T040506.000789Z-000002.txt"]
        self.assertEqual(self.tree(), {names[0]: b"one", names[1]: b""})
        self.assertEqual(self.log()[0], f"stored {names[0]!r} (3 bytes) from {PEER}")

    def test_rejected(self) -> None:
        """A message that cannot be stored is rejected with the disk's reason."""
        self.disk.room = 2
        storing = self.inbox.storeMessage(b"one", PEER)
        self.jobs.runAll()
        failure = self.failureResultOf(cast("Deferred[object]", storing), MessageRejected)
        self.assertEqual(str(failure.value), "No space left on device")
        self.assertEqual(self.tree(), {})
        self.assertIn("No space left on device", self.log()[-1])
