"""
What the two sides of a session tell each other about themselves, in C{SessionOpen} and its answer.

On the wire: a count, then for each parameter its number (8 bits), the length of its value (8 bits) and
the value. Unknown numbers are ignored, so that later versions can add some; a known one may appear once.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from hypermail.errors import MalformedPacket
from hypermail.wire.fields import Reader


class Parameters(NamedTuple):
    """
    The limits of one side. Sizes are bytes.

    @ivar max_message: of the largest message that it takes.
    @ivar allowance_bytes: declared bytes of messages begun and not settled.
    @ivar allowance_messages: the same, in messages.
    @ivar max_lanes: lanes that the peer may use.
    @ivar max_streams: streams that the peer may have open at once.
    @ivar stream_window: what a stream may carry before anything is said about it.
    @ivar receive_buffer: of its socket; trains are at most half of it.
    @ivar max_datagram: UDP payload of the largest datagram that it can read.
    @ivar silence: ms without a datagram from the peer after which it forgets the link.
    @ivar incarnation: tells what this side remembers of the session from what it remembered before a restart.
    @ivar persistence: what the session may outlive for its part, as of L{hypermail.options.Persistence}.
    @ivar reset_token: 16 bytes that prove a later reset, or empty (a starter sends none).
    """

    max_message: int
    allowance_bytes: int
    allowance_messages: int
    max_lanes: int
    max_streams: int
    stream_window: int
    receive_buffer: int
    max_datagram: int
    silence: int
    incarnation: int
    persistence: int
    reset_token: bytes = b""

    def encode(self) -> bytes:
        """The parameters as they are written."""
        token = self.reset_token
        written = bytearray((len(self) - (not token),))
        for number, value in enumerate(self[:-1], 1):
            size = (value.bit_length() + 7) >> 3
            written += bytes((number, size)) + value.to_bytes(size, "big")
        if token:
            written += bytes((len(self), len(token))) + token
        return bytes(written)

    @classmethod
    def decode(cls, reader: Reader) -> Parameters:
        """
        Read parameters.

        @raise MalformedPacket: when one that must be there is absent, doubled or too long.
        """
        found = reader.numbered(reader.integer(1))
        values = dict(found)
        if len(values) < len(found):
            numbers = [number for number, _ in found]
            twice = next(number for number in numbers if numbers.count(number) > 1)
            raise MalformedPacket(f"session parameter {twice} appears twice")
        integers = []
        for number, name in enumerate(cls._fields[:-1], 1):
            value = values.get(number)
            if value is None:
                raise MalformedPacket(f"session parameter {name} is missing")
            if len(value) > 8:
                raise MalformedPacket(f"session parameter {name} is longer than 8 bytes")
            integers.append(int.from_bytes(value, "big") if name == "incarnation" else _integer(value))
        token = values.get(len(cls._fields), b"")
        if len(token) not in (0, 16):
            raise MalformedPacket("a reset token is 16 bytes")
        return cls._make([*integers, token])


@lru_cache(maxsize=64)
def _integer(value: bytes) -> int:
    """A number as one object for all peers: most of them tell the same ones, and sessions keep them."""
    return int.from_bytes(value, "big")
