"""
Tests for what sessions in dialect C{digest} carry.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from hypermail.dialects.digest.connection import BAD_ACKS, MOST_BEHIND, MOST_BYTES
from hypermail.dialects.digest.packets import MOST_PAYLOAD, DigestPayload, PacketType
from hypermail.errors import (
    Delivered,
    MessageCancelled,
    MessageExpired,
    MessageTooLarge,
    MessageUndelivered,
    NotSupported,
    UsageError,
)
from hypermail.events import MessagesWritable
from hypermail.test.digests import CLIENT, SERVER, Network, Pair, Sent, Stranger

P = PacketType


class DeliveringTests(SynchronousTestCase):
    """Messages."""

    def _bad_network(self, plain: bool) -> None:
        network = Network(8, loss=0.2, doubled=0.1, jitter=0.02)
        network.logging = False
        pair = Pair(network, plain=plain)
        ours, theirs = pair.open()
        up = [b"up %d" % number for number in range(10_000)]
        down = [b"down %d" % number for number in range(10_000)]
        for one, other in zip(up, down):
            ours.send_message(one, now=network.now)
            theirs.send_message(other, now=network.now)
        pair.client.attend(ours)
        pair.server.attend(theirs)
        done = network.run(3_000, lambda: not ours.sending and not theirs.sending)
        self.assertTrue(done)
        self.assertEqual(sorted(pair.server.received[theirs]), sorted(up))
        self.assertEqual(sorted(pair.client.received[ours]), sorted(down))
        self.assertEqual(set(pair.client.fates(ours) + pair.server.fates(theirs)), {None})
        self.assertEqual(len(pair.client.fates(ours)), 10_000)
        ours.close(now=network.now)
        pair.client.attend(ours)
        network.run(20)
        self.assertEqual((len(pair.client.demux), len(pair.server.demux)), (0, 0))

    def test_bad_network(self) -> None:
        """10,000 messages each way, of which the network loses, doubles and reorders many: each arrives once."""
        self._bad_network(plain=False)

    def test_bad_network_plain(self) -> None:
        """The same with plain digests, where the server has to learn first that the client is where it says."""
        self._bad_network(plain=True)

    def test_custom(self) -> None:
        """A payload's custom id is carried, and an echo keeps it."""
        pair = Pair()
        ours, theirs = pair.open()
        ours.send_message(DigestPayload(b"telemetry", 513), now=pair.network.now)
        ours.send_message(b"plain", now=pair.network.now)
        ours.send_direct(DigestPayload(b"direct", 7))
        pair.client.attend(ours)
        pair.network.run(0.1)
        customs = [each.custom for each in pair.server.received[theirs] + pair.server.directs[theirs]]  # type: ignore[attr-defined]
        self.assertEqual(customs, [513, 0, 7])
        for message in pair.server.received[theirs]:
            theirs.send_message(message, now=pair.network.now)
        pair.server.attend(theirs)
        pair.network.run(0.1)
        self.assertEqual([each.custom for each in pair.client.received[ours]], [513, 0])  # type: ignore[attr-defined]

    def test_sizes(self) -> None:
        """A message has from 1 to 65,442 bytes, and so has a direct one."""
        pair = Pair()
        ours, theirs = pair.open()
        for send in (lambda data: ours.send_message(data, now=pair.network.now), ours.send_direct):
            send(bytes(MOST_PAYLOAD))
            send(b"x")
            with self.assertRaises(MessageTooLarge):
                send(bytes(MOST_PAYLOAD + 1))
            with self.assertRaises(UsageError):
                send(b"")
        pair.client.attend(ours)
        pair.network.run(1)
        self.assertEqual(sorted(map(len, pair.server.received[theirs])), [1, MOST_PAYLOAD])
        self.assertEqual(sorted(map(len, pair.server.directs[theirs])), [1, MOST_PAYLOAD])

    def test_limits_in_flight(self) -> None:
        """No more is in flight than a window, and 64 KiB; a message that is larger than that travels alone."""
        pair = Pair()
        ours, _ = pair.open()
        network = pair.network
        for _ in range(300):
            ours.send_message(bytes(5_000), now=network.now)
        for _ in range(5):
            ours.send_message(bytes(MOST_PAYLOAD), now=network.now)
        pair.client.attend(ours)
        most = 0
        while ours.sending:
            most = max(most, ours.statistics()["in_flight"])
            network.run(0.005)
        self.assertLessEqual(most, MOST_BYTES)
        self.assertGreater(most, 60_000)

    def test_not_too_far_ahead(self) -> None:
        """While one message is lost again and again, only so many others are begun: the peer's memory is bounded."""
        pair = Pair()
        ours, theirs = pair.open()
        unlucky = [True]

        def lose(sent: Sent) -> bytes | None:
            return None if unlucky[0] and sent.packet.payload == b"0" else sent.datagram

        pair.network.change = lose
        for number in range(MOST_BEHIND * 4):
            ours.send_message(b"%d" % number, now=pair.network.now)
        pair.client.attend(ours)
        pair.network.run(30)
        self.assertEqual(len(pair.server.received[theirs]), MOST_BEHIND)
        unlucky[0] = False
        pair.network.run(30)
        self.assertEqual(len(pair.server.received[theirs]), MOST_BEHIND * 4)

    def test_expiry(self) -> None:
        """What has expired is given up, begun or not."""
        pair = Pair()
        ours, _ = pair.open()
        pair.network.loss = 1.0
        for _ in range(20):
            ours.send_message(b"x", expires=1.0, now=pair.network.now)
        pair.client.attend(ours)
        pair.network.run(1.1)
        fates = pair.client.fates(ours)
        self.assertEqual([type(fate) for fate in fates], [MessageExpired] * 20)
        self.assertEqual((len(ours.flight), len(ours.sending)), (0, 0))

    def test_cancelled(self) -> None:
        """What is cancelled is not sent any more."""
        pair = Pair()
        pair.network.loss = 1.0
        pair.client.start()
        pair.network.loss = 0.0
        ours, theirs = pair.client.sessions[0], None
        pair.network.run(2)
        theirs = pair.server.sessions[0]
        pair.network.loss = 1.0
        message = ours.send_message(b"x", now=pair.network.now)
        pair.client.attend(ours)
        ours.cancel_message(message, now=pair.network.now)
        self.assertIsInstance(message.error, MessageCancelled)
        pair.network.loss = 0.0
        pair.network.run(3)
        self.assertEqual(pair.server.received[theirs], [])

    def test_undelivered(self) -> None:
        """What a session leaves behind is told: what has begun may have arrived, what has not cannot."""
        pair = Pair()
        pair.server.taking = False
        ours, _ = pair.open()
        for _ in range(20):
            ours.send_message(b"x", now=pair.network.now)
        pair.client.attend(ours)
        pair.network.run(0.1)
        ours.abort(0, "", now=pair.network.now)
        pair.client.attend(ours)
        fates = pair.client.fates(ours)
        self.assertEqual({type(fate) for fate in fates}, {MessageUndelivered})
        self.assertEqual({fate.delivered for fate in fates}, {Delivered.UNKNOWN, Delivered.NO})

    def test_taken_late(self) -> None:
        """A message is acknowledged when the application has taken it, and given once however often it comes."""
        pair = Pair()
        pair.server.taking = False
        ours, theirs = pair.open()
        ours.send_message(b"x", now=pair.network.now)
        pair.client.attend(ours)
        pair.network.run(8)
        self.assertEqual(pair.server.received[theirs], [b"x"])
        self.assertEqual(pair.client.fates(ours), [])
        repeated = [sent for sent in pair.network.log if sent.packet.type is P.DATA_ACK]
        self.assertTrue(7 <= len(repeated) <= 14, len(repeated))
        self.assertEqual(len({sent.datagram for sent in repeated}), 1)
        pair.server.take_all()
        pair.network.run(0.1)
        self.assertEqual(pair.client.fates(ours), [None])

    def test_refused(self) -> None:
        """A message that the application refuses is settled: the peer cannot be told."""
        pair = Pair()
        pair.server.taking = False
        ours, theirs = pair.open()
        ours.send_message(b"x", now=pair.network.now)
        pair.client.attend(ours)
        pair.network.run(0.1)
        lane, number = pair.server.untaken[0]
        lane.reject(number)
        pair.server.attend(theirs)
        pair.network.run(0.1)
        self.assertEqual(pair.client.fates(ours), [None])
        self.assertEqual(theirs.statistics()["messages_refused"], 1)

    def test_crowded(self) -> None:
        """When the application has enough to settle, what comes is not taken, and comes again."""
        pair = Pair(server={"max_unsettled": 5})
        pair.server.taking = False
        ours, theirs = pair.open()
        for number in range(8):
            ours.send_message(b"%d" % number, now=pair.network.now)
        pair.client.attend(ours)
        pair.network.run(3)
        self.assertEqual(len(pair.server.received[theirs]), 5)
        self.assertGreater(pair.server.demux.dropped["crowded"], 0)
        pair.server.take_all()
        pair.server.taking = True
        pair.network.run(5)
        self.assertEqual(sorted(pair.server.received[theirs]), [b"%d" % number for number in range(8)])
        self.assertEqual(pair.client.fates(ours), [None] * 8)

    def test_all_at_once(self) -> None:
        """As many as may be unsettled can be settled at once: all are acknowledged, and again when repeated."""
        pair = Pair()
        pair.server.taking = False
        stranger = Stranger(pair.network)
        stranger.say(P.HELLO)
        pair.network.run(0.1)
        messages = [stranger.say(P.DATA_ACK, b"x") for _ in range(pair.server.options.max_unsettled)]
        pair.server.take_all()
        for repetition in range(2):
            acked = [packet.payload for packet in stranger.heard() if packet.type is P.ACK]
            self.assertEqual(acked, [message[:32] for message in messages] * (repetition + 1))
            for message in messages:
                stranger.hand(message)

    def test_back_pressure(self) -> None:
        """Producers are paused while much is queued."""
        pair = Pair(client={"outgoing_bytes": 10_000})
        ours, _ = pair.open()
        while not ours.messages_full:
            ours.send_message(bytes(1_000), now=pair.network.now)
        pair.client.attend(ours)
        pair.network.run(3)
        self.assertFalse(ours.messages_full)
        self.assertTrue(any(isinstance(each, MessagesWritable) for each in pair.client.happened[ours]))

    def test_rate(self) -> None:
        """What the user allows at most is not passed, by messages and direct ones."""
        pair = Pair(client={"max_rate": 80_000.0})
        ours, theirs = pair.open()
        for _ in range(100):
            ours.send_message(bytes(1_000), now=pair.network.now)
            ours.send_direct(bytes(1_000))
        pair.client.attend(ours)
        pair.network.run(10)
        arrived = len(pair.server.received[theirs]) + len(pair.server.directs[theirs])
        self.assertTrue(70 <= arrived <= 100, arrived)
        pair.network.run(20)
        self.assertEqual(len(pair.server.directs[theirs]), 100)
        self.assertEqual(len(pair.server.received[theirs]), 100)

    def test_steady(self) -> None:
        """On a path that is as long for each datagram nothing is repeated, and the window grows."""
        pair = Pair()
        ours, _ = pair.open()
        begun = pair.network.now
        for number in range(3_000):
            ours.send_message(b"%d" % number, now=begun)
        pair.client.attend(ours)
        pair.network.run(10, lambda: not ours.sending)
        self.assertEqual(ours.flight.repeated, 0)
        self.assertLess(pair.network.now - begun, 2.0)

    def test_rate_and_loss(self) -> None:
        """What is to be repeated waits for the rate too, and no timer spins meanwhile."""
        pair = Pair(Network(2, loss=0.3), client={"max_rate": 80_000.0})
        ours, theirs = pair.open()
        for number in range(50):
            ours.send_message(bytes([number]) * 1_000, now=pair.network.now)
        pair.client.attend(ours)
        pair.network.run(40)
        self.assertEqual(len(pair.server.received[theirs]), 50)
        self.assertGreater(ours.flight.repeated, 0)

    def test_directs(self) -> None:
        """Direct messages are sent once; the oldest are dropped when too many wait."""
        pair = Pair(client={"max_directs": 3})
        ours, theirs = pair.open()
        for number in range(5):
            ours.send_direct(b"%d" % number)
        pair.client.attend(ours)
        pair.network.run(3)
        self.assertEqual(pair.server.directs[theirs], [b"2", b"3", b"4"])
        self.assertEqual(ours.statistics()["directs_dropped"], 2)

    def test_what_there_is_not(self) -> None:
        """What the dialect has not says so by its name."""
        pair = Pair()
        ours, _ = pair.open()
        for call in (
            lambda: ours.send_message(b"x", lane=1, now=0.0),
            lambda: ours.ask(b"x", now=0.0),
            lambda: ours.open_stream(b"x", None, now=0.0),  # type: ignore[arg-type]
        ):
            with self.assertRaisesRegex(NotSupported, "digest"):
                call()


