"""
Tests for messages through two L{hypermail.connection.Connection}s and a network between them.
"""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hypermail.errors import (
    MessageCancelled,
    MessageDropped,
    MessageExpired,
    MessageRejected,
    MessageTooLarge,
    UsageError,
)
from hypermail.events import MessagesReceived, MessagesSettled, MessagesWritable
from hypermail.messages.message import OutgoingMessage
from hypermail.options import KIB, MIB, Delivery, Options, Role
from hypermail.test.wired import Puppet, Wire, inside
from hypermail.wire import packets as p


class DeliveryTests(SynchronousTestCase):
    """Messages arrive."""

    def test_sizes(self) -> None:
        """From nothing to exactly the largest message everything arrives whole; one byte more is refused at once."""
        wire = Wire(listener=Options(max_message=100_000, allowance_bytes=200_000)).open()
        sizes = (0, 1, 1_000, 1_169, 1_170, 1_200, 50_000, 100_000, 0)
        data = [Random(size).randbytes(size) for size in sizes]
        messages = [wire.starter.send_message(one, now=wire.now) for one in data]
        self.assertRaises(MessageTooLarge, wire.starter.send_message, bytes(100_001), now=wire.now)
        wire.until(lambda: all(message.settled for message in messages))
        self.assertEqual(wire.there.messages, {0: data})
        self.assertEqual(wire.here.settled, messages)
        self.assertEqual([message.error for message in messages], [None] * len(sizes))

    def test_bothWays(self) -> None:
        """Both sides send alike once the session is open."""
        wire = Wire().open()
        for side in (wire.starter, wire.listener):
            for number in range(300):
                side.send_message(b"%d" % number, now=wire.now)
        wire.until(lambda: len(wire.here.settled) == 300 and len(wire.there.settled) == 300)
        self.assertEqual(wire.here.messages, wire.there.messages)

    @settings(max_examples=25, deadline=None)
    @given(
        st.integers(0, 2**32),
        st.lists(st.tuples(st.integers(0, 3), st.integers(0, 6_000)), min_size=1, max_size=40),
        st.floats(0, 0.35),
    )
    def test_exactlyOnce(self, seed: int, messages: list[tuple[int, int]], loss: float) -> None:
        """Whatever is lost, each message is delivered exactly once, on ordered lanes in order, and settled."""
        wire = Wire(seed=seed).open()
        wire.starter.configure_lane(1, ordered=False)
        wire.starter.configure_lane(2, priority=3)
        wire.starter.configure_lane(3, ordered=False, delivery=Delivery.BUFFERED)
        wire.lose = lambda role, datagram: wire.random.random() < loss
        expected: dict[int, list[bytes]] = {}
        for number, (lane, size) in enumerate(messages):
            data = number.to_bytes(4, "big") + bytes(size)
            expected.setdefault(lane, []).append(data)
            wire.starter.send_message(data, lane=lane, now=wire.now)
        wire.close(600)
        self.assertEqual(len(wire.here.settled), len(messages))
        self.assertEqual({message.error for message in wire.here.settled}, {None})
        for lane, sent in expected.items():
            arrived = wire.there.messages[lane]
            self.assertEqual(arrived if lane in (0, 2) else sorted(arrived), sent)

    def test_independentLanes(self) -> None:
        """A lane whose messages are lost, or held by the application, does not hold up another."""
        wire = Wire().open()
        wire.there.takes = False
        wire.lose = lambda role, datagram: (
            role is Role.STARTER
            and any(isinstance(packet, p.StreamBlocks) and packet.lane == 1 for packet in inside(datagram))
        )
        wire.starter.send_message(b"stuck", lane=1, now=wire.now)
        wire.run(0.01)
        for _ in range(5):
            wire.starter.send_message(b"free", lane=2, now=wire.now)
            wire.run(0.1)
        self.assertEqual(wire.there.messages, {2: [b"free"] * 5})

    def test_mtuOfPath(self) -> None:
        """No datagram is larger than the path's MTU, and the starter's hello is as large as it."""
        wire = Wire(Options(mtu=1_400), Options(mtu=1_300)).open()
        for side in (wire.starter, wire.listener):
            side.send_message(bytes(100_000), now=wire.now)
        wire.close()
        sizes = {role: max(len(datagram) for sender, datagram in wire.sent if sender is role) for role in Role}
        self.assertEqual(sizes, {Role.STARTER: 1_400, Role.LISTENER: 1_300})
        self.assertEqual(len(wire.sent[0][1]), 1_400)


