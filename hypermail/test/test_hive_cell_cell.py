"""
Tests for L{hypermail.hive.cell.cell}, L{leashing<hypermail.hive.cell.leashing>} and
L{membership<hypermail.hive.cell.membership>}: the life of a cell, in memory.
"""

from __future__ import annotations

import gc
from typing import Any

from twisted.internet.address import HostnameAddress
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectingCancelledError, ConnectionLost
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.logger import LogLevel, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from hypermail.errors import UsageError
from hypermail.hive.cell import membership
from hypermail.hive.cell.application import CellApplication, answer
from hypermail.hive.cell.cell import MOST_NAMED, MOST_QUEENS, Cell
from hypermail.hive.cell.heads import target_of
from hypermail.hive.cell.leashing import LONGEST_PAUSE, STEADY, pause_after
from hypermail.hive.cell.membership import LINGER, LOGIN
from hypermail.hive.cell.queens import CONNECTING, Queen
from hypermail.hive.errors import LeashLost
from hypermail.hive.exchanges import Exchange
from hypermail.hive.frames import (
    Accept,
    Body,
    ConnectionKind,
    Frame,
    IAm,
    Mount,
    NeedBand,
    RequestHead,
    ResponseBody,
    ResponseEnd,
    ResponseHead,
    Unmount,
)
from hypermail.hive.leash import MOST_AT_ONCE
from hypermail.hive.mounts import Pattern
from hypermail.test.cells import Asked, MemoryCase, MemoryHive, head_of, newCells
from hypermail.test.hive import FrameTransport, written
from hypermail.test.sessions import logged

GET = head_of("GET", "/x")


def hello(exchange: Exchange) -> None:
    """Greets."""
    answer(exchange, 200, "hello")


class Held(list[Exchange]):
    """Answers nothing before it is told."""

    def __call__(self, exchange: Exchange) -> None:
        self.append(exchange)

    def let(self, exchange: Exchange) -> None:
        """Answer one."""
        answer(exchange, 200, "late")


def logged_by(case: SynchronousTestCase, level: Any = LogLevel.error) -> list[str]:
    """What is logged from now on at a level."""
    found: list[str] = []

    def observe(event: Any) -> None:
        if event.get("log_level") is level and "failure" not in str(event.get("log_format")):
            found.append(formatEvent(event))

    observer: Any = observe
    globalLogPublisher.addObserver(observer)
    case.addCleanup(globalLogPublisher.removeObserver, observer)
    return found


