"""
Tests for L{hypermail.messages.outgoing} and L{hypermail.messages.sending}: one side, datagram by datagram.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hypermail.errors import (
    Delivered,
    MessageCancelled,
    MessageDropped,
    MessageExpired,
    MessageRejected,
    MessageTooLarge,
    MessageUndelivered,
    ProtocolViolation,
    SessionLost,
    UsageError,
)
from hypermail.link.control import Control
from hypermail.link.payload import Payload
from hypermail.messages.clearing import MOST_CLEARS
from hypermail.messages.departing import MOST_AHEAD
from hypermail.messages.lanes import LaneProperties
from hypermail.messages.message import OutgoingMessage
from hypermail.messages.sending import Sending
from hypermail.messages.states import State
from hypermail.options import Delivery, Options
from hypermail.test.wired import GENEROUS
from hypermail.wire import packets as p
from hypermail.wire.codec import decode

ROOM = 1_183


def packets(payload: Payload) -> list[p.Packet]:
    """What a datagram holds."""
    return decode(memoryview(b"".join(payload.parts))) if payload.parts else []


def numbers(found: list[p.Packet]) -> list[tuple[int, int]]:
    """The (lane, number) of every message in packets, in order."""
    told = []
    for packet in found:
        if isinstance(packet, p.StreamBlocks):
            told += [(packet.lane, number) for number in range(packet.first, packet.first + len(packet.messages))]
        elif isinstance(packet, p.StreamBlock):
            told.append((packet.lane, packet.number))
    return told


class SendingCase(SynchronousTestCase):
    """Sets up a sending side."""

    options = Options()
    peer = GENEROUS

    def setUp(self) -> None:
        self.control = Control()
        self.sending = Sending(self.options, self.peer, self.control)

    def send(self, data: bytes, lane: int = 0, expires: float | None = None, wanted: bool = True) -> OutgoingMessage:
        """Queue a message."""
        return self.sending.send(data, lane, expires, wanted)

    def datagram(self, room: int = ROOM) -> Payload:
        """One datagram."""
        payload = Payload(room)
        self.sending.fill(payload, room, urgent=True)
        if not payload.full:
            self.sending.fill(payload, room, urgent=False)
        self.assertEqual(room - sum(map(len, payload.parts)), payload.room)
        self.assertGreaterEqual(payload.room, 0)
        return payload

    def all(self, room: int = ROOM) -> list[p.Packet]:
        """What all datagrams hold that there are to be sent."""
        found: list[p.Packet] = []
        while self.sending.has_more:
            payload = self.datagram(room)
            found += packets(payload)
        return found

    def settle(
        self, watermark: int, *verdicts: p.Verdict, lane: int = 0, ranges: tuple[tuple[int, int], ...] = ()
    ) -> None:
        """The peer says what is settled."""
        self.sending.take_ack(p.StreamBlockAck(lane, watermark, ranges, verdicts))

    def clears(self) -> list[p.MessageClear]:
        """The control packets that wait."""
        payload = Payload(1 << 20)
        self.control.fill(payload)
        found = packets(payload)
        for source, start, stop in payload.contents:
            source.acked(start, stop)
        return [packet for packet in found if isinstance(packet, p.MessageClear)]


class RunTests(SendingCase):
    """Small messages share packets."""

    def test_run(self) -> None:
        """Small messages that wait leave in one run with consecutive numbers."""
        for data in (b"a", b"", b"ccc"):
            self.send(data)
        (run,) = self.all()
        self.assertEqual(run, p.StreamBlocks(0, 0, 0, [b"a", b"", b"ccc"]))

    def test_longestRun(self) -> None:
        """A run holds 512 messages at most; the rest of the datagram takes another."""
        for _ in range(600):
            self.send(b"")
        first, second = packets(self.datagram(4_000))
        assert isinstance(first, p.StreamBlocks) and isinstance(second, p.StreamBlocks)
        self.assertEqual((len(first.messages), second.first, len(second.messages)), (512, 512, 88))

    def test_largestWhole(self) -> None:
        """What just fits a datagram goes whole; one byte more goes in fragments."""
        largest = ROOM - p.BLOCKS.size - 2
        self.send(bytes(largest))
        self.send(bytes(largest + 1))
        kinds = [type(packet) for packet in self.all()]
        self.assertEqual(kinds, [p.StreamBlocks, p.StreamBlock, p.StreamBlock])

    def test_doesNotFit(self) -> None:
        """A small message that does not fit the rest of a datagram waits for the next, which is asked for."""
        self.send(bytes(1_000))
        self.send(bytes(1_000))
        payload = self.datagram()
        self.assertTrue(payload.full)
        self.assertEqual(numbers(packets(payload)), [(0, 0)])
        self.assertEqual(numbers(packets(self.datagram())), [(0, 1)])

    def test_runLostInParts(self) -> None:
        """Of a lost run only what isn't settled is sent again, in runs of neighbours."""
        for number in range(6):
            self.send(b"%d" % number)
        self.sending.configure(0, LaneProperties())
        payload = self.datagram()
        ((source, start, stop),) = payload.contents
        self.settle(1, ranges=((3, 4),))
        source.lost(start, stop)
        source.acked(start, stop)
        self.assertEqual([packet[2:] for packet in self.all()], [(1, [b"1", b"2"]), (4, [b"4", b"5"])])

    def test_lostAndWithdrawn(self) -> None:
        """What was withdrawn meanwhile is not sent again, and parts the run."""
        messages = [self.send(b"%d" % number) for number in range(4)]
        ((source, start, stop),) = self.datagram().contents
        source.lost(start, stop)
        self.sending.cancel(messages[0])
        self.sending.cancel(messages[2])
        self.assertEqual([packet[2:] for packet in self.all()], [(1, [b"1"]), (3, [b"3"])])

    def test_lostRunDoesNotFit(self) -> None:
        """A lost run that does not fit the rest of a datagram goes on in the next one."""
        for _ in range(2):
            self.send(bytes(500))
        ((source, start, stop),) = self.datagram().contents
        source.lost(start, stop)
        self.send(bytes(600))
        self.assertEqual(numbers(packets(self.datagram(800))), [(0, 0)])
        self.assertEqual(numbers(packets(self.datagram(800))), [(0, 1)])
        self.assertEqual(numbers(packets(self.datagram(800))), [(0, 2)])

    def test_settledRunIsNotLost(self) -> None:
        """Loss that is noticed after everything was settled brings nothing back."""
        self.send(b"a")
        ((source, start, stop),) = self.datagram().contents
        source.lost(start, stop)
        self.settle(1)
        source.lost(start, stop)
        self.assertFalse(self.sending.has_more)
        self.assertTrue(self.sending.idle)

    def test_mtuShrinks(self) -> None:
        """A whole message that fits no datagram any more is sent again in fragments."""
        data = bytes(range(256)) * 4
        self.send(data)
        ((source, start, stop),) = self.datagram().contents
        source.lost(start, stop)
        fragments = self.all(500)
        self.assertEqual({type(packet) for packet in fragments}, {p.StreamBlock})
        self.assertEqual(b"".join(f.data for f in fragments if isinstance(f, p.StreamBlock)), data)
        self.assertEqual({f.total for f in fragments if isinstance(f, p.StreamBlock)}, {1_024})


