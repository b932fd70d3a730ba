"""
What the tests of dialect C{digest} share: sockets on a network that loses, doubles and reorders, in virtual time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from heapq import heappop, heappush
from math import inf
from random import Random
from typing import Any, NamedTuple

from hypermail import events
from hypermail.dialects.digest.client import DigestClient
from hypermail.dialects.digest.connection import DigestConnection
from hypermail.dialects.digest.demux import DigestDemux
from hypermail.dialects.digest.dialect import Digest
from hypermail.dialects.digest.packets import DigestPacket, PacketType, build, parse, uuid_bytes
from hypermail.dialects.digest.server import DigestServer
from hypermail.dialects.digest.timestamps import write
from hypermail.link.train import Train
from hypermail.options import ListenerOptions

#: s since 1970 when virtual time begins; s that a datagram takes.
BEGINNING = 1_790_000_000.25
DELAY = 0.01

CLIENT_UUID = "00112233-4455-6677-8899-aabbccddeeff"
SERVER_UUID = "ffeeddcc-bbaa-9988-7766-554433221100"
SECRETS = {CLIENT_UUID: b"client", SERVER_UUID: b"server"}


class Place(NamedTuple):
    """An address, with something in it that nobody looks at."""

    host: str
    port: int
    local: str = "here"


SERVER = Place("192.0.2.1", 4700)
CLIENT = Place("198.51.100.7", 50_000)


class Sent(NamedTuple):
    """A datagram on its way."""

    source: Place
    to: Place
    datagram: bytes

    @property
    def packet(self) -> DigestPacket:
        """What it carries."""
        packet = parse(self.datagram)
        assert packet is not None, self.datagram
        return packet


class Network:
    """
    Sockets and what is between them.

    @ivar now: s, virtual.
    @ivar loss: of how many a datagram is lost; C{doubled}: or arrives twice; C{jitter}: s that it may take longer than
        C{delay}.
    @ivar log: everything that was sent.
    @ivar change: is given each datagram that is sent, and gives what is to travel in its place; None for nothing.
    """

    def __init__(
        self, seed: int = 0, *, loss: float = 0.0, doubled: float = 0.0, jitter: float = 0.0, delay: float = DELAY
    ) -> None:
        self.random = Random(seed)
        self.delay = delay
        self.now = 100.0
        self.loss = loss
        self.doubled = doubled
        self.jitter = jitter
        self.log: list[Sent] = []
        self.logging = True
        self.change: Callable[[Sent], bytes | None] = lambda sent: sent.datagram
        self.hosts: dict[tuple[str, int], Host] = {}
        self._flying: list[tuple[float, int, Sent]] = []
        self._count = 0

    def wall(self) -> float:
        """s since 1970."""
        return BEGINNING + self.now

    def send(self, sent: Sent) -> None:
        """A datagram leaves."""
        if self.logging:
            self.log.append(sent)
        changed = self.change(sent)
        if changed is None:
            return
        for _ in range(1 + (self.random.random() < self.doubled)):
            if self.random.random() >= self.loss:
                self.deliver(sent._replace(datagram=changed), self.delay + self.random.random() * self.jitter)

    def deliver(self, sent: Sent, delay: float = 0.0) -> None:
        """A datagram arrives, without fail."""
        self._count += 1
        heappush(self._flying, (self.now + delay, self._count, sent))

    def run(self, seconds: float = 1.0, until: Callable[[], bool] = lambda: False) -> bool:
        """Let time pass. @return: whether what was waited for has happened."""
        end = self.now + seconds
        while not until():
            due = min((host.next_timeout() for host in self.hosts.values()), default=inf)
            flying = self._flying[0][0] if self._flying else inf
            if min(due, flying) > end:
                self.now = end
                return until()
            if flying <= due:
                self.now, _, sent = heappop(self._flying)
                host = self.hosts.get(sent.to[:2])
                if host is not None:
                    host.receive(sent.datagram, sent.source)
            else:
                self.now = max(self.now, due)
                for host in list(self.hosts.values()):
                    host.timeout()
        return True


class Host:
    """
    One socket, and an application that takes everything, unless it is told otherwise.

    @ivar happened: events of each connection, without messages.
    @ivar received: messages of each connection.
    @ivar taking: whether messages are taken at once; else they are in C{untaken}.
    @ivar answer: what becomes of who asks for a session: True, False, or None for later.
    @ivar asking: whether inquiries are answered at once; else they are in C{inquiries}.
    """

    def __init__(
        self,
        network: Network,
        address: Place,
        options: Digest,
        *,
        listening: bool = False,
        listener_options: ListenerOptions = ListenerOptions(),
    ) -> None:
        self.network = network
        self.address = address
        self.demux: DigestDemux = options.demux(
            listening=listening,
            listener_options=listener_options,
            port=address.port,
            random_bytes=network.random.randbytes,
            wall=network.wall,
        )
        self.options = options
        self.happened: dict[DigestConnection, list[Any]] = {}
        self.received: dict[DigestConnection, list[bytes]] = {}
        self.directs: dict[DigestConnection, list[bytes]] = {}
        self.untaken: list[tuple[Any, int]] = []
        self.taking = True
        self.asking = True
        self.inquiries: list[Any] = []
        self.answer: bool | None = True
        self._live: dict[DigestConnection, None] = {}
        network.hosts[address[:2]] = self

    @property
    def sessions(self) -> list[DigestConnection]:
        """Those that were ever there."""
        return list(self.happened)

    def start(self, to: Place = SERVER) -> DigestClient:
        """Ask for a session."""
        connection = self.demux.start(to, options=self.options, now=self.network.now)
        self.attend(connection)
        return connection

    def receive(self, datagram: bytes, source: Place) -> None:
        """A datagram is there; its memory is somebody else's afterwards."""
        memory = bytearray(datagram)
        touched = self.demux.receive([memoryview(memory)], source, now=self.network.now)
        memory[:] = bytes(len(memory))
        self._after(touched)

    def _after(self, touched: list[DigestConnection]) -> None:
        faults = self.demux.faults()
        if faults:
            raise faults[0][1]
        for connection in touched:
            self.attend(connection)
        self._send(self.demux.replies())
        inquiries, self.demux.inquiries = self.demux.inquiries, []
        for inquiry in inquiries:
            if self.asking:
                self._after(inquiry.answer(inquiry.question(), self.network.now))
            else:
                self.inquiries.append(inquiry)

    def answered(self, inquiry: Any, secret: bytes | None) -> None:
        """An inquiry has its answer."""
        self._after(inquiry.answer(secret, self.network.now))

    def next_timeout(self) -> float:
        """s when one of the connections wants to be called."""
        times = (connection.next_timeout() for connection in self._live)
        return min((at for at in times if at is not None), default=inf)

    def timeout(self) -> None:
        """Call those that want to be."""
        now = self.network.now
        for connection in list(self._live):
            at = connection.next_timeout()
            if at is not None and at <= now:
                connection.handle_timeout(now=now)
                self.attend(connection)
                after = connection.next_timeout()
                assert after is None or connection.ended or after > now, "it wants to be called for ever"

    def attend(self, connection: DigestConnection) -> None:
        """As the pump does."""
        self._live[connection] = None
        self.happened.setdefault(connection, [])
        self.received.setdefault(connection, [])
        self.directs.setdefault(connection, [])
        self._drain(connection)
        self._send(connection.trains(now=self.network.now))
        while self._drain(connection):
            self._send(connection.trains(now=self.network.now))
        if connection.ended:
            del self._live[connection]
            self.demux.forget(connection)

    def _drain(self, connection: DigestConnection) -> bool:
        happened = False
        while (event := connection.next_event()) is not None:
            happened = True
            self._deal(connection, event)
        return happened

    def _deal(self, connection: DigestConnection, event: Any) -> None:
        now = self.network.now
        if isinstance(event, events.MessagesReceived):
            self.received[connection] += event.messages
            if self.taking:
                event.lane.take(event.first, len(event.messages))
            else:
                self.untaken += [(event.lane, event.first + at) for at in range(len(event.messages))]
        elif isinstance(event, events.DirectsReceived):
            self.directs[connection] += event.messages
        else:
            self.happened[connection].append(event)
            if isinstance(event, events.SessionRequested) and self.answer is True:
                connection.accept({}, now=now)
            elif isinstance(event, events.SessionRequested) and self.answer is False:
                connection.reject(5, "no", now=now)

    def take_all(self) -> None:
        """The application takes what it has not taken."""
        for lane, number in self.untaken:
            lane.take(number)
        self.untaken.clear()
        for connection in list(self._live):
            self.attend(connection)

    def _send(self, trains: list[Train]) -> None:
        for train in trains:
            for datagram in train.datagrams:
                self.network.send(Sent(self.address, train.address, datagram))

    def end_of(self, connection: DigestConnection) -> Exception | None:
        """What has ended a session."""
        ends = [each.error for each in self.happened[connection] if isinstance(each, events.SessionEnded)]
        assert len(ends) <= 1
        return ends[0] if ends else None

    def fates(self, connection: DigestConnection) -> list[Any]:
        """What has become of messages, in the order of becoming known: None, or the error."""
        settled = [each.messages for each in self.happened[connection] if isinstance(each, events.MessagesSettled)]
        return [message.error for messages in settled for message in messages]


