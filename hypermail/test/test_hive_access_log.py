"""
Tests for L{hypermail.hive.access_log}.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from twisted.internet import reactor
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from hypermail.errors import UsageError
from hypermail.hive.access import as_json, combined
from hypermail.hive.access_log import ENOUGH, GRACE, MOST, PERIOD, SPAN, AccessLog
from hypermail.services.workers import Workers
from hypermail.test.sessions import logged
from hypermail.test.test_hive_access import ACCESS

LINE = combined(ACCESS) + "\n"
LONG = ACCESS._replace(agent="a" * 2_000)  # some of these are enough
FULL = Path("/dev/full")
OLD = "goes on in the file before, since it cannot be opened again"


class Disk:
    """Runs jobs, at once or when it is told to."""

    def __init__(self) -> None:
        self.busy = False
        self.waiting: list[tuple[Deferred[Any], Callable[[], Any]]] = []

    def run(self, job: Callable[[], Any], /) -> Deferred[Any]:
        """See L{hypermail.services.workers.Run}."""
        if not self.busy:
            return maybeDeferred(job)
        done: Deferred[Any] = Deferred()
        self.waiting.append((done, job))
        return done

    def go_on(self) -> None:
        """Do what has waited."""
        waiting, self.waiting = self.waiting, []
        for done, job in waiting:
            maybeDeferred(job).chainDeferred(done)


class AccessLogTests(SynchronousTestCase):
    """The file."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.clock = Clock()
        self.disk = Disk()
        self.lines = logged(self)

    def log(self, path: Path | None = None, form: str = "combined") -> AccessLog:
        """One that is open."""
        made = AccessLog(self.clock, str(path or self.path), form, self.disk.run)
        made.open()
        self.addCleanup(made.close)
        return made

    def test_written(self) -> None:
        """A line is in the file after a second at most, together with those that came since."""
        log = self.log()
        log.write(ACCESS)
        self.clock.advance(PERIOD / 2)
        log.write(ACCESS)
        self.assertEqual(self.path.read_text(), "")
        self.clock.advance(PERIOD / 2)
        self.assertEqual(self.path.read_text(), LINE * 2)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        log.write(ACCESS)
        self.clock.advance(PERIOD)
        self.assertEqual(self.path.read_text(), LINE * 3)

    def test_enough(self) -> None:
        """64 KiB are written at once."""
        log = self.log()
        line = len(combined(LONG)) + 1
        for _ in range(ENOUGH // line):
            log.write(LONG)
        self.assertEqual(self.path.stat().st_size, 0)
        log.write(LONG)
        self.assertEqual(self.path.stat().st_size, (ENOUGH // line + 1) * line)

    def test_amounts(self) -> None:
        """They are what the documentation says."""
        self.assertEqual((PERIOD, ENOUGH, MOST, SPAN, GRACE), (1, 65_536, 1_048_576, 60, 5))

    def test_format(self) -> None:
        """The other format."""
        log = self.log(form="json")
        log.write(ACCESS)
        log.close()
        self.assertEqual(self.path.read_text(), as_json(ACCESS) + "\n")

    def test_added(self) -> None:
        """What is in the file stays there, and so does its mode; a new one is for its owner and group."""
        self.log().close()
        before = os.umask(0o077)
        self.addCleanup(os.umask, before)
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o640)
        self.path.unlink()
        self.log().close()
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o640)
        self.path.chmod(0o600)
        self.path.write_text("before\n")
        log = self.log()
        log.write(ACCESS)
        log.close()
        self.assertEqual(self.path.read_text(), "before\n" + LINE)
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)

    def test_cannot_open(self) -> None:
        """A file that cannot be opened is an error of one line; a fifo that nobody reads is one, too."""
        self.path.mkdir()
        os.mkfifo(self.path / "fifo")
        for path, reason in (
            (self.path, "Is a directory"),
            (self.path / "none" / "log", "No such file or directory"),
            (self.path / "fifo", "No such device or address"),
            (Path("a\0b"), "embedded null byte"),
        ):
            made = AccessLog(self.clock, str(path), "combined", self.disk.run)
            text = self.assertRaises(UsageError, made.open).text
            self.assertEqual(text, f"the access log {str(path)!r} cannot be opened: {reason}")

    def test_close(self) -> None:
        """What there is is written before the end, what comes later is not; nothing stays open."""
        before = len(os.listdir("/dev/fd"))
        log = self.log()
        log.write(ACCESS)
        self.successResultOf(log.close())
        log.write(ACCESS)
        log.reopen()
        self.successResultOf(log.close())
        self.assertEqual(self.path.read_text(), LINE)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(len(os.listdir("/dev/fd")), before)
        self.assertEqual(self.lines, [])

    def test_close_while_busy(self) -> None:
        """The end waits for what is being written, and for what has come since."""
        log = self.log()
        self.disk.busy = True
        log.write(ACCESS)
        self.clock.advance(PERIOD)
        log.write(ACCESS)
        closed = log.close()
        self.assertNoResult(closed)
        self.disk.go_on()
        self.assertNoResult(closed)
        self.disk.go_on()
        self.successResultOf(closed)
        self.assertEqual(self.path.read_text(), LINE * 2)

    def test_close_in_time(self) -> None:
        """A disk that does not come back does not hold up the end."""
        log = self.log()
        self.disk.busy = True
        closed = log.close()
        self.clock.advance(GRACE)
        self.successResultOf(closed)
        self.disk.go_on()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_reopen(self) -> None:
        """After a rotation lines go to a new file, those from before to the old one."""
        log = self.log()
        log.write(ACCESS)
        old = self.path.rename(self.path.with_suffix(".1"))
        log.reopen()
        log.write(LONG)
        self.clock.advance(PERIOD)
        self.assertEqual((old.read_text(), self.path.read_text()), (LINE, combined(LONG) + "\n"))

    def test_reopen_while_busy(self) -> None:
        """It waits its turn; a rotation without a line is one, too."""
        log = self.log()
        self.disk.busy = True
        log.write(ACCESS)
        self.clock.advance(PERIOD)
        log.reopen()
        old = self.path.rename(self.path.with_suffix(".1"))
        self.disk.go_on()
        self.assertFalse(self.path.exists())
        self.disk.go_on()
        self.assertEqual((old.read_text(), self.path.read_text()), (LINE, ""))

    def test_reopen_fails(self) -> None:
        """Then it goes on in the old file, and that is said."""
        log = self.log()
        old = self.path.rename(self.path.with_suffix(".1"))
        self.path.mkdir()
        log.reopen()
        log.write(ACCESS)
        self.clock.advance(PERIOD)
        self.assertEqual(old.read_text(), LINE)
        self.assertEqual(
            self.lines,
            [f"the access log {str(self.path)!r} {OLD}: Is a directory"],
        )

    def test_full(self) -> None:
        """A full disk is said once a minute, with the number of lines that were lost."""
        if not FULL.exists():
            self.skipTest("there is no /dev/full")
        log = self.log(FULL)

        def write(seconds: float) -> None:
            while self.clock.seconds() < seconds:
                log.write(ACCESS)
                self.clock.advance(PERIOD)

        text = "the access log '/dev/full' cannot be written: No space left on device; {} lost"
        write(SPAN)
        self.assertEqual(self.lines, [text.format("1 line")])
        write(SPAN * 2)
        self.assertEqual(self.lines, [text.format("1 line"), text.format("60 lines")])
        log.close()
        self.assertEqual(self.lines[2:], [text.format("59 lines")])

    def test_half_a_line(self) -> None:
        """A disk that takes half of a line has lost it, and nothing is added to it."""
        log = self.log()
        real = os.write
        room = [len(LINE) + 10]

        def write(descriptor: int, data: Any) -> int:
            if not room[0]:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            written = real(descriptor, data[: min(room[0], 50)])
            room[0] -= written
            return written

        self.patch(os, "write", write)
        for _ in range(3):
            log.write(ACCESS)
        self.clock.advance(PERIOD)
        room[0] = 1 << 20
        log.write(ACCESS)
        self.clock.advance(PERIOD)
        self.assertEqual(self.path.read_text(), f"{LINE}{LINE[:10]}\n{LINE}")
        self.assertIn("; 2 lines lost", self.lines[0])
        log.reopen()
        log.close()
        self.assertEqual(self.path.read_text(), f"{LINE}{LINE[:10]}\n{LINE}")

    def test_slow(self) -> None:
        """While the disk is busy there is a limit to what waits; what is lost is said, also while it lasts."""
        log = self.log()
        self.disk.busy = True
        log.write(ACCESS)
        self.clock.advance(PERIOD)
        most = MOST // (len(combined(LONG)) + 1)
        for _ in range(most + 7):
            log.write(LONG)
        self.assertEqual(len(self.disk.waiting), 1)
        self.assertEqual(self.lines, [])
        self.clock.advance(PERIOD)
        text = f"the access log {str(self.path)!r} cannot be written fast enough; {{}} lost"
        self.assertEqual(self.lines, [text.format("7 lines")])
        log.write(LONG)
        self.clock.pump([PERIOD] * 59)
        self.assertEqual(len(self.lines), 1)
        self.clock.advance(PERIOD)
        self.assertEqual(self.lines[1:], [text.format("1 line")])
        self.disk.busy = False
        self.disk.go_on()
        self.clock.pump([PERIOD] * 2)
        self.assertEqual(self.path.read_text().count("\n"), 1 + most)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_broken_threads(self) -> None:
        """A job that could not be run has lost its lines."""
        log = self.log()
        self.disk.run = lambda job: maybeDeferred(lambda: 1 / 0)  # type: ignore[method-assign]
        log = AccessLog(self.clock, str(self.path), "combined", self.disk.run)
        log.write(ACCESS)
        self.clock.advance(PERIOD)
        self.assertEqual(len(self.lines), 1)
        self.assertIn("cannot be written: division by zero; 1 line lost", self.lines[0])