class EntranceTests(MemoryCase):
    """Cells that log in."""

    def test_answers(self) -> None:
        """It logs in, mounts, and its application answers, several requests on one band."""
        cell = self.cell(hello, "@/", "example.org/app/")
        self.assertIs(self.successResultOf(cell.whenReady()), cell)
        self.assertEqual(list(self.hive.member.mounts), [Pattern("@", "/"), Pattern("example.org", "/app/")])
        for _ in range(3):
            asked = self.ask(GET)
            self.assertEqual((asked.status, asked.received), (200, b"hello\n"))
        self.assertEqual(self.hive.opened, 2)

    def test_pauses(self) -> None:
        """Pauses grow from 1 s to a minute, and are between half and all of that."""
        self.assertEqual([pause_after(failed, 0.0) for failed in (0, 1, 2)], [0.5, 0.75, 1.125])
        self.assertAlmostEqual(pause_after(0, 0.999999), 1.0, 3)
        self.assertEqual(pause_after(100_000, 0.5), 45.0)

    def test_nobodyThere(self) -> None:
        """It tries again, more and more seldom; when the queen is there it is in."""
        self.hive.refusing = True
        cell = self.cell(hello)
        ready = cell.whenReady()
        self.pass_(5.0)  # 0.5, 0.75, 1.125, 1.6875
        self.assertNoResult(ready)
        self.hive.refusing = False
        self.assertEqual(self.hive.opened, 0)
        self.pass_(3.0)
        self.assertIs(self.successResultOf(ready), cell)

    def test_silence(self) -> None:
        """A queen who says nothing is left alone after some time, and asked again."""
        self.hive.silent = True
        self.cells.login_timeout = 2 * LOGIN
        cell = self.cell(hello)
        self.pass_(LOGIN - 1.0)
        self.assertEqual(len(self.hive.links), 1)
        self.pass_(1.0)
        self.assertEqual(len(self.hive.links), 0)
        self.hive.silent = False
        self.pass_(1.0)
        self.successResultOf(cell.whenReady())

    def test_halfOpen(self) -> None:
        """Connections that do not open are given up."""
        self.hive.held = []
        self.cell(hello)
        self.pass_(CONNECTING)
        self.assertEqual(len(self.hive.held), 1)
        self.pass_(1.0)
        self.assertEqual(len(self.hive.held), 2)

    def test_halfOpenReason(self) -> None:
        """What is logged then says so, whatever the endpoint fails with when it is cancelled."""
        logged = logged_by(self, LogLevel.warn)
        cancelled = ConnectingCancelledError(HostnameAddress(b"queen.example.org", 2001))
        self.patch(self.hive, "connect", lambda _: Deferred(lambda one: one.errback(cancelled)))
        self.cell(hello)
        self.pass_(CONNECTING)
        [line] = logged
        self.assertIn(f"no leash: no connection for {CONNECTING:.0f} s; the next attempt", line)

    def test_lostMounting(self) -> None:
        """A leash that is lost before all mounts are in leaves nothing unsaid, and it tries again."""
        self.hive.silent = True
        cell = self.cell(hello, "@/", "example.org/")
        self.hive.silent = False
        [link] = self.hive.links
        self.hive._move(*link)
        self.assertEqual(len(self.cells), 1)
        self.hive.loseAll()
        self.assertFalse(cell.isReady)
        self.pass_(2.0)
        self.assertTrue(cell.isReady)

    def test_reset(self) -> None:
        """Once a leash has lasted the pauses begin anew; before that they go on to grow."""
        self.hive.refusing = True
        cell = self.cell(hello)
        self.pass_(30.0)
        self.hive.refusing = False
        self.pass_(10.0)
        self.assertTrue(cell.isReady)
        self.hive.loseAll()
        self.pass_(2.0)
        self.assertFalse(cell.isReady)
        self.pass_(30.0)
        self.assertTrue(cell.isReady)
        self.pass_(STEADY)
        self.hive.loseAll()
        self.assertFalse(cell.isReady)
        self.pass_(0.5)
        self.assertTrue(cell.isReady)

    def test_wrongKey(self) -> None:
        """A refused login is an error that has the queen's reason, and the next attempt is not soon."""
        logged = logged_by(self)
        cell = self.cell(hello, key="wrong")
        self.assertIn("the key is wrong", logged[-1])
        self.assertIn("connKey", logged[-1])
        self.pass_(LONGEST_PAUSE / 2 - 1.0)
        self.assertEqual(self.hive.opened, 1)
        self.pass_(1.0)
        self.assertEqual(self.hive.opened, 2)
        self.assertFalse(cell.isReady)

    def test_mountRefused(self) -> None:
        """A refused mount is an error, and asked for again; the others are in meanwhile."""
        logged = logged_by(self)
        refuse = True
        mount = self.cells.mount

        def picky(member: Any, pattern: Pattern) -> None:
            if refuse and pattern.path != "/":
                raise UsageError("not you")
            mount(member, pattern)

        self.patch(self.cells, "mount", picky)
        cell = self.cell(hello, "@/", "@/app/")
        self.assertIn("@/app/ is not mounted: not you", logged[-1])
        self.assertNoResult(cell.whenReady())
        self.assertEqual(self.ask(GET).status, 200)
        refuse = False
        self.pass_(LONGEST_PAUSE / 2)
        self.assertTrue(cell.isReady)

    def test_mountRefusedAndLost(self) -> None:
        """A leash that is lost before a mount is asked for again asks no more."""
        self.patch(self.cells, "mount", lambda member, pattern: self.refuse())
        self.cell(hello)
        self.hive.refusing = True
        self.hive.loseAll()
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)  # the next attempt
        self.pass_(LONGEST_PAUSE)
        gc.collect()  # which tells of what nobody has dealt with
        self.assertEqual(self.hive.opened, 1)

    def refuse(self) -> None:
        """No."""
        raise UsageError("not you")

    def test_nothingToMount(self) -> None:
        """A cell without mounts, or with one that is none, is an error at once."""
        for mounts in ((), ("example.org/../x",), "nothing at all"):
            self.assertRaises(UsageError, Cell, Queen.at(self.hive), "key", mounts, hello)

    def test_root(self) -> None:
        """The path that is mounted is known if there is one."""
        for mounts, root in (("@/", ""), ("@/app/", "/app"), ("@/hook", "/hook"), (("@/a/", "@/b/"), "")):
            self.assertEqual(Cell(Queen.at(self.hive), "key", mounts, hello).root, root)


