"""
One leash and its bands, from the first connection until the last one is closed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IDelayedCall
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from hypermail.hive.cell.queens import CONNECTING, Queen
from hypermail.hive.errors import LeashLost
from hypermail.hive.exchanges import BandProtocol, Exchange
from hypermail.hive.framing import FrameProtocol
from hypermail.hive.leash import MOST_AT_ONCE, Leash
from hypermail.services.paths import printable

#: Bands of one leash: a WebSocket has one for as long as it is open.
MOST_BANDS = 10_000
#: s for the queen to let in a connection that is open.
LOGIN = 10.0
#: s that bands stay open for requests that were on their way when the cell left.
LINGER = 0.5
#: s for connections to be closed in order.
CLOSING = 5.0


class Membership:
    """
    @param serve: called with each request.

    @ivar over: fires with the reason when the leash is lost, or the queen wants the cell to leave.
    @ivar running: requests that are not answered yet.
    """

    _log = Logger()

    def __init__(self, reactor: Any, queen: Queen, key: str, serve: Callable[[Exchange], object]) -> None:
        self.over: Deferred[str] = Deferred()
        self.running = 0
        self._reactor = reactor
        self._queen = queen
        self._key = key
        self._serve = serve
        self._leash: Leash | None = None  # that is let in, and not lost
        self._leaving = False
        self._needed = 0  # bands that are to be opened once others are
        self._isOpening = False
        self._opening: dict[Deferred[Any], None] = {}
        self._bands: dict[BandProtocol, IDelayedCall] = {}  # until when each has to be let in
        self._waiting: list[Deferred[None]] = []  # for fewer requests, or connections

    async def enter(self) -> Leash:
        """
        Log in.

        @raise LeashLost: when the queen does not let the cell in; what endpoints raise.
        """
        leash = Leash(self._reactor, self._key, self._need, self._leave)
        connecting = self._queen.leash(self._reactor).connect(_One(leash))
        connecting.addTimeout(CONNECTING, self._reactor, onTimeoutCancel=_notOpen)
        await connecting
        await leash.accepted.addTimeout(LOGIN, self._reactor, onTimeoutCancel=_tooLate)
        self._leash = leash
        leash.lost.addCallback(self._lost)
        return leash

    def cut(self) -> None:
        """Cut off all connections."""
        self._leaving = True
        for connecting in list(self._opening):
            connecting.cancel()
        for connection in (*self._bands, *filter(None, (self._leash,))):
            connection.abort()

    async def drain(self, seconds: float) -> None:
        """
        Take no more requests; close all connections when those that are running were answered.

        @param seconds: that these may take.
        """
        if self._leash is not None:
            self._leash.quit()
            await deferLater(self._reactor, min(LINGER, seconds))
        self._leaving = True
        await self._until(lambda: not self.running, seconds)
        for band in list(self._bands):
            band.leave()
        # First the bands: when a leash is lost its queen drops what still comes on them.
        await self._until(lambda: not self._opening and not self._bands, CLOSING)
        if self._leash is not None:
            self._leash.leave()
            await self._until(lambda: self._leash is None, CLOSING)
        self.cut()

    async def _until(self, done: Callable[[], bool], seconds: float) -> None:
        """Wait, but not longer than that."""
        end = self._reactor.seconds() + seconds
        while not done() and self._reactor.seconds() < end:
            moved: Deferred[None] = Deferred()
            self._waiting.append(moved)
            moved.addTimeout(end - self._reactor.seconds(), self._reactor, onTimeoutCancel=lambda *_: None)
            await moved

    def _moved(self) -> None:
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            if not one.called:
                one.callback(None)

    # What the queen says

    def _lost(self, error: LeashLost) -> None:
        self._leash = None
        self.cut()  # its queen has dropped them, if she is there at all
        self._end(error.text)
        self._moved()

    def _leave(self) -> None:
        self._end("the queen goes away")

    def _end(self, reason: str) -> None:
        if not self.over.called:
            self.over.callback(reason)

    def _need(self) -> None:
        if self._needed + len(self._bands) + len(self._opening) < MOST_BANDS:
            self._needed += 1
        self._openNext()

    def _openNext(self) -> None:
        """Open what is needed; what would be too much at once comes later, since the queen does not ask again soon."""
        if self._isOpening:  # connections may open, or fail, within this
            return
        self._isOpening = True
        while self._needed and len(self._opening) < MOST_AT_ONCE:
            self._needed -= 1
            if self._leash is not None and not self._leaving:
                self._open(self._leash)
        self._isOpening = False

    def _open(self, leash: Leash) -> None:
        band = BandProtocol(leash.uuid, leash.band_key, self._begin, self._gone)
        connecting = self._queen.band(self._reactor).connect(_One(band))
        self._opening[connecting] = None
        connecting.addTimeout(CONNECTING, self._reactor, onTimeoutCancel=_notOpen)
        connecting.addCallbacks(self._opened, self._failed, callbackArgs=(connecting, band), errbackArgs=(connecting,))

    # Bands

    def _opened(self, _: object, connecting: Deferred[Any], band: BandProtocol) -> None:
        del self._opening[connecting]
        if band.ended:
            self._moved()
        else:
            self._bands[band] = self._reactor.callLater(LOGIN, self._expect, band)
            if self._leaving:
                band.abort()
        self._openNext()

    def _failed(self, failure: Failure, connecting: Deferred[Any]) -> None:
        del self._opening[connecting]
        if not self._leaving:
            reason = printable(failure.getErrorMessage())
            self._log.warn("{queen}: a band does not open: {reason}", queen=self._queen.name, reason=reason)
        self._moved()
        self._openNext()

    def _expect(self, band: BandProtocol) -> None:
        if not band.accepted:
            self._log.warn("{queen}: a band was not let in for {limit:.0f} s", queen=self._queen.name, limit=LOGIN)
            band.abort()

    def _gone(self, band: BandProtocol) -> None:
        deadline = self._bands.pop(band, None)
        if deadline is not None and deadline.active():
            deadline.cancel()
        self._moved()

    # Requests

    def _begin(self, exchange: Exchange) -> None:
        self.running += 1
        exchange.whenOver().addCallback(self._ended)
        self._serve(exchange)

    def _ended(self, _: bool) -> None:
        self.running -= 1
        self._moved()


class _One(Factory):
    """Of one protocol."""

    noisy = False

    def __init__(self, protocol: FrameProtocol) -> None:
        self._protocol = protocol

    def buildProtocol(self, addr: IAddress | None) -> FrameProtocol:
        """See L{Factory}."""
        return self._protocol


def _notOpen(_: object, seconds: float) -> Failure:
    """Endpoints that are cancelled say where they wanted to go, at best."""
    return Failure(LeashLost(f"no connection for {seconds:.0f} s"))


def _tooLate(_: object, seconds: float) -> Failure:
    return Failure(LeashLost(f"the queen has not answered for {seconds:.0f} s"))
