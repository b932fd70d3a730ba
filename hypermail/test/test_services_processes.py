"""
Tests of L{hypermail.services.processes}, short of real processes: these are in C{test_services_programs_workers.py}.
"""

from __future__ import annotations

import atexit
import errno
import json
import os
import signal
import socket
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.task import Clock
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import Logger, LogLevel, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from hypermail.errors import UsageError
from hypermail.internet.settings import ListenerSettings
from hypermail.services import ending
from hypermail.services.addresses import Listening
from hypermail.services.ending import CannotStart
from hypermail.services.listener import Doing
from hypermail.services.processes import counting
from hypermail.services.processes.counting import MOST, parse_workers
from hypermail.services.processes.life import ANSWERING, FIRST_PAUSE, LAST_PAUSE, LASTING, PATIENCE, WorkerLife
from hypermail.services.processes.orders import Orders
from hypermail.services.processes.overview import Overview
from hypermail.services.processes.service import FIRST, MODULE, WorkersService
from hypermail.services.processes.states import Life
from hypermail.services.processes.talk import Lines, heard, said, written
from hypermail.services.status import COUNTERS, SESSIONS
from hypermail.services.watching import checked, table


class CountingTests(SynchronousTestCase):
    """
    L{parse_workers}
    """

    def test_number(self) -> None:
        """A number is so many."""
        self.assertEqual([parse_workers(text) for text in ("1", "2", "064")], [1, 2, 64])

    def test_auto(self) -> None:
        """Otherwise one for each core that we may use, as far as these are not more than there can be."""
        self.assertEqual(parse_workers("auto"), len(os.sched_getaffinity(0)))
        for cores in (3, 1_000):
            with patch.object(os, "sched_getaffinity", lambda process, n=cores: range(n)):
                self.assertEqual(parse_workers("auto"), min(cores, MOST))
        with (
            patch.object(counting, "hasattr", lambda *_: False, create=True),
            patch.object(os, "cpu_count", lambda: None),
        ):
            self.assertEqual(parse_workers("auto"), 1)

    def test_wrong(self) -> None:
        """Everything else is none."""
        for text in ("", "0", "-1", "65", "2.0", "two", "AUTO", "1 ", "٣", "9" * 100):
            self.assertIn(f"{text!r} is no number of workers", self.assertRaises(UsageError, parse_workers, text).text)


class TalkTests(SynchronousTestCase):
    """
    L{Lines}, and what is on them
    """

    def test_pieces(self) -> None:
        """Lines are the same however they are cut."""
        whole = b"".join(said("look", number=number) for number in range(5))
        for size in (1, 2, 7, 30, 1_000):
            lines = Lines()
            found = [line for at in range(0, len(whole), size) for line in lines.feed(whole[at : at + size])]
            self.assertEqual([heard(line) for line in found], [("look", {"number": number}) for number in range(5)])
            self.assertEqual(lines.rest(), b"")

    def test_rest(self) -> None:
        """What has no end is there, once."""
        lines = Lines()
        self.assertEqual(lines.feed(b"a\nbc"), [b"a"])
        self.assertEqual((lines.rest(), lines.rest()), (b"bc", b""))

    def test_orders(self) -> None:
        """Orders are one line, whatever is in them, and their secret is not shown."""
        orders = Orders(
            worker=1,
            workers=2,
            arguments=["--inbox", "a\nb\udcff ü"],
            reactor="twisted.internet.pollreactor",
            secret="5ec7e7",
            sockets=[3, 4],
            inner=5,
            outer=[6, 7],
        )
        line = orders.encode()
        self.assertEqual((line.count(b"\n"), line[-1:]), (1, b"\n"))
        self.assertEqual(Orders.decode(line), orders)
        self.assertNotIn("5ec7e7", repr(orders))


