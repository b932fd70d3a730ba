"""
Tests for L{hypermail.wire.fields}.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hypermail.errors import MalformedPacket
from hypermail.wire.fields import MAX_TEXT, Reader, text


class ReaderTests(SynchronousTestCase):
    """Fields one after the other."""

    def test_in_order(self) -> None:
        """Fields are read from the given position on, in network order, and the position moves behind each."""
        reader = Reader(memoryview(b"\xff\x01\x02abc\x02hi"), 1)
        self.assertEqual(reader.integer(2), 0x102)
        self.assertEqual(reader.bytes(3), b"abc")
        self.assertEqual(reader.text(), "hi")
        self.assertEqual(reader.at, 9)

    def test_copies(self) -> None:
        """Bytes that were read don't change with the buffer that they came in."""
        buffer = bytearray(b"abc")
        data = Reader(memoryview(buffer), 0).bytes(3)
        buffer[:] = b"xyz"
        self.assertEqual(data, b"abc")

    def test_cut_short(self) -> None:
        """A field that reaches beyond the end is malformed, and the text says by how much."""
        reader = Reader(memoryview(b"abc"), 1)
        error = self.assertRaises(MalformedPacket, reader.bytes, 3)
        self.assertIn("3 bytes wanted, 2 left", error.text)
        self.assertEqual(reader.at, 1)
        self.assertRaises(MalformedPacket, reader.integer, 4)
        self.assertEqual(reader.bytes(2), b"bc")

    def test_distrusted_text(self) -> None:
        """A text that is no UTF-8 is made readable instead of being trusted or refused."""
        self.assertEqual(Reader(memoryview(b"\x03a\xffb"), 0).text(), "a\ufffdb")

    @settings(deadline=None)
    @given(st.text(st.characters(codec="utf-8"), max_size=40))
    def test_printable(self, value: str) -> None:
        """What could do something to a log or a terminal is replaced, character by character; all else stays."""
        found = Reader(memoryview(text(value)), 0).text()
        self.assertTrue(found.isprintable())
        self.assertEqual(found, "".join(one if one.isprintable() else "\ufffd" for one in value))

    def test_escapes(self) -> None:
        """Escape sequences, line breaks and marks that turn the direction of writing don't come through."""
        for nasty in ("\x1b[2J", "a\nb", "a\rb", "\x85", "\u2028", "\u202e", "\0"):
            self.assertTrue(Reader(memoryview(text(nasty)), 0).text().isprintable(), ascii(nasty))


class TextTests(SynchronousTestCase):
    """The text of a reason, as it is written."""

    @settings(deadline=None)
    @given(st.text(max_size=300))
    def test_cut(self, value: str) -> None:
        """Any text is written in at most 200 bytes, and what is read is its beginning, in whole characters."""
        written = text(value)
        self.assertEqual(written[0], len(written) - 1)
        self.assertLessEqual(len(written) - 1, MAX_TEXT)
        read = Reader(memoryview(written), 0).text()
        expected = value.encode("utf-8", "replace").decode("utf-8")
        whole = len(expected.encode("utf-8")) <= MAX_TEXT
        expected = "".join(one if one.isprintable() else "\ufffd" for one in expected)
        self.assertTrue(expected.startswith(read))
        if whole:
            self.assertEqual(read, expected)
        else:
            self.assertGreater(len(written) - 1, MAX_TEXT - 4)

    def test_whole_characters(self) -> None:
        """A character that would be cut in two is left out."""
        self.assertEqual(text("x" * 199 + "é"), bytes((199,)) + b"x" * 199)
        self.assertEqual(text("x" * 198 + "é"), bytes((200,)) + b"x" * 198 + "é".encode())
