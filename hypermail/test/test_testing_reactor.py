"""
Tests of L{hypermail.testing.reactor}: a reactor that Twisted programs can't tell from a real one, as far as it goes.
"""

from __future__ import annotations

import errno
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import CannotListenError, InvalidAddressError, MessageLengthError
from twisted.internet.interfaces import (
    IHostnameResolver,
    IListeningPort,
    IReactorPluggableNameResolver,
    IReactorTime,
    IReactorUDP,
    IResolutionReceiver,
    IUDPTransport,
)
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.task import LoopingCall, deferLater
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from hypermail.testing import Conditions, SimulatedNetwork, SimulatedPort


class Recorder(DatagramProtocol):
    """Remembers what it got and when it was started and stopped."""

    noisy = False
    last: bytes = b""

    def __init__(self) -> None:
        self.received: list[tuple[bytes, Any]] = []
        self.calls: list[str] = []

    def startProtocol(self) -> None:
        self.calls.append("start")
        self.port: Any = self.transport  # which Twisted forgets before stopProtocol

    def stopProtocol(self) -> None:
        self.calls.append("stop")
        if self.last:
            self.port.write(self.last, ("10.0.0.2", 7))

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.received.append((datagram, addr))


class InterfaceTests(SynchronousTestCase):
    """What the objects say they provide."""

    def test_interfaces(self) -> None:
        """They have what the interfaces demand, and no more is claimed: files and sockets there are none."""
        reactor = SimulatedNetwork().reactor("10.0.0.1")
        for interface in (IReactorTime, IReactorUDP, IReactorPluggableNameResolver):
            verifyObject(interface, reactor)
        verifyObject(IHostnameResolver, reactor.nameResolver)
        port = reactor.listenUDP(0, Recorder())
        verifyObject(IUDPTransport, port)
        verifyObject(IListeningPort, port)


class TimeTests(SynchronousTestCase):
    """Delayed calls."""

    def setUp(self) -> None:
        self.network = SimulatedNetwork(start=100.0)
        self.reactor = self.network.reactor("10.0.0.1")
        self.log: list[tuple[str, float]] = []

    def note(self, what: str) -> None:
        """Remember what was called when."""
        self.log.append((what, self.reactor.seconds()))

    def test_order(self) -> None:
        """Calls come in the order of time, then of calling; for all reactors there is one time."""
        other = self.network.reactor("10.0.0.2")
        self.reactor.callLater(2, self.note, "b")
        other.callLater(1, self.note, what="a")
        self.reactor.callLater(2, self.note, "c")
        self.assertEqual(len(self.reactor.getDelayedCalls()), 2)
        other.advance(5)
        self.assertEqual(self.log, [("a", 101.0), ("b", 102.0), ("c", 102.0)])
        self.assertEqual((self.reactor.seconds(), other.seconds(), self.network.now), (105.0, 105.0, 105.0))
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_cancelDelayReset(self) -> None:
        """Calls can be cancelled, put off and brought forward."""
        cancelled, later, sooner = (self.reactor.callLater(5, self.note, name) for name in ("no", "later", "sooner"))
        cancelled.cancel()
        later.delay(2)
        sooner.reset(1)
        self.reactor.advance(20)
        self.assertEqual(self.log, [("sooner", 101.0), ("later", 107.0)])
        again = self.reactor.callLater(5, self.note, "again")
        again.reset(8)
        self.reactor.advance(20)
        self.assertEqual(self.log[-1], ("again", 128.0))

    def test_zero(self) -> None:
        """What is called for now has its turn at the same time, after what is due already."""
        self.reactor.callLater(1, lambda: self.reactor.callLater(0, self.note, "second"))
        self.reactor.callLater(1, self.note, "first")
        self.reactor.advance(1)
        self.assertEqual(self.log, [("first", 101.0), ("second", 101.0)])

    def test_cancelledInTheSameTurn(self) -> None:
        """A call that is due is not made when one before it cancels it."""
        self.reactor.callLater(1, lambda: second.cancel())
        second = self.reactor.callLater(1, self.note, "no")
        self.reactor.advance(2)
        self.assertEqual(self.log, [])

    def test_exception(self) -> None:
        """An exception comes out of C{advance}; what else was due is still called."""
        self.reactor.callLater(1, lambda: 1 / 0)
        self.reactor.callLater(1, self.note, "still")
        self.assertRaises(ZeroDivisionError, self.reactor.advance, 2)
        self.reactor.advance(0)
        self.assertEqual([what for what, _ in self.log], ["still"])

    def test_twistedsOwn(self) -> None:
        """Twisted's tools run on it."""
        self.assertEqual(self.network.run_until(deferLater(self.reactor, 3, lambda: "x")), "x")
        loop = LoopingCall(self.note, "tick")
        loop.clock = self.reactor
        loop.start(10, now=False)
        self.reactor.advance(35)
        self.assertEqual([when for _, when in self.log], [113.0, 123.0, 133.0])
        loop.stop()
        self.network.assert_clean()


