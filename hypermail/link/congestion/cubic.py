"""
CUBIC (RFC 9438), with HyStart++ (RFC 9406) in the first slow start: what most of the internet's senders do.

After a loss the window comes back to where it was along a cubic curve of time, stays near there for a while, and then
looks for more, faster and faster. Where a path is so short, or so slow, that additive increase would do better, it
does that.
"""

from __future__ import annotations

from math import inf
from typing import NamedTuple

from hypermail.link.congestion import Acked, Lost
from hypermail.link.hystart import HyStart
from hypermail.link.rtt import RoundTrip

#: Datagrams per cubed second; how steep the curve is (RFC 9438 §5.1).
C = 0.4
#: What is left of the window after a loss, or a mark (§4.6). RFC 8511's milder reaction to marks is an experiment.
BETA = 0.7
#: Datagrams per round trip by which additive increase with this C{BETA} gets as much as Reno (§4.3).
ALPHA = 3 * (1 - BETA) / (1 + BETA)
#: How much the window may grow in one round trip, in avoidance (§4.2).
MOST_GROWTH = 1.5
#: Datagrams of the first window (RFC 9002 §7.2), and of the least.
INITIAL_WINDOW = 10
LEAST_WINDOW = 2
#: Bytes of the least window: four datagrams of 1,200. With two of them, which RFC 9002 recommends, a hundred small
#: messages a second wait for the window on a path of 50 ms that loses a few of them.
LEAST_BYTES = 4_800
#: Windows that leave per round trip in slow start, and later (RFC 9002 §7.7).
SLOW_START_PACE = 2.0
PACE = 1.15


class _Curve(NamedTuple):
    """
    Where the window is and where it goes: what a reaction changes, and an undone one gives back (RFC 9438 §4.9).

    @ivar window: bytes, as a fraction grows, too.
    @ivar threshold: bytes below which it is slow start; infinite in the first one.
    @ivar prior: bytes of the window before the last reaction (cwnd_prior).
    @ivar plateau: bytes where the curve is flat (W_max); 0 when there is no such place.
    @ivar flat_after: s from the beginning of the curve to there (K).
    @ivar epoch: s when the curve began; infinite when its first acknowledgement has still to come.
    @ivar reno: bytes that additive increase would have come to (W_est).
    @ivar recovery_start: s; what left until then belongs to the last reaction.
    """

    window: float
    threshold: float
    prior: float
    plateau: float
    flat_after: float
    epoch: float
    reno: float
    recovery_start: float


