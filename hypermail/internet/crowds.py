"""
Sessions that send to one and the same socket: what lies in its buffer is theirs together.

On a path as short as one to the same machine the queue is the buffer of the peer's socket. One session does not fill
it (L{hypermail.link.allowance}), but a thousand that each take it for their own do: what does not fit is lost, and
what fits waits for so long that the timers of both sides run before the answers are there. So together they keep no
more in flight than one would, and take turns: whoever has more to say waits until it is there again, and says much at
a time then, which costs less than little and often.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypermail.internet.address import isLoopback
from hypermail.link.allowance import NEAR
from hypermail.options import KIB

if TYPE_CHECKING:
    from hypermail.internet.life import SessionLife

#: s; a round trip below this is one to the same machine where the address says so, however busy it is. A longer one
#: leads on from there, by a relay.
NEAR_HERE = 0.01
#: What one session sends when it is its turn while others wait: as much of what all may have in flight, but at least
#: so many bytes, beside which it costs little that the turn is another's.
TURN = 1 / 16
LEAST_TURN = 256 * KIB
#: Bytes that whoever has sent no more than this lately, and waits for no turn, may have in flight besides.
LITTLE = 1_200


class Crowd:
    """
    Sessions of one socket that have something in flight to one other socket, or would like to.

    @ivar address: of that.
    @ivar waiting: those that have more to send than they may; the first of them is the next.
    """

    __slots__ = ("_flights", "_inFlight", "_limit", "_near", "_shortest", "address", "waiting")

    def __init__(self, address: Any) -> None:
        self.address = address
        self.waiting: dict[SessionLife, None] = {}
        self._flights: dict[SessionLife, int] = {}  # bytes, of those that have any
        self._inFlight = 0
        self._limit = 0
        self._near = False
        self._shortest = NEAR_HERE if isLoopback(address[0]) else NEAR

    @property
    def over(self) -> bool:
        """Whether there is nobody in it."""
        return not self._flights and not self.waiting

    def share(self, session: SessionLife) -> int | None:
        """Bytes that a session may send now, whose turn it is not; None for as many as it likes."""
        lately = self._flights.get(session, 0)
        if not self._near or not (self.waiting or self._inFlight > lately):
            return None
        if not self.waiting and self._inFlight < self._limit:
            return self._limit - self._inFlight
        if session in self.waiting or lately > LITTLE:
            return 0
        little: int = LITTLE - session.connection.allowance.in_flight
        return max(0, little)

    def turn(self) -> tuple[SessionLife, int] | None:
        """Whose turn it is, who waits no more then, and how many bytes that is; None when it is nobody's yet."""
        if not self.waiting:
            return None
        room = self._limit - self._inFlight
        some = max(int(self._limit * TURN), min(LEAST_TURN, self._limit))
        if room < some and self._inFlight:
            return None
        session = next(iter(self.waiting))
        del self.waiting[session]
        return session, some if self.waiting else max(room, some)

    def note(self, session: SessionLife) -> bool:
        """
        A session has sent, or its peer has acknowledged.

        @return: whether it has anything to do with the others still.
        """
        connection = session.connection
        allowance = connection.allowance
        # What the peer has left unanswered is not in its buffer any more, and nobody waits for somebody who is gone.
        size: int = 0 if connection.unanswered else allowance.in_flight
        self._inFlight += size - self._flights.get(session, 0)
        if size:
            self._flights[session] = size
        else:
            self._flights.pop(session, None)
        if allowance.waits:
            self.waiting[session] = None
        else:
            self.waiting.pop(session, None)
        if not self._near and allowance.round_trip < self._shortest:
            self._near = True
        if allowance.buffer // 2 > self._limit:
            self._limit = allowance.buffer // 2
        return size > 0 or allowance.waits

    def leave(self, session: SessionLife) -> None:
        """A session is over, or elsewhere."""
        self._inFlight -= self._flights.pop(session, 0)
        self.waiting.pop(session, None)


class Crowds:
    """All of one socket."""

    __slots__ = ("_crowds",)

    def __init__(self) -> None:
        self._crowds: dict[Any, Crowd] = {}

    def begin(self, session: SessionLife) -> None:
        """A session is about to send: tell it how much that may be."""
        connection = session.connection
        if connection.allowance is not None:
            crowd = self._crowds.get(connection.address)
            connection.allowance.admit(None if crowd is None else crowd.share(session))

    def end(self, session: SessionLife) -> Crowd | None:
        """It has sent what it had, or could. @return: where it may be somebody's turn now."""
        connection = session.connection
        allowance: Any = connection.allowance
        if allowance is None:
            return None
        allowance.share = None
        crowd = session.crowd
        if session.error is not None or connection.suspended:  # what is in flight is nothing to anybody any more
            return self.leave(session)
        if crowd is None:
            if not allowance.in_flight and not allowance.waits:
                return None
            crowd = self._crowds.get(connection.address)
            if crowd is None:
                crowd = self._crowds[connection.address] = Crowd(connection.address)
            session.crowd = crowd
        if crowd.address != connection.address or not crowd.note(session):
            return self.leave(session)
        return crowd if crowd.waiting else None

    def leave(self, session: SessionLife) -> Crowd | None:
        """A session is over, or elsewhere, or has nothing to send. @return: where it may be somebody's turn now."""
        crowd, session.crowd = session.crowd, None
        if crowd is None:
            return None
        crowd.leave(session)
        if crowd.over and self._crowds.get(crowd.address) is crowd:
            del self._crowds[crowd.address]
        return crowd if crowd.waiting else None
