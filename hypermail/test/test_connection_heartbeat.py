"""
Tests for C{calm} and C{beat} of L{hypermail.connection.Connection}: what an idle session does, the short way.
"""

from __future__ import annotations

from math import inf

from twisted.trial.unittest import SynchronousTestCase

from hypermail.connection import Connection
from hypermail.errors import PeerSilent
from hypermail.events import PingAnswered, StreamOptions
from hypermail.options import Options, Role
from hypermail.test.test_link_keys import HANDSHAKES
from hypermail.test.wired import Wire
from hypermail.testing.modes import PLAIN, Handshakes


class Beating(Wire):
    """
    A wire whose sides go the short way whenever they may, and prove that nothing was left undone by it.

    @ivar proving: how often, of all times; each proof ends the rest.
    @ivar beats: how often each has.
    @ivar short: how many datagrams were sent so.
    """

    def __init__(
        self, *, handshakes: Handshakes = PLAIN, seed: int = 1, discovers: bool = False, proving: float = 1.0
    ) -> None:
        options = Options(ping_interval=1.0)
        super().__init__(options, options, handshakes=handshakes, seed=seed, discovers=discovers)
        self.beats = {Role.STARTER: 0, Role.LISTENER: 0}
        self.short = 0
        self.proving = proving
        self._armed: dict[Connection, float] = {}

    def _flush(self, connection: Connection) -> None:
        if not connection.calm:
            super()._flush(connection)
            self._armed[connection] = connection.next_timeout() or inf
            return
        self.beats[connection.role] += 1
        trains = connection.beat(now=self.now)
        self.short += sum(len(train.datagrams) for train in trains)
        self._send(connection.role, trains)
        assert [connection.calm] == [False]
        if self.random.random() >= self.proving:
            return
        assert connection.next_event() is None, "something was to be told"
        deadline = connection.next_timeout() or inf
        if connection.role is Role.LISTENER:
            assert not trains or deadline >= self._armed[connection], "a timer was to be moved"
        assert not connection.trains(now=self.now), "something was to be sent"
        assert (connection.next_timeout() or inf) == deadline


class BeatTests(SynchronousTestCase):
    """Sessions that go the short way."""

    def test_idle(self) -> None:
        """An idle session sends whatever it sends so: a ping for each interval, and an answer for each ping."""
        for proving in (1.0, 0.1):
            self.idle(Beating(proving=proving).open())

    def idle(self, wire: Beating) -> None:
        """A session that nobody uses."""
        wire.run(3.0)
        sent = len(wire.sent) - wire.short
        beats = wire.short
        wire.run(60.0)
        self.assertEqual(len(wire.sent) - wire.short, sent)
        self.assertGreater(wire.short - beats, 2 * 50)
        wire.close()

    def test_keys(self) -> None:
        """It is left where an answer asks for an acknowledgement of its own, since the key is to be updated."""
        wire = Beating(handshakes=HANDSHAKES).open()
        wire.run(60.0)
        for side in (wire.starter, wire.listener):
            self.assertGreater(side.statistics()["key_updates"], 3)
        self.assertGreater(wire.beats[Role.LISTENER], 20)
        wire.close()

    def test_traffic(self) -> None:
        """Nothing is left undone by it, whatever else happens, on a network that loses some of it."""
        for seed in range(4):
            for discovers, proving in ((False, 1.0), (True, 1.0), (True, 0.2)):
                wire = Beating(seed=seed, discovers=discovers, proving=proving).open()
                wire.lose = lambda role, datagram, wire=wire: wire.random.random() < 0.1  # type: ignore[misc]
                sides = (wire.starter, wire.listener)
                stream = wire.starter.open_stream(b"", StreamOptions(), now=wire.now)
                for number in range(60):
                    side = sides[number & 1]
                    what = wire.random.randrange(5)
                    if what < 2:
                        side.send_message(bytes(wire.random.choice((10, 5_000))), now=wire.now)
                    elif what == 2:
                        side.ping(now=wire.now)
                    elif what == 3:
                        stream.write(bytes(100))
                    wire.run(wire.random.choice((0.0, 0.05, 1.0, 1.5)))
                wire.until(lambda wire=wire: wire.starter.statistics()["messages_queued"] == 0)  # type: ignore[misc]
                wire.run(5.0)
                for side in sides:
                    self.assertEqual(side.statistics()["messages_begun"], 0)
                self.assertGreater(min(wire.beats.values()), 10)
                wire.close()

    def test_ping(self) -> None:
        """What answers an application's ping is told."""
        wire = Beating().open()
        wire.run(3.0)
        for side, application in ((wire.starter, wire.here), (wire.listener, wire.there)):
            side.ping(now=wire.now)
            wire.run(0.9)
            self.assertEqual(len(application.of(PingAnswered)), 1)
        wire.close()

    def test_silence(self) -> None:
        """A peer that does not answer is given up as ever."""
        wire = Beating().open()
        wire.run(3.0)
        wire.lose = lambda role, datagram: True
        wire.run(10.0)
        self.assertIsInstance(wire.here.error, PeerSilent)
