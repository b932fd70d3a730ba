"""
An asyncio loop for applications that need one: that of the reactor, if it has one, else one in a thread of its own.

What crosses over between both does so in order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from threading import Thread
from typing import Any

from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure


async def _contained(coroutine: Coroutine[Any, Any, Any]) -> None:
    """Run it. What would end a program ends this alone: asyncio lets it end the loop, and all that runs there."""
    try:
        await coroutine
    except (SystemExit, KeyboardInterrupt) as error:
        raise RuntimeError(f"the application has raised {type(error).__name__}") from error


class AsyncioLoop:
    """@param reactor: whose thread calls all of this but C{back}."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._own = not isinstance(reactor, AsyncioSelectorReactor)
        self.loop: asyncio.AbstractEventLoop = asyncio.new_event_loop() if self._own else reactor._asyncioEventloop
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ended: Deferred[None] = Deferred()

    def start(self) -> None:
        """Begin."""
        if self._own:
            Thread(target=self._main, name="asyncio", daemon=True).start()

    def stop(self) -> Deferred[None]:
        """Cancel what runs. @return: fires when that is done."""
        self.call(self._cancel)
        return self._ended if self._own else succeed(None)

    def run(self, coroutine: Coroutine[Any, Any, Any], done: Callable[[Failure | None], object]) -> None:
        """
        Run a coroutine in the loop.

        @param done: called in the reactor's thread, with a failure or None.
        """
        self.call(self._run, coroutine, done)

    def call(self, function: Callable[..., object], *arguments: Any) -> None:
        """Call something in the loop, later; nothing when that has ended."""
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(function, *arguments)

    def back(self, function: Callable[..., object], *arguments: Any) -> None:
        """Of the loop: call something in the reactor's thread, later."""
        self._reactor.callFromThread(function, *arguments)

    # In the loop

    def _run(self, coroutine: Coroutine[Any, Any, Any], done: Callable[[Failure | None], object]) -> None:
        task = self.loop.create_task(_contained(coroutine))
        self._tasks.add(task)  # asyncio itself does not keep it

        def ended(task: asyncio.Task[Any]) -> None:
            self._tasks.discard(task)
            error = asyncio.CancelledError() if task.cancelled() else task.exception()
            self.back(done, None if error is None else Failure(error))

        task.add_done_callback(ended)

    def _cancel(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._own:
            self.loop.create_task(self._end(list(self._tasks)))

    async def _end(self, tasks: list[asyncio.Task[Any]]) -> None:
        if tasks:
            await asyncio.wait(tasks, timeout=5.0)  # one may refuse to be cancelled
        await self.loop.shutdown_asyncgens()
        self.loop.stop()

    def _main(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
        self.loop.close()
        self.back(self._ended.callback, None)
