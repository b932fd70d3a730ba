"""
Tests of L{hypermail.services.store_shares}: real files.
"""

from __future__ import annotations

import os
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from hypermail.demux import ALONE, Share
from hypermail.errors import StoreFailed
from hypermail.services import store_shares
from hypermail.services.store_file import StoreFile
from hypermail.services.store_shares import share, shareOf
from hypermail.session import journal
from hypermail.test.stores import NOW, OWNER, Chance, Model, identity, state


class Shares(Chance):
    """Changes of sessions that are all workers'."""

    def _draw(self) -> journal.Change:
        change = super()._draw()
        return replace(change, worker=change.id[-1]) if isinstance(change, journal.SessionIdentity) else change


class NameTests(SynchronousTestCase):
    """
    L{shareOf}
    """

    def test_name(self) -> None:
        """A listener without workers has the store that it always had."""
        path = Path("state/sessions-4700-127.0.0.1.db")
        self.assertEqual(shareOf(path, ALONE), path)
        self.assertEqual(str(shareOf(path, Share(2, 3))), "state/sessions-4700-127.0.0.1.2-of-3.db")


class ShareTests(SynchronousTestCase):
    """
    L{share}
    """

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()) / "state"
        self.path = self.directory / "sessions-4700.db"

    def names(self) -> list[str]:
        """What is in the directory."""
        return sorted(os.listdir(self.directory))

    def open(self, path: Path) -> StoreFile:
        file = StoreFile(str(path), OWNER, lambda: NOW)
        self.addCleanup(file.close)
        return file

    def fill(self, number: int = 300, path: Path | None = None) -> Model:
        """A store in which much has happened."""
        chance = Shares(3, sessions=40)
        file = StoreFile(str(path or self.path), OWNER, lambda: NOW)
        writes = [write for group in islice(chance.groups(), number) for write in group]
        self.assertEqual(set(file.apply(writes)), {None})
        file.close()
        return chance.model

    def found(self, workers: int) -> dict[bytes, Any]:
        """All sessions, each of which is where its worker looks for it, and nowhere else."""
        whole: dict[bytes, Any] = {}
        for worker in range(workers):
            one = Share(worker, workers)
            file = StoreFile(str(shareOf(self.path, one)), OWNER, lambda: NOW)
            found = state(file)
            file.close()
            for id, (stored, _) in found.items():
                self.assertTrue(one.has(stored.identity.worker))
                self.assertNotIn(id, whole)
            whole |= found
        return whole

    def test_moved(self) -> None:
        """With another number of workers all sessions are where these look, with all that was in them."""
        model = self.fill()
        self.assertGreater(len(model.identities), 20)
        before = 1
        for workers in (4, 3, 1):
            self.assertEqual(share(self.path, OWNER, workers), before)
            self.assertEqual(self.found(workers), model.state())
            self.assertEqual(self.names(), sorted(shareOf(self.path, Share(n, workers)).name for n in range(workers)))
            before = workers

    def test_same(self) -> None:
        """With the same number nothing is touched; a store that is open is none of ours then."""
        self.fill(10)
        share(self.path, OWNER, 2)
        self.open(shareOf(self.path, Share(0, 2)))
        self.assertEqual(share(self.path, OWNER, 2), 0)

    def test_nothing(self) -> None:
        """Where there is no store none is made, nor a directory."""
        self.assertEqual(share(self.path, OWNER, 2), 0)
        self.assertFalse(self.directory.exists())

    def test_others(self) -> None:
        """Stores of other listeners stay where they are."""
        self.fill(10)
        others = ["sessions-47000.db", "sessions-4700-127.0.0.1.db", "sessions-4700.0-of-2.db.new", "xsessions-4700.db"]
        for name in others:
            (self.directory / name).touch()
        share(self.path, OWNER, 2)
        self.assertEqual(set(others) - set(self.names()), set())

    def test_interrupted(self) -> None:
        """Whenever it is interrupted, the next time finishes it, for any number: nothing is lost, or twice."""
        for workers in (2, 3):
            for at in (0, 3):
                model = self.fill(path=self.path)
                share(self.path, OWNER, 4)
                with self.failing(at):
                    self.assertRaises(KeyboardInterrupt, share, self.path, OWNER, 2)
                share(self.path, OWNER, workers)
                self.assertEqual(self.found(workers), model.state())
                for name in self.names():
                    (self.directory / name).unlink()

    def failing(self, at: int) -> Any:
        """The process ends before it has removed the next store, after so many."""
        real, left = store_shares._remove, [at]

        def remove(path: Path) -> None:
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            real(path)

        return patch.object(store_shares, "_remove", remove)

    def test_halfCopied(self) -> None:
        """What cannot be copied whole is not copied at all, and stays where it was."""
        model = self.fill()
        real, left = StoreFile._insert, [50]

        def insert(file: StoreFile, rows: Any) -> None:
            left[0] -= 1
            if not left[0]:
                raise OSError(28, "No space left on device")
            real(file, rows)

        with patch.object(StoreFile, "_insert", insert):
            error = self.assertRaises(StoreFailed, share, self.path, OWNER, 2)
        self.assertIn("make room there", error.text)
        file = self.open(self.path)
        self.assertEqual(state(file), model.state())
        file.close()
        for worker in range(2):
            self.assertEqual(state(self.open(shareOf(self.path, Share(worker, 2)))), {})

    def test_again(self) -> None:
        """What is there already of a session gives way to what comes: it is as old or older."""
        self.fill(50)
        share(self.path, OWNER, 2)
        file = StoreFile(str(self.path), OWNER, lambda: NOW)
        self.assertEqual(file.apply([[identity(1, worker=1, generation=99)]]), [None])
        file.close()
        share(self.path, OWNER, 2)
        stored, messages = self.found(2)[identity(1).id]
        self.assertEqual((stored.identity.generation, messages), (99, {}))

    def test_inUse(self) -> None:
        """A store that another process has open is not moved; all is closed again."""
        self.fill(10)
        file = self.open(self.path)
        error = self.assertRaises(StoreFailed, share, self.path, OWNER, 2)
        self.assertIn("in use by another process", error.text)
        file.close()
        self.assertEqual(share(self.path, OWNER, 2), 1)

    def test_oneInUse(self) -> None:
        """While one of the workers of before still runs nothing is taken from the others."""
        self.fill(10)
        share(self.path, OWNER, 2)
        before = self.names()
        file = self.open(shareOf(self.path, Share(1, 2)))
        for workers in (1, 3):
            self.assertRaises(StoreFailed, share, self.path, OWNER, workers)
            self.assertEqual([name for name in self.names() if not name.endswith("-wal")], before)
        file.close()

    def test_notClosed(self) -> None:
        """A store whose log could not be written back is not removed."""
        self.fill(10)
        with patch("os.path.lexists", lambda path: str(path).endswith("-wal") or os.path.exists(path)):
            self.assertRaises(StoreFailed, store_shares._remove, self.path)
        self.assertTrue(self.path.exists())

    def test_unreadable(self) -> None:
        """A state directory that is none is said to be so."""
        self.directory.parent.mkdir(exist_ok=True)
        self.directory.touch()
        error = self.assertRaises(StoreFailed, share, self.path, OWNER, 2)
        self.assertIn("Not a directory", error.text)
