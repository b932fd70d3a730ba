"""
Tests of L{hypermail.internet.datagrams} and L{hypermail.internet.pump}: between a carrier and the core.
"""

from __future__ import annotations

import errno
from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from hypermail.connection import Connection
from hypermail.errors import MessageUndelivered, Reason, SessionAborted, SessionKilled, SessionRejected, Unreachable
from hypermail.interfaces import ICarrier, ICarrierUser
from hypermail.internet import datagrams
from hypermail.internet.address import HypermailAddress
from hypermail.internet.datagrams import HypermailDatagramProtocol
from hypermail.internet.security import Plain
from hypermail.link.train import Train
from hypermail.options import Options
from hypermail.test.sessions import PORT, SERVER, RecordingFactory, RecordingProtocol, RecordingStream, errorOf
from hypermail.testing import SimulatedNetwork
from hypermail.wire import header


@implementer(ICarrier)
class MemoryCarrier:
    """
    A carrier in memory, for as many sessions of one socket as a test wants.

    @ivar trains: what was sent, in order.
    @ivar room: how many trains it takes before it is full; None for any.
    """

    receiveBuffer: int | None = None
    ecn = True
    fragments = False
    largestDatagram = 65_535

    def __init__(self, clock: Any) -> None:
        self.reactor = clock
        self.trains: list[Train] = []
        self.room: int | None = None
        self.stopped = False

    def send(self, train: Train) -> bool:
        self.trains.append(train)
        if self.room is not None:
            self.room -= 1
        return self.room is None or self.room > 0

    def getHost(self) -> HypermailAddress:
        return HypermailAddress("127.0.0.1", 7)

    def statistics(self) -> dict[str, int]:
        return {"EIO": 3}

    def stop(self) -> None:
        self.stopped = True


