"""
What the tests of L{hypermail.internet} share: two hosts in the simulated network, and protocols that remember.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from functools import cache
from typing import Any, TypeVar, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol, IListeningPort
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import ILogObserver, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from hypermail.events import SessionRequested, StreamOptions
from hypermail.interfaces import ISession
from hypermail.internet.address import HypermailAddress
from hypermail.internet.endpoints import SessionClientEndpoint, SessionServerEndpoint
from hypermail.internet.protocol import SessionFactory, SessionProtocol
from hypermail.internet.security import Plain
from hypermail.security.identity import Identity
from hypermail.testing import PERFECT, Conditions, SimulatedNetwork

T = TypeVar("T")

SERVER = "10.0.0.1"
CLIENT = "10.0.0.2"
PORT = 4700


def ipv6() -> bool:
    """Whether this machine has IPv6's loopback address."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as found:
            found.bind(("::1", 0))
    except OSError:
        return False
    return True


@cache
def identityOf(name: str) -> Identity:
    """A self-made identity, the same each time. It is valid now: OpenSSL looks at no clock but the machine's."""
    return Identity.self_signed(name, now=datetime.now(UTC))


def logged(case: SynchronousTestCase) -> list[str]:
    """What is logged from now on, until the test is over."""
    lines: list[str] = []

    def observe(event: Any) -> None:
        lines.append(formatEvent(event))

    observer = cast("ILogObserver", observe)
    globalLogPublisher.addObserver(observer)
    case.addCleanup(globalLogPublisher.removeObserver, observer)
    return lines


def errorOf(protocol: Any) -> Any:
    """What a recording protocol was told as the reason of its end."""
    assert protocol.reason is not None
    return protocol.reason.value


class RecordingProtocol(SessionProtocol):
    """
    Remembers what it is told, and answers as it was set up.

    @ivar calls: names of the callbacks, in order.
    @ivar answer: called with each message, in place of taking it.
    @ivar stream: called with the name and options of each stream of the peer's.
    """

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.messages: list[bytes] = []
        self.datagrams: list[bytes] = []
        self.reason: Failure | None = None
        self.answer: Callable[[bytes], Any] = lambda message: None
        self.stream: Callable[[bytes, StreamOptions], Any] = lambda name, options: None

    def sessionOpened(self) -> Any:
        self.calls.append("sessionOpened")

    def messageReceived(self, message: bytes) -> Any:
        self.messages.append(message)
        return self.answer(message)

    def datagramReceived(self, data: bytes) -> Any:
        self.datagrams.append(data)

    def streamOpened(self, name: bytes, options: StreamOptions) -> Any:
        self.calls.append("streamOpened")
        return self.stream(name, options)

    def sessionLost(self, reason: Failure) -> Any:
        self.calls.append("sessionLost")
        self.reason = reason


class RecordingFactory(SessionFactory):
    """
    Makes L{RecordingProtocol}s and keeps them.

    @ivar built: all of them, in order.
    @ivar decide: what C{sessionRequested} returns.
    @ivar make: makes a protocol, or None.
    """

    noisy = False

    def __init__(self) -> None:
        self.built: list[RecordingProtocol] = []
        self.requests: list[SessionRequested] = []
        self.calls: list[str] = []
        self.decide: Callable[[SessionRequested], Any] = lambda request: None
        self.make: Callable[[], RecordingProtocol | None] = RecordingProtocol

    def sessionRequested(self, request: SessionRequested) -> Any:
        self.requests.append(request)
        return self.decide(request)

    def buildProtocol(self, address: HypermailAddress) -> Any:
        protocol = self.make()
        if protocol is not None:
            protocol.factory = self
            self.built.append(protocol)
        return protocol

    def startFactory(self) -> None:
        self.calls.append("start")

    def stopFactory(self) -> None:
        self.calls.append("stop")


class RecordingStream(Protocol):
    """
    A stream's protocol that remembers.

    @ivar calls: names of the callbacks that came once, in order.
    """

    def __init__(self) -> None:
        self.data = bytearray()
        self.calls: list[str] = []
        self.reason: Failure | None = None
        self.lost: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        self.calls.append("connectionMade")

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.calls.append("connectionLost")
        self.reason = reason
        self.lost.callback(None)


@implementer(IHalfCloseableProtocol)
class HalfCloseableStream(RecordingStream):
    """The same, which may be closed one way."""

    def readConnectionLost(self) -> None:
        self.calls.append("readConnectionLost")

    def writeConnectionLost(self) -> None:
        self.calls.append("writeConnectionLost")


class Hosts:
    """
    A listener and a starter on two simulated hosts, whose sessions are deterministic.

    @ivar listening: the listener's factory.
    @ivar starting: the starter's.
    """

    def __init__(self, conditions: Conditions = PERFECT, seed: int = 0) -> None:
        self.network = SimulatedNetwork(seed, conditions)
        self.server = self.network.reactor(SERVER)
        self.client = self.network.reactor(CLIENT)
        self.listening = RecordingFactory()
        self.starting = RecordingFactory()
        self.randomBytes = random.Random(seed).randbytes
        self.port: IListeningPort | None = None

    def settings(self, **settings: Any) -> dict[str, Any]:
        """Keyword arguments of an endpoint here."""
        return {"security": Plain(allowRemote=True), "randomBytes": self.randomBytes, **settings}

    def listen(self, **settings: Any) -> IListeningPort:
        """Begin to listen."""
        endpoint = SessionServerEndpoint(self.server, PORT, **self.settings(interface=SERVER, **settings))
        self.port = self.run(endpoint.listen(self.listening))
        return self.port

    def ask(self, host: str = SERVER, **settings: Any) -> Deferred[Any]:
        """Begin to connect."""
        endpoint = SessionClientEndpoint(self.client, host, PORT, **self.settings(**settings))
        return endpoint.connect(self.starting)

    def open(self, **settings: Any) -> tuple[RecordingProtocol, RecordingProtocol]:
        """
        Listen and connect.

        @return: the starter's protocol and the listener's.
        """
        self.listen()
        return self.run(self.ask(**settings)), self.listening.built[-1]

    def run(self, awaited: Deferred[T] | Coroutine[Any, Any, T]) -> T:
        """Let time pass until it has fired."""
        return self.network.run_until(awaited)

    def settle(self, seconds: float = 1.0) -> None:
        """Let everything happen that is going to happen soon."""
        self.network.advance(seconds)

    def stream(
        self,
        session: ISession,
        accepting: RecordingProtocol,
        ours: Any = RecordingStream,
        theirs: Any = RecordingStream,
    ) -> tuple[Any, Any]:
        """
        Open a stream.

        @return: the opener's protocol and the acceptor's.
        """
        made: list[Any] = []

        def accept(name: bytes, options: StreamOptions) -> Any:
            made.append(theirs())
            return made[-1]

        accepting.stream = accept
        opened = self.run(session.openStream(Factory.forProtocol(ours)))
        return opened, made[0]

    def end(self) -> None:
        """Stop listening, and see that nothing is left of anything."""
        if self.port is not None:
            self.run(_stopped(self.port))
        self.settle(60)
        self.network.assert_clean()


async def _stopped(port: IListeningPort) -> None:
    stopping = port.stopListening()
    if stopping is not None:
        await stopping
