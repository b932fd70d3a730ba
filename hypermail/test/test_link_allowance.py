"""
Tests for L{hypermail.link.allowance}: the limit of the user, and what others leave. (What window and pace do is in
C{test_link_link}.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from hypermail.link.pacing import TRAIN_TIME
from hypermail.options import Options
from hypermail.testing import Conditions, Pair

#: 10 Mbit/s with 30 ms of round trip.
PATH = Conditions(delay=0.015, bandwidth=10e6, queue_datagrams=25)


class LimitCase(SynchronousTestCase):
    """A starter with a limit, whose datagrams are noted."""

    def begin(self, max_rate: float, conditions: Conditions = PATH) -> Pair:
        """A pair that hasn't opened."""
        pair = Pair(1, conditions, starter_options=Options(max_rate=max_rate, discover_mtu=False))
        self.departures: list[tuple[float, int]] = []
        send, home = pair.network.send, pair.starter.node.address

        def note(source: Any, destination: Any, datagrams: Sequence[bytes], ecn: int = 0) -> None:
            if source == home:
                self.departures += [(pair.now, len(datagram)) for datagram in datagrams]
            send(source, destination, datagrams, ecn)

        self.patch(pair.network, "send", note)
        return pair

    def check_bursts(self, rate: float, spare: int = 0) -> None:
        """
        Assert that no more than a train leaves beyond the rate, whatever time is looked at.

        @param rate: bytes/s.
        @param spare: bytes that may leave besides.
        """
        train = max(1_200, rate * TRAIN_TIME) + spare
        level, last = 0.0, 0.0
        for time, size in self.departures:
            level = max(0.0, level - rate * (time - last)) + size
            last = time
            self.assertLessEqual(level, train + 1e-6, f"at {time}")


class LimitTests(LimitCase):
    """C{Options.max_rate}."""

    def transfer(self, pair: Pair, size: int) -> float:
        """Bring a stream to the listener. @return: s that it takes."""
        pair.open()
        self.departures.clear()
        began = pair.now
        data = bytes(size)
        stream = pair.starter.open_stream(b"limited", data)
        streams = pair.listener.application.streams
        pair.run(lambda: stream.id in streams and streams[stream.id].finished)
        return pair.now - began

    def test_rate(self) -> None:
        """A transfer takes the time that the limit gives it, and nowhere more leaves than a train beyond it."""
        pair = self.begin(1e6)
        seconds = self.transfer(pair, 1_000_000)
        sent = sum(size for _, size in self.departures)
        self.assertTrue(0.95 < sent * 8 / 1e6 / seconds < 1.01, seconds)
        self.check_bursts(1e6 / 8)
        pair.close()

    def test_datagrams(self) -> None:
        """Datagrams are no larger than what the rate allows in 50 ms: none larger is tried."""
        for rate, largest in ((100_000, 1_200), (1_000_000, 6_250)):
            pair = Pair(1, Conditions(delay=0.01, mtu=None), starter_options=Options(max_rate=rate))
            pair.open()
            pair.starter.send_message(bytes(100_000))
            pair.run_for(20.0)
            self.assertEqual(pair.starter.connection.statistics()["mtu"], largest)

    def test_tiny(self) -> None:
        """So with the least that may be asked for; acknowledgements and control packets come through all the same."""
        pair = self.begin(8_000)
        seconds = self.transfer(pair, 30_000)
        self.assertTrue(29 < seconds < 34, seconds)
        self.check_bursts(1_000, spare=300)
        pair.close()

    def test_huge(self) -> None:
        """A limit that the path cannot reach changes nothing."""
        times = []
        for rate in (None, 9e14):
            pair = Pair(1, PATH, starter_options=Options(max_rate=rate))
            times.append(self.transfer_plain(pair))
        self.assertEqual(times[0], times[1])

    def transfer_plain(self, pair: Pair) -> float:
        """The same as L{transfer}, of a pair whose datagrams are not noted."""
        self.departures = []
        return self.transfer(pair, 500_000)

    def test_first_flight(self) -> None:
        """Before the round trip is known the limit holds already."""
        pair = self.begin(100_000, Conditions(delay=0.09))
        for _ in range(20):
            pair.starter.send_message(bytes(1_000))
        pair.run(lambda: all(message.settled for message in pair.starter.outgoing))
        # The hello has left before anything could be known; what is sealed waits for its turn.
        self.check_bursts(100_000 / 8, spare=1_200)
        self.assertGreater(pair.now, 20 * 1_000 * 8 / 100_000)
        pair.close()

    def test_window(self) -> None:
        """What the limit holds back does not use up the window, which does not grow then."""
        pair = self.begin(1e6)
        self.transfer(pair, 500_000)
        self.assertEqual(pair.starter.connection.statistics()["window"], 12_000)
        self.assertEqual(pair.starter.connection.statistics()["bytes_lost"], 0)
        pair.close()

    def test_window_below(self) -> None:
        """A window that is smaller than what the limit allows grows as ever."""
        pair = self.begin(8e6, Conditions(delay=0.1))
        self.transfer(pair, 500_000)
        self.assertGreater(pair.starter.connection.statistics()["window"], 24_000)
        pair.close()

    def test_debt(self) -> None:
        """What waits for no pace holds up what does for a second at most."""
        pair = self.begin(80_000)
        pair.open()
        pair.run_to_quiescence()
        pair.starter.connection._link.allowance.spent(1 << 20)
        began = pair.now
        pair.starter.send_message(b"waits")
        pair.run(lambda: bool(pair.listener.application.received))
        self.assertTrue(1.0 < pair.now - began < 1.2, pair.now - began)
        pair.close()


