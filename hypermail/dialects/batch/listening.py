"""
How a listener comes to a session in dialect C{batch}.

A Connect may be forged. So it is answered with no more bytes than it has: with Connect ack, and a little later with
a Ping, whose answer shows that the starter is where it says; so does any packet that bears our id, which is random.
Only then does the application hear of the starter.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hypermail.dialects.batch.connection import REST, BatchConnection
from hypermail.dialects.batch.packets import BatchClose, BatchConnectAck, BatchPacket, BatchPing
from hypermail.dialects.batch.states import Greeting, GreetingInput
from hypermail.errors import Reason, SessionAborted, SessionReset, SessionTimedOut
from hypermail.options import Role

if TYPE_CHECKING:
    from hypermail.dialects.batch.dialect import Batch

#: s after a Connect within which one that is the same is its duplicate; later, its sender has started anew.
DUPLICATE = 3.0


class ListeningBatch(BatchConnection):
    """
    A listener's side.

    @param address: the starter's IP address, with the port of its Connect.
    @param starter_id: the starter's id; C{id} is ours.
    @ivar before: a connection that the starter has left for this one, if it is where it says.
    """

    def __init__(
        self, options: Batch, address: Any, starter_id: int, id: int, drop: Callable[[str], None], now: float
    ) -> None:
        super().__init__(Role.LISTENER, options, address, Greeting.UNPROVED, credit=0, drop=drop, now=now)
        self.before: ListeningBatch | None = None
        self._begun_at = now
        self._ping_at: float | None = now + REST
        # If our Ping is lost and the starter has nothing to say, then its own pings show it, which come later.
        pinging = (options.ping_packet_count + 2) * options.ping_interval
        self._forget_at = now + max(options.connection_timeout, pinging)
        self._met(id, starter_id)

    def is_duplicate(self, now: float) -> bool:
        """Whether a Connect like the one that began this connection is a duplicate of it."""
        return not self.ended and (self.greeting is Greeting.UNPROVED or now - self._begun_at < DUPLICATE)

    def asked(self, size: int, now: float) -> None:
        """
        The Connect has come, or a duplicate.

        @param size: bytes of its datagram.
        """
        self.now = now
        self.heard(size)
        if self.peer_id is not None:
            self._say(BatchConnectAck(self.peer_id, self.id).encode())
        if self.greeting is Greeting.UNPROVED and self._ping_at is None:
            self._ping_at = now + REST

    def received(self, packet: BatchPacket, size: int, now: float) -> None:
        """See L{BatchConnection.received}."""
        if self.greeting is Greeting.UNPROVED:
            self._shown(now)
            if not isinstance(packet, BatchClose):
                self._asked()
        super().received(packet, size, now)

    def turn_away(self, size: int, now: float) -> None:
        """The starter is where it says, and there is no room for it. @param size: bytes of what has shown that."""
        self.heard(size)
        self._shown(now)
        self._give_up(SessionAborted("there is no room for one more session", Reason.TOO_MANY_SESSIONS), now)

    def give_way(self, now: float) -> None:
        """The starter has not shown that it is where it says, and there is no place for it any more."""
        self._end(SessionTimedOut("the peer has not shown that it is where it says"), now)

    def replaced(self, now: float) -> None:
        """The starter has begun anew, and knows nothing of this session any more."""
        self._end(SessionReset("the peer has started anew, and does not know this session any more"), now)

    def _shown(self, now: float) -> None:
        self.now = now
        self.credit = None
        self._advance(GreetingInput.PROVED)
        self._countdown.begin(now)

    def _greet(self, now: float) -> None:
        if now >= self._forget_at:
            self.give_way(now)
        elif self._ping_at is not None and now >= self._ping_at and self.peer_id is not None:
            self._say(BatchPing(self.peer_id, self._countdown.prove()).encode())
            self._ping_at = None

    def _greeting_timeout(self) -> float | None:
        return self._forget_at if self._ping_at is None else min(self._ping_at, self._forget_at)
