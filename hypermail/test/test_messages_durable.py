"""
Durable lanes, each rule by itself: what is written before what is said, and what is said again.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from hypermail.errors import MessageCancelled, MessageRejected, ProtocolViolation, StoreFailed
from hypermail.link.control import Control
from hypermail.link.payload import Payload
from hypermail.messages.budget import Budget
from hypermail.messages.durable_receiving import DurableIncomingLane
from hypermail.messages.durable_sending import FEW, DurableMessage, DurableOutgoingLane
from hypermail.messages.holdings import Holdings
from hypermail.messages.incoming import IncomingLane
from hypermail.messages.journal import Heard, Journal, Queued, QueuedMessage, Settled, Taken, Withdrawn
from hypermail.messages.lanes import LaneProperties
from hypermail.messages.message import OutgoingMessage
from hypermail.messages.receiving import DURABLE, Receiving
from hypermail.options import Options
from hypermail.wire.codec import decode
from hypermail.wire.packets import MessageClear, Packet, StreamBlock, StreamBlockAck, StreamBlocks, Verdict
from hypermail.wire.ranges import RangeSet

ID = b"s" * 16


def journal() -> Journal:
    """Of a session that is on disk."""
    made = Journal()
    made.id, made.known = ID, True
    return made


def _packets(payload: Payload) -> list[Packet]:
    return decode(memoryview(b"".join(payload.parts))) if payload.parts else []


class _Sender:
    """The sending half of a durable lane, with everything that it says."""

    def __init__(self, allowance: int = 1 << 20) -> None:
        self.journal = journal()
        self.asked: list[OutgoingMessage] = []
        self.told: list[MessageClear] = []
        self.budget = Budget(1 << 20, allowance, 65_536)
        self.lane = DurableOutgoingLane(
            1,
            LaneProperties(durable=True),
            self.budget,
            1_024,
            self.journal,
            self.asked.append,
            self.told.append,
        )

    def write(self, safe: bool = True) -> list[Any]:
        """Have everything that waits written, or not."""
        changes = self.journal.take()
        self.journal.tell(safe, 0.0)
        return changes

    def leave(self) -> dict[int, bytes]:
        """What leaves in one datagram, by its numbers."""
        payload = Payload(1_000)
        if self.lane.has_more:
            self.lane.fill(payload, 1_000)
        found = {}
        for packet in _packets(payload):
            assert isinstance(packet, StreamBlocks)
            found.update({number: bytes(data) for number, data in enumerate(packet.messages, packet.first)})
        return found

    def acknowledge(self, watermark: int, *verdicts: Verdict) -> None:
        """The peer has settled everything below a number."""
        self.lane.take_ack(StreamBlockAck(1, watermark, (), verdicts))


class SendingTests(SynchronousTestCase):
    """L{DurableOutgoingLane}."""

    def test_afterTheDisk(self) -> None:
        """A message leaves when it is on disk, not before, under the number that it has there."""
        sender = _Sender()
        sender.lane.send(b"a", True)
        self.assertEqual(sender.leave(), {})
        changes = sender.write()
        self.assertEqual(sender.leave(), {0: b"a"})
        (queued,) = [change for change in changes if isinstance(change, Queued)]
        self.assertEqual((queued.first, [message.data for message in queued.messages]), (0, [b"a"]))

    def test_notWritten(self) -> None:
        """What cannot be written fails, with all that came after it; the numbers go to what is sent next."""
        sender = _Sender()
        first = sender.lane.send(b"a", True)
        sender.journal.take()
        second = sender.lane.send(b"b", True)
        sender.journal.tell(False, 0.0)
        self.assertEqual([type(message.error) for message in (first, second)], [StoreFailed, StoreFailed])
        sender.lane.send(b"c", True)
        sender.write()
        self.assertEqual(sender.leave(), {0: b"c"})
        self.assertEqual((sender.budget.queued_messages, sender.budget.queued_bytes), (0, 0))

    def test_notWrittenBehind(self) -> None:
        """What waits to be written behind it, or is being written, is not accepted either, and is not written later."""
        sender = _Sender()
        messages = [sender.lane.send(b"a", True)]
        sender.journal.take()
        messages.append(sender.lane.send(b"b", True))
        sender.journal.take()
        messages.append(sender.lane.send(b"c", True))
        sender.lane.withdraw(messages[2], MessageCancelled("no"))
        for _ in range(2):
            sender.journal.tell(False, 0.0)
        self.assertEqual([type(message.error) for message in messages], [StoreFailed, StoreFailed, MessageCancelled])
        sender.lane.send(b"d", True)
        changes = sender.write()
        self.assertEqual([change.first for change in changes if isinstance(change, Queued)], [0])
        self.assertNotIn(Withdrawn, map(type, changes))
        self.assertEqual(sender.leave(), {0: b"d"})

    def test_whileWritten(self) -> None:
        """What is sent while another message is being written is not with that: it is written, and leaves, later."""
        sender = _Sender()
        sender.lane.send(b"a", True)
        (_, queued) = sender.journal.take()
        sender.lane.send(b"b", True)
        self.assertEqual([message.data for message in queued.messages], [b"a"])
        sender.journal.tell(True, 0.0)
        self.assertEqual(sender.leave(), {0: b"a"})
        sender.write()
        self.assertEqual(sender.leave(), {1: b"b"})

    def test_idle(self) -> None:
        """A lane has nothing to wait for when all is settled, not when something is on its way to the disk only."""
        sender = _Sender()
        sender.lane.send(b"a", True)
        self.assertFalse(sender.lane.idle)
        sender.write()
        self.assertFalse(sender.lane.idle)
        sender.leave()
        self.assertFalse(sender.lane.idle)
        sender.acknowledge(1)
        self.assertTrue(sender.lane.idle)

    def test_idleRestored(self) -> None:
        """... and not while messages of before a restart are on disk only, or others wait for those."""
        sender = self._restored(0, 1)
        self.assertFalse(sender.lane.idle)
        sender.lane.send(b"b", True)
        sender.write()
        sender.acknowledge(1)
        self.assertFalse(sender.lane.idle)
        self.assertEqual(sender.leave(), {1: b"b"})
        sender.acknowledge(2)
        self.assertTrue(sender.lane.idle)

    def test_unsettled(self) -> None:
        """All messages that are not settled are known to be, wherever they wait."""
        sender = self._restored(0, 1)
        sender.lane.send(b"b", True)
        sender.write()
        sender.lane.send(b"c", True)
        self.assertEqual([message.data for message in sender.lane], [b"b", b"c"])
        sender.lane.forget()
        self.assertEqual((list(sender.lane), sender.lane.idle, sender.lane.wants()), ([], True, None))

    def _restored(self, settled: int, next: int) -> _Sender:
        sender = _Sender()
        sender.lane.restore(settled, next)
        return sender

    def test_freshBehindTheBacklog(self) -> None:
        """What is sent after a restart leaves after what was sent before it, which is brought back by and by."""
        sender = self._restored(2, 4)
        sender.lane.send(b"new", True)
        sender.write()
        self.assertEqual(sender.leave(), {})
        self.assertEqual(sender.lane.wants(), (2, 1 << 20))
        self.assertIsNone(sender.lane.wants())
        sender.lane.load(2, [(number, QueuedMessage(b"old", None, b"")) for number in (2, 3)])
        self.assertEqual(sender.leave(), {2: b"old", 3: b"old", 4: b"new"})

    def test_freshWhenTheBacklogWasSettled(self) -> None:
        """The peer has settled before the restart what is not brought back yet: what is new leaves, as itself."""
        stop = 2 * FEW
        sender = self._restored(0, stop)
        sender.lane.wants()
        sender.lane.load(0, [(number, QueuedMessage(b"old", None, b"")) for number in range(FEW)])
        self.assertIsNone(sender.lane.wants())
        sender.lane.send(b"new", True)
        sender.write()
        sender.acknowledge(stop)
        self.assertIsNone(sender.lane.wants())
        self.assertEqual(sender.leave(), {stop: b"new"})
        sender.acknowledge(stop + 1)
        self.assertTrue(sender.lane.idle)
        self.assertEqual((sender.budget.queued_messages, sender.budget.begun_messages), (0, 0))

    def test_freshOnDisk(self) -> None:
        """What is on disk since the restart is not brought back once more."""
        sender = self._restored(2, 4)
        sender.lane.wants()
        sender.lane.send(b"new", True)
        sender.write()
        sender.lane.load(2, [(number, QueuedMessage(b"?", None, b"")) for number in (2, 4)])
        self.assertEqual(sender.leave(), {2: b"?", 4: b"new"})
        self.assertEqual([message.number for message in sender.asked], [3])
        sender.acknowledge(5)
        self.assertTrue(sender.lane.idle)

    def test_settledWhileBroughtBack(self) -> None:
        """The same, while they are being read: what comes is known already."""
        sender = self._restored(0, 4)
        sender.lane.wants()
        sender.lane.send(b"new", True)
        sender.write()
        sender.acknowledge(4)
        sender.lane.load(0, [(number, QueuedMessage(b"old", None, b"")) for number in range(4)])
        self.assertEqual(sender.leave(), {4: b"new"})
        restored = [message for message in sender.lane.settled if isinstance(message, DurableMessage)]
        self.assertEqual([message.number for message in restored if message.restored], [0, 1, 2, 3])

    def test_neverSent(self) -> None:
        """A peer that settles what is on disk may do so; what is not was never sent."""
        sender = self._restored(0, 4)
        with self.assertRaises(ProtocolViolation):
            sender.acknowledge(5)

    def test_withdrawnPassed(self) -> None:
        """A message that is withdrawn before it leaves keeps its number; the peer is asked to pass it over."""
        sender = _Sender()
        messages = [sender.lane.send(data, True) for data in (b"a", b"b", b"c")]
        sender.write()
        self.assertFalse(sender.lane.withdraw(messages[1], MessageCancelled("no")))
        self.assertEqual(sender.leave(), {0: b"a", 2: b"c"})
        self.assertEqual([message.number for message in sender.asked], [1])
        self.assertIsInstance(messages[1].error, MessageCancelled)
        self.assertEqual(sender.write(), [Withdrawn(ID, 1, 1)])
        self.assertEqual((sender.budget.queued_messages, sender.budget.queued_bytes), (0, 0))
        self.assertEqual((sender.budget.begun_messages, sender.budget.begun_bytes), (3, 2))
        sender.acknowledge(3, Verdict(1, True, 0, ""))
        self.assertEqual((sender.budget.begun_messages, sender.budget.begun_bytes), (0, 0))
        self.assertEqual([message.data for message in sender.lane.settled], [b"", b"a", b"c"])

    def test_withdrawnWithinTheAllowance(self) -> None:
        """One that is passed over is begun as any other: within the peer's allowance."""
        sender = _Sender()
        sender.budget.allowance_messages = 2
        messages = [sender.lane.send(b"a", True) for _ in range(4)]
        sender.write()
        for message in messages:
            sender.lane.withdraw(message, MessageCancelled("no"))
        self.assertEqual(sender.leave(), {})
        self.assertEqual([message.number for message in sender.asked], [0, 1])
        sender.acknowledge(2)
        self.assertEqual(sender.leave(), {})
        self.assertEqual([message.number for message in sender.asked], [0, 1, 2, 3])

    def test_withdrawnOnDisk(self) -> None:
        """Numbers that are not on disk any more are passed over after a restart."""
        sender = self._restored(0, 4)
        sender.lane.wants()
        sender.lane.load(0, [(1, QueuedMessage(b"b", None, b""))])
        sender.lane.wants()
        sender.lane.load(2, [])
        self.assertEqual(sender.leave(), {1: b"b"})
        self.assertEqual([message.number for message in sender.asked], [0, 2, 3])

    def test_manyWithdrawn(self) -> None:
        """A message that is withdrawn far behind the first costs those before it nothing."""
        sender = _Sender()
        messages = [sender.lane.send(b"", True) for _ in range(2_000)]
        sender.write()
        sender.lane.withdraw(messages[-1], MessageCancelled("no"))
        numbers: list[int] = []
        while leaving := sender.leave():
            numbers += leaving
        self.assertEqual(numbers, list(range(1_999)))

    def test_rejectKnown(self) -> None:
        """The peer hears that a reject is known when that is on disk; and again whenever it tells it again."""
        sender = _Sender()
        message = sender.lane.send(b"a", True)
        sender.write()
        sender.leave()
        reject = Verdict(0, False, 7, "no")
        sender.acknowledge(1, reject)
        self.assertIsInstance(message.error, MessageRejected)
        sender.acknowledge(1, reject)
        self.assertEqual(sender.told, [])
        self.assertEqual(sender.write(), [Settled(ID, 1, 1)])
        self.assertEqual(sender.told, [MessageClear(1, DURABLE, 0, True)])
        sender.acknowledge(1, reject)
        self.assertEqual(sender.told, [MessageClear(1, DURABLE, 0, True)] * 2)

    def test_rejectKnownLater(self) -> None:
        """When that cannot be written, it is tried again."""
        sender = _Sender()
        sender.lane.send(b"a", True)
        sender.write()
        sender.leave()
        sender.acknowledge(1, Verdict(0, False, 7, "no"))
        sender.write(False)
        self.assertEqual(sender.told, [])
        self.assertEqual(sender.write(), [Settled(ID, 1, 1)])
        self.assertEqual(sender.told, [MessageClear(1, DURABLE, 0, True)])

    def test_peerRestarted(self) -> None:
        """Everything that has begun leaves again, and those that are withdrawn are asked about again."""
        sender = _Sender()
        messages = [sender.lane.send(data, True) for data in (b"a", b"b")]
        sender.write()
        sender.leave()
        sender.lane.withdraw(messages[1], MessageCancelled("no"))
        sender.lane.peer_restarted(MessageCancelled("restarted"))
        self.assertEqual(sender.leave(), {0: b"a"})
        self.assertEqual([message.number for message in sender.asked], [1])

    def test_peerRestartedWithin(self) -> None:
        """Of a message of which fragments have left all leave again, also when some were lost already."""
        sender = _Sender()
        message = sender.lane.send(bytes(5_000), True)
        sender.write()
        missing = RangeSet()

        def leave(payloads: int) -> None:
            for _ in range(payloads):
                payload = Payload(1_000)
                sender.lane.fill(payload, 1_000)
                for packet in _packets(payload):
                    assert isinstance(packet, StreamBlock)
                    missing.remove(packet.offset, packet.offset + len(packet.data))

        leave(3)
        message.lost(0, 100)
        sender.lane.peer_restarted(MessageCancelled("restarted"))
        missing.add(0, 5_000)
        leave(10)
        self.assertEqual(list(missing), [])


