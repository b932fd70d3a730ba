"""
Tests for L{hypermail.services.parts}: what is kept of transfers, and for how long.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from hypermail.services import parts
from hypermail.services.arrivals import Stored
from hypermail.services.directory import InboxDirectory
from hypermail.services.disk import Disk
from hypermail.services.parts import AGE, LEAST, Parts, Swept, name_of
from hypermail.test.services import kept

NOW = 1_800_000_000.0


class NameTests(SynchronousTestCase):
    """What a transfer is called."""

    def test_different(self) -> None:
        """Another owner, transfer, path or size is another name; the owner is told by its beginning."""
        one = name_of(b"a", b"b", "c", 1)
        others = [
            name_of(b"x", b"b", "c", 1),
            name_of(b"a", b"x", "c", 1),
            name_of(b"a", b"b", "x", 1),
            name_of(b"a", b"b", "c", 2),
            name_of(b"ab", b"", "c", 1),
            name_of(b"a", b"", "bc", 1),
            name_of(b"", b"a", "bc", 1),
        ]
        # Also without its beginning, of which somebody might make a certificate that has the same.
        self.assertEqual(len({name.partition("-")[2] for name in (one, *others)}), 8)
        self.assertEqual(one, name_of(b"a", b"b", "c", 1))
        owners = [name.partition("-")[0] for name in (one, *others)]
        self.assertEqual([owner == owners[0] for owner in owners], [True, False, True, True, True, False, True, False])


class SweepTests(SynchronousTestCase):
    """What senders that do not come again leave behind."""

    def setUp(self) -> None:
        self.top = Path(self.mktemp())
        self.directory = InboxDirectory(str(self.top), Disk())
        self.directory.open()
        self.addCleanup(self.directory.close)
        self.parts: Parts = self.directory.parts
        self.hidden = self.top / ".hypermail"

    def part(self, name: str, size: int = LEAST, age: float = 0.0) -> str:
        """A part that was left."""
        descriptor = self.parts.disk.create(name + ".part", self.parts.descriptor)
        os.close(descriptor)
        path = self.hidden / (name + ".part")
        os.truncate(path, size)
        os.utime(path, (NOW - age, NOW - age))
        return name

    def names(self) -> set[str]:
        """What is there."""
        return {name for name in os.listdir(self.hidden) if name != "boot"}

    def sweep(self) -> Swept:
        """Look."""
        return self.parts.sweep(NOW)

    def test_kept(self) -> None:
        """A part of some size stays, for 30 days."""
        self.part("a-1", age=AGE - 1)
        self.part("a-2", LEAST - 1)
        self.part("a-3", age=AGE + 1)
        (self.hidden / "a-3.synced").write_bytes(b"5")
        (self.hidden / "gone.synced").write_bytes(b"5")
        self.assertEqual(self.sweep(), Swept(2, 2 * LEAST - 1))
        self.assertEqual(self.names(), {"a-1.part"})

    def test_locked(self) -> None:
        """What is arriving is left alone, however old it looks, also when there are too many."""
        self.patch(parts, "MOST", 0)
        self.part("a-1", age=2 * AGE)
        with open(self.hidden / "a-1.part") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            self.assertEqual(self.sweep(), Swept(0, 0))
        self.assertEqual(self.sweep(), Swept(1, LEAST))

    def test_ofOneSender(self) -> None:
        """Of one sender only so many are kept, the newest, whatever others have."""
        self.patch(parts, "MOST_OF_ONE", 2)
        for number in range(4):
            self.part(f"a-{number}", age=number)
        self.part("b-1", age=1_000)
        self.assertEqual(self.sweep(), Swept(2, 2 * LEAST))
        self.assertEqual(self.names(), {"a-0.part", "a-1.part", "b-1.part"})

    def test_bytesOfOneSender(self) -> None:
        """... and only so many bytes; but one of any size."""
        self.patch(parts, "MOST_BYTES_OF_ONE", 3 * LEAST)
        self.part("a-1", 2 * LEAST, age=1)
        self.part("a-2", 2 * LEAST, age=2)
        self.part("a-3", LEAST, age=3)
        self.part("b-1", 9 * LEAST, age=4)
        self.assertEqual(self.sweep(), Swept(1, 2 * LEAST))
        self.assertEqual(self.names(), {"a-1.part", "a-3.part", "b-1.part"})

    def test_ofAll(self) -> None:
        """Of all senders together only so many are kept, parts as well as records."""
        self.patch(parts, "MOST", 3)
        for number in range(5):
            self.part(f"{number}-a", age=number)
            record = self.hidden / f"{number}-b.stored"
            record.write_bytes(b"x")
            os.utime(record, (NOW - number, NOW - number))
        self.assertEqual(self.sweep(), Swept(2, 2 * LEAST))
        self.assertEqual(self.names(), {f"{number}-{name}" for number in range(3) for name in ("a.part", "b.stored")})

    def test_records(self) -> None:
        """That a file was stored is known for 30 days; then nothing of it is left, its content least of all."""
        for age in (AGE - 1, AGE + 1):
            for name in ("record", "linked"):
                transfer = f"{name}-{age:.0f}"
                arrival = self.directory.take_up((transfer,), transfer, again=False)
                assert not isinstance(arrival, Stored)
                arrival.store()
                if name == "record":
                    self.parts.remember(transfer, "x")
                (path,) = self.hidden.glob(transfer + ".*")
                os.utime(path, (NOW - age, NOW - age))
        self.assertEqual(self.sweep(), Swept(0, 0))
        self.assertEqual(self.names(), {f"record-{AGE - 1:.0f}.stored", f"linked-{AGE - 1:.0f}.part"})
        self.assertEqual(len([path for path in self.top.iterdir() if path.is_file()]), 4)

    def test_cutOff(self) -> None:
        """Files of no transfer, and those that were being replaced, are nobody's after their process."""
        name, descriptor = self.parts.create()
        os.truncate(self.hidden / name, 2 * LEAST)
        self.assertEqual(self.sweep(), Swept(0, 0))
        os.close(descriptor)
        for age in (0, 3_601):
            path = self.hidden / f"x-{age}.new"
            path.write_bytes(b"")
            os.utime(path, (NOW - age, NOW - age))
        self.assertEqual(self.sweep(), Swept(1, 2 * LEAST))
        self.assertEqual(self.names(), {"x-0.new"})

    def test_empty(self) -> None:
        """There may be nothing."""
        self.assertEqual(self.sweep(), Swept(0, 0))
        self.assertEqual(kept(self.top), {})
