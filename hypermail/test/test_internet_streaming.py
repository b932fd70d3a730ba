"""
Tests of L{hypermail.internet.streaming}: how streams come to be, over the core in the simulated network.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionLost, NoProtocol
from twisted.internet.interfaces import IConsumer, IHalfCloseableDescriptor, IPushProducer, ITransport
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from zope.interface.verify import verifyObject

from hypermail.errors import Reason, SessionKilled, StreamCleared, StreamRejected, UsageError
from hypermail.events import StreamOptions
from hypermail.test.sessions import RecordingFactory, RecordingStream
from hypermail.test.streams import StreamTests


class OpeningTests(StreamTests):
    """
    How a stream comes to be.
    """

    def test_interfaces(self) -> None:
        """A stream's transport is what its interfaces say, and knows its ends."""
        ours, theirs = self.open()
        for interface in (ITransport, IConsumer, IPushProducer, IHalfCloseableDescriptor):
            verifyObject(interface, ours.transport)
        self.assertEqual(ours.transport.getPeer(), self.session.getPeer())
        self.assertEqual(theirs.transport.getHost(), self.them.session.getHost())
        self.assertTrue(ours.transport.connected)

    def test_nameAndOptions(self) -> None:
        """The acceptor is told name and options."""
        told: list[Any] = []

        def accept(name: bytes, options: StreamOptions) -> Protocol:
            told.append((name, options))
            return RecordingStream()

        self.them.stream = accept
        options = StreamOptions({"kind": b"file"}, 7)
        self.hosts.run(self.session.openStream(Factory.forProtocol(RecordingStream), b"a name", options))
        self.assertEqual(told, [(b"a name", options)])

    def test_byListener(self) -> None:
        """A listener opens streams just the same."""
        ours, theirs = self.hosts.stream(self.them.session, self.us)
        ours.transport.write(b"hello")
        self.hosts.settle()
        self.assertEqual(theirs.data, b"hello")

    def test_acceptedLater(self) -> None:
        """The acceptor may take its time."""
        answer: Deferred[Protocol] = Deferred()
        self.them.stream = lambda name, options: answer
        opening = self.session.openStream(Factory.forProtocol(RecordingStream))
        self.hosts.settle()
        self.assertNoResult(opening)
        answer.callback(RecordingStream())
        self.hosts.run(opening)

    def test_acceptedByCoroutine(self) -> None:
        """... or be a coroutine."""

        async def accept(name: bytes, options: StreamOptions) -> Protocol:
            await deferLater(self.hosts.server, 1.0)
            return RecordingStream()

        self.them.stream = accept
        self.hosts.run(self.session.openStream(Factory.forProtocol(RecordingStream)))

    def assertRefused(self, accept: Callable[..., Any], code: int, text: str) -> None:
        self.them.stream = accept
        opening = self.session.openStream(Factory.forProtocol(RecordingStream))
        self.hosts.settle()
        error = self.failureResultOf(opening, StreamRejected).value
        self.assertEqual(error.code, code)
        self.assertIn(text, error.text)

    def test_refused(self) -> None:
        """None refuses."""
        self.assertRefused(lambda name, options: None, Reason.STREAM_REJECTED, "does not take")

    def test_refusedWithReason(self) -> None:
        """A hypermail error refuses with its code and text."""

        def accept(name: bytes, options: StreamOptions) -> None:
            raise StreamRejected("not you", 12)

        self.assertRefused(accept, 12, "not you")

    def test_failed(self) -> None:
        """Any other exception refuses, too, and is logged; the session goes on."""

        def accept(name: bytes, options: StreamOptions) -> None:
            raise ValueError("secret")

        self.assertRefused(accept, Reason.STREAM_REJECTED, "ValueError")
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.open()

    def test_cancelled(self) -> None:
        """Cancelling the opening takes it back, and the acceptor's decision isn't needed any more."""
        cancelled: list[object] = []
        self.them.stream = lambda name, options: Deferred(cancelled.append)
        opening = self.session.openStream(Factory.forProtocol(RecordingStream))
        self.hosts.settle()
        opening.cancel()
        self.failureResultOf(opening, CancelledError)
        self.hosts.settle()
        self.assertEqual(len(cancelled), 1)

    def test_cancelledWhileAccepted(self) -> None:
        """Cancelled while the acceptance is on its way: the acceptor is connected, and loses it."""
        made = RecordingStream()
        self.them.stream = lambda name, options: made
        opening = self.session.openStream(Factory.forProtocol(RecordingStream))
        self.hosts.settle(0.015)
        opening.cancel()
        self.failureResultOf(opening, CancelledError)
        self.hosts.settle()
        self.assertLost(made, ConnectionLost, StreamCleared)

    def test_cancelledAndAcceptedAtOnce(self) -> None:
        """Taken by the application after the peer has taken it back: nothing happens."""
        answer: Deferred[Protocol] = Deferred(lambda _: None)
        self.them.stream = lambda name, options: answer
        opening = self.session.openStream(Factory.forProtocol(RecordingStream))
        self.hosts.settle()
        opening.cancel()
        self.failureResultOf(opening, CancelledError)
        self.hosts.settle()
        self.assertTrue(answer.called)

    def test_noProtocol(self) -> None:
        """A factory that builds nothing: the opening fails, the acceptor's stream is cleared."""

        class Nothing(Factory):
            def buildProtocol(self, addr: Any) -> None:
                return None

        made = RecordingStream()
        self.them.stream = lambda name, options: made
        opening = self.session.openStream(Nothing())
        self.hosts.settle()
        self.failureResultOf(opening, NoProtocol)
        self.assertLost(made, ConnectionLost, StreamCleared)

    def test_factoryIsStartedAndStopped(self) -> None:
        """The opener's factory is in use while the stream is."""
        factory: Any = RecordingFactory()
        factory.make = RecordingStream
        self.them.stream = lambda name, options: RecordingStream()
        protocol: Any = self.hosts.run(self.session.openStream(factory))
        self.assertEqual(factory.calls, ["start"])
        protocol.transport.loseConnection()
        self.hosts.settle()
        self.assertEqual(factory.calls, ["start", "stop"])
        self.them.stream = lambda name, options: None
        opening = self.session.openStream(factory)
        self.hosts.settle()
        self.failureResultOf(opening, StreamRejected)
        self.assertEqual(factory.calls, ["start", "stop"] * 2)

    def test_tooManyAttributes(self) -> None:
        """A stream that cannot be opened fails at once."""
        opening = self.session.openStream(Factory.forProtocol(RecordingStream), b"x" * 2_000)
        self.failureResultOf(opening, UsageError)

    def test_sessionEndsMeanwhile(self) -> None:
        """The session's end fails what is being opened, and cancels what is being decided."""
        cancelled: list[object] = []
        self.them.stream = lambda name, options: Deferred(cancelled.append)
        opening = self.session.openStream(Factory.forProtocol(RecordingStream))
        self.hosts.settle()
        self.them.session.abort()
        self.hosts.settle()
        self.failureResultOf(opening, SessionKilled)
        self.assertEqual(len(cancelled), 1)

    def test_connectionMadeFails(self) -> None:
        """An exception in C{connectionMade} is logged and ends the stream, for the peer, too."""

        class Failing(RecordingStream):
            def connectionMade(self) -> None:
                raise ValueError()

        theirs = Failing()
        self.them.stream = lambda name, options: theirs
        opening = self.session.openStream(Factory.forProtocol(RecordingStream))
        self.hosts.settle()
        self.failureResultOf(opening, StreamCleared)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        assert theirs.reason is not None
        theirs.reason.trap(ValueError)

    def answeredTooLate(self, answer: Any) -> None:
        """The application answers when the peer's change of mind has come, in the same datagram, and isn't told yet."""
        asked: Deferred[Any] = Deferred(lambda _: None)
        self.them.stream = lambda name, options: asked
        opening = self.session.openStream(Factory.forProtocol(RecordingStream))
        self.hosts.settle()
        self.them.answer = lambda message: asked.callback(answer)
        sent = self.session.sendMessage(b"now")
        opening.cancel()
        self.failureResultOf(opening, CancelledError)
        self.hosts.run(sent)
        self.hosts.run(self.session.ping())

    def test_acceptedTooLate(self) -> None:
        """A protocol for what the peer has taken back is told so: it may have something that needs to be closed."""
        made = RecordingStream()
        self.answeredTooLate(made)
        self.assertEqual(made.calls, ["connectionMade", "connectionLost"])

    def test_refusedTooLate(self) -> None:
        """Refusing it is harmless, too."""
        self.answeredTooLate(None)
