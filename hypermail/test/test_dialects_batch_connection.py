"""
Tests for L{hypermail.dialects.batch.connection}: what an open session in dialect C{batch} carries, and how it ends.
"""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hypermail import events
from hypermail.dialects.batch import Batch
from hypermail.dialects.batch import packets as p
from hypermail.dialects.batch.arrivals import Arrivals
from hypermail.dialects.batch.connection import BatchConnection
from hypermail.dialects.batch.demux import BatchDemux
from hypermail.dialects.batch.departures import Departures
from hypermail.errors import (
    Delivered,
    HypermailError,
    MessageCancelled,
    MessageExpired,
    MessageTooLarge,
    MessageUndelivered,
    NotSupported,
    PeerSilent,
    SessionAborted,
    SessionClosed,
    SessionKilled,
    UsageError,
)
from hypermail.session.states import State
from hypermail.test.dialects import Application, Host, Place, World

LISTENER = Place("10.0.0.1", 4700)
STARTER = Place("10.0.0.2", 5000)
BATCH = Batch()
#: Conditions that are bad enough.
BAD: dict[str, Any] = {"loss": 0.2, "duplication": 0.2, "jitter": 0.02, "scatter": True}


class PairCase(SynchronousTestCase):
    """A starter and a listener of ours."""

    def open(self, ours: Batch = BATCH, theirs: Batch = BATCH, **conditions: Any) -> None:
        """They have a session, and the network is as said from then on."""
        self.world = World()
        self.log: list[tuple[Place, p.BatchPacket]] = []
        self.world.watch = self.watch
        self.listening = self.world.host(LISTENER, theirs, listening=True)
        self.starting = self.world.host(STARTER, ours)
        self.ours = self.starting.start(LISTENER)
        self.world.run(1)
        self.theirs = self.listening.sessions[0]
        for name, value in conditions.items():
            setattr(self.world, name, value)

    def watch(self, datagram: bytes, source: Place, destination: Place) -> bool:
        """What is sent is written down."""
        packet = p.decode(datagram)
        assert packet is not None
        self.log.append((source, packet))
        return True

    def said(self, source: Place, kind: type[Any]) -> list[Any]:
        """Packets of one type that a host has sent."""
        return [packet for place, packet in self.log if place == source and type(packet) is kind]

    def host(self, application: Application) -> Host:
        """Where it lives."""
        return self.starting if application is self.ours else self.listening

    def send(self, application: Application, *messages: bytes, **options: Any) -> list[Any]:
        """An application sends."""
        sent = [application.connection.send_message(each, now=self.world.now, **options) for each in messages]
        self.host(application).attend(application.connection)
        return sent

    def do(self, application: Application, name: str, *arguments: Any) -> None:
        """An application calls its connection."""
        getattr(application.connection, name)(*arguments, now=self.world.now)
        self.host(application).attend(application.connection)

    def arrive(self, application: Application, packet: p.BatchPacket) -> None:
        """A packet comes as if from the peer."""
        peer = LISTENER if application is self.ours else STARTER
        self.host(application).receive(packet.encode(), peer._replace(port=50_505))

    def renumber(self, packet: int, batch: int) -> None:
        """Both sides begin to count at other numbers."""
        for application in (self.ours, self.theirs):
            connection: BatchConnection = application.connection
            options = connection.options
            departures = Departures(
                connection.sending, options.delivery_timeout, first_packet=packet, first_batch=batch
            )
            departures.peer_id = connection.departures.peer_id
            connection.departures = departures
            connection.arrivals = Arrivals(options.max_message, options.allowance_bytes, first=packet)

    def exchange(self, messages: list[bytes], most: float = 36_000) -> None:
        """Both send all of these, and each arrives once."""
        for application in (self.ours, self.theirs):
            self.send(application, *messages)
        both = (self.ours, self.theirs)
        done = self.world.run_until(lambda: all(len(each.settled) == len(messages) for each in both), most)
        self.assertTrue(done, [len(each.settled) for each in both])
        for application in both:
            self.assertEqual(sorted(application.messages), sorted(messages))
            self.assertEqual([each.error for each in application.settled], [None] * len(messages))


