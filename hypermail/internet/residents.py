"""
The sessions of a listener, on all its sockets, by their names: so that whoever claims one finds it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.logger import Logger

from hypermail.errors import Reason, SessionAborted

if TYPE_CHECKING:
    from hypermail.internet.life import SessionLife


class Residents:
    """
    Of one listener.

    @param mostSuspended: sessions without a link that are kept at one time; beyond, the one that has had none for the
        longest time gives way.
    """

    _log = Logger()

    def __init__(self, mostSuspended: int) -> None:
        self._mostSuspended = mostSuspended
        self._sessions: dict[bytes, SessionLife] = {}
        self._suspended: dict[bytes, None] = {}

    @property
    def suspended(self) -> int:
        """How many have no link."""
        return len(self._suspended)

    def enter(self, session: SessionLife) -> None:
        """A session has opened."""
        self._sessions[session.sessionID] = session

    def leave(self, session: SessionLife) -> None:
        """A session is over, or has never opened."""
        if self._sessions.get(session.sessionID) is session:
            del self._sessions[session.sessionID]
            self._suspended.pop(session.sessionID, None)

    def find(self, sessionID: bytes) -> SessionLife | None:
        """The session of a name."""
        return self._sessions.get(sessionID)

    def suspend(self, session: SessionLife) -> None:
        """A session has lost its link."""
        self._suspended[session.sessionID] = None
        if len(self._suspended) > self._mostSuspended:
            oldest = self._sessions[next(iter(self._suspended))]
            text = f"more than {self._mostSuspended} sessions wait for a link, this one for the longest time"
            oldest.fail(SessionAborted(text, Reason.TOO_MANY_SESSIONS))

    def resume(self, session: SessionLife) -> None:
        """A session has a link again."""
        self._suspended.pop(session.sessionID, None)
