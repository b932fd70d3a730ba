"""
Tests for L{hypermail.services.returning}.
"""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from hypermail.errors import HypermailError, PeerSilent, Reason, StreamCleared
from hypermail.interfaces import ISession
from hypermail.services.returning import ATTEMPT, PAUSE, CannotCall, ReturningSession

SILENCE = CannotCall("nobody is there", Reason.CONNECTION_TIMEOUT)
GONE = PeerSilent("gone")


class Listener:
    """Opens sessions when it is told to."""

    def __init__(self) -> None:
        self.opening: list[Deferred[ISession]] = []
        self.patience: list[float] = []

    async def open(self, reactor: Any, patience: float) -> ISession:
        """See L{hypermail.services.returning.Caller}."""
        self.patience.append(patience)
        self.opening.append(Deferred())
        return await self.opening[-1]

    def take(self) -> ISession:
        """A session opens."""
        session = cast(ISession, object())
        self.opening[-1].callback(session)
        return session


class ReturningTests(SynchronousTestCase):
    """A session that comes back."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.listener = Listener()
        self.said: list[str] = []
        self.sessions = ReturningSession(
            self.clock,
            self.listener,
            "there",
            timeout=20,
            away=self.said.append,
            back=lambda: self.said.append("back"),
        )

    def ask(self, after: ISession | None = None, error: HypermailError | None = None) -> Deferred[ISession]:
        """Ask for a session."""
        return Deferred.fromCoroutine(self.sessions.session(after, error))

    def test_one(self) -> None:
        """All who ask get the same session; an attempt takes only so long."""
        waiting = [self.ask(), self.ask()]
        session = self.listener.take()
        for one in (*waiting, self.ask()):
            self.assertIs(self.successResultOf(one), session)
        self.assertEqual(self.listener.patience, [ATTEMPT])
        self.assertEqual(self.said, [])

    def test_lost(self) -> None:
        """When it was lost, another is opened, once, whoever has noticed it; it is said that this is so."""
        self.ask()
        first = self.listener.take()
        waiting = [self.ask(first, GONE), self.ask(first, GONE)]
        self.assertEqual(self.said, ["gone"])
        self.listener.opening[-1].errback(SILENCE)
        self.clock.advance(PAUSE)
        second = self.listener.take()
        self.assertEqual(self.said, ["gone", "back"])
        for one in (*waiting, self.ask(first, GONE)):
            self.assertIs(self.successResultOf(one), second)
        self.assertEqual(len(self.listener.opening), 3)

    def test_lostAtOnce(self) -> None:
        """Who finds that the session is lost as soon as it has it gets another one."""
        first = self.ask()
        asked: list[Deferred[ISession]] = []

        def again(session: ISession) -> None:
            asked.append(self.ask(session, GONE))

        first.addCallback(again)
        lost = self.listener.take()
        self.assertNoResult(asked[0])
        session = self.listener.take()
        self.assertIsNot(session, lost)
        self.assertIs(self.successResultOf(asked[0]), session)

    def test_cancelledByAnother(self) -> None:
        """Who has a session may cancel who waits for it."""
        first, second = self.ask(), self.ask()
        first.addCallback(lambda _: second.cancel())
        self.listener.take()
        self.failureResultOf(second, CancelledError)

    def test_stillThere(self) -> None:
        """After a stream that has ended in a session that goes on there is a pause, and the same session again."""
        self.ask()
        session = self.listener.take()
        again = self.ask(session, StreamCleared("restarting", Reason.PEER_RESTARTED))
        self.assertNoResult(again)
        self.clock.advance(PAUSE)
        self.assertIs(self.successResultOf(again), session)

    def test_givenUp(self) -> None:
        """After the time that the user has, everybody is told, now and later."""
        self.ask()
        first = self.listener.take()
        waiting = self.ask(first, GONE)
        while self.clock.seconds() < 20 - PAUSE:
            self.assertNoResult(waiting)
            self.listener.opening[-1].errback(SILENCE)
            self.clock.advance(PAUSE)
        self.listener.opening[-1].errback(SILENCE)
        for one in (waiting, self.ask(first, GONE), self.ask()):
            error = self.failureResultOf(one, CannotCall).value
            self.assertEqual(str(error), "the session was lost: gone; nobody has answered at there for 20 s")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_refused(self) -> None:
        """What waiting does not change is told at once; a host that is not known may come back, when it was there."""
        for code, first in ((Reason.PEER_UNTRUSTED, False), (Reason.UNREACHABLE, True)):
            self.setUp()
            if not first:
                self.ask()
                waiting = self.ask(self.listener.take(), GONE)
            else:
                waiting = self.ask()
            self.listener.opening[-1].errback(CannotCall("no", code))
            self.failureResultOf(waiting, CannotCall)
        self.setUp()
        self.ask()
        waiting = self.ask(self.listener.take(), GONE)
        self.listener.opening[-1].errback(CannotCall("no", Reason.UNREACHABLE))
        self.assertNoResult(waiting)

    def test_shuttingDown(self) -> None:
        """A listener that is just ending is one that is waited for, from the beginning."""
        waiting = self.ask()
        self.listener.opening[-1].errback(CannotCall("ending", Reason.SHUTTING_DOWN))
        self.assertEqual(self.said, ["ending"])
        self.clock.advance(PAUSE)
        session = self.listener.take()
        self.assertIs(self.successResultOf(waiting), session)

    def test_cancelled(self) -> None:
        """Who does not want to wait any more does not disturb the others; stopping ends the attempt."""
        one, other = self.ask(), self.ask()
        one.cancel()
        self.failureResultOf(one, CancelledError)
        self.assertNoResult(other)
        self.sessions.stop()
        self.failureResultOf(other, CancelledError)
        self.assertEqual(self.clock.getDelayedCalls(), [])
