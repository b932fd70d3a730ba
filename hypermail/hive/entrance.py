"""
Where cells connect to: TLS, or streams of hypermail.
"""

from __future__ import annotations

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory
from twisted.logger import Logger

from hypermail.hive.leashes import CellConnection, Cells

#: Connections that have still to say whose they are.
MOST_STRANGE = 1_000


class Entrance(Factory):
    """
    Connections of cells.

    @ivar closed: whether no further ones are let in.
    """

    noisy = False
    _log = Logger()

    def __init__(self, cells: Cells) -> None:
        self.closed = False
        self._cells = cells

    def buildProtocol(self, address: IAddress | None) -> CellConnection | None:
        """See L{Factory}: None cuts it off."""
        if self.closed or len(self._cells.strangers) >= MOST_STRANGE:
            return None
        return CellConnection(self._cells)
