"""
Seals: what stands between a datagram's header and content and a network that alters them.

The boundary is one call per datagram with everything that a cipher needs, so that a mode, or a compiled
twin, replaces the whole of it.
"""

from __future__ import annotations

from typing import Protocol
from zlib import crc32

#: More than anybody counts to.
ENDLESS = 1 << 62


class Seal(Protocol):
    """
    Seals or opens the datagrams of one direction, under one key.

    @ivar overhead: bytes that sealing adds to header and content.
    @ivar sealings: datagrams that may be sealed with it, at most.
    @ivar forgeries: datagrams that may fail to open before the key has to be given up.
    @ivar rests: whether L{rest} frees anything.
    """

    rests: bool
    overhead: int

    @property
    def cipher(self) -> str:
        """The name of the cipher, for people; empty when nothing is encrypted."""

    @property
    def sealings(self) -> int:
        """See above."""

    @property
    def forgeries(self) -> int:
        """See above."""

    def seal(self, header: bytes, parts: list[bytes], number: int) -> bytes:
        """
        A whole datagram.

        @param parts: the content in pieces.
        @param number: the packet number, all 62 bits; never used twice with one seal.
        """

    def open(self, datagram: memoryview, length: int, number: int) -> memoryview | None:
        """
        The content of a datagram, or None when it was altered.

        @param length: bytes of the header.
        @param number: the expanded packet number.
        """

    def next(self) -> Seal:
        """The seal after a key update."""

    def rest(self) -> None:
        """It will not be used for a while: free what can be made again."""


class PlainSeal:
    """
    Mode C{plain}: CRC-32 (zlib) over header and content, in 4 bytes behind them.

    It finds accidents, not attackers; for loopback and measuring.
    """

    __slots__ = ()

    cipher = ""
    rests = False
    overhead = 4
    sealings = ENDLESS
    forgeries = ENDLESS

    def seal(self, header: bytes, parts: list[bytes], number: int) -> bytes:
        checksum = crc32(header)
        for part in parts:
            checksum = crc32(part, checksum)
        return b"".join((header, *parts, checksum.to_bytes(4, "big")))

    def open(self, datagram: memoryview, length: int, number: int) -> memoryview | None:
        end = len(datagram) - 4
        if end < length or crc32(datagram[:end]) != int.from_bytes(datagram[end:], "big"):
            return None
        return datagram[length:end]

    def next(self) -> PlainSeal:
        return self

    def rest(self) -> None:
        """Nothing is held."""
