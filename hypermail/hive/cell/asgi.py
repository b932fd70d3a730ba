"""
An ASGI 3 application as a cell's: HTTP with bodies as they come, both ways, WebSockets, and its lifespan.
"""

from __future__ import annotations

import asyncio
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from hypermail.errors import HypermailError, NotSupported, Reason
from hypermail.hive.band import End
from hypermail.hive.cell.application import CellApplication, answer
from hypermail.hive.cell.calls import Asgi, AsgiCall, Inbox, Message
from hypermail.hive.cell.heads import Pairs, length_of, lists_of, root_of, upgrade_of
from hypermail.hive.cell.loops import AsyncioLoop
from hypermail.hive.exchanges import Exchange

#: s that an application may take to begin, and to end.
STARTING, STOPPING = 60.0, 10.0
#: Calls at once; those of clients that are lost go on until the application returns.
MOST_CALLS = 10_000
#: Bytes of a message that a client sends by WebSocket.
MOST_MESSAGE = 16 << 20


class ApplicationFailed(HypermailError):
    """An application does not begin; the text has its reason."""

    default_code = Reason.INTERNAL_ERROR


class AsgiApplication(CellApplication):
    """Has an ASGI application answer, in the reactor's asyncio loop, or in one that has a thread of its own."""

    def __init__(self, application: Asgi, *, mostMessage: int = MOST_MESSAGE) -> None:
        """@param mostMessage: bytes of a message that a client sends by WebSocket."""
        self._application = application
        self._mostMessage = mostMessage
        self._root = ""
        self._calls = 0
        self._leaving = False
        self._sockets: dict[Any, None] = {}
        self._reactor: Any = None
        self._loop: Any = None
        self._lifespan: Any = None

    async def startApplication(self, reactor: Any, root: str) -> None:
        """
        See L{CellApplication}.

        @raise ApplicationFailed: when the application says so, or nothing for L{STARTING} s.
        """
        self._root = root
        self._reactor = reactor
        self._leaving = False
        self._loop = AsyncioLoop(reactor)
        self._loop.start()
        self._lifespan = _Lifespan(reactor, self._loop)
        try:
            await self._lifespan.start(self._application)
        except BaseException:
            self._loop.stop()
            raise

    def leaveApplication(self) -> None:
        """See L{CellApplication}: WebSockets are closed."""
        self._leaving = True
        for call in list(self._sockets):
            call.goAway()

    async def stopApplication(self) -> None:
        """See L{CellApplication}."""
        await self._lifespan.stop()
        await self._loop.stop().addTimeout(STOPPING, self._reactor, onTimeoutCancel=lambda *_: None)

    def __call__(self, exchange: Exchange) -> None:
        """See L{CellApplication}."""
        if self._calls >= MOST_CALLS:
            answer(exchange, 503)
            return
        call: AsgiCall
        if upgrade_of(exchange.head) == "websocket" and exchange.connection.extended:
            try:
                from hypermail.hive.cell.websocket import WebSocketCall, refusal
            except ImportError:
                raise NotSupported("WebSockets need wsproto: pip install 'hypermail[hive]'") from None
            wrong = refusal(exchange.head)
            if wrong:
                answer(exchange, 400, wrong)
                return
            if self._leaving:
                answer(exchange, 503)
                return
            call = WebSocketCall(self._reactor, self._loop, exchange, self._mostMessage)
            self._sockets[call] = None
            exchange.whenOver().addCallback(lambda _: self._sockets.pop(call))
        else:
            call = _HttpCall(self._loop, exchange)
        self._calls += 1
        call.begin(self._application, call.scope(root_of(exchange.head, self._root), self._lifespan.state), self._done)

    def _done(self) -> None:
        self._calls -= 1


class _Lifespan:
    """The application's beginning and end. @ivar state: what it wants each request to have."""

    _log = Logger()

    def __init__(self, reactor: Any, loop: AsyncioLoop) -> None:
        self.state: Message = {}
        self._reactor = reactor
        self._loop = loop
        self._inbox = Inbox()
        self._begun: Deferred[None] = Deferred()
        self._ended: Deferred[None] = Deferred()

    async def start(self, application: Asgi) -> None:
        """@raise ApplicationFailed: when it has failed."""
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}

        async def call() -> None:
            await application(scope, self._inbox.get, self._send)

        self._loop.run(call(), self._returned)
        self._loop.call(self._inbox.put, {"type": "lifespan.startup"})
        self._begun.addTimeout(STARTING, self._reactor, onTimeoutCancel=_tooSlow)
        await self._begun

    async def stop(self) -> None:
        """Fires soon, whatever it does."""
        self._loop.call(self._inbox.put, {"type": "lifespan.shutdown"})
        self._ended.addTimeout(STOPPING, self._reactor, onTimeoutCancel=lambda *_: None)
        await self._ended

    async def _send(self, message: Message) -> None:
        self._loop.back(self._say, message)

    def _say(self, message: Message) -> None:
        kind, text = message.get("type"), str(message.get("message", ""))
        if kind == "lifespan.startup.complete":
            self._begin()
        elif kind == "lifespan.startup.failed":
            if not self._begun.called:
                self._begun.errback(ApplicationFailed(f"the application does not begin: {text}"))
        elif kind in ("lifespan.shutdown.complete", "lifespan.shutdown.failed"):
            if kind.endswith("failed"):
                self._log.error("the application has not ended in order: {text}", text=text)
            self._end()

    def _returned(self, failure: Failure | None) -> None:
        """Applications that know nothing of this fail, and so do some that have begun."""
        if failure is not None and self._begun.called and not failure.check(asyncio.CancelledError):
            self._log.failure("the application's lifespan has failed", failure)
        self._begin()
        self._end()

    def _begin(self) -> None:
        if not self._begun.called:
            self._begun.callback(None)

    def _end(self) -> None:
        if not self._ended.called:
            self._ended.callback(None)


