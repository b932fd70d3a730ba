"""
Tests for L{hypermail.internet.dialects}: the same session interface, whatever is spoken.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from hypermail.dialects.batch.dialect import Batch
from hypermail.dialects.dialect import Dialect
from hypermail.dialects.digest.dialect import Digest
from hypermail.dialects.digest.packets import DigestPayload
from hypermail.errors import (
    Delivered,
    HypermailError,
    MessageCancelled,
    MessageExpired,
    MessageRejected,
    MessageTooLarge,
    MessageUndelivered,
    NotSupported,
    PeerSilent,
    SessionAborted,
    SessionClosed,
    SessionLost,
    SessionRejected,
    SessionTimedOut,
    Unreachable,
    UsageError,
)
from hypermail.interfaces import ICarrierUser, ISession
from hypermail.internet.dialects import DialectDatagramProtocol
from hypermail.internet.endpoints import (
    HypermailClientEndpoint,
    HypermailServerEndpoint,
    SessionClientEndpoint,
    SessionServerEndpoint,
)
from hypermail.internet.security import Plain
from hypermail.options import Options
from hypermail.services.status import Status
from hypermail.services.watching import TITLES, checked, row
from hypermail.test.sessions import CLIENT, PORT, SERVER, RecordingFactory, RecordingProtocol, errorOf, logged
from hypermail.testing import Conditions, SimulatedNetwork

#: Names of the two sides in dialect C{digest}.
OURS = "ffeeddcc-bbaa-9988-7766-554433221100"
THEIRS = "00112233-4455-6677-8899-aabbccddeeff"


class Numbers:
    """A producer of messages: numbers, up to a last one."""

    def __init__(self, session: ISession, most: int) -> None:
        self._session = session
        self._next = 0
        self._most = most
        self._paused = False
        self.pauses = 0
        self.stopped = False

    def resumeProducing(self) -> None:
        self._paused = False
        while not self._paused and self._next < self._most:
            number, self._next = self._next, self._next + 1
            self._session.sendMessages([b"%06d" % number + bytes(500)])
        if self._next == self._most:
            self._session.unregisterProducer()

    def pauseProducing(self) -> None:
        self._paused = True
        self.pauses += 1

    def stopProducing(self) -> None:
        self.stopped = True


class DialectCase(SynchronousTestCase):
    """
    A listener and a starter on two simulated hosts.

    @cvar serving: the listener's dialect.
    @cvar calling: the starter's.
    """

    serving: Dialect
    calling: Dialect
    conditions = Conditions(delay=0.01)

    def setUp(self) -> None:
        self.network = SimulatedNetwork(1, self.conditions)
        self.server, self.client = self.network.reactor(SERVER), self.network.reactor(CLIENT)
        self.factory = RecordingFactory()
        self.asking = RecordingFactory()
        self.port = self.network.run_until(self.endpoint().listen(self.factory))
        self.addCleanup(self.stop)

    def endpoint(self, **changes: Any) -> SessionServerEndpoint:
        """The listener's."""
        return SessionServerEndpoint(self.server, PORT, dialect=self.serving, **changes)

    def stop(self) -> None:
        """Nothing is left in either reactor."""
        self.network.run_until(maybeDeferred(self.port.stopListening))
        self.network.advance(60)
        for reactor in (self.server, self.client):
            self.assertEqual(reactor.getDelayedCalls(), [])

    def ask(self) -> Deferred[Any]:
        """A Deferred of a session's starter."""
        return SessionClientEndpoint(self.client, SERVER, PORT, dialect=self.calling).connect(self.asking)

    def open(self) -> tuple[RecordingProtocol, RecordingProtocol]:
        """Both sides of an open session: the starter's, and the listener's."""
        ours: RecordingProtocol = self.network.run_until(self.ask())
        self.network.advance(0.2)
        return ours, self.factory.built[-1]

    def wait(self, deferred: Deferred[Any], kind: type[HypermailError]) -> Any:
        """The error that a Deferred fails with in time."""
        self.network.advance(30)
        return self.failureResultOf(deferred, kind).value


