"""
At which addresses clients have sessions, so that nothing is said there that they would take for theirs.
"""

from __future__ import annotations

from collections import Counter
from typing import Any


class Places:
    """Of one server."""

    __slots__ = ("_counts", "_where")

    def __init__(self) -> None:
        self._where: dict[object, Any] = {}
        self._counts: Counter[Any] = Counter()

    def __len__(self) -> int:
        """How many addresses there are."""
        return len(self._counts)

    def enter(self, who: object, address: Any) -> None:
        """A session is at an address, from now on or as before."""
        place = address[:2]
        if self._where.get(who) != place:
            self.leave(who)
            self._where[who] = place
            self._counts[place] += 1

    def leave(self, who: object) -> None:
        """A session is over; harmless when it was not there."""
        place = self._where.pop(who, None)
        if place is not None:
            self._counts[place] -= 1
            if not self._counts[place]:
                del self._counts[place]

    def taken(self, address: Any) -> bool:
        """Whether a session is there."""
        return address[:2] in self._counts
