"""
For tests of the link: a source that keeps a ledger, and two sides with a link each and nothing above it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hypermail.link.congestion import Acked, Lost
from hypermail.link.control import Control
from hypermail.link.link import Link
from hypermail.link.payload import Sent
from hypermail.link.recovery import Recovery
from hypermail.options import Options, Role
from hypermail.testing.modes import PLAIN, Handshakes
from hypermail.trace import NullTrace
from hypermail.wire import header
from hypermail.wire import packets as p
from hypermail.wire.codec import decode

STARTER_TAG = 0x1111111111111111
LISTENER_TAG = 0x2222222222222222
FIRST_TAG = 0x3333333333333333
#: A time on a monotonic clock that is not 0.
START = 1_000.0


class Ledger:
    """A L{hypermail.link.payload.Source} that writes down what it is told."""

    def __init__(self) -> None:
        self.arrived: list[tuple[int, int]] = []
        self.gone: list[tuple[int, int]] = []

    def acked(self, start: int, stop: int) -> None:
        self.arrived.append((start, stop))

    def lost(self, start: int, stop: int) -> None:
        self.gone.append((start, stop))


def send(
    recovery: Recovery, source: Ledger, times: Iterable[float], size: int = 1_200, long: bool = False
) -> list[int]:
    """Note datagrams sent at some times; each one's content is its own number. @return: the numbers."""
    numbers = []
    for time in times:
        number = recovery.take_number()
        recovery.sent(Sent(number, time, size, [(source, number, number + 1)], long))
        numbers.append(number)
    return numbers


def ack(*numbers: int, delay: float = 0.0) -> p.Ack:
    """An acknowledgement of some numbers."""
    ranges: list[tuple[int, int]] = []
    for number in sorted(numbers, reverse=True):
        if ranges and ranges[-1][0] == number + 1:
            ranges[-1] = (number, ranges[-1][1])
        else:
            ranges.append((number, number + 1))
    return p.Ack(int(delay * 1e6), tuple(ranges))


class Side:
    """One side: a link, and control packets as what it carries."""

    def __init__(
        self, role: Role, options: Options, now: float, remote_tag: int, handshakes: Handshakes = PLAIN
    ) -> None:
        self.role = role
        self.control = Control()
        self.taken: list[p.Packet] = []
        self.link = Link(
            role,
            options,
            handshakes[role](role),
            local_tag=STARTER_TAG if role is Role.STARTER else LISTENER_TAG,
            first_tag=FIRST_TAG,
            remote_tag=remote_tag,
            address="peer",
            now=now,
            trace=NullTrace(),
            skips=bytes((role,)),
        )

    def receive(self, datagrams: list[bytes], now: float) -> None:
        """One turn: take datagrams as a connection does."""
        forced = False
        for datagram in datagrams:
            opened = self.link.open(memoryview(datagram), now)
            if opened is None:
                continue
            packets = decode(opened.payload)
            for packet in packets:
                if isinstance(packet, p.Ack | p.Handshake | p.HealthPing | p.PathChallenge | p.PathResponse):
                    self.link.take(packet, now, opened.long)
                elif not isinstance(packet, p.Padding):
                    self.taken.append(packet)
            eliciting = any(not isinstance(packet, p.Ack | p.Padding | p.PathResponse) for packet in packets)
            self.link.received(opened, eliciting, now)
            forced = forced or (opened.long and eliciting)
        self.link.acks.end_turn(now, self.link.rtt.smoothed if self.link.rtt.measured else 0.0)
        if forced:
            self.link.acks.force()

    def send(self, now: float) -> list[bytes]:
        """All that leaves now."""
        out = self.link.outbound
        datagrams = [datagram for train in out.answer_challenges(now) for datagram in train.datagrams]
        datagrams += self.link.long_datagrams(now)
        while self.link.keyed:
            controlling = bool(self.control.waiting) and self.link.allowance.control > 0
            payload = out.begin(now, controlling)
            if controlling:
                self.control.fill(payload)
            if not out.finish(payload, now):
                self.link.allowance.blocked(now, bool(self.control.waiting))
                break
        return datagrams + out.depart(now)


class Pair:
    """A starter and a listener, and the virtual time that they share."""

    def __init__(
        self,
        starter: Options | None = None,
        listener: Options | None = None,
        delay: float = 0.01,
        handshakes: Handshakes = PLAIN,
    ) -> None:
        self.now = START
        self.delay = delay
        self.listener_options = listener or Options()
        self.handshakes = handshakes
        self.starter = Side(Role.STARTER, starter or Options(), self.now, FIRST_TAG, handshakes)
        self.listener: Side | None = None

    def to_listener(self, datagrams: list[bytes]) -> Side:
        """Datagrams reach the listener, which comes into being with the first."""
        if self.listener is None:
            head = header.decode_long(memoryview(datagrams[0]))
            assert head is not None
            self.listener = Side(Role.LISTENER, self.listener_options, self.now, head.source, self.handshakes)
        self.listener.receive(datagrams, self.now)
        return self.listener

    def turn(self) -> int:
        """What the starter has to say arrives, then what the listener has to say. @return: how many datagrams."""
        there = self.starter.send(self.now)
        self.now += self.delay
        if there:
            self.to_listener(there)
        back = self.listener.send(self.now) if self.listener is not None else []
        self.now += self.delay
        if back:
            self.starter.receive(back, self.now)
        return len(there) + len(back)

    def settle(self) -> Side:
        """Turn until both have nothing more to say at once. @return: the listener."""
        for _ in range(100):
            if not self.turn():
                break
        else:
            raise AssertionError("they never stop talking")
        assert self.listener is not None
        return self.listener


def acked(datagrams: Sequence[Sent], now: float, *, limited: bool = True, in_flight: int = 0, next: int = 0) -> Acked:
    """What a congestion controller is told of datagrams that have arrived, without a sample of the rate."""
    size = sum(sent.size for sent in datagrams)
    newest = max(datagrams, key=lambda sent: sent.number)
    return Acked(datagrams, size, newest, now, limited, in_flight, next, None)


def lost(
    datagrams: Sequence[Sent], now: float, *, persistent: bool = False, in_flight: int = 0, first: bool = True
) -> Lost:
    """What a congestion controller is told of datagrams that are taken for lost."""
    return Lost(datagrams, sum(sent.size for sent in datagrams), now, in_flight, persistent, first)