class _Receiver:
    """The receiving half of a durable lane, with everything that it says."""

    def __init__(self, holdings: Holdings | None = None, most: int = 1_024) -> None:
        self.journal = journal()
        self.control = Control()
        self.holdings = holdings or Holdings(1_000, 1_000)
        self.lane = self.make(most)

    def make(self, most: int) -> DurableIncomingLane:
        """A lane."""
        return DurableIncomingLane(1, DURABLE, self.holdings, self.control, most, self.journal)

    def write(self, safe: bool = True) -> list[Any]:
        """Have everything that waits written, or not."""
        changes = self.journal.take()
        self.journal.tell(safe, 0.0)
        return changes

    def told(self) -> list[StreamBlockAck]:
        """What was told since the last call, all of which arrives."""
        self.lane.acknowledge()
        payload = Payload(1_000)
        self.control.fill(payload)
        packets = _packets(payload)
        self.flying = [partial(source.acked, start, stop) for source, start, stop in payload.contents]
        return [packet for packet in packets if isinstance(packet, StreamBlockAck)]

    def arrive(self) -> None:
        """The peer's link acknowledges what was told last."""
        for acked in self.flying:
            acked()

    def rejected(self) -> None:
        """Message 0 was rejected, and that is on disk."""
        self.lane.receive_run(0, [b"no"])
        self.lane.take_ready()
        self.lane.reject(0, 7, "no")
        self.lane.acknowledge()
        self.write()


