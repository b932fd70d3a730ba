"""
Tests of L{hypermail.internet.crowds}: many sessions that send to one socket.
"""

from __future__ import annotations

from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from hypermail.connection import Connection
from hypermail.internet.crowds import LITTLE
from hypermail.internet.datagrams import HypermailDatagramProtocol
from hypermail.internet.security import Plain
from hypermail.options import KIB, Options
from hypermail.test import test_internet_datagrams as pairs
from hypermail.test.producers import Producer
from hypermail.test.sessions import PORT, SERVER, RecordingFactory, RecordingProtocol
from hypermail.testing import SimulatedNetwork

#: Bytes of the sockets' buffers, so that the half of it is soon in flight.
BUFFER = 64 * KIB


class CrowdCase(SynchronousTestCase):
    """
    Sessions of one starter's socket with one listener, whose carriers are in memory.
    """

    host = "127.0.0.1"
    step = 0.001

    def setUp(self) -> None:
        self.network = SimulatedNetwork()
        self.clock = self.network.reactor(SERVER)
        self.factory = RecordingFactory()
        options = Options(receive_buffer=BUFFER, discover_mtu=False)
        security = Plain(allowRemote=True)
        self.listener = HypermailDatagramProtocol(self.factory, security=security, options=options)
        self.starter = HypermailDatagramProtocol(security=security, options=options)
        self.carriers = [pairs.MemoryCarrier(self.clock), pairs.MemoryCarrier(self.clock)]
        for protocol, carrier in zip((self.listener, self.starter), self.carriers):
            protocol.makeConnection(carrier)  # type: ignore[arg-type]
        self.sent: list[Deferred[None]] = []
        self.most = 0
        self.addCleanup(self.stop)

    def stop(self) -> None:
        for protocol in (self.starter, self.listener):
            protocol.doStop()
        self.network.advance(0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def begin(self, count: int) -> list[Any]:
        """Open sessions."""
        address = (self.host, PORT)
        sessions = [self.starter.startSession(address, RecordingProtocol()) for _ in range(count)]
        self.exchange(0.1)
        self.assertEqual([session.opened for session in sessions], [True] * count)
        return sessions

    def send(self, session: Any, size: int) -> None:
        """Send messages of so many bytes together; whether they arrive is seen by L{settle}."""
        for _ in range(size // 1_000):
            self.sent.append(session.sendMessage(bytes(1_000)))

    def exchange(self, seconds: float) -> None:
        """Carry trains to and fro for some time."""
        for _ in range(int(seconds / self.step)):
            self.network.advance(self.step)
            self.note()
            self.carry(0)
            self.note()
            self.carry(1)

    def note(self) -> None:
        """See how much is in flight."""
        self.most = max(self.most, sum(self.flights()))

    def flights(self) -> list[int]:
        """What each session has in flight."""
        return [connection.allowance.in_flight for connection in self.starter.pump.sessions]

    def carry(self, number: int) -> None:
        """Carry what one side has sent to the other: the listener's (0) or the starter's (1)."""
        target, port = ((self.starter, PORT), (self.listener, 9))[number]
        trains, self.carriers[number].trains = self.carriers[number].trains, []
        datagrams = [memoryview(datagram) for train in trains for datagram in train.datagrams]
        if datagrams:
            target.datagramsReceived(datagrams, (self.host, port))

    def settle(self, seconds: float = 2.0) -> None:
        """Everything arrives, and nothing is kept of the crowd."""
        self.exchange(seconds)
        for deferred in self.sent:
            self.successResultOf(deferred)
        self.assertEqual(sum(self.flights()), 0)
        self.assertEqual(self.starter.pump._crowds._crowds, {})


class CrowdTests(CrowdCase):
    """
    On one machine.
    """

    def test_together(self) -> None:
        """All of them together have no more in flight than one would have."""
        sessions = self.begin(20)
        self.most = 0
        for session in sessions:
            self.send(session, 50_000)
        self.settle()
        # In the first turn nobody knows yet of what the others are going to say in it.
        self.assertLessEqual(self.most, BUFFER // 2 + len(sessions) * LITTLE)
        self.assertGreater(self.most, BUFFER // 4)

    def test_alone(self) -> None:
        """One by itself does not share, neither without others nor while they are silent, and leaves nothing behind."""
        (session,) = self.begin(1)
        self.send(session, 200_000)
        self.network.advance(0)
        self.assertEqual(self.starter.pump._crowds._crowds, {})
        self.settle()
        self.begin(1)
        self.send(session, 200_000)
        self.network.advance(0)
        self.assertIsNone(self.starter.pump._crowds._crowds[session.connection.address].share(session))
        self.settle()

    def test_second(self) -> None:
        """What one had in flight before there was another counts from the moment that the other speaks beside it."""
        (session,) = self.begin(1)
        self.send(session, 2_000_000)
        self.exchange(0.01)
        other = self.starter.startSession((self.host, PORT), RecordingProtocol())
        self.exchange(0.02)
        self.assertGreater(session.connection.allowance.in_flight, BUFFER // 4)
        self.most = 0
        self.send(other, 400_000)
        self.settle()
        self.assertLessEqual(self.most, BUFFER // 2 + 2 * LITTLE)

    def test_deaf(self) -> None:
        """One whose peer takes and answers nothing any more holds up nobody else."""
        deaf, other = self.begin(2)
        receive = Connection.receive
        with mock.patch.object(Connection, "receive", autospec=True) as received:

            def hear(connection: Connection, *args: Any, **kwargs: Any) -> None:
                if connection.local_tag != deaf.connection.remote_tag:
                    receive(connection, *args, **kwargs)

            received.side_effect = hear
            for session in (deaf, other):
                self.send(session, 1_000_000)
            self.exchange(2.0)
        self.assertEqual([len(protocol.messages) for protocol in self.factory.built], [0, 1_000])
        self.assertTrue(deaf.connection.unanswered)
        self.exchange(5.0)
        self.settle()

    def test_turns(self) -> None:
        """Who waits is served in the order in which they have come, and those that are left begin again behind it."""
        sessions = self.begin(8)
        for session in sessions:
            self.send(session, 100_000)
        self.exchange(0.5)
        taken = [len(protocol.messages) for protocol in self.factory.built]
        self.assertLess(max(taken) - min(taken), BUFFER // 2 // 1_000 + 12)
        self.settle()

    def test_little(self) -> None:
        """Who has little to say says it at once, whoever waits."""
        *sessions, quiet = self.begin(9)
        for session in sessions:
            self.send(session, 200_000)
        self.exchange(0.02)
        (crowd,) = self.starter.pump._crowds._crowds.values()
        self.assertGreater(len(crowd.waiting), 1)
        self.carriers[1].trains.clear()
        self.sent.append(quiet.sendMessage(b"now"))
        self.network.advance(0)
        self.assertGreater(quiet.connection.allowance.in_flight, 0)
        self.settle(5.0)

    def test_much(self) -> None:
        """Who says more than a little waits like all others."""
        *sessions, late = self.begin(9)
        for session in sessions:
            self.send(session, 200_000)
        self.exchange(0.02)
        self.send(late, 50_000)
        self.network.advance(0)
        self.assertTrue(0 < late.connection.allowance.in_flight <= LITTLE)
        (crowd,) = self.starter.pump._crowds._crowds.values()
        self.assertIn(late, crowd.waiting)
        self.settle(5.0)

    def test_over(self) -> None:
        """What is in flight of a session that has ended holds nobody back."""
        first, second = self.begin(2)
        self.send(first, 900_000)
        for _ in range(20):
            if sum(self.flights()) > BUFFER // 2 - LITTLE:
                break
            self.exchange(self.step)
            self.network.advance(self.step)
        gone, self.sent = self.sent, []
        self.send(second, 50_000)
        self.network.advance(0)
        self.assertLessEqual(second.connection.allowance.in_flight, LITTLE)
        for deferred in gone:
            deferred.addErrback(lambda _: None)
        first.abort()
        self.network.advance(0)
        self.assertGreater(second.connection.allowance.in_flight, LITTLE)
        self.settle()

    def test_fullCarrier(self) -> None:
        """A carrier that is full in the middle of somebody's turn is waited for."""
        sessions = self.begin(4)
        for session in sessions:
            self.send(session, 50_000)
        self.carriers[1].room = 3
        self.exchange(0.1)
        for _ in range(3):
            self.carriers[1].room = 2
            self.starter.carrierWritable()
            self.exchange(0.05)
        self.carriers[1].room = None
        self.starter.carrierWritable()
        self.settle(5.0)

    def test_producers(self) -> None:
        """What a producer has filled a session with leaves before the next one is asked."""
        sessions = self.begin(2)
        left: list[int] = []

        def asked() -> None:
            left.append(sum(len(train.datagrams) for train in self.carriers[1].trains))
            sessions[len(left) - 1].sendMessages([bytes(1_000)] * 5_000)

        self.carriers[1].trains.clear()
        for session in sessions:
            session.registerProducer(Producer(asked), False)
        self.network.advance(0)
        self.assertEqual(left[0], 0)
        self.assertGreater(left[1], 0)
        for session in sessions:
            session.unregisterProducer()
        self.settle(30.0)


class FarTests(CrowdCase):
    """
    The same from far away, where the queue is not the peer's buffer: nobody waits for others.
    """

    host = "192.0.2.1"
    step = 0.004

    def test_together(self) -> None:
        """Each has its own window in flight."""
        sessions = self.begin(20)
        self.most = 0
        for session in sessions:
            self.send(session, 50_000)
        self.settle()
        self.assertGreater(self.most, 2 * BUFFER)
