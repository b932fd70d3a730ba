"""
Tests for L{hypermail.messages.departing} and L{hypermail.messages.outgoing}: messages that nobody waits for.
"""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from hypermail.errors import (
    Delivered,
    MessageCancelled,
    MessageRejected,
    MessageTooLarge,
    MessageUndelivered,
    SessionLost,
    SessionReset,
    UsageError,
)
from hypermail.link.control import Control
from hypermail.link.payload import Content, Payload
from hypermail.messages.budget import COST
from hypermail.messages.journal import Journal
from hypermail.messages.lanes import LaneProperties
from hypermail.messages.message import OutgoingMessage
from hypermail.messages.sending import Sending
from hypermail.options import Delivery, Options
from hypermail.test.test_messages_outgoing import ROOM, SendingCase, numbers, packets
from hypermail.test.wired import GENEROUS
from hypermail.wire import packets as p


def anything() -> None:
    """The session can carry messages."""


class RunsCase(SendingCase):
    """Sends messages that nobody waits for."""

    def many(self, *messages: bytes, lane: int = 0) -> int:
        """Queue messages. @return: how many."""
        return self.sending.send_many(messages, lane, anything)

    def contents(self, found: list[p.Packet]) -> list[tuple[int, bytes]]:
        """The whole messages in packets, with their numbers."""
        return [
            (number, data)
            for run in found
            if isinstance(run, p.StreamBlocks)
            for number, data in enumerate(run.messages, run.first)
        ]


