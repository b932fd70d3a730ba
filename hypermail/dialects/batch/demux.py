"""
Datagram -> session, for one socket of dialect C{batch}.

A connection is found by the peer's IP address and our id of it, whatever port a packet comes from: the original sends
all but Connect from ports at which it does not receive. So nothing is ever sent to the port that a packet came from.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hypermail.dialects.batch.closed import ClosedConnections
from hypermail.dialects.batch.connection import BatchConnection
from hypermail.dialects.batch.listening import ListeningBatch
from hypermail.dialects.batch.packets import VERSION, BatchClose, BatchConnect, decode
from hypermail.dialects.batch.starting import StartingBatch
from hypermail.dialects.batch.states import Greeting
from hypermail.dialects.demux import DialectDemux
from hypermail.options import ListenerOptions

if TYPE_CHECKING:
    from hypermail.dialects.batch.dialect import Batch

#: How many C{delivery_timeout}s a connection that is over is answered for, and how many s at least: it is the peer's
#: that counts, which for the original is up to 5.5 s.
LINGER = 3
LEAST_LINGER = 15.0


class BatchDemux(DialectDemux[BatchConnection]):
    """
    The sessions of one socket.

    @param options: of a listener's sessions.
    @param port: at which the socket receives.
    """

    def __init__(
        self,
        options: Batch,
        *,
        listening: bool,
        listener_options: ListenerOptions,
        port: int,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        super().__init__(options, listening=listening, listener_options=listener_options)
        self._options = options
        self._port = port
        self._random_bytes = random_bytes
        self._by_id: dict[tuple[str, int], BatchConnection] = {}
        self._by_starter: dict[tuple[str, int, int], ListeningBatch] = {}
        self._closed = ClosedConnections(max(LINGER * options.delivery_timeout, LEAST_LINGER))
        self._over: list[BatchConnection] = []

    def start(self, address: Any, *, options: Batch, now: float) -> StartingBatch:
        """See L{DialectDemux.start}."""

        def new_id(connection: BatchConnection) -> int:
            id = self._new_id(address[0])
            self._by_id[address[0], id] = connection
            return id

        connection = StartingBatch(options, address, self._port, new_id, self._drop, now)
        self._enter(connection)
        return connection

    def receive(self, datagrams: list[memoryview], address: Any, *, now: float, ecn: int = 0) -> list[BatchConnection]:
        """See L{DialectDemux.receive}; those that had to make room, or were replaced, are touched as well."""
        touched = super().receive(datagrams, address, now=now, ecn=ecn)
        over, self._over = self._over, []
        return list(dict.fromkeys([*touched, *over]))

    def _take(self, datagram: memoryview, address: Any, now: float) -> BatchConnection | None:
        packet = decode(datagram)
        if packet is None:
            self._drop("malformed")
            return None
        size = len(datagram)
        if isinstance(packet, BatchConnect):
            return self._asked(packet, size, address, now)
        key = (address[0], packet.id)
        connection = self._by_id.get(key)
        if connection is not None:
            if isinstance(connection, ListeningBatch) and connection.greeting is Greeting.UNPROVED:
                return self._shown(connection, packet, size, now)
            return self._tell(connection, connection.received, packet, size, now)
        closed = self._closed.find(key, now)
        answer = None if closed is None else closed.answer(packet, now)
        self._drop("unknown_id" if closed is None else "closed")
        if closed is not None and answer is not None:
            self._reply(answer, closed.address, size)
        return None

    def _asked(self, connect: BatchConnect, size: int, address: Any, now: float) -> BatchConnection | None:
        """A Connect has come."""
        if not self.listening or connect.version != VERSION or not connect.port:
            self._drop("not_listening" if not self.listening else "no_port" if not connect.port else "version")
            return None
        starter = address._replace(port=connect.port)
        key = (address[0], connect.port, connect.starter_id)
        found = self._by_starter.get(key)
        if found is not None and found.is_duplicate(now):
            return self._tell(found, found.asked, size, now)
        if self._full():
            self._drop("full")
            self._reply(BatchClose(connect.starter_id).encode(), starter, size)
            return None
        id = self._new_id(address[0])
        connection = ListeningBatch(self._options, starter, connect.starter_id, id, self._drop, now)
        connection.before = None if found is None or found.ended else found
        self._by_id[address[0], id] = self._by_starter[key] = connection
        gone = self._enter_stranger(connection)
        if isinstance(gone, ListeningBatch):
            gone.give_way(now)
            self._over.append(gone)
        return self._tell(connection, connection.asked, size, now)

    def _shown(self, connection: ListeningBatch, packet: Any, size: int, now: float) -> BatchConnection:
        """A stranger shows that it is where it says."""
        if isinstance(packet, BatchClose):
            # A late duplicate, or a replay, of the Connect that began the session before: its starter closes the second
            # connection, and goes on in the first.
            return self._tell(connection, connection.received, packet, size, now)
        before, connection.before = connection.before, None
        if before is not None and not before.ended:
            before.replaced(now)
            self._over.append(before)
        elif self._full():
            self._drop("full")
            return self._tell(connection, connection.turn_away, size, now)
        return self._tell(connection, connection.received, packet, size, now)

    def _gone(self, connection: BatchConnection) -> None:
        host = connection.address[0]
        for id, peer_id in connection.ids.items():
            del self._by_id[host, id]
            if connection.credit is None:
                known = connection.arrivals if id == connection.id else None
                self._closed.add(
                    (host, id),
                    connection.address,
                    connection.now,
                    peer_id=peer_id,
                    arrivals=known,
                    knows=connection.closed_by_peer,
                )
        if isinstance(connection, ListeningBatch):
            key = (host, connection.address[1], connection.peer_id or 0)
            if self._by_starter.get(key) is connection:
                del self._by_starter[key]
                if connection.before is not None and not connection.before.ended:
                    self._by_starter[key] = connection.before

    def _new_id(self, host: str) -> int:
        """An id of ours that nothing else means for packets from C{host}."""
        while True:
            id = int.from_bytes(self._random_bytes(4), "big")
            if id and (host, id) not in self._by_id and (host, id) not in self._closed:
                return id
