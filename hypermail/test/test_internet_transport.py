"""
Tests of L{hypermail.internet.transport} and L{hypermail.internet.streaming}: streams as transports, over the core in
the simulated network.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost, NoProtocol
from twisted.internet.interfaces import IConsumer, IHalfCloseableDescriptor, IPushProducer, ITransport
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.protocols.basic import FileSender, LineReceiver
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from hypermail.errors import Reason, SessionKilled, StreamCleared, StreamRejected, UsageError
from hypermail.events import StreamOptions
from hypermail.options import Options
from hypermail.test.sessions import HalfCloseableStream, Hosts, RecordingFactory, RecordingStream
from hypermail.testing import Conditions


class StreamTests(SynchronousTestCase):
    """
    A session over a network with a delay of 10 ms.
    """

    def setUp(self) -> None:
        self.hosts = Hosts(Conditions(delay=0.01))
        self.us, self.them = self.hosts.open()
        self.session = self.us.session
        self.addCleanup(self.hosts.end)

    def open(self, ours: Any = RecordingStream, theirs: Any = RecordingStream) -> tuple[Any, Any]:
        return self.hosts.stream(self.session, self.them, ours, theirs)

    def assertDone(self, *protocols: RecordingStream) -> None:
        """These were told once, and last, that the connection was closed cleanly."""
        for protocol in protocols:
            self.assertEqual(protocol.calls.count("connectionLost"), 1, protocol.calls)
            self.assertEqual(protocol.calls[-1], "connectionLost")
            assert protocol.reason is not None
            protocol.reason.trap(ConnectionDone)

    def assertLost(self, protocol: RecordingStream, kind: type[Exception], cause: type[Exception]) -> Any:
        """This was told that the connection was not closed cleanly, and why."""
        self.assertEqual(protocol.calls.count("connectionLost"), 1)
        assert protocol.reason is not None
        self.assertIs(type(protocol.reason.value), kind)
        self.assertIsInstance(protocol.reason.value.__cause__, cause)
        return protocol.reason.value.__cause__


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
        protocol = self.hosts.run(self.session.openStream(factory))
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


class CarryingTests(StreamTests):
    """
    What a stream carries
    """

    def test_bothWays(self) -> None:
        """Bytes go both ways, however they are written."""
        ours, theirs = self.open()
        ours.transport.write(b"one ")
        ours.transport.writeSequence([b"two ", bytearray(b"three")])
        theirs.transport.write(memoryview(b"four"))
        ours.transport.write(b"")
        self.hosts.settle()
        self.assertEqual((theirs.data, ours.data), (b"one two three", b"four"))
        self.assertRaises(TypeError, ours.transport.write, "text")

    def test_large(self) -> None:
        """Megabytes arrive in order, in pieces of at most 64 KiB."""
        ours, theirs = self.open()
        sizes: list[int] = []

        def received(data: bytes) -> None:
            sizes.append(len(data))
            theirs.data += data

        theirs.dataReceived = received
        content = b"".join(number.to_bytes(4, "big") for number in range(500_000))
        ours.transport.write(content)
        self.hosts.settle(60)
        self.assertEqual(theirs.data, content)
        self.assertLessEqual(max(sizes), 65_536)

    def test_manyStreams(self) -> None:
        """Streams don't mix."""
        streams = [self.open() for _ in range(50)]
        for number, (ours, _) in enumerate(streams):
            ours.transport.write(b"%d" % number * 1000)
        self.hosts.settle(10)
        for number, (_, theirs) in enumerate(streams):
            self.assertEqual(theirs.data, b"%d" % number * 1000)

    def test_pause(self) -> None:
        """A paused protocol is given nothing, and everything when it resumes; the writer is held up meanwhile."""
        ours, theirs = self.open()
        theirs.transport.pauseProducing()
        theirs.transport.pauseProducing()
        producer = Pusher(ours.transport)
        self.hosts.settle(10)
        self.assertEqual((theirs.data, producer.paused), (b"", True))
        theirs.transport.resumeProducing()
        self.hosts.settle(10)
        self.assertGreater(len(theirs.data), 3 * Options().stream_buffer)
        producer.finish()

    def test_pauseInTheMiddle(self) -> None:
        """A protocol that pauses in C{dataReceived} is given no more of what has come already, until it resumes."""

        class Pausing(RecordingStream):
            sizes: list[int] = []

            def dataReceived(self, data: bytes) -> None:
                super().dataReceived(data)
                self.sizes.append(len(data))
                assert self.transport is not None
                self.transport.pauseProducing()  # type: ignore[attr-defined]

        ours, theirs = self.open(theirs=Pausing)
        content = bytes(range(256)) * 2_000
        ours.transport.write(content)
        ours.transport.loseConnection()
        self.hosts.settle(10)
        rounds = 0
        while len(theirs.data) < len(content):
            before = len(theirs.sizes)
            self.hosts.settle(1)
            self.assertEqual(len(theirs.sizes), before)
            theirs.transport.resumeProducing()
            self.hosts.settle(1)
            self.assertEqual(len(theirs.sizes), before + 1)
            self.assertLess(sum(map(len, theirs.transport._held)), 200_000)
            rounds += 1
        self.assertGreater(rounds, 5)
        self.assertEqual(theirs.data, content)
        theirs.transport.resumeProducing()
        self.hosts.settle(10)
        self.assertDone(ours, theirs)

    def test_resumeUnpaused(self) -> None:
        """Resuming what isn't paused is harmless."""
        ours, theirs = self.open()
        theirs.transport.resumeProducing()
        ours.transport.write(b"x")
        self.hosts.settle()
        self.assertEqual(theirs.data, b"x")

    def test_dataReceivedFails(self) -> None:
        """An exception in C{dataReceived} is logged and ends the stream with it; the session goes on."""

        class Failing(RecordingStream):
            def dataReceived(self, data: bytes) -> None:
                raise ValueError("secret")

        ours, theirs = self.open(theirs=Failing)
        ours.transport.write(b"x")
        self.hosts.settle()
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        assert theirs.reason is not None
        theirs.reason.trap(ValueError)
        self.assertNotIn("secret", self.assertLost(ours, ConnectionLost, StreamCleared).text)
        self.hosts.run(self.session.ping())

    def test_connectionLostFails(self) -> None:
        """An exception in C{connectionLost} is logged."""

        class Failing(RecordingStream):
            def connectionLost(self, reason: Failure = Failure(Exception())) -> None:
                raise ValueError()

        ours, _ = self.open(theirs=Failing)
        ours.transport.loseConnection()
        self.hosts.settle()
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_lines(self) -> None:
        """Twisted's protocols run over it: an echo of lines."""

        class Echo(LineReceiver):
            def lineReceived(self, line: bytes) -> None:
                self.sendLine(line[::-1])

        ours, _ = self.open(theirs=Echo)
        ours.transport.write(b"abc\r\nde")
        self.hosts.settle()
        ours.transport.write(b"f\r\n")
        self.hosts.settle()
        self.assertEqual(ours.data, b"cba\r\nfed\r\n")


