"""
All incoming messages of a session.
"""

from __future__ import annotations

from collections import deque
from typing import cast

from hypermail.errors import LimitExceeded, ProtocolViolation, Reason, UsageError
from hypermail.events import AsksReceived, DirectsReceived, Event, MessagesReceived, RepliesReceived
from hypermail.link.control import Control
from hypermail.messages.asks import ASKS, NAME, PROPERTIES, REPLIES, AskedLane, AskLane
from hypermail.messages.durable_receiving import DurableIncomingLane
from hypermail.messages.holdings import Holdings
from hypermail.messages.incoming import IncomingLane
from hypermail.messages.journal import Journal
from hypermail.messages.lanes import APPLICATION_LANES, LaneProperties
from hypermail.options import Delivery, Options
from hypermail.wire.packets import Direct, MessageClear, StreamBlock, StreamBlocks, Verdict, decode_lane

#: The flags of a durable lane.
DURABLE = LaneProperties(durable=True).flags
#: Asks that the application is given at once, before their replies leave, and it is seen whether they are too many.
ASKS_AT_ONCE = 32


class Receiving:
    """
    Gives what arrives to its lane, and what is complete to the application.

    @ivar holdings: what the peer has begun and we have not settled, replies apart.
    @ivar reply_holdings: the same of replies; None while there were none.
    @ivar allowed: whether the peer may send in this session.
    @ivar answering: whether we may, so that there can be replies.
    @ivar asked: the peer's asks; None while there were none.
    @ivar asks: our own, which replies are for; None while there were none.
    @ivar journal: of a durable session.
    """

    __slots__ = (
        "_control",
        "_directs",
        "_filled",
        "_lanes",
        "_left",
        "_options",
        "_waiting",
        "allowed",
        "answering",
        "asked",
        "asks",
        "holdings",
        "journal",
        "reply_holdings",
    )

    def __init__(self, options: Options, control: Control) -> None:
        self._options = options
        self._control = control
        self._lanes: dict[int, IncomingLane] = {}
        self._filled: list[IncomingLane] = []  # lanes that have something for the application
        self._directs: list[bytes] | None = None  # while there are any
        self._waiting: deque[tuple[int, bytes]] | None = None  # asks; while there are any
        self.allowed = True
        self.answering = True
        self.asked: AskedLane | None = None
        self.asks: AskLane | None = None
        self.holdings = Holdings(options.allowance_bytes, options.allowance_messages)
        self.reply_holdings: Holdings | None = None
        self._left: Holdings | None = None  # of what a peer has forgotten that was restarted
        self.journal: Journal | None = None

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
            make = self._make_lane if number < APPLICATION_LANES else self._make_reserved_lane
            lane = self._lanes[number] = make(number, flags)
            lane.filled = self._filled
        elif lane.flags != flags:
            raise ProtocolViolation(f"lane {number} changes what it is")
        return lane

    def _make_lane(self, number: int, flags: int) -> IncomingLane:
        ordered, delivery, durable = decode_lane(flags)
        used = sum(number < APPLICATION_LANES for number in self._lanes)
        if used >= self._options.max_lanes:
            raise LimitExceeded(f"{used + 1} lanes are used, {self._options.max_lanes} are allowed")
        most = self._options.max_unsettled
        if durable:
            if self.journal is None:
                raise ProtocolViolation(f"lane {number} is durable, and the session is not")
            return DurableIncomingLane(number, flags, self.holdings, self._control, most, self.journal)
        return IncomingLane(number, flags, ordered, delivery, self.holdings, self._control, most)

    def restore(self, number: int, taken: int, verdicts: tuple[Verdict, ...]) -> None:
        """
        Go on with a durable lane after a restart; what was restored before counts as the least.

        @param taken: the numbers below it are settled.
        @param verdicts: on those of them that were not taken.
        """
        lane = self._lanes.get(number)
        if not isinstance(lane, DurableIncomingLane):
            lane = self._lanes[number] = DurableIncomingLane(
                number,
                DURABLE,
                self.holdings,
                self._control,
                self._options.max_unsettled,
                cast("Journal", self.journal),
            )
            lane.filled = self._filled
        if taken >= lane.finished:
            lane.restore(taken, verdicts or lane.kept)

    def _make_reserved_lane(self, number: int, flags: int) -> IncomingLane:
        if number not in (ASKS, REPLIES):
            raise ProtocolViolation(f"lane {number} is reserved")
        if flags != PROPERTIES.flags:
            raise ProtocolViolation(f"lane {number} has flags {flags:#04x}")
        options = self._options
        if number == ASKS:
            if not self.answering:
                raise ProtocolViolation("the peer asks in a session in which it gets no replies", Reason.WRONG_WAY)
            self.asked = AskedLane(self.holdings, self._control, options.max_unsettled)
            return self.asked
        if self.asks is None:
            raise ProtocolViolation("the peer replies, and was never asked")
        self.reply_holdings = Holdings(options.allowance_bytes, options.allowance_messages)
        # Buffered in that it settles itself: nobody is to hold up a reply, or the ask that it settles.
        return IncomingLane(
            number, flags, False, Delivery.BUFFERED, self.reply_holdings, self._control, options.max_unsettled
        )

    def receive_run(self, blocks: StreamBlocks) -> None:
        """Whole messages. @raise ProtocolViolation: when the peer breaks a rule."""
        lane, flags, first, messages = blocks
        largest = max(map(len, messages))
        if largest > self._options.max_message:
            raise LimitExceeded(f"a message of {largest} bytes, {self._options.max_message} are allowed")
        if lane == REPLIES:
            _check_reply(min(map(len, messages)))
        self._lane(lane, flags).receive_run(first, messages)

    def receive_fragment(self, block: StreamBlock) -> None:
        """A fragment. @raise ProtocolViolation: when the peer breaks a rule."""
        if block.total > self._options.max_message:
            raise LimitExceeded(f"a message of {block.total} bytes, {self._options.max_message} are allowed")
        if block.lane == REPLIES:
            _check_reply(block.total)
        self._lane(block.lane, block.flags).receive_fragment(block)

    def receive_clear(self, clear: MessageClear) -> None:
        """A message is withdrawn. @raise ProtocolViolation: when the peer breaks a rule."""
        lane = self._lane(clear.lane, clear.flags)
        if clear.known and not lane.durable:
            raise ProtocolViolation(f"lane {clear.lane} is not durable, and nothing is kept of its messages")
        lane.clear(clear)

    def receive_direct(self, direct: Direct) -> None:
        """A direct message. @raise ProtocolViolation: when the peer may not send."""
        self._check_way()
        if self._directs is None:
            self._directs = []
        self._directs.append(bytes(direct.data))

    def answer(self, numbers: list[int]) -> None:
        """
        The application has answered asks.

        @raise UsageError: when one of them does not wait for an answer; none is answered then.
        """
        if self.asked is None:
            raise UsageError("the peer has asked nothing")
        self.asked.answer(numbers)

    @property
    def eventful(self) -> bool:
        """Whether the application may have to be given anything."""
        return bool(self._filled or self._waiting or self._directs)

    def take_events(self, answering: bool = True) -> list[Event]:
        """
        What the application is to be given now.

        @param answering: whether there is room for replies; asks wait when there is none.
        """
        events: list[Event] = []
        if self._directs:
            events.append(DirectsReceived(self._directs))
            self._directs = None
        filled = self._filled
        while filled:
            lane = filled.pop(0)
            for first, messages in lane.take_ready():
                if lane.number < APPLICATION_LANES:
                    events.append(MessagesReceived(lane, first, messages))
                elif lane is self.asked:
                    if self._waiting is None:
                        self._waiting = deque()
                    self._waiting.extend(enumerate(messages, first))
                elif self.asks is not None and (answered := self.asks.take_replies(messages)):
                    events.append(RepliesReceived(answered))
        if answering and self._waiting and self.asked is not None:
            waiting = self._waiting
            asks = [waiting.popleft() for _ in range(min(ASKS_AT_ONCE, len(waiting)))]
            events.append(AsksReceived(self.asked, asks))
            if not waiting:
                self._waiting = None
        return events

    def acknowledge(self) -> None:
        """Tell the peer what is settled."""
        for lane in self._lanes.values():
            lane.acknowledge()

    def peer_restarted(self) -> None:
        """
        The peer remembers durable lanes, but not what it was told; of others nothing, so that their numbers begin
        again. What the application has of them stays there, and counts: of all that the peer has forgotten so, as much
        as of what it knows.

        @raise LimitExceeded: when that is too much.
        """
        options = self._options
        left = self._left = self._left or Holdings(options.allowance_bytes, options.allowance_messages)
        for number, lane in list(self._lanes.items()):
            if isinstance(lane, DurableIncomingLane):
                lane.peer_restarted()
            else:
                lane.detach(left)
                del self._lanes[number]
        self._waiting = self.asked = None
        self.reply_holdings = None

    def forget(self) -> None:
        """The session is over: free what waits."""
        for lane in self._lanes.values():
            lane.forget()
        self._directs = None
        self._waiting = None


def _check_reply(size: int) -> None:
    if size < NAME.size:
        raise ProtocolViolation(f"a reply of {size} bytes names no ask")
