"""
C{--outbox DIR}: what is put in C{DIR/messages} leaves as messages, on a durable lane, each exactly once.

A file is taken up when it has come to rest. Its content is written into a store in C{DIR/messages/.hypermail}, with a
note of which file it is, and then the file is moved to C{.hypermail/queued} there, before the message can leave. So
after a kill at any moment a file that is still where it was put either is not in the store, or its message has not
left: it is moved then. When the peer has taken the message, the file goes where delivered ones go; when it has refused
it, the file is put back, and offered again after pauses that grow.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from hypermail.errors import HypermailError, MessageUndelivered, SessionLost
from hypermail.interfaces import ISession, ISessionStore
from hypermail.internet.endpoints import SessionClientEndpoint
from hypermail.internet.message import Message
from hypermail.internet.protocol import SessionFactory, SessionProtocol
from hypermail.services.ending import cannotStart
from hypermail.services.keeping import StarterService
from hypermail.services.kept import OwnStore, openNow
from hypermail.services.outbox import LONGEST, POLL, REST, SHORTEST
from hypermail.services.parts import HIDDEN
from hypermail.services.paths import printable
from hypermail.services.reading import Version
from hypermail.services.spool import MESSAGES, Ready, Spool, sync
from hypermail.services.workers import Workers

#: The lane that messages leave on, and the name of the session in the store.
LANE = 1
SESSION = "outbox"
#: Files that are read, or written into the store, at one time.
AT_ONCE = 64
#: Bytes of messages that are read from the store at once.
MOST_AT_ONCE = 1 << 20

_QUEUED = "queued"
_OWNER = sha256(b"hypermail/1 outbox").digest()


class _Sender(SessionProtocol):
    """The session of an outbox."""

    def __init__(self, outbox: MessageOutbox) -> None:
        self._outbox = outbox

    def sessionOpened(self) -> None:
        """See L{ISessionProtocol}."""
        self.session.lane(LANE, durable=True)

    def messageSettled(self, message: Message, error: HypermailError | None) -> None:
        """See L{ISessionProtocol}."""
        self._outbox.settled(message.session, message.number, error)

    def messageUndelivered(self, message: Message) -> None:
        """See L{ISessionProtocol}."""
        self._outbox.settled(message.session, message.number, SessionLost("its session has ended"))


class _Put:
    """
    A file that was put there.

    @ivar since: s when it was first seen as it is.
    @ivar pause: s before it is offered again; 0 when it was not refused.
    """

    __slots__ = ("busy", "next", "pause", "said", "since", "version")

    def __init__(self, version: Version, now: float) -> None:
        self.version = version
        self.since = self.next = now
        self.pause = 0.0
        self.said = ""
        self.busy = False


class MessageOutbox(Service):
    """
    Sends the messages of an outbox.

    @param path: of the outbox. Its C{messages} need not be there; they are looked for.
    @param remove: whether files are removed when they are delivered.
    @param endpoint: of the listener, with a store.
    """

    _log = Logger()

    def __init__(
        self, reactor: Any, path: str, endpoint: Callable[[ISessionStore], SessionClientEndpoint], *, remove: bool
    ) -> None:
        self._reactor = reactor
        self._path = os.path.join(os.path.abspath(path), MESSAGES)
        self._endpoint = endpoint
        self._spool = Spool(self._path, remove=remove)
        self._workers = Workers(reactor, name="hypermail messages")
        self._kept: OwnStore | None = None
        self._starter: StarterService | None = None
        self._files: dict[str, _Put] = {}
        self._going: set[Deferred[None]] = set()
        self._next: IDelayedCall | None = None
        self._recovered = False

    def startService(self) -> None:
        """@raise hypermail.services.ending.CannotStart: when there are messages, and they cannot be sent."""
        Service.startService(self)
        self._workers.start()
        self._look()

    def _look(self) -> None:
        """Is there anything to be sent?"""
        self._next = self._reactor.callLater(POLL, self._look)
        if self._kept is None:
            if not os.path.isdir(self._path):
                return
            self._begin()
        if self._recovered and len(self._going) < AT_ONCE:
            self._run(self._scan())

    def _begin(self) -> None:
        """The directory is there."""
        try:
            self._spool.open()
            os.makedirs(self._queued(), mode=0o700, exist_ok=True)
            self._kept = openNow(self._reactor, Path(self._path, HIDDEN, "sessions.db"), _OWNER)
        except (HypermailError, OSError) as error:
            cannotStart(self._log, error.text if isinstance(error, HypermailError) else str(error))
        factory = SessionFactory.forProtocol(partial(_Sender, self))
        factory.noisy = False
        self._starter = StarterService(self._reactor, self._endpoint(self._kept), factory)
        self._log.info("messages in {messages!r} leave", messages=self._path)
        self._run(self._recover(self._kept))

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        going = Deferred.fromCoroutine(work)
        self._going.add(going)
        going.addErrback(self._unexpected).addBoth(lambda _: self._going.discard(going))

    def _unexpected(self, failure: Failure) -> None:
        if not failure.check(SessionLost, CancelledError):
            self._log.failure("unexpected", failure)

    async def _session(self) -> ISession:
        starter = self._starter
        assert starter is not None  # it begins before anything is sent
        if not starter.running:
            starter.startService()
        if starter.protocol is not None:  # without a link, too: what is queued leaves when there is one
            return starter.protocol.session
        return (await starter.whenOpened()).session

    # What was put there

    async def _scan(self) -> None:
        now = self._reactor.seconds()
        found = {ready.path: ready for ready in await self._workers.run(self._spool.scan)}
        for name in [name for name, put in self._files.items() if name not in found and not put.busy]:
            del self._files[name]
        for name, ready in found.items():
            put = self._files.get(name)
            if put is None or (put.version != ready.version and not put.busy):
                put = self._files[name] = _Put(ready.version, now)
            if not put.busy and now >= put.next and now - put.since >= REST and len(self._going) <= AT_ONCE:
                put.busy = True
                self._run(self._send(ready, put))

    async def _send(self, ready: Ready, put: _Put) -> None:
        path = os.path.join(self._path, ready.path)
        try:
            session = await self._session()
            data = await self._workers.run(partial(_read, path, ready.version))
            if data is None:
                return
            sent: Any = session.sendMessage(data, lane=LANE, note=_note(ready))
            await getattr(sent, "queued", sent)
            # Before the message can leave, in this very turn.
            self._move(ready, self._queued(session.sessionID.hex(), sent.number, ready.path))
            sent.addCallbacks(
                lambda _: self.settled(session.sessionID, sent.number, None),
                lambda failure: self.settled(session.sessionID, sent.number, failure.value),
            )
        except (OSError, HypermailError) as error:
            if not isinstance(error, SessionLost):
                self._refused(ready.path, put, error)
        finally:
            put.busy = False

    def _refused(self, name: str, put: _Put, error: Exception) -> None:
        """Not this time."""
        put.pause = min(max(SHORTEST, 2 * put.pause), LONGEST)
        put.next = self._reactor.seconds() + put.pause
        text = error.text if isinstance(error, HypermailError) else str(error)
        if text != put.said:
            self._log.warn("{name!r} is not sent: {reason}", name=name, reason=printable(text))
        put.said = text

    # What has left

    def _queued(self, session: str = "", number: int = 0, name: str = "") -> str:
        directory = os.path.join(self._path, HIDDEN, _QUEUED)
        return os.path.join(directory, f"{session}-{number}-{name.replace('/', '%')}") if session else directory

    def _move(self, ready: Ready, queued: str) -> None:
        """A file's message is in the store: put the file aside, unless it is another one by now."""
        path = os.path.join(self._path, ready.path)
        with suppress(FileNotFoundError):
            if Version.of(os.lstat(path)) == ready.version:
                os.rename(path, queued)
                sync(os.path.dirname(path))
                sync(os.path.dirname(queued))

    def settled(self, session: bytes, number: int, error: BaseException | None) -> None:
        """The fate of a message is known."""
        if isinstance(error, MessageUndelivered) and (error.kept or not self.running):
            return  # it stays queued, until its session goes on
        prefix = f"{session.hex()}-{number}-"
        for name in os.listdir(self._queued()):
            if name.startswith(prefix):
                self._run(self._settle(name, error))

    async def _settle(self, queued: str, error: BaseException | None) -> None:
        name = queued.split("-", 2)[2].replace("%", "/")
        if error is None:
            final = await self._workers.run(partial(self._deliver, queued, name))
            self._log.info("sent {name!r} as a message", name=name, final=final)
            return
        os.makedirs(os.path.dirname(os.path.join(self._path, name)), exist_ok=True)
        os.rename(os.path.join(self._queued(), queued), os.path.join(self._path, name))
        put = self._files[name] = _Put(Version.of(os.lstat(os.path.join(self._path, name))), self._reactor.seconds())
        self._refused(name, put, error if isinstance(error, Exception) else HypermailError(str(error)))

    def _deliver(self, queued: str, name: str) -> str | None:
        path = os.path.join(HIDDEN, _QUEUED, queued)
        version = Version.of(os.lstat(os.path.join(self._path, path)))
        return self._spool.deliver(Ready(path, version), name)

    async def _recover(self, store: ISessionStore) -> None:
        """
        Before anything leaves after a restart: files whose messages are in the store are put aside, if that was not
        done; those whose messages are not there any more were settled, and the process was killed before it knew.
        """
        stored = await store.named(SESSION)
        waiting: set[str] = set()
        if stored is not None and LANE in stored.sending:
            session, first = stored.identity.id, stored.sending[LANE].settled
            while messages := await store.messages(session, LANE, first, MOST_AT_ONCE):
                for number, message in messages:
                    ready = _read_note(message.note)
                    queued = self._queued(session.hex(), number, ready.path)
                    self._move(ready, queued)
                    waiting.add(os.path.basename(queued))
                first = messages[-1][0] + 1
        for name in os.listdir(self._queued()):
            if name not in waiting:
                ended = stored is None or not name.startswith(stored.identity.id.hex())
                error = SessionLost("its session has ended; perhaps it was delivered") if ended else None
                await self._settle(name, error)
        self._recovered = True
        if waiting:
            await self._session()

    # The end

    def stopService(self) -> Deferred[None]:
        """Send nothing any more; what is queued leaves after the next start."""
        Service.stopService(self)
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if self._next is not None:
            self._next.cancel()
            self._next = None
        starter, self._starter = self._starter, None
        if starter is not None and starter.running:
            await starter.stopService()
        for going in list(self._going):
            going.cancel()
        await DeferredList(list(self._going))
        kept, self._kept = self._kept, None
        if kept is not None:
            with suppress(HypermailError):  # whoever wrote was told
                await kept.close()
            self._spool.close()
        await self._workers.stop()
        self._workers = Workers(self._reactor, name="hypermail messages")
        self._files.clear()
        self._recovered = False


def _note(ready: Ready) -> bytes:
    """Which file a message is of."""
    device, inode, size, modified = ready.version
    return f"{device} {inode} {size} {modified} ".encode() + os.fsencode(ready.path)


def _read_note(note: bytes) -> Ready:
    *version, path = note.split(b" ", 4)
    return Ready(os.fsdecode(path), Version(*map(int, version)))


def _read(path: str, version: Version) -> bytes | None:
    """The content of a file; None when it is another one by now."""
    try:
        with open(path, "rb") as file:
            data = file.read()
            return data if Version.of(os.fstat(file.fileno())) == version else None
    except FileNotFoundError:
        return None
