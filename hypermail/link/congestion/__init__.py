"""
What a congestion controller is, and which there are.

Adding one means adding a file here whose L{CONTROLLER} makes one: its name is the file's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import NamedTuple, Protocol

from hypermail.errors import UsageError
from hypermail.link.delivery import Sample
from hypermail.link.payload import Sent
from hypermail.link.rtt import RoundTrip


@dataclass(slots=True)
class Acked:
    """
    What one acknowledgement has brought.

    @ivar datagrams: those that are newly acknowledged, alone or several as one L{Sent}; at least one.
    @ivar size: bytes of all of them.
    @ivar newest: the one of them that was sent last.
    @ivar now: s.
    @ivar limited: whether the window, or the pace that follows from it, was what held the sender back; a window that is
        not used up must not grow (RFC 9002 §7.8).
    @ivar in_flight: bytes that are still in flight.
    @ivar next: the number that the next datagram will have at least: a round of the path is over when a datagram is
        acknowledged whose number is not below what C{next} was when the round began.
    @ivar sample: how fast the path has delivered; None when that can't be told.
    """

    datagrams: Sequence[Sent]
    size: int
    newest: Sent
    now: float
    limited: bool
    in_flight: int
    next: int
    sample: Sample | None


class Lost(NamedTuple):
    """
    Datagrams that were declared lost together.

    @ivar datagrams: each alone, oldest first; at least one.
    @ivar size: bytes of all of them.
    @ivar now: s.
    @ivar in_flight: bytes that are still in flight.
    @ivar persistent: whether nothing got through for so long that the path must be taken to have changed (RFC 9002
        §7.6).
    @ivar first: whether nothing that was lost before may still turn out to be only late: what the controller does now
        is what L{Congestion.undo} is to undo.
    """

    datagrams: Sequence[Sent]
    size: int
    now: float
    in_flight: int
    persistent: bool
    first: bool


class Congestion(Protocol):
    """
    Decides how much may be in flight, and how fast it leaves.

    @ivar window: bytes that may be in flight.
    """

    window: int

    def acked(self, news: Acked, rtt: RoundTrip) -> None:
        """
        Datagrams have arrived. The round trip already has its new sample.

        @param news: valid during the call only, and so is its sample.
        """

    def lost(self, losses: Lost, rtt: RoundTrip) -> None:
        """Datagrams are taken for lost. In one turn this comes after L{acked}."""

    def undo(self) -> None:
        """
        Everything that was lost since the last L{Lost} that was C{first} has arrived: it was only late, so there was no
        congestion (RFC 9438 §4.9). May come without any reaction before it.
        """

    def marked(self, sent: float, now: float) -> None:
        """
        The path says that it is congested (RFC 9002 §7.1).

        @param sent: s when the newest of the datagrams that may have been marked was sent.
        """

    def resized(self, datagram: int) -> None:
        """Full datagrams have so many bytes from now on. The window stays what it is, but for its least."""

    def rate(self, rtt: RoundTrip) -> float:
        """bytes/s at which datagrams should leave; positive."""


#: Makes a controller for datagrams of so many bytes.
CongestionFactory = Callable[[int], Congestion]


def names() -> list[str]:
    """The controllers that there are."""
    return sorted(module.name for module in iter_modules(__path__))


@cache
def controller(name: str) -> CongestionFactory:
    """
    What makes controllers of a name.

    @raise UsageError: when there is no such controller.
    """
    if name not in names():
        raise UsageError(f"there is no congestion control {name!r}; there is {', '.join(names())}")
    factory: CongestionFactory = import_module(f"{__name__}.{name}").CONTROLLER
    return factory
