"""
What becomes of this host while a socket's starters have sessions: it moves, finds a way again, or has slept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

from hypermail.internet.routes import Routes
from hypermail.internet.wakings import Wakings, sleeplessClockOf

if TYPE_CHECKING:
    from hypermail.connection import Connection
    from hypermail.internet.life import SessionLife


class Surroundings:
    """
    Of one socket.

    @param sessions: that live on the socket.
    @param everywhere: whether it is bound to all addresses, so that its own may become another one.
    @param attend: called with each session whose core was told of something.
    """

    __slots__ = ("_attend", "_routes", "_seconds", "_sessions", "_wakings")

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        seconds: Callable[[], float],
        sessions: Mapping[Connection, SessionLife],
        everywhere: bool,
        attend: Callable[[SessionLife], None],
    ) -> None:
        self._seconds = seconds
        self._sessions = sessions
        self._attend = attend
        self._wakings = Wakings(reactor, sleeplessClockOf(reactor), self._woken)
        self._routes: Routes | None = None
        if everywhere:
            self._routes = Routes(reactor, seconds, self._peers, self._moved, self._returned)

    def watch(self) -> None:
        """There are sessions: begin to look, unless it is done already."""
        self._wakings.watch()
        if self._routes is not None:
            self._routes.watch()

    def stop(self) -> None:
        """There are none any more."""
        self._wakings.stop()
        if self._routes is not None:
            self._routes.stop()

    def suspect(self) -> None:
        """A peer cannot be reached, or says nothing: perhaps this host has moved."""
        if self._routes is not None:
            self._routes.suspect()

    def _peers(self) -> list[str]:
        return [connection.address[0] for connection in self._sessions]

    def _moved(self, peer: str, here: str) -> None:
        """This host reaches a peer from another address than before."""
        now = self._seconds()
        for session in list(self._sessions.values()):
            if session.connection.address[0] == peer:
                session.connection.moved(now=now)
                session.moved(here)
                self._attend(session)

    def _returned(self, peer: str) -> None:
        """There is a way to a peer again."""
        self._awaken([session for session in self._sessions.values() if session.connection.address[0] == peer])

    def _woken(self) -> None:
        self._log.info("this process has not run for a while; {count} peers are asked", count=len(self._sessions))
        self._awaken(list(self._sessions.values()))

    def _awaken(self, sessions: list[SessionLife]) -> None:
        now = self._seconds()
        for session in sessions:
            session.connection.awaken(now=now)
            self._attend(session)
