"""
Requests of one client go to one cell, as far as that can be, by a cookie (C{docs/protocol/hive}, "Several cells").
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

from hypermail.hive.fields import Lists
from hypermail.hive.leashes import Member
from hypermail.hive.targets import cookies_of

#: Characters of what a cookie says.
_LENGTH = 24


class Sticky:
    """
    @param name: of the cookie.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def wanted(self, headers: Lists, cells: Iterable[Member]) -> Member | None:
        """The cell that had the client's last request, if it is one of these."""
        said = cookies_of(headers.get("cookie", ())).get(self._name, ())
        return next((cell for cell in cells if _token(cell) in said), None)

    def cookie(self, headers: Lists, cell: Member) -> tuple[str, ...]:
        """What the client is told in C{set-cookie}, unless it knows."""
        token = _token(cell)
        if token in cookies_of(headers.get("cookie", ())).get(self._name, ()):
            return ()
        return (f"{self._name}={token}; Path=/; Secure; HttpOnly; SameSite=Lax",)


def _token(cell: Member) -> str:
    """It tells nobody what the bands of the cell are let in by."""
    return sha256(b"hypermail sticky cell " + cell.uuid.encode()).hexdigest()[:_LENGTH]
