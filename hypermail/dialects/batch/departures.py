"""
Messages of ours on their way, dialect C{batch}: numbers of packets and batches, what is in flight, what comes next.

What is in flight, and which numbers are used, is bounded by what the original bears: C{docs/protocol/dialects}.
"""

from __future__ import annotations

from hypermail.dialects.batch.packets import DATA_PAYLOAD, FIRST, LAST, BatchData
from hypermail.dialects.messages import DialectMessage, Sending
from hypermail.dialects.resending import InFlight, Window
from hypermail.wire.numbers import MASK

#: Packets in flight: with more the original's socket overflows. Their payload stays below the 8,196 bytes that the
#: original itself keeps to, so that these need not be counted.
MOST_IN_FLIGHT = 7
#: Batches beyond the oldest that is not acknowledged: a number of 8 bits must not mean two of them.
MOST_BATCHES = 250
#: Bytes of messages that have begun to leave, beside one: what a receiver has to hold while packets are missing.
MOST_BEGUN = 1 << 20
#: No batch of several packets reaches over this packet number: the original would put it together wrongly.
DIVIDE = 128


class _Batch:
    """One message while it leaves."""

    __slots__ = ("acked", "count", "first", "message", "repeated", "sent", "serial")

    def __init__(self, message: DialectMessage, serial: int, first: int, count: int) -> None:
        self.message = message
        self.serial = serial
        self.first = first
        self.count = count
        self.sent = 0
        self.acked = 0
        self.repeated = False


class Departures:
    """
    What one connection sends in Data packets.

    @param messages: that wait, and are settled here.
    @param delivery_timeout: s after which, at the latest, a packet is sent again.
    @param first_packet: number of the first packet, C{first_batch} of the first batch.
    @ivar peer_id: the peer's, of the connection; to be set before anything leaves.
    @ivar flight: the packets that are not acknowledged.
    """

    __slots__ = (
        "_asked_at",
        "_begun",
        "_begun_bytes",
        "_current",
        "_messages",
        "_next_batch",
        "_next_packet",
        "_quarantine",
        "_quarantine_time",
        "_resume_at",
        "flight",
        "peer_id",
    )

    def __init__(
        self, messages: Sending, delivery_timeout: float, *, first_packet: int = 1, first_batch: int = 1
    ) -> None:
        window = Window(MOST_IN_FLIGHT, MOST_IN_FLIGHT, MOST_IN_FLIGHT)
        self.flight: InFlight[int, _Batch] = InFlight(window, delivery_timeout)
        self.peer_id = 0
        self._messages = messages
        self._next_packet = first_packet
        self._next_batch = first_batch
        self._current: _Batch | None = None
        self._begun: dict[int, _Batch] = {}  # by serial, the oldest first
        self._begun_bytes = 0
        self._quarantine: dict[int, float] = {}  # until when, by batch number
        self._quarantine_time = 2 * delivery_timeout
        self._asked_at: dict[int, float] = {}  # when the peer has asked for a packet last
        self._resume_at: float | None = None

    @property
    def busy(self) -> bool:
        """Whether something is in flight, or a message has not left whole, which may be one that nobody waits for."""
        return self._current is not None or len(self.flight) > 0

    def next(self, now: float) -> bytes | None:
        """The datagram that is to be sent now; None when there is none."""
        repeated = self.flight.due(now, 1)
        if repeated:
            return repeated[0]
        if self.flight.room <= 0 or (self._current is None and not self._begin(now)):
            return None
        return self._piece(now)

    def acked(self, number: int, now: float) -> bool:
        """
        The peer has a packet.

        @param number: of 32 bits.
        @return: whether it was in flight.
        """
        flight = self.flight
        if number not in flight:
            return False
        repeated = flight.tries(number) > 1
        batch = flight.acked(number, now)
        self._asked_at.pop(number, None)
        if batch is not None:
            batch.repeated |= repeated
            batch.acked += 1
            if batch.acked == batch.count:
                self._settle(batch, now)
        return True

    def missed(self, number: int, now: float) -> bool:
        """
        The peer asks for a packet: it is sent again at once, but once in a round trip.

        @param number: of 32 bits.
        @return: whether it is.
        """
        asked_at = self._asked_at.get(number)
        if number not in self.flight or (asked_at is not None and now - asked_at < self.flight.rtt.smoothed):
            return False
        self._asked_at[number] = now
        self.flight.hurry(number, now)
        return True

    def next_timeout(self) -> float | None:
        """s when C{next} is to be called again; None for not before something happens."""
        due, resume_at = self.flight.next_timeout(), self._resume_at
        if resume_at is None or not self._messages.queued or self.flight.room <= 0:
            return due  # without room, an acknowledgement has to come first, and a time in the past would come for ever
        return resume_at if due is None else min(due, resume_at)

    def clear(self) -> None:
        """Nothing is sent any more."""
        self.flight.clear()
        self._begun.clear()
        self._asked_at.clear()
        self._current = self._resume_at = None

    def _begin(self, now: float) -> bool:
        """Begin with another message, if there is one and it may leave."""
        self._resume_at = None
        message = self._messages.peek()
        if message is None:
            return False
        size = len(message.data)
        if self._begun and self._begun_bytes + size > MOST_BEGUN:
            return False
        serial = self._free_batch(now)
        if serial is None:
            return False
        self._messages.begin()
        count = max(1, -(-size // DATA_PAYLOAD))
        self._current = self._begun[serial] = _Batch(message, serial, self._place(count), count)
        self._begun_bytes += size
        self._next_batch = serial + 1
        return True

    def _free_batch(self, now: float) -> int | None:
        """The next batch that is not in quarantine; None when there is none yet."""
        oldest = next(iter(self._begun), self._next_batch)
        quarantine = self._quarantine
        first_free = None
        for serial in range(self._next_batch, oldest + MOST_BATCHES):
            until = quarantine.get(serial & 0xFF)
            if until is None or until <= now:
                quarantine.pop(serial & 0xFF, None)
                return serial
            first_free = until if first_free is None else min(until, first_free)
        self._resume_at = first_free
        return None

    def _place(self, count: int) -> int:
        """Numbers for so many packets of one batch. @return: the first."""
        number = self._next_packet
        if count > 1:
            low = number & MASK
            if low + count > MASK + 1:
                number += MASK + 1 - low
                low = 0
            if low < DIVIDE < low + count:
                number += DIVIDE - low
        self._next_packet = number + count
        return number

    def _piece(self, now: float) -> bytes:
        """The next packet of the message that leaves."""
        batch = self._current
        assert batch is not None  # or there would be nothing to send
        index = batch.sent
        batch.sent += 1
        last = batch.sent == batch.count
        if last:
            self._current = None
        number = (batch.first + index) & MASK
        flags = (0 if index else FIRST) | (LAST if last else 0)
        payload = batch.message.data[index * DATA_PAYLOAD : (index + 1) * DATA_PAYLOAD]
        datagram = BatchData(self.peer_id, number, batch.serial & 0xFF, flags, payload).encode()
        self.flight.add(number, datagram, batch, now)
        return datagram

    def _settle(self, batch: _Batch, now: float) -> None:
        del self._begun[batch.serial]
        self._begun_bytes -= len(batch.message.data)
        if batch.repeated and batch.count > 1:
            self._quarantine[batch.serial & 0xFF] = now + self._quarantine_time
        self._messages.settle(batch.message, None)
