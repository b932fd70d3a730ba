"""
Explicit congestion notification on real sockets: marks leave, and are read, with trains.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from hypermail.internet.datagrams import HypermailDatagramProtocol
from hypermail.internet.security import Plain
from hypermail.internet.udp import SegmentingPort
from hypermail.link.ecn import CE, ECT0, ECT1, NOT_ECT
from hypermail.link.train import Train
from hypermail.test.test_internet_udp import ScriptedSocket, User, numbered


class NoMarks(SegmentingPort):
    """On a system that doesn't tell codepoints."""

    _hearsMarks = (socket.IPPROTO_IP, 9_999)


class MarksTests(TestCase):
    """L{SegmentingPort} on loopback."""

    timeout = 20

    def open(self, interface: str = "127.0.0.1", kind: type[SegmentingPort] = SegmentingPort) -> tuple[Any, User]:
        user = User()
        port = kind(0, user, interface, reactor)
        port.startListening()
        self.addCleanup(port.stopListening)
        return port, user

    def address(self, port: Any) -> tuple[str, int]:
        host = port.getHost()
        return host.host, host.port

    def turn(self) -> Deferred[None]:
        """The reactor has a turn."""
        return deferLater(reactor, 0.01, lambda: None)

    async def marked(self, interface: str) -> None:
        """Trains and single datagrams, each with its codepoint, arrive with it and in order."""
        sender, _ = self.open(interface)
        receiver, user = self.open(interface)
        self.assertTrue(sender.ecn and receiver.ecn)
        sent: list[tuple[int, list[bytes]]] = [
            (ECT0, numbered(40)),
            (NOT_ECT, numbered(20)),
            (CE, numbered(1)),
            (ECT1, numbered(3)),
            (ECT0, numbered(1)),
            (NOT_ECT, numbered(2, 100)),
        ]
        for codepoint, datagrams in sent:
            sender.send(Train(self.address(receiver), datagrams, codepoint))
        await user.received(67)
        told: list[tuple[int, list[bytes]]] = []
        for codepoint, (datagrams, _) in zip(user.codepoints, user.batches, strict=True):
            if told and told[-1][0] == codepoint:
                told[-1][1].extend(datagrams)
            else:
                told.append((codepoint, datagrams))
        self.assertEqual(told, sent)
        self.assertEqual((sender.statistics(), receiver.statistics()), ({}, {}))

    async def test_version4(self) -> None:
        """Over IPv4."""
        await self.marked("127.0.0.1")

    async def test_version6(self) -> None:
        """Over IPv6."""
        await self.marked("::1")

    async def test_oneRead(self) -> None:
        """What one address sends with one codepoint is one batch; another's between doesn't part it."""
        receiver, user = self.open()
        first, _ = self.open()
        second, _ = self.open()
        for number in range(3):
            first.send(Train(self.address(receiver), [b"a%d" % number], ECT0))
            second.send(Train(self.address(receiver), [b"b%d" % number], NOT_ECT))
        await user.received(6)
        self.assertEqual([batch for batch, _ in user.batches], [[b"a0", b"a1", b"a2"], [b"b0", b"b1", b"b2"]])
        self.assertEqual(user.codepoints, [ECT0, NOT_ECT])

    async def test_waiting(self) -> None:
        """Trains that had to wait for room in the socket leave with their codepoints."""
        sender, _ = self.open()
        receiver, user = self.open()
        script = sender.socket = ScriptedSocket(sender.socket)
        full = [errno.EAGAIN] * 3
        script.refuse = lambda datagrams: full.pop() if full else None
        self.assertFalse(sender.send(Train(self.address(receiver), [b"a"], ECT0)))
        self.assertFalse(sender.send(Train(self.address(receiver), [b"b"], ECT1)))
        await user.received(2)
        self.assertEqual(user.codepoints, [ECT0, ECT1])

    async def test_refused(self) -> None:
        """Where the system refuses marks at run time all goes without, in whole trains."""
        sender, _ = self.open()
        receiver, user = self.open()
        script = sender.socket = RefusingMarks(sender.socket)
        sender.send(Train(self.address(receiver), numbered(5), ECT0))
        self.assertFalse(sender.ecn)
        sender.send(Train(self.address(receiver), numbered(5), ECT0))
        await user.received(10)
        self.assertEqual(set(user.codepoints), {NOT_ECT})
        self.assertEqual((script.sent, sender.statistics()), ([5, 5], {}))

    async def test_badAddressTeachesNothing(self) -> None:
        """An address that takes nothing at all, marked or not, which a stranger can forge, says nothing of marks."""
        sender, _ = self.open()
        receiver, user = self.open()
        for count in (1, 4):
            sender.send(Train(("127.0.0.1", 0), numbered(count), ECT0))
        self.assertEqual((sender.ecn, sender.statistics()), (True, {"EINVAL": 5}))
        sender.send(Train(self.address(receiver), numbered(4), ECT0))
        await user.received(4)
        self.assertEqual(user.codepoints, [ECT0])

    async def test_badDatagramTeachesNothing(self) -> None:
        """Nor does a datagram that is refused both ways: the next ones bear their marks."""
        sender, _ = self.open()
        receiver, user = self.open()
        script = sender.socket = ScriptedSocket(sender.socket)
        script.refuse = lambda datagrams: errno.EINVAL if datagrams[0] == b"bad" else None
        sender.segments = 1
        sender.send(Train(self.address(receiver), [b"bad", b"oak"], ECT0))
        await user.received(1)
        self.assertEqual((user.codepoints, sender.ecn, sender.statistics()), ([ECT0], True, {"EINVAL": 1}))

    async def test_unable(self) -> None:
        """Where codepoints are not told none is sent, and the core is told that none will be."""
        sender, _ = self.open(kind=NoMarks)
        receiver, user = self.open()
        self.assertFalse(sender.ecn)
        sender.send(Train(self.address(receiver), numbered(2), ECT0))
        await user.received(2)
        self.assertEqual(user.codepoints, [NOT_ECT])
        protocol = HypermailDatagramProtocol(security=Plain())
        port = NoMarks(0, protocol, "127.0.0.1", reactor)
        port.startListening()
        self.assertFalse(protocol._options.ecn)
        await port.stopListening()


class RefusingMarks(ScriptedSocket):
    """A socket that takes no codepoints."""

    def sendmsg(self, datagrams: Sequence[bytes], ancillary: Any, flags: int, address: Any) -> int:
        if any(level == socket.IPPROTO_IP for level, _, _ in ancillary):
            raise OSError(errno.EINVAL, "no marks")
        return super().sendmsg(datagrams, ancillary, flags, address)