class CorruptTests(SynchronousTestCase):
    """Packets that are damaged on the way."""

    def test_bad_ack(self) -> None:
        """A packet of the peer with a wrong digest is answered with BAD_ACK, and repeated at once."""
        pair = Pair()
        ours, theirs = pair.open()
        pair.network.run(3)  # the round trip is known, and no timer is near
        damaged: list[bytes] = []

        def damage(sent: Sent) -> bytes:
            if sent.packet.type is P.DATA_ACK and not damaged:
                damaged.append(sent.datagram)
                return sent.datagram[:-1] + b"?"
            return sent.datagram

        pair.network.change = damage
        ours.send_message(b"hello", now=pair.network.now)
        pair.client.attend(ours)
        sent_at = pair.network.now
        pair.network.run(1, lambda: bool(pair.server.received[theirs]))
        self.assertAlmostEqual(pair.network.now - sent_at, 0.03)
        bad = [sent for sent in pair.network.log if sent.packet.type is P.BAD_ACK]
        self.assertEqual([(each.to, each.packet.payload) for each in bad], [(CLIENT, damaged[0][:32])])
        self.assertEqual(pair.server.demux.dropped["bad_digest"], 1)
        self.assertEqual(theirs.statistics()["datagrams_dropped"], 1)

    def test_bad_ack_of_client(self) -> None:
        """A client does the same."""
        pair = Pair()
        pair.open()
        forged = Stranger(pair.network, uuid=pair.server.options.uuid or "", secret=b"no", address=SERVER)
        packet = forged.say(P.DATA_ACK, b"x", CLIENT)
        bad = [sent for sent in pair.network.log if sent.packet.type is P.BAD_ACK]
        self.assertEqual([(each.to, each.packet.payload) for each in bad], [(SERVER, packet[:32])])

    def test_rate(self) -> None:
        """BAD_ACK is said so often, and only to where the session is."""
        pair = Pair()
        pair.open()
        before = len(pair.network.log)
        forger = Stranger(pair.network, secret=b"no")
        for _ in range(100):
            forger.say(P.DATA_ACK, b"x" * 100)
        self.assertEqual(len(pair.network.log) - before, BAD_ACKS)
        elsewhere = Stranger(pair.network, secret=b"no", address=CLIENT._replace(port=1))
        elsewhere.say(P.DATA_ACK, b"x" * 100)
        self.assertEqual(elsewhere.heard(), [])
        self.assertEqual(pair.server.demux.dropped["bad_digest"], 101)

    def test_hurry_is_bounded(self) -> None:
        """However often BAD_ACK is said, a message is repeated once per round trip."""
        pair = Pair()
        pair.server.taking = False
        stranger = Stranger(pair.network)
        stranger.say(P.HELLO)
        theirs = pair.server.sessions[0]
        theirs.send_message(b"x", now=pair.network.now)
        pair.server.attend(theirs)
        sent = stranger.heard()[-1]
        for _ in range(50):
            stranger.say(P.BAD_ACK, sent.digest)
        self.assertEqual(stranger.heard_types().count(P.DATA_ACK), 2)
