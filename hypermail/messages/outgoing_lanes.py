"""
The lanes on which a session sends: which there are, what each is, and in which order they have their turns.
"""

from __future__ import annotations

from hypermail.errors import MessageTooLarge, UsageError
from hypermail.link.control import Control
from hypermail.messages.asks import ASKS, NAME, REPLIES, AskLane, ReplyLane
from hypermail.messages.budget import Budget
from hypermail.messages.clearing import Clearing
from hypermail.messages.durable_sending import DurableOutgoingLane
from hypermail.messages.journal import Journal
from hypermail.messages.lanes import APPLICATION_LANES, ORDINARY, LaneProperties
from hypermail.messages.message import OutgoingMessage
from hypermail.messages.outgoing import OutgoingLane
from hypermail.messages.redundancy import Copies, RedundantLane
from hypermail.options import Delivery, Options
from hypermail.wire.packets import MessageClear
from hypermail.wire.parameters import Parameters


class OutgoingLanes:
    """
    Makes lanes for their first messages.

    @param peer: the peer's limits as far as they are known.
    @ivar asks: ours; None while there were none.
    @ivar copies: of messages that ride again; None while no lane has redundancy.
    @ivar replies: ours to the peer's asks; None while there were none.
    @ivar settled: messages and asks of all lanes whose fate became known and that somebody wants to hear of.
    @ivar journal: of a durable session.
    @ivar most_message: bytes of the largest message that the peer takes.
    """

    __slots__ = (
        "_by_priority",
        "_clearing",
        "_configured",
        "_control",
        "_lanes",
        "_most_lanes",
        "_options",
        "asks",
        "budget",
        "copies",
        "journal",
        "most_message",
        "replies",
        "settled",
    )

    def __init__(self, options: Options, peer: Parameters, control: Control) -> None:
        self._options = options
        self._control = control
        self.most_message = peer.max_message
        self._most_lanes = peer.max_lanes
        self._configured: dict[int, LaneProperties] | None = None  # made for the first
        self._lanes: dict[int, OutgoingLane] = {}
        self._by_priority: tuple[list[OutgoingLane], ...] = ()
        self._clearing: Clearing | None = None  # made for the first message that was not taken
        self.budget = Budget(options.outgoing_bytes, peer.allowance_bytes, peer.allowance_messages)
        self.asks: AskLane | None = None
        self.replies: ReplyLane | None = None
        self.settled: list[OutgoingMessage] = []
        self.copies: Copies | None = None
        self.journal: Journal | None = None

    def learn(self, peer: Parameters) -> None:
        """The peer has told its limits."""
        self.most_message = peer.max_message
        self._most_lanes = peer.max_lanes
        self.budget.allowance_bytes = peer.allowance_bytes
        self.budget.allowance_messages = peer.allowance_messages

    # What they are

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

    def is_durable(self, number: int) -> bool:
        """Whether a lane is durable."""
        properties = self._properties(number)
        return properties is not None and properties.durable

    def is_direct(self, number: int) -> bool:
        """Whether a lane's messages are direct ones."""
        properties = self._properties(number)
        return properties is not None and properties.delivery is Delivery.DIRECT

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

    # Coming and going

    def _lane(self, number: int) -> OutgoingLane:
        if number >= APPLICATION_LANES:
            ORDINARY.checked(number)
        return self._lanes.get(number) or self._new_lane(number)

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
        lane.settled = self.settled
        for lanes in self._by_priority:
            if lanes[0].properties.priority == lane.properties.priority:
                lanes.append(lane)
                return
        grown = (*self._by_priority, [lane])
        self._by_priority = tuple(sorted(grown, key=lambda lanes: -lanes[0].properties.priority))

    def _drop_lane(self, number: int, lane: OutgoingLane) -> None:
        del self._lanes[number]
        for lanes in self._by_priority:
            if lane in lanes:
                lanes.remove(lane)
        self._by_priority = tuple(lanes for lanes in self._by_priority if lanes)

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

    # Messages that were not taken

    @property
    def _clears(self) -> Clearing:
        if self._clearing is None:
            self._clearing = Clearing(self._control, lambda number: self._lanes[number].properties.flags)
        return self._clearing

    def _tell_known(self, clear: MessageClear) -> None:
        self._clears.tell_known(clear)

    def _clear(self, message: OutgoingMessage) -> None:
        self._clears.ask(message)

    # Asks and replies

    def begin_asks(self) -> AskLane:
        """Make the lane of asks."""
        self.asks = AskLane(self.budget, self._options.buffered_messages)
        self._add_lane(ASKS, self.asks)
        return self.asks

    def reply(self, numbers: list[int], replies: list[bytes]) -> None:
        """Queue the replies to asks of the peer's, which L{check_replies} has passed."""
        if self.replies is None:  # nobody has been asked before the peer's limits were known
            options, allowed = self._options, self.budget
            budget = Budget(options.outgoing_bytes, allowed.allowance_bytes, allowed.allowance_messages)
            self.replies = ReplyLane(budget, options.allowance_bytes, options.buffered_messages)
            self._add_lane(REPLIES, self.replies)
        self.replies.reply(numbers, replies)

    def check_replies(self, replies: list[bytes]) -> None:
        """@raise MessageTooLarge: when one of some replies is larger than the peer takes."""
        largest = max(map(len, replies))
        if largest > self.most_message - NAME.size:
            raise too_large("a reply", largest, max(0, self.most_message - NAME.size), "the asker")


def too_large(what: str, size: int, most: int, whom: str = "the peer") -> MessageTooLarge:
    """Why something cannot be sent. @param whom: whoever does not take it."""
    return MessageTooLarge(f"{what} of {size} bytes: {whom} takes {most} at most; use a stream")
