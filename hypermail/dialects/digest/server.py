"""
A session in dialect C{digest} as its server has it: who is asked, answers, and drops clients that fall silent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hypermail.dialects.digest.connection import DigestConnection
from hypermail.dialects.digest.memory import PeerMemory
from hypermail.dialects.digest.packets import HEADER, DigestPacket, PacketType, uuid_text
from hypermail.dialects.digest.signer import Signer
from hypermail.dialects.digest.timestamps import EXACT, WHOLE, Timestamp
from hypermail.errors import PeerSilent, Reason, SessionAborted, SessionClosed, SessionReset
from hypermail.options import Role

if TYPE_CHECKING:
    from hypermail.dialects.digest.dialect import Digest

#: s in which a client that was refused is not asked about again: its next HELLO is under way already.
REFUSED_FOR = 1.0
#: HELLOs in a row that are answered with the same ACCEPT: one that has another order count could not be told from one
#: of another session, and data that was sent before it from a replay.
SAME_ACCEPTS = 8
#: Packets of ours whose digests show that a plain client is where it says.
PROOFS = 4


class DigestServer(DigestConnection):
    """
    A server's side of the session with one client.

    @ivar memory: of the client.
    @ivar opened: whether the application has accepted.
    @ivar refuse_until: s; until when, after the end, a HELLO of the same life is answered with REJECT.
    """

    memory: PeerMemory

    def __init__(
        self,
        options: Digest,
        address: Any,
        signer: Signer,
        drop: Callable[[str], None],
        memory: PeerMemory,
        *,
        credit: int | None,
        now: float,
    ) -> None:
        super().__init__(Role.LISTENER, options, address, signer, drop, credit=credit, now=now)
        self.memory = memory
        self.session_id = memory.uuid
        self.opened = False
        self.refuse_until = now
        self._silent_at = now + options.connection_timeout
        self._hello = b""  # the digest of the newest
        self._room = 0  # bytes of payload that its answer may have
        self._accept: bytes | None = None  # what answers it
        self._accept_due = False
        self._accepted_at = now  # when it was said first
        self._hellos = 0  # that were answered since, and nothing else has come
        self._greeted = False
        self._passed_over = False
        self._proofs: deque[bytes] = deque(maxlen=PROOFS)

    # What comes.

    def greet(self, packet: DigestPacket, moment: Timestamp, now: float) -> None:
        """A client says HELLO, and has no session."""
        self.memory.begin(packet, moment)
        self._greet(packet, now)
        self._asked(peer=uuid_text(self.memory.uuid))

    def stamped(self, packet: DigestPacket, moment: Timestamp, address: Any, now: float) -> None:
        """See L{DigestConnection.stamped}."""
        self.now = now
        if packet.type is PacketType.HELLO and packet.digest == self._hello and self._here(address):
            self._accept_due = self.opened  # it has been doubled on the way, or its answer was lost
            self.dropped("duplicate")
            return
        ahead = packet.order > self.memory.stamped
        if not self.memory.see(packet, moment):
            self.dropped("replayed")
            return
        if packet.type is PacketType.HELLO:
            self._silent_at = now + self.options.connection_timeout
        else:
            self._alive(now)
        if ahead and not self._here(address):
            self.address = address
            self.moves += 1
        self._answer_to(packet, now)

    def _here(self, address: Any) -> bool:
        return bool(address[:2] == self.address[:2])

    def _answer_to(self, packet: DigestPacket, now: float) -> None:
        if packet.type is PacketType.HELLO:
            self._greet(packet, now)
        elif packet.type is PacketType.DISCONNECT:
            self._stamp(PacketType.REJECT, min(EXACT, packet.size - HEADER.size))
            self._closed_by_peer(now)
        elif packet.type is PacketType.PING and self.opened:
            self._owe(PacketType.PANG if self.options.ping_steps == 3 else PacketType.PONG, packet)
        elif packet.type is not PacketType.PONG:
            self.dropped("unexpected")

    def _greet(self, packet: DigestPacket, now: float) -> None:
        self._hello = packet.digest
        self._room = min(EXACT, packet.size - HEADER.size)
        if not self._still_accepted(now):
            self._accept = None
            self._doubt()
            self._wait_for_doubted(now)
        self._accept_due = self.opened

    def _still_accepted(self, now: float) -> bool:
        """Whether the ACCEPT that was said before answers one more HELLO: nothing shows that it has arrived."""
        accept = self._accept
        return (
            accept is not None
            and self._hellos < SAME_ACCEPTS
            and len(accept) <= HEADER.size + self._room
            and now - self._accepted_at < self.options.freshness / 2
        )

    def restarted(self, now: float) -> None:
        """The client has begun a new life, which knows nothing of this session."""
        self._end(SessionReset("the client was restarted"), now)

    def crowded_out(self, now: float) -> None:
        """Another stranger needs the place."""
        text = "the client's address was not proved, and others came"
        self._end(SessionAborted(text, Reason.TOO_MANY_SESSIONS), now)

    def _alive(self, now: float) -> None:
        self._silent_at = now + self.options.connection_timeout
        self._hellos = SAME_ACCEPTS  # it says that only when ACCEPT has come, and a HELLO after it wants another one

    def _acked_other(self, digest: bytes) -> None:
        if digest in self._proofs:
            self.credit = None
        else:
            super()._acked_other(digest)

    # What leaves.

    def ping(self, *, now: float) -> None:
        """@raise NotSupported: always; clients ping."""
        self._missing("pings from the server")

    @property
    def _ready(self) -> bool:
        return self._greeted

    def _fill(self, now: float) -> None:
        if not self.opened:
            return
        if self._accept_due:
            self._say_accept()
        if self._greeted:
            self._acknowledge()
            self._send(now)
            self._answer()

    def _say_accept(self) -> None:
        self._accept_due = False
        self._hellos += 1
        if self._accept is not None:
            self._say(self._accept)
            return
        self._accept = self._stamp(PacketType.ACCEPT, self._room)
        self._accepted_at, self._hellos = self.now, 1
        self._greeted = self._greeted or self._accept is not None

    def _answer(self) -> None:
        if self.credit is None or not (self.sending or self._directs_out or self._acks):
            super()._answer()
            return
        # What waits needs what the client may be sent: each second ping goes without an answer, the others have a short
        # one.
        answers, self._answers = self._answers, []
        for type, room in answers:
            self._passed_over = not self._passed_over
            if not self._passed_over:
                self._stamp(type, min(room, WHOLE))

    def _stamp(self, type: PacketType, room: int = EXACT) -> bytes | None:
        packet = super()._stamp(type, room)
        if packet is not None:
            self._proving(packet)
        return packet

    def _proving(self, packet: bytes) -> None:
        """Who names the digest of a packet that nobody could guess has read it where it was sent."""
        if self.credit is not None and len(packet) >= HEADER.size + EXACT:
            self._proofs.append(packet[:32])

    # The application's word, and the end.

    def _accepted(self, now: float) -> None:
        self.opened = True
        self._accept_due = True

    def _refused(self, now: float) -> None:
        self.refuse_until = now + REFUSED_FOR
        self._stamp(PacketType.REJECT, self._room)

    def _part(self, now: float) -> None:
        self._stamp(PacketType.REJECT)
        self._end(SessionClosed("the session was closed"), now)

    def _leave(self, now: float) -> None:
        self._stamp(PacketType.REJECT, EXACT if self.opened else self._room)

    # Time.

    def _timeout(self) -> float | None:
        flight = self._flight_timeout()
        return self._silent_at if flight is None else min(self._silent_at, flight)

    def _timed(self, now: float) -> None:
        self._look_at_doubted(now)
        if now >= self._silent_at:
            # It may believe that the session lives, and repeat what it has sent there.
            self.refuse_until = now + self.options.connection_timeout
            self._end(PeerSilent(f"the client was silent for {self.options.connection_timeout:g} s"), now)

    def statistics(self) -> dict[str, Any]:
        """See L{DialectConnection.statistics}; C{peer} is the client's UUID."""
        return super().statistics() | {"peer": uuid_text(self.memory.uuid)}
