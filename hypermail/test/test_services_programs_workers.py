"""
Tests of C{twistd hypermail --workers N}: real processes over loopback, some of which are killed.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import SkipTest, TestCase

from hypermail import (
    Options,
    Plain,
    SessionClientEndpoint,
    SessionFactory,
    SessionProtocol,
    StarterTLS,
    openStore,
)
from hypermail.internet.steering import openSteered
from hypermail.services.addresses import Destination
from hypermail.services.watching import look
from hypermail.test.services import (
    PATIENCE,
    TWIST,
    TWISTD,
    ListenerProcess,
    command,
    program,
    tree,
)
from hypermail.test.test_services_programs_kills import OutboxProcess

OPTIONS = Options(ping_interval=1.0)
LANE = 1


class Noticing(SessionProtocol):
    """
    Remembers what becomes of its session.

    @ivar noticed: what it was told.
    """

    def __init__(self) -> None:
        self.noticed: list[str] = []
        self.received: list[bytes] = []

    def messageReceived(self, message: bytes) -> None:
        self.received.append(message)

    def sessionSuspended(self, reason: Failure) -> None:
        self.noticed.append("suspended")

    def sessionResumed(self) -> None:
        self.noticed.append("resumed")

    def sessionLost(self, reason: Failure) -> None:
        self.noticed.append(f"lost: {reason.getErrorMessage()}")


class WorkersListener(ListenerProcess):
    """
    A listener with workers.

    @ivar pids: of their processes, by number.
    @ivar status: where it tells its status.
    """

    def __init__(self, directory: Path, workers: int, *options: str, **popen: Any) -> None:
        self._count = workers
        super().__init__(directory, "--workers", str(workers), "--status-port", "0", *options, **popen)

    def started(self) -> None:
        """Read the log until all serve."""
        super().started()
        self.pids: dict[int, int] = {}
        while len(self.pids) < self._count:
            self.serves()
        found = next(match for line in self.log if (match := re.search(r"status at http://(\S+):(\d+)/", line)))
        self.status = Destination(found[1], int(found[2]))

    def serves(self) -> int:
        """Read the log until the next one serves: its number."""
        found = self.expect(r"worker (\d+) \(process (\d+)\) serves")
        self.pids[int(found[1])] = int(found[2])
        return int(found[1])

    def look(self) -> dict[str, Any]:
        """What it tells of itself."""
        return look(self.status)


def running(pid: int) -> bool:
    """Whether there is a process that has not ended, be it that nobody has asked how."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


class WorkersCase(TestCase):
    """A directory to run programs in, and sessions of this process."""

    timeout = 2 * PATIENCE

    def setUp(self) -> None:
        try:
            openSteered(0, ("127.0.0.1",), 2).close()
        except Exception as error:
            raise SkipTest(f"there are no workers here: {error}") from error
        self.here = Path(self.mktemp())
        self.here.mkdir()

    def listen(self, workers: int, *options: str, port: str = "udp:0:interface=127.0.0.1") -> WorkersListener:
        """Start a listener, which is stopped after the test."""
        listener = WorkersListener(self.here, workers, *options, port=port)
        self.addCleanup(listener.stop)
        self.where = f"127.0.0.1:{listener.port}"
        return listener

    async def open(self, listener: ListenerProcess, **settings: Any) -> Noticing:
        """A session of this process."""
        security = StarterTLS(pin=listener.pin) if listener.pin else Plain()
        settings = {"port": listener.port, "security": security, "options": OPTIONS, **settings}
        endpoint = SessionClientEndpoint(reactor, "127.0.0.1", **settings)
        factory = SessionFactory.forProtocol(Noticing)
        factory.noisy = False
        protocol: Any = await endpoint.connect(factory)
        return protocol  # type: ignore[no-any-return]

    async def until(self, what: str, ready: Any) -> None:
        """Wait until something is so."""
        for _ in range(int(PATIENCE / 0.02)):
            if ready():
                return
            await deferLater(reactor, 0.02)
        self.fail(what)


