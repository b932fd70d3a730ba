"""
Durable sessions as applications see them: what is told when, restarts, and stores that are slow or fail.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred, execute, fail, succeed
from zope.interface import implementer

from hypermail.errors import (
    Delivered,
    HypermailError,
    MessageCancelled,
    MessageExpired,
    MessageRejected,
    MessageUndelivered,
    Reason,
    SessionAborted,
    SessionRejected,
    SessionReset,
    StoreFailed,
    UsageError,
)
from hypermail.interfaces import ISessionStore
from hypermail.internet import writing
from hypermail.internet.datagrams import HypermailDatagramProtocol
from hypermail.internet.message import Message
from hypermail.options import ListenerOptions, Options, Role
from hypermail.session.journal import Change, SessionIdentity, Suspended, Taken
from hypermail.test.securing import NAME, SecuredTestCase
from hypermail.test.sessions import errorOf
from hypermail.test.test_internet_reopening import DARK, LISTENING, NEAR, STARTING, SurvivingProtocol
from hypermail.testing.store import MemoryStore

OPTIONS = Options(ping_interval=1.0, ping_packet_count=2, connection_timeout=3.0)
LANE = 1


@implementer(ISessionStore)
class HeldStore:
    """
    A store that waits when it is told to, and fails when it is told to.

    @ivar holds: whether what is asked waits for L{release}.
    @ivar fails: whether it fails.
    @ivar written: all changes that were asked for.
    """

    def __init__(self) -> None:
        self.memory = MemoryStore()
        self.written: list[Change] = []
        self.holds = self.fails = False
        self._waiting: list[tuple[Deferred[Any], Callable[[], Any]]] = []

    def release(self) -> None:
        """Do what waits, and wait no more."""
        self.holds = False
        while self._waiting:
            done, job = self._waiting.pop(0)
            if self.fails:
                done.errback(StoreFailed("the disk is broken"))
            else:
                execute(job).chainDeferred(done)

    def _ask(self, job: Callable[[], Any]) -> Deferred[Any]:
        if self.holds:
            done: Deferred[Any] = Deferred()
            self._waiting.append((done, job))
            return done
        return fail(StoreFailed("the disk is broken")) if self.fails else execute(job)

    def write(self, changes: Sequence[Change]) -> Deferred[None]:
        """See L{ISessionStore.write}."""
        self.written += changes

        def apply() -> None:
            try:
                self.memory.apply(changes)
            except (AssertionError, KeyError) as error:
                raise StoreFailed("it does not fit what is kept") from error

        return self._ask(apply)

    def find(self, id: bytes) -> Deferred[Any]:
        """See L{ISessionStore.find}."""
        return self._ask(lambda: self.memory.find(id))

    def named(self, name: str) -> Deferred[Any]:
        """See L{ISessionStore.named}."""
        return self._ask(lambda: self.memory.named(name))

    def count(self) -> Deferred[Any]:
        """See L{ISessionStore.count}."""
        return self._ask(lambda: len(self.memory))

    def messages(self, id: bytes, lane: int, first: int, most: int) -> Deferred[Any]:
        """See L{ISessionStore.messages}."""
        return self._ask(lambda: self.memory.messages(id, lane, first, most))

    def close(self) -> Deferred[None]:
        """See L{ISessionStore.close}."""
        return self._ask(lambda: None)


class DurableProtocol(SurvivingProtocol):
    """Remembers what it is told of messages that outlive processes, and says what it has taken."""

    says: Any = None

    def __init__(self) -> None:
        super().__init__()
        self.undelivered: list[Message] = []
        self.settledEarlier: list[tuple[Message, HypermailError | None]] = []

    def messagesTaken(self, session: bytes) -> Any:
        return {} if self.says is None else self.says

    def messageUndelivered(self, message: Message) -> Any:
        self.undelivered.append(message)

    def messageSettled(self, message: Message, error: HypermailError | None) -> Any:
        self.settledEarlier.append((message, error))


class DurableTestCase(SecuredTestCase):
    """Sessions between two hosts that have stores."""

    def setUp(self) -> None:
        self.ourStore, self.theirStore = HeldStore(), HeldStore()
        self.most = ListenerOptions()
        self.makes: Callable[[], DurableProtocol] = DurableProtocol

    def open(self) -> tuple[Any, Any]:
        """Open a session whose lane L{LANE} is durable."""
        self.listen(LISTENING, options=OPTIONS, store=self.theirStore, listenerOptions=self.most)
        self.addCleanup(self.stopStarter)
        self.hosts.listening.make = self.hosts.starting.make = lambda: self.makes()
        return self.connect()

    def connect(self) -> tuple[Any, Any]:
        """Ask for the session."""
        hosts = self.hosts
        ours: Any = hosts.run(hosts.ask(NAME, security=STARTING, options=OPTIONS, store=self.ourStore))
        hosts.settle()
        ours.session.lane(LANE, durable=True)
        return ours, hosts.listening.built[-1]

    def restartListener(self, between: Callable[[], object] = lambda: None, seconds: float = 10.0) -> Any:
        """Stop listening, and begin again. @return: the protocol that has the session then."""
        self.hosts.run(self._stopped())
        between()
        self.hosts.listen(security=LISTENING, options=OPTIONS, store=self.theirStore, listenerOptions=self.most)
        self.hosts.settle(seconds)
        return self.hosts.listening.built[-1]

    async def _stopped(self) -> None:
        port = self.hosts.port
        assert port is not None
        stopping = port.stopListening()
        if stopping is not None:
            await stopping

    def suspend(self) -> None:
        """Take the network away, until both sides have noticed."""
        self.hosts.network.set_conditions(DARK)
        self.hosts.settle(8)

    def resume(self, seconds: float = 40.0) -> None:
        """Bring it back, until both sides go on."""
        self.hosts.network.set_conditions(NEAR)
        self.hosts.settle(seconds)

    def stopStarter(self) -> None:
        """Close the starter's socket, as at the end of its process."""
        self.ourStore.release()
        for port in list(self.hosts.client.ports):
            port.stopListening()
        self.hosts.settle(0.1)


