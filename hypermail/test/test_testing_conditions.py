"""
Tests of L{hypermail.testing.conditions} and L{hypermail.testing.direction}: each fault as often, as long and as late as
it was asked for.
"""

from __future__ import annotations

from itertools import groupby
from math import inf
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from hypermail.link.ecn import CE, ECT0, ECT1, NOT_ECT
from hypermail.testing import Blackhole, Conditions, Counters, Direction
from hypermail.testing.direction import Arrival

#: Datagrams of a statistical test. Bounds are five standard deviations, and the seeds fixed.
MANY = 20_000


def numbered(count: int) -> list[bytes]:
    """Datagrams that can be told apart."""
    return [number.to_bytes(4, "big") for number in range(count)]


def through(conditions: Conditions, count: int = MANY, spacing: float = 0.0, seed: int = 1) -> Passage:
    """Send numbered datagrams through a direction."""
    return Passage(conditions, count, spacing, seed)


class Passage:
    """
    What has become of numbered datagrams.

    @ivar copies: what arrives, by when they were sent.
    @ivar arrived: numbers of unharmed datagrams in the order of arrival, with repetitions.
    """

    def __init__(self, conditions: Conditions, count: int, spacing: float, seed: int) -> None:
        self.direction = Direction(conditions, Random(seed), 100.0, 28)
        self.sent = numbered(count)
        self.copies: list[list[Arrival]] = [
            self.direction.carry(datagram, 100.0 + number * spacing) for number, datagram in enumerate(self.sent)
        ]
        flat = sorted((copy for copies in self.copies for copy in copies), key=lambda copy: copy[0])
        self.arrived = [int.from_bytes(datagram, "big") for _, datagram, _ in flat]

    @property
    def counters(self) -> Counters:
        return self.direction.counters

    def delays(self, spacing: float = 0.0) -> list[float]:
        """s that the first copy of each datagram took, of those that arrived."""
        return [copies[0][0] - 100.0 - number * spacing for number, copies in enumerate(self.copies) if copies]


class ConditionsTests(SynchronousTestCase):
    """What conditions are refused."""

    def test_refused(self) -> None:
        """Values that mean nothing are refused with the field's name."""
        for wrong in (
            {"loss": 1.1},
            {"duplication": -0.1},
            {"delay": -1.0},
            {"jitter": inf},
            {"bandwidth": 0},
            {"mtu": 0},
            {"reordering_delay": (0.2, 0.1)},
            {"queue_bytes": 1_000},
            {"mark_bytes": 0, "bandwidth": 1e6},
            {"codepoints": (0, 1, 2)},
            {"codepoints": (0, 1, 2, 4)},
            {"longest_loss": 0},
        ):
            error = self.assertRaises(ValueError, Conditions, **wrong)
            name = next(iter(wrong))
            self.assertIn(name.split("_")[0], str(error))

    def test_moreLossThanRunsAllow(self) -> None:
        """With runs of at most one, and one datagram passing between two, no more than half can be lost."""
        Conditions(loss=0.5, longest_loss=1)
        self.assertIn("50%", str(self.assertRaises(ValueError, Conditions, loss=0.51, longest_loss=1)))
        self.assertRaises(ValueError, Conditions, loss=1.0, longest_loss=3)

    def test_blackholes(self) -> None:
        """A blackhole has a beginning, an end, and a repetition that leaves some time between."""
        self.assertRaises(ValueError, Blackhole, 2, 2)
        self.assertRaises(ValueError, Blackhole, -1, 2)
        self.assertRaises(ValueError, Blackhole, 5, 7, every=2)
        once, again = Blackhole(5, 7), Blackhole(5, 7, every=7)
        times = (0, 4.99, 5, 6.99, 7, 11.99, 12, 13.99, 14, 705)
        self.assertEqual([once.covers(s) for s in times], [s in (5, 6.99) for s in times])
        self.assertEqual([again.covers(s) for s in times], [s in (5, 6.99, 12, 13.99, 705) for s in times])
        self.assertTrue(Blackhole(1, inf).covers(1e9))

    def test_countersAddUp(self) -> None:
        """Counters are added field by field, and tell what isn't zero."""
        total = Counters(sent=1, lost=2) + Counters(sent=3, oversized=5)
        self.assertEqual(total, Counters(sent=4, lost=2, oversized=5))
        self.assertEqual(str(total), "sent 4, lost 2, oversized 5")
        self.assertEqual(str(Counters()), "nothing")


