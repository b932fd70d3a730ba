"""
What sessions need of the socket that they live on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from hypermail.interfaces import ISessionStore
from hypermail.internet.address import HypermailAddress
from hypermail.internet.pump import Pump
from hypermail.internet.residents import Residents
from hypermail.internet.security import Security
from hypermail.internet.strangers import FailedHandshakes
from hypermail.options import Options

if TYPE_CHECKING:
    from hypermail.connection import Connection


class SessionOwner(Protocol):
    """
    The socket as its sessions see it.

    @ivar pump: sees to what they have to send.
    @ivar security: of the socket.
    @ivar failedHandshakes: where those of strangers are counted.
    @ivar residents: the sessions that may be claimed here.
    @ivar store: where durable sessions are kept; None for nowhere.
    """

    reactor: Any
    pump: Pump
    security: Security
    failedHandshakes: FailedHandshakes
    residents: Residents
    store: ISessionStore | None

    def seconds(self) -> float:
        """The time that the core is told."""

    def wall(self) -> float:
        """The wall clock, in s since 1970."""

    def host(self) -> HypermailAddress:
        """Our address."""

    def carrierStatistics(self) -> dict[str, int]:
        """What was lost between us and the network."""

    def beginConnection(self, address: Any, host: str | None, options: Options, before: Connection) -> Connection:
        """A starter's connection to C{address}, over which the session of C{before} is to go on."""
