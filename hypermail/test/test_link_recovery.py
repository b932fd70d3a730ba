"""
Tests for L{hypermail.link.recovery}: RFC 9002 §6 and §7.6, and seed 001's C{delivery_timeout}.
"""

from __future__ import annotations

import gc

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hypermail.errors import ProtocolViolation
from hypermail.link.acks import MAX_ACK_DELAY
from hypermail.link.congestion import Acked
from hypermail.link.congestion.cubic import Cubic
from hypermail.link.payload import Sent
from hypermail.link.recovery import FIRST_PROBE, LAST_OPENING_PROBE, LONGEST_PROBE, PROBES, Recovery
from hypermail.link.rtt import RoundTrip
from hypermail.test.linking import Ledger, ack, send

STEPS = ["send", "ack", "time", "timeout", "long"]


class RecoveryTestCase(SynchronousTestCase):
    """A recovery with a real congestion controller, on a path of which nothing is known yet."""

    delivery_timeout = 1_000.0

    def setUp(self) -> None:
        self.rtt = RoundTrip()
        self.cubic = Cubic(1_200)
        self.recovery = Recovery(self.cubic, self.rtt, self.delivery_timeout)
        self.recovery.opening = False
        self.source = Ledger()

    def send(self, *times: float, long: bool = False) -> list[int]:
        """Send datagrams."""
        return send(self.recovery, self.source, times, long=long)

    def acknowledge(self, *numbers: int, now: float, delay: float = 0.0, long: bool = False) -> None:
        """Take an acknowledgement."""
        self.recovery.acknowledge(ack(*numbers, delay=delay), now, long)

    def measure(self, elapsed: float = 0.1, now: float = 0.0) -> None:
        """Have one datagram acknowledged, so that the round trip is known; then forget about it."""
        (number,) = self.send(now - elapsed)
        self.acknowledge(number, now=now)
        self.source.arrived.clear()

    def assertFate(self, arrived: list[int], gone: list[int]) -> None:
        """Exactly these datagrams' contents have been reported, in this order."""
        self.assertEqual([start for start, _ in self.source.arrived], arrived)
        self.assertEqual([start for start, _ in self.source.gone], gone)


