"""
C{--outbox DIR}: files that are put in a directory leave when the peer can be reached, today or tomorrow.

A file is taken up when it has come to rest: its size and the time of its last change have been the same for L{REST}
seconds. One that changes while it is sent is given up, and is another file when it has come to rest again. One that the
peer refuses is offered again after pauses that grow up to L{LONGEST} seconds.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Any, cast

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from hypermail.errors import HypermailError, SessionLost
from hypermail.interfaces import ISession
from hypermail.services.directory import reason
from hypermail.services.ending import cannotStart
from hypermail.services.keeping import StarterService
from hypermail.services.paths import printable, safe_parts
from hypermail.services.reading import CHANGED, SourceChanged, Version
from hypermail.services.sending import AT_ONCE, FileDispatch, Transfer
from hypermail.services.spool import Ready, Spool
from hypermail.services.tree import Item
from hypermail.services.workers import Workers

POLL = 1.0
"""Seconds between two looks at the outbox, or ten times as long as the last one took, if that is more."""

REST = 2.0
"""Seconds that a file must not have changed for."""

SHORTEST = 5.0
"""Seconds before a file that was refused is offered again; twice as long each time."""

LONGEST = 300.0
"""The most of that."""

PAUSE = 0.25
"""Seconds before a file is offered again when its stream, but not its session, has ended."""


class _File:
    """
    What is known of one file in the outbox.

    @ivar since: when it was first seen as it is.
    @ivar pause: s before it is offered again; 0 when it was not refused.
    @ivar next: when that is.
    @ivar busy: whether it is on its way.
    @ivar again: whether it may have been offered before.
    """

    __slots__ = ("again", "busy", "next", "pause", "ready", "said", "since")

    def __init__(self, ready: Ready, now: float, *, again: bool) -> None:
        self.ready = ready
        self.again = again
        self.since = now
        self.next = now
        self.pause = 0.0
        self.said = ""
        self.busy = False


class _KeptSessions:
    """The sessions that a L{StarterService} keeps; see L{hypermail.services.sending.Sessions}."""

    def __init__(self, reactor: Any, starter: StarterService) -> None:
        self._reactor = reactor
        self._starter = starter

    async def session(self, after: ISession | None, error: HypermailError | None) -> ISession:
        """See L{hypermail.services.sending.Sessions}: however long it takes."""
        if error is not None:
            # The service may not know yet that its session is lost.
            await deferLater(self._reactor, PAUSE)
        protocol = await self._starter.whenOpened()
        return protocol.session


class OutboxService(Service):
    """
    Sends what is put in a directory.

    @param spool: the directory.
    @param starter: keeps the session.
    """

    _log = Logger()

    def __init__(self, reactor: Any, spool: Spool, starter: StarterService) -> None:
        self._reactor = reactor
        self._spool = spool
        self._starter = starter
        self._workers = Workers(reactor, name="hypermail outbox")
        self._files: dict[str, _File] = {}
        self._going: dict[str, Deferred[None]] = {}
        self._next: IDelayedCall | None = None
        self._looked = False
        self._trouble = ""
        self._queue: deque[str] = deque()
        self._resuming: IDelayedCall | None = None

    def startService(self) -> None:
        """@raise hypermail.services.ending.CannotStart: when the outbox cannot be used."""
        try:
            self._spool.open()
        except HypermailError as error:
            cannotStart(self._log, error.text)
        Service.startService(self)
        self._workers.start()
        self._dispatching = FileDispatch(
            _KeptSessions(self._reactor, self._starter),
            clock=self._reactor,
            run=self._workers.run,
            watcher=self,
            transfers=self,
        )
        self._log.info("files in {outbox!r} leave", outbox=self._spool.path)
        self._look()

    # What is there.

    def _look(self) -> None:
        self._next = None
        began = self._reactor.seconds()
        looking = self._workers.run(self._spool.scan).addCallbacks(self._found, self._unreadable)
        looking.addErrback(self._unexpected).addCallback(self._lookAgain, began)

    def _lookAgain(self, _: object, began: float) -> None:
        if self.running:
            took = self._reactor.seconds() - began
            self._next = self._reactor.callLater(max(POLL, 10 * took), self._look)

    def _unreadable(self, failure: Failure) -> None:
        failure.trap(OSError)
        text = reason(cast(OSError, failure.value))
        if text != self._trouble:
            self._log.error("the outbox {outbox!r} cannot be read: {reason}", outbox=self._spool.path, reason=text)
        self._trouble = text

    def _unexpected(self, failure: Failure) -> None:
        self._log.failure("unexpected", failure)

    def _found(self, found: Sequence[Ready]) -> None:
        self._trouble = ""
        now = self._reactor.seconds()
        names = {ready.path for ready in found}
        for name in [name for name, file in self._files.items() if name not in names and not file.busy]:
            del self._files[name]
        for ready in found:
            file = self._files.get(ready.path)
            if file is None or (file.ready != ready and not file.busy):
                self._files[ready.path] = _File(ready, now, again=not self._looked)
        self._looked = True
        self._queue = deque(
            name
            for name, file in self._files.items()
            if not file.busy and now >= file.next and now - file.since >= REST
        )
        self._go()

    def _go(self) -> None:
        """Take up what has come to rest, as much as may be on its way at one time."""
        while self._queue and len(self._going) < AT_ONCE and self.running:
            name = self._queue.popleft()
            file = self._files.get(name)
            if file is not None and not file.busy:
                self._begin(name, file)

    def _begin(self, name: str, file: _File) -> None:
        file.busy = True
        going = self._going[name] = Deferred.fromCoroutine(self._send(file))
        going.addErrback(self._stopped, file).addCallback(self._over, file)

    async def _send(self, file: _File) -> None:
        name = os.fsencode(file.ready.path)
        item = Item(os.path.join(self._spool.path, file.ready.path), name, file.ready.version.size)
        try:
            safe_parts(name)
            await self._dispatching.send(item)
        except SessionLost:
            raise
        except HypermailError as error:
            self._failed(file, error)
        else:
            self._files.pop(file.ready.path, None)

    def _failed(self, file: _File, error: HypermailError) -> None:
        """Not this time."""
        name = file.ready.path
        if isinstance(error, SourceChanged):
            self._log.warn("{name!r}: {reason}; it is sent when it has come to rest", name=name, reason=error.text)
            del self._files[name]  # it is another file now
            return
        file.pause = min(max(SHORTEST, 2 * file.pause), LONGEST)
        file.next = self._reactor.seconds() + file.pause
        if error.text != file.said:
            self._log.warn(
                "{name!r} is not sent: {reason}; it is offered again, after {pause:.0f} s at first",
                name=name,
                reason=printable(error.text),
                pause=file.pause,
            )
        file.said = error.text

    def _stopped(self, failure: Failure, file: _File) -> None:
        """There is no session any more, as the service stops; anything else is a fault of our own."""
        if not failure.check(SessionLost, CancelledError):
            self._log.failure("unexpected", failure)
            self._failed(file, HypermailError("a fault of hypermail's own"))

    def _over(self, _: object, file: _File) -> None:
        file.busy = False
        file.again = True
        del self._going[file.ready.path]
        if self._queue and self._resuming is None and self.running:
            self._resuming = self._reactor.callLater(0, self._resume)

    def _resume(self) -> None:
        self._resuming = None
        self._go()

    # What the files' dispatch wants to know, and tells.

    def begin(self, item: Item, version: Version) -> Transfer:
        """See L{hypermail.services.sending.Transfers}; on a thread."""
        file = self._files[os.fsdecode(item.name)]
        if version != file.ready.version:
            raise SourceChanged(CHANGED)
        return Transfer(self._spool.transfer(file.ready), file.again)

    def end(self, item: Item, transfer: Transfer, stored: bool) -> Deferred[None] | None:
        """See L{hypermail.services.sending.Transfers}."""
        if not stored:
            return None
        ready = self._files[os.fsdecode(item.name)].ready
        return self._workers.run(partial(self._spool.deliver, ready)).addCallback(self._delivered, ready)

    def _delivered(self, final: str | None, ready: Ready) -> None:
        if final is not None:
            self._log.info("{name!r} is now {final!r}", name=ready.path, final=final)

    def wrote(self, size: int) -> None:
        """See L{hypermail.services.sending.Watcher}."""

    def moved(self, size: int) -> None:
        """See L{hypermail.services.sending.Watcher}."""

    def stored(self, item: Item, size: int, name: str) -> None:
        """See L{hypermail.services.sending.Watcher}."""
        self._log.info(
            "sent {name!r} ({size} bytes), stored as {final!r}",
            name=os.fsdecode(item.name),
            size=size,
            final=printable(name),
        )

    # The end.

    def stopService(self) -> Deferred[None]:
        """Send nothing any more; what is on its way goes on from there after the next start."""
        Service.stopService(self)
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        for call in (self._next, self._resuming):
            if call is not None:
                call.cancel()
        self._next = self._resuming = None
        self._queue.clear()
        going = list(self._going.values())
        for one in going:
            one.cancel()
        await DeferredList(going)
        await self._workers.stop()
        self._spool.close()
        # For another start.
        self._workers = Workers(self._reactor, name="hypermail outbox")
        self._files.clear()
        self._looked = False
