"""
Tests of tunnels over real sockets: L{hypermail.services.entrances}, L{hypermail.services.exits},
L{hypermail.services.pipes} and L{hypermail.services.flows}.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint, connectProtocol
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from hypermail.internet.endpoints import SessionClientEndpoint
from hypermail.internet.security import Plain
from hypermail.internet.settings import ListenerSettings
from hypermail.services.addresses import Listening
from hypermail.services.ending import CannotStart
from hypermail.services.entrances import TunnelService
from hypermail.services.listener import Doing, ListenerService
from hypermail.services.passages import parse_forwards, parse_listens
from hypermail.services.status import Status
from hypermail.test.sessions import logged

HERE = "127.0.0.1"
clock = cast(Any, reactor)


@implementer(IHalfCloseableProtocol)
class Talker(Protocol):
    """
    A TCP connection that remembers.

    @ivar ended: fires when the other side has said its last word.
    @ivar lost: fires with why the connection is over.
    """

    transport: Any

    def __init__(self) -> None:
        self.data = bytearray()
        self.ended: Deferred[None] = Deferred()
        self.lost: Deferred[Any] = Deferred()
        self.read = True
        self.port = 0

    def connectionMade(self) -> None:
        self.port = self.transport.getHost().port
        if not self.read:
            self.transport.pauseProducing()

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def readConnectionLost(self) -> None:
        self.ended.callback(None)

    def writeConnectionLost(self) -> None:
        """Said."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.callback(reason.value)


class Answers(Talker):
    """Says what it was told backwards when the other side has said it all."""

    def readConnectionLost(self) -> None:
        super().readConnectionLost()
        self.transport.write(bytes(self.data[::-1]))
        self.transport.loseConnection()


class Datagrams(DatagramProtocol):
    """A UDP socket that remembers. @ivar answering: whether it sends everything back, after its own port."""

    transport: Any

    def __init__(self, answering: bool = False) -> None:
        self.answering = answering
        self.got: list[tuple[bytes, Any]] = []

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.got.append((datagram, addr))
        if self.answering:
            self.transport.write(b"%d:" % addr[1] + datagram, addr)


class TunnelCase(TestCase):
    """A listener and a starter in this process."""

    timeout = 60

    def setUp(self) -> None:
        self.servers: list[Talker] = []
        self.lines = logged(self)
        self.port = 0

    async def serve(self, kind: type[Talker] = Answers) -> int:
        """A TCP server. @return: its port."""

        class Serving(Factory):
            noisy = False

            def buildProtocol(_, addr: Any) -> Talker:
                self.servers.append(kind())
                return self.servers[-1]

        port = await TCP4ServerEndpoint(clock, 0, interface=HERE).listen(Serving())
        self.addCleanup(port.stopListening)
        return int(port.getHost().port)

    def datagrams(self, answering: bool = False) -> tuple[Datagrams, int]:
        """A UDP socket, and its port."""
        socket = Datagrams(answering)
        port = clock.listenUDP(0, socket, interface=HERE)
        self.addCleanup(port.stopListening)
        return socket, port.getHost().port

    async def listener(self, *forwards: str) -> ListenerService:
        """The listener's end."""
        doing = Doing(
            listening=Listening(self.port, HERE),
            forwards=parse_forwards(forwards),
            settings=ListenerSettings(plain=True),
        )
        service = ListenerService(clock, doing)
        service.startService()
        self.addCleanup(lambda: service.stopService() if service.running else None)
        self.port = service._port.getHost().port
        return service

    def endpoint(self) -> SessionClientEndpoint:
        """Of the listener."""
        return SessionClientEndpoint(clock, HERE, self.port, security=Plain())

    async def tunnel(self, *listens: str) -> list[int]:
        """The starter's end, with a session. @return: the ports of its entrances."""
        service = TunnelService(clock, self.endpoint, parse_listens(listens))
        service.startService()
        self.addCleanup(lambda: service.stopService() if service.running else None)
        self.service = service
        assert service.starter is not None
        await service.starter.whenOpened()
        ports = []
        for entrance in service.services[:-1]:
            listening = getattr(entrance, "_listening", None)
            port = entrance._port if listening is None else listening.result
            ports.append(port.getHost().port)
        return ports

    async def call(self, port: int, **attributes: Any) -> Talker:
        """Connect to an entrance."""
        talker = Talker()
        for name, value in attributes.items():
            setattr(talker, name, value)
        await connectProtocol(TCP4ClientEndpoint(clock, HERE, port), talker)
        return talker

    def said(self, *parts: str) -> None:
        """One line of the log has these parts."""
        self.assertTrue([line for line in self.lines if all(part in line for part in parts)], self.lines)


