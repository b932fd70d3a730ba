"""
Tests of L{hypermail.internet.steering}: what the kernel brings to which socket.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections import Counter
from random import Random
from typing import Any
from unittest.mock import patch

from twisted.internet.error import CannotListenError
from twisted.trial.unittest import SynchronousTestCase

from hypermail.errors import NotSupported
from hypermail.internet import steering
from hypermail.internet.steering import SteeredSockets, openSteered
from hypermail.internet.udp import SOL_UDP, UDP_GRO, UDP_SEGMENT
from hypermail.test.sessions import ipv6

if sys.platform != "linux":
    skip = "only Linux chooses a socket by what a datagram says"

BOTH = ("127.0.0.1", "::1") if ipv6() else ("127.0.0.1",)


class SteeringCase(SynchronousTestCase):
    """Has sockets, and somebody who sends to them."""

    def open(self, workers: int, *interfaces: str, port: int = 0) -> SteeredSockets:
        sockets = openSteered(port, interfaces or BOTH, workers)
        self.addCleanup(sockets.close)
        return sockets

    def single(self, family: int = socket.AF_INET) -> socket.socket:
        made = socket.socket(family, socket.SOCK_DGRAM)
        self.addCleanup(made.close)
        return made

    def read(self, bound: socket.socket) -> list[bytes]:
        """All that waits in a socket; over loopback a datagram is there when it was sent."""
        found = []
        try:
            while True:
                found.append(bound.recv(65_535))
        except BlockingIOError:
            return found

    def send(self, datagrams: list[bytes], address: tuple[str, int]) -> None:
        """Each from a port of its own."""
        for datagram in datagrams:
            with socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.sendto(datagram, address)


class SteeringTests(SteeringCase):
    """
    L{openSteered}
    """

    def test_bytes(self) -> None:
        """Every byte comes to its worker, in both families, on one port, wherever it is sent from."""
        for workers in (1, 2, 3, 7):
            sockets = self.open(workers)
            hosts = sockets.getHosts()
            self.assertEqual([host.host for host in hosts], list(BOTH))
            self.assertEqual(len({host.port for host in hosts}), 1)
            for at, host in enumerate(hosts):
                self.send([bytes((0x40, byte, 1, 2)) for byte in range(256)], (host.host, host.port))
                for worker, share in enumerate(sockets.shares):
                    self.assertEqual([data[1] for data in self.read(share[at])], list(range(worker, 256, workers)))
            sockets.close()

    def test_everywhere(self) -> None:
        """So it does where all addresses are listened on."""
        sockets = self.open(2, "0.0.0.0")
        self.send([b"@\0", b"@\1", b"@\1"], ("127.0.0.1", sockets.getHosts()[0].port))
        self.assertEqual([len(self.read(share[0])) for share in sockets.shares], [1, 2])

    def test_short(self) -> None:
        """What is too short to have a tag comes to the first."""
        sockets = self.open(2, "127.0.0.1")
        self.send([b"", b"\1"], ("127.0.0.1", sockets.getHosts()[0].port))
        self.assertEqual([self.read(share[0]) for share in sockets.shares], [[b"", b"\1"], []])

    def test_spread(self) -> None:
        """Random tags are spread as evenly as chance is."""
        sockets = self.open(4, "127.0.0.1")
        random = Random(9)
        found: Counter[int] = Counter()
        for _ in range(10):
            self.send([b"\xc0" + random.randbytes(30) for _ in range(100)], ("127.0.0.1", sockets.getHosts()[0].port))
            for worker, share in enumerate(sockets.shares):
                found[worker] += len(self.read(share[0]))
        self.assertEqual(sum(found.values()), 1_000)
        for count in found.values():
            self.assertTrue(200 < count < 300, found)

    def test_comingAndGoing(self) -> None:
        """What a worker has of a socket may be closed and made again: nothing moves, and what came meanwhile waits."""
        sockets = self.open(3, "127.0.0.1")
        address = ("127.0.0.1", sockets.getHosts()[0].port)
        for number in range(3):
            theirs = sockets.shares[0][0].dup()
            theirs.close()
            self.send([b"@\0%d" % number, b"@\2%d" % number], address)
        found = [self.read(share[0]) for share in sockets.shares]
        self.assertEqual(found, [[b"@\0000", b"@\0001", b"@\0002"], [], [b"@\0020", b"@\0021", b"@\0022"]])

    def test_joined(self) -> None:
        """Of datagrams that are joined the first one decides; this is why there are strays."""
        sockets = self.open(2, "127.0.0.1")
        for share in sockets.shares:
            share[0].setsockopt(SOL_UDP, UDP_GRO, 1)
        sender = self.single()
        sender.setsockopt(SOL_UDP, UDP_SEGMENT, 4)
        sender.sendto(b"@\1ab@\0cd", ("127.0.0.1", sockets.getHosts()[0].port))
        self.assertEqual([self.read(share[0]) for share in sockets.shares], [[], [b"@\1ab@\0cd"]])


class FailingTests(SteeringCase):
    """What cannot be."""

    def test_inUse(self) -> None:
        """An address that somebody has, with others or alone, is refused; so is what workers have."""
        sockets = self.open(2, "127.0.0.1")
        port = sockets.getHosts()[0].port
        for taken in (port, self.bound()):
            error = self.assertRaises(CannotListenError, openSteered, taken, ("127.0.0.1",), 2)
            self.assertEqual((error.socketError.errno, error.interface), (errno.EADDRINUSE, "127.0.0.1"))
        refused = self.assertRaises(OSError, self.single().bind, ("127.0.0.1", port))
        self.assertEqual(refused.errno, errno.EADDRINUSE)

    def bound(self) -> int:
        """A port that somebody has."""
        other = self.single()
        other.bind(("127.0.0.1", 0))
        return int(other.getsockname()[1])

    def test_anotherNumber(self) -> None:
        """Port 0: a number that is taken in one family only is not the one."""
        real = SteeredSockets.open
        refused: list[int] = []

        def open(sockets: SteeredSockets, port: int, interface: str) -> int:
            if interface == BOTH[-1] and len(refused) < 3:
                refused.append(port)
                raise CannotListenError(interface, port, OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE)))
            return real(sockets, port, interface)

        self.patch(SteeredSockets, "open", open)
        if len(BOTH) == 1:
            self.assertRaises(CannotListenError, self.open, 2)
            return
        sockets = self.open(2)
        self.assertEqual((len(refused), [len(share) for share in sockets.shares]), (3, [2, 2]))

    def test_missing(self) -> None:
        """An address that this machine does not have is an error, unless another one of both families is there."""
        error = self.assertRaises(CannotListenError, openSteered, 0, ("192.0.2.9",), 2)
        self.assertEqual(error.socketError.errno, errno.EADDRNOTAVAIL)
        sockets = self.open(2, "192.0.2.9", "127.0.0.1")
        self.assertEqual([host.host for host in sockets.getHosts()], ["127.0.0.1"])

    def test_notSupported(self) -> None:
        """A system that cannot choose says so, and what to do; no socket stays open."""
        before = os.listdir("/proc/self/fd")
        for name, value in (("SO_ATTACH_REUSEPORT_CBPF", 0x7FFF), ("sys.platform", "darwin")):
            with patch.object(*_target(name), value):
                error = self.assertRaises(NotSupported, openSteered, 0, ("127.0.0.1",), 2)
            self.assertIn("several workers need Linux 4.5 or later", error.text)
            self.assertIn("Protocol not available", error.text)
            self.assertIn("without --workers", error.text)
        self.assertEqual(os.listdir("/proc/self/fd"), before)

    def test_nothingShared(self) -> None:
        """Neither can one where two sockets share no address."""
        with patch.object(socket, "SO_REUSEPORT", 0x7FFF):
            error = self.assertRaises(NotSupported, openSteered, 0, ("127.0.0.1",), 2)
        self.assertIn("SO_REUSEPORT", error.text)


def _target(name: str) -> tuple[Any, str]:
    """What to patch for a name in L{steering}."""
    module, _, attribute = name.rpartition(".")
    return (getattr(steering, module) if module else steering), attribute
