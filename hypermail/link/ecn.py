"""
Explicit congestion notification: whether a path carries marks, and what it says with them (RFC 9000 §13.4 and A.4).

A network that is about to be congested sets CE on datagrams that were sent as ECT(0), where it would drop others. The
receiver counts what arrives and tells the counts in its acknowledgements. Not every path leaves the field alone: some
clear it, some set it on everything, some drop what bears it. So a path is tested first, and what the peer tells is
compared, for ever after, with what was sent and acknowledged.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypermail.link.payload import Sent
from hypermail.link.states import ECN, EcnInput, EcnState
from hypermail.trace import NullTrace
from hypermail.wire.packets import Ack, Marks

#: The values of the field in the IP header (RFC 3168 §5).
NOT_ECT, ECT1, ECT0, CE = range(4)

#: Marked datagrams that test a path (RFC 9000 §13.4.2).
TEST_DATAGRAMS = 10
#: Times that a probe timeout has followed marked datagrams, none of which was acknowledged, after which the path is
#: taken to drop them.
MOST_SILENCES = 3

# Looked up with each train: a name of the module is found ten times as fast as a member of an enum.
_TESTING = EcnState.TESTING
_CAPABLE = EcnState.CAPABLE
_UNKNOWN = EcnState.UNKNOWN
_FAILED = EcnState.FAILED

_NO_END = 1 << 63
_MASK = (1 << 32) - 1

#: The statistics of a link that marks nothing.
OFF: dict[str, Any] = {"ecn": "off", "ecn_marked": 0, "ecn_impossible": 0}


class Marking:
    """
    The sending half, of one direction of one link.

    Datagrams bear no note of whether they were marked: the numbers of the newest run of marked ones are known, and
    older ones are not asked for any more, which demands less of the counts, never more.

    @ivar state: of the path.
    @ivar reported: datagrams that the peer says arrived with CE, of those that were sent marked.
    @ivar impossible: acknowledgements with counts that can't be, by the peer's fault or the path's: they have gone
        back, or are greater than what was sent.
    """

    __slots__ = (
        "_acked",
        "_counts",
        "_kept",
        "_largest",
        "_sent",
        "_silences",
        "_silent",
        "_since",
        "_stop",
        "_trace",
        "_unreported",
        "impossible",
        "reported",
        "state",
    )

    def __init__(self, trace: NullTrace) -> None:
        self._trace = trace
        self.state = ECN.initial
        self.reported = 0
        self.impossible = 0
        self._counts: Marks = (0, 0, 0)  # as they were told last
        self._largest = -1  # acknowledged, of all numbers
        self._unreported = 0  # datagrams that were sent marked, and are in no count yet
        self._test()

    def _test(self) -> None:
        self._since = self._stop = 0  # the newest run of marked datagrams: none yet
        self._sent = 0  # in this test
        self._acked = 0  # of this path's marked datagrams
        self._kept = False  # whether any has arrived as it was sent
        self._silent = False  # whether a probe timeout is unanswered
        self._silences = 0  # how often that came since a marked datagram was acknowledged

    def statistics(self) -> dict[str, Any]:
        """The state, and counters, for people to look at."""
        return {"ecn": self.state.name.lower(), "ecn_marked": self.reported, "ecn_impossible": self.impossible}

    def moved(self, now: float) -> None:
        """Another path is used now: nothing is known of it (RFC 9000 §9.4)."""
        self._become(ECN.initial, now)
        self._test()

    # Sending

    def mark(self, first: int, datagrams: int, silent: bool, now: float) -> int:
        """
        Datagrams are about to leave together, some of which are going to be acknowledged.

        @param first: number of the first of them, or below it and above all others.
        @param datagrams: how many.
        @param silent: whether a probe timeout is unanswered. What leaves then is not marked, in case that the marks
            are what is dropped.
        @return: the codepoint that they are to bear.
        """
        if silent is not self._silent:
            self._silent = silent
            self._silences += silent
            if self._silences >= MOST_SILENCES and self.state in (EcnState.TESTING, EcnState.CAPABLE):
                self._move(EcnInput.REFUTED, now)
        state = self.state
        if silent or (state is not _CAPABLE and state is not _TESTING):
            self._stop = min(self._stop, first)
            return NOT_ECT
        if self._stop != _NO_END:
            self._since, self._stop = first, _NO_END
        self._unreported += datagrams
        self._sent += datagrams
        if state is _TESTING and self._sent >= TEST_DATAGRAMS:
            self._move(EcnInput.TESTED, now)
        return ECT0

    # Hearing

    def acknowledged(self, ack: Ack, newly: Sequence[Sent], oldest: int | None, now: float) -> bool:
        """
        Compare what an acknowledgement counts with what was sent.

        @param newly: what it acknowledges for the first time; not empty.
        @param oldest: the oldest number in flight, if any is.
        @return: whether it tells of congestion on the path (RFC 9002 §7.1).
        """
        since, stop = self._since, self._stop
        marked = 0
        for sent in newly:
            number = sent.number
            low, high = number - sent.count + 1, number + 1
            if low < since:
                low = since
            if high > stop:
                high = stop
            if high > low:
                marked += high - low
        if marked:
            self._acked += marked
            self._silences = 0
        congested = False
        largest = ack.ranges[0][1] - 1
        if largest > self._largest:  # others may have been overtaken, their counts are old: RFC 9000 §13.4.2.1
            self._largest = largest
            congested = self._compare(ack.marks, marked, now)
        if self.state is _UNKNOWN and not self._kept and (oldest is None or oldest >= self._stop):
            self._move(EcnInput.REFUTED, now)  # of those that were marked none has come as it was: RFC 9000 §13.4.2
        return congested

    def _compare(self, counts: Marks | None, marked: int, now: float) -> bool:
        """RFC 9000 §13.4.2.1, with counts modulo 2^32."""
        if counts is None:
            if marked and self.state is not _FAILED:
                self._move(EcnInput.REFUTED, now)
            return False
        kept, other, congested = counts
        kept_before, other_before, congested_before = self._counts
        self._counts = counts
        if self.state is _FAILED:
            return False
        kept = (kept - kept_before) & _MASK
        other = (other - other_before) & _MASK
        congested = (congested - congested_before) & _MASK
        if kept + other + congested > self._unreported:  # one that has gone back is too large
            self.impossible += 1
            self._move(EcnInput.REFUTED, now)
            return False
        self._unreported -= kept + congested
        self.reported += congested
        self._kept = self._kept or kept > 0
        cleared = other or kept + congested < marked
        if cleared or (not self._kept and self._acked >= TEST_DATAGRAMS):  # or CE is set on everything: RFC 9000 A.4
            self._move(EcnInput.REFUTED, now)
            return False
        if self.state is not _CAPABLE and self._acked and self._kept:
            self._move(EcnInput.VALIDATED, now)
        return congested > 0

    def _move(self, input: EcnInput, now: float) -> None:
        self._become(ECN.next(self.state, input), now)

    def _become(self, state: EcnState, now: float) -> None:
        if state is not self.state:
            old, new = self.state.name.lower(), state.name.lower()
            self._trace.event(now, "recovery:ecn_state_updated", old=old, new=new)
            self.state = state