def client_options(**options: Any) -> Digest:
    """A keyed client's."""
    given = {"uuid": CLIENT_UUID, "secret": b"client", "secrets": SECRETS}
    return Digest(**(given | options))


def server_options(**options: Any) -> Digest:
    """A keyed server's."""
    given = {"uuid": SERVER_UUID, "secret": b"server", "secrets": SECRETS}
    return Digest(**(given | options))


class Pair:
    """
    A client and a server.

    @param plain: whether digests are plain.
    """

    def __init__(
        self,
        network: Network | None = None,
        *,
        plain: bool = False,
        client: Mapping[str, Any] | None = None,
        server: Mapping[str, Any] | None = None,
        listener_options: ListenerOptions = ListenerOptions(),
    ) -> None:
        self.network = network or Network()
        keys: dict[str, Any] = {"secret": None, "secrets": None, "plain": True} if plain else {}
        self.client = Host(self.network, CLIENT, client_options(**keys, **(client or {})))
        self.server = Host(
            self.network,
            SERVER,
            server_options(**keys, **(server or {})),
            listening=True,
            listener_options=listener_options,
        )

    def open(self) -> tuple[DigestClient, DigestServer]:
        """A session, both sides."""
        ours = self.client.start()
        assert self.network.run(10, lambda: ours.state.name == "OPEN"), ours.statistics()
        theirs = self.server.sessions[-1]
        assert isinstance(theirs, DigestServer)
        return ours, theirs