class ThreadTests(TestCase):
    """With threads."""

    async def test_slow_reader(self) -> None:
        """What reads the log through a pipe, slowly, gets all of it."""
        path = self.mktemp()
        os.mkfifo(path)
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, reader)
        os.set_blocking(reader, True)
        workers = Workers(reactor, 2)
        workers.start()
        log = AccessLog(cast(Any, reactor), path, "combined", workers.run)
        log.open()
        most = 200_000 // len(combined(LONG))  # more than a pipe holds
        for _ in range(most):
            log.write(LONG)
        closed = log.close()

        def read() -> int:
            lines = 0
            while data := os.read(reader, 4_096):
                lines += data.count(b"\n")
            return lines

        self.assertEqual(await workers.run(read), most)
        await closed
        await workers.stop()

    async def test_order(self) -> None:
        """Lines are in the file in their order, and all of them, across rotations."""
        path = Path(self.mktemp())
        workers = Workers(reactor, 4)
        workers.start()
        log = AccessLog(cast(Any, reactor), str(path), "combined", workers.run)
        log.open()
        for number in range(2_000):
            log.write(LONG._replace(size=number))
            if number == 1_000:
                log.reopen()
            if number % 50 == 0:
                await workers.run(lambda: None)
        await log.close()
        await workers.stop()
        sizes = [int(line.split()[9]) for line in path.read_text().splitlines()]  # noqa: ASYNC240
        self.assertEqual(sizes, list(range(2_000)))
