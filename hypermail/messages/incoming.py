"""
One lane's incoming messages: put together, delivered in order, settled by the application.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from itertools import islice

from hypermail.errors import LimitExceeded, ProtocolViolation, Reason, UsageError
from hypermail.link.control import Control
from hypermail.messages.holdings import Holdings
from hypermail.messages.runs import Runs
from hypermail.options import Delivery
from hypermail.wire.fields import MAX_TEXT
from hypermail.wire.packets import MessageClear, StreamBlock, StreamBlockAck, Verdict
from hypermail.wire.ranges import RangeSet
from hypermail.wire.reassembly import Reassembly

#: Numbers that a message may be ahead of the watermark; senders keep within it too.
MOST_AHEAD = 65_536
#: What one C{StreamBlockAck} holds at most, so that it fits the smallest datagram.
MOST_RANGES = 8
MOST_VERDICT_BYTES = 700
VERDICT_BYTES = 14
#: C{StreamBlockAck}s of an unordered lane that are on their way with ranges or verdicts.
MOST_REPORTS = 8


class _Partial:
    """A message of which fragments are missing."""

    __slots__ = ("bytes", "pieces", "total")

    def __init__(self, total: int) -> None:
        self.total = total
        self.bytes = Reassembly()
        self.pieces: list[bytes] = []


class IncomingLane:
    """
    The receiving half of one lane.

    Every number that was seen and isn't settled stands in one place, which tells how far it is: C{_partial} (fragments
    are missing), C{_held} (whole; its turn has not come, or the application has no room for it), C{_with_application}
    (with the bytes that it has). Runs stay runs from the datagram to their settling, as long as nothing parts them.

    @ivar number: of the lane.
    @ivar ready: runs to be delivered now, as (first number, messages).
    @ivar filled: where the lane puts itself when it has some; a list of all lanes of a session.
    @cvar durable: whether it goes on after restarts.
    """

    durable = False

    __slots__ = (
        "_control",
        "_delivery",
        "_held",
        "_holdings",
        "_most_with_application",
        "_news",
        "_next",
        "_ordered",
        "_partial",
        "_reported",
        "_reports",
        "_settled",
        "_top",
        "_unreported",
        "_verdicts",
        "_watermark",
        "_with_application",
        "filled",
        "flags",
        "number",
        "ready",
    )

    def __init__(
        self,
        number: int,
        flags: int,
        ordered: bool,
        delivery: Delivery,
        holdings: Holdings,
        control: Control,
        most_with_application: int,
    ) -> None:
        self.number = number
        self.flags = flags
        self._ordered = ordered
        self._delivery = delivery
        self._holdings = holdings
        self._control = control
        self._most_with_application = most_with_application
        self._next = 0  # the next to be delivered, on an ordered lane
        self._top = 0  # one more than the greatest number seen
        self._watermark = 0
        self._settled = RangeSet()  # above the watermark
        self._partial: dict[int, _Partial] = {}
        self._held: Runs[bytes] = Runs()
        self._with_application: Runs[int] = Runs()
        self._verdicts: dict[int, Verdict] = {}  # until the peer has heard them
        self._reports: dict[int, tuple[int, ...]] = {}  # on their way, each with the numbers of its verdicts
        self._reported = 0  # the greatest watermark that was told
        self._unreported = RangeSet()  # settled above the watermark, or with a verdict, and not told yet; if unordered
        self.ready: list[tuple[int, list[bytes]]] = []
        self.filled: list[IncomingLane] = []
        self._news = False

    @property
    def finished(self) -> int:
        """How many messages are settled: taken or rejected by the application, or withdrawn by the peer."""
        return self._watermark + self._settled.total

    # The application's side

    def take(self, first: int, count: int = 1) -> None:
        """
        The application has taken messages that were delivered to it; on a buffered lane nobody asks.

        @raise UsageError: when some of them are not with the application.
        """
        if self._delivery is not Delivery.BUFFERED:
            self._take(first, count)

    def _take(self, first: int, count: int) -> None:
        sizes = self._with_application.remove(first, count)
        if sizes is None:
            raise self._not_with_application(first, count)
        self._settle(first, sizes)
        self._deliver()

    def reject(self, number: int, code: int, text: str) -> None:
        """
        The application refuses a message that was delivered to it; on a buffered lane nobody asks.

        @raise UsageError: when it is not with the application.
        """
        if self._delivery is Delivery.BUFFERED:
            return
        sizes = self._with_application.remove(number, 1)
        if sizes is None:
            raise self._not_with_application(number)
        self._settle(number, sizes, Verdict(number, False, code, text))
        self._deliver()

    def _not_with_application(self, first: int, count: int = 1) -> UsageError:
        number = next(number for number in range(first, first + count) if number not in self._with_application)
        return UsageError(f"message {number} of lane {self.number} is not with the application")

    # Receiving

    def receive_run(self, first: int, messages: list[bytes]) -> None:
        """
        Take whole messages with consecutive numbers.

        @param messages: the list belongs to the lane from now on.
        @raise LimitExceeded: when the peer goes past its allowance.
        @raise ProtocolViolation: when fragments of one of them have said another length.
        """
        if first >= self._top:
            self._admit_run(first, messages)
            return
        for number, data in enumerate(messages, first):
            if number in self._partial or self._is_new(number):
                self._check_total(number, len(data))
                self._admit(number, len(data))
                self._complete(number, data)

    def _admit_run(self, first: int, messages: list[bytes]) -> None:
        """The usual case: all of it is new. Most often its turn has come, too, and there is room."""
        sizes = list(map(len, messages))
        stop = first + len(sizes)
        self._check_ahead(stop - 1)
        self._holdings.admit(sum(sizes), len(sizes))
        self._top = stop
        if (
            not self._held.count
            and (first == self._next or not self._ordered)
            and len(sizes) <= self._most_with_application - self._with_application.count
        ):
            self._next = stop
            self._give(first, messages, sizes)
        else:
            self._held.add(first, messages)
            self._deliver()

    def receive_fragment(self, block: StreamBlock) -> None:
        """
        Take a fragment.

        @raise LimitExceeded: when the peer goes past its allowance.
        @raise ProtocolViolation: when fragments of one message disagree on its length.
        """
        number = block.number
        partial = self._partial.get(number)
        if partial is None:
            if not self._is_new(number):
                return
            self._admit(number, block.total)
            if len(block.data) == block.total:
                self._complete(number, bytes(block.data))
                return
            partial = self._partial[number] = _Partial(block.total)
        self._check_total(number, block.total)
        partial.pieces += partial.bytes.add(block.offset, block.data, partial.total)
        if partial.bytes.offset == partial.total:
            self._complete(number, b"".join(partial.pieces))

    def _check_total(self, number: int, total: int) -> None:
        partial = self._partial.get(number)
        if partial is not None and partial.total != total:
            raise ProtocolViolation(f"message {number} of lane {self.number} has {partial.total} bytes, or {total}?")

    def _is_new(self, number: int) -> bool:
        return number >= self._top or not (
            number < self._watermark
            or number in self._partial
            or number in self._held
            or number in self._with_application
            or number in self._settled
        )

    def _check_ahead(self, number: int) -> None:
        if number - self._watermark >= MOST_AHEAD:
            raise LimitExceeded(f"message {number} of lane {self.number} is too far ahead of {self._watermark}")

    def _admit(self, number: int, size: int) -> None:
        """Count a message that was not seen before; what was is counted already."""
        if number in self._partial:
            return
        self._check_ahead(number)
        self._holdings.admit(size, 1)
        self._top = max(self._top, number + 1)

    def _complete(self, number: int, data: bytes) -> None:
        self._partial.pop(number, None)
        self._held.add(number, [data])
        self._deliver()

    def _deliver(self) -> None:
        """Deliver what is whole and whose turn has come, as far as the application may hold it."""
        held = self._held
        while held.count and (room := self._most_with_application - self._with_application.count) > 0:
            if self._ordered:
                self._skip_settled()
                if held.first != self._next:
                    return
            first, messages = held.pop(room)
            self._next = first + len(messages)
            self._give(first, messages, list(map(len, messages)))

    def _give(self, first: int, messages: list[bytes], sizes: list[int]) -> None:
        """Messages go to the application, together with those before them."""
        self._with_application.add(first, sizes)
        ready = self.ready
        if ready and ready[-1][0] + len(ready[-1][1]) == first:
            ready[-1][1].extend(messages)
            return
        if not ready:
            self.filled.append(self)
        ready.append((first, messages))

    def _skip_settled(self) -> None:
        """Go past numbers that were cleared before they were delivered."""
        while self._next < self._watermark or self._next in self._settled:
            self._next += 1

    def clear(self, clear: MessageClear) -> None:
        """
        The peer withdraws a message: so be it, unless it is with the application or settled.

        The answer is the settling, one way or the other.
        """
        number = clear.number
        if self._is_new(number):
            self._admit(number, 0)
            size = 0
        elif (partial := self._partial.pop(number, None)) is not None:
            size = partial.total
        elif (messages := self._held.remove(number, 1)) is not None:
            size = len(messages[0])
        else:
            return
        self._settle(number, [size], Verdict(number, True, Reason.MESSAGE_CLEARED, ""))
        self._deliver()

    def take_ready(self) -> list[tuple[int, list[bytes]]]:
        """Runs of messages to be delivered now, as (first number, messages); buffered ones are settled by it."""
        taken: list[tuple[int, list[bytes]]] = []
        while self.ready:
            ready = self.ready
            self.ready = []
            taken += ready
            if self._delivery is Delivery.BUFFERED:
                for first, messages in ready:
                    self._take(first, len(messages))
        return taken

    # Settling

    def _settle(self, start: int, sizes: list[int], verdict: Verdict | None = None) -> None:
        """
        The fate of messages with consecutive numbers is known.

        @param sizes: of each, in bytes, as declared.
        """
        stop = start + len(sizes)
        self._news = True
        if verdict is not None:
            self._verdicts[start] = verdict
            self._report_later(start, stop)
        self._holdings.release(sum(sizes), len(sizes))
        if start == self._watermark and not self._settled:
            self._watermark = stop
            return
        self._settled.add(start, stop)
        self._report_later(start, stop)
        if self._settled.first()[0] == self._watermark:
            self._watermark = self._settled.drop_first()[1]

    def _report_later(self, start: int, stop: int) -> None:
        """On an unordered lane the watermark may be long in coming to these numbers, or must not pass them untold."""
        if not self._ordered:
            self._unreported.add(start, stop)

    def acknowledge(self) -> None:
        """
        Tell the peer what is settled, if there is news; at most once in a turn.

        The watermark waits for verdicts that don't fit: what is below it without a verdict was taken.
        """
        if not self._news:
            return
        self._news = False
        self._rest()
        if not self._ordered:
            self._report()
            return
        told, limit = self._fitting(sorted(self._verdicts), self._watermark)
        packet = StreamBlockAck(self.number, limit, (), told)
        confirm = partial(self._confirm, tuple(verdict.number for verdict in told)) if told else None
        self._control.put(("lane", self.number), packet, confirm)

    def _fitting(self, numbers: Iterable[int], limit: int) -> tuple[tuple[Verdict, ...], int]:
        """
        Those verdicts on C{numbers}, which ascend, below a limit that one acknowledgement has room for.

        @return: with them, the limit, or the number of the first verdict for which there is no room.
        """
        told: list[Verdict] = []
        size = 0
        for number in numbers:
            if number >= limit:
                break
            verdict = self._verdicts[number]
            size += VERDICT_BYTES + min(len(verdict.text.encode("utf-8", "replace")), MAX_TEXT)
            if size > MOST_VERDICT_BYTES:
                return tuple(told), number
            told.append(verdict)
        return tuple(told), limit

    def _report(self) -> None:
        """
        The same on an unordered lane: whatever waits for long holds up the watermark, so ranges are told, each in one
        report, which is sent until it has arrived. What there is no room for waits until one has.
        """
        if not (self._unreported or self._verdicts or self._reports):  # the usual case
            if self._watermark > self._reported:
                self._reported = self._watermark
                self._control.put(("lane", self.number), StreamBlockAck(self.number, self._watermark, (), ()))
            return
        if len(self._reports) >= MOST_REPORTS:
            return
        flying = {number for numbers in self._reports.values() for number in numbers}
        watermark = min(self._watermark, *flying) if flying else self._watermark  # what passes a verdict has to tell it
        ranges = tuple(islice(self._unreported, MOST_RANGES))
        fresh = sorted(number for number in self._verdicts if number not in flying)
        told, limit = self._fitting(fresh, max(watermark, ranges[-1][1]) if ranges else watermark)
        watermark = min(watermark, limit)
        above = tuple((start, min(stop, limit)) for start, stop in ranges if watermark < start < limit)
        for start, stop in above:
            self._unreported.remove(start, stop)
        self._unreported.remove_below(watermark)
        packet = StreamBlockAck(self.number, watermark, above, told)
        if above or told:
            slot = next(slot for slot in range(MOST_REPORTS) if slot not in self._reports)
            self._reports[slot] = tuple(verdict.number for verdict in told)
            self._control.put(("lane", self.number, slot), packet, partial(self._report_arrived, slot))
        elif watermark > self._reported:
            self._control.put(("lane", self.number), packet)
        self._reported = max(self._reported, watermark)

    def _report_arrived(self, slot: int) -> None:
        self._confirm(self._reports.pop(slot))
        self._news = self._news or bool(self._unreported) or self._watermark > self._reported

    def _rest(self) -> None:
        """When everything is settled, give back the room that it took."""
        if not (self._with_application.count or self._held.count or self._partial):
            self._partial.clear()
            self._held.clear()
            self._with_application.clear()

    def _confirm(self, numbers: tuple[int, ...]) -> None:
        """The peer has heard these verdicts; the next ones may go."""
        for number in numbers:
            self._verdicts.pop(number, None)
        self._news = self._news or bool(self._verdicts)

    def detach(self, left: Holdings) -> None:
        """
        Its sender knows the lane no more: what the application still says of its messages concerns nobody.

        @param left: counts those that the application has, until it has settled them.
        @raise LimitExceeded: when these are too many.
        """
        given = self._with_application
        self._release_waiting()
        self._holdings.release(sum(given), given.count)
        self._holdings = left
        self.forget()
        left.admit(sum(given), given.count)

    def _release_waiting(self) -> None:
        """What the application has not got is counted no more."""
        size = sum(partial.total for partial in self._partial.values()) + sum(map(len, self._held))
        self._holdings.release(size, len(self._partial) + self._held.count)

    def forget(self) -> None:
        """The session is over: free what waits."""
        self._partial.clear()
        self._held.clear()
        self.ready.clear()
