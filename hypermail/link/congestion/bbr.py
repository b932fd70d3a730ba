"""
BBR version 1: draft-cardwell-iccrg-bbr-congestion-control-00, with what Linux has added to it since (tcp_bbr.c).

The path is modelled by two numbers that can't be measured at the same time: the most that it delivers, and the round
trip while nothing is queued. Datagrams leave at the first; twice their product may be in flight. Loss does not change
the model, so that what noise destroys costs no more than itself.

Where this is not as Linux has it, C{docs/protocol/link.rst} says why.
"""

from __future__ import annotations

from enum import Enum, auto
from math import inf, log

from hypermail.link.congestion import Acked, Lost
from hypermail.link.delivery import Sample
from hypermail.link.maximum import RecentMaximum
from hypermail.link.pacing import TRAIN_TIME
from hypermail.link.rtt import GRANULARITY, RoundTrip

#: Datagrams of the window at first, and of the least one.
INITIAL_DATAGRAMS = 10
MINIMUM_DATAGRAMS = 4
#: The least gain by which what is delivered doubles in each round trip.
HIGH_GAIN = 2 / log(2)
#: Of the window once the pipe is full: acknowledgements come late, and several at once.
WINDOW_GAIN = 2.0
#: Of the rate, in turn, each for a round trip: probe for more, drain what that has queued, cruise.
CYCLE = (1.25, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
#: Of the rate, besides: a queue that was left over drains.
MARGIN = 0.99
#: Rounds that a measured bandwidth counts, and an excess of acknowledgements.
BANDWIDTH_ROUNDS = 10
EXCESS_ROUNDS = 10
#: s of sending that the window grows by at most for acknowledgements that come together.
LONGEST_EXCESS = 0.1
#: Trains that the window holds besides: one here in the making, one on the way, one at the peer.
TRAINS = 3
#: The pipe is full when in so many rounds the bandwidth has not grown by so much.
FULL_ROUNDS = 3
FULL_GROWTH = 1.25
#: Share of a round that is lost when the model must be wrong: as much as probing may lose is no news.
HEAVY_LOSS = 0.25
#: s that a measured least round trip counts.
ROUND_TRIP_AGE = 10.0
#: s that the pipe is kept empty at least to measure it anew.
PROBE_TIME = 0.2


class Mode(Enum):
    """What the sender is after."""

    #: Double the rate until the path delivers no more.
    STARTUP = auto()
    #: Let the queue go that this has made.
    DRAIN = auto()
    #: Most of the time: see whether the path delivers more.
    PROBE_BANDWIDTH = auto()
    #: Keep the pipe empty, to see how long it is.
    PROBE_ROUND_TRIP = auto()


class BBR:
    """
    The model of one path, and what follows from it.

    @param datagram: bytes of a full datagram.

    @ivar window: bytes that may be in flight.
    @ivar mode: what the sender is after.
    """

    __slots__ = (
        "_bandwidth",
        "_conserving",
        "_cycle_at",
        "_datagram",
        "_delivered",
        "_epoch_at",
        "_epoch_size",
        "_excess",
        "_filled",
        "_full_bandwidth",
        "_full_rounds",
        "_gain",
        "_held_until",
        "_least",
        "_least_at",
        "_lossy",
        "_lost",
        "_phase",
        "_probe_round_over",
        "_probe_until",
        "_rate",
        "_recovering",
        "_recovery_at",
        "_resting",
        "_round",
        "_round_end",
        "_saved",
        "_window_gain",
        "mode",
        "window",
    )

    def __init__(self, datagram: int) -> None:
        self._datagram = datagram
        self.window = INITIAL_DATAGRAMS * datagram
        self.mode = Mode.STARTUP
        self._gain = self._window_gain = HIGH_GAIN
        self._rate = 0.0  # bytes/s
        # The model.
        self._bandwidth = RecentMaximum(BANDWIDTH_ROUNDS)
        self._least = inf  # s
        self._least_at = 0.0
        self._resting = True  # whether the next flight begins with nothing in flight, and nothing was held back
        # Rounds: one is over when something is acknowledged that was sent after the last one was.
        self._round = 0
        self._round_end = 0
        self._delivered = 0
        self._held_until = 0  # what was sent before so much was delivered was held back by ourselves
        # Whether the pipe was filled.
        self._filled = False
        self._full_bandwidth = 0.0
        self._full_rounds = 0
        # How far acknowledgements run ahead of the bandwidth.
        self._excess = RecentMaximum(EXCESS_ROUNDS)
        self._epoch_at = 0.0
        self._epoch_size = 0
        # Probing.
        self._phase = 0
        self._cycle_at = 0.0
        self._probe_until: float | None = None
        self._probe_round_over = False
        # Loss.
        self._lossy = False  # since the last acknowledgement
        self._lost = 0  # bytes in this round
        self._recovering = False
        self._recovery_at = 0.0
        self._conserving = False
        self._saved = 0

    # What the path does

    def acked(self, news: Acked, rtt: RoundTrip) -> None:
        sample = news.sample
        begins = False
        if sample is not None:
            begins = self._measure_bandwidth(sample)
            self._measure_excess(news)
        if self.mode is Mode.PROBE_BANDWIDTH:
            if self._phase_over(news):
                self._enter_phase((self._phase + 1) % len(CYCLE), news.now)
        elif self.mode is not Mode.PROBE_ROUND_TRIP:
            if begins and not self._filled and sample is not None and not sample.idle:
                self._look_whether_full()
            self._look_whether_drained(news)
        self._measure_round_trip(news, begins)
        self._set_rate(rtt)
        self._set_window(news)
        self._lossy = False
        self._resting = news.in_flight == 0 and not news.limited

    def lost(self, losses: Lost, rtt: RoundTrip) -> None:
        self._lossy = True
        self._lost += losses.size
        if not self._recovering:
            self._save()
            self._recovering = True
        self._recovery_at = losses.now
        self.window -= losses.size
        heavy = max(HEAVY_LOSS * (self._lost + losses.in_flight), self._minimum)
        if self._lost > heavy and not self._conserving:
            # More than the model accounts for: until it is known anew, only what arrives is replaced.
            self._conserving = True
            self._round_end = self._delivered
            self.window = losses.in_flight
        if losses.persistent:
            # The draft's §4.2.3.4, as for a retransmission timeout: begin small, keep the model.
            self._conserving = False
            self._full_bandwidth = 0.0
            self._full_rounds = 0
            self.window = 0
        self.window = max(self.window, self._minimum)

    def undo(self) -> None:
        self._full_bandwidth = 0.0
        self._full_rounds = 0
        if self._recovering:
            self._recover()

    def marked(self, sent: float, now: float) -> None:
        """Nothing: version 1 takes its path to be congested when it delivers no more, whatever it says."""

    def resized(self, datagram: int) -> None:
        self._datagram = datagram
        self.window = max(self.window, self._minimum)

    def rate(self, rtt: RoundTrip) -> float:
        if not self._rate:
            return self._first_rate(rtt)
        if self._resting and self.mode is Mode.PROBE_BANDWIDTH:
            return MARGIN * self._bandwidth.value  # who has rested has nothing to drain, and knows of no queue
        return self._rate

    # The model

    def _measure_bandwidth(self, sample: Sample) -> bool:
        """Take a sample. @return: whether a round begins."""
        begins = sample.prior >= self._round_end
        self._delivered = sample.total
        if begins:
            self._round_end = sample.total
            self._round += 1
            self._lost = 0
            self._conserving = False
        rate = sample.rate
        if rate >= self._bandwidth.value or not (sample.idle or sample.prior < self._held_until):
            self._bandwidth.add(self._round, rate)
        return begins

    def _measure_excess(self, news: Acked) -> None:
        """How much more is acknowledged than the bandwidth accounts for, since that began."""
        expected = self._bandwidth.value * (news.now - self._epoch_at)
        if self._epoch_size <= expected:
            self._epoch_size = 0
            self._epoch_at = news.now
            expected = 0.0
        self._epoch_size += news.size
        self._excess.add(self._round, min(self._epoch_size - expected, self.window))

    def _measure_round_trip(self, news: Acked, begins: bool) -> None:
        """Take a sample; when there was no better one for long, empty the pipe to see it anew."""
        now = news.now
        elapsed = now - news.newest.time
        old = now > self._least_at + ROUND_TRIP_AGE
        if elapsed <= self._least or old:
            self._least = elapsed
            self._least_at = now
            # Who has rested has just seen the empty pipe.
            if old and not self._resting and self.mode is not Mode.PROBE_ROUND_TRIP:
                self._save()
                self._enter(Mode.PROBE_ROUND_TRIP, 1.0, 1.0)
                self._probe_until = None
        if self.mode is Mode.PROBE_ROUND_TRIP:
            self._probe_round_trip(news, begins)

    def _probe_round_trip(self, news: Acked, begins: bool) -> None:
        self._held_until = self._delivered + news.in_flight + 1
        if self._probe_until is None:
            if news.in_flight <= self._minimum:
                self._probe_until = news.now + PROBE_TIME
                self._probe_round_over = False
                self._round_end = self._delivered
            return
        self._probe_round_over = self._probe_round_over or begins
        if (self._probe_round_over and news.now > self._probe_until) or self._resting:
            self._least_at = news.now
            self.window = max(self.window, self._saved)
            if self._filled:
                self._enter_cycle(news)
            else:
                self._enter(Mode.STARTUP, HIGH_GAIN, HIGH_GAIN)

    # The modes

    def _enter(self, mode: Mode, gain: float, window_gain: float) -> None:
        self.mode = mode
        self._gain = gain
        self._window_gain = window_gain

    def _look_whether_full(self) -> None:
        bandwidth = self._bandwidth.value
        if bandwidth >= self._full_bandwidth * FULL_GROWTH:
            self._full_bandwidth = bandwidth
            self._full_rounds = 0
            return
        self._full_rounds += 1
        if self._full_rounds >= FULL_ROUNDS:
            self._filled = True
            self._enter(Mode.DRAIN, 1 / HIGH_GAIN, HIGH_GAIN)

    def _look_whether_drained(self, news: Acked) -> None:
        if self.mode is Mode.DRAIN and news.in_flight <= self._product(1.0):
            self._enter_cycle(news)

    def _enter_cycle(self, news: Acked) -> None:
        """
        Begin anywhere but with draining, so that flows that share a path don't all probe together. The numbers of
        datagrams have gaps that nobody else knows, so they will do instead of chance.
        """
        self._enter(Mode.PROBE_BANDWIDTH, 1.0, WINDOW_GAIN)
        self._enter_phase((2 + news.next % (len(CYCLE) - 1)) % len(CYCLE), news.now)

    def _enter_phase(self, phase: int, now: float) -> None:
        self._phase = phase
        self._gain = CYCLE[phase]
        self._cycle_at = now

    def _phase_over(self, news: Acked) -> bool:
        long_enough = news.now - self._cycle_at > self._least
        gain = self._gain
        if gain == 1.0:
            return long_enough
        before = news.in_flight + news.size
        if gain > 1.0:
            return long_enough and (self._lossy or before >= self._product(gain))
        return long_enough or before <= self._product(1.0)

    # What follows

    @property
    def _minimum(self) -> int:
        return MINIMUM_DATAGRAMS * self._datagram

    def _product(self, gain: float) -> float:
        """bytes in flight that carry C{gain} times the bandwidth."""
        bandwidth = self._bandwidth.value
        if not bandwidth:
            return gain * INITIAL_DATAGRAMS * self._datagram
        trains = TRAINS * max(2 * self._datagram, self._rate * TRAIN_TIME)
        more = 2 * self._datagram if self._phase == 0 else 0  # so that probing is seen where the window is small
        return gain * bandwidth * self._least + trains + more

    def _first_rate(self, rtt: RoundTrip) -> float:
        return HIGH_GAIN * self.window / max(rtt.smoothed, GRANULARITY)

    def _set_rate(self, rtt: RoundTrip) -> None:
        if not self._rate:
            self._rate = self._first_rate(rtt)
        rate = MARGIN * self._gain * self._bandwidth.value
        if rate > self._rate or (self._filled and rate):
            self._rate = rate

    def _set_window(self, news: Acked) -> None:
        if self._recovering and news.newest.time > self._recovery_at:
            self._recover()
        window = self.window
        if self._conserving:
            window = max(window, news.in_flight + news.size)
        else:
            target = self._product(self._window_gain)
            if self._filled:
                target += min(self._excess.value, self._bandwidth.value * LONGEST_EXCESS)
                window = min(window + news.size, int(target))
            elif window < target or self._delivered < INITIAL_DATAGRAMS * self._datagram:
                window += news.size
        minimum = self._minimum
        self.window = minimum if self.mode is Mode.PROBE_ROUND_TRIP else max(window, minimum)

    def _save(self) -> None:
        """The window is about to fall for a reason that is no part of the model."""
        held = self._recovering or self.mode is Mode.PROBE_ROUND_TRIP
        self._saved = max(self._saved, self.window) if held else self.window

    def _recover(self) -> None:
        """What was sent after the last loss has arrived."""
        self._recovering = self._conserving = False
        self.window = max(self.window, self._saved)


CONTROLLER = BBR
