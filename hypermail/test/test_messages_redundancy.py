"""
Tests for L{hypermail.messages.redundancy}: datagram by datagram, then what it does to latency.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from hypermail.errors import MessageCancelled, UsageError
from hypermail.link.payload import Payload
from hypermail.messages.departing import LENGTH
from hypermail.messages.lanes import LaneProperties
from hypermail.messages.redundancy import LARGEST_COPY, LATEST, SOONEST, Copies
from hypermail.options import Delivery
from hypermail.test.latency import latencies, percentile
from hypermail.test.test_messages_outgoing import ROOM, SendingCase, numbers, packets
from hypermail.testing import Conditions, Pair
from hypermail.wire.packets import BLOCKS, StreamBlocks

#: s; the round trip of most tests, and an eighth of it, which a copy waits.
ROUND_TRIP = 0.064
WAIT = 0.008


class LaneTests(SendingCase):
    """What a lane may be."""

    def test_redundancy(self) -> None:
        """Redundancy goes from 0 to 3; direct messages have none."""
        for redundancy in (0, 1, 2, 3):
            self.sending.configure(redundancy, LaneProperties(redundancy=redundancy))
        for wrong in (-1, 4):
            self.assertRaises(UsageError, self.sending.configure, 9, LaneProperties(redundancy=wrong))
        direct = LaneProperties(delivery=Delivery.DIRECT, redundancy=1)
        self.assertRaises(UsageError, self.sending.configure, 9, direct)

    def test_first_use(self) -> None:
        """Redundancy is fixed like the other properties."""
        self.sending.configure(1, LaneProperties(redundancy=2))
        self.assertRaises(UsageError, self.sending.configure, 1, LaneProperties(redundancy=1))

    def test_untold(self) -> None:
        """The peer reads of a redundant lane what it reads of another."""
        self.assertEqual(LaneProperties(redundancy=3).flags, LaneProperties().flags)

    def test_without(self) -> None:
        """Lanes without redundancy make nothing that would have to be asked."""
        self.send(b"once")
        self.assertIsNone(self.sending.copies)


class CopiesTests(SendingCase):
    """Which datagrams have copies."""

    redundancy = 1

    def setUp(self) -> None:
        super().setUp()
        self.sending.configure(0, LaneProperties(redundancy=self.redundancy))
        self.now = 100.0

    @property
    def copies(self) -> Copies:
        assert self.sending.copies is not None
        return self.sending.copies

    def leave(self, after: float = 0.0, room: int = ROOM) -> tuple[Payload, list[tuple[int, int]]]:
        """Fill a datagram as an outlet does. @return: it, and what messages it has."""
        self.now += after
        self.copies.begin(self.now, ROUND_TRIP)
        payload = Payload(room)
        if self.copies.due:
            self.copies.fill(payload, room // 2)
        for urgent in (True, False):
            if not payload.full:
                self.sending.fill(payload, ROOM, urgent=urgent)
        self.copies.fill(payload, 0)
        self.assertEqual(room - sum(map(len, payload.parts)), payload.room)
        self.assertGreaterEqual(payload.room, 0)
        return payload, numbers(packets(payload))

    def acked(self, payload: Payload) -> None:
        """The peer's link has a datagram."""
        for source, start, stop in payload.contents:
            source.acked(start, stop)

    def lost(self, payload: Payload) -> None:
        """A datagram is lost."""
        for source, start, stop in payload.contents:
            source.lost(start, stop)

    def test_next_datagram(self) -> None:
        """A message rides again behind the next one, once."""
        for data, expected in ((b"a", [(0, 0)]), (b"b", [(0, 1), (0, 0)]), (b"c", [(0, 2), (0, 1)])):
            self.send(data)
            self.assertEqual(self.leave(SOONEST)[1], expected)
        self.assertEqual(self.copies.sent, 2)

    def test_not_at_once(self) -> None:
        """Not in a datagram of the same moment, which a burst of losses would take, too."""
        self.send(b"a")
        self.leave()
        self.assertEqual(self.leave(SOONEST * 0.9)[1], [])
        self.assertEqual(self.leave(SOONEST * 0.2)[1], [(0, 0)])

    def test_by_itself(self) -> None:
        """When no datagram leaves for an eighth of the round trip the copy does; till then it has nothing to say."""
        self.send(b"a")
        self.leave()
        self.assertFalse(self.copies.due)
        self.assertAlmostEqual(self.sending.deadline() or 0.0, self.now + WAIT)
        self.copies.begin(self.now + WAIT, ROUND_TRIP)
        self.assertTrue(self.copies.due)
        self.assertIsNone(self.sending.deadline())
        self.assertFalse(self.sending.has_more)
        self.assertEqual(self.leave(WAIT)[1], [(0, 0)])
        self.assertFalse(self.copies.due)
        self.assertIsNone(self.sending.deadline())

    def test_wait(self) -> None:
        """It waits neither longer than 10 ms nor less than 2, whatever the round trip."""
        for serial, (round_trip, wait) in enumerate(((1.0, LATEST), (0.0001, SOONEST))):
            self.send(b"a")
            self.copies.begin(self.now, round_trip)
            self.sending.fill(Payload(ROOM), ROOM, urgent=False)
            self.assertAlmostEqual(self.sending.deadline() or 0.0, self.now + wait)
            self.settle(serial + 1)
            self.now += 1.0

    def test_expiry_first(self) -> None:
        """Of a copy and a message that expires the earlier decides when to wake up."""
        self.send(b"a", expires=self.now + 1)
        self.leave()
        self.assertAlmostEqual(self.sending.deadline() or 0.0, self.now + WAIT)
        self.send(b"b", lane=1, expires=self.now + WAIT / 2)
        self.assertEqual(self.sending.deadline(), self.now + WAIT / 2)

    def test_acked(self) -> None:
        """What the peer's link has does not ride again."""
        self.send(b"a")
        payload, _ = self.leave()
        self.acked(payload)
        self.assertIsNone(self.sending.deadline())
        self.assertEqual(self.leave(WAIT)[1], [])

    def test_settled(self) -> None:
        """Nor does what the peer's application has."""
        self.send(b"a")
        self.leave()
        self.settle(1)
        self.assertIsNone(self.sending.deadline())

    def test_cancelled(self) -> None:
        """Nor what is withdrawn."""
        message = self.send(b"a")
        self.leave()
        self.sending.cancel(message, MessageCancelled(""))
        self.assertIsNone(self.sending.deadline())
        self.assertEqual(self.leave(WAIT)[1], [])

    def test_session_over(self) -> None:
        """Nor anything of a session that is over."""
        self.send(b"a")
        self.leave()
        self.sending.give_up(MessageCancelled(""))
        self.assertIsNone(self.sending.deadline())

    def test_large(self) -> None:
        """What is larger than 512 bytes rides once; what shares its run is copied all the same."""
        for size in (3, LARGEST_COPY + 1, LARGEST_COPY):
            self.send(bytes(size))
        self.assertEqual(self.leave()[1], [(0, 0), (0, 1), (0, 2)])
        self.assertEqual(self.leave(WAIT)[1], [(0, 0), (0, 2)])

    def test_fragments(self) -> None:
        """What goes in fragments has no copies."""
        self.send(bytes(3_000))
        while self.sending.has_more:
            self.leave()
        self.assertIsNone(self.sending.deadline())

    def test_runs(self) -> None:
        """Copies whose numbers follow each other share one packet."""
        for _ in range(5):
            self.send(b"a")
        self.leave()
        payload, found = self.leave(WAIT)
        self.assertEqual(found, [(0, number) for number in range(5)])
        self.assertEqual(len(packets(payload)), 1)

    def test_lanes(self) -> None:
        """Copies of several lanes share a datagram, each lane in packets of its own."""
        self.sending.configure(1, LaneProperties(redundancy=1))
        for lane, size in ((1, 600), (0, 1), (1, 1)):
            self.send(bytes(size), lane=lane)
            self.leave()
        payload, found = self.leave(WAIT)
        self.assertEqual(found, [(0, 0), (1, 1)])
        self.assertEqual(len(packets(payload)), 2)

    def test_longest_run(self) -> None:
        """A packet holds no more copies than it does messages."""
        for _ in range(600):
            self.send(b"")
        self.leave(room=4_000)
        payload, found = self.leave(WAIT, room=4_000)
        self.assertEqual(found, [(0, number) for number in range(600)])
        self.assertEqual([len(run.messages) for run in packets(payload) if isinstance(run, StreamBlocks)], [512, 88])

    def test_new_first(self) -> None:
        """Before it is due a copy takes what room new messages leave, or waits for another datagram."""
        self.send(bytes(500))
        self.leave()
        self.send(bytes(1_100))
        self.assertEqual(self.leave(SOONEST)[1], [(0, 1)])
        self.assertEqual(self.leave()[1], [(0, 0)])

    def test_due_first(self) -> None:
        """When it is due it has half of the next datagram, whatever else waits."""
        for _ in range(2):
            self.send(bytes(500))
        self.leave()
        for _ in range(6):
            self.send(bytes(100))
        self.assertEqual(self.leave(WAIT)[1], [(0, 0), *((0, number) for number in range(2, 8))])
        self.assertEqual(self.leave()[1], [(0, 1)])

    def test_spare(self) -> None:
        """What is to be left of a datagram is left, to the byte."""
        self.send(bytes(100))
        self.leave()
        self.copies.begin(self.now + WAIT, ROUND_TRIP)
        whole = Payload(ROOM)
        size = BLOCKS.size + LENGTH + 100
        self.copies.fill(whole, ROOM - size + 1)
        self.assertEqual(whole.parts, [])
        self.copies.fill(whole, ROOM - size)
        self.assertEqual(numbers(packets(whole)), [(0, 0)])
        self.assertEqual(whole.room, ROOM - size)

    def test_lost_once(self) -> None:
        """The loss of one sending is no matter while another is on its way, or has arrived."""
        self.send(b"a")
        first, _ = self.leave()
        second, _ = self.leave(WAIT)
        self.lost(first)
        self.assertFalse(self.sending.has_more)
        self.acked(second)
        self.lost(first)
        self.lost(second)
        self.assertFalse(self.sending.has_more)

    def test_acked_then_lost(self) -> None:
        """Nor is the loss of the copy when the first has arrived."""
        self.send(b"a")
        first, _ = self.leave()
        second, _ = self.leave(WAIT)
        self.acked(first)
        self.lost(second)
        self.assertFalse(self.sending.has_more)

    def test_lost_before_copy(self) -> None:
        """What was lost before its copy could leave is sent again at once, and the copy follows that."""
        self.send(b"a")
        first, _ = self.leave()
        self.lost(first)
        self.assertTrue(self.sending.has_more)
        self.assertIsNone(self.sending.deadline())
        self.assertEqual(self.leave()[1], [(0, 0)])
        self.assertEqual(self.leave(WAIT)[1], [(0, 0)])

    def test_all_lost(self) -> None:
        """When every sending is lost the message is sent anew, and rides again as at first."""
        self.send(b"a")
        first, _ = self.leave()
        second, _ = self.leave(WAIT)
        for payload in (first, second):
            self.lost(payload)
        self.assertTrue(self.sending.has_more)
        third, found = self.leave()
        self.assertEqual(found, [(0, 0)])
        self.assertEqual(self.leave(WAIT)[1], [(0, 0)])
        self.assertEqual(self.leave(WAIT)[1], [])
        self.lost(second)  # a probe's loss is told twice
        self.assertFalse(self.sending.has_more)
        self.acked(third)

    def test_late(self) -> None:
        """An acknowledgement that comes after the loss spares the sending anew."""
        self.send(b"a")
        first, _ = self.leave()
        self.lost(first)
        self.acked(first)
        self.assertFalse(self.sending.has_more)

    def test_late_after_new(self) -> None:
        """One that comes after the message has left anew spares the copy."""
        self.send(b"a")
        first, _ = self.leave()
        self.lost(first)
        second, _ = self.leave()
        self.acked(first)
        self.lost(second)
        self.assertFalse(self.sending.has_more)
        self.assertIsNone(self.sending.deadline())

    def test_lost_withdrawn(self) -> None:
        """What was withdrawn meanwhile is not sent again."""
        message = self.send(b"a")
        first, _ = self.leave()
        self.sending.cancel(message, MessageCancelled(""))
        self.lost(first)
        self.assertEqual(self.leave()[1], [])


