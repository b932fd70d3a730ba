"""
The sending half of durable lanes: what was accepted for sending outlives the process.

A message leaves when it is safe on disk, under the number that it has there; so no restart can give a number to two
messages, and after one the sender still has whatever the receiver does not know to be settled. Durable lanes are
ordered and acked.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeGuard

from hypermail.errors import HypermailError, StoreFailed
from hypermail.link.payload import Payload
from hypermail.messages.budget import Budget
from hypermail.messages.journal import Journal, LaneUsed, Queued, QueuedMessage, Settled, Withdrawn
from hypermail.messages.lanes import LaneProperties
from hypermail.messages.message import Item, Outgoing, OutgoingMessage
from hypermail.messages.outgoing import OutgoingLane
from hypermail.messages.states import OUTGOING, Input, State
from hypermail.wire.packets import MessageClear, StreamBlockAck
from hypermail.wire.ranges import RangeSet

#: Bytes of messages that are brought back from the disk at once after a restart, when no more than so many are left.
LOAD = 1 << 20
FEW = 256


class DurableMessage(OutgoingMessage):
    """
    One message of a durable lane.

    @ivar note: what its sender has put down with it.
    @ivar restored: whether it was sent before a restart, so that nobody waits for it.
    """

    __slots__ = ("note", "restored")

    def __init__(self, outgoing: Outgoing, data: bytes, wanted: bool) -> None:
        super().__init__(outgoing, data, wanted)
        self.note = b""
        self.restored = False


class _Batch:
    """
    Messages that are written together.

    @ivar serial: of the change, in the journal.
    @ivar dead: whether it, or one before it, could not be written, or nobody waits for it any more.
    """

    __slots__ = ("change", "dead", "messages", "serial")

    def __init__(self, change: Queued) -> None:
        self.change = change
        self.messages: list[OutgoingMessage] = []
        self.serial = 0
        self.dead = False


class DurableOutgoingLane(OutgoingLane):
    """
    The sending half of a durable lane.

    @param ask: has the peer asked about a message that is withdrawn.
    @param tell: has the peer told that the fate of a message is known here for good.

    @ivar stored: messages that are safe on disk since this was looked at last.
    """

    message = DurableMessage

    __slots__ = (
        "_allocated",
        "_ask",
        "_backlog_stop",
        "_batches",
        "_fresh",
        "_journal",
        "_loaded",
        "_loading",
        "_passed_over",
        "_settled_on_disk",
        "_tell",
        "stored",
    )

    def __init__(
        self,
        number: int,
        properties: LaneProperties,
        budget: Budget,
        most_buffered: int,
        journal: Journal,
        ask: Callable[[OutgoingMessage], None],
        tell: Callable[[MessageClear], None],
    ) -> None:
        super().__init__(number, properties, budget, most_buffered)
        self._journal = journal
        self._ask = ask
        self._tell = tell
        self._allocated = 0  # the number of the next message
        self._batches: deque[_Batch] = deque()  # being written, or waiting for it
        self._backlog_stop = 0  # messages below it are on disk since before a restart
        self._loaded = 0  # ... and brought back below this
        self._loading = False
        self._fresh: deque[OutgoingMessage] = deque()  # safe, and behind what has not been brought back
        self._passed_over = 0  # withdrawn ones in the queue
        self._settled_on_disk = 0  # all below it are
        self.stored: list[OutgoingMessage] = []

    def restore(self, settled: int, next: int) -> None:
        """
        Go on after a restart.

        @param settled: the numbers below it are settled.
        @param next: of the next message.
        """
        self._base = self._watermark = self._next = self._loaded = self._settled_on_disk = settled
        self._allocated = self._backlog_stop = next

    @property
    def idle(self) -> bool:
        """Whether all messages are settled."""
        return super().idle and not self._batches and self._loaded >= self._backlog_stop and not self._fresh

    # Writing down

    def send(
        self,
        data: bytes,
        wanted: bool,
        kind: type[OutgoingMessage] = OutgoingMessage,
        expires: float | None = None,
        note: bytes = b"",
    ) -> OutgoingMessage:
        """
        Queue a message, for when it is safe.

        @param expires: s; goes to the disk with it, as does C{note}.
        """
        message = self.message(self, data, wanted)
        message.number = self._allocated
        if not self._allocated:
            self._journal.put(LaneUsed(self._journal.id, self.number, self.properties))
        self._allocated += 1
        self._budget.queued(len(data))
        batch = self._batches[-1] if self._batches else None
        if batch is None or not self._journal.waits(batch.serial):
            batch = _Batch(Queued(self._journal.id, self.number, message.number, []))
            self._batches.append(batch)
            batch.serial = self._journal.put(batch.change, partial(self._written, batch))
        batch.change.messages.append(QueuedMessage(data, expires, note))
        batch.messages.append(message)
        return message

    def send_run(self, messages: list[bytes]) -> None:
        """See L{OutgoingLane.send_run}."""
        for data in messages:
            self.send(data, False)

    def _written(self, batch: _Batch, safe: bool, now: float) -> None:
        if batch.dead:
            return
        if not safe:
            self._not_written()
            return
        self._batches.popleft()
        self.stored += [message for message in batch.messages if message.wanted]
        if self._loaded < self._backlog_stop:
            self._fresh += batch.messages
        else:
            self._enqueue(batch.messages)

    def _not_written(self) -> None:
        """What was not written, and all that came after it, is not accepted; their numbers go to others."""
        self._allocated = self._batches[0].change.first
        self._journal.drop(self.number, self._allocated)
        error = StoreFailed("the message could not be written down")
        while self._batches:
            batch = self._batches.popleft()
            batch.dead = True
            for message in batch.messages:
                self._budget.unqueued(len(message.data))
                if message.state is State.QUEUED:
                    message.state = OUTGOING.next(message.state, Input.WITHDRAW)
                    self._settle(message, error)
                else:
                    self._passed_over -= 1

    def _enqueue(self, messages: list[OutgoingMessage] | deque[OutgoingMessage]) -> None:
        self._items += messages
        self._records += len(messages)

    # Bringing back

    def wants(self) -> tuple[int, int] | None:
        """
        What is to be brought back from the disk now.

        @return: the number from which on, and how many bytes; None for nothing. L{load} has to follow.
        """
        if self._loading or self._loaded >= self._backlog_stop:
            return None
        if self._queued >= FEW:
            return None
        self._loading = True
        return self._loaded, LOAD

    def load(self, first: int, messages: list[tuple[int, QueuedMessage]]) -> list[tuple[OutgoingMessage, float]]:
        """
        Messages were brought back.

        @param first: as L{wants} has said.
        @param messages: ascending; none when there are no more.
        @return: those that expire, with the time in s.
        """
        self._loading = False
        expiring: list[tuple[OutgoingMessage, float]] = []
        for number, (data, expires, note) in messages:
            if number >= self._backlog_stop:  # sent since the restart, and here already
                break
            if number < self._loaded:  # settled meanwhile
                continue
            self._skip_to(number)
            message = self._restored(number, data)
            message.note = note
            self._enqueue([message])
            self._loaded = number + 1
            if expires is not None:
                expiring.append((message, expires))
        if not messages or messages[-1][0] >= self._backlog_stop:
            self._skip_to(self._backlog_stop)
        self._go_on_with_fresh()
        return expiring

    def _go_on_with_fresh(self) -> None:
        """What was sent since the restart follows when nothing of before is left on disk."""
        if self._fresh and self._loaded >= self._backlog_stop:
            self._enqueue(self._fresh)
            self._fresh = deque()

    def not_loaded(self) -> None:
        """They could not be brought back; it is to be tried again."""
        self._loading = False

    def _skip_to(self, number: int) -> None:
        """Whatever is not on disk below a number was withdrawn: its number is passed over."""
        while self._loaded < number:
            message = self._restored(self._loaded, b"")
            message.wanted = False
            message.state = State.CLEARING
            self._passed_over += 1
            self._enqueue([message])
            self._loaded += 1

    def _restored(self, number: int, data: bytes) -> DurableMessage:
        message = DurableMessage(self, data, True)
        message.restored = True
        message.number = number
        self._budget.queued(len(data))
        return message

    # Giving up

    def withdraw(self, message: OutgoingMessage, error: HypermailError) -> bool:
        """See L{OutgoingLane.withdraw}. The number of a message that was not begun stays taken."""
        if message.state in (State.QUEUED, State.BEGUN):
            self._journal.put(Withdrawn(self._journal.id, self.number, message.number))
        if message.state is not State.QUEUED:
            return super().withdraw(message, error)
        self._budget.unqueued(len(message.data))
        self._budget.queued(0)
        message.data = b""
        message.withdrawn = error
        message.state = OUTGOING.next(OUTGOING.next(message.state, Input.BEGIN), Input.WITHDRAW)
        self._passed_over += 1
        self._settle(message, error)
        message.wanted = False
        return False

    # Sending

    @property
    def has_more(self) -> bool:
        """See L{OutgoingLane.has_more}."""
        self._pass_over()
        return super().has_more

    def _pass_over(self) -> None:
        """Begin those that are withdrawn and whose turn has come: the peer is to pass them over."""
        while self._passed_over and _is_withdrawn(message := self._next_item) and self._may_begin(len(message.data)):
            self._passed_over -= 1
            self._began(0, 1)
            self._ask(message)

    def _run_end(self) -> int:
        """See L{OutgoingLane._run_end}; a run ends before a message that is withdrawn."""
        end = super()._run_end()
        if self._passed_over:
            for at in range(self._next - self._base, end):
                if _is_withdrawn(self._items[at]):
                    return at
        return end

    def _begin_run(self, payload: Payload, end: int) -> None:
        """See L{OutgoingLane._begin_run}."""
        super()._begin_run(payload, end)
        self._pass_over()

    def peer_restarted(self, error: HypermailError) -> None:
        """The peer remembers what is settled, and nothing else: all that has begun is sent again."""
        self._wholes_lost = RangeSet()
        self._fragments_lost = None
        for number in range(self._base, self._next):
            message = self._begun_item(number)
            if not isinstance(message, OutgoingMessage):
                continue
            message.resend = None
            if message.state is State.CLEARING:
                self._ask(message)
            elif message.fresh:
                message.lost(0, message.fresh)
            else:
                self._wholes_lost.add(number, number + 1)

    # Settling

    def take_ack(self, ack: StreamBlockAck) -> None:
        """See L{OutgoingLane.take_ack}."""
        before = self._watermark
        if ack.watermark <= self._backlog_stop:
            self._advance(ack.watermark)
        super().take_ack(ack)
        known = [verdict.number for verdict in ack.verdicts if verdict.number < self._settled_on_disk]
        fresh = [verdict.number for verdict in ack.verdicts if before <= verdict.number < self._watermark]
        for number in known:
            self._tell(MessageClear(self.number, self._flags, number, True))
        if self._watermark > before:
            self._note(fresh)

    def _note(self, fresh: list[int]) -> None:
        """
        Write down how far all is settled.

        @param fresh: messages that were not taken, of which the peer is to hear that this is known.
        """
        below = self._watermark
        self._journal.put(Settled(self._journal.id, self.number, below), partial(self._noted, fresh, below))

    def _advance(self, watermark: int) -> None:
        """The peer may have settled, before a restart, what was not begun again after it."""
        while self._next < watermark:
            message = self._next_item
            if not isinstance(message, OutgoingMessage) or message.number != self._next:
                message = self._restored(self._next, b"")  # it was not brought back yet, and need not be
                self._items.insert(self._next - self._base, message)
                self._records += 1
            self._passed_over -= message.state is State.CLEARING
            if message.state is State.QUEUED:
                message.state = OUTGOING.next(message.state, Input.BEGIN)
            self._began(len(message.data), 1)
        self._loaded = max(self._loaded, watermark)
        self._go_on_with_fresh()

    def _noted(self, numbers: list[int], below: int, safe: bool, now: float) -> None:
        """What the peer has said of these messages is known here for good; or has to be written down again."""
        if not safe:
            self._note(numbers)
            return
        self._settled_on_disk = max(self._settled_on_disk, below)
        for number in numbers:
            self._tell(MessageClear(self.number, self._flags, number, True))

    def forget(self) -> None:
        """See L{OutgoingLane.forget}."""
        super().forget()
        for batch in self._batches:
            batch.dead = True
        self._batches.clear()
        self._fresh.clear()
        self._loaded = self._backlog_stop

    def __iter__(self) -> Iterator[OutgoingMessage]:
        """All that isn't settled and is here, in order."""
        yield from super().__iter__()
        yield from self._fresh
        for batch in self._batches:
            yield from batch.messages


def _is_withdrawn(item: Item | None) -> TypeGuard[OutgoingMessage]:
    """Whether something in the lane's list is to be passed over."""
    return isinstance(item, OutgoingMessage) and item.state is State.CLEARING
