"""
One request for a session, at whichever addresses its host has.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from twisted.internet.defer import maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.logger import Logger
from twisted.python.failure import Failure

from hypermail.dialects.dialect import Dialect
from hypermail.errors import Reason, SessionReset, SessionTimedOut, StoreFailed, Unreachable
from hypermail.interfaces import ISessionFactory, ISessionProtocol, ISessionStore
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
        options: Options | Dialect,
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
        self._alone = len(addresses) == 1  # so that one attempt has all of the time
        self.opened = False
        self._restored: dict[str, Any] = {}
        self._use: NameInUse | None = None

    async def durableSession(self, reactor: Any, store: ISessionStore, name: str, use: NameInUse) -> None:
        """
        The same of a session that a store may have.

        One that has been open is open at once, and looks for its listener itself, from the first address on.

        @param name: of it in the store.
        @param use: of the name, as long as a session that was asked for is not over and written down.
        @raise StoreFailed: when the store fails.
        """
        self._use = use
        self._restored = {"name": name}
        stored = await store.named(name)
        if stored is not None and stored.opened:
            await self._restore(stored)
            del self._addresses[1:]
            self._alone = True
        elif stored is not None and await self._openKnown(stored, store, name):
            return
        await self.session(reactor)

    async def _restore(self, stored: StoredSession) -> None:
        taken = await maybeDeferred(self._protocol.messagesTaken, stored.identity.id)
        self._restored.update(stored=stored, taken=taken)

    async def _openKnown(self, stored: StoredSession | None, store: ISessionStore, name: str) -> bool:
        """
        A session was asked for, and the answer never noted. Ask the listener whether it has it, as something in it may
        have been promised then; at one address after the other, as there is one such session only.

        @return: whether it is open now; if not nobody knows it, and a new one takes its name.
        @raise SessionLost: when the listener cannot be reached, or does not want it.
        """
        for left in range(len(self._addresses), 0, -1):
            if stored is None:
                break
            await self._restore(stored)
            try:
                await self._ask(self._addresses[-left], max(self._left() / left, 0.001))
                return True
            except (Unreachable, SessionTimedOut, SessionReset) as error:
                if error.code == Reason.SESSION_UNKNOWN:
                    break
                if left == 1:
                    raise
            stored = await store.named(name)
        self._restored = {"name": name}
        self._alone = False
        return False

    async def session(self, reactor: Any) -> None:
        """
        Wait until the session is open.

        @raise SessionLost: when no address leads to one: that of the last that has failed.
        """
        if len(self._addresses) == 1:
            await self._ask(self._addresses[0])
            return
        attempts = self._attempts = Attempts(reactor, self._addresses, self._ask, self._passes)
        try:
            await attempts.first()
        except (Unreachable, SessionTimedOut) as error:
            count = f"{attempts.tried} of {len(self._addresses)} addresses of {self._host} were tried"
            raise type(error)(f"{error.text}; {count}", error.code) from error
        finally:
            del self._attempts  # which know the request, and with it the session

    def _passes(self, failure: Failure) -> bool:
        """An address where nobody is says nothing of the others; whatever else is said there is an answer."""
        # The store has one session of a name: if it has that of another address, that one may still open.
        if failure.check(Unreachable, SessionTimedOut, StoreFailed) is None:
            return False
        self._log.info("{host}: {reason}", host=self._host, reason=failure.getErrorMessage())
        if self._left() <= 0:
            self._attempts.noMore()
        return True

    async def _ask(self, address: HostAddress, patience: float | None = None) -> None:
        """@param patience: s for this address alone; None for what is left, for all of them."""
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
                options=self._patience(patience),
                release=lease,
                whereabouts=self._whereabouts(address, lease),
                **self._restored,
            )
            if self._use is not None:
                self._use.join()
                session.writing.whenDone(self._use.leave)
            await session.whenOpened()
        except BaseException as error:
            self.opened = self.opened or (session is not None and session.opened)
            closing = lease()
            if closing is not None:
                await closing
            if isinstance(error, SessionTimedOut) and len(self._addresses) > 1:
                raise SessionTimedOut(f"{HypermailAddress(*address)}: {error.text}", error.code) from error
            raise

    def _patience(self, patience: float | None) -> Options | Dialect:
        """Time: what is left of it, so that all attempts end together."""
        if patience is None and self._alone:
            return self._options
        return replace(self._options, connection_timeout=patience or max(self._left(), 0.001))

    def _left(self) -> float:
        """s, rounded for people to read."""
        return round(self._end - self._seconds(), 3)