class QueuedTests(DurableTestCase):
    """What the Deferreds of messages tell."""

    def test_queued(self) -> None:
        """A message arrives after it is on disk, and C{queued} fires between."""
        ours, theirs = self.open()
        self.ourStore.holds = True
        sent = ours.session.sendMessage(b"a", lane=LANE, note=b"n")
        self.hosts.settle()
        self.assertNoResult(sent.queued)
        self.assertEqual(theirs.messages, [])
        self.ourStore.release()
        self.hosts.settle(0.01)
        self.successResultOf(sent.queued)
        self.assertNoResult(sent)
        self.hosts.settle()
        self.successResultOf(sent)
        (message,) = theirs.messages
        self.assertEqual(
            (message, message.session, message.lane, message.number, message.note),
            (b"a", ours.session.sessionID, LANE, 0, b""),
        )

    def test_notQueued(self) -> None:
        """When it cannot be written both Deferreds fail; when it can again, messages go on."""
        ours, theirs = self.open()
        self.ourStore.fails = True
        sent = ours.session.sendMessage(b"a", lane=LANE)
        queued = sent.queued
        self.hosts.settle(0.5)
        for deferred in (sent, queued):
            self.failureResultOf(deferred, StoreFailed)
        self.ourStore.fails = False
        self.hosts.run(ours.session.sendMessage(b"b", lane=LANE))
        self.assertEqual([(message, message.number) for message in theirs.messages], [(b"b", 0)])

    def test_withdrawn(self) -> None:
        """What is cancelled, or expires, before it is on disk fails both; it never arrives."""
        ours, theirs = self.open()
        self.ourStore.holds = True
        cancelled = ours.session.sendMessage(b"a", lane=LANE)
        expired = ours.session.sendMessage(b"b", lane=LANE, expires=0.1)
        waiting = [cancelled.queued, expired.queued]
        cancelled.cancel()
        self.hosts.settle()
        for deferred, error in zip([cancelled, expired, *waiting], [MessageCancelled, MessageExpired] * 2, strict=True):
            self.failureResultOf(deferred, error)
        self.ourStore.release()
        self.hosts.run(ours.session.sendMessage(b"c", lane=LANE))
        self.assertEqual([(message, message.number) for message in theirs.messages], [(b"c", 2)])

    def test_lost(self) -> None:
        """A session that ends before fails both."""
        ours, _ = self.open()
        self.ourStore.holds = True
        sent = ours.session.sendMessage(b"a", lane=LANE)
        queued = sent.queued
        ours.session.abort()
        self.hosts.settle()
        for deferred in (sent, queued):
            self.failureResultOf(deferred, MessageUndelivered)
        self.ourStore.release()
        self.assertEqual(len(self.ourStore.memory), 0)