class SharingTests(WorkersCase):
    """Sessions are spread over workers, and stay there."""

    async def test_spread(self) -> None:
        """The sessions of one starter are spread evenly, and C{hypermail status} tells how."""
        listener = self.listen(2, "--plain", "--echo")
        protocols = [await self.open(listener) for _ in range(40)]
        for protocol in protocols:
            await protocol.session.sendMessage(b"hello")
        await self.until("echo", lambda: all(protocol.received for protocol in protocols))
        found = listener.look()
        counts = Counter(session["worker"] for session in found["sessions"])
        workers = found["program"]["workers"]
        self.assertEqual([(each["worker"], each["pid"]) for each in workers], sorted(listener.pids.items()))
        self.assertEqual([each["sessions_open"] for each in workers], [counts[0], counts[1]])
        # By chance it is farther from 20 once in 100,000 times.
        self.assertEqual((counts.total(), min(counts.values()) > 5), (40, True), counts)
        self.assertEqual(found["totals"]["messages_received"], 40)
        done = command(self.here, "status", str(listener.status))
        self.assertIn(f"\nworker 0 has {counts[0]} sessions, worker 1 has {counts[1]} sessions\n", done.stdout)
        await gatherResults([protocol.session.close() for protocol in protocols])
        self.assertEqual(listener.look()["totals"]["sessions_closed"], 40)

    async def test_moved(self) -> None:
        """A starter whose address has become another one keeps its worker."""
        listener = self.listen(2, "--plain", "--echo")
        relays = [Relay(listener.port) for _ in range(6)]
        protocols = []
        for relay in relays:
            port = reactor.listenUDP(0, relay, interface="127.0.0.1")  # type: ignore[attr-defined]
            self.addCleanup(port.stopListening)
            relay.goElsewhere()
            protocols.append(await self.open(listener, port=port.getHost().port))

        def workers() -> dict[str, tuple[int, int]]:
            sessions = listener.look()["sessions"]
            return {session["id"]: (session["worker"], session["moves"]) for session in sessions}

        before = workers()
        for number in range(1, 4):
            for relay in relays:
                relay.goElsewhere()
            for protocol in protocols:
                await protocol.session.sendMessage(b"%d" % number)
        after = workers()
        self.assertEqual({name: found[0] for name, found in after.items()}, {n: f[0] for n, f in before.items()})
        self.assertTrue(all(moves for _, moves in after.values()), after)
        self.assertEqual([protocol.noticed for protocol in protocols], [[]] * 6)
        await gatherResults([protocol.session.close() for protocol in protocols])
        for relay in relays:
            await relay.stop()

    def test_inbox(self) -> None:
        """A sender that is killed and comes again, perhaps to another worker, goes on where it was."""
        listener = self.listen(2, "--inbox", "in")
        out = self.here / "out"
        out.mkdir()
        with open(out / "large", "wb") as file:
            file.truncate(1 << 30)
        size = 0
        for times in range(4):
            process = OutboxProcess(
                self.here, "--connect", self.where, "--pin", listener.pin, "--outbox", "out", "--max-rate", "200M"
            )
            self.addCleanup(process.stop)
            if times:
                self.assertGreater(int(listener.expect(r"'large' from \S+ goes on at (\d+) of")[1]), size - 1)
            size = self.waitFor(size + (4 << 20))
            process.signal(signal.SIGKILL)
            process.stop()

    def waitFor(self, size: int) -> int:
        """Until so many bytes have arrived. @return: how many."""
        for _ in range(int(PATIENCE / 0.01)):
            if self.arrived() >= size:
                return self.arrived()
            time.sleep(0.01)
        self.fail(f"{self.arrived()} bytes have arrived")

    def arrived(self) -> int:
        """Bytes of the file that are in the inbox."""
        return max((path.stat().st_size for path in self.here.glob("in/.hypermail/*.part")), default=0)


