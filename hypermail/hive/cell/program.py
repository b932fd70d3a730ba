"""
A cell that is a program: when its application does not begin it ends.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from twisted.logger import Logger
from twisted.python.failure import Failure

from hypermail.errors import HypermailError
from hypermail.hive.cell.application import Answering
from hypermail.hive.cell.cell import Cell
from hypermail.hive.cell.queens import Queen
from hypermail.hive.errors import LeashLost
from hypermail.hive.mounts import Pattern
from hypermail.services.ending import endWithFailure
from hypermail.services.paths import printable


class CellProgram(Cell):
    """C{twistd hypermail-cell}"""

    _log = Logger()

    def __init__(
        self,
        queen: Queen,
        key: str,
        mounts: Iterable[Pattern],
        application: Answering,
        reactor: Any,
        drain: float,
    ) -> None:
        """@param mounts: and so the rest, as of L{Cell}."""
        super().__init__(queen, key, mounts, application, reactor=reactor, drain=drain)
        self._program = reactor

    def startService(self) -> None:
        """See L{Cell}."""
        super().startService()
        self.whenReady().addErrback(self._end)

    def _end(self, failure: Failure) -> None:
        if not failure.check(LeashLost):  # it was not stopped
            text = failure.getErrorMessage()
            if not failure.check(HypermailError):
                text = f"the application does not start: {type(failure.value).__name__}: {text}"
            endWithFailure(self._program, self._log, printable(text))
