"""
Tests for L{hypermail.services.store}: groups, their order, and what happens when one fails.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface.verify import verifyObject

from hypermail.errors import StoreFailed
from hypermail.interfaces import ISessionStore
from hypermail.messages.lanes import LaneProperties
from hypermail.services.store import STORE_FILE, SWITCH_INTERVAL, SessionStore, openedStore
from hypermail.services.workers import Workers
from hypermail.session.journal import LaneUsed, Over, Queued, Taken
from hypermail.test.stores import NOW, OWNER, identity, queued, session_id

ID = session_id(1)


class Thread:
    """A thread by hand: L{hypermail.services.workers.Run}, whose jobs run one at a time when a test says so."""

    def __init__(self) -> None:
        self.jobs: deque[tuple[Callable[[], Any], Deferred[Any]]] = deque()

    def run(self, job: Callable[[], Any], /) -> Deferred[Any]:
        """Take a job."""
        done: Deferred[Any] = Deferred()
        self.jobs.append((job, done))
        return done

    def work(self) -> None:
        """Do the job there is; it has to be a single one, as they must not run at once."""
        [(job, done)] = self.jobs
        self.jobs.clear()
        try:
            result = job()
        except Exception:
            done.errback(Failure())
        else:
            done.callback(result)

    def all(self) -> int:
        """Until there is no more to be done. @return: how many jobs that took."""
        count = 0
        while self.jobs:
            self.work()
            count += 1
        return count


class StoreTestCase(SynchronousTestCase):
    """A store whose thread is moved by hand."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp()) / STORE_FILE
        self.thread = Thread()
        self.store = self.open()
        self.fired: list[str] = []
        self.addCleanup(self.close)

    def open(self) -> SessionStore:
        """The store."""
        opening = openedStore(self.path, OWNER, run=self.thread.run, now=lambda: NOW)
        self.assertNoResult(opening)
        self.thread.work()
        return self.successResultOf(opening)

    def close(self) -> None:
        """Let the next one have the file."""
        closing = self.store.close()
        self.thread.all()
        closing.addErrback(lambda failure: failure.trap(StoreFailed))
        self.successResultOf(closing)

    def ask(self, name: str, asked: Deferred[Any]) -> Deferred[Any]:
        """Note when it fires."""

        def fired(result: Any) -> Any:
            self.fired.append(f"{name} failed" if isinstance(result, Failure) else name)
            return result

        return asked.addBoth(fired)


class GroupTests(StoreTestCase):
    """What is written together."""

    def test_interface(self) -> None:
        """It is an L{ISessionStore}."""
        self.assertTrue(verifyObject(ISessionStore, self.store))

    def test_together(self) -> None:
        """What is asked for while the thread writes is one group; all fire in the order of asking."""
        self.ask("1", self.store.write([identity(), LaneUsed(ID, 0, LaneProperties(durable=True))]))
        for number in range(5):
            self.ask(str(number + 2), self.store.write([Queued(ID, 0, number, queued(b"x"))]))
        self.assertEqual(self.fired, [])
        self.thread.work()
        self.assertEqual(self.fired, ["1"])
        self.assertEqual(self.thread.all(), 1)
        self.assertEqual(self.fired, ["1", "2", "3", "4", "5", "6"])

    def test_reading(self) -> None:
        """Reading sees what was to be written before it, and nothing of what was to be written after."""
        self.store.write([identity(), LaneUsed(ID, 0, LaneProperties(durable=True))])
        self.store.write([Queued(ID, 0, 0, queued(b"a"))])
        found = self.store.find(ID)
        first = self.store.messages(ID, 0, 0, 99)
        self.store.write([Queued(ID, 0, 1, queued(b"b")), identity(2, "name")])
        second = self.store.messages(ID, 0, 0, 99)
        named = self.store.named("name")
        over = self.store.write([Over(ID)])
        gone = self.store.find(ID)
        count = self.store.count()
        self.assertEqual(self.thread.all(), 10)
        self.assertEqual(self.successResultOf(count), 1)
        stored = self.successResultOf(found)
        assert stored is not None
        self.assertEqual(stored.sending[0].next, 1)
        self.assertEqual(self.successResultOf(first), list(enumerate(queued(b"a"))))
        self.assertEqual(self.successResultOf(second), list(enumerate(queued(b"a", b"b"))))
        self.assertEqual(getattr(self.successResultOf(named), "identity", None), identity(2, "name"))
        self.assertIsNone(self.successResultOf(over))
        self.assertIsNone(self.successResultOf(gone))

    def test_refused(self) -> None:
        """A write that does not fit errbacks, alone."""
        asked = [
            self.ask("1", self.store.write([identity()])),
            self.ask("2", self.store.write([Queued(ID, 0, 5, queued(b"x"))])),
            self.ask("3", self.store.write([identity(2)])),
        ]
        self.thread.all()
        self.assertEqual(self.fired, ["1", "2 failed", "3"])
        self.failureResultOf(asked[1], StoreFailed)

    def test_fromCallbacks(self) -> None:
        """What is asked for when a write fires is written next."""
        asked = self.store.write([identity()]).addCallback(lambda _: self.store.find(ID))
        self.assertEqual(self.thread.all(), 2)
        self.assertIsNotNone(self.successResultOf(asked))

    def test_close(self) -> None:
        """Closing writes what waits, and lets go; then nothing can be asked for."""
        asked = self.store.write([identity()])
        self.store.write([identity(2)])
        closed = self.store.close()
        self.failureResultOf(self.store.write([identity(3)]), StoreFailed)
        self.assertNoResult(closed)
        self.thread.all()
        self.successResultOf(asked)
        self.assertIsNone(self.successResultOf(closed))
        for refused in (
            self.store.find(ID),
            self.store.named("x"),
            self.store.messages(ID, 0, 0, 1),
            self.store.close(),
        ):
            self.assertIn(f"{self.path} is closed", self.failureResultOf(refused, StoreFailed).getErrorMessage())
        self.store = self.open()
        found = [self.store.find(session_id(number)) for number in (1, 2, 3)]
        self.thread.all()
        self.assertEqual([self.successResultOf(each) is None for each in found], [False, False, True])


