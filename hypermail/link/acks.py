"""
The numbers that have arrived: what to acknowledge and when, and what is a replay.
"""

from __future__ import annotations

from hypermail.link.ecn import CE, ECT0, ECT1
from hypermail.wire.packets import Ack
from hypermail.wire.ranges import RangeSet

#: s; no acknowledgement waits longer. Counted in the peer's probe timeout.
MAX_ACK_DELAY = 0.025
#: Ranges told in one acknowledgement: further ones have been told before.
TOLD_RANGES = 32
#: Ranges in one acknowledgement from which on the peer is asked to acknowledge it, so that they are not told for ever.
MANY_RANGES = 5
#: Ranges remembered; below them every number counts as received.
KEPT_RANGES = 256
#: Numbers told in one range: what its 32 bits can count.
LONGEST_RUN = (1 << 32) - 1
#: Counts of marks are told modulo 2^32.
_COUNT = (1 << 32) - 1
#: µs that can be told.
_LONGEST_DELAY = (1 << 32) - 1
#: Of a round trip; no acknowledgement waits longer either. What is in flight stays there for so much longer, half of it
#: in the mean, and the window is worth as much less.
DELAY_SHARE = 1 / 16
#: s; a delay of less than half of it is none, since reactors wake on milliseconds.
TICK = 0.001
#: Datagrams at the beginning of which every second turn is acknowledged: the sender knows little of the path.
FIRST = 128
#: Datagrams that are acknowledged together afterwards, unless the delay is over before: with 1,200 bytes each, what is
#: sent back is less than one percent. With 8 a flow kept 78 % of a bottleneck from one of TCP's that came later; with
#: 16 it keeps about 60 %, as one of TCP's does.
TOGETHER = 16
#: Turns that are acknowledged at once when one shows a gap, itself included: the sender counts as many before something
#: is lost (RFC 9002 §6.1.1), and an acknowledgement that is lost itself must not hide it. Within the delay that others
#: have to wait there are no more of them than this either: where every other datagram is lost, each one shows a gap.
HASTY = 3