class PairTests(SynchronousTestCase):
    """
    Two sockets whose carriers are in memory, so that tests see each train.
    """

    def setUp(self) -> None:
        network = SimulatedNetwork()
        self.clock = network.reactor(SERVER)
        self.network = network
        self.factory = RecordingFactory()
        self.listener = HypermailDatagramProtocol(self.factory, security=Plain())
        self.starter = HypermailDatagramProtocol(security=Plain())
        self.carriers = [MemoryCarrier(self.clock), MemoryCarrier(self.clock)]
        for protocol, carrier in zip((self.listener, self.starter), self.carriers):
            protocol.makeConnection(carrier)  # type: ignore[arg-type]
        self.addCleanup(self.stop)

    def stop(self) -> None:
        for protocol in (self.listener, self.starter):
            if protocol.numPorts:
                protocol.doStop()
        self.network.advance(0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def exchange(self, seconds: float = 0.5) -> None:
        """Carry trains to and fro for some time."""
        for _ in range(int(seconds * 100)):
            self.network.advance(0.01)
            self.carry(0)
            self.carry(1)

    def carry(self, number: int) -> None:
        """Carry what one side has sent to the other, in one read: the listener's (0) or the starter's (1)."""
        target, port = ((self.starter, PORT), (self.listener, 9))[number]
        trains, self.carriers[number].trains = self.carriers[number].trains, []
        datagrams = [memoryview(datagram) for train in trains for datagram in train.datagrams]
        if datagrams:
            target.datagramsReceived(datagrams, ("127.0.0.1", port))

    def begin(self) -> tuple[Any, RecordingProtocol]:
        """Open a session; the starter's side of it and its protocol."""
        protocol = RecordingProtocol()
        session = self.starter.startSession(("127.0.0.1", PORT), protocol)
        self.exchange()
        self.assertEqual(protocol.calls, ["sessionOpened"])
        return session, protocol

    def test_interface(self) -> None:
        """It is what a carrier brings datagrams to."""
        verifyObject(ICarrierUser, self.listener)

    def test_sessions(self) -> None:
        """Several sessions live on one socket."""
        sessions = [self.begin()[0] for _ in range(3)]
        sent = [session.sendMessage(b"%d" % number) for number, session in enumerate(sessions)]
        self.exchange()
        for deferred in sent:
            self.successResultOf(deferred)
        self.assertEqual([protocol.messages for protocol in self.factory.built], [[b"0"], [b"1"], [b"2"]])

    def test_forgotten(self) -> None:
        """Nothing is kept of sessions that are over."""
        session, _ = self.begin()
        closing = session.close()
        self.exchange()
        self.successResultOf(closing)
        for protocol in (self.starter, self.listener):
            self.assertEqual((len(protocol._demux), len(protocol.pump.sessions)), (0, 0))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_endsWhileSending(self) -> None:
        """A session that ends with the last that is sent is told in the same turn."""
        session, protocol = self.begin()
        trains = session.connection.trains

        def last(now: float) -> Any:
            session.connection.trains = trains
            session.connection.abort(now=now)
            return trains(now=now)

        session.connection.trains = last
        session.sendMessage(b"x").addErrback(lambda _: None)
        self.network.advance(0)
        self.assertEqual(protocol.calls, ["sessionOpened", "sessionLost"])

    def test_oneFlush(self) -> None:
        """Everything that a turn's calls have brought, for whatever session, is sent in one call of the reactor."""
        sessions = [self.begin()[0] for _ in range(3)]
        self.exchange()
        before = len(self.clock.getDelayedCalls())
        for session in sessions:
            for _ in range(5):
                session.sendMessage(b"x").addErrback(lambda _: None)
        self.assertEqual(len(self.clock.getDelayedCalls()), before + 1)
        self.assertEqual(self.carriers[1].trains, [])
        self.network.advance(0)
        self.assertEqual(len(self.carriers[1].trains), 3)

    def test_oneTimer(self) -> None:
        """However many sessions wait for something, the socket has one delayed call."""
        for _ in range(5):
            self.begin()
        self.network.advance(0.1)
        self.assertEqual(len(self.clock.getDelayedCalls()), 2)  # the listener's and the starter's

    def test_fullCarrier(self) -> None:
        """While the carrier is full nothing more is taken from the core; then everything goes on."""
        session, _ = self.begin()
        self.exchange()
        carrier = self.carriers[1]
        carrier.room = 1
        sent = session.sendMessage(b"x" * 500_000)
        self.network.advance(0)
        self.assertEqual(len(carrier.trains), 1)
        self.network.advance(5)
        more = session.sendMessage(b"y")
        self.network.advance(5)
        self.assertEqual(len(carrier.trains), 1)
        carrier.room = None
        self.starter.carrierWritable()
        self.exchange(3)
        self.successResultOf(sent)
        self.successResultOf(more)

    def test_stillFull(self) -> None:
        """A carrier that is full again at once stops it again."""
        sessions = [self.begin()[0] for _ in range(4)]
        self.exchange()
        carrier = self.carriers[1]
        carrier.room = 1
        for session in sessions:
            session.sendMessage(b"x").addErrback(lambda _: None)
        self.network.advance(0)
        for count in (1, 2, 3):
            self.assertEqual(len(carrier.trains), count)
            carrier.room = 1
            self.starter.carrierWritable()

    def test_brokenCore(self) -> None:
        """A fault inside the core is logged and ends that session only."""
        session, protocol = self.begin()
        other, others = self.begin()
        session.connection.trains = self.fail_
        sent = session.sendMessage(b"x")
        self.exchange()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)
        self.failureResultOf(sent, MessageUndelivered)
        self.assertEqual(protocol.calls, ["sessionOpened", "sessionLost"])
        working = other.sendMessage(b"y")
        self.exchange()
        self.successResultOf(working)
        self.assertEqual(others.calls, ["sessionOpened"])

    def fail_(self, *args: Any, **kwargs: Any) -> Any:
        raise ZeroDivisionError()

    def test_brokenEvents(self) -> None:
        """... even when not even its end can be told in order: then the application is told what is known."""
        session, protocol = self.begin()
        session.connection.next_event = self.fail_
        session.sendMessage(b"x").addErrback(lambda _: None)
        self.exchange()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)
        self.assertEqual(protocol.calls, ["sessionOpened", "sessionLost"])
        self.assertEqual(errorOf(protocol).code, Reason.INTERNAL_ERROR)

    def test_brokenWithStreams(self) -> None:
        """... and everybody who waits for a stream, or has one."""
        session, _ = self.begin()
        (theirs,) = self.factory.built
        made = [RecordingStream() for _ in range(2)]
        theirs.stream = lambda name, options: made[0]
        connecting = session.openStream(Factory.forProtocol(lambda: made[1]))
        self.exchange()
        self.successResultOf(connecting)
        cancelled: list[object] = []
        theirs.stream = lambda name, options: Deferred(cancelled.append)
        opening = session.openStream(Factory.forProtocol(RecordingStream))
        self.exchange()
        both: list[Any] = [session, theirs.session]
        for broken in both:
            broken.connection.next_event = self.fail_
            broken.abort()
        self.exchange()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 4)
        self.failureResultOf(opening, SessionAborted)
        self.assertEqual(len(cancelled), 1)
        for stream in made:
            self.assertEqual(stream.calls, ["connectionMade", "connectionLost"])

    def decidedTooLate(self, decide: Any) -> None:
        """A stranger gives up, in the same read that makes the application decide on it."""
        session, _ = self.begin()
        (theirs,) = self.factory.built
        decision: Deferred[None] = Deferred(lambda _: None)
        self.factory.decide = lambda request: decision
        stranger = self.starter.startSession(("127.0.0.1", PORT), RecordingProtocol())
        self.exchange()
        theirs.answer = lambda message: decide(decision)
        session.sendMessage(b"now").addErrback(lambda _: None)
        stranger.abort()
        self.network.advance(0)
        views = [memoryview(datagram) for train in self.carriers[1].trains for datagram in train.datagrams]
        self.carriers[1].trains.clear()
        self.listener.datagramsReceived(views, ("127.0.0.1", 9))
        self.exchange()
        self.assertEqual(theirs.messages, [b"now"])

    def test_acceptedTooLate(self) -> None:
        """Accepting it is harmless."""
        self.decidedTooLate(lambda decision: decision.callback(None))

    def test_rejectedTooLate(self) -> None:
        """So is rejecting."""
        self.decidedTooLate(lambda decision: decision.errback(SessionRejected("no")))

    def test_brokenTimeout(self) -> None:
        """So it is with timers."""
        session, protocol = self.begin()
        session.connection.handle_timeout = self.fail_
        self.network.advance(60)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(protocol.calls, ["sessionOpened", "sessionLost"])

    def test_brokenDemux(self) -> None:
        """... and with datagrams that nobody can make sense of, which must not close the port."""
        self.listener._demux.receive = self.fail_
        self.listener.datagramsReceived([memoryview(b"x")], ("127.0.0.1", 9))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_brokenConnection(self) -> None:
        """A session that the core fails on ends, and harms no other that the same read has brought something for."""
        one, ended = self.begin()
        other, goes_on = self.begin()
        receive = Connection.receive
        with mock.patch.object(Connection, "receive", autospec=True) as received:

            def fail(connection: Connection, *args: Any, **kwargs: Any) -> None:
                if connection.local_tag == one.connection.remote_tag:
                    self.fail_()
                receive(connection, *args, **kwargs)

            received.side_effect = fail
            for session in (one, other):
                session.sendMessage(b"x").addErrback(lambda _: None)
            self.exchange()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(ended.calls[-1], "sessionLost")
        self.assertNotIn("sessionLost", goes_on.calls)

    def test_scope(self) -> None:
        """The tokens of resets are of this machine and this socket: not even one with the same identity has them."""
        scopes = []
        for machine in ("one", "other"):
            self.patch(datagrams, "thisMachine", lambda machine=machine: machine)
            with mock.patch.object(datagrams, "Demux") as made:
                protocol = HypermailDatagramProtocol(self.factory, security=Plain())
                self.network.reactor("127.0.0.1").listenUDP(0, protocol)
            scopes.append(made.call_args.kwargs["scope"])
        self.assertEqual([scope.split()[0] for scope in scopes], [b"one", b"other"])
        self.assertTrue(all(b"127.0.0.1:" in scope or b"0.0.0.0:" in scope for scope in scopes), scopes)

    def test_garbage(self) -> None:
        """Datagrams that are no datagrams of ours are dropped."""
        self.begin()
        for size in (0, 1, 12, 13, 100, 1_200, 65_507):
            for byte in (0, 0x40, 0xC0, 0xD0, 0xD1, 0xD2, 0xFF):
                garbage = [memoryview(bytes([byte]) * size)]
                self.listener.datagramsReceived(garbage, ("127.0.0.1", 9))
                self.starter.datagramsReceived(garbage, ("127.0.0.1", PORT))
        self.begin()

    def test_replies(self) -> None:
        """Somebody of another version is answered."""
        hello = header.encode_long(header.Long(0, 99, 1, 2, 0, b"", 0)) + bytes(1_300)
        self.listener.datagramsReceived([memoryview(hello)], ("127.0.0.1", 9))
        self.assertEqual(len(self.carriers[0].trains), 1)
        self.assertEqual(self.carriers[0].trains[0].address, ("127.0.0.1", 9))

    def test_unknownSession(self) -> None:
        """Somebody whose session is unknown here is told so."""
        session, protocol = self.begin()
        self.listener._demux.forget(next(iter(self.listener.pump.sessions)))
        self.listener.pump.sessions.clear()
        self.listener.pump._deadlines.stop()
        session.sendMessage(b"x").addErrback(lambda _: None)
        self.exchange()
        self.assertEqual(protocol.calls, ["sessionOpened", "sessionLost"])

    def test_statistics(self) -> None:
        """A session's statistics have the carrier's."""
        session, _ = self.begin()
        self.assertEqual(session.statistics()["carrier"], {"EIO": 3})

    def test_stop(self) -> None:
        """Stopping ends all sessions, tells the peers, and leaves nothing."""
        session, protocol = self.begin()
        sent = session.sendMessage(b"x")
        self.starter.doStop()
        self.failureResultOf(sent, MessageUndelivered)
        self.assertEqual(protocol.calls, ["sessionOpened", "sessionLost"])
        self.assertTrue(self.carriers[1].stopped)
        trains, self.carriers[1].trains = self.carriers[1].trains, []
        for train in trains:
            self.listener.datagramsReceived([memoryview(datagram) for datagram in train.datagrams], ("127.0.0.1", 9))
        error = errorOf(self.factory.built[0])
        self.assertIsInstance(error, SessionKilled)
        self.assertEqual(error.code, Reason.SHUTTING_DOWN)

    def test_stopWhileFull(self) -> None:
        """The last words are tried even when the carrier is full."""
        session, _ = self.begin()
        self.carriers[1].room = 0
        session.sendMessage(b"x").addErrback(lambda _: None)
        self.network.advance(0)
        before = len(self.carriers[1].trains)
        self.starter.doStop()
        self.assertGreater(len(self.carriers[1].trains), before)

    def test_stopWithPending(self) -> None:
        """Stopping in the turn of a call forgets the flush that was to come."""
        session, _ = self.begin()
        session.sendMessage(b"x").addErrback(lambda _: None)
        self.starter.doStop()
        self.network.advance(1)

    def test_unreachable(self) -> None:
        """A session that is to open where the system knows no way to fails at once."""
        protocol = RecordingProtocol()
        address = ("127.0.0.1", PORT)
        session = self.starter.startSession(address, protocol)
        opening = session.whenOpened()
        self.starter.addressUnreachable(address, OSError(errno.ENETUNREACH, "no way"))
        self.network.advance(0)
        error = self.failureResultOf(opening, Unreachable).value
        self.assertIn("no way", error.text)
        self.assertIn(f"127.0.0.1:{PORT}", error.text)
        self.assertEqual(protocol.calls, [])

    def test_goneAtOnce(self) -> None:
        """A starter's request and its end in one read: the protocol that was built for it is told of the end."""
        session = self.starter.startSession(("127.0.0.1", PORT), RecordingProtocol())
        self.network.advance(0)
        self.carry(1)
        self.carry(0)
        session.abort("never mind")
        self.network.advance(0)
        self.carry(1)
        (protocol,) = self.factory.built
        self.assertEqual(protocol.calls, ["sessionLost"])
        self.assertIsInstance(errorOf(protocol), SessionKilled)

    def test_unreachableLater(self) -> None:
        """A session that is open bears it: networks come back."""
        session, protocol = self.begin()
        self.starter.addressUnreachable(session.connection.address, OSError(errno.ENETUNREACH, "no way"))
        self.network.advance(0)
        self.assertEqual(protocol.calls, ["sessionOpened"])

    def test_marks(self) -> None:
        """Sessions mark what they send where the carrier can and they are told to, and nothing otherwise."""
        for able, wanted, marks in ((True, True, True), (False, True, False), (True, False, False)):
            carrier = MemoryCarrier(self.clock)
            carrier.ecn = able
            protocol = HypermailDatagramProtocol(self.factory, security=Plain())
            protocol.makeConnection(carrier)  # type: ignore[arg-type]
            address = ("127.0.0.1", 1)
            session = protocol.startSession(address, RecordingProtocol(), options=Options(ecn=wanted))
            self.assertEqual(session.connection.options.ecn, marks)
            protocol.doStop()

    def test_marksArrive(self) -> None:
        """What the carrier has read of marks comes to the core."""
        session, _ = self.begin()
        connection = session.connection
        told: list[int] = []
        receive = self.starter._demux.receive

        def look(datagrams: list[memoryview], address: Any, *, now: float, ecn: int) -> Any:
            told.append(ecn)
            return receive(datagrams, address, now=now, ecn=ecn)

        self.patch(self.starter._demux, "receive", look)
        self.starter.datagramsReceived([memoryview(b"x")], connection.address)
        self.starter.datagramsReceived([memoryview(b"x")], connection.address, 3)
        self.assertEqual(told, [0, 3])

    def test_smallBuffer(self) -> None:
        """The peer is told the receive buffer that was granted, not that which was asked for."""
        carrier = MemoryCarrier(self.clock)
        carrier.receiveBuffer = 100_000
        protocol = HypermailDatagramProtocol(self.factory, security=Plain())
        protocol.makeConnection(carrier)  # type: ignore[arg-type]
        session = protocol.startSession(("127.0.0.1", 1), RecordingProtocol(), options=Options())
        self.assertEqual(session.connection.options.receive_buffer, 100_000)
        protocol.doStop()

    def begin_over(self, carrier: MemoryCarrier, options: Options = Options()) -> Options:
        """Start a session over a carrier of its own. @return: the options that it has got."""
        protocol = HypermailDatagramProtocol(self.factory, security=Plain())
        protocol.makeConnection(carrier)  # type: ignore[arg-type]
        session = protocol.startSession(("127.0.0.1", 1), RecordingProtocol(), options=options)
        protocol.doStop()
        return session.connection.options

    def test_shortReads(self) -> None:
        """The peer is told of no datagrams that the carrier can't read whole, but always of those of the base."""
        carrier = MemoryCarrier(self.clock)
        for largest, told in ((65_535, 65_507), (8_192, 8_192), (100, 1_200)):
            carrier.largestDatagram = largest
            self.assertEqual(self.begin_over(carrier).max_datagram, told)
        self.assertEqual(self.begin_over(carrier, Options(mtu=1_400)).max_datagram, 1_400)

    def test_fragments(self) -> None:
        """No sizes are tried out where what is too large would arrive in pieces."""
        carrier = MemoryCarrier(self.clock)
        self.assertTrue(self.begin_over(carrier).discover_mtu)
        self.assertFalse(self.begin_over(carrier, Options(discover_mtu=False)).discover_mtu)
        carrier.fragments = True
        self.assertFalse(self.begin_over(carrier).discover_mtu)
