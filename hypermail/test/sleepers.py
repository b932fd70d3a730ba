"""
A program that sends one long stream, and is stopped in the middle of it: C{python -m hypermail.test.sleepers ...}.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import react
from twisted.python.failure import Failure

from hypermail.internet.endpoints import SessionClientEndpoint
from hypermail.internet.protocol import SessionFactory, SessionProtocol
from hypermail.internet.security import SharedSecret
from hypermail.options import Options

#: Bytes of one write.
PIECE = 1 << 14
SECRET = SharedSecret(b"for the tests of sleep only, pls")


def impatient(rate: float | None = None) -> Options:
    """Options of a session whose link is given up after a second. @param rate: bit/s."""
    return Options(ping_interval=0.25, ping_packet_count=2, max_rate=rate)


def piece(number: int) -> bytes:
    """Some of the stream's bytes."""
    return number.to_bytes(8, "big") * (PIECE // 8)


class Survivor(SessionProtocol):
    """Says on standard output what becomes of its links."""

    def sessionSuspended(self, reason: Failure) -> None:
        """See L{ISessionProtocol}."""
        print("suspended", flush=True)

    def sessionResumed(self) -> None:
        """See L{ISessionProtocol}."""
        print("resumed", flush=True)


class Writer(Protocol):
    """Writes pieces, with back pressure, and closes."""

    def __init__(self, pieces: int) -> None:
        self._left = iter(range(pieces))
        self._paused = False
        self.done: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        """See L{Protocol}."""
        transport: Any = self.transport
        transport.registerProducer(self, True)
        self.resumeProducing()

    def resumeProducing(self) -> None:
        """See L{IPushProducer}."""
        transport: Any = self.transport
        self._paused = False
        while not self._paused:
            number = next(self._left, None)
            if number is None:
                transport.unregisterProducer()
                transport.loseConnection()
                return
            transport.write(piece(number))

    def pauseProducing(self) -> None:
        """See L{IPushProducer}."""
        self._paused = True

    def stopProducing(self) -> None:
        """See L{IPushProducer}."""
        self._paused = True

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See L{Protocol}."""
        print("lost:", reason.getErrorMessage(), flush=True)
        self.done.callback(None)


async def main(reactor: Any, arguments: Sequence[str]) -> None:
    """
    Send a stream.

    @param arguments: the port on this machine, bytes, bit/s, and C{impatient} or not.
    """
    port, size, rate, *impatience = arguments
    options = impatient(float(rate)) if impatience else Options(max_rate=float(rate))
    endpoint = SessionClientEndpoint(reactor, "127.0.0.1", int(port), security=SECRET, options=options)
    protocol: Any = await endpoint.connect(SessionFactory.forProtocol(Survivor))
    print("session", protocol.session.sessionID.hex(), flush=True)
    writer = Writer(int(size) // PIECE)
    await protocol.session.openStream(Factory.forProtocol(lambda: writer), b"long")
    await writer.done
    await protocol.session.close()
    print("closed", flush=True)


if __name__ == "__main__":
    react(lambda reactor: Deferred.fromCoroutine(main(reactor, sys.argv[1:])))
