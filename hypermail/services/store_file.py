"""
Durable sessions in one file of SQLite, for one process at a time. Everything blocks.

L{hypermail.services.store} has it work on a thread.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from hypermail.errors import StoreFailed
from hypermail.options import Role
from hypermail.services.paths import printable
from hypermail.services.store_group import Group, Row
from hypermail.services.store_rows import (
    ROW_MESSAGES,
    Damaged,
    Kept,
    decode_messages,
    decode_receiving,
    decode_sending,
    decode_session,
    decode_store,
    encode_name,
    encode_store,
)
from hypermail.services.store_sql import LANE, MESSAGES, OVER, SENDING, SESSION, STORE, connect, explained
from hypermail.session.journal import Change, Over, QueuedMessage, StoredSession, Suspended

#: s between two looks for sessions whose time is over.
SWEEP_INTERVAL = 3600.0

# Of one statement: below SQLite's limit of 999 parameters, which is that of older ones.
_MOST_ROWS = 100
_MOST_BYTES = 4 << 20


class StoreFile:
    """
    An open store.

    The time of a store is that of the wall clock, but it never goes back, not even over a restart: when the clock is
    set back it stands still, and sessions are kept for longer.

    @param path: of its file; made, with its directory, when it is not there.
    @param owner: names the identity that its sessions belong to; what is made is of this owner, and what is of
        another is refused.
    @param now: the wall clock: s since 1970.
    @raise StoreFailed: when it is not usable, or is not this owner's.
    """

    def __init__(self, path: str, owner: bytes, now: Callable[[], float]) -> None:
        self.path = path
        self._now = now
        self._owner = owner
        #: Sessions with a link, as they are on the disk.
        self._linked: dict[bytes, Kept] = {}
        #: Sessions that this process has changed: its sweeps leave them alone, as their ends are its own business.
        self._used: set[bytes] = set()
        self._time = now()
        self._swept = self._time
        self._marks = 0
        self._database = connect(path, owner, self._time)
        try:
            with self._explaining():
                self._begin()
        except BaseException:
            self._database.close()
            raise

    @contextmanager
    def _explaining(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError, Damaged) as error:
            raise explained(self.path, error) from error

    def time(self) -> float:
        """s since 1970."""
        self._time = max(self._time, self._now())
        return self._time

    def apply(self, writes: Sequence[Sequence[Change]]) -> list[StoreFailed | None]:
        """
        Write the changes of all these down, in one transaction.

        @return: for each why it was refused, which is when it does not fit what is kept (nothing of it is written
            then), or None for those that are on the disk.
        @raise StoreFailed: when nothing has been written.
        """
        refused: dict[int, StoreFailed] = {}
        with self._explaining():
            while (group := self._group(writes, refused)) is None:
                pass
            try:
                self._write(group.rows())
            except BaseException:
                self._forget(group)
                self._recover()
                raise
        self._keep(group)
        if self.time() - self._swept >= SWEEP_INTERVAL:
            with suppress(StoreFailed):  # the next one may do better; what was asked for is done
                self.sweep()
        return [refused.get(index) for index in range(len(writes))]

    def _group(self, writes: Sequence[Sequence[Change]], refused: dict[int, StoreFailed]) -> Group | None:
        """All but what is refused; None after having found one more of that."""
        group = Group(self._load, self._holder, self.time())
        for index, changes in enumerate(writes):
            if index in refused:
                continue
            try:
                for change in changes:
                    group.add(change)
            except StoreFailed as refusal:
                self._forget(group)
                refused[index] = StoreFailed(f"the store {printable(self.path)} refused: {refusal.text}")
                return None
            except BaseException:
                self._forget(group)
                raise
        return group

    def _forget(self, group: Group) -> None:
        """What is in memory is not what is on the disk any more."""
        for id in group.kept:
            self._linked.pop(id, None)

    def _keep(self, group: Group) -> None:
        for id, kept in group.kept.items():
            if kept is None:
                self._used.discard(id)
            else:
                self._used.add(id)
            if kept is None or kept.suspended is not None:
                self._linked.pop(id, None)
            else:
                self._linked[id] = kept

    def _write(self, rows: Iterable[Row]) -> None:
        statements = list(_statements(rows))
        if len(statements) == 1:
            self._insert(statements[0])
        elif statements:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                for statement in statements:
                    self._insert(statement)
                self._database.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    self._database.execute("ROLLBACK")
                raise

    def _insert(self, rows: Sequence[Row]) -> None:
        values = ",".join(("(?,?,?,?,?,?,?)",) * len(rows))
        self._database.execute(f"INSERT INTO change VALUES {values}", [value for row in rows for value in row])

    def _recover(self) -> None:
        """
        Make sure that what has failed is not found in the log after a crash.

        When the log was written, but the disk could not be made to keep it, a whole transaction may be there. The
        next one is written to the same place.
        """
        with suppress(sqlite3.Error):
            self._insert([self._mark()])
        # The log may begin anew then, which makes room on a disk that is full.
        with suppress(sqlite3.Error):
            self._database.execute("PRAGMA wal_checkpoint").close()

    def _mark(self) -> Row:
        # Counted, as SQLite does not write what is there already.
        self._marks += 1
        return STORE, b"", 0, 0, 0, None, encode_store(self._owner, self.time(), self._marks)

    def find(self, id: bytes) -> StoredSession | None:
        """What is kept of a session, or None."""
        with self._explaining():
            kept = self._load(id)
            return None if kept is None else kept.stored()

    def named(self, name: str) -> StoredSession | None:
        """What is kept of a starter's session, or None."""
        with self._explaining():
            id = self._holder(encode_name(name)) if name else None
            return None if id is None else self.find(id)

    def count(self) -> int:
        """How many sessions there are, those that the next sweep will remove among them."""
        with self._explaining():
            (count,) = self._database.execute("SELECT count(*) FROM sessions").fetchone()
            return int(count)

    def messages(self, id: bytes, lane: int, first: int, most: int) -> list[tuple[int, QueuedMessage]]:
        """See L{hypermail.interfaces.ISessionStore.messages}; at most L{ROW_MESSAGES} at once."""
        with self._explaining():
            kept = self._load(id)
            half = None if kept is None else kept.sending.get(lane)
            if half is None:
                return []
            found: list[tuple[int, QueuedMessage]] = []
            size = 0
            for number, message in self._unsettled(id, lane, max(first, half.settled), half.next):
                if number in half.withdrawn:
                    continue
                if found and (size + len(message.data) > most or len(found) == ROW_MESSAGES):
                    break
                size += len(message.data)
                found.append((number, message))
            return found

    def _unsettled(self, id: bytes, lane: int, begin: int, end: int) -> Iterator[tuple[int, QueuedMessage]]:
        rows = self._database.execute(
            "SELECT first, stop, body FROM messages WHERE id = :id AND lane = :lane AND first < :end AND first >= "
            "(SELECT max(first) FROM messages WHERE id = :id AND lane = :lane AND first <= :begin) ORDER BY first",
            {"id": id, "lane": lane, "begin": begin, "end": end},
        )
        try:
            while begin < end:
                row = rows.fetchone()
                first, stop, body = row or (0, 0, b"")
                if not first <= begin < stop:
                    raise Damaged(f"message {begin} of lane {lane} of session {id.hex()} is missing")
                yield from decode_messages(id, lane, first, stop, body, begin)
                begin = stop
        finally:
            rows.close()

    def _holder(self, name: bytes) -> bytes | None:
        """The id of the starter's session of this name."""
        row = self._database.execute("SELECT id FROM sessions WHERE name = ?", (name,)).fetchone()
        return None if row is None else row[0]

    def _load(self, id: bytes) -> Kept | None:
        """What is kept of a session, unless that is to be forgotten."""
        if id in self._linked:
            return self._linked[id]
        row = self._database.execute("SELECT body FROM sessions WHERE id = ?", (id,)).fetchone()
        if row is None:
            return None
        kept = decode_session(id, row[0])
        if kept.until is not None and kept.until < self.time():
            return None
        lanes = self._database.execute("SELECT lane, half, settled, body FROM lanes WHERE id = ?", (id,)).fetchall()
        for lane, half, settled, body in lanes:
            _put(kept, lane, half, settled, body)
        return kept

    def sweep(self) -> None:
        """
        Remove sessions that have been suspended for longer than they may be.

        @raise StoreFailed: when it cannot be done; some may be gone.
        """
        with self._explaining():
            time = self._swept = self.time()
            self._insert([self._mark()])
            over = [id for (id,) in self._database.execute("SELECT id FROM sessions WHERE until < ?", (time,))]
            self._change([Over(id) for id in over if id not in self._used and self._load(id) is None])

    def _change(self, changes: Sequence[Change]) -> None:
        for begin in range(0, len(changes), _MOST_ROWS):
            group = Group(self._load, self._holder, self._time)
            for change in changes[begin : begin + _MOST_ROWS]:
                group.add(change)
            self._write(group.rows())

    def copy(self, source: StoreFile, wanted: Callable[[int], bool]) -> None:
        """
        Write down sessions as another store has them, in place of what is kept of them here; all of them, or none.

        @param source: of the same owner, in which nothing has a link.
        @param wanted: whether those with a C{worker} are.
        """
        with self._explaining():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                for row in source._rows(wanted):
                    self._insert([row])
                self._database.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    self._database.execute("ROLLBACK")
                raise

    def _rows(self, wanted: Callable[[int], bool]) -> Iterator[Row]:
        """All there is of some sessions."""
        execute = self._database.execute
        for id, name, until, body in execute("SELECT id, name, until, body FROM sessions"):
            if not wanted(decode_session(id, body).identity.worker):
                continue
            yield OVER, id, 0, 0, 0, None, b""
            yield SESSION, id, 0, until, 0, name, body
            for lane, half, settled, body in execute("SELECT lane, half, settled, body FROM lanes WHERE id = ?", (id,)):
                yield LANE, id, lane, half, settled, None, body
            for row in execute("SELECT lane, first, stop, body FROM messages WHERE id = ?", (id,)):
                yield MESSAGES, id, *row[:3], None, row[3]

    def _begin(self) -> None:
        """Compare what has a check of its own with the rest, and begin the suspension of those that had a link."""
        row = self._database.execute("SELECT body FROM store").fetchone()
        if row is None:
            raise Damaged("it does not say whose it is")
        owner, seen, self._marks = decode_store(row[0])
        if owner != self._owner:
            raise StoreFailed(
                f"the store {printable(self.path)} belongs to another identity: use the one that it was made with, "
                "or another directory"
            )
        self._time = max(self._time, seen)
        sessions: set[bytes] = set()
        linked: list[bytes] = []
        for id, name, until, body in self._database.execute("SELECT id, name, until, body FROM sessions"):
            kept = decode_session(id, body)
            own = encode_name(kept.identity.name) if kept.identity.role is Role.STARTER else b""
            if (name or b"") != own or until != kept.until:
                raise Damaged(f"what is kept of session {id.hex()} contradicts itself")
            sessions.add(id)
            if until is None:
                linked.append(id)
        self._compare(sessions)
        self.sweep()
        self._change([Suspended(id) for id in linked])

    def _compare(self, sessions: set[bytes]) -> None:
        """Each lane has all of its unsettled messages, and each message has its lane."""
        covered = {
            (id, lane): rest
            for id, lane, *rest in self._database.execute(
                "SELECT id, lane, min(first), max(stop), sum(stop - first) FROM messages GROUP BY id, lane"
            )
        }
        for id, lane, half, settled, body in self._database.execute("SELECT id, lane, half, settled, body FROM lanes"):
            if id not in sessions:
                raise Damaged(f"there is a lane of session {_shown(id)}, but not the session")
            if half != SENDING:
                decode_receiving(id, lane, body)
                continue
            sending = decode_sending(id, lane, body)
            begin, end, count = covered.pop((id, lane), (sending.next, sending.next, 0))
            if settled != sending.settled or begin > settled or end != sending.next or count != end - begin:
                raise Damaged(f"messages of lane {lane} of session {id.hex()} are missing")
        if covered:
            raise Damaged("there are messages of a lane that is not there")

    def close(self) -> None:
        """
        Let go of it; another process may have it then.

        What cannot be copied from the log into the tables then is copied by the next who opens it.
        """
        with suppress(sqlite3.Error):
            self._insert([self._mark()])
        with self._explaining():
            self._database.close()


def _put(kept: Kept, lane: int, half: int, settled: int, body: bytes) -> None:
    id = kept.identity.id
    if half == SENDING:
        sending = kept.sending[lane] = decode_sending(id, lane, body)
        if sending.settled != settled:
            raise Damaged(f"what is kept of lane {lane} of session {id.hex()} contradicts itself")
    else:
        kept.receiving[lane] = decode_receiving(id, lane, body)


def _shown(id: Any) -> str:
    return id.hex() if isinstance(id, bytes) else repr(id)


def _statements(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Rows in runs that one statement may write."""
    run: list[Row] = []
    size = 0
    for row in rows:
        if run and (len(run) == _MOST_ROWS or size + len(row[-1]) > _MOST_BYTES):
            yield run
            run, size = [], 0
        run.append(row)
        size += len(row[-1])
    if run:
        yield run