class StreamTests(TunnelCase):
    """Connections through a tunnel."""

    async def test_halfClose(self) -> None:
        """What one side says comes to the other, its end too, and the answer after that comes back."""
        await self.listener(f"tcp:{HERE}:{await self.serve()}")
        (entrance,) = await self.tunnel(f"tcp:0:interface={HERE}")
        data = bytes(range(256)) * 4_000
        talkers = [await self.call(entrance) for _ in range(3)]
        for talker in talkers:
            talker.transport.write(data)
            talker.transport.loseWriteConnection()
        for talker in talkers:
            await talker.ended
            self.assertEqual(talker.data, data[::-1])
            talker.transport.loseConnection()
            self.assertIsInstance(await talker.lost, ConnectionDone)
        for server in self.servers:
            self.assertIsInstance(await server.lost, ConnectionDone)

    async def test_names(self) -> None:
        """Each entrance leads to the exit of its name."""
        one, other = await self.serve(), await self.serve()
        await self.listener(f"one=tcp:{HERE}:{one}", f"other=tcp:{HERE}:{other}")
        for port, name in zip(
            await self.tunnel(f"other=tcp:0:interface={HERE}", f"one=tcp:0:interface={HERE}"), (other, one)
        ):
            talker = await self.call(port)
            talker.transport.loseWriteConnection()
            await talker.ended
            self.assertEqual(self.servers[-1].port, name)
            talker.transport.loseConnection()
            await talker.lost

    async def test_unknownName(self) -> None:
        """A name that nothing is forwarded by: the caller is cut off, and the log says what there is."""
        await self.listener(f"web=tcp:{HERE}:{await self.serve()}", f"dns=udp:{HERE}:53")
        (entrance,) = await self.tunnel(f"ssh=tcp:0:interface={HERE}")
        self.assertIsInstance(await (await self.call(entrance)).lost, ConnectionLost)
        self.said("a stream is refused: no stream is forwarded by the name 'ssh'")
        self.said("ssh=tcp:0", "no stream is forwarded by the name 'ssh'; there is 'web', 'dns' for datagrams")

    async def test_targetDown(self) -> None:
        """A target that is down: the caller is cut off, both logs say why, and the others go on."""
        closed = self.datagrams()[1]  # nobody takes TCP's connections there
        await self.listener(f"down=tcp:{HERE}:{closed}", f"up=tcp:{HERE}:{await self.serve()}")
        down, up = await self.tunnel(f"down=tcp:0:interface={HERE}", f"up=tcp:0:interface={HERE}")
        self.assertIsInstance(await (await self.call(down)).lost, ConnectionLost)
        self.said("--forward down=tcp:", "a stream cannot go on: ", "refused")
        self.said(
            "--listen down=tcp:0", "a connection cannot go through the tunnel: its target cannot be reached", "refused"
        )
        talker = await self.call(up)
        talker.transport.write(b"abc")
        talker.transport.loseWriteConnection()
        await talker.ended
        self.assertEqual(talker.data, b"cba")
        talker.transport.loseConnection()
        await talker.lost

    async def test_aborts(self) -> None:
        """A connection that is cut off on one side is not closed cleanly on the other."""
        await self.listener(f"tcp:{HERE}:{await self.serve(Talker)}")
        (entrance,) = await self.tunnel(f"tcp:0:interface={HERE}")
        for near in (True, False):
            talker = await self.call(entrance)
            talker.transport.write(b"x")
            while len(self.servers) < 1 or not self.servers[-1].data:
                await deferLater(clock, 0.01)
            server = self.servers.pop()
            one, other = (talker, server) if near else (server, talker)
            one.transport.abortConnection()
            self.assertIsInstance(await other.lost, ConnectionLost)
            await one.lost

    async def test_backPressure(self) -> None:
        """A server that does not read stops who sends to it, and nothing is piled up in between."""
        await self.listener(f"tcp:{HERE}:{await self.serve(Paused)}")
        (entrance,) = await self.tunnel(f"tcp:0:interface={HERE}")
        talker = await self.call(entrance)
        source = Source(talker)
        talker.transport.registerProducer(source, True)
        source.resumeProducing()
        before = -1
        while before != source.sent:
            before = source.sent
            await deferLater(clock, 0.3)
        self.assertLess(source.sent, 24 << 20)
        server = self.servers[-1]
        server.transport.resumeProducing()
        source.over = True
        while len(server.data) < source.sent:
            await deferLater(clock, 0.02)
        talker.transport.abortConnection()
        await talker.lost
        await server.lost

    async def test_reconnects(self) -> None:
        """A listener that comes back is found again; who connects meanwhile waits for it."""
        target = await self.serve()
        service = await self.listener(f"tcp:{HERE}:{target}")
        (entrance,) = await self.tunnel(f"tcp:0:interface={HERE}")
        await service.stopService()
        starter = self.service.starter
        assert starter is not None
        while starter.protocol is not None:
            await deferLater(clock, 0.01)
        talker = await self.call(entrance)
        talker.transport.write(b"early")
        talker.transport.loseWriteConnection()
        await self.listener(f"tcp:{HERE}:{target}")
        await talker.ended
        self.assertEqual(talker.data, b"ylrae")
        talker.transport.loseConnection()
        await talker.lost

    async def test_status(self) -> None:
        """A status that is given counts the starter's sessions, as the listener's."""
        await self.listener(f"tcp:{HERE}:1")
        status = Status(clock.seconds, lambda: datetime.now(UTC))
        service = TunnelService(clock, self.endpoint, parse_listens([f"udp:0:interface={HERE}"]), status)
        service.startService()
        assert service.starter is not None
        await service.starter.whenOpened()
        (session,) = status.snapshot()["sessions"]
        self.assertEqual((session["mode"], session["address"]), ("plain", f"{HERE}:{self.port}"))
        await service.stopService()
        found = status.snapshot()
        self.assertEqual((found["sessions"], found["totals"]["sessions_opened"]), ([], 1))

    async def test_startsAgain(self) -> None:
        """Both ends may be stopped and started again."""
        listener = await self.listener(f"tcp:{HERE}:{await self.serve()}")
        await self.tunnel(f"tcp:0:interface={HERE}")
        for _ in range(2):
            await self.service.stopService()
            await listener.stopService()
            listener._doing = replace(listener._doing, listening=Listening(self.port, HERE))
            listener.startService()
            self.service.startService()
            assert self.service.starter is not None
            await self.service.starter.whenOpened()
            port = cast(Any, self.service.services[0])._listening.result.getHost().port
            talker = await self.call(port)
            talker.transport.write(b"again")
            talker.transport.loseWriteConnection()
            await talker.ended
            self.assertEqual(talker.data, b"niaga")
            talker.transport.loseConnection()
            await talker.lost

    async def test_gaveUp(self) -> None:
        """A service that stops cuts off who waits for a session."""
        self.port = self.datagrams()[1]
        service = TunnelService(clock, self.endpoint, parse_listens([f"tcp:0:interface={HERE}"]))
        service.startService()
        entrance = cast(Any, service.services[0])._listening.result.getHost().port
        talker = await self.call(entrance)
        await deferLater(clock, 0.05)
        await service.stopService()
        self.assertIsInstance(await talker.lost, ConnectionLost)

    async def test_cannotStart(self) -> None:
        """What cannot be begun says which option it was."""
        taken = await self.serve()
        for listens, parts in (
            ([f"a=tcp:{taken}:interface={HERE}"], (f"--listen a=tcp:{taken}", "in use")),
            (["nonsense:1"], ("--listen nonsense:1", "it takes an endpoint to listen on, as tcp:")),
            (["tcp:nonsense"], ("--listen tcp:nonsense", "it takes an endpoint to listen on")),
            ([f"udp:{self.port or 1}:interface=192.0.2.1"], ("--listen udp:", "cannot listen on port")),
        ):
            service = TunnelService(clock, self.endpointOfNobody, parse_listens(listens))
            error = self.assertRaises(CannotStart, service.startService)
            for part in parts:
                self.assertIn(part, error.text)
            await service.stopService()
        for forward in ("nonsense:1", "tcp:1:2:3:4:5"):
            doing = Doing(
                listening=Listening(0, HERE), forwards=parse_forwards([forward]), settings=ListenerSettings(plain=True)
            )
            error = self.assertRaises(CannotStart, ListenerService(clock, doing).startService)
            self.assertIn(f"--forward {forward}: ", error.text)

    def endpointOfNobody(self) -> SessionClientEndpoint:
        """Where nobody listens."""
        return SessionClientEndpoint(clock, HERE, 1, security=Plain())


