"""
Tests for L{hypermail.services.sending}: files through a session in memory whose other side is told what to answer.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any, cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionAborted, ConnectionLost
from twisted.internet.interfaces import IProtocol, IProtocolFactory
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from hypermail.errors import HypermailError, PeerSilent, Reason, SessionLost, StreamCleared, StreamRejected
from hypermail.events import StreamOptions
from hypermail.interfaces import ISession
from hypermail.services.carrying import FileSender
from hypermail.services.files import MAX_ANSWER, BadFile
from hypermail.services.reading import BLOCK, FileReader, NotSent
from hypermail.services.sending import (
    AT_ONCE,
    CONFIRMING,
    LARGE,
    LARGE_AT_ONCE,
    FileDispatch,
    NewTransfers,
    Sending,
)
from hypermail.services.tree import Item, find
from hypermail.test.services import LaterJobs, StreamEnd, atOnce


class OpenedStream:
    """One stream that the sender has opened, seen from the other side."""

    def __init__(self, factory: IProtocolFactory, name: bytes, options: StreamOptions | None) -> None:
        assert options is not None
        self.factory = factory
        self.name = name
        self.path = options.attributes["path"].decode()
        self.options = options
        self.opened: Deferred[IProtocol] = Deferred()
        self.end = StreamEnd()

    def accept(self) -> None:
        """Take the stream."""
        protocol = self.factory.buildProtocol(cast(Any, None))
        assert protocol is not None
        self.protocol = protocol
        protocol.makeConnection(self.end)
        self.opened.callback(protocol)

    def answer(self, line: bytes) -> None:
        """Take the stream, answer, and close it."""
        self.accept()
        self.protocol.dataReceived(line)
        cast(FileSender, self.protocol).readConnectionLost()


class MemorySession:
    """
    The part of L{ISession} that sending uses.

    @ivar streams: those that were opened, in order.
    """

    def __init__(self) -> None:
        self.streams: list[OpenedStream] = []
        self.answering: Callable[[OpenedStream], None] = lambda stream: None
        self.error: HypermailError | None = None

    def openStream(
        self, factory: IProtocolFactory, name: bytes = b"", options: StreamOptions | None = None
    ) -> Deferred[IProtocol]:
        """See L{ISession}."""
        if self.error is not None:
            raise self.error
        stream = OpenedStream(factory, name, options)
        self.streams.append(stream)
        self.answering(stream)
        return stream.opened


class OneSession:
    """
    A L{hypermail.services.sending.Sessions} of sessions in memory.

    @ivar sessions: those that come, one after the other.
    """

    def __init__(self, *sessions: MemorySession) -> None:
        self.sessions = list(sessions)
        self.errors: list[HypermailError | None] = []

    async def session(self, after: ISession | None, error: HypermailError | None) -> ISession:
        """See L{hypermail.services.sending.Sessions}."""
        self.errors.append(error)
        if isinstance(error, SessionLost) and self.sessions and after is cast(ISession, self.sessions[0]):
            del self.sessions[0]
        if not self.sessions:
            raise next(filter(None, self.errors))
        return cast(ISession, self.sessions[0])


class Notes:
    """A watcher that remembers."""

    def __init__(self) -> None:
        self.bytes = 0
        self.moves: list[int] = []
        self.done: list[tuple[bytes, int, str]] = []
        self.failures: list[tuple[bytes, str]] = []

    def wrote(self, size: int) -> None:
        """See L{Watcher}."""
        self.bytes += size

    def moved(self, size: int) -> None:
        """See L{Watcher}."""
        self.moves.append(size)

    def stored(self, item: Item, size: int, name: str) -> None:
        """See L{Watcher}."""
        self.done.append((item.name, size, name))

    def failed(self, item: Item, text: str) -> None:
        """See L{Watcher}."""
        self.failures.append((item.name, text))


class SendingCase(SynchronousTestCase):
    """A session in memory, and files."""

    def setUp(self) -> None:
        self.top = Path(self.mktemp())
        self.top.mkdir()
        self.session = MemorySession()
        self.sessions = OneSession(self.session)
        self.notes = Notes()
        self.numbers = count()
        self.clock = Clock()

    def chance(self, size: int) -> bytes:
        """Different bytes each time."""
        return next(self.numbers).to_bytes(size, "big")

    def files(self, number: int, size: int = 10) -> list[Item]:
        """So many files of this size."""
        for index in range(number):
            path = self.top / f"{index:04}"
            path.write_bytes(b"")
            os.truncate(path, size)
        return find([str(self.top)], recursive=True).items

    def start(self, items: list[Item], run: Any = atOnce) -> Sending:
        """Begin to send."""
        transfers = NewTransfers(self.chance)
        dispatch = FileDispatch(self.sessions, clock=self.clock, run=run, watcher=self.notes, transfers=transfers)
        self.sending = Sending(dispatch, items, self.notes)
        self.finished = self.sending.start()
        return self.sending


class SendingTests(SendingCase):
    """Many files through one session."""

    def test_one(self) -> None:
        """A stream with what is told of a file; content, digest; stored when it is answered so, which is confirmed."""
        items = self.files(1)
        self.start(items)
        (stream,) = self.session.streams
        self.assertEqual(stream.name, b"file")
        self.assertEqual(stream.options.attributes, {"path": items[0].name, "size": b"10", "transfer": bytes(16)})
        self.assertEqual(stream.options.length, 42)
        stream.accept()
        self.assertEqual(stream.end.value(), bytes(10) + hashlib.sha256(bytes(10)).digest())
        self.assertFalse(stream.end.writeClosed)
        self.assertNoResult(self.finished)
        for byte in b"stored ab (2)\n":
            stream.protocol.dataReceived(bytes((byte,)))
        self.successResultOf(self.finished)
        self.assertFalse(stream.end.writeClosed)
        self.clock.advance(CONFIRMING)
        self.assertTrue(stream.end.writeClosed)
        self.assertEqual(self.notes.done, [(items[0].name, 10, "ab (2)")])
        self.assertEqual(self.notes.bytes, 10)
        self.assertEqual(self.notes.failures, [])

    def test_nothing(self) -> None:
        """Without files it is over at once."""
        self.start([])
        self.successResultOf(self.finished)

    def test_atOnce(self) -> None:
        """64 streams at once, no more; files are opened when their turn comes."""
        self.start(self.files(AT_ONCE + 3))
        self.assertEqual(len(self.session.streams), AT_ONCE)
        os.remove(self.top / f"{AT_ONCE + 2:04}")
        for index in range(AT_ONCE):
            self.session.streams[index].answer(b"stored x\n")
        self.assertEqual(len(self.session.streams), AT_ONCE + 2)
        for stream in self.session.streams[AT_ONCE:]:
            stream.answer(b"stored x\n")
        self.successResultOf(self.finished)
        self.assertEqual(len(self.notes.done), AT_ONCE + 2)
        self.assertEqual([text for _, text in self.notes.failures], ["it cannot be read: No such file or directory"])

    def test_largeAtOnce(self) -> None:
        """Of large files fewer go at once, as each may fill a stream's buffers."""
        self.start(self.files(LARGE_AT_ONCE + 2, LARGE))
        self.assertEqual(len(self.session.streams), LARGE_AT_ONCE)
        for index in range(LARGE_AT_ONCE + 2):
            self.session.streams[index].answer(b"stored x\n")
        self.successResultOf(self.finished)
        self.assertEqual(len(self.notes.done), LARGE_AT_ONCE + 2)

    def failure(self) -> str:
        """Why the only file was not stored."""
        self.successResultOf(self.finished)
        self.assertEqual(self.notes.done, [])
        ((_, text),) = self.notes.failures
        return text

    def test_failed(self) -> None:
        """The other side's reason is told, in one line; what is not yet sent is not sent."""
        self.start(self.files(1))
        self.session.streams[0].answer(b"failed kein Platz\x1b[2J\n")
        self.assertEqual(self.failure(), "the other side could not store it: kein Platz\\x1b[2J")
        self.assertTrue(self.session.streams[0].end.aborted)

    def test_rejected(self) -> None:
        """A stream that is not taken is a file that is not stored; the others go on."""
        items = self.files(2)
        self.session.answering = lambda stream: (
            stream.opened.errback(StreamRejected("start it with --inbox"))
            if len(self.session.streams) == 1
            else stream.answer(b"stored b\n")
        )
        self.start(items)
        self.successResultOf(self.finished)
        self.assertEqual(self.notes.failures, [(items[0].name, "start it with --inbox")])
        self.assertEqual(len(self.notes.done), 1)

    def test_noAnswer(self) -> None:
        """A stream that is closed without an answer is none that is stored."""
        self.start(self.files(1))
        self.session.streams[0].answer(b"stored half a li")
        self.assertEqual(self.failure(), "the other side closed the stream without an answer")

    def test_nonsense(self) -> None:
        """Another service's answer is refused, and does not fill the memory."""
        for line in (b"SSH-2.0-OpenSSH\n", b"x" * (MAX_ANSWER + 1)):
            self.notes = Notes()
            self.session.streams.clear()
            self.start(self.files(1))
            self.session.streams[0].answer(line)
            self.assertIn("the other side", self.failure())
            self.assertTrue(self.session.streams[0].end.aborted)

    def test_changed(self) -> None:
        """A file that changes on the way clears its stream."""
        jobs = LaterJobs()
        self.start(self.files(1, 4 * BLOCK), jobs)
        jobs.runAll()
        self.session.streams[0].accept()
        os.truncate(self.top / "0000", 5)
        jobs.runAll()
        end = self.session.streams[0].end
        self.assertTrue(end.aborted)
        cast(FileSender, self.session.streams[0].protocol).connectionLost(Failure(ConnectionAborted()))
        self.assertIn("changed while it was being sent", self.failure())

    def test_streamLost(self) -> None:
        """A stream that is cleared fails its file with the reason behind."""
        reason = ConnectionLost()
        reason.__cause__ = HypermailError("nobody reads any more")
        self.start(self.files(1))
        stream = self.session.streams[0]
        stream.accept()
        cast(FileSender, stream.protocol).connectionLost(Failure(reason))
        self.assertEqual(self.failure(), "nobody reads any more")

    def test_sessionLost(self) -> None:
        """When the session is lost, it is told once, and nothing more is opened."""
        sending = self.start(self.files(AT_ONCE + 5))
        reason = ConnectionLost()
        reason.__cause__ = PeerSilent("4 pings went unanswered")
        for stream in list(self.session.streams):
            stream.accept()
            cast(FileSender, stream.protocol).connectionLost(Failure(reason))
        self.successResultOf(self.finished)
        self.assertEqual(len(self.session.streams), AT_ONCE)
        self.assertEqual(self.notes.failures, [])
        assert sending.lost is not None
        self.assertEqual(sending.lost.text, "4 pings went unanswered")

    def test_sessionLostBeforeOpening(self) -> None:
        """The same, when there is no session for the first stream; every file that was opened is closed."""
        self.session.error = SessionLost("over")
        opened: list[FileReader] = []
        self.patch(FileReader, "close", lambda reader: opened.append(reader))
        sending = self.start(self.files(3))
        self.successResultOf(self.finished)
        self.assertIs(sending.lost, self.session.error)
        self.assertEqual(len(opened), 1)

    def test_lostWhileLargeWaits(self) -> None:
        """A large file that waits for its turn is not opened after the loss."""
        sending = self.start(self.files(LARGE_AT_ONCE + 1, LARGE))
        for stream in list(self.session.streams):
            stream.opened.errback(SessionLost("over"))
        self.successResultOf(self.finished)
        self.assertEqual(len(self.session.streams), LARGE_AT_ONCE)
        self.assertIsNotNone(sending.lost)

    def test_cancelled(self) -> None:
        """Cancelling clears what is open and opens nothing more."""
        self.start(self.files(AT_ONCE + 1))
        self.session.streams[0].accept()
        self.finished.cancel()
        self.assertTrue(self.session.streams[0].end.aborted)
        cast(FileSender, self.session.streams[0].protocol).connectionLost(Failure(ConnectionAborted()))
        self.failureResultOf(self.finished, CancelledError)
        self.assertEqual(len(self.session.streams), AT_ONCE)

    def test_errors(self) -> None:
        """The errors of a sender are hypermail's."""
        for kind in (NotSent, BadFile):
            self.assertTrue(issubclass(kind, HypermailError))


