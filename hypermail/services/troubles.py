"""
What goes wrong in a tunnel, said so seldom that no log overflows, whatever a peer or a client does.
"""

from __future__ import annotations

from math import inf
from typing import Any

from twisted.internet.error import MessageLengthError
from twisted.logger import Logger

#: s between two lines of one trouble.
SPAN = 10.0


class Trouble:
    """
    What goes wrong again and again for reasons that are worth a line.

    @param what: goes wrong.
    """

    _log = Logger()

    def __init__(self, clock: Any, what: str) -> None:
        self._clock = clock
        self._what = what
        self._next = -inf
        self._unsaid = 0

    def say(self, reason: str) -> None:
        """Say why, unless something was said just now; then it is counted."""
        if self._clock.seconds() < self._next:
            self._unsaid += 1
            return
        more = f" ({self._unsaid:,} times more since this was said last)" if self._unsaid else ""
        self._next, self._unsaid = self._clock.seconds() + SPAN, 0
        self._log.warn("{what}: {reason}{more}", what=self._what, reason=reason, more=more)

    def write(self, transport: Any, data: bytes, address: Any) -> None:
        """Write to a UDP socket. What the system refuses is lost, as datagrams are."""
        try:
            transport.write(data, address)
        except MessageLengthError:
            self.say(f"{len(data):,} bytes are too many for one")
        except OSError as error:  # no route, a firewall, a full buffer, port 0, ...
            self.say(error.strerror or str(error))
