"""
The receiving half of a link: short datagrams are opened, and noted as received when their contents have been taken.
"""

from __future__ import annotations

from typing import NamedTuple

from hypermail.errors import HypermailError, KeysSpent
from hypermail.link.acks import Acks
from hypermail.link.departures import short_prefix
from hypermail.link.ecn import NOT_ECT
from hypermail.link.heartbeat import Heartbeat
from hypermail.link.keys import ReceivingKeys, Usage
from hypermail.link.route import Route
from hypermail.trace import NullTrace
from hypermail.wire import header
from hypermail.wire.numbers import expand

# Looked up with each datagram: a name of the module is found faster than an attribute of one.
_SHORT = header.SHORT
_HEADER = header.SHORT.size


class Opened(NamedTuple):
    """What was inside of an authentic datagram."""

    number: int
    payload: bytes
    long: bool


class Inbound:
    """
    Of one link.

    @param tag: that the datagrams bear.
    @param usage: of the link's keys.

    @ivar keys: that they are opened with; None while there are none.
    @ivar codepoint: of explicit congestion notification, that the datagrams of this turn bear.
    @ivar hasty: whether what elicits an acknowledgement next is acknowledged at once.
    @ivar failure: why nothing more can be taken, once nothing can.
    @ivar dropped: datagrams that did not open, or came twice, long ones included.
    @ivar datagrams: how many have come and did open, likewise.
    @ivar bytes: of these.
    """

    __slots__ = (
        "_acks",
        "_heartbeat",
        "_path",
        "_rtt",
        "_tag",
        "_trace",
        "_usage",
        "bytes",
        "codepoint",
        "datagrams",
        "dropped",
        "failure",
        "hasty",
        "keys",
    )

    def __init__(
        self, route: Route, acks: Acks, heartbeat: Heartbeat, tag: int, usage: Usage, trace: NullTrace
    ) -> None:
        self._path, self._rtt = route.path, route.rtt
        self._acks = acks
        self._heartbeat = heartbeat
        self._tag = tag
        self._usage = usage
        self._trace = trace
        self.keys: ReceivingKeys | None = None
        self.codepoint = NOT_ECT
        self.hasty = False
        self.failure: HypermailError | None = None
        self.dropped = 0
        self.datagrams = 0
        self.bytes = 0

    def open(self, datagram: memoryview, now: float, at_home: bool) -> Opened | None:
        """
        Open a datagram that bears our tag.

        @param at_home: whether it came from the path's address.
        @return: its content; None when it does not open, or is a replay.
        """
        keys, acks, size = self.keys, self._acks, len(datagram)
        if keys is None or size < _HEADER:
            return None
        kind, _, low = _SHORT.unpack_from(datagram)
        number = acks.largest + 1
        if number & 0xFFFFFFFF != low:  # it is not the one that is expected
            number = expand(low, number)
        self._usage.used(now)
        phase = kind & 1
        patience = 0.0 if phase == keys.phase else 3 * self._rtt.probe_timeout  # of use when the key changes
        content = keys.open(datagram, _HEADER, number, phase, now, patience)
        if content is None:
            self._note_forged(keys)
            return None
        if at_home:
            self._path.validated = True
        if number <= acks.largest and not acks.is_new(number):
            return None
        self.arrived(number, size, now, long=False)
        return Opened(number, content, False)

    def open_train(self, datagrams: list[memoryview], now: float) -> tuple[list[tuple[int, bytes]], int]:
        """
        Open datagrams from the path's address that bear our tag, while nothing of them changes how the next one is
        opened, up to the first that is not as usual.

        @return: numbers and contents of those that are authentic and new; how many were tried.
        """
        keys, acks = self.keys, self._acks
        if keys is None:
            return [], 0
        self._usage.used(now)
        opened, tried = keys.open_train(short_prefix(keys.phase, self._tag), datagrams, acks.largest + 1)
        self._note_forged(keys)
        opened = acks.new_ones(opened)
        self.dropped += tried - len(opened)
        if not opened:
            return opened, tried
        overhead = self.overhead
        self.datagrams += len(opened)
        self.bytes += sum([len(content) for _, content in opened]) + overhead * len(opened)
        self._heartbeat.heard(now)
        if type(self._trace) is not NullTrace:
            for number, content in opened:
                self._trace.received(now, number, len(content) + overhead, False)
        return opened, tried

    @property
    def overhead(self) -> int:
        """Bytes of a short datagram that are not packets."""
        return _HEADER + (self.keys.overhead if self.keys is not None else 0)

    def _note_forged(self, keys: ReceivingKeys) -> None:
        if keys.spent:
            self.failure = KeysSpent(f"{keys.forged} datagrams were forged: somebody attacks this link")

    def arrived(self, number: int, size: int, now: float, long: bool) -> None:
        """An authentic datagram of C{size} bytes, which has not come before."""
        self.datagrams += 1
        self.bytes += size
        self._heartbeat.heard(now)
        if type(self._trace) is not NullTrace:
            self._trace.received(now, number, size, long)

    def received(self, number: int, eliciting: bool, now: float) -> None:
        """The contents of a datagram have been taken, so it may be acknowledged."""
        self._acks.received_run(number, number + 1, now, eliciting)
        if self.codepoint:
            self._acks.marked(self.codepoint)
        if self.hasty:
            self.hasty = False
            if eliciting:
                self._acks.force()

    def received_run(self, start: int, stop: int, now: float) -> None:
        """The contents of datagrams C{start <= number < stop}, which want it, may be acknowledged."""
        self._acks.received_run(start, stop, now, True)
        if self.codepoint:
            self._acks.marked(self.codepoint, stop - start)
        if self.hasty:
            self.hasty = False
            self._acks.force()
