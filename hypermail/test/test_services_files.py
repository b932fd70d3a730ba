"""
Tests for L{hypermail.services.files}.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hypermail.events import StreamOptions
from hypermail.services.files import (
    MAX_ANSWER,
    MAX_SIZE,
    Answer,
    BadFile,
    failed,
    file_options,
    read_answer,
    read_options,
    stored,
)
from hypermail.services.paths import UnsafeName


class OptionsTests(SynchronousTestCase):
    """What is said of a file when its stream is opened."""

    def test_roundTrip(self) -> None:
        """What one side says the other reads; the stream is 32 bytes longer than the file."""
        options = file_options(b"dir/a.txt", 123)
        self.assertEqual(options.length, 155)
        announced = read_options(options)
        self.assertEqual((announced.path, announced.parts, announced.size), ("dir/a.txt", ("dir", "a.txt"), 123))

    def test_bad(self) -> None:
        """Missing and absurd attributes are refused with a reason."""
        for attributes, length, reason in (
            ({}, None, "size is missing"),
            ({"size": b"-1", "path": b"a"}, None, "not a number"),
            ({"size": b"1e3", "path": b"a"}, None, "not a number"),
            ({"size": b"9" * 5000, "path": b"a"}, None, "not a number"),
            ({"size": b"%d" % (MAX_SIZE + 1), "path": b"a"}, None, "beyond"),
            ({"size": b"1"}, None, "no path"),
            ({"size": b"1", "path": b"a"}, 1, "cannot carry"),
        ):
            error = self.assertRaises(BadFile, read_options, StreamOptions(attributes=attributes, length=length))
            self.assertIn(reason, error.text)
        self.assertRaises(UnsafeName, read_options, file_options(b"../a", 1))

    def test_lengthUnknown(self) -> None:
        """An opener need not announce the stream's length."""
        self.assertEqual(read_options(StreamOptions(attributes={"path": b"a", "size": b"0"})).size, 0)


class AnswerTests(SynchronousTestCase):
    """The one line that comes back."""

    def test_roundTrip(self) -> None:
        """Both answers are read as they were meant."""
        self.assertEqual(read_answer(stored("ä (2).txt")), Answer(True, "ä (2).txt"))
        self.assertEqual(read_answer(failed("No space left")), Answer(False, "No space left"))

    @given(st.text(max_size=3_000))
    def test_reasonIsOneLine(self, text: str) -> None:
        """Whatever the reason, the answer is one line and not too long."""
        line = failed(text)
        self.assertEqual(line.count(b"\n"), 1)
        self.assertLessEqual(len(line), MAX_ANSWER)
        self.assertFalse(read_answer(line).stored)

    def test_noAnswer(self) -> None:
        """Something else is no answer."""
        for line in (b"", b"\n", b"stored", b"stored x", b"storedx\n", b"\xff\xfe\n"):
            self.assertRaises(BadFile, read_answer, line)
