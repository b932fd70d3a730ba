"""
Tests of L{hypermail.internet.answering}, over real sockets on the loopback interface, all of whose 127.0.0.0/8 is ours.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

from twisted.internet import reactor
from twisted.internet.interfaces import IReactorFDSet
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase

from hypermail.internet.answering import IP_PKTINFO, AskedAddress, isEverywhere, localOf, pktinfoMessage
from hypermail.internet.datagrams import HypermailDatagramProtocol
from hypermail.internet.endpoints import SessionClientEndpoint, SessionServerEndpoint
from hypermail.internet.listening import openPorts
from hypermail.internet.security import Plain
from hypermail.internet.sockets import starterSocket
from hypermail.internet.udp import MAX_SEGMENTS, SegmentingPort
from hypermail.link.ecn import CE, ECT0, NOT_ECT
from hypermail.link.train import Train
from hypermail.test.sessions import RecordingFactory
from hypermail.test.test_internet_udp import ScriptedSocket, User, numbered

if sys.platform != "linux" or not IReactorFDSet.providedBy(reactor):
    skip = "IP_PKTINFO is read on Linux, and the reactor must watch file descriptors"

PLAIN = Plain(allowRemote=True)
FIRST, SECOND, THIRD = "127.0.0.1", "127.0.0.2", "127.0.0.3"


def of(host: str) -> bytes:
    """An IPv4 address as it is told."""
    return socket.inet_aton(host)


def addresses6() -> list[tuple[str, str]]:
    """This machine's usable IPv6 addresses but the loopback one, each with its interface."""
    table = Path("/proc/net/if_inet6")
    found = []
    for line in table.read_text().splitlines() if table.exists() else ():
        digits, _, _, _, flags, interface = line.split()
        if interface != "lo" and not int(flags, 16) & 0x48:  # DAD has failed, or goes on
            found.append((socket.inet_ntop(socket.AF_INET6, bytes.fromhex(digits)), interface))
    return found


def ports() -> list[Any]:
    """The sockets that the reactor reads."""
    return [each for each in reactor.getReaders() if isinstance(each, SegmentingPort)]


class RefusingSources(ScriptedSocket):
    """
    A socket that refuses to send from a chosen address.

    @ivar number: of the error.
    @ivar refusals: how often that was tried.
    """

    def __init__(self, real: socket.socket, number: int) -> None:
        super().__init__(real)
        self.number = number
        self.refusals = 0

    def sendmsg(self, datagrams: Sequence[bytes], ancillary: Any, flags: int, address: Any) -> int:
        if any((level, kind) == (socket.IPPROTO_IP, IP_PKTINFO) for level, kind, _ in ancillary):
            self.refusals += 1
            raise OSError(self.number, os.strerror(self.number))
        return super().sendmsg(datagrams, ancillary, flags, address)


