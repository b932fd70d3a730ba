"""
Tests for L{hypermail.security.box} and its compiled twin: what one does, the other does.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from hypermail.security import box
from hypermail.security.box import COMPILED, PureBox
from hypermail.security.seal import LOW, NEAR, TRAIN_HEADER

IV = bytes(range(100, 112))
PREFIX = b"\x40TAGTAGTA"
CIPHERS: dict[str, tuple[Any, int]] = {
    "AES-128-GCM": (AESGCM, 16),
    "AES-256-GCM": (AESGCM, 32),
    "ChaCha20-Poly1305": (ChaCha20Poly1305, 32),
}
LARGEST = (1 << 62) - 1


class BoxTests:
    """Of either box."""

    make: Any

    def new(self, name: str = "AES-128-GCM") -> Any:
        """One with keys that all tests share."""
        return self.make(name, bytes(range(CIPHERS[name][1])), IV)

    def sealed(self, name: str, header: bytes, content: bytes, number: int) -> bytes:
        """What C{docs/protocol/security.rst} says."""
        cipher, length = CIPHERS[name]
        nonce = bytes(a ^ b for a, b in zip(IV, number.to_bytes(12, "big"), strict=True))
        sealed: bytes = cipher(bytes(range(length))).encrypt(nonce, content, header)
        return header + sealed

    def header(self, number: int) -> bytes:
        """Of a datagram in a train."""
        return TRAIN_HEADER.pack(PREFIX, number & LOW)

    def test_formula(self: Any) -> None:
        """A datagram is header, what the AEAD makes of the content under IV xor number, and the tag."""
        for name in CIPHERS:
            for number in (0, 1, 255, 1 << 32, LARGEST):
                found = self.new(name).seal(b"header of any length", [b"con", memoryview(b"tent"), b""], number)
                self.assertEqual(found, self.sealed(name, b"header of any length", b"content", number))
                opened = self.new(name).open(memoryview(found), 20, number)
                self.assertEqual((opened, type(opened)), (b"content", bytes))

    def test_empty(self: Any) -> None:
        """Nothing can be sealed, too."""
        for name in CIPHERS:
            for parts in ([], [b""]):
                found = self.new(name).seal(b"head", parts, 7)
                self.assertEqual(found, self.sealed(name, b"head", b"", 7))
                self.assertEqual(self.new(name).open(memoryview(found), 4, 7), b"")

    def test_trainFormula(self: Any) -> None:
        """A train is its datagrams, whatever is in their numbers' higher bits."""
        contents: list[Any] = [[b"a" * size, memoryview(b"b")] for size in (0, 1, 1_370, 65_000)]
        for first in (0, LOW - 1, 5 << 40):
            train = self.new().seal_train(PREFIX, first, contents)
            for number, (datagram, parts) in enumerate(zip(train, contents, strict=True), first):
                expected = self.sealed("AES-128-GCM", self.header(number), b"".join(parts), number)
                self.assertEqual(datagram, expected)
            opened = self.new().open_train(PREFIX, [memoryview(datagram) for datagram in train], first)
            self.assertEqual(opened, [(first + at, b"".join(parts)) for at, parts in enumerate(contents)])

    def test_sizes(self: Any) -> None:
        """Small and large, and just between: what is sealed is the formula's, and opens; changed, it does not."""
        for name in CIPHERS:
            for size in (16_383, 16_384, 65_450):
                content = bytes(range(256)) * (size // 256) + b"z" * (size % 256)
                parts = [content[:19], memoryview(content)[19:]]
                whole = self.new(name).seal(self.header(1 << 40), parts, 1 << 40)
                self.assertEqual(whole, self.sealed(name, self.header(1 << 40), content, 1 << 40))
                (sealed,) = self.new(name).seal_train(PREFIX, 1 << 40, [parts])
                self.assertEqual(sealed, whole)
                opens = self.new(name)
                for _ in range(2):
                    opened = opens.open(memoryview(sealed), 13, 1 << 40)
                    self.assertEqual((opened, type(opened)), (content, bytes))
                self.assertEqual(opens.open_train(PREFIX, [memoryview(sealed)], 1 << 40), [(1 << 40, content)])
                for at in (0, 12, 13, 12_000, -1):
                    altered = bytearray(sealed)
                    altered[at] ^= 1
                    self.assertIsNone(opens.open(memoryview(altered), 13, 1 << 40))
                self.assertEqual(opens.open_train(PREFIX, [memoryview(altered)], 1 << 40), [(1 << 40, None)])

    def test_altered(self: Any) -> None:
        """With any bit changed nothing opens; the others of a train do."""
        train = self.new().seal_train(PREFIX, 9, [[b"one"], [b"two"], [b"three"]])
        for bit in range(8 * 9, 8 * len(train[1])):
            altered = bytearray(train[1])
            altered[bit >> 3] ^= 1 << (bit & 7)
            number = 9 + 1 if bit >= 8 * 13 else int.from_bytes(altered[9:13], "big")
            datagrams = [memoryview(train[0]), memoryview(altered), memoryview(train[2])]
            if number > NEAR:  # too far from what is expected for a train
                self.assertEqual(self.new().open_train(PREFIX, datagrams, 9), [(9, b"one")])
            else:
                found = self.new().open_train(PREFIX, datagrams, 9)
                self.assertEqual(found, [(9, b"one"), (number, None), (11, b"three")])
            self.assertIsNone(self.new().open(memoryview(altered), 13, number))

    def test_short(self: Any) -> None:
        """What is too short for a tag does not open."""
        datagram = self.new().seal(self.header(5), [], 5)
        for length in range(13, len(datagram)):
            self.assertIsNone(self.new().open(memoryview(datagram)[:length], 13, 5))
            self.assertEqual(self.new().open_train(PREFIX, [memoryview(datagram)[:length]], 5), [(5, None)])

    def test_stops(self: Any) -> None:
        """A train ends before the first that begins otherwise."""
        train = self.new().seal_train(PREFIX, 9, [[b"one"], [b"two"], [b"three"]])
        for at in range(9):
            other = bytearray(train[1])
            other[at] ^= 1
            found = self.new().open_train(PREFIX, [memoryview(train[0]), memoryview(other), memoryview(train[2])], 9)
            self.assertEqual(found, [(9, b"one")])

    def test_near(self: Any) -> None:
        """Numbers are near what is expected, or it is the end of the train."""
        expected = 3 << 32
        for number, near in (
            (expected, True),
            (expected - 1, False),
            (expected + NEAR - 1, True),
            (expected + NEAR, False),
        ):
            datagram = memoryview(self.new().seal(self.header(number), [b"x"], number))
            found = self.new().open_train(PREFIX, [datagram], expected)
            self.assertEqual(found, [(number, b"x")] if near else [])
        expected += 5 + NEAR
        for number in (expected - NEAR, expected - 1):
            datagram = memoryview(self.new().seal(self.header(number), [b"x"], number))
            self.assertEqual(self.new().open_train(PREFIX, [datagram], expected), [(number, b"x")])

    def test_expectedGrows(self: Any) -> None:
        """What was authentic tells what is expected next; what was not, does not."""
        far = NEAR - 1
        numbers = [far, 2 * far, LOW]
        datagrams = [memoryview(self.new().seal(self.header(number), [b"x"], number)) for number in numbers]
        self.assertEqual(self.new().open_train(PREFIX, datagrams, 0), [(number, b"x") for number in numbers])
        forged = bytearray(datagrams[0])
        forged[-1] ^= 1
        found = self.new().open_train(PREFIX, [memoryview(forged), *datagrams[1:]], 0)
        self.assertEqual(found, [(far, None)])


class PureBoxTests(BoxTests, SynchronousTestCase):
    """Python."""

    make = PureBox


class CompiledBoxTests(BoxTests, SynchronousTestCase):
    """Cython."""

    make: Any = box.Box

    def setUp(self) -> None:
        if not COMPILED:
            raise SkipTest("the compiled twin was not built here, or is not wanted")

    @given(
        st.sampled_from(sorted(CIPHERS)),
        st.integers(0, LARGEST - 8),
        st.lists(st.lists(st.binary(max_size=40), max_size=3), max_size=8),
    )
    def test_twins(self, name: str, first: int, contents: list[list[bytes]]) -> None:
        """One opens what the other has sealed."""
        train = self.new(name).seal_train(PREFIX, first, contents)
        other = PureBox(name, bytes(range(CIPHERS[name][1])), IV)
        self.assertEqual(train, other.seal_train(PREFIX, first, contents))
        datagrams = [memoryview(datagram) for datagram in train]
        self.assertEqual(
            self.new(name).open_train(PREFIX, datagrams, first), other.open_train(PREFIX, datagrams, first)
        )

    def test_refuses(self) -> None:
        """Keys, IVs and prefixes of a wrong length, and ciphers that it does not know."""
        for arguments in (
            ("AES-128-GCM", bytes(17), IV),
            ("AES-256-GCM", bytes(16), IV),
            ("ChaCha20-Poly1305", bytes(16), IV),
            ("AES-128-GCM", bytes(16), IV[1:]),
            ("ROT13", bytes(16), IV),
        ):
            self.assertRaises(ValueError, self.make, *arguments)
        self.assertRaises(ValueError, self.new().seal_train, PREFIX[1:], 0, [[b"x"]])
        for parts in ([memoryview(bytes(80)).cast("I")], [b"x", memoryview(bytes(8)).cast("Q"), b"x"]):
            self.assertRaises(ValueError, self.new().seal, b"head", parts, 0)
            self.assertRaises(ValueError, self.new().seal_train, PREFIX, 0, [[b"x"], parts])
        self.assertRaises(ValueError, self.new().open_train, PREFIX[1:], [], 0)

    def test_notWanted(self) -> None:
        """With C{HYPERMAIL_PURE} it is Python."""
        code = "from hypermail.security.box import COMPILED; print(COMPILED)"
        for pure, expected in (("1", "False"), ("", "True")):
            environment = {key: value for key, value in os.environ.items() if key != "HYPERMAIL_PURE"}
            if pure:
                environment["HYPERMAIL_PURE"] = pure
            found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
            self.assertEqual(found.stdout.strip(), expected, found.stderr)
