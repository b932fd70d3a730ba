"""
What the tests of the core's upper rooms share: connections joined in memory, in virtual time, and a peer
that says exactly what a test tells it to.

A L{Wire} joins a starter and a listener's L{hypermail.demux.Demux} by a network that delays, and that loses
what a test points at. A L{Puppet} takes one side's place and speaks packets. The L{Application} of a side
answers as its flags say and remembers what it was told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from heapq import heappop, heappush
from random import Random
from typing import Self, TypeVar

from hypermail.connection import Connection
from hypermail.demux import Demux
from hypermail.errors import HypermailError
from hypermail.events import (
    DirectsReceived,
    Event,
    MessagesReceived,
    MessagesSettled,
    SessionEnded,
    SessionOpened,
    SessionRequested,
    StreamData,
    StreamEnded,
    StreamFinished,
    StreamOptions,
    StreamRequested,
)
from hypermail.link.train import Train
from hypermail.messages.message import OutgoingMessage
from hypermail.options import ListenerOptions, Mode, Options, Role, Way
from hypermail.security.handshake import PlainHandshake
from hypermail.security.seal import PlainSeal
from hypermail.streams.stream import Stream
from hypermail.testing.modes import PLAIN, Handshakes
from hypermail.wire import header
from hypermail.wire import packets as p
from hypermail.wire.codec import decode
from hypermail.wire.parameters import Parameters
from hypermail.wire.ranges import RangeSet

E = TypeVar("E")
P = TypeVar("P")

STARTER, LISTENER = ADDRESSES = "the starter's address", "the listener's address"

#: What a puppet says of itself.
GENEROUS = Parameters(
    max_message=1 << 24,
    allowance_bytes=1 << 25,
    allowance_messages=65_536,
    max_lanes=256,
    max_streams=4_096,
    stream_window=16_384,
    receive_buffer=1 << 22,
    max_datagram=65_507,
    silence=30_000,
    incarnation=7,
    persistence=1,
    reset_token=b"",
)


def inside(datagram: bytes) -> list[p.Packet]:
    """The packets of a datagram; none when it is no long or short one."""
    view = memoryview(datagram)
    if view[0] & 0xF0 == header.Kind.LONG:
        head = header.decode_long(view)
        start = head.length if head is not None else len(view)
    elif view[0] & 0xFE == header.Kind.SHORT:
        start = header.SHORT.size
    else:
        return []
    return decode(view[start:-4])


def raise_faults(demux: Demux) -> None:
    """What the core has failed on fails the test."""
    for _, error in demux.faults():
        raise error


def holds(datagram: bytes, kind: type) -> bool:
    """Whether a datagram has a packet of a kind."""
    return any(isinstance(packet, kind) for packet in inside(datagram))


class Application:
    """
    What runs over a session: it answers as its flags say, and remembers.

    @ivar accepts: whether it accepts the session; None for not answering.
    @ivar takes: whether it takes messages at once; else they wait in C{untaken}.
    @ivar accepts_streams: whether it accepts streams; None for not answering.
    @ivar finishes: whether it finishes a stream whose other direction is complete.
    @ivar reply: called with each event, after what the flags say was done.
    """

    def __init__(self) -> None:
        self.accepts: bool | None = True
        self.takes = True
        self.accepts_streams: bool | None = True
        self.finishes = True
        self.reply: Callable[[Event], None] = lambda event: None
        self.events: list[Event] = []
        self.messages: dict[int, list[bytes]] = {}
        self.untaken: list[MessagesReceived] = []
        self.directs: list[bytes] = []
        self.settled: list[OutgoingMessage] = []
        self.streams: list[Stream] = []
        self.data: dict[int, bytearray] = {}
        self.ends: dict[int, HypermailError | None] = {}

    def pump(self, connection: Connection, now: float) -> None:
        """Take all events of a connection."""
        while (event := connection.next_event()) is not None:
            self.events.append(event)
            self._answer(connection, event, now)
            self.reply(event)

    def _answer(self, connection: Connection, event: Event, now: float) -> None:
        if isinstance(event, SessionRequested):
            if self.accepts:
                connection.accept(now=now)
            elif self.accepts is False:
                connection.reject(77, "not today", now=now)
        elif isinstance(event, MessagesReceived):
            self.messages.setdefault(event.lane.number, []).extend(event.messages)
            if self.takes:
                event.lane.take(event.first, len(event.messages))
            else:
                self.untaken.append(event)
        elif isinstance(event, DirectsReceived):
            self.directs += event.messages
        elif isinstance(event, MessagesSettled):
            self.settled += event.messages
        elif isinstance(event, StreamRequested):
            self.streams.append(event.stream)
            if self.accepts_streams:
                event.stream.accept()
            elif self.accepts_streams is False:
                event.stream.refuse(78, "no streams")
        elif isinstance(event, StreamData):
            self.data.setdefault(event.stream.id, bytearray()).extend(b"".join(event.pieces))
        elif isinstance(event, StreamFinished):
            if self.finishes:
                event.stream.finish()
        elif isinstance(event, StreamEnded):
            self.ends[event.stream.id] = event.error

    def of(self, kind: type[E]) -> list[E]:
        """The events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def kinds(self) -> list[type]:
        """The kinds of all events, in order."""
        return [type(event) for event in self.events]

    @property
    def error(self) -> HypermailError | None:
        """How the session ended, if it has."""
        ends = self.of(SessionEnded)
        return ends[-1].error if ends else None

    def take_all(self) -> None:
        """Take everything that waits."""
        for event in self.untaken:
            event.lane.take(event.first, len(event.messages))
        self.untaken.clear()


