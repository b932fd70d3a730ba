"""
The route: all that is known of the way to the peer, and starts afresh when the peer is found elsewhere.
"""

from __future__ import annotations

from typing import Any

from hypermail.link.allowance import Allowance
from hypermail.link.congestion import Congestion, controller
from hypermail.link.discovery import Discovery
from hypermail.link.ecn import NOT_ECT, Marking
from hypermail.link.moving import Moving
from hypermail.link.path import Path, same_host
from hypermail.link.recovery import PROBES, Recovery
from hypermail.link.rtt import RoundTrip
from hypermail.options import Options
from hypermail.trace import NullTrace
from hypermail.wire.packets import Ack

#: s that a datagram may last at the rate that the user allows; larger ones are not tried.
LONGEST_DATAGRAM = 0.05


class Route:
    """
    Of one link. Its parts are the same ones as long as the link lives, but for the controller and the doubt: on
    another path they forget what they knew (RFC 9000 §9.4). Of recovery that is what concerns the path; numbers go on.

    @param validated: whether it is known from the beginning that the peer receives at C{address}.
    @param secret: what paths are challenged with follows from it.

    @ivar path: where the peer is.
    @ivar rtt: the round trip.
    @ivar congestion: the controller.
    @ivar recovery: what is in flight, and what of it was lost.
    @ivar allowance: how much may leave now.
    @ivar discovery: finds out how large datagrams may be.
    @ivar marking: whether ours bear a mark of explicit congestion notification; None when they can't.
    @ivar moving: a listener's doubt where its starter is; None before there was any.
    @ivar moves: how often the peer was found at another address, or this side has moved.
    @ivar responses_forged: answers to challenges that nobody has sent.
    """

    __slots__ = (
        "_controller",
        "_options",
        "_secret",
        "_trace",
        "allowance",
        "congestion",
        "discovery",
        "marking",
        "moves",
        "moving",
        "path",
        "recovery",
        "responses_forged",
        "rtt",
    )

    def __init__(
        self, options: Options, address: Any, *, validated: bool, secret: bytes, now: float, trace: NullTrace
    ) -> None:
        self._options = options
        self._controller = controller(options.congestion)
        self._secret = secret
        self._trace = trace
        self.rtt = RoundTrip()
        self.path = Path(address, options.mtu, validated)
        self.congestion: Congestion = self._controller(self.path.mtu)
        self.recovery = Recovery(self.congestion, self.rtt, options.delivery_timeout, self.path.base)
        most = None if options.max_rate is None else options.max_rate / 8
        self.allowance = Allowance(
            self.path, self.rtt, self.recovery, self.congestion, options.receive_buffer, now, most
        )
        self.discovery = Discovery(self.path)
        self.marking = Marking(trace) if options.ecn else None
        self.moving: Moving | None = None  # made for the first datagram from elsewhere
        self.moves = 0
        self.responses_forged = 0

    @property
    def controller_name(self) -> str:
        """The controller's name."""
        return self._options.congestion

    def peer_limits(self, receive_buffer: int, max_datagram: int, now: float) -> None:
        """What the peer has told about its socket: see L{hypermail.link.link.Link.peer_limits}."""
        options = self._options
        self.allowance.buffer = max(receive_buffer, 2 * options.mtu)
        if options.discover_mtu:
            # A train is at most half of the buffer, and a window of one datagram would wait for each.
            most = min(max_datagram, options.max_datagram, self.allowance.buffer // 4)
            if options.max_rate is not None:
                most = min(most, int(options.max_rate / 8 * LONGEST_DATAGRAM))
            self.discovery.allow(most, now)

    # Acknowledgements

    def acknowledge(self, ack: Ack, now: float, long: bool) -> None:
        """
        Take an acknowledgement.

        @param long: whether it came in a long datagram: counts of marks in such a one (anybody's) say nothing.
        @raise hypermail.errors.ProtocolViolation: as L{Recovery.acknowledge} says.
        """
        recovery = self.recovery
        newly = recovery.acknowledge(ack, now, long)
        if not long:
            if self.discovery.numbers and self.discovery.acknowledged(ack.ranges, now):
                self.resized(now)
            marking = self.marking
            if marking is not None and newly and marking.acknowledged(ack, newly, recovery.oldest, now):
                self.congestion.marked(max(sent.time for sent in newly), now)
        if recovery.black_holes.found:
            self._flee(now)

    # The size of datagrams

    def probe_size(self, now: float) -> int:
        """
        What size is to be tried now: it needs room in the window, and a path where nothing else is in doubt.

        @return: bytes of the probe; 0 for none.
        """
        recovery = self.recovery
        if not self.path.validated or recovery.probes or recovery.timeouts:
            return 0
        if self.discovery.trying > self.congestion.window:  # where there is little to say that stays so
            return 0
        window = self.allowance.window
        room = window - recovery.in_flight
        share = self.allowance.share
        if share is not None and share < room:
            room = window = share
        if room < self.path.mtu:
            return 0
        return self.discovery.next_size(now, window)

    def probed(self, number: int, now: float) -> None:
        """The probe has left as datagram C{number}."""
        self.discovery.sent(number, now + self.rtt.probe_timeout)

    def explore(self, now: float) -> None:
        """C{path} is a new one: how large datagrams may be there has to be found out afresh."""
        self.discovery.move(self.path, now)
        self.recovery.black_holes.forget(self.recovery.next_number)
        self.resized(now)

    def _flee(self, now: float) -> None:
        """Leave a black hole: smaller datagrams pass."""
        self.recovery.black_holes.forget(self.recovery.next_number)
        if self.path.mtu > self.path.base:
            self.discovery.black_hole(now)
            self.resized(now)

    def resized(self, now: float) -> None:
        """The path is known to carry another size."""
        self.congestion.resized(self.path.mtu)
        self.allowance.resized(self.path.mtu)
        self._trace.event(now, "connectivity:mtu_updated", new=self.path.mtu)

    # Marks

    def mark(self, first: int, datagrams: int, now: float) -> int:
        """
        Short datagrams are about to leave together.

        @param first: no number below it is theirs, and none from it on another's.
        @param datagrams: how many.
        @return: the codepoint of explicit congestion notification that they are to bear. When none of them is going
            to be acknowledged they bear none: nobody would notice if it was what they are dropped for.
        """
        marking, recovery = self.marking, self.recovery
        if marking is None or recovery.newest < first:
            return NOT_ECT
        return marking.mark(first, datagrams, recovery.timeouts > 0, now)

    # Moves

    def locate(self, elsewhere: Any, size: int, newest: bool, now: float) -> None:
        """
        A listener's: an authentic datagram has come; perhaps the starter has moved.

        @param elsewhere: where it came from; None for the path's address.
        @param size: bytes of it.
        @param newest: whether no later one has arrived yet.
        """
        if elsewhere is None or elsewhere == self.path.address:
            if newest and self.moving is not None:
                self.moving.stay()
            return
        if self.moving is None:
            self.moving = Moving(self._secret)
        self.moving.seen(elsewhere, size, newest, now)

    def sent_to(self, address: Any, size: int) -> None:
        """A datagram of C{size} bytes was sent to C{address}, which may be the one that is doubted."""
        candidate = None if self.moving is None else self.moving.candidate
        if candidate is not None and candidate.address == address:
            candidate.sent(size)

    def answered(self, data: bytes, now: float) -> bool:
        """
        A challenge was answered.

        @return: whether the peer was found at another address by it.
        """
        moving = self.moving
        asked = None if moving is None else moving.answered(data)
        if asked is None or moving is None:
            self.responses_forged += 1
            return False
        address, when = asked
        if moving.candidate is None or moving.candidate.address != address:
            return False
        moving.stay()
        self._move(address, now - when, now)
        return True

    def _move(self, address: Any, elapsed: float, now: float) -> None:
        """The peer has answered a challenge at C{address}, C{elapsed} s after it was sent there (RFC 9000 §9.4)."""
        path = self.path
        before = path.address
        self._trace.event(now, "connectivity:path_updated", old=str(before), new=str(address))
        self.moves += 1
        if same_host(before, address):
            path.move(address, path.mtu)
            self.recovery.resend_all()
        else:
            path.move(address, path.base)
            self._start_afresh(elapsed, now)

    def moved(self, now: float) -> None:
        """A starter's: this side is at another address now. Say something, so that the listener learns of it."""
        self.moves += 1
        self._trace.event(now, "connectivity:path_updated", own=True)
        self.path.move(self.path.address, self.path.base)
        self._start_afresh(self.rtt.INITIAL, now)
        self.recovery.probes = PROBES

    def _start_afresh(self, rtt: float, now: float) -> None:
        """Nothing is known of the path any more. @param rtt: s, taken for true until a round trip was measured."""
        self.rtt.restart(rtt)
        self.congestion = self._controller(self.path.mtu)
        self.recovery.restart(self.congestion)
        self.allowance.restart(self.congestion, now)
        if self.marking is not None:
            self.marking.moved(now)
        self.explore(now)

    # Time

    def next_timeout(self, deadline: float) -> float:
        """s when to call L{timeout}, if that is before C{deadline}, else that."""
        other = self.recovery.deadline()
        if other is not None and other < deadline:
            deadline = other
        other = self.allowance.resume_at
        if other is not None and other < deadline:
            deadline = other
        other = self.discovery.deadline
        if other is not None and other < deadline:
            deadline = other
        if self.moving is not None and self.moving.due < deadline:
            deadline = self.moving.due
        return deadline

    def timeout(self, now: float) -> None:
        """Time has passed; harmless when early."""
        self.recovery.timeout(now)
        if self.moving is not None:
            self.moving.timeout(now)
        self.discovery.timeout(now)
        if self.recovery.black_holes.found:
            self._flee(now)
