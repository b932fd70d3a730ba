"""
Packet numbers: 62 bits, of which a datagram carries the low 32 (RFC 9000 §17.1, appendix A.3).
"""

from __future__ import annotations

HALF = 1 << 31
MASK = (1 << 32) - 1

#: No number beyond this is ever used.
LARGEST = (1 << 62) - 1


def expand(low: int, expected: int) -> int:
    """
    The packet number nearest to the expected one that ends in the 32 bits that were sent.

    @param low: the 32 bits from the header.
    @param expected: one more than the largest number that has been authenticated.
    """
    number = (expected & ~MASK) | low
    if number < expected - HALF and number + (MASK + 1) <= LARGEST:
        return number + (MASK + 1)
    if number >= expected + HALF and number > MASK:
        return number - (MASK + 1)
    return number