class PortTests(SynchronousTestCase):
    """UDP ports."""

    def setUp(self) -> None:
        self.network = SimulatedNetwork(conditions=Conditions(delay=0.25))
        self.here = self.network.reactor("10.0.0.1", "fd00::1")
        self.there = self.network.reactor("10.0.0.2", "fd00::2")
        self.ours, self.theirs = Recorder(), Recorder()

    def listen(self, *arguments: Any, **keywords: Any) -> SimulatedPort:
        """Listen on C{there}."""
        return self.there.listenUDP(*arguments, **keywords)

    def test_exchange(self) -> None:
        """Datagrams go there and back, between the addresses that both see."""
        port = self.listen(7, self.theirs)
        mine = self.here.listenUDP(0, self.ours)
        mine.write(b"ping", ("10.0.0.2", 7))
        self.network.advance(0.3)
        self.assertEqual(self.theirs.received, [(b"ping", ("10.0.0.1", mine.getHost().port))])
        port.writeSequence([b"po", b"ng"], self.theirs.received[0][1])
        self.network.advance(0.3)
        self.assertEqual(self.ours.received, [(b"pong", ("10.0.0.2", 7))])

    def test_ipv6(self) -> None:
        """The same over IPv6, which has a port of its own."""
        self.listen(7, self.theirs, interface="::")
        self.listen(7, Recorder())
        mine = self.here.listenUDP(5, self.ours, interface="fd00::1")
        mine.write(b"ping", ("fd00::2", 7))
        self.network.advance(1)
        self.assertEqual(self.theirs.received, [(b"ping", ("fd00::1", 5))])
        self.assertEqual(mine.getHost(), IPv6Address("UDP", "fd00::1", 5))

    def test_getHost(self) -> None:
        """A port knows its address; ports for port 0 are all different."""
        self.assertEqual(self.listen(7, self.theirs).getHost(), IPv4Address("UDP", "0.0.0.0", 7))
        self.assertEqual(self.listen(8, Recorder(), "10.0.0.2").getHost(), IPv4Address("UDP", "10.0.0.2", 8))
        self.assertEqual(self.listen(9, Recorder(), "::").getHost(), IPv6Address("UDP", "::", 9))
        given = {self.listen(0, Recorder()).getHost().port for _ in range(5)}
        self.assertEqual(len(given), 5)

    def test_inUse(self) -> None:
        """A port has one listener; a wildcard is all of the host's addresses."""
        self.listen(7, self.theirs, interface="10.0.0.2")
        for interface in ("10.0.0.2", "", "0.0.0.0"):
            error = self.assertRaises(CannotListenError, self.listen, 7, Recorder(), interface)
            self.assertEqual(error.socketError.errno, errno.EADDRINUSE)
        self.here.listenUDP(7, Recorder())

    def test_notOurs(self) -> None:
        """Addresses of others can't be bound, and names not at all."""
        error = self.assertRaises(CannotListenError, self.listen, 7, Recorder(), "10.0.0.1")
        self.assertEqual(error.socketError.errno, errno.EADDRNOTAVAIL)
        self.assertRaises(InvalidAddressError, self.listen, 7, Recorder(), "example.org")
        self.assertRaises(ValueError, self.network.reactor, "example.org")

    def test_loopback(self) -> None:
        """Loopback addresses are each host's own, and reach wildcard ports from inside."""
        ours, theirs = self.here.listenUDP(7, self.ours), self.listen(7, self.theirs, "127.0.0.1")
        ours.write(b"myself", ("127.0.0.1", 7))
        theirs.write(b"themselves", ("127.0.0.1", 7))
        self.network.advance(1)
        self.assertEqual(self.ours.received, [(b"myself", ("127.0.0.1", 7))])
        self.assertEqual(self.theirs.received, [(b"themselves", ("127.0.0.1", 7))])
        error = self.assertRaises(OSError, theirs.write, b"out", ("10.0.0.1", 7))
        self.assertEqual(error.errno, errno.ENETUNREACH)

    def test_noWay(self) -> None:
        """A host without IPv6 has no way to IPv6 addresses."""
        port = self.network.reactor("10.0.0.3").listenUDP(0, Recorder(), "::")
        error = self.assertRaises(OSError, port.write, b"x", ("fd00::1", 7))
        self.assertEqual(error.errno, errno.ENETUNREACH)

    def test_badDestinations(self) -> None:
        """Names, addresses of the other family, none at all, and what no datagram can hold are refused."""
        port = self.here.listenUDP(0, self.ours)
        self.assertRaises(InvalidAddressError, port.write, b"", ("example.org", 7))
        self.assertRaises(InvalidAddressError, port.write, b"", ("fd00::2", 7))
        self.assertRaises(ValueError, port.write, b"")
        self.assertRaises(MessageLengthError, port.write, bytes(65_508), ("10.0.0.2", 7))
        port.write(bytes(65_507), ("10.0.0.2", 7))

    def test_truncated(self) -> None:
        """As with the stock port, what is larger than C{maxPacketSize} is cut off."""
        self.network.set_conditions(Conditions(mtu=None))
        self.listen(7, self.theirs)
        self.listen(8, self.ours, maxPacketSize=65_535)
        port = self.here.listenUDP(0, Recorder())
        for number in (7, 8):
            port.write(bytes(10_000), ("10.0.0.2", number))
        self.network.advance(1)
        self.assertEqual([len(datagram) for datagram, _ in self.theirs.received], [8_192])
        self.assertEqual([len(datagram) for datagram, _ in self.ours.received], [10_000])

    def test_connected(self) -> None:
        """A connected port needs no address, and hears one peer only."""
        port = self.listen(7, self.theirs)
        stranger = self.here.listenUDP(0, Recorder())
        connected = self.here.listenUDP(0, self.ours)
        connected.connect("10.0.0.2", 7)
        connected.write(b"hello")
        for source in (port, stranger):
            source.write(b"you", ("10.0.0.1", connected.getHost().port))
        self.network.advance(1)
        self.assertEqual([datagram for datagram, _ in self.theirs.received], [b"hello"])
        self.assertEqual(self.ours.received, [(b"you", ("10.0.0.2", 7))])
        self.assertRaises(RuntimeError, connected.connect, "10.0.0.2", 7)

    def test_stopListening(self) -> None:
        """
        A port hears nothing more once it is told to stop, is closed in the next turn, and lets its protocol say a
        last word; its number is free then.
        """
        self.listen(7, self.theirs)
        port = self.here.listenUDP(5, self.ours)
        self.ours.last = b"farewell"
        stopping = port.stopListening()
        self.assertIs(port.stopListening(), stopping)
        assert stopping is not None
        self.assertNoResult(stopping)
        self.network.set_conditions(Conditions())
        self.network.send(("10.0.0.2", 7), ("10.0.0.1", 5), [b"too late, though the port is not closed yet"])
        self.network.run_until(stopping)
        self.assertEqual(self.ours.calls, ["start", "stop"])
        self.network.advance(1)
        self.assertEqual(self.ours.received, [])
        self.assertEqual(self.theirs.received, [(b"farewell", ("10.0.0.1", 5))])
        self.assertIsNone(port.stopListening())
        self.here.listenUDP(5, Recorder())

    def test_protocolFails(self) -> None:
        """An exception of the protocol is logged and harms nobody."""

        class Fragile(Recorder):
            def datagramReceived(self, datagram: bytes, addr: Any) -> None:
                super().datagramReceived(datagram, addr)
                raise ZeroDivisionError

        fragile = Fragile()
        self.listen(7, fragile)
        port = self.here.listenUDP(0, self.ours)
        for number in (b"1", b"2"):
            port.write(number, ("10.0.0.2", 7))
        self.network.advance(1)
        self.assertEqual(len(fragile.received), 2)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    def test_assertClean(self) -> None:
        """What is left in any reactor is told."""
        self.network.assert_clean()
        port = self.listen(7, self.theirs)
        call = self.here.callLater(5, self.fail)
        text = str(self.assertRaises(AssertionError, self.network.assert_clean))
        self.assertIn("10.0.0.2:7", text)
        self.assertIn("DelayedCall", text)
        call.cancel()
        port.loseConnection()
        self.network.advance(0)
        self.network.assert_clean()


