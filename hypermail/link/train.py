"""
What goes out: datagrams that one system call can send.
"""

from __future__ import annotations

from typing import Any, NamedTuple

#: Datagrams and bytes of one train, at most: what UDP_SEGMENT takes on every kernel that has it.
MAX_DATAGRAMS = 64
MAX_BYTES = 65_000


class Train(NamedTuple):
    """
    Datagrams for one address.

    @ivar address: as it was given to the connection; the core never looks into it.
    @ivar datagrams: all of the length of the first, but the last, which may be shorter.
    @ivar ecn: the codepoint of explicit congestion notification that all of them bear, where the carrier can.
    """

    address: Any
    datagrams: list[bytes]
    ecn: int = 0


def couple(address: Any, datagrams: list[bytes], ecn: int = 0) -> list[Train]:
    """Trains of datagrams in their order, as long as the rules of a train allow."""
    if len(datagrams) == 1:
        return [Train(address, datagrams, ecn)]
    sizes = list(map(len, datagrams))
    if sizes and sizes.count(sizes[0]) + (sizes[-1] < sizes[0]) == len(sizes):  # the usual case of many
        limit = _limit(sizes[0])
        return [Train(address, datagrams[at : at + limit], ecn) for at in range(0, len(sizes), limit)]
    trains: list[Train] = []
    current: list[bytes] = []
    size = limit = 0
    for length, datagram in zip(sizes, datagrams, strict=True):
        if current and length <= size and len(current[-1]) == size and len(current) < limit:
            current.append(datagram)
            continue
        current = [datagram]
        size = length
        limit = _limit(length)
        trains.append(Train(address, current, ecn))
    return trains


def _limit(length: int) -> int:
    """How many datagrams of C{length} bytes a train may have."""
    return min(MAX_DATAGRAMS, max(1, MAX_BYTES // max(1, length)))