class Wire:
    """
    A starter and a listener, joined.

    @param starter: the starter's options.
    @param listener: the listener's.
    @param delay: s, one way.
    @param handshakes: how the sessions are sealed.
    @param now: s; the time when it begins.
    @param discovers: whether both sides try how large datagrams may be; here they may be of any size.
    @ivar lose: says of each datagram, with its sender's role, whether the network loses it.
    @ivar alter: makes of each datagram that is not lost what arrives.
    @ivar sent: every datagram that was sent, with its sender's role, the lost ones included.
    @ivar strays: where to, and what, was sent to other addresses than the two sides'; it arrives nowhere.
    """

    def __init__(
        self,
        starter: Options = Options(),
        listener: Options = Options(),
        *,
        delay: float = 0.01,
        seed: int = 1,
        listener_options: ListenerOptions = ListenerOptions(),
        handshakes: Handshakes = PLAIN,
        now: float = 1000.0,
        discovers: bool = False,
    ) -> None:
        starter = replace(starter, discover_mtu=discovers)
        listener = replace(listener, discover_mtu=discovers)
        self.now = now
        self.random = Random(seed)
        self.delay = delay
        self.lose: Callable[[Role, bytes], bool] = lambda role, datagram: False
        self.alter: Callable[[Role, bytes], bytes] = lambda role, datagram: datagram
        self.sent: list[tuple[Role, bytes]] = []
        self.strays: list[tuple[object, bytes]] = []
        self.demux = Demux(
            options=listener,
            listener_options=listener_options,
            handshake=handshakes.listener,
            random_bytes=self.random.randbytes,
        )
        self.starter = Connection.starter(
            LISTENER, options=starter, now=self.now, random_bytes=self.random.randbytes, handshake=handshakes.starter
        )
        self.starting = Demux(options=starter, handshake=None, random_bytes=self.random.randbytes)
        self.starting.add(self.starter)
        self.here = Application()
        self.there = Application()
        self._accepted: Connection | None = None
        self._flying: list[tuple[float, int, Role, object, bytes]] = []
        self._serial = 0

    @property
    def listener(self) -> Connection:
        """The listener's connection, the last one that came about."""
        assert self._accepted is not None, "the listener has no connection"
        return self._accepted

    def flush(self) -> None:
        """Take both sides' events, and send what they have to say."""
        self._flush(self.starter)
        for connection in self.demux.connections:
            self._flush(connection)

    def _flush(self, connection: Connection) -> None:
        application = self.here if connection is self.starter else self.there
        application.pump(connection, self.now)
        while trains := connection.trains(now=self.now):
            self._send(connection.role, trains)
        application.pump(connection, self.now)
        if connection.ended:
            (self.starting if connection is self.starter else self.demux).forget(connection)

    def _send(self, role: Role, trains: Iterable[Train]) -> None:
        for train in trains:
            for datagram in train.datagrams:
                if train.address != ADDRESSES[1 - role]:
                    self.strays.append((train.address, datagram))
                    continue
                self.sent.append((role, datagram))
                if not self.lose(role, datagram):
                    self._serial += 1
                    arrival = self.now + self.delay
                    heappush(self._flying, (arrival, self._serial, role, ADDRESSES[role], self.alter(role, datagram)))

    def inject(self, role: Role, datagram: bytes, address: object = None) -> None:
        """Have a datagram arrive as if C{role} had sent it just now, from its own or another address."""
        self._serial += 1
        heappush(self._flying, (self.now, self._serial, role, address or ADDRESSES[role], datagram))

    def _next(self) -> float | None:
        times = [self._flying[0][0]] if self._flying else []
        for connection in (self.starter, *self.demux.connections):
            deadline = connection.next_timeout()
            if deadline is not None:
                times.append(deadline)
        return max(self.now, min(times)) if times else None

    def step(self) -> bool:
        """Go on to the next thing that happens. @return: whether there was any."""
        self.flush()
        after = self._next()
        if after is None:
            return False
        self.now = after
        arrived: dict[tuple[Role, object], list[memoryview]] = {}
        while self._flying and self._flying[0][0] <= self.now:
            _, _, role, address, datagram = heappop(self._flying)
            arrived.setdefault((role, address), []).append(memoryview(datagram))
        for (role, address), datagrams in arrived.items():
            if role is Role.LISTENER:
                self.starting.receive(datagrams, address, now=self.now)
                raise_faults(self.starting)
            else:
                for connection in self.demux.receive(datagrams, address, now=self.now):
                    self._accepted = connection
                raise_faults(self.demux)
                self._send(Role.LISTENER, self.demux.replies())
        if arrived:
            self.flush()
        for connection in (self.starter, *self.demux.connections):
            deadline = connection.next_timeout()
            if deadline is not None and deadline <= self.now:
                connection.handle_timeout(now=self.now)
        self.flush()
        return True

    def run(self, seconds: float) -> None:
        """Let so much time pass."""
        end = self.now + seconds
        self.flush()
        while (after := self._next()) is not None and after <= end:
            self.step()
        self.now = end

    def until(self, condition: Callable[[], object], seconds: float = 60.0) -> None:
        """
        Let time pass until something is so.

        @raise AssertionError: when it isn't within C{seconds}.
        """
        end = self.now + seconds
        self.flush()
        while not condition():
            after = self._next()
            assert after is not None and after <= end, (
                f"not within {seconds} s; statistics: {self.starter.statistics()}"
            )
            self.step()

    def open(self) -> Self:
        """Let the session open on both sides. @return: itself."""
        self.until(lambda: self.here.of(SessionOpened) and self.there.of(SessionOpened))
        self.run(4 * self.delay)
        return self

    def close(self, seconds: float = 60.0) -> None:
        """Let the starter close the session, and wait until nothing is left of it."""
        self.starter.close(now=self.now)
        self.until(lambda: self.starter.ended and not len(self.demux), seconds)

    def lose_first(self, role: Role, kind: type, count: int = 1) -> None:
        """Lose the first datagrams of one side that hold a packet of a kind."""
        left = [count]

        def lose(sender: Role, datagram: bytes) -> bool:
            if sender is not role or not left[0] or not holds(datagram, kind):
                return False
            left[0] -= 1
            return True

        self.lose = lose

    def packets(self, role: Role, kind: type[P]) -> list[P]:
        """The packets of a kind that one side has sent."""
        return [
            packet
            for sender, datagram in self.sent
            if sender is role
            for packet in inside(datagram)
            if isinstance(packet, kind)
        ]


