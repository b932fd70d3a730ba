"""
Tests for L{hypermail.streams.incoming}: one direction, packet by packet.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hypermail.errors import LimitExceeded, ProtocolViolation
from hypermail.link.control import Control
from hypermail.link.payload import Payload
from hypermail.streams.flow import Pool
from hypermail.streams.incoming import MOST_LACKING, Incoming
from hypermail.streams.states import Receiving
from hypermail.wire import packets as p
from hypermail.wire.codec import decode

WINDOW = 1_000


class IncomingCase(SynchronousTestCase):
    """Sets up a direction that we receive in."""

    def setUp(self) -> None:
        self.control = Control()
        self.pool = Pool(WINDOW, 10_000, 10_000)
        self.incoming = self.new()
        self.now = 0.0

    def new(self, id: int = 4) -> Incoming:
        """A new one."""
        return Incoming(id, WINDOW, self.pool, self.control)

    def chunk(self, offset: int, data: bytes) -> None:
        """Bytes arrive."""
        self.incoming.receive(offset, memoryview(data))

    def flush(self, length: int) -> None:
        """The end arrives."""
        self.incoming.receive_flush(p.StreamFlush(4, length))

    def taken(self) -> bytes:
        """What the application is given now."""
        return b"".join(self.incoming.take_ready(self.now, 0.1))

    def said(self) -> list[p.Packet]:
        """The control packets that wait; they arrive."""
        payload = Payload(1 << 16)
        self.control.fill(payload)
        for source, start, stop in payload.contents:
            source.acked(start, stop)
        return decode(memoryview(b"".join(payload.parts))) if payload.parts else []


class DataTests(IncomingCase):
    """Bytes in, bytes out."""

    def test_beforeAccept(self) -> None:
        """Data may come before the application has accepted; it gets nothing until then."""
        self.chunk(0, b"early")
        self.assertEqual((self.taken(), self.incoming.buffered), (b"", 5))
        self.incoming.accept()
        self.assertEqual((self.taken(), self.incoming.buffered), (b"early", 0))

    def test_windowBeforeAccept(self) -> None:
        """Before that exactly the window may come, and not one byte more."""
        self.chunk(0, bytes(WINDOW))
        self.assertRaises(LimitExceeded, self.chunk, WINDOW, b"x")

    def test_limitAfterAccept(self) -> None:
        """Afterwards exactly the limit that was told may come, and not one byte more."""
        self.incoming.accept()
        self.chunk(0, bytes(WINDOW))
        self.taken()
        limit = self.incoming.limit
        self.assertEqual(limit, WINDOW + WINDOW + self.pool.size)
        self.chunk(limit - 1, b"x")
        self.assertRaises(LimitExceeded, self.chunk, limit - 1, b"xy")

    def test_nothingReadYet(self) -> None:
        """A reader takes nothing out of the pool before there is something to read."""
        self.incoming.accept()
        self.assertEqual((self.incoming.limit, self.pool.used, self.said()), (WINDOW, 0, []))
        self.assertRaises(LimitExceeded, self.chunk, WINDOW, b"x")

    @given(st.lists(st.tuples(st.integers(0, 99), st.integers(1, 40)), max_size=30), st.randoms())
    def test_anyOrder(self, cuts: list[tuple[int, int]], random: object) -> None:
        """Chunks in any order, doubled and overlapping, give the bytes in order, once."""
        self.setUp()
        self.incoming.accept()
        data = bytes(range(100))
        pieces = [(start, min(100, start + size)) for start, size in cuts] + [(n, n + 10) for n in range(0, 100, 10)]
        random.shuffle(pieces)  # type: ignore[attr-defined]
        found = b""
        for index, (start, stop) in enumerate(pieces):
            if index == len(pieces) // 2:
                self.flush(100)
            self.chunk(start, data[start:stop])
            found += self.taken()
            self.assertEqual(found, data[: len(found)])
        self.assertEqual(found, data)
        self.assertTrue(self.incoming.take_finished())
        self.assertFalse(self.incoming.take_finished())

    def test_pieces(self) -> None:
        """Chunks that follow each other can be taken at once, wherever they begin, and end within all limits."""
        self.incoming.accept()
        self.incoming.receive_pieces(0, [b"on", b"e "])
        self.incoming.receive_pieces(6, [b"thr", b"ee"])
        self.assertEqual(self.taken(), b"one ")
        self.incoming.receive_pieces(2, [b"xx", b"wo"])
        self.assertEqual(self.taken(), b"wothree")
        self.assertRaises(LimitExceeded, self.incoming.receive_pieces, 11, [b"x", bytes(self.incoming.limit - 11)])
        self.flush(12)
        self.assertRaises(ProtocolViolation, self.incoming.receive_pieces, 11, [b"!", b"!"])
        self.incoming.receive_pieces(11, [b"!"])
        self.assertEqual(self.taken(), b"!")
        self.assertTrue(self.incoming.take_finished())

    def test_views(self) -> None:
        """What is given on at once is not copied; what has to wait is, since a view keeps all that it is a view of."""
        content = memoryview(bytes(50))
        self.incoming.receive(0, content[:1])
        self.incoming.accept()
        self.incoming.receive(1, content[1:2])
        self.incoming.pause()
        self.incoming.receive(2, content[2:3])
        self.incoming.resume()
        ready = self.incoming.take_ready(0.0, 0.1)
        self.assertEqual([type(piece) for piece in ready], [bytes, memoryview, bytes])
        self.incoming.receive(5, content[5:6])
        self.incoming.receive(3, content[3:5])
        self.assertEqual([type(piece) for piece in self.incoming.take_ready(0.0, 0.1)], [bytes, bytes])

    def test_memory(self) -> None:
        """Whatever the order, no more is kept than the limit allows."""
        self.incoming.accept()
        limit = self.incoming.limit
        for start in range(500, limit, 500):
            self.chunk(start, bytes(min(500, limit - start)))
        self.assertEqual(self.incoming.buffered, limit - 500)
        self.chunk(0, bytes(500))
        self.assertEqual(len(self.taken()), limit)


class FinishTests(IncomingCase):
    """The end of the direction."""

    def test_acknowledgedWhenGiven(self) -> None:
        """The flush is acknowledged when the application has been given everything, not before."""
        self.chunk(0, b"all")
        self.flush(3)
        self.assertFalse(self.incoming.take_finished())
        self.assertEqual(self.said(), [])
        self.incoming.accept()
        self.assertEqual(self.taken(), b"all")
        self.assertTrue(self.incoming.take_finished())
        self.assertTrue(self.incoming.over)
        self.assertEqual(self.said(), [p.StreamFlushAck(4)])
        self.assertEqual(self.pool.used, 0)

    def test_empty(self) -> None:
        """A direction without a byte ends, too."""
        self.incoming.accept()
        self.flush(0)
        self.assertTrue(self.incoming.take_finished())

    def test_lack(self) -> None:
        """A flush that comes before its data is answered with what is missing."""
        self.incoming.accept()
        self.chunk(100, bytes(50))
        self.flush(300)
        self.assertEqual(self.said(), [p.StreamLack(4, ((0, 100), (150, 300)))])
        self.chunk(0, bytes(100))
        self.flush(300)
        self.assertEqual(self.said(), [p.StreamLack(4, ((150, 300),))])

    def test_lackIsBounded(self) -> None:
        """A lack names a bounded number of ranges."""
        self.incoming.accept()
        for start in range(1, 121, 2):
            self.chunk(start, b"x")
        self.flush(200)
        (lack,) = self.said()
        self.assertEqual(len(lack.ranges) if isinstance(lack, p.StreamLack) else 0, MOST_LACKING)

    def test_repeated(self) -> None:
        """Repeated flushes change nothing, at any time."""
        self.incoming.accept()
        self.chunk(0, b"abc")
        for _ in range(2):
            self.flush(3)
        self.taken()
        self.incoming.take_finished()
        self.flush(3)
        self.chunk(0, b"abc")
        self.assertEqual(self.taken(), b"")
        self.assertIs(self.incoming.state, Receiving.DELIVERED)

    def test_contradictions(self) -> None:
        """A length that contradicts an earlier one, or what was sent, breaks the protocol; so does more data."""
        self.incoming.accept()
        self.chunk(10, b"abc")
        self.assertRaises(ProtocolViolation, self.flush, 12)
        self.flush(20)
        self.assertRaises(ProtocolViolation, self.flush, 21)
        self.assertRaises(ProtocolViolation, self.flush, 19)
        self.assertRaises(ProtocolViolation, self.chunk, 20, b"x")

    def test_contradictsZero(self) -> None:
        """That the length is 0 can't be taken back either."""
        self.incoming.accept()
        self.flush(0)
        error = self.assertRaises(ProtocolViolation, self.flush, 5)
        self.assertIn("has 0 bytes", error.text)

    def test_lengthBeyondLimit(self) -> None:
        """A length beyond the limit breaks the limit."""
        self.assertRaises(LimitExceeded, self.flush, WINDOW + 1)