class LossTests(MemoryCase):
    """Leashes that are lost."""

    def test_again(self) -> None:
        """When the leash is lost so are the requests; it logs in and mounts again."""
        held = Held()
        cell = self.cell(held)
        asked = self.ask(GET)
        over = held[0].whenOver()
        leash = self.hive.links[0]
        self.hive.lose(*leash, ConnectionLost())
        self.hive.flush()
        self.assertEqual((self.successResultOf(over), asked.wasLost, cell.isReady), (False, True, False))
        self.assertEqual(self.hive.links, [])
        self.pass_(1.0)
        self.assertTrue(cell.isReady)
        self.ask(GET)
        held.let(held[1])
        self.hive.flush()

    def test_bandLost(self) -> None:
        """When one band is lost another one carries the next request."""
        self.cell(hello)
        self.ask(GET)
        self.hive.lose(*self.hive.links[1], ConnectionLost())
        self.assertEqual(self.ask(GET).status, 200)

    def test_leave(self) -> None:
        """When the queen goes away requests that run are finished, while the cell looks for her anew."""
        held = Held()
        self.cell(held)
        asked = self.ask(GET)
        first = self.hive.member
        first.leave()
        self.hive.flush()
        self.assertEqual(list(first.mounts), [])
        self.pass_(1.0)
        self.assertEqual(len(self.cells), 2)
        self.assertEqual([len(one.mounts) for one in self.cells._cells.values()], [0, 1])
        held.let(held[0])
        self.pass_(1.0)
        self.assertEqual((asked.status, len(self.cells)), (200, 1))

    def test_leaveTooLong(self) -> None:
        """A request that takes too long is cut off then."""
        self.cell(Held(), drain=10.0)
        asked = self.ask(GET)
        self.hive.member.leave()
        self.pass_(9.0)
        self.assertFalse(asked.wasLost)
        self.pass_(2.0)
        self.assertTrue(asked.wasLost)
        self.assertEqual(len(self.cells), 1)


class BandTests(MemoryCase):
    """Bands that a queen asks for."""

    def test_mostAtOnce(self) -> None:
        """There is a limit to how many are opened at once; the others follow."""
        self.cell(Held())
        leash = self.hive.links[0][0]
        self.hive.held = []
        for _ in range(3):
            leash.frameReceived(NeedBand(MOST_AT_ONCE))
        for _ in range(3):
            opening, self.hive.held[:] = list(self.hive.held), []
            self.assertEqual(len(opening), MOST_AT_ONCE)
            for one in opening:
                one.addErrback(lambda failure: None)
                one.cancel()
        self.assertEqual(self.hive.held, [])

    def test_most(self) -> None:
        """There is a limit to how many there are."""
        most = 3 * MOST_AT_ONCE
        self.patch(membership, "MOST_BANDS", most)
        self.cell(Held())
        leash = self.hive.links[0][0]
        for _ in range(4):
            leash.frameReceived(NeedBand(MOST_AT_ONCE))
            self.hive.flush()
        self.assertEqual(len(self.hive.links), 1 + most)

    def test_doesNotOpen(self) -> None:
        """A band that does not open is no trouble: the queen asks for another one."""
        self.cell(hello)
        self.hive.refusing = True
        asked = self.ask(GET)
        self.hive.refusing = False
        self.assertIsNone(asked.response)
        self.hive.links[0][0].frameReceived(NeedBand(1))
        self.hive.flush()
        self.assertEqual(asked.status, 200)

    def test_halfOpen(self) -> None:
        """A band that does not open in time is given up."""
        self.cell(hello)
        self.hive.held = []
        self.hive.links[0][0].frameReceived(NeedBand(1))
        self.clock.advance(CONNECTING - 1.0)
        self.assertFalse(self.hive.held[0].called)
        self.clock.advance(1.0)
        self.assertTrue(self.hive.held[0].called)

    def test_deadlines(self) -> None:
        """A band leaves no timer behind."""
        self.cell(hello)
        before = len(self.clock.getDelayedCalls())
        self.hive.links[0][0].frameReceived(NeedBand(1))
        self.hive.flush()
        self.assertEqual(len(self.clock.getDelayedCalls()), before + 1)
        self.hive.lose(*self.hive.links[1], ConnectionLost())
        self.assertEqual(len(self.clock.getDelayedCalls()), before)

    def test_notLetIn(self) -> None:
        """A band that is not let in for long is cut off; one that is stays."""
        self.cells.login_timeout = 10 * LOGIN
        self.cell(hello)
        self.ask(GET)
        self.hive.silent = True
        self.hive.links[0][0].frameReceived(NeedBand(1))
        self.assertEqual(len(self.hive.links), 3)
        self.clock.advance(LOGIN)
        self.hive.flush()
        self.assertEqual(len(self.hive.links), 2)
        self.hive.silent = False


