"""
What a congestion controller is. Adding one means adding a file that has a class of this shape.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from hypermail.link.payload import Sent
from hypermail.link.rtt import RoundTrip


class Congestion(Protocol):
    """
    Decides how much may be in flight, and how fast it leaves.

    @ivar window: bytes that may be in flight.
    """

    window: int

    def acked(self, datagrams: Sequence[Sent], now: float, rtt: RoundTrip, limited: bool) -> None:
        """
        Datagrams of one acknowledgement.

        @param limited: whether the window was what held the sender back; a window that is not used up
            must not grow (RFC 9002 §7.8).
        """

    def lost(self, datagrams: Sequence[Sent], now: float, persistent: bool) -> None:
        """
        Datagrams that were declared lost together, oldest first.

        @param persistent: whether nothing got through for so long that the path must be taken to have
            changed (RFC 9002 §7.6).
        """

    def rate(self, rtt: RoundTrip) -> float:
        """bytes/s at which datagrams should leave."""


#: Makes a controller for datagrams of so many bytes.
CongestionFactory = Callable[[int], Congestion]
