"""
Tests of L{hypermail.services.status}: what is told of sessions, in the simulated network.
"""

from __future__ import annotations

import gc
import json
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from weakref import ref

from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from hypermail._version import __version__
from hypermail.errors import Reason, SessionClosed, SessionKilled, SessionRejected
from hypermail.interfaces import ISession
from hypermail.internet.address import HypermailAddress
from hypermail.internet.security import ListenerTLS, Plain, Security, SharedSecret, StarterTLS
from hypermail.options import Options
from hypermail.services import status
from hypermail.services.status import COUNTERS, LONGEST_NAME, SPACING, WINDOW, Status
from hypermail.services.taking import ListenerSessions
from hypermail.test.certificates import issue
from hypermail.test.securing import AUTHORITY, DELAY, NAME, NOW, SELF_MADE, STARTER, STRANGER
from hypermail.test.sessions import CLIENT, PORT, SERVER, Hosts
from hypermail.testing import Conditions

BEGINNING = datetime(2026, 11, 21, 12, tzinfo=UTC)
LISTENING = ListenerTLS(SELF_MADE)
PINNED = StarterTLS(pin=SELF_MADE.pin)
SECRET = SharedSecret(b"between the two of us " * 2)
PLAIN = Plain(allowRemote=True)


class StatusCase(SynchronousTestCase):
    """An echoing listener in the simulated network, that is looked at."""

    def listen(self, security: Security = LISTENING, **settings: Any) -> None:
        """Begin."""
        self.hosts = hosts = Hosts(Conditions(delay=DELAY))
        self.addCleanup(hosts.end)
        hosts.client.nameResolver.names[NAME] = [SERVER]
        network = hosts.network
        self.status = Status(lambda: network.now, lambda: BEGINNING + timedelta(seconds=network.now))
        sessions: Any = ListenerSessions(echo=True)
        sessions.status = self.status
        hosts.listening = sessions
        self.status.listening(hosts.listen(security=security, **settings))

    def start(self, security: Security = PINNED, **settings: Any) -> Any:
        """Open a session; the starter's side."""
        protocol = self.hosts.run(self.hosts.ask(NAME, security=security, **settings))
        self.hosts.settle(DELAY)
        return protocol.session

    def look(self) -> dict[str, Any]:
        """What is told now; it survives JSON."""
        found = self.status.snapshot()
        self.assertEqual(json.loads(json.dumps(found, allow_nan=False)), found)
        return found

    def session(self) -> dict[str, Any]:
        """What is told of the only session."""
        (found,) = self.look()["sessions"]
        self.assertIsInstance(found, dict)
        one: dict[str, Any] = found
        return one

    def totals(self, *names: str) -> list[int]:
        """Some of the totals."""
        found = self.look()["totals"]
        return [found[name] for name in names]


