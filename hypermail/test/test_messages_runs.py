"""
Tests for L{hypermail.messages.runs}.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hypermail.messages.runs import LONG, Runs

STEPS = st.lists(
    st.tuples(st.sampled_from(["add", "pop", "remove"]), st.integers(0, 40), st.integers(1, 12)), max_size=40
)


class RunsTests(SynchronousTestCase):
    """Numbers with values."""

    @given(STEPS)
    def test_asADictionary(self, steps: list[tuple[str, int, int]]) -> None:
        """Whatever is added and removed, in whole or in part, they hold what a dictionary would."""
        runs: Runs[str] = Runs()
        model: dict[int, str] = {}
        for step, first, count in steps:
            numbers = range(first, first + count)
            if step == "add" and model.keys().isdisjoint(numbers):
                runs.add(first, [str(number) for number in numbers])
                model.update((number, str(number)) for number in numbers)
            elif step == "remove":
                expected = [model[number] for number in numbers] if model.keys() >= set(numbers) else None
                self.assertEqual(runs.remove(first, count), expected)
                for number in numbers if expected else ():
                    del model[number]
            elif step == "pop" and model:
                lowest, values = runs.pop(count)
                self.assertEqual(lowest, min(model))
                self.assertLessEqual(len(values), count)
                self.assertEqual([model.pop(number) for number in range(lowest, lowest + len(values))], values)
            for some in (list(numbers), [*numbers, first], [number for number in numbers if number % 3]):
                if some:
                    self.assertEqual(runs.has(some), model.keys() >= set(some))
            self.assertEqual(runs.count, len(model))
            self.assertEqual(list(runs), [model[number] for number in sorted(model)])
            self.assertEqual([number for number in range(60) if number in runs], sorted(model))
            self.assertEqual(runs.since(first), [model[number] for number in sorted(model) if number >= first])
            if model:
                self.assertEqual(runs.first, min(model))

    def test_neighbours(self) -> None:
        """Runs that follow each other become one, and are removed together; one that is long enough grows no more."""
        runs: Runs[int] = Runs()
        for first in range(0, 2 * LONG, 2):
            runs.add(first, [first, first + 1])
        self.assertEqual(runs.pop(3 * LONG), (0, list(range(LONG))))
        self.assertEqual(runs.remove(LONG + 1, LONG - 2), list(range(LONG + 1, 2 * LONG - 1)))
        self.assertEqual(list(runs), [LONG, 2 * LONG - 1])

    def test_allOrNothing(self) -> None:
        """When one of the numbers is missing, none is removed."""
        runs: Runs[str] = Runs()
        runs.add(3, ["c", "d"])
        runs.add(6, ["f"])
        for first, count in ((2, 1), (2, 2), (3, 3), (4, 3), (5, 1), (6, 2)):
            self.assertIsNone(runs.remove(first, count))
        self.assertEqual((list(runs), runs.count), (["c", "d", "f"], 3))

    def test_clear(self) -> None:
        """Nothing is left."""
        runs: Runs[str] = Runs()
        runs.add(3, ["c"])
        runs.clear()
        self.assertEqual((list(runs), runs.count, 3 in runs), ([], 0, False))
        self.assertRaises(IndexError, runs.pop, 1)
