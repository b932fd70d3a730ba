"""
Tests for L{hypermail.services.outbox}: a real directory, a session in memory, and a clock.
"""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from hypermail.errors import PeerSilent, SessionAborted, StreamRejected
from hypermail.services import outbox as outbox_module
from hypermail.services.carrying import FileSender
from hypermail.services.ending import CannotStart
from hypermail.services.outbox import LONGEST, PAUSE, POLL, REST, SHORTEST, OutboxService
from hypermail.services.sending import AT_ONCE, CONFIRMING
from hypermail.services.spool import Spool
from hypermail.test.services import atOnce, tree
from hypermail.test.test_services_sending import MemorySession, OpenedStream


class MemoryStarter:
    """
    The part of L{hypermail.services.keeping.StarterService} that an outbox uses.

    @ivar session: that is open, or None.
    """

    def __init__(self) -> None:
        self.session: MemorySession | None = None
        self._waiting: list[Deferred[Any]] = []

    def whenOpened(self) -> Deferred[Any]:
        """See L{hypermail.services.keeping.StarterService}."""
        if self.session is not None:
            return succeed(self)
        self._waiting.append(Deferred(self._waiting.remove))
        return self._waiting[-1]

    def open(self) -> MemorySession:
        """A session opens."""
        self.session = MemorySession()
        while self._waiting:
            self._waiting.pop(0).callback(self)
        return self.session

    def stop(self) -> None:
        """There will be none any more."""
        while self._waiting:
            self._waiting.pop(0).errback(SessionAborted("the service has stopped"))


class Workers:
    """Works at once."""

    run = staticmethod(atOnce)

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.started = False

    def start(self) -> None:
        """Nothing is to be done."""

    def stop(self) -> Deferred[None]:
        """Nothing is to be done."""
        return succeed(None)


class OutboxCase(SynchronousTestCase):
    """An outbox whose service runs."""

    def setUp(self) -> None:
        self.observer = EventLoggingObserver()
        globalLogPublisher.addObserver(self.observer)
        self.addCleanup(globalLogPublisher.removeObserver, self.observer)
        self.patch(outbox_module, "Workers", Workers)
        self.clock = Clock()
        self.top = Path(self.mktemp())
        self.starter = MemoryStarter()
        self.service = self.begin()
        self.observer = EventLoggingObserver()
        globalLogPublisher.addObserver(self.observer)
        self.addCleanup(globalLogPublisher.removeObserver, self.observer)

    def begin(self, *, remove: bool = False) -> OutboxService:
        """Start the service."""
        service = OutboxService(self.clock, Spool(str(self.top), remove=remove), cast(Any, self.starter))
        service.startService()
        self.addCleanup(self.end, service)
        return service

    def end(self, service: OutboxService) -> None:
        """Stop it; nothing is left."""
        if service.running:
            stopping = service.stopService()
            for stream in self.streams():
                if stream.end.aborted:
                    cast(FileSender, stream.protocol).connectionLost(Failure(ConnectionLost()))
            self.successResultOf(stopping)
        self.clock.advance(CONFIRMING)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def log(self) -> list[str]:
        """The lines that were logged."""
        return [formatEvent(event) or "" for event in self.observer]

    def put(self, name: str, content: bytes = b"content") -> Path:
        """Put a file there."""
        path = self.top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def streams(self) -> list[OpenedStream]:
        """Those of the session that is open."""
        return [] if self.starter.session is None else self.starter.session.streams

    def pass_(self, seconds: float) -> None:
        """Time passes."""
        self.clock.pump([0.25] * int(seconds * 4))

    def rest(self) -> None:
        """What is there comes to rest."""
        self.pass_(REST + 2 * POLL)

    def lose(self, stream: OpenedStream) -> None:
        """The session is lost."""
        reason = ConnectionLost()
        reason.__cause__ = PeerSilent("gone")
        cast(FileSender, stream.protocol).connectionLost(Failure(reason))


