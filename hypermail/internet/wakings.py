"""
When this process has not run for a while: its machine has slept, or somebody has stopped it.

No system tells a process. So whoever starts sessions looks at a clock once a second; when that has gone on much further
than it should have, its peers may have given it up meanwhile.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.base import ReactorBase
from twisted.internet.interfaces import IDelayedCall

#: s between looks.
LOOK = 1.0
#: s by which a look comes late when the process has not run; reactors that are only busy are late by less.
LATE = 2.0


def sleeplessClock() -> Callable[[], float]:
    """
    s that never go back, and go on while the machine sleeps (clock_gettime(2): CLOCK_BOOTTIME of Linux and
    CLOCK_MONOTONIC of macOS do); where there is no such clock, L{time.monotonic}.
    """
    number = getattr(time, "CLOCK_MONOTONIC" if sys.platform == "darwin" else "CLOCK_BOOTTIME", None)
    return time.monotonic if number is None else partial(time.clock_gettime, number)


def sleeplessClockOf(reactor: Any) -> Callable[[], float] | None:
    """The same where a reactor runs; None where nothing sleeps, as with a L{Clock}."""
    return sleeplessClock() if isinstance(reactor, ReactorBase) else None


class Wakings:
    """
    Of one socket.

    @param seconds: see L{sleeplessClock}; None where nothing sleeps.
    @param woken: called when the process has not run for a while.
    """

    __slots__ = ("_call", "_lookedAt", "_reactor", "_seconds", "_woken")

    def __init__(self, reactor: Any, seconds: Callable[[], float] | None, woken: Callable[[], object]) -> None:
        self._reactor = reactor
        self._seconds = seconds
        self._woken = woken
        self._lookedAt = 0.0
        self._call: IDelayedCall | None = None

    def watch(self) -> None:
        """There are sessions: begin to look, unless it is done already."""
        if self._seconds is not None and self._call is None:
            self._lookedAt = self._seconds()
            self._call = self._reactor.callLater(LOOK, self._look, self._seconds)

    def stop(self) -> None:
        """There are none any more."""
        call, self._call = self._call, None
        if call is not None:
            call.cancel()

    def _look(self, seconds: Callable[[], float]) -> None:
        self._call = self._reactor.callLater(LOOK, self._look, seconds)
        before, self._lookedAt = self._lookedAt, seconds()
        if self._lookedAt - before >= LOOK + LATE:
            self._woken()