class VerdictTests(SynchronousTestCase):
    """The application's word."""

    def test_rejects(self) -> None:
        """Rejects reach the sender with code and text, also very many, under loss, each with its own message."""
        wire = Wire(seed=5).open()
        wire.there.takes = False

        def judge(event: object) -> None:
            if isinstance(event, MessagesReceived):
                for number in range(event.first, event.first + len(event.messages)):
                    if number % 3:
                        event.lane.reject(number, number, f"number {number}")
                    else:
                        event.lane.take(number)

        wire.there.reply = judge
        wire.lose = lambda role, datagram: wire.random.random() < 0.2
        messages = [wire.starter.send_message(b"x", now=wire.now) for _ in range(600)]
        wire.until(lambda: len(wire.here.settled) == 600)
        for number, message in enumerate(messages):
            if number % 3:
                assert isinstance(message.error, MessageRejected)
                self.assertEqual((message.error.code, message.error.text), (number, f"number {number}"))
            else:
                self.assertIsNone(message.error)

    def test_longReason(self) -> None:
        """A very long reason is cut; it does not hold up the lane."""
        wire = Wire().open()
        wire.there.takes = False
        messages = [wire.starter.send_message(b"x", now=wire.now) for _ in range(2)]
        wire.run(1)
        lane = wire.there.untaken[0].lane
        lane.reject(0, 5, "long " * 1_000)
        lane.take(1)
        wire.until(lambda: messages[1].settled)
        assert messages[0].error is not None
        self.assertEqual(messages[0].error.text, "long " * 40)

    def test_outOfOrder(self) -> None:
        """Out of order settling of an unordered lane is told at once, of an ordered one as the prefix grows."""
        wire = Wire().open()
        wire.there.takes = False
        wire.starter.configure_lane(1, ordered=False)
        messages = [[wire.starter.send_message(b"x", lane=lane, now=wire.now) for _ in range(4)] for lane in (0, 1)]
        wire.run(1)
        for event in wire.there.untaken:
            event.lane.take(2)
        wire.run(1)
        told = [[message.settled for message in lane] for lane in messages]
        self.assertEqual(told, [[False] * 4, [False, False, True, False]])

    def test_mostUnsettled(self) -> None:
        """The application holds 1,024 of a lane and no more; the sender goes on as it takes them."""
        wire = Wire().open()
        wire.there.takes = False
        for _ in range(3_000):
            wire.starter.send_message(b"x", now=wire.now)
        wire.run(2)
        self.assertEqual(len(wire.there.messages[0]), 1_024)
        wire.there.take_all()
        wire.run(2)
        self.assertEqual(len(wire.there.messages[0]), 2_048)
        self.assertEqual(len(wire.here.settled), 1_024)


