"""
Pings of dialect C{batch}: the countdown that finds a peer gone, and those that the application asks for.
"""

from __future__ import annotations

#: Count of the ping that proves an address.
PROOF = 127
#: Counts of pings that the application asks for: those of the countdown are below.
FIRST_ASKED = 128
AFTER_ASKED = 256
#: Pings of the application that are on their way at once, at most, so that no count means two of them.
MOST_ASKED = 64
#: s after which those that were not answered are sent again, at the latest.
ASKED_AGAIN = 1.0
#: How often a ping is sent again before the next tick.
REPETITIONS = 3


class Countdown:
    """
    At every tick at which nothing has come from the peer since the last one, the count goes down: the first time for
    free, then with a ping that bears it, and when it is used up the peer is gone. Only the answer to a ping resets the
    count; whatever else comes merely makes it stay for a tick, as in the original. Until the next tick a ping that is
    not answered is sent again some times, or three losses, which a bad network soon has, would be the end.

    @param interval: s between two ticks.
    @param count: where it begins; from 2, so that a peer is pinged at least once before it is given up.
    @ivar dead: whether the count is used up.
    """

    __slots__ = (
        "_again_at",
        "_asked",
        "_asked_again_at",
        "_count",
        "_first",
        "_heard",
        "_idle",
        "_interval",
        "_next",
        "_pause",
        "_tick_at",
        "_unanswered",
        "dead",
    )

    def __init__(self, interval: float, count: int, now: float) -> None:
        self._interval = interval
        self._pause = interval / (1 + REPETITIONS)
        self._first = count
        self._idle = 0
        self._heard = False
        self._unanswered: set[int] = set()
        self._next = FIRST_ASKED
        self._asked: dict[int, float] = {}  # when each left first
        self._asked_again_at: float | None = None
        self.dead = False
        self._tick_at = now + interval
        self._again_at: float | None = None
        self._count = 0  # that of the ping that is sent again then

    @property
    def deadline(self) -> float:
        """s when C{tick} and C{overdue} are to be called."""
        times = (self._tick_at, self._again_at, self._asked_again_at)
        return min(at for at in times if at is not None)

    def begin(self, now: float) -> None:
        """The first tick is an interval from now."""
        self._tick_at = now + self._interval

    def prove(self) -> int:
        """A ping leaves whose answer shows where the peer is. @return: its count."""
        self._unanswered.add(PROOF)
        return PROOF

    def heard(self) -> None:
        """Something has come from the peer."""
        self._heard = True

    def tick(self, now: float) -> int | None:
        """
        Time has passed. Harmless when early.

        @return: the count of a ping that is to be sent.
        """
        if now < self._tick_at:
            return self._repeat(now)
        self._tick_at = now + self._interval
        self._again_at = None
        if self._heard:
            self._heard = False
            return None
        idle, self._idle = self._idle, self._idle + 1
        if idle >= self._first:
            self.dead = True
        elif idle:
            self._count = self._first - idle
            self._unanswered.add(self._count)
            self._again_at = now + self._pause
            return self._count
        return None

    def _repeat(self, now: float) -> int | None:
        if self._again_at is None or now < self._again_at:
            return None
        self._again_at = now + self._pause
        return self._count

    @property
    def may_ask(self) -> bool:
        """Whether a ping of the application may leave."""
        return len(self._asked) < MOST_ASKED

    def ask(self, now: float) -> int:
        """A ping of the application leaves. @return: its count, that of no other on its way."""
        while self._next in self._asked:
            self._advance()
        count = self._next
        self._advance()
        self._asked[count] = now
        if self._asked_again_at is None:
            self._asked_again_at = now + min(self._pause, ASKED_AGAIN)
        return count

    def _advance(self) -> None:
        self._next += 1
        if self._next == AFTER_ASKED:
            self._next = FIRST_ASKED

    def overdue(self, now: float) -> list[int]:
        """
        Pings of the application that were not answered: it would wait for ever for one that is lost. Harmless when
        early.

        @return: their counts; they are to be sent again.
        """
        if self._asked_again_at is None or now < self._asked_again_at:
            return []
        self._asked_again_at = now + min(self._pause, ASKED_AGAIN)
        return list(self._asked)

    def answered(self, count: int, now: float) -> tuple[bool, float | None]:
        """
        A Ping ack has come.

        @return: whether such a ping was sent and not answered yet, and its round trip in s if the application has asked
            for it, from when it left first.
        """
        asked_at = self._asked.pop(count, None)
        if not self._asked:
            self._asked_again_at = None
        if asked_at is None and count not in self._unanswered:
            return False, None
        self._unanswered.clear()
        self._again_at = None
        self._idle = 0
        return True, None if asked_at is None else now - asked_at