@implementer(IResolutionReceiver)
class Answers:
    """What a resolver has said."""

    def __init__(self) -> None:
        self.said: list[Any] = []

    def resolutionBegan(self, resolution: Any) -> None:
        self.said.append(resolution.name)

    def addressResolved(self, address: Any) -> None:
        self.said.append(address)

    def resolutionComplete(self) -> None:
        self.said.append(None)


class ResolverTests(SynchronousTestCase):
    """Names."""

    def test_resolve(self) -> None:
        """Addresses are their own names; others are what the test has said, or unknown."""
        resolver = SimulatedNetwork().reactor("10.0.0.1").nameResolver
        resolver.names["both"] = ["10.0.0.2", "fd00::2"]
        cases: list[tuple[str, Any, list[Any]]] = [
            ("10.0.0.1", None, [IPv4Address("UDP", "10.0.0.1", 7)]),
            ("::1", [IPv6Address], [IPv6Address("UDP", "::1", 7)]),
            ("::1", [IPv4Address], []),
            ("both", None, [IPv4Address("UDP", "10.0.0.2", 7), IPv6Address("UDP", "fd00::2", 7)]),
            ("unknown", None, []),
        ]
        for name, kinds, expected in cases:
            answers = Answers()
            resolver.resolveHostName(answers, name, 7, kinds, "UDP").cancel()
            self.assertEqual(answers.said, [name, *expected, None])

    def test_install(self) -> None:
        """Another resolver can be installed."""
        reactor = SimulatedNetwork().reactor("10.0.0.1")
        first = reactor.nameResolver
        other = object()
        self.assertIs(reactor.installNameResolver(other), first)
        self.assertIs(reactor.nameResolver, other)