class ShareTests(SynchronousTestCase):
    """What a link may send where others send to the same socket."""

    def setUp(self) -> None:
        self.pair = Pair(1, PATH, starter_options=Options(discover_mtu=False))
        self.pair.open()
        self.pair.network.advance(1)
        connection = self.pair.starter.connection
        assert connection is not None
        self.connection = connection
        self.allowance = connection.allowance
        connection.send_messages([bytes(1_000)] * 20, now=self.pair.now)

    def send(self) -> int:
        """Send what may leave. @return: bytes of it."""
        trains = self.connection.trains(now=self.pair.now)
        return sum(len(datagram) for train in trains for datagram in train.datagrams)

    def depart(self) -> None:
        """Send what may leave, over the network."""
        for train in self.connection.trains(now=self.pair.now):
            self.pair.network.send(self.pair.starter.node.address, train.address, train.datagrams, train.ecn)

    def test_none(self) -> None:
        """Nothing leaves, and it is told that more waits."""
        self.allowance.admit(0)
        self.assertEqual((self.send(), self.allowance.waits, self.allowance.resume_at), (0, True, None))

    def test_some(self) -> None:
        """Whole datagrams of the share leave, the first time that they are asked for."""
        self.allowance.admit(2_500, True)
        self.assertEqual((self.send(), self.allowance.waits), (2_400, True))
        self.assertEqual((self.send(), self.allowance.share), (0, 100))

    def test_all(self) -> None:
        """Who has said everything waits for nobody; neither does who is held back by something else."""
        self.allowance.admit(100_000, True)
        window = self.allowance.window
        self.assertTrue(window - 1_200 < self.send() <= window)
        self.assertFalse(self.allowance.waits)

    def test_pace(self) -> None:
        """Whose turn it is does not wait for its pace."""
        self.allowance.admit(None)
        self.send()
        self.assertEqual(self.send(), 0)
        self.assertIsNotNone(self.allowance.resume_at)
        self.allowance.admit(2_400, True)
        self.assertEqual((self.send(), self.allowance.resume_at), (2_400, None))

    def test_window(self) -> None:
        """To be held back by others is not to have used the window up: it does not grow for that."""
        before = self.allowance.window
        for _ in range(5):
            self.allowance.admit(2_400, True)
            self.depart()
            self.assertTrue(self.allowance.waits)
            self.pair.network.advance(0.04)
            self.allowance.admit(0)
        self.assertEqual(self.allowance.window, before)

    def test_windowUsed(self) -> None:
        """Who has used it up and waits for others now has used it up still: it grows."""
        before = self.allowance.window
        self.allowance.admit(100_000, True)
        self.depart()
        self.allowance.admit(0)
        self.pair.network.advance(0.1)
        self.assertEqual((self.allowance.in_flight, self.allowance.waits), (0, True))
        self.assertGreater(self.allowance.window, 2 * before - 1_200)

    def test_probe(self) -> None:
        """No larger datagram is tried than may leave."""
        route = self.connection._link.route
        route.discovery.allow(9_000, self.pair.now)
        route.discovery.hurry(self.pair.now)
        self.allowance.admit(0)
        self.assertEqual(route.probe_size(self.pair.now), 0)
        self.allowance.admit(None)
        self.assertGreater(route.probe_size(self.pair.now), 1_200)
