"""
Seals: what stands between a datagram's header and content and a network that alters them.

The boundary is one call for a whole train, with everything that a cipher needs, so that a mode, or a compiled
twin, replaces the whole of it. What comes alone, and what is not as usual, has calls of its own.

To a seal the header of a datagram in a train is what all of them begin with, and the lowest 32 bits of the datagram's
number behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import Protocol
from zlib import crc32

#: A header in a train: what all begin with, and the lowest bits of the number.
TRAIN_HEADER = Struct(">9sI")
#: Those bits.
LOW = (1 << 32) - 1
#: A number that is further from what is expected may have other bits above them than that has.
NEAR = 1 << 31

#: What a datagram of a train held: its number, and its content, or None when it was altered.
Unsealed = tuple[int, bytes | None]

#: More than anybody counts to.
ENDLESS = 1 << 62


class Seal(Protocol):
    """
    Seals or opens the datagrams of one direction, under one key.

    @ivar overhead: bytes that sealing adds to header and content.
    @ivar sealings: datagrams that may be sealed with it, at most.
    @ivar forgeries: datagrams that may fail to open before the key has to be given up.
    @ivar awake: whether L{rest} would free anything.
    """

    awake: bool
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

    def seal(self, header: bytes, parts: Sequence[bytes], number: int) -> bytes:
        """
        A whole datagram.

        @param parts: the content in pieces.
        @param number: the packet number, all 62 bits; never used twice with one seal.
        """

    def seal_train(self, prefix: bytes, number: int, contents: Sequence[Sequence[bytes]]) -> list[bytes]:
        """
        Whole datagrams with consecutive numbers.

        @param prefix: 9 bytes that all begin with.
        @param number: of the first.
        @param contents: each in pieces.
        """

    def open(self, datagram: memoryview, length: int, number: int) -> bytes | None:
        """
        The content of a datagram, which is nobody else's, or None when it was altered.

        @param length: bytes of the header.
        @param number: the expanded packet number.
        """

    def open_train(self, prefix: bytes, datagrams: Sequence[memoryview], expected: int) -> list[Unsealed]:
        """
        The contents of datagrams one after another, up to the first that begins otherwise, or whose number is not near
        the expected one.

        @param prefix: 9 bytes that they begin with.
        @param datagrams: of 13 bytes at least.
        @param expected: one more than the largest number that was authentic.
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
    awake = False
    overhead = 4
    sealings = ENDLESS
    forgeries = ENDLESS

    def seal(self, header: bytes, parts: Sequence[bytes], number: int) -> bytes:
        checksum = crc32(header)
        for part in parts:
            checksum = crc32(part, checksum)
        return b"".join((header, *parts, checksum.to_bytes(4, "big")))

    def seal_train(self, prefix: bytes, number: int, contents: Sequence[Sequence[bytes]]) -> list[bytes]:
        return [self.seal(TRAIN_HEADER.pack(prefix, at & LOW), parts, at) for at, parts in enumerate(contents, number)]

    def open(self, datagram: memoryview, length: int, number: int) -> bytes | None:
        end = len(datagram) - 4
        if end < length or crc32(datagram[:end]) != int.from_bytes(datagram[end:], "big"):
            return None
        return bytes(datagram[length:end])

    def open_train(self, prefix: bytes, datagrams: Sequence[memoryview], expected: int) -> list[Unsealed]:
        found: list[Unsealed] = []
        for datagram in datagrams:
            begins, low = TRAIN_HEADER.unpack_from(datagram)
            number = (expected & ~LOW) | low
            if begins != prefix or not -NEAR <= number - expected < NEAR:
                break
            content = self.open(datagram, TRAIN_HEADER.size, number)
            found.append((number, content))
            if content is not None and number >= expected:
                expected = number + 1
        return found

    def next(self) -> PlainSeal:
        return self

    def rest(self) -> None:
        """Nothing is held."""
