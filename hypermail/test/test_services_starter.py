"""
Tests for L{hypermail.services.starter} and L{hypermail.services.running}, short of real sockets.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from hypermail.errors import (
    Delivered,
    MessageRejected,
    MessageUndelivered,
    PeerSilent,
    SessionLost,
    SessionRejected,
    SessionTimedOut,
    Unreachable,
    UsageError,
)
from hypermail.internet.security import Plain
from hypermail.internet.settings import StarterSettings
from hypermail.options import Options
from hypermail.services import starter
from hypermail.services.addresses import Destination
from hypermail.services.arrivals import NotStored
from hypermail.services.progress import Progress
from hypermail.services.returning import PAUSE, CannotCall
from hypermail.services.running import Interrupted, _Running
from hypermail.services.starter import CLOSING, Calling, Load, ping, send
from hypermail.test.services import atOnce

WHERE = Destination("127.0.0.1", 4700)


class AnsweringSession:
    """The part of L{ISession} that the command uses; answers as it is told."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.refusing: list[Exception] = []
        self.trips: list[float | Exception] = []
        self.closed: Deferred[None] | None = None

    def sendMessage(self, data: bytes, *, lane: int = 0, expires: float | None = None) -> Deferred[None]:
        """See L{ISession}."""
        settled: Deferred[None] = Deferred()
        if self.refusing:
            settled.errback(self.refusing.pop(0))
        else:
            self.messages.append(data)
            settled.callback(None)
        return settled

    def ping(self) -> Deferred[float]:
        """See L{ISession}."""
        answered: Deferred[float] = Deferred()
        trip = self.trips.pop(0)
        if isinstance(trip, Exception):
            answered.errback(trip)
        else:
            answered.callback(trip)
        return answered

    def close(self) -> Deferred[None]:
        """See L{ISession}."""
        self.closed = Deferred()
        return self.closed


