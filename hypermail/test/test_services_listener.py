"""
Tests for L{hypermail.services.listener} and L{hypermail.services.ending}, short of real sockets.
"""

from __future__ import annotations

import hashlib
import io
import sys
from collections.abc import Iterable
from typing import Any, cast

from cryptography.x509 import Certificate
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.task import Clock
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import Logger, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from hypermail.errors import (
    MessageRejected,
    MessageTooLarge,
    Reason,
    SessionClosed,
    SessionKilled,
    SessionRejected,
    StreamRejected,
)
from hypermail.events import SessionRequested, StreamOptions
from hypermail.interfaces import ISession
from hypermail.internet.address import HypermailAddress
from hypermail.internet.settings import ListenerSettings
from hypermail.options import Way
from hypermail.services import listener
from hypermail.services.addresses import Listening
from hypermail.services.directory import InboxDirectory
from hypermail.services.echo import StreamEcho
from hypermail.services.ending import CannotStart, cannotStart, reportInOneLine
from hypermail.services.files import file_options
from hypermail.services.inbox import Inbox
from hypermail.services.listener import Doing, ListenerService
from hypermail.services.receiving import FileReceiver
from hypermail.services.taking import FILES_AT_ONCE, GRACE, ListenerProtocol, ListenerSessions
from hypermail.test.securing import STARTER, STRANGER
from hypermail.test.services import StreamEnd, atOnce, tree

PEER = HypermailAddress("127.0.0.1", 5000)
PLAIN = ListenerSettings(plain=True)


class QuietSession:
    """The part of L{ISession} that the listener uses."""

    durable = False

    def __init__(self, protocol: ListenerProtocol) -> None:
        self.protocol = protocol
        self.sent: list[bytes] = []
        self.datagrams: list[bytes] = []
        self.closing: Deferred[None] | None = None
        self.aborted: tuple[str, int] | None = None
        self.certificate: Certificate | None = None

    def peerCertificate(self) -> Certificate | None:
        """See L{ISession}."""
        return self.certificate

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """See L{ISession}."""

    def sendMessages(self, messages: Iterable[bytes], *, lane: int = 0) -> int:
        """See L{ISession}."""
        self.sent += messages
        return 1

    def sendDatagram(self, data: bytes) -> None:
        """See L{ISession}; too large for it is what is longer than 9 bytes."""
        if len(data) > 9:
            raise MessageTooLarge("it does not fit")
        self.datagrams.append(data)

    def close(self) -> Deferred[None]:
        """See L{ISession}."""
        self.closing = Deferred()
        return self.closing

    def abort(self, text: str = "", code: int = Reason.APPLICATION) -> None:
        """See L{ISession}."""
        self.aborted = (text, code)
        self.protocol.sessionLost(Failure(SessionKilled(text, code)))
        if self.closing is not None:
            self.closing.errback(SessionKilled(text, code))


class ListenerCase(SynchronousTestCase):
    """Sessions of a listener, and its log."""

    def setUp(self) -> None:
        self.observer = EventLoggingObserver()
        globalLogPublisher.addObserver(self.observer)
        self.addCleanup(globalLogPublisher.removeObserver, self.observer)
        self.clock = Clock()

    def log(self) -> list[str]:
        """The lines that were logged."""
        return [formatEvent(event) for event in self.observer]

    def sessions(self, *, inbox: bool = False, echo: bool = False) -> ListenerSessions:
        """What a listener with these options makes."""
        sessions = ListenerSessions(echo)
        if inbox:
            from datetime import UTC, datetime

            self.top = self.mktemp()
            directory = InboxDirectory(self.top)
            directory.open()
            self.addCleanup(directory.close)
            sessions.inbox = Inbox(
                directory, run=atOnce, clock=self.clock, now=lambda: datetime(2026, 11, 21, tzinfo=UTC)
            )
        return sessions

    def open(self, sessions: ListenerSessions, certificate: Certificate | None = None) -> ListenerProtocol:
        """A session that has opened."""
        protocol = sessions.buildProtocol(PEER)
        self.session = QuietSession(protocol)
        self.session.certificate = certificate
        protocol.session = cast(ISession, self.session)
        protocol.sessionOpened()
        return protocol