class ClearTests(IncomingCase):
    """The direction is given up."""

    def test_clear(self) -> None:
        """Afterwards nothing is kept, said, or taken, and the pool has its share back."""
        self.incoming.accept()
        self.chunk(0, bytes(500))
        self.chunk(600, bytes(10))
        self.incoming.pause()
        self.incoming.clear()
        self.incoming.clear()
        self.assertEqual((self.incoming.over, self.taken(), self.said(), self.pool.used), (True, b"", [], 0))
        self.chunk(1 << 40, b"x")
        self.flush(1 << 40)
        self.assertEqual((self.taken(), len(self.control)), (b"", 0))

    def test_afterDelivery(self) -> None:
        """What is complete stays so, and its acknowledgement is still said."""
        self.incoming.accept()
        self.flush(0)
        self.incoming.take_finished()
        self.incoming.clear()
        self.assertEqual((self.incoming.state, self.said()), (Receiving.DELIVERED, [p.StreamFlushAck(4)]))


class PauseTests(IncomingCase):
    """The application pauses."""

    def test_pause(self) -> None:
        """While it is paused nothing is given, and the peer is told once that no raise will come."""
        self.incoming.accept()
        self.incoming.pause()
        self.incoming.pause()
        self.chunk(0, bytes(WINDOW))
        self.assertEqual(self.taken(), b"")
        self.assertEqual(self.said(), [p.StreamLater(4)])

    def test_resume(self) -> None:
        """Going on gives what waited, and tells the peer to go, even when the limit has not changed."""
        self.incoming.accept()
        limit = self.incoming.limit
        self.incoming.pause()
        self.chunk(0, b"abc")
        self.incoming.resume()
        self.incoming.resume()
        self.assertEqual(self.taken(), b"abc")
        self.assertEqual(self.said(), [p.StreamGo(4, limit)])

    def test_quick(self) -> None:
        """A pause and its end in one turn send one packet, not two."""
        self.incoming.accept()
        self.incoming.pause()
        self.incoming.resume()
        self.assertEqual([type(packet) for packet in self.said()], [p.StreamGo])

    def test_beforeAccept(self) -> None:
        """A pause before the stream is accepted needs no word."""
        self.incoming.pause()
        self.incoming.accept()
        self.chunk(0, b"abc")
        self.assertEqual((self.taken(), self.said()), (b"", []))
        self.incoming.resume()
        self.assertEqual((self.taken(), self.said()), (b"abc", []))

    def test_complete(self) -> None:
        """When everything has arrived a pause needs no word either, but still holds back."""
        self.incoming.accept()
        self.incoming.pause()
        self.chunk(0, b"abc")
        self.flush(3)
        self.incoming.resume()
        self.incoming.pause()
        self.assertEqual(self.taken(), b"")
        self.incoming.resume()
        self.assertEqual(self.taken(), b"abc")
        self.assertTrue(self.incoming.take_finished())
        self.assertEqual(self.said(), [p.StreamFlushAck(4)])