class FragmentTests(SendingCase):
    """Large messages go in pieces."""

    def test_fragments(self) -> None:
        """The fragments of a message cover it in order, and fill their datagrams."""
        data = bytes(range(256)) * 20
        self.send(data)
        at = 0
        while self.sending.has_more:
            payload = self.datagram()
            (block,) = packets(payload)
            assert isinstance(block, p.StreamBlock)
            self.assertEqual((block.offset, block.total), (at, len(data)))
            self.assertEqual(block.data, data[at : at + len(block.data)])
            at += len(block.data)
            self.assertTrue(payload.room == 0 or at == len(data))
        self.assertEqual(at, len(data))

    def test_lostFragments(self) -> None:
        """Lost fragments go before new ones, and cut anew when datagrams have become smaller."""
        data = bytes(range(256)) * 12
        self.send(data)
        first = self.datagram()
        ((source, start, stop),) = first.contents
        source.lost(start, stop)
        source.lost(start, stop)
        source.acked(start, stop)
        again = [packet for _ in range(3) for packet in packets(self.datagram(500))]
        self.assertEqual([packet.offset for packet in again if isinstance(packet, p.StreamBlock)][:2], [0, 479])
        covered = sum(len(packet.data) for packet in [*again, *self.all()] if isinstance(packet, p.StreamBlock))
        self.assertEqual(covered, len(data))

    def test_lostAfterSettled(self) -> None:
        """A fragment whose loss is noticed after the message was settled is not sent again."""
        self.send(bytes(3_000))
        contents = [content for _ in range(3) for content in self.datagram().contents]
        contents[0][0].lost(*contents[0][1:])
        self.settle(1)
        contents[1][0].lost(*contents[1][1:])
        self.assertEqual(self.all(), [])
        self.assertTrue(self.sending.idle)

    def test_notWorthIt(self) -> None:
        """A datagram that is nearly full takes no crumb of a message."""
        self.send(bytes(1_100))
        self.send(bytes(3_000), lane=1)
        self.assertEqual(numbers(packets(self.datagram())), [(0, 0)])
        self.assertEqual(numbers(packets(self.datagram())), [(1, 0)])

    def test_interleave(self) -> None:
        """Large messages of lanes with one priority take turns, datagram by datagram."""
        self.send(bytes(5_000))
        self.send(bytes(5_000), lane=1)
        lanes = [lane for lane, _ in numbers(self.all())]
        self.assertEqual(lanes[:6], [0, 1, 0, 1, 0, 1])

    def test_smallBesideLarge(self) -> None:
        """A small message of another lane does not wait for a large one to be sent whole."""
        self.send(bytes(100_000))
        self.datagram()
        self.send(b"small", lane=1)
        found = numbers([packet for _ in range(2) for packet in packets(self.datagram())])
        self.assertIn((1, 0), found)

    def test_settledTooSoon(self) -> None:
        """A peer that says it took a message of which not everything was sent breaks the protocol."""
        self.send(bytes(5_000))
        self.datagram()
        self.assertRaises(ProtocolViolation, self.settle, 1)

    def test_rejectedWhileFragmenting(self) -> None:
        """A message may be refused before it was sent whole, and no more of it is sent."""
        message = self.send(bytes(5_000))
        self.datagram()
        self.settle(1, p.Verdict(0, False, 5, "too long for me"))
        self.assertEqual(self.all(), [])
        assert message.error is not None
        self.assertEqual((message.error.code, message.error.text), (5, "too long for me"))


