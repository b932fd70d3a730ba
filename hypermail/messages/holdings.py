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

    __slots__ = ("_excused_bytes", "_excused_messages", "_most_bytes", "_most_messages", "bytes", "messages")

    def __init__(self, most_bytes: int, most_messages: int) -> None:
        self._most_bytes = most_bytes
        self._most_messages = most_messages
        self._excused_bytes = 0
        self._excused_messages = 0
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

    def excuse(self, size: int, count: int) -> bool:
        """
        So much that was begun is not to be counted any more, though it is not settled. No more than an allowance of it
        may be so at one time.

        @return: whether it is so; if not, it is counted as before.
        """
        if self._excused_bytes + size > self._most_bytes or self._excused_messages + count > self._most_messages:
            return False
        self._excused_bytes += size
        self._excused_messages += count
        self.release(size, count)
        return True

    def count_again(self, size: int, count: int) -> None:
        """So much of what was excused is about to be settled."""
        self._excused_bytes -= size
        self._excused_messages -= count
        self.release(-size, -count)
