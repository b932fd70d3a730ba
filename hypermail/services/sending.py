"""
Many files through one session: up to 64 streams at once, each opened when its turn comes.

The other side of L{hypermail.services.inbox}. A file counts when the other side has answered that it
is stored; what fails is reported file by file, and the others go on, unless the session is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any
from typing import Protocol as Shape

from twisted.internet.defer import Deferred, DeferredSemaphore, FirstError, gatherResults
from twisted.internet.error import ConnectionClosed
from twisted.internet.interfaces import IAddress, IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from hypermail.errors import HypermailError, SessionLost
from hypermail.interfaces import ISession
from hypermail.services.files import MAX_ANSWER, NAME, Answer, BadFile, file_options, read_answer
from hypermail.services.paths import printable
from hypermail.services.reading import Block, FileProducer, FileReader, NotSent
from hypermail.services.tree import Item
from hypermail.services.workers import Run

AT_ONCE = 64
"""Files that are on their way at the same time."""

LARGE = 256 * 1024
"""Bytes of a file from which on it is large."""

LARGE_AT_ONCE = 8
"""Large files that are on their way at the same time: each of them may fill a stream's buffers."""


class Watcher(Shape):
    """Who is told how it goes."""

    def wrote(self, size: int) -> None:
        """Bytes were given to a stream."""

    def stored(self, item: Item, size: int, name: str) -> None:
        """The other side has a file, of C{size} bytes, under C{name}."""

    def failed(self, item: Item, text: str) -> None:
        """A file was not stored."""


def _behind(reason: Failure) -> Failure:
    """The reason behind what Twisted calls a lost connection."""
    error = reason.value
    if isinstance(error, ConnectionClosed) and error.__cause__ is not None:
        return Failure(error.__cause__)
    return reason


@implementer(IHalfCloseableProtocol)
class FileSender(Protocol):
    """
    One stream that carries one file away.

    @ivar answer: a L{Deferred} of the other side's L{Answer}; errbacks with L{NotSent} or what ended the stream.
    """

    transport: Any

    def __init__(self, reader: FileReader, first: Block, *, run: Run, wrote: Callable[[int], object]) -> None:
        self._reader = reader
        self._first = first
        self._run = run
        self._wrote = wrote
        self._line = bytearray()
        self._over = False
        self.answer: Deferred[Answer] = Deferred(self._cancelled)

    def connectionMade(self) -> None:
        FileProducer(
            self.transport, self._reader, self._first, run=self._run, wrote=self._wrote, failed=self._cannotRead
        ).start()

    def _cancelled(self, _: object) -> None:
        self._over = True
        self._giveUp()

    def _cannotRead(self, failure: Failure) -> None:
        self._giveUp()
        self._end(failure)

    def _giveUp(self) -> None:
        if self.transport is not None:
            self.transport.abortConnection()

    def dataReceived(self, data: bytes) -> None:
        if self._over:
            return
        self._line += data
        end = self._line.find(b"\n")
        if end >= 0:
            self._answered(bytes(self._line[: end + 1]))
        elif len(self._line) > MAX_ANSWER:
            self._giveUp()
            self._end(Failure(BadFile(f"the other side is no inbox: it answered {bytes(self._line[:24])!r}...")))

    def _answered(self, line: bytes) -> None:
        try:
            answer = read_answer(line)
        except BadFile:
            self._giveUp()
            self._end(Failure())
            return
        if not answer.stored:
            self._giveUp()
        self._end(answer)

    def readConnectionLost(self) -> None:
        """See L{IHalfCloseableProtocol}: there will be no answer any more."""
        self._end(Failure(NotSent("the other side closed the stream without an answer")))

    def writeConnectionLost(self) -> None:
        """See L{IHalfCloseableProtocol}: the other side has it all, and now stores it."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._end(_behind(reason))

    def _end(self, result: Answer | Failure) -> None:
        if self._over:
            return
        self._over = True
        if isinstance(result, Failure):
            self.answer.errback(result)
        else:
            self.answer.callback(result)


class _Once(Factory):
    """Gives one protocol to one stream."""

    noisy = False

    def __init__(self, protocol: FileSender) -> None:
        self._protocol = protocol

    def buildProtocol(self, addr: IAddress | None) -> FileSender:
        return self._protocol


class Sending:
    """
    Files on their way.

    @param run: runs what blocks.
    @param watcher: is told how it goes.
    @ivar lost: what ended the session before all were through, or None.
    """

    def __init__(self, session: ISession, items: Iterable[Item], *, run: Run, watcher: Watcher) -> None:
        self._session = session
        self._items = iter(items)
        self._run = run
        self._watcher = watcher
        self._large = DeferredSemaphore(LARGE_AT_ONCE)
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
            try:
                await self._sendInTurn(item)
            except SessionLost:
                return
            except (HypermailError, OSError) as error:
                self._watcher.failed(item, error.text if isinstance(error, HypermailError) else str(error))

    async def _sendInTurn(self, item: Item) -> None:
        if item.size < LARGE:
            await self._sendUnlessLost(item)
            return
        await self._large.acquire()
        try:
            await self._sendUnlessLost(item)
        finally:
            self._large.release()

    async def _sendUnlessLost(self, item: Item) -> None:
        if self.lost is not None:
            raise self.lost
        try:
            await self._send(item)
        except SessionLost as error:
            # Known before the next file has its turn.
            self.lost = self.lost or error
            raise

    async def _send(self, item: Item) -> None:
        reader, first = await self._run(partial(_open, item.path))
        sender = FileSender(reader, first, run=self._run, wrote=self._watcher.wrote)
        options = file_options(item.name, reader.size)
        try:
            await self._session.openStream(_Once(sender), NAME, options)
        except BaseException:
            reader.close()
            raise
        answer = await sender.answer
        if answer.stored:
            self._watcher.stored(item, reader.size, answer.text)
        else:
            raise NotSent(f"the other side could not store it: {printable(answer.text)}")


def _first(failure: Failure) -> Failure:
    """What was behind the first failure."""
    error = failure.value
    return error.subFailure if isinstance(error, FirstError) else failure


def _open(path: str) -> tuple[FileReader, Block]:
    reader = FileReader(path)
    try:
        return reader, reader.read()
    except BaseException:
        reader.close()
        raise
