"""
Tests for L{hypermail.hive.reading}.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hypermail.hive.errors import FrameInvalid
from hypermail.hive.frames import LARGEST, LARGEST_STRANGE
from hypermail.hive.reading import FrameReader, framed


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
        reader.feed(b"".join(framed(b"x" * LARGEST_STRANGE)) + b"".join(framed(b"y" * LARGEST))[:-1])
        self.assertEqual(reader.next(), b"x" * LARGEST_STRANGE)
        reader.largest = LARGEST
        self.assertIsNone(reader.next())
        reader.feed(b"y")
        self.assertEqual(reader.next(), b"y" * LARGEST)
        reader.feed(b"\x7f\xff\xff\xff\x00")
        self.assertRaises(FrameInvalid, reader.next)

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
