"""
Tests of L{hypermail.internet.udp}, over real sockets on the loopback interface.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFDSet
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from hypermail.interfaces import ICarrier, ICarrierUser
from hypermail.internet.udp import GLANCED, GLANCES, MAX_QUEUED, MAX_SEGMENTS, MAX_UNSEGMENTED, SegmentingPort
from hypermail.link.train import Train
from hypermail.options import MIB
from hypermail.test.sessions import ipv6

if sys.platform != "linux" or not IReactorFDSet.providedBy(reactor):
    skip = "UDP_SEGMENT and UDP_GRO are Linux's, and the reactor must watch file descriptors"


@implementer(ICarrierUser)
class User(DatagramProtocol):
    """
    Keeps copies of what it is brought.

    @ivar batches: (datagrams, address) of each call.
    @ivar codepoints: one of each call.
    """

    fragmentable = False

    noisy = False

    def __init__(self) -> None:
        self.batches: list[tuple[list[bytes], Any]] = []
        self.codepoints: list[int] = []
        self.writable = 0
        self.unreachable: list[tuple[Any, int | None]] = []
        self._awaited: tuple[int, Deferred[None]] | None = None

    @property
    def datagrams(self) -> list[bytes]:
        """All of them, in order."""
        return [datagram for batch, _ in self.batches for datagram in batch]

    def datagramsReceived(self, datagrams: list[memoryview], address: Any, ecn: int = 0) -> None:
        self.codepoints.append(ecn)
        self.batches.append(([bytes(datagram) for datagram in datagrams], address))
        if self._awaited is not None and len(self.datagrams) >= self._awaited[0]:
            awaited, self._awaited = self._awaited[1], None
            awaited.callback(None)

    def received(self, count: int) -> Deferred[None]:
        """Fires when so many datagrams have come."""
        deferred: Deferred[None] = Deferred()
        if len(self.datagrams) >= count:
            deferred.callback(None)
        else:
            self._awaited = count, deferred
        return deferred

    def carrierWritable(self) -> None:
        self.writable += 1

    def addressUnreachable(self, address: Any, error: OSError) -> None:
        self.unreachable.append((address, error.errno))


class ScriptedSocket:
    """
    A socket whose sending fails as it was told.

    @ivar refuse: called with the datagrams of each C{sendmsg}; the number of an error, or None to let it pass.
    @ivar sent: how many datagrams each successful C{sendmsg} had.
    @ivar reads: how often C{recvmsg_into} was called.
    """

    def __init__(self, real: socket.socket) -> None:
        self._real = real
        self.refuse: Any = lambda datagrams: None
        self.refuseReading: list[int] = []
        self.sent: list[int] = []
        self.reads = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def sendmsg(self, datagrams: Sequence[bytes], ancillary: Any, flags: int, address: Any) -> int:
        number = self.refuse(datagrams)
        if number is not None:
            raise OSError(number, os.strerror(number))
        size = self._real.sendmsg(datagrams, ancillary, flags, address)
        self.sent.append(len(datagrams))
        return size

    def recvmsg_into(self, *arguments: Any) -> Any:
        self.reads += 1
        if self.refuseReading:
            number = self.refuseReading.pop()
            raise OSError(number, os.strerror(number))
        return self._real.recvmsg_into(*arguments)


def numbered(count: int, size: int = 1200) -> list[bytes]:
    """Datagrams that differ."""
    return [number.to_bytes(4, "big") * (size // 4) for number in range(count)]


class SegmentingPortTests(TestCase):
    """
    L{SegmentingPort}: trains in, trains out.
    """

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

    def scripted(self, port: Any) -> ScriptedSocket:
        port.socket = ScriptedSocket(port.socket)
        script: ScriptedSocket = port.socket
        return script

    def turn(self) -> Deferred[None]:
        return deferLater(reactor, 0.01)

    def test_interface(self) -> None:
        """It is a carrier."""
        port, user = self.open()
        verifyObject(ICarrier, port)
        verifyObject(ICarrierUser, user)

    async def test_train(self) -> None:
        """A train arrives as the datagrams that it was, the short last one included, as one batch."""
        sender, _ = self.open()
        receiver, user = self.open()
        train = [*numbered(30), b"the last is short"]
        self.assertTrue(sender.send(Train(self.address(receiver), train)))
        await user.received(31)
        self.assertEqual(user.batches, [(train, self.address(sender))])

    async def test_oneSystemCall(self) -> None:
        """A train is one C{sendmsg}."""
        sender, _ = self.open()
        receiver, user = self.open()
        script = self.scripted(sender)
        sender.send(Train(self.address(receiver), numbered(40)))
        await user.received(40)
        self.assertEqual(script.sent, [40])

    async def test_sizesChange(self) -> None:
        """Trains of different sizes after each other keep their borders."""
        sender, _ = self.open()
        receiver, user = self.open()
        trains = [numbered(5, 1200), numbered(5, 400), numbered(1, 1200), numbered(7, 1000)]
        for train in trains:
            sender.send(Train(self.address(receiver), train))
        await user.received(18)
        self.assertEqual(user.datagrams, [datagram for train in trains for datagram in train])

    async def test_batchForEachAddress(self) -> None:
        """What several peers have sent between two reads is one batch for each of them."""
        first, _ = self.open()
        second, _ = self.open()
        receiver, user = self.open()
        for datagram in numbered(6, 100):
            for sender in (first, second):
                sender.send(Train(self.address(receiver), [datagram]))
        await user.received(12)
        self.assertEqual(
            user.batches, [(numbered(6, 100), self.address(first)), (numbered(6, 100), self.address(second))]
        )

    async def test_moreThanTheArena(self) -> None:
        """What is more than the arena holds is handed over in several batches, none of which spoils another."""
        sender, _ = self.open()
        receiver, user = self.open()
        trains = [[bytes([number]) * 1200 for _ in range(50)] for number in range(20)]
        for train in trains:
            sender.send(Train(self.address(receiver), train))
        await user.received(1000)
        self.assertEqual(user.datagrams, [datagram for train in trains for datagram in train])
        self.assertGreater(len(user.batches), 3)

    async def test_largeDatagrams(self) -> None:
        """The largest datagram there is passes."""
        sender, _ = self.open()
        receiver, user = self.open()
        sender.send(Train(self.address(receiver), [b"x" * 65_507]))
        await user.received(1)
        self.assertEqual(list(map(len, user.datagrams)), [65_507])

    async def test_ipv6(self) -> None:
        """An IPv6 socket brings (host, port) as an IPv4 socket does, and leaves IPv4 alone."""
        if not ipv6():
            self.skipTest("this machine has no IPv6")
        sender, _ = self.open("::1")
        receiver, user = self.open("::1")
        option = receiver.socket.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
        sender.send(Train(self.address(receiver), numbered(3)))
        await user.received(3)
        self.assertEqual((user.batches[0][1], option), (self.address(sender), 1))

    def test_buffers(self) -> None:
        """The socket's buffers are large, and what was granted is known."""
        port, _ = self.open()
        granted = port.socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        self.assertEqual(port.receiveBuffer, granted // 2)
        self.assertLessEqual(port.receiveBuffer, 4 * MIB)

    async def test_stoppedWhileReading(self) -> None:
        """A port that is stopped by what it brings reads no further."""
        sender, _ = self.open()
        receiver, user = self.open()
        for _ in range(20):
            sender.send(Train(self.address(receiver), numbered(50)))

        def stop(datagrams: list[memoryview], address: Any, ecn: int = 0) -> None:
            user.batches.append(([], address))
            receiver.connectionLost()

        user.datagramsReceived = stop  # type: ignore[method-assign]
        await self.turn()
        self.assertEqual(len(user.batches), 1)

    async def test_readErrors(self) -> None:
        """An error that answers something we sent is counted, and reading goes on."""
        sender, _ = self.open()
        receiver, user = self.open()
        self.scripted(receiver).refuseReading = [errno.ECONNREFUSED, errno.EHOSTUNREACH]
        sender.send(Train(self.address(receiver), numbered(2)))
        await user.received(2)
        self.assertEqual(receiver.statistics(), {"EHOSTUNREACH": 1, "ECONNREFUSED": 1})

    def reading(self) -> tuple[Callable[..., int], User]:
        """
        A port that reads when it is told to.

        @return: what sends it datagrams of some sizes, lets it read, and tells in how many calls of the system; what
            they were brought to.
        """
        sender, _ = self.open()
        receiver, user = self.open()
        receiver.stopReading()
        script = self.scripted(receiver)

        def read(*sizes: int) -> int:
            before = script.reads
            for size in sizes:
                sender.send(Train(self.address(receiver), [b"x" * size]))
            receiver.doRead()
            return script.reads - before

        return read, user

    def test_oneByOne(self) -> None:
        """Where small datagrams come one by one it is seldom asked whether there is another one."""
        read, user = self.reading()
        turns = [2] + [1] * GLANCES + [2] + [1] * GLANCES + [2]
        self.assertEqual([read(100) for _ in turns], turns)
        self.assertEqual(len(user.datagrams), len(turns))

    def test_severalAgain(self) -> None:
        """When more of them come than are read, that is noticed soon, and from then on all are read at once."""
        read, user = self.reading()
        self.assertEqual(read(100), 2)
        self.assertEqual([read(100, 200) for _ in range(GLANCES)], [1] * GLANCES)
        self.assertEqual(read(), GLANCES + 1)
        self.assertEqual(read(100, 200, 300), 4)
        self.assertEqual([len(datagram) for datagram in user.datagrams], [100] + [100, 200] * GLANCES + [100, 200, 300])

    def test_largeOneByOne(self) -> None:
        """What large datagrams belong to is read together, as they cost no more than a turn does."""
        read, _ = self.reading()
        self.assertEqual([read(GLANCED + 1) for _ in range(4)], [2] * 4)
        self.assertEqual([read(100), read(GLANCED), read(GLANCED + 1)], [1, 1, 2])

    async def test_queue(self) -> None:
        """A full socket: the train waits, the sender is told, and told again when there is room."""
        sender, waiting = self.open()
        receiver, user = self.open()
        script = self.scripted(sender)
        script.refuse = lambda datagrams: errno.EAGAIN
        first, second = numbered(3), numbered(4)
        self.assertFalse(sender.send(Train(self.address(receiver), first)))
        self.assertFalse(sender.send(Train(self.address(receiver), second)))
        await self.turn()
        self.assertEqual((waiting.writable, user.datagrams), (0, []))
        script.refuse = lambda datagrams: None
        await user.received(7)
        self.assertEqual((waiting.writable, user.datagrams), (1, first + second))
        self.assertNotIn(sender, reactor.getWriters())

    async def test_queueIsBounded(self) -> None:
        """Who doesn't stop sending into a full socket loses datagrams, not memory."""
        sender, _ = self.open()
        receiver, _ = self.open()
        self.scripted(sender).refuse = lambda datagrams: errno.EAGAIN
        for _ in range(MAX_QUEUED + 2):
            sender.send(Train(self.address(receiver), numbered(3)))
        self.assertEqual(sender.statistics(), {"dropped": 6})

    async def test_stopWithQueue(self) -> None:
        """A port that is stopped forgets what waits."""
        sender, waiting = self.open()
        receiver, _ = self.open()
        self.scripted(sender).refuse = lambda datagrams: errno.EAGAIN
        sender.send(Train(self.address(receiver), numbered(3)))
        await sender.stopListening()
        self.assertEqual(waiting.writable, 0)
        self.assertNotIn(sender, reactor.getWriters())

    async def test_stop(self) -> None:
        """A carrier that is told to stop forgets what waits."""
        sender, waiting = self.open()
        receiver, user = self.open()
        script = self.scripted(sender)
        script.refuse = lambda datagrams: errno.EAGAIN
        sender.send(Train(self.address(receiver), numbered(3)))
        sender.stop()
        script.refuse = lambda datagrams: None
        await self.turn()
        self.assertEqual((waiting.writable, user.datagrams), (0, []))

    async def test_tooManySegments(self) -> None:
        """EINVAL: trains are halved until they pass, and stay so."""
        sender, _ = self.open()
        receiver, user = self.open()
        script = self.scripted(sender)
        script.refuse = lambda datagrams: errno.EINVAL if len(datagrams) > 20 else None
        for _ in range(2):
            sender.send(Train(self.address(receiver), numbered(50)))
        await user.received(100)
        self.assertEqual(script.sent, [12, 12, 12, 12, 2] * 2)
        self.assertEqual((user.datagrams, sender.segments), (numbered(50) * 2, 12))

    async def test_deviceCannotSegment(self) -> None:
        """EIO: single datagrams to this address from then on, trains to others."""
        sender, _ = self.open()
        receiver, user = self.open()
        other, others = self.open()
        script = self.scripted(sender)
        script.refuse = lambda datagrams: errno.EIO if len(datagrams) > 1 else None
        sender.send(Train(self.address(receiver), numbered(3)))
        script.refuse = lambda datagrams: None
        sender.send(Train(self.address(receiver), numbered(3)))
        sender.send(Train(self.address(other), numbered(3)))
        await user.received(6)
        await others.received(3)
        self.assertEqual(script.sent, [1, 1, 1, 1, 1, 1, 3])

    async def test_segmentsTooLarge(self) -> None:
        """EMSGSIZE of a train: its datagrams go alone, as some of them may pass."""
        sender, _ = self.open()
        receiver, user = self.open()
        script = self.scripted(sender)
        script.refuse = lambda datagrams: errno.EMSGSIZE if len(datagrams) > 1 else None
        sender.send(Train(self.address(receiver), numbered(3)))
        await user.received(3)
        self.assertEqual(script.sent, [1, 1, 1])

    async def test_interfaceShrinks(self) -> None:
        """Where all but the short last datagram of a train are too large, nothing is learned about segments."""
        port, _ = self.open()
        to, arrived = self.open()
        script = self.scripted(port)
        for number in (errno.EINVAL, errno.EMSGSIZE):
            script.refuse = lambda datagrams, number=number: (
                (number if len(datagrams) > 1 else errno.EMSGSIZE) if len(datagrams[0]) > 1_200 else None
            )
            port.send(Train(self.address(to), [*numbered(20, 1_472), b"short"]))
        self.assertEqual(port.statistics()["EMSGSIZE"], 40)
        script.refuse = lambda datagrams: None
        script.sent.clear()
        port.send(Train(self.address(to), numbered(20)))
        self.assertEqual(script.sent, [20])
        await arrived.received(22)

    async def test_badAddressTeachesNothing(self) -> None:
        """An address that takes nothing, as one with port 0 which a stranger can forge, changes nothing for others."""
        sender, _ = self.open()
        receiver, user = self.open()
        script = self.scripted(sender)
        sender.send(Train(("127.0.0.1", 0), numbered(4)))
        self.assertEqual(sender.statistics(), {"EINVAL": 4})
        sender.send(Train(self.address(receiver), numbered(4)))
        await user.received(4)
        self.assertEqual((script.sent, sender.segments), ([4], MAX_SEGMENTS))

    def test_unsegmentedIsBounded(self) -> None:
        """So many addresses are remembered that take no trains, and no more."""
        sender, _ = self.open()
        for port in range(MAX_UNSEGMENTED + 3):
            sender._learn(("127.0.0.1", port), 1)
        self.assertLessEqual(len(sender._unsegmented), MAX_UNSEGMENTED)

    async def test_tooLarge(self) -> None:
        """A datagram that is larger than any is dropped and counted; the next one passes."""
        sender, _ = self.open()
        receiver, user = self.open()
        sender.send(Train(self.address(receiver), [b"x" * 70_000]))
        sender.send(Train(self.address(receiver), [b"y"]))
        await user.received(1)
        self.assertEqual((user.datagrams, sender.statistics()), ([b"y"], {"EMSGSIZE": 1}))

    def test_unreachable(self) -> None:
        """The user is told when the system has no way to an address, and the train counts as lost."""
        sender, user = self.open()
        self.scripted(sender).refuse = lambda datagrams: errno.ENETUNREACH
        self.assertTrue(sender.send(Train(("192.0.2.1", 9), numbered(4))))
        self.assertEqual(user.unreachable, [(("192.0.2.1", 9), errno.ENETUNREACH)])
        self.assertEqual(sender.statistics(), {"ENETUNREACH": 4})

    async def test_withoutSegmentation(self) -> None:
        """On a kernel that has neither option the same train arrives, datagram by datagram."""

        class OldKernel(SegmentingPort):
            def createInternetSocket(self) -> socket.socket:
                made = _OldSocket(self.addressFamily, self.socketType)
                made.setblocking(False)
                self._prepare(made)
                return made

        sender, _ = self.open(kind=OldKernel)
        receiver, user = self.open(kind=OldKernel)
        script = self.scripted(sender)
        sender.send(Train(self.address(receiver), numbered(5)))
        await user.received(5)
        self.assertEqual((script.sent, user.datagrams, sender.segments), ([1] * 5, numbered(5), 1))

    def test_socketThatCannotBePrepared(self) -> None:
        """When the socket cannot be made as wanted, it is closed and the reason is raised."""

        class Broken(SegmentingPort):
            def _prepare(self, made: socket.socket) -> None:
                self.made = made
                raise OSError(errno.ENOBUFS, "no buffers")

        port = Broken(0, User(), "127.0.0.1", reactor)
        self.assertRaises(OSError, port.createInternetSocket)
        self.assertEqual(port.made.fileno(), -1)


class _OldSocket(socket.socket):
    """A socket that knows neither UDP_SEGMENT nor UDP_GRO."""

    def setsockopt(self, level: int, option: int, value: Any, *rest: Any) -> None:
        if level == 17:
            raise OSError(errno.ENOPROTOOPT, "unknown")
        super().setsockopt(level, option, value, *rest)