class AcknowledgementTests(RecoveryTestCase):
    """What arrived."""

    def test_arrived(self) -> None:
        """What is acknowledged is reported with its range, once, and leaves the flight."""
        self.send(0.0, 0.0, 0.0)
        self.assertEqual(self.recovery.in_flight, 3_600)
        self.acknowledge(0, 2, now=0.1)
        self.assertEqual(sorted(self.source.arrived), [(0, 1), (2, 3)])
        self.assertEqual(self.recovery.in_flight, 1_200)
        self.acknowledge(0, 2, now=0.2)
        self.assertEqual(len(self.source.arrived), 2)
        self.assertEqual(self.recovery.in_flight, 1_200)

    def test_unsent(self) -> None:
        """Who acknowledges a number that was never sent breaks the protocol; nothing is taken of it."""
        self.send(0.0)
        for numbers in ((1,), (0, 1), (0, 1_000_000)):
            error = self.assertRaises(ProtocolViolation, self.acknowledge, *numbers, now=0.1)
            self.assertIn("never sent", error.text)
        self.assertFate([], [])
        self.assertFalse(self.rtt.measured)

    def test_numbers_without_content(self) -> None:
        """A datagram that carried nothing but an ack may be acknowledged, to no effect."""
        self.recovery.take_number()
        self.acknowledge(0, now=0.1)
        self.assertFate([], [])
        self.assertFalse(self.rtt.measured)

    def test_sample(self) -> None:
        """The round trip is measured by the largest number, less the peer's delay."""
        self.measure(0.1)
        numbers = self.send(1.0, 1.05)
        self.acknowledge(*numbers, now=1.17, delay=0.01)
        self.assertAlmostEqual(self.rtt.latest, 0.12)
        self.assertAlmostEqual(self.rtt.smoothed, 0.10125)

    def test_no_sample(self) -> None:
        """Nothing is measured when the largest number was acknowledged before (RFC 9002 §5.1)."""
        old, new = self.send(0.0, 0.0)
        self.acknowledge(new, now=0.1)
        self.acknowledge(old, new, now=5.0)
        self.assertEqual(self.rtt.latest, 0.1)
        self.assertFate([new, old], [])

    def test_window_grows(self) -> None:
        """The congestion controller hears of what arrived, and whether the window was what limited."""
        self.measure()
        before = self.cubic.window
        self.recovery.limited = True
        self.acknowledge(*self.send(*[0.1] * 10), now=0.2)
        self.assertEqual(self.cubic.window, before + 12_000)
        self.recovery.limited = False
        self.acknowledge(*self.send(*[0.3] * 20), now=0.4)
        self.assertEqual(self.cubic.window, before + 12_000)

    def test_delivery_rate(self) -> None:
        """
        What was delivered is counted from arrival to arrival: how long the peer has waited is taken off, as far as it
        may wait.
        """
        intervals = []  # a sample holds during the call only
        self.patch(Cubic, "acked", lambda cubic, news, rtt: intervals.append(news.sample.interval))
        self.acknowledge(*self.send(0.0), now=0.1)
        self.acknowledge(*self.send(0.1), now=0.22, delay=0.02)
        self.acknowledge(*self.send(0.22), now=0.4, delay=10.0)
        self.assertAlmostEqual(intervals[1], 0.1)
        self.assertAlmostEqual(intervals[2], 0.4 - MAX_ACK_DELAY - 0.22)

    def test_forgets(self) -> None:
        """What the controller was told of keeps no datagram once the call is over: a link that rests holds none."""
        told: list[int] = []
        self.patch(Cubic, "acked", lambda cubic, news, rtt: told.append(len(news.datagrams)))
        gc.collect()
        before = {id(object) for object in gc.get_objects() if type(object) is Sent}
        self.acknowledge(*self.send(0.0), now=0.1)
        self.assertEqual(told, [1])
        after = {id(object) for object in gc.get_objects() if type(object) is Sent}
        self.assertEqual(after - before, set())

    def test_long_acks(self) -> None:
        """An ack in a long datagram speaks of long ones only: before there are keys it may be anybody's."""
        long, short = self.send(0.0, long=True) + self.send(0.0)
        self.acknowledge(long, short, now=0.1, long=True)
        self.assertFate([long], [])
        self.assertEqual(self.recovery.in_flight, 1_200)
        self.acknowledge(long, short, now=0.2)
        self.assertFate([long, short], [])

    def test_short_acks(self) -> None:
        """An ack in a short datagram speaks of short ones only: anybody can make the long ones that it may count."""
        long, short = self.send(0.0, long=True), self.send(0.0)
        self.acknowledge(*long, *short, now=0.1)
        self.assertEqual(sorted(start for start, _ in self.source.arrived), short)
        self.assertEqual(self.recovery.in_flight, 1_200)

    def test_sample_of_long(self) -> None:
        """That they have served tells of the round trip, unless they were sent more than once, at different times."""
        for times, measured in (((0.0, 0.0), True), ((0.0, 1.0), False)):
            self.setUp()
            for time in times:
                self.send(time, long=True)
            self.recovery.forget_long(1.5)
            self.assertEqual(self.recovery._rtt.measured, measured)
            if measured:
                self.assertEqual(self.recovery._rtt.smoothed, 1.5)

    def test_forget_long(self) -> None:
        """When their keys are gone, long datagrams leave the flight, and nothing becomes of them."""
        self.send(0.0, long=True)
        short = self.send(0.0)
        self.recovery.forget_long(0.0)
        self.assertEqual(self.recovery.in_flight, 1_200)
        self.assertFate([], [])
        self.acknowledge(0, *short, now=0.1)
        self.assertFate(short, [])

    def test_flying(self) -> None:
        """What of a source is in flight can be told, apart from what others have there."""
        other = Ledger()
        self.send(0.0, 0.0)
        send(self.recovery, other, [0.0])
        self.send(0.0)
        self.assertEqual(list(self.recovery.flying(self.source)), [(0, 2), (3, 4)])
        self.assertEqual(list(self.recovery.flying(other)), [(2, 3)])
        self.acknowledge(1, now=0.1)
        self.assertEqual(list(self.recovery.flying(self.source)), [(0, 1), (3, 4)])

    def test_all_gone(self) -> None:
        """Ranges below what is in flight speak of what was lost, or arrived before: neither is taken twice."""
        self.send(*[0.0] * 10)
        self.acknowledge(9, 8, 5, 3, 1, now=0.1)
        self.acknowledge(9, 5, 4, 3, 2, 0, now=0.2)
        self.assertFate([1, 3, 5, 8, 9, 0, 2, 4], [0, 2, 4, 6])
        self.assertEqual(list(self.recovery.flying(self.source)), [(7, 8)])


