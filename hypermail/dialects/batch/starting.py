"""
How a starter comes to a session in dialect C{batch}.

The original sends Connect once, and takes every one for another connection. Ours is repeated, so each bears a fresh id,
and whatever connections are answered beyond the first are closed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hypermail.dialects.batch.connection import REST, BatchConnection
from hypermail.dialects.batch.packets import (
    BatchClose,
    BatchConnect,
    BatchConnectAck,
    BatchPacket,
    BatchPing,
)
from hypermail.dialects.batch.states import Greeting, GreetingInput
from hypermail.errors import SessionRejected, SessionTimedOut
from hypermail.options import Role
from hypermail.session.states import Input

if TYPE_CHECKING:
    from hypermail.dialects.batch.dialect import Batch

#: s between two Connects.
REPETITION = 1.0
#: How often a connection beyond the first, that bears the id of the first, is closed, and how many of them are.
MOST_CLOSINGS = 16
MOST_DOUBLES = 4


class StartingBatch(BatchConnection):
    """
    A starter's side.

    @param port: at which our socket receives.
    @param new_id: gives an id at which packets will find this connection from now on.
    """

    def __init__(
        self,
        options: Batch,
        address: Any,
        port: int,
        new_id: Callable[[BatchConnection], int],
        drop: Callable[[str], None],
        now: float,
    ) -> None:
        super().__init__(Role.STARTER, options, address, Greeting.CONNECTING, credit=None, drop=drop, now=now)
        self._port = port
        self._new_id = new_id
        # The peer's ids of connections beyond the first that bear our id, and how often each is still to be closed.
        self._doubles: dict[int, int] = {}
        self._connect_at = now
        self._give_up_at = now + options.connection_timeout
        self._rested_at = now
        self._move(Input.ASK)
        self._connect(now)

    def received(self, packet: BatchPacket, size: int, now: float) -> None:
        """See L{BatchConnection.received}."""
        if self.ended or packet.id == self.id:  # type: ignore[union-attr]  # Connects go elsewhere
            super().received(packet, size, now)
            return
        self.now = now
        self.heard(size)
        if self.greeting is Greeting.CONNECTING:
            self._answered(packet, now)
        else:
            self._superfluous(packet)

    def _connect(self, now: float) -> None:
        id = self._new_id(self)
        self.ids[id] = None
        self._say(BatchConnect(self._port, id).encode())
        self._connect_at = now + REPETITION

    def _answered(self, packet: BatchPacket, now: float) -> None:
        if isinstance(packet, BatchConnectAck):
            self._met(packet.id, packet.receiver_id)
            self._advance(GreetingInput.ANSWERED)
            self._rested_at = now + REST
            self._opened()
        elif isinstance(packet, BatchClose):
            self.closed_by_peer = True
            self._end(SessionRejected("the peer does not want the session"), now)
        else:
            self._drop("early")

    def _superfluous(self, packet: BatchPacket) -> None:
        """Something comes of a connection beyond the first."""
        if isinstance(packet, BatchConnectAck):
            self.ids[packet.id] = packet.receiver_id
            self._say(BatchClose(packet.receiver_id).encode())
            return
        self._drop("superfluous")
        peer_id = self.ids.get(packet.id)  # type: ignore[union-attr]
        if isinstance(packet, BatchPing) and peer_id is not None:
            self._say(BatchClose(peer_id).encode())

    def _connect_ack_received(self, packet: BatchConnectAck, now: float) -> None:
        """A second answer to the Connect that was answered: the Connect, or the answer, was duplicated on the way."""
        if packet.receiver_id == self.peer_id:
            self._drop("repeated")
        elif packet.receiver_id in self._doubles or len(self._doubles) < MOST_DOUBLES:
            self._doubles[packet.receiver_id] = MOST_CLOSINGS
            self._close_doubles()
        else:
            self._drop("superfluous")

    def _ping_received(self, packet: BatchPing, now: float) -> None:
        """
        It may be of a connection that the listener has besides, after a Connect was duplicated: that one bears our id,
        too, and its end, which follows when nobody answers, would look like ours.
        """
        super()._ping_received(packet, now)
        self._close_doubles()

    def _close_doubles(self) -> None:
        for peer_id, left in self._doubles.items():
            if left:
                self._doubles[peer_id] = left - 1
                self._say(BatchClose(peer_id).encode())

    def _greet(self, now: float) -> None:
        if self.greeting is Greeting.RESTING:
            if now >= self._rested_at:
                self._advance(GreetingInput.RESTED)
                self._countdown.begin(now)
                self._show()
        elif now >= self._give_up_at:
            seconds = self.options.connection_timeout
            self._end(SessionTimedOut(f"nobody has answered at {self.address} within {seconds:g} s"), now)
        elif now >= self._connect_at:
            self._connect(now)

    def _show(self) -> None:
        """Say something that needs no occasion: a listener of ours lets nobody in before it has heard that."""
        if self.peer_id is not None:
            self._say(BatchPing(self.peer_id, self._countdown.prove()).encode())

    def _greeting_timeout(self) -> float | None:
        if self.greeting is Greeting.RESTING:
            return self._rested_at
        return min(self._connect_at, self._give_up_at)
