"""
JSON of a stranger's, key by key: frames are declared as dataclasses whose fields know how they are written.

As Go's decoder has it, whose programs are at the other end: unknown keys are passed over, and one that is absent or
null is what a new variable would be.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple, Self

from hypermail.hive.errors import FrameInvalid

#: Numbers are of 64 bits at most, with a sign.
_LARGEST = (1 << 63) - 1

Lists = Mapping[str, tuple[str, ...]]
"""Several values by name, as of headers."""


def text(value: Any) -> str:
    """Read a string, which no half of a pair of surrogates may be in: it could not be written again."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError("a string")
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        raise ValueError("a string of characters")
    return value


def number(value: Any) -> int:
    """Read a number that is not negative."""
    if value is None:
        return 0
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _LARGEST:
        raise ValueError("a whole number that is not negative")
    return value


def texts(value: Any) -> tuple[str, ...]:
    """Read a list of strings."""
    if value is None:
        return ()
    if not isinstance(value, list):
        raise ValueError("a list of strings")
    return tuple(map(text, value))


def lists(value: Any) -> Lists:
    """Read an object of lists of strings."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ValueError("an object of lists")
    return {text(name): texts(values) for name, values in value.items()}


def told(key: str, read: Callable[[Any], Any], *, ours: bool = False) -> Any:
    """
    A field of a frame.

    @param key: in JSON.
    @param read: makes its value of JSON's; raises L{ValueError} with what it should be.
    @param ours: whether this is an extension, which is not written when there is nothing to say.
    """
    return field(default_factory=lambda: read(None), metadata={"key": key, "read": read, "ours": ours})


class _Key(NamedTuple):
    """How a field is written; see L{told}. @ivar name: of the attribute."""

    name: str
    key: str
    read: Callable[[Any], Any]
    ours: bool


_known: dict[type[Told], tuple[_Key, ...]] = {}  # what was found by _keys


def _keys(cls: type[Told]) -> tuple[_Key, ...]:
    found = _known.get(cls)
    if found is None:
        found = _known[cls] = tuple(_Key(one.name, **one.metadata) for one in fields(cls))
    return found


@dataclass(frozen=True)
class Told:
    """What is written as a JSON object; its fields are made by L{told}."""

    def encode(self) -> bytes:
        """All of it, as UTF-8."""
        content = {}
        for name, key, _, ours in _keys(type(self)):
            value = getattr(self, name)
            if value or not ours:
                content[key] = value
        return _encode(content).encode()

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        """
        Read what a peer has written; nothing at all is an empty object.

        @raise FrameInvalid: when it is no such thing.
        """
        try:
            content = _decode(payload.decode("utf-8", "surrogatepass")) if payload else {}
        except (ValueError, RecursionError) as error:
            raise FrameInvalid(f"{cls.__name__} is no JSON: {error}") from None
        if not isinstance(content, dict):
            raise FrameInvalid(f"{cls.__name__} is no JSON object")
        found = {}
        for name, key, read, _ in _keys(cls):
            try:
                found[name] = read(content.get(key))
            except ValueError as error:
                raise FrameInvalid(f"{key} of {cls.__name__} is not {error}") from None
        return cls(**found)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number")


# Made once: json.dumps and json.loads make one for each call that has options.
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_decode = json.JSONDecoder(parse_constant=_refuse).decode
