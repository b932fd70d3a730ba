"""
Tests for L{hypermail.hive.reading}.
"""

from __future__ import annotations

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hypermail.hive.errors import FrameInvalid
from hypermail.hive.frames import LARGEST, LARGEST_JSON, LARGEST_STRANGE
from hypermail.hive.reading import PART, FrameReader, framed


def read(reader: FrameReader) -> list[bytes]:
    """All frames that are here."""
    found = []
    while (frame := reader.next()) is not None:
        found.append(frame)
    return found


class ReadingTests(SynchronousTestCase):
    """Frames out of pieces."""

    @given(st.lists(st.binary(min_size=1, max_size=40)), st.lists(st.integers(1, 30)))
    def test_any_pieces(self, frames: list[bytes], sizes: list[int]) -> None:
        """However they are cut up, they are what was written, and each is here as soon as its last byte is."""
        data = b"".join(b"".join(framed(frame)) for frame in frames)
        ends = [sum(4 + len(frame) for frame in frames[: number + 1]) for number in range(len(frames))]
        reader, found, came = FrameReader(), [], 0
        for size in [*sizes, len(data)]:
            reader.feed(data[came : came + size])
            came = min(came + size, len(data))
            found += read(reader)
            self.assertEqual(found, frames[: sum(end <= came for end in ends)])
        self.assertEqual(found, frames)

    def test_limit(self) -> None:
        """What is too large is refused by its length alone, and the limit can be raised."""
        reader = FrameReader()
        reader.feed((LARGEST_STRANGE + 1).to_bytes(4, "big"))
        self.assertIn("4,097 bytes; 4,096 are the most", self.assertRaises(FrameInvalid, reader.next).text)
        reader = FrameReader()
        reader.feed(b"".join(framed(b"x" * LARGEST_STRANGE)) + b"".join(framed(b"y" * LARGEST_JSON))[:-1])
        self.assertEqual(reader.next(), b"x" * LARGEST_STRANGE)
        reader.largest = LARGEST
        self.assertIsNone(reader.next())
        reader.feed(b"y")
        self.assertEqual(reader.next(), b"y" * LARGEST_JSON)
        reader.feed(b"\x7f\xff\xff\xff\x00")
        self.assertRaises(FrameInvalid, reader.next)

    def test_json(self) -> None:
        """JSON has a smaller limit than bodies, and is refused as soon as that can be seen."""
        for kind, refused in ((b"\x39", True), (b"\x3a", False)):
            reader = FrameReader(LARGEST)
            reader.feed((LARGEST_JSON + 1).to_bytes(4, "big"))
            self.assertIsNone(reader.next())
            reader.feed(kind)
            if refused:
                self.assertRaises(FrameInvalid, reader.next)
            else:
                self.assertIsNone(reader.next())

    def test_parts(self) -> None:
        """A large body is given out as it comes, as several frames of its kind, and little of it is kept."""
        for kind in (b"\x31", b"\x3a"):
            reader, found, most = FrameReader(LARGEST), [], 0
            content = bytes(range(256)) * 2_000
            data = b"".join(framed(kind + content)) + b"".join(framed(b"\x3b"))
            for at in range(0, len(data), 1_000):
                reader.feed(data[at : at + 1_000])
                found += read(reader)
                most = max(most, reader._size)
            *parts, last = found
            self.assertEqual((b"".join(part[1:] for part in parts), last), (content, b"\x3b"))
            self.assertEqual({part[:1] for part in parts}, {kind})
            self.assertLess(most, PART)

    def test_small_pieces(self) -> None:
        """What comes in tiny pieces takes the room of its bytes, not of so many pieces."""
        reader = FrameReader(LARGEST)
        reader.feed(LARGEST_JSON.to_bytes(4, "big"))
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            for number in range(50_000):
                reader.feed(number.to_bytes(2, "big"))
            self.assertLess(tracemalloc.get_traced_memory()[0] - before, 200_000)
        finally:
            tracemalloc.stop()

    def test_empty(self) -> None:
        """A frame has a kind at least."""
        reader = FrameReader()
        reader.feed(b"\x00\x00\x00\x00")
        self.assertRaises(FrameInvalid, reader.next)

    def test_nothing_kept(self) -> None:
        """What was read is not kept, nor is anything that is empty."""
        reader = FrameReader()
        for _ in range(10):
            reader.feed(b"".join(framed(b"abc")) * 3)
            reader.feed(b"")
            self.assertEqual(read(reader), [b"abc"] * 3)
        self.assertEqual((reader._size, len(reader._pieces)), (0, 0))
