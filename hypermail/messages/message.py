"""
One outgoing message: bytes alone, or with a fate that somebody wants to hear of.
"""

from __future__ import annotations

from typing import Protocol, TypeGuard

from hypermail.errors import HypermailError
from hypermail.messages.states import BEGUN, QUEUED, SETTLED, State
from hypermail.wire.ranges import RangeSet


class Outgoing(Protocol):
    """What a message needs of its lane."""

    number: int

    def fragment_lost(self, message: OutgoingMessage) -> None:
        """A message has fragments to be sent again, and had none."""


class OutgoingMessage:
    """
    One message on its way.

    @ivar number: within the lane, once begun; before that -1.
    @ivar state: where it is in its life.
    @ivar error: why the peer's application did not take it; None when it did, or nothing is known yet.
    @ivar wanted: whether somebody wants to hear of its fate.
    """

    __slots__ = ("_outgoing", "data", "error", "fresh", "number", "resend", "state", "wanted", "withdrawn")

    def __init__(self, outgoing: Outgoing, data: bytes, wanted: bool) -> None:
        self._outgoing = outgoing
        self.data = data
        self.wanted = wanted
        self.number = -1
        self.state: State = QUEUED
        self.error: HypermailError | None = None
        self.withdrawn: HypermailError | None = None
        self.fresh = 0  # bytes that have been sent at least once, in fragments
        self.resend: RangeSet | None = None

    @property
    def lane(self) -> int:
        """The number of its lane."""
        return self._outgoing.number

    @property
    def settled(self) -> bool:
        """Whether its fate is known."""
        return self.state is SETTLED

    # As a source: fragments, addressed by bytes.

    def acked(self, start: int, stop: int) -> None:
        """The application's word counts, not the link's."""

    def lost(self, start: int, stop: int) -> None:
        """Send the fragment again, unless nobody needs it any more."""
        if self.state is BEGUN:
            if self.resend is None:
                self.resend = RangeSet()
            if not self.resend:
                self._outgoing.fragment_lost(self)
            self.resend.add(start, stop)


#: A message in its lane.
Item = bytes | OutgoingMessage


def bytes_alone(items: list[Item | None]) -> bool:
    """Whether none of some messages is more than its bytes; of many that is said nearly as fast as of one."""
    return set(map(type, items)) == {bytes}


def size_of(item: Item) -> int:
    """Bytes of a message."""
    return len(item.data) if isinstance(item, OutgoingMessage) else len(item)


def data_of(item: Item) -> bytes:
    """Its bytes."""
    return item.data if isinstance(item, OutgoingMessage) else item


def travels(item: Item | None) -> TypeGuard[Item]:
    """Whether something that was begun is still to arrive."""
    return item.state is BEGUN if isinstance(item, OutgoingMessage) else item is not None
