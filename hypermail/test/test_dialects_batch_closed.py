"""
Tests for how sessions in dialect C{batch} end, and L{hypermail.dialects.batch.closed}: what is said of them later.
"""

from __future__ import annotations

from hypermail.dialects.batch import Batch
from hypermail.dialects.batch import packets as p
from hypermail.dialects.batch.demux import BatchDemux
from hypermail.errors import (
    Delivered,
    MessageUndelivered,
    SessionAborted,
    SessionClosed,
    SessionKilled,
    UsageError,
)
from hypermail.test.batches import BAD, LISTENER, STARTER, PairCase


class CloseTests(PairCase):
    """How sessions end."""

    def test_close(self) -> None:
        """What is queued is delivered first, then both sides know that the session was closed."""
        self.open(**BAD)
        sent = self.send(self.ours, *[b"x"] * 50, bytes(5_000))
        self.do(self.ours, "close")
        self.assertRaises(UsageError, self.ours.connection.send_message, b"y", now=self.world.now)
        self.world.run(60)
        self.assertIsInstance(self.ours.ended, SessionClosed)
        self.assertEqual(len(self.theirs.messages), 51)
        self.assertEqual(sorted(each.number for each in self.ours.settled), [each.number for each in sent])
        self.assertEqual({each.error for each in sent}, {None})
        self.assertIsNotNone(self.theirs.ended)

    def test_closed_by_peer(self) -> None:
        """A Close ends the session at once, and what is on its way is undelivered, perhaps."""
        self.open()
        self.theirs.settles = False
        self.send(self.ours, *[b"x"] * 9)
        self.world.run(1)
        self.arrive(self.ours, p.BatchClose(self.ours.connection.id))
        self.assertIsInstance(self.ours.ended, SessionKilled)
        errors = [each.error for each in self.ours.settled]
        self.assertEqual({type(each) for each in errors}, {MessageUndelivered})
        self.assertEqual([each.delivered for each in errors], [Delivered.UNKNOWN] * 7 + [Delivered.NO] * 2)

    def test_closed_idle(self) -> None:
        """With nothing on its way a Close is an end in order."""
        self.open()
        self.do(self.theirs, "close")
        self.world.run(1)
        self.assertIsInstance(self.ours.ended, SessionClosed)
        self.assertIsInstance(self.theirs.ended, SessionClosed)

    def test_closed_by_peer_acknowledged(self) -> None:
        """
        Upon Close all that has come is acknowledged, settled or not: the original repeats it until then, and a
        starter's socket is closed with its session.
        """
        self.open()
        self.ours.settles = False
        self.send(self.theirs, b"x", b"y", bytes(1_000))
        self.world.run(0.1)
        self.assertEqual(self.said(STARTER, p.BatchDataAck), [p.BatchDataAck(self.theirs.connection.id, 3)])
        self.log.clear()
        self.ours.connection.receiving.take(0)
        self.arrive(self.ours, p.BatchClose(self.ours.connection.id))
        acked = [packet.number for packet in self.said(STARTER, p.BatchDataAck)]
        self.assertEqual(sorted(acked), [1, 2, 4])
        self.assertIsInstance(self.ours.ended, SessionClosed)

    def test_acknowledges_first(self) -> None:
        """What was taken is acknowledged before Close is said."""
        self.open()
        self.theirs.settles = False
        self.send(self.ours, b"x")
        self.world.run(0.1)
        self.theirs.connection.receiving.take(0)
        self.do(self.theirs, "close")
        self.world.run(1)
        self.assertIsNone(self.ours.settled[0].error)
        self.assertIsInstance(self.ours.ended, SessionClosed)

    def test_close_waits_for_application(self) -> None:
        """A close waits for messages that our own application has not settled."""
        self.open()
        self.ours.settles = False
        self.send(self.theirs, b"x")
        self.world.run(0.1)
        self.do(self.ours, "close")
        self.world.run(3)
        self.assertIsNone(self.ours.ended)
        self.ours.connection.receiving.take(0)
        self.starting.attend(self.ours.connection)
        self.world.run(1)
        self.assertIsInstance(self.ours.ended, SessionClosed)
        self.assertIsNone(self.theirs.settled[0].error)

    def test_close_while_peer_sends(self) -> None:
        """A peer that sends on and on does not keep a close from its end, and knows what was not taken."""
        self.open()
        self.ours.settles = False
        sent = []
        for number in range(20):
            sent += self.send(self.theirs, b"x")
            self.world.run(1)
            if number == 10:
                self.do(self.ours, "close")
            self.ours.connection.receiving.take(number - 1)  # the application always has one that it has not settled
            self.starting.attend(self.ours.connection)
            if self.theirs.ended:
                break
        self.assertIsInstance(self.ours.ended, SessionClosed)
        self.assertEqual(len(self.ours.messages), 11)
        self.assertEqual([each.error is None for each in sent], [True] * 11 + [False] * (len(sent) - 11))

    def test_abort(self) -> None:
        """An abort says Close at once."""
        self.open()
        self.send(self.ours, *[b"x"] * 50)
        self.do(self.ours, "abort", 1, "enough")
        self.assertIsInstance(self.ours.ended, SessionAborted)
        self.world.run(1)
        self.assertIsInstance(self.theirs.ended, SessionClosed)

    def test_too_large(self) -> None:
        """A batch that never ends ends the session before it passes C{max_message}, and is not delivered."""
        self.open(theirs=Batch(max_message=10_000, allowance_bytes=20_000))
        connection = self.theirs.connection
        for number in range(1, 20):
            self.arrive(self.theirs, p.BatchData(connection.id, number, 1, p.FIRST if number == 1 else 0, bytes(972)))
        self.assertIsInstance(self.theirs.ended, SessionAborted)
        self.assertIn("more than 10000 bytes", self.theirs.ended.text)
        self.assertEqual(self.theirs.messages, [])
        self.assertLess(connection.arrivals.bytes, 10_000)
        self.world.run(1)
        self.assertIsInstance(self.ours.ended, SessionClosed)

    def test_wrong_flags(self) -> None:
        """Wrong flags are neither acknowledged nor delivered."""
        self.open()
        self.log.clear()
        id = self.theirs.connection.id
        for flags in (4, 0x83, 0xFF):
            self.listening.receive(p.BatchData(id, 1, 1, flags, b"x").encode(), STARTER)
        self.arrive(self.theirs, p.BatchData(id, 1, 1, p.FIRST, b"a"))
        self.arrive(self.theirs, p.BatchData(id, 2, 1, p.FIRST, b"b"))
        self.assertEqual(self.said(LISTENER, p.BatchDataAck), [p.BatchDataAck(self.ours.connection.id, 1)])
        self.assertEqual(self.theirs.messages, [])
        dropped = self.listening.demux.dropped
        self.assertEqual((dropped["malformed"], dropped["contradicted"]), (3, 1))

    def test_forgotten(self) -> None:
        """When sessions are over nothing is left of them but what answers late packets, and that not for long."""
        self.open()
        self.exchange([b"x"] * 20)
        self.do(self.ours, "close")
        self.world.run(1)
        for host in (self.starting, self.listening):
            demux = host.demux
            assert isinstance(demux, BatchDemux)
            self.assertEqual((len(demux), len(demux._by_id), len(demux._by_starter), len(demux._closed)), (0, 0, 0, 1))
            self.world.run(20)
            host.receive(p.BatchPing(99, 1).encode(), STARTER)
            self.assertEqual(len(demux._closed), 0)


