"""
Tests for L{hypermail.wire.header}: the five kinds of datagrams.
"""

from __future__ import annotations

from collections.abc import Callable
from zlib import crc32

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hypermail.test.packets import u8, u32, u64
from hypermail.wire import header
from hypermail.wire.header import Kind, Long, Reset, Retry, Versions

tokens = st.binary(max_size=header.MAX_TOKEN)
longs = st.builds(Long, st.integers(0, 15), u32, u64, u64, u32, tokens, st.just(0))
retries = st.builds(Retry, u64, u64, st.binary(min_size=1, max_size=header.MAX_TOKEN))
resets = st.builds(Reset, u64, st.binary(min_size=16, max_size=16))
versions = st.builds(Versions, u64, u64, st.lists(u32, max_size=255).map(tuple), st.lists(u8, max_size=255).map(tuple))
THREE = "0000000000000003"
FOUR = "0000000000000004"
DECODERS: list[Callable[[memoryview], object]] = [
    header.decode_long,
    header.decode_retry,
    header.decode_reset,
    header.decode_versions,
]


class LayoutTests(SynchronousTestCase):
    """Bytes written by hand."""

    def test_short(self) -> None:
        """A short header: kind and phase, tag, the low 32 bits of the number; 13 bytes, 17 with the plain seal."""
        written = header.encode_short(0x0102030405060708, (5 << 32) + 9)
        self.assertEqual(written.hex(), "".join(("40", "0102030405060708", "00000009")))
        self.assertEqual(header.encode_short(1, 1, phase=1)[0], 0x41)
        self.assertEqual(len(written), header.SHORT.size)

    def test_long(self) -> None:
        """A long header: kind and mode, both tags, version, low number, token."""
        written = header.encode_long(Long(2, 1, 3, 4, 5, b"tok", 0))
        self.assertEqual(written.hex(), "".join(("c2", THREE, FOUR, "00000001", "00000005", "0003", "746f6b")))

    def test_others(self) -> None:
        """Retry, reset and version datagrams, byte for byte."""
        self.assertEqual(
            header.encode_retry(Retry(3, 4, b"tok")).hex(),
            "".join(("d0", THREE, FOUR, "00000001", "0003", "746f6b", "c2d84409")),
        )
        self.assertEqual(header.encode_reset(Reset(3, b"t" * 16)).hex(), "".join(("d1", THREE, "74" * 16)))
        self.assertEqual(
            header.encode_versions(Versions(3, 4, (1, 0xFFFFFFFF), (0, 1, 2))).hex(),
            "".join(("d2", THREE, FOUR, "02", "03", "00000001", "ffffffff", "000102", "4f51ebee")),
        )

    def test_tag_behind_kind(self) -> None:
        """In every kind the first tag stands behind the first byte: a later version can be told by it, too."""
        tag = 0x1122334455667788
        for datagram in (
            header.encode_short(tag, 0),
            header.encode_long(Long(0, 1, tag, 0, 0, b"", 0)),
            header.encode_retry(Retry(tag, 0, b"")),
            header.encode_reset(Reset(tag, bytes(16))),
            header.encode_versions(Versions(tag, 0, (), ())),
        ):
            self.assertEqual(int.from_bytes(datagram[1:9], "big"), tag)

    def test_kinds_apart(self) -> None:
        """The first byte tells the kinds apart, whatever mode or phase it carries."""
        short = {Kind.SHORT | phase for phase in (0, 1)}
        long = {Kind.LONG | mode for mode in range(16)}
        self.assertEqual(len(short | long | {Kind.RETRY, Kind.RESET, Kind.VERSION}), 2 + 16 + 3)


class RoundTripTests(SynchronousTestCase):
    """What is written can be read."""

    @settings(deadline=None)
    @given(longs, st.binary(max_size=30))
    def test_long(self, head: Long, behind: bytes) -> None:
        """A long header comes back, with its length, whatever is behind it."""
        written = header.encode_long(head)
        self.assertEqual(header.decode_long(memoryview(written + behind)), head._replace(length=len(written)))

    @settings(deadline=None)
    @given(u64, u64, st.integers(0, 1))
    def test_short(self, tag: int, number: int, phase: int) -> None:
        """A short header comes back, its number as the low 32 bits."""
        written = header.encode_short(tag, number, phase)
        self.assertEqual(header.SHORT.unpack(written), (Kind.SHORT | phase, tag, number & 0xFFFFFFFF))

    @settings(deadline=None)
    @given(retries)
    def test_retry(self, retry: Retry) -> None:
        """A retry comes back."""
        self.assertEqual(header.decode_retry(memoryview(header.encode_retry(retry))), retry)

    @settings(deadline=None)
    @given(resets)
    def test_reset(self, reset: Reset) -> None:
        """A reset comes back."""
        self.assertEqual(header.decode_reset(memoryview(header.encode_reset(reset))), reset)

    @settings(deadline=None)
    @given(versions)
    def test_versions(self, versions: Versions) -> None:
        """A version datagram comes back, with as many versions and modes as fit the counts."""
        self.assertEqual(header.decode_versions(memoryview(header.encode_versions(versions))), versions)


