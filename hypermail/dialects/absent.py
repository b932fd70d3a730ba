"""
What a session asks of its connection, and no dialect has.
"""

from __future__ import annotations

from typing import Generic, NoReturn, TypeVar

from hypermail import events
from hypermail.dialects.dialect import Dialect
from hypermail.errors import HypermailError, NotSupported

O = TypeVar("O", bound=Dialect)  # noqa: E741


class Absent(Generic[O]):
    """
    Streams, lanes, asks, links that come and go, certificates.

    @ivar options: of the dialect, whose name is in the errors.
    """

    options: O

    durable = False
    has_changes = False
    linked = True
    parked = False
    released = False
    returning = False
    suspended = False
    unanswered = False
    calm = False
    resting = False
    allowance = None
    peer_certificate = None
    #: Names a session that has no id yet, in logs.
    first_tag = 0

    def _missing(self, what: str) -> NoReturn:
        raise NotSupported(f"dialect {self.options.name} has no {what}")

    def configure_lane(self, number: int, **properties: object) -> None:
        """@raise NotSupported: always."""
        self._missing("lanes")

    def open_stream(self, name: bytes, options: events.StreamOptions, *, now: float) -> NoReturn:
        """@raise NotSupported: always."""
        self._missing("streams")

    def ask(self, data: bytes, *, now: float) -> NoReturn:
        """@raise NotSupported: always."""
        self._missing("asks")

    def ask_as(self, kind: type[object], data: bytes, *, now: float) -> NoReturn:
        """@raise NotSupported: always."""
        self._missing("asks")

    def park(self, error: HypermailError, *, now: float) -> NoReturn:
        """@raise NotSupported: always."""
        self._missing("durable sessions")

    def is_direct(self, lane: int) -> bool:
        """Whether a lane is one of direct messages: there are no lanes."""
        return False

    def is_durable(self, lane: int) -> bool:
        """Whether a lane is kept on disk: none is."""
        return False

    def moved(self, *, now: float) -> None:
        """This host has another address. Dialects know no way to tell: the peer will miss us, and we it."""

    def awaken(self, *, now: float) -> None:
        """This host was away for a while: timers tell what has become of the peer."""
