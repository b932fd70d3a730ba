"""
What applications may give for bytes.
"""

from __future__ import annotations

from typing import Any


def octets(data: Any) -> bytes:
    """
    Bytes that nobody will change.

    @raise TypeError: for what isn't C{bytes}-like.
    """
    if isinstance(data, bytes):
        return data
    if isinstance(data, (bytearray, memoryview)):
        return bytes(data)
    raise TypeError(f"data must be bytes, not {type(data).__name__}")
