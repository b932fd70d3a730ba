"""
Tests of L{hypermail.internet.strays}, and of listeners that are several: real sockets.
"""

from __future__ import annotations

import socket
import sys
from itertools import chain
from random import Random
from typing import Any

from twisted.internet import reactor
from twisted.internet.interfaces import IReactorFDSet
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from hypermail import Batch
from hypermail.demux import Share
from hypermail.errors import RemoteAddressRefused, UsageError
from hypermail.internet import carrier
from hypermail.internet.endpoints import SessionClientEndpoint, SessionServerEndpoint
from hypermail.internet.security import Plain
from hypermail.internet.steering import openSteered
from hypermail.internet.strays import Strays, Worker, openDoors
from hypermail.internet.udp import SOL_UDP, UDP_SEGMENT
from hypermail.test.sessions import RecordingFactory
from hypermail.test.test_demux import hello
from hypermail.test.test_internet_udp import User

if sys.platform != "linux" or not IReactorFDSet.providedBy(reactor):
    skip = "workers need Linux, and a reactor that watches file descriptors"


class StraysTests(TestCase):
    """
    L{Strays}
    """

    timeout = 20

    def setUp(self) -> None:
        doors = openDoors(2)
        for side in chain(*doors):
            self.addCleanup(side.close)
        self.workers = [Strays(reactor, inner, [outer for _, outer in doors]) for inner, _ in doors]
        self.users = [[User(), User()] for _ in doors]
        for strays, users in zip(self.workers, self.users, strict=True):
            for user in users:
                strays.enter(user)
            strays.start()
            self.addCleanup(strays.stop)

    async def test_passOn(self) -> None:
        """What is passed on comes as it has come: to the same address, from the same one, with its codepoint."""
        datagrams = [b"@\0" + bytes(60_000), b"@\2" * 20]
        for address in (("192.0.2.7", 4_700), ("fe80::1%eth0", 65_535, b"local")):
            user = self.users[0][1]
            user.batches.clear()
            self.workers[1].passOn(self.users[1][1], datagrams, address, 3)
            await user.received(2)
            self.assertEqual(user.batches, [([datagram], address) for datagram in datagrams])
        self.assertEqual(user.codepoints, [3] * 4)
        self.assertEqual([each.batches for each in (self.users[0][0], *self.users[1])], [[], [], []])

    async def test_full(self) -> None:
        """Who does not read gets no more than there is room for; the rest is lost, and counted."""
        self.workers[0].stop()
        datagram = b"@\0" + bytes(1_000)
        for _ in range(1_000):
            self.workers[1].passOn(self.users[1][0], [datagram], ("192.0.2.7", 1), 0)
        lost = self.workers[1].lost["BlockingIOError"]
        self.assertTrue(0 < lost < 1_000)
        self.workers[0].start()
        # It has forgotten whose they are, as it had stopped: so has a worker that does not listen yet.
        await deferLater(reactor, 0.01, lambda: None)
        self.assertEqual(self.users[0][0].batches, [])

    async def test_gone(self) -> None:
        """What is for a worker whose door is gone is lost."""
        self.workers[0].stop()
        self.workers[0]._inner.close()
        self.workers[1].passOn(self.users[1][0], [b"@\0"], ("192.0.2.7", 1), 0)
        self.assertEqual(sum(self.workers[1].lost.values()), 1)


