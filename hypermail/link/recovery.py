"""
Loss: which datagrams did not arrive, and when to ask (RFC 9002, with the caps of C{docs/protocol/link.rst}).
"""

from __future__ import annotations

from itertools import islice
from math import inf

from hypermail.errors import ProtocolViolation
from hypermail.link.acks import MAX_ACK_DELAY
from hypermail.link.answers import UNIMPORTANT
from hypermail.link.blackholes import BlackHoles
from hypermail.link.congestion import Acked, Congestion, Lost
from hypermail.link.delivery import DeliveryRate
from hypermail.link.doubt import Doubt
from hypermail.link.flying import Flying
from hypermail.link.payload import Sent, Source
from hypermail.link.reordering import Reordering
from hypermail.link.rtt import GRANULARITY, RoundTrip
from hypermail.link.skips import Skips
from hypermail.wire.packets import Ack
from hypermail.wire.ranges import RangeSet

#: s; the first probe of an opening, and how far it doubles.
FIRST_PROBE = 0.2
LAST_OPENING_PROBE = 0.5
#: s; later probe timeouts double no further than this, or their base, so that a path that returns is
#: found at once; the heartbeat bounds how long it goes on.
LONGEST_PROBE = 0.25
#: Datagrams that one probe timeout sends.
PROBES = 2
#: Probe timeouts in a row from which on the last probe is small: the path may not carry large datagrams any more.
TIMEOUTS_BEFORE_SMALL = 2


