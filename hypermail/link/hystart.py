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
#: It is sure earlier when a round ends with round trips so many times as long as before the queue. Five rounds make
#: the window three times as large, which overflows a queue of one round trip. At twice the pace a window that just
#: fills the path queues for half a round trip: where a round ends like this, the window is about that large.
SURE = 4 / 3


class HyStart:
    """
    The first slow start of one direction of one path. Where the least of eight round trips is higher than that of the
    round before, growth becomes conservative; if a whole round shows that no more it was noise, else slow start ends.

    RFC 9406 looks for that in the least round trip of a round. A round that doubles the window begins without a queue
    and ends with one that overflows, so that here any eight samples in a row will do; and one without a queue, with
    which each round begins, does not make it noise. RFC 9406 counts acknowledgements, of which TCP has one for every
    second segment. Ours are rarer: of a train, or of several, so that a round of a short path may have two of them. It
    is judged at its end by all of them, if it had eight datagrams.

    @ivar divisor: by which the growth of the window is to be divided.
    @ivar over: whether slow start is.
    """

    __slots__ = (
        "_base",
        "_datagrams",
        "_last",
        "_least",
        "_limit",
        "_queued",
        "_recent",
        "_round_end",
        "_rounds",
        "divisor",
        "over",
    )

    def __init__(self) -> None:
        self._last = inf  # least round trip of the round before
        self._least = inf  # of this one
        self._base = inf  # of the last one before growth became conservative
        self._limit = inf  # what it would take to be higher than that
        self._queued = False  # whether this round was
        self._rounds = 0  # that were
        self._recent: tuple[float, ...] = ()  # the last samples of this round, N_RTT_SAMPLE at most
        self._datagrams = 0  # that all of its samples speak of
        self._round_end = 0
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
        self._recent = (*self._recent[1 - N_RTT_SAMPLE :], round_trip)
        self._datagrams += datagrams
        self._least = min(self._least, round_trip)
        if len(self._recent) == N_RTT_SAMPLE:
            self._judge()

    def _end_round(self, next: int) -> None:
        if self._datagrams >= N_RTT_SAMPLE:
            self._judge()
        if self.divisor > 1:
            self._count_round()
        self._queued = False
        self._last, self._least = self._least, inf
        self._recent = ()
        self._datagrams = 0
        self._round_end = next

    def _count_round(self) -> None:
        if not self._queued:
            self.divisor = 1
            return
        self._rounds += 1  # the round in which it began counts, too
        self.over = self._rounds >= CSS_ROUNDS or min(self._recent) >= SURE * self._base

    def _judge(self) -> None:
        """RFC 9406 §4.2."""
        least = min(self._recent)
        if self.divisor == 1:
            limit = self._last + max(MIN_RTT_THRESH, min(self._last / MIN_RTT_DIVISOR, MAX_RTT_THRESH))
            if least < limit:
                return
            self._base, self._limit = self._last, limit
            self._rounds = 0
            self.divisor = CSS_GROWTH_DIVISOR
        if least >= self._limit:
            self._queued = True
