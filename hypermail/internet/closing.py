"""
Who waits until a session is closed, and its part in a socket given back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet import defer
from twisted.internet.defer import Deferred, maybeDeferred

from hypermail.errors import HypermailError, SessionClosed


class ClosingUser(Protocol):
    """What closing needs of its session."""

    @property
    def error(self) -> HypermailError | None:
        """What ended the session, once it has ended."""

    def abort(self, text: str) -> None:
        """End the session at once."""


class Closing:
    """
    The end of one session, for those who wait for it.

    @param release: a starter's; gives its part in a socket back, and may return a Deferred.
    """

    __slots__ = ("_release", "_session", "_waiting")

    def __init__(self, session: ClosingUser, release: Callable[[], object] | None) -> None:
        self._session = session
        self._release = release
        self._waiting: tuple[Deferred[None], ...] = ()

    @property
    def awaited(self) -> bool:
        """Whether anybody waits."""
        return bool(self._waiting)

    @property
    def done(self) -> bool:
        """Whether everybody was told, and nothing is left to be given back."""
        return self._release is None and not self._waiting

    def wait(self) -> Deferred[None]:
        """
        Wait for the end.

        @return: errbacks with what has ended the session, unless it was closed gracefully. Cancelling it aborts the
            session.
        """
        error = self._session.error
        if error is not None and self._release is None:
            return defer.succeed(None) if isinstance(error, SessionClosed) else defer.fail(error)
        deferred: Deferred[None] = Deferred(self._cancel)
        self._waiting = (*self._waiting, deferred)
        return deferred

    def _cancel(self, deferred: Deferred[None]) -> None:
        if deferred in self._waiting:  # else it is about to be told
            self._waiting = tuple(other for other in self._waiting if other is not deferred)
        self._session.abort("closing was cancelled")

    def over(self) -> None:
        """The session has ended: tell those who wait, unless there is a socket to be given back first."""
        if self._release is None:
            self._tell()

    def forgotten(self) -> None:
        """The core has nothing more to answer for the session."""
        if self._release is not None:
            maybeDeferred(self._release).addBoth(self._released)

    def _released(self, _: object) -> None:
        self._release = None
        self._tell()

    def _tell(self) -> None:
        error = self._session.error
        waiting, self._waiting = self._waiting, ()
        for deferred in waiting:
            if deferred.called:
                continue  # cancelled by whoever was told before
            if error is None or isinstance(error, SessionClosed):
                deferred.callback(None)
            else:
                deferred.errback(error)
