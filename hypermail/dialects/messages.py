"""
A dialect's messages on both sides of the wire: what waits to leave, and what the application has yet to settle.
"""

from __future__ import annotations

from collections import deque
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Generic, TypeVar

from hypermail.errors import (
    Delivered,
    HypermailError,
    MessageCancelled,
    MessageExpired,
    MessageUndelivered,
)
from hypermail.events import MessagesReceived

T = TypeVar("T")

#: Bytes that a queued message counts for besides its own.
OVERHEAD = 64


class DialectMessage:
    """
    One message on its way.

    @cvar lane: dialects have none.
    @ivar number: in the order of sending.
    @ivar wanted: whether somebody wants to hear of its fate.
    @ivar begun: whether any of it has left.
    @ivar settled: whether its fate is known.
    @ivar error: why the peer has not taken it; None when it has, or nothing is known yet.
    """

    __slots__ = ("begun", "data", "error", "number", "settled", "wanted")

    lane = 0

    def __init__(self, data: bytes, number: int, wanted: bool) -> None:
        self.data = data
        self.number = number
        self.wanted = wanted
        self.begun = False
        self.settled = False
        self.error: HypermailError | None = None


class Sending:
    """
    Messages of ours: queued, begun, settled.

    @param most: bytes queued at which C{full} is true.
    @ivar begun: messages of which some has left, and that are not settled.
    @ivar count: messages that have begun to leave.
    @ivar settled: those whose fate has become known, and that somebody wants to hear of.
    """

    __slots__ = ("_bytes", "_deadlines", "_most", "_queue", "_serial", "_was_full", "begun", "count", "settled")

    def __init__(self, most: int) -> None:
        self._most = most
        self._queue: deque[DialectMessage] = deque()
        self._bytes = 0
        self._serial = count()
        self._deadlines: list[tuple[float, int, DialectMessage]] = []
        self._was_full = False
        self.begun: dict[DialectMessage, None] = {}
        self.count = 0
        self.settled: list[DialectMessage] = []

    def __len__(self) -> int:
        """How many wait, or are on their way."""
        return len(self._queue) + len(self.begun)

    @property
    def queued(self) -> int:
        """How many have not begun to leave."""
        return len(self._queue)

    @property
    def full(self) -> bool:
        """Whether producers should pause."""
        if self._bytes >= self._most:
            self._was_full = True
        return self._was_full

    def add(self, data: bytes, deadline: float | None, wanted: bool) -> DialectMessage:
        """
        One message more.

        @param deadline: s, monotonic; after which it is given up.
        """
        message = DialectMessage(data, next(self._serial), wanted)
        self._queue.append(message)
        self._bytes += len(data) + OVERHEAD
        if deadline is not None:
            heappush(self._deadlines, (deadline, message.number, message))
            if len(self._deadlines) > 2 * len(self) + 64:  # most are of messages that are settled, and hold these
                self._deadlines = [entry for entry in self._deadlines if not entry[2].settled]
                heapify(self._deadlines)
        return message

    def peek(self) -> DialectMessage | None:
        """The next one to leave."""
        return self._queue[0] if self._queue else None

    def begin(self) -> DialectMessage:
        """It leaves. @raise IndexError: when there is none."""
        message = self._queue.popleft()
        self._bytes -= len(message.data) + OVERHEAD
        message.begun = True
        self.begun[message] = None
        self.count += 1
        return message

    def settle(self, message: DialectMessage, error: HypermailError | None) -> None:
        """
        The fate of a message is known; what is said first counts.

        @param error: None when the peer has taken it.
        """
        self.begun.pop(message, None)
        if message.settled:
            return
        message.settled = True
        message.error = error
        if message.wanted:
            self.settled.append(message)

    def withdraw(self, message: DialectMessage, error: HypermailError) -> None:
        """Nobody wants it to be delivered any more: what has begun may be."""
        if not message.begun and not message.settled:
            self._queue.remove(message)
            self._bytes -= len(message.data) + OVERHEAD
        self.settle(message, error)

    def cancel(self, message: DialectMessage) -> None:
        """The application has withdrawn a message, and waits for nothing."""
        message.wanted = False
        self.withdraw(message, MessageCancelled("the message was cancelled by its sender"))

    def deadline(self) -> float | None:
        """s when the next message expires; None for never."""
        while self._deadlines and self._deadlines[0][2].settled:
            heappop(self._deadlines)
        return self._deadlines[0][0] if self._deadlines else None

    def expire(self, now: float) -> list[DialectMessage]:
        """Give up what has expired. @return: those of them that had begun."""
        expired = []
        while (deadline := self.deadline()) is not None and deadline <= now:
            message = heappop(self._deadlines)[2]
            if message.begun:
                expired.append(message)
            self.withdraw(message, MessageExpired("the message has expired"))
        return expired

    def lost(self, error: HypermailError) -> None:
        """The session is over: what is not settled is undelivered."""
        for message in list(self.begun):
            self.settle(message, MessageUndelivered(error, Delivered.UNKNOWN))
        while self._queue:
            self.settle(self._queue.popleft(), MessageUndelivered(error, Delivered.NO))
        self._bytes = 0
        self._deadlines.clear()

    def became_writable(self) -> bool:
        """Whether there is room again, after C{full} had been true; once."""
        if self._was_full and self._bytes * 2 <= self._most:
            self._was_full = False
            return True
        return False


class Receiving(Generic[T]):
    """
    Messages of the peer that the application has to settle: what a L{MessagesReceived} names as its lane.

    @ivar number: dialects have one lane.
    @ivar durable: it is kept on no disk.
    @ivar bytes: of messages that are not settled.
    @ivar finished: messages that were settled.
    @ivar refused: of these, those that were not taken: no dialect can say so.
    @ivar over: whether verdicts concern nobody any more.
    """

    __slots__ = ("_arrived", "_first", "_marks", "_next", "_verdicts", "bytes", "finished", "over", "refused")

    number = 0
    durable = False

    def __init__(self) -> None:
        self._marks: dict[int, tuple[T, int]] = {}
        self._next = 0
        self._first = 0
        self._arrived: list[bytes] = []
        self._verdicts: list[T] = []
        self.bytes = 0
        self.finished = 0
        self.refused = 0
        self.over = False

    def __len__(self) -> int:
        """How many are not settled."""
        return len(self._marks)

    def arrived(self, data: bytes, mark: T) -> None:
        """A whole message is there. @param mark: what C{verdicts} is to give back when it is settled."""
        self._arrived.append(data)
        self._marks[self._next] = (mark, len(data))
        self._next += 1
        self.bytes += len(data)

    def take(self, first: int, count: int = 1) -> None:
        """The application has taken messages."""
        for number in range(first, first + count):
            found = None if self.over else self._marks.pop(number, None)
            if found is not None:
                self._verdicts.append(found[0])
                self.bytes -= found[1]
                self.finished += 1

    def reject(self, number: int, code: int = 0, text: str = "") -> None:
        """The application has refused a message. The peer cannot be told, and would send it for ever: it is settled."""
        if number in self._marks and not self.over:
            self.refused += 1
        self.take(number)

    def verdicts(self) -> list[T]:
        """The marks of messages that have been settled since this was asked last."""
        verdicts, self._verdicts = self._verdicts, []
        return verdicts

    def event(self) -> MessagesReceived | None:
        """What has arrived since this was asked last."""
        if not self._arrived:
            return None
        messages, self._arrived = self._arrived, []
        first, self._first = self._first, self._next
        return MessagesReceived(self, first, messages)  # type: ignore[arg-type]  # a lane to whoever settles them
