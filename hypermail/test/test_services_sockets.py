"""
Tests of L{hypermail.services.sockets}, over real sockets.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import Any, cast
from unittest.mock import patch

from twisted.internet import reactor
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from hypermail.services.sockets import MOST_AT_ONCE, openQuietly
from hypermail.test.sessions import ipv6, logged

clock = cast(Any, reactor)


class Remembering(DatagramProtocol):
    """@ivar most: datagrams after which it closes its socket."""

    transport: Any

    def __init__(self, most: int = 1 << 30) -> None:
        self.got: list[bytes] = []
        self.most = most

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """See L{DatagramProtocol}."""
        self.got.append(datagram)
        if len(self.got) == self.most:
            self.transport.stopListening()


class QuietTests(TestCase):
    """Sockets of flows."""

    def open(self, most: int = 1 << 30, interface: str = "127.0.0.1") -> tuple[Remembering, Any]:
        """A protocol, and its address."""
        protocol = Remembering(most)
        openQuietly(clock, protocol, interface)
        self.addCleanup(protocol.transport.stopListening)
        return protocol, protocol.transport._socket.getsockname()[:2]

    async def test_datagrams(self) -> None:
        """Datagrams go and come, however large, in both families; no line is logged, and closing twice is harmless."""
        lines = logged(self)
        for interface in ("127.0.0.1", "::1") if ipv6() else ("127.0.0.1",):
            one, _ = self.open(interface=interface)
            other, there = self.open(interface=interface)
            verifyObject(IReadDescriptor, one.transport)
            sent = [bytes([number % 256]) * (number * 400) for number in range(2 * MOST_AT_ONCE)]
            for data in sent:
                one.transport.write(data, there)
                await deferLater(clock, 0)
            while len(other.got) < len(sent):
                await deferLater(clock, 0.001)
            self.assertEqual(other.got, sent)
            for protocol in (one, other, other):
                protocol.transport.stopListening()
        self.assertEqual([line for line in lines if "delayed" not in line], [])

    def test_turns(self) -> None:
        """Not more than so many are read in one go."""
        one, _ = self.open()
        other, there = self.open()
        for _ in range(MOST_AT_ONCE + 5):
            one.transport.write(b"x", there)
        other.transport.doRead()
        self.assertEqual(len(other.got), MOST_AT_ONCE)

    def test_closedMeanwhile(self) -> None:
        """A protocol may close its socket as it is given a datagram."""
        one, _ = self.open()
        other, there = self.open(most=2)
        for _ in range(5):
            one.transport.write(b"x", there)
        other.transport.doRead()
        self.assertEqual(len(other.got), 2)
        self.assertNotIn(other.transport, clock.getReaders())
        self.assertEqual(other.transport.fileno(), -1)

    async def test_refused(self) -> None:
        """A target that is down ends nothing, and is found when it comes up."""
        one, _ = self.open()
        down, there = self.open()
        down.transport.stopListening()
        for _ in range(5):
            one.transport.write(b"x", there)
            await deferLater(clock, 0.002)
        self.assertIn(one.transport, clock.getReaders())

    def test_refusals(self) -> None:
        """What ICMP has brought is no end of reading, and none of writing."""
        one, here = self.open()
        other, _ = self.open()
        other.transport.write(b"x", here)
        real = one.transport._socket

        class Refusing:
            left = 3

            def recvfrom(self, size: int) -> Any:
                self.left -= 1
                if self.left >= 0:
                    raise ConnectionRefusedError
                return real.recvfrom(size)

            def sendto(self, *_: object) -> None:
                raise ConnectionRefusedError

        with patch.object(one.transport, "_socket", Refusing()):
            one.transport.doRead()
            one.transport.write(b"y", here)
        self.assertEqual(one.got, [b"x"])

    def test_none(self) -> None:
        """Without a socket there is Twisted's own error, and nothing is left open."""
        before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
        with self.assertRaises(CannotListenError) as raised:
            openQuietly(clock, Remembering(), "192.0.2.1")
        self.assertEqual(cast(Any, raised.exception.socketError).errno, errno.EADDRNOTAVAIL)
        with patch.object(socket, "socket", side_effect=OSError(errno.EMFILE, "too many")):
            self.assertRaises(CannotListenError, openQuietly, clock, Remembering(), "127.0.0.1")
        if before:
            self.assertEqual(len(os.listdir("/proc/self/fd")), before)

    def test_end(self) -> None:
        """The reactor may end it."""
        one, _ = self.open()
        one.transport.connectionLost(Failure(Exception()))
        self.assertFalse(one.transport.connected)
