"""
Tests for L{hypermail.security.seal}.
"""

from __future__ import annotations

from zlib import crc32

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hypermail.security.seal import PlainSeal
from hypermail.wire import header
from hypermail.wire.header import Long

HEADERS = [
    header.encode_short(0x0123456789ABCDEF, 7),
    header.encode_long(Long(0, header.VERSION, 1, 2, 3, b"", 0)),
    header.encode_long(Long(1, header.VERSION, 1, 2, 3, b"a token", 0)),
]


class PlainSealTests(SynchronousTestCase):
    """CRC-32 behind header and content."""

    @settings(deadline=None)
    @given(st.binary(max_size=60), st.lists(st.binary(max_size=60), max_size=6), st.integers(0, (1 << 62) - 1))
    def test_round_trip(self, head: bytes, parts: list[bytes], number: int) -> None:
        """The content comes back, and sealing costs as many bytes as it says."""
        seal = PlainSeal()
        datagram = seal.seal(head, parts, number)
        content = seal.open(memoryview(datagram), len(head), number)
        assert content is not None
        self.assertEqual(bytes(content), b"".join(parts))
        self.assertEqual(len(datagram), len(head) + sum(map(len, parts)) + seal.overhead)

    def test_layout(self) -> None:
        """The checksum is zlib's CRC-32 of all before it, 4 bytes in network order."""
        datagram = PlainSeal().seal(b"head", [b"content"], 0)
        self.assertEqual(datagram, b"headcontent" + crc32(b"headcontent").to_bytes(4, "big"))

    def test_keeps(self) -> None:
        """The content stays what it is when the datagram's memory is used again."""
        datagram = bytearray(PlainSeal().seal(b"head", [b"content"], 0))
        content = PlainSeal().open(memoryview(datagram), 4, 0)
        datagram[:] = bytes(len(datagram))
        self.assertEqual(content, b"content")

    def test_every_bit(self) -> None:
        """With any one bit changed, of any header, of the content or of the checksum, nothing opens."""
        for head in HEADERS:
            datagram = PlainSeal().seal(head, [b"some ", b"content"], 7)
            self.assertIsNotNone(PlainSeal().open(memoryview(datagram), len(head), 7))
            for bit in range(8 * len(datagram)):
                altered = bytearray(datagram)
                altered[bit >> 3] ^= 1 << (bit & 7)
                self.assertIsNone(PlainSeal().open(memoryview(altered), len(head), 7), bit)

    def test_every_byte(self) -> None:
        """With any one byte changed to any other nothing opens."""
        datagram = PlainSeal().seal(HEADERS[0], [b"content"], 7)
        for index in range(len(datagram)):
            for change in range(1, 256):
                altered = bytearray(datagram)
                altered[index] ^= change
                self.assertIsNone(PlainSeal().open(memoryview(altered), len(HEADERS[0]), 7))

    def test_truncated(self) -> None:
        """A datagram cut short or made longer does not open, not even one that has no room for a checksum."""
        for head in HEADERS:
            datagram = PlainSeal().seal(head, [b"content"], 7)
            for length in range(len(datagram)):
                self.assertIsNone(PlainSeal().open(memoryview(datagram[:length]), len(head), 7))
            self.assertIsNone(PlainSeal().open(memoryview(datagram + b"\0"), len(head), 7))

    def test_checksum_within_header(self) -> None:
        """Bytes with a right checksum that are shorter than their header do not open."""
        datagram = PlainSeal().seal(b"abc", [], 0)
        self.assertEqual(PlainSeal().open(memoryview(datagram), 3, 0), b"")
        self.assertIsNone(PlainSeal().open(memoryview(datagram), 4, 0))