class Recovery:
    """
    The sending half of acknowledgement, of one direction of one link.

    Numbers and times grow together, so the oldest datagram in flight is always the next to be lost, and
    each acknowledgement costs what it brings.

    @ivar probes: datagrams that may leave whatever the window says.
    @ivar opening: whether the peer has not proved yet that it has the session's keys.
    @ivar limited: whether the sender had more to send than it was allowed to.
    @ivar late_datagrams: those that were declared lost, and came after all.
    @ivar black_holes: watches for paths that swallow large datagrams.
    @ivar skips: which numbers are left out; nobody's before there are keys.
    @ivar timeouts: probe timeouts in a row.
    @ivar newest: the newest number that has ever been in flight; -1 when none has.
    """

    __slots__ = (
        "_congestion",
        "_delivery",
        "_delivery_timeout",
        "_doubt",
        "_flight_at",
        "_flying",
        "_largest_acked",
        "_last_sent",
        "_loss_at",
        "_measured_at",
        "_next",
        "_reordering",
        "_rtt",
        "black_holes",
        "late_datagrams",
        "limited",
        "lost_bytes",
        "lost_datagrams",
        "newest",
        "opening",
        "probe_timeouts",
        "probes",
        "skips",
        "timeouts",
    )

    def __init__(self, congestion: Congestion, rtt: RoundTrip, delivery_timeout: float, base: int = 1_200) -> None:
        self._congestion = congestion
        self._rtt = rtt
        self._delivery_timeout = delivery_timeout
        self._delivery = DeliveryRate()
        self._doubt: Doubt | None = None  # made for the first loss
        self._reordering = Reordering()
        self._flying = Flying()
        self._flight_at = 0.0  # nothing that is in flight was sent before
        self._next = 0
        self._largest_acked = -1
        self._last_sent = 0.0
        self._loss_at: float | None = None
        self._measured_at = inf  # when the round trip was first known
        self.newest = -1
        self.timeouts = 0
        self.probes = 0
        self.black_holes = BlackHoles(base)
        self.opening = True
        self.limited = False
        self.skips: Skips | None = None
        self.lost_datagrams = 0
        self.lost_bytes = 0
        self.late_datagrams = 0
        self.probe_timeouts = 0

    def take_number(self) -> int:
        """A packet number that was never used before."""
        number = self._next
        if self.skips is not None and number >= self.skips.next:
            number = self.skips.skip(number)
        self._next = number + 1
        return number

    def take_numbers(self, most: int) -> tuple[int, int]:
        """@return: the first of packet numbers that follow each other, and how many: C{most} of them, or fewer."""
        first = self.take_number()
        count = most if self.skips is None else min(most, self.skips.next - first)
        self._next = first + count
        return first, count

    @property
    def small_probe(self) -> bool:
        """Whether the last of the probes should be one that every path carries."""
        return self.timeouts >= TIMEOUTS_BEFORE_SMALL

    @property
    def next_number(self) -> int:
        """No number below it will be used any more."""
        return self._next

    def sent(self, datagram: Sent) -> None:
        """A datagram with contents has left, or several that are filled alike."""
        delivery, flying = self._delivery, self._flying
        if not flying.size:
            self._flight_at = datagram.time
            delivery.begin(datagram.time)
        datagram.stamp = delivery.stamp
        flying.add(datagram)
        self.newest = datagram.number
        self._last_sent = datagram.time
        if self.probes:
            self.probes = max(0, self.probes - datagram.count)

    @property
    def in_flight(self) -> int:
        """Bytes sent, neither acknowledged nor lost."""
        return self._flying.size

    def blocked(self, more: bool) -> None:
        """
        Nothing more leaves for now.

        @param more: whether there is more that is held back; otherwise the application has no more to say.
        """
        self.limited = more
        if not more:
            self._delivery.idle(self._flying.size)

    def acknowledge(self, ack: Ack, now: float, long: bool) -> list[Sent]:
        """
        Take an acknowledgement.

        @param long: whether it came in a long datagram; it speaks of long ones then, else of short ones.
        @return: the datagrams that it newly acknowledges.
        @raise ProtocolViolation: when a short one names numbers that were never sent.
        """
        ranges = ack.ranges
        largest = ranges[0][1] - 1
        if largest >= self._next:
            if long:
                return []  # anybody who has seen the first tag could have made the peer say so
            raise ProtocolViolation(f"the peer acknowledges datagram {largest}, which was never sent")
        skips, flying = self.skips, self._flying
        if skips is not None and ranges[-1][0] <= skips.latest and (skipped := skips.among(ranges)) is not None:
            raise ProtocolViolation(f"the peer acknowledges datagram {skipped}, which was left out on purpose")
        before = flying.size
        newly = flying.take(ranges, long)
        size = before - flying.size
        if self._doubt:
            late = self._late(self._doubt, ack, now, long)
            newly += late
            size += sum([sent.size for sent in late])
        if not newly:
            return newly
        newest = newly[-1] if self._doubt is None else max(newly, key=_number)
        number, time = newest.number, newest.time
        rtt, delay = self._rtt, ack.delay / 1e6
        if size > self.black_holes.base:  # or all of them are smaller, and prove nothing
            self.black_holes.acked(newly, newest)
        if number == largest:
            if not rtt.measured:
                self._measured_at = now
            rtt.sample(now - time, delay)
        if number > self._largest_acked:
            self._largest_acked = number
        self.timeouts = 0
        self.probes = 0
        arrived = now - (delay if delay < MAX_ACK_DELAY else MAX_ACK_DELAY)
        news = Acked(
            datagrams=newly,
            size=size,
            newest=newest,
            now=now,
            limited=self.limited,
            in_flight=flying.size,
            next=self._next,
            sample=self._delivery.acked(size, newest.stamp, time, arrived),
        )
        self._congestion.acked(news, rtt)
        for sent in newly:
            for source, start, stop in sent.contents:
                source.acked(start, stop)
        if flying.size:
            self.detect(now)
        else:
            self._loss_at = None
        return newly

    def _late(self, doubt: Doubt, ack: Ack, now: float, long: bool) -> list[Sent]:
        """The datagrams that were declared lost wrongly (RFC 9438 §4.9, RFC 8985 §6.2)."""
        late = doubt.arrived(ack.ranges, long)
        for sent in late:
            self._reordering.late(now - sent.time, self._rtt)
        self.late_datagrams += len(late)
        doubt.expire(now, self._rtt)
        if doubt.undone:
            doubt.undone = False
            self._congestion.undo()
        if doubt.real:
            doubt.real = False
            self._reordering.real()
        return late

    def detect(self, now: float) -> None:
        """Declare lost what was overtaken (RFC 9002 §6.1), or is older than C{delivery_timeout} (seed 001)."""
        lost: list[Sent] = []
        self._loss_at = None
        packets = self._reordering.packets
        largest = self._largest_acked
        overtaken = largest - packets if packets else -1
        delay = min(self._reordering.delay(self._rtt), self._delivery_timeout)
        for sent in self._flying:
            if sent.number > largest:
                if sent.time + self._delivery_timeout > now:
                    break
            elif sent.number > overtaken and sent.time + delay > now:
                if sent.first <= overtaken:
                    self._flying.tell_apart(sent)
                    self.detect(now)
                    return
                self._loss_at = sent.time + delay
                break
            lost.append(sent)
        if lost:
            self._declare_lost(lost, now)

    def _declare_lost(self, entries: list[Sent], now: float) -> None:
        for sent in entries:
            self._flying.remove(sent)
            for source, start, stop in sent.contents:
                source.lost(start, stop)
        lost = [each for sent in entries for each in sent.each()]
        size = sum([sent.size for sent in lost])
        self.lost_bytes += size
        self.lost_datagrams += len(lost)
        if self._doubt is None:
            self._doubt = Doubt()
        first = self._doubt.add(lost)
        hole = self.black_holes.lost(lost, self._largest_acked, self._rtt.smoothed)
        persistent = not hole and self._persistent(lost)
        self._congestion.lost(Lost(lost, size, now, self.in_flight, persistent, first), self._rtt)
        if persistent:
            self._rtt.forget_least()

    def _persistent(self, lost: list[Sent]) -> bool:
        """
        Whether datagrams that were lost in a row, and were sent since the round trip is known, span more than three
        probe timeouts (RFC 9002 §7.6).
        """
        span = 3 * self._rtt.probe_timeout
        first = previous = lost[0]
        for sent in lost[1:]:
            if sent.number != previous.number + 1 or first.time < self._measured_at:
                first = sent
            previous = sent
            if sent.time - first.time > span:
                return True
        return False

    def forget_long(self, now: float) -> None:
        """
        The keys of long datagrams are gone: what is in flight of them will never be acknowledged. But the peer has it,
        or could not have said what it has; so it tells of the round trip, unless it was sent more than once (Karn).
        """
        long = [sent for sent in self._flying if sent.long]
        if long and not self._rtt.measured and long[-1].time - long[0].time <= GRANULARITY:
            self._measured_at = now
            self._rtt.sample(now - long[0].time, 0.0)
        for sent in long:
            self._flying.remove(sent)
        self._doubt = None  # whatever was lost until now was long

    def resend_all(self) -> None:
        """
        The peer does not have what it was sent, after a retry, or perhaps not, after a move: send it again; no network
        has lost it. Acknowledgements that come nevertheless find nothing.
        """
        for sent in self._flying:
            for source, start, stop in sent.contents:
                source.lost(start, stop)
        self._flying.clear()
        self._loss_at = None
        self.timeouts = 0

    def restart(self, congestion: Congestion) -> None:
        """The path is another one, with a controller of its own: what is in flight is sent again there."""
        self.resend_all()
        self._congestion = congestion
        self._delivery = DeliveryRate()
        self._reordering = Reordering()
        self._doubt = None
        self._measured_at = inf

    @property
    def oldest(self) -> int | None:
        """The oldest number in flight."""
        oldest = self._flying.oldest if self._flying.size else None
        return None if oldest is None else oldest.first

    @property
    def unanswered(self) -> bool:
        """Whether a probe timeout has passed since anything was acknowledged."""
        return self.timeouts > 0

    @property
    def calm(self) -> bool:
        """Whether nothing is in flight but perhaps a ping, and nothing waits to be."""
        if self.limited or self.probes or self.timeouts:
            return False
        flying = self._flying
        oldest = flying.oldest if flying.size else None
        return oldest is None or (oldest.contents[0][0] is UNIMPORTANT and oldest.number == flying.newest)

    def flying(self, source: Source) -> RangeSet:
        """What of one source's contents is in flight."""
        return self._flying.of(source)

    def deadline(self) -> float | None:
        """s when to call L{timeout}."""
        if self._loss_at is not None:
            return self._loss_at
        flying = self._flying
        if not flying.size and not self.opening:
            return None
        probe = self._last_sent + self._interval()
        if flying.size and self._flight_at + self._delivery_timeout < probe and (oldest := flying.oldest) is not None:
            return min(probe, oldest.time + self._delivery_timeout)
        return probe

    def _interval(self) -> float:
        """s between a datagram that elicits an answer and the probe that asks for it."""
        if not self.timeouts and not self.opening:
            return self._rtt.probe_timeout
        if self.opening:
            base = min(self._rtt.probe_timeout, FIRST_PROBE) if self._rtt.measured else FIRST_PROBE
            return min(base * 2.0**self.timeouts, LAST_OPENING_PROBE)
        base = self._rtt.probe_timeout
        return min(base * 2.0 ** min(self.timeouts, 16), max(LONGEST_PROBE, base))

    def timeout(self, now: float) -> None:
        """Time has passed; harmless when early."""
        deadline = self.deadline()
        if deadline is None or now < deadline:
            return
        self.detect(now)
        if self._loss_at is None and now >= self._last_sent + self._interval():
            self._probe(now)

    def _probe(self, now: float) -> None:
        """Nothing was heard for a probe timeout: send the oldest contents again (RFC 9002 §6.2.4)."""
        self.timeouts += 1
        self.probe_timeouts += 1
        self._last_sent = now
        self.probes = PROBES
        each = (one for sent in self._flying for one in sent.each())
        for sent in list(islice(each, PROBES)):
            for source, start, stop in sent.contents:
                source.lost(start, stop)


def _number(sent: Sent) -> int:
    return sent.number
