"""
What a network does to the datagrams of one direction, and how often it has done it.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, fields
from math import inf


@dataclass(frozen=True, slots=True)
class Blackhole:
    """
    A time in which every datagram that enters vanishes; those on their way still arrive.

    @ivar start: s after the start of the network.
    @ivar stop: s after the start of the network; C{math.inf} for never.
    @ivar every: s from one start to the next, when it comes again and again.
    """

    start: float
    stop: float
    every: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.stop:
            raise ValueError(f"a blackhole from {self.start} s to {self.stop} s is none")
        if self.every is not None and self.every <= self.stop - self.start:
            raise ValueError(f"a blackhole of {self.stop - self.start} s every {self.every} s leaves nothing")

    def covers(self, elapsed: float) -> bool:
        """Whether datagrams vanish C{elapsed} seconds after the start of the network."""
        since = elapsed - self.start
        if since < 0:
            return False
        if self.every is not None:
            since %= self.every
        return since < self.stop - self.start


_PROBABILITIES = ("loss", "duplication", "reordering", "corruption")
_TIMES = ("delay", "jitter")
_COUNTS = ("bandwidth", "queue_bytes", "queue_datagrams", "mark_bytes", "mtu", "longest_loss")


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """
    What happens to datagrams in one direction; by default they arrive at once and unharmed, unless Ethernet is too
    small for them.

    A datagram meets, in this order: blackholes, the MTU, what changes its codepoint, loss, the bottleneck with
    its queue, then duplication; each copy by itself meets delay, jitter, reordering and corruption.
    Probabilities are from 0 to 1 and independent for each datagram.

    @ivar loss: share of datagrams that are lost, in the long run.
    @ivar longest_loss: when given, losses come in runs of one to so many datagrams, never more in a row;
        C{loss} is still their share.
    @ivar lost_numbers: these are lost besides: numbers of datagrams in this direction, counted from 1.
    @ivar duplication: probability that a datagram arrives twice.
    @ivar reordering: probability that a datagram is held up, so that later ones overtake it.
    @ivar reordering_delay: s; for how long at least and at most.
    @ivar delay: s; one way.
    @ivar jitter: s that are added to C{delay}, from none to all of it.
    @ivar jitter_overtakes: whether datagrams overtake each other by jitter; otherwise they keep their order,
        as those in a queue do.
    @ivar corruption: probability that one byte is changed.
    @ivar bandwidth: bit/s, of datagrams with their IP and UDP headers; None for no limit.
    @ivar queue_bytes: bytes, headers included, that may wait for the bottleneck or be in it; what comes
        then is dropped. None for no limit.
    @ivar queue_datagrams: the same, in datagrams.
    @ivar mark_bytes: the same, in bytes, but what comes then passes with the codepoint CE, if it came with one
        of explicit congestion notification (RFC 3168).
    @ivar codepoints: what becomes of each codepoint (0 for none, 1 for ECT(1), 2 for ECT(0), 3 for CE) before
        the bottleneck; None when what bears it vanishes. So C{(0, 0, 0, 0)} clears all, C{(0, 3, 3, 3)} marks
        everything.
    @ivar mtu: bytes of the largest IP packet; larger ones vanish. None for no limit.
    @ivar blackholes: when everything vanishes.
    """

    loss: float = 0.0
    longest_loss: int | None = None
    lost_numbers: Container[int] = ()
    duplication: float = 0.0
    reordering: float = 0.0
    reordering_delay: tuple[float, float] = (0.005, 0.030)
    delay: float = 0.0
    jitter: float = 0.0
    jitter_overtakes: bool = False
    corruption: float = 0.0
    bandwidth: float | None = None
    queue_bytes: int | None = None
    queue_datagrams: int | None = None
    mark_bytes: int | None = None
    codepoints: tuple[int | None, int | None, int | None, int | None] = (0, 1, 2, 3)
    mtu: int | None = 1_500
    blackholes: tuple[Blackhole, ...] = ()

    def __post_init__(self) -> None:
        for name in _PROBABILITIES:
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a probability from 0 to 1, not {getattr(self, name)!r}")
        for name in _TIMES:
            if not 0 <= getattr(self, name) < inf:
                raise ValueError(f"{name} is a number of seconds, not {getattr(self, name)!r}")
        for name in _COUNTS:
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ValueError(f"{name} must be positive or None, not {value!r}")
        least, most = self.reordering_delay
        if not 0 <= least <= most < inf:
            raise ValueError(f"reordering_delay is (least, most) in seconds, not {self.reordering_delay!r}")
        if len(self.codepoints) != 4 or any(becomes not in (None, 0, 1, 2, 3) for becomes in self.codepoints):
            raise ValueError(f"codepoints says what becomes of each of the four, not {self.codepoints!r}")
        limits = (self.queue_bytes, self.queue_datagrams, self.mark_bytes)
        if self.bandwidth is None and limits != (None, None, None):
            raise ValueError("there is no queue where the bandwidth has no limit")
        if self.longest_loss is not None and self.loss_run_probability > 1:
            most_loss = (self.longest_loss + 1) / (self.longest_loss + 3)
            raise ValueError(f"with runs of at most {self.longest_loss} at most {most_loss:.0%} can be lost")

    @property
    def loss_run_probability(self) -> float:
        """
        With C{longest_loss}: the probability that a datagram begins a run of losses.

        Runs have (1 + longest) / 2 datagrams on average, and at least one datagram passes between two.
        """
        if self.longest_loss is None or not self.loss:
            return self.loss
        if self.loss == 1:
            return inf
        return self.loss / ((1 - self.loss) * (1 + self.longest_loss) / 2)


#: Every datagram that Ethernet carries arrives at once.
PERFECT = Conditions()


@dataclass(slots=True)
class Counters:
    """
    What has become of the datagrams of one direction.

    C{sent + duplicated} is the sum of C{delivered}, C{lost}, C{overflowed}, C{oversized}, C{blackholed},
    C{unreachable} and what is still on its way.

    @ivar sent: datagrams that entered.
    @ivar sent_bytes: bytes of their payloads.
    @ivar delivered: datagrams that were handed over, second copies and corrupted ones included.
    @ivar delivered_bytes: bytes of their payloads.
    @ivar lost: by C{loss}, C{lost_numbers} and C{codepoints}.
    @ivar lost_bytes: bytes of their payloads.
    @ivar duplicated: second copies.
    @ivar reordered: held up.
    @ivar corrupted: changed.
    @ivar marked: by the bottleneck, because its queue was long.
    @ivar overflowed: dropped because the queue was full.
    @ivar oversized: larger than the MTU.
    @ivar blackholed: vanished in a blackhole.
    @ivar unreachable: arrived at an address where nobody listens (any more).
    """

    sent: int = 0
    sent_bytes: int = 0
    delivered: int = 0
    delivered_bytes: int = 0
    lost: int = 0
    lost_bytes: int = 0
    duplicated: int = 0
    reordered: int = 0
    corrupted: int = 0
    marked: int = 0
    overflowed: int = 0
    oversized: int = 0
    blackholed: int = 0
    unreachable: int = 0

    def __add__(self, other: Counters) -> Counters:
        return Counters(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))

    def __str__(self) -> str:
        told = ((field.name, getattr(self, field.name)) for field in fields(self))
        return ", ".join(f"{name} {value}" for name, value in told if value) or "nothing"
