"""
Tests for L{hypermail.messages.incoming} and L{hypermail.messages.receiving}: one side, packet by packet.
"""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hypermail.errors import LimitExceeded, MalformedPacket, ProtocolViolation, Reason, UsageError
from hypermail.events import DirectsReceived, MessagesReceived
from hypermail.link.control import Control
from hypermail.link.payload import Payload
from hypermail.messages.incoming import MOST_AHEAD, MOST_RANGES, MOST_REPORTS, IncomingLane
from hypermail.messages.receiving import Receiving
from hypermail.options import Options
from hypermail.wire import packets as p
from hypermail.wire.codec import decode

ORDERED, UNORDERED, BUFFERED = 0, 1, 2


class ReceivingCase(SynchronousTestCase):
    """Sets up a receiving side whose application takes nothing of itself."""

    options = Options()

    def setUp(self) -> None:
        self.control = Control()
        self.receiving = Receiving(self.options, self.control)
        self.lanes: dict[int, IncomingLane] = {}

    def run_of(self, first: int, *messages: bytes, lane: int = 0, flags: int = ORDERED) -> None:
        """Whole messages arrive."""
        self.receiving.receive_run(p.StreamBlocks(lane, flags, first, [*messages]))

    def fragment(self, number: int, data: bytes, start: int, stop: int, lane: int = 0, flags: int = ORDERED) -> None:
        """A fragment arrives."""
        block = p.StreamBlock(lane, flags, number, len(data), start, memoryview(data)[start:stop])
        self.receiving.receive_fragment(block)

    def clear(self, number: int, lane: int = 0, flags: int = ORDERED) -> None:
        """The sender withdraws a message."""
        self.receiving.receive_clear(p.MessageClear(lane, flags, number))

    def delivered(self) -> list[tuple[int, bytes]]:
        """What the application is given now, as (number, message)."""
        found = []
        for event in self.receiving.take_events():
            assert isinstance(event, MessagesReceived)
            self.lanes[event.lane.number] = event.lane
            found += list(enumerate(event.messages, event.first))
        return found

    def acks(self, deliver: bool = True) -> list[p.StreamBlockAck]:
        """The acknowledgements that leave now. @param deliver: whether they arrive; else they are lost."""
        self.receiving.acknowledge()
        payload = Payload(1_150)
        self.control.fill(payload)
        if not payload.parts:
            return []
        found = decode(memoryview(b"".join(payload.parts)))
        for source, start, stop in payload.contents:
            (source.acked if deliver else source.lost)(start, stop)
        return [packet for packet in found if isinstance(packet, p.StreamBlockAck)]


class FinishedTests(ReceivingCase):
    """How many messages are settled."""

    def test_all(self) -> None:
        """Those that were taken, rejected and withdrawn, on all lanes, whatever came before them; each once."""
        self.run_of(0, *[b"x"] * 6, flags=UNORDERED)
        self.run_of(0, b"y", lane=3)
        self.assertEqual((len(self.delivered()), self.receiving.finished), (7, 0))
        self.lanes[0].take(1)
        self.lanes[0].take(4)
        self.lanes[3].take(0)
        self.assertEqual(self.receiving.finished, 3)
        self.lanes[0].reject(0, Reason.APPLICATION, "")
        self.clear(9, flags=UNORDERED)
        self.clear(9, flags=UNORDERED)
        self.assertEqual(self.receiving.finished, 5)
        self.lanes[0].take(2, 2)
        self.assertEqual(self.receiving.finished, 7)
        self.receiving.forget()
        self.assertEqual(self.receiving.finished, 7)


