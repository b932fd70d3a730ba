"""
Tests for the measurements of the hive, C{benchmarks/hive}. They need a checkout.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import socket
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

try:
    from benchmarks.hive import results
    from benchmarks.hive.__main__ import SUITES, parse
    from benchmarks.hive.asking import Asker, expected
    from benchmarks.hive.content import BLOCK, PAUSE, Incoming, Pauses, blocks, digest, take
    from benchmarks.hive.kills import goals
    from benchmarks.hive.scene import WAYS, Hive, sampled
except ImportError:
    NOT_HERE: str | None = "benchmarks/hive is not installed, it needs a checkout"
else:
    NOT_HERE = None


class ContentTests(SynchronousTestCase):
    """Bodies of any length."""

    skip = NOT_HERE

    def test_blocks(self) -> None:
        """They are as long as they should be, no two blocks are the same, and C{digest} is their SHA-256."""
        for size in (0, 1, BLOCK, 3 * BLOCK + 5):
            whole = b"".join(blocks(size))
            self.assertEqual((size, hashlib.sha256(whole).hexdigest()), (len(whole), digest(size)))
        self.assertEqual(3, len(set(blocks(3 * BLOCK))))

    def test_pauses(self) -> None:
        """Pauses divide a body evenly, and each is there once."""
        pauses = Pauses(90, 2)
        self.assertEqual([0.0, PAUSE, 0.0, PAUSE, 0.0], [pauses.reached(size) for size in (29, 30, 31, 75, 90)])

    def test_incoming(self) -> None:
        """A head, the body that came with it and after it, and the next head."""
        near, far = socket.socketpair()
        self.addCleanup(near.close)
        far.sendall(b"POST /content HTTP/1.1\r\ncontent-LENGTH: 6\r\n\r\nabcdefGET /tick HTTP/1.1\r\n\r\nx")
        far.close()
        incoming = Incoming(near)
        self.assertEqual(("POST /content HTTP/1.1", 6), incoming.head())
        self.assertEqual(hashlib.sha256(b"abcdef").hexdigest(), take(incoming, 6, 0))
        self.assertEqual(("GET /tick HTTP/1.1", 0), incoming.head())
        self.assertEqual(b"x", incoming.some(5))
        self.assertRaises(EOFError, incoming.some, 1)
        self.assertRaises(EOFError, incoming.head)


class CommandTests(SynchronousTestCase):
    """The command line."""

    skip = NOT_HERE

    def test_defaults(self) -> None:
        """Each suite has options, and those of all may come before it and after it."""
        for name in SUITES:
            self.assertEqual(Path("build/hive"), parse([name]).out)
            self.assertEqual(Path("x"), parse([name, "--out", "x"]).out)
            self.assertEqual(Path("x"), parse(["--out", "x", name]).out)
        self.assertEqual(2 << 30, parse(["slow"]).size)

    def test_nothing(self) -> None:
        """Something has to be measured, or shown."""
        with contextlib.redirect_stderr(io.StringIO()):
            self.assertRaises(SystemExit, parse, [])
        self.assertIsNone(parse(["--render"]).suite)


def killed(**figures: Any) -> dict[str, Any]:
    """A round of kills."""
    row = {"way": "tls", "killed": "cell", "outcomes": {"right": 199, "cut": 1}, "longest": 3.0, "back": 1.0}
    return {**row, "afterwards": {"right": 100}, **figures}


class ResultTests(SynchronousTestCase):
    """Goals, and tables."""

    skip = NOT_HERE

    def test_goals(self) -> None:
        """Clean errors are none; wrong answers, waiting for ever, and what does not come back are."""

        def held(*rows: dict[str, Any]) -> list[bool]:
            return [goal["holds"] for goal in goals(list(rows))]

        self.assertEqual([True, True, True], held(killed(), killed()))
        self.assertEqual([False, True, True], held(killed(), killed(outcomes={"wrong": 1})))
        self.assertEqual([False, False, True], held(killed(), killed(outcomes={"hung": 1}, longest=60.0)))
        self.assertEqual([True, True, False], held(killed(), killed(afterwards={"right": 99, "cut": 1})))

    def test_kills(self) -> None:
        """Rounds of one kind are added up."""
        [table] = results.TABLES["kills"]([killed(), killed(back=2.0), killed(way="hypermail")])
        self.assertEqual(
            [["cell", "tls", "400", "398", "0", "0", "2", "0", "0", "0", "3.0", "2.0"], "hypermail"],
            [table.rows[0], table.rows[1][1]],
        )

    def test_rates(self) -> None:
        """Medians, by set-up and number of connections; where nothing was measured there is a dash."""
        common = {"setup": "nginx", "p50": 1.0, "p99": 2.0, "wrong": 0, "front_memory": 1 << 20, "front_peak": 2 << 20}
        common |= {"tool": "wrk", "connections": 8, "front_processor": 0.5}
        rows = [
            {**common, "round": number, "path": path, "size": size, "rate": rate}
            for path, size, rate in (("/small", 100, 1_000.0), ("/big", 1_000_000, 10.0))
            for number, rate in enumerate((rate, 3 * rate, 2 * rate), 1)
        ]
        tables = results.TABLES["rate"](rows)
        self.assertEqual([["nginx", "2,000"]], tables[0].rows)
        self.assertEqual([["nginx", "1.0 / 2.0"]], tables[1].rows)
        self.assertEqual([["nginx", "20", "–", "–", "–"]], tables[2].rows)
        self.assertEqual([["nginx", "0.50 + –"]], tables[3].rows)
        self.assertEqual([["nginx", "1", "2", "–", "–"]], tables[4].rows)

    def test_fragments(self) -> None:
        """The documentation has a file of each suite, with what was wanted, and says what was not measured."""
        suite = {"rows": [killed()], "goals": goals([killed()]), "when": "2026-11-21", "commit": "abc"}
        found = results.fragments({"suites": {"kills": suite}, "machine": {"Python": "3.11"}})
        self.assertEqual({f"hive-{name}" for name in (*results.TABLES, "machine")}, set(found))
        self.assertIn("not been measured", found["hive-rate"])
        self.assertIn("* Holds: every client", found["hive-kills"])
        self.assertEqual(":Python: 3.11\n", found["hive-machine"])


class HiveTests(SynchronousTestCase):
    """Real processes."""

    skip = NOT_HERE

    def test_asks(self) -> None:
        """A queen and a cell begin, over either way; requests are answered right, and errors are known as such."""
        for way in WAYS:
            with TemporaryDirectory() as directory, Hive(Path(directory)) as hive:
                queen, asker = hive.queen(), Asker(hive.address, hive.https, 20.0)
                self.assertEqual("absent", asyncio.run(asker.ask("quick")).name)
                cell = hive.cell(way)
                with sampled([queen, cell]) as peaks:
                    names = [asyncio.run(asker.ask(kind, None, 0.0)).name for kind in ("quick", "put", "big", "other")]
                self.assertEqual(["right", "right", "right", "absent"], names)
                self.assertEqual("gone", asyncio.run(asker.ask("hold", 0.1)).name)
                self.assertTrue(all(10 << 20 < peak < 150 << 20 for peak in peaks.values()), peaks)
                queen.kill()
                self.assertEqual("cut", asyncio.run(asker.ask("quick")).name)

    def test_expected(self) -> None:
        """Answers depend on what was asked for."""
        self.assertEqual(b"quick-1", expected("quick", "quick-1"))
        self.assertNotEqual(expected("slow", "slow-1"), expected("slow", "slow-2"))
        self.assertEqual(1 << 20, len(expected("slow", "slow-1")))
        digest, _, name = expected("put", "put-1").partition(b" ")
        self.assertEqual((64, b"put-1"), (len(digest), name))
