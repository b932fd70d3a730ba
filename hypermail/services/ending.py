"""
How a program under C{twistd} or C{twist} says that it cannot start: one line, exit code 1, no traceback.

Twisted's runners know only one way to learn of it: an exception of C{startService}. They clean up (the
pid file, the pipe that a daemon's parent waits on), raise it again, and Python ends with code 1; what
is left to do is to make Python print a line instead of a traceback, and for this exception only.
"""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any, NoReturn

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import CannotListenError
from twisted.logger import Logger
from twisted.python.failure import Failure

from hypermail.errors import HypermailError


class CannotStart(HypermailError):
    """A service cannot do what its options say; the text tells why in one line."""


def cannotStart(log: Logger, text: str) -> NoReturn:
    """
    End the start of a service.

    @param log: gets the line too: a daemon's standard error leads nowhere.
    @raise CannotStart: always.
    """
    # Not critical: C{twist} has no log yet, and Twisted shows what is critical on standard error then.
    log.error("{text}", text=text)
    raise CannotStart(text)


def reportInOneLine() -> None:
    """Make an uncaught L{CannotStart} print its text alone; harmless when called again."""
    if not isinstance(sys.excepthook, _Hook):
        sys.excepthook = _Hook(sys.excepthook)


def endWithFailure(reactor: Any, log: Logger, text: str) -> None:
    """
    End a program whose reactor runs already, or is about to: one line, exit code 1.

    The runners give no exit code to a reactor that was stopped, so the interpreter's end does.
    """
    log.error("{text}", text=text)
    _say(text)
    atexit.register(_exitWithFailure)
    reactor.callWhenRunning(reactor.stop)


def listening(
    reactor: Any,
    log: Logger,
    deferred: Deferred[Any],
    bound: Callable[[Any], Any],
    whyNot: Callable[[Failure], str],
) -> Deferred[Any]:
    """
    Wait for an endpoint that begins to listen: without it the program ends.

    @param deferred: of its C{listen}.
    @param bound: called with its port.
    @param whyNot: tells in one line why there is none.
    @return: a Deferred of what C{bound} has returned, or of None.
    @raise CannotStart: when it is known at once that it cannot be listened there.
    """
    failures: list[Failure] = []
    deferred.addCallbacks(bound, failures.append)
    for failure in failures:
        cannotStart(log, whyNot(failure))

    def late(result: Any) -> Any:
        for failure in failures:
            if not failure.check(CancelledError):
                endWithFailure(reactor, log, whyNot(failure))
        return result

    return deferred.addCallback(late)


def causeOf(error: CannotListenError) -> str:
    """What the system says of a socket that cannot be bound."""
    cause: Any = error.socketError
    return getattr(cause, "strerror", None) or str(cause) or type(cause).__name__


def _exitWithFailure() -> None:
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        if stream is not None:
            stream.flush()
    os._exit(1)


def _say(text: str) -> None:
    # Not sys.stderr, which is the log by now.
    print(f"hypermail: {text}", file=sys.__stderr__, flush=True)


class _Hook:
    def __init__(self, otherwise: object) -> None:
        self._otherwise = otherwise

    def __call__(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if isinstance(error, CannotStart):
            _say(error.text)
        elif callable(self._otherwise):
            self._otherwise(kind, error, trace)
