"""
The key that cells log in with, and the hash of it that the queen keeps (C{docs/protocol/hive}, "Configuration").

Hashes are of Argon2id (RFC 9106), or of bcrypt, which is all that queens of the seed's authors know; that needs the
extra C{hive}. Both take tens of milliseconds: off the reactor's thread, please.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from typing import Any

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from hypermail.errors import NotSupported

#: Bytes of chance that a key, and the salt of a hash, are made of.
KEY_BYTES = 32
SALT_BYTES = 16

# A key of ours cannot be guessed, so that the least that is recommended for passwords is enough.
_ITERATIONS = 2
_LANES = 1
_KIBIBYTES = 19 << 10
_HASH_BYTES = 32
#: bcrypt looks no further.
_MOST_BCRYPT = 72
_BCRYPT_ROUNDS = 10


def new_key(chance: bytes) -> str:
    """A key. @param chance: L{KEY_BYTES} of it."""
    return urlsafe_b64encode(chance).decode().rstrip("=")


def argon2id(key: str, salt: bytes) -> str:
    """The hash of a key. @param salt: L{SALT_BYTES}."""
    made = Argon2id(salt=salt, length=_HASH_BYTES, iterations=_ITERATIONS, lanes=_LANES, memory_cost=_KIBIBYTES)
    return made.derive_phc_encoded(key.encode())


def bcrypt(key: str) -> str:
    """
    The hash of a key, for queens of the seed's authors. Salts come from the library.

    @raise NotSupported: when that is not installed.
    """
    library = _bcrypt()
    hashed: bytes = library.hashpw(key.encode()[:_MOST_BCRYPT], library.gensalt(_BCRYPT_ROUNDS))
    return hashed.decode()


def check_known(hashed: str) -> None:
    """@raise NotSupported: when L{is_key_of} would, and why."""
    if not hashed.startswith("$argon2id$"):
        _bcrypt()


def is_key_of(key: str, hashed: str) -> bool:
    """
    Whether this is the key of a hash, in a time that does not depend on how much of it is right.

    @param hashed: as L{hypermail.hive.directives} lets in.
    @raise NotSupported: when it is of bcrypt, and that is not installed.
    """
    if hashed.startswith("$argon2id$"):
        try:
            Argon2id.verify_phc_encoded(key.encode(), hashed)
        except (InvalidKey, ValueError):
            return False
        return True
    library = _bcrypt()
    try:
        return bool(library.checkpw(key.encode(), hashed.encode()))
    except ValueError:  # a key longer than bcrypt looks, or with a null character
        return False


def _bcrypt() -> Any:
    try:
        import bcrypt
    except ImportError:
        raise NotSupported("hashes of bcrypt need its library: pip install 'hypermail[hive]'") from None
    return bcrypt
