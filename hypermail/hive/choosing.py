"""
Which of several cells on one mount gets a request (C{docs/protocol/hive}, "Several cells").
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from typing import Protocol, TypeVar

#: s that a cell is set aside after a failure; twice as long after each further one without a success between them.
FIRST_REST = 1.0
LONGEST_REST = 30.0


class Health:
    """
    How a cell has done lately: by what became of requests, not by asking.

    @ivar rests_until: s; before that others come first.
    @ivar chosen: counts up with each request that any cell is given; the greater, the later this one had its last.
    """

    __slots__ = ("_rest", "chosen", "rests_until")

    def __init__(self) -> None:
        self.rests_until = 0.0
        self.chosen = 0
        self._rest = FIRST_REST  # s, after the next failure

    def succeeded(self) -> None:
        """It has answered, whatever it was."""
        self._rest = FIRST_REST
        self.rests_until = 0.0

    def failed(self, now: float) -> None:
        """It has not: it opened no band in time, or broke a rule, or was lost before it answered."""
        self.rests_until = now + self._rest
        self._rest = min(2 * self._rest, LONGEST_REST)


class Candidate(Protocol):
    """
    A cell.

    @ivar outstanding: requests that it has, or is to have.
    """

    health: Health

    @property
    def outstanding(self) -> int: ...


C = TypeVar("C", bound=Candidate)


class Choice:
    """
    Chooses for one queen.

    @param seconds: the clock.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._count = 0

    def choose(self, cells: Iterable[C], tried: Container[C] = ()) -> C | None:
        """
        The one with the fewest requests, of those the one whose last choice is longest ago. Those that rest are chosen
        when there is no other.

        @param tried: which have failed with this request.
        @return: None when all have.
        """
        now = self._seconds()
        found = min(
            (cell for cell in cells if cell not in tried),
            key=lambda cell: (cell.health.rests_until > now, cell.outstanding, cell.health.chosen),
            default=None,
        )
        if found is not None:
            self._count += 1
            found.health.chosen = self._count
        return found