class LeavingTests(OutboxCase):
    """Files leave."""

    def test_leaves(self) -> None:
        """A file leaves when it has come to rest and there is a session, and is moved when it is stored."""
        self.put("d/a.txt")
        self.rest()
        self.starter.open()
        (stream,) = self.streams()
        self.assertEqual((stream.name, stream.path), (b"file", "d/a.txt"))
        self.assertNotIn("again", stream.options.attributes)
        stream.accept()
        self.assertEqual(stream.end.value()[:-32], b"content")
        stream.protocol.dataReceived(b"stored d/a (2).txt\n")
        self.assertEqual(tree(str(self.top)), {"d/": b"", "sent/d/a.txt": b"content"})
        self.clock.advance(CONFIRMING)
        self.assertTrue(stream.end.writeClosed)
        self.assertEqual(
            self.log(),
            ["'d/a.txt' is now 'sent/d/a.txt'", "sent 'd/a.txt' (7 bytes), stored as 'd/a (2).txt'"],
        )
        self.rest()
        self.assertEqual(len(self.streams()), 1)

    def test_removed(self) -> None:
        """... or removed, if that is wanted."""
        self.end(self.service)
        self.service = self.begin(remove=True)
        self.starter.open()
        self.put("a")
        self.rest()
        self.streams()[0].answer(b"stored a\n")
        self.assertEqual(tree(str(self.top)), {})

    def test_restless(self) -> None:
        """A file that is being written does not leave, however long that takes."""
        self.starter.open()
        path = self.put("a", b"")
        for size in range(1, 10):
            self.pass_(REST - 0.25)
            os.truncate(path, size)
        self.assertEqual((self.streams(), self.log()), ([], []))
        self.rest()
        self.assertEqual(self.streams()[0].options.attributes["size"], b"9")

    def test_atOnce(self) -> None:
        """So many at once, and the others when there is room."""
        self.starter.open()
        for number in range(AT_ONCE + 3):
            self.put(f"{number:04}")
        self.rest()
        self.assertEqual(len(self.streams()), AT_ONCE)
        self.streams()[0].answer(b"stored x\n")
        self.clock.advance(0)
        self.assertEqual(len(self.streams()), AT_ONCE + 1)
        for stream in self.streams()[1:]:
            stream.answer(b"stored x\n")
        self.clock.advance(0)
        for stream in self.streams()[AT_ONCE + 1 :]:
            stream.answer(b"stored x\n")
        self.assertEqual(len(list((self.top / "sent").iterdir())), AT_ONCE + 3)

    def test_goesOn(self) -> None:
        """When the session is lost the file is offered again in the next one, as the same transfer."""
        self.starter.open()
        self.put("a")
        self.rest()
        first = self.streams()[0]
        first.accept()
        self.starter.session = None
        self.lose(first)
        self.pass_(1_000)
        self.starter.open()
        (second,) = self.streams()
        self.assertEqual(second.options.attributes, {**first.options.attributes, "again": b"1"})
        second.answer(b"stored a\n")
        self.assertEqual(tree(str(self.top)), {"sent/a": b"content"})

    def test_sessionThatIsOver(self) -> None:
        """A session that is lost, which its service does not know yet, is not asked again and again."""
        self.starter.open()
        self.put("a")
        self.rest()
        first = self.streams()[0]
        first.accept()
        self.lose(first)
        self.assertEqual(len(self.streams()), 1)
        self.pass_(PAUSE)
        self.assertEqual(len(self.streams()), 2)

    def test_restarted(self) -> None:
        """After a restart a file that was there is offered as the same transfer, which may have been offered before."""
        self.starter.open()
        self.put("a")
        self.rest()
        first = self.streams()[0]
        first.accept()
        self.end(self.service)
        self.service = self.begin()
        self.streams().clear()
        self.rest()
        (second,) = self.streams()
        self.assertEqual(second.options.attributes, {**first.options.attributes, "again": b"1"})