class PriorityTests(SendingCase):
    """Urgent lanes go first."""

    def test_strict(self) -> None:
        """Lanes of a higher priority are sent first, whatever the order of sending."""
        for priority in (0, 3, 1, 7):
            self.sending.configure(priority, LaneProperties(priority=priority))
            self.send(bytes(1_100), lane=priority)
        self.assertEqual([lane for lane, _ in numbers(self.all())], [7, 3, 1, 0])

    def test_overtakesFragments(self) -> None:
        """An urgent message overtakes a large one that is under way."""
        self.sending.configure(1, LaneProperties(priority=1))
        self.send(bytes(50_000))
        self.datagram()
        self.send(b"urgent", lane=1)
        self.assertEqual(numbers(packets(self.datagram()))[0], (1, 0))

    def test_turns(self) -> None:
        """Lanes of one priority take turns."""
        for lane in (1, 2, 3):
            for _ in range(4):
                self.send(bytes(1_100), lane=lane)
        lanes = [lane for lane, _ in numbers(self.all())]
        self.assertEqual((lanes[:9], sorted(lanes[9:])), ([1, 2, 3] * 3, [1, 2, 3]))


class AllowanceTests(SendingCase):
    """Nothing is begun that the peer has no room for."""

    peer = GENEROUS._replace(allowance_bytes=1_000, allowance_messages=8, max_message=2_000)

    def test_messages(self) -> None:
        """Three quarters of the allowed messages are begun, and more as they are settled."""
        for _ in range(10):
            self.send(b"x")
        self.assertEqual(len(numbers(self.all())), 6)
        self.settle(2)
        self.assertEqual(numbers(self.all()), [(0, 6), (0, 7)])

    def test_bytes(self) -> None:
        """Three quarters of the allowed bytes are begun, and more as they are settled."""
        for _ in range(4):
            self.send(bytes(300))
        self.assertEqual(len(numbers(self.all())), 2)
        self.settle(1)
        self.assertEqual(numbers(self.all()), [(0, 2)])

    def test_quarterForUrgent(self) -> None:
        """When ordinary lanes have used up their part, urgent ones still have a quarter."""
        self.sending.configure(1, LaneProperties(priority=2))
        for _ in range(10):
            self.send(b"x")
        self.all()
        for _ in range(5):
            self.send(b"y", lane=1)
        self.assertEqual(numbers(self.all()), [(1, 0), (1, 1)])

    def test_oneMayAlways(self) -> None:
        """A message larger than what lanes of priority 0 may have goes when nothing else is begun."""
        self.send(bytes(1_000))
        self.send(b"x")
        self.assertEqual({number for _, number in numbers(self.all())}, {0})
        self.settle(1)
        self.assertEqual({number for _, number in numbers(self.all())}, {1})

    def test_learn(self) -> None:
        """The peer's real limits replace the early ones."""
        self.assertRaises(MessageTooLarge, self.send, bytes(2_001))
        self.sending.learn(GENEROUS)
        self.send(bytes(2_001))
        self.send(bytes(4_000))
        self.assertEqual({number for _, number in numbers(self.all())}, {0, 1})

    def test_size(self) -> None:
        """Exactly the largest message is taken; one byte more is refused at once, and nothing changes."""
        self.send(bytes(2_000))
        error = self.assertRaises(MessageTooLarge, self.send, bytes(2_001))
        self.assertIn("2000", error.text)
        self.assertEqual(self.sending.budget.queued_messages, 1)


