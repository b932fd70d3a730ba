"""
Tests for L{hypermail.dialects.batch.arrivals}: what becomes of Data packets, in any order, and of wrong ones.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hypermail.dialects.batch.arrivals import MOST_RANGES, Arrivals, Receipt
from hypermail.dialects.batch.packets import FIRST, LAST, BatchData
from hypermail.wire.numbers import MASK

PIECE, WHOLE, REPEATED, UNSETTLED = Receipt.PIECE, Receipt.WHOLE, Receipt.REPEATED, Receipt.UNSETTLED
CROWDED, SCATTERED, CONTRADICTED, TOO_LARGE = (
    Receipt.CROWDED,
    Receipt.SCATTERED,
    Receipt.CONTRADICTED,
    Receipt.TOO_LARGE,
)


def data(number: int, flags: int, payload: bytes = b"x", batch: int = 1) -> BatchData:
    """One packet."""
    return BatchData(7, number & MASK, batch & 0xFF, flags, payload)


def pieces(first: int, batch: int, contents: list[bytes]) -> list[BatchData]:
    """The packets of one message."""
    last = len(contents) - 1
    return [
        data(first + at, (0 if at else FIRST) | (LAST if at == last else 0), content, batch)
        for at, content in enumerate(contents)
    ]


def take(arrivals: Arrivals, packet: BatchData, *, unsettled: int = 0, full: bool = False) -> Receipt:
    """What becomes of a packet while the application has settled everything."""
    return arrivals.take(packet, unsettled=unsettled, full=full)


class AssemblyTests(SynchronousTestCase):
    """What packets make."""

    @settings(deadline=None)
    @given(
        st.lists(st.lists(st.binary(max_size=3), min_size=1, max_size=6), min_size=1, max_size=8),
        st.sampled_from([1, 120, 2**32 - 9, 2**32 - 1]),
        st.data(),
    )
    def test_any_order(self, messages: list[list[bytes]], first: int, draw: st.DataObject) -> None:
        """In any order, with any duplicates, across the end of numbers, each message becomes whole once, as sent."""
        packets: list[BatchData] = []
        for batch, message in enumerate(messages, 250):
            packets += pieces(first + len(packets), batch, message)
        arrivals = Arrivals(1_000, 1_000, first=first)
        whole = []
        order = draw.draw(st.permutations(packets + draw.draw(st.lists(st.sampled_from(packets), max_size=10))))
        for packet in order:
            if take(arrivals, packet) is WHOLE:
                whole.append(arrivals.message)
        self.assertEqual(sorted(whole), sorted(b"".join(message) for message in messages))
        self.assertEqual((arrivals.bytes, arrivals.next), (0, first + len(packets)))

    def test_acknowledged(self) -> None:
        """All packets but the one that completes are acknowledged at once, that one when its message is settled."""
        arrivals = Arrivals(1_000, 1_000)
        one, two, three = pieces(1, 1, [b"a", b"b", b"c"])
        self.assertEqual([take(arrivals, each) for each in (one, three, two)], [PIECE, PIECE, WHOLE])
        self.assertEqual([arrivals.acknowledged(number) for number in (1, 2, 3, 4)], [True, False, True, False])
        self.assertEqual([take(arrivals, each) for each in (one, two, three)], [REPEATED, UNSETTLED, REPEATED])
        arrivals.settled(2)
        self.assertEqual([take(arrivals, each) for each in (one, two, three)], [REPEATED] * 3)

    def test_empty(self) -> None:
        """An empty message is one."""
        arrivals = Arrivals(1_000, 1_000)
        self.assertIs(take(arrivals, data(1, 3, b"")), WHOLE)
        self.assertEqual(arrivals.message, b"")

    def test_holes(self) -> None:
        """Numbers that a sender skips hold nothing up."""
        arrivals = Arrivals(1_000, 1_000)
        for number in (1, 128, 5_000, 129):
            self.assertIs(take(arrivals, data(number, 3)), WHOLE)

    def test_missing(self) -> None:
        """What is missing is told by number of 32 bits, the lowest first, so many at most."""
        arrivals = Arrivals(1_000, 1_000, first=2**32 - 2)
        take(arrivals, data(2**32 - 1, 3))
        take(arrivals, data(2**32 + 2, 3))
        self.assertEqual(arrivals.missing(2**32 - 2, 2**32 + 2, 9), [2**32 - 2, 0, 1])
        self.assertEqual(arrivals.missing(2**32 - 2, 2**32 + 2, 2), [2**32 - 2, 0])
        take(arrivals, data(2**32 + 2**31, 3))
        self.assertEqual(len(arrivals.missing(2**32 + 3, 2**32 + 2**31, 240)), 240)


class WrongTests(SynchronousTestCase):
    """Packets that make no sense beside others, and too much of them."""

    def setUp(self) -> None:
        self.arrivals = Arrivals(100, 200)

    def check(self, *steps: tuple[BatchData, Receipt]) -> None:
        """Packets come, and these things become of them."""
        for packet, receipt in steps:
            self.assertIs(take(self.arrivals, packet), receipt, packet)

    def test_batch(self) -> None:
        """The pieces of a run have one batch number."""
        self.check((data(1, FIRST), PIECE), (data(2, LAST, batch=2), CONTRADICTED), (data(2, LAST), WHOLE))
        self.check((data(9, LAST), PIECE), (data(8, FIRST, batch=2), CONTRADICTED), (data(8, FIRST), WHOLE))

    def test_batch_between(self) -> None:
        """A piece between two runs of different batches belongs to neither, whichever it names."""
        self.check((data(1, FIRST, batch=1), PIECE), (data(3, LAST, batch=2), PIECE))
        self.check((data(2, 0, batch=1), CONTRADICTED), (data(2, 0, batch=2), CONTRADICTED))

    def test_second_first(self) -> None:
        """No batch begins while another has not ended, in either order."""
        self.check((data(1, FIRST), PIECE), (data(2, FIRST), CONTRADICTED), (data(2, 3), CONTRADICTED))
        self.check((data(11, FIRST), PIECE), (data(10, FIRST), CONTRADICTED), (data(10, 0), CONTRADICTED))

    def test_no_first(self) -> None:
        """What follows the end of a batch begins another, whether the batch is held or was delivered."""
        self.check((data(2, LAST), PIECE), (data(3, 0), CONTRADICTED), (data(3, LAST), CONTRADICTED))
        self.check((data(10, 3), WHOLE), (data(11, 0), CONTRADICTED), (data(11, LAST), CONTRADICTED))
        self.check((data(11, 3), WHOLE))

    def test_no_last(self) -> None:
        """What precedes the beginning of a batch ends another, whether the batch is held or was delivered."""
        self.check((data(10, 3), WHOLE), (data(9, 0), CONTRADICTED), (data(9, FIRST), CONTRADICTED))
        self.check((data(9, LAST), PIECE))
        self.check((data(21, 0), PIECE), (data(20, LAST), CONTRADICTED), (data(20, 3), CONTRADICTED))
        self.check((data(20, FIRST), PIECE))

    @settings(deadline=None)
    @given(
        st.lists(
            st.builds(data, st.integers(1, 12), st.integers(0, 3), st.binary(max_size=2), st.integers(1, 2)),
            max_size=40,
        )
    )
    def test_anything(self, packets: list[BatchData]) -> None:
        """Whatever comes: a message is a run of taken packets of one batch, from a first to the next last."""
        arrivals = Arrivals(100, 200)
        taken: dict[int, BatchData] = {}
        for packet in packets:
            receipt = take(arrivals, packet)
            if receipt in (PIECE, WHOLE):
                self.assertNotIn(packet.number, taken)
                taken[packet.number] = packet
            if receipt is WHOLE:
                first = packet.number
                while not taken[first].flags & FIRST:
                    first -= 1
                run = [taken[first]]
                while not run[-1].flags & LAST:
                    run.append(taken[run[-1].number + 1])
                self.assertEqual({each.batch for each in run}, {packet.batch})
                self.assertEqual([each.flags & FIRST for each in run[1:]], [0] * (len(run) - 1))
                self.assertEqual(arrivals.message, b"".join(each.payload for each in run))

    def test_too_large(self) -> None:
        """A batch that passes what a message may have is seen before it has, from either side and in one packet."""
        self.check((data(1, FIRST, bytes(60)), PIECE), (data(2, 0, bytes(41)), TOO_LARGE))
        self.check((data(12, LAST, bytes(60)), PIECE), (data(11, 0, bytes(41)), TOO_LARGE))
        self.check((data(20, 3, bytes(101)), TOO_LARGE), (data(20, 3, bytes(100)), WHOLE))

    def test_joined_too_large(self) -> None:
        """So is one that passes it by joining two halves."""
        self.check((data(1, FIRST, bytes(60)), PIECE), (data(3, LAST, bytes(40)), PIECE))
        self.check((data(2, 0, bytes(1)), TOO_LARGE), (data(2, 0, b""), WHOLE))

    def test_crowded(self) -> None:
        """When what is held is as much as may be, only what continues the oldest message is taken, and bounded."""
        self.check(*((data(number, FIRST, bytes(50), number), PIECE) for number in (10, 20, 30, 40)))
        self.check((data(50, FIRST, bytes(50)), CROWDED), (data(21, 0, bytes(10), 20), CROWDED))
        self.check((data(11, 0, bytes(50), 10), PIECE), (data(5, FIRST, bytes(50), 5), PIECE))
        self.check((data(4, LAST, bytes(10), 4), CROWDED))
        self.assertEqual(self.arrivals.bytes, 300)

    def test_oldest_completes(self) -> None:
        """However full it is: the oldest message can become whole, and makes room for the next."""
        self.check(*((data(number, FIRST, bytes(50), number), PIECE) for number in (10, 20, 30, 40)))
        self.check((data(41, LAST, b"", 40), CROWDED), (data(11, LAST, bytes(50), 10), WHOLE))
        self.check((data(41, LAST, b"", 40), WHOLE))

    def test_full(self) -> None:
        """While the application has as much to settle as may be, nothing is taken; what is known is known."""
        self.check((data(1, 3), WHOLE))
        self.assertIs(take(self.arrivals, data(2, 3), full=True), CROWDED)
        self.assertIs(take(self.arrivals, data(2, 3), unsettled=200), CROWDED)
        self.assertIs(take(self.arrivals, data(1, 3), full=True), UNSETTLED)
        self.arrivals.settled(1)
        self.assertIs(take(self.arrivals, data(1, 3), full=True), REPEATED)

    def test_empty_pieces(self) -> None:
        """Pieces without bytes are bounded by their number."""
        self.check((data(1, FIRST, b""), PIECE))
        receipts = {take(self.arrivals, data(number, 0, b"", number >> 9 & 1)) for number in range(3, 10_000, 2)}
        self.assertLessEqual(receipts, {PIECE, SCATTERED, CROWDED})
        arrivals = Arrivals(100, 200)
        for number in range(1, 10_000):
            take(arrivals, data(number, 0, b""))
        self.assertLess(arrivals.next, 1_000)

    def test_scattered(self) -> None:
        """Numbers with too many holes between them are not taken, but what fills a hole or comes next is."""
        self.check(*((data(2 * number, 3, b""), WHOLE) for number in range(1, MOST_RANGES + 1)))
        self.check((data(9_000, 3), SCATTERED), (data(2 * MOST_RANGES + 1, 3), WHOLE), (data(3, 3), WHOLE))
        self.check((data(9_000, 3), WHOLE))

    def test_cleared(self) -> None:
        """What is not whole is given back, and what has come stays known."""
        self.check((data(1, FIRST, bytes(60)), PIECE))
        self.arrivals.clear()
        self.assertEqual(self.arrivals.bytes, 0)
        self.assertTrue(self.arrivals.acknowledged(1))