class SameInterface:
    """What holds in every dialect; mixed into L{DialectCase}."""

    def test_messages(self: Any) -> None:
        """Messages arrive whole, once, both ways; each Deferred fires when the other application has taken its own."""
        ours, theirs = self.open()
        for sender, receiver in ((ours, theirs), (theirs, ours)):
            done = Deferred[None]()
            receiver.answer = lambda message, done=done: done
            sending = sender.session.sendMessage(b"hello")
            self.network.advance(1)
            self.assertEqual(receiver.messages, [b"hello"])
            self.assertNoResult(sending)
            done.callback(None)
            self.network.advance(1)
            self.assertIsNone(self.successResultOf(sending))

    def test_interface(self: Any) -> None:
        """The session is an L{ISession}, with equal names on both sides, and addresses."""
        ours, theirs = self.open()
        for protocol in (ours, theirs):
            verifyObject(ISession, protocol.session)
        self.assertEqual(ours.session.sessionID, theirs.session.sessionID)
        self.assertEqual((ours.session.getPeer().host, theirs.session.getPeer().host), (SERVER, CLIENT))
        self.assertIsNone(ours.session.peerCertificate())
        found = ours.session.statistics()
        self.assertEqual((found["mode"], found["state"], found["carrier"]), (self.serving.name, "open", {}))
        verifyObject(ICarrierUser, DialectDatagramProtocol(dialect=self.calling))

    def test_datagrams(self: Any) -> None:
        """Direct messages arrive, unacknowledged, both ways; what does not fit is refused."""
        ours, theirs = self.open()
        for sender, receiver in ((ours, theirs), (theirs, ours)):
            sender.session.sendDatagram(b"now")
            self.network.advance(1)
            self.assertEqual(receiver.datagrams, [b"now"])
            self.assertRaises(MessageTooLarge, sender.session.sendDatagram, bytes(65_443))

    def test_notSupported(self: Any) -> None:
        """What the dialect cannot do fails with its name, and harms nothing."""
        ours, theirs = self.open()
        session = ours.session
        for waiting in (
            session.openStream(Factory()),
            session.ask(b"what?"),
            session.sendMessage(b"x", lane=1),
            session.sendMessage(b"x", note=b"y"),
        ):
            error = self.failureResultOf(waiting, NotSupported).value
            self.assertIn(f"dialect {self.serving.name} has no ", error.text)
        for call in (lambda: session.lane(1), lambda: session.lane(0, ordered=False), session.park):
            self.assertIn(f"dialect {self.serving.name} has no ", self.assertRaises(NotSupported, call).text)
        self.assertRaises(NotSupported, session.sendMessages, [b"x"], lane=2)
        self.assertFalse(session.durable)
        sending = session.sendMessage(b"still there")
        self.network.advance(1)
        self.successResultOf(sending)
        self.assertEqual(theirs.messages, [b"still there"])

    def test_rejected(self: Any) -> None:
        """A message that the application refuses is acknowledged, as there is no word for it, and counted."""
        ours, theirs = self.open()

        def refuse(message: bytes) -> None:
            raise MessageRejected("no")

        theirs.answer = refuse
        sending = ours.session.sendMessage(b"hello")
        self.network.advance(1)
        self.successResultOf(sending)
        self.assertEqual(theirs.session.statistics()["messages_refused"], 1)

    def test_close(self: Any) -> None:
        """Closing delivers what was sent before, then ends both sides gracefully."""
        for closing in (0, 1):
            sides = self.open()
            sent = [sides[closing].session.sendMessage(b"%d" % number) for number in range(50)]
            closed = sides[closing].session.close()
            refused = sides[closing].session.sendMessage(b"late")
            self.failureResultOf(refused, UsageError)
            self.network.advance(20)
            self.assertIsNone(self.successResultOf(closed))
            self.assertEqual([self.successResultOf(each) for each in sent], [None] * 50)
            self.assertEqual(len(sides[1 - closing].messages), 50)
            for side in sides:
                self.assertIsInstance(errorOf(side), SessionClosed)
            self.assertEqual(self.failureResultOf(sides[0].session.sendMessage(b"x")).value.delivered, Delivered.NO)

    def test_closeWhilePeerSends(self: Any) -> None:
        """A peer that sends on and on does not keep a close from its end, however slow the application is."""
        ours, theirs = self.open()
        ours.answer = lambda message: deferLater(self.client, 1.5, lambda: None)
        sending = []
        for number in range(60):
            if number == 9:
                closing = ours.session.close()
            sending.append(theirs.session.sendMessage(b"%d" % number).addErrback(lambda _: "lost"))
            self.network.advance(0.1)
        self.successResultOf(closing)
        self.assertLess(len(ours.messages), 15)
        for number, deferred in enumerate(sending):
            self.assertEqual(self.successResultOf(deferred) is None, b"%d" % number in ours.messages)

    def test_abort(self: Any) -> None:
        """Aborting ends both sides at once; what was on its way is undelivered."""
        ours, theirs = self.open()
        theirs.answer = lambda message: Deferred()
        sending = ours.session.sendMessage(b"hello")
        self.network.advance(0.5)
        theirs.session.abort("enough")
        error = self.wait(sending, MessageUndelivered)
        self.assertIs(error.delivered, Delivered.UNKNOWN)
        self.assertIsInstance(errorOf(theirs), SessionAborted)
        self.assertIsInstance(errorOf(ours), SessionLost)

    def test_cancel(self: Any) -> None:
        """A message that has not begun to leave is withdrawn when its Deferred is cancelled, or when it expires."""
        ours, theirs = self.open()
        theirs.answer = lambda message: Deferred()  # so that the window fills
        for _ in range(100):
            ours.session.sendMessage(bytes(900)).addErrback(lambda _: None)
        cancelled = ours.session.sendMessage(b"cancelled")
        expired = ours.session.sendMessage(b"expired", expires=0.5)
        self.network.advance(0.1)
        cancelled.cancel()
        self.failureResultOf(cancelled, MessageCancelled)
        self.network.advance(1)
        self.failureResultOf(expired, MessageExpired)
        theirs.answer = lambda message: None
        ours.session.abort()
        self.network.advance(1)
        self.assertNotIn(b"cancelled", theirs.messages)
        self.assertNotIn(b"expired", theirs.messages)

    def test_producer(self: Any) -> None:
        """A producer of messages is paused and resumed, and all that it produces arrives."""
        ours, theirs = self.open()
        producer = Numbers(ours.session, 4_000)
        ours.session.registerProducer(producer, True)
        producer.resumeProducing()
        closed = ours.session.close()
        self.network.advance(600)
        self.assertIsNone(self.successResultOf(closed))
        self.assertEqual(sorted(message[:6] for message in theirs.messages), [b"%06d" % n for n in range(4_000)])
        self.assertGreater(producer.pauses, 0)

    def test_ping(self: Any) -> None:
        """A starter can measure the round trip."""
        ours, _ = self.open()
        pinging = ours.session.ping()
        self.network.advance(1)
        self.assertAlmostEqual(self.successResultOf(pinging), 0.02, places=3)
        lost = ours.session.ping()
        ours.session.abort()
        self.network.advance(0)
        self.failureResultOf(lost, SessionAborted)

    def test_nobody(self: Any) -> None:
        """Where nobody answers, asking fails after connection_timeout; it can be cancelled before."""
        self.network.run_until(self.port.stopListening())
        self.wait(self.ask(), SessionTimedOut)
        asking = self.ask()
        self.network.advance(0.1)
        asking.cancel()
        self.network.advance(1)
        self.failureResultOf(asking, CancelledError, SessionAborted)
        self.assertEqual([protocol.calls for protocol in self.asking.built], [["sessionLost"]] * 2)

    def test_refused(self: Any) -> None:
        """A listener's application may refuse, at once or later; whom it takes it hears of once."""

        def no(request: Any) -> None:
            raise SessionRejected("not you")

        self.factory.decide = no
        self.ask().addErrback(lambda failure: failure.trap(SessionLost))  # batch has a session for a moment
        self.network.advance(30)
        self.assertIsInstance(self.asking.built[0].reason.value, SessionLost)
        self.assertEqual(self.factory.built, [])
        later = Deferred[None]()
        self.factory.decide = lambda request: later
        asking = self.ask()
        asking.addErrback(lambda _: None)
        self.network.advance(2)
        later.callback(None)
        self.network.advance(10)
        self.assertEqual([protocol.calls[0] for protocol in self.factory.built], ["sessionOpened"])

    def test_otherText(self: Any) -> None:
        """A listener is found by its address, however that is written."""
        server, client = (self.network.reactor(f"2001:db8::{number}") for number in (1, 2))
        listening = SessionServerEndpoint(server, PORT, interface="2001:db8::1", dialect=self.serving)
        port = self.network.run_until(listening.listen(RecordingFactory()))
        endpoint = SessionClientEndpoint(client, "2001:0DB8:0::1", PORT, dialect=self.calling)
        ours = self.network.run_until(endpoint.connect(self.asking))
        self.assertEqual(ours.session.getPeer().host, "2001:db8::1")
        self.network.run_until(maybeDeferred(port.stopListening))

    def test_status(self: Any) -> None:
        """What a program tells of its sessions is what C{hypermail status} understands."""
        status = Status(lambda: self.network.now, lambda: datetime(2026, 11, 22, tzinfo=UTC))
        ours, theirs = self.open()
        for protocol in (ours, theirs):
            status.add(protocol.session)
        ours.session.sendMessage(b"hello")
        self.network.advance(1)
        found = checked(json.loads(json.dumps(status.snapshot())))
        for session in found["sessions"]:
            cells = dict(zip(TITLES, row(session), strict=True))
            self.assertEqual(
                [cells[name] for name in ("mode", "cipher", "control")], [self.serving.name, "none", "none"]
            )

    def test_silent(self: Any) -> None:
        """When the other side is gone without a word, both sides hear of it by their pings."""
        ours, theirs = self.open()
        sending = ours.session.sendMessage(b"x" * 900)
        self.network.set_conditions(Conditions(loss=1.0))
        self.network.advance(60)
        self.assertIsInstance(errorOf(ours), PeerSilent)
        self.assertIsInstance(errorOf(theirs), PeerSilent)
        self.failureResultOf(sending, MessageUndelivered)

    def test_idle(self: Any) -> None:
        """An idle session lives as long as both sides do."""
        ours, theirs = self.open()
        self.network.advance(600)
        self.assertEqual((ours.calls, theirs.calls), (["sessionOpened"], ["sessionOpened"]))

    def test_stopped(self: Any) -> None:
        """A listener that stops ends its sessions, and says so."""
        ours, theirs = self.open()
        self.network.run_until(self.port.stopListening())
        self.network.advance(1)
        self.assertIsInstance(errorOf(theirs), SessionAborted)
        self.assertIsInstance(errorOf(ours), SessionLost)

    def test_manySessions(self: Any) -> None:
        """Starters on other hosts have sessions of their own."""
        opened = []
        for number in range(20):
            reactor = self.network.reactor(f"10.0.1.{number + 1}")
            endpoint = SessionClientEndpoint(reactor, SERVER, PORT, dialect=self.other(number))
            opened.append(self.network.run_until(endpoint.connect(self.asking)))
        self.network.advance(0.2)
        for number, protocol in enumerate(opened):
            protocol.session.sendMessage(b"%d" % number)
        self.network.advance(2)
        self.assertEqual(sorted(len(protocol.messages) for protocol in self.factory.built), [1] * 20)
        for protocol in opened:
            protocol.session.close()
        self.network.advance(10)

    def test_log(self: Any) -> None:
        """The log says that nothing is encrypted."""
        self.network.run_until(self.port.stopListening())
        lines = logged(self)
        self.port = self.network.run_until(self.endpoint().listen(self.factory))
        self.assertIn(f"in dialect {self.serving.name}, which does not encrypt", "\n".join(lines))

    def test_faults(self: Any) -> None:
        """A session that the dialect fails on ends, and harms no other."""
        ours, theirs = self.open()
        connection: Any = theirs.session.connection
        connection._fill = lambda now: 1 / 0
        ours.session.sendMessage(b"x").addErrback(lambda _: None)
        self.network.advance(1)
        self.assertGreaterEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(theirs.calls[-1], "sessionLost")
        self.network.advance(60)

    def test_statistics(self: Any) -> None:
        """What becomes of datagrams that nobody has a use for is counted by its reason."""
        self.network.send((CLIENT, 1), (SERVER, PORT), [b"\xff" * 70])
        self.network.advance(1)
        found = self.port.statistics()
        self.assertEqual(found["dropped"], 1)
        self.assertEqual(sum(count for cause, count in found.items() if cause.startswith("dropped_")), 1)


