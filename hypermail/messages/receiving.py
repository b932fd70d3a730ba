"""
All incoming messages of a session.
"""

from __future__ import annotations

from hypermail.errors import LimitExceeded, ProtocolViolation, Reason
from hypermail.events import DirectsReceived, Event, MessagesReceived
from hypermail.link.control import Control
from hypermail.messages.holdings import Holdings
from hypermail.messages.incoming import IncomingLane
from hypermail.options import Options
from hypermail.wire.packets import Direct, MessageClear, StreamBlock, StreamBlocks, decode_lane


class Receiving:
    """
    Gives what arrives to its lane, and what is complete to the application.

    @ivar holdings: what the peer has begun and we have not settled.
    @ivar allowed: whether the peer may send in this session.
    """

    __slots__ = ("_control", "_directs", "_lanes", "_options", "allowed", "holdings")

    def __init__(self, options: Options, control: Control) -> None:
        self._options = options
        self._control = control
        self._lanes: dict[int, IncomingLane] = {}
        self._directs: list[bytes] = []
        self.allowed = True
        self.holdings = Holdings(options.allowance_bytes, options.allowance_messages)

    @property
    def finished(self) -> int:
        """How many messages are settled, without direct ones: see L{IncomingLane.finished}."""
        return sum(lane.finished for lane in self._lanes.values())

    def _check_way(self) -> None:
        if not self.allowed:
            raise ProtocolViolation("the peer sends messages in a session that it only reads", Reason.WRONG_WAY)

    def _lane(self, number: int, flags: int) -> IncomingLane:
        self._check_way()
        lane = self._lanes.get(number)
        if lane is None:
            ordered, delivery = decode_lane(flags)
            if len(self._lanes) >= self._options.max_lanes:
                raise LimitExceeded(f"{len(self._lanes) + 1} lanes are used, {self._options.max_lanes} are allowed")
            lane = self._lanes[number] = IncomingLane(
                number, flags, ordered, delivery, self.holdings, self._control, self._options.max_unsettled
            )
        elif lane.flags != flags:
            raise ProtocolViolation(f"lane {number} changes what it is")
        return lane

    def receive_run(self, blocks: StreamBlocks) -> None:
        """Whole messages. @raise ProtocolViolation: when the peer breaks a rule."""
        largest = max(map(len, blocks.messages))
        if largest > self._options.max_message:
            raise LimitExceeded(f"a message of {largest} bytes, {self._options.max_message} are allowed")
        self._lane(blocks.lane, blocks.flags).receive_run(blocks.first, blocks.messages)

    def receive_fragment(self, block: StreamBlock) -> None:
        """A fragment. @raise ProtocolViolation: when the peer breaks a rule."""
        if block.total > self._options.max_message:
            raise LimitExceeded(f"a message of {block.total} bytes, {self._options.max_message} are allowed")
        self._lane(block.lane, block.flags).receive_fragment(block)

    def receive_clear(self, clear: MessageClear) -> None:
        """A message is withdrawn. @raise ProtocolViolation: when the peer breaks a rule."""
        self._lane(clear.lane, clear.flags).clear(clear)

    def receive_direct(self, direct: Direct) -> None:
        """A direct message. @raise ProtocolViolation: when the peer may not send."""
        self._check_way()
        self._directs.append(bytes(direct.data))

    def take_events(self) -> list[Event]:
        """What the application is to be given now."""
        events: list[Event] = []
        if self._directs:
            events.append(DirectsReceived(self._directs))
            self._directs = []
        for lane in self._lanes.values():
            for first, messages in lane.take_ready():
                events.append(MessagesReceived(lane, first, messages))
        return events

    def acknowledge(self) -> None:
        """Tell the peer what is settled."""
        for lane in self._lanes.values():
            lane.acknowledge()

    def forget(self) -> None:
        """The session is over: free what waits."""
        for lane in self._lanes.values():
            lane.forget()
        self._directs.clear()
