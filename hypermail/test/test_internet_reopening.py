"""
Tests of L{hypermail.internet.reopening} and what is around it: sessions that go on over another link, under TLS.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from twisted.internet import reactor
from twisted.internet.defer import Deferred, succeed
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from hypermail.errors import (
    MessageUndelivered,
    PeerSilent,
    Reason,
    SessionAborted,
    SessionClosed,
    SessionLost,
    SessionRejected,
    SessionReset,
    SessionTimedOut,
)
from hypermail.internet.address import HypermailAddress
from hypermail.internet.datagrams import HypermailDatagramProtocol
from hypermail.internet.residents import MOST_CLOSED, Residents
from hypermail.internet.security import ListenerTLS, Security, StarterTLS
from hypermail.internet.traces import TraceFile
from hypermail.internet.wakings import LATE, LOOK, Wakings, sleeplessClock, sleeplessClockOf
from hypermail.options import ListenerOptions, Options
from hypermail.test.producers import Producer
from hypermail.test.securing import DELAY, NAME, SELF_MADE, STARTER, STRANGER, SecuredTestCase
from hypermail.test.sessions import SERVER, RecordingProtocol, RecordingStream, errorOf, logged
from hypermail.testing import Conditions

NEAR = Conditions(delay=DELAY)
DARK = Conditions(loss=1.0)
#: Links are given up after 3 to 4 s.
OPTIONS = Options(ping_interval=1.0, ping_packet_count=2, connection_timeout=3.0)
LISTENING = ListenerTLS(SELF_MADE, allow=(STARTER.pin,))
STARTING = StarterTLS(pin=SELF_MADE.pin, identity=STARTER)


class SurvivingProtocol(RecordingProtocol):
    """Remembers the loss of its links, too."""

    def __init__(self) -> None:
        super().__init__()
        self.suspensions: list[Failure] = []
        self.suspended: Any = lambda: None
        self.resumed: Any = lambda: None

    def sessionSuspended(self, reason: Failure) -> Any:
        self.calls.append("sessionSuspended")
        self.suspensions.append(reason)
        return self.suspended()

    def sessionResumed(self) -> Any:
        self.calls.append("sessionResumed")
        return self.resumed()


class ReopeningTests(SecuredTestCase):
    """Sessions between two hosts, with certificates on both sides."""

    def open(
        self,
        listening: Security = LISTENING,
        starting: Security = STARTING,
        options: Options = OPTIONS,
        **settings: Any,
    ) -> tuple[SurvivingProtocol, SurvivingProtocol]:
        """Open a session. @return: the starter's protocol and the listener's."""
        hosts = self.listen(listening, options=options, **settings)
        traces = {name: value for name, value in settings.items() if name == "traceDirectory"}
        hosts.listening.make = hosts.starting.make = SurvivingProtocol
        ours: Any = hosts.run(hosts.ask(NAME, security=starting, options=options, **traces))
        theirs: Any = hosts.listening.built[-1]
        hosts.settle()
        return ours, theirs

    def suspend(self, seconds: float = 8.0) -> None:
        """Take the network away, until both sides have noticed."""
        self.hosts.network.set_conditions(DARK)
        self.hosts.settle(seconds)

    def resume(self, seconds: float = 40.0) -> None:
        """Bring it back, until both sides go on."""
        self.hosts.network.set_conditions(NEAR)
        self.hosts.settle(seconds)

    def sessions(self) -> HypermailDatagramProtocol:
        """Those of the starter's socket."""
        (port,) = self.hosts.client.ports
        return cast(HypermailDatagramProtocol, port.protocol)

    def taken(self) -> HypermailDatagramProtocol:
        """The sessions of the listener's socket."""
        (port,) = self.hosts.server.ports
        return cast(HypermailDatagramProtocol, port.protocol)

    def residents(self) -> Residents:
        """The listener's."""
        return self.taken().residents

    def test_goesOn(self) -> None:
        """What is sent without a link arrives; both applications are told of the loss and of the new link."""
        lines = logged(self)
        ours, theirs = self.open()
        theirs.answer = lambda message: None
        self.suspend()
        for protocol in (ours, theirs):
            self.assertEqual(protocol.calls, ["sessionOpened", "sessionSuspended"])
            self.assertIsInstance(protocol.suspensions[0].value, PeerSilent)
            self.assertEqual(protocol.session.statistics()["state"], "suspended")
        self.assertEqual(self.residents().suspended, 1)
        sent = [protocol.session.sendMessage(b"in the dark") for protocol in (ours, theirs)]
        self.resume()
        for protocol, each in zip((ours, theirs), sent, strict=True):
            self.assertEqual(protocol.messages, [b"in the dark"])
            self.successResultOf(each)
            self.assertEqual(protocol.calls[-1], "sessionResumed")
            self.assertEqual(protocol.session.statistics()["state"], "open")
        self.assertEqual(self.residents().suspended, 0)
        self.hosts.run(ours.session.close())
        self.assertIsInstance(errorOf(theirs), SessionClosed)
        told = [line for line in lines if "lost its link" in line or "goes on with" in line]
        self.assertEqual(len(told), 4, told)

    def test_streams(self) -> None:
        """Streams go on, byte by byte, and so do asks: of those that were answered without a link, too."""
        ours, theirs = self.open()
        mine, other = self.hosts.stream(ours.session, theirs)
        waiting: list[Deferred[bytes]] = []

        def asked(ask: bytes) -> Deferred[bytes]:
            waiting.append(Deferred())
            return waiting[-1]

        cast(Any, theirs).askReceived = asked
        first = ours.session.ask(b"before")
        self.hosts.settle()
        mine.transport.write(b"a" * 100_000)
        self.hosts.settle(0.03)
        self.suspend()
        waiting[0].callback(b"answered in the dark")
        second = ours.session.ask(b"in the dark")
        mine.transport.write(b"b" * 100_000)
        opening = theirs.session.openStream(Factory.forProtocol(RecordingStream))
        self.resume()
        self.assertEqual(self.successResultOf(first), b"answered in the dark")
        waiting[1].callback(b"answered")
        self.hosts.settle()
        self.assertEqual(self.successResultOf(second), b"answered")
        self.assertEqual(bytes(other.data), b"a" * 100_000 + b"b" * 100_000)
        self.failureResultOf(opening)  # the starter's application takes no streams

    def test_certificate(self) -> None:
        """A session that was opened with one certificate does not go on with another, nor with none."""
        listening = ListenerTLS(SELF_MADE)
        for identity in (STRANGER, None):
            ours, theirs = self.open(listening)
            # Before the first attempt: one that has begun goes on with what it began with, for as long as it is let.
            self.sessions().security = StarterTLS(pin=SELF_MADE.pin, identity=identity)
            self.suspend()
            self.resume()
            self.assertIsInstance(errorOf(ours), SessionRejected)
            self.assertEqual(errorOf(ours).code, Reason.NOT_ALLOWED)
            self.assertEqual(theirs.calls, ["sessionOpened", "sessionSuspended"])
            self.hosts.end()

    def test_notAdmitted(self) -> None:
        """Nor does one whose starter is not let in any more."""
        ours, theirs = self.open()
        self.suspend()
        port: Any = self.hosts.port
        port.renew(ListenerTLS(SELF_MADE, allow=(STRANGER.pin,)))
        self.resume()
        self.assertIsInstance(errorOf(ours), SessionRejected)
        self.assertIn("--allow", str(errorOf(ours)))
        self.assertEqual(theirs.calls, ["sessionOpened", "sessionSuspended"])

    def test_impostor(self) -> None:
        """Who cannot show the listener's certificate is not believed; the starter waits for who can."""
        ours, _ = self.open()
        self.suspend()
        port: Any = self.hosts.port
        port.renew(ListenerTLS(STRANGER, allow=(STARTER.pin,)))
        self.resume()
        self.assertEqual(ours.calls, ["sessionOpened", "sessionSuspended"])
        port.renew(LISTENING)
        self.hosts.settle(40)
        self.assertEqual(ours.calls, ["sessionOpened", "sessionSuspended", "sessionResumed"])

    def test_timesOut(self) -> None:
        """A session that finds no link ends on either side, with what the last attempt has failed with."""
        ours, theirs = self.open(options=replace(OPTIONS, session_timeout=30))
        self.suspend()
        sent = ours.session.sendMessage(b"never")
        self.hosts.settle(60)
        for protocol in (ours, theirs):
            self.assertIsInstance(errorOf(protocol), SessionTimedOut)
            self.assertIn("no link for 30 s; last: ", str(errorOf(protocol)))
        self.failureResultOf(sent, MessageUndelivered)
        self.assertEqual(self.residents().suspended, 0)

    def test_moved(self) -> None:
        """A host that has another address tries at once; a path that is back is tried at once, too."""
        ours, _ = self.open()
        self.suspend(300)
        self.hosts.network.set_conditions(NEAR)
        self.hosts.client.move("10.0.0.9")
        self.hosts.settle(1.2)  # it looks once a second
        self.assertEqual(ours.calls[-1], "sessionResumed")
        self.hosts.client.move()
        self.hosts.settle(300)
        self.assertEqual(ours.calls[-1], "sessionSuspended")
        self.hosts.client.move("10.0.0.9")
        self.hosts.settle(1.2)
        self.assertEqual(ours.calls[-1], "sessionResumed")

    def test_woken(self) -> None:
        """Who has slept asks its peers at once: one that has given us up is claimed within a second."""
        ours, theirs = self.open(options=replace(OPTIONS, ping_interval=100.0, ping_packet_count=1))
        sessions = self.taken()
        (session,) = sessions.pump.sessions.values()
        session.connection._ending.lose(PeerSilent("says the test"), self.hosts.network.now)
        sessions.pump.attend(session)
        self.hosts.settle(20)
        self.assertEqual((ours.calls, theirs.calls[-1]), (["sessionOpened"], "sessionSuspended"))
        self.sessions().pump._surroundings._woken()
        self.hosts.settle(6 * DELAY + 0.01)  # it says that it does not know us; a handshake; the claim
        self.assertEqual(ours.calls, ["sessionOpened", "sessionSuspended", "sessionResumed"])
        self.assertIsInstance(ours.suspensions[0].value, SessionReset)
        self.suspend(600)
        self.hosts.network.set_conditions(NEAR)
        self.sessions().pump._surroundings._woken()
        self.hosts.settle(1)
        self.assertEqual(ours.calls[-1], "sessionResumed")

    def test_ping(self) -> None:
        """Pings end with the link, and do not begin without one."""
        ours, _ = self.open()
        self.hosts.network.set_conditions(DARK)
        ping = ours.session.ping()
        self.suspend()
        self.failureResultOf(ping, PeerSilent)
        self.failureResultOf(ours.session.ping(), SessionLost)
        self.resume()
        self.assertAlmostEqual(self.hosts.run(ours.session.ping()), 2 * DELAY, places=3)

    def test_pingsOfTheOldLink(self) -> None:
        """Also where the new link comes before the loss of the old one was noticed."""
        _, theirs = self.open()
        self.hosts.network.set_conditions(DARK)
        ping = theirs.session.ping()
        sessions = self.sessions()
        (session,) = sessions.pump.sessions.values()
        session.connection._ending.lose(PeerSilent("says the test"), self.hosts.network.now)
        self.hosts.network.set_conditions(NEAR)
        sessions.pump.attend(session)
        self.hosts.settle(1)
        self.assertEqual(theirs.calls, ["sessionOpened", "sessionSuspended", "sessionResumed"])
        self.failureResultOf(ping, SessionReset)
        self.assertEqual(self.residents().suspended, 0)

    def test_producers(self) -> None:
        """Producers of messages and of streams pause when the buffers are full, and go on over the new link."""
        ours, theirs = self.open(options=replace(OPTIONS, outgoing_bytes=10_000))
        self.suspend()
        producer = Producer()
        ours.session.registerProducer(producer, True)
        messages = [ours.session.sendMessage(b"x" * 1_000) for _ in range(20)]
        self.assertEqual(producer.told, ["pause"])
        self.hosts.settle(30)
        self.assertEqual(producer.told, ["pause"])
        self.resume()
        self.assertEqual(producer.told, ["pause", "resume"])
        self.assertEqual(len(theirs.messages), 20)
        for each in messages:
            self.successResultOf(each)
        ours.session.unregisterProducer()

    def test_applicationFails(self) -> None:
        """A callback that fails ends the session, at once or later, without a link or with one."""
        for name in ("suspended", "resumed"):
            for failing in (_raise, lambda: _failed()):
                ours, theirs = self.open()
                setattr(ours, name, failing)
                self.suspend()
                self.resume()
                self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
                self.assertIsInstance(errorOf(ours), SessionAborted)
                self.assertEqual(ours.calls[-1], "sessionLost")
                self.hosts.end()
                self.assertEqual(theirs.calls[-1], "sessionLost")

    def test_endsWithoutLink(self) -> None:
        """Sessions without a link are aborted at once; closing them waits, and ends when it is cancelled."""
        ours, theirs = self.open()
        self.suspend()
        closing = ours.session.close()
        self.hosts.settle(20)
        self.assertNoResult(closing)
        closing.cancel()
        self.hosts.settle(0)
        self.failureResultOf(closing)
        self.assertIsInstance(errorOf(ours), SessionAborted)
        theirs.session.abort()
        self.hosts.settle(0)
        self.assertIsInstance(errorOf(theirs), SessionAborted)
        self.assertEqual(self.residents().suspended, 0)

    def test_stopListening(self) -> None:
        """A listener that stops ends its sessions without a link, too."""
        ours, theirs = self.open()
        self.suspend()
        port: Any = self.hosts.port
        self.hosts.run(port.stopListening())
        self.assertIsInstance(errorOf(theirs), SessionAborted)
        self.assertEqual(ours.calls, ["sessionOpened", "sessionSuspended"])
        ours.session.abort()

    def test_closeWasAnswered(self) -> None:
        """A starter whose close was answered learns so over another link."""
        ours, theirs = self.open()
        self.hosts.network.set_conditions(DARK, source=SERVER)
        closing = ours.session.close()
        self.hosts.settle(12)
        self.assertIsInstance(errorOf(theirs), SessionClosed)
        self.assertNoResult(closing)
        self.resume()
        self.successResultOf(closing)
        self.assertIsInstance(errorOf(ours), SessionClosed)

    def test_allowReopen(self) -> None:
        """A session that may not outlive its link ends with it."""
        ours, theirs = self.open(options=replace(OPTIONS, allow_reopen=False))
        self.suspend()
        for protocol in (ours, theirs):
            self.assertEqual(protocol.calls, ["sessionOpened", "sessionLost"])
            self.assertIsInstance(errorOf(protocol), PeerSilent)

    def test_mostSuspended(self) -> None:
        """Of too many sessions without a link one ends, and its application learns why."""
        ours, _ = self.open(listenerOptions=ListenerOptions(max_suspended=1))
        hosts = self.hosts
        hosts.run(hosts.ask(NAME, security=STARTING, options=OPTIONS))
        self.suspend()
        first, second = hosts.listening.built
        self.assertEqual(first.calls[-1], "sessionLost")
        self.assertEqual(errorOf(first).code, Reason.TOO_MANY_SESSIONS)
        self.assertEqual(second.calls[-1], "sessionSuspended")
        self.resume()
        self.assertIsInstance(errorOf(ours), SessionReset)
        self.assertEqual(second.calls[-1], "sessionResumed")

    def test_traces(self) -> None:
        """The trace of a link is closed when the session leaves it, an attempt's when that was in vain."""
        directory = Path(self.mktemp())
        opened: list[TraceFile] = []
        usual = TraceFile.__init__

        def open(file: TraceFile, path: Path) -> None:
            usual(file, path)
            opened.append(file)

        self.patch(TraceFile, "__init__", open)
        ours, _ = self.open(traceDirectory=directory)
        self.suspend(60)
        self.resume()
        self.hosts.run(ours.session.close())
        self.hosts.settle(10)
        self.assertGreaterEqual(len(opened), 2)
        self.assertEqual([file.path.name for file in opened if not file._file.closed], [])
        for file in opened:
            self.assertIn("connection_closed", file.path.read_text(encoding="utf-8").splitlines()[-1])

    def test_memory(self) -> None:
        """A new link takes nothing of the old one along, on either side."""
        ours, _ = self.open()
        for _ in range(5):
            self.suspend()
            self.resume()
        for protocol in (self.sessions(), self.taken()):
            self.assertEqual((len(protocol.pump.sessions), len(protocol._demux)), (1, 1))
            self.assertLess(len(protocol.pump._deadlines._heap), 100)
        self.hosts.run(ours.session.close())
        self.hosts.settle(60)
        self.assertEqual(self.hosts.client.ports, [])
        self.assertEqual((len(self.taken().pump.sessions), len(self.taken()._demux)), (0, 0))


