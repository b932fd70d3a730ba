"""
The scenarios of rates and delays, of queues, and of sessions that share a bottleneck.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

from hypermail.options import Options
from hypermail.test.paths import CLEAN, DATAGRAM, KIB, SIZE, counted, demand, transfer
from hypermail.testing import Conditions, Node, Pair, World


def clean(seed: int) -> World:
    """A good network."""
    pair = Pair(seed, CLEAN)
    rate = transfer(pair)
    demand(rate >= 0.9 * 10e6, f"{rate:.0f} bit/s", pair)
    return pair


def long_round_trip(seed: int) -> World:
    """1.5 s there and back."""
    pair = Pair(seed, Conditions(delay=0.75))
    transfer(pair, 256 * KIB)
    demand(pair.starter.connection.statistics()["bytes_lost"] == 0, "something was taken for lost", pair)
    return pair


def jitter(seed: int) -> World:
    """1 to 10 ms of it; with every second seed, datagrams overtake each other. It costs at most a fifth."""
    pair = Pair(seed, replace(CLEAN, delay=0.006, jitter=0.009, jitter_overtakes=bool(seed % 2)))
    rate = transfer(pair)
    demand(rate >= 0.8 * 0.92 * 10e6, f"{rate:.0f} bit/s", pair)
    return pair


def asymmetric(seed: int) -> World:
    """A hundred times as much there as back."""
    narrow = replace(CLEAN, bandwidth=100e3)
    pair = Pair(seed, to_listener=CLEAN, to_starter=narrow, listener_options=Options(discover_mtu=False))
    transfer(pair, SIZE // 2)
    forth, back = counted(pair, pair.starter)
    acknowledgements = back.sent_bytes - sum(len(message.data) for message in pair.listener.outgoing)
    demand(acknowledgements <= 0.02 * forth.sent_bytes, f"acknowledgements of {acknowledgements} bytes", pair)
    return pair


def deep_buffer(seed: int) -> World:
    """A queue ten times as long as what is on the way."""
    pair = Pair(seed, replace(CLEAN, queue_datagrams=None, queue_bytes=375_000))
    rate = transfer(pair)
    demand(rate >= 0.8 * 10e6, f"{rate:.0f} bit/s", pair)
    return pair


def shallow_buffer(seed: int) -> World:
    """A queue a tenth as long as what is on the way."""
    pair = Pair(seed, replace(CLEAN, queue_datagrams=3))
    rate = transfer(pair, 2 * SIZE)
    demand(rate >= 0.8 * 10e6, f"{rate:.0f} bit/s", pair)
    return pair


def marks(seed: int) -> World:
    """
    A bottleneck that marks from a third of its queue on: it fills no further than that plus what is under way when the
    sender hears of it, so hardly anything is dropped, when slow start overshoots, and the rate is used. On paths that
    clear or mangle marks, or drop what bears them, the transfer goes on, and marks are sent no more.
    """
    queue = 100 * DATAGRAM
    conditions = replace(CLEAN, jitter=0.003, queue_datagrams=None, queue_bytes=queue, mark_bytes=queue // 3)
    pair = Pair(seed, conditions)
    pair.open()
    data = Random(f"marks {seed}").randbytes(2 * SIZE)
    stream = pair.starter.open_stream(b"marked", data)
    arrived = pair.listener.application.streams
    slowest, began = 0.0, pair.now
    while not (stream.id in arrived and arrived[stream.id].finished):
        pair.run_for(0.01)
        told = pair.starter.connection.statistics()
        if pair.now - began > 1:  # slow start has overshot, and is over
            slowest = max(slowest, told["rtt"])
    rate = len(data) * 8 / (pair.now - began)
    there, _ = counted(pair, pair.starter)
    full = 2 * CLEAN.delay + queue * 8 / 10e6
    demand(bytes(arrived[stream.id].data) == data, "the stream has brought something else", pair)
    demand(rate >= 0.8 * 10e6, f"{rate:.0f} bit/s", pair)
    dropped = there.overflowed / there.sent
    demand(there.marked > 0 and dropped <= 0.01, f"{dropped:.1%} were dropped, {there.marked} datagrams marked", pair)
    demand(slowest <= 0.6 * full, f"a round trip of {slowest:.3f} s; {full:.3f} s with a full queue", pair)
    demand(told["ecn"] == "capable" and told["ecn_marked"] == there.marked, f"{told}", pair)
    pair.close()
    for codepoints in ((0, 0, 0, 0), (0, 3, 3, 3), (0, None, None, None), (0, 2, 1, 3)):
        pair = Pair(seed, replace(conditions, codepoints=codepoints, loss=0.001))
        transfer(pair, SIZE // 4)
        states = [side.connection.statistics()["ecn"] for side in pair.sides]
        demand(states == ["failed", "failed"], f"{states} where {codepoints} come out", pair)
    return pair


def large_window(seed: int, bandwidth: float = 250e6) -> World:
    """A product of rate and round trip of 6 MB: within 20 s of the start 80 % of the rate is reached, and kept."""
    round_trip = 0.2
    product = bandwidth / 8 * round_trip
    queue = int(Random(seed).uniform(0.5, 1.5) * product)
    pair = Pair(seed, Conditions(delay=round_trip / 2, bandwidth=bandwidth, queue_bytes=queue))
    pair.open()
    began = pair.now
    piece = Random(seed).randbytes(int(product))
    pieces = 16
    stream = pair.starter.open_stream(b"", piece * pieces)
    listener = pair.listener.application
    whole = len(piece) * pieces
    pair.run(lambda: stream.id in listener.streams and len(listener.streams[stream.id].data) >= whole // 2, limit=20)
    half, already = pair.now, len(listener.streams[stream.id].data)
    pair.run(lambda: listener.streams[stream.id].finished, limit=20 - (half - began))
    rate = (whole - already) * 8 / (pair.now - half)
    demand(rate >= 0.8 * bandwidth, f"{rate:.0f} bit/s", pair)
    pair.close()
    demand(bytes(listener.streams[stream.id].data) == piece * pieces, "the stream has brought something else", pair)
    return pair


def cross_traffic(seed: int) -> World:
    """Two sessions share a bottleneck; each gets 30 to 70 % of it."""
    pair = Pair(seed, CLEAN)
    host, _ = pair.starter.node.address
    second = Node(pair.network, (host, 40_001))
    pair.starter_nodes.append(second)
    other = second.start(pair.listener_node.address)
    sides = (pair.starter, other)
    pair.run(lambda: all(side.application.opened for side in sides))
    data = Random(seed).randbytes(SIZE)
    streams = [side.open_stream(b"", data) for side in sides]
    peers = [pair.peer(side) for side in sides]

    def arrived(number: int) -> int:
        peer = peers[number]
        streams_there = peer.application.streams if peer is not None else {}
        return len(streams_there[streams[number].id].data) if streams[number].id in streams_there else 0

    pair.run(lambda: max(arrived(0), arrived(1)) == SIZE, limit=120)
    slower = min(arrived(0), arrived(1))
    demand(slower >= 3 / 7 * SIZE, f"one session has brought {SIZE} bytes, the other {slower}", pair)
    pair.run(lambda: arrived(0) == arrived(1) == SIZE, limit=120)
    pair.close()
    return pair


RATES: dict[str, Callable[[int], World]] = {
    "clean": clean,
    "long-rtt": long_round_trip,
    "jitter": jitter,
    "asymmetric": asymmetric,
    "deep-buffer": deep_buffer,
    "shallow-buffer": shallow_buffer,
    "ecn": marks,
    "large-window": large_window,
    "cross-traffic": cross_traffic,
}
