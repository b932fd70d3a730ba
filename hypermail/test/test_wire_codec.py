"""
Tests for L{hypermail.wire.codec} and all packets: round trips, byte layouts, and whatever is no packet.
"""

from __future__ import annotations

import contextlib

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hypermail.errors import MalformedPacket, ProtocolViolation
from hypermail.options import Delivery
from hypermail.test import packets as strategies
from hypermail.test.packets import EXAMPLES
from hypermail.wire import packets as p
from hypermail.wire.codec import decode
from hypermail.wire.heads import Head


def typed(packets: list[p.Packet]) -> list[tuple[type, p.Packet]]:
    """Packets with their types, since tuples of different types may be equal."""
    return [(type(packet), packet) for packet in packets]


class RoundTripTests(SynchronousTestCase):
    """What is written can be read."""

    def test_layouts(self) -> None:
        """Every kind of packet has exactly the bytes that the protocol's text gives it, in both directions."""
        for packet, written in EXAMPLES:
            self.assertEqual(packet.encode().hex(), written.hex(), packet)
            self.assertEqual(typed(decode(memoryview(written))), typed([packet]))

    def test_every_head_has_an_example(self) -> None:
        """The examples, on which other tests rest, cover every head that exists."""
        self.assertEqual({written[0] for _, written in EXAMPLES}, set(Head))

    @settings(deadline=None)
    @given(strategies.any_packet)
    def test_one(self, packet: p.Packet) -> None:
        """Any packet comes back from its own bytes, of the same type and equal."""
        self.assertEqual(typed(decode(memoryview(packet.encode()))), typed([packet]))

    @settings(deadline=None)
    @given(st.lists(strategies.any_packet, min_size=1, max_size=6), st.integers(0, 20))
    def test_many(self, packets: list[p.Packet], padding: int) -> None:
        """Any packets in one payload come back in order, padding at its end included."""
        if padding:
            packets = [*packets, p.Padding(padding)]
        payload = b"".join(packet.encode() for packet in packets)
        self.assertEqual(typed(decode(memoryview(payload))), typed(packets))

    def test_contents_are_views(self) -> None:
        """
        The contents of chunks, fragments and direct messages are memoryviews of the payload: reading copies nothing.
        """
        hot: list[p.Packet] = [p.StreamChunk(1, 0, b"abc"), p.StreamBlock(0, 0, 0, 3, 0, b"abc"), p.Direct(b"abc")]
        payload = b"".join(packet.encode() for packet in hot)
        chunk, block, direct = decode(memoryview(payload))
        assert isinstance(chunk, p.StreamChunk) and isinstance(block, p.StreamBlock) and isinstance(direct, p.Direct)
        for content in (chunk.data, block.data, direct.data):
            self.assertIsInstance(content, memoryview)
            assert isinstance(content, memoryview)
            self.assertIs(content.obj, payload)

    def test_runs_are_copied(self) -> None:
        """The messages of a run are bytes, which the datagram's buffer may be used again without changing."""
        buffer = bytearray(b"??" + p.StreamBlocks(0, 0, 7, [b"a", b"", b"ccc"]).encode() + b"??")
        (run,) = decode(memoryview(buffer)[2:-2])
        buffer[:] = bytes(len(buffer))
        self.assertEqual(run, p.StreamBlocks(0, 0, 7, [b"a", b"", b"ccc"]))
        assert isinstance(run, p.StreamBlocks)
        self.assertEqual({type(message) for message in run.messages}, {bytes})

    def test_views_are_written(self) -> None:
        """Contents may be given as memoryviews when they are written."""
        view = memoryview(b"abcdef")[1:4]
        self.assertEqual(p.StreamChunk(1, 0, view).encode(), p.StreamChunk(1, 0, b"bcd").encode())
        self.assertEqual(p.StreamBlock(0, 0, 0, 3, 0, view).encode(), p.StreamBlock(0, 0, 0, 3, 0, b"bcd").encode())
        self.assertEqual(p.StreamBlocks(0, 0, 0, [view]).encode(), p.StreamBlocks(0, 0, 0, [b"bcd"]).encode())  # type: ignore[list-item]
        self.assertEqual(p.Handshake(0, view).encode(), p.Handshake(0, b"bcd").encode())
        self.assertEqual(p.Direct(view).encode(), p.Direct(b"bcd").encode())

    def test_the_longest(self) -> None:
        """The greatest counts that are allowed do pass: an ack of 64 ranges, a run of 512 messages."""
        ack = p.Ack(0, tuple((number, number + 1) for number in range(2 * p.MAX_ACK_RANGES, 0, -2)))
        run = p.StreamBlocks(0, 0, 0, [b""] * p.MAX_RUN)
        self.assertEqual(len(ack.ranges), p.MAX_ACK_RANGES)
        self.assertEqual(typed(decode(memoryview(ack.encode() + run.encode()))), typed([ack, run]))


