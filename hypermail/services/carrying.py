"""
One stream that carries a file away; how it travels is told in L{hypermail.services.files}.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionClosed
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from hypermail.services.files import MAX_ANSWER, Answer, BadFile, Onward, read_answer
from hypermail.services.reading import Block, FileProducer, FileReader, NotSent
from hypermail.services.workers import Run


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

    @param first: the block that was read when the file was opened; None when the other side is to say where to go on.
    @param moved: is told where that is.
    @ivar answer: a L{Deferred} of the other side's L{Answer}; errbacks with L{NotSent} or what ended the stream.
    """

    transport: Any

    def __init__(
        self,
        reader: FileReader,
        first: Block | None,
        *,
        run: Run,
        wrote: Callable[[int], object],
        moved: Callable[[int], object],
    ) -> None:
        self._reader = reader
        self._first = first
        self._run = run
        self._wrote = wrote
        self._moved = moved
        self._producer: FileProducer | None = None
        self._line = bytearray()
        self._asked = first is None
        self._over = False
        self.answer: Deferred[Answer] = Deferred(self._cancelled)

    def connectionMade(self) -> None:
        if self._first is not None:
            self._produce(self._first)

    def _produce(self, first: Block) -> None:
        if self._over:
            self._reader.close()
            return
        self._producer = FileProducer(
            self.transport, self._reader, first, run=self._run, wrote=self._wrote, failed=self._cannotRead
        )
        self._producer.start()

    def _goOn(self, offset: int) -> None:
        """The other side has so many bytes."""
        if not self._asked or offset > self._reader.size:
            self.giveUp()
            self._end(Failure(BadFile(f"the other side has {offset} bytes of the {self._reader.size}, it says")))
            return
        self._asked = False
        self._moved(offset)
        self._reader.go_on(offset)
        self._run(self._reader.read).addCallbacks(self._produce, self._cannotRead)

    def _cancelled(self, _: object) -> None:
        self._over = True
        self._close()
        self.giveUp()

    def _cannotRead(self, failure: Failure) -> None:
        self._reader.close()
        self.giveUp()
        self._end(failure)

    def _close(self) -> None:
        """Close the file, if nothing reads it."""
        if self._asked:
            self._reader.close()

    def giveUp(self) -> None:
        """Clear the stream."""
        if self.transport is not None:
            self.transport.abortConnection()

    def dataReceived(self, data: bytes) -> None:
        self._line += data
        while not self._over and (end := self._line.find(b"\n")) >= 0:
            line = bytes(self._line[: end + 1])
            del self._line[: end + 1]
            self._answered(line)
        if not self._over and len(self._line) > MAX_ANSWER:
            self.giveUp()
            self._end(Failure(BadFile(f"the other side is no inbox: it answered {bytes(self._line[:24])!r}...")))

    def _answered(self, line: bytes) -> None:
        try:
            answer = read_answer(line)
        except BadFile:
            self.giveUp()
            self._end(Failure())
            return
        if isinstance(answer, Onward):
            self._goOn(answer.offset)
            return
        if not answer.stored:
            self.giveUp()
        else:
            if self._producer is not None:
                self._producer.finish()  # it was stored before, and the rest is not needed
        self._end(answer)

    def confirm(self) -> None:
        """We know that it is stored, and will not ask again: the end of our direction says so."""
        self.transport.loseWriteConnection()

    def readConnectionLost(self) -> None:
        """See L{IHalfCloseableProtocol}: there will be no answer any more."""
        if not self._over:
            self.giveUp()
        self._end(Failure(NotSent("the other side closed the stream without an answer")))

    def writeConnectionLost(self) -> None:
        """See L{IHalfCloseableProtocol}: the other side knows that we know."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._end(_behind(reason))

    def _end(self, result: Answer | Failure) -> None:
        if self._over:
            return
        self._over = True
        self._close()
        if isinstance(result, Failure):
            self.answer.errback(result)
        else:
            self.answer.callback(result)