class MalformedTests(SynchronousTestCase):
    """What is no header is None."""

    def test_truncated(self) -> None:
        """Each kind cut short at any byte is None; those that stand alone are also None with a byte too many."""
        long = header.encode_long(Long(0, 1, 2, 3, 4, b"token", 0))
        alone = [
            (header.encode_retry(Retry(1, 2, b"token")), header.decode_retry),
            (header.encode_reset(Reset(1, bytes(16))), header.decode_reset),
            (header.encode_versions(Versions(1, 2, (1, 2), (0, 1))), header.decode_versions),
        ]
        for length in range(len(long)):
            self.assertIsNone(header.decode_long(memoryview(long[:length])))
        for datagram, decode in alone:
            self.assertIsNotNone(decode(memoryview(datagram)))
            self.assertIsNone(decode(memoryview(datagram + b"\0")))
            for length in range(len(datagram)):
                self.assertIsNone(decode(memoryview(datagram[:length])))

    def test_altered(self) -> None:
        """A version or retry datagram of which any bit is flipped is None: no key protects it, a checksum does."""
        cases: list[tuple[bytes, Callable[[memoryview], object]]] = [
            (header.encode_versions(Versions(1, 2, (1, 2), (0, 1))), header.decode_versions),
            (header.encode_retry(Retry(1, 2, b"token")), header.decode_retry),
        ]
        for datagram, decode in cases:
            for bit in range(8 * len(datagram)):
                altered = bytearray(datagram)
                altered[bit >> 3] ^= 1 << (bit & 7)
                self.assertIsNone(decode(memoryview(altered)), bit)

    def test_checksums_of_zlib(self) -> None:
        """The checksum is zlib's CRC-32 of everything before it."""
        for datagram in (header.encode_retry(Retry(1, 2, b"token")), header.encode_versions(Versions(1, 2, (1,), ()))):
            self.assertEqual(int.from_bytes(datagram[-4:], "big"), crc32(datagram[:-4]))

    def test_empty_retry(self) -> None:
        """A retry without a token is none: it would ask for nothing."""
        self.assertIsNone(header.decode_retry(memoryview(header.encode_retry(Retry(1, 2, b"")))))

    def test_token_too_long(self) -> None:
        """A token of more than 512 bytes is refused, though all of it is there; one of 512 is not."""
        for size, wanted in ((512, True), (513, False)):
            long = header.encode_long(Long(0, 1, 2, 3, 4, bytes(size), 0))
            self.assertEqual(header.decode_long(memoryview(long)) is not None, wanted)
            retry = header.encode_retry(Retry(1, 2, bytes(size)))
            self.assertEqual(header.decode_retry(memoryview(retry)) is not None, wanted)

    def test_retry_of_another_version(self) -> None:
        """A retry of another version is none, though its checksum is right."""
        retry = bytearray(header.encode_retry(Retry(1, 2, b"token"))[: -header.CHECKSUM])
        self.assertIsNotNone(header.decode_retry(memoryview(retry + crc32(retry).to_bytes(4, "big"))))
        retry[20] = 2
        self.assertIsNone(header.decode_retry(memoryview(retry + crc32(retry).to_bytes(4, "big"))))

    def test_long_of_another_version(self) -> None:
        """A long header of another version or mode can be read, so that it can be answered."""
        for version, mode in ((0, 0), (2, 0), (0xFFFFFFFF, 15)):
            written = header.encode_long(Long(mode, version, 2, 3, 4, b"", 0))
            head = header.decode_long(memoryview(written))
            assert head is not None
            self.assertEqual((head.version, head.mode), (version, mode))

    @settings(deadline=None)
    @given(st.binary(max_size=600), st.sampled_from(DECODERS))
    def test_random(self, datagram: bytes, decode: Callable[[memoryview], object]) -> None:
        """Random bytes raise nothing in any of the decoders."""
        decode(memoryview(datagram))