class PressureTests(SynchronousTestCase):
    """Producers and allowances."""

    def test_allowance(self) -> None:
        """No more is begun than the peer allows, a quarter kept for urgent lanes; the receiver never sees more."""
        wire = Wire(listener=Options(max_message=50 * KIB, allowance_bytes=100 * KIB)).open()
        wire.there.takes = False
        wire.starter.configure_lane(1, priority=1)
        for _ in range(20):
            wire.starter.send_message(bytes(10 * KIB), now=wire.now)
        wire.run(5)
        self.assertEqual(len(wire.there.messages[0]), 7)
        for _ in range(5):
            wire.starter.send_message(bytes(10 * KIB), lane=1, now=wire.now)
        wire.run(5)
        self.assertEqual(len(wire.there.messages[1]), 3)
        wire.there.takes = True
        wire.there.take_all()
        wire.close()
        self.assertEqual((len(wire.there.messages[0]), len(wire.there.messages[1])), (20, 5))

    def test_writable(self) -> None:
        """Fullness is seen, and its end is told once."""
        wire = Wire(Options(outgoing_bytes=100_000)).open()
        sent = 0
        while not wire.starter.messages_full:
            wire.starter.send_message(bytes(1_000), wanted=False, now=wire.now)
            sent += 1
        self.assertLess(sent, 101)
        wire.until(lambda: wire.here.of(MessagesWritable))
        self.assertFalse(wire.starter.messages_full)
        wire.until(lambda: len(wire.there.messages[0]) == sent)
        wire.run(1)
        self.assertEqual(len(wire.here.of(MessagesWritable)), 1)
        self.assertEqual(wire.here.of(MessagesSettled), [])

    def test_lanesInUse(self) -> None:
        """What a lane is, is fixed by its first use."""
        wire = Wire().open()
        wire.starter.send_message(b"x", now=wire.now)
        self.assertRaises(UsageError, wire.starter.configure_lane, 0, ordered=False)


