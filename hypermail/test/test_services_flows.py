"""
Tests for L{hypermail.services.flows}, short of real sockets.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.internet.error import CannotListenError, MessageLengthError
from twisted.internet.interfaces import IReactorPluggableNameResolver
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import directlyProvides

from hypermail.errors import MessageTooLarge, SessionLost
from hypermail.services.addresses import Destination
from hypermail.services.flows import (
    IDLE,
    LOOK,
    MOST_EARLY,
    MOST_FLOWS,
    MOST_TARGETS,
    DatagramEntrance,
    DatagramExits,
    Flows,
    Parcel,
    parse_parcel,
)
from hypermail.services.targets import RESOLVED, UNRESOLVED, Target
from hypermail.services.troubles import SPAN
from hypermail.test.sessions import logged


class Direct:
    """The part of L{ISession} that flows use. @ivar error: raised by C{sendDatagram}."""

    def __init__(self) -> None:
        self.sent: list[Parcel] = []
        self.error: Exception | None = None

    def sendDatagram(self, data: bytes) -> None:
        """See L{ISession}."""
        if self.error is not None:
            raise self.error
        parcel = parse_parcel(data)
        assert parcel is not None
        self.sent.append(parcel)

    def getPeer(self) -> str:
        """See L{ISession}."""
        return "peer"


class Socket:
    """A UDP transport. @ivar error: raised by C{write}."""

    def __init__(self) -> None:
        self.written: list[tuple[bytes, Any]] = []
        self.stopped = False
        self.error: Exception | None = None

    def write(self, data: bytes, address: Any) -> None:
        """See L{IUDPTransport}."""
        if self.error is not None:
            raise self.error
        self.written.append((data, address))

    def stopListening(self) -> None:
        """See L{IUDPTransport}."""
        self.stopped = True


class Sockets(Clock):
    """A reactor that opens sockets."""

    def __init__(self) -> None:
        super().__init__()
        self.opened: list[Any] = []
        self.sizes: list[int] = []
        self.nameResolver: Any = None
        self.fails = False

    def listenUDP(self, port: int, protocol: Any, interface: str = "", maxPacketSize: int = 8192) -> None:
        """See L{IReactorUDP}."""
        if self.fails:
            raise CannotListenError(interface, port, OSError(24, "Too many open files"))
        self.sizes.append(maxPacketSize)
        protocol.transport = Socket()
        self.opened.append(protocol)


class ParcelTests(SynchronousTestCase):
    """Direct messages that are datagrams of flows."""

    @given(st.integers(0, 2**32 - 1), st.binary(max_size=255), st.binary())
    def test_roundTrip(self, flow: int, name: bytes, data: bytes) -> None:
        """What is written is read."""
        self.assertEqual(parse_parcel(Parcel(flow, name, data).encode()), (flow, name, data))

    def test_short(self) -> None:
        """What is too short for what it says is none."""
        whole = Parcel(7, b"abc", b"").encode()
        self.assertEqual(whole, b"\x00\x00\x00\x07\x03abc")
        for size in range(len(whole)):
            self.assertIsNone(parse_parcel(whole[:size]))


class FlowsTests(SynchronousTestCase):
    """The starter's side."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.session: Direct | None = Direct()
        self.flows = Flows(self.clock, lambda: self.session)  # type: ignore[arg-type, return-value]
        self.entrance = DatagramEntrance("dns", self.flows)
        self.entrance.transport = Socket()  # type: ignore[assignment]

    def test_numbers(self) -> None:
        """Each sender at each entrance is a flow of its own, and keeps its number."""
        other = DatagramEntrance("x", self.flows)
        assert self.session is not None
        for entrance, address in ((self.entrance, "a"), (self.entrance, "b"), (other, "a"), (self.entrance, "a")):
            entrance.datagramReceived(b"?", address)
        self.assertEqual([parcel.flow for parcel in self.session.sent], [0, 1, 2, 0])
        self.assertEqual([parcel.name for parcel in self.session.sent], [b"dns", b"dns", b"x", b"dns"])
        self.flows.back(Parcel(1, b"", b"!").encode())
        self.assertEqual(self.entrance.transport.written, [(b"!", "b")])  # type: ignore[union-attr]

    def test_ignored(self) -> None:
        """Answers to flows that are not known, or that are none, are ignored."""
        self.flows.back(b"")
        self.flows.back(Parcel(5, b"", b"!").encode())
        self.assertEqual(self.entrance.transport.written, [])  # type: ignore[union-attr]

    def test_noSession(self) -> None:
        """Without a session, or with one that ends, datagrams are lost."""
        assert self.session is not None
        self.session.error = SessionLost("over")
        self.entrance.datagramReceived(b"?", "a")
        self.session = None
        self.entrance.datagramReceived(b"?", "b")
        self.assertEqual(len(self.flows), 1)

    def test_tooLarge(self) -> None:
        """What is too large is logged once."""
        lines = logged(self)
        assert self.session is not None
        self.session.error = MessageTooLarge("1,100 bytes fit")
        for _ in range(3):
            self.entrance.datagramReceived(bytes(1_200), "a")
        self.assertEqual(lines, ["a datagram of 1200 bytes is too large for the tunnel, and lost: 1,100 bytes fit"])

    def test_idle(self) -> None:
        """A flow that is silent is forgotten; one that is used, in either direction, is not. No timer is left."""
        assert self.session is not None
        for address in ("a", "b", "c"):
            self.entrance.datagramReceived(b"?", address)
        for _ in range(3):
            self.clock.advance(IDLE / 2)
            self.entrance.datagramReceived(b"?", "a")
            self.flows.back(Parcel(1, b"", b"!").encode())
        self.assertEqual(len(self.flows), 2)
        for _ in range(int((IDLE + LOOK) / LOOK)):
            self.clock.advance(LOOK)
        self.assertEqual((len(self.flows), self.clock.getDelayedCalls()), (0, []))
        self.entrance.datagramReceived(b"?", "a")
        self.assertEqual(self.session.sent[-1].flow, 3)

    def test_most(self) -> None:
        """Too many push out those that have been silent the longest."""
        assert self.session is not None
        for address in range(MOST_FLOWS):
            self.entrance.datagramReceived(b"?", address)
        self.entrance.datagramReceived(b"?", 0)
        self.entrance.datagramReceived(b"?", "more")
        self.entrance.datagramReceived(b"?", 0)
        self.entrance.datagramReceived(b"?", 1)
        self.assertEqual([parcel.flow for parcel in self.session.sent[-3:]], [MOST_FLOWS, 0, MOST_FLOWS + 1])
        self.assertEqual(len(self.flows), MOST_FLOWS)
        self.flows.clear()
        self.assertEqual((len(self.flows), self.clock.getDelayedCalls()), (0, []))


