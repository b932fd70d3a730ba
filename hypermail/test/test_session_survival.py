"""
Tests for L{hypermail.session.survival}: when a starter tries again.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from hypermail.errors import PeerSilent
from hypermail.options import Role
from hypermail.session.survival import FIRST_PAUSE, LAST_PAUSE, LASTING, Survival


class AttemptTests(SynchronousTestCase):
    """The pauses between attempts."""

    def setUp(self) -> None:
        self.survival = Survival(Role.STARTER, 1, 86_400.0)
        self.survival.id = bytes(16)
        self.now = 1_000.0

    def lose(self) -> float:
        """The link is lost, or an attempt was in vain. @return: s until the next one."""
        self.survival.lost(PeerSilent("gone"), self.now)
        assert self.survival.attempt_at is not None
        return self.survival.attempt_at - self.now

    def failing(self, times: int = 1) -> list[float]:
        """So many attempts are in vain. @return: s after each until the next one."""
        pauses = []
        for _ in range(times):
            self.survival.begin_claim()
            self.now += 10
            pauses.append(self.lose())
        return pauses

    def test_pauses(self) -> None:
        """The first attempt is made at once, others after pauses that grow, and are never shorter than half of that."""
        self.assertEqual(self.lose(), 0)
        pauses = self.failing(20)
        most = [min(FIRST_PAUSE * 2**number, LAST_PAUSE) for number in range(20)]
        for pause, longest in zip(pauses, most):
            self.assertTrue(longest / 2 <= pause <= longest, (pause, longest))

    def test_flapping(self) -> None:
        """A link that does not last is an attempt in vain; after one that does the next attempt is made at once."""
        self.lose()
        self.failing(3)
        self.survival.begin_claim()
        self.survival.resumed(self.now)
        self.now += LASTING - 0.1
        self.assertGreaterEqual(self.lose(), FIRST_PAUSE * 4)
        self.survival.begin_claim()
        self.survival.resumed(self.now)
        self.now += LASTING
        self.assertEqual(self.lose(), 0)

    def test_hurry(self) -> None:
        """When something has changed the next attempt is made at once; when one runs, after that one."""
        self.lose()
        self.failing(10)
        self.survival.hurry(self.now)
        self.assertEqual(self.survival.attempt_at, self.now)
        self.assertGreater(self.failing(10)[-1], 1)
        self.survival.begin_claim()
        self.survival.hurry(self.now)
        self.assertIsNone(self.survival.attempt_at)
        self.now += 1
        self.assertEqual(self.lose(), 0)


class TimeTests(SynchronousTestCase):
    """For how long a session may be without a link."""

    def test_eachTime(self) -> None:
        """The time runs from the loss of the link, not from the last attempt; and for each loss anew."""
        survival = Survival(Role.STARTER, 1, 100.0)
        survival.lost(PeerSilent("gone"), 1_000.0)
        survival.begin_claim()
        survival.lost(PeerSilent("gone"), 1_050.0)
        self.assertEqual(survival.until, 1_100.0)
        survival.begin_claim()
        survival.resumed(1_060.0)
        self.assertIsNone(survival.until)
        survival.lost(PeerSilent("gone"), 2_000.0)
        self.assertEqual(survival.until, 2_100.0)
