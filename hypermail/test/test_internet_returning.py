"""
Durable sessions of which a starter was killed before it had noted that they are open, as applications see them.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail

from hypermail.errors import Reason, SessionRejected, SessionTimedOut, StoreFailed
from hypermail.internet.endpoints import SessionClientEndpoint, SessionServerEndpoint
from hypermail.options import Options
from hypermail.session.journal import EARLY_INCARNATION
from hypermail.test.securing import NAME
from hypermail.test.sessions import CLIENT, SERVER
from hypermail.test.test_internet_attempts import CLIENT_IPV6, DEAD, DEAD_IPV6, SERVER_IPV6
from hypermail.test.test_internet_durable import LANE, OPTIONS, DurableProtocol, DurableTestCase, HeldStore
from hypermail.test.test_internet_reopening import DARK, LISTENING, NEAR, STARTING
from hypermail.testing import Conditions


class _Welcoming(DurableProtocol):
    """Says something durable when a session opens."""

    def __init__(self, opened: Callable[[], object]) -> None:
        super().__init__()
        self._opened = opened

    def sessionOpened(self) -> None:
        super().sessionOpened()
        self._opened()
        self.session.lane(LANE, durable=True)
        self.session.sendMessages([b"welcome"], lane=LANE)


class ReturningTests(DurableTestCase):
    """What the listener has promised in a session arrives in that session."""

    def setUp(self) -> None:
        super().setUp()
        self.before: list[Any] = []
        self.listen(LISTENING, options=OPTIONS, store=self.theirStore)
        self.addCleanup(self.stopStarter)
        self.whenOpened: Callable[[], object] = lambda: None
        self.hosts.listening.make, self.hosts.starting.make = lambda: _Welcoming(self.whenOpened), DurableProtocol
        usual = self.ourStore.memory.apply

        def apply(changes: Any) -> None:
            usual(changes)
            if not self.before:
                self.before.append(deepcopy(self.ourStore.memory._sessions))

        self.ourStore.memory.apply = apply  # type: ignore[method-assign]

    def kill(self) -> bytes:
        """
        Open a session, and kill the starter's process when only its first word is on its disk, and when the listener's
        message has not reached it. @return: the session's id.
        """
        self.whenOpened = lambda: self.hosts.network.set_conditions(DARK)
        asking = self.ask()
        self.hosts.settle(1)
        self.whenOpened = lambda: None
        self.cancel(asking)
        self.stopStarter()
        self.ourStore = HeldStore()
        [self.ourStore.memory._sessions] = self.before
        [sessionID] = self.ourStore.memory._sessions
        return sessionID

    def cancel(self, asking: Deferred[Any]) -> None:
        """Ask no more."""
        asking.cancel()
        self.hosts.settle(2)
        self.failureResultOf(asking, CancelledError)

    def ask(self, store: HeldStore | None = None) -> Deferred[Any]:
        """Ask for the session."""
        return self.hosts.ask(NAME, security=STARTING, options=OPTIONS, store=store or self.ourStore)

    def assertWelcomed(self, asking: Deferred[Any], sessionID: bytes) -> None:
        """It has opened, and what was promised arrives."""
        protocol = self.successResultOf(asking)
        self.hosts.settle()
        self.assertEqual(protocol.session.sessionID, sessionID)
        self.assertEqual((protocol.calls, protocol.messages), (["sessionOpened"], [b"welcome"]))
        self.hosts.run(protocol.session.sendMessage(b"thanks", lane=0))
        self.assertEqual(self.hosts.listening.built[-1].messages, [b"thanks"])

    def test_known(self) -> None:
        """The session that the listener has is the one that opens."""
        sessionID = self.kill()
        self.hosts.network.set_conditions(NEAR)
        asking = self.ask()
        self.hosts.settle(2)
        self.assertWelcomed(asking, sessionID)
        self.assertEqual(len(self.hosts.listening.built), 1)

    def test_noticed(self) -> None:
        """... also when the listener was without a link for a while."""
        sessionID = self.kill()
        self.hosts.settle(10)
        self.hosts.network.set_conditions(NEAR)
        asking = self.ask()
        self.hosts.settle(2)
        self.assertWelcomed(asking, sessionID)

    def test_unreachable(self) -> None:
        """As long as the listener can't be reached asking fails in time, and forgets nothing; nor does who cancels."""
        sessionID = self.kill()
        for _ in range(2):
            asking = self.ask()
            self.hosts.settle(4)
            self.assertIn("within 3 s", self.failureResultOf(asking, SessionTimedOut).value.text)
            self.assertEqual(self.hosts.starting.built[-1].calls, ["sessionLost"])
            self.assertEqual(len(self.ourStore.memory), 1)
        asking = self.ask()
        self.hosts.settle(0.1)
        self.cancel(asking)
        self.hosts.network.set_conditions(NEAR)
        asking = self.ask()
        self.hosts.settle(3)
        self.assertWelcomed(asking, sessionID)

    def test_cancelledWhileClaimed(self) -> None:
        """Who cancels when the claim is on its way keeps what the listener has."""
        sessionID = self.kill()
        self.hosts.network.set_conditions(NEAR)
        self.theirStore.holds = True
        asking = self.ask()
        self.hosts.settle(1)
        self.cancel(asking)
        self.theirStore.release()
        self.hosts.settle(1)
        asking = self.ask()
        self.hosts.settle(3)
        self.assertWelcomed(asking, sessionID)

    def test_unknown(self) -> None:
        """A listener that does not know it is asked for another one."""
        sessionID = self.kill()
        self.theirStore.memory._sessions.clear()
        self.restartListener()
        self.hosts.network.set_conditions(NEAR)
        asking = self.ask()
        self.hosts.settle(3)
        protocol = self.successResultOf(asking)
        self.assertEqual((protocol.calls, protocol.messages), (["sessionOpened"], [b"welcome"]))
        self.assertNotEqual(protocol.session.sessionID, sessionID)
        self.assertEqual(list(self.ourStore.memory._sessions), [protocol.session.sessionID])

    def test_refused(self) -> None:
        """A listener that was restarted, and does not want it any more, says so; then it is over."""
        self.kill()
        self.restartListener()
        self.hosts.listening.decide = lambda request: fail(SessionRejected("not today", 77))
        self.hosts.network.set_conditions(NEAR)
        asking = self.ask()
        self.hosts.settle(3)
        self.assertEqual(self.failureResultOf(asking, SessionRejected).value.code, 77)
        self.assertEqual(len(self.ourStore.memory), 0)

    def test_storeFails(self) -> None:
        """A listener whose disk fails keeps the session, and so does its starter."""
        sessionID = self.kill()
        self.restartListener()
        self.hosts.network.set_conditions(NEAR)
        self.theirStore.fails = True
        asking = self.ask()
        self.hosts.settle(2)
        self.assertEqual(self.failureResultOf(asking, SessionRejected).value.code, Reason.STORE_FAILED)
        self.theirStore.fails = False
        self.hosts.settle(2)
        asking = self.ask()
        self.hosts.settle(3)
        self.assertEqual(self.successResultOf(asking).session.sessionID, sessionID)