class WritingTests(DurableTestCase):
    """How changes come to the disk."""

    def taken(self) -> int:
        """How often the listener has asked its store to write down what was taken."""
        return sum(isinstance(change, Taken) for change in self.theirStore.written)

    def test_oneAtATime(self) -> None:
        """While a session's changes are being written others wait, so that none is there without those before it."""
        ours, theirs = self.open()
        self.ourStore.holds = True
        for data in (b"a", b"b", b"c"):
            ours.session.sendMessages([data], lane=LANE)
            self.hosts.settle(0.1)
        self.assertEqual(len(self.ourStore._waiting), 1)
        self.ourStore.release()
        self.hosts.settle()
        self.assertEqual(theirs.messages, [b"a", b"b", b"c"])

    def test_again(self) -> None:
        """What was taken and cannot be written down is tried again once a second, and told when it is there."""
        ours, theirs = self.open()
        self.theirStore.fails = True
        sent = ours.session.sendMessage(b"a", lane=LANE)
        self.hosts.settle(5)
        self.assertEqual(theirs.messages, [b"a"])
        self.assertNoResult(sent)
        self.assertIn(self.taken(), range(4, 8))
        self.theirStore.fails = False
        self.hosts.settle(1.5)
        self.successResultOf(sent)
        self.assertEqual(theirs.messages, [b"a"])

    def test_overMeanwhile(self) -> None:
        """A session that ends while that waits is taken off the disk at once."""
        ours, theirs = self.open()
        self.theirStore.fails = True
        ours.session.sendMessages([b"a"], lane=LANE)
        self.hosts.settle(5)
        self.theirStore.fails = False
        theirs.session.abort()
        self.hosts.settle(0.01)
        self.assertEqual(len(self.theirStore.memory), 0)


