"""
Back pressure on a leash: whoever takes nothing of what it is sent is not heard, and cut off in the end.
"""

from __future__ import annotations

from typing import Any

from hypermail.hive.framing import FrameProtocol


class LeashPressure:
    """
    An L{twisted.internet.interfaces.IPushProducer} for the transport of a leash: what it produces are answers to what
    the cell says, so that to read less of that is to write less.

    @param patience: s until a cell that takes nothing is cut off.
    """

    def __init__(self, clock: Any, connection: FrameProtocol, patience: float) -> None:
        self._clock = clock
        self._connection = connection
        self._patience = patience
        self._late: Any = None

    def pauseProducing(self) -> None:
        """Too much waits to be written."""
        if self._late is None:
            self._late = self._clock.callLater(self._patience, self._abort)
            self._connection.pauseProducing()

    def resumeProducing(self) -> None:
        """All was taken."""
        if self._late is not None:
            self.stopProducing()
            self._connection.resumeProducing()

    def stopProducing(self) -> None:
        """The connection is lost."""
        late, self._late = self._late, None
        if late is not None and late.active():
            late.cancel()

    def _abort(self) -> None:
        self._connection.refused(f"the cell has taken nothing for {self._patience:.0f} s")
        self._connection.abort()