class ProtocolTests(ListenerCase):
    """What is done with what comes."""

    def test_neither(self) -> None:
        """Without --inbox and --echo everything is refused; the peer and the log are told the options; once."""
        protocol = self.open(self.sessions())
        for refuse in (
            lambda: protocol.messageReceived(b"x"),
            lambda: protocol.streamOpened(b"file", file_options(b"a", 1, bytes(16))),
            lambda: protocol.streamOpened(b"x\n" * 500, StreamOptions()),
        ):
            error = self.assertRaises((MessageRejected, StreamRejected), refuse)
            self.assertIn("--inbox DIR", error.text)
            self.assertIn("--echo", error.text)
            self.assertTrue(error.text.isprintable())
        protocol.datagramReceived(b"x")
        self.assertEqual(self.session.datagrams, [])
        (line,) = [line for line in self.log() if "refused" in line]
        self.assertIn("refused a message from 127.0.0.1:5000: there is neither --inbox DIR", line)
        protocol.sessionLost(Failure(SessionClosed()))
        self.assertIn("refused 4 times from 127.0.0.1:5000 in all", self.log()[-1])

    def test_echo(self) -> None:
        """With --echo messages, direct messages and streams go back, files too."""
        protocol = self.open(self.sessions(echo=True))
        self.assertIsNone(protocol.messageReceived(b"m"))
        protocol.datagramReceived(b"d")
        protocol.datagramReceived(b"too large to go back")
        self.assertEqual((self.session.sent, self.session.datagrams), ([b"m"], [b"d"]))
        self.assertIsInstance(protocol.streamOpened(b"", StreamOptions()), StreamEcho)
        self.assertIsInstance(protocol.streamOpened(b"file", file_options(b"a", 1, bytes(16))), StreamEcho)

    def test_inbox(self) -> None:
        """With --inbox messages are stored, files too, other streams refused."""
        protocol = self.open(self.sessions(inbox=True))
        taken = protocol.messageReceived(b"m")
        assert taken is not None
        self.successResultOf(taken)
        self.assertEqual(list(tree(self.top).values()), [b"m"])
        self.assertIsInstance(protocol.streamOpened(b"file", file_options(b"a", 1, bytes(16))), FileReceiver)
        error = self.assertRaises(StreamRejected, protocol.streamOpened, b"other", StreamOptions())
        self.assertEqual(error.code, Reason.STREAM_NAME_UNKNOWN)
        self.assertIn("no streams but files", error.text)

    def test_inboxAndEcho(self) -> None:
        """With both, a message is stored and sent back, and a file is stored."""
        protocol = self.open(self.sessions(inbox=True, echo=True))
        taken = protocol.messageReceived(b"m")
        assert taken is not None
        self.successResultOf(taken)
        self.assertEqual(list(tree(self.top).values()), [b"m"])
        self.assertEqual(self.session.sent, [b"m"])
        self.assertIsInstance(protocol.streamOpened(b"file", file_options(b"a", 1, bytes(16))), FileReceiver)

    def test_owner(self) -> None:
        """What is kept of a file is for who shows the same certificate, whichever session it comes in."""
        sessions = self.sessions(inbox=True)
        names = []
        for certificate in (None, STARTER.certificate, STRANGER.certificate, STARTER.certificate):
            protocol = self.open(sessions, certificate)
            receiver = protocol.streamOpened(b"file", file_options(b"a", 1, bytes(16)))
            names.append(cast(FileReceiver, receiver).name)
        self.assertEqual(names[1], names[3])
        self.assertEqual(len(set(names)), 3)

    def test_tooManyFiles(self) -> None:
        """A session has at most 256 files arriving; when one is done there is room again."""
        protocol = self.open(self.sessions(inbox=True))
        receivers = [
            cast(FileReceiver, protocol.streamOpened(b"file", file_options(b"%d" % number, 1, bytes(16))))
            for number in range(FILES_AT_ONCE)
        ]
        error = self.assertRaises(StreamRejected, protocol.streamOpened, b"file", file_options(b"a", 1, bytes(16)))
        self.assertEqual(error.code, Reason.LIMIT_EXCEEDED)
        receivers[0].makeConnection(StreamEnd())
        receivers[0].readConnectionLost()
        self.assertIsInstance(protocol.streamOpened(b"file", file_options(b"a", 1, bytes(16))), FileReceiver)


