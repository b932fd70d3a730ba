"""
Durable sessions whose processes are killed at random times.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from hypermail.connection import Connection
from hypermail.test.durability import RESTARTS, DurableWorld


class RestartTests(SynchronousTestCase):
    """L{RESTARTS}, of which C{python -m hypermail.test.scenarios} runs more seeds."""

    def _storm(self, name: str) -> None:
        for seed in range(4):
            world = RESTARTS[name](seed)
            self.assertTrue(world.starter.fates and world.listener.stored)

    def test_listener(self) -> None:
        """The listener's process is killed again and again: nothing is lost, and nothing is dealt with twice."""
        self._storm("listener-restarts")

    def test_starter(self) -> None:
        """The starter's."""
        self._storm("starter-restarts")

    def test_both(self) -> None:
        """Both, together and in turn."""
        self._storm("both-restart")


class WritingTests(SynchronousTestCase):
    """What is written of a session that goes on over another link."""

    def test_released(self) -> None:
        """Is written by the connection that it goes on over, and by no other."""
        world = DurableWorld(1)
        world.start()
        told: list[bool] = []
        usual = Connection.changes_written

        def tell(connection: Connection, safe: bool, *, now: float) -> None:
            told.append(connection.released)
            usual(connection, safe, now=now)

        self.patch(Connection, "changes_written", tell)
        world.restart(world.starter)
        world.settle()
        self.assertGreater(len(told), 2)
        self.assertNotIn(True, told)
