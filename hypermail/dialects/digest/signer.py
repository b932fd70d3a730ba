"""
This side as the sender of packets: its UUID, its secret, and the one order count of its socket.
"""

from __future__ import annotations

from collections.abc import Callable

from hypermail.dialects.digest.packets import LAST_ORDER, PacketType, build
from hypermail.dialects.digest.timestamps import EXACT, Timestamp, write
from hypermail.errors import KeysSpent


class Signer:
    """
    Makes the packets of one socket.

    @param secret: None for plain digests.
    @param wall: the wall clock, in s since 1970.
    @param freshness: s.
    @ivar uuid: 16 bytes.
    @ivar plain: whether anybody could make the same digests.
    @ivar order: the order count of the next packet.
    """

    __slots__ = ("_freshness", "_secret", "_wall", "order", "plain", "uuid")

    def __init__(
        self, uuid: bytes, secret: bytes | None, *, plain: bool, wall: Callable[[], float], freshness: float
    ) -> None:
        self.uuid = uuid
        self._secret = secret
        self.plain = plain
        self._wall = wall
        self._freshness = int(freshness * 1e9)
        self.order = 0

    @property
    def spent(self) -> bool:
        """Whether all order counts were used: they never begin again, for the peers would take that for replays."""
        return self.order > LAST_ORDER

    def sign(self, type: PacketType, payload: bytes, custom: int = 0) -> bytes:
        """
        A packet, and with it an order count.

        @raise KeysSpent: when there is none left.
        """
        if self.spent:
            raise KeysSpent("this socket has used up its order counts; only another one can go on")
        packet = build(type, self.uuid, self.order, payload, self._secret, custom)
        self.order += 1
        return packet

    def stamp(self, type: PacketType, room: int = EXACT) -> bytes | None:
        """
        A packet that bears the time.

        @param room: bytes that its payload may have.
        @return: None when it does not fit.
        @raise KeysSpent: see L{sign}.
        """
        text = write(self.now(), room)
        return None if text is None else self.sign(type, text)

    def now(self) -> int:
        """ns since 1970, by the wall clock."""
        return int(self._wall() * 1e9)

    def fresh(self, moment: Timestamp) -> bool:
        """Whether a timestamp is neither stale nor from the future."""
        return moment.near(self.now(), self._freshness)
