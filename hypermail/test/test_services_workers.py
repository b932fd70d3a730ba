"""
Tests for L{hypermail.services.workers}: real threads.
"""

from __future__ import annotations

import threading

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import TestCase

from hypermail.services.workers import Workers


class WorkersTests(TestCase):
    """Jobs on threads."""

    timeout = 30

    def setUp(self) -> None:
        self.workers = Workers(reactor, threads=2)
        self.workers.start()

    def tearDown(self) -> Deferred[None]:  # type: ignore[override]
        return self.workers.stop()

    async def test_run(self) -> None:
        """A job runs on another thread; its result, or what it raises, comes back on this one."""
        here = threading.get_ident()
        self.assertNotEqual(await self.workers.run(threading.get_ident), here)
        self.assertEqual(threading.get_ident(), here)
        with self.assertRaises(ZeroDivisionError):
            await self.workers.run(lambda: 1 // 0)

    async def test_atMost(self) -> None:
        """No more jobs at once than there may be threads."""
        lock = threading.Lock()
        busy: list[int] = []
        most: list[int] = []
        gate = threading.Event()

        def job() -> None:
            with lock:
                busy.append(1)
                most.append(len(busy))
                if len(most) == 2:
                    gate.set()
            gate.wait(10)
            with lock:
                busy.pop()

        await gatherResults([self.workers.run(job) for _ in range(10)])
        self.assertEqual(max(most), 2)

    async def test_stop(self) -> None:
        """Stopping waits for the jobs, and for those that they bring."""
        done: list[int] = []
        gate = threading.Event()
        first = self.workers.run(lambda: gate.wait(10))
        first.addCallback(lambda _: self.workers.run(lambda: done.append(1)).addCallback(lambda _: done.append(2)))
        stopped = self.workers.stop()
        self.assertNoResult(stopped)
        gate.set()
        await stopped
        self.assertEqual(done, [1, 2])

    async def test_stopUnused(self) -> None:
        """What was never started, or is stopped already, is stopped."""
        await Workers(reactor).stop()
        await self.workers.stop()
        await self.workers.stop()
