"""
Tests of L{hypermail.internet.routes}: a starter that notices by itself that its address has changed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet import reactor
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from hypermail.errors import PeerSilent, SessionAborted
from hypermail.interfaces import ILocalAddresses
from hypermail.internet.datagrams import HypermailDatagramProtocol
from hypermail.internet.routes import QUICK, SLOW, Routes, finderOf, localAddress
from hypermail.internet.security import Plain
from hypermail.test.sessions import CLIENT, PORT, SERVER, Hosts, RecordingProtocol, errorOf, ipv6, logged
from hypermail.testing import Conditions

#: Where the client goes.
OTHER, THIRD = "10.0.0.3", "10.0.0.4"
#: s, one way.
DELAY = 0.02


class SystemTests(SynchronousTestCase):
    """What the system says."""

    def test_loopback(self) -> None:
        """The way to this machine begins at this machine's address."""
        self.assertEqual(localAddress("127.0.0.1"), "127.0.0.1")
        if ipv6():
            self.assertEqual(localAddress("::1"), "::1")

    def test_nowhere(self) -> None:
        """No way, no address."""
        self.assertIsNone(localAddress("255.255.255.255"))
        self.assertIsNone(localAddress("not an address"))

    def test_finders(self) -> None:
        """A real reactor's host is the system's; a simulated one knows its own; a clock is nowhere."""
        self.assertIs(finderOf(reactor), localAddress)
        self.assertIsNone(finderOf(Clock()))
        simulated = Hosts().client
        finder = finderOf(simulated)
        assert finder is not None
        self.assertEqual([finder(SERVER), finder("127.0.0.1"), finder("::1")], [CLIENT, "127.0.0.1", "::1"])
        self.assertIsNone(finder("2001:db8::1"))


@implementer(ILocalAddresses)
class Host(Clock):
    """A host whose addresses a test sets; it remembers when it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.here: str | None = CLIENT
        self.asked: list[tuple[float, str]] = []
        self.localAddress: Callable[[str], str | None] = self._answer

    def _answer(self, host: str) -> str | None:
        self.asked.append((self.seconds(), host))
        return self.here


class RoutesTests(SynchronousTestCase):
    """When it looks, and what it tells."""

    def setUp(self) -> None:
        self.host = Host()
        self.peers = [SERVER, SERVER]
        self.told: list[tuple[float, str, str]] = []
        self.back: list[str] = []
        self.routes = Routes(self.host, self.host.seconds, lambda: self.peers, self.tell, self.back.append)

    def test_returned(self) -> None:
        """A way that was gone for a while and is back, from the same address, is told; one that stays is not."""
        self.routes.watch()
        self.host.advance(SLOW)
        self.assertEqual(self.back, [])
        self.host.here = None
        for _ in range(5):
            self.host.advance(SLOW)
        self.assertEqual(self.back, [])
        self.host.here = CLIENT
        for _ in range(5):
            self.host.advance(SLOW)
        self.assertEqual((self.back, self.told), ([SERVER], []))
        self.host.here = None
        self.host.advance(SLOW)
        self.host.here = OTHER
        self.host.advance(SLOW)
        self.assertEqual((self.back, len(self.told)), ([SERVER], 1))
        self.routes.stop()

    def tell(self, peer: str, here: str) -> None:
        """A move."""
        self.told.append((self.host.seconds(), peer, here))

    def test_slowly(self) -> None:
        """It looks once a second, once for each peer's host, and tells what has changed."""
        self.routes.watch()
        self.routes.watch()
        self.host.pump([SLOW] * 3)
        self.assertEqual(self.host.asked, [(time, SERVER) for time in (0.0, 1.0, 2.0, 3.0)])
        self.assertEqual(self.told, [])
        self.host.here = OTHER
        self.host.pump([SLOW] * 2)
        self.assertEqual(self.told, [(4.0, SERVER, OTHER)])

    def test_suspicion(self) -> None:
        """When something seems wrong it looks at once, but not again and again."""
        self.routes.watch()
        self.host.here = OTHER
        self.routes.suspect()
        self.assertEqual(self.told, [])
        self.host.advance(QUICK)
        self.routes.suspect()
        self.assertEqual(self.told, [(QUICK, SERVER, OTHER)])
        asked = len(self.host.asked)
        self.routes.suspect()
        self.assertEqual(len(self.host.asked), asked)

    def test_noWay(self) -> None:
        """Who finds no way for a while has not moved, unless the next way begins elsewhere."""
        self.routes.watch()
        for here, moves in ((None, 0), (CLIENT, 0), (None, 0), (OTHER, 1)):
            self.host.here = here
            self.host.pump([SLOW] * 2)
            self.assertEqual(len(self.told), moves)

    def test_newPeer(self) -> None:
        """A peer that came later has its own way; its first is no move."""
        self.routes.watch()
        self.peers.append(THIRD)
        self.host.here = OTHER
        self.host.advance(SLOW)
        self.assertEqual(self.told, [(1.0, SERVER, OTHER)])

    def test_stop(self) -> None:
        """Nothing is left when it stops, and nothing is known any more when it begins again."""
        self.routes.stop()
        self.routes.watch()
        self.routes.stop()
        self.routes.suspect()
        self.assertEqual((self.host.getDelayedCalls(), len(self.host.asked)), ([], 1))
        self.host.here = OTHER
        self.routes.watch()
        self.host.advance(SLOW)
        self.assertEqual(self.told, [])

    def test_nothingToAsk(self) -> None:
        """Where nothing tells addresses nothing is looked at."""
        clock = Clock()
        routes = Routes(clock, clock.seconds, lambda: self.peers, self.tell, self.back.append)
        routes.watch()
        routes.suspect()
        self.assertEqual(clock.getDelayedCalls(), [])


