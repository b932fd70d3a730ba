"""
An inbox whose process is killed at each of its steps: the same transfer is offered again, and is stored once.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import time
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from hypermail.services import arrivals
from hypermail.services.arrivals import Stored
from hypermail.services.directory import InboxDirectory
from hypermail.services.disk import Disk
from hypermail.services.parts import LEAST, name_of
from hypermail.test.services import kept, tree

CONTENT = os.urandom(LEAST + 1_000)
DIGEST = hashlib.sha256(CONTENT).digest()
NAME = name_of(b"", bytes(16), "dir/a", len(CONTENT))


class Killed(BaseException):
    """The process is dead."""


class MortalDisk(Disk):
    """
    A disk whose user is killed at a certain step. Afterwards nothing changes it any more, whatever tries to clear up.

    @param steps: after so many the process is killed; the next one is not done.
    @param links: whether the file system knows links.
    @ivar failing: the step at which the disk fails, and the process lives on; None for none.
    @ivar done: the steps that were done.
    """

    CHANGING = (
        "make_directory",
        "create",
        "write",
        "cut",
        "sync",
        "link",
        "reserve",
        "replace",
        "unlink",
        "change_mode",
    )

    def __init__(self, steps: float, *, links: bool) -> None:
        self.steps = steps
        self.links = links
        self.failing: int | None = None
        self.done: list[str] = []
        self._open: set[int] = set()

    def __getattribute__(self, name: str) -> Any:
        method = super().__getattribute__(name)
        if name not in MortalDisk.CHANGING:
            return method

        def step(*arguments: Any) -> Any:
            self._step(name)
            # Nothing here goes down but processes, so that syncing would only take its time.
            return None if name == "sync" else method(*arguments)

        return step

    def _step(self, name: str) -> None:
        if len(self.done) >= self.steps:
            raise Killed
        self.done.append(name)
        if len(self.done) - 1 == self.failing:
            raise OSError(errno.EIO, "the disk has failed")
        if name == "link" and not self.links:
            raise OSError(errno.EPERM, "no links here")

    def open_top(self, path: str) -> int:
        return self._note(super().open_top(path))

    def open_directory(self, name: str, parent: int) -> int:
        return self._note(super().open_directory(name, parent))

    def create(self, name: str, parent: int) -> int:
        return self._note(super().create(name, parent))

    def reopen(self, name: str, parent: int) -> int:
        return self._note(super().reopen(name, parent))

    def _note(self, descriptor: int) -> int:
        self._open.add(descriptor)
        return descriptor

    def close(self, descriptor: int) -> None:
        if descriptor in self._open:
            self._open.discard(descriptor)
            super().close(descriptor)

    def die(self) -> None:
        """The system closes what the process had open."""
        self.steps = 0
        while self._open:
            os.close(self._open.pop())


class KillCase(SynchronousTestCase):
    """One transfer after the other, in an inbox of its own each."""

    def live(
        self, top: Path, steps: float, *, links: bool, again: bool, confirm: bool = False, failing: int | None = None
    ) -> tuple[str | None, MortalDisk]:
        """
        One life of a process, in which the transfer is offered.

        @param confirm: whether the sender reads the answer, and confirms it.

        @return: the answer that it gave, and its disk.
        """
        disk = MortalDisk(steps, links=links)
        disk.failing = failing
        answer = None
        try:
            directory = InboxDirectory(str(top), disk)
            directory.open()
            directory.parts.sweep(time.time() + 7_200)
            arrival = directory.take_up(("dir", "a"), NAME, again=again)
            if isinstance(arrival, Stored):
                answer = arrival.name
            else:
                middle = LEAST + 7
                if arrival.size < middle:
                    arrival.write([CONTENT[arrival.size : middle]])
                try:
                    arrival.write([CONTENT[arrival.size :]])
                    answer = arrival.store(DIGEST)
                except OSError:
                    arrival.abandon()
            if confirm:
                directory.parts.forget((NAME,))
        except Killed:
            pass
        finally:
            disk.die()
        return answer, disk

    def steps(self, *, links: bool) -> list[str]:
        """Those of a life that nobody ends."""
        answer, disk = self.live(Path(self.mktemp()), float("inf"), links=links, again=False)
        self.assertEqual(answer, "dir/a")
        return disk.done

    def check(self, top: Path, *, links: bool) -> None:
        """Under a final name there is nothing, or the whole file, once; without links it may be reserved."""
        contents = [content for name, content in tree(str(top)).items() if not name.endswith("/")]
        if not links:
            contents = [content for content in contents if content]
        self.assertIn(contents, ([], [CONTENT]))

    def finish(self, top: Path, *, links: bool, again: bool) -> None:
        """A last life: the file is stored, once, and nothing else is left."""
        answer, _ = self.live(top, float("inf"), links=links, again=again, confirm=True)
        self.assertEqual(answer, "dir/a")
        self.assertEqual(tree(str(top)), {"dir/a": CONTENT})
        self.assertEqual(kept(top), {})
        mask = os.umask(0)
        os.umask(mask)
        self.assertEqual(stat.S_IMODE((top / "dir" / "a").stat().st_mode), 0o666 & ~mask)


class KilledTests(KillCase):
    """The process dies."""

    def test_everyStep(self) -> None:
        """Killed once, at each step."""
        for links in (True, False):
            for steps in range(len(self.steps(links=links)) + 1):
                top = Path(self.mktemp())
                self.live(top, steps, links=links, again=False)
                self.check(top, links=links)
                self.finish(top, links=links, again=True)

    def test_twice(self) -> None:
        """Killed at each step, and then at each step of the next life."""
        for links in (True, False):
            most = len(self.steps(links=links)) + 1
            for first in range(most):
                for second in range(first % 5, most, 5):
                    top = Path(self.mktemp())
                    self.live(top, first, links=links, again=False)
                    self.live(top, second, links=links, again=True)
                    self.check(top, links=links)
                    self.finish(top, links=links, again=True)

    def test_answeredOnlyWhenSafe(self) -> None:
        """When there was an answer, file and directory were synced after the last change to either."""
        for links, taking in ((True, "link"), (False, "replace")):
            done = self.steps(links=links)
            taken = max(index for index, step in enumerate(done) if step == taking)
            wrote = max(index for index, step in enumerate(done[:taken]) if step == "write")
            # The content, and the names of the hidden directory; without links the record, and its name.
            self.assertEqual(done[wrote:taken].count("sync"), 2)
            self.assertEqual(done[taken + 1 :].count("sync"), 2)

    def test_taken(self) -> None:
        """
        Whoever takes files away as soon as they appear gets this one once, also when there was no answer; but for the
        one step at which nobody can know.
        """
        done = self.steps(links=True)
        for steps in range(len(done) + 1):
            top = Path(self.mktemp())
            self.live(top, steps, links=True, again=False)
            taken = self.take(top)
            answer, _ = self.live(top, float("inf"), links=True, again=True)
            self.assertEqual(answer, "dir/a")
            taken += self.take(top)
            unknown = done[steps - 1] == "link" and steps > done.index("write")
            self.assertEqual(taken, 2 if unknown else 1, done[:steps])

    def test_failing(self) -> None:
        """The disk fails at a step of the storing, and the process is killed while it clears up, or is not."""
        for links in (True, False):
            done = self.steps(links=links)
            first = max(index for index, step in enumerate(done) if step == "write" and step not in done[index + 1 :])
            for failing in range(first, len(done)):
                for steps in (*range(failing + 1, failing + 7), float("inf")):
                    top = Path(self.mktemp())
                    answer, _ = self.live(top, steps, links=links, again=False, failing=failing)
                    self.assertIsNone(answer)
                    self.check(top, links=links)
                    self.finish(top, links=links, again=True)

    def test_syncedLate(self) -> None:
        """Without links: when only the syncing of the name has failed, it is done before the next offer is answered."""
        done = self.steps(links=False)
        top = Path(self.mktemp())
        failing = max(index for index, step in enumerate(done) if step == "replace") + 1
        answer, _ = self.live(top, float("inf"), links=False, again=False, failing=failing)
        self.assertIsNone(answer)
        answer, disk = self.live(top, float("inf"), links=False, again=True)
        self.assertEqual((answer, disk.done.count("sync")), ("dir/a", 2))

    def test_remembering(self) -> None:
        """Killed while it notes that a file was stored, whose sender has gone without a word."""
        for links in (True, False):
            steps = 0
            while True:
                top = Path(self.mktemp())
                self.live(top, float("inf"), links=links, again=False)
                disk = MortalDisk(float("inf"), links=links)
                directory = InboxDirectory(str(top), disk)
                directory.open()
                disk.steps = len(disk.done) + steps
                try:
                    directory.parts.remember(NAME, "dir/a")
                except Killed:
                    pass
                else:
                    break
                finally:
                    disk.die()
                self.finish(top, links=links, again=True)
                steps += 1
            self.assertGreater(steps, 3)

    def take(self, top: Path) -> int:
        """Take what is there; how many files that was."""
        found = [path for path in (top / "dir").glob("*") if path.is_file()]
        for path in found:
            self.assertEqual(path.read_bytes(), CONTENT)
            path.unlink()
        return len(found)


class CrashedTests(KillCase):
    """The machine goes down: what was not synced is lost."""

    def begin(self, top: Path, boot: str = "a boot") -> None:
        """Half a file in an inbox whose process dies."""
        disk = MortalDisk(float("inf"), links=True)
        disk.boot = lambda: boot  # type: ignore[method-assign]
        directory = InboxDirectory(str(top), disk)
        directory.open()
        arrival = directory.take_up(("dir", "a"), NAME, again=False)
        assert not isinstance(arrival, Stored)
        arrival.write([CONTENT[:1_000]])
        arrival.write([CONTENT[1_000:LEAST]])
        disk.die()

    def restart(self, top: Path, boot: str) -> int:
        """The next process; how much it has of the transfer."""
        disk = Disk()
        disk.boot = lambda: boot  # type: ignore[method-assign]
        directory = InboxDirectory(str(top), disk)
        directory.open()
        arrival = directory.take_up(("dir", "a"), NAME, again=True)
        assert not isinstance(arrival, Stored)
        arrival.close()
        directory.close()
        return arrival.size

    def test_restarted(self) -> None:
        """After a restart of the process all is there; after one of the machine as much as was certainly synced."""
        for checkpoint, left in ((1_000, 1_000), (1 << 30, 0)):
            self.patch(arrivals, "CHECKPOINT", checkpoint)
            top = Path(self.mktemp())
            self.begin(top)
            self.assertEqual(self.restart(top, "a boot"), LEAST)
            if checkpoint == 1_000:
                # The second checkpoint, of all, has not reached the disk itself.
                (note,) = top.glob(".hypermail/*.synced")
                note.write_bytes(b"1000")
            self.assertEqual(self.restart(top, "another boot"), left)
            self.finish(top, links=True, again=True)

    def test_unknown(self) -> None:
        """Where it is not known when the machine was started, every start is taken for one of the machine."""
        top = Path(self.mktemp())
        for _ in range(2):
            self.begin(top, "")
            self.assertEqual(self.restart(top, ""), 0)

    def test_stored(self) -> None:
        """What was stored is not cut back."""
        steps = self.steps(links=True)
        top = Path(self.mktemp())
        self.live(top, len(steps), links=True, again=False)
        disk = Disk()
        disk.boot = lambda: "another boot"  # type: ignore[method-assign]
        directory = InboxDirectory(str(top), disk)
        directory.open()
        self.assertEqual(tree(str(top)), {"dir/a": CONTENT})
        self.assertIsInstance(directory.take_up(("dir", "a"), NAME, again=True), Stored)
        directory.close()