class LaneTests(RunsCase):
    """Among others, and by themselves."""

    def test_inOrder(self) -> None:
        """They keep their place among those that somebody waits for."""
        self.many(b"0", b"1")
        message = self.send(b"2")
        self.many(b"3")
        (run,) = self.all()
        self.assertEqual(run, p.StreamBlocks(0, 0, 0, [b"0", b"1", b"2", b"3"]))
        self.assertEqual(message.number, 2)
        self.settle(4)
        self.assertEqual(self.sending.take_settled(), [message])
        self.assertTrue(self.sending.idle)
        self.assertEqual((self.sending.budget.begun_bytes, self.sending.budget.queued_bytes), (0, 0))

    def test_withdrawnWhileQueued(self) -> None:
        """A message that is withdrawn out of the middle leaves no hole in the numbers."""
        self.many(b"0", b"1")
        message = self.send(b"gone")
        self.many(b"2")
        self.sending.cancel(message)
        self.assertEqual(self.contents(self.all()), [(0, b"0"), (1, b"1"), (2, b"2")])
        self.assertEqual(self.clears(), [])
        self.assertEqual(self.sending.budget.begun_bytes, 3)

    def test_withdrawnWithinARun(self) -> None:
        """Of a run that has left, one message may be withdrawn: it is not sent again, and its neighbours are."""
        self.many(b"0", b"1")
        message = self.send(b"2")
        self.many(b"3", b"4")
        ((source, start, stop),) = self.datagram().contents
        self.sending.cancel(message)
        self.assertEqual(self.clears(), [p.MessageClear(0, 0, 2)])
        source.lost(start, stop)
        again = self.all()
        self.assertEqual(self.contents(again), [(0, b"0"), (1, b"1"), (3, b"3"), (4, b"4")])
        self.assertEqual(len(again), 2)
        self.settle(5, p.Verdict(2, True, 33, ""))
        self.assertIsInstance(message.error, MessageCancelled)
        self.assertTrue(self.sending.idle)

    def test_lostInPart(self) -> None:
        """Of several datagrams' runs those are sent again that were lost, and of these what is not settled."""
        self.many(*[b"%02d" % number * 100 for number in range(12)])
        payloads = [self.datagram() for _ in range(3)]
        self.assertEqual([len(numbers(packets(payload))) for payload in payloads], [5, 5, 2])
        source, start, stop = payloads[1].contents[0]
        source.lost(start, stop)
        self.settle(7)
        self.assertEqual([number for number, _ in self.contents(self.all())], [7, 8, 9])
        source.lost(start, stop)
        self.settle(12)
        self.assertFalse(self.sending.has_more)

    def test_verdict(self) -> None:
        """Of a message that nobody waits for, a verdict on it tells nobody; on its neighbour it tells who waits."""
        self.many(b"0")
        message = self.send(b"1")
        self.many(b"2")
        self.all()
        self.settle(3, *[p.Verdict(number, False, 7, "no") for number in range(3)])
        self.assertEqual(self.sending.take_settled(), [message])
        self.assertIsInstance(message.error, MessageRejected)
        self.assertTrue(self.sending.idle)

    def test_outOfOrder(self) -> None:
        """On an unordered lane they are settled in any order, and what waits is sent again."""
        self.sending.configure(0, LaneProperties(ordered=False))
        self.many(*[b"%d" % number for number in range(8)])
        ((source, start, stop),) = self.datagram().contents
        self.settle(1, ranges=((3, 5), (7, 8)))
        source.lost(start, stop)
        self.assertEqual([number for number, _ in self.contents(self.all())], [1, 2, 5, 6])
        source.lost(start, stop)
        self.settle(1, ranges=((2, 3), (5, 6)))
        self.assertEqual([number for number, _ in self.contents(self.all())], [1, 6])
        self.many(b"8")
        self.settle(8)
        self.assertEqual(self.contents(self.all()), [(8, b"8")])

    def test_large(self) -> None:
        """What fits no datagram goes in fragments, those lost again, between the others."""
        large = bytes(range(256)) * 10
        self.many(b"0", large, b"2")
        fragments, contents = b"", []
        while self.sending.has_more:
            payload = self.datagram()
            contents += payload.contents
            fragments += b"".join(bytes(f.data) for f in packets(payload) if isinstance(f, p.StreamBlock))
        self.assertEqual(fragments, large)
        source, start, stop = contents[1]
        source.lost(start, stop)
        (again,) = self.all()
        assert isinstance(again, p.StreamBlock)
        self.assertEqual((again.number, again.offset, again.data), (1, start, large[start:stop]))
        self.settle(3)
        source.lost(start, stop)
        self.assertEqual((self.all(), self.sending.take_settled(), self.sending.idle), ([], [], True))

    def test_mtuShrinks(self) -> None:
        """What has left whole and fits no datagram any more is sent again in fragments."""
        self.many(b"small", bytes(900))
        ((source, start, stop),) = self.datagram().contents
        source.lost(start, stop)
        found = self.all(500)
        self.assertEqual(self.contents(found), [(0, b"small")])
        self.assertEqual({(f.number, f.total) for f in found if isinstance(f, p.StreamBlock)}, {(1, 900)})
        self.settle(2)
        self.assertEqual(self.sending.take_settled(), [])

    def test_sizesOfAllKinds(self) -> None:
        """A datagram is filled as far as it can be, whatever the sizes are."""
        sizes = [3, 500, 0, 0, 400, 7, 200, 30, 30, 900, 200]
        self.many(*map(bytes, sizes))
        found = [[len(data) for _, data in self.contents(packets(self.datagram()))] for _ in range(2)]
        self.assertEqual(found, [sizes[:8], sizes[8:]])

    def test_givenUp(self) -> None:
        """At the end of the session those who wait are told, and nothing is left."""
        self.many(b"0")
        begun = self.send(b"1")
        self.datagram()
        self.many(b"2")
        queued = self.send(b"3")
        self.assertEqual(self.sending.give_up(SessionLost("gone", 9)), [begun, queued])
        fates = [m.error.delivered for m in (begun, queued) if isinstance(m.error, MessageUndelivered)]
        self.assertEqual(fates, [Delivered.UNKNOWN, Delivered.NO])
        self.assertTrue(self.sending.idle)
        self.assertFalse(self.sending.has_more)

    def test_peerRestarted(self) -> None:
        """What had begun is gone with the peer's memory; what waits leaves under numbers that begin again."""
        self.many(b"0")
        begun = self.send(b"1")
        ((source, start, stop),) = self.datagram().contents
        self.many(b"2", b"3")
        self.sending.peer_restarted(SessionReset("restarted"))
        self.assertIsInstance(begun.error, MessageUndelivered)
        self.assertEqual(self.sending.take_settled(), [begun])
        source.lost(start, stop)
        self.assertEqual(self.contents(self.all()), [(0, b"2"), (1, b"3")])
        self.assertEqual(self.sending.budget.begun_messages, 2)
        self.settle(2)
        self.assertTrue(self.sending.idle)


