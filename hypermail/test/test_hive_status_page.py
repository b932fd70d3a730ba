"""
Tests for L{hypermail.hive.status_page}, L{hypermail.hive.overview} and L{hypermail.hive.metrics}.
"""

from __future__ import annotations

import json
import re
import sys
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from unittest.mock import patch

from prometheus_client.parser import text_string_to_metric_families as parse
from twisted.internet.address import IPv4Address
from twisted.internet.defer import succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from hypermail._version import __version__
from hypermail.hive.aliases import Aliases
from hypermail.hive.cell.application import answer
from hypermail.hive.frames import ConnectionKind, IAm, Mount
from hypermail.hive.front.front import Front
from hypermail.hive.installation import HTTPS, STATUS
from hypermail.hive.leashes import CellConnection, Cells, Member
from hypermail.hive.mounts import Pattern
from hypermail.hive.overview import Overview
from hypermail.hive.ports import Ports
from hypermail.hive.routing import Router
from hypermail.hive.status_page import MOST_LOOKERS, MOST_SHOWN, SHOWN, StatusPage
from hypermail.internet.address import HypermailAddress
from hypermail.test.calls import RecordedCall
from hypermail.test.hive import FrameTransport, written
from hypermail.test.queens import HERE as LOOPBACK
from hypermail.test.queens import QueenCase
from hypermail.test.sessions import logged
from hypermail.test.test_hive_figures import HERE, access
from hypermail.test.test_packaging import checkout

NOW = datetime(2026, 11, 21, 21, 0, tzinfo=UTC)


class PageCase(SynchronousTestCase):
    """A page of a queen in memory, which began a minute ago."""

    def setUp(self) -> None:
        self.clock = Clock()
        numbers = iter(range(1, 1 << 20))
        self.cells = Cells(
            self.clock,
            lambda key: succeed(True),
            lambda size: next(numbers).to_bytes(4, "big") + bytes(size - 4),
            login_timeout=5.0,
            band_age=60.0,
            aliases=Aliases({}),
        )
        self.router = Router(self.cells, self.clock.seconds, self.now, lambda access, pattern: None)
        self.overview = Overview(
            self.router, Front(self.clock, self.router.serve), Ports(), self.clock.seconds, self.now
        )
        self.page = StatusPage(self.clock, self.overview)
        self.record = self.overview.figures.record
        self.clock.advance(60.0)

    def now(self) -> datetime:
        """The time."""
        return NOW + timedelta(seconds=self.clock.seconds())

    def ask(self, target: str = "/", method: str = "GET", headers: Mapping[str, str] | None = None) -> RecordedCall:
        """A call that was answered."""
        given = {"Host": "localhost:8080"} | dict(headers or {})
        call = RecordedCall(
            method, target.encode(), {name: (value,) for name, value in given.items()}, scheme="http", peer=LOOPBACK
        )
        return call.serve(self.page.serve)

    def told(self) -> Any:
        """C{/status.json}, as new as can be."""
        self.clock.advance(1.0)
        return json.loads(self.ask("/status.json").body_written)

    def cell(self, *mounts: str, extended: bool = True, peer: Any = None) -> tuple[CellConnection, Member]:
        """A cell that logs in."""
        connection = CellConnection(self.cells)
        connection.makeConnection(_Peer(peer or IPv4Address("TCP", "192.0.2.7", 4711)))
        said = [IAm(ConnectionKind.CELL, "", "key", int(extended))]
        connection.dataReceived(written(*said, *(Mount("example.org", path) for path in mounts)))
        return connection, list(self.cells)[-1]


class _Peer(FrameTransport):
    """Knows where it leads."""

    def __init__(self, peer: Any) -> None:
        super().__init__()
        self._peer = peer

    def getPeer(self) -> Any:
        """The other end."""
        return self._peer


