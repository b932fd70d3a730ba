"""
Asks and their replies: messages in two lanes of hypermail's own.

A reply names its ask by number. An ask is settled when its reply is, so that what one side has asked and not got
answered stays within the other's allowance, and a session that closes carries all replies first. Replies have an
allowance of their own, which no application holds up: were it one with that of messages, two sides that ask each other
could fill it with asks that wait for one another's replies.
"""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct
from sys import maxsize
from typing import cast

from hypermail.errors import ProtocolViolation, UsageError
from hypermail.link.control import Control
from hypermail.messages.budget import Budget
from hypermail.messages.holdings import Holdings
from hypermail.messages.incoming import IncomingLane
from hypermail.messages.lanes import LaneProperties
from hypermail.messages.message import Outgoing, OutgoingMessage
from hypermail.messages.outgoing import OutgoingLane
from hypermail.messages.states import BEGUN
from hypermail.wire.packets import Verdict

#: The lane of asks, and that of replies.
ASKS = 254
REPLIES = 255
#: What both are.
PROPERTIES = LaneProperties(ordered=False)
#: What a reply begins with: the number of its ask.
NAME = Struct(">Q")


class Ask(OutgoingMessage):
    """
    One ask on its way.

    @ivar answered: whether its reply has come.
    """

    __slots__ = ("answered",)

    def __init__(self, outgoing: Outgoing, data: bytes, wanted: bool) -> None:
        super().__init__(outgoing, data, wanted)
        self.answered = False


class AskLane(OutgoingLane):
    """
    Our asks.

    @ivar ignored: replies that came for nothing that waits: it was withdrawn, or never asked.
    """

    __slots__ = ("ignored",)

    message = Ask

    def __init__(self, budget: Budget, most_buffered: int) -> None:
        super().__init__(ASKS, PROPERTIES, budget, most_buffered)
        self.ignored = 0

    def take_replies(self, replies: Iterable[bytes]) -> list[tuple[OutgoingMessage, bytes]]:
        """
        Give replies to their asks.

        @param replies: each with its ask's number in front.
        @return: asks that wait, each with its reply; nobody is told of their settling any more.
        """
        answered: list[tuple[OutgoingMessage, bytes]] = []
        for reply in replies:
            ask = cast("Ask | None", self._begun_item(NAME.unpack_from(reply)[0]))
            if ask is None or ask.answered:
                self.ignored += 1
                continue
            ask.answered = True
            ask.wanted = False
            if ask.state is BEGUN:
                answered.append((ask, reply[NAME.size :]))
            else:
                self.ignored += 1
        return answered

    def _settle_range(self, start: int, stop: int, verdicts: dict[int, Verdict]) -> None:
        for number in range(start, stop):
            if number not in verdicts and not cast("Ask", self._begun_item(number)).answered:
                raise ProtocolViolation(f"the peer takes ask {number}, and has sent no reply")
        super()._settle_range(start, stop, verdicts)


class ReplyLane(OutgoingLane):
    """
    Our replies.

    @param most_begun: bytes sent and not settled at which there are enough.
    @ivar budget: theirs alone.
    """

    __slots__ = ("_most_begun", "budget")

    def __init__(self, budget: Budget, most_begun: int, most_buffered: int) -> None:
        super().__init__(REPLIES, PROPERTIES, budget, most_buffered)
        self._most_begun = most_begun
        self.budget = budget

    @property
    def full(self) -> bool:
        """Whether so much is on its way that no further ask should be answered: the peer may be slow to take it."""
        budget = self.budget
        return budget.begun_bytes >= self._most_begun or budget.full

    def take_settled(self) -> list[int]:
        """The numbers of the asks whose replies were settled since the last call."""
        settled, self.settled = self.settled, []
        return [NAME.unpack_from(message.data)[0] for message in settled]


class AskedLane(IncomingLane):
    """
    The peer's asks. The application owes each an answer or a reject.
    """

    __slots__ = ("_answered",)

    def __init__(self, holdings: Holdings, control: Control, most_with_application: int) -> None:
        super().__init__(
            ASKS, PROPERTIES.flags, PROPERTIES.ordered, PROPERTIES.delivery, holdings, control, most_with_application
        )
        self._answered: set[int] = set()  # their replies are on the way

    def take(self, first: int, count: int = 1) -> None:
        """@raise UsageError: always; an ask is taken by its reply."""
        raise UsageError("asks are answered or rejected, not taken")

    def answer(self, number: int) -> None:
        """
        The application has answered an ask.

        @raise UsageError: when it is not with the application, or was answered before.
        """
        self._check(number)
        self._answered.add(number)

    def reject(self, number: int, code: int, text: str) -> None:
        """
        The application refuses an ask.

        @raise UsageError: when it is not with the application, or was answered before.
        """
        self._check(number)
        super().reject(number, code, text)

    def detach(self, left: Holdings) -> None:
        """See L{IncomingLane.detach}; its asks are taken back from the application."""
        super().detach(Holdings(maxsize, maxsize))

    def _check(self, number: int) -> None:
        if number not in self._with_application or number in self._answered:
            raise UsageError(f"ask {number} does not wait for an answer")

    def reply_settled(self, number: int) -> None:
        """The peer has the reply."""
        self._answered.remove(number)
        self._take(number, 1)
