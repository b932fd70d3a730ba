"""
Durable sessions on disk: an L{ISessionStore} that has a thread work at a file.

While the thread writes, whatever is asked for waits, and is then written together: one transaction, and one wait for
the disk, for all of it. The slower the disk, the larger the groups.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure
from zope.interface import implementer

from hypermail.errors import StoreFailed
from hypermail.interfaces import ISessionStore
from hypermail.services.paths import printable
from hypermail.services.store_file import StoreFile
from hypermail.services.store_sql import explained
from hypermail.services.workers import Run
from hypermail.session.journal import Change, QueuedMessage, StoredSession

#: What a store is called in its state directory.
STORE_FILE = "sessions.db"
#: s after which a thread that has something to do gets the interpreter from one that does not let go of it.
SWITCH_INTERVAL = 0.0005


class _Asked(NamedTuple):
    """Something to be done; either changes to be written, or a job that reads."""

    done: Deferred[Any]
    changes: Sequence[Change]
    job: Callable[[], Any] | None


def openedStore(
    path: str | os.PathLike[str], owner: bytes, *, run: Run, now: Callable[[], float]
) -> Deferred[SessionStore]:
    """
    Open the store in a file; it is made, with its directory, when it is not there. Only its user may read it.

    Sessions that had a link when their process was killed are suspended from now on. Those that have been suspended
    for longer than their timeout are gone.

    It shortens the interpreter's switch interval, which is the whole process's, to L{SWITCH_INTERVAL}: with the usual
    5 ms a reactor that is busy, and lets go of the interpreter for moments only, was seen to keep a thread from
    writing a group for 13 s.

    @param path: of the file, on a disk of this machine; L{STORE_FILE} of a state directory is the custom.
    @param owner: what names the identity that its sessions belong to: SHA-256 of its public key, say.
    @param run: see L{Run}: C{Workers(reactor, threads=1).run}, for a thread that nobody else keeps busy. It has to
        go on until the store is closed.
    @param now: the wall clock: s since 1970. When it is set back, sessions are kept for longer.
    @return: a L{Deferred} of the store. It errbacks with L{StoreFailed}, whose text is one line, when the file is in
        use, damaged, of another identity, of a newer version, no store at all, or cannot be written.
    """
    name = os.fspath(path)
    return run(lambda: openedFile(name, owner, now)).addCallbacks(
        lambda file: SessionStore(file, run), lambda failure: Failure(_failed(name, failure))
    )


def openedFile(path: str | os.PathLike[str], owner: bytes, now: Callable[[], float]) -> StoreFile:
    """
    The file of a store; the parameters are those of L{openedStore}.

    @raise StoreFailed: with one clear line.
    """
    if sys.getswitchinterval() > SWITCH_INTERVAL:
        sys.setswitchinterval(SWITCH_INTERVAL)
    return StoreFile(os.fspath(path), owner, now)


def _failed(path: str, failure: Failure) -> StoreFailed:
    """What has gone wrong, whatever it is."""
    error: Any = failure.value
    return error if isinstance(error, StoreFailed) else explained(path, error)


@implementer(ISessionStore)
class SessionStore:
    """
    Sessions in a file; L{openedStore} makes it.

    What waits to be written has no limit here. Its messages have one in their sessions: each pauses the producers of
    its messages at C{Options.outgoing_bytes}, and takes no more than its allowance from its peer before what has
    come is written down. A group takes about three times the memory of its messages while it is written.

    A change that does not fit what is kept is refused, and with it all changes of the same call of L{write}: messages
    whose numbers do not go on where those of their lane end, or whose session or lane is not there, and a starter's
    session of a name that another one has which is not over (the application finds that one by L{named}; to replace
    it without a word would lose its messages). Other calls are not touched by that.

    @param file: what it works at; nobody else may.
    @param run: see L{Run}.
    """

    def __init__(self, file: StoreFile, run: Run) -> None:
        self._file = file
        self._run = run
        self._waiting: deque[_Asked] = deque()
        self._working = False
        self._closing = False

    def write(self, changes: Sequence[Change]) -> Deferred[None]:
        """
        See L{ISessionStore.write}.

        When the disk fails, everything that was asked for before that is known errbacks with it. What is asked for
        afterwards is tried anew.

        @param changes: not changed by anybody any more.
        """
        return self._ask(changes=changes)

    def find(self, id: bytes) -> Deferred[StoredSession | None]:
        """See L{ISessionStore.find}; like all reading, it sees what was to be written before."""
        return self._ask(job=lambda: self._file.find(id))

    def named(self, name: str) -> Deferred[StoredSession | None]:
        """See L{ISessionStore.named}."""
        return self._ask(job=lambda: self._file.named(name))

    def count(self) -> Deferred[int]:
        """See L{ISessionStore.count}."""
        return self._ask(job=self._file.count)

    def messages(self, id: bytes, lane: int, first: int, most: int) -> Deferred[list[tuple[int, QueuedMessage]]]:
        """See L{ISessionStore.messages}. It errbacks with L{StoreFailed} when some are missing, or are damaged."""
        return self._ask(job=lambda: self._file.messages(id, lane, first, most))

    def close(self) -> Deferred[None]:
        """See L{ISessionStore.close}. Whatever is asked for afterwards errbacks with L{StoreFailed}."""
        closed = self._ask(job=self._file.close)
        self._closing = True
        return closed

    def _ask(self, changes: Sequence[Change] = (), job: Callable[[], Any] | None = None) -> Deferred[Any]:
        if self._closing:
            return fail(StoreFailed(f"the store {printable(self._file.path)} is closed"))
        asked = _Asked(Deferred(), changes, job)
        self._waiting.append(asked)
        if not self._working:
            self._work()
        return asked.done

    def _work(self) -> None:
        """Let the thread have all that is to be written before the next reading, or else that."""
        self._working = bool(self._waiting)
        if not self._waiting:
            return
        job = self._waiting[0].job
        if job is not None:
            asked = self._waiting.popleft()
            self._run(job).addBoth(self._read, asked)
            return
        group: list[_Asked] = []
        while self._waiting and self._waiting[0].job is None:
            group.append(self._waiting.popleft())
        writes = [asked.changes for asked in group]
        self._run(lambda: self._file.apply(writes)).addCallbacks(
            self._written, self._lost, callbackArgs=(group,), errbackArgs=(group,)
        )

    def _read(self, result: Any, asked: _Asked) -> None:
        # The thread first: it works on while the result is looked at.
        self._work()
        if isinstance(result, Failure):
            asked.done.errback(_failed(self._file.path, result))
        else:
            asked.done.callback(result)

    def _written(self, refusals: list[StoreFailed | None], group: list[_Asked]) -> None:
        self._work()
        for asked, refusal in zip(group, refusals):
            if refusal is None:
                asked.done.callback(None)
            else:
                asked.done.errback(refusal)

    def _lost(self, failure: Failure, group: list[_Asked]) -> None:
        failed = group + [asked for asked in self._waiting if asked.job is None]
        self._waiting = deque(asked for asked in self._waiting if asked.job is not None)
        self._work()
        text = _failed(self._file.path, failure).text
        for asked in failed:
            asked.done.errback(StoreFailed(text))
