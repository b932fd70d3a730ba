"""
Tests of L{hypermail.internet.fragmentation}, and of what becomes of it in both carriers.
"""

from __future__ import annotations

import errno
import socket
import sys
from typing import Any
from unittest import skipUnless

from twisted.internet import reactor, udp
from twisted.internet.protocol import DatagramProtocol
from twisted.trial.unittest import SynchronousTestCase, TestCase

from hypermail.dialects.batch.dialect import Batch
from hypermail.internet.carrier import LARGEST_DATAGRAM, DatagramCarrier
from hypermail.internet.dialects import DialectDatagramProtocol
from hypermail.internet.fragmentation import (
    IP_MTU_DISCOVER,
    IP_PMTUDISC_PROBE,
    IPV6_DONTFRAG,
    IPV6_MTU_DISCOVER,
    IPV6_PMTUDISC_PROBE,
    forbidFragments,
)
from hypermail.internet.udp import SegmentingPort
from hypermail.test.test_internet_udp import User
from hypermail.testing import SimulatedNetwork

LINUX = sys.platform == "linux"


class Refusing(socket.socket):
    """A socket of a system that knows nothing of this."""

    def setsockopt(self, level: int, option: int, value: Any, *rest: Any) -> None:
        raise OSError(errno.ENOPROTOOPT, "not known")


class SocketTests(SynchronousTestCase):
    """The socket's options."""

    def made(self, family: int, kind: type[socket.socket] = socket.socket) -> socket.socket:
        """A UDP socket."""
        made = kind(family, socket.SOCK_DGRAM)
        self.addCleanup(made.close)
        return made

    @skipUnless(LINUX, "Linux only")
    def test_ipv4(self) -> None:
        """Don't-fragment is set, and what routers say about the path is not asked."""
        made = self.made(socket.AF_INET)
        self.assertTrue(forbidFragments(made))
        self.assertEqual(made.getsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER), IP_PMTUDISC_PROBE)

    @skipUnless(LINUX and socket.has_ipv6, "Linux with IPv6 only")
    def test_ipv6(self) -> None:
        """The same of IPv6, where the sender itself would cut."""
        made = self.made(socket.AF_INET6)
        self.assertTrue(forbidFragments(made))
        self.assertEqual(made.getsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER), IPV6_PMTUDISC_PROBE)
        self.assertEqual(made.getsockopt(socket.IPPROTO_IPV6, IPV6_DONTFRAG), 1)

    def test_refused(self) -> None:
        """A system that can't do it is no failure."""
        self.assertFalse(forbidFragments(self.made(socket.AF_INET, Refusing)))

    def test_elsewhere(self) -> None:
        """On other systems, where these numbers mean something else, nothing is set."""
        self.patch(sys, "platform", "darwin")
        self.assertFalse(forbidFragments(self.made(socket.AF_INET)))


class CarrierTests(TestCase):
    """What the carriers say of themselves."""

    timeout = 20

    @skipUnless(LINUX, "Linux only")
    def test_segmenting(self) -> None:
        """The carrier for Linux forbids fragments; where that fails it says so."""
        for made, fragments in ((forbidFragments, False), (lambda made: False, True)):
            self.patch(sys.modules["hypermail.internet.udp"], "forbidFragments", made)
            port: Any = SegmentingPort(0, User(), "127.0.0.1", reactor)
            port.startListening()
            self.addCleanup(port.stopListening)
            self.assertEqual((port.fragments, port.largestDatagram), (fragments, LARGEST_DATAGRAM))

    @skipUnless(LINUX, "Linux only")
    def test_stock(self) -> None:
        """A stock port is told not to fragment, and of what it would cut off nothing is wanted."""
        port = udp.Port(0, DatagramProtocol(), "127.0.0.1", 8_192, reactor)
        port.startListening()
        self.addCleanup(port.stopListening)
        carrier = DatagramCarrier(port, User(), reactor)
        self.assertEqual((carrier.fragments, carrier.largestDatagram), (False, 8_192))
        self.assertEqual(port.socket.getsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER), IP_PMTUDISC_PROBE)

    @skipUnless(LINUX, "Linux only")
    def test_fragmentable(self) -> None:
        """For who sends datagrams as large as they come, as dialects do, the system may cut them up."""
        segmenting: Any = SegmentingPort(0, DialectDatagramProtocol(dialect=Batch()), "127.0.0.1", reactor)
        stock = udp.Port(0, DatagramProtocol(), "127.0.0.1", 8_192, reactor)
        for port in (segmenting, stock):
            port.startListening()
            self.addCleanup(port.stopListening)
        user = User()
        user.fragmentable = True
        self.assertTrue(DatagramCarrier(stock, user, reactor).fragments)
        self.assertTrue(segmenting.fragments)
        for port in (segmenting, stock):
            self.assertNotEqual(port.socket.getsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER), IP_PMTUDISC_PROBE)

    def test_unknown(self) -> None:
        """Of a transport that has no socket nothing is known."""
        carrier = DatagramCarrier(object(), User(), reactor)  # type: ignore[arg-type]
        self.assertEqual((carrier.fragments, carrier.largestDatagram), (True, LARGEST_DATAGRAM))

    def test_simulated(self) -> None:
        """The simulated network never cuts anything up."""
        port: Any = SimulatedNetwork().reactor().listenUDP(0, DatagramProtocol())
        self.assertFalse(DatagramCarrier(port, User(), reactor).fragments)
