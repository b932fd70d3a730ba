"""
Durable sessions whose processes are killed at random times.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from hypermail.test.durability import RESTARTS


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