class ExitsTests(SynchronousTestCase):
    """The listener's side."""

    session: Any

    def setUp(self) -> None:
        self.reactor = Sockets()
        self.session = Direct()
        self.exits = self.new({b"dns": Destination("192.0.2.1", 53), b"six": Destination("2001:DB8:0::1", 53)})

    def new(self, targets: dict[bytes, Destination]) -> DatagramExits:
        """Exits to targets."""
        found = {name: Target(self.reactor, destination) for name, destination in targets.items()}
        return DatagramExits(self.reactor, self.session, found)

    def forth(self, flow: int, data: bytes, name: bytes = b"dns") -> None:
        """A datagram comes."""
        self.exits.forth(Parcel(flow, name, data).encode())

    def test_sockets(self) -> None:
        """Each flow has a socket; answers of the target go back by its number."""
        for flow in (4, 4, 9):
            self.forth(flow, b"%d" % flow)
        self.forth(1, b"1", b"six")
        self.assertEqual(len(self.reactor.opened), 3)
        four, nine, six = self.reactor.opened
        self.assertEqual(four.transport.written, [(b"4", ("192.0.2.1", 53))] * 2)
        self.assertEqual(six.transport.written, [(b"1", ("2001:db8::1", 53))])
        nine.datagramReceived(b"!", ("192.0.2.1", 53))
        nine.datagramReceived(b"?", ("192.0.2.2", 53))
        six.datagramReceived(b"6", ("2001:db8::1", 53, 0, 0))
        self.assertEqual(self.session.sent, [Parcel(9, b"", b"!"), Parcel(1, b"", b"6")])
        self.assertEqual(self.reactor.sizes, [65_535] * 3)

    def test_unknown(self) -> None:
        """What has no target opens no socket, and what is no datagram is ignored."""
        self.exits.forth(b"abc")
        self.forth(1, b"", b"else")
        self.assertEqual((len(self.exits), self.reactor.opened), (0, []))

    def test_most(self) -> None:
        """A session has no more sockets than that, whatever it sends; the oldest are closed."""
        for flow in range(2 * MOST_TARGETS):
            self.forth(flow, b"")
        self.assertEqual(len(self.exits), MOST_TARGETS)
        self.assertEqual(sum(not protocol.transport.stopped for protocol in self.reactor.opened), MOST_TARGETS)

    def test_over(self) -> None:
        """With the session all sockets are closed, and no timer is left."""
        self.forth(1, b"")
        self.exits.clear()
        self.assertTrue(self.reactor.opened[0].transport.stopped)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_unresolved(self) -> None:
        """Few datagrams wait for a name; one that is unknown is logged."""
        lines = logged(self)
        exits = self.new({b"": Destination("nowhere", 53)})
        for _ in range(2 * MOST_EARLY):
            exits.forth(Parcel(1, b"", b"x").encode())
        self.assertEqual(len(lines), 1)
        self.assertIn("no datagrams to nowhere:53: ", lines[0])
        exits.clear()

    def test_name(self) -> None:
        """A name is looked up once for all flows that want it, of all sessions; again when that is a while ago."""
        resolver = Resolver()
        self.reactor.nameResolver = resolver
        directlyProvides(self.reactor, IReactorPluggableNameResolver)
        exits = self.new({b"": Destination("somewhere", 53)})
        for flow in range(10):
            exits.forth(Parcel(flow, b"", b"%d" % flow).encode())
        self.assertEqual((len(resolver.asked), self.reactor.opened), (1, []))
        exits._flows.drop(9)
        resolver.answer("192.0.2.7")
        written = [protocol.transport.written for protocol in self.reactor.opened]
        self.assertEqual(sorted(written), [[(b"%d" % flow, ("192.0.2.7", 53))] for flow in range(9)])
        self.reactor.advance(RESOLVED - 1)
        exits.forth(Parcel(10, b"", b"").encode())
        self.assertEqual((len(resolver.asked), len(self.reactor.opened)), (1, 10))
        self.reactor.advance(1)
        exits.forth(Parcel(11, b"", b"").encode())
        self.assertEqual(len(resolver.asked), 2)
        exits.clear()
        resolver.answer("192.0.2.8")
        self.assertEqual((len(self.reactor.opened), self.reactor.getDelayedCalls()), (10, []))

    def test_nameAgain(self) -> None:
        """A name that was not found is looked up again for the same flow, but neither that nor a line with each."""
        lines = logged(self)
        resolver = Resolver()
        self.reactor.nameResolver = resolver
        directlyProvides(self.reactor, IReactorPluggableNameResolver)
        exits = self.new({b"": Destination("somewhere", 53)})
        for _ in range(2):
            for _ in range(5):
                exits.forth(Parcel(1, b"", b"x").encode())
                exits.forth(Parcel(2, b"", b"x").encode())
                if len(resolver.asked) > len(resolver.answered):
                    resolver.answer()
            self.assertEqual(len(exits), 0)
            self.reactor.advance(UNRESOLVED)
        self.assertEqual((len(resolver.asked), len(lines)), (2, 1))
        exits.forth(Parcel(1, b"", b"y").encode())
        resolver.answer("192.0.2.7")
        self.assertEqual(self.reactor.opened[0].transport.written, [(b"y", ("192.0.2.7", 53))])
        exits.clear()

    def test_noSocket(self) -> None:
        """Without a socket datagrams are lost, and that is said seldom; with one again the flow goes on."""
        lines = logged(self)
        self.reactor.fails = True
        for flow in range(100):
            self.forth(flow, b"x")
        self.assertEqual(lines, ["no datagrams to 192.0.2.1:53: there is no socket (Too many open files)"])
        self.assertEqual(len(self.exits), 0)
        self.reactor.advance(SPAN)
        self.forth(1, b"x")
        self.assertEqual(lines[1:], [f"{lines[0]} (99 times more since this was said last)"])
        self.reactor.advance(SPAN)
        self.forth(1, b"x")
        self.assertEqual(lines[2:], lines[:1])
        self.reactor.fails = False
        self.forth(1, b"y")
        self.assertEqual(self.reactor.opened[0].transport.written, [(b"y", ("192.0.2.1", 53))])
        self.exits.clear()

    def test_refused(self) -> None:
        """What the system does not send is lost, on both sides, and said seldom; nothing is raised."""
        lines = logged(self)
        self.forth(1, b"x")
        flows = Flows(self.reactor, lambda: self.session)
        entrance = DatagramEntrance("dns", flows)
        answering = Socket()
        entrance.transport = answering  # type: ignore[assignment]
        entrance.datagramReceived(b"?", ("192.0.2.9", 0))
        for error in (OSError(101, "Network is unreachable"), MessageLengthError("too long"), BlockingIOError()):
            for socket in (self.reactor.opened[0].transport, answering):
                socket.error = error
            for _ in range(3):
                self.forth(1, b"y")
                flows.back(Parcel(0, b"", b"!").encode())
        self.assertEqual(
            lines,
            [
                "no datagrams to 192.0.2.1:53: Network is unreachable",
                "no answers to who sends to dns: Network is unreachable",
            ],
        )
        flows.clear()
        self.exits.clear()


class Resolver:
    """Answers when it is told to. @ivar asked: who waits, or did."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.answered: list[str | None] = []

    def resolveHostName(self, receiver: Any, *rest: object) -> None:
        """See L{IHostnameResolver}."""
        self.asked.append(receiver)

    def answer(self, host: str | None = None) -> None:
        """The answer to the last one who has asked."""
        self.answered.append(host)
        if host is not None:
            self.asked[-1].addressResolved(IPv4Address("UDP", host, 53))
        self.asked[-1].resolutionComplete()