class SessionTests(SynchronousTestCase):
    """Sessions of a host whose addresses change."""

    def setUp(self) -> None:
        self.hosts = Hosts(Conditions(delay=DELAY))
        self.ours, self.theirs = self.hosts.open(bindAddress=self.bindAddress())

    def bindAddress(self) -> str | None:
        """What the client binds."""
        return CLIENT if "bound" in self._testMethodName else None

    def test_idle(self) -> None:
        """A session that is quiet is found at the new address within a second, which the log tells."""
        lines = logged(self)
        self.hosts.client.move(OTHER)
        self.hosts.settle(SLOW + 3 * DELAY + 0.001)
        assert self.theirs.session is not None
        self.assertEqual(self.theirs.session.getPeer().host, OTHER)
        self.assertTrue(any(f"we are at {OTHER} now" in line for line in lines))
        self.hosts.end()

    def test_busy(self) -> None:
        """One that is sending notices when nothing is acknowledged, and loses nothing."""
        assert self.ours.session is not None
        assert self.theirs.session is not None
        self.hosts.settle(0.3)
        sending = self.ours.session.sendMessage(bytes(100_000))
        self.hosts.settle(DELAY)
        self.hosts.client.move(OTHER)
        self.hosts.settle(0.25)
        self.assertEqual(self.theirs.session.getPeer().host, OTHER)
        self.hosts.run(sending)
        self.assertEqual(list(map(len, self.theirs.messages)), [100_000])
        self.hosts.end()

    def moves(self) -> int:
        """How often our side has noticed."""
        assert self.ours.session is not None
        found: int = self.ours.session.statistics()["moves"]
        return found

    def test_unanswered(self) -> None:
        """One that has no answer for a probe timeout looks at once."""
        assert self.ours.session is not None
        self.hosts.settle(0.3)
        self.hosts.network.set_conditions(Conditions(loss=1.0))
        self.hosts.client.move(OTHER)
        self.ours.session.sendMessage(b"x").addErrback(lambda _: None)
        self.hosts.settle(0.3)
        self.assertEqual(self.moves(), 1)

    def test_refused(self) -> None:
        """One whose datagrams the system refuses looks at once."""
        assert self.ours.session is not None
        self.hosts.settle(0.3)
        self.hosts.client.hosts = (OTHER,)
        self.ours.session.sendMessage(b"x").addErrback(lambda _: None)
        self.hosts.settle(0.001)
        self.assertEqual(self.moves(), 1)

    def test_otherPeers(self) -> None:
        """The way to one peer says nothing about the way to another."""
        session: Any = self.ours.session
        session._owner.pump._surroundings._moved("10.0.0.77", OTHER)
        self.assertEqual(self.moves(), 0)
        session._owner.pump._surroundings._moved(SERVER, OTHER)
        self.assertEqual(self.moves(), 1)

    def test_lastSession(self) -> None:
        """A socket without sessions does not look."""
        protocol = HypermailDatagramProtocol(security=Plain(allowRemote=True))
        self.hosts.client.listenUDP(0, protocol)
        before = len(self.hosts.client.getDelayedCalls())
        session = protocol.startSession((SERVER, PORT), RecordingProtocol())
        self.hosts.settle(1)
        self.assertGreater(len(self.hosts.client.getDelayedCalls()), before)
        session.close().addErrback(lambda _: None)
        self.hosts.settle(5)
        self.assertEqual(len(self.hosts.client.getDelayedCalls()), before)

    def test_outOfReach(self) -> None:
        """A host that has no address for a while goes on at the next one, as soon as it sends again."""
        assert self.ours.session is not None
        self.hosts.client.move()
        sending = self.ours.session.sendMessage(b"x")
        self.hosts.settle(5)
        self.assertNoResult(sending)
        self.hosts.client.move(OTHER)
        self.hosts.settle(0.5)
        self.successResultOf(sending)
        self.hosts.end()

    def test_bound(self) -> None:
        """A session whose bound address is gone for good ends, and says why."""
        self.hosts.client.move(OTHER)
        self.hosts.settle(60)
        error = errorOf(self.ours)
        self.assertIsInstance(error, PeerSilent)
        self.assertIn(f"refuses to send from {CLIENT}: Cannot assign requested address", error.text)
        self.hosts.end()

    def test_boundAborts(self) -> None:
        """An end that has other reasons says those."""
        assert self.ours.session is not None
        self.hosts.client.move(OTHER)
        self.hosts.settle(7)
        self.ours.session.abort("enough")
        self.hosts.settle(1)
        self.assertIsInstance(errorOf(self.ours), SessionAborted)
        self.assertIn("enough", errorOf(self.ours).text)

    def test_boundReturns(self) -> None:
        """If it comes back in time nothing was the matter; silence later has other reasons."""
        assert self.ours.session is not None
        self.hosts.client.move(OTHER)
        self.hosts.settle(10)
        self.hosts.client.move(CLIENT)
        self.hosts.run(self.ours.session.sendMessage(b"x"))
        self.hosts.settle(20)
        self.hosts.network.set_conditions(Conditions(loss=1.0))
        self.hosts.settle(60)
        self.assertNotIn("refuses", errorOf(self.ours).text)
        self.hosts.end()
