"""
The time of day, as responses have it.
"""

from __future__ import annotations

from email.utils import formatdate

from twisted.internet.interfaces import IReactorTime


class Dates:
    """Writes C{Date} (RFC 9110 §6.6.1), once a second."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._second = -1
        self._written = b""

    def now(self) -> bytes:
        """The value of the header."""
        second = int(self._clock.seconds())
        if second != self._second:
            self._second = second
            self._written = formatdate(second, usegmt=True).encode()
        return self._written