class OrderedTests(ReceivingCase):
    """A lane in order."""

    def test_runs(self) -> None:
        """Runs that arrive in order are delivered as they come."""
        self.run_of(0, b"a", b"b")
        self.run_of(2, b"")
        self.assertEqual(self.delivered(), [(0, b"a"), (1, b"b"), (2, b"")])

    def test_gap(self) -> None:
        """What is ahead of its turn waits for what is missing, and is then delivered with it."""
        self.run_of(2, b"c", b"d")
        self.run_of(1, b"b")
        self.assertEqual(self.delivered(), [])
        self.run_of(0, b"a")
        self.assertEqual(self.delivered(), list(enumerate([b"a", b"b", b"c", b"d"])))
        self.run_of(4, b"e")
        self.assertEqual(self.delivered(), [(4, b"e")])

    def test_duplicates(self) -> None:
        """Nothing is delivered twice, whether it waits, is with the application, or is settled."""
        for _ in range(2):
            self.run_of(1, b"b")
        self.run_of(0, b"a", b"b")
        self.assertEqual(self.delivered(), [(0, b"a"), (1, b"b")])
        self.run_of(0, b"a", b"b", b"c")
        self.assertEqual(self.delivered(), [(2, b"c")])
        self.lanes[0].take(0, 3)
        self.run_of(0, b"a", b"b", b"c")
        self.fragment(1, b"b", 0, 1)
        self.assertEqual(self.delivered(), [])
        self.assertEqual((self.receiving.holdings.messages, self.receiving.holdings.bytes), (0, 0))

    def test_settledOutOfOrder(self) -> None:
        """The application may take messages in any order; the acknowledgement covers the settled prefix."""
        self.run_of(0, b"a", b"b", b"c", b"d")
        self.delivered()
        lane = self.lanes[0]
        lane.take(2)
        self.assertEqual(self.acks(), [p.StreamBlockAck(0, 0, (), ())])
        lane.take(0)
        self.assertEqual(self.acks(), [p.StreamBlockAck(0, 1, (), ())])
        lane.take(1)
        self.assertEqual(self.acks(), [p.StreamBlockAck(0, 3, (), ())])
        self.assertEqual(self.acks(), [])
        lane.take(3)
        self.assertEqual(self.acks(), [p.StreamBlockAck(0, 4, (), ())])

    def test_notDelivered(self) -> None:
        """The application can settle only what it holds: nothing twice, nothing that is still to come."""
        self.run_of(0, b"a")
        self.run_of(2, b"c")
        self.fragment(3, b"dd", 0, 1)
        self.delivered()
        lane = self.lanes[0]
        lane.take(0)
        for number in range(5):
            self.assertRaises(UsageError, lane.take, number)
            self.assertRaises(UsageError, lane.reject, number, 1, "")
        self.assertEqual(self.receiving.holdings.messages, 2)

    def test_ackedOnce(self) -> None:
        """However much is settled in a turn, there is one acknowledgement, and a newer one replaces it."""
        self.run_of(0, b"a", b"b", b"c")
        self.delivered()
        self.lanes[0].take(0)
        self.lanes[0].take(1)
        self.assertEqual(self.acks(deliver=False), [p.StreamBlockAck(0, 2, (), ())])
        self.lanes[0].take(2)
        self.assertEqual(self.acks(), [p.StreamBlockAck(0, 3, (), ())])
        self.assertEqual(len(self.control), 0)


class FragmentTests(ReceivingCase):
    """Messages in pieces."""

    data = bytes(range(256)) * 10

    def test_anyOrder(self) -> None:
        """Fragments make the message in whatever order they come, more than once and overlapping."""
        for start, stop in ((2_000, 2_560), (500, 1_500), (500, 1_500), (0, 700), (1_400, 2_100)):
            self.assertEqual(self.delivered(), [])
            self.fragment(0, self.data, start, stop)
        self.assertEqual(self.delivered(), [(0, self.data)])

    @given(st.lists(st.tuples(st.integers(0, 99), st.integers(1, 60)), max_size=30), st.randoms())
    def test_everyCut(self, cuts: list[tuple[int, int]], random: object) -> None:
        """However a message is cut and shuffled, it arrives whole, once."""
        self.setUp()
        data = bytes(range(100))
        pieces = [(start, min(100, start + size)) for start, size in cuts] + [(n, n + 10) for n in range(0, 100, 10)]
        random.shuffle(pieces)  # type: ignore[attr-defined]
        found = []
        for start, stop in pieces:
            self.fragment(0, data, start, stop)
            found += self.delivered()
        self.assertEqual(found, [(0, data)])

    def test_oneFragment(self) -> None:
        """A fragment that is the whole message is one, an empty message's, too."""
        self.fragment(0, b"whole", 0, 5)
        self.fragment(1, b"", 0, 0)
        self.assertEqual(self.delivered(), [(0, b"whole"), (1, b"")])

    def test_interleaved(self) -> None:
        """Fragments of messages of several lanes don't get in each other's way."""
        other = self.data[::-1]
        for start in range(0, len(self.data), 320):
            self.fragment(0, self.data, start, start + 320)
            self.fragment(0, other, start, start + 320, lane=1)
        self.assertEqual(self.delivered(), [(0, self.data), (0, other)])

    def test_wholeAfterFragments(self) -> None:
        """When a message turns up whole after some of its fragments, it is delivered once and counted once."""
        self.fragment(0, self.data, 0, 100)
        self.run_of(0, self.data)
        self.assertEqual(self.delivered(), [(0, self.data)])
        self.fragment(0, self.data, 100, 2_560)
        self.assertEqual(self.delivered(), [])
        self.assertEqual((self.receiving.holdings.messages, self.receiving.holdings.bytes), (1, 2_560))

    def test_disagree(self) -> None:
        """Fragments, or a whole message, that contradict the length that was told break the protocol."""
        self.fragment(0, self.data, 0, 100)
        self.assertRaises(ProtocolViolation, self.fragment, 0, self.data + b"more", 100, 200)
        self.assertRaises(ProtocolViolation, self.run_of, 0, b"short")

    def test_declaredCounts(self) -> None:
        """What was declared counts at once, not what has arrived."""
        self.fragment(0, self.data, 0, 1)
        self.assertEqual(self.receiving.holdings.bytes, 2_560)


