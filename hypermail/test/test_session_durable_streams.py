"""
Tests of streams in durable sessions whose processes are restarted: on the raw core.
"""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from hypermail.errors import StreamForgotten
from hypermail.options import Options
from hypermail.testing.application import Application
from hypermail.testing.conditions import Conditions
from hypermail.testing.modes import secret_handshakes
from hypermail.testing.network import SimulatedNetwork
from hypermail.testing.node import Node
from hypermail.testing.pair import LISTENER
from hypermail.testing.side import Side
from hypermail.testing.store import MemoryStore

STARTER = ("10.1.0.1", 40_000)
OPTIONS = Options(durable=True, ping_interval=0.5, ping_packet_count=2, connection_timeout=2.0)


class StreamTests(SynchronousTestCase):
    """Streams end when one of the processes does, and others may be opened in the same session."""

    def setUp(self) -> None:
        self.network = SimulatedNetwork(3, Conditions(delay=0.005))
        self._handshakes = secret_handshakes(Random(3).randbytes)
        self._stores = MemoryStore(), MemoryStore()
        self.listen()
        self.start()
        self.sessionID = self.starter.connection.session_id

    def listen(self) -> None:
        """A listener's process begins."""
        self.listenerNode = Node(
            self.network,
            LISTENER,
            options=OPTIONS,
            accepting=Application,
            handshakes=self._handshakes,
            store=self._stores[0],
        )

    def start(self) -> None:
        """A starter's process begins."""
        self.starterNode = Node(
            self.network, STARTER, options=OPTIONS, handshakes=self._handshakes, store=self._stores[1]
        )
        self.starter: Side = self.starterNode.start(LISTENER, name="it")
        self.network.advance(1.0)

    @property
    def listener(self) -> Side:
        """The listener's side."""
        (side,) = self.listenerNode.live
        return side

    def exchange(self, opener: Side, other: Side) -> None:
        """A stream is opened, and carries its data both ways."""
        stream = opener.open_stream(b"name", b"x" * 100_000)
        self.network.advance(2.0)
        for side in (opener, other):
            gathered = side.application.streams[stream.id]
            self.assertTrue(gathered.ended)
            self.assertIsNone(gathered.error)
        self.assertEqual(len(other.application.streams[stream.id].data), 100_000)

    def both(self) -> None:
        """Either side opens one; they bear the first numbers again."""
        self.assertEqual(self.starter.connection.session_id, self.sessionID)
        self.exchange(self.starter, self.listener)
        self.exchange(self.listener, self.starter)

    def unfinished(self) -> list[Side]:
        """Both sides have a stream that goes on. @return: the sides."""
        sides = [self.starter, self.listener]
        for side in sides:
            side.open_stream(b"goes on").write(b"x")
            side.touch()
        self.network.advance(0.5)
        return sides

    def assertForgotten(self, side: Side) -> None:
        """Its streams have ended, with the reason."""
        for gathered in side.application.streams.values():
            self.assertTrue(gathered.ended)
            self.assertIsInstance(gathered.error, StreamForgotten)
        self.assertEqual(len(side.application.streams), 2)
        side.application.streams.clear()

    def test_starter(self) -> None:
        """The starter is killed."""
        _, listener = self.unfinished()
        self.starterNode.stop()
        self.start()
        self.network.advance(5.0)
        self.assertForgotten(listener)
        self.assertEqual(listener.application.resumptions, [True])
        self.both()

    def test_listener(self) -> None:
        """The listener is killed."""
        starter, _ = self.unfinished()
        self.listenerNode.stop()
        self.listen()
        self.network.advance(10.0)
        self.assertForgotten(starter)
        self.assertEqual(starter.application.resumptions, [True])
        self.both()

    def test_starterTwice(self) -> None:
        """The starter is killed again, with streams that were opened since."""
        for _ in range(2):
            _, listener = self.unfinished()
            self.starterNode.stop()
            self.start()
            self.network.advance(5.0)
            self.assertForgotten(listener)
        self.both()
