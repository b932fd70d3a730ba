"""
A WSGI application (PEP 3333) as a cell's: it runs in threads of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from threading import Event, Thread
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool
from twisted.web.resource import Resource
from twisted.web.wsgi import WSGIResource

from hypermail.hive.cell.resource import MOST_BODY, ResourceApplication
from hypermail.hive.exchanges import Exchange

#: Requests that an application answers at once.
THREADS = 20
#: s that it may take to end when nobody waits for what it answers.
STOPPING = 5.0

_log = Logger()

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class WsgiApplication(ResourceApplication):
    """
    Has a WSGI application answer. It gets a request once its body is there; of the response it is held back, in its
    thread, while the client does not take it.

    @ivar threads: how many there are at most.
    """

    def __init__(self, application: Wsgi, *, threads: int = THREADS, most: int = MOST_BODY) -> None:
        """
        @param threads: how many there are at most.
        @param most: bytes of a request's body; longer ones are refused with 413.
        """
        self.threads = threads
        self._resource: Any = _WsgiRoot(application)
        super().__init__(self._resource, most=most, parseForms=False)

    def startApplication(self, reactor: Any, root: str) -> None:
        """See L{ResourceApplication}."""
        self._resource.reactor = reactor
        self._resource.threads = _Threads(0, self.threads, "WSGI")
        self._resource.threads.start()
        super().startApplication(reactor, root)

    def stopApplication(self) -> Deferred[None]:
        """See L{ResourceApplication}. Fires when the threads have ended, or does not wait for them any longer."""
        super().stopApplication()
        reactor, threads = self._resource.reactor, self._resource.threads
        stopped: Deferred[None] = Deferred(lambda _: None)

        def stop() -> None:  # off the reactor's thread: they may want something of it
            threads.stop()
            reactor.callFromThread(lambda: None if stopped.called else stopped.callback(None))

        Thread(target=stop, daemon=True).start()
        return stopped.addTimeout(STOPPING, reactor, onTimeoutCancel=_leaveBehind)


def _leaveBehind(_: object, seconds: float) -> None:
    _log.error("a WSGI application is still busy {seconds:.0f} s after its client is gone", seconds=seconds)


class _Threads(ThreadPool):
    """Threads that do not keep the program from ending."""

    threadFactory = partial(Thread, daemon=True)  # type: ignore[assignment]


class _WsgiRoot(Resource):
    isLeaf = True

    def __init__(self, application: Wsgi) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.reactor: Any = None
        self.threads: Any = None
        self._application = application

    def render(self, request: Any) -> Any:
        """See L{Resource}."""
        for name, _ in list(request.requestHeaders.getAllRawHeaders()):
            # What would become another header's variable, and what programs take for their own (httpoxy).
            if b"_" in name or name.lower() == b"proxy":
                request.requestHeaders.removeHeader(name)
        flowing = _Flowing(self._application, request.channel.exchange)
        return WSGIResource(self.reactor, self.threads, flowing).render(request)


class _Flowing:
    """
    An application for one request, held back while the client does not take what it writes.

    All but C{__call__} and what that returns is the reactor's thread's.
    """

    def __init__(self, application: Wsgi, exchange: Exchange) -> None:
        self._application = application
        self._open = Event()
        self._open.set()
        self._transport = exchange.connection.transport
        self._transport.registerProducer(self, True)
        exchange.whenOver().addCallback(self._over)

    def _over(self, answered: bool) -> None:
        self._open.set()
        if answered:
            self._transport.unregisterProducer()

    def pauseProducing(self) -> None:
        """See L{twisted.internet.interfaces.IPushProducer}."""
        self._open.clear()

    def resumeProducing(self) -> None:
        """See L{twisted.internet.interfaces.IPushProducer}."""
        self._open.set()

    def stopProducing(self) -> None:
        """See L{twisted.internet.interfaces.IPushProducer}."""
        self._open.set()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        environ["wsgi.input_terminated"] = True  # also where its length is not known

        def start(*arguments: Any) -> Callable[[bytes], None]:
            write = start_response(*arguments)

            def held(data: bytes) -> None:
                self._open.wait()
                write(data)

            return held

        return _Pieces(self._application(environ, start), self._open)


class _Pieces:
    """What an application returns: the next piece is asked for when there is room for it."""

    def __init__(self, pieces: Iterable[bytes], room: Event) -> None:
        self._pieces = pieces
        self._room = room

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            yield piece
            self._room.wait()

    def close(self) -> None:
        """See PEP 3333."""
        close = getattr(self._pieces, "close", None)
        if close is not None:
            close()