class UnorderedTests(ReceivingCase):
    """A lane without order."""

    def send(self, first: int, *messages: bytes) -> None:
        """Whole messages arrive."""
        self.run_of(first, *messages, lane=1, flags=UNORDERED)

    def test_asTheyCome(self) -> None:
        """Everything is delivered as soon as it is whole, fragments of another message notwithstanding."""
        self.send(5, b"f")
        self.fragment(0, b"aaaa", 0, 2, lane=1, flags=UNORDERED)
        self.send(6, b"g", b"h")
        self.send(1, b"b")
        self.assertEqual(self.delivered(), [(5, b"f"), (6, b"g"), (7, b"h"), (1, b"b")])
        self.fragment(0, b"aaaa", 2, 4, lane=1, flags=UNORDERED)
        self.assertEqual(self.delivered(), [(0, b"aaaa")])

    def test_acknowledged(self) -> None:
        """The acknowledgement has the watermark and the settled ranges above it, each once."""
        self.send(0, *[b"x"] * 10)
        self.delivered()
        lane = self.lanes[1]
        for number in (0, 2, 3, 6, 9):
            lane.take(number)
        self.assertEqual(self.acks(), [p.StreamBlockAck(1, 1, ((2, 4), (6, 7), (9, 10)), ())])
        lane.take(1)
        self.assertEqual(self.acks(), [p.StreamBlockAck(1, 4, (), ())])
        lane.take(7)
        self.assertEqual(self.acks(), [p.StreamBlockAck(1, 4, ((7, 8),), ())])

    def test_manyRanges(self) -> None:
        """An acknowledgement holds a bounded number of ranges; the others are told when it has arrived."""
        count = 4 * MOST_RANGES
        self.send(0, *[b"x"] * count)
        self.delivered()
        for number in range(1, count, 2):
            self.lanes[1].take(number)
        (ack,) = self.acks()
        self.assertEqual((ack.watermark, len(ack.ranges)), (0, MOST_RANGES))
        (after,) = self.acks()
        self.assertEqual([*ack.ranges, *after.ranges], [(number, number + 1) for number in range(1, count, 2)])
        self.assertEqual(self.acks(), [])
        for number in range(0, count, 2):
            self.lanes[1].take(number)
        self.assertEqual(self.acks(), [p.StreamBlockAck(1, count, (), ())])

    def test_verdictBeyondRanges(self) -> None:
        """A reject is told with the range that settles it, not before: else it would be taken for taken."""
        count = 4 * MOST_RANGES
        self.send(0, *[b"x"] * count)
        self.delivered()
        for number in range(1, count - 2, 2):
            self.lanes[1].take(number)
        self.lanes[1].reject(count - 1, 7, "no")
        (ack,) = self.acks()
        self.assertEqual(ack.verdicts, ())
        for number in range(0, count, 2):
            self.lanes[1].take(number)
        self.assertEqual(self.acks(), [p.StreamBlockAck(1, count, (), (p.Verdict(count - 1, False, 7, "no"),))])

    def test_duplicates(self) -> None:
        """What was settled above the watermark is not delivered again."""
        self.send(3, b"d")
        self.delivered()
        self.lanes[1].take(3)
        self.send(3, b"d")
        self.fragment(3, b"d", 0, 1, lane=1, flags=UNORDERED)
        self.assertEqual(self.delivered(), [])

    @given(st.lists(st.tuples(st.integers(0, 40), st.sampled_from(["arrive", "take", "reject", "clear", "lose"]))))
    def test_nothingIsMistaken(self, steps: list[tuple[int, str]]) -> None:
        """However verdicts, ranges and lost acknowledgements mix, the sender learns each fate once and rightly."""
        self.setUp()
        fates: dict[int, bool] = {}
        with_application: set[int] = set()
        told: dict[int, bool] = {}

        def hear(deliver: bool) -> None:
            for ack in self.acks(deliver):
                if not deliver:
                    continue
                refused = {verdict.number for verdict in ack.verdicts}
                covered = {*range(ack.watermark), *(n for start, stop in ack.ranges for n in range(start, stop))}
                for number in covered - told.keys():
                    told[number] = number not in refused

        for number, step in steps:
            if step == "arrive":
                self.send(number, b"%d" % number)
                for delivered, data in self.delivered():
                    self.assertNotIn(delivered, fates)
                    self.assertEqual(data, b"%d" % delivered)
                    with_application.add(delivered)
            elif step == "take" and number in with_application:
                self.lanes[1].take(number)
                fates[number] = True
            elif step == "reject" and number in with_application:
                self.lanes[1].reject(number, 1, "x" * 200)
                fates[number] = False
            elif step == "clear":
                if number not in fates and number not in with_application:
                    fates[number] = False
                self.clear(number, lane=1, flags=UNORDERED)
            with_application -= fates.keys()
            hear(deliver=step != "lose")
        for number in sorted(set(range(41)) - fates.keys()):
            self.send(number, b"%d" % number)
            self.delivered()
            self.lanes[1].take(number)
            fates[number] = True
        for _ in range(100):
            hear(deliver=True)
        self.assertEqual(told, fates)
        self.assertEqual((self.receiving.holdings.messages, self.receiving.holdings.bytes), (0, 0))
        self.assertEqual(len(self.control), 0)