class AheadTests(SendingCase):
    """Numbers run away from the oldest unsettled one only so far."""

    peer = GENEROUS._replace(allowance_messages=1 << 20)

    def test_mostAhead(self) -> None:
        """On an unordered lane no message is begun that is 65,536 ahead of the oldest unsettled one."""
        self.sending.configure(0, LaneProperties(ordered=False))
        for _ in range(MOST_AHEAD + 10):
            self.send(b"", wanted=False)
        self.assertEqual(len(numbers(self.all(65_000))), MOST_AHEAD)
        self.settle(0, ranges=((1, MOST_AHEAD),))
        self.assertFalse(self.sending.has_more)
        self.settle(MOST_AHEAD)
        self.assertEqual(len(numbers(self.all())), 10)


class SettlingTests(SendingCase):
    """The peer's application decides."""

    def test_watermark(self) -> None:
        """Everything below the watermark is taken, and told once."""
        messages = [self.send(b"x") for _ in range(4)]
        self.all()
        self.settle(3)
        self.assertEqual(self.sending.take_settled(), messages[:3])
        self.settle(3)
        self.settle(1)
        self.assertEqual(self.sending.take_settled(), [])
        self.settle(4)
        self.assertEqual(self.sending.take_settled(), messages[3:])
        self.assertEqual([message.error for message in messages], [None] * 4)
        self.assertTrue(self.sending.idle)

    def test_ranges(self) -> None:
        """On an unordered lane the ranges above the watermark are taken, too, in any order of arrival."""
        messages = [self.send(b"x", lane=2) for _ in range(10)]
        self.all()
        self.settle(1, lane=2, ranges=((3, 5), (7, 8)))
        self.settle(0, lane=2, ranges=((4, 6),))
        self.assertEqual({m.number for m in messages if m.settled}, {0, 3, 4, 5, 7})
        self.settle(10, lane=2)
        self.assertEqual({m.number for m in self.sending.take_settled()}, set(range(10)))
        self.assertEqual((self.sending.budget.begun_messages, self.sending.budget.begun_bytes), (0, 0))

    def test_verdicts(self) -> None:
        """What a verdict names was not taken: rejected with code and text, and the others were."""
        messages = [self.send(b"x") for _ in range(3)]
        self.all()
        self.settle(3, p.Verdict(1, False, 4_711, "smells"))
        self.assertEqual([type(message.error) for message in messages], [type(None), MessageRejected, type(None)])
        error = messages[1].error
        assert error is not None
        self.assertEqual((error.code, error.text), (4_711, "smells"))

    def test_neverSent(self) -> None:
        """A peer that settles what was never sent, or a lane that was never used, breaks the protocol."""
        self.send(b"x")
        self.send(b"y", lane=1)
        self.all()
        self.assertRaises(ProtocolViolation, self.settle, 2)
        self.assertRaises(ProtocolViolation, self.settle, 0, lane=1, ranges=((1, 2),))
        self.assertRaises(ProtocolViolation, self.settle, 0, lane=9)

    def test_clearedUnasked(self) -> None:
        """A peer that clears a message nobody withdrew has not taken it."""
        message = self.send(b"x")
        self.all()
        self.settle(1, p.Verdict(0, True, 33, ""))
        self.assertIsInstance(message.error, MessageCancelled)

    def test_notWanted(self) -> None:
        """Of a message whose fate nobody wants to hear nothing is told."""
        self.send(b"x", wanted=False)
        self.send(b"y", wanted=False)
        self.all()
        self.settle(2, p.Verdict(1, False, 1, ""))
        self.assertEqual(self.sending.take_settled(), [])
        self.assertTrue(self.sending.idle)

    @given(st.data())
    def test_eachOnce(self, data: st.DataObject) -> None:
        """However the peer's words overlap, each message is settled once and the budget comes out even."""
        self.setUp()
        count = data.draw(st.integers(1, 30))
        messages = [self.send(bytes(number), lane=1) for number in range(count)]
        self.all()
        told: list[OutgoingMessage] = []
        watermark = 0
        for _ in range(data.draw(st.integers(1, 10))):
            watermark = max(watermark, data.draw(st.integers(0, count)))
            edges = sorted(data.draw(st.sets(st.integers(watermark + 1, count + 1), max_size=6)))
            ranges = tuple((a, b) for a, b in zip(edges[::2], edges[1::2]) if b <= count)
            self.settle(watermark, lane=1, ranges=ranges)
            told += self.sending.take_settled()
            self.assertEqual(len(told), len(set(map(id, told))))
            unsettled = [message for message in messages if not message.settled]
            self.assertEqual(self.sending.budget.begun_messages, len(unsettled))
            self.assertEqual(self.sending.budget.begun_bytes, sum(len(message.data) for message in unsettled))
        self.settle(count, lane=1)
        self.assertEqual(len(told) + len(self.sending.take_settled()), count)


