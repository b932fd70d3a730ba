"""
How fast a path delivers, measured by what acknowledgements bring (draft-ietf-ccwg-bbr, "Delivery Rate Samples").

Each datagram takes a L{Stamp} with it: how much had been delivered when it left. When it is acknowledged, what was
delivered since, over the time that this took, is a sample of the rate. Datagrams that leave between two
acknowledgements share a stamp.
"""

from __future__ import annotations

from typing import NamedTuple


class Stamp(NamedTuple):
    """
    The state of delivery when a datagram left.

    @ivar delivered: bytes that had been delivered.
    @ivar at: s, when the last of them were.
    @ivar sent: s, when the newest of those had left, or when the flight began.
    @ivar idle: whether the application had less to send than the path would have carried.
    """

    delivered: int
    at: float
    sent: float
    idle: bool


class Sample(NamedTuple):
    """
    What one acknowledgement says of the rate.

    @ivar delivered: bytes that were delivered in C{interval}.
    @ivar interval: s; positive.
    @ivar prior: bytes that had been delivered in all when the newest acknowledged datagram was sent.
    @ivar total: bytes that have been delivered in all.
    @ivar idle: whether the sender was held back by its application in that time, so that the path may be faster.
    """

    delivered: int
    interval: float
    prior: int
    total: int
    idle: bool

    @property
    def rate(self) -> float:
        """bytes/s."""
        return self.delivered / self.interval


class DeliveryRate:
    """
    The count of what was delivered, of one direction of one path.

    @ivar stamp: for datagrams that leave now.
    """

    __slots__ = ("_idle_until", "stamp")

    def __init__(self) -> None:
        self.stamp = _NOTHING
        self._idle_until = 0

    def begin(self, now: float) -> None:
        """A datagram leaves while none is in flight: time without any says nothing of the path."""
        delivered, _, _, idle = self.stamp
        self.stamp = Stamp(delivered, now, now, idle)

    def idle(self, in_flight: int) -> None:
        """The application has nothing more to send although more might leave."""
        self._idle_until = self.stamp.delivered + in_flight + 1
        if not self.stamp.idle:
            delivered, at, sent, _ = self.stamp
            self.stamp = Stamp(delivered, at, sent, True)

    def acked(self, size: int, newest: Stamp, sent: float, at: float) -> Sample | None:
        """
        Bytes have arrived.

        @param newest: the stamp of the one of their datagrams that was sent last.
        @param sent: s, when that was.
        @param at: s, when the acknowledgement came, less what the peer has waited with it: what arrives evenly, and is
            acknowledged now with the newest datagram and now by a timer, would seem to be faster than it is.
        @return: None when no time has passed.
        """
        delivered = self.stamp.delivered + size
        at = max(at, self.stamp.at)
        self.stamp = Stamp(delivered, at, sent, delivered < self._idle_until)
        interval = max(sent - newest.sent, at - newest.at)
        if interval <= 0.0:
            return None
        return Sample(delivered - newest.delivered, interval, newest.delivered, delivered, newest.idle)


_NOTHING = Stamp(0, 0.0, 0.0, False)
