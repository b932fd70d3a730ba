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
    The strangers of one socket that got no session.

    @ivar count: those that did not come as far as asking for one, even if they gave up without a word.
    @ivar refusals: those that asked for one and were refused.
    """

    __slots__ = ("_left", "_since", "_unsaid", "count", "refusals")

    _log = Logger()

    def __init__(self) -> None:
        self.count = 0
        self.refusals = 0
        self._since = -inf
        self._left = 0
        self._unsaid = 0

    def note(self, peer: HypermailAddress, error: HypermailError, now: float) -> None:
        """Count one, and say why it has failed, unless it just went away."""
        self.count += 1
        if isinstance(error, SessionTimedOut):
            return
        if self.mayBeSaid(now):
            self._log.info("the handshake with {peer} has failed: {reason}", peer=peer, reason=error.text)

    def refused(self, peer: HypermailAddress, reason: str, now: float) -> None:
        """Say of one that came so far why it was refused."""
        self.refusals += 1
        if self.mayBeSaid(now):
            self._log.info("session from {peer} rejected: {reason}", peer=peer, reason=reason)

    def mayBeSaid(self, now: float) -> bool:
        """Whether there is room for one more line about strangers; if not, it is counted."""
        if now >= self._since + SPAN:
            if self._unsaid:
                self._log.info("{count} more strangers were refused, or have failed", count=self._unsaid)
            self._since, self._left, self._unsaid = now, MOST_LINES, 0
        if not self._left:
            self._unsaid += 1
            return False
        self._left -= 1
        return True