class WithdrawTests(SendingCase):
    """Messages are given up."""

    def test_queued(self) -> None:
        """A message that waits is gone at once, leaves no hole in the numbers, and the peer hears nothing."""
        first, second = self.send(b"first"), self.send(b"second")
        self.sending.cancel(first)
        self.assertIsInstance(first.error, MessageCancelled)
        self.assertEqual(self.sending.take_settled(), [first])
        (run,) = self.all()
        self.assertEqual(run, p.StreamBlocks(0, 0, 0, [b"second"]))
        self.assertEqual((second.number, self.clears()), (0, []))

    def test_begunAndCleared(self) -> None:
        """For a begun message the peer is asked; when it has cleared it, the sender's reason stands."""
        message = self.send(b"x")
        self.all()
        self.sending.cancel(message)
        self.assertEqual(self.clears(), [p.MessageClear(0, 0, 0)])
        self.assertFalse(message.settled)
        self.settle(1, p.Verdict(0, True, 33, ""))
        self.assertIsInstance(message.error, MessageCancelled)

    def test_begunAndTaken(self) -> None:
        """When the peer's application was quicker, the message was taken after all."""
        message = self.send(b"x")
        self.all()
        self.sending.cancel(message)
        self.settle(1)
        self.assertEqual((message.state, message.error), (State.SETTLED, None))

    def test_afterSettled(self) -> None:
        """Withdrawing what is settled changes nothing, twice is as good as once."""
        message = self.send(b"x")
        self.all()
        self.sending.cancel(message)
        self.sending.cancel(message)
        self.assertEqual(len(self.clears()), 1)
        self.settle(1)
        self.sending.cancel(message)
        self.assertEqual((message.error, self.clears()), (None, []))

    def test_whileFragmenting(self) -> None:
        """Of a large message that is withdrawn under way no more is sent, and the next one goes."""
        message = self.send(bytes(10_000))
        lost = self.datagram().contents
        self.send(b"next")
        self.sending.cancel(message)
        lost[0][0].lost(*lost[0][1:])
        self.assertEqual(numbers(self.all()), [(0, 1)])

    def test_withLostFragments(self) -> None:
        """Lost fragments of a withdrawn message are forgotten."""
        message = self.send(bytes(2_000))
        for payload in (self.datagram(), self.datagram()):
            for source, start, stop in payload.contents:
                source.lost(start, stop)
        self.sending.cancel(message)
        self.assertEqual(self.all(), [])

    def test_expiry(self) -> None:
        """What expires in time order is given up with that reason; what is settled no longer counts."""
        early, late = self.send(b"early", expires=5.0), self.send(b"late", expires=9.0)
        never = self.send(b"never")
        self.assertEqual(self.sending.deadline(), 5.0)
        self.sending.expire(4.9)
        self.assertFalse(early.settled)
        self.sending.expire(5.0)
        self.assertIsInstance(early.error, MessageExpired)
        self.assertEqual(self.sending.deadline(), 9.0)
        self.all()
        self.settle(1)
        self.assertIsNone(self.sending.deadline())
        self.sending.expire(10.0)
        self.assertEqual((late.error, never.settled), (None, False))

    def test_expiredMeanwhile(self) -> None:
        """A message that was settled before its time ran out is left alone."""
        message = self.send(b"x", expires=5.0)
        self.all()
        self.settle(1)
        self.sending.expire(6.0)
        self.assertEqual((message.error, self.clears()), (None, []))

    def test_allExpireTogether(self) -> None:
        """When very many expire at once the peer is asked about a bounded number at a time, and about all."""
        count = 3 * MOST_CLEARS + 5
        messages = [self.send(b"", expires=1.0) for _ in range(count)]
        self.all()
        self.sending.expire(1.0)
        self.assertEqual(len(self.control), MOST_CLEARS)
        asked = []
        while clears := self.clears():
            self.assertLessEqual(len(clears), MOST_CLEARS)
            asked += clears
        self.assertEqual([clear.number for clear in asked], list(range(count)))
        self.settle(count, *(p.Verdict(number, True, 33, "") for number in range(count)))
        self.assertTrue(all(isinstance(message.error, MessageExpired) for message in messages))

    def test_settledBeforeAsked(self) -> None:
        """The peer isn't asked about a message that it has settled while the question waited."""
        messages = [self.send(b"") for _ in range(MOST_CLEARS + 2)]
        self.all()
        for message in messages:
            self.sending.cancel(message)
        self.settle(MOST_CLEARS + 1)
        self.assertEqual(len(self.clears()), MOST_CLEARS)
        self.assertEqual([clear.number for clear in self.clears()], [MOST_CLEARS + 1])


