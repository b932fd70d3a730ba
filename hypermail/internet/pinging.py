"""
A session's pings: who waits for which answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from twisted.internet import defer
from twisted.internet.defer import Deferred

from hypermail.errors import HypermailError

if TYPE_CHECKING:
    from hypermail.connection import Connection


class PingsUser(Protocol):
    """What pings need of their session."""

    connection: Connection

    def seconds(self) -> float:
        """The time that the core is told."""

    def touch(self) -> None:
        """The core has something new to send."""


class Pings:
    """Our pings, whose answers come in the order in which they were sent."""

    __slots__ = ("_session", "_waiting")

    def __init__(self, session: PingsUser) -> None:
        self._session = session
        self._waiting: list[Deferred[float]] = []

    def ping(self) -> Deferred[float]:
        """See L{ISession.ping}."""
        session = self._session
        try:
            session.connection.ping(now=session.seconds())
        except HypermailError as error:
            return defer.fail(error)
        # A ping cannot be taken back: when it was cancelled its answer finds that it was.
        deferred: Deferred[float] = Deferred(lambda _: None)
        self._waiting.append(deferred)
        session.touch()
        return deferred

    def answered(self, elapsed: float) -> None:
        """The first of them has its answer. @param elapsed: s."""
        if self._waiting:
            deferred = self._waiting.pop(0)
            if not deferred.called:
                deferred.callback(elapsed)

    def lost(self, error: HypermailError) -> None:
        """None of them will have an answer."""
        while self._waiting:
            deferred = self._waiting.pop(0)
            if not deferred.called:
                deferred.errback(error)
