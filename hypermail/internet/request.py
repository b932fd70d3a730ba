"""
One request for a session, at whichever addresses its host has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from twisted.internet.error import CannotListenError
from twisted.logger import Logger
from twisted.python.failure import Failure

from hypermail.errors import SessionTimedOut, Unreachable
from hypermail.interfaces import ISessionFactory, ISessionProtocol
from hypermail.internet.address import HypermailAddress
from hypermail.internet.attempts import Attempts, HostAddress
from hypermail.internet.claiming import NameInUse
from hypermail.internet.sockets import Lease, StarterSocket
from hypermail.internet.whereabouts import Whereabouts
from hypermail.options import Options
from hypermail.session.journal import StoredSession


class SessionRequest:
    """
    A request for a session.

    However many addresses are asked, one session at most is what the protocol is told of.

    @ivar opened: whether it was told of one that the request has failed with: that one tells it its end.
    """

    _log = Logger()

    def __init__(
        self,
        host: str,
        addresses: list[HostAddress],
        options: Options,
        seconds: Callable[[], float],
        socket: Callable[[str], StarterSocket],
        protocol: ISessionProtocol,
        factory: ISessionFactory,
        whereabouts: Callable[[HostAddress, Lease], Whereabouts],
    ) -> None:
        """
        @param addresses: of the host, at least one, in the order in which they are asked.
        @param options: C{connection_timeout} is for all addresses together.
        @param socket: gives the socket that asks an IP address.
        @param protocol: of the session.
        @param factory: in use as long as a session that was asked for is not over.
        @param whereabouts: of the listener that was found at an address, asked from a leased socket.
        """
        self._host = host
        self._addresses = addresses
        self._options = options
        self._seconds = seconds
        self._socket = socket
        self._protocol = protocol
        self._factory = factory
        self._whereabouts = whereabouts
        self._end = seconds() + options.connection_timeout
        self.opened = False
        self._restored: dict[str, Any] = {}
        self._use: NameInUse | None = None

    def remember(
        self, name: str, stored: StoredSession | None, taken: Mapping[int, int], use: NameInUse | None
    ) -> None:
        """
        The session is one that a store may have.

        @param name: of it in the store.
        @param stored: what was kept of it. It looks for its listener itself, from the first address on.
        @param taken: what its application has taken.
        @param use: of the name, as long as a session that was asked for is not over and written down.
        """
        self._use = use
        self._restored = {"name": name, "stored": stored, "taken": taken}
        if stored is not None:
            del self._addresses[1:]

    async def session(self, reactor: Any) -> None:
        """
        Wait until the session is open.

        @raise SessionLost: when no address leads to one: that of the last that has failed.
        """
        attempts = self._attempts = Attempts(reactor, self._addresses, self._ask, self._passes)
        try:
            await attempts.first()
        except (Unreachable, SessionTimedOut) as error:
            if len(self._addresses) == 1:
                raise
            count = f"{attempts.tried} of {len(self._addresses)} addresses of {self._host} were tried"
            raise type(error)(f"{error.text}; {count}", error.code) from error

    def _passes(self, failure: Failure) -> bool:
        """An address where nobody is says nothing of the others; whatever else is said there is an answer."""
        if failure.check(Unreachable, SessionTimedOut) is None:
            return False
        if len(self._addresses) > 1:
            self._log.info("{host}: {reason}", host=self._host, reason=failure.getErrorMessage())
        if self._left() <= 0:
            self._attempts.noMore()
        return True

    async def _ask(self, address: HostAddress) -> None:
        try:
            socket = self._socket(address[0])
        except CannotListenError as error:
            raise Unreachable(f"{HypermailAddress(*address)} cannot be reached: {error.socketError}") from error
        self._factory.doStart()
        lease = socket.lease(self._factory.doStop)
        session = None
        try:
            session = socket.sessions.startSession(
                address,
                self._protocol,
                host=self._host,
                options=self._patience(),
                release=lease,
                whereabouts=self._whereabouts(address, lease),
                **self._restored,
            )
            if self._use is not None:
                self._use.join()
                session.whenWrittenDown(self._use.leave)
            await session.whenOpened()
        except BaseException as error:
            self.opened = self.opened or (session is not None and session.opened)
            closing = lease()
            if closing is not None:
                await closing
            if isinstance(error, SessionTimedOut) and len(self._addresses) > 1:
                raise SessionTimedOut(f"{HypermailAddress(*address)}: {error.text}", error.code) from error
            raise

    def _patience(self) -> Options:
        """Time: what is left of it, so that all attempts end together."""
        if len(self._addresses) == 1:
            return self._options
        return replace(self._options, connection_timeout=max(self._left(), 0.001))

    def _left(self) -> float:
        """s, rounded for people to read."""
        return round(self._end - self._seconds(), 3)
