"""
Twisted's L{ClientService} over hypermail's stream endpoints: what keeps a program connected over TCP does here, too.
"""

from __future__ import annotations

from typing import Any

from twisted.application.internet import ClientService
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from hypermail.internet.endpoints import HypermailClientEndpoint, HypermailServerEndpoint
from hypermail.test.sessions import PORT, SERVER, Hosts
from hypermail.test.test_internet_shared import Streams
from hypermail.testing import Conditions


class ClientServiceTests(SynchronousTestCase):
    """
    A L{ClientService} that tries again each second
    """

    def setUp(self) -> None:
        self.hosts = Hosts(Conditions(delay=0.01))
        self.serving, self.asking = Streams(), Streams()
        endpoint = HypermailClientEndpoint(self.hosts.client, SERVER, PORT, **self.hosts.settings())
        self.service = ClientService(endpoint, self.asking, retryPolicy=lambda attempt: 1.0, clock=self.hosts.client)
        self.service.startService()
        self.addCleanup(self.end)

    def end(self) -> None:
        """Nothing is left of anything, and nothing was logged."""
        if self.service.running:
            self.stop()
        self.hosts.end()

    def stop(self) -> None:
        self.hosts.run(self.service.stopService())
        self.hosts.settle(1)
        self.assertEqual(self.hosts.client.getDelayedCalls(), [])

    def listen(self) -> None:
        endpoint = HypermailServerEndpoint(self.hosts.server, PORT, **self.hosts.settings(interface=SERVER))
        self.hosts.port = self.hosts.run(endpoint.listen(self.serving))

    def connected(self) -> Any:
        waiting: Deferred[Any] = self.service.whenConnected()
        return self.hosts.run(waiting)

    def test_reconnects(self) -> None:
        """It connects once there is a listener, and again when the connection is lost."""
        self.hosts.settle(15)
        self.listen()
        first = self.connected()
        self.hosts.settle(0.1)
        self.serving.built[0].transport.abortConnection()
        self.hosts.settle(0.1)
        self.assertIn("connectionLost", first.calls)
        self.assertIsNot(self.connected(), first)

    def test_stopped(self) -> None:
        """Stopping closes the connection, and waits for it; what was written is flushed."""
        self.listen()
        protocol = self.connected()
        protocol.transport.write(b"x" * 100_000)
        self.stop()
        self.assertEqual(len(self.serving.built[0].data), 100_000)

    def test_stoppedWhileConnecting(self) -> None:
        """Stopping withdraws a request that nobody has answered."""
        waiting = self.service.whenConnected()
        self.hosts.settle(3)
        self.stop()
        self.failureResultOf(waiting, CancelledError)