class LossTests(RecoveryTestCase):
    """What was overtaken."""

    def test_packet_threshold(self) -> None:
        """What was overtaken by three is lost at once, what by two is not (RFC 9002 §6.1.1)."""
        self.measure()
        first, *_, last = self.send(0.0, 0.0, 0.0, 0.0)
        self.acknowledge(last - 1, now=0.05)
        self.assertFate([last - 1], [])
        self.acknowledge(last, now=0.05)
        self.assertFate([last - 1, last], [first])
        self.assertEqual((self.recovery.lost_datagrams, self.recovery.lost_bytes), (1, 1_200))
        self.assertEqual(self.recovery.in_flight, 1_200)

    def test_time_threshold(self) -> None:
        """What was overtaken at all is lost 9/8 of a round trip after it was sent (RFC 9002 §6.1.2)."""
        self.measure(0.08)
        first, second = self.send(0.0, 0.0)
        self.acknowledge(second, now=0.08)
        self.assertFate([second], [])
        deadline = self.recovery.deadline()
        assert deadline is not None
        self.assertAlmostEqual(deadline, 1.125 * 0.08)
        self.recovery.timeout(deadline - 1e-6)
        self.assertFate([second], [])
        self.recovery.timeout(deadline)
        self.assertFate([second], [first])
        self.assertEqual((self.recovery.probes, self.recovery.probe_timeouts), (0, 0))

    def test_overtaken_long_ago(self) -> None:
        """What is older than that when it is overtaken is lost with the very ack that shows it."""
        self.measure()
        first, second = self.send(0.0, 0.2)
        self.acknowledge(second, now=0.3)
        self.assertFate([second], [first])

    def test_not_overtaken(self) -> None:
        """What nothing overtook is not lost, whatever time passes: it is asked for."""
        self.measure()
        self.send(0.0)
        self.recovery.detect(900.0)
        self.assertFate([], [])

    def test_books_of_late(self) -> None:
        """What was declared lost, and is acknowledged, has arrived: once, and no flight is shortened by it."""
        self.measure()
        first, *rest = self.send(0.0, 0.0, 0.0, 0.0)
        self.acknowledge(*rest, now=0.1)
        (flying,) = self.send(0.15)
        for _ in range(2):
            self.acknowledge(first, *rest, now=0.2)
            self.assertEqual(self.source.gone, [(first, first + 1)])
            self.assertEqual(sorted(start for start, _ in self.source.arrived), [first, *rest])
            self.assertEqual(self.recovery.in_flight, 1_200)
            self.assertEqual((self.recovery.lost_datagrams, self.recovery.late_datagrams), (1, 1))
        self.acknowledge(flying, now=0.25)
        self.assertEqual(self.recovery.in_flight, 0)

    def test_late_with_others(self) -> None:
        """What comes late counts like what comes beside it, but the newest of them is what tells of the round trip."""
        self.measure()
        first, *rest = self.send(0.0, 0.0, 0.0, 0.0)
        self.acknowledge(*rest, now=0.1)
        (flying,) = self.send(0.15)
        told: list[tuple[int, int]] = []
        self.patch(Cubic, "acked", lambda cubic, news, rtt: told.append((news.size, news.newest.number)))
        self.acknowledge(first, *rest, flying, now=0.22)
        self.assertEqual(told, [(2_400, flying)])
        self.assertAlmostEqual(self.rtt.latest, 0.07)

    def test_in_doubt_no_more(self) -> None:
        """When all that was overtaken has arrived no timer is left of it."""
        self.measure()
        first, second = self.send(0.0, 0.0)
        self.acknowledge(second, now=0.08)
        self.assertIsNotNone(self.recovery.deadline())
        self.acknowledge(first, second, now=0.09)
        self.assertIsNone(self.recovery.deadline())

    def test_window_shrinks(self) -> None:
        """The congestion controller hears of loss."""
        self.measure()
        self.acknowledge(self.send(0.0, 0.0, 0.0, 0.0)[-1], now=0.1)
        self.assertEqual(self.cubic.window, 8_400)

    def test_undone(self) -> None:
        """When all that was declared lost has come after all, the window is what it was (RFC 9438 §4.9)."""
        self.measure()
        before = self.cubic.window
        first, second, *rest = self.send(*[0.0] * 6)
        self.acknowledge(*rest[1:], now=0.1)
        self.assertEqual(self.source.gone, [(first, first + 1), (second, second + 1), (rest[0], rest[0] + 1)])
        self.acknowledge(first, second, *rest[1:], now=0.11)
        self.assertLess(self.cubic.window, before, "one is still in doubt")
        self.acknowledge(first, second, *rest, now=0.12)
        self.assertEqual(self.cubic.window, before)

    def test_not_undone(self) -> None:
        """When one of them never comes the reaction stands, however many of the others do."""
        self.measure()
        first, second, *rest = self.send(*[0.0] * 5)
        self.acknowledge(*rest, now=0.1)
        self.acknowledge(second, *rest, now=0.12)
        (last,) = self.send(5.0)
        self.acknowledge(last, now=5.1)
        self.acknowledge(first, last, now=5.2)
        self.assertEqual(self.cubic.window, 8_400)
        self.assertEqual(self.recovery.late_datagrams, 1)

    def test_late_from_another_path(self) -> None:
        """What was lost on the path before, and is acknowledged now, is not counted on this one, by anybody."""
        self.measure()
        first, *rest = self.send(0.0, 0.0, 0.0, 0.0)
        self.acknowledge(*rest, now=0.1)
        cubic = Cubic(1_200)
        heard: list[Acked] = []
        self.patch(Cubic, "acked", lambda cubic, news, rtt: heard.append(news))
        self.patch(Cubic, "undo", lambda cubic: self.fail("a reaction on the path before is undone on this one"))
        self.rtt.restart(0.1)
        self.recovery.restart(cubic)
        self.source.arrived.clear()
        (new,) = self.send(0.2)
        self.acknowledge(first, *rest, new, now=0.3)
        self.assertEqual([start for start, _ in self.source.arrived], [new])
        self.assertEqual([(news.size, news.sample.total) for news in heard if news.sample], [(1_200, 1_200)])
        self.assertEqual(self.recovery.late_datagrams, 0)

    def test_reordering(self) -> None:
        """Once one has come late, numbers say nothing, and time is given as was seen, up to a round trip more."""
        self.measure(0.08)
        first, *rest = self.send(0.0, 0.0, 0.0, 0.0)
        self.acknowledge(*rest, now=0.08)
        self.assertEqual(len(self.source.gone), 1)
        self.acknowledge(first, *rest, now=0.11)
        numbers = self.send(*[0.2] * 20)
        self.acknowledge(numbers[-1], now=0.28)
        self.assertEqual(len(self.source.gone), 1, "overtaken by many, and not lost")
        deadline = self.recovery.deadline()
        assert deadline is not None
        # 9/8 of 80 ms, and what it was late beyond that with the margin
        self.assertAlmostEqual(deadline, 0.2 + 0.09 + 1.25 * (0.11 - 0.09))
        self.recovery.timeout(deadline)
        self.assertEqual(len(self.source.gone), 20)

    @settings(deadline=None, max_examples=200)
    @given(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 99)), max_size=60))
    def test_books_balance(self, steps: list[tuple[str, int]]) -> None:
        """Whatever happens, each datagram is in flight, arrived, or was reported lost, and the sum of bytes fits."""
        recovery = Recovery(Cubic(1_200), RoundTrip(), 5.0)
        recovery.opening = False
        source = Ledger()
        now = 0.0
        sent: list[int] = []
        for name, amount in steps:
            if name == "send":
                sent += send(recovery, source, [now] * (amount % 8), size=1_000)
            elif name == "ack" and sent:
                chosen = {sent[index * 7919 % len(sent)] for index in range(amount % 5 + 1)}
                recovery.acknowledge(ack(*chosen), now, False)
            elif name == "time":
                now += amount / 100
            elif name == "timeout":
                recovery.timeout(now)
            else:
                recovery.forget_long(now)
            flying = {n for start, stop in recovery.flying(source) for n in range(start, stop)}
            arrived = [start for start, _ in source.arrived]
            gone = {start for start, _ in source.gone}
            self.assertEqual(recovery.in_flight, 1_000 * len(flying))
            self.assertEqual(len(arrived), len(set(arrived)))
            self.assertFalse(flying & set(arrived))
            self.assertEqual(flying | set(arrived) | gone, set(sent))
            really = recovery.lost_datagrams - recovery.late_datagrams
            self.assertEqual(len(sent) - len(flying) - len(arrived), really)
            deadline = recovery.deadline()
            self.assertEqual(deadline is None, not flying)
            if deadline is not None:
                recovery.timeout(deadline)
                later = recovery.deadline()
                self.assertTrue(later is None or later > deadline, "a timer that does nothing makes a busy loop")
                now = max(now, deadline)


