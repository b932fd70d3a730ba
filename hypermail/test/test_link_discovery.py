"""
Tests for L{hypermail.link.discovery}: RFC 8899 §5, by itself.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hypermail.link.discovery import KNOWN, LEISURE, MAX_PROBES, PAUSE, RAISE, RESOLUTION, Discovery
from hypermail.link.path import Path

BASE = 1_200
LARGEST = 65_507
#: s; after this a probe counts as lost.
PATIENCE = 0.1


class DiscoveryTestCase(SynchronousTestCase):
    """
    A search on a path that carries so much, in virtual time.

    @ivar limit: bytes that the path carries.
    @ivar tried: size of each probe that was sent, in order.
    """

    def setUp(self) -> None:
        self.begin(1_472)

    def begin(self, limit: int, ceiling: int = LARGEST) -> None:
        """Begin a search on a new path, for which it is time."""
        self.limit = limit
        self.now = 1_000.0
        self.path = Path("peer", BASE, True)
        self.discovery = Discovery(self.path)
        self.tried: list[int] = []
        self.number = 0
        self.discovery.allow(ceiling, self.now - LEISURE)
        self.discovery.timeout(self.now)

    def probe(self, arrives: bool | None = None) -> int:
        """Send a probe, if one is due, and learn its fate. @return: its size, or 0."""
        size = self.discovery.next_size(self.now, LARGEST)
        if size:
            self.number += 3
            self.tried.append(size)
            self.discovery.sent(self.number, self.now + PATIENCE)
            if size <= self.limit if arrives is None else arrives:
                self.now += PATIENCE / 2
                self.assertTrue(self.discovery.acknowledged([(self.number, self.number + 1)], self.now))
            else:
                self.now += PATIENCE
                self.discovery.timeout(self.now)
        return size

    def search(self) -> int:
        """Search until nothing is due. @return: what was found."""
        while self.probe():
            pass
        return self.path.mtu


class SearchTests(DiscoveryTestCase):
    """Which sizes are tried, and what is found."""

    def test_ethernet(self) -> None:
        """1,472 bytes are in use after two probes; nothing is tried often."""
        self.probe()
        self.assertEqual(self.path.mtu, 1_452)
        self.probe()
        self.assertEqual(self.path.mtu, 1_472)
        self.assertEqual(self.search(), 1_472)
        self.assertEqual(self.tried, [1_452, 1_472, *[8_952] * 3, *[1_480] * 3])

    def test_known(self) -> None:
        """Each limit that is known is found exactly, with a probe for each size on the way to it."""
        for limit in KNOWN:
            self.begin(limit)
            self.assertEqual(self.search(), limit)
            self.assertEqual([size for size in self.tried if size <= limit], [size for size in KNOWN if size <= limit])

    def test_base_only(self) -> None:
        """Where nothing larger than the base passes, two sizes are tried."""
        self.begin(1_200)
        self.assertEqual(self.search(), 1_200)
        self.assertEqual(self.tried, [*[1_452] * 3, *[1_208] * 3])

    def test_odd(self) -> None:
        """Tunnels: a limit that nobody knows is found to 8 bytes."""
        for limit in (1_232, 1_252, 1_372, 1_392, 1_464, 4_324):
            self.begin(limit)
            self.assertTrue(limit - RESOLUTION < self.search() <= limit, (limit, self.path.mtu))

    def test_ceiling(self) -> None:
        """Nothing larger than the ceiling is tried; it itself is found exactly."""
        for ceiling in (1_201, 1_300, 1_453, 1_472, 2_000, 53_248, LARGEST):
            self.begin(LARGEST, ceiling)
            self.assertEqual(self.search(), ceiling)
            self.assertEqual(max(self.tried), ceiling)

    def test_no_ceiling(self) -> None:
        """A ceiling that is no higher than the base, or below it, leaves nothing to be tried, ever."""
        for ceiling in (0, 100, 1_199, 1_200):
            self.begin(LARGEST, ceiling)
            for _ in range(3):
                self.assertEqual(self.search(), 1_200)
                self.now += RAISE
            self.assertEqual(self.tried, [])

    def test_before_peer(self) -> None:
        """Nothing is tried before the peer is known."""
        discovery = Discovery(Path("peer", BASE, True))
        self.assertEqual(discovery.next_size(1e9, LARGEST), 0)
        self.assertIsNone(discovery.deadline)

    def test_known_once(self) -> None:
        """A peer that says again what it reads does not make a search begin anew, nor end."""
        self.search()
        tried = list(self.tried)
        self.discovery.allow(LARGEST, self.now)
        self.assertEqual(self.search(), 1_472)
        self.assertEqual(self.tried, tried)

    def test_leisure(self) -> None:
        """Nothing is tried for a moment after the peer is known; then it is, though nothing else happens."""
        discovery = Discovery(Path("peer", BASE, True))
        discovery.allow(LARGEST, self.now)
        self.assertEqual(discovery.deadline, self.now + LEISURE)
        for now, size in ((self.now + LEISURE - 0.01, 0), (self.now + LEISURE, 1_452)):
            discovery.timeout(now)
            self.assertEqual(discovery.next_size(now, LARGEST), size)
        self.assertIsNone(discovery.deadline)

    def test_hurry(self) -> None:
        """Who has much to say does not wait that long; a search that is over, or waits longer, is not begun by it."""
        discovery = Discovery(Path("peer", BASE, True))
        discovery.hurry(self.now)
        self.assertEqual(discovery.next_size(self.now, LARGEST), 0)  # the peer is not known
        discovery.allow(LARGEST, self.now)
        discovery.hurry(self.now)
        self.assertEqual((discovery.deadline, discovery.next_size(self.now, LARGEST)), (None, 1_452))
        self.search()
        self.discovery.hurry(self.now)
        self.assertEqual(self.probe(), 0)
        self.discovery.black_hole(self.now)
        self.discovery.hurry(self.now)
        self.assertEqual(self.probe(), 0)

    @settings(deadline=None, max_examples=200)
    @given(st.integers(BASE, LARGEST), st.integers(BASE, LARGEST))
    def test_any(self, limit: int, ceiling: int) -> None:
        """Whatever path and ceiling: what is found passes, what lies 8 bytes above doesn't; few probes are lost."""
        self.begin(limit, ceiling)
        found = self.search()
        self.assertLessEqual(found, min(limit, ceiling))
        self.assertGreater(found + RESOLUTION, min(limit, ceiling))
        self.assertLessEqual(len(self.tried), len(KNOWN) + 1 + MAX_PROBES * 16)
        self.assertIsNone(self.discovery.deadline)

    @settings(deadline=None)
    @given(st.integers(BASE, 10_000), st.randoms(use_true_random=False))
    def test_loss(self, limit: int, random: object) -> None:
        """Loss makes it find less, never more."""
        self.begin(limit)
        while True:
            size = self.discovery.next_size(self.now, LARGEST)
            if not size:
                break
            self.probe(size <= limit and random.random() < 0.7)  # type: ignore[attr-defined]
        self.assertTrue(BASE <= self.path.mtu <= limit)


