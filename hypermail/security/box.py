"""
Header, nonce and AEAD of a whole train: the one place of the hot path that has a compiled twin.

L{Box} is the twin, C{_twin.pyx}, where that was built and its library is there, and L{PureBox} where not, or where the
environment has C{HYPERMAIL_PURE}; L{COMPILED} tells which. Both do the same, and stand the same tests.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from hypermail.security.seal import LOW, NEAR, TRAIN_HEADER, Unsealed

#: Bytes of an IV, and of a nonce.
IV = 12

_MAKERS: dict[str, Callable[[bytes], Any]] = {
    "AES-128-GCM": AESGCM,
    "AES-256-GCM": AESGCM,
    "ChaCha20-Poly1305": ChaCha20Poly1305,
}


class PureBox:
    """
    An AEAD under one key: the header is authenticated, the nonce is the IV xor the packet number (RFC 8446 §5.3).

    @param name: of the cipher, as in L{hypermail.security.keys.Cipher}.
    @param key: of the length that it wants.
    @param iv: 12 bytes.
    """

    __slots__ = ("_aead", "_iv")

    def __init__(self, name: str, key: bytes, iv: bytes) -> None:
        self._aead: Any = _MAKERS[name](key)
        self._iv = int.from_bytes(iv, "big")

    def seal(self, header: bytes, parts: Sequence[bytes], number: int) -> bytes:
        """See L{hypermail.security.seal.Seal.seal}."""
        content = parts[0] if len(parts) == 1 else b"".join(parts)
        sealed: bytes = self._aead.encrypt((self._iv ^ number).to_bytes(IV, "big"), content, header)
        return header + sealed

    def seal_train(self, prefix: bytes, number: int, contents: Sequence[Sequence[bytes]]) -> list[bytes]:
        """See L{hypermail.security.seal.Seal.seal_train}."""
        encrypt, iv, join = self._aead.encrypt, self._iv, b"".join
        sealed = []
        for parts in contents:
            header = prefix + (number & LOW).to_bytes(4, "big")
            sealed.append(header + encrypt((iv ^ number).to_bytes(IV, "big"), join(parts), header))
            number += 1
        return sealed

    def open(self, datagram: memoryview, length: int, number: int) -> bytes | None:
        """See L{hypermail.security.seal.Seal.open}."""
        nonce = (self._iv ^ number).to_bytes(IV, "big")
        try:
            content: bytes = self._aead.decrypt(nonce, datagram[length:], datagram[:length])
        except InvalidTag:
            return None
        return content

    def open_train(self, prefix: bytes, datagrams: Sequence[memoryview], expected: int) -> list[Unsealed]:
        """See L{hypermail.security.seal.Seal.open_train}."""
        decrypt, iv, unpack, size = self._aead.decrypt, self._iv, TRAIN_HEADER.unpack_from, TRAIN_HEADER.size
        found: list[Unsealed] = []
        for datagram in datagrams:
            begins, low = unpack(datagram)
            number = (expected & ~LOW) | low
            if begins != prefix or not -NEAR <= number - expected < NEAR:
                break
            try:
                content = decrypt((iv ^ number).to_bytes(IV, "big"), datagram[size:], datagram[:size])
            except InvalidTag:
                found.append((number, None))
                continue
            found.append((number, content))
            if number >= expected:
                expected = number + 1
        return found


try:
    from hypermail.security._twin import Box

    COMPILED = True
except ImportError:
    Box = PureBox  # type: ignore[assignment, misc]
    COMPILED = False

__all__ = ["COMPILED", "IV", "Box", "PureBox"]
