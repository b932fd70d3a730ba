"""
Tests for L{hypermail.services.keeping}.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from hypermail.errors import SessionAborted, UsageError
from hypermail.internet.endpoints import SessionClientEndpoint
from hypermail.options import Options
from hypermail.services.keeping import CLOSING, MOST_WAITING, StarterService
from hypermail.test.sessions import PORT, SERVER, Hosts, logged
from hypermail.testing import Conditions

#: Sessions that give up soon.
SOON = Options(connection_timeout=1.0)


class KeepingTests(SynchronousTestCase):
    """A service that keeps a session with a listener in the simulated network."""

    def setUp(self) -> None:
        self.hosts = Hosts(Conditions(delay=0.01))
        self.addCleanup(self.hosts.end)
        self.pauses: list[int] = []
        self.factory = self.hosts.starting
        self.service = self.new()

    def new(self, **settings: Any) -> StarterService:
        """A service."""
        endpoint = SessionClientEndpoint(self.hosts.client, SERVER, PORT, **self.hosts.settings(**settings))
        service = StarterService(self.hosts.client, endpoint, self.factory, pauses=self.pause)
        self.addCleanup(lambda: service.running and self.hosts.run(service.stopService()))
        return service

    def pause(self, failed: int) -> float:
        """1 s, then 2 s, and so on."""
        self.pauses.append(failed)
        return failed + 1.0

    def test_opens(self) -> None:
        """The session opens with the service; who waits for it gets its protocol, later ones at once."""
        self.hosts.listen()
        self.service.startService()
        waiting = [self.service.whenOpened(), self.service.whenOpened()]
        self.assertIsNone(self.service.protocol)
        self.hosts.settle(1)
        protocol = self.factory.built[-1]
        self.assertIs(self.service.protocol, protocol)
        for one in (*waiting, self.service.whenOpened()):
            self.assertIs(self.successResultOf(one), protocol)
        self.assertEqual(protocol.calls, ["sessionOpened"])

    def test_again(self) -> None:
        """What is lost is opened again, after a pause that does not grow while sessions open."""
        self.hosts.listen()
        self.service.startService()
        for _ in range(3):
            self.hosts.settle(0.5)
            self.hosts.listening.built[-1].session.abort("out")
            self.hosts.settle(0.9)
            self.assertIsNone(self.service.protocol)
            waiting = self.service.whenOpened()
            self.hosts.settle(0.2)
            self.assertIs(self.successResultOf(waiting), self.factory.built[-1])
        self.assertEqual(self.pauses, [0, 0, 0])
        self.assertEqual(
            [protocol.calls for protocol in self.factory.built[:3]], [["sessionOpened", "sessionLost"]] * 3
        )

    def test_nobody(self) -> None:
        """Where nobody answers it is asked again after pauses that grow, and each line of the log says when."""
        lines = logged(self)
        self.service = self.new(options=SOON)
        self.service.startService()
        self.hosts.settle(12)
        self.assertEqual(self.pauses, [0, 1, 2, 3])
        said = [line for line in lines if "the next attempt is in" in line]
        self.assertEqual(len(said), 4)
        self.assertIn(f"no session with {SERVER}:{PORT}: ", said[0])
        self.assertIn("is in 1.0 s", said[0])
        self.hosts.listen()
        self.hosts.settle(4)
        self.assertIsNotNone(self.service.protocol)

    def test_applicationFails(self) -> None:
        """What the application raises in C{buildProtocol}, or when its session opens, does not end the keeping."""
        self.hosts.listen()
        build, faults = self.factory.buildProtocol, ["build", "open"]

        def failing() -> None:
            raise ValueError("not now")

        def buildProtocol(address: Any) -> Any:
            fault = faults.pop(0) if faults else None
            if fault == "build":
                failing()
            protocol = build(address)
            if fault == "open":
                protocol.sessionOpened = failing
            return protocol

        self.patch(self.factory, "buildProtocol", buildProtocol)
        self.service.startService()
        waiting = self.service.whenOpened()
        self.hosts.settle(10)
        self.assertIs(self.successResultOf(waiting), self.service.protocol)
        self.assertEqual((faults, len(self.factory.built)), ([], 2))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 2)

    def test_stop(self) -> None:
        """Stopping closes the session gracefully, and none is opened any more."""
        self.hosts.listen()
        self.service.startService()
        self.hosts.settle(1)
        self.hosts.run(self.service.stopService())
        self.assertEqual(self.hosts.listening.built[-1].calls[-1], "sessionLost")
        self.hosts.settle(100)
        self.assertEqual((len(self.factory.built), self.pauses), (1, []))

    def test_stopInTime(self) -> None:
        """A session whose peer is gone holds up the stop for no longer than that."""
        self.hosts.listen()
        self.service.startService()
        self.hosts.settle(1)
        self.hosts.network.set_conditions(Conditions(delay=0.01, loss=1.0))
        stopping = self.service.stopService()
        self.hosts.settle(CLOSING - 0.1)
        self.assertNoResult(stopping)
        self.hosts.settle(0.2)
        self.successResultOf(stopping)
        self.hosts.network.set_conditions(Conditions(delay=0.01))

    def test_stopWhileAsking(self) -> None:
        """Stopping withdraws the request, or ends the pause, and those who wait are told."""
        for seconds in (0.5, 1.5):
            service = self.new(options=SOON)
            service.startService()
            waiting = service.whenOpened()
            self.hosts.settle(seconds)
            self.hosts.run(service.stopService())
            self.failureResultOf(waiting, SessionAborted)
            self.failureResultOf(service.whenOpened(), SessionAborted)

    def test_cancelsOther(self) -> None:
        """Who is told of the session may cancel another one that waits, and wait again."""
        self.hosts.listen()
        self.service.startService()
        first, second, third = (self.service.whenOpened() for _ in range(3))
        again: list[Any] = []

        def opened(_: object) -> None:
            second.cancel()
            again.append(self.service.whenOpened())

        first.addCallback(opened)
        self.hosts.settle(1)
        self.failureResultOf(second, CancelledError)
        for one in (third, *again):
            self.assertIs(self.successResultOf(one), self.service.protocol)
        self.assertEqual(self.factory.built[-1].calls, ["sessionOpened"])

    def test_closing(self) -> None:
        """Who asks while the application closes the session waits for the next one."""
        self.hosts.listen()
        self.service.startService()
        self.hosts.settle(1)
        before = self.service.protocol
        assert before is not None
        closing = before.session.close()
        waiting = self.service.whenOpened()
        self.assertIs(self.service.protocol, before)
        self.assertNoResult(waiting)
        self.hosts.settle(3)
        self.successResultOf(closing)
        self.assertIs(self.successResultOf(waiting), self.service.protocol)
        self.assertIsNot(self.service.protocol, before)

    def test_waiting(self) -> None:
        """Who waits may give up; too many can't wait."""
        self.service.startService()
        waiting: list[Deferred[Any]] = [self.service.whenOpened() for _ in range(MOST_WAITING)]
        self.failureResultOf(self.service.whenOpened(), UsageError)
        waiting[7].cancel()
        self.failureResultOf(waiting[7], CancelledError)
        waiting[7] = self.service.whenOpened()
        self.hosts.run(self.service.stopService())
        for one in waiting:
            self.failureResultOf(one, SessionAborted)
