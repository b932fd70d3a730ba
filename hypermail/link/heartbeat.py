"""
Liveness: who pings, and when silence means that the link is dead (seed 001's options).
"""

from __future__ import annotations

from enum import Enum, auto

from hypermail.options import Options, Role

#: s; no listener's impatience makes a starter ping more often.
SHORTEST_INTERVAL = 0.25


class Beat(Enum):
    """What is to be done when the heart's timer has run out."""

    NOTHING = auto()
    PING = auto()
    DEAD = auto()


class Heartbeat:
    """
    The starter pings after C{ping_interval} without anything from the peer; C{ping_packet_count} pings
    without an answer end the link, and any answer starts afresh. The listener doesn't ping; it forgets a
    peer that was silent for longer than all those pings would have taken.

    @ivar deadline: s when to call L{timeout}.
    """

    __slots__ = ("_count", "_heard", "_patience", "_role", "_unanswered", "deadline")

    def __init__(self, role: Role, options: Options, now: float) -> None:
        self._role = role
        self._count = options.ping_packet_count
        self._patience = options.ping_interval if role is Role.STARTER else self.silence(options)
        self._unanswered = 0
        self._heard = now
        self.deadline = now + self._patience

    @staticmethod
    def silence(options: Options) -> float:
        """s of silence after which a listener with these options forgets a link."""
        return options.ping_interval * (options.ping_packet_count + 2)

    def keep_within(self, silence: float) -> None:
        """
        The peer forgets links after so many seconds of silence: ping at least thrice within it.
        """
        if self._role is Role.STARTER:
            self._patience = min(self._patience, max(silence / 3, SHORTEST_INTERVAL))
            self.deadline = min(self.deadline, self._heard + self._patience)

    def heard(self, now: float) -> None:
        """An authentic datagram has arrived."""
        self._heard = now
        self._unanswered = 0
        self.deadline = now + self._patience

    def timeout(self, now: float) -> Beat:
        """Time has passed; harmless when early."""
        if now < self.deadline:
            return Beat.NOTHING
        if self._role is Role.LISTENER or self._unanswered >= self._count:
            return Beat.DEAD
        self._unanswered += 1
        self.deadline = now + self._patience
        return Beat.PING