def _raise() -> None:
    raise ZeroDivisionError("says the test")


def _failed() -> Deferred[None]:
    deferred: Deferred[None] = succeed(None)
    return deferred.addCallback(lambda _: _raise())


class _Resident:
    """As much of a session as L{Residents} sees."""

    durable = False

    def __init__(self, number: int, host: str) -> None:
        self.sessionID = b"%016d" % number
        self.error: Exception | None = None
        self._host = host

    def getPeer(self) -> Any:
        """Where it is."""
        return HypermailAddress(self._host, 1)

    def fail(self, error: Exception) -> None:
        """It ends."""
        self.error = error


class ResidentsTests(SynchronousTestCase):
    """Who gives way."""

    def setUp(self) -> None:
        self.residents = Residents(10, 10, bytes(32))
        self.count = 0

    def enter(self, host: str) -> Any:
        """A session that has lost its link."""
        self.count += 1
        session: Any = _Resident(self.count, host)
        self.residents.enter(session)
        self.residents.suspend(session)
        return session

    def test_fair(self) -> None:
        """Who leaves many sessions behind makes its own give way, the oldest first, and nobody else's."""
        others = [self.enter(f"10.1.{number}.1") for number in range(4)]
        many = [self.enter("10.2.0.1") for _ in range(30)]
        self.assertEqual([session.error for session in others], [None] * 4)
        self.assertEqual([session.error is None for session in many], [False] * 24 + [True] * 6)
        self.assertEqual(self.residents.suspended, 10)
        self.assertEqual(many[0].error.code, Reason.TOO_MANY_SESSIONS)

    def test_oldest(self) -> None:
        """Among equals the one gives way that has had no link for the longest time."""
        sessions = [self.enter(f"10.1.{number}.1") for number in range(10)]
        self.residents.resume(sessions[0])
        self.residents.suspend(sessions[0])
        self.enter("10.1.99.1")
        self.assertEqual([session.error is None for session in sessions], [True, False] + [True] * 8)

    def test_counts(self) -> None:
        """Sessions that go on or end are not counted any more."""
        for _ in range(3):
            sessions = [self.enter("10.1.0.1") for _ in range(10)]
            for number, session in enumerate(sessions):
                if number % 2:
                    self.residents.resume(session)
                self.residents.leave(session)
                self.residents.leave(session)
        self.assertEqual((self.residents.suspended, len(self.residents._byPrefix)), (0, 0))
        self.assertEqual([session for session in sessions if session.error], [])

    def test_revivedOnce(self) -> None:
        """A session of before a restart is taken up by one candidate at a time, until that has opened it or is over."""
        first, second, third = (self.enter("10.1.0.1") for _ in range(3))
        for session in (first, second, third):
            self.residents.leave(session)
        name = b"claimed by three"
        self.assertTrue(self.residents.occupy(name, first))
        self.assertFalse(self.residents.occupy(name, second))
        self.residents.vacate(second)
        self.assertFalse(self.residents.occupy(name, third))
        self.residents.vacate(first)
        self.assertTrue(self.residents.occupy(name, third))
        third.sessionID = name
        self.residents.enter(third)
        self.assertTrue(self.residents.occupy(name, second))

    def test_namesake(self) -> None:
        """A candidate that leaves takes nothing away from the session whose name it bears."""
        session = self.enter("10.1.0.1")
        candidate: Any = _Resident(self.count, "10.1.0.1")
        candidate.error = SessionClosed("closed")
        self.residents.leave(candidate)
        self.assertIs(self.residents.find(session.sessionID), session)
        self.assertFalse(self.residents.wasClosed(session.sessionID))
        self.assertEqual(self.residents.suspended, 1)

    def test_incarnations(self) -> None:
        """What a process remembers of a session has one name, until a session has left its memory; others have others,
        and so has that of another process."""
        residents, names = self.residents, (b"one", b"other")
        before = [residents.incarnation(name) for name in names]
        self.assertEqual([residents.incarnation(name) for name in names], before)
        residents.parked()
        after = [residents.incarnation(name) for name in names]
        elsewhere = Residents(10, 10, b"another process".ljust(32))
        self.assertEqual(len({*before, *after, *map(elsewhere.incarnation, names)}), 6)

    def test_closed(self) -> None:
        """Those that were closed in order are remembered as such, for a while; no others."""
        first = self.enter("10.1.0.1")
        lost = self.enter("10.1.0.1")
        lost.error = SessionAborted("lost")
        first.error = SessionClosed("closed")
        for session in (first, lost):
            self.residents.leave(session)
        self.assertTrue(self.residents.wasClosed(first.sessionID))
        self.assertFalse(self.residents.wasClosed(lost.sessionID))
        for _ in range(MOST_CLOSED):
            session = self.enter("10.1.0.1")
            session.error = SessionClosed("closed")
            self.residents.leave(session)
        self.assertFalse(self.residents.wasClosed(first.sessionID))
        self.assertTrue(self.residents.wasClosed(session.sessionID))


