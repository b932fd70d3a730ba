"""
The sessions of a listener, on all its sockets, by their names: so that whoever claims one finds it.
"""

from __future__ import annotations

import hmac
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
    @param seed: 32 random bytes, others in each process.
    """

    _log = Logger()

    def __init__(self, mostSuspended: int, seed: bytes) -> None:
        self._mostSuspended = mostSuspended
        self._seed = seed
        self._parked = 0
        self._reviving: set[bytes] = set()
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

    # Those that are only on disk

    def incarnation(self, sessionID: bytes) -> int:
        """
        What this process's memory of a session that it takes up from the disk is called: the same whenever it is asked,
        so that a starter may claim the session under it, as long as no session has left memory for the disk.
        """
        text = sessionID + self._parked.to_bytes(8, "big")
        return int.from_bytes(hmac.digest(self._seed, text, "sha256")[:8], "big")

    def parked(self) -> None:
        """A session has left this process's memory, and stays on disk."""
        self._parked += 1

    def beginReviving(self, sessionID: bytes) -> bool:
        """A session is being looked for on disk. @return: False when that is under way."""
        if sessionID in self._reviving:
            return False
        self._reviving.add(sessionID)
        return True

    def endReviving(self, sessionID: bytes) -> None:
        """It was found, or was not."""
        self._reviving.discard(sessionID)

    def find(self, sessionID: bytes) -> SessionLife | None:
        """The session of a name."""
        return self._sessions.get(sessionID)

    def suspend(self, session: SessionLife) -> None:
        """A session has lost its link."""
        self._suspended[session.sessionID] = None
        if len(self._suspended) > self._mostSuspended:
            oldest = self._sessions[next(iter(self._suspended))]
            text = f"more than {self._mostSuspended} sessions wait for a link, this one for the longest time"
            if oldest.connection.durable:
                self.parked()
                oldest.park(text)
            else:
                oldest.fail(SessionAborted(text, Reason.TOO_MANY_SESSIONS))

    def resume(self, session: SessionLife) -> None:
        """A session has a link again."""
        self._suspended.pop(session.sessionID, None)