class ClosedTests(PairCase):
    """Packets for a session that is over."""

    def setUp(self) -> None:
        self.open()
        self.send(self.ours, b"one")
        self.world.run(0.5)
        self.our_id, self.peer_id = self.theirs.connection.id, self.ours.connection.id

    def answers(self, packet: p.BatchPacket) -> list[p.BatchPacket]:
        """What the listener says to a packet."""
        self.log.clear()
        self.arrive(self.theirs, packet)
        return [packet for _, packet in self.log]

    def test_closed_by_us(self) -> None:
        """
        What was never delivered is answered with Close, four times with a second between, however many packets come
        meanwhile, before it is acknowledged to make it stop.
        """
        self.do(self.theirs, "close")
        data = p.BatchData(self.our_id, 2, 2, 3, b"two")
        for _ in range(4):
            self.assertEqual([self.answers(data) for _ in range(9)], [[p.BatchClose(self.peer_id)]] * 9)
            self.world.run(1)
        self.assertEqual(self.answers(data), [p.BatchDataAck(self.peer_id, 2)])
        self.assertEqual(self.theirs.messages, [b"one"])

    def test_delivered(self) -> None:
        """What was delivered is acknowledged again at once, whoever has said Close."""
        self.do(self.theirs, "close")
        self.assertEqual(self.answers(p.BatchData(self.our_id, 1, 1, 3, b"one")), [p.BatchDataAck(self.peer_id, 1)])

    def test_closed_by_peer(self) -> None:
        """Who has said Close itself and sends on is acknowledged, or it would send for ever."""
        self.arrive(self.theirs, p.BatchClose(self.our_id))
        self.assertEqual(self.answers(p.BatchData(self.our_id, 2, 2, 3, b"two")), [p.BatchDataAck(self.peer_id, 2)])
        self.assertEqual(self.theirs.messages, [b"one"])

    def test_not_settled(self) -> None:
        """What the application had not settled is not acknowledged as if it had."""
        self.theirs.settles = False
        data = p.BatchData(self.our_id, 2, 2, 3, b"two")
        self.arrive(self.theirs, data)
        self.do(self.theirs, "abort", 1, "enough")
        self.assertEqual(self.answers(data), [p.BatchClose(self.peer_id)])

    def test_pings(self) -> None:
        """A ping is answered with Close; what asks for nothing is not answered."""
        self.do(self.theirs, "close")
        self.assertEqual(self.answers(p.BatchPing(self.our_id, 3)), [p.BatchClose(self.peer_id)])
        for packet in (
            p.BatchClose(self.our_id),
            p.BatchDataAck(self.our_id, 1),
            p.BatchDirect(self.our_id, b"x"),
            p.BatchPingAck(self.our_id, 1),
            p.BatchRepeat(self.our_id, (1,)),
        ):
            self.assertEqual(self.answers(packet), [])
        self.assertEqual(self.listening.demux.dropped["closed"], 6)

    def test_close_lost(self) -> None:
        """A peer that has not heard Close hears it again when it sends, and does not believe that its data arrived."""
        self.world.loss = 1.0
        self.do(self.theirs, "close")
        self.world.loss = 0.0
        (message,) = self.send(self.ours, b"two")
        self.world.run(1)
        self.assertIsInstance(self.ours.ended, SessionKilled)
        self.assertIsInstance(message.error, MessageUndelivered)

    def test_lingers(self) -> None:
        """The original, which repeats each 5.5 s, is made to stop, however short our own C{delivery_timeout} is."""
        self.open(theirs=Batch(delivery_timeout=0.1))
        self.our_id, self.peer_id = self.theirs.connection.id, self.ours.connection.id
        self.do(self.theirs, "close")
        said = []
        for _ in range(5):
            self.world.run(5.5)
            said += self.answers(p.BatchData(self.our_id, 1, 1, 3, b"x"))
        self.assertEqual(said, [p.BatchClose(self.peer_id)] * 4 + [p.BatchDataAck(self.peer_id, 1)])

    def test_overtaken(self) -> None:
        """Nothing that was not delivered seems to be, though a burst of answers loses some and is out of order."""
        for seed in range(100):
            self.open(jitter=0.02, loss=0.4)
            self.world.chance.seed(seed)
            self.theirs.settles = False
            messages = self.send(self.ours, *[b"x"] * 7)
            self.do(self.theirs, "abort", 1, "enough")
            self.world.run(30)
            self.assertEqual({type(each.error) for each in messages}, {MessageUndelivered}, seed)

    def test_bounded(self) -> None:
        """So many are remembered, and the oldest are forgotten first."""
        demux = self.listening.demux
        assert isinstance(demux, BatchDemux)
        for id in range(3_000):
            demux._closed.add(("10.0.0.9", id), STARTER, self.world.now)
        self.assertEqual(len(demux._closed), 1_024)
        self.assertNotIn(("10.0.0.9", 1_975), demux._closed)
        self.assertIn(("10.0.0.9", 1_976), demux._closed)
