"""
The scenarios, with a few seeds each; C{tox -e scenarios} runs them all. And tests of what runs them.
"""

from __future__ import annotations

import io
import multiprocessing
from collections.abc import Iterable
from contextlib import redirect_stderr, redirect_stdout
from functools import partial

from twisted.trial.unittest import SynchronousTestCase

from hypermail.test import load, rates, scenarios
from hypermail.test.bbr import BBR
from hypermail.test.scenarios import SCENARIOS, Outcome, Scenario, run_one
from hypermail.test.survivals import SURVIVALS

#: Scenarios in which processes are killed.
RESTARTS = ("listener-restarts", "starter-restarts", "both-restart")
#: Scenarios that the suite runs in a smaller size.
LARGE = {
    "many-streams": partial(load.many_streams, count=500),
    "many-sessions": partial(load.many_sessions, count=1_000),
    "large-window": partial(rates.large_window, bandwidth=50e6),
}


class ScenarioTests(SynchronousTestCase):
    """Each scenario stands its first seeds. What fails here is run alone by C{python -m hypermail.test.scenarios}."""

    def stand(self, name: str, seeds: Iterable[int]) -> None:
        """Run a scenario with these seeds, and tell which one failed."""
        for seed in seeds:
            outcome = run_one((name, seed))
            if outcome.error:
                self.fail(f"seed {seed} of {name}\n{outcome.error}")

    def test_storm(self) -> None:
        """30 % loss, 20 % duplication, 30 % reordering, 5 % corruption: every message once, in order, whole."""
        self.stand("storm", range(20))

    def test_sealedStorm(self) -> None:
        """The same, under keys."""
        self.stand("sealed-storm", range(20))

    def test_deferreds(self) -> None:
        """The same through the Twisted layer: all Deferreds fire, nothing is left in the reactors."""
        self.stand("deferreds", range(20))

    def test_cleanAndRates(self) -> None:
        """Good, slow, lopsided, jittering and shared networks, and queues of all lengths."""
        for name in (
            "clean",
            "long-rtt",
            "asymmetric",
            "jitter",
            "deep-buffer",
            "shallow-buffer",
            "cross-traffic",
            "ecn",
        ):
            self.stand(name, range(2))

    def test_handshakes(self) -> None:
        """Sessions open through loss and corruption, in mode tls, too, and amplify nothing."""
        for name in ("handshake-loss", "handshake-corruption", "amplification"):
            self.stand(name, range(2))
        for name in ("handshake-loss-tls", "handshake-corruption-tls"):
            self.stand(name, range(2))

    def test_faults(self) -> None:
        """Transfers through one fault at a time."""
        for name in ("transfer-loss", "transfer-corruption", "reordering", "duplication", "blackhole"):
            self.stand(name, range(2))
        for name in ("mtu-shrinks", "mtu-grows"):
            self.stand(name, range(2))

    def test_moves(self) -> None:
        """Data go on after the starter's NAT, or the starter itself, has changed its address."""
        for name in ("rebind-port", "rebind-address", "change-address"):
            self.stand(name, range(2))

    def test_survivals(self) -> None:
        """Sessions that lose their link go on over another: once for a minute, and again and again in a storm."""
        self.stand("long-blackhole", range(3))
        self.stand("survival-storm", range(10))

    def test_restarts(self) -> None:
        """Durable messages through kills of the listener, the starter, and both."""
        for name in RESTARTS:
            self.stand(name, range(3))

    def test_bbr(self) -> None:
        """BBR uses lossy, long and changing paths, keeps queues short, and shares."""
        for name in BBR:
            self.stand(name, range(2))

    def test_load(self) -> None:
        """Idle sessions and stalled readers."""
        for name in ("stalled-reader", "idle"):
            self.stand(name, range(2))

    def test_manyStreams(self) -> None:
        """Hundreds of streams at once."""
        LARGE["many-streams"](0)

    def test_manySessions(self) -> None:
        """A thousand sessions at once."""
        LARGE["many-sessions"](0)

    def test_largeWindow(self) -> None:
        """A window of a megabyte."""
        LARGE["large-window"](0)

    def test_allAreRun(self) -> None:
        """No scenario is forgotten here: this list and the runner's are the same."""
        run = {"storm", "deferreds", "clean", "long-rtt", "asymmetric", "jitter", "deep-buffer", "shallow-buffer"}
        run |= {"ecn", "cross-traffic", "handshake-loss", "handshake-corruption", "amplification", "transfer-loss"}
        run |= {"sealed-storm", "handshake-loss-tls", "handshake-corruption-tls"}
        run |= {"transfer-corruption", "reordering", "duplication", "blackhole", "stalled-reader", "idle"}
        run |= {"rebind-port", "rebind-address", "change-address"}
        run |= {"mtu-shrinks", "mtu-grows"}
        self.assertEqual(run | set(BBR) | set(SURVIVALS) | set(RESTARTS) | set(LARGE), set(SCENARIOS))