class AddressesTests(DurableTestCase):
    """Hosts of several addresses, and one session of a name."""

    def setUp(self) -> None:
        super().setUp()
        self.listen(LISTENING, options=OPTIONS, store=self.theirStore)
        self.addCleanup(self.stopStarter)
        hosts = self.hosts
        hosts.server.hosts, hosts.client.hosts = (SERVER, SERVER_IPV6), (CLIENT, CLIENT_IPV6)
        endpoint = SessionServerEndpoint(
            hosts.server, 4700, security=LISTENING, options=OPTIONS, store=self.theirStore, interface=SERVER_IPV6
        )
        port: Any = hosts.run(endpoint.listen(hosts.listening))
        self.addCleanup(lambda: hosts.run(port.stopListening()))
        hosts.listening.make = hosts.starting.make = DurableProtocol

    def ask(self, *addresses: str, options: Options = OPTIONS) -> Deferred[Any]:
        """Ask for a session at any of these addresses."""
        self.hosts.client.nameResolver.names[NAME] = list(addresses)
        endpoint = SessionClientEndpoint(
            self.hosts.client, NAME, 4700, security=STARTING, options=options, store=self.ourStore
        )
        return endpoint.connect(self.hosts.starting)

    def unhear(self, sessionID: bytes) -> None:
        """Our store forgets that the session has opened."""
        session = self.ourStore.memory._sessions[sessionID]
        session.identity = replace(session.identity, peer_incarnation=EARLY_INCARNATION)

    def test_overtaken(self) -> None:
        """
        When the first address has answered, slowly, and the second one meanwhile, the session of the first has the
        name; the second is out, and no more.
        """
        self.hosts.network.set_conditions(Conditions(delay=0.2))
        asking = self.ask(SERVER, SERVER_IPV6)
        self.hosts.settle(0.8)
        self.hosts.network.set_conditions(Conditions(delay=0.01))
        self.hosts.settle(2)
        protocol = self.successResultOf(asking)
        self.assertEqual(protocol.calls, ["sessionOpened"])
        self.assertEqual(protocol.session.getPeer().host, SERVER)

    def test_diskFails(self) -> None:
        """A disk that fails is told as that."""
        asking = self.ask(SERVER, SERVER_IPV6)
        self.hosts.settle(0.01)
        self.ourStore.fails = True
        self.hosts.settle(3)
        self.failureResultOf(asking, StoreFailed)
        self.ourStore.fails = False
        self.hosts.settle(3)

    def test_returning(self) -> None:
        """What a listener may have is asked for at each of its addresses."""
        asking = self.ask(SERVER)
        self.hosts.settle(1)
        ours = self.successResultOf(asking)
        sessionID = ours.session.sessionID
        self.stopStarter()
        self.unhear(sessionID)
        asking = self.ask(DEAD_IPV6, DEAD, SERVER_IPV6)
        self.hosts.settle(2.1)
        self.assertNoResult(asking)
        self.hosts.settle(0.9)
        self.assertEqual(self.successResultOf(asking).session.sessionID, sessionID)

    def test_generation(self) -> None:
        """No claim repeats the one at the address before, which the listener may have heard."""
        asking = self.ask(SERVER)
        self.hosts.settle(1)
        sessionID = self.successResultOf(asking).session.sessionID
        self.stopStarter()
        self.unhear(sessionID)
        self.theirStore.holds = True
        asking = self.ask(SERVER, SERVER_IPV6)
        self.hosts.settle(1.6)
        self.theirStore.release()
        self.hosts.settle(1.4)
        self.assertEqual(self.successResultOf(asking).session.sessionID, sessionID)
