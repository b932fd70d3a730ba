"""
One session in dialect C{digest}: what client and server have in common, which is what they carry.

A message is one DATA_ACK, repeated as it is until an ACK names its digest; a direct message is one DATA_NOACK. What a
packet's digest and timestamp are worth was looked at before it comes here (L{hypermail.dialects.digest.demux}).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hypermail.dialects.connection import DialectConnection
from hypermail.dialects.digest.dialect import MOST_UNSETTLED
from hypermail.dialects.digest.memory import PeerMemory
from hypermail.dialects.digest.packets import (
    HEADER,
    MOST_PAYLOAD,
    DigestPacket,
    DigestPayload,
    PacketType,
)
from hypermail.dialects.digest.signer import Signer
from hypermail.dialects.digest.timestamps import EXACT, Timestamp
from hypermail.dialects.messages import DialectMessage
from hypermail.dialects.resending import InFlight, Window
from hypermail.errors import HypermailError, KeysSpent, MessageTooLarge, SessionReset, UsageError
from hypermail.options import Role
from hypermail.session.states import State

if TYPE_CHECKING:
    from hypermail.dialects.digest.dialect import Digest

#: Datagrams in flight: at first, at least, at most; and their bytes, unless it is one.
FIRST, LEAST, MOST = 8, 2, 64
MOST_BYTES = 65_536
#: Messages that may be begun while an earlier one is in flight: the peer's memory of order counts is bounded.
MOST_BEHIND = 512
#: Acknowledgements, and answers to pings, that wait to be sent: what is not acknowledged now is when it is repeated.
MOST_ACKS = MOST_UNSETTLED
MOST_ANSWERS = 4
#: A BAD_ACK leaves at most so often per session: at once, and per second.
BAD_ACKS = 4.0

#: In which states the application may be given something.
_RECEIVING = frozenset({State.OPEN, State.CLOSING})


class DigestConnection(DialectConnection["Digest", tuple[int, bytes]]):
    """
    One side of one session. Marks of messages are their order counts and digests.

    @ivar memory: what is known of the peer as a sender; None before it has said anything.
    @ivar flight: messages that wait for ACK, by their digests.
    @ivar moves: how often the peer has come from another address.
    """

    largest_datagram = 1_200

    def __init__(
        self,
        role: Role,
        options: Digest,
        address: Any,
        signer: Signer,
        drop: Callable[[str], None],
        *,
        credit: int | None,
        now: float,
    ) -> None:
        """
        @param drop: told why a datagram is dropped.
        """
        super().__init__(role, options, address, credit=credit, now=now)
        self.memory: PeerMemory | None = None
        self.flight: InFlight[bytes, DialectMessage] = InFlight(Window(FIRST, LEAST, MOST), options.delivery_timeout)
        self.moves = 0
        self._signer = signer
        self._count_drop = drop
        self._digests: dict[DialectMessage, bytes] = {}  # of what is in flight
        self._begun: dict[bytes, int] = {}  # how many messages had begun with it, oldest first
        self._hurried: dict[bytes, float] = {}
        self._doubted: tuple[bytes, ...] = ()  # what was in flight when HELLO was said again
        self._doubted_until: float | None = None
        self._unsettled: dict[int, bytes] = {}  # order counts and digests
        self._acks: dict[bytes, None] = {}
        self._answers: list[tuple[PacketType, int]] = []  # with bytes of what is answered
        self._bad_acks = BAD_ACKS
        self._bad_acks_at = now

    # What the application sends.

    def _check_message(self, data: bytes) -> None:
        super()._check_message(data)
        self._check_direct(data)

    def _check_direct(self, data: bytes) -> None:
        if not data:
            raise UsageError("dialect digest carries no empty messages")
        if len(data) > MOST_PAYLOAD:
            raise MessageTooLarge(f"dialect digest carries at most {MOST_PAYLOAD} bytes, not {len(data)}")

    def _given_up(self, message: DialectMessage) -> None:
        digest = self._digests.get(message)
        if digest is not None:
            self.flight.drop(digest)
            self._landed(digest, message)

    def _landed(self, digest: bytes, message: DialectMessage) -> None:
        self._digests.pop(message, None)
        self._begun.pop(digest, None)
        self._hurried.pop(digest, None)

    # What comes. All of it was authentic.

    def dropped(self, cause: str) -> None:
        """A datagram that was for this session is dropped."""
        self.counters["datagrams_dropped"] += 1
        self._count_drop(cause)

    def stamped(self, packet: DigestPacket, moment: Timestamp, address: Any, now: float) -> None:
        """
        A packet with a fresh timestamp has come.

        @param moment: what the timestamp says.
        @param address: where it has come from.
        """
        raise NotImplementedError

    def _alive(self, now: float) -> None:
        """Something new has come from the peer."""
        raise NotImplementedError

    def data(self, packet: DigestPacket, now: float) -> None:
        """A packet without a timestamp has come."""
        self.now = now
        if self.state in (State.NEW, State.OPENING, State.DECIDING, State.ENDED) or self.memory is None:
            self.dropped("early")
        elif packet.type is PacketType.DATA_ACK:
            self._message(packet, self.memory, now)
        elif packet.type is PacketType.DATA_NOACK:
            self._direct(packet, self.memory, now)
        elif not self.memory.see(packet):
            self.dropped("replayed")
        else:
            self._alive(now)
            answer = self._acked if packet.type is PacketType.ACK else self._missed
            answer(packet.payload, now)

    def _message(self, packet: DigestPacket, memory: PeerMemory, now: float) -> None:
        if memory.knows(packet):
            if packet.order not in self._unsettled and memory.settled(packet.digest):
                self._owe_ack(packet.digest)  # the last one may have been lost
                self.dropped("duplicate")
            else:
                self.dropped("repeated" if packet.order in self._unsettled else "replayed")
        elif self.state not in _RECEIVING or self.crowded:
            self.dropped("crowded" if self.crowded else "closing")
        else:
            memory.take(packet)
            self._alive(now)
            self._unsettled[packet.order] = packet.digest
            self.receiving.arrived(DigestPayload(packet.payload, packet.custom), (packet.order, packet.digest))

    def _direct(self, packet: DigestPacket, memory: PeerMemory, now: float) -> None:
        if not memory.see_direct(packet):
            self.dropped("replayed")
        elif self.state not in _RECEIVING:
            self.dropped("closing")
        else:
            self._alive(now)
            if not self.direct_arrived(DigestPayload(packet.payload, packet.custom)):
                self.dropped("crowded")

    def _acked(self, digest: bytes, now: float) -> None:
        if digest in self._doubted:
            self._trust()  # the peer has what was sent before, and so it has the session
        message = self.flight.acked(digest, now)
        if message is None:
            self._acked_other(digest)
            return
        self._landed(digest, message)
        self.credit = None  # whoever names what we have sent there has read it there
        self.sending.settle(message, None)

    def _acked_other(self, digest: bytes) -> None:
        """The peer has named the digest of something that is no message in flight."""
        self.dropped("duplicate")

    def _missed(self, digest: bytes, now: float) -> None:
        """The peer has received something whose digest was wrong."""
        before = self._hurried.get(digest)
        if digest in self.flight and (before is None or now - before > self.flight.timeout(1)):
            self._hurried[digest] = now
            self.flight.hurry(digest, now)

    def corrupted(self, packet: DigestPacket, now: float) -> None:
        """A packet that says to be the peer's, and comes from where it is, has a wrong digest."""
        self.now = now
        self.dropped("bad_digest")
        if self.state not in _RECEIVING:
            return
        self._bad_acks = min(self._bad_acks + (now - self._bad_acks_at) * BAD_ACKS, BAD_ACKS)
        self._bad_acks_at = now
        if self._bad_acks >= 1:
            self._bad_acks -= 1
            self._write(PacketType.BAD_ACK, packet.digest)

    # What was sent before HELLO was said again. A peer that was restarted, or has a new session on the same socket,
    # takes that for the first HELLO, and what was sent before for replays: it would be repeated for ever. Order counts
    # show it only if they are lower than before, which they need not be.

    def _doubt(self) -> None:
        """HELLO is said again: does the peer still know what is in flight?"""
        self._doubted = self.flight.keys
        self._doubted_until = None

    def _wait_for_doubted(self, now: float) -> None:
        """There is a session with the peer: something of what is in flight has to be acknowledged in time."""
        if self._doubted:
            self._doubted_until = now + self.options.connection_timeout

    def _trust(self) -> None:
        self._doubted = ()
        self._doubted_until = None

    def _look_at_doubted(self, now: float) -> None:
        if self._doubted_until is None or now < self._doubted_until:
            return
        if any(digest in self.flight for digest in self._doubted):
            self._leave(now)
            text = (
                "the peer acknowledges nothing of what was sent before HELLO was said again: it was restarted, perhaps"
            )
            self._end(SessionReset(text), now)
        else:
            self._trust()  # nobody waits for it any more

    # What leaves.

    def _owe_ack(self, digest: bytes) -> None:
        if len(self._acks) < MOST_ACKS:
            self._acks[digest] = None

    def _owe(self, type: PacketType, packet: DigestPacket) -> None:
        """An answer that bears the time, and that is no longer than what it answers where that may be a stranger's."""
        if len(self._answers) < MOST_ANSWERS:
            self._answers.append((type, packet.size - HEADER.size))

    def _write(self, type: PacketType, payload: bytes, custom: int = 0) -> bytes | None:
        """Say a packet. @return: it, if it will leave."""
        if not self._affords(HEADER.size + len(payload)):
            return None
        try:
            packet = self._signer.sign(type, payload, custom)
        except KeysSpent as error:
            self._end(error, self.now)
            return None
        return packet if self._say(packet) else None

    def _stamp(self, type: PacketType, room: int = EXACT) -> bytes | None:
        """Say a packet that bears the time. @return: it, if it will leave."""
        if self.credit is not None:
            room = min(room, self.credit - HEADER.size)
        try:
            packet = self._signer.stamp(type, room)
        except KeysSpent as error:
            self._end(error, self.now)
            return None
        return packet if packet is not None and self._say(packet) else None

    def _acknowledge(self) -> None:
        """Acknowledge what the application has settled, and what was settled before."""
        memory = self.memory
        if memory is None:
            return
        for order, digest in self.receiving.verdicts():
            self._unsettled.pop(order, None)
            memory.settle(digest)
            self._owe_ack(digest)
        while self._acks and self._affords(HEADER.size + 32):
            digest = next(iter(self._acks))
            del self._acks[digest]
            self._write(PacketType.ACK, digest)

    def _answer(self) -> None:
        """Answer the peer's pings."""
        answers, self._answers = self._answers, []
        for type, room in answers:
            self._stamp(type, room if self._signer.plain else EXACT)

    @property
    def _ready(self) -> bool:
        """Whether the peer takes anything new now."""
        raise NotImplementedError

    def _send(self, now: float) -> None:
        """Send what is to be repeated, and what is new."""
        if self._paced(now):
            for datagram in self.flight.due(now, MOST):
                self._say(datagram)
        if self._ready:
            self._send_messages(now)
            self._send_directs(now)

    def _send_messages(self, now: float) -> None:
        while self.state in _RECEIVING and (message := self.sending.peek()) is not None:
            size = HEADER.size + len(message.data)
            if not self._may_begin(size) or not self._paced(now):
                break
            self._begin(message, now)

    def _send_directs(self, now: float) -> None:
        while self._directs_out and self.state in _RECEIVING:
            data = self._directs_out[0]
            if not self._affords(HEADER.size + len(data)) or not self._paced(now):
                break
            self._directs_out.popleft()
            self._write(PacketType.DATA_NOACK, data, getattr(data, "custom", 0))

    def _may_begin(self, size: int) -> bool:
        flight = self.flight
        if not self._affords(size):
            return False
        if not flight:
            return True
        oldest = next(iter(self._begun.values()))
        return flight.room > 0 and flight.bytes + size <= MOST_BYTES and self.sending.count - oldest < MOST_BEHIND

    def _begin(self, message: DialectMessage, now: float) -> None:
        datagram = self._write(PacketType.DATA_ACK, message.data, getattr(message.data, "custom", 0))
        if datagram is None:
            return
        self.sending.begin()
        digest = datagram[:32]
        self.flight.add(digest, datagram, message, now)
        self._digests[message] = digest
        self._begun[digest] = self.sending.count

    # Time and the end.

    def _flight_timeout(self) -> float | None:
        """s when something is to be repeated, unless the user's limit says when; or has to be acknowledged."""
        at = None if self._resume_at is not None else self.flight.next_timeout()
        doubted = self._doubted_until
        return at if doubted is None or (at is not None and at < doubted) else doubted

    def _end(self, error: HypermailError, now: float) -> None:
        super()._end(error, now)
        if self.memory is not None:
            self.memory.rest(self._unsettled.values())
        self._unsettled.clear()
        self._trust()
        self.flight.clear()
        self._digests.clear()
        self._begun.clear()
        self._hurried.clear()
        self._acks.clear()
        self._answers.clear()
        self.ended = True

    def statistics(self) -> dict[str, Any]:
        """See L{DialectConnection.statistics}."""
        rtt = self.flight.rtt
        return super().statistics() | {
            "rtt": rtt.smoothed if rtt.measured else None,
            "window": MOST_BYTES,
            "window_datagrams": self.flight.window.size,
            "in_flight": self.flight.bytes,
            "datagrams_lost": self.flight.repeated,
            "moves": self.moves,
        }