class FaultTests(SynchronousTestCase):
    """Faults of single datagrams."""

    def test_perfect(self) -> None:
        """By default everything arrives at once, in order."""
        passage = through(Conditions(), 100)
        self.assertEqual(passage.arrived, list(range(100)))
        self.assertEqual(set(passage.delays()), {0.0})

    def test_loss(self) -> None:
        """Independent losses have the share that was asked for, and runs as long as chance makes them."""
        passage = through(Conditions(loss=0.3))
        self.assertApproximates(passage.counters.lost / MANY, 0.3, 0.017)
        self.assertEqual(len(passage.arrived), MANY - passage.counters.lost)
        self.assertEqual(passage.counters.lost_bytes, 4 * passage.counters.lost)
        self.assertGreater(max(self.runs(passage)), 5)
        self.assertEqual(through(Conditions(loss=1.0), 100).arrived, [])

    def test_lossInRuns(self) -> None:
        """Runs of losses are at most as long as was asked for, all lengths come, and the share is the same."""
        for loss, longest in ((0.02, 3), (0.3, 3), (0.3, 1), (0.5, 8)):
            passage = through(Conditions(loss=loss, longest_loss=longest))
            self.assertApproximates(passage.counters.lost / MANY, loss, 0.025)
            self.assertEqual(set(self.runs(passage)), set(range(1, longest + 1)))

    def runs(self, passage: Passage) -> list[int]:
        """The lengths of runs of losses."""
        return [len(list(group)) for lost, group in groupby(not copies for copies in passage.copies) if lost]

    def test_lostNumbers(self) -> None:
        """Single datagrams can be lost, counted from 1."""
        passage = through(Conditions(lost_numbers=range(2, 8)), 10)
        self.assertEqual(passage.arrived, [0, 7, 8, 9])
        self.assertEqual(through(Conditions(lost_numbers={1}), 3).arrived, [1, 2])

    def test_duplication(self) -> None:
        """As many as was asked for arrive twice, none three times."""
        passage = through(Conditions(duplication=0.2))
        self.assertApproximates(passage.counters.duplicated / MANY, 0.2, 0.015)
        self.assertEqual({len(copies) for copies in passage.copies}, {1, 2})
        self.assertEqual(len(passage.arrived), MANY + passage.counters.duplicated)

    def test_copiesTravelAlone(self) -> None:
        """Each copy of a datagram has its own jitter, reordering and corruption."""
        passage = through(
            Conditions(duplication=1.0, corruption=0.5, jitter=0.1, jitter_overtakes=True, reordering=0.5), 200
        )
        times = [first[0] != second[0] for first, second in passage.copies]
        self.assertGreater(sum(times), 190)
        harmed = [
            (first[1] != sent) != (second[1] != sent)
            for sent, (first, second) in zip(passage.sent, passage.copies, strict=True)
        ]
        self.assertApproximates(sum(harmed), 100, 36)

    def test_corruption(self) -> None:
        """One byte is changed, of as many as was asked for, half of the time by one bit."""
        passage = through(Conditions(corruption=0.05))
        single = 0
        for sent, copies in zip(passage.sent, passage.copies, strict=True):
            changes = [a ^ b for a, b in zip(sent, copies[0][1], strict=True) if a != b]
            self.assertLessEqual(len(changes), 1)
            single += bool(changes) and changes[0].bit_count() == 1
        corrupted = passage.counters.corrupted
        self.assertApproximates(corrupted / MANY, 0.05, 0.008)
        self.assertEqual(corrupted, sum(copies[0][1] != sent for sent, copies in zip(passage.sent, passage.copies)))
        self.assertApproximates(single / corrupted, 0.5 + 0.5 * 8 / 255, 0.08)

    def test_emptyDatagrams(self) -> None:
        """An empty datagram has no byte to change."""
        direction = Direction(Conditions(corruption=1.0), Random(1), 0.0, 28)
        self.assertEqual(direction.carry(b"", 0.0), [Arrival(0.0, b"", 0)])

    def test_reordering(self) -> None:
        """As many as was asked for come later than the others, by a time within the range; the others keep order."""
        passage = through(Conditions(delay=0.01, reordering=0.3, reordering_delay=(0.005, 0.030)), spacing=0.001)
        delays = passage.delays(0.001)
        late = [delay - 0.01 for delay in delays if delay > 0.0101]
        self.assertEqual(len(late), passage.counters.reordered)
        self.assertApproximates(len(late) / MANY, 0.3, 0.017)
        self.assertGreaterEqual(min(late), 0.005 - 1e-9)
        self.assertLessEqual(max(late), 0.030 + 1e-9)
        self.assertApproximates(sum(late) / len(late), 0.0175, 0.0005)
        on_time = [number for number, delay in enumerate(delays) if delay <= 0.0101]
        order = [number for number in passage.arrived if number in set(on_time)]
        self.assertEqual(order, on_time)
        self.assertNotEqual(passage.arrived, sorted(passage.arrived))

    def test_mtu(self) -> None:
        """The MTU is of IP packets: headers count; what is larger vanishes."""
        direction = Direction(Conditions(mtu=1_280), Random(1), 0.0, 28)
        self.assertEqual(len(direction.carry(bytes(1_252), 0.0)), 1)
        self.assertEqual(direction.carry(bytes(1_253), 0.0), [])
        self.assertEqual(direction.counters.oversized, 1)

    def test_blackhole(self) -> None:
        """In a blackhole everything vanishes that enters; its times count from the start of the network."""
        passage = through(Conditions(delay=1.0, blackholes=(Blackhole(2, 4), Blackhole(6, 7))), 10, spacing=1.0)
        self.assertEqual(passage.arrived, [0, 1, 4, 5, 7, 8, 9])
        self.assertEqual(passage.counters.blackholed, 3)