class BatchSessionTests(SameInterface, DialectCase):
    """Dialect C{batch}."""

    serving = calling = Batch()

    def other(self, number: int) -> Dialect:
        """Another starter's."""
        return Batch()

    def test_large(self) -> None:
        """A message of many packets, and an empty one."""
        ours, theirs = self.open()
        large = bytes(range(256)) * 400
        ours.session.sendMessage(large)
        ours.session.sendMessage(b"")
        self.network.advance(10)
        self.assertEqual(sorted(theirs.messages), [b"", large])

    def test_pingBothWays(self) -> None:
        """Both sides can ping."""
        _, theirs = self.open()
        pinging = theirs.session.ping()
        self.network.advance(1)
        self.assertAlmostEqual(self.successResultOf(pinging), 0.02, places=3)

    def test_rate(self) -> None:
        """The shaper holds what is sent to its rate, and is off unless asked for."""
        self.calling = Batch(max_rate=80_000)
        ours, theirs = self.open()
        for _ in range(100):
            ours.session.sendMessage(bytes(900))
        self.network.advance(5)
        self.assertTrue(45 <= len(theirs.messages) <= 60, len(theirs.messages))
        self.network.advance(10)
        self.assertEqual(len(theirs.messages), 100)


class DigestSessionTests(SameInterface, DialectCase):
    """Dialect C{digest}."""

    serving = Digest(uuid=OURS, secret=b"server", secrets=lambda uuid: b"client " + uuid.encode())
    calling = Digest(uuid=THEIRS, secret=b"client " + THEIRS.encode(), secrets={OURS: b"server"})

    def other(self, number: int) -> Dialect:
        """Another client's."""
        uuid = f"{number:08x}{THEIRS[8:]}"
        return Digest(uuid=uuid, secret=b"client " + uuid.encode(), secrets={OURS: b"server"})

    def test_custom(self) -> None:
        """A message may bear a custom id, and all that is received tells its own."""
        ours, theirs = self.open()
        theirs.answer = lambda message: theirs.session.sendMessages([message])
        ours.session.sendMessage(DigestPayload(b"telemetry", custom=513))
        ours.session.sendMessage(b"plain")
        ours.session.sendDatagram(DigestPayload(b"direct", custom=65_535))
        self.network.advance(2)
        got: Any = sorted([*ours.messages, *theirs.datagrams])
        self.assertEqual([(bytes(each), each.custom) for each in got], [
            (b"direct", 65_535), (b"plain", 0), (b"telemetry", 513)
        ])  # fmt: skip

    def test_empty(self) -> None:
        """No packet may be empty."""
        ours, _ = self.open()
        self.failureResultOf(ours.session.sendMessage(b""), UsageError)
        self.assertRaises(UsageError, ours.session.sendDatagram, b"")

    def test_serverCannotPing(self) -> None:
        """Only clients ping."""
        _, theirs = self.open()
        self.assertIn("dialect digest", self.failureResultOf(theirs.session.ping(), NotSupported).value.text)

    def test_whoAsks(self) -> None:
        """The factory learns the client's UUID before it decides."""
        asked = []
        self.factory.decide = lambda request: asked.append(request.peer)
        self.open()
        self.assertEqual(asked, [THEIRS])

    def test_secretsLater(self) -> None:
        """A secret may be found later; one that is not known, or cannot be had, lets nobody in."""
        later: Deferred[Any] = Deferred()
        asked = []

        def find(uuid: str) -> Deferred[Any]:
            asked.append(uuid)
            return later

        self.serving = Digest(uuid=OURS, secret=b"server", secrets=find)
        self.network.run_until(maybeDeferred(self.port.stopListening))
        self.port = self.network.run_until(self.endpoint().listen(self.factory))
        asking = self.ask()
        self.network.advance(1)
        self.assertNoResult(asking)
        later.callback(b"client " + THEIRS.encode())
        self.network.advance(1)
        self.successResultOf(asking)
        self.assertEqual(asked, [THEIRS])

    def test_secretsFail(self) -> None:
        """The same when looking for it fails, which is logged."""
        self.serving = Digest(uuid=OURS, secret=b"server", secrets=lambda uuid: 1 / 0)
        self.network.run_until(maybeDeferred(self.port.stopListening))
        self.port = self.network.run_until(self.endpoint().listen(self.factory))
        self.wait(self.ask(), SessionRejected)
        self.assertGreaterEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_wrongSecret(self) -> None:
        """Who has another secret gets no session, and no word."""
        self.calling = Digest(uuid=THEIRS, secret=b"guess", secrets={OURS: b"server"})
        self.wait(self.ask(), SessionTimedOut)
        self.assertEqual(self.factory.built, [])

    def test_oneEach(self) -> None:
        """A client has one session with a server at a time."""
        self.open()
        self.wait(self.ask(), UsageError)

    def test_moves(self) -> None:
        """A client with a secret may come from another address."""
        ours, theirs = self.open()
        port = ours.session.getHost().port
        self.network.rebind((CLIENT, port), ("10.0.0.9", 999))
        self.network.advance(1)
        sending = theirs.session.sendMessage(b"where are you?")
        self.network.advance(1)
        self.successResultOf(sending)
        self.assertEqual(theirs.session.getPeer().host, "10.0.0.9")
        self.assertEqual(theirs.session.statistics()["moves"], 1)


