"""
What comes in: the packets of one connection's datagrams, on their way to the room that takes them.

Before the session is open, and after it is over, most packets have no addressee. A listener holds all of them
until its starter has proved who it is, and most until its application has decided; what it can't hold is dropped, and
never acknowledged. While a session is claimed both sides hold what is said in it, and acknowledge it when the claim has
held: what was acknowledged is never sent again, whatever becomes of the link.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from hypermail.errors import ProtocolViolation
from hypermail.events import PingAnswered
from hypermail.link.inbound import Opened
from hypermail.link.link import Link
from hypermail.options import Role
from hypermail.session.hold import Hold
from hypermail.session.routing import INTAKE, LINKS_OWN, PROVING, SILENT, TAKERS, UNHELD, Rooms, Taker
from hypermail.session.session import Session
from hypermail.session.states import State
from hypermail.wire import packets as p
from hypermail.wire.codec import decode
from hypermail.wire.heads import Head
from hypermail.wire.packets import CHUNK

STREAM_CHUNK = int(Head.STREAM_CHUNK)

#: What a session is asked for with, or the answer to that: also the end of everything.
Asking = p.SessionOpen | p.SessionReopen | p.SessionReopenAck | p.SessionDeath
#: Bytes that a packet that is held counts for besides its own: the smallest are one on the wire, and this in memory.
HELD_PACKET = 64


class Intake:
    """
    Gives packets to link and session.

    @param hold_bytes: of payloads that are kept until the application has decided.
    @param asked: takes the packets that ask for a session, that answer a claim, and that end everything.
    @ivar calm: whether the datagram that was taken last had nothing in it but a ping, or answers of the link's to ours.
    @ivar claimed: whether a listener is asked for a session of before, and that does not go on yet.
    """

    __slots__ = (
        "_admitted",
        "_asked",
        "_hold",
        "_hold_bytes",
        "_link",
        "_next_ping",
        "_now",
        "_owed",
        "_pings",
        "_role",
        "_rooms",
        "_session",
        "calm",
        "claimed",
    )

    def __init__(
        self, role: Role, link: Link, session: Session, hold_bytes: int, asked: Callable[[Asking], None]
    ) -> None:
        self._role = role
        self._link = link
        self._asked = asked
        self.calm = False
        self.claimed = False
        self.carry(session)
        self._hold_bytes = hold_bytes
        self._hold: Hold | None = None  # made for the first packets that come early
        # Made for the first that comes, since most sessions have none of them most of the time.
        self._owed: list[tuple[Opened, bool]] | None = None  # held, and not acknowledged; whether it asks for that
        self._pings: dict[int, float] | None = None
        self._next_ping = 0
        self._admitted = role is Role.STARTER
        self._now = 0.0

    def carry(self, session: Session) -> None:
        """Packets are for this session from now on."""
        self._session = session
        self._rooms: Rooms = (self, session, session.sending, session.receiving, session.streams)

    def take(self, opened: Opened, now: float) -> None:
        """
        Take the content of a datagram.

        @param opened: what is held of its payload keeps all of it.
        @raise HypermailError: when the peer breaks a rule, or the handshake fails.
        """
        self._now = now
        self.calm = False
        if self._carries and not opened.long:
            self._take_all(opened, decode(opened.payload), now)
        else:
            self._take_some(opened, decode(opened.payload), now)

    def take_chunks(self, rest: Iterator[tuple[int, bytes]], now: float) -> Opened | None:
        """
        Take datagrams of a train as long as each holds one chunk of a stream and nothing else: what bulk is made of.

        @param rest: numbers and contents.
        @return: the first that holds something else, which is not taken yet; None when there is none.
        @raise HypermailError: when the peer breaks a rule. What does so is not acknowledged.
        """
        if not self._carries:
            return next((Opened(number, content, False) for number, content in rest), None)
        unpack, size = CHUNK.unpack_from, CHUNK.size
        start = stop = id = offset = end = -1
        pieces: list[memoryview] = []
        other: Opened | None = None
        for number, content in rest:
            if len(content) >= size:
                head, which, begin, told = unpack(content)
                if head == STREAM_CHUNK and told == len(content) - size:
                    if begin != end or number != stop or which != id:
                        self._take_pieces(id, offset, pieces, start, stop, now)
                        pieces = []
                        start, id, offset = number, which, begin
                    pieces.append(memoryview(content)[size:])
                    stop, end = number + 1, begin + told
                    continue
            other = Opened(number, content, False)
            break
        self._take_pieces(id, offset, pieces, start, stop, now)
        return other

    def _take_pieces(self, id: int, offset: int, pieces: list[memoryview], start: int, stop: int, now: float) -> None:
        """
        Pieces of a stream that follow each other have come in datagrams that do, too.

        @param start: number of the first of these; C{stop} is behind the last.
        """
        if pieces:
            incoming = self._session.streams.receiver(id)
            if incoming is not None:
                incoming.receive_pieces(offset, pieces)
            self._link.inbound.received_run(start, stop, now)

    def _admit(self, rest: list[p.Packet]) -> list[p.Packet]:
        """
        The starter is who it says to be: what it has asked for meanwhile counts now.

        @param rest: what came beside the proof.
        @return: what of that is still to be held.
        """
        self._admitted = True
        held = self._hold.sift(UNHELD) if self._hold is not None else []
        for packet in held + [packet for packet in rest if type(packet) in UNHELD]:
            self._give(packet)
        return [packet for packet in rest if type(packet) not in UNHELD]

    def release(self) -> None:
        """
        The session carries now: take what was held.

        @raise HypermailError: when the peer has broken a rule in it.
        """
        hold, self._hold = self._hold, None
        for packet in hold.release() if hold is not None else ():
            self._give(packet)
        self._settle_up()

    def _settle_up(self) -> None:
        """Acknowledge what was held."""
        owed, self._owed = self._owed, None
        for opened, eliciting in owed or ():
            self._link.received(opened, eliciting, self._now)

    def forget(self) -> None:
        """The session is over, or leaves the link: what was held is nobody's, and no round trip is measured."""
        self._hold = None
        self._owed = None
        for number in self._pings or ():
            self._session.control.withdraw(("ping", number))
        self._pings = None

    def let_go(self) -> None:
        """The connection is over: forget it."""
        del self._asked, self._rooms

    def ping(self, now: float) -> None:
        """Measure a round trip for the application."""
        self._next_ping += 1
        if self._pings is None:
            self._pings = {}
        self._pings[self._next_ping] = now
        answered = partial(self._ping_answered, self._next_ping)
        self._session.control.put(("ping", self._next_ping), p.HealthPing(self._next_ping), answered)

    @property
    def _carries(self) -> bool:
        return self._session.carrying and self._link.verified and self._session.survival.linked

    @property
    def _over(self) -> bool:
        return self._session.state is State.ENDED

    def _take_all(self, opened: Opened, packets: list[p.Packet], now: float) -> None:
        """The usual case: everything is taken at once."""
        eliciting = False
        rooms = self._rooms
        for packet in packets:
            kind = type(packet)
            if kind not in SILENT:
                eliciting = True
            room, take = _TAKERS[kind]
            take(rooms[room], packet)
        self._link.inbound.received(opened.number, eliciting, now)
        self.calm = not eliciting or (kind is p.HealthPing and len(packets) == 1)

    def _give(self, packet: p.Packet) -> None:
        room, take = _TAKERS[type(packet)]
        take(self._rooms[room], packet)

    def _take_some(self, opened: Opened, packets: list[p.Packet], now: float) -> None:
        """The session is not open, or over: the link's packets are taken, others perhaps held."""
        rest, refused = [], False
        for packet in packets:
            kind = type(packet)
            if kind in LINKS_OWN:
                self._take_links(packet, opened.long)
            elif opened.long:
                raise ProtocolViolation(f"a {kind.__name__} in a long datagram")
            elif self._over:
                refused = refused or (self.claimed and kind not in UNHELD)
            elif self._gives(kind):
                self._give(packet)
            else:
                rest.append(packet)
        if self._link.verified and not self._admitted:
            rest = self._admit(rest)
        if refused:  # it is for another link: never acknowledged here, also behind the refusal
            return
        eliciting = any(type(packet) not in SILENT for packet in packets)
        if rest and not self._holds(rest, len(opened.payload)):
            return
        if rest and self._waits_for_claim:
            if self._owed is None:
                self._owed = []
            self._owed.append((opened._replace(payload=b""), eliciting))
            return
        if self._owed and not self._waits_for_claim:
            self._settle_up()
        self._link.received(opened, eliciting, now)
        if eliciting and self._over and not opened.long:  # never an ack for an ack: RFC 9000 §13.2.1
            self._link.acks.force()
        if self._carries:
            self.release()

    @property
    def _waits_for_claim(self) -> bool:
        """Whether the session is claimed, or may turn out to be, and it is open whether the claim holds."""
        if self._role is Role.STARTER:
            return not self._session.survival.linked
        return self._session.state is State.NEW or self.claimed

    def _gives(self, kind: type) -> bool:
        """Whether a packet of this kind is taken at once."""
        if self._role is Role.LISTENER:
            return kind in UNHELD and self._link.verified
        return kind in PROVING or self._session.survival.linked

    def _holds(self, packets: list[p.Packet], size: int) -> bool:
        if self._hold is None:
            self._hold = Hold(self._hold_bytes)
        return self._hold.take(packets, size + HELD_PACKET * len(packets))

    def _take_asking(self, packet: Asking) -> None:
        self._asked(packet)

    def _take_links(self, packet: p.Packet, long: bool = False) -> None:
        pong = self._link.take(packet, self._now, long)
        if pong is not None:
            self._ping_answered(pong.id)

    def _ping_answered(self, number: int) -> None:
        """By its pong, or by the link's acknowledgement when the pong was lost, or was one too many."""
        pings = self._pings
        started = None if pings is None else pings.pop(number, None)
        if not pings:
            self._pings = None
        if started is not None:
            self._session.control.withdraw(("ping", number))
            self._session.tell(PingAnswered(self._now - started))

    def _take_lack(self, packet: p.StreamLack) -> None:
        outgoing = self._session.streams.sender(packet.id)
        if outgoing is not None:
            outgoing.take_lack(packet, self._link.recovery.flying(outgoing))


_TAKERS: dict[type, tuple[int, Taker]] = {
    **TAKERS,
    **dict.fromkeys(LINKS_OWN, (INTAKE, Intake._take_links)),
    p.StreamLack: (INTAKE, Intake._take_lack),
    p.SessionOpen: (INTAKE, Intake._take_asking),
    p.SessionReopen: (INTAKE, Intake._take_asking),
    p.SessionReopenAck: (INTAKE, Intake._take_asking),
    p.SessionDeath: (INTAKE, Intake._take_asking),
}