class StopTests(MemoryCase):
    """Cells that stop."""

    def test_idle(self) -> None:
        """Without requests it is over soon; a request that was on its way is answered."""
        cell = self.cell(hello)
        self.ask(GET)
        waiting = self.hive.member
        stopping = cell.stopService()
        self.assertFalse(cell.isReady)
        asked = Asked()
        band = self.successResultOf(waiting.garden.lend())
        band.ask(asked, GET)
        self.pass_(1.0)
        self.successResultOf(stopping)
        self.assertEqual((asked.status, self.hive.links), (200, []))
        self.failureResultOf(cell.whenReady(), LeashLost)

    def test_running(self) -> None:
        """It waits for requests that run."""
        held = Held()
        cell = self.cell(held)
        asked = self.ask(GET)
        stopping = cell.stopService()
        self.pass_(20.0)
        self.assertNoResult(stopping)
        self.assertEqual(len(self.hive.member.mounts), 0)
        held.let(held[0])
        self.hive.flush()
        self.assertEqual(asked.received, b"late\n")
        self.successResultOf(stopping)

    def test_tooLong(self) -> None:
        """It does not wait for ever."""
        cell = self.cell(Held(), drain=5.0)
        asked = self.ask(GET)
        stopping = cell.stopService()
        self.pass_(5.0)
        self.assertNoResult(stopping)
        self.pass_(1.0)
        self.successResultOf(stopping)
        self.assertTrue(asked.wasLost)

    def test_deafQueen(self) -> None:
        """A queen who does not close what the cell has closed is cut off."""
        cell = self.cell(hello)
        self.hive.silent = True
        stopping = cell.stopService()
        self.pass_(4.0)
        self.assertNoResult(stopping)
        self.pass_(3.0)
        self.successResultOf(stopping)
        self.assertEqual(self.hive.links, [])

    def test_noMoreBands(self) -> None:
        """Once it has left it opens no more bands, and one that was about to open is cut off."""
        held = Held()
        cell = self.cell(held)
        self.ask(GET)
        leash = self.hive.links[0][0]
        self.hive.held = []
        leash.frameReceived(NeedBand(1))
        stopping = cell.stopService()
        self.pass_(1.0)
        self.assertEqual((len(self.hive.held), len(self.hive.links)), (1, 2))
        leash.frameReceived(NeedBand(1))
        self.assertEqual(len(self.hive.held), 1)
        [(factory, late)] = zip(self.hive.factories, self.hive.held)
        self.hive.held = None
        self.hive.connect(factory).chainDeferred(late)
        self.hive.flush()
        self.assertEqual(len(self.hive.links), 2)
        held.let(held[0])
        self.pass_(1.0)
        self.successResultOf(stopping)

    def test_early(self) -> None:
        """It may stop before it is in, whatever it waits for; who waits for it learns."""
        for name, value in (("refusing", True), ("silent", True), ("held", [])):
            hive = MemoryHive(self.clock, self.cells)
            setattr(hive, name, value)
            cell = Cell(Queen.at(hive), "key", "@/", hello, reactor=self.clock)
            self.failureResultOf(cell.whenReady(), LeashLost)
            cell.startService()
            ready = cell.whenReady()
            stopping = cell.stopService()
            hive.silent = False
            hive.flush()
            self.clock.advance(0)
            hive.flush()
            self.clock.pump([0.25] * 30)
            self.successResultOf(stopping)
            self.failureResultOf(ready, LeashLost)
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_again(self) -> None:
        """A cell that was stopped may start again."""
        cell = self.cell(hello)
        stopping = cell.stopService()
        self.pass_(2.0)
        self.successResultOf(stopping)
        cell.startService()
        self.hive.flush()
        self.successResultOf(cell.whenReady())


