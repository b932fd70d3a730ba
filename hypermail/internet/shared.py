"""
The session that a program's stream endpoints share: one to each destination, as long as any stream needs it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IProtocol, IProtocolFactory
from twisted.python.failure import Failure

from hypermail.interfaces import ISessionProtocol
from hypermail.internet.address import HypermailAddress
from hypermail.internet.protocol import SessionFactory, SessionProtocol
from hypermail.internet.reasons import connectFailure
from hypermail.internet.session import Session
from hypermail.session.states import State

if TYPE_CHECKING:
    from hypermail.internet.endpoints import SessionClientEndpoint


class _AskedSession(SessionProtocol):
    """
    A starter's session that streams share.

    @param lost: called when it is over.
    """

    def __init__(self, lost: Callable[[], None]) -> None:
        self._lost = lost

    def sessionLost(self, reason: Failure) -> None:
        """See L{SessionProtocol}."""
        self._lost()


class SharedSession:
    """
    The one session to a destination.

    It is asked for when the first stream is wanted, and closed some time after the last one is over.

    @ivar users: streams that are wanted, open or about to be.
    """

    def __init__(self, reactor: Any, endpoint: SessionClientEndpoint, registry: dict[object, SharedSession]) -> None:
        self._reactor = reactor
        self._endpoint = endpoint
        self._registry = registry
        self._keep = 0.0
        self._closing: IDelayedCall | None = None  # while it is kept unused
        self._connecting: Deferred[None] | None = None
        self._session: Session | None = None
        self._waiting: list[Deferred[Session]] = []
        self.users = 0
        registry[endpoint.key] = self

    @property
    def usable(self) -> bool:
        """Whether it still takes new streams; one that waits for a link would keep them waiting."""
        if self._session is None:
            return True
        connection = self._session.connection
        return connection.state is State.OPEN and connection.linked

    def connect(self, factory: IProtocolFactory, name: bytes, keep: float) -> Deferred[IProtocol]:
        """
        See L{HypermailClientEndpoint.connect}.

        @param name: of the stream.
        @param keep: s that the session stays when it is unused; the longest that any of its users wishes.
        """
        self._keep = max(self._keep, keep)
        self._stay()
        connecting = Deferred.fromCoroutine(self._connect(factory, name))
        return connecting.addErrback(connectFailure, HypermailAddress(self._endpoint.host, self._endpoint.port))

    async def _connect(self, factory: IProtocolFactory, name: bytes) -> IProtocol:
        self.users += 1
        try:
            session = await self._opened()
        except BaseException:
            self._leave()
            raise
        return await session.traffic.streams.open(factory, name, None, self._leave)

    def _opened(self) -> Deferred[Session]:
        if self._session is not None:
            return defer.succeed(self._session)
        deferred: Deferred[Session] = Deferred(self._waiting.remove)
        self._waiting.append(deferred)
        if self._connecting is None:
            factory = SessionFactory.forProtocol(partial(_AskedSession, self._lost))
            factory.noisy = False
            self._connecting = self._endpoint.connect(factory).addCallbacks(self._connected, self._failed)
        return deferred

    def _connected(self, protocol: ISessionProtocol) -> None:
        session = protocol.session
        assert isinstance(session, Session)  # ours, from our own endpoint
        self._session = session
        while self._waiting:
            self._waiting.pop(0).callback(session)

    def _failed(self, failure: Failure) -> None:
        self._forget()
        while self._waiting:
            self._waiting.pop(0).errback(failure)

    def _leave(self) -> None:
        """A stream is over, or is not wanted any more."""
        self.users -= 1
        self._closeIfUnused()

    def _closeIfUnused(self) -> None:
        if self.users:
            return
        if self._keep and self._session is not None and self.usable:
            self._stay()
            self._closing = self._reactor.callLater(self._keep, self._close)
        else:
            self._close()

    def _stay(self) -> None:
        """It is not to be closed, for now."""
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None

    def _lost(self) -> None:
        self._stay()
        self._forget()

    def _close(self) -> None:
        self._closing = None
        self._forget()
        if self._session is not None and not self._session.connection.linked:
            self._session.abort()  # nothing of it is wanted any more, and nobody hears a close
        elif self._session is not None:
            self._session.close().addErrback(lambda _: None)  # how it ends concerns nobody, and is in the log
        elif self._connecting is not None:
            self._connecting.cancel()

    def _forget(self) -> None:
        if self._registry.get(self._endpoint.key) is self:
            del self._registry[self._endpoint.key]


_registries: WeakKeyDictionary[Any, dict[object, SharedSession]] = WeakKeyDictionary()


def sharedSession(reactor: Any, endpoint: SessionClientEndpoint) -> SharedSession:
    """The session of a reactor's that this endpoint would ask for, or one that it will ask for."""
    registry = _registries.setdefault(reactor, {})
    shared = registry.get(endpoint.key)
    if shared is None or not shared.usable:
        shared = SharedSession(reactor, endpoint, registry)
    return shared