REJECT = Verdict(0, False, 7, "no")


class ReceivingTests(SynchronousTestCase):
    """L{DurableIncomingLane}."""

    def test_afterTheDisk(self) -> None:
        """What was taken is told when it is on disk, and not before."""
        receiver = _Receiver()
        receiver.lane.receive_run(0, [b"a", b"b"])
        receiver.lane.take(0, 2)
        self.assertEqual(receiver.told(), [])
        self.assertEqual(receiver.write(), [Taken(ID, 1, 2, ())])
        self.assertEqual(receiver.told(), [StreamBlockAck(1, 2, (), ())])
        self.assertEqual(receiver.told(), [])

    def test_whileWritten(self) -> None:
        """What is taken while the disk writes is not told with what that has."""
        receiver = _Receiver()
        receiver.lane.receive_run(0, [b"a", b"no"])
        receiver.lane.take(0)
        receiver.lane.acknowledge()
        receiver.journal.take()
        receiver.lane.reject(1, 7, "no")
        receiver.lane.acknowledge()
        receiver.journal.tell(True, 0.0)
        self.assertEqual(receiver.told(), [StreamBlockAck(1, 1, (), ())])
        receiver.write()
        self.assertEqual(receiver.told(), [StreamBlockAck(1, 2, (), (Verdict(1, False, 7, "no"),))])

    def test_manyVerdicts(self) -> None:
        """Verdicts for which one acknowledgement has no room follow, each before the watermark passes it."""
        receiver = _Receiver()
        receiver.lane.receive_run(0, [b""] * 9)
        for number in range(9):
            receiver.lane.reject(number, 7, "x" * 200)
        receiver.lane.acknowledge()
        receiver.write()
        told: list[int] = []
        while acks := receiver.told():
            (ack,) = acks
            told += [verdict.number for verdict in ack.verdicts]
            self.assertEqual(ack.watermark, len(told))
            receiver.arrive()
        self.assertEqual(told, list(range(9)))

    def test_notWritten(self) -> None:
        """What cannot be written is not told, and is written again together with what came later."""
        receiver = _Receiver()
        receiver.lane.receive_run(0, [b"no", b"b", b"c"])
        receiver.lane.reject(0, 7, "no")
        receiver.lane.acknowledge()
        receiver.journal.take()
        receiver.lane.take(1)
        receiver.lane.acknowledge()
        receiver.journal.tell(False, 0.0)
        # Without a link nobody calls acknowledge(): the verdict has to be there with the number after it nevertheless.
        changes = receiver.write()
        self.assertIn(Taken(ID, 1, 2, (REJECT,)), changes)
        self.assertEqual(receiver.told(), [StreamBlockAck(1, 2, (), (REJECT,))])

    def test_withdrawnTooLate(self) -> None:
        """A withdrawal that crosses a reject changes nothing: the reject is told."""
        receiver = _Receiver()
        receiver.rejected()
        receiver.lane.clear(MessageClear(1, DURABLE, 0))
        self.assertEqual(receiver.told(), [StreamBlockAck(1, 1, (), (REJECT,))])
        self.assertEqual(receiver.journal.take(), [])

    def test_withdrawnWhenTold(self) -> None:
        """The same when the reject was told: it is kept until the peer says that it knows it."""
        receiver = _Receiver()
        receiver.rejected()
        receiver.told()
        receiver.arrive()
        receiver.lane.clear(MessageClear(1, DURABLE, 0))
        self.assertEqual(receiver.journal.take(), [])
        self.assertEqual(receiver.lane.kept, (REJECT,))

    def test_known(self) -> None:
        """When the peer knows a reject for good it is forgotten, on disk, too, and is not told any more."""
        receiver = _Receiver()
        receiver.rejected()
        receiver.told()
        receiver.lane.clear(MessageClear(1, DURABLE, 0, True))
        self.assertEqual(receiver.write(), [Heard(ID, 1, (0,))])
        receiver.lane.peer_restarted()
        self.assertEqual(receiver.told(), [StreamBlockAck(1, 1, (), ())])

    def test_peerRestarted(self) -> None:
        """A peer that was restarted is told again what it may not know."""
        receiver = _Receiver()
        receiver.rejected()
        receiver.told()
        receiver.arrive()
        receiver.lane.peer_restarted()
        self.assertEqual(receiver.told(), [StreamBlockAck(1, 1, (), (REJECT,))])

    def test_restored(self) -> None:
        """After a restart of our own, likewise; where nothing was settled there is nothing to tell."""
        receiver = _Receiver()
        receiver.lane.restore(1, (REJECT,))
        self.assertEqual(receiver.told(), [StreamBlockAck(1, 1, (), (REJECT,))])
        receiver.lane = receiver.make(1_024)
        receiver.lane.restore(0, ())
        self.assertEqual(receiver.told(), [])

    def test_restoredLess(self) -> None:
        """Of what its disk and its application say that is settled the greater counts; verdicts are kept."""
        receiving = Receiving(Options(), Control())
        receiving.journal = journal()
        receiving.restore(1, 5, (REJECT,))
        receiving.restore(1, 3, ())
        lane = receiving._lanes[1]
        assert isinstance(lane, DurableIncomingLane)
        self.assertEqual((lane.finished, lane.kept), (5, (REJECT,)))
        receiving.restore(1, 6, ())
        self.assertEqual((lane.finished, lane.kept), (6, (REJECT,)))

    def test_sessionNotDurable(self) -> None:
        """A durable lane in a session that is none is a violation, and so is it to know a fate on another lane."""
        receiving = Receiving(Options(), Control())
        with self.assertRaises(ProtocolViolation):
            receiving.receive_run(StreamBlocks(1, DURABLE, 0, [b""]))
        receiving.receive_run(StreamBlocks(2, 0, 0, [b""]))
        with self.assertRaises(ProtocolViolation):
            receiving.receive_clear(MessageClear(2, 0, 0, True))

    def test_mostKept(self) -> None:
        """With as many rejects as may be kept no more messages are given to the application, until some are known."""
        receiver = _Receiver(Holdings(1 << 20, 10_000), most=4)
        self.patch(_module(), "MOST_KEPT", 2)
        receiver.lane.receive_run(0, [b"", b"", b"", b""])
        receiver.lane.take_ready()
        receiver.lane.reject(0, 7, "no")
        receiver.lane.reject(1, 7, "no")
        receiver.lane.acknowledge()
        receiver.lane.receive_run(4, [b"more"])
        self.assertEqual(receiver.lane.take_ready(), [])
        receiver.write()
        receiver.told()
        receiver.arrive()
        receiver.lane.clear(MessageClear(1, DURABLE, 0, True))
        self.assertEqual(receiver.lane.take_ready(), [(4, [b"more"])])


