"""
Where cells connect to: TLS, or streams of hypermail.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol

from hypermail.hive.leashes import CellConnection, Cells


class _Closed(Protocol):
    """Cuts itself off: TLS's factory, around this one, cannot do without a protocol."""

    def connectionMade(self) -> None:
        """See L{Protocol}."""
        transport: Any = self.transport
        transport.abortConnection()


class Entrance(Factory):
    """
    Connections of cells.

    @ivar closed: whether no further ones are let in.
    """

    noisy = False

    def __init__(self, cells: Cells) -> None:
        self.closed = False
        self._cells = cells

    def buildProtocol(self, address: IAddress | None) -> Protocol:
        """See L{Factory}."""
        return _Closed() if self.closed else CellConnection(self._cells)
