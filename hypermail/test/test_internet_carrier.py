"""
Tests of L{hypermail.internet.carrier}.
"""

from __future__ import annotations

import errno
import os
import sys
from typing import Any

from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.error import CannotListenError, MessageLengthError
from twisted.internet.interfaces import IReactorFDSet
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from hypermail.interfaces import ICarrier, ICarrierUser
from hypermail.internet.carrier import MAX_QUEUED, RETRY, DatagramCarrier, listenDatagrams
from hypermail.internet.udp import SegmentingPort
from hypermail.link.train import Train
from hypermail.testing import SimulatedNetwork

PEER = ("192.0.2.7", 4700)


class Transport:
    """An L{IUDPTransport} in memory; C{error} is what each C{write} raises."""

    def __init__(self) -> None:
        self.written: list[tuple[bytes, Any]] = []
        self.error: Exception | None = None

    def write(self, datagram: bytes, address: Any) -> None:
        if self.error is not None:
            raise self.error
        self.written.append((datagram, address))

    def getHost(self) -> IPv4Address:
        return IPv4Address("UDP", "127.0.0.1", 7)


@implementer(ICarrierUser)
class User(DatagramProtocol):
    """Remembers what it is told."""

    fragmentable = False

    noisy = False

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def datagramsReceived(self, datagrams: list[memoryview], address: Any, ecn: int = 0) -> None:
        self.told.append(([bytes(datagram) for datagram in datagrams], address))

    def carrierWritable(self) -> None:
        self.told.append(("writable",))

    def addressUnreachable(self, address: Any, error: OSError) -> None:
        self.told.append(("unreachable", address))


class DatagramCarrierTests(SynchronousTestCase):
    """
    L{DatagramCarrier}: batches and trains over a transport that has neither.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.transport = Transport()
        self.user = User()
        transport: Any = self.transport
        self.carrier = DatagramCarrier(transport, self.user, self.clock)

    def test_interface(self) -> None:
        """It is a carrier, where its transport is."""
        verifyObject(ICarrier, self.carrier)
        self.assertEqual(self.carrier.getHost().port, 7)

    def test_gathers(self) -> None:
        """What comes in one turn of the reactor is one batch for each address, in the order of arrival."""
        for datagram, address in ((b"a", PEER), (b"b", ("192.0.2.8", 1)), (b"c", PEER)):
            self.carrier.datagramReceived(datagram, address)
        self.assertEqual(self.user.told, [])
        self.clock.advance(0)
        self.carrier.datagramReceived(b"d", PEER)
        self.clock.advance(0)
        self.assertEqual(self.user.told, [([b"a", b"c"], PEER), ([b"b"], ("192.0.2.8", 1)), ([b"d"], PEER)])

    def test_sends(self) -> None:
        """A train is written datagram by datagram."""
        self.assertTrue(self.carrier.send(Train(PEER, [b"a", b"b"])))
        self.assertEqual(self.transport.written, [(b"a", PEER), (b"b", PEER)])

    def test_full(self) -> None:
        """A full socket: what it has no room for is tried again until it has, in order, and the user is told."""
        self.transport.error = BlockingIOError(errno.EAGAIN, "full")
        self.assertFalse(self.carrier.send(Train(PEER, [b"a", b"b"])))
        self.assertFalse(self.carrier.send(Train(PEER, [b"c"])))
        self.clock.advance(RETRY)
        self.assertEqual((self.transport.written, self.user.told), ([], []))
        self.transport.error = None
        self.clock.advance(RETRY)
        self.assertEqual([datagram for datagram, _ in self.transport.written], [b"a", b"b", b"c"])
        self.assertEqual(self.user.told, [("writable",)])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_queueIsBounded(self) -> None:
        """Who doesn't stop sending into a full socket loses datagrams, not memory."""
        self.transport.error = BlockingIOError(errno.EAGAIN, "full")
        self.carrier.send(Train(PEER, [b"x"] * (MAX_QUEUED - 1)))
        self.carrier.send(Train(PEER, [b"x"] * 3))
        self.assertEqual(self.carrier.statistics(), {"dropped": 2})

    def test_unreachable(self) -> None:
        """The user is told when the system has no way to an address, or not from where the socket is bound."""
        for code in (errno.ENETUNREACH, errno.EINVAL):
            self.transport.error = OSError(code, os.strerror(code))
            self.assertTrue(self.carrier.send(Train(PEER, [b"a"])))
        self.assertEqual(self.user.told, [("unreachable", PEER)] * 2)
        self.assertEqual(self.carrier.statistics(), {"ENETUNREACH": 1, "EINVAL": 1})

    def test_otherErrors(self) -> None:
        """Whatever else a transport raises is a lost datagram with a name."""
        for error in (OSError(errno.ENOBUFS, "none"), MessageLengthError("too long")):
            self.transport.error = error
            self.assertTrue(self.carrier.send(Train(PEER, [b"a"])))
        self.assertEqual(self.user.told, [])
        self.assertEqual(self.carrier.statistics(), {"ENOBUFS": 1, "MessageLengthError": 1})

    def test_stop(self) -> None:
        """After C{stop} nothing waits, nobody is called, and nothing is left in the reactor."""
        self.carrier.datagramReceived(b"a", PEER)
        self.transport.error = BlockingIOError(errno.EAGAIN, "full")
        self.carrier.send(Train(PEER, [b"b"]))
        self.carrier.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.user.told, [])


class ListenTests(TestCase):
    """
    L{listenDatagrams} finds the best carrier.
    """

    def test_simulated(self) -> None:
        """A reactor without file descriptors gets its own port, which takes the largest datagrams."""
        simulated = SimulatedNetwork().reactor("10.0.0.1")
        port: Any = listenDatagrams(simulated, 4700, User(), "10.0.0.1")
        self.assertFalse(ICarrier.providedBy(port))
        self.assertEqual(port.maxPacketSize, 65_535)

    async def test_real(self) -> None:
        """On Linux, under a reactor that watches file descriptors, trains are segmented."""
        port: Any = listenDatagrams(reactor, 0, User(), "127.0.0.1")
        fast = sys.platform == "linux" and IReactorFDSet.providedBy(reactor)
        self.assertEqual(isinstance(port, SegmentingPort), fast)
        await port.stopListening()

    async def test_inUse(self) -> None:
        """A port in use cannot be listened on."""
        port: Any = listenDatagrams(reactor, 0, User(), "127.0.0.1")
        self.assertRaises(CannotListenError, listenDatagrams, reactor, port.getHost().port, User(), "127.0.0.1")
        await port.stopListening()
