"""
State machines as tables: (state, input) -> state.

Each machine of hypermail is one L{Table} in a file of its own beside the code that it governs; the
state diagrams of C{docs/protocol} are drawn from the same tables, and the tests try every pair.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Generic, TypeVar

from hypermail.errors import IllegalTransition

S = TypeVar("S", bound=Enum)
I = TypeVar("I", bound=Enum)  # noqa: E741


class Table(Generic[S, I]):
    """
    The transitions of one machine.

    @param name: what the machine is of, for messages and diagrams.
    @param initial: the state that it begins in.
    @param transitions: every legal pair; a pair that is absent is illegal.
    """

    def __init__(self, name: str, initial: S, transitions: Mapping[tuple[S, I], S]) -> None:
        self.name = name
        self.initial = initial
        self._transitions = dict(transitions)
        # By identity, as the hash of an Enum's member is a call of Python's: members live as long as the table.
        self._next = {(id(state), id(input)): after for (state, input), after in transitions.items()}

    def next(self, state: S, input: I) -> S:
        """
        The state after C{input} in C{state}.

        @raise IllegalTransition: when the table has no such pair.
        """
        try:
            return self._next[id(state), id(input)]
        except KeyError:
            raise IllegalTransition(f"{self.name}: {input.name} is illegal in state {state.name}") from None

    def allows(self, state: S, input: I) -> bool:
        """Whether C{input} is legal in C{state}."""
        return (state, input) in self._transitions

    def __iter__(self) -> Iterator[tuple[S, I, S]]:
        """All transitions as (state, input, next state), in the order of the table."""
        for (state, input), after in self._transitions.items():
            yield state, input, after
