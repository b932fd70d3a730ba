"""
Connections in memory whose bytes arrive in pieces of any size, in any order among the connections: for tests of what
depends on who is faster.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IPushProducer, IStreamClientEndpoint, ITransport
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure
from zope.interface import implementer

#: Bytes on their way, from which on the one who writes is to wait.
FULL = 4_096


@implementer(ITransport)
class TangledEnd:
    """
    One end of a connection.

    @ivar other: the other one.
    @ivar lost: whether its protocol knows that the connection is lost.
    """

    def __init__(self, tangle: Tangle, number: int) -> None:
        self.number = number
        self.other: TangledEnd = self
        self.protocol: Any = None
        self.lost = False
        self._tangle = tangle
        self._written = bytearray()
        self._producer: Any = None
        self._waits = False  # whether the producer was told to
        self._reading = True
        self._closing = False
        self._why: Exception | None = None  # why the connection is to be lost

    # What protocols call

    def write(self, data: bytes) -> None:
        """See L{ITransport}."""
        if not self._closing and not self.lost and self._why is None:
            self._written += data
            self._tangle.touch(self)
            if self._producer is not None and not self._waits and len(self._written) >= FULL:
                self._waits = True
                self._producer.pauseProducing()

    def writeSequence(self, data: Any) -> None:
        """See L{ITransport}."""
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        """See L{ITransport}."""
        self._closing = True
        self._tangle.touch(self)

    def abortConnection(self) -> None:
        """See L{twisted.internet.interfaces.ITCPTransport}: nothing that is on its way arrives."""
        if not self.lost and self._why is None:
            self._doom(ConnectionLost())
            self.other._doom(ConnectionLost())

    def pauseProducing(self) -> None:
        """Read no more."""
        self._reading = False

    def resumeProducing(self) -> None:
        """Read on."""
        self._reading = True
        self._tangle.touch(self)
        self._tangle.touch(self.other)

    def registerProducer(self, producer: IPushProducer, streaming: bool) -> None:
        """See L{twisted.internet.interfaces.IConsumer}."""
        if self._producer is not None or not streaming:
            raise RuntimeError("one at a time, please, and none that has to be asked")
        self._producer, self._waits = producer, False
        if self.lost:
            producer.stopProducing()

    def unregisterProducer(self) -> None:
        """See L{twisted.internet.interfaces.IConsumer}."""
        self._producer, self._waits = None, False

    def getPeer(self) -> Any:
        """See L{ITransport}."""
        return f"the other end of {self.number}"

    getHost = getPeer

    # What happens

    def step(self, chance: Random) -> bool:
        """Something happens, if anything can. @return: whether more may."""
        if self.lost:
            return False
        if self._why is not None:
            # Who does not read, and has nothing to write, does not see it.
            if not self._reading and not self._closing and isinstance(self._why, ConnectionDone):
                return False
            self._lose(self._why)
            return False
        if self._written:
            if self.other.lost or not self.other._reading:
                return False
            size = len(self._written) if chance.random() < 0.7 else chance.randint(1, len(self._written))
            data = bytes(self._written[:size])
            del self._written[:size]
            if self._waits and not self._written:
                self._waits = False
                self._producer.resumeProducing()
            self.other.protocol.dataReceived(data)
            return True
        if self._closing and self.other._reading:
            self._doom(ConnectionDone())
            self.other._doom(ConnectionDone())
            return True
        return False

    def _doom(self, why: Exception) -> None:
        if self._why is None:
            self._why = why
            self._written.clear()
            self._tangle.touch(self)

    def _lose(self, why: Exception) -> None:
        self.lost = True
        self._tangle.open -= 1
        self.protocol.connectionLost(Failure(why))


@implementer(IStreamClientEndpoint)
class Tangle:
    """
    All connections to one server; an endpoint of it.

    @ivar open: ends of connections that are not lost.
    """

    def __init__(self, chance: Random, server: Factory) -> None:
        self.open = 0
        self.refusing = False
        self._chance = chance
        self._server = server
        self._touched: list[tuple[int, TangledEnd]] = []  # at which something may happen, by their numbers
        self._opening: list[tuple[Deferred[IProtocol], IProtocolFactory]] = []
        self._count = 0

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """See L{IStreamClientEndpoint.connect}; it takes some time."""

        def forget(gone: Deferred[IProtocol]) -> None:
            self._opening[:] = [one for one in self._opening if one[0] is not gone]

        connecting: Deferred[IProtocol] = Deferred(forget)
        self._opening.append((connecting, protocolFactory))
        return connecting

    def touch(self, end: TangledEnd) -> None:
        """Something may happen at an end."""
        where = bisect_left(self._touched, end.number, key=lambda one: one[0])
        if where == len(self._touched) or self._touched[where][1] is not end:
            insort(self._touched, (end.number, end), key=lambda one: one[0])

    def step(self) -> bool:
        """Something happens somewhere, if anything can. @return: whether anything was to."""
        choice = self._chance.randrange(len(self._touched) + len(self._opening) or 1)
        if choice < len(self._touched):
            _, end = self._touched[choice]
            if not end.step(self._chance):
                where = bisect_left(self._touched, end.number, key=lambda one: one[0])
                del self._touched[where]
            return True
        if not self._opening:
            return False
        self._open(*self._opening.pop(choice - len(self._touched)))
        return True

    def _open(self, connecting: Deferred[IProtocol], factory: IProtocolFactory) -> None:
        here, there = TangledEnd(self, self._count), TangledEnd(self, self._count + 1)
        self._count += 2
        self.open += 2
        here.other, there.other = there, here
        address: Any = None
        here.protocol = factory.buildProtocol(address)
        there.protocol = self._server.buildProtocol(address)
        there.protocol.makeConnection(there)
        here.protocol.makeConnection(here)
        connecting.callback(here.protocol)
