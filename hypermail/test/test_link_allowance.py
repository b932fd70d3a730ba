"""
Tests for L{hypermail.link.allowance}: the limit of the user. (What window and pace do is in C{test_link_link}.)
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
