"""
The sending half of a link: short datagrams are begun, filled by those who have something to say, finished, and sealed
together when the turn's last one is filled.
"""

from __future__ import annotations

from hypermail.errors import HypermailError, KeysSpent
from hypermail.link.acks import Acks
from hypermail.link.answers import Answers
from hypermail.link.departures import Departures, short_prefix
from hypermail.link.flight import Flight
from hypermail.link.keys import SendingKeys, Usage
from hypermail.link.payload import Payload, Run, Sent
from hypermail.link.route import Route
from hypermail.link.train import Train
from hypermail.trace import NullTrace
from hypermail.wire import header
from hypermail.wire.packets import Padding

#: Bytes; a full datagram that lacks no more than this is padded, since equal sizes make trains.
MOST_PADDING = 300
#: Bytes; no UDP payload is larger.
LARGEST = 65_507

SPENT = "the peer has acknowledged nothing for as long as a key may be used"

# Looked up with each datagram: a name of the module is found faster than an attribute of one.
_HEADER = header.SHORT.size


class Outbound:
    """
    Of one link.

    @param tag: that the datagrams bear.
    @param usage: of the link's keys.

    @ivar keys: that they are sealed with; None while there are none.
    @ivar flight: what the handshake has still to say; None when it has served.
    @ivar speaks: whether anything but acknowledgements and the handshake may be said.
    @ivar failure: why nothing more can be sent, once nothing can.
    @ivar datagrams: how many have left, long ones included.
    @ivar bytes: of these.
    """

    __slots__ = (
        "_acknowledged",
        "_acks",
        "_allowance",
        "_answers",
        "_ask_at",
        "_departures",
        "_path",
        "_recovery",
        "_route",
        "_trace",
        "_usage",
        "bytes",
        "datagrams",
        "failure",
        "flight",
        "keys",
        "speaks",
        "tag",
    )

    def __init__(self, route: Route, acks: Acks, answers: Answers, tag: int, usage: Usage, trace: NullTrace) -> None:
        self._route = route
        self._path, self._recovery, self._allowance = route.path, route.recovery, route.allowance
        self._acks = acks
        self._answers = answers
        self._usage = usage
        self._trace = trace
        self.tag = tag
        self.keys: SendingKeys | None = None
        self.flight: Flight | None = None
        self.speaks = False
        self.failure: HypermailError | None = None
        self.datagrams = 0
        self.bytes = 0
        self._acknowledged = 0  # what the datagram that is being filled acknowledges, all below it
        self._departures: Departures | None = None  # while a turn's datagrams are filled
        self._ask_at = 0.0  # not before that is the peer asked to acknowledge an acknowledgement

    @property
    def room(self) -> int:
        """Bytes that a short datagram has for packets."""
        return self._path.mtu - _HEADER - (self.keys.overhead if self.keys is not None else 0)

    @property
    def interrupted(self) -> bool:
        """Whether the next datagram is not only for what the session has to say."""
        if self._acks.due or self._recovery.probes or self.flight is not None:
            return True
        return bool(self._answers.waiting)

    # Several that leave together

    def begin(self, now: float, talkative: bool, most: int = LARGEST) -> Payload:
        """
        A short datagram to be filled.

        @param talkative: whether something will follow, so that acknowledgements may ride along.
        @param most: bytes that it may have at most, where that is less than a full one.
        """
        acks, answers, mtu = self._acks, self._answers.waiting, self._path.mtu
        keys = self.keys
        room = (most if most < mtu else mtu) - _HEADER
        payload = Payload(room if keys is None else room - keys.overhead)
        self._acknowledged = 0
        if acks.due or ((talkative or answers) and acks.pending):
            self._acknowledged = acks.largest + 1
            payload.add(acks.packet(now).encode())
        if answers:
            self._answers.fill(payload)
        if self.flight is not None:
            self.flight.fill(payload)
        return payload

    def finish(self, payload: Payload, now: float) -> int:
        """
        A short datagram is filled; it gets a ping when a probe would be empty. L{depart} gives it out.

        @return: bytes of it; 0 when there is nothing to say.
        """
        keys = self.keys
        departures = self._departures
        contents = payload.contents
        if keys is None or keys.left <= (departures.waiting if departures is not None else 0):
            for source, start, stop in contents:  # it may be for another link
                source.lost(start, stop)
            return 0
        if contents:
            if self._acknowledged:
                contents.append((self._acks, 0, self._acknowledged))
        elif self._elicits(keys, payload, now):
            self._answers.add_ping(payload)
            if self._acknowledged:
                contents.append((self._acks, 0, self._acknowledged))
        elif not payload.parts:
            return 0
        if payload.full and 0 < payload.room <= MOST_PADDING:
            payload.add(Padding(payload.room).encode())
        number = self._recovery.take_number()
        size = _HEADER + keys.overhead + payload.size
        if departures is None:
            departures = self._departures = Departures()
        departures.add(number, payload.parts)
        self.sent(number, size, payload, now, long=False)
        return size

    def finish_run(self, run: Run, now: float) -> int:
        """
        Short datagrams that are filled in the same way, each to the last byte.

        @return: bytes of all of them; 0 when no more may be sealed.
        """
        keys, contents, recovery = self.keys, run.contents, self._recovery
        count = len(contents)
        departures = self._departures = self._departures or Departures()
        if keys is None or keys.left <= departures.waiting + count:
            run.source.lost(run.start, run.start + count * run.step)
            return 0
        size = self._path.mtu
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
        self._count(count, count * size)
        return count * size

    def depart(self, now: float) -> list[bytes]:
        """Seal what was filled."""
        keys, departures = self.keys, self._departures
        if keys is None or departures is None:
            return []
        self._departures = None
        self._usage.used(now)
        datagrams = departures.seal(keys, self.tag)
        if keys.left <= 0:
            self.failure = KeysSpent(SPENT)
        return datagrams

    def _elicits(self, keys: SendingKeys, payload: Payload, now: float) -> bool:
        """Whether an acknowledgement is wanted of a datagram that has no contents."""
        if self._recovery.probes:
            return True
        if self._acknowledged and self._acks.crowded and self.speaks and now >= self._ask_at:  # RFC 9000 §13.2.4
            self._ask_at = now + self._route.rtt.smoothed
            return True
        return keys.wants_ack and bool(payload.parts)

    # One that leaves alone

    def answer_challenges(self, now: float) -> list[Train]:
        """
        Answers to challenges, and challenges, each in a datagram of its own and where it belongs. They wait for no
        window: they are few.
        """
        trains: list[Train] = []
        answers, moving = self._answers, self._route.moving
        while answers.responses:
            (address, packet, size), *rest = answers.responses
            answers.responses = tuple(rest)
            # Never larger than the question, wherever that says that it comes from.
            self._send_alone(trains, packet, min(size, self._path.base), address, now)
        if moving is not None and now >= moving.due:
            patience = self._route.rtt.probe_timeout
            for path, packet, size in moving.challenges(self._path, self._path.base, now, patience):
                self._send_alone(trains, packet, size, path.address, now)
        return trains

    def _send_alone(self, trains: list[Train], packet: bytes, size: int, address: object, now: float) -> None:
        """Seal one packet, in a datagram of C{size} bytes, for C{address}, or the path's when it is None."""
        keys = self.keys
        if keys is None or keys.left <= 0:
            return
        payload = Payload(size - _HEADER - keys.overhead)
        payload.add(packet)
        if payload.room > 0:
            payload.add(Padding(payload.room).encode())
        _, datagram = self._seal(keys, payload, now)
        trains.append(Train(self._path.address if address is None else address, [datagram]))
        self._route.sent_to(address, len(datagram))

    def probe(self, now: float) -> bytes | None:
        """
        A datagram that does nothing but find out whether the path carries its size; to be sent alone. It needs room in
        the window, but takes none, waits for no pace, and is nobody's loss (RFC 9000 §14.4).
        """
        keys = self.keys
        if keys is None or keys.left <= 0:
            return None
        size = self._route.probe_size(now)
        if not size:
            return None
        payload = Payload(size - _HEADER - keys.overhead)
        self._answers.add_ping(payload)
        payload.contents.clear()
        payload.add(Padding(payload.room).encode())
        number, datagram = self._seal(keys, payload, now)
        self._route.probed(number, now)
        return datagram

    def _seal(self, keys: SendingKeys, payload: Payload, now: float) -> tuple[int, bytes]:
        """@return: a short datagram's number, and all of it."""
        number = self._recovery.take_number()
        keys.prepare(number)
        self._usage.used(now)
        if keys.left <= 0:
            self.failure = KeysSpent(SPENT)
        head = short_prefix(keys.phase, self.tag) + (number & 0xFFFFFFFF).to_bytes(4, "big")
        datagram = keys.seal(head, payload.parts, number)
        self.sent(number, len(datagram), payload, now, long=False)
        return number, datagram

    # What has left

    def sent(self, number: int, size: int, payload: Payload, now: float, long: bool) -> None:
        """A datagram of C{size} bytes leaves in this turn."""
        if payload.contents:
            self._recovery.sent(Sent(number, now, size, payload.contents, long))
        if type(self._trace) is not NullTrace:
            self._trace.sent(now, number, size, long)
        self._count(1, size)

    def _count(self, datagrams: int, size: int) -> None:
        self.datagrams += datagrams
        self.bytes += size
        self._allowance.spent(size)
        if not self._path.validated:
            self._path.sent(size)
