"""
Which durable sessions of a store this process has: two of one name would be one session with two minds.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from hypermail.errors import UsageError
from hypermail.interfaces import ISessionStore


class NameInUse:
    """
    A name in a store, as long as anybody has to do with its session: who asks for it, and what has been asked for,
    until the last of that is written down.
    """

    __slots__ = ("_name", "_names", "_users")

    def __init__(self, names: dict[str, NameInUse], name: str) -> None:
        self._names = names
        self._name = name
        self._users = 1
        names[name] = self

    def join(self) -> None:
        """One more has to do with it."""
        self._users += 1

    def leave(self) -> None:
        """One less."""
        self._users -= 1
        if not self._users:
            del self._names[self._name]


_stores: WeakKeyDictionary[Any, dict[str, NameInUse]] = WeakKeyDictionary()


def useName(store: ISessionStore, name: str) -> NameInUse:
    """
    Begin to use the session of a name.

    @return: of which L{NameInUse.leave} has to be called once.
    @raise UsageError: when that session is in use in this process already, or is being put away.
    """
    names = _stores.setdefault(store, {})
    if name in names:
        raise UsageError(f"the session {name!r} of this store is in use: give each endpoint a name of its own")
    return NameInUse(names, name)