class ProbeTests(DiscoveryTestCase):
    """One probe at a time, and what becomes of it."""

    def test_one_at_a_time(self) -> None:
        """While a probe is in flight no other is due."""
        size = self.discovery.next_size(self.now, LARGEST)
        self.discovery.sent(7, self.now + PATIENCE)
        self.assertEqual((size, self.discovery.deadline), (1_452, self.now + PATIENCE))
        self.assertEqual(self.discovery.next_size(self.now + 1_000, LARGEST), 0)
        self.discovery.timeout(self.now + PATIENCE - 0.001)
        self.assertEqual(self.discovery.next_size(self.now + PATIENCE, LARGEST), 0)
        self.discovery.timeout(self.now + PATIENCE)
        self.assertIsNone(self.discovery.deadline)
        self.assertEqual(self.discovery.next_size(self.now + PATIENCE, LARGEST), 1_452)

    def test_two_losses(self) -> None:
        """A size that gets through at the third attempt fits."""
        for arrives in (False, False, True):
            self.probe(arrives)
        self.assertEqual((self.path.mtu, self.tried, self.discovery.probes), (1_452, [1_452] * 3, 3))

    def test_late(self) -> None:
        """An earlier attempt whose acknowledgement comes late is proof, too."""
        self.probe(False)
        self.probe(False)
        self.assertTrue(self.discovery.acknowledged([(3, 4)], self.now))
        self.assertEqual(self.path.mtu, 1_452)
        self.assertEqual(self.discovery.next_size(self.now, LARGEST), 1_472)

    def test_too_late(self) -> None:
        """An acknowledgement of a size that was given up proves nothing about the one that is tried now."""
        for _ in range(MAX_PROBES):
            self.probe(False)
        self.assertEqual(self.discovery.next_size(self.now, LARGEST), 1_208)
        self.discovery.sent(100, self.now + PATIENCE)
        self.assertFalse(self.discovery.acknowledged([(0, 20)], self.now))
        self.assertEqual(self.path.mtu, BASE)

    def test_others(self) -> None:
        """Acknowledgements of other datagrams are no proof; one of many that covers the probe is."""
        self.assertFalse(self.discovery.acknowledged([(0, 100)], self.now))
        self.discovery.next_size(self.now, LARGEST)
        self.discovery.sent(7, self.now + PATIENCE)
        self.assertFalse(self.discovery.acknowledged([(8, 100), (0, 7)], self.now))
        self.assertEqual(self.path.mtu, BASE)
        self.assertTrue(self.discovery.acknowledged([(50, 100), (5, 8)], self.now))
        self.assertEqual(self.path.mtu, 1_452)
        self.assertFalse(self.discovery.acknowledged([(50, 100), (5, 8)], self.now))

    def test_most(self) -> None:
        """A probe for which there is no room now waits, and its size is not given up."""
        self.assertEqual(self.discovery.next_size(self.now, 1_451), 0)
        self.assertEqual(self.discovery.next_size(self.now, 1_452), 1_452)


