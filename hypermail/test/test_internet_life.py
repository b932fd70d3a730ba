"""
Tests of L{hypermail.internet.life}: how sessions begin and end, over the core in the simulated network.
"""

from __future__ import annotations

import contextlib
from typing import Any, cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.logger import ILogObserver, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from hypermail.errors import (
    MessageUndelivered,
    PeerSilent,
    Reason,
    SessionAborted,
    SessionClosed,
    SessionKilled,
    SessionLost,
    SessionRejected,
    SessionTimedOut,
)
from hypermail.events import SessionRequested
from hypermail.interfaces import ISession, ISessionFactory, ISessionProtocol
from hypermail.internet.address import HypermailAddress
from hypermail.internet.protocol import SessionFactory
from hypermail.internet.session import Session
from hypermail.options import Options, Way
from hypermail.test.sessions import CLIENT, PORT, SERVER, Hosts, RecordingProtocol, errorOf, logged
from hypermail.testing import Conditions


class OpeningTests(SynchronousTestCase):
    """
    How a session comes to be.
    """

    def setUp(self) -> None:
        self.hosts = Hosts()
        self.addCleanup(self.hosts.end)

    def test_interfaces(self) -> None:
        """Sessions, protocols and factories are what their interfaces say."""
        ours, _ = self.hosts.open()
        verifyObject(ISession, ours.session)
        verifyObject(ISessionProtocol, ours)
        verifyObject(ISessionFactory, self.hosts.starting)
        verifyObject(ISessionFactory, SessionFactory())

    def test_opened(self) -> None:
        """Both sides are told that the session is open, once, and know who they are."""
        ours, theirs = self.hosts.open()
        self.hosts.settle()
        self.assertEqual((ours.calls, theirs.calls), (["sessionOpened"], ["sessionOpened"]))
        self.assertEqual(ours.session.sessionID, theirs.session.sessionID)
        self.assertEqual(ours.session.getPeer(), HypermailAddress(SERVER, PORT))
        self.assertEqual(theirs.session.getHost(), HypermailAddress(SERVER, PORT))
        self.assertEqual(theirs.session.getPeer().host, CLIENT)
        self.assertIsNone(ours.session.peerCertificate())
        self.assertIn(ours.session.sessionID.hex(), repr(ours.session))

    def test_requested(self) -> None:
        """The listener's factory is asked, and told who asks for which way; both sides know the way."""
        ours, theirs = self.hosts.open(options=Options(way=Way.WRITE_ONLY))
        (request,) = self.hosts.listening.requests
        self.assertEqual((request.way, request.address), (Way.WRITE_ONLY, theirs.session.getPeer()))
        self.assertEqual((ours.session.way, theirs.session.way), (Way.WRITE_ONLY, Way.WRITE_ONLY))

    def test_decidedLater(self) -> None:
        """The decision may be a Deferred; nothing happens before it has fired."""
        decision: Deferred[None] = Deferred()
        self.hosts.listening.decide = lambda request: decision
        self.hosts.listen()
        asking = self.hosts.ask()
        self.hosts.settle(3)
        self.assertNoResult(asking)
        self.assertEqual(self.hosts.listening.built, [])
        decision.callback(None)
        self.hosts.run(asking)

    def test_decidedByCoroutine(self) -> None:
        """The decision may be a coroutine."""

        async def decide(request: SessionRequested) -> None:
            await deferLater(self.hosts.server, 1.0)

        self.hosts.listening.decide = decide
        self.hosts.open()

    def test_rejected(self) -> None:
        """Raising a hypermail error rejects: code and text are what the connecting Deferred fails with."""

        def decide(request: SessionRequested) -> None:
            raise SessionRejected("only on weekdays", 4711)

        self.hosts.listening.decide = decide
        self.hosts.listen()
        error = self.failureResultOf(self._settled(self.hosts.ask()), SessionRejected).value
        self.assertEqual(error.code, 4711)
        self.assertIn("only on weekdays", error.text)
        (protocol,) = self.hosts.starting.built
        self.assertEqual(protocol.calls, ["sessionLost"])
        assert protocol.reason is not None
        self.assertIs(protocol.reason.value, error)

    def _settled(self, deferred: Deferred[Any], seconds: float = 5.0) -> Deferred[Any]:
        self.hosts.settle(seconds)
        return deferred

    def test_rejectedByFailure(self) -> None:
        """Any other exception rejects, too; it is logged, and the stranger learns no more than its class."""

        async def decide(request: SessionRequested) -> None:
            raise ValueError("secret")

        self.hosts.listening.decide = decide
        self.hosts.listen()
        error = self.failureResultOf(self._settled(self.hosts.ask()), SessionRejected).value
        self.assertIn("ValueError", error.text)
        self.assertNotIn("secret", error.text)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_noProtocol(self) -> None:
        """A factory that builds no protocol rejects."""
        self.hosts.listening.make = lambda: None
        self.hosts.listen()
        error = self.failureResultOf(self._settled(self.hosts.ask()), SessionRejected).value
        self.assertEqual(error.code, Reason.SESSION_REJECTED)

    def test_buildProtocolFails(self) -> None:
        """A factory that fails to build a protocol rejects."""

        def make() -> RecordingProtocol:
            raise ZeroDivisionError()

        self.hosts.listening.make = make
        self.hosts.listen()
        self.failureResultOf(self._settled(self.hosts.ask()), SessionRejected)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_decisionIsCancelled(self) -> None:
        """A stranger that gives up doesn't need the decision any more."""
        cancelled: list[object] = []
        self.hosts.listening.decide = lambda request: Deferred(cancelled.append)
        self.hosts.listen()
        asking = self.hosts.ask()
        self.hosts.settle()
        asking.cancel()
        self.hosts.settle()
        self.failureResultOf(asking, CancelledError)
        self.assertEqual((len(cancelled), self.hosts.listening.built), (1, []))

    def test_decidedTooLate(self) -> None:
        """A protocol that nobody waits for any more is told that, and no other is built."""
        late = RecordingProtocol()

        async def decide(request: object) -> RecordingProtocol:
            with contextlib.suppress(CancelledError):
                await Deferred()
            return late

        self.hosts.listening.decide = decide
        self.hosts.listen()
        asking = self.hosts.ask()
        self.hosts.settle()
        asking.cancel()
        self.hosts.settle()
        self.failureResultOf(asking, CancelledError)
        self.assertEqual((late.calls, self.hosts.listening.built), (["sessionLost"], []))
        self.assertIsInstance(errorOf(late), SessionLost)

    def test_nobodyThere(self) -> None:
        """Nobody listening: the connecting Deferred fails within C{connection_timeout}."""
        asking = self.hosts.ask(options=Options(connection_timeout=7.0))
        self.hosts.settle(6.9)
        self.assertNoResult(asking)
        self.hosts.settle(0.2)
        error = self.failureResultOf(asking, SessionTimedOut).value
        self.assertIn("7 s", error.text)

    def test_openedFails(self) -> None:
        """An exception in C{sessionOpened} is logged and aborts the session; the peer reads no details."""

        def opened() -> None:
            raise ValueError("secret")

        self.hosts.listen()
        made = RecordingProtocol()
        made.sessionOpened = opened  # type: ignore[method-assign]
        self.hosts.listening.make = lambda: made
        error = self.failureResultOf(self._settled(self.hosts.ask()), SessionKilled).value
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.assertNotIn("secret", error.text)
        assert made.reason is not None
        made.reason.trap(SessionAborted)

    def test_openedFailsLater(self) -> None:
        """So it is with a coroutine."""

        async def opened() -> None:
            await deferLater(self.hosts.client, 1.0)
            raise ValueError("secret")

        made = RecordingProtocol()
        made.sessionOpened = opened  # type: ignore[method-assign]
        self.hosts.starting.make = lambda: made
        _, theirs = self.hosts.open()
        self.hosts.settle(3)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        assert theirs.reason is not None
        theirs.reason.trap(SessionKilled)