class SessionsTests(ListenerCase):
    """How sessions begin and end."""

    def test_end(self) -> None:
        """Sessions are closed; new ones are refused meanwhile."""
        sessions = self.sessions()
        protocol = self.open(sessions)
        request = SessionRequested(Way.TWO_WAY, PEER)
        sessions.sessionRequested(request)
        ended = Deferred.fromCoroutine(sessions.end(self.clock))
        self.assertNoResult(ended)
        error = self.assertRaises(SessionRejected, sessions.sessionRequested, request)
        self.assertEqual(error.code, Reason.SHUTTING_DOWN)
        self.assertIsNotNone(self.session.closing)
        protocol.sessionLost(Failure(SessionClosed()))
        self.successResultOf(ended)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_endWaitsForFiles(self) -> None:
        """A session is closed when what is arriving has arrived; nothing new may begin."""
        sessions = self.sessions(inbox=True)
        protocol = self.open(sessions)
        receivers = [
            cast(FileReceiver, protocol.streamOpened(b"file", file_options(name, 1, bytes(16))))
            for name in (b"a", b"c")
        ]
        for receiver in receivers:
            receiver.makeConnection(StreamEnd())
        Deferred.fromCoroutine(sessions.end(self.clock))
        error = self.assertRaises(StreamRejected, protocol.streamOpened, b"file", file_options(b"b", 1, bytes(16)))
        self.assertEqual(error.code, Reason.SHUTTING_DOWN)
        for receiver in receivers:
            self.assertIsNone(self.session.closing)
            receiver.dataReceived(b"a" + hashlib.sha256(b"a").digest())
            receiver.readConnectionLost()
            self.clock.advance(0)
        self.assertEqual(tree(self.top), {"a": b"a", "c": b"a"})
        self.assertIsNotNone(self.session.closing)

    def test_endInTime(self) -> None:
        """Those that do not close in time are ended, and told why."""
        sessions = self.sessions()
        self.open(sessions)
        ended = Deferred.fromCoroutine(sessions.end(self.clock))
        self.clock.advance(GRACE)
        self.successResultOf(ended)
        self.assertEqual(self.session.aborted, ("the listener is shutting down", Reason.SHUTTING_DOWN))

    def test_lost(self) -> None:
        """A session that is over is forgotten."""
        sessions = self.sessions()
        protocol = self.open(sessions)
        self.assertEqual(sessions.open, {protocol})
        protocol.sessionLost(Failure(SessionClosed()))
        self.assertEqual(sessions.open, set())


class ServiceTests(ListenerCase):
    """A service that cannot start says why in one line."""

    def refusal(self, doing: Doing) -> str:
        """Why a service cannot start."""
        service = ListenerService(self.clock, doing)
        text: str = self.assertRaises(CannotStart, service.startService).text
        self.assertEqual(self.log()[-1], text)
        self.assertTrue(text.isprintable())
        return text

    def test_portInUse(self) -> None:
        """The port and the system's reason are named."""

        class Taken:
            def __init__(self, *arguments: object, **options: object) -> None:
                pass

            def listen(self, factory: object) -> Deferred[None]:
                failed: Deferred[None] = Deferred()
                failed.errback(CannotListenError("127.0.0.1", 4700, OSError(98, "Address already in use")))
                return failed

        self.patch(listener, "SessionServerEndpoint", Taken)
        text = self.refusal(Doing(listening=Listening(4700, ""), settings=PLAIN))
        self.assertEqual(text, "cannot listen on UDP port 4700 of 127.0.0.1: Address already in use")

    def test_traceDirectory(self) -> None:
        """A directory for traces that is none is named."""
        text = self.refusal(Doing(listening=Listening(0, ""), traceDirectory="/dev/null", settings=PLAIN))
        self.assertEqual(text, "no traces can be written to '/dev/null': Not a directory")


class EndingTests(ListenerCase):
    """One line in place of a traceback."""

    def test_hook(self) -> None:
        """CannotStart prints its text, anything else what it printed before."""
        others: list[object] = []
        self.patch(sys, "excepthook", lambda kind, error, trace: others.append(error))
        self.patch(sys, "__stderr__", io.StringIO())
        reportInOneLine()
        hook = sys.excepthook
        reportInOneLine()
        self.assertIs(sys.excepthook, hook)
        error = self.assertRaises(CannotStart, cannotStart, Logger(), "no {such} thing")
        sys.excepthook(type(error), error, None)
        self.assertEqual(cast(io.StringIO, sys.__stderr__).getvalue(), "hypermail: no {such} thing\n")
        self.assertEqual(others, [])
        other = ValueError()
        sys.excepthook(ValueError, other, None)
        self.assertEqual(others, [other])