class AgainTests(DiscoveryTestCase):
    """Searching again."""

    def test_raise(self) -> None:
        """Ten minutes after a search there is another one, which finds that the path carries more now."""
        self.search()
        self.limit = 8_972
        tried = len(self.tried)
        self.now += RAISE - 1
        self.assertEqual(self.search(), 1_472)
        self.assertEqual(len(self.tried), tried)
        self.now += 1.1
        self.assertEqual(self.search(), 8_972)
        self.assertEqual(self.tried[tried], 8_952)

    def test_raise_odd(self) -> None:
        """A path that has not changed costs few probes, though its limit was found by halving."""
        self.begin(1_372)
        found = self.search()
        tried = len(self.tried)
        for _ in range(3):
            self.now += RAISE
            self.assertEqual(self.search(), found)
        self.assertEqual(len(self.tried) - tried, 3 * 2 * MAX_PROBES)

    def test_raise_at_ceiling(self) -> None:
        """Who has reached the ceiling looks no further, however long it takes."""
        self.begin(LARGEST, 1_472)
        self.search()
        for _ in range(3):
            self.now += RAISE + 1
            self.search()
        self.assertEqual((self.path.mtu, self.tried), (1_472, [1_452, 1_472]))

    def test_move(self) -> None:
        """On another path everything begins afresh: what the old one carries says nothing."""
        self.search()
        self.now += RAISE
        self.discovery.next_size(self.now, LARGEST)
        self.discovery.sent(50, self.now + PATIENCE)
        self.path = Path("another", BASE, True)
        self.limit = 1_452
        self.discovery.move(self.path, self.now)
        self.assertFalse(self.discovery.acknowledged([(50, 51)], self.now))
        tried = len(self.tried)
        self.assertEqual(self.probe(), 0)
        self.now += LEISURE
        self.discovery.timeout(self.now)
        self.assertEqual(self.search(), 1_452)
        self.assertEqual(self.tried[tried], 1_452)

    def test_move_before_peer(self) -> None:
        """Nothing is tried on a new path, either, before the peer is known."""
        discovery = Discovery(self.path)
        discovery.move(Path("another", BASE, True), self.now)
        self.assertEqual(discovery.next_size(self.now, LARGEST), 0)

    def test_black_hole(self) -> None:
        """It is the base at once; a second later there is a new search."""
        self.search()
        self.limit = 1_252
        self.discovery.black_hole(self.now)
        self.assertEqual((self.path.mtu, self.discovery.black_holes), (BASE, 1))
        self.now += PAUSE - 0.01
        self.assertEqual(self.probe(), 0)
        self.now += 0.02
        self.assertTrue(1_244 < self.search() <= 1_252)

    def test_black_hole_while_probing(self) -> None:
        """The probe that is in flight then says nothing any more, whether it arrives or not."""
        self.probe()
        self.discovery.next_size(self.now, LARGEST)
        self.discovery.sent(50, self.now + PATIENCE)
        self.discovery.black_hole(self.now)
        self.assertIsNone(self.discovery.deadline)
        self.assertFalse(self.discovery.acknowledged([(50, 51)], self.now))
        self.discovery.timeout(self.now + PATIENCE)
        self.assertEqual(self.path.mtu, BASE)
        self.assertEqual(self.discovery.next_size(self.now + PATIENCE, LARGEST), 0)

    def test_black_holes(self) -> None:
        """The more of them there were, the longer it is left at that, up to ten minutes."""
        for count in range(14):
            self.search()
            self.assertEqual(self.path.mtu, 1_472)
            self.discovery.black_hole(self.now)
            pause = min(PAUSE * 2**count, RAISE)
            self.now += pause - 0.01
            self.assertEqual(self.probe(), 0)
            self.now += 0.02
