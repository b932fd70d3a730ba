"""
The tables of a store, and how its file is made, opened, and found to be unusable.

One process has the file open: SQLite's exclusive lock is held from the opening to the closing, which also spares the
file of shared memory that the write-ahead log has otherwise. https://www.sqlite.org/wal.html §8
"""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
import tempfile
from contextlib import closing, suppress
from typing import Any
from urllib.parse import quote

from hypermail.errors import StoreFailed
from hypermail.services.paths import printable
from hypermail.services.store_rows import Damaged, encode_store

#: Tells our files from those of others: "HMst".
APPLICATION = 0x484D7374
#: Of the tables and of what is in their rows.
VERSION = 1
PAGE = 8192
#: Pages of the log from which on it is copied into the tables; so that most messages are settled before.
LOG_PAGES = (16 << 20) // PAGE

#: What a row of the view C{change} is.
OVER, SESSION, LANE, MESSAGES, STORE = range(5)
SENDING, RECEIVING = range(2)

# `change` is no table. What is written to it goes where it belongs, so that a whole group takes one call of Python's
# sqlite3, and with it is one transaction. Each call lets go of Python's lock several times, and may have to wait
# 5 ms each time when the reactor's thread is busy.
_SCHEMA = """
CREATE TABLE store (one INTEGER PRIMARY KEY CHECK (one = 1), body BLOB NOT NULL CHECK (typeof(body) = 'blob'));
CREATE TABLE sessions (id BLOB PRIMARY KEY, name BLOB UNIQUE, until REAL, body BLOB NOT NULL,
    CHECK (typeof(id) = 'blob' AND typeof(name) IN ('blob', 'null') AND typeof(until) IN ('real', 'null')
        AND typeof(body) = 'blob')) WITHOUT ROWID;
CREATE TABLE lanes (id BLOB, lane INTEGER, half INTEGER, settled INTEGER NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY (id, lane, half),
    CHECK (typeof(id) = 'blob' AND typeof(lane) = 'integer' AND typeof(half) = 'integer'
        AND typeof(settled) = 'integer' AND typeof(body) = 'blob')) WITHOUT ROWID;
CREATE TABLE messages (id BLOB, lane INTEGER, first INTEGER, stop INTEGER NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY (id, lane, first),
    CHECK (typeof(id) = 'blob' AND typeof(lane) = 'integer' AND typeof(first) = 'integer'
        AND typeof(stop) = 'integer' AND typeof(body) = 'blob')) WITHOUT ROWID;
CREATE VIEW change AS SELECT 0 AS kind, x'' AS id, 0 AS lane, 0 AS first, 0 AS stop, x'' AS name, x'' AS body;
CREATE TRIGGER over INSTEAD OF INSERT ON change WHEN new.kind = 0 BEGIN
    DELETE FROM sessions WHERE id = new.id;
    DELETE FROM lanes WHERE id = new.id;
    DELETE FROM messages WHERE id = new.id;
END;
CREATE TRIGGER session INSTEAD OF INSERT ON change WHEN new.kind = 1 BEGIN
    INSERT INTO sessions VALUES (new.id, new.name, new.first, new.body)
        ON CONFLICT (id) DO UPDATE SET name = excluded.name, until = excluded.until, body = excluded.body;
END;
CREATE TRIGGER lane INSTEAD OF INSERT ON change WHEN new.kind = 2 BEGIN
    INSERT INTO lanes VALUES (new.id, new.lane, new.first, new.stop, new.body)
        ON CONFLICT (id, lane, half) DO UPDATE SET settled = excluded.settled, body = excluded.body;
END;
CREATE TRIGGER settled AFTER UPDATE OF settled ON lanes WHEN new.settled > old.settled BEGIN
    DELETE FROM messages WHERE id = new.id AND lane = new.lane AND first < new.settled AND stop <= new.settled;
END;
CREATE TRIGGER messages INSTEAD OF INSERT ON change WHEN new.kind = 3 BEGIN
    INSERT INTO messages VALUES (new.id, new.lane, new.first, new.stop, new.body);
END;
CREATE TRIGGER store INSTEAD OF INSERT ON change WHEN new.kind = 4 BEGIN
    INSERT INTO store VALUES (1, new.body) ON CONFLICT (one) DO UPDATE SET body = excluded.body;
END;
"""
_OBJECTS = "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' ORDER BY type, name"

_NO_LINKS = frozenset((errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK))


def explained(path: str, error: BaseException) -> StoreFailed:
    """
    What has gone wrong with a store, and what can be done, in one line.

    @param error: L{sqlite3.Error}, L{OSError} or L{Damaged}; anything else is a defect of hypermail.
    """
    store = f"the store {printable(path)}"
    reason = printable(str(error))
    if isinstance(error, Damaged):
        return damaged(path, reason)
    if isinstance(error, OSError):
        return StoreFailed(f"{store} cannot be used: {error.strerror or reason}; {_remedy(error.errno)}")
    if not isinstance(error, sqlite3.Error):
        return StoreFailed(f"{store} was given what it cannot write: {reason}; this is a defect of hypermail")
    # The low byte is the primary code. https://www.sqlite.org/rescode.html#pve
    primary = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreFailed(f"{store} is in use by another process: stop that, or use another directory")
    if primary == sqlite3.SQLITE_FULL:
        return StoreFailed(f"{store} cannot be written: the disk is full; make room there")
    if primary in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH):
        return StoreFailed(f"{store} cannot be used: {reason}; {_remedy(errno.EACCES)}")
    if primary == sqlite3.SQLITE_NOTADB:
        return foreign(path)
    if primary == sqlite3.SQLITE_IOERR:
        return StoreFailed(f"{store} cannot be used: {reason}; look whether its disk is full, or failing")
    return damaged(path, reason)


