"""
What the tests of streams share.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.trial.unittest import SynchronousTestCase

from hypermail.test.sessions import Hosts, RecordingStream, errorOf
from hypermail.testing import Conditions


class StreamTests(SynchronousTestCase):
    """
    A session over a network with a delay of 10 ms.
    """

    def setUp(self) -> None:
        self.hosts = Hosts(Conditions(delay=0.01))
        self.us, self.them = self.hosts.open()
        self.session = self.us.session
        self.addCleanup(self.hosts.end)

    def open(self, ours: Any = RecordingStream, theirs: Any = RecordingStream) -> tuple[Any, Any]:
        return self.hosts.stream(self.session, self.them, ours, theirs)

    def assertDone(self, *protocols: RecordingStream) -> None:
        """These were told once, and last, that the connection was closed cleanly."""
        for protocol in protocols:
            self.assertEqual(protocol.calls.count("connectionLost"), 1, protocol.calls)
            self.assertEqual(protocol.calls[-1], "connectionLost")
            assert protocol.reason is not None
            protocol.reason.trap(ConnectionDone)

    def assertLost(self, protocol: RecordingStream, kind: type[Exception], cause: type[Exception]) -> Any:
        """This was told that the connection was not closed cleanly, and why."""
        self.assertEqual(protocol.calls.count("connectionLost"), 1)
        error = errorOf(protocol)
        self.assertIs(type(error), kind)
        self.assertIsInstance(error.__cause__, cause)
        return error.__cause__


class Pusher:
    """A push producer that writes whenever it may, until it has written 3 MB."""

    def __init__(self, transport: Any) -> None:
        self.transport = transport
        self.paused = False
        self.stopped = False
        self.left = 300
        transport.registerProducer(self, True)
        self.resumeProducing()

    def resumeProducing(self) -> None:
        self.paused = False
        while not self.paused and not self.stopped and self.left:
            self.left -= 1
            self.transport.write(b"x" * 10_000)

    def pauseProducing(self) -> None:
        self.paused = True

    def stopProducing(self) -> None:
        self.stopped = True

    def finish(self) -> None:
        self.stopped = True
        self.transport.unregisterProducer()
