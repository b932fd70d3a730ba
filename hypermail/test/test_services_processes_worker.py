"""
Tests of L{hypermail.services.processes.worker}, within this process: real sockets, a parent that is none.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFDSet
from twisted.internet.task import deferLater
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from hypermail import Plain, SessionClientEndpoint, SessionFactory, SessionProtocol
from hypermail.internet.steering import openSteered
from hypermail.internet.strays import openDoors
from hypermail.services.processes.orders import Orders
from hypermail.services.processes.talk import readBack, said
from hypermail.services.processes.worker import Talk, WorkerProgram, firstLine, withdrawn

if sys.platform != "linux" or not IReactorFDSet.providedBy(reactor):
    skip = "workers need Linux, and a reactor that watches file descriptors"


class Pipe(StringTransport):
    """To the parent, who reads everything."""

    def said(self) -> list[Any]:
        """What it has read since it was asked before."""
        found = [json.loads(line) for line in self.value().splitlines()]
        self.clear()
        return [each for each in found if each[0] != "log"]


class PipesTests(SynchronousTestCase):
    """Standard input and output."""

    def pipe(self) -> tuple[int, int]:
        """The two ends."""
        ends = os.pipe()
        for end in ends:
            self.addCleanup(os.close, end)
        return ends

    def test_firstLine(self) -> None:
        """The first line is read, and what has come behind it is not lost; without one there is nothing."""
        inside, outside = self.pipe()
        os.write(outside, b"orders\nmore\nand")
        self.assertEqual(firstLine(inside), (b"orders", b"more\nand"))
        inside, outside = os.pipe()
        self.addCleanup(os.close, inside)
        os.write(outside, b"no end")
        os.close(outside)
        self.assertEqual(firstLine(inside), (b"", b""))

    def test_withdrawn(self) -> None:
        """Who prints by accident does not print to the parent."""
        inside, outside = self.pipe()
        other, error = self.pipe()
        saved = os.dup(2)
        self.addCleanup(os.close, saved)
        os.dup2(error, 2)
        try:
            moved = withdrawn(outside)
        finally:
            os.dup2(saved, 2)
        self.addCleanup(os.close, moved)
        os.write(outside, b"by accident")
        os.write(moved, b"to the parent")
        self.assertEqual((os.read(inside, 100), os.read(other, 100)), (b"to the parent", b"by accident"))


class TalkTests(SynchronousTestCase):
    """
    L{Talk}
    """

    def setUp(self) -> None:
        self.told: list[Any] = []
        self.gone = 0
        self.talk = Talk(lambda kind, fields: self.told.append((kind, fields)), self.goes)
        self.pipe = Pipe()

    def goes(self) -> None:
        """The parent is gone."""
        self.gone += 1

    def test_both(self) -> None:
        """What the parent says is told, what is said it reads; before it is there nobody does."""
        self.talk.say("ready")
        self.talk.makeConnection(self.pipe)
        self.talk.dataReceived(said("look", number=1) + b'["rel')
        self.talk.dataReceived(b'oad", {}]\n')
        self.assertEqual(self.told, [("look", {"number": 1}), ("reload", {})])
        self.talk.say("answer", number=1, value=None)
        self.assertEqual(self.pipe.said(), [["answer", {"number": 1, "value": None}]])

    def test_gone(self) -> None:
        """When it is gone that is told, and nothing is waited for."""
        self.talk.makeConnection(self.pipe)
        self.talk.connectionLost()
        self.assertEqual((self.gone, self.talk.finish(reactor)), (1, None))

    def test_finished(self) -> None:
        """Who has said everything waits until it was read; that this ends the pipe is no news."""
        self.talk.makeConnection(self.pipe)
        finishing = self.talk.finish(reactor)
        assert finishing is not None
        self.assertTrue(self.pipe.disconnecting)
        self.assertNoResult(finishing)
        self.talk.connectionLost()
        self.successResultOf(finishing)
        self.assertEqual(self.gone, 0)


class Loop:
    """The reactor, which does not stop."""

    def __init__(self) -> None:
        self.stopped = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(reactor, name)

    def callWhenRunning(self, call: Any) -> None:
        call()

    def stop(self) -> None:
        self.stopped += 1


class ProgramTests(TestCase):
    """
    L{WorkerProgram}
    """

    timeout = 60

    def setUp(self) -> None:
        self.addCleanup(signal.signal, signal.SIGTERM, signal.getsignal(signal.SIGTERM))
        self.loop = Loop()
        self.pipe = Pipe()
        self.port = 0

    def begin(self, *arguments: str) -> WorkerProgram:
        """The first of two workers, in mode plain."""
        sockets, doors = openSteered(0, ("127.0.0.1",), 2), openDoors(2)
        self.addCleanup(sockets.close)
        for sides in doors:
            for side in sides:
                self.addCleanup(side.close)
        self.port = sockets.getHosts()[0].port
        orders = Orders(
            worker=0,
            workers=2,
            arguments=["--plain", *arguments],
            reactor="",
            secret="5e" * 32,
            sockets=[os.dup(bound.fileno()) for bound in sockets.shares[0]],
            inner=os.dup(doors[0][0].fileno()),
            outer=[os.dup(outer.fileno()) for _, outer in doors],
        )
        program = WorkerProgram(self.loop, orders)
        program.talk = Talk(program.hear, program.stop)
        program.talk.makeConnection(self.pipe)
        self.addCleanup(self.end, program)
        program.begin()
        return program

    async def end(self, program: WorkerProgram) -> None:
        """It ends, when the parent has read everything."""
        ending = program.end()
        while not self.pipe.disconnecting and not ending.called:
            await later()
        program.talk.connectionLost()
        await ending

    async def test_serves(self) -> None:
        """It says when it listens, and how it is when it is asked; without C{--status-port} nobody does that."""
        program = self.begin("--echo", "--status-port", "0")
        self.assertEqual(self.pipe.said(), [["ready", {}]])
        endpoint = SessionClientEndpoint(
            reactor, "127.0.0.1", self.port, security=Plain(), randomBytes=lambda count: b"\0" + os.urandom(count)[1:]
        )
        protocol: Any = await endpoint.connect(SessionFactory.forProtocol(SessionProtocol))
        program.hear("look", {"number": 7})
        ((kind, fields),) = self.pipe.said()
        self.assertEqual((kind, fields["number"], len(fields["value"]["sessions"])), ("answer", 7, 1))
        await protocol.session.close()

    async def test_inbox(self) -> None:
        """What another worker carries it leaves, and asks for what it wants to carry itself."""
        program = self.begin("--inbox", self.mktemp())
        self.assertEqual(self.pipe.said(), [["ready", {}]])
        program.hear("look", {"number": 1})
        program.hear("leave", {"number": 2, "transfer": "unknown"})
        expected = [["answer", {"number": number, "value": None}] for number in (1, 2)]
        self.assertEqual(self.pipe.said(), expected)
        taking = program._takeAway("mine")
        self.assertEqual(self.pipe.said(), [["take", {"number": 1, "transfer": "mine"}]])
        self.assertNoResult(taking)
        program.hear("taken", {"number": 1})
        self.successResultOf(taking)

    async def test_told(self) -> None:
        """It ends when the parent says so, or is gone, or somebody sends a SIGTERM; once."""
        program = self.begin()
        program.hear("reload", {})
        program.hear("end", {})
        program.hear("end", {})
        os.kill(os.getpid(), signal.SIGTERM)
        await later()
        program.talk.connectionLost(Failure(ConnectionError()))
        self.assertEqual((self.loop.stopped, program.code), (1, 0))

    async def test_signal(self) -> None:
        """A SIGTERM alone is enough."""
        self.begin()
        os.kill(os.getpid(), signal.SIGTERM)
        while not self.loop.stopped:
            await later()

    async def test_cannotStart(self) -> None:
        """It says why, and ends with code 1."""
        for arguments, text in (
            (["--inbox", "/dev/null"], "the inbox '/dev/null' cannot be used"),
            (["--forward", "nothing:1"], "--forward"),
            (["--nonsense"], "worker 0 cannot start: option --nonsense not recognized"),
        ):
            self.loop.stopped = 0
            program = self.begin(*arguments)
            ((kind, fields),) = self.pipe.said()
            self.assertEqual((kind, program.code, self.loop.stopped), ("failed", 1, 1))
            self.assertIn(text, fields["text"])
            self.flushLoggedErrors()

    async def test_log(self) -> None:
        """What it logs the parent reads."""
        program = self.begin()
        self.pipe.clear()
        program.log({"log_format": "{a}", "a": 1, "log_namespace": "n"})
        kind, fields = json.loads(self.pipe.value())
        self.assertEqual((kind, readBack(fields["event"], "worker 0")["log_system"]), ("log", "worker 0: n#info"))


def later() -> Deferred[None]:
    """After another turn of the reactor."""
    loop: Any = reactor
    return deferLater(loop, 0.001)
