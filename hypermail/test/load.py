"""
The scenarios of load: many streams, many sessions, readers that stall, and none at all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

from hypermail.errors import PeerSilent
from hypermail.options import ListenerOptions, Options
from hypermail.test.paths import KIB, SIZE, all_opened, counted, demand
from hypermail.testing import Application, Conditions, Pair, World


def many_streams(seed: int, count: int = 2_000) -> World:
    """
    Many streams at once, all in both directions; those of one length take the same time, within 20 % of the median.
    """
    pair = Pair(seed, Conditions(delay=0.015, bandwidth=100e6, queue_datagrams=250, loss=0.002))
    pair.open()
    random = Random(seed)
    sent = {}
    longest = 20_000
    for _ in range(count):
        data = random.randbytes(random.choice((100, 1_000, 5_000, longest)))
        sent[pair.starter.open_stream(b"s", data)] = data
    listener = pair.listener.application
    began = pair.now
    long = [stream.id for stream, data in sent.items() if len(data) == longest]

    def finished() -> int:
        return sum(id in listener.streams and listener.streams[id].finished for id in long)

    times = []
    for wanted in (1, len(long) // 2, len(long)):
        pair.run(lambda wanted=wanted: finished() >= wanted, limit=60)  # type: ignore[misc]
        times.append(pair.now - began)
    first, median, last = times
    fair = first >= 0.8 * median and last <= 1.2 * median
    demand(fair, f"streams have taken {first:.3f} s at least, {last:.3f} s at most, {median:.3f} s in the middle", pair)
    pair.run(lambda: sum(stream.finished for stream in listener.streams.values()) == count, limit=60)
    pair.close()
    for stream, data in sent.items():
        demand(bytes(listener.streams[stream.id].data) == data, f"stream {stream.id} has brought something else", pair)
    return pair


def stalled_reader(seed: int) -> World:
    """
    The listener's application pauses one stream and its messages for 30 s: what it holds meanwhile is bounded,
    another stream flows, nothing is lost.
    """
    options = Options(stream_pool=256 * KIB, stream_pool_max=256 * KIB, max_message=64 * KIB, allowance_bytes=256 * KIB)
    pair = Pair(seed, Conditions(delay=0.015, loss=0.01), options=options)
    pair.open()
    random = Random(seed)
    starter, listener = pair.starter, pair.listener.application
    data = random.randbytes(SIZE)
    stalled = starter.open_stream(b"stalled", data)
    pair.run(lambda: stalled.id in listener.streams)
    listener.pause()
    flowing = starter.open_stream(b"flowing", data)
    pair.run(lambda: flowing.id in listener.streams)
    listener.streams[flowing.id].stream.resume()
    starter.application.send_all((0, random.randbytes(50_000)) for _ in range(40))
    until = pair.now + 30
    before = len(listener.streams[stalled.id].data)
    while pair.now < until:
        pair.run_for(1)
        held = pair.listener.connection.statistics()
        demand(len(listener.streams[stalled.id].data) <= before + 64 * KIB, "a paused stream goes on", pair)
        demand(sum(len(m.data) for m in listener.received.get(0, ())) <= 256 * KIB, f"too much is held: {held}", pair)
    demand(listener.streams[flowing.id].finished, "the other stream has waited", pair)
    listener.resume()
    pair.run(lambda: listener.streams[stalled.id].finished, limit=120)
    pair.run(lambda: not starter.application.busy and all(m.settled for m in starter.outgoing), limit=120)
    pair.close()
    pair.assert_delivered()
    demand(all(bytes(listener.streams[s.id].data) == data for s in (stalled, flowing)), "other bytes came", pair)
    return pair


def idle(seed: int) -> World:
    """Ten minutes of nothing but pings; then the network goes, and four unanswered pings end the session."""
    conditions = Conditions(delay=0.015)
    pair = Pair(seed, conditions)
    pair.open()
    pair.run_to_quiescence()
    forth, back = counted(pair, pair.starter)
    before = forth.sent + back.sent
    pair.run_for(600)
    pings = 600 / pair.starter.connection.options.ping_interval
    demand(forth.sent + back.sent - before <= 3 * pings + 3, f"{forth.sent + back.sent} datagrams while idle", pair)
    demand(all(not side.application.error for side in pair.sides), "an idle session has ended", pair)
    at = pair.now
    pair.network.set_conditions(replace(conditions, loss=1.0))
    pair.run(lambda: not any(node.live for node in pair.nodes), limit=60)
    for side in pair.sides:
        demand(isinstance(side.application.error, PeerSilent), f"{side!r}: {side.application.error!r}", pair)
    demand(pair.now - at <= 40, f"it took {pair.now - at:.1f} s to notice", pair)
    pair.run_to_quiescence()
    pair.assert_clean()
    return pair


def many_sessions(seed: int, count: int = 10_000) -> World:
    """Very many sessions on one listener, all open at once."""
    strangers = ListenerOptions(max_sessions=count, max_opening=count)
    world = World(seed, Conditions(delay=0.015, loss=0.01), strangers=strangers, options=Options(ping_interval=60))
    while len(world.starter_nodes) < count:
        for _ in range(min(100, count - len(world.starter_nodes))):
            world.start(Application())
        world.run_for(0.05)
    world.run_for(10)
    demand(all_opened(world, count), "not all have opened", world)
    demand(len(world.listener_node.demux) == count, f"{len(world.listener_node.demux)} connections", world)
    world.close()
    return world


LOAD: dict[str, Callable[[int], World]] = {
    "many-streams": many_streams,
    "stalled-reader": stalled_reader,
    "idle": idle,
    "many-sessions": many_sessions,
}