class Cubic:
    """
    Of one direction of one path.

    @param datagram: bytes of a full datagram.
    """

    __slots__ = (
        "_datagram",
        "_epoch",
        "_flat_after",
        "_hystart",
        "_plateau",
        "_prior",
        "_recovering",
        "_recovery_start",
        "_reno",
        "_round_end",
        "_saved",
        "_threshold",
        "_unused_since",
        "_used",
        "_window",
        "window",
    )

    def __init__(self, datagram: int) -> None:
        self._datagram = datagram
        self._hystart = HyStart()
        self._window = float(INITIAL_WINDOW * datagram)
        self._threshold = inf
        self._prior = 0.0
        self._plateau = 0.0
        self._flat_after = 0.0
        self._epoch = inf
        self._reno = 0.0
        self._recovery_start = -inf
        self._recovering = False
        self._saved: _Curve | None = None
        self._used = 0  # the most bytes in flight in this round
        self._round_end = 0
        self._unused_since: float | None = None
        self.window = INITIAL_WINDOW * datagram

    # Growing

    def acked(self, news: Acked, rtt: RoundTrip) -> None:
        if not self._uses(news):
            return
        size = news.size
        if self._recovering:
            size = sum([sent.total for sent in news.datagrams if sent.time > self._recovery_start])
            self._recovering = size < news.size
        if self._window < self._threshold:
            self._start_slowly(size, news, rtt)
        elif size:
            self._avoid(size, news.now, rtt.smoothed)
        self.window = int(self._window)

    def _uses(self, news: Acked) -> bool:
        """
        Whether the window is used: it must not grow otherwise (RFC 9002 §7.8), nor time pass on its curve (RFC 9438
        §5.8). Less than half of it is no use even if something held the sender back; it was something else then.
        """
        used = news.in_flight + news.size
        if news.newest.number >= self._round_end:
            self._round_end = news.next
            self._used = used
        elif used > self._used:
            self._used = used
        if not news.limited or 2 * self._used < self.window:
            if self._unused_since is None:
                self._unused_since = news.now
            return False
        if self._unused_since is not None:
            self._epoch += news.now - self._unused_since
            self._unused_since = None
        return True

    def _start_slowly(self, size: int, news: Acked, rtt: RoundTrip) -> None:
        """As much more as has arrived: twice as much each round trip."""
        if self._threshold < inf:  # HyStart++ is for the first slow start only (RFC 9406 §4.3)
            self._window = min(self._window + size, max(self._threshold, self._window))
            return
        hystart = self._hystart
        hystart.acked(sum([sent.count for sent in news.datagrams]), news.newest.number, news.next, rtt.latest)
        if hystart.over:
            self._threshold = self._prior = self._window  # RFC 9438 §4.10
            return
        self._window += size / hystart.divisor  # L is infinite, since we pace (RFC 9406 §4.3)

    def _avoid(self, size: int, now: float, round_trip: float) -> None:
        """Congestion avoidance (RFC 9438 §4.2 to §4.5)."""
        if self._epoch == inf:
            self._begin(now)
        window, datagram = self._window, self._datagram
        self._reno += (ALPHA if self._reno < self._prior else 1.0) * datagram * size / window
        since_flat = now - self._epoch - self._flat_after
        steep = C * datagram
        if self._plateau + steep * since_flat**3 < self._reno:  # Reno-friendly region (§4.3)
            self._window = max(window, self._reno)
            return
        target = self._plateau + steep * (since_flat + round_trip) ** 3
        if target > window:
            self._window += (min(target, MOST_GROWTH * window) - window) * size / window

    def _begin(self, now: float) -> None:
        """The first acknowledgement of a curve: it leads up to the plateau, or up from here if that is no higher."""
        self._epoch = now
        self._reno = self._window
        self._plateau = max(self._plateau, self._window)
        self._flat_after = ((self._plateau - self._window) / (C * self._datagram)) ** (1 / 3)

    # Shrinking

    def lost(self, losses: Lost, rtt: RoundTrip) -> None:
        if losses.first:
            self._saved = None
        new = losses.datagrams[-1].time > self._recovery_start
        if self._saved is None and (new or losses.persistent):
            self._saved = self._curve()
        if new:
            self._reduce(losses.now)
        if losses.persistent:  # RFC 9002 §7.6.2, RFC 9438 §4.8
            # Unlike in RFC 9002, losses of what left until now will not lower the threshold once more.
            self._recover(losses.now)
            self._plateau = 0.0
            self._window = float(LEAST_WINDOW * self._datagram)
            self.window = int(self._window)

    def marked(self, sent: float, now: float) -> None:
        self._saved = None  # a mark is no mistake: what was done until now is not undone
        if sent > self._recovery_start:
            self._reduce(now)

    @property
    def _least(self) -> float:
        """Bytes to which losses may reduce the window; persistent congestion leaves less."""
        return float(max(LEAST_WINDOW * self._datagram, LEAST_BYTES))

    def _reduce(self, now: float) -> None:
        """RFC 9438 §4.6."""
        window = self._window
        # Fast convergence: who has to give way before it was back gives more to newer ones (§4.7).
        self._plateau = window * (1 + BETA) / 2 if window < self._plateau else window
        self._prior = window
        self._window = self._threshold = max(window * BETA, min(window, self._least))
        self.window = int(self._window)
        self._recover(now)

    def _recover(self, now: float) -> None:
        """What has left until now tells nothing of the new window."""
        self._recovery_start = now
        self._recovering = True
        self._epoch = inf

    # Undoing

    def undo(self) -> None:
        saved = self._saved
        self._saved = None
        if saved is None or saved.window <= self._window:
            return
        self._window, self._threshold, self._prior, self._plateau, self._flat_after, self._epoch, self._reno, since = (
            saved
        )
        self._recovery_start = since
        self.window = int(self._window)

    def _curve(self) -> _Curve:
        return _Curve(
            self._window,
            self._threshold,
            self._prior,
            self._plateau,
            self._flat_after,
            self._epoch,
            self._reno,
            self._recovery_start,
        )

    # What follows

    def resized(self, datagram: int) -> None:
        self._datagram = datagram
        self._epoch = inf  # the curve counts in datagrams, and so does the one that an undone reaction gives back
        if self._saved is not None:
            self._saved = self._saved._replace(epoch=inf)
        self._window = max(self._window, float(LEAST_WINDOW * datagram))
        self.window = int(self._window)

    def rate(self, rtt: RoundTrip) -> float:
        pace = SLOW_START_PACE if self._window < self._threshold else PACE
        return pace * self.window / max(rtt.smoothed, 1e-4)


CONTROLLER = Cubic