class Acks:
    """
    The receiving half of acknowledgement, of one direction of one link.

    One call of C{receive} on the connection is one turn. An acknowledgement is due at the end of the turn that shows
    a gap and of the two after it, and of every second turn, which must have brought L{TOGETHER} datagrams with those
    before it once the flow is known; otherwise after a sixteenth of the round trip, so that there are at least as many
    in each.

    @ivar due: whether one should be sent now.
    @ivar deadline: s when one will be due, or None.
    """

    __slots__ = (
        "_calm_at",
        "_congested",
        "_floor",
        "_hasty",
        "_hurried",
        "_largest_at",
        "_marks",
        "_news",
        "_ranges",
        "_told",
        "_turns",
        "_waiting",
        "deadline",
        "due",
        "largest",
    )

    def __init__(self) -> None:
        self._ranges = RangeSet()
        self._floor = 0  # below it everything counts as received
        self._told = 0  # below it the peer knows what we have
        self._largest_at = 0.0
        self._news = False
        self._turns = 0
        self._waiting = 0  # datagrams that wait for an acknowledgement
        self._hasty = 0  # turns that are still to be acknowledged at once
        self._calm_at = 0.0  # when the count of those begins anew
        self._hurried = 0
        self._marks: list[int] | None = None  # how many datagrams bore each codepoint, modulo, when any was marked
        self._congested = False  # whether the last did that was marked
        self.due = False
        self.deadline: float | None = None
        self.largest = -1

    def is_new(self, number: int) -> bool:
        """Whether a number was never received; if not it is a duplicate or a replay."""
        return number > self.largest or (number >= self._floor and number not in self._ranges)

    def new_ones(self, opened: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
        """
        Of datagrams that have come together, as (number, content), those whose numbers were never received, in their
        order.
        """
        largest = self.largest
        for number, _ in opened:
            if number <= largest:
                return self._sift(opened)
            largest = number
        return opened

    def _sift(self, opened: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
        """The same, when they do not ascend."""
        new: list[tuple[int, bytes]] = []
        seen: set[int] = set()
        for each in opened:
            if each[0] not in seen and self.is_new(each[0]):
                seen.add(each[0])
                new.append(each)
        return new

    def received(self, number: int, now: float, eliciting: bool) -> None:
        """
        Note a datagram whose contents have been taken.

        @param eliciting: whether the peer waits for an acknowledgement of it.
        """
        self.received_run(number, number + 1, now, eliciting)

    def received_run(self, start: int, stop: int, now: float, eliciting: bool) -> None:
        """
        Note datagrams with consecutive numbers whose contents have been taken.

        @param start: the first number; C{stop} is behind the last. All of them are above L{largest}, or none.
        @param eliciting: whether the peer waits for an acknowledgement of them.
        """
        due = self.largest + 1  # the number that follows
        if start >= due:
            if eliciting and start != due:
                self._hasty = HASTY
            self.largest = stop - 1
            self._largest_at = now
        else:
            if eliciting:
                self._hasty = max(self._hasty, 1)
            if start < self._told:
                self._told = start
        ranges = self._ranges
        ranges.add(start, stop)
        if start != due and len(ranges) > KEPT_RANGES:
            self._floor = ranges.drop_first()[1]
        if eliciting:
            self._news = True
            self._waiting += stop - start

    def marked(self, codepoint: int, count: int = 1) -> None:
        """
        Datagrams that were just noted bear a mark.

        @param codepoint: of the IP header's field: ECT(0), ECT(1) or CE, whose counts are told.
        """
        if self._marks is None:
            self._marks = [0, 0, 0, 0]
        self._marks[codepoint] = self._marks[codepoint] + count & _COUNT
        congested = codepoint == CE
        if congested and not self._congested:
            self._hasty = max(self._hasty, 1)  # told at once: RFC 9000 §13.2.1
        self._congested = congested

    def end_turn(self, now: float, round_trip: float) -> None:
        """
        The datagrams of one turn have all been noted.

        @param round_trip: s; 0 while it is not known.
        """
        if not self._news:
            return
        delay = DELAY_SHARE * round_trip
        self._news = False
        self._turns += 1
        enough = self._turns >= 2 and (self._waiting >= TOGETHER or self.largest < FIRST)
        if enough or 2 * delay < TICK or self._hurries(now, delay):
            self.due = True
        elif self.deadline is None:
            self.deadline = now + max(TICK, min(delay, MAX_ACK_DELAY))

    def _hurries(self, now: float, delay: float) -> bool:
        """Whether this turn is acknowledged at once for what it shows."""
        if not self._hasty:
            return False
        self._hasty -= 1
        if now >= self._calm_at:
            self._calm_at = now + delay
            self._hurried = 0
        self._hurried += 1
        return self._hurried <= HASTY

    def timeout(self, now: float) -> None:
        """Time has passed."""
        if self.deadline is not None and now >= self.deadline:
            self.due = True

    def force(self) -> None:
        """One should be sent now."""
        self.due = self.largest >= 0

    @property
    def pending(self) -> bool:
        """Whether anything has arrived that was not acknowledged: worth telling whenever a datagram leaves."""
        return self._turns > 0 or self.due

    @property
    def crowded(self) -> bool:
        """Whether an acknowledgement tells many ranges."""
        ranges = self._ranges
        return len(ranges) >= MANY_RANGES and len(ranges.highest(self._told, MANY_RANGES)) == MANY_RANGES

    def packet(self, now: float) -> Ack:
        """The acknowledgement; after this none is due."""
        self.due = False
        self.deadline = None
        self._turns = self._waiting = 0
        told = self._ranges.highest(self._told, TOLD_RANGES)
        if told[0][1] - told[-1][0] > LONGEST_RUN:
            told = _countable(told)
        waited = now - self._largest_at
        delay = int(waited * 1e6) if waited > 0.0 else 0
        if delay > _LONGEST_DELAY:
            delay = _LONGEST_DELAY
        counts = self._marks
        return Ack(delay, told, None if counts is None else (counts[ECT0], counts[ECT1], counts[CE]))

    # As a source: our own acknowledgements as contents of a datagram, addressed up to their largest number.

    def acked(self, start: int, stop: int) -> None:
        """The peer has the acknowledgement, and need not hear of what lies below it again."""
        if stop > self._told:
            self._told = stop

    def lost(self, start: int, stop: int) -> None:
        """The next acknowledgement tells it all anyway."""


def _countable(ranges: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
    """Ranges down to one that is too long to be told: what lies below was told billions of numbers ago."""
    for index, (start, stop) in enumerate(ranges):
        if stop - start > LONGEST_RUN:
            return (*ranges[:index], (stop - LONGEST_RUN, stop))
    return ranges