class DefenceTests(PageCase):
    """Who is answered."""

    def test_names(self) -> None:
        """Those who ask for this machine by itself; names may be made to point here by anybody."""
        for host in ("localhost", "LOCALHOST:80", "127.0.0.1", "127.0.0.1:9000", "[::1]", "[::1]:9000"):
            self.assertEqual(self.ask("/status.json", headers={"Host": host}).status, 200, host)
        for host in (
            "example.org",
            "localhost.example.org",
            "192.0.2.1",
            "127.0.0.1.example.org",
            "",
            "[::1",
            "a b",
            "é",
        ):
            for target in ("/", "/status.json", "/events", "/metrics", "/other"):
                call = self.ask(target, headers={"Host": host})
                self.assertEqual((call.status, call.ended), (403, True), (host, target))
        self.assertEqual(RecordedCall(headers={}).serve(self.page.serve).status, 403)
        self.assertEqual(self.page.lookers, 0)

    def test_other_sites(self) -> None:
        """What a browser asks for another site's page gets nothing; but a link may lead here."""
        for target in ("/status.json", "/events", "/metrics"):
            for site, status in (("same-origin", 200), ("none", 200), ("same-site", 403), ("cross-site", 403)):
                self.assertEqual(self.ask(target, headers={"Sec-Fetch-Site": site}).status, status, (target, site))
        self.assertEqual(self.ask("/", headers={"Sec-Fetch-Site": "cross-site"}).status, 200)

    def test_methods(self) -> None:
        """Nothing can be done but to look."""
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "get"):
            call = self.ask("/status.json", method)
            self.assertEqual((call.status, call.sent_headers["allow"]), (405, ("GET, HEAD",)), method)

    def test_head(self) -> None:
        """C{HEAD} is answered as C{GET}, without the body; nobody looks then."""
        for target in ("/", "/status.json", "/events", "/metrics", "/other"):
            call = self.ask(target, "HEAD")
            self.assertEqual(
                (call.status, call.body_written, call.ended), (404 if target == "/other" else 200, b"", True)
            )
        self.assertEqual(self.page.lookers, 0)

    def test_headers(self) -> None:
        """Nothing is kept, nor guessed, nor framed, nor shown to other sites, errors neither."""
        for target in ("/", "/status.json", "/events", "/metrics", "/other"):
            found = self.ask(target).sent_headers
            self.assertEqual(found["cache-control"], ("no-store",), target)
            self.assertEqual(found["x-content-type-options"], ("nosniff",), target)
            self.assertEqual(found["cross-origin-resource-policy"], ("same-origin",), target)
            self.assertNotIn("access-control-allow-origin", found)
            [policy] = found["content-security-policy"]
            self.assertTrue(policy.startswith("default-src 'none'; "))
            self.assertIn("frame-ancestors 'none'", policy)
            self.assertNotIn("unsafe", policy)

    def test_policy(self) -> None:
        """What is embedded in the page, and nothing else, may run; it loads nothing."""
        call = self.ask("/")
        page = call.body_written.decode()
        [policy] = call.sent_headers["content-security-policy"]
        for tag, directive in (("script", "script-src"), ("style", "style-src")):
            [text] = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
            digest = b64encode(sha256(text.encode()).digest()).decode()
            self.assertIn(f"{directive} 'sha256-{digest}';", policy)
        self.assertEqual(re.findall(r"(?:src|href)=\"(?!data:)|@import|url\(| on\w+=|style=", page), [])
        self.assertEqual(re.findall(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", page), [])

    def test_target(self) -> None:
        """A query is no matter; there is nothing else."""
        self.assertEqual(self.ask("/status.json?a=b").status, 200)
        self.assertEqual(self.ask("/?x").body_written, self.ask("/").body_written)
        for target in ("/status", "//", "/events/", "*", "/pages/status.html", "/../setup.cfg"):
            self.assertEqual(self.ask(target).status, 404, target)


class SnapshotTests(PageCase):
    """What is told."""

    def test_nothing(self) -> None:
        """Of a queen to whom nothing has happened."""
        found = self.told()
        self.assertEqual(found["queen"]["version"], __version__)
        self.assertEqual(found["queen"]["since"], "2026-11-21T21:00:00+00:00")
        self.assertEqual((found["queen"]["uptime"], found["queen"]["now"]), (61.0, "2026-11-21T21:01:01+00:00"))
        self.assertEqual((found["totals"]["requests"], found["totals"]["running"]), (0, 0))
        self.assertEqual((found["requests"], found["errors"]), ([], []))
        for kind in ("mounts", "cells"):
            self.assertEqual((found[kind]["count"], found[kind]["shown"]), (0, []))
        self.assertEqual([len(column) for column in found["history"].values()], [120] * 4)

    def test_requests(self) -> None:
        """Totals, what is mounted, and the last requests, the newest first."""
        self.cell("/", "/app/")
        self.record(access(target="/1"), Pattern("example.org", "/"))
        self.record(access(target="/2", status=500), Pattern("example.org", "/"))
        self.record(access(target="/3", status=404, reason="nothing is published here", cell=""), None)
        found = self.told()
        self.assertEqual((found["totals"]["requests"], found["totals"]["errors"]), (3, 2))
        mounts = {row["mount"]: row for row in found["mounts"]["shown"]}
        self.assertEqual(sorted(mounts), ["example.org/", "example.org/app/"])
        self.assertEqual((mounts["example.org/"]["requests"], mounts["example.org/"]["errors"]), (2, 1))
        self.assertEqual(mounts["example.org/"]["rates"], {"1s": 2.0, "10s": 0.2, "60s": 0.033})
        self.assertEqual(mounts["example.org/app/"]["requests"], 0)
        self.assertEqual([row["target"] for row in found["requests"]], ["/3", "/2", "/1"])
        self.assertEqual([row["target"] for row in found["errors"]], ["/3", "/2"])
        self.assertEqual(found["requests"][2], access(target="/1")._asdict() | {"when": "2026-01-02T03:04:05+00:00"})
        self.assertEqual((found["history"]["requests"][-1], found["history"]["errors"][-1]), (3, 2))

    def test_cells(self) -> None:
        """Who is there, since when, how, with what, and how it does."""
        _, first = self.cell("/", extended=False)
        self.clock.advance(10.0)
        _, second = self.cell("/", "/app/", peer=HypermailAddress("2001:db8::1", 4700))
        second.health.failed(self.clock.seconds())
        second.health.failed(self.clock.seconds())
        for member in (first, second):
            member.garden.lend().addErrback(lambda _: None)
            member.garden.add(_Band())  # type: ignore[arg-type]
            member.garden.add(_Band())  # type: ignore[arg-type]
        second.garden.lend()
        second.garden.lend().addErrback(lambda _: None)
        self.record(access(cell=first.name), HERE)
        one, other = self.told()["cells"]["shown"]
        self.assertEqual(
            [one[key] for key in ("name", "address", "over", "extended", "age", "mounts", "rests", "requests")],
            [first.name, "192.0.2.7:4711", "TLS", False, 11.0, ["example.org/"], 0.0, 1],
        )
        self.assertEqual(one["since"], "2026-11-21T21:01:00+00:00")
        self.assertEqual(
            [other[key] for key in ("name", "address", "over", "extended", "age", "mount_count", "rests", "requests")],
            [second.name, "[2001:db8::1]:4700", "hypermail", True, 1.0, 2, 1.0, 0],
        )
        self.assertEqual(one["bands"], {"idle": 1, "busy": 1, "waiting": 0})
        self.assertEqual(other["bands"], {"idle": 0, "busy": 2, "waiting": 1})
        mount = self.told()["mounts"]["shown"][0]
        self.assertEqual((mount["cells"], mount["cell_count"]), ([first.name, second.name], 2))

    def test_busiest(self) -> None:
        """Events have the busiest, in order; of the others there is the number. The whole status has more."""
        for number in range(150):
            self.cell(*(f"/{number:03}-{other}/" for other in range(10)))
        cells = list(self.cells)
        for number in (30, 149):
            self.record(access(cell=cells[number].name), Pattern("example.org", f"/{number:03}-7/"))
        self.clock.advance(1.0)
        event = json.loads(self.ask("/events").body_written.removeprefix(b"data: "))
        self.assertEqual((event["mounts"]["count"], len(event["mounts"]["shown"])), (1500, SHOWN))
        self.assertEqual((event["cells"]["count"], len(event["cells"]["shown"])), (150, SHOWN))
        names = [row["mount"] for row in event["mounts"]["shown"]]
        self.assertEqual(names, sorted(names))
        self.assertEqual(
            {row["mount"] for row in event["mounts"]["shown"] if row["requests"]},
            {"example.org/030-7/", "example.org/149-7/"},
        )
        shown = [row["name"] for row in event["cells"]["shown"]]
        self.assertEqual(shown, [cell.name for cell in cells if cell.name in shown])
        self.assertIn(cells[149].name, shown)
        found = self.told()
        self.assertEqual((len(found["mounts"]["shown"]), len(found["cells"]["shown"])), (MOST_SHOWN, 150))

    def test_named(self) -> None:
        """Of many cells on a mount, and mounts of a cell, twenty are named."""
        for _ in range(25):
            self.cell(*(f"/{number}/" for number in range(30)))
        found = self.told()
        for one in found["mounts"]["shown"]:
            self.assertEqual((len(one["cells"]), one["cell_count"]), (20, 25))
        for one in found["cells"]["shown"]:
            self.assertEqual((len(one["mounts"]), one["mount_count"]), (20, 30))

    def test_fresh(self) -> None:
        """However often somebody asks, it is reckoned twice a second at most."""
        self.assertEqual(self.told()["totals"]["requests"], 0)
        self.record(access(), HERE)
        self.clock.advance(0.49)
        self.assertEqual(json.loads(self.ask("/status.json").body_written)["totals"]["requests"], 0)
        self.clock.advance(0.02)
        self.assertEqual(json.loads(self.ask("/status.json").body_written)["totals"]["requests"], 1)

    def test_strange_strings(self) -> None:
        """Whatever clients say is a string of JSON, on one line."""
        strange = '</script>\r\n\n\x00\ud800é"\\data: '
        self.record(access(target=strange, agent=strange, host=strange, status=500), HERE)
        event = self.ask("/events").body_written
        self.assertEqual((event.count(b"\n"), event[-2:]), (2, b"\n\n"))
        self.assertEqual(json.loads(event.removeprefix(b"data: "))["errors"][0]["agent"], strange)

    def test_size(self) -> None:
        """An event has a limit, whatever clients send and cells mount."""
        for number in range(200):
            self.cell(*(f"/{number}/{'m' * 1_000}/{other}" for other in range(25)))
            text = "\x01" * 100_000
            self.record(access(target=text, agent=text, host=text, referer=text, method=text, status=500), HERE)
        self.assertLess(len(self.ask("/events").body_written), 4_000_000)


class _Band:
    """One that is never used."""


class EventsTests(PageCase):
    """Those who look."""

    def events(self, call: RecordedCall) -> list[Any]:
        """What somebody was told, in order."""
        return [json.loads(event.removeprefix("data: ")) for event in call.body_written.decode().split("\n\n")[:-1]]

    def test_events(self) -> None:
        """At once, and then every second; nothing is left when nobody looks."""
        call = self.ask("/events")
        self.assertEqual(
            (call.status, call.length, call.sent_headers["content-type"]), (200, None, ("text/event-stream",))
        )
        self.assertEqual(len(self.events(call)), 1)
        self.record(access(), HERE)
        self.clock.pump([0.25] * 4)
        self.assertEqual([event["totals"]["requests"] for event in self.events(call)], [0, 1])
        other = self.ask("/events")
        self.clock.pump([0.25] * 8)
        self.assertEqual((len(self.events(call)), len(self.events(other)), self.page.lookers), (4, 3, 2))
        call.lose()
        self.clock.advance(1.0)
        self.assertEqual(len(self.events(other)), 4)
        other.lose()
        self.assertEqual((self.page.lookers, self.clock.getDelayedCalls()), (0, []))
        again = self.ask("/events")
        self.clock.advance(1.0)
        self.assertEqual(len(self.events(again)), 2)

    def test_slow(self) -> None:
        """Who has not taken an event when the next one is due is cut off; nothing is kept for him."""
        slow, quick, late = (self.ask("/events") for _ in range(3))
        slow.slow()
        late.slow()
        late.ready()
        before = len(slow.body_written)
        self.clock.advance(1.0)
        self.assertEqual((slow.aborted, quick.aborted, late.aborted), (True, False, False))
        self.assertEqual(len(slow.body_written), before)
        self.assertEqual(self.page.lookers, 2)

    def test_many(self) -> None:
        """There is a limit."""
        calls = [self.ask("/events") for _ in range(MOST_LOOKERS + 1)]
        self.assertEqual([call.status for call in calls], [200] * MOST_LOOKERS + [503])
        calls[0].lose()
        self.assertEqual(self.ask("/events").status, 200)


class MetricsTests(PageCase):
    """For Prometheus."""

    def samples(self) -> dict[str, float]:
        """What it would read."""
        text = self.ask("/metrics").body_written.decode()
        return {
            sample.name + "".join(f" {key}={value}" for key, value in sorted(sample.labels.items())): sample.value
            for family in parse(text)
            for sample in family.samples
        }

    def test_requests(self) -> None:
        """Each request is in one series, whatever it was for."""
        self.cell("/")
        mount = Pattern("example.org", "/")
        for seconds in (0.0005, 0.004, 0.3, 100.0):
            self.record(access(seconds=seconds, size=100), mount)
        self.record(access(status=503, reason="too many"), mount)
        self.record(access(status=404, reason="nothing", cell="", size=7), None)
        for number in range(1_005):
            self.record(access(size=1), Pattern("other.example.org", f"/{number}/"))
        found = self.samples()
        name = "hypermail_queen_requests_total"
        self.assertEqual(found[f"{name} mount=example.org/ result=2xx"], 4)
        self.assertEqual(found[f"{name} mount=example.org/ result=refused"], 1)
        self.assertEqual(found[f"{name} mount=(none) result=refused"], 1)
        self.assertEqual(found[f"{name} mount=(other) result=2xx"], 6)
        self.assertEqual(sum(value for key, value in found.items() if key.startswith(name)), 1_011)
        self.assertEqual(found["hypermail_queen_response_bytes_total mount=(none)"], 7)
        took = "hypermail_queen_request_duration_seconds"
        buckets = [
            found[f"{took}_bucket le={le} mount=example.org/"] for le in ("0.001", "0.005", "0.2", "0.5", "50.0")
        ]
        self.assertEqual(buckets, [1, 2, 3, 4, 4])
        self.assertEqual(found[f"{took}_count mount=example.org/"], 5)
        self.assertEqual(found[f"{took}_bucket le=+Inf mount=example.org/"], 5)
        self.assertAlmostEqual(found[f"{took}_sum mount=example.org/"], 100.3245)
        self.assertEqual(found["hypermail_queen_mount_cells mount=example.org/"], 1)

    def test_queen(self) -> None:
        """She, and her cells."""
        _, one = self.cell("/")
        _, other = self.cell("/")
        one.garden.add(_Band())  # type: ignore[arg-type]
        one.garden.add(_Band())  # type: ignore[arg-type]
        one.garden.lend()
        other.garden.lend().addErrback(lambda _: None)
        other.health.failed(self.clock.seconds())
        self.router.running = 2
        found = self.samples()
        for key, value in (
            (f"info version={__version__}", 1),
            ("uptime_seconds", 60),
            ("requests_running", 2),
            ("connections", 0),
            ("connections_refused_total", 0),
            ("bands state=busy", 1),
            ("bands state=idle", 1),
            ("cells", 2),
            ("cells_resting", 1),
            ("requests_waiting", 1),
            ("mount_cells mount=example.org/", 2),
        ):
            self.assertEqual(found[f"hypermail_queen_{key}"], value, key)
        self.assertEqual([key for key in found if "(none)" in key or "(other)" in key], [])

    def test_many_mounts(self) -> None:
        """Of mounts there are as many as of series."""
        for one in range(3):
            self.cell(*(f"/{one}-{number}/" for number in range(500)))
        found = self.samples()
        self.assertEqual(sum(key.startswith("hypermail_queen_mount_cells ") for key in found), 1_000)

    def test_missing(self) -> None:
        """Without the extra it says what to install; the rest goes on."""
        with patch.dict(sys.modules, {"hypermail.hive.metrics": None}):
            call = self.ask("/metrics")
        self.assertEqual(call.status, 501)
        self.assertIn(b"pip install 'hypermail[metrics]'", call.body_written)
        self.assertEqual(self.ask("/status.json").status, 200)


class ServingTests(QueenCase):
    """A queen at sockets."""

    async def told(self) -> Any:
        """Her status."""
        found = await self.get("/status.json", port=STATUS, tls=False)
        return json.loads(found.partition(b"\r\n\r\n")[2])

    async def test_counted(self) -> None:
        """Requests count, where they go to a cell and where they do not; the cell is told of."""
        self.begin(status_port=0)
        await self.cell(lambda exchange: answer(exchange, 200, "hello"), "@/app/")
        await self.get("/app/x?<script>")
        await self.get("/other")
        found = await self.told()
        [mount], [cell] = found["mounts"]["shown"], found["cells"]["shown"]
        self.assertEqual((mount["mount"], mount["requests"], mount["bytes"]), ("@/app/", 1, 6))
        self.assertEqual(mount["cells"], [cell["name"]])
        self.assertEqual(
            (cell["over"], cell["extended"], cell["mounts"], cell["requests"]), ("TLS", True, ["@/app/"], 1)
        )
        self.assertEqual(found["totals"]["responses"]["refused"], 1)
        self.assertEqual([row["target"] for row in found["requests"]], ["/other", "/app/x?<script>"])
        self.assertEqual(found["queen"]["ports"][HTTPS], self.installation.ports.number(HTTPS))

    async def test_loopback(self) -> None:
        """Only this machine may look, wherever the other ports are."""
        self.begin(status_port=0, bind=None)
        self.assertEqual(self.installation.ports.port(STATUS).getHost().host, "127.0.0.1")

    async def test_off(self) -> None:
        """Without a port nothing is counted, and nothing is open."""
        self.begin()
        self.assertEqual((self.installation.watchers, self.installation.status), ([], None))
        self.assertNotIn(STATUS, self.installation.ports.numbers())

    async def test_reload(self) -> None:
        """The port opens, moves and closes as the configuration says; those who look are cut off when it closes."""
        lines = logged(self)
        self.begin()
        self.directives = replace(self.directives, status_port=0)
        self.queen.reload()
        number = self.installation.ports.number(STATUS)
        self.assertTrue([line for line in lines if f"http://127.0.0.1:{number}/" in line])
        await self.get("/1")
        looker = await self.connect(STATUS, tls=False)
        self.say(looker, "GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await looker.until(b"data: .*\n\n")
        self.queen.reload()
        self.assertEqual(self.installation.ports.number(STATUS), number)
        free = self.reactor.listenTCP(0, Front(self.reactor, self.fail), interface=LOOPBACK)
        number = free.getHost().port
        await free.stopListening()
        self.directives = replace(self.directives, status_port=number)
        self.queen.reload()
        self.assertEqual((await self.told())["totals"]["requests"], 1)
        await looker.until(b"data: .*data: .*\n\n")
        self.directives = replace(self.directives, status_port=None)
        self.queen.reload()
        await looker.lost
        self.assertEqual((self.installation.watchers, self.installation.status), ([], None))
        self.assertNotIn(STATUS, self.installation.ports.numbers())

    async def test_taken(self) -> None:
        """A port that somebody else has is said so; the page stays where it was."""
        lines = logged(self)
        self.begin(status_port=0)
        number = self.installation.ports.number(STATUS)
        taken = self.reactor.listenTCP(0, Front(self.reactor, self.fail), interface=LOOPBACK)
        self.addCleanup(taken.stopListening)
        self.directives = replace(self.directives, status_port=taken.getHost().port)
        self.queen.reload()
        self.assertTrue([line for line in lines if "cannot listen at statusPort" in line])
        self.assertEqual(self.installation.ports.number(STATUS), number)

    async def test_stop(self) -> None:
        """When she stops, those who look are cut off."""
        self.begin(status_port=0)
        looker = await self.connect(STATUS, tls=False)
        self.say(looker, "GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await looker.until(b"data: ")
        await self.queen.stopService()
        await looker.lost


class GuideTests(SynchronousTestCase):
    """The guide's page."""

    def test_named(self) -> None:
        """It has all keys of the JSON, and all metrics, and no others."""
        page = (checkout() / "docs" / "guide" / "hive-status.rst").read_text(encoding="utf-8")
        words = set(re.findall(r"``(\w+)``", page))
        case = PageCase()
        case.setUp()
        case.cell("/")
        case.record(access(), HERE)
        told = case.told()
        [cell], [mount] = told["cells"]["shown"], told["mounts"]["shown"]
        keys = {
            *told,
            *told["queen"],
            *told["totals"],
            *told["history"],
            *told["mounts"],
            *cell,
            *mount,
            *cell["bands"],
        }
        self.assertEqual(keys - words, set())
        metrics = case.ask("/metrics").body_written.decode()
        names = set(re.findall(r"^# TYPE hypermail_queen_(\w+)", metrics, re.MULTILINE))
        self.assertEqual(names - words, set())
        table = page.split("All names begin with")[1].split("``mount`` is")[0]
        said = set(re.findall(r"^(?=``)((?:``\w+``(?:, )?)+)", table, re.MULTILINE))
        self.assertEqual({name for names in said for name in re.findall(r"\w+", names)}, names)
