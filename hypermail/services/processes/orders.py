"""
What a worker is told at its start: the first line of its standard input, which nobody else can read.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import attrs


@attrs.frozen(kw_only=True)
class Orders:
    """
    Of one worker.

    @ivar worker: its number.
    @ivar workers: how many there are.
    @ivar arguments: the options that the parent was given, which are its own, too.
    @ivar reactor: the module of the parent's reactor, to use the same.
    @ivar secret: hexadecimal: what all workers make tokens with.
    @ivar sockets: descriptors of its sockets.
    @ivar inner: of its door; see L{hypermail.internet.strays}.
    @ivar outer: of all doors, by worker.
    """

    worker: int
    workers: int
    arguments: Sequence[str]
    reactor: str
    secret: str = attrs.field(repr=False)
    sockets: Sequence[int]
    inner: int
    outer: Sequence[int]

    def encode(self) -> bytes:
        """As a line."""
        return json.dumps(attrs.asdict(self)).encode("ascii") + b"\n"

    @classmethod
    def decode(cls, line: bytes) -> Orders:
        """What L{encode} has written."""
        return cls(**json.loads(line))
