"""
How much may leave now: window, pace and probes considered.
"""

from __future__ import annotations

from math import inf

from hypermail.link.congestion import Congestion
from hypermail.link.pacing import Pacer
from hypermail.link.path import Path
from hypermail.link.recovery import Recovery
from hypermail.link.rtt import RoundTrip

#: Datagrams that may leave before anything is known of a path (RFC 9002 §7.2).
INITIAL_WINDOW = 10
#: s; a round trip below this is one to the same machine, or to the next.
NEAR = 0.002
#: A datagram leaves when the window has room for so much of a full one: small ones would never use up a small window
#: otherwise, and no datagram is much smaller than what it is cut from.
LEAST_SHARE = 4


class Allowance:
    """
    Of one link.

    @param buffer: bytes that the peer's socket is taken to hold.
    @param most: bytes/s that the user allows, or None.

    @ivar buffer: as the peer has told.
    @ivar resume_at: s when the pace allows more; None when it holds nothing back.
    @ivar share: bytes of data that may still leave while it is told how many: see L{admit}.
    @ivar waits: whether others have held back what was to leave last.
    """

    __slots__ = (
        "_barred",
        "_congestion",
        "_cut",
        "_most",
        "_paced",
        "_pacer",
        "_path",
        "_recovery",
        "_rtt",
        "_turn",
        "buffer",
        "resume_at",
        "share",
        "waits",
    )

    def __init__(
        self,
        path: Path,
        rtt: RoundTrip,
        recovery: Recovery,
        congestion: Congestion,
        buffer: int,
        now: float,
        most: float | None = None,
    ) -> None:
        self._path = path
        self._rtt = rtt
        self._recovery = recovery
        self._congestion = congestion
        self._pacer = Pacer(path.mtu, now)
        self._most = inf if most is None else most
        self._paced = False  # whether it was the pace that held back
        self.buffer = buffer
        self._turn = False
        self._cut = self._barred = False  # by others: to less, and to nothing
        self.share: int | None = None
        self.waits = False
        self.resume_at: float | None = None

    def restart(self, congestion: Congestion, now: float) -> None:
        """The path is another one, with a controller of its own, and an MTU."""
        self._congestion = congestion
        self._pacer = Pacer(self._path.mtu, now)
        self.resume_at = None

    @property
    def window(self) -> int:
        """
        Bytes that may be in flight. On a path that is this short the queue is the receiver's socket buffer:
        it is not filled, or everything is lost whenever the receiver has other things to do.
        """
        window = self._congestion.window
        if window > self.buffer // 2 and self.round_trip < NEAR:
            return self.buffer // 2
        return window

    @property
    def round_trip(self) -> float:
        """s; the least that was measured. C{inf} before any was."""
        return self._rtt.least if self._rtt.measured else inf

    @property
    def in_flight(self) -> int:
        """Bytes sent, neither acknowledged nor lost."""
        return self._recovery.in_flight

    def admit(self, share: int | None, turn: bool = False) -> None:
        """
        Others send to the same socket, whose buffer is for all of them.

        @param share: bytes of data that may leave; None for as many as would if there were no others.
        @param turn: whether it is this one's turn to send them: then its own pace, which would have it send little and
            often, is of no matter.
        """
        self.share = share
        self._turn = turn
        self.waits = False

    def data(self, now: float) -> int:
        """
        Bytes of data that may leave now, 0 when none may yet: whole datagrams, or one that is shorter.
        """
        self.resume_at = None
        self._paced = self._cut = self._barred = False
        recovery, mtu = self._recovery, self._path.mtu
        if recovery.probes:
            last = self._path.base if recovery.small_probe else mtu
            return (recovery.probes - 1) * mtu + last
        allowed = self.window - recovery.in_flight
        if allowed < mtu // LEAST_SHARE:
            self._pacer.forgo()
            return 0
        share = self.share
        if share is not None and share < allowed:
            self._cut = True
            if share < self._path.base // LEAST_SHARE:
                self._barred = True
                return 0
            allowed = share
        rate = self._most if self._turn else self._rate()
        if rate < inf:
            paced = self._pacer.available(now, rate, self.buffer // 2)
            if paced < allowed and paced < mtu:
                self._paced = True
                return 0
            if paced < allowed:
                self._paced = True
                allowed = paced
        return allowed if allowed < mtu else allowed - allowed % mtu  # what is begun is filled

    def datagram(self, most: int) -> int:
        """
        Bytes that the next datagram may have: C{most}, unless it is a probe that every path carries. What the one
        before it has left over does not make it larger.
        """
        recovery = self._recovery
        return min(most, self._path.base) if recovery.probes == 1 and recovery.small_probe else most

    def _rate(self) -> float:
        """bytes/s at which datagrams leave: the controller's or the user's; C{inf} when there is neither yet."""
        if not self._rtt.measured:
            return self._most
        rate = self._congestion.rate(self._rtt)
        return rate if rate < self._most else self._most

    @property
    def control(self) -> int:
        """
        Bytes of control packets that may leave now. They wait for no pace, and not for the window either,
        but a flood of them (thousands of streams opened at once) is held to an initial window beyond it.
        """
        if self._recovery.probes:
            return self._path.mtu
        return self._congestion.window + INITIAL_WINDOW * self._path.base - self._recovery.in_flight

    def blocked(self, now: float, more: bool, again: bool = False) -> None:
        """
        Nothing more leaves in this turn.

        @param more: whether there was more that was held back.
        @param again: whether copies were held back.
        """
        limited = more or again
        self.waits = limited and self._cut and not self._paced
        if self.waits:
            if self._barred:
                return  # what has held back before is what the window is judged by
            limited = False
        if limited and self._paced:
            rate = self._rate()
            # Who is held back by the user's limit does not use up the window, which must not grow (RFC 9002 §7.8).
            limited = rate < self._most
            self.resume_at = self._pacer.resume_at(now, rate)
        self._recovery.blocked(limited)

    def resized(self, datagram: int) -> None:
        """Full datagrams have so many bytes from now on."""
        self._pacer.datagram = datagram

    def spent(self, size: int) -> None:
        """A datagram of C{size} bytes has left."""
        self._pacer.budget -= size
        if self.share is not None:
            self.share = max(0, self.share - size)
