"""
The session of a command, opened again when it is lost, for as long as the user has patience.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from hypermail.errors import HypermailError, Reason, SessionLost
from hypermail.interfaces import ISession
from hypermail.services.paths import printable

ATTEMPT = 5.0
"""Seconds of one attempt to open a session: a listener that comes back is found by the next one at the latest."""

PAUSE = 0.25
"""Seconds between two attempts, and before a stream is opened again in a session that is still open."""

_AWAY = frozenset((Reason.CONNECTION_TIMEOUT, Reason.SHUTTING_DOWN))
"""Reasons for which a session does not open now, and may open later."""


class Caller(Protocol):
    """Who opens sessions."""

    async def open(self, reactor: Any, patience: float) -> ISession:
        """
        Open one.

        @param patience: s that this may take.
        @raise CannotCall: when it does not open.
        """


class CannotCall(SessionLost):
    """The session did not open; the text says with whom and why."""


class ReturningSession:
    """
    A session that comes back.

    @param where: whom the sessions are with, for people.
    @param timeout: s that may pass without a session, at the beginning and whenever it was lost.
    @param away: is called with the reason when it is waited for the listener.
    @param back: is called when a session is open after that.
    """

    def __init__(
        self,
        reactor: Any,
        caller: Caller,
        where: str,
        *,
        timeout: float,
        away: Callable[[str], object],
        back: Callable[[], object],
    ) -> None:
        self._reactor = reactor
        self._caller = caller
        self._where = where
        self._timeout = timeout
        self._away = away
        self._back = back
        self._current: ISession | None = None
        self._opening: Deferred[Any] | None = None
        self._waiting: dict[Deferred[ISession], None] = {}
        self._lost: SessionLost | None = None
        self._isAway = False

    @property
    def current(self) -> ISession | None:
        """The session that was opened last."""
        return self._current

    async def session(self, after: ISession | None, error: HypermailError | None) -> ISession:
        """See L{hypermail.services.sending.Sessions}."""
        if error is not None and not isinstance(error, SessionLost):
            await deferLater(self._reactor, PAUSE)
        elif after is not None and after is self._current:
            self._current = None
        if self._current is not None:
            return self._current
        if self._lost is not None:
            raise self._lost
        waiting: Deferred[ISession] = Deferred(lambda gone: self._waiting.pop(gone, None))
        self._waiting[waiting] = None
        if self._opening is None:
            self._opening = Deferred.fromCoroutine(self._open(error))
            self._opening.addCallbacks(self._opened, self._failed)
        return await waiting

    async def _open(self, error: HypermailError | None) -> ISession:
        """
        Try until there is a session.

        @param error: what ended the last one.
        """
        deadline = self._reactor.seconds() + self._timeout
        reasons = _AWAY if error is None else _AWAY | {Reason.UNREACHABLE}
        if error is not None:
            self._say(error)
        while True:
            try:
                return await self._caller.open(self._reactor, min(ATTEMPT, deadline - self._reactor.seconds()))
            except CannotCall as refused:
                if refused.code not in reasons:
                    raise
                if deadline - self._reactor.seconds() <= PAUSE:
                    raise CannotCall(self._why(refused, error), refused.code) from refused
                self._say(refused)
            await deferLater(self._reactor, PAUSE)

    def _say(self, error: HypermailError) -> None:
        if not self._isAway:
            self._isAway = True
            self._away(printable(error.text))

    def _why(self, refused: CannotCall, error: HypermailError | None) -> str:
        text = refused.text
        if refused.code == Reason.CONNECTION_TIMEOUT:
            text = f"nobody has answered at {self._where} for {self._timeout:g} s"
        return text if error is None else f"the session was lost: {printable(error.text)}; {text}"

    def _opened(self, session: ISession) -> None:
        self._current, self._opening = session, None
        if self._isAway:
            self._isAway = False
            self._back()
        for one in self._settled():
            one.callback(session)

    def _failed(self, failure: Failure) -> None:
        self._opening = None
        error = failure.value
        if isinstance(error, SessionLost):
            self._lost = error
        for one in self._settled():
            one.errback(failure)

    def _settled(self) -> Iterator[Deferred[ISession]]:
        """Those who wait, and not those who come to wait meanwhile, or have been cancelled meanwhile."""
        waiting, self._waiting = self._waiting, {}
        return (one for one in waiting if not one.called)

    def stop(self) -> None:
        """Open none any more."""
        if self._opening is not None:
            self._opening.cancel()
