"""
Handshakes: the exchange after which both sides have session keys, and know as much of each other as the mode asks.

The handshake's bytes travel in C{Handshake} packets as one ordered byte stream per direction; the link
carries them and knows nothing of their meaning. A mode is one class here or in a module beside.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from struct import Struct
from typing import TYPE_CHECKING, Protocol

from hypermail.options import Mode, Role
from hypermail.security.keys import Keys
from hypermail.security.seal import PlainSeal

if TYPE_CHECKING:
    from cryptography.x509 import Certificate


class Handshake(Protocol):
    """One side of one handshake."""

    @property
    def mode(self) -> Mode:
        """The mode that it establishes."""

    @property
    def begun(self) -> bool:
        """Whether everything that the starter says first has arrived; always true on a starter."""

    @property
    def complete(self) -> bool:
        """Whether the peer has proved whatever the mode asks it to prove."""

    @property
    def peer_certificate(self) -> Certificate | None:
        """The peer's, once complete, when it has shown one."""

    def receive(self, data: bytes) -> None:
        """
        Take bytes of the peer's flight, in order.

        @raise HandshakeFailed: when the handshake has failed; there may be something L{outgoing} that says so.
        """

    def outgoing(self) -> bytes | None:
        """Bytes to send now; None when there is nothing to say, which is not the same as an empty flight."""

    def keys(self, binding: bytes) -> Keys | None:
        """
        The session's keys, as soon as they can be had: on a listener that is before the starter has proved anything.

        @param binding: what the two sides must agree on besides; see L{bind}.
        """

    def close(self) -> None:
        """The handshake has served: free what it holds, and ignore what is still received."""


#: The label, mode, version and tags that a session's keys are bound to; the token follows.
_BINDING = Struct(">19sB4Q")

#: Makes one side's handshake for a connection.
HandshakeFactory = Callable[[Role], Handshake]


def bind(mode: Mode, version: int, first_tag: int, starter: int, listener: int, token: bytes) -> bytes:
    """
    What the keys of a session are bound to: who sees another mode, other tags or another token has other keys.

    @param starter: the starter's tag.
    @param listener: the listener's tag.
    @param token: by which the listener has admitted the starter, or nothing.
    @return: 32 bytes.
    """
    return sha256(_BINDING.pack(b"hypermail/1 binding", mode, version, first_tag, starter, listener) + token).digest()


class PlainHandshake:
    """
    The handshake of mode C{plain}: each side says an empty flight, which costs the same round trip as any
    other mode's, proves that the address receives, and agrees on nothing.
    """

    __slots__ = ("_role", "_said", "complete")

    mode = Mode.PLAIN
    begun = True
    peer_certificate = None

    def __init__(self, role: Role) -> None:
        self._role = role
        self._said = False
        self.complete = False

    def receive(self, data: bytes) -> None:
        self.complete = True

    def outgoing(self) -> bytes | None:
        if self._said or (self._role is Role.LISTENER and not self.complete):
            return None
        self._said = True
        return b""

    def keys(self, binding: bytes) -> Keys | None:
        if not self.complete:
            return None
        return Keys(PlainSeal(), PlainSeal(), sha256(b"hypermail/1 plain" + binding).digest()[:16], b"")

    def close(self) -> None:
        """Nothing is held."""