class RunTests(ReceivingCase):
    """Runs that are parted, joined, and overlap."""

    options = Options(max_unsettled=8)

    def test_moreThanThereIsRoomFor(self) -> None:
        """A run that is longer than what the application may hold is delivered in parts, those behind it after it."""
        self.run_of(0, *[b"%d" % number for number in range(12)])
        self.run_of(12, b"12", b"13")
        self.assertEqual([number for number, _ in self.delivered()], [*range(8)])
        self.lanes[0].take(0, 8)
        self.assertEqual(self.delivered(), [(number, b"%d" % number) for number in range(8, 14)])

    def test_clearedWithin(self) -> None:
        """What is withdrawn out of the middle of a run that waits is not delivered; what was delivered of it stays."""
        self.run_of(0, *[b"%d" % number for number in range(12)])
        self.delivered()
        for number in (3, 9):
            self.clear(number)
        self.lanes[0].take(0, 8)
        self.assertEqual([number for number, _ in self.delivered()], [8, 10, 11])
        self.lanes[0].take(8)
        self.lanes[0].take(10, 2)
        verdict = p.Verdict(9, True, Reason.MESSAGE_CLEARED, "")
        self.assertEqual(self.acks(), [p.StreamBlockAck(0, 12, (), (verdict,))])
        self.assertEqual((self.receiving.holdings.messages, self.receiving.holdings.bytes), (0, 0))

    def test_takenAcross(self) -> None:
        """Runs may be taken in other parts than those in which they came, and not what is not there beside what is."""
        self.run_of(0, b"a", b"b", b"c")
        self.run_of(3, b"d", b"e")
        self.delivered()
        lane = self.lanes[0]
        lane.take(1, 3)
        self.assertRaises(UsageError, lane.take, 0, 2)
        self.assertRaises(UsageError, lane.take, 4, 2)
        self.assertEqual(self.receiving.holdings.messages, 2)
        lane.take(4)
        lane.take(0)
        self.assertEqual(self.acks(), [p.StreamBlockAck(0, 5, (), ())])

    @given(
        st.sampled_from([ORDERED, UNORDERED]),
        st.lists(
            st.tuples(
                st.sampled_from(["arrive", "fragment", "take", "reject", "clear"]),
                st.integers(0, 30),
                st.integers(1, 12),
            ),
            max_size=40,
        ),
    )
    def test_eachOnce(self, flags: int, steps: list[tuple[str, int, int]]) -> None:
        """
        However runs overlap and are parted, each message is delivered once, in order where that is promised, and no
        more at a time than agreed; and what is counted is what is not settled.
        """
        self.setUp()
        contents = [b"x" * (number % 7 + 2) for number in range(60)]
        seen: set[int] = set()
        delivered: list[int] = []
        settled: set[int] = set()
        cleared: set[int] = set()

        def hear() -> None:
            for number, data in self.delivered():
                self.assertEqual(data, contents[number])
                delivered.append(number)
            held = [number for number in delivered if number not in settled]
            self.assertLessEqual(len(held), 8)
            self.assertEqual(len(set(delivered)), len(delivered))
            self.assertEqual(cleared & {*delivered}, set())
            if flags == ORDERED:
                self.assertEqual(delivered, sorted(delivered))
                self.assertLessEqual({*range(max(delivered, default=0))}, {*delivered} | cleared)
            unsettled = seen - settled
            self.assertEqual(self.receiving.holdings.messages, len(unsettled))
            self.assertEqual(self.receiving.holdings.bytes, sum(len(contents[number]) for number in unsettled))

        for step, first, count in [*steps, *[("finish", 0, 43)] * 20]:
            with_application = [number for number in delivered if number not in settled]
            if step in ("arrive", "finish"):
                self.run_of(first, *contents[first : first + count], flags=flags)
                seen |= {*range(first, first + count)}
            elif step == "fragment":
                self.fragment(first, contents[first], count % 2, count % 2 + 1, flags=flags)
                seen.add(first)
            elif step == "clear":
                before = self.receiving.finished
                self.clear(first, flags=flags)
                if self.receiving.finished > before:
                    self.assertNotIn(first, with_application)
                    seen.add(first)
                    settled.add(first)
                    cleared.add(first)
            elif step == "take" and {*range(first, first + count)} <= {*with_application}:
                self.lanes[0].take(first, count)
                settled |= {*range(first, first + count)}
            elif step == "reject" and first in with_application:
                self.lanes[0].reject(first, 1, "")
                settled.add(first)
            hear()
            for number in delivered if step == "finish" else ():
                if number not in settled:
                    self.lanes[0].take(number)
                    settled.add(number)
        hear()
        self.assertEqual({*delivered} | cleared, {*range(43)})
        self.assertEqual(self.receiving.finished, 43)