class Relay(DatagramProtocol):
    """
    Stands between a starter and a listener, to which it is as a starter that moves.

    @param port: of the listener.
    """

    noisy = False

    def __init__(self, port: int) -> None:
        self._listener = ("127.0.0.1", port)
        self._starter: Any = None
        self._outside: list[Any] = []

    def goElsewhere(self) -> None:
        """Send from another port from now on; what comes to those before is passed on still."""
        outside = DatagramProtocol()
        outside.noisy = False
        outside.datagramReceived = self._back  # type: ignore[method-assign]
        self._outside.append(reactor.listenUDP(0, outside, "127.0.0.1", 65_535))  # type: ignore[attr-defined]

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self._starter = addr
        self._outside[-1].write(datagram, self._listener)

    def _back(self, datagram: bytes, addr: Any) -> None:
        transport: Any = self.transport
        transport.write(datagram, self._starter)

    async def stop(self) -> None:
        """No more."""
        for port in self._outside:
            await port.stopListening()


class KilledTests(WorkersCase):
    """Workers, and their parent, that end otherwise than they should."""

    async def test_worker(self) -> None:
        """
        A worker is killed under load, twice: its durable sessions go on in the next one, all that was sent is stored,
        once; the others notice nothing.
        """
        listener = self.listen(2, "--inbox", "in", "--state", "kept", port=free())
        store = await openStore(reactor, self.here / "own.db", b"own")
        self.addCleanup(store.close)
        protocols = [await self.open(listener, store=store, name=f"till {number}") for number in range(8)]
        workers = {session["id"]: session["worker"] for session in listener.look()["sessions"]}
        theirs = [workers[protocol.session.sessionID.hex()] for protocol in protocols]
        self.assertEqual(len(protocols), len(theirs))
        victim = theirs[0]
        sending, expected = [], []
        for round in range(30):
            for number, protocol in enumerate(protocols):
                if not round:
                    protocol.session.lane(LANE, durable=True)
                expected.append(b"%d from %d" % (round, number))
                sending.append(protocol.session.sendMessage(expected[-1], lane=LANE))
            if round in (5, 18):
                os.kill(listener.pids[victim], signal.SIGKILL)
                listener.expect(
                    rf"worker {victim} \(process \d+\) was ended by signal 9 \(Killed\); another one starts"
                )
                self.assertEqual(listener.serves(), victim)
            await deferLater(reactor, 0.05)
        await gatherResults(sending)
        self.assertEqual(sorted(tree(str(self.here / "in")).values()), sorted(expected))
        for worker, protocol in zip(theirs, protocols, strict=True):
            self.assertEqual(protocol.noticed, ["suspended", "resumed"] * 2 if worker == victim else [])
        found = listener.look()
        after = {session["id"]: session["worker"] for session in found["sessions"]}
        self.assertEqual(after, workers)
        self.assertEqual([each["restarts"] for each in found["program"]["workers"]], [2 - 2 * victim, 2 * victim])
        await gatherResults([protocol.session.close() for protocol in protocols])

    async def test_otherNumber(self) -> None:
        """Durable sessions go on where there are as many workers as before, more, less, or none."""
        port = free()
        listener: Any = self.listen(2, "--inbox", "in", "--state", "kept", port=port)
        store = await openStore(reactor, self.here / "own.db", b"own")
        self.addCleanup(store.close)
        protocols = [await self.open(listener, store=store, name=f"till {number}") for number in range(5)]
        expected = []
        for times, workers in enumerate((3, 0, 2), 1):
            self.assertEqual(listener.stop(), -signal.SIGTERM)
            sending = []
            for number, protocol in enumerate(protocols):
                protocol.session.lane(LANE, durable=True)
                expected.append(b"%d from %d" % (times, number))
                sending.append(protocol.session.sendMessage(expected[-1], lane=LANE))
            if workers:
                listener = self.listen(workers, "--inbox", "in", "--state", "kept", port=port)
            else:
                listener = ListenerProcess(self.here, "--inbox", "in", "--state", "kept", port=port)
                self.addCleanup(listener.stop)
            await gatherResults(sending)
            names = [path.name for path in (self.here / "kept").glob("*.db")]
            self.assertEqual(len(names), workers or 1, names)
        self.assertEqual(sorted(tree(str(self.here / "in")).values()), sorted(expected))
        self.assertEqual([protocol.noticed for protocol in protocols], [["suspended", "resumed"] * 3] * 5)
        await gatherResults([protocol.session.close() for protocol in protocols])

    async def test_parent(self) -> None:
        """When the parent is killed its workers end by themselves, and the port is free again."""
        listener = self.listen(2, "--plain", "--echo")
        protocol = await self.open(listener)
        listener.signal(signal.SIGKILL)
        self.assertEqual(listener.stop(), -signal.SIGKILL)
        await self.until("the workers end", lambda: not any(map(running, listener.pids.values())))
        await self.until("the session is lost", lambda: protocol.noticed)
        self.assertIn("the listener is shutting down", protocol.noticed[0])
        self.listen(2, "--plain", "--echo", port=f"udp:{listener.port}:interface=127.0.0.1")

    async def test_inOrder(self) -> None:
        """SIGTERM to the parent ends all workers in order: their sessions are told, and nothing is left."""
        listener = self.listen(2, "--plain", "--echo")
        protocols = [await self.open(listener) for _ in range(6)]
        self.assertEqual(listener.stop(), -signal.SIGTERM)
        await self.until("the sessions are lost", lambda: all(protocol.noticed for protocol in protocols))
        text = "lost: the peer ended the session: the listener is shutting down"
        self.assertEqual([protocol.noticed for protocol in protocols], [[text]] * 6)
        self.assertEqual([pid for pid in listener.pids.values() if running(pid)], [])
        log = "\n".join(listener.log)
        for word in ("Traceback", "another one starts", "does not end"):
            self.assertNotIn(word, log)

    async def test_oneEnds(self) -> None:
        """A worker that is told to end by somebody else does so in order, and is followed by another one."""
        listener = self.listen(2, "--plain", "--echo")
        os.kill(listener.pids[1], signal.SIGTERM)
        listener.expect(r"worker 1 \(process \d+\) has ended; another one starts now")
        self.assertEqual(listener.serves(), 1)
        self.assertNotIn("Traceback", "\n".join(listener.log))

    async def test_hangup(self) -> None:
        """SIGHUP reaches all workers; what a terminal sends to all of its processes is for the parent alone."""
        listener = self.listen(2, "--echo")
        for pid in listener.pids.values():
            os.kill(pid, signal.SIGINT)
            os.kill(pid, signal.SIGHUP)
        listener.signal(signal.SIGHUP)
        for _ in range(2):
            listener.expect("worker [01]: .*identity and trust were read again")
        self.assertTrue(all(map(running, listener.pids.values())))