def _tooSlow(_: object, seconds: float) -> Failure:
    return Failure(ApplicationFailed(f"the application has not begun for {seconds:.0f} s"))


class _HttpCall(AsgiCall):
    """A request, and its response."""

    KIND = "http"

    def __init__(self, loop: AsyncioLoop, exchange: Exchange) -> None:
        super().__init__(loop, exchange)
        self._asked = False  # in the loop: for the body
        self._reading = False  # whether the queen was asked for it
        self._start: Message | None = None  # the head, once the application has said it
        self._trailers: Pairs | None = None  # where it wants to say some

    def scope(self, root: str, state: Message) -> Message:
        """See L{AsgiCall}."""
        found = super().scope(root, state)
        extensions: Message = {"http.response.trailers": {}} if self.exchange.connection.extended else {}
        return {**found, "method": self.exchange.head.method, "extensions": extensions}

    # The body

    async def receive(self) -> Message:
        """See L{AsgiCall}. The body is asked for when it is wanted, or when the response begins."""
        if not self._asked:
            self._asked = True
            self._loop.back(self._ask)
        return await super().receive()

    def _ask(self) -> None:
        if self.exchange.over or self._reading:
            return
        self._reading = True
        if length_of(self.exchange.head) == 0:
            self.bodyEnded(End({}))
        else:
            self.exchange.read(self)

    def dataReceived(self, data: bytes) -> None:
        """See L{hypermail.hive.exchanges.Reader}."""
        self.tell({"type": "http.request", "body": data, "more_body": True})

    def bodyEnded(self, end: End) -> None:
        """See L{hypermail.hive.exchanges.Reader}."""
        self.tell({"type": "http.request", "body": b"", "more_body": False})

    def lost(self) -> None:
        """See L{hypermail.hive.exchanges.Reader}; C{over} is called, too."""

    def over(self, answered: bool) -> None:
        """See L{AsgiCall}."""
        if answered and self.exchange.begun:
            self.exchange.connection.transport.unregisterProducer()
        self.tellLast({"type": "http.disconnect"})

    # The response

    def say(self, message: Message) -> None:
        """See L{AsgiCall}."""
        kind = message["type"]
        if self.exchange.over:
            raise ConnectionResetError("the response has ended, or the client is lost")
        if kind == "http.response.start" and self._start is None:
            status = message["status"]
            if not isinstance(status, int) or not 200 <= status <= 599:
                raise ValueError(f"{status!r} is no status of a response")
            lists_of(message.get("headers", ()))
            self._start = message
            self._trailers = [] if message.get("trailers") else None
        elif kind == "http.response.body" and self._start is not None:
            self._body(self._start, bytes(message.get("body", b"")), bool(message.get("more_body", False)))
        elif kind == "http.response.trailers" and self._trailers is not None and self.exchange.begun:
            self._trailers += [(bytes(name), bytes(value)) for name, value in message.get("headers", ())]
            if not message.get("more_trailers", False):
                self.exchange.end(lists_of(self._trailers))
        else:
            raise RuntimeError(f"{kind} has no place here")

    def _body(self, start: Message, data: bytes, more: bool) -> None:
        bodiless = self.exchange.head.method == "HEAD" or start["status"] in (204, 304)
        if not self.exchange.begun:
            headers = dict(lists_of(start.get("headers", ())))
            if more or self._trailers is not None:
                self._ask()  # it may want the body later, and the queen could not be asked for it then
            elif not bodiless:
                headers.setdefault("content-length", (str(len(data)),))
            self.exchange.respond(start["status"], headers)
            self.exchange.connection.transport.registerProducer(self, True)
        if not bodiless:
            self.exchange.write(data)
        if not more and self._trailers is None:
            self.exchange.end()
