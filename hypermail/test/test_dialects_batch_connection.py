"""
Tests for L{hypermail.dialects.batch.connection}: what an open session in dialect C{batch} carries.
"""

from __future__ import annotations

import random
from itertools import groupby

from hypermail import events
from hypermail.dialects.batch import Batch
from hypermail.dialects.batch import packets as p
from hypermail.errors import (
    MessageCancelled,
    MessageExpired,
    MessageTooLarge,
    NotSupported,
    PeerSilent,
    SessionClosed,
)
from hypermail.test.batches import BAD, LISTENER, STARTER, PairCase
from hypermail.test.dialects import Place


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

    def test_cancelled_alone(self) -> None:
        """A cancelled message that has begun leaves whole, though all in flight is acknowledged in one read."""
        self.open()
        (message,) = self.send(self.ours, bytes(20_000))
        self.do(self.ours, "cancel_message", message)
        acks = [memoryview(p.BatchDataAck(self.ours.connection.id, number).encode()) for number in range(1, 8)]
        (connection,) = self.starting.demux.receive(acks, LISTENER, now=self.world.now)
        self.starting.attend(connection)
        self.world.run(5)
        self.assertEqual(self.theirs.messages, [bytes(20_000)])


class PingTests(PairCase):
    """Who is there."""

    def test_silent(self) -> None:
        """The first idle tick is free, then come pings 3, 2 and 1, each some times, then Close and PeerSilent."""
        self.open()
        self.world.run(5)
        self.world.loss = 1.0
        self.log.clear()
        begin = self.world.now
        while self.ours.ended is None:
            self.world.step()
        self.assertIsInstance(self.ours.ended, PeerSilent)
        self.assertEqual([each.echo for each in self.said(STARTER, p.BatchPing)], [3] * 4 + [2] * 4 + [1] * 4)
        self.assertEqual(len(self.said(STARTER, p.BatchClose)), 1)
        self.assertLessEqual(self.world.now - begin, 25)

    def test_alive(self) -> None:
        """Two sides that say nothing keep their session for ever, with a ping now and then."""
        self.open()
        self.world.run(3_600)
        self.assertEqual((self.ours.ended, self.theirs.ended), (None, None))
        self.assertLess(len(self.log), 3_600)

    def counts(self) -> list[int]:
        """Those of the starter's pings, whatever is repeated once."""
        return [count for count, _ in groupby(each.echo for each in self.said(STARTER, p.BatchPing))]

    def test_lossy(self) -> None:
        """Nor do they lose it where a fifth of all datagrams is lost, as pings are repeated until they are answered."""
        self.open()
        self.world.loss = 0.2
        self.world.run(3_600)
        self.assertEqual((self.ours.ended, self.theirs.ended), (None, None))
        self.world.loss = 0.0
        self.world.run(30)
        self.log.clear()
        self.world.run(100)
        self.assertEqual(set(self.counts()), {3})
        self.assertLessEqual(len(self.said(STARTER, p.BatchPing)), 10)

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
        self.assertEqual(self.counts(), [3])
        self.world.run(5)
        self.assertEqual(self.counts(), [3, 2])
        self.arrive(self.ours, p.BatchPingAck(connection.id, 1))
        self.world.run(10)
        self.assertEqual(self.counts(), [3, 2, 1])
        self.arrive(self.ours, p.BatchPingAck(connection.id, 2))
        self.world.run(16)
        self.assertEqual(self.counts(), [3, 2, 1, 3])

    def test_asked(self) -> None:
        """A ping that the application asks for is answered with its round trip, and has a count of its own."""
        self.open()
        for _ in range(130):
            self.do(self.ours, "ping")
            self.world.run(0.001)
        self.world.run(1)
        answers = [each for each in self.ours.events if isinstance(each, events.PingAnswered)]
        self.assertEqual({round(each.elapsed, 6) for each in answers}, {0.02})
        counts = [each.echo for each in self.said(STARTER, p.BatchPing)]
        self.assertEqual(counts[1:], [*range(128, 256), 128, 129])
        self.assertEqual(len(answers), 130)

    def test_asked_lost(self) -> None:
        """Every ping that the application asks for is answered at last, however many are lost or asked for at once."""
        for most in (1, 300):
            self.open(loss=0.5)
            for _ in range(most):
                self.ours.connection.ping(now=self.world.now)
            self.do(self.ours, "ping")
            self.world.run(60)
            self.assertEqual(self.ours.names.count("PingAnswered"), most + 1)
            self.assertEqual(self.ours.ended, None)
            self.log.clear()
            self.world.run(4)
            self.assertEqual([each.echo for each in self.said(STARTER, p.BatchPing) if each.echo > 127], [])

    def test_asked_bounded(self) -> None:
        """No two pings on their way bear the same count, and who answers none gets 64 of them a second, at most."""
        self.open(ours=Batch(ping_interval=100))
        self.world.loss = 1.0
        self.log.clear()
        for _ in range(1_000):
            self.ours.connection.ping(now=self.world.now)
        self.do(self.ours, "ping")
        counts = [each.echo for each in self.said(STARTER, p.BatchPing)]
        self.assertEqual((len(counts), len(set(counts))), (64, 64))
        self.world.run(10.5)
        self.assertEqual(len(self.said(STARTER, p.BatchPing)), 64 * 11)

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
