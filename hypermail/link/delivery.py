"""
How fast a path delivers, measured by what acknowledgements bring (draft-ietf-ccwg-bbr, "Delivery Rate Samples").

Each datagram takes a L{Stamp} with it: how much had been delivered when it left. When it is acknowledged, what was
delivered since, over the time that this took, is a sample of the rate. Datagrams that leave between two
acknowledgements share a stamp.
"""

from __future__ import annotations

from dataclasses import dataclass

#: The state of delivery when a datagram left: bytes that had been delivered; s, when the last of them were; s, when the
#: newest of those had left, or when the flight began; whether the application had less to send than the path would have
#: carried. (It is made with each acknowledgement, and nobody but this file looks into it.)
Stamp = tuple[int, float, float, bool]


@dataclass(slots=True)
class Sample:
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
        self.stamp: Stamp = (0, 0.0, 0.0, False)
        self._idle_until = 0

    def begin(self, now: float) -> None:
        """A datagram leaves while none is in flight: time without any says nothing of the path."""
        delivered, _, _, idle = self.stamp
        self.stamp = delivered, now, now, idle

    def idle(self, in_flight: int) -> None:
        """The application has nothing more to send although more might leave."""
        delivered, at, sent, idle = self.stamp
        self._idle_until = delivered + in_flight + 1
        if not idle:
            self.stamp = delivered, at, sent, True

    def acked(self, size: int, newest: Stamp, sent: float, at: float) -> Sample | None:
        """
        Bytes have arrived.

        @param newest: the stamp of the one of their datagrams that was sent last.
        @param sent: s, when that was.
        @param at: s, when the acknowledgement came, less what the peer has waited with it: what arrives evenly, and is
            acknowledged now with the newest datagram and now by a timer, would seem to be faster than it is.
        @return: None when no time has passed.
        """
        before, at_before, _, _ = self.stamp
        prior, prior_at, prior_sent, idle = newest
        delivered = before + size
        if at < at_before:
            at = at_before
        self.stamp = delivered, at, sent, delivered < self._idle_until
        interval = sent - prior_sent
        if at - prior_at > interval:
            interval = at - prior_at
        if interval <= 0.0:
            return None
        return Sample(delivered - prior, interval, prior, delivered, idle)
