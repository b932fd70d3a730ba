"""
C{hlhv-queen}: the queen in the foreground, with the options that the program of the seed's authors has.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

from twisted.logger import (
    FilteringLogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    globalLogBeginner,
    textFileLogObserver,
)
from twisted.python import usage
from twisted.python.logfile import LogFile

from hypermail.hive.tap import QueenCommand, make_queen

_NAME = "hlhv-queen"
_LEVELS = {"debug": LogLevel.debug, "normal": LogLevel.info, "error": LogLevel.error, "none": LogLevel.critical}


class ScriptCommand(QueenCommand):
    """What C{hlhv-queen} understands."""

    optParameters = [
        ["log-level", "l", "normal", "What is logged: debug, normal, error or none."],
        ["log-directory", "L", "", f"Directory that {_NAME}.log is written in [standard error]."],
    ]

    def postOptions(self) -> None:
        """
        Check what was given.

        @raise usage.UsageError: when it makes no sense.
        """
        if self["log-level"] not in _LEVELS:
            raise usage.UsageError(f"--log-level is one of {', '.join(_LEVELS)}, not {self['log-level']!r}")
        directory = self["log-directory"]
        if directory and not (os.path.isdir(directory) and os.access(directory, os.W_OK)):
            raise usage.UsageError(f"--log-directory {directory!r} is no directory that can be written in")
        super().postOptions()


def main() -> None:
    """Run until a signal. Ends with code 1 when it cannot begin."""
    options: Any = ScriptCommand()  # type: ignore[no-untyped-call]
    try:
        options.parseOptions(sys.argv[1:])
    except usage.UsageError as error:
        sys.exit(f"{_NAME}: {error}")
    reopen = _log(options["log-level"], options["log-directory"])
    service: Any = make_queen(options, reopen)
    from twisted.internet import reactor

    loop: Any = reactor
    service.privilegedStartService()
    service.startService()
    loop.addSystemEventTrigger("before", "shutdown", service.stopService)
    loop.run()


def _log(level: str, directory: str) -> Callable[[], object]:
    """Begin to log. @return: what opens the file anew."""
    file: Any = LogFile(_NAME + ".log", directory, rotateLength=None) if directory else sys.stderr
    observers = []
    if level != "none":
        predicate = LogLevelFilterPredicate(defaultLogLevel=_LEVELS[level])
        observers.append(FilteringLogObserver(textFileLogObserver(file), [predicate]))
    globalLogBeginner.beginLoggingTo(observers, redirectStandardIO=False, discardBuffer=True)
    return file.reopen if directory else lambda: None
