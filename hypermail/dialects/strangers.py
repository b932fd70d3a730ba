"""
Places for strangers whose address is not proved.
"""

from __future__ import annotations

from typing import Generic, TypeVar

C = TypeVar("C")


class Strangers(Generic[C]):
    """
    Of one socket. When there is no place for one more, the one that has not shown itself for the longest time gives
    way: of the same prefix, when that has too many.

    @param most: places.
    @param per_prefix: of which one prefix may have so many.
    """

    __slots__ = ("_by_prefix", "_most", "_per_prefix", "_prefixes")

    def __init__(self, most: int, per_prefix: int) -> None:
        self._most = most
        self._per_prefix = per_prefix
        self._prefixes: dict[C, object] = {}  # oldest first
        self._by_prefix: dict[object, dict[C, None]] = {}  # likewise

    def __len__(self) -> int:
        return len(self._prefixes)

    def __contains__(self, stranger: C) -> bool:
        return stranger in self._prefixes

    def enter(self, stranger: C, prefix: object) -> C | None:
        """
        One more has come.

        @return: who gives way, and has no place any more.
        """
        gone = None
        if len(self._by_prefix.get(prefix, ())) >= self._per_prefix:
            gone = next(iter(self._by_prefix[prefix]))
        elif len(self._prefixes) >= self._most:
            gone = next(iter(self._prefixes))
        if gone is not None:
            self.leave(gone)
        self._prefixes[stranger] = prefix
        self._by_prefix.setdefault(prefix, {})[stranger] = None
        return gone

    def leave(self, stranger: C) -> None:
        """One needs its place no more; harmless when it had none."""
        if stranger not in self._prefixes:
            return
        prefix = self._prefixes.pop(stranger)
        others = self._by_prefix[prefix]
        del others[stranger]
        if not others:
            del self._by_prefix[prefix]
