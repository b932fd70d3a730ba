"""
Tests of L{hypermail.internet.transport}: what streams carry, over the core in the simulated network.
"""

from __future__ import annotations

from io import BytesIO

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.protocol import connectionDone
from twisted.protocols.basic import FileSender, LineReceiver
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from hypermail.errors import StreamCleared
from hypermail.options import Options
from hypermail.test.sessions import HalfCloseableStream, Hosts, RecordingStream
from hypermail.test.streams import Pusher, StreamTests
from hypermail.testing import Conditions


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
        content = bytes(range(256)) * 32_000
        most = Options().stream_window + Options().stream_pool
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
            self.assertLess(sum(map(len, theirs.transport._held)), most)
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
            def connectionLost(self, reason: Failure = connectionDone) -> None:
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