class UndeliveredTests(DurableTestCase):
    """What is told of messages that are on disk when their session ends."""

    def test_onceEach(self) -> None:
        """Those that no Deferred has told of, and no others, however many there are; nothing of the session stays on
        disk."""
        self.patch(writing, "MOST_AT_ONCE", 1)
        ours, _ = self.open()
        self.suspend()
        sent = ours.session.sendMessage(b"a", lane=LANE, note=b"1")
        ours.session.sendMessages([b"b", b"c"], lane=LANE)
        self.hosts.settle(0.1)
        ours.session.abort("enough")
        self.hosts.settle(0.1)
        self.failureResultOf(sent, MessageUndelivered)
        self.assertEqual([(message, message.number) for message in ours.undelivered], [(b"b", 1), (b"c", 2)])
        self.assertEqual(len(self.ourStore.memory), 0)
        self.resume(1)

    def test_ofAnotherProcess(self) -> None:
        """All of those that were sent before a restart."""
        ours, _ = self.open()
        self.suspend()
        sent = ours.session.sendMessage(b"a", lane=LANE, note=b"1")
        sent.addErrback(lambda _: None)
        self.hosts.settle(0.1)
        self.stopStarter()
        self.hosts.settle()
        self.assertEqual(ours.undelivered, [])
        again, _ = self.connect()
        again.session.abort("enough")
        self.hosts.settle(0.1)
        self.assertEqual([(m, m.number, m.note) for m in again.undelivered], [(b"a", 0, b"1")])
        self.assertEqual(len(self.ourStore.memory), 0)
        self.resume(1)

    def test_settled(self) -> None:
        """Not those of which it is known that they were taken, also when that is not on disk yet."""
        ours, theirs = self.open()
        verdicts = [Deferred[None](), Deferred[None]()]
        waiting = iter(verdicts)
        theirs.answer = lambda message: next(waiting)
        ours.session.sendMessages([b"a", b"b"], lane=LANE)
        self.hosts.settle(0.5)
        self.ourStore.holds = True
        for verdict in verdicts:
            verdict.callback(None)
            self.hosts.settle(0.5)
        ours.session.abort()
        self.hosts.settle(0.1)
        self.ourStore.release()
        self.assertEqual((theirs.messages, ours.undelivered), ([b"a", b"b"], []))
        self.assertEqual(len(self.ourStore.memory), 0)

    def test_parkedWhileWriting(self) -> None:
        """The last word of a session that is left to the disk is asked for at once: the store may be closed next."""
        ours, theirs = self.open()
        self.ourStore.holds = True
        ours.session.sendMessages([b"a"], lane=LANE)
        self.hosts.settle(0.1)
        ours.session.park()
        self.assertEqual(len(self.ourStore._waiting), 2)
        self.ourStore.release()
        self.hosts.settle(0.1)
        self.connect()
        self.hosts.settle(5)
        self.assertEqual(theirs.messages, [b"a"])

    def test_parkedAndDiskFails(self) -> None:
        """When its last words fail nothing is tried any more; what was there is there."""
        ours, theirs = self.open()
        self.ourStore.holds = True
        ours.session.sendMessages([b"a"], lane=LANE)
        self.hosts.settle(0.1)
        session = ours.session
        session.park()
        self.ourStore.fails = True
        self.ourStore.release()
        self.assertIsNone(session.writing._pause)
        self.hosts.settle(0.1)
        self.ourStore.fails = False
        again, _ = self.connect()
        self.hosts.settle(5)
        self.assertEqual((again.calls[-1], theirs.messages), ("sessionResumed", []))

    def test_kept(self) -> None:
        """Whoever waits for a message learns whether it is left to the disk, and may yet be delivered."""
        for end, kept in (("park", True), ("abort", False)):
            ours, _ = self.open()
            self.suspend()
            durable, other = (ours.session.sendMessage(b"a", lane=lane) for lane in (LANE, 0))
            self.hosts.settle(0.1)
            getattr(ours.session, end)()
            self.hosts.settle(0.1)
            found = [self.failureResultOf(deferred, MessageUndelivered).value.kept for deferred in (durable, other)]
            self.assertEqual(found, [kept, False])
            self.setUp()

    def test_unreadable(self) -> None:
        """What is on disk and cannot be read is left there, with its session, and its application is told."""
        ours, theirs = self.open()
        self.suspend()
        ours.session.sendMessages([b"a"], lane=LANE)
        self.hosts.settle(0.1)
        self.stopStarter()
        self.patch(self.ourStore.memory, "messages", self._unreadable)
        again, _ = self.connect()
        self.assertEqual(again.calls[-1], "sessionLost")
        self.assertEqual((again.undelivered, len(self.ourStore.memory)), ([], 1))
        del self.ourStore.memory.messages
        self.connect()
        self.resume()
        self.assertEqual(theirs.messages, [b"a"])

    def _unreadable(self, *_: object) -> Any:
        raise StoreFailed("it cannot be read")

    def test_diskFails(self) -> None:
        """A write that is under way at the end, and fails, does not keep the session on disk."""
        ours, _ = self.open()
        self.ourStore.holds = True
        ours.session.sendMessages([b"a"], lane=LANE)
        self.hosts.settle(0.1)
        ours.session.sendMessages([b"b"], lane=LANE)
        ours.session.abort()
        self.hosts.settle(0.1)
        self.ourStore.fails = True
        done, _ = self.ourStore._waiting.pop(0)
        self.ourStore.fails = False
        done.errback(StoreFailed("the disk was broken"))
        self.ourStore.release()
        self.assertEqual(len(self.ourStore.memory), 0)


