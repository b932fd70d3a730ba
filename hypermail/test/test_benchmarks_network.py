"""
Tests for the comparison with others through a bad network, C{benchmarks/network}.

They need a checkout; those that measure need what L{benchmarks.netemu} needs, too, and say what is missing.
"""

from __future__ import annotations

import contextlib
import io
import json
import socket
import subprocess
import sys
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

CHECKOUT = Path(__file__).resolve().parents[2]

try:
    from benchmarks.netemu import BadNetwork, unavailable
    from benchmarks.network import results
    from benchmarks.network.__main__ import ALL, parse, run, size
    from benchmarks.network.figures import Table, delivered, first_after, middle, percentile, runs_at
    from benchmarks.network.matrix import SCENARIOS
    from benchmarks.network.measuring import Flow, MeasurementFailed, Program, measure
    from benchmarks.network.peers import PEERS
    from benchmarks.network.peers.credit import STEP, Credit
    from benchmarks.network.suites import Choice, latencies
    from benchmarks.network.work import (
        GRACE,
        PERIOD,
        Bulk,
        BulkSource,
        Messages,
        MessageSource,
        Openings,
        Strings,
        pack,
        unpack,
    )
except ImportError:
    NOT_HERE: str | None = "benchmarks/network is not installed, it needs a checkout"
    NO_NETWORK = NOT_HERE
else:
    NOT_HERE = None
    NO_NETWORK = unavailable()


def row(**figures: Any) -> dict[str, Any]:
    """A measured bulk stream."""
    whole = {"rate": 1e6, "bytes": 2_000_000, "seconds": 2.0, "cut": False, "intact": True}
    return {**whole, "starter_processor": 0.2, "listener_processor": 0.1, **figures}


class FiguresTests(SynchronousTestCase):
    """Percentiles, medians, and what was delivered in which time."""

    skip = NOT_HERE

    def test_percentile(self) -> None:
        """The nearest rank: a value that was measured, whatever the order; whole ranks are exact."""
        values = [float(value) for value in range(100, 0, -1)]
        self.assertEqual([1.0, 50.0, 99.0, 100.0], [percentile(values, share) for share in (1, 50, 99, 100)])
        self.assertEqual(30.0, percentile([10.0, 20.0, 30.0], 99))
        # 7 / 100 * 100 is a little more than 7 in floating point
        self.assertEqual([7.0, 29.0, 57.0], [percentile(values, share) for share in (7, 29, 57)])

    def test_percentileOfMissing(self) -> None:
        """What never came is slower than anything that did."""
        values = [1.0] * 98
        self.assertEqual(1.0, percentile(values, 98, missing=2))
        self.assertEqual(inf, percentile(values, 99, missing=2))
        self.assertEqual(inf, percentile([], 50, missing=1))

    def test_percentileOfNothing(self) -> None:
        """There is none of nothing."""
        self.assertRaises(ValueError, percentile, [], 50)

    def test_middle(self) -> None:
        """Failed measurements are left out of the median; of failures alone there is none."""
        self.assertEqual(2.0, middle([9.0, None, 2.0, 1.0]))
        self.assertIsNone(middle([None]))
        self.assertIsNone(middle([]))

    def test_delivered(self) -> None:
        """What arrived between two times is counted by the last samples before them."""
        samples = [(1.0, 10), (2.0, 30), (3.0, 60)]
        self.assertEqual(50, delivered(samples, 1.0, 3.0))
        self.assertEqual(30, delivered(samples, 0.0, 2.5))
        self.assertEqual(0, delivered(samples, 3.5, 9.0))
        self.assertEqual(0, delivered([], 0.0, 1.0))

    def test_firstAfter(self) -> None:
        """The first sample that is later, if there is one."""
        samples = [(1.0, 10), (2.0, 30)]
        self.assertEqual(1.0, first_after(samples, 0.5))
        self.assertEqual(2.0, first_after(samples, 1.0))
        self.assertIsNone(first_after(samples, 2.0))

    def test_runsAt(self) -> None:
        """So often runs of losses begin that in the long run the wanted share is lost."""
        self.assertAlmostEqual(5.0, runs_at(0.05, 1))
        # in a cycle of one run, 2 on the mean, (1 - p) / p packets pass
        begin = runs_at(0.3, 3) / 100
        self.assertAlmostEqual(0.3, 2 / (2 + (1 - begin) / begin))

    def test_latencies(self) -> None:
        """Of many latencies percentiles are kept, in ms; there is none where too many are missing."""
        kept = latencies({"latencies": [0.025] * 98 + [0.08], "missing": 1, "intact": True})
        self.assertEqual((25.0, 80.0, None), (kept["p50"], kept["p99"], kept["max"]))
        self.assertEqual((1, True), (kept["missing"], kept["intact"]))