class GivingUpTests(SynchronousTestCase):
    """Messages expire and are withdrawn."""

    def _stalled(self) -> tuple[Wire, list[OutgoingMessage]]:
        wire = Wire().open()
        wire.there.takes = False
        return wire, [wire.starter.send_message(b"%d" % n, expires=2.0, now=wire.now) for n in range(1_030)]

    def test_expiry(self) -> None:
        """What expires is settled as expired, unless the application has it, whose word then counts."""
        wire, messages = self._stalled()
        later = wire.starter.send_message(b"later", now=wire.now)
        wire.run(4)
        self.assertFalse(any(message.settled for message in messages))
        wire.there.takes = True
        wire.there.take_all()
        wire.until(lambda: later.settled)
        self.assertEqual([message.error for message in messages[:1_024]], [None] * 1_024)
        self.assertEqual({type(message.error) for message in messages[1_024:]}, {MessageExpired})
        self.assertEqual(wire.there.messages[0][-1], b"later")
        self.assertEqual(len(wire.there.messages[0]), 1_025)

    def test_expiredOnTheWay(self) -> None:
        """A message that can't arrive in time expires on time, and is not delivered when the network returns."""
        wire = Wire().open()
        wire.lose = lambda role, datagram: True
        message = wire.starter.send_message(bytes(5_000), expires=1.0, now=wire.now)
        wire.run(3)
        wire.lose = lambda role, datagram: False
        wire.until(lambda: message.settled)
        self.assertIsInstance(message.error, MessageExpired)
        self.assertEqual(wire.there.messages, {})

    def test_expiredBeforeOpening(self) -> None:
        """Time runs while the session opens, too."""
        wire = Wire()
        wire.there.accepts = None
        message = wire.starter.send_message(b"x", expires=1.0, now=wire.now)
        wire.run(2)
        wire.listener.accept(now=wire.now)
        wire.until(lambda: message.settled)
        self.assertIn(type(message.error), (MessageExpired, type(None)))

    def test_allAtOnce(self) -> None:
        """Tens of thousands of messages may expire in one moment without harm."""
        wire = Wire().open()
        wire.lose = lambda role, datagram: role is Role.LISTENER
        messages = [wire.starter.send_message(b"", expires=5.0, now=wire.now) for _ in range(40_000)]
        wire.run(6)
        wire.lose = lambda role, datagram: False
        wire.until(lambda: len(wire.here.settled) == len(messages), 300)
        self.assertEqual((wire.here.error, wire.there.error), (None, None))
        self.assertLessEqual({type(message.error) for message in messages}, {MessageExpired, type(None)})

    def test_cancel(self) -> None:
        """What is withdrawn before the application has it is cancelled, and what comes after it is delivered."""
        wire = Wire().open()
        queued = [wire.starter.send_message(b"%d" % number, now=wire.now) for number in range(3)]
        wire.starter.cancel_message(queued[1], now=wire.now)
        wire.until(lambda: all(message.settled for message in queued))
        self.assertEqual(wire.there.messages[0], [b"0", b"2"])
        self.assertIsInstance(queued[1].error, MessageCancelled)

    def test_cancelBegun(self) -> None:
        """A large message may be withdrawn under way."""
        wire = Wire().open()
        large = wire.starter.send_message(bytes(8 * MIB), now=wire.now)
        wire.run(0.1)
        small = wire.starter.send_message(b"small", now=wire.now)
        wire.starter.cancel_message(large, now=wire.now)
        wire.until(lambda: small.settled)
        self.assertIsInstance(large.error, MessageCancelled)
        self.assertEqual(wire.there.messages[0], [b"small"])
        self.assertEqual(wire.listener.statistics()["messages_held"], 0)

    def test_cancelTaken(self) -> None:
        """What the application has already taken stays taken."""
        wire = Wire().open()
        message = wire.starter.send_message(b"x", now=wire.now)
        wire.until(lambda: wire.there.messages)
        wire.starter.cancel_message(message, now=wire.now)
        wire.until(lambda: message.settled)
        self.assertIsNone(message.error)

    def test_buffered(self) -> None:
        """A buffered lane keeps the newest, delivers them without asking, and tells what it has dropped."""
        wire = Wire(Options(buffered_messages=10)).open()
        wire.there.takes = False
        wire.starter.configure_lane(1, delivery=Delivery.BUFFERED)
        messages = [wire.starter.send_message(b"%d" % number, lane=1, now=wire.now) for number in range(50)]
        wire.until(lambda: len(wire.here.settled) == 50)
        self.assertEqual(wire.there.messages[1], [b"%d" % number for number in range(40, 50)])
        self.assertEqual({type(message.error) for message in messages[:40]}, {MessageDropped})

    def test_direct(self) -> None:
        """Direct messages arrive once or not at all, and never again."""
        wire = Wire().open()
        wire.lose_first(Role.STARTER, p.Direct)
        for number in range(3):
            wire.starter.send_direct(b"%d" % number)
            wire.run(0.1)
        wire.run(5)
        self.assertEqual(wire.there.directs, [b"1", b"2"])
        self.assertRaises(MessageTooLarge, wire.starter.send_direct, bytes(1_181))
        self.assertTrue(wire.starter.is_direct(3) is False)
        wire.starter.configure_lane(3, delivery=Delivery.DIRECT)
        self.assertTrue(wire.starter.is_direct(3))


class ViolationTests(SynchronousTestCase):
    """What a peer may not say of messages."""

    def test_ends(self) -> None:
        """Each broken rule ends the session with a reason that both sides can read."""
        for packets in (
            [p.StreamBlockAck(0, 1, (), ())],
            [p.StreamBlockAck(5, 0, (), ())],
            [p.StreamBlocks(0, 0, 0, [b"x"]), p.StreamBlocks(0, 1, 1, [b"x"])],
            [p.StreamBlocks(0, 9, 0, [b"x"])],
            [p.StreamBlock(0, 0, 0, 2**32 - 1, 0, b"x")],
            [p.StreamBlock(0, 0, 0, 10, 0, b"x"), p.StreamBlock(0, 0, 0, 11, 5, b"x")],
            [p.StreamBlock(0, 0, 0, 10, 0, b"x"), p.StreamBlocks(0, 0, 0, [b"x"])],
            [p.MessageClear(0, 0, 1 << 20)],
        ):
            puppet = Puppet()
            error = puppet.said(*packets)
            (death,) = puppet.of(p.SessionDeath)
            assert error is not None
            self.assertEqual((error.code, error.text), (death.code, f"the peer broke the protocol: {death.text}"))
            self.assertTrue(puppet.victim.ended)
