"""
The service of C{twistd hypermail}: a socket, and what to do with what comes.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from socket import gethostname
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, gatherResults
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocol
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from hypermail.errors import (
    HypermailError,
    MessageRejected,
    Reason,
    SessionRejected,
    StreamRejected,
)
from hypermail.events import SessionRequested, StreamOptions
from hypermail.interfaces import Answer, ISessionStore
from hypermail.internet.address import HypermailAddress
from hypermail.internet.endpoints import SessionServerEndpoint
from hypermail.internet.protocol import SessionFactory, SessionProtocol
from hypermail.internet.security import ListenerTLS, Security
from hypermail.internet.settings import ListenerSettings
from hypermail.options import Options
from hypermail.security.identity import pin_of
from hypermail.services.addresses import Destination, Listening, describe
from hypermail.services.directory import InboxDirectory, check_trace_directory, reason
from hypermail.services.disk import Disk
from hypermail.services.echo import MessageEcho, StreamEcho
from hypermail.services.ending import cannotStart, causeOf, listening
from hypermail.services.exits import Exits
from hypermail.services.files import NAME
from hypermail.services.flows import DatagramExits
from hypermail.services.inbox import Inbox
from hypermail.services.kept import OwnStore, file_of, openNow, owner_of
from hypermail.services.passages import Passage
from hypermail.services.receiving import FileReceiver
from hypermail.services.status import Status
from hypermail.services.workers import Workers

GRACE = 3.0
"""Seconds that sessions have to end by themselves when the service stops."""

FILES_AT_ONCE = 256
"""Files of one session that may be arriving: each holds two descriptors."""

SWEEPING = 3_600.0
"""Seconds between two looks at what the inbox keeps of transfers."""

UNSPECIFIED = ("", "0.0.0.0", "::")
"""Interfaces that are no address to send anything to."""

_GOODBYE = "the listener is shutting down"
_NEITHER = (
    "neither --inbox DIR, which stores what comes, nor --forward ENDPOINT, which passes streams on, nor --echo, which "
    "sends everything back"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Doing:
    """
    What a listener does; see L{hypermail.services.tap}.

    @ivar inbox: the directory that files and messages land in, or None.
    @ivar echo: whether everything is sent back.
    @ivar forwards: where streams and datagrams go on to.
    @ivar settings: who we are, and who may come.
    @ivar status: is told of each session, when somebody may want to look.
    """

    listening: Listening
    inbox: str | None = None
    echo: bool = False
    forwards: tuple[Passage, ...] = ()
    settings: ListenerSettings = field(default_factory=ListenerSettings)
    traceDirectory: str | None = None
    options: Options = field(default_factory=Options)
    status: Status | None = None


class ListenerProtocol(SessionProtocol):
    """One session of the listener."""

    _log = Logger()

    def __init__(self, sessions: ListenerSessions, address: HypermailAddress) -> None:
        self._sessions = sessions
        self._peer = describe(address)
        self._echo: MessageEcho | None = None
        self._exits: DatagramExits | None = None
        self._arriving: set[FileReceiver] = set()
        self._ending: Deferred[None] | None = None
        self._owner = b""
        self._refused = 0

    def sessionOpened(self) -> None:
        """See L{ISessionProtocol}."""
        self._sessions.open.add(self)
        certificate = self.session.peerCertificate()
        self._owner = b"" if certificate is None else pin_of(certificate).encode()
        if self._sessions.status is not None:
            self._sessions.status.add(self.session)
        self._log.info("session with {peer}", peer=self._peer)
        if self._sessions.echo:
            self._echo = MessageEcho(self.session)
        if self._sessions.exits is not None:
            self._exits = self._sessions.exits.datagrams(self.session)

    def messageReceived(self, message: bytes) -> Deferred[Any] | None:
        """See L{ISessionProtocol}: a message is taken when all that is to be done with it is done."""
        inbox, echo = self._sessions.inbox, self._echo
        if inbox is None and echo is None:
            raise MessageRejected(self._refuse("a message"))
        echoed = None if echo is None else echo.echo(message)
        if inbox is None:
            return echoed
        storing = inbox.storeMessage(message, self._peer)
        return storing if echoed is None else gatherResults((storing, echoed), consumeErrors=True)

    def datagramReceived(self, data: bytes) -> None:
        """See L{ISessionProtocol}."""
        if self._exits is not None:
            self._exits.forth(data)
        elif self._sessions.echo:
            with suppress(HypermailError):  # it is too large for the way back, or the session closes: lost
                self.session.sendDatagram(data)
        else:
            self._refuse("a direct message")

    def streamOpened(self, name: bytes, options: StreamOptions) -> Answer[IProtocol | None]:
        """See L{ISessionProtocol}."""
        inbox, exits = self._sessions.inbox, self._sessions.exits
        if inbox is not None and name == NAME:
            return self._receive(inbox, options)
        if exits is not None and (name in exits.names or not self._sessions.echo):
            return exits.connect(name)
        if self._sessions.echo:
            return StreamEcho()
        kind = "a file" if name == NAME else f"a stream {name[:80]!r}"
        raise StreamRejected(self._refuse(kind), Reason.STREAM_NAME_UNKNOWN)

    def _receive(self, inbox: Inbox, options: StreamOptions) -> FileReceiver:
        if self._ending is not None:
            raise StreamRejected(_GOODBYE, Reason.SHUTTING_DOWN)
        if len(self._arriving) >= FILES_AT_ONCE:
            raise StreamRejected(f"{FILES_AT_ONCE} files are arriving already", Reason.LIMIT_EXCEEDED)
        receiver = inbox.receiver(options, self._peer, self._arrived, self._owner)
        self._arriving.add(receiver)
        return receiver

    def _arrived(self, receiver: FileReceiver) -> None:
        self._arriving.discard(receiver)
        if self._ending is not None and not self._arriving:
            self._close()

    def end(self) -> Deferred[None]:
        """
        Close the session when the files that are arriving have arrived. One that outlives the process stays.

        @return: fires, whatever happens, when it is over.
        """
        if self._ending is None:
            self._ending = Deferred()
            if not self._arriving:
                self._close()
        return self._ending

    def _close(self) -> None:
        if self.session.durable:
            self._ended()
        else:
            self.session.close().addErrback(lambda _: None)

    def _ended(self) -> None:
        if self._ending is not None and not self._ending.called:
            self._ending.callback(None)

    def _refuse(self, kind: str) -> str:
        """Log the first refusal of a session, count the others; the text for the peer."""
        what = "no streams but files are taken here" if self._sessions.inbox is not None else f"there is {_NEITHER}"
        if not self._refused:
            self._log.warn("refused {kind} from {peer}: {what}", kind=kind, peer=self._peer, what=what)
        self._refused += 1
        return f"{kind} is refused: {what}"

    def sessionLost(self, reason: Failure) -> None:
        """See L{ISessionProtocol}."""
        if self in self._sessions.open and self._sessions.status is not None:
            self._sessions.status.remove(self.session, reason)
        self._sessions.open.discard(self)
        if self._exits is not None:
            self._exits.clear()
        self._ended()
        if self._refused > 1:
            self._log.warn("refused {count} times from {peer} in all", count=self._refused, peer=self._peer)


class ListenerSessions(SessionFactory):
    """
    The sessions of the listener.

    @ivar inbox: where everything lands, or None.
    @ivar exits: where streams and datagrams go on to, or None.
    @ivar echo: whether everything is sent back.
    @ivar open: the sessions that are.
    @ivar status: is told of them, when there is one.
    """

    noisy = False

    def __init__(self, echo: bool) -> None:
        self.inbox: Inbox | None = None
        self.exits: Exits | None = None
        self.echo = echo
        self.status: Status | None = None
        self.open: set[ListenerProtocol] = set()
        self._ending = False

    def sessionRequested(self, request: SessionRequested) -> None:
        """See L{ISessionFactory}."""
        if self._ending:
            raise SessionRejected(_GOODBYE, Reason.SHUTTING_DOWN)

    def buildProtocol(self, address: HypermailAddress) -> ListenerProtocol:
        """See L{ISessionFactory}."""
        return ListenerProtocol(self, address)

    async def end(self, clock: Any) -> None:
        """
        Close all sessions, once their files have arrived; those that are not done after L{GRACE} end at once.

        The peers are told.
        """
        self._ending = True
        deadline = clock.callLater(GRACE, self._abort)
        try:
            await DeferredList([protocol.end() for protocol in list(self.open)], consumeErrors=True)
        finally:
            if deadline.active():
                deadline.cancel()

    def _abort(self) -> None:
        for protocol in list(self.open):
            protocol.session.abort(_GOODBYE, Reason.SHUTTING_DOWN)


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
        self._workers = Workers(reactor, name="hypermail inbox")
        self._sweeping: LoopingCall | None = None
        self._directory = None if doing.inbox is None else InboxDirectory(doing.inbox, disk)

    def _noSessions(self) -> ListenerSessions:
        sessions = ListenerSessions(self._doing.echo)
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
        self._openInbox()
        self._sayWhatIsDone()

    def _bind(self) -> None:
        doing = self._doing
        try:
            check_trace_directory(doing.traceDirectory)
            self._security = doing.settings.security()
            if doing.forwards:
                self._sessions.exits = Exits(self._reactor, doing.forwards)
            endpoint = SessionServerEndpoint(
                self._reactor,
                doing.listening.port,
                interface=doing.listening.interface,
                options=doing.options,
                security=self._security,
                traceDirectory=doing.traceDirectory,
                store=self._openStore(self._security),
            )
        except HypermailError as error:
            cannotStart(self._log, error.text)
        # An endpoint that closes one socket again because another could not be opened takes its time.
        binding = endpoint.listen(self._sessions)
        self._binding = listening(self._reactor, self._log, binding, self._bound, self._whyNotBound)

    def _openStore(self, security: Security) -> ISessionStore | None:
        """
        Where sessions are kept whose starters want that. Without a state directory of its own a listener does without.

        @raise StoreFailed: when it cannot be opened where it was asked for.
        """
        settings = self._doing.settings
        owner = owner_of(security)
        try:
            file = file_of(settings, self._doing.listening)
            if owner is None or file is None:
                return None
            self._kept = openNow(self._reactor, file, owner)
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

    def reload(self) -> None:
        """
        Read identity and trust again; sessions that are open go on. What cannot be read is logged, and nothing changes.
        """
        if self._port is None:
            return
        try:
            security = self._doing.settings.security(again=True)
            self._port.renew(security)
        except HypermailError as error:
            self._log.error("identity and trust stay as they were: {reason}", reason=error.text)
            return
        self._security = security
        self._log.info("identity and trust were read again")
        self._sayHowToCome()

    def _openInbox(self) -> None:
        directory = self._directory
        if directory is None:
            return
        try:
            directory.open()
        except HypermailError as error:
            cannotStart(self._log, error.text)
        self._workers.start()
        inbox = Inbox(directory, run=self._workers.run, clock=self._reactor, now=lambda: datetime.now(UTC))
        self._sessions.inbox = inbox
        self._sweeping = LoopingCall(inbox.sweep)
        self._sweeping.clock = self._reactor
        self._sweeping.start(SWEEPING)

    def _sayWhatIsDone(self) -> None:
        self._sayHowToCome()
        if self._doing.inbox is not None:
            self._log.info("files and messages land in {inbox!r}", inbox=self._doing.inbox)
        if self._doing.echo:
            self._log.info("everything is sent back")
        for passage in self._doing.forwards:
            what = "datagrams" if passage.datagrams else "streams"
            self._log.info("{what} go on: {passage}", what=what, passage=passage)
        if self._doing.inbox is None and not self._doing.echo and not self._doing.forwards:
            self._log.info("only pings are answered: there is {neither}", neither=_NEITHER)

    def _sayHowToCome(self) -> None:
        """The command that others type; it is made of what they need to know."""
        security = self._security
        if not isinstance(security, ListenerTLS) or security.identity is None:
            return
        listening = self._doing.listening
        port = listening if self._port is None else self._port.getHost()
        host = listening.interface if listening.interface not in UNSPECIFIED else gethostname()
        self._log.info(
            "others reach this listener with: hypermail send --pin {pin} {destination} FILE...",
            pin=security.identity.pin,
            destination=Destination(host, port.port),
        )
        if security.allow is None and security.trustRoots is None:
            self._log.warn("anybody may send to it: --allow PIN lets in only starters with a certificate of that pin")

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
        sweeping, self._sweeping = self._sweeping, None
        if sweeping is not None:
            sweeping.stop()
        await self._workers.stop()
        if self._directory is not None:
            self._directory.close()
        # For another start.
        self._sessions = self._noSessions()
        self._workers = Workers(self._reactor, name="hypermail inbox")
