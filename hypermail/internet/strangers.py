"""
What is said of strangers whose handshakes fail: so much that an operator sees it, so little that no log overflows.
"""

from __future__ import annotations

from math import inf

from twisted.logger import Logger

from hypermail.errors import HypermailError, SessionTimedOut
from hypermail.internet.address import HypermailAddress

#: Lines in each span of time, at most.
MOST_LINES = 10
#: s.
SPAN = 10.0


class FailedHandshakes:
    """
    The strangers of one socket that did not come as far as asking for a session.

    @ivar count: how many there were, those included that gave up without a word.
    """

    __slots__ = ("_left", "_since", "_unsaid", "count")

    _log = Logger()

    def __init__(self) -> None:
        self.count = 0
        self._since = -inf
        self._left = 0
        self._unsaid = 0

    def note(self, peer: HypermailAddress, error: HypermailError, now: float) -> None:
        """Count one, and say why it has failed, unless it just went away."""
        self.count += 1
        if isinstance(error, SessionTimedOut):
            return
        if now >= self._since + SPAN:
            if self._unsaid:
                self._log.info("{count} more handshakes have failed", count=self._unsaid)
            self._since, self._left, self._unsaid = now, MOST_LINES, 0
        if self._left:
            self._left -= 1
            self._log.info("the handshake with {peer} has failed: {reason}", peer=peer, reason=error.text)
        else:
            self._unsaid += 1
