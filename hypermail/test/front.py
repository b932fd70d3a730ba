"""
What the tests of L{hypermail.hive.front} share: who answers, and a client's connection.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from hypermail.hive.fields import Lists
from hypermail.hive.front.calls import Call
from hypermail.hive.front.front import Front
from hypermail.hive.front.line import Line, Timeouts

#: None is like another.
TIMEOUTS = Timeouts(header=5.0, read=10.0, write=15.0, idle=120.0)
#: When the clock begins: Sat, 21 Nov 2026 21:00:00 GMT.
BEGINNING = 1_795_294_800
DATE = b"date: Sat, 21 Nov 2026 21:00:00 GMT\r\n"


def _headless(call: Any) -> None:
    """Without a head."""
    call.write(b"x")


def _twice(call: Any) -> None:
    """With two heads."""
    call.respond(200, {}, 1)
    call.respond(200, {}, 1)


def _short(call: Any) -> None:
    """Shorter than it says."""
    call.respond(200, {}, 2)
    call.write(b"x")
    call.end({})


def _long(call: Any) -> None:
    """Longer than it says."""
    call.respond(200, {}, 0)
    call.write(b"x")


def _broken(call: Any) -> None:
    """With a header that ends its line."""
    call.respond(200, {"a": ("b\r\nc: d",)}, 0)


#: Responses that are none.
WRONG = (_headless, _twice, _short, _long, _broken)


class Answering:
    """Answers a call as a test likes, and remembers what it learns."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.learnt: list[Any] = []

    @property
    def body(self) -> bytes:
        """What has come of the body."""
        return b"".join(one for one in self.learnt if isinstance(one, bytes))

    def bodyReceived(self, data: bytes) -> None:
        """See L{hypermail.hive.front.calls.Answerer}."""
        self.learnt.append(data)

    def bodyEnded(self, trailers: Lists) -> None:
        """See L{hypermail.hive.front.calls.Answerer}."""
        self.learnt.append(dict(trailers))

    def pauseResponse(self) -> None:
        """See L{hypermail.hive.front.calls.Answerer}."""
        self.learnt.append("pause")

    def resumeResponse(self) -> None:
        """See L{hypermail.hive.front.calls.Answerer}."""
        self.learnt.append("resume")

    def clientLost(self) -> None:
        """See L{hypermail.hive.front.calls.Answerer}."""
        self.learnt.append("lost")


class ClientTransport(StringTransport):
    """
    What a connection of a client's writes to. Half of it may be closed, as of TCP.

    @ivar dataBuffer: what TCP's transports have, and the reactor takes of.
    @ivar offset: how much it has taken.
    @ivar halved: whether the client was told that nothing follows.
    @ivar negotiatedProtocol: what TLS has agreed on.
    """

    negotiatedProtocol: bytes | None = None

    def __init__(self, peer: Any = None) -> None:
        super().__init__(peerAddress=peer or IPv4Address("TCP", "192.0.2.1", 50_000), lenient=True)
        self.dataBuffer = b""
        self.offset = 0
        self.halved = False

    def loseWriteConnection(self) -> None:
        """See L{twisted.internet.interfaces.IHalfCloseableDescriptor}."""
        self.halved = True

    @property
    def paused(self) -> bool:
        """Whether nothing is read."""
        return self.producerState == "paused"

    @property
    def cut(self) -> bool:
        """Whether it was cut off."""
        return self.disconnected

    @property
    def closed(self) -> bool:
        """Whether it was closed, after what was written."""
        return bool(self.disconnecting) and not self.cut

    def take(self) -> bytes:
        """What was written since the last time."""
        taken = bytes(self.value())
        self.clear()
        return taken


class Connected:
    """A client's connection."""

    def __init__(self, front: Front, transport: ClientTransport) -> None:
        self.transport = transport
        self.line: Line = front.buildProtocol(None)
        self.line.makeConnection(transport)

    def send(self, *pieces: bytes) -> None:
        """Let bytes of the client's come, unless nothing is read."""
        for piece in pieces:
            self.line.dataReceived(piece)

    def lose(self) -> None:
        """Let the connection be lost."""
        self.transport.connected = False
        self.line.connectionLost(Failure(ConnectionDone()))


class FrontTestCase(SynchronousTestCase):
    """
    @ivar calls: that have come.
    @ivar answering: who answers them.
    @ivar on_call: called with each of these.
    """

    protocol: bytes | None = None

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(BEGINNING)
        self.answering: list[Answering] = []
        self.on_call: Callable[[Answering], object] = lambda answering: None
        self.front = Front(self.clock, self.serve, TIMEOUTS, "https")

    def serve(self, call: Call) -> Answering:
        """See L{hypermail.hive.front.calls.Serve}."""
        answering = Answering(call)
        self.answering.append(answering)
        self.on_call(answering)
        return answering

    def connect(self, peer: Any = None) -> Connected:
        """Have a client connect."""
        transport = ClientTransport(peer)
        transport.negotiatedProtocol = self.protocol
        return Connected(self.front, transport)

    def pass_time(self, seconds: float) -> None:
        """Let time pass, in steps that no deadline is between."""
        for _ in range(round(seconds * 4)):
            self.clock.advance(0.25)


def hello(answering: Answering) -> None:
    """Answer a call by a word."""
    answering.call.respond(200, {"content-type": ("text/plain",)}, 5)
    answering.call.write(b"hello")
    answering.call.end({})
