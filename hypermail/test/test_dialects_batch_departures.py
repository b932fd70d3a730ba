"""
Tests for L{hypermail.dialects.batch.departures}: the numbers that packets and batches get, and what may be in flight.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hypermail.dialects.batch.departures import MOST_BATCHES, MOST_BEGUN, MOST_IN_FLIGHT, Departures
from hypermail.dialects.batch.packets import DATA_PAYLOAD, FIRST, LAST, BatchData, decode
from hypermail.dialects.messages import DialectMessage, Sending
from hypermail.dialects.resending import MOMENT

TIMEOUT = 5.0


class DeparturesCase(SynchronousTestCase):
    """Messages of one connection."""

    def begin(self, first_packet: int = 1, first_batch: int = 1) -> None:
        """Nothing was sent yet."""
        self.now = 100.0
        self.sending = Sending(1 << 30)
        self.departures = Departures(self.sending, TIMEOUT, first_packet=first_packet, first_batch=first_batch)
        self.departures.peer_id = 9

    def setUp(self) -> None:
        self.begin()

    def add(self, *sizes: int) -> list[DialectMessage]:
        """Messages of so many bytes wait."""
        return [self.sending.add(bytes(size), None, True) for size in sizes]

    def leave(self) -> list[BatchData]:
        """All that may leave now."""
        found = []
        while (datagram := self.departures.next(self.now)) is not None:
            packet = decode(datagram)
            assert isinstance(packet, BatchData)
            found.append(packet)
        return found

    def late(self, seconds: float) -> None:
        """So much time passes at once: what was read meanwhile may be dealt with before anything is sent again."""
        self.now += seconds
        self.assertEqual(self.leave(), [])
        self.now += MOMENT

    def ack(self, packets: list[BatchData]) -> None:
        """Packets are acknowledged."""
        for packet in packets:
            self.assertTrue(self.departures.acked(packet.number, self.now))

    def deliver(self) -> list[BatchData]:
        """All that waits leaves, and is acknowledged."""
        found = []
        while packets := self.leave():
            self.ack(packets)
            found += packets
        return found


class NumbersTests(DeparturesCase):
    """Which numbers are used."""

    def test_first(self) -> None:
        """Packets and batches are counted from 1, and flags tell where a batch begins and ends."""
        self.add(2, 2 * DATA_PAYLOAD + 1, 0, DATA_PAYLOAD)
        packets = self.leave()
        self.assertEqual(
            [(each.number, each.batch, each.flags, len(each.payload)) for each in packets],
            [(1, 1, 3, 2), (2, 2, FIRST, 972), (3, 2, 0, 972), (4, 2, LAST, 1), (5, 3, 3, 0), (6, 4, 3, 972)],
        )
        self.assertEqual({each.id for each in packets}, {9})

    def test_batches_wrap(self) -> None:
        """Behind batch 255 comes 0."""
        self.begin(first_batch=254)
        self.add(*[1] * 4)
        self.assertEqual([each.batch for each in self.deliver()], [254, 255, 0, 1])

    def test_packets_wrap(self) -> None:
        """Behind packet 2^32 - 1 comes 0."""
        self.begin(first_packet=2**32 - 2)
        self.add(*[1] * 4)
        self.assertEqual([each.number for each in self.deliver()], [2**32 - 2, 2**32 - 1, 0, 1])

    @settings(deadline=None)
    @given(
        st.lists(st.integers(1, 140), min_size=1, max_size=6),
        st.sampled_from([1, 100, 126, 127, 128, 2**32 - 130, 2**32 - 2, 2**32 + 120]),
    )
    def test_straddling(self, counts: list[int], first: int) -> None:
        """No batch of several packets reaches over 127|128 or 2^32, and none leaves out a number within itself."""
        self.begin(first_packet=first)
        self.add(*(DATA_PAYLOAD * count for count in counts))
        batches: dict[int, list[int]] = {}
        for packet in self.deliver():
            batches.setdefault(packet.batch, []).append(packet.number)
        self.assertEqual([len(numbers) for numbers in batches.values()], counts)
        for numbers in batches.values():
            self.assertEqual(numbers, [(numbers[0] + at) & 0xFFFF_FFFF for at in range(len(numbers))])
            if len(numbers) > 1:
                self.assertLess(numbers[0], numbers[-1])
                self.assertEqual(numbers[0] < 128, numbers[-1] < 128)

    def test_no_needless_skip(self) -> None:
        """A batch that ends at 127, and single packets, leave out nothing; one that begins at 127 begins at 128."""
        self.begin(first_packet=126)
        self.add(2 * DATA_PAYLOAD, 1)
        self.assertEqual([each.number for each in self.deliver()], [126, 127, 128])
        self.begin(first_packet=127)
        self.add(2 * DATA_PAYLOAD)
        self.assertEqual([each.number for each in self.deliver()], [128, 129])
        self.begin(first_packet=2**32 - 2)
        self.add(2 * DATA_PAYLOAD, 2 * DATA_PAYLOAD)
        self.assertEqual([each.number for each in self.deliver()], [2**32 - 2, 2**32 - 1, 0, 1])

    def test_quarantine(self) -> None:
        """The number of a batch of several packets of which one was sent again is left out for two timeouts."""
        self.add(2 * DATA_PAYLOAD, 1)
        packets = self.leave()
        self.late(1)
        self.assertEqual([each.number for each in self.leave()], [1, 2, 3])
        self.ack(packets)
        self.add(*[1] * 256)
        self.assertEqual([each.batch for each in self.deliver()][252:], [255, 0, 2, 3])
        self.add(*[1] * 252)
        self.assertNotIn(1, [each.batch for each in self.deliver()[:-1]])
        self.now += 2 * TIMEOUT
        self.add(*[1] * 256)
        self.assertIn(1, [each.batch for each in self.deliver()])

    def test_skipped(self) -> None:
        """A number that is left out is not waited for: what waits then waits for the window."""
        self.add(2 * DATA_PAYLOAD)
        packets = self.leave()
        self.late(1)
        self.leave()
        self.ack(packets)
        self.add(*[1] * 249)
        self.deliver()
        self.add(*[1] * 20)
        self.now += 2 * TIMEOUT - 0.01
        self.assertEqual([each.batch for each in self.leave()], [251, 252, 253, 254, 255, 0, 2])
        self.assertEqual(self.departures.next_timeout(), self.departures.flight.next_timeout())

    def test_no_quarantine(self) -> None:
        """A batch that was sent once, and a single packet whatever became of it, have none."""
        self.add(2 * DATA_PAYLOAD, 1)
        packets = self.leave()
        self.ack(packets[:2])
        self.late(1)
        self.assertEqual(self.leave(), packets[2:])
        self.ack(packets[2:])
        self.add(*[1] * 256)
        self.assertEqual([each.batch for each in self.deliver()], [*range(3, 256), 0, 1, 2])

    def test_all_in_quarantine(self) -> None:
        """When no number is left, the next message waits until one is, and the timer says when."""
        for _ in range(256):
            self.add(2 * DATA_PAYLOAD)
            packets = self.leave()
            self.now += 0.001
            for packet in packets:
                self.departures.missed(packet.number, self.now)
            self.leave()
            self.ack(packets)
        self.assertEqual(self.departures.next_timeout(), None)
        (unwanted,) = self.add(1)
        self.assertEqual(self.leave(), [])
        self.sending.cancel(unwanted)
        self.assertEqual(self.departures.next_timeout(), None)
        self.add(1)
        self.assertEqual(self.leave(), [])
        at = self.departures.next_timeout()
        assert at is not None
        self.assertGreater(at, self.now)
        self.now = at
        self.assertEqual([each.batch for each in self.leave()], [1])


class FlightTests(DeparturesCase):
    """What may be in flight."""

    def test_window(self) -> None:
        """Seven packets are in flight at most, and one more leaves for each that is acknowledged."""
        self.add(*[10] * 20)
        packets = self.leave()
        self.assertEqual(len(packets), MOST_IN_FLIGHT)
        self.assertLess(MOST_IN_FLIGHT * DATA_PAYLOAD, 8_196)
        self.ack(packets[3:5])
        self.assertEqual(len(self.leave()), 2)

    def test_settled(self) -> None:
        """A message is settled when all its packets are acknowledged, in whatever order, and once."""
        message, other = self.add(3 * DATA_PAYLOAD, 1)
        packets = self.leave()
        self.ack([packets[2], packets[3], packets[0]])
        self.assertEqual(self.sending.settled, [other])
        self.ack([packets[1]])
        self.assertEqual(self.sending.settled, [other, message])
        self.assertFalse(self.departures.acked(packets[1].number, self.now))
        self.assertFalse(self.departures.acked(77, self.now))

    def test_batches(self) -> None:
        """No more than 250 batches are used from the oldest that is not acknowledged on."""
        self.add(*[1] * 300)
        first = self.leave()
        self.ack(first[1:])
        self.assertEqual(len(first[1:]) + len(self.deliver_behind(first[0])), MOST_BATCHES - 1)
        self.ack(first[:1])
        self.assertEqual(len(self.leave()), MOST_IN_FLIGHT)

    def deliver_behind(self, stuck: BatchData) -> list[BatchData]:
        """All that leaves beside a packet that is not acknowledged."""
        found: list[BatchData] = []
        while packets := [each for each in self.leave() if each != stuck]:
            self.ack(packets)
            found += packets
        return found

    def test_begun(self) -> None:
        """Beside an incomplete message, no more is begun than a receiver can be expected to hold."""
        self.add(3 * DATA_PAYLOAD, MOST_BEGUN, 1)
        packets = self.leave()
        self.assertEqual(len(packets), 3)
        self.ack(packets)
        self.assertEqual({each.batch for each in self.leave()}, {2})

    def test_repeated(self) -> None:
        """What is not acknowledged is sent again as it was, later each time, but within C{delivery_timeout}."""
        self.add(1)
        (packet,) = self.leave()
        waits = []
        for _ in range(12):
            at = self.departures.next_timeout()
            assert at is not None
            waits.append(round(at - self.now, 6))
            self.now = at
            self.assertEqual(self.leave(), [packet])
        self.assertEqual(sorted(waits), waits)
        self.assertAlmostEqual(waits[-1], TIMEOUT)
        self.assertLess(waits[0], 1)

    def test_steady(self) -> None:
        """However steady the round trip is, nothing is sent again that is answered a little later than ever."""
        for _ in range(200):
            self.add(1)
            packets = self.leave()
            self.assertEqual(len(packets), 1)
            self.now += 0.02
            self.ack(packets)
        self.add(1)
        packets = self.leave()
        self.now += 0.035
        self.assertEqual(self.leave(), [])
        self.ack(packets)

    def test_missed(self) -> None:
        """What the peer asks for is sent again at once, but once in a round trip; what is not in flight is not."""
        self.add(1, 1)
        packets = self.leave()
        self.assertTrue(self.departures.missed(1, self.now))
        self.assertEqual(self.leave(), packets[:1])
        self.assertFalse(self.departures.missed(1, self.now))
        self.assertFalse(self.departures.missed(3, self.now))
        self.assertEqual(self.leave(), [])
        self.now += 0.11
        self.assertTrue(self.departures.missed(1, self.now))

    def test_cancelled(self) -> None:
        """A message that has begun leaves whole, though nobody waits for it: pieces would stay at the peer."""
        (message,) = self.add(20 * DATA_PAYLOAD)
        packets = self.leave()
        self.sending.cancel(message)
        self.ack(packets)
        self.assertEqual(len(packets) + len(self.deliver()), 20)
        self.assertEqual(self.sending.settled, [])