class TableTests(SynchronousTestCase):
    """Tables for people."""

    skip = NOT_HERE

    def setUp(self) -> None:
        self.table = Table("Speed", ["", "1 %"], [["slow one", "1.0"], ["other", "–"]])

    def test_text(self) -> None:
        """Columns are aligned, and no line ends with spaces."""
        self.assertEqual("Speed\n\n          1 %\nslow one  1.0\nother     –\n", self.table.text())

    def test_markdown(self) -> None:
        """A table of Markdown."""
        lines = self.table.markdown().splitlines()
        self.assertEqual(["| slow one | 1.0 |", "| other    | –   |"], lines[-2:])
        self.assertEqual("| -------- | --- |", lines[3])

    def test_rst(self) -> None:
        """A list table, an empty cell included."""
        self.assertIn(
            "   :header-rows: 1\n\n   * -\n     - 1 %\n   * - slow one\n     - 1.0\n   * - other\n     - –\n",
            self.table.rst(),
        )


class BulkTests(SynchronousTestCase):
    """A bulk stream, sent and received."""

    skip = NOT_HERE

    def carry(self, work: Bulk, piece: int) -> Any:
        """All of it, in pieces that arrive 1 ms apart, the first 50 ms after it was sent."""
        source, taker, now = BulkSource(work, lambda: 100.0), work.taker(), 100.05
        while not source.over:
            taker.take(source.next(piece), now)
            now += 0.001
        return taker

    def test_whole(self) -> None:
        """All arrives; the rate is over the time from the first byte's sending to the last one's arrival."""
        for piece in (1_000, 65_536):
            taker = self.carry(Bulk(3 * PERIOD, 60), piece)
            found = taker.result()
            self.assertEqual((3 * PERIOD, True, True), (found["bytes"], found["whole"], found["intact"]))
            pieces = 1 + -(-(3 * PERIOD - 8) // piece)
            self.assertAlmostEqual(0.05 + (pieces - 1) * 0.001, found["seconds"])
            self.assertAlmostEqual(found["bytes"] / found["seconds"], found["rate"])
            self.assertTrue(taker.over(100.06))

    def test_anyCut(self) -> None:
        """The stream may arrive cut anywhere, within the time at its beginning or across the content's period, too."""
        work = Bulk(2 * PERIOD + 100, 60)
        source = BulkSource(work, lambda: 100.0)
        stream = b"".join(iter(lambda: b"" if source.over else source.next(), b""))
        for cut in (3, 8, 9, PERIOD + 7, 2 * PERIOD + 9):
            taker = work.taker()
            taker.take(stream[:cut], 100.1)
            taker.take(stream[cut:], 100.2)
            self.assertEqual((len(stream), True, True), (taker.bytes, taker.whole, taker.intact))

    def test_bounded(self) -> None:
        """What arrives when the time is over doesn't count, and the rate is over that time."""
        work = Bulk(0, 10)
        source, taker = BulkSource(work, lambda: 100.0), work.taker()
        self.assertFalse(taker.over(1e9))
        for _ in range(11):
            taker.take(source.next(1_000), 109.0)
        self.assertFalse(taker.over(109.9))
        self.assertTrue(taker.over(110.0))
        taker.take(source.next(1_000), 110.0)
        found = taker.result()
        self.assertEqual((10_008, 10, False, True), tuple(found[n] for n in ("bytes", "seconds", "whole", "intact")))
        self.assertEqual(1000.8, found["rate"])

    def test_damage(self) -> None:
        """A changed byte, one too many and a piece in another's place are noticed."""
        source = BulkSource(Bulk(0, 10), lambda: 100.0)
        head, one, other = source.next(), source.next(1_000), source.next(1_000)
        for wrong in (one[:-1] + bytes([one[-1] ^ 1]), b"\0" + one, other):
            taker = Bulk(0, 10).taker()
            taker.take(head, 100.0)
            taker.take(wrong, 100.1)
            self.assertFalse(taker.intact)

    def test_samples(self) -> None:
        """How far it is is kept now and then, and always when it goes on after a pause."""
        source, taker = BulkSource(Bulk(0, 60), lambda: 100.0), Bulk(0, 60).taker()
        for now in (100.0, 100.1, 100.105, 100.11, 105.0):
            taker.take(source.next(1_000), now)
        self.assertEqual([(100.1, 1_008), (105.0, 4_008)], taker.result()["samples"])


class MessagesTests(SynchronousTestCase):
    """Messages by a schedule, sent and received."""

    skip = NOT_HERE

    def test_schedule(self) -> None:
        """Each bears the time when it was due, by an absolute schedule."""
        work = Messages(3, 0.01, 200)
        source, taker = MessageSource(work, 100.0), work.taker()
        while not source.over:
            message = source.next()
            self.assertEqual(200, len(message))
            taker.take(message, 100.5)
        found = taker.result()
        self.assertEqual([0.5, 0.49, 0.48], found["latencies"])
        self.assertEqual((0, True), (found["missing"], found["intact"]))
        self.assertTrue(taker.over(100.5))

    def test_missing(self) -> None:
        """Some time after the last was due, those that have not come are missing."""
        work = Messages(100, 0.01)
        taker = work.taker()
        self.assertFalse(taker.over(1e9))
        taker.take(MessageSource(work, 100.0).next(), 100.0)
        self.assertFalse(taker.over(100.9 + GRACE))
        self.assertTrue(taker.over(101.1 + GRACE))
        self.assertEqual(99, taker.result()["missing"])

    def test_damage(self) -> None:
        """A message that comes out of order, twice, or changed is noticed."""
        source = MessageSource(Messages(3, 0.01), 100.0)
        one, other = source.next(), source.next()
        for arrived in ([other, one], [one, one], [one[:-1] + bytes([one[-1] ^ 1])]):
            taker = Messages(3, 0.01).taker()
            for message in arrived:
                taker.take(message, 100.0)
            self.assertFalse(taker.result()["intact"])

    def test_strings(self) -> None:
        """Messages in a stream of bytes come out whole, however it is cut; an empty one, too."""
        messages = [b"", b"one", bytes(300)]
        stream = b"".join(map(Strings.of, messages))
        for step in (1, 3, len(stream)):
            strings, found = Strings(), []
            for at in range(0, len(stream), step):
                found += strings.feed(stream[at : at + step])
            self.assertEqual(messages, found)

    def test_credit(self) -> None:
        """A receiver tells its total once in so many bytes."""
        credit = Credit()
        self.assertEqual(b"", credit.took(STEP - 1))
        self.assertEqual((STEP + 1).to_bytes(8, "big"), credit.took(2))
        self.assertEqual(b"", credit.took(STEP - 1))

    def test_pack(self) -> None:
        """Work is the same in another process."""
        for work in (Bulk(1, 2.0), Messages(1, 0.5, 20), Openings(3, 30.0)):
            self.assertEqual(work, unpack(json.loads(json.dumps(pack(work)))))


class CommandLineTests(SynchronousTestCase):
    """What the command line means."""

    skip = NOT_HERE

    def test_size(self) -> None:
        """Sizes are numbers, or numbers of KiB, MiB, GiB; nothing else."""
        self.assertEqual([5, 2 << 10, 64 << 20, 1 << 30], [size(text) for text in ("5", "2k", "64M", "1G")])
        for text in ("", "M", "1MM", "-1", "0", "1.5M", "1T"):
            self.assertRaises(ValueError, size, text)

    def test_defaults(self) -> None:
        """Without arguments everything is measured once, with all peers."""
        arguments = parse([])
        self.assertEqual(([], 1, list(PEERS), 64 << 20), tuple(vars(arguments)[name] for name in NAMES))

    def test_given(self) -> None:
        """Suites, peers, rounds and sizes can be chosen."""
        arguments = parse(["goodput", "matrix", "--repeat", "3", "--peers", "enet", "tcp-bbr", "--size", "1M"])
        self.assertEqual(
            (["goodput", "matrix"], 3, ["enet", "tcp-bbr"], 1 << 20), tuple(vars(arguments)[name] for name in NAMES)
        )

    def test_refused(self) -> None:
        """Unknown suites and peers, and no rounds, are refused with a usage."""
        for argv in (["speed"], ["--peers", "carrier-pigeon"], ["--repeat", "0"], ["--size", "big"]):
            told = io.StringIO()
            with contextlib.redirect_stderr(told):
                self.assertRaises(SystemExit, parse, argv)
            self.assertIn("usage:", told.getvalue())

    def test_cases(self) -> None:
        """Every suite has cases, each with labels of its own; without peers it has none."""
        for name, suite in ALL.items():
            labels = [tuple(case.labels.items()) for case in suite(Choice(list(PEERS), 1, 1, 1))]
            self.assertTrue(labels, name)
            self.assertEqual(len(labels), len(set(labels)), name)
            self.assertEqual([], suite(Choice([], 1, 1, 1)), name)

    def test_missingPeer(self) -> None:
        """A peer whose package is not installed says how it is."""
        peer = type(PEERS["enet"])("ENet", "enet_udp", package="no_such_package_as_this")
        self.assertIn("pip install -e '.[bench]'", peer.unavailable() or "")
        self.assertIn("no TCP congestion control", type(peer)("x", "tls", {"congestion": "none"}).unavailable() or "")


NAMES = ("suites", "repeat", "peers", "size")


class ResultsTests(SynchronousTestCase):
    """What is kept, and how it is shown."""

    skip = NOT_HERE

    def kept(self, name: str, labels: list[str], *rows: dict[str, Any]) -> dict[str, Any]:
        """The results of one suite."""
        suite = {"rounds": 2, "when": "2026-01-01", "commit": "abc", "labels": labels, "rows": list(rows)}
        return {"suites": {name: suite}, "machine": {"kernel": "6"}}

    def test_goodput(self) -> None:
        """Peers in their own order, medians of the rounds; a rate over a bounded time says so."""
        rows = [
            row(peer="tcp-cubic", loss=0, rate=11e6),
            row(peer="hypermail-cubic", loss=0, rate=11e6),
            row(peer="hypermail-cubic", loss=0, rate=12e6),
            row(peer="hypermail-cubic", loss=5, rate=4e5, cut=True, seconds=25),
        ]
        rates, processor = results.TABLES["goodput"](rows)
        self.assertEqual(["", "0 %", "5 %"], rates.header)
        self.assertEqual(["hypermail, CUBIC", "11.50", "0.40 (over 25 s)"], rates.rows[0])
        self.assertEqual(["Twisted TLS over TCP CUBIC", "11.00", "–"], rates.rows[1])
        self.assertEqual("150.0", processor.rows[0][1])

    def test_failed(self) -> None:
        """A measurement that failed is shown as failed in every table, and is among the failures with its reason."""
        for name, labels in (
            ("goodput", {"peer": "enet", "loss": 0}),
            ("latency", {"peer": "enet", "loss": 0}),
            ("blackout", {"peer": "tcp-bbr", "off": 0}),
            ("fairness", {"peer": "tcp-cubic", "beside": "hypermail-cubic"}),
            ("matrix", {"scenario": "clean", "peer": "hypermail-bbr"}),
        ):
            rows = [{**labels, "error": "it has ended"}]
            if name == "blackout":
                rows.append(row(peer="tcp-bbr", off=10))
            kept = self.kept(name, list(labels), *rows)
            (found,) = results.failures(kept)
            self.assertTrue(found.startswith(f"{name}, ") and found.endswith("it has ended"), found)
            cells = [cell for table in results.TABLES[name](rows) for cells in table.rows for cell in cells]
            self.assertTrue({"failed", "–"} & set(cells), name)

    def test_damage(self) -> None:
        """A stream that was not what was sent, and a scenario that did not pass, are failures."""
        kept = self.kept("goodput", ["peer", "loss"], row(peer="enet", loss=0), row(peer="enet", loss=1, intact=False))
        self.assertEqual(["goodput, enet, 1: not what was sent"], results.failures(kept))
        wrong = {"scenario": "clean", "peer": "hypermail-bbr", "found": "85%", "needed": "90%", "passed": False}
        kept = self.kept("matrix", ["scenario", "peer"], wrong)
        self.assertEqual(["matrix, clean, hypermail-bbr: 85%"], results.failures(kept))

    def test_latency(self) -> None:
        """p50, p99 and the longest; what is missing is told."""
        rows = [{"peer": "enet", "loss": 1, "p50": 25.2, "p99": 87.4, "max": None, "missing": 3}]
        (table,) = results.TABLES["latency"](rows)
        self.assertEqual([["ENet (not encrypted)", "25 / 87 / – (3 missing)"]], table.rows)

    def test_blackout(self) -> None:
        """The disturbed beside the undisturbed."""
        rows = [row(peer="tcp-bbr", off=0, rate=10e6), row(peer="tcp-bbr", off=10, rate=8e6)]
        (table,) = results.TABLES["blackout"](rows)
        self.assertEqual([["Twisted TLS over TCP BBR", "10.00", "8.00", "80%"]], table.rows)

    def test_fairness(self) -> None:
        """The rates of both flows, and the share of the first."""
        rows = [{"peer": "hypermail-cubic", "beside": "tcp-cubic", "rates": [4e6, 6e6], "share": 0.4}]
        (table,) = results.TABLES["fairness"](rows)
        self.assertEqual([["hypermail, CUBIC", "Twisted TLS over TCP CUBIC", "4.00", "6.00", "40%"]], table.rows)

    def test_keeping(self) -> None:
        """What is kept comes back; at first there is nothing."""
        kept = self.kept("goodput", ["peer", "loss"], row(peer="enet", loss=0))
        with TemporaryDirectory() as directory:
            path = Path(directory, "new", "results.json")
            self.assertEqual({"suites": {}}, results.load(path))
            results.save(path, kept)
            self.assertEqual(kept, results.load(path))

    def test_pages(self) -> None:
        """The page shows what there is; the fragments for the documentation are complete, and say what there is not."""
        kept = self.kept("goodput", ["peer", "loss"], row(peer="enet", loss=0))
        self.assertIn("| ENet (not encrypted) | 1.00 |", results.markdown(kept))
        with TemporaryDirectory() as directory:
            Path(directory, "goodput.svg").touch()
            fragments = results.fragments(kept, Path(directory))
            self.assertIn(f".. image:: /{Path(directory).name}/goodput.svg\n", fragments["goodput"])
            Path(directory, "goodput.svg").unlink()
            self.assertNotIn("image", results.fragments(kept, Path(directory))["goodput"])
        self.assertEqual({*ALL, "machine"}, set(fragments))
        self.assertEqual("This has not been measured.\n", fragments["matrix"])
        self.assertIn("Medians of 2 rounds; 2026-01-01, commit abc.", fragments["goodput"])
        self.assertEqual(":kernel: 6\n", fragments["machine"])


class RelayTests(SynchronousTestCase):
    """The NAT that changes its mind."""

    skip = NOT_HERE

    def test_moves(self) -> None:
        """Datagrams go both ways; after a move they come from elsewhere, and what is sent to the old place is lost."""
        with contextlib.ExitStack() as stack:
            far, near = (stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(2))
            for one in (far, near):
                one.settimeout(10)
                one.bind(("127.0.0.1", 0))
            command = [sys.executable, "-m", "benchmarks.network.relay", "0", "127.0.0.1", str(far.getsockname()[1])]
            relay = stack.enter_context(
                subprocess.Popen(command, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            )
            assert relay.stdin is not None and relay.stdout is not None
            inner = ("127.0.0.1", json.loads(relay.stdout.readline()))
            near.sendto(b"one", inner)
            data, first = far.recvfrom(100)
            far.sendto(b"two", first)
            self.assertEqual((b"one", b"two"), (data, near.recv(100)))
            relay.stdin.write(b"127.0.0.2\n")
            relay.stdin.flush()
            moved = tuple(json.loads(relay.stdout.readline()))
            far.sendto(b"lost", first)
            near.sendto(b"three", inner)
            data, second = far.recvfrom(100)
            self.assertEqual((b"three", moved), (data, second))
            self.assertNotEqual(first, second)
            far.sendto(b"four", second)
            self.assertEqual(b"four", near.recv(100))
            relay.stdin.close()
            self.assertEqual(0, relay.wait(10))


class MeasuringTests(SynchronousTestCase):
    """Measurements between real namespaces, short ones."""

    skip = NO_NETWORK

    def test_bulk(self) -> None:
        """A stream of hypermail's arrives as it was sent, and both sides report."""
        found = measure("hypermail-cubic", Bulk(1 << 20, 10), {"delay": 2, "rate": 100})
        self.assertEqual((1 << 20, True, True), (found["bytes"], found["whole"], found["intact"]))
        self.assertTrue(found["starter"]["processor"] > 0 and found["listener"]["processor"] > 0)
        self.assertTrue(found["starter"]["statistics"]["datagrams_sent"] > (1 << 20) / 1_500)
        told = found["starter"]["statistics"]
        # what is too large even for the device does not enter
        self.assertTrue(found["forth"]["entered"] >= told["datagrams_sent"] - told["mtu_probes"])

    def test_messages(self) -> None:
        """Messages of hypermail's arrive in order, none before the path's delay."""
        found = measure("hypermail-redundant", Messages(50, 0.01), {"delay": 10, "loss": 5})
        self.assertEqual((0, True, 50), (found["missing"], found["intact"], len(found["latencies"])))
        self.assertTrue(0.010 <= min(found["latencies"]) < 0.1, found["latencies"])

    def test_TCP(self) -> None:
        """So does a stream of Twisted's TLS over TCP; one that is bounded ends in time."""
        if reason := PEERS["tcp-cubic"].unavailable():
            self.skipTest(reason)
        found = measure("tcp-cubic", Bulk(0, 1), {"delay": 2, "rate": 10})
        self.assertEqual((False, True), (found["whole"], found["intact"]))
        self.assertTrue(0.1e6 < found["rate"] < 1.25e6, found["rate"])

    def test_openings(self) -> None:
        """Several sessions open at once."""
        self.assertEqual(4, measure("hypermail-cubic", Openings(4, 5), {"delay": 2})["opened"])

    def test_failure(self) -> None:
        """A process that fails says why, and nothing of the measurement stays; a suite goes on without it."""
        with BadNetwork() as network:
            flow = Flow(network, "hypermail-cubic", Bulk(1, 1), options={"mtu": 1})
            failed = self.assertRaises(MeasurementFailed, flow.__enter__)
            with self.assertRaises(MeasurementFailed), Program(network, "a", "relay", "relay", "0", "h", "1") as relay:
                relay.read(10)
                relay.read(0.1)
        self.assertIn("mtu must be at least 1200", str(failed))
        self.patch(sys, "executable", "/bin/false")
        with contextlib.redirect_stdout(io.StringIO()):
            suite = run("goodput", Choice(["hypermail-cubic"], 1, 1, 1), 1)
        self.assertEqual(["hypermail-cubic, listen has ended"] * 3, [found["error"] for found in suite["rows"]])


class MatrixTests(SynchronousTestCase):
    """The matrix of scenarios."""

    skip = NOT_HERE

    def test_scenarios(self) -> None:
        """Each says what its network is like."""
        for name, scenario in SCENARIOS.items():
            self.assertTrue(scenario.__doc__, name)