class PlainDigestTests(SameInterface, DialectCase):
    """Dialect C{digest} without secrets."""

    serving = Digest(uuid=OURS, plain=True)
    calling = Digest(uuid=THEIRS, plain=True)

    def other(self, number: int) -> Dialect:
        """Another client's."""
        return Digest(plain=True)


class LossTests:
    """What holds on a bad network; mixed into L{DialectCase}."""

    conditions = Conditions(delay=0.01, jitter=0.01, loss=0.2, duplication=0.2, reordering=0.2)

    def test_lossy(self: Any) -> None:
        """A fifth of all datagrams is lost: every message arrives once, both ways, and the end is in order."""
        ours, theirs = self.open()
        for side in (ours, theirs):
            for number in range(500):
                side.session.sendMessage(b"%d " % number + bytes(number))
        self.network.advance(300)
        for side in (ours, theirs):
            self.assertEqual(sorted(int(message.split()[0]) for message in side.messages), list(range(500)))
        closed = ours.session.close()
        self.network.advance(60)
        self.assertIsNone(self.successResultOf(closed))


class LossyBatchTests(LossTests, DialectCase):
    """Dialect C{batch} on a bad network."""

    serving = calling = Batch(repeat_requests=True)


class LossyDigestTests(LossTests, DialectCase):
    """Dialect C{digest} on a bad network."""

    serving = DigestSessionTests.serving
    calling = DigestSessionTests.calling