class StarterCase(SynchronousTestCase):
    """A command with an endpoint in memory."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.session = AnsweringSession()
        self.out = io.StringIO()
        self.err = io.StringIO()
        self.connected: Deferred[Any] = Deferred()
        self.endpoints: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
        case = self

        class Endpoint:
            def __init__(self, *arguments: Any, **options: Any) -> None:
                case.endpoints.append((arguments, options))

            def connect(self, factory: Any) -> Deferred[Any]:
                protocol = factory.buildProtocol(None)

                def connected(_: object) -> Any:
                    protocol.session = case.session
                    return protocol

                return case.connected.addCallback(connected)

        class Workers:
            run = staticmethod(atOnce)

            def __init__(self, *arguments: Any, **options: Any) -> None:
                case.workers.append(self)

            def start(self) -> None:
                pass

            def stop(self) -> Deferred[None]:
                case.workers.remove(self)
                stopped: Deferred[None] = Deferred()
                stopped.callback(None)
                return stopped

        self.workers: list[Workers] = []
        self.patch(starter, "SessionClientEndpoint", Endpoint)
        self.patch(starter, "Workers", Workers)

    def tearDown(self) -> None:
        self.assertEqual(self.workers, [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def progress(self) -> Progress:
        """Where it is said how it goes."""
        return Progress(self.out, self.err, quiet=False, seconds=self.clock.seconds)

    def begin(self, load: Load) -> Deferred[bool]:
        """Begin to send."""
        calling = Calling(destination=WHERE, timeout=3)
        return Deferred.fromCoroutine(send(self.clock, calling, load, self.progress()))


class OpeningTests(StarterCase):
    """Opening a session."""

    def test_options(self) -> None:
        """What the command was told reaches the endpoint."""
        settings = StarterSettings(plain=True, allowRemotePlain=True)
        calling = Calling(destination=WHERE, timeout=3, settings=settings, congestion="vegas")
        Deferred.fromCoroutine(calling.open(self.clock, 3))
        (((_, host, port), options),) = self.endpoints
        self.assertEqual((host, port), tuple(WHERE))
        self.assertEqual(options["options"], Options(connection_timeout=3, session_timeout=3, congestion="vegas"))
        self.assertEqual(options["security"], Plain(allowRemote=True))

    def test_refused(self) -> None:
        """Every way not to open for good is one line that has the destination."""
        for error, text in (
            (SessionRejected("go\naway"), "no session with 127.0.0.1:4700: go\\naway"),
            (Unreachable("no such host"), "no session with 127.0.0.1:4700: no such host"),
            (
                CannotListenError("::", 0, OSError(97, "no such family")),
                "no session with 127.0.0.1:4700: there is no socket ([Errno 97] no such family)",
            ),
        ):
            self.connected = Deferred()
            sending = self.begin(Load(messages=(b"x",)))
            self.connected.errback(error)
            failure = self.failureResultOf(sending, CannotCall)
            self.assertEqual(str(failure.value), text)

    def test_nobody(self) -> None:
        """While nobody answers it is tried again, until the time is up; it is said once that this is so."""
        sending = self.begin(Load(messages=(b"x",)))
        while self.clock.seconds() < 3 - PAUSE:
            self.assertNoResult(sending)
            connected, self.connected = self.connected, Deferred()
            connected.errback(SessionTimedOut("x"))
            self.clock.advance(PAUSE)
        self.connected.errback(SessionTimedOut("x"))
        failure = self.failureResultOf(sending, CannotCall)
        self.assertEqual(str(failure.value), "nobody has answered at 127.0.0.1:4700 for 3 s")
        waits = [options["options"].connection_timeout for _, options in self.endpoints]
        self.assertEqual(waits, [3 - PAUSE * tries for tries in range(len(waits))])
        self.assertEqual(
            self.out.getvalue(), "waiting for 127.0.0.1:4700: nobody has answered at 127.0.0.1:4700 for 3 s\n"
        )

    def test_trace(self) -> None:
        """A directory for traces that is none is found out before anything is sent."""
        opening = Deferred.fromCoroutine(Calling(destination=WHERE, traceDirectory="/dev/null").open(self.clock, 3))
        self.failureResultOf(opening, NotStored)
        self.assertEqual(self.endpoints, [])


class SendTests(StarterCase):
    """Sending."""

    def test_messages(self) -> None:
        """All messages are sent; the session is closed; the last line says so."""
        sending = self.begin(Load(messages=(b"a", b"b")))
        self.connected.callback(None)
        self.assertEqual(self.session.messages, [b"a", b"b"])
        assert self.session.closed is not None
        self.session.closed.callback(None)
        self.assertTrue(self.successResultOf(sending))
        self.assertEqual(self.out.getvalue(), "stored 2 messages at 127.0.0.1:4700 in 0.0 s\n")

    def test_messageRefused(self) -> None:
        """A message that is not taken is told, and the next is sent."""
        self.session.refusing = [MessageRejected("no room")]
        sending = self.begin(Load(messages=(b"a", b"b")))
        self.connected.callback(None)
        self.clock.advance(CLOSING)
        self.assertFalse(self.successResultOf(sending))
        self.assertEqual(self.session.messages, [b"b"])
        self.assertEqual(self.err.getvalue(), "hypermail: the message was not stored: no room\n")

    def lost(self, delivered: Delivered) -> MessageUndelivered:
        """The session was lost under a message."""
        return MessageUndelivered(PeerSilent("it is silent"), delivered)

    def test_messageNotDelivered(self) -> None:
        """A message that has certainly not arrived is sent again, in the next session; also when it could not begin."""
        self.session.refusing = [self.lost(Delivered.NO)]
        sending = self.begin(Load(messages=(b"a", b"b")))
        second, third = AnsweringSession(), AnsweringSession()
        second.refusing = [PeerSilent("gone")]
        for session in (self.session, second, third):
            self.session = session
            connected, self.connected = self.connected, Deferred()
            connected.callback(None)
        self.assertEqual((second.messages, third.messages), ([], [b"a", b"b"]))
        self.clock.advance(CLOSING)
        self.assertTrue(self.successResultOf(sending))
        self.assertIsNotNone(third.closed)
        self.assertIn("waiting for 127.0.0.1:4700: it is silent\ngoing on\n", self.out.getvalue())

    def test_messagePerhapsDelivered(self) -> None:
        """A message that may have arrived is not sent again: an error says so; the next one is sent."""
        self.session.refusing = [self.lost(Delivered.UNKNOWN)]
        sending = self.begin(Load(messages=(b"a", b"b")))
        self.connected.callback(None)
        self.clock.advance(CLOSING)
        self.assertFalse(self.successResultOf(sending))
        self.assertEqual(self.session.messages, [b"b"])
        self.assertEqual(self.err.getvalue(), "hypermail: the message may have been stored, or not: it is silent\n")

    def test_closingTakesLong(self) -> None:
        """When all is stored, a session that does not close, or is lost meanwhile, is no failure."""
        for end in (lambda closed: None, lambda closed: closed.errback(PeerSilent("gone"))):
            self.connected = Deferred()
            sending = self.begin(Load(messages=(b"a",)))
            self.connected.callback(None)
            end(self.session.closed)
            self.clock.advance(CLOSING)
            self.assertTrue(self.successResultOf(sending))

    def test_nothing(self) -> None:
        """A tree without files is nothing to send; no session is opened."""
        empty = self.mktemp()
        os.mkdir(empty)
        sending = self.begin(Load(files=(empty,), recursive=True))
        self.assertFalse(self.successResultOf(sending))
        self.assertEqual(self.err.getvalue(), "hypermail: there is no file to send\n")
        self.assertEqual(self.endpoints, [])

    def test_usage(self) -> None:
        """A directory without --recursive is found out before a session is opened."""
        self.failureResultOf(self.begin(Load(files=(".",))), UsageError)
        self.assertEqual(self.endpoints, [])

    def test_cancelled(self) -> None:
        """Cancelling closes the session."""
        self.session.sendMessage = lambda *arguments, **options: Deferred()  # type: ignore[method-assign]
        sending = self.begin(Load(messages=(b"x",)))
        self.connected.callback(None)
        sending.cancel()
        self.assertNoResult(sending)
        assert self.session.closed is not None
        self.session.closed.callback(None)
        self.failureResultOf(sending, CancelledError)


class PingTests(StarterCase):
    """Round trips."""

    def begin_(self, times: int) -> Deferred[bool]:
        """Begin to ping."""
        self.connected.callback(None)
        calling = Calling(destination=WHERE)
        return Deferred.fromCoroutine(ping(self.clock, calling, self.out, times=times, interval=2.0))

    def test_ping(self) -> None:
        """Each round trip is a line, at the interval; then a summary."""
        self.session.trips = [0.001, 0.003]
        pinging = self.begin_(2)
        self.assertEqual(self.out.getvalue(), "127.0.0.1:4700: 1.000 ms\n")
        self.clock.advance(2)
        self.assertEqual(
            self.out.getvalue().splitlines()[1:],
            [
                "127.0.0.1:4700: 3.000 ms",
                "2 round trips to 127.0.0.1:4700: least 1.000 ms, mean 2.000 ms, most 3.000 ms",
            ],
        )
        assert self.session.closed is not None
        self.session.closed.callback(None)
        self.assertTrue(self.successResultOf(pinging))

    def test_lost(self) -> None:
        """A session that is lost is one line."""
        self.session.trips = [0.001, PeerSilent("nothing was heard")]
        pinging = self.begin_(0)
        self.clock.advance(2)
        self.clock.advance(CLOSING)
        failure = self.failureResultOf(pinging, CannotCall)
        self.assertEqual(str(failure.value), "the session with 127.0.0.1:4700 was lost: nothing was heard")
        self.assertTrue(issubclass(CannotCall, SessionLost))
        ((_, settings),) = self.endpoints
        self.assertFalse(settings["options"].allow_reopen)


class FakeReactor:
    """The part of the reactor that running a command needs."""

    def __init__(self) -> None:
        self.stopping: list[Callable[[], Any]] = []
        self.beginning: list[Callable[[], Any]] = []
        self.during: Callable[[], Any] = lambda: None
        self.stopped = 0
        self.waits: list[Any] = []

    def callWhenRunning(self, call: Callable[[], Any]) -> None:
        """See L{IReactorCore}."""
        self.beginning.append(call)

    def addSystemEventTrigger(self, phase: str, event: str, call: Callable[[], Any]) -> None:
        """See L{IReactorCore}."""
        self.stopping.append(call)

    def run(self) -> None:
        """Begin, let happen what the test wants, stop."""
        for call in self.beginning:
            call()
        self.during()
        self.waits += [call() for call in self.stopping]

    def stop(self) -> None:
        """See L{IReactorCore}."""
        self.stopped += 1


class RunningTests(SynchronousTestCase):
    """The reactor of a command."""

    def setUp(self) -> None:
        self.reactor = FakeReactor()
        self.waiting: Deferred[int] = Deferred()

    async def work(self, reactor: Any) -> int:
        """Wait for the test."""
        self.assertIs(reactor, self.reactor)
        return await self.waiting

    def run_(self, during: Callable[[], Any]) -> _Running:
        """Run the work."""
        self.reactor.during = during
        running = _Running(self.reactor, self.work)
        running.run()
        return running

    def test_result(self) -> None:
        """The reactor is stopped when the work is done, and its result is the result."""
        running = self.run_(lambda: self.waiting.callback(3))
        self.assertEqual(running.result(), 3)
        self.assertEqual(self.reactor.stopped, 1)
        self.assertEqual(self.reactor.waits, [None])

    def test_raises(self) -> None:
        """What the work raises is raised."""
        running = self.run_(lambda: self.waiting.errback(ZeroDivisionError()))
        self.assertRaises(ZeroDivisionError, running.result)

    def test_interrupted(self) -> None:
        """When the reactor stops first, the work is cancelled, and waited for."""
        running = self.run_(lambda: None)
        (waits,) = self.reactor.waits
        self.successResultOf(waits)
        self.assertEqual(self.reactor.stopped, 0)
        self.assertEqual(self.assertRaises(Interrupted, running.result).signal, 2)

    def test_neverBegun(self) -> None:
        """A reactor that stops before it has begun is an interruption, too."""
        self.patch(self.reactor, "callWhenRunning", lambda call: None)
        running = _Running(self.reactor, self.work)
        running.run()
        self.assertRaises(Interrupted, running.result)