class StartingTests(WorkersCase):
    """A listener with workers that cannot start."""

    def assertFails(self, *options: str, text: str) -> None:
        """It is one line and exit code 1, under twistd and twist."""
        for runner in ([*TWISTD, "-n", "--pidfile="], TWIST):
            done = program(self.here, *runner, "hypermail", "--plain", "--workers", "2", *options)
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
            self.assertIn(text, done.stderr)

    def test_inUse(self) -> None:
        """A port that somebody has, be it another listener with workers."""
        listener = self.listen(2, "--plain")
        port = f"udp:{listener.port}:interface=127.0.0.1"
        self.assertFails("--port", port, text="cannot listen on UDP port")

    def test_worker(self) -> None:
        """What only a worker finds out is told all the same."""
        self.assertFails("--port", "udp:0:interface=127.0.0.1", "--forward", "nothing:1", text="--forward")

    def test_usage(self) -> None:
        """What makes no sense is told before anything is begun; the exit code is Twisted's business (26.4 has 0)."""
        done = program(self.here, *TWISTD, "-n", "hypermail", "--workers", "none")
        self.assertIn("--workers: 'none' is no number of workers", done.stdout + done.stderr)

    def test_alone(self) -> None:
        """Nobody starts a worker's process; who does anyway sees nothing happen."""
        done = program(self.here, sys.executable, "-m", "hypermail.services.processes.worker")
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))


def free() -> str:
    """A port that nobody has."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return f"udp:{probe.getsockname()[1]}:interface=127.0.0.1"
