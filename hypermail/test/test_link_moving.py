"""
Tests for L{hypermail.link.moving}.
"""

from __future__ import annotations

from itertools import pairwise
from math import inf

from twisted.trial.unittest import SynchronousTestCase

from hypermail.link.moving import LEAST_CHALLENGE, LONGEST_WAIT, MOST_ASKED, TRIES, Moving
from hypermail.link.path import Path
from hypermail.wire import packets as p

HOME, AWAY, FAR = ("10.0.0.1", 1), ("10.0.0.2", 1), ("10.0.0.3", 1)
FULL = 1_200
#: s
NOW, INTERVAL = 1_000.0, 0.1


class MovingTests(SynchronousTestCase):
    """A listener that doubts where its starter is."""

    def setUp(self) -> None:
        self.moving = Moving(b"secret")
        self.home = Path(HOME, FULL, validated=True)

    def challenges(self, now: float = NOW) -> list[tuple[object, bytes, int]]:
        """What leaves now: where to, with which bytes, how large. It is counted as sent."""
        found = self.moving.challenges(self.home, FULL, now, INTERVAL)
        for path, packet, size in found:
            path.sent(size)
            self.assertEqual(packet[:1], p.PathChallenge(bytes(8)).encode()[:1])
        return [(path.address, packet[1:], size) for path, packet, size in found]

    def seen(self, address: object = AWAY, size: int = FULL, newest: bool = True, now: float = NOW) -> None:
        """Something authentic comes from elsewhere."""
        self.moving.seen(address, size, newest, now)

    def test_both(self) -> None:
        """The new address and the old one are challenged at once, with different bytes (RFC 9000 §9.3.3)."""
        self.assertEqual((self.moving.due, self.challenges()), (inf, []))
        self.seen()
        self.assertEqual(self.moving.due, NOW)
        (new, old) = self.challenges()
        self.assertEqual([new[0], old[0], new[2], old[2]], [AWAY, HOME, FULL, FULL])
        self.assertEqual([len(new[1]), len(old[1])], [8, 8])
        self.assertNotEqual(new[1], old[1])
        self.assertEqual(self.challenges(), [])

    def test_newest(self) -> None:
        """What is not the newest says nothing about where the peer is (RFC 9000 §9.3)."""
        self.seen(newest=False)
        self.assertIsNone(self.moving.candidate)
        self.seen()
        self.seen(FAR, newest=False)
        assert self.moving.candidate is not None
        self.assertEqual(self.moving.candidate.address, AWAY)

    def test_credit(self) -> None:
        """A candidate gets thrice what came from it: a full challenge where that is enough, or a small one."""
        self.seen(size=30)
        self.assertEqual([(where, size) for where, _, size in self.challenges()], [(AWAY, 64), (HOME, FULL)])
        self.assertEqual([where for where, _, _ in self.challenges(NOW + 1)], [HOME])
        self.seen(size=13, newest=False)
        self.assertEqual([where for where, _, _ in self.challenges(NOW + 2)], [AWAY, HOME])
        self.seen(size=399, newest=False)
        self.assertEqual(self.challenges(NOW + 3)[0][2], LEAST_CHALLENGE)
        self.seen(size=50, newest=False)
        self.assertEqual(self.challenges(NOW + 4)[0][2], FULL)

    def test_unprovedHome(self) -> None:
        """An old address that was never proved gets no more than its part either."""
        self.home.validated = False
        self.seen()
        self.assertEqual([where for where, _, _ in self.challenges()], [AWAY])

    def test_tries(self) -> None:
        """Challenges are repeated with longer and longer pauses, then the candidate is given up until it says more."""
        self.seen()
        times, data = [], set()
        while self.moving.candidate is not None:
            now = self.moving.due
            self.assertEqual(self.moving.challenges(self.home, FULL, now - 0.001, INTERVAL), [])
            self.moving.timeout(now - 0.001)
            self.moving.timeout(now)
            data |= {each for _, each, _ in self.challenges(now)}
            times.append(now)
            self.seen(newest=False)
        pauses = [later - earlier for earlier, later in pairwise(times)]
        for pause, expected in zip(pauses, (0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0, 1.0), strict=True):
            self.assertAlmostEqual(pause, expected)
        self.assertEqual((len(pauses), max(pauses)), (TRIES, LONGEST_WAIT))
        self.assertEqual(len(data), 2 * TRIES)
        self.assertEqual(self.moving.due, inf)
        self.seen(now=times[-1])
        self.assertEqual(len(self.challenges(times[-1])), 2)

    def test_rate(self) -> None:
        """Another candidate, or the same one again, is not challenged before an interval has passed."""
        self.seen()
        self.challenges()
        for address in (FAR, AWAY, FAR):
            self.seen(address, now=NOW + 0.05)
            self.assertEqual((self.moving.due, self.challenges(NOW + 0.05)), (NOW + INTERVAL, []))
        self.moving.stay()
        self.seen(now=NOW + 0.06)
        self.assertEqual(self.challenges(NOW + 0.06), [])
        self.assertEqual([where for where, _, _ in self.challenges(NOW + INTERVAL)], [AWAY, HOME])

    def test_stay(self) -> None:
        """If the newest comes from where the peer was there is nothing to prove."""
        self.seen()
        self.moving.stay()
        self.assertEqual((self.moving.candidate, self.moving.due, self.challenges()), (None, inf, []))

    def test_answered(self) -> None:
        """An answer tells which address was asked, and when; it is good once, and nothing else is."""
        self.seen()
        (new, old) = self.challenges()
        self.assertEqual(self.moving.answered(new[1]), (AWAY, NOW))
        self.assertEqual(self.moving.answered(old[1]), (HOME, NOW))
        for data in (new[1], bytes(8)):
            self.assertIsNone(self.moving.answered(data))

    def test_remembered(self) -> None:
        """All challenges of one candidate can still be answered; older ones are forgotten."""
        data = []
        for number in range(TRIES + 1):
            self.seen((str(number // TRIES), 1), now=NOW + 10 * number)
            data += [each for _, each, _ in self.challenges(NOW + 10 * number)]
        self.assertEqual(len(data), MOST_ASKED + 2)
        found = [self.moving.answered(each) is not None for each in data]
        self.assertEqual(found, [False, False] + [True] * MOST_ASKED)

    def test_secret(self) -> None:
        """Challenges follow from the secret alone, so that whoever does not have it can only guess."""
        made = []
        for secret in (b"secret", b"secret", b"another"):
            self.moving = Moving(secret)
            self.seen()
            made.append([data for _, data, _ in self.challenges()])
        self.assertEqual(made[0], made[1])
        self.assertTrue(set(made[0]).isdisjoint(made[2]))
