"""
Handshakes: the exchange after which both sides have session seals. Mode C{plain}'s is empty.

The handshake's bytes travel in C{Handshake} packets as one ordered byte stream per direction; the link
carries them and knows nothing of their meaning.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Protocol

from hypermail.options import Mode, Role
from hypermail.security.seal import PlainSeal, Seal


class Handshake(Protocol):
    """
    One side of one handshake.

    @ivar mode: the mode that it establishes.
    @ivar complete: whether the peer has proved whatever the mode asks it to prove.
    """

    mode: Mode
    complete: bool

    def long_seals(self, first_tag: int) -> tuple[Seal, Seal]:
        """Seals (sending, receiving) for long datagrams, from the starter's first tag."""

    def receive(self, data: bytes) -> None:
        """Take bytes of the peer's flight, in order. @raise HypermailError: when the handshake has failed."""

    def outgoing(self) -> bytes | None:
        """Bytes to send now; None when there is nothing to say, which is not the same as an empty flight."""

    def session_seals(self) -> tuple[Seal, Seal] | None:
        """Seals (sending, receiving) for short datagrams, as soon as they can be had."""

    def session_id(self, first_tag: int) -> bytes:
        """16 bytes that name the session, equal on both sides."""


#: Makes one side's handshake for a connection.
HandshakeFactory = Callable[[Role], Handshake]


class PlainHandshake:
    """
    The handshake of mode C{plain}: each side says an empty flight, which costs the same round trip as any
    other mode's, proves that the address receives, and agrees on nothing.
    """

    mode = Mode.PLAIN

    def __init__(self, role: Role) -> None:
        self._role = role
        self._said = False
        self.complete = False

    def long_seals(self, first_tag: int) -> tuple[Seal, Seal]:
        return PlainSeal(), PlainSeal()

    def receive(self, data: bytes) -> None:
        self.complete = True

    def outgoing(self) -> bytes | None:
        if self._said or (self._role is Role.LISTENER and not self.complete):
            return None
        self._said = True
        return b""

    def session_seals(self) -> tuple[Seal, Seal] | None:
        return (PlainSeal(), PlainSeal()) if self.complete else None

    def session_id(self, first_tag: int) -> bytes:
        return sha256(b"hypermail/1 plain" + first_tag.to_bytes(8, "big")).digest()[:16]
