"""
Where the peer is, whether that is proved, and how large its datagrams may be.
"""

from __future__ import annotations

from typing import Any

#: An address that isn't validated gets so many times what came from it (RFC 9000 §8.1).
AMPLIFICATION = 3


def same_host(one: Any, other: Any) -> bool:
    """
    Whether two addresses differ in their ports at most, as when a NAT has changed its mind.

    @param one: (host, port); anything else is a host of its own.
    """
    if isinstance(one, tuple) and isinstance(other, tuple):
        return bool(one[0] == other[0])
    return bool(one == other)


class Path:
    """
    One address of the peer.

    @ivar address: opaque.
    @ivar validated: whether the peer has shown that it receives there.
    @ivar base: bytes of UDP payload that every path is taken to carry.
    @ivar mtu: bytes of UDP payload that datagrams may have now.
    """

    __slots__ = ("_received", "_sent", "address", "base", "mtu", "validated")

    def __init__(self, address: Any, mtu: int, validated: bool) -> None:
        self.address = address
        self.base = mtu
        self.mtu = mtu
        self.validated = validated
        self._received = 0
        self._sent = 0

    def move(self, address: Any, mtu: int) -> None:
        """The peer has shown that it receives at C{address} now. @param mtu: bytes, of the way there."""
        self.address = address
        self.mtu = mtu
        self.validated = True

    def received(self, size: int) -> None:
        """A datagram of C{size} bytes came from there."""
        self._received += size

    def sent(self, size: int) -> None:
        """A datagram of C{size} bytes was sent there."""
        self._sent += size

    @property
    def credit(self) -> int:
        """Bytes that may be sent there now on account of what came from there."""
        if self.validated:
            return 1 << 62
        return AMPLIFICATION * self._received - self._sent
