"""
What of durable lanes has to outlive the process, as changes to be written down in order.

The core puts changes into a L{Journal}, and may wait for the word that they are safe; whoever drives it has them
written. The changes that concern a session as a whole are in L{hypermail.session.journal}.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from hypermail.messages.lanes import LaneProperties
from hypermail.wire import message_packets

#: Is told whether a change is safe, and the time, in s.
Written = Callable[[bool, float], None]


class LaneUsed(NamedTuple):
    """We have begun to send on a durable lane of these properties."""

    id: bytes
    lane: int
    properties: LaneProperties


class QueuedMessage(NamedTuple):
    """
    A message that waits for the peer's application.

    @ivar expires: s of the wall clock (since 1970) at which it is given up, or None.
    @ivar note: what the application wants to find again with it; at most 1,024 bytes.
    """

    data: bytes
    expires: float | None
    note: bytes


class Queued(NamedTuple):
    """Messages of one lane with consecutive numbers, from C{first} on."""

    id: bytes
    lane: int
    first: int
    messages: list[QueuedMessage]


class Withdrawn(NamedTuple):
    """A queued message is not to be delivered any more; its number stays taken."""

    id: bytes
    lane: int
    number: int


class Settled(NamedTuple):
    """The fate of all messages of ours with numbers below C{below} is known: they need not be kept."""

    id: bytes
    lane: int
    below: int


class Taken(NamedTuple):
    """
    The application has settled all messages of the peer's with numbers below C{below}.

    @ivar verdicts: those below it that were not taken, and that were not among those of an earlier change.
    """

    id: bytes
    lane: int
    below: int
    verdicts: tuple[message_packets.Verdict, ...]


class Heard(NamedTuple):
    """The peer knows these verdicts."""

    id: bytes
    lane: int
    numbers: tuple[int, ...]


class Journal:
    """
    The changes of one session, in order.

    @ivar id: of the session; empty until it has one, before which nothing is written.
    @ivar known: whether there is anything of the session on disk, or will be.
    """

    __slots__ = ("_finished", "_serial", "_taken", "_waiting", "_writing", "id", "known")

    def __init__(self) -> None:
        self.id = b""
        self.known = False
        self._finished = False
        self._serial = 0
        self._taken = 0
        self._waiting: list[tuple[Any, Written | None]] = []
        self._writing: deque[list[Written]] = deque()

    @property
    def waiting(self) -> bool:
        """Whether there is anything to be written."""
        return bool(self._waiting and self.id)

    def begin(self, identity: Any, written: Written | None) -> None:
        """The session has its id: what it is comes before what waits already; see L{put}."""
        if self._finished:
            return
        self.id = identity.id
        self.known = True
        lanes = [(change._replace(id=self.id), told) for change, told in self._waiting]
        self._waiting = [(identity, written), *lanes]

    def put(self, change: Any, written: Written | None = None) -> int:
        """
        Have a change written. What follows the last is not: it would bring back what is gone.

        @param written: called when it is safe, or cannot be written.
        @return: by what it is known to L{waits}.
        """
        if not self._finished:
            self._waiting.append((change, written))
            self._serial += 1
        return self._serial

    def finish(self, last: Any) -> None:
        """Have the last of all changes written, if anything of the session was."""
        if self.known:
            self.put(last)
        else:
            self._waiting.clear()
        self._finished = True

    def waits(self, serial: int) -> bool:
        """Whether a change was not taken yet, so that one that grows may grow on."""
        return serial > self._taken

    def drop(self, lane: int, number: int) -> None:
        """What waits to be said of a lane's messages from C{number} on is not to be written: they were not accepted."""

        def concerns(change: Any) -> bool:
            if getattr(change, "lane", None) != lane:
                return False
            kind = type(change)
            return (kind is Queued and change.first >= number) or (kind is Withdrawn and change.number >= number)

        self._waiting = [entry for entry in self._waiting if not concerns(entry[0])]

    def take(self) -> list[Any]:
        """All changes that wait. They are to be written in one piece; L{tell} has to follow."""
        waiting, self._waiting = self._waiting, []
        self._taken = self._serial
        self._writing.append([written for _, written in waiting if written is not None])
        return [change for change, _ in waiting]

    def tell(self, safe: bool, now: float) -> None:
        """
        What was taken first, of all that was not told of yet, is safe, or will not be.

        @param now: s.
        """
        for written in self._writing.popleft():
            written(safe, now)