class AllowanceTests(SynchronousTestCase):
    """A peer that was restarted counts its allowance from nothing."""

    def _lanes(self, most: int = 1_024) -> tuple[Holdings, Callable[[], IncomingLane]]:
        receiver = _Receiver(Holdings(100, 10), most)
        return receiver.holdings, lambda: receiver.make(most)

    def test_withTheApplication(self) -> None:
        """What the application holds since before is not counted, and settling it is not either."""
        holdings, make = self._lanes()
        one, other = make(), make()
        one.receive_run(0, [bytes(90)])
        assert isinstance(one, DurableIncomingLane)
        one.peer_restarted()
        self.assertEqual((holdings.bytes, holdings.messages), (0, 0))
        other.receive_run(0, [bytes(90)])
        one.receive_run(0, [bytes(90)])
        self.assertEqual((holdings.bytes, holdings.messages), (90, 1))
        one.take(0)
        self.assertEqual((holdings.bytes, holdings.messages), (90, 1))
        one.receive_run(1, [bytes(10)])
        self.assertEqual((holdings.bytes, holdings.messages), (100, 2))

    def test_notWithTheApplication(self) -> None:
        """What it has not been given yet goes, and comes again."""
        holdings, make = self._lanes(most=1)
        lane = make()
        assert isinstance(lane, DurableIncomingLane)
        lane.receive_run(0, [b"a", b"b", b"c"])
        self.assertEqual(lane.take_ready(), [(0, [b"a"])])
        lane.peer_restarted()
        self.assertEqual(holdings.messages, 0)
        lane.receive_run(0, [b"a", b"b", b"c"])
        self.assertEqual(holdings.messages, 2)
        lane.take(0)
        self.assertEqual(lane.take_ready(), [(1, [b"b"])])
        lane.take(1)
        self.assertEqual(lane.take_ready(), [(2, [b"c"])])
        lane.take(2)
        self.assertEqual((holdings.bytes, holdings.messages), (0, 0))

    def test_onlyAgain(self) -> None:
        """... and not before it has come again, so that it comes once."""
        holdings, make = self._lanes(most=1)
        lane = make()
        assert isinstance(lane, DurableIncomingLane)
        lane.receive_run(0, [b"a", b"b", b"c"])
        lane.take_ready()
        lane.peer_restarted()
        lane.take(0)
        self.assertEqual(lane.take_ready(), [])
        lane.receive_run(1, [b"b", b"c"])
        self.assertEqual(lane.take_ready(), [(1, [b"b"])])
        lane.peer_restarted()
        lane.receive_run(1, [b"b", b"c"])
        self.assertEqual((holdings.messages, lane.take_ready()), (1, []))
        lane.take(1)
        self.assertEqual(lane.take_ready(), [(2, [b"c"])])
        lane.take(2)
        self.assertEqual((holdings.bytes, holdings.messages), (0, 0))

    def test_partOfIt(self) -> None:
        """A message of which a part has come goes, and comes again from its first byte, perhaps with another length."""
        holdings, make = self._lanes()
        lane = make()
        assert isinstance(lane, DurableIncomingLane)
        lane.receive_fragment(StreamBlock(1, DURABLE, 0, 4, 2, b"xx"))
        lane.peer_restarted()
        self.assertEqual((holdings.bytes, holdings.messages), (0, 0))
        for offset, data in ((0, b"ab"), (2, b"cd")):
            lane.receive_fragment(StreamBlock(1, DURABLE, 0, 4, offset, data))
        self.assertEqual(lane.take_ready(), [(0, [b"abcd"])])

    def test_restartedTwice(self) -> None:
        """What is not counted any more is not taken off once more."""
        holdings, make = self._lanes()
        lane = make()
        assert isinstance(lane, DurableIncomingLane)
        lane.receive_run(0, [bytes(40)])
        lane.peer_restarted()
        lane.receive_run(1, [bytes(30)])
        lane.peer_restarted()
        self.assertEqual((holdings.bytes, holdings.messages), (0, 0))
        lane.take(0, 2)
        self.assertEqual((holdings.bytes, holdings.messages), (0, 0))
        lane.receive_run(2, [bytes(100)])
        lane.peer_restarted()
        self.assertEqual((holdings.bytes, holdings.messages), (0, 0))

    def test_noMoreThanOne(self) -> None:
        """No more than one allowance of it: a peer that restarts again and again cannot make us hold ever more."""
        holdings, make = self._lanes()
        for _ in range(2):
            lane = make()
            assert isinstance(lane, DurableIncomingLane)
            lane.receive_run(0, [bytes(60)])
            lane.peer_restarted()
        self.assertEqual((holdings.bytes, holdings.messages), (60, 1))

    def test_noMoreMessages(self) -> None:
        """Nor by the number of messages."""
        holdings, make = self._lanes()
        for _ in range(2):
            lane = make()
            assert isinstance(lane, DurableIncomingLane)
            lane.receive_run(0, [b""] * 6)
            lane.peer_restarted()
        self.assertEqual((holdings.bytes, holdings.messages), (0, 6))