class ProbeTests(RecoveryTestCase):
    """Nothing was heard."""

    def timeouts(self, count: int) -> list[float]:
        """Let the timer run out so often. @return: the pauses between."""
        pauses = []
        last = self.recovery._last_sent
        for _ in range(count):
            deadline = self.recovery.deadline()
            assert deadline is not None
            self.recovery.timeout(deadline)
            pauses.append(round(deadline - last, 6))
            last = deadline
        return pauses

    def test_probe(self) -> None:
        """After a probe timeout two datagrams may leave, the oldest contents in them; nothing counts as lost."""
        self.measure()
        oldest, second, _ = self.send(0.0, 0.0, 0.01)
        deadline = self.recovery.deadline()
        assert deadline is not None
        self.assertAlmostEqual(deadline, 0.01 + self.rtt.probe_timeout)
        self.recovery.timeout(deadline - 1e-6)
        self.assertEqual(self.recovery.probes, 0)
        self.recovery.timeout(deadline)
        self.assertEqual(self.recovery.probes, PROBES)
        self.assertFate([], [oldest, second])
        self.assertEqual((self.recovery.in_flight, self.recovery.lost_datagrams), (3_600, 0))
        self.assertEqual(self.recovery.probe_timeouts, 1)

    def test_probes_are_used_up(self) -> None:
        """Each datagram that leaves uses a probe up, and an answer takes the rest away."""
        self.measure()
        self.send(0.0)
        self.timeouts(1)
        self.send(0.4)
        self.assertEqual(self.recovery.probes, PROBES - 1)
        self.acknowledge(1, now=0.5)
        self.assertEqual(self.recovery.probes, 0)

    def test_nothing_in_flight(self) -> None:
        """With nothing in flight there is nothing to ask for, and a timeout does nothing."""
        self.measure()
        self.assertIsNone(self.recovery.deadline())
        self.recovery.timeout(1e6)
        self.assertEqual((self.recovery.probes, self.recovery.probe_timeouts), (0, 0))

    def test_doubling(self) -> None:
        """On a short path the timeout doubles up to 250 ms and no further, so that a path that returns is found."""
        self.measure(0.01)
        self.assertAlmostEqual(self.rtt.probe_timeout, 0.055)
        self.send(0.0)
        self.assertEqual(self.timeouts(6), [0.055, 0.11, 0.22, LONGEST_PROBE, LONGEST_PROBE, LONGEST_PROBE])

    def test_long_path(self) -> None:
        """On a path whose timeout is longer than that it does not double at all."""
        self.measure(0.5)
        self.assertAlmostEqual(self.rtt.probe_timeout, 1.525)
        self.send(0.0)
        self.assertEqual(self.timeouts(30), [1.525] * 30)

    def test_answer_revives(self) -> None:
        """After an answer the doubling starts afresh."""
        self.measure(0.01)
        self.send(0.0)
        self.timeouts(4)
        (number,) = self.send(5.0)
        self.acknowledge(number, now=5.01)
        self.send(6.0)
        self.assertEqual(self.timeouts(1), [round(self.rtt.probe_timeout, 6)])

    def test_opening(self) -> None:
        """While the link opens: 200 ms first, doubling to 500, and even with nothing in flight."""
        self.recovery.opening = True
        self.assertEqual(self.timeouts(4), [FIRST_PROBE, 0.4, LAST_OPENING_PROBE, LAST_OPENING_PROBE])
        self.assertEqual(self.recovery.probes, PROBES)

    def test_opening_with_more(self) -> None:
        """While it opens the contents in flight are sent again, as later."""
        self.recovery.opening = True
        (number,) = self.send(3.0, long=True)
        self.assertEqual(self.timeouts(1), [FIRST_PROBE])
        self.assertFate([], [number])

    def test_opening_measured(self) -> None:
        """While it opens on a path that is known to be short it asks sooner, on a long one not later."""
        self.recovery.opening = True
        self.measure(0.01)
        self.assertEqual(self.timeouts(5), [0.055, 0.11, 0.22, 0.44, LAST_OPENING_PROBE])
        self.setUp()
        self.recovery.opening = True
        self.measure(2.0, now=5.0)
        self.assertEqual(self.timeouts(2)[1], 0.4)

    def test_loss_goes_first(self) -> None:
        """While overtaken datagrams wait for their time, that is the timer, and it makes no probes."""
        self.measure(0.08)
        self.send(0.0, 0.0, 0.001)
        self.acknowledge(2, now=0.08)
        self.timeouts(1)
        self.assertEqual(len(self.source.gone), 1)
        self.assertEqual(self.recovery.probe_timeouts, 0)