class MoreCopiesTests(CopiesTests):
    """The same of a lane that has three copies; what differs is here."""

    redundancy = 3

    def test_next_datagram(self) -> None:
        """A message rides in each of the next three datagrams."""
        found = []
        for data in (b"a", b"b", b"c", b"d", b"e"):
            self.send(data)
            found.append(sorted(number for _, number in self.leave(SOONEST)[1]))
        self.assertEqual(found, [[0], [0, 1], [0, 1, 2], [0, 1, 2, 3], [1, 2, 3, 4]])

    def test_by_itself(self) -> None:
        """Copies that leave by themselves are spaced by an eighth of the round trip."""
        self.send(b"a")
        self.leave()
        for _ in range(3):
            self.assertAlmostEqual(self.sending.deadline() or 0.0, self.now + WAIT)
            self.assertEqual(self.leave(WAIT)[1], [(0, 0)])
        self.assertIsNone(self.sending.deadline())

    def test_all_lost(self) -> None:
        """Only when the last sending is lost, too, the message is sent anew."""
        self.send(b"a")
        sendings = [self.leave(WAIT)[0] for _ in range(4)]
        for payload in sendings[:-1]:
            self.lost(payload)
            self.assertFalse(self.sending.has_more)
        self.lost(sendings[-1])
        self.assertTrue(self.sending.has_more)


