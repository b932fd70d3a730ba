"""
Tests of L{hypermail.internet.session}, over the core in the simulated network.
"""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from hypermail.errors import (
    MessageTooLarge,
    NotSupported,
    SessionKilled,
    UsageError,
)
from hypermail.options import Options, Way
from hypermail.test.sessions import Hosts, RecordingFactory
from hypermail.testing import Blackhole, Conditions


class OtherTests(SynchronousTestCase):
    """
    The rest of what a session can do.
    """

    def setUp(self) -> None:
        self.hosts = Hosts(Conditions(delay=0.01))
        self.ours, self.theirs = self.hosts.open()
        self.session = self.ours.session
        self.addCleanup(self.hosts.end)

    def test_ping(self) -> None:
        """A ping takes what a round trip takes; several at once are each answered."""
        pings = [self.session.ping() for _ in range(3)]
        self.hosts.settle()
        for ping in pings:
            self.assertAlmostEqual(self.successResultOf(ping), 0.02, places=2)

    def test_pingCancelled(self) -> None:
        """A ping that was cancelled disturbs no other, and nobody at the end."""
        first, second = self.session.ping(), self.session.ping()
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.hosts.run(second)
        third = self.session.ping()
        third.cancel()
        self.failureResultOf(third, CancelledError)
        self.session.abort()
        self.hosts.settle()

    def test_pingWhileClosing(self) -> None:
        """A session that is closing takes no new pings."""
        self.theirs.answer = lambda message: Deferred()
        self.session.sendMessage(b"x").addErrback(lambda _: None)
        self.session.close().addErrback(lambda _: None)
        self.hosts.settle()
        self.failureResultOf(self.session.ping(), UsageError)

    def test_datagram(self) -> None:
        """A direct message arrives, when it isn't lost."""
        self.session.sendDatagram(bytearray(b"now"))
        self.hosts.settle()
        self.hosts.network.set_conditions(Conditions(loss=1.0))
        self.session.sendDatagram(b"never")
        self.hosts.settle(0.1)
        self.hosts.network.set_conditions(Conditions())
        self.hosts.settle()
        self.assertEqual(self.theirs.datagrams, [b"now"])

    def test_datagramTooLarge(self) -> None:
        """One that doesn't fit a datagram is refused at once; what isn't bytes, too."""
        self.assertRaises(MessageTooLarge, self.session.sendDatagram, b"x" * 2_000)
        self.assertRaises(TypeError, self.session.sendDatagram, "text")

    def test_datagramFails(self) -> None:
        """An exception in C{datagramReceived} is logged and aborts the session."""

        def fail(data: bytes) -> None:
            raise ValueError()

        self.theirs.datagramReceived = fail  # type: ignore[method-assign]
        self.session.sendDatagram(b"x")
        self.hosts.settle()
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        assert self.ours.reason is not None
        self.ours.reason.trap(SessionKilled)

    def test_wrongWay(self) -> None:
        """Who may only read is told so."""
        reader = RecordingFactory()
        self.hosts.starting = reader
        ours = self.hosts.run(self.hosts.ask(options=Options(way=Way.READ_ONLY)))
        self.failureResultOf(ours.session.sendMessage(b"x"), NotSupported)
        self.assertRaises(NotSupported, ours.session.sendDatagram, b"x")

    def test_statistics(self) -> None:
        """Statistics are those of the core and of the carrier."""
        found = self.session.statistics()
        self.assertGreater(found["datagrams_sent"], 0)
        self.assertEqual(found["carrier"], {})

    def test_idle(self) -> None:
        """An idle session lives on by pings."""
        self.hosts.settle(600)
        self.assertEqual(self.ours.calls, ["sessionOpened"])
        self.hosts.run(self.session.ping())

    def test_blackhole(self) -> None:
        """A network that is gone for a while does no harm."""
        self.hosts.network.set_conditions(Conditions(delay=0.01, blackholes=(Blackhole(0.1, 8.0),)))
        sent = self.session.sendMessage(b"x")
        self.hosts.settle(1)
        more = self.session.sendMessage(b"y")
        self.hosts.settle(12)
        self.successResultOf(sent)
        self.successResultOf(more)
