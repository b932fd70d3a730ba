"""
The receiving half of durable lanes: what was taken outlives the process.

What the application has taken is told to the peer when that is safe on disk. Rejects are kept until the peer knows them
for good, as it says by C{StreamClear}.
"""

from __future__ import annotations

from functools import partial

from hypermail.link.control import Control
from hypermail.messages.holdings import Holdings
from hypermail.messages.incoming import IncomingLane
from hypermail.messages.journal import Heard, Journal, Taken
from hypermail.options import Delivery
from hypermail.wire.packets import MessageClear, StreamBlockAck, Verdict

#: Rejects of a lane that the peer may not know of, at which no more of its messages are delivered.
MOST_KEPT = 1_024


class DurableIncomingLane(IncomingLane):
    """
    The receiving half of a durable lane.
    """

    durable = True

    __slots__ = ("_excused_below", "_journal", "_kept", "_most", "_noted", "_safe", "_tells")

    def __init__(
        self,
        number: int,
        flags: int,
        holdings: Holdings,
        control: Control,
        most_with_application: int,
        journal: Journal,
    ) -> None:
        super().__init__(number, flags, True, Delivery.ACKED, holdings, control, most_with_application)
        self._most = most_with_application
        self._journal = journal
        self._kept: dict[int, Verdict] = {}  # until the peer knows them for good
        self._noted = 0  # the watermark that was given to the journal last
        self._safe = 0  # ... and that is on disk
        self._tells = False
        self._excused_below = 0  # numbers below it, from the watermark on, are not counted in the allowance

    def restore(self, taken: int, verdicts: tuple[Verdict, ...]) -> None:
        """
        Go on after a restart, before anything has come.

        @param taken: the numbers below it are settled.
        @param verdicts: on those of them that were not taken.
        """
        self._watermark = self._next = self._top = self._noted = self._safe = taken
        self._kept = {verdict.number: verdict for verdict in verdicts}
        self.retell()

    @property
    def kept(self) -> tuple[Verdict, ...]:
        """The verdicts that the peer may not know for good."""
        return tuple(self._kept.values())

    def retell(self) -> None:
        """The peer may not know what it was told; where nothing was, it may not know the lane."""
        self._verdicts.update(self._kept)
        self._tells = self._tells or self._safe > 0

    def peer_restarted(self) -> None:
        """
        The peer has been restarted. It sends again all that is not settled, and counts its allowance from nothing: what
        is not with the application goes, and what is there is not counted any more, as far as that may be.
        """
        self._release_waiting()
        self._partial.clear()
        self._held.clear()
        if not self._settled:
            self._top = self._next
        counted = self._with_application.since(self._excused_below)
        if counted and self._holdings.excuse(sum(counted), len(counted)):
            self._excused_below = self._next
        self.retell()

    def _settle(self, start: int, sizes: list[int], verdict: Verdict | None = None) -> None:
        if start < self._excused_below:
            excused = sizes[: self._excused_below - start]
            self._holdings.count_again(sum(excused), len(excused))
        super()._settle(start, sizes, verdict)

    def acknowledge(self) -> None:
        """Write down what is settled, if there is news; tell the peer what was written down."""
        if self._news:
            self._news = False
            self._rest()
            if self._watermark > self._noted:
                self._note()
        if self._tells:
            self._tells = False
            told, limit = self._fitting(sorted(self._verdicts), self._safe)
            confirm = partial(self._confirm, tuple(verdict.number for verdict in told)) if told else None
            self._control.put(("lane", self.number), StreamBlockAck(self.number, limit, (), told), confirm)

    def _note(self) -> None:
        fresh = [number for number in sorted(self._verdicts) if self._noted <= number < self._watermark]
        verdicts = tuple(self._verdicts[number] for number in fresh)
        self._kept.update(zip(fresh, verdicts))
        self._limit()
        self._noted = self._watermark
        self._journal.put(
            Taken(self._journal.id, self.number, self._watermark, verdicts), partial(self._written, self._watermark)
        )

    def _written(self, watermark: int, safe: bool, now: float) -> None:
        if safe:
            self._safe = max(self._safe, watermark)
            self._tells = True
        elif self._noted > self._safe:
            # At once: what was noted later has to come with the verdicts that were to come before it, or not at all.
            self._noted = self._safe
            self._note()

    def _confirm(self, numbers: tuple[int, ...]) -> None:
        """The peer's link has these verdicts; the next ones may go."""
        for number in numbers:
            self._verdicts.pop(number, None)
        self._tells = self._tells or bool(self._verdicts)

    def clear(self, clear: MessageClear) -> None:
        """See L{IncomingLane.clear}; or the peer knows for good why a message was not taken."""
        if not clear.known:
            super().clear(clear)
        elif self._kept.pop(clear.number, None) is not None:
            self._verdicts.pop(clear.number, None)
            self._journal.put(Heard(self._journal.id, self.number, (clear.number,)))
            self._limit()
            self._deliver()

    def _limit(self) -> None:
        """While the peer knows of too few of its rejects, it is given no reason for more."""
        self._most_with_application = 0 if len(self._kept) >= MOST_KEPT else self._most
