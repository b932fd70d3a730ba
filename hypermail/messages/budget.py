"""
How much may be begun: the peer's allowance, which is the messages' back pressure.
"""

from __future__ import annotations

#: The share of the allowance that is kept for lanes of a higher priority than 0: one in so many.
RESERVE = 4
#: Bytes that a queued message counts for besides its own.
COST = 64


class Budget:
    """
    Counts messages that are queued here, and those that are begun and not settled.

    @ivar allowance_bytes: declared bytes that the peer allows to be begun and not settled.
    @ivar allowance_messages: the same, in messages.
    @ivar most_queued: bytes queued, C{COST} of each message included, at which C{full} is true.
    """

    __slots__ = (
        "allowance_bytes",
        "allowance_messages",
        "begun_bytes",
        "begun_messages",
        "most_queued",
        "queued_bytes",
        "queued_messages",
    )

    def __init__(self, most_queued: int, allowance_bytes: int, allowance_messages: int) -> None:
        self.most_queued = most_queued
        self.allowance_bytes = allowance_bytes
        self.allowance_messages = allowance_messages
        self.queued_bytes = 0
        self.queued_messages = 0
        self.begun_bytes = 0
        self.begun_messages = 0

    @property
    def full(self) -> bool:
        """Whether producers should pause."""
        return self.queued_bytes + COST * self.queued_messages >= self.most_queued

    @property
    def drained(self) -> bool:
        """Whether producers that paused may go on."""
        return (self.queued_bytes + COST * self.queued_messages) * 2 <= self.most_queued

    @property
    def room(self) -> int:
        """Bytes until producers should pause, of which each message takes C{COST} besides its own; below 1 for none."""
        return self.most_queued - self.queued_bytes - COST * self.queued_messages

    def headroom(self, priority: int) -> tuple[int, int]:
        """How many messages, and bytes, lanes of a priority may begin."""
        messages, capacity = self.allowance_messages, self.allowance_bytes
        if not priority:
            messages -= messages // RESERVE
            capacity -= capacity // RESERVE
        return messages - self.begun_messages, capacity - self.begun_bytes

    def allows(self, size: int, priority: int) -> bool:
        """Whether a message of C{size} bytes may be begun. One may always, when none is."""
        messages, capacity = self.headroom(priority)
        return not self.begun_messages or (messages > 0 and size <= capacity)

    def queued(self, size: int, count: int = 1) -> None:
        """Messages of C{size} bytes together wait."""
        self.queued_bytes += size
        self.queued_messages += count

    def unqueued(self, size: int) -> None:
        """A message waits no more: begun, or given up."""
        self.queued_bytes -= size
        self.queued_messages -= 1

    def began(self, size: int, count: int) -> None:
        """Waiting messages of C{size} bytes together were begun."""
        self.queued_bytes -= size
        self.queued_messages -= count
        self.begun_bytes += size
        self.begun_messages += count

    def settled(self, size: int, count: int = 1) -> None:
        """The fate of begun messages of C{size} bytes together is known."""
        self.begun_bytes -= size
        self.begun_messages -= count