class RejectTests(ReceivingCase):
    """The application refuses messages."""

    def test_untilAcked(self) -> None:
        """A verdict is told with every acknowledgement until the peer has heard one."""
        self.run_of(0, b"a", b"b", b"c")
        self.delivered()
        verdict = p.Verdict(0, False, 9, "no")
        self.lanes[0].reject(0, 9, "no")
        self.assertEqual(self.acks(deliver=False), [p.StreamBlockAck(0, 1, (), (verdict,))])
        self.lanes[0].take(1)
        self.assertEqual(self.acks(), [p.StreamBlockAck(0, 2, (), (verdict,))])
        self.lanes[0].take(2)
        self.assertEqual(self.acks(), [p.StreamBlockAck(0, 3, (), ())])

    def test_notBeforeItsTurn(self) -> None:
        """On an ordered lane a verdict waits for the watermark to pass its message."""
        self.run_of(0, b"a", b"b")
        self.delivered()
        self.lanes[0].reject(1, 9, "no")
        self.assertEqual(self.acks(), [p.StreamBlockAck(0, 0, (), ())])
        self.lanes[0].take(0)
        self.assertEqual(self.acks(), [p.StreamBlockAck(0, 2, (), (p.Verdict(1, False, 9, "no"),))])

    def _many(self, flags: int) -> None:
        count = 200
        self.run_of(0, *[b"x"] * count, lane=1, flags=flags)
        self.delivered()
        for number in range(count):
            self.lanes[1].reject(number, number, "because" * 20)
        told: dict[int, int] = {}
        watermark = 0
        turns = 0
        while acks := self.acks(deliver=turns % 3 != 1):
            (ack,) = acks
            turns += 1
            self.assertLessEqual(len(ack.encode()), 1_100)
            for verdict in ack.verdicts:
                told[verdict.number] = verdict.code
            self.assertEqual(set(range(ack.watermark)) - told.keys(), set(), "the watermark waits for verdicts")
            self.assertGreaterEqual(ack.watermark, watermark)
            watermark = ack.watermark
        self.assertEqual(told, {number: number for number in range(count)})
        self.assertEqual(watermark, count)

    def test_manyOrdered(self) -> None:
        """Verdicts that don't fit wait, and the watermark waits with them, on an ordered lane."""
        self._many(ORDERED)

    def test_manyUnordered(self) -> None:
        """Verdicts that don't fit wait, and the watermark waits with them, on an unordered lane."""
        self._many(UNORDERED)

    def test_longReason(self) -> None:
        """A reason longer than what one acknowledgement holds is cut, not stuck."""
        self.run_of(0, b"x")
        self.delivered()
        self.lanes[0].reject(0, 1, "ä" * 5_000)
        (ack,) = self.acks()
        self.assertEqual((ack.watermark, ack.verdicts[0].text), (1, "ä" * 100))


class UnsettledTests(ReceivingCase):
    """The application holds only so many."""

    options = Options(max_unsettled=4)

    def test_ordered(self) -> None:
        """No more than the agreed number is with the application; others follow as it settles, in order."""
        self.run_of(0, *[b"%d" % number for number in range(10)])
        self.assertEqual([number for number, _ in self.delivered()], [0, 1, 2, 3])
        self.lanes[0].take(2)
        self.assertEqual([number for number, _ in self.delivered()], [4])
        self.lanes[0].reject(0, 1, "")
        self.assertEqual([number for number, _ in self.delivered()], [5])
        self.lanes[0].take(3, 3)
        self.assertEqual([number for number, _ in self.delivered()], [6, 7, 8])

    def test_unordered(self) -> None:
        """The same holds on a lane without order."""
        self.run_of(0, *[b"x"] * 6, lane=1, flags=UNORDERED)
        self.assertEqual(len(self.delivered()), 4)
        self.run_of(6, b"x", lane=1, flags=UNORDERED)
        self.assertEqual(len(self.delivered()), 0)
        self.lanes[1].take(0, 3)
        self.assertEqual(len(self.delivered()), 3)

    def test_default(self) -> None:
        """By default that is 1,024."""
        receiving = Receiving(Options(), self.control)
        for first in range(0, 2_048, 512):
            receiving.receive_run(p.StreamBlocks(0, 0, first, [b""] * 512))
        events = [event for event in receiving.take_events() if isinstance(event, MessagesReceived)]
        self.assertEqual(sum(len(event.messages) for event in events), 1_024)

    def test_buffered(self) -> None:
        """A buffered lane is settled by delivery: nothing holds it up, and nobody is asked."""
        self.run_of(0, *[b"x"] * 10, lane=2, flags=BUFFERED)
        self.assertEqual(len(self.delivered()), 10)
        self.assertEqual(self.acks(), [p.StreamBlockAck(2, 10, (), ())])
        self.lanes[2].take(0)
        self.lanes[2].reject(1, 1, "too late")
        self.assertEqual(self.acks(), [])
        self.assertEqual(self.receiving.holdings.messages, 0)


