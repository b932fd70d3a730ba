"""
Tokens by which an answer proves whose it is.
"""

from __future__ import annotations

from hashlib import sha256
from hmac import compare_digest, digest

#: Bytes of a reset token.
RESET_TOKEN = 16


class ResetKey:
    """
    Makes the tokens of resets: C{HMAC-SHA-256(key, tag)}, its first 16 bytes.

    Who has lost its sessions but kept the key can still tell a peer so, and nobody else can.

    @param key: at least 16 secret bytes.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def token(self, tag: int) -> bytes:
        """The token for one of our tags."""
        return digest(self._key, tag.to_bytes(8, "big"), sha256)[:RESET_TOKEN]


def same_token(one: bytes, other: bytes) -> bool:
    """Whether two tokens are equal, in a time that doesn't tell where they differ."""
    return compare_digest(one, other)
