"""
Tests of L{hypermail.internet.transport} and L{hypermail.internet.reasons}: how streams end, over the core in the
simulated network.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import succeed
from twisted.internet.error import ConnectionAborted, ConnectionLost
from twisted.internet.protocol import Factory

from hypermail.errors import SessionKilled, StreamCleared
from hypermail.test.sessions import HalfCloseableStream, RecordingStream
from hypermail.test.streams import StreamTests


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
        self.hosts.settle(0.05)
        self.assertTrue(theirs.transport.disconnecting)
        self.assertNotIn("connectionLost", theirs.calls)
        self.hosts.settle(5)
        self.assertEqual(len(ours.data), 200_000)
        self.assertEqual(ours.calls[:3], ["connectionMade", "writeConnectionLost", "readConnectionLost"])
        ours.transport.loseConnection()
        self.hosts.settle(5)
        self.assertDone(ours, theirs)

    def test_nothingWritten(self) -> None:
        """A side that has written nothing is done with its peer's end."""
        ours, theirs = self.open()
        ours.transport.loseConnection()
        self.hosts.settle(0.011)
        self.assertDone(theirs)
        self.assertNotIn("connectionLost", ours.calls)

    def test_paused(self) -> None:
        """A side that is paused learns of the end when it resumes, as with TCP, also when it had everything before."""
        ours, theirs = self.open()
        ours.transport.write(b"x")
        self.hosts.settle()
        theirs.transport.pauseProducing()
        ours.transport.loseConnection()
        self.hosts.settle(5)
        self.assertEqual((theirs.data, theirs.calls), (b"x", ["connectionMade"]))
        theirs.transport.resumeProducing()
        self.hosts.settle()
        self.assertDone(ours, theirs)

    def test_pausedHalf(self) -> None:
        """... and so does one that may be closed one way, which may write meanwhile, and finish."""
        ours, theirs = self.open(HalfCloseableStream, HalfCloseableStream)
        theirs.transport.pauseProducing()
        ours.transport.loseWriteConnection()
        theirs.transport.write(b"y" * 100_000)
        theirs.transport.loseWriteConnection()
        self.hosts.settle(5)
        self.assertEqual((len(ours.data), theirs.calls), (100_000, ["connectionMade", "writeConnectionLost"]))
        self.assertDone(ours)
        theirs.transport.resumeProducing()
        self.hosts.settle()
        self.assertEqual(theirs.calls[2:], ["readConnectionLost", "connectionLost"])
        self.assertDone(theirs)

    def test_pausedTooLate(self) -> None:
        """A side that knows already that nothing more comes is not held up by pausing."""
        ours, theirs = self.open(HalfCloseableStream, HalfCloseableStream)
        ours.transport.loseWriteConnection()
        self.hosts.settle()
        theirs.transport.pauseProducing()
        theirs.transport.loseWriteConnection()
        self.hosts.settle()
        self.assertDone(ours, theirs)

    def test_pausedAndClosed(self) -> None:
        """A session that is closed lets a side that is paused have its end when it resumes; one that dies does not."""
        ours, theirs = self.open()
        theirs.transport.pauseProducing()
        ours.transport.loseConnection()
        self.hosts.run(self.session.close())
        self.assertEqual(theirs.calls, ["connectionMade"])
        theirs.transport.resumeProducing()
        self.hosts.settle()
        self.assertDone(theirs)

    def test_pausedAndKilled(self) -> None:
        """A side that is paused is told at once when its peer has not come to an end."""
        _, theirs = self.open()
        theirs.transport.pauseProducing()
        self.session.abort()
        self.hosts.settle()
        self.assertLost(theirs, ConnectionLost, SessionKilled)

    def test_heldBackWhenCleared(self) -> None:
        """A side that pauses in the middle of the last data gets the rest of them, though its peer is gone by then."""

        class Pausing(RecordingStream):
            def dataReceived(self, data: bytes) -> None:
                super().dataReceived(data)
                transport: Any = self.transport
                transport.pauseProducing()

        ours, theirs = self.open(theirs=Pausing)
        ours.transport.write(b"x" * 20_000)
        for _ in range(5):
            self.hosts.settle(1)
            theirs.transport.resumeProducing()
        self.assertEqual(len(theirs.data), 20_000)
        theirs.transport.pauseProducing()
        ours.transport.write(b"x" * 80_000)
        ours.transport.loseConnection()
        self.hosts.settle(2)
        theirs.transport.resumeProducing()
        self.hosts.settle(2)
        self.assertDone(ours)
        self.assertLess(len(theirs.data), 100_000)
        self.assertNotIn("connectionLost", theirs.calls)
        for _ in range(2):
            theirs.transport.resumeProducing()
            self.hosts.settle(2)
        self.assertEqual(len(theirs.data), 100_000)
        self.assertDone(theirs)

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
