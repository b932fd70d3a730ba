"""
The scenarios of the congestion control BBR: how fast it goes on a path, and how long its queue gets.

Paths are slow ones, since what counts is how long they are in datagrams; seeds differ in loss and round trip, too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from hypermail.options import Options
from hypermail.streams.stream import Stream
from hypermail.test.paths import demand
from hypermail.testing import Blackhole, Conditions, Node, Pair, Side, World

#: bit/s and s: 26 datagrams are on their way, or 104 of the wide path.
NARROW = 5e6
WIDE = 20e6
ROUND_TRIP = 0.05
#: Of a datagram of 1,228 bytes with its headers, so many are of a stream.
PAYLOAD = 1_170 / 1_228
OPTIONS = Options(congestion="bbr")


def path(bandwidth: float, round_trip: float = ROUND_TRIP, queue: float = 1.0, loss: float = 0.0) -> Conditions:
    """@param queue: in products of bandwidth and round trip."""
    size = max(3_000, int(bandwidth / 8 * round_trip * queue))
    return Conditions(bandwidth=bandwidth, delay=round_trip / 2, queue_bytes=size, loss=loss)


def connect(seed: int, conditions: Conditions) -> Pair:
    """A pair whose way back has the same delay and loss, and no bottleneck."""
    back = replace(conditions, bandwidth=None, queue_bytes=None)
    pair = Pair(seed, conditions, to_starter=back, options=OPTIONS)
    pair.open()
    return pair


def flow(pair: Pair, side: Side, size: float) -> tuple[Side, Stream]:
    """Begin to send so many bytes."""
    stream = side.open_stream(b"", bytes(int(size)))

    def begun() -> bool:
        peer = pair.peer(side)
        return peer is not None and stream.id in peer.application.streams

    pair.run(begun, limit=10)
    return side, stream


def arrived(pair: Pair, flowing: tuple[Side, Stream]) -> int:
    """Bytes."""
    side, stream = flowing
    peer = pair.peer(side)
    return 0 if peer is None else len(peer.application.streams[stream.id].data)


def shares(pair: Pair, flows: Sequence[tuple[Side, Stream]], seconds: float, bandwidth: float) -> list[float]:
    """What arrives of each flow in some time, of what the path could bring."""
    before = [arrived(pair, flowing) for flowing in flows]
    pair.run_for(seconds)
    most = bandwidth / 8 * PAYLOAD * seconds
    return [(arrived(pair, flowing) - was) / most for flowing, was in zip(flows, before, strict=True)]


def finish(pair: Pair) -> World:
    """End it, whatever is left."""
    for node in pair.starter_nodes:
        for side in node.live:
            side.abort(1)
    pair.run_to_quiescence()
    pair.assert_clean()
    return pair


def steady(seed: int, conditions: Conditions, least: float, seconds: float = 6.0, begin: float = 3.0) -> Pair:
    """
    Send for some time on one path.

    @param least: what must arrive, of what the path can bring.
    @param begin: s that it has before that counts.
    """
    pair = connect(seed, conditions)
    bandwidth = conditions.bandwidth or 0.0
    flows = [flow(pair, pair.starter, bandwidth / 8 * (seconds + begin + 1))]
    pair.run_for(begin)
    (share,) = shares(pair, flows, seconds, bandwidth)
    demand(share >= least, f"{share:.3f} of the path is used, {least:.3f} are wanted", pair)
    return pair


def lossy(seed: int) -> World:
    """0 to 10 % of loss both ways, with a round trip of 10 or 50 ms: what isn't lost is used."""
    loss = (0.0, 0.01, 0.02, 0.05, 0.10)[seed % 5]
    round_trip = (0.05, 0.01)[seed // 5 % 2]
    return finish(steady(seed, path(NARROW, round_trip, loss=loss), 0.88 * (1 - loss)))


def long_path(seed: int) -> World:
    """A round trip of 200 ms, with up to 5 % of loss."""
    loss = (0.05, 0.02, 0.01, 0.0)[seed % 4]
    return finish(steady(seed, path(NARROW, 0.2, loss=loss), 0.80 * (1 - loss), begin=5.0))


def deep_buffer(seed: int) -> World:
    """A queue ten times as long as what is on the way stays nearly empty."""
    pair = steady(seed, path(NARROW, queue=10.0), 0.9)
    smoothed = pair.starter.connection.statistics()["rtt"]
    demand(smoothed <= 1.6 * ROUND_TRIP, f"the round trip is {smoothed:.3f} s", pair)
    return finish(pair)


def shallow_buffer(seed: int) -> World:
    """A queue a tenth as long as what is on the way is enough."""
    return finish(steady(seed, path(WIDE, queue=0.1), 0.85, seconds=4.0, begin=2.0))


def blackouts(seed: int) -> World:
    """10 ms without a network in every second cost little."""
    hole = Blackhole(0.1 + seed % 10 * 0.09, 0.11 + seed % 10 * 0.09, every=1.0)
    return finish(steady(seed, replace(path(NARROW), blackholes=(hole,)), 0.88))


def shared(seed: int) -> World:
    """Two flows, of which one begins 2 s after the other, come to share their bottleneck."""
    conditions = path(NARROW, 0.03, queue=(1.0, 0.5, 4.0)[seed % 3])
    pair = connect(seed, conditions)
    host, _ = pair.starter.node.address
    flows = [flow(pair, pair.starter, NARROW / 8 * 30)]
    pair.run_for(2)
    node = Node(pair.network, (host, 40_001), options=OPTIONS)
    pair.starter_nodes.append(node)
    side = node.start(pair.listener_node.address)
    pair.run(lambda: side.application.opened)
    flows.append(flow(pair, side, NARROW / 8 * 30))
    pair.run_for(16)
    found = shares(pair, flows, 8, NARROW)
    told = " and ".join(f"{share:.2f}" for share in found)
    demand(min(found) >= 0.2 and sum(found) >= 0.85, f"{told} are the shares of two flows", pair)
    return finish(pair)


def application_limited(seed: int) -> World:
    """After 100 messages a second for 12 s, and again after a rest, a stream uses the path at once."""
    pair = connect(seed, path(NARROW))
    for size in (100, 50 + seed):
        for _ in range(1_200):
            pair.starter.send_message(bytes(size))
            pair.run_for(0.01)
        bulk = flow(pair, pair.starter, NARROW / 8 * 4)
        pair.run_for(0.5)
        (share,) = shares(pair, [bulk], 2, NARROW)
        demand(share >= 0.85, f"{share:.2f} of the path is used", pair)
        pair.run_for(15)
    return finish(pair)


def slower(seed: int) -> World:
    """
    A tenth of the bandwidth is left: it is used, without a standing queue, within 10 s. What was measured before counts
    for two cycles of up to 3 s, which begin with a queue of half a second.
    """
    pair = connect(seed, path(WIDE))
    bulk = flow(pair, pair.starter, WIDE)
    pair.run_for(2 + seed % 7 / 10)
    listener, _ = pair.listener_node.address
    pair.network.set_conditions(replace(path(WIDE), bandwidth=WIDE / 10), destination=listener)
    pair.run_for(10)
    (share,) = shares(pair, [bulk], 4, WIDE / 10)
    smoothed = pair.starter.connection.statistics()["rtt"]
    demand(share >= 0.8, f"{share:.2f} of the path is used", pair)
    demand(smoothed <= 3 * ROUND_TRIP, f"the round trip is {smoothed:.3f} s", pair)
    return finish(pair)


def faster(seed: int) -> World:
    """Ten times the bandwidth is found within 3 s."""
    pair = connect(seed, replace(path(WIDE), bandwidth=WIDE / 10))
    bulk = flow(pair, pair.starter, WIDE)
    pair.run_for(2 + seed % 7 / 10)
    listener, _ = pair.listener_node.address
    pair.network.set_conditions(path(WIDE), destination=listener)
    pair.run_for(3)
    (share,) = shares(pair, [bulk], 3, WIDE)
    demand(share >= 0.8, f"{share:.2f} of the path is used", pair)
    return finish(pair)


BBR: dict[str, Callable[[int], World]] = {
    "bbr-loss": lossy,
    "bbr-long-path": long_path,
    "bbr-deep-buffer": deep_buffer,
    "bbr-shallow-buffer": shallow_buffer,
    "bbr-blackouts": blackouts,
    "bbr-shared": shared,
    "bbr-application-limited": application_limited,
    "bbr-slower": slower,
    "bbr-faster": faster,
}
