"""
Tokens by which an answer proves whose it is, and a stranger where it is.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from hmac import compare_digest, digest

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hypermail.security.keys import expand

#: Bytes of a reset token.
RESET_TOKEN = 16

#: s that a retry token is good for.
RETRY_LIFETIME = 30.0
#: s after which the key of retry tokens changes; the one before it is still good.
ROTATION = 60
#: Retry tokens that are remembered as used, at most; the oldest are forgotten.
MOST_SPENT = 16_384

_NONCE = 12


class ResetKey:
    """
    Makes the tokens of resets: C{HMAC-SHA-256(key, tag)}, its first 16 bytes.

    Who has lost its sessions but kept the key can still tell a peer so, and nobody else can.

    @param secret: at least 16 secret bytes, the same after a restart.
    @param scope: the socket: one that doesn't know a tag must not make the token of another that does.
    """

    def __init__(self, secret: bytes, scope: bytes = b"") -> None:
        self._key = expand(secret, b"reset " + scope)

    def token(self, tag: int) -> bytes:
        """The token for one of our tags."""
        return digest(self._key, tag.to_bytes(8, "big"), sha256)[:RESET_TOKEN]


def same_token(one: bytes, other: bytes) -> bool:
    """Whether two tokens are equal, in a time that doesn't tell where they differ."""
    return compare_digest(one, other)


class RetryTokens:
    """
    Makes and checks the tokens of retries: the time, sealed with AES-256-GCM; address and first tag are
    authenticated with it. Each is good once, within L{RETRY_LIFETIME}.

    Keys follow from a secret and the time, so that the workers of one listener agree on them.

    @param secret: at least 16 secret bytes.
    @param random_bytes: gives so many unpredictable bytes.
    """

    def __init__(self, secret: bytes, random_bytes: Callable[[int], bytes]) -> None:
        self._secret = secret
        self._random_bytes = random_bytes
        self._keys: dict[int, AESGCM] = {}
        self._spent: dict[bytes, float] = {}

    def make(self, address: object, first_tag: int, now: float) -> bytes:
        """
        A token for somebody who says to be at an address.

        @param address: its C{str} tells it from all others.
        @param now: s, monotonic, the same for all workers.
        """
        period = int(now) // ROTATION
        nonce = self._random_bytes(_NONCE)
        made = int(now * 1000).to_bytes(8, "big")
        sealed = self._key(period).encrypt(nonce, made, _bearer(address, first_tag))
        return bytes((period & 0xFF,)) + nonce + sealed

    def spend(self, token: bytes, address: object, first_tag: int, now: float) -> bool:
        """Whether a token is good: ours, of this address and first tag, young, and not used before."""
        if token in self._spent:
            return False
        made = self._open(token, _bearer(address, first_tag), int(now) // ROTATION)
        if made is None or not made <= now < made + RETRY_LIFETIME:
            return False
        self._forget_spent(now)
        self._spent[token] = now
        return True

    def _open(self, token: bytes, bearer: bytes, period: int) -> float | None:
        """When a token was made, s; None when it is none of ours."""
        if len(token) <= 1 + _NONCE:
            return None
        if period & 0xFF != token[0]:
            period -= 1
        if period < 0 or period & 0xFF != token[0]:
            return None
        try:
            opened = self._key(period).decrypt(token[1 : 1 + _NONCE], token[1 + _NONCE :], bearer)
        except InvalidTag:
            return None
        return int.from_bytes(opened, "big") / 1000

    def _key(self, period: int) -> AESGCM:
        key = self._keys.get(period)
        if key is None:
            for old in [old for old in self._keys if old < period - 1]:
                del self._keys[old]
            key = self._keys[period] = AESGCM(expand(self._secret, b"retry %d" % period))
        return key

    def _forget_spent(self, now: float) -> None:
        while self._spent:
            token, when = next(iter(self._spent.items()))
            if now < when + RETRY_LIFETIME and len(self._spent) < MOST_SPENT:
                return
            del self._spent[token]


def _bearer(address: object, first_tag: int) -> bytes:
    return first_tag.to_bytes(8, "big") + str(address).encode()