class ListeningTests(TestCase):
    """
    L{SessionServerEndpoint} on sockets that are bound, alone and with others
    """

    timeout = 20

    def setUp(self) -> None:
        self.factories: list[RecordingFactory] = []
        self.ports: list[Any] = []
        self.number = 0
        self.randomBytes = Random(1).randbytes

    async def listen(self, workers: int, **settings: Any) -> None:
        """As many as share an address."""
        sockets = openSteered(0, ("127.0.0.1",), workers)
        doors = openDoors(workers)
        for side in chain(*doors):
            self.addCleanup(side.close)
        self.number = sockets.getHosts()[0].port
        for number, share in enumerate(sockets.shares):
            strays = Strays(reactor, doors[number][0], [outer for _, outer in doors])
            strays.start()
            self.addCleanup(strays.stop)
            worker = Worker(Share(number, workers), b"s" * 32, strays)
            self.factories.append(RecordingFactory())
            endpoint = SessionServerEndpoint(
                reactor, 0, security=Plain(), sockets=share, worker=worker if workers > 1 else None, **settings
            )
            self.ports.append(await endpoint.listen(self.factories[-1]))
            self.addCleanup(self.ports[-1].stopListening)
        sockets.close()  # nobody needs them any more, as none of these workers comes again

    async def open(self) -> Any:
        """A session."""
        endpoint = SessionClientEndpoint(
            reactor, "127.0.0.1", self.number, security=Plain(), randomBytes=self.randomBytes
        )
        return await endpoint.connect(RecordingFactory())

    async def test_adopted(self) -> None:
        """A listener takes a socket that is bound, and closes its own descriptor of it in the end."""
        await self.listen(1)
        self.assertEqual(self.ports[0].getHost().port, self.number)
        protocol = await self.open()
        await protocol.session.sendMessage(b"hello")
        self.assertEqual(self.factories[0].built[0].messages, [b"hello"])
        await protocol.session.close()
        await self.ports[0].stopListening()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind(("127.0.0.1", self.number))

    async def test_adoptedByStock(self) -> None:
        """So it does where there is no port for trains."""
        self.patch(carrier, "_segments", lambda reactor: False)
        await self.test_adopted()

    async def test_workers(self) -> None:
        """The sessions of one starter's socket are spread over workers, and go on there."""
        await self.listen(2)
        protocols = [await self.open() for _ in range(20)]
        for protocol in protocols:
            await protocol.session.sendMessage(b"hello")
        counts = [len(factory.built) for factory in self.factories]
        self.assertEqual(sum(counts), 20)
        self.assertTrue(min(counts), counts)
        for protocol in protocols:
            await protocol.session.close()
        self.assertEqual([port.statistics()["astray"] for port in self.ports], [0, 0])

    async def test_strays(self) -> None:
        """What the kernel brings to the wrong one, as it was joined, comes to the right one."""
        await self.listen(2)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.setsockopt(SOL_UDP, UDP_SEGMENT, 1_200)
            sender.sendto(b"".join(hello(byte << 56) for byte in (1, 2, 3, 4)), ("127.0.0.1", self.number))
            while sum(port.statistics()["opening"] for port in self.ports) < 4:
                await deferLater(reactor, 0.001, lambda: None)
        for number, port in enumerate(self.ports):
            (protocol,) = port._protocols
            bytes_ = [connection.first_tag >> 56 for connection in protocol._demux.connections]
            self.assertEqual(bytes_, [[2, 4], [1, 3]][number])
        self.assertEqual([port.statistics()["astray"] for port in self.ports], [0, 2])

    async def test_secret(self) -> None:
        """Workers make the same tokens, each for the tags that are its."""
        await self.listen(2)
        first, second = (port._protocols[0]._demux._reception._reset_key for port in self.ports)
        self.assertEqual(first.token(77), second.token(77))

    async def test_elsewhere(self) -> None:
        """Mode plain takes no socket that others reach."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
            bound.bind(("0.0.0.0", 0))
            endpoint = SessionServerEndpoint(reactor, 0, security=Plain(), sockets=[bound])
            await self.assertFailure(endpoint.listen(RecordingFactory()), RemoteAddressRefused)

    def test_dialect(self) -> None:
        """Datagrams of dialects do not say whose they are."""
        worker = Worker(Share(0, 2), b"s" * 32, Strays(reactor, socket.socket(), []))
        self.addCleanup(worker.strays._inner.close)
        error = self.assertRaises(UsageError, SessionServerEndpoint, reactor, 0, dialect=Batch(), worker=worker)
        self.assertIn("do not say whose they are", error.text)
        self.assertNotIn("s" * 32, repr(worker))
