"""
What a link says of its own accord: answers to pings and challenges, and pings of its own.
"""

from __future__ import annotations

from typing import Any

from hypermail.link.payload import Payload
from hypermail.wire.packets import HealthPing, PathResponse

#: Pings and challenges answered in one turn, at most: a flood of them is answered with a trickle.
MOST_ANSWERS = 4
#: Marks the numbers of the link's own pings, whose pongs interest nobody else.
OWN_PINGS = 1 << 63


class Unimportant:
    """The source of contents that nobody misses: pings."""

    def acked(self, start: int, stop: int) -> None:
        """Nothing follows."""

    def lost(self, start: int, stop: int) -> None:
        """Nothing follows."""


#: Of pings.
UNIMPORTANT = Unimportant()


class Answers:
    """
    The answers that one link owes, and its own pings.

    @ivar waiting: encoded packets that ride with the next datagram.
    @ivar responses: answers to challenges, each with the address that it belongs to (None for the path's), and the
        size of the datagram that brought the challenge.
    @ivar pings: how many of its own were sent.
    """

    __slots__ = ("pings", "responses", "waiting")

    def __init__(self) -> None:
        self.waiting: tuple[bytes, ...] = ()
        self.responses: tuple[tuple[Any, bytes, int], ...] = ()
        self.pings = 0

    def add(self, packet: bytes) -> None:
        """Owe an answer, unless too many are owed already."""
        if len(self.waiting) + len(self.responses) < MOST_ANSWERS:
            self.waiting = (*self.waiting, packet)

    def respond(self, address: Any, data: bytes, size: int) -> None:
        """Owe the answer to a challenge, unless too many are owed already; the parameters are as in C{responses}."""
        if len(self.waiting) + len(self.responses) < MOST_ANSWERS:
            self.responses = (*self.responses, (address, PathResponse(data).encode(), size))

    def fill(self, payload: Payload) -> None:
        """Give all answers to a datagram that is begun."""
        for answer in self.waiting:
            payload.add(answer)
        self.waiting = ()

    def add_ping(self, payload: Payload) -> None:
        """Make a datagram one that has to be acknowledged."""
        self.pings += 1
        payload.add(HealthPing(OWN_PINGS | self.pings).encode())
        payload.contents.append((UNIMPORTANT, 0, 0))
