"""
Threads for what blocks: disks, and hashing what is large.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred, succeed
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

T = TypeVar("T")


class Run(Protocol):
    """Runs a job off the reactor's thread: a L{Deferred} of what it returns or raises."""

    def __call__(self, job: Callable[[], T], /) -> Deferred[T]: ...


class Workers:
    """
    A few threads of our own, so that a slow disk holds up nobody's name resolution.

    @param reactor: L{twisted.internet.interfaces.IReactorFromThreads}.
    @param threads: at most so many; made when there is work.
    """

    def __init__(self, reactor: Any, threads: int = 4, name: str = "hypermail") -> None:
        self._reactor = reactor
        self._pool = ThreadPool(0, threads, name=name)
        self._running = 0
        self._stopping: Deferred[None] | None = None

    def start(self) -> None:
        """Jobs may come."""
        self._pool.start()

    def run(self, job: Callable[[], T], /) -> Deferred[T]:
        """Run a job; see L{Run}. The order of jobs is not kept."""
        self._running += 1
        return deferToThreadPool(self._reactor, self._pool, job).addBoth(self._done)

    def _done(self, result: T) -> T:
        self._running -= 1
        if not self._running and self._stopping is not None:
            # After the callbacks of this result, which may bring another job.
            self._reactor.callLater(0, self._stopWhenIdle)
        return result

    def stop(self) -> Deferred[None]:
        """A L{Deferred} that fires when all jobs, those they bring included, are done and the threads gone."""
        if not self._pool.started:
            return succeed(None)
        if self._stopping is None:
            self._stopping = Deferred(lambda _: self._pool.stop())
            self._stopWhenIdle()
        return self._stopping

    def _stopWhenIdle(self) -> None:
        if not self._running and self._pool.started and self._stopping is not None:
            self._pool.stop()
            self._stopping.callback(None)