class Pusher:
    """A push producer that writes whenever it may, until it has written 2 MB."""

    def __init__(self, transport: Any) -> None:
        self.transport = transport
        self.paused = False
        self.stopped = False
        self.left = 200
        transport.registerProducer(self, True)
        self.resumeProducing()

    def resumeProducing(self) -> None:
        self.paused = False
        while not self.paused and not self.stopped and self.left:
            self.left -= 1
            self.transport.write(b"x" * 10_000)

    def pauseProducing(self) -> None:
        self.paused = True

    def stopProducing(self) -> None:
        self.stopped = True

    def finish(self) -> None:
        self.stopped = True
        self.transport.unregisterProducer()


class ProducerTests(StreamTests):
    """
    Producers that write to a stream
    """

    def test_push(self) -> None:
        """A push producer is paused when the buffer is full, and resumed as it empties, again and again."""
        ours, theirs = self.open()
        producer = Pusher(ours.transport)
        self.assertTrue(producer.paused)
        self.hosts.settle(2)
        self.assertGreater(len(theirs.data), 4 * Options().stream_buffer)
        producer.finish()

    def test_pull(self) -> None:
        """A pull producer: a file is sent."""
        ours, theirs = self.open()
        content = bytes(range(256)) * 4_000
        sending = FileSender().beginFileTransfer(BytesIO(content), ours.transport)
        ours.transport.loseConnection()
        self.hosts.run(sending)
        self.hosts.settle(5)
        self.assertEqual(theirs.data, content)
        self.assertDone(ours, theirs)

    def test_pullFails(self) -> None:
        """A pull producer that raises ends the stream: what was written is incomplete."""

        class Broken:
            def resumeProducing(self) -> None:
                raise ValueError()

            def stopProducing(self) -> None:
                """It knows."""

        ours, theirs = self.open()
        ours.transport.registerProducer(Broken(), False)
        self.hosts.settle()
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.assertEqual(ours.calls[-1], "connectionLost")
        self.assertLost(theirs, ConnectionLost, StreamCleared)

    def test_twoProducers(self) -> None:
        """There is one producer at a time."""
        ours, _ = self.open()
        producer = Pusher(ours.transport)
        self.assertRaises(RuntimeError, ours.transport.registerProducer, producer, True)
        producer.finish()
        ours.transport.unregisterProducer()

    def test_stopped(self) -> None:
        """A producer is stopped when the connection is lost, and one that comes later, too."""
        ours, _ = self.open()
        producer = Pusher(ours.transport)
        self.them.session.abort()
        self.hosts.settle()
        self.assertTrue(producer.stopped)
        self.assertTrue(Pusher(ours.transport).stopped)

    def test_closingWaits(self) -> None:
        """After C{loseConnection} a producer may finish what it has begun, and nobody else writes."""
        ours, theirs = self.open()
        producer = Pusher(ours.transport)
        ours.transport.loseConnection()
        self.hosts.settle()
        self.assertNotIn("connectionLost", ours.calls)
        ours.transport.write(b"the end")
        producer.finish()
        ours.transport.write(b"too late")
        self.hosts.settle(10)
        self.assertTrue(theirs.data.endswith(b"xthe end"))
        self.assertDone(ours, theirs)

    def test_halfClosingWaits(self) -> None:
        """So may it after C{loseWriteConnection}."""
        ours, theirs = self.open(HalfCloseableStream, HalfCloseableStream)
        producer = Pusher(ours.transport)
        ours.transport.loseWriteConnection()
        ours.transport.write(b"the end")
        producer.finish()
        self.hosts.settle(10)
        self.assertTrue(theirs.data.endswith(b"xthe end"))
        self.assertIn("readConnectionLost", theirs.calls)


