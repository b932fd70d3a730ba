"""
Tests for L{hypermail.services.progress}.
"""

from __future__ import annotations

from io import StringIO

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from hypermail.services.progress import Progress, amount, count, duration
from hypermail.services.tree import Item


class Terminal(StringIO):
    """A standard error that is a terminal."""

    def isatty(self) -> bool:
        """It is."""
        return True


class Deaf(StringIO):
    """A pipe that nobody reads any more."""

    def write(self, text: str) -> int:
        """Nobody."""
        raise BrokenPipeError


def item(name: str, size: int = 1_000) -> Item:
    """A file."""
    return Item(f"/here/{name}", name.encode(), size)


class WordsTests(SynchronousTestCase):
    """Numbers for people."""

    def test_amount(self) -> None:
        """Decimal units, one digit behind the point."""
        for size, text in (
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.0 kB"),
            (999_949, "1.0 MB"),
            (34_567_890, "34.6 MB"),
            (1 << 30, "1.1 GB"),
            (5e15, "5,000.0 TB"),
        ):
            self.assertEqual(amount(size), text)

    def test_duration(self) -> None:
        """Minutes and seconds, hours when there are some."""
        for seconds, text in ((0, "0:00"), (7.4, "0:07"), (59.6, "1:00"), (3_723, "1:02:03")):
            self.assertEqual(duration(seconds), text)

    def test_count(self) -> None:
        """Singular and plural."""
        self.assertEqual([count(number, "file") for number in (0, 1, 2_345)], ["0 files", "1 file", "2,345 files"])


