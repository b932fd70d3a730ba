"""
Tests for L{hypermail.hive} as a whole: whatever clients, cells and networks do, no response is ever another request's.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from random import Random
from typing import Any

from twisted.internet.task import Clock, deferLater
from twisted.logger import LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from hypermail.hive.band import End
from hypermail.hive.cell.cell import Cell
from hypermail.hive.cell.leashing import LONGEST_PAUSE
from hypermail.hive.cell.queens import Queen
from hypermail.hive.entrance import Entrance
from hypermail.hive.exchanges import UNLIMITED, Exchange
from hypermail.hive.routing import Router
from hypermail.test.calls import RecordedCall
from hypermail.test.cells import newCells
from hypermail.test.tangle import Tangle

REQUESTS = 10_000
AT_ONCE = 24
#: s between two things that happen.
TICK = 0.0005
#: In which of so many steps a leash, or a band, is lost, the garden is looked after, a client is slow.
LEASH_LOST, BAND_LOST, PRUNED = 6_000, 900, 2_000

#: What cells do: without the body, with all of it, before all of it is there.
UNREAD = ("answer", "length", "nothing", "fail", "cut head", "cut response", "short", "late", "never")
READ = ("echo", "early", "early length", "early nothing", "little", "pausing", "cut body", "streamed")
#: Those that go on in another protocol: the cell agrees, or does not, before or after it has asked for what comes.
UPGRADES = ("upgrade", "declined", "declined late")
GOOD = ("answer", "length", "echo", "streamed", "upgrade")

#: What ends are cut off for: those that know no better, since a cell has ended a response that has not begun, and new
#: bands whose leash is lost. All others agree on where they are, however early a response has ended.
FAULTS = {
    "band, the cell's end: HEAD_RECEIVED is illegal in state ASKED",
    "band, the cell's end: HEAD_RECEIVED is illegal in state READ",
    "the response is shorter than it has said",
}
#: Violations that may be there, too: of a band that comes when its leash is lost.
TOO_LATE = {
    "the queen refuses a band: there is no such leash, or this is not its key",
    "there is no such leash, or this is not its key",
}


def said(number: str, size: int) -> bytes:
    """What is said about one request, and could not be about another."""
    word = f"<{number}>".encode()
    return (word * (size // len(word) + 1))[:size] + word


class Answering:
    """A cell's answer to one request: that which the request asks for."""

    def __init__(self, exchange: Exchange, chance: Random, clock: Clock, wrong: list[str]) -> None:
        headers = exchange.head.headers
        [self.number], [self.plan] = headers["x-number"], headers["x-plan"]
        self.exchange = exchange
        self.expected = said(self.number, int(headers["x-size"][0])) if "x-size" in headers else b""
        self.response = said(self.number, int(headers["x-answer"][0]))
        self.got = b""
        self.chance = chance
        self.clock = clock
        self.wrong = wrong

    def begin(self) -> Any:
        """Answer, or ask for the body first."""
        if self.plan in READ or self.plan in ("upgrade", "declined late"):
            self.exchange.read(self, 20 if self.plan == "little" else UNLIMITED)
            if self.plan == "streamed":
                self.exchange.respond(200, {"x-number": (self.number,)})
            elif self.plan == "upgrade":
                switch = {"connection": ("upgrade",), "upgrade": ("parrots",)}
                self.exchange.respond(101, {"x-number": (self.number,), **switch})
            elif self.plan == "declined late":
                self.answer()
            return None
        if self.plan == "fail":
            raise ArithmeticError(self.number)
        if self.plan == "nothing":
            self.nothing()
            return None
        if self.plan == "cut head":
            self.exchange.connection.abort()
            return None
        if self.plan == "late":
            return deferLater(self.clock, self.chance.random() / 10, self.answer)
        if self.plan != "never":
            self.answer()
        return None

    def nothing(self) -> None:
        """End a response that has no beginning, as faulty cells do; this end of the band does not know of it."""
        self.exchange.connection.send(bytes((0x3B,)))

    def answer(self) -> None:
        """Say what is to be said."""
        exchange = self.exchange
        if exchange.over:
            return
        length = {}
        if "length" in self.plan or self.plan == "short":
            length = {"content-length": (str(len(self.response) + (self.plan == "short")),)}
        exchange.respond(200, {"x-number": (self.number,), **length})
        middle = len(self.response) // 2
        exchange.write(self.response[:middle])
        if self.plan == "cut response":
            exchange.connection.abort()
            return
        exchange.write(self.response[middle:])
        exchange.end()

    def dataReceived(self, data: bytes) -> None:
        """See L{hypermail.hive.exchanges.Reader}."""
        self.got += data
        if not self.expected.startswith(self.got):
            self.wrong.append(f"{self.number} has got {self.got!r}")
        if self.plan in ("streamed", "upgrade"):
            self.exchange.write(data)
        elif self.plan == "early nothing":
            if self.got == data:
                self.nothing()
        elif self.plan.startswith("early"):
            self.answer()
        elif self.plan == "cut body":
            self.exchange.connection.abort()
        elif self.plan == "pausing":
            self.exchange.connection.pauseProducing()
            if self.chance.random() < 0.5:
                self.answer()
            else:
                self.clock.callLater(self.chance.random() / 20, self.go_on)

    def go_on(self) -> None:
        """Take the rest of the body."""
        if not self.exchange.over:
            self.exchange.connection.resumeProducing()

    def bodyEnded(self, end: End) -> None:
        """See L{hypermail.hive.exchanges.Reader}."""
        if self.got != self.expected:
            self.wrong.append(f"{self.number} has got {self.got!r}, and no more")
        if self.plan in ("streamed", "upgrade"):
            self.exchange.end()
        elif self.plan == "early nothing":
            if not self.got:
                self.nothing()
        else:
            self.answer()

    def lost(self) -> None:
        """See L{hypermail.hive.exchanges.Reader}."""


