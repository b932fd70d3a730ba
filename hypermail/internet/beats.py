"""
Heartbeats of several sessions leave together: one call of the system for all that beat in one moment.

Deadlines that are far away come together (L{hypermail.internet.deadlines}), and so do the pings of many sessions, each
some 40 bytes, for the same address mostly. What to hand over one of them costs is more than to make it. And what leaves
as one train arrives as one, so that its answers leave together again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypermail.link.train import Train, couple

#: Datagrams that wait for no more of them, since each waits for as long as it takes to make the others.
MOST = 32


class Beats:
    """
    Datagrams of heartbeats that are to be sent.

    @param send: hands a train over; see L{ICarrier.send}.
    @ivar waiting: by address and codepoint.
    """

    __slots__ = ("_count", "_send", "waiting")

    def __init__(self, send: Callable[[Train], bool]) -> None:
        self._send = send
        self._count = 0
        self.waiting: dict[tuple[Any, int], list[bytes]] = {}

    def add(self, train: Train) -> bool:
        """One more. @return: whether there are so many that none should wait any longer."""
        self.waiting.setdefault((train.address, train.ecn), []).extend(train.datagrams)
        self._count += len(train.datagrams)
        return self._count >= MOST

    def send(self) -> bool:
        """All leave. @return: as L{ICarrier.send} has for the last of them."""
        waiting, self.waiting, self._count = self.waiting, {}, 0
        writable = True
        for (address, ecn), datagrams in waiting.items():
            for train in couple(address, datagrams, ecn):
                writable = self._send(train)
        return writable