@implementer(IStreamClientEndpoint)
class PlainQueen:
    """A queen of the seed's authors: what she is told, and what a test has her say."""

    def __init__(self) -> None:
        self.connections: list[Any] = []

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """See L{IStreamClientEndpoint.connect}."""
        connection: Any = protocolFactory.buildProtocol(None)  # type: ignore[arg-type]
        self.connections.append(connection)
        connection.makeConnection(FrameTransport())
        return succeed(connection)

    def say(self, number: int, *frames: Frame | Body) -> None:
        """On one of the connections."""
        self.connections[number].dataReceived(written(*frames))

    def heard(self, number: int) -> list[Frame | Body]:
        """What was said there since the last time."""
        found: list[Frame | Body] = self.connections[number].transport.heard()
        return found

    def lose(self, number: int) -> None:
        """A connection is lost."""
        self.connections[number].connectionLost(Failure(ConnectionLost()))


class PlainQueenTests(SynchronousTestCase):
    """With a queen who knows no extensions."""

    def test_life(self) -> None:
        """She doesn't acknowledge mounts, and says less of requests; at the end she is told to unmount."""
        clock, queen = Clock(), PlainQueen()
        heads: list[RequestHead] = []

        def application(exchange: Exchange) -> None:
            heads.append(exchange.head)
            hello(exchange)

        cell = Cell(Queen.at(queen), "key", ["@/a/", "@/b/"], application, reactor=clock)
        cell.startService()
        self.assertEqual(queen.heard(0), [IAm(ConnectionKind.CELL, "", "key", 1)])
        queen.say(0, Accept("uuid", "band key"))
        self.successResultOf(cell.whenReady())
        self.assertEqual(queen.heard(0), [Mount("@", "/a/"), Mount("@", "/b/")])
        queen.say(0, NeedBand(1))
        self.assertEqual(queen.heard(1), [IAm(ConnectionKind.BAND, "uuid", "band key", 1)])
        queen.say(1, Accept("uuid", ""), RequestHead(method="GET", path="/x", query={"a": ("b",)}))
        self.assertEqual(target_of(heads[0]), "/x?a=b")
        self.assertEqual([type(one) for one in queen.heard(1)], [ResponseHead, ResponseBody, ResponseEnd])
        clock.advance(LOGIN + 100)
        self.assertFalse(queen.connections[1].transport.disconnected)
        stopping = cell.stopService()
        self.assertEqual(queen.heard(0), [Unmount()])
        clock.advance(LINGER)
        self.assertEqual([one.transport.disconnecting for one in queen.connections], [False, True])
        queen.lose(1)
        self.assertTrue(queen.connections[0].transport.disconnecting)
        queen.lose(0)
        self.successResultOf(stopping)
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_bandIsSlow(self) -> None:
        """A band that was about to open when the leash was lost is closed as soon as it does."""
        clock, queen = Clock(), PlainQueen()
        cell = Cell(Queen.at(queen), "key", "@/", hello, reactor=clock)
        cell.startService()
        queen.say(0, Accept("uuid", "band key"))
        opening: list[Any] = []
        connect = queen.connect

        def later(factory: Any) -> Deferred[Any]:
            opening.append((factory, Deferred(lambda _: None)))
            found: Deferred[Any] = opening[-1][1]
            return found

        self.patch(queen, "connect", later)
        queen.say(0, NeedBand(1))
        queen.lose(0)
        self.assertTrue(opening[0][1].called)  # it was cancelled
        stopping = cell.stopService()
        clock.advance(0)
        self.successResultOf(stopping)
        self.patch(queen, "connect", connect)
        self.assertEqual(clock.getDelayedCalls(), [])


