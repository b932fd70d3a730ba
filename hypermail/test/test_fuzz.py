"""
Fuzzing, for some seconds: whatever is read from strangers and peers is taken, refused, or dropped.
C{python -m hypermail.test.fuzz SECONDS} goes on for longer.
"""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from pathlib import Path
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hypermail.test import fuzz
from hypermail.test.fuzz import TARGETS, corpus, mutate, run_input

#: Inputs of one target, mutated: how many pieces are put in, where, and what.
edits = st.lists(st.tuples(st.integers(0, fuzz.LONGEST), st.integers(0, 40), st.binary(max_size=12)), max_size=8)


def edited(data: bytes, changes: list[tuple[int, int, bytes]]) -> bytes:
    """An input with pieces of it replaced, all behind the byte that names the target."""
    for at, size, new in changes:
        at = 1 + at % len(data)
        data = data[:at] + new + data[at + size :]
    return data


class TargetTests(SynchronousTestCase):
    """Each target bears what Hypothesis thinks of."""

    def good(self, target: object) -> list[bytes]:
        """The good inputs of a target."""
        return [data for data in corpus() if TARGETS[data[0]] is target]

    def test_corpus(self) -> None:
        """Good inputs do no harm, and there are some for each target."""
        for data in corpus():
            run_input(data)
        for target in TARGETS:
            self.assertTrue(self.good(target))

    def _bears(self, target: object, examples: int) -> None:
        @settings(max_examples=examples, deadline=None)
        @given(st.sampled_from(self.good(target)), edits)
        def bear(data: bytes, changes: list[tuple[int, int, bytes]]) -> None:
            run_input(edited(data, changes))

        bear()

    def test_headers(self) -> None:
        """Headers of all kinds."""
        self._bears(fuzz.read_headers, 1_000)

    def test_packets(self) -> None:
        """Packets of all kinds."""
        self._bears(fuzz.read_packets, 1_500)

    def test_tokens(self) -> None:
        """Tokens."""
        self._bears(fuzz.read_token, 300)

    def test_handshakes(self) -> None:
        """Handshakes of both modes, on both sides."""
        self._bears(fuzz.shake_hands, 800)

    def test_openings(self) -> None:
        """Authentic long datagrams of both modes, to both sides."""
        self._bears(fuzz.open_session, 800)

    def test_datagrams(self) -> None:
        """Datagrams of all kinds, to a listener and a starter."""
        self._bears(fuzz.receive_datagrams, 500)

    def test_sessions(self) -> None:
        """Authentic datagrams within a session."""
        self._bears(fuzz.take_packets, 800)


class MutatorTests(SynchronousTestCase):
    """What fuzzes when atheris is not there."""

    def test_run(self) -> None:
        """Some thousand inputs find nothing; each target has its share, and the same seed has the same inputs."""
        counts, findings = fuzz.fuzz(lambda number: number < 5_000, 1, self.fail)
        self.assertEqual((sum(counts.values()), findings), (5_000, []))
        self.assertGreater(min(counts.values()), 300)
        self.assertEqual(len(counts), len(TARGETS))

    def test_mutations(self) -> None:
        """Mutations keep the target, are bounded, the same for the same seed, and seldom change nothing."""
        good = corpus()
        made = [[mutate(good[index], good[-1], Random(seed)) for seed in range(200)] for index in (0, 40, -1)]
        again = [[mutate(good[index], good[-1], Random(seed)) for seed in range(200)] for index in (0, 40, -1)]
        self.assertEqual(made, again)
        for index, mutants in zip((0, 40, -1), made):
            self.assertEqual({mutant[0] for mutant in mutants}, {good[index][0]})
            self.assertGreater(len(set(mutants)), 120)
            self.assertLessEqual(max(map(len, mutants)), fuzz.LONGEST)

    def test_finding(self) -> None:
        """What a target raises is a finding: it is told, with the input."""
        told: list[str] = []

        def broken(data: bytes) -> None:
            assert b"\xff" not in data, "a bug"

        self.patch(fuzz, "run_input", broken)
        _, findings = fuzz.fuzz(lambda number: number < 500, 1, told.append)
        self.assertGreater(len(findings), 0)
        self.assertEqual(len(told), len(findings))
        self.assertIn("a bug", told[0])
        self.assertIn(findings[0].hex(), told[0])

    def test_command(self) -> None:
        """The command runs one input again, or none at all for no seconds."""
        file = Path(self.mktemp())
        file.write_bytes(corpus()[0])
        self.assertEqual(fuzz.main(["--again", str(file)]), 0)
        said = io.StringIO()
        with redirect_stdout(said):
            self.assertEqual(fuzz.main(["0", "--unguided"]), 0)
        self.assertIn("0 inputs, 0 findings", said.getvalue())
