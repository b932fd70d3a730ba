"""
Tests of programs whose sessions wait for a link: whoever wants one now, and whoever looks.
"""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from twisted.internet.protocol import Factory
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from hypermail.errors import SessionAborted, SessionTimedOut
from hypermail.internet.endpoints import HypermailClientEndpoint, HypermailServerEndpoint, SessionClientEndpoint
from hypermail.internet.security import SharedSecret
from hypermail.options import Options
from hypermail.services.keeping import CLOSING, StarterService
from hypermail.services.status import COUNTERS, Status
from hypermail.services.watching import checked
from hypermail.test.sessions import PORT, SERVER, Hosts, RecordingProtocol, RecordingStream, errorOf
from hypermail.testing import Conditions

NEAR = Conditions(delay=0.01)
DARK = Conditions(loss=1.0)
SECRET = SharedSecret(b"s" * 32)
#: Links are given up after 3 to 4 s.
OPTIONS = Options(ping_interval=1.0, ping_packet_count=2, connection_timeout=3.0)
#: s in which a link that is gone is noticed, and one that is back used.
NOTICED, USED = 8.0, 40.0


class ReopeningCase(SynchronousTestCase):
    """Two hosts with a secret in common, and a network that goes away."""

    def setUp(self) -> None:
        self.hosts = Hosts(NEAR)
        self.addCleanup(self.hosts.end)

    def settings(self) -> dict[str, Any]:
        """Of all endpoints."""
        return self.hosts.settings(security=SECRET, options=OPTIONS)

    def suspend(self) -> None:
        """Take the network away, until both sides have noticed."""
        self.hosts.network.set_conditions(DARK)
        self.hosts.settle(NOTICED)

    def resume(self) -> None:
        """Bring it back, until both sides go on."""
        self.hosts.network.set_conditions(NEAR)
        self.hosts.settle(USED)


class KeepingTests(ReopeningCase):
    """L{StarterService}"""

    def setUp(self) -> None:
        super().setUp()
        self.hosts.listen(security=SECRET, options=OPTIONS)
        endpoint = SessionClientEndpoint(self.hosts.client, SERVER, PORT, **self.settings())
        self.service = StarterService(self.hosts.client, endpoint, self.hosts.starting, pauses=lambda failed: 1.0)
        self.service.startService()
        self.addCleanup(lambda: self.service.running and self.hosts.run(self.service.stopService()))
        self.hosts.settle()
        self.successResultOf(self.service.whenOpened())
        self.suspend()

    def test_served(self) -> None:
        """Who wants the session waits until it has a link again, and has the same one."""
        waiting = [self.service.whenOpened() for _ in range(2)]
        patient = self.service.whenOpened()
        patient.addTimeout(5, self.hosts.client, onTimeoutCancel=lambda *_: Failure(SessionTimedOut("too long")))
        self.hosts.settle(6)
        self.failureResultOf(patient, SessionTimedOut)
        for one in waiting:
            self.assertNoResult(one)
        self.resume()
        (protocol,) = self.hosts.starting.built
        for one in (*waiting, self.service.whenOpened()):
            self.assertIs(self.successResultOf(one), protocol)

    def test_stops(self) -> None:
        """A service that stops does not wait for a link."""
        waiting = self.service.whenOpened()
        stopping = self.service.stopService()
        self.failureResultOf(waiting, SessionAborted)
        self.hosts.settle(CLOSING + 0.1)
        self.successResultOf(stopping)
        self.assertIsInstance(errorOf(self.hosts.starting.built[0]), SessionAborted)
        self.assertEqual(self.hosts.client.ports, [])

    def test_forgotten(self) -> None:
        """A session that the listener knows no more gives way to a new one."""
        self.hosts.listening.built[-1].session.abort()
        waiting = self.service.whenOpened()
        self.resume()
        self.assertEqual(len(self.hosts.starting.built), 2)
        self.assertIs(self.successResultOf(waiting), self.hosts.starting.built[1])


class SharedTests(ReopeningCase):
    """Twisted's stream endpoints."""

    def setUp(self) -> None:
        super().setUp()
        self.streams: list[Any] = []
        endpoint = HypermailServerEndpoint(self.hosts.server, PORT, interface=SERVER, **self.settings())
        self.hosts.port = self.hosts.run(endpoint.listen(self.factory()))
        self.endpoint = HypermailClientEndpoint(self.hosts.client, SERVER, PORT, **self.settings())

    def factory(self) -> Factory:
        """Makes streams, and keeps them."""
        factory = Factory()
        factory.noisy = False

        def build(address: object) -> RecordingStream:
            self.streams.append(RecordingStream())
            return self.streams[-1]  # type: ignore[no-any-return]

        factory.buildProtocol = build  # type: ignore[method-assign,assignment]
        return factory

    def connect(self) -> Any:
        """A stream."""
        return self.hosts.run(self.endpoint.connect(self.factory()))

    def test_another(self) -> None:
        """A new stream does not wait for the session of the old one to find a link; both go on."""
        first = self.connect()
        self.hosts.network.set_conditions(DARK)
        self.hosts.settle(NOTICED + 200)
        self.hosts.network.set_conditions(NEAR)
        second = self.connect()
        self.assertFalse(_sessionOf(first).connection is _sessionOf(second).connection)
        second.transport.write(b"second")
        first.transport.write(b"first")
        self.hosts.settle(100)
        self.assertEqual({bytes(stream.data) for stream in self.streams if stream.data}, {b"first", b"second"})
        for stream in (first, second):
            stream.transport.loseConnection()
        self.hosts.settle(30)
        self.assertEqual(self.hosts.client.ports, [])

    def test_unused(self) -> None:
        """A session whose last stream ends while there is no link is not kept."""
        first = self.connect()
        self.suspend()
        first.transport.abortConnection()
        self.hosts.settle(1)
        self.assertEqual(self.hosts.client.ports, [])


def _sessionOf(stream: Any) -> Any:
    return stream.transport._session


class StatusTests(ReopeningCase):
    """What is told of a session that has had several links."""

    def test_suspended(self) -> None:
        """Without a link it is suspended; its counters go on over the next, so that rates are never negative."""
        status = Status(lambda: self.hosts.network.now, lambda: datetime(2026, 11, 22, tzinfo=UTC))
        ours: RecordingProtocol
        self.hosts.listen(security=SECRET, options=OPTIONS)
        ours = self.hosts.run(self.hosts.ask(security=SECRET, options=OPTIONS))
        status.add(ours.session)
        for _ in range(20):
            self.hosts.run(ours.session.sendMessage(b"x" * 5_000))
        looks = [status.snapshot()]
        self.suspend()
        looks.append(status.snapshot())
        self.resume()
        for _ in range(10):
            looks.append(status.snapshot())
            self.hosts.settle(0.5)
        self.assertEqual([look["sessions"][0]["state"] for look in looks[:3]], ["open", "suspended", "open"])
        for before, after in pairwise(looks):
            checked(after)
            for name in COUNTERS:
                self.assertGreaterEqual(after["sessions"][0]["counters"][name], before["sessions"][0]["counters"][name])
                self.assertGreaterEqual(after["totals"][name], before["totals"][name])
