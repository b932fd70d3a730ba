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
from hypermail.events import MessagesWanted, SessionClaimed
from hypermail.options import ListenerOptions, Options, Role
from hypermail.session.journal import Change
from hypermail.session.states import State
from hypermail.session.survival import closed_session, unknown_session
from hypermail.testing.application import Application
from hypermail.testing.modes import PLAIN, Handshakes
from hypermail.testing.side import Side
from hypermail.testing.store import MemoryStore

if TYPE_CHECKING:
    from hypermail.testing.network import Address, SimulatedNetwork

#: s after which what could not be written is tried again.
WRITE_AGAIN = 0.1


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
