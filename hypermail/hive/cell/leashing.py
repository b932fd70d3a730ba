"""
A leash that is kept: log in, mount, and do so again whenever it was lost (C{docs/protocol/hive}, "A cell's life").
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from hypermail.hive.cell.membership import Membership
from hypermail.hive.cell.queens import Queen
from hypermail.hive.errors import LeashLost, LeashRefused, MountRejected
from hypermail.hive.exchanges import Exchange
from hypermail.hive.leash import Leash
from hypermail.hive.mounts import Pattern
from hypermail.services.paths import printable

#: s before the first further attempt, and by how much it grows up to how much.
FIRST_PAUSE = 1.0
GROWTH = 1.5
LONGEST_PAUSE = 60.0
#: s that a leash has to last for the next pause to be the first one again.
STEADY = 30.0
#: s without any leash after which a queen that another one has named is forgotten.
PATIENCE = 600.0


def pause_after(failed: int, chance: float) -> float:
    """
    Seconds before the next attempt, at random, so that a queen who comes back is not asked by all at once.

    @param failed: attempts since a leash has lasted.
    @param chance: at least 0, below 1.
    """
    longest = min(LONGEST_PAUSE, FIRST_PAUSE * GROWTH ** min(failed, 100))
    return longest * (1 + chance) / 2


class LeashService(Service):
    """
    Keeps a leash to one queen.

    @ivar isIn: whether the queen has let it in, and taken all mounts.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        queen: Queen,
        key: str,
        patterns: Sequence[Pattern],
        serve: Callable[[Exchange], object],
        *,
        chance: Callable[[], float],
        drain: float,
        entered: Callable[[LeashService, Leash], object],
        mounted: Callable[[LeashService], object],
        forgotten: Callable[[LeashService], object] | None = None,
    ) -> None:
        """
        @param drain: s that running requests may take when it leaves.
        @param entered: called when the queen has let it in.
        @param mounted: called when she has taken all mounts.
        @param forgotten: called when it is given up, after L{PATIENCE}; None for a queen that is never given up.
        """
        self.queen = queen
        self.isIn = False
        self._reactor = reactor
        self._key = key
        self._patterns = patterns
        self._serve = serve
        self._chance = chance
        self._drain = drain
        self._entered = entered
        self._mounted = mounted
        self._forgotten = forgotten
        self._keeping: Deferred[None] | None = None
        self._current: Membership | None = None
        self._draining: dict[Deferred[None], None] = {}
        self._mounting: list[Deferred[bool]] = []

    def startService(self) -> None:
        """See L{Service}."""
        Service.startService(self)
        if self._keeping is None:
            self._keeping = Deferred.fromCoroutine(self._keep())
            self._keeping.addErrback(self._failed)

    def stopService(self) -> Deferred[Any]:
        """
        Leave.

        @return: fires when running requests are finished, or their time is over, and all is closed.
        """
        Service.stopService(self)
        keeping, self._keeping = self._keeping, None
        if self._current is not None:
            self._leave(self._current)
        if keeping is not None:
            keeping.cancel()
        return gatherResults([_waitingFor(one) for one in self._draining], consumeErrors=True)

    def _failed(self, failure: Failure) -> None:
        if self.running:
            self._log.failure("{queen}: the leash is kept no more", failure, queen=self.queen.name)

    async def _keep(self) -> None:
        failed, well = 0, self._reactor.seconds()
        while self._forgotten is None or self._reactor.seconds() < well + PATIENCE:
            membership = self._current = Membership(self._reactor, self.queen, self._key, self._serve)
            refused = False
            try:
                leash = await membership.enter()
                began = self._reactor.seconds()
                self._welcome(leash)
                reason = await membership.over
                well = self._reactor.seconds()
                failed = 0 if well >= began + STEADY else failed
            except Exception as error:
                if not self.running:  # cancelled
                    raise
                refused = isinstance(error, LeashRefused)
                reason = str(error) or type(error).__name__
            self.isIn = False
            self._current = None
            self._leave(membership)
            await self._pause(failed, reason, refused)
            failed += 1
        if self._forgotten is not None:
            self._log.warn("{queen}: given up", queen=self.queen.name)
            self._forgotten(self)

    async def _pause(self, failed: int, reason: str, refused: bool) -> None:
        pause = LONGEST_PAUSE * (1 + self._chance()) / 2 if refused else pause_after(failed, self._chance())
        say = self._log.error if refused else self._log.warn
        advice = ". Is this the key whose hash is connKey in her configuration?" if refused else ""
        say(
            "{queen}: no leash: {reason}{advice}; the next attempt is in {pause:.1f} s",
            queen=self.queen.name,
            reason=printable(reason),
            advice=advice,
            pause=pause,
        )
        await deferLater(self._reactor, pause)

    def _leave(self, membership: Membership) -> None:
        """Let what runs of it end."""
        for one in self._mounting:
            one.cancel()
        draining = Deferred.fromCoroutine(membership.drain(self._drain))
        self._draining[draining] = None
        draining.addErrback(lambda failure: self._log.failure("a leash is not left in order", failure))
        draining.addBoth(lambda _: self._draining.pop(draining))

    # Mounts

    def _welcome(self, leash: Leash) -> None:
        self._log.info("{queen} has let the cell in", queen=self.queen.name)
        self._entered(self, leash)
        self._mounting = [Deferred.fromCoroutine(self._mount(leash, one)) for one in self._patterns]
        for one in self._mounting:
            one.addErrback(_givenUp)
        gatherResults(self._mounting).addCallback(self._allMounted)

    def _allMounted(self, mounted: list[bool]) -> None:
        if all(mounted):
            self.isIn = True
            self._mounted(self)

    async def _mount(self, leash: Leash, pattern: Pattern) -> bool:
        """Mount, however often it takes. @return: whether it is; otherwise the leash was lost."""
        while True:
            try:
                await leash.mount(pattern)
            except MountRejected as error:
                pause = LONGEST_PAUSE * (1 + self._chance()) / 2
                self._log.error(
                    "{queen}: {pattern} is not mounted: {reason}; the next attempt is in {pause:.0f} s",
                    queen=self.queen.name,
                    pattern=str(pattern),
                    reason=printable(error.text),
                    pause=pause,
                )
                await deferLater(self._reactor, pause)
            except LeashLost:
                return False
            else:
                self._log.info("{queen}: {pattern} is mounted", queen=self.queen.name, pattern=str(pattern))
                return True


def _givenUp(failure: Failure) -> bool:
    """A mount, since its leash is left."""
    failure.trap(CancelledError)
    return False


def _waitingFor(done: Deferred[Any]) -> Deferred[Any]:
    """Fires when the other one does."""
    waiting: Deferred[Any] = Deferred()

    def fire(result: Any) -> Any:
        waiting.callback(None)
        return result

    done.addBoth(fire)
    return waiting
