"""
The sessions of a listener, on all its sockets, by their names: so that whoever claims one finds it.
"""

from __future__ import annotations

import hmac
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from hypermail.admission import prefix_of
from hypermail.errors import Reason, SessionAborted, SessionClosed, SessionRejected
from hypermail.options import ListenerOptions

if TYPE_CHECKING:
    from hypermail.internet.life import SessionLife

#: Sessions that have been closed, of which the last are remembered: their starters may not have heard of it.
MOST_CLOSED = 1_024


class Residents:
    """
    Of one listener.

    @param mostSuspended: sessions without a link that are kept at one time; beyond, one gives way: of those whose
        starters share a prefix of addresses with the most others, the one that has had none for the longest time. So
        nobody makes the sessions of others give way by leaving many behind.
    @param mostStored: sessions that are kept on disk, of which none gives way: what is in them was promised.
    @param seed: 32 random bytes, others in each process.
    """

    def __init__(self, mostSuspended: int, mostStored: int, seed: bytes) -> None:
        self._mostSuspended = mostSuspended
        self._mostStored = mostStored
        self._seed = seed
        self._parked = 0
        self._occupied: dict[bytes, SessionLife] = {}
        self._occupiers: dict[SessionLife, bytes] = {}
        self._sessions: dict[bytes, SessionLife] = {}
        self._suspended: dict[bytes, object] = {}
        self._byPrefix: Counter[object] = Counter()
        self._closed: dict[bytes, None] = {}

    @property
    def suspended(self) -> int:
        """How many have no link."""
        return len(self._suspended)

    def enter(self, session: SessionLife) -> None:
        """A session has opened."""
        self.vacate(session)
        self._sessions[session.sessionID] = session

    def leave(self, session: SessionLife) -> None:
        """A session is over, or has never opened."""
        if self._sessions.get(session.sessionID) is session:
            del self._sessions[session.sessionID]
            self.resume(session)
            if isinstance(session.error, SessionClosed):
                self._closed[session.sessionID] = None
                if len(self._closed) > MOST_CLOSED:
                    del self._closed[next(iter(self._closed))]

    # Those that are on disk

    def room(self, stored: int) -> None:
        """
        Whether one more may be kept on disk.

        @param stored: how many are.
        @raise SessionRejected: when it may not.
        """
        if stored >= self._mostStored:
            text = f"the listener keeps {stored} durable sessions, no more"
            raise SessionRejected(text, Reason.TOO_MANY_SESSIONS)

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

    def occupy(self, sessionID: bytes, session: SessionLife) -> bool:
        """
        A session is on its way from the disk, until it has opened, or to the disk. Nobody else is to look for it there.

        @param session: L{vacate} has to follow for it, unless L{enter} does.
        @return: False when it is on its way already.
        """
        if sessionID in self._occupied:
            return False
        self._occupied[sessionID] = session
        self._occupiers[session] = sessionID
        return True

    def vacate(self, session: SessionLife) -> None:
        """It is there, or will not come."""
        sessionID = self._occupiers.pop(session, None)
        if sessionID is not None:
            del self._occupied[sessionID]

    def find(self, sessionID: bytes) -> SessionLife | None:
        """The session of a name."""
        return self._sessions.get(sessionID)

    def wasClosed(self, sessionID: bytes) -> bool:
        """Whether a session was closed gracefully, not long ago."""
        return sessionID in self._closed

    def suspend(self, session: SessionLife) -> None:
        """A session has lost its link."""
        peer = session.getPeer()
        prefix = self._suspended[session.sessionID] = prefix_of((peer.host, peer.port))
        self._byPrefix[prefix] += 1
        if len(self._suspended) > self._mostSuspended:
            most = max(self._byPrefix, key=self._byPrefix.__getitem__)
            oldest = self._sessions[next(name for name, its in self._suspended.items() if its == most)]
            self.resume(oldest)
            text = f"more than {self._mostSuspended} sessions wait for a link, this one for the longest time"
            if oldest.durable:
                oldest.park(text)
            else:
                oldest.fail(SessionAborted(text, Reason.TOO_MANY_SESSIONS))

    def resume(self, session: SessionLife) -> None:
        """A session has a link again, or is over."""
        prefix = self._suspended.pop(session.sessionID, None)
        if prefix is not None:
            self._byPrefix[prefix] -= 1
            if not self._byPrefix[prefix]:
                del self._byPrefix[prefix]


def residentsOf(options: ListenerOptions, randomBytes: Callable[[int], bytes]) -> Residents:
    """The sessions of a listener that bears so much. @param randomBytes: makes so many random bytes."""
    return Residents(options.max_suspended, options.max_stored, randomBytes(32))
