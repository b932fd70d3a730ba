"""
How the sessions of a simulated network are sealed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from hypermail.security.handshake import HandshakeFactory, PlainHandshake
from hypermail.security.secret import SecretHandshake


class Handshakes(NamedTuple):
    """What makes the handshakes of each side."""

    starter: HandshakeFactory
    listener: HandshakeFactory


#: Mode C{plain}: fast, and easy to read in a dump.
PLAIN = Handshakes(PlainHandshake, PlainHandshake)


def secret_handshakes(
    random_bytes: Callable[[int], bytes], ours: bytes = b"simulated" * 4, theirs: bytes | None = None
) -> Handshakes:
    """
    Mode C{secret}, which is sealed as TLS is and yet the same for the same seed.

    @param random_bytes: as of C{Random(seed).randbytes}.
    @param ours: the starter's secret.
    @param theirs: the listener's, when it is another.
    """
    return Handshakes(
        lambda role: SecretHandshake(role, ours, random_bytes),
        lambda role: SecretHandshake(role, theirs or ours, random_bytes),
    )