class Process:
    """An L{IProcessTransport}: C{said} is what it was told, C{killed} how it was ended."""

    def __init__(self, pid: int, protocol: Any) -> None:
        self.pid = pid
        self.protocol = protocol
        self.said: list[Any] = []
        self.killed: list[int] = []
        self.over = False

    def write(self, data: bytes) -> None:
        self.said += [json.loads(line) for line in data.splitlines()]

    def signalProcess(self, number: int) -> None:
        if self.over:
            raise ProcessExitedAlready
        self.killed.append(number)

    def say(self, kind: str, **fields: Any) -> None:
        """The process says something."""
        self.protocol.outReceived(said(kind, **fields))

    def end(self, code: int | None = None, by: int | None = None) -> None:
        """It ends."""
        self.over = True
        error = ProcessDone(0) if code is by is None else ProcessTerminated(code, by)
        self.protocol.processEnded(Failure(error))


class ProcessReactor(Clock):
    """
    A reactor that starts processes, and none of them is real.

    @ivar processes: all of them.
    @ivar refuse: how many can not be started.
    @ivar started: with which arguments.
    """

    def __init__(self) -> None:
        super().__init__()
        self.processes: list[Process] = []
        self.refuse = 0
        self.started: list[tuple[Sequence[str], dict[str, Any]]] = []
        self.stopped = 0

    def spawnProcess(self, protocol: Any, executable: str, arguments: Sequence[str], **more: Any) -> Process:
        if self.refuse:
            self.refuse -= 1
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        self.started.append((arguments, more))
        process = Process(1_000 + len(self.processes), protocol)
        self.processes.append(process)
        protocol.makeConnection(process)
        return process

    def callWhenRunning(self, call: Any) -> None:
        call()

    def stop(self) -> None:
        self.stopped += 1


class ProcessCase(SynchronousTestCase):
    """Has a reactor, and the log."""

    def setUp(self) -> None:
        self.reactor: Any = ProcessReactor()
        self.observer: Any = EventLoggingObserver()
        globalLogPublisher.addObserver(self.observer)
        self.addCleanup(globalLogPublisher.removeObserver, self.observer)

    def log(self) -> list[str]:
        """The lines that were logged."""
        return [formatEvent(event) for event in self.observer]


