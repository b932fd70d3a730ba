"""
How the messages of one lane get into datagrams, first and again.

Small messages leave in runs (C{StreamBlocks}), larger ones in fragments (C{StreamBlock}). What is done with a run of
bytes costs little more than with one message.
"""

from __future__ import annotations

from collections import deque
from sys import maxsize
from typing import cast

from hypermail.link.payload import Payload
from hypermail.messages.budget import Budget
from hypermail.messages.lanes import LaneProperties
from hypermail.messages.message import Item, OutgoingMessage, data_of, size_of, travels
from hypermail.messages.states import BEGUN, OUTGOING, QUEUED, Input
from hypermail.options import Delivery
from hypermail.wire.heads import Head
from hypermail.wire.packets import BLOCK, BLOCKS, MAX_RUN, lengths
from hypermail.wire.ranges import RangeSet

#: Bytes of a message that are worth a fragment when a datagram is nearly full.
LEAST_FRAGMENT = 64
#: Numbers that the settled ones may be ahead of the oldest unsettled one on an unordered lane.
MOST_AHEAD = 65_536
#: Bytes that a whole message takes in a run besides its own.
LENGTH = 2
#: Messages of which it is seen at once whether they fit a datagram.
MOST_GUESSED = 128


class DepartingMessages:
    """
    What the sending half of one lane has in hand, and how it leaves. A source whose ranges are numbers of whole
    messages.

    All messages stand in one list in the order of sending, from the oldest on that may not be settled; those that are,
    behind it, are None. The first that was not begun is at C{_next}, less C{_base}, as are all others at their numbers.

    @cvar message: makes its messages.
    @ivar settled: messages whose fate became known and that somebody wants to hear of; one list for all lanes of a
        session.
    """

    message: type[OutgoingMessage] = OutgoingMessage

    __slots__ = (
        "_base",
        "_budget",
        "_flags",
        "_fragmenting",
        "_fragments_lost",
        "_items",
        "_known",
        "_most_queued",
        "_next",
        "_records",
        "_unsettled",
        "_watermark",
        "_wholes_lost",
        "number",
        "properties",
        "settled",
    )

    def __init__(self, number: int, properties: LaneProperties, budget: Budget, most_buffered: int) -> None:
        self.number = number
        self.properties = properties
        self._flags = properties.flags
        self._budget = budget
        self._most_queued = most_buffered if properties.delivery is Delivery.BUFFERED else maxsize
        self._items: list[Item | None] = []
        self._base = 0  # the number of the first of them
        self._records = 0  # how many of them are more than bytes
        self._next = 0
        self._unsettled = 0  # of those that were begun
        self._watermark = 0
        self._known = RangeSet()  # settled above the watermark
        self._fragmenting: OutgoingMessage | None = None
        self._wholes_lost = RangeSet()
        self._fragments_lost: deque[OutgoingMessage] | None = None  # those with fragments to be sent again
        self.settled: list[OutgoingMessage] = []

    @property
    def _queued(self) -> int:
        """How many have not."""
        return self._base + len(self._items) - self._next

    @property
    def _next_item(self) -> Item | None:
        """The next to be begun; None when nothing waits."""
        at = self._next - self._base
        return self._items[at] if at < len(self._items) else None

    def _begun_item(self, number: int) -> Item | None:
        """What was begun under a number; None when it is settled, or nothing was."""
        return self._items[number - self._base] if self._base <= number < self._next else None

    def _record(self, number: int) -> OutgoingMessage:
        """What was begun under a number and is not settled, as more than bytes from now on."""
        item = self._items[number - self._base]
        if isinstance(item, OutgoingMessage):
            message = item
        else:
            message = self._items[number - self._base] = self.message(self, cast("bytes", item), False)
            self._records += 1
        if message.state is QUEUED:
            message.number = number
            message.state = OUTGOING.next(message.state, Input.BEGIN)
        return message

    # Sending

    @property
    def has_lost(self) -> bool:
        """Whether something has to be sent again."""
        return bool(self._wholes_lost) or bool(self._fragments_lost)

    @property
    def has_more(self) -> bool:
        """Whether something could be sent, the peer's allowance permitting."""
        if self._fragmenting is not None or self._wholes_lost or self._fragments_lost:
            return True
        item = self._next_item
        return item is not None and self._may_begin(size_of(item))

    def _may_begin(self, size: int) -> bool:
        return self._next - self._watermark < MOST_AHEAD and self._budget.allows(size, self.properties.priority)

    def fill(self, payload: Payload, whole_room: int) -> None:
        """
        Put as much as fits and is allowed into a datagram: what was lost first.

        @param whole_room: bytes of an empty datagram; what fits into that is not fragmented.
        """
        largest_whole = whole_room - BLOCKS.size - LENGTH
        if self._wholes_lost:
            self._resend_wholes(payload, largest_whole)
        while self._fragments_lost and not payload.full:
            self._resend_fragments(payload, self._fragments_lost)
        while not payload.full:
            if self._fragmenting is not None:
                self._continue(payload, self._fragmenting)
                continue
            item = self._next_item
            if item is None:
                return
            size = size_of(item)
            if not self._may_begin(size):
                return
            if size <= largest_whole:
                self._begin_run(payload, self._run_end())
            else:
                self._began(size, 1)
                self._fragmenting = self._record(self._next - 1)

    def _run_end(self) -> int:
        """Before which place in the list the next run has to end; it has one message at least."""
        messages, _ = self._budget.headroom(self.properties.priority)
        most = max(1, min(messages, MAX_RUN, self._watermark + MOST_AHEAD - self._next))
        return min(len(self._items), self._next - self._base + most)

    def _began(self, size: int, count: int) -> None:
        """The next C{count} messages, of C{size} bytes together, are on their way from now on."""
        self._next += count
        self._unsettled += count
        self._budget.began(size, count)

    def _begin_run(self, payload: Payload, end: int) -> None:
        """Begin small messages, as many as fit into this datagram; the first is known to be allowed."""
        items, first = self._items, self._next
        start = at = first - self._base
        room = payload.room - BLOCKS.size
        _, capacity = self._budget.headroom(self.properties.priority)
        run: list[bytes] = []
        sizes: list[int] = []
        while at < end:
            size = size_of(cast("Item", items[at]))
            if size + LENGTH > room:
                payload.full = True
                break
            if run and size > capacity:
                break
            # As many as there would be if all were as long as the first.
            some = contents(items[at : min(end, at + min(room // (size + LENGTH), MOST_GUESSED))], self._records)
            lengths_of = list(map(len, some))
            total = sum(lengths_of)
            if total + LENGTH * len(some) > room or total > capacity:
                count = _fitting(lengths_of, room, capacity)
                del some[count:], lengths_of[count:]
                total = sum(lengths_of)
            run += some
            sizes += lengths_of
            at += len(some)
            room -= total + LENGTH * len(some)
            capacity -= total
        if self._records:
            for number, item in enumerate(items[start:at], first):
                if isinstance(item, OutgoingMessage):
                    item.number = number
                    item.state = BEGUN  # OUTGOING: (QUEUED, BEGIN), the hot path
        if run:
            self._began(sum(sizes), len(run))
            self._add_run(payload, first, run, sizes)

    def _add_run(self, payload: Payload, first: int, run: list[bytes], sizes: list[int]) -> None:
        """Put messages with consecutive numbers into a datagram that has room for them."""
        payload.parts.append(BLOCKS.pack(Head.STREAM_BLOCKS, self.number, self._flags, first, len(run)))
        payload.parts.append(lengths(len(run)).pack(*sizes))
        payload.parts += run
        payload.room -= BLOCKS.size + LENGTH * len(run) + sum(sizes)
        payload.contents.append((self, first, first + len(run)))

    def _resend_wholes(self, payload: Payload, largest_whole: int) -> None:
        """Send lost runs again; what does not fit a datagram any more (the MTU shrank) goes in fragments."""
        lost = self._wholes_lost
        while lost and not payload.full:
            first, stop = lost.first()
            item = self._begun_item(first)
            if not travels(item):
                lost.remove(first, first + 1)
            elif size_of(item) > largest_whole:
                lost.remove(first, first + 1)
                self._record(first).lost(0, size_of(item))
            else:
                run = self._lost_run(payload, first, stop)
                if run:
                    self._add_run(payload, first, run, list(map(len, run)))
                lost.remove(first, first + len(run))

    def _lost_run(self, payload: Payload, first: int, stop: int) -> list[bytes]:
        """Those messages from C{first} on that can go in one run of this datagram."""
        room = payload.room - BLOCKS.size
        run: list[bytes] = []
        for number in range(first, min(stop, first + MAX_RUN)):
            item = self._begun_item(number)
            if not travels(item):
                break
            room -= size_of(item) + LENGTH
            if room < 0:
                payload.full = True
                break
            run.append(data_of(item))
        return run

    def _resend_fragments(self, payload: Payload, waiting: deque[OutgoingMessage]) -> None:
        message = waiting[0]
        resend = message.resend
        if message.state is not BEGUN or not resend:
            waiting.popleft()
            return
        start, stop = resend.first()
        sent = self._add_fragment(payload, message, start, stop)
        resend.remove(start, start + sent)
        if not resend:
            waiting.popleft()

    def _continue(self, payload: Payload, message: OutgoingMessage) -> None:
        total = len(message.data)
        message.fresh += self._add_fragment(payload, message, message.fresh, total)
        if message.fresh == total:
            self._fragmenting = None

    def _add_fragment(self, payload: Payload, message: OutgoingMessage, start: int, stop: int) -> int:
        """Put a fragment into a datagram, as large as fits. @return: its bytes, 0 when it isn't worth it."""
        room = payload.room - BLOCK.size
        size = min(stop - start, room)
        if size < min(stop - start, LEAST_FRAGMENT):
            payload.full = True
            return 0
        head = BLOCK.pack(Head.STREAM_BLOCK, self.number, self._flags, message.number, len(message.data), start, size)
        payload.parts.append(head)
        payload.parts.append(message.data[start : start + size])
        payload.room -= BLOCK.size + size
        payload.contents.append((message, start, start + size))
        payload.full = payload.full or start + size < stop
        return size

    # As a source: whole messages, addressed by numbers.

    def acked(self, start: int, stop: int) -> None:
        """The application's word counts, not the link's."""

    def lost(self, start: int, stop: int) -> None:
        """Send those again that are not settled."""
        for low, high in self._known.missing(max(start, self._watermark), min(stop, self._next)):
            self._wholes_lost.add(low, high)

    def fragment_lost(self, message: OutgoingMessage) -> None:
        """A message has fragments to be sent again, and had none."""
        if self._fragments_lost is None:
            self._fragments_lost = deque()
        self._fragments_lost.append(message)


def contents(items: list[Item | None], records: int) -> list[bytes]:
    """The bytes of messages. @param records: 0 when all are bytes alone."""
    if not records:
        return cast("list[bytes]", items)
    return [item if isinstance(item, bytes) else item.data for item in items if item is not None]


def _fitting(sizes: list[int], room: int, capacity: int) -> int:
    """
    How many messages, of which the first is known to fit, fit a datagram and the peer's allowance.

    @param room: bytes, C{LENGTH} included.
    @param capacity: bytes.
    """
    count = 0
    for size in sizes:
        room -= size + LENGTH
        capacity -= size
        if room < 0 or (count and capacity < 0):
            break
        count += 1
    return count
