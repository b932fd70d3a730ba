"""
The service of C{twistd hypermail --connect --dialect}: a session with an older listener, whose messages are stored, or
sent back.
"""

from __future__ import annotations

from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from hypermail.errors import HypermailError
from hypermail.internet.endpoints import SessionClientEndpoint
from hypermail.services.addresses import Destination
from hypermail.services.dialects import DialectSettings
from hypermail.services.ending import cannotStart
from hypermail.services.keeping import StarterService
from hypermail.services.status import Status
from hypermail.services.taking import ListenerSessions, OpenInbox


class DialectStarterService(Service):
    """
    Keeps a session in a dialect, and does what it was told with what comes.

    @param destination: of the listener.
    @param inbox: the directory that messages land in, or None.
    @param echo: whether everything is sent back.
    @param status: is told of each session, when somebody may want to look.
    """

    name = "hypermail"
    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        destination: Destination,
        settings: DialectSettings,
        *,
        inbox: str | None,
        echo: bool,
        status: Status | None,
    ) -> None:
        self._reactor = reactor
        self._destination = destination
        self._settings = settings
        self._echo = echo
        self._status = status
        self._inbox = None if inbox is None else OpenInbox(reactor, inbox)
        self._sessions: ListenerSessions | None = None
        self._keeping: StarterService | None = None

    def startService(self) -> None:
        """
        Begin.

        @raise hypermail.services.ending.CannotStart: when it cannot.
        """
        Service.startService(self)
        host, port = self._destination
        try:
            endpoint = SessionClientEndpoint(self._reactor, host, port, dialect=self._settings.dialect())
        except HypermailError as error:
            cannotStart(self._log, error.text)
        sessions = self._sessions = ListenerSessions(self._echo, dialect=True)
        sessions.status = self._status
        if self._inbox is not None:
            sessions.inbox = self._inbox.open()
        self._log.warn(
            "what goes to and fro in dialect {name} is not encrypted: anyone on the path can read it",
            name=self._settings.name,
        )
        self._keeping = StarterService(self._reactor, endpoint, sessions)
        self._keeping.startService()

    def reload(self) -> None:
        """Read the secrets of others again."""
        self._settings.reload()

    def stopService(self) -> Deferred[None]:
        """End the session, then close the inbox."""
        Service.stopService(self)
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        keeping, self._keeping = self._keeping, None
        if keeping is not None:
            await keeping.stopService()
        if self._inbox is not None:
            await self._inbox.close()
