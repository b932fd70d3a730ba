"""
Tests of L{hypermail.services.status_site} and L{hypermail.services.metrics}: what is answered to whom, byte by byte.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime
from typing import Any
from unittest.mock import patch

from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_open_metrics
from prometheus_client.parser import text_string_to_metric_families as read_plain
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError, ConnectionDone
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from hypermail._version import __version__
from hypermail.services.addresses import Destination
from hypermail.services.ending import CannotStart
from hypermail.services.metrics import ROUND_TRIPS, exposition
from hypermail.services.status import COUNTERS, Status
from hypermail.services.status_site import LONGEST, MOST, PATIENCE, StatusService, StatusSite, Visits, namesLoopback
from hypermail.test.sessions import logged

LOCAL = IPv4Address("TCP", "127.0.0.1", 5_000)

SESSION: dict[str, Any] = {
    "mode": "tls",
    "cipher": "AES-128-GCM",
    "state": "open",
    "rtt": 0.02,
    "streams": 2,
    "streams_paused": 1,
    "messages_queued": 3,
    "in_flight": 1_200,
    "window": 12_000,
}


class Answer:
    """What came back from a request."""

    def __init__(self, wire: bytes) -> None:
        head, _, self.body = wire.partition(b"\r\n\r\n")
        self.status, *lines = head.decode("ascii").split("\r\n")
        self.fields = {line.partition(": ")[0].lower(): line.partition(": ")[2] for line in lines}
        self.code = int(self.status.split()[1])


class SiteCase(SynchronousTestCase):
    """The site in memory."""

    def setUp(self) -> None:
        self.reactor: Any = MemoryReactorClock()
        self.status = Status(self.reactor.seconds, lambda: datetime(2026, 11, 21, tzinfo=UTC))
        self.site = StatusSite(self.status, self.reactor, local=True)
        self.site.startFactory()
        self.addCleanup(self.site.stopFactory)

    def connect(self) -> tuple[Any, StringTransport]:
        """A connection to it."""
        protocol: Any = self.site.buildProtocol(LOCAL)
        transport = StringTransport(hostAddress=LOCAL, peerAddress=LOCAL)
        protocol.makeConnection(transport)
        return protocol, transport

    def send(self, *lines: str, body: bytes = b"") -> Answer:
        """Send a request."""
        protocol, transport = self.connect()
        protocol.dataReceived("\r\n".join((*lines, "", "")).encode("latin-1") + body)
        self.reactor.advance(1)
        return Answer(transport.value())

    def get(self, path: str = "/", *fields: str, host: str = "localhost:4701", method: str = "GET") -> Answer:
        """Ask for a page."""
        return self.send(f"{method} {path} HTTP/1.1", f"Host: {host}", *fields)


class PageTests(SiteCase):
    """What there is, and what not."""

    def test_json(self) -> None:
        """/ is the snapshot; nobody keeps it, and nobody takes it for anything else."""
        answer = self.get()
        self.assertEqual(answer.status, "HTTP/1.1 200 OK")
        self.assertEqual(json.loads(answer.body)["program"]["version"], __version__)
        expected = {
            "content-type": "application/json",
            "content-length": str(len(answer.body)),
            "cache-control": "no-store",
            "x-content-type-options": "nosniff",
        }
        self.assertEqual({name: answer.fields.get(name) for name in expected}, expected)

    def test_query(self) -> None:
        """What follows a question mark makes no difference."""
        self.assertEqual(self.get("/?pretty=1").code, 200)

    def test_head(self) -> None:
        """HEAD gives the same without the body, and logs nothing."""
        lines = logged(self)
        for path in ("/", "/metrics", "/other"):
            full, head = self.get(path), self.get(path, method="HEAD")
            self.assertEqual((head.body, head.status), (b"", full.status))
            self.assertEqual(head.fields["content-length"], full.fields["content-length"])
        self.assertEqual(lines, [])

    def test_otherMethods(self) -> None:
        """Nothing can be done here but to look."""
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "BREW", "get"):
            answer = self.get(method=method)
            self.assertEqual((answer.code, answer.fields["allow"]), (405, "GET, HEAD"), method)
            self.assertNotIn(b"sessions", answer.body)

    def test_otherPaths(self) -> None:
        """There are two pages; every other path is none, in one line."""
        for path in ("/favicon.ico", "/metrics/", "//", "/..", "/%2e", "http://localhost/"):
            answer = self.get(path)
            self.assertEqual((answer.code, answer.body), (404, b"there are only / and /metrics\n"), path)

    def test_noOtherOrigin(self) -> None:
        """Nothing lets pages of other sites read it."""
        answer = self.get("/", "Origin: https://evil.example")
        self.assertEqual([name for name in answer.fields if name.startswith("access-control")], [])

    def test_body(self) -> None:
        """A body that comes with a request is kept nowhere, however large; the connection goes on."""
        protocol, transport = self.connect()
        size = 1 << 30
        protocol.dataReceived(f"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n\r\n".encode())
        (request,) = protocol._channel.requests
        for _ in range(100):
            protocol.dataReceived(b"x" * 10_000)
        self.assertEqual((type(request.content).__name__, request.content.getvalue()), ("BytesIO", b""))
        self.assertEqual(transport.value(), b"")
        chunked = "Transfer-Encoding: chunked"
        answer = self.send("POST / HTTP/1.1", "Host: localhost", chunked, body=b"1\r\nx\r\n0\r\n\r\n")
        self.assertEqual(answer.code, 405)

    def test_form(self) -> None:
        """Nor is a form read."""
        kind = "Content-Type: application/x-www-form-urlencoded"
        self.assertEqual(
            self.send("POST / HTTP/1.1", "Host: localhost", kind, "Content-Length: 3", body=b"a=b").code, 405
        )

    def test_idle(self) -> None:
        """Who connects and says nothing is let go."""
        _, transport = self.connect()
        self.reactor.advance(PATIENCE - 0.1)
        self.assertFalse(transport.disconnecting)
        self.reactor.advance(0.2)
        self.assertTrue(transport.disconnecting)

    def test_oneAnswer(self) -> None:
        """A connection is for one request: what waits behind it costs nothing, and the connection is closed."""
        protocol, transport = self.connect()
        protocol.dataReceived(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 1_000)
        self.reactor.advance(1)
        self.assertEqual(transport.value().count(b"HTTP/1.1 "), 1)
        self.assertEqual(Answer(transport.value()).fields["connection"], "close")
        self.assertTrue(transport.disconnecting)

    def test_later(self) -> None:
        """What takes its time to be told is told then, unless whoever has asked is gone."""
        telling: list[Deferred[Any]] = []

        def tell() -> Deferred[Any]:
            telling.append(Deferred())
            return telling[-1]

        self.patch(self.status, "snapshot", tell)
        for gone in (False, True):
            protocol, transport = self.connect()
            protocol.dataReceived(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            self.reactor.advance(1)
            self.assertEqual(transport.value(), b"")
            if gone:
                protocol.connectionLost(Failure(ConnectionDone()))
            else:
                telling[-1].callback({"a": 1})
            self.reactor.advance(1)
            self.assertEqual(transport.value().endswith(b'\r\n\r\n{"a": 1}\n'), not gone)
        self.assertTrue(telling[-1].called)

    def test_quiet(self) -> None:
        """A look leaves no line in the log."""
        lines = logged(self)
        self.get()
        self.assertEqual(lines, [])


class VisitTests(SiteCase):
    """Clients that are slow, or many."""

    def setUp(self) -> None:
        super().setUp()
        self.site = Visits(self.site, self.reactor)  # type: ignore[assignment]

    def test_answer(self) -> None:
        """Who just asks is answered, and leaves nothing behind."""
        protocol, transport = self.connect()
        protocol.dataReceived(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.reactor.advance(1)
        self.assertEqual(Answer(transport.value()).code, 200)
        protocol.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(len(self.reactor.getDelayedCalls()), 1)  # the site's own clock
        self.assertEqual(self.site.protocols, {})  # type: ignore[attr-defined]

    def test_drips(self) -> None:
        """Who sends a little again and again is cut off in time."""
        for begin in (b"GET / HTTP/1.1\r\n", b"POST / HTTP/1.1\r\nContent-Length: 1000\r\n\r\n"):
            protocol, transport = self.connect()
            protocol.dataReceived(begin)
            for _ in range(LONGEST):
                self.assertFalse(transport.disconnected)
                protocol.dataReceived(b"x")
                self.reactor.advance(1)
            self.assertTrue(transport.disconnected)

    def test_most(self) -> None:
        """Those that are too many are let go; when others have gone they are served again."""
        first, _ = self.connect()
        for _ in range(MOST - 1):
            self.connect()
        self.assertIsNone(self.site.buildProtocol(LOCAL))
        first.connectionLost(Failure(ConnectionDone()))
        self.assertIsNotNone(self.site.buildProtocol(LOCAL))


class HostTests(SiteCase):
    """DNS rebinding: a page may ask under a name of its own that points here."""

    LOCALS = ("localhost", "LocalHost:80", "127.0.0.1", "127.0.0.1:4701", "127.1.2.3:1", "[::1]", "[::1]:4701")
    OTHERS = (
        "evil.example",
        "evil.example:4701",
        "localhost.evil.example",
        "127.evil.example",
        "127.0.0.1.evil.example",
        "evil.example@localhost",
        "localhost:4701:80",
        "::1",
        "[::1",
        "[::2]",
        "[127.0.0.1.2]",
        "10.0.0.1",
        "0.0.0.0",
        "2130706433",
        "localhost:80 evil",
        "",
    )

    def test_names(self) -> None:
        """Which names can only mean this machine."""
        self.assertEqual([name for name in self.LOCALS if not namesLoopback(name.encode())], [])
        self.assertEqual([name for name in self.OTHERS if namesLoopback(name.encode())], [])
        self.assertFalse(namesLoopback(b"\xff\xfe"))

    def test_refused(self) -> None:
        """Under another name nothing is told, whatever is asked; under no name neither."""
        for name in self.OTHERS:
            for path in ("/", "/metrics", "/other"):
                answer = self.get(path, host=name)
                self.assertEqual((answer.code, answer.body.count(b"\n")), (421, 1), name)
        self.assertEqual(answer.status, "HTTP/1.1 421 Misdirected Request")
        self.assertEqual(self.send("GET / HTTP/1.0").code, 421)

    def test_local(self) -> None:
        """Under names of this machine it is."""
        for name in self.LOCALS:
            self.assertEqual(self.get(host=name).code, 200, name)

    def test_first(self) -> None:
        """Of two names none is believed that comes second."""
        self.assertNotEqual(self.send("GET / HTTP/1.1", "Host: evil.example", "Host: localhost").code, 200)

    def test_elsewhere(self) -> None:
        """A program that listens for others answers to every name."""
        self.site = StatusSite(self.status, self.reactor, local=False)
        self.assertEqual(self.get(host="server.example").code, 200)


class MetricsTests(SiteCase):
    """What Prometheus reads."""

    def snapshot(self, *sessions: dict[str, Any]) -> dict[str, Any]:
        """A snapshot of sessions that differ from C{SESSION} so."""
        found = self.status.snapshot()
        found["totals"] |= {name: number for number, name in enumerate(found["totals"], 10)}
        return found | {"sessions": [SESSION | session for session in sessions]}

    def samples(self, snapshot: dict[str, Any], accept: str = "") -> dict[tuple[str, tuple[str, ...]], float]:
        """What a parser makes of it, by name and labels."""
        kind, body = exposition(snapshot, accept)
        read = read_open_metrics if "openmetrics" in kind else read_plain
        families = list(read(body.decode("utf-8")))
        self.assertTrue(all(family.documentation for family in families))
        return {
            (sample.name, tuple(sample.labels.values())): sample.value
            for family in families
            for sample in family.samples
        }

    def test_oddAccept(self) -> None:
        """A field that nobody can read is disregarded, and nothing is logged."""
        for accept in (
            "\xff\xfe",
            "text/plain;version=a.b.c",
            "application/openmetrics-text;version=;escaping=",
            ";=,",
        ):
            answer = self.get("/metrics", f"Accept: {accept}")
            self.assertEqual(answer.code, 200)
            self.assertIn(b"hypermail_uptime_seconds", answer.body)

    def test_page(self) -> None:
        """/metrics is in the format that is asked for."""
        answer = self.get("/metrics")
        self.assertEqual(answer.code, 200)
        self.assertTrue(answer.fields["content-type"].startswith("text/plain; version="))
        self.assertIn(f'hypermail_info{{version="{__version__}"}} 1.0'.encode(), answer.body)
        answer = self.get("/metrics", "Accept: application/openmetrics-text; version=1.0.0")
        self.assertTrue(answer.fields["content-type"].startswith("application/openmetrics-text"))
        self.assertTrue(answer.body.endswith(b"# EOF\n"))

    def test_workers(self) -> None:
        """Of each worker how many sessions it has, and how often it was started again."""
        snapshot = self.snapshot()
        self.assertNotIn(("hypermail_worker_sessions", ("0",)), self.samples(snapshot))
        snapshot["program"]["workers"] = [
            {"worker": 0, "sessions_open": 7, "restarts": 2},
            {"worker": 1, "sessions_open": None, "restarts": 0},
        ]
        found = self.samples(snapshot)
        self.assertEqual([found["hypermail_worker_sessions", (number,)] for number in "01"], [7, 0])
        self.assertEqual([found["hypermail_worker_restarts_total", (number,)] for number in "01"], [2, 0])

    def test_totals(self) -> None:
        """Every total is a counter, but how many sessions are open."""
        snapshot = self.snapshot()
        for accept in ("", "application/openmetrics-text"):
            found = self.samples(snapshot, accept)
            totals = dict(snapshot["totals"])
            self.assertTrue(set(COUNTERS) < set(totals))
            del totals["sessions_open"]
            self.assertEqual({name: found[f"hypermail_{name}_total", ()] for name in totals}, totals)

    def test_sessions(self) -> None:
        """Open sessions by kind, and sums over them; nothing for each."""
        found = self.samples(self.snapshot({}, {}, {"state": "closing"}, {"mode": "plain", "cipher": None}))
        kinds = {labels: value for (name, labels), value in found.items() if name == "hypermail_sessions"}
        self.assertEqual(
            {frozenset(labels): value for labels, value in kinds.items()},
            {
                frozenset(("tls", "AES-128-GCM", "open")): 2,
                frozenset(("tls", "AES-128-GCM", "closing")): 1,
                frozenset(("plain", "none", "open")): 1,
            },
        )
        sums = {"streams": 8, "streams_paused": 4, "messages_queued": 12}
        self.assertEqual({name: found[f"hypermail_{name}", ()] for name in sums}, sums)
        self.assertEqual(found["hypermail_in_flight_bytes", ()], 4_800)
        self.assertEqual(found["hypermail_congestion_window_bytes", ()], 48_000)
        self.assertEqual(len(self.samples(self.snapshot(*[{}] * 500))), len(self.samples(self.snapshot({}))))

    def test_roundTrips(self) -> None:
        """How round trips are distributed; those that were not measured count for nothing, bounds are inclusive."""
        found = self.samples(self.snapshot(*({"rtt": rtt} for rtt in (0.0005, 0.001, 0.3, 7.0, None))))
        buckets = {
            labels[0]: value for (name, labels), value in found.items() if name == "hypermail_rtt_seconds_bucket"
        }
        self.assertEqual(len(buckets), len(ROUND_TRIPS) + 1)
        self.assertEqual(
            [buckets[bound] for bound in ("0.001", "0.0025", "0.25", "0.5", "2.5", "+Inf")], [2, 2, 2, 3, 3, 4]
        )
        self.assertAlmostEqual(found["hypermail_rtt_seconds_gsum", ()], 7.3015)
        self.assertEqual(found["hypermail_rtt_seconds_gcount", ()], 4)

    def test_without(self) -> None:
        """Without the extra it says in one line what to install; the rest goes on."""
        with patch.dict(sys.modules, {"prometheus_client": None, "prometheus_client.core": None}):
            sys.modules.pop("hypermail.services.metrics", None)
            answer = self.get("/metrics")
        self.assertEqual((answer.code, answer.body.count(b"\n")), (501, 1))
        self.assertIn(b"pip install 'hypermail[metrics]'", answer.body)
        self.assertEqual(self.get().code, 200)


class ServiceTests(SynchronousTestCase):
    """The socket."""

    def setUp(self) -> None:
        self.reactor: Any = MemoryReactorClock()
        self.status = Status(self.reactor.seconds, lambda: datetime(2026, 11, 21, tzinfo=UTC))
        self.lines = logged(self)

    def start(self, host: str = "127.0.0.1", *, privileged: bool = False) -> StatusService:
        """Start a service."""
        service = StatusService(self.reactor, self.status, Destination(host, 4701))
        if privileged:
            service.privilegedStartService()
            self.assertEqual(len(self.reactor.tcpServers), 1)
        service.startService()
        return service

    def test_loopback(self) -> None:
        """It listens where it was told, once, and says where; only local names are answered there."""
        for privileged in (False, True):
            self.setUp()
            service = self.start(privileged=privileged)
            ((port, site, _, interface),) = self.reactor.tcpServers
            self.assertEqual((port, interface), (4701, "127.0.0.1"))
            self.assertTrue(site.wrappedFactory.resource._local)
            self.assertTrue(any(line.startswith("status at http://127.0.0.1:") for line in self.lines), self.lines)
            self.assertFalse(any("anybody" in line for line in self.lines))
            service.stopService()
            service.stopService()

    def test_elsewhere(self) -> None:
        """It may listen elsewhere, and warns of it."""
        for host, local in (("0.0.0.0", False), ("10.0.0.1", False), ("::", False), ("::1", True), ("127.8.0.1", True)):
            self.setUp()
            self.start(host)
            ((_, site, _, interface),) = self.reactor.tcpServers
            self.assertEqual((interface, site.wrappedFactory.resource._local), (host, local))
            self.assertEqual(any("anybody who reaches" in line for line in self.lines), not local)

    def test_inUse(self) -> None:
        """A port that cannot be had ends the start with one line that names the option."""

        def refuse(port: int, factory: object, backlog: int = 50, interface: str = "") -> None:
            raise CannotListenError(interface, port, OSError(98, os.strerror(98)))

        self.reactor.listenTCP = refuse
        error = self.assertRaises(CannotStart, self.start)
        self.assertEqual(error.text, f"--status-port: cannot listen on TCP port 4701 of 127.0.0.1: {os.strerror(98)}")