class Paused(Talker):
    """Reads nothing at first."""

    def __init__(self) -> None:
        super().__init__()
        self.read = False


class Source:
    """Writes as much as it may. @ivar over: whether it writes no more."""

    def __init__(self, talker: Talker) -> None:
        self._talker = talker
        self._paused = True
        self.sent = 0
        self.over = False

    def resumeProducing(self) -> None:
        """See L{IPushProducer}."""
        self._paused = False
        while not self._paused and not self.over and self.sent < 64 << 20:
            self.sent += 65_536
            self._talker.transport.write(bytes(65_536))

    def pauseProducing(self) -> None:
        """See L{IPushProducer}."""
        self._paused = True

    def stopProducing(self) -> None:
        """See L{IPushProducer}."""
        self._paused = self.over = True


class DatagramTests(TunnelCase):
    """Datagrams through a tunnel."""

    async def until(self, socket: Datagrams, count: int) -> None:
        """Wait until a socket has got so many."""
        while len(socket.got) < count:
            await deferLater(clock, 0.01)

    async def test_flows(self) -> None:
        """Each sender gets the answers to its own; the target sees one address for each."""
        target, port = self.datagrams(answering=True)
        await self.listener(f"dns=udp:{HERE}:{port}", f"x=tcp:{HERE}:1")
        (entrance,) = await self.tunnel(f"dns=udp:0:interface={HERE}")
        senders = [self.datagrams()[0] for _ in range(3)]
        for number in range(4):
            for index, sender in enumerate(senders):
                sender.transport.write(b"%d %d" % (index, number), (HERE, entrance))
            for sender in senders:
                await self.until(sender, number + 1)
        self.assertEqual(len({address for _, address in target.got}), 3)
        self.assertEqual([line for line in self.lines if "_Exit" in line], [])
        for index, sender in enumerate(senders):
            answers = [data.split(b":") for data, address in sender.got if address == (HERE, entrance)]
            self.assertEqual([data for _, data in answers], [b"%d %d" % (index, number) for number in range(4)])
            self.assertEqual(len({port for port, _ in answers}), 1)

    async def test_lost(self) -> None:
        """What is too large, or has no exit, is lost, and the log says so, once."""
        target, port = self.datagrams(answering=True)
        await self.listener(f"a=udp:{HERE}:{port}")
        one, other = await self.tunnel(f"a=udp:0:interface={HERE}", f"b=udp:0:interface={HERE}")
        sender = self.datagrams()[0]
        for _ in range(3):
            sender.transport.write(b"to nowhere", (HERE, other))
            sender.transport.write(bytes(65_500), (HERE, one))
        sender.transport.write(b"small", (HERE, one))
        await self.until(sender, 1)
        self.assertEqual([data for data, _ in target.got], [b"small"])
        self.assertEqual(sum("65500 bytes is too large for the tunnel" in line for line in self.lines), 1)
        self.assertEqual(sum("nothing is forwarded by the name b'b'" in line for line in self.lines), 1)

    async def test_strangers(self) -> None:
        """Only the target's own datagrams are answers; one that is down and comes up is found."""
        target, port = self.datagrams()
        await self.listener(f"udp:{HERE}:{port}")
        (entrance,) = await self.tunnel(f"udp:0:interface={HERE}")
        await target.transport.stopListening()
        sender, stranger = self.datagrams()[0], self.datagrams()[0]
        for _ in range(5):
            sender.transport.write(b"anybody?", (HERE, entrance))
            await deferLater(clock, 0.01)
        port = clock.listenUDP(port, target, interface=HERE)
        self.addCleanup(port.stopListening)
        while not target.got:
            sender.transport.write(b"anybody?", (HERE, entrance))
            await deferLater(clock, 0.01)
        asked = target.got[0][1]
        stranger.transport.write(b"me", asked)
        await deferLater(clock, 0.02)
        target.transport.write(b"here", asked)
        await self.until(sender, 1)
        self.assertEqual([data for data, _ in sender.got], [b"here"])
