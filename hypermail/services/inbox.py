"""
What arrives becomes files: streams that carry a file (L{hypermail.services.files}), and messages.

The reactor's thread only moves bytes into a list; one job at a time per file (L{hypermail.services.receiving})
writes, hashes, syncs and names it on a thread (L{hypermail.services.workers}). Two limits on what waits for the disk,
one per file and one for all, pause the stream, so that a slow disk slows the sender and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from itertools import count

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from hypermail.errors import HypermailError, MessageRejected
from hypermail.events import StreamOptions
from hypermail.internet.message import Message
from hypermail.options import Options
from hypermail.services.arrivals import Arrival, Stored
from hypermail.services.directory import InboxDirectory
from hypermail.services.files import read_options
from hypermail.services.parts import Swept, name_of
from hypermail.services.paths import printable
from hypermail.services.receiving import FileReceiver, explain
from hypermail.services.workers import Run

#: How many messages of a durable lane, the last ones, may come again after a restart: those that were not settled.
MAY_COME_AGAIN = 2 * Options().max_unsettled

#: Given the name of a transfer.
TakeAway = Callable[[str], Deferred[None]]


class Inbox:
    """
    A directory that takes files and messages.

    @param directory: opened and closed by who made it.
    @param run: runs what blocks.
    @param clock: the reactor.
    @param now: the wall clock in UTC, for the names of messages.
    @param takeAway: has other processes that use the directory leave a transfer, when there are some that can be
        asked; fires when they have.
    @ivar waiting: bytes that wait for the disk.
    """

    log = Logger()

    def __init__(
        self,
        directory: InboxDirectory,
        *,
        run: Run,
        clock: IReactorTime,
        now: Callable[[], datetime],
        takeAway: TakeAway | None = None,
    ) -> None:
        self.directory = directory
        self.takeAway = takeAway
        self.run = run
        self.clock = clock
        self.waiting = 0
        self._now = now
        self._counter = count(1)
        self._arriving: dict[str, FileReceiver] = {}
        self._forgotten: list[tuple[str, Deferred[None]]] = []
        self._forgetting = False
        self._sweeping = self._sweepAgain = False

    def receiver(
        self,
        options: StreamOptions,
        peer: str,
        done: Callable[[FileReceiver], None] = lambda receiver: None,
        owner: bytes = b"",
    ) -> FileReceiver:
        """
        The protocol for a stream that carries a file.

        @param peer: whom it is from, for the log.
        @param owner: the pin of its certificate, if it has one: what is kept of a transfer is for the same only.
        @param done: is called when nothing of the file is left to do.
        @raise HypermailError: when what is announced cannot become a file; this is the refusal.
        """
        try:
            announced = read_options(options)
        except HypermailError as error:
            self.log.warn("refused a file from {peer}: {reason}", peer=peer, reason=printable(error.text))
            raise
        name = name_of(owner, announced.transfer, announced.path, announced.size)
        return FileReceiver(self, announced, name, peer, done)

    # For receivers.

    def takeOver(self, receiver: FileReceiver) -> Deferred[None]:
        """
        A receiver begins; an older one of the same transfer ends.

        @return: fires when the older one is done with the part.
        """
        older = self.leave(receiver.name)
        self._arriving[receiver.name] = receiver
        return older

    def leave(self, transfer: str) -> Deferred[None]:
        """Somebody else carries a transfer: what carries it here ends. @return: fires when it is done with the part."""
        older = self._arriving.get(transfer)
        return succeed(None) if older is None else older.replaced()

    def left(self, receiver: FileReceiver) -> None:
        """A receiver has ended."""
        if self._arriving.get(receiver.name) is receiver:
            del self._arriving[receiver.name]

    def forget(self, transfer: str) -> Deferred[None]:
        """A transfer's sender knows that it is stored: nothing of it need be kept. Fires when nothing is."""
        done: Deferred[None] = Deferred()
        self._forgotten.append((transfer, done))
        self._forgetSome()
        return done

    def _forgetSome(self) -> None:
        """All that were confirmed while a thread was at it take one job."""
        if self._forgetting or not self._forgotten:
            return
        some, self._forgotten = self._forgotten, []
        self._forgetting = True
        forgetting = self.run(partial(self.directory.parts.forget, [transfer for transfer, _ in some]))
        forgetting.addBoth(self._forgot, [done for _, done in some])

    def _forgot(self, result: object, waiting: Sequence[Deferred[None]]) -> None:
        self._forgetting = False
        self._forgetSome()
        for done in waiting:
            if isinstance(result, Failure):
                done.errback(result)
            else:
                done.callback(None)

    def remember(self, transfer: str, final: str) -> Deferred[None]:
        """A transfer's sender may not know that it is stored: it may offer it again. Fires when that is on the disk."""
        return self.run(partial(self.directory.parts.remember, transfer, final))

    def storeMessage(self, message: bytes, peer: str) -> Deferred[None]:
        """
        Make a message a file of its own. One of a durable lane that comes again, after a restart, is stored once.

        @return: fires when it is safe on the disk; errbacks with L{MessageRejected}.
        """
        name = f"message-{self._now():%Y%m%dT%H%M%S.%fZ}-{next(self._counter):06}.txt"
        storing = self.run(partial(self._store, name, message))
        return storing.addCallbacks(
            self._storedMessage, self._refusedMessage, callbackArgs=(message, peer), errbackArgs=(name, peer)
        )

    def _store(self, name: str, message: bytes) -> str:
        arrival: Arrival | Stored
        if isinstance(message, Message):
            arrival = self.directory.take_up((name,), _transfer_of(message, message.number), again=False)
            if isinstance(arrival, Stored):
                return arrival.name
        else:
            arrival = self.directory.begin((name,))
        try:
            arrival.write((message,))
            return arrival.store()
        except BaseException:
            arrival.abandon()
            raise

    def _storedMessage(self, name: str, message: bytes, peer: str) -> None:
        self.log.info("stored {name!r} ({size} bytes) from {peer}", name=name, size=len(message), peer=peer)
        if isinstance(message, Message) and message.number >= MAY_COME_AGAIN:
            self.forget(_transfer_of(message, message.number - MAY_COME_AGAIN)).addErrback(
                lambda failure: self.log.warn("could not forget a message: {reason}", reason=explain(failure))
            )

    def _refusedMessage(self, failure: Failure, name: str, peer: str) -> None:
        text = explain(failure)
        self.log.warn("could not store {name!r} from {peer}: {reason}", name=name, peer=peer, reason=printable(text))
        raise MessageRejected(text)

    def sweep(self) -> Deferred[None]:
        """
        Remove what is kept of transfers and is too old, or too much, and say so.

        @return: fires when it is done; at once when it is being done, and will be done once more.
        """
        if self._sweeping:
            self._sweepAgain = True
            return succeed(None)
        self._sweeping = True
        now = self._now().timestamp()
        return self.run(lambda: self.directory.parts.sweep(now)).addCallbacks(self._swept, self._notSwept)

    def _swept(self, swept: Swept) -> None:
        if swept.parts:
            self.log.info(
                "removed {parts} rests ({size} bytes) of transfers whose senders have not come again",
                parts=swept.parts,
                size=swept.size,
            )
        self._sweepEnds()

    def _notSwept(self, failure: Failure) -> None:
        self.log.warn("could not look for rests of transfers: {reason}", reason=explain(failure))
        self._sweepEnds()

    def _sweepEnds(self) -> None:
        self._sweeping = False
        again, self._sweepAgain = self._sweepAgain, False
        if again:
            self.sweep()


def _transfer_of(message: Message, number: int) -> str:
    """What the message of that number, of the same lane, is known by while it may come again."""
    return name_of(b"", message.session, f"lane {message.lane}", number)
