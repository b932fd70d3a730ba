"""
What of messages that were not taken is said to the peer by C{StreamClear}: that they are withdrawn, or that the reason
is known.

There may be very many at once, so they are told a few at a time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial

from hypermail.link.control import Control
from hypermail.messages.message import OutgoingMessage
from hypermail.wire.packets import MessageClear

#: C{MessageClear}s on their way, at most.
MOST_CLEARS = 1_024
#: Messages of which the peer waits to hear that their fate is known here: it has no reason to tell of so many.
MOST_KNOWN = 65_536


class Clearing:
    """
    The C{StreamClear}s of one session's messages, while the peer remembers what it has heard of them.

    @param flags: of a lane, by its number.
    """

    __slots__ = ("_asked", "_asking", "_control", "_flags", "_known", "_telling")

    def __init__(self, control: Control, flags: Callable[[int], int]) -> None:
        self._control = control
        self._flags = flags
        self._asking: deque[OutgoingMessage] = deque()
        self._asked = 0  # and not arrived
        self._known: deque[MessageClear] = deque()
        self._telling: set[tuple[int, int]] = set()  # of them on their way: (lane, number)

    def ask(self, message: OutgoingMessage) -> None:
        """The peer is to be asked about a message that is withdrawn."""
        self._asking.append(message)
        self._ask_more()

    def _ask_more(self) -> None:
        while self._asking and self._asked < MOST_CLEARS:
            message = self._asking.popleft()
            if not message.settled:
                self._asked += 1
                clear = MessageClear(message.lane, self._flags(message.lane), message.number)
                self._control.put(("message", message.lane, message.number), clear, self._arrived)

    def _arrived(self) -> None:
        self._asked -= 1
        self._ask_more()

    def tell_known(self, clear: MessageClear) -> None:
        """The peer is told that the fate of a message is known here for good."""
        if len(self._known) < MOST_KNOWN:
            self._known.append(clear)
        self._tell_more()

    def _tell_more(self) -> None:
        while self._known and len(self._telling) < MOST_CLEARS:
            clear = self._known.popleft()
            name = clear.lane, clear.number
            if name not in self._telling:
                self._telling.add(name)
                self._control.put(("known", *name), clear, partial(self._told, name))

    def _told(self, name: tuple[int, int]) -> None:
        self._telling.discard(name)
        self._tell_more()

    def forget(self) -> None:
        """The peer remembers nothing of it: what waits is not said any more."""
        self._asking.clear()
        self._known.clear()
