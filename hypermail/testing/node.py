"""
A simulated UDP socket with the connections that live on it, and what drives them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from hypermail.connection import Connection
from hypermail.demux import Demux
from hypermail.errors import HypermailError, Reason, SessionClosed, SessionRejected, StoreFailed
from hypermail.events import Event, MessagesWanted, ReopenDue, SessionClaimed, StreamOptions
from hypermail.messages.outgoing import OutgoingMessage
from hypermail.options import Delivery, ListenerOptions, Options, Role
from hypermail.session.journal import Change
from hypermail.session.states import State
from hypermail.session.survival import closed_session, unknown_session
from hypermail.streams.stream import Stream
from hypermail.testing.application import CALLBACKS, Application
from hypermail.testing.modes import PLAIN, Handshakes
from hypermail.testing.store import MemoryStore

if TYPE_CHECKING:
    from hypermail.testing.network import Address, SimulatedNetwork

#: Rounds of events and trains at one time, after which the core counts as caught in a loop.
MOST_ROUNDS = 10_000
#: s; an acknowledgement that is delayed, or a train that is paced, comes within this time.
NOT_IDLE = 0.03
#: s after which what could not be written is tried again.
WRITE_AGAIN = 0.1


class Side:
    """
    One side of one session.

    What it offers besides C{connection} is the same, with the time put in; use it, or call L{touch} after
    whatever else was done to the connection or its streams.

    @ivar node: the socket.
    @ivar connection: the core's.
    @ivar application: what the events go to.
    @ivar events: all of them so far.
    @ivar outgoing: every message that was sent with L{send_message}.
    @ivar asks: every ask that was sent with L{ask}.
    @ivar unordered: lanes that were configured so.
    @ivar revived: the id of the session that was claimed over its connection, and taken up from the store.
    """

    def __init__(self, node: Node, connection: Connection, application: Application) -> None:
        self.node = node
        self.network = node.network
        self.connection = connection
        self.application = application
        self.events: list[Event] = []
        self.outgoing: list[OutgoingMessage] = []
        self.asks: list[OutgoingMessage] = []
        self.unordered: set[int] = set()
        self.revived = b""
        self.timer = node.network.timer(self._timeout)
        self._soon = node.network.timer(self.pump)
        self._pumping = False
        application.side = self

    def __repr__(self) -> str:
        return f"<{self.connection.role.name.lower()} at {self.node.address}, {self.connection.state.name.lower()}>"

    # What tests and applications do

    def send_message(self, data: bytes, *, lane: int = 0, expires: float | None = None) -> OutgoingMessage:
        """See L{Connection.send_message}."""
        message = self.connection.send_message(data, lane=lane, expires=expires, now=self.network.now)
        self.outgoing.append(message)
        self.touch()
        return message

    def ask(self, data: bytes) -> OutgoingMessage:
        """See L{Connection.ask}."""
        ask = self.connection.ask(data, now=self.network.now)
        self.asks.append(ask)
        self.touch()
        return ask

    def cancel_message(self, message: OutgoingMessage) -> None:
        """See L{Connection.cancel_message}."""
        self.connection.cancel_message(message, now=self.network.now)
        self.touch()

    def configure_lane(
        self,
        number: int,
        *,
        ordered: bool = True,
        delivery: Delivery = Delivery.ACKED,
        priority: int = 0,
        redundancy: int = 0,
        durable: bool = False,
    ) -> None:
        """See L{Connection.configure_lane}."""
        self.connection.configure_lane(
            number, ordered=ordered, delivery=delivery, priority=priority, redundancy=redundancy, durable=durable
        )
        if not ordered:
            self.unordered.add(number)

    def send_direct(self, data: bytes) -> None:
        """See L{Connection.send_direct}."""
        self.connection.send_direct(data)
        self.touch()

    def open_stream(
        self, name: bytes = b"", data: bytes | None = None, *, options: StreamOptions | None = None
    ) -> Stream:
        """
        See L{Connection.open_stream}.

        @param data: when given, it is written, with back pressure, and the stream finished.
        """
        stream = self.connection.open_stream(name, options or StreamOptions(), now=self.network.now)
        if data is not None:
            self.application.write_all(stream, data)
        self.touch()
        return stream

    def close(self) -> None:
        """See L{Connection.close}."""
        self.connection.close(now=self.network.now)
        self.touch()

    def abort(self, code: int, text: str = "") -> None:
        """See L{Connection.abort}."""
        self.connection.abort(code, text, now=self.network.now)
        self.touch()

    def ping(self) -> None:
        """See L{Connection.ping}."""
        self.connection.ping(now=self.network.now)
        self.touch()

    def touch(self) -> None:
        """Something was done to the connection: drive it on before time goes on."""
        if not self._pumping:
            self._soon.arm(self.network.now)

    # What drives it

    def _timeout(self) -> None:
        self.connection.handle_timeout(now=self.network.now)
        self.pump()

    def pump(self) -> None:
        """Drain events into the application, then trains into the network, then set the timer."""
        if self.node.stopped:
            return
        self._pumping = True
        try:
            self._drain()
        finally:
            self._pumping = False
        if self.connection.ended:
            self.timer.cancel()
            self.node.write(self)
            self.node.forget(self)
            return
        self.node.write(self)
        if self.connection.suspended:
            self.node.demux.forget(self.connection)
        self.timer.arm(self.connection.next_timeout())

    def _drain(self) -> None:
        for _ in range(MOST_ROUNDS):
            self._drain_events()
            trains = self.connection.trains(now=self.network.now)
            if not trains and not self._drain_events():  # an application that was told something may have said more
                return
            for train in trains:
                self._check(train.datagrams)
                self.network.send(self.node.address, train.address, train.datagrams, train.ecn)
        raise AssertionError(f"{self!r} sends without end; {self.network.describe()}")

    def _drain_events(self) -> bool:
        happened = False
        while (event := self.connection.next_event()) is not None:
            happened = True
            if type(event) is ReopenDue:
                self.node.reopen(self)
            elif type(event) is SessionClaimed:
                self.node.claimed(self, event)
            elif type(event) is MessagesWanted:
                self.node.bring(self, event)
            else:
                self.events.append(event)
                CALLBACKS[type(event)](self.application, event)
        return happened

    def written(self, safe: bool) -> None:
        """What the session has asked for first is in the store, or is not."""
        self.connection.changes_written(safe, now=self.network.now)
        self.pump()

    def _check(self, datagrams: list[bytes]) -> None:
        """The rule of trains: equal sizes but for the last, and that is no larger."""
        size = len(datagrams[0])
        if any(len(datagram) != size for datagram in datagrams[:-1]) or not 0 < len(datagrams[-1]) <= size:
            raise AssertionError(f"{self!r} made a train of {[len(datagram) for datagram in datagrams]} bytes")

    @property
    def idle(self) -> bool:
        """Whether nothing happens on this side until somebody does something, or it is time for a ping."""
        connection = self.connection
        if connection.ended:
            return True
        if (
            not connection.linked
            or connection.state in (State.NEW, State.OPENING, State.ENDED)
            or self._soon.when <= self.network.now
        ):
            return False
        statistics = connection.statistics()
        if statistics["in_flight"] or statistics["paced_until"] is not None:
            return False
        return self.timer.when - self.network.now > NOT_IDLE

    def describe(self) -> str:
        """The state of this side in a few lines, for messages."""
        last = ", ".join(type(event).__name__ for event in self.events[-5:])
        timeout = self.connection.next_timeout()
        left = "never" if timeout is None else f"in {timeout - self.network.now:.6f} s"
        return f"{self!r}: timer {left}; events ... {last or 'none'}; {self.connection.statistics()}"


class Node:
    """
    One UDP socket: a listener's, or one on which sessions are started.

    @param network: where it is.
    @param address: of the socket.
    @param options: of its sessions.
    @param listener_options: what it bears from strangers.
    @param accepting: makes an application for each session that a stranger asks for; None for a socket that
        takes none.
    @param handshakes: of its sessions.
    @param store: where durable sessions are kept.

    @ivar demux: the core's.
    @ivar store_delay: s that writing takes.
    @ivar stopped: whether the process was killed.
    @ivar sides: of all sessions so far, in the order of their beginning.
    """

    def __init__(
        self,
        network: SimulatedNetwork,
        address: Address,
        *,
        options: Options | None = None,
        listener_options: ListenerOptions | None = None,
        accepting: Callable[[], Application] | None = None,
        handshakes: Handshakes = PLAIN,
        store: MemoryStore | None = None,
    ) -> None:
        self.network = network
        self.store = store
        self.store_delay = 0.001
        self._handshakes = handshakes
        self.address = address
        self.options = options or Options()
        self.sides: list[Side] = []
        self._accepting = accepting
        self._by_connection: dict[Connection, Side] = {}
        self._random_bytes = Random(f"{network.seed}: {address} {network.now}").randbytes
        self._incarnation = int.from_bytes(self._random_bytes(8), "big")
        self.stopped = False
        self._writing: set[Side] = set()
        self.demux = Demux(
            options=self.options,
            listener_options=listener_options or ListenerOptions(),
            handshake=None if accepting is None else handshakes.listener,
            random_bytes=self._random_bytes,
        )
        network.attach(address, self.receive)

    def start(
        self,
        address: Address,
        application: Application | None = None,
        *,
        options: Options | None = None,
        name: str = "",
        taken: Mapping[int, int] = {},
    ) -> Side:
        """
        Ask for a session.

        @param address: of the listener.
        @param name: of a durable one; one that the store has goes on, if the listener has it, too.
        @param taken: see L{Connection.accept}.
        """
        stored = None if self.store is None else self.store.named(name)
        connection = Connection.starter(
            address,
            options=options or self.options,
            now=self.network.now,
            random_bytes=self._random_bytes,
            handshake=self._handshakes.starter,
            stored=stored,
            name=name,
            taken=taken,
        )
        self.demux.add(connection)
        side = self._add(connection, application or Application())
        side.touch()
        return side

    def reopen(self, side: Side) -> None:
        """A starter's session tries another link."""
        before = side.connection
        connection = Connection.starter(
            before.address,
            options=before.options,
            now=self.network.now,
            random_bytes=self._random_bytes,
            handshake=self._handshakes.starter,
            before=before,
        )
        self.demux.add(connection)
        self._move(side, connection)
        side.touch()

    def claimed(self, candidate: Side, event: SessionClaimed) -> None:
        """A session of a listener's is claimed over another link."""
        connection, now = candidate.connection, self.network.now
        for side in self.sides:
            if side.application.opened and side.connection.session_id == event.session_id:
                break
        else:
            stored = None if self.store is None else self.store.find(event.session_id)
            if stored is None:
                self._refuse(connection, unknown_session())
            elif any(side.revived == event.session_id and not side.connection.ended for side in self.sides):
                self._refuse(connection, SessionRejected("it is being taken up", Reason.TOO_MANY_SESSIONS))
            elif connection.state is State.DECIDING and connection.revive(stored, self._incarnation, now=now):
                candidate.revived = event.session_id
            return
        if side.connection.state is State.ENDED:
            closed = isinstance(side.application.error, SessionClosed)
            self._refuse(connection, closed_session() if closed else unknown_session())
            return
        before = side.connection
        if connection.go_on(before, now=now):
            self.demux.forget(before)
            self.sides.remove(candidate)
            self._move(side, connection)
            candidate.connection = before
            side.touch()

    def write(self, side: Side) -> None:
        """Have it written what a session has to be written; of each one write at a time is under way."""
        if side not in self._writing and side.connection.has_changes:
            self._writing.add(side)
            changes = side.connection.take_changes()
            self.network.call_at(self.network.now + self.store_delay, partial(self._write, side, changes))

    def _write(self, side: Side, changes: list[Change]) -> None:
        if self.stopped or self.store is None:
            return
        try:
            self.store.apply(changes)
        except StoreFailed:
            self.network.call_at(self.network.now + WRITE_AGAIN, partial(self._write_again, side))
            side.written(False)
        else:
            self._writing.discard(side)
            side.written(True)

    def _write_again(self, side: Side) -> None:
        self._writing.discard(side)
        if not self.stopped:
            self.write(side)

    def bring(self, side: Side, event: MessagesWanted) -> None:
        """Bring messages back from the store."""
        if self.store is None:
            raise AssertionError("there is no store")
        messages = self.store.messages(side.connection.session_id, event.lane, event.first, event.most)
        side.connection.load(event.lane, event.first, messages, now=self.network.now)

    def _refuse(self, connection: Connection, error: HypermailError) -> None:
        if connection.state is State.DECIDING:
            connection.reject(error.code, error.text, now=self.network.now)

    def _move(self, side: Side, connection: Connection) -> None:
        del self._by_connection[side.connection]
        self._by_connection[connection] = side
        side.connection = connection

    def _add(self, connection: Connection, application: Application) -> Side:
        side = self._by_connection[connection] = Side(self, connection, application)
        self.sides.append(side)
        return side

    def receive(self, datagrams: list[bytes], source: Address, ecn: int = 0) -> None:
        """
        One read of the socket.

        @param ecn: the codepoint of explicit congestion notification that all of them bear.

        The views that the core is given are overwritten after the call, as those of a real socket are.
        """
        arena = bytearray().join(datagrams)
        views, start = [], 0
        for datagram in datagrams:
            views.append(memoryview(arena)[start : start + len(datagram)])
            start += len(datagram)
        touched = self.demux.receive(views, source, now=self.network.now, ecn=ecn)
        arena[:] = b"\xee" * len(arena)
        for _, error in self.demux.faults():
            raise error
        for connection in touched:
            side = self._by_connection.get(connection)
            if side is None:
                if connection.role is Role.STARTER or self._accepting is None:
                    raise AssertionError(f"the demux of {self.address} touches a connection that it was told to forget")
                side = self._add(connection, self._accepting())
            side.pump()
        for train in self.demux.replies():
            self.network.send(self.address, train.address, train.datagrams)

    def forget(self, side: Side) -> None:
        """A connection has ended."""
        self.demux.forget(side.connection)
        self._by_connection.pop(side.connection, None)

    @property
    def live(self) -> list[Side]:
        """The sides whose connections haven't ended."""
        return list(self._by_connection.values())

    def move(self, address: Address, *, told: bool = True) -> None:
        """
        The host has another address from now on, as when it changes the network; what is on its way to the old one is
        lost.

        @param told: whether its starters notice, as they do above a socket.
        """
        self.network.detach(self.address)
        self.address = address
        self.network.attach(address, self.receive)
        for side in self.live:
            if told:
                side.connection.moved(now=self.network.now)
            side.touch()

    def stop(self) -> None:
        """Close the socket, as a process that is killed does."""
        self.stopped = True
        for side in self.live:
            side.timer.cancel()
        self.network.detach(self.address)