class LifeTests(ProcessCase):
    """
    L{WorkerLife}
    """

    def setUp(self) -> None:
        super().setUp()
        self.ready: list[int] = []
        self.taken: list[str] = []
        self.deaths: list[tuple[str, bool]] = []
        owner: Any = self
        self.worker = WorkerLife(self.reactor, 1, b'["orders"]\n', self.spawn, owner)
        self.addCleanup(lambda: self.assertEqual(self.reactor.getDelayedCalls(), []))

    def spawn(self, worker: WorkerLife, protocol: Any) -> Any:
        return self.reactor.spawnProcess(protocol, "python", [])

    def workerReady(self, worker: WorkerLife) -> None:
        """See L{Owner}."""
        self.ready.append(worker.number)

    def workerDied(self, worker: WorkerLife, text: str, served: bool) -> None:
        """See L{Owner}."""
        self.deaths.append((text, served))

    def takeAway(self, worker: WorkerLife, transfer: str) -> Deferred[None]:
        """See L{Owner}."""
        self.taken.append(transfer)
        self.taking: Deferred[None] = Deferred()
        return self.taking

    def process(self) -> Process:
        """The latest."""
        found: Process = self.reactor.processes[-1]
        return found

    def serve(self) -> Process:
        """It is started, and listens."""
        self.worker.start()
        self.process().say("ready")
        return self.process()

    def finish(self) -> None:
        """It ends in order."""
        ending = self.worker.end()
        self.process().end()
        self.successResultOf(ending)

    def test_serves(self) -> None:
        """It is told its orders first, and serves when it says so."""
        self.worker.start()
        self.assertEqual(
            (self.worker.state, self.worker.pid, self.process().said), (Life.STARTING, 1_000, [["orders"]])
        )
        self.process().say("ready")
        self.assertEqual((self.worker.state, self.ready, self.worker.restarts), (Life.SERVING, [1], 0))
        self.finish()

    def test_ends(self) -> None:
        """It is told to end once, and is over when its process is; whoever asks later is told at once."""
        process = self.serve()
        first, second = self.worker.end(), self.worker.end()
        self.assertEqual(process.said[1:], [["end", {}]])
        self.assertNoResult(first)
        process.end()
        for fired in (first, second, self.worker.end()):
            self.successResultOf(fired)
        self.assertEqual((self.worker.state, self.deaths), (Life.OVER, []))

    def test_endsEarly(self) -> None:
        """It may say that it listens when it was told to end already; nobody is told so."""
        self.worker.start()
        ending = self.worker.end()
        self.process().say("ready")
        self.assertEqual((self.worker.state, self.ready), (Life.ENDING, []))
        self.process().end()
        self.successResultOf(ending)

    def test_killed(self) -> None:
        """Who does not end in time is made to; who has ended in that very moment is not."""
        for over in (False, True):
            process = self.serve()
            ending = self.worker.end()
            self.reactor.advance(PATIENCE - 0.1)
            self.assertEqual(process.killed, [])
            process.over = over
            self.reactor.advance(0.2)
            self.assertEqual(process.killed, [] if over else [signal.SIGKILL])
            self.assertIn("worker 1 (process", self.log()[-1])
            process.end(by=signal.SIGKILL)
            self.successResultOf(ending)
            self.worker.state = Life.WAITING  # as if it had never been

    def test_restart(self) -> None:
        """Whose process has ended gets another one at once, then later and later; unless that one has lasted."""
        self.serve()
        pauses = []
        for _ in range(12):
            self.process().end(by=signal.SIGKILL)
            before, since = len(self.reactor.processes), self.reactor.seconds()
            self.assertEqual((self.worker.state, self.worker.pid), (Life.WAITING, None))
            self.reactor.advance(0)
            while len(self.reactor.processes) == before:
                self.reactor.advance(FIRST_PAUSE / 4)
            pauses.append(self.reactor.seconds() - since)
            self.process().say("ready")
        self.assertEqual(pauses[:4], [0, FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE])
        self.assertEqual(pauses[-2:], [LAST_PAUSE, LAST_PAUSE])
        self.assertEqual((self.worker.restarts, self.deaths[0][1]), (12, True))
        self.assertIn("worker 1 (process 1000) was ended by signal 9 (Killed); another one starts now", self.log())
        self.reactor.advance(LASTING)
        self.process().end(code=3)
        self.assertEqual(self.log()[-1], "worker 1 (process 1012) has ended with code 3; another one starts now")
        self.reactor.advance(0)
        self.assertEqual(self.worker.state, Life.STARTING)
        self.finish()

    def test_endsWhileWaiting(self) -> None:
        """Who waits for its next process gets none any more."""
        self.serve().end()
        self.assertEqual(self.log()[-1], "worker 1 (process 1000) has ended; another one starts now")
        self.successResultOf(self.worker.end())
        self.reactor.advance(LAST_PAUSE)
        self.assertEqual(len(self.reactor.processes), 1)

    def test_cannotStart(self) -> None:
        """A process that the system does not start is one that has ended."""
        self.reactor.refuse = 2
        self.worker.start()
        self.assertEqual(self.deaths, [("worker 1 could not be started: Resource temporarily unavailable", False)])
        self.reactor.advance(0)
        self.reactor.advance(FIRST_PAUSE)
        self.assertEqual((self.worker.state, len(self.deaths)), (Life.STARTING, 2))
        self.finish()

    def test_refuses(self) -> None:
        """One that says why it cannot start is believed."""
        self.worker.start()
        self.process().say("failed", text="there is no such thing")
        self.process().end(code=1)
        self.assertEqual(self.deaths, [("there is no such thing", False)])
        self.successResultOf(self.worker.end())

    def test_log(self) -> None:
        """What it logs is in our log, as it was, and with its number; failures, too."""
        process = self.serve()
        theirs: list[Any] = []
        observer: Any = theirs.append
        log = Logger(namespace="some.where", observer=observer)
        log.warn("so {much} of {it!r}", much=3, it=b"x")
        log.failure("this went wrong", Failure(ValueError("no good")))
        theirs.append({"log_system": "-", "log_format": "old", "log_time": 0.0})
        for event in theirs:
            process.say("log", event=written(event))
        ours = list(self.observer)[-3:]
        self.assertEqual(formatEvent(ours[0]), "so 3 of b'x'")
        self.assertTrue(formatEvent(ours[1]).startswith("this went wrong\nTraceback"))
        self.assertTrue(formatEvent(ours[1]).endswith("ValueError: no good"))
        self.assertEqual(formatEvent(ours[2]), "old")
        systems = ["some.where#warn", "some.where#critical", "-"]
        self.assertEqual([event["log_system"] for event in ours], [f"worker 1: {system}" for system in systems])
        self.assertEqual(ours[1]["log_level"], LogLevel.critical)
        self.finish()

    def test_complaints(self) -> None:
        """What it writes on its standard error is logged line by line, also what has no end."""
        process = self.serve()
        process.protocol.errReceived(b"one\ntw")
        process.protocol.errReceived(b"o\x1b\nthree")
        process.end()
        self.assertEqual(self.log()[-4:-1], ["worker 1: one", "worker 1: two\\x1b", "worker 1: three"])
        self.successResultOf(self.worker.end())

    def test_look(self) -> None:
        """Who asks for its status is told that one, and nothing when there is none in time."""
        self.assertIsNone(self.successResultOf(self.worker.ask("look")))
        process = self.serve()
        first, second = self.worker.ask("look"), self.worker.ask("look")
        numbers = [fields["number"] for kind, fields in process.said[1:]]
        process.say("answer", number=numbers[1], value={"a": 2})
        self.assertEqual(self.successResultOf(second), {"a": 2})
        self.reactor.advance(ANSWERING)
        self.assertIsNone(self.successResultOf(first))
        process.say("answer", number=numbers[0], value={"a": 1})  # too late
        third = self.worker.ask("look")
        process.end(code=1)
        self.assertIsNone(self.successResultOf(third))
        self.successResultOf(self.worker.end())

    def test_takes(self) -> None:
        """What it wants the others to leave its owner is told, and it when they have."""
        process = self.serve()
        process.say("take", number=5, transfer="a name")
        self.assertEqual((self.taken, process.said[1:]), (["a name"], []))
        self.taking.callback(None)
        self.assertEqual(process.said[1:], [["taken", {"number": 5}]])
        self.finish()

    def test_reload(self) -> None:
        """It is told to read again; when it has no process there is nobody to tell."""
        self.worker.reload()
        process = self.serve()
        self.worker.reload()
        self.assertEqual(process.said[1:], [["reload", {}]])
        self.finish()


