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
from types import TracebackType
from typing import Any, NoReturn

from twisted.logger import Logger

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
