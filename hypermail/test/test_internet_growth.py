"""
Tests that sessions that have had many streams are not larger than those that had few, and that those that are over are
gone.
"""

from __future__ import annotations

import gc
from collections import Counter

from twisted.internet.defer import gatherResults
from twisted.internet.protocol import Factory, connectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from hypermail.connection import Connection
from hypermail.errors import MessageUndelivered, SessionClosed
from hypermail.events import StreamOptions
from hypermail.internet.protocol import SessionFactory, SessionProtocol
from hypermail.internet.session import Session
from hypermail.link.link import Link
from hypermail.test.sessions import Hosts, RecordingStream
from hypermail.test.streams import StreamTests
from hypermail.testing import Conditions


class Echo(RecordingStream):
    """Says what it hears, and ends with the other side."""

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)


class Once(RecordingStream):
    """Says one thing, and ends when it comes back. @cvar over: how many have."""

    over = 0

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(b"x" * 100)

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        assert self.transport is not None
        if len(self.data) == 100:
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        Once.over += 1


class GoneTests(SynchronousTestCase):
    """Sessions that are over, and that nobody knows any more."""

    def setUp(self) -> None:
        self.hosts = Hosts(Conditions(delay=0.01))
        for name in ("listening", "starting"):
            factory = SessionFactory.forProtocol(SessionProtocol)
            factory.noisy = False
            setattr(self.hosts, name, factory)
        self.hosts.listen()
        self.kept = self.hosts.run(self.hosts.ask())
        self.addCleanup(self.hosts.end)

    def left(self) -> Counter[type]:
        """How many there are of what a session consists of."""
        kinds = Counter(type(found) for found in gc.get_objects())
        return Counter({kind: kinds[kind] for kind in (Session, Connection, Link, SessionProtocol)})

    def test_gone(self) -> None:
        """They are gone at once: they don't wait for the garbage collector, which would have much to look through."""
        self.hosts.settle()
        gc.collect()
        before = self.left()
        gc.disable()
        self.addCleanup(gc.enable)
        for _ in range(5):
            protocol = self.hosts.run(self.hosts.ask())
            protocol.session.sendMessage(b"x").addErrback(lambda _: None)
            self.hosts.run(protocol.session.close())
            self.hosts.settle()
        del protocol
        self.assertEqual(self.left(), before)

    def test_askedLater(self) -> None:
        """Who knows a session may still ask it what it was, and is told that it is over."""
        session = self.hosts.run(self.hosts.ask()).session
        self.hosts.run(session.close())
        self.hosts.settle()
        self.assertEqual(session.statistics()["state"], "ended")
        self.assertEqual(len(session.sessionID), 16)
        session.unregisterProducer()
        session.abort()
        session.sendDatagram(b"x")
        self.successResultOf(session.close())
        self.failureResultOf(session.sendMessage(b"x"), MessageUndelivered)
        self.failureResultOf(session.ask(b"x"), MessageUndelivered)
        self.failureResultOf(session.ping(), SessionClosed)


class GrowthTests(StreamTests):
    """Streams that are over leave nothing behind."""

    def setUp(self) -> None:
        super().setUp()
        self.them.stream = self.accept
        self.factory = Factory.forProtocol(Once)
        self.factory.noisy = False
        Once.over = 0

    def accept(self, name: bytes, options: StreamOptions) -> Echo:
        """Take a stream of the other side's."""
        return Echo()

    def together(self, count: int) -> None:
        """Open so many at once, and wait until all are over."""
        wanted = Once.over + count
        self.hosts.run(gatherResults([self.session.openStream(self.factory) for _ in range(count)]))
        while Once.over < wanted:
            self.hosts.settle(0.05)
        self.hosts.settle(1)

    def left(self) -> Counter[str]:
        """How many objects of hypermail there are, of each kind."""
        gc.collect()
        kinds = (type(found) for found in gc.get_objects())
        return Counter(kind.__name__ for kind in kinds if str(kind.__module__).startswith("hypermail."))

    def test_sequence(self) -> None:
        """After 5,000 streams, one after the other, there is no more than after 20."""
        for _ in range(20):
            self.together(1)
        before = self.left()
        for _ in range(4_980):
            self.together(1)
        self.assertEqual(self.left() - before, Counter())

    def test_atOnce(self) -> None:
        """After 1,000 streams at once, twice, there is no more than after the first 20."""
        self.together(20)
        before = self.left()
        for _ in range(2):
            self.together(1_000)
        self.assertEqual(self.left() - before, Counter())
