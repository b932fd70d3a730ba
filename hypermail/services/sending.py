"""
Many files through one session, and the next one when it is lost: up to 64 streams at once, each opened when its turn
comes.

The other side of L{hypermail.services.inbox}. A file counts when the other side has answered that it is stored; what
fails is reported file by file, and the others go on. A file whose session, or whose listener, goes away in the middle
is offered again under the name of the same transfer, and goes on from what the other side has of it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple, cast
from typing import Protocol as Shape

from twisted.internet.defer import Deferred, DeferredSemaphore, FirstError, gatherResults
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from hypermail.errors import HypermailError, Reason, SessionLost
from hypermail.interfaces import ISession
from hypermail.services.carrying import FileSender
from hypermail.services.files import NAME, TRANSFER_SIZE, file_options
from hypermail.services.paths import printable
from hypermail.services.reading import CHANGED, Block, FileReader, NotSent, SourceChanged, Version
from hypermail.services.tree import Item
from hypermail.services.workers import Run

AT_ONCE = 64
"""Files that are on their way at the same time."""

LARGE = 256 * 1024
"""Bytes of a file from which on it is large."""

LARGE_AT_ONCE = 8
"""Large files that are on their way at the same time: each of them may fill a stream's buffers."""


CONFIRMING = 0.02
"""Seconds after which what has been stored is confirmed, together with what was stored meanwhile."""

PASSING = frozenset((Reason.SHUTTING_DOWN, Reason.PEER_RESTARTED))
"""Reasons of a stream's end after which the other side may take it later."""


class Watcher(Shape):
    """Who is told how files go."""

    def wrote(self, size: int) -> None:
        """Bytes were given to a stream."""

    def moved(self, size: int) -> None:
        """So many bytes more than were written are there, or, below 0, fewer: a transfer goes on."""

    def stored(self, item: Item, size: int, name: str) -> None:
        """The other side has a file, of C{size} bytes, under C{name}."""


class Complaints(Shape):
    """Who is told what does not go."""

    def failed(self, item: Item, text: str) -> None:
        """A file was not stored."""


class Sessions(Shape):
    """Where sessions with the one listener come from."""

    async def session(self, after: ISession | None, error: HypermailError | None) -> ISession:
        """
        The session that is open, or the next one.

        @param after: the one that was had last; None the first time.
        @param error: why it is of no use, or was not just now.
        @raise SessionLost: when there will be none.
        """


class Transfer(NamedTuple):
    """
    What one version of a file is called on its way.

    @ivar id: 16 bytes.
    @ivar again: whether it may have been offered before.
    """

    id: bytes
    again: bool


class Transfers(Shape):
    """Who names transfers."""

    def begin(self, item: Item, version: Version) -> Transfer:
        """A file is to be sent, in this version; called on a thread, where it may block."""

    def end(self, item: Item, transfer: Transfer, stored: bool) -> Awaitable[object] | None:
        """
        It is stored, or was refused, and is not offered again; called on the reactor's thread.

        Until what this returns is done, the other side is not told that it may forget that it has stored the file.
        """


class NewTransfers:
    """
    Names transfers anew each time.

    @param chance: so many random bytes.
    """

    def __init__(self, chance: Callable[[int], bytes]) -> None:
        self._chance = chance

    def begin(self, item: Item, version: Version) -> Transfer:
        """See L{Transfers}."""
        return Transfer(self._chance(TRANSFER_SIZE), False)

    def end(self, item: Item, transfer: Transfer, stored: bool) -> None:
        """See L{Transfers}: nothing was kept."""


class _Once(Factory):
    """Gives one protocol to one stream."""

    noisy = False

    def __init__(self, protocol: FileSender) -> None:
        self._protocol = protocol

    def buildProtocol(self, addr: IAddress | None) -> FileSender:
        return self._protocol


class _Journey:
    """
    One file on its way, through as many streams as that takes.

    @ivar there: bytes that count as sent: those that the other side had when the file went on, and those since.
    """

    def __init__(self, item: Item, watcher: Watcher) -> None:
        self._watcher = watcher
        self.item = item
        self.version: Version | None = None
        self.transfer: Transfer | None = None
        self.there = 0

    def wrote(self, size: int) -> None:
        self.there += size
        self._watcher.wrote(size)

    def moved(self, offset: int) -> None:
        self._watcher.moved(offset - self.there)
        self.there = offset

    def offered(self) -> None:
        """From now on the other side may have some of it."""
        if self.transfer is not None:
            self.transfer = Transfer(self.transfer.id, True)


