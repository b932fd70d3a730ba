"""
Messages through a session that comes back; and files as messages, where there are no streams.
"""

from __future__ import annotations

from functools import partial

from hypermail.errors import Delivered, HypermailError, MessageUndelivered, SessionLost
from hypermail.services.paths import printable
from hypermail.services.reading import NotSent
from hypermail.services.sending import Dispatch, Sessions, Watcher
from hypermail.services.tree import Item
from hypermail.services.workers import Run


async def send_message(sessions: Sessions, message: bytes) -> None:
    """
    Send a message, once more when it is certain that it has not arrived.

    @raise MessageUndelivered: when that is not certain.
    @raise HypermailError: when it was not taken.
    """
    session = await sessions.session(None, None)
    while True:
        error: HypermailError
        try:
            await session.sendMessage(message)
            return
        except MessageUndelivered as undelivered:
            if undelivered.delivered is not Delivered.NO:
                raise
            error = undelivered.cause
        except SessionLost as lost:
            error = lost
        session = await sessions.session(session, error)


def _read(path: str, most: int) -> bytes:
    with open(path, "rb") as file:
        return file.read(most + 1)


class MessageDispatch(Dispatch):
    """
    Sends files as messages, each whole and without its name.

    @param sessions: where sessions come from.
    @param run: runs what blocks.
    @param watcher: is told how it goes.
    @param most: bytes of a message, at most.
    """

    def __init__(self, sessions: Sessions, *, run: Run, watcher: Watcher, most: int) -> None:
        super().__init__()
        self._sessions = sessions
        self._run = run
        self._watcher = watcher
        self._most = most

    async def sendNow(self, item: Item) -> None:
        """
        See L{Dispatch}.

        @raise NotSent: when it is too large, or may have arrived and nobody knows.
        """
        data = await self._run(partial(_read, item.path, self._most))
        if len(data) > self._most:
            raise NotSent(f"it has more than {self._most:,} bytes, the most that one message of this dialect may have")
        try:
            await send_message(self._sessions, data)
        except MessageUndelivered as error:
            raise NotSent(f"it may have arrived, or not: {printable(error.cause.text)}") from error
        self._watcher.wrote(len(data))
        self._watcher.stored(item, len(data), item.name.decode("utf-8", "replace"))
