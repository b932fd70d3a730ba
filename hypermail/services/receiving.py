"""
One stream that brings a file into the inbox (L{hypermail.services.inbox}); how it travels is told in
L{hypermail.services.files}.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionClosed
from twisted.internet.interfaces import IDelayedCall, IHalfCloseableProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from hypermail.errors import HypermailError
from hypermail.services.arrivals import Arrival, BeingWritten, NotStored, Stored
from hypermail.services.directory import reason
from hypermail.services.files import DIGEST_SIZE, Announced, failed, onward, stored
from hypermail.services.paths import printable

if TYPE_CHECKING:
    from hypermail.services import inbox as inboxes

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


@implementer(IHalfCloseableProtocol)
class FileReceiver(Protocol):
    """
    One stream that carries one file.

    It begins with the next turn of the reactor: what fits a datagram or two has arrived whole by then,
    and goes to the disk in one job.

    @ivar name: the transfer's, in the inbox.
    """

    transport: Any

    def __init__(
        self, inbox: inboxes.Inbox, announced: Announced, name: str, peer: str, done: Callable[[FileReceiver], None]
    ) -> None:
        self.name = name
        self._inbox = inbox
        self._announced = announced
        self._peer = peer
        self._done: Callable[[FileReceiver], None] | None = done
        self._replacing: Deferred[None] | None = None
        self._arrival: Arrival | None = None
        self._asked = announced.again  # and not yet answered where to go on
        self._left = announced.size + DIGEST_SIZE  # bytes that are still to come
        self._pending: list[bytes] = []
        self._waiting = 0
        self._digest = bytearray()
        self._start: IDelayedCall | None = None
        self._begun = False
        self._busy = False
        self._paused = False
        self._final: str | None = None
        self._failed = False
        self._keeping = False
        self._unwanted = False  # the sender will not ask again
        self._gone = False

    # What the stream says.

    def connectionMade(self) -> None:
        self._start = self._inbox.clock.callLater(0, self._begin)

    def _begin(self) -> None:
        """Begin, as soon as no older stream of the transfer is at work."""
        self._start = None
        self._inbox.takeOver(self).addCallback(self._mayBegin)

    def _mayBegin(self, _: object) -> None:
        self._begun = True
        if self._failed:
            self._leave()
        else:
            self._pump()

    @property
    def _complete(self) -> bool:
        return not self._left and not self._asked

    def dataReceived(self, data: bytes) -> None:
        if self._failed or self._final is not None:
            return
        if self._asked:
            self._fail("there is content before it was asked for")
            return
        if len(data) > self._left:
            self._fail("there is more than was announced")
            return
        content = data[: max(self._left - DIGEST_SIZE, 0)]
        self._left -= len(data)
        self._digest += data[len(content) :]
        if content:
            self._pending.append(content)
            self._waiting += len(content)
            self._inbox.waiting += len(content)
            self._obeyLimits()
        self._pump()

    def readConnectionLost(self) -> None:
        if self._failed:
            return
        if self._final is None and not self._complete:
            self._fail(f"it ended {self._left} bytes early", keep=True)
            return
        self._unwanted = True
        if self._final is not None:
            self._settle()

    def writeConnectionLost(self) -> None:
        """Our answer is with the sender."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._gone = True
        if self._final is not None:
            self._settle()
        elif not self._failed and not self._complete:
            self._fail(f"the sender gave up ({explain(reason)})", keep=True)

    def replaced(self) -> Deferred[None]:
        """
        A newer stream carries the transfer: this one is dead and does not know it yet, or its sender has left it.

        @return: fires when nothing of it is left to do, and its part is closed.
        """
        self._replacing = Deferred()
        replacing = self._replacing
        if self._final is not None:
            self._settle()
        elif not self._failed and not self._complete:
            self._fail("a newer stream carries this transfer", keep=True)
        return replacing

    # What goes to the disk.

    def _pump(self) -> None:
        """Give the disk what waits, unless it is at work."""
        if self._busy or self._failed or not self._begun or self._final is not None:
            return
        if self._arrival is not None and not self._pending and not self._complete:
            return
        pieces, amount = self._take()
        digest = bytes(self._digest) if self._complete else None
        self._busy = True
        work = partial(self._work, pieces, digest)
        self._inbox.run(work).addErrback(self._takeAway, work).addCallbacks(
            self._worked, self._broken, callbackArgs=(amount,), errbackArgs=(amount,)
        ).addErrback(self._unexpected)

    def _take(self) -> tuple[list[bytes], int]:
        """What waits, and its bytes."""
        pieces, self._pending = self._pending, []
        amount, self._waiting = self._waiting, 0
        return pieces, amount

    def _work(self, pieces: list[bytes], digest: bytes | None) -> Arrival | Stored:
        """On a thread: one step of the file; the last one, when there is a digest and all before it is hashed."""
        arrival = self._arrival
        if arrival is None:
            announced = self._announced
            begun = self._inbox.directory.take_up(announced.parts, self.name, again=announced.again)
            if isinstance(begun, Stored):
                return begun
            arrival = begun
        try:
            arrival.write(pieces)
            if digest is not None and arrival.catch_up():
                return Stored(arrival.store(digest), before=False)
        except BaseException:
            arrival.abandon()
            raise
        return arrival

    def _takeAway(self, failure: Failure, work: Callable[[], Arrival | Stored]) -> Deferred[Arrival | Stored]:
        """Another process has an older stream of the transfer: that one ends, and then the work can be done."""
        failure.trap(BeingWritten)
        if self._inbox.takeAway is None:
            return fail(failure)
        return self._inbox.takeAway(self.name).addCallback(lambda _: self._inbox.run(work))

    def _worked(self, result: Arrival | Stored, amount: int) -> None:
        self._busy = False
        self._inbox.waiting -= amount
        if isinstance(result, Stored):
            self._stored(result)
            return
        self._arrival = result
        if self._failed:
            self._leave()
            return
        if self._asked:
            self._goOn(result.size)
        self._pump()
        self._obeyLimits()

    def _goOn(self, offset: int) -> None:
        """Tell the sender what is there."""
        self._asked = False
        self._left -= offset
        self.transport.write(onward(offset))
        if offset:
            self._log("{name!r} from {peer} goes on at {offset} of {size} bytes", offset=offset)

    def _broken(self, failure: Failure, amount: int) -> None:
        self._busy = False
        self._inbox.waiting -= amount
        if not failure.check(OSError, NotStored):
            self._inbox.log.failure("unexpected", failure)
        if self._failed:
            self._finish()
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

    def _stored(self, result: Stored) -> None:
        """Answer, and remember that it was stored until the sender knows."""
        self._final = result.name
        self._drop()
        if result.before:
            self._log("{name!r} from {peer} was stored before, as {final!r}", final=result.name)
        else:
            self._inbox.log.info(
                "stored {name!r} ({size} bytes) from {peer}",
                name=result.name,
                size=self._announced.size,
                peer=self._peer,
            )
        if not self._gone and not self._failed:
            self._resume()
            self.transport.write(stored(result.name))
            self.transport.loseWriteConnection()
        if self._gone or self._failed or self._unwanted or self._replacing is not None:
            self._settle()

    def _settle(self) -> None:
        """The sender knows, or has gone without a word."""
        if self._busy or self._done is None or self._final is None:
            return
        self._busy = True
        settling = self._inbox.forget(self.name) if self._unwanted else self._inbox.remember(self.name, self._final)
        settling.addErrback(self._stuck).addBoth(lambda _: self._finish())
        if not self._unwanted and not self._gone:
            self.transport.abortConnection()

    def _fail(self, text: str, *, keep: bool = False) -> None:
        """
        Answer why, and throw away what is still to come.

        @param keep: whether what has come may be of use when the transfer is offered again.
        """
        self._failed = True
        self._keeping = keep
        self._inbox.log.warn(
            "could not store {name!r} from {peer}: {reason}",
            name=self._announced.path,
            peer=self._peer,
            reason=printable(text),
        )
        if not keep:
            self._drop()
        if not self._gone:
            # What the sender still sends is thrown away until it reads this.
            self.transport.write(failed(text))
            self.transport.loseConnection()
        if self._start is not None:
            self._start.cancel()
            self._start = None
            self._finish()
        elif self._begun and not self._busy:
            self._leave()

    def _drop(self) -> None:
        """Forget what waits."""
        _, amount = self._take()
        self._inbox.waiting -= amount

    def _leave(self) -> None:
        """Keep what has arrived, or remove it."""
        arrival = self._arrival
        if arrival is None or arrival.descriptor < 0:
            self._finish()
            return
        self._busy = True
        pieces, amount = self._take()
        job = partial(self._keep, arrival, pieces) if self._keeping else partial(self._abandon, arrival)
        self._inbox.run(job).addCallbacks(self._kept, self._stuck).addBoth(self._left_behind, amount)

    def _keep(self, arrival: Arrival, pieces: list[bytes]) -> int:
        """On a thread: what has come so far may be of use."""
        try:
            arrival.write(pieces)
        except BaseException:
            arrival.abandon()
            raise
        return arrival.keep()

    def _abandon(self, arrival: Arrival) -> int:
        arrival.abandon()
        return 0

    def _kept(self, size: int) -> None:
        if size:
            self._log("{size} bytes of {name!r} are kept for when {peer} offers it again", size=size)
            self._inbox.sweep()

    def _stuck(self, failure: Failure) -> None:
        self._inbox.log.warn(
            "could not clear up behind {name!r}: {reason}", name=self._announced.path, reason=explain(failure)
        )

    def _left_behind(self, _: object, amount: int) -> None:
        self._inbox.waiting -= amount
        self._finish()

    def _log(self, text: str, **values: Any) -> None:
        self._inbox.log.info(
            text, **{"name": self._announced.path, "peer": self._peer, "size": self._announced.size, **values}
        )

    def _finish(self) -> None:
        """Nothing is left to do."""
        self._busy = True
        done, self._done = self._done, None
        if done is None:
            return
        self._inbox.left(self)
        if self._replacing is not None:
            self._replacing.callback(None)
        done(self)