class LaneTests(SendingCase):
    """Lanes are what they were said to be."""

    options = Options(buffered_messages=3)
    peer = GENEROUS._replace(max_lanes=2)

    def test_fixed(self) -> None:
        """A lane that is in use can't become something else; saying the same again is harmless."""
        self.send(b"x")
        self.sending.configure(0, LaneProperties())
        self.assertRaises(UsageError, self.sending.configure, 0, LaneProperties(ordered=False))
        self.assertRaises(UsageError, self.sending.configure, 240, LaneProperties())
        self.assertRaises(UsageError, self.send, b"x", 240)

    def test_flags(self) -> None:
        """What a lane is travels with its packets."""
        self.sending.configure(1, LaneProperties(ordered=False, delivery=Delivery.BUFFERED))
        self.send(b"x", lane=1)
        (run,) = self.all()
        self.assertEqual(run, p.StreamBlocks(1, 3, 0, [b"x"]))

    def test_tooMany(self) -> None:
        """No more lanes are used than the peer takes."""
        self.send(b"x")
        self.send(b"x", lane=1)
        self.assertRaises(UsageError, self.send, b"x", 2)

    def test_bufferedDropsOldest(self) -> None:
        """A buffered lane that is full drops its oldest message that waits, and says so."""
        self.sending.configure(1, LaneProperties(delivery=Delivery.BUFFERED))
        messages = [self.send(b"%d" % number, lane=1) for number in range(5)]
        self.assertEqual([type(m.error) for m in messages], [MessageDropped] * 2 + [type(None)] * 3)
        self.assertEqual(self.sending.take_settled(), messages[:2])
        (run,) = self.all()
        self.assertEqual(run, p.StreamBlocks(1, 2, 0, [b"2", b"3", b"4"]))

    def test_directLane(self) -> None:
        """A direct lane's messages are not sent as others are."""
        self.sending.configure(1, LaneProperties(delivery=Delivery.DIRECT))
        self.assertTrue(self.sending.is_direct(1))
        self.assertFalse(self.sending.is_direct(0))
        self.assertRaises(UsageError, self.send, b"x", 1)