class NameTests(DurableTestCase):
    """One session of a name at a time."""

    def again(self) -> Deferred[Any]:
        """Ask for the same session."""
        return self.hosts.ask(NAME, security=STARTING, options=OPTIONS, store=self.ourStore)

    def test_inUse(self) -> None:
        """Who asks for a session that this process has is refused, and that one goes on."""
        ours, _ = self.open()
        refused = self.again()
        self.hosts.settle()
        self.assertIn("in use", self.failureResultOf(refused, UsageError).getErrorMessage())
        self.hosts.run(ours.session.sendMessage(b"a", lane=LANE))

    def test_beingAskedFor(self) -> None:
        """Of two that ask at once for a session that does not exist yet one is refused."""
        self.listen(LISTENING, options=OPTIONS, store=self.theirStore)
        self.addCleanup(self.stopStarter)
        first, second = self.again(), self.again()
        self.hosts.settle()
        self.failureResultOf(second, UsageError)
        self.successResultOf(first)

    def test_over(self) -> None:
        """When it is over, and that is written down, another one may be asked for; not before."""
        ours, _ = self.open()
        self.ourStore.holds = True
        ours.session.abort()
        self.hosts.settle(0.2)
        self.failureResultOf(self.again(), UsageError)
        self.ourStore.release()
        self.hosts.settle()
        again, _ = self.connect()
        self.assertNotEqual(again.session.sessionID, ours.session.sessionID)

    def test_refused(self) -> None:
        """A session that could not be opened leaves its name to the next attempt."""
        self.listen(LISTENING, options=OPTIONS)
        self.addCleanup(self.stopStarter)
        for _ in range(2):
            refused = self.again()
            self.hosts.settle(2)
            self.assertEqual(self.failureResultOf(refused, SessionRejected).value.code, Reason.NOT_DURABLE)


class LimitTests(DurableTestCase):
    """A listener keeps no more sessions than it may."""

    def test_suspended(self) -> None:
        """A durable session for which there is no room in memory while it has no link waits on the disk; when it comes
        back the starter knows that what is not durable was forgotten."""
        self.most = ListenerOptions(max_suspended=0)
        ours, theirs = self.open()
        for lane in (LANE, 0):
            self.hosts.run(ours.session.sendMessage(b"a", lane=lane))
        self.suspend()
        self.assertEqual(theirs.calls, ["sessionOpened", "sessionSuspended", "sessionLost"])
        self.resume()
        for lane in (LANE, 0):
            self.hosts.run(ours.session.sendMessage(b"b", lane=lane))
        self.assertEqual([protocol.messages for protocol in self.hosts.listening.built], [[b"a"] * 2, [b"b"] * 2])

    def test_full(self) -> None:
        """Who asks for one more is told so; those that are there go on, also after a restart; one that is over
        counts no more."""
        self.most = ListenerOptions(max_stored=1)
        ours, _ = self.open()
        other = HeldStore()
        asking = self.hosts.ask(NAME, security=STARTING, options=OPTIONS, store=other)
        self.hosts.settle(2)
        error = self.failureResultOf(asking, SessionRejected).value
        self.assertEqual((error.code, len(self.theirStore.memory)), (Reason.TOO_MANY_SESSIONS, 1))
        self.assertIn("the listener keeps 1 durable sessions, no more", error.text)
        self.assertEqual(self.hosts.listening.built[-1].calls, ["sessionLost"])
        self.restartListener()
        self.hosts.run(ours.session.sendMessage(b"a", lane=LANE))
        self.hosts.run(ours.session.close())
        self.hosts.settle(2)
        self.hosts.run(self.hosts.ask(NAME, security=STARTING, options=OPTIONS, store=other))
        self.assertEqual(len(self.theirStore.memory), 1)

    def test_notDurable(self) -> None:
        """Sessions that are not kept have room nevertheless."""
        self.most = ListenerOptions(max_stored=0)
        self.listen(LISTENING, options=OPTIONS, store=self.theirStore, listenerOptions=self.most)
        self.hosts.run(self.hosts.ask(NAME, security=STARTING, options=OPTIONS))


