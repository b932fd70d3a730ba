"""
What the peer has begun and we have not settled: the receiving side of the allowance.
"""

from __future__ import annotations

from hypermail.errors import LimitExceeded


class Holdings:
    """
    Counts declared bytes, not those that have arrived, so that a peer can't commit us to more.

    @param most_bytes: the allowance that the peer was told.
    @param most_messages: the same, in messages.
    """

    __slots__ = ("_most_bytes", "_most_messages", "bytes", "messages")

    def __init__(self, most_bytes: int, most_messages: int) -> None:
        self._most_bytes = most_bytes
        self._most_messages = most_messages
        self.bytes = 0
        self.messages = 0

    def admit(self, size: int, count: int) -> None:
        """
        The peer has begun C{count} messages that declare C{size} bytes together.

        @raise LimitExceeded: when that is more than its allowance.
        """
        self.bytes += size
        self.messages += count
        if self.bytes > self._most_bytes:
            raise LimitExceeded(f"messages of {self.bytes} bytes were begun, {self._most_bytes} are allowed")
        if self.messages > self._most_messages:
            raise LimitExceeded(f"{self.messages} messages were begun, {self._most_messages} are allowed")

    def release(self, size: int, count: int) -> None:
        """So much was settled."""
        self.bytes -= size
        self.messages -= count