class StayingTests(OutboxCase):
    """Files that do not leave."""

    def setUp(self) -> None:
        super().setUp()
        self.session = self.starter.open()

    def test_refused(self) -> None:
        """What is refused stays, is offered again after growing pauses, and is logged once."""
        self.put("a")
        refused: list[float] = []

        def refuse(stream: OpenedStream) -> None:
            refused.append(self.clock.seconds())
            stream.opened.errback(StreamRejected("no room\n"))

        self.session.answering = refuse
        self.pass_(2_000)
        pauses = [then - now for now, then in pairwise(refused)]
        wanted = [min(SHORTEST * 2**number, LONGEST) for number in range(len(pauses))]
        self.assertGreater(len(pauses), 7)
        for pause, least in zip(pauses, wanted, strict=True):
            self.assertTrue(least <= pause <= least + 2 * POLL, (pause, least))
        self.assertEqual(self.log(), ["'a' is not sent: no room\\n; it is offered again, after 5 s at first"])
        self.assertEqual(len({stream.options.attributes["transfer"] for stream in self.streams()}), 1)
        self.session.answering = lambda stream: stream.answer(b"stored a\n")
        self.pass_(LONGEST + 2 * POLL)
        self.assertEqual(tree(str(self.top)), {"sent/a": b"content"})

    def test_anotherReason(self) -> None:
        """Another reason is logged, too."""
        self.put("a")
        self.rest()
        self.streams()[0].answer(b"failed one\n")
        self.pass_(SHORTEST + 2 * POLL)
        self.streams()[1].answer(b"failed two\n")
        self.assertEqual(["one" in line for line in self.log()], [True, False])

    def test_badName(self) -> None:
        """A name that cannot be sent is logged once; the others leave."""
        self.put("a\nb")
        self.put("c")
        self.session.answering = lambda stream: stream.answer(b"stored c\n")
        self.pass_(60)
        self.assertEqual(len(self.streams()), 1)
        lines = [line for line in self.log() if "control characters" in line]
        self.assertEqual(len(lines), 1)
        self.assertTrue(lines[0].isprintable())
        self.assertEqual(tree(str(self.top)), {"a\nb": b"content", "sent/c": b"content"})

    def test_changed(self) -> None:
        """A file that changes while it is sent is given up, and leaves as another one when it has come to rest."""
        self.put("a")
        self.rest()
        (first,) = self.streams()
        first.accept()
        self.put("a", b"another")
        self.lose(first)
        self.pass_(PAUSE)
        self.assertEqual(self.log(), ["'a': it changed while it was being sent; it is sent when it has come to rest"])
        self.assertEqual(len(self.streams()), 1)
        self.rest()
        second = self.streams()[1]
        self.assertNotEqual(second.options.attributes["transfer"], first.options.attributes["transfer"])
        self.assertNotIn("again", second.options.attributes)
        second.accept()
        self.assertEqual(second.end.value()[:-32], b"another")

    def test_changedBefore(self) -> None:
        """So is one that changes while it waits for a session."""
        self.starter.session = None
        self.put("a")
        self.rest()
        self.put("a", b"another")
        self.starter.open()
        self.assertEqual(self.streams(), [])
        self.assertEqual(self.log(), ["'a': it changed while it was being sent; it is sent when it has come to rest"])
        self.rest()
        self.assertEqual(self.streams()[0].options.attributes["size"], b"7")

    def test_changedOnItsWay(self) -> None:
        """One that has changed leaves when it is known what became of what it was; not both at one time."""
        self.put("a")
        self.rest()
        (first,) = self.streams()
        first.accept()
        self.put("a", b"another")
        self.rest()
        self.assertEqual(len(self.streams()), 1)
        first.protocol.dataReceived(b"stored a\n")
        self.rest()
        self.assertEqual(len(self.streams()), 2)
        self.streams()[1].answer(b"stored a (2)\n")

    def test_takenAwayMeanwhile(self) -> None:
        """A file that its owner takes away while it is on its way may be stored all the same."""
        path = self.put("a")
        self.rest()
        (stream,) = self.streams()
        stream.accept()
        path.unlink()
        self.rest()
        stream.protocol.dataReceived(b"stored a\n")
        self.assertEqual(self.log(), ["sent 'a' (7 bytes), stored as 'a'"])
        self.assertEqual(tree(str(self.top)), {})

    def test_changedAfterwards(self) -> None:
        """A file that is replaced when it was sent, before it was moved, stays, and leaves, too."""
        self.put("a")
        self.rest()
        (first,) = self.streams()
        first.accept()
        self.put("a", b"another")
        first.protocol.dataReceived(b"stored a\n")
        self.assertEqual(tree(str(self.top)), {"a": b"another"})
        self.rest()
        self.streams()[1].answer(b"stored a (2)\n")
        self.assertEqual(tree(str(self.top)), {"sent/a": b"another"})

    def test_notMoved(self) -> None:
        """A file that is stored and cannot be moved is not confirmed: it is offered again, and moved then."""
        self.put("a")
        self.rest()
        (self.top / "sent").write_bytes(b"in the way")
        (first,) = self.streams()
        first.answer(b"stored a\n")
        self.assertIn("it is delivered, and cannot be moved to 'sent'", self.log()[0])
        self.assertTrue(first.end.aborted)
        self.clock.advance(CONFIRMING)
        self.assertFalse(first.end.writeClosed)
        os.remove(self.top / "sent")
        self.pass_(SHORTEST + 2 * POLL)
        second = self.streams()[1]
        self.assertEqual(second.options.attributes, {**first.options.attributes, "again": b"1"})
        second.answer(b"stored a\n")
        self.assertEqual(tree(str(self.top)), {"sent/a": b"content"})

    def test_killedBeforeItWasMoved(self) -> None:
        """Killed when a file is stored, before it was moved, the next process asks for it again, and moves it."""
        self.put("a")
        self.rest()
        (self.top / "sent").write_bytes(b"in the way")
        (first,) = self.streams()
        first.answer(b"stored a\n")
        self.end(self.service)
        os.remove(self.top / "sent")
        self.streams().clear()
        self.service = self.begin()
        self.rest()
        (second,) = self.streams()
        self.assertEqual(second.options.attributes, {**first.options.attributes, "again": b"1"})
        second.answer(b"stored a\n")
        self.assertEqual(second.end.value(), b"")
        self.assertEqual(tree(str(self.top)), {"sent/a": b"content"})

    def test_takenAway(self) -> None:
        """A file that its owner takes away is forgotten."""
        path = self.put("a")
        self.pass_(1)
        path.unlink()
        self.rest()
        self.put("a")
        self.pass_(1)
        self.assertEqual(self.streams(), [])

    def test_outboxGone(self) -> None:
        """An outbox that cannot be read is logged once, and read when it can be again."""
        elsewhere = Path(self.mktemp())
        os.rename(self.top, elsewhere)
        self.pass_(10)
        self.assertEqual(
            self.log(), [f"the outbox {str(self.top.absolute())!r} cannot be read: No such file or directory"]
        )
        os.rename(elsewhere, self.top)
        self.put("a")
        self.rest()
        self.assertEqual(len(self.streams()), 1)

    def test_fault(self) -> None:
        """A fault of our own is logged as one, and does not end the outbox."""
        self.put("a")

        def fail(stream: OpenedStream) -> None:
            raise ZeroDivisionError

        self.session.answering = fail
        self.rest()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.session.answering = lambda stream: stream.answer(b"stored a\n")
        self.pass_(SHORTEST + 2 * POLL)
        self.assertEqual(tree(str(self.top)), {"sent/a": b"content"})


class ServiceTests(OutboxCase):
    """The service."""

    def test_taken(self) -> None:
        """An outbox that another process has is no reason to wait: the start ends in one line."""
        second = OutboxService(self.clock, Spool(str(self.top), remove=False), cast(Any, self.starter))
        error = self.assertRaises(CannotStart, second.startService)
        self.assertIn("is in use by another process", error.text)

    def test_stops(self) -> None:
        """Stopping clears what is on its way, and lets go of what waits for a session; nothing is moved."""
        self.put("a")
        self.rest()
        self.end(self.service)
        self.assertEqual(tree(str(self.top)), {"a": b"content"})
        self.service = self.begin()
        self.starter.open()
        self.rest()
        stream = self.streams()[0]
        stream.accept()
        self.end(self.service)
        self.assertTrue(stream.end.aborted)
        self.assertEqual(tree(str(self.top)), {"a": b"content"})

    def test_starterStops(self) -> None:
        """A session that will not come any more is no file's fault."""
        self.put("a")
        self.rest()
        self.starter.stop()
        self.assertEqual(self.log(), [])