class AnsweringTests(TestCase):
    """L{SegmentingPort} answers from where it was asked."""

    timeout = 20

    def open(
        self, interface: str = FIRST, answering: bool = False, kind: type[SegmentingPort] = SegmentingPort
    ) -> tuple[Any, User]:
        user = User()
        port = kind(0, user, interface, reactor, answering)
        port.startListening()
        self.addCleanup(port.stopListening)
        return port, user

    async def asked(self, listener: Any, heard: User, starter: Any, host: str) -> Any:
        """A starter sends something to one of the listener's addresses. @return: where that came from."""
        count = len(heard.datagrams)
        starter.send(Train((host, listener.getHost().port), numbered(3)))
        await heard.received(count + 3)
        return heard.batches[-1][1]

    async def test_answers(self) -> None:
        """Answers come from the address that was asked, which is not the first: whole trains, with their codepoints."""
        listener, heard = self.open("0.0.0.0", True)
        starter, answers = self.open()
        address = await self.asked(listener, heard, starter, SECOND)
        self.assertEqual(address, (FIRST, starter.getHost().port, of(SECOND)))
        script = listener.socket = ScriptedSocket(listener.socket)
        for codepoint in (ECT0, NOT_ECT, CE):
            listener.send(Train(address, numbered(40), codepoint))
        await answers.received(120)
        self.assertEqual({where for _, where in answers.batches}, {(SECOND, listener.getHost().port)})
        self.assertEqual((script.sent, answers.codepoints), ([40] * 3, [ECT0, NOT_ECT, CE]))
        self.assertEqual((answers.datagrams, listener.statistics()), (numbered(40) * 3, {}))

    async def test_routes(self) -> None:
        """Who doesn't answer, as a starter, and who has one address only, tells nothing and follows the routes."""
        for interface, answering, source in (("0.0.0.0", False, FIRST), (SECOND, True, SECOND)):
            listener, heard = self.open(interface, answering)
            starter, answers = self.open()
            address = await self.asked(listener, heard, starter, SECOND)
            self.assertEqual(address, (FIRST, starter.getHost().port))
            listener.send(Train(address, numbered(2)))
            await answers.received(2)
            self.assertEqual(answers.batches[0][1], (source, listener.getHost().port))

    async def test_atOnce(self) -> None:
        """What one starter's socket has asked at two addresses is two batches; each answer comes from its own."""
        listener, heard = self.open("0.0.0.0", True)
        starter, answers = self.open()
        number = listener.getHost().port
        for name in (b"a", b"b"):
            for host in (SECOND, THIRD):
                starter.send(Train((host, number), [name + host.encode()]))
        await heard.received(4)
        self.assertEqual(
            [(datagrams, address[2]) for datagrams, address in heard.batches],
            [([b"a127.0.0.2", b"b127.0.0.2"], of(SECOND)), ([b"a127.0.0.3", b"b127.0.0.3"], of(THIRD))],
        )
        first, second = (address for _, address in heard.batches)
        for address in (first, second, second, first, (FIRST, starter.getHost().port)):
            listener.send(Train(address, [b"answer"]))
        await answers.received(5)
        self.assertEqual(
            sorted((where[0], len(datagrams)) for datagrams, where in answers.batches),
            [(FIRST, 1), (SECOND, 2), (THIRD, 2)],
        )

    async def test_version6(self) -> None:
        """Over IPv6, too."""
        host = next((host for host, _ in addresses6() if not host.startswith("fe80")), None)
        if host is None:
            self.skipTest("this machine has no IPv6 address but ::1")
        listener, heard = self.open("::", True)
        starter, answers = self.open("::1")
        address = await self.asked(listener, heard, starter, host)
        self.assertEqual(address[2], socket.inet_pton(socket.AF_INET6, host))
        script = listener.socket = ScriptedSocket(listener.socket)
        listener.send(Train(address, numbered(40), ECT0))
        listener.send(Train(address[:2], [b"from where the routes say"]))
        await answers.received(41)
        self.assertEqual([(where[0], len(datagrams)) for datagrams, where in answers.batches], [(host, 40), ("::1", 1)])
        self.assertEqual((script.sent, answers.codepoints[0], listener.statistics()), ([40, 1], ECT0, {}))

    async def test_linkLocal(self) -> None:
        """A link-local address is answered from."""
        found = next((found for found in addresses6() if found[0].startswith("fe80")), None)
        if found is None:
            self.skipTest("this machine has no link-local IPv6 address")
        host = "%".join(found)
        listener, heard = self.open("::", True)
        starter, answers = self.open("::")
        address = await self.asked(listener, heard, starter, host)
        listener.send(Train(address, numbered(4)))
        await answers.received(4)
        zoned = f"{found[0]}%{socket.if_nametoindex(found[1])}"
        self.assertEqual((answers.batches[0][1][0], address[2][:16]), (zoned, socket.inet_pton(10, found[0])))
        self.assertEqual(listener.statistics(), {})

    async def test_waiting(self) -> None:
        """What had to wait for room in the socket comes from there as well."""
        listener, heard = self.open("0.0.0.0", True)
        starter, answers = self.open()
        address = await self.asked(listener, heard, starter, SECOND)
        script = listener.socket = ScriptedSocket(listener.socket)
        full = [errno.EAGAIN] * 2
        script.refuse = lambda datagrams: full.pop() if full else None
        self.assertFalse(listener.send(Train(address, [b"a"])))
        self.assertFalse(listener.send(Train(address, [b"b"])))
        await answers.received(2)
        self.assertEqual(answers.batches, [([b"a", b"b"], (SECOND, listener.getHost().port))])

    async def test_gone(self) -> None:
        """From an address that this host has no more, all goes as the routes say; nothing is learned from that."""
        listener, _ = self.open("0.0.0.0", True)
        starter, answers = self.open()
        address = AskedAddress(FIRST, starter.getHost().port, of("203.0.113.77"))
        script = listener.socket = ScriptedSocket(listener.socket)
        listener.send(Train(address, numbered(40), ECT0))
        listener.send(Train(address, [b"alone"]))
        await answers.received(41)
        self.assertEqual({where[0] for _, where in answers.batches}, {FIRST})
        self.assertEqual((script.sent, set(answers.codepoints)), ([40, 1], {ECT0, NOT_ECT}))
        self.assertEqual((listener.ecn, listener.segments, listener._unsegmented), (True, MAX_SEGMENTS, frozenset()))
        self.assertEqual(listener.statistics(), {})

    async def test_refused(self) -> None:
        """Whatever a source is refused with, the train goes without it; the next train asks for it again."""
        listener, _ = self.open("0.0.0.0", True)
        starter, answers = self.open()
        address = AskedAddress(FIRST, starter.getHost().port, of(SECOND))
        real = listener.socket
        numbers = (errno.EINVAL, errno.EADDRNOTAVAIL, errno.ENETUNREACH, errno.EHOSTUNREACH)
        for number in numbers:
            script = listener.socket = RefusingSources(real, number)
            listener.segments = 1
            listener.send(Train(address, numbered(3)))
            self.assertEqual((script.refusals, script.sent), (1, [1, 1, 1]))
            listener.send(Train(address, numbered(1)))
            self.assertEqual((script.refusals, script.sent), (2, [1, 1, 1, 1]))
        await answers.received(4 * len(numbers))
        self.assertEqual((listener.statistics(), listener.protocol.unreachable), ({}, []))

    async def test_refusedAsOthers(self) -> None:
        """EINVAL, which segments and marks are refused with, too: they are not blamed for it, and go as they were."""
        listener, _ = self.open("0.0.0.0", True)
        starter, answers = self.open()
        script = listener.socket = RefusingSources(listener.socket, errno.EINVAL)
        listener.send(Train(AskedAddress(FIRST, starter.getHost().port, of(SECOND)), numbered(40), ECT0))
        await answers.received(40)
        self.assertEqual((script.sent, answers.codepoints), ([40], [ECT0]))
        self.assertEqual((listener.ecn, listener.segments, listener._unsegmented), (True, MAX_SEGMENTS, frozenset()))

    async def test_refusedBothWays(self) -> None:
        """What is refused either way is lost, counted and told of once; what follows tries the address again."""
        listener, heard = self.open("0.0.0.0", True)
        starter, answers = self.open()
        address = await self.asked(listener, heard, starter, SECOND)
        script = listener.socket = ScriptedSocket(listener.socket)
        script.refuse = lambda datagrams: errno.ENETUNREACH if datagrams[0] == b"bad" else None
        listener.segments = 1
        listener.send(Train(address, [b"bad", b"oak"]))
        await answers.received(1)
        self.assertEqual(answers.batches, [([b"oak"], (SECOND, listener.getHost().port))])
        self.assertEqual(listener.statistics(), {"ENETUNREACH": 1})
        self.assertEqual(heard.unreachable, [(address, errno.ENETUNREACH)])

    async def test_otherErrors(self) -> None:
        """What has nothing to do with the source, as a datagram that is too large, is not tried without it."""
        listener, heard = self.open("0.0.0.0", True)
        starter, _ = self.open()
        address = await self.asked(listener, heard, starter, SECOND)
        script = listener.socket = RefusingSources(listener.socket, errno.EMSGSIZE)
        listener.send(Train(address, [b"large"]))
        self.assertEqual((script.refusals, script.sent, listener.statistics()), (1, [], {"EMSGSIZE": 1}))

    async def test_group(self) -> None:
        """Who has asked a group's address, from which nobody sends, is answered as the routes say."""
        listener, heard = self.open("0.0.0.0", True)
        starter, _ = self.open()
        with patch("hypermail.internet.udp.localOf", lambda data: b""):
            address = await self.asked(listener, heard, starter, SECOND)
        self.assertEqual(address, (FIRST, starter.getHost().port))

    async def test_unable(self) -> None:
        """On a system that doesn't tell, the routes are followed, and the reason is counted."""
        with patch("hypermail.internet.udp.pktinfoOption", lambda family: (socket.IPPROTO_IP, 9_999)):
            listener, heard = self.open("0.0.0.0", True)
        starter, _ = self.open()
        address = await self.asked(listener, heard, starter, SECOND)
        self.assertEqual(address, (FIRST, starter.getHost().port))
        self.assertEqual(listener.statistics(), {"ENOPROTOOPT": 1})


