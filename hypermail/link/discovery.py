"""
How large datagrams may be: the search for the path's limit by probes (RFC 8899, RFC 9000 §14.3).

A probe is a datagram of the size in question that carries nothing that anybody would miss. That it arrives is proof;
that it doesn't, three times, is taken for proof. Nothing else is believed, least of all what routers say.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

from hypermail.link.path import Path
from hypermail.link.states import SEARCH, Search, SearchInput

#: Probes of one size that get lost before it counts as too large (RFC 8899 §5.1.2, MAX_PROBES).
MAX_PROBES = 3
#: s; after this a search that was complete is done again, for the path may carry more now (RFC 8899 §5.1.1).
RAISE = 600.0
#: s; the first search waits so long, unless there is so much to say that it pays at once: most sessions that are over
#: within that have no use for larger datagrams, and probes are half of the datagrams of those.
LEISURE = 0.25
#: s; a search after the first black hole waits this long, and twice as long after each further one.
PAUSE = 1.0
#: Bytes; the search ends when it is this close to the limit.
RESOLUTION = 8
#: Bytes of UDP payload that links are known to carry, by IPv6 and IPv4: Ethernet, jumbo frames, loopback.
KNOWN = (1_452, 1_472, 8_952, 8_972, 65_488, 65_507)


class Discovery:
    """
    The search on the path that is in use. It begins with the path's base, and afresh on each new path.

    Sizes that links are known to carry come first, in ascending order, so that each success is of use at once. Where
    one fails it is seen whether the size before was the limit, as it usually is; only if not, what lies between is
    halved.

    @ivar deadline: s when the probe that is in flight counts as lost, or the search begins; None for neither.
    @ivar due_at: s from when on the next probe may leave.
    @ivar numbers: of the datagrams that were probes of the size that is being tried.
    @ivar trying: bytes of the probe that is tried, or to be tried next; 0 while there is none.
    @ivar probes: that were sent.
    @ivar black_holes: that were found.
    """

    __slots__ = (
        "_ceiling",
        "_halving",
        "_path",
        "_state",
        "_too_large",
        "black_holes",
        "deadline",
        "due_at",
        "numbers",
        "probes",
        "trying",
    )

    def __init__(self, path: Path) -> None:
        self._path = path
        self._state = SEARCH.initial
        self._ceiling = path.base
        self._too_large = path.base
        self.trying = 0
        self._halving = False
        self.deadline: float | None = None
        self.due_at = inf
        self.numbers: tuple[int, ...] = ()
        self.probes = 0
        self.black_holes = 0

    def allow(self, ceiling: int, now: float) -> None:
        """
        The peer is known: search soon.

        @param ceiling: bytes; nothing larger is tried.
        """
        self._ceiling = ceiling
        if self._state is Search.BASE and ceiling > self._path.mtu:
            self.deadline = now + LEISURE

    def hurry(self, now: float) -> None:
        """There is much to say: if the search is to begin soon, then at the next occasion."""
        if self._state is Search.BASE and self.deadline is not None:
            self.deadline = None
            self.due_at = now

    def move(self, path: Path, now: float) -> None:
        """
        The peer is somewhere else: search afresh soon.

        @param path: of which nothing is known yet.
        """
        self._path = path
        self._state = SEARCH.initial
        self._forget()
        self.due_at = inf
        self.allow(self._ceiling, now)

    def next_size(self, now: float, most: int) -> int:
        """
        What to try now.

        @param most: bytes that a probe may have at this time.
        @return: bytes of a probe; 0 for none.
        """
        if now < self.due_at:
            return 0
        if self._state is not Search.SEARCHING:
            self._state = SEARCH.next(self._state, SearchInput.BEGIN)
            self._too_large = self._ceiling + 1
            self._halving = False
            self._choose(now)
        return self.trying if self.trying <= most else 0

    def sent(self, number: int, deadline: float) -> None:
        """
        The probe has left.

        @param number: its packet number.
        @param deadline: s when it counts as lost.
        """
        self.numbers = (*self.numbers, number)
        self.probes += 1
        self.deadline = deadline
        self.due_at = inf

    def acknowledged(self, ranges: Iterable[tuple[int, int]], now: float) -> bool:
        """
        The peer has these datagrams.

        @return: whether the path's MTU has grown by it.
        """
        if not any(start <= number < stop for start, stop in ranges for number in self.numbers):
            return False
        self._state = SEARCH.next(self._state, SearchInput.FITS)
        self._halving = self.trying not in KNOWN
        self._path.mtu = self.trying
        self._choose(now)
        return True

    def timeout(self, now: float) -> None:
        """Time has passed; harmless when early."""
        if self.deadline is None or now < self.deadline:
            return
        self.deadline = None
        self.due_at = now
        if len(self.numbers) >= MAX_PROBES:
            self._state = SEARCH.next(self._state, SearchInput.TOO_LARGE)
            self._too_large = self.trying
            self._choose(now)

    def black_hole(self, now: float) -> None:
        """What the path carried it carries no more: back to the base, and search again after a while."""
        self._state = SEARCH.next(self._state, SearchInput.BLACK_HOLE)
        self._path.mtu = self._path.base
        self._forget()
        self.due_at = now + min(PAUSE * 2.0 ** min(self.black_holes, 16), RAISE)
        self.black_holes += 1

    def _choose(self, now: float) -> None:
        """Decide what is tried next, or that there is nothing left to be tried."""
        self._forget()
        fits, too_large = self._path.mtu, self._too_large
        if too_large - fits <= (RESOLUTION if too_large <= self._ceiling else 1):
            self._state = SEARCH.next(self._state, SearchInput.EXHAUSTED)
            self.due_at = now + RAISE
            return
        self.due_at = now
        if self._halving:
            self.trying = (fits + too_large) // 2
            return
        known = [size for size in (*KNOWN, self._ceiling) if fits < size < too_large]
        self.trying = min(known) if known else fits + RESOLUTION

    def _forget(self) -> None:
        self.numbers = ()
        self.deadline = None
        self.trying = 0