class _Slow(CellApplication):
    def __init__(self) -> None:
        self.told: list[Any] = []
        self.starting: Deferred[None] = Deferred()

    def startApplication(self, reactor: Any, root: str) -> Deferred[None]:
        self.told.append(root)
        return self.starting

    def stopApplication(self) -> Deferred[None]:
        self.told.append("stop")
        return succeed(None)

    def __call__(self, exchange: Exchange) -> None:
        hello(exchange)


class ApplicationTests(MemoryCase):
    """What becomes of applications."""

    def test_life(self) -> None:
        """It begins before anything is mounted, and ends after everything was answered."""
        application = _Slow()
        cell = self.cell(application, "@/app/")
        self.assertEqual((application.told, self.hive.opened), (["/app"], 0))
        application.starting.callback(None)
        self.hive.flush()
        self.assertEqual(self.ask(GET).status, 200)
        stopping = cell.stopService()
        self.assertEqual(application.told, ["/app"])
        self.pass_(1.0)
        self.successResultOf(stopping)
        self.assertEqual(application.told, ["/app", "stop"])

    def test_doesNotStart(self) -> None:
        """When it does not start nothing is mounted, and who waits learns why."""
        application = _Slow()
        cell = self.cell(application)
        ready = cell.whenReady()
        application.starting.errback(ValueError("no"))
        self.failureResultOf(ready, ValueError)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.pass_(5.0)
        self.assertEqual(self.hive.opened, 0)

    def test_stopsWhileItStarts(self) -> None:
        """A cell may stop while its application starts."""
        application = _Slow()
        cell = self.cell(application)
        self.successResultOf(cell.stopService())
        self.assertEqual((application.told, application.starting.called), ([""], True))

    def test_fails(self) -> None:
        """An exception, a failed Deferred, a failed coroutine: logged, and 500."""

        async def coroutine(exchange: Exchange) -> None:
            raise ValueError("no")

        def failed(exchange: Exchange) -> Deferred[None]:
            return fail(ValueError("no"))

        def raises(exchange: Exchange) -> None:
            raise ValueError("no")

        for application in (raises, failed, coroutine):
            cell = self.cell(application)
            asked = self.ask(GET)
            self.assertEqual((asked.status, asked.received), (500, b"500 Internal Server Error\n"))
            self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
            self.end(cell)

    def test_unanswered(self) -> None:
        """A coroutine, or a Deferred, that is through without an answer: logged, and 500; before that it may wait."""
        waiting: Deferred[None] = Deferred()

        async def coroutine(exchange: Exchange) -> None:
            await waiting

        async def answers(exchange: Exchange) -> None:
            hello(exchange)

        cell = self.cell(coroutine)
        lines = logged(self)
        asked = self.ask(GET)
        self.assertIsNone(asked.response)
        waiting.callback(None)
        self.hive.flush()
        self.assertEqual((asked.status, "GET /x was not answered" in lines), (500, True))
        self.end(cell)
        self.cell(answers)
        self.assertEqual(self.ask(GET).status, 200)

    def test_failsLate(self) -> None:
        """When the response has begun the connection is cut off; when it has ended there is nothing to do."""

        def begun(exchange: Exchange) -> None:
            exchange.respond(200, {})
            exchange.write(b"half of")
            raise ValueError("no")

        def ended(exchange: Exchange) -> None:
            hello(exchange)
            raise ValueError("no")

        cell = self.cell(begun)
        asked = self.ask(GET)
        self.assertEqual((asked.end, asked.wasLost), (None, True))
        self.end(cell)
        self.cell(ended)
        self.assertEqual(self.ask(GET).received, b"hello\n")
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 2)

    def test_cancelled(self) -> None:
        """A coroutine that waits for the body of a lost client ends without a word, and sees that it is over."""
        seen: list[tuple[bool, bool]] = []

        async def application(exchange: Exchange) -> None:
            waiting = _Waiting()
            exchange.read(waiting)
            try:
                await waiting.done
            finally:
                seen.append((exchange.over, exchange.begun))

        self.cell(application)
        self.ask(head_of("POST", "/"), None)
        self.hive.lose(*self.hive.links[1], ConnectionLost())
        self.assertEqual(seen, [(True, False)])
        self.assertEqual(self.flushLoggedErrors(), [])


