"""
One lane's outgoing messages: queued, begun, sent again, settled.

A message is kept until the peer's application has settled it, whatever the link has acknowledged. Its
number is given when it is begun, so that what is withdrawn before leaves no hole. Small messages leave in
runs (C{StreamBlocks}), larger ones in fragments (C{StreamBlock}).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from hypermail.errors import (
    Delivered,
    HypermailError,
    MessageCancelled,
    MessageDropped,
    MessageRejected,
    MessageUndelivered,
    ProtocolViolation,
)
from hypermail.link.payload import Payload
from hypermail.messages.budget import Budget
from hypermail.messages.lanes import LaneProperties
from hypermail.messages.states import OUTGOING, Input, State
from hypermail.options import Delivery
from hypermail.wire.heads import Head
from hypermail.wire.packets import BLOCK, BLOCKS, MAX_RUN, StreamBlockAck, Verdict, lengths
from hypermail.wire.ranges import RangeSet

#: Bytes of a message that are worth a fragment when a datagram is nearly full.
LEAST_FRAGMENT = 64
#: Numbers that the settled ones may be ahead of the oldest unsettled one on an unordered lane.
MOST_AHEAD = 65_536
#: Bytes that a whole message takes in a run besides its own.
LENGTH = 2


class OutgoingMessage:
    """
    One message on its way.

    @ivar lane: the number of its lane.
    @ivar number: within the lane, once begun; before that -1.
    @ivar state: where it is in its life.
    @ivar error: why the peer's application did not take it; None when it did, or nothing is known yet.
    @ivar wanted: whether somebody wants to hear of its fate.
    """

    __slots__ = ("_outgoing", "data", "error", "fresh", "lane", "number", "resend", "state", "wanted", "withdrawn")

    def __init__(self, outgoing: OutgoingLane, data: bytes, wanted: bool) -> None:
        self._outgoing = outgoing
        self.data = data
        self.wanted = wanted
        self.lane = outgoing.number
        self.number = -1
        self.state = State.QUEUED
        self.error: HypermailError | None = None
        self.withdrawn: HypermailError | None = None
        self.fresh = 0  # bytes that have been sent at least once, in fragments
        self.resend: RangeSet | None = None

    @property
    def settled(self) -> bool:
        """Whether its fate is known."""
        return self.state is State.SETTLED

    # As a source: fragments, addressed by bytes.

    def acked(self, start: int, stop: int) -> None:
        """The application's word counts, not the link's."""

    def lost(self, start: int, stop: int) -> None:
        """Send the fragment again, unless nobody needs it any more."""
        if self.state is State.BEGUN:
            if self.resend is None:
                self.resend = RangeSet()
            if not self.resend:
                self._outgoing.fragment_lost(self)
            self.resend.add(start, stop)


class OutgoingLane:
    """
    The sending half of one lane. A source whose ranges are numbers of whole messages.

    @cvar message: makes its messages.
    @ivar settled: messages whose fate became known and that somebody wants to hear of.
    """

    message = OutgoingMessage

    __slots__ = (
        "_begun",
        "_budget",
        "_flags",
        "_fragmenting",
        "_fragments_lost",
        "_known",
        "_most_buffered",
        "_next",
        "_queue",
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
        self._most_buffered = most_buffered
        self._queue: deque[OutgoingMessage] | None = None
        self._begun: dict[int, OutgoingMessage] = {}
        self._next = 0
        self._watermark = 0
        self._known = RangeSet()  # settled above the watermark
        self._fragmenting: OutgoingMessage | None = None
        self._wholes_lost = RangeSet()
        self._fragments_lost: deque[OutgoingMessage] | None = None  # those with fragments to be sent again
        self.settled: list[OutgoingMessage] = []

    def __iter__(self) -> Iterator[OutgoingMessage]:
        """All that isn't settled, in order."""
        yield from self._begun.values()
        yield from self._queue or ()

    @property
    def begun(self) -> int:
        """How many messages have begun to leave."""
        return self._next

    @property
    def idle(self) -> bool:
        """Whether all messages are settled."""
        return not self._queue and not self._begun

    def send(self, data: bytes, wanted: bool) -> OutgoingMessage:
        """Queue a message."""
        message = self.message(self, data, wanted)
        queue = self._queue
        if queue is None:
            queue = self._queue = deque()
        queue.append(message)
        self._budget.queued(len(data))
        if self.properties.delivery is Delivery.BUFFERED and len(queue) > self._most_buffered:
            self.withdraw(queue[0], MessageDropped("the lane's buffer was full and this its oldest message"))
        return message

    def withdraw(self, message: OutgoingMessage, error: HypermailError) -> bool:
        """
        Give a message up.

        @param error: what becomes of it if the peer has not taken it.
        @return: whether the peer has to be asked (C{StreamClear}), because it was begun.
        """
        state = message.state
        message.state = OUTGOING.next(state, Input.WITHDRAW)
        if state is State.QUEUED:
            if self._queue is not None:
                self._queue.remove(message)
            self._budget.unqueued(len(message.data))
            self._settle(message, error)
        elif state is State.BEGUN:
            message.withdrawn = error
            message.resend = None
            if self._fragmenting is message:
                self._fragmenting = None
            return True
        return False

    # Sending

    @property
    def has_lost(self) -> bool:
        """Whether something has to be sent again."""
        return bool(self._wholes_lost) or bool(self._fragments_lost)

    @property
    def has_more(self) -> bool:
        """Whether something could be sent, the peer's allowance permitting."""
        if self._fragmenting is not None or self.has_lost:
            return True
        queue = self._queue
        return queue is not None and len(queue) > 0 and self._may_begin(queue[0])

    def _may_begin(self, message: OutgoingMessage) -> bool:
        return self._next - self._watermark < MOST_AHEAD and self._budget.allows(
            len(message.data), self.properties.priority
        )

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
            elif self._queue and self._may_begin(self._queue[0]):
                if len(self._queue[0].data) <= largest_whole:
                    self._begin_run(payload, self._queue)
                else:
                    self._fragmenting = self._begin(self._queue)
            else:
                return

    def _begin(self, queue: deque[OutgoingMessage]) -> OutgoingMessage:
        message = queue.popleft()
        self._budget.began(len(message.data), 1)
        message.number = self._next
        message.state = OUTGOING.next(message.state, Input.BEGIN)
        self._begun[self._next] = message
        self._next += 1
        return message

    def _begin_run(self, payload: Payload, queue: deque[OutgoingMessage]) -> None:
        """Begin small messages, as many as fit into this datagram; the first is known to be allowed."""
        begun = self._begun
        room = payload.room - BLOCKS.size
        messages, capacity = self._budget.headroom(self.properties.priority)
        most = min(messages, MAX_RUN, self._watermark + MOST_AHEAD - self._next)
        first = number = self._next
        total = 0
        run: list[bytes] = []
        while queue:
            message = queue[0]
            data = message.data
            size = len(data)
            if size + LENGTH > room:
                payload.full = True
                break
            if run and (len(run) >= most or total + size > capacity):
                break
            queue.popleft()
            message.number = number
            message.state = State.BEGUN  # OUTGOING: (QUEUED, BEGIN), the hot path
            begun[number] = message
            run.append(data)
            number += 1
            total += size
            room -= size + LENGTH
        self._next = number
        self._budget.began(total, len(run))
        self._add_run(payload, first, run)

    def _add_run(self, payload: Payload, first: int, run: list[bytes]) -> None:
        if not run:
            return
        sizes = [len(data) for data in run]
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
            message = self._begun.get(first)
            if message is None or message.state is not State.BEGUN:
                lost.remove(first, first + 1)
            elif len(message.data) > largest_whole:
                lost.remove(first, first + 1)
                message.lost(0, len(message.data))
            else:
                run = self._lost_run(payload, first, stop)
                self._add_run(payload, first, run)
                lost.remove(first, first + len(run))

    def _lost_run(self, payload: Payload, first: int, stop: int) -> list[bytes]:
        """Those messages from C{first} on that can go in one run of this datagram."""
        room = payload.room - BLOCKS.size
        run: list[bytes] = []
        for number in range(first, min(stop, first + MAX_RUN)):
            message = self._begun.get(number)
            if message is None or message.state is not State.BEGUN:
                break
            room -= len(message.data) + LENGTH
            if room < 0:
                payload.full = True
                break
            run.append(message.data)
        return run

    def _resend_fragments(self, payload: Payload, waiting: deque[OutgoingMessage]) -> None:
        message = waiting[0]
        resend = message.resend
        if message.state is not State.BEGUN or not resend:
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
        for number in range(max(start, self._watermark), stop):
            if number in self._begun:
                self._wholes_lost.add(number, number + 1)

    def fragment_lost(self, message: OutgoingMessage) -> None:
        """A message has fragments to be sent again, and had none."""
        if self._fragments_lost is None:
            self._fragments_lost = deque()
        self._fragments_lost.append(message)

    # Settling

    def take_ack(self, ack: StreamBlockAck) -> None:
        """
        The peer says what its application has settled.

        @raise ProtocolViolation: when it speaks of what was never sent.
        """
        highest = ack.ranges[-1][1] if ack.ranges else ack.watermark
        if highest > self._next:
            raise ProtocolViolation(f"the peer settles message {highest - 1} of lane {self.number}, never sent")
        verdicts = {verdict.number: verdict for verdict in ack.verdicts}
        if ack.watermark > self._watermark:
            for start, stop in self._known.missing(self._watermark, ack.watermark):
                self._settle_range(start, stop, verdicts)
            self._watermark = ack.watermark
            self._known.remove_below(ack.watermark)
            self._wholes_lost.remove_below(ack.watermark)
        for start, stop in ack.ranges:
            for low, high in self._known.missing(max(start, self._watermark), stop):
                self._settle_range(low, high, verdicts)
                self._known.add(low, high)
        if self.idle:
            self._rest()

    def _rest(self) -> None:
        """Nothing waits: give back the room that it took."""
        self._queue = self._fragments_lost = None
        self._begun.clear()

    def _settle_range(self, start: int, stop: int, verdicts: dict[int, Verdict]) -> None:
        for number in range(start, stop):
            message = self._begun.pop(number)
            verdict = verdicts.get(number) if verdicts else None
            if verdict is None and self._fragmenting is message and not self.properties.durable:
                raise ProtocolViolation(f"the peer settles message {number} before it was sent whole")
            self._budget.settled(len(message.data))
            if verdict is None and message.state is State.BEGUN:
                message.state = State.SETTLED  # OUTGOING: (BEGUN, SETTLE), the hot path
                if message.wanted:
                    self.settled.append(message)
            else:
                message.state = OUTGOING.next(message.state, Input.SETTLE)
                self._settle(message, _fate(message, verdict))

    def _settle(self, message: OutgoingMessage, error: HypermailError | None) -> None:
        if self._fragmenting is message:
            self._fragmenting = None
        message.error = error
        message.resend = None
        if message.wanted:
            self.settled.append(message)

    def peer_restarted(self, error: HypermailError) -> None:
        """The peer remembers nothing of the lane: what has begun may or may not be delivered; numbers begin again."""
        for message in self._begun.values():
            self._budget.settled(len(message.data))
            message.state = State.SETTLED
            message.error = MessageUndelivered(error, Delivered.UNKNOWN)
            if message.wanted:
                self.settled.append(message)
        self._begun.clear()
        self._next = self._watermark = 0
        self._known = RangeSet()
        self._wholes_lost = RangeSet()
        self._fragments_lost = self._fragmenting = None

    def forget(self) -> None:
        """The session is over: nothing waits any more."""
        self._rest()
        self._wholes_lost = RangeSet()
        self._fragmenting = None


def _fate(message: OutgoingMessage, verdict: Verdict | None) -> HypermailError | None:
    """What the peer's answer means for a message: None when its application has taken it."""
    if verdict is None:
        return None
    if verdict.cleared:
        return message.withdrawn or MessageCancelled("the peer cleared the message")
    return MessageRejected(verdict.text, verdict.code)