class KindsTests(RunsCase):
    """On lanes of all kinds."""

    options = Options(buffered_messages=3)

    def test_buffered(self) -> None:
        """A buffered lane that is full drops its oldest, whether somebody waits for it or not."""
        self.sending.configure(1, LaneProperties(delivery=Delivery.BUFFERED))
        self.many(b"0", b"1", lane=1)
        message = self.send(b"2", lane=1)
        self.many(b"3", b"4", lane=1)
        self.assertEqual(self.sending.take_settled(), [])
        self.many(b"5", b"6", b"7", lane=1)
        self.assertEqual(self.sending.take_settled(), [message])
        self.assertEqual(self.contents(self.all()), [(0, b"5"), (1, b"6"), (2, b"7")])
        self.assertEqual(self.sending.budget.queued_messages, 0)

    def test_redundant(self) -> None:
        """On a redundant lane each rides again."""
        self.sending.configure(1, LaneProperties(redundancy=1))
        self.many(b"0", b"1", lane=1)
        copies = self.sending.copies
        assert copies is not None
        copies.begin(1.0, 0.05)
        self.datagram()
        copies.begin(2.0, 0.05)
        payload = Payload(ROOM)
        copies.fill(payload, 0)
        self.assertEqual(self.contents(packets(payload)), [(0, b"0"), (1, b"1")])

    def test_durable(self) -> None:
        """On a durable lane they leave when they are safe."""
        journal = self.sending.journal = Journal()
        journal.id = b"id"
        self.sending.configure(1, LaneProperties(durable=True))
        self.many(b"0", b"1", lane=1)
        self.assertEqual(self.all(), [])
        self.many(b"beside", lane=0)
        self.assertEqual(self.contents(self.all()), [(0, b"beside")])
        journal.take()
        journal.tell(True, 0.0)
        self.assertEqual(self.sending.take_stored(), [])
        self.assertEqual(self.contents(self.all()), [(0, b"0"), (1, b"1")])
        self.settle(2, lane=1)
        self.assertEqual(self.sending.take_settled(), [])


class RoomTests(RunsCase):
    """No more are taken than there is room for."""

    options = Options(outgoing_bytes=10 * (COST + 36))

    def test_takesNoMore(self) -> None:
        """As many are taken as make it full, and the rest of the iterator is untouched."""
        source = iter([b"%036d" % number for number in range(25)])
        self.assertEqual(self.sending.send_many(source, 0, anything), 10)
        self.assertTrue(self.sending.full)
        self.assertEqual(self.sending.send_many(source, 0, anything), 0)
        self.assertEqual(int(next(source)), 10)
        self.all()
        self.assertTrue(self.sending.take_drained())
        self.assertEqual(self.sending.send_many(source, 0, anything), 10)
        self.all()
        self.assertEqual(self.sending.send_many(source, 0, anything), 4)

    def test_bufferedTakesAll(self) -> None:
        """A buffered lane makes room by dropping what is oldest, so that all are taken."""
        self.sending = Sending(Options(outgoing_bytes=1_000, buffered_messages=3), self.peer, Control())
        self.sending.configure(0, LaneProperties(delivery=Delivery.BUFFERED))
        self.assertEqual(self.many(*[b"%d" % number for number in range(100)]), 100)
        self.assertEqual(self.contents(self.all()), [(0, b"97"), (1, b"98"), (2, b"99")])

    def test_tooLarge(self) -> None:
        """Those before one that is too large are queued, and those behind it are left."""
        self.sending.learn(GENEROUS._replace(max_message=5))
        source = iter([b"0", b"1", b"2 is too large", b"3"])
        self.assertRaises(MessageTooLarge, self.sending.send_many, source, 0, anything)
        self.assertEqual(list(source), [b"3"])
        self.assertEqual(self.contents(self.all()), [(0, b"0"), (1, b"1")])

    def test_noBytes(self) -> None:
        """What is like bytes is copied; what is not is refused, and those before it are queued."""
        buffer = bytearray(b"1")
        self.assertRaises(TypeError, self.sending.send_many, [b"0", buffer, "2"], 0, anything)
        buffer[:] = b"X"
        self.assertEqual(self.contents(self.all()), [(0, b"0"), (1, b"1")])

    def test_cannot(self) -> None:
        """Where nothing can be sent, no more than one message is taken from the iterator to find out; none for none."""

        def closing() -> None:
            raise UsageError("closing")

        for lane, check in ((240, anything), (0, closing)):
            source = iter([b"0", b"1"])
            self.assertRaises(UsageError, self.sending.send_many, source, lane, check)
            self.assertEqual(list(source), [b"1"])
            self.assertEqual(self.sending.send_many([], lane, check), 0)
        self.assertEqual(self.sending.budget.queued_messages, 0)


