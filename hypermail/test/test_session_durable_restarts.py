"""
Durable sessions whose processes are killed at random times.
"""

from __future__ import annotations

from functools import partial

from twisted.trial.unittest import SynchronousTestCase

from hypermail.connection import Connection
from hypermail.test.durability import LANE, RESTARTS, DurableApplication, DurableWorld
from hypermail.testing import Conditions


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

    def test_withoutLink(self) -> None:
        """What is taken while there is no link is written down then, so that it does not come again after a kill."""
        world = DurableWorld(1, application=partial(DurableApplication, verdict_delay=6.0))
        world.start()
        listener = world.listener
        listener.exact = False
        world.starter.side.send_message(b"once", lane=LANE)
        world.run(lambda: listener.received)
        world.network.set_conditions(Conditions(loss=1.0))
        world.run_for(5.5)
        self.assertTrue(listener.side.connection.suspended)
        world.run_for(1)
        self.assertTrue(listener.records)
        world.kill(listener)
        world.network.set_conditions(Conditions(delay=0.01))
        world.start_listener()
        world.settle()
        self.assertEqual(list(listener.received.values()), [[(0, b"once")]])
