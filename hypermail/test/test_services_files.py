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
    NAME,
    Announced,
    Answer,
    BadFile,
    Onward,
    failed,
    file_options,
    onward,
    read_answer,
    read_options,
    stored,
)
from hypermail.services.paths import MAX_PATH, UnsafeName
from hypermail.streams.set import MOST_OPEN
from hypermail.wire.packets import StreamOpen

TRANSFER = bytes(range(16))


class OptionsTests(SynchronousTestCase):
    """What is said of a file when its stream is opened."""

    def test_roundTrip(self) -> None:
        """What one side says the other reads; the stream is 32 bytes longer than the file."""
        options = file_options(b"dir/a.txt", 123, TRANSFER)
        self.assertEqual(options.length, 155)
        announced = read_options(options)
        self.assertEqual(announced, Announced(("dir", "a.txt"), 123, TRANSFER, False))
        self.assertEqual(announced.path, "dir/a.txt")

    def test_again(self) -> None:
        """A transfer that may have been offered before says so; how much will be sent of it is not known."""
        options = file_options(b"a", 123, TRANSFER, again=True)
        self.assertIsNone(options.length)
        self.assertEqual(read_options(options), Announced(("a",), 123, TRANSFER, True))
        attributes = {**options.attributes, "again": b"0"}
        self.assertRaises(BadFile, read_options, StreamOptions(attributes=attributes))

    def test_longest(self) -> None:
        """The longest path fits a stream's attributes, with all the others."""
        options = file_options(b"p" * MAX_PATH, MAX_SIZE, TRANSFER, again=True)
        size = len(StreamOpen(1 << 30, NAME, dict(options.attributes), MAX_SIZE).encode())
        self.assertLessEqual(size, MOST_OPEN)

    def test_bad(self) -> None:
        """Missing and absurd attributes are refused with a reason."""
        for attributes, length, reason in (
            ({}, None, "size is missing"),
            ({"size": b"-1", "path": b"a"}, None, "not a number"),
            ({"size": b"1e3", "path": b"a"}, None, "not a number"),
            ({"size": b"9" * 5000, "path": b"a"}, None, "not a number"),
            ({"size": b"%d" % (MAX_SIZE + 1), "path": b"a"}, None, "beyond"),
            ({"size": b"1", "transfer": TRANSFER}, None, "no path"),
            ({"size": b"1", "path": b"a"}, 1, "cannot carry"),
            ({"size": b"1", "path": b"a"}, None, "named by 0 bytes"),
            ({"size": b"1", "path": b"a", "transfer": b"x" * 17}, None, "named by 17 bytes"),
        ):
            error = self.assertRaises(BadFile, read_options, StreamOptions(attributes=attributes, length=length))
            self.assertIn(reason, error.text)
        self.assertRaises(UnsafeName, read_options, file_options(b"../a", 1, TRANSFER))

    def test_lengthUnknown(self) -> None:
        """An opener need not announce the stream's length."""
        attributes = {"path": b"a", "size": b"0", "transfer": TRANSFER}
        self.assertEqual(read_options(StreamOptions(attributes=attributes)).size, 0)


class AnswerTests(SynchronousTestCase):
    """The one line that comes back."""

    def test_roundTrip(self) -> None:
        """Both answers are read as they were meant."""
        self.assertEqual(read_answer(stored("ä (2).txt")), Answer(True, "ä (2).txt"))
        self.assertEqual(read_answer(failed("No space left")), Answer(False, "No space left"))
        self.assertEqual(read_answer(onward(1 << 40)), Onward(1 << 40))

    @given(st.text(max_size=3_000))
    def test_reasonIsOneLine(self, text: str) -> None:
        """Whatever the reason, the answer is one line and not too long."""
        line = failed(text)
        self.assertEqual(line.count(b"\n"), 1)
        self.assertLessEqual(len(line), MAX_ANSWER)
        self.assertEqual(read_answer(line)[0], False)

    def test_noAnswer(self) -> None:
        """Something else is no answer."""
        for line in (
            b"",
            b"\n",
            b"stored",
            b"stored x",
            b"storedx\n",
            b"\xff\xfe\n",
            b"from \n",
            b"from x\n",
            b"from -1\n",
        ):
            self.assertRaises(BadFile, read_answer, line)
