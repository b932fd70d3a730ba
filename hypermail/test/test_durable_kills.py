"""
The kill runs of C{benchmarks/durable}, in short: real processes, real stores, SIGKILL, a network that is cut.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

CHECKOUT = Path(__file__).resolve().parents[2]

if HERE := (CHECKOUT / "benchmarks").exists() and (CHECKOUT / "docs").exists():
    from benchmarks.durable.kills import run, whole
    from benchmarks.durable.ways import Namespaced, Relayed
    from benchmarks.netemu.namespaces import unavailable


class DurableKillsTests(SynchronousTestCase):
    """One run each."""

    def setUp(self) -> None:
        if not HERE:
            raise SkipTest("benchmarks/durable is not installed, it needs a checkout")

    def run_(self, **settings: Any) -> dict[str, Any]:
        """A run, in a directory of its own."""
        with tempfile.TemporaryDirectory() as top:
            return run(Path(top) / "run", **settings)

    def test_kills(self) -> None:
        """Three kills of each side and two cuts lose none of 2,000 messages, and double none."""
        found = self.run_(seed=1, count=2_000, kills=3, cuts=2, between=(0.1, 1.5), way=Relayed())
        self.assertTrue(whole(found, 2_000), found)
        self.assertEqual((found["kills"], found["came_again"]), ({"ledger": 3, "till": 3}, 0))

    def test_namespaces(self) -> None:
        """Likewise between two namespaces, where 1 % is lost."""
        reason = unavailable()
        if reason is not None:
            raise SkipTest(reason)
        found = self.run_(seed=2, count=2_000, kills=3, cuts=2, between=(0.1, 1.5), way=Namespaced(2))
        self.assertTrue(whole(found, 2_000), found)
        self.assertGreater(found["datagrams_cut_off"], 0)
