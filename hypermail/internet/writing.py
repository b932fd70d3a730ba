"""
What has to outlive the process, between the core and a store: changes to be written, messages to be brought back.

Of each session one write at a time is under way, and what comes up meanwhile is the next: so the slower the disk, the
more is written at once.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from hypermail.errors import HypermailError, SessionClosed, StoreFailed
from hypermail.events import MessagesWanted
from hypermail.interfaces import ISessionStore
from hypermail.internet.message import Message
from hypermail.session.journal import Change, Over, Queued, QueuedMessage

if TYPE_CHECKING:
    from hypermail.internet.life import SessionLife

#: s after which what could not be written, or read, is tried again.
PAUSE = 1.0
#: Bytes of undelivered messages that are read at once when a session is over.
MOST_AT_ONCE = 1 << 20


class Writing:
    """
    The changes of one session on their way to the disk.

    @param wall: the wall clock, in s since 1970: times on disk are told by it.
    """

    _log = Logger()

    __slots__ = ("_failing", "_pause", "_session", "_store", "_underway", "_wall", "_whenDone")

    def __init__(self, session: SessionLife, store: ISessionStore, wall: Callable[[], float]) -> None:
        self._session = session
        self._store = store
        self._wall = wall
        self._underway = 0  # writes
        self._failing = False
        self._pause: IDelayedCall | None = None
        self._whenDone: Callable[[], object] | None = None

    def whenDone(self, call: Callable[[], object]) -> None:
        """Have C{call} called when the session is over and nothing more of it is to be written."""
        self._whenDone = call

    def look(self) -> None:
        """
        Write what there is to write, unless something is being written. What a session that is left to the disk has to
        say is written at once, since the store is about to be closed, perhaps.
        """
        session = self._session
        connection = session.connection
        if self._pause is not None and session.error is not None:
            self._pause.cancel()
            self._pause = None
        if self._pause is not None or (self._underway and not connection.parked):
            return
        if not connection.has_changes:
            self.sessionOver()
            return
        self._underway += 1
        changes = connection.take_changes()
        if isinstance(changes[-1], Over) and not isinstance(session.error, SessionClosed):
            writing = Deferred.fromCoroutine(self._endWith(changes))
        else:
            writing = self._store.write(self._dated(changes, self._wall() - session.seconds()))
        writing.addCallbacks(self._written, self._notWritten)

    def _dated(self, changes: list[Change], ahead: float) -> list[Change]:
        """The same with expiry by the wall clock. @param ahead: s by which that is ahead of the core's."""
        return [
            change._replace(messages=[_later(message, ahead) for message in change.messages])
            if isinstance(change, Queued) and any(message.expires is not None for message in change.messages)
            else change
            for change in changes
        ]

    def _written(self, _: object) -> None:
        self._failing = False
        self._underway -= 1
        self._told(True)

    def _notWritten(self, failure: Failure) -> None:
        if not self._failing:
            self._log.error(
                "session {session}: {reason}", session=self._session.sessionID.hex(), reason=failure.getErrorMessage()
            )
            self._failing = True
        self._underway -= 1
        session = self._session
        if session.error is None and not session.connection.parked:  # else what is left is tried at once, and once
            self._pause = session.reactor.callLater(PAUSE, self._again)
        self._told(False)

    def _again(self) -> None:
        self._pause = None
        self.look()

    def _told(self, safe: bool) -> None:
        session = self._session
        session.connection.changes_written(safe, now=session.seconds())
        if session.error is None:
            session.touch()
        else:
            self.look()

    # When the session is over

    def sessionOver(self) -> None:
        """The session has no more changes; if it is over, and all was written, or would not be, it is done."""
        if self._session.error is None or self._underway:
            return
        residents = self._session.socket.residents
        if self._failing:  # the disk has not the last word
            residents.parked()
        residents.vacate(self._session)
        whenDone, self._whenDone = self._whenDone, None
        if whenDone is not None:
            whenDone()

    async def _endWith(self, changes: list[Change]) -> None:
        """The session is over, and had not delivered everything: tell the application what it can't know otherwise."""
        session, store = self._session, self._store
        if changes[:-1]:
            with suppress(StoreFailed):  # then more is told than has to be
                await store.write(self._dated(changes[:-1], self._wall() - session.seconds()))
        stored = await store.find(session.sessionID) if session.opened else None
        for lane, sending in () if stored is None else stored.sending.items():
            first = sending.settled
            while messages := await store.messages(session.sessionID, lane, first, MOST_AT_ONCE):
                for number, (data, _, note) in messages:
                    session.traffic.sent.undelivered(Message(data, session.sessionID, lane, number, note))
                first = messages[-1][0] + 1
        await store.write(changes[-1:])

    # Bringing back

    def bring(self, event: MessagesWanted) -> None:
        """Bring messages back from the disk."""
        messages = self._store.messages(self._session.sessionID, event.lane, event.first, event.most)
        messages.addCallbacks(self._brought, self._notBrought, callbackArgs=(event,), errbackArgs=(event,))

    def _brought(self, messages: list[tuple[int, QueuedMessage]], event: MessagesWanted) -> None:
        session = self._session
        ahead = self._wall() - session.seconds()
        found = [(number, _later(message, -ahead)) for number, message in messages]
        session.connection.load(event.lane, event.first, found, now=session.seconds())
        session.touch()

    def _notBrought(self, failure: Failure, event: MessagesWanted) -> None:
        """What is on disk and cannot be read would be lost without a word if the session went on."""
        error: Any = failure.value
        self._log.error("session {session}: {reason}", session=self._session.sessionID.hex(), reason=str(error))
        with suppress(HypermailError):
            self._session.park(str(error))


def _later(message: QueuedMessage, by: float) -> QueuedMessage:
    return message if message.expires is None else message._replace(expires=message.expires + by)