class Twin:
    """
    One of two sending sides that are asked for the same.

    @param one: whether messages that nobody waits for are sent one by one.
    """

    LANES = (
        LaneProperties(),
        LaneProperties(ordered=False),
        LaneProperties(delivery=Delivery.BUFFERED),
        LaneProperties(priority=2),
        LaneProperties(redundancy=1),
    )

    def __init__(self, one: bool) -> None:
        self._one = one
        peer = GENEROUS._replace(allowance_bytes=6_000, allowance_messages=40, max_message=4_000)
        self._control = Control()
        self.sending = Sending(Options(buffered_messages=4), peer, self._control)
        for number, properties in enumerate(self.LANES):
            self.sending.configure(number, properties)
        self._messages: list[OutgoingMessage] = []
        self._contents: list[Content] = []
        self._begun = [0] * len(self.LANES)
        self._now = 0.0

    def send(self, lane: int, sizes: list[int], wanted: bool) -> None:
        """Some messages."""
        messages = [b"%d" % (size % 10) * size for size in sizes]
        if not wanted and not self._one:
            self.sending.send_many(messages, lane, anything)
            return
        for data in messages:
            message = self.sending.send(data, lane, None, wanted)
            if wanted:
                self._messages.append(message)

    def datagram(self, room: int, then: float) -> bytes:
        """What the next datagram holds."""
        self._now += then
        copies = self.sending.copies
        if copies is not None:
            copies.begin(self._now, 0.05)
        payload = Payload(room)
        for urgent in (True, False):
            if not payload.full:
                self.sending.fill(payload, room, urgent)
        if copies is not None:
            copies.fill(payload, 0)
        for packet in packets(payload):
            if isinstance(packet, p.StreamBlocks):
                self._begun[packet.lane] = max(self._begun[packet.lane], packet.first + len(packet.messages))
            elif isinstance(packet, p.StreamBlock) and packet.offset + len(packet.data) == packet.total:
                self._begun[packet.lane] = max(self._begun[packet.lane], packet.number + 1)
        self._contents += payload.contents
        return b"".join(payload.parts)

    def lose(self, which: int) -> None:
        """A datagram's content, perhaps one of long ago."""
        if self._contents:
            source, start, stop = self._contents[which % len(self._contents)]
            source.lost(start, stop)

    def cancel(self, which: int) -> None:
        """A message that somebody waits for."""
        if self._messages:
            self.sending.cancel(self._messages[which % len(self._messages)])

    def settle(self, lane: int, until: int, rejected: int) -> None:
        """The peer has settled some of what it has."""
        watermark = min(until, self._begun[lane])
        verdicts = (p.Verdict(rejected, False, 1, ""),) if rejected < watermark else ()
        if watermark:
            self.sending.take_ack(p.StreamBlockAck(lane, watermark, (), verdicts))

    def state(self) -> object:
        """Whatever can be seen of it."""
        budget, payload = self.sending.budget, Payload(1 << 20)
        self._control.fill(payload)
        for source, start, stop in payload.contents:
            source.acked(start, stop)
        return (
            [(message.lane, message.number, repr(message.error)) for message in self.sending.take_settled()],
            (budget.queued_bytes, budget.queued_messages, budget.begun_bytes, budget.begun_messages),
            (self.sending.has_more, self.sending.idle, self.sending.begun),
            b"".join(payload.parts),
        )


def each(*names: str) -> st.SearchStrategy[tuple[str, int, list[int], int]]:
    """Things to do, with numbers that mean something else for each."""
    return st.tuples(
        st.sampled_from(names),
        st.integers(0, 4),
        st.lists(st.sampled_from([0, 1, 100, 100, 400, 1_170, 2_000]), min_size=1, max_size=12),
        st.integers(0, 40),
    )


class TwinTests(SendingCase):
    """It makes no difference on the wire, or to anybody, whether what nobody waits for is sent one by one."""

    @given(st.lists(each("many", "many", "one", "datagram", "datagram", "lose", "cancel", "settle"), max_size=50))
    def test_same(self, steps: list[tuple[str, int, list[int], int]]) -> None:
        """Whatever is sent, lost, withdrawn and settled, in whatever order."""
        twins = Twin(one=True), Twin(one=False)
        for step, lane, sizes, number in [*steps, *self.rest()]:
            said = []
            for twin in twins:
                if step in ("many", "one"):
                    twin.send(lane, sizes, step == "one")
                elif step == "datagram":
                    said.append(twin.datagram(ROOM if number % 3 else 4_000, number / 1_000))
                elif step == "lose":
                    twin.lose(number)
                elif step == "cancel":
                    twin.cancel(number)
                else:
                    twin.settle(lane, number, sizes[0])
            self.assertEqual(len({*said}), bool(said))
            one, many = (twin.state() for twin in twins)
            self.assertEqual(one, many)
        self.assertEqual(twins[1].sending.budget.queued_messages, 0)

    @staticmethod
    def rest() -> Iterator[tuple[str, int, list[int], int]]:
        """Everything leaves."""
        for _ in range(80):
            yield "datagram", 0, [0], 1
            for lane in range(len(Twin.LANES)):
                yield "settle", lane, [1 << 30], 1 << 30
