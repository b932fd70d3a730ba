"""
Packets that came before there was anybody to take them.
"""

from __future__ import annotations

from collections.abc import Container

from hypermail.wire.packets import Packet


class Hold:
    """
    What a listener keeps until its starter has proved who it is, and then until its application has decided.

    @param most_bytes: of the payloads that are kept; what doesn't fit is to be dropped and not acknowledged.
    """

    __slots__ = ("_bytes", "_most_bytes", "_packets")

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        self._packets: list[Packet] = []

    def take(self, packets: list[Packet], size: int) -> bool:
        """
        Keep the packets of a payload.

        @param size: bytes of the payload, which the packets' contents keep alive.
        @return: whether they were kept.
        """
        if self._bytes + size > self._most_bytes:
            return False
        self._bytes += size
        self._packets += packets
        return True

    def sift(self, kinds: Container[type]) -> list[Packet]:
        """Take out the packets of some kinds, in the order of arrival; the others stay."""
        taken = [packet for packet in self._packets if type(packet) in kinds]
        self._packets = [packet for packet in self._packets if type(packet) not in kinds]
        return taken

    def release(self) -> list[Packet]:
        """Everything that was kept, in the order of arrival."""
        packets = self._packets
        self._packets = []
        self._bytes = 0
        return packets