class SnapshotTests(StatusCase):
    """What is told."""

    def test_nobody(self) -> None:
        """Without sessions: the program, and that there was nothing."""
        self.listen()
        self.hosts.settle(2.5)
        found = self.look()
        self.assertEqual(
            found["program"],
            {
                "version": __version__,
                "since": "2026-11-21T12:00:00+00:00",
                "uptime": 2.5,
                "listening": [f"{SERVER}:{PORT}"],
            },
        )
        self.assertEqual((set(found["totals"].values()), found["sessions"]), ({0}, []))
        self.assertEqual(found["rates"], {"bytes_sent": 0.0, "bytes_received": 0.0, "seconds": 2.5})

    def test_modes(self) -> None:
        """How each session is sealed, and whose it is, as far as it has proved that."""
        known = StarterTLS(pin=SELF_MADE.pin, identity=STARTER)
        for listening, starting, expected in (
            (ListenerTLS(SELF_MADE), known, ["tls", STARTER.pin, "starter"]),
            (ListenerTLS(SELF_MADE), PINNED, ["tls", None, None]),
            (SECRET, SECRET, ["secret", None, None]),
            (PLAIN, PLAIN, ["plain", None, None]),
        ):
            self.listen(listening)
            session = self.start(starting)
            for _ in range(2):
                found = self.session()
                self.assertEqual([found[name] for name in ("mode", "pin", "name")], expected)
            self.assertEqual(found["id"], session.sessionID.hex())
            self.assertEqual(found["address"], f"{CLIENT}:{session.getHost().port}")
            ciphers = {
                "tls": ("AES-128-GCM", "AES-256-GCM", "ChaCha20-Poly1305"),
                "secret": ("AES-256-GCM",),
                "plain": (None,),
            }
            self.assertIn(found["cipher"], ciphers[found["mode"]])

    def test_longName(self) -> None:
        """What a peer calls itself is not told beyond its beginning."""
        self.listen()
        name = "x" * LONGEST_NAME
        shown = issue(AUTHORITY, name, now=NOW, client=True)
        self.start(StarterTLS(pin=SELF_MADE.pin, identity=shown))
        self.assertEqual(self.session()["name"], name)
        self.patch(status, "LONGEST_NAME", 5)
        self.start(StarterTLS(pin=SELF_MADE.pin, identity=shown))
        self.assertEqual(self.look()["sessions"][1]["name"], "xxxxx")

    def test_path(self) -> None:
        """What is known of the path, and since when."""
        self.listen()
        self.hosts.settle(90)
        session = self.start()
        opened = self.hosts.network.now - DELAY
        self.hosts.run(session.sendMessage(b"x" * 50_000))
        self.hosts.settle()
        found = self.session()
        self.assertLess(abs(found["rtt"] - 2 * DELAY), 0.03)
        self.assertEqual((found["congestion"], found["state"], found["way"]), ("cubic", "open", "two_way"))
        self.assertGreaterEqual(found["mtu"], 1_200)
        self.assertGreaterEqual(found["window"], 10_000)
        self.assertEqual([found[name] for name in ("in_flight", "messages_queued", "moves")], [0, 0, 0])
        self.assertEqual(found["since"], "2026-11-21T12:01:30+00:00")
        self.assertLessEqual(abs(found["age"] - (self.hosts.network.now - opened)), 2 * DELAY)

    def test_counters(self) -> None:
        """What was carried, the same on both sides."""
        plainly = Options(discover_mtu=False)  # no probes, which the network drops
        self.listen(options=plainly)
        session = self.start(options=plainly)
        self.hosts.run(session.sendMessage(b"lane 0"))
        self.hosts.run(session.sendMessage(b"lane 3", lane=3))
        streams = [self.hosts.run(session.openStream(Factory.forProtocol(Protocol))) for _ in range(3)]
        streams[0].transport.abortConnection()
        self.hosts.settle()
        found, ours = self.session(), session.statistics()
        for name, other in (("sent", "received"), ("received", "sent")):
            for kind in ("bytes", "datagrams", "messages"):
                self.assertEqual(found["counters"][f"{kind}_{name}"], ours[f"{kind}_{other}"])
        self.assertEqual(found["counters"]["messages_received"], 2)
        self.assertEqual((found["counters"]["streams_opened"], found["streams"]), (3, 2))
        self.assertEqual(found["streams_paused"], 0)
        self.assertEqual(ours["streams_opened"], 3)
        self.assertEqual(set(found["counters"]), set(COUNTERS))

    def test_lost(self) -> None:
        """What the network loses is counted."""
        self.listen()
        session = self.start()
        self.hosts.network.set_conditions(Conditions(delay=DELAY, loss=0.3))
        for _ in range(40):
            session.sendMessage(b"x" * 1_000)
        self.hosts.settle(20)
        self.hosts.network.set_conditions(Conditions(delay=DELAY))  # the listener's last word is said once
        counters = self.session()["counters"]
        self.assertGreater(counters["datagrams_lost"], 0)
        self.assertGreater(counters["bytes_lost"], counters["datagrams_lost"])

    def test_order(self) -> None:
        """The oldest comes first."""
        self.listen()
        ids = [self.start().sessionID.hex() for _ in range(3)]
        self.assertEqual([one["id"] for one in self.look()["sessions"]], ids)


class EndTests(StatusCase):
    """Sessions that are over."""

    NAMES = ("sessions_open", "sessions_opened", "sessions_closed", "sessions_lost")

    def test_ends(self) -> None:
        """Sessions that were closed in order are parted from those that were not; all leave their counters."""
        self.listen()
        sessions = [self.start() for _ in range(3)]
        self.hosts.run(sessions[2].sendMessage(b"x" * 1_000))
        self.assertEqual(self.totals(*self.NAMES), [3, 3, 0, 0])
        before = self.totals(*COUNTERS)
        self.hosts.run(sessions[0].close())
        sessions[1].abort("enough")
        self.hosts.settle()
        self.assertEqual(self.totals(*self.NAMES), [1, 3, 1, 1])
        for earlier, later in zip(before, self.totals(*COUNTERS), strict=True):
            self.assertGreaterEqual(later, earlier)
        self.assertEqual(len(self.look()["sessions"]), 1)
        self.hosts.run(sessions[2].close())
        self.hosts.settle()
        self.assertEqual(self.totals("messages_received", "messages_sent"), [1, 1])
        self.assertGreater(self.totals("bytes_received")[0], 3_000)

    def test_endingMeanwhile(self) -> None:
        """A session that has ended, and whose end nobody has told yet, is no trouble."""
        self.listen()
        session = self.start()
        self.look()
        (protocol,) = self.hosts.listening.open  # type: ignore[attr-defined]
        protocol.session.connection.abort(Reason.APPLICATION, "", now=self.hosts.network.now)
        self.assertEqual(self.session()["state"], "ended")
        session.abort()
        self.hosts.settle()

    def test_forgotten(self) -> None:
        """Of a session that is over nothing is held."""
        self.listen()
        self.start()
        self.look()
        (protocol,) = self.hosts.listening.open  # type: ignore[attr-defined]
        gone = ref(protocol)
        protocol.session.abort()
        del protocol
        self.hosts.settle(60)
        gc.collect()
        self.assertIsNone(gone())
        self.assertEqual((self.status._open, self.totals(*self.NAMES)), ({}, [0, 1, 0, 1]))

    def test_unknown(self) -> None:
        """An end that comes twice, or of a session that was never added, counts for nothing."""
        self.listen()
        session = self.start()
        self.status.remove(session, Failure(SessionClosed()))
        self.status.add(session)
        for _ in range(2):
            self.status.remove(session, Failure(SessionKilled("x")))
        self.assertEqual(self.totals(*self.NAMES), [1, 2, 0, 1])

    def test_neverOpened(self) -> None:
        """A session that was accepted and did not open counts for nothing."""
        self.listen()
        protocol: Any = self.hosts.listening.buildProtocol(HypermailAddress(CLIENT, 1))
        protocol.sessionLost(Failure(SessionKilled("x")))
        self.assertEqual(self.totals(*self.NAMES), [0, 0, 0, 0])

    def test_refused(self) -> None:
        """Strangers that were refused are counted, and those that did not come so far, each kind by itself."""
        self.listen(ListenerTLS(SELF_MADE, allow=[STARTER.pin]))
        refused = self.hosts.ask(NAME, security=PINNED)
        self.hosts.settle()
        self.failureResultOf(refused, SessionRejected)
        for _ in range(2):
            self.hosts.ask(NAME, security=StarterTLS(pin=STRANGER.pin)).addErrback(lambda _: None)
        self.hosts.settle()
        self.assertEqual(self.totals("sessions_refused", "handshakes_failed"), [1, 2])
        self.assertEqual(self.totals(*self.NAMES), [0, 0, 0, 0])