def stands(seed: int) -> tuple[float, int]:
    """A scenario that never fails."""
    return 1.5 * seed, 1_000 * seed


def falls(seed: int) -> tuple[float, int]:
    """A scenario that fails with every odd seed."""
    if seed % 2:
        raise AssertionError(f"seed {seed} is odd")
    return 1.0, 0


class RunnerTests(SynchronousTestCase):
    """The command."""

    def setUp(self) -> None:
        # Replaced in place: the processes of the pool are forked, and look there.
        self.patch(scenarios, "SCENARIOS", {"stands": Scenario(stands, 4), "falls": Scenario(falls, 5)})

    def run_command(self, *arguments: str) -> tuple[int, str, str]:
        """Run it. @return: exit code, standard output, standard error."""
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            try:
                code = scenarios.main(arguments)
            except SystemExit as end:
                code = int(end.code or 0)
        return code, out.getvalue(), err.getvalue()

    def test_one(self) -> None:
        """A seed is run alone, in this process, with an exit code that tells."""
        code, out, err = self.run_command("stands", "--seed", "2")
        self.assertEqual((code, err), (0, ""))
        self.assertIn("1 run, 0 failed", out)
        code, out, err = self.run_command("falls", "--seed", "3")
        self.assertEqual(code, 1)
        self.assertIn("seed 3 is odd", err)
        self.assertIn("falls --seed 3", err)

    def test_table(self) -> None:
        """Each scenario has a line: seeds, failures, virtual seconds, bytes sent again."""
        row = scenarios.Row("storm", 2, [Outcome("storm", 0, 10.0, 5_000, 0.5), Outcome("storm", 1, error="no")])
        fields = str(row).split()
        self.assertEqual(fields, ["storm", "2", "1", "10.0", "5", "0.5"])
        self.assertEqual(len(str(row)), len(scenarios.Row.HEADER))

    def test_all(self) -> None:
        """All scenarios with their seeds, over processes; failing seeds are named, with how to see them again."""
        self.patch(multiprocessing, "Pool", InProcess)
        code, out, err = self.run_command("--jobs", "2")
        self.assertEqual(code, 1)
        self.assertIn("9 run, 2 failed", out)
        self.assertIn("falls: failed with seed 1, 3;", err)
        code, out, err = self.run_command("stands", "--seeds", "2")
        self.assertEqual((code, err), (0, ""))
        self.assertIn("2 run, 0 failed", out)

    def test_wrongUsage(self) -> None:
        """Unknown names and impossible numbers are wrong usage."""
        for arguments in (("nothing",), ("--seeds", "0"), ("--jobs", "0"), ("--seed", "x")):
            code, _, err = self.run_command(*arguments)
            self.assertEqual(code, 2)
            self.assertIn("usage", err)


class InProcess:
    """A pool that is none, so that the suite starts no processes."""

    def __init__(self, jobs: int) -> None:
        self.imap_unordered = lambda run, tasks, chunksize: map(run, tasks)

    def __enter__(self) -> InProcess:
        return self

    def __exit__(self, *failure: object) -> None:
        """Nothing to end."""