class DeliveryTests(PairCase):
    """Messages and direct messages."""

    def test_both_ways(self) -> None:
        """Messages of any length arrive on both sides, and their senders are told."""
        self.open()
        self.exchange([b"", b"x", bytes(972), bytes(973), random.Random(1).randbytes(300_000)])

    def test_bad_network(self) -> None:
        """Of 10,000 messages each way none is lost and none comes twice, whatever the network does."""
        self.open(**BAD)
        chance = random.Random(8)
        self.exchange(
            [
                at.to_bytes(4, "big") + bytes(chance.choice((0, 3, 50, 3_000 if not at % 50 else 9)))
                for at in range(10_000)
            ]
        )

    def test_wrapping(self) -> None:
        """Packet numbers wrap at 2^32 and batch numbers at 2^8 in a bad network, with large messages and small."""
        for seed in range(4):
            self.open(**BAD)
            self.world.chance.seed(seed)
            self.renumber(2**32 - 40 - seed, 230)
            self.exchange([at.to_bytes(4, "big") + bytes(2_500 if not at % 7 else 0) for at in range(300)])
            numbers = {each.number for each in self.said(STARTER, p.BatchData)}
            self.assertTrue({0, 2**32 - 41 - seed + 1} <= numbers)
            self.assertTrue({255, 0, 1} <= {each.batch for each in self.said(STARTER, p.BatchData)})

    def test_requests(self) -> None:
        """With C{repeat_requests} what is missing is asked for, once for each packet, and comes at once."""
        self.open(theirs=Batch(repeat_requests=True))
        lost: list[int] = []

        def lose(datagram: bytes, source: Place, destination: Place) -> bool:
            packet = p.decode(datagram)
            if isinstance(packet, p.BatchData) and packet.number in (2, 3) and packet.number not in lost:
                lost.append(packet.number)
                return False
            return self.watch(datagram, source, destination)

        self.world.watch = lose
        self.send(self.ours, *[b"x"] * 7)
        self.world.run(0.045)
        self.assertEqual(len(self.theirs.messages), 7)
        self.world.run(20)
        self.assertEqual([each.numbers for each in self.said(LISTENER, p.BatchRepeat)], [(2,), (3,)])
        self.assertEqual(self.said(STARTER, p.BatchRepeat), [])

    def test_requests_are_off(self) -> None:
        """Without it nothing is asked for, however much is missing."""
        self.open(**BAD)
        self.exchange([b"x"] * 100)
        self.assertEqual(self.said(STARTER, p.BatchRepeat) + self.said(LISTENER, p.BatchRepeat), [])

    def test_requested(self) -> None:
        """Whoever asks for packets gets those that are in flight, and no others, and not again and again."""
        self.open()
        self.world.loss = 1.0
        self.send(self.ours, b"x", b"y")
        self.log.clear()
        for _ in range(5):
            self.arrive(self.ours, p.BatchRepeat(self.ours.connection.id, (1, 5, 9, 1)))
        self.assertEqual([each.number for each in self.said(STARTER, p.BatchData)], [1])
        self.arrive(self.ours, p.BatchRepeat(self.ours.connection.id, ()))
        self.assertEqual([each.number for each in self.said(STARTER, p.BatchData)], [1])

    def test_directs(self) -> None:
        """Direct messages arrive, empty ones too, up to 971 bytes, and however large a peer's may be."""
        self.open()
        for data in (b"", b"x", bytes(971)):
            self.ours.connection.send_direct(data)
        self.assertRaises(MessageTooLarge, self.ours.connection.send_direct, bytes(972))
        self.starting.attend(self.ours.connection)
        self.world.run(1)
        self.arrive(self.theirs, p.BatchDirect(self.theirs.connection.id, bytes(60_000)))
        self.assertEqual([len(each) for each in self.theirs.directs], [0, 1, 971, 60_000])

    def test_many_directs(self) -> None:
        """Many direct messages leave a millisecond apart, but for a few at first, and all before a close."""
        self.open()
        for number in range(200):
            self.ours.connection.send_direct(b"%d" % number)
        self.starting.attend(self.ours.connection)
        self.assertLessEqual(len(self.said(STARTER, p.BatchDirect)), 4)
        self.world.run(0.1)
        self.assertTrue(100 <= len(self.said(STARTER, p.BatchDirect)) <= 106)
        self.do(self.ours, "close")
        self.world.run(1)
        self.assertEqual(self.theirs.directs, [b"%d" % number for number in range(200)])
        self.assertIsInstance(self.theirs.ended, SessionClosed)

    def test_rate(self) -> None:
        """With C{max_rate} a session sends so much on average, and says when it goes on."""
        self.open(ours=Batch(max_rate=80_000))
        self.send(self.ours, bytes(50_000))
        self.world.run_until(lambda: bool(self.ours.settled), 60)
        self.assertTrue(4.5 < self.world.now - 101 < 6, self.world.now)

    def test_rate_of_repetitions(self) -> None:
        """What is to be sent again waits for the rate too, and no timer asks for it meanwhile."""
        self.open(ours=Batch(max_rate=8_000), loss=1.0)
        self.send(self.ours, *[bytes(972)] * 7)
        self.log.clear()
        until, steps = self.world.now + 20, 0
        while self.world.step(until):
            steps += 1
            self.assertLess(steps, 500)
        self.assertLessEqual(len(self.said(STARTER, p.BatchData)), 22)

    def test_missing(self) -> None:
        """What the dialect has not is not supported, in its name."""
        self.open()
        connection = self.ours.connection
        for call in (
            lambda: connection.open_stream(b"x", None, now=1.0),
            lambda: connection.send_message(b"x", lane=1, now=1.0),
            lambda: connection.configure_lane(1),
        ):
            self.assertIn("dialect batch has no", self.assertRaises(NotSupported, call).text)
        self.assertRaises(MessageTooLarge, connection.send_message, bytes(16 * 2**20 + 1), now=1.0)

    def test_statistics(self) -> None:
        """What a session tells of itself is true."""
        self.open()
        self.exchange([b"x"] * 5)
        found = self.ours.connection.statistics()
        self.assertEqual(
            [found[key] for key in ("dialect", "cipher", "state", "messages_sent", "messages_received", "in_flight")],
            ["batch", None, "open", 5, 5, 0],
        )
        self.assertAlmostEqual(found["rtt"], 0.02)