class CopyTests(DurableTestCase):
    """A store of which there are two."""

    def test_bothAtOnce(self) -> None:
        """Of two starters that have the same session one goes on with it; the other learns why it doesn't, and what was
        queued in both arrives once."""
        ours, theirs = self.open()
        self.suspend()
        ours.session.sendMessages([b"a"], lane=LANE)
        self.hosts.settle(0.1)
        self.stopStarter()
        copy = HeldStore()
        copy.memory = deepcopy(self.ourStore.memory)
        self.hosts.network.set_conditions(NEAR)
        asked = [
            self.hosts.ask(NAME, security=STARTING, options=OPTIONS, store=store) for store in (self.ourStore, copy)
        ]
        self.hosts.settle(10)
        first, second = (self.successResultOf(asking) for asking in asked)
        loser, winner = (first, second) if first.reason else (second, first)
        self.assertEqual(
            (type(errorOf(loser)), errorOf(loser).code, loser.undelivered[0]),
            (SessionRejected, Reason.SESSION_TAKEN, b"a"),
        )
        self.assertEqual(winner.calls[-1], "sessionResumed")
        self.hosts.run(winner.session.sendMessage(b"b", lane=LANE))
        self.assertEqual([(message, message.number) for message in theirs.messages], [(b"a", 0), (b"b", 1)])