class FakeWorker:
    """The part of L{WorkerLife} that is looked at."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.state = Life.SERVING
        self.pid: int | None = 100 + number
        self.restarts = 0
        self.snapshot: dict[str, Any] | None = None

    def ask(self, kind: str) -> Deferred[Any]:
        looking: Deferred[Any] = Deferred()
        looking.callback(self.snapshot)
        return looking


def snapshot(*ages: float, **totals: int) -> dict[str, Any]:
    """What a worker tells."""
    sessions = [{"age": age, "address": str(age)} for age in ages]
    counts = {**dict.fromkeys((*SESSIONS, *COUNTERS), 0), "sessions_open": len(ages), **totals}
    return {"program": {}, "totals": counts, "rates": {}, "sessions": sessions}


class OverviewTests(SynchronousTestCase):
    """
    L{Overview}
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.workers = [FakeWorker(0), FakeWorker(1)]
        self.overview = Overview(self.clock.seconds, lambda: datetime(2026, 11, 21, tzinfo=UTC))
        self.overview.begin([], cast(Any, self.workers))

    def look(self) -> dict[str, Any]:
        """One look."""
        found: dict[str, Any] = self.successResultOf(self.overview.snapshot())
        return found

    def test_together(self) -> None:
        """What they have counted is added; sessions are there with their worker, the oldest first."""
        first, second = self.workers
        first.snapshot = snapshot(5, 1, bytes_sent=1_000, sessions_opened=2)
        second.snapshot = snapshot(3, bytes_sent=20, sessions_opened=1)
        self.clock.advance(10)
        found = self.look()
        self.assertEqual([(each["age"], each["worker"]) for each in found["sessions"]], [(5, 0), (3, 1), (1, 0)])
        self.assertEqual((found["totals"]["bytes_sent"], found["totals"]["sessions_open"]), (1_020, 3))
        self.assertEqual(found["rates"]["bytes_sent"], 102.0)
        self.assertEqual(found["program"]["uptime"], 10)
        expected = {"worker": 1, "state": "serving", "pid": 101, "restarts": 0, "sessions_open": 1}
        self.assertEqual(found["program"]["workers"][1], expected)
        self.assertEqual(set(found["totals"]), {*SESSIONS, *COUNTERS})

    def test_restarted(self) -> None:
        """Nothing that was counted is forgotten with a process; the sessions that it had are lost."""
        worker = self.workers[1]
        self.workers[0].snapshot = snapshot()
        worker.snapshot = snapshot(5, 1, sessions_opened=7, bytes_sent=100)
        self.look()
        worker.snapshot, worker.pid, worker.state = None, None, Life.WAITING
        for _ in range(2):
            found = self.look()
            self.assertEqual(found["totals"]["sessions_lost"], 2)
            self.assertEqual(found["totals"]["sessions_open"], 0)
            self.assertEqual((found["totals"]["sessions_opened"], found["totals"]["bytes_sent"]), (7, 100))
            self.assertEqual(found["program"]["workers"][1]["sessions_open"], None)
        worker.snapshot, worker.pid, worker.state = snapshot(1, sessions_opened=1, bytes_sent=5), 200, Life.SERVING
        found = self.look()
        names = ("sessions_opened", "sessions_lost", "sessions_open", "bytes_sent")
        self.assertEqual([found["totals"][name] for name in names], [8, 2, 1, 105])

    def test_silent(self) -> None:
        """One that does not tell in time is as it was when it did last."""
        worker = self.workers[1]
        worker.snapshot = snapshot(5, bytes_sent=100)
        self.look()
        worker.snapshot = None
        found = self.look()
        self.assertEqual((found["totals"]["bytes_sent"], found["totals"]["sessions_open"]), (100, 1))
        self.assertEqual(found["sessions"], [])

    def test_none(self) -> None:
        """Before there are workers there is nothing to tell, and that is told."""
        overview = Overview(self.clock.seconds, lambda: datetime(2026, 11, 21, tzinfo=UTC))
        found: Any = self.successResultOf(overview.snapshot())
        self.assertEqual((found["program"]["workers"], found["sessions"]), ([], []))
        self.assertEqual(list(table(checked(found)))[1:], [])


