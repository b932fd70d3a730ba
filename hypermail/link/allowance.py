"""
How much may leave now: window, pace and probes considered.
"""

from __future__ import annotations

from hypermail.link.congestion import Congestion
from hypermail.link.pacing import Pacer
from hypermail.link.path import Path
from hypermail.link.recovery import Recovery
from hypermail.link.rtt import RoundTrip

#: Datagrams that may leave before anything is known of a path (RFC 9002 §7.2).
INITIAL_WINDOW = 10
#: s; a round trip below this is one to the same machine, or to the next.
NEAR = 0.002


class Allowance:
    """
    Of one link.

    @param buffer: bytes that the peer's socket is taken to hold.

    @ivar buffer: as the peer has told.
    @ivar resume_at: s when the pace allows more; None when it holds nothing back.
    """

    __slots__ = ("_congestion", "_pacer", "_path", "_recovery", "_rtt", "buffer", "resume_at")

    def __init__(
        self, path: Path, rtt: RoundTrip, recovery: Recovery, congestion: Congestion, buffer: int, now: float
    ) -> None:
        self._path = path
        self._rtt = rtt
        self._recovery = recovery
        self._congestion = congestion
        self._pacer = Pacer(path.mtu, now)
        self.buffer = buffer
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
        if self._rtt.measured and self._rtt.least < NEAR:
            return min(self._congestion.window, self.buffer // 2)
        return self._congestion.window

    def data(self, now: float) -> int:
        """Bytes of data that may leave now. Not yet is C{<= 0}."""
        self.resume_at = None
        recovery, mtu = self._recovery, self._path.mtu
        if recovery.probes:
            return recovery.probes * mtu
        window = self.window - recovery.in_flight
        if window < mtu:
            return 0
        if self._rtt.measured:
            window = min(window, self._pacer.available(now, self._congestion.rate(self._rtt), self.buffer // 2))
        return window - window % mtu  # whole datagrams, since what is begun is filled

    @property
    def control(self) -> int:
        """
        Bytes of control packets that may leave now. They wait for no pace, and not for the window either,
        but a flood of them (thousands of streams opened at once) is held to an initial window beyond it.
        """
        if self._recovery.probes:
            return self._path.mtu
        return self._congestion.window + INITIAL_WINDOW * self._path.mtu - self._recovery.in_flight

    def blocked(self, now: float, more: bool) -> None:
        """
        Nothing more leaves in this turn.

        @param more: whether there was more that was held back.
        """
        self._recovery.blocked(more)
        if more and self._rtt.measured and self.window - self._recovery.in_flight >= self._path.mtu:
            self.resume_at = self._pacer.resume_at(now, self._congestion.rate(self._rtt))

    def spent(self, size: int) -> None:
        """A datagram of C{size} bytes has left."""
        self._pacer.spent(size)
