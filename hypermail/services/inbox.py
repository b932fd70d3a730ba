"""
What arrives becomes files: streams that carry a file (L{hypermail.services.files}), and messages.

The reactor's thread only moves bytes into a list; one job at a time per file writes, hashes, syncs
and names it on a thread (L{hypermail.services.workers}). Two limits on what waits for the disk, one
per file and one for all, pause the stream, so that a slow disk slows the sender and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from itertools import count
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionClosed
from twisted.internet.interfaces import IDelayedCall, IHalfCloseableProtocol, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from hypermail.errors import HypermailError, MessageRejected
from hypermail.events import StreamOptions
from hypermail.services.directory import Arrival, InboxDirectory, NotStored, reason
from hypermail.services.files import DIGEST_SIZE, Announced, failed, read_options, stored
from hypermail.services.paths import printable
from hypermail.services.workers import Run

WAITING_PER_FILE = 1 << 20
"""Bytes of one file that may wait for the disk before its stream is paused."""

WAITING_IN_ALL = 16 << 20
"""Bytes of all files that may; beyond, every stream that has some waiting is paused."""


def explain(failure: Failure) -> str:
    """Why something could not be stored, for a log and for the peer."""
    error = failure.value
    if isinstance(error, OSError):
        return reason(error)
    if isinstance(error, ConnectionClosed) and isinstance(error.__cause__, HypermailError):
        error = error.__cause__
    if isinstance(error, HypermailError):
        return error.text
    return f"{type(error).__name__}: {error}"


class Inbox:
    """
    A directory that takes files and messages.

    @param directory: opened and closed by who made it.
    @param run: runs what blocks.
    @param clock: the reactor.
    @param now: the wall clock in UTC, for the names of messages.
    @ivar waiting: bytes that wait for the disk.
    """

    log = Logger()

    def __init__(
        self, directory: InboxDirectory, *, run: Run, clock: IReactorTime, now: Callable[[], datetime]
    ) -> None:
        self.directory = directory
        self.run = run
        self.clock = clock
        self.waiting = 0
        self._now = now
        self._counter = count(1)

    def receiver(
        self, options: StreamOptions, peer: str, done: Callable[[FileReceiver], None] = lambda receiver: None
    ) -> FileReceiver:
        """
        The protocol for a stream that carries a file.

        @param peer: whom it is from, for the log.
        @param done: is called when nothing of the file is left to do.
        @raise HypermailError: when what is announced cannot become a file; this is the refusal.
        """
        try:
            announced = read_options(options)
        except HypermailError as error:
            self.log.warn("refused a file from {peer}: {reason}", peer=peer, reason=printable(error.text))
            raise
        return FileReceiver(self, announced, peer, done)

    def storeMessage(self, message: bytes, peer: str) -> Deferred[None]:
        """
        Make a message a file of its own.

        @return: fires when it is safe on the disk; errbacks with L{MessageRejected}.
        """
        name = f"message-{self._now():%Y%m%dT%H%M%S.%fZ}-{next(self._counter):06}.txt"
        storing = self.run(partial(self._store, name, message))
        return storing.addCallbacks(
            self._storedMessage, self._refusedMessage, callbackArgs=(message, peer), errbackArgs=(name, peer)
        )

    def _store(self, name: str, message: bytes) -> str:
        arrival = self.directory.begin((name,))
        try:
            arrival.write((message,))
            return arrival.store()
        except BaseException:
            arrival.abandon()
            raise

    def _storedMessage(self, name: str, message: bytes, peer: str) -> None:
        self.log.info("stored {name!r} ({size} bytes) from {peer}", name=name, size=len(message), peer=peer)

    def _refusedMessage(self, failure: Failure, name: str, peer: str) -> None:
        text = explain(failure)
        self.log.warn("could not store {name!r} from {peer}: {reason}", name=name, peer=peer, reason=printable(text))
        raise MessageRejected(text)

    def sweep(self) -> Deferred[None]:
        """Remove what a killed process has left half arrived, and say so."""
        found: list[str] = []

        def report(result: object) -> None:
            for name in found:
                self.log.info("removed {name!r}, the rest of an arrival that was cut off", name=name)
            if isinstance(result, Failure):
                self.log.warn("could not look for rests of arrivals: {reason}", reason=explain(result))

        return self.run(lambda: self.directory.sweep(found.append)).addBoth(report)


@implementer(IHalfCloseableProtocol)
class FileReceiver(Protocol):
    """
    One stream that carries one file.

    It begins with the next turn of the reactor: what fits a datagram or two has arrived whole by then,
    and goes to the disk in one job.
    """

    transport: Any

    def __init__(self, inbox: Inbox, announced: Announced, peer: str, done: Callable[[FileReceiver], None]) -> None:
        self._inbox = inbox
        self._announced = announced
        self._peer = peer
        self._done: Callable[[FileReceiver], None] | None = done
        self._arrival: Arrival | None = None
        self._pending: list[bytes] = []
        self._waiting = 0
        self._received = 0
        self._digest = bytearray()
        self._start: IDelayedCall | None = None
        self._busy = False
        self._paused = False
        self._complete = False
        self._failed = False
        self._gone = False

    # What the stream says.

    def connectionMade(self) -> None:
        self._start = self._inbox.clock.callLater(0, self._begin)

    def _begin(self) -> None:
        self._start = None
        self._pump()

    def dataReceived(self, data: bytes) -> None:
        if self._failed:
            return
        content = data[: max(self._announced.size - self._received, 0)]
        self._received += len(data)
        self._digest += data[len(content) :]
        if len(self._digest) > DIGEST_SIZE:
            self._fail("there is more than was announced")
            return
        if content:
            self._pending.append(content)
            self._waiting += len(content)
            self._inbox.waiting += len(content)
            self._obeyLimits()
        self._pump()

    def readConnectionLost(self) -> None:
        if self._failed:
            return
        missing = self._announced.size + DIGEST_SIZE - self._received
        if missing > 0:
            self._fail(f"it ended {missing} bytes early")
            return
        self._complete = True
        self._pump()

    def writeConnectionLost(self) -> None:
        """Our answer is with the sender."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._gone = True
        if not self._complete and not self._failed:
            self._fail(f"the sender gave up ({explain(reason)})")

    # What goes to the disk.

    def _pump(self) -> None:
        """Give the disk what waits, unless it is at work."""
        if self._busy or self._failed or self._start is not None or self._done is None:
            return
        if self._arrival is not None and not self._pending and not self._complete:
            return
        pieces, self._pending = self._pending, []
        amount, self._waiting = self._waiting, 0
        digest = bytes(self._digest) if self._complete else None
        self._busy = True
        self._inbox.run(partial(self._work, pieces, digest)).addCallbacks(
            self._worked, self._broken, callbackArgs=(amount,), errbackArgs=(amount,)
        ).addErrback(self._unexpected)

    def _work(self, pieces: list[bytes], digest: bytes | None) -> str | None:
        """On a thread: one step of the file; the last one, when there is a digest."""
        arrival = self._arrival
        if arrival is None:
            arrival = self._arrival = self._inbox.directory.begin(self._announced.parts)
        try:
            arrival.write(pieces)
            return None if digest is None else arrival.store(digest)
        except BaseException:
            arrival.abandon()
            raise

    def _worked(self, name: str | None, amount: int) -> None:
        self._busy = False
        self._inbox.waiting -= amount
        if name is not None:
            self._stored(name)
        elif self._failed:
            self._abandon()
        else:
            self._pump()
            self._obeyLimits()

    def _broken(self, failure: Failure, amount: int) -> None:
        self._busy = False
        self._inbox.waiting -= amount
        if not failure.check(OSError, NotStored):
            self._inbox.log.failure("unexpected", failure)
        if self._failed:
            self._abandon()
        else:
            self._fail(explain(failure))

    def _unexpected(self, failure: Failure) -> None:
        self._inbox.log.failure("unexpected", failure)

    def _obeyLimits(self) -> None:
        """Pause or resume the stream by what waits for the disk."""
        full = self._waiting >= WAITING_PER_FILE or (self._waiting > 0 and self._inbox.waiting >= WAITING_IN_ALL)
        if full and self._busy and not self._paused:
            self._paused = True
            self.transport.pauseProducing()
        elif self._paused and not full:
            self._resume()

    def _resume(self) -> None:
        if self._paused:
            self._paused = False
            if not self._gone:
                self.transport.resumeProducing()

    # How it ends.

    def _stored(self, name: str) -> None:
        self._inbox.log.info(
            "stored {name!r} ({size} bytes) from {peer}", name=name, size=self._announced.size, peer=self._peer
        )
        if not self._gone:
            self.transport.write(stored(name))
            self.transport.loseConnection()
        self._finish()

    def _fail(self, text: str) -> None:
        """Answer why, and throw away what has come and what is still to come."""
        self._failed = True
        self._inbox.log.warn(
            "could not store {name!r} from {peer}: {reason}",
            name=self._announced.path,
            peer=self._peer,
            reason=printable(text),
        )
        if self._start is not None:
            self._start.cancel()
            self._start = None
        self._pending.clear()
        self._inbox.waiting -= self._waiting
        self._waiting = 0
        if not self._gone:
            # What the sender still sends is thrown away until it reads this.
            self.transport.write(failed(text))
            self.transport.loseConnection()
        if not self._busy:
            self._abandon()

    def _abandon(self) -> None:
        if self._arrival is None or self._arrival.descriptor < 0:
            self._finish()
            return
        self._inbox.run(self._arrival.abandon).addErrback(self._stuck).addBoth(lambda _: self._finish())

    def _stuck(self, failure: Failure) -> None:
        self._inbox.log.warn(
            "could not remove the rest of {name!r}: {reason}", name=self._announced.path, reason=explain(failure)
        )

    def _finish(self) -> None:
        done, self._done = self._done, None
        if done is not None:
            done(self)