class Client:
    """
    One request of a client's.

    @ivar fate: when the client goes away, if it does.
    """

    def __init__(self, number: int, chance: Random, *, good: bool) -> None:
        self.number = str(number)
        self.plan = chance.choice(GOOD if good else UNREAD + READ + UPGRADES)
        self.fate = "" if good else chance.choice(("", "", "", "at once", "waiting", "within body", "within response"))
        if self.plan == "never":
            self.fate = "waiting"
        self.upgrade = self.plan in UPGRADES
        size: int | None = chance.choice((0, 5, 50, 500, 6_000))
        if not (self.plan in READ or self.plan == "upgrade" or (chance.random() < 0.3 and not self.upgrade)):
            size = None
        self.answer = chance.choice((0, 10, 300, 9_000))
        headers = {"host": ("localhost",), "x-number": (self.number,), "x-plan": (self.plan,)}
        headers["x-answer"] = (str(self.answer),)
        self.body = None if size is None else said(self.number, size)
        if size is not None:
            headers["x-size"] = (str(size),)
        if self.upgrade:
            headers |= {"connection": ("upgrade",), "upgrade": ("parrots",)}
        elif self.body is not None and chance.random() < 0.5:
            headers["content-length"] = (str(len(self.body)),)
        bodiless = self.upgrade or self.body is None
        method = "GET" if bodiless else chance.choice(("POST", "PUT"))
        self.call = RecordedCall(method, b"/", headers, None if bodiless else b"")
        self._chance = chance
        self._sent = 0
        self._finished = self.body is None
        self._slow: bytes | None = None  # what had come when it began
        self._steps = 0

    @property
    def expected(self) -> bytes:
        """The response's body, if it is the cell's."""
        if self.plan in ("streamed", "upgrade"):
            return self.body or b""
        return said(self.number, self.answer)

    def step(self) -> None:
        """The client does something."""
        self._steps += 1
        call, chance = self.call, self._chance
        if self._doomed():
            call.lose()
        elif self._slow is not None:
            assert call.body_written == self._slow, (self.number, "something has come although there is no room")
            self._slow = None
            call.ready()
        elif chance.random() < 0.05:
            call.slow()
            self._slow = call.body_written if call.responded else None
            if self._slow is None:
                call.ready()
        elif not self._finished and not call.paused and (call.upgraded or not self.upgrade):
            assert self.body is not None
            piece = self.body[self._sent : self._sent + chance.choice((1, 40, 3_000))]
            self._sent += len(piece)
            if piece:
                call.push(piece)
            if self._sent == len(self.body) and not call.over:
                self._finished = True
                call.finish()

    def _doomed(self) -> bool:
        if self.fate == "at once":
            return True
        if self.fate == "waiting":
            return self._steps > 5
        if self.fate == "within body":
            return self.body is not None and self._sent * 2 > len(self.body)
        return self.fate == "within response" and bool(self.call.body_written)

    def verdict(self) -> str:
        """
        What became of it, now that it is over.

        @raise AssertionError: when it has got what is another's, or not whole.
        """
        call = self.call
        got = call.body_written
        if call.status in (101, 200):
            assert call.upgraded == (call.status == 101)
            assert call.sent_headers["x-number"] == (self.number,), (self.number, call.sent_headers)
            assert self.expected.startswith(got), (self.number, self.plan, got)
            if call.ended:
                assert got == self.expected, (self.number, self.plan, got)
                return "answered"
        else:
            assert b"<" not in got, (self.number, got)
            assert "x-number" not in call.sent_headers
            if call.ended:
                return str(call.status)
        return "lost" if call.lost else "cut"