class Puppet:
    """
    A peer that says what it is told to, to a real side with an application.

    @param role: of the puppet.
    @param options: of the real side.
    @param parameters: what the puppet says of itself.
    @ivar acks: whether it acknowledges what it hears.
    @ivar heard: all packets of the real side, but acknowledgements and padding.
    """

    def __init__(
        self,
        role: Role = Role.STARTER,
        options: Options = Options(),
        *,
        parameters: Parameters = GENEROUS,
        way: Way = Way.TWO_WAY,
        listener_options: ListenerOptions = ListenerOptions(),
        accepts: bool | None = True,
        opens: bool = True,
        discovers: bool = False,
    ) -> None:
        options = replace(options, discover_mtu=discovers)
        self.role = role
        self.now = 1000.0
        self.random = Random(1)
        self.parameters = parameters
        self.way = way
        self.acks = True
        self.heard: list[p.Packet] = []
        self.application = Application()
        self.application.accepts = accepts
        self.tag = 0x7070_7070_7070_7070
        self.number = 0
        self.last = 0
        self._seal = PlainSeal()
        self._received: set[int] = set()
        self.demux = Demux(
            options=options,
            listener_options=listener_options,
            handshake=PlainHandshake if role is Role.STARTER else None,
            random_bytes=self.random.randbytes,
        )
        self.first_tag = 0x6060_6060_6060_6060
        self.their_tag = self.first_tag
        self._victim: Connection | None = None
        if role is Role.LISTENER:
            self._victim = Connection.starter(
                LISTENER, options=options, now=self.now, random_bytes=self.random.randbytes, handshake=PlainHandshake
            )
            self.demux.add(self._victim)
        if opens:
            self.open()

    @property
    def victim(self) -> Connection:
        """The real side."""
        assert self._victim is not None, "there is no connection"
        return self._victim

    def open(self) -> None:
        """Open the session."""
        if self.role is Role.STARTER:
            self.hear(self.long(p.Handshake(0, b"")))
            self.say(p.SessionOpen(self.way, self.parameters))
        else:
            self.listen()
            self.hear(self.long(p.Ack(0, ((0, 1),)), p.Handshake(0, b"")))
            self.say(p.SessionOpenAck(self.parameters))

    def long(self, *packets: p.Packet) -> bytes:
        """A long datagram, padded as a hello has to be."""
        head = header.Long(Mode.PLAIN, header.VERSION, self.their_tag, self.tag, self.number, b"", 0)
        body = b"".join(packet.encode() for packet in packets)
        if self.role is Role.STARTER:
            body += p.Padding(header.LEAST_HELLO - header.LONG.size - 4 - len(body)).encode()
        self.number += 1
        return self._seal.seal(header.encode_long(head), [body], self.number - 1)

    def short(self, *packets: p.Packet | bytes) -> bytes:
        """A short datagram with packets, or bytes that are none."""
        parts = [packet if isinstance(packet, bytes) else packet.encode() for packet in packets]
        self.number += 1
        return self._seal.seal(header.encode_short(self.their_tag, self.number - 1), parts, self.number - 1)

    def say(self, *packets: p.Packet | bytes) -> list[p.Packet]:
        """Send packets in one datagram. @return: what the real side says thereupon."""
        return self.hear(self.short(*packets))

    def hear(self, *datagrams: bytes) -> list[p.Packet]:
        """Send datagrams in one read. @return: what the real side says thereupon."""
        views = [memoryview(datagram) for datagram in datagrams]
        touched = self.demux.receive(views, STARTER, now=self.now)
        raise_faults(self.demux)
        for connection in touched:
            self._victim = connection
        return self.listen()

    def listen(self) -> list[p.Packet]:
        """Hear what the real side has to say now, and acknowledge it."""
        heard: list[p.Packet] = []
        while self._victim is not None:
            news = False
            self.application.pump(self._victim, self.now)
            while trains := self._victim.trains(now=self.now):
                for train in trains:
                    for datagram in train.datagrams:
                        news = self._take(datagram, heard) or news
            self.application.pump(self._victim, self.now)
            if not news or not self.acks or self._victim.ended:
                break
            self.hear_quietly(self.short(self.ack()))
        self.heard += heard
        return heard

    def hear_quietly(self, datagram: bytes) -> None:
        """Send a datagram and don't listen."""
        self.demux.receive([memoryview(datagram)], STARTER, now=self.now)

    def ack(self) -> p.Ack:
        """An acknowledgement of everything that was heard."""
        ranges = RangeSet((number, number + 1) for number in sorted(self._received or {0}))
        return p.Ack(0, ranges.highest(-1, len(ranges)))

    def _take(self, datagram: bytes, heard: list[p.Packet]) -> bool:
        view = memoryview(datagram)
        long = view[0] & 0xF0 == header.Kind.LONG
        if long:
            head = header.decode_long(view)
            assert head is not None
            self.their_tag = head.source
            number = head.low
        else:
            number = header.SHORT.unpack_from(view)[2]
        self._received.add(number)
        packets = [packet for packet in inside(datagram) if not isinstance(packet, p.Ack | p.Padding)]
        heard += packets
        return bool(packets) and not long

    def wait(self, seconds: float) -> list[p.Packet]:
        """Let time pass. @return: what the real side says meanwhile."""
        end = self.now + seconds
        heard: list[p.Packet] = []
        while True:
            deadline = self.victim.next_timeout()
            if deadline is None or deadline > end:
                break
            self.now = max(self.now, deadline)
            self.victim.handle_timeout(now=self.now)
            heard += self.listen()
        self.now = end
        return heard

    def of(self, kind: type[P]) -> list[P]:
        """The packets of a kind that were heard."""
        return [packet for packet in self.heard if isinstance(packet, kind)]

    def said(self, *packets: p.Packet | bytes) -> HypermailError | None:
        """Send packets. @return: how the session has ended by it, if it has."""
        self.say(*packets)
        return self.application.error


def options_of(attributes: dict[str, bytes], length: int | None = None) -> StreamOptions:
    """Options of a stream."""
    return StreamOptions(attributes, length)