class MalformedTests(SynchronousTestCase):
    """What is no packet is refused, with the one error that stands for it."""

    def refuse(self, payload: bytes, *words: str) -> None:
        """Assert that a payload is refused, with a text that says why."""
        error = self.assertRaises(MalformedPacket, decode, memoryview(payload))
        self.assertIsInstance(error, ProtocolViolation)
        for word in words:
            self.assertIn(word, error.text)

    def test_empty(self) -> None:
        """A payload without any packet is malformed."""
        self.refuse(b"", "empty")

    def test_unknown_heads(self) -> None:
        """Every head that is not assigned is refused, alone and behind a packet, and named."""
        for head in set(range(256)) - set(Head):
            self.refuse(bytes((head,)), f"unknown head {head}")
            self.refuse(p.HealthPing(1).encode() + bytes((head,)) + bytes(100), f"unknown head {head}")

    def test_every_truncation(self) -> None:
        """Every packet cut short at every byte is refused, alone and behind a whole packet."""
        before = p.StreamGo(1, 2).encode()
        for packet, written in EXAMPLES:
            if isinstance(packet, p.Padding):
                continue  # the rest of a payload, however short it is
            for length in range(1, len(written)):
                self.refuse(written[:length], "cut short")
                self.refuse(before + written[:length], "cut short")

    @settings(deadline=None)
    @given(strategies.any_packet, st.data())
    def test_any_truncation(self, packet: p.Packet, draw: st.DataObject) -> None:
        """Any packet cut short anywhere is refused."""
        written = packet.encode()
        length = draw.draw(st.integers(0, len(written) - 1))
        self.assertRaises(MalformedPacket, decode, memoryview(written[:length]))

    @settings(deadline=None, max_examples=400)
    @given(st.binary(max_size=200))
    @example(bytes(200))
    @example(b"\xff" * 200)
    def test_random(self, payload: bytes) -> None:
        """Random bytes are packets or malformed, never another exception."""
        with contextlib.suppress(MalformedPacket):
            decode(memoryview(payload))

    @settings(deadline=None)
    @given(st.sampled_from(Head), st.binary(max_size=120) | st.binary(max_size=40).map(lambda end: bytes(60) + end))
    def test_random_behind_heads(self, head: Head, rest: bytes) -> None:
        """Random bytes behind any head are packets or malformed, never another exception."""
        with contextlib.suppress(MalformedPacket):
            for packet in decode(memoryview(bytes((head,)) + rest)):
                self.assertLessEqual(len(packet.encode()), len(rest) + 1 + 3 * 255)

    @settings(deadline=None)
    @given(strategies.any_packet, st.data())
    def test_damaged(self, packet: p.Packet, draw: st.DataObject) -> None:
        """A packet with one byte changed is a packet or malformed, never another exception."""
        written = bytearray(packet.encode())
        written[draw.draw(st.integers(0, len(written) - 1))] = draw.draw(strategies.u8)
        with contextlib.suppress(MalformedPacket):
            decode(memoryview(written))

    def test_session_packets(self) -> None:
        """Ways and verdicts that don't exist are refused."""
        end = strategies.PARAMETERS.encode()
        self.refuse(b"\0\3" + end, "way 3")
        self.refuse(b"\1\2" + end, "verdict 2")
        self.refuse(b"\3\3" + bytes(100), "verdict 3")

    def test_stream_packets(self) -> None:
        """Flags, verdicts and scopes that don't exist, and names that are no UTF-8, are refused."""
        self.refuse(b"\x09" + bytes(8) + b"\2" + bytes(20), "flags 2")
        self.refuse(b"\x09" + bytes(8) + b"\0" + b"\0\0" + b"\1" + b"\1\xff" + b"\0\0", "UTF-8")
        self.refuse(b"\x0a" + bytes(8) + b"\2" + bytes(20), "verdict 2")
        self.refuse(b"\x14\3" + bytes(30), "scope 3")

    def test_lacking_ranges(self) -> None:
        """Ranges of StreamLack that are empty, turned round, touching or not ascending are refused."""
        for ranges in (((1, 1),), ((2, 1),), ((5, 6), (1, 2)), ((1, 3), (2, 4)), ((1, 3), (3, 4))):
            self.refuse(p.StreamLack(1, ranges).encode(), "ascend")

    def test_settled_ranges(self) -> None:
        """Ranges of StreamBlockAck that touch the watermark, are empty or don't ascend are refused."""
        for ranges in (((3, 4),), ((2, 4),), ((5, 5),), ((6, 5),), ((8, 9), (5, 6)), ((5, 6), (6, 7))):
            self.refuse(p.StreamBlockAck(0, 3, ranges, ()).encode(), "ascend")

    def test_settled_verdicts(self) -> None:
        """A verdict on a message that is neither rejected nor cleared is refused."""
        written = bytearray(p.StreamBlockAck(0, 3, (), (p.Verdict(1, True, 0, ""),)).encode())
        for kind in (0, 3, 255):
            written[12 + 8] = kind
            self.refuse(bytes(written), f"verdict {kind}")

    def test_fragments(self) -> None:
        """A fragment that lies outside its message, or is empty within one that isn't, is refused."""
        for total, offset, data in ((2, 0, b"abc"), (3, 1, b"abc"), (3, 3, b""), (3, 0, b""), (0, 1, b"")):
            self.refuse(p.StreamBlock(0, 0, 0, total, offset, data).encode(), "fragment")

    def test_runs(self) -> None:
        """A run of no messages, or of more than there may be, is refused before anything is allotted for it."""
        self.refuse(p.BLOCKS.pack(Head.STREAM_BLOCKS, 0, 0, 0, 0), "run of 0")
        self.refuse(p.BLOCKS.pack(Head.STREAM_BLOCKS, 0, 0, 0, p.MAX_RUN + 1) + bytes(5_000), "run of 513")
        self.refuse(p.BLOCKS.pack(Head.STREAM_BLOCKS, 0, 0, 0, 65_535), "run of 65535")

    def test_acks(self) -> None:
        """Acknowledgements of no numbers, of numbers below 0, with empty gaps or ranges, or too many, are refused."""
        self.refuse(p.ACK.pack(Head.ACK, 5, 0, 0, 0), "none")
        self.refuse(p.ACK.pack(Head.ACK, 5, 0, 0, 7), "below 0")
        self.refuse(p.ACK.pack(Head.ACK, 5, 0, 1, 1) + p.pairs(1).pack(0, 1), "empty")
        self.refuse(p.ACK.pack(Head.ACK, 5, 0, 1, 1) + p.pairs(1).pack(1, 0), "empty")
        self.refuse(p.ACK.pack(Head.ACK, 5, 0, 1, 1) + p.pairs(1).pack(2, 4), "below 0")
        self.refuse(p.ACK.pack(Head.ACK, 1 << 40, 0, p.MAX_ACK_RANGES, 1) + b"\0\0\0\1" * 2 * 64, "65 ranges")

    def test_acks_of_the_first_numbers(self) -> None:
        """An acknowledgement may reach down to number 0, but no further."""
        ack = p.Ack(0, ((5, 6), (0, 3)))
        self.assertEqual(decode(memoryview(ack.encode())), [ack])


class LaneFlagsTests(SynchronousTestCase):
    """The byte that tells a lane's properties."""

    def test_round_trip(self) -> None:
        """Order, delivery and durability come back, each of the combinations in a byte of its own."""
        combinations = [(o, d, False) for o in (True, False) for d in (Delivery.ACKED, Delivery.BUFFERED)]
        combinations.append((True, Delivery.ACKED, True))
        flags = [p.encode_lane(*combination) for combination in combinations]
        self.assertEqual(flags, [0, 2, 1, 3, 8])
        self.assertEqual([p.decode_lane(byte) for byte in flags], combinations)

    def test_meaningless(self) -> None:
        """Direct messages have no lane, and nothing else is defined: such flags are refused."""
        for flags in set(range(4, 256)) - {8}:
            self.assertRaises(MalformedPacket, p.decode_lane, flags)