class Counting:
    """The part of L{hypermail.interfaces.ISession} that is looked at; it has sent and received so many bytes."""

    sessionID = b"id"

    def __init__(self) -> None:
        self.sent = self.received = 0

    def statistics(self) -> dict[str, Any]:
        """See L{ISession}."""
        others = ("mode", "cipher", "state", "way", "rtt", "window", "in_flight", "congestion", "mtu", "streams")
        found = dict.fromkeys((*COUNTERS, *others, "streams_paused_by_peer", "messages_queued", "moves"), 0)
        return found | {"bytes_sent": self.sent, "bytes_received": self.received}

    def peerCertificate(self) -> None:
        """See L{ISession}."""

    def getPeer(self) -> str:
        """See L{ISession}."""
        return "peer"


class RateTests(SynchronousTestCase):
    """Bytes per second."""

    def setUp(self) -> None:
        self.now = 100.0
        self.status = Status(lambda: self.now, lambda: BEGINNING)
        self.counting = Counting()
        self.status.add(cast(ISession, self.counting))

    def look(self, after: float, sent: int = 0) -> tuple[float, float]:
        """Some time later, after so many bytes more: the rate, and over how long it was measured."""
        self.now += after
        self.counting.sent += sent
        self.counting.received += 2 * sent
        found = self.status.snapshot()
        (session,) = found["sessions"]
        self.assertEqual(session["rates"], found["rates"])
        self.assertAlmostEqual(found["rates"]["bytes_received"], 2 * found["rates"]["bytes_sent"])
        return found["rates"]["bytes_sent"], found["rates"]["seconds"]

    def test_first(self) -> None:
        """The first look measures from the beginning; in no time there is no rate."""
        self.assertEqual(self.look(0, 1_000), (0.0, 0.0))
        self.assertEqual(self.look(100, 0), (10.0, 100.0))

    def test_eachSecond(self) -> None:
        """Who looks each second sees the last seconds, and not what was before."""
        self.look(1_000, 10**9)
        self.assertEqual(self.look(1, 500), (500.0, 1.0))
        for second in range(2, 20):
            rate, seconds = self.look(1, 500)
            self.assertEqual((rate, seconds), (500.0, min(second, WINDOW)))
        self.assertEqual(self.look(1), (400.0, WINDOW))

    def test_seldom(self) -> None:
        """Who looks seldom sees what was since the last look."""
        for _ in range(3):
            self.assertEqual(self.look(15, 1_500), (100.0, 15.0))

    def test_together(self) -> None:
        """One who looks seldom and one who looks a moment later both see a rate, and not the noise of the moment."""
        self.look(15, 1_500)
        for _ in range(3):
            self.assertEqual(self.look(15, 1_500), (100.0, 15.0))
            rate, _ = self.look(SPACING / 2, 0)
            self.assertAlmostEqual(rate, 1_500 / (15 + SPACING / 2))
            self.now -= SPACING / 2

    def test_bounded(self) -> None:
        """However often somebody looks, a few looks are remembered, and the rate is of seconds."""
        for _ in range(10_000):
            _, seconds = self.look(0.001, 1)
        self.assertLessEqual(len(self.status._rates._looks), WINDOW / SPACING + 2)
        self.assertLessEqual(abs(seconds - WINDOW), 2 * SPACING)

    def test_ended(self) -> None:
        """What a session has carried goes on to count when it is over."""
        self.look(1, 500)
        self.counting.sent += 500
        self.now += 1
        self.status.remove(cast(ISession, self.counting), Failure(SessionClosed()))
        self.assertEqual(self.status.snapshot()["rates"]["bytes_sent"], 500.0)