class Stranger:
    """
    Who makes packets by hand.

    @ivar order: of the next.
    """

    def __init__(
        self, network: Network, *, uuid: str = CLIENT_UUID, secret: bytes | None = b"client", address: Place = CLIENT
    ) -> None:
        self.network = network
        self.uuid = uuid_bytes(uuid)
        self.secret = secret
        self.address = address
        self.order = 0

    def packet(
        self,
        type: PacketType,
        payload: bytes | None = None,
        *,
        order: int | None = None,
        late: float = 0.0,
        room: int = 30,
    ) -> bytes:
        """
        A packet.

        @param payload: None for the time.
        @param order: None for the next.
        @param late: s; how old the time is.
        @param room: bytes of its form.
        """
        if order is None:
            order = self.order
            self.order += 1
        text = write(int((self.network.wall() - late) * 1e9), room) if payload is None else payload
        assert text is not None
        return build(type, self.uuid, order, text, self.secret)

    def say(self, type: PacketType, payload: bytes | None = None, to: Place = SERVER, **how: Any) -> bytes:
        """A packet leaves, and arrives at once. @return: it."""
        packet = self.packet(type, payload, **how)
        self.hand(packet, to)
        return packet

    def hand(self, datagram: bytes, to: Place = SERVER) -> None:
        """A datagram is received at once."""
        self.network.hosts[to[:2]].receive(datagram, self.address)

    def heard(self) -> list[DigestPacket]:
        """What was sent to it so far."""
        return [sent.packet for sent in self.network.log if sent.to[:2] == self.address[:2]]

    def heard_types(self) -> list[PacketType]:
        """The types of what was sent to it so far."""
        return [packet.type for packet in self.heard()]