class LocalTests(SynchronousTestCase):
    """What the kernel tells, and what it is told."""

    def test_version4(self) -> None:
        """Ours counts, not the group's in the header, and no interface."""
        told = struct.pack("=I", 7) + socket.inet_aton(SECOND) + socket.inet_aton("224.0.0.1")
        self.assertEqual(localOf(told), of(SECOND))

    def test_version6(self) -> None:
        """An interface belongs to link-local addresses only; nobody sends from a group's."""
        for host, kept in (("2001:db8::1", False), ("fe80::1", True), ("febf::1", True), ("fec0::1", False)):
            packed = socket.inet_pton(socket.AF_INET6, host)
            told = packed + struct.pack("=I", 7)
            self.assertEqual(localOf(told), told if kept else packed)
        self.assertEqual(localOf(socket.inet_pton(socket.AF_INET6, "ff02::1") + struct.pack("=I", 7)), b"")

    def test_message(self) -> None:
        """It becomes as long as the kernel wants it, and names an interface for a link-local address only."""
        packed = socket.inet_pton(socket.AF_INET6, "2001:db8::1")
        local = socket.inet_pton(socket.AF_INET6, "fe80::1") + struct.pack("=I", 7)
        six = (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO)
        self.assertEqual(
            [pktinfoMessage(each) for each in (of(SECOND), packed, local)],
            [
                (socket.IPPROTO_IP, IP_PKTINFO, bytes(4) + of(SECOND) + bytes(4)),
                (*six, packed + bytes(4)),
                (*six, local),
            ],
        )

    def test_everywhere(self) -> None:
        """However all addresses are written."""
        for interface in ("", "0.0.0.0", "::", "0:0:0:0:0:0:0:0"):
            self.assertTrue(isEverywhere(interface))
        for interface in (FIRST, "::1", "fe80::1%lo"):
            self.assertFalse(isEverywhere(interface))

    def test_text(self) -> None:
        """It reads as the peer's address: so a token is the same wherever it is brought."""
        self.assertEqual(str(AskedAddress("::1", 2, of(FIRST))), "[::1]:2")


