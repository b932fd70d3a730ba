"""
A store of sessions in memory: what L{hypermail.interfaces.ISessionStore} keeps on disk, for simulated hosts that are
killed and started again.
"""

from __future__ import annotations

from collections.abc import Sequence

from hypermail.errors import StoreFailed
from hypermail.messages.lanes import LaneProperties
from hypermail.options import Role
from hypermail.session.journal import (
    Change,
    Heard,
    LaneUsed,
    Over,
    Queued,
    QueuedMessage,
    SessionIdentity,
    Settled,
    StoredReceiving,
    StoredSending,
    StoredSession,
    Suspended,
    Taken,
    Withdrawn,
)
from hypermail.wire.packets import Verdict


class _Sending:
    """The sending half of a lane."""

    def __init__(self) -> None:
        self.properties = LaneProperties()
        self.settled = 0
        self.next = 0
        self.messages: dict[int, QueuedMessage] = {}


class _Receiving:
    """The receiving half of a lane."""

    def __init__(self) -> None:
        self.taken = 0
        self.verdicts: dict[int, Verdict] = {}


class _Session:
    """One session."""

    def __init__(self, identity: SessionIdentity) -> None:
        self.identity = identity
        self.sending: dict[int, _Sending] = {}
        self.receiving: dict[int, _Receiving] = {}


class MemoryStore:
    """
    Keeps durable sessions as long as it is kept itself.

    @ivar full: whether nothing more can be written, as on a disk that is full.
    @ivar writes: how many times something was written.
    """

    def __init__(self) -> None:
        self._sessions: dict[bytes, _Session] = {}
        self.full = False
        self.writes = 0

    def __len__(self) -> int:
        """How many sessions there are."""
        return len(self._sessions)

    def apply(self, changes: Sequence[Change]) -> None:
        """
        Write changes down.

        @raise StoreFailed: when the store is full, or has a session of the same name, or the other side of the same
            session; nothing was changed.
        """
        if self.full:
            raise StoreFailed("the store is full")
        for change in changes:
            if isinstance(change, SessionIdentity):
                self._check(change)
        self.writes += 1
        for change in changes:
            self._apply(change)

    def _check(self, identity: SessionIdentity) -> None:
        holder = self.named(identity.name) if identity.role is Role.STARTER and identity.name else None
        if holder is not None and holder.identity.id != identity.id:
            raise StoreFailed(f"there is another session of the name {identity.name!r}")
        known = self._sessions.get(identity.id)
        if known is not None and known.identity.role is not identity.role:
            raise StoreFailed("the other side of this session has the same store")

    def _apply(self, change: Change) -> None:
        if isinstance(change, SessionIdentity):
            known = self._sessions.get(change.id)
            if known is None:
                self._sessions[change.id] = _Session(change)
            else:
                known.identity = change
            return
        if isinstance(change, Over):
            self._sessions.pop(change.id, None)
            return
        session = self._sessions.get(change.id)
        if session is None or isinstance(change, Suspended):
            return
        if isinstance(change, LaneUsed):
            session.sending.setdefault(change.lane, _Sending()).properties = change.properties
        elif isinstance(change, Queued | Withdrawn | Settled):
            self._applySending(session.sending[change.lane], change)
        else:
            self._applyReceiving(session.receiving.setdefault(change.lane, _Receiving()), change)

    def _applySending(self, lane: _Sending, change: Queued | Withdrawn | Settled) -> None:
        if isinstance(change, Queued):
            if change.first != lane.next:
                raise AssertionError(f"message {change.first} follows message {lane.next - 1}")
            lane.messages.update(enumerate(change.messages, change.first))
            lane.next += len(change.messages)
        elif isinstance(change, Withdrawn):
            lane.messages.pop(change.number, None)
        else:
            lane.settled = change.below
            lane.messages = {number: message for number, message in lane.messages.items() if number >= change.below}

    def _applyReceiving(self, lane: _Receiving, change: Taken | Heard) -> None:
        if isinstance(change, Taken):
            lane.taken = change.below
            lane.verdicts.update((verdict.number, verdict) for verdict in change.verdicts)
        else:
            for number in change.numbers:
                lane.verdicts.pop(number, None)

    def find(self, id: bytes) -> StoredSession | None:
        """What is kept of a session, or None."""
        session = self._sessions.get(id)
        if session is None:
            return None
        sending = {
            number: StoredSending(properties=lane.properties, settled=lane.settled, next=lane.next)
            for number, lane in session.sending.items()
        }
        receiving = {
            number: StoredReceiving(taken=lane.taken, verdicts=tuple(lane.verdicts.values()))
            for number, lane in session.receiving.items()
        }
        return StoredSession(identity=session.identity, sending=sending, receiving=receiving)

    def named(self, name: str) -> StoredSession | None:
        """What is kept of a starter's session, by its name, or None."""
        for session in self._sessions.values():
            if session.identity.name == name:
                return self.find(session.identity.id)
        return None

    def messages(self, id: bytes, lane: int, first: int, most: int) -> list[tuple[int, QueuedMessage]]:
        """See L{ISessionStore.messages}."""
        found = []
        for number, message in sorted(self._sessions[id].sending[lane].messages.items()):
            if number >= first:
                found.append((number, message))
                most -= len(message.data)
                if most <= 0:
                    break
        return found