class ClearTests(ReceivingCase):
    """The sender withdraws messages."""

    def cleared(self, *numbers: int) -> tuple[p.Verdict, ...]:
        """The verdicts that say so."""
        return tuple(p.Verdict(number, True, Reason.MESSAGE_CLEARED, "") for number in numbers)

    def test_partial(self) -> None:
        """A message of which fragments are missing is cleared, and the next is delivered."""
        self.fragment(0, b"abc", 0, 1)
        self.run_of(1, b"next")
        self.clear(0)
        self.assertEqual(self.delivered(), [(1, b"next")])
        self.assertEqual(self.acks(), [p.StreamBlockAck(0, 1, (), self.cleared(0))])
        self.fragment(0, b"abc", 1, 3)
        self.assertEqual(self.delivered(), [])

    def test_held(self) -> None:
        """A whole message whose turn has not come is cleared."""
        self.run_of(1, b"b", b"c")
        self.clear(1)
        self.run_of(0, b"a")
        self.assertEqual(self.delivered(), [(0, b"a"), (2, b"c")])

    def test_neverSeen(self) -> None:
        """The clear may overtake the message, of which nothing is then delivered."""
        self.clear(0)
        self.clear(1)
        self.run_of(0, b"a", b"b", b"c")
        self.assertEqual(self.delivered(), [(2, b"c")])
        self.assertEqual(self.acks(), [p.StreamBlockAck(0, 2, (), self.cleared(0, 1))])
        self.assertEqual(self.receiving.holdings.messages, 1)

    def test_withApplication(self) -> None:
        """What the application has is its to decide."""
        self.run_of(0, b"a")
        self.delivered()
        self.clear(0)
        self.assertEqual(self.acks(), [])
        self.lanes[0].take(0)
        self.clear(0)
        self.assertEqual(self.acks(), [p.StreamBlockAck(0, 1, (), ())])

    def test_twice(self) -> None:
        """A repeated clear changes nothing."""
        self.clear(0)
        self.clear(0)
        self.assertEqual(self.acks(), [p.StreamBlockAck(0, 1, (), self.cleared(0))])


