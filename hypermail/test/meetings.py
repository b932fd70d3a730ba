"""
What the tests share in which our endpoints meet a foreign peer on real sockets.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredQueue, gatherResults
from twisted.internet.interfaces import IListeningPort
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from hypermail.dialects.dialect import Dialect
from hypermail.internet.endpoints import SessionClientEndpoint, SessionServerEndpoint
from hypermail.test.foreign_link import ForeignAddress, ForeignFaults, ForeignNode
from hypermail.test.sessions import RecordingFactory, RecordingProtocol

HERE = "127.0.0.1"

NodeT = TypeVar("NodeT", bound=ForeignNode[Any])


def messages(seed: int, count: int, most: int) -> list[bytes]:
    """Messages of many sizes, no two of them alike."""
    chance = random.Random(seed)
    return [b"%d " % number + chance.randbytes(chance.randrange(most)) for number in range(count)]


def bad_link(seed: int, spared: Callable[[bytes], bool] = lambda data: False) -> dict[str, ForeignFaults]:
    """What makes a fifth of all that a foreign peer sends and is sent disappear, and a fifth of the rest come twice."""
    return {
        way: ForeignFaults(loss=0.2, duplication=0.2, spared=spared, seed=seed + number)
        for number, way in enumerate(("outgoing", "incoming"))
    }


class MetProtocol(RecordingProtocol):
    """
    One that can be waited for.

    @ivar lost: fires with the reason of the session's end.
    """

    def __init__(self, opened: DeferredQueue[MetProtocol]) -> None:
        super().__init__()
        self.lost: Deferred[Any] = Deferred()
        self._opened = opened
        self._awaited: list[tuple[int, Deferred[None]]] = []

    def sessionOpened(self) -> None:
        super().sessionOpened()
        self._opened.put(self)

    def datagramReceived(self, data: bytes) -> None:
        super().datagramReceived(data)
        while self._awaited and self._awaited[0][0] <= len(self.datagrams):
            self._awaited.pop(0)[1].callback(None)

    def sessionLost(self, reason: Failure) -> None:
        super().sessionLost(reason)
        self.lost.callback(reason.value)

    def directs(self, count: int) -> Deferred[None]:
        """A Deferred of so many direct messages, more than there are."""
        waiting: Deferred[None] = Deferred()
        self._awaited.append((count, waiting))
        return waiting


class MeetingCase(TestCase):
    """
    Our endpoints on the real reactor, and foreign peers in threads.

    @ivar factory: of our sessions, whoever has asked for them.
    @ivar opened: our sessions' protocols, when they are open.
    @ivar port: where we listen, if we do.
    """

    timeout = 120

    def setUp(self) -> None:
        self.opened: DeferredQueue[MetProtocol] = DeferredQueue()
        self.factory = RecordingFactory()
        self.factory.make = lambda: MetProtocol(self.opened)
        self.port: Any = None

    def keep(self, node: NodeT) -> NodeT:
        """A foreign peer; the test fails when it has crashed."""
        self.addCleanup(node.close)
        return node

    async def listen(self, dialect: Dialect) -> ForeignAddress:
        """Listen; sessions that are left end with the test."""
        endpoint = SessionServerEndpoint(reactor, 0, interface=HERE, dialect=dialect)
        port: IListeningPort = await endpoint.listen(self.factory)
        self.port = port
        self.addCleanup(port.stopListening)
        return HERE, self.port.getHost().port

    async def connect(self, address: ForeignAddress, dialect: Dialect) -> MetProtocol:
        """Ask a foreign peer for a session."""
        endpoint = SessionClientEndpoint(reactor, *address, dialect=dialect)
        protocol: Any = await endpoint.connect(self.factory)
        return protocol  # type: ignore[no-any-return]

    async def until(self, node: ForeignNode[Any], holds: Callable[[Any], bool]) -> None:
        """Wait until something holds of a foreign peer."""
        await deferToThread(node.wait, holds)

    def say(self, protocol: MetProtocol, those: Iterable[bytes]) -> Deferred[list[None]]:
        """Send messages. @return: a Deferred of all of them having been acknowledged."""
        return gatherResults([protocol.session.sendMessage(one) for one in those], consumeErrors=True)
