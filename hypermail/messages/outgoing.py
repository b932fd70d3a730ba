"""
One lane's outgoing messages: queued, begun, sent again, settled.

A message is kept until the peer's application has settled it, whatever the link has acknowledged. Its
number is given when it is begun, so that what is withdrawn before leaves no hole.

Most are no more than their bytes: an L{OutgoingMessage} is made of one whose fate somebody wants to hear of, that may
be withdrawn, or that leaves in fragments.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from hypermail.errors import (
    Delivered,
    HypermailError,
    MessageCancelled,
    MessageDropped,
    MessageRejected,
    MessageUndelivered,
    ProtocolViolation,
)
from hypermail.messages.departing import DepartingMessages
from hypermail.messages.message import Item, OutgoingMessage, bytes_alone, size_of
from hypermail.messages.states import BEGUN, OUTGOING, QUEUED, SETTLED, Input
from hypermail.wire.packets import StreamBlockAck, Verdict
from hypermail.wire.ranges import RangeSet


class OutgoingLane(DepartingMessages):
    """
    The sending half of one lane.
    """

    __slots__ = ()

    def __iter__(self) -> Iterator[OutgoingMessage]:
        """All that isn't settled and is more than bytes, in order."""
        for item in self._items:
            if isinstance(item, OutgoingMessage):
                yield item

    @property
    def begun(self) -> int:
        """How many messages have begun to leave."""
        return self._next

    @property
    def idle(self) -> bool:
        """Whether all messages are settled."""
        return not self._unsettled and not self._queued

    def send(self, data: bytes, wanted: bool, kind: type[OutgoingMessage] = OutgoingMessage) -> OutgoingMessage:
        """
        Queue a message.

        @param kind: what it is to be, unless the lane has a kind of its own.
        """
        make = self.message
        message = (kind if make is OutgoingMessage else make)(self, data, wanted)
        items = self._items
        items.append(message)
        self._records += 1
        budget = self._budget
        budget.queued_bytes += len(data)
        budget.queued_messages += 1
        if len(items) > self._most_queued and self._queued > self._most_queued:
            self._drop_oldest()
        return message

    def send_run(self, messages: list[bytes]) -> None:
        """Queue messages whose fate nobody wants to hear of."""
        self._items += messages
        self._budget.queued(sum(map(len, messages)), len(messages))
        while self._queued > self._most_queued:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        oldest = self._next_item
        if isinstance(oldest, OutgoingMessage):
            self.withdraw(oldest, MessageDropped("the lane's buffer was full and this its oldest message"))
        elif oldest is not None:
            del self._items[self._next - self._base]
            self._budget.unqueued(len(oldest))

    def withdraw(self, message: OutgoingMessage, error: HypermailError) -> bool:
        """
        Give a message up.

        @param error: what becomes of it if the peer has not taken it.
        @return: whether the peer has to be asked (C{StreamClear}), because it was begun.
        """
        state = message.state
        message.state = OUTGOING.next(state, Input.WITHDRAW)
        if state is QUEUED:
            del self._items[self._items.index(message, self._next - self._base)]
            self._records -= 1
            self._budget.unqueued(len(message.data))
            self._settle(message, error)
        elif state is BEGUN:
            message.withdrawn = error
            message.resend = None
            if self._fragmenting is message:
                self._fragmenting = None
            return True
        return False

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
        else:
            self._trim()

    def _rest(self) -> None:
        """Nothing waits: give back the room that it took."""
        self._items = []
        self._base = self._next
        self._records = self._unsettled = 0
        self._fragments_lost = None

    def _settle_range(self, start: int, stop: int, verdicts: dict[int, Verdict]) -> None:
        fragmenting = self._fragmenting
        if fragmenting is not None and start <= fragmenting.number < stop and not self.properties.durable:
            if fragmenting.number not in verdicts:
                raise ProtocolViolation(f"the peer settles message {fragmenting.number} before it was sent whole")
        places = slice(start - self._base, stop - self._base)
        settled = self._items[places]
        self._items[places] = [None] * len(settled)
        self._unsettled -= len(settled)
        if self._records and not bytes_alone(settled):
            size = self._settle_each(settled, verdicts)
        else:
            size = sum(map(len, cast("list[bytes]", settled)))
        self._budget.settled(size, len(settled))

    def _settle_each(self, settled: list[Item | None], verdicts: dict[int, Verdict]) -> int:
        """@return: bytes of all."""
        size = 0
        for item in settled:
            if not isinstance(item, OutgoingMessage):
                size += len(cast("bytes", item))
                continue
            size += len(item.data)
            self._records -= 1
            verdict = verdicts.get(item.number) if verdicts else None
            if verdict is None and item.state is BEGUN:
                item.state = SETTLED  # OUTGOING: (BEGUN, SETTLE), the hot path
                if item.wanted:
                    self.settled.append(item)
            else:
                item.state = OUTGOING.next(item.state, Input.SETTLE)
                self._settle(item, _fate(item, verdict))
        return size

    def _trim(self) -> None:
        """Forget places of what is settled, when they are many enough that few others have to move for each."""
        settled = self._watermark - self._base
        if settled * 4 >= len(self._items):
            del self._items[:settled]
            self._base = self._watermark

    def _settle(self, message: OutgoingMessage, error: HypermailError | None) -> None:
        if self._fragmenting is message:
            self._fragmenting = None
        message.error = error
        message.resend = None
        if message.wanted:
            self.settled.append(message)

    def peer_restarted(self, error: HypermailError) -> None:
        """The peer remembers nothing of the lane: what has begun may or may not be delivered; numbers begin again."""
        begun = self._items[: self._next - self._base]
        del self._items[: self._next - self._base]
        for item in begun:
            if item is not None:
                self._budget.settled(size_of(item))
            if isinstance(item, OutgoingMessage):
                self._records -= 1
                item.state = SETTLED
                item.error = MessageUndelivered(error, Delivered.UNKNOWN)
                if item.wanted:
                    self.settled.append(item)
        self._base = self._next = self._watermark = self._unsettled = 0
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