class _Waiting:
    """As the guide has it."""

    def __init__(self) -> None:
        self.done: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        """See L{hypermail.hive.exchanges.Reader}."""

    def bodyEnded(self, end: Any) -> None:
        """See L{hypermail.hive.exchanges.Reader}."""
        self.done.callback(None)

    def lost(self) -> None:
        """See L{hypermail.hive.exchanges.Reader}."""
        self.done.cancel()


class QueensTests(MemoryCase):
    """Several queens."""

    def named(self, *names: str) -> None:
        """What queens say of each other."""
        self.hives: dict[str, MemoryHive] = {}
        encode = Accept.encode

        def naming(accept: Accept) -> bytes:
            return encode(Accept(accept.uuid, accept.key, accept.extensions, names))

        self.patch(Accept, "encode", naming)

    def queen(self, name: str) -> Queen:
        """One of several."""
        hive = self.hives.setdefault(name, MemoryHive(self.clock, newCells(self.clock)))
        return Queen(name, lambda _: hive, lambda _: hive, lambda host, port: self.queen(f"{host}:{port}"))

    def flush(self) -> None:
        """All of them, also those that are named meanwhile."""
        for _ in range(2):
            for hive in list(self.hives.values()):
                hive.flush()

    def stop(self, cell: Cell) -> None:
        """... leave nothing."""
        stopping = cell.stopService()
        for _ in range(30):
            self.clock.advance(0.25)
            self.flush()
        self.successResultOf(stopping)

    def test_others(self) -> None:
        """A leash is kept to each queen that one has named, once; what is no address is passed over."""
        self.named("b.example:1", "c.example:2", "b.example:1", "nonsense", "d.example:0", "a.example:1")
        cell = self.cell(hello, queen=self.queen("a.example:1"))
        for _ in range(3):
            self.flush()
        self.assertEqual(sorted(self.hives), ["a.example:1", "b.example:1", "c.example:2"])
        self.assertEqual([len(hive.cells) for hive in self.hives.values()], [1, 1, 1])
        self.stop(cell)

    def test_most(self) -> None:
        """There are eight at most."""
        self.named(*(f"q{number}.example:1" for number in range(20)))
        cell = self.cell(hello, queen=self.queen("a.example:1"))
        self.flush()
        self.assertEqual(sum(len(hive.cells) > 0 for hive in self.hives.values()), MOST_QUEENS)
        self.stop(cell)

    def test_mostNames(self) -> None:
        """Names that are none are logged, but not however many there are."""
        logged = logged_by(self, LogLevel.warn)
        self.named(*("" for _ in range(1_000)))
        cell = self.cell(hello, queen=self.queen("a.example:1"))
        self.flush()
        self.assertEqual(len([line for line in logged if "names another one" in line]), MOST_NAMED)
        self.stop(cell)

    def test_forgotten(self) -> None:
        """One that was named and is not there is given up after some time; the first one never is."""
        self.named("b.example:1")
        cell = self.cell(hello, queen=self.queen("a.example:1"))
        self.flush()
        self.hives["b.example:1"].refusing = True
        self.hives["b.example:1"].loseAll()
        for _ in range(800):
            self.clock.advance(1)
            self.flush()
        self.assertEqual(list(cell._leashes), ["a.example:1"])
        self.hives["a.example:1"].refusing = True
        self.hives["a.example:1"].loseAll()
        for _ in range(800):
            self.clock.advance(1)
            self.flush()
        self.assertEqual(list(cell._leashes), ["a.example:1"])
        self.stop(cell)

    def test_noOthers(self) -> None:
        """Who connects in a way of his own keeps to his queen."""
        self.named("b.example:1")
        self.cell(hello)
        self.assertEqual(self.ask(GET).status, 200)
