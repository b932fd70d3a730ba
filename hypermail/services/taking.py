"""
What is done with what sessions bring, at whichever end: stored, sent back, passed on, or refused.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, gatherResults, maybeDeferred
from twisted.internet.interfaces import IProtocol
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from hypermail.errors import HypermailError, MessageRejected, Reason, SessionRejected, StreamRejected
from hypermail.events import SessionRequested, StreamOptions
from hypermail.interfaces import Answer
from hypermail.internet.address import HypermailAddress
from hypermail.internet.protocol import SessionFactory, SessionProtocol
from hypermail.security.identity import pin_of
from hypermail.services.addresses import describe
from hypermail.services.directory import InboxDirectory
from hypermail.services.disk import Disk
from hypermail.services.echo import MessageEcho, StreamEcho
from hypermail.services.ending import cannotStart
from hypermail.services.exits import Exits
from hypermail.services.files import NAME
from hypermail.services.flows import DatagramExits
from hypermail.services.inbox import Inbox, TakeAway
from hypermail.services.receiving import FileReceiver
from hypermail.services.status import Status
from hypermail.services.workers import Workers

GRACE = 3.0
"""Seconds that sessions have to end by themselves when the service stops."""

FILES_AT_ONCE = 256
"""Files of one session that may be arriving: each holds two descriptors."""

DIRECTS_AT_ONCE = 256
"""Direct messages of one session that may wait for the disk; more are dropped, as any network may do."""

SWEEPING = 3_600.0
"""Seconds between two looks at what the inbox keeps of transfers."""

NEITHER = (
    "neither --inbox DIR, which stores what comes, nor --forward ENDPOINT, which passes streams on, nor --echo, which "
    "sends everything back"
)
"""What somebody may have forgotten whose listener refuses everything."""

_GOODBYE = "the listener is shutting down"


class ListenerProtocol(SessionProtocol):
    """One session, whose application is what the program was told to do."""

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
        self._storing = 0
        self._dropped = 0

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
        if self._sessions.dialect:
            return maybeDeferred(self._take, message).addErrback(self._notTaken)
        return self._take(message)

    def _notTaken(self, failure: Failure) -> Failure:
        """No dialect has a word for it: the end of the session alone keeps the message from being acknowledged."""
        self.session.abort("a message could not be taken", Reason.MESSAGE_REJECTED)
        return failure

    def _take(self, message: bytes) -> Deferred[Any] | None:
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
        sessions = self._sessions
        stores = sessions.dialect and sessions.inbox is not None
        if stores:
            self._storeDirect(data)
        if self._exits is not None:
            self._exits.forth(data)
        elif sessions.echo:
            with suppress(HypermailError):  # it is too large for the way back, or the session closes: lost
                self.session.sendDatagram(data)
        elif not stores:
            self._refuse("a direct message")

    def _storeDirect(self, data: bytes) -> None:
        """A direct message becomes a file, if the disk keeps up; nobody waits for it."""
        inbox = self._sessions.inbox
        if inbox is None or self._storing >= DIRECTS_AT_ONCE:
            if not self._dropped:
                self._log.warn("direct messages of {peer} come faster than they can be stored", peer=self._peer)
            self._dropped += 1
            return
        self._storing += 1
        storing = inbox.storeMessage(data, self._peer)
        storing.addErrback(lambda failure: failure.trap(MessageRejected))  # which was logged
        storing.addBoth(self._directStored)

    def _directStored(self, _: object) -> None:
        self._storing -= 1

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
        what = "no streams but files are taken here" if self._sessions.inbox is not None else f"there is {NEITHER}"
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
        if self._dropped:
            self._log.warn("{count} direct messages of {peer} were dropped", count=self._dropped, peer=self._peer)
        if self._refused > 1:
            self._log.warn("refused {count} times from {peer} in all", count=self._refused, peer=self._peer)


class ListenerSessions(SessionFactory):
    """
    The sessions of a listener, or of a starter that takes what comes.

    @ivar inbox: where everything lands, or None.
    @ivar exits: where streams and datagrams go on to, or None.
    @ivar echo: whether everything is sent back.
    @ivar dialect: whether the sessions are of a dialect: direct messages land in the inbox, too, and what cannot be
        taken ends the session.
    @ivar open: the sessions that are.
    @ivar status: is told of them, when there is one.
    """

    noisy = False

    def __init__(self, echo: bool, *, dialect: bool = False) -> None:
        self.inbox: Inbox | None = None
        self.exits: Exits | None = None
        self.echo = echo
        self.dialect = dialect
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


class OpenInbox:
    """
    An inbox, and what works for it, as long as a service runs.

    @param path: of the directory.
    @param disk: the file system.
    @param takeAway: see L{Inbox}.
    """

    _log = Logger()

    def __init__(self, reactor: Any, path: str, disk: Disk | None = None, takeAway: TakeAway | None = None) -> None:
        self._reactor = reactor
        self._takeAway = takeAway
        self._directory = InboxDirectory(path, disk)
        self._workers = Workers(reactor, name="hypermail inbox")
        self._sweeping: LoopingCall | None = None

    def open(self) -> Inbox:
        """@raise hypermail.services.ending.CannotStart: when there is no such directory, or it cannot be used."""
        directory = self._directory
        try:
            directory.open()
        except HypermailError as error:
            cannotStart(self._log, error.text)
        self._workers.start()
        inbox = Inbox(
            directory,
            run=self._workers.run,
            clock=self._reactor,
            now=lambda: datetime.now(UTC),
            takeAway=self._takeAway,
        )
        self._sweeping = LoopingCall(inbox.sweep)
        self._sweeping.clock = self._reactor
        self._sweeping.start(SWEEPING)
        return inbox

    async def close(self) -> None:
        """Finish what was begun; it may be opened again."""
        sweeping, self._sweeping = self._sweeping, None
        if sweeping is not None:
            sweeping.stop()
        await self._workers.stop()
        self._directory.close()
        self._workers = Workers(self._reactor, name="hypermail inbox")
