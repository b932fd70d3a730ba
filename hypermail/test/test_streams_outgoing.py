"""
Tests for L{hypermail.streams.outgoing}: one direction, datagram by datagram.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from hypermail.errors import ProtocolViolation, UsageError
from hypermail.link.control import Control
from hypermail.link.payload import Payload
from hypermail.streams.outgoing import Outgoing
from hypermail.streams.states import Sending
from hypermail.wire import packets as p
from hypermail.wire.codec import decode
from hypermail.wire.ranges import RangeSet

NOTHING = RangeSet()


class OutgoingTests(SynchronousTestCase):
    """The direction that we send in."""

    def setUp(self) -> None:
        self.control = Control()
        self.ready = 0
        self.outgoing = Outgoing(4, 5_000, 8_000, self.control, self._tell)

    def _tell(self) -> None:
        self.ready += 1

    def datagram(self, room: int = 1_183) -> tuple[list[p.Packet], Payload]:
        """One datagram: what it holds, and itself."""
        payload = Payload(room)
        self.outgoing.fill(payload)
        self.assertEqual(room - sum(map(len, payload.parts)), payload.room)
        return (decode(memoryview(b"".join(payload.parts))) if payload.parts else []), payload

    def all(self) -> list[tuple[int, int]]:
        """The (offset, size) of all chunks that may go."""
        found = []
        while self.outgoing.has_more:
            for packet in self.datagram()[0]:
                assert isinstance(packet, p.StreamChunk)
                found.append((packet.offset, len(packet.data)))
        return found

    def controls(self) -> list[p.Packet]:
        """The control packets that wait."""
        payload = Payload(1 << 16)
        self.control.fill(payload)
        return decode(memoryview(b"".join(payload.parts))) if payload.parts else []

    def test_chunks(self) -> None:
        """What was written goes in chunks that fill their datagrams, joined across writes."""
        data = bytes(range(250)) * 10
        for start in range(0, len(data), 100):
            self.outgoing.write(data[start : start + 100])
        found = b""
        while self.outgoing.has_more:
            (chunk,), payload = self.datagram()
            assert isinstance(chunk, p.StreamChunk)
            self.assertEqual((chunk.id, chunk.offset), (4, len(found)))
            found += chunk.data
            self.assertEqual(payload.full, len(found) < len(data))
        self.assertEqual(found, data)
        self.assertEqual(self.ready, 25)

    def test_limit(self) -> None:
        """Nothing goes past the peer's limit; a higher one lets the rest go; a lower one changes nothing."""
        self.outgoing.write(bytes(6_000))
        self.assertEqual(sum(size for _, size in self.all()), 5_000)
        self.outgoing.raise_limit(4_000)
        self.assertFalse(self.outgoing.has_more)
        self.outgoing.raise_limit(5_500)
        self.assertEqual(self.all(), [(5_000, 500)])
        self.outgoing.raise_limit(9_000)
        self.assertEqual(self.all(), [(5_500, 500)])

    def test_run(self) -> None:
        """Datagrams that are full of chunks can be had all at once: as many as are written, allowed and wanted."""
        data = bytes(range(250)) * 30
        for start in range(0, len(data), 700):
            self.outgoing.write(data[start : start + 700])
        run = self.outgoing.run(1_019, 3)
        assert run is not None
        self.assertEqual((run.source, run.start, run.step, len(run.contents)), (self.outgoing, 0, 1_000, 3))
        for at, parts in enumerate(run.contents):
            (chunk,) = decode(b"".join(parts))
            self.assertEqual(chunk, p.StreamChunk(4, at * 1_000, data[at * 1_000 : at * 1_000 + 1_000]))
        run = self.outgoing.run(1_019, 9)
        assert run is not None
        self.assertEqual((run.start, len(run.contents)), (3_000, 2), "the peer allows 5,000 bytes")
        self.assertIsNone(self.outgoing.run(1_019, 9))
        self.outgoing.raise_limit(9_000)
        self.assertIsNone(self.outgoing.run(2_019, 9), "one is not worth it")
        self.outgoing.lost(0, 1_000)
        self.assertIsNone(self.outgoing.run(519, 9), "what was lost goes first")
        self.assertEqual(self.all(), [(0, 1_000), (5_000, 1_164), (6_164, 1_164), (7_328, 172)])

    def test_runIsAll(self) -> None:
        """A run that ends with the last byte is followed by the flush."""
        self.outgoing.write(bytes(4_000))
        self.outgoing.finish()
        self.assertIsNotNone(self.outgoing.run(1_019, 9))
        self.assertEqual(self.controls(), [p.StreamFlush(4, 4_000)])
        self.assertIs(self.outgoing.state, Sending.FLUSHING)

    def test_lostFirst(self) -> None:
        """Lost bytes go before new ones, cut anew, and only as long as the peer may lack them."""
        self.outgoing.write(bytes(4_000))
        _, first = self.datagram()
        _, second = self.datagram()
        for payload in (first, second):
            ((source, start, stop),) = payload.contents
            source.lost(start, stop)
            source.acked(start, stop)
        (chunk,), _ = self.datagram(600)
        self.assertEqual((chunk.offset, len(chunk.data)) if isinstance(chunk, p.StreamChunk) else None, (0, 581))
        self.outgoing.take_ack(p.StreamChunkAck(4, 1_500))
        self.assertEqual(self.all()[0][0], 1_500)

    def test_lostBelowAck(self) -> None:
        """Loss of what the peer has acknowledged brings nothing back."""
        self.outgoing.write(bytes(1_000))
        _, payload = self.datagram()
        self.outgoing.take_ack(p.StreamChunkAck(4, 1_000))
        ((source, start, stop),) = payload.contents
        source.lost(start, stop)
        self.assertFalse(self.outgoing.has_more)
        self.assertEqual((self.outgoing.unacked, self.outgoing.unsent), (0, 0))

    def test_notWorthIt(self) -> None:
        """A datagram that is nearly full takes no crumb; a last crumb that fits goes."""
        self.outgoing.write(bytes(1_000))
        packets, payload = self.datagram(p.CHUNK.size + 63)
        self.assertEqual((packets, payload.full), ([], True))
        self.outgoing.write(b"")
        small = Outgoing(4, 5_000, 8_000, self.control, self._tell)
        small.write(b"abc")
        payload = Payload(p.CHUNK.size + 3)
        small.fill(payload)
        self.assertEqual((payload.room, payload.full), (0, False))

    def test_finish(self) -> None:
        """The flush tells the final length once everything was sent, at once when nothing was written."""
        self.outgoing.write(bytes(1_500))
        self.outgoing.finish()
        self.outgoing.finish()
        self.assertRaises(UsageError, self.outgoing.write, b"more")
        self.datagram()
        self.assertEqual(self.controls(), [])
        self.datagram()
        self.assertEqual(self.controls(), [p.StreamFlush(4, 1_500)])
        self.assertIs(self.outgoing.state, Sending.FLUSHING)
        empty = Outgoing(6, 0, 10, self.control, self._tell)
        empty.finish()
        self.assertTrue(empty.has_more)
        empty.fill(Payload(100))
        self.assertEqual(self.controls(), [p.StreamFlush(6, 0)])

    def test_flushAck(self) -> None:
        """When the peer has it all nothing is kept; saying it again changes nothing."""
        self.outgoing.write(bytes(1_000))
        self.outgoing.finish()
        _, payload = self.datagram()
        self.outgoing.take_flush_ack()
        self.assertTrue(self.outgoing.over)
        self.assertEqual((self.outgoing.unacked, len(self.control)), (0, 0))
        self.outgoing.take_flush_ack()
        ((source, start, stop),) = payload.contents
        source.lost(start, stop)
        self.assertFalse(self.outgoing.has_more)
        self.outgoing.take_lack(p.StreamLack(4, ((0, 10),)), NOTHING)
        self.outgoing.take_ack(p.StreamChunkAck(4, 1_000))
        self.assertFalse(self.outgoing.has_more)

    def test_lack(self) -> None:
        """What the peer lacks after the flush is sent again, but for what is on its way."""
        self.outgoing.write(bytes(4_000))
        self.outgoing.finish()
        self.all()
        self.outgoing.take_lack(p.StreamLack(4, ((100, 200), (300, 400))), RangeSet([(150, 350)]))
        self.assertEqual(self.all(), [(100, 50), (350, 50)])

    def test_lackTooEarly(self) -> None:
        """A lack that comes before everything was sent says nothing."""
        self.outgoing.write(bytes(4_000))
        self.datagram()
        self.outgoing.take_lack(p.StreamLack(4, ((0, 100),)), NOTHING)
        self.assertEqual(self.all()[0][0], 1_164)

    def test_violations(self) -> None:
        """A peer that acknowledges, lacks or has flushed what was never sent breaks the protocol."""
        self.outgoing.write(bytes(1_000))
        self.assertRaises(ProtocolViolation, self.outgoing.take_ack, p.StreamChunkAck(4, 1))
        self.assertRaises(ProtocolViolation, self.outgoing.take_flush_ack)
        self.outgoing.finish()
        self.all()
        self.assertRaises(ProtocolViolation, self.outgoing.take_lack, p.StreamLack(4, ((0, 1_001),)), NOTHING)
        self.outgoing.take_lack(p.StreamLack(4, ()), NOTHING)

    def test_clear(self) -> None:
        """After a clear nothing is kept, sent or believed."""
        self.outgoing.write(bytes(2_000))
        self.outgoing.finish()
        _, payload = self.datagram()
        self.outgoing.clear()
        self.outgoing.clear()
        self.assertEqual((self.outgoing.over, self.outgoing.has_more, len(self.control)), (True, False, 0))
        ((source, start, stop),) = payload.contents
        source.lost(start, stop)
        self.outgoing.take_ack(p.StreamChunkAck(4, 1 << 40))
        self.outgoing.take_flush_ack()
        self.assertFalse(self.outgoing.has_more)
        self.assertIs(self.outgoing.state, Sending.CLEARED)
        self.assertRaises(UsageError, self.outgoing.write, b"more")
        self.outgoing.finish()

    def test_pressure(self) -> None:
        """The writer is told once when a buffer that was seen full is half empty."""
        self.outgoing.write(bytes(7_999))
        self.assertFalse(self.outgoing.full)
        self.assertFalse(self.outgoing.take_drained())
        self.outgoing.write(b"x")
        self.assertTrue(self.outgoing.full)
        for _ in range(3):
            self.datagram()
        self.assertFalse(self.outgoing.take_drained())
        self.datagram()
        self.assertTrue(self.outgoing.take_drained())
        self.assertFalse(self.outgoing.take_drained())

    def test_later(self) -> None:
        """A raise, be it none, ends what the peer's pause has said."""
        self.outgoing.later = True
        self.outgoing.raise_limit(0)
        self.assertFalse(self.outgoing.later)