class PaceTests(PairCase):
    """Applications that are slow, or change their mind."""

    def test_taken_late(self) -> None:
        """A message is acknowledged when the application has taken it, and delivered once however often it comes."""
        self.open()
        self.theirs.settles = False
        self.send(self.ours, b"x", bytes(2_000))
        self.world.run(60)
        self.assertEqual(self.theirs.messages, [b"x", bytes(2_000)])
        self.assertEqual(self.ours.settled, [])
        self.assertEqual({each.number for each in self.said(LISTENER, p.BatchDataAck)}, {2, 3})
        self.theirs.connection.receiving.take(0, 1)
        self.theirs.connection.receiving.reject(1)
        self.listening.attend(self.theirs.connection)
        self.world.run(1)
        self.assertEqual([each.error for each in self.ours.settled], [None, None])
        self.assertEqual(self.theirs.connection.statistics()["messages_refused"], 1)

    def test_unsettled(self) -> None:
        """Beyond C{max_unsettled} nothing is taken, and nothing is lost."""
        self.open(theirs=Batch(max_unsettled=3))
        self.theirs.settles = False
        self.send(self.ours, *[b"x"] * 10)
        self.world.run(30)
        self.assertEqual(len(self.theirs.messages), 3)
        self.assertGreater(self.listening.demux.dropped["crowded"], 0)
        self.theirs.settles = True
        self.theirs.connection.receiving.take(0, 3)
        self.listening.attend(self.theirs.connection)
        self.world.run(30)
        self.assertEqual((len(self.theirs.messages), len(self.ours.settled)), (10, 10))

    def test_small_allowance(self) -> None:
        """Large messages arrive though the receiver has room for little more than one."""
        small = Batch(max_message=30_000, allowance_bytes=30_000)
        self.open(ours=small, theirs=small, **BAD)
        self.exchange([bytes(30_000)] * 5 + [b"x"] * 20)

    def test_full(self) -> None:
        """Producers are told to pause, and once there is room again."""
        self.open(ours=Batch(outgoing_bytes=10_000))
        self.assertFalse(self.ours.connection.messages_full)
        self.send(self.ours, *[bytes(900)] * 30)
        self.assertTrue(self.ours.connection.messages_full)
        self.world.run(5)
        self.assertFalse(self.ours.connection.messages_full)
        self.assertEqual(self.ours.names.count("MessagesWritable"), 1)

    def test_expired(self) -> None:
        """A message expires in the queue, and does not arrive; one that has begun may, and holds nothing up."""
        self.open()
        self.world.loss = 1.0
        self.send(self.ours, *[b"begun"] * 7, expires=2)
        self.send(self.ours, b"queued", expires=1)
        self.send(self.ours, b"later")
        self.world.run(3)
        self.assertEqual({type(each.error) for each in self.ours.settled}, {MessageExpired})
        self.assertEqual(len(self.ours.settled), 8)
        self.world.loss = 0.0
        self.world.run(10)
        self.assertEqual(self.theirs.messages, [b"begun"] * 7 + [b"later"])
        self.assertIsNone(self.ours.settled[-1].error)

    def test_cancelled(self) -> None:
        """A cancelled message that has not begun does not leave; one that has leaves no gap behind."""
        self.open()
        sent = self.send(self.ours, bytes(10_000), b"queued", b"last")
        for message in sent[:2]:
            self.do(self.ours, "cancel_message", message)
        self.world.run(5)
        self.assertEqual(self.theirs.messages, [bytes(10_000), b"last"])
        self.assertEqual(self.ours.settled, sent[2:])
        self.assertIsInstance(sent[1].error, MessageCancelled)


