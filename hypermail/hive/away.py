"""
What cells had mounted that were lost just now (C{docs/protocol/hive}, "Requests").
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from hypermail.hive.mounts import Mounts, Pattern

#: s for which that is remembered, and how much is.
AWAY = 60.0
MOST_AWAY = 1_000


class Away:
    """@param seconds: the clock."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._since: dict[Pattern, float] = {}  # s, oldest first
        self._mounts: Mounts[bool] = Mounts()  # the same, to look up

    def __len__(self) -> int:
        return len(self._since)

    def lost(self, patterns: Iterable[Pattern]) -> None:
        """The cell that had mounted these is."""
        for pattern in patterns:
            self.back(pattern)
            self._since[pattern] = self._seconds()
            self._mounts.add(pattern, True)
            if len(self._since) > MOST_AWAY:
                self.back(next(iter(self._since)))

    def back(self, pattern: Pattern) -> None:
        """A cell has mounted it, or nobody has to wait for that any longer."""
        if self._since.pop(pattern, None) is not None:
            self._mounts.remove(pattern, True)

    def find(self, host: str, path: str) -> bool:
        """Whether one that was lost would have got a request, see L{Mounts.find}: it may be back in a moment."""
        while self._since and next(iter(self._since.values())) <= self._seconds() - AWAY:
            self.back(next(iter(self._since)))
        return self._mounts.find(host, path) is not None