class EndingTests(StreamTests):
    """
    How a stream ends, which is as with TCP
    """

    def test_loseConnection(self) -> None:
        """Everything written is flushed, then both sides are done."""
        ours, theirs = self.open()
        ours.transport.write(b"x" * 500_000)
        ours.transport.loseConnection()
        ours.transport.loseConnection()
        ours.transport.write(b"too late")
        self.assertTrue(ours.transport.disconnecting)
        self.assertNotIn("connectionLost", ours.calls)
        self.hosts.settle(20)
        self.assertEqual(len(theirs.data), 500_000)
        self.assertDone(ours, theirs)
        self.assertEqual(self.session.statistics()["streams"], 0)
        self.assertEqual(self.them.session.statistics()["streams"], 0)
        self.assertTrue(ours.transport.disconnected)

    def test_peerFlushesToo(self) -> None:
        """What the other side has written before it learned of the end is still flushed, and thrown away here."""
        ours, theirs = self.open()
        theirs.transport.write(b"x" * 3_000)
        ours.transport.loseConnection()
        self.hosts.settle(5)
        self.assertDone(ours, theirs)

    def test_serverCloses(self) -> None:
        """An answer is flushed before the end, as servers do it."""

        class Answering(RecordingStream):
            def dataReceived(self, data: bytes) -> None:
                assert self.transport is not None
                self.transport.write(b"y" * 200_000)
                self.transport.loseConnection()

        ours, theirs = self.open(theirs=Answering)
        ours.transport.write(b"x")
        self.hosts.settle(5)
        self.assertEqual(len(ours.data), 200_000)
        self.assertDone(ours, theirs)

    def test_finishAfterWriting(self) -> None:
        """A side that has written, and whose peer finishes, flushes before it is done."""

        class Answering(RecordingStream):
            def dataReceived(self, data: bytes) -> None:
                assert self.transport is not None
                self.transport.write(b"y" * 200_000)

        ours, theirs = self.open(HalfCloseableStream, Answering)
        ours.transport.write(b"x")
        ours.transport.loseWriteConnection()
        self.hosts.settle(5)
        self.assertEqual(len(ours.data), 200_000)
        self.assertEqual(ours.calls[:3], ["connectionMade", "writeConnectionLost", "readConnectionLost"])
        ours.transport.loseConnection()
        self.hosts.settle(5)
        self.assertDone(ours, theirs)

    def test_stillSending(self) -> None:
        """A peer that goes on sending after our C{loseConnection} is told that nobody reads any more."""
        ours, theirs = self.open(theirs=HalfCloseableStream)
        ours.transport.write(b"x")
        ours.transport.loseConnection()
        self.hosts.settle(0.015)
        theirs.transport.write(b"y" * 1_000)
        self.hosts.settle(5)
        self.assertDone(ours)
        self.assertEqual(ours.data, b"")
        self.assertEqual(theirs.calls[:2], ["connectionMade", "readConnectionLost"])
        error = self.assertLost(theirs, ConnectionLost, StreamCleared)
        self.assertIn("nobody reads", error.text)

    def test_halfClose(self) -> None:
        """Each direction ends alone."""
        ours, theirs = self.open(HalfCloseableStream, HalfCloseableStream)
        ours.transport.write(b"question")
        ours.transport.loseWriteConnection()
        ours.transport.write(b"too late")
        self.hosts.settle()
        self.assertEqual((theirs.data, theirs.calls), (b"question", ["connectionMade", "readConnectionLost"]))
        self.assertEqual(ours.calls, ["connectionMade", "writeConnectionLost"])
        theirs.transport.write(b"answer")
        theirs.transport.loseWriteConnection()
        self.hosts.settle()
        self.assertEqual(ours.data, b"answer")
        self.assertDone(ours, theirs)
        self.assertEqual(ours.calls, ["connectionMade", "writeConnectionLost", "readConnectionLost", "connectionLost"])

    def test_loseAfterHalfClose(self) -> None:
        """C{loseConnection} of a side whose direction has ended: done, in the next turn."""
        ours, _ = self.open(HalfCloseableStream, HalfCloseableStream)
        ours.transport.loseWriteConnection()
        self.hosts.settle()
        ours.transport.loseConnection()
        self.assertNotIn("connectionLost", ours.calls)
        self.hosts.settle(0)
        self.assertDone(ours)

    def test_finishWhilePaused(self) -> None:
        """The end waits behind the data that a paused protocol was not given."""
        ours, theirs = self.open()
        theirs.transport.pauseProducing()
        ours.transport.write(b"x")
        ours.transport.loseConnection()
        self.hosts.settle(2)
        self.assertEqual((theirs.data, theirs.calls), (b"", ["connectionMade"]))
        theirs.transport.resumeProducing()
        self.hosts.settle(2)
        self.assertEqual(theirs.data, b"x")
        self.assertDone(ours, theirs)

    def test_loseWhilePaused(self) -> None:
        """A paused protocol that wants no more is given no more, and is done."""
        ours, theirs = self.open()
        theirs.transport.pauseProducing()
        ours.transport.write(b"x" * 100_000)
        self.hosts.settle()
        theirs.transport.loseConnection()
        self.hosts.settle(5)
        self.assertEqual(theirs.data, b"")
        self.assertDone(theirs)

    def test_abort(self) -> None:
        """C{abortConnection}: told in the next turn here, and as lost there."""
        ours, theirs = self.open()
        ours.transport.write(b"x" * 1_000_000)
        ours.transport.abortConnection()
        ours.transport.abortConnection()
        ours.transport.write(b"too late")
        self.assertNotIn("connectionLost", ours.calls)
        self.hosts.settle()
        assert ours.reason is not None
        self.assertIs(type(ours.reason.value), ConnectionAborted)
        self.assertLost(theirs, ConnectionLost, StreamCleared)
        ours.transport.abortConnection()
        ours.transport.loseConnection()

    def test_abortInDataReceived(self) -> None:
        """Aborting from within is no different; no more data come."""

        class Aborting(RecordingStream):
            def dataReceived(self, data: bytes) -> None:
                super().dataReceived(data)
                assert self.transport is not None
                self.transport.abortConnection()  # type: ignore[attr-defined]

        ours, theirs = self.open(theirs=Aborting)
        ours.transport.write(b"x" * 500_000)
        self.hosts.settle(5)
        self.assertLessEqual(len(theirs.data), 65_536)
        assert theirs.reason is not None
        theirs.reason.trap(ConnectionAborted)
        self.assertLost(ours, ConnectionLost, StreamCleared)

    def test_sessionLost(self) -> None:
        """The session's end is every stream's."""
        ours, theirs = self.open()
        self.them.session.abort("enough")
        self.hosts.settle()
        self.assertLost(ours, ConnectionLost, SessionKilled)
        self.assertEqual(theirs.calls[-1], "connectionLost")
        self.assertEqual(self.us.calls[-1], "sessionLost")

    def test_sessionClosed(self) -> None:
        """Closing the session flushes what was written first."""
        ours, theirs = self.open()
        ours.transport.write(b"x" * 300_000)
        closing = self.session.close()
        ours.transport.write(b"too late")
        self.hosts.run(closing)
        self.hosts.settle(5)
        self.assertEqual(len(theirs.data), 300_000)
        self.assertEqual((ours.calls[-1], theirs.calls[-1]), ("connectionLost", "connectionLost"))

    def test_heldBackAtTheEnd(self) -> None:
        """Data that a paused protocol holds back are cleared away with the session."""
        ours, theirs = self.open()
        theirs.transport.pauseProducing()
        ours.transport.write(b"x")
        self.hosts.settle()
        self.session.abort()
        self.hosts.settle()
        self.assertLost(theirs, ConnectionLost, SessionKilled)
        theirs.transport.resumeProducing()
        theirs.transport.pauseProducing()
        self.hosts.settle()
        self.assertEqual(theirs.data, b"")

    def test_stopProducing(self) -> None:
        """Who stops the transport as a producer closes it."""
        ours, theirs = self.open()
        ours.transport.stopProducing()
        self.hosts.settle()
        self.assertDone(ours, theirs)

    def test_acceptedDeferredFired(self) -> None:
        """A Deferred that has fired already accepts at once."""
        self.them.stream = lambda name, options: succeed(RecordingStream())
        self.hosts.run(self.session.openStream(Factory.forProtocol(RecordingStream)))


class LossyTests(SynchronousTestCase):
    """
    Streams through a bad network
    """

    def test_everythingArrives(self) -> None:
        """Loss, duplication, reordering, corruption: both directions arrive, and end cleanly."""
        conditions = Conditions(loss=0.1, duplication=0.1, reordering=0.2, corruption=0.03, delay=0.01, jitter=0.005)
        for seed in range(3):
            hosts = Hosts(conditions, seed)
            us, them = hosts.open(options=Options(connection_timeout=60.0))
            ours, theirs = hosts.stream(us.session, them, HalfCloseableStream, HalfCloseableStream)
            content = bytes(range(256)) * 1_000
            for stream in (ours, theirs):
                stream.transport.write(content)
                stream.transport.loseWriteConnection()
            hosts.settle(120)
            self.assertEqual((ours.data, theirs.data), (content, content))
            for stream in (ours, theirs):
                assert stream.reason is not None
                stream.reason.trap(ConnectionDone)
            hosts.network.set_conditions(Conditions())
            hosts.end()