class Confirming:
    """
    Ends our direction of streams whose file is stored, some at a time, so that they share datagrams, and the other side
    has less to do: nobody waits for it.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._senders: list[FileSender] = []

    def confirm(self, sender: FileSender) -> None:
        """The other side need not remember this one."""
        if not self._senders:
            self._clock.callLater(CONFIRMING, self._flush)
        self._senders.append(sender)

    def _flush(self) -> None:
        senders, self._senders = self._senders, []
        for sender in senders:
            sender.confirm()


class Dispatch:
    """Who sends one file after the other, or many at once."""

    def __init__(self) -> None:
        self._large = DeferredSemaphore(LARGE_AT_ONCE)

    async def send(self, item: Item) -> None:
        """
        Send a file until the other side has it, or refuses it.

        @raise NotSent: when it was refused, or cannot be sent.
        @raise HypermailError: when it has failed for another reason, as it may with L{OSError}.
        @raise SessionLost: when there is no session any more.
        """
        if item.size < LARGE:
            await self.sendNow(item)
            return
        await self._large.acquire()
        try:
            await self.sendNow(item)
        finally:
            self._large.release()

    async def sendNow(self, item: Item) -> None:
        """See L{send}: there is room for it."""
        raise NotImplementedError


class FileDispatch(Dispatch):
    """
    Sends one file after the other, or many at once.

    @param clock: the reactor.
    @param sessions: where sessions come from.
    @param run: runs what blocks.
    @param watcher: is told how it goes.
    @param transfers: names them.
    """

    def __init__(
        self, sessions: Sessions, *, clock: IReactorTime, run: Run, watcher: Watcher, transfers: Transfers
    ) -> None:
        super().__init__()
        self._sessions = sessions
        self._confirming = Confirming(clock)
        self._run = run
        self._watcher = watcher
        self._transfers = transfers

    async def sendNow(self, item: Item) -> None:
        """See L{Dispatch}: offer it until the other side has stored or refused it."""
        journey = _Journey(item, self._watcher)
        session = await self._sessions.session(None, None)
        while True:
            error: HypermailError
            try:
                await self._offer(session, journey)
                return
            except SessionLost as lost:
                error = lost
            except HypermailError as ended:
                if ended.code not in PASSING:
                    await self._over(journey, stored=False)
                    raise
                error = ended
            session = await self._sessions.session(session, error)

    async def _over(self, journey: _Journey, *, stored: bool) -> None:
        if journey.transfer is not None:
            ending = self._transfers.end(journey.item, journey.transfer, stored)
            if ending is not None:
                await ending

    async def _offer(self, session: ISession, journey: _Journey) -> None:
        """
        Send a file on one stream.

        @raise NotSent: when it was refused, or cannot be sent.
        @raise SessionLost: when it may go on later.
        """
        reader, first = await self._run(partial(self._open, journey))
        transfer = cast(Transfer, journey.transfer)
        sender = FileSender(reader, first, run=self._run, wrote=journey.wrote, moved=journey.moved)
        options = file_options(journey.item.name, reader.size, transfer.id, again=transfer.again)
        journey.offered()
        try:
            await session.openStream(_Once(sender), NAME, options)
        except BaseException:
            reader.close()
            raise
        answer = await sender.answer
        if not answer.stored:
            raise NotSent(f"the other side could not store it: {printable(answer.text)}")
        # Only behind what has to be done with it here: if that is cut short, the file is offered again.
        try:
            await self._over(journey, stored=True)
        except BaseException:
            sender.giveUp()
            raise
        self._confirming.confirm(sender)
        self._watcher.stored(journey.item, reader.size, answer.text)

    def _open(self, journey: _Journey) -> tuple[FileReader, Block | None]:
        """On a thread: open a file, in the version that was opened first, and read its beginning, if that is wanted."""
        reader = FileReader(journey.item.path)
        try:
            if journey.version is None or journey.transfer is None:
                journey.version = reader.version
                journey.transfer = self._transfers.begin(journey.item, reader.version)
            elif reader.version != journey.version:
                raise SourceChanged(CHANGED)
            return reader, None if journey.transfer.again else reader.read()
        except BaseException:
            reader.close()
            raise


class Sending:
    """
    Files on their way, up to L{AT_ONCE} at once.

    @ivar lost: why there was no session any more before all were through, or None.
    """

    def __init__(self, dispatch: Dispatch, items: Iterable[Item], complaints: Complaints) -> None:
        self._dispatch = dispatch
        self._items = iter(items)
        self._complaints = complaints
        self.lost: SessionLost | None = None

    def start(self) -> Deferred[Any]:
        """
        Send all.

        @return: fires when nothing is left to do, whatever became of each; errbacks only for bugs.
            Cancelling clears the streams.
        """
        workers: Sequence[Deferred[None]] = [Deferred.fromCoroutine(self._work()) for _ in range(AT_ONCE)]
        return gatherResults(workers, consumeErrors=True).addErrback(_first)

    async def _work(self) -> None:
        for item in self._items:
            if self.lost is not None:
                return
            try:
                await self._dispatch.send(item)
            except SessionLost as lost:
                self.lost = self.lost or lost
                return
            except (HypermailError, OSError) as error:
                self._complaints.failed(item, error.text if isinstance(error, HypermailError) else str(error))


def _first(failure: Failure) -> Failure:
    """What was behind the first failure."""
    error = failure.value
    return error.subFailure if isinstance(error, FirstError) else failure