class DesynchronisedTests(SynchronousTestCase):
    """Two cells, a queen, many clients, and all of them unreliable."""

    def setUp(self) -> None:
        self.chance = Random(5)
        self.clock = Clock()
        self.cells = newCells(self.clock, age=1.0)
        self.tangle = Tangle(self.chance, Entrance(self.cells))
        self.finished = 0
        self.router = Router(self.cells, self.clock.seconds, lambda: datetime(2026, 1, 1, tzinfo=UTC), self.count)
        self.running: list[Client] = []
        self.wrong: list[str] = []
        self.verdicts: Counter[str] = Counter()
        self.said: set[str] = set()
        observer: Any = self.remember
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.made = [self.cell() for _ in range(2)]

    def remember(self, event: LogEvent) -> None:
        """What a band was cut off for."""
        if "reason" in event and "peer" in event:
            self.said.add(event["reason"])

    def count(self, *_: object) -> None:
        """A request is over, to the queen."""
        self.finished += 1

    def cell(self) -> Cell:
        """A cell, which comes back whenever it is lost."""
        queen = Queen.at(self.tangle)
        cell = Cell(queen, "key", "@/", self.serve, reactor=self.clock, chance=lambda: 0.0, drain=1.0)
        cell.startService()
        return cell

    def serve(self, exchange: Exchange) -> Any:
        """Answer a request."""
        return Answering(exchange, self.chance, self.clock, self.wrong).begin()

    def step(self) -> None:
        """Something happens."""
        self.clock.advance(TICK)
        self.tangle.step()
        if self.running:
            client = self.chance.choice(self.running)
            if not client.call.over and self.chance.random() < 0.3:
                client.step()
            if client.call.over:
                self.running.remove(client)
                self.verdicts[client.verdict()] += 1

    def harm(self) -> None:
        """Something bad happens, now and then."""
        members = list(self.cells)
        if not members:
            return
        member = self.chance.choice(members)
        if not self.chance.randrange(LEASH_LOST):
            member.connection.abort()
        if not self.chance.randrange(PRUNED):
            self.cells.prune()
        bands = [*member.garden._idle, *sorted(member.garden._busy, key=lambda band: band.connection.transport.number)]
        if bands and not self.chance.randrange(BAND_LOST):
            self.chance.choice(bands).connection.transport.other.abortConnection()

    def ask(self, number: int, *, good: bool = False) -> Client:
        """Make a request."""
        client = Client(number, self.chance, good=good)
        client.call.serve(self.router.serve)
        self.running.append(client)
        return client

    def pass_(self, steps: int) -> None:
        """Things happen until nothing runs."""
        for _ in range(steps):
            if not self.running:
                return
            self.step()
        self.fail(f"{len(self.running)} requests hang, as {self.running[0].plan}, {self.running[0].fate}")

    def test_manyRequests(self) -> None:
        """
        Of 10,000 requests, whose clients go away at any time, whose cells answer too early, too little or not at all,
        and whose bands and leashes are lost, each response is whose it should be, or there is none; in the end all is
        as in the beginning.
        """
        for number in range(REQUESTS):
            while len(self.running) >= AT_ONCE or (not len(self.cells) and self.chance.random() < 0.99):
                self.harm()
                self.step()
            self.ask(number)
        self.pass_(100_000)
        self.assertEqual(self.wrong, [])
        self.assertEqual((self.finished, self.router.running), (REQUESTS, 0))
        for wanted, least in (("answered", 3_000), ("lost", 1_000), ("cut", 200), ("413", 200), ("500", 200)):
            self.assertGreater(self.verdicts[wanted], least)
        self.assertEqual(set(self.verdicts) - {"answered", "lost", "cut"}, {"404", "413", "500", "502", "503"})
        self.assertEqual(self.said - TOO_LATE, FAULTS)
        self.recover()
        self.leave()

    def recover(self) -> None:
        """Everything is left alone, for as long as cells wait that have lost their queen; then all requests succeed."""
        for _ in range(int(LONGEST_PAUSE / TICK)):
            self.step()
        self.assertEqual([len(member.mounts) for member in self.cells], [1, 1])
        self.assertEqual([member.outstanding for member in self.cells], [0, 0])
        self.verdicts.clear()
        for number in range(REQUESTS, REQUESTS + 100):
            self.ask(number, good=True)
        self.pass_(100_000)
        self.assertEqual((self.verdicts, self.wrong), ({"answered": 100}, []))

    def leave(self) -> None:
        """The cells stop, and nothing is left."""
        stopping = [cell.stopService() for cell in self.made]
        for _ in range(20_000):
            self.step()
        for one in stopping:
            self.successResultOf(one)
        self.assertEqual((len(self.cells), self.cells.strange, self.tangle.open), (0, 0, 0))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        failures = self.flushLoggedErrors()
        self.assertEqual({failure.type for failure in failures}, {ArithmeticError})
