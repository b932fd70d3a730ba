"""
The reactor of a command: runs until one coroutine is done, and gives its result.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import (
    FilteringLogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    globalLogBeginner,
    textFileLogObserver,
)
from twisted.python.failure import Failure

T = TypeVar("T")


class Interrupted(Exception):
    """
    A signal has ended the command.

    @ivar signal: which.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.signal = number


def runReactor(work: Callable[[Any], Coroutine[Any, Any, T]]) -> T:
    """
    Run the global reactor until some work is done.

    When the reactor is stopped, by a signal, the work is cancelled, and has until it is through with that.

    @param work: given the reactor, the coroutine to run.
    @return: what it returns; what it raises is raised.
    @raise Interrupted: when it did not come to its end.
    """
    from twisted.internet import reactor

    _logErrorsOnly()
    running = _Running(reactor, work)
    running.run()
    result: T = running.result()
    return result


def _logErrorsOnly() -> None:
    observer = FilteringLogObserver(
        textFileLogObserver(sys.stderr), [LogLevelFilterPredicate(defaultLogLevel=LogLevel.error)]
    )
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False, discardBuffer=True)


class _Running:
    def __init__(self, reactor: Any, work: Callable[[Any], Coroutine[Any, Any, Any]]) -> None:
        self._reactor = reactor
        self._work = work
        self._working: Deferred[Any] | None = None
        self._over: Deferred[None] = Deferred()
        self._stopping = False
        self._result: Any = None

    def run(self) -> None:
        self._reactor.callWhenRunning(self._begin)
        self._reactor.addSystemEventTrigger("before", "shutdown", self._stop)
        self._reactor.run()

    def _begin(self) -> None:
        self._working = Deferred.fromCoroutine(self._work(self._reactor))
        self._working.addBoth(self._done)

    def _done(self, result: object) -> None:
        self._result = result
        if self._stopping:
            self._over.callback(None)
        else:
            self._stopping = True
            self._over.callback(None)
            self._reactor.stop()

    def _stop(self) -> Deferred[None] | None:
        """The reactor stops: because the work is done, or because of a signal."""
        if self._stopping:
            return None
        self._stopping = True
        if self._working is None:
            return None
        self._working.cancel()
        return self._over

    def result(self) -> Any:
        result = self._result
        if isinstance(result, Failure):
            if result.check(CancelledError):
                raise Interrupted(getattr(self._reactor, "_exitSignal", None) or signal.SIGINT)
            result.raiseException()
        if not self._over.called:
            raise Interrupted(signal.SIGINT)
        return result