class LimitTests(IncomingCase):
    """Limits are raised as the application reads."""

    def test_raised(self) -> None:
        """As bytes are read the limit goes up and offsets are acknowledged, so that the peer can go on."""
        self.incoming.accept()
        limit = self.incoming.limit
        at = 0
        acked = 0
        for _ in range(200):
            self.now += 0.01
            size = min(400, limit - at)
            self.assertGreater(size, 0, "the peer is stuck")
            self.chunk(at, bytes(size))
            at += size
            self.taken()
            for packet in self.said():
                if isinstance(packet, p.StreamGo):
                    self.assertGreater(packet.limit, limit)
                    limit = packet.limit
                elif isinstance(packet, p.StreamChunkAck):
                    self.assertLessEqual(packet.offset, at)
                    acked = packet.offset
            self.assertLessEqual(limit - at, WINDOW + self.pool.size)
        self.assertGreater(acked, at - 5_000)

    def test_grows(self) -> None:
        """A reader gets 64 windows at first, and four times as much whenever that lasts for less than it takes."""
        self.pool = Pool(WINDOW, 2_000_000, 2_000_000)
        self.incoming = self.new()
        self.incoming.accept()
        limit = WINDOW
        at = 0
        for pause, factor in ((0.01, 1), (0.01, 4), (1.0, 4), (0.01, 16)):
            self.now += pause
            before = limit
            while limit == before:
                self.chunk(at, bytes(WINDOW))
                at += WINDOW
                self.taken()
                limit = next((packet.limit for packet in self.said() if isinstance(packet, p.StreamGo)), limit)
            self.assertEqual(limit - at, (1 + 64 * factor) * WINDOW)

    def test_notTooChatty(self) -> None:
        """A limit is not raised for every chunk."""
        self.incoming.accept()
        words = 0
        for at in range(0, 10 * WINDOW, 10):
            self.now += 1.0
            self.chunk(at, bytes(10))
            self.taken()
            words += len(self.said())
        self.assertLess(words, 30)

    def test_noPool(self) -> None:
        """Without a pool a stream still has its window beyond what was read."""
        self.pool = Pool(WINDOW, 0, 0)
        self.incoming = self.new()
        self.incoming.accept()
        self.chunk(0, bytes(WINDOW))
        self.taken()
        self.assertIn(p.StreamGo(4, 2 * WINDOW), self.said())

    def test_promisedIsKept(self) -> None:
        """What was promised is not taken back when other readers come, and nobody's promise is broken."""
        self.incoming.accept()
        self.chunk(0, bytes(WINDOW))
        self.taken()
        limit = self.incoming.limit
        others = [self.new(6 + 2 * number) for number in range(50)]
        for other in others:
            other.accept()
        before = self.pool.used
        half = (limit - WINDOW) // 2
        self.chunk(WINDOW, bytes(half))
        self.taken()
        self.assertEqual(self.pool.used, before - half, "what was promised and isn't used up still counts")
        self.chunk(WINDOW + half, bytes(limit - WINDOW - half))
        self.taken()
        self.assertLessEqual(self.pool.used, max(before, self.pool.size))

    def test_poolBound(self) -> None:
        """However many streams are read, all their limits together stay within windows and pool."""
        streams = [self.new(2 * number) for number in range(100)]
        for stream in streams:
            stream.accept()
        for stream in streams:
            stream.receive(0, memoryview(bytes(WINDOW)))
            stream.take_ready(self.now, 0.1)
        limits = [stream.limit - WINDOW for stream in streams]
        self.assertLessEqual(sum(limits), 100 * WINDOW + self.pool.size)
        self.assertEqual(min(limits), max(limits), "streams that begin together have equal shares")