class ProgressTests(SynchronousTestCase):
    """What is said."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.out = StringIO()
        self.err: StringIO = StringIO()
        self.columns = 80

    def begin(self, files: int, size: int, *, terminal: bool = False, quiet: bool = False) -> Progress:
        """A progress that has begun."""
        if terminal:
            self.err = Terminal()
        progress = Progress(self.out, self.err, quiet=quiet, seconds=self.clock.seconds, width=lambda: self.columns)
        progress.begin(files, size)
        return progress

    def test_plain(self) -> None:
        """Without a terminal: a line for each of a few files, and the last line."""
        progress = self.begin(2, 2_000)
        for name in ("a", "b"):
            self.clock.advance(1)
            progress.wrote(1_000)
            progress.stored(item(name), 1_000, name if name == "a" else "b (2)")
        progress.end("127.0.0.1:4700")
        self.assertEqual(
            self.out.getvalue().splitlines(),
            [
                "stored 'a' (1,000 bytes)",
                "stored 'b' as 'b (2)' (1,000 bytes)",
                "stored 2 files, 2,000 bytes at 127.0.0.1:4700 in 2.0 s (1.0 kB/s)",
            ],
        )
        self.assertEqual(self.err.getvalue(), "")

    def test_plainMany(self) -> None:
        """Many files are a line a second, not one each."""
        progress = self.begin(2_345, 2_345_000)
        progress.look()
        for number in range(1_000):
            progress.wrote(1_000)
            progress.stored(item(str(number)), 1_000, str(number))
        self.clock.advance(1)
        progress.look()
        self.assertEqual(self.out.getvalue(), " 42 % 1,000 of 2,345 files, 1.0 MB of 2.3 MB, 1.0 MB/s, 0:01 left\n")

    def test_quiet(self) -> None:
        """Quiet is nothing but errors."""
        progress = self.begin(2, 2_000, quiet=True)
        progress.look()
        progress.stored(item("a"), 1_000, "a")
        progress.look()
        progress.end("x:1")
        self.assertEqual((self.out.getvalue(), self.err.getvalue()), ("", ""))
        progress.failed(item("b"), "no\nroom")
        self.assertEqual(self.err.getvalue(), "hypermail: '/here/b' was not stored: no\\nroom\n")

    def test_bar(self) -> None:
        """On a terminal: one line that is drawn over, taken away before another line and at the end."""
        progress = self.begin(1, 1_000_000, terminal=True)
        progress.look()
        self.clock.advance(1)
        progress.wrote(250_000)
        progress.look()
        drawn = self.err.getvalue().split("\r")
        self.assertEqual(
            drawn[-1].rstrip(), " 25 % |######------------------| 250.0 kB of 1.0 MB, 250.0 kB/s, 0:03 left"
        )
        progress.wrote(750_000)
        progress.stored(item("a"), 1_000_000, "a")
        progress.end("x:1")
        self.assertTrue(self.err.getvalue().endswith(" \r"))
        self.assertEqual(self.out.getvalue(), "stored 1 file, 1,000,000 bytes at x:1 in 1.0 s (1.0 MB/s)\n")

    def test_resized(self) -> None:
        """The line never is wider than the terminal is now."""
        progress = self.begin(10, 1_000_000, terminal=True)
        for columns in (80, 30, 1, 0, 200):
            self.columns = columns
            progress.look()
            self.assertLess(len(self.err.getvalue().split("\r")[-1]), max(columns, 1))

    def test_rateIsRecent(self) -> None:
        """The rate is that of the last seconds, so it follows a path that gets slower."""
        progress = self.begin(1, 10_000_000, terminal=True)
        progress.wrote(5_000_000)
        for _ in range(10):
            self.clock.advance(1)
            progress.wrote(1_000)
            progress.look()
        self.assertIn("1.0 kB/s", self.err.getvalue().split("\r")[-1])

    def test_away(self) -> None:
        """While the other side is away, the bar says for how long; nobody guesses when it will be through."""
        progress = self.begin(1, 1_000_000, terminal=True)
        progress.wrote(100_000)
        self.clock.advance(1)
        self.assertIn("0:09 left", progress.line())
        progress.away("there:4700", "it is silent")
        self.clock.advance(65)
        self.assertIn("waiting for there:4700 for 1:05", progress.line())
        self.assertNotIn("left", progress.line())
        progress.back()
        self.assertNotIn("waiting", progress.line())
        self.assertEqual(self.out.getvalue(), "")

    def test_awayPlain(self) -> None:
        """Without a terminal it is a line, and another one when it is back; unless nothing is to be said."""
        for quiet in (False, True):
            progress = self.begin(1, 1_000, quiet=quiet)
            progress.away("there:4700", "it is silent")
            progress.back()
            self.assertEqual(self.out.getvalue(), "" if quiet else "waiting for there:4700: it is silent\ngoing on\n")
            self.out.truncate(0)

    def test_moved(self) -> None:
        """What need not be sent again counts as done, and what was lost does not; neither counts for the rate."""
        progress = self.begin(1, 1_000_000)
        self.clock.advance(1)
        progress.wrote(100_000)
        progress.moved(500_000)
        self.assertTrue(progress.line().startswith(" 60 % 600.0 kB of 1.0 MB, 100.0 kB/s"), progress.line())
        progress.moved(-100_000)
        self.assertTrue(progress.line().startswith(" 50 % 500.0 kB of 1.0 MB, 100.0 kB/s"), progress.line())

    def test_empty(self) -> None:
        """Nothing to send is all sent."""
        progress = self.begin(1, 0, terminal=True)
        progress.look()
        self.assertIn("100 %", self.err.getvalue())

    def test_errors(self) -> None:
        """Errors are one line each; after many only their number; then how much is stored."""
        progress = self.begin(50, 50)
        for number in range(25):
            progress.failed(item(str(number)), "no")
        progress.stored(item("x"), 1, "x")
        progress.end("x:1")
        lines = self.err.getvalue().splitlines()
        self.assertEqual(len(lines), 22)
        self.assertEqual(lines[0], "hypermail: '/here/0' was not stored: no")
        self.assertEqual(lines[-2:], ["hypermail: 5 more errors like these", "hypermail: stored 1 of 50 files at x:1"])
        self.assertNotIn("stored", self.out.getvalue())

    def test_oneError(self) -> None:
        """One file that is not stored is one line."""
        progress = self.begin(1, 50)
        progress.failed(item("a"), "no")
        progress.end("x:1")
        self.assertEqual(self.err.getvalue().count("\n"), 1)

    def test_messages(self) -> None:
        """Messages are counted beside files, or alone."""
        progress = self.begin(0, 0)
        progress.end("x:1", 1)
        progress.begin(1, 0)
        progress.stored(item("a"), 0, "a")
        progress.end("x:1", 2)
        lines = self.out.getvalue().splitlines()
        self.assertTrue(lines[0].startswith("stored 1 message at x:1 in"), lines)
        self.assertTrue(lines[-1].startswith("stored 2 messages and 1 file, 0 bytes at x:1 in"), lines)

    def test_deaf(self) -> None:
        """That nobody reads what is said does not stop the sending."""
        self.out = Deaf()
        progress = self.begin(1, 0)
        progress.stored(item("a"), 0, "a")
        progress.end("x:1")
        self.assertEqual(progress.storedFiles, 1)