class ConnectionTests(SynchronousTestCase):
    """Between two sides."""

    def test_lone_message(self) -> None:
        """A lone message whose datagram is lost arrives an eighth of the round trip late."""
        pair = Pair(1, Conditions(delay=0.04))
        pair.open()
        pair.run_to_quiescence()
        pair.starter.configure_lane(0, redundancy=1)
        forth = pair.network.direction(pair.starter.node.address[0], pair.listener.node.address[0])
        pair.network.set_conditions(
            Conditions(delay=0.04, lost_numbers=(forth.counters.sent + 1,)), destination=pair.listener.node.address[0]
        )
        began = pair.now
        pair.starter.send_message(b"urgent")
        pair.run(lambda: bool(pair.listener.application.received))
        self.assertTrue(0.0499 < pair.now - began < 0.0501)
        self.assertEqual(pair.starter.connection.statistics()["messages_again"], 1)
        pair.close()
        pair.assert_delivered()

    def test_without(self) -> None:
        """Sessions without such lanes count none."""
        pair = Pair(1)
        pair.open()
        self.assertEqual(pair.starter.connection.statistics()["messages_again"], 0)

    def test_window(self) -> None:
        """Copies leave by themselves only when the window has room for a datagram; else they wait for new messages."""
        pair = Pair(1, Conditions(delay=0.04))
        pair.open()
        side = pair.starter
        side.configure_lane(0, redundancy=1)
        pair.run_for(0.1)
        side.connection._link.route.congestion.window = 2_400
        side.send_message(bytes(1_150), lane=1)
        side.send_message(bytes(100))
        steps = 0
        until = pair.now + 0.03
        while pair.network.next_event() <= until:
            pair.step()
            steps += 1
        self.assertLess(steps, 10)  # nothing is asked of the clock again and again
        pair.run_for(until - pair.now)
        self.assertEqual(side.connection.statistics()["messages_again"], 0)
        side.send_message(b"new")
        pair.run_for(0)
        self.assertEqual(side.connection.statistics()["messages_again"], 1)
        pair.close()
        pair.assert_delivered()

    def test_with_the_next(self) -> None:
        """A copy rides with the next message, and needs no datagram then."""
        pair = Pair(1, Conditions(delay=0.04))
        pair.open()
        pair.run_to_quiescence()
        side = pair.starter
        side.configure_lane(0, redundancy=1)
        before = side.connection.statistics()["datagrams_sent"]
        for _ in range(3):
            side.send_message(b"a")
            pair.run_for(0.004)
        found = side.connection.statistics()
        self.assertEqual((found["messages_again"], found["datagrams_sent"] - before), (2, 3))

    def test_beside_bulk(self) -> None:
        """A copy comes through when it is due, though something else fills every datagram."""
        pair = Pair(1, Conditions(delay=0.04))
        pair.open()
        pair.run_to_quiescence()
        side = pair.starter
        side.configure_lane(0, redundancy=1)
        side.send_message(bytes(200))
        pair.run_for(0.0099)
        for _ in range(30):
            side.connection.send_message(bytes(1_150), lane=1, now=pair.now)
        pair.run_for(0.0002)
        found = side.connection.statistics()
        self.assertGreater(found["messages_queued"], 0)
        self.assertEqual(found["messages_again"], 1)
        pair.close()

    def test_paced(self) -> None:
        """A copy that waits for its pace alone leaves when that allows it."""
        pair = Pair(1, Conditions(delay=0.25))
        pair.open()
        pair.run_to_quiescence()
        side = pair.starter
        side.configure_lane(0, redundancy=1)
        side.send_message(bytes(200))
        pair.run_for(0.0099)
        side.connection._link.allowance.spent(5_000)
        pair.run_for(0.01)
        self.assertEqual(side.connection.statistics()["messages_again"], 0)
        pair.run_for(0.2)
        self.assertEqual(side.connection.statistics()["messages_again"], 1)
        pair.close()


class LatencyTests(SynchronousTestCase):
    """200 bytes, 100 times a second in order, through a network of 50 ms there and back; s of virtual time."""

    def check(self, redundancy: int, one: float, five: float, seeds: int) -> None:
        """Assert the 99th percentile, of all messages with some seeds, at 1 and 5 % of loss."""
        for loss, limit in ((0.01, one), (0.05, five)):
            every: list[float] = []
            for seed in range(seeds):
                found, pair = latencies(seed, loss, redundancy)
                every += found
                pair.close()
            self.assertLessEqual(percentile(sorted(every), 99), limit, f"loss {loss}")

    def test_plain(self) -> None:
        """Without redundancy a loss costs a round trip."""
        self.check(0, 0.095, 0.130, 1)

    def test_redundant(self) -> None:
        """With it, an eighth of one."""
        self.check(1, 0.045, 0.060, 3)