class PingTests(PairCase):
    """Who is there."""

    def test_silent(self) -> None:
        """The first idle tick is free, then come pings 3, 2 and 1, then Close and PeerSilent."""
        self.open()
        self.world.run(5)
        self.world.loss = 1.0
        self.log.clear()
        begin = self.world.now
        while self.ours.ended is None:
            self.world.step()
        self.assertIsInstance(self.ours.ended, PeerSilent)
        self.assertEqual([each.echo for each in self.said(STARTER, p.BatchPing)], [3, 2, 1])
        self.assertEqual(len(self.said(STARTER, p.BatchClose)), 1)
        self.assertLessEqual(self.world.now - begin, 25)

    def test_alive(self) -> None:
        """Two sides that say nothing keep their session for ever, with a ping now and then."""
        self.open()
        self.world.run(3_600)
        self.assertEqual((self.ours.ended, self.theirs.ended), (None, None))
        self.assertLess(len(self.log), 3_600)

    def test_traffic(self) -> None:
        """Other traffic skips a tick, and does not reset the count: only an answer does."""
        self.open()
        self.world.run(4)
        self.world.loss = 1.0
        self.log.clear()
        connection = self.ours.connection
        while not self.said(STARTER, p.BatchPing):
            self.world.step()
        self.arrive(self.ours, p.BatchDirect(connection.id, b"x"))
        self.world.run(6)
        self.assertEqual([each.echo for each in self.said(STARTER, p.BatchPing)], [3])
        self.world.run(5)
        self.assertEqual([each.echo for each in self.said(STARTER, p.BatchPing)], [3, 2])
        self.arrive(self.ours, p.BatchPingAck(connection.id, 1))
        self.world.run(10)
        self.assertEqual([each.echo for each in self.said(STARTER, p.BatchPing)], [3, 2, 1])
        self.arrive(self.ours, p.BatchPingAck(connection.id, 2))
        self.world.run(16)
        self.assertEqual([each.echo for each in self.said(STARTER, p.BatchPing)], [3, 2, 1, 3])

    def test_asked(self) -> None:
        """A ping that the application asks for is answered with its round trip, and has a count of its own."""
        self.open()
        for _ in range(130):
            self.do(self.ours, "ping")
        self.world.run(1)
        answers = [each for each in self.ours.events if isinstance(each, events.PingAnswered)]
        self.assertEqual({round(each.elapsed, 6) for each in answers}, {0.02})
        counts = [each.echo for each in self.said(STARTER, p.BatchPing)]
        self.assertEqual(counts[1:], [*range(128, 256), 128, 129])
        self.assertEqual(len(answers), 128)

    def test_not_asked(self) -> None:
        """An answer to no ping is dropped."""
        self.open()
        dropped = self.starting.demux.dropped
        for echo in (0, 3, 127, 128, 255):
            self.arrive(self.ours, p.BatchPingAck(self.ours.connection.id, echo))
        self.assertEqual(dropped["not_asked"], 5)

    def test_echo(self) -> None:
        """Whatever count a ping has is given back."""
        self.open()
        self.log.clear()
        for echo in (0, 3, 255):
            self.arrive(self.theirs, p.BatchPing(self.theirs.connection.id, echo))
        self.assertEqual([each.echo for each in self.said(LISTENER, p.BatchPingAck)], [0, 3, 255])


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
        self.assertEqual(
            (len(self.theirs.messages), self.ours.settled), (51, sent) if False else (51, self.ours.settled)
        )
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
        """What was never delivered is answered with Close, four times, before it is acknowledged to make it stop."""
        self.do(self.theirs, "close")
        data = p.BatchData(self.our_id, 2, 2, 3, b"two")
        self.assertEqual([self.answers(data) for _ in range(4)], [[p.BatchClose(self.peer_id)]] * 4)
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

    def test_bounded(self) -> None:
        """So many are remembered, and the oldest are forgotten first."""
        demux = self.listening.demux
        assert isinstance(demux, BatchDemux)
        for id in range(3_000):
            demux._closed.add(("10.0.0.9", id), STARTER, self.world.now)
        self.assertEqual(len(demux._closed), 1_024)
        self.assertNotIn(("10.0.0.9", 1_975), demux._closed)
        self.assertIn(("10.0.0.9", 1_976), demux._closed)


