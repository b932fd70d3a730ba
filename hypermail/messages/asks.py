"""
Asks and their replies: messages in two lanes of hypermail's own.

A reply names its ask by number. An ask is settled when its reply is, so that what one side has asked and not got
answered stays within the other's allowance, and a session that closes carries all replies first. Replies have an
allowance of their own, which no application holds up: were it one with that of messages, two sides that ask each other
could fill it with asks that wait for one another's replies.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from struct import Struct
from sys import maxsize
from typing import TypeVar

from hypermail.errors import ProtocolViolation, UsageError
from hypermail.link.control import Control
from hypermail.messages.budget import Budget
from hypermail.messages.departing import contents
from hypermail.messages.holdings import Holdings
from hypermail.messages.incoming import IncomingLane
from hypermail.messages.lanes import LaneProperties
from hypermail.messages.message import Outgoing, OutgoingMessage, bytes_alone
from hypermail.messages.outgoing import OutgoingLane
from hypermail.messages.states import BEGUN, SETTLED
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

    @ivar answered: whether its reply has come while more of it than its bytes was needed: not all had left, or it was
        withdrawn.
    """

    __slots__ = ("answered",)

    def __init__(self, outgoing: Outgoing, data: bytes, wanted: bool) -> None:
        super().__init__(outgoing, data, wanted)
        self.answered = False


#: What an ask is to be.
A = TypeVar("A", bound=Ask)


class AskLane(OutgoingLane):
    """
    Our asks. An L{Ask} is one that waits: when its reply has come no more of it is kept than its bytes, which count
    until the peer has settled it.

    @ivar ignored: replies that came for nothing that waits: it was withdrawn, or never asked.
    """

    __slots__ = ("ignored",)

    message = Ask

    def __init__(self, budget: Budget, most_buffered: int) -> None:
        super().__init__(ASKS, PROPERTIES, budget, most_buffered)
        self.ignored = 0

    def ask(self, kind: type[A], data: bytes) -> A:
        """Queue an ask. @param kind: what it is to be."""
        ask = kind(self, data, True)
        self._items.append(ask)
        self._records += 1
        budget = self._budget
        budget.queued_bytes += len(data)
        budget.queued_messages += 1
        return ask

    def take_replies(self, replies: Iterable[bytes]) -> list[tuple[OutgoingMessage, bytes]]:
        """
        Give replies to their asks.

        @param replies: each with its ask's number in front.
        @return: asks that wait, each with its reply; nobody is told of their settling any more.
        """
        items, base = self._items, self._base
        begun = self._next - base
        number_in, name = NAME.unpack_from, NAME.size
        answered: list[tuple[OutgoingMessage, bytes]] = []
        for reply in replies:
            at = number_in(reply)[0] - base
            ask = items[at] if 0 <= at < begun else None
            if not isinstance(ask, Ask) or ask.answered:
                self.ignored += 1
            elif ask.state is BEGUN and ask is not self._fragmenting:
                items[at] = ask.data
                self._records -= 1
                ask.state = SETTLED  # OUTGOING: (BEGUN, SETTLE), the hot path
                answered.append((ask, reply[name:]))
            else:
                ask.answered = True
                ask.wanted = False
                if ask.state is BEGUN:
                    answered.append((ask, reply[name:]))
                else:
                    self.ignored += 1
        return answered

    def _settle_range(self, start: int, stop: int, verdicts: dict[int, Verdict]) -> None:
        asks = self._items[start - self._base : stop - self._base]
        if not bytes_alone(asks):
            for number, ask in enumerate(asks, start):
                if isinstance(ask, Ask) and not ask.answered and number not in verdicts:
                    raise ProtocolViolation(f"the peer takes ask {number}, and has sent no reply")
        super()._settle_range(start, stop, verdicts)


class ReplyLane(OutgoingLane):
    """
    Our replies.

    @param most_begun: bytes sent and not settled at which there are enough.
    @ivar budget: theirs alone.
    @ivar settled_asks: the numbers of the asks whose replies were settled, and of which nobody was told.
    """

    __slots__ = ("_most_begun", "budget", "settled_asks")

    def __init__(self, budget: Budget, most_begun: int, most_buffered: int) -> None:
        super().__init__(REPLIES, PROPERTIES, budget, most_buffered)
        self._most_begun = most_begun
        self.budget = budget
        self.settled_asks: list[int] = []

    @property
    def full(self) -> bool:
        """Whether so much is on its way that no further ask should be answered: the peer may be slow to take it."""
        budget = self.budget
        return budget.begun_bytes >= self._most_begun or budget.full

    def reply(self, numbers: list[int], replies: list[bytes]) -> None:
        """Queue the replies to asks."""
        self.send_run([name + reply for name, reply in zip(map(NAME.pack, numbers), replies)])

    def _settle_range(self, start: int, stop: int, verdicts: dict[int, Verdict]) -> None:
        replies = contents(self._items[start - self._base : stop - self._base], self._records)
        super()._settle_range(start, stop, verdicts)
        self.settled_asks += chain.from_iterable(map(NAME.unpack_from, replies))


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

    def answer(self, numbers: list[int]) -> None:
        """
        The application has answered asks.

        @raise UsageError: when one of them is not with the application, or was answered before; none is then.
        """
        answered = set(numbers)
        fresh = len(answered) == len(numbers) and self._answered.isdisjoint(answered)
        if not fresh or not self._with_application.has(numbers):
            for number in numbers:
                self._check(number)
            raise UsageError("an ask has one answer")
        self._answered |= answered

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

    def replies_settled(self, numbers: list[int]) -> None:
        """The peer has the replies to these asks."""
        self._answered.difference_update(numbers)
        for first, count in _runs(numbers):
            self._take(first, count)


def _runs(numbers: list[int]) -> Iterator[tuple[int, int]]:
    """What follows each other in a list of numbers, as (first, count)."""
    first, count = numbers[0], len(numbers)
    if numbers == list(range(first, first + count)):  # the usual case
        yield first, count
        return
    start = 0
    while start < len(numbers):
        first, stop = numbers[start], start + 1
        while stop < len(numbers) and numbers[stop] == first + stop - start:
            stop += 1
        yield first, stop - start
        start = stop
