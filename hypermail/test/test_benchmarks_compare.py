"""
Tests for the comparison with others on one machine, C{benchmarks/compare.py}, and for C{benchmarks/profile.py}.

They need a checkout. What is measured here is measured for its shape; no figure is looked at.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from xml.etree import ElementTree

from twisted.trial.unittest import SynchronousTestCase

try:
    from benchmarks import compare, profile
    from benchmarks.comparing import charts, goals, results, work
    from benchmarks.comparing.cases import Case, cases
    from benchmarks.comparing.measuring import figures, measure, run, write_identity
    from benchmarks.comparing.work import (
        BATCH,
        BLOCK,
        STEP,
        Asks,
        Bulk,
        Idle,
        Messages,
        Openings,
        Strings,
        pack,
        unpack,
    )
    from benchmarks.network.results import load
    from benchmarks.peers import ASKS, BULK, MESSAGES, PEERS, TWIN
except ImportError:
    NOT_HERE: str | None = "benchmarks are not installed, they need a checkout"
else:
    NOT_HERE = None

DOCS = Path(__file__).resolve().parents[2] / "docs" / "performance"


def row(peer: str, round: int = 1, **figures: Any) -> dict[str, Any]:
    """A measurement."""
    found = {"rate": 100.0, "done": 1_000, "seconds": 10.0, "starter_processor": 0.5, "listener_processor": 1.0}
    return {"peer": peer, "round": round, **found, **figures}


def kept(missing: dict[str, str] | None = None, **rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What is kept of cases; a C{_} in a name is a hyphen."""
    shown = cases(False)
    found = {}
    for name, some in rows.items():
        key = name.replace("_", "-")
        case = results.kept_case(shown[key], some, missing or {}, False)
        found[key] = {**case, "when": "2026-01-01", "commit": "abc"}
    return {"machine": {"kernel": "6", "commit": "abc"}, "cases": found}


