"""
Durable sessions of which the starter was killed before it had noted that they are open: on the raw core.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from hypermail import events as e
from hypermail.options import Options
from hypermail.session.states import State
from hypermail.test.durability import LANE, NAME, OPTIONS, DurableApplication, DurableWorld, Host
from hypermail.testing import Conditions

DARK = Conditions(loss=1.0)


class _Greeting(DurableApplication):
    """A listener's, that says something durable at once."""

    def session_opened(self, event: e.SessionOpened) -> None:
        super().session_opened(event)
        self.side.configure_lane(LANE, durable=True)
        if len(self.host.sides) == 1:
            self.side.send_message(b"welcome", lane=LANE)


class UnheardTests(SynchronousTestCase):
    """The listener has opened the session; the starter has not, as far as its disk knows."""

    def setUp(self) -> None:
        self.begin(OPTIONS)

    def begin(self, options: Options) -> None:
        """Hosts of which the starter has asked for a session."""
        self.world = DurableWorld(1, options=options, application=self._application)
        self.listener, self.starter = self.world.listener, self.world.starter
        self.world.start_listener()
        self.world.start_starter()

    def _application(self, host: Host) -> DurableApplication:
        return _Greeting(host) if host is self.listener else DurableApplication(host)

    def assertWelcomed(self) -> None:
        """There is one session, in which the message has arrived once."""
        self.world.settle()
        [(received, messages)] = self.starter.received.items()
        self.assertEqual(messages, [(0, b"welcome")])
        for host in (self.listener, self.starter):
            self.assertEqual(host.side.connection.session_id, received[0])
            self.assertEqual(len(host.store), 1)

    def killStarter(self, until: Callable[[], object]) -> None:
        """... when something is so; on its disk the session has not opened."""
        self.world.run(until)
        self.world.kill(self.starter)
        stored = self.starter.store.named(NAME)
        assert stored is not None
        self.assertFalse(stored.opened)

    def test_starter(self) -> None:
        """The starter is killed when the message is on the listener's disk: it goes on with that session."""
        self.killStarter(lambda: self.listener.stored)
        self.world.start_starter()
        self.assertWelcomed()

    def test_noticed(self) -> None:
        """... also when the listener has noticed that it is gone."""
        self.killStarter(lambda: self.listener.stored)
        self.world.run_for(20)
        self.assertEqual(self.listener.side.connection.state, State.OPEN)
        self.world.start_starter()
        self.assertWelcomed()

    def test_heard(self) -> None:
        """... also when it had heard, and not written down that it has."""
        self.killStarter(lambda: self.starter.sides)
        self.starter.sides.clear()
        self.world.start_starter()
        self.assertWelcomed()

    def test_both(self) -> None:
        """Both are killed."""
        self.killStarter(lambda: self.listener.stored)
        self.world.kill(self.listener)
        self.world.start_starter()
        self.world.run_for(1)
        self.world.start_listener()
        self.assertWelcomed()

    def test_never(self) -> None:
        """The listener is killed before it has written down the session: the starter's claim is in vain, and it begins
        another."""
        self.killStarter(lambda: self.starter.store.named(NAME) is not None)
        self.world.kill(self.listener)
        self.assertEqual(len(self.listener.store), 0)
        self.world.start_listener()
        self.world.start_starter()
        self.assertWelcomed()

    def test_gaveUp(self) -> None:
        """A starter that hears nothing more gives up, and does not forget that the listener may have the session."""
        self.world.run(lambda: self.starter.store.named(NAME) is not None)
        self.world.run_for(0.005)
        self.world.network.set_conditions(DARK)
        self.world.run(lambda: self.starter.process is not None and self.starter.process.sides[0].application.error)
        self.world.run_for(0.05)
        self.world.kill(self.starter)
        self.world.network.set_conditions(Conditions(delay=0.01))
        self.world.start_starter()
        self.assertWelcomed()

    def test_again(self) -> None:
        """Its claims fail, one after the other; the listener goes on waiting, and the last one succeeds."""
        self.killStarter(lambda: self.listener.stored)
        for _ in range(3):
            self.world.start_starter()
            self.world.run_for(0.03)
            self.world.network.set_conditions(DARK)
            self.world.run_for(5)
            self.world.kill(self.starter)
            self.starter.sides.clear()
            self.assertIsNotNone(self.starter.store.named(NAME))
            self.world.network.set_conditions(Conditions(delay=0.01))
        self.world.start_starter()
        self.assertWelcomed()

    def test_farAway(self) -> None:
        """The one attempt to claim it may take as long as any to open one."""
        self.begin(replace(OPTIONS, connection_timeout=20.0, ping_interval=7.0))
        self.killStarter(lambda: self.listener.stored)
        self.world.network.set_conditions(Conditions(delay=1.7))
        self.world.start_starter()
        self.world.run_for(0.1)
        self.assertWelcomed()
        self.assertEqual(len(self.starter.sides), 1)

    def test_slowDisk(self) -> None:
        """A starter that has no patience with the listener's disk gives up its claim, and not the session."""
        self.killStarter(lambda: self.listener.stored)
        process = self.listener.process
        assert process is not None
        process.store_delay = 3.5
        self.world.start_starter()
        self.world.run_for(3.1)
        self.world.kill(self.starter)
        process.store_delay = 0.001
        self.world.start_starter()
        self.assertWelcomed()
