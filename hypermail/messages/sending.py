"""
All outgoing messages of a session: lanes by priority, expiry, direct messages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from hypermail.errors import (
    Delivered,
    HypermailError,
    MessageCancelled,
    MessageExpired,
    MessageTooLarge,
    MessageUndelivered,
    ProtocolViolation,
    UsageError,
)
from hypermail.link.control import Control
from hypermail.link.payload import Payload
from hypermail.messages.asks import ASKS, NAME, REPLIES, AskLane, ReplyLane
from hypermail.messages.budget import COST, Budget
from hypermail.messages.clearing import Clearing
from hypermail.messages.directs import Directs
from hypermail.messages.durable_sending import DurableOutgoingLane
from hypermail.messages.journal import Journal, QueuedMessage
from hypermail.messages.lanes import APPLICATION_LANES, ORDINARY, LaneProperties
from hypermail.messages.octets import octets
from hypermail.messages.outgoing import OutgoingLane, OutgoingMessage
from hypermail.messages.redundancy import Copies, RedundantLane
from hypermail.messages.states import State
from hypermail.options import Delivery, Options
from hypermail.wire.packets import MessageClear, StreamBlockAck
from hypermail.wire.parameters import Parameters

if TYPE_CHECKING:
    from hypermail.interfaces import Octets


class Sending:
    """
    Gives messages to datagrams, the lanes of the highest priority first, those of one priority in turn.

    @param peer: the peer's limits as far as they are known.
    @ivar asks: ours; None while there were none.
    @ivar copies: of messages that ride again; None while no lane has redundancy.
    @ivar replies: ours to the peer's asks; None while there were none.
    @ivar journal: of a durable session.
    """

    __slots__ = (
        "_by_priority",
        "_clearing",
        "_configured",
        "_control",
        "_directs",
        "_expiries",
        "_lanes",
        "_most_lanes",
        "_most_message",
        "_options",
        "_serial",
        "_was_full",
        "asks",
        "budget",
        "copies",
        "journal",
        "replies",
    )

    def __init__(self, options: Options, peer: Parameters, control: Control) -> None:
        self._options = options
        self._control = control
        self._most_message = peer.max_message
        self._most_lanes = peer.max_lanes
        self._configured: dict[int, LaneProperties] | None = None  # made for the first
        self._lanes: dict[int, OutgoingLane] = {}
        self._by_priority: list[list[OutgoingLane]] = []
        self._expiries: list[tuple[float, int, OutgoingMessage]] | None = None  # a heap; made for the first
        self._serial = 0
        self._directs: Directs | None = None  # made for the first
        self._clearing: Clearing | None = None  # made for the first message that was not taken
        self._was_full = False
        self.budget = Budget(options.outgoing_bytes, peer.allowance_bytes, peer.allowance_messages)
        self.asks: AskLane | None = None
        self.replies: ReplyLane | None = None
        self.copies: Copies | None = None
        self.journal: Journal | None = None

    def learn(self, peer: Parameters) -> None:
        """The peer has told its limits."""
        self._most_message = peer.max_message
        self._most_lanes = peer.max_lanes
        self.budget.allowance_bytes = peer.allowance_bytes
        self.budget.allowance_messages = peer.allowance_messages

    # The application's side

    def configure(self, number: int, properties: LaneProperties) -> None:
        """
        Say what a lane is.

        @raise UsageError: when it is something else already.
        """
        properties.checked(number)
        if properties.durable and self.journal is None:
            raise UsageError(f"lane {number} cannot be durable: the session does not outlive its process")
        known = self._properties(number)
        if known is None:
            if self._configured is None:
                self._configured = {}
            self._configured[number] = properties
        elif known != properties:
            raise UsageError(f"lane {number} is in use already with {known}")

    def _properties(self, number: int) -> LaneProperties | None:
        """What a lane is; None when nobody has used it, or said what it is."""
        lane = self._lanes.get(number)
        if lane is not None:
            return lane.properties
        return None if self._configured is None else self._configured.get(number)

    def send(
        self,
        data: bytes,
        number: int,
        expires: float | None,
        wanted: bool,
        note: bytes = b"",
        kind: type[OutgoingMessage] = OutgoingMessage,
    ) -> OutgoingMessage:
        """
        Queue a message.

        @param expires: s of the clock that L{expire} is told, or None.
        @param wanted: whether its fate is to be told.
        @param note: goes to the disk with it.
        @param kind: see L{OutgoingLane.send}.
        @raise MessageTooLarge: for more than the peer takes.
        @raise UsageError: for a lane that can't be.
        """
        if len(data) > self._most_message:
            raise _too_large("a message", len(data), self._most_message)
        lane = self._lanes.get(number)
        if lane is None or number >= APPLICATION_LANES:
            lane = self._lane(number)
        if expires is None and not note:
            return lane.send(data, wanted, kind)
        if isinstance(lane, DurableOutgoingLane):
            message = lane.send(data, wanted, kind, expires, note)
        elif note:
            raise UsageError(f"lane {number} is not durable: there is nowhere to put a note")
        else:
            message = lane.send(data, wanted, kind)
        if expires is not None:
            self._expire_at(expires, message)
        return message

    def send_many(self, messages: Iterable[Octets], number: int, check: Callable[[], None]) -> int:
        """
        Queue messages whose fate nobody wants to hear of, as many as there is room for. No more are taken from the
        iterable.

        @param check: raises when the session can carry none.
        @return: how many.
        @raise TypeError: for what isn't C{bytes}-like.
        @raise MessageTooLarge: for more than the peer takes.
        @raise UsageError: for a lane that can't be. Those before one for which anything is raised are queued.
        """
        source = iter(messages)
        count = 0
        more, room = True, min(self.room, 1)  # one at first, since it may turn out that none can be sent
        while more and room > 0:
            batch: list[bytes] = []
            try:
                more = self._gather(source, room, batch)
            finally:
                if batch:
                    check()
                    self._lane(number).send_run(batch)
                    count += len(batch)
            room = self.room
        return count

    def _gather(self, source: Iterator[Octets], room: int, batch: list[bytes]) -> bool:
        """
        Take messages until room is used up.

        @param room: see L{Budget.room}.
        @param batch: where they are put.
        @return: whether there may be more.
        """
        most = self._most_message
        for data in source:
            if type(data) is not bytes:
                data = octets(data)
            size = len(data)
            if size > most:
                raise _too_large("a message", size, most)
            batch.append(data)
            room -= size + COST
            if room <= 0:
                return True
        return False

    def _lane(self, number: int) -> OutgoingLane:
        if number >= APPLICATION_LANES:
            ORDINARY.checked(number)
        return self._lanes.get(number) or self._new_lane(number)

    def _expire_at(self, expires: float, message: OutgoingMessage) -> None:
        self._serial += 1
        if self._expiries is None:
            self._expiries = []
        heappush(self._expiries, (expires, self._serial, message))

    # Durable lanes

    def is_durable(self, number: int) -> bool:
        """Whether a lane is durable."""
        properties = self._properties(number)
        return properties is not None and properties.durable

    def restore(self, number: int, properties: LaneProperties, settled: int, next: int) -> None:
        """
        Go on with a durable lane after a restart.

        @param settled: the numbers below it are settled.
        @param next: of the next message.
        """
        lane = self._make_lane(number, properties)
        self._add_lane(number, lane)
        if isinstance(lane, DurableOutgoingLane):
            lane.restore(settled, next)

    @property
    def _durable(self) -> Iterator[DurableOutgoingLane]:
        if self.journal is not None:
            for lane in self._lanes.values():
                if isinstance(lane, DurableOutgoingLane):
                    yield lane

    def take_stored(self) -> list[OutgoingMessage]:
        """Messages that are safe on disk since the last call, if somebody wants to hear of them."""
        stored: list[OutgoingMessage] = []
        for lane in self._durable:
            stored += lane.stored
            lane.stored = []
        return stored

    def take_wanted(self) -> list[tuple[int, int, int]]:
        """What is to be brought back from the disk, as (lane, first number, bytes); L{load} has to follow for each."""
        return [(lane.number, *wanted) for lane in self._durable if (wanted := lane.wants()) is not None]

    def load(self, number: int, first: int, messages: list[tuple[int, QueuedMessage]] | None) -> None:
        """Messages were brought back from the disk; or could not be, then it is to be tried again."""
        lane = self._lanes.get(number)
        if not isinstance(lane, DurableOutgoingLane):
            return
        if messages is None:
            lane.not_loaded()
            return
        for message, expires in lane.load(first, messages):
            self._expire_at(expires, message)

    @property
    def _clears(self) -> Clearing:
        if self._clearing is None:
            self._clearing = Clearing(self._control, lambda number: self._lanes[number].properties.flags)
        return self._clearing

    def _tell_known(self, clear: MessageClear) -> None:
        self._clears.tell_known(clear)

    def _clear(self, message: OutgoingMessage) -> None:
        self._clears.ask(message)

    def ask(self, data: bytes) -> OutgoingMessage:
        """
        Queue an ask.

        @raise MessageTooLarge: for more than the peer takes.
        """
        if len(data) > self._most_message:
            raise _too_large("an ask", len(data), self._most_message)
        if self.asks is None:
            self.asks = AskLane(self.budget, self._options.buffered_messages)
            self._add_lane(ASKS, self.asks)
        return self.asks.send(data, True)

    def reply(self, number: int, data: bytes) -> None:
        """Queue the reply to an ask of the peer's, which L{check_reply} has passed."""
        if self.replies is None:  # nobody has been asked before the peer's limits were known
            options, allowed = self._options, self.budget
            budget = Budget(options.outgoing_bytes, allowed.allowance_bytes, allowed.allowance_messages)
            self.replies = ReplyLane(budget, options.allowance_bytes, options.buffered_messages)
            self._add_lane(REPLIES, self.replies)
        self.replies.send(NAME.pack(number) + data, True)

    def check_reply(self, data: bytes) -> None:
        """@raise MessageTooLarge: when a reply is larger than the peer takes."""
        if len(data) > self._most_message - NAME.size:
            raise _too_large("a reply", len(data), max(0, self._most_message - NAME.size), "the asker")

    def _new_lane(self, number: int) -> OutgoingLane:
        properties = self._properties(number) or ORDINARY.checked(number)
        if properties.delivery is Delivery.DIRECT:
            raise UsageError(f"lane {number} is direct: its messages are sent with send_direct")
        if sum(number < APPLICATION_LANES for number in self._lanes) >= self._most_lanes:
            raise UsageError(f"the peer takes {self._most_lanes} lanes at most")
        lane = self._make_lane(number, properties)
        self._add_lane(number, lane)
        return lane

    def _add_lane(self, number: int, lane: OutgoingLane) -> None:
        self._lanes[number] = lane
        for lanes in self._by_priority:
            if lanes[0].properties.priority == lane.properties.priority:
                lanes.append(lane)
                return
        self._by_priority.append([lane])
        self._by_priority.sort(key=lambda lanes: -lanes[0].properties.priority)

    def _make_lane(self, number: int, properties: LaneProperties) -> OutgoingLane:
        buffered = self._options.buffered_messages
        if properties.durable and self.journal is not None:
            return DurableOutgoingLane(
                number, properties, self.budget, buffered, self.journal, self._clear, self._tell_known
            )
        if not properties.redundancy:
            return OutgoingLane(number, properties, self.budget, buffered)
        if self.copies is None:
            self.copies = Copies()
        return RedundantLane(number, properties, self.budget, buffered, self.copies)

    def is_direct(self, number: int) -> bool:
        """Whether a lane's messages are direct ones."""
        properties = self._properties(number)
        return properties is not None and properties.delivery is Delivery.DIRECT

    def cancel(self, message: OutgoingMessage, error: HypermailError | None = None) -> None:
        """Give a message up, unless the peer's application has it already."""
        lane = self._lanes[message.lane]
        if lane.withdraw(message, error or MessageCancelled("the message was cancelled")):
            self._clear(message)

    def send_direct(self, data: bytes, room: int) -> None:
        """
        Queue a direct message; when too many wait the oldest gives way.

        @param room: bytes of an empty datagram.
        @raise MessageTooLarge: when it does not fit one datagram.
        """
        if self._directs is None:
            self._directs = Directs(self._options.max_directs)
        self._directs.send(data, room)

    def drop_directs(self) -> None:
        """There is no link: direct messages that wait are lost."""
        if self._directs is not None:
            self._directs.drop()

    @property
    def directs_dropped(self) -> int:
        """Direct messages that could not leave: they gave way to newer ones, or there was no link."""
        return 0 if self._directs is None else self._directs.dropped

    def peer_restarted(self, error: HypermailError) -> None:
        """
        The peer remembers nothing of these lanes: their numbers begin again, and what had begun is undelivered.

        @param error: why.
        """
        if self._clearing is not None:
            self._clearing.forget()
            self._clearing = None
        if self.replies is not None:
            self._drop_lane(REPLIES, self.replies)
            self.replies = None
        for lane in self._lanes.values():
            lane.peer_restarted(error)

    def _drop_lane(self, number: int, lane: OutgoingLane) -> None:
        del self._lanes[number]
        for lanes in self._by_priority:
            if lane in lanes:
                lanes.remove(lane)
        self._by_priority = [lanes for lanes in self._by_priority if lanes]

    # Sending

    @property
    def has_more(self) -> bool:
        """Whether anything could be sent, copies apart."""
        if self._directs is not None and self._directs.waiting:
            return True
        for lane in self._lanes.values():
            if lane.has_more:
                return True
        return False

    @property
    def begun(self) -> int:
        """How many messages have begun to leave, without direct ones."""
        return sum(lane.begun for lane in self._lanes.values())

    @property
    def idle(self) -> bool:
        """Whether everything that was accepted is settled, direct messages sent."""
        return not (self._directs is not None and self._directs.waiting) and all(
            lane.idle for lane in self._lanes.values()
        )

    def fill(self, payload: Payload, whole_room: int, urgent: bool) -> None:
        """
        Put messages into a datagram.

        @param whole_room: bytes of an empty datagram.
        @param urgent: whether it is the turn of what goes before streams (direct messages and lanes of a
            priority over 0) or of the rest.
        """
        if urgent and self._directs is not None:
            self._directs.fill(payload, whole_room)
        for lanes in self._by_priority:
            if (lanes[0].properties.priority > 0) is not urgent:
                continue
            for _ in range(len(lanes)):
                if payload.full:
                    return
                lanes[0].fill(payload, whole_room)
                lanes.append(lanes.pop(0))

    # Settling and time

    @property
    def unsettled(self) -> list[OutgoingMessage]:
        """All that is more than bytes, and whose fate is not known."""
        return [message for lane in self._lanes.values() for message in lane]

    def take_ack(self, ack: StreamBlockAck) -> None:
        """The peer says what is settled. @raise ProtocolViolation: when it speaks of what was never sent."""
        lane = self._lanes.get(ack.lane)
        if lane is None:
            raise ProtocolViolation(f"the peer settles messages of lane {ack.lane}, where none was sent")
        lane.take_ack(ack)

    def take_settled(self) -> list[OutgoingMessage]:
        """Messages and asks whose fate became known since the last call, if somebody wants to hear of it."""
        settled: list[OutgoingMessage] = []
        for lane in self._lanes.values():
            if lane.settled:
                settled += lane.settled
                lane.settled = []
        return settled

    def give_up(self, error: HypermailError, parked: bool = False) -> list[OutgoingMessage]:
        """
        The session is over: what isn't settled is undelivered, certainly or not.

        @param parked: whether it stays on disk, and with it the messages of durable lanes, which may yet be delivered.
        @return: what is wanted.
        """
        wanted = []
        for lane in self._lanes.values():
            stays = parked and lane.properties.durable
            for message in lane:
                certain = message.state is State.QUEUED and not stays
                message.state = State.SETTLED
                message.error = MessageUndelivered(error, Delivered.NO if certain else Delivered.UNKNOWN, stays)
                if message.wanted and lane is not self.replies:
                    wanted.append(message)
            lane.forget()
        return wanted

    @property
    def full(self) -> bool:
        """Whether producers should pause."""
        budget = self.budget
        full = budget.queued_bytes + COST * budget.queued_messages >= budget.most_queued
        if full:
            self._was_full = True
        return full

    @property
    def room(self) -> int:
        """See L{Budget.room}."""
        room = self.budget.room
        if room <= 0:
            self._was_full = True
        return room

    def take_drained(self) -> bool:
        """Whether there is room again after L{full} was true; True once for each time."""
        if self._was_full and self.budget.drained:
            self._was_full = False
            return True
        return False

    def deadline(self) -> float | None:
        """s when the next message expires, or rides again by itself."""
        expiry = None
        if self._expiries:
            while self._expiries and self._expiries[0][2].settled:
                heappop(self._expiries)
            expiry = self._expiries[0][0] if self._expiries else None
        ride = self.copies.deadline() if self.copies is not None else None
        if expiry is None or ride is None:
            return ride if expiry is None else expiry
        return min(expiry, ride)

    def expire(self, now: float) -> None:
        """Give up what has expired."""
        while self._expiries and self._expiries[0][0] <= now:
            message = heappop(self._expiries)[2]
            if not message.settled:
                self.cancel(message, MessageExpired("the message expired before the peer had taken it"))


def _too_large(what: str, size: int, most: int, whom: str = "the peer") -> MessageTooLarge:
    return MessageTooLarge(f"{what} of {size} bytes: {whom} takes {most} at most; use a stream")
