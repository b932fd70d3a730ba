"""
HyStart++ (RFC 9406): slow start ends when the round trip shows that a queue builds up, not only when it overflows.
"""

from __future__ import annotations

from math import inf

#: Samples of the round trip in a round before it is judged, and datagrams that they must speak of (RFC 9406 §4.3).
N_RTT_SAMPLE = 8
#: s; the least and the greatest rise of the round trip that counts, an eighth of it between them (§4.3).
MIN_RTT_THRESH = 0.004
MAX_RTT_THRESH = 0.016
MIN_RTT_DIVISOR = 8
#: How much slower the window grows while it is not sure whether that was a queue (§4.3).
CSS_GROWTH_DIVISOR = 4
#: Rounds after which it is sure (§4.3).
CSS_ROUNDS = 5


class HyStart:
    """
    The first slow start of one direction of one path. Where the least round trip of a round is higher than that of the
    round before, growth becomes conservative; if it comes down again all was noise, else slow start is over.

    RFC 9406 counts acknowledgements, of which TCP has one for every second segment. Ours are rarer: of a train, or of
    several, so that a round of a short path may have two of them. A round is judged when it has had eight, or at its
    end, if it had eight datagrams: what is judged is always the least of all samples there were.

    @ivar divisor: by which the growth of the window is to be divided.
    @ivar over: whether slow start is.
    """

    __slots__ = ("_baseline", "_datagrams", "_last", "_least", "_round_end", "_rounds", "_samples", "divisor", "over")

    def __init__(self) -> None:
        self._last = inf  # least round trip of the round before
        self._least = inf  # of this one
        self._baseline = inf  # what it was when growth became conservative
        self._samples = 0
        self._datagrams = 0
        self._round_end = 0
        self._rounds = 0
        self.divisor = 1
        self.over = False

    def acked(self, datagrams: int, newest: int, next: int, round_trip: float) -> None:
        """
        Datagrams have arrived.

        @param datagrams: how many.
        @param newest: the highest number of them.
        @param next: the number that the next datagram will have.
        @param round_trip: s, the sample that came with it.
        """
        if newest >= self._round_end:
            self._end_round(next)
        self._samples += 1
        self._datagrams += datagrams
        if round_trip < self._least:
            self._least = round_trip
        if self._samples >= N_RTT_SAMPLE:
            self._judge()

    def _end_round(self, next: int) -> None:
        if self._samples < N_RTT_SAMPLE <= self._datagrams:
            self._judge()
        self._round_end = next
        self._last = self._least
        self._least = inf
        self._samples = self._datagrams = 0
        if self.divisor > 1:
            self._rounds += 1  # the round in which it began counts, too
            self.over = self._rounds >= CSS_ROUNDS

    def _judge(self) -> None:
        """RFC 9406 §4.2."""
        if self.divisor > 1:
            if self._least < self._baseline:
                self.divisor = 1
        elif self._least >= self._last + max(MIN_RTT_THRESH, min(self._last / MIN_RTT_DIVISOR, MAX_RTT_THRESH)):
            self._baseline = self._least
            self._rounds = 0
            self.divisor = CSS_GROWTH_DIVISOR