class LimitTests(ReceivingCase):
    """What the peer may not do."""

    options = Options(max_message=100, allowance_bytes=1_000, allowance_messages=20, max_lanes=2)

    def test_size(self) -> None:
        """Exactly the largest message is taken; one byte more breaks the limit, whole or declared."""
        self.run_of(0, bytes(100))
        self.fragment(1, bytes(100), 0, 10)
        self.assertRaises(LimitExceeded, self.run_of, 2, bytes(101))
        self.assertRaises(LimitExceeded, self.fragment, 2, bytes(101), 0, 1)

    def test_declaredTotal(self) -> None:
        """A message of 4 GiB that is only declared is refused without a byte of memory."""
        block = p.StreamBlock(0, 0, 0, 2**32 - 1, 0, memoryview(b"x"))
        self.assertRaises(LimitExceeded, self.receiving.receive_fragment, block)
        self.assertEqual(self.receiving.holdings.bytes, 0)

    def test_allowanceOfBytes(self) -> None:
        """Declared bytes count against the allowance, over all lanes."""
        for number in range(5):
            self.fragment(number, bytes(100), 0, 1)
            self.run_of(number, bytes(100), lane=1)
        self.assertRaises(LimitExceeded, self.run_of, 5, b"x")

    def test_allowanceOfMessages(self) -> None:
        """Messages count against the allowance, also empty ones, until they are settled."""
        self.run_of(0, *[b""] * 20)
        self.delivered()
        self.lanes[0].take(0)
        self.run_of(20, b"")
        self.assertRaises(LimitExceeded, self.run_of, 21, b"")

    def test_lanes(self) -> None:
        """No more lanes than allowed come to be."""
        self.run_of(0, b"x")
        self.run_of(0, b"x", lane=1)
        self.assertRaises(LimitExceeded, self.run_of, 0, b"x", lane=2)

    def test_changedLane(self) -> None:
        """A lane can't change what it is, nor be what doesn't exist."""
        self.run_of(0, b"x")
        self.assertRaises(ProtocolViolation, self.run_of, 1, b"x", flags=UNORDERED)
        self.assertRaises(MalformedPacket, self.run_of, 0, b"x", lane=1, flags=0xF0)

    def test_tooFarAhead(self) -> None:
        """A number far beyond the watermark is refused, in every kind of packet."""
        for lane in range(2):
            self.run_of(MOST_AHEAD - 1, b"x", lane=lane, flags=lane)
            self.assertRaises(LimitExceeded, self.run_of, MOST_AHEAD, b"x", lane=lane, flags=lane)
            self.assertRaises(LimitExceeded, self.fragment, MOST_AHEAD, b"xx", 0, 1, lane=lane, flags=lane)
            self.assertRaises(LimitExceeded, self.clear, MOST_AHEAD, lane=lane, flags=lane)
        self.assertRaises(LimitExceeded, self.run_of, 1 << 63, b"x")

    def test_fastPathTooFarAhead(self) -> None:
        """Messages in order are no exception, as long as the application settles nothing."""
        receiving = Receiving(Options(allowance_messages=1 << 20, max_unsettled=1 << 20), self.control)
        for first in range(0, MOST_AHEAD, 512):
            receiving.receive_run(p.StreamBlocks(0, 0, first, [b""] * 512))
        self.assertRaises(LimitExceeded, receiving.receive_run, p.StreamBlocks(0, 0, MOST_AHEAD, [b""]))

    def test_manyHoles(self) -> None:
        """Fragments with more holes than an honest network makes are refused."""
        receiving = Receiving(Options(), self.control)
        with self.assertRaises(LimitExceeded):
            for offset in range(0, 1_000, 2):
                receiving.receive_fragment(p.StreamBlock(0, 0, 0, 1_001, offset + 1, memoryview(b"x")))

    def test_wrongWay(self) -> None:
        """Where the peer may not send, every kind of message is a violation with a reason of its own."""
        self.receiving.allowed = False
        for send in (
            lambda: self.run_of(0, b"x"),
            lambda: self.fragment(0, b"xx", 0, 1),
            lambda: self.clear(0),
            lambda: self.receiving.receive_direct(p.Direct(b"x")),
        ):
            self.assertEqual(self.assertRaises(ProtocolViolation, send).code, Reason.WRONG_WAY)


class EventTests(ReceivingCase):
    """What the application is told."""

    def test_copied(self) -> None:
        """What is delivered does not change when the read buffer is used again."""
        buffer = bytearray(
            p.StreamBlocks(0, 0, 0, [b"ab"]).encode()
            + p.StreamBlocks(0, 0, 2, [b"cd"]).encode()
            + p.StreamBlock(0, 0, 1, 4, 0, b"ab").encode()
            + p.Direct(b"ef").encode()
        )
        first, last, fragment, direct = decode(memoryview(buffer))
        assert isinstance(first, p.StreamBlocks) and isinstance(last, p.StreamBlocks)
        assert isinstance(fragment, p.StreamBlock) and isinstance(direct, p.Direct)
        self.receiving.receive_run(first)
        self.receiving.receive_run(last)
        self.receiving.receive_fragment(fragment)
        self.receiving.receive_direct(direct)
        buffer[:] = bytes(len(buffer))
        self.receiving.receive_fragment(p.StreamBlock(0, 0, 1, 4, 2, memoryview(b"cd")))
        directs, *messages = self.receiving.take_events()
        self.assertEqual(directs, DirectsReceived([b"ef"]))
        self.assertEqual(
            [event.messages for event in messages if isinstance(event, MessagesReceived)],
            [[b"ab", b"abcd", b"cd"]],
        )

    def test_forget(self) -> None:
        """After the session's end nothing waits, and nothing more is delivered."""
        self.run_of(0, b"a")
        self.run_of(2, b"c")
        self.fragment(1, b"bb", 0, 1)
        self.receiving.receive_direct(p.Direct(b"direct"))
        self.receiving.forget()
        self.assertEqual(self.receiving.take_events(), [])