class GoingOnTests(SendingCase):
    """A file whose stream is lost is offered again."""

    def lose(self, stream: OpenedStream, error: HypermailError | None = None) -> None:
        """A stream ends, with its session unless told otherwise."""
        reason = ConnectionLost()
        reason.__cause__ = PeerSilent("gone") if error is None else error
        cast(FileSender, stream.protocol).connectionLost(Failure(reason))

    def two(self) -> MemorySession:
        """Another session after the first."""
        second = MemorySession()
        self.sessions.sessions.append(second)
        return second

    def begin(self, size: int, run: Any = atOnce) -> tuple[bytes, OpenedStream]:
        """Send one file; its content, and its first stream."""
        items = self.files(1, size)
        content = os.urandom(size)
        Path(items[0].path).write_bytes(content)
        self.start(items, run)
        if run is not atOnce:
            run.runAll()
        (stream,) = self.session.streams
        stream.accept()
        return content, stream

    def test_goesOn(self) -> None:
        """It has the same transfer, waits to be told where to go on, and sends the rest and the SHA-256 of all."""
        second = self.two()
        content, stream = self.begin(3 * BLOCK)
        self.assertNotIn("again", stream.options.attributes)
        self.lose(stream)
        (again,) = second.streams
        self.assertEqual(again.options.attributes, {**stream.options.attributes, "again": b"1"})
        self.assertIsNone(again.options.length)
        again.accept()
        self.assertEqual(again.end.value(), b"")
        self.assertNoResult(self.finished)
        again.protocol.dataReceived(b"from %d\n" % (BLOCK + 3))
        self.assertEqual(again.end.value(), content[BLOCK + 3 :] + hashlib.sha256(content).digest())
        self.assertEqual(self.notes.moves, [BLOCK + 3 - 3 * BLOCK])
        self.assertEqual(self.notes.bytes + sum(self.notes.moves), 3 * BLOCK)
        again.protocol.dataReceived(b"stored x\n")
        self.successResultOf(self.finished)
        self.assertEqual(len(self.notes.done), 1)

    def test_stored(self) -> None:
        """When the answer was lost with the session, the file counts as stored with the second one."""
        second = self.two()
        _, stream = self.begin(10)
        self.lose(stream)
        second.streams[0].accept()
        second.streams[0].protocol.dataReceived(b"stored x\n")
        self.successResultOf(self.finished)
        self.assertEqual(len(self.notes.done), 1)
        self.assertEqual(second.streams[0].end.value(), b"")
        self.clock.advance(CONFIRMING)
        self.assertTrue(second.streams[0].end.writeClosed)

    def test_storedMeanwhile(self) -> None:
        """An answer in the middle of the content ends it."""
        jobs = LaterJobs()
        _, stream = self.begin(4 * BLOCK, jobs)
        stream.protocol.dataReceived(b"stored x\n")
        self.assertIsNone(stream.end.producer)
        jobs.runAll()
        self.successResultOf(self.finished)
        self.assertEqual(len(stream.end.value()), BLOCK)

    def test_passing(self) -> None:
        """A listener that restarts, or shuts down, is no reason to give up; any other end of a stream is."""
        for code in (Reason.PEER_RESTARTED, Reason.SHUTTING_DOWN):
            self.session.streams.clear()
            _, stream = self.begin(10)
            self.lose(stream, StreamCleared("one moment", code))
            self.session.streams[1].answer(b"stored x\n")
            self.successResultOf(self.finished)
        self.session.streams.clear()
        _, stream = self.begin(10)
        self.lose(stream, StreamCleared("go away"))
        self.assertEqual(self.notes.failures[-1][1], "go away")
        self.assertEqual(len(self.session.streams), 1)

    def test_changedMeanwhile(self) -> None:
        """A file that is another one when its turn comes again is not sent, even if it has the same size."""
        self.two()
        _, stream = self.begin(10)
        path = self.top / "0000"
        os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
        self.lose(stream)
        self.successResultOf(self.finished)
        self.assertEqual([text for _, text in self.notes.failures], ["it changed while it was being sent"])

    def test_nonsense(self) -> None:
        """An offset that cannot be, or that nobody has asked for, is no inbox's."""
        second = self.two()
        _, stream = self.begin(10)
        self.lose(stream)
        second.streams[0].answer(b"from 11\n")
        self.successResultOf(self.finished)
        self.assertIn("the other side has 11 bytes of the 10", self.notes.failures[-1][1])
        self.session.streams.clear()
        self.sessions.sessions = [self.session]
        _, stream = self.begin(10)
        stream.protocol.dataReceived(b"from 0\n")
        self.assertTrue(stream.end.aborted)
        self.assertIn("the other side has 0 bytes", self.notes.failures[-1][1])

    def test_lostWhileReading(self) -> None:
        """Nothing is written to a stream that is lost while the file is read."""
        self.two()
        jobs = LaterJobs()
        _, stream = self.begin(10, jobs)
        self.sessions.sessions.append(MemorySession())
        self.lose(stream)
        jobs.runAll()
        (stream,) = self.sessions.sessions[0].streams
        stream.accept()
        stream.protocol.dataReceived(b"from 5\n")
        self.lose(stream)
        jobs.runAll()
        self.assertEqual(stream.end.value(), b"")
        self.assertIsNone(stream.end.producer)

    def test_closed(self) -> None:
        """Whenever a stream of a file that goes on is lost, the file is closed."""
        self.sessions.sessions += [MemorySession() for _ in range(5)]
        jobs = LaterJobs()
        before = len(os.listdir("/proc/self/fd"))
        _, stream = self.begin(4 * BLOCK, jobs)
        for step in range(4):
            self.lose(stream)
            jobs.runAll()
            (stream,) = self.sessions.sessions[0].streams
            stream.accept()
            if step == 1:
                stream.protocol.dataReceived(b"from 5\n")
            elif step == 2:
                stream.protocol.dataReceived(b"from 5\n")
                jobs.runOne()
                jobs.runOne()
        self.finished.cancel()
        cast(FileSender, stream.protocol).connectionLost(Failure(ConnectionAborted()))
        jobs.runAll()
        self.failureResultOf(self.finished, CancelledError)
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)
