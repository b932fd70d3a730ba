"""
Tests of L{hypermail.internet.beats}: heartbeats of several sessions that leave together.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from hypermail.internet.beats import MOST, Beats
from hypermail.internet.datagrams import HypermailDatagramProtocol
from hypermail.internet.security import Plain
from hypermail.link.train import Train
from hypermail.options import Options
from hypermail.test import test_internet_datagrams as pairs
from hypermail.test.sessions import PORT, SERVER, RecordingFactory, RecordingProtocol
from hypermail.testing import SimulatedNetwork


class BeatsTests(SynchronousTestCase):
    """What waits, and leaves."""

    def setUp(self) -> None:
        self.sent: list[Train] = []
        self.room = 10
        self.beats = Beats(self.take)

    def take(self, train: Train) -> bool:
        """A carrier with little room."""
        self.sent.append(train)
        return len(self.sent) < self.room

    def test_together(self) -> None:
        """Those for one address are one train, whatever was said to others between them; and nothing is sent twice."""
        for number in range(3):
            for address in ("one", "other"):
                self.assertFalse(self.beats.add(Train(address, [bytes([number])])))
        self.assertTrue(self.beats.send())
        self.assertEqual(self.sent, [Train(address, [b"\0", b"\1", b"\2"]) for address in ("one", "other")])
        self.assertTrue(self.beats.send())
        self.assertEqual(len(self.sent), 2)

    def test_unlike(self) -> None:
        """Those that cannot be of one train are none: of other marks, or behind a shorter one."""
        for train in (Train("one", [b"12"]), Train("one", [b"34"], 2), Train("one", [b"5"]), Train("one", [b"67"])):
            self.beats.add(train)
        self.beats.send()
        self.assertEqual(self.sent, [Train("one", [b"12", b"5"]), Train("one", [b"67"]), Train("one", [b"34"], 2)])

    def test_many(self) -> None:
        """When there are many they wait for no more."""
        told = [self.beats.add(Train(str(number % 3), [b"x"])) for number in range(MOST)]
        self.assertEqual(told, [False] * (MOST - 1) + [True])
        self.beats.send()
        self.assertFalse(self.beats.add(Train("0", [b"x"])), "they are counted anew")

    def test_full(self) -> None:
        """Whether the carrier has room still is what it says last."""
        self.room = 2
        for address in ("one", "other"):
            self.beats.add(Train(address, [b"x"]))
        self.assertFalse(self.beats.send())


class SessionsTests(SynchronousTestCase):
    """Sessions of one starter's socket with one listener, whose carriers are in memory."""

    def setUp(self) -> None:
        self.network = SimulatedNetwork()
        clock = self.network.reactor(SERVER)
        self.factory = RecordingFactory()
        options = Options(ping_interval=4.0, discover_mtu=False)
        self.listener = HypermailDatagramProtocol(self.factory, security=Plain(), options=options)
        self.starter = HypermailDatagramProtocol(security=Plain(), options=options)
        self.carriers = [pairs.MemoryCarrier(clock), pairs.MemoryCarrier(clock)]
        for protocol, carrier in zip((self.listener, self.starter), self.carriers):
            protocol.makeConnection(carrier)  # type: ignore[arg-type]
            self.addCleanup(protocol.doStop)
        self.trains = [0, 0]
        self.datagrams = [0, 0]

    def exchange(self, seconds: float) -> None:
        """Carry trains to and fro, as a real path does: each is a read."""
        for _ in range(int(seconds / 0.001)):
            self.network.advance(0.001)
            for number, (target, port) in enumerate(((self.starter, PORT), (self.listener, 9))):
                trains, self.carriers[number].trains = self.carriers[number].trains, []
                self.trains[number] += len(trains)
                for train in trains:
                    self.datagrams[number] += len(train.datagrams)
                    target.datagramsReceived(
                        [memoryview(datagram) for datagram in train.datagrams], ("127.0.0.1", port)
                    )

    def test_together(self) -> None:
        """Pings of many sessions are few trains, and so are the answers to them; all sessions live on."""
        count = 2 * MOST
        sessions = [self.starter.startSession(("127.0.0.1", PORT), RecordingProtocol()) for _ in range(count)]
        self.exchange(6.0)
        self.trains, self.datagrams = [0, 0], [0, 0]
        self.exchange(40.0)
        for number in range(2):
            self.assertGreaterEqual(self.datagrams[number], 8 * count)
            self.assertLess(self.trains[number], self.datagrams[number] / 8)
        self.assertTrue(all(session.opened and session.error is None for session in sessions))

    def test_broken(self) -> None:
        """One that fails keeps no other from beating."""
        sessions = [self.starter.startSession(("127.0.0.1", PORT), RecordingProtocol()) for _ in range(4)]
        self.exchange(6.0)

        def fail(*, now: float) -> None:
            raise ZeroDivisionError

        self.patch(sessions[1].connection, "beat", fail)
        self.exchange(60.0)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual([session.error is None for session in sessions], [True, False, True, True])
