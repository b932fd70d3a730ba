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
    MessageUndelivered,
    ProtocolViolation,
    UsageError,
)
from hypermail.link.control import Control
from hypermail.link.payload import Payload
from hypermail.messages.asks import REPLIES
from hypermail.messages.budget import COST
from hypermail.messages.directs import Directs
from hypermail.messages.durable_sending import DurableOutgoingLane
from hypermail.messages.journal import QueuedMessage
from hypermail.messages.lanes import APPLICATION_LANES
from hypermail.messages.message import OutgoingMessage
from hypermail.messages.octets import octets
from hypermail.messages.outgoing_lanes import OutgoingLanes, too_large
from hypermail.messages.states import QUEUED, SETTLED
from hypermail.options import Options
from hypermail.wire.packets import StreamBlockAck
from hypermail.wire.parameters import Parameters

if TYPE_CHECKING:
    from hypermail.interfaces import Octets


class Sending(OutgoingLanes):
    """
    Gives messages to datagrams, the lanes of the highest priority first, those of one priority in turn.
    """

    __slots__ = ("_directs", "_expiries", "_serial", "_was_full")

    def __init__(self, options: Options, peer: Parameters, control: Control) -> None:
        super().__init__(options, peer, control)
        self._expiries: list[tuple[float, int, OutgoingMessage]] | None = None  # a heap; made for the first
        self._serial = 0
        self._directs: Directs | None = None  # made for the first
        self._was_full = False

    # The application's side

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
        if len(data) > self.most_message:
            raise too_large("a message", len(data), self.most_message)
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
        most = self.most_message
        for data in source:
            if type(data) is not bytes:
                data = octets(data)
            size = len(data)
            if size > most:
                raise too_large("a message", size, most)
            batch.append(data)
            room -= size + COST
            if room <= 0:
                return True
        return False

    def _expire_at(self, expires: float, message: OutgoingMessage) -> None:
        self._serial += 1
        if self._expiries is None:
            self._expiries = []
        heappush(self._expiries, (expires, self._serial, message))

    # Durable lanes

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
        settled = self.settled[:]
        self.settled.clear()
        return settled

    @property
    def eventful(self) -> bool:
        """Whether the application may have to be told anything, durable lanes apart."""
        return bool(self.settled or self._was_full or (self.replies is not None and self.replies.settled_asks))

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
                certain = message.state is QUEUED and not stays
                message.state = SETTLED
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
