"""
Tests for L{hypermail.dialects.digest.window}.
"""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hypermail.dialects.digest.packets import LAST_ORDER
from hypermail.dialects.digest.window import DigestMemory, OrderWindow

ORDERS = st.integers(0, 60) | st.integers(LAST_ORDER - 60, LAST_ORDER) | st.integers(0, LAST_ORDER)


class OrderWindowTests(SynchronousTestCase):
    """Order counts that have come."""

    @settings(deadline=None)
    @given(st.lists(ORDERS, max_size=200))
    def test_as_a_set(self, orders: list[int]) -> None:
        """While nothing is forgotten it is a set, whatever the order and the jumps."""
        window = OrderWindow(1_000)
        known: set[int] = set()
        for order in orders:
            self.assertEqual(order in window, order in known)
            self.assertEqual(window.add(order), order not in known)
            known.add(order)
        for order in orders:
            for near in (order - 1, order, order + 1):
                if 0 <= near <= LAST_ORDER:
                    self.assertEqual(near in window, near in known)

    @settings(deadline=None)
    @given(st.lists(ORDERS, max_size=200), st.integers(1, 5))
    def test_bounded(self, orders: list[int], most: int) -> None:
        """Its memory is bounded, and nothing is ever new twice."""
        window = OrderWindow(most)
        known: set[int] = set()
        for order in orders:
            new = window.add(order)
            self.assertFalse(new and order in known)
            known.add(order)
            self.assertIn(order, window)
            self.assertLessEqual(len(window), most)

    def test_dense(self) -> None:
        """What comes nearly in order costs one range."""
        orders = list(range(10_000))
        random = Random(1)
        for at in range(0, len(orders), 20):
            part = orders[at : at + 20]
            random.shuffle(part)
            orders[at : at + 20] = part
        window = OrderWindow(16)
        self.assertTrue(all(window.add(order) for order in orders))
        self.assertEqual(len(window), 1)

    def test_floor(self) -> None:
        """Below the floor everything has come; at it nothing has."""
        window = OrderWindow(4, 100)
        self.assertFalse(window.add(99))
        self.assertNotIn(100, window)
        self.assertTrue(window.add(100))

    def test_what_is_forgotten(self) -> None:
        """The lowest range gives way, and only what is below it."""
        window = OrderWindow(2)
        for order in (10, 20, 30):
            window.add(order)
        self.assertFalse(window.add(9))
        self.assertTrue(window.add(19))

    def test_last(self) -> None:
        """The last order count of all is one like others."""
        window = OrderWindow(1)
        self.assertTrue(window.add(5))
        self.assertTrue(window.add(LAST_ORDER))
        self.assertFalse(window.add(LAST_ORDER))
        self.assertTrue(window.add(LAST_ORDER - 1))
        self.assertEqual(len(window), 1)


class DigestMemoryTests(SynchronousTestCase):
    """Digests that have come."""

    def test_last_ones(self) -> None:
        """The last ones are known, and no others."""
        memory = DigestMemory(10)
        digests = [Random(number).randbytes(32) for number in range(25)]
        for at, digest in enumerate(digests):
            memory.add(digest)
            self.assertEqual([each in memory for each in digests], [at - 10 < number <= at for number in range(25)])
        self.assertEqual(len(memory), 10)
