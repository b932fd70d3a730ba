"""
Tests with a real process that is stopped for longer than its peer has patience, in the middle of a transfer.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone
from twisted.internet.protocol import ProcessProtocol, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from hypermail.events import StreamOptions
from hypermail.internet.endpoints import SessionServerEndpoint
from hypermail.internet.protocol import SessionFactory, SessionProtocol
from hypermail.test.sleepers import PIECE, SECRET, impatient, piece

#: Bytes, and bit/s.
SIZE, RATE = 4 << 20, 16e6


class _Reader(Protocol):
    """
    Compares what comes with what should.

    @ivar count: bytes so far.
    """

    def __init__(self, sleep: SleepTests) -> None:
        self._sleep = sleep
        self._rest = b""
        self.count = 0
        self.wrong = False

    def dataReceived(self, data: bytes) -> None:
        """See L{Protocol}."""
        self._rest += data
        while len(self._rest) >= PIECE:
            self.wrong = self.wrong or self._rest[:PIECE] != piece(self.count // PIECE)
            self._rest = self._rest[PIECE:]
            self.count += PIECE
        self._sleep.look()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See L{Protocol}."""


class _Awake(SessionProtocol):
    """The listener's side."""

    def __init__(self, sleep: SleepTests) -> None:
        self._sleep = sleep

    def sessionSuspended(self, reason: Failure) -> None:
        """See L{ISessionProtocol}."""
        self._sleep.calls.append("suspended")
        self._sleep.look()

    def sessionResumed(self) -> None:
        """See L{ISessionProtocol}."""
        self._sleep.calls.append("resumed")

    def streamOpened(self, name: bytes, options: StreamOptions) -> Protocol:
        """See L{ISessionProtocol}."""
        self._sleep.calls.append(self.session.sessionID.hex())
        reader = self._sleep.reader = _Reader(self._sleep)
        return reader

    def sessionLost(self, reason: Failure) -> None:
        """See L{ISessionProtocol}."""
        self._sleep.calls.append(reason.getErrorMessage())


class _Child(ProcessProtocol):
    """
    The program that sends.

    @ivar ended: fires with what it has printed.
    """

    def __init__(self) -> None:
        self.said = b""
        self.ended: Deferred[list[str]] = Deferred()

    def outReceived(self, data: bytes) -> None:
        """See L{ProcessProtocol}."""
        self.said += data

    def errReceived(self, data: bytes) -> None:
        """See L{ProcessProtocol}."""
        self.said += data

    def processEnded(self, reason: Failure) -> None:
        """See L{ProcessProtocol}."""
        if not reason.check(ProcessDone):
            self.said += f"{reason.getErrorMessage()}\n".encode()
        self.ended.callback(self.said.decode().splitlines())


class SleepTests(TestCase):
    """A starter that sleeps, as a laptop does."""

    timeout = 60

    def setUp(self) -> None:
        self.calls: list[str] = []
        self.reader: Any = None
        self._awaited: tuple[Any, Deferred[None]] | None = None

    def look(self) -> None:
        """See whether what is waited for has come about."""
        if self._awaited is not None and self._awaited[0]():
            (_, deferred), self._awaited = self._awaited, None
            deferred.callback(None)

    async def until(self, condition: Any) -> None:
        """Wait for something, of which L{look} is told."""
        deferred: Deferred[None] = Deferred()
        self._awaited = condition, deferred
        self.look()
        await deferred

    async def test_stopped(self) -> None:
        """The session is alive afterwards, goes on by itself, and the stream comes whole."""
        endpoint = SessionServerEndpoint(reactor, 0, interface="127.0.0.1", security=SECRET, options=impatient())
        factory = SessionFactory.forProtocol(lambda: _Awake(self))
        port: Any = await endpoint.listen(factory)
        self.addCleanup(port.stopListening)
        child = _Child()
        arguments = [sys.executable, "-m", "hypermail.test.sleepers", str(port.getHost().port)]
        arguments += [str(SIZE), str(RATE), "impatient"]
        spawner: Any = reactor
        process = spawner.spawnProcess(child, sys.executable, arguments, env=dict(os.environ))
        await self.until(lambda: self.reader is not None and self.reader.count > SIZE // 4)
        process.signalProcess(signal.SIGSTOP)
        await self.until(lambda: "suspended" in self.calls)
        self.assertLess(self.reader.count, SIZE)
        process.signalProcess(signal.SIGCONT)
        said = await child.ended
        self.assertEqual(said[1:], ["suspended", "resumed", "lost: Connection was closed cleanly.", "closed"])
        self.assertEqual(said[0], f"session {self.calls[0]}")
        self.assertEqual(self.calls[1:], ["suspended", "resumed", "the peer closed the session"])
        self.assertEqual((self.reader.count, self.reader.wrong), (SIZE, False))