class DeliveryTimeoutTests(RecoveryTestCase):
    """Seed 001: content that is not acknowledged by then is sent again, whatever the estimate says."""

    delivery_timeout = 1.0

    def test_not_overtaken(self) -> None:
        """What nobody overtook is lost after it; what is younger is not."""
        self.measure(0.1)
        old, young = self.send(0.0, 0.5)
        while self.recovery.lost_datagrams == 0:
            deadline = self.recovery.deadline()
            assert deadline is not None
            self.recovery.timeout(deadline)
        self.assertEqual(deadline, 1.0)
        self.assertEqual(self.source.gone[-1], (old, old + 1))
        self.assertEqual(list(self.recovery.flying(self.source)), [(young, young + 1)])

    def test_slow_estimate(self) -> None:
        """An estimate of minutes does not put it off, neither for what was overtaken nor for the rest."""
        self.measure(100.0)
        overtaken, answered, last = self.send(0.0, 0.1, 0.2)
        self.acknowledge(answered, now=0.3)
        for number, expected in ((overtaken, 1.0), (last, 1.2)):
            deadline = self.recovery.deadline()
            assert deadline is not None
            self.assertAlmostEqual(deadline, expected)
            self.recovery.timeout(deadline)
            self.assertEqual(self.source.gone[-1], (number, number + 1))
        self.assertEqual(self.recovery.in_flight, 0)


