"""
SIGHUP: read again what may have changed.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

from twisted.application.service import Service


class HangupService(Service):
    """
    Calls something whenever the process gets a SIGHUP, which ends it otherwise; where there is no such signal, never.

    @param call: called in the reactor's thread.
    """

    def __init__(self, reactor: Any, call: Callable[[], object]) -> None:
        self._reactor = reactor
        self._call = call
        self._before: Any = None

    def startService(self) -> None:
        """Begin to listen for the signal."""
        Service.startService(self)
        number = getattr(signal, "SIGHUP", None)
        if number is not None:
            self._before = signal.signal(number, self._hangup)

    def _hangup(self, number: int, frame: FrameType | None) -> None:
        self._reactor.callFromThread(self._call)

    def stopService(self) -> None:
        """Leave the signal to whoever had it."""
        Service.stopService(self)
        before, self._before = self._before, None
        if before is not None:
            signal.signal(signal.SIGHUP, before)