class WorkTests(SynchronousTestCase):
    """Both sides of each work, without anything between them."""

    skip = NOT_HERE

    def setUp(self) -> None:
        self.now = 100.0
        self.over: list[dict[str, Any]] = []
        if NOT_HERE is None:
            self.patch(work, "perf_counter", lambda: self.now)

    def begin(self, task: Any, bounded: bool = True) -> tuple[Any, Any]:
        """Both sides."""
        starting = task.starting(self.over.append, bounded)
        starting.begin()
        return starting, task.listening()

    def test_strings(self) -> None:
        """Messages come out of a stream of bytes as they went in, wherever that is cut."""
        messages = [b"", b"a", bytes(300), b"bc"]
        stream = Strings.of(messages)
        for size in (1, 3, 5, len(stream)):
            strings = Strings()
            found = [one for at in range(0, len(stream), size) for one in strings.feed(stream[at : at + size])]
            self.assertEqual(messages, found, size)

    def test_bulk(self) -> None:
        """All is handed over, and it is over when the listener has it."""
        size = 2 * work.AHEAD + 100
        starting, listening = self.begin(Bulk(size))
        sent, told = [], 0
        while batch := starting.next():
            sent += [len(block) for block in batch]
            self.now += 0.5
            for reply in listening.take(batch):
                told += 1
                starting.take([reply])
        self.assertTrue(starting.exhausted)
        self.assertEqual((size, BLOCK), (sum(sent), max(sent)))
        self.assertEqual(-(-size // STEP), told)
        self.assertEqual([{"seconds": 0.5 * len(sent), "bytes": size}], self.over)

    def test_bulkBounded(self) -> None:
        """Who has to wait is so far before the listener's word at most; who has not, isn't held up."""
        for bounded, most in ((True, work.AHEAD), (False, 2 * work.AHEAD)):
            starting, _ = self.begin(Bulk(2 * work.AHEAD), bounded)
            sent = 0
            while batch := starting.next():
                sent += len(batch[0])
            self.assertEqual((most, not bounded), (sent, starting.exhausted))

    def test_messages(self) -> None:
        """They are sent until the time is over, and it is over when all are acknowledged; the rate is over all that."""
        starting, listening = self.begin(Messages(100, 1.0))
        first, second = starting.next(), starting.next()
        self.assertEqual([100] * BATCH, [len(message) for message in first])
        starting.take(listening.take(first))
        self.now += 1.0
        self.assertEqual(([], True, []), (starting.next(), starting.exhausted, self.over))
        self.now += 1.0
        starting.take(listening.take(second))
        self.assertEqual([{"seconds": 2.0, "count": 2 * BATCH}], self.over)

    def test_messagesEach(self) -> None:
        """Each may be acknowledged by itself, and all may be when the time is over."""
        starting, _ = self.begin(Messages(100, 1.0), bounded=False)
        for _ in starting.next():
            starting.taken(1)
        self.now += 1.5
        self.assertEqual([], self.over)
        starting.next()
        self.assertEqual([{"seconds": 1.5, "count": BATCH}], self.over)

    def test_messagesBounded(self) -> None:
        """Who has to wait is so many bytes before the listener's word at most."""
        starting, listening = self.begin(Messages(1_000, 1.0))
        batches = []
        while batch := starting.next():
            batches.append(batch)
        sent = sum(map(len, batches)) * 1_000
        self.assertTrue(0.9 * work.AHEAD < sent <= work.AHEAD + BATCH * 1_000, sent)
        starting.take(listening.take(batches[0]))
        self.assertEqual(BATCH, len(starting.next()))

    def test_asks(self) -> None:
        """So many are outstanding, one more is asked for each answer, and at the end none is left."""
        starting, listening = self.begin(Asks(10, 1.0, 4))
        asked = starting.next()
        self.assertEqual((4, []), (len(asked), starting.next()))
        starting.take(listening.take(asked[:3]))
        more = starting.next()
        self.assertEqual(3, len(more))
        self.now += 1.0
        starting.take(asked[3:])
        self.assertEqual(([], []), (starting.next(), self.over))
        self.now += 0.5
        starting.take(more)
        self.assertEqual([{"seconds": 1.5, "count": 7, "latencies": []}], self.over)

    def test_asksLate(self) -> None:
        """The time may end between an answer and the next ask: that is not asked then, and it is over once."""
        for outstanding in (1, 2):
            self.over.clear()
            starting, _ = self.begin(Asks(10, 1.0, outstanding))
            asked = starting.next()
            starting.take(asked[:1])
            self.now += 1.0
            self.assertEqual([], starting.next())
            starting.take(asked[1:])
            self.assertEqual([outstanding], [over["count"] for over in self.over])

    def test_latencies(self) -> None:
        """Those of asks that are alone are kept."""
        starting, listening = self.begin(Asks(10, 1.0, 1))
        for taken in (0.25, 0.5, 1.0):
            asked = starting.next()
            self.now += taken
            starting.take(listening.take(asked))
        self.assertEqual([{"seconds": 1.75, "count": 3, "latencies": [0.25, 0.5, 1.0]}], self.over)

    def test_packing(self) -> None:
        """Works reach other processes as they are."""
        for one in (Bulk(1, 1_400), Messages(1, 2.0, 3), Asks(1, 2.0, 3), Openings(1.0), Idle(1, 2.0, 3.0)):
            self.assertEqual(one, unpack(json.loads(json.dumps(pack(one)))))


class MeasuringTests(SynchronousTestCase):
    """Real processes."""

    skip = NOT_HERE

    def setUp(self) -> None:
        directory = TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = directory.name
        if NOT_HERE is None:
            write_identity(Path(self.directory))

    def test_kinds(self) -> None:
        """hypermail can do all kinds of work, and Twisted's peers can; both sides' processor time is counted."""
        for key, task in (
            ("hypermail", Bulk(1 << 20, 1_400)),
            ("hypermail", Messages(100, 0.1, 2)),
            ("hypermail-each", Messages(100, 0.1)),
            ("hypermail", Asks(100, 0.1, 1)),
            ("hypermail", Openings(0.1)),
            ("hypermail", Idle(10, 0.1)),
            ("hypermail", Idle(110, 0.1, 0.1)),
            ("twisted-tls", Bulk(1 << 20)),
            ("twisted-tls", Asks(100, 0.1, 8)),
            ("twisted-tls", Openings(0.1)),
            ("amp", Messages(100, 0.1)),
            ("amp-each", Messages(100, 0.1)),
        ):
            found = measure(key, task, self.directory)
            sides = {"starter_processor", "listener_processor"}
            self.assertTrue(sides <= found.keys() and all(found[side] >= 0 for side in sides), (key, task, found))
            if isinstance(task, Idle):
                self.assertIn("starter_share" if task.window else "starter_memory", found)
            else:
                self.assertTrue(found["done"] > 0 and found["rate"] > 0, (key, task, found))
            self.assertEqual(isinstance(task, Asks) and task.outstanding == 1, "p50" in found)

    def test_profile(self) -> None:
        """Both sides write profiles, which have hypermail's rooms in them."""
        paths = {side: str(Path(self.directory, side)) for side in profile.SIDES}
        measure("hypermail", Asks(100, 0.1, 4), self.directory, paths)
        for path in paths.values():
            found = profile.rooms(profile.pstats.Stats(path).stats)  # type: ignore[attr-defined]
            self.assertTrue({"hypermail.link", "hypermail.messages"} <= found.keys(), found.keys())
            self.assertIn("  hypermail.link\n", profile.report(found, 2))

    def test_missing(self) -> None:
        """Who can't be imported is told, and not tried; what has failed is kept as failed, and the rest goes on."""
        self.patch(sys, "executable", "/bin/false")
        case = Case("", BULK, (Bulk(1),))
        keys = ["hypermail", "grpc"]
        self.patch(type(PEERS["grpc"]), "missing", lambda peer: "no such" if peer.module == "grpc" else None)
        with contextlib.redirect_stdout(io.StringIO()) as told:
            rows, missing = run(case, keys, 2, self.directory)
        self.assertEqual({"grpc": "no such"}, missing)
        self.assertEqual([("hypermail", 1), ("hypermail", 2)], [(row["peer"], row["round"]) for row in rows])
        self.assertEqual("hypermail, listen has ended", rows[0]["error"])
        self.assertIn("hypermail, listen has ended", told.getvalue())

    def test_unavailable(self) -> None:
        """A peer whose module isn't there says so; the compiled twin says that it was not built."""
        peer = PEERS["hypermail-compiled"]
        self.assertEqual(TWIN, peer.module)
        for changed, reason in (("no_such_module", "hypermail is not installed"), ("no.such.module", "hypermail is")):
            found = type(peer)("x", "sessions", changed, "hypermail").missing()
            self.assertTrue(found is not None and found.startswith(reason), found)
        self.assertIsNone(PEERS["hypermail"].missing())

    def test_environment(self) -> None:
        """The variants of hypermail are told apart by what their processes' environment has, or has not."""
        self.assertEqual({"HYPERMAIL_PURE": "1"}, PEERS["hypermail"].environment)
        self.assertEqual({"HYPERMAIL_PURE": None}, PEERS["hypermail-compiled-each"].environment)
        self.assertEqual(
            [False, True], [PEERS[key].arguments["compiled"] for key in ("hypermail", "hypermail-compiled")]
        )


class FiguresTests(SynchronousTestCase):
    """What measurements come to."""

    skip = NOT_HERE

    def usage(self, **after: float) -> dict[str, Any]:
        """Of both sides: nothing before."""
        return {side: ({"processor": 0.0, "memory": 0.0}, after) for side in ("starter", "listener")}

    def test_rate(self) -> None:
        """Of bulk bytes per second count, of asks how many, and percentiles of their latencies."""
        usage = self.usage(processor=2.0, memory=0.0)
        spent = {"starter_processor": 2.0, "listener_processor": 2.0}
        found = figures(Bulk(100), {"bytes": 100, "seconds": 4.0}, usage)
        self.assertEqual({**spent, "done": 100, "seconds": 4.0, "rate": 25.0}, found)
        latencies = [value / 100 for value in range(100, 0, -1)]
        found = figures(Asks(1, 1.0, 1), {"count": 100, "seconds": 4.0, "latencies": latencies}, usage)
        self.assertEqual((25.0, 0.505, 1.0), (found["rate"], found["p50"], found["p99"]))

    def test_idle(self) -> None:
        """Of idle connections memory counts for each, or processor time by the time that there was."""
        usage = self.usage(processor=2.0, memory=5_000.0)
        self.assertEqual(50.0, figures(Idle(100, 1.0), {}, usage)["listener_memory"])
        self.assertEqual(0.2, figures(Idle(100, 1.0, 10.0), {}, usage)["starter_share"])

    def test_medians(self) -> None:
        """Of each peer and number of sessions, over the rounds that have not failed; those are counted."""
        rows = [
            *(row("hypermail", number, rate=rate) for number, rate in ((1, 5.0), (2, 1.0), (3, 3.0))),
            {"peer": "enet", "round": 1, "error": "one"},
            row("enet", 2, rate=8.0),
            {"peer": "kcp", "round": 1, "error": "other"},
            *(row("qh3", sessions=many, rate=float(many)) for many in (1, 10)),
        ]
        found = results.medians(rows)
        self.assertEqual(["hypermail", "enet", "kcp", "qh3", "qh3"], [one["peer"] for one in found])
        self.assertEqual([3.0, 8.0, None, 1.0, 10.0], [one.get("rate") for one in found])
        self.assertEqual([3, 2, 1, 1, 1], [one["rounds"] for one in found])
        self.assertEqual(
            [(None, None), (1, "one"), (1, "other")], [(o.get("failed"), o.get("error")) for o in found[:3]]
        )
        self.assertEqual([1, 10], [one["sessions"] for one in found[3:]])


class TableTests(SynchronousTestCase):
    """Tables, and what is said below them."""

    skip = NOT_HERE

    def found(self) -> dict[str, Any]:
        """Some results."""
        rows = [
            row("hypermail", rate=2e9, done=10**9),
            row("enet", 1, rate=1e9, done=10**9),
            {"peer": "enet", "round": 2, "error": "enet, start has ended"},
            {"peer": "aioquic", "round": 1, "error": "aioquic, start said nothing for 84 s"},
        ]
        return kept({"grpc": "grpcio is not installed"}, bulk=rows, openings=[row("hypermail", rate=1_234.0)])

    def test_cells(self) -> None:
        """Figures have their scale; who is missing, has failed or was not asked is there, and says so."""
        bulk, connections = results.tables(self.found())
        self.assertEqual(["", "MB/s, datagrams as large as they may be", "processor, s/GB"], bulk.header)
        self.assertEqual(
            [
                ["hypermail", "2,000", "0.50 + 1.00"],
                ["aioquic", "failed", "failed"],
                ["ENet (not encrypted)", "1,000 (1 of 2 failed)", "0.50 + 1.00 (1 of 2 failed)"],
                ["gRPC, TLS", "missing", "missing"],
            ],
            bulk.rows,
        )
        self.assertEqual([["hypermail", "1,234", "0.50 + 1.00"], ["gRPC, TLS", "missing", "missing"]], connections.rows)

    def test_sessions(self) -> None:
        """Each number of sessions has its column."""
        rows = [row("hypermail", sessions=many, rate=1e6 - many) for many in (1, 10, 100, 1_000)]
        (table,) = results.tables(kept(scale=rows))
        self.assertEqual([["hypermail", "999,999", "999,990", "999,900", "999,000"]], table.rows)

    def test_remarks(self) -> None:
        """Each reason is told once."""
        self.assertEqual(
            [
                "missing: gRPC, TLS: grpcio is not installed",
                "failed: bulk: aioquic: aioquic, start said nothing for 84 s",
                "failed: bulk: ENet: enet, start has ended",
            ],
            sorted(results.remarks(self.found()), key=lambda line: (line[0] != "m", line.lower())),
        )

    def test_provenance(self) -> None:
        """The rounds, the days and the commits; a quick run is called so."""
        found = self.found()
        self.assertEqual("Medians of 2 or 1 rounds; 2026-01-01, commit abc.", results.provenance(found))
        found["cases"]["bulk"] |= {"quick": True, "commit": "def"}
        told = results.provenance(found)
        self.assertTrue(told.startswith("Medians of 2 or 1 rounds; 2026-01-01, commits abc, def. **A quick run"), told)

    def test_files(self) -> None:
        """The documentation's files name each other, and the plots are drawn for what was measured."""
        files = compare.files(self.found(), "performance")
        plots = {"comparison-bulk.svg", "comparison-connections.svg", "comparison-processor.svg"}
        self.assertEqual({"comparison.rst", "comparison-machine.rst", *plots}, set(files))
        for name in plots:
            self.assertIn(f".. image:: /performance/{name}\n", files["comparison.rst"])
        self.assertIn("* Missing: gRPC, TLS: grpcio is not installed.\n", files["comparison.rst"])
        self.assertEqual(":kernel: 6\n", files["comparison-machine.rst"])

    def test_documentation(self) -> None:
        """What the documentation shows is what its results give."""
        for name, text in compare.files(load(DOCS / "comparison.json"), DOCS.name).items():
            self.assertEqual(text, (DOCS / name).read_text(), name)


class GoalTests(SynchronousTestCase):
    """What should hold."""

    skip = NOT_HERE

    def verdicts(self, found: dict[str, Any], *cases: str) -> list[tuple[str, str]]:
        """What is said of the goals of these cases, where something was measured."""
        lines = [
            (line[1], line[4])
            for goal, line in zip(goals.GOALS, goals.table(found, results.median_of).rows)
            if goal.case in cases
        ]
        return [line for line in lines if line[1] != "not measured"]

    def test_ratios(self) -> None:
        """A ratio is of the same case; one that is exact holds, one that is too small tells how much there is of it."""
        rows = [row("hypermail", rate=20.0), row("twisted-tls", rate=100.0), row("aioquic", rate=10.0)]
        self.assertEqual(
            [("≥ 0.2 × Twisted TLS", "holds"), ("≥ 8 × aioquic", "falls short: 25% of it")],
            self.verdicts(kept(bulk_1400=rows), "bulk-1400"),
        )
        rows[0]["rate"] = 19.999
        self.assertEqual("falls short: 99% of it", self.verdicts(kept(bulk_1400=rows), "bulk-1400")[0][1])

    def test_latency(self) -> None:
        """Of latencies less is better."""
        rows = [row("hypermail", p50=40e-6), row("twisted-tls", p50=40e-6), row("aioquic", p50=100e-6)]
        self.assertEqual(
            [("≤ 1 × Twisted TLS", "holds"), ("≤ 0.35 × aioquic", "falls short: 87% of it")],
            self.verdicts(kept(asks_1=rows), "asks-1"),
        )

    def test_processor(self) -> None:
        """The same ratio by processor time is of both sides, for as much work: more is better, of latencies less."""
        # a tenth of what others cost
        cheap: dict[str, Any] = {"starter_processor": 0.1, "listener_processor": 0.2, "done": 2_000}
        for name, case, expected in (("bulk_1400", "bulk-1400", "10"), ("asks_1", "asks-1", "0.1")):
            rows = [row("hypermail", p50=1.0, **cheap), row("twisted-tls", p50=1.0)]
            table = goals.table(kept(None, **{name: rows}), results.median_of)
            (found, *_) = [line[3] for goal, line in zip(goals.GOALS, table.rows) if goal.case == case]
            self.assertEqual(expected, found)
        memory = kept(memory_1000=[row("hypermail", starter_memory=1.0)])
        self.assertEqual({"–"}, {line[3] for line in goals.table(memory, results.median_of).rows})

    def test_figures(self) -> None:
        """Some count alone: memory in KiB, shares of a processor in percent, of each side."""
        rows = [row("hypermail", starter_memory=10_240.0, listener_memory=20_480.0)]
        shares = [row("hypermail", starter_share=0.05, listener_share=0.16)]
        self.assertEqual(
            [
                ("≤ 10 KiB", "holds"),
                ("≤ 10 KiB", "falls short: 50% of it"),
                ("≤ 8 % of a processor", "holds"),
                ("≤ 8 % of a processor", "falls short: 50% of it"),
            ],
            self.verdicts(kept(memory_1000=rows, idle_5=shares), "memory-1000", "idle-5"),
        )

    def test_scale(self) -> None:
        """The rate of many sessions is measured by that of one."""
        rows = [row("hypermail", sessions=many, rate=rate) for many, rate in ((1, 100.0), (10, 70.0), (100, 35.0))]
        found = self.verdicts(kept(scale=rows), "scale")
        self.assertEqual([("≥ 0.7 × a single one", "holds"), ("≥ 0.7 × a single one", "falls short: 50% of it")], found)

    def test_all(self) -> None:
        """Every goal is about a case and peers that there are; what was not measured does not hold."""
        shown = cases(False)
        for goal in goals.GOALS:
            case = shown[goal.case]
            for key in filter(None, (goal.ours, goal.theirs)):
                self.assertIn(key, case.contestants(list(PEERS)), goal)
            self.assertTrue((goal.least is None) != (goal.most is None), goal)
        short = goals.short(kept(), results.median_of)
        self.assertEqual([goal for goal in goals.GOALS if not goal.stretch], short)


class ChartTests(SynchronousTestCase):
    """Plots."""

    skip = NOT_HERE

    def test_marks(self) -> None:
        """A mark has the median, and the lowest and the highest of the rounds that have not failed."""
        rows = [row("hypermail", number, rate=rate * 1e6) for number, rate in ((1, 3.0), (2, 1.0), (3, 9.0))]
        rows += [{"peer": "hypermail", "round": 4, "error": "x"}, {"peer": "qh3", "round": 1, "error": "x"}]
        made = charts.charts(kept(bulk=rows), results.median_of)
        self.assertEqual(["bulk", "processor"], list(made))
        (panel,) = made["bulk"].panels
        (spent,) = made["processor"].panels
        self.assertEqual({"hypermail": charts.Mark(1.5e6, 1.5e6, 1.5e6)}, spent.marks)
        self.assertEqual({"hypermail": charts.Mark(3.0, 1.0, 9.0)}, panel.marks)

    def test_svg(self) -> None:
        """It can be read, shows each peer, and a figure that is missing as a dash."""
        rows = [row("hypermail", rate=2_500.0), row("enet", rate=1e6)]
        rows[0] |= {"starter_memory": 1024.0, "listener_memory": 1024.0}
        found = kept(openings=rows, memory_1000=rows[:1])
        svg = charts.charts(found, results.median_of)["connections"].svg()
        texts = [one.text for one in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]
        for text in ("hypermail", "ENet", "2,500", "1 M", "2", "–"):
            self.assertIn(text, texts)

    def test_ticks(self) -> None:
        """There are some between any two values, all of them round."""
        for low, high in ((1.0, 1.0), (9.0, 11.0), (3.0, 40.0), (0.02, 5e6)):
            found = charts.ticks(low / 1.25, high * 1.1)
            self.assertTrue(found, (low, high))
            self.assertTrue(all(low / 1.25 <= tick <= high * 1.1 for tick in found), found)
        self.assertEqual([1.0, 10.0, 100.0], charts.ticks(0.9, 110.0))

    def test_brief(self) -> None:
        """Three digits, whatever the size."""
        shown = [charts.brief(value) for value in (0.1234, 9.876, 123.4, 1_234.0, 12_345.0, 1_234_567.0)]
        self.assertEqual(["0.123", "9.88", "123", "1,234", "12.3 k", "1.23 M"], shown)


class CommandTests(SynchronousTestCase):
    """The command lines."""

    skip = NOT_HERE

    def test_defaults(self) -> None:
        """Everything five times; a quick run is short, and goes to another file."""
        found, quick = compare.parse([]), compare.parse(["--quick"])
        self.assertEqual((5, 1), (found.rounds, quick.rounds))
        self.assertEqual(list(PEERS), found.peers)
        self.assertNotEqual(found.out, quick.out)
        self.assertEqual(3, compare.parse(["bulk", "--quick", "--rounds", "3"]).rounds)

    def test_unknown(self) -> None:
        """What there is not cannot be asked for."""
        for wrong in (["no-such-case"], ["--peers", "no-such-peer"]):
            with contextlib.redirect_stderr(io.StringIO()):
                self.assertRaises(SystemExit, compare.parse, wrong)

    def test_cases(self) -> None:
        """A quick run has the same cases but those that take long; peers take part in what they can do."""
        full, quick = cases(False), cases(True)
        self.assertTrue(set(quick) < set(full))
        for name, case in full.items():
            contestants = case.contestants(list(PEERS))
            self.assertIn("hypermail", contestants, name)
            self.assertEqual(case.kind == MESSAGES and not case.peers, "hypermail-each" in contestants, name)
        self.assertEqual([], full["openings"].contestants(["kcp"]))
        self.assertEqual(["hypermail"], full["scale"].contestants(["twisted-tls", "hypermail"]))
        self.assertEqual(ASKS, full["asks-64"].kind)

    def test_goals(self) -> None:
        """The exit code tells whether all goals hold."""
        with TemporaryDirectory() as directory, contextlib.redirect_stdout(io.StringIO()) as told:
            path = Path(directory, "x.json")
            path.write_text(json.dumps(kept(bulk=[row("hypermail")])))
            self.patch(sys, "argv", ["compare", "goals", str(path)])
            self.assertEqual(1, self.assertRaises(SystemExit, compare.main).code)
        self.assertIn("not measured", told.getvalue())

    def test_profile(self) -> None:
        """The works of profiles are those of the comparison."""
        for line, expected in (
            ("bulk --datagram 1400", Bulk(64 << 20, 1_400)),
            ("messages --size 1k --seconds 1 --sessions 2", Messages(1_024, 1.0, 2)),
            ("asks --outstanding 1", Asks(100, 3.0, 1)),
        ):
            self.assertEqual(expected, profile.work_of(profile.parse(line.split())))


class RoomTests(SynchronousTestCase):
    """Profiles by room."""

    skip = NOT_HERE

    def test_rooms(self) -> None:
        """What is built in counts to those that have called it, and what waits to nobody."""
        link = (str(Path(work.__file__).parents[2] / "hypermail" / "link" / "link.py"), 7, "seal")
        outlet = (link[0].replace("link/link.py", "outlet.py"), 9, "fill")
        other = ("/usr/lib/site-packages/twisted/internet/base.py", 1, "run")
        waiting = profile.WAITS[0]
        stats: dict[Any, Any] = {
            link: (5, 5, 1.0, 9.0, {}),
            outlet: (1, 1, 0.5, 9.0, {}),
            other: (1, 1, 0.25, 9.0, {}),
            ("~", 0, "<built-in len>"): (3, 3, 0.5, 0.5, {link: (2, 2, 0.4, 0.4), outlet: (1, 1, 0.1, 0.1)}),
            ("~", 0, waiting): (2, 2, 7.0, 7.0, {other: (2, 2, 7.0, 7.0)}),
        }
        found = profile.rooms(stats)
        self.assertEqual(
            [("waiting", 7.0), ("hypermail.link", 1.4), ("hypermail.outlet", 0.6), ("twisted", 0.25)],
            [(name, round(room.seconds, 9)) for name, room in found.items()],
        )
        self.assertEqual((0.4, 2), found["hypermail.link"].functions["<built-in len>"])
        lines = profile.report(found, 1).splitlines()
        self.assertEqual("2.25 s, and 7.00 s waiting", lines[0])
        self.assertEqual([" 62.2%  hypermail.link", " 26.7%  hypermail.outlet", " 11.1%  twisted"], lines[1::2])

    def test_files(self) -> None:
        """Whose file it is."""
        for path, room in (
            ("/x/site-packages/cryptography/x.py", "cryptography"),
            ("/x/site-packages/six.py", "six"),
            ("/x/benchmarks/comparing/work.py", "benchmarks"),
            ("/usr/lib/python3.11/json/decoder.py", "Python's library"),
        ):
            self.assertEqual(room, profile.room_of(path))