class PersistentCongestionTests(RecoveryTestCase):
    """Nothing got through for so long that the path must have changed: RFC 9002 §7.6."""

    def lose(self, *times: float, skip: int = 0) -> None:
        """Lose datagrams of these times, with numbers between the last two that carried nothing."""
        self.send(*times[:-1])
        for _ in range(skip):
            self.recovery.take_number()
        self.send(times[-1])
        survivors = self.send(*[times[-1]] * 3)
        self.acknowledge(*survivors, now=times[-1] + 0.1)

    def test_persistent(self) -> None:
        """Losses in a row over more than three probe timeouts (3 × 275 ms) leave two datagrams of window."""
        self.measure(0.1)
        self.lose(0.0, 0.4, 0.83)
        self.assertEqual(self.recovery.lost_datagrams, 3)
        self.assertEqual(self.cubic.window, 2_400)

    def test_leastForgotten(self) -> None:
        """The smallest round trip is another path's then (RFC 9002 §5.2)."""
        self.measure(0.1)
        self.lose(0.0, 0.4, 0.83)
        self.assertAlmostEqual(self.rtt.least, 0.1)
        self.rtt.least = 0.05
        self.lose(10.0, 11.0, 12.0)
        self.assertAlmostEqual(self.rtt.least, 0.1)

    def test_sentBefore(self) -> None:
        """What was sent before the round trip was known does not count (RFC 9002 §7.6.2)."""
        first, _ = self.send(-0.1, -0.02)
        self.acknowledge(first, now=0.0)
        self.lose(0.4, 0.81)
        self.assertEqual(self.recovery.lost_datagrams, 3)
        self.assertEqual(self.cubic.window, 8_400)

    def test_shorter(self) -> None:
        """Over less than that the window only shrinks as for any loss."""
        self.measure(0.1)
        self.lose(0.0, 0.4, 0.82)
        self.assertEqual(self.recovery.lost_datagrams, 3)
        self.assertEqual(self.cubic.window, 8_400)

    def test_black_hole(self) -> None:
        """Not when nothing but large datagrams was lost: then it is the path's size that has changed."""
        for size, window in ((1_472, 8_400), (1_200, 2_400)):
            self.setUp()
            self.measure(0.1)
            send(self.recovery, self.source, (0.0, 0.4, 0.83), size=size)
            self.acknowledge(*send(self.recovery, self.source, [0.83] * 3, size=100), now=0.93)
            self.assertEqual(self.recovery.lost_datagrams, 3)
            self.assertEqual(self.recovery.black_holes.found, size > 1_200)
            self.assertEqual(self.cubic.window, window)

    def test_no_black_hole(self) -> None:
        """Nor is it the path's size when one that is as large has arrived among the small ones."""
        self.measure(0.1)
        send(self.recovery, self.source, (0.0, 0.4, 0.83), size=1_472)
        arrived = [send(self.recovery, self.source, [0.83], size=size)[0] for size in (100, 1_472, 100)]
        self.acknowledge(*arrived, now=0.93)
        self.assertEqual(self.recovery.lost_datagrams, 3)
        self.assertFalse(self.recovery.black_holes.found)

    def test_not_in_a_row(self) -> None:
        """When a number between them is unaccounted for, they are not in a row."""
        self.measure(0.1)
        self.lose(0.0, 0.5, 1.0, skip=1)
        self.assertEqual(self.recovery.lost_datagrams, 3)
        self.assertEqual(self.cubic.window, 8_400)

    def test_unmeasured(self) -> None:
        """Without a sample from before nobody knows what a probe timeout is (RFC 9002 §7.6.2)."""
        self.assertFalse(self.rtt.measured)
        self.send(0.0, 600.0)
        self.recovery.detect(2_000.0)
        self.assertEqual(self.recovery.lost_datagrams, 2)
        self.assertEqual(self.cubic.window, 8_400)
