"""
Tests of everything at once: congestion controls, limits, copies, sizes, marks, losses, lateness and moves, as chance
combines them. What holds for each of them has to hold for all together.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hypermail.connection import Connection
from hypermail.link.allowance import INITIAL_WINDOW
from hypermail.link.delivery import DeliveryRate, Sample, Stamp
from hypermail.link.doubt import MOST_DOUBTED
from hypermail.link.train import Train
from hypermail.options import KIB, Options
from hypermail.testing import Conditions, Pair

#: Timers that may go off in a second without anything being sent; a loop makes thousands of them.
SPARE_TIMERS = 600
#: Timers besides, for each datagram that is sent.
TIMERS_EACH = 3


def conditions(random: Random) -> Conditions:
    """Any network."""
    bandwidth = random.choice([None, 500e3, 10e6, 100e6])
    queue = random.choice([8_000, 30_000, 200_000])
    return Conditions(
        delay=random.choice([0.0001, 0.001, 0.02, 0.15]),
        jitter=random.choice([0.0, 0.0, 0.003, 0.02]),
        jitter_overtakes=random.random() < 0.5,
        loss=random.choice([0.0, 0.0, 0.01, 0.05, 0.2]),
        duplication=random.choice([0.0, 0.02]),
        reordering=random.choice([0.0, 0.05]),
        reordering_delay=(0.0, random.choice([0.005, 0.1])),
        mtu=random.choice([1_500, 1_300, 9_000, None]),
        codepoints=random.choice([(0, 1, 2, 3), (0, 1, 2, 3), (0, 0, 0, 0), (0, 1, 2, None)]),
        bandwidth=bandwidth,
        queue_bytes=None if bandwidth is None else queue,
        mark_bytes=None if bandwidth is None else random.choice([None, queue // 3]),
    )


class CombinationTests(SynchronousTestCase):
    """One session, of which nothing is known."""

    def watch(self, pair: Pair) -> None:
        """Check the books of both sides whenever they have sent, and count timers and datagrams of each second."""
        self.timers: Counter[int] = Counter()
        self.departed: Counter[int] = Counter()
        send, trains, timeout = pair.network.send, Connection.trains, Connection.handle_timeout
        acked = DeliveryRate.acked

        def sending(source: Any, destination: Any, datagrams: Any, ecn: int = 0) -> None:
            self.departed[int(pair.now)] += len(datagrams)
            send(source, destination, datagrams, ecn)

        def timing(connection: Connection, *, now: float) -> None:
            self.timers[int(now)] += 1
            timeout(connection, now=now)

        def making(connection: Connection, *, now: float) -> list[Train]:
            link = connection._link
            recovery = link.recovery
            before, probes = recovery.in_flight, recovery.probes
            made = trains(connection, now=now)
            beyond = INITIAL_WINDOW * link.path.base + (probes + 2) * link.path.mtu
            self.assertLessEqual(recovery.in_flight, max(link.route.congestion.window, before) + beyond)
            self.assertEqual(recovery.in_flight, sum(sent.total for sent in recovery._flying))
            self.assertLessEqual(len(recovery._doubt or ()), MOST_DOUBTED)
            return made

        def sampling(delivery: DeliveryRate, size: int, newest: Stamp, sent: float, at: float) -> Sample | None:
            sample = acked(delivery, size, newest, sent, at)
            if sample is not None:  # a stamp of another path would be of another count
                self.assertGreater(sample.interval, 0.0)
                self.assertTrue(0 <= sample.prior < sample.prior + sample.delivered == sample.total, sample)
            return sample

        for owner, name, function in (
            (pair.network, "send", sending),
            (Connection, "trains", making),
            (Connection, "handle_timeout", timing),
            (DeliveryRate, "acked", sampling),
        ):
            self.patch(owner, name, function)

    def load(self, pair: Pair, random: Random) -> None:
        """Messages of all sizes, in lanes with and without copies, at any time."""
        for side in pair.sides:
            side.configure_lane(1, redundancy=random.choice([0, 1, 3]))
            side.configure_lane(2, redundancy=2, priority=1)
        sides = list(pair.sides)
        for number in range(40):
            side, lane = random.choice(sides), random.randrange(3)
            data = bytes([number]) * random.choice([20, 100, 900, 1_250, 3_000, 20_000])

            def say(side: Any = side, lane: int = lane, data: bytes = data) -> None:
                side.send_message(data, lane=lane)

            pair.network.call_at(pair.now + random.uniform(0.0, 3.0), say)

    def change(self, pair: Pair, random: Random, number: int) -> None:
        """The path becomes another one: by a NAT, by the starter's own doing, or it carries less."""
        network, node = pair.network, pair.starter.node
        before = network.direction(node.address[0], pair.listener_node.address[0]).conditions
        changes = [
            lambda: network.rebind(node.address, ("10.2.0.1", 50_000 + number)),
            lambda: network.rebind(node.address, (f"10.2.{number}.1", 50_000), keep_old=bool(number)),
            lambda: node.move((f"10.3.{number}.1", 50_000)),
            lambda: network.set_conditions(replace(before, mtu=random.choice([1_280, 1_400]))),
        ]
        network.call_at(pair.now + 3.0 * number + random.uniform(0.1, 3.0), random.choice(changes))

    @settings(max_examples=25, deadline=None)
    @given(st.integers(0, 1 << 32))
    def test_anything(self, seed: int) -> None:
        """
        Everything arrives exactly once; what is in flight stays within the window and what may exceed it; samples
        of the rate are of one path; no timer goes off again and again with nothing to do.
        """
        random = Random(seed)
        max_rate = random.choice([None, None, 200e3, 2e6, 20e6])
        congestion = random.choice(["cubic", "bbr"])
        each = [
            Options(
                congestion=congestion,
                max_rate=max_rate,
                ecn=random.random() < 0.7,
                discover_mtu=random.random() < 0.8,
                receive_buffer=random.choice([16 * KIB, 64 * KIB, 4_096 * KIB]),
            )
            for _ in range(2)
        ]
        pair = Pair(seed, conditions(random), starter_options=each[0], listener_options=each[1])
        pair.open(limit=60.0)
        self.watch(pair)
        try:
            self.load(pair, random)
            data = random.randbytes(50_000 if max_rate == 200e3 else random.choice([50_000, 500_000]))
            ways = [(pair.starter, pair.listener, data), (pair.listener, pair.starter, data[: len(data) // 3])]
            streams = [(side.open_stream(b"", what), peer, what) for side, peer, what in ways]
            for number in range(random.choice([0, 2])):
                self.change(pair, random, number)
            pair.run_for(7.0)
            pair.run(
                lambda: (
                    all(
                        stream.id in peer.application.streams and peer.application.streams[stream.id].finished
                        for stream, peer, _ in streams
                    )
                    and all(message.settled for side in pair.sides for message in side.outgoing)
                ),
                limit=120.0,
            )
            pair.close()
        finally:
            self.doCleanups()
        pair.assert_delivered()
        for stream, peer, what in streams:
            self.assertEqual(bytes(peer.application.streams[stream.id].data), what)
        for second, timers in self.timers.items():
            self.assertLessEqual(timers, TIMERS_EACH * self.departed[second] + SPARE_TIMERS, f"in second {second}")