class FailureTests(StoreTestCase):
    """A disk that fails."""

    @contextmanager
    def full(self) -> Iterator[None]:
        """The store may not grow meanwhile."""
        execute = self.store._file._database.execute
        [(pages,)] = execute("PRAGMA page_count").fetchall()
        execute(f"PRAGMA max_page_count = {pages}")
        yield
        execute("PRAGMA max_page_count = 1000000")

    def test_everythingThatWaits(self) -> None:
        """
        When a group fails, everything that was to be written by then fails, in order, and nothing of it is there;
        reading goes on, and what is asked for afterwards is tried anew.
        """
        big = queued(bytes(200_000))
        self.store.write([identity(), LaneUsed(ID, 0, LaneProperties(durable=True))])
        self.thread.all()
        again: list[Deferred[None]] = []

        def retry(failure: Failure) -> Failure:
            again.append(self.store.write([Taken(ID, 0, 3, ())]))
            return failure

        with self.full():
            asked = self.ask("1", self.store.write([Queued(ID, 0, 0, big)]))
            asked.addErrback(retry)
            later = [
                self.ask("2", self.store.write([Queued(ID, 0, 1, queued(b"x"))])),
                self.ask("3", self.store.write([Taken(ID, 0, 1, ())])),
            ]
            before = self.ask("4", self.store.find(ID))
            later.append(self.ask("5", self.store.write([Taken(ID, 0, 2, ())])))
            self.thread.work()
        self.assertEqual(self.fired, ["1 failed", "2 failed", "3 failed", "5 failed"])
        errors = [self.failureResultOf(each, StoreFailed).value for each in (asked, *later)]
        self.assertEqual(len(set(map(id, errors))), 4)
        for error in errors:
            self.assertIn(f"the store {self.path} cannot be written: the disk is full; make room there", error.text)
        self.thread.all()
        found = self.successResultOf(before)
        assert found is not None
        self.assertEqual((found.sending[0].next, found.receiving), (0, {}))
        [retried] = again
        self.assertIsNone(self.successResultOf(retried))
        after = self.store.find(ID)
        more = self.store.write([Queued(ID, 0, 0, big)])
        self.thread.all()
        self.assertIsNone(self.successResultOf(more))
        found = self.successResultOf(after)
        assert found is not None
        self.assertEqual(found.receiving[0].taken, 3)

    def test_defect(self) -> None:
        """What cannot be written at all fails as everything else does, and hangs nobody."""
        asked = self.store.write([identity(), LaneUsed(ID, 1 << 70, LaneProperties(durable=True))])
        self.thread.all()
        error = self.failureResultOf(asked, StoreFailed).value
        self.assertIn("this is a defect of hypermail", error.text)
        again = self.store.write([identity()])
        self.thread.all()
        self.assertIsNone(self.successResultOf(again))

    def test_reading(self) -> None:
        """What cannot be read errbacks."""
        self.store.write([identity(), LaneUsed(ID, 0, LaneProperties(durable=True)), Queued(ID, 0, 0, queued(b"x"))])
        self.thread.all()
        self.store._file._database.execute("DELETE FROM messages")
        asked = self.store.messages(ID, 0, 0, 99)
        self.thread.all()
        self.failureResultOf(asked, StoreFailed)

    def test_switchInterval(self) -> None:
        """Opening makes a reactor that is busy let the thread work; who has chosen a shorter interval keeps it."""
        self.addCleanup(sys.setswitchinterval, sys.getswitchinterval())
        for before, after in ((0.005, SWITCH_INTERVAL), (0.0001, 0.0001)):
            sys.setswitchinterval(before)
            self.close()
            self.store = self.open()
            self.assertAlmostEqual(sys.getswitchinterval(), after, 5)

    def test_opening(self) -> None:
        """What cannot be opened errbacks, whatever the reason."""
        for path in (self.path, "no\0name"):
            asked = openedStore(path, OWNER, run=self.thread.run, now=lambda: NOW)
            self.thread.all()
            self.failureResultOf(asked, StoreFailed)


class ThreadTests(TestCase):
    """With a real thread."""

    timeout = 30

    async def test_thread(self) -> None:
        """Many writes, closing, and opening again: all of it is there."""
        workers = Workers(reactor, threads=1)
        workers.start()
        path = os.path.join(self.mktemp(), STORE_FILE)
        store = await openedStore(path, OWNER, run=workers.run, now=lambda: NOW)
        store.write([identity(), LaneUsed(ID, 0, LaneProperties(durable=True))])
        fired: list[int] = []
        writes = [store.write([Queued(ID, 0, number, queued(b"%d" % number))]) for number in range(2000)]
        for number, write in enumerate(writes):
            write.addCallback(lambda _, number: fired.append(number), number)
        await gatherResults(writes)
        self.assertEqual(fired, list(range(2000)))
        await store.close()
        store = await openedStore(path, OWNER, run=workers.run, now=lambda: NOW)
        messages = await store.messages(ID, 0, 0, 1 << 20)
        self.assertEqual(messages, list(enumerate(queued(*(b"%d" % number for number in range(2000))))))
        await store.close()
        await workers.stop()
