"""
Tests for L{hypermail.link.congestion.bbr}: what it does with what it is told. How fast that goes on a network is tested
by the scenarios of L{hypermail.test.bbr}.
"""

from __future__ import annotations

from math import log

from twisted.trial.unittest import SynchronousTestCase

from hypermail.link.congestion import Acked, Congestion, Lost
from hypermail.link.congestion.bbr import BBR, CYCLE, EXCESS_ROUNDS, Mode
from hypermail.link.delivery import Sample
from hypermail.link.maximum import RecentMaximum
from hypermail.link.payload import Sent
from hypermail.link.rtt import RoundTrip

#: bytes, bytes/s, s: 100 datagrams are on the way.
DATAGRAM = 1_000
RATE = 1e6
RTT = 0.1
PRODUCT = 100_000
GAIN = 2 / log(2)
#: Three trains of 2 ms at that rate, with the margin and a gain of 1.
TRAINS = 3 * 2_000


class BBRTests(SynchronousTestCase):
    """Datagrams of 1,000 bytes on a path of 100 ms and 1 MB/s, with an acknowledgement in each round."""

    def setUp(self) -> None:
        self.bbr = BBR(DATAGRAM)
        self.rtt = RoundTrip()
        self.rtt.sample(RTT, 0.0)
        self.now = 1_000.0
        self.total = 0
        self.number = 0

    @property
    def rate(self) -> float:
        """What the pacer is told."""
        congestion: Congestion = self.bbr
        return congestion.rate(self.rtt)

    def round(
        self,
        rate: float = RATE,
        rtt: float = RTT,
        *,
        idle: bool = False,
        in_flight: int = PRODUCT,
        limited: bool = True,
        size: int | None = None,
        same: bool = False,
        wait: float | None = None,
        prior: int | None = None,
    ) -> None:
        """
        An acknowledgement, of what was sent a round trip ago.

        @param rate: bytes/s that the sample says.
        @param rtt: s that it took.
        @param size: bytes that it brings; a round trip's worth when not given.
        @param same: whether it begins no round.
        @param wait: s since the one before; a round trip when not given.
        @param prior: bytes that had been delivered when the newest of it was sent; all, when not given.
        """
        self.now += rtt if wait is None else wait
        size = int(rate * rtt) if size is None else size
        if prior is None:
            prior = -1 if same else self.total
        self.total += size
        self.number += 1
        sent = Sent(self.number, self.now - rtt, size, [], False)
        sample = Sample(int(rate * rtt), rtt, prior, self.total, idle)
        news = Acked([sent], size, sent, self.now, limited, in_flight, self.number + 1, sample)
        self.bbr.acked(news, self.rtt)

    def lose(self, datagrams: int, *, in_flight: int = PRODUCT, persistent: bool = False, first: bool = True) -> None:
        """Lose some."""
        gone = [Sent(number, self.now - RTT, DATAGRAM, [], False) for number in range(datagrams)]
        self.bbr.lost(Lost(gone, datagrams * DATAGRAM, self.now, in_flight, persistent, first), self.rtt)

    def fill(self) -> None:
        """Until the pipe is known to be full, and is."""
        for _ in range(4):
            self.round(in_flight=2 * PRODUCT)
        self.assertIs(self.bbr.mode, Mode.DRAIN)

    def cruise(self, phase: int = 2) -> None:
        """Until the bandwidth is probed, in one phase of the cycle."""
        self.fill()
        self.round(in_flight=PRODUCT)
        self.assertIs(self.bbr.mode, Mode.PROBE_BANDWIDTH)
        self.bbr._enter_phase(phase, self.now)
        self.bbr.window = 2 * PRODUCT + TRAINS
        self.bbr._set_rate(self.rtt)
        self.bbr._excess = RecentMaximum(EXCESS_ROUNDS)  # one acknowledgement for a whole round was much at once
        self.bbr._epoch_size = 0

    # Startup

    def test_initial(self) -> None:
        """It begins with ten datagrams, which leave so fast that the rate doubles with each round trip."""
        self.assertEqual(self.bbr.window, 10 * DATAGRAM)
        self.assertAlmostEqual(self.rate, GAIN * 10 * DATAGRAM / RTT)
        nothing = RoundTrip()
        nothing.sample(0.0, 0.0)
        self.assertLess(BBR(DATAGRAM).rate(nothing), 1e9)

    def test_startup(self) -> None:
        """The rate is 2/ln 2 times what was delivered, less one percent; the window grows by what has arrived."""
        for doubled in range(1, 4):
            before = self.bbr.window
            self.round(1e5 * 2**doubled, idle=True)
            self.assertAlmostEqual(self.rate, max(GAIN * 10 * DATAGRAM / RTT, GAIN * 0.99 * 1e5 * 2**doubled))
            self.assertEqual(self.bbr.window, before + 1e4 * 2**doubled)

    def test_startup_does_not_slow_down(self) -> None:
        """Until the pipe is full, a bandwidth that is measured smaller doesn't lower the rate."""
        self.round(1e3)
        self.assertAlmostEqual(self.rate, GAIN * 10 * DATAGRAM / RTT)

    def test_startup_window(self) -> None:
        """The window needs not to be more than the gain's product while the pipe isn't full."""
        for _ in range(10):
            self.round(1e5, idle=True)
        most = GAIN * 1e4 + 3 * max(2 * DATAGRAM, self.rate * 0.002) + 2 * DATAGRAM
        self.assertLess(self.bbr.window, most + 1e4)
        self.assertGreaterEqual(self.bbr.window, most)

    def test_full(self) -> None:
        """After three rounds in which the bandwidth grew by less than a quarter the pipe is full, and is drained."""
        for rate in (1.0, 1.3, 1.6, 2.0, 2.4, 2.49):
            self.round(rate * RATE, in_flight=10 * PRODUCT)
            self.assertIs(self.bbr.mode, Mode.STARTUP)
        self.round(2.4 * RATE, in_flight=10 * PRODUCT)
        self.assertIs(self.bbr.mode, Mode.DRAIN)
        self.assertAlmostEqual(self.rate, 0.99 / GAIN * 2.49 * RATE)

    def test_full_counts_rounds(self) -> None:
        """Acknowledgements in the middle of a round, and of an idle sender, don't say that the pipe is full."""
        self.round()
        for _ in range(5):
            self.round(same=True, wait=0.0)
            self.round(idle=True)
        self.assertIs(self.bbr.mode, Mode.STARTUP)

    def test_full_begins_afresh(self) -> None:
        """A quarter of growth begins the count again."""
        for rate in (1.0, 1.0, 1.0, 1.25, 1.25, 1.25):
            self.round(rate * RATE)
        self.assertIs(self.bbr.mode, Mode.STARTUP)
        self.round(1.25 * RATE)
        self.assertIsNot(self.bbr.mode, Mode.STARTUP)

    def test_drain(self) -> None:
        """Draining ends when no more is in flight than the path and three trains hold."""
        self.fill()
        trains = 3 * max(2 * DATAGRAM, self.rate * 0.002)
        self.round(in_flight=int(PRODUCT + trains + 3 * DATAGRAM))
        self.assertIs(self.bbr.mode, Mode.DRAIN)
        self.round(in_flight=int(PRODUCT + trains))
        self.assertIs(self.bbr.mode, Mode.PROBE_BANDWIDTH)

    # Probing for bandwidth

    def test_first_phase(self) -> None:
        """Cycles begin in any phase but the draining one, as the number of the next datagram has it."""
        phases = set()
        for number in range(14):
            self.setUp()
            self.number = number
            self.fill()
            self.round()
            self.assertAlmostEqual(self.rate, 0.99 * CYCLE[self.bbr._phase] * RATE)
            phases.add(self.bbr._phase)
        self.assertEqual(phases, {0, 2, 3, 4, 5, 6, 7})

    def test_cycle(self) -> None:
        """Each phase lasts a little longer than a round trip; the next is probing after the last."""
        self.cruise(phase=2)
        gains = []
        for _ in range(8):
            self.round(wait=0.09, same=True, in_flight=2 * PRODUCT)
            before = self.rate
            self.round(wait=0.011, same=True, in_flight=2 * PRODUCT)
            gains.append(round(self.rate / RATE / 0.99, 9))
            self.assertNotEqual((before, self.bbr._phase), (self.rate, 0))
        self.assertEqual(gains, [1, 1, 1, 1, 1, 1.25, 0.75, 1])

    def test_probing_lasts(self) -> None:
        """Probing goes on until as much is in flight as it asks for, or something was lost."""
        self.cruise(phase=0)
        room = int(1.25 * PRODUCT + 3 * self.rate * 0.002 + 2 * DATAGRAM)
        for _ in range(3):
            self.round(size=DATAGRAM, in_flight=room - 2 * DATAGRAM)
            self.assertEqual(self.bbr._phase, 0)
        self.round(size=DATAGRAM, in_flight=room)
        self.assertEqual(self.bbr._phase, 1)
        self.setUp()
        self.cruise(phase=0)
        self.lose(1)
        self.round(wait=0.05, same=True, size=DATAGRAM)
        self.round(wait=0.06, size=DATAGRAM)
        self.assertEqual(self.bbr._phase, 0)
        self.lose(1)
        self.round(wait=0.06, size=DATAGRAM)
        self.assertEqual(self.bbr._phase, 1)

    def test_draining_is_cut_short(self) -> None:
        """Draining after a probe ends early when what it is for is done."""
        self.cruise(phase=1)
        self.round(wait=0.01, same=True, size=DATAGRAM, in_flight=PRODUCT + TRAINS)
        self.assertEqual(self.bbr._phase, 1)
        self.round(wait=0.01, same=True, size=DATAGRAM, in_flight=PRODUCT)
        self.assertEqual(self.bbr._phase, 2)

    def test_window(self) -> None:
        """The window is twice the product, and three trains; it gets there by what arrives, and back at once."""
        self.cruise()
        most = int(2 * PRODUCT + 3 * 0.99 * RATE * 0.002)
        self.bbr.window = PRODUCT
        self.round(size=DATAGRAM, same=True, wait=0.001)
        self.assertEqual(self.bbr.window, PRODUCT + DATAGRAM)
        self.bbr.window = 10 * PRODUCT
        self.round(size=DATAGRAM, same=True, wait=0.001)
        self.assertLess(abs(self.bbr.window - most), 2 * DATAGRAM)

    # The bandwidth

    def test_bandwidth_is_forgotten(self) -> None:
        """The greatest of ten rounds counts."""
        self.cruise()
        for _ in range(9):
            self.round(RATE / 2)
        self.bbr._enter_phase(2, self.now)
        self.assertEqual(self.bbr._bandwidth.value, RATE)
        self.round(RATE / 2)
        self.assertEqual(self.bbr._bandwidth.value, RATE / 2)

    def test_idle_samples_only_raise(self) -> None:
        """While the application has little to say, only a greater bandwidth is believed."""
        self.cruise()
        for _ in range(20):
            self.round(RATE / 2, idle=True)
        self.assertEqual(self.bbr._bandwidth.value, RATE)
        self.round(2 * RATE, idle=True)
        self.assertEqual(self.bbr._bandwidth.value, 2 * RATE)

    def test_rest(self) -> None:
        """The first flight after a rest leaves at the bandwidth, whatever the phase."""
        self.cruise(phase=0)
        self.assertAlmostEqual(self.rate, 1.25 * 0.99 * RATE)
        self.round(in_flight=0, same=True, wait=0.0)
        self.assertAlmostEqual(self.rate, 1.25 * 0.99 * RATE)
        self.round(in_flight=0, same=True, wait=0.0, limited=False)
        self.assertAlmostEqual(self.rate, 0.99 * RATE)
        self.round(in_flight=DATAGRAM, same=True, wait=0.0, limited=False)
        self.assertAlmostEqual(self.rate, 1.25 * 0.99 * RATE)

    def test_rest_in_startup(self) -> None:
        """Who rests before the pipe was full goes on to fill it."""
        self.round(in_flight=0, limited=False)
        self.assertAlmostEqual(self.rate, GAIN * 0.99 * RATE)

    def test_excess(self) -> None:
        """Acknowledgements that come together enlarge the window by what they bring at once, at most by 100 ms."""
        self.cruise()
        self.round(wait=0.2, same=True, size=DATAGRAM)
        self.round(wait=0.0, same=True, size=40 * DATAGRAM)
        self.assertEqual(self.bbr._excess.value, 41 * DATAGRAM)
        self.round(wait=0.0, same=True, size=PRODUCT)
        self.assertLess(abs(self.bbr.window - 3 * PRODUCT - TRAINS), 2 * DATAGRAM)
        self.bbr.window = PRODUCT
        self.round(wait=0.0, same=True, size=PRODUCT)
        self.assertEqual(self.bbr._excess.value, 141 * DATAGRAM)

    def test_excess_is_forgotten(self) -> None:
        """What came together ten rounds ago counts no more."""
        self.cruise()
        self.round(wait=0.2, size=DATAGRAM)
        self.round(wait=0.0, same=True, size=40 * DATAGRAM)
        for _ in range(9):
            self.round(wait=1.0, size=DATAGRAM)
        self.assertEqual(self.bbr._excess.value, 41 * DATAGRAM)
        self.round(wait=1.0, size=DATAGRAM)
        self.assertEqual(self.bbr._excess.value, DATAGRAM)

    # Probing for the round trip

    def age(self, seconds: float, rtt: float = 0.11) -> None:
        """Time in which each round takes a little longer than the least."""
        for _ in range(int(seconds)):
            self.round(rtt=rtt, wait=1.0)

    def test_probe_round_trip(self) -> None:
        """After 10 s without a lower sample the pipe is emptied: four datagrams, for 200 ms and a round."""
        self.cruise()
        window = self.bbr.window
        self.age(9)
        self.assertIs(self.bbr.mode, Mode.PROBE_BANDWIDTH)
        self.age(2)
        self.assertIs(self.bbr.mode, Mode.PROBE_ROUND_TRIP)
        self.assertEqual(self.bbr.window, 4 * DATAGRAM)
        self.assertAlmostEqual(self.rate, 0.99 * RATE)
        self.round(wait=0.5, in_flight=5 * DATAGRAM)  # that empties it
        self.round(wait=0.1, in_flight=4 * DATAGRAM)
        self.round(wait=0.19, in_flight=3 * DATAGRAM)
        self.assertIs(self.bbr.mode, Mode.PROBE_ROUND_TRIP)
        self.round(wait=0.02, in_flight=3 * DATAGRAM)
        self.assertIs(self.bbr.mode, Mode.PROBE_BANDWIDTH)
        self.assertGreaterEqual(self.bbr.window, window)
        self.age(10)
        self.assertIs(self.bbr.mode, Mode.PROBE_BANDWIDTH)
        self.age(3)  # again, until it is empty again
        self.assertIs(self.bbr.mode, Mode.PROBE_ROUND_TRIP)

    def test_probe_round_trip_lasts_a_round(self) -> None:
        """200 ms are not enough on a path that is longer."""
        self.cruise()
        self.age(11)
        self.round(wait=0.1, in_flight=DATAGRAM)
        self.round(wait=0.3, in_flight=DATAGRAM, same=True)
        self.assertIs(self.bbr.mode, Mode.PROBE_ROUND_TRIP)
        self.round(wait=0.0, in_flight=DATAGRAM)
        self.assertIs(self.bbr.mode, Mode.PROBE_BANDWIDTH)

    def test_probe_round_trip_not_needed(self) -> None:
        """A sample as low as the lowest, or a rest, shows the empty pipe without a probe."""
        self.cruise()
        self.now = self.bbr._least_at = 2_048.0  # from here on times are exact
        self.round(rtt=0.0625, wait=0.0)
        for _ in range(30):
            self.round(rtt=0.11, wait=1.0)
            self.round(rtt=0.0625, wait=1.0)
            self.assertIs(self.bbr.mode, Mode.PROBE_BANDWIDTH)
        for _ in range(30):
            self.round(rtt=0.11, wait=1.0, in_flight=0, limited=False)
            self.assertIs(self.bbr.mode, Mode.PROBE_BANDWIDTH)
        self.assertAlmostEqual(self.bbr._least, 0.11)

    def test_rest_ends_probe(self) -> None:
        """Who rests while the pipe is kept empty needs to keep it so no longer."""
        self.cruise()
        self.age(11)
        self.round(in_flight=0, limited=False)
        self.assertIs(self.bbr.mode, Mode.PROBE_ROUND_TRIP)
        self.round(in_flight=0, limited=False, wait=0.01)
        self.assertIs(self.bbr.mode, Mode.PROBE_BANDWIDTH)

    def test_probe_does_not_poison(self) -> None:
        """How little is delivered of so little in flight doesn't lower the bandwidth."""
        self.cruise()
        self.age(11)
        for _ in range(20):
            self.round(RATE / 30, rtt=0.05, wait=0.01, in_flight=3 * DATAGRAM)
        self.assertEqual(self.bbr._bandwidth.value, RATE)
        self.round(RATE / 30, rtt=0.05, wait=0.1, in_flight=3 * DATAGRAM)
        self.assertIs(self.bbr.mode, Mode.PROBE_BANDWIDTH)
        self.round(RATE / 30, rtt=0.05, in_flight=3 * DATAGRAM)
        self.assertEqual(self.bbr._bandwidth.value, RATE)

    def test_probe_in_startup(self) -> None:
        """A sender that never filled the pipe goes back to filling it."""
        for _ in range(12):
            self.round(1e5, rtt=0.1 + 0.01 * (self.total > 0), wait=1.0, idle=True)
        self.assertIs(self.bbr.mode, Mode.PROBE_ROUND_TRIP)
        for _ in range(5):
            self.round(1e5, in_flight=DATAGRAM, idle=True)
        self.assertIs(self.bbr.mode, Mode.STARTUP)
        self.round(1e6, in_flight=DATAGRAM)
        self.assertAlmostEqual(self.rate, GAIN * 0.99 * 1e6)

    # Loss

    def test_light_loss(self) -> None:
        """What is lost leaves the window, and comes back with what arrives: the model stays."""
        self.cruise()
        window, rate = self.bbr.window, self.rate
        self.lose(5)
        self.assertEqual(self.bbr.window, window - 5 * DATAGRAM)
        self.assertEqual(self.rate, rate)
        self.round(size=3 * DATAGRAM, same=True, wait=0.01)
        self.assertEqual(self.bbr.window, window - 2 * DATAGRAM)

    def test_heavy_loss(self) -> None:
        """When more than a quarter of a round is lost, no more leaves in a round than arrives."""
        self.cruise()
        self.lose(20, in_flight=80 * DATAGRAM)
        self.assertGreater(self.bbr.window, PRODUCT)
        self.lose(10, in_flight=70 * DATAGRAM)
        self.assertEqual(self.bbr.window, 70 * DATAGRAM)
        self.round(size=10 * DATAGRAM, in_flight=65 * DATAGRAM, same=True, wait=0.01)
        self.assertEqual(self.bbr.window, 75 * DATAGRAM)
        self.lose(10, in_flight=55 * DATAGRAM)
        self.round(size=2 * DATAGRAM, in_flight=53 * DATAGRAM, same=True, wait=0.01)
        self.assertEqual(self.bbr.window, 65 * DATAGRAM)
        self.bbr._recovery_at = self.now  # nothing that was sent since has arrived
        self.round(size=2 * DATAGRAM, in_flight=53 * DATAGRAM, wait=0.01)
        self.assertEqual(self.bbr.window, 67 * DATAGRAM)

    def test_heavy_loss_begins_a_round(self) -> None:
        """The round in which only what arrives is replaced begins with the loss."""
        self.cruise()
        before = self.total
        self.round(size=10 * DATAGRAM, same=True, wait=0.01)
        self.lose(50, in_flight=50 * DATAGRAM)
        self.assertTrue(self.bbr._conserving)
        self.round(size=DATAGRAM, prior=before, wait=0.01)
        self.assertTrue(self.bbr._conserving)
        self.round(size=DATAGRAM, prior=before + 10 * DATAGRAM, wait=0.01)
        self.assertFalse(self.bbr._conserving)

    def test_losses_of_rounds_are_apart(self) -> None:
        """Loss that is heavy only over several rounds isn't."""
        self.cruise()
        for _ in range(5):
            self.lose(20, in_flight=80 * DATAGRAM)
            self.assertGreater(self.bbr.window, PRODUCT)
            self.round(in_flight=80 * DATAGRAM, wait=0.01)

    def test_few_losses_are_not_heavy(self) -> None:
        """Four datagrams are never more than chance."""
        self.cruise()
        self.lose(4, in_flight=DATAGRAM)
        self.assertGreater(self.bbr.window, PRODUCT)
        self.lose(1, in_flight=DATAGRAM)
        self.assertEqual(self.bbr.window, 4 * DATAGRAM)

    def test_recovered(self) -> None:
        """The window is restored when something that was sent after the last loss has arrived."""
        self.cruise()
        window = self.bbr.window
        self.lose(50, in_flight=50 * DATAGRAM)
        self.now += 0.05
        self.lose(10, in_flight=40 * DATAGRAM)
        self.assertEqual(self.bbr.window, 40 * DATAGRAM)
        self.round(in_flight=40 * DATAGRAM, size=DATAGRAM)
        self.assertLess(self.bbr.window, 50 * DATAGRAM)
        self.round(in_flight=40 * DATAGRAM, size=DATAGRAM, wait=0.01)
        self.assertGreaterEqual(self.bbr.window, window - DATAGRAM)

    def test_persistent(self) -> None:
        """Persistent congestion leaves four datagrams until something arrives; the model is kept."""
        self.cruise()
        window, rate = self.bbr.window, self.rate
        self.lose(5, in_flight=80 * DATAGRAM, persistent=True)
        self.assertEqual(self.bbr.window, 4 * DATAGRAM)
        self.assertEqual(self.rate, rate)
        self.round(in_flight=0, size=4 * DATAGRAM, same=True, wait=0.01)
        self.assertEqual(self.bbr.window, 8 * DATAGRAM)
        self.round(size=4 * DATAGRAM)
        self.assertGreaterEqual(self.bbr.window, window - DATAGRAM)

    def test_undone(self) -> None:
        """What was only late gives the window back, and makes no full pipe."""
        self.bbr.undo()
        self.assertEqual(self.bbr.window, 10 * DATAGRAM)
        for _ in range(3):
            self.round()
        self.bbr.undo()
        for _ in range(3):
            self.round()
            self.assertIs(self.bbr.mode, Mode.STARTUP)
        self.round(in_flight=2 * PRODUCT)
        self.assertIs(self.bbr.mode, Mode.DRAIN)
        window = self.bbr.window
        self.lose(60, in_flight=40 * DATAGRAM)
        self.bbr.undo()
        self.assertEqual(self.bbr.window, window)
        self.assertFalse(self.bbr._conserving)

    def test_marked(self) -> None:
        """Marks say nothing to version 1."""
        self.cruise()
        before = self.bbr.window, self.rate
        self.bbr.marked(self.now, self.now)
        self.assertEqual((self.bbr.window, self.rate), before)

    def test_resized(self) -> None:
        """Larger datagrams leave the window as it is, but for its least."""
        self.bbr.resized(2_000)
        self.assertEqual(self.bbr.window, 10_000)
        self.bbr.resized(9_000)
        self.assertEqual(self.bbr.window, 36_000)

    def test_no_sample(self) -> None:
        """An acknowledgement that says nothing of the rate still lets the window grow."""
        sent = Sent(1, self.now, DATAGRAM, [], False)
        self.bbr.acked(Acked([sent], DATAGRAM, sent, self.now, True, 0, 2, None), self.rtt)
        self.assertEqual(self.bbr.window, 11 * DATAGRAM)
        self.assertGreater(self.rate, 0)