class TimeTests(SynchronousTestCase):
    """Delay, jitter, bandwidth and queue."""

    def test_delay(self) -> None:
        """The delay is the same for all."""
        self.assertEqual(through(Conditions(delay=0.5), 10).delays(), [0.5] * 10)

    def test_jitterKeepsOrder(self) -> None:
        """Jitter stays within its range, and by default nobody overtakes."""
        passage = through(Conditions(delay=0.02, jitter=0.01), spacing=0.002)
        delays = passage.delays(0.002)
        self.assertGreaterEqual(min(delays), 0.02 - 1e-9)
        self.assertLess(max(delays), 0.03 + 1e-9)
        self.assertGreater(max(delays) - min(delays), 0.009)
        self.assertEqual(passage.arrived, sorted(passage.arrived))

    def test_jitterOvertakes(self) -> None:
        """If wanted jitter is even, and datagrams overtake each other."""
        passage = through(Conditions(delay=0.02, jitter=0.01, jitter_overtakes=True), spacing=0.002)
        delays = passage.delays(0.002)
        self.assertApproximates(sum(delays) / MANY, 0.025, 0.0002)
        self.assertNotEqual(passage.arrived, sorted(passage.arrived))
        self.assertEqual(sorted(passage.arrived), list(range(MANY)))

    def test_bandwidth(self) -> None:
        """Datagrams leave the bottleneck one after the other, at its rate, headers counted."""
        direction = Direction(Conditions(bandwidth=1e6, delay=0.1), Random(1), 0.0, 28)
        arrivals = [direction.carry(bytes(1_222), 0.0)[0][0] for _ in range(5)]  # 1,250 bytes are 10 ms
        for arrival, expected in zip(arrivals, (0.11, 0.12, 0.13, 0.14, 0.15), strict=True):
            self.assertApproximates(arrival, expected, 1e-9)
        # An idle bottleneck does not save up.
        self.assertApproximates(direction.carry(bytes(1_222), 10.0)[0][0], 10.11, 1e-9)

    def test_queueOfDatagrams(self) -> None:
        """What does not fit the queue is dropped, the one that is being sent counted; room comes back with time."""
        direction = Direction(Conditions(bandwidth=1e6, queue_datagrams=3), Random(1), 0.0, 28)
        self.assertEqual([len(direction.carry(bytes(1_222), 0.0)) for _ in range(5)], [1, 1, 1, 0, 0])
        self.assertEqual(direction.counters.overflowed, 2)
        self.assertEqual([len(direction.carry(bytes(1_222), 0.0201)) for _ in range(3)], [1, 1, 0])

    def test_queueOfBytes(self) -> None:
        """The same in bytes: small datagrams fit where a large one doesn't."""
        direction = Direction(Conditions(bandwidth=1e6, queue_bytes=2_600), Random(1), 0.0, 28)
        sizes = (1_222, 1_222, 1_222, 72, 1)
        self.assertEqual([len(direction.carry(bytes(size), 0.0)) for size in sizes], [1, 1, 0, 1, 0])
        self.assertEqual([len(direction.carry(bytes(1_222), 0.0201)) for _ in range(3)], [1, 1, 0])

    def test_marks(self) -> None:
        """A queue that is longer than it should be marks what bears a codepoint, and drops as before."""
        direction = Direction(Conditions(bandwidth=1e6, queue_bytes=5_000, mark_bytes=2_500), Random(1), 0.0, 28)
        passed = [direction.carry(bytes(1_222), 0.0, ecn) for ecn in (ECT0, ECT0, ECT0, NOT_ECT, ECT0)]
        self.assertEqual([[copy.ecn for copy in copies] for copies in passed], [[ECT0], [ECT0], [CE], [NOT_ECT], []])
        self.assertEqual([copy.ecn for copy in direction.carry(bytes(1_222), 0.0201, ECT1)], [CE])
        self.assertEqual([copy.ecn for copy in direction.carry(bytes(1_222), 0.05, ECT1)], [ECT1])
        self.assertEqual((direction.counters.marked, direction.counters.overflowed), (2, 1))

    def test_codepoints(self) -> None:
        """Each codepoint becomes what was said, on both copies; None is where it vanishes, and counted as lost."""
        direction = Direction(Conditions(codepoints=(0, 2, 3, None), duplication=1.0), Random(1), 0.0, 28)
        passed = [[copy.ecn for copy in direction.carry(b"x", 0.0, ecn)] for ecn in range(4)]
        self.assertEqual(passed, [[0, 0], [2, 2], [3, 3], []])
        self.assertEqual(direction.counters.lost, 1)
        plain = Direction(Conditions(), Random(1), 0.0, 28)
        self.assertEqual([plain.carry(b"x", 0.0, ecn)[0].ecn for ecn in range(4)], [0, 1, 2, 3])

    def test_lossBeforeTheQueue(self) -> None:
        """What is lost takes no room in the queue and no time of the bottleneck."""
        conditions = Conditions(bandwidth=1e6, queue_datagrams=1, lost_numbers={1, 2, 3})
        direction = Direction(conditions, Random(1), 0.0, 28)
        arrivals = [direction.carry(bytes(1_222), 0.0) for _ in range(4)]
        self.assertEqual([len(copies) for copies in arrivals], [0, 0, 0, 1])
        self.assertApproximates(arrivals[3][0][0], 0.01, 1e-9)

    def test_conditionsChange(self) -> None:
        """New conditions are for what enters from then on."""
        direction = Direction(Conditions(delay=1.0), Random(1), 0.0, 28)
        self.assertEqual(direction.carry(b"a", 0.0), [Arrival(1.0, b"a", 0)])
        direction.conditions = Conditions(loss=1.0)
        self.assertEqual(direction.carry(b"b", 0.0), [])

    def test_sameSeedSameFate(self) -> None:
        """All chance comes from the seed."""
        storm = Conditions(loss=0.3, duplication=0.2, reordering=0.3, corruption=0.05, jitter=0.01, delay=0.01)
        self.assertEqual(through(storm, 500).copies, through(storm, 500).copies)
        self.assertNotEqual(through(storm, 500).copies, through(storm, 500, seed=2).copies)