class ReportTests(ReceivingCase):
    """What is settled on an unordered lane, told in any order, through loss."""

    def lane(self, count: int) -> IncomingLane:
        """A lane with so many messages at the application."""
        self.run_of(0, *[b"x"] * count, lane=1, flags=UNORDERED)
        self.delivered()
        return self.lanes[1]

    def test_behindWhatWaits(self) -> None:
        """Messages that wait for long hold up no verdict on others, however many they are."""
        lane = self.lane(100)
        for number in range(1, 99, 2):
            lane.take(number)
        while self.acks():
            """All of it is told."""
        lane.reject(99, 7, "no")
        self.assertEqual(self.acks(), [p.StreamBlockAck(1, 0, ((99, 100),), (p.Verdict(99, False, 7, "no"),))])

    def test_mostReports(self) -> None:
        """So many reports are on their way at once; what is settled meanwhile follows when one has arrived."""
        lane = self.lane(100)
        for number in range(1, 2 * MOST_REPORTS + 5, 2):
            lane.take(number)
            self.acks(deliver=False)
        self.assertEqual(len(self.control), MOST_REPORTS)
        ranges = [ack.ranges for ack in self.acks()]
        self.assertEqual(ranges, [((number, number + 1),) for number in range(1, 2 * MOST_REPORTS, 2)])
        last = 2 * MOST_REPORTS + 1
        self.assertEqual([ack.ranges for ack in self.acks()], [((last, last + 1), (last + 2, last + 3))])

    def test_verdictOnItsWay(self) -> None:
        """The watermark does not pass a verdict that may be lost, and goes on when it has arrived."""
        lane = self.lane(10)
        lane.reject(0, 7, "no")
        first = p.StreamBlockAck(1, 1, (), (p.Verdict(0, False, 7, "no"),))
        self.assertEqual(self.acks(deliver=False), [first])
        lane.take(1)
        self.assertEqual(self.acks(deliver=False), [first])
        lane.take(3)
        self.assertEqual(self.acks(), [first, p.StreamBlockAck(1, 0, ((3, 4),), ())])
        self.assertEqual(self.acks(), [p.StreamBlockAck(1, 2, (), ())])
        self.assertEqual(self.acks(), [])

    def test_verdictsFollow(self) -> None:
        """Rejects in order need not wait for those before them to arrive."""
        lane = self.lane(3)
        found = []
        for number in range(3):
            lane.reject(number, 7, "no")
            found = self.acks(deliver=False)
        told = [p.Verdict(number, False, 7, "no") for number in range(3)]
        self.assertEqual(
            found,
            [
                p.StreamBlockAck(1, 1, (), (told[0],)),
                p.StreamBlockAck(1, 0, ((1, 2),), (told[1],)),
                p.StreamBlockAck(1, 0, ((2, 3),), (told[2],)),
            ],
        )

    def test_ordered(self) -> None:
        """Lanes in order have no reports, and keep nothing for them."""
        self.run_of(0, *[b"x"] * 10)
        self.delivered()
        lane = self.lanes[0]
        for number in (5, 3, 0):
            lane.take(number)
        lane.reject(1, 7, "no")
        self.assertEqual(self.acks(), [p.StreamBlockAck(0, 2, (), (p.Verdict(1, False, 7, "no"),))])
        self.assertEqual(len(lane._unreported), 0)

    def test_anyOrder(self) -> None:
        """However messages are settled and reports are lost or overtaken, the sender learns the fate of each."""
        for seed in range(60):
            self.setUp()
            random = Random(seed)
            count = random.choice((5, 60, 400))
            lane = self.lane(count)
            left = list(range(count))
            if seed % 3:
                random.shuffle(left)
            rejects = random.choice((0.0, 0.1, 1.0))
            fates: dict[int, int] = {}
            known: dict[int, int] = {}
            flying: list[Payload] = []
            while left or flying or len(self.control) or lane._news:
                for _ in range(min(len(left), random.choice((0, 1, 5, 50)))):
                    number = left.pop()
                    fates[number] = number + 1 if random.random() < rejects else 0
                    if fates[number]:
                        lane.reject(number, number + 1, "because" * random.choice((0, 20)))
                    else:
                        lane.take(number)
                lane.acknowledge()
                payload = Payload(1_150)
                self.control.fill(payload)
                if payload.parts:
                    flying.append(payload)
                if flying and random.random() < 0.5:
                    self.arrive(flying.pop(random.randrange(len(flying))), random.random() < 0.3, known)
            wrong = {n: (known.get(n), fate) for n, fate in fates.items() if known.get(n) != fate}
            self.assertEqual(wrong, {}, f"number: (told, true), of seed {seed}")
            self.assertEqual(list(lane._unreported), [])

    def arrive(self, payload: Payload, lost: bool, known: dict[int, int]) -> None:
        """A datagram is lost, or arrives: what is not known yet is what it says."""
        for source, start, stop in payload.contents:
            (source.lost if lost else source.acked)(start, stop)
        for ack in () if lost else decode(memoryview(b"".join(payload.parts))):
            assert isinstance(ack, p.StreamBlockAck)
            verdicts = {verdict.number: verdict.code for verdict in ack.verdicts}
            for start, stop in ((0, ack.watermark), *ack.ranges):
                for number in range(start, stop):
                    known.setdefault(number, verdicts.get(number, 0))
