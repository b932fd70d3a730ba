"""
One link: joins numbers, seals, acknowledgements and heartbeat with the route that its datagrams take.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from hypermail.errors import HypermailError, KeysSpent
from hypermail.link.acks import Acks
from hypermail.link.answers import Answers
from hypermail.link.departures import Departures, short_prefix
from hypermail.link.ecn import NOT_ECT
from hypermail.link.figures import figures
from hypermail.link.heartbeat import Beat, Heartbeat
from hypermail.link.keys import ReceivingKeys, SendingKeys
from hypermail.link.opening import LinkOpening
from hypermail.link.payload import Payload, Run, Sent
from hypermail.link.route import Route
from hypermail.link.skips import Skips
from hypermail.link.states import LINK, Input, State
from hypermail.link.train import Train
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

#: s without a datagram after which the keys are put aside.
REST = 0.2
#: Bytes; a full datagram that lacks no more than this is padded, since equal sizes make trains.
MOST_PADDING = 300
#: Bytes; no UDP payload is larger.
LARGEST = 65_507

# Looked up with each datagram: a name of the module is found ten times as fast as a member of an enum.
_LONG = int(header.Kind.LONG)
_KEYED, _OPEN = State.KEYED, State.OPEN

SPENT = "the peer has acknowledged nothing for as long as a key may be used"


class Opened(NamedTuple):
    """What was inside of an authentic datagram."""

    number: int
    payload: bytes
    long: bool


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
    @ivar codepoint: of explicit congestion notification, that the datagrams of this turn bear.
    @ivar mode: of the handshake.
    @ivar remote_tag: what we put on datagrams for the peer.
    @ivar verified: whether the peer has proved what the mode asks for, and has the session's keys.
    @ivar peer_certificate: the peer's, once verified, when it has shown one.
    @ivar failure: why the link can't go on, once it can't.
    @ivar session_id: 16 bytes that name a session which begins on this link; empty before there are keys.
    @ivar secret: 32 bytes that only the two ends of the link know; empty before there are keys, and in mode plain.
    @ivar dropped: datagrams that did not open, or came twice.
    """

    __slots__ = (
        "_acknowledged",
        "_active_at",
        "_answers",
        "_ask_at",
        "_confirmed",
        "_departures",
        "_elsewhere",
        "_opening",
        "_receiving",
        "_role",
        "_sending",
        "_size",
        "_skips",
        "_state",
        "_trace",
        "acks",
        "allowance",
        "bytes_received",
        "bytes_sent",
        "codepoint",
        "datagrams_received",
        "datagrams_sent",
        "dropped",
        "failure",
        "first_tag",
        "heartbeat",
        "local_tag",
        "mode",
        "path",
        "peer_certificate",
        "recovery",
        "remote_tag",
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
        self._trace = trace
        self._state = LINK.initial
        self._opening: LinkOpening | None = LinkOpening(
            role, handshake, local_tag=local_tag, first_tag=first_tag, remote_tag=remote_tag, token=token
        )
        self._sending: SendingKeys | None = None
        self._receiving: ReceivingKeys | None = None
        self.mode = handshake.mode
        self.verified = False
        self.peer_certificate: Certificate | None = None
        self.failure: HypermailError | None = None
        self.session_id = b""
        self.secret = b""
        self.local_tag = local_tag
        self.remote_tag = remote_tag
        self.first_tag = first_tag
        validated = role is Role.STARTER or bool(token)
        self.route = Route(options, address, validated=validated, secret=skips, now=now, trace=trace)
        self.path, self.rtt = self.route.path, self.route.rtt
        self.recovery, self.allowance = self.route.recovery, self.route.allowance
        self.acks = Acks()
        self.codepoint = NOT_ECT
        self.heartbeat = Heartbeat(role, options, now)
        self.recovery.opening = role is Role.STARTER  # it alone probes with nothing in flight: RFC 9002 §6.2.2.1
        self._confirmed = False
        self._skips = skips
        self._acknowledged = 0  # what the datagram that is being filled acknowledges, all below it
        self._active_at = now  # when a key was last used
        self._answers = Answers()
        self._departures: Departures | None = None  # while a turn's datagrams are filled
        self._ask_at = now  # not before that is the peer asked to acknowledge an acknowledgement
        self._elsewhere: Any = None
        self._size = 0
        self.dropped = 0
        self.datagrams_sent = 0
        self.datagrams_received = 0
        self.bytes_sent = 0
        self.bytes_received = 0
        self._agreed(self._opening, self._opening.shake())

    # What the link is

    @property
    def keyed(self) -> bool:
        """
        Whether short datagrams can be sent: by a listener not before the starter has shown that it has the
        keys, since until then anybody may pretend to be at its address.
        """
        return self._state is _OPEN or (self._state is _KEYED and self._role is Role.STARTER)

    @property
    def speaks(self) -> bool:
        """
        Whether anything but acknowledgements and the handshake may be said: a listener's keys exist before its starter
        has proved who it is.
        """
        return self.verified or (self._role is Role.STARTER and self.keyed)

    @property
    def hello_heard(self) -> bool:
        """Whether everything that a starter says first has arrived."""
        return self._opening is None or self._opening.handshake.begun

    @property
    def last_words(self) -> bool:
        """Whether the peer has still to hear that the handshake has failed."""
        opening = self._opening
        return opening is not None and opening.flight.unheard and opening.objects

    def statistics(self) -> dict[str, Any]:
        """Counters and estimates, for people to look at."""
        return figures(self)

    @property
    def forged(self) -> int:
        """Datagrams that did not open under the session's keys."""
        return self._receiving.forged if self._receiving is not None else 0

    @property
    def cipher(self) -> str | None:
        """The name of the cipher of our datagrams; None while there are no keys, and where nothing is encrypted."""
        return self._sending.cipher or None if self._sending is not None else None

    @property
    def key_updates(self) -> int:
        """How often the key was changed under which we send."""
        return self._sending.updates if self._sending is not None else 0

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
        self._state = LINK.next(self._state, Input.END)
        self._end_opening()

    def _end_opening(self) -> None:
        """The handshake has served, or failed: free what it holds."""
        if self._opening is not None:
            self._opening.handshake.close()
            self._opening = None

    # Receiving

    def open(self, datagram: memoryview, now: float, elsewhere: Any = None) -> Opened | None:
        """
        Open a datagram that bears our tag; what doesn't open, or is a replay, is counted and dropped.

        @param elsewhere: where it came from, unless from the path's address.
        """
        at_home = elsewhere is None
        acks: Acks | None = self.acks
        if datagram[0] & 0xF0 == _LONG:
            opened = self._open_long(datagram, at_home)
            acks = self._acks_of(opened)
        else:
            opened = self._open_short(datagram, now, at_home)
        if opened is None or acks is None or not acks.is_new(opened.number):
            self.dropped += 1
            return None
        size = len(datagram)
        self.datagrams_received += 1
        self.bytes_received += size
        self.heartbeat.heard(now)
        if type(self._trace) is not NullTrace:
            self._trace.received(now, opened.number, size, opened.long)
        self._elsewhere = elsewhere
        self._size = size
        # Only starters move; and once a listener speaks it hears short datagrams only.
        if (elsewhere is not None or self.route.moving is not None) and self._role is Role.LISTENER and self.speaks:
            self.route.locate(elsewhere, size, opened.number > self.acks.largest, now)
        return opened

    @property
    def steady(self) -> bool:
        """Whether nothing that comes from the path's address changes how what follows it is opened."""
        return self._state is _OPEN and self.path.validated and self.route.moving is None

    def open_train(self, datagrams: list[memoryview], now: float) -> tuple[list[tuple[int, bytes]], int]:
        """
        Open datagrams from the path's address that bear our tag while the link is L{steady}, as L{open} does one of
        them, up to the first that is not as usual.

        @return: numbers and contents of those that are authentic and new; how many were tried.
        """
        keys, acks = self._receiving, self.acks
        if keys is None:
            return [], 0
        self._use_keys(now)
        prefix = short_prefix(keys.phase, self.local_tag)
        opened, tried = keys.open_train(prefix, datagrams, acks.largest + 1)
        self._note_forged(keys)
        opened = acks.new_ones(opened)
        self.dropped += tried - len(opened)
        if not opened:
            return opened, tried
        overhead = header.SHORT.size + keys.overhead
        self.datagrams_received += len(opened)
        self.bytes_received += sum([len(content) for _, content in opened]) + overhead * len(opened)
        self.heartbeat.heard(now)
        if type(self._trace) is not NullTrace:
            for number, content in opened:
                self._trace.received(now, number, len(content) + overhead, False)
        self._elsewhere = None
        return opened, tried

    def turn_to(self, opened: Opened) -> None:
        """One datagram of a train is taken by itself now."""
        if self._receiving is not None:
            self._size = header.SHORT.size + self._receiving.overhead + len(opened.payload)

    def _open_short(self, datagram: memoryview, now: float, at_home: bool) -> Opened | None:
        keys = self._receiving
        if keys is None or len(datagram) < header.SHORT.size:
            return None
        kind, _, low = header.SHORT.unpack_from(datagram)
        number = expand(low, self.acks.largest + 1)
        self._use_keys(now)
        phase = kind & 1
        patience = 0.0 if phase == keys.phase else 3 * self.rtt.probe_timeout  # of use when the key changes
        content = keys.open(datagram, header.SHORT.size, number, phase, now, patience)
        if content is None:
            self._note_forged(keys)
            return None
        if self._state is _KEYED:
            self._confirm(now)
        if at_home:
            self.path.validated = True
        return Opened(number, content, False)

    def _note_forged(self, keys: ReceivingKeys) -> None:
        if keys.spent:
            self.failure = KeysSpent(f"{keys.forged} datagrams were forged: somebody attacks this link")

    def _confirm(self, now: float) -> None:
        """The peer has the session's keys: those of the handshake have served (RFC 9001 §4.9)."""
        self._state = LINK.next(self._state, Input.SHORT_OPENED)
        self.recovery.opening = False
        self.recovery.forget_long(now)
        self._confirmed = True
        self._verify()

    def _verify(self) -> None:
        if self._state is State.OPEN and self._opening is not None and self._opening.handshake.complete:
            self.verified = True
            self.peer_certificate = self._opening.handshake.peer_certificate

    def _open_long(self, datagram: memoryview, at_home: bool) -> Opened | None:
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
        self.remote_tag = opening.remote_tag
        if at_home and head.destination == self.local_tag:
            self.path.validated = True
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
            if not long and self._sending is not None:
                self._sending.acknowledged(packet.ranges[0][1] - 1)
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
        self.failure = self.failure or opening.failure
        if keys is not None:
            self._sending = SendingKeys(keys.sending)
            self._receiving = ReceivingKeys(keys.receiving)
            self.session_id = keys.session_id
            self.secret = keys.reopen_secret
            self.recovery.skips = Skips(self._skips)
            self._state = LINK.next(self._state, Input.KEYS_DERIVED)
        self._verify()

    def _acks_of(self, opened: Opened | None) -> Acks | None:
        """What counts the numbers of a datagram's kind."""
        if opened is None or not opened.long:
            return self.acks
        return None if self._opening is None else self._opening.acks

    @property
    def _hears_long(self) -> bool:
        """A starter that has keys has heard all that is said without them; a listener has when it hears a short one."""
        return self._state is State.OPENING or (self._state is State.KEYED and self._role is Role.LISTENER)

    def received(self, opened: Opened, eliciting: bool, now: float) -> None:
        """The contents of a datagram have been taken, so it may be acknowledged."""
        acks = self._acks_of(opened) if opened.long else self.acks
        if acks is None:
            return
        acks.received(opened.number, now, eliciting)
        if opened.long:
            if eliciting:
                acks.force()
            return
        if self.codepoint:
            acks.marked(self.codepoint)
        if self._confirmed:
            self._confirmed = False
            if eliciting:
                self.acks.force()  # the peer's probe timer runs until it hears that we have the keys

    def received_run(self, start: int, stop: int, now: float) -> None:
        """The contents of short datagrams C{start <= number < stop}, which want it, may be acknowledged."""
        self.acks.received_run(start, stop, now, True)
        if self.codepoint:
            self.acks.marked(self.codepoint, stop - start)
        if self._confirmed:
            self._confirmed = False
            self.acks.force()

    def end_turn(self, now: float) -> None:
        """All datagrams of one read have been taken."""
        self.acks.end_turn(now, self.rtt.smoothed if self.rtt.measured else 0.0)

    # Sending

    @property
    def room(self) -> int:
        """Bytes that a short datagram has for packets."""
        overhead = self._sending.overhead if self._sending is not None else 0
        return self.path.mtu - header.SHORT.size - overhead

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
            self._note_sent(number, len(datagram), payload, now, long=True)
            datagrams.append(datagram)
        return datagrams

    def _wants_long(self, opening: LinkOpening, begun: bool) -> bool:
        if self._sending is not None and self._role is Role.STARTER:
            return False  # what is left to say is said in short datagrams
        return opening.flight.waiting or (not begun and (opening.acks.due or self.recovery.probes > 0))

    @property
    def interrupted(self) -> bool:
        """Whether the next datagram is not only for what the session has to say."""
        if self.acks.due or self.recovery.probes or self._opening is not None:
            return True
        return bool(self._answers.waiting)

    def begin(self, now: float, talkative: bool, most: int = LARGEST) -> Payload:
        """
        A short datagram to be filled.

        @param talkative: whether something will follow, so that acknowledgements may ride along.
        @param most: bytes that it may have at most, where that is less than a full one.
        """
        payload = Payload(self.room - max(0, self.path.mtu - most))
        self._acknowledged = 0
        if self.acks.due or ((talkative or self._answers.waiting) and self.acks.pending):
            self._acknowledged = self.acks.largest + 1
            payload.add(self.acks.packet(now).encode())
        if self._answers.waiting:
            self._answers.fill(payload)
        if self._opening is not None:
            self._opening.flight.fill(payload)
        return payload

    def path_trains(self, now: float) -> list[Train]:
        """
        Answers to challenges, and challenges, each in a datagram of its own and where it belongs. They wait for no
        window: they are few.
        """
        trains: list[Train] = []
        moving = self.route.moving
        while self._answers.responses:
            (address, packet, size), *rest = self._answers.responses
            self._answers.responses = tuple(rest)
            # Never larger than the question, wherever that says that it comes from.
            self._send_alone(trains, packet, min(size, self.path.base), address, now)
        if moving is not None and now >= moving.due:
            for path, packet, size in moving.challenges(self.path, self.path.base, now, self.rtt.probe_timeout):
                self._send_alone(trains, packet, size, path.address, now)
        return trains

    def _send_alone(self, trains: list[Train], packet: bytes, size: int, address: Any, now: float) -> None:
        """Seal one packet, in a datagram of C{size} bytes, for C{address}, or the path's when it is None."""
        keys = self._sending
        if keys is None or keys.spent():
            return
        payload = Payload(size - header.SHORT.size - keys.overhead)
        payload.add(packet)
        if payload.room > 0:
            payload.add(Padding(payload.room).encode())
        number, datagram = self._seal(keys, payload, now)
        self._note_sent(number, len(datagram), payload, now, long=False)
        trains.append(Train(self.path.address if address is None else address, [datagram]))
        self.route.sent_to(address, len(datagram))

    def finish(self, payload: Payload, now: float) -> int:
        """
        A short datagram is filled; it gets a ping when a probe would be empty. L{depart} gives it out.

        @return: bytes of it; 0 when there is nothing to say.
        """
        keys = self._sending
        departures = self._departures
        if keys is None or keys.spent(departures.waiting if departures is not None else 0):
            for source, start, stop in payload.contents:  # it may be for another link
                source.lost(start, stop)
            return 0
        if not payload.contents and self._elicits(keys, payload, now):
            self._answers.add_ping(payload)
        if not payload.parts:
            return 0
        if payload.contents and self._acknowledged:
            payload.contents.append((self.acks, 0, self._acknowledged))
        if payload.full and 0 < payload.room <= MOST_PADDING:
            payload.add(Padding(payload.room).encode())
        number = self.recovery.take_number()
        size = header.SHORT.size + keys.overhead + payload.size
        if departures is None:
            departures = self._departures = Departures()
        departures.add(number, payload.parts)
        self._note_sent(number, size, payload, now, long=False)
        return size

    def finish_run(self, run: Run, now: float) -> int:
        """
        Short datagrams that are filled in the same way, each to the last byte.

        @return: bytes of all of them; 0 when no more may be sealed.
        """
        keys, contents, recovery = self._sending, run.contents, self.recovery
        count = len(contents)
        departures = self._departures = self._departures or Departures()
        if keys is None or keys.spent(departures.waiting + count):
            run.source.lost(run.start, run.start + count * run.step)
            return 0
        size = self.path.mtu
        start, at = run.start, 0
        while at < count:
            first, some = recovery.take_numbers(count - at)
            departures.add_run(first, contents[at : at + some])
            contents_of = [(run.source, start, start + some * run.step)]
            recovery.sent(Sent(first + some - 1, now, size, contents_of, False, some, run.step))
            if type(self._trace) is not NullTrace:
                for number in range(first, first + some):
                    self._trace.sent(now, number, size, False)
            start += some * run.step
            at += some
        self._count_sent(count, count * size)
        return count * size

    def depart(self, now: float) -> list[bytes]:
        """Seal what was filled."""
        keys, departures = self._sending, self._departures
        if keys is None or departures is None:
            return []
        self._departures = None
        self._use_keys(now)
        datagrams = departures.seal(keys, self.remote_tag)
        if keys.spent():
            self.failure = KeysSpent(SPENT)
        return datagrams

    def _elicits(self, keys: SendingKeys, payload: Payload, now: float) -> bool:
        """Whether an acknowledgement is wanted of a datagram that has no contents."""
        if self.recovery.probes:
            return True
        if self._acknowledged and self.acks.crowded and self.speaks and now >= self._ask_at:  # RFC 9000 §13.2.4
            self._ask_at = now + self.rtt.smoothed
            return True
        return keys.wants_ack and bool(payload.parts)

    def probe(self, now: float) -> bytes | None:
        """
        A datagram that does nothing but find out whether the path carries its size; to be sent alone. It needs room in
        the window, but takes none, waits for no pace, and is nobody's loss (RFC 9000 §14.4).
        """
        keys = self._sending
        if now < self.route.discovery.due_at or keys is None or keys.spent():
            return None
        size = self.route.probe_size(now)
        if not size:
            return None
        payload = Payload(size - header.SHORT.size - keys.overhead)
        self._answers.add_ping(payload)
        payload.contents.clear()
        payload.add(Padding(payload.room).encode())
        number, datagram = self._seal(keys, payload, now)
        self._note_sent(number, len(datagram), payload, now, long=False)
        self.route.probed(number, now)
        return datagram

    def _seal(self, keys: SendingKeys, payload: Payload, now: float) -> tuple[int, bytes]:
        """@return: a short datagram's number, and all of it."""
        number = self.recovery.take_number()
        keys.prepare(number)
        self._use_keys(now)
        if keys.spent():
            self.failure = KeysSpent(SPENT)
        head = short_prefix(keys.phase, self.remote_tag) + (number & 0xFFFFFFFF).to_bytes(4, "big")
        return number, keys.seal(head, payload.parts, number)

    def _note_sent(self, number: int, size: int, payload: Payload, now: float, long: bool) -> None:
        self._count_sent(1, size)
        if payload.contents:
            self.recovery.sent(Sent(number, now, size, payload.contents, long))
        if type(self._trace) is not NullTrace:
            self._trace.sent(now, number, size, long)

    def _count_sent(self, datagrams: int, size: int) -> None:
        self.path.sent(size)
        self.datagrams_sent += datagrams
        self.bytes_sent += size
        self.allowance.spent(size)

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
        acks = self.acks
        if self.failure is not None or self.recovery.probes > 1 or self._awake:
            return False
        if acks.crowded or self._sending is None or self._sending.wants_ack:  # the answer will ask for one itself
            return False
        return acks.deadline is None or acks.due or bool(self._answers.waiting)

    def beat(self, now: float) -> list[bytes]:
        """One datagram of a ping that is due, answers to the peer, and acknowledgements, where there is any of them."""
        if not (self.acks.due or self._answers.waiting or self.recovery.probes):
            return []
        self.finish(self.begin(now, False), now)
        return self.depart(now)

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
        if self._active_at + REST < deadline and self._awake:
            deadline = self._active_at + REST
        return deadline

    @property
    def _awake(self) -> bool:
        """Whether the keys hold anything that can be made again."""
        sending, receiving = self._sending, self._receiving
        return sending is not None and receiving is not None and (sending.awake or receiving.awake)

    def _use_keys(self, now: float) -> None:
        """Something is sealed or opened; it is the first after a rest, perhaps."""
        if now >= self._active_at + REST:
            self._rest()
        self._active_at = now

    def _rest(self) -> None:
        if self._sending is not None and self._receiving is not None:
            self._sending.rest()
            self._receiving.rest()

    def timeout(self, now: float) -> Beat:
        """
        Time has passed; harmless when early.

        @return: L{Beat.DEAD} when the peer is to be given up.
        """
        self.acks.timeout(now)
        self.route.timeout(now)
        if now >= self._active_at + REST:
            self._rest()
        beat = self.heartbeat.timeout(now)
        if beat is Beat.PING:
            self.wake()
        return beat

    def wake(self) -> None:
        """Ask for a sign of the peer's life."""
        if not self.recovery.probes:
            self.recovery.probes = 1
