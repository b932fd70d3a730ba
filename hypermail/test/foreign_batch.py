"""
A peer of the C{batch} dialect as the existing Erlang application is, with its habits and its faults, written from
seed 001 and C{dialects.md} alone. Nothing of ours is imported: see L{hypermail.test.foreign_link}.

What is like the original, and not as one would write it today:

  - only Connect comes from the port that listens; all else comes from a port of the connection's own, where nothing is
    received. A connection is found by the IP address and the connection id;
  - it says Connect once, and takes every Connect for a new connection;
  - it acknowledges nothing for 20 ms after its Connect ack, although it delivers;
  - it sends while fewer than 10 packets and 8,196 bytes are in flight, and at each scan, every 5.0 to 5.5 s, it sends
    again what is in flight, however young; after Close, too;
  - it delivers messages as they become complete;
  - the first idle tick is free, then come Pings with counts 3, 2 and 1, then Close; only a Ping ack resets the count;
  - some datagrams crash it: here, L{ForeignCrash} is raised.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import replace

from hypermail.test.foreign_batch_connection import ForeignBatchConnection, ForeignBatchOptions, ForeignBatchState
from hypermail.test.foreign_batch_packets import CONNECT, FULL_PACKET, RECEIVE_BUFFER, read
from hypermail.test.foreign_link import ForeignAddress, ForeignDatagram, ForeignFaults, ForeignNode


class ForeignBatchCore:
    """
    A program: it listens at a port, and has connections that it started and that others started.

    @ivar accepted: The connections that others started, in the order of their Connects.
    @ivar counts: What was dropped, by reason.
    """

    def __init__(self, port: int, options: ForeignBatchOptions | None = None) -> None:
        """
        @param port: The port at which it listens.
        @param options: The options.
        """
        self.accepted: list[ForeignBatchConnection] = []
        self.counts: Counter[str] = Counter()
        self._port = port
        self._options = options or ForeignBatchOptions()
        self._next_id = self._options.first_id
        self._chance = random.Random(self._options.seed)
        self._connections: dict[tuple[str, int], ForeignBatchConnection] = {}
        self._arrivals: deque[tuple[float, int]] = deque()

    def __repr__(self) -> str:
        """What is of interest when a test waits in vain."""
        return f"<batch at port {self._port}: {list(self._connections.values())}, {dict(self.counts)}>"

    def connect(self, now: float, address: ForeignAddress) -> ForeignBatchConnection:
        """Start a connection."""
        connection = self._connection(address)
        connection.start(now, self._port)
        return connection

    def receive(self, now: float, data: bytes, source: ForeignAddress) -> None:
        """
        Take a datagram.

        @raise ForeignCrash: When it is one that the original does not survive.
        """
        if self._overflows(now, len(data)):
            self.counts["overflow"] += 1
            return
        packet = read(data)
        if packet.kind == CONNECT:
            connection = self._connection((source[0], packet.fields[0]))
            connection.accept(now, packet.fields[1])
            self.accepted.append(connection)
            return
        known = self._connections.get((source[0], packet.fields[0])) if packet.fields else None
        if known is None:
            self.counts[f"type {packet.kind} for nobody"] += 1
        else:
            known.receive(now, packet)

    @property
    def due(self) -> float | None:
        """When L{wake} is to be called next."""
        times = [connection.due for connection in self._connections.values()]
        return min((when for when in times if when is not None), default=None)

    def wake(self, now: float) -> None:
        """Do what is due."""
        for connection in self._connections.values():
            connection.wake(now)

    def take(self) -> list[ForeignDatagram]:
        """Hand over what is to be sent."""
        taken: list[ForeignDatagram] = []
        for connection in self._connections.values():
            taken.extend(connection.out)
            connection.out.clear()
        return taken

    def _connection(self, peer: ForeignAddress) -> ForeignBatchConnection:
        connection = ForeignBatchConnection(self._next_id, peer, self._options, self._chance)
        self._connections[peer[0], self._next_id] = connection
        self._next_id += 1
        return connection

    def _overflows(self, now: float, size: int) -> bool:
        if self._options.burst is None:
            return False
        while self._arrivals and self._arrivals[0][0] <= now - 0.001:
            self._arrivals.popleft()
        if sum(one for _, one in self._arrivals) + size > self._options.burst * FULL_PACKET:
            return True
        self._arrivals.append((now, size))
        return False


class ForeignBatchNode(ForeignNode[ForeignBatchCore]):
    """The program on a real socket, with the small buffer in the kernel that the original has."""

    def __init__(
        self,
        options: ForeignBatchOptions | None = None,
        outgoing: ForeignFaults | None = None,
        incoming: ForeignFaults | None = None,
        interface: str = "127.0.0.1",
    ) -> None:
        """
        @param options: The options; how much can be received at once is left to the kernel.
        @param outgoing: What becomes of datagrams that it sends.
        @param incoming: What becomes of datagrams that are sent to it.
        @param interface: The IP address to listen at.
        """
        real = replace(options or ForeignBatchOptions(), burst=None)
        super().__init__(lambda port: ForeignBatchCore(port, real), outgoing, incoming, RECEIVE_BUFFER, interface)

    def send(self, connection: ForeignBatchConnection, messages: Iterable[bytes]) -> None:
        """Send messages on a connection of this program."""

        def act(core: ForeignBatchCore, now: float) -> None:
            for message in messages:
                connection.send(now, message)

        self.call(act)


class ForeignBatchListener(ForeignBatchNode):
    """A program to which others connect."""

    def accepted(self, count: int = 1) -> ForeignBatchConnection:
        """Wait until so many have connected, and return the newest: a Connect whose answer was lost counts, too."""
        self.wait(lambda core: len(core.accepted) >= count)
        return self.core.accepted[-1]


class ForeignBatchStarter(ForeignBatchNode):
    """A program that connects to others."""

    def connected(self, address: ForeignAddress, tries: int = 1) -> ForeignBatchConnection:
        """
        Connect, and wait for the answer.

        @param address: Where the other program listens.
        @param tries: How often an application says so again, each time for a new connection.
        @raise AssertionError: When it is not answered.
        """
        for _ in range(tries):
            connection = self.call(lambda core, now: core.connect(now, address))
            self.wait(lambda core, one=connection: one.state is not ForeignBatchState.CONNECTING)  # type: ignore[misc]
            if connection.state is ForeignBatchState.OPEN:
                return connection
        raise AssertionError(f"not answered: {self.core!r}")
