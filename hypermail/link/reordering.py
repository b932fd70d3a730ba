"""
How late a datagram may come before it counts as lost (RFC 9002 §6.1), on paths that reorder (RFC 8985 §6.2).

At first three later numbers, or 9/8 of a round trip, are enough. A datagram that was declared lost and comes after all
shows that they are not: from then on numbers don't count, and time is given as it was seen to take, up to one more
round trip. When nothing has come late for a while, the path is trusted again.
"""

from __future__ import annotations

from hypermail.link.rtt import RoundTrip

#: Numbers by which a datagram may be overtaken before it counts as lost (RFC 9002 §6.1.1).
PACKET_THRESHOLD = 3
#: Times that losses turned out to be real, one after the other, before a path is trusted again (RFC 8985 §6.2).
FORGET_AFTER = 16
#: What is added to a lateness that was seen, for the next one may be greater.
MARGIN = 1.25


class Reordering:
    """
    Of one direction of one path.

    @ivar packets: numbers by which a datagram may be overtaken; 0 when that says nothing.
    """

    __slots__ = ("_extra", "_real", "packets")

    def __init__(self) -> None:
        self.packets = PACKET_THRESHOLD
        self._extra = 0.0
        self._real = 0

    def delay(self, rtt: RoundTrip) -> float:
        """s after it was sent that an overtaken datagram counts as lost."""
        return rtt.loss_delay + min(self._extra, rtt.smoothed)

    def late(self, elapsed: float, rtt: RoundTrip) -> None:
        """A datagram that was declared lost was acknowledged, C{elapsed} seconds after it was sent."""
        self.packets = 0
        self._real = 0
        self._extra = min(max(self._extra, (elapsed - rtt.loss_delay) * MARGIN), rtt.smoothed)

    def real(self) -> None:
        """Of some losses that were declared together, at least one was one."""
        self._real += 1
        if self._real >= FORGET_AFTER:
            self.packets = PACKET_THRESHOLD
            self._extra = 0.0
            self._real = 0