class SessionTests(TestCase):
    """Sessions with a listener that has many addresses."""

    timeout = 30

    def setUp(self) -> None:
        self.factory = RecordingFactory()
        #: Where what a starter was sent came from, and by how many datagrams at once.
        self.sources: list[tuple[str, int]] = []
        real = HypermailDatagramProtocol.datagramsReceived

        def receive(protocol: Any, datagrams: list[memoryview], address: Any, ecn: int = 0) -> None:
            if protocol.factory is None:
                self.sources.append((address[0], len(datagrams)))
            real(protocol, datagrams, address, ecn)

        patcher = patch.object(HypermailDatagramProtocol, "datagramsReceived", receive)
        patcher.start()
        self.addCleanup(patcher.stop)

    async def listen(self) -> int:
        endpoint = SessionServerEndpoint(reactor, 0, security=PLAIN, interface="0.0.0.0")
        port: Any = await endpoint.listen(self.factory)
        self.addCleanup(port.stopListening)
        number: int = port.getHost().port
        return number

    async def connect(self, host: str, number: int) -> Any:
        return await SessionClientEndpoint(reactor, host, number, security=PLAIN).connect(RecordingFactory())

    async def test_sessions(self) -> None:
        """Two sessions on one socket, each with an address of its own: both are answered from there, in trains."""
        number = await self.listen()
        second = await self.connect(SECOND, number)
        content = os.urandom(2_000_000)
        await self.factory.built[0].session.sendMessage(content)
        self.assertEqual({host for host, _ in self.sources}, {SECOND})
        self.assertGreater(max(count for _, count in self.sources), 1)
        third = await self.connect(THIRD, number)
        self.assertEqual(second.session.getHost(), third.session.getHost())
        self.assertEqual(str(self.factory.built[1].session.getPeer()), f"{FIRST}:{third.session.getHost().port}")
        self.sources.clear()
        await self.factory.built[0].session.sendMessage(content)
        self.assertIn(SECOND, {host for host, _ in self.sources})
        self.sources.clear()
        await third.session.sendMessage(content)
        self.assertIn(THIRD, {host for host, _ in self.sources})
        for one in (second, third, *self.factory.built):
            self.assertEqual(one.session.statistics()["ecn"], "capable")
            self.assertEqual(one.session.statistics()["moves"], 0)
        for protocol in (second, third):
            await protocol.session.close()

    async def test_askedElsewhere(self) -> None:
        """A session that is asked at another of our addresses follows there, as to a path of its own (RFC 9000 §9)."""
        number = await self.listen()
        protocol = await self.connect(SECOND, number)
        (port,) = (each for each in ports() if each.protocol.factory is None)
        send = port.send
        with patch.object(port, "send", lambda train: send(train._replace(address=(THIRD, number)))):
            await protocol.session.sendMessage(b"over there")
            (ours,) = self.factory.built
            while not ours.session.statistics()["moves"]:
                await deferLater(reactor, 0.01)
            await deferLater(reactor, 0.01)  # what was sent before may wait to be read yet
            self.sources.clear()
            await ours.session.sendMessage(b"from there")
            self.assertEqual({host for host, _ in self.sources}, {THIRD})
            self.assertEqual(ours.session.statistics()["moves"], 1)
            await protocol.session.close()


class WhoAnswersTests(TestCase):
    """Listeners answer; starters go where the routes lead."""

    def hears(self, port: Any) -> int:
        told: int = port.socket.getsockopt(socket.IPPROTO_IP, IP_PKTINFO)
        return told

    async def test_listener(self) -> None:
        """A listener's socket tells where datagrams were sent to."""
        opened = await openPorts(reactor, 0, ["0.0.0.0"], User)
        self.addCleanup(opened.stopListening)
        (port,) = ports()
        self.assertEqual(self.hears(port), 1)

    async def test_starter(self) -> None:
        """A starter's does not: after its host has another address, it has to send from that."""
        made = starterSocket(reactor, "key", "0.0.0.0", lambda: HypermailDatagramProtocol(security=PLAIN))
        lease = made.lease(lambda: None)
        port: Any = made.sessions.transport
        self.assertEqual(self.hears(port), 0)
        closing = lease()
        assert closing is not None
        await closing
