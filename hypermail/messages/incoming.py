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
from hypermail.options import Delivery
from hypermail.wire.fields import MAX_TEXT
from hypermail.wire.packets import Data, MessageClear, StreamBlock, StreamBlockAck, Verdict
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

    Every number that was seen and isn't settled is in C{_sizes}, with the bytes that it was declared to
    have; where else it stands tells how far it is: C{_partial} (fragments are missing), C{_held} (whole,
    its turn has not come), else it is with the application.

    @ivar number: of the lane.
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
        "_ready",
        "_reported",
        "_reports",
        "_settled",
        "_sizes",
        "_top",
        "_unreported",
        "_verdicts",
        "_watermark",
        "_with_application",
        "flags",
        "number",
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
        self._sizes: dict[int, int] = {}
        self._partial: dict[int, _Partial] = {}
        self._held: dict[int, bytes] = {}
        self._with_application = 0
        self._verdicts: dict[int, Verdict] = {}  # until the peer has heard them
        self._reports: dict[int, tuple[int, ...]] = {}  # on their way, each with the numbers of its verdicts
        self._reported = 0  # the greatest watermark that was told
        self._unreported = RangeSet()  # settled above the watermark, or with a verdict, and not told yet; if unordered
        self._ready: list[tuple[int, list[bytes]]] = []
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
        for number in range(first, first + count):
            if not self._is_with_application(number):
                raise UsageError(f"message {number} of lane {self.number} is not with the application")
        self._with_application -= count
        self._settle(first, first + count)
        self._deliver_held()

    def reject(self, number: int, code: int, text: str) -> None:
        """
        The application refuses a message that was delivered to it; on a buffered lane nobody asks.

        @raise UsageError: when it is not with the application.
        """
        if self._delivery is Delivery.BUFFERED:
            return
        if not self._is_with_application(number):
            raise UsageError(f"message {number} of lane {self.number} is not with the application")
        self._with_application -= 1
        self._settle(number, number + 1, Verdict(number, False, code, text))
        self._deliver_held()

    def _is_with_application(self, number: int) -> bool:
        return number in self._sizes and number not in self._partial and number not in self._held

    # Receiving

    def receive_run(self, first: int, messages: list[Data]) -> None:
        """
        Take whole messages with consecutive numbers.

        @raise LimitExceeded: when the peer goes past its allowance.
        @raise ProtocolViolation: when fragments of one of them have said another length.
        """
        count = len(messages)
        if first == self._top and (first == self._next or not self._ordered) and not self._held:
            room = self._most_with_application - self._with_application
            if count <= room:
                self._admit_run(first, messages)
                return
        for number, data in enumerate(messages, first):
            if self._is_new(number) or number in self._partial:
                self._check_total(number, len(data))
                self._admit(number, len(data))
                self._partial.pop(number, None)
                self._complete(number, bytes(data))

    def _admit_run(self, first: int, messages: list[Data]) -> None:
        """The usual case: all of it is new and next."""
        stop = first + len(messages)
        self._check_ahead(stop - 1)
        sizes = [len(data) for data in messages]
        self._holdings.admit(sum(sizes), len(sizes))
        self._sizes.update(zip(range(first, stop), sizes))
        self._next = self._top = stop
        self._with_application += len(sizes)
        self._ready.append((first, [bytes(data) for data in messages]))

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
            del self._partial[number]
            self._complete(number, b"".join(partial.pieces))

    def _check_total(self, number: int, total: int) -> None:
        if number in self._partial and self._sizes[number] != total:
            raise ProtocolViolation(
                f"message {number} of lane {self.number} has {self._sizes[number]} bytes, or {total}?"
            )

    def _is_new(self, number: int) -> bool:
        return number >= self._watermark and number not in self._sizes and number not in self._settled

    def _check_ahead(self, number: int) -> None:
        if number - self._watermark >= MOST_AHEAD:
            raise LimitExceeded(f"message {number} of lane {self.number} is too far ahead of {self._watermark}")

    def _admit(self, number: int, size: int) -> None:
        """Count a message that was not seen before; what was is counted already."""
        if number in self._sizes:
            return
        self._check_ahead(number)
        self._holdings.admit(size, 1)
        self._sizes[number] = size
        self._top = max(self._top, number + 1)

    def _complete(self, number: int, data: bytes) -> None:
        self._held[number] = data
        self._deliver_held()

    def _deliver_held(self) -> None:
        """Deliver what is whole and whose turn has come, as far as the application may hold it."""
        held = self._held
        while held and self._with_application < self._most_with_application:
            if self._ordered:
                self._skip_settled()
                number = self._next
                if number not in held:
                    return
                self._next += 1
            else:
                number = next(iter(held))
            self._with_application += 1
            data = held.pop(number)
            if self._ready and self._ready[-1][0] + len(self._ready[-1][1]) == number:
                self._ready[-1][1].append(data)
            else:
                self._ready.append((number, [data]))

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
        elif number not in self._partial and number not in self._held:
            return
        self._partial.pop(number, None)
        self._held.pop(number, None)
        self._settle(number, number + 1, Verdict(number, True, Reason.MESSAGE_CLEARED, ""))
        self._deliver_held()

    def take_ready(self) -> list[tuple[int, list[bytes]]]:
        """Runs of messages to be delivered now, as (first number, messages); buffered ones are settled by it."""
        taken: list[tuple[int, list[bytes]]] = []
        while self._ready:
            ready = self._ready
            self._ready = []
            taken += ready
            if self._delivery is Delivery.BUFFERED:
                for first, messages in ready:
                    self._take(first, len(messages))
        return taken

    # Settling

    def _settle(self, start: int, stop: int, verdict: Verdict | None = None) -> None:
        self._news = True
        if verdict is not None:
            self._verdicts[start] = verdict
            self._report_later(start, stop)
        self._holdings.release(sum(self._sizes.pop(number) for number in range(start, stop)), stop - start)
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
        if not self._sizes:
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
        """Everything is settled: give back the room that it took."""
        self._sizes.clear()
        self._partial.clear()
        self._held.clear()

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
        self._holdings.release(sum(self._sizes.values()), len(self._sizes))
        for number in (*self._partial, *self._held):
            del self._sizes[number]
        self._holdings = left
        self.forget()
        left.admit(sum(self._sizes.values()), len(self._sizes))

    def forget(self) -> None:
        """The session is over: free what waits."""
        self._partial.clear()
        self._held.clear()
        self._ready.clear()
