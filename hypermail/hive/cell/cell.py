"""
The service that makes an application a cell of a hive.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail, gatherResults, maybeDeferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from hypermail.errors import HypermailError, UsageError
from hypermail.hive.cell.application import Answering, CellApplication, serve
from hypermail.hive.cell.leashing import LeashService
from hypermail.hive.cell.queens import Queen
from hypermail.hive.errors import LeashLost
from hypermail.hive.leash import Leash
from hypermail.hive.mounts import Pattern, parse_mount
from hypermail.services.addresses import Destination, parse_destination
from hypermail.services.paths import printable

#: s that running requests may take when the cell stops.
DRAIN = 30.0
#: Queens to whom a cell keeps a leash, those included that queens have named.
MOST_QUEENS = 8
#: Of the names in one C{Accept} so many are looked at: each that is none is a line in the log.
MOST_NAMED = 2 * MOST_QUEENS


class Cell(Service):
    """
    Connects to a queen, mounts hosts and paths, and has an application answer what is asked there; for ever, whatever
    becomes of the connection. ::

        cell = Cell(Queen.overTLS("queen.example.org"), readHiveKey("cell.key"), "@/", application)
        cell.startService()
    """

    _log = Logger()

    def __init__(
        self,
        queen: Queen,
        key: str,
        mounts: str | Pattern | Iterable[str | Pattern],
        application: Answering,
        *,
        reactor: Any = None,
        drain: float = DRAIN,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """
        @param key: that cells log in with, as L{readHiveKey<hypermail.internet.credentials.readHiveKey>} gives it.
        @param mounts: C{HOST/PATH}, one or several, as C{@/} or C{example.org/app/}. The application sees paths below
            them, and does not learn of which.
        @param application: called with each L{Exchange<hypermail.hive.exchanges.Exchange>}; may return a Deferred or a
            coroutine. A L{CellApplication} is told of beginning and end.
        @param reactor: None for the global one, at the start.
        @param drain: s that running requests may take when the cell stops.
        @param chance: random numbers from 0 to 1, for pauses between attempts.
        @raise UsageError: when a mount is none, or there is none at all.
        """
        given = [mounts] if isinstance(mounts, (str, Pattern)) else list(mounts)
        self.patterns = tuple(one if isinstance(one, Pattern) else parse_mount(one) for one in given)
        if not self.patterns:
            raise UsageError("a cell needs something to mount, as @/")
        self._queen = queen
        self._key = key
        self._application = application
        self._reactor = reactor
        self._drain = drain
        self._chance = chance
        self._leashes: dict[str, LeashService] = {}
        self._starting: Deferred[None] | None = None
        self._begun = False
        self._waiting: dict[Deferred[Cell], None] = {}

    @property
    def root(self) -> str:
        """The path that is mounted, if there is just one mount, without a slash at its end."""
        return self.patterns[0].path.rstrip("/") if len(self.patterns) == 1 else ""

    @property
    def isReady(self) -> bool:
        """Whether all mounts are in, at one queen at least."""
        return any(leash.isIn for leash in self._leashes.values())

    def whenReady(self) -> Deferred[Cell]:
        """
        Wait for the mounts.

        @return: fires with this, at once when they are in. It errbacks with L{LeashLost} when the service stops or does
            not run, and with what has kept the application from starting.
        """
        if self.isReady:
            return succeed(self)
        if not self.running:
            return fail(LeashLost("the cell does not run"))
        waiting: Deferred[Cell] = Deferred(lambda gone: self._waiting.pop(gone, None))
        self._waiting[waiting] = None
        return waiting

    def startService(self) -> None:
        """Begin."""
        Service.startService(self)
        if self._starting is None:
            if self._reactor is None:
                from twisted.internet import reactor

                self._reactor = reactor
            self._starting = Deferred.fromCoroutine(self._start())
            self._starting.addErrback(self._notStarted)

    async def _start(self) -> None:
        if isinstance(self._application, CellApplication):
            await maybeDeferred(self._application.startApplication, self._reactor, self.root)
        self._begun = True
        self._keep(self._queen, False)

    def _notStarted(self, failure: Failure) -> None:
        if isinstance(failure.value, HypermailError):
            self._log.error("the application does not start: {reason}", reason=printable(failure.value.text))
        elif self.running:
            self._log.failure("the application does not start", failure)
        self._settle(failure)

    def stopService(self) -> Deferred[None]:
        """
        Take no more requests, finish those that run, and close everything.

        @return: fires when that is done.
        """
        Service.stopService(self)
        self._settle(Failure(LeashLost("the cell stops")))
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        starting, self._starting = self._starting, None
        if starting is not None:
            starting.cancel()
        if self._begun and isinstance(self._application, CellApplication):
            self._application.leaveApplication()
        leashes = list(self._leashes.values())
        self._leashes.clear()
        await gatherResults([leash.stopService() for leash in leashes], consumeErrors=True)
        if self._begun and isinstance(self._application, CellApplication):
            self._begun = False
            await maybeDeferred(self._application.stopApplication)

    # Queens

    def _keep(self, queen: Queen, named: bool) -> None:
        leash = self._leashes[queen.name] = LeashService(
            self._reactor,
            queen,
            self._key,
            self.patterns,
            partial(serve, self._application),
            chance=self._chance,
            drain=self._drain,
            entered=self._entered,
            mounted=self._mounted,
            forgotten=self._forget if named else None,
        )
        leash.startService()

    def _entered(self, service: LeashService, leash: Leash) -> None:
        """A queen has let it in; she may name others where it is wanted, too."""
        sibling = service.queen.sibling
        if sibling is None:
            return
        for text in leash.queens[:MOST_NAMED]:
            if len(self._leashes) >= MOST_QUEENS:
                self._log.warn("there are {most} queens already; others are not asked", most=MOST_QUEENS)
                return
            try:
                where: Destination = parse_destination(text)
                queen = sibling(*where)
            except HypermailError as error:
                self._log.warn("a queen names another one, but {reason}", reason=printable(error.text))
                continue
            if queen.name not in self._leashes:
                self._keep(queen, True)

    def _mounted(self, service: LeashService) -> None:
        while self._waiting:
            self._waiting.popitem()[0].callback(self)

    def _forget(self, service: LeashService) -> None:
        del self._leashes[service.queen.name]

    def _settle(self, failure: Failure) -> None:
        while self._waiting:
            self._waiting.popitem()[0].errback(failure)