class JournalTests(SynchronousTestCase):
    """L{Journal}."""

    def test_last(self) -> None:
        """Nothing follows the last change."""
        made = journal()
        made.finish(Settled(ID, 1, 1))
        made.put(Settled(ID, 1, 2))
        made.finish(Settled(ID, 1, 3))
        made.begin(Settled(ID, 1, 4), None)
        self.assertEqual(made.take(), [Settled(ID, 1, 1)])

    def test_neverKnown(self) -> None:
        """Of a session of which nothing is on disk nothing has to be taken away."""
        made = Journal()
        made.id = ID
        made.put(Settled(ID, 1, 1))
        made.finish(Settled(ID, 1, 2))
        self.assertFalse(made.waiting)

    def test_nameless(self) -> None:
        """Nothing is written of a session before it has its id; what waits follows what the session is."""
        made = Journal()
        made.put(Settled(b"", 1, 1))
        self.assertFalse(made.waiting)
        identity = Settled(ID, 0, 0)  # anything that has an id
        made.begin(identity, None)
        self.assertEqual(made.take(), [identity, Settled(ID, 1, 1)])

    def test_lanes(self) -> None:
        """When messages of one lane cannot be written those of another that wait are written nevertheless."""
        made = journal()
        queued = [Queued(ID, lane, 0, []) for lane in (1, 2)]
        for change in queued:
            made.put(change)
        made.drop(1, 0)
        self.assertEqual(made.take(), queued[1:])


def _module() -> Any:
    from hypermail.messages import durable_receiving

    return durable_receiving
