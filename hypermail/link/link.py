"""
One link: joins numbers, seals, acknowledgements and heartbeat with the route that its datagrams take.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypermail.errors import HypermailError
from hypermail.link.acks import Acks
from hypermail.link.answers import Answers
from hypermail.link.figures import figures
from hypermail.link.heartbeat import Beat, Heartbeat
from hypermail.link.inbound import Inbound, Opened
from hypermail.link.keys import REST, ReceivingKeys, SendingKeys, Usage
from hypermail.link.opening import LinkOpening
from hypermail.link.outbound import Outbound
from hypermail.link.payload import Payload
from hypermail.link.route import Route
from hypermail.link.skips import Skips
from hypermail.link.states import LINK, Input, State
from hypermail.options import Options, Role
from hypermail.security.handshake import Handshake
from hypermail.security.keys import Keys
from hypermail.trace import NullTrace
from hypermail.wire import header
from hypermail.wire.numbers import expand
from hypermail.wire.packets import Ack, HealthPing, HealthPong, Padding, PathChallenge, PathResponse
from hypermail.wire.packets import Handshake as HandshakePacket

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

# Looked up with each datagram: a name of the module is found ten times as fast as a member of an enum.
_LONG = int(header.Kind.LONG)
_KEYED, _OPEN = State.KEYED, State.OPEN


class Link:
    """
    The live path of a session.

    @param local_tag: 64 bits; what the peer puts on datagrams for us.
    @param first_tag: 64 bits; what the starter's first datagrams bear.
    @param token: by which a listener has admitted the starter, whose address is proved then; empty when by none.
    @param skips: decides which packet numbers are left out, and what paths are challenged with; the peer must not
        know it.

    @ivar route: what is known of the way to the peer. C{path}, C{rtt}, C{recovery} and C{allowance} are parts of it
        that each datagram needs.
    @ivar mode: of the handshake.
    @ivar inbound: its receiving half, and C{outbound} the other.
    @ivar keyed: whether short datagrams can be sent: by a listener not before the starter has shown that it has the
        keys, since until then anybody may pretend to be at its address.
    @ivar verified: whether the peer has proved what the mode asks for, and has the session's keys.
    @ivar peer_certificate: the peer's, once verified, when it has shown one.
    @ivar session_id: 16 bytes that name a session which begins on this link; empty before there are keys.
    @ivar secret: 32 bytes that only the two ends of the link know; empty before there are keys, and in mode plain.
    """

    __slots__ = (
        "_answers",
        "_elsewhere",
        "_opening",
        "_role",
        "_size",
        "_skips",
        "_state",
        "_usage",
        "acks",
        "allowance",
        "first_tag",
        "heartbeat",
        "inbound",
        "keyed",
        "local_tag",
        "mode",
        "outbound",
        "path",
        "peer_certificate",
        "recovery",
        "route",
        "rtt",
        "secret",
        "session_id",
        "verified",
    )

    def __init__(
        self,
        role: Role,
        options: Options,
        handshake: Handshake,
        *,
        local_tag: int,
        first_tag: int,
        remote_tag: int,
        address: Any,
        now: float,
        trace: NullTrace,
        token: bytes = b"",
        skips: bytes,
    ) -> None:
        self._role = role
        self._state = LINK.initial
        self.keyed = False
        self._opening: LinkOpening | None = LinkOpening(
            role, handshake, local_tag=local_tag, first_tag=first_tag, remote_tag=remote_tag, token=token
        )
        self.mode = handshake.mode
        self.verified = False
        self.peer_certificate: Certificate | None = None
        self.session_id = b""
        self.secret = b""
        self.local_tag = local_tag
        self.first_tag = first_tag
        validated = role is Role.STARTER or bool(token)
        self.route = Route(options, address, validated=validated, secret=skips, now=now, trace=trace)
        self.path, self.rtt = self.route.path, self.route.rtt
        self.recovery, self.allowance = self.route.recovery, self.route.allowance
        self.acks = Acks()
        self.heartbeat = Heartbeat(role, options, now)
        self.recovery.opening = role is Role.STARTER  # it alone probes with nothing in flight: RFC 9002 §6.2.2.1
        self._skips = skips
        self._usage = Usage(now)
        self._answers = Answers()
        self.inbound = Inbound(self.route, self.acks, self.heartbeat, local_tag, self._usage, trace)
        self.outbound = Outbound(self.route, self.acks, self._answers, remote_tag, self._usage, trace)
        self.outbound.flight = self._opening.flight
        self._elsewhere: Any = None
        self._size = 0
        self._agreed(self._opening, self._opening.shake())

    # What the link is

    @property
    def remote_tag(self) -> int:
        """What we put on datagrams for the peer."""
        return self.outbound.tag

    @property
    def speaks(self) -> bool:
        """
        Whether anything but acknowledgements and the handshake may be said: a listener's keys exist before its starter
        has proved who it is.
        """
        return self.outbound.speaks

    @property
    def hello_heard(self) -> bool:
        """Whether everything that a starter says first has arrived."""
        return self._opening is None or self._opening.handshake.begun

    @property
    def last_words(self) -> bool:
        """Whether the peer has still to hear that the handshake has failed."""
        opening = self._opening
        return opening is not None and opening.flight.unheard and opening.objects

    @property
    def failure(self) -> HypermailError | None:
        """Why the link can't go on, once it can't."""
        return self.inbound.failure or self.outbound.failure

    def statistics(self) -> dict[str, Any]:
        """Counters and estimates, for people to look at."""
        return figures(self)

    @property
    def forged(self) -> int:
        """Datagrams that did not open under the session's keys."""
        keys = self.inbound.keys
        return keys.forged if keys is not None else 0

    @property
    def cipher(self) -> str | None:
        """The name of the cipher of our datagrams; None while there are no keys, and where nothing is encrypted."""
        keys = self.outbound.keys
        return keys.cipher or None if keys is not None else None

    @property
    def key_updates(self) -> int:
        """How often the key was changed under which we send."""
        keys = self.outbound.keys
        return keys.updates if keys is not None else 0

    def peer_limits(self, receive_buffer: int, max_datagram: int, silence: float, now: float) -> None:
        """
        What the peer has told about its socket and its patience, with which the opening has served.

        @param receive_buffer: bytes; trains are at most half of it.
        @param max_datagram: bytes of the largest datagram that it reads.
        @param silence: s after which it forgets us.
        """
        self.route.peer_limits(receive_buffer, max_datagram, now)
        self.heartbeat.keep_within(silence)
        self._end_opening()

    def end(self) -> None:
        """Nothing leaves any more."""
        self._enter(Input.END)
        self._end_opening()

    def _end_opening(self) -> None:
        """The handshake has served, or failed: free what it holds."""
        if self._opening is not None:
            self._opening.handshake.close()
            self._opening = self.outbound.flight = None

    # Receiving

    def open(self, datagram: memoryview, now: float, elsewhere: Any = None) -> Opened | None:
        """
        Open a datagram that bears our tag; what doesn't open, or is a replay, is counted and dropped.

        @param elsewhere: where it came from, unless from the path's address.
        """
        if datagram[0] & 0xF0 == _LONG:
            opened = self._open_long(datagram, now, elsewhere is None)
        else:
            opened = self.inbound.open(datagram, now, elsewhere is None)
            if self._state is _KEYED and opened is not None:
                self._confirm(now)
        if opened is None:
            self.inbound.dropped += 1
            return None
        self._elsewhere = elsewhere
        self._size = len(datagram)
        # Only starters move; and once a listener speaks it hears short datagrams only.
        if (elsewhere is not None or self.route.moving is not None) and self._role is Role.LISTENER and self.speaks:
            self.route.locate(elsewhere, self._size, opened.number > self.acks.largest, now)
        return opened

    @property
    def steady(self) -> bool:
        """Whether nothing that comes from the path's address changes how what follows it is opened."""
        return self._state is _OPEN and self.path.validated and self.route.moving is None

    def turn_to(self, opened: Opened) -> None:
        """One datagram of a train, which has come from the path's address, is taken by itself now."""
        self._elsewhere = None
        self._size = self.inbound.overhead + len(opened.payload)

    def _confirm(self, now: float) -> None:
        """The peer has the session's keys: those of the handshake have served (RFC 9001 §4.9)."""
        self._enter(Input.SHORT_OPENED)
        self.recovery.opening = False
        self.recovery.forget_long(now)
        self.inbound.hasty = True  # the peer's probe timer runs until it hears that we have the keys
        self._verify()

    def _verify(self) -> None:
        if self._state is State.OPEN and self._opening is not None and self._opening.handshake.complete:
            self.verified = True
            self._speak()
            self.peer_certificate = self._opening.handshake.peer_certificate

    def _open_long(self, datagram: memoryview, now: float, at_home: bool) -> Opened | None:
        if at_home:
            self.path.received(len(datagram))
        head = header.decode_long(datagram)
        opening = self._opening
        if head is None or opening is None or not self._hears_long:
            return None
        number = expand(head.low, opening.acks.largest + 1)
        content = opening.open(datagram, head, number)
        if content is None:
            return None
        self.outbound.tag = opening.remote_tag
        if at_home and head.destination == self.local_tag:
            self.path.validated = True
        if not opening.acks.is_new(number):
            return None
        self.inbound.arrived(number, len(datagram), now, long=True)
        return Opened(number, content, True)

    def retry(self, token: bytes) -> None:
        """A listener wants to see this token before it keeps anything of us."""
        if self._opening is not None and self._opening.retry(token):
            self.recovery.resend_all()

    def take(self, packet: Any, now: float, long: bool) -> HealthPong | None:
        """
        Take one of the link's own packets.

        @return: a pong, which may answer the application's ping; else None.
        @raise HypermailError: when the peer breaks a rule, or the handshake fails.
        """
        kind = type(packet)
        if kind is Ack:
            self.route.acknowledge(packet, now, long)
            keys = self.outbound.keys
            if not long and keys is not None:
                keys.acknowledged(packet.ranges[0][1] - 1)
        elif kind is HealthPing:
            self._answer(HealthPong(packet.id).encode())
        elif kind is HealthPong:
            return packet  # type: ignore[no-any-return]
        elif kind is HandshakePacket:
            self._take_handshake(packet)
        elif kind is PathChallenge:
            if self.speaks:  # a starter has one path only, a listener answers where it was asked
                where = None if self._role is Role.STARTER else self._elsewhere
                self._answers.respond(where, packet.data, self._size)
        elif kind is PathResponse:
            if self.route.answered(packet.data, now):
                self.acks.force()  # those that have left since the move went to the old address
        return None

    def moved(self, now: float) -> None:
        """A starter is at another address now; while it has no keys the opening just goes on, or takes too long."""
        if self.keyed:
            self.route.moved(now)

    def _answer(self, packet: bytes) -> None:
        if self.speaks:
            self._answers.add(packet)

    def _take_handshake(self, packet: HandshakePacket) -> None:
        if self._opening is not None:
            self._agreed(self._opening, self._opening.take(packet))

    def _agreed(self, opening: LinkOpening, keys: Keys | None) -> None:
        """The handshake has gone on, and perhaps given keys."""
        self.inbound.failure = self.inbound.failure or opening.failure
        if keys is not None:
            self.outbound.keys = sending = SendingKeys(keys.sending)
            self.inbound.keys = receiving = ReceivingKeys(keys.receiving)
            self._usage.keys = sending, receiving
            self.session_id = keys.session_id
            self.secret = keys.reopen_secret
            self.recovery.skips = Skips(self._skips)
            self._enter(Input.KEYS_DERIVED)
        self._verify()

    @property
    def _hears_long(self) -> bool:
        """A starter that has keys has heard all that is said without them; a listener has when it hears a short one."""
        return self._state is State.OPENING or (self._state is State.KEYED and self._role is Role.LISTENER)

    def received(self, opened: Opened, eliciting: bool, now: float) -> None:
        """The contents of a datagram have been taken, so it may be acknowledged."""
        number, _, long = opened
        if not long:
            self.inbound.received(number, eliciting, now)
        elif self._opening is not None:
            self._opening.acks.received(number, now, eliciting)
            if eliciting:
                self._opening.acks.force()

    # Sending

    def long_datagrams(self, now: float) -> list[bytes]:
        """What the handshake has to say, and acknowledgements of what it has heard."""
        datagrams: list[bytes] = []
        opening = self._opening
        if opening is None or self._state not in (State.OPENING, State.KEYED):
            return datagrams
        while self._wants_long(opening, bool(datagrams)):
            if self.path.credit < self.path.mtu:
                break
            payload = Payload(self.path.mtu - opening.overhead)
            if opening.acks.pending:
                payload.add(opening.acks.packet(now).encode())
            opening.flight.fill(payload)
            if self.recovery.probes and not payload.contents:
                self._answers.add_ping(payload)
            if self._role is Role.STARTER and payload.room > 0:  # RFC 9000 §14.1
                payload.add(Padding(payload.room).encode())
            number = self.recovery.take_number()
            datagram = opening.seals.seal(opening.head(number), payload.parts, number)
            self.outbound.sent(number, len(datagram), payload, now, long=True)
            datagrams.append(datagram)
        return datagrams

    def _wants_long(self, opening: LinkOpening, begun: bool) -> bool:
        if self.outbound.keys is not None and self._role is Role.STARTER:
            return False  # what is left to say is said in short datagrams
        return opening.flight.waiting or (not begun and (opening.acks.due or self.recovery.probes > 0))

    def rests(self, now: float) -> bool:
        """Whether the heartbeat is all that there may be to see to."""
        route = self.route
        return (
            self.recovery.calm
            and self._opening is None
            and self._state is State.OPEN
            and self.verified
            and self.failure is None
            and route.moving is None
            and route.discovery.deadline is None
            and (now < route.discovery.due_at or not route.probe_size(now))
            and self.allowance.resume_at is None
        )

    @property
    def beats(self) -> bool:
        """Of a link that has been at rest: whether what was said to it, or a timer, wants no more than L{beat}."""
        acks, keys = self.acks, self.outbound.keys
        if self.inbound.failure is not None or self.recovery.probes > 1 or self._usage.awake:
            return False
        if acks.crowded or keys is None or keys.wants_ack:  # the answer will ask for one itself
            return False
        return acks.deadline is None or acks.due or bool(self._answers.waiting)

    def beat(self, now: float) -> list[bytes]:
        """One datagram of a ping that is due, answers to the peer, and acknowledgements, where there is any of them."""
        if not (self.acks.due or self._answers.waiting or self.recovery.probes):
            return []
        out = self.outbound
        out.finish(out.begin(now, False), now)
        return out.depart(now)

    @property
    def owes_ack(self) -> bool:
        """Whether an acknowledgement is due."""
        return self.acks.due or (self._opening is not None and self._opening.acks.due)

    # Time

    def next_timeout(self) -> float:
        """s when to call L{timeout}."""
        deadline = self.route.next_timeout(self.heartbeat.deadline)
        if self.acks.deadline is not None and self.acks.deadline < deadline:
            deadline = self.acks.deadline
        rest = self._usage.at + REST
        if rest < deadline and self._usage.awake:
            deadline = rest
        return deadline

    def timeout(self, now: float) -> Beat:
        """
        Time has passed; harmless when early.

        @return: L{Beat.DEAD} when the peer is to be given up.
        """
        self.acks.timeout(now)
        self.route.timeout(now)
        if now >= self._usage.at + REST and self._usage.awake:
            self._usage.rest()
        beat = self.heartbeat.timeout(now)
        if beat is Beat.PING:
            self.wake()
        return beat

    def wake(self) -> None:
        """Ask for a sign of the peer's life."""
        if not self.recovery.probes:
            self.recovery.probes = 1

    def _enter(self, input: Input) -> None:
        # What each datagram asks for is kept, since a call takes longer than to look at it.
        state = self._state = LINK.next(self._state, input)
        self.keyed = state is _OPEN or (state is _KEYED and self._role is Role.STARTER)
        self._speak()

    def _speak(self) -> None:
        self.outbound.speaks = self.verified or (self._role is Role.STARTER and self.keyed)
