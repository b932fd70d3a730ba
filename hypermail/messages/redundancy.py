"""
Lanes whose small messages ride again in later datagrams, unasked, so that a single loss costs no round trip.

A copy leaves with the next datagram that carries data anyway, or by itself when none does for an eighth of the round
trip. It never leaves at once with what it copies: networks lose datagrams in bursts, so what is spread in time arrives.
"""

from __future__ import annotations

from collections import deque
from typing import cast

from hypermail.link.payload import Payload
from hypermail.messages.budget import Budget
from hypermail.messages.departing import LENGTH
from hypermail.messages.lanes import LaneProperties
from hypermail.messages.message import Outgoing, OutgoingMessage
from hypermail.messages.outgoing import OutgoingLane
from hypermail.messages.states import BEGUN
from hypermail.wire.packets import BLOCKS, MAX_RUN

#: Bytes of the largest message that rides again.
LARGEST_COPY = 512
#: s between two sendings of a message, at least: more than a train is on its way out.
SOONEST = 0.002
#: s after which a copy leaves by itself, at most. In between, an eighth of the round trip.
LATEST = 0.010


class RedundantMessage(OutgoingMessage):
    """
    One message of a redundant lane.

    @ivar left: how many copies may still leave.
    @ivar ride: its newest sending, until the peer's link has acknowledged one of them.
    """

    __slots__ = ("left", "ride")

    def __init__(self, outgoing: Outgoing, data: bytes, wanted: bool) -> None:
        super().__init__(outgoing, data, wanted)
        self.left = 0
        self.ride: Ride | None = None


class Ride:
    """
    One sending of some messages in one datagram, first or again. A source of a single content.

    @ivar lane: theirs.

    Each has a fate of its own, and only the newest of a message decides whether it is to be sent anew: datagrams
    are lost in the order of sending, so by then all the others were.
    """

    __slots__ = ("_messages", "lane")

    def __init__(self, lane: RedundantLane, messages: list[RedundantMessage]) -> None:
        self.lane = lane
        self._messages = messages

    def acked(self, start: int, stop: int) -> None:
        """No more copies; what waits to be sent anew need not be."""
        for message in self._messages:
            message.ride = None
            self.lane.arrived(message.number)

    def lost(self, start: int, stop: int) -> None:
        """Send those anew of which nothing else is on its way, with as many copies as at first."""
        for message in self._messages:
            if message.ride is self:
                message.left = 0
                self.lane.lost(message.number, message.number + 1)


class RedundantLane(OutgoingLane):
    """
    The sending half of a lane with redundancy.

    @param copies: of the session.
    """

    __slots__ = ("_copies",)

    message = RedundantMessage

    def __init__(
        self, number: int, properties: LaneProperties, budget: Budget, most_buffered: int, copies: Copies
    ) -> None:
        super().__init__(number, properties, budget, most_buffered)
        self._copies = copies

    def send_run(self, messages: list[bytes]) -> None:
        """See L{OutgoingLane.send_run}. Each has copies of its own."""
        for data in messages:
            self.send(data, False)

    def _add_run(self, payload: Payload, first: int, run: list[bytes], sizes: list[int]) -> None:
        messages = [cast("RedundantMessage", self._begun_item(number)) for number in range(first, first + len(run))]
        for message in messages:
            message.left = self.properties.redundancy if len(message.data) <= LARGEST_COPY else 0
        self.ride(payload, messages)

    def ride(self, payload: Payload, messages: list[RedundantMessage]) -> None:
        """
        Put messages into a datagram that has room for them.

        @param messages: whose numbers follow each other.
        """
        run = [message.data for message in messages]
        super()._add_run(payload, messages[0].number, run, list(map(len, run)))
        ride = Ride(self, messages)
        payload.contents[-1] = (ride, 0, 0)  # in place of the numbers, which don't tell one sending from another
        for message in messages:
            message.ride = ride
            if message.left:
                self._copies.await_turn(message, ride)

    def arrived(self, number: int) -> None:
        """The peer's link has a message."""
        self._wholes_lost.remove(number, number + 1)


class Copies:
    """
    The copies of one session that have still to leave, in the order in which their messages were sent last.

    @ivar sent: how many have left.
    """

    __slots__ = ("_now", "_wait", "_waiting", "sent")

    def __init__(self) -> None:
        self._waiting: deque[tuple[float, float, RedundantMessage, Ride]] = deque()  # with s: not before, due
        self._now = 0.0
        self._wait = LATEST
        self.sent = 0

    def begin(self, now: float, round_trip: float) -> None:
        """
        Datagrams are going to be filled.

        @param round_trip: s, of the link.
        """
        self._now = now
        self._wait = min(max(round_trip / 8, SOONEST), LATEST)

    def await_turn(self, message: RedundantMessage, ride: Ride) -> None:
        """
        A message that may ride again is leaving.

        @param ride: this time.
        """
        self._waiting.append((self._now + SOONEST, self._now + self._wait, message, ride))

    def _first(self) -> tuple[float, float, RedundantMessage, Ride] | None:
        """The copy whose turn is next; those that nobody needs any more are forgotten."""
        waiting = self._waiting
        while waiting:
            _, _, message, ride = waiting[0]
            if message.left and message.ride is ride and message.state is BEGUN:
                return waiting[0]
            waiting.popleft()
        return None

    @property
    def due(self) -> bool:
        """Whether a copy has waited for long enough to have a datagram of its own."""
        first = self._first()
        return first is not None and first[1] <= self._now

    def deadline(self) -> float | None:
        """s when the next copy will be due; None when none waits, or one is due already and waits for the window."""
        first = self._first()
        return None if first is None or first[1] <= self._now else first[1]

    def fill(self, payload: Payload, spare: int) -> None:
        """
        Put copies into a datagram, as many as fit.

        @param spare: bytes that are to be left for something else.
        """
        room = payload.room - spare
        runs: list[tuple[RedundantLane, list[RedundantMessage]]] = []
        while (first := self._first()) is not None and first[0] <= self._now:
            message, lane = first[2], first[3].lane
            joins = bool(runs) and _joins(lane, message, *runs[-1])
            size = LENGTH + len(message.data) + (0 if joins else BLOCKS.size)
            if size > room:
                break
            room -= size
            self._waiting.popleft()
            message.left -= 1
            self.sent += 1
            if joins:
                runs[-1][1].append(message)
            else:
                runs.append((lane, [message]))
        for lane, run in runs:
            lane.ride(payload, run)


def _joins(lane: RedundantLane, message: RedundantMessage, of: RedundantLane, run: list[RedundantMessage]) -> bool:
    """Whether a message is the next of a run, which has its lane and first number only once."""
    return lane is of and message.number == run[-1].number + 1 and len(run) < MAX_RUN