class RestartTests(DurableTestCase):
    """Listeners and starters that are stopped, and start again."""

    def test_listener(self) -> None:
        """Its starter learns of the end at once; what is sent then arrives after the restart."""
        ours, _ = self.open()
        self.hosts.run(ours.session.sendMessage(b"a", lane=LANE))
        sent: list[Any] = []

        def between() -> None:
            self.hosts.settle(0.2)
            self.assertEqual(ours.calls, ["sessionOpened", "sessionSuspended"])
            sent.append(ours.session.sendMessage(b"b", lane=LANE))

        theirs = self.restartListener(between)
        self.successResultOf(sent[0])
        self.assertEqual([(message, message.number) for message in theirs.messages], [(b"b", 1)])
        self.assertEqual(ours.calls, ["sessionOpened", "sessionSuspended", "sessionResumed"])
        self.assertEqual(theirs.calls, ["sessionOpened"])

    def test_starter(self) -> None:
        """Its session is open at once; what it has sent before arrives."""
        ours, theirs = self.open()
        self.suspend()
        ours.session.sendMessages([b"a"], lane=LANE)
        self.hosts.settle(0.1)
        self.stopStarter()
        again, _ = self.connect()
        self.assertEqual(again.calls[0], "sessionOpened")
        self.assertTrue(again.session.durable)
        self.resume()
        self.assertEqual([(message, message.number) for message in theirs.messages], [(b"a", 0)])

    def test_expires(self) -> None:
        """A message expires by the wall clock, which goes on between two processes."""
        ours, theirs = self.open()
        self.suspend()
        sent = ours.session.sendMessage(b"a", lane=LANE, expires=5.0)
        sent.addErrback(lambda _: None)
        ours.session.sendMessages([b"b"], lane=LANE)
        ours.session.sendMessage(b"c", lane=LANE, expires=100.0).addErrback(lambda _: None)
        self.hosts.settle(0.1)
        self.stopStarter()
        self.hosts.settle(20)
        begin: Any = HypermailDatagramProtocol.__init__
        self.patch(begin, "__kwdefaults__", {**begin.__kwdefaults__, "wall": lambda: time.time() + 20.0})
        self.hosts.network.set_conditions(NEAR)
        self.connect()
        self.hosts.settle(20)
        self.assertEqual(theirs.messages, [b"b", b"c"])

    def test_settled(self) -> None:
        """What becomes of messages that were sent before is told, with their notes; each once."""
        ours, theirs = self.open()

        def answer(message: bytes) -> Any:
            return fail(MessageRejected("not this")) if message == b"b" else None

        theirs.answer = answer
        self.suspend()
        sent = [ours.session.sendMessage(data, lane=LANE, note=b"note " + data) for data in (b"a", b"b")]
        for one in sent:
            one.addErrback(lambda _: None)
        self.hosts.settle(0.1)
        self.stopStarter()
        again, _ = self.connect()
        self.resume()
        (first, none), (second, error) = again.settledEarlier
        self.assertEqual(
            [(m, m.session, m.lane, m.number, m.note) for m in (first, second)],
            [
                (b"a", again.session.sessionID, LANE, 0, b"note a"),
                (b"b", again.session.sessionID, LANE, 1, b"note b"),
            ],
        )
        self.assertIsNone(none)
        self.assertIsInstance(error, MessageRejected)

    def test_whetherDelivered(self) -> None:
        """What is left to the disk may yet be delivered; what ends with its session was not."""
        ours, _ = self.open()
        self.suspend()
        left = ours.session.sendMessage(b"a", lane=LANE)
        self.hosts.settle(0.1)
        self.stopStarter()
        self.assertIs(self.failureResultOf(left, MessageUndelivered).value.delivered, Delivered.UNKNOWN)
        again, _ = self.connect()
        ended = again.session.sendMessage(b"b", lane=LANE)
        self.hosts.settle(0.1)
        again.session.abort()
        self.hosts.settle(0.1)
        self.assertIs(self.failureResultOf(ended, MessageUndelivered).value.delivered, Delivered.NO)

    def test_suspended(self) -> None:
        """Both stores hear when a session has lost its link, and when it has another: the time that it may be without
        one runs there, too."""
        self.open()
        stores = self.ourStore, self.theirStore
        self.suspend()
        for store in stores:
            self.assertIn(Suspended, map(type, store.written))
        self.resume()
        for store in stores:
            self.assertIs(type(store.written[-1]), SessionIdentity)

    def test_decidedOnce(self) -> None:
        """While the application decides on one claim another one is not looked at: nobody has a session twice."""
        ours, _ = self.open()
        self.hosts.run(ours.session.sendMessage(b"a", lane=LANE))
        decisions: list[Deferred[Any]] = []

        def decide(request: Any) -> Any:
            decisions.append(Deferred())
            return decisions[-1]

        self.hosts.listening.decide = decide
        self.restartListener(seconds=2)
        self.assertEqual(len(decisions), 1)
        self.stopStarter()
        ours, _ = self.connect()
        self.hosts.settle(1)
        self.assertEqual(len(decisions), 1)
        self.hosts.listening.decide = lambda request: None
        self.hosts.settle(40)
        self.hosts.run(ours.session.sendMessage(b"b", lane=LANE))
        opened = [protocol for protocol in self.hosts.listening.built if "sessionOpened" in protocol.calls]
        self.assertEqual([protocol.messages for protocol in opened], [[b"a"], [b"b"]])

    def test_taken(self) -> None:
        """What the application says that it has taken does not come again; what it says may come later."""
        ours, theirs = self.open()
        theirs.answer = lambda message: Deferred()
        ours.session.sendMessages([b"a", b"b"], lane=LANE)
        self.hosts.settle()
        self.assertEqual(theirs.messages, [b"a", b"b"])
        says: Deferred[Any] = Deferred()
        self.patch(DurableProtocol, "says", says)
        theirs = self.restartListener(seconds=2)
        self.assertEqual(theirs.calls, [])
        says.callback({LANE: 1, 7: 0})
        self.hosts.settle(20)
        self.assertEqual([(message, message.number) for message in theirs.messages], [(b"b", 1)])

    def test_takenByStarter(self) -> None:
        """The same for a starter's application."""
        ours, theirs = self.open()
        ours.answer = lambda message: Deferred()
        theirs.session.lane(LANE, durable=True)
        theirs.session.sendMessages([b"a", b"b"], lane=LANE)
        self.hosts.settle()
        self.assertEqual(ours.messages, [b"a", b"b"])
        self.suspend()
        self.stopStarter()
        self.patch(DurableProtocol, "says", {LANE: 1})
        self.hosts.network.set_conditions(NEAR)
        again, _ = self.connect()
        self.hosts.settle(20)
        self.assertEqual([(message, message.number) for message in again.messages], [(b"b", 1)])

    def test_refused(self) -> None:
        """A listener that does not want the session any more says so."""
        ours, _ = self.open()
        sent = ours.session.sendMessage(b"a", lane=LANE)
        self.hosts.settle()
        self.successResultOf(sent)
        self.hosts.listening.decide = lambda request: fail(SessionRejected("not today", 77))
        self.restartListener()
        self.assertEqual((type(errorOf(ours)), errorOf(ours).code), (SessionRejected, 77))

    def test_sideOfAStarter(self) -> None:
        """A session that this process has as its starter is none that anybody may claim."""
        ours, _ = self.open()
        session = self.theirStore.memory._sessions[ours.session.sessionID]

        def between() -> None:
            session.identity = replace(session.identity, role=Role.STARTER)

        self.restartListener(between)
        self.assertIsInstance(errorOf(ours), SessionReset)

    def test_oneStore(self) -> None:
        """The two sides of a session cannot have one store."""
        self.ourStore = self.theirStore
        self.listen(LISTENING, options=OPTIONS, store=self.theirStore)
        self.addCleanup(self.stopStarter)
        asking = self.hosts.ask(NAME, security=STARTING, options=OPTIONS, store=self.ourStore)
        self.hosts.settle(2)
        self.assertEqual(self.failureResultOf(asking, SessionRejected).value.code, Reason.STORE_FAILED)

    def test_oneAtATime(self) -> None:
        """A session that is claimed again while it is being looked for is taken up once."""
        ours, _ = self.open()
        self.hosts.run(ours.session.sendMessage(b"a", lane=LANE))

        def between() -> None:
            self.theirStore.holds = True

        self.restartListener(between)
        self.hosts.settle(10)
        self.assertEqual(len(self.hosts.listening.built), 1)
        self.theirStore.release()
        self.hosts.settle(40)
        self.assertEqual(len(self.hosts.listening.built), 2)
        self.hosts.run(ours.session.sendMessage(b"b", lane=LANE))
        self.assertEqual(self.hosts.listening.built[-1].messages, [b"b"])

    def test_slowDisk(self) -> None:
        """A session whose claim takes long to be written down is taken up nevertheless, by a later claim, once."""
        ours, _ = self.open()
        self.hosts.run(ours.session.sendMessage(b"a", lane=LANE))
        decisions: list[Deferred[Any]] = []

        def decide(request: Any) -> Any:
            self.theirStore.holds = True
            decisions.append(succeed(None))
            return decisions[-1]

        self.hosts.listening.decide = decide
        self.restartListener()
        self.hosts.settle(20)
        self.assertEqual(ours.calls[-1], "sessionSuspended")
        self.hosts.listening.decide = lambda request: None
        self.theirStore.release()
        self.hosts.settle(60)
        self.hosts.run(ours.session.sendMessage(b"b", lane=LANE))
        opened = [protocol for protocol in self.hosts.listening.built if "sessionOpened" in protocol.calls]
        self.assertEqual([protocol.messages for protocol in opened], [[b"a"], [b"b"]])

    def test_findFails(self) -> None:
        """A store that cannot be read costs an attempt, and no session."""
        ours, _ = self.open()
        self.hosts.run(ours.session.sendMessage(b"a", lane=LANE))

        def between() -> None:
            self.theirStore.fails = True

        self.restartListener(between)
        self.assertEqual(ours.calls, ["sessionOpened", "sessionSuspended"])
        self.theirStore.fails = False
        self.hosts.settle(40)
        self.assertEqual(ours.calls, ["sessionOpened", "sessionSuspended", "sessionResumed"])

    def test_abortedWhileClaimed(self) -> None:
        """A session that is over while its claim is being written does not come back on disk."""
        ours, theirs = self.open()
        self.suspend()
        self.theirStore.holds = True
        self.hosts.network.set_conditions(NEAR)
        self.hosts.settle(2)
        theirs.session.abort("enough")
        self.hosts.settle(0.5)
        self.theirStore.release()
        self.hosts.settle(40)
        self.assertEqual(len(self.theirStore.memory), 0)
        self.assertIsInstance(errorOf(theirs), SessionAborted)
        self.assertIsNotNone(ours.reason)
