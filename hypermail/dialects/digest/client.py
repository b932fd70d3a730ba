"""
A session in dialect C{digest} as its client has it: who asks, pings, and says HELLO again when nobody answers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hypermail import events
from hypermail.dialects.digest.connection import DigestConnection
from hypermail.dialects.digest.memory import PeerMemory
from hypermail.dialects.digest.packets import DigestPacket, PacketType, uuid_text
from hypermail.dialects.digest.signer import Signer
from hypermail.dialects.digest.states import CLIENT, ClientInput, ClientPhase
from hypermail.dialects.digest.timestamps import EXACT, NAMED, Timestamp
from hypermail.errors import (
    HandshakeFailed,
    HypermailError,
    PeerSilent,
    SessionClosed,
    SessionRejected,
    SessionReset,
    SessionTimedOut,
)
from hypermail.options import Role
from hypermail.session.states import Input, State

if TYPE_CHECKING:
    from hypermail.dialects.digest.dialect import Digest

#: s between a HELLO and the next: at first, doubling, and at most.
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 2.0
#: s for which a PING is the only one on its way when the application wants to know its round trip: no answer says which
#: it is for.
MEASURING = 2.0
#: Answers of a plain server that are acknowledged, so that it knows that this side is where it says.
PROOFS = 4


class DigestClient(DigestConnection):
    """
    A client's side.

    @ivar phase: where it is, as table L{CLIENT} has it.
    @ivar hint: what has kept a server's answer from being understood; empty when nothing has.
    """

    def __init__(
        self, options: Digest, address: Any, signer: Signer, drop: Callable[[str], None], *, now: float
    ) -> None:
        super().__init__(Role.STARTER, options, address, signer, drop, credit=None, now=now)
        self.session_id = signer.uuid
        self.phase = CLIENT.initial
        self.hint = ""
        self._move(Input.ASK)
        self._give_up_at = now + options.connection_timeout
        self._next_at = now  # the next HELLO, PING or DISCONNECT
        self._tries = 0
        self._unanswered = 0
        self._pinged_at = now  # the last time
        self._pings_out = 0  # that may still be answered
        self._pings_wanted = 0
        self._pings_waiting = 0
        self._proofs = PROOFS if signer.plain else 0
        # A plain server answers with no more than it was sent: the longest form leaves it something to answer with.
        self._longest = NAMED if signer.plain else EXACT

    @property
    def greeting(self) -> bool:
        """Whether the server has not answered yet."""
        return self.phase is ClientPhase.GREETING

    def _step(self, input: ClientInput) -> None:
        before = self.phase
        self.phase = CLIENT.next(before, input)
        if before is ClientPhase.MISSING and self.phase is ClientPhase.ALIVE:
            self._wait_for_doubted(self.now)

    # What comes.

    def stamped(self, packet: DigestPacket, moment: Timestamp, address: Any, now: float) -> None:
        """See L{DigestConnection.stamped}."""
        self.now = now
        memory = self.memory
        if self.state is State.ENDED or memory is None:
            self.dropped("early")
        elif packet.type in (PacketType.ACCEPT, PacketType.REJECT) and memory.restarted(packet, moment):
            self._elsewhere(packet, now)
        elif not memory.see(packet, moment):
            self.dropped("replayed")
        elif packet.type is PacketType.ACCEPT:
            self._accepted_by(packet, now)
        elif packet.type is PacketType.REJECT:
            self._rejected(now)
        elif packet.type in (PacketType.PANG, PacketType.PONG):
            self._ping_answered(packet, now)
        else:
            self.dropped("unexpected")

    def open(self, memory: PeerMemory, packet: DigestPacket, moment: Timestamp, now: float) -> None:
        """
        The server's first answer has come: ACCEPT or REJECT.

        @param memory: of the server.
        """
        self.now = now
        if not memory.newer(moment):
            self.dropped("replayed")
            return
        self.memory = memory
        memory.begin(packet, moment)
        if packet.type is PacketType.REJECT:
            self._end(SessionRejected("the server has answered REJECT"), now)
        else:
            self._opened()
            self._accepted_by(packet, now)

    def _accepted_by(self, packet: DigestPacket, now: float) -> None:
        again = self.phase is not ClientPhase.ALIVE
        self._step(ClientInput.ACCEPTED)
        self._prove(packet)
        self._unanswered = 0
        if again and self.phase is ClientPhase.ALIVE:
            self._pings_out = 0
            self._next_at = now + self.options.ping_interval

    def _prove(self, packet: DigestPacket) -> None:
        """Show a plain server that its answers arrive here: only who has read one can name its digest."""
        if self._proofs:
            self._proofs -= 1
            self._owe_ack(packet.digest)

    def _rejected(self, now: float) -> None:
        if self.phase is ClientPhase.PARTING:
            self._end(SessionClosed("the session was closed"), now)
        elif self.phase is ClientPhase.MISSING:
            self._end(SessionReset("the server does not know this session any more"), now)
        else:
            self._closed_by_peer(now)

    def _elsewhere(self, packet: DigestPacket, now: float) -> None:
        """The server counts from the beginning again: it was restarted."""
        if self.phase is ClientPhase.PARTING and packet.type is PacketType.REJECT:
            self._rejected(now)
            return
        if packet.type is PacketType.ACCEPT:
            if self.phase is ClientPhase.ALIVE:
                self.dropped("unexpected")  # nothing was asked
                return
            self._stamp(PacketType.DISCONNECT)  # it believes to have a session that nobody has here
        self._end(SessionReset("the server does not know this session any more: it was restarted"), now)

    def _ping_answered(self, packet: DigestPacket, now: float) -> None:
        self._alive(now)
        if packet.type is PacketType.PANG:
            self._owe(PacketType.PONG, packet)
        self._prove(packet)
        self._pings_out = max(self._pings_out - 1, 0)
        if not self._pings_out:
            elapsed = max(now - self._pinged_at, 0.0)
            for _ in range(self._pings_waiting):
                self._events.append(events.PingAnswered(elapsed))
            self._pings_waiting = 0

    def _alive(self, now: float) -> None:
        self._unanswered = 0
        if self.phase is ClientPhase.MISSING:
            self._next_at = now
            self._pings_out = 0
        self._step(ClientInput.HEARD)

    # What leaves.

    def ping(self, *, now: float) -> None:
        """See L{DialectConnection.ping}."""
        self.now = now
        self._check_open()
        self._pings_wanted += 1

    def _fill(self, now: float) -> None:
        if self.phase in (ClientPhase.ALIVE, ClientPhase.PARTING):
            self._answer()
        self._acknowledge()
        if self.phase is ClientPhase.PARTING:
            self._say_disconnect(now)
            return
        if self.phase is ClientPhase.ALIVE and (self._pings_wanted or now >= self._next_at):
            self._say_ping(now)
        if self.phase in (ClientPhase.GREETING, ClientPhase.MISSING) and now >= self._next_at:
            self._say_hello(now)
        if self.phase in (ClientPhase.ALIVE, ClientPhase.MISSING):
            self._send(now)

    def _say_hello(self, now: float) -> None:
        self._next_at = now + min(FIRST_PAUSE * 2.0**self._tries, LONGEST_PAUSE)
        self._tries += 1
        self._doubt()
        self._stamp(PacketType.HELLO, self._longest)

    def _say_ping(self, now: float) -> None:
        if now >= self._next_at:
            if self._unanswered >= self.options.ping_packet_count:
                self._step(ClientInput.SILENCE)
                self._tries = 0
                self._give_up_at = now + self.options.connection_timeout
                return
            self._unanswered += 1
            self._next_at = now + self.options.ping_interval
        measuring = self._pings_wanted or self._pings_waiting
        if measuring and self._pings_out:
            if now < self._pinged_at + MEASURING:
                return
            self._pings_out = 0  # they were lost
        self._pings_waiting += self._pings_wanted
        self._pings_wanted = 0
        self._pings_out += 1
        self._pinged_at = now
        self._stamp(PacketType.PING, self._longest)

    def _say_disconnect(self, now: float) -> None:
        if self._tries < self.options.disconnect_tries and now >= self._next_at:
            self._tries += 1
            self._next_at = now + self.flight.timeout(self._tries)
            self._stamp(PacketType.DISCONNECT)

    @property
    def _ready(self) -> bool:
        return self.phase is ClientPhase.ALIVE

    # The end.

    def _part(self, now: float) -> None:
        self._step(ClientInput.PART)
        self._tries = 0
        self._next_at = now
        self._fill(now)

    def _leave(self, now: float) -> None:
        if self.memory is not None or self.counters["datagrams_sent"]:
            self._stamp(PacketType.DISCONNECT)

    def _end(self, error: HypermailError, now: float) -> None:
        self._step(ClientInput.END)
        super()._end(error, now)

    def _accepted(self, now: float) -> None:
        """Only listeners accept."""

    def _refused(self, now: float) -> None:
        """Only listeners refuse."""

    # Time.

    def _timeout(self) -> float | None:
        times = [self._next_at]
        if self.phase in (ClientPhase.GREETING, ClientPhase.MISSING):
            times.append(self._give_up_at)
        flight = self._flight_timeout()
        if flight is not None:
            times.append(flight)
        return min(times)

    def _timed(self, now: float) -> None:
        self._look_at_doubted(now)
        phase, options = self.phase, self.options
        if phase is ClientPhase.GREETING and now >= self._give_up_at:
            if self.hint:  # trying again is of no use
                self._end(HandshakeFailed(f"no answer of the server was understood: {self.hint}"), now)
            else:
                self._end(SessionTimedOut(f"the server has not answered within {options.connection_timeout:g} s"), now)
        elif phase is ClientPhase.MISSING and now >= self._give_up_at:
            pings, time = options.ping_packet_count, options.connection_timeout
            self._end(PeerSilent(f"{pings} pings went unanswered, and so did HELLO for {time:g} s"), now)
        elif phase is ClientPhase.PARTING and now >= self._next_at and self._tries >= options.disconnect_tries:
            self._end(SessionClosed("the session was closed; the server has not answered DISCONNECT"), now)

    def statistics(self) -> dict[str, Any]:
        """See L{DialectConnection.statistics}; C{peer} is the server's UUID."""
        return super().statistics() | {"peer": "" if self.memory is None else uuid_text(self.memory.uuid)}