class EndingTests(SynchronousTestCase):
    """
    How a session ends.
    """

    def setUp(self) -> None:
        self.hosts = Hosts(Conditions(delay=0.01))
        self.ours, self.theirs = self.hosts.open()
        self.session = self.ours.session
        self.addCleanup(self.hosts.end)

    def test_close(self) -> None:
        """Closing tells both sides, after what was sent before."""
        sent = self.session.sendMessage(b"last words")
        closing = self.session.close()
        self.hosts.run(closing)
        self.successResultOf(sent)
        self.hosts.settle()
        self.assertEqual(self.theirs.messages, [b"last words"])
        for protocol in (self.ours, self.theirs):
            self.assertEqual(protocol.calls, ["sessionOpened", "sessionLost"])
            assert protocol.reason is not None
            protocol.reason.trap(SessionClosed)

    def test_closeLeavesNothing(self) -> None:
        """When C{close} of a starter has fired, nothing of it is left in its reactor."""
        self.hosts.run(self.session.close())
        self.assertEqual(self.hosts.client.getDelayedCalls(), [])
        self.assertNotIn(CLIENT, [host for host, _ in self.hosts.network.attached])
        self.assertEqual(self.hosts.starting.calls, ["start", "stop"])

    def test_notKeptByLog(self) -> None:
        """What is logged of a session doesn't keep it: where no log was begun Twisted has the last 65,536 events."""
        events: list[Any] = []
        keep = cast(ILogObserver, events.append)
        globalLogPublisher.addObserver(keep)
        self.addCleanup(globalLogPublisher.removeObserver, keep)
        self.hosts.run(self.session.close())
        self.hosts.settle()
        ends = [event for event in events if "ended" in event["log_format"]]
        self.assertEqual(len(ends), 2)
        for event in ends:
            kept = [*event.values(), event["log_logger"].source]
            self.assertEqual([value for value in kept if isinstance(value, (Session, RecordingProtocol))], [])

    def test_closeByListener(self) -> None:
        """A listener's session may be closed, too; then the starter's socket goes by itself."""
        self.hosts.run(self.theirs.session.close())
        self.hosts.settle()
        assert self.ours.reason is not None
        self.ours.reason.trap(SessionClosed)
        self.assertNotIn(CLIENT, [host for host, _ in self.hosts.network.attached])

    def test_closeTwice(self) -> None:
        """Everybody who closes gets a Deferred that fires, after the end as well."""
        first, second = self.session.close(), self.session.close()
        self.hosts.run(first)
        self.successResultOf(second)
        self.successResultOf(self.session.close())

    def test_closeBoth(self) -> None:
        """Both sides may close at once."""
        first, second = self.session.close(), self.theirs.session.close()
        self.hosts.run(first)
        self.hosts.run(second)

    def test_closeWhileReleasing(self) -> None:
        """When the peer has closed, C{close} still waits until nothing is left here."""
        closed: list[Deferred[None]] = []
        self.ours.sessionLost = lambda reason: closed.append(self.session.close())  # type: ignore[method-assign]
        self.theirs.session.close()
        self.hosts.settle()
        self.successResultOf(closed[0])

    def test_closeIsCancelled(self) -> None:
        """Cancelling C{close} aborts."""
        self.hosts.network.set_conditions(Conditions(loss=1.0))
        closing = self.session.close()
        self.hosts.settle()
        closing.cancel()
        self.failureResultOf(closing, CancelledError)
        self.hosts.settle()
        assert self.ours.reason is not None
        self.ours.reason.trap(SessionAborted)

    def test_closeFails(self) -> None:
        """C{close} errbacks when the session ends otherwise before it is done; later calls, too."""
        self.theirs.answer = lambda message: Deferred()
        sent = self.session.sendMessage(b"never taken")
        closing = self.session.close()
        self.hosts.settle()
        self.theirs.session.abort("enough")
        self.hosts.settle(5)
        self.failureResultOf(closing, SessionKilled)
        self.failureResultOf(sent, MessageUndelivered)
        self.failureResultOf(self.session.close(), SessionKilled)

    def test_abort(self) -> None:
        """Aborting tells the peer code and text."""
        self.session.abort("out of paper", 77)
        self.hosts.settle()
        self.assertIsInstance(errorOf(self.ours), SessionAborted)
        error = errorOf(self.theirs)
        self.assertIsInstance(error, SessionKilled)
        self.assertEqual(error.code, 77)
        self.assertIn("out of paper", error.text)

    def test_abortTwice(self) -> None:
        """Aborting what is over is harmless."""
        self.session.abort()
        self.session.abort()
        self.hosts.settle()
        self.session.abort()
        self.assertEqual(self.ours.calls, ["sessionOpened", "sessionLost"])

    def test_afterTheEnd(self) -> None:
        """Everything that is asked for after the end fails with what ended the session."""
        self.session.abort()
        self.hosts.settle()
        self.failureResultOf(self.session.sendMessage(b"x"), MessageUndelivered)
        self.assertRaises(MessageUndelivered, self.session.sendMessages, [b"x"])
        self.failureResultOf(self.session.openStream(None), SessionAborted)  # type: ignore[arg-type]
        self.failureResultOf(self.session.ping(), SessionAborted)
        self.failureResultOf(self.session.close(), SessionAborted)
        self.session.sendDatagram(b"x")
        self.session.unregisterProducer()

    def test_everyoneIsTold(self) -> None:
        """Whoever waits for something is told when the peer is gone."""
        self.theirs.answer = lambda message: Deferred()
        sent = self.session.sendMessage(b"x")
        self.hosts.settle()
        self.hosts.network.set_conditions(Conditions(loss=1.0))
        ping = self.session.ping()
        late = self.session.sendMessage(b"y")
        self.hosts.settle(60)
        self.failureResultOf(sent, MessageUndelivered)
        self.failureResultOf(late, MessageUndelivered)
        self.failureResultOf(ping, PeerSilent)

    def test_lostFails(self) -> None:
        """An exception in C{sessionLost} is logged, and nothing else is spoilt."""

        def lost(reason: object) -> None:
            raise ValueError()

        self.ours.sessionLost = lost  # type: ignore[method-assign]
        self.hosts.run(self.session.close())
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_stopListening(self) -> None:
        """A port that stops listening ends its sessions, and says so."""
        assert self.hosts.port is not None
        stopping = self.hosts.port.stopListening()
        assert stopping is not None
        self.hosts.run(stopping)
        assert self.theirs.reason is not None
        self.theirs.reason.trap(SessionAborted)
        self.hosts.settle()
        error = errorOf(self.ours)
        self.assertIsInstance(error, SessionKilled)
        self.assertEqual(error.code, Reason.SHUTTING_DOWN)
        self.assertEqual(self.hosts.listening.calls, ["start", "stop"])

    def test_logged(self) -> None:
        """One line on each side says how the session ended."""
        found = logged(self)
        self.session.abort("out of paper", 77)
        self.hosts.settle()
        lines = [line for line in found if line.startswith("session")]
        self.assertEqual(len(lines), 2)
        for line in lines:
            self.assertIn(self.session.sessionID.hex(), line)
            self.assertIn("out of paper", line)
