"""
One call of an ASGI application: what passes between the reactor's thread, where the exchange is, and the loop's, where
the application is. Both directions have limits: bodies wait at the queen, applications in C{send}.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from twisted.logger import Logger
from twisted.python.failure import Failure

from hypermail.hive.cell.application import give_up
from hypermail.hive.cell.heads import client_of, pairs_of, scheme_of, server_of, target_of
from hypermail.hive.cell.loops import AsyncioLoop
from hypermail.hive.exchanges import Exchange

#: Bytes that an application has not received yet, above which nothing more is read, and below which it is again.
HIGH, LOW = 256 << 10, 64 << 10
#: Bytes that a message counts besides what it carries.
_OVERHEAD = 256

Message = dict[str, Any]
Asgi = Callable[[Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Any]


class Inbox:
    """What an application receives. Of the loop's thread."""

    def __init__(self) -> None:
        self._messages: deque[Message] = deque()
        self._last: Message | None = None
        self._some = asyncio.Event()

    def put(self, message: Message) -> None:
        """One more."""
        if self._last is None:
            self._messages.append(message)
            self._some.set()

    def close(self, message: Message) -> None:
        """The last one, which is received again and again."""
        if self._last is None:
            self._last = message
            self._some.set()

    async def get(self) -> Message:
        """The next one."""
        while not self._messages:
            if self._last is not None:
                return self._last
            self._some.clear()
            await self._some.wait()
        return self._messages.popleft()


class AsgiCall:
    """
    @ivar sent: whether the application may say nothing more.
    """

    KIND = ""
    _log = Logger()

    def __init__(self, loop: AsyncioLoop, exchange: Exchange) -> None:
        self.exchange = exchange
        self.inbox = Inbox()
        self._loop = loop
        self._size = 0  # bytes that are not received yet
        self._paused = False
        self._held: list[asyncio.Future[None]] | None = None  # who waits to send, while the client does not take it
        exchange.whenOver().addCallback(self._over)

    def scope(self, root: str, state: Message) -> Message:
        """What the application learns of the request."""
        head = self.exchange.head
        target = target_of(head)
        raw, _, query = target.partition("?")
        return {
            "type": self.KIND,
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "2" if head.protocol_major == 2 else f"{head.protocol_major or 1}.{head.protocol_minor}",
            "scheme": scheme_of(head),
            "path": root + (head.path if head.path.startswith("/") else "/" + head.path),
            "raw_path": (root + raw).encode(),
            "query_string": query.encode(),
            "root_path": root,
            "headers": pairs_of(head.headers),
            "client": list(client_of(head)),
            "server": list(server_of(head)),
            "state": state.copy(),
        }

    def begin(self, application: Asgi, scope: Message, done: Callable[[], object]) -> None:
        """Call the application. @param done: called when it has returned."""

        def ended(failure: Failure | None) -> None:
            done()
            self.ended(failure)

        async def call() -> None:
            await application(scope, self.receive, self.send)

        self._loop.run(call(), ended)

    def ended(self, failure: Failure | None) -> None:
        """The application has returned. What it had still to say is not said."""
        head = self.exchange.head
        if failure is not None:
            lost = self.exchange.over and failure.check(ConnectionError, asyncio.CancelledError)
            if not lost:
                self._log.failure("{method} {path} has failed", failure, method=head.method, path=head.path)
        elif not self.exchange.over:
            self._log.error("{method} {path}: the application has not finished", method=head.method, path=head.path)
        if not self.exchange.over:
            give_up(self.exchange, 500)

    # In the loop: what the application calls

    async def receive(self) -> Message:
        """See ASGI."""
        message = await self.inbox.get()
        size = self.size_of(message)
        if size:
            self._loop.back(self._took, size)
        return message

    async def send(self, message: Message) -> None:
        """
        See ASGI.

        @raise OSError: when the client is lost.
        """
        if not isinstance(message, dict) or not isinstance(message.get("type"), str):
            raise TypeError("a message is a dict with a type")
        said: asyncio.Future[None] = self._loop.loop.create_future()
        self._loop.back(self._send, message, said)
        await said

    # In the reactor's thread

    def size_of(self, message: Message) -> int:
        """Bytes that a message counts."""
        return len(message.get("body") or message.get("bytes") or message.get("text") or b"") + _OVERHEAD

    def tell(self, message: Message) -> None:
        """Give the application a message."""
        self._size += self.size_of(message)
        if self._size > HIGH and not self._paused:
            self._paused = True
            self.exchange.connection.pauseProducing()
        self._loop.call(self.inbox.put, message)

    def tellLast(self, message: Message) -> None:
        """Nothing follows."""
        self._loop.call(self.inbox.close, message)

    def _took(self, size: int) -> None:
        self._size -= size
        if self._size < LOW and self._paused:
            self._paused = False
            if not self.exchange.over:  # otherwise the band is somebody else's
                self.exchange.connection.resumeProducing()

    def say(self, message: Message) -> None:
        """Do what the application says. @raise Exception: it is told."""
        raise NotImplementedError

    def over(self, answered: bool) -> None:
        """The response has ended, or the client is lost."""
        raise NotImplementedError

    def _send(self, message: Message, said: asyncio.Future[None]) -> None:
        try:
            self.say(message)
        except Exception as error:
            self._loop.call(_settle, said, error)
            return
        if self._held is None or self.exchange.over:
            self._loop.call(_settle, said, None)
        else:
            self._held.append(said)

    def _over(self, answered: bool) -> None:
        self.resumeProducing()
        self.over(answered)

    # For the band's transport, once it is a producer

    def pauseProducing(self) -> None:
        """See L{twisted.internet.interfaces.IPushProducer}."""
        if self._held is None:
            self._held = []

    def resumeProducing(self) -> None:
        """See L{twisted.internet.interfaces.IPushProducer}."""
        held, self._held = self._held, None
        for one in held or ():
            self._loop.call(_settle, one, None)

    def stopProducing(self) -> None:
        """See L{twisted.internet.interfaces.IPushProducer}; the exchange tells that it is over, too."""


def _settle(future: asyncio.Future[None], error: Exception | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
