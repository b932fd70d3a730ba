"""
Changes of many sessions that are written to a store together: what they come to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from hypermail.errors import StoreFailed
from hypermail.options import Role
from hypermail.services.store_rows import (
    Kept,
    Receiving,
    Sending,
    encode_messages,
    encode_name,
    encode_receiving,
    encode_sending,
    encode_session,
    rows,
)
from hypermail.services.store_sql import LANE, MESSAGES, OVER, RECEIVING, SENDING, SESSION
from hypermail.session.journal import (
    Change,
    Heard,
    LaneUsed,
    Over,
    Queued,
    QueuedMessage,
    SessionIdentity,
    Settled,
    Suspended,
    Taken,
    Withdrawn,
)

#: Of the view C{change}: kind, id, lane, first, stop, name, body.
Row = tuple[int, bytes, int, float | None, int, bytes | None, bytes]


class Group:
    """
    What a number of changes come to: several of one thing are written once, as it is after the last.

    @param load: gives what is kept of a session, which is then changed in place, or None.
    @param holder: gives the id of the session that has a name on the disk, or None.
    @param now: s since 1970.
    @ivar kept: the sessions that were changed, by id; None for those that are not kept any more.
    """

    def __init__(
        self, load: Callable[[bytes], Kept | None], holder: Callable[[bytes], bytes | None], now: float
    ) -> None:
        self.kept: dict[bytes, Kept | None] = {}
        self._load = load
        self._holder = holder
        self._now = now
        self._over: dict[bytes, None] = {}
        self._names: dict[bytes, bytes] = {}
        self._sessions: dict[bytes, None] = {}
        self._lanes: dict[tuple[bytes, int, int], None] = {}
        self._messages: dict[tuple[bytes, int], list[tuple[int, list[QueuedMessage]]]] = {}
        self._adding: dict[type, Callable[[Any], None]] = {
            SessionIdentity: self._identity,
            Suspended: self._suspended,
            LaneUsed: self._lane_used,
            Queued: self._queued,
            Withdrawn: self._withdrawn,
            Settled: self._settled,
            Taken: self._taken,
            Heard: self._heard,
            Over: self._session_over,
        }

    def add(self, change: Change) -> None:
        """
        Add the next change.

        @raise StoreFailed: when it does not fit what is kept. The group is of no use then.
        """
        self._adding[type(change)](change)

    def _of(self, id: bytes) -> Kept | None:
        if id not in self.kept:
            self.kept[id] = self._load(id)
        return self.kept[id]

    def _identity(self, identity: SessionIdentity) -> None:
        if identity.role is Role.STARTER and identity.name:
            self._name(identity)
        kept = self._of(identity.id)
        if kept is None:
            # The rows of one whose time is over may still be there.
            self._over[identity.id] = None
            self.kept[identity.id] = Kept(identity)
        elif kept.identity.role is not identity.role:
            raise StoreFailed("the other side of this session has the same store: give each a store of its own")
        else:
            kept.identity, kept.suspended = identity, None
        self._sessions[identity.id] = None

    def _name(self, identity: SessionIdentity) -> None:
        name = encode_name(identity.name)
        holder = self._names.get(name) or self._holder(name)
        if holder is not None and holder != identity.id:
            if self._of(holder) is not None:
                raise StoreFailed(
                    f"there is another session of the name {identity.name!r}: go on with that, or end it first"
                )
            self._over[holder] = None
        self._names[name] = identity.id

    def _suspended(self, change: Suspended) -> None:
        kept = self._of(change.id)
        if kept is not None and kept.suspended is None:
            kept.suspended = self._now
            self._sessions[change.id] = None

    def _lane_used(self, change: LaneUsed) -> None:
        kept = self._of(change.id)
        if kept is None:
            raise StoreFailed(f"the session {change.id.hex()} is not in the store: its messages cannot be kept")
        half = kept.sending.get(change.lane)
        if half is None:
            kept.sending[change.lane] = Sending(change.properties)
        else:
            half.properties = change.properties
        self._lanes[change.id, change.lane, SENDING] = None

    def _sending(self, id: bytes, lane: int) -> Sending | None:
        kept = self._of(id)
        half = None if kept is None else kept.sending.get(lane)
        if half is not None:
            self._lanes[id, lane, SENDING] = None
        return half

    def _queued(self, change: Queued) -> None:
        if not change.messages:
            return
        half = self._sending(change.id, change.lane)
        if half is None:
            raise StoreFailed(
                f"lane {change.lane} of session {change.id.hex()} is not in the store: its messages cannot be kept"
            )
        if change.first != half.next:
            raise StoreFailed(
                f"message {change.first} of lane {change.lane} of session {change.id.hex()} does not follow "
                f"those that the store has, up to {half.next}: it cannot be kept"
            )
        half.next += len(change.messages)
        runs = self._messages.setdefault((change.id, change.lane), [])
        if runs and runs[-1][0] + len(runs[-1][1]) == change.first:
            runs[-1][1].extend(change.messages)
        else:
            runs.append((change.first, list(change.messages)))

    def _withdrawn(self, change: Withdrawn) -> None:
        half = self._sending(change.id, change.lane)
        if half is not None and half.settled <= change.number < half.next:
            half.withdrawn.add(change.number)

    def _settled(self, change: Settled) -> None:
        half = self._sending(change.id, change.lane)
        if half is not None and change.below > half.settled:
            half.settled = change.below
            half.next = max(half.next, change.below)
            if half.withdrawn:
                half.withdrawn = {number for number in half.withdrawn if number >= change.below}

    def _taken(self, change: Taken) -> None:
        kept = self._of(change.id)
        if kept is None:
            return
        half = kept.receiving.setdefault(change.lane, Receiving())
        half.taken = max(half.taken, change.below)
        for verdict in change.verdicts:
            half.verdicts[verdict.number] = verdict
        self._lanes[change.id, change.lane, RECEIVING] = None

    def _heard(self, change: Heard) -> None:
        kept = self._of(change.id)
        half = None if kept is None else kept.receiving.get(change.lane)
        if half is not None:
            for number in change.numbers:
                half.verdicts.pop(number, None)
            self._lanes[change.id, change.lane, RECEIVING] = None

    def _session_over(self, change: Over) -> None:
        self.kept[change.id] = None
        self._over[change.id] = None
        for key in [key for key in self._lanes if key[0] == change.id]:
            del self._lanes[key]
        for queue in [queue for queue in self._messages if queue[0] == change.id]:
            del self._messages[queue]

    def rows(self) -> Iterator[Row]:
        """What is to be written, in order: what ends first, so that its name is free."""
        for id in self._over:
            yield OVER, id, 0, 0, 0, None, b""
        for id in self._sessions:
            kept = self.kept[id]
            if kept is not None:
                name = kept.identity.name if kept.identity.role is Role.STARTER else ""
                yield SESSION, id, 0, kept.until, 0, encode_name(name) or None, encode_session(kept)
        for (id, lane), runs in self._messages.items():
            for first, messages in runs:
                yield from self._message_rows(id, lane, first, messages)
        for id, lane, half in self._lanes:
            kept = self.kept[id]
            if kept is not None and half == SENDING:
                sending = kept.sending[lane]
                yield LANE, id, lane, half, sending.settled, None, encode_sending(id, lane, sending)
            elif kept is not None:
                yield LANE, id, lane, half, 0, None, encode_receiving(id, lane, kept.receiving[lane])

    def _message_rows(self, id: bytes, lane: int, first: int, messages: list[QueuedMessage]) -> Iterator[Row]:
        kept = self.kept[id]
        settled = 0 if kept is None else kept.sending[lane].settled
        for row in rows(messages):
            stop = first + len(row)
            if stop > settled:
                yield MESSAGES, id, lane, first, stop, None, encode_messages(id, lane, first, row)
            first = stop