class ServiceTests(ProcessCase):
    """
    L{WorkersService}: real sockets, no process.
    """

    if sys.platform != "linux":
        skip = "workers need Linux"

    def setUp(self) -> None:
        super().setUp()
        self.here = Path(self.mktemp())
        self.here.mkdir()
        self.service: WorkersService | None = None
        self.addCleanup(self.stop)

    def start(self, *, start: bool = True, **doing: Any) -> WorkersService:
        """A service in mode plain."""
        settings = {"listening": Listening(0, "127.0.0.1"), "settings": ListenerSettings(plain=True), **doing}
        service = self.service = WorkersService(self.reactor, Doing(**settings), 2, ["--plain"])
        if start:
            service.startService()
        return service

    def stop(self) -> None:
        """All processes end when they are told to."""
        if self.service is not None:
            stopping = self.service.stopService()
            for process in self.reactor.processes:
                if not process.over:
                    self.assertEqual(process.said[-1], ["end", {}])
                    process.end()
            self.successResultOf(stopping)

    def refusal(self, **doing: Any) -> str:
        """Why a service cannot start."""
        service = self.start(start=False, **doing)
        text: str = self.assertRaises(CannotStart, service.startService).text
        self.assertEqual(self.log()[-1], text)
        return text

    def orders(self, number: int) -> Orders:
        """What a process was told first."""
        return Orders(**self.reactor.processes[number].said[0])

    def test_handedOver(self) -> None:
        """Each process has the options, its sockets, its door and those of the others; the secret is all theirs."""
        self.start()
        first, second = self.orders(0), self.orders(1)
        self.assertEqual(
            [(each.worker, each.workers, each.arguments) for each in (first, second)],
            [(0, 2, ["--plain"]), (1, 2, ["--plain"])],
        )
        self.assertEqual((first.reactor, first.secret == second.secret), (type(self.reactor).__module__, True))
        self.assertEqual(len(bytes.fromhex(first.secret)), 32)
        service = self.service
        assert service is not None and service._sockets is not None
        for orders, (arguments, more), number in zip((first, second), self.reactor.started, (0, 1), strict=True):
            self.assertEqual(arguments, [sys.executable, "-m", MODULE, str(number)])
            self.assertEqual({name: more["childFDs"][name] for name in range(FIRST)}, {0: "w", 1: "r", 2: "r"})
            handed = [more["childFDs"][descriptor] for descriptor in (*orders.sockets, orders.inner, *orders.outer)]
            ours = [*service._sockets.shares[number], service._doors[number][0], *(door[1] for door in service._doors)]
            self.assertEqual(handed, [each.fileno() for each in ours])
            self.assertEqual(len(more["childFDs"]), FIRST + len(handed))
            self.assertNotIn(orders.secret, " ".join([*arguments, *more["env"].values()]))
            self.assertTrue(all(os.path.isabs(entry) for entry in more["env"]["PYTHONPATH"].split(os.pathsep)))

    def test_said(self) -> None:
        """What the listener does is said once, and when a worker serves."""
        self.start(echo=True, status=None)
        self.reactor.processes[1].say("ready")
        log = self.log()
        (line,) = [line for line in log if line.startswith("listening on 127.0.0.1:")]
        self.assertTrue(line.endswith(" in mode plain, for this machine only"))
        self.assertEqual(
            [log.count(each) for each in ("everything is sent back", "2 workers share the sessions")], [1, 1]
        )
        self.assertEqual(log[-1], "worker 1 (process 1001) serves")

    def test_firstStart(self) -> None:
        """When one cannot even begin the program ends, and says why, once; the others are told to end."""
        said: list[str] = []
        self.patch(ending, "_say", said.append)
        self.patch(atexit, "register", lambda call: None)
        self.start()
        self.reactor.processes[0].say("ready")
        for process in self.reactor.processes[1:]:
            process.say("failed", text="no such thing")
            process.end(code=1)
        self.assertEqual((said, self.reactor.stopped), (["no such thing"], 1))
        self.reactor.processes[0].end(code=1)
        self.assertEqual(self.reactor.stopped, 1)

    def test_takeAway(self) -> None:
        """What one worker carries all others leave, as far as there are any; then it is told so."""
        self.start()
        first, second = self.reactor.processes
        first.say("ready")
        first.say("take", number=1, transfer="a")
        self.assertEqual(first.said[1:], [["taken", {"number": 1}]])
        second.say("ready")
        first.say("take", number=2, transfer="b")
        (asked,) = second.said[1:]
        self.assertEqual((asked[0], asked[1]["transfer"], len(first.said)), ("leave", "b", 2))
        second.say("answer", number=asked[1]["number"], value=None)
        self.assertEqual(first.said[2:], [["taken", {"number": 2}]])

    def test_laterStart(self) -> None:
        """When one cannot start again, it is tried again; the others serve on."""
        self.start()
        for process in self.reactor.processes[:]:
            process.say("ready")
        for _ in range(3):
            self.reactor.processes[-1].end(code=1)
            self.reactor.advance(LAST_PAUSE)
        self.assertEqual((self.reactor.stopped, len(self.reactor.processes)), (0, 5))
        self.assertFalse(self.reactor.processes[0].over)

    def test_stopped(self) -> None:
        """The sockets stay open until the last process is gone, and no longer; it may be started again."""
        service = self.start()
        port = service._sockets.getHosts()[0].port if service._sockets is not None else 0
        stopping = service.stopService()
        self.reactor.processes[0].end()
        self.assertFalse(self.free(port))
        self.assertNoResult(stopping)
        self.reactor.processes[1].end()
        self.successResultOf(stopping)
        self.assertTrue(self.free(port))
        service.startService()
        self.assertEqual(len(self.reactor.processes), 4)

    def free(self, port: int) -> bool:
        """Whether nobody listens there."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as trying:
            try:
                trying.bind(("127.0.0.1", port))
            except OSError:
                return False
            return True

    def test_privileged(self) -> None:
        """The sockets are bound while there are privileges, and only then; all else is done without."""
        service = self.start(start=False)
        service.privilegedStartService()
        sockets = service._sockets
        self.assertEqual(self.reactor.processes, [])
        service.startService()
        self.assertIs(service._sockets, sockets)

    def test_cannotStart(self) -> None:
        """What none of them could do is one line, before any is started."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
            text = self.refusal(listening=Listening(port, "127.0.0.1"))
        self.assertEqual(text, f"cannot listen on UDP port {port} of 127.0.0.1: Address already in use")
        self.assertIn("does not listen on 0.0.0.0", self.refusal(listening=Listening(0, "0.0.0.0")))
        self.assertIn("the inbox '/dev/null' cannot be used", self.refusal(inbox="/dev/null"))
        self.assertIn("/dev/null", self.refusal(settings=ListenerSettings(identity="/dev/null")))
        self.assertEqual(self.reactor.processes, [])

    def test_reload(self) -> None:
        """Identity and trust are looked at first: what cannot be read does not reach the workers."""
        secret = self.here / "secret"
        settings = ListenerSettings(secretFile=str(secret), state=str(self.here))
        self.start(start=False, settings=settings).reload()
        secret.write_bytes(b"s" * 32)
        secret.chmod(0o600)
        service = self.start(settings=settings)
        service.reload()
        secret.write_bytes(b"short")
        service.reload()
        self.assertIn("identity and trust stay as they were", self.log()[-1])
        self.assertEqual([process.said[1:] for process in self.reactor.processes], [[["reload", {}]]] * 2)

    def test_stores(self) -> None:
        """Stores of another number of workers have to be usable, wherever they are, before any worker is started."""
        secret = self.here / "secret"
        secret.write_bytes(b"s" * 32)
        secret.chmod(0o600)
        directory = self.here / "hypermail"
        directory.mkdir()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        (directory / f"sessions-{port}-127.0.0.1.db").write_bytes(b"no store at all " * 1_000)
        listening = Listening(port, "127.0.0.1")
        for state in (str(directory), None):
            with patch.dict(os.environ, {"XDG_STATE_HOME": str(self.here.absolute())}):
                text = self.refusal(listening=listening, settings=ListenerSettings(secretFile=str(secret), state=state))
            self.assertIn("is no store of hypermail's", text)
            self.stop()
