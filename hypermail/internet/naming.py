"""
Streams by their names: which factory takes which, also those that come before the application is ready.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, IProtocolFactory

from hypermail.errors import Reason, StreamRejected, UsageError
from hypermail.events import StreamOptions
from hypermail.interfaces import Answer, ISessionProtocol
from hypermail.internet.address import HypermailAddress
from hypermail.internet.protocol import SessionFactory, SessionProtocol


class NamedStreams(SessionFactory):
    """
    Sessions, each of whose streams becomes a protocol of the factory that serves its name.

    It is a L{SessionFactory} for listeners and starters alike; a session protocol of one's own may ask it by
    L{opened} in its C{streamOpened}. A stream whose name nobody serves is rejected with
    L{Reason.STREAM_NAME_UNKNOWN}; until L{ready} was called it waits, together with what its opener writes, as far as
    C{Options.stream_window} and C{Options.max_streams} let it.
    """

    noisy = False

    def __init__(self, factories: Mapping[bytes, IProtocolFactory] | None = None, *, ready: bool = True) -> None:
        """
        @param factories: name to what serves it; the empty name is that of the streams of L{HypermailClientEndpoint}s.
        @param ready: whether these are all; otherwise L{serve} them, and call L{ready}.
        """
        self._factories: dict[bytes, IProtocolFactory] = dict(factories or {})
        self._isReady = ready
        self._waiting: dict[bytes, dict[Deferred[IProtocol | None], Any]] = {}

    def serve(self, name: bytes, factory: IProtocolFactory) -> None:
        """
        From now on this factory takes the streams of a name; first of all those that wait.

        @raise UsageError: when somebody does already.
        """
        if name in self._factories:
            raise UsageError(f"streams called {name!r} are served already, by {self._factories[name]!r}")
        self._factories[name] = factory
        if self.numPorts:
            factory.doStart()
        while name in self._waiting:
            waiting, address = self._next(name)
            try:
                protocol = factory.buildProtocol(address)
            except Exception:
                waiting.errback()
            else:
                waiting.callback(protocol)

    def ready(self) -> None:
        """Every name is served that is going to be: streams that still wait are rejected, and later ones at once."""
        self._isReady = True
        while self._waiting:
            name = next(iter(self._waiting))
            self._next(name)[0].errback(_unknown(name))

    def opened(self, name: bytes, address: Any) -> Answer[IProtocol | None]:
        """
        The answer to a peer that opens a stream, as of L{ISessionProtocol.streamOpened}.

        @param address: the peer's.
        @raise StreamRejected: when nobody serves streams of this name.
        """
        factory = self._factories.get(name)
        if factory is not None:
            return factory.buildProtocol(address)
        if self._isReady:
            raise _unknown(name)
        waiting: Deferred[IProtocol | None] = Deferred(partial(self._leave, name))
        self._waiting.setdefault(name, {})[waiting] = address
        return waiting

    def _leave(self, name: bytes, waiting: Deferred[IProtocol | None]) -> Any:
        """One waits no more. @return: the peer's address."""
        streams = self._waiting[name]
        address = streams.pop(waiting)
        if not streams:
            del self._waiting[name]
        return address

    def _next(self, name: bytes) -> tuple[Deferred[IProtocol | None], Any]:
        """The first that waits, and does no more; one at a time, as what is done with it may have others give up."""
        waiting = next(iter(self._waiting[name]))
        return waiting, self._leave(name, waiting)

    def startFactory(self) -> None:
        """The streams' factories are in use, too."""
        for factory in self._factories.values():
            factory.doStart()

    def stopFactory(self) -> None:
        """... and no longer."""
        for factory in self._factories.values():
            factory.doStop()

    def buildProtocol(self, address: HypermailAddress) -> ISessionProtocol:
        """See L{SessionFactory}."""
        return _NamedSession(self)


class _NamedSession(SessionProtocol):
    """
    @param names: who serves which streams.
    """

    def __init__(self, names: NamedStreams) -> None:
        self._names = names

    def streamOpened(self, name: bytes, options: StreamOptions) -> Answer[IProtocol | None]:
        """See L{SessionProtocol}."""
        return self._names.opened(name, self.session.getPeer())


def _unknown(name: bytes) -> StreamRejected:
    text = f"no stream is called {name[:64]!r} here" if name else "streams need a name here"
    return StreamRejected(text, Reason.STREAM_NAME_UNKNOWN)