class EndpointsTests(SynchronousTestCase):
    """What endpoints accept with a dialect."""

    def test_useless(self) -> None:
        """What dialects have no use for is refused with its name."""
        for name, value in {
            "security": Plain(),
            "options": Options(ping_interval=1),
            "traceDirectory": "d",
            "store": object(),
        }.items():
            for make in (
                lambda **more: SessionServerEndpoint(None, 1, dialect=Batch(), **more),
                lambda **more: SessionClientEndpoint(None, "h", 1, dialect=Batch(), **more),
            ):
                error = self.assertRaises(UsageError, make, **{name: value})
                self.assertIn(f"dialect batch has no use for {name}", error.text)
        self.assertRaises(UsageError, SessionClientEndpoint, None, "h", 1, dialect=Batch(), name="n")

    def test_incomplete(self) -> None:
        """A dialect that misses something says so at once."""
        for make in (SessionServerEndpoint, SessionClientEndpoint):
            where = (None, 1) if make is SessionServerEndpoint else (None, "h", 1)
            error = self.assertRaises(UsageError, make, *where, dialect=Digest())
            self.assertIn("--secret-file", error.text)
        self.assertRaises(UsageError, DialectDatagramProtocol, RecordingFactory(), dialect=Digest(secret=b"x"))

    def test_streams(self) -> None:
        """Endpoints for streams know no dialects, which have none."""
        self.assertRaises(NotSupported, HypermailServerEndpoint, None, 1, dialect=Batch())
        self.assertRaises(NotSupported, HypermailClientEndpoint, None, "h", 1, dialect=Batch())

    def test_listenersDontAsk(self) -> None:
        """A listener's socket asks for no sessions."""
        network = SimulatedNetwork()
        reactor = network.reactor(SERVER)
        protocol = DialectDatagramProtocol(RecordingFactory(), dialect=Batch())
        port: Any = reactor.listenUDP(1, protocol)
        self.assertRaises(UsageError, protocol.startSession, (CLIENT, 1), RecordingProtocol())
        network.run_until(maybeDeferred(port.stopListening))

    def test_unreachable(self) -> None:
        """A host that is not there cannot be asked."""
        network = SimulatedNetwork()
        endpoint = SessionClientEndpoint(network.reactor(CLIENT), "nowhere.example", 1, dialect=Batch())
        asking = endpoint.connect(RecordingFactory())
        network.advance(60)
        self.failureResultOf(asking, Unreachable)

    def test_sharedSocket(self) -> None:
        """Sessions of endpoints that are alike share a socket."""
        network = SimulatedNetwork()
        reactor = network.reactor(CLIENT)
        for host in ("10.0.0.7", "10.0.0.8"):
            for dialect in (Batch(), Digest(uuid=THEIRS, secret=b"x", secrets={OURS: b"y"})):
                endpoint = SessionClientEndpoint(reactor, host, 1, dialect=dialect)
                endpoint.connect(RecordingFactory()).addErrback(lambda _: None)
        network.advance(1)
        self.assertEqual(len(reactor.ports), 2)
        network.advance(60)
        self.assertEqual(len(reactor.ports), 0)


class ManyDirects:
    """What becomes of direct messages that come all at once; mixed into L{DialectCase}."""

    def test_manyDirects(self: Any) -> None:
        """Of one read so many are taken; the others are dropped, and counted."""
        _, theirs = self.open()
        connection: Any = theirs.session.connection
        taken = [connection.direct_arrived(b"x") for _ in range(300)]
        self.assertEqual((taken.count(True), connection.counters["directs_dropped"]), (256, 44))


class ManyDirectsBatchTests(ManyDirects, DialectCase):
    """Dialect C{batch}."""

    serving = calling = Batch()


class ManyDirectsDigestTests(ManyDirects, DialectCase):
    """Dialect C{digest}."""

    serving = DigestSessionTests.serving
    calling = DigestSessionTests.calling