class DirectTests(SendingCase):
    """Direct messages go once, or not."""

    options = Options(max_directs=3)

    def test_once(self) -> None:
        """They go before everything else, and are not sent again when lost."""
        self.send(b"message")
        self.sending.send_direct(b"direct", ROOM)
        self.assertFalse(self.sending.idle)
        payload = self.datagram()
        self.assertEqual(packets(payload)[0], p.Direct(b"direct"))
        source, start, stop = payload.contents[0]
        source.lost(start, stop)
        source.acked(start, stop)
        self.assertFalse(self.sending.has_more)

    def test_size(self) -> None:
        """Exactly a datagram's room is taken, one byte more is not."""
        self.sending.send_direct(bytes(ROOM - p.DIRECT.size), ROOM)
        self.assertRaises(MessageTooLarge, self.sending.send_direct, bytes(ROOM - p.DIRECT.size + 1), ROOM)
        self.assertEqual(self.datagram().room, 0)

    def test_oldestGiveWay(self) -> None:
        """When too many wait the oldest are dropped, and counted."""
        for number in range(5):
            self.sending.send_direct(b"%d" % number, ROOM)
        self.assertEqual(packets(self.datagram()), [p.Direct(b"2"), p.Direct(b"3"), p.Direct(b"4")])
        self.assertEqual(self.sending.directs_dropped, 2)

    def test_nextDatagram(self) -> None:
        """What does not fit beside others goes in the next datagram."""
        self.sending.send_direct(bytes(700), ROOM)
        self.sending.send_direct(bytes(700), ROOM)
        payload = self.datagram()
        self.assertEqual((len(payload.parts), payload.full), (1, True))
        self.assertEqual(len(packets(self.datagram())), 1)

    def test_shrunk(self) -> None:
        """What fits no datagram any more, since the path carries less, is dropped and counted; the next one goes."""
        self.sending.send_direct(bytes(2_000), 2_100)
        self.sending.send_direct(bytes(ROOM - p.DIRECT.size), ROOM)
        self.assertEqual(packets(self.datagram()), [p.Direct(bytes(ROOM - p.DIRECT.size))])
        self.assertEqual(self.sending.directs_dropped, 1)


class GiveUpTests(SendingCase):
    """The session is over."""

    def test_honest(self) -> None:
        """What was never begun was not delivered; of what was begun nobody knows; what was settled stays so."""
        settled, begun, large = self.send(b"settled"), self.send(b"begun"), self.send(bytes(5_000))
        self.datagram()
        self.datagram()
        self.settle(1)
        queued = self.send(b"queued")
        silent = self.send(b"silent", wanted=False)
        self.sending.cancel(begun)
        cause = SessionLost("gone", 9)
        self.assertEqual(self.sending.give_up(cause), [begun, large, queued])
        for message, delivered in (
            (begun, Delivered.UNKNOWN),
            (large, Delivered.UNKNOWN),
            (queued, Delivered.NO),
            (silent, Delivered.NO),
        ):
            error = message.error
            assert isinstance(error, MessageUndelivered)
            self.assertEqual((error.delivered, error.cause, error.code), (delivered, cause, 9))
            self.assertIn(delivered.value, error.text)
        self.assertIsNone(settled.error)
        self.assertTrue(self.sending.idle)
        self.assertFalse(self.sending.has_more)
        self.assertEqual(self.sending.give_up(cause), [])


class PressureTests(SendingCase):
    """Producers are paused and go on."""

    options = Options(outgoing_bytes=10_000)

    def test_drainedOnce(self) -> None:
        """Room is told once, after fullness was noticed, and not before half is gone."""
        for _ in range(20):
            self.send(bytes(1_000))
        self.assertFalse(self.sending.take_drained())
        self.assertTrue(self.sending.full)
        while self.sending.budget.queued_messages > 5:
            self.assertFalse(self.sending.take_drained())
            self.datagram()
        self.datagram()
        self.assertTrue(self.sending.take_drained())
        self.assertFalse(self.sending.take_drained())
        self.assertFalse(self.sending.full)

    def test_manyEmpty(self) -> None:
        """Empty messages are pressure, too: room isn't told while there is none."""
        for _ in range(1_000):
            self.send(b"")
        self.assertTrue(self.sending.full)
        self.assertFalse(self.sending.take_drained())
