"""
Tests of L{hypermail.internet.shared}: how long a session stays that no stream uses.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from hypermail.errors import UsageError
from hypermail.internet.endpoints import HypermailClientEndpoint, HypermailServerEndpoint
from hypermail.internet.shared import _registries
from hypermail.test.sessions import PORT, SERVER, Hosts
from hypermail.test.test_internet_shared import Streams
from hypermail.testing import Conditions


class KeepingTests(SynchronousTestCase):
    """
    C{keep} of L{HypermailClientEndpoint}
    """

    def setUp(self) -> None:
        self.hosts = Hosts(Conditions(delay=0.01))
        self.serving, self.asking = Streams(), Streams()
        endpoint = HypermailServerEndpoint(self.hosts.server, PORT, **self.hosts.settings(interface=SERVER))
        self.hosts.port = self.hosts.run(endpoint.listen(self.serving))
        self.addCleanup(self.hosts.end)

    def connect(self, keep: float = 5.0) -> Any:
        endpoint = HypermailClientEndpoint(self.hosts.client, SERVER, PORT, **self.hosts.settings(keep=keep))
        return self.hosts.run(endpoint.connect(self.asking))

    def sockets(self) -> int:
        """How many sockets the client has."""
        return len({port for host, port in self.hosts.network.attached if host != SERVER})

    def lose(self, stream: Any, seconds: float) -> None:
        """End a stream, and let so much time pass since its session is unused."""
        stream.transport.loseConnection()
        self.hosts.run(stream.lost)
        self.hosts.settle(seconds)

    def test_reused(self) -> None:
        """A stream that comes in time uses the session that is there, again and again."""
        first = self.connect()
        session = first.transport._session
        for _ in range(3):
            self.lose(first, 4.9)
            first = self.connect()
            self.assertIs(first.transport._session, session)
            self.hosts.settle(6)
            self.assertEqual(self.sockets(), 1)

    def test_closed(self) -> None:
        """After that time it is closed, and nothing is left; the next stream opens another one."""
        first = self.connect()
        self.lose(first, 4.9)
        self.assertEqual(self.sockets(), 1)
        self.hosts.settle(0.5)
        self.assertEqual((self.sockets(), _registries[self.hosts.client]), (0, {}))
        self.assertEqual(self.hosts.client.getDelayedCalls(), [])
        again = self.connect()
        self.assertIsNot(again.transport._session, first.transport._session)

    def test_longest(self) -> None:
        """Endpoints that differ in this only share a session, and it stays as long as any of them wishes."""
        first, second = self.connect(5.0), self.connect(0.0)
        self.assertIs(first.transport._session, second.transport._session)
        self.lose(first, 1)
        self.lose(second, 4.9)
        self.assertEqual(self.sockets(), 1)
        self.hosts.settle(0.5)
        self.assertEqual(self.sockets(), 0)

    def test_lost(self) -> None:
        """A session that is lost while it is kept leaves nothing behind, and is not used again."""
        first = self.connect(1_000.0)
        self.lose(first, 1)
        assert self.hosts.port is not None
        self.hosts.port.stopListening()
        self.hosts.settle(10)
        self.assertEqual((self.sockets(), _registries[self.hosts.client]), (0, {}))
        self.assertEqual(self.hosts.client.getDelayedCalls(), [])

    def test_lostInUse(self) -> None:
        """... and one that is lost with its streams is not kept."""
        first = self.connect(1_000.0)
        first.transport._session.abort()
        self.hosts.settle(10)
        self.assertEqual((self.sockets(), _registries[self.hosts.client]), (0, {}))
        self.assertEqual(self.hosts.client.getDelayedCalls(), [])

    def test_lostBefore(self) -> None:
        """A session that is over before its last stream is, as that was paused, is not kept either."""
        first = self.connect(1_000.0)
        (theirs,) = self.serving.built
        first.transport.pauseProducing()
        theirs.transport.loseConnection()
        self.hosts.settle(1)
        first.transport._session.close()
        self.hosts.settle(10)
        self.assertNotIn("connectionLost", first.calls)
        first.transport.resumeProducing()
        self.hosts.settle(10)
        self.assertIn("connectionLost", first.calls)
        self.assertEqual((self.sockets(), self.hosts.client.getDelayedCalls()), (0, []))

    def test_neverOpened(self) -> None:
        """A request that is withdrawn before there is a session leaves none."""
        endpoint = HypermailClientEndpoint(self.hosts.client, SERVER, PORT, **self.hosts.settings(keep=9.0))
        connecting = endpoint.connect(self.asking)
        connecting.cancel()
        connecting.addErrback(lambda _: None)
        self.hosts.settle(1)
        self.assertEqual((self.sockets(), self.hosts.client.getDelayedCalls()), (0, []))

    def test_wrong(self) -> None:
        """What is no number of seconds is refused."""
        for keep in (-1.0, float("nan"), float("inf")):
            self.assertRaises(UsageError, HypermailClientEndpoint, self.hosts.client, SERVER, PORT, keep=keep)