class CompletenessTests(PairCase):
    """Every packet, every timer and every call in every state."""

    STAGES = ("connecting", "resting", "unproved", "deciding", "open", "closing", "closed")
    INPUTS = (
        lambda to: p.BatchConnect(STARTER.port, to),
        lambda to: p.BatchConnectAck(to, 5),
        lambda to: p.BatchClose(to),
        lambda to: p.BatchData(to, 1, 1, 3, b"x"),
        lambda to: p.BatchData(to, 3, 2, p.FIRST, b"x"),
        lambda to: p.BatchData(to, 2**32 - 1, 9, 0, b""),
        lambda to: p.BatchDataAck(to, 1),
        lambda to: p.BatchRepeat(to, (1, 2)),
        lambda to: p.BatchDirect(to, b""),
        lambda to: p.BatchPing(to, 3),
        lambda to: p.BatchPingAck(to, 127),
    )

    def reach(self, stage: str) -> Application:
        """A side that has come so far."""
        self.world = World()
        self.starting = self.world.host(STARTER, Batch(repeat_requests=True))
        self.listening = self.world.host(LISTENER, Batch(), listening=True)
        self.listening.make = type("Slow", (Application,), {"accepts": None if stage == "deciding" else True})
        self.ours = self.starting.start(LISTENER)
        side = self.ours
        if stage == "connecting":
            self.world.loss = 1.0
        elif stage == "unproved":
            self.world.run(0.015)
            side = self.listening.sessions[0]
        else:
            self.world.run(0.025 if stage == "resting" else 1)
            if stage in ("deciding", "closing"):
                side = self.listening.sessions[0]
        self.world.loss = 1.0
        self.theirs = self.listening.sessions[0] if self.listening.sessions else side
        if stage == "closing":
            self.send(side, bytes(2_000))
            self.do(side, "close")
        elif stage == "closed":
            self.do(side, "close")
        return side

    def test_stages(self) -> None:
        """The stages are what they are called."""
        for stage in self.STAGES:
            connection = self.reach(stage).connection
            state = {"connecting": "opening", "resting": "open", "unproved": "new", "closed": "ended"}.get(stage, stage)
            self.assertIs(connection.state, State[state.upper()], stage)
            if stage in ("connecting", "resting", "unproved"):
                self.assertEqual(connection.greeting.name.lower(), stage)

    @settings(deadline=None, max_examples=400)
    @given(
        st.sampled_from(STAGES),
        st.lists(
            st.sampled_from(INPUTS) | st.floats(0, 30) | st.sampled_from(["ping", "close", "abort", "accept", "send"]),
            min_size=1,
            max_size=12,
        ),
    )
    def test_anything(self, stage: str, steps: list[Any]) -> None:
        """Whatever comes in whatever state: nothing fails, and whatever has ended stays so and can be forgotten."""
        side = self.reach(stage)
        connection = side.connection
        host = self.starting if side is self.ours else self.listening
        peer = LISTENER if side is self.ours else STARTER
        for step in steps:
            ended = connection.ended
            if isinstance(step, float):
                self.world.run(step)
            elif isinstance(step, str):
                if step != "accept" or host is self.listening:
                    self.call(side, host, step)
            else:
                host.receive(step(next(iter(connection.ids))).encode(), peer)
            self.assertLessEqual(ended, connection.ended)
            self.assertEqual(connection.ended, connection.state is State.ENDED)
            at = connection.next_timeout()
            self.assertEqual(at is None, connection.ended)
            self.assertGreater(at or self.world.now + 1, self.world.now - 1e-6)
        self.world.run(200)
        self.assertTrue(connection.ended)
        self.assertEqual(side.names.count("SessionEnded"), 1)
        self.assertNotIn(connection, host.applications)

    def call(self, side: Application, host: Host, name: str) -> None:
        """The application does something, which it may be refused."""
        connection, now = side.connection, self.world.now
        calls = {
            "ping": lambda: connection.ping(now=now),
            "close": lambda: connection.close(now=now),
            "abort": lambda: connection.abort(1, "enough", now=now),
            "accept": lambda: connection.accept({}, now=now),
            "send": lambda: connection.send_message(bytes(3_000), now=now),
        }
        try:
            calls[name]()
        except HypermailError:
            return
        host.attend(connection)