def _remedy(code: int | None) -> str:
    if code in (errno.ENOSPC, errno.EDQUOT):
        return "make room there"
    if code in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "let this user write the file and its directory"
    return "look at its directory and disk"


def damaged(path: str, reason: str) -> StoreFailed:
    """The file is not what was written."""
    return StoreFailed(
        f"the store {printable(path)} is damaged: {reason}; move it away, together with its -wal file, "
        "to begin anew without its sessions"
    )


def foreign(path: str) -> StoreFailed:
    """The file is somebody else's."""
    return StoreFailed(f"{printable(path)} is no store of hypermail's: move it away, or use another directory")


def connect(path: str, owner: bytes, now: float) -> sqlite3.Connection:
    """
    Open a store, exclusively, after having made it when it is not there.

    @param owner: whose sessions are in it.
    @param now: s since 1970.
    @raise StoreFailed: when it cannot be made, or is not usable. The owner has not been looked at.
    """
    try:
        if not os.path.lexists(path):
            _make(path, owner, now)
        _look(path)
        database = _database(path)
        try:
            _verify(database, path)
        except BaseException:
            database.close()
            raise
    except (sqlite3.Error, OSError) as error:
        raise explained(path, error) from error
    except ValueError as error:  # a null character, say
        raise StoreFailed(f"{printable(path)} cannot be the name of a file") from error
    return database


def _database(path: str) -> sqlite3.Connection:
    # The lock keeps others away, and jobs come one after the other; from which thread does not matter.
    return sqlite3.connect(
        f"file:{quote(os.fsencode(os.path.abspath(path)))}?mode=rw",
        uri=True,
        timeout=0,
        isolation_level=None,
        check_same_thread=False,
    )


def _make(path: str, owner: bytes, now: float) -> None:
    """Make it under another name first, so that a file of this name is always whole."""
    parent = os.path.dirname(os.path.abspath(path))
    os.makedirs(parent, 0o700, exist_ok=True)
    if os.path.lexists(path + "-wal"):
        raise damaged(path, "it is gone, but its -wal file is there")
    descriptor, draft = tempfile.mkstemp(".new", os.path.basename(path) + ".", parent)
    os.close(descriptor)
    try:
        with closing(_database(draft)) as database:
            # It is thrown away when this fails, so that nothing of it need be taken back.
            database.execute("PRAGMA journal_mode = MEMORY")
            database.execute("PRAGMA synchronous = FULL")
            database.execute(f"PRAGMA page_size = {PAGE}")
            database.executescript(
                f"BEGIN; PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION}; {_SCHEMA} COMMIT;"
            )
            database.execute("INSERT INTO store VALUES (1, ?)", (encode_store(owner, now, 0),))
            database.execute("PRAGMA journal_mode = WAL")
        if os.path.lexists(draft + "-wal"):  # what SQLite cannot do at closing it does not say
            raise OSError(errno.EIO, "it cannot be written")
        try:
            os.link(draft, path)
        except FileExistsError:  # another process was faster
            return
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            os.rename(draft, path)
        sync_directory(parent)
    finally:
        for rest in (draft, draft + "-wal"):
            with suppress(OSError):
                os.unlink(rest)


def sync_directory(path: str) -> None:
    """Wait until the names in it are on the disk, where the system can tell."""
    with suppress(OSError):  # not every system can
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _look(path: str) -> None:
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise foreign(path)
    if not status.st_size:
        raise damaged(path, "it is empty")


def _verify(database: sqlite3.Connection, path: str) -> None:
    for setting in ("locking_mode = EXCLUSIVE", "cell_size_check = ON", "temp_store = MEMORY", "synchronous = FULL"):
        database.execute(f"PRAGMA {setting}").close()
    if _value(database, "PRAGMA application_id") != APPLICATION:
        raise foreign(path)
    version = _value(database, "PRAGMA user_version")
    if version > VERSION:
        raise StoreFailed(
            f"the store {printable(path)} is of a newer version of hypermail ({version}, this one knows {VERSION}): "
            "use that version, or another directory"
        )
    if version != VERSION:
        raise damaged(path, f"its version is {version}")
    with closing(sqlite3.connect(":memory:")) as sample:
        sample.executescript(_SCHEMA)
        if database.execute(_OBJECTS).fetchall() != sample.execute(_OBJECTS).fetchall():
            raise damaged(path, "its tables are not those of its version")
    found = _value(database, "PRAGMA integrity_check(1)")
    if found != "ok":
        raise damaged(path, printable(" ".join(str(found).split())))
    if _value(database, "PRAGMA journal_mode = WAL") != "wal":
        raise damaged(path, "it has no write-ahead log")
    database.execute(f"PRAGMA wal_autocheckpoint = {LOG_PAGES}").close()
    database.execute(f"PRAGMA journal_size_limit = {LOG_PAGES * PAGE}").close()


def _value(database: sqlite3.Connection, statement: str) -> Any:
    found = database.execute(statement).fetchone()
    return found[0] if found else None
