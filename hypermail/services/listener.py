"""
The service of C{twistd hypermail}: a socket, and what to do with what comes.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from socket import socket
from typing import Any, NamedTuple

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger
from twisted.python.failure import Failure

from hypermail.errors import (
    HypermailError,
)
from hypermail.interfaces import ISessionStore
from hypermail.internet.endpoints import SessionServerEndpoint
from hypermail.internet.security import Security
from hypermail.internet.settings import ListenerSettings
from hypermail.internet.strays import Worker
from hypermail.options import Options
from hypermail.services.addresses import Listening
from hypermail.services.announcing import announce, announceWay
from hypermail.services.dialects import DialectSettings
from hypermail.services.directory import check_trace_directory, reason
from hypermail.services.disk import Disk
from hypermail.services.ending import cannotStart, causeOf, listening
from hypermail.services.exits import Exits
from hypermail.services.inbox import TakeAway
from hypermail.services.kept import OwnStore, file_of, openNow, owner_of
from hypermail.services.passages import Passage
from hypermail.services.status import Status
from hypermail.services.store_shares import share, shareOf
from hypermail.services.taking import ListenerSessions, OpenInbox


class Place(NamedTuple):
    """
    A worker's, among those of one listener.

    @ivar worker: what it has of the listener.
    @ivar sockets: its own, to listen on.
    @ivar takeAway: has the others leave a transfer; see L{Inbox}.
    """

    worker: Worker
    sockets: Sequence[socket]
    takeAway: TakeAway


@dataclass(frozen=True, slots=True, kw_only=True)
class Doing:
    """
    What a listener does; see L{hypermail.services.tap}.

    @ivar inbox: the directory that files and messages land in, or None.
    @ivar echo: whether everything is sent back.
    @ivar forwards: where streams and datagrams go on to.
    @ivar settings: who we are, and who may come; or which dialect is spoken.
    @ivar status: is told of each session, when somebody may want to look.
    @ivar place: among the workers of a listener that has several.
    """

    listening: Listening
    inbox: str | None = None
    echo: bool = False
    forwards: tuple[Passage, ...] = ()
    settings: ListenerSettings | DialectSettings = field(default_factory=ListenerSettings)
    traceDirectory: str | None = None
    options: Options = field(default_factory=Options)
    status: Status | None = None
    place: Place | None = None


class ListenerService(Service):
    """
    Listens, and does what it was told with what comes.

    @param reactor: of the program.
    @param doing: what it was told.
    @param disk: the file system of the inbox.
    """

    name = "hypermail"
    _log = Logger()

    def __init__(self, reactor: Any, doing: Doing, disk: Disk | None = None) -> None:
        self._reactor = reactor
        self._doing = doing
        self._sessions = self._noSessions()
        self._binding: Deferred[None] | None = None
        self._port: Any = None
        self._security: Security | None = None
        self._kept: OwnStore | None = None
        takeAway = None if doing.place is None else doing.place.takeAway
        self._inbox = None if doing.inbox is None else OpenInbox(reactor, doing.inbox, disk, takeAway)

    def _noSessions(self) -> ListenerSessions:
        dialect = isinstance(self._doing.settings, DialectSettings)
        sessions = ListenerSessions(self._doing.echo, dialect=dialect)
        sessions.status = self._doing.status
        return sessions

    def privilegedStartService(self) -> None:
        """Bind the socket, which may need privileges; C{twistd} gives them up afterwards."""
        self._bind()

    def startService(self) -> None:
        """
        Begin; C{twist} calls this alone.

        @raise hypermail.services.ending.CannotStart: when it cannot.
        """
        Service.startService(self)
        if self._binding is None:
            self._bind()
        if self._inbox is not None:
            self._sessions.inbox = self._inbox.open()
        if self._doing.place is None:  # or whoever has started this worker says it, once
            announce(self._log, self._doing, self._security, self._number)

    def _bind(self) -> None:
        doing = self._doing
        try:
            check_trace_directory(doing.traceDirectory)
            if doing.forwards:
                self._sessions.exits = Exits(self._reactor, doing.forwards)
            endpoint = self._endpoint()
        except HypermailError as error:
            cannotStart(self._log, error.text)
        # An endpoint that closes one socket again because another could not be opened takes its time.
        binding = endpoint.listen(self._sessions)
        self._binding = listening(self._reactor, self._log, binding, self._bound, self._whyNotBound)

    def _endpoint(self) -> SessionServerEndpoint:
        """@raise HypermailError: when what the settings name cannot be used."""
        doing = self._doing
        port, interface = doing.listening.port, doing.listening.interface
        if isinstance(doing.settings, DialectSettings):
            return SessionServerEndpoint(self._reactor, port, interface=interface, dialect=doing.settings.dialect())
        self._security = doing.settings.security()
        place = doing.place
        return SessionServerEndpoint(
            self._reactor,
            port,
            interface=interface,
            sockets=() if place is None else place.sockets,
            worker=None if place is None else place.worker,
            options=doing.options,
            security=self._security,
            traceDirectory=doing.traceDirectory,
            store=self._openStore(doing.settings, self._security),
        )

    def _openStore(self, settings: ListenerSettings, security: Security) -> ISessionStore | None:
        """
        Where sessions are kept whose starters want that. Without a state directory of its own a listener does without.

        @raise StoreFailed: when it cannot be opened where it was asked for.
        """
        owner = owner_of(security)
        try:
            file = file_of(settings, self._doing.listening)
            if owner is None or file is None:
                return None
            if self._doing.place is None:
                share(file, owner, 1)
                self._kept = openNow(self._reactor, file, owner)
            else:
                self._kept = openNow(self._reactor, shareOf(file, self._doing.place.worker.share), owner)
        except HypermailError as error:
            if settings.state is not None:
                raise
            self._log.warn("no sessions are kept over restarts: {reason}, or give --state DIR", reason=error.text)
            return None
        return self._kept

    def _bound(self, port: IListeningPort) -> None:
        self._port = port
        if self._doing.status is not None:
            self._doing.status.listening(port)

    def _whyNotBound(self, failure: Failure) -> str:
        error = failure.value
        if isinstance(error, CannotListenError):
            where = f"UDP port {error.port}" + (f" of {error.interface}" if error.interface else "")
            return f"cannot listen on {where}: {causeOf(error)}"
        if isinstance(error, OSError):
            return f"cannot listen on UDP port {self._doing.listening.port}: {reason(error)}"
        return error.text if isinstance(error, HypermailError) else failure.getErrorMessage()

    def leave(self, transfer: str) -> Deferred[None]:
        """Another worker carries a transfer to the inbox: see L{Inbox.leave}."""
        inbox = self._sessions.inbox
        return succeed(None) if inbox is None else inbox.leave(transfer)

    def reload(self) -> None:
        """
        Read identity and trust again; sessions that are open go on. What cannot be read is logged, and nothing changes.
        """
        if self._port is None:
            return
        settings = self._doing.settings
        if isinstance(settings, DialectSettings):
            settings.reload()
            return
        try:
            security = settings.security(again=True)
            self._port.renew(security)
        except HypermailError as error:
            self._log.error("identity and trust stay as they were: {reason}", reason=error.text)
            return
        self._security = security
        self._log.info("identity and trust were read again")
        if self._doing.place is None:
            announceWay(self._log, self._doing, security, self._number)

    @property
    def _number(self) -> int:
        """The port."""
        return self._doing.listening.port if self._port is None else int(self._port.getHost().port)

    def stopService(self) -> Deferred[None]:
        """End all sessions, then close the socket, then the inbox; takes little more than L{GRACE}, cancelled less."""
        Service.stopService(self)
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        binding, self._binding = self._binding, None
        if binding is not None:
            binding.cancel()
            await binding
        await self._sessions.end(self._reactor)
        port, self._port = self._port, None
        if port is not None:
            stopping = port.stopListening()
            if stopping is not None:
                await stopping
        kept, self._kept = self._kept, None
        if kept is not None:
            with suppress(HypermailError):  # whoever wrote was told
                await kept.close()
        if self._inbox is not None:
            await self._inbox.close()
        self._sessions = self._noSessions()  # for another start