class WakingsTests(SynchronousTestCase):
    """When a process notices that it has not run."""

    def setUp(self) -> None:
        self.clock, self.machine = Clock(), Clock()
        self.woken: list[float] = []
        self.wakings = Wakings(self.clock, self.machine.seconds, lambda: self.woken.append(self.machine.seconds()))

    def test_sleep(self) -> None:
        """A machine that sleeps stops the reactor's clock, and not the other one."""
        self.wakings.watch()
        self.wakings.watch()
        for _ in range(10):
            self.machine.advance(LOOK)
            self.clock.advance(LOOK)
        self.assertEqual(self.woken, [])
        self.machine.advance(180)
        self.clock.advance(LOOK)
        self.assertEqual(self.woken, [190.0])
        for _ in range(10):
            self.machine.advance(LOOK + 0.9 * LATE)  # busy
            self.clock.advance(LOOK)
        self.assertEqual(len(self.woken), 1)
        self.machine.advance(LOOK + LATE)
        self.clock.advance(LOOK)
        self.assertEqual(len(self.woken), 2)

    def test_stops(self) -> None:
        """It leaves nothing behind, and begins anew."""
        self.wakings.stop()
        self.wakings.watch()
        self.wakings.watch()
        self.wakings.stop()
        self.assertEqual(self.clock.calls, [])
        self.machine.advance(1_000)
        self.wakings.watch()
        self.clock.advance(LOOK)
        self.assertEqual(self.woken, [])
        self.wakings.stop()

    def test_nothingSleeps(self) -> None:
        """A clock does not sleep."""
        self.assertIsNone(sleeplessClockOf(self.clock))
        wakings = Wakings(self.clock, None, self.fail)
        wakings.watch()
        self.assertEqual(self.clock.calls, [])

    def test_system(self) -> None:
        """A real reactor's machine has a clock that goes on."""
        seconds = sleeplessClockOf(reactor)
        assert seconds is not None
        self.assertLessEqual(seconds(), sleeplessClock()())
