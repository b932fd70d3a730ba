"""
One session in dialect C{batch}, once the two sides know each other. How they come to: L{starting}, L{listening}.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hypermail import events
from hypermail.dialects.batch.arrivals import Arrivals, Receipt
from hypermail.dialects.batch.countdown import Countdown
from hypermail.dialects.batch.departures import Departures
from hypermail.dialects.batch.packets import (
    DIRECT_PAYLOAD,
    LARGEST,
    BatchClose,
    BatchConnectAck,
    BatchData,
    BatchDataAck,
    BatchDirect,
    BatchPacket,
    BatchPing,
    BatchPingAck,
    BatchRepeat,
)
from hypermail.dialects.batch.states import GREETING, Greeting, GreetingInput
from hypermail.dialects.connection import DialectConnection
from hypermail.errors import (
    HypermailError,
    MessageTooLarge,
    PeerSilent,
    Reason,
    SessionAborted,
    SessionClosed,
    UsageError,
)
from hypermail.options import Role
from hypermail.session.states import State

if TYPE_CHECKING:
    from hypermail.dialects.batch.dialect import Batch

#: s between a Connect ack and the first packet behind it: who comes sooner finds the original not ready, which then
#: delivers the packet and never acknowledges it.
REST = 0.02
#: Pings and acknowledgements that wait to be answered or sent, at most.
MOST_ANSWERS = 1_024
#: Packets of the peer that are held while the application decides on the session.
MOST_EARLY = 16
#: Packets that may overtake one before the peer is asked to repeat it.
REORDERING = 3
#: s between two direct messages, which no window bounds, so that they do not overflow the original's socket; and of
#: lateness that is made good.
DIRECT_SPACING = 0.001
DIRECT_LATENESS = 0.003
#: Numbers in one request to repeat, so that it is no longer than a Data packet.
MOST_REQUESTED = 240

_CARRYING = (State.OPEN, State.CLOSING)


class BatchConnection(DialectConnection["Batch", int]):
    """
    One side of one session. Subclasses implement the methods that raise L{NotImplementedError}.

    @param drop: called with the cause whenever a datagram of the peer is dropped.
    @ivar id: ours, of the connection; 0 before it is known.
    @ivar peer_id: the peer's; None before it is known.
    @ivar ids: all at which packets for us may come, with the peer's ids where these are known.
    @ivar greeting: how far the two sides have come.
    @ivar closed_by_peer: whether the peer has said Close.
    @ivar arrivals: the peer's Data packets.
    @ivar departures: ours.
    """

    largest_datagram = LARGEST

    def __init__(
        self,
        role: Role,
        options: Batch,
        address: Any,
        greeting: Greeting,
        *,
        credit: int | None,
        drop: Callable[[str], None],
        now: float,
    ) -> None:
        super().__init__(role, options, address, credit=credit, now=now)
        self.id = 0
        self.peer_id: int | None = None
        self.ids: dict[int, int | None] = {}
        self.greeting = greeting
        self.closed_by_peer = False
        self.arrivals = Arrivals(options.max_message, options.allowance_bytes)
        self.departures = Departures(self.sending, options.delivery_timeout)
        self._drop_datagram = drop
        self._countdown = Countdown(options.ping_interval, options.ping_packet_count, now)
        self._acks: list[int] = []
        self._pongs: list[int] = []
        self._pings = 0
        self._direct_at = now
        self._early: list[BatchData | BatchDirect] = []
        self._requested = self.arrivals.next  # holes below this number were asked for

    # The greeting, which subclasses know.

    def _greet(self, now: float) -> None:
        """Time has passed during the greeting."""
        raise NotImplementedError

    def _greeting_timeout(self) -> float | None:
        """s when C{_greet} is to be called."""
        raise NotImplementedError

    def _met(self, id: int, peer_id: int) -> None:
        """The ids of both sides are known."""
        self.id = id
        self.peer_id = self.ids[id] = self.departures.peer_id = peer_id
        starter, listener = (id, peer_id) if self.role is Role.STARTER else (peer_id, id)
        self.session_id = starter.to_bytes(4, "big") + listener.to_bytes(4, "big")

    def _advance(self, input: GreetingInput) -> None:
        self.greeting = GREETING.next(self.greeting, input)

    # What comes.

    def received(self, packet: BatchPacket, size: int, now: float) -> None:
        """
        A packet has come for this side.

        @param size: bytes of its datagram.
        """
        self.now = now
        self.heard(size)
        if self.ended:
            self._drop("ended")
            return
        self._countdown.heard()
        _RECEIVE[type(packet)](self, packet, now)

    def _drop(self, cause: str) -> None:
        self.counters["datagrams_dropped"] += 1
        self._drop_datagram(cause)

    def _data_received(self, packet: BatchData, now: float) -> None:
        if self.state not in _CARRYING:
            self._hold(packet)
        elif len(self._acks) >= MOST_ANSWERS:
            self._drop("crowded")
        else:
            self._take_data(packet, now)

    def _take_data(self, packet: BatchData, now: float) -> None:
        receiving, arrivals = self.receiving, self.arrivals
        full = self._delivered or len(receiving) >= self.options.max_unsettled
        receipt = arrivals.take(packet, unsettled=receiving.bytes, full=full)
        if receipt is Receipt.WHOLE:
            receiving.arrived(arrivals.message, packet.number)
            arrivals.message = b""
        elif receipt in (Receipt.PIECE, Receipt.REPEATED):
            self._acks.append(packet.number)
        elif receipt is Receipt.TOO_LARGE:
            self._drop("too_large")
            text = f"the peer sends a message of more than {self.options.max_message} bytes"
            self._give_up(SessionAborted(text, Reason.LIMIT_EXCEEDED), now)
        elif receipt is not Receipt.UNSETTLED:
            self._drop(receipt.name.lower())

    def _direct_received(self, packet: BatchDirect, now: float) -> None:
        if self.state not in _CARRYING:
            self._hold(packet)
        elif not self.direct_arrived(packet.payload):
            self._drop("crowded")

    def _hold(self, packet: BatchData | BatchDirect) -> None:
        """The application has not decided on the session yet."""
        if len(self._early) < MOST_EARLY:
            self._early.append(packet)
        else:
            self._drop("early")

    def _data_ack_received(self, packet: BatchDataAck, now: float) -> None:
        if not self.departures.acked(packet.number, now):
            self._drop("not_in_flight")

    def _repeat_received(self, packet: BatchRepeat, now: float) -> None:
        asked = [number for number in packet.numbers if self.departures.missed(number, now)]
        if not asked:
            self._drop("not_in_flight")

    def _ping_received(self, packet: BatchPing, now: float) -> None:
        if len(self._pongs) < MOST_ANSWERS:
            self._pongs.append(packet.echo)
        else:
            self._drop("crowded")

    def _ping_ack_received(self, packet: BatchPingAck, now: float) -> None:
        known, elapsed = self._countdown.answered(packet.echo, now)
        if not known:
            self._drop("not_asked")
        elif elapsed is not None:
            self._events.append(events.PingAnswered(elapsed))

    def _close_received(self, packet: BatchClose, now: float) -> None:
        self.closed_by_peer = True
        self._stop_repetitions()
        self._closed_by_peer(now)

    def _connect_ack_received(self, packet: BatchConnectAck, now: float) -> None:
        """A listener has asked for no connection."""
        self._drop("misplaced")

    # What the application does.

    def _check_direct(self, data: bytes) -> None:
        if len(data) > DIRECT_PAYLOAD:
            raise MessageTooLarge(
                f"a direct message of dialect batch has at most {DIRECT_PAYLOAD} bytes, not {len(data)}"
            )

    def ping(self, *, now: float) -> None:
        """
        Measure a round trip: L{events.PingAnswered} follows. The ping is sent again until it is answered; then the
        round trip is from when it left first.

        @raise UsageError: when the session is not open, or too many pings wait to leave.
        """
        self.now = now
        self._check_open()
        if self._pings >= MOST_ANSWERS:
            raise UsageError(f"{self._pings} pings wait to leave already")
        self._pings += 1

    def _accepted(self, now: float) -> None:
        early, self._early = self._early, []
        for packet in early:
            if self.state in _CARRYING:
                _RECEIVE[type(packet)](self, packet, now)

    def _refused(self, now: float) -> None:
        self._leave(now)

    def _leave(self, now: float) -> None:
        if self.peer_id is not None:
            self._acknowledge(self.peer_id)
            self._say(BatchClose(self.peer_id).encode())

    def _part(self, now: float) -> None:
        self._leave(now)
        self._end(SessionClosed("this side has closed the session"), now)

    def _give_up(self, error: HypermailError, now: float) -> None:
        """The session ends at once, for a reason that the application is told."""
        self._leave(now)
        self._end(error, now)

    def _end(self, error: HypermailError, now: float) -> None:
        super()._end(error, now)
        self.ended = True
        self._advance(GreetingInput.END)
        self.departures.clear()
        self.arrivals.clear()
        self._early.clear()

    # What leaves.

    def _fill(self, now: float) -> None:
        if self.greeting is not Greeting.TALKING or self.peer_id is None:
            return
        self._answer(self.peer_id, now)
        if self.state in _CARRYING:
            self._send(self.peer_id, now)

    def _acknowledge(self, peer_id: int) -> None:
        acks, self._acks = self._acks, []
        for number in self.receiving.verdicts():
            self.arrivals.settled(number)
            acks.append(number)
        for number in acks:
            self._say(BatchDataAck(peer_id, number).encode())

    def _stop_repetitions(self) -> None:
        """
        The peer wants no word of its messages any more, but the original repeats them after its Close until they are
        acknowledged, which a starter's socket is not there to do.
        """
        if self.peer_id is not None:
            self._acknowledge(self.peer_id)
            for number in self.arrivals.unsettled():
                self._say(BatchDataAck(self.peer_id, number).encode())

    def _answer(self, peer_id: int, now: float) -> None:
        self._acknowledge(peer_id)
        if self._pongs:
            pongs, self._pongs = self._pongs, []
            for count in pongs:
                self._say(BatchPingAck(peer_id, count).encode())
        while self._pings and self._countdown.may_ask:
            self._pings -= 1
            self._say(BatchPing(peer_id, self._countdown.ask(now)).encode())
        if self.options.repeat_requests:
            self._request(peer_id)

    def _request(self, peer_id: int) -> None:
        """Ask for what is missing below what has come, once for each packet: timers see to the rest."""
        arrivals = self.arrivals
        stop = arrivals.next - REORDERING
        if stop > self._requested and not self.crowded:
            missing = arrivals.missing(self._requested, stop, MOST_REQUESTED)
            self._requested = stop
            if missing:
                self._say(BatchRepeat(peer_id, tuple(missing)).encode())

    def _send(self, peer_id: int, now: float) -> None:
        departures, directs = self.departures, self._directs_out
        while (directs or self.sending or departures.busy) and self._paced(now):
            if directs and self._direct_at <= now:
                self._direct_at = max(self._direct_at, now - DIRECT_LATENESS) + DIRECT_SPACING
                self._say(BatchDirect(peer_id, directs.popleft()).encode())
                continue
            datagram = departures.next(now)
            if datagram is None:
                return
            self._say(datagram)

    # Time.

    def _timeout(self) -> float | None:
        if self.greeting is not Greeting.TALKING:
            return self._greeting_timeout()
        deadline = self._countdown.deadline
        if self.state in _CARRYING and self._resume_at is None:
            due = self.departures.next_timeout()
            deadline = deadline if due is None else min(deadline, due)
            if self._directs_out:
                deadline = min(deadline, self._direct_at)
        return deadline

    def _timed(self, now: float) -> None:
        if self.greeting is not Greeting.TALKING:
            self._greet(now)
        elif self.peer_id is not None:
            for asked in self._countdown.overdue(now):
                self._say(BatchPing(self.peer_id, asked).encode())
            count = self._countdown.tick(now)
            if count is not None:
                self._say(BatchPing(self.peer_id, count).encode())
            elif self._countdown.dead:
                pings = self.options.ping_packet_count - 1
                self._give_up(PeerSilent(f"the peer has left {pings} pings in a row unanswered"), now)

    def statistics(self) -> dict[str, Any]:
        """See L{DialectConnection.statistics}."""
        flight = self.departures.flight
        return super().statistics() | {
            "datagrams_lost": flight.repeated,
            "rtt": flight.rtt.smoothed if flight.rtt.measured else None,
            "window": flight.window.size * LARGEST,
            "in_flight": flight.bytes,
        }


_RECEIVE: dict[type[Any], Callable[[BatchConnection, Any, float], None]] = {
    BatchConnectAck: lambda connection, packet, now: connection._connect_ack_received(packet, now),
    BatchClose: BatchConnection._close_received,
    BatchData: BatchConnection._data_received,
    BatchDataAck: BatchConnection._data_ack_received,
    BatchRepeat: BatchConnection._repeat_received,
    BatchDirect: BatchConnection._direct_received,
    BatchPing: lambda connection, packet, now: connection._ping_received(packet, now),
    BatchPingAck: BatchConnection._ping_ack_received,
}
