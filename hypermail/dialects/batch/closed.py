"""
Connections of dialect C{batch} that are over, and whose peers may not know it, or send on as if they did not.
"""

from __future__ import annotations

from typing import Any

from hypermail.dialects.batch.arrivals import Arrivals
from hypermail.dialects.batch.packets import (
    BatchClose,
    BatchConnectAck,
    BatchData,
    BatchDataAck,
    BatchPacket,
    BatchPing,
)

#: Connections kept, at most; the oldest are forgotten first.
MOST_CLOSED = 1_024
#: Closes that a peer is sent for data that was never delivered, before it is acknowledged nonetheless.
TELLINGS = 4
#: s; however many Closes are sent within so long, they count as one: they may all be lost, or overtaken, together.
TELLING = 1.0


class ClosedConnection:
    """
    What is answered for a connection that is over.

    The original sends data again after Close until it is acknowledged. So it is, when it had come before, or when the
    peer has said Close itself. Else the peer is told Close first, several times, so that one which heeds it has given
    its messages up as undelivered, before the acknowledgement stops one that does not.

    @param address: where the peer receives.
    @param peer_id: its id of the connection; None when none is known.
    @param arrivals: what has come; None for nothing.
    @param knows: whether the peer has said Close.
    """

    __slots__ = ("_arrivals", "_knows", "_peer_id", "_tell_at", "_told", "address", "until")

    def __init__(self, address: Any, peer_id: int | None, arrivals: Arrivals | None, knows: bool, until: float) -> None:
        self.address = address
        self.until = until
        self._peer_id = peer_id
        self._arrivals = arrivals
        self._knows = knows
        self._told = 0
        self._tell_at = 0.0

    def answer(self, packet: BatchPacket, now: float) -> bytes | None:
        """What a packet is answered with, which is never longer than it."""
        kind = type(packet)
        if isinstance(packet, BatchConnectAck):
            return BatchClose(packet.receiver_id).encode()
        if self._peer_id is None:
            return None
        if isinstance(packet, BatchData):
            return self._acknowledge(packet, self._peer_id, now)
        return BatchClose(self._peer_id).encode() if kind is BatchPing else None

    def _acknowledge(self, data: BatchData, peer_id: int, now: float) -> bytes:
        known = self._arrivals is not None and self._arrivals.acknowledged(data.number)
        if known or self._knows:
            return BatchDataAck(peer_id, data.number).encode()
        if self._told == 0 or now >= self._tell_at:
            if self._told >= TELLINGS:
                return BatchDataAck(peer_id, data.number).encode()
            self._told += 1
            self._tell_at = now + TELLING
        return BatchClose(peer_id).encode()


class ClosedConnections:
    """
    Those of one socket.

    @param linger: s for which one is kept after it was asked for last.
    """

    __slots__ = ("_found", "_linger")

    def __init__(self, linger: float) -> None:
        self._linger = linger
        self._found: dict[tuple[str, int], ClosedConnection] = {}

    def __len__(self) -> int:
        return len(self._found)

    def __contains__(self, key: tuple[str, int]) -> bool:
        return key in self._found

    def add(
        self,
        key: tuple[str, int],
        address: Any,
        now: float,
        *,
        peer_id: int | None = None,
        arrivals: Arrivals | None = None,
        knows: bool = False,
    ) -> None:
        """
        A connection is over.

        @param key: the peer's IP address, and our id; the rest as for L{ClosedConnection}.
        """
        self._sweep(now)
        if len(self._found) >= MOST_CLOSED:
            del self._found[next(iter(self._found))]
        self._found[key] = ClosedConnection(address, peer_id, arrivals, knows, now + self._linger)

    def find(self, key: tuple[str, int], now: float) -> ClosedConnection | None:
        """The connection that a packet is for, which is kept for longer then."""
        self._sweep(now)
        closed = self._found.pop(key, None)
        if closed is not None:
            closed.until = now + self._linger
            self._found[key] = closed
        return closed

    def _sweep(self, now: float) -> None:
        while self._found:
            key = next(iter(self._found))
            if self._found[key].until > now:
                return
            del self._found[key]
